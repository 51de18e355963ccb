/*
 * The net port's contract, over TCP on the loopback address, over the simulator's pipes, and
 * with TLS over both.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/mem/net_sim.h"
#include "adapters/os/net_epoll.h"
#include "adapters/tls/net_tls.h"
#include "base/clock.h"
#include "base/random.h"
#include "tls_peer.h"

#define TRIES 200
#define MS    1000000U

/* A client's end: a socket or a simulated one. */
struct peer {
    int fd;
    struct net_sim_conn *sim;
    struct tls_peer *tls; /* NULL: plain */
    struct peer *wire;    /* of tls: the same without it */
};

#define FRESH_MAX 8

struct world {
    const char *name;
    struct net *net;
    int listener;
    uint16_t port;
    struct clock_sim clock;
    struct net_sim *sim; /* NULL: sockets */
    struct net *below;   /* `net` is TLS over it; NULL: it is not */
    struct tls_server *tls;
    struct tls_peer *fresh[FRESH_MAX]; /* connected, and not accepted yet, in order */
    int nfresh;
    uint64_t shaken; /* handshakes that are done */
};

/* ---- Both kinds of clients ---- */

static void pass_time(struct world *w)
{
    if (w->sim) {
        uint64_t next = net_sim_next_ns(w->sim);
        clock_sim_advance_to(&w->clock, next == UINT64_MAX ? 0 : next);
        if (w->below) {
            /* A hello may have come on a connection that itself is still on its way. */
            clock_sim_advance(&w->clock, MS);
        }
    }
}

