/*
 * Runs of the simulator as tests. CONFAB_SIM_SEEDS says how many seeds (200 by default),
 * CONFAB_SEED runs one.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "sim.h"

enum { SEEDS = 200 };

static uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void run_seeds(uint64_t first, uint64_t last, uint16_t shards)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        struct sim_options options = {.seed = seed, .shards = shards};
        struct sim_result result;
        sim_run(&options, &result);
        if (result.failed) {
            sim_report(&options, &result);
            fail();
        }
    }
}

/* Half of the seeds with any numbers of shards, a quarter with one, a quarter with four. */
static void test_sim__seeds_with_changing_shards(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    uint64_t one = from_env("CONFAB_SEED", 0);
    run_seeds(one ? one : 1, one ? one : seeds / 2, 0);
}
static void test_sim__seeds_with_one_shard(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    run_seeds(seeds / 2 + 1, seeds / 2 + seeds / 4, 1);
}
static void test_sim__seeds_with_four_shards(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    run_seeds(seeds / 2 + seeds / 4 + 1, seeds, 4);
}

static void test_sim__same_seed_same_run(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 4; seed++) {
        struct sim_options options = {.seed = seed};
        struct sim_result a;
        struct sim_result b;
        sim_run(&options, &a);
        sim_run(&options, &b);
        assert_true(a.trace == b.trace);
        assert_memory_equal(&a.counts, &b.counts, sizeof(a.counts));
    }
}

/* Within so many seeds each planted bug must be found. */
enum { BUG_SEEDS = 3 };

/* A failed run is not taken down; what it leaves is no leak of anybody's. */
void __lsan_disable(void) __attribute__((weak)); /* NOLINT: the sanitizer's own name */
void __lsan_enable(void) __attribute__((weak));  /* NOLINT */

static void test_sim__finds_planted_bugs(void **state)
{
    (void)state;
    if (__lsan_disable) {
        __lsan_disable();
    }
    for (int bug = 1; bug < BUG_COUNT; bug++) {
        bool found = false;
        for (uint64_t seed = 1; seed <= BUG_SEEDS && !found; seed++) {
            struct sim_options options = {.seed = seed, .bug = (enum sim_bug)bug};
            struct sim_result result;
            sim_run(&options, &result);
            found = result.failed;
        }
        if (!found) {
            print_error("not found: %s\n", sim_bug_name((enum sim_bug)bug));
        }
        assert_true(found);
    }
    if (__lsan_enable) {
        __lsan_enable();
    }
}

int main(void)
{
    diag_set_level_all(DIAG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__seeds_with_changing_shards),
        cmocka_unit_test(test_sim__seeds_with_one_shard),
        cmocka_unit_test(test_sim__seeds_with_four_shards),
        cmocka_unit_test(test_sim__same_seed_same_run),
        cmocka_unit_test(test_sim__finds_planted_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
