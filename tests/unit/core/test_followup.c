/* Follow-ups: between engines, out of order, refused, and killed between each pair of steps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "world.h"

static const struct conv_id none;

static struct engine *engine_of(struct world *w, struct conv_id id)
{
    return w->shards[engine_shard_of(conv_id_partition(id), w->nshards)].e;
}

static uint64_t pending(struct world *w)
{
    uint64_t n = 0;
    for (uint16_t i = 0; i < w->nshards; i++) {
        struct engine_stats st;
        engine_stats(w->shards[i].e, &st);
        n += st.followups_pending;
    }
    return n;
}

static void settle(struct world *w)
{
    for (int i = 0; i < 40 && pending(w) > 0; i++) {
        world_run(w, 250);
    }
    assert_int_equal(pending(w), 0);
}

/* How often the user's own log says that. */
static uint32_t said(struct world *w, uint64_t user, uint8_t kind, struct conv_id conv)
{
    struct command *c = world_events(w, user, conv_id_self(user), 200);
    uint32_t n = 0;
    for (uint32_t i = 0; !c->err && i < world_records(c); i++) {
        struct event ev = world_record(c, i);
        n += ev.kind == kind && (conv_id_is_zero(conv) || conv_id_eq(ev.conv, conv));
    }
    command_free(c);
    return n;
}

static bool listed(struct world *w, uint64_t user, struct conv_id conv)
{
    struct command *c = world_list(w, user);
    bool joined = false;
    for (uint32_t i = 0; i < c->nentries; i++) {
        joined |= conv_id_eq(c->entries[i].conv, conv) && c->entries[i].joined;
    }
    command_free(c);
    return joined;
}

static void test_followup__travels_between_engines(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 40);
    settle(w);
    bool other = false;
    for (uint64_t u = 1; u <= 41; u++) {
        assert_true(listed(w, u, g));
        other |= engine_of(w, conv_id_self(u)) != engine_of(w, g);
    }
    assert_true(other);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 5, 0), CONFAB_OK);
    world_run(w, 500);
    assert_false(listed(w, 5, g));
    /* Another number of engines finds the same. */
    w->nshards = 3;
    world_kill(w, true, 3);
    assert_false(listed(w, 5, g));
    assert_true(listed(w, 6, g));
    w->nshards = 1;
    world_flush(w);
    world_kill(w, true, 4);
    assert_false(listed(w, 5, g));
    assert_true(listed(w, 41, g));
    assert_int_equal(said(w, 41, EVENT_JOINED, g), 1);
}

/* Adds and removes members and kills after `steps` phases; true when it ran to its end before. */
static bool killed_after(uint32_t steps, uint64_t seed)
{
    struct world w;
    world_init_shards(&w, 2);
    w.mail_wait = true;
    struct conv_id g = world_group(&w, 1, "tea", 2, 3);
    world_run(&w, 500);
    struct command *c = world_event(&w, 1, g, EVENT_ADD);
    struct buf list = {0};
    for (uint64_t u = 10; u < 13; u++) {
        event_members_add(&list, u, ROLE_MEMBER);
    }
    assert_int_equal(command_set_span(c, &c->in.members, span_of(list.data, list.len)), CONFAB_OK);
    buf_deinit(&list);
    world_submit(&w, c);
    c = world_event(&w, 1, g, EVENT_REMOVE);
    c->in.user = 2;
    world_submit(&w, c);
    c = world_event(&w, 1, none, EVENT_BLOCK);
    c->in.user = 11;
    c->in.value = 1;
    world_submit(&w, c);
    bool added = false;
    bool removed = false;
    bool blocked = false;
    bool over = false;
    for (uint32_t i = 0; i < steps && !over; i++) {
        /* Flushed as often as can be, so that the store stands at every batch. */
        for (uint16_t k = 0; k < 2 && i % 7 == 0; k++) {
            engine_flush_all(w.shards[k].e);
        }
        world_phase(&w, i);
        while ((c = world_taken(&w))) {
            assert_int_equal(c->err, CONFAB_OK);
            added |= c->in.kind == EVENT_ADD;
            removed |= c->in.kind == EVENT_REMOVE;
            blocked |= c->in.kind == EVENT_BLOCK;
            command_free(c);
        }
        over = i > 50 && added && removed && blocked && pending(&w) == 0;
    }
    w.nshards = seed % 2 ? 2 : 3;
    world_kill(&w, true, seed);
    settle(&w);
    /* What was acknowledged is there; what is there, is there in both logs, and once. */
    c = command_new(COMMAND_MEMBERS);
    c->actor = 1;
    c->conv = g;
    c = world_do(&w, c);
    struct reader rd = reader_of(c->ret.data, c->ret.len);
    uint64_t user;
    uint8_t role;
    bool has[16] = {false};
    while (event_members_next(&rd, &user, &role)) {
        has[user] = true;
    }
    command_free(c);
    assert_true(has[10] || !added);
    assert_false(has[2] && removed);
    for (uint64_t u = 1; u < 13; u++) {
        assert_int_equal(listed(&w, u, g), has[u]);
        assert_int_equal(said(&w, u, EVENT_JOINED, g), has[u] || u == 2);
        assert_int_equal(said(&w, u, EVENT_LEFT, g), u == 2 && !has[2]);
    }
    if (blocked || said(&w, 1, EVENT_BLOCK, none) > 0) {
        assert_int_equal(said(&w, 1, EVENT_BLOCK, none), 1);
        assert_int_equal(world_err(&w, world_message(11, none, 1, "a", "hi")), CONFAB_BLOCKED);
    }
    world_deinit(&w);
    return over;
}

