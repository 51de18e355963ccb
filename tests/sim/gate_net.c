/*
 * The network as a server sees it: there for as long as its process lives. Also the place of
 * planted faults that show in what a server writes: each frame passes here, whole, on its way to
 * one connection.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"

#define HANDLES     8192U
#define EARLY_MS    20U
#define FRAME_EVENT "{\"event\":\""
#define PIPE_ENOUGH (16U << 20) /* a frame is never cut */

/* By handle: what a planted fault must know of a connection. */
struct gate_wire {
    bool attaching[HANDLES]; /* between hello, or resync, and caught_up */
    bool live[HANDLES];
    uint16_t shard[HANDLES];
};

static bool has_wire_bug(const struct gate *g)
{
    enum sim_bug bug = g->sim->options.bug;
    return bug == BUG_SKIPPED_SESSION || bug == BUG_DEAF_ATTACH || bug == BUG_EARLY_TOKEN ||
           bug == BUG_LEAKED_RECEIPT || bug == BUG_LEAKED_PRESENCE || bug == BUG_LOST_PRESENCE;
}

void gate_wire_init(struct gate *g)
{
    if (has_wire_bug(g)) {
        g->wire = calloc(1, sizeof(*g->wire));
        CHECK(g->wire);
        g->chances.pipe_bytes = PIPE_ENOUGH;
        g->chances.short_write = 0;
    }
}

void gate_wire_reset(struct gate *g)
{
    if (g->wire) {
        memset(g->wire, 0, sizeof(*g->wire));
    }
}

void gate_wire_free(struct gate *g)
{
    free(g->wire);
}

static struct gate_net *net_of(struct net *n)
{
    return CONTAINER_OF(n, struct gate_net, base);
}
static struct net *below(struct net *n)
{
    return net_sim_shard(net_of(n)->g->net, net_of(n)->shard);
}
static int gn_poll(struct net *n, struct net_event *events, int max, int timeout_ms)
{
    return net_of(n)->g->dead ? 0 : below(n)->ops->poll(below(n), events, max, timeout_ms);
}
static enum confab_err gn_accept(struct net *n, int listener, int *ret_handle,
                                 struct net_peer *ret_peer)
{
    return net_of(n)->g->dead ? CONFAB_AGAIN
                              : below(n)->ops->accept(below(n), listener, ret_handle, ret_peer);
}
static enum confab_err gn_recv(struct net *n, int handle, void *buf, size_t cap, size_t *ret_n)
{
    return net_of(n)->g->dead ? CONFAB_NET : below(n)->ops->recv(below(n), handle, buf, cap, ret_n);
}

/* ---- planted faults ---------------------------------------------------------------------- */

/* The text of a server's frame; empty when it is something else. */
static struct span frame_text(const struct iovec *iov)
{
    const uint8_t *p = iov->iov_base;
    if (iov->iov_len < 2 || p[0] != 0x81) {
        return span_of(NULL, 0);
    }
    size_t head = p[1] == 126 ? 4 : p[1] == 127 ? 10 : 2;
    return iov->iov_len <= head ? span_of(NULL, 0) : span_of(p + head, iov->iov_len - head);
}

static bool is_event(struct span text, const char *name)
{
    struct span start = span_str(FRAME_EVENT);
    size_t n = strlen(name);
    return text.n > start.n + n && memcmp(text.p, start.p, start.n) == 0 &&
           memcmp(text.p + start.n, name, n) == 0 && text.p[start.n + n] == '"';
}

/* The token in `frame`, made a little newer than it may be. Its length stays. */
static void make_token_newer(uint8_t *frame, size_t n)
{
    static const char before[] = "\"since\":\"2-";
    uint8_t *at = memmem(frame, n, before, sizeof(before) - 1);
    CHECK(at);
    at += sizeof(before) - 1;
    uint8_t *end = memchr(at, '"', (size_t)(frame + n - at));
    CHECK(end);
    at = memchr(at, '-', (size_t)(end - at)); /* behind the epoch */
    CHECK(at);
    at++;
    uint64_t ms = strtoull((const char *)at, NULL, 16) + EARLY_MS;
    char hex[20];
    int len = snprintf(hex, sizeof(hex), "%llx", (unsigned long long)ms);
    if (len == end - at) {
        memcpy(at, hex, (size_t)len);
    }
}

/* Somebody else's connection gets it as well. */
static void leak(struct net *n, int handle, const struct iovec *iov)
{
    struct gate *g = net_of(n)->g;
    size_t done;
    for (int tries = 0; tries < 20; tries++) {
        int other = (int)sim_below(g->sim, 400);
        if (other != handle && g->wire->live[other] && g->wire->shard[other] == net_of(n)->shard) {
            (void)!below(n)->ops->writev(below(n), other, iov, 1, &done);
            return;
        }
    }
}

