/* HTTP on the edge: requests, their limits, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

#define ACCOUNT "{\"username\":\"Ann\",\"password\":\"password\"}"

static struct rig *rig;
static struct client *client;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(1, NULL);
    client = client_new(rig, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_drop(client);
    rig_free(rig);
    return 0;
}

static void expect_error(int status, const char *code, const char *field, int got, char *body)
{
    assert_int_equal(got, status);
    assert_string_equal(json_text(body, "code"), code);
    assert_string_equal(json_text(body, "field"), field ? field : "");
    free(body);
}

/* Sends raw bytes, expects an error of that status and the end of the connection. */
static void expect_refused(const char *bytes, int status)
{
    struct client *c = client_new(rig, 0);
    char *head = NULL;
    char *body = NULL;
    client_send_str(c, bytes);
    assert_int_equal(http_next(c, &head, &body), status);
    assert_non_null(strstr(head, "Connection: close"));
    assert_non_null(strstr(body, "{\"error\":{\"code\":"));
    client_recv(c);
    assert_true(c->eof);
    free(head);
    free(body);
    client_drop(c);
}

static void test_http__register_and_sign_in(void **state)
{
    (void)state;
    char *body = NULL;
    assert_int_equal(http(client, "POST", "/api/v1/accounts", NULL, ACCOUNT, &body), 201);
    assert_string_equal(json_text(body, "username"), "Ann");
    assert_string_equal(json_text(body, "display_name"), "Ann");
    char user[64];
    snprintf(user, sizeof(user), "%s", json_text(body, "user_id"));
    free(body);
    assert_int_equal(http(client, "POST", "/api/v1/tokens", NULL, ACCOUNT, &body), 201);
    char token[JWT_TEXT_MAX + 1];
    snprintf(token, sizeof(token), "%s", json_text(body, "token"));
    assert_string_equal(json_text(body, "user_id"), user);
    free(body);
    const char *const paths[] = {"/api/v1/users/me", "/api/v1/users/aNN"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(http(client, "GET", paths[i], token, NULL, &body), 200);
        assert_string_equal(json_text(body, "user_id"), user);
        free(body);
    }
    assert_int_equal(http(client, "GET", "/api/v1/users/bob", token, NULL, NULL), 404);
    assert_int_equal(http(client, "GET", "/api/v1/users/12345", token, NULL, NULL), 404);
}

static void test_http__taken_name(void **state)
{
    (void)state;
    char *body = NULL;
    assert_int_equal(http(client, "POST", "/api/v1/accounts", NULL, ACCOUNT, NULL), 201);
    int got = http(client, "POST", "/api/v1/accounts", NULL,
                   "{\"username\":\"aNN\",\"password\":\"password\"}", &body);
    expect_error(409, "exists", "username", got, body);
}

static void test_http__bad_credentials(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        const char *field;
    } bad[] = {
        {"{\"password\":\"password\"}", "username"},
        {"{\"username\":\"\",\"password\":\"password\"}", "username"},
        {"{\"username\":\"12345\",\"password\":\"password\"}", "username"},
        {"{\"username\":\"a b\",\"password\":\"password\"}", "username"},
        {"{\"username\":\"\\u00e4nn\",\"password\":\"password\"}", "username"},
        {"{\"username\":\"aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeef\","
         "\"password\":\"password\"}",
         "username"},
        {"{\"username\":\"ann\"}", "password"},
        {"{\"username\":\"ann\",\"password\":\"short\"}", "password"},
        {"{\"username\":\"ann\",\"password\":\"pass\\u0000word\"}", "password"},
        {"{\"username\":\"ann\",\"password\":\"password\",\"display_name\":\"a\\u0007\"}",
         "display_name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *body = NULL;
        int got = http(client, "POST", "/api/v1/accounts", NULL, bad[i].json, &body);
        expect_error(400, "invalid", bad[i].field, got, body);
    }
    /* The IRC characters are fine. */
    assert_int_equal(http(client, "POST", "/api/v1/accounts", NULL,
                          "{\"username\":\"a[]\\\\^{|}`_-.9\",\"password\":\"password\"}", NULL),
                     201);
    assert_int_equal(rig_total(rig, METRIC_ACCOUNTS_CREATED), 1);
}

static void test_http__wrong_password_and_unknown_name_look_alike(void **state)
{
    (void)state;
    char *one = NULL;
    char *two = NULL;
    http(client, "POST", "/api/v1/accounts", NULL, ACCOUNT, NULL);
    assert_int_equal(http(client, "POST", "/api/v1/tokens", NULL,
                          "{\"username\":\"Ann\",\"password\":\"passwords\"}", &one),
                     401);
    assert_int_equal(http(client, "POST", "/api/v1/tokens", NULL,
                          "{\"username\":\"bob\",\"password\":\"passwords\"}", &two),
                     401);
    assert_string_equal(one, two);
    free(one);
    free(two);
}

