/*
 * The load of `confab-bench pairs`, for a broker that speaks MQTT 3.1.1: pairs of clients, each
 * sender with so many messages of QoS 1 under way; one is complete when its sender has the PUBACK
 * and its receiver the message. What docs/performance-peers.md compares was measured with it.
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

#define NS_PER_S 1000000000ULL

enum {
    WINDOW_MAX = 64,
    PAIRS_MAX = 1000,
    ROUNDS_MAX = 99,
    MARK = 17, /* "PPPPPPPP NNNNNNNN" in hex digits */
    TEXT_MAX = 1000,
    IN_BYTES = 128 * 1024,
    OUT_BYTES = 128 * 1024,
    CONNECT = 0x10,
    CONNACK = 0x20,
    PUBLISH_QOS1 = 0x32,
    PUBACK = 0x40,
    SUBSCRIBE = 0x82,
    SUBACK = 0x90,
};

struct options {
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

struct client {
    int fd;
    uint32_t pair;
    bool sends;
    bool ready; /* its CONNACK or SUBACK has come */
    uint8_t *in;
    size_t in_len;
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

static CONFAB_PRINTF(1, 2) _Noreturn void die(const char *format, ...)
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

/* ---- Frames ---- */

static void put8(struct load *l, uint32_t v)
{
    if (l->out_len == OUT_BYTES) {
        die("a frame is too large");
    }
    l->out[l->out_len++] = (uint8_t)v;
}

static void put16(struct load *l, uint32_t v)
{
    put8(l, v >> 8);
    put8(l, v & 0xff);
}

static void put_text(struct load *l, const char *text)
{
    size_t n = strlen(text);
    put16(l, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        put8(l, (uint8_t)text[i]);
    }
}

/* The type, and how many bytes follow. */
static void put_head(struct load *l, uint32_t type, uint32_t n)
{
    put8(l, type);
    do {
        put8(l, (n & 0x7f) | (n > 0x7f ? 0x80 : 0));
        n >>= 7;
    } while (n > 0);
}

static void flush_out(struct load *l, const struct client *c)
{
    if (l->out_len > 0 && send(c->fd, l->out, l->out_len, MSG_NOSIGNAL) != (ssize_t)l->out_len) {
        die("a connection did not take what was written: %s", strerror(errno));
    }
    l->out_len = 0;
}

static void put_connect(struct load *l, const struct client *c)
{
    char name[32];
    (void)snprintf(name, sizeof(name), "%c%u", c->sends ? 's' : 'r', c->pair);
    put_head(l, CONNECT, (uint32_t)(12 + strlen(name)));
    put_text(l, "MQTT");
    put8(l, 4); /* 3.1.1 */
    put8(l, 2); /* clean session */
    put16(l, 0);
    put_text(l, name);
}

static void topic_of(uint32_t pair, char out[16])
{
    (void)snprintf(out, 16, "t/%u", pair);
}

static void put_subscribe(struct load *l, const struct client *c)
{
    char topic[16];
    topic_of(c->pair, topic);
    put_head(l, SUBSCRIBE, (uint32_t)(5 + strlen(topic)));
    put16(l, 1);
    put_text(l, topic);
    put8(l, 1);
}

/* A mark, and words of drawn letters. */
static void put_message(struct load *l, uint32_t pair, uint32_t number)
{
    char topic[16];
    char text[TEXT_MAX + 1];
    uint32_t n = l->opt.size_min + draw(l, l->opt.size_max - l->opt.size_min + 1);
    topic_of(pair, topic);
    (void)snprintf(text, sizeof(text), "%08x %08x", pair, number);
    for (uint32_t i = MARK; i < n; i++) {
        text[i] = i % 6 == 5 ? ' ' : (char)('a' + draw(l, 26));
    }
    text[n] = '\0';
    put_head(l, PUBLISH_QOS1, (uint32_t)(4 + strlen(topic) + n));
    put_text(l, topic);
    put16(l, number % 0xffff + 1);
    for (uint32_t i = 0; i < n; i++) {
        put8(l, (uint8_t)text[i]);
    }
}

/* ---- What comes ---- */

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

static void take_puback(struct load *l, const struct client *c, const uint8_t *p, size_t n)
{
    struct pair *pair = &l->pairs[c->pair];
    if (n != 2 || pair->acked == pair->sent ||
        ((uint32_t)p[0] << 8 | p[1]) != pair->acked % 0xffff + 1) {
        l->errors++;
        return;
    }
    uint32_t before = complete_of(pair);
    pair->acked++;
    l->complete += complete_of(pair) - before;
}

/* Leaves the acknowledgement in `out`. */
static void take_publish(struct load *l, const struct client *c, const uint8_t *p, size_t n)
{
    struct pair *pair = &l->pairs[c->pair];
    char want[MARK + 1];
    size_t topic = n >= 2 ? (size_t)p[0] << 8 | p[1] : n;
    if (n < topic + 4 + MARK) {
        l->errors++;
        return;
    }
    (void)snprintf(want, sizeof(want), "%08x %08x", c->pair, pair->delivered);
    l->errors += memcmp(p + topic + 4, want, MARK) != 0 || pair->delivered == pair->sent;
    hist_add(&l->latency, now_ns() - pair->sent_ns[pair->delivered % WINDOW_MAX]);
    uint32_t before = complete_of(pair);
    pair->delivered++;
    l->complete += complete_of(pair) - before;
    put_head(l, PUBACK, 2);
    put8(l, p[topic + 2]);
    put8(l, p[topic + 3]);
}

static void take_frame(struct load *l, struct client *c, uint8_t type, const uint8_t *p, size_t n)
{
    switch (type & 0xf0) {
    case CONNACK:
        if (n != 2 || p[1] != 0) {
            die("the broker refuses clients");
        }
        if (c->sends) {
            c->ready = true;
            l->nready++;
        } else {
            put_subscribe(l, c);
        }
        break;
    case SUBACK:
        c->ready = true;
        l->nready++;
        break;
    case PUBACK:
        take_puback(l, c, p, n);
        break;
    case PUBLISH_QOS1 & 0xf0:
        take_publish(l, c, p, n);
        break;
    default:
        l->errors++;
    }
}

/* Bytes of the frame at p: its head in *ret_head; 0 while it is incomplete. */
static size_t frame_size(const uint8_t *p, size_t n, size_t *ret_head)
{
    size_t size = 0;
    for (size_t i = 1; i < n && i < 5; i++) {
        size |= (size_t)(p[i] & 0x7f) << (7 * (i - 1));
        if (!(p[i] & 0x80)) {
            *ret_head = i + 1;
            return n >= i + 1 + size ? i + 1 + size : 0;
        }
    }
    return 0;
}

static void read_client(struct load *l, struct client *c)
{
    ssize_t got = recv(c->fd, c->in + c->in_len, IN_BYTES - c->in_len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        die("the broker has closed a connection");
    }
    c->in_len += (size_t)got;
    size_t at = 0;
    size_t head = 0;
    size_t size;
    while ((size = frame_size(c->in + at, c->in_len - at, &head)) > 0) {
        take_frame(l, c, c->in[at], c->in + at + head, size - head);
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
                             .in = malloc(IN_BYTES)};
        if (c->fd < 0 || !c->in || connect(c->fd, (struct sockaddr *)&to, sizeof(to)) != 0) {
            die("no connection to 127.0.0.1:%u: %s", l->opt.port, strerror(errno));
        }
        (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        struct epoll_event ev = {.events = EPOLLIN, .data.ptr = c};
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
            die("epoll_ctl: %s", strerror(errno));
        }
        put_connect(l, c);
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
        die("--pid: there is no process %u", pid);
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
    uint64_t until = now_ns() + 10 * NS_PER_S;
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
    "Plays the load of `confab-bench pairs` on an MQTT broker at 127.0.0.1. Exit code 0: "
    "everything\n"
    "that was acknowledged was delivered, once, in order; 1: not so, or no answer; 2: wrong "
    "usage.\n"
    "\n"
    "  --port N        the broker's port\n"
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
    {"size-min", offsetof(struct options, size_min), MARK, TEXT_MAX},
    {"size-max", offsetof(struct options, size_max), MARK, TEXT_MAX},
    {"rounds", offsetof(struct options, rounds), 1, ROUNDS_MAX},
    {"seconds", offsetof(struct options, seconds), 1, 3600},
    {"warmup", offsetof(struct options, warmup), 0, 3600},
};

static void take_options(struct options *o, int argc, char **argv)
{
    enum { HELP = ARRAY_LEN(NUMBERS) };
    struct option known[ARRAY_LEN(NUMBERS) + 2] = {0};
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++) {
        known[i] = (struct option){NUMBERS[i].name, required_argument, NULL, (int)i};
    }
    known[HELP] = (struct option){"help", no_argument, NULL, HELP};
    for (int c; (c = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (c == HELP) {
            (void)fputs(USAGE, stdout);
            exit(0);
        }
        if (c < 0 || c > HELP) {
            wrong("an option is not known");
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
    struct options opt = {.pairs = 100,
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
        die("out of memory");
    }
    l->opt = opt;
    l->seed = 1;
    play(l);
    return l->errors ? 1 : 0;
}
