/* Contract of the directory port, over every adapter: accounts changed, deleted, searched. */
#include "dir_rig.h"

#include "ports/dir_words.h"

static enum confab_err create_named(uint64_t id, const char *username, const char *display)
{
    struct dir_request req = dir_account_request(id, username);
    (void)snprintf(req.username_key, sizeof(req.username_key), "%s", username);
    (void)snprintf(req.account.display_name, sizeof(req.account.display_name), "%s", display);
    return dir_run(&req);
}

static enum confab_err create_admin(uint64_t id, const char *name)
{
    struct dir_request req = dir_account_request(id, name);
    req.account.role = DIR_ROLE_ADMIN;
    return dir_run(&req);
}

static struct dir_request update(uint64_t id, uint32_t mask)
{
    struct dir_request req = {
        .op = DIR_ACCOUNT_UPDATE, .user_id = id, .mask = mask, .now_ms = 7000};
    (void)snprintf(req.account.display_name, sizeof(req.account.display_name), "New Name");
    (void)snprintf(req.account.about, sizeof(req.account.about), "about me");
    (void)snprintf(req.account.email, sizeof(req.account.email), "a@example.org");
    (void)snprintf(req.account.password_hash, sizeof(req.account.password_hash), "hash-new");
    req.account.role = DIR_ROLE_ADMIN;
    req.account.status = DIR_STATUS_SUSPENDED;
    return req;
}

static enum confab_err set_role(uint64_t id, enum dir_role role)
{
    struct dir_request req = update(id, DIR_FIELD_ROLE);
    req.account.role = role;
    return dir_run(&req);
}

static enum confab_err set_status(uint64_t id, enum dir_status status)
{
    struct dir_request req = update(id, DIR_FIELD_STATUS);
    req.account.status = status;
    enum confab_err err = dir_run(&req);
    dir_request_deinit(&req);
    return err;
}

static enum confab_err delete_account(uint64_t id)
{
    struct dir_request req = {.op = DIR_ACCOUNT_DELETE, .user_id = id, .now_ms = 8000};
    enum confab_err err = dir_run(&req);
    dir_request_deinit(&req);
    return err;
}

static uint64_t admins(void)
{
    struct dir_request req = {.op = DIR_ADMINS_COUNT};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    return req.ret_count;
}

static void test_directory__an_account_begins_with_its_profile(void **state)
{
    (void)state;
    struct dir_request req = dir_account_request(7, "anna");
    (void)snprintf(req.account.about, sizeof(req.account.about), "on the sea");
    (void)snprintf(req.account.email, sizeof(req.account.email), "anna@example.org");
    req.account.role = DIR_ROLE_ADMIN;
    req.account.status = DIR_STATUS_SUSPENDED; /* not looked at */
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.account.status, DIR_STATUS_ACTIVE);
    dir_rig_reopen();
    struct dir_account a;
    assert_int_equal(dir_find_id(7, &a), CONFAB_OK);
    assert_string_equal(a.about, "on the sea");
    assert_string_equal(a.email, "anna@example.org");
    assert_int_equal(a.role, DIR_ROLE_ADMIN);
    assert_int_equal(a.status, DIR_STATUS_ACTIVE);
    assert_int_equal(a.created_ms, 1007);
    assert_int_equal(a.updated_ms, 1007);
}

