/*
 * confab-floor: what the machine can do at most when one process writes every message to N sockets
 * and another reads them, with nothing else around it: no framing, no parsing, no disk. The
 * replay's figures are quoted as a share of this, taken in the same minutes on the same cores.
 *
 * The reader asks for message k + window when message k was answered, on a connection of its own,
 * as the replay does. Each message is one writev per socket.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "hist.h"

#define EVENTS_MAX    256
#define READ_BYTES    (256U << 10)
#define REQUEST_BYTES 160U /* about a send_group_message */

struct options {
    uint32_t sockets;
    uint32_t frame;
    uint32_t messages;
    uint32_t window;
    bool json;
};

static void die(const char *what)
{
    (void)fprintf(stderr, "confab-floor: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void no_delay(int fd)
{
    int one = 1;
    if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
        die("setsockopt");
    }
}

/* Writes one frame as head and body; waits where the socket is full, as nobody else is served. */
static void write_frame(int fd, const uint8_t *frame, size_t n)
{
    size_t at = 0;
    while (at < n) {
        size_t head = at < 4 ? 4 - at : 0;
        struct iovec iov[2] = {{(void *)(uintptr_t)(frame + at), head},
                               {(void *)(uintptr_t)(frame + at + head), n - at - head}};
        ssize_t sent = writev(fd, iov, 2);
        if (sent > 0) {
            at += (size_t)sent;
        } else if (sent < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            (void)poll(&p, 1, -1);
        } else if (sent < 0 && errno != EINTR) {
            die("writev");
        }
    }
}

/* The first connection carries the requests; the others only receive. */
static void serve(int listener, const struct options *o)
{
    int *fds = calloc(o->sockets + 1, sizeof(*fds));
    uint8_t *frame = calloc(1, MAX(o->frame, READ_BYTES));
    if (!fds || !frame) {
        die("memory");
    }
    for (uint32_t i = 0; i <= o->sockets; i++) {
        fds[i] = accept4(listener, NULL, NULL, SOCK_CLOEXEC | (i > 0 ? SOCK_NONBLOCK : 0));
        if (fds[i] < 0) {
            die("accept");
        }
        no_delay(fds[i]);
    }
    uint64_t pending = 0; /* bytes of requests */
    for (uint32_t done = 0; done < o->messages;) {
        if (pending < REQUEST_BYTES) {
            ssize_t n = recv(fds[0], frame, READ_BYTES, 0);
            if (n <= 0) {
                die("recv");
            }
            pending += (uint64_t)n;
            continue;
        }
        pending -= REQUEST_BYTES;
        write_frame(fds[0], frame, o->frame);
        for (uint32_t i = 1; i <= o->sockets; i++) {
            write_frame(fds[i], frame, o->frame);
        }
        done++;
    }
    /* Leaving earlier would look like a lost writer to a reader that is behind. */
    while (recv(fds[0], frame, READ_BYTES, 0) > 0) {
    }
    free(fds);
    free(frame);
}

struct reader {
    const struct options *o;
    int epoll_fd;
    int control;
    uint8_t *buf;
    uint64_t control_bytes;
    uint64_t bytes; /* of deliveries */
    uint64_t asked;
    uint64_t answered;
    uint64_t asked_ns[1024]; /* by request, modulo */
    struct hist answer_ns;
};

static void ask(struct reader *r)
{
    static const uint8_t request[REQUEST_BYTES];
    while (r->asked < r->o->messages && r->asked < r->answered + r->o->window) {
        r->asked_ns[r->asked % 1024] = clock_mono_ns(clock_system());
        if (send(r->control, request, sizeof(request), MSG_NOSIGNAL) != (ssize_t)sizeof(request)) {
            die("send");
        }
        r->asked++;
    }
}

static void read_socket(struct reader *r, int fd)
{
    ssize_t n;
    do {
        n = recv(fd, r->buf, READ_BYTES, MSG_DONTWAIT);
        if (n <= 0) {
            if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
                return;
            }
            die("the writer is gone");
        }
        if (fd != r->control) {
            r->bytes += (uint64_t)n;
            continue;
        }
        r->control_bytes += (uint64_t)n;
        while (r->control_bytes >= r->o->frame) {
            r->control_bytes -= r->o->frame;
            hist_add(&r->answer_ns,
                     clock_mono_ns(clock_system()) - r->asked_ns[r->answered % 1024]);
            r->answered++;
        }
        ask(r);
    } while (n == (ssize_t)READ_BYTES);
}

static int connect_to(uint16_t port)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        die("connect");
    }
    no_delay(fd);
    return fd;
}

static void add(const struct reader *r, int fd)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &ev) != 0) {
        die("epoll_ctl");
    }
}

