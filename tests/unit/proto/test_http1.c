/*
 * HTTP/1.1 heads. Each row is one request (or answer) and what has to come of it; it is fed whole,
 * byte by byte and cut at every place. The refused ones include what is known for making two
 * parsers disagree about where a request ends.
 */
#include "proto/http1.h"

#include "proto_test.h"

struct row {
    const char *name;
    int status; /* 0: accepted, -1: not complete yet */
    struct span in;
};

#define GET  "GET / HTTP/1.1\r\n"
#define POST "POST /p HTTP/1.1\r\n"
#define HOST "Host: a\r\n"
#define END  "\r\n"

static const struct row requests[] = {
    /* Accepted */
    {"get", 0, BYTES(GET HOST END)},
    {"get_1_0", 0, BYTES("GET / HTTP/1.0\r\n" END)},
    {"get_1_0_host", 0, BYTES("GET / HTTP/1.0\r\n" HOST END)},
    {"absolute", 0, BYTES("GET http://a/x?y HTTP/1.1\r\n" HOST END)},
    {"absolute_no_path", 0, BYTES("GET http://a HTTP/1.1\r\n" HOST END)},
    {"absolute_other_case", 0, BYTES("GET HTTP://A:80/ HTTP/1.1\r\nHost: a:80\r\n" END)},
    {"options_star", 0, BYTES("OPTIONS * HTTP/1.1\r\n" HOST END)},
    {"other_method", 0, BYTES("PROPFIND / HTTP/1.1\r\n" HOST END)},
    {"value_with_tab", 0, BYTES(GET HOST "X: a\tb\r\n" END)},
    {"value_empty", 0, BYTES(GET HOST "X:\r\n" END)},
    {"value_blanks", 0, BYTES(GET HOST "X: \t a \t\r\n" END)},
    {"value_high_bytes", 0, BYTES(GET HOST "X: \xc3\xa4\r\n" END)},
    {"value_colons", 0, BYTES(GET HOST "X::a:b\r\n" END)},
    {"length_zero", 0, BYTES(POST HOST "Content-Length: 0\r\n" END)},
    {"length_large", 0, BYTES(POST HOST "Content-Length: 9999999999999999999\r\n" END)},
    {"chunked", 0, BYTES(POST HOST "Transfer-Encoding: chunked\r\n" END)},
    {"chunked_other_case", 0, BYTES(POST HOST "transfer-encoding: Chunked\r\n" END)},
    {"expect", 0, BYTES(POST HOST "Content-Length: 3\r\nExpect: 100-continue\r\n" END)},
    {"ipv6_host", 0, BYTES(GET "Host: [::1]:8080\r\n" END)},
    {"target_brackets", 0, BYTES("GET /u/[a]|{b}^ HTTP/1.1\r\n" HOST END)},
    /* Not complete */
    {"nothing", -1, BYTES("")},
    {"half_line", -1, BYTES("GET / HT")},
    {"no_empty_line", -1, BYTES(GET HOST)},
    {"half_end", -1, BYTES(GET HOST "\r")},
    /* Line ends */
    {"lf_after_line", 400, BYTES("GET / HTTP/1.1\n" HOST END)},
    {"lf_after_field", 400, BYTES(GET "Host: a\n" END)},
    {"lf_as_end", 400, BYTES(GET HOST "\n")},
    {"cr_in_line", 400, BYTES("GET /\r HTTP/1.1\r\n" HOST END)},
    {"cr_in_value", 400, BYTES(GET HOST "X: a\rb\r\n" END)},
    {"cr_cr_lf", 400, BYTES(GET "Host: a\r\r\n" END)},
    {"cr_in_name", 400, BYTES(GET HOST "X\r: a\r\n" END)},
    {"empty_line_first", 400, BYTES(END GET HOST END)},
    {"space_first", 400, BYTES(" " GET HOST END)},
    {"lf_hides_field", 400, BYTES(POST HOST "X: a\nTransfer-Encoding: chunked\r\n" END)},
    {"lf_cr", 400, BYTES(GET HOST "X: a\n\r\r\n" END)},
    {"garbage_at_once", 400, BYTES("@")},
    {"space_at_once", 400, BYTES(" ")},
    /* Request line */
    {"two_spaces", 400, BYTES("GET  / HTTP/1.1\r\n" HOST END)},
    {"two_spaces_before_version", 400, BYTES("GET /  HTTP/1.1\r\n" HOST END)},
    {"tab_between", 400, BYTES("GET\t/ HTTP/1.1\r\n" HOST END)},
    {"tab_in_target", 400, BYTES("GET /\t HTTP/1.1\r\n" HOST END)},
    {"space_at_end", 400, BYTES("GET / HTTP/1.1 \r\n" HOST END)},
    {"space_in_target", 400, BYTES("GET /a b HTTP/1.1\r\n" HOST END)},
    {"no_version", 400, BYTES("GET /\r\n" HOST END)},
    {"no_target", 400, BYTES("GET HTTP/1.1\r\n" HOST END)},
    {"empty_target", 400, BYTES("GET  HTTP/1.1\r\n" HOST END)},
    {"only_method", 400, BYTES("GET\r\n" HOST END)},
    {"bad_method", 400, BYTES("G@T / HTTP/1.1\r\n" HOST END)},
    {"brace_method", 400, BYTES("G{T / HTTP/1.1\r\n" HOST END)},
    {"long_method", 400, BYTES("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG / HTTP/1.1\r\n" HOST END)},
    {"lower_case_http", 400, BYTES("GET / http/1.1\r\n" HOST END)},
    {"version_no_dot", 400, BYTES("GET / HTTP/11\r\n" HOST END)},
    {"version_long", 400, BYTES("GET / HTTP/1.10\r\n" HOST END)},
    {"version_letters", 400, BYTES("GET / HTTP/x.y\r\n" HOST END)},
    {"version_other_protocol", 400, BYTES("GET / ICAP/1.1\r\n" HOST END)},
    {"version_0_9", 505, BYTES("GET / HTTP/0.9\r\n" HOST END)},
    {"version_1_2", 505, BYTES("GET / HTTP/1.2\r\n" HOST END)},
    {"version_2_0", 505, BYTES("GET / HTTP/2.0\r\n" HOST END)},
    {"http2_preface", 505, BYTES("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
    {"tls_hello", 400, BYTES("\x16\x03\x01\x02\x00\x01\x00\x01\xfc")},
    {"relative_target", 400, BYTES("GET a HTTP/1.1\r\n" HOST END)},
    {"connect_authority", 400, BYTES("CONNECT a:80 HTTP/1.1\r\n" HOST END)},
    {"star_with_get", 400, BYTES("GET * HTTP/1.1\r\n" HOST END)},
    {"fragment", 400, BYTES("GET /#a HTTP/1.1\r\n" HOST END)},
    {"high_bytes_in_target", 400, BYTES("GET /\xc3\xa4 HTTP/1.1\r\n" HOST END)},
    {"zero_in_target", 400, BYTES("GET /\x00 HTTP/1.1\r\n" HOST END)},
    {"delete_in_target", 400, BYTES("GET /\x7f HTTP/1.1\r\n" HOST END)},
    {"other_scheme", 400, BYTES("GET ftp://a/ HTTP/1.1\r\n" HOST END)},
    {"absolute_no_host", 400, BYTES("GET http:/// HTTP/1.1\r\n" HOST END)},
    {"absolute_user", 400, BYTES("GET http://u@a/ HTTP/1.1\r\n" HOST END)},
    {"absolute_differs_from_host", 400, BYTES("GET http://b/ HTTP/1.1\r\n" HOST END)},
    {"absolute_longer_than_host", 400, BYTES("GET http://ab/ HTTP/1.1\r\n" HOST END)},
    {"absolute_shorter_than_host", 400, BYTES("GET http://a/ HTTP/1.1\r\nHost: ab\r\n" END)},
    /* Fields */
    {"space_before_colon", 400, BYTES(GET HOST "X : a\r\n" END)},
    {"tab_before_colon", 400, BYTES(GET HOST "X\t: a\r\n" END)},
    {"folded", 400, BYTES(GET HOST "X: a\r\n b\r\n" END)},
    {"folded_tab", 400, BYTES(GET HOST "X: a\r\n\tb\r\n" END)},
    {"folded_first", 400, BYTES(GET " Host: a\r\n" END)},
    {"folded_coding", 400, BYTES(POST HOST "Transfer-Encoding:\r\n chunked\r\n" END)},
    {"no_colon", 400, BYTES(GET HOST "X\r\n" END)},
    {"no_name", 400, BYTES(GET HOST ": a\r\n" END)},
    {"space_in_name", 400, BYTES(GET HOST "X Y: a\r\n" END)},
    {"bracket_in_name", 400, BYTES(GET HOST "X[0]: a\r\n" END)},
    {"high_byte_in_name", 400, BYTES(GET HOST "X\xc3\xa4: a\r\n" END)},
    {"zero_in_name", 400, BYTES(GET HOST "X\x00: a\r\n" END)},
    {"zero_in_value", 400, BYTES(GET HOST "X: a\x00 b\r\n" END)},
    {"bell_in_value", 400, BYTES(GET HOST "X: \x07\r\n" END)},
    {"escape_in_value", 400, BYTES(GET HOST "X: \x1b[0m\r\n" END)},
    {"delete_in_value", 400, BYTES(GET HOST "X: \x7f\r\n" END)},
    {"vertical_tab_in_value", 400,
     BYTES(GET HOST "X:\x0b"
                    "a\r\n" END)},
    /* Host */
    {"host_missing", 400, BYTES(GET END)},
    {"host_missing_absolute", 400, BYTES("GET http://a/ HTTP/1.1\r\n" END)},
    {"host_twice", 400, BYTES(GET HOST HOST END)},
    {"host_twice_differing", 400, BYTES(GET HOST "Host: b\r\n" END)},
    {"host_twice_1_0", 400, BYTES("GET / HTTP/1.0\r\n" HOST HOST END)},
    {"host_empty", 400, BYTES(GET "Host:\r\n" END)},
    {"host_list", 400, BYTES(GET "Host: a, b\r\n" END)},
    {"host_with_path", 400, BYTES(GET "Host: a/b\r\n" END)},
    {"host_with_user", 400, BYTES(GET "Host: u@a\r\n" END)},
    {"host_with_query", 400, BYTES(GET "Host: a?b\r\n" END)},
    {"host_with_space", 400, BYTES(GET "Host: a b\r\n" END)},
    /* Where the body ends */
    {"length_twice", 400, BYTES(POST HOST "Content-Length: 3\r\nContent-Length: 3\r\n" END)},
    {"length_twice_differing", 400,
     BYTES(POST HOST "Content-Length: 3\r\nContent-Length: 4\r\n" END)},
    {"length_list", 400, BYTES(POST HOST "Content-Length: 3, 3\r\n" END)},
    {"length_plus", 400, BYTES(POST HOST "Content-Length: +3\r\n" END)},
    {"length_minus", 400, BYTES(POST HOST "Content-Length: -3\r\n" END)},
    {"length_hex", 400, BYTES(POST HOST "Content-Length: 0x3\r\n" END)},
    {"length_fraction", 400, BYTES(POST HOST "Content-Length: 3.0\r\n" END)},
    {"length_empty", 400, BYTES(POST HOST "Content-Length:\r\n" END)},
    {"length_space_inside", 400, BYTES(POST HOST "Content-Length: 3 3\r\n" END)},
    {"length_quoted", 400, BYTES(POST HOST "Content-Length: \"3\"\r\n" END)},
    {"length_letters", 400, BYTES(POST HOST "Content-Length: 3abc\r\n" END)},
    {"length_overflow", 400, BYTES(POST HOST "Content-Length: 18446744073709551616\r\n" END)},
    {"length_overflow_to_3", 400, BYTES(POST HOST "Content-Length: 18446744073709551619\r\n" END)},
    {"length_and_coding", 400,
     BYTES(POST HOST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END)},
    {"coding_and_length", 400,
     BYTES(POST HOST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" END)},
    {"coding_twice", 400,
     BYTES(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END)},
    {"coding_chunked_then_identity", 400,
     BYTES(POST HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" END)},
    {"coding_identity", 501, BYTES(POST HOST "Transfer-Encoding: identity\r\n" END)},
    {"coding_gzip_chunked", 501, BYTES(POST HOST "Transfer-Encoding: gzip, chunked\r\n" END)},
    {"coding_chunked_chunked", 501, BYTES(POST HOST "Transfer-Encoding: chunked, chunked\r\n" END)},
    {"coding_xchunked", 501, BYTES(POST HOST "Transfer-Encoding: xchunked\r\n" END)},
    {"coding_quoted", 501, BYTES(POST HOST "Transfer-Encoding: \"chunked\"\r\n" END)},
    {"coding_comma", 501, BYTES(POST HOST "Transfer-Encoding: ,chunked\r\n" END)},
    {"coding_parameter", 501, BYTES(POST HOST "Transfer-Encoding: chunked;a=b\r\n" END)},
    {"coding_empty", 501, BYTES(POST HOST "Transfer-Encoding:\r\n" END)},
    {"coding_space_before_colon", 400, BYTES(POST HOST "Transfer-Encoding : chunked\r\n" END)},
    {"coding_vertical_tab", 400,
     BYTES(POST HOST "Transfer-Encoding:\x0b"
                     "chunked\r\n" END)},
    {"coding_in_1_0", 400, BYTES("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" END)},
    {"expect_other", 417, BYTES(POST HOST "Content-Length: 3\r\nExpect: 200-ok\r\n" END)},
    {"expect_twice", 417,
     BYTES(POST HOST "Content-Length: 3\r\nExpect: 100-continue\r\nExpect: 100-continue\r\n" END)},
};

/* Feeds `cut` bytes, then steps of `step` (0: the rest at once); the status as in struct row. */
static int feed_request(struct span in, size_t cut, size_t step, struct http_request *ret)
{
    struct http_scan scan = {0};
    struct http_error err = {0, NULL};
    size_t at = MIN(cut, in.n);
    for (;;) {
        uint8_t *exact = proto_copy(in.p, at);
        struct http_request req;
        enum http_result r = http_request_parse(&scan, span_of(exact, at), &req, &err);
        free(exact);
        if (r == HTTP_DONE) {
            /* The views are into freed memory: parse once more where they stay. */
            scan = (struct http_scan){0};
            assert_int_equal(http_request_parse(&scan, in, ret, &err), HTTP_DONE);
            assert_int_equal(ret->head_len, req.head_len);
            return 0;
        }
        if (r == HTTP_BAD) {
            assert_non_null(err.why);
            return err.status;
        }
        if (at == in.n) {
            return -1;
        }
        at = step == 0 ? in.n : MIN(at + step, in.n);
    }
}

static void run_request(void **state)
{
    const struct row *row = *state;
    struct http_request req;
    assert_int_equal(feed_request(row->in, row->in.n, 0, &req), row->status);
    assert_int_equal(feed_request(row->in, 0, 1, &req), row->status);
    for (size_t cut = 0; cut <= row->in.n; cut++) {
        assert_int_equal(feed_request(row->in, cut, 0, &req), row->status);
    }
    if (row->status == 0) {
        assert_int_equal(req.head_len, row->in.n);
    }
}

static struct http_request parse(const char *text)
{
    struct http_request req;
    assert_int_equal(feed_request(span_str(text), 0, 0, &req), 0);
    return req;
}

static void test_views(void **state)
{
    (void)state;
    struct http_request r = parse("POST /a/b%20c?x=1&y HTTP/1.1\r\nHOST: chat.example:8080\r\n"
                                  "Content-Length: 12\r\nX-One:  v w \r\n\r\nhello");
    assert_int_equal(r.method, HTTP_POST);
    proto_assert_span(r.method_text, "POST");
    proto_assert_span(r.target, "/a/b%20c?x=1&y");
    proto_assert_span(r.path, "/a/b%20c");
    proto_assert_span(r.query, "x=1&y");
    proto_assert_span(r.host, "chat.example:8080");
    proto_assert_span(http_header_get(&r.headers, "x-one"), "v w");
    assert_null(http_header_get(&r.headers, "x-two").p);
    assert_int_equal(r.headers.n, 3);
    assert_int_equal(r.content_length, 12);
    assert_int_equal(r.minor, 1);
    assert_true(r.keep_alive && !r.chunked && !r.upgrade && !r.expect_continue);

    r = parse("GET http://A.example/x?q HTTP/1.1\r\nHost: a.EXAMPLE\r\n\r\n");
    proto_assert_span(r.path, "/x");
    proto_assert_span(r.query, "q");
    proto_assert_span(r.host, "a.EXAMPLE");
    r = parse("GET http://a?q HTTP/1.1\r\nHost: a\r\n\r\n");
    proto_assert_span(r.path, "/");
    proto_assert_span(r.query, "q");
    r = parse("GET /? HTTP/1.1\r\nHost: a\r\n\r\n");
    assert_true(r.query.p && r.query.n == 0);
    r = parse("GET / HTTP/1.0\r\n\r\n");
    assert_true(!r.query.p && !r.host.p && r.minor == 0);
}

static void test_methods(void **state)
{
    (void)state;
    static const char *const names[] = {"FOO", "GET",   "HEAD",   "POST",
                                        "PUT", "PATCH", "DELETE", "OPTIONS"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char text[64];
        snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", names[i]);
        assert_int_equal(parse(text).method, i);
    }
    assert_int_equal(parse("get / HTTP/1.1\r\nHost: a\r\n\r\n").method, HTTP_OTHER);
}

static void test_connection(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        bool keep_alive;
        bool upgrade;
    } all[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x, CLOSE ,y\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: closed\r\n\r\n", true, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: x\r\nConnection: close\r\n\r\n", false, false},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\n\r\n", true, true},
        {"GET / HTTP/1.0\r\n\r\n", false, false},
        {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true, false},
        {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct http_request r = parse(all[i].head);
        assert_int_equal(r.keep_alive, all[i].keep_alive);
        assert_int_equal(r.upgrade, all[i].upgrade);
    }
}

static void test_expect(void **state)
{
    (void)state;
    assert_true(
        parse("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-Continue\r\n\r\n")
            .expect_continue);
    assert_true(parse("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: "
                      "100-continue\r\n\r\n")
                    .expect_continue);
    assert_false(
        parse("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n").expect_continue);
    assert_false(parse("POST / HTTP/1.0\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
                     .expect_continue);
}

/* Builds a head of exactly `total` bytes and feeds it in two ways. */
static int padded(size_t total, const char *before, const char *after)
{
    struct buf b = {0};
    buf_put_str(&b, before);
    while (b.len + strlen(after) < total) {
        buf_put_u8(&b, 'a');
    }
    buf_put_str(&b, after);
    struct http_request req;
    int whole = feed_request(span_of(b.data, b.len), b.len, 0, &req);
    int parts = feed_request(span_of(b.data, b.len), 1, 97, &req);
    buf_deinit(&b);
    assert_int_equal(whole, parts);
    return whole;
}

static void test_limits(void **state)
{
    (void)state;
    const char *start = "GET / HTTP/1.1\r\nHost: a\r\nX: ";
    assert_int_equal(padded(HTTP_HEAD_MAX, start, "\r\n\r\n"), 0);
    assert_int_equal(padded(HTTP_HEAD_MAX + 1, start, "\r\n\r\n"), 431);
    assert_int_equal(padded(HTTP_HEAD_MAX + 5000, start, ""), 431);
    const char *end = " HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_int_equal(padded(4 + HTTP_TARGET_MAX + strlen(end), "GET /", end), 0);
    assert_int_equal(padded(5 + HTTP_TARGET_MAX + strlen(end), "GET /", end), 414);
    assert_int_equal(padded(9000, "GET /", ""), 414);
    assert_int_equal(padded(9000, "G", ""), 414);

    struct buf b = {0};
    struct http_request req;
    buf_put_str(&b, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (unsigned i = 1; i < HTTP_HEADERS_MAX; i++) {
        buf_printf(&b, "X-%u: %u\r\n", i, i);
    }
    size_t len = b.len;
    buf_put_str(&b, "\r\n");
    assert_int_equal(feed_request(span_of(b.data, b.len), 0, 0, &req), 0);
    assert_int_equal(req.headers.n, HTTP_HEADERS_MAX);
    b.len = len;
    buf_put_str(&b, "One: more\r\n\r\n");
    assert_int_equal(feed_request(span_of(b.data, b.len), 0, 0, &req), 431);
    buf_deinit(&b);
}

static void test_pipelining(void **state)
{
    (void)state;
    const char *text = "GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n"
                       "Content-Length: 5\r\n\r\nhelloGET /3 HTTP/1.1\r\nHost: a\r\n\r\n";
    struct span in = span_str(text);
    static const char *const paths[] = {"/1", "/2", "/3"};
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        struct http_scan scan = {0};
        struct http_request req;
        struct http_error err;
        struct http_body body;
        size_t used;
        struct span piece;
        assert_int_equal(http_request_parse(&scan, in, &req, &err), HTTP_DONE);
        proto_assert_span(req.path, paths[i]);
        in = span_of(in.p + req.head_len, in.n - req.head_len);
        http_body_init_request(&body, &req, 100);
        assert_int_equal(http_body_next(&body, in, &used, &piece, &err), HTTP_DONE);
        proto_assert_span(piece, i == 1 ? "hello" : "");
        in = span_of(in.p + used, in.n - used);
    }
    assert_int_equal(in.n, 0);
}

/* ---- Answers ---- */

static const struct row answers[] = {
    {"ok", 0, BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n")},
    {"no_reason", 0, BYTES("HTTP/1.1 200 \r\n\r\n")},
    {"long_reason", 0, BYTES("HTTP/1.0 404 Not Found Here\r\n\r\n")},
    {"incomplete", -1, BYTES("HTTP/1.1 200 OK\r\n")},
    {"no_space_after_status", 400, BYTES("HTTP/1.1 200\r\n\r\n")},
    {"status_4_digits", 400, BYTES("HTTP/1.1 2000 OK\r\n\r\n")},
    {"status_letters", 400, BYTES("HTTP/1.1 2x0 OK\r\n\r\n")},
    {"status_colon", 400, BYTES("HTTP/1.1 20: OK\r\n\r\n")},
    {"status_099", 400, BYTES("HTTP/1.1 099 Low\r\n\r\n")},
    {"status_600", 400, BYTES("HTTP/1.1 600 High\r\n\r\n")},
    {"two_spaces", 400, BYTES("HTTP/1.1  200 OK\r\n\r\n")},
    {"version_2", 505, BYTES("HTTP/2.0 200 OK\r\n\r\n")},
    {"no_http", 400, BYTES("SSH-2.0-OpenSSH_9.2\r\n\r\n")},
    {"bare_lf", 400, BYTES("HTTP/1.1 200 OK\n\n")},
    {"folded", 400, BYTES("HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n")},
    {"length_and_coding", 400,
     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n")},
    {"length_twice", 400,
     BYTES("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n")},
    {"coding_gzip", 501, BYTES("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n")},
};

static int feed_answer(struct span in, size_t step, bool head, struct http_response *ret)
{
    struct http_scan scan = {0};
    struct http_error err = {0, NULL};
    for (size_t at = MIN(step, in.n);; at = MIN(at + step, in.n)) {
        uint8_t *exact = proto_copy(in.p, at);
        enum http_result r = http_response_parse(&scan, span_of(exact, at), head, ret, &err);
        free(exact);
        if (r == HTTP_DONE) {
            scan = (struct http_scan){0};
            assert_int_equal(http_response_parse(&scan, in, head, ret, &err), HTTP_DONE);
            return 0;
        }
        if (r == HTTP_BAD) {
            return err.status;
        }
        if (at == in.n) {
            return -1;
        }
    }
}

static void run_answer(void **state)
{
    const struct row *row = *state;
    struct http_response res;
    for (size_t step = 1; step <= row->in.n; step++) {
        assert_int_equal(feed_answer(row->in, step, false, &res), row->status);
    }
}

static void test_answer_bodies(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool head;
        int status;
        uint64_t length;
        bool chunked;
        bool until_close;
        bool keep_alive;
    } all[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", false, 200, 3, false, false, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", true, 200, 0, false, false, true},
        {"HTTP/1.1 200 OK\r\n\r\n", false, 200, 0, false, true, false},
        {"HTTP/1.1 200 OK\r\n\r\n", true, 200, 0, false, false, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", false, 200, 0, true, false, true},
        {"HTTP/1.1 204 No Content\r\n\r\n", false, 204, 0, false, false, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false, 304, 0, false, false,
         true},
        {"HTTP/1.1 100 Continue\r\n\r\n", false, 100, 0, false, false, true},
        {"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n", false, 101, 0, false,
         false, true},
        {"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n", false, 200, 3, false, false, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", false, 200, 0, false,
         false, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct http_response r;
        assert_int_equal(feed_answer(span_str(all[i].text), 1, all[i].head, &r), 0);
        assert_int_equal(r.status, all[i].status);
        assert_int_equal(r.content_length, all[i].length);
        assert_int_equal(r.chunked, all[i].chunked);
        assert_int_equal(r.until_close, all[i].until_close);
        assert_int_equal(r.keep_alive, all[i].keep_alive);
        assert_int_equal(r.upgrade, all[i].status == 101);
    }
}

/* ---- Writing ---- */

static void test_write(void **state)
{
    (void)state;
    struct buf b = {0};
    http_put_head(&b, 200, "application/json", 12, true, 1, span_str("X: y\r\n"));
    assert_string_equal(proto_text(&b), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                        "Content-Length: 12\r\nX: y\r\n\r\n");
    struct http_response res;
    assert_int_equal(feed_answer(span_of(b.data, b.len), 1, false, &res), 0);
    assert_true(res.status == 200 && res.content_length == 12 && res.keep_alive);
    buf_clear(&b);
    http_put_head(&b, 204, NULL, 0, false, 1, span_of(NULL, 0));
    assert_string_equal(proto_text(&b), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    buf_clear(&b);
    http_put_head(&b, 404, NULL, 0, true, 0, span_of(NULL, 0));
    assert_string_equal(proto_text(&b), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n"
                                        "Connection: keep-alive\r\n\r\n");
    buf_clear(&b);
    http_put_continue(&b);
    assert_string_equal(proto_text(&b), "HTTP/1.1 100 Continue\r\n\r\n");
    buf_clear(&b);
    http_put_request(&b, "GET", span_str("/a"), span_str("h:1"));
    http_put_header_u64(&b, "Content-Length", 18446744073709551615U);
    http_put_end(&b);
    assert_string_equal(proto_text(&b), "GET /a HTTP/1.1\r\nHost: h:1\r\n"
                                        "Content-Length: 18446744073709551615\r\n\r\n");
    buf_clear(&b);
    for (int status = 100; status < 600; status++) {
        assert_true(http_reason(status)[0] != 0);
    }
    buf_deinit(&b);
}

/* Random damage to good requests: any chunking gives the same result. */
static void test_random_chunks(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, proto_seed());
    for (int round = 0; round < 4000; round++) {
        const struct row *row = &requests[random_below(&r.base, ARRAY_LEN(requests))];
        if (row->in.n == 0) {
            continue;
        }
        uint8_t *bytes = proto_copy(row->in.p, row->in.n);
        for (uint64_t k = random_below(&r.base, 3); k > 0; k--) {
            static const char some[] = "\r\n :\t\0aA/?%,;=0\xff";
            bytes[random_below(&r.base, row->in.n)] =
                (uint8_t)some[random_below(&r.base, sizeof(some) - 1)];
        }
        struct http_request a;
        struct http_request b;
        struct span in = span_of(bytes, row->in.n);
        size_t step = 1 + (size_t)random_below(&r.base, 9);
        int whole = feed_request(in, in.n, 0, &a);
        assert_int_equal(whole, feed_request(in, 0, step, &b));
        free(bytes);
    }
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(requests); i++) {
        proto_case(&cases, "http1", requests[i].name, run_request, &requests[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        proto_case(&cases, "http1_answer", answers[i].name, run_answer, &answers[i]);
    }
    proto_case(&cases, "http1", "views", test_views, NULL);
    proto_case(&cases, "http1", "methods", test_methods, NULL);
    proto_case(&cases, "http1", "connection", test_connection, NULL);
    proto_case(&cases, "http1", "expect_continue", test_expect, NULL);
    proto_case(&cases, "http1", "limits", test_limits, NULL);
    proto_case(&cases, "http1", "pipelining", test_pipelining, NULL);
    proto_case(&cases, "http1_answer", "bodies", test_answer_bodies, NULL);
    proto_case(&cases, "http1", "write", test_write, NULL);
    proto_case(&cases, "http1", "random_chunks", test_random_chunks, NULL);
    return proto_run("http1", &cases);
}
