#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/static.h"
#include "proto/ws.h"

#define MS 1000000ULL

static enum confab_err fake_hash(struct span password, char ret_hash[DIR_HASH_BYTES])
{
    snprintf(ret_hash, DIR_HASH_BYTES, "fake:%.*s", (int)MIN(password.n, 100),
             (const char *)password.p);
    return CONFAB_OK;
}

static enum confab_err fake_verify(const char *hash, struct span password)
{
    char want[DIR_HASH_BYTES];
    (void)fake_hash(password, want);
    return strcmp(hash, want) == 0 ? CONFAB_OK : CONFAB_UNAUTHENTICATED;
}

/* Stands for what everybody uses: the real estimate is tested where it is made. */
static bool fake_weak(struct span password, const char *const *names)
{
    return span_is(password, "12345678") || (names[0] && span_is(password, names[0]));
}

static const struct password_ops password_ops = {"fake", fake_hash, fake_verify, fake_weak};

static void rig_auth(struct rig *rig, const struct shard_config *cfg)
{
    const char *bad;
    const struct auth_state_config auth = {
        .secrets = {.keys = {.n = 1, .key = {{7, 7, 7}}}, .operator_key = RIG_OPERATOR},
        .shards = rig->n,
        .access_s = cfg->access_ms / 1000,
        .revoked_max = 64,
        .tickets_max = 32,
        .throttle_max = 64,
        .registration = REGISTRATION_OPEN,
        .server_name = "Rig",
    };
    assert_int_equal(auth_state_new(&auth, &rig->random[0].base, &rig->auth), CONFAB_OK);
    assert_int_equal(origin_rules_parse(&rig->origins, "https://chat.example.org/", "test, a, x",
                                        "https://app.example.org", &bad),
                     CONFAB_OK);
    assert_int_equal(proxy_rules_parse(&rig->proxies, "127.0.0.0/8, ::1", PROXY_XFF, &bad),
                     CONFAB_OK);
}

/* What a build would embed: see test_static.c. */
#define RIG_PAGE   "<!doctype html><title>page</title>"
#define RIG_SCRIPT "console.log('a script');"
#define BYTES(text)                                                                                \
    {                                                                                              \
        (const uint8_t *)(text), sizeof(text) - 1                                                  \
    }
static const struct static_file FILES[] = {
    {"/", "text/html; charset=utf-8", "aaaa", false, {BYTES(RIG_PAGE), BYTES("gz"), BYTES("br")}},
    {"/api/v1/openapi.json", "application/json", "bbbb", false, {BYTES("{}")}},
    {"/assets/app-12345678.js",
     "text/javascript; charset=utf-8",
     "cccc",
     true,
     {BYTES(RIG_SCRIPT), BYTES("gz")}},
    {"/favicon.svg", "image/svg+xml", "dddd", false, {BYTES("<svg/>")}},
};
static const struct static_set files = {FILES, ARRAY_LEN(FILES)};

