/* WebSocket sessions: signing in, frames, their errors, life and end. */
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

static void expect_error(struct client *c, const char *code, const char *field)
{
    const char *f = ws_expect(c, "error");
    assert_string_equal(json_text(f, "code"), code);
    assert_string_equal(json_text(f, "field"), field ? field : "");
}

/* ---- Handshake ---- */

static int handshake(const char *target, const char *headers, char **ret_head)
{
    struct client *c = client_new(rig, 0);
    struct buf b = {0};
    char *body = NULL;
    buf_printf(&b,
               "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n%s\r\n",
               target, headers);
    client_send(c, b.data, b.len);
    int status = http_next(c, ret_head, &body);
    free(body);
    buf_deinit(&b);
    client_drop(c);
    return status;
}

#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"

static void test_session__handshake_errors(void **state)
{
    (void)state;
    char path[2 * JWT_TEXT_MAX + 64];
    char *head = NULL;
    assert_int_equal(handshake("/ws", KEY, NULL), 426);
    assert_int_equal(handshake("/ws", KEY "Sec-WebSocket-Version: 12\r\n", &head), 426);
    assert_non_null(strstr(head, "Sec-WebSocket-Version: 13\r\n"));
    free(head);
    assert_int_equal(handshake("/ws", VERSION, NULL), 400);
    assert_int_equal(handshake("/ws", VERSION "Sec-WebSocket-Key: abc\r\n", NULL), 400);
    assert_int_equal(handshake("/ws", VERSION KEY "Content-Length: 2\r\n\r\nab", NULL), 400);
    assert_int_equal(handshake("/ws?token=wrong", VERSION KEY, NULL), 401);
    assert_int_equal(handshake("/ws?userId=ann", VERSION KEY, NULL), 400);
    snprintf(path, sizeof(path), "/ws?userId=%s&token=%s", bob.user, ann.token);
    assert_int_equal(handshake(path, VERSION KEY, NULL), 401);
    snprintf(path, sizeof(path), "/ws?token=%s&token=%s", ann.token, ann.token);
    assert_int_equal(handshake(path, VERSION KEY, NULL), 400);
    struct client *c = client_new(rig, 0);
    assert_int_equal(http(c, "GET", "/ws", NULL, NULL, NULL), 426);
    assert_int_equal(http(c, "POST", "/ws", NULL, NULL, NULL), 426);
    client_drop(c);
}

static void test_session__token_in_subprotocol(void **state)
{
    (void)state;
    char headers[JWT_TEXT_MAX + 200];
    char *head = NULL;
    snprintf(headers, sizeof(headers),
             VERSION KEY "Sec-WebSocket-Protocol: confab.v1, token.%s\r\n", ann.token);
    assert_int_equal(handshake("/ws", headers, &head), 101);
    assert_non_null(strstr(head, "Sec-WebSocket-Protocol: confab.v1\r\n"));
    assert_null(strstr(head, ann.token));
    free(head);
    assert_int_equal(
        handshake("/ws", VERSION KEY "Sec-WebSocket-Protocol: confab.v1, token.x\r\n", NULL), 401);
}

static void test_session__hello(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 1, ann.token);
    const char *f = ws_expect(c, "hello");
    assert_string_equal(json_text(f, "user_id"), ann.user);
    assert_int_equal(json_number_of(f, "inflight"), 64);
    assert_int_equal(json_number_of(f, "protocol"), 1);
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
}

static void test_session__auth_by_first_frame(void **state)
{
    (void)state;
    char json[JWT_TEXT_MAX + 64];
    struct client *c = ws_open(rig, 0, NULL);
    assert_null(ws_next(c));
    snprintf(json, sizeof(json), "{\"event\":\"auth\",\"token\":\"%s\"}", ann.token);
    ws_send(c, json);
    ws_expect(c, "hello");
    ws_send(c, json);
    ws_expect(c, "authenticated");
    client_drop(c);
}

static void test_session__frames_behind_an_auth_wait_for_it(void **state)
{
    (void)state;
    /* Both in one segment. */
    char json[JWT_TEXT_MAX + 64];
    struct client *c = ws_open(rig, 0, NULL);
    struct buf b = {0};
    static const uint8_t zero[4];
    snprintf(json, sizeof(json), "{\"event\":\"auth\",\"token\":\"%s\"}", ann.token);
    ws_put_frame(&b, WS_TEXT, span_str(json), zero);
    ws_put_frame(&b, WS_TEXT, span_str("{\"event\":\"heartbeat\"}"), zero);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    ws_expect(c, "hello");
    ws_expect(c, "heartbeat");
    client_drop(c);
}

