/* Views and typing: who is told, how often, and what is dropped first. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/session.h"
#include "rig.h"

static struct rig *rig;
static struct account ann;
static struct account bob;
static struct account eve;
static char direct[40];
static char group[40];

static int setup_with(void (*tune)(struct shard_config *cfg))
{
    char *body = NULL;
    rig = rig_new(2, tune);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "eve", &eve);
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/messages", ann.token,
                          "{\"toUserId\":\"bob\",\"message\":\"hi\"}", &body),
                     201);
    snprintf(direct, sizeof(direct), "%s", json_text(body, "conversation_id"));
    free(body);
    assert_int_equal(http(h, "POST", "/api/v1/groups", ann.token,
                          "{\"name\":\"g\",\"members\":[\"bob\"]}", &body),
                     201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    client_drop(h);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(NULL);
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

static void call(const struct account *a, const char *method, const char *path, const char *json,
                 int status)
{
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, method, path, a->token, json, NULL), status);
    client_drop(h);
    rig_pass(rig, 50);
}

static void view(struct client *c, const char *conv)
{
    char json[120];
    snprintf(json, sizeof(json), "{\"event\":\"view\",\"conversation_ids\":[%s%s%s]}",
             conv ? "\"" : "", conv ? conv : "", conv ? "\"" : "");
    ws_send(c, json);
}

static void typing(struct client *c, const char *key, const char *target, bool active)
{
    char json[160];
    snprintf(json, sizeof(json), "{\"event\":\"typing\",\"%s\":\"%s\"%s}", key, target,
             active ? "" : ",\"active\":false");
    ws_send(c, json);
}

/* Does a frame of typing come? Passes over others. */
static const char *told(struct client *c)
{
    const char *f;
    rig_settle(rig);
    while ((f = ws_next(c)) != NULL) {
        if (strncmp(f, "{\"event\":\"typing\"", 17) == 0) {
            return f;
        }
        assert_null(strstr(f, "\"event\":\"error\""));
    }
    return NULL;
}

static void test_look__typing_reaches_who_views(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    struct client *b2 = ws_live(rig, 0, &bob, NULL);
    struct client *e = ws_live(rig, 1, &eve, NULL);
    view(b, direct);
    view(e, direct); /* no member: left out */
    view(a, direct);
    typing(a, "conversation_id", direct, true);
    const char *f = told(b);
    assert_non_null(f);
    assert_string_equal(json_text(f, "user_id"), ann.user);
    assert_string_equal(json_text(f, "conversation_id"), direct);
    assert_non_null(strstr(f, "\"active\":true"));
    assert_int_equal(json_number_of(f, "expires_in_ms"), 6000);
    assert_null(told(e));
    assert_null(told(a));
    assert_null(told(b2)); /* it looks elsewhere */
    typing(a, "to", "bob", false);
    f = told(b);
    assert_non_null(f);
    assert_non_null(strstr(f, "\"active\":false"));
    assert_null(strstr(f, "expires_in_ms"));
    client_drop(a);
    client_drop(b);
    client_drop(b2);
    client_drop(e);
}

static void test_look__a_view_replaces_the_one_before(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    view(b, direct);
    view(b, group);
    typing(a, "conversation_id", direct, true);
    assert_null(told(b));
    typing(a, "group_id", group, true);
    assert_non_null(told(b));
    view(b, NULL);
    rig_pass(rig, 4000);
    typing(a, "conversation_id", group, true);
    assert_null(told(b));
    assert_int_equal(atomic_load(&rig->shards[1]->looks.nviews), 0);
    client_drop(a);
    client_drop(b);
}

static void test_look__views_end_with_their_session(void **state)
{
    (void)state;
    struct client *b = ws_live(rig, 1, &bob, NULL);
    view(b, direct);
    rig_settle(rig);
    assert_int_equal(atomic_load(&rig->shards[1]->looks.nviews), 1);
    client_drop(b);
    rig_settle(rig);
    assert_int_equal(atomic_load(&rig->shards[1]->looks.nviews), 0);
    assert_int_equal(u64map_len(&rig->shards[1]->looks.by_conn), 0);
    assert_int_equal(idmap_len(&rig->shards[1]->looks.by_conv), 0);
}

static void test_look__nothing_before_resume(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_open(rig, 0, bob.token);
    ws_expect(b, "hello");
    view(b, direct);
    typing(a, "to", "bob", true);
    assert_null(told(b));
    client_drop(a);
    client_drop(b);
}

static void test_look__throttled(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    int n = 0;
    view(b, direct);
    for (int i = 0; i < 60; i++) { /* 12 s */
        typing(a, i % 2 ? "conversation_id" : "to", i % 2 ? direct : "bob", true);
        rig_pass(rig, 200);
        n += told(b) != NULL;
    }
    assert_int_equal(n, 4);
    /* Beginning and ending in turns is no way around it. */
    rig_pass(rig, 6000);
    n = 0;
    for (int i = 0; i < 30; i++) { /* 6 s */
        typing(a, "conversation_id", direct, i % 2 == 0);
        rig_pass(rig, 200);
        n += told(b) != NULL;
    }
    assert_int_equal(n, 4);
    assert_true(rig_total(rig, METRIC_TYPING_THROTTLED) >= 80);
    client_drop(a);
    client_drop(b);
}

