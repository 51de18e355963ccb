#include "adapters/mem/net_sim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/list.h"
#include "base/random.h"

#define CHANCE_OF 10000U
#define NEVER     UINT64_MAX

/* Bytes of one write, and when they arrive. */
struct segment {
    uint64_t at_ns;
    size_t n;
};

/* One direction. `bytes` are those in flight and arrived, from `start` on. */
struct pipe {
    struct buf bytes;
    size_t start;
    struct segment *segments; /* from first_segment on, in order of arrival */
    uint32_t first_segment;
    uint32_t nsegments; /* end of the used part */
    uint32_t cap;
    size_t arrived;    /* bytes the receiver may take */
    uint64_t end_ns;   /* when the end arrives, NEVER when the sender goes on */
    uint64_t reset_ns; /* when a reset arrives */
    bool ended;        /* the sender is done */
    bool blocked;      /* the sender was told to wait */
};

struct net_sim_conn {
    struct list node; /* in sim->conns */
    struct net_sim *sim;
    struct pipe up;   /* client to server */
    struct pipe down; /* server to client */
    uint64_t stalled_until_ns;
    int handle; /* the server's, -1 before accept and after close */
    uint16_t shard;
    struct net_peer peer;
    bool waiting; /* in the backlog, since accept_ns */
    uint64_t accept_ns;
    bool client_open;
    bool broken; /* reset by either end: nothing more is sent */
    bool cut;    /* half-open */
    /* The server's view. */
    bool readable; /* an edge to report */
    bool writable;
    bool hangup;
    bool hangup_told;
    bool end_told;
    bool paused;
    size_t seen; /* arrived bytes that were reported */
};

struct sim_shard {
    struct net base;
    struct net_sim *sim;
    uint16_t index;
    int listener;
    bool woken;
    bool accept_edge;
    bool deaf; /* unlisten was called */
};

struct net_sim {
    struct net_sim_cfg cfg;
    struct random_seeded random;
    struct list conns;
    uint32_t nconns;
    struct net_sim_conn **handles; /* NULL: free; shards + conns_max of them */
    uint32_t nhandles;
    uint32_t top; /* handles from here on were never used */
    uint16_t next_port;
    bool down;
    struct sim_shard shards[NET_SIM_SHARDS_MAX];
};

static const struct net_ops OPS;

static struct sim_shard *shard_of(struct net *n)
{
    CHECK(n->ops == &OPS);
    return CONTAINER_OF(n, struct sim_shard, base);
}

static bool chance(struct net_sim *sim, uint32_t per_10000)
{
    return per_10000 > 0 && random_below(&sim->random.base, CHANCE_OF) < per_10000;
}

static uint64_t now_ns(struct net_sim *sim)
{
    return clock_mono_ns(&sim->cfg.clock->base);
}

static uint64_t arrival(struct net_sim *sim)
{
    uint64_t span = sim->cfg.delay_max_ns - sim->cfg.delay_min_ns;
    uint64_t delay = sim->cfg.delay_min_ns;
    if (span > 0) {
        delay += random_below(&sim->random.base, span + 1);
    }
    return now_ns(sim) + delay;
}

/* ---- Pipes ---- */

static void pipe_init(struct pipe *p)
{
    memset(p, 0, sizeof(*p));
    p->end_ns = NEVER;
    p->reset_ns = NEVER;
}

static void pipe_deinit(struct pipe *p)
{
    buf_deinit(&p->bytes);
    free(p->segments);
}

static size_t pipe_len(const struct pipe *p)
{
    return p->bytes.len - p->start;
}

static uint64_t pipe_last_ns(const struct pipe *p)
{
    return p->nsegments > p->first_segment ? p->segments[p->nsegments - 1].at_ns : 0;
}

