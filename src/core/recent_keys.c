#include "core/recent_keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"

/* A word of the filter for so many keys, each of which sets four of its bits: one in a hundred
 * others is taken for one of them, and costs a walk over the hashes. */
enum { KEYS_PER_WORD = 4, CAP_MIN = 8 };

void recent_keys_init(struct recent_keys *k, uint64_t seed)
{
    *k = (struct recent_keys){.seed = seed};
}

void recent_keys_deinit(struct recent_keys *k)
{
    free(k->hashes);
    recent_keys_init(k, k->seed);
}

static size_t bytes_for(uint32_t cap)
{
    return (cap + cap / KEYS_PER_WORD) * sizeof(uint64_t);
}

size_t recent_keys_bytes(const struct recent_keys *k)
{
    return bytes_for(k->cap);
}

static uint64_t mix(const struct recent_keys *k, uint64_t hash)
{
    uint64_t x = (hash ^ k->seed) * 0x9e3779b97f4a7c15ULL;
    return x ^ x >> 32;
}

static uint64_t *word_of(const struct recent_keys *k, uint64_t x)
{
    return k->hashes + k->cap + ((x >> 32) * (k->cap / KEYS_PER_WORD) >> 32);
}

static uint64_t bits_of(uint64_t x)
{
    return 1ULL << (x & 63) | 1ULL << (x >> 6 & 63) | 1ULL << (x >> 12 & 63) |
           1ULL << (x >> 18 & 63);
}

static void filter_add(struct recent_keys *k, uint64_t hash)
{
    uint64_t x = mix(k, hash);
    *word_of(k, x) |= bits_of(x);
}

static void filter_make(struct recent_keys *k)
{
    memset(k->hashes + k->cap, 0, k->cap / KEYS_PER_WORD * sizeof(uint64_t));
    for (uint32_t i = 0; i < k->n; i++) {
        if (k->hashes[i] != 0) {
            filter_add(k, k->hashes[i]);
        }
    }
}

static enum confab_err resize(struct recent_keys *k, uint32_t cap)
{
    uint64_t *hashes = realloc(k->hashes, bytes_for(cap));
    if (!hashes) {
        return CONFAB_NOMEM;
    }
    k->hashes = hashes;
    k->cap = cap;
    filter_make(k);
    return CONFAB_OK;
}

enum confab_err recent_keys_put(struct recent_keys *k, uint64_t seq, uint64_t hash)
{
    if (k->n == 0) {
        k->first = seq;
    }
    CHECK(seq == k->first + k->n);
    if (k->n == k->cap) {
        enum confab_err err = resize(k, k->cap > 0 ? k->cap * 2 : CAP_MIN);
        if (err) {
            return err;
        }
    }
    k->hashes[k->n++] = hash;
    if (hash != 0) {
        filter_add(k, hash);
    }
    return CONFAB_OK;
}

void recent_keys_take_back(struct recent_keys *k, uint64_t seq)
{
    /* Its bits stay: they only cost. */
    k->n -= k->n > 0 && seq == k->first + k->n - 1;
}

void recent_keys_prefetch(const struct recent_keys *k, uint64_t hash)
{
    if (k->n > 0) {
        PREFETCH(word_of(k, mix(k, hash)));
    }
}

bool recent_keys_find(const struct recent_keys *k, uint64_t hash, uint64_t *ret_seq)
{
    if (k->n == 0) {
        return false;
    }
    uint64_t x = mix(k, hash);
    uint64_t bits = bits_of(x);
    if ((*word_of(k, x) & bits) != bits) {
        return false;
    }
    for (uint32_t i = k->n; i-- > 0;) {
        if (k->hashes[i] == hash) {
            *ret_seq = k->first + i;
            return true;
        }
    }
    return false;
}

uint64_t recent_keys_hash(const struct recent_keys *k, uint64_t seq)
{
    return seq >= k->first && seq - k->first < k->n ? k->hashes[seq - k->first] : 0;
}

void recent_keys_drop(struct recent_keys *k, uint64_t seq)
{
    if (k->n == 0 || seq < k->first) {
        return;
    }
    uint32_t gone = (uint32_t)MIN(seq - k->first + 1, k->n);
    if (gone == k->n) {
        recent_keys_deinit(k);
        return;
    }
    k->n -= gone;
    k->first += gone;
    memmove(k->hashes, k->hashes + gone, k->n * sizeof(*k->hashes));
    uint32_t cap = k->cap;
    while (cap > CAP_MIN && k->n <= cap / 4) {
        cap /= 2;
    }
    if (cap == k->cap || resize(k, cap)) {
        filter_make(k);
    }
}
