/* Identifiers: their texts, their order and the values that stored data depends on. */
#include "base/id.h"

#include <stdio.h>

#include "unit.h"

static void test_id__direct_is_symmetric(void **state)
{
    (void)state;
    struct conv_id ab = conv_id_direct(7, 9);
    assert_true(conv_id_eq(ab, conv_id_direct(9, 7)));
    assert_false(conv_id_eq(ab, conv_id_direct(7, 10)));
    assert_false(conv_id_eq(conv_id_direct(7, 7), conv_id_self(7)));
    assert_false(conv_id_is_zero(ab));
}

/* Stored data is found by these values: a change here is a change of format. */
static void test_id__derived_values_never_change(void **state)
{
    (void)state;
    char text[ID_CONV_TEXT];
    conv_id_text(conv_id_direct(1, 2), text);
    assert_memory_equal(text, "e1e3a44c29b458a0a6c958280dd42bd7", ID_CONV_TEXT);
    conv_id_text(conv_id_self(1), text);
    assert_memory_equal(text, "1448bf997bd45e81f1ca0410ac3d501d", ID_CONV_TEXT);
    assert_int_equal(conv_id_partition(conv_id_direct(1, 2)), 305);
}

static void test_id__partitions_are_even(void **state)
{
    (void)state;
    unsigned count[ID_PARTITIONS] = {0};
    for (uint64_t user = 1; user <= 100 * ID_PARTITIONS; user++) {
        uint16_t p = conv_id_partition(conv_id_self(user));
        assert_true(p < ID_PARTITIONS);
        count[p]++;
    }
    for (unsigned i = 0; i < ID_PARTITIONS; i++) {
        assert_true(count[i] > 50 && count[i] < 150);
    }
}

static void test_id__conv_text(void **state)
{
    (void)state;
    struct random_seeded rnd;
    random_seeded_init(&rnd, unit_seed(3));
    struct conv_id before = {0, 0};
    for (int i = 0; i < 1000; i++) {
        struct conv_id id = {random_u64(&rnd.base), random_u64(&rnd.base)};
        char text[ID_CONV_TEXT];
        uint8_t raw[16];
        uint8_t raw_before[16];
        conv_id_text(id, text);
        struct conv_id back = {0, 0};
        assert_true(conv_id_parse(span_of(text, sizeof(text)), &back));
        assert_true(conv_id_eq(id, back));
        conv_id_write(id, raw);
        assert_true(conv_id_eq(id, conv_id_read(raw)));
        conv_id_write(before, raw_before);
        assert_int_equal(memcmp(raw, raw_before, 16) < 0, conv_id_cmp(id, before) < 0);
        before = id;
    }
    static const char *const bad[] = {
        "",
        "0123456789abcdef0123456789abcde",
        "0123456789abcdef0123456789abcdef0",
        "0123456789ABCDEF0123456789abcdef",
        "0123456789abcdeg0123456789abcdef",
        "00000000000000000000000000000000",
        " 123456789abcdef0123456789abcdef",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct conv_id id = {1, 2};
        assert_false(conv_id_parse(span_str(bad[i]), &id));
        assert_true(id.hi == 1 && id.lo == 2);
    }
}

static void test_id__numbers(void **state)
{
    (void)state;
    static const uint64_t good[] = {1, 9, 10, 1234567890, INT64_MAX};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        char text[ID_NUM_TEXT];
        uint64_t back = 0;
        size_t n = id_text(good[i], text);
        assert_true(id_parse(span_of(text, n), &back));
        assert_int_equal(back, good[i]);
    }
    char text[ID_NUM_TEXT];
    assert_int_equal(id_text(UINT64_MAX, text), 20);
    assert_memory_equal(text, "18446744073709551615", 20);
    assert_int_equal(id_text(0, text), 1);
    static const char *const bad[] = {"",
                                      "0",
                                      "01",
                                      "-1",
                                      "+1",
                                      "1 ",
                                      " 1",
                                      "1.0",
                                      "a",
                                      "9223372036854775808",
                                      "9999999999999999999",
                                      "18446744073709551617"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t v = 5;
        assert_false(id_parse(span_str(bad[i]), &v));
        assert_int_equal(v, 5);
    }
}

/* Beside the C library, around every change of the number of digits and of bits, and anywhere. */
static void test_id__numbers_of_all_lengths(void **state)
{
    (void)state;
    uint64_t ten = 1;
    for (unsigned i = 0; i < 64; i++) {
        const uint64_t values[] = {(1ULL << i) - 1, 1ULL << i, (1ULL << i) + 1,
                                   ten - 1,         ten,       ten + 1};
        for (size_t k = 0; k < ARRAY_LEN(values); k++) {
            char expected[32];
            char text[ID_NUM_TEXT];
            int n = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[k]);
            assert_int_equal(id_text(values[k], text), n);
            assert_memory_equal(text, expected, (size_t)n);
        }
        ten = i < 19 ? ten * 10 : ten;
    }
    uint64_t v = 1;
    for (unsigned i = 0; i < 200000; i++) {
        char expected[32];
        char text[ID_NUM_TEXT];
        v = v * 6364136223846793005U + 1442695040888963407U;
        uint64_t value = v >> i % 64;
        int n = snprintf(expected, sizeof(expected), "%llu", (unsigned long long)value);
        assert_int_equal(id_text(value, text), n);
        assert_memory_equal(text, expected, (size_t)n);
    }
}

/* Each byte at each place. */
static void test_id__only_hex_digits_make_a_conv(void **state)
{
    (void)state;
    char text[ID_CONV_TEXT];
    const struct conv_id id = {0x0123456789abcdefU, 0xfedcba9876543210U};
    conv_id_text(id, text);
    for (size_t i = 0; i < sizeof(text); i++) {
        char old = text[i];
        for (unsigned c = 0; c < 256; c++) {
            struct conv_id got = {0, 0};
            text[i] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            assert_int_equal(conv_id_parse(span_of(text, sizeof(text)), &got), digit);
            if (digit) {
                char again[ID_CONV_TEXT];
                conv_id_text(got, again);
                assert_memory_equal(again, text, sizeof(text));
            }
        }
        text[i] = old;
    }
}

static void test_id__message_id_orders_by_time(void **state)
{
    (void)state;
    uint64_t t = ID_EPOCH_MS + 123456789;
    uint64_t id = message_id_make(t, 1023, 4095);
    assert_int_equal(message_id_time_ms(id), t);
    assert_int_equal(message_id_partition(id), 1023);
    assert_true(message_id_make(t + 1, 0, 0) > id);
    assert_true(message_id_make(t, 5, 7) < message_id_make(t, 5, 8));
    assert_true(message_id_make(ID_EPOCH_MS + (1ULL << 41) - 1, 1023, 4095) == INT64_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_id__direct_is_symmetric),
        cmocka_unit_test(test_id__derived_values_never_change),
        cmocka_unit_test(test_id__partitions_are_even),
        cmocka_unit_test(test_id__conv_text),
        cmocka_unit_test(test_id__numbers),
        cmocka_unit_test(test_id__numbers_of_all_lengths),
        cmocka_unit_test(test_id__only_hex_digits_make_a_conv),
        cmocka_unit_test(test_id__message_id_orders_by_time),
    };
    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
