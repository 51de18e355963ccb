/* Tokens as clients use them: refresh, devices, revocation on all shards, expiry, tickets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "rig.h"

#define SHARDS 3

static struct rig *rig;
static struct client *client;
static struct account ann;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(SHARDS, NULL);
    client = client_new(rig, 0);
    account_make(rig, "ann", &ann);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_drop(client);
    rig_free(rig);
    return 0;
}

static int refresh(const char *token, struct account *ret)
{
    char json[256];
    char *body = NULL;
    snprintf(json, sizeof(json), "{\"refresh_token\":\"%s\"}", token);
    struct client *c = client_new(rig, 0); /* an idle one is closed after a while */
    int status = http(c, "POST", "/api/v1/tokens/refresh", NULL, json, &body);
    client_drop(c);
    if (ret && status == 200) {
        snprintf(ret->token, sizeof(ret->token), "%s", json_text(body, "access_token"));
        snprintf(ret->refresh, sizeof(ret->refresh), "%s", json_text(body, "refresh_token"));
        assert_string_equal(ret->token, json_text(body, "token"));
    }
    free(body);
    return status;
}

static int sign_in(const char *name, const char *password, struct account *ret)
{
    char json[256];
    char *body = NULL;
    snprintf(json, sizeof(json),
             "{\"username\":\"%s\",\"password\":\"%s\",\"device_name\":\"phone\"}", name, password);
    int status = http(client, "POST", "/api/v1/tokens", NULL, json, &body);
    if (ret && status == 201) {
        snprintf(ret->token, sizeof(ret->token), "%s", json_text(body, "access_token"));
        snprintf(ret->refresh, sizeof(ret->refresh), "%s", json_text(body, "refresh_token"));
        snprintf(ret->user, sizeof(ret->user), "%s", json_text(body, "user_id"));
        snprintf(ret->device, sizeof(ret->device), "%s", json_text(body, "device_id"));
    }
    free(body);
    return status;
}

static int me(uint16_t shard, const char *token)
{
    struct client *c = client_new(rig, shard);
    int status = http(c, "GET", "/api/v1/users/me", token, NULL, NULL);
    client_drop(c);
    return status;
}

/* One request with headers of its own; the head of the answer, to be freed. */
static int raw(const char *method, const char *path, const char *headers, const char *json,
               char **ret_head)
{
    struct buf b = {0};
    struct client *c = client_new(rig, 0);
    buf_printf(&b, "%s %s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n%s", method, path, headers,
               strlen(json), json);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    int status = http_next(c, ret_head, NULL);
    client_drop(c);
    return status;
}

static void test_auth__refresh_rotates(void **state)
{
    (void)state;
    struct account next = ann;
    assert_int_equal(refresh(ann.refresh, &next), 200);
    assert_string_not_equal(next.refresh, ann.refresh);
    assert_int_equal(strlen(next.refresh), REFRESH_TEXT_LEN);
    assert_memory_equal(next.refresh, ann.refresh, 24); /* the chain's name stays */
    assert_int_equal(me(1, next.token), 200);
    assert_int_equal(refresh(next.refresh, &next), 200);
    assert_int_equal(rig_total(rig, METRIC_REFRESH_ROTATED), 2);
}

static void test_auth__lost_answer_is_forgiven(void **state)
{
    (void)state;
    struct account one = ann;
    struct account two = ann;
    assert_int_equal(refresh(ann.refresh, &one), 200);
    rig_pass(rig, 59000);
    assert_int_equal(refresh(ann.refresh, &two), 200);
    assert_string_equal(one.refresh, two.refresh);
    assert_int_equal(rig_total(rig, METRIC_REFRESH_REPEATED), 1);
    assert_int_equal(refresh(two.refresh, &one), 200);
}

static void test_auth__reuse_signs_out(void **state)
{
    (void)state;
    struct account thief = ann;
    struct client *ws = ws_open(rig, 2, ann.token);
    ws_expect(ws, "hello");
    assert_int_equal(refresh(ann.refresh, &thief), 200);
    rig_pass(rig, 61000);
    assert_int_equal(refresh(ann.refresh, NULL), 401);
    assert_int_equal(ws_close_code(ws), 4401);
    for (uint16_t i = 0; i < SHARDS; i++) {
        assert_int_equal(me(i, ann.token), 401);
        assert_int_equal(me(i, thief.token), 401);
    }
    assert_int_equal(refresh(thief.refresh, NULL), 401);
    assert_int_equal(rig_total(rig, METRIC_REFRESH_REUSED), 1);
    client_drop(ws);
}

