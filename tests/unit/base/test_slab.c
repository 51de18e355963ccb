/* The pool: indices, addresses that stay, the bound, and life without memory. */
#include "unit.h"

static int unit_allocs_left = -1; /* negative: no failure */
static bool unit_refuse(void)
{
    if (unit_allocs_left == 0) {
        return true;
    }
    unit_allocs_left -= unit_allocs_left > 0;
    return false;
}
static void *unit_realloc(void *p, size_t n)
{
    return unit_refuse() ? NULL : realloc(p, n);
}
static void *unit_aligned_alloc(size_t align, size_t n)
{
    return unit_refuse() ? NULL : aligned_alloc(align, n);
}
#define realloc       unit_realloc
#define aligned_alloc unit_aligned_alloc
#include "base/slab.c"
#undef realloc
#undef aligned_alloc

enum { OBJECTS = 3000 };
struct object {
    uint64_t stamp;
    char bytes[116];
};

static void test_slab__equals_model(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(5);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    struct slab s;
    slab_init(&s, sizeof(struct object), OBJECTS);
    static struct object *where[OBJECTS];
    static uint64_t stamps[OBJECTS]; /* 0: free */
    static uint32_t alive[OBJECTS];
    uint32_t n = 0;
    for (int step = 0; step < 60000; step++) {
        uint64_t grow = step / 10000 % 2 == 0 ? 7 : 3;
        if (random_below(&rnd.base, 10) < grow) {
            uint32_t i = 0;
            enum confab_err err = slab_alloc(&s, &i);
            unit_check(seed, (err == CONFAB_LIMIT) == (n == OBJECTS));
            if (err) {
                continue;
            }
            unit_check(seed, i < OBJECTS && stamps[i] == 0);
            struct object *o = slab_get(&s, i);
            for (size_t k = 0; k < sizeof(o->bytes); k++) {
                unit_check(seed, o->bytes[k] == 0);
            }
            unit_check(seed, where[i] == NULL || where[i] == o);
            unit_check(seed, (uintptr_t)o % sizeof(void *) == 0 && o->stamp == 0);
            memset(o, 0x55, sizeof(*o));
            o->stamp = stamps[i] = random_u64(&rnd.base) | 1;
            where[i] = o;
            alive[n++] = i;
        } else if (n > 0) {
            uint32_t at = (uint32_t)random_below(&rnd.base, n);
            uint32_t i = alive[at];
            unit_check(seed, where[i]->stamp == stamps[i]);
            slab_free(&s, i);
            stamps[i] = 0;
            alive[at] = alive[--n];
        }
        unit_check(seed, slab_count(&s) == n);
    }
    for (uint32_t at = 0; at < n; at++) {
        unit_check(seed, where[alive[at]]->stamp == stamps[alive[at]]);
    }
    slab_deinit(&s);
    slab_deinit(&s);
}

static void test_slab__bytes_per_object(void **state)
{
    (void)state;
    struct slab s;
    slab_init(&s, 128, 1 << 20);
    uint32_t i = 0;
    for (int n = 0; n < 100000; n++) {
        assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
    }
    assert_int_equal((uintptr_t)slab_get(&s, i) % 64, 0);
    /* One part-filled chunk of 64 KiB and the table of chunks are all that it costs. */
    assert_true(slab_bytes(&s) <= 100000 * 128 + 65536 + 4096);
    slab_deinit(&s);
    /* A small limit does not take a large chunk. */
    slab_init(&s, 128, 4);
    assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
    assert_true(slab_bytes(&s) <= 4 * 128 + 8);
    slab_deinit(&s);
    /* Objects larger than a chunk, and the smallest. */
    slab_init(&s, 100000, 3);
    assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
    assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
    memset(slab_get(&s, i), 1, 100000);
    slab_deinit(&s);
    slab_init(&s, 1, 10);
    for (uint32_t k = 0; k < 10; k++) {
        assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
        assert_int_equal(i, k);
    }
    assert_int_equal(slab_alloc(&s, &i), CONFAB_LIMIT);
    slab_deinit(&s);
}

static void test_slab__without_memory_nothing_changes(void **state)
{
    (void)state;
    struct slab s;
    slab_init(&s, 32768, 100);
    uint32_t i = 77;
    for (int fails_after = 0; fails_after < 2; fails_after++) {
        unit_allocs_left = fails_after;
        assert_int_equal(slab_alloc(&s, &i), CONFAB_NOMEM);
        assert_int_equal(i, 77);
        assert_int_equal(slab_count(&s), 0);
    }
    unit_allocs_left = -1;
    uint32_t a = 0;
    uint32_t b = 0;
    assert_int_equal(slab_alloc(&s, &a), CONFAB_OK);
    assert_int_equal(slab_alloc(&s, &b), CONFAB_OK);
    unit_allocs_left = 0;
    assert_int_equal(slab_alloc(&s, &i), CONFAB_NOMEM); /* the chunk held two */
    slab_free(&s, a);
    assert_int_equal(slab_alloc(&s, &i), CONFAB_OK);
    assert_int_equal(i, a);
    unit_allocs_left = -1;
    slab_deinit(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slab__equals_model),
        cmocka_unit_test(test_slab__bytes_per_object),
        cmocka_unit_test(test_slab__without_memory_nothing_changes),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