struct rig *rig_new(uint16_t shards, void (*tune)(struct shard_config *cfg))
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig->n = shards;
    clock_sim_init(&rig->clock, 1800000000000ULL);
    struct net_sim_cfg net = {.clock = &rig->clock, .seed = 1, .shards = shards};
    struct log_mem_config log = {.lanes = shards};
    assert_int_equal(net_sim_open(&net, &rig->net), CONFAB_OK);
    assert_int_equal(executor_inline_open(false, 1 << 16, &rig->ex), CONFAB_OK);
    assert_int_equal(log_mem_new(&log, &rig->log), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){0}, rig->ex, &rig->store_mem),
                     CONFAB_OK);
    assert_int_equal(store_fault_open(rig->store_mem, &rig->store), CONFAB_OK);
    assert_int_equal(directory_mem_open(rig->ex, &rig->dir_mem), CONFAB_OK);
    assert_int_equal(directory_fault_open(rig->dir_mem, &rig->dir), CONFAB_OK);
    rig->epochs.n = 1;
    rig->epochs.at[0].id = 7;
    for (uint16_t i = 0; i < shards; i++) {
        struct shard_config cfg;
        shard_config_defaults(&cfg);
        cfg.shard = i;
        cfg.shards = shards;
        if (tune) {
            tune(&cfg);
        }
        random_seeded_init(&rig->random[i], 7 + i);
        if (i == 0) {
            rig_auth(rig, &cfg);
        }
        metrics_register(&rig->metrics[i], rig);
        struct shard_deps deps = {
            .net = net_sim_shard(rig->net, i),
            .listener = net_sim_listener(rig->net, i),
            .clock = &rig->clock.base,
            .random = &rig->random[i].base,
            .directory = rig->dir,
            .password_executor = rig->ex,
            .password = &password_ops,
            .log = log_mem_store(rig->log),
            .store = rig->store,
            .files = &files,
            .engine_shared = &rig->shared,
            .epochs = &rig->epochs,
            .auth = rig->auth,
            .origins = &rig->origins,
            .proxies = &rig->proxies,
            .url = "https://chat.example.org/",
            .version = "1",
            .metrics = &rig->metrics[i],
        };
        assert_int_equal(shard_new(&cfg, &deps, &rig->shards[i]), CONFAB_OK);
    }
    assert_int_equal(shard_connect(rig->shards, shards), CONFAB_OK);
    for (uint16_t i = 0; i < shards; i++) {
        struct engine *e = shard_engine(rig->shards[i]);
        assert_int_equal(engine_recover_begin(e), CONFAB_OK);
        assert_int_equal(engine_recover_end(e), CONFAB_OK);
    }
    rig_settle(rig);
    return rig;
}

void rig_free(struct rig *rig)
{
    for (uint16_t i = 0; i < rig->n; i++) {
        shard_free(rig->shards[i]);
        metrics_unregister(&rig->metrics[i]);
    }
    auth_state_free(rig->auth);
    net_sim_close(rig->net);
    directory_fault_close(rig->dir);
    directory_mem_close(rig->dir_mem);
    store_fault_close(rig->store);
    store_mem_close(rig->store_mem);
    log_mem_free(rig->log);
    executor_inline_close(rig->ex);
    free(rig);
}

void rig_settle(struct rig *rig)
{
    uint32_t quiet = 0;
    for (int i = 0; quiet < 3; i++) {
        bool more = !rig->hold_log && log_mem_step(rig->log, SIZE_MAX) > 0;
        assert_true(i < 100000);
        for (uint16_t k = 0; k < rig->n; k++) {
            if (rig->stalled[k]) {
                continue;
            }
            bool ready = net_sim_is_ready(rig->net, k);
            if (rig->on_turn) {
                rig->on_turn(true);
            }
            more = shard_turn(rig->shards[k], 0) == 0 || ready || more;
            if (rig->on_turn) {
                rig->on_turn(false);
            }
        }
        quiet = more ? 0 : quiet + 1;
        /* An engine that is busy asks for the next millisecond. */
        if (i > 0 && i % 200 == 0) {
            clock_sim_advance(&rig->clock, MS);
        }
    }
}

void rig_pass(struct rig *rig, uint32_t ms)
{
    while (ms > 0) {
        uint32_t step = MIN(ms, 100U);
        clock_sim_advance(&rig->clock, step * MS);
        ms -= step;
        rig_settle(rig);
    }
}

int64_t rig_total(const struct rig *rig, enum metric id)
{
    return metrics_total(rig, id);
}

/* ---- Clients ---- */

struct client *client_new(struct rig *rig, uint16_t shard)
{
    struct client *c = calloc(1, sizeof(*c));
    assert_non_null(c);
    c->rig = rig;
    assert_int_equal(net_sim_connect(rig->net, shard, &c->conn), CONFAB_OK);
    rig_settle(rig);
    return c;
}

void client_drop(struct client *c)
{
    net_sim_drop(c->conn);
    buf_deinit(&c->in);
    rig_settle(c->rig);
    free(c);
}

