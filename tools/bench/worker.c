#include "worker.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "scan.h"

#define EVENTS_MAX     512
#define CONNECTING_MAX 128U
#define IDLE_NS        (2ULL * NS_PER_MS)
/* When all only send heartbeats: what one server with as many connections gets in a turn, many
 * small ones get by this, and not one by one. */
#define HOLD_NS        (50ULL * NS_PER_MS)
#define BACKOFF_MS     250U
#define BACKOFF_MAX_MS 8000U
#define STUCK_BUFFER   8192

static const uint8_t NO_MASK[4];

/* ---- Output ---- */

void client_dirty(struct worker *w, struct client *c)
{
    if (!c->dirty) {
        c->dirty = true;
        c->next_dirty = w->first_dirty;
        w->first_dirty = (uint32_t)(c - w->clients);
    }
}

void client_put(struct worker *w, struct client *c, struct span text)
{
    uint8_t head[WS_HEADER_MAX];
    buf_put(&c->out, head, ws_header(head, WS_TEXT, true, text.n, NO_MASK));
    buf_put(&c->out, text.p, text.n);
    client_dirty(w, c);
}

static void flush(struct worker *w, struct client *c)
{
    while (c->out.len > 0 && c->fd >= 0) {
        ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            if (errno != EAGAIN) {
                client_fail(w, c, strerror(errno));
            }
            return;
        }
        w->m.bytes_out += (uint64_t)n;
        buf_consume(&c->out, (size_t)n);
    }
}

static void flush_all(struct worker *w)
{
    while (w->first_dirty != NONE) {
        struct client *c = &w->clients[w->first_dirty];
        w->first_dirty = c->next_dirty;
        c->dirty = false;
        if (!buf_ok(&c->out)) {
            bench_die("out of memory");
        }
        flush(w, c);
    }
}

/* ---- Connecting ---- */

static void close_it(struct worker *w, struct client *c)
{
    if (c->state == CLIENT_READY) {
        w->ready--;
    } else if (c->state != CLIENT_OFF) {
        w->connecting--;
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    c->fd = -1;
    c->state = CLIENT_OFF;
    buf_clear(&c->in);
    buf_clear(&c->out);
}

/* One of those who may be told not to read. */
static bool may_stick(const struct worker *w, const struct client *c)
{
    return c->index >= w->t->plan->nclients - w->t->plan->nstuck;
}

static bool is_stuck(const struct worker *w, const struct client *c)
{
    return w->stuck && may_stick(w, c);
}

void client_later(struct worker *w, struct client *c, uint64_t after_ms)
{
    close_it(w, c);
    c->retry_ns = w->now + after_ms * NS_PER_MS;
}

void client_fail(struct worker *w, struct client *c, const char *why)
{
    bool known = c->state == CLIENT_READY;
    close_it(w, c);
    w->m.lost++;
    if (!w->stays && !may_stick(w, c)) {
        if (w->m.errors++ < ERRORS_TOLD) {
            (void)fprintf(stderr, "confab-bench: connection %u: %s\n", c->index, why);
        }
        atomic_store(&w->state->failed, 1);
        return;
    }
    /* Full jitter, as every client of ours. */
    c->attempts = known ? 0 : MIN(c->attempts + 1, 16U);
    uint64_t most = MIN((uint64_t)BACKOFF_MS << c->attempts, BACKOFF_MAX_MS);
    c->retry_ns = w->now + random_below(&w->random.base, most * NS_PER_MS);
}

/* Source addresses are spread over 127.8.0.0/16: a port is only unique with its address. */
static void bind_source(int fd, uint32_t index)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    int one = 1;
    in.sin_addr.s_addr = htonl(0x7f080001U + (index / 64U) % 65000U);
    (void)setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        bench_die("a source address in 127.8.0.0/16");
    }
}

static void connect_one(struct worker *w, struct client *c)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(w->t->port)};
    const struct linger reset = {.l_onoff = 1};
    int one = 1;
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->fd < 0) {
        bench_die("socket");
    }
    bind_source(c->fd, c->index);
    if (may_stick(w, c)) {
        int bytes = STUCK_BUFFER; /* what is not read waits with the server, not here */
        (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
    }
    (void)setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    /* Thousands of orderly ends would leave thousands of ports waiting. */
    (void)setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET | EPOLLRDHUP,
                             .data.u32 = (uint32_t)(c - w->clients)};
    if (epoll_ctl(w->epoll_fd, EPOLL_CTL_ADD, c->fd, &ev) != 0) {
        bench_die("epoll_ctl");
    }
    c->state = CLIENT_CONNECTING;
    c->began_ns = now_ns();
    w->connecting++;
    if (connect(c->fd, (struct sockaddr *)&in, sizeof(in)) != 0 && errno != EINPROGRESS) {
        client_fail(w, c, strerror(errno));
    }
}

