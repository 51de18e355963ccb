/*
 * Retries of what is in the store: the keys of a chunk move with it when it is merged, are looked
 * for newest first, and are forgotten by days.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/rows.h"
#include "world.h"

#define DAY_MS 86400000U

static struct command *send(struct world *w, struct conv_id conv, uint32_t n, const char *text)
{
    char key[32];
    snprintf(key, sizeof(key), "key-%u", n);
    return world_do(w, world_message(1 + n % 2, conv, 2 - n % 2, key, text));
}

static void say(struct world *w, struct conv_id conv, uint32_t n, uint64_t *ret_id)
{
    struct command *cmd = send(w, conv, n, "hello");
    assert_int_equal(cmd->err, CONFAB_OK);
    assert_false(cmd->duplicate);
    if (ret_id) {
        *ret_id = cmd->ret_id;
    }
    command_free(cmd);
}

static bool is_known(struct world *w, struct conv_id conv, uint32_t n, uint64_t id)
{
    struct command *cmd = send(w, conv, n, "hello");
    assert_int_equal(cmd->err, CONFAB_OK);
    bool known = cmd->duplicate;
    if (known && id) {
        assert_int_equal(cmd->ret_id, id);
    }
    command_free(cmd);
    return known;
}

static void on_rows(struct store_request *req)
{
    *(uint32_t *)req->arg = req->ret_nrows;
}

static uint32_t rows(struct world *w, struct conv_id conv, enum store_table table)
{
    struct row_key rk;
    uint32_t n = 0;
    row_key_conv(&rk, table, conv);
    struct store_request req = {.op = STORE_RANGE,
                                .table = table,
                                .key = rk.k.key,
                                .limit = UINT32_MAX,
                                .bytes_max = UINT32_MAX,
                                .done = on_rows,
                                .arg = &n};
    assert_int_equal(message_store_submit(w->store, &req), CONFAB_OK);
    assert_int_equal(req.ret_err, CONFAB_OK);
    store_request_deinit(&req);
    return n;
}

static int setup(void **state)
{
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_init(w);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}

static void test_dedup__keys_move_with_their_chunks(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    uint64_t ids[301];
    uint32_t n = 0;
    /* Runs of all sizes, so that chunks are merged in many ways and some are full. */
    for (uint32_t run = 1; n + run <= 300; run = run * 5 % 23) {
        for (uint32_t i = 0; i < run; i++) {
            n++;
            say(w, conv, n, &ids[n]);
        }
        world_flush(w);
        assert_int_equal(rows(w, conv, STORE_DEDUP), rows(w, conv, STORE_CHUNK));
    }
    assert_true(n > 200);
    assert_true(rows(w, conv, STORE_CHUNK) < 8);
    world_kill(w, false, 0);
    for (uint32_t i = 1; i <= n; i++) {
        assert_true(is_known(w, conv, i, ids[i]));
    }
    struct command *cmd = send(w, conv, n / 2, "something else");
    assert_int_equal(cmd->err, CONFAB_DUPLICATE_KEY);
    command_free(cmd);
    assert_false(is_known(w, conv, n + 1, 0));
}

static void test_dedup__keys_outlive_edit_and_delete(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    uint64_t ids[11];
    for (uint32_t n = 1; n <= 10; n++) {
        say(w, conv, n, &ids[n]);
    }
    world_flush(w);
    for (uint32_t n = 1; n <= 10; n++) {
        struct command *cmd = world_event(w, 1 + n % 2, conv, n % 3 ? EVENT_EDIT : EVENT_DELETE);
        cmd->in.target_id = ids[n];
        assert_int_equal(command_set_span(cmd, &cmd->in.text, span_str("changed")), CONFAB_OK);
        cmd = world_do(w, cmd);
        assert_int_equal(cmd->err, CONFAB_OK);
        command_free(cmd);
    }
    world_flush(w);
    world_kill(w, false, 0);
    for (uint32_t n = 1; n <= 10; n++) {
        assert_true(is_known(w, conv, n, ids[n]));
    }
}

