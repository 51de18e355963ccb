/* The table of errors: codes and wire names are unique, statuses make sense. */
#include "base/err.h"

#include "unit.h"

static const struct {
    enum confab_err err;
    const char *wire;
    int status;
} all[] = {
#define X(sym, val, wire, status, text) {sym, wire, status},
#include "base/errors.def"
#undef X
};

static void test_err__rows_are_distinct(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        /* Values are never reused: each row's is its place in the table. */
        assert_int_equal(all[i].err, -(int)i);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(all[i].wire, all[j].wire);
        }
    }
}

static void test_err__lookups(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_string_equal(err_wire(all[i].err), all[i].wire);
        assert_int_equal(err_status(all[i].err), all[i].status);
        assert_true(strlen(err_text(all[i].err)) > 0);
        if (all[i].err != CONFAB_OK) {
            assert_true(all[i].status >= 400 && all[i].status < 600);
        }
    }
    enum confab_err unknown = (enum confab_err) - 9999;
    assert_string_equal(err_text(unknown), "unknown error");
    assert_string_equal(err_wire(unknown), "internal");
    assert_int_equal(err_status(unknown), 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err__rows_are_distinct),
        cmocka_unit_test(test_err__lookups),
    };
    return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
