/*
 * Sessions on WebSocket connections. A session is its connection: signed in when `user` is set, in
 * the index of users from then to its end, live from its first resume until frames for it were
 * lost.
 */
#include "gateway/session.h"

#include "base/utf8.h"
#include "gateway/api.h"
#include "gateway/carrier.h"
#include "gateway/http.h"
#include "gateway/internal.h"

#define PROTOCOL_NAME   "confab.v1"
#define PROTOCOL_NUMBER 1U
#define PROTOCOL_TOKEN  "token."
#define RESUME_FACTOR   4U
#define EXPIRING_MS     60000U
#define RETRY_MS        1000U
/* Ephemeral frames get this part of an output queue: what is stored has the rest. */
#define EPHEMERAL_SHARE 4U

/* What a client may use without trying: new names come, none goes (docs/api/socket.md). */
static const char *const features[] = {"resume", "receipts", "replies",  "mentions",
                                       "edits",  "deletes",  "typing",   "presence",
                                       "batch",  "drafts",   "counters", NULL};

/* ---- Index ---- */

struct conn *session_of_user(struct shard *s, uint64_t user)
{
    uint64_t at;
    return u64map_get(&s->sessions, user, &at) ? conn_at(s, (uint32_t)at) : NULL;
}

struct conn *session_next(struct shard *s, const struct conn *c)
{
    return c->next_of_user == SLAB_NONE ? NULL : conn_at(s, c->next_of_user);
}

void session_set_live(struct shard *s, struct conn *c, bool live)
{
    if (live == ((c->flags & CONN_LIVE) != 0)) {
        return;
    }
    c->flags ^= CONN_LIVE;
    /* Only this thread writes it; peers read it to leave out shards without listeners. */
    unsigned n = atomic_load_explicit(&s->nlive, memory_order_relaxed);
    atomic_store_explicit(&s->nlive, live ? n + 1 : n - 1, memory_order_relaxed);
}

static void sessions_gauges(struct shard *s)
{
    metrics_gauge_set(s->metrics, METRIC_SESSIONS, (int64_t)s->nsessions);
    uint64_t sse = s->ncarried_kind[CARRIER_SSE];
    uint64_t poll = s->ncarried_kind[CARRIER_POLL];
    metrics_gauge_set(s->metrics, METRIC_SESSIONS_WS, (int64_t)(s->nsessions - sse - poll));
    metrics_gauge_set(s->metrics, METRIC_SESSIONS_SSE, (int64_t)sse);
    metrics_gauge_set(s->metrics, METRIC_SESSIONS_POLL, (int64_t)poll);
    metrics_gauge_set(s->metrics, METRIC_USERS_ONLINE, (int64_t)u64map_len(&s->sessions));
}

/* Beside the index of the first, in its upper half. */
uint8_t session_told(struct shard *s, uint64_t user)
{
    const uint64_t *v = u64map_find(&s->sessions, user);
    return v ? (uint8_t)(*v >> 32) : 0;
}

void session_set_told(struct shard *s, uint64_t user, uint8_t told)
{
    uint64_t *v = u64map_find(&s->sessions, user);
    if (v) {
        *v = (uint64_t)told << 32 | (uint32_t)*v;
    }
}

static bool session_index(struct shard *s, struct conn *c)
{
    uint64_t first;
    c->next_of_user = SLAB_NONE;
    uint64_t told = 0;
    if (u64map_get(&s->sessions, c->user, &first)) {
        c->next_of_user = (uint32_t)first;
        told = first >> 32;
    }
    if (u64map_put(&s->sessions, c->user, told << 32 | c->index)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return false;
    }
    s->nsessions++;
    s->sessions_gen++;
    if (c->state == CONN_CARRIED) {
        s->ncarried_kind[c->carrier->kind]++;
    }
    sessions_gauges(s);
    return true;
}

void session_closed(struct shard *s, struct conn *c)
{
    uint64_t *first = u64map_find(&s->sessions, c->user);
    CHECK(first);
    enum presence_status told = (enum presence_status)(*first >> 32);
    s->sessions_gen++;
    session_set_live(s, c, false);
    if (c->flags & CONN_LOOKS) {
        look_drop(s, c);
    }
    if ((uint32_t)*first == c->index) {
        if (c->next_of_user == SLAB_NONE) {
            u64map_del(&s->sessions, c->user, NULL);
        } else {
            *first = (uint64_t)told << 32 | c->next_of_user;
        }
    } else {
        struct conn *k = slab_get(&s->conns, (uint32_t)*first);
        while (k->next_of_user != c->index) {
            k = slab_get(&s->conns, k->next_of_user);
        }
        k->next_of_user = c->next_of_user;
    }
    c->next_of_user = SLAB_NONE;
    presence_closed(s, c, told);
    c->user = 0;
    s->nsessions--;
    if (c->state == CONN_CARRIED) {
        s->ncarried_kind[c->carrier->kind]--;
    }
    sessions_gauges(s);
}

