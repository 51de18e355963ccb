/* Frames of the client: parsing (for the server) and writing (for the client library). */
#include "proto/wire.h"

#include "proto/wire_internal.h"

enum slot {
    S_EVENT,
    S_TYPE,
    S_MESSAGE_TYPE,
    S_TO,
    S_CONV,
    S_GROUP,
    S_CONTENT,
    S_CMID,
    S_REPLY_TO,
    S_MENTIONS,
    S_FRESH,
    S_MESSAGE_ID,
    S_SEQ,
    S_STATUS,
    S_SINCE,
    S_HAVE,
    S_BATCH,
    S_TOKEN,
    S_CONVS,
    S_ACTIVE,
    S_USER_IDS,
    S_COUNT
};

/* Looked through in this order: what most frames have comes first. */
static const struct wire_key keys[] = {
    WIRE_KEY("event", S_EVENT),
    WIRE_KEY("conversation_id", S_CONV),
    WIRE_KEY("content", S_CONTENT),
    WIRE_KEY("client_msg_id", S_CMID),
    WIRE_KEY("fresh", S_FRESH),
    WIRE_KEY("seq", S_SEQ),
    WIRE_KEY("status", S_STATUS),
    WIRE_KEY("type", S_TYPE),
    WIRE_KEY("message_type", S_MESSAGE_TYPE),
    WIRE_KEY("messageType", S_MESSAGE_TYPE),
    WIRE_KEY("to", S_TO),
    WIRE_KEY("toUserId", S_TO),
    WIRE_KEY("group_id", S_GROUP),
    WIRE_KEY("groupId", S_GROUP),
    WIRE_KEY("text", S_CONTENT),
    WIRE_KEY("message", S_CONTENT),
    WIRE_KEY("reply_to", S_REPLY_TO),
    WIRE_KEY("mentions", S_MENTIONS),
    WIRE_KEY("message_id", S_MESSAGE_ID),
    WIRE_KEY("since", S_SINCE),
    WIRE_KEY("have", S_HAVE),
    WIRE_KEY("batch", S_BATCH),
    WIRE_KEY("token", S_TOKEN),
    WIRE_KEY("conversation_ids", S_CONVS),
    WIRE_KEY("active", S_ACTIVE),
    WIRE_KEY("user_ids", S_USER_IDS),
};

#define LOW_BITS 0x7f7f7f7f7f7f7f7fU

/* Printable ASCII, 1 to max bytes. */
static bool printable(struct span s, size_t max)
{
    if (s.n == 0 || s.n > max) {
        return false;
    }
    unsigned bad = 0;
    size_t i = 0;
    for (; s.n - i >= 8; i += 8) {
        uint64_t v;
        memcpy(&v, s.p + i, sizeof(v));
        /* Bit 7 of a byte: it is above 0x7f, it is 0x7f, it is not below 0x20. */
        uint64_t good = (v & LOW_BITS) + 0x6060606060606060U;
        bad |= ((v | (v + 0x0101010101010101U) | ~good) & ~LOW_BITS) != 0;
    }
    for (; i < s.n; i++) {
        bad |= (unsigned)(s.p[i] - 0x20U > 0x5eU);
    }
    return bad == 0;
}

static bool type_valid(struct span s)
{
    for (size_t i = 0; i < s.n; i++) {
        uint8_t c = s.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-' ||
              c == '.')) {
            return false;
        }
    }
    return s.n > 0 && s.n <= WIRE_TYPE_MAX;
}

static bool get_cmid(struct wire_fields *f, struct span *ret)
{
    struct span s = {NULL, 0};
    if (!wire_get_string(f, S_CMID, &s)) {
        return false;
    }
    if (s.p && !printable(s, WIRE_CMID_MAX)) {
        return wire_refuse(f, S_CMID, CONFAB_INVALID,
                           "has to be 1 to 64 printable ASCII characters");
    }
    *ret = s;
    return true;
}

