/* Presence over the shards: who is told what of whom, and nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/session.h"
#include "gateway/watch.h"
#include "rig.h"

static struct rig *rig;
static struct account ann;
static struct account bob;
static struct account eve; /* with nobody */
static char group[40];

static int setup_with(uint16_t shards, void (*tune)(struct shard_config *cfg))
{
    char *body = NULL;
    rig = rig_new(shards, tune);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "eve", &eve);
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/groups", ann.token,
                          "{\"name\":\"g\",\"members\":[\"bob\"]}", &body),
                     201);
    snprintf(group, sizeof(group), "%s", json_text(body, "group_id"));
    free(body);
    client_drop(h);
    rig_pass(rig, 100);
    return 0;
}

static int setup(void **state)
{
    (void)state;
    return setup_with(3, NULL);
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
    rig_pass(rig, 100);
}

static void subscribe(struct client *c, const struct account *a)
{
    char json[120];
    snprintf(json, sizeof(json), "{\"event\":\"subscribe_presence\",\"user_ids\":[\"%s\"]}",
             a->user);
    ws_send(c, json);
    rig_pass(rig, 100);
}

/* What came of that user, as a letter each: n(online), w, f; with a time in capitals. */
static const char *told(struct client *c, const struct account *of)
{
    static char text[64];
    const char *f;
    size_t n = 0;
    rig_settle(rig);
    while ((f = ws_next(c)) != NULL) {
        if (strncmp(f, "{\"event\":\"presence_update\"", 26) == 0 &&
            strcmp(json_text(f, "user_id"), of->user) == 0) {
            char ch = json_text(f, "status")[1];
            bool timed = strstr(f, "\"last_seen\":null") == NULL;
            text[n++] = (char)(timed ? ch - 'a' + 'A' : ch);
        }
    }
    text[n] = 0;
    return text;
}

static const char *asked(const struct account *by, const char *whom)
{
    static char text[40];
    char path[100];
    char *body = NULL;
    snprintf(path, sizeof(path), "/api/v1/users/%s/presence", whom);
    struct client *h = client_new(rig, 1);
    int status = http(h, "GET", path, by->token, NULL, &body);
    client_drop(h);
    if (status != 200) {
        snprintf(text, sizeof(text), "%d", status);
    } else {
        snprintf(text, sizeof(text), "%s%s", json_text(body, "status"),
                 strstr(body, "\"last_seen\":null") ? "" : "+");
    }
    free(body);
    return text;
}

static void test_presence__transitions_reach_who_subscribed(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "f");
    struct client *b = ws_live(rig, 1, &bob, NULL);
    rig_pass(rig, 100);
    assert_string_equal(told(a, &bob), "n");
    rig_pass(rig, 1100);
    ws_send(b, "{\"event\":\"presence\",\"status\":\"away\"}");
    rig_pass(rig, 100);
    assert_string_equal(told(a, &bob), "W");
    rig_pass(rig, 1100);
    ws_send(b, "{\"event\":\"view\",\"conversation_ids\":[]}"); /* something done */
    rig_pass(rig, 100);
    assert_string_equal(told(a, &bob), "n");
    /* A second device keeps him online; a reload is no flap. */
    struct client *b2 = ws_live(rig, 2, &bob, NULL);
    client_drop(b);
    rig_pass(rig, 15000);
    assert_string_equal(told(a, &bob), "");
    client_drop(b2);
    rig_pass(rig, 5000);
    b = ws_live(rig, 0, &bob, NULL);
    rig_pass(rig, 15000);
    assert_string_equal(told(a, &bob), "");
    client_drop(b);
    rig_pass(rig, 9000);
    assert_string_equal(told(a, &bob), "");
    rig_pass(rig, 2000);
    assert_string_equal(told(a, &bob), "F");
    /* Not any more. */
    ws_send(a, "{\"event\":\"unsubscribe_presence\"}");
    b = ws_live(rig, 0, &bob, NULL);
    rig_pass(rig, 1000);
    assert_string_equal(told(a, &bob), "");
    client_drop(a);
    client_drop(b);
    rig_pass(rig, 100);
    for (uint16_t i = 0; i < rig->n; i++) {
        assert_int_equal(u64map_len(&rig->shards[i]->watches.people), 0);
        assert_int_equal(u64map_len(&rig->shards[i]->presences.watched), 0);
    }
}

