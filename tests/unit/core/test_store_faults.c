/* A store that is busy, fails, answers late, or did what it says it did not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/conv.h"
#include "core/rows.h"
#include "world.h"

static void arm(struct world *w, enum store_op op, uint64_t nth, uint64_t count,
                enum fault_kind kind, enum confab_err err)
{
    assert_int_equal(fault_plan_arm(world_plan(w), op, nth, count, kind, err), CONFAB_OK);
}

static void restart(struct world *w)
{
    w->cfg.recent_max = 0; /* reads go to the store */
    world_kill(w, false, 0);
}

/* All that was said is there, newest to oldest. */
static void check_said(struct world *w, uint64_t actor, struct conv_id conv, uint32_t said,
                       uint32_t page)
{
    uint64_t before = 0;
    uint32_t n = said;
    do {
        struct command *cmd = command_new(COMMAND_HISTORY);
        cmd->actor = actor;
        cmd->conv = conv;
        cmd->limit = page;
        cmd->reverse = true;
        cmd->messages_only = true;
        cmd->to_seq = before;
        cmd = world_do(w, cmd);
        assert_int_equal(cmd->err, CONFAB_OK);
        uint32_t i = n - world_records(cmd);
        n = i;
        struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
        struct event ev;
        while (command_record_next(&rd, &ev)) {
            char text[32];
            snprintf(text, sizeof(text), "m%u", ++i);
            assert_true(span_is(ev.text, text));
        }
        before = cmd->covered_from - 1;
        command_free(cmd);
    } while (before > 0);
    assert_int_equal(n, 0);
}

static uint32_t say_more(struct world *w, struct conv_id g, uint32_t said, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        char text[32];
        snprintf(text, sizeof(text), "m%u", ++said);
        world_say(w, 1, g, text, NULL);
    }
    return said;
}

static void test_store__one_that_stays_failed_refuses_sends_and_says_why(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    w->cfg.dirty_bytes_max = 4096;
    world_kill(w, false, 0);
    arm(w, STORE_WRITE, 1, UINT32_MAX, FAULT_FAIL, CONFAB_IO);
    uint32_t said = 0;
    enum confab_err err = CONFAB_OK;
    while (!err && said < 1000) {
        char text[32];
        char key[32];
        snprintf(text, sizeof(text), "m%u", said + 1);
        snprintf(key, sizeof(key), "key%u", said + 1);
        err = world_err(w, world_message(1, g, 0, key, text));
        said += !err;
        world_run(w, 100);
    }
    /* What is in the log is acknowledged for as long as it may be. */
    assert_true(said > 10);
    assert_int_equal(err, CONFAB_IO);
    assert_int_equal(engine_health(w->e), CONFAB_IO);
    check_said(w, 1, g, said, 100);
    fault_plan_disarm(world_plan(w));
    for (int i = 0; i < 30; i++) {
        world_run(w, 100);
    }
    assert_int_equal(engine_health(w->e), CONFAB_OK);
    said = say_more(w, g, said, 3);
    check_said(w, 1, g, said, 100);
}

static void test_store__a_failed_load_answers_and_is_tried_again(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    struct conv_id big = world_group(w, 1, "cake", 2, 100);
    world_say(w, 1, g, "x", NULL);
    world_say(w, 1, big, "x", NULL);
    world_flush(w);
    for (int round = 0; round < 4; round++) {
        enum store_op op = round & 1 ? STORE_RANGE : STORE_GET;
        struct conv_id id = round & 1 ? big : g;
        enum confab_err err = round & 2 ? CONFAB_CORRUPT : CONFAB_IO;
        restart(w);
        arm(w, op, 1, 1, FAULT_FAIL, err);
        world_submit(w, world_message(1, id, 0, "a", "x"));
        struct command *h = command_new(COMMAND_HISTORY);
        h->actor = 1;
        h->conv = id;
        world_submit(w, h);
        world_run(w, 0);
        for (int i = 0; i < 2; i++) {
            struct command *c = world_taken(w);
            assert_non_null(c);
            assert_int_equal(c->err, err);
            command_free(c);
        }
        char key[16];
        snprintf(key, sizeof(key), "r%d", round);
        assert_int_equal(world_err(w, world_message(1, id, 0, key, "x")), CONFAB_OK);
        world_flush(w);
    }
}

