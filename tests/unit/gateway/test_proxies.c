/* Who the client is behind proxies: which of them are believed, and what of what they say. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/proxies.h"
#include "gateway/rates.h"
#include "rig.h"

/* ---- The options ---- */

static struct proxy_rules rules(const char *list, const char *header)
{
    struct proxy_rules r;
    const char *bad = NULL;
    if (proxy_rules_parse(&r, list, header, &bad)) {
        fail_msg("refused: %s %s", list, bad);
    }
    return r;
}

static void test_proxies__networks(void **state)
{
    (void)state;
    struct proxy_rules r =
        rules("10.0.0.0/8,192.0.2.7  172.16.32.0/19, 2001:db8::/33,::1,", PROXY_XFF);
    static const char *const in[] = {
        "10.0.0.0",    "10.255.255.255",      "192.0.2.7", "172.16.32.0",     "172.16.63.255",
        "2001:db8::1", "2001:db8:7fff::ffff", "::1",       "::ffff:10.1.2.3",
    };
    static const char *const out[] = {
        "9.255.255.255", "11.0.0.0",        "192.0.2.8",  "172.16.31.255",
        "172.16.64.0",   "2001:db8:8000::", "2001:db7::", "::2",
        "127.0.0.1",     "::ffff:11.0.0.0", "",           "10.0.0",
        "10.0.0.1:80",
    };
    assert_int_equal(r.n, 5);
    for (size_t i = 0; i < ARRAY_LEN(in); i++) {
        if (!proxy_is_trusted(&r, in[i])) {
            fail_msg("not trusted: %s", in[i]);
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(out); i++) {
        if (proxy_is_trusted(&r, out[i])) {
            fail_msg("trusted: %s", out[i]);
        }
    }
    r = rules("0.0.0.0/0", PROXY_XFF);
    assert_true(proxy_is_trusted(&r, "203.0.113.1"));
    assert_false(proxy_is_trusted(&r, "2001:db8::1"));
    r = rules("", PROXY_XFF);
    assert_false(proxy_is_trusted(&r, "127.0.0.1"));
    assert_false(proxy_is_trusted(NULL, "127.0.0.1"));
}

static void test_proxies__bad_options(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.0.0.1/8",
        "10.0.0.0/33",
        "10.0.0.0/",
        "10.0.0.0/x",
        "10.0.0.0/-1",
        "10.0.0",
        "::1/129",
        "localhost",
        "/8",
        "10.0.0.0/8/8",
        "[::1]",
        "10.0.0.1:80",
        "2001:db8::1/64",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct proxy_rules r = {.n = 77};
    const char *why;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (proxy_rules_parse(&r, bad[i], PROXY_XFF, &why) != CONFAB_INVALID) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_string_equal(why, "trusted-proxies");
    }
    assert_int_equal(proxy_rules_parse(&r, "::1", "x-real-ip", &why), CONFAB_INVALID);
    assert_string_equal(why, "proxy-header");
    char many[400] = "";
    for (int i = 0; i < 33; i++) {
        strcat(many, "10.0.0.1 ");
    }
    assert_int_equal(proxy_rules_parse(&r, many, PROXY_XFF, &why), CONFAB_LIMIT);
    assert_int_equal(r.n, 77);
}

/* ---- The headers ---- */

/* One field a line, in the form Name: value. */
static struct proxy_said said(const char *header, const char *fields)
{
    struct proxy_rules r = rules("10.0.0.0/8, 2001:db8:a::/48, 127.0.0.1", header);
    struct http_headers h = {0};
    struct proxy_said ret;
    while (*fields) {
        size_t n = strcspn(fields, "\n");
        const char *colon = memchr(fields, ':', n);
        h.at[h.n].name = span_of((const uint8_t *)fields, (size_t)(colon - fields));
        h.at[h.n].value = span_of((const uint8_t *)colon + 2, n - (size_t)(colon - fields) - 2);
        h.n++;
        fields += n + (fields[n] == '\n');
    }
    proxy_read(&r, &h, &ret);
    return ret;
}

