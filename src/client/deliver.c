/* From the codec's structs to those of confab/types.h, and out to the application. */
#include "client/session_internal.h"

#define MEMBERS_MAX 1000U /* of one event; the server takes no more */

void cdeliver_conv(struct conv_id conv, char out[CONFAB_CONV_SIZE])
{
    if (conv_id_is_zero(conv)) {
        out[0] = '\0';
        return;
    }
    conv_id_text(conv, out);
    out[ID_CONV_TEXT] = '\0';
}

static void message(struct csession *s, const struct wire_new_message *w, enum confab_source source)
{
    s->stats.messages++;
    if (!s->on.on_message) {
        return;
    }
    uint64_t ids[WIRE_MENTIONS_MAX];
    struct confab_message m = {
        .source = source,
        .own = w->at.from == s->user_id,
        .seq = w->at.seq,
        .message_id = w->at.event_id,
        .from = w->at.from,
        .sent_at_ms = w->at.sent_at_ms,
        .reply_to = w->reply_to,
        .content = ctext(w->content),
        .type = ctext(w->type),
        .client_msg_id = ctext(w->client_msg_id),
        .mentions = w->mentions,
        .nmentions = w->mentions ? w->nmentions : 0,
    };
    if (!w->mentions) {
        struct json it;
        wire_list_begin(&it, w->mentions_json, NULL);
        while (m.nmentions < WIRE_MENTIONS_MAX && wire_id_next(&it, &ids[m.nmentions])) {
            m.nmentions++;
        }
        m.mentions = ids;
    }
    cdeliver_conv(w->at.conv, m.conv);
    s->on.on_message(s->arg, &m);
}

static void event_start(struct confab_event *e, enum confab_event_kind kind,
                        const struct wire_seq *at, enum confab_source source)
{
    memset(e, 0, sizeof(*e));
    e->kind = kind;
    e->source = source;
    e->seq = at->seq;
    e->event_id = at->event_id;
    e->from = at->from;
    e->sent_at_ms = at->sent_at_ms;
    cdeliver_conv(at->conv, e->conv);
}

static void membership(struct csession *s, const struct wire_membership *w, struct confab_event *e)
{
    struct confab_member members[MEMBERS_MAX];
    struct wire_member one;
    struct json it;
    e->membership = (enum confab_membership)w->action;
    e->name = ctext(w->name);
    e->conv_kind = (enum confab_conv_kind)w->kind;
    wire_list_begin(&it, w->members_json, NULL);
    while (e->nmembers < MEMBERS_MAX && wire_member_next(&it, &one)) {
        members[e->nmembers++] =
            (struct confab_member){.user_id = one.user_id, .role = (enum confab_role)one.role};
    }
    e->members = members;
    s->on.on_event(s->arg, e);
}

static void self(const struct wire_self *w, struct confab_event *e)
{
    e->self = (enum confab_self)w->action;
    e->on = w->on;
    e->user_id = w->user_id;
    e->until_ms = w->until_ms;
    e->hidden_from = w->hidden_from;
    e->hidden_to = w->hidden_to;
    e->content = ctext(w->content);
    cdeliver_conv(w->target, e->target);
}

static void receipt(struct csession *s, const struct wire_receipt *w)
{
    if (!s->on.on_receipt || w->status == WIRE_STATUS_NONE) {
        return;
    }
    struct confab_receipt r = {
        .read = w->status == WIRE_READ,
        .from_seq = w->from_seq,
        .seq = w->seq,
        .message_id = w->message_id,
        .user_id = w->user_id,
        .at_ms = w->at_ms,
    };
    cdeliver_conv(w->conv, r.conv);
    s->on.on_receipt(s->arg, &r);
}

void cdeliver(struct csession *s, const struct wire_server_msg *m, enum confab_source source)
{
    if (m->event == WIRE_S_NEW_MESSAGE) {
        message(s, &m->u.message, source);
        return;
    }
    if (m->event == WIRE_S_DELIVERY_RECEIPT) {
        receipt(s, &m->u.receipt);
        return;
    }
    s->stats.events++;
    if (!s->on.on_event) {
        return;
    }
    struct confab_event e;
    switch (m->event) {
    case WIRE_S_MESSAGE_EDITED:
        event_start(&e, CONFAB_EVENT_EDITED, &m->u.at, source);
        e.message_id = m->u.edited.message_id;
        e.target_seq = m->u.edited.target_seq;
        e.content = ctext(m->u.edited.content);
        e.edited_at_ms = m->u.edited.edited_at_ms;
        break;
    case WIRE_S_MESSAGE_DELETED:
        event_start(&e, CONFAB_EVENT_DELETED, &m->u.at, source);
        e.message_id = m->u.deleted.message_id;
        e.target_seq = m->u.deleted.target_seq;
        break;
    case WIRE_S_MEMBERSHIP:
        event_start(&e, CONFAB_EVENT_MEMBERSHIP, &m->u.at, source);
        membership(s, &m->u.membership, &e);
        return;
    case WIRE_S_CONVERSATION:
        event_start(&e, CONFAB_EVENT_CHANGED, &m->u.at, source);
        e.name = ctext(m->u.conversation.name);
        e.has_settings = m->u.conversation.has_settings;
        e.settings = m->u.conversation.settings;
        break;
    case WIRE_S_SELF:
        event_start(&e, CONFAB_EVENT_SELF, &m->u.at, source);
        self(&m->u.self, &e);
        break;
    default:
        return;
    }
    s->on.on_event(s->arg, &e);
}
