/* Frames of the server, parsed for the client library. */
#include "proto/wire.h"
#include "proto/wire_internal.h"

enum slot {
    S_EVENT,
    S_CONV,
    S_SEQ,
    S_EVENT_ID,
    S_SENT_AT,
    S_FROM,
    S_MESSAGE_ID,
    S_CONTENT,
    S_TYPE,
    S_CMID,
    S_REPLY_TO,
    S_MENTIONS,
    S_TARGET_SEQ,
    S_EDITED_AT,
    S_ACTION,
    S_MEMBERS,
    S_NAME,
    S_SETTINGS,
    S_TARGET,
    S_USER_ID,
    S_UNTIL,
    S_PINNED,
    S_BLOCKED,
    S_HIDDEN,
    S_FROM_SEQ,
    S_STATUS,
    S_AT,
    S_CONVERSATIONS,
    S_SINCE,
    S_SERVER_TIME,
    S_RESET,
    S_DELAY_MS,
    S_CLOSE_CODE,
    S_CODE,
    S_MESSAGE,
    S_FIELD,
    S_REF,
    S_RETRY_AFTER_MS,
    S_DUPLICATE,
    S_PROTOCOL,
    S_SESSION_ID,
    S_DEVICE_ID,
    S_LIMITS,
    S_HEARTBEAT_MS,
    S_ACTIVE,
    S_EXPIRES_IN_MS,
    S_LAST_SEEN,
    S_MESSAGES,
    S_COUNT
};

static const struct wire_key keys[] = {
    WIRE_KEY("event", S_EVENT),
    WIRE_KEY("conversation_id", S_CONV),
    WIRE_KEY("seq", S_SEQ),
    WIRE_KEY("event_id", S_EVENT_ID),
    WIRE_KEY("sent_at", S_SENT_AT),
    WIRE_KEY("from", S_FROM),
    WIRE_KEY("message_id", S_MESSAGE_ID),
    WIRE_KEY("content", S_CONTENT),
    WIRE_KEY("type", S_TYPE),
    WIRE_KEY("client_msg_id", S_CMID),
    WIRE_KEY("reply_to", S_REPLY_TO),
    WIRE_KEY("mentions", S_MENTIONS),
    WIRE_KEY("target_seq", S_TARGET_SEQ),
    WIRE_KEY("edited_at", S_EDITED_AT),
    WIRE_KEY("action", S_ACTION),
    WIRE_KEY("members", S_MEMBERS),
    WIRE_KEY("name", S_NAME),
    WIRE_KEY("settings", S_SETTINGS),
    WIRE_KEY("target", S_TARGET),
    WIRE_KEY("user_id", S_USER_ID),
    WIRE_KEY("until", S_UNTIL),
    WIRE_KEY("pinned", S_PINNED),
    WIRE_KEY("blocked", S_BLOCKED),
    WIRE_KEY("hidden", S_HIDDEN),
    WIRE_KEY("from_seq", S_FROM_SEQ),
    WIRE_KEY("status", S_STATUS),
    WIRE_KEY("at", S_AT),
    WIRE_KEY("conversations", S_CONVERSATIONS),
    WIRE_KEY("since", S_SINCE),
    WIRE_KEY("server_time", S_SERVER_TIME),
    WIRE_KEY("reset", S_RESET),
    WIRE_KEY("delay_ms", S_DELAY_MS),
    WIRE_KEY("close_code", S_CLOSE_CODE),
    WIRE_KEY("code", S_CODE),
    WIRE_KEY("message", S_MESSAGE),
    WIRE_KEY("field", S_FIELD),
    WIRE_KEY("ref", S_REF),
    WIRE_KEY("retry_after_ms", S_RETRY_AFTER_MS),
    WIRE_KEY("duplicate", S_DUPLICATE),
    WIRE_KEY("protocol", S_PROTOCOL),
    WIRE_KEY("session_id", S_SESSION_ID),
    WIRE_KEY("device_id", S_DEVICE_ID),
    WIRE_KEY("limits", S_LIMITS),
    WIRE_KEY("heartbeat_ms", S_HEARTBEAT_MS),
    WIRE_KEY("active", S_ACTIVE),
    WIRE_KEY("expires_in_ms", S_EXPIRES_IN_MS),
    WIRE_KEY("last_seen", S_LAST_SEEN),
    WIRE_KEY("messages", S_MESSAGES),
};

