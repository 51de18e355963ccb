#include "adapters/os/net_epoll.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/check.h"
#include "base/clock.h"
#include "base/diag.h"

#define EVENTS_MAX    512
#define UNSENT_BYTES  32768
#define BACKLOG       4096
#define STARVED_MS    1000
#define LISTENERS_MAX NET_EPOLL_ADOPT_MAX

/*
 * Per handle, so that callers see fewer events than epoll has: every wait reports all of a
 * socket's readiness, and a socket is writable nearly always.
 */
enum handle_bits {
    H_OPEN = 1,
    H_WANT_WRITE = 2, /* a write was short: the caller waits for NET_WRITABLE */
    H_PEER_DONE = 4,  /* the peer closed its side: behind a short read stands the end */
    H_PAUSED = 8,
    H_QUEUED = 16, /* in `again` */
};

struct net_epoll {
    struct net base;
    int epoll_fd;
    int wake_fd;
    atomic_bool woken; /* an unseen write to wake_fd exists or is about to */
    int listeners[LISTENERS_MAX];
    int nlisteners;
    bool adopted;              /* the listeners, which are one to the caller */
    bool starved;              /* accept ran out of descriptors; ask again */
    bool freed;                /* now, since a handle was closed */
    uint64_t starved_until_ns; /* or then */
    uint8_t *bits;             /* by handle */
    int cap;                   /* of bits */
    int *again;                /* handles to be reported readable without asking epoll */
    int nagain;
    int again_cap;
    bool unlisted; /* some that are H_QUEUED are not in it: there was no memory */
    struct epoll_event events[EVENTS_MAX];
};

static const struct net_ops OPS;

static struct net_epoll *epoll_of(struct net *n)
{
    CHECK(n->ops == &OPS);
    return CONTAINER_OF(n, struct net_epoll, base);
}

static bool is_listener(const struct net_epoll *e, int handle)
{
    for (int i = 0; i < e->nlisteners; i++) {
        if (e->listeners[i] == handle) {
            return true;
        }
    }
    return false;
}

static enum confab_err bits_reserve(struct net_epoll *e, int handle)
{
    if (handle < e->cap) {
        return CONFAB_OK;
    }
    int cap = MAX(64, e->cap);
    while (cap <= handle) {
        cap *= 2;
    }
    uint8_t *bits = realloc(e->bits, (size_t)cap);
    if (!bits) {
        return CONFAB_NOMEM;
    }
    memset(bits + e->cap, 0, (size_t)(cap - e->cap));
    e->bits = bits;
    e->cap = cap;
    return CONFAB_OK;
}

static void report_again(struct net_epoll *e, int handle)
{
    if (e->bits[handle] & H_QUEUED) {
        return;
    }
    if (e->nagain == e->again_cap) {
        int cap = MAX(64, e->again_cap * 2);
        int *again = realloc(e->again, (size_t)cap * sizeof(*again));
        if (!again) {
            e->bits[handle] |= H_QUEUED; /* found by looking at all */
            e->unlisted = true;
            return;
        }
        e->again = again;
        e->again_cap = cap;
    }
    e->bits[handle] |= H_QUEUED;
    e->again[e->nagain++] = handle;
}

/* The handle's turn has come: an event, unless nobody wants to hear of it. */
static int take_one(struct net_epoll *e, int handle, struct net_event *event)
{
    /* Closed since, and perhaps opened anew: the bit tells. */
    if (!(e->bits[handle] & H_QUEUED)) {
        return 0;
    }
    e->bits[handle] &= (uint8_t)~H_QUEUED;
    *event = (struct net_event){handle, NET_READABLE};
    return e->bits[handle] & H_PAUSED ? 0 : 1;
}

/* Those that there was no memory to note. */
static int take_unlisted(struct net_epoll *e, struct net_event *events, int max)
{
    int n = 0;
    for (int handle = 0; handle < e->cap; handle++) {
        if (n >= max) {
            return n;
        }
        n += take_one(e, handle, &events[n]);
    }
    e->unlisted = false;
    return n;
}

