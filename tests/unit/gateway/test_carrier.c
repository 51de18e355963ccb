/* Sessions over Server-Sent Events and long polling, over several shards. */
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
static char sid[24];

static void tune(struct shard_config *cfg)
{
    cfg->queue_bytes_max = 64 * 1024;
    cfg->queue_frames_max = 600;
}

static int setup(void **state)
{
    (void)state;
    rig = rig_new(3, tune);
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

/* ---- Calls ---- */

static int call(uint16_t shard, const char *method, const char *path, const char *token,
                const char *json, char **ret_body)
{
    struct client *c = client_new(rig, shard);
    int status = http(c, method, path, token, json, ret_body);
    client_drop(c);
    return status;
}

/* A session of ann's on a shard; its id in sid. */
static void open_session(uint16_t shard, const char *mode)
{
    char json[32];
    char *body = NULL;
    snprintf(json, sizeof(json), "{\"mode\":\"%s\"}", mode);
    assert_int_equal(call(shard, "POST", "/api/v1/events", ann.token, json, &body), 201);
    assert_string_equal(json_text(body, "event"), "hello");
    assert_string_equal(json_text(body, "user_id"), ann.user);
    snprintf(sid, sizeof(sid), "%s", json_text(body, "session_id"));
    free(body);
}

static const char *path_of(const char *query)
{
    static char out[128];
    snprintf(out, sizeof(out), "/api/v1/events/%s%s", sid, query);
    return out;
}

static int post(uint16_t shard, const char *json)
{
    return call(shard, "POST", path_of(""), ann.token, json, NULL);
}

/* The answer to a poll that ends at once. */
static char *poll_now(uint16_t shard, uint64_t after)
{
    char query[64];
    char *body = NULL;
    snprintf(query, sizeof(query), "?after=%llu&wait=0", (unsigned long long)after);
    assert_int_equal(call(shard, "GET", path_of(query), ann.token, NULL, &body), 200);
    return body;
}

/* A GET of the session: what it answers is read with client_recv. */
static struct client *get(uint16_t shard, const char *query, bool stream, const char *more)
{
    struct client *c = client_new(rig, shard);
    struct buf b = {0};
    buf_printf(&b, "GET %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n%s%s\r\n",
               path_of(query), ann.token, stream ? "Accept: text/event-stream\r\n" : "", more);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    return c;
}

static struct client *stream_open(uint16_t shard, const char *query, const char *more)
{
    struct client *c = get(shard, query, true, more);
    char *head = NULL;
    assert_int_equal(http_next(c, &head, NULL), 200);
    assert_non_null(strstr(head, "Content-Type: text/event-stream\r\n"));
    assert_non_null(strstr(head, "X-Accel-Buffering: no\r\n"));
    assert_non_null(strstr(head, "Cache-Control: no-store\r\n"));
    free(head);
    return c;
}

/* All that the stream has brought and that was not taken yet, without the marks of chunks. */
static const char *stream_text(struct client *c)
{
    static struct buf text;
    buf_clear(&text);
    client_recv(c);
    while (c->in.len > 0) {
        char *end;
        const char *at = (const char *)c->in.data;
        assert_non_null(memchr(at, '\n', c->in.len));
        size_t n = strtoul(at, &end, 16);
        size_t head = (size_t)(end - at) + 2;
        assert_true(c->in.len >= head + n + 2);
        buf_put(&text, at + head, n);
        buf_consume(&c->in, head + n + 2);
        if (n == 0) {
            break;
        }
    }
    buf_put_u8(&text, 0);
    return (const char *)text.data;
}

static void resumed(uint16_t shard)
{
    assert_int_equal(post(shard, "{\"event\":\"resume\"}"), 202);
}

static void bob_sends(struct client *ws, const char *text)
{
    static unsigned number;
    char json[4200];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"to\":\"ann\",\"type\":\"text\",\"content\":\"%s\","
             "\"client_msg_id\":\"b%u\"}",
             text, ++number);
    ws_send(ws, json);
    ws_expect(ws, "ack");
}

/* An array of messages to bob, zero terminated. */
static void put_sends(struct buf *b, int n)
{
    static unsigned number;
    buf_clear(b);
    for (int i = 0; i < n; i++) {
        buf_printf(b,
                   "%s{\"event\":\"send_message\",\"to\":\"bob\",\"type\":\"text\",\"content\":"
                   "\"n %d\",\"client_msg_id\":\"m%u\"}",
                   i ? "," : "[", i, ++number);
    }
    buf_put_str(b, "]");
    buf_put_u8(b, 0);
}

