/*
 * The bytes of a segment against docs/formats/log.md: the expected ones were made by another
 * implementation of that page, so a change here is a change of the format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "adapters/local_log/log_format.h"
#include "base/crc32c.h"

enum { RECORD_BYTES = 13 };
static const uint64_t ID = 0x1122334455667788;

static const uint8_t GOLD_SEGMENT[64] = {
    0x43, 0x4f, 0x4e, 0x46, 0x4c, 0x4f, 0x47, 0x0a, 0x01, 0x00, 0x40, 0x00, 0x00, 0x10, 0x00, 0x00,
    0x07, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x68, 0xe5, 0xcf, 0x8b, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x63, 0x64, 0xf8, 0x1a,
};
static const uint8_t GOLD_BATCH[64] = {
    0x43, 0x4c, 0x42, 0x31, 0x01, 0x00, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xe8, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x0d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0d, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x0b, 0x75, 0x6a, 0xaa, 0x00, 0x00, 0x00, 0x00, 0x50, 0x2e, 0x9c, 0xfb,
};
static const uint8_t GOLD_MARK[64] = {
    0x43, 0x4c, 0x42, 0x31, 0x01, 0x01, 0x00, 0x00, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    0xf5, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf5, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x16, 0x51, 0x59, 0xaf, 0x00, 0x00, 0x00, 0x00, 0x0d, 0xa7, 0xc6, 0x9e,
};

static void test_log_format__segment_header(void **state)
{
    (void)state;
    struct segment_header h = {
        .number = 7, .id = ID, .base_lsn = 1000, .size = 65536, .created_ms = 1700000000000};
    uint8_t out[LOG_SEGMENT_HEADER];
    segment_header_encode(&h, out);
    assert_memory_equal(out, GOLD_SEGMENT, sizeof(out));
    struct segment_header back;
    assert_int_equal(segment_header_decode(out, &back), CONFAB_OK);
    assert_memory_equal(&back, &h, sizeof(h));
}

static void test_log_format__batch_header(void **state)
{
    (void)state;
    struct log_submission sub = {0};
    uint32_t offset = 0;
    assert_int_equal(log_submission_add(&sub, 513, 9, 2, span_str("hello"), &offset), CONFAB_OK);
    assert_int_equal(sub.bytes.len, RECORD_BYTES);
    struct batch_header h = {
        .segment_id = ID,
        .base_lsn = 1000,
        .durable_lsn = 1000,
        .lsn_bytes = RECORD_BYTES,
        .payload_bytes = RECORD_BYTES,
        .records = 1,
        .payload_crc = crc32c(log_segment_seed(ID), sub.bytes.data, sub.bytes.len),
    };
    uint8_t out[LOG_BATCH_HEADER];
    batch_header_encode(&h, out);
    assert_memory_equal(out, GOLD_BATCH, sizeof(out));
    struct batch_header back;
    assert_int_equal(batch_header_decode(out, ID, &back), CONFAB_OK);
    uint8_t again[LOG_BATCH_HEADER];
    batch_header_encode(&back, again);
    assert_memory_equal(again, out, sizeof(out));
    struct batch_header mark = {
        .flags = BATCH_MARK,
        .segment_id = ID,
        .base_lsn = 1013,
        .durable_lsn = 1013,
        .payload_crc = log_segment_seed(ID),
    };
    batch_header_encode(&mark, out);
    assert_memory_equal(out, GOLD_MARK, sizeof(out));
    buf_deinit(&sub.bytes);
}

static void test_log_format__bad_headers(void **state)
{
    (void)state;
    struct segment_header seg;
    struct batch_header batch;
    for (size_t i = 0; i < LOG_SEGMENT_HEADER * 8; i++) {
        uint8_t in[LOG_SEGMENT_HEADER];
        memcpy(in, GOLD_SEGMENT, sizeof(in));
        in[i / 8] ^= (uint8_t)(1U << (i % 8));
        assert_int_equal(segment_header_decode(in, &seg), CONFAB_CORRUPT);
        memcpy(in, GOLD_BATCH, sizeof(in));
        in[i / 8] ^= (uint8_t)(1U << (i % 8));
        assert_int_equal(batch_header_decode(in, ID, &batch), CONFAB_CORRUPT);
    }
    assert_int_equal(batch_header_decode(GOLD_BATCH, ID + 1, &batch), CONFAB_CORRUPT);
}

/* Intact, but of another version or nonsense. */
static enum confab_err decode_with(size_t at, uint8_t value)
{
    uint8_t in[LOG_BATCH_HEADER];
    struct batch_header batch;
    memcpy(in, GOLD_BATCH, sizeof(in));
    in[at] = value;
    uint32_t crc = crc32c(log_segment_seed(ID), in, 60);
    for (int i = 0; i < 4; i++) {
        in[60 + i] = (uint8_t)(crc >> (8 * i));
    }
    return batch_header_decode(in, ID, &batch);
}

static void test_log_format__unknown_versions(void **state)
{
    (void)state;
    assert_int_equal(decode_with(4, 1), CONFAB_OK);
    assert_int_equal(decode_with(4, 2), CONFAB_VERSION);
    assert_int_equal(decode_with(5, 4), CONFAB_VERSION);    /* flag */
    assert_int_equal(decode_with(6, 1), CONFAB_VERSION);    /* codec */
    assert_int_equal(decode_with(7, 1), CONFAB_VERSION);    /* cipher */
    assert_int_equal(decode_with(5, 1), CONFAB_CORRUPT);    /* a mark with a payload */
    assert_int_equal(decode_with(23, 255), CONFAB_CORRUPT); /* base LSN without bound */
    assert_int_equal(decode_with(43, 255), CONFAB_CORRUPT); /* payload without bound */
    assert_int_equal(decode_with(44, 0), CONFAB_CORRUPT);   /* no record */
}

static void test_log_format__names(void **state)
{
    (void)state;
    char name[LOG_NAME_MAX];
    uint64_t number = 99;
    log_name_format(LOG_NAME_SEGMENT, 0xabc, name);
    assert_string_equal(name, "seg-0000000000000abc.log");
    assert_int_equal(log_name_parse(name, &number), LOG_NAME_SEGMENT);
    assert_int_equal(number, 0xabc);
    log_name_format(LOG_NAME_SPARE, UINT64_MAX, name);
    assert_string_equal(name, "spare-ffffffffffffffff.log");
    assert_int_equal(log_name_parse("damaged-0000000000000001.log", &number), LOG_NAME_DAMAGED);
    static const char *const others[] = {
        "",
        "seg-",
        "seg-0000000000000abc.lo",
        "seg-0000000000000abc.log2",
        "seg-0000000000000ABC.log",
        "seg-00000000000000abc.log",
        "seg-0000000000000abx.log",
        "CHECKPOINT",
    };
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        assert_int_equal(log_name_parse(others[i], &number), LOG_NAME_OTHER);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_format__segment_header),
        cmocka_unit_test(test_log_format__batch_header),
        cmocka_unit_test(test_log_format__bad_headers),
        cmocka_unit_test(test_log_format__unknown_versions),
        cmocka_unit_test(test_log_format__names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
