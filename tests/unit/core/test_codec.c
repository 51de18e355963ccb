/* What is stored: events, chunks, rows. Round trips, and every damage found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/chunk.h"
#include "core/event.h"
#include "core/rows.h"

static struct event sample(uint64_t seq)
{
    return (struct event){.kind = EVENT_MESSAGE,
                          .seq = seq,
                          .ord = seq - 1,
                          .id = message_id_make(ID_EPOCH_MS + seq, 7, 3),
                          .actor = 42,
                          .flags = EVENT_EDITED,
                          .target_seq = 3,
                          .target_id = 99,
                          .content_hash = 0xffffffffffffffffULL,
                          .conv = {1, 2},
                          .cmid = span_str("key"),
                          .text = span_str("some text, some text, some text")};
}

static void test_event__round_trips(void **state)
{
    (void)state;
    struct event a = sample(200);
    struct buf b = {0};
    event_encode(&b, &a);
    struct event c;
    assert_int_equal(event_decode(span_of(b.data, b.len), &c), CONFAB_OK);
    assert_int_equal(c.seq, 200);
    assert_int_equal(c.ord, 199);
    assert_int_equal(c.id, a.id);
    assert_int_equal(c.actor, 42);
    assert_int_equal(c.flags, a.flags);
    assert_int_equal(c.target_id, 99);
    assert_true(c.content_hash == a.content_hash);
    assert_true(conv_id_eq(c.conv, a.conv));
    assert_true(span_eq(c.cmid, a.cmid));
    assert_true(span_eq(c.text, a.text));
    struct buf again = {0};
    event_encode(&again, &c);
    assert_int_equal(again.len, b.len);
    assert_memory_equal(again.data, b.data, b.len);
    for (size_t n = 0; n < b.len; n++) {
        struct event t;
        enum confab_err err = event_decode(span_of(b.data, n), &t);
        /* A cut at a field's end is an event without that field; anything else is damage. */
        assert_true(err == CONFAB_OK || err == CONFAB_CORRUPT);
        if (!err) {
            assert_int_equal(t.id, a.id);
        }
    }
    b.data[0] = EVENT_VERSION + 1;
    assert_int_equal(event_decode(span_of(b.data, b.len), &c), CONFAB_VERSION);
    buf_deinit(&b);
    buf_deinit(&again);
}

static void test_event__decode_survives_any_bytes(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, 3);
    struct event a = sample(200);
    struct buf b = {0};
    event_encode(&b, &a);
    for (int i = 0; i < 200000; i++) {
        uint8_t copy[256];
        size_t n = b.len;
        memcpy(copy, b.data, n);
        for (uint64_t k = random_below(&r.base, 4); k < 4; k++) {
            copy[random_below(&r.base, n)] = (uint8_t)random_u64(&r.base);
        }
        struct event t;
        if (!event_decode(span_of(copy, n), &t) && t.text.n > 0) {
            assert_in_range((uintptr_t)t.text.p, (uintptr_t)copy, (uintptr_t)(copy + n));
        }
    }
    buf_deinit(&b);
}