static void test_http__malformed_bodies(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"username\":\"ann\",\"username\":\"ann\",\"password\":\"password\"}",
        "{\"username\":1,\"password\":\"password\"}",
        "{\"username\":\"ann\",\"password\":\"password\"} x",
        "{\"username\":\"ann\\ud800\",\"password\":\"password\"}",
        "{\"username\":\"\xff\",\"password\":\"password\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char *body = NULL;
        int got = http(client, "POST", "/api/v1/accounts", NULL, bad[i], &body);
        assert_int_equal(got, 400);
        assert_string_equal(json_text(body, "code"), "invalid");
        free(body);
    }
    assert_int_equal(rig_total(rig, METRIC_ACCOUNTS_CREATED), 0);
}

static void test_http__without_or_with_wrong_token(void **state)
{
    (void)state;
    static const char *const tokens[] = {NULL, "x",
                                         "cfb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
                                         "cfb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA!"};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        char *body = NULL;
        int got = http(client, "GET", "/api/v1/users/me", tokens[i], NULL, &body);
        expect_error(401, "unauthenticated", NULL, got, body);
    }
    char *head = NULL;
    client_send_str(client, "GET /api/v1/users/me HTTP/1.1\r\nHost: a\r\n"
                            "Authorization: Basic YTpi\r\n\r\n");
    assert_int_equal(http_next(client, &head, NULL), 401);
    assert_non_null(strstr(head, "WWW-Authenticate: Bearer\r\n"));
    free(head);
}

