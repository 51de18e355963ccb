/* Contract of the message_store port, over every adapter. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "gate.h"
#include "store_bench.h"

static struct bench bench;

static struct span be64(uint64_t v, uint8_t out[8])
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)v;
        v >>= 8;
    }
    return span_of(out, 8);
}

/* The 16-byte key of conversation n. */
static struct span conv(unsigned n)
{
    static const char hex[] = "0123456789abcdef";
    static uint8_t keys[16][16];
    memset(keys[n], hex[n], 16);
    return span_of(keys[n], 16);
}

static void put(enum store_table table, struct span key, struct span sort, struct span value)
{
    struct buf b;
    buf_init(&b);
    store_batch_put(&b, (struct store_key){table, key, sort}, value);
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
}

/* Chunk rows of one conversation with sort keys from, from + 1, …, as one batch. */
static void put_chunks(unsigned n, uint64_t from, unsigned count, const char *value)
{
    struct buf b;
    buf_init(&b);
    for (unsigned i = 0; i < count; i++) {
        uint8_t sort[8];
        store_batch_put(&b, (struct store_key){STORE_CHUNK, conv(n), be64(from + i, sort)},
                        span_str(value));
    }
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
}

static bool has(enum store_table table, struct span key, struct span sort, const char *value)
{
    struct store_key k = {table, key, sort};
    struct store_request req = {.op = STORE_GET, .keys = &k, .nkeys = 1};
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_int_equal(req.ret_nrows, 1);
    bool found = req.ret_rows[0].found;
    if (found) {
        assert_true(span_is(req.ret_rows[0].value, value));
    } else {
        assert_int_equal(req.ret_rows[0].value.n, 0);
    }
    store_request_deinit(&req);
    return found;
}

static struct store_request range(unsigned n, struct span from, struct span to, bool reverse)
{
    return (struct store_request){.op = STORE_RANGE,
                                  .table = STORE_CHUNK,
                                  .key = conv(n),
                                  .from = from,
                                  .to = to,
                                  .limit = 1000,
                                  .bytes_max = 1 << 20,
                                  .reverse = reverse};
}

/* Runs the range and checks that its rows have the sort keys first, first + step, … */
static void expect_range(struct store_request req, unsigned rows, uint64_t first, int step,
                         bool more)
{
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_int_equal(req.ret_nrows, rows);
    for (unsigned i = 0; i < rows; i++) {
        uint8_t sort[8];
        struct span want = be64(first + (uint64_t)(step * (int)i), sort);
        assert_true(req.ret_rows[i].found);
        assert_true(span_eq(req.ret_rows[i].sort, want));
    }
    assert_int_equal(req.ret_more, more);
    store_request_deinit(&req);
}

static const struct span NONE = {NULL, 0};

static void test_store__get_finds_what_was_put(void **state)
{
    (void)state;
    uint8_t sort[8];
    assert_false(has(STORE_HEADER, conv(1), NONE, ""));
    put(STORE_HEADER, conv(1), NONE, span_str("one"));
    put(STORE_HEAD, conv(1), NONE, span_str("head"));
    put(STORE_MEMBER, conv(1), be64(7, sort), span_str("seven"));
    assert_true(has(STORE_HEADER, conv(1), NONE, "one"));
    assert_true(has(STORE_HEAD, conv(1), NONE, "head"));
    assert_true(has(STORE_MEMBER, conv(1), be64(7, sort), "seven"));
    assert_false(has(STORE_MEMBER, conv(1), be64(8, sort), ""));
    assert_false(has(STORE_MEMBER, conv(2), be64(7, sort), ""));
    assert_false(has(STORE_CHUNK, conv(1), be64(7, sort), ""));
    put(STORE_HEADER, conv(1), NONE, span_str("two"));
    assert_true(has(STORE_HEADER, conv(1), NONE, "two"));
}