/* ---- Tests ---- */

static void test_carrier__polls_across_shards(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    bob_sends(ws, "before");
    open_session(0, "poll");
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_POLL), 1);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_WS), 1);
    char *body = poll_now(1, 0);
    assert_string_equal(body, "{\"events\":[],\"last\":0}");
    free(body);
    resumed(2);
    body = poll_now(1, 0);
    assert_non_null(strstr(body, "\"event\":\"caught_up\""));
    uint64_t last = json_number_of(body, "last");
    free(body);

    /* One that waits is answered as soon as there is something; what was answered comes again until
     * it is confirmed. */
    char query[64];
    snprintf(query, sizeof(query), "?after=%llu", (unsigned long long)last);
    struct client *c = get(1, query, false, "");
    assert_int_equal(http_next(c, NULL, NULL), 0);
    bob_sends(ws, "hello there");
    assert_int_equal(http_next(c, NULL, &body), 200);
    assert_non_null(strstr(body, "\"content\":\"hello there\""));
    assert_int_equal(json_number_of(body, "last"), last + 1);
    char *again = poll_now(0, last);
    assert_string_equal(again, body);
    free(again);
    free(body);
    assert_int_equal(rig_total(rig, METRIC_CARRIED_REPEATED), 1);
    body = poll_now(2, last + 1);
    assert_non_null(strstr(body, "{\"events\":[],"));
    free(body);
    client_drop(c);

    /* Nothing comes: it is answered when its time is over. */
    snprintf(query, sizeof(query), "?after=%llu&wait=7", (unsigned long long)last + 1);
    c = get(1, query, false, "");
    rig_pass(rig, 6900);
    assert_int_equal(http_next(c, NULL, NULL), 0);
    rig_pass(rig, 200);
    assert_int_equal(http_next(c, NULL, &body), 200);
    assert_non_null(strstr(body, "{\"events\":[],"));
    free(body);
    client_drop(c);
    assert_int_equal(call(1, "DELETE", path_of(""), ann.token, NULL, NULL), 204);
    assert_int_equal(call(1, "DELETE", path_of(""), ann.token, NULL, NULL), 404);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_POLL), 0);
    client_drop(ws);
}

static void test_carrier__streams(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    bob_sends(ws, "before");
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    assert_string_equal(stream_text(c), ":\n\n");
    resumed(0);
    const char *text = stream_text(c);
    assert_non_null(strstr(text, "id: 1\ndata: {\"event\":\"conversations\""));
    assert_non_null(strstr(text, "id: 2\ndata: {\"event\":\"caught_up\""));
    bob_sends(ws, "one");
    assert_non_null(strstr(stream_text(c), "id: 3\ndata: {\"event\":\"new_message\""));
    /* A comment when there is nothing else, and only then. */
    rig_pass(rig, 14900);
    assert_string_equal(stream_text(c), "");
    rig_pass(rig, 200);
    assert_string_equal(stream_text(c), ":\n\n");
    /* What was sent into a broken stream comes again, from where the client says. */
    net_sim_reset(c->conn);
    bob_sends(ws, "two");
    client_drop(c);
    c = stream_open(2, "", "Last-Event-ID: 2\r\n");
    text = stream_text(c);
    assert_null(strstr(text, "id: 2\n"));
    assert_non_null(strstr(text, "id: 3\ndata: {\"event\":\"new_message\""));
    assert_non_null(strstr(text, "\"content\":\"two\""));
    /* Another one takes its place: the first ends. */
    struct client *d = stream_open(0, "?after=4", "");
    assert_string_equal(stream_text(d), ":\n\n");
    assert_string_equal(stream_text(c), "");
    assert_true(c->eof);
    client_drop(c);
    bob_sends(ws, "three");
    assert_non_null(strstr(stream_text(d), "id: 5\n"));
    client_drop(d);
    client_drop(ws);
}

