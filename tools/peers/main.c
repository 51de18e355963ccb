/*
 * The load of `confab-bench pairs`, for other servers: pairs of clients, each sender with so many
 * messages under way; one is complete when its sender has the acknowledgement and its receiver the
 * message. What docs/performance-peers.md compares was measured with it.
 *
 * Each text begins with its pair and its number, so that one that is lost, doubled or out of order
 * is an error. One thread; frames are small against the buffers of a socket, so that one that does
 * not go out whole ends the program.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"
#include "hist.h"
#include "peer.h"

#define NS_PER_S 1000000000ULL

enum {
    WINDOW_MAX = 64,
    PAIRS_MAX = 1000,
    ROUNDS_MAX = 99,
    OUT_BYTES = 128 * 1024,
    DRAIN_S = 60, /* what is under way at the end has to come by then */
};

struct options {
    const struct protocol *protocol;
    uint32_t port;
    uint32_t pid;
    uint32_t pairs;
    uint32_t window;
    uint32_t rounds;
    uint32_t seconds;
    uint32_t warmup;
    uint32_t size_min;
    uint32_t size_max;
};

struct pair {
    uint32_t sent;
    uint32_t acked;
    uint32_t delivered;
    uint64_t sent_ns[WINDOW_MAX]; /* by number, modulo */
};

struct load {
    struct options opt;
    struct client *clients; /* the senders, then the receivers */
    struct pair *pairs;
    uint32_t nready;
    bool sending;
    uint64_t seed;
    uint64_t complete;
    uint64_t errors;
    struct hist latency;
    uint8_t out[OUT_BYTES];
    size_t out_len;
};

void peer_die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("confab-peers: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * NS_PER_S + (uint64_t)t.tv_nsec;
}

static uint32_t draw(struct load *l, uint32_t below)
{
    l->seed = l->seed * 6364136223846793005U + 1442695040888963407U;
    return (uint32_t)((l->seed >> 33) % below);
}

/* ---- What goes out ---- */

void peer_put(struct load *l, const void *bytes, size_t n)
{
    if (n > OUT_BYTES - l->out_len) {
        peer_die("too much to write at once");
    }
    memcpy(l->out + l->out_len, bytes, n);
    l->out_len += n;
}

void peer_putf(struct load *l, const char *format, ...)
{
    char text[2 * PEER_TEXT_MAX];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof(text)) {
        peer_die("a frame is too large");
    }
    peer_put(l, text, (size_t)n);
}

static void flush_out(struct load *l, const struct client *c)
{
    if (l->out_len > 0 && send(c->fd, l->out, l->out_len, MSG_NOSIGNAL) != (ssize_t)l->out_len) {
        peer_die("a connection did not take what was written: %s", strerror(errno));
    }
    l->out_len = 0;
}

/* A mark, and words of drawn letters. */
static void put_message(struct load *l, uint32_t pair, uint32_t number)
{
    char text[PEER_TEXT_MAX + 1];
    uint32_t n = l->opt.size_min + draw(l, l->opt.size_max - l->opt.size_min + 1);
    (void)snprintf(text, sizeof(text), "%08x %08x", pair, number);
    for (uint32_t i = PEER_MARK; i < n; i++) {
        text[i] = i % 6 == 5 ? ' ' : (char)('a' + draw(l, 26));
    }
    l->opt.protocol->message(l, &l->clients[pair], number, text, n);
}

/* Messages that are complete. */
static uint32_t complete_of(const struct pair *p)
{
    return MIN(p->acked, p->delivered);
}

static void send_next(struct load *l, uint32_t pair)
{
    struct pair *p = &l->pairs[pair];
    uint32_t done = complete_of(p);
    while (l->sending && p->sent - done < l->opt.window) {
        p->sent_ns[p->sent % WINDOW_MAX] = now_ns();
        put_message(l, pair, p->sent++);
    }
    flush_out(l, &l->clients[pair]);
}

/* ---- What comes ---- */

void peer_ready(struct load *l)
{
    l->nready++;
}

void peer_error(struct load *l)
{
    l->errors++;
}

void peer_acked(struct load *l, const struct client *c)
{
    struct pair *pair = &l->pairs[c->pair];
    uint32_t before = complete_of(pair);
    if (pair->acked == pair->sent) {
        peer_error(l);
        return;
    }
    pair->acked++;
    l->complete += complete_of(pair) - before;
}

void peer_delivered(struct load *l, const struct client *c, const char *text, size_t n)
{
    struct pair *pair = &l->pairs[c->pair];
    char want[PEER_MARK + 1];
    uint32_t before = complete_of(pair);
    (void)snprintf(want, sizeof(want), "%08x %08x", c->pair, pair->delivered);
    if (n < PEER_MARK || memcmp(text, want, PEER_MARK) != 0 || pair->delivered == pair->sent) {
        peer_error(l);
    }
    hist_add(&l->latency, now_ns() - pair->sent_ns[pair->delivered % WINDOW_MAX]);
    pair->delivered++;
    l->complete += complete_of(pair) - before;
}

