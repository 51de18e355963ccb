#include "confabd/redirect.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/os/net_epoll.h"
#include "base/clock.h"
#include "base/metrics.h"
#include "proto/http1.h"

#define ASK_MS    10000U /* for the whole head */
#define LINGER_MS 2000U  /* for the peer to take the answer and close */
#define UNWANTED  65536U
#define EVENTS    64
#define PORT_TLS  443

struct visitor {
    int handle; /* -1: free */
    bool answered;
    uint32_t unwanted; /* bytes that came behind the head */
    uint64_t due_ms;
    struct buf in;
};

struct redirect {
    struct redirect_config cfg;
    struct net *net;
    int listener;
    pthread_t thread;
    atomic_bool stop;
    struct metrics metrics;
    struct visitor at[REDIRECT_CONNS];
};

static uint64_t now_ms(void)
{
    return clock_mono_ns(clock_system()) / 1000000;
}

static void visitor_close(struct redirect *r, struct visitor *v)
{
    r->net->ops->close(r->net, v->handle);
    buf_deinit(&v->in);
    v->handle = -1;
}

static struct visitor *visitor_of(struct redirect *r, int handle)
{
    for (size_t i = 0; i < REDIRECT_CONNS; i++) {
        if (r->at[i].handle == handle) {
            return &r->at[i];
        }
    }
    return NULL;
}

/* A free place, if need be the oldest one's. */
static struct visitor *visitor_new(struct redirect *r)
{
    struct visitor *oldest = &r->at[0];
    struct visitor *v = visitor_of(r, -1);
    if (v) {
        return v;
    }
    for (size_t i = 1; i < REDIRECT_CONNS; i++) {
        oldest = r->at[i].due_ms < oldest->due_ms ? &r->at[i] : oldest;
    }
    metrics_inc(&r->metrics, METRIC_BOUND_REDIRECTS);
    visitor_close(r, oldest);
    return oldest;
}

static void accept_all(struct redirect *r)
{
    for (;;) {
        int handle = -1;
        struct net_peer peer;
        enum confab_err err = r->net->ops->accept(r->net, r->listener, &handle, &peer);
        if (err == CONFAB_AGAIN || err == CONFAB_LIMIT) {
            return;
        }
        if (err == CONFAB_OK) {
            struct visitor *v = visitor_new(r);
            *v = (struct visitor){.handle = handle, .due_ms = now_ms() + ASK_MS};
        }
    }
}

static void put_location(const struct redirect *r, const struct http_request *req, struct buf *out)
{
    struct span name = origin_host_name(req->host);
    struct buf to = {0};
    if (r->cfg.https_port != 0 && name.n > 0 && origin_host_ok(r->cfg.origins, req->host)) {
        buf_put_str(&to, "https://");
        buf_put(&to, name.p, name.n);
        if (r->cfg.https_port != PORT_TLS) {
            buf_printf(&to, ":%u", r->cfg.https_port);
        }
    } else {
        buf_put(&to, r->cfg.url, strlen(r->cfg.url) - 1);
    }
    if (req->path.n > 0 && req->path.p[0] == '/') {
        buf_put(&to, req->path.p, req->path.n);
    } else {
        buf_put_str(&to, "/");
    }
    if (req->query.p) {
        buf_put_str(&to, "?");
        buf_put(&to, req->query.p, req->query.n);
    }
    http_put_header(out, "Location", span_of(to.data, to.len));
    out->failed = out->failed || !buf_ok(&to);
    buf_deinit(&to);
}

/* The answer fits into the buffer of a socket that was just opened; where not, the visitor asks
 * again. */
static void answer(struct redirect *r, struct visitor *v, int status,
                   const struct http_request *req)
{
    struct buf out = {0};
    size_t n = 0;
    http_put_status(&out, status);
    if (req) {
        put_location(r, req, &out);
    }
    http_put_header_str(&out, "Connection", "close");
    http_put_header_u64(&out, "Content-Length", 0);
    http_put_end(&out);
    struct iovec iov = {out.data, out.len};
    bool sent =
        buf_ok(&out) && !r->net->ops->writev(r->net, v->handle, &iov, 1, &n) && n == out.len;
    buf_deinit(&out);
    metrics_inc(&r->metrics, sent && req ? METRIC_REDIRECTS_SENT : METRIC_REDIRECTS_REFUSED);
    if (!sent) {
        visitor_close(r, v);
        return;
    }
    /* Closing at once would take the answer back when more of the request is on its way. */
    r->net->ops->shutdown_write(r->net, v->handle);
    v->answered = true;
    v->due_ms = now_ms() + LINGER_MS;
    buf_deinit(&v->in);
}