static void test_store__every_table_takes_its_keys(void **state)
{
    (void)state;
    static const struct {
        enum store_table table;
        size_t key;
        size_t sort;
    } tables[] = {
        {STORE_META, 1, 0},   {STORE_META, 32, 0},   {STORE_PARTITION, 2, 0}, {STORE_HEADER, 16, 0},
        {STORE_HEAD, 16, 0},  {STORE_MEMBER, 16, 8}, {STORE_CHUNK, 16, 8},    {STORE_DEDUP, 16, 32},
        {STORE_DEDUP, 16, 1}, {STORE_FEED, 2, 8},    {STORE_FOLLOWUP, 2, 16},
    };
    uint8_t bytes[32];
    memset(bytes, 0xff, sizeof(bytes));
    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "row %u", i);
        put(tables[i].table, span_of(bytes, tables[i].key), span_of(bytes, tables[i].sort),
            span_str(value));
    }
    for (unsigned i = 0; i < ARRAY_LEN(tables); i++) {
        char value[16];
        (void)snprintf(value, sizeof(value), "row %u", i);
        assert_true(has(tables[i].table, span_of(bytes, tables[i].key),
                        span_of(bytes, tables[i].sort), value));
    }
}

static void test_store__get_of_many_keeps_the_order(void **state)
{
    (void)state;
    put_chunks(1, 100, 50, "x");
    enum { N = 60 };
    struct store_key keys[N];
    uint8_t sorts[N][8];
    for (unsigned i = 0; i < N; i++) { /* downwards from 159; those above 149 are missing */
        keys[i] = (struct store_key){STORE_CHUNK, conv(1), be64(159 - i, sorts[i])};
    }
    struct store_request req = {.op = STORE_GET, .keys = keys, .nkeys = N};
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_int_equal(req.ret_nrows, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(req.ret_rows[i].found, i >= 10);
        assert_int_equal(req.ret_rows[i].value.n, i >= 10 ? 1 : 0);
    }
    store_request_deinit(&req);

    struct store_request none = {.op = STORE_GET};
    bench_do(bench.store, &none);
    assert_int_equal(none.ret_err, CONFAB_OK);
    assert_int_equal(none.ret_nrows, 0);
    store_request_deinit(&none);
}

static void test_store__an_empty_value_is_a_row(void **state)
{
    (void)state;
    put(STORE_META, span_str("name"), NONE, NONE);
    assert_true(has(STORE_META, span_str("name"), NONE, ""));
    assert_false(has(STORE_META, span_str("nam"), NONE, ""));
    assert_false(has(STORE_META, span_str("name2"), NONE, ""));
}

static void test_store__del_removes_one_row(void **state)
{
    (void)state;
    uint8_t sort[8];
    put_chunks(1, 1, 3, "x");
    struct buf b;
    buf_init(&b);
    store_batch_del(&b, (struct store_key){STORE_CHUNK, conv(1), be64(2, sort)});
    store_batch_del(&b, (struct store_key){STORE_CHUNK, conv(1), be64(9, sort)}); /* not there */
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
    assert_true(has(STORE_CHUNK, conv(1), be64(1, sort), "x"));
    assert_false(has(STORE_CHUNK, conv(1), be64(2, sort), ""));
    assert_true(has(STORE_CHUNK, conv(1), be64(3, sort), "x"));
}

static void test_store__range_has_inclusive_bounds(void **state)
{
    (void)state;
    uint8_t from[8];
    uint8_t to[8];
    put_chunks(0, 1, 5, "before");
    put_chunks(1, 10, 10, "x");
    put_chunks(2, 1, 5, "after");
    expect_range(range(1, NONE, NONE, false), 10, 10, 1, false);
    expect_range(range(1, NONE, NONE, true), 10, 19, -1, false);
    expect_range(range(1, be64(12, from), be64(15, to), false), 4, 12, 1, false);
    expect_range(range(1, be64(12, from), be64(15, to), true), 4, 15, -1, false);
    expect_range(range(1, be64(15, from), NONE, false), 5, 15, 1, false);
    expect_range(range(1, be64(15, from), NONE, true), 5, 19, -1, false);
    expect_range(range(1, NONE, be64(12, to), false), 3, 10, 1, false);
    expect_range(range(1, NONE, be64(12, to), true), 3, 12, -1, false);
    expect_range(range(1, be64(14, from), be64(14, to), false), 1, 14, 1, false);
    expect_range(range(1, be64(14, from), be64(14, to), true), 1, 14, 1, false);
}

