/*
 * Histogram of durations: exact below 64 ns, then 32 buckets to each power of two, so that a
 * quantile is at most 3 % too high. About 15 KiB.
 */
#ifndef LOAD_HIST_H
#define LOAD_HIST_H

#include <stdint.h>

#define HIST_SUB_BITS 5U
#define HIST_BUCKETS  ((64U - HIST_SUB_BITS) << HIST_SUB_BITS)

struct hist {
    uint64_t count;
    uint64_t sum;
    uint64_t max;
    uint64_t buckets[HIST_BUCKETS];
};

static inline uint32_t hist_bucket(uint64_t v)
{
    if (v < (2U << HIST_SUB_BITS)) {
        return (uint32_t)v;
    }
    uint32_t shift = 63U - (uint32_t)__builtin_clzll(v) - HIST_SUB_BITS;
    return (shift << HIST_SUB_BITS) + (uint32_t)(v >> shift);
}

static inline void hist_add(struct hist *h, uint64_t v)
{
    h->count++;
    h->sum += v;
    if (v > h->max) {
        h->max = v;
    }
    h->buckets[hist_bucket(v)]++;
}

/* The value that a share q (0 to 1) of all does not exceed; 0 without any. */
uint64_t hist_quantile(const struct hist *h, double q);

#endif
