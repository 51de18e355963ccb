/* The engine end to end over the memory adapters: each promise of DESIGN that needs one
 * conversation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/conv.h"
#include "world.h"

static int setup(void **state)
{
    struct world *w = malloc(sizeof(*w));
    world_init(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static void test_engine__message_is_acknowledged_and_in_history(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t id;
    assert_int_equal(world_say(w, 2, g, "hello", &id), 2);
    struct command *h = world_history(w, 3, g, 10);
    assert_int_equal(h->err, CONFAB_OK);
    assert_int_equal(world_records(h), 1);
    struct event ev = world_record(h, 0);
    assert_int_equal(ev.id, id);
    assert_int_equal(ev.actor, 2);
    assert_true(span_is(ev.text, "hello"));
    command_free(h);
    h = world_history(w, 99, g, 10);
    assert_int_equal(h->err, CONFAB_NOT_FOUND);
    command_free(h);
}

static void test_engine__direct_is_made_by_the_first_message(void **state)
{
    struct world *w = *state;
    struct conv_id none = {0, 0};
    struct command *c = world_do(w, world_message(1, none, 2, "a", "hi"));
    assert_int_equal(c->err, CONFAB_OK);
    assert_true(conv_id_eq(c->ret_conv, conv_id_direct(2, 1)));
    assert_int_equal(c->ret_seq, 2);
    command_free(c);
    c = world_do(w, world_message(2, none, 1, "a", "hi back"));
    assert_int_equal(c->ret_seq, 3);
    command_free(c);
    world_run(w, 100);
    c = command_new(COMMAND_LIST);
    c->actor = 2;
    c = world_do(w, c);
    assert_int_equal(c->nentries, 1);
    assert_true(conv_id_eq(c->entries[0].conv, conv_id_direct(1, 2)));
    assert_true(c->entries[0].joined);
    command_free(c);
}

static void test_engine__retry_returns_the_first_result(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct command *c = world_do(w, world_message(1, g, 0, "key", "one"));
    uint64_t id = c->ret_id;
    command_free(c);
    for (int round = 0; round < 3; round++) {
        c = world_do(w, world_message(1, g, 0, "key", "one"));
        assert_int_equal(c->err, CONFAB_OK);
        assert_true(c->duplicate);
        assert_int_equal(c->ret_id, id);
        command_free(c);
        c = world_do(w, world_message(1, g, 0, "key", "other"));
        assert_int_equal(c->err, CONFAB_DUPLICATE_KEY);
        command_free(c);
        c = world_do(w, world_message(2, g, 0, "key", "other"));
        assert_int_equal(c->err, CONFAB_OK);
        assert_int_equal(c->duplicate, round > 0);
        command_free(c);
        if (round == 0) {
            world_flush(w); /* now the key is in the store */
        } else {
            world_kill(w, false, 0);
        }
    }
    struct command *h = world_history(w, 1, g, 10);
    assert_int_equal(world_records(h), 2);
    command_free(h);
}

/* Chunks that are full long before 128 events: fewer come at once than a page needs. */
static void test_engine__history_of_long_texts(void **state)
{
    struct world *w = *state;
    enum { N = 600, BYTES = 12000 };
    w->cfg.recent_max = 3;
    world_kill(w, false, 0);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct random_seeded rnd;
    random_seeded_init(&rnd, 1);
    for (int i = 1; i <= N; i++) {
        char text[BYTES + 1];
        for (int k = snprintf(text, sizeof(text), "m%d ", i); k < BYTES; k++) {
            text[k] = (char)('a' + random_below(&rnd.base, 26));
        }
        text[BYTES] = 0;
        world_say(w, 1 + (uint64_t)(i % 3), g, text, NULL);
        if (i % 100 == 0) {
            world_flush(w);
        }
    }
    for (int reverse = 0; reverse < 2; reverse++) {
        uint64_t bound = 0;
        int seen = 0;
        int pages = 0;
        for (bool more = true; more; pages++) {
            struct command *cmd = command_new(COMMAND_HISTORY);
            cmd->actor = 3;
            cmd->conv = g;
            cmd->limit = 1000;
            cmd->reverse = reverse;
            cmd->messages_only = true;
            cmd->from_seq = reverse ? 0 : bound;
            cmd->to_seq = reverse ? bound : 0;
            cmd = world_do(w, cmd);
            assert_int_equal(cmd->err, CONFAB_OK);
            uint32_t n = world_records(cmd);
            assert_true(n > 0);
            for (uint32_t i = 0; i < n; i++) {
                char want[32];
                struct event ev = world_record(cmd, reverse ? n - 1 - i : i);
                int len = snprintf(want, sizeof(want), "m%d ", reverse ? N - seen : seen + 1);
                assert_int_equal(ev.text.n, BYTES);
                assert_memory_equal(ev.text.p, want, (size_t)len);
                seen++;
            }
            more = cmd->more;
            bound = reverse ? cmd->covered_from - 1 : cmd->covered_to + 1;
            command_free(cmd);
        }
        assert_int_equal(seen, N);
        assert_int_equal(pages, 2); /* of four mebibytes */
    }
}

