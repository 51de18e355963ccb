/* Events to frames and objects. */
#include "gateway/render.h"

#include "base/time_text.h"
#include "core/conv.h"
#include "gateway/api_directory.h"

const char *render_type_text(uint64_t type)
{
    (void)type; /* enum message_type has one value so far */
    return "text";
}

static struct wire_seq at_of(const struct render_about *about, const struct event *ev)
{
    return (struct wire_seq){
        .conv = about->conv,
        .seq = ev->seq,
        .event_id = ev->id,
        .sent_at_ms = event_time_ms(ev),
        .from = ev->actor,
    };
}

static uint32_t mentions_of(struct render *r, const struct event *ev)
{
    struct reader rd = reader_of(ev->mentions.p, ev->mentions.n);
    uint32_t n = 0;
    uint64_t user;
    while (n < EVENT_MENTIONS_MAX && event_mentions_next(&rd, &user)) {
        r->mentions[n++] = user;
    }
    return n;
}

static void render_new_message(struct render *r, struct buf *b, const struct render_about *about,
                               const struct event *ev)
{
    struct wire_new_message m = {
        .at = at_of(about, ev),
        .content = ev->text,
        .type = span_str(render_type_text(ev->type)),
        .reply_to = ev->target_id,
        .mentions = r->mentions,
        .nmentions = mentions_of(r, ev),
    };
    if (about->reader != 0 && about->reader == ev->actor) {
        m.client_msg_id = ev->cmid;
    }
    wire_put_new_message(b, &m);
}

void render_short(struct buf *b, const struct render_about *about, const struct event *ev)
{
    struct wire_new_message m = {
        .at = at_of(about, ev),
        .content = ev->text,
        .type = span_str(render_type_text(ev->type)),
    };
    wire_put_short_message(b, &m);
}

static uint32_t members_of(struct render *r, struct span list)
{
    struct reader rd = reader_of(list.p, list.n);
    uint32_t n = 0;
    uint64_t user;
    uint8_t role;
    while (n < ARRAY_LEN(r->members) && event_members_next(&rd, &user, &role)) {
        r->members[n++] = (struct wire_member){.user_id = user, .role = (enum wire_role)role};
    }
    return n;
}

static void render_membership(struct render *r, struct buf *b, const struct render_about *about,
                              const struct event *ev)
{
    struct wire_membership m = {.at = at_of(about, ev), .members = r->members, .nmembers = 1};
    switch (ev->kind) {
    case EVENT_CREATE:
    case EVENT_ADD:
        m.action = ev->kind == EVENT_CREATE ? WIRE_MEMBERS_CREATE : WIRE_MEMBERS_ADD;
        m.nmembers = members_of(r, ev->members);
        m.kind = (enum wire_kind)about->conv_kind;
        if (about->conv_kind == CONV_GROUP) {
            m.name = about->name;
        }
        break;
    case EVENT_REMOVE:
        m.action = WIRE_MEMBERS_REMOVE;
        r->members[0] = (struct wire_member){.user_id = ev->user};
        break;
    case EVENT_LEAVE:
        m.action = WIRE_MEMBERS_LEAVE;
        r->members[0] = (struct wire_member){.user_id = ev->actor};
        break;
    default:
        m.action = WIRE_MEMBERS_ROLE;
        r->members[0] =
            (struct wire_member){.user_id = ev->user, .role = (enum wire_role)ev->value};
        break;
    }
    wire_put_membership(b, &m);
}

static void render_self(struct buf *b, const struct render_about *about, const struct event *ev)
{
    struct wire_self m = {.at = at_of(about, ev), .target = ev->conv};
    switch (ev->kind) {
    case EVENT_JOINED:
        m.action = WIRE_SELF_JOINED;
        break;
    case EVENT_LEFT:
        m.action = WIRE_SELF_LEFT;
        break;
    case EVENT_MUTE:
        m.action = WIRE_SELF_MUTE;
        m.until_ms = ev->value;
        break;
    case EVENT_PIN:
        m.action = WIRE_SELF_PIN;
        m.on = ev->value != 0;
        break;
    case EVENT_BLOCK:
        m.action = WIRE_SELF_BLOCK;
        m.user_id = ev->user;
        m.on = ev->value != 0;
        break;
    case EVENT_DRAFT:
        m.action = WIRE_SELF_DRAFT;
        m.content = ev->text;
        break;
    case EVENT_CLOSE:
        m.action = WIRE_SELF_CLOSED;
        break;
    default:
        m.action = WIRE_SELF_HIDE;
        m.hidden_from = ev->range_from;
        m.hidden_to = ev->range_to;
        break;
    }
    wire_put_self(b, &m);
}