static struct peer plain_connect(struct world *w)
{
    struct peer p = {.fd = -1};
    if (w->sim) {
        assert_int_equal(net_sim_connect(w->sim, 0, &p.sim), CONFAB_OK);
        return p;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    p.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(p.fd >= 0);
    assert_int_equal(connect(p.fd, (struct sockaddr *)&in, sizeof(in)), 0);
    return p;
}

static enum confab_err peer_try_send(struct peer *p, const void *data, size_t n, size_t *ret_n)
{
    if (p->tls) {
        return tls_peer_send(p->tls, data, n, ret_n);
    }
    if (p->sim) {
        return net_sim_send(p->sim, data, n, ret_n);
    }
    ssize_t sent = send(p->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0) {
        return errno == EAGAIN ? CONFAB_AGAIN : CONFAB_NET;
    }
    *ret_n = (size_t)sent;
    return CONFAB_OK;
}

static enum confab_err peer_try_recv(struct peer *p, void *data, size_t n, size_t *ret_n)
{
    if (p->tls) {
        return tls_peer_recv(p->tls, data, n, ret_n);
    }
    if (p->sim) {
        return net_sim_recv(p->sim, data, n, ret_n);
    }
    ssize_t got = recv(p->fd, data, n, MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN ? CONFAB_AGAIN : CONFAB_NET;
    }
    *ret_n = (size_t)got;
    return got == 0 ? CONFAB_EOF : CONFAB_OK;
}

static enum confab_err wire_send(void *arg, const void *p, size_t n, size_t *ret_n)
{
    return peer_try_send(arg, p, n, ret_n);
}

static enum confab_err wire_recv(void *arg, void *p, size_t n, size_t *ret_n)
{
    return peer_try_recv(arg, p, n, ret_n);
}

static struct peer peer_connect(struct world *w)
{
    struct peer p = plain_connect(w);
    if (w->below) {
        p.wire = malloc(sizeof(*p.wire));
        assert_non_null(p.wire);
        *p.wire = (struct peer){.fd = p.fd, .sim = p.sim};
        p.tls = tls_peer_new((struct tls_wire){wire_send, wire_recv, p.wire}, 0, NULL);
        tls_peer_pump(p.tls);
        assert_true(w->nfresh < FRESH_MAX);
        w->fresh[w->nfresh++] = p.tls;
    }
    return p;
}

/* Nothing is left in OpenSSL's hands. */
static void peer_flush(struct world *w, struct peer *p)
{
    for (int i = 0; p->tls && !tls_peer_is_ready(p->tls); i++) {
        assert_true(i < TRIES);
        pass_time(w);
        tls_peer_pump(p->tls);
    }
}

static void peer_send(struct world *w, struct peer *p, const char *text)
{
    size_t n = strlen(text);
    while (n > 0) {
        size_t sent = 0;
        enum confab_err err = peer_try_send(p, text, n, &sent);
        if (err == CONFAB_AGAIN) {
            pass_time(w);
            continue;
        }
        assert_int_equal(err, CONFAB_OK);
        text += sent;
        n -= sent;
    }
    peer_flush(w, p);
}

/* Waits for something other than CONFAB_AGAIN. */
static enum confab_err peer_recv(struct world *w, struct peer *p, void *data, size_t n,
                                 size_t *ret_n)
{
    for (int i = 0; i < TRIES; i++) {
        enum confab_err err = peer_try_recv(p, data, n, ret_n);
        if (err != CONFAB_AGAIN) {
            return err;
        }
        pass_time(w);
        if (!w->sim) {
            struct pollfd pfd = {.fd = p->fd, .events = POLLIN};
            (void)poll(&pfd, 1, 100);
        }
    }
    return CONFAB_TIMEOUT;
}

static void peer_finish(struct world *w, struct peer *p)
{
    if (p->tls) {
        tls_peer_finish(p->tls);
        peer_flush(w, p);
    }
    if (p->sim) {
        net_sim_finish(p->sim);
    } else {
        assert_int_equal(shutdown(p->fd, SHUT_WR), 0);
    }
}

static void peer_reset(struct peer *p)
{
    if (p->sim) {
        net_sim_reset(p->sim);
        return;
    }
    struct linger linger = {.l_onoff = 1, .l_linger = 0};
    assert_int_equal(setsockopt(p->fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
    (void)close(p->fd);
    p->fd = -1;
}

static void peer_close(struct peer *p)
{
    tls_peer_free(p->tls);
    free(p->wire);
    if (p->sim) {
        net_sim_drop(p->sim);
    } else if (p->fd >= 0) {
        (void)close(p->fd);
    }
    *p = (struct peer){.fd = -1};
}

/* ---- The server's side ---- */

/* Polls until `handle` has one of `flags`; 0 when that does not come. */
static uint32_t wait_for(struct world *w, int handle, uint32_t flags)
{
    struct net_event events[16];
    for (int i = 0; i < TRIES; i++) {
        int n = w->net->ops->poll(w->net, events, 16, w->sim ? 0 : 100);
        for (int k = 0; k < n; k++) {
            if (events[k].handle == handle && (events[k].flags & flags)) {
                return events[k].flags;
            }
        }
        pass_time(w);
    }
    return 0;
}

/* No such event although everything under way has arrived. */
static bool stays_quiet(struct world *w, int handle, uint32_t flags)
{
    struct net_event events[16];
    for (int i = 0; i < 4; i++) {
        int n = w->net->ops->poll(w->net, events, 16, w->sim ? 0 : 20);
        for (int k = 0; k < n; k++) {
            if (events[k].handle == handle && (events[k].flags & flags)) {
                return false;
            }
        }
        pass_time(w);
    }
    return true;
}

/* All of them, as it need not be the first that is accepted first. */
static struct tls_peer *first_ready(struct world *w)
{
    struct tls_peer *found = NULL;
    for (int i = 0; i < w->nfresh; i++) {
        tls_peer_pump(w->fresh[i]);
        if (!found && tls_peer_is_ready(w->fresh[i])) {
            found = w->fresh[i];
            w->fresh[i] = w->fresh[--w->nfresh];
        }
    }
    return found;
}

/* The handshake of the one that was accepted; the caller of the net sees nothing of it. */
static void shake_hands(struct world *w, int handle)
{
    struct tls_server_stats stats = {0};
    struct tls_peer *peer = NULL;
    w->shaken++;
    for (int i = 0; stats.handshakes_ok < w->shaken || !peer; i++) {
        struct net_event events[16];
        assert_true(i < TRIES * 10);
        peer = peer ? peer : first_ready(w);
        int n = w->net->ops->poll(w->net, events, 16, w->sim ? 0 : 5);
        for (int k = 0; k < n; k++) {
            assert_int_not_equal(events[k].handle, handle);
        }
        pass_time(w);
        tls_server_stats(w->tls, &stats);
    }
}

static int accept_one(struct world *w)
{
    struct net_peer peer;
    int handle = -1;
    enum confab_err err = w->net->ops->accept(w->net, w->listener, &handle, &peer);
    for (int i = 0; i < TRIES && err == CONFAB_AGAIN; i++) {
        (void)wait_for(w, w->listener, NET_ACCEPT);
        err = w->net->ops->accept(w->net, w->listener, &handle, &peer);
    }
    assert_int_equal(err, CONFAB_OK);
    assert_string_equal(peer.address, "127.0.0.1");
    assert_int_not_equal(peer.port, 0);
    struct net_peer later = {.port = 1};
    w->net->ops->peer(w->net, handle, &later);
    assert_string_equal(later.address, peer.address);
    assert_int_equal(later.port, peer.port);
    if (w->below) {
        shake_hands(w, handle);
    }
    return handle;
}

static enum confab_err server_recv(struct world *w, int handle, void *buf, size_t cap,
                                   size_t *ret_n)
{
    return w->net->ops->recv(w->net, handle, buf, cap, ret_n);
}

static enum confab_err server_write(struct world *w, int handle, const void *p, size_t n,
                                    size_t *ret_n)
{
    struct iovec iov = {(void *)(uintptr_t)p, n};
    return w->net->ops->writev(w->net, handle, &iov, 1, ret_n);
}

/* Reads as the contract says until something other than bytes comes, or `n` bytes. */
static size_t server_read_text(struct world *w, int handle, char *out, size_t n,
                               enum confab_err *ret_end)
{
    size_t len = 0;
    *ret_end = CONFAB_OK;
    while (len < n) {
        size_t got = 0;
        enum confab_err err = server_recv(w, handle, out + len, n - len, &got);
        if (err == CONFAB_OK) {
            len += got;
            if (len == n) {
                break;
            }
        }
        if (err == CONFAB_EOF || err == CONFAB_NET) {
            *ret_end = err;
            break;
        }
        if (wait_for(w, handle, NET_READABLE | NET_HANGUP) == 0) {
            *ret_end = CONFAB_TIMEOUT;
            break;
        }
    }
    return len;
}

static int wrap(struct world *w)
{
    char detail[TLS_DETAIL_MAX];
    w->below = w->net;
    return tls_server_open(tls_test_files(), detail, &w->tls) == CONFAB_OK &&
                   net_tls_open(w->tls, w->below, &w->net) == CONFAB_OK
               ? 0
               : -1;
}

static int setup(void **state)
{
    struct world *w = *state;
    w->sim = NULL;
    w->net = w->below = NULL;
    w->tls = NULL;
    w->nfresh = 0;
    w->shaken = 0;
    if (strcmp(w->name, "epoll") == 0 || strcmp(w->name, "tls") == 0) {
        struct net_epoll_listen cfg = {.first = true};
        if (net_epoll_open(&w->net) != CONFAB_OK) {
            return -1;
        }
        if (net_epoll_listen(w->net, &cfg, &w->listener, &w->port) != CONFAB_OK) {
            return -1;
        }
        return strcmp(w->name, "tls") == 0 ? wrap(w) : 0;
    }
    bool rough = strstr(w->name, "sim, rough") != NULL;
    clock_sim_init(&w->clock, 1750000000000U);
    struct net_sim_cfg cfg = {.clock = &w->clock, .seed = 7, .shards = 1, .pipe_bytes = 32768};
    if (rough) {
        cfg.delay_max_ns = 3 * MS;
        cfg.short_read = 3000;
        cfg.short_write = 3000;
    }
    if (net_sim_open(&cfg, &w->sim) != CONFAB_OK) {
        return -1;
    }
    w->net = net_sim_shard(w->sim, 0);
    w->listener = net_sim_listener(w->sim, 0);
    return strncmp(w->name, "tls", 3) == 0 ? wrap(w) : 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    struct net *net = w->below ? w->below : w->net;
    if (w->below) {
        net_tls_close(w->net);
        tls_server_close(w->tls);
    }
    if (w->sim) {
        net_sim_close(w->sim);
    } else {
        net_epoll_close(net);
    }
    return 0;
}

/* ---- Cases for every adapter ---- */

static void test_net__accepts_until_none_waits(void **state)
{
    struct world *w = *state;
    struct peer a = peer_connect(w);
    struct peer b = peer_connect(w);
    int ha = accept_one(w);
    int hb = accept_one(w);
    assert_int_not_equal(ha, hb);
    struct net_peer peer;
    int handle = -7;
    assert_int_equal(w->net->ops->accept(w->net, w->listener, &handle, &peer), CONFAB_AGAIN);
    assert_int_equal(handle, -7);
    w->net->ops->close(w->net, ha);
    w->net->ops->close(w->net, hb);
    peer_close(&a);
    peer_close(&b);
}

static void test_net__carries_bytes_both_ways(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    peer_send(w, &p, "hello, server");
    char text[64];
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, text, 13, &end), 13);
    assert_memory_equal(text, "hello, server", 13);

    struct iovec iov[3] = {{(char[]){"one "}, 4}, {(char[]){""}, 0}, {(char[]){"two"}, 3}};
    size_t done = 0;
    size_t n = 0;
    assert_int_equal(w->net->ops->writev(w->net, h, iov, 3, &n), CONFAB_OK);
    done = n;
    while (done < 7) {
        enum confab_err err = server_write(w, h, "one two" + done, 7 - done, &n);
        if (err == CONFAB_AGAIN) {
            assert_int_not_equal(wait_for(w, h, NET_WRITABLE), 0);
            continue;
        }
        assert_int_equal(err, CONFAB_OK);
        done += n;
    }
    size_t len = 0;
    while (len < 7) {
        assert_int_equal(peer_recv(w, &p, text + len, sizeof(text) - len, &n), CONFAB_OK);
        len += n;
    }
    assert_memory_equal(text, "one two", 7);
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

/* More than any buffer on the way holds: the writer has to wait, and is told when it may go on. */
static void test_net__full_pipe_says_again_then_writable(void **state)
{
    struct world *w = *state;
    enum { TOTAL = 12 << 20 };
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    struct random_seeded out_random;
    struct random_seeded in_random;
    random_seeded_init(&out_random, 42);
    random_seeded_init(&in_random, 42);
    static uint8_t block[4096];
    static uint8_t want[4096];
    size_t block_left = 0;
    size_t want_at = sizeof(want);
    size_t sent = 0;
    size_t received = 0;
    int refusals = 0;
    while (received < TOTAL) {
        bool refused = false;
        while (sent < TOTAL && !refused) {
            if (block_left == 0) {
                random_fill(&out_random.base, block, sizeof(block));
                block_left = sizeof(block);
            }
            size_t n = 0;
            enum confab_err err =
                server_write(w, h, block + sizeof(block) - block_left, block_left, &n);
            refused = err == CONFAB_AGAIN;
            if (!refused) {
                assert_int_equal(err, CONFAB_OK);
                sent += n;
                block_left -= n;
            }
        }
        refusals += refused;
        /* The peer takes what is there. */
        uint8_t got[8192];
        size_t n = 0;
        enum confab_err err = peer_recv(w, &p, got, sizeof(got), &n);
        while (err == CONFAB_OK) {
            for (size_t i = 0; i < n; i++) {
                if (want_at == sizeof(want)) {
                    random_fill(&in_random.base, want, sizeof(want));
                    want_at = 0;
                }
                assert_int_equal(got[i], want[want_at++]);
            }
            received += n;
            err = peer_try_recv(&p, got, sizeof(got), &n);
        }
        /* Of TLS there may be nothing but a part of a record. */
        assert_true(err == CONFAB_AGAIN || (refused && w->below && err == CONFAB_TIMEOUT));
        if (refused) {
            assert_int_not_equal(wait_for(w, h, NET_WRITABLE), 0);
        }
    }
    assert_true(refusals > 0);
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net__readable_comes_once_per_arrival(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    peer_send(w, &p, "x");
    char c;
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, &c, 1, &end), 1);
    size_t n;
    assert_int_equal(server_recv(w, h, &c, 1, &n), CONFAB_AGAIN);
    assert_true(stays_quiet(w, h, NET_READABLE));
    peer_send(w, &p, "y");
    assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
    /* Not read, not told again. */
    assert_true(stays_quiet(w, h, NET_READABLE));
    assert_int_equal(server_recv(w, h, &c, 1, &n), CONFAB_OK);
    assert_int_equal(c, 'y');
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

/* Bytes and end may arrive together: the end must be told although the read before was short. */
static void test_net__end_behind_a_short_read_is_told(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    peer_send(w, &p, "bye");
    peer_finish(w, &p);
    assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
    char text[64];
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, text, sizeof(text), &end), 3);
    assert_int_equal(end, CONFAB_EOF);
    /* The other direction is still open. */
    size_t n = 0;
    enum confab_err err = server_write(w, h, "!", 1, &n);
    while (err == CONFAB_AGAIN) {
        assert_int_not_equal(wait_for(w, h, NET_WRITABLE), 0);
        err = server_write(w, h, "!", 1, &n);
    }
    assert_int_equal(err, CONFAB_OK);
    assert_int_equal(peer_recv(w, &p, text, sizeof(text), &n), CONFAB_OK);
    assert_int_equal(text[0], '!');
    w->net->ops->close(w->net, h);
    assert_int_equal(peer_recv(w, &p, text, sizeof(text), &n), CONFAB_EOF);
    peer_close(&p);
}