static void test_engine__history_merges_memory_and_chunks(void **state)
{
    struct world *w = *state;
    w->cfg.recent_max = 3;
    world_kill(w, false, 0);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    char text[32];
    for (int i = 1; i <= 700; i++) {
        snprintf(text, sizeof(text), "m%d", i);
        world_say(w, 1 + (uint64_t)(i % 3), g, text, NULL);
        if (i % 37 == 0) {
            world_flush(w);
        }
    }
    for (uint32_t limit = 1; limit <= 1000; limit += 111) {
        uint64_t before = 0;
        uint32_t seen = 0;
        for (;;) {
            struct command *cmd = command_new(COMMAND_HISTORY);
            cmd->actor = 3;
            cmd->conv = g;
            cmd->limit = limit;
            cmd->reverse = true;
            cmd->messages_only = true;
            cmd->to_seq = before;
            cmd = world_do(w, cmd);
            assert_int_equal(cmd->err, CONFAB_OK);
            uint32_t n = world_records(cmd);
            for (uint32_t i = 0; i < n; i++) {
                struct event ev = world_record(cmd, n - 1 - i);
                snprintf(text, sizeof(text), "m%u", 700 - seen);
                assert_true(span_is(ev.text, text));
                seen++;
            }
            bool more = cmd->more;
            before = cmd->covered_from - 1;
            command_free(cmd);
            if (!more || before == 0) {
                break;
            }
        }
        assert_int_equal(seen, 700);
    }
    struct command *cmd = command_new(COMMAND_HISTORY);
    cmd->actor = 3;
    cmd->conv = g;
    cmd->limit = 5;
    cmd->from_seq = 100;
    cmd = world_do(w, cmd);
    assert_int_equal(world_records(cmd), 5);
    assert_int_equal(world_record(cmd, 0).seq, 100);
    assert_int_equal(cmd->covered_from, 100);
    assert_int_equal(cmd->covered_to, 104);
    command_free(cmd);
    cmd = command_new(COMMAND_HISTORY);
    cmd->actor = 3;
    cmd->conv = g;
    cmd->limit = 5;
    cmd->offset = 300;
    cmd->reverse = true;
    cmd->messages_only = true;
    cmd = world_do(w, cmd);
    assert_int_equal(world_records(cmd), 5);
    assert_true(span_is(world_record(cmd, 4).text, "m400"));
    uint64_t id = world_record(cmd, 4).id;
    command_free(cmd);
    for (int reverse = 0; reverse < 2; reverse++) {
        cmd = command_new(COMMAND_HISTORY);
        cmd->actor = 3;
        cmd->conv = g;
        cmd->limit = 1;
        cmd->at_id = id;
        cmd->reverse = reverse;
        cmd = world_do(w, cmd);
        assert_int_equal(world_records(cmd), 1);
        assert_true(span_is(world_record(cmd, 0).text, reverse ? "m399" : "m401"));
        command_free(cmd);
    }
}

