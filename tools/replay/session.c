/* One WebSocket of one device: connecting, reading, writing, coming back. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/http1.h"
#include "replay.h"

#define READ_BYTES   (256U << 10)
#define FRAME_MAX    (8U << 20)
#define HAVE_MAX     400U /* what fits a frame of 64 KiB with room to spare */
#define RECONNECT_MS 10U
#define SPREAD_MS    100U
#define BACKOFF_MAX  5U
#define HEARTBEAT_MS 20000U
#define NS_PER_MS    1000000U

static const char PROTOCOLS[] = "confab.v1, token.";

void session_init(struct replay *r, uint32_t index, uint32_t person)
{
    struct session *s = &r->sessions[index];
    memset(s, 0, sizeof(*s));
    s->r = r;
    s->index = index;
    s->person = person;
    s->token = r->people[person].token;
    s->fd = -1;
    wheel_timer_init(&s->timer);
    wheel_timer_init(&s->ack_timer);
}

void session_deinit(struct session *s)
{
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
    buf_deinit(&s->in);
    buf_deinit(&s->out);
    buf_deinit(&s->since);
    free(s->cursors);
    free(s->inflight);
    free(s->own_token);
}

static uint64_t now_ms(const struct replay *r)
{
    return r->now_ns / NS_PER_MS;
}

static void set_state(struct session *s, enum session_state state)
{
    s->r->nready -= s->state == SESSION_READY;
    s->r->nready += state == SESSION_READY;
    s->state = state;
}

static void reconnect_later(struct session *s)
{
    struct replay *r = s->r;
    uint64_t delay = RECONNECT_MS << MIN(s->attempts, BACKOFF_MAX);
    delay += random_below(&r->random.base, SPREAD_MS);
    s->attempts++;
    wheel_set(&r->wheel, &s->timer, now_ms(r) + delay);
}

static void session_close(struct session *s)
{
    (void)close(s->fd);
    s->fd = -1;
    set_state(s, SESSION_OFF);
    buf_clear(&s->in);
    buf_clear(&s->out);
    wheel_cancel(&s->r->wheel, &s->timer);
    wheel_cancel(&s->r->wheel, &s->ack_timer);
    s->ack_due = false;
}

/* The connection is gone, not by us. */
static void session_lost(struct session *s, const char *why)
{
    if (!s->r->lossy) {
        replay_error(s->r, "session %u lost its connection: %s", s->index, why);
    }
    session_close(s);
    if (s->wanted) {
        reconnect_later(s);
    }
}

void session_drop(struct session *s)
{
    s->wanted = false;
    if (s->fd >= 0) {
        session_close(s);
    }
    wheel_cancel(&s->r->wheel, &s->timer);
}

/* ---- Writing ---- */

static void flush(struct session *s)
{
    while (s->out.len > 0) {
        ssize_t n = send(s->fd, s->out.data, s->out.len, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR) {
                continue;
            }
            return; /* full, or broken: reading will tell */
        }
        buf_consume(&s->out, (size_t)n);
    }
}

/* Sends what is in r->text as one masked frame. */
static void send_text(struct session *s)
{
    struct replay *r = s->r;
    uint8_t key[4];
    random_fill(&r->random.base, key, sizeof(key));
    ws_put_frame(&s->out, WS_TEXT, span_of(r->text.data, r->text.len), key);
    if (!buf_ok(&s->out) || !buf_ok(&r->text)) {
        replay_die("out of memory");
    }
    s->wrote_ns = r->now_ns;
    flush(s);
}

