/* Contract of the directory port, over every adapter. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/fault/directory_fault.h"
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/os/executor_pool.h"
#include "adapters/sqlite/directory_sqlite.h"
#include "base/buf.h"
#include "gate.h"
#include "store_bench.h"

struct kind {
    const char *name;
    bool sqlite;
    bool threads;
    bool fault;
};
static const struct kind KINDS[] = {
    {"mem, inline", false, false, false},      {"mem, threads", false, true, false},
    {"mem, fault wrapper", false, true, true}, {"sqlite, inline", true, false, false},
    {"sqlite, threads", true, true, false},    {"sqlite, fault wrapper", true, true, true},
};

static struct {
    const struct kind *kind;
    struct executor *ex;
    struct directory *inner;
    struct directory *dir;
    char tmp[64];
    char path[96];
} fx;

static void open_dir(void)
{
    if (fx.kind->sqlite) {
        assert_int_equal(
            directory_sqlite_open(fx.path, (struct directory_sqlite_cfg){0}, fx.ex, &fx.inner),
            CONFAB_OK);
    } else {
        assert_int_equal(directory_mem_open(fx.ex, &fx.inner), CONFAB_OK);
    }
    fx.dir = fx.inner;
    if (fx.kind->fault) {
        assert_int_equal(directory_fault_open(fx.inner, &fx.dir), CONFAB_OK);
    }
}

static void close_dir(void)
{
    if (fx.kind->fault) {
        directory_fault_close(fx.dir);
    }
    if (fx.kind->sqlite) {
        directory_sqlite_close(fx.inner);
    } else {
        directory_mem_close(fx.inner);
    }
}

static int setup(void **state)
{
    fx.kind = *state;
    temp_dir_make(fx.tmp, sizeof(fx.tmp));
    (void)snprintf(fx.path, sizeof(fx.path), "%s/directory.db", fx.tmp);
    if (fx.kind->threads) {
        assert_int_equal(executor_pool_open(1, 5000, "dir", &fx.ex), CONFAB_OK);
    } else {
        assert_int_equal(executor_inline_open(false, 5000, &fx.ex), CONFAB_OK);
    }
    open_dir();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close_dir();
    if (fx.kind->threads) {
        executor_pool_close(fx.ex);
    } else {
        executor_inline_close(fx.ex);
    }
    temp_dir_remove(fx.tmp);
    return 0;
}

static void on_done(struct dir_request *req)
{
    gate_pass(req->arg);
}

static enum confab_err run(struct dir_request *req)
{
    struct gate gate = GATE_INIT;
    req->arg = &gate;
    req->done = on_done;
    req->ret_err = CONFAB_AGAIN;
    assert_int_equal(directory_submit(fx.dir, req), CONFAB_OK);
    gate_wait(&gate, 1);
    return req->ret_err;
}

static struct dir_request account_request(uint64_t id, const char *name)
{
    struct dir_request req = {.op = DIR_ACCOUNT_CREATE};
    req.account.user_id = id;
    req.account.created_ms = 1000 + (id & 0xff);
    (void)snprintf(req.account.username, sizeof(req.account.username), "%s", name);
    (void)snprintf(req.username_key, sizeof(req.username_key), "key-%.190s", name);
    (void)snprintf(req.account.display_name, sizeof(req.account.display_name), "The %s", name);
    (void)snprintf(req.account.password_hash, sizeof(req.account.password_hash), "hash-%.100s",
                   name);
    return req;
}

static enum confab_err create(uint64_t id, const char *name)
{
    struct dir_request req = account_request(id, name);
    return run(&req);
}

static enum confab_err find_name(const char *name, struct dir_account *ret)
{
    struct dir_request req = {.op = DIR_ACCOUNT_BY_NAME};
    (void)snprintf(req.username_key, sizeof(req.username_key), "key-%.190s", name);
    enum confab_err err = run(&req);
    *ret = req.account;
    return err;
}

static enum confab_err find_id(uint64_t id, struct dir_account *ret)
{
    struct dir_request req = {.op = DIR_ACCOUNT_BY_ID, .user_id = id};
    enum confab_err err = run(&req);
    *ret = req.account;
    return err;
}

static void test_directory__an_account_is_found_by_name_and_id(void **state)
{
    (void)state;
    assert_int_equal(create(7, "anna"), CONFAB_OK);
    assert_int_equal(create(INT64_MAX, "zoe"), CONFAB_OK);
    struct dir_account a;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? find_id(7, &a) : find_name("anna", &a), CONFAB_OK);
        assert_int_equal(a.user_id, 7);
        assert_int_equal(a.created_ms, 1007);
        assert_string_equal(a.username, "anna");
        assert_string_equal(a.display_name, "The anna");
        assert_string_equal(a.password_hash, "hash-anna");
    }
    assert_int_equal(find_id(INT64_MAX, &a), CONFAB_OK);
    assert_string_equal(a.username, "zoe");
    assert_int_equal(find_id(8, &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_id(0, &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_id(UINT64_MAX, &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_name("ann", &a), CONFAB_NOT_FOUND);
}

static void test_directory__names_and_ids_are_unique(void **state)
{
    (void)state;
    struct dir_account a;
    assert_int_equal(create(1, "anna"), CONFAB_OK);
    assert_int_equal(create(2, "anna"), CONFAB_EXISTS);
    assert_int_equal(create(1, "berta"), CONFAB_EXISTS);
    assert_int_equal(find_id(2, &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_name("berta", &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_name("anna", &a), CONFAB_OK);
    assert_int_equal(a.user_id, 1);
    /* The key decides, not the name as written. */
    struct dir_request same_name = account_request(3, "anna");
    (void)snprintf(same_name.username_key, sizeof(same_name.username_key), "other");
    assert_int_equal(run(&same_name), CONFAB_OK);
}

