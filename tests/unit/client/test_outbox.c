/* Messages to send: order, repetition, failures, across connections and processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

static int setup(void **state)
{
    struct script *h = malloc(sizeof(*h));
    assert_non_null(h);
    script_init(h);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    script_close(*state);
    free(*state);
    return 0;
}

static enum confab_error put(struct script *h, const char *to, const char *key, const char *text)
{
    struct confab_outgoing m = {
        .content = {text, strlen(text)},
        .client_msg_id = key,
    };
    if (strlen(to) == 32) {
        m.conv = to;
    } else {
        m.to = to;
    }
    return csession_send(h->session, &m, h->now, NULL);
}

static void ack(struct script *h, const char *key, char conv, unsigned seq, bool duplicate)
{
    script_send(h,
                "{\"event\":\"ack\",\"client_msg_id\":\"%s\",\"message_id\":\"%u\","
                "\"conversation_id\":\"%s\",\"seq\":%u,\"sent_at\":\"2025-01-31T08:15:30.123Z\","
                "\"status\":\"sent\",\"duplicate\":%s}",
                key, 1000 + seq, conv == 'a' ? CONV_A : CONV_B, seq, duplicate ? "true" : "false");
}

static void refuse(struct script *h, const char *key, const char *code, unsigned retry_ms)
{
    script_send(h,
                "{\"event\":\"error\",\"code\":\"%s\",\"message\":\"no\",\"ref\":\"send_message\","
                "\"client_msg_id\":\"%s\"%s%u}",
                code, key, retry_ms ? ",\"retry_after_ms\":" : ",\"x\":", retry_ms);
}

static void open_live(struct script *h)
{
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live(h);
}

static void test_outbox__sends_and_hands_out_its_own_message(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live_at(h, 'a', 1);
    assert_int_equal(put(h, "bob", "k1", "hi \"bob\"\n"), CONFAB_E_OK);
    script_expect(h, "\"event\":\"send_message\"");
    const char *frame = (const char *)h->frame.data;
    assert_non_null(strstr(frame, "\"to\":\"bob\""));
    assert_non_null(strstr(frame, "\"content\":\"hi \\\"bob\\\"\\n\""));
    assert_non_null(strstr(frame, "\"client_msg_id\":\"k1\""));
    assert_non_null(strstr(frame, "\"fresh\":true"));
    ack(h, "k1", 'a', 2, false);
    script_log_is(h, "m a2 hi \"bob\"\n live own\ns k1 a2\n");
    assert_int_equal(csession_outbox_len(h->session), 0);
    script_message(h, 'a', 2, 1, "hi");
    script_message(h, 'a', 3, 5, "hello");
    script_log_is(h, "m a3 hello live\n");
}

static void test_outbox__makes_keys(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    char first[CONFAB_CMID_SIZE];
    char second[CONFAB_CMID_SIZE];
    struct confab_outgoing m = {.to = "bob", .content = {"x", 1}};
    assert_int_equal(csession_send(h->session, &m, h->now, first), CONFAB_E_OK);
    assert_int_equal(csession_send(h->session, &m, h->now, second), CONFAB_E_OK);
    assert_int_equal(strlen(first), 32);
    assert_string_not_equal(first, second);
}

static void test_outbox__own_message_takes_its_place_in_the_sequence(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    assert_non_null(script_take(h));
    assert_int_equal(put(h, CONV_A, "k1", "mine"), CONFAB_E_OK);
    assert_int_equal(put(h, CONV_A, "k2", "mine too"), CONFAB_E_OK);
    ack(h, "k1", 'a', 3, false); /* 2 has not come */
    script_log_is(h, "m a1 one live\ns k1 a3\n");
    script_message(h, 'a', 2, 5, "two");
    script_log_is(h, "m a2 two live\nm a3 mine live own\n");
    ack(h, "k2", 'a', 4, false);
    script_log_is(h, "m a4 mine too live own\ns k2 a4\n");
}

