/*
 * A session without a WebSocket, by requests: one opens it, those of one lane fetch its events, as
 * a stream or one after another, and those of the other lane post what the session would write to a
 * link. Which kind a connection is, is decided here too.
 *
 *                   two handshakes failed                nothing of the stream in time
 *          WebSocket ───────────────────► stream (SSE) ─────────────────────► polls
 *              ▲                             │                                  │
 *              └──── WS_AGAIN_MS are over, or not even the opening works ───────┘
 *
 * From the stream to polls it is the same session of the server's, which goes on behind the last
 * event that was taken; every other change is a new one, and a resume. A post without an answer may
 * have been taken or not: the connection ends, and what is unanswered is sent again on the next one
 * under its key.
 */
#include <stdio.h>
#include <stdlib.h>

#include "client/session_internal.h"
#include "proto/json.h"

#define WS_FAILURES      2U
#define WS_AGAIN_MS      600000U
#define STREAM_SILENT_MS 10000U
#define FAILURES_MAX     6U   /* requests in a row */
#define RETRY_MS         200U /* after the first of them, doubling */
#define POLL_WAIT_S      25U
#define POST_BYTES       49152U
#define POST_EVENTS      200U
#define EVENTS_PATH      "/api/v1/events"

static bool is_auto(const struct csession *s)
{
    return s->opt.transport == CONFAB_TRANSPORT_AUTO;
}

bool ccarry_is_link(const struct csession *s)
{
    return s->carry.on == CONFAB_TRANSPORT_WS;
}

void ccarry_choose(struct csession *s, uint64_t now)
{
    struct ccarry *k = &s->carry;
    (void)now;
    if (is_auto(s) && k->on == CONFAB_TRANSPORT_WS && k->ws_failures >= WS_FAILURES) {
        k->on = k->streams_fail ? CONFAB_TRANSPORT_POLL : CONFAB_TRANSPORT_SSE;
    }
}

/* It becomes a part of paths. */
static bool is_name(struct span id)
{
    for (size_t i = 0; i < id.n; i++) {
        uint8_t c = id.p[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
            c != '-' && c != '_') {
            return false;
        }
    }
    return id.n > 0 && id.n < CSESSION_ID_MAX;
}

void ccarry_hello(struct csession *s, struct span session_id, uint64_t now)
{
    struct ccarry *k = &s->carry;
    k->handshaking = false;
    if (ccarry_is_link(s)) {
        k->ws_failures = 0;
        k->ws_again_ms = UINT64_MAX;
        return;
    }
    if (is_name(session_id)) {
        memcpy(k->session, session_id.p, session_id.n);
        k->session[session_id.n] = '\0';
    }
    k->last = 0;
    k->failures[CSESSION_FETCHING] = k->failures[CSESSION_POSTING] = 0;
    k->at_ms[CSESSION_FETCHING] = k->at_ms[CSESSION_POSTING] = now;
    k->heard_by_ms = UINT64_MAX;
    if (is_auto(s) && k->ws_again_ms == UINT64_MAX) {
        k->ws_again_ms = now + WS_AGAIN_MS;
    }
}

static void stream_forget(struct ccarry *k)
{
    buf_deinit(&k->line);
    buf_deinit(&k->data);
    k->event_id = 0;
    k->heard_by_ms = UINT64_MAX;
}

void ccarry_down(struct csession *s, uint64_t now)
{
    struct ccarry *k = &s->carry;
    bool opened = k->session[0] != '\0';
    /* Another way would fare no better. */
    bool refused = s->reason == CONFAB_E_UNAUTHENTICATED || s->reason == CONFAB_E_LIMIT ||
                   s->reason == CONFAB_E_NOMEM;
    if (is_auto(s) && ccarry_is_link(s)) {
        k->ws_failures += k->handshaking && !refused ? 1 : 0;
    } else if (is_auto(s) && ((!opened && !refused) || k->ws_again_ms <= now)) {
        /* One more failure, and it is back here. */
        k->on = CONFAB_TRANSPORT_WS;
        k->ws_failures = WS_FAILURES - 1;
        k->ws_again_ms = UINT64_MAX;
    }
    k->handshaking = false;
    if (opened) {
        memcpy(k->leaving, k->session, sizeof(k->leaving));
    }
    k->session[0] = '\0';
    k->number[CSESSION_FETCHING] = k->number[CSESSION_POSTING] = 0;
    buf_deinit(&k->body);
    stream_forget(k);
}

void ccarry_free(struct csession *s)
{
    stream_forget(&s->carry);
    buf_deinit(&s->carry.body);
}