static void head_look(struct redirect *r, struct visitor *v)
{
    struct http_scan scan = {0};
    struct http_request req;
    struct http_error why = {0};
    enum http_result got = http_request_parse(&scan, span_of(v->in.data, v->in.len), &req, &why);
    if (got == HTTP_DONE) {
        answer(r, v, 308, &req);
    } else if (got == HTTP_BAD) {
        answer(r, v, why.status, NULL);
    }
}

static void visitor_read(struct redirect *r, struct visitor *v)
{
    uint8_t bytes[4096];
    while (v->handle >= 0) {
        size_t n = 0;
        enum confab_err err = r->net->ops->recv(r->net, v->handle, bytes, sizeof(bytes), &n);
        if (err == CONFAB_AGAIN) {
            return;
        }
        v->unwanted += v->answered ? (uint32_t)n : 0;
        if (err != CONFAB_OK || v->unwanted > UNWANTED) {
            visitor_close(r, v);
            return;
        }
        if (v->answered) {
            continue;
        }
        buf_put(&v->in, bytes, n);
        if (!buf_ok(&v->in)) {
            visitor_close(r, v);
            return;
        }
        head_look(r, v);
    }
}

/* How long the next wait may be; -1: for ever. */
static int close_late(struct redirect *r)
{
    uint64_t now = now_ms();
    uint64_t next = UINT64_MAX;
    for (size_t i = 0; i < REDIRECT_CONNS; i++) {
        struct visitor *v = &r->at[i];
        if (v->handle >= 0 && v->due_ms <= now) {
            visitor_close(r, v);
        } else if (v->handle >= 0) {
            next = MIN(next, v->due_ms - now);
        }
    }
    return next == UINT64_MAX ? -1 : (int)next;
}

static void *run(void *arg)
{
    struct redirect *r = arg;
    struct net_event events[EVENTS];
    while (!atomic_load(&r->stop)) {
        int n = r->net->ops->poll(r->net, events, EVENTS, close_late(r));
        for (int i = 0; i < n; i++) {
            if (events[i].flags & NET_ACCEPT) {
                accept_all(r);
                continue;
            }
            struct visitor *v = visitor_of(r, events[i].handle);
            if (v) {
                visitor_read(r, v);
            }
        }
    }
    return NULL;
}

enum confab_err redirect_open(const struct redirect_config *cfg, struct redirect **ret)
{
    struct redirect *r = calloc(1, sizeof(*r));
    uint16_t bound;
    if (!r) {
        return CONFAB_NOMEM;
    }
    r->cfg = *cfg;
    for (size_t i = 0; i < REDIRECT_CONNS; i++) {
        r->at[i].handle = -1;
    }
    const struct net_epoll_listen at = {.address = cfg->address, .port = cfg->port, .first = true};
    enum confab_err err = net_epoll_open(&r->net);
    if (!err) {
        err = net_epoll_listen(r->net, &at, &r->listener, &bound);
    }
    metrics_register(&r->metrics, cfg->metrics_owner);
    if (!err && pthread_create(&r->thread, NULL, run, r) != 0) {
        err = CONFAB_IO;
    }
    if (err) {
        metrics_unregister(&r->metrics);
        net_epoll_close(r->net);
        free(r);
        return err;
    }
    (void)pthread_setname_np(r->thread, "redirect");
    *ret = r;
    return CONFAB_OK;
}

void redirect_close(struct redirect *r)
{
    if (!r) {
        return;
    }
    atomic_store(&r->stop, true);
    r->net->ops->wake(r->net);
    (void)pthread_join(r->thread, NULL);
    for (size_t i = 0; i < REDIRECT_CONNS; i++) {
        if (r->at[i].handle >= 0) {
            visitor_close(r, &r->at[i]);
        }
    }
    metrics_unregister(&r->metrics);
    net_epoll_close(r->net);
    free(r);
}
