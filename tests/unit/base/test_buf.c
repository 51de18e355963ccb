/* Buffers and bounds-checked reading. */
#include "base/buf.h"

#include "unit.h"

static void test_buf__round_trip(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_put_u8(&b, 0xab);
    buf_put_u16(&b, 0x1234);
    buf_put_u32(&b, 0x89abcdef);
    buf_put_u64(&b, 0x0123456789abcdefU);
    buf_put_blob(&b, "blob", 4);
    buf_put_blob(&b, NULL, 0);
    buf_put_str(&b, "str");
    assert_true(buf_ok(&b));
    static const uint8_t expected[] = {0xab, 0x34, 0x12, 0xef, 0xcd, 0xab, 0x89, 0xef,
                                       0xcd, 0xab, 0x89, 0x67, 0x45, 0x23, 0x01, 4,
                                       'b',  'l',  'o',  'b',  0,    's',  't',  'r'};
    assert_int_equal(b.len, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));

    struct reader r = reader_of(b.data, b.len);
    assert_int_equal(reader_u8(&r), 0xab);
    assert_int_equal(reader_u16(&r), 0x1234);
    assert_int_equal(reader_u32(&r), 0x89abcdef);
    assert_int_equal(reader_u64(&r), 0x0123456789abcdefU);
    assert_true(span_is(reader_blob(&r), "blob"));
    assert_true(span_is(reader_blob(&r), ""));
    assert_true(span_is(reader_bytes(&r, 3), "str"));
    assert_int_equal(reader_left(&r), 0);
    assert_false(r.bad);
    buf_deinit(&b);
    assert_null(b.data);
}

static void test_buf__varints(void **state)
{
    (void)state;
    struct random_seeded rnd;
    random_seeded_init(&rnd, unit_seed(1));
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 5000; i++) {
        uint64_t v = random_u64(&rnd.base) >> random_below(&rnd.base, 64);
        v = i == 0 ? 0 : i == 1 ? UINT64_MAX : v;
        buf_clear(&b);
        buf_put_varint(&b, v);
        assert_true(b.len <= 10);
        struct reader r = reader_of(b.data, b.len);
        assert_int_equal(reader_varint(&r), v);
        assert_false(r.bad);
        assert_int_equal(reader_left(&r), 0);
        /* Each shorter form is refused. */
        r = reader_of(b.data, b.len - 1);
        assert_int_equal(reader_varint(&r), 0);
        assert_true(r.bad);
    }
    static const uint8_t too_big[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    struct reader r = reader_of(too_big, sizeof(too_big));
    assert_int_equal(reader_varint(&r), 0);
    assert_true(r.bad);
    static const uint8_t endless[] = {0x80, 0x80, 0x80, 0x80, 0x80, 0x80,
                                      0x80, 0x80, 0x80, 0x80, 0x80, 0x00};
    r = reader_of(endless, sizeof(endless));
    assert_int_equal(reader_varint(&r), 0);
    assert_true(r.bad);
    r = reader_of("\x7f", 1);
    assert_int_equal(reader_varint_max(&r, 0x7f), 0x7f);
    r = reader_of("\x7f", 1);
    assert_int_equal(reader_varint_max(&r, 0x7e), 0);
    assert_true(r.bad);
    buf_deinit(&b);
}

static void test_buf__reading_past_the_end(void **state)
{
    (void)state;
    static const uint8_t seven[7] = {1, 2, 3, 4, 5, 6, 7};
    struct reader r = reader_of(seven, 7);
    assert_int_equal(reader_u64(&r), 0); /* not what there was of it */
    assert_true(r.bad);
    assert_int_equal(reader_u8(&r), 0); /* stays bad, though bytes are left */
    r = reader_of(seven, 7);
    assert_null(reader_bytes(&r, 8).p);
    assert_true(r.bad);
    r = reader_of("\x05"
                  "four",
                  5);
    assert_null(reader_blob(&r).p);
    assert_true(r.bad);
    /* A length near the top of the range must not wrap around. */
    static const uint8_t huge[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 'x'};
    r = reader_of(huge, sizeof(huge));
    assert_null(reader_blob(&r).p);
    assert_true(r.bad);
    r = reader_of(NULL, 0);
    assert_int_equal(reader_u8(&r), 0);
    assert_true(r.bad);
}

static void test_buf__failure_keeps_earlier_bytes(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    buf_put_str(&b, "kept");
    assert_false(buf_reserve(&b, SIZE_MAX - 2));
    assert_false(buf_ok(&b));
    assert_int_equal(b.len, 4);
    assert_memory_equal(b.data, "kept", 4);
    buf_clear(&b);
    assert_true(buf_ok(&b));
    buf_deinit(&b);
}

static void test_buf__consume_detach_printf(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b);
    for (int i = 0; i < 100; i++) {
        buf_printf(&b, "%02d,", i);
    }
    assert_int_equal(b.len, 300);
    buf_consume(&b, 297);
    assert_int_equal(b.len, 3);
    assert_memory_equal(b.data, "99,", 3);
    buf_consume(&b, 3);
    assert_int_equal(b.len, 0);
    buf_put_str(&b, "mine");
    size_t n = 0;
    uint8_t *p = buf_detach(&b, &n);
    assert_int_equal(n, 4);
    assert_memory_equal(p, "mine", 4);
    assert_null(b.data);
    free(p);
    buf_deinit(&b);
}

static void test_buf__lent_bytes_until_they_are_too_few(void **state)
{
    (void)state;
    uint8_t room[8] = {0};
    struct buf b;
    buf_lend(&b, room, sizeof(room));
    buf_put_str(&b, "eight by");
    assert_ptr_equal(b.data, room);
    buf_put_str(&b, "tes");
    assert_ptr_not_equal(b.data, room);
    assert_true(buf_ok(&b));
    assert_int_equal(b.len, 11);
    assert_memory_equal(b.data, "eight bytes", 11);
    assert_memory_equal(room, "eight by", 8);
    buf_deinit(&b);
    buf_lend(&b, room, sizeof(room));
    buf_deinit(&b); /* frees nothing */
    assert_null(b.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf__round_trip),
        cmocka_unit_test(test_buf__varints),
        cmocka_unit_test(test_buf__reading_past_the_end),
        cmocka_unit_test(test_buf__failure_keeps_earlier_bytes),
        cmocka_unit_test(test_buf__consume_detach_printf),
        cmocka_unit_test(test_buf__lent_bytes_until_they_are_too_few),
    };
    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