void ccarry_tick(struct csession *s, uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (ccarry_is_link(s) || !csession_is_signed_in(s)) {
        return;
    }
    if (k->heard_by_ms <= now && is_auto(s)) {
        k->streams_fail = true;
        k->on = CONFAB_TRANSPORT_POLL;
        k->number[CSESSION_FETCHING] = 0;
        k->at_ms[CSESSION_FETCHING] = now;
        stream_forget(k);
    } else if (k->heard_by_ms <= now) {
        csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_TIMEOUT, now);
    } else if (k->ws_again_ms <= now && s->phase == CPHASE_LIVE) {
        s->wait_ms = 0;
        csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_OK, now);
    }
}

uint64_t ccarry_deadline(const struct csession *s)
{
    const struct ccarry *k = &s->carry;
    if (ccarry_is_link(s)) {
        return UINT64_MAX;
    }
    uint64_t at = MIN(k->heard_by_ms, s->phase == CPHASE_LIVE ? k->ws_again_ms : UINT64_MAX);
    if (k->number[CSESSION_FETCHING] == 0) {
        at = MIN(at, k->at_ms[CSESSION_FETCHING]);
    }
    if (k->number[CSESSION_POSTING] == 0 && (s->out.len > 0 || k->body.len > 0)) {
        at = MIN(at, k->at_ms[CSESSION_POSTING]);
    }
    return at;
}

/* ---- What is to be asked ---- */

static bool is_opening(const struct csession *s)
{
    return s->phase == CPHASE_LINK && !ccarry_is_link(s);
}

static bool is_open(const struct csession *s)
{
    return csession_is_signed_in(s) && s->carry.session[0] != '\0';
}

bool csession_call_ready(const struct csession *s, enum csession_lane lane, uint64_t now)
{
    const struct ccarry *k = &s->carry;
    if (k->number[lane] != 0) {
        return false;
    }
    if (lane == CSESSION_FETCHING) {
        return is_open(s) && k->at_ms[lane] <= now;
    }
    if (is_opening(s) || k->leaving[0] != '\0') {
        return true;
    }
    return is_open(s) && (s->out.len > 0 || k->body.len > 0) && k->at_ms[lane] <= now;
}

/* Moves events that wait into the body of a post. False: out of memory, they stay. */
static bool fill_body(struct csession *s)
{
    struct ccarry *k = &s->carry;
    size_t at = 0;
    for (uint32_t n = 0; n < POST_EVENTS && at < s->out.len; n++) {
        const uint8_t *p = s->out.data + at;
        const uint8_t *end = memchr(p, '\n', s->out.len - at);
        size_t len = end ? (size_t)(end - p) : s->out.len - at;
        if (n > 0 && k->body.len + len > POST_BYTES) {
            break;
        }
        buf_put_u8(&k->body, n == 0 ? '[' : ',');
        buf_put(&k->body, p, len);
        at += MIN(len + 1, s->out.len - at);
    }
    buf_put_u8(&k->body, ']');
    if (!buf_ok(&k->body)) {
        buf_deinit(&k->body);
        return false;
    }
    buf_consume(&s->out, at);
    if (s->out.len == 0) {
        buf_deinit(&s->out);
    }
    return true;
}

static void fetch_call(struct csession *s, uint64_t now, struct csession_call *ret)
{
    struct ccarry *k = &s->carry;
    unsigned long long last = k->last;
    ret->method = "GET";
    ret->stream = k->on == CONFAB_TRANSPORT_SSE;
    stream_forget(k);
    if (ret->stream) {
        ret->timeout_ms = UINT64_MAX;
        k->heard_by_ms = now + STREAM_SILENT_MS;
        snprintf(ret->path, sizeof(ret->path), EVENTS_PATH "/%s?after=%llu", k->session, last);
    } else {
        ret->timeout_ms = POLL_WAIT_S * 1000 + s->opt.timeout_ms;
        snprintf(ret->path, sizeof(ret->path), EVENTS_PATH "/%s?after=%llu&wait=%u", k->session,
                 last, POLL_WAIT_S);
    }
}

bool csession_call_next(struct csession *s, enum csession_lane lane, uint64_t now,
                        struct csession_call *ret)
{
    struct ccarry *k = &s->carry;
    if (!csession_call_ready(s, lane, now)) {
        return false;
    }
    *ret = (struct csession_call){.lane = lane, .method = "POST", .timeout_ms = s->opt.timeout_ms};
    if (lane == CSESSION_FETCHING) {
        fetch_call(s, now, ret);
    } else if (is_opening(s)) {
        k->posting = CCARRY_OPEN;
        snprintf(ret->path, sizeof(ret->path), EVENTS_PATH);
        ret->body =
            span_str(k->on == CONFAB_TRANSPORT_SSE ? "{\"mode\":\"sse\"}" : "{\"mode\":\"poll\"}");
    } else if (k->leaving[0] != '\0') {
        k->posting = CCARRY_LEAVE;
        ret->method = "DELETE";
        snprintf(ret->path, sizeof(ret->path), EVENTS_PATH "/%s", k->leaving);
        k->leaving[0] = '\0'; /* tried once: it ends by itself as well */
    } else {
        if (k->body.len == 0 && !fill_body(s)) {
            csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_NOMEM, now);
            return false;
        }
        k->posting = CCARRY_EVENTS;
        snprintf(ret->path, sizeof(ret->path), EVENTS_PATH "/%s", k->session);
        ret->body = span_of(k->body.data, k->body.len);
    }
    ret->number = k->number[lane] = ++k->calls;
    return true;
}

