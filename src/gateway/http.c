/*
 * One request at a time: the bytes of a request stay at the front of the input until all of it is
 * there, so that the parsed head can borrow from them; only chunked bodies are copied. A request
 * that waits for the look-up of its token stays there too and is parsed again: rare, and simpler
 * than keeping it.
 */
#include "gateway/http.h"

#include "gateway/api.h"
#include "gateway/internal.h"
#include "gateway/pipe.h"
#include "gateway/session.h"
#include "gateway/static.h"

/* Chunk headers may make a body longer than its payload by this factor at most. */
#define RAW_FACTOR 4U

static enum metric status_metric(int status)
{
    if (status >= 500) {
        return METRIC_HTTP_5XX;
    }
    return status >= 400 ? METRIC_HTTP_4XX : status >= 300 ? METRIC_HTTP_3XX : METRIC_HTTP_2XX;
}

/* After the head and the body were queued: what becomes of the connection. */
static void http_answered(struct shard *s, struct conn *c, int status)
{
    struct http_state *h = &c->io->http;
    metrics_inc(s->metrics, status_metric(status));
    if (h->begun_ns != 0) {
        metrics_observe(s->metrics, METRIC_H_HTTP_REQUEST, s->now_ns - h->begun_ns);
        h->begun_ns = 0;
    }
    if (!h->keep_alive) {
        conn_finish(s, c);
        return;
    }
    conn_release(s, c, HOLD_CALL);
    conn_arm(s, c, s->cfg.idle_timeout_ms);
}

/* What the API answers is somebody's own, and may be a code or a password: no cache keeps it. */
static const char NO_STORE[] = "Cache-Control: no-store\r\n";

static void put_cors(const struct shard *s, const struct conn *c, struct buf *out)
{
    uint8_t page = c->io->http.cors;
    if (page != 0) {
        http_put_header_str(out, "Access-Control-Allow-Origin", s->deps.origins->origins[page - 1]);
        http_put_header_str(out, "Access-Control-Expose-Headers", "Retry-After");
        http_put_header_str(out, "Vary", "Origin");
    }
}

/* `file`: `extra` says what caches may do. */
static void answer_head(const struct shard *s, struct conn *c, struct buf *out, int status,
                        const char *type, size_t len, struct span extra, bool file)
{
    struct http_state *h = &c->io->http;
    h->keep_alive = h->keep_alive && !s->draining; /* it may have begun before */
    if (h->cors == 0 && (file || extra.n == 0)) {
        http_put_head(out, status, type, len, h->keep_alive, h->minor,
                      file ? extra : span_str(NO_STORE));
        return;
    }
    struct buf all = {0};
    buf_put(&all, extra.p, extra.n);
    buf_put_str(&all, file ? "" : NO_STORE);
    put_cors(s, c, &all);
    http_put_head(out, status, type, len, h->keep_alive, h->minor, span_of(all.data, all.len));
    out->failed = out->failed || !buf_ok(&all);
    buf_deinit(&all);
}

/*
 * Answers to GET that are worth it. Nothing else is compressed: secrets (tokens, tickets, codes,
 * keys) are only ever in answers to other methods, and text that somebody else chose beside a
 * secret, compressed, would tell it by its length (BREACH).
 */
static bool may_shrink(const struct shard *s, const struct conn *c, int status, const char *type,
                       size_t n)
{
    return s->cfg.http_gzip && c->io && c->io->http.is_get && status == 200 && type &&
           n >= s->cfg.http_gzip_min;
}

static void answer_one(struct shard *s, struct conn *c, int status, const char *type,
                       struct span body, struct span extra);

/* Of what would be compressed for somebody else. */
static const char VARY_ENCODING[] = "Vary: Accept-Encoding\r\n";

/* The same, compressed where the client takes that. */
static void answer_shrunk(struct shard *s, struct conn *c, const char *type, struct span body,
                          struct span extra)
{
    struct buf all = {0};
    struct span packed;
    buf_put(&all, extra.p, extra.n);
    buf_put_str(&all, VARY_ENCODING);
    if (c->io->http.gzip && pack_gzip(s, body, &packed)) {
        http_put_header_str(&all, "Content-Encoding", "gzip");
        body = packed;
    }
    if (buf_ok(&all)) {
        answer_one(s, c, 200, type, body, span_of(all.data, all.len));
    } else {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
    }
    buf_deinit(&all);
}

