/* The REST calls: groups, messages, history, preferences. */
#include <inttypes.h>
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
static struct account eve;
static struct client *h;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(2, NULL);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "eve", &eve);
    h = client_new(rig, 1);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_drop(h);
    rig_free(rig);
    return 0;
}

static char *last_body;

/* A call; its body stays in last_body. */
static int call(const char *method, const struct account *who, const char *json, const char *fmt,
                ...)
{
    char path[300];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(path, sizeof(path), fmt, ap);
    va_end(ap);
    free(last_body);
    last_body = NULL;
    int status = http(h, method, path, who ? who->token : NULL, json, &last_body);
    return status;
}

static void expect_error(int got, int status, const char *code)
{
    assert_int_equal(got, status);
    assert_string_equal(json_text(last_body, "code"), code);
}

static void group_make(const char *json, char ret[40])
{
    assert_int_equal(call("POST", &ann, json, "/api/v1/groups"), 201);
    assert_string_equal(json_text(last_body, "group_id"), json_text(last_body, "conversation_id"));
    snprintf(ret, 40, "%s", json_text(last_body, "group_id"));
    assert_int_equal(strlen(ret), 32);
}

static int count(const char *text, const char *what)
{
    int n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at++) {
        n++;
    }
    return n;
}

static void test_api__group_life(void **state)
{
    (void)state;
    char g[40];
    char json[200];
    group_make("{\"name\":\"Friends\",\"members\":[\"BOB\"]}", g);
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/groups/%s/members", g), 200);
    assert_int_equal(count(last_body, "\"user_id\""), 2);
    assert_int_equal(count(last_body, "\"role\":\"owner\""), 1);
    snprintf(json, sizeof(json), "{\"user_ids\":[\"%s\",\"eve\"]}", eve.user);
    assert_int_equal(call("POST", &ann, json, "/api/v1/groups/%s/members", g), 200);
    assert_int_equal(json_number_of(last_body, "seq"), 2);
    assert_int_equal(
        call("PATCH", &ann, "{\"role\":\"admin\"}", "/api/v1/groups/%s/members/%s", g, bob.user),
        200);
    assert_int_equal(call("PATCH", &bob,
                          "{\"name\":\"Foes\",\"settings\":{\"history\":\"joined\",\"send\":"
                          "\"admins\",\"invite\":\"admins\"}}",
                          "/api/v1/groups/%s", g),
                     200);
    snprintf(json, sizeof(json), "{\"groupId\":\"%s\",\"message\":\"x\",\"client_msg_id\":\"1\"}",
             g);
    expect_error(call("POST", &eve, json, "/api/v1/messages"), 403, "forbidden");
    assert_int_equal(call("POST", &bob, json, "/api/v1/messages"), 201);
    assert_int_equal(call("DELETE", &bob, NULL, "/api/v1/groups/%s/members/eve", g), 200);
    expect_error(call("GET", &eve, NULL, "/api/v1/groups/%s/members", g), 404, "not_found");
    assert_int_equal(call("DELETE", &bob, NULL, "/api/v1/groups/%s/members/me", g), 200);
    assert_int_equal(call("GET", &ann, NULL, "/api/v1/groups/%s/members", g), 200);
    assert_int_equal(count(last_body, "\"user_id\""), 1);
}

static void test_api__group_errors(void **state)
{
    (void)state;
    char g[40];
    const char *none = "0123456789abcdef0123456789abcdef";
    expect_error(call("POST", &ann, "{}", "/api/v1/groups"), 400, "invalid");
    expect_error(call("POST", &ann, "{\"name\":\"\"}", "/api/v1/groups"), 400, "invalid");
    expect_error(call("POST", &ann, "{\"name\":\"a\",\"members\":[\"nobody\"]}", "/api/v1/groups"),
                 404, "not_found");
    expect_error(call("POST", &ann, "{\"name\":\"a\",\"members\":[\"77\"]}", "/api/v1/groups"), 404,
                 "not_found");
    expect_error(call("POST", &ann, "{\"name\":\"a\",\"members\":\"bob\"}", "/api/v1/groups"), 400,
                 "invalid");
    group_make("{\"name\":\"a\",\"member_ids\":[]}", g);
    expect_error(call("GET", &ann, NULL, "/api/v1/groups/%s/members", none), 404, "not_found");
    expect_error(call("GET", &ann, NULL, "/api/v1/groups/x/members"), 404, "not_found");
    expect_error(call("GET", &bob, NULL, "/api/v1/groups/%s/members", g), 404, "not_found");
    expect_error(call("POST", &bob, "{\"user_id\":\"eve\"}", "/api/v1/groups/%s/members", g), 404,
                 "not_found");
    expect_error(call("POST", &ann, "{}", "/api/v1/groups/%s/members", g), 400, "invalid");
    expect_error(call("PATCH", &ann, "{}", "/api/v1/groups/%s", g), 400, "invalid");
    expect_error(
        call("PATCH", &ann, "{\"settings\":{\"send\":\"admins\"}}", "/api/v1/groups/%s", g), 400,
        "invalid");
    expect_error(call("PATCH", &ann, "{\"role\":\"king\"}", "/api/v1/groups/%s/members/bob", g),
                 400, "invalid");
    assert_int_equal(call("GET", &ann, NULL, "/api/v1/groups/%s/members", g), 200);
    assert_int_equal(count(last_body, "\"user_id\""), 1);
}

