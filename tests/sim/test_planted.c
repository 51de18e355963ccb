/* The simulator finds faults that are planted in its own adapters. */
#include "runs.h"

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
        cmocka_unit_test(test_sim__engines_find_planted_bugs),
        cmocka_unit_test(test_sim__whole_servers_find_planted_bugs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