static void test_directory__an_update_changes_what_its_mask_names(void **state)
{
    (void)state;
    assert_int_equal(create_admin(1, "root"), CONFAB_OK);
    for (unsigned bit = 0; bit < 6; bit++) {
        char name[20];
        uint64_t id = 10 + bit;
        (void)snprintf(name, sizeof(name), "user%u", bit);
        assert_int_equal(dir_create(id, name), CONFAB_OK);
        struct dir_request req = update(id, 1U << bit);
        assert_int_equal(dir_run(&req), CONFAB_OK);
        struct dir_account a;
        assert_int_equal(dir_find_id(id, &a), CONFAB_OK);
        char hash[20];
        char display[20];
        (void)snprintf(display, sizeof(display), "The user%u", bit);
        (void)snprintf(hash, sizeof(hash), "hash-user%u", bit);
        for (int i = 0; i < 2; i++) {
            const struct dir_account *got = i ? &a : &req.account;
            assert_int_equal(got->user_id, id);
            assert_string_equal(got->username, name);
            assert_string_equal(got->display_name, bit == 0 ? "New Name" : display);
            assert_string_equal(got->about, bit == 1 ? "about me" : "");
            assert_string_equal(got->email, bit == 2 ? "a@example.org" : "");
            assert_int_equal(got->role, bit == 3 ? DIR_ROLE_ADMIN : DIR_ROLE_MEMBER);
            assert_int_equal(got->status, bit == 4 ? DIR_STATUS_SUSPENDED : DIR_STATUS_ACTIVE);
            assert_string_equal(got->password_hash, bit == 5 ? "hash-new" : hash);
            assert_int_equal(got->created_ms, 1000 + id);
            assert_int_equal(got->updated_ms, 7000);
        }
        dir_request_deinit(&req);
    }
}

static void test_directory__bad_updates_change_nothing(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    struct dir_request none = update(2, DIR_FIELD_ABOUT);
    assert_int_equal(dir_run(&none), CONFAB_NOT_FOUND);
    struct dir_request bad[9];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = update(1, DIR_FIELD_DISPLAY_NAME | DIR_FIELD_ABOUT | DIR_FIELD_EMAIL |
                               DIR_FIELD_ROLE | DIR_FIELD_STATUS | DIR_FIELD_PASSWORD_HASH);
    }
    bad[0].mask = 0;
    bad[1].mask = 1U << 7;
    bad[2].account.status = DIR_STATUS_DELETED;
    bad[3].account.role = (enum dir_role)2;
    bad[4].now_ms = 0;
    memset(bad[5].account.about, 'x', sizeof(bad[5].account.about));
    memset(bad[6].account.email, 'x', sizeof(bad[6].account.email));
    memset(bad[7].account.display_name, 'x', sizeof(bad[7].account.display_name));
    (void)snprintf(bad[8].account.display_name, 10, "\xc3(");
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(dir_run(&bad[i]), CONFAB_INVALID);
    }
    struct dir_account a;
    assert_int_equal(dir_find_id(1, &a), CONFAB_OK);
    assert_int_equal(a.updated_ms, 1001);
    assert_string_equal(a.about, "");
}

static void test_directory__the_last_administrator_stays(void **state)
{
    (void)state;
    assert_int_equal(admins(), 0);
    assert_int_equal(create_admin(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    struct dir_audit audit = dir_audit("tried", 1);
    struct dir_request req = update(1, DIR_FIELD_ROLE | DIR_FIELD_ABOUT);
    req.account.role = DIR_ROLE_MEMBER;
    req.audit = &audit;
    assert_int_equal(dir_run(&req), CONFAB_LAST_ADMIN);
    assert_int_equal(dir_audits(), 0);
    assert_int_equal(set_status(1, DIR_STATUS_SUSPENDED), CONFAB_LAST_ADMIN);
    assert_int_equal(delete_account(1), CONFAB_LAST_ADMIN);
    struct dir_account a;
    assert_int_equal(dir_find_id(1, &a), CONFAB_OK);
    assert_int_equal(a.role, DIR_ROLE_ADMIN);
    assert_string_equal(a.about, "");
    assert_int_equal(set_role(1, DIR_ROLE_ADMIN), CONFAB_OK);

    assert_int_equal(set_role(2, DIR_ROLE_ADMIN), CONFAB_OK);
    assert_int_equal(admins(), 2);
    assert_int_equal(set_status(2, DIR_STATUS_SUSPENDED), CONFAB_OK);
    assert_int_equal(admins(), 1); /* one that is suspended does not count */
    assert_int_equal(set_role(1, DIR_ROLE_MEMBER), CONFAB_LAST_ADMIN);
    assert_int_equal(set_role(2, DIR_ROLE_MEMBER), CONFAB_OK);
    assert_int_equal(set_role(2, DIR_ROLE_ADMIN), CONFAB_OK);
    assert_int_equal(set_status(2, DIR_STATUS_ACTIVE), CONFAB_OK);
    assert_int_equal(delete_account(1), CONFAB_OK);
    assert_int_equal(admins(), 1);
    assert_int_equal(delete_account(2), CONFAB_LAST_ADMIN);
}

static void test_directory__a_deleted_account_keeps_its_name_only(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 20), CONFAB_OK);
    struct dir_request fill = update(1, DIR_FIELD_ABOUT | DIR_FIELD_EMAIL);
    assert_int_equal(dir_run(&fill), CONFAB_OK);
    struct dir_audit audit = dir_audit("deleted", 1);
    struct dir_request req = {
        .op = DIR_ACCOUNT_DELETE, .user_id = 1, .now_ms = 8000, .audit = &audit};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){10, 20, 0});
    dir_request_deinit(&req);
    assert_int_equal(dir_audits(), 1);
    dir_rig_reopen();
    struct dir_account a;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? dir_find_id(1, &a) : dir_find_name("anna", &a), CONFAB_OK);
        assert_string_equal(a.username, "anna");
        assert_int_equal(a.status, DIR_STATUS_DELETED);
        assert_int_equal(a.updated_ms, 8000);
        assert_string_equal(a.display_name, "");
        assert_string_equal(a.about, "");
        assert_string_equal(a.email, "");
        assert_string_equal(a.password_hash, "");
    }
    assert_int_equal(dir_create(2, "anna"), CONFAB_EXISTS);
    assert_int_equal(dir_add_device(1, 30), CONFAB_NOT_FOUND);
    dir_expect_devices(1, (const uint64_t[]){0});
    assert_int_equal(delete_account(1), CONFAB_NOT_FOUND);
    assert_int_equal(set_status(1, DIR_STATUS_ACTIVE), CONFAB_NOT_FOUND);
    assert_int_equal(delete_account(9), CONFAB_NOT_FOUND);
    assert_int_equal(dir_audits(), 1);
}