static void test_carrier__http_1_0_gets_a_stream_without_chunks(void **state)
{
    (void)state;
    open_session(0, "sse");
    struct client *c = client_new(rig, 0);
    struct buf b = {0};
    buf_printf(&b,
               "GET %s HTTP/1.0\r\nHost: test\r\nAuthorization: Bearer %s\r\n"
               "Accept: text/event-stream\r\n\r\n",
               path_of(""), ann.token);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    char *head = NULL;
    assert_int_equal(http_next(c, &head, NULL), 200);
    assert_null(strstr(head, "chunked"));
    free(head);
    client_recv(c);
    assert_int_equal(c->in.len, 3);
    assert_memory_equal(c->in.data, ":\n\n", 3);
    assert_int_equal(call(1, "DELETE", path_of(""), ann.token, NULL, NULL), 204);
    client_recv(c);
    assert_true(c->eof);
    client_drop(c);
}

static void test_carrier__is_its_devices_only(void **state)
{
    (void)state;
    char *body = NULL;
    assert_int_equal(call(0, "POST", "/api/v1/tokens", NULL,
                          "{\"username\":\"ann\",\"password\":\"password\"}", &body),
                     201);
    char other[JWT_TEXT_MAX + 1];
    snprintf(other, sizeof(other), "%s", json_text(body, "token"));
    free(body);
    open_session(1, "sse");
    const char *const tokens[] = {bob.token, other};
    for (size_t i = 0; i < ARRAY_LEN(tokens); i++) {
        assert_int_equal(call(0, "GET", path_of("?wait=0"), tokens[i], NULL, NULL), 404);
        assert_int_equal(call(1, "POST", path_of(""), tokens[i], "{\"event\":\"heartbeat\"}", NULL),
                         404);
        assert_int_equal(call(2, "DELETE", path_of(""), tokens[i], NULL, NULL), 404);
    }
    assert_int_equal(call(0, "GET", path_of("?wait=0"), NULL, NULL, NULL), 401);
    free(poll_now(0, 0));
}

static void test_carrier__bad_requests_change_nothing(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "", "{", "[{]", "3", "\"x\"", "{} {}", "[]", "[{},7]", "{\"a\":1,\"a\":2}"};
    assert_int_equal(call(0, "POST", "/api/v1/events", ann.token, "{\"mode\":\"x\"}", NULL), 400);
    assert_int_equal(call(0, "POST", "/api/v1/events", ann.token, "{}", NULL), 400);
    open_session(1, "poll");
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        assert_int_equal(post(0, bodies[i]), 400);
    }
    struct buf many = {0};
    buf_put_u8(&many, '[');
    for (int i = 0; i < 257; i++) {
        buf_put_str(&many, i ? ",{}" : "{}");
    }
    buf_put_str(&many, "]");
    buf_put_u8(&many, 0);
    assert_int_equal(post(0, (const char *)many.data), 413);
    buf_deinit(&many);
    assert_int_equal(call(0, "GET", path_of("?after=x"), ann.token, NULL, NULL), 400);
    assert_int_equal(call(0, "GET", path_of("?after=1&wait=0"), ann.token, NULL, NULL), 400);
    assert_int_equal(call(0, "GET", path_of("?wait=-1"), ann.token, NULL, NULL), 400);
    struct client *c = client_new(rig, 0);
    struct buf head = {0};
    buf_printf(&head, "HEAD %s HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n\r\n",
               path_of(""), ann.token);
    client_send(c, head.data, head.len);
    buf_deinit(&head);
    client_recv(c);
    assert_memory_equal(c->in.data, "HTTP/1.1 405 ", 13);
    client_drop(c);
    static const char *const ids[] = {"0000000000000000", "ffffffffffffffff", "x",
                                      "00000000000000000", "0080000001000000"};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        snprintf(sid, sizeof(sid), "%s", ids[i]);
        assert_int_equal(call(0, "GET", path_of("?wait=0"), ann.token, NULL, NULL), 404);
        assert_int_equal(post(0, "{\"event\":\"heartbeat\"}"), 404);
    }
    assert_int_equal(rig_total(rig, METRIC_CARRIED_POSTS), 0);
}

/* A socket's session has an id as well; it is no carried one. */
static void test_carrier__a_socket_is_none(void **state)
{
    (void)state;
    struct client *ws = ws_open(rig, 0, ann.token);
    snprintf(sid, sizeof(sid), "%s", json_text(ws_expect(ws, "hello"), "session_id"));
    assert_int_equal(call(0, "GET", path_of("?wait=0"), ann.token, NULL, NULL), 404);
    assert_int_equal(post(1, "{\"event\":\"heartbeat\"}"), 404);
    ws_send(ws, "{\"event\":\"heartbeat\"}");
    ws_expect(ws, "heartbeat");
    client_drop(ws);
}

