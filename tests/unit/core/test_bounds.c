/*
 * Bounds of a conversation's state: what is at one is refused with the error that says so and taken
 * again when there is room; what must be taken all the same forgets in the safe direction. And the
 * time in which a message may be edited.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/conv.h"
#include "core/kind.h"
#include "world.h"

/* ---- decisions at a bound ---------------------------------------------------------------- */

static void add_followups(struct conv *c, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct followup f = {
            .seq = 1, .user = i, .target = {5, i}, .type = FOLLOWUP_JOINED, .on = true};
        assert_int_equal(conv_followup_add(c, &f), CONFAB_OK);
    }
}

/* A group of 1 (owner) and 2, or the own conversation of 1, which has a joined one in its list. */
static void conv_of_kind(struct conv *c, uint8_t kind)
{
    conv_init(c, kind == CONV_SELF ? conv_id_self(1) : (struct conv_id){9, 9});
    c->kind = kind;
    c->head_seq = 10;
    for (uint64_t user = 1; user <= (kind == CONV_SELF ? 1 : 2); user++) {
        struct member *m = conv_member_make(c, user);
        assert_non_null(m);
        m->role = user == 1 ? ROLE_OWNER : ROLE_MEMBER;
        c->nactive++;
        assert_int_equal(member_show_from(m, 1), CONFAB_OK);
    }
    if (kind == CONV_SELF) {
        struct self_entry *e = conv_entry_make(c, (struct conv_id){9, 9});
        assert_non_null(e);
        e->joined = true;
    }
}

static enum confab_err decide(const struct conv *c, struct event in)
{
    struct command cmd = {.type = COMMAND_EVENT, .actor = 1, .conv = c->id, .in = in};
    struct facts facts = {.now_ms = WORLD_START_MS};
    struct event out;
    struct buf scratch = {0};
    const char *field = NULL;
    enum confab_err err = conv_decide(c, &cmd, &facts, &out, &scratch, &field);
    buf_deinit(&scratch);
    return err;
}

static struct buf one_member(uint64_t user)
{
    struct buf list = {0};
    event_members_add(&list, user, ROLE_MEMBER);
    return list;
}

/* What has an effect in another log waits for room in the list of those effects. */
static void test_bounds__followups(void **state)
{
    (void)state;
    struct conv group;
    struct conv own;
    struct conv_id there = {9, 9};
    struct buf list = one_member(7);
    conv_of_kind(&group, CONV_GROUP);
    conv_of_kind(&own, CONV_SELF);
    const struct {
        struct conv *c;
        struct event in;
    } cases[] = {
        {&group, {.kind = EVENT_ADD, .members = span_of(list.data, list.len)}},
        {&group, {.kind = EVENT_REMOVE, .user = 2}},
        {&group, {.kind = EVENT_LEAVE}},
        {&own, {.kind = EVENT_BLOCK, .user = 2, .value = 1}},
        {&own, {.kind = EVENT_DRAFT, .conv = there, .text = span_str("begun")}},
        {&own, {.kind = EVENT_HIDE, .conv = there, .range_from = 1, .range_to = 1}},
    };
    for (int full = 0; full < 2; full++) {
        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            assert_int_equal(decide(cases[i].c, cases[i].in), full ? CONFAB_BUSY : CONFAB_OK);
        }
        add_followups(&group, full ? 0 : CONV_FOLLOWUPS_MAX);
        add_followups(&own, full ? 0 : CONV_FOLLOWUPS_MAX);
    }
    /* One has arrived: there is room for one. */
    assert_true(conv_followup_remove(&group, 1, 0));
    assert_false(conv_followup_remove(&group, 1, 0));
    assert_int_equal(decide(&group, cases[0].in), CONFAB_OK);
    event_members_add(&list, 8, ROLE_MEMBER);
    struct event two = {.kind = EVENT_ADD, .members = span_of(list.data, list.len)};
    assert_int_equal(decide(&group, two), CONFAB_BUSY);
    /* What has none goes on, and so does the own list: it is what the effects arrive in. */
    assert_int_equal(decide(&group, (struct event){.kind = EVENT_RENAME, .text = span_str("x")}),
                     CONFAB_OK);
    struct event joined = {.kind = EVENT_JOINED, .conv = {6, 6}, .src_seq = 1};
    assert_int_equal(decide(&own, joined), CONFAB_OK);
    /* Unless the account is gone: each membership is ended by such an effect, in its time. */
    own.settings = SETTING_CLOSED;
    assert_int_equal(decide(&own, joined), CONFAB_BUSY);
    assert_int_equal(decide(&own, (struct event){.kind = EVENT_CLOSE}), CONFAB_BUSY);
    conv_deinit(&group);
    conv_deinit(&own);
    buf_deinit(&list);
}