static void test_proxies__rightmost_untrusted(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        const char *want;
        bool odd;
    } list[] = {
        {"X-Forwarded-For: 203.0.113.5", "203.0.113.5", false},
        {"X-Forwarded-For: 198.51.100.9, 203.0.113.5", "203.0.113.5", false},
        {"X-Forwarded-For: 198.51.100.9, 203.0.113.5, 10.0.0.2,10.0.0.3", "203.0.113.5", false},
        {"x-forwarded-for: 198.51.100.9\nX-FORWARDED-FOR: 203.0.113.5\nX-Forwarded-For: 10.0.0.2",
         "203.0.113.5", false},
        /* All are trusted: the outermost. */
        {"X-Forwarded-For: 10.9.9.9, 10.0.0.2", "10.9.9.9", false},
        {"X-Forwarded-For: 203.0.113.5:4711, [2001:db8:a::1]:80", "203.0.113.5", false},
        {"X-Forwarded-For: 2001:DB8:0::7, 2001:db8:a::1", "2001:db8::7", false},
        {"X-Forwarded-For: [2001:db8::7]", "2001:db8::7", false},
        {"X-Forwarded-For: ::ffff:203.0.113.5", "203.0.113.5", false},
        {"X-Forwarded-For: , 203.0.113.5 ,, ", "203.0.113.5", false},
        /* What the client wrote of it cannot make what the proxy added disappear. */
        {"X-Forwarded-For: \"quoted, 203.0.113.5", "203.0.113.5", false},
        {"X-Forwarded-For: 10.0.0.9, junk, 10.0.0.2", "10.0.0.2", true},
        {"X-Forwarded-For: unknown", "", true},
        {"X-Forwarded-For: 1.2.3.4.5", "", true},
        {"X-Forwarded-For: [2001:db8::7", "", true},
        {"X-Forwarded-For: [2001:db8::7]x", "", true},
        {"X-Forwarded-For: ", "", false},
        {"Via: 1.1 proxy", "", false},
        {"Forwarded: for=203.0.113.5", "", false}, /* the other header */
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct proxy_said s = said(PROXY_XFF, list[i].fields);
        if (strcmp(s.address, list[i].want) != 0 || s.odd != list[i].odd) {
            fail_msg("%s: \"%s\" %d", list[i].fields, s.address, s.odd);
        }
    }
}

static void test_proxies__forwarded(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        const char *want;
        enum proxy_scheme scheme;
    } list[] = {
        {"Forwarded: for=203.0.113.5", "203.0.113.5", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: For=\"[2001:db8::7]:4711\"; Proto=HTTPS;by=10.0.0.1", "2001:db8::7",
         PROXY_SCHEME_HTTPS},
        /* The proxy that the client came to knows how; those behind it were asked by a proxy. */
        {"Forwarded: for=198.51.100.9;proto=http, for=203.0.113.5;proto=https\n"
         "Forwarded: for=10.0.0.2;proto=http",
         "203.0.113.5", PROXY_SCHEME_HTTPS},
        {"Forwarded: for=\"open, for=203.0.113.5;proto=http", "203.0.113.5", PROXY_SCHEME_HTTP},
        {"Forwarded: for=\"a\\\", for=203.0.113.5", "203.0.113.5", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: for=\"203.0.113.5:80\"", "203.0.113.5", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: for=_hidden", "", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: for=203.0.113.5, for=unknown;proto=https", "", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: by=10.0.0.1;proto=https", "", PROXY_SCHEME_UNKNOWN},
        {"Forwarded: for", "", PROXY_SCHEME_UNKNOWN},
        {"X-Forwarded-For: 203.0.113.5\nX-Forwarded-Proto: https", "", PROXY_SCHEME_UNKNOWN},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct proxy_said s = said(PROXY_FORWARDED, list[i].fields);
        if (strcmp(s.address, list[i].want) != 0 || s.scheme != list[i].scheme) {
            fail_msg("%s: \"%s\" %d", list[i].fields, s.address, s.scheme);
        }
    }
    assert_int_equal(said(PROXY_XFF, "X-Forwarded-Proto: https").scheme, PROXY_SCHEME_HTTPS);
    assert_int_equal(said(PROXY_XFF, "X-Forwarded-Proto: HTTP").scheme, PROXY_SCHEME_HTTP);
    assert_int_equal(said(PROXY_XFF, "X-Forwarded-Proto: https, http").scheme,
                     PROXY_SCHEME_UNKNOWN);
    assert_int_equal(said(PROXY_XFF, "X-Forwarded-Proto: https\nX-Forwarded-Proto: http").scheme,
                     PROXY_SCHEME_UNKNOWN);
}

/* ---- Where it counts ---- */

static void two_a_minute(struct shard_config *cfg)
{
    cfg->rates.a_minute[RATE_SEND][RATE_ADDRESS] = 2;
    cfg->rates.a_minute[RATE_CONNECT][RATE_ADDRESS] = 3;
}