/* A copy that was rotated twice: the owner's token is older than what is remembered. */
static void test_auth__older_than_the_predecessor(void **state)
{
    (void)state;
    struct account thief = ann;
    assert_int_equal(refresh(ann.refresh, &thief), 200);
    assert_int_equal(refresh(thief.refresh, &thief), 200);
    assert_int_equal(refresh(ann.refresh, NULL), 401);
    assert_int_equal(refresh(thief.refresh, NULL), 401);
    assert_int_equal(rig_total(rig, METRIC_REFRESH_REUSED), 1);
}

static void test_auth__no_refresh_token(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "x", "cfr_",
                                      "cfr_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
                                      "AAAAAAAA"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(refresh(bad[i], NULL), 401);
    }
    assert_int_equal(refresh(ann.token, NULL), 401);
    assert_int_equal(http(client, "POST", "/api/v1/tokens/refresh", NULL, "{}", NULL), 400);
    assert_int_equal(me(0, ann.refresh), 401); /* and it is no access token */
    assert_int_equal(refresh(ann.refresh, NULL), 200);
}

static void test_auth__sign_out_ends_it_everywhere(void **state)
{
    (void)state;
    struct client *ws[SHARDS];
    for (uint16_t i = 0; i < SHARDS; i++) {
        ws[i] = ws_open(rig, i, ann.token);
        ws_expect(ws[i], "hello");
    }
    struct account other;
    assert_int_equal(sign_in("ann", "password", &other), 201);
    struct client *stays = ws_open(rig, 1, other.token);
    ws_expect(stays, "hello");
    assert_int_equal(http(client, "DELETE", "/api/v1/tokens/current", ann.token, NULL, NULL), 204);
    for (uint16_t i = 0; i < SHARDS; i++) {
        assert_int_equal(ws_close_code(ws[i]), 4401);
        assert_int_equal(me(i, ann.token), 401);
        client_drop(ws[i]);
    }
    assert_int_equal(me(0, other.token), 200);
    ws_send(stays, "{\"event\":\"heartbeat\"}");
    ws_expect(stays, "heartbeat");
    assert_int_equal(refresh(ann.refresh, NULL), 401);
    client_drop(stays);
}

/* The answer waits until the last shard has acted. */
static void test_auth__answered_when_all_have_seen_it(void **state)
{
    (void)state;
    struct client *ws = ws_open(rig, 2, ann.token);
    char *body = NULL;
    ws_expect(ws, "hello");
    rig->stalled[2] = true;
    assert_int_equal(http(client, "DELETE", "/api/v1/tokens/current", ann.token, NULL, &body), 0);
    rig->stalled[2] = false;
    assert_int_equal(http_next(client, NULL, NULL), 204);
    assert_int_equal(ws_close_code(ws), 4401);
    client_drop(ws);
}

static void test_auth__devices(void **state)
{
    (void)state;
    struct account phone;
    char path[64];
    char *body = NULL;
    assert_int_equal(sign_in("ann", "password", &phone), 201);
    assert_int_equal(http(client, "GET", "/api/v1/devices", ann.token, NULL, &body), 200);
    assert_non_null(strstr(body, ann.device));
    assert_non_null(strstr(body, phone.device));
    assert_non_null(strstr(body, "\"name\":\"phone\",\"current\":false"));
    assert_non_null(strstr(body, "\"last_address\":\"127.0.0.1\""));
    free(body);
    snprintf(path, sizeof(path), "/api/v1/devices/%s", phone.device);
    assert_int_equal(http(client, "PATCH", path, ann.token, "{\"name\":\"pocket\"}", &body), 200);
    assert_string_equal(json_text(body, "name"), "pocket");
    free(body);
    assert_int_equal(http(client, "PATCH", path, ann.token, "{}", NULL), 400);
    assert_int_equal(http(client, "PATCH", path, ann.token, "{\"name\":\"a\\u0007\"}", NULL), 400);
    struct client *ws = ws_open(rig, 1, phone.token);
    ws_expect(ws, "hello");
    assert_int_equal(http(client, "DELETE", path, ann.token, NULL, NULL), 204);
    assert_int_equal(ws_close_code(ws), 4401);
    assert_int_equal(me(2, phone.token), 401);
    assert_int_equal(me(2, ann.token), 200);
    assert_int_equal(http(client, "DELETE", path, ann.token, NULL, NULL), 404);
    client_drop(ws);
}

