/*
 * Why not a table per bucket or a library: sessions and conversations are counted in millions, and
 * 16 (24) bytes a slot without a pointer chase is what the memory budget allows. Robin Hood order
 * was chosen over tombstones because connections come and go for months.
 */
#include "base/hash.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* TAKE_OVER: slots of the old table that a put moves, then on to the end of their run. */
enum { MIN_BITS = 3, MAX_BITS = 40, TAKE_OVER = 16 };

__extension__ typedef unsigned __int128 u128;

/* Stages of a walk: entering a table and being inside it. */
enum { WALK_BEGIN = 0, WALK_NOW, WALK_IN_NOW, WALK_IN_OLD };

static inline size_t room(size_t cap)
{
    return cap - cap / 8;
}

/* Two folded multiplications: the product's upper half spreads every bit of the key. */
static inline uint64_t fold(uint64_t a, uint64_t b)
{
    u128 m = (u128)a * b;
    return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static inline uint64_t hash_u64(uint64_t key, uint64_t seed)
{
    uint64_t h = fold(key ^ seed, 0x9e3779b97f4a7c15U);
    return fold(h ^ 0xd1b54a32d192ed03U, seed | 1);
}

static inline uint64_t hash_conv_id(struct conv_id key, uint64_t seed)
{
    uint64_t h = fold(key.hi ^ seed, 0x9e3779b97f4a7c15U);
    return fold(h ^ key.lo ^ 0xd1b54a32d192ed03U, seed | 1);
}

struct u64map_slot {
    uint64_t key; /* 0: free */
    uint64_t value;
};

#define TABLE(x)       u64_##x
#define TABLE_MAP      struct u64map
#define TABLE_ONE      struct u64map_table
#define TABLE_SLOT     struct u64map_slot
#define TABLE_KEY      uint64_t
#define TABLE_EMPTY(s) ((s)->key == 0)
#define TABLE_EQ(a, b) ((a) == (b))
#define TABLE_HASH     hash_u64
#include "base/hash_internal.h"
#undef TABLE
#undef TABLE_MAP
#undef TABLE_ONE
#undef TABLE_SLOT
#undef TABLE_KEY
#undef TABLE_EMPTY
#undef TABLE_EQ
#undef TABLE_HASH

struct idmap_slot {
    struct conv_id key;
    void *value; /* NULL: free */
};

#define TABLE(x)       id_##x
#define TABLE_MAP      struct idmap
#define TABLE_ONE      struct idmap_table
#define TABLE_SLOT     struct idmap_slot
#define TABLE_KEY      struct conv_id
#define TABLE_EMPTY(s) ((s)->value == NULL)
#define TABLE_EQ(a, b) conv_id_eq(a, b)
#define TABLE_HASH     hash_conv_id
#include "base/hash_internal.h"

/* --- u64map --- */

void u64map_init(struct u64map *m, uint64_t seed)
{
    memset(m, 0, sizeof(*m));
    m->seed = seed;
}

void u64map_deinit(struct u64map *m)
{
    u64_free(m);
    u64map_init(m, m->seed);
}

uint64_t *u64map_find(const struct u64map *m, uint64_t key)
{
    if (UNLIKELY(key == 0)) {
        /* The map is const for the caller who only reads; the value's place is not part of a slot.
         */
        return m->has_zero ? (uint64_t *)(uintptr_t)&m->zero_value : NULL;
    }
    struct u64map_slot *s = u64_lookup(m, key);
    return s ? &s->value : NULL;
}

enum confab_err u64map_put(struct u64map *m, uint64_t key, uint64_t value)
{
    uint64_t *place = u64map_find(m, key);
    if (place) {
        *place = value;
        return CONFAB_OK;
    }
    if (key == 0) {
        m->has_zero = true;
        m->zero_value = value;
        m->len++;
        return CONFAB_OK;
    }
    enum confab_err err = u64_fit(m, m->len - m->has_zero + 1);
    if (err) {
        return err;
    }
    u64_add(m, (struct u64map_slot){key, value});
    m->len++;
    return CONFAB_OK;
}

bool u64map_del(struct u64map *m, uint64_t key, uint64_t *ret_value)
{
    uint64_t *place = u64map_find(m, key);
    if (!place) {
        return false;
    }
    if (ret_value) {
        *ret_value = *place;
    }
    if (key == 0) {
        m->has_zero = false;
        m->zero_value = 0;
    } else {
        u64_remove(m, CONTAINER_OF(place, struct u64map_slot, value));
    }
    m->len--;
    return true;
}

enum confab_err u64map_reserve(struct u64map *m, size_t len)
{
    return u64_fit(m, len);
}

void u64map_shrink(struct u64map *m)
{
    u64_compact(m, m->len - m->has_zero);
}

size_t u64map_bytes(const struct u64map *m)
{
    return (u64_cap(m->now) + u64_cap(m->old)) * sizeof(*m->now.slots);
}

bool u64map_next(const struct u64map *m, struct u64map_iter *it)
{
    if (it->stage == WALK_BEGIN) {
        it->stage = WALK_NOW;
        if (m->has_zero) {
            it->key = 0;
            it->value = u64map_find(m, 0);
            return true;
        }
    }
    struct u64map_slot *s = u64_walk(m, &it->at, &it->left, &it->stage);
    if (!s) {
        return false;
    }
    it->key = s->key;
    it->value = &s->value;
    return true;
}

/* --- idmap --- */

void idmap_init(struct idmap *m, uint64_t seed)
{
    memset(m, 0, sizeof(*m));
    m->seed = seed;
}

void idmap_deinit(struct idmap *m)
{
    id_free(m);
    idmap_init(m, m->seed);
}

void *idmap_get(const struct idmap *m, struct conv_id key)
{
    const struct idmap_slot *s = id_lookup(m, key);
    return s ? s->value : NULL;
}

enum confab_err idmap_put(struct idmap *m, struct conv_id key, void *value)
{
    CHECK(value != NULL);
    struct idmap_slot *s = id_lookup(m, key);
    if (s) {
        s->value = value;
        return CONFAB_OK;
    }
    enum confab_err err = id_fit(m, m->len + 1);
    if (err) {
        return err;
    }
    id_add(m, (struct idmap_slot){key, value});
    m->len++;
    return CONFAB_OK;
}

void *idmap_del(struct idmap *m, struct conv_id key)
{
    struct idmap_slot *s = id_lookup(m, key);
    if (!s) {
        return NULL;
    }
    void *value = s->value;
    id_remove(m, s);
    m->len--;
    return value;
}

enum confab_err idmap_reserve(struct idmap *m, size_t len)
{
    return id_fit(m, len);
}

void idmap_shrink(struct idmap *m)
{
    id_compact(m, m->len);
}

size_t idmap_bytes(const struct idmap *m)
{
    return (id_cap(m->now) + id_cap(m->old)) * sizeof(*m->now.slots);
}

bool idmap_next(const struct idmap *m, struct idmap_iter *it)
{
    struct idmap_slot *s = id_walk(m, &it->at, &it->left, &it->stage);
    if (!s) {
        return false;
    }
    it->key = s->key;
    it->value = s->value;
    return true;
}