/* True when the frame is not to be sent. `copy` is what is sent, and may be changed. */
static bool tamper(struct net *n, int handle, const struct iovec *iov, uint8_t *copy)
{
    struct gate *g = net_of(n)->g;
    struct sim *s = g->sim;
    struct gate_wire *w = g->wire;
    struct span text = frame_text(iov);
    bool message = is_event(text, "new_message");
    if (is_event(text, "hello") || is_event(text, "resync")) {
        w->attaching[handle] = true;
        w->live[handle] = false;
    } else if (is_event(text, "caught_up")) {
        w->attaching[handle] = false;
        w->live[handle] = true;
        w->shard[handle] = net_of(n)->shard;
    }
    switch (s->options.bug) {
    case BUG_SKIPPED_SESSION:
        return message && w->live[handle] && sim_one_in(s, 20);
    case BUG_DEAF_ATTACH:
        return message && w->attaching[handle];
    case BUG_EARLY_TOKEN:
        if (is_event(text, "caught_up")) {
            make_token_newer(copy, iov->iov_len);
        }
        return false;
    case BUG_LEAKED_RECEIPT:
        if (is_event(text, "delivery_receipt") && sim_one_in(s, 10)) {
            leak(n, handle, iov);
        }
        return false;
    case BUG_LEAKED_PRESENCE:
        if (is_event(text, "presence_update") && sim_one_in(s, 10)) {
            leak(n, handle, iov);
        }
        return false;
    case BUG_LOST_PRESENCE:
        return is_event(text, "presence_update") && w->live[handle] && sim_one_in(s, 50);
    default:
        return false;
    }
}

static enum confab_err write_tampered(struct net *n, int handle, const struct iovec *iov, int niov,
                                      size_t *ret_n)
{
    size_t sum = 0;
    for (int i = 0; i < niov; i++) {
        size_t done = iov[i].iov_len;
        uint8_t *copy = malloc(iov[i].iov_len);
        CHECK(copy && (uint32_t)handle < HANDLES);
        memcpy(copy, iov[i].iov_base, iov[i].iov_len);
        struct iovec one = {.iov_base = copy, .iov_len = iov[i].iov_len};
        enum confab_err err = tamper(n, handle, &iov[i], copy)
                                  ? CONFAB_OK
                                  : below(n)->ops->writev(below(n), handle, &one, 1, &done);
        free(copy);
        if (err) {
            return err;
        }
        CHECK(done == iov[i].iov_len);
        sum += done;
    }
    *ret_n = sum;
    return CONFAB_OK;
}

/* ---- the port ---------------------------------------------------------------------------- */

static enum confab_err gn_writev(struct net *n, int handle, const struct iovec *iov, int niov,
                                 size_t *ret_n)
{
    if (net_of(n)->g->dead) {
        return CONFAB_NET;
    }
    if (net_of(n)->g->wire) {
        return write_tampered(n, handle, iov, niov, ret_n);
    }
    return below(n)->ops->writev(below(n), handle, iov, niov, ret_n);
}
static void gn_pause(struct net *n, int handle, bool paused)
{
    if (!net_of(n)->g->dead) {
        below(n)->ops->pause_reading(below(n), handle, paused);
    }
}
static void gn_shutdown(struct net *n, int handle)
{
    if (!net_of(n)->g->dead) {
        below(n)->ops->shutdown_write(below(n), handle);
    }
}
static void gn_close(struct net *n, int handle)
{
    struct gate *g = net_of(n)->g;
    if (g->wire) {
        g->wire->live[handle] = g->wire->attaching[handle] = false;
    }
    if (!g->dead) {
        below(n)->ops->close(below(n), handle);
    }
}
static void gn_wake(struct net *n)
{
    if (!net_of(n)->g->dead) {
        below(n)->ops->wake(below(n));
    }
}
static void gn_peer(struct net *n, int handle, struct net_peer *ret_peer)
{
    memset(ret_peer, 0, sizeof(*ret_peer));
    if (!net_of(n)->g->dead) {
        below(n)->ops->peer(below(n), handle, ret_peer);
    }
}
static void gn_unlisten(struct net *n, int listener)
{
    if (!net_of(n)->g->dead) {
        below(n)->ops->unlisten(below(n), listener);
    }
}
static const struct net_ops GATE_NET = {.name = "gate",
                                        .version = 1,
                                        .poll = gn_poll,
                                        .accept = gn_accept,
                                        .recv = gn_recv,
                                        .writev = gn_writev,
                                        .pause_reading = gn_pause,
                                        .shutdown_write = gn_shutdown,
                                        .close = gn_close,
                                        .wake = gn_wake,
                                        .peer = gn_peer,
                                        .unlisten = gn_unlisten};

const struct net_ops *gate_net_ops(void)
{
    return &GATE_NET;
}