static void test_session__wrong_token_in_frame(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, NULL);
    ws_send(c,
            "{\"event\":\"auth\",\"token\":\"cfb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}");
    assert_int_equal(ws_close_code(c), 4401);
    client_drop(c);
}

static void test_session__user_id_of_another(void **state)
{
    (void)state;
    char text[JWT_TEXT_MAX + 300];
    struct client *c = client_new(rig, 0);
    snprintf(text, sizeof(text),
             "GET /ws?userId=%s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
             "Upgrade: websocket\r\n" VERSION KEY "\r\n",
             bob.user);
    client_send_str(c, text);
    assert_int_equal(http_next(c, NULL, NULL), 101);
    snprintf(text, sizeof(text), "{\"event\":\"auth\",\"token\":\"%s\"}", ann.token);
    ws_send(c, text);
    assert_int_equal(ws_close_code(c), 4401);
    client_drop(c);
}

static void test_session__not_signed_in_in_time(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, NULL);
    ws_send(c, "{\"event\":\"heartbeat\"}");
    expect_error(c, "unauthenticated", NULL);
    rig_pass(rig, 10100);
    assert_int_equal(ws_close_code(c), 4408);
    client_drop(c);
}

static void test_session__nothing_before_signing_in(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, NULL);
    for (int i = 0; i < 8; i++) {
        ws_send(c, "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"x\","
                   "\"client_msg_id\":\"1\"}");
    }
    assert_int_equal(ws_close_code(c), 4400);
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_MESSAGES_ACCEPTED), 0);
}

/* ---- Frames ---- */

static void expect_close(uint8_t first, const void *p, size_t n, uint16_t code)
{
    struct client *c = ws_open(rig, 0, ann.token);
    ws_send_frame(c, first, p, n);
    assert_int_equal(ws_close_code(c), code);
    client_recv(c);
    assert_true(c->eof);
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
}

static void test_session__close_codes_of_bad_frames(void **state)
{
    (void)state;
    static char big[70000];
    memset(big, 'a', sizeof(big));
    expect_close(0x82, "x", 1, 1003);
    expect_close(0x81, "\xff", 1, 1007);
    expect_close(0x81, big, 65537, 1009);
    expect_close(0x83, "x", 1, 1002); /* unknown opcode */
    expect_close(0xc1, "x", 1, 1002); /* reserved bit */
    expect_close(0x80, "x", 1, 1002); /* continuation of nothing */
    expect_close(0x09, "x", 1, 1002); /* fragmented ping */
    expect_close(0x88, "\x03", 1, 1002);
    struct client *c = ws_open(rig, 0, ann.token);
    client_send(c, "\x81\x01x", 3); /* not masked */
    assert_int_equal(ws_close_code(c), 1002);
    client_drop(c);
}

static void test_session__fragments_and_pings(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, ann.token);
    ws_expect(c, "hello");
    ws_send_frame(c, 0x01, "{\"event\":", 9);
    ws_send_frame(c, 0x89, "yes", 3);
    client_recv(c);
    assert_int_equal(c->in.len, 5);
    assert_memory_equal(c->in.data, "\x8a\x03yes", 5);
    buf_clear(&c->in);
    ws_send_frame(c, 0x00, "\"heart", 6);
    ws_send_frame(c, 0x80, "beat\"}", 6);
    ws_expect(c, "heartbeat");
    client_drop(c);
}

static void test_session__closing_handshake(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, ann.token);
    ws_expect(c, "hello");
    ws_send_frame(c, 0x88, "\x03\xe8", 2);
    assert_int_equal(ws_close_code(c), 1000);
    client_recv(c);
    assert_true(c->eof);
    client_drop(c);
}

static void test_session__not_json_eight_times(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "", "x", "{}", "[]", "1", "{", "{\"event\":1}", "{\"event\":\"a\",}"};
    struct client *c = ws_open(rig, 0, ann.token);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ws_send(c, bad[i]);
        assert_string_equal(json_text(ws_expect(c, "error"), "code"), "invalid");
    }
    assert_int_equal(ws_close_code(c), 4400);
    client_drop(c);
}

