/*
 * Lines are built on the stack and written at once, without a lock: a write(2) of one line to a
 * file opened for appending, a pipe or a terminal is not mixed with another's. Only the test sink
 * and its argument need a lock, to change together.
 */
#include "base/diag.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/time_text.h"

static const char *const cat_names[DIAG_CAT_COUNT] = {
#define X(sym, name) name,
    DIAG_CATEGORIES(X)
#undef X
};
static const char *const level_names[] = {"off", "error", "warn", "info", "debug"};

_Atomic(uint8_t) diag_levels[DIAG_CAT_COUNT] = {
#define X(sym, name) DIAG_INFO,
    DIAG_CATEGORIES(X)
#undef X
};
static _Atomic(uint32_t) rate_per_s = DIAG_RATE_PER_S;
static _Atomic(struct clock *) clock_set;
static _Atomic(struct diag_site *) sites; /* those that ever held back; only grows */

static pthread_mutex_t sink_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(bool) sink_set;
static diag_sink sink_fn;
static void *sink_arg;

static uint64_t now_ms(void)
{
    struct clock *c = atomic_load_explicit(&clock_set, memory_order_acquire);
    return clock_wall_ms(c ? c : clock_system());
}

/* --- one line --- */

enum { TAIL_ROOM = 40 }; /* for the closing quote, the count of repetitions and the line feed */

struct line {
    size_t n;
    char text[DIAG_LINE_MAX];
};

static void line_put(struct line *l, const char *p, size_t n, size_t end)
{
    n = MIN(n, end - MIN(l->n, end));
    memcpy(l->text + l->n, p, n);
    l->n += n;
}

static void line_put_str(struct line *l, const char *s)
{
    line_put(l, s, strlen(s), DIAG_LINE_MAX - 1);
}

/* What does not fit before the tail's room is cut off, but never in the middle of an escape. */
static void line_put_safe(struct line *l, const char *p, size_t n, bool quoted)
{
    static const char hex[] = "0123456789abcdef";
    size_t end = DIAG_LINE_MAX - TAIL_ROOM;
    for (size_t i = 0; i < n; i++) {
        uint8_t c = (uint8_t)p[i];
        char escaped[4] = {(char)c, 0, 0, 0};
        size_t len = 1;
        if (c < 0x20 || c == 0x7f) {
            escaped[0] = '\\';
            escaped[1] = 'x';
            escaped[2] = hex[c >> 4];
            escaped[3] = hex[c & 15];
            len = 4;
        } else if (quoted && (c == '"' || c == '\\')) {
            escaped[0] = '\\';
            escaped[1] = (char)c;
            len = 2;
        }
        if (len > end - MIN(l->n, end)) {
            return;
        }
        line_put(l, escaped, len, end);
    }
}

static void line_begin(struct line *l, const struct diag_site *site, uint64_t ms)
{
    char ts[TIME_TEXT_LEN];
    time_text_format(ms, ts);
    l->n = 0;
    line_put_str(l, "ts=");
    line_put(l, ts, sizeof(ts), DIAG_LINE_MAX);
    line_put_str(l, " level=");
    line_put_str(l, level_names[site->level]);
    line_put_str(l, " cat=");
    line_put_str(l, cat_names[site->cat]);
    line_put_str(l, " msg=\"");
}

static void line_end(struct line *l, uint32_t repeated)
{
    if (repeated > 0) {
        char text[24];
        snprintf(text, sizeof(text), " repeated=%u", repeated);
        line_put_str(l, text);
    }
    l->text[l->n++] = '\n';
}

static void line_emit(const struct line *l)
{
    if (atomic_load_explicit(&sink_set, memory_order_acquire)) {
        pthread_mutex_lock(&sink_lock);
        diag_sink fn = sink_fn;
        if (fn) {
            fn(sink_arg, l->text, l->n);
        }
        pthread_mutex_unlock(&sink_lock);
        if (fn) {
            return;
        }
    }
    /* A diagnostic that cannot be written is lost: there is nowhere left to say so. */
    ssize_t done;
    do {
        done = write(STDERR_FILENO, l->text, l->n);
    } while (done < 0 && errno == EINTR);
}

/* --- batching --- */

static void hold_back(struct diag_site *site)
{
    atomic_fetch_add_explicit(&site->repeated, 1, memory_order_relaxed);
    if (!atomic_exchange_explicit(&site->listed, true, memory_order_relaxed)) {
        struct diag_site *top = atomic_load_explicit(&sites, memory_order_relaxed);
        do {
            site->next = top;
        } while (!atomic_compare_exchange_weak_explicit(&sites, &top, site, memory_order_release,
                                                        memory_order_relaxed));
    }
}