static void test_bounds__members_and_lists(void **state)
{
    (void)state;
    struct conv c;
    struct buf list = one_member(7);
    struct event add = {.kind = EVENT_ADD, .members = span_of(list.data, list.len)};
    conv_of_kind(&c, CONV_GROUP);
    for (uint64_t user = 3; c.nmembers < CONV_MEMBERS_MAX - 1; user++) {
        assert_non_null(conv_member_make(&c, 100 + user));
    }
    assert_int_equal(decide(&c, add), CONFAB_OK);
    assert_non_null(conv_member_make(&c, UINT64_MAX));
    assert_int_equal(decide(&c, add), CONFAB_LIMIT);
    conv_deinit(&c);
    buf_deinit(&list);

    conv_of_kind(&c, CONV_SELF);
    struct event block = {.kind = EVENT_BLOCK, .user = 2, .value = 1};
    for (uint64_t i = 0; c.nblocked < CONV_ENTRIES_MAX; i++) {
        assert_int_equal(decide(&c, i % 5000 == 0 ? block : (struct event){.kind = EVENT_CLOSE}),
                         CONFAB_OK);
        assert_int_equal(conv_set_blocked(&c, 100 + i, true), CONFAB_OK);
    }
    assert_int_equal(decide(&c, block), CONFAB_LIMIT);
    assert_int_equal(decide(&c, (struct event){.kind = EVENT_BLOCK, .user = 100}), CONFAB_OK);
    for (uint64_t i = 1; c.nentries < CONV_ENTRIES_MAX; i++) {
        assert_non_null(conv_entry_make(&c, (struct conv_id){100, i}));
    }
    struct event joined = {.kind = EVENT_JOINED, .conv = {6, 6}, .src_seq = 1};
    assert_int_equal(decide(&c, joined), CONFAB_LIMIT);
    joined.conv = (struct conv_id){100, 5}; /* that is in the list already */
    assert_int_equal(decide(&c, joined), CONFAB_OK);
    conv_deinit(&c);
}

/* A kind that is nobody's to ask for, the own conversation of somebody else, no member. */
static void test_bounds__who_may_not_at_all(void **state)
{
    (void)state;
    struct conv c;
    conv_of_kind(&c, CONV_SELF);
    c.id = conv_id_self(2);
    assert_int_equal(decide(&c, (struct event){.kind = EVENT_BLOCK, .user = 3, .value = 1}),
                     CONFAB_INVALID);
    assert_int_equal(decide(&c, (struct event){.kind = 63}), CONFAB_INVALID);
    conv_deinit(&c);
    conv_init(&c, (struct conv_id){9, 9});
    assert_int_equal(decide(&c, (struct event){.kind = EVENT_MESSAGE}), CONFAB_NOT_FOUND);
    assert_int_equal(decide(&c, (struct event){.kind = EVENT_CREATE, .type = CONV_SELF + 1}),
                     CONFAB_INVALID);
    struct buf list = {0};
    for (uint64_t user = 2; user <= EVENT_MEMBERS_MAX + 1; user++) {
        event_members_add(&list, user, ROLE_MEMBER);
    }
    struct event create = {
        .kind = EVENT_CREATE, .text = span_str("tea"), .members = span_of(list.data, list.len)};
    assert_int_equal(decide(&c, create), CONFAB_TOO_LARGE);
    create.cmid = span_str("0123456789012345678901234567890123456789012345678901234567890123456");
    assert_int_equal(decide(&c, create), CONFAB_INVALID);
    buf_deinit(&list);
    conv_deinit(&c);
}