static void test_auth__devices_of_others_do_not_exist(void **state)
{
    (void)state;
    struct account bob;
    char path[64];
    account_make(rig, "bob", &bob);
    snprintf(path, sizeof(path), "/api/v1/devices/%s", bob.device);
    assert_int_equal(http(client, "DELETE", path, ann.token, NULL, NULL), 404);
    assert_int_equal(http(client, "PATCH", path, ann.token, "{\"name\":\"x\"}", NULL), 404);
    assert_int_equal(http(client, "DELETE", "/api/v1/devices/x", ann.token, NULL, NULL), 404);
    assert_int_equal(me(0, bob.token), 200);
}

/* Somewhat less than half a minute each, with a sign of life. */
static void live_for(struct client *ws, int halves)
{
    for (int i = 0; i < halves; i++) {
        rig_pass(rig, 29900);
        ws_send(ws, "{\"event\":\"heartbeat\"}");
        ws_expect(ws, "heartbeat");
    }
}

static void test_auth__token_runs_out(void **state)
{
    (void)state;
    struct client *ws = ws_open(rig, 1, ann.token);
    ws_expect(ws, "hello");
    live_for(ws, 28);
    rig_pass(rig, 4000);
    ws_expect(ws, "token_expiring");
    assert_int_equal(me(0, ann.token), 200);
    rig_pass(rig, 60000);
    assert_int_equal(ws_close_code(ws), 4401);
    assert_int_equal(me(0, ann.token), 401);
    assert_int_equal(refresh(ann.refresh, &ann), 200);
    assert_int_equal(me(0, ann.token), 200);
    client_drop(ws);
}

static void test_auth__token_renewed_over_the_socket(void **state)
{
    (void)state;
    char json[JWT_TEXT_MAX + 64];
    struct account bob;
    struct client *ws = ws_open(rig, 1, ann.token);
    account_make(rig, "bob", &bob);
    ws_expect(ws, "hello");
    for (int round = 0; round < 3; round++) {
        live_for(ws, 28);
        rig_pass(rig, 4000);
        ws_expect(ws, "token_expiring");
        assert_int_equal(refresh(ann.refresh, &ann), 200);
        /* Another's changes nothing. */
        snprintf(json, sizeof(json), "{\"event\":\"auth\",\"token\":\"%s\"}", bob.token);
        ws_send(ws, json);
        assert_string_equal(json_text(ws_expect(ws, "error"), "ref"), "auth");
        snprintf(json, sizeof(json), "{\"event\":\"auth\",\"token\":\"%s\"}", ann.token);
        ws_send(ws, json);
        ws_expect(ws, "authenticated");
        bob.token[0] = 'x';
    }
    rig_pass(rig, 30000);
    ws_send(ws, "{\"event\":\"heartbeat\"}");
    ws_expect(ws, "heartbeat");
    assert_int_equal(rig_total(rig, METRIC_TOKENS_RENEWED), 3);
    client_drop(ws);
}

static int ticket_socket(const char *ticket, struct client **ret)
{
    struct buf b = {0};
    *ret = client_new(rig, 1);
    buf_printf(&b,
               "GET /ws?ticket=%s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n"
               "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
               ticket);
    client_send(*ret, b.data, b.len);
    buf_deinit(&b);
    return http_next(*ret, NULL, NULL);
}