static void test_carrier__events_of_a_post_keep_their_order(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    open_session(0, "poll");
    struct buf b = {0};
    put_sends(&b, 100);
    b.len -= 2;
    buf_put_str(&b, ",{\"event\":\"send_message\"},{}]");
    buf_put_u8(&b, 0);
    assert_int_equal(post(1, (const char *)b.data), 202);
    buf_deinit(&b);
    for (int i = 0; i < 100; i++) {
        char want[16];
        snprintf(want, sizeof(want), "n %d", i);
        assert_string_equal(json_text(ws_expect(ws, "new_message"), "content"), want);
    }
    char *body = poll_now(2, 0);
    assert_non_null(strstr(body, "\"event\":\"error\""));
    assert_int_equal(json_number_of(body, "last"), 102);
    free(body);
    client_drop(ws);
}

/* The log stands still: a post waits with its unanswered sends, and another is refused. */
static void test_carrier__one_post_at_a_time(void **state)
{
    (void)state;
    open_session(0, "poll");
    struct buf b = {0};
    put_sends(&b, 70);
    rig->hold_log = true;
    struct client *c = client_new(rig, 1);
    assert_int_equal(http(c, "POST", path_of(""), ann.token, (const char *)b.data, NULL), 0);
    buf_deinit(&b);
    assert_int_equal(post(2, "{\"event\":\"heartbeat\"}"), 503);
    rig->hold_log = false;
    assert_int_equal(http_next(c, NULL, NULL), 202);
    assert_int_equal(post(2, "{\"event\":\"heartbeat\"}"), 202);
    client_drop(c);
    /* The session ends meanwhile: who posted is told. */
    rig->hold_log = true;
    c = client_new(rig, 1);
    put_sends(&b, 70);
    assert_int_equal(http(c, "POST", path_of(""), ann.token, (const char *)b.data, NULL), 0);
    buf_deinit(&b);
    assert_int_equal(call(0, "DELETE", path_of(""), ann.token, NULL, NULL), 204);
    assert_int_equal(http_next(c, NULL, NULL), 404);
    rig->hold_log = false;
    client_drop(c);
}

static void test_carrier__ends_when_nobody_fetches(void **state)
{
    (void)state;
    open_session(0, "poll");
    rig_pass(rig, 50000);
    free(poll_now(1, 0));
    rig_pass(rig, 59000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_POLL), 1);
    /* Posting is no fetching. */
    assert_int_equal(post(1, "{\"event\":\"heartbeat\"}"), 202);
    rig_pass(rig, 1500);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_POLL), 0);
    assert_int_equal(rig_total(rig, METRIC_CARRIED_ENDED_SILENT), 1);
    assert_int_equal(call(0, "GET", path_of("?wait=0"), ann.token, NULL, NULL), 404);
    /* A stream that is there keeps it for as long as the token lives. */
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    rig_pass(rig, 300000);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_SSE), 1);
    assert_false(c->eof);
    /* It hangs up, which is seen without a word to it. */
    net_sim_finish(c->conn);
    rig_pass(rig, 60500);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_SSE), 0);
    client_drop(c);
}

static void test_carrier__sign_out_ends_it(void **state)
{
    (void)state;
    char path[64];
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    (void)stream_text(c);
    char first[24];
    snprintf(first, sizeof(first), "%s", sid);
    open_session(2, "poll");
    struct client *p = get(0, "", false, "");
    char *body = NULL;
    snprintf(path, sizeof(path), "/api/v1/devices/%s", ann.device);
    assert_int_equal(call(2, "DELETE", path, ann.token, NULL, NULL), 204);
    const char *text = stream_text(c);
    assert_non_null(strstr(text, "data: {\"event\":\"closed\",\"close_code\":4401"));
    client_recv(c);
    assert_true(c->eof);
    assert_int_equal(http_next(p, NULL, &body), 200);
    assert_non_null(strstr(body, "\"close_code\":4401"));
    free(body);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    assert_int_equal(post(0, "{\"event\":\"heartbeat\"}"), 401);
    client_drop(c);
    client_drop(p);
}