static void test_directory__the_longest_texts_are_kept(void **state)
{
    (void)state;
    struct dir_request req = {.op = DIR_ACCOUNT_CREATE};
    req.account.user_id = 5;
    memset(req.account.username, 'u', DIR_USERNAME_BYTES);
    memset(req.username_key, 'k', DIR_USERNAME_BYTES);
    memset(req.account.display_name, 'd', DIR_DISPLAY_BYTES);
    memset(req.account.password_hash, 'h', DIR_HASH_BYTES - 1);
    assert_int_equal(run(&req), CONFAB_OK);
    struct dir_account a;
    assert_int_equal(find_id(5, &a), CONFAB_OK);
    assert_memory_equal(a.username, req.account.username, sizeof(a.username));
    assert_memory_equal(a.display_name, req.account.display_name, sizeof(a.display_name));
    assert_memory_equal(a.password_hash, req.account.password_hash, sizeof(a.password_hash));
}

static void test_directory__bad_requests_change_nothing(void **state)
{
    (void)state;
    struct dir_request bad[8];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = account_request(9, "bad");
    }
    bad[0].account.user_id = 0;
    bad[1].account.user_id = UINT64_MAX;
    bad[2].account.username[0] = 0;
    bad[3].username_key[0] = 0;
    memset(bad[4].account.username, 'x', sizeof(bad[4].account.username));
    memset(bad[5].account.password_hash, 'x', sizeof(bad[5].account.password_hash));
    bad[6].account.created_ms = UINT64_MAX;
    bad[7].op = (enum dir_op)99;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(run(&bad[i]), CONFAB_INVALID);
    }
    struct dir_account a;
    assert_int_equal(find_id(9, &a), CONFAB_NOT_FOUND);
    assert_int_equal(find_name("bad", &a), CONFAB_NOT_FOUND);
    struct dir_request list = {.op = DIR_CONVERSATIONS_LIST, .user_id = 1, .limit = 0};
    assert_int_equal(run(&list), CONFAB_INVALID);
    struct dir_request lsn = {.op = DIR_PROJECTED_LSN, .partition = ID_PARTITIONS};
    assert_int_equal(run(&lsn), CONFAB_INVALID);
}

