/*
 * Carried sessions, on the session's side. The frames in the queue are those of WebSockets, so that
 * a fan-out makes one for all; their text is what goes into a piece. A piece is copied for each
 * session: few are carried, and none of this is in the way of those that are not.
 */
#include "gateway/carrier.h"

#include <stdlib.h>

#include "gateway/internal.h"
#include "gateway/pipe.h"
#include "gateway/session.h"
#include "proto/json.h"

#define PIECE_BYTES  65536U /* at which a piece ends early */
#define PIECE_EVENTS 256U
#define KEEP_EVENTS  256U /* handed to a stream, kept for its next GET */
#define KEEP_PART    8U   /* of the bound of the queue, in bytes */
#define RETRY_MS     100U /* without a credit for a message */
#define SHARD_SHIFT  55U  /* see conn_id */

struct carrier_msg *carrier_msg_new(enum carrier_what what, uint64_t session)
{
    struct carrier_msg *m = calloc(1, sizeof(*m));
    if (m) {
        m->cmd.type = COMMAND_HOST;
        list_init(&m->cmd.link);
        m->what = what;
        m->session = session;
    }
    return m;
}

bool carrier_shard(const struct shard *s, uint64_t id, uint16_t *ret)
{
    uint64_t shard = id >> SHARD_SHIFT;
    if (shard == 0 || shard > s->cfg.shards) {
        return false;
    }
    *ret = (uint16_t)(shard - 1);
    return true;
}

void carrier_free(struct carrier *k)
{
    if (k) {
        command_free(k->post);
        free(k);
    }
}

static void set_kept(struct shard *s, struct carrier *k, uint64_t bytes)
{
    s->kept_bytes = s->kept_bytes - k->kept + bytes;
    if (k->mode == CARRIER_SSE) {
        s->kept_streams = s->kept_streams - k->kept + bytes;
    }
    k->kept = bytes;
}

static uint64_t last_of(const struct conn *c)
{
    return c->carrier->first + c->out_frames - 1;
}

uint32_t carrier_begun(const struct conn *c)
{
    return (uint32_t)(c->carrier->sent + 1 - c->carrier->first);
}

bool carrier_is_stuck(const struct conn *c)
{
    return c->carrier->pipe == 0 || c->carrier->full;
}

/* ---- Opening ---- */

/* The one of the device that was silent longest, when there are too many. */
static struct conn *one_too_many(struct shard *s, const struct jwt_claims *who)
{
    struct conn *oldest = NULL;
    uint32_t n = 0;
    for (struct conn *c = session_of_user(s, who->user); c; c = session_next(s, c)) {
        if (c->state == CONN_CARRIED && c->device == who->device) {
            n++;
            oldest = !oldest || c->seen_s <= oldest->seen_s ? c : oldest;
        }
    }
    return n >= s->cfg.carried_max ? oldest : NULL;
}

struct conn *carrier_open(struct shard *s, const struct jwt_claims *who, enum carrier_mode kind,
                          struct buf *ret_hello)
{
    struct conn *oldest = one_too_many(s, who);
    if (oldest) {
        metrics_inc(s->metrics, METRIC_CARRIED_ENDED_REPLACED);
        session_close(s, oldest, WS_CLOSE_TOO_MANY, "too many sessions of this device");
    }
    struct carrier *k = calloc(1, sizeof(*k));
    struct conn *c = k ? conn_new_carried(s) : NULL;
    if (!c) {
        free(k);
        return NULL;
    }
    k->first = 1;
    k->kind = kind;
    k->due_ms = s->now_ms + s->cfg.carried_silent_ms;
    c->carrier = k;
    if (!session_begin(s, c, who, ret_hello)) {
        return NULL;
    }
    metrics_inc(s->metrics,
                kind == CARRIER_SSE ? METRIC_CARRIED_OPENED_SSE : METRIC_CARRIED_OPENED_POLL);
    session_alive(s, c);
    return c;
}

/* ---- To the pipe ---- */

static void on_piece_done(struct shard *s, struct command_sink *sink, struct command *cmd);
static struct command_sink piece_sink = {.on_done = on_piece_done};

/* Takes the bytes over. False: there is no memory or no credit for it now. */
static bool send_piece(struct shard *s, struct conn *c, enum carrier_what what, struct buf *bytes)
{
    struct carrier *k = c->carrier;
    uint16_t to;
    struct carrier_msg *m = buf_ok(bytes) ? carrier_msg_new(what, conn_id(s, c)) : NULL;
    if (!m || !carrier_shard(s, k->pipe, &to)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        command_free(m ? &m->cmd : NULL);
        buf_deinit(bytes);
        return false;
    }
    m->pipe = k->pipe;
    m->mode = k->mode;
    m->cmd.ret = *bytes;
    *bytes = (struct buf){0};
    m->cmd.context = &piece_sink;
    if (link_request_to(s, to, &m->cmd)) {
        command_free(&m->cmd);
        return false;
    }
    k->flying = what == CARRIER_DATA;
    return true;
}