static void test_store__range_may_be_empty(void **state)
{
    (void)state;
    uint8_t from[8];
    uint8_t to[8];
    expect_range(range(1, NONE, NONE, false), 0, 0, 1, false);
    expect_range(range(1, NONE, NONE, true), 0, 0, 1, false);
    put_chunks(0, 1, 5, "x");
    put_chunks(1, 10, 10, "x");
    put_chunks(2, 1, 5, "x");
    for (int reverse = 0; reverse < 2; reverse++) {
        expect_range(range(3, NONE, NONE, reverse), 0, 0, 1, false);
        expect_range(range(1, be64(20, from), NONE, reverse), 0, 0, 1, false);
        expect_range(range(1, NONE, be64(9, to), reverse), 0, 0, 1, false);
        expect_range(range(1, be64(15, from), be64(14, to), reverse), 0, 0, 1, false);
        expect_range(range(1, be64(2, from), be64(5, to), reverse), 0, 0, 1, false);
    }
}

static void test_store__range_reaches_the_last_possible_keys(void **state)
{
    (void)state;
    uint8_t high[16];
    uint8_t sort[8];
    memset(high, 0xff, sizeof(high));
    put(STORE_CHUNK, span_of(high, 16), be64(UINT64_MAX, sort), span_str("last"));
    put(STORE_CHUNK, span_of(high, 16), be64(0, sort), span_str("first"));
    struct store_request req = range(0, NONE, NONE, false);
    req.key = span_of(high, 16);
    expect_range(req, 2, 0, -1, false);
    req.reverse = true;
    req.limit = 1;
    expect_range(req, 1, UINT64_MAX, 1, true);
    uint8_t to[8];
    req.to = be64(UINT64_MAX - 1, to);
    expect_range(req, 1, 0, 1, false);
}

static void test_store__range_stops_at_its_limits(void **state)
{
    (void)state;
    put_chunks(1, 1, 10, "four");
    struct store_request req = range(1, NONE, NONE, false);
    req.limit = 3;
    expect_range(req, 3, 1, 1, true);
    req.reverse = true;
    expect_range(req, 3, 10, -1, true);
    req.limit = 10;
    expect_range(req, 10, 10, -1, false);
    req.reverse = false;
    req.bytes_max = 12;
    expect_range(req, 3, 1, 1, true);
    req.bytes_max = 15;
    expect_range(req, 3, 1, 1, true);
    req.bytes_max = 1; /* a single row may be larger than the bound */
    expect_range(req, 1, 1, 1, true);
    req.bytes_max = 40;
    expect_range(req, 10, 1, 1, false);
}

static void test_store__range_over_the_keys_of_a_table(void **state)
{
    (void)state;
    put(STORE_META, span_str("a"), NONE, span_str("1"));
    put(STORE_META, span_str("ab"), NONE, span_str("2"));
    put(STORE_META, span_str("b"), NONE, span_str("3"));
    for (unsigned i = 0; i < 4; i++) {
        put(STORE_PARTITION, span_of((uint8_t[]){(uint8_t)i, 9}, 2), NONE, span_str("p"));
    }
    struct store_request req = range(0, NONE, NONE, false);
    req.table = STORE_META;
    req.key = NONE;
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_int_equal(req.ret_nrows, 3);
    assert_true(span_is(req.ret_rows[0].sort, "a") && span_is(req.ret_rows[0].value, "1"));
    assert_true(span_is(req.ret_rows[1].sort, "ab") && span_is(req.ret_rows[1].value, "2"));
    assert_true(span_is(req.ret_rows[2].sort, "b") && span_is(req.ret_rows[2].value, "3"));
    store_request_deinit(&req);

    req = range(0, NONE, NONE, true);
    req.table = STORE_PARTITION;
    req.key = NONE;
    req.to = span_of("\x02\x09", 2);
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_int_equal(req.ret_nrows, 3);
    assert_true(span_eq(req.ret_rows[0].sort, span_of("\x02\x09", 2)));
    assert_true(span_eq(req.ret_rows[2].sort, span_of("\x00\x09", 2)));
    store_request_deinit(&req);
}

static void del_range(unsigned n, struct span from, struct span to)
{
    struct buf b;
    buf_init(&b);
    store_batch_del_range(&b, STORE_CHUNK, conv(n), from, to);
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
}