/* ---- Frames out ---- */

struct buf *session_frame_begin(struct shard *s)
{
    buf_clear(&s->text);
    s->text_mark = ws_frame_begin(&s->text, false);
    return &s->text;
}

bool session_frame_end(struct shard *s, struct conn *c)
{
    ws_frame_end(&s->text, s->text_mark, WS_TEXT, NULL);
    if (c->state != CONN_CARRIED) {
        metrics_inc(s->metrics, METRIC_WS_FRAMES_OUT);
    }
    if (!buf_ok(&s->text)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    struct frame *f = frame_new(&s->pool, span_of(s->text.data, s->text.len));
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    frame_event(f);
    bool ok = conn_push(s, c, f);
    frame_unref(f);
    return ok;
}

static uint32_t retry_ms(enum confab_err code)
{
    bool later = code == CONFAB_BUSY || code == CONFAB_LIMIT || code == CONFAB_AGAIN;
    return later ? RETRY_MS : 0;
}

/* `m` has what the code does not tell. */
static void send_failure(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                         const char *field, struct wire_failure m)
{
    m.code = span_str(err_wire(code));
    m.message = span_str(message ? message : err_text(code));
    m.field = span_str(field ? field : "");
    metrics_inc(s->metrics, metrics_of_error(code));
    wire_put_error(session_frame_begin(s), &m);
    session_frame_end(s, c);
}

void session_send_error(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                        const char *field, struct span ref, struct span cmid)
{
    send_failure(
        s, c, code, message, field,
        (struct wire_failure){.ref = ref, .client_msg_id = cmid, .retry_after_ms = retry_ms(code)});
}

void session_send_ack_error(struct shard *s, struct conn *c, enum confab_err code,
                            const char *field, struct span ref, struct conv_id conv)
{
    send_failure(s, c, code, NULL, field,
                 (struct wire_failure){.ref = ref, .conv = conv, .retry_after_ms = retry_ms(code)});
}

void session_send_wait(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                       struct span ref, struct span cmid, uint32_t wait_ms)
{
    send_failure(s, c, code, message, NULL,
                 (struct wire_failure){
                     .ref = ref, .client_msg_id = cmid, .retry_after_ms = MAX(wait_ms, 1U)});
}

/* ---- Closing ---- */

static void count_close(struct shard *s, uint16_t code)
{
    switch (code) {
    case WS_CLOSE_PROTOCOL:
    case WS_CLOSE_UNSUPPORTED:
    case WS_CLOSE_NOT_UTF8:
    case WS_CLOSE_TOO_BIG:
    case WS_CLOSE_BAD_JSON:
        metrics_inc(s->metrics, METRIC_WS_CLOSED_PROTOCOL);
        break;
    case WS_CLOSE_TRY_LATER:
        metrics_inc(s->metrics, METRIC_WS_CLOSED_SLOW);
        break;
    case WS_CLOSE_GOING_AWAY:
        metrics_inc(s->metrics, s->draining ? METRIC_WS_CLOSED_DRAIN : METRIC_WS_CLOSED_IDLE);
        break;
    default:
        metrics_inc(s->metrics, METRIC_WS_CLOSED_POLICY);
        break;
    }
}

static bool push_close(struct shard *s, struct conn *c, uint16_t code, struct span why)
{
    buf_clear(&s->text);
    ws_put_close(&s->text, code, why, NULL);
    return buf_ok(&s->text) && conn_push_bytes(s, c, span_of(s->text.data, s->text.len));
}

void session_close(struct shard *s, struct conn *c, uint16_t code, const char *why)
{
    if (c->state == CONN_CARRIED) {
        count_close(s, code);
        carrier_close(s, c, code, why);
        return;
    }
    if (c->state != CONN_WS) {
        return;
    }
    count_close(s, code);
    if (c->user != 0) {
        session_closed(s, c);
    }
    c->flags &= (uint16_t) ~(CONN_SLOW | CONN_RESUMING);
    if (!push_close(s, c, code, span_str(why))) {
        conn_kill(s, c);
        return;
    }
    c->state = CONN_WS_CLOSING;
    conn_release(s, c, UINT8_MAX);
    conn_arm(s, c, conn_linger_ms(s));
}

/* The peer broke the protocol: nothing that follows can be read. */
static void session_refuse(struct shard *s, struct conn *c, uint16_t code, const char *why)
{
    session_close(s, c, code, why);
    conn_finish(s, c);
}

static void session_on_close(struct shard *s, struct conn *c, uint16_t code)
{
    if (c->state == CONN_WS && !push_close(s, c, code, span_of(NULL, 0))) {
        conn_kill(s, c);
        return;
    }
    c->flags |= CONN_PEER_DONE;
    conn_finish(s, c);
}

/* ---- Opening ---- */

/* A minute, or half of a short life. */
static uint64_t expiring_ms(const struct shard *s)
{
    return MIN(EXPIRING_MS, s->cfg.access_ms / 2);
}

/* Milliseconds until the session is told that its token runs out, or it has. */
static uint32_t token_left(const struct shard *s, const struct conn *c)
{
    uint64_t expires = (uint64_t)c->expires_s * 1000;
    uint64_t at = c->flags & CONN_EXPIRING ? expires : expires - MIN(expires, expiring_ms(s));
    return at > s->wall_ms ? (uint32_t)MIN(at - s->wall_ms, INT32_MAX) : 0;
}

/* False: its token has run out, it is closed. */
static bool token_lives(struct shard *s, struct conn *c)
{
    if (token_left(s, c) > 0) {
        return true;
    }
    if (c->flags & CONN_EXPIRING) {
        session_close(s, c, WS_CLOSE_TOKEN, "the token has expired");
        return false;
    }
    c->flags |= CONN_EXPIRING;
    wire_put_token_expiring(session_frame_begin(s), (uint64_t)c->expires_s * 1000);
    return session_frame_end(s, c);
}

void session_alive(struct shard *s, struct conn *c)
{
    if (c->state == CONN_CARRIED) {
        uint32_t left = MIN(carrier_left_ms(s, c), token_left(s, c));
        conn_arm(s, c, MIN(left, presence_judge(s, c)));
        return;
    }
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    uint64_t limit = c->flags & CONN_PINGED ? s->cfg.dead_after_ms : s->cfg.ping_after_ms;
    uint32_t after = silent < limit ? (uint32_t)(limit - silent) : 0;
    after = MIN(after, token_left(s, c));
    after = MIN(after, presence_judge(s, c));
    if (c->io && c->io->partial_s != 0) {
        after = MIN(after, s->cfg.body_timeout_ms);
    }
    conn_arm(s, c, after);
}

void session_renew(struct shard *s, struct conn *c, const struct jwt_claims *who)
{
    c->expires_s = (uint32_t)who->expires_s;
    c->flags &= (uint16_t)~CONN_EXPIRING;
    wire_put_authenticated(session_frame_begin(s), who->expires_s * 1000);
    if (session_frame_end(s, c) && !(c->flags & CONN_SLOW)) {
        session_alive(s, c);
    }
}

bool session_begin(struct shard *s, struct conn *c, const struct jwt_claims *who, struct buf *hello)
{
    char id[SESSION_ID_TEXT];
    c->user = who->user;
    c->device = who->device;
    c->expires_s = (uint32_t)who->expires_s;
    if (!session_index(s, c)) {
        c->user = 0;
        conn_kill(s, c);
        return false;
    }
    if (!presence_opened(s, c)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    struct wire_hello m = {
        .protocol = PROTOCOL_NUMBER,
        .server_time_ms = s->wall_ms,
        .session_id = span_of(id, session_id_text(conn_id(s, c), id)),
        .user_id = who->user,
        .device_id = who->device,
        .text_bytes = s->cfg.text_bytes_max,
        .frame_bytes = s->cfg.frame_bytes_max,
        .inflight = s->cfg.inflight_max,
        .heartbeat_ms = s->cfg.heartbeat_ms,
        .mentions = EVENT_MENTIONS_MAX,
        .edit_window_ms = s->cfg.engine.edit_window_ms,
        .features = features,
    };
    wire_put_hello(hello, &m);
    return true;
}

void session_open(struct shard *s, struct conn *c, const struct jwt_claims *who)
{
    if (!session_begin(s, c, who, session_frame_begin(s))) {
        return;
    }
    if (c->io) {
        c->io->http.expect_user = 0;
    }
    if (session_frame_end(s, c)) {
        session_alive(s, c);
    }
}

struct upgrade {
    struct ws_upgrade ws;
    struct span token;    /* p NULL: none */
    struct span ticket;   /* the same */
    struct span protocol; /* selected, may be empty */
    uint64_t user;        /* ?userId=, 0: none */
};

/* False: answered. */
static bool upgrade_read(struct shard *s, struct conn *c, const struct http_request *req,
                         struct upgrade *u)
{
    struct span value;
    struct span offered = u->ws.protocols;
    struct span protocol;
    enum confab_err err = http_query_get(req->query, "token", &s->scratch, &u->token);
    if (err && err != CONFAB_NOT_FOUND) {
        http_answer_error(s, c, CONFAB_INVALID, NULL, "token");
        return false;
    }
    err = http_query_get(req->query, "ticket", &s->scratch, &u->ticket);
    if ((err && err != CONFAB_NOT_FOUND) || (!err && u->token.p)) {
        http_answer_error(s, c, CONFAB_INVALID, NULL, "ticket");
        return false;
    }
    while (ws_protocol_next(&offered, &protocol)) {
        size_t n = sizeof(PROTOCOL_TOKEN) - 1;
        if (span_is(protocol, PROTOCOL_NAME)) {
            u->protocol = protocol;
        } else if (protocol.n > n && memcmp(protocol.p, PROTOCOL_TOKEN, n) == 0) {
            if (u->token.p || u->ticket.p) {
                http_answer_error(s, c, CONFAB_INVALID, "more than one token", "token");
                return false;
            }
            u->token = span_of(protocol.p + n, protocol.n - n);
        }
    }
    err = http_query_get(req->query, "userId", &s->scratch, &value);
    if ((err && err != CONFAB_NOT_FOUND) || (!err && !id_parse(value, &u->user))) {
        http_answer_error(s, c, CONFAB_INVALID, "a user id is expected", "userId");
        return false;
    }
    return true;
}

/* Is it a handshake that can be accepted? False: answered. */
static bool upgrade_check(struct shard *s, struct conn *c, const struct http_request *req,
                          struct ws_upgrade *ret)
{
    const char *why = NULL;
    struct buf extra = {0};
    enum confab_err err = ws_upgrade_check(req, ret, &why);
    if (!err && (req->content_length > 0 || req->chunked)) {
        err = CONFAB_INVALID;
        why = "a handshake has no body";
    }
    if (err == CONFAB_METHOD) {
        http_put_header_str(&extra, "Allow", "GET");
        http_answer_error_status(s, c, 405, err, why, NULL, span_of(extra.data, extra.len));
    } else if (err == CONFAB_NOT_FOUND || err == CONFAB_VERSION) {
        http_put_header_str(&extra, "Upgrade", "websocket");
        http_put_header_str(&extra, "Sec-WebSocket-Version", "13");
        http_answer_error_status(s, c, 426, CONFAB_INVALID, why, NULL,
                                 span_of(extra.data, extra.len));
    } else if (err) {
        http_answer_error(s, c, CONFAB_INVALID, why, NULL);
    } else if (s->draining) {
        err = CONFAB_CLOSED;
        http_answer_error(s, c, err, "the server is going away", NULL);
    }
    buf_deinit(&extra);
    return !err;
}

/* Whoever the token or the ticket names; user 0: neither was given. False: answered. */
static bool upgrade_sign_in(struct shard *s, struct conn *c, const struct upgrade *u,
                            struct jwt_claims *ret)
{
    const char *why = NULL;
    enum confab_err err = CONFAB_OK;
    if (u->token.p) {
        err = auth_token(s, u->token, ret, &why);
    } else if (u->ticket.p) {
        struct ticket t = {0};
        err = auth_state_redeem(s->deps.auth, u->ticket, s->now_ms, &t);
        *ret = (struct jwt_claims){t.user, t.device, t.issued_s, t.expires_s};
        metrics_inc(s->metrics, err ? METRIC_TICKETS_REFUSED : METRIC_TICKETS_USED);
    }
    if (!err && ret->user != 0 && u->user != 0 && u->user != ret->user) {
        err = CONFAB_UNAUTHENTICATED;
    }
    if (err) {
        http_answer_error(s, c, err, why, NULL);
    }
    return !err;
}

/* False: answered. */
static bool upgrade_may_open(struct shard *s, struct conn *c, const struct jwt_claims *who)
{
    uint32_t wait_ms = rates_take(s, RATE_CONNECT, who->user, who->device, c);
    if (wait_ms > 0) {
        http_answer_wait(s, c, CONFAB_LIMIT, rates_text(RATE_CONNECT), wait_ms);
    }
    return wait_ms == 0;
}

bool session_may_open(struct shard *s, struct conn *c, const struct jwt_claims *who)
{
    /* Its address was counted with the handshake. */
    uint32_t wait_ms = rates_take(s, RATE_CONNECT, who->user, who->device, NULL);
    if (wait_ms > 0) {
        session_send_wait(s, c, CONFAB_LIMIT, rates_text(RATE_CONNECT), span_str("auth"),
                          span_of(NULL, 0), wait_ms);
        session_close(s, c, WS_CLOSE_TOO_MANY, rates_text(RATE_CONNECT));
    }
    return wait_ms == 0;
}

void session_upgrade(struct shard *s, struct conn *c, const struct http_request *req)
{
    struct upgrade u = {0};
    struct http_state *h = &c->io->http;
    struct jwt_claims who = {0};
    if (!upgrade_check(s, c, req, &u.ws) || !upgrade_read(s, c, req, &u) ||
        !upgrade_sign_in(s, c, &u, &who) || !upgrade_may_open(s, c, &who)) {
        return;
    }
    buf_clear(&s->text);
    pack_agree(s, &u.ws.deflate);
    ws_put_upgrade_reply(&s->text, u.ws.key, u.protocol, &u.ws.deflate);
    if (!buf_ok(&s->text)) {
        conn_kill(s, c);
        return;
    }
    if (!conn_push_bytes(s, c, span_of(s->text.data, s->text.len))) {
        return;
    }
    metrics_inc(s->metrics, METRIC_WS_UPGRADES);
    rates_remember(s, c, c);
    c->state = CONN_WS;
    ws_decoder_init(&c->ws, WS_SERVER, s->cfg.frame_bytes_max);
    if (u.ws.deflate.on) {
        ws_decoder_deflate(&c->ws);
        c->wire |= pack_window(u.ws.deflate.server_bits);
    }
    h->begun_ns = 0;
    if (u.user != 0) {
        c->flags |= CONN_SHORT;
    }
    if (who.user != 0) {
        session_open(s, c, &who);
    } else {
        h->expect_user = u.user;
        conn_arm(s, c, s->cfg.auth_timeout_ms);
    }
}

/* ---- Frames in ---- */

static void session_text(struct shard *s, struct conn *c, struct span text, bool deflated)
{
    if (deflated) {
        enum confab_err err = pack_open(s, text, &text);
        if (err == CONFAB_NOMEM) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
            conn_kill(s, c);
            return;
        }
        if (err == CONFAB_TOO_LARGE) {
            session_refuse(s, c, WS_CLOSE_TOO_BIG, "message is too big");
            return;
        }
        if (err || !utf8_valid(text.p, text.n)) {
            session_refuse(s, c, WS_CLOSE_NOT_UTF8, "the message is damaged, or is not UTF-8");
            return;
        }
    }
    session_message(s, c, text);
}

static void session_data(struct shard *s, struct conn *c, const struct ws_frame *f)
{
    struct span text = span_of(f->payload, f->len);
    if (f->opcode == WS_BINARY) {
        session_refuse(s, c, WS_CLOSE_UNSUPPORTED, "text frames only");
        return;
    }
    if (f->fin && c->io) {
        c->io->partial_s = 0;
    }
    if (f->first && f->fin) {
        session_text(s, c, text, f->deflated);
        return;
    }
    struct conn_io *io = conn_io(s, c);
    if (!io) {
        return;
    }
    buf_put(&io->fragments, text.p, text.n);
    if (!buf_ok(&io->fragments)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return;
    }
    if (f->fin) {
        session_text(s, c, span_of(io->fragments.data, io->fragments.len), f->deflated);
        buf_deinit(&io->fragments);
    }
}

static void session_frame(struct shard *s, struct conn *c, const struct ws_frame *f)
{
    metrics_inc(s->metrics, METRIC_WS_FRAMES_IN);
    if (c->user != 0 && c->state == CONN_WS) {
        presence_heard(s, c);
    }
    switch (f->opcode) {
    case WS_TEXT:
    case WS_BINARY:
        if (c->state == CONN_WS) {
            session_data(s, c, f);
        }
        break;
    case WS_PING:
        if (c->state == CONN_WS) {
            buf_clear(&s->text);
            ws_put_frame(&s->text, WS_PONG, span_of(f->payload, f->len), NULL);
            if (buf_ok(&s->text)) {
                conn_push_bytes(s, c, span_of(s->text.data, s->text.len));
            }
        }
        break;
    case WS_CLOSE:
        session_on_close(s, c, f->close_code);
        break;
    default:
        break;
    }
}

size_t session_input(struct shard *s, struct conn *c, uint8_t *p, size_t n)
{
    size_t used = 0;
    while (used < n && ((c->state == CONN_WS && c->holds == 0) || c->state == CONN_WS_CLOSING)) {
        struct ws_frame f;
        enum ws_result r = ws_decode(&c->ws, p + used, n - used, &f);
        if (r == WS_MORE) {
            break;
        }
        if (r == WS_FRAME) {
            used += f.consumed;
            session_frame(s, c, &f);
            continue;
        }
        if (r == WS_ERROR && c->state == CONN_WS) {
            session_refuse(s, c, f.close_code, f.reason.p ? (const char *)f.reason.p : "");
        } else {
            conn_finish(s, c);
        }
        return n;
    }
    return used;
}

void session_partial(struct shard *s, struct conn *c)
{
    struct conn_io *io = c->io;
    if (c->state != CONN_WS || !io) {
        return;
    }
    if (c->holds || (io->in.len == 0 && io->fragments.len == 0)) {
        io->partial_s = 0;
    } else if (io->partial_s == 0) {
        io->partial_s = MAX((uint32_t)(s->now_ms / 1000), 1);
        if (c->user != 0 && !(c->flags & CONN_SLOW)) {
            /* Seconds are compared. */
            conn_arm(s, c, MIN(s->cfg.body_timeout_ms + 1000, token_left(s, c)));
        }
    }
}

/* Dribbled: other frames in between, such as pings, do not help. */
static bool partial_too_long(const struct shard *s, const struct conn *c)
{
    return c->io && c->io->partial_s != 0 &&
           s->now_ms - (uint64_t)c->io->partial_s * 1000 >= s->cfg.body_timeout_ms;
}

/* It asked for more than it reads: nothing more is read from it, and answers wait in memory. */
static bool takes_nothing(const struct shard *s, const struct conn *c)
{
    return (c->holds & HOLD_OUTPUT) && (c->flags & CONN_BLOCKED) &&
           s->now_ms - (uint64_t)c->blocked_s * 1000 >= s->cfg.slow_timeout_ms;
}

/* The last frames may be on their way still, to one who takes them slowly. */
static void closing_timer(struct shard *s, struct conn *c)
{
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    if (c->out_bytes > 0 && silent < s->cfg.write_timeout_ms) {
        conn_arm(s, c, conn_linger_ms(s));
    } else {
        conn_kill(s, c);
    }
}

void session_timer(struct shard *s, struct conn *c)
{
    if (c->state == CONN_WS_CLOSING) {
        closing_timer(s, c);
        return;
    }
    if (c->user == 0) {
        metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
        session_close(s, c, WS_CLOSE_AUTH_TIMEOUT, "not signed in in time");
        return;
    }
    if ((c->flags & CONN_SLOW) || takes_nothing(s, c)) {
        session_cut(s, c, "too slow");
        return;
    }
    if (!token_lives(s, c)) {
        return;
    }
    if (c->state == CONN_CARRIED) {
        carrier_tick(s, c);
        return;
    }
    if (c->holds & (HOLD_LOOKUP | HOLD_INFLIGHT | HOLD_OWNER)) {
        c->seen_s = (uint32_t)(s->now_ms / 1000); /* it is we who do not listen */
    }
    if (partial_too_long(s, c)) {
        metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
        session_close(s, c, WS_CLOSE_POLICY, "the message did not come in time");
        return;
    }
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    if (silent >= s->cfg.dead_after_ms && (c->flags & CONN_PINGED)) {
        session_close(s, c, WS_CLOSE_GOING_AWAY, "no sign of life");
        return;
    }
    if (silent >= s->cfg.ping_after_ms && !(c->flags & CONN_PINGED)) {
        c->flags |= CONN_PINGED;
        buf_clear(&s->text);
        ws_put_frame(&s->text, WS_PING, span_of(NULL, 0), NULL);
        if (!buf_ok(&s->text) || !conn_push_bytes(s, c, span_of(s->text.data, s->text.len))) {
            return;
        }
    }
    session_alive(s, c);
}

/* ---- Live frames ---- */

void session_mark_slow(struct shard *s, struct conn *c)
{
    if (!(c->flags & CONN_LIVE)) {
        return;
    }
    session_set_live(s, c, false);
    c->flags &= (uint16_t)~CONN_RESUMING;
    c->flags |= CONN_SLOW;
    metrics_inc(s->metrics, METRIC_SLOW_CONSUMERS);
    /* The log is the queue: what waits here comes with the resume, and sooner without it. */
    session_forget_ephemeral(s, c);
    metrics_add(s->metrics, METRIC_DELIVERIES_DROPPED, conn_forget(s, c, FRAME_LIVE));
    conn_touch(s, c);
    conn_arm(s, c, s->cfg.slow_timeout_ms);
}

void session_forget_ephemeral(struct shard *s, struct conn *c)
{
    uint32_t n = conn_forget(s, c, FRAME_EPHEMERAL);
    metrics_add(s->metrics, METRIC_EPHEMERAL_DROPPED, n);
    if (n > 0) {
        watch_forgotten(s, c);
    }
}

void session_cut(struct shard *s, struct conn *c, const char *why)
{
    metrics_inc(s->metrics, METRIC_SLOW_CONSUMERS_CLOSED);
    (void)conn_forget(s, c, FRAME_ANSWER);
    session_close(s, c, WS_CLOSE_TRY_LATER, why);
}

static bool is_full(const struct shard *s, const struct conn *c, const struct frame *f)
{
    /* The pages of a resume are in the queue as well: they must not cause the next one. */
    uint32_t factor = c->flags & CONN_RESUMING ? RESUME_FACTOR : 1;
    return c->out_bytes + f->len > factor * s->cfg.queue_bytes_max ||
           c->out_frames >= factor * s->cfg.queue_frames_max;
}

void session_deliver(struct shard *s, struct conn *c, struct frame *f)
{
    if (is_full(s, c, f)) {
        session_forget_ephemeral(s, c);
    }
    if (is_full(s, c, f)) {
        metrics_inc(s->metrics, METRIC_BOUND_OUTPUT);
        metrics_inc(s->metrics, METRIC_DELIVERIES_DROPPED);
        session_mark_slow(s, c);
        return;
    }
    if (c->state != CONN_CARRIED) {
        metrics_inc(s->metrics, METRIC_WS_FRAMES_OUT);
    }
    (void)conn_push(s, c, f);
}

bool session_deliver_ephemeral(struct shard *s, struct conn *c, struct frame *f)
{
    /* What streams were given is kept for their next GET, and takes nobody's place. */
    uint64_t bytes = c->out_bytes - (c->state == CONN_CARRIED ? c->carrier->kept : 0);
    uint32_t frames = c->out_frames - (c->state == CONN_CARRIED ? carrier_begun(c) : 0);
    if (bytes + f->len > s->cfg.queue_bytes_max / EPHEMERAL_SHARE ||
        frames >= s->cfg.queue_frames_max / EPHEMERAL_SHARE ||
        s->output_memory > s->cfg.output_bytes_max / 2 + s->kept_streams) {
        metrics_inc(s->metrics, METRIC_EPHEMERAL_DROPPED);
        return false;
    }
    metrics_inc(s->metrics, METRIC_WS_FRAMES_OUT);
    metrics_inc(s->metrics, METRIC_EPHEMERAL);
    f->kind = FRAME_EPHEMERAL;
    return conn_push(s, c, f);
}

void session_drained(struct shard *s, struct conn *c)
{
    if (!(c->flags & CONN_SLOW)) {
        return;
    }
    c->flags &= (uint16_t)~CONN_SLOW;
    metrics_inc(s->metrics, METRIC_RESYNCS);
    wire_put_resync(session_frame_begin(s));
    if (session_frame_end(s, c)) {
        session_alive(s, c);
    }
}

void session_reconnect(struct shard *s, struct conn *c, uint32_t delay_ms)
{
    wire_put_reconnect(session_frame_begin(s), delay_ms);
    session_frame_end(s, c);
}
