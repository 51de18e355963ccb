/* Contract of the directory port, over every adapter: devices, their tokens, the audit record. */
#include "dir_rig.h"

static enum confab_err by_token(uint64_t device, struct dir_device *ret)
{
    struct dir_request req = {.op = DIR_DEVICE_BY_TOKEN};
    memset(req.token_hash, (int)device, sizeof(req.token_hash));
    enum confab_err err = dir_run(&req);
    *ret = req.device;
    return err;
}

static void expect_hash(const uint8_t hash[DIR_TOKEN_HASH], uint8_t want)
{
    for (unsigned i = 0; i < DIR_TOKEN_HASH; i++) {
        assert_int_equal(hash[i], want);
    }
}

static void test_directory__a_device_is_found_by_token_and_id(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(by_token(10, &d), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_device(10, &d), CONFAB_NOT_FOUND);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? by_token(10, &d) : dir_find_device(10, &d), CONFAB_OK);
        assert_int_equal(d.device_id, 10);
        assert_int_equal(d.user_id, 1);
        assert_int_equal(d.created_ms, 2010);
        assert_int_equal(d.last_used_ms, 2010);
        assert_int_equal(d.rotated_ms, 0);
        assert_int_equal(d.revoked_ms, 0);
        assert_int_equal(d.generation, 0);
        assert_string_equal(d.name, "device 10");
        assert_string_equal(d.last_address, "10.0.0.10");
        expect_hash(d.token_hash, 10);
        expect_hash(d.chain_hash, 10);
        expect_hash(d.previous_hash, 0);
    }
    assert_int_equal(by_token(11, &d), CONFAB_NOT_FOUND);
    struct dir_request req = {.op = DIR_DEVICE_BY_ID, .user_id = 2, .device_id = 10};
    assert_int_equal(dir_run(&req), CONFAB_NOT_FOUND); /* not that user's */
    req.user_id = 1;
    assert_int_equal(dir_run(&req), CONFAB_OK);
}

static void test_directory__devices_have_a_user_an_id_and_a_limit(void **state)
{
    (void)state;
    assert_int_equal(dir_add_device(1, 10), CONFAB_NOT_FOUND);
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 30), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 30), CONFAB_EXISTS);
    assert_int_equal(dir_add_device(2, 30), CONFAB_EXISTS);
    struct dir_request same_token = dir_device_request(2, 31);
    memset(same_token.device.token_hash, 30, sizeof(same_token.device.token_hash));
    assert_int_equal(dir_run(&same_token), CONFAB_EXISTS);
    struct dir_request same_chain = dir_device_request(2, 31);
    memset(same_chain.device.chain_hash, 30, sizeof(same_chain.device.chain_hash));
    assert_int_equal(dir_run(&same_chain), CONFAB_EXISTS);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 20), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 40), CONFAB_LIMIT);
    assert_int_equal(dir_add_device(1, 10), CONFAB_EXISTS);
    assert_int_equal(dir_add_device(2, 40), CONFAB_OK);
    dir_expect_devices(1, (const uint64_t[]){10, 20, 30, 0});
    dir_expect_devices(2, (const uint64_t[]){40, 0});
    dir_expect_devices(3, (const uint64_t[]){0});
    struct dir_request bad = dir_device_request(1, 0);
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
    bad = dir_device_request(1, 50);
    memset(bad.device.name, 'x', sizeof(bad.device.name));
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
    bad = dir_device_request(1, 50);
    memset(bad.device.last_address, 'x', sizeof(bad.device.last_address));
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
}

static void test_directory__devices_without_a_chain_are_many(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    for (uint64_t i = 1; i <= 2; i++) {
        struct dir_request req = dir_device_request(1, i);
        memset(req.device.chain_hash, 0, sizeof(req.device.chain_hash));
        assert_int_equal(dir_run(&req), CONFAB_OK);
    }
    dir_expect_devices(1, (const uint64_t[]){1, 2, 0});
}

