#include "dir_rig.h"

#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/os/executor_pool.h"
#include "adapters/sqlite/directory_sqlite.h"
#include "store_bench.h"

static const struct dir_kind KINDS[] = {
    {"mem, inline", false, false, false},      {"mem, threads", false, true, false},
    {"mem, fault wrapper", false, true, true}, {"sqlite, inline", true, false, false},
    {"sqlite, threads", true, true, false},    {"sqlite, fault wrapper", true, true, true},
};

struct dir_rig dir_rig;

static void open_dir(void)
{
    struct dir_rig *fx = &dir_rig;
    if (fx->kind->sqlite) {
        assert_int_equal(
            directory_sqlite_open(fx->path, (struct directory_sqlite_cfg){0}, fx->ex, &fx->inner),
            CONFAB_OK);
    } else {
        assert_int_equal(directory_mem_open(fx->ex, &fx->inner), CONFAB_OK);
    }
    fx->dir = fx->inner;
    if (fx->kind->fault) {
        assert_int_equal(directory_fault_open(fx->inner, &fx->dir), CONFAB_OK);
    }
}

static void close_dir(void)
{
    if (dir_rig.kind->fault) {
        directory_fault_close(dir_rig.dir);
    }
    if (dir_rig.kind->sqlite) {
        directory_sqlite_close(dir_rig.inner);
    } else {
        directory_mem_close(dir_rig.inner);
    }
}

void dir_rig_reopen(void)
{
    if (dir_rig.kind->sqlite) {
        close_dir();
        open_dir();
    } else {
        directory_mem_attach(dir_rig.inner, dir_rig.ex);
    }
}

int dir_rig_setup(void **state)
{
    struct dir_rig *fx = &dir_rig;
    fx->kind = *state;
    temp_dir_make(fx->tmp, sizeof(fx->tmp));
    (void)snprintf(fx->path, sizeof(fx->path), "%.60s/directory.db", fx->tmp);
    if (fx->kind->threads) {
        assert_int_equal(executor_pool_open(1, 5000, "dir", &fx->ex), CONFAB_OK);
    } else {
        assert_int_equal(executor_inline_open(false, 5000, &fx->ex), CONFAB_OK);
    }
    open_dir();
    return 0;
}

int dir_rig_teardown(void **state)
{
    (void)state;
    close_dir();
    if (dir_rig.kind->threads) {
        executor_pool_close(dir_rig.ex);
    } else {
        executor_inline_close(dir_rig.ex);
    }
    temp_dir_remove(dir_rig.tmp);
    return 0;
}

static int run_kinds(const struct CMUnitTest *cases, unsigned n, bool sqlite_only)
{
    int failed = 0;
    struct CMUnitTest *tests = calloc(n, sizeof(*tests));
    CHECK(tests);
    for (unsigned k = 0; k < ARRAY_LEN(KINDS); k++) {
        if (sqlite_only && !KINDS[k].sqlite) {
            continue;
        }
        for (unsigned i = 0; i < n; i++) {
            tests[i] = cases[i];
            tests[i].initial_state = (void *)&KINDS[k];
        }
        failed += _cmocka_run_group_tests(KINDS[k].name, tests, n, NULL, NULL);
    }
    free(tests);
    return failed;
}

int dir_rig_main(const struct CMUnitTest *cases, unsigned n)
{
    return run_kinds(cases, n, false);
}

int dir_rig_main_sqlite(const struct CMUnitTest *cases, unsigned n)
{
    return run_kinds(cases, n, true);
}

static void on_done(struct dir_request *req)
{
    gate_pass(req->arg);
}

enum confab_err dir_run(struct dir_request *req)
{
    struct gate gate = GATE_INIT;
    req->arg = &gate;
    req->done = on_done;
    req->ret_err = CONFAB_AGAIN;
    assert_int_equal(directory_submit(dir_rig.dir, req), CONFAB_OK);
    gate_wait(&gate, 1);
    return req->ret_err;
}