void http_answer(struct shard *s, struct conn *c, int status, const char *type, struct span body,
                 struct span extra)
{
    if (c->state != CONN_HTTP || !conn_io(s, c)) {
        return;
    }
    if (may_shrink(s, c, status, type, body.n)) {
        answer_shrunk(s, c, type, body, extra);
    } else {
        answer_one(s, c, status, type, body, extra);
    }
}

static void answer_one(struct shard *s, struct conn *c, int status, const char *type,
                       struct span body, struct span extra)
{
    struct buf out = {0};
    answer_head(s, c, &out, status, type, body.n, extra, false);
    if (!c->io->http.head_only) {
        buf_put(&out, body.p, body.n);
    }
    struct frame *f = buf_ok(&out) ? frame_of_buf(&out) : NULL;
    buf_deinit(&out);
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return;
    }
    bool ok = conn_push(s, c, f);
    frame_unref(f);
    if (ok) {
        http_answered(s, c, status);
    }
}

void http_answer_buf(struct shard *s, struct conn *c, int status, const char *type,
                     struct buf *body)
{
    bool shrinks = may_shrink(s, c, status, type, body->len);
    if (c->state == CONN_HTTP && !buf_ok(body)) {
        http_answer_error(s, c, CONFAB_NOMEM, NULL, NULL);
    } else if (c->state == CONN_HTTP && (c->io && c->io->http.head_only)) {
        struct buf out = {0};
        answer_head(s, c, &out, status, type, body->len, span_of(NULL, 0), false);
        bool ok = buf_ok(&out) && conn_push_bytes(s, c, span_of(out.data, out.len));
        buf_deinit(&out);
        if (ok) {
            http_answered(s, c, status);
        }
    } else if (c->state == CONN_HTTP && (body->len < 16384 || (shrinks && c->io->http.gzip))) {
        http_answer(s, c, status, type, span_of(body->data, body->len), span_of(NULL, 0));
    } else if (c->state == CONN_HTTP && conn_io(s, c)) {
        struct buf out = {0};
        answer_head(s, c, &out, status, type, body->len,
                    shrinks ? span_str(VARY_ENCODING) : span_of(NULL, 0), false);
        bool ok = buf_ok(&out) && conn_push_bytes(s, c, span_of(out.data, out.len));
        buf_deinit(&out);
        struct frame *f = ok ? frame_of_buf(body) : NULL;
        if (f && conn_push(s, c, f)) {
            http_answered(s, c, status);
        } else {
            conn_kill(s, c); /* half an answer cannot be taken back */
        }
        frame_unref(f);
    }
    buf_deinit(body);
}

void http_answer_static(struct shard *s, struct conn *c, int status, const char *type,
                        struct span body, const struct buf *extra)
{
    if (c->state != CONN_HTTP || !conn_io(s, c)) {
        return;
    }
    struct buf out = {0};
    answer_head(s, c, &out, status, type, body.n, span_of(extra->data, extra->len), true);
    bool ok = buf_ok(extra) && buf_ok(&out) && conn_push_bytes(s, c, span_of(out.data, out.len));
    buf_deinit(&out);
    if (ok && body.n > 0 && !c->io->http.head_only) {
        struct frame *f = frame_of_static(body);
        ok = f && conn_push(s, c, f);
        frame_unref(f);
    }
    if (ok) {
        http_answered(s, c, status);
    } else {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c); /* half an answer cannot be taken back */
    }
}

/* ---- Streams ---- */

