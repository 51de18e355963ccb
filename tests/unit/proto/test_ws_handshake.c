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
    struct ws_upgrade up = {.key = {NULL, 0}};
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
    bool deflate = false;
    assert_int_equal(http_response_parse(&scan, span_str(answer), false, &res, &err), HTTP_DONE);
    return ws_upgrade_verify(&res, accept, span_str(offered), ret, &deflate, &why);
}

/* Both ends against each other. */
static void test_both_ends(void **state)
{
    (void)state;
    const uint8_t nonce[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 255};
    char accept[WS_ACCEPT_TEXT];
    struct buf b = {0};
    ws_put_upgrade_request(&b, span_str("h:80"), span_str("/ws"), span_str("confab.v1, token.x"),
                           false, nonce, accept);
    struct http_request req;
    struct ws_upgrade up;
    const char *why;
    parse(proto_text(&b), &req);
    proto_assert_span(req.host, "h:80");
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    proto_assert_span(up.protocols, "confab.v1, token.x");
    struct buf reply = {0};
    ws_put_upgrade_reply(&reply, up.key, span_str("confab.v1"), NULL);
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
    ws_put_upgrade_reply(&reply, up.key, span_of(NULL, 0), NULL);
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

/* ---- permessage-deflate ---- */

#define PMD    "permessage-deflate"
#define ALONE  "; server_no_context_takeover; client_no_context_takeover"
#define EXT(x) "Sec-WebSocket-Extensions: " x "\r\n"

struct offer {
    const char *name;
    const char *fields;
    const char *answer; /* NULL: goes on without; "": refused */
};

static const struct offer offers[] = {
    {"alone", EXT(PMD), PMD ALONE},
    {"other_case", EXT("Permessage-Deflate; Client_Max_Window_Bits"), PMD ALONE},
    {"as_browsers_do", EXT(PMD "; client_max_window_bits"), PMD ALONE},
    {"client_bits", EXT(PMD "; client_max_window_bits=8"), PMD ALONE},
    {"all_parameters", EXT(PMD ALONE "; server_max_window_bits=12; client_max_window_bits=10"),
     PMD ALONE "; server_max_window_bits=12"},
    {"quoted", EXT(PMD "; server_max_window_bits=\"9\""), PMD ALONE "; server_max_window_bits=9"},
    {"bits_15", EXT(PMD ";server_max_window_bits=15"), PMD ALONE "; server_max_window_bits=15"},
    {"server_bits_8", EXT(PMD "; server_max_window_bits=8"), NULL},
    {"second_offer", EXT(PMD "; server_max_window_bits=8, " PMD), PMD ALONE},
    {"first_that_fits", EXT(PMD "; server_max_window_bits=10, " PMD),
     PMD ALONE "; server_max_window_bits=10"},
    {"two_fields", EXT("x-unknown; a=1") EXT(PMD), PMD ALONE},
    {"after_others", EXT("x-unknown; a=\"b\" ,, x-webkit-deflate-frame, " PMD), PMD ALONE},
    {"none", "", NULL},
    {"others_only", EXT("permessage-bzip2; client_max_compress_level=9"), NULL},
    {"unknown_parameter", EXT(PMD "; speed=9"), NULL},
    {"parameter_twice", EXT(PMD "; server_max_window_bits=9; server_max_window_bits=9"), NULL},
    {"flag_with_value", EXT(PMD "; server_no_context_takeover=1"), NULL},
    {"bits_without_value", EXT(PMD "; server_max_window_bits"), NULL},
    {"bits_7", EXT(PMD "; server_max_window_bits=7"), NULL},
    {"bits_16", EXT(PMD "; client_max_window_bits=16"), NULL},
    {"bits_zero_before", EXT(PMD "; client_max_window_bits=09"), NULL},
    {"bits_no_number", EXT(PMD "; client_max_window_bits=abc"), NULL},
    {"broken_value", EXT(PMD "; server_max_window_bits="), ""},
    {"broken_quote", EXT(PMD "; server_max_window_bits=\"9"), ""},
    {"broken_name", EXT(PMD "; =9"), ""},
    {"broken_list", EXT(PMD " " PMD), ""},
    {"broken_extension", EXT("(x)"), ""},
};

static void run_offer(void **state)
{
    const struct offer *o = *state;
    struct http_request req;
    struct ws_upgrade up;
    const char *why;
    struct buf head = {0};
    struct buf reply = {0};
    buf_printf(&head, START UP KEY V13 "%s\r\n", o->fields);
    parse(proto_text(&head), &req);
    enum confab_err err = ws_upgrade_check(&req, &up, &why);
    assert_int_equal(err, o->answer && !*o->answer ? CONFAB_INVALID : CONFAB_OK);
    if (!err) {
        char want[200];
        snprintf(want, sizeof(want), "Sec-WebSocket-Extensions: %s\r\n",
                 o->answer ? o->answer : "");
        ws_put_upgrade_reply(&reply, up.key, span_of(NULL, 0), &up.deflate);
        assert_int_equal(up.deflate.on, o->answer != NULL);
        assert_int_equal(strstr(proto_text(&reply), want) != NULL, o->answer != NULL);
        assert_int_equal(strstr(proto_text(&reply), "Extensions") != NULL, o->answer != NULL);
    }
    buf_deinit(&head);
    buf_deinit(&reply);
}

static void test_deflate_answers(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        int agreed; /* -1: refused */
    } all[] = {
        {"", 0},
        {EXT(PMD ALONE), 1},
        {EXT(PMD "; server_no_context_takeover"), 1},
        {EXT(PMD ALONE "; server_max_window_bits=10"), 1},
        {EXT(PMD), -1}, /* would remember, which was not agreed to */
        {EXT(PMD ALONE "; client_max_window_bits=10"), -1},
        {EXT(PMD ALONE ", " PMD ALONE), -1},
        {EXT(PMD ALONE "; speed=9"), -1},
        {EXT("x-unknown"), -1},
        {EXT(";"), -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        for (int offered = 0; offered < 2; offered++) {
            struct http_scan scan = {0};
            struct http_error err;
            struct http_response res;
            struct span chosen;
            const char *why;
            bool deflate = offered != 0;
            struct buf b = {0};
            buf_printf(&b, S101 UP ACCEPT "%s\r\n", all[i].fields);
            assert_int_equal(
                http_response_parse(&scan, span_str(proto_text(&b)), false, &res, &err), HTTP_DONE);
            enum confab_err got = ws_upgrade_verify(
                &res, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", span_of(NULL, 0), &chosen, &deflate, &why);
            bool refused = all[i].agreed < 0 || (all[i].agreed > 0 && !offered);
            assert_int_equal(got, refused ? CONFAB_INVALID : CONFAB_OK);
            if (!refused) {
                assert_int_equal(deflate, all[i].agreed);
            }
            buf_deinit(&b);
        }
    }
}

/* What the client of ours offers, the server of ours agrees to. */
static void test_deflate_both_ends(void **state)
{
    (void)state;
    const uint8_t nonce[16] = {1};
    char accept[WS_ACCEPT_TEXT];
    struct buf b = {0};
    struct buf reply = {0};
    struct http_request req;
    struct ws_upgrade up;
    struct http_scan scan = {0};
    struct http_error err;
    struct http_response res;
    struct span chosen;
    const char *why;
    bool deflate = true;
    ws_put_upgrade_request(&b, span_str("h"), span_str("/ws"), span_of(NULL, 0), true, nonce,
                           accept);
    parse(proto_text(&b), &req);
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    assert_true(up.deflate.on && up.deflate.server_bits == 15);
    ws_put_upgrade_reply(&reply, up.key, span_of(NULL, 0), &up.deflate);
    assert_int_equal(http_response_parse(&scan, span_str(proto_text(&reply)), false, &res, &err),
                     HTTP_DONE);
    assert_int_equal(ws_upgrade_verify(&res, accept, span_of(NULL, 0), &chosen, &deflate, &why),
                     CONFAB_OK);
    assert_true(deflate);
    buf_deinit(&b);
    buf_deinit(&reply);
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
    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        proto_case(&cases, "ws_deflate_offer", offers[i].name, run_offer, &offers[i]);
    }
    proto_case(&cases, "ws_upgrade", "deflate_answers", test_deflate_answers, NULL);
    proto_case(&cases, "ws_upgrade", "deflate_both_ends", test_deflate_both_ends, NULL);
    proto_case(&cases, "ws_upgrade", "accept_key", test_accept, NULL);
    proto_case(&cases, "ws_upgrade", "protocols", test_protocols, NULL);
    proto_case(&cases, "ws_upgrade", "both_ends", test_both_ends, NULL);
    proto_case(&cases, "ws_upgrade", "bad_answers", test_bad_answers, NULL);
    proto_case(&cases, "ws_upgrade", "version_refused", test_version_refused, NULL);
    return proto_run("ws_handshake", &cases);
}