static void test_auth__ticket_once(void **state)
{
    (void)state;
    char ticket[64];
    char *body = NULL;
    struct client *one;
    struct client *two;
    assert_int_equal(http(client, "POST", "/api/v1/tickets", ann.token, NULL, &body), 201);
    snprintf(ticket, sizeof(ticket), "%s", json_text(body, "ticket"));
    assert_int_equal(json_number_of(body, "expires_in"), 30);
    free(body);
    assert_int_equal(ticket_socket(ticket, &one), 101);
    assert_string_equal(json_text(ws_expect(one, "hello"), "user_id"), ann.user);
    assert_int_equal(ticket_socket(ticket, &two), 401);
    client_drop(two);
    assert_int_equal(ticket_socket("cft_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &two), 401);
    client_drop(two);
    assert_int_equal(http(client, "POST", "/api/v1/tickets", ann.token, NULL, &body), 201);
    snprintf(ticket, sizeof(ticket), "%s", json_text(body, "ticket"));
    free(body);
    rig_pass(rig, 30000);
    assert_int_equal(ticket_socket(ticket, &two), 401);
    client_drop(two);
    assert_int_equal(http(client, "POST", "/api/v1/tickets", NULL, NULL, NULL), 401);
    assert_int_equal(rig_total(rig, METRIC_TICKETS_USED), 1);
    client_drop(one);
}

static void test_auth__throttled_by_account(void **state)
{
    (void)state;
    char *head = NULL;
    const char *wrong = "{\"username\":\"ann\",\"password\":\"not this one\"}";
    const char *nobody = "{\"username\":\"nobody\",\"password\":\"not this one\"}";
    for (int i = 0; i < 5; i++) {
        assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\n", wrong, NULL), 401);
        assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\n", nobody, NULL), 401);
    }
    assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\n", wrong, &head), 429);
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    free(head);
    /* The same for a name that does not exist, and for the right password. */
    assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\n", nobody, &head), 429);
    free(head);
    assert_int_equal(sign_in("ann", "password", NULL), 429);
    assert_int_equal(rig_total(rig, METRIC_SIGNIN_THROTTLED), 3);
    rig_pass(rig, 1000);
    assert_int_equal(sign_in("ann", "password", NULL), 201);
    assert_int_equal(sign_in("ann", "not this one", NULL), 401);
}

static void test_auth__throttled_by_address(void **state)
{
    (void)state;
    struct client *far = client_new(rig, 0);
    net_sim_set_address(far->conn, "192.0.2.7");
    for (int i = 0; i < 20; i++) {
        char json[80];
        snprintf(json, sizeof(json), "{\"username\":\"u%d\",\"password\":\"not this one\"}", i);
        assert_int_equal(http(far, "POST", "/api/v1/tokens", NULL, json, NULL), 401);
    }
    const char *right = "{\"username\":\"ann\",\"password\":\"password\"}";
    assert_int_equal(http(far, "POST", "/api/v1/tokens", NULL, right, NULL), 429);
    assert_int_equal(sign_in("ann", "password", NULL), 201); /* from elsewhere */
    rig_pass(rig, 1000);
    assert_int_equal(http(far, "POST", "/api/v1/tokens", NULL, right, NULL), 201);
    client_drop(far);
}

/* Who has to wait for an address cannot push the counts of others out of the table. */
static void test_auth__refused_address_leaves_no_accounts(void **state)
{
    (void)state;
    struct client *far = client_new(rig, 0);
    net_sim_set_address(far->conn, "192.0.2.7");
    for (int i = 0; i < 5; i++) {
        assert_int_equal(sign_in("ann", "not this one", NULL), 401);
    }
    for (int i = 0; i < 100; i++) { /* the table holds 64 */
        char json[80];
        snprintf(json, sizeof(json), "{\"username\":\"u%d\",\"password\":\"not this one\"}", i);
        assert_int_equal(http(far, "POST", "/api/v1/tokens", NULL, json, NULL), i < 20 ? 401 : 429);
    }
    assert_int_equal(sign_in("ann", "password", NULL), 429);
    client_drop(far);
}

static void test_auth__registrations_by_address(void **state)
{
    (void)state;
    struct client *far = client_new(rig, 0);
    char json[80];
    net_sim_set_address(far->conn, "2001:db8::7");
    for (int i = 0; i < 20; i++) {
        snprintf(json, sizeof(json), "{\"username\":\"u%d\",\"password\":\"password\"}", i);
        assert_int_equal(http(far, "POST", "/api/v1/accounts", NULL, json, NULL), 201);
    }
    net_sim_set_address(far->conn, "2001:db8::8"); /* the same network */
    const char *more = "{\"username\":\"more\",\"password\":\"password\"}";
    assert_int_equal(http(far, "POST", "/api/v1/accounts", NULL, more, NULL), 429);
    net_sim_set_address(far->conn, "2001:db8:0:1::8");
    assert_int_equal(http(far, "POST", "/api/v1/accounts", NULL, more, NULL), 201);
    client_drop(far);
}

static void test_auth__weak_password(void **state)
{
    (void)state;
    char *body = NULL;
    assert_int_equal(http(client, "POST", "/api/v1/accounts", NULL,
                          "{\"username\":\"bob\",\"password\":\"12345678\"}", &body),
                     422);
    assert_string_equal(json_text(body, "field"), "password");
    free(body);
    assert_int_equal(http(client, "POST", "/api/v1/accounts", NULL,
                          "{\"username\":\"bobthefirst\",\"password\":\"bobthefirst\"}", NULL),
                     422);
}

#define COOKIE_SIGN_IN "{\"username\":\"ann\",\"password\":\"password\",\"cookie\":true}"
#define WEB            "X-Confab-Client: web\r\n"

static void test_auth__cookie(void **state)
{
    (void)state;
    char *head = NULL;
    char headers[400];
    const char *host = "Host: test\r\n";
    assert_int_equal(raw("POST", "/api/v1/tokens", host, COOKIE_SIGN_IN, NULL), 403);
    assert_int_equal(raw("POST", "/api/v1/tokens",
                         "Host: test\r\nOrigin: http://evil.example\r\n" WEB, COOKIE_SIGN_IN, NULL),
                     403);
    assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\nOrigin: http://test\r\n" WEB,
                         COOKIE_SIGN_IN, &head),
                     201);
    const char *at = strstr(head, "Set-Cookie: ");
    assert_non_null(at);
    assert_non_null(strstr(at, "; Path=/api/v1/tokens; Max-Age=7776000; HttpOnly; "
                               "SameSite=Strict\r\n"));
    char cookie[120];
    snprintf(cookie, sizeof(cookie), "%.*s", (int)strcspn(at + 12, ";"), at + 12);
    free(head);
    snprintf(headers, sizeof(headers), "Host: test\r\nCookie: a=b; %s\r\n", cookie);
    assert_int_equal(raw("POST", "/api/v1/tokens/refresh", headers, "", NULL), 403);
    snprintf(headers, sizeof(headers),
             "Host: test\r\nOrigin: http://evil.example\r\nCookie: %s\r\n" WEB, cookie);
    assert_int_equal(raw("POST", "/api/v1/tokens/refresh", headers, "", NULL), 403);
    snprintf(headers, sizeof(headers), "Host: test\r\nCookie: a=b; %s\r\n" WEB, cookie);
    assert_int_equal(raw("POST", "/api/v1/tokens/refresh", headers, "", &head), 200);
    assert_non_null(strstr(head, "Set-Cookie: confab_refresh=cfr_"));
    assert_null(strstr(head, cookie));
    free(head);
    rig_pass(rig, 61000);
    assert_int_equal(raw("POST", "/api/v1/tokens/refresh", headers, "", &head), 401);
    assert_non_null(strstr(head, "Set-Cookie: confab_refresh=; Path=/api/v1/tokens; Max-Age=0"));
    free(head);
    assert_true(rig_total(rig, METRIC_ORIGIN_REFUSED) >= 3);
}