static void test_store__a_resume_over_a_failing_store(void **state)
{
    struct world *w = *state;
    struct conv_id ids[20];
    for (int i = 0; i < 20; i++) {
        ids[i] = world_group(w, 1, "tea", 2, 3);
        world_say(w, 1, ids[i], "x", NULL);
    }
    world_flush(w);
    for (uint64_t nth = 1; nth <= 24; nth += 3) {
        for (int op = STORE_GET; op <= STORE_RANGE; op++) {
            for (int token = 0; token < 2; token++) {
                restart(w);
                struct command *c = command_new(COMMAND_RESUME);
                c->actor = 2;
                c->since_ms = token ? WORLD_START_MS : 0;
                c->events_max = 50;
                c->nitems = 20;
                c->items = calloc(20, sizeof(*c->items));
                for (int i = 0; i < 20; i++) {
                    c->items[i].conv = ids[i];
                }
                uint64_t hits = fault_plan_hits(world_plan(w));
                arm(w, (enum store_op)op, nth, 2, nth % 2 ? FAULT_FAIL : FAULT_REFUSE, CONFAB_IO);
                c = world_do(w, c);
                hits = fault_plan_hits(world_plan(w)) - hits;
                assert_true(c->err == CONFAB_IO || (c->err == CONFAB_OK && c->nsnaps == 20));
                assert_true(c->err == CONFAB_IO || hits == 0 || token);
                command_free(c);
                fault_plan_disarm(world_plan(w));
                c = world_snapshot(w, 2, ids[0], 0, 0, 0);
                assert_int_equal(c->nsnaps, 1);
                command_free(c);
            }
        }
    }
}

/* What recovery loads may be loaded later; nothing is given up for a store that was busy. */
static void test_store__recovery_is_patient(void **state)
{
    (void)state;
    static const struct {
        enum fault_kind kind;
        enum confab_err err;
    } faults[] = {{FAULT_REFUSE, CONFAB_BUSY}, {FAULT_FAIL, CONFAB_IO}, {FAULT_FAIL, CONFAB_NOMEM}};
    for (uint64_t nth = 1; nth < 6; nth++) {
        for (size_t i = 0; i < ARRAY_LEN(faults) * 2; i++) {
            struct world w;
            world_init(&w);
            struct conv_id g = world_group(&w, 1, "tea", 2, 100);
            world_run(&w, 2000);
            world_flush(&w);
            w.mail_busy = UINT32_MAX; /* follow-ups that recovery has to send */
            assert_int_equal(world_member(&w, 1, g, EVENT_REMOVE, 5, 0), CONFAB_OK);
            world_flush(&w);
            world_say(&w, 1, g, "above", NULL);
            world_drop(&w, false, 0);
            w.mail_busy = 0;
            assert_int_equal(world_try_start(&w), CONFAB_OK);
            arm(&w, i % 2 ? STORE_GET : STORE_RANGE, nth, 3, faults[i / 2].kind, faults[i / 2].err);
            for (int k = 0; k < 30; k++) {
                world_run(&w, 200);
            }
            fault_plan_disarm(world_plan(&w));
            assert_true(world_is_recovered(&w));
            assert_int_equal(world_health(&w), CONFAB_OK);
            struct engine_stats st;
            engine_stats(w.e, &st);
            assert_int_equal(st.followups_pending, 0);
            struct command *c = world_history(&w, 50, g, 10);
            assert_int_equal(world_records(c), 1);
            command_free(c);
            c = world_list(&w, 5);
            assert_int_equal(c->nentries, 1);
            assert_false(c->entries[0].joined);
            command_free(c);
            world_deinit(&w);
        }
    }
}

