/* Diagnostic lines: form, escapes, levels, batching, threads. */
#include "base/diag.h"

#include <pthread.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "unit.h"

/* A clock that the test moves, and a sink that keeps all. */
static uint64_t test_now_ms;
static uint64_t test_wall_ms(struct clock *c)
{
    (void)c;
    return test_now_ms;
}
static uint64_t test_mono_ns(struct clock *c)
{
    (void)c;
    return test_now_ms * 1000000;
}
static const struct clock_ops test_clock_ops = {"test", test_wall_ms, test_mono_ns};
static struct clock test_clock = {&test_clock_ops};
static struct buf lines;

static void keep(void *arg, const char *line, size_t n)
{
    buf_put(arg, line, n);
}

static int begin(void **state)
{
    (void)state;
    test_now_ms = 1738311330123;
    diag_set_clock(&test_clock);
    diag_set_sink(keep, &lines);
    diag_set_level_all(DIAG_INFO);
    diag_set_rate(DIAG_RATE_PER_S);
    buf_clear(&lines);
    return 0;
}

static int end(void **state)
{
    (void)state;
    diag_set_sink(NULL, NULL);
    diag_set_clock(NULL);
    buf_deinit(&lines);
    return 0;
}

static void check_lines(const char *expected)
{
    buf_put_u8(&lines, 0);
    assert_true(buf_ok(&lines));
    assert_string_equal((const char *)lines.data, expected);
    buf_clear(&lines);
}

static size_t count_lines(void)
{
    size_t n = 0;
    for (size_t i = 0; i < lines.len; i++) {
        n += lines.data[i] == '\n';
    }
    return n;
}

#define TS "ts=2025-01-31T08:15:30.123Z "

static void test_diag__form(void **state)
{
    (void)state;
    diag_info(DIAG_LOG, "segment opened | segment=%d path=\"%s\"", 7, "a b");
    check_lines(TS "level=info cat=log msg=\"segment opened\" segment=7 path=\"a b\"\n");
    diag_error(DIAG_NET, "it failed");
    check_lines(TS "level=error cat=net msg=\"it failed\"\n");
    diag_warn(DIAG_TEST, "%d of %s", 3, "four");
    check_lines(TS "level=warn cat=test msg=\"3 of four\"\n");
}

static void test_diag__a_line_stays_a_line(void **state)
{
    (void)state;
    diag_info(DIAG_TEST, "%s", "a\"b\\c\nd\x7f\x01");
    check_lines(TS "level=info cat=test msg=\"a\\\"b\\\\c\\x0ad\\x7f\\x01\"\n");
    diag_info(DIAG_TEST, "pairs | v=%s", "x\nts=forged");
    check_lines(TS "level=info cat=test msg=\"pairs\" v=x\\x0ats=forged\n");
    diag_info(DIAG_TEST, "%s", "grüße");
    check_lines(TS "level=info cat=test msg=\"grüße\"\n");
    char big[2 * DIAG_LINE_MAX];
    memset(big, '\n', sizeof(big));
    big[sizeof(big) - 1] = '\0';
    for (int cut = 0; cut < 8; cut++) {
        diag_info(DIAG_TEST, "%s", big + cut);
        diag_info(DIAG_TEST, "long | v=%.*s%s", cut, "aaaaaaaa", big);
        assert_int_equal(count_lines(), 2);
        const char *first_end = memchr(lines.data, '\n', lines.len);
        assert_true(first_end - (const char *)lines.data < DIAG_LINE_MAX);
        assert_memory_equal(first_end - 5, "\\x0a\"", 5);
        assert_memory_equal(lines.data + lines.len - 5, "\\x0a\n", 5);
        buf_clear(&lines);
    }
}

static int evaluated;
static int evaluate(void)
{
    return ++evaluated;
}

