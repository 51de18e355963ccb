/* Contract of the directory port, over every adapter: invites, settings, repeated requests. */
#include "dir_rig.h"

/* ---- invites ---- */

static struct dir_request invite_request(uint64_t id, uint32_t uses_max, uint64_t expires_ms)
{
    struct dir_request req = {.op = DIR_INVITE_CREATE};
    req.invite.invite_id = id;
    req.invite.created_by = 1 + id % 2;
    req.invite.created_ms = 1000;
    req.invite.expires_ms = expires_ms;
    req.invite.uses_max = uses_max;
    memset(req.invite.code_hash, (int)id, sizeof(req.invite.code_hash));
    (void)snprintf(req.invite.note, sizeof(req.invite.note), "for %u", (unsigned)id);
    return req;
}

static enum confab_err invite(uint64_t id, uint32_t uses_max, uint64_t expires_ms)
{
    struct dir_request req = invite_request(id, uses_max, expires_ms);
    return dir_run(&req);
}

static enum confab_err invite_setup(uint64_t id)
{
    struct dir_request req = invite_request(id, 1, 9000);
    req.invite.kind = DIR_INVITE_SETUP;
    req.invite.created_by = 0;
    return dir_run(&req);
}

static struct dir_invite find_invite(uint64_t id)
{
    struct dir_request req = {.op = DIR_INVITE_BY_CODE};
    memset(req.invite.code_hash, (int)id, sizeof(req.invite.code_hash));
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.invite.invite_id, id);
    return req.invite;
}

static struct dir_request join(uint64_t user, const char *name, uint64_t invite_id, uint64_t now_ms)
{
    struct dir_request req = dir_account_request(user, name);
    req.use_invite = true;
    req.now_ms = now_ms;
    memset(req.invite.code_hash, (int)invite_id, sizeof(req.invite.code_hash));
    return req;
}

static enum confab_err run_join(uint64_t user, const char *name, uint64_t invite_id,
                                uint64_t now_ms)
{
    struct dir_request req = join(user, name, invite_id, now_ms);
    return dir_run(&req);
}

static enum confab_err revoke_invite(uint64_t id, uint64_t creator)
{
    struct dir_request req = {.op = DIR_INVITE_REVOKE, .user_id = creator, .now_ms = 3000};
    req.invite.invite_id = id;
    return dir_run(&req);
}

static void test_directory__an_invite_is_found_by_its_code(void **state)
{
    (void)state;
    assert_int_equal(invite(5, 3, 9000), CONFAB_OK);
    assert_int_equal(invite(5, 3, 9000), CONFAB_EXISTS);
    struct dir_request same_code = invite_request(6, 1, 0);
    memset(same_code.invite.code_hash, 5, sizeof(same_code.invite.code_hash));
    assert_int_equal(dir_run(&same_code), CONFAB_EXISTS);
    dir_rig_reopen();
    struct dir_invite i = find_invite(5);
    assert_int_equal(i.created_by, 2);
    assert_int_equal(i.created_ms, 1000);
    assert_int_equal(i.expires_ms, 9000);
    assert_int_equal(i.ended_ms, 9000);
    assert_int_equal(i.revoked_ms, 0);
    assert_int_equal(i.uses_max, 3);
    assert_int_equal(i.uses, 0);
    assert_int_equal(i.kind, DIR_INVITE_MEMBER);
    assert_string_equal(i.note, "for 5");
    struct dir_request none = {.op = DIR_INVITE_BY_CODE};
    assert_int_equal(dir_run(&none), CONFAB_NOT_FOUND);
}

static void test_directory__bad_invites_change_nothing(void **state)
{
    (void)state;
    struct dir_request bad[7];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = invite_request(5, 1, 0);
    }
    bad[0].invite.invite_id = 0;
    bad[1].invite.uses_max = 0;
    bad[2].invite.created_ms = 0;
    bad[3].invite.expires_ms = UINT64_MAX;
    bad[4].invite.kind = (enum dir_invite_kind)2;
    memset(bad[5].invite.code_hash, 0, sizeof(bad[5].invite.code_hash));
    memset(bad[6].invite.note, 'x', sizeof(bad[6].invite.note));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dir_run(&bad[i]), CONFAB_INVALID);
    }
    struct dir_request list = {.op = DIR_INVITES_LIST, .limit = 5};
    assert_int_equal(dir_run(&list), CONFAB_OK);
    assert_int_equal(list.ret_ninvites, 0);
}