static struct command *target(struct world *w, uint64_t actor, uint8_t kind, uint64_t id,
                              const char *text)
{
    struct command *c = world_event(w, actor, (struct conv_id){0, 0}, kind);
    c->in.target_id = id;
    assert_int_equal(command_set_span(c, &c->in.text, span_str(text)), CONFAB_OK);
    return world_do(w, c);
}

static void test_engine__edit_and_delete_change_what_is_read(void **state)
{
    struct world *w = *state;
    w->cfg.recent_max = 0;
    world_kill(w, false, 0);
    for (int flush = 0; flush < 4; flush++) {
        struct conv_id g = world_group(w, 1, "tea", 2, 3);
        uint64_t a;
        uint64_t b;
        world_say(w, 2, g, "first", &a);
        world_say(w, 2, g, "second", &b);
        if (flush & 1) {
            world_flush(w);
        }
        struct command *c = target(w, 3, EVENT_EDIT, a, "mine");
        assert_int_equal(c->err, CONFAB_FORBIDDEN);
        command_free(c);
        c = target(w, 2, EVENT_EDIT, a, "changed");
        assert_int_equal(c->err, CONFAB_OK);
        command_free(c);
        c = target(w, 2, EVENT_EDIT, a, "changed again");
        assert_int_equal(c->err, CONFAB_OK);
        command_free(c);
        if (flush & 2) {
            world_flush(w);
        }
        c = target(w, 3, EVENT_DELETE, b, "");
        assert_int_equal(c->err, CONFAB_FORBIDDEN);
        command_free(c);
        c = target(w, 1, EVENT_DELETE, b, "");
        assert_int_equal(c->err, CONFAB_OK);
        command_free(c);
        for (int pass = 0; pass < 3; pass++) {
            struct command *h = world_history(w, 3, g, 10);
            assert_int_equal(world_records(h), 2);
            assert_true(span_is(world_record(h, 0).text, "changed again"));
            assert_true(world_record(h, 0).flags & EVENT_EDITED);
            assert_int_equal(world_record(h, 1).text.n, 0);
            assert_true(world_record(h, 1).flags & EVENT_DELETED);
            command_free(h);
            if (pass == 0) {
                world_flush(w);
            } else {
                world_kill(w, true, (uint64_t)pass);
            }
        }
        c = target(w, 2, EVENT_EDIT, b, "late");
        assert_int_equal(c->err, CONFAB_NOT_FOUND);
        command_free(c);
    }
}

/* The user's own log: what the list of conversations lacked when it was read must be in it. */
static void test_engine__snapshot_has_all_from_where_it_is_asked(void **state)
{
    struct world *w = *state;
    for (uint64_t i = 0; i < 40; i++) {
        (void)world_group(w, 1, "tea", 2, 3);
    }
    world_run(w, 1000);
    struct command *list = world_list(w, 2);
    assert_int_equal(list->ret_seq, 40);
    command_free(list);
    static const struct {
        uint64_t all_from;
        uint64_t covered_from;
    } cases[] = {{0, 40}, {41, 40}, {40, 40}, {12, 12}, {1, 1}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct command *c = world_snapshot_new(w, 2, conv_id_self(2), 0, 0, 0);
        c->events_max = 1;
        c->items[0].all_from = cases[i].all_from;
        c = world_do(w, c);
        assert_int_equal(c->nsnaps, 1);
        assert_int_equal(c->snaps[0].covered_from, cases[i].covered_from);
        assert_int_equal(c->snaps[0].covered_to, 40);
        assert_int_equal(c->snaps[0].limited, cases[i].covered_from > 1);
        command_free(c);
    }
}