/* Exactly one of to, conversation_id and group_id. */
static bool get_target(struct wire_fields *f, bool *io_group, struct span *ret_to,
                       struct conv_id *ret_conv)
{
    *ret_to = (struct span){NULL, 0};
    *ret_conv = (struct conv_id){0, 0};
    bool to = wire_has(f, S_TO);
    bool conv = wire_has(f, S_CONV);
    bool group = wire_has(f, S_GROUP);
    if (*io_group && !conv && !group) {
        return wire_refuse(f, to ? S_TO : S_GROUP, CONFAB_INVALID,
                           to ? "is not for send_group_message" : "is missing");
    }
    if (!to && !conv && !group) {
        return wire_refuse(f, S_TO, CONFAB_INVALID, "is missing");
    }
    if (to + conv + group > 1) {
        /* The same conversation under both names is fine. */
        if (to || !span_eq(f->vals[S_CONV].s, f->vals[S_GROUP].s)) {
            return wire_refuse(f, to ? S_TO : S_GROUP, CONFAB_INVALID,
                               "is given beside another target");
        }
    }
    *io_group |= group;
    if (to) {
        if (!wire_get_string(f, S_TO, ret_to)) {
            return false;
        }
        return ret_to->n > 0 && ret_to->n <= WIRE_TO_MAX
                   ? true
                   : wire_refuse(f, S_TO, CONFAB_INVALID, "has to be a user's id or name");
    }
    return wire_get_conv(f, group ? S_GROUP : S_CONV, ret_conv);
}

static bool get_content(struct wire_fields *f, struct span *ret)
{
    if (!wire_need_string(f, S_CONTENT, ret)) {
        return false;
    }
    if (ret->n == 0) {
        return wire_refuse(f, S_CONTENT, CONFAB_INVALID, "is empty");
    }
    if (ret->n > WIRE_TEXT_MAX) {
        return wire_refuse(f, S_CONTENT, CONFAB_TOO_LARGE, "is longer than 16,384 bytes");
    }
    if (memchr(ret->p, 0, ret->n)) {
        return wire_refuse(f, S_CONTENT, CONFAB_INVALID, "holds U+0000");
    }
    return true;
}

static bool get_mentions(struct wire_fields *f, struct wire_send *m)
{
    struct span list = {NULL, 0};
    m->nmentions = 0;
    if (!wire_get_list(f, S_MENTIONS, &list)) {
        return false;
    }
    struct json it;
    struct span text;
    wire_list_begin(&it, list, NULL);
    while (json_array_next(&it)) {
        if (m->nmentions == WIRE_MENTIONS_MAX) {
            return wire_refuse(f, S_MENTIONS, CONFAB_TOO_LARGE, "has more than 100 entries");
        }
        if (!json_string(&it, &text) || !id_parse(text, &m->mentions[m->nmentions])) {
            return wire_refuse(f, S_MENTIONS, CONFAB_INVALID, "has to be a list of user ids");
        }
        m->nmentions++;
    }
    return true;
}

static bool parse_send(struct wire_fields *f, bool group, struct wire_client_msg *ret)
{
    struct wire_send *m = &ret->u.send;
    ret->event = WIRE_C_SEND;
    m->group = group;
    m->reply_to = 0;
    m->fresh = false;
    m->type = (struct span){NULL, 0};
    uint8_t slot = ret->short_form || !wire_has(f, S_TYPE) ? S_MESSAGE_TYPE : S_TYPE;
    if (!ret->short_form && wire_has(f, S_TYPE) && wire_has(f, S_MESSAGE_TYPE) &&
        !span_eq(f->vals[S_TYPE].s, f->vals[S_MESSAGE_TYPE].s)) {
        return wire_refuse(f, S_TYPE, CONFAB_INVALID, "given twice with different values");
    }
    if (!get_target(f, &m->group, &m->to, &m->conv) || !get_content(f, &m->content) ||
        !wire_get_string(f, slot, &m->type) || !wire_get_id(f, S_REPLY_TO, &m->reply_to) ||
        !get_mentions(f, m) || !wire_get_bool(f, S_FRESH, &m->fresh)) {
        return false;
    }
    if (!m->type.p) {
        m->type = span_str("text");
    } else if (!type_valid(m->type)) {
        return wire_refuse(f, S_TYPE, CONFAB_INVALID, "is not a message type");
    }
    if (!ret->short_form && !wire_need(f, S_CMID)) {
        return false;
    }
    return get_cmid(f, &m->client_msg_id);
}

