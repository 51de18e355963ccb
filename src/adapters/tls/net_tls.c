#include "adapters/tls/net_tls.h"

#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/tls/tls_internal.h"
#include "base/check.h"
#include "base/diag.h"

#define HANDSHAKES_PER_POLL 32
#define WRITE_MAX           (256U << 10) /* of one call, then others get their turn */
#define DRAIN_READS         16

static const struct net_ops OPS;

static struct net_tls *tls_of(struct net *n)
{
    CHECK(n->ops == &OPS);
    return CONTAINER_OF(n, struct net_tls, base);
}

static struct tconn *conn_of(struct net_tls *n, int handle)
{
    DCHECK(handle >= 0 && handle < n->nslots && n->slots[handle].t);
    return n->slots[handle].t;
}

static void count(atomic_uint_fast64_t *c)
{
    (void)atomic_fetch_add_explicit(c, 1, memory_order_relaxed);
}

/* The queue has room for every handle: see slots_reserve. */
static void enqueue(struct tconn *t, uint8_t work)
{
    struct net_tls *n = t->n;
    struct slot *slot = &n->slots[t->handle];
    t->work |= work;
    if (!slot->queued) {
        CHECK(n->nqueue < n->queue_cap);
        slot->queued = true;
        n->queue[n->nqueue++] = t->handle;
    }
}

static bool ssl_make(struct tconn *t)
{
    SSL *ssl = tls_server_ssl_new(t->n->server);
    BIO *bio = BIO_new(t->n->server->bio);
    if (!ssl || !bio) {
        SSL_free(ssl);
        (void)BIO_free(bio);
        return false;
    }
    BIO_set_data(bio, t);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_accept_state(ssl);
    t->ssl = ssl;
    return true;
}

/* ---- Reading and writing, once open ---- */

/* After a call of OpenSSL's that read and gave nothing. */
static void read_failed(struct tconn *t, int r)
{
    switch (SSL_get_error(t->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        break;
    case SSL_ERROR_WANT_WRITE:
        t->bits |= BIT_READ_WANTS_WRITE;
        break;
    case SSL_ERROR_ZERO_RETURN:
        t->over = CONFAB_EOF;
        break;
    default:
        if (t->bits & BIT_END) {
            count(&t->n->server->truncated);
        }
        t->over = CONFAB_NET;
        break;
    }
}

/* Has the caller something to read: bytes of the application, or the end? */
static bool is_readable(struct tconn *t)
{
    if (t->over) {
        return true;
    }
    char c;
    ERR_clear_error();
    int r = SSL_peek(t->ssl, &c, 1);
    if (r > 0) {
        return true;
    }
    read_failed(t, r);
    return t->over != CONFAB_OK;
}

static enum confab_err op_recv(struct net *net, int handle, void *buf, size_t cap, size_t *ret_n)
{
    struct tconn *t = conn_of(tls_of(net), handle);
    size_t got = 0;
    if (t->state != STATE_OPEN) {
        return t->over ? t->over : CONFAB_AGAIN;
    }
    while (got < cap && !t->over) {
        size_t n = 0;
        ERR_clear_error();
        int r = SSL_read_ex(t->ssl, (char *)buf + got, cap - got, &n);
        if (r != 1) {
            read_failed(t, r);
            break;
        }
        got += n;
    }
    if (got == 0) {
        return t->over ? t->over : CONFAB_AGAIN;
    }
    if (t->over && got < cap) {
        enqueue(t, WORK_LOOK); /* the end stands behind a short read */
    }
    *ret_n = got;
    return CONFAB_OK;
}

/* The next bytes from `skip` on, at most a record: borrowed when they are in one piece. */
static const uint8_t *gather(struct net_tls *n, const struct iovec *iov, int niov, size_t skip,
                             size_t *ret_n)
{
    size_t len = 0;
    for (int i = 0; i < niov && len < RECORD_MAX; i++) {
        if (skip >= iov[i].iov_len) {
            skip -= iov[i].iov_len;
            continue;
        }
        const uint8_t *p = (const uint8_t *)iov[i].iov_base + skip;
        size_t left = iov[i].iov_len - skip;
        skip = 0;
        if (len == 0 && (left >= RECORD_MAX || i == niov - 1)) {
            *ret_n = MIN(left, RECORD_MAX);
            return p;
        }
        size_t take = MIN(left, RECORD_MAX - len);
        memcpy(n->block + len, p, take);
        len += take;
    }
    *ret_n = len;
    return n->block;
}

static enum confab_err op_writev(struct net *net, int handle, const struct iovec *iov, int niov,
                                 size_t *ret_n)
{
    struct net_tls *n = tls_of(net);
    struct tconn *t = conn_of(n, handle);
    size_t offered = 0;
    size_t done = 0;
    bool waits = false;
    for (int i = 0; i < niov; i++) {
        offered += iov[i].iov_len;
    }
    if (t->state < STATE_OPEN) {
        t->bits |= BIT_BLOCKED;
        return CONFAB_AGAIN;
    }
    if (t->state == STATE_REFUSED || t->over == CONFAB_NET || (t->bits & BIT_FINISH)) {
        return CONFAB_NET;
    }
    while (done < MIN(offered, WRITE_MAX) && !waits) {
        size_t len;
        size_t took = 0;
        const uint8_t *p = gather(n, iov, niov, done, &len);
        CHECK(len >= t->offered);
        len = t->offered > 0 ? t->offered : len;
        ERR_clear_error();
        int r = SSL_write_ex(t->ssl, p, len, &took);
        if (r == 1) {
            t->offered = 0;
            done += took;
            continue;
        }
        int why = SSL_get_error(t->ssl, r);
        if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) {
            t->over = CONFAB_NET;
            if (done == 0) {
                return CONFAB_NET;
            }
            enqueue(t, WORK_LOOK);
            break;
        }
        t->bits |= why == SSL_ERROR_WANT_READ ? BIT_WRITE_WANTS_READ : 0;
        t->offered = (uint32_t)len;
        waits = true;
    }
    if (waits) {
        t->bits |= BIT_BLOCKED;
        if (done == 0) {
            return CONFAB_AGAIN;
        }
    }
    *ret_n = done;
    return CONFAB_OK;
}