static void test_net__paused_reading_is_silent_until_resumed(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    w->net->ops->pause_reading(w->net, h, true);
    peer_send(w, &p, "waiting");
    peer_finish(w, &p);
    assert_true(stays_quiet(w, h, NET_READABLE));
    w->net->ops->pause_reading(w->net, h, false);
    assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
    char text[64];
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, text, sizeof(text), &end), 7);
    assert_memory_equal(text, "waiting", 7);
    assert_int_equal(end, CONFAB_EOF);
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net__shutdown_write_ends_one_direction(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    w->net->ops->shutdown_write(w->net, h);
    char c;
    size_t n;
    assert_int_equal(peer_recv(w, &p, &c, 1, &n), CONFAB_EOF);
    peer_send(w, &p, "z");
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, &c, 1, &end), 1);
    assert_int_equal(c, 'z');
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net__reset_is_told(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    peer_reset(&p);
    assert_int_not_equal(wait_for(w, h, NET_HANGUP), 0);
    char c;
    size_t n;
    assert_int_equal(server_recv(w, h, &c, 1, &n), CONFAB_NET);
    /* Only now is the handle free. */
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net__closed_handles_are_used_again(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 50; i++) {
        struct peer p = peer_connect(w);
        int h = accept_one(w);
        peer_send(w, &p, "unread");
        peer_finish(w, &p);
        assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
        char c;
        size_t n;
        assert_int_equal(server_recv(w, h, &c, 1, &n), CONFAB_OK);
        w->net->ops->close(w->net, h);
        peer_close(&p);
    }
}