static void test_followup__survives_a_kill_at_every_step(void **state)
{
    (void)state;
    bool over = false;
    uint32_t steps = 0;
    for (; !over; steps++) {
        over = killed_after(steps, steps);
        assert_in_range(steps, 0, 1000);
    }
    assert_in_range(steps, 40, 1000);
    for (uint32_t i = 0; i < steps; i += 5) {
        killed_after(i, i + 1000);
    }
}

static struct command *hide(struct world *w, uint64_t user, struct conv_id conv, uint64_t seq)
{
    struct command *c = world_event(w, user, none, EVENT_HIDE);
    c->in.conv = conv;
    c->in.range_from = seq;
    c->in.range_to = seq;
    return c;
}

/* A block that is late must not be taken for one that was seen. */
static void test_followup__a_late_block_counts(void **state)
{
    struct world *w = *state;
    struct command *c = world_do(w, world_message(2, none, 1, "a", "hi"));
    struct conv_id d = c->ret_conv;
    uint64_t seq = c->ret_seq;
    command_free(c);
    world_run(w, 500);
    w->mail_hold = true;
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    assert_int_equal(world_err(w, hide(w, 1, d, seq)), CONFAB_OK);
    /* The hiding overtakes the block. */
    struct list *block = list_pop_front(&w->mail);
    assert_false(list_is_empty(&w->mail));
    w->mail_hold = false;
    world_run(w, 100);
    list_push_back(&w->mail, block);
    settle(w);
    assert_int_equal(world_err(w, world_message(2, none, 1, "b", "hi")), CONFAB_BLOCKED);
    c = world_history(w, 1, d, 10);
    assert_int_equal(world_records(c), 0);
    command_free(c);
}

/* Of two opposite ones the later counts, in whatever order they come. */
static void test_followup__the_latest_block_counts(void **state)
{
    struct world *w = *state;
    struct command *c = world_do(w, world_message(2, none, 1, "a", "hi"));
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    world_run(w, 500);
    w->mail_hold = true;
    for (uint64_t on = 1; on != UINT64_MAX; on--) {
        c = world_event(w, 1, none, EVENT_BLOCK);
        c->in.user = 2;
        c->in.value = on;
        assert_int_equal(world_err(w, c), CONFAB_OK);
    }
    struct list *first = list_pop_front(&w->mail);
    assert_false(list_is_empty(&w->mail));
    list_push_back(&w->mail, first);
    w->mail_hold = false;
    settle(w);
    assert_int_equal(world_err(w, world_message(2, none, 1, "b", "hi")), CONFAB_OK);
}

static void test_followup__is_sent_again_when_refused(void **state)
{
    struct world *w = *state;
    w->mail_busy = 7;
    struct conv_id g = world_group(w, 1, "tea", 2, 20);
    settle(w);
    for (uint64_t u = 1; u <= 21; u++) {
        assert_int_equal(said(w, u, EVENT_JOINED, g), 1);
    }
    /* Refused by the target's log: comes back and goes again. */
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 2, 9, CONFAB_BUSY);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 5, 0), CONFAB_OK);
    settle(w);
    assert_int_equal(said(w, 5, EVENT_LEFT, g), 1);
    assert_false(listed(w, 5, g));
}

/* Who waits for all to be written has to ask for both. */
static void test_followup__waits_in_an_engine_that_is_quiet(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    const struct engine *e = w->shards[engine_shard_of(conv_id_partition(g), w->nshards)].e;
    settle(w);
    assert_false(engine_has_followups(e));
    w->mail_busy = UINT32_MAX;
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 3, 0), CONFAB_OK);
    world_flush(w);
    assert_true(engine_is_quiet(e));
    assert_true(engine_has_followups(e));
    w->mail_busy = 0;
    settle(w);
    assert_false(engine_has_followups(e));
    assert_int_equal(said(w, 3, EVENT_LEFT, g), 1);
}

