/*
 * HTTP heads and bodies. First byte: bit 0 answer or request, bits 1 to 3 the step by which the
 * rest is fed. Messages are read one behind the other, as pipelined ones; the same ones have to
 * come out as when all is there at once. Build: see fuzz_ws.c.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/utf8.h"
#include "proto/http1.h"
#include "proto/ws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { BODY_MAX = 4096 };

static void put(struct buf *seen, struct span s)
{
    buf_put_blob(seen, s.p, s.n);
}

static bool within(struct span s, struct span all)
{
    return s.n == 0 || (s.p >= all.p && s.p + s.n <= all.p + all.n);
}

static void check_headers(const struct http_headers *h, struct span head, struct buf *seen)
{
    CHECK(h->n <= HTTP_HEADERS_MAX);
    for (uint32_t i = 0; i < h->n; i++) {
        CHECK(h->at[i].name.n > 0 && within(h->at[i].name, head));
        CHECK(within(h->at[i].value, head));
        CHECK(!memchr(h->at[i].name.p, ' ', h->at[i].name.n));
        CHECK(h->at[i].value.n == 0 || !memchr(h->at[i].value.p, '\n', h->at[i].value.n));
        put(seen, h->at[i].name);
        put(seen, h->at[i].value);
    }
    CHECK(http_header_count(h, "content-length") <= 1);
    CHECK(http_header_count(h, "transfer-encoding") <= 1);
}

static void check_target(const struct http_request *req, struct buf *seen)
{
    uint8_t *block = malloc(HTTP_HEAD_MAX);
    CHECK(block);
    struct scratch s;
    struct span rest = req->path;
    struct span a;
    struct span b;
    struct span text;
    scratch_init(&s, block, HTTP_HEAD_MAX);
    while (http_segment_next(&rest, &a)) {
        if (http_decode(a, 0, &s, &text) == CONFAB_OK) {
            CHECK(text.n <= a.n && utf8_valid(text.p, text.n));
            put(seen, text);
        }
    }
    rest = req->query;
    while (http_query_next(&rest, &a, &b)) {
        if (http_decode(b, HTTP_DECODE_PLUS, &s, &text) == CONFAB_OK) {
            CHECK(text.n <= b.n && utf8_valid(text.p, text.n));
            put(seen, text);
        }
    }
    if (http_query_get(req->query, "limit", &s, &text) == CONFAB_OK) {
        put(seen, text);
    }
    free(block);
}

static void check_request(const struct http_request *req, struct span head, struct buf *seen)
{
    CHECK(req->head_len == head.n && req->minor <= 1);
    CHECK(req->path.n > 0 && (req->path.p[0] == '/' || req->method == HTTP_OPTIONS));
    CHECK(req->minor == 0 || req->host.n > 0);
    CHECK(!(req->chunked && req->content_length > 0));
    CHECK(within(req->target, head) && within(req->query, head) && within(req->host, head));
    check_headers(&req->headers, head, seen);
    check_target(req, seen);
    put(seen, req->host);
    struct ws_upgrade up;
    const char *why = NULL;
    if (ws_upgrade_check(req, &up, &why) == CONFAB_OK) {
        CHECK(up.key.n == WS_KEY_TEXT && !req->chunked && req->content_length == 0);
        put(seen, up.key);
    } else {
        CHECK(why);
    }
}

struct peer {
    bool answers;
    bool over;
    bool in_body;
    struct http_scan scan;
    struct http_body body;
    struct buf kept;
    struct buf seen;
};

/* True when a message's head was taken. */
static bool take_head(struct peer *p)
{
    struct http_error err = {0, NULL};
    uint8_t *exact = malloc(p->kept.len + 1);
    CHECK(exact);
    if (p->kept.len > 0) {
        memcpy(exact, p->kept.data, p->kept.len);
    }
    struct span in = span_of(exact, p->kept.len);
    struct http_request req;
    struct http_response res;
    enum http_result r = p->answers ? http_response_parse(&p->scan, in, false, &res, &err)
                                    : http_request_parse(&p->scan, in, &req, &err);
    size_t len = 0;
    if (r == HTTP_DONE) {
        len = p->answers ? res.head_len : req.head_len;
        CHECK(len <= in.n && len <= HTTP_HEAD_MAX && memcmp(exact + len - 4, "\r\n\r\n", 4) == 0);
        if (p->answers) {
            check_headers(&res.headers, span_of(exact, len), &p->seen);
            http_body_init_response(&p->body, &res, BODY_MAX);
        } else {
            check_request(&req, span_of(exact, len), &p->seen);
            http_body_init_request(&p->body, &req, BODY_MAX);
        }
        p->scan = (struct http_scan){0};
        p->in_body = true;
        buf_consume(&p->kept, len);
    } else if (r == HTTP_BAD) {
        CHECK(err.why && err.status >= 400 && err.status <= 505);
        buf_put_u32(&p->seen, (uint32_t)err.status);
        p->over = true;
    }
    free(exact);
    return r == HTTP_DONE;
}

/* True when the body ended. */
static bool take_body(struct peer *p)
{
    struct http_error err = {0, NULL};
    for (;;) {
        size_t used = 0;
        struct span piece = {NULL, 0};
        struct span in = span_of(p->kept.data, p->kept.len);
        enum http_result r = http_body_next(&p->body, in, &used, &piece, &err);
        if (r == HTTP_BAD) {
            CHECK(err.why && err.status >= 400);
            buf_put_u32(&p->seen, (uint32_t)err.status);
            p->over = true;
            return false;
        }
        CHECK(used <= in.n && within(piece, span_of(in.p, used)));
        buf_put(&p->seen, piece.p, piece.n);
        CHECK(used > 0 || in.n == 0 || r == HTTP_DONE);
        buf_consume(&p->kept, used);
        if (r == HTTP_DONE) {
            p->in_body = false;
            return true;
        }
        if (p->kept.len == 0) {
            return false;
        }
    }
}

static void feed(struct peer *p, const uint8_t *in, size_t n)
{
    buf_put(&p->kept, in, n);
    while (!p->over && (p->in_body ? take_body(p) : take_head(p))) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 20000) {
        return 0;
    }
    size_t step = 1 + (data[0] >> 1 & 7);
    struct peer whole = {.answers = data[0] & 1};
    struct peer parts = {.answers = data[0] & 1};
    feed(&whole, data + 1, size - 1);
    step = size > 500 ? step * 101 : step;
    for (size_t at = 1; at < size; at += step) {
        feed(&parts, data + at, MIN(step, size - at));
    }
    CHECK(whole.over == parts.over);
    /* A body that is too large may have been handed out in part: then only the verdict is the same.
     */
    if (!whole.over) {
        CHECK(span_eq(span_of(whole.seen.data, whole.seen.len),
                      span_of(parts.seen.data, parts.seen.len)));
    }
    buf_deinit(&whole.kept);
    buf_deinit(&whole.seen);
    buf_deinit(&parts.kept);
    buf_deinit(&parts.seen);
    return 0;
}