/* TLS ends in front of the server, and the page has come by it. */
static void test_auth__cookie_behind_a_proxy(void **state)
{
    (void)state;
    char *head = NULL;
    char headers[400];
    const char *origin = "Host: chat.example.org\r\nOrigin: https://chat.example.org\r\n" WEB;
    assert_int_equal(raw("POST", "/api/v1/tokens", origin, COOKIE_SIGN_IN, &head), 201);
    const char *at = strstr(head, "Set-Cookie: ");
    assert_non_null(at);
    assert_non_null(strstr(at, "; SameSite=Strict; Secure\r\n"));
    snprintf(headers, sizeof(headers), "%sCookie: %.*s\r\n", origin, (int)strcspn(at + 12, ";"),
             at + 12);
    free(head);
    assert_int_equal(raw("POST", "/api/v1/tokens/refresh", headers, "", &head), 200);
    assert_non_null(strstr(head, "; SameSite=Strict; Secure\r\n"));
    free(head);
}

/* What a proxy on this machine passes on has not come from here. */
static void test_auth__forwarded_is_not_local(void **state)
{
    (void)state;
    static const char *const marks[] = {"Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.7",
                                        "X-Real-IP: 192.0.2.7", "Via: 1.1 proxy"};
    const char *key = "Host: test\r\nAuthorization: Bearer " RIG_OPERATOR "\r\n";
    char headers[300];
    assert_int_equal(raw("GET", "/metrics", key, "", NULL), 200);
    assert_int_equal(raw("GET", "/api/v1/admin/settings", key, "", NULL), 200);
    for (size_t i = 0; i < ARRAY_LEN(marks); i++) {
        snprintf(headers, sizeof(headers), "%s%s\r\n", key, marks[i]);
        assert_int_equal(raw("GET", "/metrics", headers, "", NULL), 404);
        assert_int_equal(raw("GET", "/api/v1/admin/settings", headers, "", NULL), 401);
    }
}