static void test_store__del_range_excludes_its_end(void **state)
{
    (void)state;
    uint8_t from[8];
    uint8_t to[8];
    put_chunks(0, 1, 10, "x");
    put_chunks(1, 1, 10, "x");
    put_chunks(2, 1, 10, "x");
    del_range(1, be64(3, from), be64(3, to));
    del_range(1, be64(5, from), be64(3, to));
    expect_range(range(1, NONE, NONE, false), 10, 1, 1, false);
    del_range(1, be64(1, from), be64(4, to));
    expect_range(range(1, NONE, NONE, false), 7, 4, 1, false);
    del_range(1, be64(9, from), NONE);
    expect_range(range(1, NONE, NONE, false), 5, 4, 1, false);
    assert_false(has(STORE_CHUNK, conv(1), be64(9, from), ""));
    assert_true(has(STORE_CHUNK, conv(1), be64(8, from), "x"));
    put_chunks(1, 10, 2, "again");
    assert_true(has(STORE_CHUNK, conv(1), be64(10, from), "again"));
    del_range(1, NONE, NONE);
    expect_range(range(1, NONE, NONE, false), 0, 0, 1, false);
    expect_range(range(0, NONE, NONE, false), 10, 1, 1, false);
    expect_range(range(2, NONE, NONE, false), 10, 1, 1, false);
}

static void test_store__a_batch_applies_in_its_order(void **state)
{
    (void)state;
    uint8_t sort[8];
    uint8_t to[8];
    struct buf b;
    buf_init(&b);
    struct store_key one = {STORE_CHUNK, conv(1), be64(1, sort)};
    store_batch_put(&b, one, span_str("first"));
    store_batch_put(&b, one, span_str("second"));
    store_batch_del(&b, (struct store_key){STORE_HEADER, conv(1), NONE});
    store_batch_put(&b, (struct store_key){STORE_HEADER, conv(1), NONE}, span_str("header"));
    store_batch_put(&b, (struct store_key){STORE_HEAD, conv(1), NONE}, span_str("gone"));
    store_batch_del(&b, (struct store_key){STORE_HEAD, conv(1), NONE});
    uint8_t five[8];
    store_batch_put(&b, (struct store_key){STORE_CHUNK, conv(2), be64(5, five)}, span_str("old"));
    store_batch_del_range(&b, STORE_CHUNK, conv(2), NONE, be64(9, to));
    uint8_t six[8];
    store_batch_put(&b, (struct store_key){STORE_CHUNK, conv(2), be64(6, six)}, span_str("new"));
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
    assert_true(has(STORE_CHUNK, conv(1), be64(1, sort), "second"));
    assert_true(has(STORE_HEADER, conv(1), NONE, "header"));
    assert_false(has(STORE_HEAD, conv(1), NONE, ""));
    expect_range(range(2, NONE, NONE, false), 1, 6, 1, false);
}

static void test_store__a_bad_batch_changes_nothing(void **state)
{
    (void)state;
    uint8_t sort[8];
    be64(1, sort);
    put_chunks(1, 1, 3, "x");
    static const uint8_t zeros[STORE_SORT_MAX + 1];
    struct span long_sort = span_of(zeros, sizeof(zeros));
    const struct store_key bad[] = {
        {STORE_HEADER, span_of(sort, 8), NONE},    /* key too short */
        {STORE_CHUNK, conv(1), long_sort},         /* sort key too long */
        {STORE_META, long_sort, NONE},             /* key too long */
        {STORE_HEADER, conv(1), span_of(sort, 8)}, /* takes no sort key */
        {STORE_CHUNK, conv(1), NONE},              /* needs a sort key */
        {STORE_META, NONE, NONE},                  /* no key */
        {(enum store_table)0, conv(1), NONE},      /* no such table */
        {STORE_TABLES, conv(1), NONE},             /* no such table */
    };
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf b;
        buf_init(&b);
        store_batch_put(&b, (struct store_key){STORE_HEADER, conv(1), NONE}, span_str("header"));
        store_batch_del_range(&b, STORE_CHUNK, conv(1), NONE, NONE);
        store_batch_put(&b, bad[i], span_str("bad"));
        assert_int_equal(bench_write(bench.store, &b), CONFAB_INVALID);
        assert_false(has(STORE_HEADER, conv(1), NONE, ""));
        expect_range(range(1, NONE, NONE, false), 3, 1, 1, false);
    }
    struct buf b;
    for (size_t cut = 1;; cut++) { /* an item that is cut short, or of no operation */
        buf_init(&b);
        store_batch_put(&b, (struct store_key){STORE_HEADER, conv(1), NONE}, span_str("header"));
        size_t one = b.len;
        store_batch_put(&b, (struct store_key){STORE_HEADER, conv(2), NONE}, span_str("header"));
        bool whole = one + cut >= b.len;
        b.len = whole ? b.len : one + cut;
        b.data[one] = whole ? STORE_BATCH_DEL_RANGE + 1 : b.data[one];
        assert_int_equal(bench_write(bench.store, &b), CONFAB_INVALID);
        assert_false(has(STORE_HEADER, conv(1), NONE, ""));
        if (whole) {
            break;
        }
    }
    const struct {
        enum store_table table;
        struct span key;
        struct span from;
        struct span to;
        enum confab_err err;
    } ranges[] = {
        {STORE_HEADER, conv(1), NONE, NONE, CONFAB_INVALID}, /* has no sort keys */
        {STORE_CHUNK, span_of(sort, 8), NONE, NONE, CONFAB_INVALID},
        {STORE_CHUNK, conv(1), long_sort, NONE, CONFAB_INVALID},
        {STORE_CHUNK, conv(1), NONE, long_sort, CONFAB_TOO_LARGE},
        {STORE_TABLES, conv(1), NONE, NONE, CONFAB_INVALID},
    };
    for (unsigned i = 0; i < ARRAY_LEN(ranges); i++) {
        buf_init(&b);
        store_batch_put(&b, (struct store_key){STORE_HEADER, conv(1), NONE}, span_str("header"));
        store_batch_del_range(&b, ranges[i].table, ranges[i].key, ranges[i].from, ranges[i].to);
        assert_int_equal(bench_write(bench.store, &b), ranges[i].err);
        assert_false(has(STORE_HEADER, conv(1), NONE, ""));
        expect_range(range(1, NONE, NONE, false), 3, 1, 1, false);
    }

    buf_init(&b);
    store_batch_put(&b, (struct store_key){STORE_HEADER, conv(1), NONE}, span_str("header"));
    b.failed = true; /* as after an append without memory */
    assert_int_equal(bench_write(bench.store, &b), CONFAB_NOMEM);
    assert_false(has(STORE_HEADER, conv(1), NONE, ""));
}

