/* Escaping for terminals, times, error codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <confab/confab.h>

#include "base/err.h"

static void check(const char *in, size_t n, const char *out)
{
    char got[256];
    assert_int_equal(confab_escape(got, sizeof(got), (struct confab_text){in, n}), strlen(out));
    assert_string_equal(got, out);
}

#define CHECK_ESCAPE(in, out) check(in, sizeof(in) - 1, out)

static void test_text__escapes_what_a_terminal_obeys(void **state)
{
    (void)state;
    CHECK_ESCAPE("plain text, 100 %", "plain text, 100 %");
    CHECK_ESCAPE("\x1b[31m", "\\x1b[31m");
    CHECK_ESCAPE("a\nb\tc\rd\0e\x7f", "a\\nb\\tc\\x0dd\\x00e\\x7f");
    CHECK_ESCAPE("\xc2\x9b", "\\u{9b}");            /* CSI in one character */
    CHECK_ESCAPE("\xe2\x80\xae", "\\u{202e}");      /* right to left override */
    CHECK_ESCAPE("\xe2\x81\xa6", "\\u{2066}");      /* isolate */
    CHECK_ESCAPE("\xe2\x80\x8b", "\\u{200b}");      /* no width */
    CHECK_ESCAPE("\xef\xbb\xbf", "\\u{feff}");      /* byte order mark */
    CHECK_ESCAPE("\xf3\xa0\x81\x81", "\\u{e0041}"); /* tag */
}

static void test_text__leaves_scripts_alone(void **state)
{
    (void)state;
    CHECK_ESCAPE("Gr\xc3\xbc\xc3\x9f Gott", "Gr\xc3\xbc\xc3\x9f Gott");
    CHECK_ESCAPE("\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d", "\xd7\xa9\xd7\x9c\xd7\x95\xd7\x9d");
    CHECK_ESCAPE("\xe4\xbd\xa0\xe5\xa5\xbd", "\xe4\xbd\xa0\xe5\xa5\xbd");
    CHECK_ESCAPE("\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb",
                 "\xf0\x9f\x91\xa9\xe2\x80\x8d\xf0\x9f\x92\xbb"); /* joined emoji */
}

static void test_text__shows_bytes_that_are_not_utf8(void **state)
{
    (void)state;
    CHECK_ESCAPE("\xff", "\\xff");
    CHECK_ESCAPE("a\xc3", "a\\xc3");
    CHECK_ESCAPE("\xc3(", "\\xc3(");
    CHECK_ESCAPE("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
    CHECK_ESCAPE("\xc0\x80", "\\xc0\\x80");          /* overlong */
    CHECK_ESCAPE("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
}

static void test_text__is_cut_between_characters(void **state)
{
    (void)state;
    struct confab_text in = {"ab\xc3\xa9\x1b!", 6};
    static const char *const kept[] = {NULL,
                                       "",
                                       "a",
                                       "ab",
                                       "ab",
                                       "ab\xc3\xa9",
                                       "ab\xc3\xa9",
                                       "ab\xc3\xa9",
                                       "ab\xc3\xa9",
                                       "ab\xc3\xa9\\x1b",
                                       "ab\xc3\xa9\\x1b!"};
    for (size_t size = 0; size < sizeof(kept) / sizeof(kept[0]); size++) {
        char out[16];
        memset(out, 'x', sizeof(out));
        assert_int_equal(confab_escape(out, size, in), 9);
        if (size > 0) {
            assert_string_equal(out, kept[size]);
        }
        assert_int_equal(out[size], 'x');
    }
}

static void test_text__times(void **state)
{
    (void)state;
    char out[CONFAB_TIME_SIZE];
    confab_time_utc(1738311330123ULL, out);
    assert_string_equal(out, "2025-01-31T08:15:30.123Z");
    confab_time_local(1738311330123ULL, out);
    assert_int_equal(strlen(out), strlen("2025-01-31 08:15:30"));
}

static void test_error__every_code_of_the_server_has_one_here(void **state)
{
    (void)state;
    static const struct {
        enum confab_err err;
        enum confab_error error;
    } same[] = {
        {CONFAB_OK, CONFAB_E_OK},
        {CONFAB_INVALID, CONFAB_E_INVALID},
        {CONFAB_NOT_FOUND, CONFAB_E_NOT_FOUND},
        {CONFAB_EXISTS, CONFAB_E_EXISTS},
        {CONFAB_FORBIDDEN, CONFAB_E_FORBIDDEN},
        {CONFAB_UNAUTHENTICATED, CONFAB_E_UNAUTHENTICATED},
        {CONFAB_CONFLICT, CONFAB_E_CONFLICT},
        {CONFAB_TOO_LARGE, CONFAB_E_TOO_LARGE},
        {CONFAB_LIMIT, CONFAB_E_LIMIT},
        {CONFAB_BUSY, CONFAB_E_BUSY},
        {CONFAB_IO, CONFAB_E_STORAGE},
        {CONFAB_NO_SPACE, CONFAB_E_STORAGE_FULL},
        {CONFAB_DUPLICATE_KEY, CONFAB_E_DUPLICATE_KEY},
        {CONFAB_BLOCKED, CONFAB_E_BLOCKED},
        {CONFAB_UNSUPPORTED, CONFAB_E_UNSUPPORTED},
        {CONFAB_CORRUPT, CONFAB_E_SERVER},
        {CONFAB_NOMEM, CONFAB_E_SERVER},
    };
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(confab_error_of_name(err_wire(same[i].err)), same[i].error);
        if (same[i].error != CONFAB_E_SERVER) {
            assert_string_equal(confab_error_name(same[i].error), err_wire(same[i].err));
        }
    }
    assert_int_equal(confab_error_of_name("nomem"), CONFAB_E_SERVER);
    assert_string_equal(confab_error_name((enum confab_error)4711), "unknown");
    assert_string_equal(confab_error_text((enum confab_error)4711), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text__escapes_what_a_terminal_obeys),
        cmocka_unit_test(test_text__leaves_scripts_alone),
        cmocka_unit_test(test_text__shows_bytes_that_are_not_utf8),
        cmocka_unit_test(test_text__is_cut_between_characters),
        cmocka_unit_test(test_text__times),
        cmocka_unit_test(test_error__every_code_of_the_server_has_one_here),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
