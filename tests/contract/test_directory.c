/* Contract of the directory port, over every adapter: accounts and conversations. */
#include "dir_rig.h"

#include <pthread.h>

static void test_directory__an_account_is_found_by_name_and_id(void **state)
{
    (void)state;
    assert_int_equal(dir_create(7, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(INT64_MAX, "zoe"), CONFAB_OK);
    struct dir_account a;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(i ? dir_find_id(7, &a) : dir_find_name("anna", &a), CONFAB_OK);
        assert_int_equal(a.user_id, 7);
        assert_int_equal(a.created_ms, 1007);
        assert_string_equal(a.username, "anna");
        assert_string_equal(a.display_name, "The anna");
        assert_string_equal(a.password_hash, "hash-anna");
    }
    assert_int_equal(dir_find_id(INT64_MAX, &a), CONFAB_OK);
    assert_string_equal(a.username, "zoe");
    assert_int_equal(dir_find_id(8, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_id(0, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_id(UINT64_MAX, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_name("ann", &a), CONFAB_NOT_FOUND);
}

static void test_directory__names_and_ids_are_unique(void **state)
{
    (void)state;
    struct dir_account a;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "anna"), CONFAB_EXISTS);
    assert_int_equal(dir_create(1, "berta"), CONFAB_EXISTS);
    assert_int_equal(dir_find_id(2, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_name("berta", &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_name("anna", &a), CONFAB_OK);
    assert_int_equal(a.user_id, 1);
    /* The key decides, not the name as written. */
    struct dir_request same_name = dir_account_request(3, "anna");
    (void)snprintf(same_name.username_key, sizeof(same_name.username_key), "other");
    assert_int_equal(dir_run(&same_name), CONFAB_OK);
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
    assert_int_equal(dir_run(&req), CONFAB_OK);
    struct dir_account a;
    assert_int_equal(dir_find_id(5, &a), CONFAB_OK);
    assert_memory_equal(a.username, req.account.username, sizeof(a.username));
    assert_memory_equal(a.display_name, req.account.display_name, sizeof(a.display_name));
    assert_memory_equal(a.password_hash, req.account.password_hash, sizeof(a.password_hash));
}

static void test_directory__bad_requests_change_nothing(void **state)
{
    (void)state;
    struct dir_request bad[8];
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        bad[i] = dir_account_request(9, "bad");
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
        assert_int_equal(dir_run(&bad[i]), CONFAB_INVALID);
    }
    struct dir_account a;
    assert_int_equal(dir_find_id(9, &a), CONFAB_NOT_FOUND);
    assert_int_equal(dir_find_name("bad", &a), CONFAB_NOT_FOUND);
    struct dir_request list = {.op = DIR_CONVERSATIONS_LIST, .user_id = 1, .limit = 0};
    assert_int_equal(dir_run(&list), CONFAB_INVALID);
    struct dir_request lsn = {.op = DIR_PROJECTED_LSN, .partition = ID_PARTITIONS};
    assert_int_equal(dir_run(&lsn), CONFAB_INVALID);
}

static void test_directory__accounts_exist(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "a"), CONFAB_OK);
    assert_int_equal(dir_create(3, "c"), CONFAB_OK);
    const uint64_t ids[] = {1, 2, 3, 3, 0, UINT64_MAX};
    const bool want[] = {true, false, true, true, false, false};
    bool got[ARRAY_LEN(ids)];
    struct dir_request req = {
        .op = DIR_ACCOUNTS_EXIST, .ids = ids, .nids = ARRAY_LEN(ids), .exists = got};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_memory_equal(got, want, sizeof(want));
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
    enum confab_err err = dir_run(&req);
    assert_ptr_equal(req.conv_rows, rows);
    dir_request_deinit(&req);
    return err;
}

static uint64_t projected(uint16_t partition)
{
    struct dir_request req = {.op = DIR_PROJECTED_LSN, .partition = partition, .lsn = 77};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    return req.lsn;
}

/* The stored LSN of one conversation of the user; 0 when it is not listed. */
static uint64_t listed_lsn(uint64_t user, uint64_t conv)
{
    struct dir_request req = {.op = DIR_CONVERSATIONS_LIST, .user_id = user, .limit = 100};
    assert_int_equal(dir_run(&req), CONFAB_OK);
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
        assert_int_equal(dir_run(&req), CONFAB_OK);
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
    assert_int_equal(dir_run(&req), CONFAB_OK);
}

static void on_done(struct dir_request *req)
{
    gate_pass(req->arg);
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
        reqs[i] = dir_account_request(i + 1, name);
        reqs[i].done = on_done;
        reqs[i].arg = &gate;
        assert_int_equal(directory_submit(dir_rig.dir, &reqs[i]), CONFAB_OK);
    }
    gate_wait(&gate, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(reqs[i].ret_err, i % 2 == 0 ? CONFAB_OK : CONFAB_EXISTS);
        struct dir_account a;
        if (i % 50 < 2) {
            assert_int_equal(dir_find_id(i + 1, &a), i % 2 == 0 ? CONFAB_OK : CONFAB_NOT_FOUND);
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
        struct dir_request req = dir_account_request(1 + *t * ROUNDS + i, name);
        struct gate gate = GATE_INIT;
        req.arg = &gate;
        req.done = on_done;
        if (directory_submit(dir_rig.dir, &req) == CONFAB_OK) {
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
    struct dir_conv_row row = row_of(1, 100, 11);
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(project(9, 11, &row, 1), CONFAB_OK);
    dir_rig_reopen();
    assert_int_equal(dir_find_name("anna", &a), CONFAB_OK);
    assert_int_equal(listed_lsn(1, 100), 11);
    assert_int_equal(projected(9), 11);
    assert_int_equal(dir_create(1, "anna"), CONFAB_EXISTS);
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory__an_account_is_found_by_name_and_id),
    DIR_CASE(test_directory__names_and_ids_are_unique),
    DIR_CASE(test_directory__the_longest_texts_are_kept),
    DIR_CASE(test_directory__bad_requests_change_nothing),
    DIR_CASE(test_directory__accounts_exist),
    DIR_CASE(test_directory__a_projection_takes_higher_lsns_only),
    DIR_CASE(test_directory__a_bad_projection_changes_nothing),
    DIR_CASE(test_directory__conversations_are_paged_in_order),
    DIR_CASE(test_directory__ping_answers),
    DIR_CASE(test_directory__each_of_many_gets_its_own_answer),
    DIR_CASE(test_directory__a_name_has_one_winner_among_threads),
    DIR_CASE(test_directory__rows_survive_a_reopen),
};

int main(void)
{
    return dir_rig_main(CASES, ARRAY_LEN(CASES));
}
