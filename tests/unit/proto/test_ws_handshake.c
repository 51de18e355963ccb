/* The opening handshake. */
#include "proto/http1.h"
#include "proto/ws.h"
#include "proto_test.h"

#define START "GET /ws HTTP/1.1\r\nHost: a\r\n"
#define UP    "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define KEY   "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define V13   "Sec-WebSocket-Version: 13\r\n"

struct row {
    const char *name;
    enum confab_err err;
    const char *head;
};

static const struct row rows[] = {
    {"accepted", CONFAB_OK, START UP KEY V13 "\r\n"},
    {"other_case", CONFAB_OK,
     START "UPGRADE: WebSocket\r\nconnection: keep-alive, UPGRADE\r\n" KEY V13 "\r\n"},
    {"upgrade_list", CONFAB_OK,
     START "Upgrade: h2c, websocket\r\nConnection: Upgrade\r\n" KEY V13 "\r\n"},
    {"ordinary_request", CONFAB_NOT_FOUND, START "\r\n"},
    {"other_upgrade", CONFAB_NOT_FOUND,
     START "Upgrade: h2c\r\nConnection: Upgrade\r\n" KEY V13 "\r\n"},
    {"post", CONFAB_METHOD, "POST /ws HTTP/1.1\r\nHost: a\r\n" UP KEY V13 "\r\n"},
    {"http_1_0", CONFAB_INVALID, "GET /ws HTTP/1.0\r\nHost: a\r\n" UP KEY V13 "\r\n"},
    {"no_connection", CONFAB_INVALID, START "Upgrade: websocket\r\n" KEY V13 "\r\n"},
    {"connection_other", CONFAB_INVALID,
     START "Upgrade: websocket\r\nConnection: keep-alive\r\n" KEY V13 "\r\n"},
    {"no_version", CONFAB_VERSION, START UP KEY "\r\n"},
    {"version_8", CONFAB_VERSION, START UP KEY "Sec-WebSocket-Version: 8\r\n\r\n"},
    {"version_twice", CONFAB_VERSION, START UP KEY V13 V13 "\r\n"},
    {"no_key", CONFAB_INVALID, START UP V13 "\r\n"},
    {"key_twice", CONFAB_INVALID, START UP KEY KEY V13 "\r\n"},
    {"key_short", CONFAB_INVALID, START UP "Sec-WebSocket-Key: dGhlIHNhbXBsZQ==\r\n" V13 "\r\n"},
    {"key_long", CONFAB_INVALID,
     START UP "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZXh4\r\n" V13 "\r\n"},
    {"key_not_base64", CONFAB_INVALID,
     START UP "Sec-WebSocket-Key: dGhlIHNhb!BsZSBub25jZQ==\r\n" V13 "\r\n"},
    {"key_empty", CONFAB_INVALID, START UP "Sec-WebSocket-Key:\r\n" V13 "\r\n"},
    {"body", CONFAB_INVALID, START UP KEY V13 "Content-Length: 3\r\n\r\n"},
    {"body_chunked", CONFAB_INVALID, START UP KEY V13 "Transfer-Encoding: chunked\r\n\r\n"},
    {"protocol_twice", CONFAB_INVALID,
     START UP KEY V13 "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b\r\n\r\n"},
};

static void parse(const char *head, struct http_request *req)
{
    struct http_scan scan = {0};
    struct http_error err;
    assert_int_equal(http_request_parse(&scan, span_str(head), req, &err), HTTP_DONE);
}

static void run_row(void **state)
{
    const struct row *row = *state;
    struct http_request req;
    struct ws_upgrade up = {{NULL, 0}, {NULL, 0}};
    const char *why = NULL;
    parse(row->head, &req);
    assert_int_equal(ws_upgrade_check(&req, &up, &why), row->err);
    assert_true((why == NULL) == (row->err == CONFAB_OK));
    assert_true((up.key.p != NULL) == (row->err == CONFAB_OK));
}

static void test_accept(void **state)
{
    (void)state;
    char accept[WS_ACCEPT_TEXT];
    /* The example of RFC 6455, section 1.3. */
    ws_accept_key(span_str("dGhlIHNhbXBsZSBub25jZQ=="), accept);
    assert_memory_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", WS_ACCEPT_TEXT);
}

static void test_protocols(void **state)
{
    (void)state;
    struct http_request req;
    struct ws_upgrade up;
    const char *why;
    parse(START UP KEY V13 "Sec-WebSocket-Protocol: confab.v1,\t token.abc ,,x\r\n\r\n", &req);
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    struct span t;
    assert_true(ws_protocol_next(&up.protocols, &t));
    proto_assert_span(t, "confab.v1");
    assert_true(ws_protocol_next(&up.protocols, &t));
    proto_assert_span(t, "token.abc");
    assert_true(ws_protocol_next(&up.protocols, &t));
    proto_assert_span(t, "x");
    assert_false(ws_protocol_next(&up.protocols, &t));
}