static void test_engine__unread_mentions_and_receipts(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = 0;
    for (int i = 0; i < 5; i++) {
        seq = world_say(w, 1, g, "x", NULL);
    }
    struct command *c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->nsnaps, 1);
    assert_int_equal(c->snaps[0].unread, 5);
    command_free(c);
    c = command_new(COMMAND_ACK);
    c->actor = 2;
    c->conv = g;
    c->to_seq = seq - 2;
    c->ack_read = true;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    assert_int_equal(w->nreceipts, 0); /* not before it is durable */
    world_run(w, 3000);
    assert_int_equal(w->nreceipts, 1);
    c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].unread, 2);
    assert_int_equal(c->snaps[0].read_seq, seq - 2);
    command_free(c);
    world_kill(w, false, 0);
    c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].unread, 2);
    command_free(c);
    world_say(w, 2, g, "mine", NULL);
    c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->snaps[0].unread, 0);
    command_free(c);
    c = command_new(COMMAND_ACK);
    c->actor = 2;
    c->conv = g;
    c->to_seq = 1000;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_INVALID);
    command_free(c);
}

static void test_engine__history_tells_what_everybody_has(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    uint64_t first = world_say(w, 1, g, "x", NULL);
    uint64_t second = world_say(w, 1, g, "y", NULL);
    for (uint64_t user = 2; user <= 3; user++) {
        struct command *h = world_history(w, 1, g, 1);
        assert_in_range(h->ret_delivered.seq, 1, first - 1);
        command_free(h);
        struct command *c = command_new(COMMAND_ACK);
        c->actor = user;
        c->conv = g;
        c->to_seq = user == 2 ? second : first;
        c->ack_read = user == 2;
        command_free(world_do(w, c));
        world_run(w, 2000);
    }
    struct command *h = world_history(w, 1, g, 1);
    assert_int_equal(h->ret_delivered.seq, first);
    assert_in_range(h->ret_read.seq, 1, first - 1);
    command_free(h);
}

static void test_engine__membership_rules(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct command *c = world_event(w, 2, g, EVENT_REMOVE);
    c->in.user = 3;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_FORBIDDEN);
    command_free(c);
    world_say(w, 3, g, "before", NULL);
    c = world_event(w, 1, g, EVENT_REMOVE);
    c->in.user = 3;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    world_say(w, 2, g, "after", NULL);
    c = world_do(w, world_message(3, g, 0, "q", "let me in"));
    assert_int_equal(c->err, CONFAB_NOT_FOUND);
    command_free(c);
    c = world_history(w, 3, g, 10);
    assert_int_equal(world_records(c), 1); /* what was said while a member */
    command_free(c);
    c = world_do(w, world_event(w, 1, g, EVENT_LEAVE));
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    c = command_new(COMMAND_MEMBERS);
    c->actor = 2;
    c->conv = g;
    c = world_do(w, c);
    struct reader rd = reader_of(c->ret.data, c->ret.len);
    uint64_t user;
    uint8_t role;
    int owners = 0;
    while (event_members_next(&rd, &user, &role)) {
        owners += role == ROLE_OWNER;
    }
    assert_int_equal(owners, 1);
    command_free(c);
}

static void test_engine__block_and_hide_follow_up(void **state)
{
    struct world *w = *state;
    struct conv_id none = {0, 0};
    struct command *c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c->in.value = 1;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    world_run(w, 100);
    c = world_do(w, world_message(2, none, 1, "a", "hello?"));
    assert_int_equal(c->err, CONFAB_BLOCKED);
    command_free(c);
    world_run(w, 100);
    c = command_new(COMMAND_LIST);
    c->actor = 1;
    c = world_do(w, c);
    assert_int_equal(c->nentries, 0); /* it does not even appear in the list */
    command_free(c);
    world_flush(w);
    world_kill(w, true, 3);
    c = world_do(w, world_message(2, none, 1, "a", "hello?"));
    assert_int_equal(c->err, CONFAB_BLOCKED);
    command_free(c);
    c = world_event(w, 1, none, EVENT_BLOCK);
    c->in.user = 2;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    world_run(w, 100);
    c = world_do(w, world_message(2, none, 1, "a", "hello?"));
    assert_int_equal(c->err, CONFAB_OK);
    uint64_t seq = c->ret_seq;
    struct conv_id d = c->ret_conv;
    command_free(c);
    world_run(w, 100);
    c = world_event(w, 1, none, EVENT_HIDE);
    c->in.conv = d;
    c->in.range_from = seq;
    c->in.range_to = seq;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    command_free(c);
    world_run(w, 100);
    c = world_history(w, 1, d, 10);
    assert_int_equal(world_records(c), 0);
    command_free(c);
    c = world_history(w, 2, d, 10);
    assert_int_equal(world_records(c), 1);
    command_free(c);
}

