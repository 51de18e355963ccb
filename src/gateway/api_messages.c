/* Messages: send, edit, delete, mark as read. */
#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/api_util.h"
#include "gateway/internal.h"
#include "gateway/message.h"

#define READ_IDS_MAX 256U

/* ---- POST /messages ---- */

/* The spellings of docs/api/rest.md, already merged. */
struct send_body {
    struct span to;   /* user id or name */
    struct span conv; /* conversation or group id */
    struct span content;
    struct span type;
    struct span cmid;
    uint64_t reply_to;
    const char *twice; /* the documented name of a field whose names have different values */
    bool too_many;
    struct buf mentions;
};

static bool key_in(struct span key, const char *const *names)
{
    for (; *names; names++) {
        if (span_is(key, *names)) {
            return true;
        }
    }
    return false;
}

/* One of the names of a field; null is the same as leaving it out. */
static void read_name(struct json *j, struct send_body *b, const char *field, struct span *io)
{
    struct span v;
    if (json_try_null(j) || !json_string(j, &v)) {
        return;
    }
    if (io->n > 0 && v.n > 0 && !span_eq(*io, v)) {
        b->twice = field;
    }
    *io = v.n > 0 ? v : *io;
}

static void read_mentions(struct json *j, struct send_body *b)
{
    uint64_t id;
    uint32_t n = 0;
    if (json_try_null(j) || !json_array_begin(j)) {
        return;
    }
    while (json_array_next(j)) {
        if (!json_id(j, &id)) {
            return;
        }
        buf_put_varint(&b->mentions, id);
        b->too_many = ++n > EVENT_MENTIONS_MAX;
    }
}

static void send_member(struct json *j, struct span key, struct send_body *b)
{
    static const char *const to[] = {"toUserId", "to", NULL};
    static const char *const conv[] = {"conversation_id", "chatId", "groupId", "group_id", NULL};
    static const char *const content[] = {"content", "message", "text", NULL};
    static const char *const type[] = {"type", "message_type", "messageType", NULL};
    if (key_in(key, to)) {
        read_name(j, b, "toUserId", &b->to);
    } else if (key_in(key, conv)) {
        read_name(j, b, "conversation_id", &b->conv);
    } else if (key_in(key, content)) {
        read_name(j, b, "content", &b->content);
    } else if (key_in(key, type)) {
        read_name(j, b, "type", &b->type);
    } else if (span_is(key, "client_msg_id")) {
        read_name(j, b, "client_msg_id", &b->cmid);
    } else if (span_is(key, "reply_to")) {
        if (!json_try_null(j)) {
            json_id(j, &b->reply_to);
        }
    } else if (span_is(key, "mentions")) {
        read_mentions(j, b);
    } else {
        json_skip(j);
    }
}

static bool printable(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < 0x20 || s.p[i] > 0x7e) {
            return false;
        }
    }
    return true;
}

/* False: answered. */
static bool send_check(struct api_request *r, const struct send_body *b, struct conv_id *ret_conv)
{
    enum confab_err err = CONFAB_INVALID;
    const char *why = NULL;
    const char *field = NULL;
    if (b->twice) {
        why = "given twice with different values";
        field = b->twice;
    } else if ((b->to.n > 0) == (b->conv.n > 0)) {
        why = "one of conversation_id, toUserId and groupId is expected";
        field = "conversation_id";
    } else if (b->conv.n > 0 && !conv_id_parse(b->conv, ret_conv)) {
        err = CONFAB_NOT_FOUND;
        field = "conversation_id";
        why = err_text(err);
    } else if (b->type.n > 0 && !span_is(b->type, "text")) {
        err = CONFAB_INVALID;
        why = "unknown type";
        field = "type";
    } else if (b->cmid.n > EVENT_CMID_MAX || !printable(b->cmid)) {
        err = CONFAB_INVALID;
        why = "1 to 64 printable ASCII characters";
        field = "client_msg_id";
    } else if (b->too_many) {
        err = CONFAB_INVALID;
        why = "too many";
        field = "mentions";
    }
    if (why) {
        api_fail(r, err, why, field);
    }
    return why == NULL && api_text_check(r, b->content);
}

static void on_sent(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    int status = cmd->duplicate ? 200 : 201;
    metrics_observe(s->metrics, METRIC_H_ACCEPT, s->now_ns - cmd->begun_ns);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kid(&w, "message_id", cmd->ret_id);
    json_w_kid(&w, "messageId", cmd->ret_id);
    json_w_kconv_id(&w, "conversation_id", cmd->ret_conv);
    json_w_ku64(&w, "seq", cmd->ret_seq);
    json_w_ktime(&w, "timestamp", message_id_time_ms(cmd->ret_id));
    json_w_ktime(&w, "sent_at", message_id_time_ms(cmd->ret_id));
    json_w_kcstr(&w, "status", "sent");
    json_w_kstring(&w, "client_msg_id", cmd->in.cmid);
    json_w_kbool(&w, "duplicate", cmd->duplicate);
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, status, &body);
}

static void on_recipient(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, l->err == CONFAB_NOT_FOUND ? "no such user" : NULL,
                      "toUserId");
        return;
    }
    call->cmd->peer = l->ids[0];
    call->cmd->peer_deleted = l->deleted[0];
    api_call_send(s, call);
}

static struct command *send_command(struct api_request *r, const struct send_body *b)
{
    struct command *cmd = api_event_command(r, EVENT_MESSAGE);
    struct message_input in = {
        .content = b->content,
        .client_msg_id = b->cmid,
        .mentions = span_of(b->mentions.data, b->mentions.len),
        .reply_to = b->reply_to,
    };
    if (!cmd) {
        return NULL;
    }
    enum confab_err err =
        buf_ok(&b->mentions) ? message_fill(cmd, &in, r->s->deps.random) : CONFAB_NOMEM;
    if (err) {
        command_free(cmd);
        api_fail(r, err, NULL, NULL);
        return NULL;
    }
    return cmd;
}