/* The password was changed between its verification and the device. */
static void test_directory__a_device_needs_the_hash_that_was_verified(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    struct dir_request req = dir_device_request(1, 10);
    (void)snprintf(req.account.password_hash, sizeof(req.account.password_hash), "hash-older");
    assert_int_equal(dir_run(&req), CONFAB_UNAUTHENTICATED);
    assert_int_equal(dir_find_device(10, &d), CONFAB_NOT_FOUND);
    (void)snprintf(req.account.password_hash, sizeof(req.account.password_hash), "hash-anna");
    assert_int_equal(dir_run(&req), CONFAB_OK);
}

static void test_directory__a_revoked_device_is_gone(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    for (uint64_t i = 1; i <= 3; i++) {
        assert_int_equal(dir_add_device(1, i * 10), CONFAB_OK);
    }
    assert_int_equal(dir_revoke(2, 20, 5000), CONFAB_NOT_FOUND); /* not that user's */
    assert_int_equal(by_token(20, &d), CONFAB_OK);
    assert_int_equal(dir_revoke(1, 20, 0), CONFAB_INVALID);
    assert_int_equal(dir_revoke(1, 20, 5000), CONFAB_OK);
    assert_int_equal(by_token(20, &d), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_device(20, &d), CONFAB_NOT_FOUND);
    assert_int_equal(dir_revoke(1, 20, 5000), CONFAB_NOT_FOUND);
    assert_int_equal(dir_revoke(1, 99, 5000), CONFAB_NOT_FOUND);
    dir_expect_devices(1, (const uint64_t[]){10, 30, 0});
    assert_int_equal(dir_add_device(1, 20), CONFAB_EXISTS); /* its row is kept */
    assert_int_equal(dir_add_device(1, 40), CONFAB_OK);     /* there is room again */
    assert_int_equal(by_token(10, &d), CONFAB_OK);
    dir_rig_reopen();
    assert_int_equal(by_token(10, &d), CONFAB_OK);
    assert_int_equal(by_token(20, &d), CONFAB_NOT_FOUND);
}

static void test_directory__a_device_is_renamed(void **state)
{
    (void)state;
    struct dir_device d;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    struct dir_request req = {.op = DIR_DEVICE_RENAME, .user_id = 2, .device_id = 10};
    (void)snprintf(req.device.name, sizeof(req.device.name), "kitchen");
    assert_int_equal(dir_run(&req), CONFAB_NOT_FOUND);
    req.user_id = 1;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.device.created_ms, 2010);
    assert_string_equal(req.device.name, "kitchen");
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    assert_string_equal(d.name, "kitchen");
    assert_string_equal(d.last_address, "10.0.0.10");
    memset(req.device.name, 'x', sizeof(req.device.name));
    assert_int_equal(dir_run(&req), CONFAB_INVALID);
    assert_int_equal(dir_revoke(1, 10, 5000), CONFAB_OK);
    (void)snprintf(req.device.name, sizeof(req.device.name), "attic");
    assert_int_equal(dir_run(&req), CONFAB_NOT_FOUND);
}

/* ---- chains of tokens ---- */

enum { GRACE_MS = 60000, SALTS = 100 };

/* Presents token `token` of the device's chain, its successor being `next`. */
static struct dir_request rotation(uint64_t device, uint8_t token, uint8_t next, uint64_t now_ms)
{
    struct dir_request req = {.op = DIR_DEVICE_ROTATE, .now_ms = now_ms, .grace_ms = GRACE_MS};
    memset(req.chain_hash, (int)device, sizeof(req.chain_hash));
    memset(req.token_hash, token, sizeof(req.token_hash));
    memset(req.next_hash, next, sizeof(req.next_hash));
    memset(req.next_salt, next + SALTS, sizeof(req.next_salt));
    (void)snprintf(req.address, sizeof(req.address), "10.1.1.%u", next);
    return req;
}

static void begin_chain(void)
{
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 20), CONFAB_OK);
}