void session_send(struct session *s, uint32_t message, bool first)
{
    struct replay *r = s->r;
    struct message *m = &r->messages[message];
    char cmid[64];
    char to[ID_NUM_TEXT];
    int n = snprintf(cmid, sizeof(cmid), "%s-%u", r->run_id, message);
    struct wire_send out = {
        .content = m->text,
        .client_msg_id = span_of(cmid, (size_t)n),
        .fresh = first,
    };
    if (m->conv->group) {
        out.group = true;
        out.conv = m->conv->id;
    } else {
        uint32_t peer = m->conv->peers[m->conv->peers[0] == m->person ? 1 : 0];
        out.to = span_of(to, id_text(r->people[peer].user_id, to));
    }
    buf_clear(&r->text);
    wire_put_send(&r->text, &out);
    if (first) {
        if (s->ninflight == s->cap_inflight) {
            s->cap_inflight = MAX(16U, s->cap_inflight * 2);
            s->inflight = replay_realloc(s->inflight, s->cap_inflight * sizeof(*s->inflight));
        }
        s->inflight[s->ninflight++] = message;
        m->session = s->index;
        m->sent_ns = r->now_ns;
        r->inflight++;
    }
    send_text(s);
}

static void send_resume(struct session *s)
{
    struct replay *r = s->r;
    struct wire_have have[HAVE_MAX];
    uint32_t n = 0;
    for (uint32_t i = 0; i < s->ncursors && n < HAVE_MAX && s->since.len > 0; i++) {
        const struct cursor *c = &s->cursors[i];
        const struct entry *e = c->next > c->start ? &c->conv->entries[c->next - 2] : NULL;
        /* Only what was told with an id can be vouched for. */
        if (e && e->id != 0) {
            have[n++] = (struct wire_have){c->conv->id, c->next - 1, e->id};
        }
    }
    buf_clear(&r->text);
    wire_put_resume(&r->text,
                    s->since.len > 0 ? span_of(s->since.data, s->since.len) : span_of(NULL, 0),
                    have, n, r->opt.batch);
    send_text(s);
    set_state(s, SESSION_RESUMING);
}

void session_on_ack_timer(struct session *s)
{
    struct replay *r = s->r;
    s->ack_due = false;
    if (s->state != SESSION_READY) {
        return;
    }
    for (uint32_t i = 0; i < s->ncursors; i++) {
        struct cursor *c = &s->cursors[i];
        if (c->conv->own || c->next - 1 <= c->acked) {
            continue;
        }
        const struct wire_ack ack = {
            .conv = c->conv->id, .seq = c->next - 1, .status = WIRE_DELIVERED};
        buf_clear(&r->text);
        wire_put_client_ack(&r->text, &ack);
        send_text(s);
        c->acked = c->next - 1;
    }
}

/* ---- Connecting ---- */

static void put_upgrade(struct session *s)
{
    char host[32];
    uint8_t nonce[16];
    struct buf protocols = {0};
    (void)snprintf(host, sizeof(host), "127.0.0.1:%u", s->r->opt.port);
    random_fill(&s->r->random.base, nonce, sizeof(nonce));
    buf_put_str(&protocols, PROTOCOLS);
    buf_put_str(&protocols, s->token);
    ws_put_upgrade_request(&s->out, span_str(host), span_str("/ws"),
                           span_of(protocols.data, protocols.len), false, nonce, s->accept);
    buf_deinit(&protocols);
}

void session_connect(struct session *s)
{
    struct replay *r = s->r;
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->opt.port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    s->wanted = true;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        replay_die("no descriptor for a session");
    }
    int one = 1;
    (void)setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = s};
    if (epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) != 0) {
        replay_die("epoll_ctl");
    }
    set_state(s, SESSION_CONNECTING);
    memset(&s->scan, 0, sizeof(s->scan));
    ws_decoder_init(&s->decoder, WS_CLIENT, FRAME_MAX);
    if (connect(s->fd, (struct sockaddr *)&in, sizeof(in)) != 0 && errno != EINPROGRESS) {
        session_lost(s, strerror(errno));
        return;
    }
    put_upgrade(s);
    if (s->attempts > 0) {
        r->n.reconnects++;
    }
}

