/*
 * Runs of the simulator as tests. CONFAB_SIM_SEEDS says how many seeds of engines (200 by default;
 * half as many of whole servers come on top), CONFAB_SEED runs one of each.
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

static void run_seeds(uint64_t first, uint64_t last, uint16_t shards, bool gate)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        struct sim_options options = {.seed = seed, .shards = shards, .gate = gate};
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
    run_seeds(one ? one : 1, one ? one : seeds / 2, 0, false);
}
static void test_sim__seeds_with_one_shard(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    run_seeds(seeds / 2 + 1, seeds / 2 + seeds / 4, 1, false);
}
static void test_sim__seeds_with_four_shards(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    run_seeds(seeds / 2 + seeds / 4 + 1, seeds, 4, false);
}

static void test_sim__whole_servers(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    uint64_t one = from_env("CONFAB_SEED", 0);
    run_seeds(one ? one : 1, one ? one : seeds / 2, 0, true);
}

static void test_sim__same_seed_same_run(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct sim_options options = {.seed = seed, .gate = seed > 4};
        struct sim_result a;
        struct sim_result b;
        sim_run(&options, &a);
        sim_run(&options, &b);
        assert_true(a.trace == b.trace);
        assert_memory_equal(&a.counts, &b.counts, sizeof(a.counts));
    }
}

/* Within so many seeds each planted bug must be found. */
enum { BUG_SEEDS = 12 };

/* A failed run is not taken down; what it leaves is no leak of anybody's. */
void __lsan_disable(void) __attribute__((weak)); /* NOLINT: the sanitizer's own name */
void __lsan_enable(void) __attribute__((weak));  /* NOLINT */

static void expect_found(enum sim_bug bug, bool gate)
{
    bool found = false;
    if (__lsan_disable) {
        __lsan_disable();
    }
    for (uint64_t seed = 1; seed <= BUG_SEEDS && !found; seed++) {
        struct sim_options options = {.seed = seed, .bug = bug, .gate = gate};
        struct sim_result result;
        sim_run(&options, &result);
        found = result.failed;
    }
    if (__lsan_enable) {
        __lsan_enable();
    }
    if (!found) {
        print_error("not found: %s\n", sim_bug_name(bug));
    }
    assert_true(found);
}

static void test_sim__engines_find_planted_bugs(void **state)
{
    (void)state;
    for (int bug = 1; bug < BUG_FIRST_GATE; bug++) {
        expect_found((enum sim_bug)bug, false);
    }
}

static void test_sim__whole_servers_find_planted_bugs(void **state)
{
    (void)state;
    static const enum sim_bug below[] = {BUG_ACK_BEFORE_SYNC, BUG_LOST_BATCH, BUG_NO_DEDUP_ROWS,
                                         BUG_NO_FLUSH, BUG_SHORT_LOG};
    for (size_t i = 0; i < ARRAY_LEN(below); i++) {
        expect_found(below[i], true);
    }
    for (int bug = BUG_FIRST_GATE; bug < BUG_COUNT; bug++) {
        expect_found((enum sim_bug)bug, true);
    }
}

int main(void)
{
    diag_set_level_all(DIAG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__seeds_with_changing_shards),
        cmocka_unit_test(test_sim__seeds_with_one_shard),
        cmocka_unit_test(test_sim__seeds_with_four_shards),
        cmocka_unit_test(test_sim__whole_servers),
        cmocka_unit_test(test_sim__same_seed_same_run),
        cmocka_unit_test(test_sim__engines_find_planted_bugs),
        cmocka_unit_test(test_sim__whole_servers_find_planted_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
