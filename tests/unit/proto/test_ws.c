/*
 * WebSocket frames: each row of the table is fed whole, byte by byte, and cut at every place, to
 * both roles, and has to give the same frames each time.
 */
#include "proto/ws.h"

#include "base/check.h"
#include "proto_test.h"

enum { FRAMES = 6, SMALL = 40, MESSAGE_MAX = 1000 };

struct row {
    const char *name;
    const char *want;           /* see show() */
    struct span frames[FRAMES]; /* as a server sends them: not masked */
};

/*
 * Notation of results: letter of the opcode, ^ first, $ last frame of the message, then the
 * payload. c1000(reason): close. !1002: error with its code.
 */
#define H "\x81\x05"
#define Z100                                                                                       \
    "01234567890123456789012345678901234567890123456789012345678901234567890123456789012345678901" \
    "23"                                                                                           \
    "456789"
#define Z125 Z100 "0123456789012345678901234"

static const struct row rows[] = {
    /* Data */
    {"text", "t^$(Hello)", {BYTES(H "Hello")}},
    {"text_empty", "t^$()", {BYTES("\x81\x00")}},
    {"binary", "b^$(\x01\x02)", {BYTES("\x82\x02\x01\x02")}},
    {"binary_any_bytes", "b^$(\xff\xfe)", {BYTES("\x82\x02\xff\xfe")}},
    {"text_125", "t^$#125", {BYTES("\x81\x7d" Z125)}},
    {"text_126", "t^$#126", {BYTES("\x81\x7e\x00\x7e" Z125 "x")}},
    {"two_messages", "t^$(Hello)t^$(Hello)", {BYTES(H "Hello"), BYTES(H "Hello")}},
    /* Ping and pong */
    {"ping_empty", "p()", {BYTES("\x89\x00")}},
    {"ping_payload",
     "p(abc)",
     {BYTES("\x89\x03"
            "abc")}},
    {"ping_binary_payload", "p(\xff\xfe)", {BYTES("\x89\x02\xff\xfe")}},
    {"ping_125", "p#125", {BYTES("\x89\x7d" Z125)}},
    {"ping_126", "!1002", {BYTES("\x89\x7e\x00\x7e" Z125 "x")}},
    {"ping_64_bit_length", "!1002", {BYTES("\x89\x7f\x00\x00\x00\x00\x00\x01\x00\x00")}},
    {"ping_fragmented",
     "!1002",
     {BYTES("\x09\x01"
            "a")}},
    {"pong_unsolicited", "o()", {BYTES("\x8a\x00")}},
    {"pong_payload",
     "o(abc)t^$(Hello)",
     {BYTES("\x8a\x03"
            "abc"),
      BYTES(H "Hello")}},
    {"pong_fragmented", "!1002", {BYTES("\x0a\x00")}},
    /* Reserved bits */
    {"rsv1", "!1002", {BYTES("\xc1\x05Hello")}},
    {"rsv2", "!1002", {BYTES("\xa1\x05Hello")}},
    {"rsv3", "!1002", {BYTES("\x91\x05Hello")}},
    {"rsv_all", "!1002", {BYTES("\xf1\x05Hello")}},
    {"rsv_ping", "!1002", {BYTES("\xc9\x00")}},
    {"rsv_close", "!1002", {BYTES("\xf8\x00")}},
    {"rsv_after_message", "t^$(Hello)!1002", {BYTES(H "Hello"), BYTES("\xc1\x00")}},
    {"rsv_continuation",
     "t^(a)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\xc0\x01"
            "b")}},
    /* Opcodes */
    {"opcode_3", "!1002", {BYTES("\x83\x00")}},
    {"opcode_4", "!1002", {BYTES("\x84\x00")}},
    {"opcode_5",
     "!1002",
     {BYTES("\x85\x01"
            "a")}},
    {"opcode_6", "!1002", {BYTES("\x86\x00")}},
    {"opcode_7", "!1002", {BYTES("\x87\x00")}},
    {"opcode_11", "!1002", {BYTES("\x8b\x00")}},
    {"opcode_12", "!1002", {BYTES("\x8c\x00")}},
    {"opcode_13",
     "!1002",
     {BYTES("\x8d\x01"
            "a")}},
    {"opcode_14", "!1002", {BYTES("\x8e\x00")}},
    {"opcode_15", "!1002", {BYTES("\x8f\x00")}},
    {"opcode_3_after_text", "t^$(Hello)!1002", {BYTES(H "Hello"), BYTES("\x83\x00")}},
    /* Fragments */
    {"fragments_2", "t^(Hel)t$(lo)", {BYTES("\x01\x03Hel"), BYTES("\x80\x02lo")}},
    {"fragments_3",
     "t^(a)t(b)t$(c)",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x00\x01"
            "b"),
      BYTES("\x80\x01"
            "c")}},
    {"fragments_binary",
     "b^(a)b$(b)",
     {BYTES("\x02\x01"
            "a"),
      BYTES("\x80\x01"
            "b")}},
    {"fragments_empty", "t^()t()t$()", {BYTES("\x01\x00"), BYTES("\x00\x00"), BYTES("\x80\x00")}},
    {"fragments_ping_between",
     "t^(a)p(x)t$(b)",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x89\x01x"),
      BYTES("\x80\x01"
            "b")}},
    {"fragments_pong_between",
     "t^(a)o()t$(b)",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x8a\x00"),
      BYTES("\x80\x01"
            "b")}},
    {"fragments_then_message",
     "t^(a)t$(b)t^$(Hello)",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x80\x01"
            "b"),
      BYTES(H "Hello")}},
    {"fragments_close_between",
     "t^(a)c1000()",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x88\x02\x03\xe8")}},
    {"continuation_first",
     "!1002",
     {BYTES("\x80\x01"
            "a")}},
    {"continuation_first_open",
     "!1002",
     {BYTES("\x00\x01"
            "a")}},
    {"continuation_after_message", "t^$(Hello)!1002", {BYTES(H "Hello"), BYTES("\x80\x00")}},
    {"continuation_after_fragments",
     "t^(a)t$(b)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x80\x01"
            "b"),
      BYTES("\x80\x00")}},
    {"text_inside_fragments",
     "t^(a)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x81\x01"
            "b")}},
    {"binary_inside_fragments",
     "t^(a)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x82\x01"
            "b")}},
    {"fragment_inside_fragments",
     "t^(a)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x01\x01"
            "b")}},
    /* UTF-8 */
    {"utf8_valid", "t^$(\xce\xba\xe1\xbd\xb9)", {BYTES("\x81\x05\xce\xba\xe1\xbd\xb9")}},
    {"utf8_4_bytes", "t^$(\xf0\x9f\x98\x80)", {BYTES("\x81\x04\xf0\x9f\x98\x80")}},
    {"utf8_highest", "t^$(\xf4\x8f\xbf\xbf)", {BYTES("\x81\x04\xf4\x8f\xbf\xbf")}},
    {"utf8_too_high", "!1007", {BYTES("\x81\x04\xf4\x90\x80\x80")}},
    {"utf8_surrogate", "!1007", {BYTES("\x81\x03\xed\xa0\x80")}},
    {"utf8_overlong", "!1007", {BYTES("\x81\x02\xc0\xaf")}},
    {"utf8_lone_continuation", "!1007", {BYTES("\x81\x01\x80")}},
    {"utf8_cut", "!1007", {BYTES("\x81\x02\xe2\x82")}},
    {"utf8_fe", "!1007", {BYTES("\x81\x01\xfe")}},
    {"utf8_zero", "t^$#1", {BYTES("\x81\x01\x00")}},
    {"utf8_split_in_character",
     "t^(\xe2)t$(\x82\xac)",
     {BYTES("\x01\x01\xe2"), BYTES("\x80\x02\x82\xac")}},
    {"utf8_split_by_bytes",
     "t^(\xf0)t(\x9f)p()t(\x98)t$(\x80)",
     {BYTES("\x01\x01\xf0"), BYTES("\x00\x01\x9f"), BYTES("\x89\x00"), BYTES("\x00\x01\x98"),
      BYTES("\x80\x01\x80")}},
    {"utf8_cut_over_fragments", "t^(\xe2)!1007", {BYTES("\x01\x01\xe2"), BYTES("\x80\x01\x82")}},
    {"utf8_bad_first_fragment",
     "!1007",
     {BYTES("\x01\x02"
            "a\xff"),
      BYTES("\x80\x01"
            "b")}},
    {"utf8_bad_second_fragment",
     "t^(a)!1007",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\x00\x01\xff")}},
    {"utf8_state_is_reset",
     "t^(\xe2)t$(\x82\xac)t^$(a)",
     {BYTES("\x01\x01\xe2"), BYTES("\x80\x02\x82\xac"),
      BYTES("\x81\x01"
            "a")}},
    {"utf8_not_in_binary", "b^(\xff)b$(\xfe)", {BYTES("\x02\x01\xff"), BYTES("\x80\x01\xfe")}},
    /* Close */
    {"close_empty", "c1005()", {BYTES("\x88\x00")}},
    {"close_1000", "c1000()", {BYTES("\x88\x02\x03\xe8")}},
    {"close_reason",
     "c1001(bye)",
     {BYTES("\x88\x05\x03\xe9"
            "bye")}},
    {"close_reason_123", "c1000#123", {BYTES("\x88\x7d\x03\xe8" Z100 "01234567890123456789012")}},
    {"close_126", "!1002", {BYTES("\x88\x7e\x00\x7e\x03\xe8" Z100 "012345678901234567890123")}},
    {"close_1_byte", "!1002", {BYTES("\x88\x01\x03")}},
    {"close_fragmented", "!1002", {BYTES("\x08\x02\x03\xe8")}},
    {"close_reason_not_utf8", "!1007", {BYTES("\x88\x04\x03\xe8\xc3\x28")}},
    {"close_reason_cut", "!1007", {BYTES("\x88\x04\x03\xe8\xe2\x82")}},
    {"close_0", "!1002", {BYTES("\x88\x02\x00\x00")}},
    {"close_999", "!1002", {BYTES("\x88\x02\x03\xe7")}},
    {"close_1004", "!1002", {BYTES("\x88\x02\x03\xec")}},
    {"close_1005", "!1002", {BYTES("\x88\x02\x03\xed")}},
    {"close_1006", "!1002", {BYTES("\x88\x02\x03\xee")}},
    {"close_1007", "c1007()", {BYTES("\x88\x02\x03\xef")}},
    {"close_1014", "c1014()", {BYTES("\x88\x02\x03\xf6")}},
    {"close_1015", "!1002", {BYTES("\x88\x02\x03\xf7")}},
    {"close_1016", "!1002", {BYTES("\x88\x02\x03\xf8")}},
    {"close_2999", "!1002", {BYTES("\x88\x02\x0b\xb7")}},
    {"close_3000", "c3000()", {BYTES("\x88\x02\x0b\xb8")}},
    {"close_4999", "c4999()", {BYTES("\x88\x02\x13\x87")}},
    {"close_5000", "!1002", {BYTES("\x88\x02\x13\x88")}},
    {"close_65535", "!1002", {BYTES("\x88\x02\xff\xff")}},
    {"close_then_text", "c1000()", {BYTES("\x88\x02\x03\xe8"), BYTES(H "Hello")}},
    {"close_then_garbage", "c1000()", {BYTES("\x88\x02\x03\xe8"), BYTES("\xff\x00")}},
    /* Lengths */
    {"length_16_bit_small", "!1002", {BYTES("\x81\x7e\x00\x7d" Z125)}},
    {"length_16_bit_zero", "!1002", {BYTES("\x81\x7e\x00\x00")}},
    {"length_64_bit_small",
     "!1002",
     {BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01"
            "a")}},
    {"length_64_bit_65535", "!1002", {BYTES("\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff")}},
    {"length_highest_bit", "!1002", {BYTES("\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00")}},
    {"length_all_bits", "!1002", {BYTES("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff")}},
    {"too_big_65536", "!1009", {BYTES("\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00")}},
    {"too_big_63_bits", "!1009", {BYTES("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")}},
    {"too_big_by_one", "!1009", {BYTES("\x81\x7e\x03\xe9")}},
    {"too_big_over_fragments",
     "t^#900p()!1009",
     {BYTES("\x01\x7e\x03\x84" Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100), BYTES("\x89\x00"),
      BYTES("\x80\x65" Z100 "x")}},
    {"size_limit_over_fragments",
     "t^#900t$#100",
     {BYTES("\x01\x7e\x03\x84" Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100),
      BYTES("\x80\x64" Z100)}},
    {"size_limit_is_per_message",
     "t^#900t$#100t^(a)t$(b)",
     {BYTES("\x01\x7e\x03\x84" Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100 Z100),
      BYTES("\x80\x64" Z100),
      BYTES("\x01\x01"
            "a"),
      BYTES("\x80\x01"
            "b")}},
};