void render_event(struct render *r, struct buf *b, const struct render_about *about,
                  const struct event *ev)
{
    struct wire_message_edited edited;
    struct wire_message_deleted deleted;
    struct wire_conversation_change change = {0};
    switch (ev->kind) {
    case EVENT_MESSAGE:
        render_new_message(r, b, about, ev);
        break;
    case EVENT_EDIT:
        edited = (struct wire_message_edited){
            .at = at_of(about, ev),
            .message_id = ev->target_id,
            .target_seq = ev->target_seq,
            .content = ev->text,
            .edited_at_ms = event_time_ms(ev),
        };
        wire_put_message_edited(b, &edited);
        break;
    case EVENT_DELETE:
        deleted = (struct wire_message_deleted){
            .at = at_of(about, ev),
            .message_id = ev->target_id,
            .target_seq = ev->target_seq,
        };
        wire_put_message_deleted(b, &deleted);
        break;
    case EVENT_RENAME:
    case EVENT_SETTINGS:
        change.at = at_of(about, ev);
        if (ev->kind == EVENT_RENAME) {
            change.name = ev->text.p ? ev->text : span_str("");
        } else {
            change.has_settings = true;
            change.settings = (uint32_t)ev->value;
        }
        wire_put_conversation(b, &change);
        break;
    case EVENT_CREATE:
    case EVENT_ADD:
    case EVENT_REMOVE:
    case EVENT_LEAVE:
    case EVENT_ROLE:
        render_membership(r, b, about, ev);
        break;
    default:
        render_self(b, about, ev);
        break;
    }
}

struct span render_draft_of(const struct buf *drafts, struct conv_id conv)
{
    struct reader r = reader_of(drafts->data, drafts->len);
    struct conv_id of;
    uint64_t seq;
    struct span text;
    while (conv_draft_next(&r, &of, &seq, &text)) {
        if (conv_id_eq(of, conv)) {
            return text;
        }
    }
    return span_of(NULL, 0);
}

static struct wire_conv conv_of(const struct snapshot *s, const struct render_own *own)
{
    struct wire_conv c = {
        .conv = s->conv,
        .kind = (enum wire_kind)s->conv_kind,
        .left = !s->active,
        .with = s->peer,
        .role = (enum wire_role)s->role,
        .members = s->members,
        .head = s->head_seq,
        .head_id = s->head_id,
        .unread = s->unread,
        .mentions = s->mentions,
        .muted = s->entry.muted_until_ms > own->now_ms,
        .pinned = s->entry.pinned,
        .draft = render_draft_of(own->drafts, s->conv),
        .delivered = s->delivered_seq,
        .read = s->read_seq,
        .covered_from = s->covered_from,
        .covered_to = s->covered_to,
        .limited = s->limited,
        .reset = s->reset,
    };
    if (s->conv_kind == CONV_GROUP) {
        c.name = s->name.len > 0 ? span_of(s->name.data, s->name.len) : span_str("");
    }
    if (s->last_message_id != 0) {
        c.last_message_ms = message_id_time_ms(s->last_message_id);
        c.preview = (struct wire_preview){
            .message_id = s->last_message_id,
            .from = s->last_message_from,
            .content = span_of(s->preview.data, s->preview.len),
            .type = span_str(render_type_text(s->last_message_type)),
            .sent_at_ms = c.last_message_ms,
        };
    }
    if (own->large_members > 0 && s->members > own->large_members) {
        c.messages = s->ord;
    }
    return c;
}

void render_snapshot(struct render *r, struct json_writer *w, struct buf *b,
                     const struct snapshot *snap, const struct render_own *own)
{
    struct wire_conv c = conv_of(snap, own);
    c.reset = c.reset || own->reset;
    struct render_about about = {
        .conv = snap->conv,
        .conv_kind = snap->conv_kind,
        .name = span_of(snap->name.data, snap->name.len),
        .reader = own->reader,
    };
    wire_page_conv(w, &c);
    struct reader rd = reader_of(snap->events.data, snap->events.len);
    struct event ev;
    while (command_record_next(&rd, &ev)) {
        wire_page_event(w);
        render_event(r, b, &about, &ev);
    }
    wire_page_conv_end(w);
}

static void put_text_or_null(struct json_writer *w, const char *key, bool there, struct span text)
{
    json_w_key(w, key);
    if (there) {
        json_w_string(w, text);
    } else {
        json_w_null(w);
    }
}

static void put_time_or_null(struct json_writer *w, const char *key, uint64_t ms)
{
    json_w_key(w, key);
    if (ms != 0) {
        json_w_time(w, ms);
    } else {
        json_w_null(w);
    }
}

