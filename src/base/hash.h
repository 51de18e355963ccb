/*
 * Hash maps with open addressing: u64map from a 64-bit number to a 64-bit number, idmap from a
 * conversation id to a pointer. Tables are powers of two, at most 7/8 full, without tombstones.
 *
 * Slots are kept in the order of their keys' hashes (linear probing in which the entry nearer to
 * its home gives way), and the home is taken from the hash's upper bits. So a miss ends early even
 * in a full table, and a growing one is filled from its beginning to its end. It grows a little
 * with each put: no single one pays for a million entries.
 *
 * Give each map its own seed from a random source: it keeps others from choosing keys that collide,
 * and makes it safe to fill one map while walking another. The order of a walk depends only on the
 * seed and on what was done to the map, so a seeded run repeats itself.
 *
 * Nothing is allocated before the first entry. One thread at a time. The maps have no bound of
 * their own: callers compare _len with their configured maximum before they add.
 */
#ifndef CONFAB_BASE_HASH_H
#define CONFAB_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/id.h"

struct u64map_slot;
struct u64map_table {
    struct u64map_slot *slots; /* NULL or 1 << bits of them */
    uint8_t bits;
};
struct u64map {
    struct u64map_table now;
    struct u64map_table old; /* what `now` is taking over, after growing */
    size_t old_at;           /* next slot to take over; the one before it is free */
    size_t old_left;
    uint64_t seed;
    uint64_t zero_value; /* of key 0, which marks free slots inside a table */
    size_t len;          /* with key 0 */
    bool has_zero;
};

void u64map_init(struct u64map *m, uint64_t seed);
/* Accepts a zeroed map. The map is empty and usable again afterwards. */
void u64map_deinit(struct u64map *m);
static inline size_t u64map_len(const struct u64map *m)
{
    return m->len;
}
/* The value's place, valid until the map changes; NULL when the key is absent. */
uint64_t *u64map_find(const struct u64map *m, uint64_t key);
static inline bool u64map_get(const struct u64map *m, uint64_t key, uint64_t *ret_value)
{
    const uint64_t *v = u64map_find(m, key);
    if (v) {
        *ret_value = *v;
    }
    return v != NULL;
}
static inline bool u64map_has(const struct u64map *m, uint64_t key)
{
    return u64map_find(m, key) != NULL;
}
/* Adds or replaces. CONFAB_NOMEM leaves the map as it was; replacing never fails. */
CONFAB_NODISCARD enum confab_err u64map_put(struct u64map *m, uint64_t key, uint64_t value);
/* False when absent; ret_value (may be NULL) gets the removed value. Memory stays: see shrink. */
bool u64map_del(struct u64map *m, uint64_t key, uint64_t *ret_value);
/* Room for `len` entries in all, so that puts up to there cannot fail. */
CONFAB_NODISCARD enum confab_err u64map_reserve(struct u64map *m, size_t len);
/* Gives back memory when less than a quarter is used; does nothing when that would need memory. */
void u64map_shrink(struct u64map *m);
size_t u64map_bytes(const struct u64map *m);

/*
 * Walks all entries: struct u64map_iter it = {0}; while (u64map_next(&m, &it)) { it.key, *it.value
 * }. Inside the walk values may be changed and the entry just visited may be deleted; no other
 * change.
 */
struct u64map_iter {
    uint64_t key;
    uint64_t *value;
    size_t at; /* private */
    size_t left;
    int stage;
};
bool u64map_next(const struct u64map *m, struct u64map_iter *it);

struct idmap_slot;
struct idmap_table {
    struct idmap_slot *slots;
    uint8_t bits;
};
struct idmap {
    struct idmap_table now; /* as in u64map */
    struct idmap_table old;
    size_t old_at;
    size_t old_left;
    uint64_t seed;
    size_t len;
};

void idmap_init(struct idmap *m, uint64_t seed);
/* Accepts a zeroed map; what the values point to is the caller's. */
void idmap_deinit(struct idmap *m);
static inline size_t idmap_len(const struct idmap *m)
{
    return m->len;
}
/* NULL when absent. */
void *idmap_get(const struct idmap *m, struct conv_id key);
/* Adds or replaces; value is not NULL. CONFAB_NOMEM leaves the map as it was. */
CONFAB_NODISCARD enum confab_err idmap_put(struct idmap *m, struct conv_id key, void *value);
/* The removed value, NULL when absent. */
void *idmap_del(struct idmap *m, struct conv_id key);
CONFAB_NODISCARD enum confab_err idmap_reserve(struct idmap *m, size_t len);
void idmap_shrink(struct idmap *m);
size_t idmap_bytes(const struct idmap *m);

/* As u64map_iter. */
struct idmap_iter {
    struct conv_id key;
    void *value;
    size_t at; /* private */
    size_t left;
    int stage;
};
bool idmap_next(const struct idmap *m, struct idmap_iter *it);

#endif