static void test_directory__an_invite_lets_in_as_many_as_it_says(void **state)
{
    (void)state;
    struct dir_account a;
    assert_int_equal(invite(5, 2, 9000), CONFAB_OK);
    struct dir_request first = join(10, "anna", 5, 2000);
    assert_int_equal(dir_run(&first), CONFAB_OK);
    assert_int_equal(first.account.role, DIR_ROLE_MEMBER);
    assert_int_equal(first.invite.invite_id, 5);
    assert_int_equal(first.invite.uses, 1);
    assert_int_equal(run_join(11, "anna", 5, 2000), CONFAB_EXISTS); /* uses nothing up */
    assert_int_equal(find_invite(5).uses, 1);
    assert_int_equal(find_invite(5).ended_ms, 9000);
    assert_int_equal(run_join(11, "berta", 5, 2500), CONFAB_OK);
    assert_int_equal(find_invite(5).uses, 2);
    assert_int_equal(find_invite(5).ended_ms, 2500);
    assert_int_equal(run_join(12, "clara", 5, 2500), CONFAB_INVITE_INVALID);
    assert_int_equal(run_join(12, "anna", 5, 2500), CONFAB_INVITE_INVALID); /* tells no names */
    assert_int_equal(dir_find_id(12, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_name("clara", &a), CONFAB_NOT_FOUND);
}

static void test_directory__an_invite_that_is_over_lets_nobody_in(void **state)
{
    (void)state;
    struct dir_account a;
    struct dir_audit audit = dir_audit("joined", 1);
    assert_int_equal(invite(5, 1, 9000), CONFAB_OK);
    assert_int_equal(invite(6, 1, 9000), CONFAB_OK);
    assert_int_equal(invite(7, 1, 0), CONFAB_OK);
    assert_int_equal(revoke_invite(6, 0), CONFAB_OK);
    struct dir_request req = join(10, "anna", 5, 9000);
    req.audit = &audit;
    assert_int_equal(dir_run(&req), CONFAB_INVITE_INVALID); /* expired */
    assert_int_equal(run_join(10, "anna", 6, 8000), CONFAB_INVITE_INVALID);
    assert_int_equal(run_join(10, "anna", 99, 8000), CONFAB_INVITE_INVALID);
    assert_int_equal(dir_find_id(10, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_audits(), 0);
    req = join(10, "anna", 5, 8999);
    req.audit = &audit;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(dir_audits(), 1);
    assert_int_equal(run_join(11, "berta", 7, INT64_MAX), CONFAB_OK); /* no end in time */
    struct dir_request bad = join(12, "clara", 7, 0);
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
}

static void test_directory__a_setup_makes_one_administrator(void **state)
{
    (void)state;
    assert_int_equal(invite(3, 1, 9000), CONFAB_OK);
    assert_int_equal(invite_setup(5), CONFAB_OK);
    assert_int_equal(invite_setup(6), CONFAB_OK);
    assert_int_equal(find_invite(5).revoked_ms, 1000); /* the later one ends it */
    assert_int_equal(find_invite(5).ended_ms, 1000);
    assert_int_equal(find_invite(6).revoked_ms, 0);
    assert_int_equal(find_invite(3).revoked_ms, 0);
    assert_int_equal(run_join(10, "anna", 5, 2000), CONFAB_INVITE_INVALID);
    struct dir_request req = join(10, "anna", 6, 2000);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.account.role, DIR_ROLE_ADMIN);
    struct dir_account a;
    assert_int_equal(dir_find_id(10, &a), CONFAB_OK);
    assert_int_equal(a.role, DIR_ROLE_ADMIN);
    assert_int_equal(run_join(11, "berta", 6, 2000), CONFAB_INVITE_INVALID);
    assert_int_equal(run_join(11, "berta", 3, 2000), CONFAB_OK);
    assert_int_equal(dir_find_id(11, &a), CONFAB_OK);
    assert_int_equal(a.role, DIR_ROLE_MEMBER);
    assert_int_equal(invite_setup(7), CONFAB_OK);
    assert_int_equal(find_invite(6).revoked_ms, 0); /* it was used up, not replaced */
    assert_int_equal(find_invite(6).ended_ms, 2000);
}

static void test_directory__open_invites_have_a_limit(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 6; id++) {
        struct dir_request req = invite_request(id, 1, 1500);
        req.invites_max = 2;
        req.invite.created_by = 1;
        assert_int_equal(dir_run(&req), id <= 2 ? CONFAB_OK : CONFAB_LIMIT);
        req.invite.created_by = 2;
        if (id > 4) {
            assert_int_equal(dir_run(&req), CONFAB_OK);
        }
    }
    struct dir_request req = invite_request(10, 1, 0);
    req.invites_max = 2;
    req.invite.created_by = 1;
    req.invite.created_ms = 1500; /* the first two have expired */
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(revoke_invite(10, 2), CONFAB_NOT_FOUND); /* not that one's */
    assert_int_equal(revoke_invite(10, 1), CONFAB_OK);
    assert_int_equal(revoke_invite(10, 1), CONFAB_NOT_FOUND);
    assert_int_equal(revoke_invite(99, 0), CONFAB_NOT_FOUND);
}