/* Flushes that fail at any request, and at the end of the batch whether it was written or not. */
static void test_store__a_failed_flush_is_made_up_for(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random_seeded rnd;
        random_seeded_init(&rnd, seed);
        struct world w;
        world_init(&w);
        restart(&w);
        struct conv_id g = world_group(&w, 1, "tea", 2, 60 + (uint32_t)seed % 10);
        uint64_t first = 0;
        uint32_t said = 1;
        world_say(&w, 1, g, "m1", &first);
        for (int round = 0; round < 12; round++) {
            said = say_more(&w, g, said, 1 + (uint32_t)random_below(&rnd.base, 90));
            enum store_op op = random_below(&rnd.base, 3) ? STORE_WRITE : STORE_RANGE;
            enum fault_kind kind = FAULT_FAIL;
            if (op == STORE_WRITE && random_below(&rnd.base, 2)) {
                kind = FAULT_UNKNOWN;
            }
            arm(&w, op, 1, 1 + random_below(&rnd.base, 2), kind, CONFAB_IO);
            engine_flush_all(w.e);
            world_run(&w, 0);
            /* Goes on before it is tried again, also with changes to what is being written. */
            said = say_more(&w, g, said, 1 + (uint32_t)random_below(&rnd.base, 130));
            enum confab_err err = CONFAB_IO;
            while (err == CONFAB_IO) { /* the fault may be left for its target */
                err = world_change(&w, 1, EVENT_EDIT, first, "m1");
            }
            assert_int_equal(err, CONFAB_OK);
            if (round == 5) {
                assert_int_equal(world_member(&w, 1, g, EVENT_ADD, 500, 0), CONFAB_OK);
            }
            for (int i = 0; i < 4; i++) {
                world_run(&w, 700);
            }
            if (random_below(&rnd.base, 4) == 0) {
                world_kill(&w, random_below(&rnd.base, 2), seed + (uint64_t)round);
            }
            if (round % 4 == 3) {
                check_said(&w, 2, g, said, 97);
            }
        }
        world_flush(&w);
        world_kill(&w, true, seed);
        check_said(&w, 500, g, said, 200);
        world_deinit(&w);
    }
}

/*
 * A target that is read while a flush writes its change: what was read is from before, the change
 * is no longer in memory when the answer comes.
 */
static void test_store__a_late_target_is_read_again(void **state)
{
    struct world *w = *state;
    restart(w);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t id;
    world_say(w, 2, g, "first", &id);
    world_say(w, 2, g, "second", NULL);
    world_flush(w);
    assert_int_equal(world_change(w, 2, EVENT_DELETE, id, ""), CONFAB_OK);
    /* The look-up by id, then the chunk. */
    struct command *c = world_event(w, 2, g, EVENT_EDIT);
    c->in.target_id = id;
    assert_int_equal(command_set_span(c, &c->in.text, span_str("back again")), CONFAB_OK);
    w->gate.hold = true;
    world_submit(w, c);
    engine_flush_all(w->e);
    for (int i = 0; i < 20 && (w->gate.nheld > 0 || i == 0); i++) {
        world_run(w, 0);
        world_release(w, true); /* the flush, asked later, answers first */
    }
    w->gate.hold = false;
    world_run(w, 100);
    c = world_taken(w);
    assert_non_null(c);
    assert_int_equal(c->err, CONFAB_NOT_FOUND);
    command_free(c);
    c = world_history(w, 3, g, 10);
    assert_int_equal(world_record(c, 0).text.n, 0);
    command_free(c);
}