static void pipe_append(struct pipe *p, const void *data, size_t n, uint64_t at_ns)
{
    if (p->nsegments == p->cap) {
        uint32_t used = p->nsegments - p->first_segment;
        if (used > 0) {
            memmove(p->segments, p->segments + p->first_segment, used * sizeof(*p->segments));
        }
        p->first_segment = 0;
        p->nsegments = used;
        if (used * 2 >= p->cap) {
            p->cap = MAX(16U, p->cap * 2);
            p->segments = realloc(p->segments, p->cap * sizeof(*p->segments));
            CHECK(p->segments); /* a simulation without memory proves nothing */
        }
    }
    buf_put(&p->bytes, data, n);
    CHECK(buf_ok(&p->bytes));
    p->segments[p->nsegments] = (struct segment){MAX(at_ns, pipe_last_ns(p)), n};
    p->nsegments++;
}

/* Moves what has arrived by `now` to where the receiver may take it. */
static void pipe_advance(struct pipe *p, uint64_t now)
{
    while (p->first_segment < p->nsegments && p->segments[p->first_segment].at_ns <= now) {
        p->arrived += p->segments[p->first_segment].n;
        p->first_segment++;
    }
}

static void pipe_take(struct pipe *p, void *out, size_t n)
{
    memcpy(out, p->bytes.data + p->start, n);
    p->start += n;
    p->arrived -= n;
    if (p->start == p->bytes.len) {
        p->start = 0;
        p->bytes.len = 0;
    } else if (p->start > p->bytes.len / 2) {
        buf_consume(&p->bytes, p->start);
        p->start = 0;
    }
}

/* What has not arrived yet is lost; what has arrived can still be read. */
static void pipe_end(struct pipe *p, uint64_t at_ns)
{
    if (!p->ended) {
        p->ended = true;
        p->end_ns = MAX(at_ns, pipe_last_ns(p));
    }
}

static bool pipe_end_seen(const struct pipe *p, uint64_t now)
{
    return p->end_ns <= now && p->first_segment == p->nsegments;
}

static bool pipe_reset_seen(const struct pipe *p, uint64_t now)
{
    return p->reset_ns <= now;
}

static uint64_t pipe_next_ns(const struct pipe *p, uint64_t now)
{
    uint64_t next = NEVER;
    if (p->first_segment < p->nsegments) {
        next = p->segments[p->first_segment].at_ns;
    } else if (p->end_ns > now) {
        next = p->end_ns;
    }
    if (p->reset_ns > now) {
        next = MIN(next, p->reset_ns);
    }
    return next;
}

/* ---- Connections ---- */

static bool conn_passes(const struct net_sim_conn *c)
{
    return !c->cut && now_ns(c->sim) >= c->stalled_until_ns;
}

static void conn_advance(struct net_sim_conn *c)
{
    if (!conn_passes(c)) {
        return;
    }
    uint64_t now = now_ns(c->sim);
    pipe_advance(&c->up, now);
    pipe_advance(&c->down, now);
    if (c->up.arrived > c->seen) {
        c->readable = true;
        c->seen = c->up.arrived;
    }
    if (!c->end_told && pipe_end_seen(&c->up, now)) {
        c->end_told = true;
        c->readable = true;
    }
    if (!c->hangup_told && pipe_reset_seen(&c->up, now)) {
        c->hangup_told = true;
        c->hangup = true;
    }
}

static void conn_free_if_over(struct net_sim_conn *c)
{
    if (c->client_open || c->handle >= 0 || c->waiting) {
        return;
    }
    list_remove(&c->node);
    c->sim->nconns--;
    pipe_deinit(&c->up);
    pipe_deinit(&c->down);
    free(c);
}

/* Both ends are told, each after its delay. */
static void conn_break(struct net_sim_conn *c)
{
    if (!c->broken) {
        c->broken = true;
        c->up.reset_ns = arrival(c->sim);
        c->down.reset_ns = arrival(c->sim);
    }
}

static int handle_take(struct net_sim *sim, struct net_sim_conn *c)
{
    for (uint32_t i = sim->cfg.shards; i < sim->nhandles; i++) {
        if (!sim->handles[i]) {
            sim->handles[i] = c;
            sim->top = MAX(sim->top, i + 1);
            return (int)i;
        }
    }
    return -1;
}

static struct net_sim_conn *conn_at(struct sim_shard *s, int handle)
{
    CHECK(handle >= 0 && (uint32_t)handle < s->sim->nhandles && s->sim->handles[handle]);
    struct net_sim_conn *c = s->sim->handles[handle];
    CHECK(c->shard == s->index); /* connections never migrate */
    return c;
}