static void test_engine__state_after_a_kill_equals_the_state_before(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 100);
    struct conv_id h = world_group(w, 5, "cake", 6, 3);
    for (int i = 0; i < 50; i++) {
        world_say(w, 1 + (uint64_t)i, g, "x", NULL);
        if (i == 20) {
            world_flush(w);
        }
        world_say(w, 6, h, "y", NULL);
    }
    world_run(w, 5000);
    struct buf before = {0};
    struct buf after = {0};
    engine_dump_state(w->e, &before);
    world_kill(w, true, 7);
    /* Wake the conversations that only the store holds. */
    for (uint64_t u = 1; u <= 110; u++) {
        struct command *c = command_new(COMMAND_LIST);
        c->actor = u;
        command_free(world_do(w, c));
    }
    command_free(world_history(w, 1, g, 1));
    command_free(world_history(w, 5, h, 1));
    engine_dump_state(w->e, &after);
    struct buf full = {0};
    struct reader rd = reader_of(before.data, before.len);
    while (reader_left(&rd) > 0) {
        reader_bytes(&rd, 16);
        struct span s = reader_blob(&rd);
        buf_put(&full, s.p, s.n);
    }
    struct buf full2 = {0};
    rd = reader_of(after.data, after.len);
    while (reader_left(&rd) > 0) {
        reader_bytes(&rd, 16);
        struct span s = reader_blob(&rd);
        if (s.p[1] != CONV_NONE) {
            buf_put(&full2, s.p, s.n);
        }
    }
    assert_int_equal(full.len, full2.len);
    assert_memory_equal(full.data, full2.data, full.len);
    buf_deinit(&full);
    buf_deinit(&full2);
    buf_deinit(&before);
    buf_deinit(&after);
}

static void test_engine__log_failure_refuses_and_keeps_reading(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_say(w, 1, g, "kept", NULL);
    log_mem_fail(w->log);
    struct command *c = world_do(w, world_message(1, g, 0, "z", "lost"));
    assert_int_equal(c->err, CONFAB_IO);
    command_free(c);
    assert_int_equal(engine_health(w->e), CONFAB_IO);
    c = world_history(w, 2, g, 10);
    assert_int_equal(world_records(c), 1);
    command_free(c);
}

static void test_engine__a_failed_log_is_seen_without_a_send(void **state)
{
    struct world *w = *state;
    world_run(w, 1000);
    log_mem_fail(w->log); /* another shard, or a checkpoint's trim, found it so */
    assert_int_equal(engine_health(w->e), CONFAB_OK);
    world_run(w, 1000);
    assert_int_equal(engine_health(w->e), CONFAB_IO);
}

static void test_engine__full_log_refuses_and_recovers(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "kept", NULL);
    log_mem_set_capacity(w->log, 1);
    struct command *c = world_do(w, world_message(1, g, 0, "z", "refused"));
    assert_int_equal(c->err, CONFAB_NO_SPACE);
    command_free(c);
    log_mem_set_capacity(w->log, 0);
    world_run(w, 2000);
    assert_int_equal(world_say(w, 1, g, "next", NULL), seq + 1);
}

static void test_engine__cold_conversations_leave_memory(void **state)
{
    struct world *w = *state;
    w->cfg.cache_bytes_max = 100 * 1024;
    world_kill(w, false, 0);
    for (int i = 0; i < 300; i++) {
        struct conv_id g = world_group(w, 1, "tea", 2, 3);
        world_say(w, 1, g, "a message of some length, so that it takes room in memory", NULL);
    }
    world_flush(w);
    world_run(w, 1000);
    struct engine_stats st;
    engine_stats(w->e, &st);
    assert_in_range(st.cache_bytes, 0, 100 * 1024);
    assert_int_equal(st.dirty_bytes, 0);
}

