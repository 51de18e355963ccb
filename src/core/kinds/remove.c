/* remove: ends another's membership: of anybody for an owner, of those below from a moderator on.
 * user. */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    if (c->kind != CONV_GROUP) {
        return CONFAB_CONFLICT;
    }
    if (cmd->in.user == cmd->actor) {
        return CONFAB_INVALID;
    }
    const struct member *me = conv_active(c, cmd->actor);
    const struct member *other = conv_active(c, cmd->in.user);
    if (!other) {
        *ret_field = "user_id";
        return CONFAB_NOT_FOUND;
    }
    bool below =
        role_at_least(me->role, ROLE_MODERATOR) && role_rank(other->role) < role_rank(me->role);
    if (me->role != ROLE_OWNER && !below) {
        return CONFAB_FORBIDDEN;
    }
    if (c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->user = cmd->in.user;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    return kinds_exit(c, ev, ev->user);
}

const struct event_kind kind_remove = {
    .id = EVENT_REMOVE, .name = "remove", .decide = decide, .fold = fold};