static void expect_invites(uint64_t creator, uint32_t limit, const uint64_t *want)
{
    struct dir_request req = {.op = DIR_INVITES_LIST, .user_id = creator, .limit = limit};
    uint32_t n = 0;
    for (bool more = true; more;) {
        assert_int_equal(dir_run(&req), CONFAB_OK);
        assert_true(req.ret_ninvites > 0 && req.ret_ninvites <= limit);
        for (uint32_t i = 0; i < req.ret_ninvites; i++, n++) {
            assert_int_equal(req.ret_invites[i].invite_id, want[n]);
            req.after_id = want[n];
        }
        more = req.ret_more;
        dir_request_deinit(&req);
    }
    assert_int_equal(want[n], 0);
}

static void test_directory__invites_are_listed_and_purged(void **state)
{
    (void)state;
    for (uint64_t id = 1; id <= 6; id++) {
        assert_int_equal(invite(id, 1, id == 6 ? 0 : 2000 + id), CONFAB_OK);
    }
    for (uint32_t limit = 1; limit < 8; limit++) {
        expect_invites(0, limit, (const uint64_t[]){6, 5, 4, 3, 2, 1, 0});
        expect_invites(1, limit, (const uint64_t[]){6, 4, 2, 0});
        expect_invites(2, limit, (const uint64_t[]){5, 3, 1, 0});
    }
    struct dir_request purge = {.op = DIR_INVITES_PURGE, .before_ms = 2004, .limit = 2};
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 2);
    assert_true(purge.ret_more);
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 1);
    assert_false(purge.ret_more);
    expect_invites(0, 9, (const uint64_t[]){6, 5, 4, 0});
    assert_int_equal(run_join(10, "anna", 6, 2500), CONFAB_OK);
    purge.before_ms = 2501;
    purge.limit = 100;
    assert_int_equal(dir_run(&purge), CONFAB_OK);
    assert_int_equal(purge.ret_count, 3); /* the one that was used up too */
    assert_int_equal(invite(6, 1, 0), CONFAB_OK);
}

