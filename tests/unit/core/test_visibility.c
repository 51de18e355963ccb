/* Who sees what: joining, leaving, hiding, edits and replies, former members, blocks, settings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "core/kind.h"
#include "world.h"

static const struct conv_id none;

/* The kind and text of every event that the user may read, as one line. */
static void read_all(struct world *w, uint64_t user, struct conv_id conv, char *out, size_t size)
{
    struct command *c = world_events(w, user, conv, 200);
    size_t n = 0;
    out[0] = 0;
    assert_int_equal(c->err, CONFAB_OK);
    for (uint32_t i = 0; i < world_records(c); i++) {
        struct event ev = world_record(c, i);
        n +=
            (size_t)snprintf(out + n, size - n, "%llu:%s:%.*s ", (unsigned long long)ev.seq,
                             event_kind_of(ev.kind)->name, (int)ev.text.n, (const char *)ev.text.p);
    }
    command_free(c);
}

static void assert_reads(struct world *w, uint64_t user, struct conv_id conv, const char *want)
{
    char got[1024];
    for (int cold = 0; cold < 2; cold++) {
        read_all(w, user, conv, got, sizeof(got));
        assert_string_equal(got, want);
        struct command *c = world_snapshot(w, user, conv, 0, 0, 0);
        struct reader rd = reader_of(c->snaps[0].events.data, c->snaps[0].events.len);
        struct event ev;
        while (command_record_next(&rd, &ev)) {
            char one[128];
            snprintf(one, sizeof(one), "%llu:%s:%.*s ", (unsigned long long)ev.seq,
                     event_kind_of(ev.kind)->name, (int)ev.text.n, (const char *)ev.text.p);
            assert_non_null(strstr(want, one));
        }
        command_free(c);
        if (!cold) {
            uint32_t recent = w->cfg.recent_max;
            w->cfg.recent_max = 0;
            world_flush(w);
            world_kill(w, false, 0);
            w->cfg.recent_max = recent;
        }
    }
}

static bool got_last(const struct world *w, uint64_t user)
{
    bool got = false;
    for (size_t i = 0; i < ARRAY_LEN(w->last_members); i++) {
        got |= w->last_members[i] == user;
    }
    return got;
}

static void test_visibility__joining_and_settings(void **state)
{
    struct world *w = *state;
    for (uint64_t joined = 0; joined < 2; joined++) {
        struct conv_id g = world_group_with(w, 1, joined ? SETTING_HISTORY_JOINED : 0, 2, 1);
        world_say(w, 1, g, "before", NULL);
        assert_int_equal(world_member(w, 1, g, EVENT_ADD, 5, 0), CONFAB_OK);
        world_say(w, 1, g, "while", NULL);
        assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 5, 0), CONFAB_OK);
        world_say(w, 1, g, "away", NULL);
        assert_reads(w, 5, g,
                     joined ? "3:add: 4:message:while 5:remove: "
                            : "1:create:tea 2:message:before 3:add: 4:message:while 5:remove: ");
        assert_int_equal(world_member(w, 1, g, EVENT_ADD, 5, 0), CONFAB_OK);
        world_say(w, 1, g, "again", NULL);
        assert_reads(w, 5, g,
                     joined ? "3:add: 4:message:while 5:remove: 7:add: 8:message:again "
                            : "1:create:tea 2:message:before 3:add: 4:message:while 5:remove: "
                              "6:message:away 7:add: 8:message:again ");
        struct command *c = world_snapshot(w, 5, g, 0, 0, 0);
        assert_int_equal(c->snaps[0].unread, 1);
        command_free(c);
    }
}

