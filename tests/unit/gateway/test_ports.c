/* A directory or a store that fails: who asks is told so, and nothing else happens. */
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
static struct client *h;

/* What is stored is read again each time, and no name is remembered. */
static void forgetful(struct shard_config *cfg)
{
    cfg->engine.recent_max = 0;
    cfg->engine.flush_after_ms = 1;
    cfg->engine.cache_bytes_max = 1;
    cfg->users_cache = 1;
}

static int setup(void **state)
{
    (void)state;
    rig = rig_new(1, forgetful);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    h = client_new(rig, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    client_drop(h);
    rig_free(rig);
    return 0;
}

static void spoil_directory(enum dir_op op, enum fault_kind kind)
{
    fault_plan_disarm(directory_fault_plan(rig->dir));
    assert_int_equal(fault_plan_arm(directory_fault_plan(rig->dir), op, 1, 1, kind, CONFAB_IO),
                     CONFAB_OK);
}

static void spoil_store(enum store_op op, enum fault_kind kind)
{
    fault_plan_disarm(store_fault_plan(rig->store));
    assert_int_equal(fault_plan_arm(store_fault_plan(rig->store), op, 1, 1, kind, CONFAB_IO),
                     CONFAB_OK);
}

/* Twice the same call: the first meets the fault. */
static void fails_then(int then, const char *method, const char *path, const char *token,
                       const char *json)
{
    char *body = NULL;
    int status = http(h, method, path, token, json, &body);
    assert_int_equal(status, 503);
    const char *code = json_text(body, "code");
    assert_true(strcmp(code, "storage_failed") == 0 || strcmp(code, "busy") == 0);
    free(body);
    assert_int_equal(http(h, method, path, token, json, &body), then);
    free(body);
}

static void test_ports__a_failing_directory(void **state)
{
    (void)state;
    static const char *const names[] = {"cid", "dan"};
    int64_t asked = rig_total(rig, METRIC_DIR_REQUESTS);
    assert_true(asked > 0);
    int64_t failed = rig_total(rig, METRIC_DIR_ERRORS);
    for (int refuse = 0; refuse < 2; refuse++) {
        enum fault_kind kind = refuse ? FAULT_REFUSE : FAULT_FAIL;
        char json[200];
        snprintf(json, sizeof(json), "{\"username\":\"%s\",\"password\":\"password\"}",
                 names[refuse]);
        spoil_directory(DIR_ACCOUNT_CREATE, kind);
        fails_then(201, "POST", "/api/v1/accounts", NULL, json);
        spoil_directory(DIR_ACCOUNT_BY_NAME, kind);
        fails_then(201, "POST", "/api/v1/tokens", NULL, json);
        spoil_directory(DIR_DEVICE_CREATE, kind);
        fails_then(201, "POST", "/api/v1/tokens", NULL, json);
        /* Not 401: the token may well be good. The second time it is only repeated. */
        char refresh[120];
        snprintf(refresh, sizeof(refresh), "{\"refresh_token\":\"%s\"}", ann.refresh);
        spoil_directory(DIR_DEVICE_ROTATE, kind);
        fails_then(200, "POST", "/api/v1/tokens/refresh", NULL, refresh);
        spoil_directory(DIR_ACCOUNT_BY_ID, kind);
        fails_then(200, "GET", "/api/v1/users/me", ann.token, NULL);
        /* Not 404: the person may well exist. */
        spoil_directory(DIR_ACCOUNT_BY_NAME, kind);
        fails_then(201, "POST", "/api/v1/messages", ann.token,
                   "{\"to\":\"bob\",\"content\":\"x\"}");
        spoil_directory(DIR_ACCOUNT_BY_NAME, kind);
        fails_then(201, "POST", "/api/v1/groups", ann.token,
                   "{\"name\":\"g\",\"members\":[\"cid\"]}");
    }
    assert_int_equal(rig_total(rig, METRIC_DIR_ERRORS), failed + 14);
    assert_true(rig_total(rig, METRIC_DIR_REQUESTS) > asked + 28);
}

static void test_ports__a_name_in_a_frame_while_the_directory_fails(void **state)
{
    (void)state;
    struct client *c = ws_open(rig, 0, bob.token);
    ws_expect(c, "hello");
    spoil_directory(DIR_ACCOUNT_BY_NAME, FAULT_FAIL);
    static const char send[] = "{\"event\":\"send_message\",\"to\":\"ann\",\"content\":\"x\","
                               "\"client_msg_id\":\"1\"}";
    ws_send(c, send);
    const char *f = ws_expect(c, "error");
    assert_string_equal(json_text(f, "code"), "storage_failed");
    assert_string_equal(json_text(f, "client_msg_id"), "1");
    ws_send(c, send);
    assert_non_null(strstr(ws_expect(c, "ack"), "\"duplicate\":false"));
    client_drop(c);
}

static void test_ports__a_failing_store_is_no_empty_history(void **state)
{
    (void)state;
    assert_int_equal(http(h, "POST", "/api/v1/messages", ann.token,
                          "{\"to\":\"bob\",\"content\":\"x\",\"client_msg_id\":\"1\"}", NULL),
                     201);
    char path[100];
    snprintf(path, sizeof(path), "/api/v1/messages/%s", ann.user);
    static const enum store_op ops[] = {STORE_GET, STORE_RANGE};
    for (int i = 0; i < 4; i++) {
        rig_pass(rig, 2000); /* stored, and out of memory */
        spoil_store(ops[i / 2], i % 2 ? FAULT_REFUSE : FAULT_FAIL);
        fails_then(200, "GET", path, bob.token, NULL);
        rig_pass(rig, 2000);
        /* A retry that cannot be compared with the first attempt is not stored again. */
        spoil_store(ops[i / 2], i % 2 ? FAULT_REFUSE : FAULT_FAIL);
        fails_then(200, "POST", "/api/v1/messages", ann.token,
                   "{\"to\":\"bob\",\"content\":\"x\",\"client_msg_id\":\"1\"}");
    }
    assert_true(rig_total(rig, METRIC_STORE_ERRORS) >= 4);
}

static void test_ports__a_resume_over_a_failing_store(void **state)
{
    (void)state;
    assert_int_equal(
        http(h, "POST", "/api/v1/messages", ann.token, "{\"to\":\"bob\",\"content\":\"x\"}", NULL),
        201);
    struct client *c = ws_open(rig, 0, bob.token);
    int failed = 0;
    for (int i = 0; i < 6; i++) {
        rig_pass(rig, 2000);
        assert_int_equal(fault_plan_arm(store_fault_plan(rig->store),
                                        i % 2 ? STORE_RANGE : STORE_GET, (uint64_t)i / 2 + 1, 1,
                                        FAULT_FAIL, CONFAB_IO),
                         CONFAB_OK);
        ws_send(c, "{\"event\":\"resume\"}");
        const char *f;
        bool page = false;
        while ((f = ws_next(c)) != NULL && !strstr(f, "\"caught_up\"") && !strstr(f, "\"error\"")) {
            page = page || strstr(f, "\"content\":\"x\"");
        }
        assert_non_null(f);
        bool error = strstr(f, "\"error\"") != NULL;
        failed += error;
        /* All of it, or an error. */
        assert_true(error ? strcmp(json_text(f, "code"), "storage_failed") == 0 : page);
        fault_plan_disarm(store_fault_plan(rig->store));
        ws_send(c, "{\"event\":\"resume\"}");
        assert_non_null(strstr(ws_expect(c, "conversations"), "\"content\":\"x\""));
        ws_expect(c, "caught_up");
    }
    assert_true(failed >= 2);
    client_drop(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_ports__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_failing_directory),
        T(a_name_in_a_frame_while_the_directory_fails),
        T(a_failing_store_is_no_empty_history),
        T(a_resume_over_a_failing_store),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