static void test_dedup__keys_are_forgotten_by_days(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    uint64_t ids[41];
    /* One message a day: merged chunks reach over days, and their rows move to the last one. */
    for (uint32_t n = 1; n <= 40; n++) {
        say(w, conv, n, &ids[n]);
        world_flush(w);
        world_run(w, DAY_MS);
    }
    assert_true(rows(w, conv, STORE_DEDUP) <= rows(w, conv, STORE_CHUNK));
    world_kill(w, false, 0);
    for (uint32_t n = 40 - 7 + 1; n <= 40; n++) {
        assert_true(is_known(w, conv, n, ids[n]));
    }
    /* Long after, nothing of them is left once the conversation goes on. */
    world_run(w, 30ULL * DAY_MS);
    assert_false(is_known(w, conv, 40, 0));
    world_flush(w);
    assert_int_equal(rows(w, conv, STORE_DEDUP), 1);
}

static void test_dedup__busy_conversations_are_probed_in_pages(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    enum { MANY = 20000 };
    for (uint32_t n = 1; n <= MANY; n++) {
        char key[32];
        snprintf(key, sizeof(key), "key-%u", n);
        struct command *cmd = world_message(1 + n % 2, conv, 2 - n % 2, key, "hello");
        cmd->fresh = true;
        engine_submit(w->e, cmd);
        if (n % 500 == 0) {
            world_run(w, 0);
        }
    }
    world_flush(w);
    struct list *it;
    uint32_t done = 0;
    while ((it = list_pop_front(&w->completed))) {
        struct command *cmd = LIST_ENTRY(it, struct command, link);
        assert_int_equal(cmd->err, CONFAB_OK);
        command_free(cmd);
        done++;
    }
    assert_int_equal(done, MANY);
    assert_int_equal(rows(w, conv, STORE_DEDUP), rows(w, conv, STORE_CHUNK));
    world_kill(w, false, 0);
    assert_true(is_known(w, conv, 1, 0));
    assert_true(is_known(w, conv, MANY / 2, 0));
    assert_true(is_known(w, conv, MANY, 0));
    assert_false(is_known(w, conv, MANY + 1, 0));
}

/* The repetition on another connection is stored and flushed; then the first attempt is read. */
static void test_dedup__first_attempt_after_its_repetition(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    uint64_t id;
    say(w, conv, 1, &id);
    world_flush(w);
    struct command *cmd = world_message(2, conv, 1, "key-1", "hello");
    cmd->fresh = true;
    cmd = world_do(w, cmd);
    assert_int_equal(cmd->err, CONFAB_OK);
    assert_true(cmd->duplicate);
    assert_int_equal(cmd->ret_id, id);
    command_free(cmd);
}

/* What was removed with its sender's membership is answered all the same. */
static void test_dedup__retry_of_a_former_member(void **state)
{
    struct world *w = *state;
    struct conv_id conv = world_group(w, 1, "group", 2, 1);
    struct command *cmd = world_do(w, world_message(2, conv, 0, "key", "hello"));
    assert_int_equal(cmd->err, CONFAB_OK);
    uint64_t id = cmd->ret_id;
    command_free(cmd);
    cmd = world_event(w, 2, conv, EVENT_LEAVE);
    cmd = world_do(w, cmd);
    assert_int_equal(cmd->err, CONFAB_OK);
    command_free(cmd);
    cmd = world_do(w, world_message(2, conv, 0, "key", "hello"));
    assert_int_equal(cmd->err, CONFAB_OK);
    assert_true(cmd->duplicate);
    assert_int_equal(cmd->ret_id, id);
    command_free(cmd);
}

static int64_t counter(struct world *w, enum metric id)
{
    return metrics_total(w, id);
}