/* Many want the last uses of one invite at the same time. */
static void test_directory__an_invite_is_never_used_too_often(void **state)
{
    (void)state;
    enum { N = 100, USES = 30 };
    assert_int_equal(invite(5, USES, 0), CONFAB_OK);
    struct dir_request *reqs = calloc(N, sizeof(*reqs));
    assert_non_null(reqs);
    for (unsigned i = 0; i < N; i++) {
        char name[20];
        (void)snprintf(name, sizeof(name), "user%u", i);
        reqs[i] = join(100 + i, name, 5, 2000);
    }
    dir_submit_all(reqs, N);
    unsigned joined = 0;
    for (unsigned i = 0; i < N; i++) {
        joined += reqs[i].ret_err == CONFAB_OK;
        assert_true(reqs[i].ret_err == CONFAB_OK || reqs[i].ret_err == CONFAB_INVITE_INVALID);
    }
    assert_int_equal(joined, USES);
    assert_int_equal(find_invite(5).uses, USES);
    free(reqs);
}

/* ---- settings ---- */

static enum confab_err set(const char *key, const char *value)
{
    struct dir_request req = {.op = DIR_SETTING_SET, .text = value, .now_ms = 5};
    (void)snprintf(req.setting_key, sizeof(req.setting_key), "%s", key);
    req.text_len = value ? (uint32_t)strlen(value) : 0;
    return dir_run(&req);
}

static void expect_setting(const char *key, const char *value)
{
    struct dir_request req = {.op = DIR_SETTING_GET};
    (void)snprintf(req.setting_key, sizeof(req.setting_key), "%s", key);
    assert_int_equal(dir_run(&req), value ? CONFAB_OK : CONFAB_NOT_FOUND);
    if (value) {
        assert_string_equal(req.ret_text, value);
        assert_int_equal(req.ret_text_len, strlen(value));
    }
    dir_request_deinit(&req);
}

static void test_directory__settings_are_kept(void **state)
{
    (void)state;
    char longest[DIR_SETTING_BYTES + 2];
    memset(longest, 'v', sizeof(longest));
    longest[DIR_SETTING_BYTES] = 0;
    expect_setting("registration", NULL);
    assert_int_equal(set("registration", "open"), CONFAB_OK);
    assert_int_equal(set("server_name", "Käse & Co"), CONFAB_OK);
    assert_int_equal(set("empty", ""), CONFAB_OK);
    assert_int_equal(set("longest", longest), CONFAB_OK);
    assert_int_equal(set("registration", "invite"), CONFAB_OK);
    dir_rig_reopen();
    expect_setting("registration", "invite");
    expect_setting("server_name", "Käse & Co");
    expect_setting("empty", "");
    expect_setting("longest", longest);
    assert_int_equal(set("registration", NULL), CONFAB_OK);
    expect_setting("registration", NULL);
    assert_int_equal(set("registration", NULL), CONFAB_NOT_FOUND);
    longest[DIR_SETTING_BYTES] = 'v';
    longest[DIR_SETTING_BYTES + 1] = 0;
    assert_int_equal(set("longest", longest), CONFAB_INVALID);
    assert_int_equal(set("longest", "\xff"), CONFAB_INVALID);
    assert_int_equal(set("", "x"), CONFAB_INVALID);
    struct dir_request zero = {
        .op = DIR_SETTING_SET, .setting_key = "longest", .text = "a\0b", .text_len = 3};
    assert_int_equal(dir_run(&zero), CONFAB_INVALID);
}

static void test_directory__settings_are_bounded(void **state)
{
    (void)state;
    struct dir_request *reqs = calloc(DIR_SETTINGS_MAX, sizeof(*reqs));
    assert_non_null(reqs);
    for (unsigned i = 0; i < DIR_SETTINGS_MAX; i++) {
        reqs[i] = (struct dir_request){.op = DIR_SETTING_SET, .text = "v", .text_len = 1};
        (void)snprintf(reqs[i].setting_key, sizeof(reqs[i].setting_key), "key%u", i);
    }
    dir_run_all(reqs, DIR_SETTINGS_MAX);
    free(reqs);
    assert_int_equal(set("one more", "x"), CONFAB_LIMIT);
    expect_setting("one more", NULL);
    assert_int_equal(set("key0", "x"), CONFAB_OK); /* not another one */
    assert_int_equal(set("key1", NULL), CONFAB_OK);
    assert_int_equal(set("one more", "x"), CONFAB_OK);
}

