/*
 * Diagnostics for operators (not the message log, which is ports/log.h): one logfmt line per call,
 *
 *     ts=2025-01-31T08:15:30.123Z level=info cat=log msg="segment opened" segment=7 bytes=65536
 *
 * written with one write(2). The format's part before " | " becomes msg, literally, and must not
 * hold a conversion; the part after it holds key=value pairs:
 *
 *     diag_info(DIAG_LOG, "segment opened | segment=%" PRIu64 " path=\"%s\"", id, path);
 *     diag_warn(DIAG_NET, "the listener is full");
 *
 * Without " | " the whole, conversions included, is msg. Control bytes are written as \xNN, so a
 * line stays a line; long ones are cut at DIAG_LINE_MAX.
 *
 * Callers never pass message texts, tokens, passwords or anything derived from them.
 *
 * Errors and warnings are batched: above the rate per second of one call site, further ones are
 * counted and told as `repeated=N` with the next line of that site, or by diag_flush.
 *
 * The settings here are one of the two global states of the program. All functions: any thread.
 */
#ifndef CONFAB_BASE_DIAG_H
#define CONFAB_BASE_DIAG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct clock;

#define DIAG_LINE_MAX   2048U
#define DIAG_RATE_PER_S 10U

enum diag_level { DIAG_OFF = 0, DIAG_ERROR, DIAG_WARN, DIAG_INFO, DIAG_DEBUG };

/* Categories: X(symbol, name). */
#define DIAG_CATEGORIES(X)                                                                         \
    X(DIAG_SERVER, "server")                                                                       \
    X(DIAG_CONFIG, "config")                                                                       \
    X(DIAG_NET, "net")                                                                             \
    X(DIAG_HTTP, "http")                                                                           \
    X(DIAG_WS, "ws")                                                                               \
    X(DIAG_AUTH, "auth")                                                                           \
    X(DIAG_CORE, "core")                                                                           \
    X(DIAG_SYNC, "sync")                                                                           \
    X(DIAG_LOG, "log")                                                                             \
    X(DIAG_STORE, "store")                                                                         \
    X(DIAG_DIR, "dir")                                                                             \
    X(DIAG_CLIENT, "client")                                                                       \
    X(DIAG_TEST, "test")

enum diag_cat {
#define X(sym, name) sym,
    DIAG_CATEGORIES(X)
#undef X
        DIAG_CAT_COUNT
};

/* One per call site, static, made by the macros below. */
struct diag_site {
    const char *msg; /* the format */
    const char *file;
    int line;
    enum diag_level level;
    enum diag_cat cat;
    _Atomic(uint64_t) window;   /* second since 1970 */
    _Atomic(uint32_t) count;    /* lines in that second */
    _Atomic(uint32_t) repeated; /* held back since the last line */
    _Atomic(bool) listed;
    struct diag_site *next; /* sites that ever held back */
};

extern _Atomic(uint8_t) diag_levels[DIAG_CAT_COUNT]; /* private: see diag_enabled */
static inline bool diag_enabled(enum diag_cat cat, enum diag_level level)
{
    return (uint8_t)level <= atomic_load_explicit(&diag_levels[cat], memory_order_relaxed);
}
void diag_write(struct diag_site *site, const char *fmt, ...) CONFAB_PRINTF(2, 3);

/* diag_error(cat, fmt, ...) and so on; arguments are evaluated only when the line is wanted. */
#define DIAG_FMT_(fmt, ...) fmt
#define DIAG_AT_(lvl, category, ...)                                                               \
    do {                                                                                           \
        if (diag_enabled(category, lvl)) {                                                         \
            static struct diag_site diag_site_ = {                                                 \
                .msg = DIAG_FMT_(__VA_ARGS__, 0),                                                  \
                .file = __FILE__,                                                                  \
                .line = __LINE__,                                                                  \
                .level = (lvl),                                                                    \
                .cat = (category),                                                                 \
            };                                                                                     \
            diag_write(&diag_site_, __VA_ARGS__);                                                  \
        }                                                                                          \
    } while (0)
/* The category must be a constant. */
#define diag_error(cat, ...) DIAG_AT_(DIAG_ERROR, cat, __VA_ARGS__)
#define diag_warn(cat, ...)  DIAG_AT_(DIAG_WARN, cat, __VA_ARGS__)
#define diag_info(cat, ...)  DIAG_AT_(DIAG_INFO, cat, __VA_ARGS__)
#define diag_debug(cat, ...) DIAG_AT_(DIAG_DEBUG, cat, __VA_ARGS__)

/* At start every category is at DIAG_INFO. */
void diag_set_level(enum diag_cat cat, enum diag_level level);
void diag_set_level_all(enum diag_level level);
/*
 * Applies "info", "warn,log=debug,ws=off": a level for all, then exceptions, in any order.
 * CONFAB_INVALID (nothing changed) on an unknown name.
 */
CONFAB_NODISCARD enum confab_err diag_configure(const char *spec);
/* Lines per second and site for errors and warnings; 0 for no bound. */
void diag_set_rate(uint32_t lines_per_s);
/* Where lines go: NULL for standard error. A line ends with a line feed and is not zero terminated.
 */
typedef void (*diag_sink)(void *arg, const char *line, size_t n);
void diag_set_sink(diag_sink sink, void *arg);
/* For `ts`; NULL for the system's clock. It must outlive its use here. */
void diag_set_clock(struct clock *clock);
/* Tells what was held back and not yet told. Call about once a second, and before exit. */
void diag_flush(void);

#endif
