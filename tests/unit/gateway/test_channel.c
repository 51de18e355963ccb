/* Large conversations: who gets the frame, who a counter, how often, and what lies in between. */
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
static struct account dan;
static char group[40];

static void call(const struct account *a, const char *method, const char *path, const char *json)
{
    struct client *h = client_new(rig, 0);
    assert_in_range(http(h, method, path, a->token, json, NULL), 200, 201);
    client_drop(h);
    rig_settle(rig);
}

static void large(struct shard_config *cfg)
{
    cfg->large_members = 2;
}

static int setup_with(void (*tune)(struct shard_config *cfg))
{
    char *body = NULL;
    rig = rig_new(2, tune);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "eve", &eve);
    account_make(rig, "dan", &dan);
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/groups", ann.token,
                          "{\"name\":\"g\",\"members\":[\"bob\",\"eve\"],"
                          "\"settings\":{\"history\":\"joined\"}}",
                          &body),
                     201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    client_drop(h);
    rig_pass(rig, 2500); /* nobody is here who would have to be told of that */
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(large);
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

static void view(struct client *c, const char *conv)
{
    char json[120];
    snprintf(json, sizeof(json), "{\"event\":\"view\",\"conversation_ids\":[%s%s%s]}",
             conv ? "\"" : "", conv ? conv : "", conv ? "\"" : "");
    ws_send(c, json);
    rig_settle(rig);
}

static void say(struct client *c, const char *text, const char *mention)
{
    char json[300];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"conversation_id\":\"%s\",\"content\":\"%s\","
             "\"client_msg_id\":\"%s\"%s%s%s}",
             group, text, text, mention ? ",\"mentions\":[\"" : "", mention ? mention : "",
             mention ? "\"]" : "");
    ws_send(c, json);
    rig_settle(rig);
}

/* What has come, of frames with that event; the last of them stays in `last`. */
static char last[2000];
static int count(struct client *c, const char *event)
{
    char begin[60];
    const char *f;
    int n = 0;
    snprintf(begin, sizeof(begin), "{\"event\":\"%s\"", event);
    rig_settle(rig);
    while ((f = ws_next(c)) != NULL) {
        assert_null(strstr(f, "\"event\":\"error\""));
        assert_null(strstr(f, "\"event\":\"resync\""));
        if (strncmp(f, begin, strlen(begin)) == 0) {
            n++;
            snprintf(last, sizeof(last), "%s", f);
        }
    }
    return n;
}