static void test_store__a_bad_request_is_refused(void **state)
{
    (void)state;
    struct store_request zero_limit = range(1, NONE, NONE, false);
    zero_limit.limit = 0;
    struct store_request zero_bytes = range(1, NONE, NONE, false);
    zero_bytes.bytes_max = 0;
    struct store_request no_key = range(1, NONE, NONE, false);
    no_key.key = NONE;
    struct store_request short_key = range(1, NONE, NONE, false);
    short_key.key.n = 15;
    struct store_request keyed = range(1, NONE, NONE, false);
    keyed.table = STORE_HEADER;
    struct store_request no_table = range(1, NONE, NONE, false);
    no_table.table = STORE_TABLES;
    struct store_request below_tables = range(1, NONE, NONE, false);
    below_tables.table = (enum store_table)0;
    static const uint8_t zeros[STORE_SORT_MAX + 1];
    struct span long_sort = span_of(zeros, sizeof(zeros));
    struct store_request long_from = range(1, long_sort, NONE, false);
    struct store_request long_to = range(1, NONE, long_sort, false);
    struct store_key key = {STORE_CHUNK, conv(1), NONE};
    struct store_key far = {STORE_CHUNK, conv(1), long_sort};
    struct store_key pair[] = {{STORE_HEADER, conv(1), NONE}, key};
    struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
    struct store_request get_far = {.op = STORE_GET, .keys = &far, .nkeys = 1};
    struct store_request get_two = {.op = STORE_GET, .keys = pair, .nkeys = 2};
    struct store_request *all[] = {&zero_limit, &zero_bytes, &no_key,       &short_key,
                                   &keyed,      &no_table,   &below_tables, &long_from,
                                   &long_to,    &get,        &get_far,      &get_two};
    for (unsigned i = 0; i < ARRAY_LEN(all); i++) {
        bench_do(bench.store, all[i]);
        assert_int_equal(all[i]->ret_err, CONFAB_INVALID);
        assert_int_equal(all[i]->ret_nrows, 0);
        store_request_deinit(all[i]);
    }
}

