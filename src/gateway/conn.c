/*
 * Connections. Readiness is edge triggered and nothing is ever paused in the net: a connection
 * whose input may not be processed now simply remembers that there is some (CONN_UNREAD), so a
 * request costs no system call besides its read and its write.
 *
 * Lists through the connections use 32-bit indices. A dead connection may still be in the lists of
 * dirty and ready ones and in the queues of those to be written in bulk or read later; it is freed
 * in the first free phase that finds it in none of them.
 */
#include "gateway/conn.h"

#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/carrier.h"
#include "gateway/http.h"
#include "gateway/internal.h"
#include "gateway/pipe.h"
#include "gateway/session.h"

#define ACCEPTS_PER_TURN 256
#define READS_PER_TURN   4
#define INDEX_BITS       24U
#define GENERATION_MASK  0x7fffffffU
#define DRAIN_LINGER_MS  500U
#define LOADED_WAIT_MS   5000U

_Static_assert(sizeof(struct conn) <= 128, "an idle session is two cache lines");

enum confab_err conns_init(struct shard *s)
{
    slab_init(&s->conns, sizeof(struct conn), s->cfg.connections_max);
    conns_output_init(s);
    wheel_init(&s->wheel, 10, s->now_ms);
    s->dirty = s->ready = s->dead = SLAB_NONE;
    s->hold_until_ms = s->now_ms + LOADED_WAIT_MS;
    return CONFAB_OK;
}

static void conn_free_io(struct conn *c)
{
    if (c->io) {
        buf_deinit(&c->io->in);
        buf_deinit(&c->io->fragments);
        buf_deinit(&c->io->http.body_buf);
        api_claim_free(c->io->http.claim);
        free(c->io);
        c->io = NULL;
    }
}

void conns_deinit(struct shard *s)
{
    for (uint32_t i = 0; i < s->conns_high; i++) {
        struct conn *c = conn_at(s, i);
        if (c) {
            conn_kill(s, c);
        }
    }
    s->dirty = s->ready = SLAB_NONE;
    while (s->dead != SLAB_NONE) {
        struct conn *c = slab_get(&s->conns, s->dead);
        c->flags = 0;
        c->later = false;
        conns_free_dead(s);
    }
    slab_deinit(&s->conns);
    slab_deinit(&s->chunks);
    conn_ring_deinit(&s->bulk);
    conn_ring_deinit(&s->later);
    free(s->by_handle);
    s->by_handle = NULL;
}

size_t conns_bytes(const struct shard *s)
{
    return slab_bytes(&s->conns) + slab_bytes(&s->chunks) + s->nhandles * sizeof(uint32_t) +
           conn_ring_bytes(&s->bulk) + conn_ring_bytes(&s->later) + u64map_bytes(&s->sessions);
}

uint64_t conn_id(const struct shard *s, const struct conn *c)
{
    return ((uint64_t)s->cfg.shard + 1) << (INDEX_BITS + 31) |
           (uint64_t)c->generation << INDEX_BITS | c->index;
}

struct conn *conn_at(struct shard *s, uint32_t index)
{
    if (index >= s->conns_high) {
        return NULL;
    }
    struct conn *c = slab_get(&s->conns, index);
    return c->state < CONN_DEAD ? c : NULL;
}

struct conn *conn_of_id(struct shard *s, uint64_t id)
{
    if (id >> (INDEX_BITS + 31) != (uint64_t)s->cfg.shard + 1) {
        return NULL;
    }
    struct conn *c = conn_at(s, (uint32_t)(id & ((1U << INDEX_BITS) - 1)));
    return c && c->generation == ((id >> INDEX_BITS) & GENERATION_MASK) ? c : NULL;
}

/* ---- Accepting ---- */

static bool handle_slot(struct shard *s, int handle)
{
    uint32_t need = (uint32_t)handle + 1;
    if (need > s->nhandles) {
        uint32_t n = MAX(need, s->nhandles * 2);
        n = MAX(n, 64U);
        uint32_t *p = realloc(s->by_handle, n * sizeof(*p));
        if (!p) {
            return false;
        }
        for (uint32_t i = s->nhandles; i < n; i++) {
            p[i] = SLAB_NONE;
        }
        s->by_handle = p;
        s->nhandles = n;
    }
    return true;
}

static bool is_loopback(const char *address)
{
    return strncmp(address, "127.", 4) == 0 || strcmp(address, "::1") == 0 ||
           strncmp(address, "::ffff:127.", 11) == 0;
}

