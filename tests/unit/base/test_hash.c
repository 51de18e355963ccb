/* Maps against a naive model, their inner order, and what happens without memory. */
#include "unit.h"

/* Counts down to the allocation that fails; negative: none does. */
static int unit_calloc_fails_in = -1;
static void *unit_calloc(size_t n, size_t size)
{
    if (unit_calloc_fails_in == 0) {
        return NULL;
    }
    unit_calloc_fails_in -= unit_calloc_fails_in > 0;
    return calloc(n, size);
}
#define calloc unit_calloc
#include "base/hash.c"
#undef calloc

enum { KEYS = 400 };

/* The promise of hash_internal.h: no gap between home and entry, and nobody richer is passed by. */
static bool table_is_sound(struct u64map_table t, uint64_t seed, size_t *entries)
{
    size_t cap = u64_cap(t);
    for (size_t i = 0; i < cap; i++) {
        if (t.slots[i].key == 0) {
            continue;
        }
        (*entries)++;
        size_t distance = u64_distance(t, seed, i);
        if (distance > 0) {
            size_t before = (i - 1) & (cap - 1);
            if (t.slots[before].key == 0 || u64_distance(t, seed, before) + 1 < distance) {
                return false;
            }
        }
    }
    return true;
}

static bool u64_is_sound(const struct u64map *m)
{
    size_t entries = 0;
    return table_is_sound(m->now, m->seed, &entries) && table_is_sound(m->old, m->seed, &entries) &&
           entries == m->len - m->has_zero && entries <= room(u64_cap(m->now));
}

static void test_hash__u64map_equals_model(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(7);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    struct u64map m;
    u64map_init(&m, random_u64(&rnd.base));
    bool has[KEYS] = {false};
    uint64_t values[KEYS] = {0};
    size_t len = 0;
    int while_growing = 0;
    for (int step = 0; step < 60000; step++) {
        /* Phases of growing and of shrinking; key 0 takes part. */
        uint64_t key = random_below(&rnd.base, KEYS);
        uint64_t value = random_u64(&rnd.base);
        uint64_t grow = step / 5000 % 2 == 0 ? 7 : 3;
        if (random_below(&rnd.base, 10) < grow) {
            assert_int_equal(u64map_put(&m, key, value), CONFAB_OK);
            len += !has[key];
            has[key] = true;
            values[key] = value;
        } else {
            uint64_t old = 1;
            bool deleted = u64map_del(&m, key, &old);
            unit_check(seed, deleted == has[key]);
            unit_check(seed, old == (deleted ? values[key] : 1));
            len -= has[key];
            has[key] = false;
        }
        if (random_below(&rnd.base, 100) == 0) {
            u64map_shrink(&m);
        }
        unit_check(seed, u64map_len(&m) == len);
        while_growing += m.old.slots != NULL;
        uint64_t probe = random_below(&rnd.base, KEYS);
        uint64_t got = 0;
        unit_check(seed, u64map_get(&m, probe, &got) == has[probe]);
        unit_check(seed, !has[probe] || got == values[probe]);
        if (step % 64 == 0) {
            unit_check(seed, u64_is_sound(&m));
        }
    }
    assert_true(while_growing > 20);
    u64map_deinit(&m);
}

static void test_hash__walk_sees_each_once_while_deleting(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(11);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    for (int round = 0; round < 300; round++) {
        struct u64map m;
        u64map_init(&m, random_u64(&rnd.base));
        uint64_t n = random_below(&rnd.base, KEYS);
        for (uint64_t key = 0; key < n; key++) {
            assert_int_equal(u64map_put(&m, key, key + 1), CONFAB_OK);
        }
        int seen[KEYS] = {0};
        bool deleted[KEYS] = {false};
        size_t left = (size_t)n;
        struct u64map_iter it = {0};
        while (u64map_next(&m, &it)) {
            uint64_t key = it.key;
            unit_check(seed, key < n && *it.value == key + 1);
            seen[key]++;
            if (random_below(&rnd.base, 2) == 0) {
                assert_true(u64map_del(&m, key, NULL));
                deleted[key] = true;
                left--;
            }
        }
        unit_check(seed, u64map_len(&m) == left && u64_is_sound(&m));
        for (uint64_t key = 0; key < n; key++) {
            unit_check(seed, seen[key] == 1);
            unit_check(seed, u64map_has(&m, key) == !deleted[key]);
        }
        u64map_deinit(&m);
    }
}

