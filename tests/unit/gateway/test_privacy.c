/* Privacy: what is hidden by whom, and from whom, in every place where reading shows. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gateway/auth_state.h"
#include "gateway/privacy.h"
#include "rig.h"

static struct rig *rig;
static struct account ann;
static struct account bob;
static struct account cyd;

static int setup(void **state)
{
    (void)state;
    rig = rig_new(2, NULL);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "cyd", &cyd);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    rig_free(rig);
    return 0;
}

/* The answer's body, to be freed. */
static char *call(const struct account *a, const char *method, const char *path, const char *json,
                  int status)
{
    struct client *h = client_new(rig, 0);
    char *body = NULL;
    assert_int_equal(http(h, method, path, a->token, json, &body), status);
    client_drop(h);
    return body;
}

static void set(const struct account *a, const char *privacy, int status)
{
    char json[120];
    snprintf(json, sizeof(json), "{\"privacy\":%s}", privacy);
    free(call(a, "PATCH", "/api/v1/users/me", json, status));
}

static void expect_privacy(const struct account *a, const char *want)
{
    char *body = call(a, "GET", "/api/v1/users/me", NULL, 200);
    assert_non_null(strstr(body, want));
    free(body);
}

static void test_privacy__is_part_of_oneself(void **state)
{
    (void)state;
    expect_privacy(&ann, "\"privacy\":{\"online\":true,\"last_seen\":true,\"read_receipts\":true}");
    set(&ann, "{\"last_seen\":false}", 200);
    set(&ann, "{\"read_receipts\":false,\"unknown\":3,\"online\":null}", 200);
    expect_privacy(&ann,
                   "\"privacy\":{\"online\":true,\"last_seen\":false,\"read_receipts\":false}");
    set(&ann, "{\"last_seen\":true}", 200);
    set(&ann, "null", 200);
    expect_privacy(&ann,
                   "\"privacy\":{\"online\":true,\"last_seen\":true,\"read_receipts\":false}");
    expect_privacy(&bob, "\"privacy\":{\"online\":true,\"last_seen\":true,\"read_receipts\":true}");
    char *body = call(&bob, "GET", "/api/v1/users/ann", NULL, 200);
    assert_null(strstr(body, "privacy"));
    free(body);
    set(&ann, "{\"online\":1}", 400);
    set(&ann, "[]", 400);
    expect_privacy(&ann, "\"online\":true,\"last_seen\":true,\"read_receipts\":false");
}

/* ---- Reading ---- */

static void hide_receipts(const struct account *a)
{
    set(a, "{\"read_receipts\":false}", 200);
}

static char *make_group(void)
{
    char *body =
        call(&ann, "POST", "/api/v1/groups", "{\"name\":\"g\",\"members\":[\"bob\",\"cyd\"]}", 201);
    char *id = strdup(json_text(body, "group_id"));
    free(body);
    return id;
}

static void send_to(struct client *c, const char *group, char ret_id[24], uint64_t *ret_seq)
{
    static int key;
    char json[200];
    snprintf(json, sizeof(json),
             "{\"event\":\"send_message\",\"conversation_id\":\"%s\",\"content\":\"x\","
             "\"client_msg_id\":\"%d\"}",
             group, ++key);
    ws_send(c, json);
    const char *f = ws_expect(c, "ack");
    snprintf(ret_id, 24, "%s", json_text(f, "message_id"));
    *ret_seq = json_number_of(f, "seq");
}

static void ack(struct client *c, const char *group, uint64_t seq, const char *status)
{
    char json[160];
    snprintf(json, sizeof(json),
             "{\"event\":\"ack\",\"conversation_id\":\"%s\",\"seq\":%d,\"status\":\"%s\"}", group,
             (int)seq, status);
    ws_send(c, json);
    rig_pass(rig, 1500);
}