static void test_http__unknown_path_and_method(void **state)
{
    (void)state;
    char *head = NULL;
    assert_int_equal(http(client, "GET", "/no-such-file", NULL, NULL, NULL), 404);
    assert_int_equal(http(client, "GET", "/api/v1/nothing", NULL, NULL, NULL), 404);
    assert_int_equal(http(client, "GET", "/a/b/c/d/e/f/g/h/i/j", NULL, NULL, NULL), 404);
    assert_int_equal(http(client, "GET", "/api/v1/users/%zz", NULL, NULL, NULL), 400);
    client_send_str(client, "PUT /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(http_next(client, &head, NULL), 405);
    assert_non_null(strstr(head, "Allow: GET, HEAD\r\n"));
    free(head);
}

static void test_http__head(void **state)
{
    (void)state;
    client_send_str(client, "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    client_recv(client);
    char *text = strndup((char *)client->in.data, client->in.len);
    assert_non_null(strstr(text, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(text, "Content-Length: 3\r\n"));
    assert_string_equal(strstr(text, "\r\n\r\n"), "\r\n\r\n");
    free(text);
}

static void test_http__pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    char *body = NULL;
    client_send_str(client,
                    "POST /api/v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n"
                    "{\"username\":\"Ann\",\"password\":\"password\"}"
                    "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"
                    "GET /nope HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(http_next(client, NULL, NULL), 201);
    assert_int_equal(http_next(client, NULL, &body), 200);
    assert_string_equal(body, "ok\n");
    assert_int_equal(http_next(client, NULL, NULL), 404);
    free(body);
}

static void test_http__byte_by_byte(void **state)
{
    (void)state;
    const char *text = "POST /api/v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n"
                       "{\"username\":\"Ann\",\"password\":\"password\"}";
    for (size_t i = 0; text[i]; i++) {
        client_send(client, text + i, 1);
    }
    assert_int_equal(http_next(client, NULL, NULL), 201);
}

static void test_http__chunked_body(void **state)
{
    (void)state;
    client_send_str(client, "POST /api/v1/accounts HTTP/1.1\r\nHost: a\r\n"
                            "Transfer-Encoding: chunked\r\n\r\n"
                            "10\r\n{\"username\":\"Ann\r\n");
    assert_int_equal(http_next(client, NULL, NULL), 0);
    client_send_str(client, "18;a=b\r\n\",\"password\":\"password\"}\r\n0\r\n\r\n"
                            "GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_int_equal(http_next(client, NULL, NULL), 201);
    assert_int_equal(http_next(client, NULL, NULL), 200);
}

static void test_http__expect_continue(void **state)
{
    (void)state;
    client_send_str(client, "POST /api/v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n"
                            "Expect: 100-continue\r\n\r\n");
    assert_int_equal(http_next(client, NULL, NULL), 100);
    client_send_str(client, ACCOUNT);
    assert_int_equal(http_next(client, NULL, NULL), 201);
}

static void test_http__half_closed_client_gets_its_answer(void **state)
{
    (void)state;
    client_send_str(client, "GET /readyz HTTP/1.1\r\nHost: a\r\n\r\n");
    net_sim_finish(client->conn);
    assert_int_equal(http_next(client, NULL, NULL), 200);
    client_recv(client);
    assert_true(client->eof);
}

static void test_http__refuses_what_is_ambiguous_or_too_large(void **state)
{
    (void)state;
    expect_refused("GET / HTTP/1.1\r\n\r\n", 400);
    expect_refused("GET / HTTP/1.1\nHost: a\n\n", 400);
    expect_refused("GARBAGE\r\n\r\n", 400);
    expect_refused("GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n",
                   400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                   400);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 65537\r\n\r\n", 413);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501);
    expect_refused("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                   "ffffffff\r\n",
                   413);
    struct buf b = {0};
    buf_put_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 17; i++) {
        buf_printf(&b, "X-%d: %01000d\r\n", i, 0);
    }
    buf_put_str(&b, "\r\n");
    buf_put_u8(&b, 0);
    expect_refused((const char *)b.data, 431);
    buf_deinit(&b);
}

static void test_http__many_small_chunks(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_put_str(&b, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 30000; i++) {
        buf_put_str(&b, "1;aaaaaaaa\r\nx\r\n");
    }
    buf_put_u8(&b, 0);
    expect_refused((const char *)b.data, 413);
    buf_deinit(&b);
}

static void test_http__dribbled_head_ends_in_time(void **state)
{
    (void)state;
    client_send_str(client, "GET /healthz HTTP/1.1\r\nX-A: ");
    for (int i = 0; i < 11; i++) {
        client_send_str(client, "a");
        rig_pass(rig, 1000);
    }
    assert_int_equal(http_next(client, NULL, NULL), 408);
    client_recv(client);
    assert_true(client->eof);
}

static void test_http__dribbled_body_ends_in_time(void **state)
{
    (void)state;
    client_send_str(client,
                    "POST /api/v1/accounts HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n");
    for (int i = 0; i < 31; i++) {
        client_send_str(client, " ");
        rig_pass(rig, 1000);
    }
    assert_int_equal(http_next(client, NULL, NULL), 408);
}

static void test_http__opened_and_abandoned(void **state)
{
    (void)state;
    struct shard_stats st;
    rig_pass(rig, 10200);
    client_recv(client);
    assert_true(client->eof);
    shard_stats(rig->shards[0], &st);
    assert_int_equal(st.connections, 0);
}

static void test_http__idle_connection_is_closed(void **state)
{
    (void)state;
    assert_int_equal(http(client, "GET", "/healthz", NULL, NULL, NULL), 200);
    rig_pass(rig, 50000);
    assert_int_equal(http(client, "GET", "/healthz", NULL, NULL, NULL), 200);
    rig_pass(rig, 61000);
    client_recv(client);
    assert_true(client->eof);
}

static void test_http__health_and_metrics(void **state)
{
    (void)state;
    char *body = NULL;
    assert_int_equal(http(client, "GET", "/healthz", NULL, NULL, NULL), 200);
    assert_int_equal(http(client, "GET", "/readyz", NULL, NULL, &body), 200);
    free(body);
    log_mem_fail(rig->log);
    struct account a;
    account_make(rig, "ann", &a);
    assert_int_equal(http(client, "POST", "/api/v1/messages", a.token,
                          "{\"to\":\"ann\",\"content\":\"x\",\"client_msg_id\":\"1\"}", &body),
                     503);
    assert_string_equal(json_text(body, "code"), "storage_failed");
    free(body);
    assert_int_equal(http(client, "GET", "/readyz", NULL, NULL, &body), 503);
    free(body);
    assert_int_equal(http(client, "GET", "/healthz", NULL, NULL, NULL), 200);
}

static void test_http__client_gone_before_the_answer(void **state)
{
    (void)state;
    struct account a;
    account_make(rig, "ann", &a);
    struct client *c = client_new(rig, 0);
    rig->hold_log = true;
    char *body = NULL;
    assert_int_equal(http(c, "POST", "/api/v1/messages", a.token,
                          "{\"to\":\"ann\",\"content\":\"x\",\"client_msg_id\":\"1\"}", NULL),
                     0);
    client_drop(c);
    rig->hold_log = false;
    rig_settle(rig);
    /* It was stored all the same: the repeat gets the first result. */
    assert_int_equal(http(client, "POST", "/api/v1/messages", a.token,
                          "{\"to\":\"ann\",\"content\":\"x\",\"client_msg_id\":\"1\"}", &body),
                     200);
    free(body);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_http__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(register_and_sign_in),
        T(taken_name),
        T(bad_credentials),
        T(wrong_password_and_unknown_name_look_alike),
        T(malformed_bodies),
        T(without_or_with_wrong_token),
        T(unknown_path_and_method),
        T(head),
        T(pipelined_requests_are_answered_in_order),
        T(byte_by_byte),
        T(chunked_body),
        T(expect_continue),
        T(half_closed_client_gets_its_answer),
        T(refuses_what_is_ambiguous_or_too_large),
        T(many_small_chunks),
        T(dribbled_head_ends_in_time),
        T(dribbled_body_ends_in_time),
        T(opened_and_abandoned),
        T(idle_connection_is_closed),
        T(health_and_metrics),
        T(client_gone_before_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