static const struct {
    const char *name;
    enum wire_server_event event;
} events[] = {
    {"new_message", WIRE_S_NEW_MESSAGE},
    {"ack", WIRE_S_ACK},
    {"delivery_receipt", WIRE_S_DELIVERY_RECEIPT},
    {"heartbeat", WIRE_S_HEARTBEAT},
    {"message_edited", WIRE_S_MESSAGE_EDITED},
    {"message_deleted", WIRE_S_MESSAGE_DELETED},
    {"membership", WIRE_S_MEMBERSHIP},
    {"conversation", WIRE_S_CONVERSATION},
    {"self", WIRE_S_SELF},
    {"conversations", WIRE_S_CONVERSATIONS},
    {"caught_up", WIRE_S_CAUGHT_UP},
    {"hello", WIRE_S_HELLO},
    {"error", WIRE_S_ERROR},
    {"resync", WIRE_S_RESYNC},
    {"reconnect", WIRE_S_RECONNECT},
    {"typing", WIRE_S_TYPING},
    {"presence_update", WIRE_S_PRESENCE_UPDATE},
    {"counter", WIRE_S_COUNTER},
    {"closed", WIRE_S_CLOSED},
    /* Of use to who holds a refresh token: passed over by the client library. */
    {"token_expiring", WIRE_S_UNKNOWN},
    {"authenticated", WIRE_S_UNKNOWN},
};

const char *wire_server_event_at(size_t i)
{
    return i < ARRAY_LEN(events) ? events[i].name : NULL;
}

bool wire_in_sequence(enum wire_server_event event)
{
    return event >= WIRE_S_NEW_MESSAGE && event <= WIRE_S_SELF;
}

static bool parse_at(struct wire_fields *f, struct wire_seq *at)
{
    return wire_need_conv(f, S_CONV, &at->conv) && wire_need_seq(f, S_SEQ, &at->seq) &&
           wire_need_id(f, S_EVENT_ID, &at->event_id) &&
           wire_need_time(f, S_SENT_AT, &at->sent_at_ms) && wire_need_id(f, S_FROM, &at->from);
}

/* Checks the entries of a list with `next`; false with err set. */
static bool check_ids(struct wire_fields *f, uint8_t slot, struct span list, uint32_t *ret_n)
{
    struct json it;
    uint64_t id;
    uint32_t n = 0;
    wire_list_begin(&it, list, NULL);
    while (wire_id_next(&it, &id)) {
        n++;
    }
    *ret_n = n;
    return json_ok(&it) || wire_refuse(f, slot, CONFAB_INVALID, "has to be a list of ids");
}

static bool parse_new_message(struct wire_fields *f, struct wire_new_message *m)
{
    *m = (struct wire_new_message){.nmentions = 0};
    return parse_at(f, &m->at) && wire_need_string(f, S_CONTENT, &m->content) &&
           wire_need_string(f, S_TYPE, &m->type) && wire_get_string(f, S_CMID, &m->client_msg_id) &&
           wire_get_id(f, S_REPLY_TO, &m->reply_to) &&
           wire_get_list(f, S_MENTIONS, &m->mentions_json) &&
           check_ids(f, S_MENTIONS, m->mentions_json, &m->nmentions);
}

static bool parse_edited(struct wire_fields *f, struct wire_message_edited *m)
{
    return parse_at(f, &m->at) && wire_need_id(f, S_MESSAGE_ID, &m->message_id) &&
           wire_need_seq(f, S_TARGET_SEQ, &m->target_seq) &&
           wire_need_string(f, S_CONTENT, &m->content) &&
           wire_need_time(f, S_EDITED_AT, &m->edited_at_ms);
}

static bool parse_deleted(struct wire_fields *f, struct wire_message_deleted *m)
{
    return parse_at(f, &m->at) && wire_need_id(f, S_MESSAGE_ID, &m->message_id) &&
           wire_need_seq(f, S_TARGET_SEQ, &m->target_seq);
}

static unsigned index_of(const char *const *names, unsigned n, struct span text)
{
    for (unsigned i = 1; i < n; i++) {
        if (span_is(text, names[i])) {
            return i;
        }
    }
    return 0;
}