static void test_hash__same_seed_same_walk(void **state)
{
    (void)state;
    struct u64map a;
    struct u64map b;
    struct u64map other;
    u64map_init(&a, 99);
    u64map_init(&b, 99);
    u64map_init(&other, 100);
    for (uint64_t key = 1; key <= 500; key++) {
        assert_int_equal(u64map_put(&a, key, key), CONFAB_OK);
        assert_int_equal(u64map_put(&b, key, key), CONFAB_OK);
        assert_int_equal(u64map_put(&other, key, key), CONFAB_OK);
    }
    struct u64map_iter ia = {0};
    struct u64map_iter ib = {0};
    struct u64map_iter io = {0};
    int differs = 0;
    while (u64map_next(&a, &ia)) {
        assert_true(u64map_next(&b, &ib));
        assert_true(u64map_next(&other, &io));
        assert_int_equal(ia.key, ib.key);
        differs += ia.key != io.key;
    }
    assert_false(u64map_next(&b, &ib));
    assert_true(differs > 400);
    u64map_deinit(&a);
    u64map_deinit(&b);
    u64map_deinit(&other);
}

/* Ids are handed out in sequence: they must spread as well as random keys do. */
static void test_hash__sequences_stay_near_their_homes(void **state)
{
    (void)state;
    static const uint64_t strides[] = {1, 4096, 1ULL << 32, 1ULL << 44};
    for (size_t k = 0; k < ARRAY_LEN(strides); k++) {
        struct u64map m;
        u64map_init(&m, 12345 + k);
        size_t n = 7 << 13; /* fills 65,536 slots to the brim */
        for (uint64_t i = 1; i <= n; i++) {
            assert_int_equal(u64map_put(&m, i * strides[k], i), CONFAB_OK);
        }
        assert_int_equal(u64_cap(m.now), 65536);
        assert_null(m.old.slots);
        size_t total = 0;
        for (size_t i = 0; i < u64_cap(m.now); i++) {
            total += m.now.slots[i].key != 0 ? u64_distance(m.now, m.seed, i) : 0;
        }
        /* (1 / (1 - load) - 1) / 2 = 3.5 is expected of random keys. */
        assert_true(total / n <= 5);
        u64map_deinit(&m);
    }
}

/* No put moves more than a few runs, and a grown map is done moving long before it grows again. */
static void test_hash__growing_is_spread(void **state)
{
    (void)state;
    struct u64map m;
    u64map_init(&m, 77);
    size_t left = 0;
    size_t most = 0;
    for (uint64_t i = 1; i <= 500000; i++) {
        size_t cap = u64_cap(m.now);
        assert_int_equal(u64map_put(&m, i, i), CONFAB_OK);
        if (u64_cap(m.now) != cap) {
            assert_int_equal(left, 0);
            left = cap;
        }
        size_t now_left = m.old.slots ? m.old_left : 0;
        most = left - now_left > most ? left - now_left : most;
        left = now_left;
        if (i % 9999 == 0) {
            /* Reads and deletes work in the middle of it. */
            assert_true(u64map_del(&m, i, NULL));
            assert_false(u64map_has(&m, i));
            assert_true(u64map_has(&m, 1) && u64map_has(&m, i - 1));
        }
    }
    assert_true(most < 3000);
    u64map_deinit(&m);
}

static void test_hash__memory_follows_len(void **state)
{
    (void)state;
    struct u64map m;
    u64map_init(&m, 3);
    assert_int_equal(u64map_bytes(&m), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        assert_int_equal(u64map_put(&m, i, i), CONFAB_OK);
    }
    assert_int_equal(u64map_bytes(&m), 2048 * 16);
    for (uint64_t i = 1; i <= 990; i++) {
        assert_true(u64map_del(&m, i, NULL));
    }
    assert_int_equal(u64map_bytes(&m), 2048 * 16);
    u64map_shrink(&m);
    assert_int_equal(u64map_bytes(&m), 32 * 16);
    for (uint64_t i = 991; i <= 1000; i++) {
        assert_true(u64map_del(&m, i, NULL));
    }
    u64map_shrink(&m);
    assert_int_equal(u64map_bytes(&m), 0);
    assert_int_equal(u64map_put(&m, 1, 2), CONFAB_OK);
    u64map_deinit(&m);
    assert_int_equal(u64map_len(&m), 0);
}