static void piece_begin(const struct carrier *k, struct buf *b)
{
    if (k->mode == CARRIER_POLL) {
        buf_put_str(b, "{\"events\":[");
    }
}

static void piece_add(const struct carrier *k, struct buf *b, uint64_t number, struct span text)
{
    if (k->mode == CARRIER_POLL) {
        if (b->len > 0 && b->data[b->len - 1] != '[') {
            buf_put_u8(b, ',');
        }
    } else {
        if (number != 0) {
            buf_printf(b, "id: %llu\n", (unsigned long long)number);
        }
        buf_put_str(b, "data: "); /* one line: JSON of ours has no line breaks */
    }
    buf_put(b, text.p, text.n);
    if (k->mode == CARRIER_SSE) {
        buf_put_str(b, "\n\n");
    }
}

static void piece_end(const struct carrier *k, struct buf *b, uint64_t last)
{
    if (k->mode == CARRIER_POLL) {
        buf_printf(b, "],\"last\":%llu}", (unsigned long long)last);
    }
}

static void count_events(struct shard *s, struct carrier *k, uint64_t from, uint64_t to)
{
    metrics_add(s->metrics,
                k->mode == CARRIER_SSE ? METRIC_CARRIED_EVENTS_SSE : METRIC_CARRIED_EVENTS_POLL,
                to - from + 1);
    if (from <= k->high) {
        metrics_add(s->metrics, METRIC_CARRIED_REPEATED, MIN(to, k->high) - from + 1);
    }
    k->high = MAX(k->high, to);
}

/* Soon again: another shard had no credit left. */
static void try_soon(struct shard *s, struct conn *c)
{
    c->carrier->due_ms = s->now_ms + RETRY_MS;
    session_alive(s, c);
}

void carrier_flush(struct shard *s, struct conn *c)
{
    struct carrier *k = c->carrier;
    struct frame *frames[PIECE_EVENTS];
    if (k->pipe == 0 || k->flying || k->full) {
        return;
    }
    if (k->sent == last_of(c)) {
        session_drained(s, c);
        bool over = k->mode == CARRIER_POLL && k->due_ms <= s->now_ms; /* not to be waited for */
        if (c->state != CONN_CARRIED || (k->sent == last_of(c) && !over)) {
            return;
        }
    }
    uint32_t n = conn_output_peek(s, c, (uint32_t)(k->sent + 1 - k->first), PIECE_EVENTS, frames);
    struct buf b = {0};
    uint32_t i = 0;
    uint64_t bytes = 0;
    piece_begin(k, &b);
    while (i < n && (i == 0 || b.len + frames[i]->len <= PIECE_BYTES)) {
        piece_add(k, &b, k->sent + 1 + i, frame_payload(frames[i]));
        bytes += frames[i++]->len;
    }
    piece_end(k, &b, k->sent + i);
    if (!send_piece(s, c, CARRIER_DATA, &b)) {
        try_soon(s, c);
        return;
    }
    if (i > 0) {
        count_events(s, k, k->sent + 1, k->sent + i);
    }
    k->sent += i;
    set_kept(s, k, k->kept + bytes);
    if (k->mode == CARRIER_SSE) {
        k->due_ms = s->now_ms + s->cfg.stream_beat_ms;
    }
}

static void keep(struct shard *s, struct conn *c, uint32_t events_max, uint32_t bytes_max)
{
    struct carrier *k = c->carrier;
    uint32_t kept = carrier_begun(c);
    uint32_t bytes = 0;
    uint32_t n = 0;
    struct frame *frames[PIECE_EVENTS];
    uint32_t drop = kept > events_max ? kept - events_max : 0;
    kept -= drop;
    n = conn_output_peek(s, c, drop, kept, frames);
    while (n > 0 && bytes + frames[n - 1]->len <= bytes_max) {
        bytes += frames[--n]->len;
    }
    drop += n;
    k->first += drop;
    conn_output_forget(s, c, drop);
    set_kept(s, k, bytes);
}

/* What a stream has taken is kept only so far: nobody may ever confirm it. */
static void keep_less(struct shard *s, struct conn *c)
{
    keep(s, c, KEEP_EVENTS, s->cfg.queue_bytes_max / KEEP_PART);
}

void carrier_keep_nothing(struct shard *s, struct conn *c)
{
    const struct carrier *k = c->carrier;
    if (k->mode == CARRIER_SSE && k->pipe != 0 && !k->flying && k->kept > 0) {
        keep(s, c, 0, 0);
    }
}