/* Oldest entries first, none lost when `max` is small. */
static int take_again(struct net_epoll *e, struct net_event *events, int max)
{
    if (e->nagain == 0) {
        return e->unlisted ? take_unlisted(e, events, max) : 0;
    }
    int n = 0;
    int i = 0;
    for (; i < e->nagain && n < max; i++) {
        n += take_one(e, e->again[i], &events[n]);
    }
    e->nagain -= i;
    memmove(e->again, e->again + i, (size_t)e->nagain * sizeof(*e->again));
    return n;
}

static uint32_t translate(struct net_epoll *e, int handle, uint32_t ev)
{
    uint8_t *bits = &e->bits[handle];
    uint32_t flags = 0;
    if (ev & EPOLLRDHUP) {
        *bits |= H_PEER_DONE;
    }
    if ((ev & (EPOLLIN | EPOLLRDHUP)) && !(*bits & H_PAUSED)) {
        flags |= NET_READABLE;
    }
    if ((ev & EPOLLOUT) && (*bits & H_WANT_WRITE)) {
        *bits &= (uint8_t)~H_WANT_WRITE;
        flags |= NET_WRITABLE;
    }
    if (ev & (EPOLLHUP | EPOLLERR)) {
        flags |= NET_HANGUP;
    }
    return flags;
}

static int wait_timeout(const struct net_epoll *e, int timeout_ms)
{
    if (e->nagain > 0 || e->unlisted) {
        return 0;
    }
    if (!e->starved) {
        return timeout_ms;
    }
    if (e->freed) {
        return 0;
    }
    return timeout_ms < 0 ? STARVED_MS : MIN(timeout_ms, STARVED_MS);
}

static int op_poll(struct net *net, struct net_event *events, int max, int timeout_ms)
{
    struct net_epoll *e = epoll_of(net);
    CHECK(max > LISTENERS_MAX);
    bool was_starved = e->starved;
    int room = max - (was_starved ? e->nlisteners : 0);
    int got = epoll_wait(e->epoll_fd, e->events, MIN(EVENTS_MAX, MAX(1, room - e->nagain)),
                         wait_timeout(e, timeout_ms));
    int n = 0;
    for (int i = 0; i < got; i++) {
        int fd = e->events[i].data.fd;
        if (fd == e->wake_fd) {
            /* Edge triggered: no need to read it. Pairs with the exchange in op_wake. */
            atomic_exchange(&e->woken, false);
        } else if (is_listener(e, fd)) {
            events[n++] = (struct net_event){fd, NET_ACCEPT};
        } else {
            uint32_t flags = translate(e, fd, e->events[i].events);
            if (flags != 0) {
                events[n++] = (struct net_event){fd, flags};
            }
        }
    }
    n += take_again(e, events + n, room - n);
    if (was_starved && (e->freed || clock_mono_ns(clock_system()) >= e->starved_until_ns)) {
        e->starved = false;
        for (int i = 0; i < e->nlisteners; i++) {
            events[n++] = (struct net_event){e->listeners[i], NET_ACCEPT};
        }
    }
    return n;
}

static void peer_of(const struct sockaddr_storage *sa, struct net_peer *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (sa->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        (void)inet_ntop(AF_INET, &in->sin_addr, ret->address, sizeof(ret->address));
        ret->port = ntohs(in->sin_port);
    } else if (sa->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)sa;
        if (IN6_IS_ADDR_V4MAPPED(&in->sin6_addr)) {
            /* One address has one name, whichever listener it came by: limits go by it. */
            (void)inet_ntop(AF_INET, &in->sin6_addr.s6_addr[12], ret->address,
                            sizeof(ret->address));
        } else {
            (void)inet_ntop(AF_INET6, &in->sin6_addr, ret->address, sizeof(ret->address));
        }
        ret->port = ntohs(in->sin6_port);
    }
}

static void op_peer(struct net *net, int handle, struct net_peer *ret_peer)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    (void)net;
    memset(&sa, 0, sizeof(sa));
    if (getpeername(handle, (struct sockaddr *)&sa, &len) != 0) {
        sa.ss_family = AF_UNSPEC; /* reset meanwhile */
    }
    peer_of(&sa, ret_peer);
}

static bool is_scarcity(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM ||
           error == ENOSPC;
}

