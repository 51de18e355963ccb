/* HTTP bodies, targets and queries. */
#include "proto/http1.h"

#include "proto_test.h"

struct row {
    const char *name;
    int status;       /* 0: complete, -1: more is wanted, else the refusal */
    const char *want; /* payload, when complete or incomplete */
    struct span in;
    size_t left; /* bytes behind the body */
};

static const struct row chunked[] = {
    {"one", 0, "hello", BYTES("5\r\nhello\r\n0\r\n\r\n"), 0},
    {"two", 0, "hello world", BYTES("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n"), 0},
    {"none", 0, "", BYTES("0\r\n\r\n"), 0},
    {"hex", 0, "0123456789abcdef0123456789abcdef",
     BYTES("1F\r\n0123456789abcdef0123456789abcde\r\n1\r\nf\r\n0\r\n\r\n"), 0},
    {"leading_zeros", 0, "a", BYTES("0000000000000001\r\na\r\n000\r\n\r\n"), 0},
    {"extension", 0, "a", BYTES("1;x=y\r\na\r\n0;z=\"q\"\r\n\r\n"), 0},
    {"extension_empty", 0, "a", BYTES("1;\r\na\r\n0\r\n\r\n"), 0},
    {"trailer", 0, "a", BYTES("1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n"), 0},
    {"payload_like_chunks", 0, "0\r\n\r\n", BYTES("5\r\n0\r\n\r\n\r\n0\r\n\r\n"), 0},
    {"next_request_behind", 0, "a", BYTES("1\r\na\r\n0\r\n\r\nGET / HTTP/1.1\r\n"), 16},
    {"incomplete_size", -1, "", BYTES("5"), 0},
    {"incomplete_chunk", -1, "hel", BYTES("5\r\nhel"), 0},
    {"incomplete_end", -1, "a", BYTES("1\r\na\r\n0\r\n"), 0},
    {"incomplete_trailer", -1, "a", BYTES("1\r\na\r\n0\r\nX: y\r\n"), 0},
    {"max", 0, "0123456789012345678901234567890123456789",
     BYTES("28\r\n0123456789012345678901234567890123456789\r\n0\r\n\r\n"), 0},
    {"too_large", 413, NULL, BYTES("29\r\n0123456789012345678901234567890123456789x\r\n0\r\n\r\n"),
     0},
    {"too_large_sum", 413, NULL,
     BYTES("28\r\n0123456789012345678901234567890123456789\r\n1\r\na\r\n0\r\n\r\n"), 0},
    {"size_16_digits", 413, NULL, BYTES("FFFFFFFFFFFFFFFF\r\n"), 0},
    {"size_17_digits", 400, NULL, BYTES("10000000000000001\r\na\r\n"), 0},
    {"size_zeros_17", 400, NULL, BYTES("00000000000000001\r\na\r\n"), 0},
    {"size_empty", 400, NULL, BYTES("\r\nhello"), 0},
    {"size_minus", 400, NULL, BYTES("-5\r\nhello"), 0},
    {"size_plus", 400, NULL, BYTES("+5\r\nhello"), 0},
    {"size_0x", 400, NULL, BYTES("0x5\r\nhello"), 0},
    {"size_space_before", 400, NULL, BYTES(" 5\r\nhello"), 0},
    {"size_space_after", 400, NULL, BYTES("5 \r\nhello\r\n0\r\n\r\n"), 0},
    {"size_tab_after", 400, NULL, BYTES("5\t\r\nhello\r\n0\r\n\r\n"), 0},
    {"size_letter", 400, NULL, BYTES("5g\r\nhello"), 0},
    {"size_bare_lf", 400, NULL, BYTES("5\nhello\r\n0\r\n\r\n"), 0},
    {"size_bare_cr", 400, NULL, BYTES("5\rhello\r\n0\r\n\r\n"), 0},
    {"size_cr_other", 400, NULL, BYTES("5\rXhello\r\n0\r\n\r\n"), 0},
    {"extension_bare_lf", 400, NULL, BYTES("5;a\nhello\r\n0\r\n\r\n"), 0},
    {"extension_bare_cr", 400, NULL, BYTES("5;a\rb\r\nhello\r\n0\r\n\r\n"), 0},
    {"extension_zero", 400, NULL, BYTES("5;\x00\r\nhello\r\n0\r\n\r\n"), 0},
    {"data_no_cr", 400, NULL, BYTES("5\r\nhello\n0\r\n\r\n"), 0},
    {"data_no_end", 400, NULL, BYTES("5\r\nhello0\r\n\r\n"), 0},
    {"data_too_long", 400, NULL, BYTES("5\r\nhello!\r\n0\r\n\r\n"), 0},
    {"data_cr_only", 400, NULL, BYTES("5\r\nhello\r0\r\n\r\n"), 0},
    {"end_bare_lf", 400, NULL, BYTES("0\r\n\n"), 0},
    {"end_bare_cr", 400, NULL, BYTES("0\r\n\rX"), 0},
    {"last_chunk_bare_lf", 400, NULL, BYTES("0\n\r\n"), 0},
    {"trailer_folded", 400, NULL, BYTES("0\r\nX: y\r\n z\r\n\r\n"), 0},
    {"trailer_no_colon", 400, NULL, BYTES("0\r\nX\r\n\r\n"), 0},
    {"trailer_no_name", 400, NULL, BYTES("0\r\n: y\r\n\r\n"), 0},
    {"trailer_space_before_colon", 400, NULL, BYTES("0\r\nX : y\r\n\r\n"), 0},
    {"trailer_bare_lf", 400, NULL, BYTES("0\r\nX: y\n\r\n"), 0},
    {"trailer_control", 400, NULL, BYTES("0\r\nX: \x01\r\n\r\n"), 0},
    {"request_in_trailer", 400, NULL, BYTES("0\r\nGET / HTTP/1.1\r\n\r\n"), 0},
};