static bool parse_ack(struct wire_fields *f, struct wire_client_msg *ret)
{
    struct wire_ack *m = &ret->u.ack;
    struct span status;
    ret->event = WIRE_C_ACK;
    *m = (struct wire_ack){0};
    if (wire_has(f, S_CONV) || wire_has(f, S_SEQ)) {
        if (!wire_need_conv(f, S_CONV, &m->conv) || !wire_need_seq(f, S_SEQ, &m->seq)) {
            return false;
        }
    } else if (!wire_need_id(f, S_MESSAGE_ID, &m->message_id)) {
        return false;
    }
    if (!wire_need_string(f, S_STATUS, &status)) {
        return false;
    }
    m->status = wire_status_parse(status);
    return m->status != WIRE_STATUS_NONE ||
           wire_refuse(f, S_STATUS, CONFAB_INVALID, "has to be delivered or read");
}

bool wire_have_next(struct json *it, struct wire_have *ret)
{
    struct span key;
    struct wire_have h = {{0, 0}, 0, 0};
    if (!json_array_next(it)) {
        return false;
    }
    json_object_begin(it);
    while (json_object_next(it, &key)) {
        if (span_is(key, "conversation_id")) {
            json_conv_id(it, &h.conv);
        } else if (span_is(key, "seq")) {
            json_u64(it, &h.seq);
        } else if (span_is(key, "event_id")) {
            json_id(it, &h.event_id);
        } else {
            json_skip(it);
        }
    }
    if (conv_id_is_zero(h.conv) || h.seq == 0 || h.seq > INT64_MAX || h.event_id == 0) {
        json_fail(it, "an entry lacks conversation_id, seq or event_id");
    }
    if (!json_ok(it)) {
        return false;
    }
    *ret = h;
    return true;
}

static bool parse_resume(struct wire_fields *f, struct wire_client_msg *ret)
{
    struct wire_resume *m = &ret->u.resume;
    ret->event = WIRE_C_RESUME;
    *m = (struct wire_resume){.nhave = 0};
    if (!wire_get_string(f, S_SINCE, &m->since) || !wire_get_list(f, S_HAVE, &m->have) ||
        !wire_get_bool(f, S_BATCH, &m->batch)) {
        return false;
    }
    if (m->since.p && !printable(m->since, WIRE_SINCE_MAX)) {
        return wire_refuse(f, S_SINCE, CONFAB_INVALID, "is not a token of caught_up");
    }
    struct json it;
    struct wire_have h;
    wire_list_begin(&it, m->have, NULL);
    while (wire_have_next(&it, &h)) {
        m->nhave++; /* bounded by the size of a frame */
    }
    if (!json_ok(&it)) {
        return wire_refuse(f, S_HAVE, CONFAB_INVALID,
                           "has to be a list of conversation_id, seq and event_id");
    }
    return true;
}

static bool view_has(const struct wire_view *m, struct conv_id conv)
{
    for (uint32_t i = 0; i < m->n; i++) {
        if (conv_id_eq(m->convs[i], conv)) {
            return true;
        }
    }
    return false;
}

