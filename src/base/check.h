/*
 * CHECK stays on in release builds: it guards durability and ownership, where going on would be
 * worse than a restart. DCHECK is for hot paths and exists in debug builds only.
 */
#ifndef CONFAB_BASE_CHECK_H
#define CONFAB_BASE_CHECK_H

#include "base/compiler.h"

/* Prints the failed expression with its place to standard error and aborts. */
void check_failed(const char *expr, const char *file, int line) __attribute__((noreturn));

#define CHECK(x)                                                                                   \
    do {                                                                                           \
        if (UNLIKELY(!(x))) {                                                                      \
            check_failed(#x, __FILE__, __LINE__);                                                  \
        }                                                                                          \
    } while (0)

#ifdef CONFAB_DEBUG
#define DCHECK(x) CHECK(x)
#else
#define DCHECK(x) ((void)sizeof(x))
#endif

#endif
