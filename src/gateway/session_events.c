/*
 * What clients send over the socket (docs/api/socket.md), and the answers. A send becomes a command
 * to the owner of its conversation; the answer comes back in the order of that conversation's
 * frames.
 */
#include "gateway/internal.h"
#include "gateway/message.h"
#include "gateway/session.h"

#define EVENT_SEND       "send_message"
#define EVENT_SEND_GROUP "send_group_message"
#define EVENT_ACK        "ack"
#define EVENT_RESUME     "resume"
#define EVENT_AUTH       "auth"

static void on_send_done(struct shard *s, struct command_sink *sink, struct command *cmd);
static void on_ack_done(struct shard *s, struct command_sink *sink, struct command *cmd);

/* Which event a command answers is told by its sink; they hold nothing else. */
static struct command_sink send_sink = {.on_done = on_send_done};
static struct command_sink group_sink = {.on_done = on_send_done};
static struct command_sink ack_sink = {.on_done = on_ack_done};

static struct span sink_event(const struct command_sink *sink)
{
    return span_str(sink == &group_sink ? EVENT_SEND_GROUP
                    : sink == &ack_sink ? EVENT_ACK
                                        : EVENT_SEND);
}

/* ---- Commands of a session ---- */

static void session_submit(struct shard *s, struct conn *c, struct command *cmd)
{
    if (link_is_pressed(s, cmd) || link_request(s, cmd)) {
        metrics_inc(s->metrics, METRIC_SENDERS_HELD);
        conn_hold(s, c, HOLD_OWNER);
        list_push_back(&s->parked, &cmd->link);
        return;
    }
    if (++c->inflight >= s->cfg.inflight_max) {
        conn_hold(s, c, HOLD_INFLIGHT);
    }
}

void sessions_parked_run(struct shard *s)
{
    if (LIKELY(list_is_empty(&s->parked))) {
        return;
    }
    struct list still;
    struct list *n;
    list_init(&still);
    while ((n = list_pop_front(&s->parked)) != NULL) {
        struct command *cmd = LIST_ENTRY(n, struct command, link);
        struct conn *c = conn_of_id(s, cmd->origin);
        if (!c || !conn_is_session(c)) {
            command_give(&s->pool, cmd); /* its client repeats it elsewhere */
        } else if (link_is_pressed(s, cmd) || link_request(s, cmd)) {
            list_push_back(&still, &cmd->link);
        } else {
            if (++c->inflight >= s->cfg.inflight_max) {
                conn_hold(s, c, HOLD_INFLIGHT);
            }
            conn_release(s, c, HOLD_OWNER);
        }
    }
    while ((n = list_pop_front(&still)) != NULL) {
        list_push_back(&s->parked, n);
    }
}

void sessions_parked_drop(struct shard *s)
{
    struct list *n;
    while (s->parked.next && (n = list_pop_front(&s->parked)) != NULL) {
        command_free(LIST_ENTRY(n, struct command, link));
    }
}

/* The session that waits for a command, NULL when it is gone or closing. */
static struct conn *session_settle(struct shard *s, const struct command *cmd)
{
    struct conn *c = conn_of_id(s, cmd->origin);
    if (!c || !conn_is_session(c)) {
        return NULL;
    }
    c->inflight--;
    if ((c->holds & HOLD_INFLIGHT) && c->inflight < s->cfg.inflight_max) {
        conn_release(s, c, HOLD_INFLIGHT);
    }
    return c;
}

static void on_send_done(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    struct conn *c = session_settle(s, cmd);
    if (c && cmd->err) {
        session_send_error(s, c, cmd->err, NULL, cmd->err_field, sink_event(sink),
                           command_key(cmd));
    } else if (c) {
        struct wire_sent m = {
            .client_msg_id = command_key(cmd),
            .message_id = cmd->ret_id,
            .conv = cmd->ret_conv,
            .seq = cmd->ret_seq,
            .sent_at_ms = message_id_time_ms(cmd->ret_id),
            .duplicate = cmd->duplicate,
        };
        metrics_observe(s->metrics, METRIC_H_ACCEPT, s->now_ns - cmd->begun_ns);
        wire_put_ack(session_frame_begin(s), &m);
        session_frame_end(s, c);
    }
    command_give(&s->pool, cmd);
}

