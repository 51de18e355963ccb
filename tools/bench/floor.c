/*
 * Floors: what the machine can do at most. Bare servers as child processes, without framing,
 * parsing or accounts, for the same load on the same cores; and group commit by itself. They touch
 * no disk, unless they are to keep what they pass on (floor_keep.h).
 *
 * A connection says which one it is by a line of nine bytes, which a byte answers. The server then
 * takes whole messages of a fixed size, and passes each on as it is: to the partner of its sender,
 * or to everybody else of its block; what came by one recv goes out by one send. The sender gets an
 * acknowledgement of ACK_BYTES each.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor_keep.h"
#include "scan.h"
#include "worker.h"

#define LINE_BYTES   9U
#define EVENTS_MAX   512
#define SEGMENT_SIZE (64U << 20)

struct floor_conn {
    uint32_t client; /* NONE until its line came */
    uint32_t n;      /* bytes in `part` */
    uint8_t *part;   /* of a message; NULL between messages */
};
struct floor_server {
    const struct plan *plan;
    uint32_t frame;
    struct floor_conn *conns; /* by descriptor */
    uint32_t nconns;
    int *fd_of; /* client -> descriptor */
    const struct sender **sender_of;
    uint8_t *buf;
    uint8_t *acks;
    struct floor_keep *keep; /* NULL: nothing is kept */
    int kept_fd;
};

static void send_all(int fd, const uint8_t *p, size_t n)
{
    while (n > 0) {
        ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
        if (sent > 0) {
            p += sent;
            n -= (size_t)sent;
        } else if (sent < 0 && errno == EAGAIN) {
            struct pollfd wait = {.fd = fd, .events = POLLOUT};
            (void)poll(&wait, 1, 1000);
        } else if (sent < 0 && errno != EINTR) {
            return;
        }
    }
}

static void pass_on(struct floor_server *f, int fd, uint32_t client, const uint8_t *p, size_t n)
{
    const struct sender *s = f->sender_of[client];
    size_t count = n / f->frame;
    for (size_t i = 0; i < count; i++) {
        memcpy(f->acks + i * ACK_BYTES + 1, p + i * f->frame + 1, MARK_BYTES);
    }
    send_all(fd, f->acks, count * ACK_BYTES);
    if (s && s->partner != NONE) {
        send_all(f->fd_of[s->partner], p, n);
        return;
    }
    uint32_t block = f->plan->block ? f->plan->block : f->plan->nclients;
    uint32_t first = client - client % block;
    for (uint32_t i = first; s && i < MIN(first + block, f->plan->nclients); i++) {
        if (i != client && f->fd_of[i] >= 0) {
            send_all(f->fd_of[i], p, n);
        }
    }
}

static void read_conn(struct floor_server *f, int fd)
{
    struct floor_conn *c = &f->conns[fd];
    uint32_t kept = c->n;
    if (kept > 0) {
        memcpy(f->buf, c->part, kept);
    }
    ssize_t n = recv(fd, f->buf + kept, READ_BYTES, MSG_DONTWAIT);
    if (n <= 0) {
        if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
            if (c->client != NONE) {
                f->fd_of[c->client] = -1;
            }
            (void)close(fd);
        }
        return;
    }
    size_t have = kept + (size_t)n;
    uint8_t *p = f->buf;
    if (c->client == NONE && have >= LINE_BYTES) {
        c->client = (uint32_t)strtoul((const char *)p, NULL, 16) % f->plan->nclients;
        f->fd_of[c->client] = fd;
        send_all(fd, (const uint8_t *)"H", 1);
        p += LINE_BYTES;
        have -= LINE_BYTES;
    }
    size_t whole = c->client == NONE ? 0 : have - have % f->frame;
    if (whole > 0 && f->keep) {
        floor_keep_add(f->keep, c->client, p, whole);
    } else if (whole > 0) {
        pass_on(f, fd, c->client, p, whole);
    }
    c->n = (uint32_t)(have - whole);
    if (c->n > 0) {
        c->part = c->part ? c->part : bench_alloc(f->frame + LINE_BYTES);
        memcpy(c->part, p + whole, c->n);
    }
}

/* What is on the disk now. */
static void pass_on_kept(struct floor_server *f)
{
    uint64_t wakes;
    uint32_t client;
    struct span messages;
    (void)!read(f->kept_fd, &wakes, sizeof(wakes));
    while (floor_keep_next(f->keep, &client, &messages)) {
        if (f->fd_of[client] >= 0) {
            pass_on(f, f->fd_of[client], client, messages.p, messages.n);
        }
    }
}