/* ---- folds at a bound -------------------------------------------------------------------- */

static struct event next(const struct conv *c, uint8_t kind)
{
    return (struct event){.kind = kind,
                          .seq = c->head_seq + 1,
                          .ord = c->ord + (kind == EVENT_MESSAGE),
                          .id = message_id_make(WORLD_START_MS + c->head_seq, 1, 1),
                          .actor = 1};
}

/* A message ends its sender's draft; without room for telling it, the next one does. */
static void test_bounds__a_draft_waits_for_room(void **state)
{
    (void)state;
    struct conv c;
    conv_of_kind(&c, CONV_GROUP);
    conv_member(&c, 1)->draft = 2 * 5 + 1;
    add_followups(&c, CONV_FOLLOWUPS_MAX);
    for (int round = 0; round < 3; round++) {
        struct event ev = next(&c, EVENT_MESSAGE);
        ev.text = span_str("hello");
        assert_int_equal(conv_fold(&c, &ev), CONFAB_OK);
        assert_int_equal(conv_member(&c, 1)->draft, round == 0 ? 11 : 10);
        assert_int_equal(c.nfollowups, CONV_FOLLOWUPS_MAX - (round > 0 ? 1U : 0U));
        if (round == 0) {
            assert_true(conv_followup_remove(&c, 1, 0) && conv_followup_remove(&c, 1, 1));
        }
    }
    conv_deinit(&c);
}

/* Deleting an account that is in more than can be left at once: as many as there is room for. */
static void test_bounds__a_deleted_account_leaves_in_parts(void **state)
{
    (void)state;
    struct conv c;
    conv_of_kind(&c, CONV_SELF);
    for (uint64_t i = 1; i < CONV_FOLLOWUPS_MAX + 100; i++) {
        struct self_entry *e = conv_entry_make(&c, (struct conv_id){100, i});
        assert_non_null(e);
        e->joined = i % 2;
        e->src_seq = 1;
    }
    uint32_t joined = 1 + (CONV_FOLLOWUPS_MAX + 100) / 2;
    add_followups(&c, CONV_FOLLOWUPS_MAX - 100);
    struct event close = next(&c, EVENT_CLOSE);
    assert_int_equal(conv_fold(&c, &close), CONFAB_OK);
    assert_int_equal(c.nfollowups, CONV_FOLLOWUPS_MAX);
    while (c.nfollowups > 0) {
        struct followup f = c.followups[0];
        assert_true(conv_followup_remove(&c, f.seq, f.user));
        struct self_entry *e = f.type == FOLLOWUP_LEAVE ? conv_entry(&c, f.target) : NULL;
        if (e) {
            assert_true(e->joined);
            e->joined = false;
            joined--;
        }
    }
    assert_int_equal(decide(&c, (struct event){.kind = EVENT_CLOSE}), CONFAB_OK);
    close = next(&c, EVENT_CLOSE);
    assert_int_equal(conv_fold(&c, &close), CONFAB_OK);
    assert_int_equal(c.nfollowups, joined);
    conv_deinit(&c);
}

/* Written by a newer program, or not the next one: never folded. */
static void test_bounds__events_that_do_not_follow(void **state)
{
    (void)state;
    struct conv c;
    conv_of_kind(&c, CONV_GROUP);
    struct event ev = next(&c, EVENT_MESSAGE);
    ev.kind = 63;
    assert_int_equal(conv_fold(&c, &ev), CONFAB_VERSION);
    ev = next(&c, EVENT_MESSAGE);
    ev.seq++;
    assert_int_equal(conv_fold(&c, &ev), CONFAB_CORRUPT);
    ev = next(&c, EVENT_MESSAGE);
    ev.ord++;
    assert_int_equal(conv_fold(&c, &ev), CONFAB_CORRUPT);
    assert_int_equal(c.head_seq, 10);
    conv_deinit(&c);
}

/* ---- what a member sees ------------------------------------------------------------------ */

enum { SEQS = 120 };