static void test_presence__nobody_else_is_told(void **state)
{
    (void)state;
    struct client *e = ws_live(rig, 1, &eve, NULL);
    struct client *a = ws_live(rig, 2, &ann, NULL); /* does not subscribe */
    subscribe(e, &bob);
    assert_string_equal(told(e, &bob), "f");
    struct client *b = ws_live(rig, 0, &bob, NULL);
    rig_pass(rig, 1100);
    ws_send(b, "{\"event\":\"presence\",\"status\":\"away\"}");
    rig_pass(rig, 1100);
    client_drop(b);
    rig_pass(rig, 12000);
    assert_string_equal(told(e, &bob), "");
    assert_string_equal(told(a, &bob), "");
    /* As of somebody who does not exist. */
    struct account nobody = {.user = "77"};
    subscribe(e, &nobody);
    assert_string_equal(told(e, &nobody), "f");
    assert_string_equal(asked(&eve, "77"), "offline");
    assert_string_equal(asked(&eve, bob.user), "offline");
    assert_string_equal(asked(&ann, bob.user), "offline+");
    assert_string_equal(asked(&ann, "nobody"), "404");
    client_drop(a);
    client_drop(e);
}

static void test_presence__blocking_and_leaving_show_at_once(void **state)
{
    (void)state;
    char path[100];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    subscribe(a, &bob);
    subscribe(b, &ann);
    assert_string_equal(told(a, &bob), "n");
    assert_string_equal(told(b, &ann), "n");
    call(&bob, "PUT", "/api/v1/blocks/ann", NULL, 200);
    assert_string_equal(told(a, &bob), "f");
    assert_string_equal(told(b, &ann), "f"); /* either way */
    assert_string_equal(asked(&ann, "bob"), "offline");
    call(&bob, "DELETE", "/api/v1/blocks/ann", NULL, 200);
    assert_string_equal(told(a, &bob), "n");
    assert_string_equal(told(b, &ann), "n");
    snprintf(path, sizeof(path), "/api/v1/groups/%s/members/bob", group);
    call(&ann, "DELETE", path, NULL, 200);
    rig_pass(rig, 1000);
    assert_string_equal(told(a, &bob), "f");
    assert_string_equal(told(b, &ann), "f");
    call(&ann, "POST", "/api/v1/messages", "{\"toUserId\":\"bob\",\"message\":\"hi\"}", 201);
    rig_pass(rig, 1000);
    assert_string_equal(told(a, &bob), "n");
    assert_string_equal(told(b, &ann), "n");
    client_drop(a);
    client_drop(b);
}