static void test_directory__accounts_exist(void **state)
{
    (void)state;
    assert_int_equal(create(1, "a"), CONFAB_OK);
    assert_int_equal(create(3, "c"), CONFAB_OK);
    const uint64_t ids[] = {1, 2, 3, 3, 0, UINT64_MAX};
    const bool want[] = {true, false, true, true, false, false};
    bool got[ARRAY_LEN(ids)];
    struct dir_request req = {
        .op = DIR_ACCOUNTS_EXIST, .ids = ids, .nids = ARRAY_LEN(ids), .exists = got};
    assert_int_equal(run(&req), CONFAB_OK);
    assert_memory_equal(got, want, sizeof(want));
}

static struct dir_request device_request(uint64_t user, uint64_t device)
{
    struct dir_request req = {.op = DIR_DEVICE_CREATE, .devices_max = 3};
    req.device.user_id = user;
    req.device.device_id = device;
    req.device.created_ms = 2000 + device;
    (void)snprintf(req.device.name, sizeof(req.device.name), "device %u", (unsigned)device);
    memset(req.device.token_hash, (int)device, sizeof(req.device.token_hash));
    return req;
}

static enum confab_err add_device(uint64_t user, uint64_t device)
{
    struct dir_request req = device_request(user, device);
    return run(&req);
}

static enum confab_err by_token(uint64_t device, struct dir_device *ret)
{
    struct dir_request req = {.op = DIR_DEVICE_BY_TOKEN};
    memset(req.token_hash, (int)device, sizeof(req.token_hash));
    enum confab_err err = run(&req);
    *ret = req.device;
    return err;
}

static enum confab_err revoke(uint64_t user, uint64_t device)
{
    struct dir_request req = {.op = DIR_DEVICE_REVOKE, .user_id = user, .device_id = device};
    return run(&req);
}

/* `want` holds the device ids, zero at the end. */
static void expect_devices(uint64_t user, const uint64_t *want)
{
    struct dir_request req = {.op = DIR_DEVICE_LIST, .user_id = user};
    assert_int_equal(run(&req), CONFAB_OK);
    uint32_t n = 0;
    for (; want[n] != 0; n++) {
        assert_true(n < req.ret_ndevices);
        assert_int_equal(req.ret_devices[n].device_id, want[n]);
        assert_int_equal(req.ret_devices[n].user_id, user);
        assert_int_equal(req.ret_devices[n].created_ms, 2000 + want[n]);
    }
    assert_int_equal(req.ret_ndevices, n);
    dir_request_deinit(&req);
}

static void test_directory__a_device_is_found_by_token(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(create(1, "anna"), CONFAB_OK);
    assert_int_equal(by_token(10, &d), CONFAB_NOT_FOUND);
    assert_int_equal(add_device(1, 10), CONFAB_OK);
    assert_int_equal(by_token(10, &d), CONFAB_OK);
    assert_int_equal(d.device_id, 10);
    assert_int_equal(d.user_id, 1);
    assert_int_equal(d.created_ms, 2010);
    assert_string_equal(d.name, "device 10");
    uint8_t hash[DIR_TOKEN_HASH];
    memset(hash, 10, sizeof(hash));
    assert_memory_equal(d.token_hash, hash, sizeof(hash));
    assert_int_equal(by_token(11, &d), CONFAB_NOT_FOUND);
}

static void test_directory__devices_have_a_user_an_id_and_a_limit(void **state)
{
    (void)state;
    assert_int_equal(add_device(1, 10), CONFAB_NOT_FOUND);
    assert_int_equal(create(1, "anna"), CONFAB_OK);
    assert_int_equal(create(2, "berta"), CONFAB_OK);
    assert_int_equal(add_device(1, 30), CONFAB_OK);
    assert_int_equal(add_device(1, 30), CONFAB_EXISTS);
    assert_int_equal(add_device(2, 30), CONFAB_EXISTS);
    struct dir_request same_token = device_request(2, 31);
    memset(same_token.device.token_hash, 30, sizeof(same_token.device.token_hash));
    assert_int_equal(run(&same_token), CONFAB_EXISTS);
    assert_int_equal(add_device(1, 10), CONFAB_OK);
    assert_int_equal(add_device(1, 20), CONFAB_OK);
    assert_int_equal(add_device(1, 40), CONFAB_LIMIT);
    assert_int_equal(add_device(1, 10), CONFAB_EXISTS);
    assert_int_equal(add_device(2, 40), CONFAB_OK);
    expect_devices(1, (const uint64_t[]){10, 20, 30, 0});
    expect_devices(2, (const uint64_t[]){40, 0});
    expect_devices(3, (const uint64_t[]){0});
    struct dir_request bad = device_request(1, 0);
    assert_int_equal(run(&bad), CONFAB_INVALID);
    bad = device_request(1, 50);
    memset(bad.device.name, 'x', sizeof(bad.device.name));
    assert_int_equal(run(&bad), CONFAB_INVALID);
}