/* The statuses of the receipts of that user that have come, as letters. */
static void receipts(struct client *c, const struct account *of, char ret[8])
{
    const char *f;
    size_t n = 0;
    while ((f = ws_next(c)) != NULL) {
        if (strncmp(f, "{\"event\":\"delivery_receipt\"", 27) == 0 &&
            strcmp(json_text(f, "user_id"), of->user) == 0 && n < 7) {
            ret[n++] = json_text(f, "status")[0];
        }
    }
    ret[n] = 0;
}

static void expect_reader(const struct account *by, const char *id, const struct account *of,
                          const char *status)
{
    char path[80];
    char want[60];
    snprintf(path, sizeof(path), "/api/v1/messages/%s/receipts", id);
    char *body = call(by, "GET", path, NULL, 200);
    snprintf(want, sizeof(want), "\"user_id\":\"%s\"", of->user);
    char *at = strstr(body, want);
    assert_non_null(at);
    assert_string_equal(json_text(at, "status"), status);
    char *end = strchr(at, '}');
    char *read_at = strstr(at, "read_at");
    assert_int_equal(strcmp(status, "read") == 0, read_at != NULL && read_at < end &&
                                                      strncmp(read_at, "read_at\":null", 13) != 0);
    free(body);
}

static void expect_status(const struct account *by, const char *id, const char *status)
{
    char path[80];
    snprintf(path, sizeof(path), "/api/v1/messages/%s", id);
    char *body = call(by, "GET", path, NULL, 200);
    assert_string_equal(json_text(body, "status"), status);
    assert_int_equal(strstr(body, "read_at") != NULL, strcmp(status, "read") == 0);
    free(body);
}

/*
 * Ann has sent; bob and cyd read. Who hides, and what then ann is told of bob live (letters of the
 * receipts after `delivered`, then after `read`), in the list of readers, and as status.
 */
struct row {
    const char *hide; /* a, b, c */
    const char *delivered;
    const char *read;
    const char *reader;
    const char *other; /* cyd in ann's list */
    const char *status;
};
static const struct row rows[] = {
    {"", "d", "r", "read", "read", "read"},
    {"b", "d", "", "delivered", "read", "delivered"},
    {"c", "d", "r", "read", "delivered", "delivered"},
    {"a", "d", "", "delivered", "delivered", "delivered"},
    {"ab", "d", "", "delivered", "delivered", "delivered"},
    {"abc", "d", "", "delivered", "delivered", "delivered"},
};

static void one_row(const struct row *row)
{
    char got[8];
    char id[24];
    uint64_t seq;
    char *g = make_group();
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    struct client *b2 = ws_live(rig, 0, &bob, NULL);
    struct client *c = ws_live(rig, 1, &cyd, NULL);
    send_to(a, g, id, &seq);
    for (const char *h = row->hide; *h; h++) {
        hide_receipts(*h == 'a' ? &ann : *h == 'b' ? &bob : &cyd);
    }
    ack(b, g, seq, "delivered");
    ack(c, g, seq, "delivered");
    receipts(a, &bob, got);
    assert_string_equal(got, row->delivered);
    expect_status(&ann, id, "delivered");
    ack(b, g, seq, "read");
    receipts(a, &bob, got);
    assert_string_equal(got, row->read);
    receipts(b2, &bob, got); /* his own device sees everything */
    assert_string_equal(got, "dr");
    ack(c, g, seq, "read");
    expect_reader(&ann, id, &bob, row->reader);
    expect_reader(&ann, id, &cyd, row->other);
    expect_reader(&bob, id, &bob, "read");
    expect_status(&ann, id, row->status);
    client_drop(a);
    client_drop(b);
    client_drop(b2);
    client_drop(c);
    free(g);
}

static void test_privacy__reading_matrix(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (i > 0) {
            teardown(state);
            setup(state);
        }
        one_row(&rows[i]);
    }
}