static void test_channel__who_looks_gets_the_frame(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *a2 = ws_live(rig, 1, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    struct client *e = ws_live(rig, 0, &eve, NULL);
    struct client *d = ws_live(rig, 0, &dan, NULL);
    view(b, group);
    view(d, group); /* no member */
    say(a, "one", NULL);
    assert_int_equal(count(b, "new_message"), 1);
    assert_string_equal(json_text(last, "content"), "one");
    uint64_t seq = json_number_of(last, "seq");
    char id[30];
    snprintf(id, sizeof(id), "%s", json_text(last, "event_id"));
    assert_int_equal(count(a2, "new_message"), 1); /* own devices have it */
    rig_pass(rig, 50);
    assert_int_equal(count(e, "counter"), 1);
    assert_string_equal(json_text(last, "conversation_id"), group);
    assert_int_equal(json_number_of(last, "seq"), seq);
    assert_string_equal(json_text(last, "event_id"), id);
    assert_int_equal(json_number_of(last, "messages"), 1);
    assert_int_equal(json_number_of(last, "members"), 3);
    assert_string_equal(json_text(last, "last_message_id"), id);
    assert_string_equal(json_text(last, "content"), "one");
    assert_string_equal(json_text(last, "from"), ann.user);
    rig_pass(rig, 3000);
    assert_int_equal(count(e, "new_message"), 0);
    assert_int_equal(count(b, "counter"), 0);
    assert_int_equal(count(d, "new_message"), 0);
    assert_int_equal(count(d, "counter"), 0);
    assert_int_equal(rig_total(rig, METRIC_LARGE_EVENTS), 2); /* each shard took it once */
    /* When all is told nothing is remembered. */
    assert_int_equal(idmap_len(&rig->shards[0]->channels.by_conv), 0);
    assert_int_equal(idmap_len(&rig->shards[1]->channels.by_conv), 0);
    assert_true(channels_next_ms(rig->shards[0]) == UINT64_MAX);
    client_drop(a);
    client_drop(a2);
    client_drop(b);
    client_drop(e);
    client_drop(d);
}

static void test_channel__one_counter_a_second(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    char text[12];
    int n = 0;
    for (int i = 0; i < 60; i++) { /* 3 s */
        snprintf(text, sizeof(text), "%d", i);
        say(a, text, NULL);
        rig_pass(rig, 50);
        n += count(b, "counter");
    }
    assert_in_range(n, 2, 4);
    rig_pass(rig, 2000);
    n += count(b, "counter");
    assert_in_range(n, 3, 5);
    assert_int_equal(json_number_of(last, "messages"), 60);
    assert_string_equal(json_text(last, "content"), "59");
    client_drop(a);
    client_drop(b);
}

/* Whoever begins to look is told what went by; from then on everything comes. */
static void test_channel__nothing_is_lost_at_the_seam(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    say(a, "one", NULL);
    rig_pass(rig, 100);
    assert_int_equal(count(b, "counter"), 1);
    uint64_t seq = json_number_of(last, "seq");
    say(a, "two", NULL);
    assert_int_equal(count(b, "counter"), 0); /* not yet due */
    view(b, group);
    assert_int_equal(count(b, "counter"), 1);
    assert_int_equal(json_number_of(last, "seq"), seq + 1);
    view(b, group); /* the same again is no news */
    assert_int_equal(count(b, "counter"), 0);
    say(a, "three", NULL);
    assert_int_equal(count(b, "new_message"), 1);
    assert_int_equal(json_number_of(last, "seq"), seq + 2);
    view(b, NULL);
    say(a, "four", NULL);
    assert_int_equal(count(b, "new_message"), 0);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 1);
    assert_int_equal(json_number_of(last, "seq"), seq + 3);
    /* With everything told, looking costs nothing. */
    view(b, group);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 0);
    client_drop(a);
    client_drop(b);
}

static void test_channel__whom_it_is_about(void **state)
{
    (void)state;
    char path[100];
    char json[100];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    struct client *e = ws_live(rig, 0, &eve, NULL);
    struct client *d = ws_live(rig, 1, &dan, NULL);
    say(a, "bob", bob.user);
    assert_int_equal(count(b, "new_message"), 1);
    assert_int_equal(count(e, "new_message"), 0);
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members", group);
    snprintf(json, sizeof(json), "{\"user_ids\":[\"%s\"]}", dan.user);
    call(&ann, "POST", path, json);
    assert_int_equal(count(d, "membership"), 1);
    assert_int_equal(count(a, "membership"), 1);
    assert_int_equal(count(b, "membership"), 0);
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members/bob", group);
    call(&ann, "DELETE", path, NULL);
    assert_int_equal(count(b, "membership"), 1);
    rig_pass(rig, 3000);
    (void)count(b, "counter"); /* of what he could see he may be told */
    say(a, "without him", NULL);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 0);
    assert_true(count(d, "counter") > 0);
    assert_int_equal(count(d, "new_message"), 0);
    client_drop(a);
    client_drop(b);
    client_drop(e);
    client_drop(d);
}

/* What the last message says is told only to those who may all read it. */
static void test_channel__no_preview_of_what_was_before(void **state)
{
    (void)state;
    char path[100];
    char json[100];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *d = ws_live(rig, 1, &dan, NULL);
    say(a, "secret", NULL);
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members", group);
    snprintf(json, sizeof(json), "{\"user_ids\":[\"%s\"]}", dan.user);
    call(&ann, "POST", path, json);
    snprintf(path, sizeof(path), "/api/v1/groups/%s", group);
    call(&ann, "PATCH", path, "{\"name\":\"other\"}");
    const char *f;
    int counters = 0;
    int names = 0;
    rig_pass(rig, 3000);
    while ((f = ws_next(d)) != NULL) {
        counters += strstr(f, "\"event\":\"counter\"") != NULL;
        names += strstr(f, "\"name\":\"other\"") != NULL;
        assert_null(strstr(f, "secret"));
    }
    assert_true(counters > 0);
    assert_int_equal(names, 1); /* in everybody's list */
    client_drop(a);
    client_drop(d);
}