/* A request by the proxy on this machine, for whom the header says; the status. */
static int by_proxy(struct client *c, const char *method, const char *path, const char *token,
                    const char *client, const char *json, char **ret_body)
{
    struct buf b = {0};
    buf_printf(&b, "%s %s HTTP/1.1\r\nHost: test\r\n", method, path);
    if (client) {
        buf_printf(&b, "X-Forwarded-For: %s\r\n", client);
    }
    if (token) {
        buf_printf(&b, "Authorization: Bearer %s\r\n", token);
    }
    buf_printf(&b, "Content-Length: %zu\r\n\r\n%s", strlen(json), json);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    return http_next(c, NULL, ret_body);
}

static struct client *socket_by_proxy(struct rig *rig, const char *token, const char *client,
                                      int *ret_status)
{
    struct client *c = client_new(rig, 0);
    char get[1300];
    snprintf(get, sizeof(get),
             "GET /ws?token=%s HTTP/1.1\r\nHost: test\r\nX-Forwarded-For: %s\r\n"
             "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
             "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
             token, client);
    client_send_str(c, get);
    *ret_status = http_next(c, NULL, NULL);
    return c;
}

static const char *const SEND = "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"x\","
                                "\"client_msg_id\":\"%d\"}";

static void ws_send_one(struct client *c, int i)
{
    char json[120];
    snprintf(json, sizeof(json), SEND, i); /* NOLINT(clang-diagnostic-format-nonliteral) */
    ws_send(c, json);
}

/* One connection of the proxy carries requests of many; each counts for its own client. */
static void test_proxies__limits_are_the_clients(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, two_a_minute);
    struct account ann, bob;
    char json[120];
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    struct client *proxy = client_new(rig, 0);
    snprintf(json, sizeof(json), "{\"to\":\"%s\",\"content\":\"x\"}", bob.user);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(by_proxy(proxy, "POST", "/api/v1/messages", ann.token,
                                  "198.51.100.9, 203.0.113.5", json, NULL),
                         201);
    }
    assert_int_equal(by_proxy(proxy, "POST", "/api/v1/messages", ann.token,
                              "203.0.113.6, 203.0.113.5, 127.0.0.1", json, NULL),
                     429);
    /* Another client's, and this machine's own. */
    assert_int_equal(
        by_proxy(proxy, "POST", "/api/v1/messages", ann.token, "203.0.113.6", json, NULL), 201);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(by_proxy(proxy, "POST", "/api/v1/messages", ann.token, NULL, json, NULL),
                         201);
    }
    client_drop(proxy);
    rig_free(rig);
}

/* A socket, and a session without one, keep the address of the request that opened them. */
static void test_proxies__sessions_keep_their_address(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, two_a_minute);
    struct account ann, bob;
    struct client *c[3];
    int status;
    char *body = NULL;
    char path[80];
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    for (int i = 0; i < 2; i++) {
        c[i] = socket_by_proxy(rig, ann.token, "203.0.113.5", &status);
        assert_int_equal(status, 101);
        ws_expect(c[i], "hello");
        ws_send_one(c[i], i);
        ws_expect(c[i], "ack");
    }
    ws_send_one(c[0], 2);
    assert_string_equal(json_text(ws_expect(c[0], "error"), "message"), "too many messages");
    c[2] = socket_by_proxy(rig, ann.token, "203.0.113.6", &status);
    assert_int_equal(status, 101);
    ws_expect(c[2], "hello");
    ws_send_one(c[2], 3);
    ws_expect(c[2], "ack");
    assert_int_equal(u64map_len(&rig->shards[0]->rates.from), 3);
    for (int i = 0; i < 3; i++) {
        client_drop(c[i]);
    }
    assert_int_equal(u64map_len(&rig->shards[0]->rates.from), 0);

    struct client *proxy = client_new(rig, 0);
    assert_int_equal(by_proxy(proxy, "POST", "/api/v1/events", ann.token, "203.0.113.5",
                              "{\"mode\":\"poll\"}", &body),
                     201);
    snprintf(path, sizeof(path), "/api/v1/events/%s", json_text(body, "session_id"));
    free(body);
    assert_int_equal(by_proxy(proxy, "POST", path, ann.token, "203.0.113.5",
                              "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"x\","
                              "\"client_msg_id\":\"9\"}",
                              NULL),
                     202);
    snprintf(path + strlen(path), 16, "?wait=0");
    assert_int_equal(by_proxy(proxy, "GET", path, ann.token, NULL, "", &body), 200);
    assert_non_null(strstr(body, "too many messages"));
    free(body);
    /* The fourth session from there within a minute; none of another address. */
    client_drop(socket_by_proxy(rig, ann.token, "203.0.113.5", &status));
    assert_int_equal(status, 429);
    client_drop(socket_by_proxy(rig, ann.token, "203.0.113.7", &status));
    assert_int_equal(status, 101);
    client_drop(proxy);
    rig_free(rig);
}