/* Sends that are not marked as first attempts read the keys once, and then nothing for each. */
static void test_dedup__new_keys_cost_no_read(void **state)
{
    struct world *w = *state;
    struct conv_id conv = conv_id_direct(1, 2);
    for (uint32_t n = 1; n <= 1000; n++) {
        say(w, conv, n, NULL);
        if (n % 100 == 0) {
            world_flush(w);
        }
    }
    assert_int_equal(counter(w, METRIC_DEDUP_LOADS), 0); /* it began in memory */
    assert_true(counter(w, METRIC_DEDUP_PROBES) < 50);
    assert_int_equal(counter(w, METRIC_DEDUP_PROBES), counter(w, METRIC_DEDUP_MISSES));
    world_kill(w, false, 0);
    int64_t probes = counter(w, METRIC_DEDUP_PROBES);
    for (uint32_t n = 1001; n <= 2000; n++) {
        say(w, conv, n, NULL);
        if (n % 100 == 0) {
            world_flush(w);
        }
    }
    assert_int_equal(counter(w, METRIC_DEDUP_LOADS), 1);
    assert_true(counter(w, METRIC_DEDUP_PROBES) < probes + 50);
    for (uint32_t n = 1; n <= 2000; n++) {
        assert_true(is_known(w, conv, n, 0));
    }
    /* Long after the last message nothing is read at all. */
    world_kill(w, false, 0);
    world_run(w, 30ULL * DAY_MS);
    probes = counter(w, METRIC_DEDUP_PROBES);
    say(w, conv_id_direct(1, 2), 2001, NULL);
    assert_int_equal(counter(w, METRIC_DEDUP_PROBES), probes);
}

static struct command *attempt(uint32_t n, struct conv_id conv, bool fresh)
{
    char key[32];
    snprintf(key, sizeof(key), "key-%u", n);
    struct command *cmd = world_message(1 + n % 2, conv, 2 - n % 2, key, "hello");
    cmd->fresh = fresh;
    return cmd;
}

/* The rows are read while a flush is under way, and what it stores is in none of them, or in all.
 */
static void meets_a_flush(struct world *w, bool flush_first, bool reverse)
{
    struct conv_id conv = conv_id_direct(1, 2);
    uint64_t ids[101];
    for (uint32_t n = 1; n <= 100; n++) {
        if (n == 51) {
            world_flush(w);
            world_kill(w, false, 0);
        }
        struct command *cmd = world_do(w, attempt(n, conv, true));
        assert_int_equal(cmd->err, CONFAB_OK);
        ids[n] = cmd->ret_id;
        command_free(cmd);
    }
    w->gate.hold = true;
    if (flush_first) {
        engine_flush_all(w->e);
        world_run(w, 0);
    }
    world_submit(w, attempt(101, conv, false));
    world_run(w, 0);
    engine_flush_all(w->e);
    for (int i = 0; i < 20 && (w->gate.nheld > 0 || i == 0); i++) {
        world_run(w, 0);
        world_release(w, reverse);
    }
    w->gate.hold = false;
    world_run(w, 100);
    struct command *cmd = world_taken(w);
    assert_non_null(cmd);
    assert_int_equal(cmd->err, CONFAB_OK);
    assert_false(cmd->duplicate);
    command_free(cmd);
    world_flush(w);
    assert_int_equal(counter(w, METRIC_DEDUP_LOADS), 1);
    for (uint32_t n = 1; n <= 100; n++) {
        assert_true(is_known(w, conv, n, ids[n]));
    }
    assert_true(is_known(w, conv, 101, 0));
}

static void test_dedup__filters_read_before_a_flush(void **state)
{
    meets_a_flush(*state, false, false);
}

static void test_dedup__filters_read_before_a_flush_that_ends_first(void **state)
{
    meets_a_flush(*state, false, true);
}

static void test_dedup__filters_read_during_a_flush(void **state)
{
    meets_a_flush(*state, true, false);
}

static void test_dedup__filters_read_during_a_flush_that_ends_last(void **state)
{
    meets_a_flush(*state, true, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_dedup__keys_move_with_their_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__keys_outlive_edit_and_delete, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__keys_are_forgotten_by_days, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__busy_conversations_are_probed_in_pages, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_dedup__first_attempt_after_its_repetition, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_dedup__retry_of_a_former_member, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__new_keys_cost_no_read, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__filters_read_before_a_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__filters_read_before_a_flush_that_ends_first,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__filters_read_during_a_flush, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dedup__filters_read_during_a_flush_that_ends_last,
                                        setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