/* What waited is accepted first; then nobody gets in, and who is in stays. */
static void test_net__unlisten_refuses_newcomers(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    w->net->ops->unlisten(w->net, w->listener);
    if (w->sim) {
        struct net_sim_conn *late;
        assert_int_equal(net_sim_connect(w->sim, 0, &late), CONFAB_NET);
    } else {
        struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(w->port)};
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_not_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
        (void)close(fd);
    }
    peer_send(w, &p, "still");
    char text[8];
    enum confab_err end;
    assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
    assert_int_equal(server_read_text(w, h, text, 5, &end), 5);
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net__wake_ends_the_next_poll(void **state)
{
    struct world *w = *state;
    struct net_event events[16];
    for (int i = 0; i < 3; i++) {
        w->net->ops->wake(w->net);
        w->net->ops->wake(w->net);
        if (w->sim) {
            assert_true(net_sim_is_ready(w->sim, 0));
        }
        /* For ever, were it not for the wake. */
        assert_int_equal(w->net->ops->poll(w->net, events, 16, -1), 0);
        if (w->sim) {
            assert_false(net_sim_is_ready(w->sim, 0));
        }
    }
}

/* ---- Sockets only ---- */

static void *wake_thread(void *arg)
{
    struct net *net = arg;
    net->ops->wake(net);
    return NULL;
}

