/* Metrics: sums by owner, histograms, and the text that Prometheus reads. */
#include "unit.h"

#include "base/metrics.c"

#include <pthread.h>

static struct metrics a;
static struct metrics b;
static struct metrics c;
static int server_1;
static int server_2;

static int begin(void **state)
{
    (void)state;
    metrics_register(&a, &server_1);
    metrics_register(&b, &server_1);
    metrics_register(&c, &server_2);
    return 0;
}

static int end(void **state)
{
    (void)state;
    metrics_unregister(&a);
    metrics_unregister(&b);
    metrics_unregister(&c);
    metrics_unregister(&c);
    return 0;
}

static char *render(const void *owner)
{
    struct buf out;
    buf_init(&out);
    metrics_render(&out, owner);
    buf_put_u8(&out, 0);
    assert_true(buf_ok(&out));
    size_t n;
    return (char *)buf_detach(&out, &n);
}

static void test_metrics__sums_by_owner(void **state)
{
    (void)state;
    metrics_inc(&a, METRIC_ACKS);
    metrics_add(&b, METRIC_ACKS, 41);
    metrics_add(&c, METRIC_ACKS, 1000);
    metrics_gauge_add(&a, METRIC_SESSIONS, 5);
    metrics_gauge_add(&b, METRIC_SESSIONS, -7);
    metrics_gauge_set(&c, METRIC_SESSIONS, 3);
    assert_int_equal(metrics_total(&server_1, METRIC_ACKS), 42);
    assert_int_equal(metrics_total(&server_2, METRIC_ACKS), 1000);
    assert_int_equal(metrics_total(NULL, METRIC_ACKS), 1042);
    assert_int_equal(metrics_total(&server_1, METRIC_SESSIONS), -2);
    char *text = render(&server_1);
    assert_non_null(strstr(text, "\nconfab_acks_total 42\n"));
    assert_non_null(strstr(text, "\nconfab_sessions_open -2\n"));
    free(text);
    metrics_unregister(&b);
    text = render(NULL);
    assert_non_null(strstr(text, "\nconfab_acks_total 1001\n"));
    assert_non_null(strstr(text, "\nconfab_sessions_open 8\n"));
    free(text);
}

static void test_metrics__buckets_are_in_order(void **state)
{
    (void)state;
    for (unsigned i = 0; i + 1 < METRICS_BUCKETS; i++) {
        uint64_t low = bound_below(i);
        uint64_t high = bound_below(i + 1);
        assert_true(low < high);
        assert_int_equal(bucket_of(low + 1), i);
        assert_int_equal(bucket_of(high), i);
        assert_true(i < 4 || high - low <= low / 4);
    }
    assert_int_equal(bucket_of(0), 0);
    assert_int_equal(bucket_of((1ULL << 37) + 1), METRICS_BUCKETS - 1);
    assert_int_equal(bucket_of(UINT64_MAX), METRICS_BUCKETS - 1);
    for (unsigned e = 2; e <= 37; e++) {
        assert_int_equal(bound_below(BUCKET_AT(e)), 1ULL << e);
    }
}

static void test_metrics__histogram(void **state)
{
    (void)state;
    for (uint64_t v = 1; v <= 1000; v++) {
        metrics_observe(v % 2 == 0 ? &a : &b, METRIC_H_FANOUT, v);
    }
    metrics_observe(&c, METRIC_H_FANOUT, 5);
    assert_int_equal(metrics_hist_count(&server_1, METRIC_H_FANOUT), 1000);
    uint64_t p50 = metrics_quantile(&server_1, METRIC_H_FANOUT, 0.5);
    uint64_t p99 = metrics_quantile(&server_1, METRIC_H_FANOUT, 0.99);
    assert_true(p50 >= 500 && p50 <= 625);
    assert_true(p99 >= 990 && p99 <= 1238);
    assert_int_equal(metrics_quantile(&server_1, METRIC_H_FANOUT, 0), 1);
    assert_int_equal(metrics_quantile(&server_1, METRIC_H_DELIVERY, 0.5), 0);
    char *text = render(&server_1);
    assert_non_null(strstr(text, "\n# TYPE confab_fanout_sessions histogram\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_bucket{le=\"2\"} 2\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_bucket{le=\"64\"} 64\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_bucket{le=\"96\"} 96\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_bucket{le=\"1024\"} 1000\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_bucket{le=\"+Inf\"} 1000\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_sum 500500\n"));
    assert_non_null(strstr(text, "\nconfab_fanout_sessions_count 1000\n"));
    free(text);
}

static void test_metrics__seconds(void **state)
{
    (void)state;
    metrics_observe(&a, METRIC_H_LOG_APPEND, 1024);
    metrics_observe(&a, METRIC_H_LOG_APPEND, 1025);
    metrics_observe(&a, METRIC_H_LOG_APPEND, 2500000000);
    metrics_observe(&a, METRIC_H_LOG_APPEND, 200000000000);
    char *text = render(&server_1);
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"1.024e-06\"} 1\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"1.536e-06\"} 2\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"2.147483648\"} 2\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"3.221225472\"} 3\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"34.359738368\"} 3\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_bucket{le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_sum 202.500002049\n"));
    assert_non_null(strstr(text, "\nconfab_log_append_seconds_count 4\n"));
    free(text);
    assert_int_equal(metrics_quantile(&server_1, METRIC_H_LOG_APPEND, 1), UINT64_MAX);
}