/* With permessage-deflate agreed on. A z before what is compressed. */
static const struct row deflate_rows[] = {
    {"rsv1", "zt^$(\xff\xfe)", {BYTES("\xc1\x02\xff\xfe")}},
    {"rsv1_binary",
     "zb^$(ab)",
     {BYTES("\xc2\x02"
            "ab")}},
    {"plain_too", "t^$(Hello)", {BYTES(H "Hello")}},
    {"plain_is_checked", "!1007", {BYTES("\x81\x02\xff\xfe")}},
    {"plain_after_compressed", "zt^$(\xff)t^$(Hello)", {BYTES("\xc1\x01\xff"), BYTES(H "Hello")}},
    {"fragments",
     "zt^(\xff)z"
     "t()zt$(\xff)t^$(Hello)",
     {BYTES("\x41\x01\xff"), BYTES("\x00\x00"), BYTES("\x80\x01\xff"), BYTES(H "Hello")}},
    {"ping_between",
     "zt^(\xff)p()zt$(\xff)",
     {BYTES("\x41\x01\xff"), BYTES("\x89\x00"), BYTES("\x80\x01\xff")}},
    {"rsv1_continuation",
     "zt^(a)!1002",
     {BYTES("\x41\x01"
            "a"),
      BYTES("\xc0\x01"
            "b")}},
    {"rsv1_continuation_of_plain",
     "t^(a)!1002",
     {BYTES("\x01\x01"
            "a"),
      BYTES("\xc0\x01"
            "b")}},
    {"rsv1_ping", "!1002", {BYTES("\xc9\x00")}},
    {"rsv1_pong", "!1002", {BYTES("\xca\x00")}},
    {"rsv1_close", "!1002", {BYTES("\xc8\x00")}},
    {"rsv2", "!1002", {BYTES("\xa1\x00")}},
    {"rsv3", "!1002", {BYTES("\x91\x00")}},
    {"rsv1_and_2", "!1002", {BYTES("\xe1\x00")}},
    {"rsv1_opcode_3", "!1002", {BYTES("\xc3\x00")}},
    {"too_big", "!1009", {BYTES("\xc1\x7e\x03\xe9")}},
};
static bool deflate_agreed;