static void expect_leaving(uint64_t after, uint32_t limit, const uint64_t *ids, bool more)
{
    struct dir_request req = {.op = DIR_ACCOUNTS_LEAVING, .after_id = after, .limit = limit};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, ids);
    assert_int_equal(req.ret_more, more);
    dir_request_deinit(&req);
}

static void test_directory__a_deleted_account_is_leaving_until_it_has_left(void **state)
{
    (void)state;
    for (uint64_t i = 1; i <= 4; i++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "u%u", (unsigned)i);
        assert_int_equal(dir_create(i, name), CONFAB_OK);
    }
    expect_leaving(0, 10, (const uint64_t[]){0}, false);
    assert_int_equal(delete_account(4), CONFAB_OK);
    assert_int_equal(delete_account(1), CONFAB_OK);
    assert_int_equal(delete_account(3), CONFAB_OK);
    assert_int_equal(set_status(2, DIR_STATUS_SUSPENDED), CONFAB_OK);
    dir_rig_reopen();
    expect_leaving(0, 10, (const uint64_t[]){1, 3, 4, 0}, false);
    expect_leaving(0, 2, (const uint64_t[]){1, 3, 0}, true);
    expect_leaving(3, 2, (const uint64_t[]){4, 0}, false);
    struct dir_request left = {.op = DIR_ACCOUNT_LEFT, .user_id = 3};
    assert_int_equal(dir_run(&left), CONFAB_OK);
    assert_int_equal(dir_run(&left), CONFAB_NOT_FOUND);
    left.user_id = 2;
    assert_int_equal(dir_run(&left), CONFAB_NOT_FOUND);
    left.user_id = 9;
    assert_int_equal(dir_run(&left), CONFAB_NOT_FOUND);
    dir_rig_reopen();
    expect_leaving(0, 10, (const uint64_t[]){1, 4, 0}, false);
}