static void test_net_epoll__wake_from_another_thread(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 100; i++) {
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, wake_thread, w->net), 0);
        struct net_event events[16];
        assert_int_equal(w->net->ops->poll(w->net, events, 16, -1), 0);
        assert_int_equal(pthread_join(thread, NULL), 0);
    }
}

static void test_net_epoll__taken_port_is_refused(void **state)
{
    struct world *w = *state;
    struct net *other;
    assert_int_equal(net_epoll_open(&other), CONFAB_OK);
    int handle;
    uint16_t port;
    struct net_epoll_listen cfg = {.port = w->port, .first = true};
    assert_int_equal(net_epoll_listen(other, &cfg, &handle, &port), CONFAB_EXISTS);
    /* A sibling shares it. */
    cfg.first = false;
    assert_int_equal(net_epoll_listen(other, &cfg, &handle, &port), CONFAB_OK);
    assert_int_equal(port, w->port);
    cfg = (struct net_epoll_listen){.address = "203.0.113.77", .first = true};
    assert_int_equal(net_epoll_listen(other, &cfg, &handle, &port), CONFAB_INVALID);
    cfg.address = "localhost";
    assert_int_equal(net_epoll_listen(other, &cfg, &handle, &port), CONFAB_INVALID);
    net_epoll_close(other);
}