/*
 * A client's position of a time that a restore has lost, however far above it the conversation is
 * by now, and wherever the event is: told, with the latest events. One that is right is not.
 */
static void test_engine__a_position_of_another_history(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t ids[80];
    for (int i = 0; i < 80; i++) {
        world_say(w, 1, g, "x", &ids[i]);
    }
    for (int stored = 0; stored < 2; stored++) {
        for (uint64_t at = 2; at <= 81; at += 79 / 4) { /* seq of the event that is compared */
            struct command *c = world_snapshot(w, 2, g, 0, at, ids[at - 2]);
            assert_int_equal(c->nsnaps, 1);
            assert_false(c->snaps[0].reset);
            assert_int_equal(c->snaps[0].covered_to, 81);
            assert_true(c->snaps[0].covered_from == at + 1 || c->snaps[0].limited);
            command_free(c);
            c = world_snapshot(w, 2, g, 0, at, ids[at - 2] + 1);
            assert_int_equal(c->nsnaps, 1);
            assert_true(c->snaps[0].reset);
            assert_int_equal(c->snaps[0].covered_to, 81);
            assert_in_range(c->snaps[0].covered_from, 2, 81);
            assert_true(c->snaps[0].limited && c->snaps[0].events.len > 0);
            command_free(c);
        }
        world_flush(w);
        w->cfg.recent_max = 0; /* from now on each is read from the store */
        world_kill(w, false, 0);
    }
}

/* Also where the member does not see what this history has there: something else may have been. */
static void test_engine__a_position_of_another_history_unseen(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t ids[12];
    for (uint64_t i = 2; i < ARRAY_LEN(ids); i++) { /* by seq; of some the event is not known */
        ids[i] = 0;
        if (i == 4 || i == 8) {
            uint8_t kind = i == 4 ? EVENT_REMOVE : EVENT_ADD;
            assert_int_equal(world_member(w, 1, g, kind, 3, 0), CONFAB_OK);
        } else {
            assert_int_equal(world_say(w, 1, g, "x", &ids[i]), i);
        }
    }
    struct command *c = world_event(w, 2, (struct conv_id){0, 0}, EVENT_HIDE);
    c->in.conv = g;
    c->in.range_from = 3;
    c->in.range_to = 5;
    assert_int_equal(world_err(w, c), CONFAB_OK);
    world_flush(w);
    w->cfg.recent_max = 0;
    world_kill(w, false, 0);
    static const struct {
        uint64_t user, at;
    } cases[] = {{2, 3}, {2, 5}, {3, 5}, {3, 7}, {3, 3}, {2, 7}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t at = cases[i].at;
        for (int other = 0; other < 2; other++) {
            c = world_snapshot(w, cases[i].user, g, 0, at, ids[at] + (uint64_t)other);
            assert_int_equal(c->nsnaps, 1);
            assert_int_equal(c->snaps[0].reset, other);
            assert_false(c->snaps[0].limited);
            assert_int_equal(c->snaps[0].covered_to, 11);
            assert_in_range(c->snaps[0].covered_from, 1, other ? 1 : at + 1);
            command_free(c);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(test_engine__message_is_acknowledged_and_in_history),
        T(test_engine__direct_is_made_by_the_first_message),
        T(test_engine__retry_returns_the_first_result),
        T(test_engine__history_merges_memory_and_chunks),
        T(test_engine__history_of_long_texts),
        T(test_engine__edit_and_delete_change_what_is_read),
        T(test_engine__snapshot_has_all_from_where_it_is_asked),
        T(test_engine__a_position_of_another_history),
        T(test_engine__a_position_of_another_history_unseen),
        T(test_engine__unread_mentions_and_receipts),
        T(test_engine__history_tells_what_everybody_has),
        T(test_engine__membership_rules),
        T(test_engine__block_and_hide_follow_up),
        T(test_engine__state_after_a_kill_equals_the_state_before),
        T(test_engine__log_failure_refuses_and_keeps_reading),
        T(test_engine__a_failed_log_is_seen_without_a_send),
        T(test_engine__full_log_refuses_and_recovers),
        T(test_engine__cold_conversations_leave_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
