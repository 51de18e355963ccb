/* Deflate of messages, against the examples of RFC 7692 and zlib's own reader; what is refused. */
#include "proto/deflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "proto_test.h"

#define LIMIT 65536U

static struct inflater *in;

static struct span text_of(size_t n, uint64_t seed, unsigned kinds)
{
    static uint8_t all[200000];
    struct random_seeded r;
    random_seeded_init(&r, seed);
    for (size_t i = 0; i < n; i++) {
        all[i] = (uint8_t)('a' + random_below(&r.base, kinds));
    }
    return span_of(all, n);
}

static void test_examples_of_the_rfc(void **state)
{
    (void)state;
    static const struct span all[] = {
        BYTES("\xf2\x48\xcd\xc9\xc9\x07\x00"),                         /* 7.2.3.1 */
        BYTES("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"),         /* 7.2.3.3 */
        BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"),                     /* 7.2.3.4 */
        BYTES("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), /* 7.2.3.5 */
    };
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(inflate_message(in, all[i], LIMIT, &out), CONFAB_OK);
        assert_string_equal(proto_text(&out), "Hello");
    }
    assert_int_equal(inflate_message(in, span_of("\x00", 1), LIMIT, &out), CONFAB_OK); /* 7.2.3.6 */
    assert_int_equal(out.len, 0);
    buf_deinit(&out);
}

/* A sender may end its stream within a message, and repeat what was before that. */
static void test_two_streams(void **state)
{
    (void)state;
    static const char text[] = "Hello, hello, hello, and again: Hello, hello, hello";
    uint8_t block[400];
    struct buf out = {0};
    z_stream z = {.next_in = (Bytef *)(uintptr_t)text,
                  .avail_in = 30,
                  .next_out = block,
                  .avail_out = sizeof(block)};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(deflateReset(&z), Z_OK);
    assert_int_equal(deflateSetDictionary(&z, (const Bytef *)text, 30), Z_OK);
    z.next_in = (Bytef *)(uintptr_t)text + 30;
    z.avail_in = sizeof(text) - 1 - 30;
    assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
    size_t n = sizeof(block) - z.avail_out - 4;
    (void)deflateEnd(&z);
    assert_int_equal(inflate_message(in, span_of(block, n), LIMIT, &out), CONFAB_OK);
    assert_string_equal(proto_text(&out), text);
    buf_deinit(&out);
}

/* Each message stands for itself: the same again gives the same bytes, in any order. */
static void test_round_trip(void **state)
{
    (void)state;
    for (enum deflate_size size = 0; size < DEFLATE_SIZES; size++) {
        struct deflater *d;
        struct buf first = {0};
        struct buf again = {0};
        struct buf back = {0};
        assert_int_equal(deflater_new(size, &d), CONFAB_OK);
        for (size_t n = 100; n < LIMIT; n = n * 3 / 2) {
            struct span text = text_of(n, n, 4);
            buf_clear(&first);
            buf_clear(&again);
            assert_int_equal(deflate_message(d, text, &first), CONFAB_OK);
            assert_true(first.len < n);
            assert_int_equal(deflate_message(d, text_of(n / 2, 7, 3), &again), CONFAB_OK);
            buf_clear(&again);
            assert_int_equal(deflate_message(d, text_of(n, n, 4), &again), CONFAB_OK);
            assert_int_equal(first.len, again.len);
            assert_memory_equal(first.data, again.data, again.len);
            assert_int_equal(inflate_message(in, span_of(first.data, first.len), n, &back),
                             CONFAB_OK);
            assert_int_equal(back.len, n);
            assert_memory_equal(back.data, text.p, n);
        }
        deflater_free(d);
        buf_deinit(&first);
        buf_deinit(&again);
        buf_deinit(&back);
    }
}

static void test_keeps_to_its_window(void **state)
{
    (void)state;
    static const int bits[DEFLATE_SIZES] = {9, 12, 15};
    static uint8_t back[LIMIT];
    for (enum deflate_size size = 0; size < DEFLATE_SIZES; size++) {
        struct deflater *d;
        struct buf out = {0};
        assert_int_equal(deflater_new(size, &d), CONFAB_OK);
        struct span text = text_of(60000, 5, 3);
        assert_int_equal(deflate_message(d, text, &out), CONFAB_OK);
        buf_put(&out, "\x00\x00\xff\xff", 4);
        z_stream z = {.next_in = out.data,
                      .avail_in = (uInt)out.len,
                      .next_out = back,
                      .avail_out = sizeof(back)};
        /* In small steps, so that its window is what it looks back into. */
        assert_int_equal(inflateInit2(&z, -bits[size]), Z_OK);
        while (z.total_out < text.n) {
            z.avail_out = 100;
            assert_int_equal(inflate(&z, Z_SYNC_FLUSH), Z_OK);
        }
        assert_memory_equal(back, text.p, text.n);
        (void)inflateEnd(&z);
        deflater_free(d);
        buf_deinit(&out);
    }
}