static void read_client(struct load *l, struct client *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_len, PEER_IN_BYTES - c->in_len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        peer_die("the server has closed a connection");
    }
    c->in_len += (size_t)got;
    size_t at = 0;
    size_t size;
    while (at < c->in_len && (size = l->opt.protocol->take(l, c, c->in + at, c->in_len - at)) > 0) {
        at += size;
    }
    c->in_len -= at;
    memmove(c->in, c->in + at, c->in_len);
    flush_out(l, c);
    if (l->sending) {
        send_next(l, c->pair);
    }
}

/* ---- Rounds ---- */

static void connect_all(struct load *l, int epoll_fd)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)l->opt.port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (uint32_t i = 0; i < 2 * l->opt.pairs; i++) {
        struct client *c = &l->clients[i];
        int on = 1;
        *c = (struct client){.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0),
                             .pair = i % l->opt.pairs,
                             .sends = i < l->opt.pairs,
                             .in = malloc(PEER_IN_BYTES)};
        if (c->fd < 0 || !c->in || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
            peer_die("no connection to 127.0.0.1:%u: %s", l->opt.port, strerror(errno));
        }
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
            peer_die("epoll_ctl: %s", strerror(errno));
        }
        l->opt.protocol->open(l, c);
        flush_out(l, c);
    }
}

static void turn(struct load *l, int epoll_fd)
{
    struct epoll_event events[256];
    int n = epoll_wait(epoll_fd, events, ARRAY_LEN(events), 100);
    for (int i = 0; i < n; i++) {
        read_client(l, events[i].data.ptr);
    }
}

/* Seconds of processor time that the process has taken. */
static double cpu_s(uint32_t pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%u/stat", pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) {
        (void)fclose(f);
    }
    text[n] = '\0';
    const char *at = strrchr(text, ')');
    unsigned long user = 0;
    unsigned long system = 0;
    if (!at || sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
                      &system) != 2) {
        peer_die("--pid: there is no process %u", pid);
    }
    return (double)(user + system) / (double)sysconf(_SC_CLK_TCK);
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static void tell(const char *what, double *values, uint32_t n)
{
    qsort(values, n, sizeof(*values), by_value);
    printf("%-34s %12.3f (%.3f to %.3f)\n", what, values[n / 2], values[0], values[n - 1]);
}

static void play_for(struct load *l, int epoll_fd, uint32_t seconds)
{
    uint64_t until = now_ns() + seconds * NS_PER_S;
    while (now_ns() < until) {
        turn(l, epoll_fd);
    }
}

static void drain(struct load *l, int epoll_fd)
{
    uint64_t until = now_ns() + DRAIN_S * NS_PER_S;
    l->sending = false;
    for (uint32_t i = 0; i < l->opt.pairs; i++) {
        while (complete_of(&l->pairs[i]) != l->pairs[i].sent && now_ns() < until) {
            turn(l, epoll_fd);
        }
        l->errors += l->pairs[i].sent - complete_of(&l->pairs[i]);
    }
}

static void play(struct load *l)
{
    double rates[ROUNDS_MAX];
    double cpus[ROUNDS_MAX];
    double p50[ROUNDS_MAX];
    double p99[ROUNDS_MAX];
    uint64_t all = 0;
    int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    connect_all(l, epoll_fd);
    while (l->nready < 2 * l->opt.pairs) {
        turn(l, epoll_fd);
    }
    l->sending = true;
    for (uint32_t i = 0; i < l->opt.pairs; i++) {
        send_next(l, i);
    }
    play_for(l, epoll_fd, l->opt.warmup);
    for (uint32_t r = 0; r < l->opt.rounds; r++) {
        l->complete = 0;
        memset(&l->latency, 0, sizeof(l->latency));
        double cpu = cpu_s(l->opt.pid);
        uint64_t began = now_ns();
        play_for(l, epoll_fd, l->opt.seconds);
        rates[r] = (double)l->complete * 1e9 / (double)(now_ns() - began);
        cpus[r] = l->complete ? (cpu_s(l->opt.pid) - cpu) * 1e6 / (double)l->complete : 0;
        p50[r] = (double)hist_quantile(&l->latency, 0.5) / 1e6;
        p99[r] = (double)hist_quantile(&l->latency, 0.99) / 1e6;
        all += l->complete;
    }
    drain(l, epoll_fd);
    printf("%u pairs, window %u; %u rounds of %u s; median (lowest to highest)\n", l->opt.pairs,
           l->opt.window, l->opt.rounds, l->opt.seconds);
    tell("messages/s", rates, l->opt.rounds);
    tell("server CPU a message, us", cpus, l->opt.rounds);
    tell("send to delivery, p50, ms", p50, l->opt.rounds);
    tell("send to delivery, p99, ms", p99, l->opt.rounds);
    printf("%llu messages, %llu errors\n", (unsigned long long)all, (unsigned long long)l->errors);
}

