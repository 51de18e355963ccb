/* settings: value = the new set of enum conv_settings. */
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
    if (cmd->in.value & ~(uint64_t)SETTINGS_ALL) {
        *ret_field = "settings";
        return CONFAB_INVALID;
    }
    out->value = cmd->in.value;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    c->settings = ev->value;
    return CONFAB_OK;
}

const struct event_kind kind_settings = {
    .id = EVENT_SETTINGS, .name = "settings", .decide = decide, .fold = fold};