bool http_stream_begin(struct shard *s, struct conn *c, const char *type, struct span extra)
{
    struct http_state *h = &c->io->http;
    struct buf out = {0};
    http_put_status(&out, 200);
    http_put_header_str(&out, "Content-Type", type);
    http_put_header_str(&out, "Connection", "close");
    if (h->minor > 0) {
        http_put_header_str(&out, "Transfer-Encoding", "chunked");
    }
    buf_put_str(&out, NO_STORE);
    put_cors(s, c, &out);
    buf_put(&out, extra.p, extra.n);
    http_put_end(&out);
    bool ok = buf_ok(&out) && conn_push_bytes(s, c, span_of(out.data, out.len));
    if (!buf_ok(&out)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
    }
    buf_deinit(&out);
    h->keep_alive = false;
    h->begun_ns = 0; /* how long it lasts says nothing about the server */
    metrics_inc(s->metrics, METRIC_HTTP_2XX);
    return ok;
}

bool http_stream_write(struct shard *s, struct conn *c, struct span bytes)
{
    struct buf out = {0};
    bool chunked = c->io->http.minor > 0;
    if (bytes.n == 0) {
        return true; /* an empty chunk would be the end */
    }
    if (chunked) {
        buf_printf(&out, "%zx\r\n", bytes.n);
    }
    buf_put(&out, bytes.p, bytes.n);
    buf_put_str(&out, chunked ? "\r\n" : "");
    struct frame *f = buf_ok(&out) ? frame_of_buf(&out) : NULL;
    buf_deinit(&out);
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    bool ok = conn_push(s, c, f);
    frame_unref(f);
    return ok;
}

void http_stream_end(struct shard *s, struct conn *c)
{
    if (c->io->http.minor == 0 || conn_push_bytes(s, c, span_str("0\r\n\r\n"))) {
        conn_finish(s, c);
    }
}

/* ---- Errors ---- */

static void answer_error(struct shard *s, struct conn *c, int status, enum confab_err code,
                         const char *message, const char *field, struct span extra,
                         uint32_t wait_ms)
{
    struct buf b = {0};
    struct buf head = {0};
    struct json_writer w;
    json_w_init(&w, &b);
    json_w_object(&w);
    json_w_key(&w, "error");
    json_w_object(&w);
    json_w_kcstr(&w, "code", err_wire(code));
    json_w_kcstr(&w, "message", message ? message : err_text(code));
    if (field) {
        json_w_kcstr(&w, "field", field);
    }
    json_w_object_end(&w);
    json_w_object_end(&w);
    buf_put(&head, extra.p, extra.n);
    if (status == 429 || status == 503) {
        http_put_header_u64(&head, "Retry-After", MAX((wait_ms + 999) / 1000, 1));
    } else if (status == 401) {
        http_put_header_str(&head, "WWW-Authenticate", "Bearer");
    }
    metrics_inc(s->metrics, metrics_of_error(code));
    http_answer(s, c, status, "application/json", span_of(b.data, b.len),
                span_of(head.data, head.len));
    buf_deinit(&b);
    buf_deinit(&head);
}

void http_answer_error_status(struct shard *s, struct conn *c, int status, enum confab_err code,
                              const char *message, const char *field, struct span extra)
{
    answer_error(s, c, status, code, message, field, extra, 0);
}

void http_answer_wait(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                      uint32_t wait_ms)
{
    answer_error(s, c, err_status(code), code, message, NULL, span_of(NULL, 0), wait_ms);
}

void http_answer_error(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                       const char *field)
{
    http_answer_error_status(s, c, err_status(code), code, message, field, span_of(NULL, 0));
}

/* What cannot be trusted any more is answered and closed. */
static void http_refuse(struct shard *s, struct conn *c, int status, const char *why)
{
    enum confab_err code = CONFAB_INVALID;
    if (status == 413 || status == 414 || status == 431) {
        code = CONFAB_TOO_LARGE;
    } else if (status == 501 || status == 505) {
        code = CONFAB_UNSUPPORTED;
    } else if (status == 408) {
        code = CONFAB_TIMEOUT;
    }
    if (conn_io(s, c)) {
        c->io->http.keep_alive = false;
        c->io->http.head_only = false;
        http_answer_error_status(s, c, status, code, why, NULL, span_of(NULL, 0));
    }
}