static void test_privacy__reading_at_once_shows_as_delivered(void **state)
{
    (void)state;
    char got[8];
    char id[24];
    uint64_t seq;
    char *g = make_group();
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, 1, &bob, NULL);
    hide_receipts(&bob);
    send_to(a, g, id, &seq);
    ack(b, g, seq, "read"); /* without `delivered` before */
    receipts(a, &bob, got);
    assert_string_equal(got, "d");
    ack(b, g, seq, "delivered");
    receipts(a, &bob, got);
    assert_string_equal(got, "");
    /* Answering is reading, which shows in the same way. */
    send_to(a, g, id, &seq);
    send_to(b, g, id, &seq);
    rig_pass(rig, 1500);
    receipts(a, &bob, got);
    assert_string_equal(got, "d");
    set(&bob, "{\"read_receipts\":true}", 200);
    send_to(a, g, id, &seq);
    ack(b, g, seq, "read");
    receipts(a, &bob, got);
    assert_string_equal(got, "r");
    client_drop(a);
    client_drop(b);
    free(g);
}

/* ---- The table ---- */

static void test_privacy__survives_a_restart_of_the_table(void **state)
{
    (void)state;
    struct privacy *p;
    uint64_t a = strtoull(ann.user, NULL, 10);
    uint64_t b = strtoull(bob.user, NULL, 10);
    set(&ann, "{\"online\":false}", 200);
    assert_int_equal(privacy_of(auth_state_privacy(rig->auth), a), DIR_HIDES_ONLINE);
    assert_int_equal(privacy_new(1, 2, &p), CONFAB_OK);
    assert_int_equal(privacy_load(p, (struct dir_hidden[]){{a, 1}, {b, 4}}, 2), CONFAB_OK);
    assert_true(privacy_between(p, a, b, DIR_HIDES_ONLINE));
    assert_true(privacy_between(p, b, a, DIR_HIDES_ONLINE));
    assert_false(privacy_between(p, a, a, DIR_HIDES_ONLINE));
    assert_false(privacy_between(p, a, b, DIR_HIDES_LAST_SEEN));
    /* Bounded; one change at a time. */
    assert_int_equal(privacy_begin(p, 77), CONFAB_LIMIT);
    assert_int_equal(privacy_begin(p, a), CONFAB_OK);
    assert_int_equal(privacy_begin(p, a), CONFAB_CONFLICT);
    assert_int_equal(privacy_of(p, a), 1);
    privacy_end(p, a, NULL);
    assert_int_equal(privacy_of(p, a), 1);
    assert_int_equal(privacy_begin(p, a), CONFAB_OK);
    privacy_end(p, a, &(uint32_t){0});
    assert_int_equal(privacy_of(p, a), 0);
    assert_int_equal(privacy_begin(p, 77), CONFAB_OK);
    privacy_end(p, 77, NULL);
    assert_int_equal(privacy_of(p, 77), 0);
    privacy_free(p);
}

static void test_privacy__a_failed_change_changes_nothing(void **state)
{
    (void)state;
    struct fault_plan *plan = directory_fault_plan(rig->dir);
    uint64_t a = strtoull(ann.user, NULL, 10);
    set(&ann, "{\"online\":false}", 200);
    assert_int_equal(fault_plan_arm(plan, DIR_ACCOUNT_UPDATE, 1, 1, FAULT_FAIL, CONFAB_IO),
                     CONFAB_OK);
    set(&ann, "{\"online\":true}", 503);
    assert_int_equal(privacy_of(auth_state_privacy(rig->auth), a), DIR_HIDES_ONLINE);
    set(&ann, "{\"online\":true}", 200);
    assert_int_equal(privacy_of(auth_state_privacy(rig->auth), a), 0);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_privacy__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(is_part_of_oneself),
        CASE(reading_matrix),
        CASE(reading_at_once_shows_as_delivered),
        CASE(survives_a_restart_of_the_table),
        CASE(a_failed_change_changes_nothing),
    };
    return cmocka_run_group_tests_name("privacy", tests, NULL, NULL);
}