/* ---- repeated requests ---- */

enum { PENDING_MS = 60000 };

static struct dir_request claim_request(uint64_t user, const char *key, uint8_t content,
                                        uint64_t now_ms)
{
    struct dir_request req = {.op = DIR_IDEM_CLAIM,
                              .user_id = user,
                              .now_ms = now_ms,
                              .pending_ms = PENDING_MS,
                              .keys_max = 3};
    (void)snprintf(req.idem_key, sizeof(req.idem_key), "%s", key);
    memset(req.request_hash, content, sizeof(req.request_hash));
    return req;
}

static enum dir_claim claim(uint64_t user, const char *key, uint8_t content, uint64_t now_ms)
{
    struct dir_request req = claim_request(user, key, content, now_ms);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_request_deinit(&req);
    return req.ret_claim;
}

static enum confab_err finish(uint64_t user, const char *key, uint64_t claimed_ms, uint32_t status,
                              const void *body, uint32_t n)
{
    struct dir_request req = claim_request(user, key, 0, claimed_ms);
    req.op = DIR_IDEM_FINISH;
    req.idem_status = status;
    req.text = body;
    req.text_len = n;
    return dir_run(&req);
}

static enum confab_err release(uint64_t user, const char *key, uint64_t claimed_ms)
{
    struct dir_request req = claim_request(user, key, 0, claimed_ms);
    req.op = DIR_IDEM_RELEASE;
    return dir_run(&req);
}

static void test_directory__a_repeated_request_gets_the_first_answer(void **state)
{
    (void)state;
    static char body[DIR_IDEM_BODY_BYTES + 1];
    memset(body, 0xfe, sizeof(body)); /* bytes, not text */
    assert_int_equal(claim(1, "k", 5, 1000), DIR_CLAIMED);
    assert_int_equal(claim(1, "k", 5, 1001), DIR_CLAIM_PENDING);
    assert_int_equal(claim(1, "k", 6, 1001), DIR_CLAIM_OTHER);
    assert_int_equal(claim(2, "k", 6, 1001), DIR_CLAIMED); /* another user's */
    assert_int_equal(claim(1, "kk", 6, 1001), DIR_CLAIMED);
    assert_int_equal(finish(1, "k", 1000, 201, body, DIR_IDEM_BODY_BYTES + 1), CONFAB_INVALID);
    assert_int_equal(finish(1, "k", 1000, 0, body, 1), CONFAB_INVALID);
    assert_int_equal(finish(1, "k", 1000, 201, body, DIR_IDEM_BODY_BYTES), CONFAB_OK);
    assert_int_equal(finish(1, "kk", 1001, 204, NULL, 0), CONFAB_OK);
    dir_rig_reopen();
    struct dir_request again = claim_request(1, "k", 5, 2000);
    assert_int_equal(dir_run(&again), CONFAB_OK);
    assert_int_equal(again.ret_claim, DIR_CLAIM_DONE);
    assert_int_equal(again.idem_status, 201);
    assert_int_equal(again.ret_text_len, DIR_IDEM_BODY_BYTES);
    assert_memory_equal(again.ret_text, body, DIR_IDEM_BODY_BYTES);
    dir_request_deinit(&again);
    again = claim_request(1, "kk", 6, 1000 + PENDING_MS * 10);
    assert_int_equal(dir_run(&again), CONFAB_OK);
    assert_int_equal(again.ret_claim, DIR_CLAIM_DONE);
    assert_int_equal(again.idem_status, 204);
    assert_int_equal(again.ret_text_len, 0);
    dir_request_deinit(&again);
    assert_int_equal(claim(1, "k", 6, 2000), DIR_CLAIM_OTHER);
    assert_int_equal(finish(1, "k", 1000, 500, "", 0), CONFAB_NOT_FOUND);
    assert_int_equal(release(1, "k", 1000), CONFAB_NOT_FOUND);
    assert_int_equal(finish(1, "none", 1000, 500, "", 0), CONFAB_NOT_FOUND);
}