/* Intervals and hidden ranges, and the same as a plain list. */
static void draw_member(struct random_source *rnd, struct member *m, bool sees[SEQS + 1])
{
    memset(m, 0, sizeof(*m));
    memset(sees, 0, SEQS + 1);
    uint64_t from = 1 + random_below(rnd, 20);
    while (from <= SEQS) {
        uint64_t length = random_below(rnd, 12); /* MIN would draw twice */
        uint64_t to = MIN(from + length, SEQS);
        bool last = random_below(rnd, 6) == 0;
        assert_int_equal(member_show_from(m, from), CONFAB_OK);
        m->visible_to = last ? UINT64_MAX : to;
        for (uint64_t seq = from; seq <= (last ? SEQS : to); seq++) {
            sees[seq] = true;
        }
        from = last ? SEQS + 1 : to + 2 + random_below(rnd, 12);
    }
    for (uint64_t n = random_below(rnd, 12); n > 0; n--) {
        uint64_t a = 1 + random_below(rnd, SEQS);
        uint64_t length = random_below(rnd, 8);
        uint64_t b = MIN(a + length, SEQS);
        assert_int_equal(member_hide(m, (struct range){a, b}), CONFAB_OK);
        memset(sees + a, 0, b - a + 1);
    }
}

static void member_free(struct member *m)
{
    if (m->extra) {
        free(m->extra->past);
        free(m->extra->hidden);
        free(m->extra->mentions);
        free(m->extra);
    }
}

static void test_bounds__the_next_visible_one(void **state)
{
    (void)state;
    struct random_seeded rnd;
    random_seeded_init(&rnd, 3);
    for (int round = 0; round < 300; round++) {
        struct member m;
        bool sees[SEQS + 1];
        draw_member(&rnd.base, &m, sees);
        bool open = m.visible_to == UINT64_MAX;
        for (uint64_t seq = 1; seq <= SEQS; seq++) {
            assert_int_equal(member_sees(&m, seq), sees[seq]);
            uint64_t up = seq;
            while (up <= SEQS && !sees[up]) {
                up++;
            }
            uint64_t down = seq;
            while (down > 0 && !sees[down]) {
                down--;
            }
            uint64_t got = 0;
            bool found = member_next_visible(&m, seq, false, &got);
            assert_int_equal(found, up <= SEQS || open);
            assert_true(!found || up > SEQS || got == up);
            found = member_next_visible(&m, seq, true, &got);
            assert_int_equal(found, down > 0);
            assert_true(!found || got == down);
        }
        uint64_t first = 1;
        while (first <= SEQS && !sees[first]) {
            first++;
        }
        assert_true(first > SEQS || member_first_visible(&m) <= first);
        member_free(&m);
    }
    /* Nothing above what is hidden for good. */
    struct member m = {0};
    uint64_t got = 0;
    assert_int_equal(member_show_from(&m, 5), CONFAB_OK);
    assert_int_equal(member_hide(&m, (struct range){7, UINT64_MAX}), CONFAB_OK);
    assert_int_equal(member_hide(&m, (struct range){9, 10}), CONFAB_OK);
    assert_false(member_next_visible(&m, 7, false, &got));
    assert_true(member_next_visible(&m, 7, true, &got));
    assert_int_equal(got, 6);
    assert_int_equal(member_hide(&m, (struct range){1, 6}), CONFAB_OK);
    assert_false(member_next_visible(&m, 6, true, &got));
    member_free(&m);
}

