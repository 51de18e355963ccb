/* RFC 3339 against the C library's calendar, and the texts that must be refused. */
#include "base/time_text.h"

#include <stdio.h>
#include <time.h>

#include "unit.h"

static void check_ms(uint64_t seed, uint64_t ms)
{
    char text[TIME_TEXT_LEN];
    char expected[64];
    struct tm tm;
    time_t t = (time_t)(ms / 1000);
    gmtime_r(&t, &tm);
    snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ", tm.tm_year + 1900,
             tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, (int)(ms % 1000));
    time_text_format(ms, text);
    unit_check(seed, memcmp(text, expected, TIME_TEXT_LEN) == 0);
    uint64_t back = 1;
    unit_check(seed, time_text_parse(span_of(text, sizeof(text)), &back) && back == ms);
}

static void test_time_text__equals_c_library(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(4);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    /* Every day of 1970 to 2500, both ends of it; then anything. */
    for (uint64_t day = 0; day < 193600; day++) {
        check_ms(seed, day * 86400000);
        check_ms(seed, day * 86400000 + 86399999);
    }
    for (int i = 0; i < 50000; i++) {
        check_ms(seed, random_below(&rnd.base, TIME_TEXT_MS_MAX + 1));
    }
    check_ms(seed, TIME_TEXT_MS_MAX);
    char text[TIME_TEXT_LEN];
    time_text_format(UINT64_MAX, text);
    assert_memory_equal(text, "9999-12-31T23:59:59.999Z", TIME_TEXT_LEN);
}

static void check_parse(const char *text, uint64_t ms)
{
    uint64_t got = 0;
    if (!time_text_parse(span_str(text), &got) || got != ms) {
        fail_msg("%s gave %llu", text, (unsigned long long)got);
    }
}

static void test_time_text__accepted_forms(void **state)
{
    (void)state;
    check_parse("1970-01-01T00:00:00Z", 0);
    check_parse("2025-01-31T08:15:30Z", 1738311330000);
    check_parse("2025-01-31T08:15:30.1Z", 1738311330100);
    check_parse("2025-01-31T08:15:30.123Z", 1738311330123);
    check_parse("2025-01-31T08:15:30.123999999Z", 1738311330123);
    check_parse("2025-01-31T08:15:30.000000001+00:00", 1738311330000);
    check_parse("2025-01-31T10:15:30+02:00", 1738311330000);
    check_parse("2025-01-31T02:45:30.5-05:30", 1738311330500);
    check_parse("2024-02-29T00:00:00Z", 1709164800000);
    check_parse("2000-02-29T00:00:00-00:00", 951782400000);
    check_parse("1970-01-01T01:00:00+01:00", 0);
    struct buf b;
    buf_init(&b);
    time_text_put(&b, 1738311330123);
    assert_true(span_is(span_of(b.data, b.len), "2025-01-31T08:15:30.123Z"));
    buf_deinit(&b);
}

static void test_time_text__refused_forms(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "2025",
        "2025-01-31",
        "2025-01-31T08:15:30",
        "2025-01-31T08:15Z",
        "2025-01-31 08:15:30Z",
        "2025-01-31t08:15:30Z",
        "2025-01-31T08:15:30z",
        "2025-01-31T08:15:30.Z",
        "2025-01-31T08:15:30.1234567890Z",
        "2025-01-31T08:15:30,5Z",
        "2025-01-31T08:15:30ZZ",
        "2025-01-31T08:15:30Z ",
        " 2025-01-31T08:15:30Z",
        "2025-01-31T08:15:30+0200",
        "2025-01-31T08:15:30+02",
        "2025-01-31T08:15:30+24:00",
        "2025-01-31T08:15:30+02:60",
        "2025-01-31T08:15:30*02:00",
        "2025-00-31T08:15:30Z",
        "2025-13-31T08:15:30Z",
        "2025-01-00T08:15:30Z",
        "2025-01-32T08:15:30Z",
        "2025-04-31T08:15:30Z",
        "2025-02-29T08:15:30Z",
        "2100-02-29T08:15:30Z",
        "2025-01-31T24:00:00Z",
        "2025-01-31T08:60:30Z",
        "2016-12-31T23:59:60Z",
        "1969-12-31T23:59:59Z",
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
        "2O25-01-31T08:15:30Z",
        "-025-01-31T08:15:30Z",
        "12025-01-31T08:15:30Z",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t ms = 42;
        if (time_text_parse(span_str(bad[i]), &ms) || ms != 42) {
            fail_msg("accepted \"%s\"", bad[i]);
        }
    }
    uint64_t ms = 42;
    assert_false(time_text_parse(span_of("2025-01-31T08:15:30\0Z", 21), &ms));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_text__equals_c_library),
        cmocka_unit_test(test_time_text__accepted_forms),
        cmocka_unit_test(test_time_text__refused_forms),
    };
    return cmocka_run_group_tests_name("time_text", tests, NULL, NULL);
}