static bool parse_view(struct wire_fields *f, struct wire_client_msg *ret)
{
    struct wire_view *m = &ret->u.view;
    struct span list = {NULL, 0};
    ret->event = WIRE_C_VIEW;
    m->n = 0;
    if (!wire_need(f, S_CONVS) || !wire_get_list(f, S_CONVS, &list)) {
        return false;
    }
    struct json it;
    struct conv_id conv;
    uint32_t n = 0;
    wire_list_begin(&it, list, NULL);
    while (json_array_next(&it)) {
        if (++n > WIRE_VIEW_MAX) {
            return wire_refuse(f, S_CONVS, CONFAB_TOO_LARGE, "has more than 20 entries");
        }
        if (!json_conv_id(&it, &conv)) {
            return wire_refuse(f, S_CONVS, CONFAB_INVALID, "has to be a list of conversation ids");
        }
        if (!view_has(m, conv)) {
            m->convs[m->n++] = conv;
        }
    }
    return json_ok(&it) ||
           wire_refuse(f, S_CONVS, CONFAB_INVALID, "has to be a list of conversation ids");
}

static bool parse_typing(struct wire_fields *f, struct wire_client_msg *ret)
{
    struct wire_typing *m = &ret->u.typing;
    bool group = false;
    ret->event = WIRE_C_TYPING;
    m->active = true;
    return get_target(f, &group, &m->to, &m->conv) && wire_get_bool(f, S_ACTIVE, &m->active);
}

static bool parse_presence(struct wire_fields *f, struct wire_client_msg *ret)
{
    ret->event = WIRE_C_PRESENCE;
    if (!wire_need_string(f, S_STATUS, &ret->u.status)) {
        return false;
    }
    return span_is(ret->u.status, "online") || span_is(ret->u.status, "away") ||
           span_is(ret->u.status, "offline") ||
           wire_refuse(f, S_STATUS, CONFAB_INVALID, "has to be online, away or offline");
}

static bool get_people(struct wire_fields *f, struct wire_people *m)
{
    struct span list = {NULL, 0};
    m->n = 0;
    m->all = !wire_has(f, S_USER_IDS);
    if (!wire_get_list(f, S_USER_IDS, &list)) {
        return false;
    }
    struct json it;
    struct span text;
    wire_list_begin(&it, list, NULL);
    while (json_array_next(&it)) {
        if (m->n == WIRE_PEOPLE_MAX) {
            return wire_refuse(f, S_USER_IDS, CONFAB_TOO_LARGE, "has more than 200 entries");
        }
        if (!json_string(&it, &text) || !id_parse(text, &m->users[m->n])) {
            return wire_refuse(f, S_USER_IDS, CONFAB_INVALID, "has to be a list of user ids");
        }
        m->n++;
    }
    return true;
}

static bool parse_subscribe(struct wire_fields *f, struct wire_client_msg *ret)
{
    ret->event = WIRE_C_SUBSCRIBE_PRESENCE;
    return wire_need(f, S_USER_IDS) && get_people(f, &ret->u.people);
}

static bool parse_unsubscribe(struct wire_fields *f, struct wire_client_msg *ret)
{
    ret->event = WIRE_C_UNSUBSCRIBE_PRESENCE;
    return get_people(f, &ret->u.people);
}

static bool parse_auth(struct wire_fields *f, struct wire_client_msg *ret)
{
    ret->event = WIRE_C_AUTH;
    if (!wire_need_string(f, S_TOKEN, &ret->u.token)) {
        return false;
    }
    return printable(ret->u.token, WIRE_TOKEN_MAX) ||
           wire_refuse(f, S_TOKEN, CONFAB_INVALID, "is not a token");
}

static bool parse_heartbeat(struct wire_fields *f, struct wire_client_msg *ret)
{
    (void)f;
    ret->event = WIRE_C_HEARTBEAT;
    return true;
}

static bool parse_send_one(struct wire_fields *f, struct wire_client_msg *ret)
{
    return parse_send(f, false, ret);
}