/* What all kinds begin with. NULL: no place, or no memory. */
static struct conn *conn_make(struct shard *s, int handle)
{
    uint32_t index;
    if (slab_alloc(&s->conns, &index)) {
        metrics_inc(s->metrics, METRIC_BOUND_SESSIONS);
        return NULL;
    }
    struct conn *c = slab_get(&s->conns, index);
    wheel_timer_init(&c->timer);
    c->handle = handle;
    c->index = index;
    s->generation = (s->generation + 1) & GENERATION_MASK;
    c->generation = s->generation;
    c->next_of_user = c->next_dirty = c->next_ready = SLAB_NONE;
    c->out_head = c->out_tail = SLAB_NONE;
    c->seen_s = (uint32_t)(s->now_ms / 1000);
    s->conns_high = MAX(s->conns_high, index + 1);
    return c;
}

static void conns_gauge(struct shard *s)
{
    metrics_gauge_set(s->metrics, METRIC_CONNECTIONS, slab_count(&s->conns) - s->ncarried);
}

struct conn *conn_new_carried(struct shard *s)
{
    struct conn *c = conn_make(s, -1);
    if (c) {
        c->state = CONN_CARRIED;
        s->ncarried++;
    }
    return c;
}

static void conn_accepted(struct shard *s, int handle, const struct net_peer *peer)
{
    struct conn *c = handle >= 0 && handle_slot(s, handle) ? conn_make(s, handle) : NULL;
    if (!c) {
        metrics_inc(s->metrics, METRIC_CONNECTIONS_REFUSED);
        s->deps.net->ops->close(s->deps.net, handle);
        return;
    }
    c->state = CONN_HTTP;
    c->flags = is_loopback(peer->address) ? CONN_LOOPBACK : 0;
    c->wire = proxy_is_trusted(s->deps.proxies, peer->address) ? WIRE_PROXY : 0;
    s->by_handle[handle] = c->index;
    metrics_inc(s->metrics, METRIC_CONNECTIONS_ACCEPTED);
    conns_gauge(s);
    /* From here on as if its first byte had come: opening and saying nothing has a deadline too. */
    conn_arm(s, c, s->cfg.header_timeout_ms);
}

void conn_accept_all(struct shard *s)
{
    s->accept_more = false;
    if (s->draining || s->deps.listener < 0) {
        return;
    }
    if (!auth_state_is_loaded(s->deps.auth) && s->now_ms < s->hold_until_ms) {
        /* No token can be judged yet. Those who wait at a socket that was open before us have no
         * use for being told so, unless it takes long. */
        s->accept_more = true;
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int handle = -1;
        struct net_peer peer = {0};
        enum confab_err err =
            s->deps.net->ops->accept(s->deps.net, s->deps.listener, &handle, &peer);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err) {
            /* Out of descriptors, or a connection that broke in the queue: look again later. */
            metrics_inc(s->metrics, METRIC_CONNECTIONS_REFUSED);
            s->accept_more = true;
            return;
        }
        conn_accepted(s, handle, &peer);
    }
    s->accept_more = true;
    s->busy = true;
}

/* ---- Input ---- */

struct conn_io *conn_io(struct shard *s, struct conn *c)
{
    if (!c->io) {
        c->io = calloc(1, sizeof(*c->io));
        if (!c->io) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
            conn_kill(s, c);
        }
    }
    return c->io;
}

void conn_io_trim(struct shard *s, struct conn *c)
{
    (void)s;
    struct conn_io *io = c->io;
    if (io && !(c->flags & CONN_WORKING) && io->in.len == 0 && io->fragments.len == 0 &&
        !io->http.begun && io->http.expect_user == 0 && !(c->holds & HOLD_CALL)) {
        conn_free_io(c);
    }
}

/* Hands bytes to the protocol; returns how many are done with. */
static size_t conn_process(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    size_t used = 0;
    uint8_t state;
    c->flags |= CONN_WORKING;
    do {
        state = c->state;
        if (state == CONN_HTTP) {
            used += http_input(s, c, p + used, n - used);
        } else if (state == CONN_WS || state == CONN_WS_CLOSING) {
            used += session_input(s, c, p + used, n - used);
        } else {
            used = n; /* lingering: what still comes is not wanted */
        }
    } while (c->state != state && used < n);
    c->flags &= (uint16_t)~CONN_WORKING;
    return used;
}