static void test_chunk__round_trips_and_finds_damage(void **state)
{
    (void)state;
    struct chunk_codec *codec;
    assert_int_equal(chunk_codec_new(&codec), CONFAB_OK);
    for (uint32_t count = 1; count <= CHUNK_EVENTS_MAX; count += 21) {
        struct buf records = {0};
        for (uint32_t i = 0; i < count; i++) {
            struct event ev = sample(i + 1);
            struct buf one = {0};
            event_encode(&one, &ev);
            buf_put_blob(&records, one.data, one.len);
            buf_deinit(&one);
        }
        struct buf value = {0};
        struct buf out = {0};
        uint32_t got = 0;
        assert_int_equal(
            chunk_encode(codec, &value, span_of(records.data, records.len), count, count % 2 == 0),
            CONFAB_OK);
        assert_int_equal(chunk_decode(NULL, &out, span_of(value.data, value.len), &got), CONFAB_OK);
        assert_int_equal(got, count);
        assert_int_equal(out.len, records.len);
        assert_memory_equal(out.data, records.data, out.len);
        if (count > 20) {
            assert_true(value.len < records.len / 2);
        }
        for (size_t at = 0; at < value.len; at++) {
            value.data[at] ^= 0x10;
            assert_int_not_equal(chunk_decode(codec, &out, span_of(value.data, value.len), &got),
                                 CONFAB_OK);
            value.data[at] ^= 0x10;
            assert_int_not_equal(chunk_decode(codec, &out, span_of(value.data, at), &got),
                                 CONFAB_OK);
        }
        buf_deinit(&records);
        buf_deinit(&value);
        buf_deinit(&out);
    }
    chunk_codec_free(codec);
}

static void test_rows__round_trip(void **state)
{
    (void)state;
    struct buf b = {0};
    struct row_partition p = {.last_ms = 5, .counter = 6, .flushed_lsn = UINT64_MAX};
    struct row_partition p2;
    row_partition_encode(&b, &p);
    assert_int_equal(row_partition_decode(span_of(b.data, b.len), &p2), CONFAB_OK);
    assert_true(p2.flushed_lsn == p.flushed_lsn && p2.counter == 6 && p2.last_ms == 5);
    assert_int_equal(row_partition_decode(span_of(b.data, b.len - 1), &p2), CONFAB_CORRUPT);
    buf_clear(&b);
    struct row_header h = {.dedup_day = 700, .nchunks = 2, .chunks = {{1, 64}, {65, 32}}};
    struct row_header h2;
    struct span rest;
    row_header_encode(&b, &h);
    buf_put_str(&b, "rest");
    assert_int_equal(row_header_decode(span_of(b.data, b.len), &h2, &rest), CONFAB_OK);
    assert_true(span_is(rest, "rest"));
    assert_int_equal(h2.chunks[1].count, 32);
    buf_clear(&b);
    struct feed_entry feed[3] = {{10, {1, 1}, 5}, {12, {2, 2}, 6}, {99, {3, 3}, 7}};
    struct feed_entry found;
    row_feed_encode(&b, feed, 3);
    assert_int_equal(row_feed_find(span_of(b.data, b.len), 12, &found), CONFAB_OK);
    assert_int_equal(found.seq, 6);
    assert_int_equal(row_feed_find(span_of(b.data, b.len), 11, &found), CONFAB_NOT_FOUND);
    assert_int_equal(row_feed_find(span_of(b.data, b.len), 100, &found), CONFAB_NOT_FOUND);
    b.data[0] = 9;
    assert_int_equal(row_feed_find(span_of(b.data, b.len), 12, &found), CONFAB_VERSION);
    buf_deinit(&b);
}

static void test_rows__keys_sort_as_numbers(void **state)
{
    (void)state;
    struct row_key a;
    struct row_key b;
    row_key_conv_seq(&a, STORE_CHUNK, (struct conv_id){1, 2}, 255);
    row_key_conv_seq(&b, STORE_CHUNK, (struct conv_id){1, 2}, 256);
    assert_true(memcmp(a.k.sort.p, b.k.sort.p, 8) < 0);
    assert_int_equal(row_sort_u64(b.k.sort), 256);
    row_key_dedup(&a, (struct conv_id){1, 2}, 255, UINT64_MAX);
    row_key_dedup(&b, (struct conv_id){1, 2}, 256, 0);
    assert_true(memcmp(a.k.sort.p, b.k.sort.p, a.k.sort.n) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_event__round_trips),
        cmocka_unit_test(test_event__decode_survives_any_bytes),
        cmocka_unit_test(test_chunk__round_trips_and_finds_damage),
        cmocka_unit_test(test_rows__round_trip),
        cmocka_unit_test(test_rows__keys_sort_as_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