/* Sockets of a service manager: several loops, several addresses, and open when all loops are gone.
 */
static void test_net_epoll__adopted_listeners_outlive_it(void **state)
{
    struct world *w = *state;
    struct net *loops[2];
    int fds[2];
    int names[2];
    struct net_peer where[2];
    for (int i = 0; i < 2; i++) {
        struct sockaddr_in in = {.sin_family = AF_INET};
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fds[i], (struct sockaddr *)&in, sizeof(in)), 0);
        assert_false(net_epoll_is_listener(fds[i], &where[i]));
        assert_int_equal(listen(fds[i], 16), 0);
        assert_true(net_epoll_is_listener(fds[i], &where[i]));
        assert_string_equal(where[i].address, "127.0.0.1");
    }
    for (int i = 0; i < 2; i++) {
        assert_int_equal(net_epoll_open(&loops[i]), CONFAB_OK);
        assert_int_equal(net_epoll_adopt(loops[i], fds, 2, &names[i]), CONFAB_OK);
    }
    struct world each[2] = {*w, *w};
    for (int i = 0; i < 4; i++) { /* each loop takes from each address */
        struct world *one = &each[i % 2];
        one->net = loops[i % 2];
        one->listener = names[i % 2];
        one->port = where[i / 2].port;
        struct peer p = peer_connect(one);
        int h = accept_one(one);
        peer_close(&p);
        one->net->ops->close(one->net, h);
    }
    for (int i = 0; i < 2; i++) {
        loops[i]->ops->unlisten(loops[i], names[i]);
    }
    /* Who comes now waits for the next process. */
    struct peer p = peer_connect(&each[0]);
    struct net_event events[16];
    assert_int_equal(loops[0]->ops->poll(loops[0], events, 16, 20), 0);
    net_epoll_close(loops[0]);
    net_epoll_close(loops[1]);
    assert_int_equal(net_epoll_open(&each[0].net), CONFAB_OK);
    assert_int_equal(net_epoll_adopt(each[0].net, fds, 2, &each[0].listener), CONFAB_OK);
    int h = accept_one(&each[0]);
    each[0].net->ops->close(each[0].net, h);
    peer_close(&p);
    net_epoll_close(each[0].net);
    (void)close(fds[0]);
    (void)close(fds[1]);
    assert_false(net_epoll_is_listener(w->listener + 500, &where[0]));
}

static void test_net_epoll__mapped_addresses_have_their_own_name(void **state)
{
    struct world *w = *state;
    struct net *both;
    int handle;
    struct net_peer who;
    const struct net_epoll_listen cfg = {.address = "::", .first = true};
    struct world other = *w;
    assert_int_equal(net_epoll_open(&both), CONFAB_OK);
    enum confab_err err = net_epoll_listen(both, &cfg, &handle, &other.port);
    assert_true(err == CONFAB_OK || err == CONFAB_INVALID); /* a machine without IPv6 says so */
    if (err == CONFAB_OK) {
        other.net = both;
        other.listener = handle;
        struct peer p = peer_connect(&other);
        int h = accept_one(&other); /* checks the address */
        both->ops->peer(both, h, &who);
        assert_string_equal(who.address, "127.0.0.1");
        both->ops->close(both, h);
        peer_close(&p);
    }
    net_epoll_close(both);
}

static void test_net_epoll__listens_on_ipv6(void **state)
{
    struct world *w = *state;
    int handle;
    uint16_t port;
    struct net_epoll_listen cfg = {.address = "::1", .first = true};
    enum confab_err err = net_epoll_listen(w->net, &cfg, &handle, &port);
    /* A machine without IPv6 says so. */
    assert_true(err == CONFAB_OK || err == CONFAB_INVALID);
}

/* Connections wait in the kernel while there is no descriptor, and come in when one is free. */
static void test_net_epoll__out_of_descriptors_waits(void **state)
{
    struct world *w = *state;
    struct peer first = peer_connect(w);
    int h = accept_one(w);
    struct peer second = peer_connect(w);
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    int next = dup(0);
    assert_true(next >= 0);
    (void)close(next);
    struct rlimit tight = {.rlim_cur = (rlim_t)next, .rlim_max = before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);

    assert_int_not_equal(wait_for(w, w->listener, NET_ACCEPT), 0);
    struct net_peer peer;
    int handle = -1;
    assert_int_equal(w->net->ops->accept(w->net, w->listener, &handle, &peer), CONFAB_LIMIT);
    /* No spinning: nothing to report for now. */
    struct net_event events[16];
    assert_int_equal(w->net->ops->poll(w->net, events, 16, 0), 0);
    w->net->ops->close(w->net, h);
    assert_int_not_equal(wait_for(w, w->listener, NET_ACCEPT), 0);
    assert_int_equal(w->net->ops->accept(w->net, w->listener, &handle, &peer), CONFAB_OK);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    w->net->ops->close(w->net, handle);
    peer_close(&first);
    peer_close(&second);
}