static void test_directory__a_claim_that_was_left_is_given_on(void **state)
{
    (void)state;
    assert_int_equal(claim(1, "k", 5, 1000), DIR_CLAIMED);
    assert_int_equal(claim(1, "k", 5, 1000 + PENDING_MS), DIR_CLAIM_PENDING);
    assert_int_equal(claim(1, "k", 5, 500), DIR_CLAIM_PENDING); /* a clock that was set back */
    assert_int_equal(claim(1, "k", 6, 1001 + PENDING_MS), DIR_CLAIM_OTHER);
    assert_int_equal(claim(1, "k", 5, 1001 + PENDING_MS), DIR_CLAIMED);
    assert_int_equal(finish(1, "k", 1000, 201, "late", 4), CONFAB_NOT_FOUND);
    assert_int_equal(release(1, "k", 1000), CONFAB_NOT_FOUND);
    assert_int_equal(finish(1, "k", 1001 + PENDING_MS, 201, "mine", 4), CONFAB_OK);
    assert_int_equal(claim(1, "k", 5, 1002 + PENDING_MS), DIR_CLAIM_DONE);
}

static void test_directory__a_released_key_may_be_used_for_anything(void **state)
{
    (void)state;
    assert_int_equal(claim(1, "k", 5, 1000), DIR_CLAIMED);
    assert_int_equal(release(1, "k", 1000), CONFAB_OK);
    assert_int_equal(release(1, "k", 1000), CONFAB_NOT_FOUND);
    assert_int_equal(claim(1, "k", 6, 1001), DIR_CLAIMED);
}

static void test_directory__keys_are_bounded_and_purged(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        char key[4] = {'k', (char)('0' + i), 0};
        struct dir_request req = claim_request(1, key, 5, 1000 + i);
        assert_int_equal(dir_run(&req), i < 3 ? CONFAB_OK : CONFAB_LIMIT);
    }
    assert_int_equal(finish(1, "k1", 1001, 201, "body", 4), CONFAB_OK);
    struct dir_request purge = {.op = DIR_IDEM_PURGE, .before_ms = 1002, .limit = 1};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(dir_run(&purge), CONFAB_OK);
        assert_int_equal(purge.ret_count, i < 2 ? 1 : 0);
        assert_int_equal(purge.ret_more, i < 2);
    }
    assert_int_equal(claim(1, "k2", 5, 1100), DIR_CLAIM_PENDING);
    assert_int_equal(claim(1, "k1", 9, 1100), DIR_CLAIMED);
    assert_int_equal(finish(1, "k1", 1100, 201, "other", 5), CONFAB_OK);
    struct dir_request bad[4];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = claim_request(1, "bad", 5, 1000);
    }
    bad[0].idem_key[0] = 0;
    bad[1].now_ms = 0;
    bad[2].keys_max = 0;
    memset(bad[3].idem_key, 'x', sizeof(bad[3].idem_key));
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dir_run(&bad[i]), CONFAB_INVALID);
    }
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory__an_invite_is_found_by_its_code),
    DIR_CASE(test_directory__bad_invites_change_nothing),
    DIR_CASE(test_directory__an_invite_lets_in_as_many_as_it_says),
    DIR_CASE(test_directory__an_invite_that_is_over_lets_nobody_in),
    DIR_CASE(test_directory__a_setup_makes_one_administrator),
    DIR_CASE(test_directory__open_invites_have_a_limit),
    DIR_CASE(test_directory__invites_are_listed_and_purged),
    DIR_CASE(test_directory__an_invite_is_never_used_too_often),
    DIR_CASE(test_directory__settings_are_kept),
    DIR_CASE(test_directory__settings_are_bounded),
    DIR_CASE(test_directory__a_repeated_request_gets_the_first_answer),
    DIR_CASE(test_directory__a_claim_that_was_left_is_given_on),
    DIR_CASE(test_directory__a_released_key_may_be_used_for_anything),
    DIR_CASE(test_directory__keys_are_bounded_and_purged),
};

int main(void)
{
    return dir_rig_main(CASES, ARRAY_LEN(CASES));
}