static void test_session__errors_of_sends(void **state)
{
    (void)state;
#define SEND(more) "{\"event\":\"send_message\",\"client_msg_id\":\"1\"," more "}"
    static const struct {
        const char *json;
        const char *code;
        const char *field;
    } bad[] = {
        {"{\"event\":\"dance\"}", "unsupported", NULL},
        {SEND("\"to\":\"bob\""), "invalid", "content"},
        {SEND("\"content\":\"x\""), "invalid", "to"},
        {SEND("\"to\":\"nobody\",\"content\":\"x\""), "not_found", "to"},
        {SEND("\"to\":\"not a name\",\"content\":\"x\""), "not_found", "to"},
        {SEND("\"to\":\"123456\",\"content\":\"x\""), "not_found", "to"},
        {SEND("\"to\":\"bob\",\"content\":\"x\",\"type\":\"video\""), "invalid", "type"},
        {SEND("\"conversation_id\":\"0123456789abcdef0123456789abcdef\",\"content\":\"x\""),
         "not_found", NULL},
        {"{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"x\"}", "invalid",
         "client_msg_id"},
        {"{\"event\":\"send_group_message\",\"group_id\":\"x\",\"content\":\"x\","
         "\"client_msg_id\":\"1\"}",
         "invalid", "group_id"},
        {"{\"event\":\"ack\",\"message_id\":\"1\",\"status\":\"seen\"}", "invalid", "status"},
        {"{\"event\":\"ack\",\"message_id\":\"12345678901\",\"status\":\"read\"}", "not_found",
         NULL},
    };
    struct client *c = ws_live(rig, 0, &ann, NULL);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ws_send(c, bad[i].json);
        const char *f = ws_expect(c, "error");
        assert_string_equal(json_text(f, "code"), bad[i].code);
        if (bad[i].field) {
            assert_string_equal(json_text(f, "field"), bad[i].field);
        }
        assert_null(strstr(f, "conversation_id"));
    }
    ws_send(c, "{\"event\":\"ack\",\"conversation_id\":\"0123456789abcdef0123456789abcdef\","
               "\"seq\":1,\"status\":\"read\"}");
    const char *f = ws_expect(c, "error");
    assert_string_equal(json_text(f, "code"), "not_found");
    assert_string_equal(json_text(f, "conversation_id"), "0123456789abcdef0123456789abcdef");
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_MESSAGES_ACCEPTED), 0);
}

static void test_session__text_too_long(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    struct buf b = {0};
    buf_put_str(
        &b, "{\"event\":\"send_message\",\"to\":\"bob\",\"client_msg_id\":\"1\",\"content\":\"");
    for (int i = 0; i < 16385; i++) {
        buf_put_u8(&b, 'a');
    }
    buf_put_str(&b, "\"}");
    ws_send_frame(c, 0x81, b.data, b.len);
    expect_error(c, "too_large", "content");
    buf_deinit(&b);
    client_drop(c);
}

static void test_session__repeat_gets_the_first_result(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    const char *json = SEND("\"to\":\"bob\",\"content\":\"x\"");
    ws_send(c, json);
    char id[32];
    snprintf(id, sizeof(id), "%s", json_text(ws_expect(c, "ack"), "message_id"));
    ws_send(c, json);
    const char *f = ws_expect(c, "ack");
    assert_string_equal(json_text(f, "message_id"), id);
    assert_non_null(strstr(f, "\"duplicate\":true"));
    ws_send(c, SEND("\"to\":\"bob\",\"content\":\"y\""));
    expect_error(c, "duplicate_key", "client_msg_id");
    client_drop(c);
}

static void test_session__order_over_an_unknown_name(void **state)
{
    (void)state;
    /* The first needs the directory, the second names the same person by a way that does not. */
    char json[400];
    struct client *c = ws_live(rig, 0, &ann, NULL);
    struct buf b = {0};
    static const uint8_t zero[4];
    struct account eve;
    account_make(rig, "eve", &eve);
    for (int i = 0; i < 6; i++) {
        snprintf(json, sizeof(json),
                 "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"%d\","
                 "\"client_msg_id\":\"%d\"}",
                 i % 2 ? eve.user : "EVE", i, i);
        ws_put_frame(&b, WS_TEXT, span_str(json), zero);
    }
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    for (int i = 0; i < 6; i++) {
        snprintf(json, sizeof(json), "%d", i);
        assert_string_equal(json_text(ws_expect(c, "ack"), "client_msg_id"), json);
    }
    client_drop(c);
}