/* The token of any later call is the session's, if it lives longer. */
static void test_carrier__lives_with_its_tokens(void **state)
{
    (void)state;
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    uint32_t life = 15 * 60 * 1000;
    rig_pass(rig, life - 120000);
    char json[256];
    char *body = NULL;
    snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", ann.refresh);
    assert_int_equal(call(0, "POST", "/api/v1/tokens/refresh", NULL, json, &body), 200);
    snprintf(ann.token, sizeof(ann.token), "%s", json_text(body, "token"));
    free(body);
    assert_int_equal(post(2, "{\"event\":\"heartbeat\"}"), 202);
    rig_pass(rig, 240000);
    const char *text = stream_text(c);
    assert_null(strstr(text, "token_expiring"));
    rig_pass(rig, life - 300000);
    assert_non_null(strstr(stream_text(c), "token_expiring"));
    rig_pass(rig, 120000);
    assert_non_null(strstr(stream_text(c), "\"close_code\":4401"));
    assert_int_equal(rig_total(rig, METRIC_SESSIONS), 0);
    client_drop(c);
}

/* Who does not say what they have gets it no more when it is gone: nothing is left out silently. */
static void test_carrier__ends_at_a_gap(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    resumed(0);
    for (int i = 0; i < 300; i++) {
        bob_sends(ws, "x");
        (void)stream_text(c);
    }
    client_drop(c);
    c = stream_open(2, "?after=290", "");
    assert_non_null(strstr(stream_text(c), "id: 291\n"));
    client_drop(c);
    assert_int_equal(call(0, "GET", path_of("?after=10&wait=0"), ann.token, NULL, NULL), 404);
    assert_int_equal(rig_total(rig, METRIC_CARRIED_ENDED_GAP), 1);
    assert_int_equal(post(0, "{\"event\":\"heartbeat\"}"), 404);
    client_drop(ws);
}

static void follow_bob(uint16_t shard)
{
    char json[100];
    snprintf(json, sizeof(json), "{\"event\":\"subscribe_presence\",\"user_ids\":[\"%s\"]}",
             bob.user);
    assert_int_equal(post(shard, json), 202);
}

/* What is made for one session is an event like the others: without the header of a frame. */
static void test_carrier__tells_presence(void **state)
{
    (void)state;
    char want[120];
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    bob_sends(ws, "before");
    open_session(0, "poll");
    resumed(0);
    follow_bob(1);
    char *body = poll_now(1, 0);
    snprintf(want, sizeof(want),
             ",{\"event\":\"presence_update\",\"user_id\":\"%s\",\"status\":\"online\"", bob.user);
    assert_non_null(strstr(body, want));
    free(body);
    client_drop(ws);
}

/* What a stream keeps for its next GET is not in the way of what is to come. */
static void test_carrier__tells_presence_after_much(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    resumed(0);
    for (int i = 0; i < 300; i++) {
        bob_sends(ws, "x");
        (void)stream_text(c);
    }
    follow_bob(1);
    assert_non_null(strstr(stream_text(c), "\"status\":\"online\""));
    assert_int_equal(rig_total(rig, METRIC_EPHEMERAL_DROPPED), 0);
    client_drop(ws);
    rig_pass(rig, 12000);
    assert_non_null(strstr(stream_text(c), "\"status\":\"offline\""));
    client_drop(c);
}

/* Memory that open streams keep goes first: nobody is refused and nobody cut for it. */
static void test_carrier__keeps_nothing_when_memory_is_short(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    resumed(0);
    for (int i = 0; i < 20; i++) {
        bob_sends(ws, "x");
        (void)stream_text(c);
    }
    struct shard *s = rig->shards[0];
    uint64_t kept = s->output_memory;
    assert_true(s->kept_bytes > 0 && kept > 0);
    s->cfg.output_bytes_max = kept / 2;
    bob_sends(ws, "more");
    assert_non_null(strstr(stream_text(c), "\"content\":\"more\""));
    bob_sends(ws, "and more");
    assert_non_null(strstr(stream_text(c), "\"content\":\"and more\""));
    assert_true(s->output_memory <= kept / 2);
    assert_true(rig_total(rig, METRIC_BOUND_OUTPUT_MEMORY) >= 1);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), 0);
    assert_int_equal(call(0, "GET", "/api/v1/conversations", ann.token, NULL, NULL), 200);
    /* Who comes back for it opens another session. */
    client_drop(c);
    assert_int_equal(call(0, "GET", path_of("?after=3&wait=0"), ann.token, NULL, NULL), 404);
    assert_int_equal(rig_total(rig, METRIC_CARRIED_ENDED_GAP), 1);
    client_drop(ws);
}