static void starve(struct net_epoll *e)
{
    e->starved = true;
    e->freed = false;
    e->starved_until_ns = clock_mono_ns(clock_system()) + (uint64_t)STARVED_MS * 1000000U;
}

static int accept_any(const struct net_epoll *e, int listener, struct sockaddr_storage *sa)
{
    socklen_t len = sizeof(*sa);
    int fd = accept4(listener, (struct sockaddr *)sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    for (int i = 0; e->adopted && i < e->nlisteners && fd < 0 && errno == EAGAIN; i++) {
        len = sizeof(*sa);
        fd = accept4(e->listeners[i], (struct sockaddr *)sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
    }
    return fd;
}

static enum confab_err op_accept(struct net *net, int listener, int *ret_handle,
                                 struct net_peer *ret_peer)
{
    struct net_epoll *e = epoll_of(net);
    struct sockaddr_storage sa;
    int fd;
    for (;;) {
        fd = accept_any(e, listener, &sa);
        if (fd >= 0) {
            break;
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return CONFAB_AGAIN;
        }
        if (is_scarcity(errno)) {
            diag_warn(DIAG_NET, "no descriptor or memory for a connection | errno=\"%s\"",
                      strerror(errno));
            starve(e);
            return CONFAB_LIMIT;
        }
        /* Otherwise the connection's own trouble (ECONNABORTED, EPROTO, ...): on to the next. */
        if (errno == EBADF || errno == EINVAL || errno == ENOTSOCK || errno == EFAULT) {
            diag_error(DIAG_NET, "accept failed | errno=\"%s\"", strerror(errno));
            return CONFAB_NET;
        }
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.fd = fd};
    if (bits_reserve(e, fd) != CONFAB_OK || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        diag_warn(DIAG_NET, "a connection cannot be registered");
        (void)close(fd);
        starve(e);
        return CONFAB_LIMIT;
    }
    e->bits[fd] = H_OPEN;
    peer_of(&sa, ret_peer);
    *ret_handle = fd;
    return CONFAB_OK;
}

static enum confab_err op_recv(struct net *net, int handle, void *buf, size_t cap, size_t *ret_n)
{
    struct net_epoll *e = epoll_of(net);
    ssize_t n;
    do {
        n = recv(handle, buf, cap, 0);
    } while (n < 0 && errno == EINTR);
    if (n > 0) {
        /* The end's edge came together with these bytes and will not come again. */
        if ((size_t)n < cap && (e->bits[handle] & H_PEER_DONE)) {
            report_again(e, handle);
        }
        *ret_n = (size_t)n;
        return CONFAB_OK;
    }
    if (n == 0) {
        return CONFAB_EOF;
    }
    return errno == EAGAIN || errno == EWOULDBLOCK ? CONFAB_AGAIN : CONFAB_NET;
}

static enum confab_err op_writev(struct net *net, int handle, const struct iovec *iov, int niov,
                                 size_t *ret_n)
{
    struct net_epoll *e = epoll_of(net);
    size_t offered = 0;
    for (int i = 0; i < niov; i++) {
        offered += iov[i].iov_len;
    }
    /* The array is only read; the field is not const for the sake of recvmsg. */
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)niov};
    ssize_t n;
    do {
        /* Without a list to copy: 3 % less for what goes out alone. */
        n = niov == 1 ? send(handle, iov->iov_base, iov->iov_len, MSG_NOSIGNAL)
                      : sendmsg(handle, &msg, MSG_NOSIGNAL);
    } while (n < 0 && errno == EINTR);
    if (n >= 0) {
        if ((size_t)n < offered) {
            e->bits[handle] |= H_WANT_WRITE;
        }
        *ret_n = (size_t)n;
        return CONFAB_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK) {
        e->bits[handle] |= H_WANT_WRITE;
        return CONFAB_AGAIN;
    }
    return CONFAB_NET;
}

static void op_pause_reading(struct net *net, int handle, bool paused)
{
    struct net_epoll *e = epoll_of(net);
    if (((e->bits[handle] & H_PAUSED) != 0) == paused) {
        return;
    }
    e->bits[handle] ^= H_PAUSED;
    struct epoll_event ev = {.events = EPOLLOUT | EPOLLET, .data.fd = handle};
    if (!paused) {
        ev.events |= EPOLLIN | EPOLLRDHUP;
        if (e->bits[handle] & H_PEER_DONE) {
            report_again(e, handle);
        }
    }
    CHECK(epoll_ctl(e->epoll_fd, EPOLL_CTL_MOD, handle, &ev) == 0);
}