static void test_api__group_with_too_many_members(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_put_str(&b, "{\"name\":\"a\",\"members\":[\"bob\"");
    for (int i = 0; i < 1000; i++) {
        buf_put_str(&b, ",\"bob\"");
    }
    buf_put_str(&b, "]}");
    buf_put_u8(&b, 0);
    expect_error(call("POST", &ann, (char *)b.data, "/api/v1/groups"), 413, "too_large");
    buf_deinit(&b);
}

static void test_api__send_in_every_spelling(void **state)
{
    (void)state;
    char g[40];
    char json[300];
    group_make("{\"name\":\"a\",\"members\":[\"bob\"]}", g);
    static const char *const forms[] = {
        "{\"conversation_id\":\"%s\",\"content\":\"a\",\"message_type\":\"text\","
        "\"client_msg_id\":\"1\"}",
        "{\"groupId\":\"%s\",\"message\":\"a\",\"type\":\"text\",\"toUserId\":null,"
        "\"client_msg_id\":\"2\"}",
        "{\"group_id\":\"%s\",\"text\":\"a\"}",
    };
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(json, sizeof(json), forms[i], g);
#pragma GCC diagnostic pop
        assert_int_equal(call("POST", &ann, json, "/api/v1/messages"), 201);
        assert_string_equal(json_text(last_body, "message_id"), json_text(last_body, "messageId"));
        assert_string_equal(json_text(last_body, "status"), "sent");
        assert_int_equal(json_number_of(last_body, "seq"), 2 + i);
    }
    snprintf(json, sizeof(json), "{\"toUserId\":\"%s\",\"message\":\"a\",\"groupId\":null}",
             bob.user);
    assert_int_equal(call("POST", &ann, json, "/api/v1/messages"), 201);
}

static void test_api__send_errors(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        int status;
        const char *code;
    } bad[] = {
        {"{\"content\":\"x\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"groupId\":\"0123456789abcdef0123456789abcdef\",\"content\":\"x\"}", 400,
         "invalid"},
        {"{\"to\":\"bob\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"content\":\"\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"content\":\"a\\u0000b\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"content\":\"x\",\"type\":\"video\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"content\":\"x\",\"client_msg_id\":\"a\\u007fb\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"toUserId\":\"ann\",\"content\":\"x\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"text\":\"y\",\"content\":\"x\"}", 400, "invalid"},
        {"{\"to\":\"bob\",\"content\":\"x\",\"mentions\":[1]}", 400, "invalid"},
        {"{\"to\":\"nobody\",\"content\":\"x\"}", 404, "not_found"},
        {"{\"groupId\":\"x\",\"content\":\"x\"}", 404, "not_found"},
        {"{\"groupId\":\"0123456789abcdef0123456789abcdef\",\"content\":\"x\"}", 404, "not_found"},
        {"{\"to\":\"bob\",\"content\":\"x\",\"reply_to\":\"12345678901234\"}", 404, "not_found"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        expect_error(call("POST", &ann, bad[i].json, "/api/v1/messages"), bad[i].status,
                     bad[i].code);
    }
    expect_error(call("POST", NULL, "{\"to\":\"bob\",\"content\":\"x\"}", "/api/v1/messages"), 401,
                 "unauthenticated");
    assert_int_equal(rig_total(rig, METRIC_MESSAGES_ACCEPTED), 0);
}

static void test_api__repeat(void **state)
{
    (void)state;
    const char *json = "{\"to\":\"bob\",\"content\":\"x\",\"client_msg_id\":\"k\"}";
    char id[40];
    assert_int_equal(call("POST", &ann, json, "/api/v1/messages"), 201);
    snprintf(id, sizeof(id), "%s", json_text(last_body, "message_id"));
    assert_int_equal(call("POST", &ann, json, "/api/v1/messages"), 200);
    assert_string_equal(json_text(last_body, "message_id"), id);
    expect_error(call("POST", &ann, "{\"to\":\"bob\",\"content\":\"y\",\"client_msg_id\":\"k\"}",
                      "/api/v1/messages"),
                 409, "duplicate_key");
}

