/*
 * Limits by rate, senders that have to wait, and how many may come back at once. The clock is the
 * test's: waits are exact.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/session.h"
#include "rig.h"

static void send_to(struct client *c, const char *to, int i)
{
    char json[200];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"m%d\",\"client_msg_id\":"
             "\"%d\"}",
             to, i, i);
    ws_send(c, json);
}

static void expect_refused(struct client *c, int i, uint64_t least_ms, uint64_t most_ms)
{
    char want[16];
    const char *f = ws_expect(c, "error");
    snprintf(want, sizeof(want), "%d", i);
    assert_string_equal(json_text(f, "code"), "limit_reached");
    assert_string_equal(json_text(f, "message"), "too many messages");
    assert_string_equal(json_text(f, "ref"), "send_message");
    assert_string_equal(json_text(f, "client_msg_id"), want);
    assert_in_range(json_number_of(f, "retry_after_ms"), least_ms, most_ms);
}

static int post_message(struct client *c, const char *token, const char *to, char **ret_head)
{
    char body[120];
    char head[1200];
    snprintf(body, sizeof(body), "{\"toUserId\":\"%s\",\"content\":\"x\"}", to);
    snprintf(head, sizeof(head),
             "POST /api/v1/messages HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n"
             "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
             token, strlen(body), body);
    client_send_str(c, head);
    return http_next(c, ret_head, NULL);
}

/* ---- Sends ---- */

static void three_a_minute(struct shard_config *cfg)
{
    cfg->rates.a_minute[RATE_SEND][RATE_USER] = 3;
}

static void test_rates__of_a_user(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, three_a_minute);
    struct account ann, bob;
    char *head = NULL;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 0, &bob, NULL);
    struct client *h = client_new(rig, 0);
    for (int i = 0; i < 3; i++) {
        send_to(a, bob.name, i);
        ws_expect(a, "ack");
    }
    send_to(a, bob.name, 3);
    expect_refused(a, 3, 19000, 20000);
    assert_int_equal(post_message(h, ann.token, bob.user, &head), 429);
    assert_non_null(strstr(head, "Retry-After: 20\r\n"));
    free(head);
    assert_int_equal(rig_total(rig, METRIC_RATE_SENDS), 2);
    /* Not one of others, and not anything else of hers. */
    send_to(b, ann.name, 0);
    ws_expect(b, "ack");
    ws_send(a, "{\"event\":\"heartbeat\"}");
    ws_expect(a, "heartbeat");
    /* A third of a minute is one message, wherever it is sent. */
    rig_pass(rig, 20000);
    assert_int_equal(post_message(h, ann.token, bob.user, NULL), 201);
    send_to(a, bob.name, 4);
    expect_refused(a, 4, 19000, 20000);
    rig_pass(rig, 20000);
    send_to(a, bob.name, 4);
    ws_expect(a, "ack");
    assert_int_equal(rig_total(rig, METRIC_RATE_SENDS), 3);
    assert_int_equal(rig_total(rig, METRIC_BOUND_RATES), 0);
    client_drop(a);
    client_drop(b);
    client_drop(h);
    rig_free(rig);
}

static void by_address(struct shard_config *cfg)
{
    cfg->rates.a_minute[RATE_SEND][RATE_ADDRESS] = 2;
    cfg->rates.a_minute[RATE_SEND][RATE_DEVICE] = 3;
}

static struct client *from(struct rig *rig, const struct account *who, const char *address)
{
    struct client *c = ws_live(rig, 0, who, NULL);
    net_sim_set_address(c->conn, address);
    /* As the shard would have it, had it been so from the first. */
    struct conn *k = session_of_user(rig->shards[0], strtoull(who->user, NULL, 10));
    k->flags &= (uint16_t)~CONN_LOOPBACK;
    return c;
}

static void test_rates__of_an_address_and_a_device(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, by_address);
    struct account ann, bob, cid, dan;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "cid", &cid);
    account_make(rig, "dan", &dan);
    struct client *a = from(rig, &ann, "2001:db8::1");
    struct client *b = from(rig, &bob, "2001:db8::2"); /* the same /64 */
    struct client *c = from(rig, &cid, "2001:db8:1::1");
    struct client *d = ws_live(rig, 0, &dan, NULL); /* this machine, or a proxy */
    send_to(a, cid.name, 0);
    ws_expect(a, "ack");
    send_to(b, cid.name, 0);
    ws_expect(b, "ack");
    send_to(a, cid.name, 1);
    expect_refused(a, 1, 29000, 30000);
    send_to(c, ann.name, 0);
    ws_expect(c, "ack");
    for (int i = 0; i < 3; i++) {
        send_to(d, ann.name, i);
        ws_expect(d, "ack");
    }
    send_to(d, ann.name, 3);
    expect_refused(d, 3, 19000, 20000);
    client_drop(a);
    client_drop(b);
    client_drop(c);
    client_drop(d);
    rig_free(rig);
}

