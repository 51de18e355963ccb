/*
 * Each allocation inside the turns of shards fails in turn. Whoever asks gets an answer or loses
 * the connection; what was acknowledged is there, once; a session that is still open has every
 * message or was told that it has not; and the next ones are served as if nothing had been.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool armed;  /* inside of the scenario */
static bool inside; /* of a shard's turn, and not of the simulated net */
static uint64_t count;
static uint64_t fail_from;
static uint64_t fail_past;

static bool fails(void)
{
    if (!armed || !inside) {
        return false;
    }
    count++;
    return count >= fail_from && count < fail_past;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

/* ---- The net, which has memory always ---- */

struct safe_net {
    struct net base;
    struct net *inner;
};

static struct net *wire_of(struct net *n)
{
    return CONTAINER_OF(n, struct safe_net, base)->inner;
}

static int safe_poll(struct net *n, struct net_event *events, int max, int timeout_ms)
{
    struct net *wire = wire_of(n);
    inside = false;
    int got = wire->ops->poll(wire, events, max, timeout_ms);
    inside = true;
    return got;
}

static enum confab_err safe_accept(struct net *n, int listener, int *ret_handle,
                                   struct net_peer *ret_peer)
{
    struct net *wire = wire_of(n);
    inside = false;
    enum confab_err err = wire->ops->accept(wire, listener, ret_handle, ret_peer);
    inside = true;
    return err;
}

static enum confab_err safe_recv(struct net *n, int handle, void *buf, size_t cap, size_t *ret_n)
{
    struct net *wire = wire_of(n);
    inside = false;
    enum confab_err err = wire->ops->recv(wire, handle, buf, cap, ret_n);
    inside = true;
    return err;
}

static enum confab_err safe_writev(struct net *n, int handle, const struct iovec *iov, int niov,
                                   size_t *ret_n)
{
    struct net *wire = wire_of(n);
    inside = false;
    enum confab_err err = wire->ops->writev(wire, handle, iov, niov, ret_n);
    inside = true;
    return err;
}

static void safe_shutdown(struct net *n, int handle)
{
    struct net *wire = wire_of(n);
    wire->ops->shutdown_write(wire, handle);
}

static void safe_close(struct net *n, int handle)
{
    struct net *wire = wire_of(n);
    wire->ops->close(wire, handle);
}

static void safe_wake(struct net *n)
{
    struct net *wire = wire_of(n);
    wire->ops->wake(wire);
}

static void safe_peer(struct net *n, int handle, struct net_peer *ret_peer)
{
    struct net *wire = wire_of(n);
    wire->ops->peer(wire, handle, ret_peer);
}

static void safe_unlisten(struct net *n, int listener)
{
    struct net *wire = wire_of(n);
    wire->ops->unlisten(wire, listener);
}

static const struct net_ops safe_ops = {
    .name = "safe",
    .version = 1,
    .poll = safe_poll,
    .accept = safe_accept,
    .recv = safe_recv,
    .writev = safe_writev,
    .shutdown_write = safe_shutdown,
    .close = safe_close,
    .wake = safe_wake,
    .peer = safe_peer,
    .unlisten = safe_unlisten,
};
static struct safe_net safe[2] = {{{&safe_ops}, NULL}, {{&safe_ops}, NULL}};

/* ---- A scenario ---- */

enum { KEYS_MAX = 32 };

static struct rig *rig;
static struct account ann;
static struct account bob;
static bool said[KEYS_MAX]; /* m<i> was acknowledged */
static bool tried[KEYS_MAX];
static uint64_t seqs[KEYS_MAX];
static uint32_t keys;
static struct client *a;
static struct client *b;
static char heard[4096]; /* the messages that b was told, in order */
static bool b_told;      /* that it misses something */
static bool large;       /* all conversations are: b is told how far they are */
static uint64_t counted; /* the highest of that */

static void turn_begins(bool begins)
{
    inside = begins;
}

static void hear(void)
{
    const char *f;
    while ((f = ws_next(b)) != NULL) {
        if (strstr(f, "\"event\":\"new_message\"")) {
            size_t n = strlen(heard);
            snprintf(heard + n, sizeof(heard) - n, "%s,", json_text(f, "content"));
            counted = MAX(counted, json_number_of(f, "seq")); /* no memory for its counter */
        }
        if (strncmp(f, "{\"event\":\"counter\"", 18) == 0) {
            counted = MAX(counted, json_number_of(f, "seq"));
        }
        b_told = b_told || strstr(f, "\"resync\"") != NULL;
    }
}

static void hear_acks(void)
{
    const char *f;
    while ((f = ws_next(a)) != NULL) {
        if (strncmp(f, "{\"event\":\"ack\"", 14) == 0) {
            int k = atoi(json_text(f, "client_msg_id") + 1);
            assert_in_range(k, 0, KEYS_MAX - 1);
            said[k] = true;
            seqs[k] = json_number_of(f, "seq");
        }
    }
}

static void say(void)
{
    char json[160];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"m%u\","
             "\"client_msg_id\":\"k%u\"}",
             keys, keys);
    tried[keys++] = true;
    ws_send(a, json);
    hear_acks();
}