static void pipe_lost(struct shard *s, struct conn *c)
{
    struct carrier *k = c->carrier;
    k->pipe = 0;
    k->flying = k->full = false;
    k->due_ms = s->now_ms + s->cfg.carried_silent_ms;
    if (!(c->flags & CONN_SLOW)) {
        session_alive(s, c);
    }
}

static void on_piece_done(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    (void)sink;
    const struct carrier_msg *m = carrier_msg_of(cmd);
    struct conn *c = conn_of_id(s, m->session);
    if (m->what == CARRIER_DATA && c && c->state == CONN_CARRIED && c->carrier->pipe == m->pipe) {
        struct carrier *k = c->carrier;
        k->flying = false;
        if (m->gone || k->mode == CARRIER_POLL) {
            pipe_lost(s, c); /* an answered poll is over, too */
        } else {
            c->seen_s = (uint32_t)(s->now_ms / 1000);
            k->full = m->full;
            keep_less(s, c);
            conn_touch(s, c);
        }
    }
    command_free(cmd);
}

/* ---- From the requests ---- */

/* NULL: there is none, or it is not theirs, which is the same to them. */
static struct conn *session_for(struct shard *s, const struct carrier_msg *m)
{
    struct conn *c = conn_of_id(s, m->session);
    if (!c || c->state != CONN_CARRIED || c->user != m->who.user || c->device != m->who.device) {
        return NULL;
    }
    c->seen_s = (uint32_t)(s->now_ms / 1000);
    if (m->who.expires_s > c->expires_s) {
        c->expires_s = (uint32_t)m->who.expires_s;
        c->flags &= (uint16_t)~CONN_EXPIRING;
    }
    return c;
}

/* Ends a request that is the pipe no more. */
static void end_pipe(struct shard *s, struct conn *c, struct buf *last)
{
    struct carrier *k = c->carrier;
    if (k->pipe != 0 && !s->freeing) {
        (void)send_piece(s, c, CARRIER_LAST, last); /* or its own timer ends it */
    }
    buf_deinit(last);
    k->pipe = 0;
}

static enum confab_err attach(struct shard *s, struct carrier_msg *m)
{
    struct conn *c = session_for(s, m);
    if (!c) {
        return CONFAB_NOT_FOUND;
    }
    struct carrier *k = c->carrier;
    if (m->after > last_of(c)) {
        m->cmd.err_field = "after";
        return CONFAB_INVALID;
    }
    if (m->after + 1 < k->first) {
        /* Answers to what the client asked are missing with the rest: no resync could tell it. */
        metrics_inc(s->metrics, METRIC_CARRIED_ENDED_GAP);
        conn_kill(s, c);
        return CONFAB_NOT_FOUND;
    }
    struct buf none = {0};
    if (k->pipe != 0) {
        piece_begin(k, &none);
        piece_end(k, &none, k->sent);
        end_pipe(s, c, &none);
    }
    uint32_t confirmed = (uint32_t)(m->after + 1 - k->first);
    k->first = m->after + 1;
    conn_output_forget(s, c, confirmed);
    set_kept(s, k, 0);
    k->sent = m->after;
    k->pipe = m->pipe;
    k->mode = m->mode;
    k->flying = k->full = false;
    k->due_ms = s->now_ms + (k->mode == CARRIER_SSE ? s->cfg.stream_beat_ms : m->wait_ms);
    if (!(c->flags & CONN_SLOW)) {
        session_alive(s, c);
    }
    conn_touch(s, c);
    return CONFAB_OK;
}

/* The at-th event of a body that is one object, or an array of them. */
static bool post_event(struct span body, uint32_t at, struct span *ret)
{
    struct json j;
    uint32_t i = 0;
    json_init(&j, body, NULL);
    if (json_peek(&j) == JSON_OBJECT) {
        return at == 0 && json_raw(&j, ret);
    }
    json_array_begin(&j);
    while (json_array_next(&j) && json_raw(&j, ret)) {
        if (i++ == at) {
            return true;
        }
    }
    return false;
}

void carrier_resume(struct shard *s, struct conn *c)
{
    struct carrier *k = c->carrier;
    struct command *cmd = k->post;
    struct span text;
    if (!cmd) {
        return;
    }
    c->flags |= CONN_WORKING;
    while (c->state == CONN_CARRIED && c->holds == 0) {
        if (!post_event(span_of(cmd->body.data, cmd->body.len), k->post_at, &text)) {
            k->post = NULL;
            link_complete(s, cmd);
            break;
        }
        k->post_at++;
        session_message(s, c, text);
    }
    c->flags &= (uint16_t)~CONN_WORKING;
}

/* CONFAB_AGAIN: it is completed when its events are done with. */
static enum confab_err post(struct shard *s, struct carrier_msg *m)
{
    struct conn *c = session_for(s, m);
    if (!c) {
        return CONFAB_NOT_FOUND;
    }
    if (c->carrier->post) {
        metrics_inc(s->metrics, METRIC_BOUND_PENDING);
        return CONFAB_BUSY;
    }
    metrics_inc(s->metrics, METRIC_CARRIED_POSTS);
    c->carrier->post = &m->cmd;
    c->carrier->post_at = 0;
    carrier_resume(s, c);
    return CONFAB_AGAIN;
}