static void test_directory__a_revoked_device_is_gone(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(create(1, "anna"), CONFAB_OK);
    assert_int_equal(create(2, "berta"), CONFAB_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(add_device(1, i * 10), CONFAB_OK);
    }
    assert_int_equal(revoke(2, 20), CONFAB_NOT_FOUND); /* not that user's */
    assert_int_equal(by_token(20, &d), CONFAB_OK);
    assert_int_equal(revoke(1, 20), CONFAB_OK);
    assert_int_equal(by_token(20, &d), CONFAB_NOT_FOUND);
    assert_int_equal(revoke(1, 20), CONFAB_NOT_FOUND);
    assert_int_equal(revoke(1, 99), CONFAB_NOT_FOUND);
    expect_devices(1, (const uint64_t[]){10, 30, 0});
    assert_int_equal(add_device(1, 40), CONFAB_OK); /* there is room again */
    assert_int_equal(by_token(10, &d), CONFAB_OK);
}

static struct dir_conv_row row_of(uint64_t user, uint64_t conv, uint64_t lsn)
{
    return (struct dir_conv_row){.user_id = user,
                                 .conv = {conv, conv ^ UINT64_MAX},
                                 .lsn = lsn,
                                 .since_ms = 10 * lsn,
                                 .conv_kind = 2,
                                 .joined = lsn % 2 == 1};
}

static enum confab_err project(uint16_t partition, uint64_t lsn, struct dir_conv_row *rows,
                               uint32_t n)
{
    struct dir_request req = {.op = DIR_CONVERSATIONS_PROJECT,
                              .partition = partition,
                              .lsn = lsn,
                              .conv_rows = rows,
                              .nconv_rows = n};
    enum confab_err err = run(&req);
    assert_ptr_equal(req.conv_rows, rows);
    dir_request_deinit(&req);
    return err;
}

static uint64_t projected(uint16_t partition)
{
    struct dir_request req = {.op = DIR_PROJECTED_LSN, .partition = partition, .lsn = 77};
    assert_int_equal(run(&req), CONFAB_OK);
    return req.lsn;
}

/* The stored LSN of one conversation of the user; 0 when it is not listed. */
static uint64_t listed_lsn(uint64_t user, uint64_t conv)
{
    struct dir_request req = {.op = DIR_CONVERSATIONS_LIST, .user_id = user, .limit = 100};
    assert_int_equal(run(&req), CONFAB_OK);
    uint64_t lsn = 0;
    for (uint32_t i = 0; i < req.nconv_rows; i++) {
        const struct dir_conv_row *row = &req.conv_rows[i];
        assert_int_equal(row->user_id, user);
        if (row->conv.hi == conv) {
            struct dir_conv_row want = row_of(user, conv, row->lsn);
            assert_true(conv_id_eq(row->conv, want.conv));
            assert_int_equal(row->since_ms, want.since_ms);
            assert_int_equal(row->conv_kind, want.conv_kind);
            assert_int_equal(row->joined, want.joined);
            lsn = row->lsn;
        }
    }
    dir_request_deinit(&req);
    return lsn;
}