static void become_ready(struct worker *w, struct client *c)
{
    c->state = CLIENT_READY;
    c->attempts = 0;
    w->connecting--;
    w->ready++;
    hist_add(&w->m.connect_ns, now_ns() - c->began_ns);
    play_ready(w, c);
}

static void connected(struct worker *w, struct client *c)
{
    uint8_t nonce[16];
    char host[32];
    char protocols[TOKEN_BYTES + 32];
    if (!w->t->world) {
        char line[16];
        buf_put(&c->out, line, (size_t)snprintf(line, sizeof(line), "%08x\n", c->index));
        c->state = CLIENT_HELLO; /* one byte comes back */
        client_dirty(w, c);
        return;
    }
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", w->t->port);
    (void)snprintf(protocols, sizeof(protocols), "confab.v1, token.%s",
                   w->t->world->people[w->t->plan->first_person + c->index].token);
    random_fill(&w->random.base, nonce, sizeof(nonce));
    ws_put_upgrade_request(&c->out, span_str(host), span_str("/ws"), span_str(protocols), false,
                           nonce, c->accept);
    memset(&c->scan, 0, sizeof(c->scan));
    c->state = CLIENT_UPGRADING;
    client_dirty(w, c);
}

static void connect_some(struct worker *w)
{
    for (uint32_t i = 0; i < w->nclients && w->connecting < CONNECTING_MAX; i++) {
        struct client *c = &w->clients[w->next_connect];
        if (c->state == CLIENT_OFF && c->retry_ns <= w->now && !is_stuck(w, c)) {
            connect_one(w, c);
        }
        w->next_connect = (w->next_connect + 1) % w->nclients;
    }
}

/* ---- Input ---- */

/* How many bytes were taken; the rest is not a whole answer. */
static size_t take_upgrade(struct worker *w, struct client *c, struct span in)
{
    static struct http_response res;
    struct http_error why;
    struct span protocol;
    bool deflate = false;
    const char *text = "not an HTTP answer";
    char offered[TOKEN_BYTES + 32];
    enum http_result r = http_response_parse(&c->scan, in, false, &res, &why);
    if (r == HTTP_MORE) {
        return 0;
    }
    (void)snprintf(offered, sizeof(offered), "confab.v1, token.%s",
                   w->t->world->people[w->t->plan->first_person + c->index].token);
    if (r != HTTP_DONE || ws_upgrade_verify(&res, c->accept, span_str(offered), &protocol, &deflate,
                                            &text) != CONFAB_OK) {
        client_fail(w, c, text);
        return 0;
    }
    c->state = CLIENT_HELLO;
    return res.head_len;
}

void client_resume(struct worker *w, struct client *c)
{
    struct buf b = {0};
    buf_printf(
        &b, c->since.len ? "{\"event\":\"resume\",\"since\":\"%.*s\"}" : "{\"event\":\"resume\"}",
        (int)c->since.len, (const char *)c->since.data);
    client_put(w, c, span_of(b.data, b.len));
    buf_deinit(&b);
}

static void take_text(struct worker *w, struct client *c, struct span text)
{
    if (c->state == CLIENT_READY) {
        play_frame(w, c, text);
        return;
    }
    enum scan_event event = scan_event(&w->scanner, text);
    if (event == SCAN_HELLO && c->state == CLIENT_HELLO) {
        c->state = CLIENT_RESUMING;
        client_resume(w, c);
    } else if (event == SCAN_CAUGHT_UP) {
        struct span since = scan_string(&w->scanner, text, SCAN_SINCE);
        buf_clear(&c->since);
        buf_put(&c->since, since.p, MIN(since.n, SINCE_MAX));
        become_ready(w, c);
    } else {
        play_frame(w, c, text);
    }
}

/* Server frames are whole messages without a mask. How many bytes were taken. */
static size_t take_frame(struct worker *w, struct client *c, struct span in)
{
    size_t head = 2;
    if (in.n < 2) {
        return 0;
    }
    uint64_t len = in.p[1] & 127U;
    if (len == 126) {
        head = 4;
    } else if (len == 127) {
        head = 10;
    }
    if (in.n < head) {
        return 0;
    }
    if (head > 2) {
        len = 0;
        for (size_t i = 2; i < head; i++) {
            len = len << 8 | in.p[i];
        }
    }
    if (in.n - head < len) {
        return 0;
    }
    struct span payload = span_of(in.p + head, (size_t)len);
    switch (in.p[0] & 15U) {
    case WS_TEXT:
        take_text(w, c, payload);
        break;
    case WS_PING: {
        uint8_t header[WS_HEADER_MAX];
        buf_put(&c->out, header, ws_header(header, WS_PONG, true, len, NO_MASK));
        buf_put(&c->out, payload.p, payload.n);
        client_dirty(w, c);
        break;
    }
    case WS_CLOSE: {
        char why[64];
        (void)snprintf(why, sizeof(why), "closed by the server with %u",
                       len >= 2 ? payload.p[0] * 256U + payload.p[1] : 0U);
        client_fail(w, c, why);
        break;
    }
    default:
        break;
    }
    return head + (size_t)len;
}

