/*
 * The GET of a carried session. What it cannot tell its session (no credit left) comes out by
 * itself: the session's next comment finds it gone, or no longer full.
 */
#include "gateway/pipe.h"

#include "gateway/api.h"
#include "gateway/http.h"
#include "gateway/internal.h"

#define FULL_PART    4U /* of the bound of a queue: the session waits above */
#define ROOM_PART    8U /* and goes on below */
#define SILENT_BEATS 3U /* of a session, after which its stream ends */
#define POLL_OVER_MS 30000U

static void on_said(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    (void)s;
    (void)sink;
    command_free(cmd);
}
static struct command_sink said_sink = {.on_done = on_said};

/* Tells the session, when that is possible now. */
static void tell_session(struct shard *s, const struct conn *c, enum carrier_what what)
{
    uint64_t session = c->io->http.pipe.session;
    uint16_t to;
    struct carrier_msg *m = s->freeing ? NULL : carrier_msg_new(what, session);
    if (!m) {
        return;
    }
    m->pipe = conn_id(s, c);
    m->cmd.context = &said_sink;
    if (!carrier_shard(s, session, &to) || link_request_to(s, to, &m->cmd)) {
        command_free(&m->cmd);
    }
}

static void stream_arm(struct shard *s, struct conn *c)
{
    conn_arm(s, c, SILENT_BEATS * s->cfg.stream_beat_ms);
}

static void on_attached(struct shard *s, struct api_call *call, struct command *cmd)
{
    const struct carrier_msg *m = carrier_msg_of(cmd);
    struct conn *c = conn_of_id(s, call->conn);
    enum confab_err err = cmd->err;
    const char *field = cmd->err_field;
    uint32_t wait_ms = m->wait_ms;
    command_free(cmd);
    if (!c || !conn_is_pipe(c)) {
        api_call_drop(s, call);
        return;
    }
    struct pipe *p = &c->io->http.pipe;
    if (err) {
        *p = (struct pipe){0};
        api_call_fail(s, call, err, NULL, field);
        return;
    }
    api_call_drop(s, call);
    if (p->mode == CARRIER_POLL) {
        c->io->http.begun_ns = 0; /* how long it waits says nothing about the server */
        conn_arm(s, c, wait_ms + POLL_OVER_MS);
        return;
    }
    /* A proxy that keeps what it gets shows by the missing comment. */
    if (http_stream_begin(s, c, "text/event-stream", span_str("X-Accel-Buffering: no\r\n")) &&
        http_stream_write(s, c, span_str(":\n\n"))) {
        p->open = true;
        stream_arm(s, c);
    }
}

void pipe_open(struct api_request *r, uint64_t session, enum carrier_mode mode, uint64_t after,
               uint32_t wait_ms)
{
    struct shard *s = r->s;
    struct conn *c = r->c;
    uint16_t to;
    if (!carrier_shard(s, session, &to)) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return;
    }
    struct api_call *call = api_call_new(r);
    struct carrier_msg *m = call ? carrier_msg_new(CARRIER_ATTACH, session) : NULL;
    if (!call) {
        return;
    }
    call->on_command = on_attached;
    if (m) {
        m->mode = mode;
        m->who = r->claims;
        m->after = after;
        m->wait_ms = wait_ms;
        m->pipe = conn_id(s, c);
    }
    c->io->http.pipe = (struct pipe){.session = session, .mode = (uint8_t)mode};
    api_call_send_to(s, call, to, m ? &m->cmd : NULL);
    if (call->err) {
        c->io->http.pipe = (struct pipe){0};
        api_call_fail(s, call, call->err, NULL, NULL);
    }
}

/* Nothing of what was queued was taken for long. */
static bool is_stuck(const struct shard *s, const struct conn *c)
{
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    return c->out_bytes > 0 && silent >= s->cfg.dead_after_ms;
}

static void take_stream(struct shard *s, struct conn *c, struct carrier_msg *m)
{
    struct span bytes = span_of(m->cmd.ret.data, m->cmd.ret.len);
    m->gone = true;
    if (is_stuck(s, c)) {
        metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
        c->io->http.pipe = (struct pipe){0};
        conn_kill(s, c);
        return;
    }
    if (!http_stream_write(s, c, bytes)) {
        return;
    }
    if (m->what == CARRIER_LAST) {
        c->io->http.pipe = (struct pipe){0};
        http_stream_end(s, c);
        return;
    }
    m->gone = false;
    m->full = c->out_bytes > s->cfg.queue_bytes_max / FULL_PART;
    c->io->http.pipe.full = m->full;
    stream_arm(s, c);
}

void pipe_take(struct shard *s, struct carrier_msg *m)
{
    struct conn *c = conn_of_id(s, m->pipe);
    if (!c || !conn_is_pipe(c) || c->io->http.pipe.session != m->session) {
        m->gone = true;
        return;
    }
    if (m->mode == CARRIER_SSE) {
        take_stream(s, c, m);
        return;
    }
    c->io->http.pipe = (struct pipe){0};
    http_answer_buf(s, c, 200, "application/json", &m->cmd.ret);
}

void pipe_watch(struct shard *s, struct conn *c)
{
    size_t n = 0;
    /* Whoever reads a stream has nothing more to say on this connection: the answer ends it. */
    for (;;) {
        enum confab_err err =
            s->deps.net->ops->recv(s->deps.net, c->handle, s->input, sizeof(s->input), &n);
        metrics_inc(s->metrics, METRIC_READS);
        if (err == CONFAB_AGAIN) {
            return;
        }
        if (err) {
            conn_kill(s, c);
            return;
        }
        metrics_add(s->metrics, METRIC_BYTES_IN, n);
        if (n < sizeof(s->input)) {
            return;
        }
    }
}

void pipe_timer(struct shard *s, struct conn *c)
{
    metrics_inc(s->metrics, METRIC_CONNECTIONS_TIMEOUT);
    conn_kill(s, c);
}

void pipe_drained(struct shard *s, struct conn *c)
{
    struct pipe *p = &c->io->http.pipe;
    if (p->full && c->out_bytes <= s->cfg.queue_bytes_max / ROOM_PART) {
        p->full = false;
        tell_session(s, c, CARRIER_ROOM);
    }
}

void pipe_dying(struct shard *s, struct conn *c)
{
    tell_session(s, c, CARRIER_DETACH);
    c->io->http.pipe = (struct pipe){0};
}
