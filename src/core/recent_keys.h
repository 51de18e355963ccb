/*
 * The keys of retries of a conversation's events that are not in the store yet: a hash for each
 * event, by seq, and a small filter in front of them, so that a key that is not there costs one
 * look at a place that is most likely in the processor's cache. The stored ones are in keys.h.
 *
 * One thread at a time. A zeroed one is empty; nothing is allocated before the first key.
 */
#ifndef CONFAB_CORE_RECENT_KEYS_H
#define CONFAB_CORE_RECENT_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct recent_keys {
    uint64_t *hashes; /* of seqs first, first + 1, …; behind them the filter's words */
    uint64_t first;
    uint64_t seed;
    uint32_t n;
    uint32_t cap;
};

/* The seed keeps others from choosing keys that the filter takes for each other. */
void recent_keys_init(struct recent_keys *k, uint64_t seed);
void recent_keys_deinit(struct recent_keys *k);
size_t recent_keys_bytes(const struct recent_keys *k);

/* The event after the last one, or any when there is none; hash 0: it has no key. CONFAB_NOMEM
 * changes nothing. */
CONFAB_NODISCARD enum confab_err recent_keys_put(struct recent_keys *k, uint64_t seq,
                                                 uint64_t hash);
/* Forgets the last one, if its seq is this: it came to nothing. */
void recent_keys_take_back(struct recent_keys *k, uint64_t seq);
/* The newest event with this hash, which is not 0. */
bool recent_keys_find(const struct recent_keys *k, uint64_t hash, uint64_t *ret_seq);
/* Asks the memory for what recent_keys_find will look at first. */
void recent_keys_prefetch(const struct recent_keys *k, uint64_t hash);
/* The hash of an event; 0: it has no key, or is not here. */
uint64_t recent_keys_hash(const struct recent_keys *k, uint64_t seq);
/* Forgets those up to and with this seq. */
void recent_keys_drop(struct recent_keys *k, uint64_t seq);

#endif