/* On a connection of its own; 0: it was lost. */
static int ask(const char *method, const char *path, const char *token, const char *json,
               char **ret_body)
{
    struct client *c = client_new(rig, 0);
    int status = http(c, method, path, token, json, ret_body);
    client_drop(c);
    return status;
}

static void chunked(void)
{
    struct client *c = client_new(rig, 1);
    struct buf out = {0};
    buf_printf(&out,
               "POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
               "Transfer-Encoding: chunked\r\n\r\n",
               ann.token);
    client_send(c, out.data, out.len);
    buf_clear(&out);
    char json[120];
    snprintf(json, sizeof(json), "{\"to\":\"bob\",\"content\":\"m%u\",\"client_msg_id\":\"k%u\"}",
             keys, keys);
    buf_printf(&out, "%zx\r\n%s\r\n0\r\n\r\n", strlen(json), json);
    client_send(c, out.data, out.len);
    buf_deinit(&out);
    char *body = NULL;
    int status = http_next(c, NULL, &body);
    tried[keys] = true;
    if (status == 201) {
        said[keys] = true;
        seqs[keys] = json_number_of(body, "seq");
    }
    keys++;
    free(body);
    client_drop(c);
}

static void handshake(void)
{
    struct client *c = client_new(rig, 0);
    struct buf out = {0};
    buf_printf(&out, "GET /ws?token=%s HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n", bob.token);
    buf_put_str(&out, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    client_send(c, out.data, out.len);
    buf_deinit(&out);
    if (http_next(c, NULL, NULL) == 101) {
        ws_send_frame(c, 0x01, "{\"event\":", 9);
        ws_send_frame(c, 0x80, "\"resume\"}", 9);
        while (ws_next(c)) {
        }
    }
    client_drop(c);
}

static void scenario(void)
{
    static const char login[] = "{\"username\":\"bob\",\"password\":\"password\"}";
    say();
    hear();
    say();
    chunked();
    handshake();
    (void)ask("GET", "/api/v1/messages/bob?around=2&limit=4", ann.token, NULL, NULL);
    (void)ask("POST", "/api/v1/tokens", NULL, login, NULL);
    (void)ask("POST", "/api/v1/groups", ann.token, "{\"name\":\"g\",\"members\":[\"bob\"]}", NULL);
    (void)ask("PUT", "/api/v1/blocks/ann", ann.token, NULL, NULL);
    (void)ask("GET", "/api/v1/users/me", ann.token, NULL, NULL);
    (void)ask("GET", "/metrics", NULL, NULL, NULL);
    ws_send(b, "{\"event\":\"heartbeat\"}");
    ws_send(b, "{\"event\":\"nonsense");
    hear();
    say();
    rig_pass(rig, 1200);
    hear();
}

/* ---- What must hold ---- */

static bool healthy(void)
{
    for (uint16_t i = 0; i < rig->n; i++) {
        if (engine_health(shard_engine(rig->shards[i]))) {
            return false; /* no memory to fold: that partition has stopped, and says so */
        }
    }
    return true;
}

static void check(void)
{
    char *body = NULL;
    char all[KEYS_MAX * 8] = "";
    assert_int_equal(ask("GET", "/healthz", NULL, NULL, NULL), 200);
    int status = ask("GET", "/api/v1/messages/bob?limit=100", ann.token, NULL, &body);
    assert_true(status == 200 || status == 404); /* not one of them came through */
    for (uint32_t k = 0; k < keys; k++) {
        char content[32];
        snprintf(content, sizeof(content), "\"content\":\"m%u\"", k);
        const char *at = status == 200 ? strstr(body, content) : NULL;
        assert_true(at || !said[k]);
        assert_true(!at || !strstr(at + 1, content));
        if (at) {
            size_t n = strlen(all);
            snprintf(all + n, sizeof(all) - n, "m%u,", k);
        }
    }
    free(body);
    /* They were sent one after the other: heard in that order, and all, or else b knows. */
    if (large) {
        rig_pass(rig, 2500);
    }
    hear();
    bool closed = b->eof;
    for (uint32_t k = 0; k < keys && large && !closed && !b_told; k++) {
        assert_true(!said[k] || counted >= seqs[k]);
    }
    if (!closed && !b_told && !large) {
        assert_string_equal(heard, all);
    }
    client_drop(ws_live(rig, 1, &bob, NULL));
    assert_int_equal(ask("POST", "/api/v1/messages", bob.token,
                         "{\"to\":\"ann\",\"content\":\"after\",\"client_msg_id\":\"z\"}", NULL),
                     201);
}

static void tune(struct shard_config *cfg)
{
    cfg->large_members = large ? 1 : 0;
}

/* True when nothing failed any more. */
static bool one(uint64_t from, uint64_t n, uint32_t *io_stopped)
{
    rig = rig_new(2, tune);
    counted = 0;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    a = ws_live(rig, 0, &ann, NULL);
    b = ws_live(rig, 1, &bob, NULL);
    memset(said, 0, sizeof(said));
    memset(tried, 0, sizeof(tried));
    keys = 0;
    heard[0] = 0;
    b_told = false;
    for (int i = 0; i < 2; i++) {
        safe[i].inner = rig->shards[i]->deps.net;
        rig->shards[i]->deps.net = &safe[i].base;
    }
    rig->on_turn = turn_begins;
    count = 0;
    fail_from = from;
    fail_past = from + n;
    armed = true;
    scenario();
    armed = false;
    bool over = count < from;
    if (healthy()) {
        check();
    } else {
        (*io_stopped)++;
    }
    client_drop(a);
    client_drop(b);
    rig_free(rig);
    return over;
}

static void every_nth(uint64_t n, uint64_t step)
{
    uint32_t stopped = 0;
    uint32_t runs = 0;
    for (uint64_t from = 1; !one(from, n, &stopped); from += step) {
        runs++;
    }
    assert_true(runs > 60);
    assert_true(stopped < runs / 2);
}

static void test_nomem__each_allocation_once(void **state)
{
    (void)state;
    every_nth(1, 1);
}

static void test_nomem__some_in_a_row(void **state)
{
    (void)state;
    every_nth(7, 3);
}

/* A frame that is not told of, or a counter that is not sent, would be lost for ever. */
static void test_nomem__large_conversations(void **state)
{
    (void)state;
    large = true;
    every_nth(1, 1);
    large = false;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nomem__each_allocation_once),
        cmocka_unit_test(test_nomem__some_in_a_row),
        cmocka_unit_test(test_nomem__large_conversations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