static void test_directory__a_token_is_rotated(void **state)
{
    (void)state;
    begin_chain();
    for (uint8_t i = 1; i <= 3; i++) {
        uint8_t token = i == 1 ? 10 : (uint8_t)(30 + i - 1);
        struct dir_request req = rotation(10, token, (uint8_t)(30 + i), 9000 + i);
        assert_int_equal(dir_run(&req), CONFAB_OK);
        assert_int_equal(req.ret_rotated, DIR_ROTATED);
        assert_int_equal(req.account.user_id, 1);
        assert_string_equal(req.account.username, "anna");
        struct dir_device stored;
        assert_int_equal(dir_find_device(10, &stored), CONFAB_OK);
        for (int k = 0; k < 2; k++) {
            const struct dir_device *d = k ? &stored : &req.device;
            assert_int_equal(d->device_id, 10);
            assert_int_equal(d->user_id, 1);
            assert_int_equal(d->created_ms, 2010);
            assert_int_equal(d->generation, i);
            assert_int_equal(d->rotated_ms, 9000 + i);
            assert_int_equal(d->last_used_ms, 9000 + i);
            assert_int_equal(d->revoked_ms, 0);
            assert_string_equal(d->last_address, req.address);
            assert_string_equal(d->name, "device 10");
            expect_hash(d->token_hash, (uint8_t)(30 + i));
            expect_hash(d->previous_hash, token);
            expect_hash(d->chain_hash, 10);
            expect_hash(d->salt, (uint8_t)(30 + i + SALTS));
        }
    }
    dir_rig_reopen();
    struct dir_request req = rotation(10, 33, 34, 9999);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_rotated, DIR_ROTATED);
    assert_int_equal(req.device.generation, 4);
}

/* The answer was lost: the same successor can be made again, for a while. */
static void test_directory__the_predecessor_is_forgiven_for_a_while(void **state)
{
    (void)state;
    begin_chain();
    struct dir_request req = rotation(10, 10, 31, 100000);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    const uint64_t times[] = {100000, 100000 + GRACE_MS, 50000};
    for (unsigned i = 0; i < ARRAY_LEN(times); i++) {
        struct dir_request again = rotation(10, 10, (uint8_t)(40 + i), times[i]);
        assert_int_equal(dir_run(&again), CONFAB_OK);
        assert_int_equal(again.ret_rotated, DIR_ROTATE_AGAIN);
        assert_int_equal(again.device.device_id, 10);
        assert_int_equal(again.device.generation, 1);
        expect_hash(again.device.salt, 31 + SALTS);
        expect_hash(again.device.token_hash, 31);
    }
    struct dir_device d;
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    assert_int_equal(d.rotated_ms, 100000);
    assert_string_equal(d.last_address, "10.1.1.31");
    struct dir_request late = rotation(10, 10, 50, 100000 + GRACE_MS + 1);
    assert_int_equal(dir_run(&late), CONFAB_OK);
    assert_int_equal(late.ret_rotated, DIR_ROTATE_REUSED);
    assert_int_equal(late.device.device_id, 10);
    assert_int_equal(late.device.revoked_ms, 100000 + GRACE_MS + 1);
    assert_int_equal(dir_find_device(10, &d), CONFAB_NOT_FOUND);
    late = rotation(10, 31, 50, 100000 + GRACE_MS + 1);
    assert_int_equal(dir_run(&late), CONFAB_NOT_FOUND); /* nor does the present one work now */
    dir_expect_devices(1, (const uint64_t[]){20, 0});
}

static void test_directory__an_older_token_ends_its_device(void **state)
{
    (void)state;
    begin_chain();
    struct dir_audit audit = dir_audit("device_reused", 1);
    audit.actor = 0;
    audit.target = 0;
    const uint8_t tokens[] = {10, 31, 32, 10};
    for (unsigned i = 0; i < ARRAY_LEN(tokens); i++) {
        struct dir_request req = rotation(10, tokens[i], (uint8_t)(31 + i), 9000 + i);
        req.audit = &audit;
        assert_int_equal(dir_run(&req), CONFAB_OK);
        assert_int_equal(req.ret_rotated, i < 3 ? DIR_ROTATED : DIR_ROTATE_REUSED);
        assert_int_equal(dir_audits(), i < 3 ? 0 : 1);
    }
    dir_expect_devices(1, (const uint64_t[]){20, 0});
    struct dir_request list = {.op = DIR_AUDIT_LIST, .limit = 5};
    assert_int_equal(dir_run(&list), CONFAB_OK);
    assert_int_equal(list.ret_audits[0].actor, 1);
    assert_int_equal(list.ret_audits[0].target, 10);
    dir_request_deinit(&list);
    struct dir_request revoked = {.op = DIR_DEVICES_REVOKED, .since_ms = 9003, .limit = 10};
    assert_int_equal(dir_run(&revoked), CONFAB_OK);
    dir_expect_ids(&revoked, (const uint64_t[]){10, 0});
    dir_request_deinit(&revoked);
}