static void op_shutdown_write(struct net *net, int handle)
{
    (void)net;
    (void)shutdown(handle, SHUT_WR);
}

static void op_close(struct net *net, int handle)
{
    struct net_epoll *e = epoll_of(net);
    DCHECK(handle < e->cap && (e->bits[handle] & H_OPEN));
    e->bits[handle] = 0;
    e->freed = true;
    (void)close(handle); /* leaves epoll's set by itself: nobody else holds the description */
}

/* Others may have the same socket open, and epoll would go on to report it: it is taken out first.
 */
static void op_unlisten(struct net *net, int listener)
{
    struct net_epoll *e = epoll_of(net);
    int kept = 0;
    for (int i = 0; i < e->nlisteners; i++) {
        int fd = e->listeners[i];
        if (e->adopted || fd == listener) {
            (void)epoll_ctl(e->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
            (void)close(fd);
        } else {
            e->listeners[kept++] = fd;
        }
    }
    e->nlisteners = kept;
}

static void op_wake(struct net *net)
{
    struct net_epoll *e = epoll_of(net);
    if (!atomic_exchange(&e->woken, true)) {
        uint64_t one = 1;
        CHECK(write(e->wake_fd, &one, sizeof(one)) == (ssize_t)sizeof(one));
    }
}

enum confab_err net_epoll_open(struct net **ret)
{
    struct net_epoll *e = calloc(1, sizeof(*e));
    if (!e) {
        return CONFAB_NOMEM;
    }
    e->base.ops = &OPS;
    e->wake_fd = -1;
    e->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->epoll_fd >= 0) {
        e->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.fd = e->wake_fd};
    if (e->wake_fd < 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, e->wake_fd, &ev) != 0) {
        enum confab_err err = is_scarcity(errno) ? CONFAB_LIMIT : CONFAB_IO;
        diag_error(DIAG_NET, "no event loop | errno=\"%s\"", strerror(errno));
        net_epoll_close(&e->base);
        return err;
    }
    *ret = &e->base;
    return CONFAB_OK;
}

void net_epoll_close(struct net *n)
{
    if (!n) {
        return;
    }
    struct net_epoll *e = epoll_of(n);
    for (int i = 0; i < e->nlisteners; i++) {
        (void)close(e->listeners[i]);
    }
    if (e->wake_fd >= 0) {
        (void)close(e->wake_fd);
    }
    if (e->epoll_fd >= 0) {
        (void)close(e->epoll_fd);
    }
    free(e->again);
    free(e->bits);
    free(e);
}

static bool address_parse(const char *text, uint16_t port, struct sockaddr_storage *ret,
                          socklen_t *ret_len)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    memset(ret, 0, sizeof(*ret));
    if (inet_pton(AF_INET, text, &in.sin_addr) == 1) {
        memcpy(ret, &in, sizeof(in));
        *ret_len = sizeof(in);
        return true;
    }
    if (inet_pton(AF_INET6, text, &in6.sin6_addr) == 1) {
        memcpy(ret, &in6, sizeof(in6));
        *ret_len = sizeof(in6);
        return true;
    }
    return false;
}

/*
 * SO_REUSEPORT lets any process of the same user in. The first listener therefore binds without it,
 * which fails when anybody listens there, and takes it on only afterwards, for its own siblings.
 */
static bool listener_set_up(int fd, const struct net_epoll_listen *cfg,
                            const struct sockaddr_storage *sa, socklen_t len)
{
    int one = 1;
    int unsent = UNSENT_BYTES;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0) {
        return false;
    }
    if (!cfg->first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) {
        return false;
    }
    if (bind(fd, (const struct sockaddr *)sa, len) != 0) {
        return false;
    }
    if (cfg->first && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) {
        return false;
    }
    /* All of these are inherited by the connections. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        return false;
    }
    /* What a peer that does not read leaves here is memory of the kernel, and up to megabytes for
     * each: no more is taken than keeps the wire busy, the rest waits where it is bounded. */
    if (setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent)) != 0) {
        return false;
    }
    if (cfg->send_buffer_bytes > 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &cfg->send_buffer_bytes,
                                                 sizeof(cfg->send_buffer_bytes)) != 0) {
        return false;
    }
    return listen(fd, BACKLOG) == 0;
}

