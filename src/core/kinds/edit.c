/* edit: new text for one's own message, within a time after sending. target_seq and target_id;
 * prev_edit_seq; text. */
#include "base/utf8.h"
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
    if (target->actor != cmd->actor) {
        return CONFAB_FORBIDDEN;
    }
    if (facts->edit_window_ms != 0 &&
        facts->now_ms > event_time_ms(target) + facts->edit_window_ms) {
        *ret_field = "message_id";
        return CONFAB_TOO_LATE;
    }
    /* An old message must not be a way to say something new. */
    enum confab_err err = kinds_may_send(c, conv_active(c, cmd->actor));
    if (err) {
        return err;
    }
    if (cmd->in.text.n > EVENT_TEXT_MAX) {
        *ret_field = "content";
        return CONFAB_TOO_LARGE;
    }
    if (cmd->in.text.n == 0 || !utf8_valid(cmd->in.text.p, cmd->in.text.n)) {
        *ret_field = "content";
        return CONFAB_INVALID;
    }
    out->target_seq = target->seq;
    out->target_id = target->id;
    out->prev_edit_seq = target->edit_seq;
    out->text = cmd->in.text;
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    if (ev->target_seq != c->last_seq) {
        return CONFAB_OK;
    }
    c->last_flags |= EVENT_EDITED;
    return kinds_set_text(&c->preview, ev->text, CONV_PREVIEW_BYTES);
}

const struct event_kind kind_edit = {.id = EVENT_EDIT,
                                     .name = "edit",
                                     .flags = KIND_TARGET | KIND_PATCHES,
                                     .decide = decide,
                                     .fold = fold};