static void test_visibility__send_and_invite_admins(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t id;
    world_say(w, 2, g, "mine", &id);
    struct command *c = world_event(w, 2, g, EVENT_SETTINGS);
    c->in.value = SETTING_SEND_ADMINS | SETTING_INVITE_ADMINS;
    assert_int_equal(world_err(w, c), CONFAB_FORBIDDEN);
    c = world_event(w, 1, g, EVENT_SETTINGS);
    c->in.value = SETTINGS_ALL + 1;
    assert_int_equal(world_err(w, c), CONFAB_INVALID);
    c = world_event(w, 1, g, EVENT_SETTINGS);
    c->in.value = SETTING_SEND_ADMINS | SETTING_INVITE_ADMINS;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    for (int kill = 0; kill < 2; kill++) {
        assert_int_equal(world_err(w, world_message(2, g, 0, "a", "x")), CONFAB_FORBIDDEN);
        assert_int_equal(world_member(w, 2, g, EVENT_ADD, 9, 0), CONFAB_FORBIDDEN);
        /* Not by the back door. */
        assert_int_equal(world_change(w, 2, EVENT_EDIT, id, "new"), CONFAB_FORBIDDEN);
        world_kill(w, false, 0);
    }
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_ADMIN), CONFAB_OK);
    assert_int_equal(world_err(w, world_message(2, g, 0, "b", "x")), CONFAB_OK);
    assert_int_equal(world_member(w, 2, g, EVENT_ADD, 9, 0), CONFAB_OK);
    assert_int_equal(world_change(w, 2, EVENT_EDIT, id, "new"), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_MEMBER), CONFAB_OK);
    assert_int_equal(world_err(w, world_message(2, g, 0, "c", "x")), CONFAB_FORBIDDEN);
    assert_int_equal(world_change(w, 2, EVENT_DELETE, id, ""), CONFAB_OK);
}

static void test_visibility__roles(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    assert_int_equal(world_member(w, 2, g, EVENT_ROLE, 3, ROLE_ADMIN), CONFAB_FORBIDDEN);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 9, ROLE_ADMIN), CONFAB_NOT_FOUND);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, 9), CONFAB_INVALID);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 1, ROLE_MEMBER), CONFAB_CONFLICT);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_ADMIN), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_ADMIN), CONFAB_EXISTS);
    assert_int_equal(world_member(w, 2, g, EVENT_REMOVE, 1, 0), CONFAB_FORBIDDEN);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_OWNER), CONFAB_OK);
    world_kill(w, false, 0);
    assert_int_equal(world_member(w, 2, g, EVENT_ROLE, 1, ROLE_MEMBER), CONFAB_OK);
    struct command *c = world_snapshot(w, 1, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].role, ROLE_MEMBER);
    command_free(c);
    assert_int_equal(world_member(w, 2, g, EVENT_REMOVE, 1, 0), CONFAB_OK);
    c = command_new(COMMAND_MEMBERS);
    c->actor = 1;
    c->conv = g;
    assert_int_equal(world_err(w, c), CONFAB_NOT_FOUND);
}