/* Ten messages between ann and bob; the id of the last. */
static void ten(char ret_id[40])
{
    for (int i = 0; i < 10; i++) {
        char json[100];
        snprintf(json, sizeof(json),
                 "{\"to\":\"bob\",\"content\":\"m%d\",\"client_msg_id\":\"%d\"}", i, i);
        assert_int_equal(call("POST", &ann, json, "/api/v1/messages"), 201);
        rig_pass(rig, 10);
    }
    snprintf(ret_id, 40, "%s", json_text(last_body, "message_id"));
}

static void test_api__edit_and_delete(void **state)
{
    (void)state;
    char id[40];
    ten(id);
    assert_int_equal(call("PATCH", &ann, "{\"content\":\"new\"}", "/api/v1/messages/%s", id), 200);
    expect_error(call("PATCH", &bob, "{\"content\":\"his\"}", "/api/v1/messages/%s", id), 403,
                 "forbidden");
    expect_error(call("PATCH", &eve, "{\"content\":\"hers\"}", "/api/v1/messages/%s", id), 404,
                 "not_found");
    expect_error(call("PATCH", &ann, "{}", "/api/v1/messages/%s", id), 400, "invalid");
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/ann?limit=1"), 200);
    assert_string_equal(json_text(last_body, "content"), "new");
    assert_int_equal(count(last_body, "edited_at"), 1);
    assert_int_equal(call("DELETE", &bob, NULL, "/api/v1/messages/%s?for=me", id), 200);
    rig_pass(rig, 2000);
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/ann?limit=1"), 200);
    assert_string_equal(json_text(last_body, "content"), "m8");
    assert_int_equal(call("GET", &ann, NULL, "/api/v1/messages/bob?limit=1"), 200);
    assert_string_equal(json_text(last_body, "content"), "new");
    assert_int_equal(call("DELETE", &ann, NULL, "/api/v1/messages/%s", id), 200);
    assert_int_equal(call("GET", &ann, NULL, "/api/v1/messages/bob?limit=1"), 200);
    assert_string_equal(json_text(last_body, "content"), "");
    assert_non_null(strstr(last_body, "\"deleted\":true"));
    expect_error(call("DELETE", &ann, NULL, "/api/v1/messages/%s?for=all", id), 400, "invalid");
    expect_error(call("DELETE", &ann, NULL, "/api/v1/messages/77"), 404, "not_found");
}

/* A message that one may not see, one that never was: the same answer to the byte. */
static void test_api__hidden_and_unknown_messages_look_the_same(void **state)
{
    (void)state;
    static const char *const what[][2] = {
        {"DELETE", ""}, {"DELETE", "?for=me"}, {"PATCH", ""}, {"DELETE", "?for=everyone"}};
    char id[40];
    ten(id);
    uint64_t known = strtoull(id, NULL, 10);
    uint64_t unknown[] = {77, known + 1, known - (1U << 22), known + (1ULL << 62)};
    for (size_t i = 0; i < ARRAY_LEN(what); i++) {
        const char *json = what[i][0][0] == 'P' ? "{\"content\":\"x\"}" : NULL;
        expect_error(call(what[i][0], &eve, json, "/api/v1/messages/%s%s", id, what[i][1]), 404,
                     "not_found");
        char *hidden = strdup(last_body);
        for (size_t k = 0; k < ARRAY_LEN(unknown); k++) {
            assert_int_equal(call(what[i][0], &eve, json, "/api/v1/messages/%" PRIu64 "%s",
                                  unknown[k], what[i][1]),
                             404);
            assert_string_equal(last_body, hidden);
        }
        free(hidden);
    }
}