/* Whoever knew the password until it was reset must not get it back by a change under way. */
static void test_auth__reset_wins_over_a_change(void **state)
{
    (void)state;
    char path[80];
    char *body = NULL;
    const char *key = RIG_OPERATOR;
    struct buf b = {0};
    struct client *c = client_new(rig, 0);
    const char *json = "{\"password\":\"password\",\"new_password\":\"the thief's own\"}";
    assert_int_equal(
        fault_plan_arm(directory_fault_plan(rig->dir), DIR_ACCOUNT_UPDATE, 1, 1, FAULT_DELAY, 0),
        CONFAB_OK);
    buf_printf(&b,
               "PUT /api/v1/users/me/password HTTP/1.1\r\nHost: test\r\n"
               "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s",
               ann.token, strlen(json), json);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    assert_int_equal(http_next(c, NULL, NULL), 0);
    snprintf(path, sizeof(path), "/api/v1/admin/users/%s/password", ann.user);
    assert_int_equal(http(client, "PUT", path, key, "{\"password\":\"reset by hand\"}", NULL), 200);
    assert_int_equal(directory_fault_release(rig->dir), 1);
    rig_settle(rig);
    assert_int_equal(http_next(c, NULL, &body), 403);
    assert_string_equal(json_text(body, "field"), "password");
    free(body);
    assert_int_equal(sign_in("ann", "the thief's own", NULL), 401);
    assert_int_equal(sign_in("ann", "reset by hand", NULL), 201);
    client_drop(c);
}

static void test_auth__no_cache_keeps_answers(void **state)
{
    (void)state;
    static const char *const paths[] = {"/api/v1/users/me", "/api/v1/invites", "/api/v1/none"};
    char headers[700];
    char *head = NULL;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        for (int cors = 0; cors < 2; cors++) {
            snprintf(headers, sizeof(headers), "Host: test\r\n%sAuthorization: Bearer %s\r\n",
                     cors ? "Origin: https://app.example.org\r\n" : "", ann.token);
            assert_int_equal(raw("GET", paths[i], headers, "", &head), i < 2 ? 200 : 404);
            assert_non_null(strstr(head, "Cache-Control: no-store\r\n"));
            free(head);
        }
    }
    assert_int_equal(raw("POST", "/api/v1/tokens", "Host: test\r\n",
                         "{\"username\":\"ann\",\"password\":\"password\"}", &head),
                     201);
    const char *at = strstr(head, "Cache-Control: no-store\r\n");
    assert_non_null(at);
    assert_null(strstr(at + 1, "Cache-Control"));
    free(head);
}

static int invite_with_key(struct client *c, const char *token, char **ret_body)
{
    struct buf b = {0};
    buf_printf(&b,
               "POST /api/v1/invites HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n"
               "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\n{}",
               token);
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    return http_next(c, NULL, ret_body);
}