static bool parse_membership(struct wire_fields *f, struct wire_membership *m)
{
    static const char *const actions[] = {"", "create", "add", "remove", "leave", "role"};
    struct span action;
    struct span kind = {NULL, 0};
    *m = (struct wire_membership){.nmembers = 0};
    if (!parse_at(f, &m->at) || !wire_need_string(f, S_ACTION, &action) ||
        !wire_need(f, S_MEMBERS) || !wire_get_list(f, S_MEMBERS, &m->members_json) ||
        !wire_get_string(f, S_NAME, &m->name) || !wire_get_string(f, S_TYPE, &kind)) {
        return false;
    }
    m->action = (enum wire_membership_action)index_of(actions, ARRAY_LEN(actions), action);
    m->kind = wire_kind_parse(kind);
    struct json it;
    struct wire_member member;
    wire_list_begin(&it, m->members_json, NULL);
    while (wire_member_next(&it, &member)) {
        m->nmembers++;
    }
    return json_ok(&it) ||
           wire_refuse(f, S_MEMBERS, CONFAB_INVALID, "has to be a list of user_id and role");
}

static bool parse_conversation(struct wire_fields *f, struct wire_conversation_change *m)
{
    *m = (struct wire_conversation_change){.settings = 0};
    if (!parse_at(f, &m->at) || !wire_get_string(f, S_NAME, &m->name)) {
        return false;
    }
    m->has_settings = wire_has(f, S_SETTINGS);
    if (m->has_settings) {
        struct json j;
        json_init(&j, f->vals[S_SETTINGS].s, NULL);
        if (f->vals[S_SETTINGS].type != JSON_OBJECT || !wire_read_settings(&j, &m->settings)) {
            return wire_refuse(f, S_SETTINGS, CONFAB_INVALID, "are not settings");
        }
    }
    return true;
}

/* "[from,to]" */
static bool read_range(struct json *j, uint64_t *ret_from, uint64_t *ret_to)
{
    json_array_begin(j);
    bool two = json_array_next(j) && json_u64(j, ret_from) && json_array_next(j) &&
               json_u64(j, ret_to) && !json_array_next(j);
    if (!two) {
        json_fail(j, "a range of two numbers is wanted here");
    }
    return json_ok(j);
}

static bool parse_self(struct wire_fields *f, struct wire_self *m)
{
    static const char *const actions[] = {"",      "joined", "left",   "mute", "pin",
                                          "block", "hide",   "closed", "draft"};
    struct span action;
    struct span hidden = {NULL, 0};
    *m = (struct wire_self){.on = false};
    if (!parse_at(f, &m->at) || !wire_need_string(f, S_ACTION, &action)) {
        return false;
    }
    m->action = (enum wire_self_action)index_of(actions, ARRAY_LEN(actions), action);
    switch (m->action) {
    case WIRE_SELF_NONE:
    case WIRE_SELF_CLOSED:
        return true;
    case WIRE_SELF_BLOCK:
        return wire_need_id(f, S_USER_ID, &m->user_id) && wire_need(f, S_BLOCKED) &&
               wire_get_bool(f, S_BLOCKED, &m->on);
    case WIRE_SELF_MUTE:
        return wire_need_conv(f, S_TARGET, &m->target) && wire_get_time(f, S_UNTIL, &m->until_ms);
    case WIRE_SELF_PIN:
        return wire_need_conv(f, S_TARGET, &m->target) && wire_need(f, S_PINNED) &&
               wire_get_bool(f, S_PINNED, &m->on);
    case WIRE_SELF_DRAFT:
        return wire_need_conv(f, S_TARGET, &m->target) &&
               wire_need_string(f, S_CONTENT, &m->content);
    case WIRE_SELF_HIDE: {
        if (!wire_need_conv(f, S_TARGET, &m->target) || !wire_need(f, S_HIDDEN) ||
            !wire_get_list(f, S_HIDDEN, &hidden)) {
            return false;
        }
        struct json j;
        json_init(&j, hidden, NULL);
        return read_range(&j, &m->hidden_from, &m->hidden_to) ||
               wire_refuse(f, S_HIDDEN, CONFAB_INVALID, "has to be a range of two numbers");
    }
    case WIRE_SELF_JOINED:
    case WIRE_SELF_LEFT:
        break;
    }
    return wire_need_conv(f, S_TARGET, &m->target);
}

