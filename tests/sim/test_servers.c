/* Seeds of whole servers; and a seed is the same run each time. */
#include "runs.h"

static void test_sim__whole_servers(void **state)
{
    (void)state;
    uint64_t seeds = from_env("CONFAB_SIM_SEEDS", SEEDS);
    uint64_t one = from_env("CONFAB_SEED", 0);
    run_seeds(one ? one : 1, one ? one : seeds / ENGINES_A_SERVER, 0, true);
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

int main(void)
{
    diag_set_level_all(DIAG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__whole_servers),
        cmocka_unit_test(test_sim__same_seed_same_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