static void test_directory__bad_rotations_change_nothing(void **state)
{
    (void)state;
    begin_chain();
    struct dir_request unknown = rotation(11, 10, 31, 9000);
    assert_int_equal(dir_run(&unknown), CONFAB_NOT_FOUND);
    struct dir_request taken = rotation(10, 10, 20, 9000);
    assert_int_equal(dir_run(&taken), CONFAB_EXISTS);
    struct dir_request bad[6];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = rotation(10, 10, 31, 9000);
    }
    memset(bad[0].chain_hash, 0, sizeof(bad[0].chain_hash));
    memset(bad[1].token_hash, 0, sizeof(bad[1].token_hash));
    memset(bad[2].next_hash, 0, sizeof(bad[2].next_hash));
    bad[3].now_ms = 0;
    bad[4].now_ms = UINT64_MAX;
    memset(bad[5].address, 'x', sizeof(bad[5].address));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dir_run(&bad[i]), CONFAB_INVALID);
    }
    struct dir_device d;
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    assert_int_equal(d.generation, 0);
    expect_hash(d.token_hash, 10);
}

/* What the fault decorator is for: the rotation was made, and its answer says that it failed. */
static void test_directory__a_rotation_with_a_lost_answer_is_repeated(void **state)
{
    (void)state;
    begin_chain();
    if (dir_rig.kind->fault) {
        struct fault_plan *plan = directory_fault_plan(dir_rig.dir);
        assert_int_equal(fault_plan_arm(plan, DIR_DEVICE_ROTATE, 1, 1, FAULT_UNKNOWN, CONFAB_IO),
                         CONFAB_OK);
        assert_int_equal(fault_plan_arm(plan, DIR_DEVICE_ROTATE, 3, 1, FAULT_FAIL, CONFAB_IO),
                         CONFAB_OK);
    }
    enum confab_err failed = dir_rig.kind->fault ? CONFAB_IO : CONFAB_OK;
    struct dir_request req = rotation(10, 10, 31, 9000);
    assert_int_equal(dir_run(&req), failed);
    req = rotation(10, 10, 40, 9001);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_rotated, DIR_ROTATE_AGAIN);
    expect_hash(req.device.salt, 31 + SALTS);
    if (dir_rig.kind->fault) {
        req = rotation(10, 31, 32, 9002);
        assert_int_equal(dir_run(&req), CONFAB_IO);
    }
    req = rotation(10, 31, 33, 9003); /* the one that failed was not made */
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_rotated, DIR_ROTATED);
    expect_hash(req.device.token_hash, 33);
}

/* ---- many devices at once ---- */

static void test_directory__all_devices_but_one_are_revoked(void **state)
{
    (void)state;
    begin_chain();
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 30), CONFAB_OK);
    assert_int_equal(dir_add_device(2, 40), CONFAB_OK);
    struct dir_audit audit = dir_audit("signed_out", 1);
    struct dir_request req = {.op = DIR_DEVICES_REVOKE_ALL,
                              .user_id = 1,
                              .device_id = 20,
                              .now_ms = 5000,
                              .audit = &audit};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){10, 30, 0});
    dir_request_deinit(&req);
    assert_int_equal(dir_audits(), 1);
    dir_expect_devices(1, (const uint64_t[]){20, 0});
    dir_expect_devices(2, (const uint64_t[]){40, 0});
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){0});
    assert_int_equal(dir_audits(), 1); /* nothing changed */
    req.device_id = 0;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){20, 0});
    dir_request_deinit(&req);
    dir_expect_devices(1, (const uint64_t[]){0});
}

