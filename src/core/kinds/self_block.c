/*
 * block: the user takes no messages from another. user, value = 0 or 1. The direct conversation of
 * the two learns of it by a follow-up, since it is there that sending is judged.
 */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    if (cmd->in.user == 0 || cmd->in.user == cmd->actor || cmd->in.value > 1) {
        *ret_field = "user_id";
        return CONFAB_INVALID;
    }
    if (conv_blocks_user(c, cmd->in.user) == (cmd->in.value == 1)) {
        return CONFAB_EXISTS;
    }
    if (cmd->in.value == 1 && c->nblocked >= CONV_ENTRIES_MAX) {
        return CONFAB_LIMIT;
    }
    if (c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->user = cmd->in.user;
    out->value = cmd->in.value;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    enum confab_err err = kinds_open_self(c, ev);
    if (!err) {
        err = conv_set_blocked(c, ev->user, ev->value != 0);
    }
    if (err) {
        return err;
    }
    struct followup f = {.seq = ev->seq,
                         .user = ev->actor,
                         .target = conv_id_direct(ev->actor, ev->user),
                         .type = FOLLOWUP_BLOCK,
                         .on = ev->value != 0};
    return conv_followup_add(c, &f);
}

const struct event_kind kind_block = {
    .id = EVENT_BLOCK, .name = "block", .flags = KIND_SELF, .decide = decide, .fold = fold};
