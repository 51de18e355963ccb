/* Contract of the directory port, over every adapter: who hides what, when people were online. */
#include "dir_rig.h"

/* ---- who hides what ---- */

static struct dir_request hide(uint64_t user, uint32_t mask, uint32_t hides)
{
    struct dir_request req = {.op = DIR_ACCOUNT_UPDATE,
                              .user_id = user,
                              .now_ms = 9000,
                              .mask = DIR_FIELD_HIDES,
                              .hides_mask = mask};
    req.account.hides = hides;
    return req;
}

static void expect_hides(uint64_t user, uint32_t hides)
{
    struct dir_account a;
    assert_int_equal(dir_find_id(user, &a), CONFAB_OK);
    assert_int_equal(a.hides, hides);
}

static void test_directory__nobody_hides_at_first(void **state)
{
    (void)state;
    struct dir_request req = dir_account_request(1, "anna");
    req.account.hides = DIR_HIDES_ALL; /* not looked at */
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.account.hides, 0);
    expect_hides(1, 0);
    struct dir_request list = {.op = DIR_HIDDEN_LIST, .limit = 10};
    assert_int_equal(dir_run(&list), CONFAB_OK);
    assert_int_equal(list.ret_nhidden, 0);
    assert_false(list.ret_more);
    dir_request_deinit(&list);
}

static void test_directory__a_change_touches_the_named_bits_only(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    struct dir_request req = hide(1, DIR_HIDES_ONLINE | DIR_HIDES_RECEIPTS, DIR_HIDES_ONLINE);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(req.account.hides, DIR_HIDES_ONLINE);
    req = hide(1, DIR_HIDES_LAST_SEEN, DIR_HIDES_ALL);
    assert_int_equal(dir_run(&req), CONFAB_OK);
    dir_rig_reopen();
    expect_hides(1, DIR_HIDES_ONLINE | DIR_HIDES_LAST_SEEN);
    struct dir_account a;
    assert_int_equal(dir_find_id(1, &a), CONFAB_OK);
    assert_string_equal(a.display_name, "The anna");
    assert_int_equal(a.updated_ms, 9000);
    /* Another change leaves them as they are, also deletion. */
    struct dir_request gone = {.op = DIR_ACCOUNT_DELETE, .user_id = 1, .now_ms = 9001};
    assert_int_equal(dir_run(&gone), CONFAB_OK);
    expect_hides(1, DIR_HIDES_ONLINE | DIR_HIDES_LAST_SEEN);
}

static void test_directory__unknown_bits_are_refused(void **state)
{
    (void)state;
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    struct dir_request req = hide(1, 8, 0);
    assert_int_equal(dir_run(&req), CONFAB_INVALID);
    req = hide(1, DIR_HIDES_ALL, 8);
    assert_int_equal(dir_run(&req), CONFAB_INVALID);
    req = hide(2, DIR_HIDES_ALL, DIR_HIDES_ONLINE);
    assert_int_equal(dir_run(&req), CONFAB_NOT_FOUND);
    expect_hides(1, 0);
}

static void test_directory__who_hides_is_listed_in_pages(void **state)
{
    (void)state;
    static const uint32_t bits[] = {0, 1, 2, 0, 4, 7};
    for (uint64_t i = 0; i < ARRAY_LEN(bits); i++) {
        char name[20];
        (void)snprintf(name, sizeof(name), "user%u", (unsigned)i);
        assert_int_equal(dir_create(i + 1, name), CONFAB_OK);
        struct dir_request req = hide(i + 1, DIR_HIDES_ALL, bits[i]);
        assert_int_equal(dir_run(&req), CONFAB_OK);
    }
    uint64_t after = 0;
    uint32_t n = 0;
    bool more = true;
    static const struct dir_hidden want[] = {{2, 1}, {3, 2}, {5, 4}, {6, 7}};
    for (unsigned pages = 1; more; pages++) {
        struct dir_request list = {.op = DIR_HIDDEN_LIST, .after_id = after, .limit = 2};
        assert_int_equal(dir_run(&list), CONFAB_OK);
        for (uint32_t i = 0; i < list.ret_nhidden; i++, n++) {
            assert_int_equal(list.ret_hidden[i].user_id, want[n].user_id);
            assert_int_equal(list.ret_hidden[i].hides, want[n].hides);
            after = want[n].user_id;
        }
        more = list.ret_more;
        assert_int_equal(more, pages < 2);
        dir_request_deinit(&list);
    }
    assert_int_equal(n, ARRAY_LEN(want));
    struct dir_request none = {.op = DIR_HIDDEN_LIST};
    assert_int_equal(dir_run(&none), CONFAB_INVALID);
}

/* ---- when they were online ---- */

