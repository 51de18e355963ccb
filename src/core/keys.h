/*
 * Which keys of retries a conversation may have in the store: Bloom filters in memory, each over
 * the messages of one run of seqs, so that a key that was never stored costs no read, and one that
 * may have been is looked for among the rows of that run only. A key that was added is always found
 * (INVARIANT: a filter never says no to it); one in ten thousand others is found, too.
 *
 * Filters lie in the order of their seqs. What is added goes into the last one until it is full.
 * One thread at a time. docs/design/message-store.md, "Keys of retries", has the whole.
 */
#ifndef CONFAB_CORE_KEYS_H
#define CONFAB_CORE_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Filters of a conversation; beyond, the oldest two become one that finds every key. */
#define KEYS_FILTERS_MAX 1024U
/* Keys that a filter is made for, at most, when they come one by one. */
#define KEYS_FILTER_KEYS 4096U

/* Between which days a message was sent; days since 1970. */
struct key_days {
    uint16_t first;
    uint16_t last;
};

struct key_filter {
    uint64_t lo; /* lowest seq of a key in it */
    uint64_t hi;
    uint16_t day_lo; /* no key in it is of a day before */
    uint16_t day_hi; /* … after */
    uint32_t count;
    uint32_t cap; /* keys it was made for */
    uint32_t nblocks;
    uint64_t *bits; /* nblocks of 64 bytes; NULL: it finds every key */
};

struct keys {
    struct key_filter *list;
    uint32_t n;
    uint32_t cap;
    size_t bits_bytes;
    bool ready; /* knows of all that the store has */
};

struct keys *keys_new(void); /* NULL: out of memory */
void keys_free(struct keys *k);
size_t keys_bytes(const struct keys *k); /* accepts NULL */

/* A filter without keys, for at least `cap` of them. */
CONFAB_NODISCARD enum confab_err key_filter_init(struct key_filter *f, uint32_t cap);
void key_filter_deinit(struct key_filter *f);
/* Seqs and days may come in any order. */
void key_filter_add(struct key_filter *f, uint64_t hash, uint64_t seq, struct key_days days);
bool key_filter_has(const struct key_filter *f, uint64_t hash);

/* Seqs rise from call to call. After CONFAB_NOMEM the key is missing: free them all. */
CONFAB_NODISCARD enum confab_err keys_add(struct keys *k, uint64_t hash, uint64_t seq,
                                          struct key_days days);
/* Takes a filter over what lies before all others. On an error it is the caller's still. */
CONFAB_NODISCARD enum confab_err keys_put_older(struct keys *k, const struct key_filter *f);
/* Drops what ends before this day. */
void keys_expire(struct keys *k, uint16_t day);

/* Where the rows of keys can be. */
struct key_range {
    uint64_t lo; /* first seqs of chunks */
    uint64_t hi;
    uint16_t day_lo;
    uint16_t day_hi;
    uint64_t below; /* what is to be asked for after this range */
};
/* The newest filter with keys below seq `below`, of `day` or later, that may have this one. */
bool keys_find(const struct keys *k, uint64_t hash, uint64_t below, uint16_t day,
               struct key_range *ret);

#endif