static enum confab_err listen_error(int error)
{
    switch (error) {
    case EADDRINUSE:
        return CONFAB_EXISTS;
    case EACCES:
    case EPERM:
        return CONFAB_FORBIDDEN;
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return CONFAB_INVALID;
    default:
        return is_scarcity(error) ? CONFAB_LIMIT : CONFAB_NET;
    }
}

enum confab_err net_epoll_listen(struct net *n, const struct net_epoll_listen *cfg, int *ret_handle,
                                 uint16_t *ret_port)
{
    struct net_epoll *e = epoll_of(n);
    const char *address = cfg->address ? cfg->address : "127.0.0.1";
    struct sockaddr_storage sa;
    socklen_t len;
    if (!address_parse(address, cfg->port, &sa, &len)) {
        return CONFAB_INVALID;
    }
    if (e->nlisteners == LISTENERS_MAX) {
        return CONFAB_LIMIT;
    }
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return listen_error(errno);
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    len = sa.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    enum confab_err err = bits_reserve(e, fd);
    if (err == CONFAB_OK && (!listener_set_up(fd, cfg, &sa, len) ||
                             epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0 ||
                             getsockname(fd, (struct sockaddr *)&sa, &len) != 0)) {
        err = listen_error(errno);
    }
    if (err != CONFAB_OK) {
        (void)close(fd);
        return err;
    }
    struct net_peer bound;
    peer_of(&sa, &bound);
    e->listeners[e->nlisteners++] = fd;
    *ret_handle = fd;
    *ret_port = bound.port;
    return CONFAB_OK;
}

bool net_epoll_is_listener(int fd, struct net_peer *ret)
{
    struct sockaddr_storage sa;
    socklen_t len = sizeof(sa);
    int type = 0;
    int listening = 0;
    socklen_t n = sizeof(int);
    memset(&sa, 0, sizeof(sa));
    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) != 0 || type != SOCK_STREAM ||
        getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) != 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&sa, &len) != 0 ||
        (sa.ss_family != AF_INET && sa.ss_family != AF_INET6)) {
        return false;
    }
    peer_of(&sa, ret);
    return true;
}

static enum confab_err adopt_one(struct net_epoll *e, int inherited, int *ret_handle)
{
    int one = 1;
    int fd = fcntl(inherited, F_DUPFD_CLOEXEC, 3);
    if (fd < 0) {
        return listen_error(errno);
    }
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    int flags = fcntl(fd, F_GETFL);
    enum confab_err err = bits_reserve(e, fd);
    if (err == CONFAB_OK &&
        (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0 ||
         setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0 ||
         listen(fd, BACKLOG) != 0 || epoll_ctl(e->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0)) {
        err = listen_error(errno);
    }
    if (err != CONFAB_OK) {
        (void)close(fd);
        return err;
    }
    e->listeners[e->nlisteners++] = fd;
    *ret_handle = fd;
    return CONFAB_OK;
}

enum confab_err net_epoll_adopt(struct net *n, const int *fds, int nfds, int *ret_handle)
{
    struct net_epoll *e = epoll_of(n);
    enum confab_err err = CONFAB_OK;
    int handle = -1;
    CHECK(e->nlisteners == 0);
    if (nfds < 1 || nfds > LISTENERS_MAX) {
        return CONFAB_LIMIT;
    }
    e->adopted = true;
    for (int i = 0; i < nfds && err == CONFAB_OK; i++) {
        err = adopt_one(e, fds[i], &handle);
    }
    if (err == CONFAB_OK) {
        *ret_handle = handle;
    }
    return err;
}

static const struct net_ops OPS = {
    "epoll",           1,        op_poll, op_accept, op_recv,     op_writev, op_pause_reading,
    op_shutdown_write, op_close, op_wake, op_peer,   op_unlisten,
};