static void test_directory__names_come_in_the_order_asked_for(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "bert"), CONFAB_OK);
    assert_int_equal(delete_account(2), CONFAB_OK);
    const uint64_t ids[] = {2, 9, 1, 1};
    bool exists[4];
    bool deleted[4];
    struct dir_request req = {.op = DIR_NAMES, .ids = ids, .nids = 4};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_nnames, 4);
    assert_int_equal(req.ret_names[0].user_id, 2);
    assert_int_equal(req.ret_names[0].status, DIR_STATUS_DELETED);
    assert_string_equal(req.ret_names[0].username, "bert");
    assert_string_equal(req.ret_names[0].display_name, "");
    assert_int_equal(req.ret_names[1].user_id, 0);
    for (int i = 2; i < 4; i++) {
        assert_int_equal(req.ret_names[i].user_id, 1);
        assert_string_equal(req.ret_names[i].username, "anna");
        assert_string_equal(req.ret_names[i].display_name, "The anna");
    }
    dir_request_deinit(&req);
    req = (struct dir_request){.op = DIR_NAMES, .ids = ids, .nids = DIR_NAMES_MAX + 1};
    assert_int_equal(dir_run(&req), CONFAB_INVALID);
    req = (struct dir_request){.op = DIR_NAMES};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_nnames, 0);
    req = (struct dir_request){
        .op = DIR_ACCOUNTS_EXIST, .ids = ids, .nids = 4, .exists = exists, .deleted = deleted};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_true(exists[0] && !exists[1] && exists[2] && exists[3]);
    assert_true(deleted[0] && !deleted[1] && !deleted[2] && !deleted[3]);
}

static void test_directory__a_suspension_signs_out_everywhere(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 20), CONFAB_OK);
    struct dir_request req = update(1, DIR_FIELD_STATUS);
    req.device_id = 20;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){10, 20, 0}); /* none is spared */
    dir_request_deinit(&req);
    assert_int_equal(dir_add_device(1, 30), CONFAB_FORBIDDEN);
    assert_int_equal(set_status(1, DIR_STATUS_ACTIVE), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 30), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 40), CONFAB_OK);
    req = update(1, DIR_FIELD_PASSWORD_HASH);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){0});
    req.revoke_devices = true;
    req.device_id = 40;
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_expect_ids(&req, (const uint64_t[]){30, 0});
    dir_request_deinit(&req);
    dir_expect_devices(1, (const uint64_t[]){40, 0});
}

static void test_directory__a_change_by_another_password_is_refused(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    struct dir_request req = update(1, DIR_FIELD_PASSWORD_HASH);
    req.verified_hash = "hash-older";
    req.revoke_devices = true;
    assert_int_equal(dir_run(&req), CONFAB_UNAUTHENTICATED);
    dir_request_deinit(&req);
    dir_expect_devices(1, (const uint64_t[]){10, 0});
    req = update(1, DIR_FIELD_PASSWORD_HASH);
    req.verified_hash = "hash-anna";
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(dir_run(&req), CONFAB_UNAUTHENTICATED); /* it is hash-new by now */
    dir_request_deinit(&req);
}

/* ---- lists ---- */

/* All ids of a list, read in pages of `limit`; `want` has a zero at the end. */
static void expect_people(const char *query, enum dir_status status, uint32_t limit,
                          const uint64_t *want)
{
    struct dir_request req = {.op = DIR_ACCOUNTS_LIST, .status = status, .limit = limit};
    (void)snprintf(req.query, sizeof(req.query), "%s", query);
    uint32_t n = 0;
    for (bool more = true; more;) {
        assert_int_equal(dir_run(&req), CONFAB_OK);
        assert_true(req.ret_naccounts <= limit);
        for (uint32_t i = 0; i < req.ret_naccounts; i++, n++) {
            if (req.ret_accounts[i].user_id != want[n]) {
                fail_msg("\"%s\" %u: %u, not %u", query, n, (unsigned)req.ret_accounts[i].user_id,
                         (unsigned)want[n]);
            }
        }
        more = req.ret_more;
        memcpy(req.after_key, req.ret_after_key, sizeof(req.after_key));
        req.after_id = req.ret_after_id;
        dir_request_deinit(&req);
    }
    assert_int_equal(want[n], 0);
}

static void create_people(void)
{
    assert_int_equal(create_named(1, "anna", "Anna Schmidt"), CONFAB_OK);
    assert_int_equal(create_named(2, "berta_s", "Berta Ann Šmíd"), CONFAB_OK);
    assert_int_equal(create_named(3, "zoe", "Zoë Élise"), CONFAB_OK);
    assert_int_equal(create_named(4, "ivan", "Иван Петров"), CONFAB_OK);
    assert_int_equal(create_named(5, "annabel", "ANNABEL STRASSE"), CONFAB_OK);
    assert_int_equal(create_named(6, "wei", "王伟"), CONFAB_OK);
}