/* How much of n bytes a write takes; 0 is CONFAB_AGAIN. Sets `blocked` when it is less than all. */
static size_t write_share(struct net_sim *sim, struct pipe *p, size_t n)
{
    size_t room = sim->cfg.pipe_bytes - MIN((size_t)sim->cfg.pipe_bytes, pipe_len(p));
    size_t take = MIN(room, n);
    if (take > 0 && chance(sim, sim->cfg.short_write)) {
        take = (size_t)random_below(&sim->random.base, take);
    }
    p->blocked = take < n;
    return take;
}

/* ---- The port ---- */

static bool shard_has_waiting(struct sim_shard *s)
{
    LIST_EACH(&s->sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        if (c->waiting && c->shard == s->index && c->accept_ns <= now_ns(s->sim)) {
            return true;
        }
    }
    return false;
}

static uint32_t conn_flags(struct net_sim_conn *c)
{
    conn_advance(c);
    /* A write that stopped only by chance has room at once; a full pipe, when some was read. */
    if (c->down.blocked && pipe_len(&c->down) < c->sim->cfg.pipe_bytes && conn_passes(c)) {
        c->writable = true;
    }
    return (c->readable && !c->paused ? (uint32_t)NET_READABLE : 0U) |
           (c->writable ? (uint32_t)NET_WRITABLE : 0U) | (c->hangup ? (uint32_t)NET_HANGUP : 0U);
}

static int op_poll(struct net *net, struct net_event *events, int max, int timeout_ms)
{
    (void)timeout_ms;
    struct sim_shard *s = shard_of(net);
    struct net_sim *sim = s->sim;
    s->woken = false;
    int n = 0;
    if (max > 0 && s->accept_edge && shard_has_waiting(s)) {
        s->accept_edge = false;
        events[n++] = (struct net_event){s->listener, NET_ACCEPT};
    }
    /* The order of handles would teach callers an order that epoll does not keep. */
    uint32_t first = sim->top > 0 ? (uint32_t)random_below(&sim->random.base, sim->top) : 0;
    for (uint32_t i = 0; i < sim->top && n < max; i++) {
        struct net_sim_conn *c = sim->handles[(first + i) % sim->top];
        if (!c || c->shard != s->index) {
            continue;
        }
        uint32_t flags = conn_flags(c);
        if (flags & NET_READABLE) {
            c->readable = false;
        }
        c->hangup = false;
        if (flags & NET_WRITABLE) {
            c->writable = false;
            c->down.blocked = false;
        }
        if (!c->paused && chance(sim, sim->cfg.spurious)) {
            flags |= NET_READABLE;
        }
        if (flags != 0) {
            events[n++] = (struct net_event){c->handle, flags};
        }
    }
    return n;
}

static enum confab_err op_accept(struct net *net, int listener, int *ret_handle,
                                 struct net_peer *ret_peer)
{
    struct sim_shard *s = shard_of(net);
    CHECK(listener == s->listener);
    LIST_EACH(&s->sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        if (!c->waiting || c->shard != s->index || c->accept_ns > now_ns(s->sim)) {
            continue;
        }
        int handle = chance(s->sim, s->sim->cfg.scarce) ? -1 : handle_take(s->sim, c);
        if (handle < 0) {
            s->accept_edge = true; /* as the epoll adapter: it comes again */
            return CONFAB_LIMIT;
        }
        c->waiting = false;
        c->handle = handle;
        *ret_peer = c->peer;
        *ret_handle = handle;
        return CONFAB_OK;
    }
    s->accept_edge = true;
    return CONFAB_AGAIN;
}

static void op_peer(struct net *net, int handle, struct net_peer *ret_peer)
{
    *ret_peer = conn_at(shard_of(net), handle)->peer;
}

static void op_unlisten(struct net *net, int listener)
{
    struct sim_shard *s = shard_of(net);
    CHECK(listener == s->listener);
    s->deaf = true;
}