static void on_ack_done(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    struct conn *c = session_settle(s, cmd);
    if (c && cmd->err) {
        session_send_ack_error(s, c, cmd->err, cmd->err_field, sink_event(sink), cmd->conv);
    }
    command_give(&s->pool, cmd);
}

static struct command *session_command(struct shard *s, struct conn *c, enum command_type type,
                                       struct command_sink *sink)
{
    struct command *cmd = command_take(&s->pool, type);
    if (cmd) {
        cmd->actor = c->user;
        cmd->origin = conn_id(s, c);
        cmd->context = sink;
        cmd->begun_ns = s->now_ns;
    }
    return cmd;
}

/* ---- Sends ---- */

static enum confab_err send_fill(struct shard *s, struct command *cmd, const struct wire_send *m)
{
    struct buf mentions = {0};
    for (uint32_t i = 0; i < m->nmentions; i++) {
        buf_put_varint(&mentions, m->mentions[i]);
    }
    struct message_input in = {
        .content = m->content,
        .client_msg_id = m->client_msg_id,
        .mentions = span_of(mentions.data, mentions.len),
        .reply_to = m->reply_to,
    };
    cmd->conv = m->conv;
    cmd->fresh = m->fresh;
    cmd->answer_only = true;
    enum confab_err err = buf_ok(&mentions) ? message_fill(cmd, &in, s->deps.random) : CONFAB_NOMEM;
    buf_deinit(&mentions);
    return err;
}

static void send_submit(struct shard *s, struct conn *c, struct command *cmd)
{
    bool to = cmd->peer != 0 && cmd->peer != c->user;
    look_sent(s, c, to ? conv_id_direct(c->user, cmd->peer) : cmd->conv);
    session_submit(s, c, cmd);
}

static void on_to_found(struct shard *s, struct user_lookup *l)
{
    struct command *cmd = l->arg;
    struct command_sink *sink = cmd->context;
    struct conn *c = conn_of_id(s, l->conn);
    if (!c || !conn_is_session(c)) {
        command_give(&s->pool, cmd);
        return;
    }
    if (l->err) {
        session_send_error(s, c, l->err, l->err == CONFAB_NOT_FOUND ? "no such user" : NULL, "to",
                           sink_event(sink), cmd->in.cmid);
        command_give(&s->pool, cmd);
    } else {
        cmd->peer = l->ids[0];
        cmd->peer_deleted = l->deleted[0];
        send_submit(s, c, cmd);
    }
    conn_release(s, c, HOLD_LOOKUP);
}

static void on_to_dropped(struct shard *s, struct user_lookup *l)
{
    (void)s;
    command_free(l->arg);
}

/* Everything of this session waits until the name is known: its sends keep their order. */
static enum confab_err send_lookup(struct shard *s, struct conn *c, struct command *cmd,
                                   struct span to)
{
    struct user_lookup *l = user_lookup_new(1);
    enum confab_err err = l ? user_lookup_add(l, to) : CONFAB_NOMEM;
    if (err) {
        user_lookup_free(l);
        return err;
    }
    l->arg = cmd;
    l->conn = conn_id(s, c);
    l->done = on_to_found;
    l->drop = on_to_dropped;
    conn_hold(s, c, HOLD_LOOKUP);
    user_lookup_run(s, l);
    return CONFAB_OK;
}