/* Above the bounds nothing is shown that was not to be shown; what is new stays exact. */
static void test_bounds__intervals_and_hidden_ranges(void **state)
{
    (void)state;
    struct member m = {0};
    enum { TIMES = CONV_INTERVALS_MAX + 5 };
    for (uint64_t i = 0; i < TIMES; i++) { /* here from 10 i + 1 to 10 i + 5 */
        assert_int_equal(member_show_from(&m, 10 * i + 1), CONFAB_OK);
        m.visible_to = 10 * i + 5;
    }
    assert_int_equal(m.extra->npast, CONV_INTERVALS_MAX);
    for (uint64_t i = 0; i < TIMES; i++) {
        bool kept = i >= TIMES - 1 - CONV_INTERVALS_MAX;
        assert_int_equal(member_sees(&m, 10 * i + 3), kept);
        assert_false(member_sees(&m, 10 * i + 6));
    }
    member_free(&m);
    memset(&m, 0, sizeof(m));
    assert_int_equal(member_show_from(&m, 1), CONFAB_OK);
    for (uint64_t i = 0; i < CONV_HIDDEN_MAX + 50; i++) {
        assert_int_equal(member_hide(&m, (struct range){10 * i + 5, 10 * i + 6}), CONFAB_OK);
    }
    assert_int_equal(m.extra->nhidden, CONV_HIDDEN_MAX);
    for (uint64_t i = 0; i < CONV_HIDDEN_MAX + 50; i++) {
        assert_false(member_sees(&m, 10 * i + 5));
        assert_false(member_sees(&m, 10 * i + 6));
        assert_true(i < 50 || member_sees(&m, 10 * i + 7));
    }
    /* What is shown from the same place on again forgets the intervals before. */
    assert_int_equal(member_show_from(&m, 1), CONFAB_OK);
    assert_int_equal(m.extra->npast, 0);
    member_free(&m);
}

/* ---- through an engine ------------------------------------------------------------------- */

/* So many people added at once that the lists of theirs have to learn of it first. */
static void test_bounds__adding_waits_for_the_lists(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    w->mail_hold = true;
    enum confab_err err = CONFAB_OK;
    uint64_t user = 1000;
    for (int i = 0; i < 10 && !err; i++) {
        struct command *c = world_event(w, 1, g, EVENT_ADD);
        struct buf list = {0};
        for (uint32_t k = 0; k < EVENT_MEMBERS_MAX; k++) {
            event_members_add(&list, user++, ROLE_MEMBER);
        }
        assert_int_equal(command_set_span(c, &c->in.members, span_of(list.data, list.len)),
                         CONFAB_OK);
        buf_deinit(&list);
        err = world_err(w, c);
        assert_int_equal(err, i < 4 ? CONFAB_OK : CONFAB_BUSY);
    }
    w->mail_hold = false;
    struct engine_stats st = {.followups_pending = 1};
    for (int i = 0; i < 3000 && st.followups_pending > 0; i++) {
        world_run(w, 50);
        st.followups_pending = 0;
        for (uint16_t k = 0; k < w->nshards; k++) {
            struct engine_stats one;
            engine_stats(w->shards[k].e, &one);
            st.followups_pending += one.followups_pending;
        }
    }
    assert_int_equal(st.followups_pending, 0);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 900, 0), CONFAB_OK);
    struct command *c = world_list(w, 1500);
    assert_int_equal(c->nentries, 1);
    command_free(c);
}

static void test_bounds__the_time_for_an_edit(void **state)
{
    struct world *w = *state;
    w->cfg.edit_window_ms = 60000;
    world_kill(w, false, 0);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t id = 0;
    world_say(w, 1, g, "first", &id);
    world_run(w, 50000);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, id, "in time"), CONFAB_OK);
    world_run(w, 20000);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, id, "too late"), CONFAB_TOO_LATE);
    assert_int_equal(world_change(w, 2, EVENT_EDIT, id, "not mine"), CONFAB_FORBIDDEN);
    struct command *c = world_history(w, 2, g, 10);
    assert_true(span_is(world_record(c, 0).text, "in time"));
    command_free(c);
    /* Deleting has no such time; and what is deleted cannot be edited, in time or not. */
    assert_int_equal(world_change(w, 1, EVENT_DELETE, id, ""), CONFAB_OK);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, id, "again"), CONFAB_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds__followups),
        cmocka_unit_test(test_bounds__members_and_lists),
        cmocka_unit_test(test_bounds__who_may_not_at_all),
        cmocka_unit_test(test_bounds__a_draft_waits_for_room),
        cmocka_unit_test(test_bounds__a_deleted_account_leaves_in_parts),
        cmocka_unit_test(test_bounds__events_that_do_not_follow),
        cmocka_unit_test(test_bounds__the_next_visible_one),
        cmocka_unit_test(test_bounds__intervals_and_hidden_ranges),
        cmocka_unit_test_setup_teardown(test_bounds__adding_waits_for_the_lists, world_setup_two,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_bounds__the_time_for_an_edit, world_setup,
                                        world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
