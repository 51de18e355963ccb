/* role: an owner gives a member another role. user, value = role. */
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
    if (role_rank(cmd->in.value) == 0) {
        *ret_field = "role";
        return CONFAB_INVALID;
    }
    if (conv_active(c, cmd->actor)->role != ROLE_OWNER) {
        return CONFAB_FORBIDDEN;
    }
    const struct member *other = conv_active(c, cmd->in.user);
    if (!other) {
        *ret_field = "user_id";
        return CONFAB_NOT_FOUND;
    }
    if (other->role == cmd->in.value) {
        return CONFAB_EXISTS;
    }
    if (other->role == ROLE_OWNER && kinds_owners(c) == 1) {
        *ret_field = "role";
        return CONFAB_CONFLICT;
    }
    out->user = cmd->in.user;
    out->value = cmd->in.value;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    struct member *m = conv_active(c, ev->user);
    if (m) {
        m->role = (uint8_t)ev->value;
        m->dirty = true;
    }
    return CONFAB_OK;
}

const struct event_kind kind_role = {
    .id = EVENT_ROLE, .name = "role", .decide = decide, .fold = fold};
