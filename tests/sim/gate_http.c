/* HTTP over the simulated network: one request, one answer, one connection. */
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"

enum { TIMEOUT_MS = 20000, BODY_MAX = 8 << 20 };

void http_begin(struct gate *g, struct http_call *c, const struct http_ask *ask)
{
    memset(c, 0, sizeof(*c));
    c->busy = true;
    c->deadline_ms = gate_now(g) + TIMEOUT_MS;
    http_put_request(&c->out, ask->method, span_str(ask->path), span_str("sim"));
    buf_printf(&c->out, "Authorization: Bearer %s\r\n", ask->token);
    if (ask->stream) {
        http_put_header_str(&c->out, "Accept", "text/event-stream");
    }
    if (ask->json.n > 0) {
        http_put_header_str(&c->out, "Content-Type", "application/json");
        http_put_header_u64(&c->out, "Content-Length", ask->json.n);
    }
    http_put_header_str(&c->out, "Connection", "close");
    http_put_end(&c->out);
    buf_put(&c->out, ask->json.p, ask->json.n);
    CHECK(buf_ok(&c->out));
    if (net_sim_connect(g->net, NET_SIM_ANY, &c->conn)) {
        c->conn = NULL;
    }
}

void http_end(struct http_call *c)
{
    net_sim_drop(c->conn);
    buf_deinit(&c->out);
    buf_deinit(&c->in);
    buf_deinit(&c->content);
    memset(c, 0, sizeof(*c));
}

/* True at the end of the answer, or when it cannot be read. */
static bool take(struct http_call *c)
{
    struct http_error bad;
    if (!c->in_body) {
        static struct http_response res;
        enum http_result r =
            http_response_parse(&c->scan, span_of(c->in.data, c->in.len), false, &res, &bad);
        if (r != HTTP_DONE) {
            return r == HTTP_BAD;
        }
        uint64_t after = 0;
        c->status = res.status;
        c->until_close = res.until_close;
        if (id_parse(http_header_get(&res.headers, "retry-after"), &after)) {
            c->retry_after_ms = after * 1000;
        }
        http_body_init_response(&c->body, &res, BODY_MAX);
        buf_consume(&c->in, res.head_len);
        c->in_body = true;
    }
    for (;;) {
        size_t used = 0;
        struct span piece = {NULL, 0};
        enum http_result r =
            http_body_next(&c->body, span_of(c->in.data, c->in.len), &used, &piece, &bad);
        if (r == HTTP_BAD) {
            c->status = 0;
            return true;
        }
        buf_put(&c->content, piece.p, piece.n);
        buf_consume(&c->in, used);
        if (r == HTTP_DONE) {
            return true;
        }
        if (used == 0) {
            return false;
        }
    }
}

bool http_pump(struct gate *g, struct http_call *c)
{
    enum confab_err err = c->conn ? CONFAB_OK : CONFAB_NET;
    while (!err && c->sent < c->out.len) {
        size_t n = 0;
        err = net_sim_send(c->conn, c->out.data + c->sent, c->out.len - c->sent, &n);
        c->sent += err ? 0 : n;
        if (n == 0) {
            break;
        }
    }
    if (err == CONFAB_AGAIN) {
        err = CONFAB_OK;
    }
    bool over = false;
    while (!err && !over) {
        uint8_t tmp[8192];
        size_t n = 0;
        err = net_sim_recv(c->conn, tmp, sizeof(tmp), &n);
        if (!err) {
            buf_put(&c->in, tmp, n);
            over = take(c);
        }
    }
    if (!over && err != CONFAB_AGAIN && err != CONFAB_OK) {
        over = true;
        c->status = c->in_body && c->until_close && err == CONFAB_EOF ? c->status : 0;
    }
    if (!over && gate_now(g) >= c->deadline_ms) {
        over = true;
        c->status = 0;
    }
    return over;
}