static enum confab_err end(struct shard *s, const struct carrier_msg *m)
{
    struct conn *c = session_for(s, m);
    if (!c) {
        return CONFAB_NOT_FOUND;
    }
    metrics_inc(s->metrics, METRIC_CARRIED_ENDED_ASKED);
    conn_kill(s, c);
    return CONFAB_OK;
}

/* The pipe speaks of itself. */
static void pipe_says(struct shard *s, const struct carrier_msg *m)
{
    struct conn *c = conn_of_id(s, m->session);
    if (!c || c->state != CONN_CARRIED || c->carrier->pipe != m->pipe) {
        return;
    }
    if (m->what == CARRIER_DETACH) {
        pipe_lost(s, c);
    } else {
        c->carrier->full = false;
        conn_touch(s, c);
    }
}

void carrier_take(struct shard *s, struct command *cmd)
{
    struct carrier_msg *m = carrier_msg_of(cmd);
    enum confab_err err = CONFAB_OK;
    switch (m->what) {
    case CARRIER_ATTACH:
        err = attach(s, m);
        break;
    case CARRIER_POST:
        err = post(s, m);
        break;
    case CARRIER_END:
        err = end(s, m);
        break;
    case CARRIER_DETACH:
    case CARRIER_ROOM:
        pipe_says(s, m);
        break;
    case CARRIER_DATA:
    case CARRIER_LAST:
        pipe_take(s, m);
        break;
    }
    if (err != CONFAB_AGAIN) {
        cmd->err = err;
        link_complete(s, cmd);
    }
}

/* ---- Time, and the end ---- */

uint32_t carrier_left_ms(const struct shard *s, const struct conn *c)
{
    uint64_t due = c->carrier->due_ms;
    return due > s->now_ms ? (uint32_t)MIN(due - s->now_ms, INT32_MAX) : 0;
}

void carrier_tick(struct shard *s, struct conn *c)
{
    struct carrier *k = c->carrier;
    struct buf b = {0};
    if (k->due_ms > s->now_ms) {
        session_alive(s, c); /* the token's time */
        return;
    }
    if (k->pipe == 0) {
        metrics_inc(s->metrics, METRIC_CARRIED_ENDED_SILENT);
        session_close(s, c, WS_CLOSE_GOING_AWAY, "nobody fetches its events");
        return;
    }
    /* A poll ends without an event; a stream shows that it is there, and finds out whether its
     * client is. */
    if (k->mode == CARRIER_SSE) {
        k->due_ms = s->now_ms + s->cfg.stream_beat_ms;
        buf_put_str(&b, ":\n\n");
        if (!k->flying && !send_piece(s, c, CARRIER_DATA, &b)) {
            k->due_ms = s->now_ms + RETRY_MS;
        }
        buf_deinit(&b);
    } else if (k->flying) {
        k->due_ms = s->now_ms + RETRY_MS;
    }
    conn_touch(s, c);
    session_alive(s, c);
}

void carrier_close(struct shard *s, struct conn *c, uint16_t code, const char *why)
{
    struct carrier *k = c->carrier;
    struct frame *frames[PIECE_EVENTS];
    struct buf text = {0};
    struct buf b = {0};
    if (k->pipe != 0) {
        /* Behind what waits, as far as one piece goes: answers, and a `reconnect` that was said. */
        uint32_t i = 0;
        uint32_t n = conn_output_peek(s, c, carrier_begun(c), PIECE_EVENTS, frames);
        wire_put_closed(&text, code, span_str(why));
        piece_begin(k, &b);
        while (i < n && b.len + frames[i]->len <= PIECE_BYTES) {
            piece_add(k, &b, k->sent + 1 + i, frame_payload(frames[i]));
            i++;
        }
        piece_add(k, &b, 0, span_of(text.data, text.len));
        piece_end(k, &b, k->sent + i);
        b.failed = b.failed || !buf_ok(&text);
        buf_deinit(&text);
        end_pipe(s, c, &b);
    }
    conn_kill(s, c);
}

void carrier_dying(struct shard *s, struct conn *c)
{
    struct carrier *k = c->carrier;
    struct buf b = {0};
    set_kept(s, k, 0);
    if (k->pipe != 0) {
        piece_begin(k, &b);
        piece_end(k, &b, k->sent);
        end_pipe(s, c, &b);
    }
    if (k->post && !s->freeing) {
        struct command *cmd = k->post;
        k->post = NULL;
        cmd->err = CONFAB_NOT_FOUND;
        link_complete(s, cmd);
    }
}
