/* Cursors: many at once, durable ones, over refused and failed logs, and what unread is made of. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/chunk.h"
#include "core/conv.h"
#include "core/kind.h"
#include "core/rows.h"
#include "world.h"

static void stored(struct store_request *req)
{
    assert_int_equal(req->ret_err, CONFAB_OK);
}

/* A group of n members that is in the store, as if made long ago. */
static struct conv_id stored_group(struct world *w, uint32_t n)
{
    struct conv c;
    struct buf b = {0};
    struct buf list = {0};
    struct row_key rk;
    struct store_request req = {.op = STORE_WRITE, .done = stored};
    conv_init(&c, (struct conv_id){5, n});
    event_members_add(&list, 1, ROLE_OWNER);
    for (uint32_t i = 2; i <= n; i++) {
        event_members_add(&list, i, ROLE_MEMBER);
    }
    struct event ev = {.kind = EVENT_CREATE,
                       .seq = 1,
                       .id = message_id_make(WORLD_START_MS, conv_id_partition(c.id), 1),
                       .actor = 1,
                       .type = CONV_GROUP,
                       .text = span_str("many"),
                       .members = span_of(list.data, list.len)};
    assert_int_equal(conv_fold(&c, &ev), CONFAB_OK);
    c.nfollowups = 0;
    struct row_header row = {0};
    row_header_encode(&b, &row);
    conv_encode(&b, &c, false);
    row_key_conv(&rk, STORE_HEADER, c.id);
    store_batch_put(&req.batch, rk.k, span_of(b.data, b.len));
    for (uint32_t i = 0; i < c.nmembers; i++) {
        buf_clear(&b);
        conv_encode_member(&b, &c.members[i]);
        row_key_conv_seq(&rk, STORE_MEMBER, c.id, c.members[i].user);
        store_batch_put(&req.batch, rk.k, span_of(b.data, b.len));
    }
    struct buf records = {0};
    struct chunk_codec *codec;
    ev.members = span_of(NULL, 0);
    buf_clear(&b);
    event_encode(&b, &ev);
    buf_put_blob(&records, b.data, b.len);
    buf_clear(&b);
    assert_int_equal(chunk_codec_new(&codec), CONFAB_OK);
    assert_int_equal(chunk_encode(codec, &b, span_of(records.data, records.len), 1, false),
                     CONFAB_OK);
    row_key_conv_seq(&rk, STORE_CHUNK, c.id, 1);
    store_batch_put(&req.batch, rk.k, span_of(b.data, b.len));
    chunk_codec_free(codec);
    buf_deinit(&records);
    assert_int_equal(message_store_submit(w->store, &req), CONFAB_OK);
    store_request_deinit(&req);
    buf_deinit(&b);
    buf_deinit(&list);
    struct conv_id id = c.id;
    conv_deinit(&c);
    return id;
}

/* More than one record holds, and more than one submission. */
static void test_cursors__of_a_great_many_members(void **state)
{
    struct world *w = *state;
    enum { MEMBERS = 60000 };
    struct conv_id g = stored_group(w, MEMBERS);
    uint64_t seq = world_say(w, 1, g, "hello, all of you", NULL);
    log_fault_plan(w->log_fault, LOG_FAULT_SUBMIT, 2, 1, CONFAB_BUSY);
    uint64_t calls = log_fault_calls(w->log_fault, LOG_FAULT_SUBMIT);
    for (uint64_t user = 2; user <= MEMBERS; user++) {
        world_submit(w, world_ack(user, g, seq, true));
        world_submit(w, world_ack(user, g, seq - 1, false));
    }
    struct command *c;
    uint32_t n = 0;
    while ((c = world_taken(w))) {
        assert_int_equal(c->err, CONFAB_OK);
        command_free(c);
        n++;
    }
    assert_int_equal(n, 2 * (MEMBERS - 1));
    for (int i = 0; i < 4; i++) {
        world_run(w, 1000);
    }
    assert_in_range(log_fault_calls(w->log_fault, LOG_FAULT_SUBMIT) - calls, 2, 20);
    for (int kill = 0; kill < 2; kill++) {
        for (uint64_t user = 2; user <= MEMBERS; user += MEMBERS / 50) {
            c = world_snapshot(w, user, g, 0, 0, 0);
            assert_int_equal(c->err, CONFAB_OK);
            assert_int_equal(c->nsnaps, 1);
            assert_int_equal(c->snaps[0].read_seq, seq);
            assert_int_equal(c->snaps[0].unread, 0);
            command_free(c);
        }
        world_kill(w, false, 0);
    }
}