static void test_outbox__one_at_a_time_per_target_in_order(void **state)
{
    struct script *h = *state;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k2", "2"), CONFAB_E_OK);
    assert_int_equal(put(h, CONV_B, "k3", "3"), CONFAB_E_OK);
    assert_int_equal(put(h, "carol", "k4", "4"), CONFAB_E_OK);
    script_expect(h, "k1");
    script_expect(h, "k3"); /* hello said: two in flight */
    script_expect_none(h);
    ack(h, "k3", 'b', 1, false);
    script_expect(h, "k4");
    ack(h, "k1", 'a', 1, false);
    script_expect(h, "k2");
    script_expect_none(h);
}

static void test_outbox__queued_while_offline_is_sent_later(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k2", "2"), CONFAB_E_OK);
    script_connect(h);
    script_expect(h, "resume");
    script_expect(h, "k1"); /* does not wait for caught_up */
    script_caught_up(h, "t1");
    ack(h, "k1", 'a', 1, false);
    script_expect(h, "k2");
}

static void test_outbox__unknown_fate_is_repeated_with_the_same_key(void **state)
{
    struct script *h = *state;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    script_expect(h, "\"fresh\":true");
    script_drop(h);
    script_connect(h);
    script_expect(h, "resume");
    script_expect(h, "k1");
    assert_null(strstr((const char *)h->frame.data, "fresh\":true"));
    /* The first attempt had been stored, and comes with the resume. */
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 1, "1"));
    script_caught_up(h, "t2");
    ack(h, "k1", 'a', 2, true);
    script_log_is(h, "c a head=2 first\nm a2 1 first own\ncaught up\ns k1 a2 duplicate\n");
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.sent_duplicate, 1);
}

static void test_outbox__ack_before_the_page_that_holds_it(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    assert_int_equal(put(h, CONV_A, "k1", "mine"), CONFAB_E_OK);
    script_drop(h);
    script_connect(h);
    ack(h, "k1", 'a', 3, true);
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 2, 5, "two"),
             script_message_text('a', 3, 1, "mine"));
    script_page(h, 'a', 3, 2, 3, "", events);
    script_caught_up(h, "t2");
    script_log_is(h, "m a1 one live\ns k1 a3 duplicate\nc a head=3\nm a2 two missed\n"
                     "m a3 mine missed own\ncaught up\n");
}

static void test_outbox__second_ack_is_ignored(void **state)
{
    struct script *h = *state;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    ack(h, "k1", 'a', 1, false);
    ack(h, "k1", 'a', 1, true);
    script_log_is(h, "m a1 1 live own\ns k1 a1\n");
    /* One whose content is not known here any more counts in the sequence. */
    ack(h, "k0", 'a', 2, true);
    struct csession_fetch f;
    assert_true(csession_fetch_next(h->session, h->now, &f));
    assert_non_null(strstr(f.path, "after=1&"));
}

static void test_outbox__busy_is_repeated_with_growing_waits(void **state)
{
    struct script *h = *state;
    h->options.backoff_min_ms = 100;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k2", "2"), CONFAB_E_OK);
    script_expect(h, "k1");
    static const char *const codes[] = {"busy", "storage_failed", "storage_full", "again"};
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        refuse(h, "k1", codes[i], 700);
        h->now += 699;
        csession_tick(h->session, h->now);
        script_expect_none(h);
        h->now += 1 + (100U << i);
        csession_tick(h->session, h->now);
        script_expect(h, "k1"); /* never k2 before it */
    }
    ack(h, "k1", 'a', 1, false);
    script_expect(h, "k2");
    script_log_is(h, "m a1 1 live own\ns k1 a1\n");
}

static void test_outbox__repetition_is_bounded(void **state)
{
    struct script *h = *state;
    h->options.send_attempts_max = 3;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k2", "2"), CONFAB_E_OK);
    for (int i = 0; i < 3; i++) {
        script_expect(h, "k1");
        refuse(h, "k1", "busy", 0);
        h->now += 2000;
        csession_tick(h->session, h->now);
    }
    script_log_is(h, "s k1 busy\n");
    script_expect(h, "k2");
}