enum { BODY_MAX = 40 };

static int feed(const struct http_request *req, uint64_t max, struct span in, size_t step,
                struct buf *out, size_t *ret_used)
{
    struct http_body body;
    struct http_error err;
    http_body_init_request(&body, req, max);
    size_t at = 0;
    for (;;) {
        size_t n = MIN(step, in.n - at);
        uint8_t *exact = proto_copy(in.p + at, n);
        size_t used = 0;
        struct span piece;
        enum http_result r = http_body_next(&body, span_of(exact, n), &used, &piece, &err);
        if (r != HTTP_BAD) {
            buf_put(out, piece.p, piece.n);
            assert_true(used <= n && (used > 0 || n == 0 || r == HTTP_DONE));
        }
        free(exact);
        at += used;
        if (r != HTTP_MORE) {
            *ret_used = at;
            return r == HTTP_DONE ? 0 : err.status;
        }
        if (at == in.n) {
            return -1;
        }
    }
}

static void run_chunked(void **state)
{
    const struct row *row = *state;
    const struct http_request req = {.chunked = true};
    for (size_t step = 1; step <= row->in.n; step++) {
        struct buf out = {0};
        size_t used = 0;
        assert_int_equal(feed(&req, BODY_MAX, row->in, step, &out, &used), row->status);
        if (row->want) {
            proto_assert_span(span_of(out.data, out.len), row->want);
        }
        if (row->status == 0) {
            assert_int_equal(row->in.n - used, row->left);
        }
        buf_deinit(&out);
    }
}