/* A message ends what was told: what is typed after it is told at once. */
static void test_look__a_message_begins_it_anew(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    view(b, direct);
    typing(a, "conversation_id", direct, true);
    assert_non_null(told(b));
    typing(a, "conversation_id", direct, true);
    assert_null(told(b));
    ws_send(
        a, "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"1\",\"client_msg_id\":\"1\"}");
    typing(a, "conversation_id", direct, true);
    assert_non_null(told(b));
    char json[160];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"conversation_id\":\"%s\",\"content\":\"2\","
             "\"client_msg_id\":\"2\"}",
             direct);
    ws_send(a, json);
    typing(a, "to", "bob", true);
    assert_non_null(told(b));
    /* A message elsewhere ends nothing here. */
    ws_send(
        a, "{\"event\":\"send_message\",\"to\":\"eve\",\"content\":\"3\",\"client_msg_id\":\"3\"}");
    typing(a, "conversation_id", direct, true);
    assert_null(told(b));
    client_drop(a);
    client_drop(b);
}

static void test_look__typing_in_many_places_is_bounded(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    char conv[40];
    int64_t before = rig_total(rig, METRIC_TYPING_THROTTLED);
    for (int i = 0; i < 20; i++) {
        snprintf(conv, sizeof(conv), "%032x", i + 1);
        typing(a, "conversation_id", conv, true);
    }
    rig_settle(rig);
    assert_int_equal(rig_total(rig, METRIC_TYPING_THROTTLED) - before, 20 - LOOK_TYPING_MAX);
    client_drop(a);
}

static void test_look__nobody_blocked_is_told(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    view(b, direct);
    view(a, direct);
    call(&bob, "PUT", "/api/v1/blocks/ann", NULL, 200);
    typing(a, "conversation_id", direct, true);
    typing(b, "conversation_id", direct, true);
    assert_null(told(b));
    assert_null(told(a));
    client_drop(a);
    client_drop(b);
}

static void test_look__nobody_who_left_is_told(void **state)
{
    (void)state;
    char path[100];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    view(b, group);
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members/bob", group);
    call(&ann, "DELETE", path, NULL, 200);
    typing(a, "conversation_id", group, true);
    assert_null(told(b));
    typing(b, "conversation_id", group, true); /* nor may he tell */
    assert_null(told(a));
    client_drop(a);
    client_drop(b);
}

static void test_look__an_unknown_name_is_no_answer(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    typing(a, "to", "nobody", true);
    typing(a, "to", "not a name", true);
    typing(a, "to", "ann", true);
    assert_null(told(a));
    ws_send(a, "{\"event\":\"typing\",\"conversation_id\":\"x\"}");
    const char *f = ws_expect(a, "error");
    assert_string_equal(json_text(f, "ref"), "typing");
    assert_string_equal(json_text(f, "field"), "conversation_id");
    client_drop(a);
}

static void small_queue(struct shard_config *cfg)
{
    cfg->queue_frames_max = 16;
}

static int setup_small(void **state)
{
    (void)state;
    return setup_with(small_queue);
}

static void test_look__dropped_before_anything_else(void **state)
{
    (void)state;
    struct client *b = ws_live(rig, 0, &bob, NULL);
    struct shard *s = rig->shards[0];
    struct conn *c = session_of_user(s, strtoull(bob.user, NULL, 10));
    struct frame *f = frame_new(NULL, span_str("x"));
    assert_non_null(c);
    for (int i = 0; i < 4; i++) {
        assert_true(session_deliver_ephemeral(s, c, f));
    }
    for (int i = 0; i < 3; i++) {
        assert_false(session_deliver_ephemeral(s, c, f));
    }
    assert_int_equal(rig_total(rig, METRIC_EPHEMERAL_DROPPED), 3);
    assert_true(c->flags & CONN_LIVE); /* and it is no slow reader for that */
    session_deliver(s, c, f);
    assert_true(c->flags & CONN_LIVE);
    assert_int_equal(c->out_frames, 5);
    frame_unref(f);
    client_drop(b);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_look__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(typing_reaches_who_views),
        CASE(a_view_replaces_the_one_before),
        CASE(views_end_with_their_session),
        CASE(nothing_before_resume),
        CASE(throttled),
        CASE(a_message_begins_it_anew),
        CASE(typing_in_many_places_is_bounded),
        CASE(nobody_blocked_is_told),
        CASE(nobody_who_left_is_told),
        CASE(an_unknown_name_is_no_answer),
        cmocka_unit_test_setup_teardown(test_look__dropped_before_anything_else, setup_small,
                                        teardown),
    };
    return cmocka_run_group_tests_name("look", tests, NULL, NULL);
}
