/*
 * WebSocket frames. First byte: bit 0 the role, bits 1 to 3 the step by which the rest is fed, bit
 * 4 whether permessage-deflate was agreed on; the same frames have to come out as when it is fed at
 * once, and no read may leave the input.
 *
 *     cmake -G Ninja -B build-fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug \
 *         -DCONFAB_SANITIZE=address,undefined,fuzzer-no-link -DCONFAB_LIBFUZZER=ON
 *     ninja -C build-fuzz fuzz_ws
 *     mkdir -p found && build-fuzz/fuzz_ws -max_total_time=60 found tests/fuzz/corpus/ws
 *
 * Without CMake: clang with -std=c17 -D_GNU_SOURCE -msse4.2 -g -O1 -Isrc -DCONFAB_DEBUG=1
 * -fsanitize=fuzzer,address,undefined, this file, the .c files of src/proto and src/base, and
 * -lcrypto -lsodium -lxxhash -lz -lpthread.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/utf8.h"
#include "proto/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MESSAGE_MAX = 70000 };

struct peer {
    struct ws_decoder d;
    struct buf kept;
    struct buf seen; /* of each frame: what it was, and its payload */
    uint32_t message;
    bool over;
};

static void check_frame(struct peer *p, const struct ws_frame *f)
{
    bool data = f->opcode < WS_CLOSE;
    CHECK(f->opcode == WS_TEXT || f->opcode == WS_BINARY || f->len <= WS_CONTROL_MAX);
    CHECK(data || (f->first && f->fin));
    if (data) {
        p->message = f->first ? (uint32_t)f->len : p->message + (uint32_t)f->len;
        CHECK(p->message <= MESSAGE_MAX);
        if (f->opcode == WS_TEXT && f->first && f->fin && !f->deflated) {
            CHECK(utf8_valid(f->payload, f->len));
        }
    }
    if (f->opcode == WS_CLOSE) {
        CHECK(f->close_code == WS_CLOSE_NONE || ws_close_code_valid(f->close_code));
        CHECK(utf8_valid(f->reason.p, f->reason.n));
    }
}

static void feed(struct peer *p, const uint8_t *in, size_t n)
{
    buf_put(&p->kept, in, n);
    while (!p->over) {
        struct ws_frame f;
        uint8_t *exact = malloc(p->kept.len + 1);
        CHECK(exact);
        if (p->kept.len > 0) {
            memcpy(exact, p->kept.data, p->kept.len);
        }
        enum ws_result r = ws_decode(&p->d, exact, p->kept.len, &f);
        if (r == WS_FRAME) {
            CHECK(f.consumed <= p->kept.len && f.payload + f.len == exact + f.consumed);
            check_frame(p, &f);
            buf_put_u32(&p->seen, (uint32_t)f.opcode << 8 | (uint32_t)f.deflated << 2 |
                                      (uint32_t)f.first << 1 | f.fin);
            buf_put_u16(&p->seen, f.close_code);
            buf_put_blob(&p->seen, f.payload, f.len);
        } else if (r == WS_MORE) {
            CHECK(f.wanted > p->kept.len && f.wanted <= MESSAGE_MAX + WS_HEADER_MAX);
        } else {
            p->over = true;
            buf_put_u16(&p->seen, r == WS_ERROR ? f.close_code : 0);
        }
        free(exact);
        if (r != WS_FRAME) {
            return;
        }
        buf_consume(&p->kept, f.consumed);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 20000) {
        return 0;
    }
    enum ws_role role = data[0] & 1 ? WS_CLIENT : WS_SERVER;
    size_t step = 1 + (data[0] >> 1 & 7);
    struct peer whole = {.over = false};
    struct peer parts = {.over = false};
    ws_decoder_init(&whole.d, role, MESSAGE_MAX);
    ws_decoder_init(&parts.d, role, MESSAGE_MAX);
    if (data[0] & 16) {
        ws_decoder_deflate(&whole.d);
        ws_decoder_deflate(&parts.d);
    }
    feed(&whole, data + 1, size - 1);
    /* Large inputs by bytes would cost a copy of all of it each time. */
    step = size > 500 ? step * 101 : step;
    for (size_t at = 1; at < size; at += step) {
        feed(&parts, data + at, MIN(step, size - at));
    }
    CHECK(span_eq(span_of(whole.seen.data, whole.seen.len),
                  span_of(parts.seen.data, parts.seen.len)));
    buf_deinit(&whole.kept);
    buf_deinit(&whole.seen);
    buf_deinit(&parts.kept);
    buf_deinit(&parts.seen);
    return 0;
}
