/*
 * Compressed messages. First byte: how much may come out. Whatever comes in, no more than that
 * comes out, nothing is read behind the input, and the state is as good as a new one afterwards:
 * a message of ours comes out as it went in, and the same input gives the same again.
 *
 * How to run it under libFuzzer is told in fuzz_ws.c.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "proto/deflate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct deflater *d, struct inflater *z, struct span text)
{
    struct buf packed = {0};
    struct buf back = {0};
    enum confab_err err = deflate_message(d, text, &packed);
    CHECK(!err || err == CONFAB_TOO_LARGE);
    if (!err) {
        CHECK(packed.len < text.n);
        CHECK(!inflate_message(z, span_of(packed.data, packed.len), text.n, &back));
        CHECK(span_eq(span_of(back.data, back.len), text));
        /* One byte less is too few. */
        CHECK(inflate_message(z, span_of(packed.data, packed.len), text.n - 1, &back) ==
              CONFAB_TOO_LARGE);
    }
    buf_deinit(&packed);
    buf_deinit(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct deflater *d[DEFLATE_SIZES];
    static struct inflater *z;
    if (size == 0 || size > 100000) {
        return 0;
    }
    for (int i = 0; i < DEFLATE_SIZES; i++) {
        CHECK(d[i] || !deflater_new((enum deflate_size)i, &d[i]));
    }
    CHECK(z || !inflater_new(&z));
    size_t max = (size_t)(data[0] + 1) * 300;
    struct buf first = {0};
    struct buf again = {0};
    uint8_t *exact = malloc(size);
    CHECK(exact);
    memcpy(exact, data + 1, size - 1);
    struct span in = span_of(exact, size - 1);
    enum confab_err err = inflate_message(z, in, max, &first);
    CHECK(!err || err == CONFAB_TOO_LARGE || err == CONFAB_INVALID);
    CHECK(first.len <= max + 1 && (err || first.len <= max));
    round_trip(d[data[0] % DEFLATE_SIZES], z, span_of(exact, size - 1));
    CHECK(inflate_message(z, in, max, &again) == err && again.len == first.len &&
          span_eq(span_of(first.data, first.len), span_of(again.data, again.len)));
    buf_deinit(&first);
    buf_deinit(&again);
    free(exact);
    return 0;
}