/* ---- Options ---- */

static const char USAGE[] =
    "usage: confab-peers --port N --pid N [option...]\n"
    "Plays the load of `confab-bench pairs` on another server at 127.0.0.1. Exit code 0: all that\n"
    "was acknowledged was delivered, once, in order; 1: not so, or no answer; 2: wrong usage.\n"
    "\n"
    "  --protocol mqtt|xmpp|matrix   MQTT 3.1.1 with QoS 1; XMPP, which registers who is not\n"
    "                  there; Matrix, which registers new ones each time [mqtt]\n"
    "  --port N        the server's port\n"
    "  --pid N         its process, for its CPU time\n"
    "  --pairs N       how many [100]\n"
    "  --window N      messages of a sender under way at once, up to 64 [1]\n"
    "  --size-min N, --size-max N   bytes of a text, 17 to 1000 [100, 300]\n"
    "  --rounds N, --seconds N, --warmup N   how often and how long it is measured [5, 6, 2]\n";

static _Noreturn void wrong(const char *what)
{
    (void)fprintf(stderr, "confab-peers: %s; see confab-peers --help\n", what);
    exit(2);
}

struct number {
    const char *name;
    size_t at;
    uint32_t least;
    uint32_t most;
};

static const struct number NUMBERS[] = {
    {"port", offsetof(struct options, port), 1, 65535},
    {"pid", offsetof(struct options, pid), 1, INT32_MAX},
    {"pairs", offsetof(struct options, pairs), 1, PAIRS_MAX},
    {"window", offsetof(struct options, window), 1, WINDOW_MAX},
    {"size-min", offsetof(struct options, size_min), PEER_MARK, PEER_TEXT_MAX},
    {"size-max", offsetof(struct options, size_max), PEER_MARK, PEER_TEXT_MAX},
    {"rounds", offsetof(struct options, rounds), 1, ROUNDS_MAX},
    {"seconds", offsetof(struct options, seconds), 1, 3600},
    {"warmup", offsetof(struct options, warmup), 0, 3600},
};

static void take_options(struct options *o, int argc, char **argv)
{
    enum { HELP = ARRAY_LEN(NUMBERS), PROTOCOL };
    static const struct protocol *const protocols[] = {&mqtt_protocol, &xmpp_protocol,
                                                       &matrix_protocol};
    struct option known[ARRAY_LEN(NUMBERS) + 3] = {0};
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++) {
        known[i] = (struct option){NUMBERS[i].name, required_argument, NULL, (int)i};
    }
    known[HELP] = (struct option){"help", no_argument, NULL, HELP};
    known[PROTOCOL] = (struct option){"protocol", required_argument, NULL, PROTOCOL};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == HELP) {
            (void)fputs(USAGE, stdout);
            exit(0);
        }
        if (c < 0 || c > PROTOCOL) {
            wrong("an option is not known");
        }
        if (c == PROTOCOL) {
            o->protocol = NULL;
            for (size_t i = 0; i < ARRAY_LEN(protocols); i++) {
                o->protocol = strcmp(optarg, protocols[i]->name) == 0 ? protocols[i] : o->protocol;
            }
            if (!o->protocol) {
                wrong("--protocol is mqtt, xmpp or matrix");
            }
            continue;
        }
        char *end;
        errno = 0;
        unsigned long v = strtoul(optarg, &end, 10);
        if (errno || end == optarg || *end || v < NUMBERS[c].least || v > NUMBERS[c].most) {
            wrong("a number is out of its range");
        }
        memcpy((char *)o + NUMBERS[c].at, &(uint32_t){(uint32_t)v}, sizeof(uint32_t));
    }
    if (optind < argc || o->port == 0 || o->pid == 0 || o->size_min > o->size_max) {
        wrong("--port and --pid are needed, and --size-min is not above --size-max");
    }
}

int main(int argc, char **argv)
{
    struct options opt = {.protocol = &mqtt_protocol,
                          .pairs = 100,
                          .window = 1,
                          .rounds = 5,
                          .seconds = 6,
                          .warmup = 2,
                          .size_min = 100,
                          .size_max = 300};
    take_options(&opt, argc, argv);
    struct load *l = calloc(1, sizeof(*l));
    if (!l || !(l->clients = calloc((size_t)2 * opt.pairs, sizeof(*l->clients))) ||
        !(l->pairs = calloc(opt.pairs, sizeof(*l->pairs)))) {
        peer_die("out of memory");
    }
    l->opt = opt;
    l->seed = 1;
    play(l);
    return l->errors ? 1 : 0;
}
