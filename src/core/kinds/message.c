/*
 * message: text with its type. target_id and target_seq = the message replied to; mentions; cmid
 * and content_hash make a retry recognisable.
 */
#include "base/utf8.h"
#include "core/kinds/common.h"

/* Those who are members, each once: a mention of somebody else says nothing to anybody. */
static enum confab_err put_mentions(const struct conv *c, const struct command *cmd,
                                    struct buf *out)
{
    struct reader r = reader_of(cmd->in.mentions.p, cmd->in.mentions.n);
    uint64_t users[EVENT_MENTIONS_MAX];
    uint64_t user;
    uint32_t n = 0;
    while (event_mentions_next(&r, &user)) {
        if (n == EVENT_MENTIONS_MAX) {
            return CONFAB_TOO_LARGE;
        }
        bool repeated = false;
        for (uint32_t i = 0; i < n; i++) {
            repeated |= users[i] == user;
        }
        users[n++] = user;
        if (!repeated && user != cmd->actor && conv_active(c, user)) {
            buf_put_varint(out, user);
        }
    }
    return r.bad ? CONFAB_INVALID : CONFAB_OK;
}

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    const struct event *in = &cmd->in;
    enum confab_err err = kinds_may_send(c, conv_active(c, cmd->actor));
    if (err) {
        return err;
    }
    if (in->text.n > EVENT_TEXT_MAX) {
        *ret_field = "content";
        return CONFAB_TOO_LARGE;
    }
    if (in->text.n == 0 || !utf8_valid(in->text.p, in->text.n)) {
        *ret_field = "content";
        return CONFAB_INVALID;
    }
    if (in->type != MESSAGE_TEXT) {
        *ret_field = "type";
        return CONFAB_UNSUPPORTED;
    }
    if (in->target_id != 0) {
        if (!facts->target || facts->target->kind != EVENT_MESSAGE) {
            *ret_field = "reply_to";
            return CONFAB_NOT_FOUND;
        }
        out->target_id = facts->target->id;
        out->target_seq = facts->target->seq;
    }
    err = put_mentions(c, cmd, scratch);
    if (err) {
        *ret_field = "mentions";
        return err;
    }
    out->mentions = span_of(scratch->data, scratch->len);
    out->type = in->type;
    out->text = in->text;
    return CONFAB_OK;
}

/* Without room it stays, for the next message to end. */
static enum confab_err end_draft(struct conv *c, const struct event *ev, struct member *me)
{
    if (!(me->draft & 1) || c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_OK;
    }
    me->draft--;
    struct followup f = {.seq = ev->seq,
                         .user = me->user,
                         .target = conv_id_self(me->user),
                         .from = me->draft / 2,
                         .type = FOLLOWUP_SENT,
                         .on = true};
    return conv_followup_add(c, &f);
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    uint64_t ms = event_time_ms(ev);
    c->last_seq = ev->seq;
    c->last_id = ev->id;
    c->last_from = ev->actor;
    c->last_type = ev->type;
    c->last_flags = ev->flags;
    enum confab_err err = kinds_set_text(&c->preview, ev->text, CONV_PREVIEW_BYTES);
    struct member *me = conv_active(c, ev->actor);
    if (me) {
        member_move_cursors(me, ev->seq, ms, ev->seq, ms, ev->ord);
        me->dirty = true;
        err = err ? err : end_draft(c, ev, me);
    }
    struct reader r = reader_of(ev->mentions.p, ev->mentions.n);
    uint64_t user;
    while (!err && event_mentions_next(&r, &user)) {
        struct member *m = conv_active(c, user);
        if (m && user != ev->actor) {
            err = member_mention(m, ev->ord);
            m->dirty = true;
        }
    }
    return err;
}

const struct event_kind kind_message = {.id = EVENT_MESSAGE,
                                        .name = "message",
                                        .flags = KIND_PIPELINED | KIND_COUNTS | KIND_REPLY,
                                        .decide = decide,
                                        .fold = fold};