static void http_reset(struct shard *s, struct http_state *h)
{
    if (h->claim) {
        api_claim_release(s, h->claim); /* asked for, and then refused: not the next request's */
        h->claim = NULL;
    }
    h->scan = (struct http_scan){0};
    h->head_len = 0;
    h->raw_len = 0;
    h->begun = false;
    h->complete = false;
    h->auth_done = false;
    buf_deinit(&h->body_buf);
}

/* The head is whole: what is to be known of it without the bytes, and what is refused at once. */
static bool head_done(struct shard *s, struct conn *c, const struct http_request *req, size_t n)
{
    struct http_state *h = &c->io->http;
    h->head_len = (uint32_t)req->head_len;
    h->minor = req->minor;
    h->chunked = req->chunked;
    h->keep_alive = req->keep_alive && !s->draining;
    h->head_only = req->method == HTTP_HEAD;
    if (req->content_length > s->cfg.request_bytes_max) {
        metrics_inc(s->metrics, METRIC_BOUND_INPUT);
        http_refuse(s, c, 413, "the body is too large");
        return false;
    }
    h->raw_len = (uint32_t)req->content_length;
    if (req->chunked) {
        http_body_init_request(&h->body, req, s->cfg.request_bytes_max);
    }
    bool whole = !req->chunked && n >= (size_t)h->head_len + h->raw_len;
    if (!whole) {
        conn_arm(s, c, s->cfg.body_timeout_ms);
        if (req->expect_continue && n == h->head_len) {
            struct buf out = {0};
            http_put_continue(&out);
            bool ok = buf_ok(&out) && conn_push_bytes(s, c, span_of(out.data, out.len));
            buf_deinit(&out);
            return ok && c->state == CONN_HTTP;
        }
    }
    return true;
}

/* Decodes what is there of a chunked body. False: not complete yet, or refused. */
static bool chunks_done(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    struct http_state *h = &c->io->http;
    size_t at = (size_t)h->head_len + h->raw_len;
    for (;;) {
        size_t used = 0;
        struct span piece = {0};
        struct http_error err = {0};
        enum http_result r = http_body_next(&h->body, span_of(p + at, n - at), &used, &piece, &err);
        if (r == HTTP_BAD) {
            http_refuse(s, c, err.status, err.why);
            return false;
        }
        buf_put(&h->body_buf, piece.p, piece.n);
        at += used;
        h->raw_len += (uint32_t)used;
        if (!buf_ok(&h->body_buf)) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
            conn_kill(s, c);
            return false;
        }
        if (r == HTTP_DONE) {
            return true;
        }
        if (h->raw_len > RAW_FACTOR * s->cfg.request_bytes_max) {
            metrics_inc(s->metrics, METRIC_BOUND_INPUT);
            http_refuse(s, c, 413, "the chunks are too many");
            return false;
        }
        if (used == 0 || at == n) {
            return false;
        }
    }
}

static bool is_socket_path(const struct http_request *req)
{
    return span_is(req->path, "/ws");
}

/* What a page of another place may have made a browser send. False: answered. */
static bool place_ok(struct shard *s, struct conn *c, const struct http_request *req)
{
    const struct origin_rules *rules = s->deps.origins;
    if (!origin_host_ok(rules, req->host)) {
        metrics_inc(s->metrics, METRIC_ORIGIN_REFUSED_HOST);
        http_answer_error(s, c, CONFAB_FORBIDDEN_HOST, NULL, NULL);
        return false;
    }
    if (is_socket_path(req) && !origin_ok(rules, req, proxies_https(s, c, req))) {
        metrics_inc(s->metrics, METRIC_ORIGIN_REFUSED);
        http_answer_error(s, c, CONFAB_FORBIDDEN_ORIGIN, NULL, NULL);
        return false;
    }
    c->io->http.cors = (uint8_t)origin_cors(rules, req);
    return true;
}

/* Asked by a browser before it lets a page of another place send more than a form could. */
static bool is_preflight(const struct conn *c, const struct http_request *req)
{
    return req->method == HTTP_OPTIONS && c->io->http.cors != 0 &&
           http_header_get(&req->headers, "access-control-request-method").p;
}