/* Ends our side of TLS, then that of the net below; goes on at WORK_WRITE where it must wait. */
static void finish(struct tconn *t)
{
    /* Behind half a record nothing can be said any more. */
    if (t->offered == 0 && t->over != CONFAB_NET) {
        ERR_clear_error();
        int r = SSL_shutdown(t->ssl);
        if (r < 0 && SSL_get_error(t->ssl, r) == SSL_ERROR_WANT_WRITE) {
            return;
        }
    }
    t->bits |= BIT_FINISHED;
    t->n->below->ops->shutdown_write(t->n->below, t->handle);
}

static void op_shutdown_write(struct net *net, int handle)
{
    struct tconn *t = conn_of(tls_of(net), handle);
    if (t->bits & BIT_FINISH) {
        return;
    }
    t->bits |= BIT_FINISH;
    if (t->state == STATE_OPEN) {
        finish(t);
    }
}

/* ---- Handshakes ---- */

static const char PLAIN_HTTP[] = "HTTP/1.1 400 Bad Request\r\n"
                                 "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Length: 58\r\n"
                                 "Connection: close\r\n"
                                 "\r\n"
                                 "This port speaks HTTPS: use https:// instead of http:// .\n";

/* From here on nothing is said, and what comes is dropped. */
static void refuse_rest(struct tconn *t)
{
    struct net *below = t->n->below;
    t->state = STATE_REFUSED;
    if (t->bits & BIT_END) {
        t->over = CONFAB_NET;
    }
    SSL_free(t->ssl);
    t->ssl = NULL;
    below->ops->shutdown_write(below, t->handle);
}

/* What is not TLS gets an answer that its sender can read; the rest has had OpenSSL's alert. */
static void handshake_refused(struct tconn *t)
{
    unsigned long why = ERR_peek_error();
    bool plain = ERR_GET_LIB(why) == ERR_LIB_SSL && ERR_GET_REASON(why) == SSL_R_HTTP_REQUEST;
    const char *text = ERR_reason_error_string(why);
    struct net *below = t->n->below;
    if (plain) {
        size_t n;
        struct iovec iov = {(void *)(uintptr_t)PLAIN_HTTP, sizeof(PLAIN_HTTP) - 1};
        /* Nothing was written before: it fits, or the peer is gone. */
        (void)below->ops->writev(below, t->handle, &iov, 1, &n);
        count(&t->n->server->plain_http);
    } else {
        count(&t->n->server->handshakes_failed);
    }
    diag_debug(DIAG_NET, "no TLS with a client | why=\"%s\"", text ? text : "the connection ended");
    refuse_rest(t);
}