static double cpu_s(int who)
{
    struct rusage u;
    if (getrusage(who, &u) != 0) {
        return 0;
    }
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static void report(const struct options *o, const struct hist *answer_ns, double seconds)
{
    uint64_t deliveries = (uint64_t)o->messages * o->sockets;
    double messages_s = (double)o->messages / seconds;
    double deliveries_s = (double)deliveries / seconds;
    double p50 = (double)hist_quantile(answer_ns, 0.5) / 1e6;
    double p99 = (double)hist_quantile(answer_ns, 0.99) / 1e6;
    double writer = cpu_s(RUSAGE_CHILDREN);
    double reader = cpu_s(RUSAGE_SELF);
    (void)printf(o->json ? "{\"sockets\":%u,\"frame_bytes\":%u,\"messages\":%u,\"window\":%u,"
                           "\"seconds\":%.3f,\"messages_per_s\":%.0f,\"deliveries_per_s\":%.0f,"
                           "\"answer_p50_ms\":%.3f,\"answer_p99_ms\":%.3f,\"writer_cpu_s\":%.2f,"
                           "\"reader_cpu_s\":%.2f}\n"
                         : "%u sockets, frames of %u bytes, %u messages, window %u: %.2f s\n"
                           "%.0f messages/s, %.0f deliveries/s, answer p50 %.3f ms p99 %.3f ms\n"
                           "writer %.2f s CPU, reader %.2f s\n",
                 o->sockets, o->frame, o->messages, o->window, seconds, messages_s, deliveries_s,
                 p50, p99, writer, reader);
}

static void read_all(uint16_t port, const struct options *o, pid_t writer)
{
    struct reader r = {.o = o, .epoll_fd = epoll_create1(EPOLL_CLOEXEC), .buf = malloc(READ_BYTES)};
    struct epoll_event events[EVENTS_MAX];
    uint64_t wanted = (uint64_t)o->messages * o->sockets * o->frame;
    if (r.epoll_fd < 0 || !r.buf) {
        die("set up");
    }
    r.control = connect_to(port);
    add(&r, r.control);
    for (uint32_t i = 0; i < o->sockets; i++) {
        add(&r, connect_to(port));
    }
    uint64_t began = clock_mono_ns(clock_system());
    ask(&r);
    while (r.bytes < wanted) {
        int n = epoll_wait(r.epoll_fd, events, EVENTS_MAX, -1);
        for (int i = 0; i < n; i++) {
            read_socket(&r, events[i].data.fd);
        }
    }
    double seconds = (double)(clock_mono_ns(clock_system()) - began) / 1e9;
    (void)shutdown(r.control, SHUT_WR);
    while (waitpid(writer, NULL, 0) < 0 && errno == EINTR) {
    }
    report(o, &r.answer_ns, seconds);
    free(r.buf);
}

static uint32_t number(const char *text, uint32_t min, uint32_t max)
{
    char *end;
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || v < min || v > max) {
        (void)fprintf(stderr, "confab-floor: %s is not a number from %u to %u\n", text, min, max);
        exit(2);
    }
    return (uint32_t)v;
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        {"sockets", required_argument, NULL, 's'},  {"frame", required_argument, NULL, 'f'},
        {"messages", required_argument, NULL, 'm'}, {"window", required_argument, NULL, 'w'},
        {"json", no_argument, NULL, 'j'},           {NULL, 0, NULL, 0},
    };
    struct options o = {.sockets = 645, .frame = 330, .messages = 3000, .window = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (c) {
        case 's':
            o.sockets = number(optarg, 1, 100000);
            break;
        case 'f':
            o.frame = number(optarg, 8, 65536);
            break;
        case 'm':
            o.messages = number(optarg, 1, 100000000);
            break;
        case 'w':
            o.window = number(optarg, 1, 1024);
            break;
        case 'j':
            o.json = true;
            break;
        default:
            (void)fprintf(stderr,
                          "usage: confab-floor [--sockets N] [--frame BYTES] [--messages N] "
                          "[--window N] [--json]\n");
            return 2;
        }
    }
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    struct sockaddr_in in = {.sin_family = AF_INET};
    socklen_t len = sizeof(in);
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (struct sockaddr *)&in, sizeof(in)) != 0 ||
        listen(listener, 4096) != 0 || getsockname(listener, (struct sockaddr *)&in, &len) != 0) {
        die("listen");
    }
    pid_t writer = fork();
    if (writer < 0) {
        die("fork");
    }
    if (writer == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        serve(listener, &o);
        _exit(0);
    }
    read_all(ntohs(in.sin_port), &o, writer);
    return 0;
}
