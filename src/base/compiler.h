/* Attributes and small macros that every layer uses. */
#ifndef CONFAB_BASE_COMPILER_H
#define CONFAB_BASE_COMPILER_H

#include <stddef.h>

#define CONFAB_NODISCARD    __attribute__((warn_unused_result))
#define CONFAB_PRINTF(f, a) __attribute__((format(printf, f, a)))
#define LIKELY(x)           __builtin_expect(!!(x), 1)
#define UNLIKELY(x)         __builtin_expect(!!(x), 0)

/* The memory at p (64 bytes of it, any address) is read, or written, soon: it may come meanwhile.
 */
#define PREFETCH(p)       __builtin_prefetch(p)
#define PREFETCH_WRITE(p) __builtin_prefetch(p, 1)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define MIN(a, b)    ((a) < (b) ? (a) : (b))
#define MAX(a, b)    ((a) > (b) ? (a) : (b))

/* The struct that embeds `member` at address `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#endif