static void test_cursors__a_durable_ack_waits_for_its_record(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    for (int by_id = 0; by_id < 2; by_id++) {
        uint64_t id;
        seq = world_say(w, 1, g, "x", &id);
        struct command *c = world_ack(2, by_id ? (struct conv_id){0, 0} : g, by_id ? 0 : seq, true);
        c->in.target_id = by_id ? id : 0;
        c->durable = true;
        world_submit(w, c);
        engine_tick(w->e);
        engine_seal(w->e);
        engine_poll(w->e);
        assert_null(world_taken(w)); /* written, not durable */
        log_mem_step(w->log, 10);
        engine_poll(w->e);
        c = world_taken(w);
        assert_non_null(c);
        assert_int_equal(c->err, CONFAB_OK);
        assert_int_equal(c->ret_seq, seq);
        assert_true(conv_id_eq(c->ret_conv, g));
        command_free(c);
        world_kill(w, true, 1);
        c = world_snapshot(w, 2, g, 0, 0, 0);
        assert_int_equal(c->snaps[0].read_seq, seq);
        command_free(c);
        /* What is known already is answered at once. */
        c = world_ack(2, g, seq, true);
        c->durable = true;
        world_submit(w, c);
        c = world_taken(w);
        assert_non_null(c);
        assert_int_equal(c->err, CONFAB_OK);
        command_free(c);
    }
}

/* Who stops when the engine is quiet leaves no receipt to the next start. */
static void test_cursors__not_quiet_while_some_are_held_back(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    world_flush(w);
    command_free(world_do(w, world_ack(2, g, seq, true)));
    assert_false(engine_is_quiet(w->e));
    world_flush(w);
    assert_int_equal(engine_clean_lsn(w->e), UINT64_MAX);
    world_run(w, 3000);
    assert_int_equal(engine_clean_lsn(w->e), UINT64_MAX);
    assert_true(engine_is_quiet(w->e));
}

static void test_cursors__a_failed_log_pins_nothing(void **state)
{
    struct world *w = *state;
    w->cfg.cache_bytes_max = 1;
    world_kill(w, false, 0);
    struct conv_id g = world_group(w, 1, "tea", 2, 3);
    uint64_t seq = world_say(w, 1, g, "x", NULL);
    world_run(w, 1000); /* follow-ups arrive */
    world_flush(w);
    assert_int_equal(world_err(w, world_ack(2, g, seq, true)), CONFAB_OK);
    clock_sim_advance(&w->clock, 5000ULL * 1000000);
    engine_tick(w->e);
    engine_seal(w->e);
    log_mem_fail(w->log);
    for (int i = 0; i < 5; i++) {
        world_run(w, 1000);
    }
    struct engine_stats st;
    engine_stats(w->e, &st);
    assert_int_equal(st.conversations, 0);
    struct command *c = world_history(w, 2, g, 10);
    assert_int_equal(world_records(c), 1);
    command_free(c);
}

/* Unread and mentions against plain counting, whatever people do. */
static void test_cursors__unread_equals_a_plain_count(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 8; seed++) {
        struct random_seeded rnd;
        random_seeded_init(&rnd, seed);
        struct world w;
        world_init(&w);
        struct conv_id g = world_group(&w, 1, "tea", 2, 3);
        bool message[200] = {false};
        bool mentions[200][5] = {{false}};
        uint64_t read[5] = {0, 1, 1, 1, 1};
        uint64_t head = 1;
        for (int step = 0; step < 120; step++) {
            uint64_t user = 1 + random_below(&rnd.base, 4);
            char key[32];
            struct command *c;
            switch (random_below(&rnd.base, 6)) {
            case 0:
                c = world_event(&w, 1, g, EVENT_RENAME);
                assert_int_equal(command_set_span(c, &c->in.text, span_str("other")), CONFAB_OK);
                assert_int_equal(world_err(&w, c), CONFAB_OK);
                head++;
                break;
            case 1:
            case 2: {
                uint64_t to = 1 + random_below(&rnd.base, head);
                assert_int_equal(world_err(&w, world_ack(user, g, to, true)), CONFAB_OK);
                read[user] = MAX(read[user], to);
                break;
            }
            case 3:
                if (random_below(&rnd.base, 4) == 0) {
                    world_run(&w, 3000); /* what is noted and not durable may be forgotten */
                    world_flush(&w);
                    world_kill(&w, true, seed);
                }
                break;
            default:
                snprintf(key, sizeof(key), "%d", step);
                c = world_message(user, g, 0, key, "x");
                struct buf list = {0};
                uint64_t who = random_below(&rnd.base, 8);
                if (who >= 1 && who <= 4) {
                    buf_put_varint(&list, who);
                    assert_int_equal(
                        command_set_span(c, &c->in.mentions, span_of(list.data, list.len)),
                        CONFAB_OK);
                }
                buf_deinit(&list);
                assert_int_equal(world_err(&w, c), CONFAB_OK);
                head++;
                message[head] = true;
                mentions[head][who <= 4 ? who : 0] = who != user;
                read[user] = head;
            }
        }
        world_run(&w, 3000);
        for (uint64_t user = 1; user <= 4; user++) {
            uint32_t unread = 0;
            uint32_t mentioned = 0;
            for (uint64_t seq = read[user] + 1; seq <= head; seq++) {
                unread += message[seq];
                mentioned += mentions[seq][user];
            }
            struct command *c = world_snapshot(&w, user, g, 0, 0, 0);
            assert_int_equal(c->snaps[0].head_seq, head);
            assert_int_equal(c->snaps[0].read_seq, read[user]);
            assert_int_equal(c->snaps[0].unread, unread);
            assert_int_equal(c->snaps[0].mentions, mentioned);
            command_free(c);
        }
        world_deinit(&w);
    }
}