static void test_proxies__guessing_and_devices(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct account ann;
    char *body = NULL;
    account_make(rig, "ann", &ann);
    struct client *proxy = client_new(rig, 0);
    for (int i = 0; i < 21; i++) {
        char json[80];
        snprintf(json, sizeof(json), "{\"username\":\"u%d\",\"password\":\"not this one\"}", i);
        assert_int_equal(by_proxy(proxy, "POST", "/api/v1/tokens", NULL, "2001:db8::7", json, NULL),
                         i < 20 ? 401 : 429);
    }
    const char *right = "{\"username\":\"ann\",\"password\":\"password\"}";
    assert_int_equal(by_proxy(proxy, "POST", "/api/v1/tokens", NULL, "2001:db8::8", right, NULL),
                     429);
    assert_int_equal(by_proxy(proxy, "POST", "/api/v1/tokens", NULL, "203.0.113.5", right, NULL),
                     201);
    assert_int_equal(by_proxy(proxy, "GET", "/api/v1/devices", ann.token, NULL, "", &body), 200);
    assert_non_null(strstr(body, "\"last_address\":\"203.0.113.5\""));
    free(body);
    /* What names nobody counts as the proxy itself, and is seen. */
    assert_int_equal(by_proxy(proxy, "POST", "/api/v1/tokens", NULL, "unknown", right, NULL), 201);
    assert_int_equal(rig_total(rig, METRIC_PROXY_HEADERS_ODD), 1);
    client_drop(proxy);
    rig_free(rig);
}

/* Trusted or not: what was passed on is not this machine's. */
static void test_proxies__what_is_passed_on_is_not_local(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct client *c = client_new(rig, 0);
    assert_int_equal(by_proxy(c, "GET", "/metrics", NULL, NULL, "", NULL), 200);
    assert_int_equal(by_proxy(c, "GET", "/metrics", NULL, "127.0.0.1", "", NULL), 404);
    rig->proxies.n = 0;
    struct client *d = client_new(rig, 0);
    assert_int_equal(by_proxy(d, "GET", "/metrics", NULL, "127.0.0.1", "", NULL), 404);
    assert_int_equal(by_proxy(d, "GET", "/metrics", NULL, NULL, "", NULL), 200);
    client_drop(c);
    client_drop(d);
    rig_free(rig);
}

/* Behind TLS that ends in the proxy a page of the Host that was asked for is our own. */
static void test_proxies__own_page_by_the_scheme(void **state)
{
    (void)state;
    struct rig *rig = rig_new(1, NULL);
    struct account ann;
    static const struct {
        const char *headers;
        int status;
    } list[] = {
        {"Origin: https://test\r\n", 403},
        {"Origin: https://test\r\nX-Forwarded-Proto: https\r\n", 101},
        {"Origin: http://test\r\nX-Forwarded-Proto: https\r\n", 403},
        {"Origin: http://test\r\nX-Forwarded-Proto: http\r\n", 101},
        {"Origin: http://test\r\n", 101},
        {"Origin: https://evil\r\nX-Forwarded-Proto: https\r\n", 403},
    };
    account_make(rig, "ann", &ann);
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct client *c = client_new(rig, 0);
        char get[1300];
        snprintf(get, sizeof(get),
                 "GET /ws?token=%s HTTP/1.1\r\nHost: test\r\n%sConnection: Upgrade\r\n"
                 "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                 "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
                 ann.token, list[i].headers);
        client_send_str(c, get);
        if (http_next(c, NULL, NULL) != list[i].status) {
            fail_msg("not %d: %s", list[i].status, list[i].headers);
        }
        client_drop(c);
    }
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_proxies__networks),
        cmocka_unit_test(test_proxies__bad_options),
        cmocka_unit_test(test_proxies__rightmost_untrusted),
        cmocka_unit_test(test_proxies__forwarded),
        cmocka_unit_test(test_proxies__limits_are_the_clients),
        cmocka_unit_test(test_proxies__sessions_keep_their_address),
        cmocka_unit_test(test_proxies__guessing_and_devices),
        cmocka_unit_test(test_proxies__what_is_passed_on_is_not_local),
        cmocka_unit_test(test_proxies__own_page_by_the_scheme),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