static void test_no_larger(void **state)
{
    (void)state;
    struct deflater *d;
    struct buf out = {0};
    uint8_t noise[3000];
    struct random_seeded r;
    random_seeded_init(&r, 3);
    random_fill(&r.base, noise, sizeof(noise));
    assert_int_equal(deflater_new(DEFLATE_MIDDLE, &d), CONFAB_OK);
    buf_put_str(&out, "kept");
    assert_int_equal(deflate_message(d, span_of(noise, sizeof(noise)), &out), CONFAB_TOO_LARGE);
    assert_int_equal(deflate_gzip(d, span_of(noise, sizeof(noise)), &out), CONFAB_TOO_LARGE);
    assert_int_equal(deflate_gzip(d, span_of(noise, 5), &out), CONFAB_TOO_LARGE);
    assert_string_equal(proto_text(&out), "kept");
    deflater_free(d);
    buf_deinit(&out);
}

/* A megabyte of zeros in a kilobyte: refused at the bound, and no more was written. */
static void test_bomb(void **state)
{
    (void)state;
    struct deflater *d;
    struct buf bomb = {0};
    struct buf out = {0};
    uint8_t *zeros = calloc(1, 1 << 20);
    assert_non_null(zeros);
    assert_int_equal(deflater_new(DEFLATE_WIDE, &d), CONFAB_OK);
    assert_int_equal(deflate_message(d, span_of(zeros, 1 << 20), &bomb), CONFAB_OK);
    assert_true(bomb.len < 2000);
    struct span b = span_of(bomb.data, bomb.len);
    assert_int_equal(inflate_message(in, b, 1000, &out), CONFAB_TOO_LARGE);
    assert_true(out.cap <= 2048);
    assert_int_equal(inflate_message(in, b, LIMIT, &out), CONFAB_TOO_LARGE);
    assert_true(out.cap <= 2 * LIMIT);
    assert_int_equal(inflate_message(in, b, (1 << 20) - 1, &out), CONFAB_TOO_LARGE);
    assert_int_equal(inflate_message(in, b, 1 << 20, &out), CONFAB_OK);
    /* It is as good as before. */
    assert_int_equal(inflate_message(in, span_of("\xf2\x48\xcd\xc9\xc9\x07\x00", 7), 5, &out),
                     CONFAB_OK);
    deflater_free(d);
    free(zeros);
    buf_deinit(&bomb);
    buf_deinit(&out);
}

static void test_damaged(void **state)
{
    (void)state;
    static const struct span all[] = {
        BYTES(""),
        BYTES("\xff\xff\xff"),
        BYTES("\xf2\x48\xcd\xc9"),                     /* ends within a block */
        BYTES("\x00\x05\x00\xfa\xfe\x48\x65\x6c\x6c"), /* length and its opposite differ */
        BYTES("\x02\x13\x00\x00\x00"),                 /* repeats what never was */
        BYTES("\xf3\x48\xcd\xc9\xc9\x07\x00"),         /* a last block, and nothing behind it */
        BYTES("\x1f\x8b\x08\x00"),
    };
    struct buf out = {0};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        assert_int_equal(inflate_message(in, all[i], LIMIT, &out), CONFAB_INVALID);
    }
    buf_deinit(&out);
}

static void test_gzip(void **state)
{
    (void)state;
    struct deflater *d;
    struct buf out = {0};
    static uint8_t back[LIMIT];
    struct span text = text_of(50000, 11, 5);
    assert_int_equal(deflater_new(DEFLATE_WIDE, &d), CONFAB_OK);
    assert_int_equal(deflate_gzip(d, text, &out), CONFAB_OK);
    z_stream z = {.next_in = out.data,
                  .avail_in = (uInt)out.len,
                  .next_out = back,
                  .avail_out = sizeof(back)};
    assert_int_equal(inflateInit2(&z, 15 + 16), Z_OK); /* checks head, sum and length */
    assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
    assert_int_equal(z.total_out, text.n);
    assert_int_equal(z.avail_in, 0);
    assert_memory_equal(back, text.p, text.n);
    (void)inflateEnd(&z);
    deflater_free(d);
    buf_deinit(&out);
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    if (inflater_new(&in)) {
        return 1;
    }
    proto_case(&cases, "deflate", "examples_of_the_rfc", test_examples_of_the_rfc, NULL);
    proto_case(&cases, "deflate", "two_streams", test_two_streams, NULL);
    proto_case(&cases, "deflate", "round_trip", test_round_trip, NULL);
    proto_case(&cases, "deflate", "keeps_to_its_window", test_keeps_to_its_window, NULL);
    proto_case(&cases, "deflate", "no_larger", test_no_larger, NULL);
    proto_case(&cases, "deflate", "bomb", test_bomb, NULL);
    proto_case(&cases, "deflate", "damaged", test_damaged, NULL);
    proto_case(&cases, "deflate", "gzip", test_gzip, NULL);
    int failed = proto_run("deflate", &cases);
    inflater_free(in);
    return failed;
}