static bool parse_receipt(struct wire_fields *f, struct wire_receipt *m)
{
    struct span status;
    m->message_id = 0;
    if (!wire_need_conv(f, S_CONV, &m->conv) || !wire_need_seq(f, S_FROM_SEQ, &m->from_seq) ||
        !wire_need_seq(f, S_SEQ, &m->seq) || !wire_get_id(f, S_MESSAGE_ID, &m->message_id) ||
        !wire_need_id(f, S_USER_ID, &m->user_id) || !wire_need_string(f, S_STATUS, &status) ||
        !wire_need_time(f, S_AT, &m->at_ms)) {
        return false;
    }
    m->status = wire_status_parse(status);
    return m->status != WIRE_STATUS_NONE ||
           wire_refuse(f, S_STATUS, CONFAB_INVALID, "has to be delivered or read");
}

static bool parse_typing(struct wire_fields *f, struct wire_typist *m)
{
    m->active = true;
    m->expires_in_ms = 0;
    return wire_need_conv(f, S_CONV, &m->conv) && wire_need_id(f, S_USER_ID, &m->user_id) &&
           wire_get_bool(f, S_ACTIVE, &m->active) &&
           wire_get_u32(f, S_EXPIRES_IN_MS, &m->expires_in_ms);
}

static bool parse_counter(struct wire_fields *f, struct wire_counter *m)
{
    *m = (struct wire_counter){.messages = 0};
    return wire_need_conv(f, S_CONV, &m->conv) && wire_need_seq(f, S_SEQ, &m->seq) &&
           wire_need_id(f, S_EVENT_ID, &m->event_id) &&
           wire_need_time(f, S_SENT_AT, &m->sent_at_ms) &&
           wire_get_u64(f, S_MESSAGES, UINT64_MAX, &m->messages);
}

static bool parse_presence(struct wire_fields *f, struct wire_presence_update *m)
{
    m->last_seen_ms = 0;
    return wire_need_id(f, S_USER_ID, &m->user_id) && wire_need_string(f, S_STATUS, &m->status) &&
           wire_get_time(f, S_LAST_SEEN, &m->last_seen_ms);
}

static bool parse_sent(struct wire_fields *f, struct wire_sent *m)
{
    m->duplicate = false;
    m->client_msg_id = span_of(NULL, 0);
    return wire_get_string(f, S_CMID, &m->client_msg_id) &&
           wire_need_id(f, S_MESSAGE_ID, &m->message_id) && wire_need_conv(f, S_CONV, &m->conv) &&
           wire_need_seq(f, S_SEQ, &m->seq) && wire_need_time(f, S_SENT_AT, &m->sent_at_ms) &&
           wire_get_bool(f, S_DUPLICATE, &m->duplicate);
}

static bool parse_failure(struct wire_fields *f, struct wire_failure *m)
{
    *m = (struct wire_failure){.retry_after_ms = 0};
    return wire_need_string(f, S_CODE, &m->code) && wire_get_string(f, S_MESSAGE, &m->message) &&
           wire_get_string(f, S_FIELD, &m->field) && wire_get_string(f, S_REF, &m->ref) &&
           wire_get_string(f, S_CMID, &m->client_msg_id) && wire_get_conv(f, S_CONV, &m->conv) &&
           wire_get_u64(f, S_RETRY_AFTER_MS, UINT64_MAX, &m->retry_after_ms);
}

static void read_u32(struct json *j, uint32_t *ret)
{
    uint64_t v;
    if (json_u64(j, &v)) {
        if (v > UINT32_MAX) {
            json_fail(j, "the number is out of range");
            return;
        }
        *ret = (uint32_t)v;
    }
}

static bool parse_hello(struct wire_fields *f, struct wire_hello *m)
{
    *m = (struct wire_hello){.protocol = 0};
    if (!wire_need(f, S_PROTOCOL) || !wire_get_u32(f, S_PROTOCOL, &m->protocol) ||
        !wire_need_time(f, S_SERVER_TIME, &m->server_time_ms) ||
        !wire_get_string(f, S_SESSION_ID, &m->session_id) ||
        !wire_need_id(f, S_USER_ID, &m->user_id) || !wire_get_id(f, S_DEVICE_ID, &m->device_id) ||
        !wire_get_u32(f, S_HEARTBEAT_MS, &m->heartbeat_ms)) {
        return false;
    }
    if (!wire_has(f, S_LIMITS)) {
        return true;
    }
    struct json j;
    struct span key;
    json_init(&j, f->vals[S_LIMITS].s, NULL);
    if (f->vals[S_LIMITS].type != JSON_OBJECT) {
        return wire_refuse(f, S_LIMITS, CONFAB_INVALID, "has to be an object");
    }
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "text_bytes")) {
            read_u32(&j, &m->text_bytes);
        } else if (span_is(key, "frame_bytes")) {
            read_u32(&j, &m->frame_bytes);
        } else if (span_is(key, "inflight")) {
            read_u32(&j, &m->inflight);
        } else {
            json_skip(&j);
        }
    }
    return json_ok(&j) || wire_refuse(f, S_LIMITS, CONFAB_INVALID, "are not limits");
}