static void send_long(struct client *ws, int n)
{
    char *text = malloc(4001);
    memset(text, 'a', 4000);
    text[4000] = 0;
    for (int i = 0; i < n; i++) {
        bob_sends(ws, text);
    }
    free(text);
}

/* The bounds of a queue are those of a socket's: resync, and the end for who fetches nothing. */
static void test_carrier__too_far_behind(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    open_session(0, "poll");
    resumed(0);
    char *body = poll_now(1, 0);
    uint64_t last = json_number_of(body, "last");
    free(body);
    send_long(ws, 40);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), 1);
    bool resync = false;
    for (int i = 0; i < 10 && !resync; i++) {
        body = poll_now(1, last);
        last = json_number_of(body, "last");
        resync = strstr(body, "{\"event\":\"resync\"}") != NULL;
        free(body);
    }
    assert_true(resync);
    resumed(0);
    bool caught_up = false;
    for (int i = 0; i < 10 && !caught_up; i++) {
        body = poll_now(1, last);
        last = json_number_of(body, "last");
        caught_up = strstr(body, "\"event\":\"caught_up\"") != NULL;
        free(body);
    }
    assert_true(caught_up);
    send_long(ws, 40);
    rig_pass(rig, 31000);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS_CLOSED), 1);
    assert_int_equal(call(1, "GET", path_of("?wait=0"), ann.token, NULL, NULL), 404);
    client_drop(ws);
}

/* A stream that is not read holds the session's events back, and goes on when it is. */
static void test_carrier__a_slow_stream_waits(void **state)
{
    (void)state;
    struct client *ws = ws_live(rig, 2, &bob, NULL);
    bob_sends(ws, "before");
    open_session(0, "sse");
    resumed(0);
    struct client *c = stream_open(1, "", "");
    (void)stream_text(c);
    net_sim_stall(c->conn, clock_mono_ns(&rig->clock.base) + 5000ULL * 1000000);
    send_long(ws, 25);
    int64_t handed = rig_total(rig, METRIC_CARRIED_EVENTS_SSE);
    assert_in_range(handed, 10, 24);
    rig_pass(rig, 6000);
    uint64_t want = 3;
    for (int i = 0; i < 100 && want < 28; i++) {
        const char *text = stream_text(c);
        char id[32];
        for (snprintf(id, sizeof(id), "id: %d\n", (int)want); strstr(text, id);
             snprintf(id, sizeof(id), "id: %d\n", (int)want)) {
            want++;
        }
    }
    assert_int_equal(want, 28);
    assert_int_equal(rig_total(rig, METRIC_SLOW_CONSUMERS), 0);
    client_drop(c);
    client_drop(ws);
}

static void test_carrier__few_for_a_device(void **state)
{
    (void)state;
    char first[24];
    open_session(0, "poll");
    snprintf(first, sizeof(first), "%s", sid);
    for (int i = 0; i < 4; i++) {
        rig_pass(rig, 1100);
        open_session(0, "poll");
    }
    assert_int_equal(rig_total(rig, METRIC_CARRIED_ENDED_REPLACED), 1);
    assert_int_equal(rig_total(rig, METRIC_SESSIONS_POLL), 4);
    free(poll_now(0, 0));
    snprintf(sid, sizeof(sid), "%s", first);
    assert_int_equal(call(0, "GET", path_of("?wait=0"), ann.token, NULL, NULL), 404);
}

static void test_carrier__draining_says_so(void **state)
{
    (void)state;
    open_session(0, "sse");
    struct client *c = stream_open(1, "", "");
    (void)stream_text(c);
    for (uint16_t i = 0; i < 3; i++) {
        shard_drain(rig->shards[i], 2000);
    }
    assert_non_null(strstr(stream_text(c), "{\"event\":\"reconnect\""));
    rig_pass(rig, 2100);
    assert_non_null(strstr(stream_text(c), "\"close_code\":1001"));
    rig_pass(rig, 11000);
    client_drop(c);
    rig_pass(rig, 1000);
    for (uint16_t i = 0; i < 3; i++) {
        assert_true(shard_is_drained(rig->shards[i]));
    }
}

/* ---- Property: whatever breaks, each event comes once and in order ---- */

struct reading {
    struct client *c;
    bool stream;
    struct buf text;
    uint64_t last;  /* confirmed */
    uint64_t shown; /* number in the last message */
};

