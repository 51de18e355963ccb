/*
 * Metrics. Each thread has its own struct metrics, which only it writes (plain stores, no locked
 * instructions); a scrape adds up all that are registered. The list of those is one of the two
 * global states of the program. Each entry names its owner (a server), so that two servers in one
 * process have separate numbers. Rows are in metrics.def.
 */
#ifndef CONFAB_BASE_METRICS_H
#define CONFAB_BASE_METRICS_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"

enum metric {
#define COUNTER(sym, name, labels, help) METRIC_##sym,
#define GAUGE(sym, name, labels, help)   METRIC_##sym,
#include "base/metrics.def"
    METRIC_COUNT
};

enum metric_hist {
#define HISTOGRAM_S(sym, name, labels, help) METRIC_H_##sym,
#define HISTOGRAM_N(sym, name, labels, help) METRIC_H_##sym,
#include "base/metrics.def"
    METRIC_H_COUNT
};

/* Buckets grow by a quarter of a power of two up to 2^37; the last one takes the rest. */
#define METRICS_BUCKETS 145U

struct metrics_hist {
    _Atomic(uint64_t) sum;
    _Atomic(uint64_t) buckets[METRICS_BUCKETS];
};
struct metrics {
    struct list node;  /* the registry's */
    const void *owner; /* the registry's */
    _Atomic(uint64_t) values[METRIC_COUNT];
    struct metrics_hist hists[METRIC_H_COUNT];
};

/* Zeroes and registers; the memory stays the caller's until metrics_unregister. Any thread. */
void metrics_register(struct metrics *m, const void *owner);
/* Its numbers leave the sums. Harmless when zeroed or unregistered before. Any thread. */
void metrics_unregister(struct metrics *m);

/* The writing functions: only the thread that m belongs to. */
static inline void metrics_add(struct metrics *m, enum metric id, uint64_t n)
{
    uint64_t v = atomic_load_explicit(&m->values[id], memory_order_relaxed);
    atomic_store_explicit(&m->values[id], v + n, memory_order_relaxed);
}
static inline void metrics_inc(struct metrics *m, enum metric id)
{
    metrics_add(m, id, 1);
}
static inline void metrics_gauge_add(struct metrics *m, enum metric id, int64_t n)
{
    metrics_add(m, id, (uint64_t)n);
}
static inline void metrics_gauge_set(struct metrics *m, enum metric id, int64_t v)
{
    atomic_store_explicit(&m->values[id], (uint64_t)v, memory_order_relaxed);
}
/* Nanoseconds for HISTOGRAM_S rows. */
void metrics_observe(struct metrics *m, enum metric_hist id, uint64_t v);

/* The COUNTER that an error answered to a client belongs to. */
enum metric metrics_of_error(enum confab_err err);

/* The reading functions: any thread. owner NULL: all servers. */
int64_t metrics_total(const void *owner, enum metric id);
uint64_t metrics_hist_count(const void *owner, enum metric_hist id);
/*
 * The value that a share q (0 to 1) of all observations does not exceed, rounded up to the bound of
 * its bucket (at most a quarter too high); 0 without observations.
 */
uint64_t metrics_quantile(const void *owner, enum metric_hist id, double q);
/* Appends the text that Prometheus reads (format 0.0.4). */
void metrics_render(struct buf *out, const void *owner);

#endif