/* Appends the frame as a client would send it. */
static void put_masked(struct buf *b, struct span f)
{
    static const uint8_t key[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t small = f.p[1] & 0x7f;
    size_t head = 2 + (small == 126 ? 2 : small == 127 ? 8 : 0);
    buf_put_u8(b, f.p[0]);
    buf_put_u8(b, f.p[1] | 0x80);
    buf_put(b, f.p + 2, head - 2);
    buf_put(b, key, 4);
    for (size_t i = head; i < f.n; i++) {
        buf_put_u8(b, f.p[i] ^ key[(i - head) & 3]);
    }
}

static void show(struct buf *out, const struct ws_frame *f)
{
    static const char letters[] = "?tb?????cpo";
    buf_put_str(out, f->deflated ? "z" : "");
    buf_put_u8(out, (uint8_t)letters[f->opcode]);
    struct span body = span_of(f->payload, f->len);
    if (f->opcode == WS_CLOSE) {
        buf_printf(out, "%u", f->close_code);
        body = f->reason;
    } else if (f->opcode < WS_CLOSE) {
        buf_put_str(out, f->first ? "^" : "");
        buf_put_str(out, f->fin ? "$" : "");
    } else {
        assert_true(f->first && f->fin);
    }
    if (body.n > SMALL || (body.n == 1 && body.p[0] == 0)) {
        buf_printf(out, "#%zu", body.n);
        return;
    }
    buf_put_u8(out, '(');
    buf_put(out, body.p, body.n);
    buf_put_u8(out, ')');
}

struct peer {
    struct ws_decoder d;
    struct buf kept;
    struct buf out;
    bool over;
};

/* What a connection does: keeps what is not consumed, and reads frames as long as there are any. */
static void feed(struct peer *p, const uint8_t *in, size_t n)
{
    if (p->over) {
        return;
    }
    buf_put(&p->kept, in, n);
    for (;;) {
        struct ws_frame f;
        uint8_t *exact = proto_copy(p->kept.data, p->kept.len);
        enum ws_result r = ws_decode(&p->d, exact, p->kept.len, &f);
        if (r == WS_MORE) {
            assert_true(f.wanted > p->kept.len);
            assert_true(f.wanted <= WS_HEADER_MAX + MESSAGE_MAX);
            assert_true(p->kept.len == 0 || memcmp(exact, p->kept.data, p->kept.len) == 0);
        } else if (r == WS_FRAME) {
            assert_true(f.consumed >= 2 && f.consumed <= p->kept.len);
            assert_true(f.payload + f.len == exact + f.consumed);
            show(&p->out, &f);
        } else if (r == WS_ERROR) {
            buf_printf(&p->out, "!%u", f.close_code);
            assert_true(f.reason.n > 0 && ws_close_code_valid(f.close_code));
        }
        free(exact);
        if (r != WS_FRAME) {
            p->over = r == WS_ERROR || r == WS_ENDED;
            return;
        }
        buf_consume(&p->kept, f.consumed);
    }
}

static void peer_init(struct peer *p, enum ws_role role)
{
    *p = (struct peer){.over = false};
    ws_decoder_init(&p->d, role, MESSAGE_MAX);
    if (deflate_agreed) {
        ws_decoder_deflate(&p->d);
    }
}

static void peer_deinit(struct peer *p)
{
    buf_deinit(&p->kept);
    buf_deinit(&p->out);
}

/* Feeds the bytes in steps of `step` (0: whole), the first one `cut` long. */
static void run(enum ws_role role, const struct buf *in, size_t cut, size_t step, const char *want)
{
    struct peer p;
    peer_init(&p, role);
    size_t at = MIN(cut, in->len);
    if (at > 0) {
        feed(&p, in->data, at);
    }
    while (at < in->len) {
        size_t n = step == 0 ? in->len - at : MIN(step, in->len - at);
        feed(&p, in->data + at, n);
        at += n;
    }
    assert_string_equal(proto_text(&p.out), want);
    peer_deinit(&p);
}

static void run_row(void **state)
{
    const struct row *row = *state;
    struct buf plain = {0};
    struct buf masked = {0};
    for (size_t i = 0; i < FRAMES && row->frames[i].n > 0; i++) {
        buf_put(&plain, row->frames[i].p, row->frames[i].n);
        put_masked(&masked, row->frames[i]);
    }
    run(WS_CLIENT, &plain, 0, 1, row->want);
    run(WS_SERVER, &masked, 0, 1, row->want);
    size_t stride = MAX(plain.len / 150, (size_t)1);
    for (size_t cut = 0; cut <= plain.len; cut += stride) {
        run(WS_CLIENT, &plain, cut, 0, row->want);
    }
    for (size_t cut = 0; cut <= masked.len; cut += stride) {
        run(WS_SERVER, &masked, cut, 0, row->want);
    }
    buf_deinit(&plain);
    buf_deinit(&masked);
}

static void run_deflate_row(void **state)
{
    deflate_agreed = true;
    run_row(state);
    deflate_agreed = false;
}

static void test_mask_required(void **state)
{
    (void)state;
    struct buf in = {0};
    buf_put_str(&in, H "Hello");
    run(WS_SERVER, &in, 0, 0, "!1002");
    in.data[1] |= 0x80;
    buf_put_str(&in, "abcd");
    run(WS_CLIENT, &in, 0, 0, "!1002");
    buf_deinit(&in);
}

static void test_wanted(void **state)
{
    (void)state;
    uint8_t frame[8 + 300] = {0x81, 0xfe, 0x01, 0x2c, 0, 0, 0, 0};
    memset(frame + 8, 'a', 300);
    struct ws_decoder d;
    struct ws_frame f;
    ws_decoder_init(&d, WS_SERVER, 300);
    const size_t wanted[] = {2, 2, 8, 8, 8, 8, 8, 8, 308};
    for (size_t n = 0; n < ARRAY_LEN(wanted); n++) {
        assert_int_equal(ws_decode(&d, frame, n, &f), WS_MORE);
        assert_int_equal(f.wanted, wanted[n]);
    }
    assert_int_equal(ws_decode(&d, frame, 307, &f), WS_MORE);
    assert_int_equal(f.wanted, 308);
    assert_int_equal(ws_decode(&d, frame, 308, &f), WS_FRAME);
    assert_int_equal(f.consumed, 308);
    ws_decoder_init(&d, WS_SERVER, 299);
    assert_int_equal(ws_decode(&d, frame, 3, &f), WS_MORE);
    assert_int_equal(ws_decode(&d, frame, 4, &f), WS_ERROR);
    assert_int_equal(f.close_code, WS_CLOSE_TOO_BIG);
    assert_int_equal(ws_decode(&d, frame, 308, &f), WS_ENDED);
}

static void test_idle_size(void **state)
{
    (void)state;
    assert_true(sizeof(struct ws_decoder) <= 16);
}

static void test_mask(void **state)
{
    (void)state;
    const uint8_t key[4] = {1, 2, 3, 250};
    uint8_t a[64];
    uint8_t b[64];
    for (size_t n = 0; n <= 40; n++) {
        for (size_t start = 0; start < 9; start++) {
            for (size_t offset = 0; offset < 9; offset++) {
                for (size_t i = 0; i < sizeof(a); i++) {
                    a[i] = b[i] = (uint8_t)(i * 7);
                }
                ws_mask(a + start, n, key, offset);
                for (size_t i = 0; i < n; i++) {
                    b[start + i] ^= key[(offset + i) % 4];
                }
                assert_memory_equal(a, b, sizeof(a));
            }
        }
    }
}

/* Every way of writing a frame is read back by the other role, at each length where headers differ.
 */
static void test_round_trip(void **state)
{
    (void)state;
    static const size_t lengths[] = {0,   1,     7,     8,     124,   125,   126,
                                     127, 65534, 65535, 65536, 65537, 100000};
    const uint8_t key[4] = {9, 8, 7, 6};
    for (size_t i = 0; i < ARRAY_LEN(lengths) * 4; i++) {
        size_t len = lengths[i / 4];
        bool masked = i % 2 != 0;
        const uint8_t *k = masked ? key : NULL;
        struct buf text = {0};
        struct buf b = {0};
        for (size_t n = 0; n < len; n++) {
            buf_put_u8(&text, (uint8_t)('a' + n % 23));
        }
        buf_put_str(&b, "before");
        if (i % 4 < 2) {
            ws_put_frame(&b, WS_TEXT, span_of(text.data, len), k);
        } else {
            size_t mark = ws_frame_begin(&b, masked);
            buf_put(&b, text.data, len);
            ws_frame_end(&b, mark, WS_TEXT, k);
        }
        struct ws_decoder d;
        struct ws_frame f;
        ws_decoder_init(&d, masked ? WS_SERVER : WS_CLIENT, 100000);
        assert_memory_equal(b.data, "before", 6);
        assert_int_equal(ws_decode(&d, b.data + 6, b.len - 6, &f), WS_FRAME);
        assert_int_equal(f.consumed, b.len - 6);
        assert_true(f.first && f.fin && f.opcode == WS_TEXT && f.len == len);
        assert_true(len == 0 || memcmp(f.payload, text.data, len) == 0);
        buf_deinit(&b);
        buf_deinit(&text);
    }
}

/* A frame whose text could not be appended leaves nothing behind. */
static void test_failed_frame(void **state)
{
    (void)state;
    struct buf b = {0};
    buf_put_str(&b, "before");
    size_t mark = ws_frame_begin(&b, false);
    buf_put_str(&b, "half of a text");
    b.failed = true;
    ws_frame_end(&b, mark, WS_TEXT, NULL);
    assert_int_equal(b.len, 6);
    assert_false(buf_ok(&b));
    buf_deinit(&b);
}

static void test_put_close(void **state)
{
    (void)state;
    struct buf b = {0};
    ws_put_close(&b, 1013, span_str("slow"), NULL);
    assert_int_equal(b.len, 8);
    assert_memory_equal(b.data, "\x88\x06\x03\xf5slow", 8);
    buf_clear(&b);
    ws_put_close(&b, WS_CLOSE_NONE, span_str("ignored"), NULL);
    assert_int_equal(b.len, 2);
    assert_memory_equal(b.data, "\x88\x00", 2);
    /* A long reason is cut between characters: 41 of three bytes are 123. */
    for (size_t lead = 0; lead < 4; lead++) {
        struct buf reason = {0};
        buf_put(&reason, "xyz", lead);
        for (int i = 0; i < 60; i++) {
            buf_put_str(&reason, "\xe2\x82\xac");
        }
        buf_clear(&b);
        ws_put_close(&b, 1000, span_of(reason.data, reason.len), NULL);
        struct ws_decoder d;
        struct ws_frame f;
        ws_decoder_init(&d, WS_CLIENT, 100);
        assert_int_equal(ws_decode(&d, b.data, b.len, &f), WS_FRAME);
        assert_int_equal(f.reason.n, lead == 0 || lead == 3 ? 123 : 120 + lead);
        buf_deinit(&reason);
    }
    buf_deinit(&b);
}

/* Random frames with random damage: any chunking of the same bytes gives the same result. */
static void test_random_chunks(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, proto_seed());
    for (int round = 0; round < 3000; round++) {
        struct buf in = {0};
        uint64_t frames = 1 + random_below(&r.base, 6);
        for (uint64_t i = 0; i < frames; i++) {
            static const uint8_t first[] = {0x81, 0x82, 0x01, 0x00, 0x80, 0x89, 0x8a, 0x02};
            uint8_t payload[300];
            uint8_t head[WS_HEADER_MAX];
            const uint8_t key[4] = {5, 6, 7, 8};
            size_t len = (size_t)random_below(&r.base, i % 2 ? 300 : 20);
            memset(payload, (int)('a' + i), len);
            size_t n = ws_header(head, WS_TEXT, true, len, key);
            head[0] = first[random_below(&r.base, sizeof(first))];
            ws_mask(payload, len, key, 0);
            buf_put(&in, head, n);
            buf_put(&in, payload, len);
        }
        for (uint64_t k = random_below(&r.base, 3); k > 0; k--) {
            in.data[random_below(&r.base, in.len)] = (uint8_t)random_u64(&r.base);
        }
        struct peer whole;
        struct peer parts;
        peer_init(&whole, WS_SERVER);
        peer_init(&parts, WS_SERVER);
        feed(&whole, in.data, in.len);
        for (size_t at = 0; at < in.len;) {
            size_t n = 1 + (size_t)random_below(&r.base, 40);
            n = MIN(n, in.len - at);
            feed(&parts, in.data + at, n);
            at += n;
        }
        assert_string_equal(proto_text(&whole.out), proto_text(&parts.out));
        peer_deinit(&whole);
        peer_deinit(&parts);
        buf_deinit(&in);
    }
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        proto_case(&cases, "ws", rows[i].name, run_row, &rows[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(deflate_rows); i++) {
        proto_case(&cases, "ws_deflate", deflate_rows[i].name, run_deflate_row, &deflate_rows[i]);
    }
    proto_case(&cases, "ws", "mask_required", test_mask_required, NULL);
    proto_case(&cases, "ws", "wanted", test_wanted, NULL);
    proto_case(&cases, "ws", "idle_size", test_idle_size, NULL);
    proto_case(&cases, "ws", "mask", test_mask, NULL);
    proto_case(&cases, "ws", "round_trip", test_round_trip, NULL);
    proto_case(&cases, "ws", "failed_frame", test_failed_frame, NULL);
    proto_case(&cases, "ws", "put_close", test_put_close, NULL);
    proto_case(&cases, "ws", "random_chunks", test_random_chunks, NULL);
    return proto_run("ws", &cases);
}