/* What a row must look like: the readers of the text are strict. */
static void check_row(const struct row *row)
{
    assert_memory_equal(row->name, "confab_", 7);
    size_t n = strlen(row->name);
    assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), n);
    bool total = n > 6 && strcmp(row->name + n - 6, "_total") == 0;
    bool seconds = n > 8 && strcmp(row->name + n - 8, "_seconds") == 0;
    if (seconds && strstr(row->name, "_timestamp_seconds")) {
        assert_int_equal(row->kind, KIND_GAUGE); /* a point in time, not a duration */
        seconds = false;
    }
    assert_int_equal(total, row->kind == KIND_COUNTER);
    assert_int_equal(seconds, row->kind == KIND_HISTOGRAM_S);
    assert_true(strlen(row->help) > 0);
    assert_null(strpbrk(row->help, "\\\n"));
    if (row->labels[0]) {
        const char *eq = strstr(row->labels, "=\"");
        assert_non_null(eq);
        assert_true(eq > row->labels && row->labels[strlen(row->labels) - 1] == '"');
    }
}

static void check_rows(const struct row *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        check_row(&list[i]);
        for (size_t j = 0; j < i; j++) {
            if (strcmp(list[i].name, list[j].name) == 0) {
                assert_string_equal(list[i].name, list[i - 1].name); /* together */
                assert_string_equal(list[i].help, list[j].help);
                assert_int_equal(list[i].kind, list[j].kind);
                assert_string_not_equal(list[i].labels, list[j].labels);
            }
        }
    }
}

static void test_metrics__table(void **state)
{
    (void)state;
    check_rows(rows, METRIC_COUNT);
    check_rows(hist_rows, METRIC_H_COUNT);
}

/* Each line is a comment or `name{labels} value`; a name's comments come once, before its values.
 */
static void test_metrics__text_is_well_formed(void **state)
{
    (void)state;
    char *text = render(NULL);
    assert_int_equal(text[strlen(text) - 1], '\n');
    char typed[128] = "";
    char *next = NULL;
    size_t samples = 0;
    for (char *l = strtok_r(text, "\n", &next); l; l = strtok_r(NULL, "\n", &next)) {
        if (strncmp(l, "# TYPE ", 7) == 0) {
            size_t n = strcspn(l + 7, " ");
            assert_true(n < sizeof(typed));
            assert_false(strlen(typed) == n && memcmp(typed, l + 7, n) == 0);
            memcpy(typed, l + 7, n);
            typed[n] = '\0';
            const char *type = l + 7 + n + 1;
            assert_true(strcmp(type, "counter") == 0 || strcmp(type, "gauge") == 0 ||
                        strcmp(type, "histogram") == 0);
        } else if (strncmp(l, "# HELP ", 7) != 0) {
            assert_memory_equal(l, typed, strlen(typed));
            const char *space = strrchr(l, ' ');
            assert_non_null(space);
            char *end_of_number = NULL;
            (void)strtod(space + 1, &end_of_number);
            assert_int_equal(*end_of_number, '\0');
            samples++;
        }
    }
    assert_true(samples > METRIC_COUNT + METRIC_H_COUNT * 40);
    free(text);
}

static void test_metrics__every_error_has_a_group(void **state)
{
    (void)state;
#define X(sym, val, wire, status, msg)                                                             \
    {                                                                                              \
        enum metric id = metrics_of_error(sym);                                                    \
        assert_true(id >= METRIC_ERRORS_INVALID && id <= METRIC_ERRORS_INTERNAL);                  \
        assert_true((status) != 500 || id == METRIC_ERRORS_INTERNAL);                              \
        assert_true((status) != 429 || id == METRIC_ERRORS_LIMIT);                                 \
    }
#include "base/errors.def"
#undef X
    assert_int_equal(metrics_of_error((enum confab_err) - 9999), METRIC_ERRORS_INTERNAL);
}

enum { ROUNDS = 20000 };
static void *count(void *arg)
{
    struct metrics *m = arg;
    metrics_register(m, &server_2);
    for (uint64_t i = 0; i < ROUNDS; i++) {
        metrics_inc(m, METRIC_DELIVERIES);
        metrics_observe(m, METRIC_H_ACCEPT, i);
    }
    return NULL;
}

static void test_metrics__scrape_while_threads_count(void **state)
{
    (void)state;
    static struct metrics m[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count, &m[i]), 0);
    }
    int64_t before = 0;
    for (int i = 0; i < 20; i++) {
        free(render(&server_2));
        int64_t now = metrics_total(&server_2, METRIC_DELIVERIES);
        assert_true(now >= before);
        before = now;
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_int_equal(metrics_total(&server_2, METRIC_DELIVERIES), 2 * ROUNDS);
    assert_int_equal(metrics_hist_count(&server_2, METRIC_H_ACCEPT), 2 * ROUNDS);
    for (int i = 0; i < 2; i++) {
        metrics_unregister(&m[i]);
    }
    assert_int_equal(metrics_total(&server_2, METRIC_DELIVERIES), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_metrics__sums_by_owner, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__buckets_are_in_order, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__histogram, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__seconds, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__table, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__text_is_well_formed, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__every_error_has_a_group, begin, end),
        cmocka_unit_test_setup_teardown(test_metrics__scrape_while_threads_count, begin, end),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