bool csession_call_wanted(const struct csession *s, const struct csession_call *call)
{
    return call->number != 0 && s->carry.number[call->lane] == call->number;
}

/* ---- Answers ---- */

static void protocol_error(struct csession *s, const char *text, uint64_t now)
{
    s->stats.protocol_errors++;
    csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_PROTOCOL, now);
    csession_error(s, CONFAB_E_PROTOCOL, text);
}

/* What a status that ends the connection means. */
static void refused(struct csession *s, int status, uint64_t retry_after_ms, uint64_t now)
{
    enum confab_error reason = CONFAB_E_PROTOCOL;
    enum cphase then = CPHASE_WAIT;
    if (retry_after_ms > 0) {
        s->wait_ms = csession_wait_after(s, retry_after_ms);
    }
    if (status == 401) {
        reason = CONFAB_E_UNAUTHENTICATED;
        then = csession_token_refused(s);
    } else if (status == 0 || status == 404) {
        reason = CONFAB_E_NETWORK; /* 404: the session has ended */
    } else if (status == 429) {
        reason = CONFAB_E_LIMIT;
    } else if (status >= 500) {
        reason = CONFAB_E_BUSY;
    } else {
        s->stats.protocol_errors++;
    }
    csession_close_link(s, WS_CLOSE_NONE, then, reason, now);
    if (status != 0 && status != 404) {
        char text[64];
        snprintf(text, sizeof(text), "the server answered with status %d", status);
        csession_error(s, reason, text);
    }
}

/* True: the lane waits a little, and tries again. */
static bool try_again(struct csession *s, enum csession_lane lane, uint64_t retry_after_ms,
                      uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (++k->failures[lane] >= FAILURES_MAX) {
        return false;
    }
    uint64_t wait = random_below(s->random, (uint64_t)RETRY_MS << k->failures[lane]);
    k->at_ms[lane] = now + MAX(wait, retry_after_ms);
    return true;
}

static void after_events(struct csession *s, uint64_t now)
{
    if (csession_is_signed_in(s)) {
        ctrack_send_acks(s, now);
        coutbox_pump(s, now);
    }
}

static void stream_event(struct csession *s, uint64_t now)
{
    struct ccarry *k = &s->carry;
    uint64_t id = k->event_id;
    k->event_id = 0;
    if (k->data.len > 0 && id != 0 && id > k->last + 1) {
        protocol_error(s, "events are missing in the stream", now);
    } else if (k->data.len > 0 && (id == 0 || id == k->last + 1)) {
        k->last = id == 0 ? k->last : id;
        clink_text(s, span_of(k->data.data, k->data.len), now);
    }
    buf_clear(&k->data);
}

static struct span field_value(struct span line, size_t name)
{
    size_t from = name + 1;
    from += from < line.n && line.p[from] == ' ' ? 1 : 0;
    return span_of(line.p + from, line.n - from);
}

static void stream_line(struct csession *s, struct span line, uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (line.n > 0 && line.p[line.n - 1] == '\r') {
        line.n--;
    }
    if (line.n == 0) {
        stream_event(s, now);
    } else if (line.n > 3 && memcmp(line.p, "id:", 3) == 0) {
        if (!id_parse(field_value(line, 2), &k->event_id)) {
            protocol_error(s, "an event has no number", now);
        }
    } else if (line.n > 5 && memcmp(line.p, "data:", 5) == 0) {
        struct span value = field_value(line, 4);
        buf_put_str(&k->data, k->data.len > 0 ? "\n" : "");
        buf_put(&k->data, value.p, value.n);
    }
}