/* The table of docs/users/README.md. */
static void test_visibility__what_each_role_may(void **state)
{
    struct world *w = *state;
    static const struct {
        uint8_t role;
        bool add;
        bool clean;
        bool rename;
        bool below[5]; /* removes: guest, member, moderator, admin, owner */
    } rows[] = {
        {ROLE_GUEST, false, false, false, {false, false, false, false, false}},
        {ROLE_MEMBER, true, false, false, {false, false, false, false, false}},
        {ROLE_MODERATOR, true, true, false, {true, true, false, false, false}},
        {ROLE_ADMIN, true, true, true, {true, true, true, false, false}},
        {ROLE_OWNER, true, true, true, {true, true, true, true, true}},
    };
    static const uint8_t roles[] = {ROLE_GUEST, ROLE_MEMBER, ROLE_MODERATOR, ROLE_ADMIN,
                                    ROLE_OWNER};
#define MAY(yes) ((yes) ? CONFAB_OK : CONFAB_FORBIDDEN)
    for (uint32_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct conv_id g = world_group(w, 1, "tea", 2, 1);
        uint64_t id;
        assert_true(world_say(w, 1, g, "hi", &id) > 0);
        if (rows[i].role != ROLE_MEMBER) {
            assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, rows[i].role), CONFAB_OK);
        }
        assert_true(world_say(w, 2, g, "all may write", NULL) > 0);
        assert_int_equal(world_member(w, 2, g, EVENT_ADD, 20, 0), MAY(rows[i].add));
        assert_int_equal(world_change(w, 2, EVENT_DELETE, id, ""), MAY(rows[i].clean));
        struct command *c = world_event(w, 2, g, EVENT_RENAME);
        assert_int_equal(command_set_span(c, &c->in.text, span_str("coffee")), CONFAB_OK);
        assert_int_equal(world_err(w, c), MAY(rows[i].rename));
        c = world_event(w, 2, g, EVENT_SETTINGS);
        assert_int_equal(world_err(w, c), MAY(rows[i].rename));
        for (uint32_t k = 0; k < ARRAY_LEN(roles); k++) {
            uint64_t who = 10 + k;
            assert_int_equal(world_member(w, 1, g, EVENT_ADD, who, 0), CONFAB_OK);
            if (roles[k] != ROLE_MEMBER) {
                assert_int_equal(world_member(w, 1, g, EVENT_ROLE, who, roles[k]), CONFAB_OK);
            }
            assert_int_equal(world_member(w, 2, g, EVENT_REMOVE, who, 0), MAY(rows[i].below[k]));
        }
        world_kill(w, false, 0);
        c = world_snapshot(w, 2, g, 0, 0, 0);
        assert_int_equal(c->snaps[0].role, rows[i].role);
        command_free(c);
        if (rows[i].role != ROLE_OWNER) {
            assert_int_equal(world_member(w, 2, g, EVENT_ROLE, 2, ROLE_OWNER), CONFAB_FORBIDDEN);
        }
    }
}

static void test_visibility__edits_of_what_one_may_not_see(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group_with(w, 1, SETTING_HISTORY_JOINED, 2, 1);
    uint64_t old;
    uint64_t seen;
    world_say(w, 1, g, "secret", &old);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 5, 0), CONFAB_OK);
    world_say(w, 1, g, "open", &seen);
    w->npublished = 0;
    assert_int_equal(world_change(w, 1, EVENT_EDIT, old, "secret too"), CONFAB_OK);
    assert_int_equal(w->npublished, 2); /* one frame each, of the same seq */
    assert_int_equal(w->last_published.text.n, 0);
    assert_true(w->last_published.flags & EVENT_BLANK);
    assert_true(got_last(w, 5) && !got_last(w, 1) && !got_last(w, 2));
    assert_int_equal(world_change(w, 1, EVENT_EDIT, seen, "opened"), CONFAB_OK);
    assert_int_equal(w->npublished, 3);
    assert_true(got_last(w, 5) && got_last(w, 1) && got_last(w, 2));
    assert_true(span_is(w->last_published.text, "opened"));
    assert_reads(w, 2, g,
                 "1:create:tea 2:message:secret too 3:add: 4:message:opened 5:edit:secret too "
                 "6:edit:opened ");
    assert_reads(w, 5, g, "3:add: 4:message:opened 5:edit: 6:edit:opened ");
    /* What is hidden stays hidden when its author changes it. */
    struct command *c = world_event(w, 2, none, EVENT_HIDE);
    c->in.conv = g;
    c->in.range_from = c->in.range_to = 4;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_run(w, 500);
    assert_int_equal(world_change(w, 1, EVENT_EDIT, seen, "and again"), CONFAB_OK);
    assert_reads(w, 2, g,
                 "1:create:tea 2:message:secret too 3:add: 5:edit:secret too 6:edit: 7:edit: ");
}