static void test_directory__people_are_found_by_beginnings_of_words(void **state)
{
    (void)state;
    create_people();
    static const struct {
        const char *query;
        uint64_t want[7];
    } rows[] = {
        {"ann", {2, 1, 5}}, /* ann, anna, annabel: by word */
        {"ANNA", {1, 5}},   {"anna schm", {1}}, {"s anna", {1, 5}},   {"smi", {2}},
        {"Š", {2, 1, 5}}, /* s of berta_s before schmidt before strasse */
        {"berta_s", {2}},   {"elise", {3}},     {"Zoe\xcc\x88", {3}}, /* with a combining diaeresis
                                                                       */
        {"ПЕТР", {4}},      {"straße", {5}},    {"ａｎｎａ", {1, 5}}, /* full width */
        {"王", {6}},        {"nna", {0}},       {"anna berta", {0}},  {"x", {0}},
    };
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        for (uint32_t limit = 1; limit < 5; limit++) {
            expect_people(rows[i].query, DIR_STATUS_ANY, limit, rows[i].want);
            expect_people(rows[i].query, DIR_STATUS_ACTIVE, limit, rows[i].want);
        }
    }
    struct dir_request bad = {.op = DIR_ACCOUNTS_LIST, .query = "_-.", .limit = 5};
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
    bad = (struct dir_request){.op = DIR_ACCOUNTS_LIST, .query = "a", .limit = 0};
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
    bad = (struct dir_request){.op = DIR_ACCOUNTS_LIST, .status = (enum dir_status)3, .limit = 5};
    assert_int_equal(dir_run(&bad), CONFAB_INVALID);
}

static void test_directory__a_new_name_is_found_and_the_old_one_is_not(void **state)
{
    (void)state;
    create_people();
    struct dir_request req = update(1, DIR_FIELD_DISPLAY_NAME);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    expect_people("schm", DIR_STATUS_ANY, 5, (const uint64_t[]){0});
    expect_people("name", DIR_STATUS_ANY, 5, (const uint64_t[]){1, 0});
    expect_people("anna", DIR_STATUS_ANY, 5, (const uint64_t[]){1, 5, 0}); /* the username */
}

static void test_directory__people_are_listed_by_status(void **state)
{
    (void)state;
    create_people();
    assert_int_equal(set_status(1, DIR_STATUS_SUSPENDED), CONFAB_OK);
    assert_int_equal(delete_account(5), CONFAB_OK);
    for (uint32_t limit = 1; limit < 8; limit++) {
        expect_people("", DIR_STATUS_ANY, limit, (const uint64_t[]){1, 5, 2, 4, 6, 3, 0});
        expect_people("", DIR_STATUS_ACTIVE, limit, (const uint64_t[]){2, 4, 6, 3, 0});
        expect_people("", DIR_STATUS_SUSPENDED, limit, (const uint64_t[]){1, 0});
        expect_people("", DIR_STATUS_DELETED, limit, (const uint64_t[]){5, 0});
        expect_people("ann", DIR_STATUS_ANY, limit, (const uint64_t[]){2, 1, 0});
        expect_people("ann", DIR_STATUS_ACTIVE, limit, (const uint64_t[]){2, 0});
        expect_people("ann", DIR_STATUS_SUSPENDED, limit, (const uint64_t[]){1, 0});
        expect_people("ann", DIR_STATUS_DELETED, limit, (const uint64_t[]){0});
    }
    assert_int_equal(set_status(1, DIR_STATUS_ACTIVE), CONFAB_OK);
    expect_people("ann", DIR_STATUS_ACTIVE, 9, (const uint64_t[]){2, 1, 0});
    expect_people("ann", DIR_STATUS_SUSPENDED, 9, (const uint64_t[]){0});
}

