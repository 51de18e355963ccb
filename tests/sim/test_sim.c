/* Seeds of engines. */
#include "runs.h"

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

int main(void)
{
    diag_set_level_all(DIAG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim__seeds_with_changing_shards),
        cmocka_unit_test(test_sim__seeds_with_one_shard),
        cmocka_unit_test(test_sim__seeds_with_four_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