/* A message or an edit over REST is something done: on the device's session, or without one. */
static void test_presence__sends_over_rest_count(void **state)
{
    (void)state;
    char *body = NULL;
    char path[80];
    const char *message = "{\"toUserId\":\"ann\",\"message\":\"hi\"}";
    struct client *a = ws_live(rig, 0, &ann, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "f");
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/messages", bob.token, message, &body), 201);
    client_drop(h);
    rig_pass(rig, 100);
    assert_string_equal(told(a, &bob), "n");
    rig_pass(rig, 50000);
    ws_send(a, "{\"event\":\"heartbeat\"}");
    snprintf(path, sizeof(path), "/api/v1/messages/%s", json_text(body, "message_id"));
    free(body);
    call(&bob, "PATCH", path, "{\"content\":\"hey\"}", 200);
    for (int i = 0; i < 11; i++) { /* a minute from then, not from the first */
        rig_pass(rig, 5000);
        ws_send(a, "{\"event\":\"heartbeat\"}");
    }
    assert_string_equal(told(a, &bob), "");
    rig_pass(rig, 6000);
    assert_string_equal(told(a, &bob), "F");
    /* What is refused before anybody decides is nothing. */
    call(&bob, "POST", "/api/v1/messages", "{\"toUserId\":\"ann\"}", 400);
    assert_string_equal(told(a, &bob), "");
    /* With a session that says away: done is done. */
    struct client *b = ws_live(rig, 0, &bob, NULL);
    ws_send(b, "{\"event\":\"presence\",\"status\":\"away\"}");
    rig_pass(rig, 2000);
    assert_string_equal(told(a, &bob), "nW");
    call(&bob, "POST", "/api/v1/messages", message, 201);
    rig_pass(rig, 2000);
    assert_string_equal(told(a, &bob), "n");
    client_drop(a);
    client_drop(b);
}

/*
 * Who hides what (a: ann, b: bob; o: online, l: last seen), and what ann is told of bob, live and
 * when she asks: online; then away.
 */
struct row {
    const char *ann;
    const char *bob;
    const char *online;
    const char *away;
};
static const struct row rows[] = {
    {"", "", "n", "W"}, {"", "l", "n", "w"}, {"l", "", "n", "w"},  {"", "o", "f", ""},
    {"o", "", "f", ""}, {"o", "o", "f", ""}, {"l", "l", "n", "w"}, {"", "lo", "f", ""},
};

static void hide(const struct account *a, const char *what)
{
    char json[100];
    snprintf(json, sizeof(json), "{\"privacy\":{\"online\":%s,\"last_seen\":%s}}",
             strchr(what, 'o') ? "false" : "true", strchr(what, 'l') ? "false" : "true");
    call(a, "PATCH", "/api/v1/users/me", json, 200);
}

static void test_presence__privacy_matrix(void **state)
{
    (void)state;
    struct client *b = ws_live(rig, 1, &bob, NULL);
    struct client *b2 = ws_live(rig, 2, &bob, NULL);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct client *a = ws_live(rig, 0, &ann, NULL);
        hide(&ann, rows[i].ann);
        hide(&bob, rows[i].bob);
        ws_send(b, "{\"event\":\"presence\",\"status\":\"online\"}");
        ws_send(b2, "{\"event\":\"presence\",\"status\":\"online\"}");
        rig_pass(rig, 2500);
        subscribe(a, &bob);
        (void)told(b2, &bob);
        subscribe(b2, &bob);
        assert_string_equal(told(a, &bob), rows[i].online);
        assert_string_equal(told(b2, &bob), "n"); /* of oneself: everything */
        ws_send(b, "{\"event\":\"presence\",\"status\":\"away\"}");
        ws_send(b2, "{\"event\":\"presence\",\"status\":\"away\"}");
        rig_pass(rig, 2500);
        assert_string_equal(told(a, &bob), rows[i].away);
        assert_string_equal(told(b2, &bob), "W");
        const char *want = rows[i].away[0] == 'W'   ? "away+"
                           : rows[i].away[0] == 'w' ? "away"
                                                    : "offline";
        assert_string_equal(asked(&ann, "bob"), want);
        assert_string_equal(asked(&bob, "me"), "away+");
        client_drop(a);
    }
    /* A change shows at once, on both sides. */
    struct client *a = ws_live(rig, 0, &ann, NULL);
    hide(&ann, "");
    hide(&bob, "");
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "W");
    hide(&bob, "o");
    assert_string_equal(told(a, &bob), "f");
    hide(&bob, "");
    assert_string_equal(told(a, &bob), "W");
    hide(&ann, "l");
    assert_string_equal(told(a, &bob), "w");
    client_drop(a);
    client_drop(b);
    client_drop(b2);
}