/* A chunk may be full of the longest texts, put in one by one. */
static void test_store__a_chunk_grows_by_edits(void **state)
{
    struct world *w = *state;
    restart(w);
    struct conv_id g = world_group(w, 1, "tea", 1ULL << 60, EVENT_MENTIONS_MAX);
    char text[EVENT_TEXT_MAX + 1];
    struct buf list = {0};
    for (uint64_t i = 0; i < EVENT_MENTIONS_MAX; i++) {
        buf_put_varint(&list, (1ULL << 60) + i);
    }
    uint64_t ids[140];
    struct random_seeded rnd;
    random_seeded_init(&rnd, 1);
    for (int i = 0; i < 140; i++) {
        char key[EVENT_CMID_MAX + 1];
        snprintf(key, sizeof(key), "%064d", i);
        struct command *c = world_message(1, g, 0, key, "x");
        assert_int_equal(command_set_span(c, &c->in.mentions, span_of(list.data, list.len)),
                         CONFAB_OK);
        c = world_do(w, c);
        assert_int_equal(c->err, CONFAB_OK);
        ids[i] = c->ret_id;
        command_free(c);
    }
    buf_deinit(&list);
    world_flush(w);
    for (int i = 0; i < 140; i++) {
        for (size_t k = 0; k < EVENT_TEXT_MAX; k++) {
            text[k] = (char)('!' + random_below(&rnd.base, 90));
        }
        text[EVENT_TEXT_MAX] = 0;
        assert_int_equal(world_change(w, 1, EVENT_EDIT, ids[i], text), CONFAB_OK);
    }
    world_flush(w);
    restart(w);
    uint64_t before = 142;
    uint32_t n = 0;
    while (before > 1) {
        struct command *c = command_new(COMMAND_HISTORY);
        c->actor = 1;
        c->conv = g;
        c->limit = 50;
        c->reverse = true;
        c->messages_only = true;
        c->to_seq = before - 1;
        c = world_do(w, c);
        assert_int_equal(c->err, CONFAB_OK);
        for (uint32_t i = 0; i < world_records(c); i++) {
            assert_int_equal(world_record(c, i).text.n, EVENT_TEXT_MAX);
            n++;
        }
        before = c->covered_from;
        command_free(c);
    }
    assert_int_equal(n, 140);
}

/* Changes to many old events, in any order, while flushes come and go. */
static void test_store__changes_all_over_the_place(void **state)
{
    struct world *w = *state;
    enum { MESSAGES = 700, CHANGES = 1600 };
    static uint64_t ids[MESSAGES];
    static uint32_t version[MESSAGES]; /* UINT32_MAX: deleted */
    char text[32];
    struct random_seeded rnd;
    random_seeded_init(&rnd, 7);
    restart(w);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        world_say(w, 1, g, "0", &ids[i]);
    }
    world_flush(w);
    uint64_t writes = fault_plan_seen(world_plan(w), STORE_WRITE);
    uint64_t first_write = 0;
    w->gate.hold = false;
    for (uint32_t i = 1; i <= CHANGES; i++) {
        uint32_t at = (uint32_t)random_below(&rnd.base, MESSAGES);
        bool gone = version[at] == UINT32_MAX;
        bool del = random_below(&rnd.base, 10) == 0;
        struct command *c = world_event(w, 1, g, del ? EVENT_DELETE : EVENT_EDIT);
        c->in.target_id = ids[at];
        snprintf(text, sizeof(text), "%u", i);
        assert_int_equal(command_set_span(c, &c->in.text, span_str(text)), CONFAB_OK);
        assert_int_equal(world_err(w, c), gone ? CONFAB_NOT_FOUND : CONFAB_OK);
        version[at] = gone || del ? UINT32_MAX : i;
        if (!first_write && fault_plan_seen(world_plan(w), STORE_WRITE) > writes) {
            first_write = i;
        }
    }
    /* Long before their age: so many chunks are not kept waiting to be written at once. */
    assert_in_range(first_write, 200, 1200);
    for (int pass = 0; pass < 2; pass++) {
        struct command *c = NULL;
        uint32_t i = 0;
        for (uint64_t from = 1; i < MESSAGES; from = c->covered_to + 1, command_free(c)) {
            c = command_new(COMMAND_HISTORY);
            c->actor = 2;
            c->conv = g;
            c->from_seq = from;
            c->messages_only = true;
            c->limit = 200;
            c = world_do(w, c);
            struct reader rd = reader_of(c->ret.data, c->ret.len);
            struct event ev;
            while (command_record_next(&rd, &ev)) {
                snprintf(text, sizeof(text), "%u", version[i]);
                assert_int_equal(ev.id, ids[i]);
                assert_true(version[i] == UINT32_MAX ? ev.flags == EVENT_DELETED && ev.text.n == 0
                                                     : span_is(ev.text, text));
                i++;
            }
        }
        world_flush(w);
        world_kill(w, true, 3);
    }
}