/* ---- The simulator only ---- */

/* A conversation between two ends under every trouble; returns a hash of what happened when. */
static uint64_t rough_run(uint64_t seed)
{
    struct clock_sim clock;
    clock_sim_init(&clock, 1750000000000U);
    struct net_sim_cfg cfg = {.clock = &clock,
                              .seed = seed,
                              .shards = 2,
                              .pipe_bytes = 4096,
                              .delay_min_ns = 1000,
                              .delay_max_ns = 5 * MS,
                              .short_read = 2000,
                              .short_write = 2000,
                              .spurious = 500,
                              .reset = 20,
                              .scarce = 1000};
    struct net_sim *sim;
    assert_int_equal(net_sim_open(&cfg, &sim), CONFAB_OK);
    struct net_sim_conn *peers[8];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(net_sim_connect(sim, NET_SIM_ANY, &peers[i]), CONFAB_OK);
    }
    uint64_t hash = 1469598103934665603U;
    for (int turn = 0; turn < 2000; turn++) {
        uint64_t next = net_sim_next_ns(sim);
        clock_sim_advance_to(&clock, next == UINT64_MAX ? 0 : next);
        for (uint16_t shard = 0; shard < 2; shard++) {
            struct net *net = net_sim_shard(sim, shard);
            struct net_event events[16];
            int n = net->ops->poll(net, events, 16, 0);
            for (int i = 0; i < n; i++) {
                hash =
                    (hash ^ ((uint64_t)events[i].handle * 31 + events[i].flags)) * 1099511628211U;
                int handle;
                struct net_peer peer;
                uint8_t bytes[512];
                size_t got = 0;
                if (events[i].flags & NET_ACCEPT) {
                    (void)net->ops->accept(net, events[i].handle, &handle, &peer);
                } else if (net->ops->recv(net, events[i].handle, bytes, sizeof(bytes), &got) ==
                           CONFAB_OK) {
                    struct iovec iov = {bytes, got};
                    (void)net->ops->writev(net, events[i].handle, &iov, 1, &got);
                }
                hash = (hash ^ got) * 1099511628211U;
            }
        }
        for (int i = 0; i < 8; i++) {
            uint8_t bytes[300] = {(uint8_t)turn, (uint8_t)i};
            size_t n = 0;
            enum confab_err sent = net_sim_send(peers[i], bytes, sizeof(bytes), &n);
            enum confab_err got = net_sim_recv(peers[i], bytes, sizeof(bytes), &n);
            hash = (hash ^ (n + (uint64_t)(sent * 100 + got))) * 1099511628211U;
        }
    }
    net_sim_close(sim);
    return hash;
}

static void test_net_sim__same_seed_same_run(void **state)
{
    (void)state;
    assert_int_equal(rough_run(3), rough_run(3));
    assert_int_not_equal(rough_run(3), rough_run(4));
}

static void test_net_sim__vanished_peer_is_never_told(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    net_sim_vanish(p.sim);
    size_t n = 0;
    enum confab_err err = CONFAB_OK;
    static const uint8_t block[4096];
    for (int i = 0; i < 1000 && err == CONFAB_OK; i++) {
        err = server_write(w, h, block, sizeof(block), &n);
    }
    assert_int_equal(err, CONFAB_AGAIN);
    clock_sim_advance(&w->clock, (uint64_t)3600 * 1000 * MS);
    assert_true(stays_quiet(w, h, NET_READABLE | NET_HANGUP));
    char c;
    assert_int_equal(server_recv(w, h, &c, 1, &n), CONFAB_AGAIN);
    peer_close(&p);
    assert_true(stays_quiet(w, h, NET_READABLE | NET_HANGUP));
    w->net->ops->close(w->net, h);
}