static void expect_range(const char *query, int first, int last, bool more)
{
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/%s?%s", ann.user, query), 200);
    assert_int_equal(count(last_body, "\"message_id\""), last - first + 1);
    const char *at = last_body;
    for (int i = first; i <= last; i++) {
        char want[32];
        snprintf(want, sizeof(want), "\"content\":\"m%d\"", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    assert_int_equal(strstr(last_body, "\"has_more\":true") != NULL, more);
    assert_int_equal(strstr(last_body, "\"hasMore\":true") != NULL, more);
    assert_int_equal(strstr(last_body, "\"next_cursor\":null") == NULL, more);
}

static void test_api__history(void **state)
{
    (void)state;
    char id[40];
    char query[100];
    ten(id);
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/ann?limit=1"), 200);
    uint64_t last = json_number_of(last_body, "seq");
    char when[40];
    snprintf(when, sizeof(when), "%s", json_text(last_body, "sent_at"));
    expect_range("limit=3", 7, 9, true);
    snprintf(query, sizeof(query), "before=%d&limit=4", (int)last - 2);
    expect_range(query, 3, 6, true);
    snprintf(query, sizeof(query), "before=%s&limit=2", id);
    expect_range(query, 7, 8, true);
    snprintf(query, sizeof(query), "before=%s&limit=2", when);
    expect_range(query, 7, 8, true);
    snprintf(query, sizeof(query), "after=%d", (int)last - 3);
    expect_range(query, 7, 9, false);
    snprintf(query, sizeof(query), "after=%d&limit=2", (int)last - 5);
    expect_range(query, 5, 6, true);
    snprintf(query, sizeof(query), "around=%d&limit=4", (int)last - 4);
    expect_range(query, 3, 7, true);
    snprintf(query, sizeof(query), "around=%s&limit=4", id);
    expect_range(query, 7, 9, true);
    expect_range("limit=3&offset=2", 5, 7, true);
    expect_range("limit=50&offset=0", 0, 9, false);
    /* Nothing is before the first event, and nothing after the last. */
    expect_range("before=1", 0, -1, false);
    expect_range("before=2", 0, -1, false);
    expect_range("before=1970-01-01T00:00:00Z", 0, -1, false);
    expect_range("before=2000-01-01T00:00:00Z", 0, -1, false);
    expect_range("after=1970-01-01T00:00:00Z", 0, 9, false);
    expect_range("after=1000", 0, -1, false);
}

static void test_api__history_under_one_name_each(void **state)
{
    (void)state;
    static const char *const first[] = {"message_id", "conversation_id", "seq",
                                        "sender_id",  "content",         "type",
                                        "sent_at",    "status",          "deleted"};
    static const char *const other[] = {"messageId",   "chatId",       "from",
                                        "fromUserId",  "message",      "text",
                                        "messageType", "message_type", "timestamp"};
    char id[40];
    ten(id);
    for (int aliases = 0; aliases < 2; aliases++) {
        assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/ann?limit=1000&aliases=%s",
                              aliases ? "true" : "false"),
                         200);
        char name[40];
        for (size_t i = 0; i < ARRAY_LEN(first); i++) {
            snprintf(name, sizeof(name), "\"%s\":", first[i]);
            assert_int_equal(count(last_body, name), 10);
        }
        for (size_t i = 0; i < ARRAY_LEN(other); i++) {
            snprintf(name, sizeof(name), "\"%s\":", other[i]);
            assert_int_equal(count(last_body, name), aliases ? 10 : 0);
        }
    }
    /* What has to be escaped is so under each name. */
    assert_int_equal(
        call("POST", &ann, "{\"to\":\"bob\",\"content\":\"a\\\"b\\\\\\n\"}", "/api/v1/messages"),
        201);
    rig_pass(rig, 10);
    assert_int_equal(call("GET", &bob, NULL, "/api/v1/messages/ann?limit=1"), 200);
    assert_non_null(strstr(last_body, "\"content\":\"a\\\"b\\\\\\n\",\"message\":\"a\\\"b\\\\\\n\","
                                      "\"text\":\"a\\\"b\\\\\\n\",\"type\":\"text\""));
}

static void test_api__history_errors(void **state)
{
    (void)state;
    char id[40];
    ten(id);
    static const char *const bad[] = {"limit=0",           "limit=x",         "before=x",
                                      "before=1&after=1",  "around=-1",       "offset=x",
                                      "before=5&offset=1", "limit=1&limit=2", "before=%ff",
                                      "aliases=1",         "changes=yes"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        expect_error(call("GET", &bob, NULL, "/api/v1/messages/ann?%s", bad[i]), 400, "invalid");
    }
    expect_error(call("GET", &eve, NULL, "/api/v1/messages/ann"), 404, "not_found");
    expect_error(call("GET", &eve, NULL, "/api/v1/messages/nobody"), 404, "not_found");
    expect_error(
        call("GET", &eve, NULL, "/api/v1/conversations/0123456789abcdef0123456789abcdef/messages"),
        404, "not_found");
}