static void test_length(void **state)
{
    (void)state;
    struct http_request req = {.content_length = 5};
    for (size_t step = 1; step < 12; step++) {
        struct buf out = {0};
        size_t used = 0;
        assert_int_equal(feed(&req, 5, span_str("helloGET /"), step, &out, &used), 0);
        proto_assert_span(span_of(out.data, out.len), "hello");
        assert_int_equal(used, 5);
        buf_deinit(&out);
    }
    struct buf out = {0};
    size_t used = 9;
    const struct http_request none = {.content_length = 0};
    assert_int_equal(feed(&none, 4, span_str(""), 1, &out, &used), 0);
    assert_int_equal(feed(&none, 4, span_str("GET"), 1, &out, &used), 0);
    assert_int_equal(used, 0);
    assert_int_equal(feed(&req, 4, span_str("hello"), 1, &out, &used), 413);
    assert_int_equal(feed(&req, 4, span_str(""), 1, &out, &used), 413);
    assert_int_equal(out.len, 0);
    assert_int_equal(feed(&req, 5, span_str("hell"), 4, &out, &used), -1);
    buf_deinit(&out);
}

static void test_until_close(void **state)
{
    (void)state;
    struct http_response res = {.until_close = true};
    struct http_body body;
    struct http_error err;
    size_t used;
    struct span piece;
    http_body_init_response(&body, &res, 8);
    assert_int_equal(http_body_next(&body, span_str("hello"), &used, &piece, &err), HTTP_MORE);
    proto_assert_span(piece, "hello");
    assert_int_equal(http_body_next(&body, span_str(""), &used, &piece, &err), HTTP_MORE);
    assert_int_equal(http_body_next(&body, span_str("abc"), &used, &piece, &err), HTTP_MORE);
    assert_int_equal(http_body_next(&body, span_str("d"), &used, &piece, &err), HTTP_BAD);
    assert_int_equal(err.status, 413);
}

/* Endless extensions and trailers end somewhere. */
static void test_bounds(void **state)
{
    (void)state;
    const struct http_request req = {.chunked = true};
    struct buf in = {0};
    struct buf out = {0};
    size_t used;
    buf_put_str(&in, "1;");
    for (unsigned i = 0; i < HTTP_CHUNK_EXT_MAX - 1; i++) {
        buf_put_u8(&in, 'e');
    }
    size_t len = in.len;
    buf_put_str(&in, "\r\na\r\n0\r\n\r\n");
    assert_int_equal(feed(&req, 9, span_of(in.data, in.len), 7, &out, &used), 0);
    in.len = len;
    buf_put_str(&in, "e\r\na\r\n0\r\n\r\n");
    assert_int_equal(feed(&req, 9, span_of(in.data, in.len), 7, &out, &used), 400);
    for (unsigned over = 0; over < 2; over++) {
        buf_clear(&in);
        buf_put_str(&in, "0\r\n");
        while (in.len < 3 + HTTP_TRAILER_MAX - 16) {
            buf_put_str(&in, "a: bcd\r\n");
        }
        buf_put_str(&in, over ? "b: cdefghijkl\r\n\r\n" : "b: cdefghijk\r\n\r\n");
        assert_int_equal(in.len, 3 + HTTP_TRAILER_MAX + over);
        assert_int_equal(feed(&req, 9, span_of(in.data, in.len), 7, &out, &used), over ? 431 : 0);
    }
    buf_deinit(&in);
    buf_deinit(&out);
}

/* ---- Targets ---- */