static void test_session__holds_at_64_unanswered(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    struct buf b = {0};
    static const uint8_t zero[4];
    char json[200];
    for (int i = 0; i < 300; i++) {
        snprintf(json, sizeof(json), SEND("\"to\":\"bob\",\"content\":\"x\",\"x\":%d"), i);
        char *at = strstr(json, "\"1\"");
        char head[240];
        snprintf(head, sizeof(head), "%.*s\"n%d\"%s", (int)(at - json), json, i, at + 3);
        ws_put_frame(&b, WS_TEXT, span_str(head), zero);
    }
    rig->hold_log = true;
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    assert_null(ws_next(c));
    struct conn *conn = NULL;
    for (uint32_t i = 0; !conn || conn->user == 0; i++) {
        conn = conn_at(rig->shards[0], i);
    }
    assert_int_equal(conn->inflight, 64);
    rig->hold_log = false;
    for (int i = 0; i < 300; i++) {
        snprintf(json, sizeof(json), "n%d", i);
        assert_string_equal(json_text(ws_expect(c, "ack"), "client_msg_id"), json);
    }
    client_drop(c);
}

static void test_session__only_resumed_sessions_get_live_frames(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    struct client *quiet = ws_open(rig, 1, bob.token);
    struct client *live = ws_live(rig, 1, &bob, NULL);
    struct client *second = ws_live(rig, 0, &ann, NULL);
    ws_expect(quiet, "hello");
    ws_send(c, SEND("\"to\":\"bob\",\"content\":\"x\""));
    ws_expect(c, "ack");
    ws_expect(live, "new_message");
    ws_expect(second, "new_message"); /* her other device */
    assert_null(ws_next(quiet));
    for (const char *f; (f = ws_next(c));) {
        assert_null(strstr(f, "new_message"));
    }
    client_drop(quiet);
    client_drop(live);
    client_drop(second);
    client_drop(c);
}

static void test_session__receipts(void **state)
{
    (void)state;
    char json[200];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    ws_send(a, SEND("\"to\":\"bob\",\"content\":\"x\""));
    const char *f = ws_expect(b, "new_message");
    snprintf(json, sizeof(json), "{\"event\":\"ack\",\"message_id\":\"%s\",\"status\":\"read\"}",
             json_text(f, "message_id"));
    ws_send(b, json);
    rig_pass(rig, 3000);
    f = ws_expect(a, "delivery_receipt");
    assert_string_equal(json_text(f, "user_id"), bob.user);
    assert_string_equal(json_text(f, "status"), "read");
    client_drop(a);
    client_drop(b);
}

/* More than one poll gives. */
#define LOOKING 600

static struct conn *writing_one(void)
{
    struct conn *found = NULL;
    for (uint32_t i = 0; i <= LOOKING; i++) {
        struct conn *c = conn_at(rig->shards[0], i);
        if (c && c->state == CONN_WS && !c->acked_last) {
            assert_null(found);
            found = c;
        }
    }
    assert_non_null(found);
    return found;
}

static void test_session__a_message_is_read_before_acknowledgements(void **state)
{
    (void)state;
    char json[200];
    struct client *looking[LOOKING];
    for (size_t i = 0; i < LOOKING; i++) {
        looking[i] = ws_live(rig, 0, &bob, NULL);
    }
    struct client *a = ws_live(rig, 0, &ann, NULL);
    ws_send(a, SEND("\"to\":\"bob\",\"content\":\"x\""));
    snprintf(json, sizeof(json), "{\"event\":\"ack\",\"message_id\":\"%s\",\"status\":\"read\"}",
             json_text(ws_expect(a, "ack"), "message_id"));
    for (size_t i = 0; i < LOOKING; i++) {
        ws_send(looking[i], json);
    }
    rig_settle(rig);
    const struct conn *writing = writing_one();
    int64_t acks = rig_total(rig, METRIC_ACKS);
    assert_int_equal(acks, LOOKING);
    assert_int_equal(rig_total(rig, METRIC_READS_WAITING), 0);
    rig->hold_log = true;
    rig->stalled[0] = true;
    for (size_t i = 0; i < LOOKING; i++) {
        ws_send(looking[i], json);
    }
    ws_send(
        a, "{\"event\":\"send_message\",\"client_msg_id\":\"2\",\"to\":\"bob\",\"content\":\"y\"}");
    (void)shard_turn(rig->shards[0], 0);
    assert_int_equal(writing->inflight, 1);
    int64_t waiting = rig_total(rig, METRIC_READS_WAITING);
    assert_int_equal(rig_total(rig, METRIC_ACKS) + waiting, acks + LOOKING);
    assert_true(waiting > LOOKING / 2);
    /* One of those who wait goes, another one says more. */
    client_drop(looking[LOOKING - 1]);
    ws_send(looking[LOOKING - 2], json);
    rig->hold_log = false;
    rig->stalled[0] = false;
    rig_settle(rig);
    assert_int_equal(rig_total(rig, METRIC_READS_WAITING), 0);
    assert_int_equal(rig_total(rig, METRIC_ACKS), acks + LOOKING);
    assert_string_equal(json_text(ws_expect(a, "ack"), "client_msg_id"), "2");
    for (size_t i = 0; i < LOOKING - 1; i++) {
        client_drop(looking[i]);
    }
    client_drop(a);
}

