/* Stamps, ids and resume tokens when the wall clock does what it likes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "world.h"

static const struct conv_id none;

/* What a token may say must be found again by a recovery. */
static void check_clock_is_recovered(struct world *w)
{
    uint64_t before = atomic_load(&w->shared.log_clock_ms);
    for (int i = 0; i < 2; i++) {
        clock_sim_set_wall(&w->clock, WORLD_START_MS - 86400000);
        world_kill(w, false, 0);
        assert_true(atomic_load(&w->shared.log_clock_ms) >= before);
    }
    clock_sim_set_wall(&w->clock, before + 1000);
}

static void test_time__every_token_lies_below_what_recovery_finds(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_run(w, 1000); /* the confirms of the follow-ups */
    check_clock_is_recovered(w);
    struct command *c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_run(w, 1000);
    check_clock_is_recovered(w);
    c = world_event(w, 2, none, EVENT_HIDE);
    c->in.conv = g;
    c->in.range_from = 1;
    c->in.range_to = 1;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_run(w, 1000);
    check_clock_is_recovered(w);
    assert_int_equal(world_err(w, world_ack(2, g, world_say(w, 1, g, "x", NULL), true)), CONFAB_OK);
    world_run(w, 5000);
    check_clock_is_recovered(w);
    world_flush(w);
    check_clock_is_recovered(w);
}

/* So that a restored server does not give out the ids that it has lost once more. */
static void test_time__a_clock_behind_the_log_goes_on_above_it(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t id;
    w->shared.skip_ms = 700;
    world_say(w, 1, g, "x", &id); /* this engine has begun */
    uint64_t seen = atomic_load(&w->shared.log_clock_ms);
    assert_in_range(seen, WORLD_START_MS, WORLD_START_MS + 699);
    clock_sim_set_wall(&w->clock, WORLD_START_MS - 86400000);
    world_kill(w, false, 0);
    seen = atomic_load(&w->shared.log_clock_ms);
    world_say(w, 1, g, "x", &id);
    assert_int_equal(message_id_time_ms(id), seen + 701);
    clock_sim_set_wall(&w->clock, seen + 10000);
    world_kill(w, false, 0);
    world_say(w, 1, g, "x", &id);
    assert_in_range(message_id_time_ms(id), seen + 10000, seen + 10600);
}

/* What another engine has just written is no clock that went back. */
static void test_time__engines_that_begin_in_one_millisecond(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct conv_id h = g;
    while (engine_shard_of(conv_id_partition(h), 2) == engine_shard_of(conv_id_partition(g), 2)) {
        h = world_group(w, 1, "cake", 2, 3);
    }
    w->shared.skip_ms = 700;
    clock_sim_set_wall(&w->clock, WORLD_START_MS + 10000);
    world_kill(w, false, 0);
    uint64_t id;
    world_say(w, 1, g, "x", &id);
    uint64_t now = message_id_time_ms(id);
    clock_sim_set_wall(&w->clock, now - 50);
    world_run(w, 0);
    world_say(w, 1, h, "x", &id);
    assert_in_range(message_id_time_ms(id), now, now + 100);
}

static void test_time__any_wall_clock_gives_rising_ids(void **state)
{
    (void)state;
    static const uint64_t walls[] = {0,
                                     5,
                                     ID_EPOCH_MS - 1,
                                     ID_EPOCH_MS,
                                     WORLD_START_MS,
                                     WORLD_START_MS - 5000,
                                     253402300799000ULL, /* the year 9999 */
                                     UINT64_MAX / 1000000,
                                     WORLD_START_MS + 5000,
                                     3};
    for (int kill = 0; kill < 2; kill++) {
        struct world w;
        world_init(&w);
        clock_sim_set_wall(&w.clock, 0);
        struct conv_id g = world_group(&w, 1, "tea", 2, 3);
        uint64_t last = 0;
        for (size_t i = 0; i < ARRAY_LEN(walls); i++) {
            clock_sim_set_wall(&w.clock, walls[i]);
            uint64_t id;
            uint64_t seq = world_say(&w, 1, g, "x", &id);
            assert_int_equal(seq, i + 2);
            assert_true(id > last && id <= INT64_MAX);
            assert_int_equal(message_id_partition(id), conv_id_partition(g));
            assert_in_range(message_id_time_ms(id), ID_EPOCH_MS, WORLD_START_MS + 86400000);
            last = id;
            if (kill) {
                world_kill(&w, false, 0);
            }
        }
        world_deinit(&w);
    }
}

static void test_time__a_millisecond_of_many_ids(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t last = 0;
    for (int round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < 6000; i++) {
            char key[32];
            snprintf(key, sizeof(key), "%d-%u", round, i);
            struct command *c = world_message(1, g, 0, key, "x");
            c->fresh = true;
            world_submit(w, c);
        }
        engine_seal(w->e);
        log_mem_step(w->log, 100);
        while (engine_poll(w->e)) {
        }
        struct command *c;
        uint32_t n = 0;
        while ((c = world_taken(w))) {
            assert_int_equal(c->err, CONFAB_OK);
            assert_true(c->ret_id > last);
            last = c->ret_id;
            n++;
            command_free(c);
        }
        assert_int_equal(n, 6000);
        world_kill(w, false, 0); /* the counter is recovered as well */
    }
}

static void test_time__backwards_after_a_refusal_or_a_failed_flush(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    log_mem_set_capacity(w->log, 1);
    assert_int_equal(world_err(w, world_message(1, g, 0, "z", "refused")), CONFAB_NO_SPACE);
    log_mem_set_capacity(w->log, 0);
    clock_sim_set_wall(&w->clock, WORLD_START_MS - 86400000);
    world_run(w, 2000);
    world_say(w, 1, g, "x", NULL);
    assert_int_equal(fault_plan_arm(world_plan(w), STORE_WRITE, 1, 1, FAULT_FAIL, CONFAB_IO),
                     CONFAB_OK);
    engine_flush_all(w->e);
    world_run(w, 10);
    assert_int_equal(fault_plan_hits(world_plan(w)), 1);
    clock_sim_set_wall(&w->clock, WORLD_START_MS - 2 * 86400000ULL);
    for (int i = 0; i < 20; i++) {
        world_run(w, 200);
    }
    assert_true(engine_is_quiet(w->e));
}

/* It was given by another server, or by this one before it was restored from a backup. */
static void test_time__a_token_from_the_future_counts_as_none(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_say(w, 1, g, "x", NULL);
    uint64_t now = atomic_load(&w->shared.log_clock_ms);
    struct command *c = world_snapshot(w, 2, g, now, 0, 0);
    assert_int_equal(c->nsnaps, 0);
    command_free(c);
    c = world_snapshot(w, 2, g, now + 5000, 0, 0);
    assert_int_equal(c->nsnaps, 1);
    assert_int_equal(c->snaps[0].covered_to, 2);
    command_free(c);
    c = world_snapshot(w, 2, g, UINT64_MAX, 0, 0);
    assert_int_equal(c->nsnaps, 1);
    command_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        T(test_time__every_token_lies_below_what_recovery_finds),
        T(test_time__a_clock_behind_the_log_goes_on_above_it),
        cmocka_unit_test_setup_teardown(test_time__engines_that_begin_in_one_millisecond,
                                        world_setup_two, world_teardown),
        cmocka_unit_test(test_time__any_wall_clock_gives_rising_ids),
        T(test_time__a_millisecond_of_many_ids),
        T(test_time__backwards_after_a_refusal_or_a_failed_flush),
        T(test_time__a_token_from_the_future_counts_as_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