static void test_visibility__replies_and_mentions(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group_with(w, 1, SETTING_HISTORY_JOINED, 2, 3);
    struct conv_id other = world_group(w, 1, "cake", 2, 1);
    uint64_t old;
    uint64_t far;
    uint64_t seen;
    world_say(w, 1, g, "secret", &old);
    world_say(w, 1, other, "elsewhere", &far);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 5, 0), CONFAB_OK);
    uint64_t seq = world_say(w, 1, g, "open", &seen);
    uint64_t targets[] = {old, far, seen + 1, 1, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct command *c = world_message(5, g, 0, "k", "x");
        c->in.target_id = targets[i];
        c = world_do(w, c);
        assert_int_equal(c->err, CONFAB_NOT_FOUND);
        assert_string_equal(c->err_field, "reply_to");
        command_free(c);
    }
    for (int flush = 0; flush < 2; flush++) {
        char key[16];
        snprintf(key, sizeof(key), "r%d", flush);
        struct command *c = world_message(5, g, 0, key, "x");
        c->in.target_id = seen;
        struct buf list = {0};
        static const uint64_t mentioned[] = {2, 2, 5, 77, 3, 2};
        for (size_t i = 0; i < ARRAY_LEN(mentioned); i++) {
            buf_put_varint(&list, mentioned[i]);
        }
        assert_int_equal(command_set_span(c, &c->in.mentions, span_of(list.data, list.len)),
                         CONFAB_OK);
        buf_deinit(&list);
        c = world_do(w, c);
        assert_int_equal(c->err, CONFAB_OK);
        assert_int_equal(w->last_published.target_seq, seq);
        command_free(c);
        w->cfg.recent_max = 0;
        world_flush(w);
        world_kill(w, false, 0);
    }
    static const uint32_t mentions[] = {0, 0, 2, 2, 0, 0};
    for (uint64_t user = 1; user <= 5; user++) {
        struct command *c = world_snapshot(w, user, g, 0, 0, 0);
        assert_int_equal(c->snaps[0].mentions, mentions[user]);
        command_free(c);
    }
    assert_int_equal(world_err(w, world_ack(2, g, seq + 1, true)), CONFAB_OK);
    world_run(w, 3000);
    struct command *c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].mentions, 1);
    assert_int_equal(c->snaps[0].unread, 1);
    command_free(c);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 2, 0), CONFAB_OK);
    c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].mentions, 0);
    assert_int_equal(c->snaps[0].unread, 0);
    command_free(c);
    /* 101 of them are too many; something else than numbers is refused. */
    c = world_message(1, g, 0, "m", "x");
    struct buf list = {0};
    for (uint64_t i = 0; i < EVENT_MENTIONS_MAX + 1; i++) {
        buf_put_varint(&list, 3);
    }
    assert_int_equal(command_set_span(c, &c->in.mentions, span_of(list.data, list.len)), CONFAB_OK);
    assert_int_equal(world_err(w, c), CONFAB_TOO_LARGE);
    c = world_message(1, g, 0, "m", "x");
    assert_int_equal(command_set_span(c, &c->in.mentions, span_of("\xff", 1)), CONFAB_OK);
    assert_int_equal(world_err(w, c), CONFAB_INVALID);
    buf_deinit(&list);
}