static void test_net_sim__stalled_bytes_arrive_later(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    int h = accept_one(w);
    uint64_t until = clock_mono_ns(&w->clock.base) + 500 * MS;
    net_sim_stall(p.sim, until);
    peer_send(w, &p, "late");
    struct net_event events[16];
    clock_sim_advance(&w->clock, 400 * MS);
    assert_int_equal(w->net->ops->poll(w->net, events, 16, 0), 0);
    assert_int_equal(net_sim_next_ns(w->sim), until);
    assert_int_not_equal(wait_for(w, h, NET_READABLE), 0);
    char text[8];
    enum confab_err end;
    assert_int_equal(server_read_text(w, h, text, 4, &end), 4);
    w->net->ops->close(w->net, h);
    peer_close(&p);
}

static void test_net_sim__crash_resets_and_refuses(void **state)
{
    struct world *w = *state;
    struct peer p = peer_connect(w);
    (void)accept_one(w);
    net_sim_crash(w->sim);
    size_t n;
    char c;
    assert_int_equal(peer_recv(w, &p, &c, 1, &n), CONFAB_NET);
    struct net_sim_conn *other;
    assert_int_equal(net_sim_connect(w->sim, NET_SIM_ANY, &other), CONFAB_NET);
    net_sim_restart(w->sim, 3);
    assert_int_equal(net_sim_connect(w->sim, 2, &other), CONFAB_OK);
    net_sim_drop(other);
    peer_close(&p);
}

/* ---- Running ---- */

#define EVERY(fn)                                                                                  \
    {                                                                                              \
        .name = #fn, .test_func = fn, .setup_func = setup, .teardown_func = teardown,              \
        .initial_state = NULL                                                                      \
    }

static int run_suite(struct world *w, const struct CMUnitTest *tests, size_t n)
{
    struct CMUnitTest mine[16];
    assert_true(n <= 16);
    for (size_t i = 0; i < n; i++) {
        mine[i] = tests[i];
        mine[i].initial_state = w;
    }
    return _cmocka_run_group_tests(w->name, mine, n, NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest every[] = {
        EVERY(test_net__accepts_until_none_waits),
        EVERY(test_net__carries_bytes_both_ways),
        EVERY(test_net__full_pipe_says_again_then_writable),
        EVERY(test_net__readable_comes_once_per_arrival),
        EVERY(test_net__end_behind_a_short_read_is_told),
        EVERY(test_net__paused_reading_is_silent_until_resumed),
        EVERY(test_net__shutdown_write_ends_one_direction),
        EVERY(test_net__reset_is_told),
        EVERY(test_net__closed_handles_are_used_again),
        EVERY(test_net__wake_ends_the_next_poll),
        EVERY(test_net__unlisten_refuses_newcomers),
    };
    const struct CMUnitTest sockets[] = {
        EVERY(test_net_epoll__wake_from_another_thread),
        EVERY(test_net_epoll__taken_port_is_refused),
        EVERY(test_net_epoll__listens_on_ipv6),
        EVERY(test_net_epoll__adopted_listeners_outlive_it),
        EVERY(test_net_epoll__mapped_addresses_have_their_own_name),
        EVERY(test_net_epoll__out_of_descriptors_waits),
    };
    const struct CMUnitTest simulated[] = {
        EVERY(test_net_sim__same_seed_same_run),
        EVERY(test_net_sim__vanished_peer_is_never_told),
        EVERY(test_net_sim__stalled_bytes_arrive_later),
        EVERY(test_net_sim__crash_resets_and_refuses),
    };
    static struct world epoll = {.name = "epoll"};
    static struct world smooth = {.name = "sim"};
    static struct world rough = {.name = "sim, rough"};
    static struct world tls = {.name = "tls"};
    static struct world tls_smooth = {.name = "tls, sim"};
    static struct world tls_rough = {.name = "tls, sim, rough"};
    int failed = 0;
    failed += run_suite(&epoll, every, ARRAY_LEN(every));
    failed += run_suite(&epoll, sockets, ARRAY_LEN(sockets));
    failed += run_suite(&smooth, every, ARRAY_LEN(every));
    failed += run_suite(&rough, every, ARRAY_LEN(every));
    failed += run_suite(&smooth, simulated, ARRAY_LEN(simulated));
    failed += run_suite(&tls, every, ARRAY_LEN(every));
    failed += run_suite(&tls_smooth, every, ARRAY_LEN(every));
    failed += run_suite(&tls_rough, every, ARRAY_LEN(every));
    tls_test_files_remove();
    return failed;
}