static enum confab_err pipe_recv(struct net_sim_conn *c, struct pipe *p, void *buf, size_t cap,
                                 size_t *ret_n, bool *ret_more)
{
    struct net_sim *sim = c->sim;
    uint64_t now = now_ns(sim);
    *ret_more = false;
    if (conn_passes(c) && pipe_reset_seen(p, now)) {
        return CONFAB_NET;
    }
    size_t n = MIN(cap, p->arrived);
    if (n > 1 && chance(sim, sim->cfg.short_read)) {
        n = 1 + (size_t)random_below(&sim->random.base, n - 1);
    }
    if (n > 0) {
        pipe_take(p, buf, n);
        /* Behind a short read more may stand, or the end: the caller stops and needs an edge. */
        *ret_more = n < cap && (p->arrived > 0 || (conn_passes(c) && pipe_end_seen(p, now)));
        *ret_n = n;
        return CONFAB_OK;
    }
    return conn_passes(c) && pipe_end_seen(p, now) ? CONFAB_EOF : CONFAB_AGAIN;
}

static enum confab_err op_recv(struct net *net, int handle, void *buf, size_t cap, size_t *ret_n)
{
    struct net_sim_conn *c = conn_at(shard_of(net), handle);
    conn_advance(c);
    bool more;
    enum confab_err err = pipe_recv(c, &c->up, buf, cap, ret_n, &more);
    c->seen = c->up.arrived;
    /* A read with nothing left takes the edge of what it read with it. */
    c->readable = more || (err == CONFAB_OK && c->readable && c->up.arrived > 0);
    return err;
}

static enum confab_err op_writev(struct net *net, int handle, const struct iovec *iov, int niov,
                                 size_t *ret_n)
{
    struct net_sim_conn *c = conn_at(shard_of(net), handle);
    size_t offered = 0;
    for (int i = 0; i < niov; i++) {
        offered += iov[i].iov_len;
    }
    CHECK(!c->down.ended);
    if (pipe_reset_seen(&c->up, now_ns(c->sim)) && conn_passes(c)) {
        return CONFAB_NET;
    }
    /* Sent to a client that closed its end: it answers with a reset. */
    if (chance(c->sim, c->sim->cfg.reset) || (!c->client_open && !c->cut)) {
        conn_break(c);
    }
    size_t left = write_share(c->sim, &c->down, offered);
    if (left == 0 && offered > 0) {
        return CONFAB_AGAIN;
    }
    *ret_n = left;
    uint64_t at = arrival(c->sim);
    for (int i = 0; i < niov && left > 0; i++) {
        size_t n = MIN(left, iov[i].iov_len);
        if (!c->broken && n > 0) {
            pipe_append(&c->down, iov[i].iov_base, n, at);
        }
        left -= n;
    }
    return CONFAB_OK;
}

static void op_pause_reading(struct net *net, int handle, bool paused)
{
    struct net_sim_conn *c = conn_at(shard_of(net), handle);
    if (c->paused && !paused) {
        conn_advance(c);
        c->readable =
            c->up.arrived > 0 || (conn_passes(c) && pipe_end_seen(&c->up, now_ns(c->sim)));
    }
    c->paused = paused;
}

static void op_shutdown_write(struct net *net, int handle)
{
    struct net_sim_conn *c = conn_at(shard_of(net), handle);
    pipe_end(&c->down, arrival(c->sim));
}

static void op_close(struct net *net, int handle)
{
    struct sim_shard *s = shard_of(net);
    struct net_sim_conn *c = conn_at(s, handle);
    conn_advance(c);
    /* As TCP: closing with bytes unread, or that come later, resets. */
    if (c->up.arrived > 0) {
        conn_break(c);
    }
    pipe_end(&c->down, arrival(c->sim));
    s->sim->handles[handle] = NULL;
    c->handle = -1;
    conn_free_if_over(c);
}

static void op_wake(struct net *net)
{
    shard_of(net)->woken = true;
}

/* ---- The world ---- */

static void shards_init(struct net_sim *sim)
{
    for (uint16_t i = 0; i < sim->cfg.shards; i++) {
        sim->shards[i] = (struct sim_shard){
            .base = {.ops = &OPS}, .sim = sim, .index = i, .listener = i, .accept_edge = true};
    }
}