static void test_directory__a_list_counts_devices(void **state)
{
    (void)state;
    create_people();
    assert_int_equal(dir_add_device(1, 10), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 20), CONFAB_OK);
    assert_int_equal(dir_add_device(1, 30), CONFAB_OK);
    assert_int_equal(dir_revoke(1, 20, 5000), CONFAB_OK);
    struct dir_request req = {.op = DIR_ACCOUNTS_LIST, .query = "anna", .limit = 5};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.ret_naccounts, 2);
    assert_int_equal(req.ret_accounts[0].ndevices, 2);
    assert_int_equal(req.ret_accounts[1].ndevices, 0);
    assert_string_equal(req.ret_accounts[0].display_name, "Anna Schmidt");
    dir_request_deinit(&req);
}

/* More people begin with a word than one call looks at, and few of them with the other one. */
static void test_directory__a_search_goes_on_where_it_stopped(void **state)
{
    (void)state;
    enum { N = 4500 };
    struct dir_request *reqs = calloc(N, sizeof(*reqs));
    assert_non_null(reqs);
    for (unsigned i = 0; i < N; i++) {
        char name[30];
        (void)snprintf(name, sizeof(name), "common%u", i);
        struct dir_request *req = &reqs[i];
        *req = dir_account_request(i + 1, name);
        (void)snprintf(req->username_key, sizeof(req->username_key), "%s", name);
        (void)snprintf(req->account.display_name, sizeof(req->account.display_name),
                       i % 1500 == 700 ? "Rare" : "Usual");
    }
    dir_run_all(reqs, N);
    expect_people("common ra", DIR_STATUS_ANY, 10, (const uint64_t[]){2201, 3701, 701, 0});
    expect_people("common rare x", DIR_STATUS_ANY, 10, (const uint64_t[]){0});
    free(reqs);
}

static void test_directory__words_are_bounded(void **state)
{
    (void)state;
    char display[DIR_DISPLAY_BYTES + 1] = "";
    for (unsigned i = 0; i < 40; i++) { /* more words than are kept */
        size_t n = strlen(display);
        (void)snprintf(display + n, sizeof(display) - n, "w%02u ", i);
    }
    struct dir_words words;
    dir_words_of_account("x", display, &words);
    assert_int_equal(words.n, DIR_WORDS_MAX);
    memset(display, 'y', DIR_DISPLAY_BYTES);
    display[DIR_DISPLAY_BYTES] = 0;
    dir_words_of_account("x", display, &words);
    assert_int_equal(words.n, 2);
    assert_int_equal(strlen(words.word[1]), DIR_WORD_BYTES);
    /* A character is not cut in two. */
    for (unsigned i = 0; i < DIR_DISPLAY_BYTES / 3; i++) {
        memcpy(display + 3 * i, "王", 4);
    }
    dir_words_of_account("x", display, &words);
    assert_int_equal(strlen(words.word[1]), DIR_WORD_BYTES / 3 * 3);
    assert_int_equal(create_named(1, "long", display), CONFAB_OK);
    expect_people("王王王", DIR_STATUS_ANY, 5, (const uint64_t[]){1, 0});
    dir_words_of_account("", "not \xff utf8", &words);
    assert_int_equal(words.n, 1);
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory__an_account_begins_with_its_profile),
    DIR_CASE(test_directory__an_update_changes_what_its_mask_names),
    DIR_CASE(test_directory__bad_updates_change_nothing),
    DIR_CASE(test_directory__the_last_administrator_stays),
    DIR_CASE(test_directory__a_deleted_account_keeps_its_name_only),
    DIR_CASE(test_directory__a_deleted_account_is_leaving_until_it_has_left),
    DIR_CASE(test_directory__names_come_in_the_order_asked_for),
    DIR_CASE(test_directory__a_suspension_signs_out_everywhere),
    DIR_CASE(test_directory__a_change_by_another_password_is_refused),
    DIR_CASE(test_directory__people_are_found_by_beginnings_of_words),
    DIR_CASE(test_directory__a_new_name_is_found_and_the_old_one_is_not),
    DIR_CASE(test_directory__people_are_listed_by_status),
    DIR_CASE(test_directory__a_list_counts_devices),
    DIR_CASE(test_directory__a_search_goes_on_where_it_stopped),
    DIR_CASE(test_directory__words_are_bounded),
};

int main(void)
{
    return dir_rig_main(CASES, ARRAY_LEN(CASES));
}
