/* Random sources and the system's clocks. */
#include "base/random.h"

#include <stdbool.h>

#include "base/clock.h"
#include "unit.h"

static void test_random__seed_repeats(void **state)
{
    (void)state;
    struct random_seeded a;
    struct random_seeded b;
    struct random_seeded c;
    random_seeded_init(&a, 42);
    random_seeded_init(&b, 42);
    random_seeded_init(&c, 43);
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint64_t va = random_u64(&a.base);
        assert_int_equal(va, random_u64(&b.base));
        same += va == random_u64(&c.base);
    }
    assert_int_equal(same, 0);
    /* The generator's published definition, its state set to 1, 2, 3, 4. */
    a.state[0] = 1;
    a.state[1] = 2;
    a.state[2] = 3;
    a.state[3] = 4;
    assert_int_equal(random_u64(&a.base), 11520);
    assert_int_equal(random_u64(&a.base), 0);
    assert_int_equal(random_u64(&a.base), 1509978240);
}

static void test_random__below_is_even(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, 1);
    unsigned count[10] = {0};
    for (int i = 0; i < 100000; i++) {
        uint64_t v = random_below(&r.base, 10);
        assert_true(v < 10);
        count[v]++;
    }
    for (int i = 0; i < 10; i++) {
        assert_true(count[i] > 9500 && count[i] < 10500);
    }
    /* With three quarters of the range, one draw in four must be made anew: none may come through.
     */
    uint64_t n = 3ULL << 62;
    unsigned upper = 0;
    for (int i = 0; i < 30000; i++) {
        uint64_t v = random_below(&r.base, n);
        assert_true(v < n);
        upper += v >= 2ULL << 62;
    }
    assert_true(upper > 9500 && upper < 10500);
    assert_int_equal(random_below(&r.base, 1), 0);
}

static void test_random__fill_any_length(void **state)
{
    (void)state;
    struct random_source *sources[2];
    struct random_seeded seeded;
    random_seeded_init(&seeded, 5);
    sources[0] = &seeded.base;
    sources[1] = random_system();
    for (int s = 0; s < 2; s++) {
        for (size_t n = 0; n < 40; n++) {
            /* Repeated fills leave no byte untouched and touch none outside. */
            uint8_t p[42];
            uint8_t ever[42] = {0};
            for (int i = 0; i < 20; i++) {
                memset(p, 0, sizeof(p));
                random_fill(sources[s], p + 1, n);
                for (size_t k = 0; k < sizeof(p); k++) {
                    ever[k] |= p[k];
                }
            }
            for (size_t k = 0; k < sizeof(p); k++) {
                assert_int_equal(ever[k] != 0, k >= 1 && k <= n);
            }
        }
    }
    assert_true(random_u64(sources[1]) != random_u64(sources[1]));
}

static void test_clock__system(void **state)
{
    (void)state;
    struct clock *c = clock_system();
    uint64_t before = clock_mono_ns(c);
    for (int i = 0; i < 1000; i++) {
        uint64_t now = clock_mono_ns(c);
        assert_true(now >= before);
        before = now;
    }
    /* After this was written and before the text form of times runs out. */
    assert_true(clock_wall_ms(c) > 1735689600000);
    assert_true(clock_wall_ms(c) < 253402300799999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random__seed_repeats),
        cmocka_unit_test(test_random__below_is_even),
        cmocka_unit_test(test_random__fill_any_length),
        cmocka_unit_test(test_clock__system),
    };
    return cmocka_run_group_tests_name("random", tests, NULL, NULL);
}
