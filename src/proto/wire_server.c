/*
 * Frames of the server, written. What each message costs is put together from constants, with room
 * made once: the members that all events share, and the acknowledgement.
 */
#include "base/time_text.h"
#include "proto/wire.h"

/* Room for all but the texts of what is written so, generously. */
enum { CONSTANTS_ROOM = 512 };

#define PUT_CONST(p, text) (memcpy(p, text, sizeof(text) - 1), (p) + sizeof(text) - 1)

static uint8_t *put_number(uint8_t *p, uint64_t v)
{
    return p + id_text(v, (char *)p);
}

static uint8_t *put_conv(uint8_t *p, struct conv_id conv)
{
    conv_id_text(conv, (char *)p);
    return p + ID_CONV_TEXT;
}

static uint8_t *put_time(uint8_t *p, uint64_t ms)
{
    time_text_format(ms, (char *)p);
    return p + TIME_TEXT_LEN;
}

static void written_to(struct buf *b, const uint8_t *p)
{
    b->len = (size_t)(p - b->data);
}

static void begin(struct json_writer *w, struct buf *b, const char *event)
{
    json_w_init(w, b);
    json_w_object(w);
    json_w_kcstr(w, "event", event);
}

/* Behind `event`, so that a comma is due. */
static void put_at(struct json_writer *w, const struct wire_seq *at)
{
    if (!buf_reserve(w->b, CONSTANTS_ROOM)) {
        return;
    }
    uint8_t *p = w->b->data + w->b->len;
    p = PUT_CONST(p, ",\"conversation_id\":\"");
    p = put_conv(p, at->conv);
    p = PUT_CONST(p, "\",\"seq\":");
    p = put_number(p, at->seq);
    p = PUT_CONST(p, ",\"event_id\":\"");
    p = put_number(p, at->event_id);
    p = PUT_CONST(p, "\",\"sent_at\":\"");
    p = put_time(p, at->sent_at_ms);
    p = PUT_CONST(p, "\",\"from\":\"");
    p = put_number(p, at->from);
    *p++ = '"';
    written_to(w->b, p);
}

static void put_optional(struct json_writer *w, const char *key, struct span text)
{
    if (text.n > 0) {
        json_w_kstring(w, key, text);
    }
}

static void put_range(struct json_writer *w, const char *key, uint64_t from, uint64_t to)
{
    json_w_key(w, key);
    json_w_array(w);
    json_w_u64(w, from);
    json_w_u64(w, to);
    json_w_array_end(w);
}