void client_send(struct client *c, const void *p, size_t n)
{
    const uint8_t *at = p;
    for (int i = 0; n > 0; i++) {
        size_t sent = 0;
        enum confab_err err = net_sim_send(c->conn, at, n, &sent);
        assert_true(i < 100000);
        if (err && err != CONFAB_AGAIN) {
            break; /* closed under us: what it answered is still to be read */
        }
        at += sent;
        n -= sent;
        rig_settle(c->rig);
    }
}

void client_send_str(struct client *c, const char *text)
{
    client_send(c, text, strlen(text));
}

void client_recv(struct client *c)
{
    for (;;) {
        uint8_t tmp[16384];
        size_t n = 0;
        rig_settle(c->rig);
        enum confab_err err = net_sim_recv(c->conn, tmp, sizeof(tmp), &n);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err) {
            c->eof = true;
            return;
        }
        buf_put(&c->in, tmp, n);
    }
}

int http_next(struct client *c, char **ret_head, char **ret_body)
{
    client_recv(c);
    struct http_scan scan = {0};
    struct http_response res;
    struct http_error err;
    enum http_result r =
        http_response_parse(&scan, span_of(c->in.data, c->in.len), false, &res, &err);
    if (r != HTTP_DONE) {
        return 0;
    }
    size_t total = res.head_len + (size_t)res.content_length;
    assert_true(c->in.len >= total);
    if (ret_head) {
        *ret_head = strndup((const char *)c->in.data, res.head_len);
    }
    if (ret_body) {
        *ret_body = strndup((const char *)c->in.data + res.head_len, (size_t)res.content_length);
    }
    int status = res.status;
    buf_consume(&c->in, total);
    return status;
}

int http(struct client *c, const char *method, const char *path, const char *token,
         const char *json, char **ret_body)
{
    struct buf b = {0};
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n", method, path);
    if (token) {
        buf_printf(&b, "Authorization: Bearer %s\r\n", token);
    }
    if (json) {
        buf_printf(&b, "Content-Length: %zu\r\n", strlen(json));
    }
    buf_put_str(&b, "\r\n");
    buf_put_str(&b, json ? json : "");
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    return http_next(c, NULL, ret_body);
}

const char *json_text(const char *json, const char *key)
{
    static char out[4][JWT_TEXT_MAX + 1];
    static int next;
    char want[80];
    assert_non_null(json);
    snprintf(want, sizeof(want), "\"%s\":\"", key);
    const char *at = strstr(json, want);
    char *to = out[next++ % 4];
    to[0] = 0;
    if (at) {
        at += strlen(want);
        snprintf(to, sizeof(out[0]), "%.*s", (int)strcspn(at, "\""), at);
    }
    return to;
}

uint64_t json_number_of(const char *json, const char *key)
{
    char want[80];
    assert_non_null(json);
    snprintf(want, sizeof(want), "\"%s\":", key);
    const char *at = strstr(json, want);
    assert_non_null(at);
    return strtoull(at + strlen(want), NULL, 10);
}

void account_login(struct rig *rig, struct account *io)
{
    struct client *c = client_new(rig, 0);
    char json[256];
    char *body = NULL;
    snprintf(json, sizeof(json), "{\"username\":\"%s\",\"password\":\"password\"}", io->name);
    assert_int_equal(http(c, "POST", "/api/v1/tokens", NULL, json, &body), 201);
    snprintf(io->token, sizeof(io->token), "%s", json_text(body, "token"));
    snprintf(io->user, sizeof(io->user), "%s", json_text(body, "user_id"));
    snprintf(io->refresh, sizeof(io->refresh), "%s", json_text(body, "refresh_token"));
    snprintf(io->device, sizeof(io->device), "%s", json_text(body, "device_id"));
    free(body);
    client_drop(c);
}

void account_make(struct rig *rig, const char *name, struct account *ret)
{
    struct client *c = client_new(rig, 0);
    char json[256];
    char *body = NULL;
    snprintf(json, sizeof(json), "{\"username\":\"%s\",\"password\":\"password\"}", name);
    assert_int_equal(http(c, "POST", "/api/v1/accounts", NULL, json, &body), 201);
    free(body);
    client_drop(c);
    snprintf(ret->name, sizeof(ret->name), "%s", name);
    account_login(rig, ret);
}