static void test_visibility__a_former_member(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_say(w, 1, g, "one", NULL);
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 2, 0), CONFAB_OK);
    world_run(w, 500);
    struct command *c = world_list(w, 2);
    struct list_entry entry = c->entries[0];
    assert_false(entry.joined);
    command_free(c);
    c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_true(span_is(span_of(c->snaps[0].name.data, c->snaps[0].name.len), "tea"));
    assert_int_equal(c->snaps[0].head_seq, 3);
    uint64_t head_id = c->snaps[0].head_id;
    uint64_t token = c->closed_ms;
    command_free(c);
    /* What goes on there is not the former member's any more. */
    world_say(w, 1, g, "two", NULL);
    c = world_event(w, 1, g, EVENT_RENAME);
    assert_int_equal(command_set_span(c, &c->in.text, span_str("secret tea")), CONFAB_OK);
    assert_int_equal(world_err(w, c), CONFAB_OK);
    for (int cold = 0; cold < 2; cold++) {
        for (uint64_t have = 0; have <= 3; have += 3) {
            c = world_snapshot_new(w, 2, g, token, have, have ? head_id : 0);
            c->items[0].entry = entry;
            c = world_do(w, c);
            assert_int_equal(c->nsnaps, 0);
            command_free(c);
        }
        c = world_snapshot(w, 2, g, 0, 0, 0);
        const struct snapshot *s = &c->snaps[0];
        assert_false(s->active);
        assert_int_equal(s->head_seq, 3);
        assert_int_equal(s->covered_to, 3);
        assert_int_equal(s->name.len, 0);
        assert_int_equal(s->members, 0);
        assert_int_equal(s->last_message_id, 0);
        assert_int_equal(s->preview.len, 0);
        command_free(c);
        c = world_snapshot_new(w, 2, g, token, 1, 0);
        c->items[0].entry = entry;
        c = world_do(w, c);
        assert_int_equal(c->nsnaps, 1);
        assert_int_equal(c->snaps[0].covered_from, 2);
        command_free(c);
        world_flush(w);
        world_kill(w, false, 0);
    }
    assert_int_equal(world_err(w, world_ack(2, g, 1, true)), CONFAB_NOT_FOUND);
    assert_int_equal(world_err(w, world_event(w, 2, g, EVENT_LEAVE)), CONFAB_NOT_FOUND);
}

static void test_visibility__blocked(void **state)
{
    struct world *w = *state;
    uint64_t id;
    struct command *c = world_do(w, world_message(2, none, 1, "a", "hi"));
    struct conv_id d = c->ret_conv;
    uint64_t seq = c->ret_seq;
    id = c->ret_id;
    command_free(c);
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_run(w, 500);
    assert_int_equal(world_change(w, 2, EVENT_EDIT, id, "listen!"), CONFAB_BLOCKED);
    w->nreceipts = 0;
    assert_int_equal(world_err(w, world_ack(1, d, seq, true)), CONFAB_OK);
    world_run(w, 3000);
    assert_int_equal(w->nreceipts, 0);
    assert_int_equal(world_change(w, 2, EVENT_DELETE, id, ""), CONFAB_OK);
    assert_int_equal(world_err(w, world_message(1, none, 2, "b", "and you?")), CONFAB_FORBIDDEN);
}

/* What is refused makes nothing, not even the conversation it would have been in. */
static void test_visibility__a_refused_first_message_leaves_nothing(void **state)
{
    struct world *w = *state;
    static char big[EVENT_TEXT_MAX + 2];
    memset(big, 'x', sizeof(big) - 1);
    const char *texts[] = {big, "", "\xff", "fine"};
    static const enum confab_err want[] = {CONFAB_TOO_LARGE, CONFAB_INVALID, CONFAB_INVALID,
                                           CONFAB_NOT_FOUND};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        for (uint64_t peer = 1; peer <= 2; peer++) { /* oneself, too */
            struct command *c = world_message(1, none, peer, "a", texts[i]);
            c->in.target_id = i == 3 ? 12345 : 0;
            assert_int_equal(world_err(w, c), want[i]);
        }
    }
    world_run(w, 500);
    assert_int_equal(w->npublished, 0);
    struct command *c = world_list(w, 2);
    assert_int_equal(c->nentries, 0);
    command_free(c);
    assert_int_equal(world_err(w, world_message(1, none, 2, "a", "hi")), CONFAB_OK);
}