static void test_api__mark_as_read(void **state)
{
    (void)state;
    char id[40];
    char json[100];
    ten(id);
    snprintf(json, sizeof(json), "{\"message_ids\":[\"%s\"]}", id);
    assert_int_equal(call("POST", &bob, json, "/api/v1/messages/read"), 200);
    assert_string_equal(last_body, "{}");
    struct client *b = ws_open(rig, 0, bob.token);
    ws_send(b, "{\"event\":\"resume\"}");
    assert_non_null(strstr(ws_expect(b, "conversations"), "\"unread\":0"));
    client_drop(b);
    assert_int_equal(call("POST", &bob, "{\"message_ids\":[]}", "/api/v1/messages/read"), 200);
    expect_error(call("POST", &bob, "{}", "/api/v1/messages/read"), 400, "invalid");
    expect_error(call("POST", &eve, json, "/api/v1/messages/read"), 404, "not_found");
}

static void test_api__mute_pin_block(void **state)
{
    (void)state;
    char id[40];
    char conv[40];
    ten(id);
    rig_pass(rig, 2000);
    snprintf(conv, sizeof(conv), "%s", json_text(last_body, "conversation_id"));
    assert_int_equal(call("PUT", &bob, "{\"until\":\"2030-01-01T00:00:00Z\"}",
                          "/api/v1/conversations/%s/mute", conv),
                     200);
    assert_int_equal(call("PUT", &bob, "{\"pinned\":true}", "/api/v1/conversations/%s/pin", conv),
                     200);
    struct client *b = ws_open(rig, 0, bob.token);
    ws_send(b, "{\"event\":\"resume\"}");
    const char *f = ws_expect(b, "conversations");
    assert_non_null(strstr(f, "\"muted\":true,\"pinned\":true"));
    client_drop(b);
    assert_int_equal(call("PUT", &bob, "{\"until\":null}", "/api/v1/conversations/%s/mute", conv),
                     200);
    expect_error(call("PUT", &bob, "{}", "/api/v1/conversations/%s/mute", conv), 400, "invalid");
    expect_error(call("PUT", &bob, "{\"until\":\"soon\"}", "/api/v1/conversations/%s/mute", conv),
                 400, "invalid");
    expect_error(call("PUT", &bob, "{\"pinned\":1}", "/api/v1/conversations/%s/pin", conv), 400,
                 "invalid");
    expect_error(call("PUT", &eve, "{\"pinned\":true}", "/api/v1/conversations/%s/pin", conv), 404,
                 "not_found");
    assert_int_equal(call("PUT", &bob, NULL, "/api/v1/blocks/ann"), 200);
    rig_pass(rig, 2000);
    expect_error(call("POST", &ann, "{\"to\":\"bob\",\"content\":\"x\"}", "/api/v1/messages"), 403,
                 "blocked");
    assert_int_equal(call("DELETE", &bob, NULL, "/api/v1/blocks/%s", ann.user), 200);
    rig_pass(rig, 2000);
    assert_int_equal(call("POST", &ann, "{\"to\":\"bob\",\"content\":\"x\"}", "/api/v1/messages"),
                     201);
    expect_error(call("PUT", &bob, NULL, "/api/v1/blocks/nobody"), 404, "not_found");
}

static void tiny_caches(struct shard_config *cfg)
{
    cfg->users_cache = 2;
}

static void test_api__tiny_caches(void **state)
{
    (void)state;
    struct account who[6];
    struct rig *small = rig_new(1, tiny_caches);
    struct client *c = client_new(small, 0);
    for (int i = 0; i < 6; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(small, name, &who[i]);
    }
    for (int i = 0; i < 60; i++) {
        char json[200];
        char *body = NULL;
        int from = i * 5 % 6;
        int to = (i * 7 + 1) % 6;
        snprintf(json, sizeof(json), "{\"to\":\"%s\",\"content\":\"x\",\"client_msg_id\":\"%d\"}",
                 i % 2 ? who[to].name : who[to].user, i);
        assert_int_equal(http(c, "POST", "/api/v1/messages", who[from].token, json, NULL), 201);
        assert_int_equal(http(c, "GET", "/api/v1/users/me", who[to].token, NULL, &body), 200);
        assert_string_equal(json_text(body, "user_id"), who[to].user);
        free(body);
    }
    assert_true(u64map_len(&small->shards[0]->users.by_id) <= 2);
    assert_true(u64map_len(&small->shards[0]->users.by_name) <= 2);
    client_drop(c);
    rig_free(small);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_api__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(group_life),
        T(group_errors),
        T(group_with_too_many_members),
        T(send_in_every_spelling),
        T(send_errors),
        T(repeat),
        T(edit_and_delete),
        T(hidden_and_unknown_messages_look_the_same),
        T(history),
        T(history_under_one_name_each),
        T(history_errors),
        T(mark_as_read),
        T(mute_pin_block),
        T(tiny_caches),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(last_body);
    return failed;
}