/* ---- WebSocket ---- */

struct client *ws_open(struct rig *rig, uint16_t shard, const char *token)
{
    struct client *c = client_new(rig, shard);
    struct buf b = {0};
    char *head = NULL;
    buf_printf(&b, "GET /ws%s%s HTTP/1.1\r\nHost: test\r\n", token ? "?token=" : "",
               token ? token : "");
    buf_put_str(&b, "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    assert_int_equal(http_next(c, &head, NULL), 101);
    free(head);
    return c;
}

void ws_send_frame(struct client *c, uint8_t first, const void *p, size_t n)
{
    static const uint8_t key[4] = {1, 2, 3, 4};
    struct buf b = {0};
    buf_put_u8(&b, first);
    if (n < 126) {
        buf_put_u8(&b, (uint8_t)(128 | n));
    } else if (n < 65536) {
        buf_put_u8(&b, 128 | 126);
        buf_put_u8(&b, (uint8_t)(n >> 8));
        buf_put_u8(&b, (uint8_t)n);
    } else {
        buf_put_u8(&b, 128 | 127);
        for (int i = 7; i >= 0; i--) {
            buf_put_u8(&b, (uint8_t)(n >> (8 * i)));
        }
    }
    buf_put(&b, key, 4);
    size_t at = b.len;
    buf_put(&b, p, n);
    ws_mask(b.data + at, n, key, 0);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
}

void ws_send(struct client *c, const char *json)
{
    ws_send_frame(c, 0x81, json, strlen(json));
}

/* Takes one frame off; its opcode, or -1. The payload is at *ret. */
static int frame_take(struct client *c, struct span *ret)
{
    client_recv(c);
    if (c->in.len < 2) {
        return -1;
    }
    size_t head = 2;
    size_t n = c->in.data[1] & 127;
    if (n == 126) {
        head = 4;
        n = (size_t)c->in.data[2] << 8 | c->in.data[3];
    } else if (n == 127) {
        head = 10;
        n = 0;
        for (int i = 2; i < 10; i++) {
            n = n << 8 | c->in.data[i];
        }
    }
    if (c->in.len < head + n) {
        return -1;
    }
    static char *last;
    int opcode = c->in.data[0] & 15;
    free(last);
    last = strndup((const char *)c->in.data + head, n);
    if (opcode == WS_CLOSE) {
        free(last);
        last = calloc(1, n + 1);
        memcpy(last, c->in.data + head, n);
    }
    *ret = span_of(last, n);
    buf_consume(&c->in, head + n);
    return opcode;
}

const char *ws_next(struct client *c)
{
    struct span payload;
    int op = frame_take(c, &payload);
    return op == WS_TEXT ? (const char *)payload.p : NULL;
}

const char *ws_expect(struct client *c, const char *event)
{
    char want[80];
    snprintf(want, sizeof(want), "{\"event\":\"%s\"", event);
    for (;;) {
        const char *f = ws_next(c);
        if (!f) {
            fail_msg("no %s came", event);
        }
        if (strncmp(f, want, strlen(want)) == 0) {
            return f;
        }
    }
}

uint16_t ws_close_code(struct client *c)
{
    struct span payload;
    int op;
    while ((op = frame_take(c, &payload)) >= 0) {
        if (op == WS_CLOSE) {
            return payload.n < 2 ? WS_CLOSE_NONE
                                 : (uint16_t)((unsigned)payload.p[0] << 8 | payload.p[1]);
        }
    }
    return 0;
}

struct client *ws_live(struct rig *rig, uint16_t shard, const struct account *a, char *ret_since)
{
    struct client *c = ws_open(rig, shard, a->token);
    ws_expect(c, "hello");
    ws_send(c, "{\"event\":\"resume\"}");
    const char *f = ws_expect(c, "caught_up");
    if (ret_since) {
        snprintf(ret_since, 64, "%s", json_text(f, "since"));
    }
    return c;
}