static void session_send(struct shard *s, struct conn *c, const struct wire_client_msg *msg)
{
    const struct wire_send *m = &msg->u.send;
    struct command_sink *sink = m->group ? &group_sink : &send_sink;
    struct span ref = sink_event(sink);
    if (!span_is(m->type, "text")) {
        session_send_error(s, c, CONFAB_INVALID, "unknown type", "type", ref, m->client_msg_id);
        return;
    }
    if (m->content.n > s->cfg.text_bytes_max) {
        session_send_error(s, c, CONFAB_TOO_LARGE, NULL, "content", ref, m->client_msg_id);
        return;
    }
    uint32_t wait_ms = rates_take(s, RATE_SEND, c->user, c->device, c);
    if (wait_ms > 0) {
        session_send_wait(s, c, CONFAB_LIMIT, rates_text(RATE_SEND), ref, m->client_msg_id,
                          wait_ms);
        return;
    }
    struct command *cmd = session_command(s, c, COMMAND_EVENT, sink);
    enum confab_err err = cmd ? send_fill(s, cmd, m) : CONFAB_NOMEM;
    const char *field = NULL;
    if (!err && m->to.n > 0) {
        switch (users_find(s, m->to, &cmd->peer)) {
        case USER_HERE:
            break;
        case USER_ABSENT:
            err = CONFAB_NOT_FOUND;
            field = "to";
            break;
        case USER_ASK:
            err = send_lookup(s, c, cmd, m->to);
            if (!err) {
                return;
            }
            field = "to";
            break;
        }
    }
    if (err) {
        session_send_error(s, c, err, field && err == CONFAB_NOT_FOUND ? "no such user" : NULL,
                           field, ref, m->client_msg_id);
        command_give(&s->pool, cmd);
        return;
    }
    send_submit(s, c, cmd);
}

static void session_ack(struct shard *s, struct conn *c, const struct wire_ack *m)
{
    struct command *cmd = session_command(s, c, COMMAND_ACK, &ack_sink);
    if (!cmd) {
        session_send_ack_error(s, c, CONFAB_NOMEM, NULL, span_str(EVENT_ACK), m->conv);
        return;
    }
    cmd->in.target_id = m->message_id;
    cmd->conv = m->conv;
    cmd->to_seq = m->seq;
    cmd->ack_read = m->status == WIRE_READ;
    metrics_inc(s->metrics, METRIC_ACKS);
    session_submit(s, c, cmd);
}

/* ---- Signing in by frame ---- */

static void session_auth(struct shard *s, struct conn *c, struct span token)
{
    struct jwt_claims who = {0};
    const char *why;
    enum confab_err err = auth_token(s, token, &who, &why);
    uint64_t expect = c->io ? c->io->http.expect_user : 0;
    if (!err && expect != 0 && expect != who.user) {
        err = CONFAB_UNAUTHENTICATED;
    }
    if (err == CONFAB_UNAUTHENTICATED) {
        session_close(s, c, WS_CLOSE_TOKEN, why ? why : "the token was refused");
    } else if (err) {
        session_send_error(s, c, err, NULL, NULL, span_str(EVENT_AUTH), span_of(NULL, 0));
        session_close(s, c, WS_CLOSE_TRY_LATER, "try again later");
    } else if (session_may_open(s, c, &who)) {
        session_open(s, c, &who);
    }
}

/* A bad one changes nothing: the session has its old token until that runs out. */
static void session_auth_again(struct shard *s, struct conn *c, struct span token)
{
    struct jwt_claims who = {0};
    const char *why;
    enum confab_err err = auth_token(s, token, &who, &why);
    if (!err && (who.user != c->user || who.device != c->device)) {
        err = CONFAB_CONFLICT;
        why = "signed in as another device";
    }
    if (err) {
        session_send_error(s, c, err, why, NULL, span_str(EVENT_AUTH), span_of(NULL, 0));
        return;
    }
    metrics_inc(s->metrics, METRIC_TOKENS_RENEWED);
    session_renew(s, c, &who);
}

/* ---- Messages ---- */

/* Counts towards the bound that closes the session. */
static void bad_frame(struct shard *s, struct conn *c)
{
    if (conn_is_session(c) && ++c->bad_frames >= s->cfg.bad_frames_max) {
        session_close(s, c, WS_CLOSE_BAD_JSON, "too many bad frames");
    }
}

