#include "core/keys.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "core/chunk.h"

/* 24 bits a key, 7 of them set, all within the 64 bytes of one cache line. */
enum { KEYS_PER_BLOCK = 21, BLOCK_WORDS = 8, BLOCK_BYTES = 64, PROBES = 7, FILTER_KEYS_MIN = 256 };

struct keys *keys_new(void)
{
    return calloc(1, sizeof(struct keys));
}

void keys_free(struct keys *k)
{
    if (k) {
        for (uint32_t i = 0; i < k->n; i++) {
            key_filter_deinit(&k->list[i]);
        }
        free(k->list);
        free(k);
    }
}

size_t keys_bytes(const struct keys *k)
{
    return k ? sizeof(*k) + k->cap * sizeof(*k->list) + k->bits_bytes : 0;
}

enum confab_err key_filter_init(struct key_filter *f, uint32_t cap)
{
    uint32_t nblocks = MAX(cap, 1U) / KEYS_PER_BLOCK + 1;
    uint64_t *bits = calloc(nblocks, BLOCK_BYTES);
    if (!bits) {
        return CONFAB_NOMEM;
    }
    *f = (struct key_filter){
        .lo = UINT64_MAX, .day_lo = UINT16_MAX, .cap = cap, .nblocks = nblocks, .bits = bits};
    return CONFAB_OK;
}

void key_filter_deinit(struct key_filter *f)
{
    free(f->bits);
    f->bits = NULL;
}

static uint64_t *block_of(const struct key_filter *f, uint64_t hash)
{
    return f->bits + ((hash >> 32) * f->nblocks >> 32) * BLOCK_WORDS;
}

/* The upper half of the hash says which block, the lower one, spread over 64 bits, which of its
 * bits: nine bits of the number for each. */
static uint64_t spread(uint64_t hash)
{
    uint64_t x = (hash & UINT32_MAX) * 0x9e3779b97f4a7c15ULL;
    return x ^ x >> 29;
}

void key_filter_add(struct key_filter *f, uint64_t hash, uint64_t seq, struct key_days days)
{
    uint64_t *block = f->bits ? block_of(f, hash) : NULL;
    uint64_t x = spread(hash);
    for (int i = 0; i < PROBES && block; i++, x >>= 9) {
        block[x >> 6 & 7] |= 1ULL << (x & 63);
    }
    f->lo = MIN(f->lo, seq);
    f->hi = MAX(f->hi, seq);
    f->day_lo = MIN(f->day_lo, days.first);
    f->day_hi = MAX(f->day_hi, days.last);
    f->count++;
}

bool key_filter_has(const struct key_filter *f, uint64_t hash)
{
    if (!f->bits) {
        return true;
    }
    const uint64_t *block = block_of(f, hash);
    uint64_t x = spread(hash);
    bool has = true;
    for (int i = 0; i < PROBES; i++, x >>= 9) {
        has &= (block[x >> 6 & 7] >> (x & 63)) & 1U;
    }
    return has;
}

static void drop_oldest(struct keys *k, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        k->bits_bytes -= k->list[i].bits ? (size_t)k->list[i].nblocks * BLOCK_BYTES : 0;
        key_filter_deinit(&k->list[i]);
    }
    k->n -= n;
    memmove(k->list, k->list + n, k->n * sizeof(*k->list));
}

/* Room for one more. */
static enum confab_err grow(struct keys *k)
{
    if (k->n == KEYS_FILTERS_MAX) {
        struct key_filter both = k->list[0];
        drop_oldest(k, 1);
        struct key_filter *f = &k->list[0];
        k->bits_bytes -= f->bits ? (size_t)f->nblocks * BLOCK_BYTES : 0;
        key_filter_deinit(f);
        f->lo = MIN(f->lo, both.lo);
        f->day_lo = MIN(f->day_lo, both.day_lo);
        f->count += both.count;
    }
    if (k->n == k->cap) {
        uint32_t cap = k->cap ? k->cap * 2 : 2;
        struct key_filter *list = realloc(k->list, cap * sizeof(*list));
        if (!list) {
            return CONFAB_NOMEM;
        }
        k->list = list;
        k->cap = cap;
    }
    return CONFAB_OK;
}

/* For half as many keys as there are: the number of filters grows slowly, and so does what of the
 * last one is not used yet. */
static uint32_t next_cap(const struct keys *k)
{
    uint64_t total = 0;
    for (uint32_t i = 0; i < k->n; i++) {
        total += k->list[i].count;
    }
    return (uint32_t)MIN(MAX(total / 2, FILTER_KEYS_MIN), KEYS_FILTER_KEYS);
}

enum confab_err keys_add(struct keys *k, uint64_t hash, uint64_t seq, struct key_days days)
{
    struct key_filter *last = k->n > 0 ? &k->list[k->n - 1] : NULL;
    if (!last || last->count >= last->cap || !last->bits) {
        struct key_filter f;
        enum confab_err err = grow(k);
        if (!err) {
            err = key_filter_init(&f, next_cap(k));
        }
        if (err) {
            return err;
        }
        k->bits_bytes += (size_t)f.nblocks * BLOCK_BYTES;
        k->list[k->n++] = f;
        last = &k->list[k->n - 1];
    }
    key_filter_add(last, hash, seq, days);
    return CONFAB_OK;
}

enum confab_err keys_put_older(struct keys *k, const struct key_filter *f)
{
    enum confab_err err = grow(k);
    if (err) {
        return err;
    }
    memmove(k->list + 1, k->list, k->n * sizeof(*k->list));
    k->list[0] = *f;
    k->n++;
    k->bits_bytes += (size_t)f->nblocks * BLOCK_BYTES;
    return CONFAB_OK;
}

void keys_expire(struct keys *k, uint16_t day)
{
    uint32_t n = 0;
    while (n < k->n && k->list[n].day_hi < day) {
        n++;
    }
    if (n > 0) {
        drop_oldest(k, n);
    }
}

/*
 * A row lies under the first seq of its chunk and the day of the chunk's last event, which may be
 * after the filter's: whoever comes that much later tells the day by which the chunk has ended.
 */
static uint16_t row_day_max(const struct keys *k, uint32_t i)
{
    uint64_t end = k->list[i].hi + CHUNK_EVENTS_MAX;
    for (uint32_t j = i + 1; j < k->n; j++) {
        if (k->list[j].hi >= end) {
            return k->list[j].day_hi;
        }
    }
    return UINT16_MAX;
}

bool keys_find(const struct keys *k, uint64_t hash, uint64_t below, uint16_t day,
               struct key_range *ret)
{
    for (uint32_t i = k->n; i > 0; i--) {
        const struct key_filter *f = &k->list[i - 1];
        if (f->lo < below && f->day_hi >= day && key_filter_has(f, hash)) {
            ret->lo = f->lo > CHUNK_EVENTS_MAX ? f->lo - CHUNK_EVENTS_MAX : 1;
            ret->hi = f->hi;
            ret->day_lo = MAX(f->day_lo, day);
            ret->day_hi = row_day_max(k, i - 1);
            ret->below = f->lo;
            return true;
        }
    }
    return false;
}