static void test_outbox__refusals_fail_and_let_the_next_go(void **state)
{
    struct script *h = *state;
    open_live(h);
    static const struct {
        const char *code;
        const char *log;
    } cases[] = {
        {"not_found", "s k not_found\n"},      {"blocked", "s k blocked\n"},
        {"forbidden", "s k forbidden\n"},      {"duplicate_key", "s k duplicate_key\n"},
        {"too_large", "s k too_large\n"},      {"limit_reached", "s k limit_reached\n"},
        {"never_heard_of_it", "s k server\n"}, {"ok", "s k server\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(put(h, "bob", "k", "1"), CONFAB_E_OK);
        assert_int_equal(put(h, "bob", "next", "2"), CONFAB_E_OK);
        script_expect(h, "\"k\"");
        refuse(h, "k", cases[i].code, 0);
        script_log_is(h, cases[i].log);
        script_expect(h, "next");
        refuse(h, "next", "invalid", 0);
        script_log_is(h, "s next invalid\n");
    }
    assert_int_equal(csession_outbox_len(h->session), 0);
}

static void test_outbox__missing_ack_is_asked_for_again(void **state)
{
    struct script *h = *state;
    open_live(h);
    csession_tick(h->session, h->now + 1000);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    script_expect(h, "k1");
    h->now += 19999;
    csession_tick(h->session, h->now);
    script_expect_none(h);
    assert_int_equal(csession_deadline(h->session), h->now + 1);
    h->now += 1;
    csession_tick(h->session, h->now);
    script_expect(h, "k1");
}

static void test_outbox__is_bounded(void **state)
{
    struct script *h = *state;
    h->options.outbox_max = 2;
    assert_int_equal(script_open(h), CONFAB_OK);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_EXISTS);
    assert_int_equal(put(h, "bob", "k2", "2"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k3", "3"), CONFAB_E_FULL);
    assert_int_equal(csession_unsend(h->session, "k1"), CONFAB_E_OK);
    assert_int_equal(csession_unsend(h->session, "k1"), CONFAB_E_NOT_FOUND);
    assert_int_equal(put(h, "bob", "k3", "3"), CONFAB_E_OK);
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.outbox_refused, 1);
}

static void test_outbox__what_was_sent_cannot_be_taken_back(void **state)
{
    struct script *h = *state;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(csession_unsend(h->session, "k1"), CONFAB_E_STATE);
}

static void test_outbox__bad_messages_are_not_queued(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    static char big[16385];
    memset(big, 'x', sizeof(big));
    const struct {
        struct confab_outgoing m;
        enum confab_error error;
    } cases[] = {
        {{.content = {"x", 1}}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .conv = CONV_A, .content = {"x", 1}}, CONFAB_E_ARGUMENT},
        {{.to = "", .content = {"x", 1}}, CONFAB_E_ARGUMENT},
        {{.conv = "not an id", .content = {"x", 1}}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {"", 0}}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {"a\0b", 3}}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {"\xff", 1}}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {big, sizeof(big)}}, CONFAB_E_TOO_LARGE},
        {{.to = "bob", .content = {"x", 1}, .client_msg_id = ""}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {"x", 1}, .client_msg_id = "\n"}, CONFAB_E_ARGUMENT},
        {{.to = "bob", .content = {"x", 1}, .nmentions = 1}, CONFAB_E_ARGUMENT},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_int_equal(csession_send(h->session, &cases[i].m, h->now, NULL), cases[i].error);
    }
    assert_int_equal(csession_outbox_len(h->session), 0);
    assert_int_equal(h->saves, 0);
}

static void test_outbox__is_saved_before_it_is_sent(void **state)
{
    struct script *h = *state;
    open_live(h);
    h->save_fails = 1;
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_SAVE);
    script_expect_none(h);
    assert_int_equal(csession_outbox_len(h->session), 0);
    int before = h->saves;
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    assert_int_equal(h->saves, before + 1);
    script_expect(h, "k1");
}