static uint32_t audit_records(const char *action)
{
    char *body = NULL;
    char want[60];
    uint32_t n = 0;
    struct client *c = client_new(rig, 0);
    assert_int_equal(http(c, "GET", "/api/v1/admin/audit?limit=100", RIG_OPERATOR, NULL, &body),
                     200);
    snprintf(want, sizeof(want), "\"action\":\"%s\"", action);
    for (const char *at = body; (at = strstr(at, want)) != NULL; at++) {
        n++;
    }
    free(body);
    client_drop(c);
    return n;
}

static void some_hours(uint64_t hours)
{
    clock_sim_advance(&rig->clock, hours * 3600 * 1000000000ULL);
    rig_settle(rig);
}

/* Once an hour, those older than audit-days; none at all without. */
static void test_auth__old_audit_records_go(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned k = 0; k < 3; k++) {
            struct client *c = client_new(rig, 0);
            char *body = NULL;
            assert_int_equal(http(c, "POST", "/api/v1/tokens", NULL,
                                  "{\"username\":\"ann\",\"password\":\"password\"}", &body),
                             201);
            assert_int_equal(
                http(c, "POST", "/api/v1/invites", json_text(body, "access_token"), "{}", NULL),
                201);
            free(body);
            client_drop(c);
        }
        some_hours(10);
    }
    assert_int_equal(audit_records("invite.create"), 6);
    some_hours(2);
    assert_int_equal(audit_records("invite.create"), 6);
    rig->shards[0]->cfg.audit_ms = 15 * 3600 * 1000;
    some_hours(2);
    assert_int_equal(audit_records("invite.create"), 3);
    assert_true(rig_total(rig, METRIC_AUDIT_PURGED) >= 3);
    some_hours(2);
    assert_int_equal(audit_records("invite.create"), 0);
}

/* The same request again while the first is under way: it waits outside, and is told for how long.
 */
static void test_auth__a_key_under_way(void **state)
{
    (void)state;
    char *head = NULL;
    char *body = NULL;
    char code[64];
    struct client *one = client_new(rig, 0);
    struct client *two = client_new(rig, 0);
    assert_int_equal(
        fault_plan_arm(directory_fault_plan(rig->dir), DIR_INVITE_CREATE, 1, 1, FAULT_DELAY, 0),
        CONFAB_OK);
    assert_int_equal(invite_with_key(one, ann.token, NULL), 0);
    struct buf b = {0};
    buf_printf(&b,
               "POST /api/v1/invites HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer %s\r\n"
               "Idempotency-Key: k\r\nContent-Length: 2\r\n\r\n{}",
               ann.token);
    client_send(two, b.data, b.len);
    buf_deinit(&b);
    assert_int_equal(http_next(two, &head, &body), 409);
    assert_non_null(strstr(head, "Retry-After: 1\r\n"));
    assert_string_equal(json_text(body, "code"), "conflict");
    assert_string_equal(json_text(body, "field"), "Idempotency-Key");
    free(head);
    free(body);
    assert_int_equal(directory_fault_release(rig->dir), 1);
    rig_settle(rig);
    assert_int_equal(http_next(one, NULL, &body), 201);
    snprintf(code, sizeof(code), "%s", json_text(body, "code"));
    free(body);
    assert_int_equal(invite_with_key(two, ann.token, &body), 201);
    assert_string_equal(json_text(body, "code"), code);
    free(body);
    client_drop(one);
    client_drop(two);
}

/*
 * Signed out while its key was claimed: the next request on the connection, which a proxy may have
 * taken from another person, must not go on with the claim.
 */