static void test_presence__silence_is_offline_before_it_is_closed(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "n");
    for (int i = 0; i < 13; i++) {
        rig_pass(rig, 5000);
        ws_send(a, "{\"event\":\"heartbeat\"}");
    }
    assert_string_equal(told(a, &bob), "F");
    /* It was only slow. */
    ws_send(b, "{\"event\":\"heartbeat\"}");
    rig_pass(rig, 1500);
    assert_string_equal(told(a, &bob), "n");
    client_drop(a);
    client_drop(b);
}

static void test_presence__away_by_itself(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "n");
    for (int i = 0; i < 11; i++) { /* 5 min 30 s of heartbeats */
        rig_pass(rig, 30000);
        ws_send(a, "{\"event\":\"heartbeat\"}");
        ws_send(b, "{\"event\":\"heartbeat\"}");
    }
    assert_string_equal(told(a, &bob), "W");
    ws_send(b, "{\"event\":\"presence\",\"status\":\"online\"}");
    rig_pass(rig, 1500);
    assert_string_equal(told(a, &bob), "n");
    ws_send(b, "{\"event\":\"presence\",\"status\":\"offline\"}");
    rig_pass(rig, 1500);
    assert_string_equal(told(a, &bob), "F");
    ws_send(b, "{\"event\":\"typing\",\"to\":\"ann\"}"); /* counts for nothing until it says so */
    rig_pass(rig, 1500);
    assert_string_equal(told(a, &bob), "");
    client_drop(a);
    client_drop(b);
}

static void test_presence__without_a_socket(void **state)
{
    (void)state;
    char json[120];
    struct client *a = ws_live(rig, 0, &ann, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "f");
    snprintf(json, sizeof(json), "{\"status\":\"online\",\"device_id\":\"%s\"}", bob.device);
    call(&bob, "POST", "/api/v1/presence", json, 204);
    assert_string_equal(told(a, &bob), "n");
    for (int i = 0; i < 12; i++) {
        rig_pass(rig, 5000);
        ws_send(a, "{\"event\":\"heartbeat\"}");
    }
    rig_pass(rig, 1000);
    assert_string_equal(told(a, &bob), "F");
    snprintf(json, sizeof(json), "{\"status\":\"online\",\"device_id\":\"%s\"}", ann.device);
    call(&bob, "POST", "/api/v1/presence", json, 403);
    call(&bob, "POST", "/api/v1/presence", "{\"status\":\"dancing\"}", 400);
    call(&bob, "POST", "/api/v1/presence", "{}", 400);
    assert_string_equal(told(a, &bob), "");
    client_drop(a);
}

/*
 * Three people come and go, block, hide and leave at random; after each step every one of them has
 * been told of each other exactly what a plain model says, and on the way nothing that neither the
 * step before nor the one after allows.
 */
struct model {
    bool in_group[3];
    bool blocks[3][3];
    bool hides[3];
    int status[3]; /* 2 online, 1 away */
};

static int may_be_told(const struct model *m, int by, int of)
{
    bool sees = m->in_group[by] && m->in_group[of] && !m->blocks[by][of] && !m->blocks[of][by] &&
                !m->hides[by] && !m->hides[of];
    return sees ? m->status[of] : 0;
}

