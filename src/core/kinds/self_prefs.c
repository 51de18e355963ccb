/*
 * mute, pin: what a user wants of one conversation of the list. conv; value = until when in ms
 * (mute), or 0 and 1 (pin).
 */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    (void)scratch;
    const struct self_entry *e = conv_entry(c, cmd->in.conv);
    if (!e || !e->joined) {
        return CONFAB_NOT_FOUND;
    }
    if (cmd->in.kind == EVENT_PIN && cmd->in.value > 1) {
        *ret_field = "pinned";
        return CONFAB_INVALID;
    }
    out->conv = cmd->in.conv;
    out->value = cmd->in.value;
    return CONFAB_OK;
}

static enum confab_err fold_mute(struct conv *c, const struct event *ev)
{
    struct self_entry *e = conv_entry(c, ev->conv);
    if (e) {
        e->muted_until_ms = ev->value;
    }
    return CONFAB_OK;
}

static enum confab_err fold_pin(struct conv *c, const struct event *ev)
{
    struct self_entry *e = conv_entry(c, ev->conv);
    if (e) {
        e->pinned = ev->value != 0;
    }
    return CONFAB_OK;
}

const struct event_kind kind_mute = {
    .id = EVENT_MUTE, .name = "mute", .flags = KIND_SELF, .decide = decide, .fold = fold_mute};
const struct event_kind kind_pin = {
    .id = EVENT_PIN, .name = "pin", .flags = KIND_SELF, .decide = decide, .fold = fold_pin};
