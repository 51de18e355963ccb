/* Tokens of the present, of before, and of what a restore has lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/mem/disk_sim.h"
#include "core/epochs.h"

static struct disk_sim *new_disk(void)
{
    struct disk_sim *sim;
    assert_int_equal(disk_sim_new(&(struct disk_sim_config){0}, &sim), CONFAB_OK);
    return sim;
}

static void begin(struct disk_sim *sim, uint64_t id, uint64_t ms, struct epochs *e)
{
    epochs_begin(e, disk_sim_disk(sim), id, ms);
    assert_true(epochs_present(e) == id);
}

static void test_epochs__tokens_outlive_starts(void **state)
{
    (void)state;
    struct disk_sim *sim = new_disk();
    struct epochs e;
    begin(sim, 11, 0, &e);
    assert_true(epochs_know(&e, 11, 1000)); /* the present one has no end yet */
    assert_false(epochs_know(&e, 12, 0));
    assert_false(epochs_know(&e, 0, 0));
    disk_sim_crash(sim, 1);
    begin(sim, 12, 500, &e);
    assert_true(epochs_know(&e, 11, 500));
    assert_false(epochs_know(&e, 11, 501)); /* given out, and then lost */
    assert_true(epochs_know(&e, 12, 9000));
    disk_sim_kill(sim);
    begin(sim, 13, 500, &e);
    assert_true(epochs_know(&e, 11, 500));
    assert_true(epochs_know(&e, 12, 500));
    assert_false(epochs_know(&e, 12, 501));
    disk_sim_free(sim);
}

/* Others write on after the restore, until the clock has passed all that was lost. */
static void test_epochs__a_restore_forgets(void **state)
{
    (void)state;
    struct disk_sim *sim = new_disk();
    struct disk_sim *backup;
    struct epochs e;
    begin(sim, 21, 0, &e);
    disk_sim_kill(sim);
    assert_int_equal(disk_sim_clone(sim, &backup), CONFAB_OK); /* when the clock is at 100 */
    begin(sim, 22, 100, &e);
    assert_true(epochs_know(&e, 22, 300)); /* lost soon */
    begin(backup, 23, 100, &e);
    assert_true(epochs_know(&e, 21, 100));
    assert_false(epochs_know(&e, 21, 101));
    assert_false(epochs_know(&e, 22, 300));
    assert_false(epochs_know(&e, 22, 50));
    assert_true(epochs_lost(&e, 22, 300));
    assert_true(epochs_lost(&e, 21, 101));
    assert_false(epochs_lost(&e, 21, 100));
    disk_sim_kill(backup);
    begin(backup, 24, 1000000, &e);
    assert_false(epochs_know(&e, 22, 300));
    assert_true(epochs_know(&e, 23, 1000000));
    disk_sim_free(sim);
    disk_sim_free(backup);
}

static void test_epochs__the_oldest_are_forgotten(void **state)
{
    (void)state;
    struct disk_sim *sim = new_disk();
    struct epochs e;
    for (uint64_t i = 1; i <= EPOCHS_MAX + 3; i++) {
        begin(sim, i, i * 10, &e);
        disk_sim_kill(sim);
    }
    assert_int_equal(e.n, EPOCHS_MAX);
    assert_false(epochs_know(&e, 3, 0));
    assert_false(epochs_lost(&e, 3, 30)); /* of long ago, that is all */
    assert_true(epochs_know(&e, 4, 50));
    assert_false(epochs_know(&e, 4, 51));
    disk_sim_free(sim);
}

/* Wherever power fails, and whatever fails: what is known afterwards was given out. */
static void test_epochs__no_crash_makes_one_up(void **state)
{
    (void)state;
    bool kept = false;
    bool lost = false;
    for (uint64_t at = 0; at < 12; at++) {
        struct disk_sim *sim = new_disk();
        struct epochs e;
        begin(sim, 31, 0, &e);
        disk_sim_halt_after(sim, at);
        begin(sim, 32, 70, &e);
        bool written = e.written;
        disk_sim_crash(sim, at + 1);
        begin(sim, 33, 90, &e);
        bool known = epochs_know(&e, 32, 80);
        assert_true(known || !written);
        kept |= known;
        lost |= !known;
        assert_true(epochs_know(&e, 31, 70));
        assert_false(epochs_know(&e, 31, 91));
        assert_false(epochs_know(&e, 32, 91));
        disk_sim_free(sim);
    }
    assert_true(kept && lost);
}

static void test_epochs__damage_counts_as_empty(void **state)
{
    (void)state;
    for (uint64_t at = 0; at < 32; at++) {
        struct disk_sim *sim = new_disk();
        struct epochs e;
        begin(sim, 41, 0, &e);
        disk_sim_kill(sim);
        assert_int_equal(disk_sim_flip(sim, "EPOCHS", at, 4), CONFAB_OK);
        begin(sim, 42, 70, &e);
        assert_int_equal(e.n, 1);
        assert_false(epochs_know(&e, 41, 10));
        disk_sim_kill(sim);
        begin(sim, 43, 80, &e); /* and was written well again */
        assert_true(epochs_know(&e, 42, 80));
        disk_sim_free(sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_epochs__tokens_outlive_starts),
        cmocka_unit_test(test_epochs__a_restore_forgets),
        cmocka_unit_test(test_epochs__the_oldest_are_forgotten),
        cmocka_unit_test(test_epochs__no_crash_makes_one_up),
        cmocka_unit_test(test_epochs__damage_counts_as_empty),
    };
    return cmocka_run_group_tests_name("epochs", tests, NULL, NULL);
}