static void conn_input(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    struct conn_io *io = c->io;
    bool kept = io && io->in.len > 0;
    if (kept) {
        if (n > 0) {
            buf_put(&io->in, p, n);
        }
        p = io->in.data;
        n = io->in.len;
    }
    size_t used = io && !buf_ok(&io->in) ? 0 : conn_process(s, c, p, n);
    if (c->state == CONN_DEAD) {
        return;
    }
    if (kept) {
        buf_consume(&io->in, used);
        if (io->in.len == 0) {
            buf_deinit(&io->in);
        }
    } else if (used < n) {
        io = conn_io(s, c);
        if (!io) {
            return;
        }
        buf_put(&io->in, p + used, n - used);
    }
    if (c->io && !buf_ok(&c->io->in)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return;
    }
    session_partial(s, c);
    conn_io_trim(s, c);
}

void conn_settle(struct shard *s, struct conn *c)
{
    if (c->state != CONN_DEAD && (c->flags & CONN_PEER_DONE) && c->holds == 0 &&
        c->out_head == SLAB_NONE) {
        conn_kill(s, c);
    }
}

static void conn_eof(struct shard *s, struct conn *c)
{
    /* A half-closed HTTP client still gets its answers; a WebSocket without a close frame is gone.
     */
    if (c->state == CONN_WS) {
        conn_kill(s, c);
        return;
    }
    c->flags |= CONN_PEER_DONE;
    conn_settle(s, c);
}

static void ready_push(struct shard *s, struct conn *c)
{
    if (!(c->flags & CONN_READY)) {
        c->flags |= CONN_READY;
        c->next_ready = s->ready;
        s->ready = c->index;
    }
}

static void conn_read(struct shard *s, struct conn *c)
{
    for (int i = 0; i < READS_PER_TURN; i++) {
        if (conn_is_pipe(c) && c->io->http.pipe.open) {
            pipe_watch(s, c);
            return;
        }
        if (c->holds && (c->state == CONN_HTTP || c->state == CONN_WS)) {
            c->flags |= CONN_UNREAD;
            return;
        }
        size_t n = 0;
        enum confab_err err =
            s->deps.net->ops->recv(s->deps.net, c->handle, s->input, sizeof(s->input), &n);
        metrics_inc(s->metrics, METRIC_READS);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err == CONFAB_EOF) {
            conn_eof(s, c);
            return;
        }
        if (err) {
            conn_kill(s, c);
            return;
        }
        metrics_add(s->metrics, METRIC_BYTES_IN, n);
        c->seen_s = (uint32_t)(s->now_ms / 1000);
        c->flags &= (uint16_t)~CONN_PINGED;
        conn_input(s, c, s->input, n);
        if (c->state == CONN_DEAD) {
            return;
        }
        if (n < sizeof(s->input)) {
            return; /* a short read: drained, the next byte is a new edge */
        }
    }
    c->flags |= CONN_UNREAD;
    ready_push(s, c);
}

/* True: it waits for conn_read_later. */
static bool put_off(struct shard *s, struct conn *c)
{
    if (!c->acked_last || c->state != CONN_WS) {
        return false;
    }
    if (!c->later) {
        c->later = conn_ring_push(&s->later, c->index);
    }
    if (c->later) {
        c->flags |= CONN_UNREAD;
    }
    return c->later;
}

bool conn_read_later(struct shard *s)
{
    while (s->later.n > 0) {
        struct conn *c = slab_get(&s->conns, conn_ring_pop(&s->later));
        c->later = false;
        if (c->state != CONN_DEAD && (c->flags & CONN_UNREAD)) {
            c->flags &= (uint16_t)~CONN_UNREAD;
            conn_read(s, c);
            return true;
        }
    }
    return false;
}

bool conn_on_event(struct shard *s, int handle, uint32_t flags)
{
    if (handle < 0 || (uint32_t)handle >= s->nhandles || s->by_handle[handle] == SLAB_NONE) {
        return true;
    }
    struct conn *c = slab_get(&s->conns, s->by_handle[handle]);
    if (c->state == CONN_DEAD) {
        return true;
    }
    bool later = (flags & (NET_READABLE | NET_HANGUP)) == NET_READABLE && put_off(s, c);
    if ((flags & NET_READABLE) && !later) {
        conn_read(s, c);
    }
    if (c->state != CONN_DEAD && (flags & NET_HANGUP)) {
        conn_kill(s, c);
    }
    if (c->state != CONN_DEAD && (flags & NET_WRITABLE) && (c->flags & CONN_BLOCKED)) {
        c->flags &= (uint16_t)~CONN_BLOCKED;
        /* The peer has taken something. It may be all there is to see of it: above the bound of its
         * queue nothing is read from it, and a ping waits behind what is queued. */
        c->seen_s = (uint32_t)(s->now_ms / 1000);
        conn_touch_bulk(s, c);
    }
    return !later;
}