static void test_store__values_up_to_the_limit(void **state)
{
    (void)state;
    uint8_t sort[8];
    be64(1, sort);
    size_t n = STORE_VALUE_MAX;
    uint8_t *big = malloc(n + 1);
    assert_non_null(big);
    for (size_t i = 0; i <= n; i++) {
        big[i] = (uint8_t)(i * 2654435761U >> 13);
    }
    struct buf b;
    buf_init(&b);
    struct store_key key = {STORE_CHUNK, conv(1), span_of(sort, 8)};
    store_batch_put(&b, key, span_of(big, n + 1));
    assert_int_equal(bench_write(bench.store, &b), CONFAB_TOO_LARGE);
    buf_init(&b);
    store_batch_put(&b, key, span_of(big, n));
    assert_int_equal(bench_write(bench.store, &b), CONFAB_OK);
    assert_int_equal(bench_flush(bench.store), CONFAB_OK);
    struct store_request req = {.op = STORE_GET, .keys = &key, .nkeys = 1};
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_true(span_eq(req.ret_rows[0].value, span_of(big, n)));
    store_request_deinit(&req);
    free(big);
}

static void test_store__flushed_rows_read_the_same(void **state)
{
    (void)state;
    uint8_t from[8];
    uint8_t to[8];
    for (unsigned i = 0; i < 10; i++) { /* several table files with tombstones between them */
        put_chunks(1, 1 + i * 10, 10, "x");
        del_range(1, be64(5 + i * 10, from), be64(7 + i * 10, to));
        put_chunks(1, 5 + i * 10, 2, "y");
        assert_int_equal(bench_flush(bench.store), CONFAB_OK);
    }
    expect_range(range(1, NONE, NONE, false), 100, 1, 1, false);
    expect_range(range(1, NONE, NONE, true), 100, 100, -1, false);
    assert_true(has(STORE_CHUNK, conv(1), be64(95, from), "y"));
    assert_true(has(STORE_CHUNK, conv(1), be64(94, from), "x"));
}

static void test_store__stats_count(void **state)
{
    (void)state;
    struct store_stats before;
    struct store_stats after;
    message_store_stats(bench.store, &before);
    put(STORE_META, span_str("name"), NONE, span_str("value"));
    assert_true(has(STORE_META, span_str("name"), NONE, "value"));
    assert_int_equal(bench_flush(bench.store), CONFAB_OK);
    message_store_stats(bench.store, &after);
    assert_int_equal(after.writes, before.writes + 1);
    assert_int_equal(after.reads, before.reads + 1);
    assert_int_equal(after.flushes, before.flushes + 1);
    assert_int_equal(after.errors, before.errors);
    assert_true(after.bytes_written > before.bytes_written);
    assert_true(after.memory_bytes > 0);
}

enum { WRITERS = 4, ROUNDS = 100 };
struct writer {
    unsigned n;
    struct gate gate;
};

static void on_writer_done(struct store_request *req)
{
    assert_int_equal(req->ret_err, CONFAB_OK);
    gate_pass(req->arg);
}

/* Writes two rows in each batch; they must always be seen with the same value. */
static void *write_pairs(void *arg)
{
    struct writer *w = arg;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        struct store_request req = {.op = STORE_WRITE, .arg = &w->gate, .done = on_writer_done};
        uint8_t a[8];
        uint8_t b[8];
        struct span value = span_of(&i, sizeof(i));
        struct store_key first = {STORE_CHUNK, conv(w->n), be64(1, a)};
        struct store_key second = {STORE_CHUNK, conv(w->n), be64(2, b)};
        store_batch_put(&req.batch, first, value);
        store_batch_put(&req.batch, second, value);
        enum confab_err err;
        do {
            err = message_store_submit(bench.store, &req);
        } while (err == CONFAB_BUSY);
        if (err != CONFAB_OK) {
            return arg;
        }
        gate_wait(&w->gate, i);
        store_request_deinit(&req);
    }
    return NULL;
}

static void check_pair(unsigned n)
{
    struct store_request req = range(n, NONE, NONE, false);
    bench_do(bench.store, &req);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_true(req.ret_nrows == 0 || req.ret_nrows == 2);
    if (req.ret_nrows == 2) {
        assert_true(span_eq(req.ret_rows[0].value, req.ret_rows[1].value));
    }
    store_request_deinit(&req);
}

static void test_store__batches_of_threads_are_atomic(void **state)
{
    (void)state;
    pthread_t threads[WRITERS];
    struct writer writers[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){i, GATE_INIT};
        assert_int_equal(pthread_create(&threads[i], NULL, write_pairs, &writers[i]), 0);
    }
    for (unsigned i = 0; i < 200; i++) {
        check_pair(i % WRITERS);
    }
    for (unsigned i = 0; i < WRITERS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
        check_pair(i);
        uint8_t sort[8];
        struct store_key key = {STORE_CHUNK, conv(i), be64(2, sort)};
        struct store_request req = {.op = STORE_GET, .keys = &key, .nkeys = 1};
        bench_do(bench.store, &req);
        unsigned last = ROUNDS;
        assert_true(span_eq(req.ret_rows[0].value, span_of(&last, sizeof(last))));
        store_request_deinit(&req);
    }
}

