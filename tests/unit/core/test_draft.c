/* Drafts: kept, replaced, ended by sending; bounded; the same after a kill at every step. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "world.h"

static const struct conv_id none;

static struct command *draft_new(struct world *w, uint64_t user, struct conv_id conv,
                                 struct span text)
{
    struct command *c = world_event(w, user, none, EVENT_DRAFT);
    c->in.conv = conv;
    assert_int_equal(command_set_span(c, &c->in.text, text), CONFAB_OK);
    return c;
}

static enum confab_err draft(struct world *w, uint64_t user, struct conv_id conv, const char *text)
{
    return world_err(w, draft_new(w, user, conv, span_str(text)));
}

static void assert_draft(struct world *w, uint64_t user, struct conv_id conv, const char *text)
{
    struct command *c = world_list(w, user);
    struct reader r = reader_of(c->ret.data, c->ret.len);
    struct span found = {0};
    struct conv_id of;
    struct span t;
    uint64_t seq;
    while (conv_draft_next(&r, &of, &seq, &t)) {
        found = conv_id_eq(of, conv) ? t : found;
    }
    assert_false(r.bad);
    assert_int_equal(found.n, strlen(text));
    assert_memory_equal(found.p ? (const char *)found.p : "", text, found.n);
    command_free(c);
}

static void test_draft__is_kept_and_ended_by_sending(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    struct conv_id h = world_group(w, 1, "pie", 2, 2);
    world_run(w, 500);
    assert_int_equal(draft(w, 2, g, "Dear"), CONFAB_OK);
    assert_int_equal(draft(w, 2, g, "Dear all"), CONFAB_OK);
    assert_int_equal(draft(w, 2, h, "other"), CONFAB_OK);
    assert_int_equal(draft(w, 2, h, "other"), CONFAB_EXISTS);
    assert_int_equal(draft(w, 3, g, ""), CONFAB_EXISTS);
    world_kill(w, true, 1);
    assert_draft(w, 2, g, "Dear all");
    world_flush(w);
    world_kill(w, true, 2);
    assert_draft(w, 2, g, "Dear all");
    assert_true(world_say(w, 1, g, "another's", NULL) > 0);
    world_run(w, 500);
    assert_draft(w, 2, g, "Dear all");
    assert_true(world_say(w, 2, g, "Dear all of you", NULL) > 0);
    world_run(w, 500);
    assert_draft(w, 2, g, "");
    assert_draft(w, 2, h, "other");
    assert_true(world_say(w, 2, g, "and more", NULL) > 0);
    assert_int_equal(draft(w, 2, h, ""), CONFAB_OK);
    assert_draft(w, 2, h, "");
    /* Saved messages have one, too; and it ends with the membership. */
    struct conv_id own = conv_id_self(2);
    assert_int_equal(draft(w, 2, own, "remember"), CONFAB_OK);
    assert_int_equal(world_err(w, world_message(2, own, 0, "m", "remember")), CONFAB_OK);
    world_run(w, 500);
    assert_draft(w, 2, own, "");
    assert_int_equal(draft(w, 2, g, "never sent"), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 2, 0), CONFAB_OK);
    world_run(w, 500);
    assert_draft(w, 2, g, "");
    assert_int_equal(draft(w, 2, g, "x"), CONFAB_NOT_FOUND);
    assert_int_equal(draft(w, 9, g, "x"), CONFAB_NOT_FOUND);
}

/* What was written over is not kept: not in memory, not in the store. */
static void test_draft__what_was_replaced_is_gone(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    world_run(w, 500);
    assert_int_equal(draft(w, 2, g, "the first thought"), CONFAB_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(draft(w, 2, g, i ? "the third" : "the second"), CONFAB_OK);
        world_flush(w);
        world_kill(w, true, 1);
    }
    struct command *c = world_events(w, 2, conv_id_self(2), 50);
    uint32_t drafts = 0;
    uint32_t texts = 0;
    for (uint32_t i = 0; i < world_records(c); i++) {
        struct event ev = world_record(c, i);
        if (ev.kind == EVENT_DRAFT) {
            drafts++;
            texts += ev.text.n > 0;
            assert_true(ev.text.n == 0 || span_is(ev.text, "the third"));
            assert_int_equal((ev.flags & EVENT_BLANK) != 0, ev.text.n == 0);
        }
    }
    assert_int_equal(drafts, 3);
    assert_int_equal(texts, 1);
    command_free(c);
}