static void handshake(struct tconn *t)
{
    if (!t->ssl && !ssl_make(t)) {
        t->state = STATE_REFUSED;
        t->over = CONFAB_NET;
        count(&t->n->server->handshakes_failed);
        return;
    }
    t->state = STATE_SHAKING;
    ERR_clear_error();
    int r = SSL_do_handshake(t->ssl);
    if (r == 1 && tls_challenge_is_one(t->ssl)) {
        count(&t->n->server->handshakes_ok);
        count(&t->n->server->challenged);
        (void)SSL_shutdown(t->ssl);
        refuse_rest(t);
        return;
    }
    if (r == 1) {
        t->state = STATE_OPEN;
        count(&t->n->server->handshakes_ok);
        if (SSL_session_reused(t->ssl)) {
            count(&t->n->server->resumed);
        }
        if (t->bits & BIT_PAUSED) {
            t->n->below->ops->pause_reading(t->n->below, t->handle, true);
        }
        if (t->bits & BIT_FINISH) {
            finish(t);
        }
        return;
    }
    int why = SSL_get_error(t->ssl, r);
    if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE) {
        handshake_refused(t);
    }
}

/* Closing at once, with input unread, would take our answer away from the peer. */
static void drop_input(struct tconn *t)
{
    for (int i = 0; i < DRAIN_READS; i++) {
        size_t n;
        enum confab_err err =
            t->n->below->ops->recv(t->n->below, t->handle, t->n->block, sizeof(t->n->block), &n);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err) {
            t->over = CONFAB_NET;
            return;
        }
        if (n < sizeof(t->n->block)) {
            return;
        }
    }
    enqueue(t, WORK_READ);
}

/* ---- Events ---- */

/* Looks at what is to be done for a connection; returns what its owner is to be told. */
static uint32_t step(struct tconn *t)
{
    uint8_t work = t->work;
    uint32_t flags = work & WORK_HANGUP ? NET_HANGUP : 0;
    bool opened = false;
    t->work = 0;
    if (work & (WORK_READ | WORK_HANGUP)) {
        t->bits &= (uint8_t)~BIT_DRY;
    }
    if (t->state < STATE_OPEN && (t->ssl || (work & WORK_READ))) {
        handshake(t);
        opened = t->state == STATE_OPEN;
    }
    if (t->state == STATE_REFUSED) {
        if (!t->over && (work & (WORK_READ | WORK_HANGUP))) {
            drop_input(t);
        }
        return flags | (t->over ? NET_READABLE : 0);
    }
    if (t->state != STATE_OPEN) {
        return flags;
    }
    if ((work & WORK_WRITE) && (t->bits & (BIT_FINISH | BIT_FINISHED)) == BIT_FINISH) {
        finish(t);
    }
    if ((work & WORK_WRITE) && (t->bits & BIT_READ_WANTS_WRITE)) {
        t->bits &= (uint8_t)~BIT_READ_WANTS_WRITE;
        work |= WORK_LOOK;
    }
    if ((opened || (work & (WORK_READ | WORK_HANGUP | WORK_LOOK))) && !(t->bits & BIT_PAUSED) &&
        is_readable(t)) {
        flags |= NET_READABLE;
    }
    bool unblocked = opened || (work & WORK_WRITE) || (t->bits & BIT_WRITE_WANTS_READ);
    if (unblocked && (t->bits & BIT_BLOCKED)) {
        t->bits &= (uint8_t) ~(BIT_BLOCKED | BIT_WRITE_WANTS_READ);
        flags |= NET_WRITABLE;
    }
    return flags;
}

static int run_queue(struct net_tls *n, struct net_event *events, int max)
{
    int shakes = 0;
    int out = 0;
    int i = 0;
    int all = n->nqueue;
    if (all == 0) {
        return 0; /* and perhaps no queue */
    }
    for (; i < all && out < max; i++) {
        int handle = n->queue[i];
        struct slot *slot = &n->slots[handle];
        struct tconn *t = slot->t;
        if (t && t->state < STATE_OPEN && ++shakes > HANDSHAKES_PER_POLL) {
            break; /* the others next time: signed in sessions do not wait for newcomers */
        }
        slot->queued = false;
        uint32_t flags = t ? step(t) : 0;
        if (flags != 0) {
            events[out++] = (struct net_event){handle, flags};
        }
    }
    n->nqueue -= i;
    memmove(n->queue, n->queue + i, (size_t)n->nqueue * sizeof(*n->queue));
    return out;
}

static int op_poll(struct net *net, struct net_event *events, int max, int timeout_ms)
{
    struct net_tls *n = tls_of(net);
    int out = 0;
    int got = n->below->ops->poll(n->below, n->events, MIN(max, EVENTS_MAX),
                                  n->nqueue > 0 ? 0 : timeout_ms);
    for (int i = 0; i < got; i++) {
        const struct net_event *e = &n->events[i];
        if (e->flags & NET_ACCEPT) {
            events[out++] = *e;
        } else if (e->handle >= 0 && e->handle < n->nslots && n->slots[e->handle].t) {
            uint8_t work = (uint8_t)((e->flags & NET_READABLE ? WORK_READ : 0) |
                                     (e->flags & NET_WRITABLE ? WORK_WRITE : 0) |
                                     (e->flags & NET_HANGUP ? WORK_HANGUP : 0));
            enqueue(n->slots[e->handle].t, work);
        }
    }
    return out + run_queue(n, events + out, max - out);
}