/* Much that is hidden is stepped over. */
static void test_visibility__long_gaps_are_not_read(void **state)
{
    struct world *w = *state;
    w->cfg.recent_max = 0;
    world_kill(w, false, 0);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t first = world_say(w, 1, g, "first", NULL);
    uint64_t last = first;
    for (int i = 0; i < 1500; i++) {
        last = world_say(w, 1, g, "x", NULL);
    }
    world_flush(w);
    struct command *c = world_event(w, 2, none, EVENT_HIDE);
    c->in.conv = g;
    c->in.range_from = first + 1;
    c->in.range_to = last - 1;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_run(w, 500);
    for (int reverse = 0; reverse < 2; reverse++) {
        uint64_t reads = fault_plan_seen(world_plan(w), STORE_RANGE);
        c = command_new(COMMAND_HISTORY);
        c->actor = 2;
        c->conv = g;
        c->limit = 10;
        c->reverse = reverse;
        c->messages_only = true;
        c = world_do(w, c);
        assert_int_equal(world_records(c), 2);
        assert_int_equal(world_record(c, 0).seq, first);
        assert_int_equal(world_record(c, 1).seq, last);
        assert_int_equal(c->covered_to, last);
        assert_in_range(c->covered_from, 1, first);
        command_free(c);
        assert_in_range(fault_plan_seen(world_plan(w), STORE_RANGE) - reads, 1, 4);
    }
}

static void test_visibility__any_numbers_from_outside(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    for (int i = 0; i < 20; i++) {
        world_say(w, 1, g, "x", NULL);
    }
    static const uint64_t odd[] = {0,
                                   1,
                                   2,
                                   21,
                                   22,
                                   INT64_MAX,
                                   INT64_MAX + 1ULL,
                                   UINT64_MAX,
                                   UINT64_MAX - 1,
                                   1ULL << 41,
                                   253402300799000ULL};
    for (int flush = 0; flush < 2; flush++) {
        for (size_t i = 0; i < ARRAY_LEN(odd) * 6; i++) {
            for (int reverse = 0; reverse < 2; reverse++) {
                struct command *c = command_new(COMMAND_HISTORY);
                uint64_t n = odd[i / 6];
                c->actor = 2;
                c->conv = g;
                c->limit = i % 6 == 5 ? (uint32_t)n : 50;
                c->reverse = reverse;
                c->from_seq = i % 6 == 0 ? n : 0;
                c->to_seq = i % 6 == 1 ? n : 0;
                c->at_id = i % 6 == 2 ? n : 0;
                c->at_ms = i % 6 == 3 ? n : 0;
                c->offset = i % 6 == 4 ? n : 0;
                c = world_do(w, c);
                assert_int_equal(c->err, CONFAB_OK);
                assert_in_range(world_records(c), 0, 21);
                if (i % 6 == 3 && n > WORLD_START_MS) {
                    assert_int_equal(world_records(c), reverse ? 21 : 0);
                }
                command_free(c);
            }
            uint64_t n = odd[i / 6];
            assert_int_equal(world_err(w, world_ack(2, g, n, i % 2)),
                             n >= 1 && n <= 21 ? CONFAB_OK : CONFAB_INVALID);
            struct command *c = world_snapshot(w, 2, g, i % 2 ? n : 0, n, i % 3 ? n : 0);
            assert_int_equal(c->err, CONFAB_OK);
            command_free(c);
            c = world_event(w, 3, none, EVENT_HIDE);
            c->in.conv = g;
            c->in.range_from = i % 2 ? n : 1000;
            c->in.range_to = n;
            enum confab_err err = world_err(w, c);
            assert_true(err == CONFAB_INVALID || (n >= 1 && n < INT64_MAX));
            if (!err && n <= 21) {
                world_kill(w, true, i); /* forgets nothing */
            }
        }
        w->cfg.recent_max = 0;
        world_flush(w);
        world_kill(w, false, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        T(test_visibility__joining_and_settings),
        T(test_visibility__send_and_invite_admins),
        T(test_visibility__roles),
        T(test_visibility__what_each_role_may),
        T(test_visibility__edits_of_what_one_may_not_see),
        T(test_visibility__replies_and_mentions),
        T(test_visibility__a_former_member),
        T(test_visibility__blocked),
        T(test_visibility__a_refused_first_message_leaves_nothing),
        T(test_visibility__long_gaps_are_not_read),
        T(test_visibility__any_numbers_from_outside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