static void test_decode(void **state)
{
    (void)state;
    static const struct {
        const char *raw;
        int flags;
        const char *want; /* NULL: refused */
    } all[] = {
        {"abc", 0, "abc"},       {"", 0, ""},
        {"a%20b", 0, "a b"},     {"%41%6a%4A", 0, "AjJ"},
        {"a+b", 0, "a+b"},       {"a+b%2B", HTTP_DECODE_PLUS, "a b+"},
        {"%2e%2e%2f", 0, "../"}, {"%e2%82%ac", 0, "\xe2\x82\xac"},
        {"%2500", 0, "%00"},     {"%00", 0, NULL},
        {"a%00b", 0, NULL},      {"%", 0, NULL},
        {"%4", 0, NULL},         {"%4g", 0, NULL},
        {"%g4", 0, NULL},        {"%%41", 0, NULL},
        {"% 41", 0, NULL},       {"%u0041", 0, NULL},
        {"%ff", 0, NULL},        {"%c0%ae", 0, NULL},
        {"%ed%a0%80", 0, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        uint8_t block[16];
        struct scratch s;
        scratch_init(&s, block, sizeof(block));
        struct span got = {NULL, 0};
        struct span raw = span_str(all[i].raw);
        enum confab_err err = http_decode(raw, all[i].flags, &s, &got);
        if (!all[i].want) {
            assert_int_equal(err, CONFAB_INVALID);
            assert_int_equal(s.len, 0);
            assert_null(got.p);
            continue;
        }
        assert_int_equal(err, CONFAB_OK);
        proto_assert_span(got, all[i].want);
        bool borrowed = got.p == raw.p;
        assert_true(borrowed == (strcmp(all[i].raw, all[i].want) == 0));
    }
    uint8_t block[6];
    struct scratch s;
    struct span got;
    scratch_init(&s, block, sizeof(block));
    assert_int_equal(http_decode(span_str("%41%42"), 0, &s, &got), CONFAB_OK);
    proto_assert_span(got, "AB");
    assert_int_equal(http_decode(span_str("%41%42"), 0, &s, &got), CONFAB_TOO_LARGE);
    proto_assert_span(got, "AB");
}

static void test_segments(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *want;
    } all[] = {{"/", "|"},     {"/a", "a|"},         {"/a/b", "a|b|"}, {"/a/", "a||"},
               {"//a", "|a|"}, {"/a%2Fb", "a%2Fb|"}, {"", ""},         {"*", ""}};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct buf out = {0};
        struct span path = span_str(all[i].path);
        struct span s;
        while (http_segment_next(&path, &s)) {
            buf_put(&out, s.p, s.n);
            buf_put_u8(&out, '|');
        }
        assert_string_equal(proto_text(&out), all[i].want);
        buf_deinit(&out);
    }
}

static void test_query(void **state)
{
    (void)state;
    struct span q = span_str("a=1&b=%41+c&&d&=x&a%62=2&bad=%zz&dup=1&dup=2&e=&");
    struct span rest = q;
    struct span n;
    struct span v;
    struct buf out = {0};
    while (http_query_next(&rest, &n, &v)) {
        buf_put(&out, n.p, n.n);
        buf_put_u8(&out, '=');
        buf_put(&out, v.p, v.n);
        buf_put_u8(&out, '&');
    }
    assert_string_equal(proto_text(&out), "a=1&b=%41+c&d=&=x&a%62=2&bad=%zz&dup=1&dup=2&e=&");
    buf_deinit(&out);
    uint8_t block[64];
    struct scratch s;
    scratch_init(&s, block, sizeof(block));
    assert_int_equal(http_query_get(q, "a", &s, &v), CONFAB_OK);
    proto_assert_span(v, "1");
    assert_int_equal(http_query_get(q, "b", &s, &v), CONFAB_OK);
    proto_assert_span(v, "A c");
    assert_int_equal(http_query_get(q, "ab", &s, &v), CONFAB_OK);
    proto_assert_span(v, "2");
    assert_int_equal(http_query_get(q, "d", &s, &v), CONFAB_OK);
    proto_assert_span(v, "");
    assert_int_equal(http_query_get(q, "e", &s, &v), CONFAB_OK);
    proto_assert_span(v, "");
    assert_int_equal(http_query_get(span_str("a+%62=3"), "a b", &s, &v), CONFAB_OK);
    proto_assert_span(v, "3");
    assert_int_equal(http_query_get(span_str("a%zz=3&%6=4"), "a\xff", &s, &v), CONFAB_NOT_FOUND);
    assert_int_equal(http_query_get(q, "abc", &s, &v), CONFAB_NOT_FOUND);
    assert_int_equal(http_query_get(q, "bad", &s, &v), CONFAB_INVALID);
    assert_int_equal(http_query_get(q, "dup", &s, &v), CONFAB_INVALID);
    assert_int_equal(http_query_get(q, "none", &s, &v), CONFAB_NOT_FOUND);
    assert_int_equal(http_query_get(span_of(NULL, 0), "a", &s, &v), CONFAB_NOT_FOUND);
}

