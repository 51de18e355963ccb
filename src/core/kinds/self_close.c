/*
 * close: the account was deleted. Asked for by the server until nothing is left to do: each such
 * event leaves follow-ups that end the memberships in the list, as many as there is room for; those
 * that come later (somebody adds the person meanwhile) are ended when the list learns of them.
 */
#include "core/kinds/common.h"

static bool in_any(const struct conv *c)
{
    for (uint32_t i = 0; i < c->nentries; i++) {
        if (c->entries[i].joined) {
            return true;
        }
    }
    return false;
}

/* CONFAB_BUSY: what an earlier one began is under way. CONFAB_EXISTS: done. */
static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)cmd;
    (void)facts;
    (void)out;
    (void)scratch;
    (void)ret_field;
    if (c->nfollowups > 0) {
        return CONFAB_BUSY;
    }
    return (c->settings & SETTING_CLOSED) && !in_any(c) ? CONFAB_EXISTS : CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    enum confab_err err = kinds_open_self(c, ev);
    if (err) {
        return err;
    }
    c->settings |= SETTING_CLOSED;
    return kinds_leave_all(c, ev, c->entries, c->nentries);
}

const struct event_kind kind_close = {
    .id = EVENT_CLOSE, .name = "close", .flags = KIND_SELF, .decide = decide, .fold = fold};