/* Returns the bytes taken; sets *ret_ok to false when the session is gone. */
static size_t take_upgrade(struct session *s, uint8_t *p, size_t n, bool *ret_ok)
{
    static struct http_response res;
    struct http_scan scan = {s->scan.pos, s->scan.line};
    struct http_error why = {0, ""};
    enum http_result result = http_response_parse(&scan, span_of(p, n), false, &res, &why);
    s->scan.pos = scan.pos;
    s->scan.line = scan.line;
    *ret_ok = true;
    if (result == HTTP_MORE) {
        return 0;
    }
    struct buf offered = {0};
    buf_put_str(&offered, PROTOCOLS);
    buf_put_str(&offered, s->token);
    struct span protocol;
    bool deflate = false;
    const char *text = why.why;
    if (result != HTTP_DONE ||
        ws_upgrade_verify(&res, s->accept, span_of(offered.data, offered.len), &protocol, &deflate,
                          &text) != CONFAB_OK) {
        /* 503 while starting or draining is no fault. */
        if (result != HTTP_DONE || res.status != 503) {
            replay_error(s->r, "the upgrade of session %u failed: %d %s", s->index,
                         result == HTTP_DONE ? res.status : 0, text);
        }
        session_lost(s, "no upgrade");
        *ret_ok = false;
    } else {
        set_state(s, SESSION_HELLO);
    }
    buf_deinit(&offered);
    return *ret_ok ? res.head_len : 0;
}

/* ---- Reading ---- */

static bool take_frame(struct session *s, const struct ws_frame *f)
{
    uint8_t key[4] = {1, 2, 3, 4};
    switch (f->opcode) {
    case WS_TEXT:
        if (!f->first || !f->fin) {
            replay_error(s->r, "a fragmented frame");
        }
        frame_on_text(s, f->payload, f->len);
        return s->fd >= 0;
    case WS_PING:
        ws_put_frame(&s->out, WS_PONG, span_of(f->payload, f->len), key);
        flush(s);
        return true;
    case WS_CLOSE:
        if (!s->r->lossy) {
            replay_error(s->r, "session %u was closed with %u %.*s", s->index, f->close_code,
                         (int)f->reason.n, (const char *)f->reason.p);
        }
        session_lost(s, "closed");
        return false;
    default:
        return true;
    }
}

/* Takes whole frames; returns the bytes used, or SIZE_MAX when the session is gone. */
static size_t take_bytes(struct session *s, uint8_t *p, size_t n)
{
    size_t at = 0;
    if (s->state == SESSION_CONNECTING) {
        bool ok;
        at = take_upgrade(s, p, n, &ok);
        if (!ok) {
            return SIZE_MAX;
        }
        if (s->state == SESSION_CONNECTING) {
            return 0;
        }
    }
    for (;;) {
        struct ws_frame f;
        enum ws_result result = ws_decode(&s->decoder, p + at, n - at, &f);
        if (result == WS_MORE) {
            return at;
        }
        if (result != WS_FRAME) {
            replay_error(s->r, "session %u: the server's framing is wrong: %.*s", s->index,
                         (int)f.reason.n, (const char *)f.reason.p);
            session_lost(s, "framing");
            return SIZE_MAX;
        }
        at += f.consumed;
        if (!take_frame(s, &f)) {
            return SIZE_MAX;
        }
    }
}