static enum confab_err verify(const char *answer, const char accept[WS_ACCEPT_TEXT],
                              const char *offered, struct span *ret)
{
    struct http_scan scan = {0};
    struct http_error err;
    struct http_response res;
    const char *why;
    assert_int_equal(http_response_parse(&scan, span_str(answer), false, &res, &err), HTTP_DONE);
    return ws_upgrade_verify(&res, accept, span_str(offered), ret, &why);
}

/* Both ends against each other. */
static void test_both_ends(void **state)
{
    (void)state;
    const uint8_t nonce[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255};
    char accept[WS_ACCEPT_TEXT];
    struct buf b = {0};
    ws_put_upgrade_request(&b, span_str("h:80"), span_str("/ws"), span_str("confab.v1, token.x"),
                           nonce, accept);
    struct http_request req;
    struct ws_upgrade up;
    const char *why;
    parse(proto_text(&b), &req);
    proto_assert_span(req.host, "h:80");
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    proto_assert_span(up.protocols, "confab.v1, token.x");
    struct buf reply = {0};
    ws_put_upgrade_reply(&reply, up.key, span_str("confab.v1"));
    struct span chosen;
    const char *text = proto_text(&reply);
    assert_int_equal(verify(text, accept, "confab.v1, token.x", &chosen), CONFAB_OK);
    proto_assert_span(chosen, "confab.v1");
    assert_int_equal(verify(text, accept, "other", &chosen), CONFAB_INVALID);
    assert_int_equal(verify(text, accept, "", &chosen), CONFAB_INVALID);
    accept[3] ^= 1;
    assert_int_equal(verify(text, accept, "confab.v1", &chosen), CONFAB_INVALID);
    buf_clear(&reply);
    accept[3] ^= 1;
    ws_put_upgrade_reply(&reply, up.key, span_of(NULL, 0));
    assert_int_equal(verify(proto_text(&reply), accept, "confab.v1", &chosen), CONFAB_OK);
    assert_null(chosen.p);
    buf_deinit(&b);
    buf_deinit(&reply);
}

static void test_bad_answers(void **state)
{
    (void)state;
#define ACCEPT "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
#define S101   "HTTP/1.1 101 Switching Protocols\r\n"
    static const struct {
        enum confab_err err;
        const char *text;
    } all[] = {
        {CONFAB_OK, S101 UP ACCEPT "\r\n"},
        {CONFAB_INVALID, "HTTP/1.1 200 OK\r\n" UP ACCEPT "\r\n"},
        {CONFAB_INVALID, S101 "Connection: Upgrade\r\n" ACCEPT "\r\n"},
        {CONFAB_INVALID, S101 "Upgrade: websocket\r\n" ACCEPT "\r\n"},
        {CONFAB_INVALID, S101 UP "\r\n"},
        {CONFAB_INVALID, S101 UP ACCEPT ACCEPT "\r\n"},
        {CONFAB_INVALID, S101 UP ACCEPT "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"},
        {CONFAB_INVALID, S101 UP ACCEPT "Sec-WebSocket-Protocol: b\r\n\r\n"},
        {CONFAB_OK, S101 UP ACCEPT "Sec-WebSocket-Protocol: a\r\n\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct span chosen;
        assert_int_equal(verify(all[i].text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "x, a", &chosen),
                         all[i].err);
    }
}

static void test_version_refused(void **state)
{
    (void)state;
    struct buf b = {0};
    ws_put_version_refused(&b);
    struct http_scan scan = {0};
    struct http_error err;
    struct http_response res;
    assert_int_equal(http_response_parse(&scan, span_of(b.data, b.len), false, &res, &err),
                     HTTP_DONE);
    assert_int_equal(res.status, 426);
    assert_false(res.keep_alive);
    proto_assert_span(http_header_get(&res.headers, "sec-websocket-version"), "13");
    buf_deinit(&b);
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        proto_case(&cases, "ws_upgrade", rows[i].name, run_row, &rows[i]);
    }
    proto_case(&cases, "ws_upgrade", "accept_key", test_accept, NULL);
    proto_case(&cases, "ws_upgrade", "protocols", test_protocols, NULL);
    proto_case(&cases, "ws_upgrade", "both_ends", test_both_ends, NULL);
    proto_case(&cases, "ws_upgrade", "bad_answers", test_bad_answers, NULL);
    proto_case(&cases, "ws_upgrade", "version_refused", test_version_refused, NULL);
    return proto_run("ws_handshake", &cases);
}