static void test_directory__revoked_devices_are_listed_by_time(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    for (uint64_t i = 1; i <= 9; i++) {
        struct dir_request req = dir_device_request(1, i);
        req.devices_max = 10;
        assert_int_equal(dir_run(&req), CONFAB_OK);
        if (i != 5) {
            assert_int_equal(dir_revoke(1, i, 5000 + 10 * i), CONFAB_OK);
        }
    }
    struct dir_request req = {.op = DIR_DEVICES_REVOKED, .since_ms = 5030, .limit = 4};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_true(req.ret_more);
    dir_expect_ids(&req, (const uint64_t[]){3, 4, 6, 7, 0});
    req.after_id = req.ret_ids[3];
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_false(req.ret_more);
    dir_expect_ids(&req, (const uint64_t[]){8, 9, 0});
    req.after_id = 0;
    req.since_ms = 0;
    req.limit = 8;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_false(req.ret_more);
    assert_int_equal(req.ret_nids, 8);
    dir_request_deinit(&req);
}

static void test_directory__idle_devices_are_revoked_and_old_rows_removed(void **state)
{
    (void)state;
    struct dir_device d;
    begin_chain();
    assert_int_equal(dir_add_device(1, 30), CONFAB_OK);
    struct dir_request used = rotation(30, 30, 31, 9000);
    assert_int_equal(dir_run(&used), CONFAB_OK);
    assert_int_equal(dir_revoke(1, 10, 5000), CONFAB_OK);
    struct dir_request purge = {.op = DIR_DEVICES_PURGE,
                                .idle_before_ms = 8000,
                                .revoked_before_ms = 5000,
                                .now_ms = 9500,
                                .limit = 10};
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_false(purge.ret_more);
    dir_expect_ids(&purge, (const uint64_t[]){20, 0});
    dir_expect_devices(1, (const uint64_t[]){30, 0});
    assert_int_equal(dir_add_device(1, 10), CONFAB_EXISTS); /* not old enough */
    purge.revoked_before_ms = 5001;
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    dir_expect_ids(&purge, (const uint64_t[]){0});
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK); /* nothing is left of the first one */
    assert_int_equal(dir_add_device(1, 20), CONFAB_EXISTS);
    assert_int_equal(dir_find_device(10, &d), CONFAB_OK);
    purge.idle_before_ms = 99999;
    purge.limit = 1;
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_true(purge.ret_more);
    assert_int_equal(purge.ret_nids, 1);
    dir_request_deinit(&purge);
}

/* ---- audit ---- */

static void test_directory__the_audit_record_is_listed_from_its_end(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 5; i++) {
        struct dir_audit a = dir_audit("tested", i);
        struct dir_request req = {.op = DIR_AUDIT_APPEND, .audit = &a};
        assert_int_equal(dir_run(&req), CONFAB_OK);
    }
    dir_rig_reopen();
    uint64_t after = 0;
    for (unsigned i = 5; i > 0;) {
        struct dir_request req = {.op = DIR_AUDIT_LIST, .limit = 2, .after_id = after};
        assert_int_equal(dir_run(&req), CONFAB_OK);
        assert_int_equal(req.ret_naudits, i == 1 ? 1 : 2);
        assert_int_equal(req.ret_more, i > 2);
        for (unsigned k = 0; k < req.ret_naudits; k++, i--) {
            const struct dir_audit *a = &req.ret_audits[k];
            struct dir_audit want = dir_audit("tested", i);
            assert_true(after == 0 || a->audit_id < after);
            assert_int_equal(a->at_ms, want.at_ms);
            assert_int_equal(a->actor, want.actor);
            assert_int_equal(a->target, want.target);
            assert_string_equal(a->action, want.action);
            assert_string_equal(a->detail, want.detail);
            assert_string_equal(a->address, want.address);
            after = a->audit_id;
        }
        dir_request_deinit(&req);
    }
}