static void put_last_message(struct json_writer *w, const struct snapshot *snap)
{
    bool any = snap->last_message_id != 0;
    struct span text = span_of(snap->preview.data, snap->preview.len);
    put_time_or_null(w, "last_message_at", any ? message_id_time_ms(snap->last_message_id) : 0);
    put_text_or_null(w, "last_message_preview", any, text);
    json_w_key(w, "preview");
    if (!any) {
        json_w_null(w);
        return;
    }
    json_w_object(w);
    json_w_kid(w, "message_id", snap->last_message_id);
    json_w_ku64(w, "seq", snap->last_message_seq);
    json_w_kid(w, "from", snap->last_message_from);
    json_w_kstring(w, "content", text);
    json_w_kcstr(w, "type", render_type_text(snap->last_message_type));
    json_w_ktime(w, "sent_at", message_id_time_ms(snap->last_message_id));
    json_w_kbool(w, "deleted", (snap->last_message_flags & EVENT_DELETED) != 0);
    json_w_object_end(w);
}

/* What is the reader's own in it. */
static void put_own(struct json_writer *w, const struct snapshot *snap,
                    const struct render_own *own)
{
    uint64_t now_ms = own->now_ms;
    struct span draft = render_draft_of(own->drafts, snap->conv);
    bool muted = snap->entry.muted_until_ms > now_ms;
    const char *role = wire_role_text((enum wire_role)snap->role);
    put_text_or_null(w, "role", snap->active, span_str(role));
    json_w_kbool(w, "left", !snap->active);
    json_w_ku64(w, "unread_count", snap->unread);
    json_w_ku64(w, "unread", snap->unread);
    json_w_ku64(w, "mentions", snap->mentions);
    json_w_kbool(w, "muted", muted);
    put_time_or_null(w, "muted_until", muted ? snap->entry.muted_until_ms : 0);
    json_w_kbool(w, "pinned", snap->entry.pinned);
    put_text_or_null(w, "draft", draft.n > 0, draft);
    json_w_key(w, "cursors");
    json_w_object(w);
    json_w_ku64(w, "delivered", snap->delivered_seq);
    json_w_ku64(w, "read", snap->read_seq);
    json_w_object_end(w);
}

void render_conversation(struct json_writer *w, const struct snapshot *snap,
                         const struct dir_name *with_name, const struct render_own *own)
{
    bool group = snap->conv_kind == CONV_GROUP;
    char with[ID_NUM_TEXT];
    json_w_object(w);
    json_w_kconv_id(w, "id", snap->conv);
    json_w_kconv_id(w, "conversation_id", snap->conv);
    json_w_kconv_id(w, "chatId", snap->conv);
    json_w_kcstr(w, "type", wire_kind_text((enum wire_kind)snap->conv_kind));
    put_text_or_null(w, "name", group, span_of(snap->name.data, snap->name.len));
    put_text_or_null(w, "with", snap->peer != 0,
                     span_of(with, snap->peer ? id_text(snap->peer, with) : 0));
    api_put_names(w, with_name);
    json_w_ktime(w, "created_at", snap->created_ms);
    json_w_ku64(w, "members", snap->members);
    json_w_key(w, "settings");
    if (group && snap->active) {
        wire_put_settings(w, (uint32_t)snap->settings);
    } else {
        json_w_null(w);
    }
    json_w_ku64(w, "head", snap->head_seq);
    put_last_message(w, snap);
    put_own(w, snap, own);
    json_w_object_end(w);
}

/* When all members but the sender had it, at the latest; 0: they have not. */
static uint64_t low_ms(const struct cursor_low *low, const struct event *ev)
{
    if (ev->seq > low->seq) {
        return 0;
    }
    uint64_t ms = low->latest_user == ev->actor ? low->other_ms : low->latest_ms;
    return MAX(ms, event_time_ms(ev));
}

/*
 * What every message has. Pages of a thousand are the rule when somebody comes back, so this part
 * is put together from constants, each value is made once, and then copied for its other names.
 */
enum { FIXED_BYTES = 640 };

#define PUT(p, constant)                                                                           \
    do {                                                                                           \
        memcpy(p, constant, sizeof(constant) - 1);                                                 \
        (p) += sizeof(constant) - 1;                                                               \
    } while (0)

static inline uint8_t *put_bytes(uint8_t *p, const void *from, size_t n)
{
    memcpy(p, from, n);
    return p + n;
}