static void test_draft__is_bounded(void **state)
{
    struct world *w = *state;
    struct buf text = {0};
    struct conv_id convs[10];
    for (uint32_t i = 0; i < ARRAY_LEN(convs); i++) {
        convs[i] = world_group(w, 2, "tea", 3, 1);
    }
    world_run(w, 500);
    while (text.len <= EVENT_TEXT_MAX) {
        buf_put_u8(&text, 'a');
    }
    assert_int_equal(world_err(w, draft_new(w, 2, convs[0], span_of(text.data, text.len))),
                     CONFAB_TOO_LARGE);
    assert_int_equal(world_err(w, draft_new(w, 2, convs[0], span_of((const uint8_t *)"a\0", 2))),
                     CONFAB_INVALID);
    assert_int_equal(draft(w, 2, convs[0], "\xff"), CONFAB_INVALID);
    const uint32_t full = CONV_DRAFTS_BYTES / EVENT_TEXT_MAX;
    for (uint32_t i = 0; i < full + 1; i++) {
        struct command *c = draft_new(w, 2, convs[i], span_of(text.data, EVENT_TEXT_MAX));
        assert_int_equal(world_err(w, c), i < full ? CONFAB_OK : CONFAB_LIMIT);
    }
    assert_int_equal(draft(w, 2, convs[0], "short again"), CONFAB_OK);
    assert_int_equal(draft(w, 2, convs[full], "now there is room"), CONFAB_OK);
    world_kill(w, true, 1);
    assert_draft(w, 2, convs[full], "now there is room");
    buf_deinit(&text);
}

/* Writes, sends, and kills after `steps` phases. */
static bool killed_after(uint32_t steps, uint64_t seed)
{
    struct world w;
    world_init_shards(&w, 2);
    struct conv_id g = world_group(&w, 1, "tea", 2, 2);
    world_run(&w, 500);
    assert_int_equal(draft(&w, 2, g, "first"), CONFAB_OK);
    w.mail_wait = true;
    world_submit(&w, world_message(2, g, 0, "k", "first"));
    bool sent = false;
    bool over = false;
    for (uint32_t i = 0; i < steps && !over; i++) {
        for (uint16_t k = 0; k < 2 && i % 7 == 0; k++) {
            engine_flush_all(w.shards[k].e);
        }
        world_phase(&w, i);
        struct command *c;
        while ((c = world_taken(&w))) {
            assert_int_equal(c->err, CONFAB_OK);
            sent = true;
            command_free(c);
        }
        struct engine_stats st[2];
        engine_stats(w.shards[0].e, &st[0]);
        engine_stats(w.shards[1].e, &st[1]);
        over = i > 50 && sent && st[0].followups_pending + st[1].followups_pending == 0;
    }
    w.nshards = seed % 2 ? 2 : 3;
    world_kill(&w, true, seed);
    world_run(&w, 1000);
    struct command *c = world_history(&w, 2, g, 10);
    bool stored = world_records(c) > 0;
    command_free(c);
    assert_true(stored || !sent);
    assert_draft(&w, 2, g, stored ? "" : "first");
    world_deinit(&w);
    return over;
}

static void test_draft__survives_a_kill_at_every_step(void **state)
{
    (void)state;
    bool over = false;
    for (uint32_t steps = 1; steps < 2000 && !over; steps++) {
        over = killed_after(steps, steps);
    }
    assert_true(over);
}

/* The end of one draft must not be that of the next. */
static void test_draft__a_late_end_spares_the_next(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    world_run(w, 500);
    assert_int_equal(draft(w, 2, g, "first"), CONFAB_OK);
    w->mail_wait = true;
    w->mail_hold = true;
    assert_true(world_say(w, 2, g, "first", NULL) > 0);
    struct command *c = draft_new(w, 2, g, span_str("second"));
    world_submit(w, c);
    world_run(w, 100);
    w->mail_hold = false;
    world_run(w, 1000);
    assert_ptr_equal(world_taken(w), c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    assert_draft(w, 2, g, "second");
    assert_true(world_say(w, 2, g, "second", NULL) > 0);
    world_run(w, 500);
    assert_draft(w, 2, g, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)
        T(test_draft__is_kept_and_ended_by_sending),
        T(test_draft__what_was_replaced_is_gone),
        T(test_draft__is_bounded),
        T(test_draft__a_late_end_spares_the_next),
        cmocka_unit_test(test_draft__survives_a_kill_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