static bool parse_send_group(struct wire_fields *f, struct wire_client_msg *ret)
{
    return parse_send(f, true, ret);
}

static const struct {
    const char *name;
    bool short_form;
    bool (*parse)(struct wire_fields *f, struct wire_client_msg *ret);
} events[] = {
    {"send_message", false, parse_send_one},
    {"send_group_message", false, parse_send_group},
    {"ack", false, parse_ack},
    {"heartbeat", false, parse_heartbeat},
    {"resume", false, parse_resume},
    {"auth", false, parse_auth},
    {"view", false, parse_view},
    {"typing", false, parse_typing},
    {"presence", false, parse_presence},
    {"subscribe_presence", false, parse_subscribe},
    {"unsubscribe_presence", false, parse_unsubscribe},
    {"message", true, parse_send_one},
    {"ack", true, parse_ack},
    {"heartbeat", true, parse_heartbeat},
    {"typing", true, parse_typing},
    {"presence", true, parse_presence},
};

const char *wire_client_event_at(size_t i, bool *ret_short_form)
{
    if (i >= ARRAY_LEN(events)) {
        return NULL;
    }
    *ret_short_form = events[i].short_form;
    return events[i].name;
}

static bool parse_event(struct wire_fields *f, struct wire_client_msg *ret)
{
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (events[i].short_form == ret->short_form && span_is(ret->name, events[i].name)) {
            return events[i].parse(f, ret);
        }
    }
    return wire_refuse(f, ret->short_form ? S_TYPE : S_EVENT, CONFAB_UNSUPPORTED, "unknown event");
}

enum confab_err wire_parse_client(struct span frame, struct scratch *scratch,
                                  struct wire_client_msg *ret, struct wire_error *err)
{
    struct wire_val vals[S_COUNT];
    struct wire_fields f = {keys, ARRAY_LEN(keys), vals, err};
    wire_error_init(err);
    if (frame.n > WIRE_FRAME_MAX) {
        err->code = CONFAB_TOO_LARGE;
        err->message = "the frame is larger than 65,536 bytes";
        return err->code;
    }
    bool whole = wire_collect(&f, S_COUNT, frame, scratch);
    if (err->malformed) {
        return err->code;
    }
    ret->event = WIRE_C_NONE;
    ret->short_form = !wire_has(&f, S_EVENT);
    uint8_t slot = ret->short_form ? S_TYPE : S_EVENT;
    const struct wire_val *name = &vals[slot];
    if (name->type != JSON_STRING || name->s.n == 0) {
        *err = (struct wire_error){
            .code = CONFAB_INVALID, .malformed = true, .field = "event", .message = "is missing"};
        return err->code;
    }
    ret->name = name->s;
    if (whole) {
        parse_event(&f, ret);
    }
    if (err->code) {
        err->ref = ret->name;
        const struct wire_val *cmid = &vals[S_CMID];
        if (cmid->type == JSON_STRING && printable(cmid->s, WIRE_CMID_MAX)) {
            err->client_msg_id = cmid->s;
        }
    }
    return err->code;
}

/* ---- Writing ---- */

static void begin(struct json_writer *w, struct buf *b, const char *event)
{
    json_w_init(w, b);
    json_w_object(w);
    json_w_kcstr(w, "event", event);
}

void wire_put_auth(struct buf *b, struct span token)
{
    struct json_writer w;
    begin(&w, b, "auth");
    json_w_kstring(&w, "token", token);
    json_w_object_end(&w);
}