/* Any text survives being encoded and decoded. */
static void test_encode_round_trip(void **state)
{
    (void)state;
    struct buf text = {0};
    for (unsigned c = 1; c < 0x80; c++) {
        buf_put_u8(&text, (uint8_t)c);
    }
    buf_put_str(&text, "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
    struct buf enc = {0};
    http_put_encoded(&enc, span_str("aZ09-._~/ "));
    assert_string_equal(proto_text(&enc), "aZ09-._~%2F%20");
    buf_clear(&enc);
    http_put_encoded(&enc, span_of(text.data, text.len));
    for (size_t i = 0; i < enc.len; i++) {
        assert_true(enc.data[i] > 0x20 && enc.data[i] < 0x7f && !strchr("/?#&=+", enc.data[i]));
    }
    uint8_t block[1024];
    struct scratch s;
    struct span got;
    scratch_init(&s, block, sizeof(block));
    assert_int_equal(http_decode(span_of(enc.data, enc.len), HTTP_DECODE_PLUS, &s, &got),
                     CONFAB_OK);
    assert_int_equal(got.n, text.len);
    assert_memory_equal(got.p, text.data, text.len);
    buf_deinit(&enc);
    buf_deinit(&text);
}

/* Random damage to chunked bodies: any chunking of the input gives the same result. */
static void test_random_chunks(void **state)
{
    (void)state;
    struct random_seeded r;
    const struct http_request req = {.chunked = true};
    random_seeded_init(&r, proto_seed());
    for (int round = 0; round < 5000; round++) {
        const struct row *row = &chunked[random_below(&r.base, ARRAY_LEN(chunked))];
        uint8_t *bytes = proto_copy(row->in.p, row->in.n);
        for (uint64_t k = random_below(&r.base, 3); k > 0; k--) {
            static const char some[] = "\r\n :;019aF\0x";
            bytes[random_below(&r.base, row->in.n)] =
                (uint8_t)some[random_below(&r.base, sizeof(some) - 1)];
        }
        struct span in = span_of(bytes, row->in.n);
        struct buf a = {0};
        struct buf b = {0};
        size_t used_a = 0;
        size_t used_b = 0;
        size_t step = 1 + (size_t)random_below(&r.base, 5);
        int whole = feed(&req, BODY_MAX, in, in.n, &a, &used_a);
        int parts = feed(&req, BODY_MAX, in, step, &b, &used_b);
        assert_int_equal(whole, parts);
        if (whole <= 0) {
            assert_int_equal(used_a, used_b);
            assert_true(span_eq(span_of(a.data, a.len), span_of(b.data, b.len)));
        }
        buf_deinit(&a);
        buf_deinit(&b);
        free(bytes);
    }
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(chunked); i++) {
        proto_case(&cases, "http1_chunked", chunked[i].name, run_chunked, &chunked[i]);
    }
    proto_case(&cases, "http1_body", "length", test_length, NULL);
    proto_case(&cases, "http1_body", "until_close", test_until_close, NULL);
    proto_case(&cases, "http1_body", "bounds", test_bounds, NULL);
    proto_case(&cases, "http1_body", "random_chunks", test_random_chunks, NULL);
    proto_case(&cases, "http1_target", "decode", test_decode, NULL);
    proto_case(&cases, "http1_target", "segments", test_segments, NULL);
    proto_case(&cases, "http1_target", "query", test_query, NULL);
    proto_case(&cases, "http1_target", "encode_round_trip", test_encode_round_trip, NULL);
    return proto_run("http1_body", &cases);
}