static void answer_preflight(struct shard *s, struct conn *c)
{
    struct buf extra = {0};
    http_put_header_str(&extra, "Access-Control-Allow-Methods", "GET, POST, PUT, PATCH, DELETE");
    http_put_header_str(&extra, "Access-Control-Allow-Headers",
                        "Authorization, Content-Type, Idempotency-Key");
    http_put_header_str(&extra, "Access-Control-Max-Age", "600");
    http_answer(s, c, 204, NULL, span_of(NULL, 0), span_of(extra.data, extra.len));
    buf_deinit(&extra);
}

/* One request from the start of the bytes. 0: more is needed, or it waits. */
static size_t http_one(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    struct conn_io *io = conn_io(s, c);
    if (!io) {
        return 0;
    }
    struct http_state *h = &io->http;
    struct http_request *req = &s->request;
    struct http_error err = {0};
    bool parsed = false;
    if (!h->begun) {
        h->begun = true;
        h->cors = 0;
        conn_arm(s, c, s->cfg.header_timeout_ms);
    }
    if (h->head_len == 0) {
        enum http_result r = http_request_parse(&h->scan, span_of(p, n), req, &err);
        if (r == HTTP_BAD) {
            http_refuse(s, c, err.status, err.why);
            return n;
        }
        if (r == HTTP_MORE || !head_done(s, c, req, n)) {
            return 0;
        }
        parsed = true;
    }
    if (!h->complete) {
        h->complete = h->chunked ? chunks_done(s, c, p, n) : n >= (size_t)h->head_len + h->raw_len;
        if (!h->complete || c->state != CONN_HTTP) {
            return 0;
        }
    }
    if (!parsed) {
        h->scan = (struct http_scan){0};
        if (http_request_parse(&h->scan, span_of(p, n), req, &err) != HTTP_DONE) {
            conn_kill(s, c); /* cannot be: the same bytes were parsed before */
            return n;
        }
    }
    struct span body = h->chunked ? span_of(h->body_buf.data, h->body_buf.len)
                                  : span_of(p + h->head_len, h->raw_len);
    size_t total = (size_t)h->head_len + h->raw_len;
    h->begun_ns = s->now_ns;
    c->wire |= WIRE_ASKED;
    h->is_get = req->method == HTTP_GET;
    h->gzip = h->is_get && s->cfg.http_gzip && static_accepts_gzip(&req->headers);
    wheel_cancel(&s->wheel, &c->timer);
    scratch_reset(&s->scratch);
    if (c->wire & WIRE_PROXY) {
        proxies_note(s, c, req);
    }
    if (!place_ok(s, c, req)) {
        ; /* answered */
    } else if (is_preflight(c, req)) {
        answer_preflight(s, c);
    } else if (is_socket_path(req)) {
        session_upgrade(s, c, req);
    } else if (!static_serve(s, c, req)) {
        api_dispatch(s, c, req, body);
    }
    if (c->state == CONN_DEAD) {
        return n;
    }
    if (c->holds & HOLD_AUTH) {
        return 0;
    }
    http_reset(s, h);
    return total;
}

size_t http_input(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    size_t used = 0;
    while (used < n && c->state == CONN_HTTP && c->holds == 0) {
        size_t k = http_one(s, c, p + used, n - used);
        if (k == 0) {
            break;
        }
        used += k;
    }
    return used;
}

void http_timer(struct shard *s, struct conn *c)
{
    if (conn_is_pipe(c)) {
        pipe_timer(s, c);
        return;
    }
    if (c->holds & (HOLD_CALL | HOLD_AUTH)) {
        return;
    }
    if (c->out_bytes > 0) {
        uint64_t silent_ms = s->now_ms - (uint64_t)c->seen_s * 1000;
        if (silent_ms < s->cfg.write_timeout_ms) {
            conn_arm(s, c, s->cfg.write_timeout_ms);
            return;
        }
        metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
        conn_kill(s, c);
        return;
    }
    metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
    if (c->io && c->io->http.begun) {
        http_refuse(s, c, 408, "the request did not come in time");
    } else {
        conn_kill(s, c);
    }
}