/* A receipt leaves for `users`, and nobody else. */
static void expect_receipt(struct world *w, uint64_t reader, struct conv_id g, uint64_t seq,
                           const char *users)
{
    char got[64] = "";
    w->nreceipts = 0;
    assert_int_equal(world_err(w, world_ack(reader, g, seq, true)), CONFAB_OK);
    world_run(w, 3000);
    assert_int_equal(w->nreceipts, 1);
    for (uint32_t i = 0; i < w->nreceipt_members && i < 8; i++) {
        size_t n = strlen(got);
        snprintf(got + n, sizeof(got) - n, "%" PRIu64 " ", w->receipt_members[i]);
    }
    assert_string_equal(got, users);
}

static void test_cursors__receipts_go_to_authors(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 6); /* 1 to 7 */
    uint64_t from3 = world_say(w, 3, g, "x", NULL);
    world_say(w, 3, g, "y", NULL);
    uint64_t from4 = world_say(w, 4, g, "z", NULL);
    expect_receipt(w, 5, g, from3, "3 5 ");
    expect_receipt(w, 5, g, from4, "3 4 5 ");
    expect_receipt(w, 2, g, from4, "2 3 4 ");
    /* Sending reads what is before: one receipt, to those who wrote it. */
    w->nreceipts = 0;
    uint64_t from6 = world_say(w, 6, g, "!", NULL);
    assert_int_equal(w->nreceipts, 1);
    assert_int_equal(w->nreceipt_members, 3);
    expect_receipt(w, 4, g, from6, "4 6 ");
    uint64_t own = world_say(w, 6, g, "?", NULL);
    uint64_t id;
    assert_int_equal(world_say(w, 7, g, "a", &id), own + 1);
    assert_int_equal(world_change(w, 7, EVENT_EDIT, id, "b"), CONFAB_OK);
    expect_receipt(w, 6, g, own + 2, "6 7 ");
    /* An edit is no message, and who left gets nothing. */
    assert_int_equal(world_change(w, 7, EVENT_EDIT, id, "c"), CONFAB_OK);
    expect_receipt(w, 6, g, own + 3, "6 ");
    assert_int_equal(world_member(w, 1, g, EVENT_REMOVE, 3, 0), CONFAB_OK);
    expect_receipt(w, 1, g, own + 3, "1 4 6 7 ");
}

static void test_cursors__receipts_of_what_is_not_in_memory(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 5); /* 1 to 6 */
    uint64_t seq = 0;
    for (int i = 0; i < 10; i++) {
        seq = world_say(w, 2 + (uint64_t)i % 2, g, "x", NULL);
    }
    assert_int_equal(world_err(w, world_ack(4, g, seq - 1, true)), CONFAB_OK);
    world_flush(w);
    world_kill(w, false, 0);
    /* The author of the last one is in the state; of earlier ones only the store knows. */
    expect_receipt(w, 4, g, seq, "3 4 ");
    expect_receipt(w, 5, g, seq, "1 2 3 4 5 6 ");
    /* So many that they are not looked at, one by one. */
    for (int i = 0; i < 300; i++) {
        seq = world_say(w, 2, g, "x", NULL);
    }
    expect_receipt(w, 4, g, seq, "1 2 3 4 5 6 ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup, world_teardown)
        T(test_cursors__of_a_great_many_members),
        T(test_cursors__receipts_go_to_authors),
        T(test_cursors__receipts_of_what_is_not_in_memory),
        T(test_cursors__a_durable_ack_waits_for_its_record),
        T(test_cursors__not_quiet_while_some_are_held_back),
        T(test_cursors__a_failed_log_pins_nothing),
        cmocka_unit_test(test_cursors__unread_equals_a_plain_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