static void test_directory__a_projection_takes_higher_lsns_only(void **state)
{
    (void)state;
    assert_int_equal(projected(3), 0);
    struct dir_conv_row first[] = {row_of(1, 100, 11), row_of(2, 100, 11), row_of(1, 200, 12)};
    assert_int_equal(project(3, 12, first, 3), CONFAB_OK);
    assert_int_equal(projected(3), 12);
    assert_int_equal(projected(4), 0);
    assert_int_equal(listed_lsn(1, 100), 11);

    struct dir_conv_row next[] = {row_of(1, 100, 20), row_of(1, 200, 5), row_of(2, 300, 21)};
    assert_int_equal(project(3, 21, next, 3), CONFAB_OK);
    assert_int_equal(listed_lsn(1, 100), 20);
    assert_int_equal(listed_lsn(1, 200), 12);
    assert_int_equal(listed_lsn(2, 100), 11);
    assert_int_equal(listed_lsn(2, 300), 21);

    for (int i = 0; i < 2; i++) { /* the same again, as after a crash, changes nothing */
        assert_int_equal(project(3, 12, first, 3), CONFAB_OK);
        assert_int_equal(listed_lsn(1, 100), 20);
        assert_int_equal(listed_lsn(1, 200), 12);
        assert_int_equal(projected(3), 21);
    }
    assert_int_equal(project(1023, 5, NULL, 0), CONFAB_OK);
    assert_int_equal(projected(1023), 5);
}

static void test_directory__a_bad_projection_changes_nothing(void **state)
{
    (void)state;
    struct dir_conv_row rows[] = {row_of(1, 100, 1), row_of(0, 100, 1)};
    assert_int_equal(project(3, 2, rows, 2), CONFAB_INVALID);
    rows[1] = row_of(1, 200, UINT64_MAX);
    assert_int_equal(project(3, 2, rows, 2), CONFAB_INVALID);
    rows[1] = row_of(1, 200, 1);
    rows[1].conv = (struct conv_id){0, 0};
    assert_int_equal(project(3, 2, rows, 2), CONFAB_INVALID);
    assert_int_equal(project(ID_PARTITIONS, 2, rows, 1), CONFAB_INVALID);
    assert_int_equal(listed_lsn(1, 100), 0);
    assert_int_equal(projected(3), 0);
}

static void test_directory__conversations_are_paged_in_order(void **state)
{
    (void)state;
    enum { N = 50 };
    struct dir_conv_row rows[N + 2];
    for (uint64_t i = 0; i < N; i++) { /* highest first, and beyond the sign bit */
        rows[i] = row_of(5, UINT64_MAX - i * (UINT64_MAX / N), i + 1);
    }
    rows[N] = row_of(4, 1, 1);
    rows[N + 1] = row_of(6, 1, 1);
    assert_int_equal(project(0, N, rows, N + 2), CONFAB_OK);
    struct conv_id after = {0, 0};
    uint32_t seen = 0;
    for (;;) {
        struct dir_request req = {
            .op = DIR_CONVERSATIONS_LIST, .user_id = 5, .limit = 7, .after = after};
        assert_int_equal(run(&req), CONFAB_OK);
        assert_true(req.nconv_rows <= 7);
        uint32_t n = req.nconv_rows;
        for (uint32_t i = 0; i < n; i++) {
            assert_true(conv_id_cmp(req.conv_rows[i].conv, after) > 0);
            assert_int_equal(req.conv_rows[i].user_id, 5);
            after = req.conv_rows[i].conv;
        }
        seen += n;
        dir_request_deinit(&req);
        if (n < 7) {
            break;
        }
    }
    assert_int_equal(seen, N);
}

static void test_directory__ping_answers(void **state)
{
    (void)state;
    struct dir_request req = {.op = DIR_PING};
    assert_int_equal(run(&req), CONFAB_OK);
}

/* Many at once: every second one takes a name that is taken, each gets its own answer. */
static void test_directory__each_of_many_gets_its_own_answer(void **state)
{
    (void)state;
    enum { N = 600 };
    struct dir_request *reqs = calloc(N, sizeof(*reqs));
    assert_non_null(reqs);
    struct gate gate = GATE_INIT;
    for (unsigned i = 0; i < N; i++) {
        char name[20];
        (void)snprintf(name, sizeof(name), "user%u", i / 2);
        reqs[i] = account_request(i + 1, name);
        reqs[i].done = on_done;
        reqs[i].arg = &gate;
        assert_int_equal(directory_submit(fx.dir, &reqs[i]), CONFAB_OK);
    }
    gate_wait(&gate, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(reqs[i].ret_err, i % 2 == 0 ? CONFAB_OK : CONFAB_EXISTS);
        struct dir_account a;
        if (i % 50 < 2) {
            assert_int_equal(find_id(i + 1, &a), i % 2 == 0 ? CONFAB_OK : CONFAB_NOT_FOUND);
        }
    }
    free(reqs);
}

