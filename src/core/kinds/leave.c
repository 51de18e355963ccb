/*
 * leave: ends one's own membership. user = who becomes owner because the last one left, 0 for
 * nobody: a group with members is never without an owner. value = 1: the person's account was
 * deleted, which is known from a follow-up and ends the membership of direct conversations, too.
 */
#include "core/kinds/common.h"

static uint64_t successor(const struct conv *c, uint64_t leaving)
{
    const struct member *best = NULL;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        const struct member *m = &c->members[i];
        if (m->role == ROLE_NONE || m->user == leaving) {
            continue;
        }
        if (!best || role_rank(m->role) > role_rank(best->role) ||
            (m->role == best->role && m->joined_ms < best->joined_ms)) {
            best = m;
        }
    }
    return best ? best->user : 0;
}

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    (void)ret_field;
    out->value = cmd->in.value;
    if (c->kind != CONV_GROUP && cmd->in.value != LEAVE_DELETED) {
        return CONFAB_CONFLICT;
    }
    if (c->nfollowups >= CONV_FOLLOWUPS_MAX) {
        return CONFAB_BUSY;
    }
    if (c->kind == CONV_GROUP && conv_active(c, cmd->actor)->role == ROLE_OWNER &&
        kinds_owners(c) == 1) {
        out->user = successor(c, cmd->actor);
    }
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    struct member *next = ev->user ? conv_active(c, ev->user) : NULL;
    if (next) {
        next->role = ROLE_OWNER;
        next->dirty = true;
    }
    return kinds_exit(c, ev, ev->actor);
}

const struct event_kind kind_leave = {
    .id = EVENT_LEAVE, .name = "leave", .decide = decide, .fold = fold};