static size_t take_raw(struct worker *w, struct client *c, struct span in)
{
    if (c->state != CLIENT_HELLO) {
        return play_raw(w, c, in);
    }
    become_ready(w, c);
    return 1;
}

/* How many of the bytes were taken; all of them once the connection is gone. */
static size_t take(struct worker *w, struct client *c, struct span in)
{
    size_t at = 0;
    while (at < in.n && c->fd >= 0) {
        struct span rest = span_of(in.p + at, in.n - at);
        size_t n = !w->t->world                   ? take_raw(w, c, rest)
                   : c->state == CLIENT_UPGRADING ? take_upgrade(w, c, rest)
                                                  : take_frame(w, c, rest);
        if (n == 0) {
            break;
        }
        at += n;
    }
    return c->fd >= 0 ? at : in.n;
}

static void read_it(struct worker *w, struct client *c)
{
    ssize_t n = 0;
    do {
        n = recv(c->fd, w->rbuf, READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return;
        }
        if (n <= 0) {
            client_fail(w, c, n == 0 ? "closed by the server" : strerror(errno));
            return;
        }
        w->m.bytes_in += (uint64_t)n;
        struct span in = span_of(w->rbuf, (size_t)n);
        bool joined = c->in.len > 0;
        if (joined) {
            buf_put(&c->in, in.p, in.n);
            in = span_of(c->in.data, c->in.len);
        }
        size_t taken = take(w, c, in);
        if (c->fd < 0) {
            return;
        }
        if (joined) {
            buf_consume(&c->in, taken);
        } else {
            buf_put(&c->in, in.p + taken, in.n - taken);
        }
        if (!buf_ok(&c->in)) {
            bench_die("out of memory");
        }
    } while (n == (ssize_t)READ_BYTES);
    if (c->in.len == 0 && c->in.cap > 0) {
        buf_deinit(&c->in);
    }
}

static void on_event(struct worker *w, const struct epoll_event *ev)
{
    struct client *c = &w->clients[ev->data.u32];
    if (c->fd < 0) {
        return;
    }
    if (c->state == CLIENT_CONNECTING) {
        int err = 0;
        socklen_t len = sizeof(err);
        (void)getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len);
        if (err) {
            client_fail(w, c, strerror(err));
        } else if (ev->events & EPOLLOUT) {
            connected(w, c);
        }
        return;
    }
    if (ev->events & EPOLLOUT && c->out.len > 0) {
        client_dirty(w, c);
    }
    if (!is_stuck(w, c) && (ev->events & (EPOLLIN | EPOLLHUP | EPOLLERR | EPOLLRDHUP))) {
        read_it(w, c);
    }
}

/* ---- The loop ---- */

static void heartbeats(struct worker *w)
{
    static const char BEAT[] = "{\"event\":\"heartbeat\"}";
    while (w->t->world && w->nclients > 0 && w->phase != PHASE_DRAIN && w->next_beat_ns <= w->now) {
        struct client *c = &w->clients[w->next_beat];
        if (c->state == CLIENT_READY && !is_stuck(w, c)) {
            client_put(w, c, span_str(BEAT));
            w->m.beats++;
            w->beats_open++;
        }
        w->next_beat = (w->next_beat + 1) % w->nclients;
        w->next_beat_ns += w->t->opt->heartbeat * (uint64_t)NS_PER_S / w->nclients;
    }
}

/* Who reads again takes what has come meanwhile: readiness is told once. */
static void see_stuck(struct worker *w)
{
    bool stuck = atomic_load(&w->t->shared->stuck) != 0;
    if (stuck == w->stuck) {
        return;
    }
    w->stuck = stuck;
    for (uint32_t i = 0; i < w->nclients && !stuck; i++) {
        struct client *c = &w->clients[i];
        if (may_stick(w, c) && c->fd >= 0 && c->state >= CLIENT_UPGRADING) {
            read_it(w, c);
        }
    }
}