static void test_hash__without_memory_nothing_changes(void **state)
{
    (void)state;
    struct u64map m;
    u64map_init(&m, 5);
    unit_calloc_fails_in = 0;
    assert_int_equal(u64map_put(&m, 1, 1), CONFAB_NOMEM);
    assert_int_equal(u64map_put(&m, 0, 9), CONFAB_OK); /* needs no table */
    unit_calloc_fails_in = 1;
    for (uint64_t i = 1; i <= 7; i++) {
        assert_int_equal(u64map_put(&m, i, i), CONFAB_OK);
    }
    assert_int_equal(u64map_put(&m, 8, 8), CONFAB_NOMEM);
    assert_int_equal(u64map_put(&m, 7, 70), CONFAB_OK);
    assert_int_equal(u64map_len(&m), 8);
    assert_false(u64map_has(&m, 8));
    assert_int_equal(u64map_reserve(&m, 100), CONFAB_NOMEM);
    unit_calloc_fails_in = -1;
    assert_int_equal(u64map_reserve(&m, SIZE_MAX / 4), CONFAB_NOMEM);
    assert_int_equal(u64map_reserve(&m, 100), CONFAB_OK);
    for (uint64_t i = 1; i <= 7; i++) {
        uint64_t v = 0;
        assert_true(u64map_get(&m, i, &v));
        assert_int_equal(v, i == 7 ? 70 : i);
    }
    /* Reserved: up to here no put allocates. Nor does a shrink that cannot. */
    unit_calloc_fails_in = 0;
    for (uint64_t i = 8; i <= 99; i++) {
        assert_int_equal(u64map_put(&m, i, i), CONFAB_OK);
    }
    for (uint64_t i = 8; i <= 99; i++) {
        assert_true(u64map_del(&m, i, NULL));
    }
    size_t bytes = u64map_bytes(&m);
    u64map_shrink(&m);
    assert_int_equal(u64map_bytes(&m), bytes);
    assert_int_equal(u64map_len(&m), 8);
    unit_calloc_fails_in = -1;
    u64map_deinit(&m);
}

static void test_hash__idmap_equals_model(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(13);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    struct idmap m;
    idmap_init(&m, random_u64(&rnd.base));
    static char targets[KEYS];
    void *model[KEYS] = {NULL};
    size_t len = 0;
    for (int step = 0; step < 40000; step++) {
        uint64_t k = random_below(&rnd.base, KEYS);
        /* Half differ in hi alone, half in lo alone; one is all zero. */
        struct conv_id id = k % 2 == 0 ? (struct conv_id){k, 0} : (struct conv_id){0, k};
        uint64_t grow = step / 4000 % 2 == 0 ? 7 : 3;
        if (random_below(&rnd.base, 10) < grow) {
            char *target = &targets[random_below(&rnd.base, KEYS)];
            assert_int_equal(idmap_put(&m, id, target), CONFAB_OK);
            len += model[k] == NULL;
            model[k] = target;
        } else {
            unit_check(seed, idmap_del(&m, id) == model[k]);
            len -= model[k] != NULL;
            model[k] = NULL;
        }
        if (random_below(&rnd.base, 500) == 0) {
            idmap_shrink(&m);
        }
        unit_check(seed, idmap_len(&m) == len);
        unit_check(seed, idmap_get(&m, id) == model[k]);
    }
    size_t seen = 0;
    struct idmap_iter it = {0};
    while (idmap_next(&m, &it)) {
        uint64_t k = it.key.hi | it.key.lo;
        unit_check(seed, k < KEYS && model[k] == it.value);
        assert_ptr_equal(idmap_del(&m, it.key), it.value);
        seen++;
    }
    unit_check(seed, seen == len && idmap_len(&m) == 0);
    unit_calloc_fails_in = 0;
    idmap_deinit(&m);
    assert_int_equal(idmap_put(&m, (struct conv_id){1, 1}, targets), CONFAB_NOMEM);
    assert_int_equal(idmap_reserve(&m, 1), CONFAB_NOMEM);
    assert_null(idmap_get(&m, (struct conv_id){1, 1}));
    unit_calloc_fails_in = -1;
    assert_int_equal(idmap_bytes(&m), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash__u64map_equals_model),
        cmocka_unit_test(test_hash__walk_sees_each_once_while_deleting),
        cmocka_unit_test(test_hash__same_seed_same_walk),
        cmocka_unit_test(test_hash__sequences_stay_near_their_homes),
        cmocka_unit_test(test_hash__growing_is_spread),
        cmocka_unit_test(test_hash__memory_follows_len),
        cmocka_unit_test(test_hash__without_memory_nothing_changes),
        cmocka_unit_test(test_hash__idmap_equals_model),
    };
    return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
