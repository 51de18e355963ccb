#include "client/io_http.h"

#include <poll.h>
#include <stdlib.h>

#include "base/id.h"

#define READ_BYTES      65536U
#define RETRY_AFTER_MAX 86400U

void chttp_init(struct chttp *x, uint64_t body_max)
{
    memset(x, 0, sizeof(*x));
    cconn_init(&x->conn);
    x->body_max = body_max;
}

void chttp_reset(struct chttp *x)
{
    buf_deinit(&x->out);
    buf_deinit(&x->in);
    buf_deinit(&x->content);
    x->sent = 0;
    x->phase = CHTTP_IDLE;
    x->err = CONFAB_OK;
    x->status = 0;
    x->retry_after_ms = 0;
}

void chttp_deinit(struct chttp *x)
{
    chttp_reset(x);
    cconn_close(&x->conn);
}

static void finish(struct chttp *x, enum confab_err err)
{
    x->phase = CHTTP_DONE;
    x->err = err;
    if (err) {
        x->status = 0;
        buf_clear(&x->content);
    }
    if (err || !x->keep_alive) {
        cconn_close(&x->conn);
    }
}

void chttp_fail(struct chttp *x, enum confab_err err)
{
    finish(x, err);
}

/* A kept connection that ended before the first byte of the answer: the server had given it up. */
static void broken(struct chttp *x)
{
    bool again = x->reused && x->repeatable && x->in.len == 0 && x->phase <= CHTTP_HEAD;
    if (!again) {
        finish(x, CONFAB_NET);
        return;
    }
    x->reused = false;
    x->sent = 0;
    x->phase = CHTTP_CONNECT;
    enum confab_err err = cconn_open(&x->conn, x->host, x->port);
    if (err) {
        finish(x, err);
    }
}

void chttp_begin(struct chttp *x, const char *host, const char *port, struct span authority,
                 const struct chttp_request *req, uint64_t timeout_ms, uint64_t now)
{
    chttp_reset(x);
    memset(&x->scan, 0, sizeof(x->scan));
    x->host = host;
    x->port = port;
    x->keep_alive = false;
    x->deadline_ms = timeout_ms == UINT64_MAX ? UINT64_MAX : now + timeout_ms;
    x->endless = req->stream;
    bool get = strcmp(req->method, "GET") == 0;
    x->repeatable = get || req->repeatable;
    struct buf target = {0};
    buf_put(&target, x->base.p, x->base.n);
    buf_put(&target, req->path.p, req->path.n);
    http_put_request(&x->out, req->method, span_of(target.data, target.len), authority);
    x->out.failed = x->out.failed || !buf_ok(&target);
    buf_deinit(&target);
    if (req->token.n > 0) {
        buf_put_str(&x->out, "Authorization: Bearer ");
        buf_put(&x->out, req->token.p, req->token.n);
        buf_put_str(&x->out, "\r\n");
    }
    http_put_header_str(&x->out, "Accept", req->stream ? "text/event-stream" : "application/json");
    if (req->body.n > 0) {
        http_put_header_str(&x->out, "Content-Type", "application/json");
    }
    if (req->body.n > 0 || !get) {
        http_put_header_u64(&x->out, "Content-Length", req->body.n);
    }
    http_put_end(&x->out);
    buf_put(&x->out, req->body.p, req->body.n);
    if (!buf_ok(&x->out)) {
        finish(x, CONFAB_NOMEM);
        return;
    }
    x->reused = cconn_is_open(&x->conn) && x->repeatable;
    x->phase = x->reused ? CHTTP_SEND : CHTTP_CONNECT;
    if (!x->reused) {
        enum confab_err err = cconn_open(&x->conn, host, port);
        if (err) {
            finish(x, err);
        }
    }
}

