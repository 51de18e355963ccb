#include "hist.h"

/* The highest value that falls into the bucket. */
static uint64_t bucket_top(uint32_t bucket)
{
    if (bucket < (2U << HIST_SUB_BITS)) {
        return bucket;
    }
    uint32_t shift = (bucket >> HIST_SUB_BITS) - 1;
    uint64_t mantissa = (bucket & ((1U << HIST_SUB_BITS) - 1)) | (1U << HIST_SUB_BITS);
    return ((mantissa + 1) << shift) - 1;
}

uint64_t hist_quantile(const struct hist *h, double q)
{
    uint64_t wanted = (uint64_t)(q * (double)h->count);
    if (wanted >= h->count) {
        return h->max;
    }
    uint64_t seen = 0;
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen > wanted) {
            uint64_t top = bucket_top(i);
            return top < h->max ? top : h->max;
        }
    }
    return h->max;
}