enum { THREADS = 4, ROUNDS = 50 };
static void *sign_up(void *arg)
{
    const uint64_t *t = arg;
    uintptr_t won = 0;
    for (uint64_t i = 0; i < ROUNDS; i++) { /* all threads want the same names */
        char name[20];
        (void)snprintf(name, sizeof(name), "user%u", (unsigned)i);
        struct dir_request req = account_request(1 + *t * ROUNDS + i, name);
        struct gate gate = GATE_INIT;
        req.arg = &gate;
        req.done = on_done;
        if (directory_submit(fx.dir, &req) == CONFAB_OK) {
            gate_wait(&gate, 1);
            won += req.ret_err == CONFAB_OK;
        }
    }
    return (void *)won;
}

static void test_directory__a_name_has_one_winner_among_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    uint64_t numbers[THREADS];
    for (uint64_t i = 0; i < THREADS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, sign_up, &numbers[i]), 0);
    }
    uintptr_t won = 0;
    for (unsigned i = 0; i < THREADS; i++) {
        void *ret = NULL;
        assert_int_equal(pthread_join(threads[i], &ret), 0);
        won += (uintptr_t)ret;
    }
    assert_int_equal(won, ROUNDS);
}

static void test_directory__rows_survive_a_reopen(void **state)
{
    (void)state;
    struct dir_account a;
    struct dir_device d;
    struct dir_conv_row row = row_of(1, 100, 11);
    assert_int_equal(create(1, "anna"), CONFAB_OK);
    assert_int_equal(add_device(1, 10), CONFAB_OK);
    assert_int_equal(add_device(1, 20), CONFAB_OK);
    assert_int_equal(revoke(1, 20), CONFAB_OK);
    assert_int_equal(project(9, 11, &row, 1), CONFAB_OK);
    if (fx.kind->sqlite) {
        close_dir();
        open_dir();
    } else {
        directory_mem_attach(fx.inner, fx.ex);
    }
    assert_int_equal(find_name("anna", &a), CONFAB_OK);
    assert_int_equal(by_token(10, &d), CONFAB_OK);
    assert_int_equal(by_token(20, &d), CONFAB_NOT_FOUND);
    assert_int_equal(listed_lsn(1, 100), 11);
    assert_int_equal(projected(9), 11);
    assert_int_equal(create(1, "anna"), CONFAB_EXISTS);
}

#define CASE(f)                                                                                    \
    {                                                                                              \
#f, f, setup, teardown, NULL                                                               \
    }
static const struct CMUnitTest CASES[] = {
    CASE(test_directory__an_account_is_found_by_name_and_id),
    CASE(test_directory__names_and_ids_are_unique),
    CASE(test_directory__the_longest_texts_are_kept),
    CASE(test_directory__bad_requests_change_nothing),
    CASE(test_directory__accounts_exist),
    CASE(test_directory__a_device_is_found_by_token),
    CASE(test_directory__devices_have_a_user_an_id_and_a_limit),
    CASE(test_directory__a_revoked_device_is_gone),
    CASE(test_directory__a_projection_takes_higher_lsns_only),
    CASE(test_directory__a_bad_projection_changes_nothing),
    CASE(test_directory__conversations_are_paged_in_order),
    CASE(test_directory__ping_answers),
    CASE(test_directory__each_of_many_gets_its_own_answer),
    CASE(test_directory__a_name_has_one_winner_among_threads),
    CASE(test_directory__rows_survive_a_reopen),
};

int main(void)
{
    int failed = 0;
    for (unsigned k = 0; k < ARRAY_LEN(KINDS); k++) {
        struct CMUnitTest tests[ARRAY_LEN(CASES)];
        for (unsigned i = 0; i < ARRAY_LEN(CASES); i++) {
            tests[i] = CASES[i];
            tests[i].initial_state = (void *)&KINDS[k];
        }
        failed += cmocka_run_group_tests_name(KINDS[k].name, tests, NULL, NULL);
    }
    return failed;
}