static void take_event(struct reading *r, uint64_t id, const char *text)
{
    if (id <= r->last) {
        return;
    }
    assert_int_equal(id, r->last + 1);
    r->last = id;
    if (strstr(text, "\"event\":\"new_message\"")) {
        assert_int_equal(strtoull(json_text(text, "content"), NULL, 10), r->shown + 1);
        r->shown++;
    }
}

static void reading_end(struct reading *r)
{
    if (r->c) {
        client_drop(r->c);
        r->c = NULL;
    }
    buf_deinit(&r->text);
}

static void take_stream(struct reading *r)
{
    buf_put_str(&r->text, stream_text(r->c));
    for (;;) {
        buf_put_u8(&r->text, 0);
        char *at = (char *)r->text.data;
        char *end = strstr(at, "\n\n");
        r->text.len--;
        if (!end) {
            break;
        }
        *end = 0;
        if (strncmp(at, "id: ", 4) == 0) {
            take_event(r, strtoull(at + 4, NULL, 10), at);
        }
        buf_consume(&r->text, (size_t)(end - at) + 2);
    }
    if (r->c->eof) {
        reading_end(r);
    }
}

static void take_poll(struct reading *r)
{
    char *body = NULL;
    if (http_next(r->c, NULL, &body) == 0) {
        return;
    }
    uint64_t id = r->last;
    char *at = body;
    while ((at = strstr(at, "{\"event\":")) != NULL) {
        char *next = strstr(at + 1, ",{\"event\":");
        if (next) {
            *next = 0;
        }
        take_event(r, ++id, at);
        at = next ? next + 1 : at + strlen(at);
    }
    free(body);
    reading_end(r);
}

static void reading_step(struct reading *r, struct random_source *rnd)
{
    char query[64];
    if (!r->c) {
        snprintf(query, sizeof(query), "?after=%llu&wait=5", (unsigned long long)r->last);
        r->stream = random_below(rnd, 2) == 0;
        uint16_t shard = (uint16_t)random_below(rnd, 3);
        r->c = r->stream ? stream_open(shard, query, "") : get(shard, query, false, "");
    }
    if (r->stream) {
        take_stream(r);
    } else {
        take_poll(r);
    }
}

static void cuts(uint64_t seed)
{
    struct random_seeded random;
    random_seeded_init(&random, seed);
    struct random_source *rnd = &random.base;
    struct reading r = {0};
    struct client *ws = ws_live(rig, (uint16_t)random_below(rnd, 3), &bob, NULL);
    open_session((uint16_t)random_below(rnd, 3), "sse");
    resumed(0);
    uint64_t sent = 0;
    for (int i = 0; i < 250; i++) {
        char text[24];
        switch (random_below(rnd, 6)) {
        case 0:
        case 1:
            snprintf(text, sizeof(text), "%d", (int)++sent);
            bob_sends(ws, text);
            break;
        case 2:
            if (r.c && random_below(rnd, 2) == 0) {
                net_sim_reset(r.c->conn); /* with what was on the way */
            }
            if (r.c) {
                reading_end(&r);
            }
            break;
        case 3:
            rig_pass(rig, (uint32_t)random_below(rnd, 7000));
            break;
        default:
            reading_step(&r, rnd);
            break;
        }
    }
    for (int i = 0; i < 20 && r.shown < sent; i++) {
        reading_step(&r, rnd);
    }
    assert_int_equal(r.shown, sent);
    assert_int_equal(rig_total(rig, METRIC_CARRIED_ENDED_GAP), 0);
    reading_end(&r);
    client_drop(ws);
}

static void test_carrier__nothing_is_lost_or_doubled(void **state)
{
    for (uint64_t seed = 1; seed <= 12; seed++) {
        print_message("seed %d\n", (int)seed);
        cuts(seed);
        teardown(state);
        setup(state);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_carrier__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(polls_across_shards),
        T(streams),
        T(http_1_0_gets_a_stream_without_chunks),
        T(is_its_devices_only),
        T(bad_requests_change_nothing),
        T(a_socket_is_none),
        T(events_of_a_post_keep_their_order),
        T(one_post_at_a_time),
        T(ends_when_nobody_fetches),
        T(sign_out_ends_it),
        T(lives_with_its_tokens),
        T(ends_at_a_gap),
        T(tells_presence),
        T(tells_presence_after_much),
        T(keeps_nothing_when_memory_is_short),
        T(too_far_behind),
        T(a_slow_stream_waits),
        T(few_for_a_device),
        T(draining_says_so),
        T(nothing_is_lost_or_doubled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