void csession_call_input(struct csession *s, const struct csession_call *call, const void *p,
                         size_t n, uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (n == 0 || !csession_call_wanted(s, call) || !is_open(s)) {
        return;
    }
    s->last_rx_ms = now;
    k->heard_by_ms = UINT64_MAX;
    k->failures[CSESSION_FETCHING] = 0;
    buf_put(&k->line, p, n);
    size_t at = 0;
    while (buf_ok(&k->line) && buf_ok(&k->data) && is_open(s) && at < k->line.len) {
        const uint8_t *from = k->line.data + at;
        const uint8_t *end = memchr(from, '\n', k->line.len - at);
        if (!end) {
            break;
        }
        at += (size_t)(end - from) + 1;
        stream_line(s, span_of(from, (size_t)(end - from)), now);
    }
    if (!buf_ok(&k->line) || !buf_ok(&k->data)) {
        csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_NOMEM, now);
        return;
    }
    buf_consume(&k->line, at);
    if (k->line.len == 0) {
        buf_deinit(&k->line);
    } else if (k->line.len > s->opt.frame_bytes_max) {
        protocol_error(s, "an event is too large", now);
    }
    after_events(s, now);
}

/* {"events":[…],"last":N}, behind what was taken before. */
static void take_poll(struct csession *s, struct span body, uint64_t now)
{
    struct ccarry *k = &s->carry;
    struct json *j = malloc(sizeof(*j)); /* handlers may want much of the stack */
    struct span key;
    struct span one;
    uint64_t last = k->last;
    if (!j) {
        csession_close_link(s, WS_CLOSE_NONE, CPHASE_WAIT, CONFAB_E_NOMEM, now);
        return;
    }
    json_init(j, body, NULL);
    json_object_begin(j);
    while (is_open(s) && json_object_next(j, &key)) {
        if (span_is(key, "last")) {
            json_u64(j, &last);
        } else if (span_is(key, "events") && json_array_begin(j)) {
            while (is_open(s) && json_array_next(j) && json_raw(j, &one)) {
                clink_text(s, one, now);
            }
        } else {
            json_skip(j);
        }
    }
    if (is_open(s) && (!json_end(j) || last < k->last)) {
        protocol_error(s, "the answer to a poll could not be read", now);
    } else if (is_open(s)) {
        k->last = last;
        k->failures[CSESSION_FETCHING] = 0;
        k->at_ms[CSESSION_FETCHING] = now;
    }
    free(j);
    after_events(s, now);
}

static void fetch_done(struct csession *s, bool stream, int status, uint64_t retry_after_ms,
                       struct span body, uint64_t now)
{
    struct ccarry *k = &s->carry;
    bool silent = k->heard_by_ms != UINT64_MAX;
    if (stream) {
        stream_forget(k);
    }
    if (status == 200 && stream && !silent) {
        k->at_ms[CSESSION_FETCHING] = now; /* it ended: by a proxy's clock, or the server's */
        return;
    }
    if (status == 200 && !stream) {
        take_poll(s, body, now);
        return;
    }
    bool passing = status == 0 || status == 200 || status == 429 || status >= 500;
    if (!passing || !try_again(s, CSESSION_FETCHING, retry_after_ms, now)) {
        refused(s, status == 200 ? 0 : status, retry_after_ms, now);
    }
}

static void post_done(struct csession *s, int status, uint64_t retry_after_ms, uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (status >= 200 && status < 300) {
        buf_deinit(&k->body);
        k->failures[CSESSION_POSTING] = 0;
        k->at_ms[CSESSION_POSTING] = now;
        after_events(s, now);
    } else if ((status != 429 && status != 503) ||
               !try_again(s, CSESSION_POSTING, retry_after_ms, now)) {
        refused(s, status, retry_after_ms, now);
    }
}

static void open_done(struct csession *s, int status, uint64_t retry_after_ms, struct span body,
                      uint64_t now)
{
    if (!is_opening(s)) {
        return;
    }
    if (status != 201) {
        refused(s, status, retry_after_ms, now);
        return;
    }
    s->last_beat_ms = now;
    csession_set_phase(s, CPHASE_HELLO, now);
    clink_text(s, body, now);
    if (s->phase == CPHASE_HELLO || (csession_is_signed_in(s) && s->carry.session[0] == '\0')) {
        protocol_error(s, "the server opened no session", now);
    }
    after_events(s, now);
}

void csession_call_done(struct csession *s, const struct csession_call *call, int status,
                        uint64_t retry_after_ms, struct span body, uint64_t now)
{
    struct ccarry *k = &s->carry;
    if (!csession_call_wanted(s, call)) {
        return;
    }
    k->number[call->lane] = 0;
    if (status > 0) {
        s->last_rx_ms = now;
    }
    if (call->lane == CSESSION_POSTING && k->posting == CCARRY_OPEN) {
        open_done(s, status, retry_after_ms, body, now);
    } else if (call->lane == CSESSION_POSTING && k->posting == CCARRY_EVENTS && is_open(s)) {
        post_done(s, status, retry_after_ms, now);
    } else if (call->lane == CSESSION_FETCHING && is_open(s)) {
        fetch_done(s, call->stream, status, retry_after_ms, body, now);
    }
}