void wire_put_send(struct buf *b, const struct wire_send *m)
{
    struct json_writer w;
    begin(&w, b, m->group ? "send_group_message" : "send_message");
    if (m->to.n > 0) {
        json_w_kstring(&w, "to", m->to);
    } else {
        json_w_kconv_id(&w, m->group ? "group_id" : "conversation_id", m->conv);
    }
    json_w_kstring(&w, "content", m->content);
    if (m->type.n > 0) {
        json_w_kstring(&w, "type", m->type);
    }
    if (m->client_msg_id.n > 0) {
        json_w_kstring(&w, "client_msg_id", m->client_msg_id);
    }
    if (m->reply_to) {
        json_w_kid(&w, "reply_to", m->reply_to);
    }
    if (m->nmentions > 0) {
        json_w_key(&w, "mentions");
        json_w_array(&w);
        for (uint32_t i = 0; i < m->nmentions; i++) {
            json_w_id(&w, m->mentions[i]);
        }
        json_w_array_end(&w);
    }
    if (m->fresh) {
        json_w_kbool(&w, "fresh", true);
    }
    json_w_object_end(&w);
}

void wire_put_client_ack(struct buf *b, const struct wire_ack *m)
{
    struct json_writer w;
    begin(&w, b, "ack");
    if (m->message_id) {
        json_w_kid(&w, "message_id", m->message_id);
    } else {
        json_w_kconv_id(&w, "conversation_id", m->conv);
        json_w_ku64(&w, "seq", m->seq);
    }
    json_w_kcstr(&w, "status", wire_status_text(m->status));
    json_w_object_end(&w);
}

void wire_put_heartbeat(struct buf *b)
{
    buf_put_str(b, "{\"event\":\"heartbeat\"}");
}

void wire_put_resume(struct buf *b, struct span since, const struct wire_have *have, uint32_t nhave,
                     bool batch)
{
    struct json_writer w;
    begin(&w, b, "resume");
    if (since.n > 0) {
        json_w_kstring(&w, "since", since);
    }
    if (nhave > 0) {
        json_w_key(&w, "have");
        json_w_array(&w);
        for (uint32_t i = 0; i < nhave; i++) {
            json_w_object(&w);
            json_w_kconv_id(&w, "conversation_id", have[i].conv);
            json_w_ku64(&w, "seq", have[i].seq);
            json_w_kid(&w, "event_id", have[i].event_id);
            json_w_object_end(&w);
        }
        json_w_array_end(&w);
    }
    if (batch) {
        json_w_kbool(&w, "batch", true);
    }
    json_w_object_end(&w);
}

void wire_put_view(struct buf *b, const struct conv_id *convs, uint32_t n)
{
    struct json_writer w;
    begin(&w, b, "view");
    json_w_key(&w, "conversation_ids");
    json_w_array(&w);
    for (uint32_t i = 0; i < n; i++) {
        json_w_conv_id(&w, convs[i]);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
}

void wire_put_client_typing(struct buf *b, const struct wire_typing *m)
{
    struct json_writer w;
    begin(&w, b, "typing");
    if (m->to.n > 0) {
        json_w_kstring(&w, "to", m->to);
    } else {
        json_w_kconv_id(&w, "conversation_id", m->conv);
    }
    if (!m->active) {
        json_w_kbool(&w, "active", false);
    }
    json_w_object_end(&w);
}

void wire_put_presence(struct buf *b, struct span status)
{
    struct json_writer w;
    begin(&w, b, "presence");
    json_w_kstring(&w, "status", status);
    json_w_object_end(&w);
}

static void put_people(struct buf *b, const char *event, const struct wire_people *m)
{
    struct json_writer w;
    begin(&w, b, event);
    if (!m->all) {
        json_w_key(&w, "user_ids");
        json_w_array(&w);
        for (uint32_t i = 0; i < m->n; i++) {
            json_w_id(&w, m->users[i]);
        }
        json_w_array_end(&w);
    }
    json_w_object_end(&w);
}

void wire_put_subscribe_presence(struct buf *b, const struct wire_people *m)
{
    put_people(b, "subscribe_presence", m);
}

void wire_put_unsubscribe_presence(struct buf *b, const struct wire_people *m)
{
    put_people(b, "unsubscribe_presence", m);
}
