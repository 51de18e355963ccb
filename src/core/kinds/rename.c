/* rename: text = the new name of a group. */
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
    if (!role_at_least(conv_active(c, cmd->actor)->role, ROLE_ADMIN)) {
        return CONFAB_FORBIDDEN;
    }
    if (!kinds_name_ok(cmd->in.text)) {
        *ret_field = "name";
        return CONFAB_INVALID;
    }
    out->text = cmd->in.text;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    c->name_seq = ev->seq;
    return kinds_set_text(&c->name, ev->text, EVENT_NAME_MAX);
}

const struct event_kind kind_rename = {
    .id = EVENT_RENAME, .name = "rename", .decide = decide, .fold = fold};