static void put_ids(struct json_writer *w, const struct render_about *about, const struct event *ev)
{
    char id[ID_NUM_TEXT];
    char from[ID_NUM_TEXT];
    char conv[ID_CONV_TEXT];
    size_t nid = id_text(ev->id, id);
    size_t nfrom = id_text(ev->actor, from);
    conv_id_text(about->conv, conv);
    json_w_raw(w, span_of(NULL, 0)); /* the comma */
    if (!buf_reserve(w->b, FIXED_BYTES)) {
        return;
    }
    uint8_t *p = w->b->data + w->b->len;
    PUT(p, "{\"message_id\":\"");
    p = put_bytes(p, id, nid);
    if (!about->short_names) {
        PUT(p, "\",\"messageId\":\"");
        p = put_bytes(p, id, nid);
    }
    PUT(p, "\",\"conversation_id\":\"");
    p = put_bytes(p, conv, ID_CONV_TEXT);
    if (!about->short_names) {
        PUT(p, "\",\"chatId\":\"");
        p = put_bytes(p, conv, ID_CONV_TEXT);
    }
    PUT(p, "\",\"sender_id\":\"");
    p = put_bytes(p, from, nfrom);
    if (!about->short_names) {
        PUT(p, "\",\"from\":\"");
        p = put_bytes(p, from, nfrom);
        PUT(p, "\",\"fromUserId\":\"");
        p = put_bytes(p, from, nfrom);
    }
    PUT(p, "\",\"seq\":");
    p += id_text(ev->seq, (char *)p);
    PUT(p, ",\"content\":");
    w->b->len = (size_t)(p - w->b->data);
}

/* The text, the type and the time, under all their names. */
static void put_content(struct json_writer *w, const struct render_about *about,
                        const struct event *ev)
{
    struct buf *b = w->b;
    size_t at = b->len;
    char sent[TIME_TEXT_LEN];
    json_put_string(b, ev->text);
    size_t n = b->len - at;
    if (!buf_reserve(b, 2 * n + FIXED_BYTES)) {
        return;
    }
    time_text_format(event_time_ms(ev), sent);
    uint8_t *p = b->data + b->len;
    if (about->short_names) {
        PUT(p, ",\"type\":\"text\",\"sent_at\":\"");
    } else {
        PUT(p, ",\"message\":");
        p = put_bytes(p, b->data + at, n);
        PUT(p, ",\"text\":");
        p = put_bytes(p, b->data + at, n);
        PUT(p, ",\"type\":\"text\",\"messageType\":\"text\",\"message_type\":\"text\","
               "\"sent_at\":\"");
        p = put_bytes(p, sent, TIME_TEXT_LEN);
        PUT(p, "\",\"timestamp\":\"");
    }
    p = put_bytes(p, sent, TIME_TEXT_LEN);
    *p++ = '"';
    b->len = (size_t)(p - b->data);
}

/* How far it has come. */
static void put_status(struct json_writer *w, const struct event *ev, const struct command *of)
{
    uint64_t delivered = low_ms(&of->ret_delivered, ev);
    uint64_t read = low_ms(&of->ret_read, ev);
    if (!buf_reserve(w->b, FIXED_BYTES)) {
        return;
    }
    uint8_t *p = w->b->data + w->b->len;
    if (read) {
        PUT(p, ",\"status\":\"read\"");
    } else if (delivered) {
        PUT(p, ",\"status\":\"delivered\"");
    } else {
        PUT(p, ",\"status\":\"sent\"");
    }
    if (delivered) {
        PUT(p, ",\"delivered_at\":\"");
        time_text_format(delivered, (char *)p);
        p += TIME_TEXT_LEN;
        *p++ = '"';
    }
    if (read) {
        PUT(p, ",\"read_at\":\"");
        time_text_format(read, (char *)p);
        p += TIME_TEXT_LEN;
        *p++ = '"';
    }
    w->b->len = (size_t)(p - w->b->data);
}

/* What few have. */
static void put_rest(struct render *r, struct buf *b, const struct render_about *about,
                     const struct event *ev)
{
    struct json_writer w;
    json_w_init_inside(&w, b);
    if (ev->cmid.n > 0 && ev->actor == about->reader) {
        json_w_kstring(&w, "client_msg_id", ev->cmid);
    }
    if (ev->edited_ms != 0) {
        json_w_ktime(&w, ev->flags & EVENT_DELETED ? "deleted_at" : "edited_at", ev->edited_ms);
    }
    if (ev->target_id != 0) {
        json_w_kid(&w, "reply_to", ev->target_id);
    }
    uint32_t n = mentions_of(r, ev);
    if (n > 0) {
        json_w_key(&w, "mentions");
        json_w_array(&w);
        for (uint32_t i = 0; i < n; i++) {
            json_w_id(&w, r->mentions[i]);
        }
        json_w_array_end(&w);
    }
}

void render_message(struct render *r, struct json_writer *w, const struct render_about *about,
                    const struct event *ev, const struct command *of)
{
    put_ids(w, about, ev);
    put_content(w, about, ev);
    put_status(w, ev, of);
    put_rest(r, w->b, about, ev);
    if (ev->flags & EVENT_DELETED) {
        buf_put_str(w->b, ",\"deleted\":true}");
    } else {
        buf_put_str(w->b, ",\"deleted\":false}");
    }
}