void conn_hold(struct shard *s, struct conn *c, uint8_t hold)
{
    (void)s;
    c->holds |= hold;
}

void conn_release(struct shard *s, struct conn *c, uint8_t hold)
{
    bool held = c->holds != 0;
    c->holds &= (uint8_t)~hold;
    if (held && c->holds == 0 && !(c->flags & CONN_WORKING)) {
        ready_push(s, c);
    }
}

bool conns_resume(struct shard *s)
{
    uint32_t at = s->ready;
    bool any = at != SLAB_NONE;
    s->ready = SLAB_NONE;
    while (at != SLAB_NONE) {
        struct conn *c = slab_get(&s->conns, at);
        at = c->next_ready;
        c->flags &= (uint16_t)~CONN_READY;
        if (c->state == CONN_DEAD || (c->holds && (c->state == CONN_HTTP || conn_is_session(c)))) {
            continue;
        }
        if (c->state == CONN_CARRIED) {
            carrier_resume(s, c);
            continue;
        }
        if (c->io && c->io->in.len > 0) {
            conn_input(s, c, NULL, 0);
        } else {
            conn_io_trim(s, c);
        }
        if (c->state != CONN_DEAD && (c->flags & CONN_UNREAD)) {
            c->flags &= (uint16_t)~CONN_UNREAD;
            conn_read(s, c);
        }
        conn_settle(s, c);
    }
    return any;
}

/* ---- End ---- */

void conn_arm(struct shard *s, struct conn *c, uint32_t after_ms)
{
    wheel_set(&s->wheel, &c->timer, s->now_ms + after_ms);
}

void conn_kill(struct shard *s, struct conn *c)
{
    if (c->state == CONN_DEAD) {
        return;
    }
    if (c->state == CONN_CARRIED) {
        carrier_dying(s, c);
    } else if (conn_is_pipe(c)) {
        pipe_dying(s, c);
    }
    if (c->user != 0) {
        session_closed(s, c);
    }
    c->state = CONN_DEAD;
    c->flags &= (uint16_t) ~(CONN_LIVE | CONN_RESUMING);
    wheel_cancel(&s->wheel, &c->timer);
    conn_output_drop(s, c);
    c->next_of_user = s->dead;
    s->dead = c->index;
    if (c->handle >= 0) {
        metrics_inc(s->metrics, METRIC_CONNECTIONS_CLOSED);
    }
}

void conn_finish(struct shard *s, struct conn *c)
{
    if (c->state == CONN_DEAD || c->state == CONN_LINGER) {
        return;
    }
    if (conn_is_pipe(c)) {
        pipe_dying(s, c);
    }
    if (c->user != 0) {
        session_closed(s, c);
    }
    c->state = CONN_LINGER;
    c->flags |= CONN_FINISH;
    c->flags &= (uint16_t) ~(CONN_LIVE | CONN_RESUMING);
    c->holds = 0;
    if (c->io) {
        c->io->http.begun = false;
        c->io->http.expect_user = 0;
        buf_clear(&c->io->fragments);
    }
    conn_arm(s, c, s->cfg.write_timeout_ms);
    ready_push(s, c); /* what is unread goes away */
    conn_touch(s, c);
}

/* A peer that is asked to close and does not must not hold up the end of the server. */
uint32_t conn_linger_ms(const struct shard *s)
{
    return s->draining ? MIN(s->cfg.write_timeout_ms, DRAIN_LINGER_MS) : s->cfg.write_timeout_ms;
}

void conns_free_dead(struct shard *s)
{
    uint32_t at = s->dead;
    s->dead = SLAB_NONE;
    while (at != SLAB_NONE) {
        struct conn *c = slab_get(&s->conns, at);
        at = c->next_of_user;
        if (c->later || (c->flags & (CONN_DIRTY | CONN_READY | CONN_BULK))) {
            c->next_of_user = s->dead;
            s->dead = c->index;
            continue;
        }
        if (c->handle < 0) {
            carrier_free(c->carrier);
            s->ncarried--;
        } else {
            s->deps.net->ops->close(s->deps.net, c->handle);
            s->by_handle[c->handle] = SLAB_NONE;
        }
        conn_free_io(c);
        rates_forget(s, c);
        slab_free(&s->conns, c->index);
        conns_gauge(s);
    }
}
