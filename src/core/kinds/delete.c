/* delete: for everyone, by the author, or from a moderator on. target_seq and target_id;
 * prev_edit_seq. */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)scratch;
    const struct event *target = facts->target;
    if (target->kind != EVENT_MESSAGE || (target->flags & EVENT_DELETED)) {
        *ret_field = "message_id";
        return CONFAB_NOT_FOUND;
    }
    const struct member *me = conv_active(c, cmd->actor);
    bool may = c->kind == CONV_GROUP && role_at_least(me->role, ROLE_MODERATOR);
    if (target->actor != cmd->actor && !may) {
        return CONFAB_FORBIDDEN;
    }
    out->target_seq = target->seq;
    out->target_id = target->id;
    out->prev_edit_seq = target->edit_seq;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    if (ev->target_seq == c->last_seq) {
        c->last_flags = EVENT_DELETED;
        buf_clear(&c->preview);
    }
    return CONFAB_OK;
}

const struct event_kind kind_delete = {.id = EVENT_DELETE,
                                       .name = "delete",
                                       .flags = KIND_TARGET | KIND_PATCHES,
                                       .decide = decide,
                                       .fold = fold};