static void read_head(struct chttp *x)
{
    struct http_response *res = malloc(sizeof(*res));
    if (!res) {
        finish(x, CONFAB_NOMEM);
        return;
    }
    struct http_error bad;
    for (;;) {
        enum http_result r =
            http_response_parse(&x->scan, span_of(x->in.data, x->in.len), false, res, &bad);
        if (r == HTTP_BAD) {
            finish(x, CONFAB_INVALID);
        }
        if (r != HTTP_DONE) {
            break;
        }
        bool interim = res->status >= 100 && res->status < 200 && res->status != 101;
        uint64_t after = 0;
        x->status = res->status;
        x->keep_alive = res->keep_alive && !res->until_close;
        x->until_close = res->until_close;
        if (id_parse(http_header_get(&res->headers, "retry-after"), &after) &&
            after <= RETRY_AFTER_MAX) {
            x->retry_after_ms = after * 1000;
        }
        http_body_init_response(&x->body, res, x->endless ? UINT64_MAX : x->body_max);
        buf_consume(&x->in, res->head_len);
        memset(&x->scan, 0, sizeof(x->scan));
        if (!interim) {
            x->phase = CHTTP_BODY;
            break;
        }
    }
    free(res);
}

static void read_body(struct chttp *x)
{
    size_t used = 0;
    for (;;) {
        size_t consumed = 0;
        struct span piece = span_of(NULL, 0);
        struct http_error bad;
        enum http_result r = http_body_next(&x->body, span_of(x->in.data + used, x->in.len - used),
                                            &consumed, &piece, &bad);
        if (r == HTTP_BAD) {
            finish(x, bad.status == 413 ? CONFAB_TOO_LARGE : CONFAB_INVALID);
            return;
        }
        buf_put(&x->content, piece.p, piece.n);
        used += consumed;
        if (!buf_ok(&x->content)) {
            finish(x, CONFAB_NOMEM);
            return;
        }
        if (r == HTTP_DONE) {
            /* Nothing was asked for that could come behind it. */
            x->keep_alive = x->keep_alive && used == x->in.len;
            finish(x, CONFAB_OK);
            return;
        }
        if (consumed == 0 || used == x->in.len) {
            break;
        }
    }
    buf_consume(&x->in, used);
}

/* False when there is nothing more to read now. */
static bool receive(struct chttp *x)
{
    size_t n = 0;
    if (!buf_reserve(&x->in, READ_BYTES)) {
        finish(x, CONFAB_NOMEM);
        return false;
    }
    enum confab_err err = cconn_read(&x->conn, x->in.data + x->in.len, READ_BYTES, &n);
    if (err == CONFAB_AGAIN) {
        return false;
    }
    if (err == CONFAB_EOF && x->phase == CHTTP_BODY && x->until_close) {
        finish(x, CONFAB_OK);
        return false;
    }
    if (err) {
        broken(x);
        return false;
    }
    x->in.len += n;
    if (x->phase == CHTTP_HEAD) {
        read_head(x);
    }
    if (x->phase == CHTTP_BODY) {
        read_body(x);
    }
    return true;
}

bool chttp_step(struct chttp *x, uint64_t now)
{
    enum confab_err err;
    for (;;) {
        if (x->phase == CHTTP_IDLE || x->phase == CHTTP_DONE) {
            return x->phase == CHTTP_DONE;
        }
        if (now >= x->deadline_ms) {
            finish(x, CONFAB_TIMEOUT);
            return true;
        }
        if (x->phase == CHTTP_CONNECT) {
            err = cconn_progress(&x->conn);
            if (err == CONFAB_AGAIN) {
                return false;
            }
            if (err) {
                finish(x, err);
                return true;
            }
            x->phase = CHTTP_SEND;
        } else if (x->phase == CHTTP_SEND) {
            size_t n = 0;
            err = cconn_write(&x->conn, x->out.data + x->sent, x->out.len - x->sent, &n);
            if (err == CONFAB_AGAIN) {
                return false;
            }
            if (err) {
                broken(x);
                continue;
            }
            x->sent += n;
            if (x->sent == x->out.len) {
                x->phase = CHTTP_HEAD;
            }
        } else if (!receive(x) && x->phase >= CHTTP_HEAD && x->phase != CHTTP_DONE) {
            return false;
        }
    }
}

short chttp_events(const struct chttp *x)
{
    if (x->phase == CHTTP_CONNECT) {
        return cconn_events(&x->conn);
    }
    return x->phase == CHTTP_SEND ? POLLOUT : POLLIN;
}
