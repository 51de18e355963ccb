/* What a log does to an engine that does not take a submission: busy, full, failed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "world.h"

static const struct conv_id none;

static uint32_t taken(struct world *w, enum confab_err err)
{
    uint32_t n = 0;
    struct command *c;
    while ((c = world_taken(w))) {
        assert_int_equal(c->err, err);
        command_free(c);
        n++;
    }
    return n;
}

static void test_refusal__busy_takes_all_back(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    for (int round = 0; round < 2; round++) {
        log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_BUSY);
        for (int i = 0; i < 3; i++) {
            char key[16];
            snprintf(key, sizeof(key), "k%d", i);
            world_submit(w, world_message(1, g, 0, key, "x"));
        }
        world_run(w, 0);
        assert_int_equal(taken(w, CONFAB_BUSY), 3);
    }
    struct command *c = world_do(w, world_message(1, g, 0, "k1", "x"));
    assert_int_equal(c->err, CONFAB_OK);
    assert_false(c->duplicate);
    assert_int_equal(c->ret_seq, 2);
    command_free(c);
    c = world_history(w, 2, g, 10);
    assert_int_equal(world_records(c), 1);
    command_free(c);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_BUSY);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 9, 0), CONFAB_BUSY);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 9, 0), CONFAB_OK);
}

static void test_refusal__busy_behind_one_under_way(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_submit(w, world_message(1, g, 0, "a", "x"));
    engine_seal(w->e);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_BUSY);
    world_submit(w, world_message(1, g, 0, "b", "x"));
    engine_seal(w->e);
    assert_int_equal(taken(w, CONFAB_BUSY), 1);
    world_submit(w, world_message(1, g, 0, "c", "x"));
    world_submit(w, world_event(w, 1, g, EVENT_LEAVE));
    world_run(w, 0);
    assert_int_equal(taken(w, CONFAB_OK), 3);
    struct command *c = world_events(w, 2, g, 10);
    assert_int_equal(world_records(c), 4);
    for (uint32_t i = 0; i < 4; i++) {
        assert_int_equal(world_record(c, i).seq, i + 1);
    }
    command_free(c);
}

static void test_refusal__a_full_log_refuses_the_first_message(void **state)
{
    struct world *w = *state;
    log_mem_set_capacity(w->log, 1);
    assert_int_equal(world_err(w, world_message(1, none, 2, "a", "hi")), CONFAB_NO_SPACE);
    log_mem_set_capacity(w->log, 0);
    world_run(w, 2000);
    struct command *c = world_do(w, world_message(1, none, 2, "a", "hi"));
    assert_int_equal(c->err, CONFAB_OK);
    assert_int_equal(c->ret_seq, 2);
    command_free(c);
}

/* Whatever record a turn's early seal falls on, every command is answered. */
static void test_refusal__a_refused_early_seal_forgets_nobody(void **state)
{
    (void)state;
    char text[16001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = 0;
    for (size_t fill = 0; fill < 6000; fill += 20) {
        struct world w;
        world_init(&w);
        struct conv_id g = world_group(&w, 1, "tea", 2, 3);
        command_free(world_history(&w, 7, conv_id_direct(7, 8), 1)); /* in memory from here on */
        log_fault_plan(w.log_fault, LOG_FAULT_SUBMIT, 1, 2, CONFAB_BUSY);
        for (int i = 0; i < 65; i++) {
            char key[16];
            snprintf(key, sizeof(key), "k%d", i);
            world_submit(&w, world_message(1, g, 0, key, text));
        }
        text[MAX(fill, 1U)] = 0;
        world_submit(&w, world_message(1, g, 0, "fill", text));
        text[MAX(fill, 1U)] = 'x';
        world_submit(&w, world_message(7, none, 8, "a", "hi"));
        world_run(&w, 0);
        uint32_t n = 0;
        struct command *c;
        while ((c = world_taken(&w))) {
            n++;
            command_free(c);
        }
        assert_int_equal(n, 67);
        world_deinit(&w);
    }
}

static void test_refusal__follow_ups_do_not_spin_on_a_full_log(void **state)
{
    struct world *w = *state;
    w->mail_wait = true;
    struct command *c = world_event(w, 1, (struct conv_id){7, 7}, EVENT_CREATE);
    assert_int_equal(command_set_span(c, &c->in.text, span_str("tea")), CONFAB_OK);
    world_submit(w, c);
    for (uint32_t i = 0; i < 1000 && metrics_total(w, METRIC_FOLLOWUPS_SENT) == 0; i++) {
        world_phase(w, i);
    }
    /* There, but the confirm is not written yet. */
    for (uint32_t i = 0; i < 5 * WORLD_PHASES; i++) {
        world_phase(w, i);
    }
    assert_int_equal(taken(w, CONFAB_OK), 1);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, UINT64_MAX, CONFAB_NO_SPACE);
    uint64_t before = log_fault_calls(w->log_fault, LOG_FAULT_SUBMIT);
    for (int i = 0; i < 200; i++) {
        world_run(w, 2);
    }
    /* About two seconds. */
    assert_in_range(log_fault_calls(w->log_fault, LOG_FAULT_SUBMIT) - before, 1, 40);
    struct engine_stats st;
    engine_stats(w->e, &st);
    assert_int_equal(st.followups_pending, 1);
}

static void test_refusal__cursors_are_noted_again(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, 3, CONFAB_BUSY);
    assert_int_equal(world_err(w, world_ack(2, g, seq, true)), CONFAB_OK);
    for (int i = 0; i < 6; i++) {
        world_run(w, 1000);
    }
    assert_int_equal(w->nreceipts, 1);
    world_kill(w, false, 0);
    struct command *c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].read_seq, seq);
    command_free(c);
    struct command *ack = world_ack(3, g, seq, true);
    ack->durable = true;
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_BUSY);
    assert_int_equal(world_err(w, ack), CONFAB_BUSY);
}

static void test_refusal__a_failed_log_answers_durable_acks(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    struct command *ack = world_ack(2, g, seq, true);
    ack->durable = true;
    world_submit(w, world_message(1, g, 0, "z", "lost"));
    engine_seal(w->e);
    log_mem_fail(w->log);
    world_submit(w, ack);
    world_run(w, 0);
    assert_int_equal(taken(w, CONFAB_IO), 2);
    world_run(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        T(test_refusal__busy_takes_all_back),
        T(test_refusal__busy_behind_one_under_way),
        T(test_refusal__a_full_log_refuses_the_first_message),
        cmocka_unit_test(test_refusal__a_refused_early_seal_forgets_nobody),
        T(test_refusal__follow_ups_do_not_spin_on_a_full_log),
        T(test_refusal__cursors_are_noted_again),
        T(test_refusal__a_failed_log_answers_durable_acks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