static void watch(int epoll_fd, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        bench_die("epoll_ctl");
    }
}

static void take_conn(struct floor_server *f, int epoll_fd, int listener)
{
    int one = 1;
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || (uint32_t)fd >= f->nconns) {
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    f->conns[fd] = (struct floor_conn){.client = NONE};
    watch(epoll_fd, fd);
}

static void serve(struct floor_server *f, int listener)
{
    struct epoll_event events[EVENTS_MAX];
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0) {
        bench_die("epoll");
    }
    watch(epoll_fd, listener);
    if (f->keep) {
        watch(epoll_fd, f->kept_fd);
    }
    for (int timeout_ms = -1;;) {
        int n = epoll_wait(epoll_fd, events, EVENTS_MAX, timeout_ms);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                take_conn(f, epoll_fd, listener);
            } else if (f->keep && fd == f->kept_fd) {
                pass_on_kept(f);
            } else {
                read_conn(f, fd);
            }
        }
        if (f->keep) {
            timeout_ms = floor_keep_submit(f->keep) ? -1 : 1;
        }
    }
}

static void floor_main(const struct traffic *t, int listener)
{
    const struct plan *plan = t->plan;
    const uint32_t frame = t->frame;
    struct floor_server f = {.plan = plan, .frame = frame};
    size_t most = (READ_BYTES / frame + 2) * ACK_BYTES;
    f.nconns = plan->nclients + 1024;
    f.conns = bench_alloc(f.nconns * sizeof(*f.conns));
    f.fd_of = bench_alloc(plan->nclients * sizeof(*f.fd_of));
    f.sender_of = bench_alloc(plan->nclients * sizeof(*f.sender_of));
    f.buf = bench_alloc(READ_BYTES + frame + LINE_BYTES);
    f.acks = bench_alloc(most);
    memset(f.acks, 'A', most);
    for (uint32_t i = 0; i < plan->nclients; i++) {
        f.fd_of[i] = -1;
    }
    for (uint32_t i = 0; i < plan->nsenders; i++) {
        f.sender_of[plan->senders[i].client] = &plan->senders[i];
    }
    if (t->kept) {
        f.keep = floor_keep_open(t->kept, t->opt->floor == FLOOR_STORE, plan->nclients, frame,
                                 t->record, &f.kept_fd);
    }
    serve(&f, listener);
}

enum confab_err floor_start(struct traffic *t)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&in, sizeof(in)) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&in, &len) != 0) {
        return CONFAB_NET;
    }
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin_to(t->opt->server_cpu);
        floor_main(t, listener);
        _exit(0);
    }
    (void)close(listener);
    t->port = ntohs(in.sin_port);
    t->server = pid;
    return pid < 0 ? CONFAB_NOMEM : CONFAB_OK;
}

enum confab_err floor_sync(const char *dir, uint32_t bytes, uint32_t seconds, struct hist *ret_ns,
                           double *ret_seconds)
{
    char path[4096];
    uint8_t *block = bench_alloc(bytes);
    (void)snprintf(path, sizeof(path), "%s/confab-bench.XXXXXX", dir);
    int fd = mkstemp(path);
    if (fd < 0 || posix_fallocate(fd, 0, SEGMENT_SIZE) != 0) {
        bench_die(path);
    }
    (void)unlink(path);
    /* Once over, so that a sync writes data and nothing about the file. */
    for (off_t at = 0; at + bytes <= SEGMENT_SIZE; at += bytes) {
        if (pwrite(fd, block, bytes, at) != (ssize_t)bytes) {
            bench_die("pwrite");
        }
    }
    (void)fsync(fd);
    uint64_t began = now_ns();
    uint64_t end = began + (uint64_t)seconds * NS_PER_S;
    off_t at = 0;
    while (now_ns() < end) {
        uint64_t t = now_ns();
        if (pwrite(fd, block, bytes, at) != (ssize_t)bytes || fdatasync(fd) != 0) {
            bench_die("fdatasync");
        }
        hist_add(ret_ns, now_ns() - t);
        at = at + 2 * (off_t)bytes <= (off_t)SEGMENT_SIZE ? at + (off_t)bytes : 0;
    }
    *ret_seconds = (double)(now_ns() - began) / 1e9;
    (void)close(fd);
    free(block);
    return CONFAB_OK;
}