static void tiny_table(struct shard_config *cfg)
{
    cfg->rates.a_minute[RATE_SEND][RATE_USER] = 1;
    cfg->rates.entries_max = 2;
}

/* Who finds the table full of others is not limited; what is full again makes room. */
static void test_rates__bounded_table(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, tiny_table);
    struct account who[3];
    struct client *c[3];
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        c[i] = ws_live(rig, 0, &who[i], NULL);
    }
    for (int i = 0; i < 3; i++) {
        send_to(c[i], who[(i + 1) % 3].name, 0);
        ws_expect(c[i], "ack");
    }
    send_to(c[2], who[0].name, 1);
    ws_expect(c[2], "ack");
    send_to(c[0], who[1].name, 1);
    expect_refused(c[0], 1, 59000, 60000);
    assert_int_equal(rig_total(rig, METRIC_BOUND_RATES), 2);
    assert_int_equal(u64map_len(&rig->shards[0]->rates.full_ns), 2);
    rig_pass(rig, 61000);
    assert_null(ws_next(c[2])); /* a ping */
    send_to(c[2], who[0].name, 2);
    ws_expect(c[2], "ack");
    send_to(c[2], who[0].name, 3);
    expect_refused(c[2], 3, 59000, 60000);
    assert_int_equal(rig_total(rig, METRIC_BOUND_RATES), 2);
    for (int i = 0; i < 3; i++) {
        client_drop(c[i]);
    }
    rig_free(rig);
}

/* ---- Connecting, searching ---- */

static void few_sessions(struct shard_config *cfg)
{
    cfg->rates.a_minute[RATE_CONNECT][RATE_USER] = 4;
    cfg->rates.a_minute[RATE_CONNECT][RATE_DEVICE] = 2;
    cfg->rates.a_minute[RATE_SEARCH][RATE_USER] = 1;
}

static void test_rates__of_sessions(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, few_sessions);
    struct account ann;
    char *head = NULL;
    char *body = NULL;
    char get[1200];
    account_make(rig, "ann", &ann);
    struct client *one = ws_open(rig, 0, ann.token);
    struct client *two = ws_open(rig, 0, NULL);
    char auth[900];
    snprintf(auth, sizeof(auth), "{\"event\":\"auth\",\"token\":\"%s\"}", ann.token);
    ws_send(two, auth);
    ws_expect(two, "hello");
    /* With the handshake, and by frame. */
    struct client *three = client_new(rig, 0);
    snprintf(get, sizeof(get),
             "GET /ws?token=%s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: "
             "websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
             "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             ann.token);
    client_send_str(three, get);
    assert_int_equal(http_next(three, &head, &body), 429);
    assert_non_null(strstr(head, "Retry-After: 30\r\n"));
    assert_string_equal(json_text(body, "code"), "limit_reached");
    free(head);
    free(body);
    struct client *four = ws_open(rig, 0, NULL);
    ws_send(four, auth);
    const char *f = ws_expect(four, "error");
    assert_string_equal(json_text(f, "ref"), "auth");
    assert_in_range(json_number_of(f, "retry_after_ms"), 29000, 30000);
    assert_int_equal(ws_close_code(four), WS_CLOSE_TOO_MANY);
    assert_int_equal(rig_total(rig, METRIC_RATE_CONNECTS), 2);
    /* Searches have their own. */
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "GET", "/api/v1/users?q=an", ann.token, NULL, NULL), 200);
    assert_int_equal(http(h, "GET", "/api/v1/users?q=an", ann.token, NULL, NULL), 429);
    assert_int_equal(http(h, "GET", "/api/v1/users/me", ann.token, NULL, NULL), 200);
    assert_int_equal(rig_total(rig, METRIC_RATE_SEARCHES), 1);
    client_drop(one);
    client_drop(two);
    client_drop(three);
    client_drop(four);
    client_drop(h);
    rig_free(rig);
}

/* ---- Senders wait ---- */

static void little_unsynced(struct shard_config *cfg)
{
    cfg->engine.unsynced_bytes_max = 2000;
}

