/* Going away: who is told what, when each one leaves, and what is answered before. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

static struct rig *rig;
static struct account ann;
static struct account bob;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(2, NULL);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

static void drain(uint32_t grace_ms)
{
    shard_drain(rig->shards[0], grace_ms);
    shard_drain(rig->shards[1], grace_ms);
}

static bool is_drained(void)
{
    return shard_is_drained(rig->shards[0]) && shard_is_drained(rig->shards[1]);
}

/* A client's end of closing; the server waits for it. */
static void close_back(struct client *c)
{
    static const uint8_t going_away[] = {0x03, 0xe9};
    ws_send_frame(c, 0x88, going_away, sizeof(going_away));
}

static void test_drain__sessions_and_idle_connections(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    struct client *h = client_new(rig, 1);
    assert_int_equal(http(h, "GET", "/healthz", NULL, NULL, NULL), 200);
    drain(2000);
    const char *f = ws_expect(c, "reconnect");
    assert_true(json_number_of(f, "delay_ms") <= 2000);
    client_recv(h);
    assert_true(h->eof);
    assert_false(shard_is_drained(rig->shards[0]));
    rig_pass(rig, 1000);
    assert_int_equal(ws_close_code(c), 1001);
    client_drop(c);
    client_drop(h);
    rig_pass(rig, 200);
    assert_true(is_drained());
    assert_int_equal(rig_total(rig, METRIC_WS_CLOSED_DRAIN), 1);
}

static void test_drain__sessions_leave_one_after_the_other(void **state)
{
    (void)state;
    enum { N = 20 };
    struct client *all[N];
    uint64_t delay[N];
    uint64_t last = 0;
    for (int i = 0; i < N; i++) {
        all[i] = ws_live(rig, 0, &ann, NULL);
    }
    drain(60000);
    for (int i = 0; i < N; i++) {
        delay[i] = json_number_of(ws_expect(all[i], "reconnect"), "delay_ms");
        last = MAX(last, delay[i]);
    }
    /* Few are not kept waiting: a hundredth of a second for each at most. */
    assert_in_range(last, 1, N * 10);
    for (int i = 0; i < N; i++) {
        assert_true(i == 0 || delay[i] > delay[i - 1]);
    }
    /* Whoever was told a longer time is still there when the first ones have left. */
    rig_pass(rig, (uint32_t)delay[0] + 1);
    assert_int_equal(ws_close_code(all[0]), 1001);
    assert_int_equal(ws_close_code(all[N - 1]), 0);
    rig_pass(rig, (uint32_t)last + 100);
    for (int i = 1; i < N; i++) {
        assert_int_equal(ws_close_code(all[i]), 1001);
    }
    for (int i = 0; i < N; i++) {
        close_back(all[i]);
        client_drop(all[i]);
    }
    rig_pass(rig, 200);
    assert_true(is_drained());
}

static void test_drain__what_was_sent_is_answered(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    rig->hold_log = true;
    ws_send(c, "{\"event\":\"send_message\",\"client_msg_id\":\"m1\",\"to\":\"bob\","
               "\"content\":\"hello\"}");
    assert_null(ws_next(c));
    drain(20000);
    (void)ws_expect(c, "reconnect");
    rig_pass(rig, 3000);
    assert_int_equal(ws_close_code(c), 0); /* its time has passed, its answer is not there */
    ws_send(c, "{\"event\":\"send_message\",\"client_msg_id\":\"m2\",\"to\":\"bob\","
               "\"content\":\"too late\"}");
    rig->hold_log = false;
    rig_pass(rig, 200);
    assert_string_equal(json_text(ws_expect(c, "ack"), "client_msg_id"), "m1");
    assert_int_equal(ws_close_code(c), 1001);
    client_drop(c);
    rig_pass(rig, 1000);
    assert_true(is_drained());
}

static void test_drain__fresh_connection_gets_its_answer(void **state)
{
    (void)state;
    char *head = NULL;
    struct client *early = client_new(rig, 0);
    struct client *silent = client_new(rig, 1);
    rig_settle(rig);
    struct client *waiting = client_new(rig, 0); /* not accepted yet */
    drain(20000);
    rig_pass(rig, 500);
    struct client *const asking[] = {early, waiting};
    for (int i = 0; i < 2; i++) {
        client_send_str(asking[i], "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_int_equal(http_next(asking[i], &head, NULL), 200);
        assert_non_null(strstr(head, "Connection: close"));
        free(head);
        client_recv(asking[i]);
        assert_true(asking[i]->eof);
        client_drop(asking[i]);
    }
    /* One that asks nothing is not waited for. */
    rig_pass(rig, 2500);
    client_recv(silent);
    assert_true(silent->eof);
    client_drop(silent);
    assert_true(is_drained());
    struct net_sim_conn *late;
    assert_int_equal(net_sim_connect(rig->net, 0, &late), CONFAB_NET);
}

static void test_drain__waits_for_no_peer_that_is_done(void **state)
{
    (void)state;
    struct client *idle = client_new(rig, 0);
    struct client *closed = client_new(rig, 1);
    assert_int_equal(http(idle, "GET", "/healthz", NULL, NULL, NULL), 200);
    client_send_str(closed, "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert_int_equal(http_next(closed, NULL, NULL), 200);
    drain(20000);
    /* Neither closes its end. */
    rig_pass(rig, 1000);
    assert_int_equal(rig_total(rig, METRIC_CONNECTIONS), 0);
    assert_true(is_drained());
    client_drop(idle);
    client_drop(closed);
}

static void test_drain__waits_for_no_session_that_does_not_close(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    drain(20000);
    (void)ws_expect(c, "reconnect");
    rig_pass(rig, 1000);
    assert_int_equal(ws_close_code(c), 1001);
    assert_true(is_drained());
    client_drop(c);
}

static void test_drain__a_second_call_shortens_it(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    rig->hold_log = true;
    ws_send(c, "{\"event\":\"send_message\",\"client_msg_id\":\"m1\",\"to\":\"bob\","
               "\"content\":\"hello\"}");
    drain(600000);
    rig_pass(rig, 5000);
    assert_false(is_drained());
    drain(700000); /* longer: changes nothing */
    drain(0);
    rig_pass(rig, 1000);
    assert_int_equal(ws_close_code(c), 1001);
    assert_true(shard_is_drained(rig->shards[1]));
    rig->hold_log = false;
    rig_pass(rig, 200);
    assert_true(is_drained());
    client_drop(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_drain__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(sessions_and_idle_connections),  T(sessions_leave_one_after_the_other),
        T(what_was_sent_is_answered),      T(fresh_connection_gets_its_answer),
        T(waits_for_no_peer_that_is_done), T(waits_for_no_session_that_does_not_close),
        T(a_second_call_shortens_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
