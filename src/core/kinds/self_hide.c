/*
 * hide: delete for me. conv, range_from, range_to. The conversation learns of it by a follow-up,
 * since it is there that history is read.
 */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    const struct event *in = &cmd->in;
    bool own = conv_id_eq(in->conv, c->id);
    if (!own && !conv_entry(c, in->conv)) {
        return CONFAB_NOT_FOUND;
    }
    if (in->range_from == 0 || in->range_to < in->range_from || in->range_to >= INT64_MAX) {
        *ret_field = "range";
        return CONFAB_INVALID;
    }
    if (c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->conv = in->conv;
    out->range_from = in->range_from;
    out->range_to = in->range_to;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    enum confab_err err = kinds_open_self(c, ev);
    struct followup f = {.seq = ev->seq,
                         .user = ev->actor,
                         .target = ev->conv,
                         .from = ev->range_from,
                         .to = ev->range_to,
                         .type = FOLLOWUP_HIDE,
                         .on = true};
    return err ? err : conv_followup_add(c, &f);
}

const struct event_kind kind_hide = {
    .id = EVENT_HIDE, .name = "hide", .flags = KIND_SELF, .decide = decide, .fold = fold};