static void test_followup__a_thousand_members(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    struct command *c = world_event(w, 1, g, EVENT_ADD);
    struct buf list = {0};
    for (uint64_t u = 1000; u < 2000; u++) {
        event_members_add(&list, u, ROLE_MEMBER);
    }
    assert_int_equal(command_set_span(c, &c->in.members, span_of(list.data, list.len)), CONFAB_OK);
    buf_deinit(&list);
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_kill(w, true, 1);
    settle(w);
    for (uint64_t u = 1000; u < 2000; u += 37) {
        assert_int_equal(said(w, u, EVENT_JOINED, g), 1);
    }
    /* The members' rows, from now on. */
    world_flush(w);
    world_kill(w, true, 2);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 1500, 0), CONFAB_OK);
    world_say(w, 1999, g, "here", NULL);
    world_flush(w);
    world_kill(w, true, 3);
    assert_int_equal(world_err(w, world_message(1500, g, 0, "a", "hi")), CONFAB_NOT_FOUND);
    c = world_history(w, 1000, g, 10);
    assert_int_equal(world_records(c), 1);
    command_free(c);
}

/* Runs step by step until the command is answered, and not a step further. */
static void answered(struct world *w, struct command *cmd)
{
    struct command *done = NULL;
    world_submit(w, cmd);
    for (uint32_t i = 0; i < 100000 && !done; i++) {
        world_phase(w, i);
        done = world_taken(w);
    }
    assert_ptr_equal(done, cmd);
    assert_int_equal(done->err, CONFAB_OK);
}

static void test_followup__the_answer_comes_after_ones_own(void **state)
{
    struct world *w = *state;
    struct command *c = world_event(w, 1, (struct conv_id){4, 4}, EVENT_CREATE);
    assert_int_equal(command_set_span(c, &c->in.text, span_str("tea")), CONFAB_OK);
    answered(w, c);
    struct conv_id g = c->ret_conv;
    command_free(c);
    assert_true(listed(w, 1, g));
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    c = world_event(w, 1, none, EVENT_HIDE);
    c->in.conv = g;
    c->in.range_from = c->in.range_to = seq;
    answered(w, c);
    command_free(c);
    c = world_history(w, 1, g, 10);
    assert_int_equal(world_records(c), 0);
    command_free(c);
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    answered(w, c);
    command_free(c);
    assert_int_equal(world_err(w, world_message(2, none, 1, "a", "hi")), CONFAB_BLOCKED);
    c = world_event(w, 1, g, EVENT_LEAVE);
    answered(w, c);
    command_free(c);
    assert_false(listed(w, 1, g));
}

/* It waits a moment, not for ever: what was asked for is done. */
static void test_followup__the_answer_waits_no_longer(void **state)
{
    struct world *w = *state;
    w->mail_hold = true;
    struct command *c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    world_submit(w, c);
    world_run(w, 0);
    assert_null(world_taken(w));
    world_run(w, 600);
    assert_ptr_equal(world_taken(w), c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    /* Refused at its target: it will be sent again, the answer need not wait for that. */
    w->mail_hold = false;
    settle(w);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 2, 2, CONFAB_BUSY);
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 3;
    c->in.value = 1;
    answered(w, c);
    command_free(c);
    settle(w);
    assert_int_equal(world_err(w, world_message(3, none, 1, "b", "hi")), CONFAB_BLOCKED);
    /* Killed while the answer waits: nothing leaks. */
    w->mail_hold = true;
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 4;
    c->in.value = 1;
    world_submit(w, c);
    world_run(w, 0);
    world_kill(w, false, 5);
}

/* One that its target will never take is given up: it must not be in the way of the others. */
static void test_followup__a_full_list_is_asked_once(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    settle(w);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 2, 2, CONFAB_LIMIT);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 9, 0), CONFAB_OK);
    settle(w);
    assert_int_equal(metrics_total(w, METRIC_FOLLOWUPS_REFUSED), 1);
    assert_int_equal(metrics_total(w, METRIC_FOLLOWUPS_RETRIED), 0);
    assert_int_equal(said(w, 9, EVENT_JOINED, g), 0);
    assert_int_equal(world_err(w, world_message(9, g, 0, "a", "hi")), CONFAB_OK);
    world_kill(w, true, 1);
    assert_int_equal(pending(w), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)
        T(test_followup__travels_between_engines),
        cmocka_unit_test(test_followup__survives_a_kill_at_every_step),
        T(test_followup__a_late_block_counts),
        T(test_followup__the_latest_block_counts),
        T(test_followup__is_sent_again_when_refused),
        T(test_followup__waits_in_an_engine_that_is_quiet),
        T(test_followup__a_thousand_members),
        T(test_followup__the_answer_comes_after_ones_own),
        T(test_followup__the_answer_waits_no_longer),
        T(test_followup__a_full_list_is_asked_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