static void log_raw(struct world *w, uint16_t partition, uint8_t kind, uint8_t version,
                    const struct buf *payload)
{
    struct log_submission sub = {0};
    uint32_t offset;
    assert_int_equal(log_submission_add(&sub, partition, kind, version,
                                        span_of(payload->data, payload->len), &offset),
                     CONFAB_OK);
    assert_int_equal(log_store_submit(log_mem_store(w->log), &sub), CONFAB_OK);
    log_mem_step(w->log, 1);
    assert_ptr_equal(log_store_poll(log_mem_store(w->log), 0), &sub);
    buf_deinit(&sub.bytes);
}

/* Written by a newer program: not skipped, nor anything behind it; the others go on. */
static void test_store__what_is_not_known_stops_its_partition(void **state)
{
    (void)state;
    for (int what = 0; what < 4; what++) {
        struct world w;
        world_init(&w);
        struct conv_id g = world_group(&w, 1, "tea", 2, 3);
        struct conv_id h = world_group(&w, 1, "cake", 2, 3);
        assert_int_not_equal(conv_id_partition(g), conv_id_partition(h));
        world_say(&w, 1, g, "x", NULL);
        world_say(&w, 1, h, "x", NULL);
        if (what % 2) {
            world_flush(&w);
        }
        uint64_t clock = atomic_load(&w.shared.log_clock_ms);
        world_drop(&w, false, 0);
        struct buf payload = {0};
        uint8_t raw[16];
        conv_id_write(g, raw);
        buf_put(&payload, raw, 16);
        struct event ev = {.kind = 60,
                           .seq = 3,
                           .ord = 1,
                           .id = message_id_make(clock + 5, conv_id_partition(g), 1)};
        event_encode(&payload, &ev);
        struct log_stats stats;
        log_store_stats(log_mem_store(w.log), &stats);
        log_raw(&w, conv_id_partition(g), what < 2 ? 1 : 77, what < 2 ? 1 : 1 + (what == 3),
                &payload);
        buf_deinit(&payload);
        assert_int_equal(world_try_start(&w), CONFAB_OK);
        for (int i = 0; i < 10; i++) {
            world_run(&w, 100);
        }
        assert_true(world_is_recovered(&w));
        assert_int_equal(world_health(&w), CONFAB_VERSION);
        assert_int_equal(world_err(&w, world_message(1, g, 0, "a", "x")), CONFAB_VERSION);
        struct command *c = world_history(&w, 1, g, 10);
        assert_int_equal(c->err, CONFAB_VERSION);
        command_free(c);
        c = world_snapshot(&w, 1, g, 0, 0, 0);
        assert_int_equal(c->err, CONFAB_VERSION);
        command_free(c);
        world_say(&w, 1, h, "y", NULL);
        c = world_history(&w, 1, h, 10);
        assert_int_equal(world_records(c), 2);
        command_free(c);
        engine_flush_all(w.e);
        for (int i = 0; i < 40; i++) {
            world_run(&w, 100);
        }
        assert_true(engine_clean_lsn(w.e) <= stats.durable_lsn);
        world_deinit(&w);
    }
}

/* As a server that finds no thread for its shards: what was asked of the store has been answered,
 * and nobody takes it. A sanitizer sees whether it is freed. */
static void test_store__a_start_that_is_given_up(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    world_flush(w);
    world_say(w, 1, g, "only in the log", NULL);
    world_drop(w, false, 0);
    assert_int_equal(world_try_start(w), CONFAB_OK);
    assert_false(world_is_recovered(w));
    for (uint16_t i = 0; i < w->nshards; i++) {
        engine_free(w->shards[i].e);
        w->shards[i].e = NULL;
    }
    w->e = NULL;
    world_start(w);
    struct command *c = world_history(w, 2, g, 10);
    assert_true(world_records(c) > 0);
    command_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        T(test_store__one_that_stays_failed_refuses_sends_and_says_why),
        T(test_store__a_failed_load_answers_and_is_tried_again),
        T(test_store__a_resume_over_a_failing_store),
        cmocka_unit_test(test_store__recovery_is_patient),
        cmocka_unit_test(test_store__a_failed_flush_is_made_up_for),
        T(test_store__a_late_target_is_read_again),
        T(test_store__a_chunk_grows_by_edits),
        T(test_store__changes_all_over_the_place),
        cmocka_unit_test(test_store__what_is_not_known_stops_its_partition),
        T(test_store__a_start_that_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