void dir_submit_all(struct dir_request *reqs, unsigned n)
{
    enum { AT_ONCE = 1000 };
    struct gate gate = GATE_INIT;
    for (unsigned i = 0; i < n; i++) {
        reqs[i].arg = &gate;
        reqs[i].done = on_done;
        assert_int_equal(directory_submit(dir_rig.dir, &reqs[i]), CONFAB_OK);
        if ((i + 1) % AT_ONCE == 0 || i + 1 == n) {
            gate_wait(&gate, i + 1);
        }
    }
}

void dir_run_all(struct dir_request *reqs, unsigned n)
{
    dir_submit_all(reqs, n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(reqs[i].ret_err, CONFAB_OK);
    }
}

/* ---- accounts ---- */

struct dir_request dir_account_request(uint64_t id, const char *name)
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

enum confab_err dir_create(uint64_t id, const char *name)
{
    struct dir_request req = dir_account_request(id, name);
    return dir_run(&req);
}

enum confab_err dir_find_name(const char *name, struct dir_account *ret)
{
    struct dir_request req = {.op = DIR_ACCOUNT_BY_NAME};
    (void)snprintf(req.username_key, sizeof(req.username_key), "key-%.190s", name);
    enum confab_err err = dir_run(&req);
    *ret = req.account;
    return err;
}

enum confab_err dir_find_id(uint64_t id, struct dir_account *ret)
{
    struct dir_request req = {.op = DIR_ACCOUNT_BY_ID, .user_id = id};
    enum confab_err err = dir_run(&req);
    *ret = req.account;
    return err;
}

/* ---- devices ---- */

struct dir_request dir_device_request(uint64_t user, uint64_t device)
{
    struct dir_request req = {.op = DIR_DEVICE_CREATE, .devices_max = 3};
    req.device.user_id = user;
    req.device.device_id = device;
    req.device.created_ms = 2000 + device;
    (void)snprintf(req.device.name, sizeof(req.device.name), "device %u", (unsigned)device);
    (void)snprintf(req.device.last_address, sizeof(req.device.last_address), "10.0.0.%u",
                   (unsigned)device);
    memset(req.device.token_hash, (int)device, sizeof(req.device.token_hash));
    memset(req.device.chain_hash, (int)device, sizeof(req.device.chain_hash));
    return req;
}

enum confab_err dir_add_device(uint64_t user, uint64_t device)
{
    struct dir_request req = dir_device_request(user, device);
    return dir_run(&req);
}

enum confab_err dir_find_device(uint64_t device, struct dir_device *ret)
{
    struct dir_request req = {.op = DIR_DEVICE_BY_ID, .device_id = device};
    enum confab_err err = dir_run(&req);
    *ret = req.device;
    return err;
}

enum confab_err dir_revoke(uint64_t user, uint64_t device, uint64_t now_ms)
{
    struct dir_request req = {
        .op = DIR_DEVICE_REVOKE, .user_id = user, .device_id = device, .now_ms = now_ms};
    return dir_run(&req);
}

void dir_expect_devices(uint64_t user, const uint64_t *want)
{
    struct dir_request req = {.op = DIR_DEVICE_LIST, .user_id = user};
    assert_int_equal(dir_run(&req), CONFAB_OK);
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

void dir_expect_ids(const struct dir_request *req, const uint64_t *want)
{
    uint32_t n = 0;
    for (; want[n] != 0; n++) {
        unsigned found = 0;
        for (uint32_t i = 0; i < req->ret_nids; i++) {
            found += req->ret_ids[i] == want[n];
        }
        assert_int_equal(found, 1);
    }
    assert_int_equal(req->ret_nids, n);
}

/* ---- audit ---- */

struct dir_audit dir_audit(const char *action, unsigned n)
{
    struct dir_audit a = {.audit_id = 777, .at_ms = 100 + n, .actor = 200 + n, .target = 300 + n};
    (void)snprintf(a.action, sizeof(a.action), "%s", action);
    (void)snprintf(a.detail, sizeof(a.detail), "detail %u", n);
    (void)snprintf(a.address, sizeof(a.address), "2001:db8::%u", n);
    return a;
}

uint32_t dir_audits(void)
{
    struct dir_request req = {.op = DIR_AUDIT_LIST, .limit = 1000};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    uint32_t n = req.ret_naudits;
    dir_request_deinit(&req);
    return n;
}