static void step(struct random_seeded *r, struct model *m, struct account *const *who,
                 struct client *const *c)
{
    char path[200];
    char json[120];
    int a = (int)random_below(&r->base, 3);
    int b = (a + 1 + (int)random_below(&r->base, 2)) % 3;
    switch (random_below(&r->base, 4)) {
    case 0:
        m->blocks[a][b] = !m->blocks[a][b];
        snprintf(path, sizeof(path), "/api/v1/blocks/%s", who[b]->name);
        call(who[a], m->blocks[a][b] ? "PUT" : "DELETE", path, NULL, 200);
        break;
    case 1:
        m->hides[a] = !m->hides[a];
        snprintf(json, sizeof(json), "{\"privacy\":{\"online\":%s}}",
                 m->hides[a] ? "false" : "true");
        call(who[a], "PATCH", "/api/v1/users/me", json, 200);
        break;
    case 2:
        a = MAX(a, 1); /* ann owns the group */
        m->in_group[a] = !m->in_group[a];
        snprintf(path, sizeof(path), "/api/v1/groups/%s/members%s%s", group,
                 m->in_group[a] ? "" : "/", m->in_group[a] ? "" : who[a]->name);
        snprintf(json, sizeof(json), "{\"user_id\":\"%s\"}", who[a]->name);
        call(who[0], m->in_group[a] ? "POST" : "DELETE", path, m->in_group[a] ? json : NULL, 200);
        break;
    default:
        m->status[a] = 1 + (int)random_below(&r->base, 2);
        snprintf(json, sizeof(json), "{\"event\":\"presence\",\"status\":\"%s\"}",
                 m->status[a] == 2 ? "online" : "away");
        ws_send(c[a], json);
        break;
    }
}

static void test_presence__never_more_than_the_model_allows(void **state)
{
    (void)state;
    struct account *const who[3] = {&ann, &bob, &eve};
    struct client *c[3];
    int last[3][3] = {{0}};
    struct model m = {.in_group = {true, true, false}, .status = {2, 2, 2}};
    struct random_seeded r;
    random_seeded_init(&r, 5);
    for (int i = 0; i < 3; i++) {
        c[i] = ws_live(rig, (uint16_t)i, who[i], NULL);
    }
    for (int i = 0; i < 6; i++) {
        subscribe(c[i / 2], who[(i / 2 + 1 + i % 2) % 3]);
    }
    for (int n = 0; n < 300; n++) {
        struct model before = m;
        if (n > 0) {
            step(&r, &m, who, c);
        }
        rig_pass(rig, 2500);
        for (int by = 0; by < 3; by++) {
            const char *f;
            while ((f = ws_next(c[by])) != NULL) {
                if (strncmp(f, "{\"event\":\"presence_update\"", 26) != 0) {
                    continue;
                }
                int of = 0;
                while (strcmp(json_text(f, "user_id"), who[of]->user) != 0) {
                    of++;
                }
                char ch = json_text(f, "status")[1];
                int told_as = ch == 'n' ? 2 : ch == 'w' ? 1 : 0;
                assert_true(told_as == 0 || told_as == may_be_told(&m, by, of) ||
                            told_as == may_be_told(&before, by, of));
                last[by][of] = told_as;
            }
            ws_send(c[by], "{\"event\":\"heartbeat\"}");
        }
        for (int by = 0; by < 3; by++) {
            for (int of = 0; of < 3; of++) {
                if (by != of && last[by][of] != may_be_told(&m, by, of)) {
                    fail_msg("step %d: %s was told %d of %s, not %d", n, who[by]->name,
                             last[by][of], who[of]->name, may_be_told(&m, by, of));
                }
            }
        }
    }
    for (int i = 0; i < 3; i++) {
        client_drop(c[i]);
    }
}

static void few(struct shard_config *cfg)
{
    cfg->presence_subscriptions_max = 3;
}

static int setup_few(void **state)
{
    (void)state;
    return setup_with(2, few);
}

static void test_presence__subscriptions_are_bounded(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    ws_send(a, "{\"event\":\"subscribe_presence\",\"user_ids\":[\"11\",\"12\"]}");
    ws_send(a, "{\"event\":\"subscribe_presence\",\"user_ids\":[\"13\",\"14\"]}");
    const char *f = ws_expect(a, "error");
    assert_string_equal(json_text(f, "code"), "limit_reached");
    assert_string_equal(json_text(f, "ref"), "subscribe_presence");
    ws_send(a, "{\"event\":\"subscribe_presence\",\"user_ids\":[\"12\",\"13\"]}");
    rig_pass(rig, 100);
    assert_int_equal(rig_total(rig, METRIC_PRESENCE_SUBSCRIPTIONS), 3);
    ws_send(a, "{\"event\":\"unsubscribe_presence\",\"user_ids\":[\"11\",\"12\",\"99\"]}");
    rig_pass(rig, 100);
    assert_int_equal(rig_total(rig, METRIC_PRESENCE_SUBSCRIPTIONS), 1);
    client_drop(a);
    rig_pass(rig, 100);
    assert_int_equal(rig_total(rig, METRIC_PRESENCE_SUBSCRIPTIONS), 0);
}