static enum confab_err write_seen(uint64_t run, uint64_t now_ms, const struct dir_seen *seen,
                                  uint32_t n)
{
    struct dir_request req = {
        .op = DIR_SEEN_WRITE, .run = run, .now_ms = now_ms, .seen = seen, .nseen = n};
    return dir_run(&req);
}

static void expect_seen(uint64_t a, uint64_t b, uint64_t c)
{
    static const uint64_t ids[] = {1, 2, 3};
    uint64_t got[3] = {99, 99, 99};
    struct dir_request req = {.op = DIR_SEEN_READ, .ids = ids, .nids = 3, .seen_ms = got};
    assert_int_equal(dir_run(&req), CONFAB_OK);
    assert_int_equal(got[0], a);
    assert_int_equal(got[1], b);
    assert_int_equal(got[2], c);
}

static void three(void)
{
    assert_int_equal(dir_create(1, "anna"), CONFAB_OK);
    assert_int_equal(dir_create(2, "berta"), CONFAB_OK);
    assert_int_equal(dir_create(3, "clara"), CONFAB_OK);
}

static void test_directory__last_seen_is_kept(void **state)
{
    (void)state;
    three();
    expect_seen(0, 0, 0);
    assert_int_equal(write_seen(7, 1000, (const struct dir_seen[]){{1, 900}, {2, 950}}, 2),
                     CONFAB_OK);
    dir_rig_reopen();
    expect_seen(900, 950, 0);
    assert_int_equal(write_seen(7, 2000, (const struct dir_seen[]){{1, 1900}}, 1), CONFAB_OK);
    expect_seen(1900, 950, 0);
}

/* Who was online when the run ended without a word was so until it was last alive. */
static void test_directory__online_stands_for_the_end_of_the_run(void **state)
{
    (void)state;
    three();
    assert_int_equal(write_seen(7, 1000, (const struct dir_seen[]){{1, 0}, {2, 0}}, 2), CONFAB_OK);
    expect_seen(1000, 1000, 0);
    assert_int_equal(write_seen(7, 5000, NULL, 0), CONFAB_OK);
    assert_int_equal(write_seen(7, 4000, NULL, 0), CONFAB_OK); /* late: the latest holds */
    expect_seen(5000, 5000, 0);
    dir_rig_reopen();
    assert_int_equal(write_seen(8, 9000, (const struct dir_seen[]){{2, 0}, {3, 0}}, 2), CONFAB_OK);
    expect_seen(5000, 9000, 9000);
    assert_int_equal(write_seen(8, 9500, (const struct dir_seen[]){{2, 9200}, {1, 0}}, 2),
                     CONFAB_OK);
    expect_seen(9500, 9200, 9500);
    assert_int_equal(write_seen(9, 20000, NULL, 0), CONFAB_OK);
    expect_seen(9500, 9200, 9500);
}

static void test_directory__who_is_deleted_was_never_seen(void **state)
{
    (void)state;
    three();
    assert_int_equal(write_seen(7, 1000, (const struct dir_seen[]){{1, 900}, {4, 900}}, 2),
                     CONFAB_OK);
    struct dir_request gone = {.op = DIR_ACCOUNT_DELETE, .user_id = 1, .now_ms = 1001};
    assert_int_equal(dir_run(&gone), CONFAB_OK);
    expect_seen(0, 0, 0);
    assert_int_equal(write_seen(7, 2000, (const struct dir_seen[]){{1, 1900}}, 1), CONFAB_OK);
    expect_seen(0, 0, 0);
}

static void test_directory__bad_rows_are_refused(void **state)
{
    (void)state;
    three();
    assert_int_equal(write_seen(0, 1000, NULL, 0), CONFAB_INVALID);
    assert_int_equal(write_seen(7, 0, NULL, 0), CONFAB_INVALID);
    assert_int_equal(write_seen(7, 1000, (const struct dir_seen[]){{1, 5}, {0, 5}}, 2),
                     CONFAB_INVALID);
    expect_seen(0, 0, 0);
}

static const struct CMUnitTest CASES[] = {
    DIR_CASE(test_directory__nobody_hides_at_first),
    DIR_CASE(test_directory__a_change_touches_the_named_bits_only),
    DIR_CASE(test_directory__unknown_bits_are_refused),
    DIR_CASE(test_directory__who_hides_is_listed_in_pages),
    DIR_CASE(test_directory__last_seen_is_kept),
    DIR_CASE(test_directory__online_stands_for_the_end_of_the_run),
    DIR_CASE(test_directory__who_is_deleted_was_never_seen),
    DIR_CASE(test_directory__bad_rows_are_refused),
};

int main(void)
{
    return dir_rig_main(CASES, ARRAY_LEN(CASES));
}