static void read_all(struct session *s)
{
    struct replay *r = s->r;
    for (;;) {
        size_t kept = s->in.len;
        size_t room = READ_BYTES;
        uint8_t *p = r->rbuf;
        if (kept > READ_BYTES / 2) {
            /* A frame larger than the shared buffer is read where it is. */
            if (!buf_reserve(&s->in, READ_BYTES)) {
                replay_die("out of memory");
            }
            p = s->in.data;
            room = s->in.cap;
        } else if (kept > 0) {
            memcpy(p, s->in.data, kept);
        }
        ssize_t got = recv(s->fd, p + kept, room - kept, 0);
        if (got <= 0) {
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) {
                return;
            }
            session_lost(s, got == 0 ? "end of stream" : strerror(errno));
            return;
        }
        r->n.bytes_in += (uint64_t)got;
        size_t n = kept + (size_t)got;
        size_t used = take_bytes(s, p, n);
        if (used == SIZE_MAX) {
            return;
        }
        if (p == s->in.data) {
            s->in.len = n;
            buf_consume(&s->in, used);
        } else {
            buf_clear(&s->in);
            buf_put(&s->in, p + used, n - used);
            if (!buf_ok(&s->in)) {
                replay_die("out of memory");
            }
        }
        if ((size_t)got < room - kept) {
            return;
        }
    }
}

void session_on_event(struct session *s, uint32_t events)
{
    if (s->fd < 0) {
        return; /* closed by an event before this one */
    }
    if ((events & EPOLLOUT) && s->out.len > 0) {
        flush(s);
    }
    if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
        read_all(s);
    }
    /* The end may have come with the last bytes. */
    if (s->fd >= 0 && (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))) {
        read_all(s);
    }
}

void session_on_timer(struct session *s)
{
    struct replay *r = s->r;
    if (s->state == SESSION_OFF) {
        if (s->wanted) {
            session_connect(s);
        }
        return;
    }
    if (s->state != SESSION_READY) {
        return;
    }
    if (s->ninflight > 0 && s->refused) {
        /* Refused for now: all again, in order. */
        s->refused = false;
        for (uint32_t i = 0; i < s->ninflight; i++) {
            session_send(s, s->inflight[i], false);
        }
    } else if (r->now_ns - s->wrote_ns >= (uint64_t)HEARTBEAT_MS * NS_PER_MS) {
        buf_clear(&r->text);
        wire_put_heartbeat(&r->text);
        send_text(s);
    }
    if (!wheel_timer_is_set(&s->timer)) {
        wheel_set(&r->wheel, &s->timer, now_ms(r) + HEARTBEAT_MS);
    }
}

/* ---- What frames.c asks for ---- */

void session_hello(struct session *s)
{
    s->attempts = 0;
    send_resume(s);
}

void session_resync(struct session *s)
{
    s->r->n.resyncs++;
    send_resume(s);
}

void session_caught_up(struct session *s, struct span since)
{
    struct replay *r = s->r;
    buf_clear(&s->since);
    buf_put(&s->since, since.p, since.n);
    set_state(s, SESSION_READY);
    s->refused = false;
    for (uint32_t i = 0; i < s->ninflight; i++) {
        r->n.repeats++;
        session_send(s, s->inflight[i], false);
    }
    wheel_set(&r->wheel, &s->timer, now_ms(r) + HEARTBEAT_MS);
}

void session_repeat_later(struct session *s, uint64_t after_ms)
{
    s->refused = true;
    wheel_set(&s->r->wheel, &s->timer, now_ms(s->r) + MAX(after_ms, (uint64_t)5));
}

void session_acknowledge_later(struct session *s)
{
    if (!s->ack_due) {
        s->ack_due = true;
        wheel_set(&s->r->wheel, &s->ack_timer, now_ms(s->r) + s->r->opt.ack_ms);
    }
}

void session_forget_inflight(struct session *s, uint32_t message)
{
    for (uint32_t i = 0; i < s->ninflight; i++) {
        if (s->inflight[i] == message) {
            memmove(s->inflight + i, s->inflight + i + 1,
                    (s->ninflight - i - 1) * sizeof(*s->inflight));
            s->ninflight--;
            s->r->inflight--;
            return;
        }
    }
}

bool session_is_complete(const struct session *s)
{
    for (uint32_t i = 0; i < s->ncursors; i++) {
        if (s->cursors[i].next <= s->cursors[i].conv->head) {
            return false;
        }
    }
    return s->state == SESSION_READY && s->ninflight == 0;
}