static enum confab_err slots_reserve(struct net_tls *n, int handle)
{
    if (handle < n->nslots) {
        return CONFAB_OK;
    }
    int cap = MAX(64, n->nslots);
    while (cap <= handle) {
        cap *= 2;
    }
    int *queue = realloc(n->queue, (size_t)cap * sizeof(*queue));
    if (!queue) {
        return CONFAB_NOMEM;
    }
    n->queue = queue;
    struct slot *slots = realloc(n->slots, (size_t)cap * sizeof(*slots));
    if (!slots) {
        return CONFAB_NOMEM;
    }
    memset(slots + n->nslots, 0, (size_t)(cap - n->nslots) * sizeof(*slots));
    n->slots = slots;
    n->nslots = n->queue_cap = cap;
    return CONFAB_OK;
}

static enum confab_err op_accept(struct net *net, int listener, int *ret_handle,
                                 struct net_peer *ret_peer)
{
    struct net_tls *n = tls_of(net);
    int handle;
    enum confab_err err = n->below->ops->accept(n->below, listener, &handle, ret_peer);
    if (err) {
        return err;
    }
    struct tconn *t = slots_reserve(n, handle) == CONFAB_OK ? calloc(1, sizeof(*t)) : NULL;
    if (!t) {
        n->below->ops->close(n->below, handle);
        return CONFAB_LIMIT;
    }
    t->n = n;
    t->handle = handle;
    DCHECK(!n->slots[handle].t);
    n->slots[handle].t = t;
    *ret_handle = handle;
    return CONFAB_OK;
}

static void op_pause_reading(struct net *net, int handle, bool paused)
{
    struct tconn *t = conn_of(tls_of(net), handle);
    if (((t->bits & BIT_PAUSED) != 0) == paused) {
        return;
    }
    t->bits ^= BIT_PAUSED;
    /* A handshake goes on meanwhile: it gives nobody anything to read. */
    if (t->state == STATE_OPEN) {
        t->n->below->ops->pause_reading(t->n->below, handle, paused);
        if (!paused && (t->over || SSL_has_pending(t->ssl))) {
            enqueue(t, WORK_LOOK);
        }
    }
}

static void conn_free(struct tconn *t)
{
    if (t->state == STATE_OPEN && !(t->bits & BIT_FINISH) && t->offered == 0 &&
        t->over != CONFAB_NET) {
        ERR_clear_error();
        (void)SSL_shutdown(t->ssl); /* what does not fit now is not worth waiting for */
    }
    t->n->slots[t->handle].t = NULL;
    SSL_free(t->ssl);
    free(t);
}

static void op_close(struct net *net, int handle)
{
    struct net_tls *n = tls_of(net);
    conn_free(conn_of(n, handle));
    n->below->ops->close(n->below, handle);
}

static void op_peer(struct net *net, int handle, struct net_peer *ret_peer)
{
    struct net_tls *n = tls_of(net);
    n->below->ops->peer(n->below, handle, ret_peer);
}

static void op_unlisten(struct net *net, int listener)
{
    struct net_tls *n = tls_of(net);
    n->below->ops->unlisten(n->below, listener);
}

static void op_wake(struct net *net)
{
    struct net_tls *n = tls_of(net);
    n->below->ops->wake(n->below);
}

enum confab_err net_tls_open(struct tls_server *server, struct net *below, struct net **ret)
{
    struct net_tls *n = calloc(1, sizeof(*n));
    if (!n) {
        return CONFAB_NOMEM;
    }
    n->base.ops = &OPS;
    n->below = below;
    n->server = server;
    *ret = &n->base;
    return CONFAB_OK;
}

void net_tls_close(struct net *net)
{
    if (!net) {
        return;
    }
    struct net_tls *n = tls_of(net);
    for (int i = 0; i < n->nslots; i++) {
        struct tconn *t = n->slots[i].t;
        if (t) {
            SSL_free(t->ssl);
            free(t);
        }
    }
    free(n->slots);
    free(n->queue);
    free(n);
}

static const struct net_ops OPS = {
    "tls",    1,         op_poll,          op_accept,
    op_recv,  op_writev, op_pause_reading, op_shutdown_write,
    op_close, op_wake,   op_peer,          op_unlisten,
};