static void see_phase(struct worker *w)
{
    uint32_t phase = atomic_load(&w->t->shared->phase);
    uint32_t reset = atomic_load(&w->t->shared->reset);
    if (reset != atomic_load(&w->state->reset_seen)) {
        w->state->meters = w->m;
        memset(&w->m, 0, sizeof(w->m));
        atomic_store(&w->state->reset_seen, reset);
    }
    see_stuck(w);
    if (phase == w->phase) {
        return;
    }
    if (phase == PHASE_END) {
        _exit(0);
    }
    bool started = phase == PHASE_RUN;
    w->phase = phase;
    atomic_store(&w->state->phase_seen, phase);
    for (uint32_t i = 0; i < w->nclients && phase == PHASE_AWAY; i++) {
        close_it(w, &w->clients[i]);
    }
    if (started) {
        play_start(w);
    }
}

static void tell_state(struct worker *w)
{
    uint32_t beats =
        w->t->opt->scenario == SCENARIO_IDLE || w->t->plan->nlooking > 0 ? w->beats_open : 0;
    atomic_store_explicit(&w->state->under_way, w->under_way + beats, memory_order_relaxed);
    atomic_store_explicit(&w->state->ready, w->ready, memory_order_release);
    atomic_store_explicit(&w->state->sent, w->sent, memory_order_release);
}

static void wait_for_events(struct worker *w)
{
    struct epoll_event events[EVENTS_MAX];
    bool holds = w->t->opt->scenario == SCENARIO_IDLE && w->ready == w->nclients;
    uint64_t until = MIN(w->now + (holds ? HOLD_NS : IDLE_NS), play_next_ns(w));
    /* Those of the other server rest. */
    bool plays = w->phase == PHASE_RUN || w->phase == PHASE_MEASURE;
    bool spins = w->t->opt->spin && plays;
    uint64_t ns = until > w->now && !spins ? until - w->now : 0;
    const struct timespec timeout = {.tv_nsec = (long)ns};
    int n = epoll_pwait2(w->epoll_fd, events, EVENTS_MAX, &timeout, NULL);
    w->now = now_ns();
    for (int i = 0; i < n; i++) {
        on_event(w, &events[i]);
    }
}

static void set_up(struct worker *w)
{
    const struct plan *plan = w->t->plan;
    uint32_t workers = w->t->shared->nworkers;
    uint32_t each = (plan->nclients + workers - 1) / workers;
    w->first = MIN(w->index * each, plan->nclients);
    w->nclients = MIN(each, plan->nclients - w->first);
    w->clients = bench_alloc((w->nclients + 1) * sizeof(*w->clients));
    w->ack_list = bench_alloc((w->nclients + 1) * sizeof(*w->ack_list));
    w->senders = bench_alloc((plan->nsenders + 1) * sizeof(*w->senders));
    w->own_of = bench_alloc((plan->nsenders + 1) * sizeof(*w->own_of));
    w->retries = bench_alloc(((size_t)plan->nsenders * plan->window + 1) * sizeof(*w->retries));
    w->rbuf = bench_alloc(READ_BYTES);
    for (uint32_t i = 0; i < w->nclients; i++) {
        w->clients[i] = (struct client){.fd = -1, .index = w->first + i, .sender = NONE};
    }
    for (uint32_t i = 0; i < plan->nsenders; i++) {
        uint32_t client = plan->senders[i].client;
        w->own_of[i] = NONE;
        if (client < w->first || client - w->first >= w->nclients) {
            continue;
        }
        w->own_of[i] = w->nsenders;
        w->clients[client - w->first].sender = w->nsenders;
        w->senders[w->nsenders++] = (struct own_sender){
            .index = i, .client = client - w->first, .free = plan->window, .phase = i};
    }
    random_seeded_init(&w->random, w->t->opt->seed + w->index);
    w->first_dirty = NONE;
    w->stays = w->t->opt->scenario == SCENARIO_STORM;
    w->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (w->epoll_fd < 0) {
        bench_die("epoll_create1");
    }
}

void worker_run(struct traffic *t, uint32_t index)
{
    struct worker *w = bench_alloc(sizeof(*w));
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)prctl(PR_SET_TIMERSLACK, 1UL);
    w->t = t;
    w->index = index;
    w->state = &t->shared->worker[index];
    w->now = now_ns();
    w->next_beat_ns = w->now;
    set_up(w);
    for (;;) {
        see_phase(w);
        if (w->phase != PHASE_AWAY && w->ready + w->connecting < w->nclients) {
            connect_some(w);
        }
        wait_for_events(w);
        play_go(w);
        play_acks(w);
        heartbeats(w);
        flush_all(w);
        tell_state(w);
    }
}