/* What was told as refused does not come back, to be taken then, when the process is killed. */
static void test_outbox__refusal_is_saved_before_it_is_told(void **state)
{
    struct script *h = *state;
    h->options.backoff_min_ms = 100;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    script_expect(h, "k1");
    h->save_fails = 1;
    refuse(h, "k1", "forbidden", 0);
    script_log_is(h, ""); /* it could not be saved: again */
    assert_int_equal(csession_outbox_len(h->session), 1);
    h->now += 200;
    csession_tick(h->session, h->now);
    script_expect(h, "k1");
    refuse(h, "k1", "forbidden", 0);
    script_log_is(h, "s k1 forbidden\n");
    h->save_fails = 1; /* killed now */
    script_restart(h);
    assert_int_equal(h->save_fails, 0);
    assert_int_equal(csession_outbox_len(h->session), 0);
}

/* A state that can never be saved does not keep a message for good. */
static void test_outbox__refusal_that_cannot_be_saved_is_told_in_the_end(void **state)
{
    struct script *h = *state;
    h->options.send_attempts_max = 3;
    open_live(h);
    assert_int_equal(put(h, "bob", "k1", "1"), CONFAB_E_OK);
    h->save_fails = 1000;
    for (int i = 0; i < 3; i++) {
        script_expect(h, "k1");
        refuse(h, "k1", "forbidden", 0);
        script_log_is(h, i < 2 ? "" : "s k1 forbidden\n");
        h->now += 4000;
        csession_tick(h->session, h->now);
        script_log_is(h, "error save\n");
    }
    assert_int_equal(csession_outbox_len(h->session), 0);
}

static void test_outbox__survives_a_restart(void **state)
{
    struct script *h = *state;
    open_live(h);
    uint64_t mentions[] = {5, 6};
    struct confab_outgoing m = {
        .conv = CONV_A,
        .content = {"first", 5},
        .client_msg_id = "k1",
        .reply_to = 1007,
        .mentions = mentions,
        .nmentions = 2,
    };
    assert_int_equal(csession_send(h->session, &m, h->now, NULL), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k2", "second"), CONFAB_E_OK);
    assert_int_equal(put(h, "bob", "k3", "third"), CONFAB_E_OK);
    script_restart(h);
    assert_int_equal(csession_outbox_len(h->session), 3);
    script_connect(h);
    script_expect(h, "resume");
    script_expect(h, "k1");
    const char *frame = (const char *)h->frame.data;
    assert_non_null(strstr(frame, "\"conversation_id\":\"" CONV_A "\""));
    assert_non_null(strstr(frame, "\"content\":\"first\""));
    assert_non_null(strstr(frame, "\"reply_to\":\"1007\""));
    assert_non_null(strstr(frame, "\"mentions\":[\"5\",\"6\"]"));
    assert_null(strstr(frame, "fresh\":true"));
    script_expect(h, "k2");
    ack(h, "k2", 'b', 1, false);
    script_expect(h, "k3");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_outbox__sends_and_hands_out_its_own_message),
        T(test_outbox__makes_keys),
        T(test_outbox__own_message_takes_its_place_in_the_sequence),
        T(test_outbox__one_at_a_time_per_target_in_order),
        T(test_outbox__queued_while_offline_is_sent_later),
        T(test_outbox__unknown_fate_is_repeated_with_the_same_key),
        T(test_outbox__ack_before_the_page_that_holds_it),
        T(test_outbox__second_ack_is_ignored),
        T(test_outbox__busy_is_repeated_with_growing_waits),
        T(test_outbox__repetition_is_bounded),
        T(test_outbox__refusals_fail_and_let_the_next_go),
        T(test_outbox__missing_ack_is_asked_for_again),
        T(test_outbox__is_bounded),
        T(test_outbox__what_was_sent_cannot_be_taken_back),
        T(test_outbox__bad_messages_are_not_queued),
        T(test_outbox__is_saved_before_it_is_sent),
        T(test_outbox__refusal_is_saved_before_it_is_told),
        T(test_outbox__refusal_that_cannot_be_saved_is_told_in_the_end),
        T(test_outbox__survives_a_restart),
    };
    return cmocka_run_group_tests_name("outbox", tests, NULL, NULL);
}