static void test_channel__deleted_and_edited(void **state)
{
    (void)state;
    char path[100];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    say(a, "first", NULL);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 1);
    char id[30];
    snprintf(id, sizeof(id), "%s", json_text(last, "event_id"));
    snprintf(path, sizeof(path), "/api/v1/messages/%s", id);
    call(&ann, "PATCH", path, "{\"content\":\"second\"}");
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 1);
    assert_string_equal(json_text(last, "content"), "second");
    assert_string_equal(json_text(last, "last_message_id"), id);
    call(&ann, "DELETE", path, NULL);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 1);
    assert_null(strstr(last, "\"preview\""));
    assert_null(strstr(last, "\"last_message_id\""));
    assert_int_equal(json_number_of(last, "messages"), 1);
    client_drop(a);
    client_drop(b);
}

static void test_channel__a_row_says_how_many(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    say(a, "one", NULL);
    say(a, "two", NULL);
    struct client *b = ws_open(rig, 1, bob.token);
    ws_send(b, "{\"event\":\"resume\"}");
    rig_pass(rig, 50);
    const char *f = ws_expect(b, "conversations");
    assert_int_equal(json_number_of(strstr(f, group), "messages"), 2);
    client_drop(a);
    client_drop(b);
}

static void never(struct shard_config *cfg)
{
    cfg->large_members = 0;
}

static int setup_never(void **state)
{
    (void)state;
    return setup_with(never);
}

static void test_channel__never(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    say(a, "one", NULL);
    assert_int_equal(count(b, "new_message"), 1);
    rig_pass(rig, 3000);
    assert_int_equal(count(b, "counter"), 0);
    assert_int_equal(rig_total(rig, METRIC_LARGE_EVENTS), 0);
    client_drop(a);
    client_drop(b);
}

static void slow_pace(struct shard_config *cfg)
{
    large(cfg);
    cfg->counters_second = 20;
    cfg->fanout_chunk = 2;
}

static int setup_slow(void **state)
{
    (void)state;
    return setup_with(slow_pace);
}

enum { MANY = 40 };

/* Many sessions: no more counters than that, each session once, and nobody is left out. */
static void test_channel__paced(void **state)
{
    (void)state;
    struct client *many[MANY];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    for (int i = 0; i < MANY; i++) {
        many[i] = ws_live(rig, 1, i % 2 ? &bob : &eve, NULL);
    }
    int64_t before = rig_total(rig, METRIC_COUNTERS);
    say(a, "one", NULL);
    rig_pass(rig, 1000);
    int64_t sent = rig_total(rig, METRIC_COUNTERS) - before;
    assert_in_range(sent, 10, 25);
    rig_pass(rig, 2000);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(count(many[i], "counter"), 1);
        client_drop(many[i]);
    }
    client_drop(a);
}

/* More who look than one chunk: all get all, in order. */
static void test_channel__many_look(void **state)
{
    (void)state;
    struct client *many[MANY];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    for (int i = 0; i < MANY; i++) {
        many[i] = ws_live(rig, 1, i % 2 ? &bob : &eve, NULL);
        view(many[i], group);
    }
    say(a, "one", NULL);
    view(many[0], NULL); /* what was said before is not taken away */
    say(a, "two", NULL);
    say(a, "three", NULL);
    rig_pass(rig, 4000);
    for (int i = 0; i < MANY; i++) {
        assert_int_equal(count(many[i], "new_message"), i == 0 ? 1 : 3);
        assert_string_equal(json_text(last, "content"), i == 0 ? "one" : "three");
        client_drop(many[i]);
    }
    client_drop(a);
}

#define T(name) cmocka_unit_test_setup_teardown(test_channel__##name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(who_looks_gets_the_frame),
        T(one_counter_a_second),
        T(nothing_is_lost_at_the_seam),
        T(whom_it_is_about),
        T(no_preview_of_what_was_before),
        T(deleted_and_edited),
        T(a_row_says_how_many),
        cmocka_unit_test_setup_teardown(test_channel__never, setup_never, teardown),
        cmocka_unit_test_setup_teardown(test_channel__paced, setup_slow, teardown),
        cmocka_unit_test_setup_teardown(test_channel__many_look, setup_slow, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