static void test_auth__claim_ends_with_its_request(void **state)
{
    (void)state;
    struct account ben;
    char *body = NULL;
    char code[64];
    uint64_t device = strtoull(ann.device, NULL, 10);
    account_make(rig, "ben", &ben);
    struct client *proxy = client_new(rig, 0);
    assert_int_equal(
        fault_plan_arm(directory_fault_plan(rig->dir), DIR_IDEM_CLAIM, 1, 1, FAULT_DELAY, 0),
        CONFAB_OK);
    assert_int_equal(invite_with_key(proxy, ann.token, NULL), 0);
    auth_state_revoke(rig->auth, strtoull(ann.user, NULL, 10), &device, 1,
                      rig->shards[0]->wall_ms / 1000, &rig->metrics[0]);
    assert_int_equal(directory_fault_release(rig->dir), 1);
    rig_settle(rig);
    assert_int_equal(http_next(proxy, NULL, NULL), 401);
    assert_int_equal(http(proxy, "POST", "/api/v1/invites", ben.token, "{}", &body), 201);
    snprintf(code, sizeof(code), "%s", json_text(body, "code"));
    free(body);
    assert_int_equal(sign_in("ann", "password", &ann), 201);
    struct client *again = client_new(rig, 0);
    assert_int_equal(invite_with_key(again, ann.token, &body), 201);
    assert_string_not_equal(json_text(body, "code"), code);
    free(body);
    client_drop(again);
    client_drop(proxy);
}

static void test_auth__foreign_names_and_pages(void **state)
{
    (void)state;
    char *head = NULL;
    static const char upgrade[] = "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                                  "Sec-WebSocket-Version: 13\r\n"
                                  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    char headers[512];
    assert_int_equal(raw("GET", "/healthz", "Host: evil.example\r\n", "", NULL), 403);
    assert_int_equal(raw("GET", "/healthz", "Host: localhost:8008\r\n", "", NULL), 200);
    static const struct {
        const char *origin;
        int status;
    } list[] = {
        {"", 101},
        {"Origin: http://test\r\n", 101},
        {"Origin: https://app.example.org\r\n", 101},
        {"Origin: https://chat.example.org\r\n", 101},
        {"Origin: http://evil.example\r\n", 403},
        {"Origin: null\r\n", 403},
        {"Origin: https://test\r\n", 403},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        struct client *c = client_new(rig, 0);
        snprintf(headers, sizeof(headers), "GET /ws HTTP/1.1\r\nHost: test\r\n%s%s\r\n",
                 list[i].origin, upgrade);
        client_send_str(c, headers);
        assert_int_equal(http_next(c, NULL, NULL), list[i].status);
        client_drop(c);
    }
    /* REST: other pages may ask, but their scripts see the answer only when they are listed. */
    assert_int_equal(
        raw("GET", "/healthz", "Host: test\r\nOrigin: http://evil.example\r\n", "", &head), 200);
    assert_null(strstr(head, "Access-Control"));
    free(head);
    assert_int_equal(
        raw("GET", "/healthz", "Host: test\r\nOrigin: https://app.example.org\r\n", "", &head),
        200);
    assert_non_null(strstr(head, "Access-Control-Allow-Origin: https://app.example.org\r\n"));
    assert_null(strstr(head, "Allow-Credentials"));
    free(head);
    assert_int_equal(raw("OPTIONS", "/api/v1/users/me",
                         "Host: test\r\nOrigin: https://app.example.org\r\n"
                         "Access-Control-Request-Method: PATCH\r\n",
                         "", &head),
                     204);
    assert_non_null(strstr(head, "Access-Control-Allow-Headers: Authorization"));
    free(head);
    assert_int_equal(raw("OPTIONS", "/api/v1/users/me",
                         "Host: test\r\nOrigin: http://evil.example\r\n"
                         "Access-Control-Request-Method: PATCH\r\n",
                         "", &head),
                     405);
    assert_null(strstr(head, "Access-Control"));
    free(head);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_auth__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(refresh_rotates),
        T(lost_answer_is_forgiven),
        T(reuse_signs_out),
        T(older_than_the_predecessor),
        T(no_refresh_token),
        T(sign_out_ends_it_everywhere),
        T(answered_when_all_have_seen_it),
        T(devices),
        T(devices_of_others_do_not_exist),
        T(token_runs_out),
        T(token_renewed_over_the_socket),
        T(ticket_once),
        T(throttled_by_account),
        T(throttled_by_address),
        T(refused_address_leaves_no_accounts),
        T(registrations_by_address),
        T(weak_password),
        T(cookie),
        T(cookie_behind_a_proxy),
        T(forwarded_is_not_local),
        T(claim_ends_with_its_request),
        T(a_key_under_way),
        T(old_audit_records_go),
        T(reset_wins_over_a_change),
        T(no_cache_keeps_answers),
        T(foreign_names_and_pages),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