static bool parse_event(struct wire_fields *f, struct wire_server_msg *ret)
{
    switch (ret->event) {
    case WIRE_S_HELLO:
        return parse_hello(f, &ret->u.hello);
    case WIRE_S_ACK:
        return parse_sent(f, &ret->u.ack);
    case WIRE_S_ERROR:
        return parse_failure(f, &ret->u.error);
    case WIRE_S_NEW_MESSAGE:
        return parse_new_message(f, &ret->u.message);
    case WIRE_S_MESSAGE_EDITED:
        return parse_edited(f, &ret->u.edited);
    case WIRE_S_MESSAGE_DELETED:
        return parse_deleted(f, &ret->u.deleted);
    case WIRE_S_MEMBERSHIP:
        return parse_membership(f, &ret->u.membership);
    case WIRE_S_CONVERSATION:
        return parse_conversation(f, &ret->u.conversation);
    case WIRE_S_SELF:
        return parse_self(f, &ret->u.self);
    case WIRE_S_DELIVERY_RECEIPT:
        return parse_receipt(f, &ret->u.receipt);
    case WIRE_S_CONVERSATIONS:
        return wire_need(f, S_CONVERSATIONS) && wire_get_list(f, S_CONVERSATIONS, &ret->u.page);
    case WIRE_S_CAUGHT_UP:
        ret->u.caught_up.reset = false;
        return wire_need_string(f, S_SINCE, &ret->u.caught_up.since) &&
               wire_need_time(f, S_SERVER_TIME, &ret->u.caught_up.server_time_ms) &&
               wire_get_bool(f, S_RESET, &ret->u.caught_up.reset);
    case WIRE_S_RECONNECT:
        ret->u.delay_ms = 0;
        return wire_get_u32(f, S_DELAY_MS, &ret->u.delay_ms);
    case WIRE_S_TYPING:
        return parse_typing(f, &ret->u.typing);
    case WIRE_S_PRESENCE_UPDATE:
        return parse_presence(f, &ret->u.presence);
    case WIRE_S_COUNTER:
        return parse_counter(f, &ret->u.counter);
    case WIRE_S_CLOSED:
        ret->u.close_code = 0;
        return wire_get_u32(f, S_CLOSE_CODE, &ret->u.close_code);
    case WIRE_S_HEARTBEAT:
    case WIRE_S_RESYNC:
    case WIRE_S_UNKNOWN:
        break;
    }
    return true;
}

enum confab_err wire_parse_server(struct span frame, struct scratch *scratch,
                                  struct wire_server_msg *ret, struct wire_error *err)
{
    struct wire_val vals[S_COUNT];
    struct wire_fields f = {keys, ARRAY_LEN(keys), vals, err};
    wire_error_init(err);
    if (!wire_collect(&f, S_COUNT, frame, scratch)) {
        return err->code;
    }
    if (!wire_need_string(&f, S_EVENT, &ret->name)) {
        err->malformed = true;
        return err->code;
    }
    ret->event = WIRE_S_UNKNOWN;
    for (size_t i = 0; i < ARRAY_LEN(events); i++) {
        if (span_is(ret->name, events[i].name)) {
            ret->event = events[i].event;
        }
    }
    if (!parse_event(&f, ret)) {
        err->ref = ret->name;
    }
    return err->code;
}

/* ---- Lists ---- */

bool wire_id_next(struct json *it, uint64_t *ret)
{
    return json_array_next(it) && json_id(it, ret);
}

