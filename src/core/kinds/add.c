/* add: up to EVENT_MEMBERS_MAX new members in one event. Those who are members already are left
 * out. */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    const struct member *me = conv_active(c, cmd->actor);
    if (c->kind != CONV_GROUP) {
        return CONFAB_CONFLICT;
    }
    enum member_role least = (c->settings & SETTING_INVITE_ADMINS) ? ROLE_ADMIN : ROLE_MEMBER;
    if (!role_at_least(me->role, least)) {
        return CONFAB_FORBIDDEN;
    }
    struct reader r = reader_of(cmd->in.members.p, cmd->in.members.n);
    uint64_t user;
    uint8_t role;
    uint64_t last = 0;
    uint32_t asked = 0;
    uint32_t n = 0;
    while (event_members_next(&r, &user, &role)) {
        /* Sorted by the sender of the command, so that doubles are neighbours. */
        if (user < last || ++asked > EVENT_MEMBERS_MAX) {
            *ret_field = "members";
            return user < last ? CONFAB_INVALID : CONFAB_TOO_LARGE;
        }
        if (user != last && !conv_active(c, user)) {
            event_members_add(scratch, user, ROLE_MEMBER);
            n++;
        }
        last = user;
    }
    if (r.bad || asked == 0) {
        *ret_field = "members";
        return CONFAB_INVALID;
    }
    if (n == 0) {
        *ret_field = "members";
        return CONFAB_EXISTS;
    }
    if (c->nmembers + n > CONV_MEMBERS_MAX) {
        return CONFAB_LIMIT;
    }
    if (c->nfollowups + n > CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    out->members = span_of(scratch->data, scratch->len);
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    enum confab_err err = CONFAB_OK;
    struct reader r = reader_of(ev->members.p, ev->members.n);
    uint64_t user;
    uint8_t role;
    while (!err && event_members_next(&r, &user, &role)) {
        err = kinds_enter(c, ev, user, role);
    }
    return err;
}

const struct event_kind kind_add = {.id = EVENT_ADD, .name = "add", .decide = decide, .fold = fold};