/*
 * The log takes nothing for a while: who sends is not read from any more, nobody is told that the
 * server is busy, and when it goes on all of it is stored in the order in which it was sent.
 */
static void test_sender__waits_for_the_log(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, little_unsynced);
    struct account ann, bob;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    send_to(a, bob.user, 100);
    ws_expect(a, "ack");
    rig->hold_log = true;
    for (int i = 0; i < 60; i++) {
        send_to(a, bob.user, i);
    }
    assert_int_equal(rig_total(rig, METRIC_SENDERS_HELD), 1);
    struct conn *c = session_of_user(rig->shards[0], strtoull(ann.user, NULL, 10));
    assert_true(c->holds & HOLD_OWNER);
    uint16_t inflight = c->inflight;
    assert_in_range(inflight, 1, 30);
    ws_send(a, "{\"event\":\"heartbeat\"}"); /* behind the sends, and as unread */
    /* However long it takes: it is not the client that is silent. */
    rig_pass(rig, 200000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 1);
    assert_int_equal(c->inflight, inflight);
    rig->hold_log = false;
    for (int i = 0; i < 60; i++) {
        char want[16];
        snprintf(want, sizeof(want), "%d", i);
        assert_string_equal(json_text(ws_expect(a, "ack"), "client_msg_id"), want);
    }
    assert_int_equal(rig_total(rig, METRIC_ERRORS_BUSY), 0);
    assert_true(list_is_empty(&rig->shards[0]->parked));
    client_drop(a);
    rig_free(rig);
}

/* A sender that goes meanwhile takes its message with it: it has no answer to it. */
static void test_sender__may_go(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, little_unsynced);
    struct account ann, bob;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    send_to(a, bob.user, 100);
    ws_expect(a, "ack");
    rig->hold_log = true;
    for (int i = 0; i < 40; i++) {
        send_to(a, bob.user, i);
    }
    assert_int_equal(rig_total(rig, METRIC_SENDERS_HELD), 1);
    client_drop(a);
    rig->hold_log = false;
    rig_settle(rig);
    assert_true(list_is_empty(&rig->shards[0]->parked));
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    rig_free(rig);
}

/* ---- Coming back all at once ---- */

static void one_at_a_time(struct shard_config *cfg)
{
    cfg->resumes_max = 1;
    cfg->resumes_waiting_max = 3;
}

#define MANY 12

static void test_resume__admitted_at_the_pace_of_serving(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, one_at_a_time);
    struct account who[MANY];
    struct client *c[MANY];
    int again = 0;
    uint64_t waits[MANY] = {0};
    for (int i = 0; i < MANY; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
        c[i] = ws_open(rig, 0, who[i].token);
        ws_expect(c[i], "hello");
    }
    rig->stalled[1] = true; /* the other shard does not answer: none of them ends */
    for (int i = 0; i < MANY; i++) {
        ws_send(c[i], "{\"event\":\"resume\"}");
    }
    for (int i = 0; i < MANY; i++) {
        const char *f = ws_next(c[i]);
        if (!f) {
            continue;
        }
        assert_string_equal(json_text(f, "code"), "again");
        assert_string_equal(json_text(f, "ref"), "resume");
        waits[again] = json_number_of(f, "retry_after_ms");
        assert_in_range(waits[again], 500, 999);
        assert_true(again == 0 || waits[again] != waits[again - 1]);
        again++;
    }
    assert_int_equal(again, MANY - 1 - 3);
    assert_int_equal(rig_total(rig, METRIC_RESUMES_AGAIN), again);
    assert_int_equal(rig_total(rig, METRIC_RESUMES_WAITING), 3);
    rig->stalled[1] = false;
    rig_settle(rig);
    assert_int_equal(rig_total(rig, METRIC_RESUMES_FULL), 4);
    assert_int_equal(rig_total(rig, METRIC_RESUMES_WAITING), 0);
    /* They stay connected, and may ask again on the same session. */
    for (int i = 0; i < MANY; i++) {
        ws_send(c[i], "{\"event\":\"resume\"}");
        ws_expect(c[i], "caught_up");
        client_drop(c[i]);
    }
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates__of_a_user),
        cmocka_unit_test(test_rates__of_an_address_and_a_device),
        cmocka_unit_test(test_rates__bounded_table),
        cmocka_unit_test(test_rates__of_sessions),
        cmocka_unit_test(test_sender__waits_for_the_log),
        cmocka_unit_test(test_sender__may_go),
        cmocka_unit_test(test_resume__admitted_at_the_pace_of_serving),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