bool wire_member_next(struct json *it, struct wire_member *ret)
{
    struct span key;
    struct span role = {NULL, 0};
    struct wire_member m = {0, WIRE_ROLE_NONE};
    if (!json_array_next(it)) {
        return false;
    }
    json_object_begin(it);
    while (json_object_next(it, &key)) {
        if (span_is(key, "user_id")) {
            json_id(it, &m.user_id);
        } else if (span_is(key, "role")) {
            json_string(it, &role);
        } else {
            json_skip(it);
        }
    }
    if (m.user_id == 0) {
        json_fail(it, "an entry lacks user_id");
    }
    if (!json_ok(it)) {
        return false;
    }
    m.role = wire_role_parse(role);
    *ret = m;
    return true;
}

static void read_preview(struct json *j, struct wire_preview *p)
{
    struct span key;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "message_id")) {
            json_id(j, &p->message_id);
        } else if (span_is(key, "from")) {
            json_id(j, &p->from);
        } else if (span_is(key, "content")) {
            json_string(j, &p->content);
        } else if (span_is(key, "type")) {
            json_string(j, &p->type);
        } else if (span_is(key, "sent_at")) {
            json_time(j, &p->sent_at_ms);
        } else {
            json_skip(j);
        }
    }
}

static void read_cursors(struct json *j, struct wire_conv *c)
{
    struct span key;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "delivered")) {
            json_u64(j, &c->delivered);
        } else if (span_is(key, "read")) {
            json_u64(j, &c->read);
        } else {
            json_skip(j);
        }
    }
}

static void read_events(struct json *j, struct span *ret)
{
    if (json_peek(j) != JSON_ARRAY) {
        json_fail(j, "a list is wanted here");
        return;
    }
    json_raw(j, ret);
}

static void read_conv_text(struct json *j, struct span key, struct wire_conv *c)
{
    struct span text;
    if (span_is(key, "type")) {
        if (json_string(j, &text)) {
            c->kind = wire_kind_parse(text);
        }
    } else if (span_is(key, "name")) {
        json_string(j, &c->name);
    } else if (span_is(key, "draft")) {
        json_string(j, &c->draft);
    } else if (span_is(key, "role")) {
        if (json_string(j, &text)) {
            c->role = wire_role_parse(text);
        }
    } else if (span_is(key, "last_message_at")) {
        json_time(j, &c->last_message_ms);
    } else if (span_is(key, "preview")) {
        read_preview(j, &c->preview);
    } else if (span_is(key, "cursors")) {
        read_cursors(j, c);
    } else if (span_is(key, "covered")) {
        read_range(j, &c->covered_from, &c->covered_to);
    } else if (span_is(key, "events")) {
        read_events(j, &c->events);
    } else {
        json_skip(j);
    }
}

static void read_conv_member(struct json *j, struct span key, struct wire_conv *c)
{
    if (json_try_null(j)) {
        return;
    }
    if (span_is(key, "conversation_id")) {
        json_conv_id(j, &c->conv);
    } else if (span_is(key, "left")) {
        json_bool(j, &c->left);
    } else if (span_is(key, "with")) {
        json_id(j, &c->with);
    } else if (span_is(key, "members")) {
        json_u64(j, &c->members);
    } else if (span_is(key, "head")) {
        json_u64(j, &c->head);
    } else if (span_is(key, "head_id")) {
        json_id(j, &c->head_id);
    } else if (span_is(key, "unread")) {
        json_u64(j, &c->unread);
    } else if (span_is(key, "mentions")) {
        json_u64(j, &c->mentions);
    } else if (span_is(key, "muted")) {
        json_bool(j, &c->muted);
    } else if (span_is(key, "pinned")) {
        json_bool(j, &c->pinned);
    } else if (span_is(key, "limited")) {
        json_bool(j, &c->limited);
    } else if (span_is(key, "reset")) {
        json_bool(j, &c->reset);
    } else {
        read_conv_text(j, key, c);
    }
}

bool wire_conv_next(struct json *it, struct wire_conv *ret)
{
    struct span key;
    struct wire_conv c = {.covered_from = 1};
    if (!json_array_next(it)) {
        return false;
    }
    json_object_begin(it);
    while (json_object_next(it, &key)) {
        read_conv_member(it, key, &c);
    }
    if (conv_id_is_zero(c.conv)) {
        json_fail(it, "an entry lacks conversation_id");
    }
    if (!json_ok(it)) {
        return false;
    }
    *ret = c;
    return true;
}

bool wire_event_next(struct json *it, struct span *ret_frame)
{
    return json_array_next(it) && json_raw(it, ret_frame);
}