void net_sim_set_chances(struct net_sim *sim, const struct net_sim_cfg *cfg)
{
    CHECK(cfg->delay_max_ns >= cfg->delay_min_ns);
    sim->cfg.delay_min_ns = cfg->delay_min_ns;
    sim->cfg.delay_max_ns = cfg->delay_max_ns;
    sim->cfg.short_read = cfg->short_read;
    sim->cfg.short_write = cfg->short_write;
    sim->cfg.spurious = cfg->spurious;
    sim->cfg.reset = cfg->reset;
    sim->cfg.scarce = cfg->scarce;
}

enum confab_err net_sim_open(const struct net_sim_cfg *cfg, struct net_sim **ret)
{
    CHECK(cfg->shards > 0 && cfg->shards <= NET_SIM_SHARDS_MAX);
    struct net_sim *sim = calloc(1, sizeof(*sim));
    if (!sim) {
        return CONFAB_NOMEM;
    }
    sim->cfg = *cfg;
    sim->cfg.conns_max = cfg->conns_max ? cfg->conns_max : 4096;
    sim->cfg.backlog_max = cfg->backlog_max ? cfg->backlog_max : 128;
    sim->cfg.pipe_bytes = cfg->pipe_bytes ? cfg->pipe_bytes : 65536;
    net_sim_set_chances(sim, cfg);
    random_seeded_init(&sim->random, cfg->seed);
    list_init(&sim->conns);
    /* Room for any number of shards later. */
    sim->nhandles = NET_SIM_SHARDS_MAX + sim->cfg.conns_max;
    sim->handles = calloc(sim->nhandles, sizeof(*sim->handles));
    if (!sim->handles) {
        free(sim);
        return CONFAB_NOMEM;
    }
    sim->next_port = 20000;
    shards_init(sim);
    *ret = sim;
    return CONFAB_OK;
}

void net_sim_close(struct net_sim *sim)
{
    if (!sim) {
        return;
    }
    LIST_EACH(&sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        c->client_open = false;
        c->waiting = false;
        c->handle = -1;
        conn_free_if_over(c);
    }
    free(sim->handles);
    free(sim);
}

struct net *net_sim_shard(struct net_sim *sim, uint16_t shard)
{
    CHECK(shard < sim->cfg.shards);
    return &sim->shards[shard].base;
}

int net_sim_listener(const struct net_sim *sim, uint16_t shard)
{
    CHECK(shard < sim->cfg.shards);
    return sim->shards[shard].listener;
}

bool net_sim_is_ready(struct net_sim *sim, uint16_t shard)
{
    struct sim_shard *s = &sim->shards[shard];
    if (s->woken || (s->accept_edge && shard_has_waiting(s))) {
        return true;
    }
    LIST_EACH(&sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        if (c->shard == shard && c->handle >= 0 && conn_flags(c) != 0) {
            return true;
        }
    }
    return false;
}

void net_sim_crash(struct net_sim *sim)
{
    sim->down = true;
    LIST_EACH(&sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        conn_break(c);
        if (c->handle >= 0) {
            sim->handles[c->handle] = NULL;
        }
        c->handle = -1;
        c->waiting = false;
        conn_free_if_over(c);
    }
}

void net_sim_restart(struct net_sim *sim, uint16_t shards)
{
    CHECK(sim->down && shards > 0 && shards <= NET_SIM_SHARDS_MAX);
    sim->cfg.shards = shards;
    sim->down = false;
    shards_init(sim);
}

uint64_t net_sim_next_ns(struct net_sim *sim)
{
    uint64_t now = now_ns(sim);
    uint64_t next = NEVER;
    LIST_EACH(&sim->conns, it)
    {
        struct net_sim_conn *c = LIST_ENTRY(it, struct net_sim_conn, node);
        if (c->cut) {
            continue;
        }
        uint64_t at = MIN(pipe_next_ns(&c->up, now), pipe_next_ns(&c->down, now));
        if (c->stalled_until_ns > now) {
            at = c->stalled_until_ns;
        }
        if (c->waiting) {
            at = MIN(at, c->accept_ns);
        }
        next = MIN(next, at);
    }
    return next == NEVER ? NEVER : MAX(next, now);
}