static void test_presence__the_short_form(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    char want[80];
    const char *f;
    int n = 0;
    ws_send(a, "{\"type\":\"heartbeat\"}");
    subscribe(a, &bob);
    rig_pass(rig, 1100);
    ws_send(b, "{\"type\":\"presence\",\"status\":\"away\"}");
    rig_pass(rig, 1100);
    snprintf(want, sizeof(want), "{\"type\":\"presence\",\"userId\":\"%s\",\"status\":\"away\"}",
             bob.user);
    while ((f = ws_next(a)) != NULL) {
        n += strcmp(f, want) == 0;
    }
    assert_int_equal(n, 1);
    client_drop(a);
    client_drop(b);
}

/* What was dropped for want of room is told when there is some. */
static void test_presence__what_was_forgotten_is_told_again(void **state)
{
    (void)state;
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    subscribe(a, &bob);
    assert_string_equal(told(a, &bob), "n");
    struct conn *c = session_of_user(rig->shards[0], strtoull(ann.user, NULL, 10));
    assert_non_null(c);
    watch_forgotten(rig->shards[0], c);
    rig_pass(rig, 1000);
    assert_string_equal(told(a, &bob), "");
    rig_pass(rig, 1500);
    assert_string_equal(told(a, &bob), "n");
    client_drop(a);
    client_drop(b);
}

static void on_request(struct dir_request *req)
{
    (void)req;
}

static enum confab_err rig_seen(struct rig *r, struct dir_request *req)
{
    req->done = on_request;
    assert_int_equal(directory_submit(r->dir_mem, req), CONFAB_OK);
    rig_settle(r);
    return req->ret_err;
}

static void test_presence__the_last_time_is_stored(void **state)
{
    (void)state;
    struct client *b = ws_live(rig, 1, &bob, NULL);
    uint64_t user = strtoull(bob.user, NULL, 10);
    uint64_t ms = 0;
    struct dir_request req = {.op = DIR_SEEN_READ, .ids = &user, .nids = 1, .seen_ms = &ms};
    rig_pass(rig, 15000);
    assert_int_equal(rig_seen(rig, &req), CONFAB_OK);
    uint64_t alive = ms;
    assert_true(alive > 0); /* online: as long as the server said that it was alive */
    rig_pass(rig, 20000);
    ws_send(b, "{\"event\":\"heartbeat\"}");
    rig_pass(rig, 20000);
    assert_int_equal(rig_seen(rig, &req), CONFAB_OK);
    assert_true(ms >= alive + 25000);
    client_drop(b);
    uint64_t left = rig->shards[1]->wall_ms / 1000 * 1000;
    rig_pass(rig, 25000);
    assert_int_equal(rig_seen(rig, &req), CONFAB_OK);
    assert_in_range(ms, left - 1000, left + 1000);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_presence__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(transitions_reach_who_subscribed),
        CASE(nobody_else_is_told),
        CASE(blocking_and_leaving_show_at_once),
        CASE(privacy_matrix),
        CASE(never_more_than_the_model_allows),
        CASE(silence_is_offline_before_it_is_closed),
        CASE(away_by_itself),
        CASE(without_a_socket),
        CASE(sends_over_rest_count),
        cmocka_unit_test_setup_teardown(test_presence__subscriptions_are_bounded, setup_few,
                                        teardown),
        CASE(the_short_form),
        CASE(what_was_forgotten_is_told_again),
        CASE(the_last_time_is_stored),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