static void test_diag__levels(void **state)
{
    (void)state;
    evaluated = 0;
    diag_debug(DIAG_TEST, "not wanted | n=%d", evaluate());
    assert_int_equal(evaluated, 0);
    check_lines("");
    assert_int_equal(diag_configure("test=debug,warn,ws=off"), CONFAB_OK);
    diag_debug(DIAG_TEST, "wanted | n=%d", evaluate());
    check_lines(TS "level=debug cat=test msg=\"wanted\" n=1\n");
    assert_false(diag_enabled(DIAG_LOG, DIAG_INFO));
    assert_true(diag_enabled(DIAG_LOG, DIAG_WARN));
    assert_false(diag_enabled(DIAG_WS, DIAG_ERROR));
    assert_int_equal(diag_configure("net=info"), CONFAB_OK); /* the others stay */
    assert_true(diag_enabled(DIAG_NET, DIAG_INFO));
    assert_true(diag_enabled(DIAG_TEST, DIAG_DEBUG));
    static const char *const bad[] = {"",           "loud",  "log=loud", "nobody=info", "info,",
                                      "log=debug,", "=info", "log=",     "info ",       "log"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(diag_configure(bad[i]), CONFAB_INVALID);
    }
    assert_int_equal(diag_configure("debug,log=loud"), CONFAB_INVALID);
    assert_false(diag_enabled(DIAG_LOG, DIAG_DEBUG));
}

static void fail_once(int i)
{
    diag_error(DIAG_STORE, "write failed | n=%d", i);
}

static void test_diag__repeated_errors_are_batched(void **state)
{
    (void)state;
    diag_set_rate(3);
    for (int i = 0; i < 50; i++) {
        fail_once(i);
    }
    assert_int_equal(count_lines(), 3);
    buf_clear(&lines);
    test_now_ms += 1000;
    fail_once(50);
    check_lines("ts=2025-01-31T08:15:31.123Z level=error cat=store msg=\"write failed\" n=50"
                " repeated=47\n");
    for (int i = 0; i < 10; i++) {
        fail_once(i);
    }
    assert_int_equal(count_lines(), 2);
    buf_clear(&lines);
    diag_flush();
    check_lines("ts=2025-01-31T08:15:31.123Z level=error cat=store msg=\"write failed\""
                " repeated=8\n");
    diag_flush();
    check_lines("");
    /* Information is not batched; nor is anything at rate 0. */
    for (int i = 0; i < 20; i++) {
        diag_info(DIAG_STORE, "listing");
    }
    assert_int_equal(count_lines(), 20);
    buf_clear(&lines);
    diag_set_rate(0);
    for (int i = 0; i < 20; i++) {
        fail_once(i);
    }
    assert_int_equal(count_lines(), 20);
}

enum { THREADS = 3, EACH = 3000 };
static void *fail_often(void *arg)
{
    (void)arg;
    for (int i = 0; i < EACH; i++) {
        diag_warn(DIAG_TEST, "busy | i=%d", i);
    }
    return NULL;
}

/* Every call is either a line or counted in one, whatever the threads do. */
static void test_diag__threads_lose_nothing(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fail_often, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    diag_flush();
    buf_put_u8(&lines, 0);
    unsigned long told = 0;
    char *next = NULL;
    for (char *l = strtok_r((char *)lines.data, "\n", &next); l; l = strtok_r(NULL, "\n", &next)) {
        told += strstr(l, " i=") != NULL;
        const char *repeated = strstr(l, " repeated=");
        told += repeated ? strtoul(repeated + 10, NULL, 10) : 0;
        assert_memory_equal(l, "ts=", 3);
    }
    assert_int_equal(told, THREADS * EACH);
}

/* Without a sink a line goes to standard error, whole. */
static void test_diag__standard_error(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    int saved = dup(STDERR_FILENO);
    assert_true(saved >= 0 && dup2(fds[1], STDERR_FILENO) >= 0);
    diag_set_sink(NULL, NULL);
    diag_info(DIAG_TEST, "to standard error | n=%d", 1);
    assert_true(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    close(fds[1]);
    char got[256];
    ssize_t n = read(fds[0], got, sizeof(got) - 1);
    close(fds[0]);
    assert_true(n > 0);
    got[n] = '\0';
    assert_string_equal(got, TS "level=info cat=test msg=\"to standard error\" n=1\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_diag__form, begin, end),
        cmocka_unit_test_setup_teardown(test_diag__a_line_stays_a_line, begin, end),
        cmocka_unit_test_setup_teardown(test_diag__levels, begin, end),
        cmocka_unit_test_setup_teardown(test_diag__repeated_errors_are_batched, begin, end),
        cmocka_unit_test_setup_teardown(test_diag__standard_error, begin, end),
        cmocka_unit_test_setup_teardown(test_diag__threads_lose_nothing, begin, end),
    };
    return cmocka_run_group_tests_name("diag", tests, NULL, NULL);
}