/* A chain in which each `done` submits the next request. */
struct chain {
    struct store_request req;
    struct gate gate;
    unsigned left;
};

static void on_chain_done(struct store_request *req)
{
    struct chain *c = req->arg;
    enum confab_err err = req->ret_err;
    buf_clear(&req->batch);
    if (err == CONFAB_OK && --c->left > 0) {
        uint8_t sort[8];
        store_batch_put(&req->batch, (struct store_key){STORE_CHUNK, conv(1), be64(c->left, sort)},
                        span_str("x"));
        err = message_store_submit(bench.store, req);
        if (err == CONFAB_OK) {
            return;
        }
    }
    gate_pass(&c->gate);
}

static void test_store__done_may_submit_further_requests(void **state)
{
    (void)state;
    struct chain c = {.gate = GATE_INIT, .left = 5000};
    c.req = (struct store_request){.op = STORE_WRITE, .done = on_chain_done, .arg = &c};
    assert_int_equal(message_store_submit(bench.store, &c.req), CONFAB_OK); /* an empty batch */
    gate_wait(&c.gate, 1);
    assert_int_equal(c.left, 0);
    store_request_deinit(&c.req);
    struct store_request req = range(1, NONE, NONE, false);
    req.limit = 10000;
    expect_range(req, 4999, 1, 1, false);
}

static void test_store__rows_survive_a_reopen(void **state)
{
    (void)state;
    uint8_t sort[8];
    put_chunks(1, 1, 100, "flushed");
    assert_int_equal(bench_flush(bench.store), CONFAB_OK);
    put_chunks(1, 101, 100, "closed");
    del_range(1, NONE, be64(51, sort));
    bench_reopen(&bench);
    expect_range(range(1, NONE, NONE, false), 150, 51, 1, false);
    assert_true(has(STORE_CHUNK, conv(1), be64(200, sort), "closed"));
}

static int open_one(void **state)
{
    bench_open(&bench, *state);
    return 0;
}

static int close_one(void **state)
{
    (void)state;
    bench_close(&bench);
    return 0;
}

#define CASE(f)                                                                                    \
    {                                                                                              \
#f, f, open_one, close_one, NULL                                                           \
    }
static const struct CMUnitTest CASES[] = {
    CASE(test_store__get_finds_what_was_put),
    CASE(test_store__every_table_takes_its_keys),
    CASE(test_store__get_of_many_keeps_the_order),
    CASE(test_store__an_empty_value_is_a_row),
    CASE(test_store__del_removes_one_row),
    CASE(test_store__range_has_inclusive_bounds),
    CASE(test_store__range_may_be_empty),
    CASE(test_store__range_reaches_the_last_possible_keys),
    CASE(test_store__range_stops_at_its_limits),
    CASE(test_store__range_over_the_keys_of_a_table),
    CASE(test_store__del_range_excludes_its_end),
    CASE(test_store__a_batch_applies_in_its_order),
    CASE(test_store__a_bad_batch_changes_nothing),
    CASE(test_store__a_bad_request_is_refused),
    CASE(test_store__values_up_to_the_limit),
    CASE(test_store__flushed_rows_read_the_same),
    CASE(test_store__stats_count),
    CASE(test_store__batches_of_threads_are_atomic),
    CASE(test_store__done_may_submit_further_requests),
    CASE(test_store__rows_survive_a_reopen),
};

int main(void)
{
    int failed = 0;
    for (unsigned k = 0; k < BENCH_NKINDS; k++) {
        struct CMUnitTest tests[ARRAY_LEN(CASES)];
        size_t n = ARRAY_LEN(CASES);
        for (unsigned i = 0; i < n; i++) {
            tests[i] = CASES[i];
            tests[i].initial_state = (void *)&BENCH_KINDS[k];
        }
        n -= !BENCH_KINDS[k].persistent; /* the last case reopens */
        failed += _cmocka_run_group_tests(BENCH_KINDS[k].name, tests, n, NULL, NULL);
    }
    return failed;
}