static void test_directory__old_audit_records_go(void **state)
{
    (void)state;
    for (unsigned i = 1; i <= 6; i++) {
        struct dir_audit a = dir_audit("tested", i);
        a.at_ms = i == 2 ? 9000 : 1000 * i; /* the clock was wrong for a while */
        struct dir_request req = {.op = DIR_AUDIT_APPEND, .audit = &a};
        assert_int_equal(dir_run(&req), CONFAB_OK);
    }
    struct dir_request purge = {.op = DIR_AUDIT_PURGE, .before_ms = 1000, .limit = 10};
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 0);
    assert_false(purge.ret_more);
    purge = (struct dir_request){.op = DIR_AUDIT_PURGE, .before_ms = 5000, .limit = 1};
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 1);
    assert_true(purge.ret_more);
    purge = (struct dir_request){.op = DIR_AUDIT_PURGE, .before_ms = 5000, .limit = 10};
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 2);
    assert_false(purge.ret_more);
    dir_rig_reopen();
    struct dir_request list = {.op = DIR_AUDIT_LIST, .limit = 10};
    assert_int_equal(dir_run(&list), CONFAB_OK);
    assert_int_equal(list.ret_naudits, 3);
    assert_int_equal(list.ret_audits[0].at_ms, 6000);
    assert_int_equal(list.ret_audits[1].at_ms, 5000);
    assert_int_equal(list.ret_audits[2].at_ms, 9000);
    dir_request_deinit(&list);
    purge = (struct dir_request){.op = DIR_AUDIT_PURGE, .before_ms = 5000};
    assert_int_equal(dir_run(&purge), CONFAB_INVALID);
}

static void test_directory__a_change_is_recorded_and_a_failure_is_not(void **state)
{
    (void)state;
    struct dir_audit a = dir_audit("account_created", 1);
    struct dir_request req = dir_account_request(1, "anna");
    req.audit = &a;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(dir_audits(), 1);
    assert_int_equal(dir_run(&req), CONFAB_EXISTS);
    assert_int_equal(dir_audits(), 1);
    req = dir_device_request(1, 10);
    req.audit = &a;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(dir_audits(), 2);
    struct dir_request read = {.op = DIR_ACCOUNT_BY_ID, .user_id = 1, .audit = &a};
    assert_int_equal(dir_run(&read), CONFAB_INVALID);
    struct dir_audit bad[4];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = a;
    }
    bad[0].action[0] = 0;
    memset(bad[1].detail, 'x', sizeof(bad[1].detail));
    memset(bad[2].address, 'x', sizeof(bad[2].address));
    bad[3].actor = UINT64_MAX;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        req = dir_account_request(2 + i, "berta");
        req.audit = &bad[i];
        assert_int_equal(dir_run(&req), CONFAB_INVALID);
    }
    struct dir_account none;
    assert_int_equal(dir_find_name("berta", &none), CONFAB_NOT_FOUND);
    struct dir_request empty = {.op = DIR_AUDIT_APPEND};
    assert_int_equal(dir_run(&empty), CONFAB_INVALID);
    assert_int_equal(dir_audits(), 2);
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory__a_device_is_found_by_token_and_id),
    DIR_CASE(test_directory__devices_have_a_user_an_id_and_a_limit),
    DIR_CASE(test_directory__devices_without_a_chain_are_many),
    DIR_CASE(test_directory__a_device_needs_the_hash_that_was_verified),
    DIR_CASE(test_directory__a_revoked_device_is_gone),
    DIR_CASE(test_directory__a_device_is_renamed),
    DIR_CASE(test_directory__a_token_is_rotated),
    DIR_CASE(test_directory__the_predecessor_is_forgiven_for_a_while),
    DIR_CASE(test_directory__an_older_token_ends_its_device),
    DIR_CASE(test_directory__bad_rotations_change_nothing),
    DIR_CASE(test_directory__a_rotation_with_a_lost_answer_is_repeated),
    DIR_CASE(test_directory__all_devices_but_one_are_revoked),
    DIR_CASE(test_directory__revoked_devices_are_listed_by_time),
    DIR_CASE(test_directory__idle_devices_are_revoked_and_old_rows_removed),
    DIR_CASE(test_directory__the_audit_record_is_listed_from_its_end),
    DIR_CASE(test_directory__old_audit_records_go),
    DIR_CASE(test_directory__a_change_is_recorded_and_a_failure_is_not),
};

int main(void)
{
    return dir_rig_main(CASES, ARRAY_LEN(CASES));
}