void wire_put_hello(struct buf *b, const struct wire_hello *m)
{
    struct json_writer w;
    begin(&w, b, "hello");
    json_w_ku64(&w, "protocol", m->protocol);
    json_w_ktime(&w, "server_time", m->server_time_ms);
    json_w_kstring(&w, "session_id", m->session_id);
    json_w_kid(&w, "user_id", m->user_id);
    json_w_kid(&w, "device_id", m->device_id);
    json_w_key(&w, "limits");
    json_w_object(&w);
    json_w_ku64(&w, "text_bytes", m->text_bytes);
    json_w_ku64(&w, "frame_bytes", m->frame_bytes);
    json_w_ku64(&w, "inflight", m->inflight);
    json_w_ku64(&w, "mentions", m->mentions);
    json_w_ku64(&w, "edit_window_ms", m->edit_window_ms);
    json_w_object_end(&w);
    json_w_ku64(&w, "heartbeat_ms", m->heartbeat_ms);
    json_w_key(&w, "features");
    json_w_array(&w);
    for (const char *const *f = m->features; f && *f; f++) {
        json_w_cstr(&w, *f);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
}

void wire_put_ack(struct buf *b, const struct wire_sent *m)
{
    buf_put_str(b, "{\"event\":\"ack\",\"client_msg_id\":");
    json_put_string(b, m->client_msg_id);
    if (!buf_reserve(b, CONSTANTS_ROOM)) {
        return;
    }
    uint8_t *p = b->data + b->len;
    p = PUT_CONST(p, ",\"message_id\":\"");
    p = put_number(p, m->message_id);
    p = PUT_CONST(p, "\",\"conversation_id\":\"");
    p = put_conv(p, m->conv);
    p = PUT_CONST(p, "\",\"seq\":");
    p = put_number(p, m->seq);
    p = PUT_CONST(p, ",\"sent_at\":\"");
    p = put_time(p, m->sent_at_ms);
    p = PUT_CONST(p, "\",\"status\":\"sent\",\"duplicate\":");
    p = m->duplicate ? PUT_CONST(p, "true}") : PUT_CONST(p, "false}");
    written_to(b, p);
}

void wire_put_error(struct buf *b, const struct wire_failure *m)
{
    struct json_writer w;
    begin(&w, b, "error");
    json_w_kstring(&w, "code", m->code);
    json_w_kstring(&w, "message", m->message);
    put_optional(&w, "field", m->field);
    put_optional(&w, "ref", m->ref);
    put_optional(&w, "client_msg_id", m->client_msg_id);
    if (!conv_id_is_zero(m->conv)) {
        json_w_kconv_id(&w, "conversation_id", m->conv);
    }
    if (m->retry_after_ms) {
        json_w_ku64(&w, "retry_after_ms", m->retry_after_ms);
    }
    json_w_object_end(&w);
}

void wire_put_parse_error(struct buf *b, const struct wire_error *e)
{
    struct wire_failure m = {
        .code = span_str(err_wire(e->code)),
        .message = span_str(e->message ? e->message : err_text(e->code)),
        .field = span_str(e->field ? e->field : ""),
        .ref = e->ref,
        .client_msg_id = e->client_msg_id,
    };
    wire_put_error(b, &m);
}

static void put_mentions(struct json_writer *w, const struct wire_new_message *m)
{
    if (m->nmentions == 0) {
        return;
    }
    json_w_key(w, "mentions");
    json_w_array(w);
    for (uint32_t i = 0; i < m->nmentions; i++) {
        json_w_id(w, m->mentions[i]);
    }
    json_w_array_end(w);
}

void wire_put_new_message(struct buf *b, const struct wire_new_message *m)
{
    struct json_writer w;
    begin(&w, b, "new_message");
    put_at(&w, &m->at);
    if (!buf_reserve(b, CONSTANTS_ROOM)) {
        return;
    }
    uint8_t *p = b->data + b->len;
    p = PUT_CONST(p, ",\"message_id\":\"");
    p = put_number(p, m->at.event_id);
    p = PUT_CONST(p, "\",\"content\":");
    written_to(b, p);
    json_put_string(b, m->content);
    buf_put_str(b, ",\"type\":");
    json_put_string(b, m->type);
    put_optional(&w, "client_msg_id", m->client_msg_id);
    if (m->reply_to) {
        json_w_kid(&w, "reply_to", m->reply_to);
    }
    put_mentions(&w, m);
    json_w_object_end(&w);
}

void wire_put_short_message(struct buf *b, const struct wire_new_message *m)
{
    struct json_writer w;
    json_w_init(&w, b);
    json_w_object(&w);
    json_w_kcstr(&w, "type", "message");
    json_w_kid(&w, "from", m->at.from);
    json_w_kstring(&w, "text", m->content);
    json_w_ktime(&w, "timestamp", m->at.sent_at_ms);
    json_w_kid(&w, "message_id", m->at.event_id);
    json_w_kconv_id(&w, "conversation_id", m->at.conv);
    json_w_ku64(&w, "seq", m->at.seq);
    json_w_object_end(&w);
}

void wire_put_message_edited(struct buf *b, const struct wire_message_edited *m)
{
    struct json_writer w;
    begin(&w, b, "message_edited");
    put_at(&w, &m->at);
    json_w_kid(&w, "message_id", m->message_id);
    json_w_ku64(&w, "target_seq", m->target_seq);
    json_w_kstring(&w, "content", m->content);
    json_w_ktime(&w, "edited_at", m->edited_at_ms);
    json_w_object_end(&w);
}

void wire_put_message_deleted(struct buf *b, const struct wire_message_deleted *m)
{
    struct json_writer w;
    begin(&w, b, "message_deleted");
    put_at(&w, &m->at);
    json_w_kid(&w, "message_id", m->message_id);
    json_w_ku64(&w, "target_seq", m->target_seq);
    json_w_object_end(&w);
}

static const char *membership_text(enum wire_membership_action action)
{
    switch (action) {
    case WIRE_MEMBERS_CREATE:
        return "create";
    case WIRE_MEMBERS_ADD:
        return "add";
    case WIRE_MEMBERS_REMOVE:
        return "remove";
    case WIRE_MEMBERS_LEAVE:
        return "leave";
    case WIRE_MEMBERS_ROLE:
        return "role";
    case WIRE_MEMBERS_NONE:
        break;
    }
    return "";
}

void wire_put_membership(struct buf *b, const struct wire_membership *m)
{
    struct json_writer w;
    begin(&w, b, "membership");
    put_at(&w, &m->at);
    json_w_kcstr(&w, "action", membership_text(m->action));
    json_w_key(&w, "members");
    json_w_array(&w);
    for (uint32_t i = 0; i < m->nmembers; i++) {
        json_w_object(&w);
        json_w_kid(&w, "user_id", m->members[i].user_id);
        if (m->members[i].role) {
            json_w_kcstr(&w, "role", wire_role_text(m->members[i].role));
        }
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    if (m->name.p) {
        json_w_kstring(&w, "name", m->name);
    }
    if (m->kind) {
        json_w_kcstr(&w, "type", wire_kind_text(m->kind));
    }
    json_w_object_end(&w);
}

void wire_put_conversation(struct buf *b, const struct wire_conversation_change *m)
{
    struct json_writer w;
    begin(&w, b, "conversation");
    put_at(&w, &m->at);
    if (m->name.p) {
        json_w_kstring(&w, "name", m->name);
    }
    if (m->has_settings) {
        json_w_key(&w, "settings");
        wire_put_settings(&w, m->settings);
    }
    json_w_object_end(&w);
}

static const char *self_text(enum wire_self_action action)
{
    switch (action) {
    case WIRE_SELF_JOINED:
        return "joined";
    case WIRE_SELF_LEFT:
        return "left";
    case WIRE_SELF_MUTE:
        return "mute";
    case WIRE_SELF_PIN:
        return "pin";
    case WIRE_SELF_BLOCK:
        return "block";
    case WIRE_SELF_HIDE:
        return "hide";
    case WIRE_SELF_CLOSED:
        return "closed";
    case WIRE_SELF_DRAFT:
        return "draft";
    case WIRE_SELF_NONE:
        break;
    }
    return "";
}

void wire_put_self(struct buf *b, const struct wire_self *m)
{
    struct json_writer w;
    begin(&w, b, "self");
    put_at(&w, &m->at);
    json_w_kcstr(&w, "action", self_text(m->action));
    if (!conv_id_is_zero(m->target)) {
        json_w_kconv_id(&w, "target", m->target);
    }
    switch (m->action) {
    case WIRE_SELF_MUTE:
        json_w_key(&w, "until");
        if (m->until_ms) {
            json_w_time(&w, m->until_ms);
        } else {
            json_w_null(&w);
        }
        break;
    case WIRE_SELF_PIN:
        json_w_kbool(&w, "pinned", m->on);
        break;
    case WIRE_SELF_BLOCK:
        json_w_kid(&w, "user_id", m->user_id);
        json_w_kbool(&w, "blocked", m->on);
        break;
    case WIRE_SELF_DRAFT:
        json_w_kstring(&w, "content", m->content);
        break;
    case WIRE_SELF_HIDE:
        put_range(&w, "hidden", m->hidden_from, m->hidden_to);
        break;
    default:
        break;
    }
    json_w_object_end(&w);
}

void wire_put_receipt(struct buf *b, const struct wire_receipt *m)
{
    struct json_writer w;
    begin(&w, b, "delivery_receipt");
    json_w_kconv_id(&w, "conversation_id", m->conv);
    json_w_ku64(&w, "from_seq", m->from_seq);
    json_w_ku64(&w, "seq", m->seq);
    if (m->message_id) {
        json_w_kid(&w, "message_id", m->message_id);
    }
    json_w_kid(&w, "user_id", m->user_id);
    json_w_kcstr(&w, "status", wire_status_text(m->status));
    json_w_ktime(&w, "at", m->at_ms);
    json_w_object_end(&w);
}

void wire_put_typing(struct buf *b, const struct wire_typist *m)
{
    struct json_writer w;
    begin(&w, b, "typing");
    json_w_kconv_id(&w, "conversation_id", m->conv);
    json_w_kid(&w, "user_id", m->user_id);
    json_w_kbool(&w, "active", m->active);
    if (m->expires_in_ms != 0) {
        json_w_ku64(&w, "expires_in_ms", m->expires_in_ms);
    }
    json_w_object_end(&w);
}

void wire_put_presence_update(struct buf *b, const struct wire_presence_update *m)
{
    struct json_writer w;
    begin(&w, b, "presence_update");
    json_w_kid(&w, "user_id", m->user_id);
    json_w_kstring(&w, "status", m->status);
    json_w_key(&w, "last_seen");
    if (m->last_seen_ms) {
        json_w_time(&w, m->last_seen_ms);
    } else {
        json_w_null(&w);
    }
    json_w_object_end(&w);
}

void wire_put_short_presence(struct buf *b, const struct wire_presence_update *m)
{
    struct json_writer w;
    json_w_init(&w, b);
    json_w_object(&w);
    json_w_kcstr(&w, "type", "presence");
    json_w_kid(&w, "userId", m->user_id);
    json_w_kstring(&w, "status", m->status);
    json_w_object_end(&w);
}

void wire_put_caught_up(struct buf *b, struct span since, uint64_t server_time_ms, bool reset)
{
    struct json_writer w;
    begin(&w, b, "caught_up");
    json_w_kstring(&w, "since", since);
    json_w_ktime(&w, "server_time", server_time_ms);
    if (reset) {
        json_w_kbool(&w, "reset", true);
    }
    json_w_object_end(&w);
}

void wire_put_resync(struct buf *b)
{
    buf_put_str(b, "{\"event\":\"resync\"}");
}

void wire_put_reconnect(struct buf *b, uint32_t delay_ms)
{
    struct json_writer w;
    begin(&w, b, "reconnect");
    json_w_ku64(&w, "delay_ms", delay_ms);
    json_w_object_end(&w);
}

void wire_put_closed(struct buf *b, uint16_t close_code, struct span reason)
{
    struct json_writer w;
    begin(&w, b, "closed");
    json_w_ku64(&w, "close_code", close_code);
    json_w_kstring(&w, "reason", reason);
    json_w_object_end(&w);
}

void wire_put_token_expiring(struct buf *b, uint64_t expires_ms)
{
    struct json_writer w;
    begin(&w, b, "token_expiring");
    json_w_ktime(&w, "expires_at", expires_ms);
    json_w_object_end(&w);
}

void wire_put_authenticated(struct buf *b, uint64_t expires_ms)
{
    struct json_writer w;
    begin(&w, b, "authenticated");
    json_w_ktime(&w, "expires_at", expires_ms);
    json_w_object_end(&w);
}

/* ---- Pages ---- */

void wire_page_begin(struct json_writer *w, struct buf *b)
{
    begin(w, b, "conversations");
    json_w_key(w, "conversations");
    json_w_array(w);
}

static void put_preview(struct json_writer *w, const struct wire_preview *p)
{
    json_w_key(w, "preview");
    json_w_object(w);
    json_w_kid(w, "message_id", p->message_id);
    json_w_kid(w, "from", p->from);
    json_w_kstring(w, "content", p->content);
    json_w_kstring(w, "type", p->type);
    json_w_ktime(w, "sent_at", p->sent_at_ms);
    json_w_object_end(w);
}

static void put_conv_fields(struct json_writer *w, const struct wire_conv *c)
{
    if (c->name.p) {
        json_w_kstring(w, "name", c->name);
    }
    if (c->with) {
        json_w_kid(w, "with", c->with);
    }
    if (c->role) {
        json_w_kcstr(w, "role", wire_role_text(c->role));
    }
    json_w_ku64(w, "members", c->members);
    json_w_ku64(w, "head", c->head);
    if (c->head_id) {
        json_w_kid(w, "head_id", c->head_id);
    }
    if (c->last_message_ms) {
        json_w_ktime(w, "last_message_at", c->last_message_ms);
    }
    if (c->preview.message_id) {
        put_preview(w, &c->preview);
    }
    if (c->messages) {
        json_w_ku64(w, "messages", c->messages);
    }
    json_w_ku64(w, "unread", c->unread);
    json_w_ku64(w, "mentions", c->mentions);
    json_w_kbool(w, "muted", c->muted);
    json_w_kbool(w, "pinned", c->pinned);
    if (c->draft.p) {
        json_w_kstring(w, "draft", c->draft);
    }
    json_w_key(w, "cursors");
    json_w_object(w);
    json_w_ku64(w, "delivered", c->delivered);
    json_w_ku64(w, "read", c->read);
    json_w_object_end(w);
    put_range(w, "covered", c->covered_from, c->covered_to);
    json_w_kbool(w, "limited", c->limited);
    json_w_kbool(w, "reset", c->reset);
}

void wire_put_counter(struct buf *b, const struct wire_counter *m)
{
    struct json_writer w;
    begin(&w, b, "counter");
    json_w_kconv_id(&w, "conversation_id", m->conv);
    json_w_ku64(&w, "seq", m->seq);
    json_w_kid(&w, "event_id", m->event_id);
    json_w_ktime(&w, "sent_at", m->sent_at_ms);
    json_w_ku64(&w, "messages", m->messages);
    json_w_ku64(&w, "members", m->members);
    if (m->last_message_id) {
        json_w_kid(&w, "last_message_id", m->last_message_id);
    }
    if (m->preview.message_id) {
        put_preview(&w, &m->preview);
    }
    json_w_object_end(&w);
}

void wire_page_conv(struct json_writer *w, const struct wire_conv *c)
{
    json_w_object(w);
    json_w_kconv_id(w, "conversation_id", c->conv);
    json_w_kcstr(w, "type", wire_kind_text(c->kind));
    if (c->left) {
        json_w_kbool(w, "left", true);
        if (c->reset) {
            json_w_kbool(w, "reset", true);
        }
    } else {
        put_conv_fields(w, c);
    }
    json_w_key(w, "events");
    json_w_array(w);
}

void wire_page_event(struct json_writer *w)
{
    json_w_slot(w);
}

void wire_page_conv_end(struct json_writer *w)
{
    json_w_array_end(w);
    json_w_object_end(w);
}

void wire_page_end(struct json_writer *w)
{
    json_w_array_end(w);
    json_w_object_end(w);
}
