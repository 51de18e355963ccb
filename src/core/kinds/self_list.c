/*
 * joined, left: a user's own conversation learns of a membership, by a follow-up of the
 * conversation concerned. conv, src_seq = the event there, type = conv_kind. Never asked for by a
 * client.
 */
#include "core/kinds/common.h"

static enum confab_err fold_list(struct conv *c, const struct event *ev, bool joined)
{
    enum confab_err err = kinds_open_self(c, ev);
    struct self_entry *e = err ? NULL : conv_entry_make(c, ev->conv);
    if (!e) {
        return err ? err : CONFAB_NOMEM;
    }
    if (ev->src_seq > e->src_seq) {
        e->src_seq = ev->src_seq;
        e->conv_kind = (uint8_t)ev->type;
        e->joined = joined;
        e->since_ms = event_time_ms(ev);
        if (!joined) {
            err = conv_set_draft(c, ev->conv, 0, span_of(NULL, 0));
        }
        /* Added by somebody who did not know yet that the account is gone. */
        if (joined && (c->settings & SETTING_CLOSED)) {
            return kinds_leave_all(c, ev, e, 1);
        }
    }
    return err;
}

static enum confab_err fold_joined(struct conv *c, const struct event *ev)
{
    return fold_list(c, ev, true);
}

static enum confab_err fold_left(struct conv *c, const struct event *ev)
{
    return fold_list(c, ev, false);
}

/* The engine has dropped repeated follow-ups; what comes here is new. */
static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    (void)ret_field;
    if (c->nentries >= CONV_ENTRIES_MAX && !conv_entry(c, cmd->in.conv)) {
        return CONFAB_LIMIT;
    }
    if ((c->settings & SETTING_CLOSED) && c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->conv = cmd->in.conv;
    out->src_seq = cmd->in.src_seq;
    out->type = cmd->in.type;
    return CONFAB_OK;
}

const struct event_kind kind_joined = {.id = EVENT_JOINED,
                                       .name = "joined",
                                       .flags = KIND_SELF,
                                       .decide = decide,
                                       .fold = fold_joined};
const struct event_kind kind_left = {
    .id = EVENT_LEFT, .name = "left", .flags = KIND_SELF, .decide = decide, .fold = fold_left};