static void message_send(struct api_request *r)
{
    struct send_body b = {0};
    struct json j;
    struct span key;
    struct conv_id conv = {0};
    if (!api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        send_member(&j, key, &b);
    }
    bool ok = api_body_end(r, &j) && (b.cmid.n > 0 || api_key_read(r, &b.cmid));
    if (ok && send_check(r, &b, &conv) && api_may(r, RATE_SEND)) {
        struct command *cmd = send_command(r, &b);
        presence_acted(r->s, r->user, r->device);
        if (cmd && b.to.n > 0) {
            api_run_with_user(r, cmd, b.to, on_recipient, on_sent);
        } else if (cmd) {
            cmd->conv = conv;
            api_run(r, cmd, on_sent);
        }
    }
    buf_deinit(&b.mentions);
}

/* ---- PATCH, DELETE /messages/{message_id} ---- */

static bool message_arg(struct api_request *r, uint64_t *ret)
{
    if (id_parse(r->args[0], ret)) {
        return true;
    }
    api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
    return false;
}

static void message_edit(struct api_request *r)
{
    static const char *const content[] = {"content", "message", "text", NULL};
    struct json j;
    struct span key;
    struct span text = {0};
    uint64_t id;
    if (!message_arg(r, &id) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (key_in(key, content)) {
            json_string(&j, &text);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j) || !api_text_check(r, text) || !api_may(r, RATE_SEND)) {
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_EDIT);
    presence_acted(r->s, r->user, r->device);
    if (cmd && command_set_span(cmd, &cmd->in.text, text)) {
        command_free(cmd);
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    if (cmd) {
        cmd->in.target_id = id;
        api_run(r, cmd, api_on_event);
    }
}

/* Delete for me is an entry of the user's own log: it needs the place of the message. */
static void on_located(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    struct command *hide = command_new(COMMAND_EVENT);
    if (!hide) {
        command_free(cmd);
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    hide->actor = call->user;
    hide->begun_ns = cmd->begun_ns;
    hide->in.kind = EVENT_HIDE;
    hide->in.conv = cmd->ret_conv;
    hide->in.range_from = hide->in.range_to = cmd->ret_seq;
    command_free(cmd);
    call->cmd = hide;
    call->on_command = api_on_event;
    api_call_send(s, call);
}

static void message_delete(struct api_request *r)
{
    struct span whom;
    uint64_t id;
    if (!message_arg(r, &id)) {
        return;
    }
    enum confab_err err = http_query_get(r->http->query, "for", &r->s->scratch, &whom);
    bool me = !err && span_is(whom, "me");
    if ((err && err != CONFAB_NOT_FOUND) || (!err && !me && !span_is(whom, "everyone"))) {
        api_fail(r, CONFAB_INVALID, "everyone or me", "for");
        return;
    }
    struct command *cmd = me ? api_command(r, COMMAND_LOOKUP, (struct conv_id){0})
                             : api_event_command(r, EVENT_DELETE);
    if (cmd) {
        cmd->in.target_id = id;
        api_run(r, cmd, me ? on_located : api_on_event);
    }
}

/* ---- POST /messages/read ---- */

static void on_read(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    if (cmd && cmd->err && !call->err) {
        call->err = cmd->err;
    }
    command_free(cmd);
    if (call->pending > 0) {
        return;
    }
    if (call->err) {
        api_call_fail(s, call, call->err, NULL, "message_ids");
        return;
    }
    buf_put_str(&body, "{}");
    api_call_answer(s, call, 200, &body);
}

/* One command for each id: they may be of any conversations, and cursors only move forward. */
static void read_all(struct api_request *r, const uint64_t *ids, uint32_t n)
{
    struct api_call *call = api_call_new(r);
    if (!call) {
        return;
    }
    call->on_command = on_read;
    for (uint32_t i = 0; i < n && !call->err; i++) {
        struct command *cmd = command_new(COMMAND_ACK);
        if (!cmd) {
            call->err = CONFAB_NOMEM;
            break;
        }
        cmd->actor = r->user;
        cmd->in.target_id = ids[i];
        cmd->ack_read = true;
        cmd->context = &call->sink;
        call->err = link_request(r->s, cmd);
        if (call->err) {
            command_free(cmd);
        } else {
            call->pending++;
        }
    }
    if (call->pending == 0) {
        on_read(r->s, call, NULL);
    }
}

static void messages_read(struct api_request *r)
{
    struct json j;
    struct span key;
    uint64_t ids[READ_IDS_MAX];
    uint32_t n = 0;
    bool seen = false;
    bool too_many = false;
    if (!api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (!span_is(key, "message_ids")) {
            json_skip(&j);
            continue;
        }
        seen = true;
        if (!json_array_begin(&j)) {
            break;
        }
        while (json_array_next(&j)) {
            uint64_t id = 0;
            json_id(&j, &id);
            too_many = too_many || n == READ_IDS_MAX;
            if (!too_many) {
                ids[n++] = id;
            }
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (!seen || too_many) {
        api_fail(r, CONFAB_INVALID, "a list of up to 256 message ids is expected", "message_ids");
        return;
    }
    read_all(r, ids, n);
}

const struct api_route api_messages[] = {
    {HTTP_POST, "/api/v1/messages", message_send, API_OWN_KEY},
    {HTTP_POST, "/api/v1/messages/read", messages_read, 0},
    {HTTP_PATCH, "/api/v1/messages/{}", message_edit, 0},
    {HTTP_DELETE, "/api/v1/messages/{}", message_delete, 0},
    {0},
};