/* ---- Clients ---- */

enum confab_err net_sim_connect(struct net_sim *sim, uint16_t shard, struct net_sim_conn **ret)
{
    if (sim->down) {
        return CONFAB_NET;
    }
    if (shard == NET_SIM_ANY) {
        shard = (uint16_t)random_below(&sim->random.base, sim->cfg.shards);
    }
    CHECK(shard < sim->cfg.shards);
    if (sim->shards[shard].deaf) {
        return CONFAB_NET;
    }
    uint32_t waiting = 0;
    LIST_EACH(&sim->conns, it)
    {
        struct net_sim_conn *other = LIST_ENTRY(it, struct net_sim_conn, node);
        waiting += other->waiting && other->shard == shard;
    }
    if (waiting >= sim->cfg.backlog_max) {
        return CONFAB_NET;
    }
    struct net_sim_conn *c = calloc(1, sizeof(*c));
    if (!c) {
        return CONFAB_NOMEM;
    }
    c->sim = sim;
    pipe_init(&c->up);
    pipe_init(&c->down);
    c->handle = -1;
    c->shard = shard;
    (void)snprintf(c->peer.address, sizeof(c->peer.address), "127.0.0.1");
    c->peer.port = sim->next_port++;
    c->waiting = true;
    c->accept_ns = arrival(sim);
    c->client_open = true;
    list_push_back(&sim->conns, &c->node);
    sim->nconns++;
    *ret = c;
    return CONFAB_OK;
}

void net_sim_set_address(struct net_sim_conn *c, const char *address)
{
    (void)snprintf(c->peer.address, sizeof(c->peer.address), "%s", address);
}

enum confab_err net_sim_recv(struct net_sim_conn *c, void *buf, size_t cap, size_t *ret_n)
{
    CHECK(c->client_open);
    conn_advance(c);
    bool more;
    return pipe_recv(c, &c->down, buf, cap, ret_n, &more);
}

bool net_sim_is_readable(struct net_sim_conn *c)
{
    conn_advance(c);
    uint64_t now = now_ns(c->sim);
    return c->down.arrived > 0 ||
           (conn_passes(c) && (pipe_end_seen(&c->down, now) || pipe_reset_seen(&c->down, now)));
}

enum confab_err net_sim_send(struct net_sim_conn *c, const void *buf, size_t n, size_t *ret_n)
{
    CHECK(c->client_open && !c->up.ended);
    if (conn_passes(c) && pipe_reset_seen(&c->down, now_ns(c->sim))) {
        return CONFAB_NET;
    }
    if (chance(c->sim, c->sim->cfg.reset)) {
        conn_break(c);
    }
    size_t take = write_share(c->sim, &c->up, n);
    if (take == 0 && n > 0) {
        return CONFAB_AGAIN;
    }
    /* Sent to a server that closed its end: it answers with a reset. */
    if (c->handle < 0 && !c->waiting) {
        conn_break(c);
    }
    if (!c->broken) {
        pipe_append(&c->up, buf, take, arrival(c->sim));
    }
    *ret_n = take;
    return CONFAB_OK;
}

void net_sim_finish(struct net_sim_conn *c)
{
    pipe_end(&c->up, arrival(c->sim));
}

void net_sim_reset(struct net_sim_conn *c)
{
    conn_break(c);
}

void net_sim_vanish(struct net_sim_conn *c)
{
    c->cut = true;
}

void net_sim_stall(struct net_sim_conn *c, uint64_t until_ns)
{
    c->stalled_until_ns = MAX(c->stalled_until_ns, until_ns);
}

void net_sim_drop(struct net_sim_conn *c)
{
    if (!c) {
        return;
    }
    CHECK(c->client_open);
    conn_advance(c);
    if (c->down.arrived > 0) {
        conn_break(c);
    }
    pipe_end(&c->up, arrival(c->sim));
    c->client_open = false;
    conn_free_if_over(c);
}

static const struct net_ops OPS = {
    "sim",    1,         op_poll,          op_accept,
    op_recv,  op_writev, op_pause_reading, op_shutdown_write,
    op_close, op_wake,   op_peer,          op_unlisten,
};