static void message_before_auth(struct shard *s, struct conn *c, const struct wire_client_msg *msg)
{
    if (msg->event == WIRE_C_AUTH) {
        session_auth(s, c, msg->u.token);
        return;
    }
    session_send_error(s, c, CONFAB_UNAUTHENTICATED, NULL, NULL, msg->name, span_of(NULL, 0));
    bad_frame(s, c);
}

/* Is it something that a person does, other than being there? */
static bool is_activity(const struct wire_client_msg *m)
{
    return m->event == WIRE_C_SEND || m->event == WIRE_C_TYPING || m->event == WIRE_C_VIEW ||
           (m->event == WIRE_C_ACK && m->u.ack.status == WIRE_READ);
}

static void session_presence(struct shard *s, struct conn *c, struct span status)
{
    enum presence_status st;
    if (presence_parse(status, &st)) {
        presence_said(s, c, st);
    }
}

void session_message(struct shard *s, struct conn *c, struct span text)
{
    struct wire_client_msg msg;
    struct wire_error e;
    if (c->user != 0 && s->wall_ms >= (uint64_t)c->expires_s * 1000) {
        session_close(s, c, WS_CLOSE_TOKEN, "the token has expired");
        return;
    }
    scratch_reset(&s->scratch);
    if (wire_parse_client(text, &s->scratch, &msg, &e)) {
        metrics_inc(s->metrics, metrics_of_error(e.code));
        wire_put_parse_error(session_frame_begin(s), &e);
        if (session_frame_end(s, c) && (e.malformed || c->user == 0)) {
            bad_frame(s, c);
        }
        return;
    }
    c->acked_last = msg.event == WIRE_C_ACK;
    if (msg.short_form) {
        c->flags |= CONN_SHORT;
    }
    if (c->user == 0) {
        message_before_auth(s, c, &msg);
        return;
    }
    enum confab_err err;
    if (is_activity(&msg)) {
        presence_did(s, c);
    }
    switch (msg.event) {
    case WIRE_C_AUTH:
        session_auth_again(s, c, msg.u.token);
        break;
    case WIRE_C_SEND:
        session_send(s, c, &msg);
        break;
    case WIRE_C_ACK:
        session_ack(s, c, &msg.u.ack);
        break;
    case WIRE_C_HEARTBEAT:
        wire_put_heartbeat(session_frame_begin(s));
        session_frame_end(s, c);
        break;
    case WIRE_C_RESUME:
        c->wire = (uint8_t)((c->wire & ~WIRE_BATCH) | (msg.u.resume.batch ? WIRE_BATCH : 0));
        err = resume_begin(s, c, &msg.u.resume);
        if (err == CONFAB_AGAIN) {
            session_send_wait(s, c, err, "many come back at once", span_str(EVENT_RESUME),
                              span_of(NULL, 0), resume_wait_ms(s));
        } else if (err) {
            session_send_error(s, c, err, NULL, NULL, span_str(EVENT_RESUME), span_of(NULL, 0));
        }
        break;
    case WIRE_C_VIEW:
        look_view(s, c, &msg.u.view);
        break;
    case WIRE_C_PRESENCE:
        session_presence(s, c, msg.u.status);
        break;
    case WIRE_C_SUBSCRIBE_PRESENCE:
        err = watch_subscribe(s, c, &msg.u.people);
        if (err) {
            session_send_error(s, c, err, NULL, err == CONFAB_LIMIT ? "user_ids" : NULL,
                               span_str("subscribe_presence"), span_of(NULL, 0));
        }
        break;
    case WIRE_C_UNSUBSCRIBE_PRESENCE:
        watch_unsubscribe(s, c, &msg.u.people);
        break;
    case WIRE_C_TYPING:
        look_typing(s, c, &msg.u.typing);
        break;
    case WIRE_C_NONE:
        break;
    }
}