static void test_session__short_form(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    ws_send(b, "{\"type\":\"heartbeat\"}");
    ws_expect(b, "heartbeat");
    ws_send(a, "{\"type\":\"message\",\"to\":\"bob\",\"text\":\"hi\"}");
    ws_expect(a, "ack");
    const char *f = ws_expect(b, "new_message");
    assert_string_equal(json_text(f, "content"), "hi");
    f = ws_next(b);
    while (f && strncmp(f, "{\"type\":\"message\"", 17) != 0) {
        f = ws_next(b);
    }
    assert_non_null(f);
    assert_string_equal(json_text(f, "text"), "hi");
    assert_string_equal(json_text(f, "from"), ann.user);
    client_drop(a);
    client_drop(b);
}

/* ---- Life and end ---- */

static void test_session__silent_ones_are_pinged_and_closed(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, ann.token);
    ws_expect(c, "hello");
    rig_pass(rig, 46000);
    client_recv(c);
    assert_memory_equal(c->in.data, "\x89\x00", 2);
    buf_clear(&c->in);
    ws_send_frame(c, 0x8a, "", 0);
    rig_pass(rig, 44000);
    client_recv(c);
    assert_false(c->eof);
    rig_pass(rig, 50000);
    assert_int_equal(ws_close_code(c), 1001);
    client_drop(c);
}

static void test_session__dribbled_message(void **state)
{
    (void)state;
    /* Whole messages go on, half of one does not: in a frame, or in fragments. */
    for (int way = 0; way < 2; way++) {
        struct client *c = ws_live(rig, 0, &ann, NULL);
        for (int i = 0; i < 40; i++) {
            rig_pass(rig, 1000);
            ws_send(c, "{\"event\":\"heartbeat\"}");
            ws_expect(c, "heartbeat");
        }
        if (way == 0) {
            client_send(c, "\x81\xfe\x10\x00", 4);
        } else {
            ws_send_frame(c, 0x01, "{", 1);
        }
        for (int i = 0; i < 33; i++) {
            rig_pass(rig, 1000);
            if (way == 0) {
                client_send(c, "a", 1);
            } else {
                ws_send_frame(c, 0x00, "a", 1);
                ws_send_frame(c, 0x89, "", 0);
            }
        }
        assert_int_equal(ws_close_code(c), 1008);
        client_drop(c);
    }
}

static void test_session__vanished_peer(void **state)
{
    (void)state;
    struct client *c = ws_live(rig, 0, &ann, NULL);
    net_sim_vanish(c->conn);
    rig_pass(rig, 120000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    assert_int_equal(rig_total(rig, METRIC_CONNECTIONS), 0);
    client_drop(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_session__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(handshake_errors),
        T(token_in_subprotocol),
        T(hello),
        T(auth_by_first_frame),
        T(frames_behind_an_auth_wait_for_it),
        T(wrong_token_in_frame),
        T(user_id_of_another),
        T(not_signed_in_in_time),
        T(nothing_before_signing_in),
        T(close_codes_of_bad_frames),
        T(fragments_and_pings),
        T(closing_handshake),
        T(not_json_eight_times),
        T(errors_of_sends),
        T(text_too_long),
        T(repeat_gets_the_first_result),
        T(order_over_an_unknown_name),
        T(holds_at_64_unanswered),
        T(only_resumed_sessions_get_live_frames),
        T(receipts),
        T(a_message_is_read_before_acknowledgements),
        T(short_form),
        T(silent_ones_are_pinged_and_closed),
        T(dribbled_message),
        T(vanished_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