/* Whether this line of the site is above the rate. The count is per second of the wall clock. */
static bool is_excess(struct diag_site *site, uint64_t ms)
{
    uint32_t rate = atomic_load_explicit(&rate_per_s, memory_order_relaxed);
    if (site->level > DIAG_WARN || rate == 0) {
        return false;
    }
    uint64_t second = ms / 1000;
    uint64_t window = atomic_load_explicit(&site->window, memory_order_relaxed);
    if (window != second &&
        atomic_compare_exchange_strong_explicit(&site->window, &window, second,
                                                memory_order_relaxed, memory_order_relaxed)) {
        atomic_store_explicit(&site->count, 0, memory_order_relaxed);
    }
    return atomic_fetch_add_explicit(&site->count, 1, memory_order_relaxed) >= rate;
}

/* The separator between msg and the pairs, or the end of the format. */
static const char *find_pairs(const char *fmt)
{
    const char *sep = strstr(fmt, " | ");
    return sep ? sep : fmt + strlen(fmt);
}

void diag_write(struct diag_site *site, const char *fmt, ...)
{
    uint64_t ms = now_ms();
    if (is_excess(site, ms)) {
        hold_back(site);
        return;
    }
    struct line l;
    char text[DIAG_LINE_MAX];
    const char *pairs = find_pairs(fmt);
    bool has_pairs = *pairs != '\0';
    DCHECK(!has_pairs || memchr(fmt, '%', (size_t)(pairs - fmt)) == NULL);
    va_list ap;
    va_start(ap, fmt);
    int len = vsnprintf(text, sizeof(text), has_pairs ? pairs + 3 : fmt, ap);
    va_end(ap);
    size_t n = len < 0 ? 0 : MIN((size_t)len, sizeof(text) - 1);

    line_begin(&l, site, ms);
    if (has_pairs) {
        line_put_safe(&l, fmt, (size_t)(pairs - fmt), true);
        line_put_str(&l, "\" ");
        line_put_safe(&l, text, n, false);
    } else {
        line_put_safe(&l, text, n, true);
        line_put_str(&l, "\"");
    }
    line_end(&l, atomic_exchange_explicit(&site->repeated, 0, memory_order_relaxed));
    line_emit(&l);
}

void diag_flush(void)
{
    struct diag_site *site = atomic_load_explicit(&sites, memory_order_acquire);
    for (; site; site = site->next) {
        uint32_t repeated = atomic_exchange_explicit(&site->repeated, 0, memory_order_relaxed);
        if (repeated == 0) {
            continue;
        }
        /* The format stands for the arguments of the lines held back, which were not kept. */
        struct line l;
        line_begin(&l, site, now_ms());
        line_put_safe(&l, site->msg, (size_t)(find_pairs(site->msg) - site->msg), true);
        line_put_str(&l, "\"");
        line_end(&l, repeated);
        line_emit(&l);
    }
}

/* --- settings --- */

void diag_set_level(enum diag_cat cat, enum diag_level level)
{
    atomic_store_explicit(&diag_levels[cat], (uint8_t)level, memory_order_relaxed);
}

void diag_set_level_all(enum diag_level level)
{
    for (unsigned i = 0; i < DIAG_CAT_COUNT; i++) {
        diag_set_level((enum diag_cat)i, level);
    }
}

/* Index of the name that equals the n bytes at s, -1 if none. */
static int name_index(const char *const *names, size_t count, const char *s, size_t n)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(names[i]) == n && memcmp(names[i], s, n) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum confab_err diag_configure(const char *spec)
{
    int all = -1;
    int level_of[DIAG_CAT_COUNT];
    for (unsigned i = 0; i < DIAG_CAT_COUNT; i++) {
        level_of[i] = -1;
    }
    for (const char *item = spec;;) {
        size_t n = strcspn(item, ",");
        const char *eq = memchr(item, '=', n);
        const char *level_text = eq ? eq + 1 : item;
        int level = name_index(level_names, ARRAY_LEN(level_names), level_text,
                               n - (size_t)(level_text - item));
        int cat = eq ? name_index(cat_names, DIAG_CAT_COUNT, item, (size_t)(eq - item)) : 0;
        if (level < 0 || cat < 0) {
            return CONFAB_INVALID;
        }
        if (eq) {
            level_of[cat] = level;
        } else {
            all = level;
        }
        if (item[n] == '\0') {
            break;
        }
        item += n + 1;
    }
    for (unsigned i = 0; i < DIAG_CAT_COUNT; i++) {
        int level = level_of[i] >= 0 ? level_of[i] : all;
        if (level >= 0) {
            diag_set_level((enum diag_cat)i, (enum diag_level)level);
        }
    }
    return CONFAB_OK;
}

void diag_set_rate(uint32_t lines_per_s)
{
    atomic_store_explicit(&rate_per_s, lines_per_s, memory_order_relaxed);
}

void diag_set_sink(diag_sink sink, void *arg)
{
    pthread_mutex_lock(&sink_lock);
    sink_fn = sink;
    sink_arg = arg;
    pthread_mutex_unlock(&sink_lock);
    atomic_store_explicit(&sink_set, sink != NULL, memory_order_release);
}

void diag_set_clock(struct clock *clock)
{
    atomic_store_explicit(&clock_set, clock, memory_order_release);
}
