#include "core/kind.h"

static const struct event_kind *const kinds[EVENT_KINDS] = {
    [EVENT_CREATE] = &kind_create, [EVENT_MESSAGE] = &kind_message,
    [EVENT_EDIT] = &kind_edit,     [EVENT_DELETE] = &kind_delete,
    [EVENT_ADD] = &kind_add,       [EVENT_REMOVE] = &kind_remove,
    [EVENT_LEAVE] = &kind_leave,   [EVENT_ROLE] = &kind_role,
    [EVENT_RENAME] = &kind_rename, [EVENT_JOINED] = &kind_joined,
    [EVENT_LEFT] = &kind_left,     [EVENT_MUTE] = &kind_mute,
    [EVENT_PIN] = &kind_pin,       [EVENT_BLOCK] = &kind_block,
    [EVENT_HIDE] = &kind_hide,     [EVENT_SETTINGS] = &kind_settings,
    [EVENT_CLOSE] = &kind_close,   [EVENT_DRAFT] = &kind_draft,
};

const struct event_kind *event_kind_of(uint8_t id)
{
    return id < EVENT_KINDS ? kinds[id] : NULL;
}

enum confab_err conv_decide(const struct conv *c, const struct command *cmd,
                            const struct facts *facts, struct event *out, struct buf *scratch,
                            const char **ret_field)
{
    const struct event_kind *k = event_kind_of(cmd->in.kind);
    if (!k || !k->decide) {
        return CONFAB_INVALID;
    }
    /* A self conversation has one member and no rules but those of its kinds. */
    if ((k->flags & KIND_SELF) && !conv_id_eq(c->id, conv_id_self(cmd->actor))) {
        return CONFAB_INVALID;
    }
    if (!(k->flags & KIND_SELF) && cmd->in.kind != EVENT_CREATE && !conv_active(c, cmd->actor)) {
        return CONFAB_NOT_FOUND;
    }
    if ((k->flags & KIND_TARGET) && !facts->target) {
        *ret_field = "message_id";
        return CONFAB_NOT_FOUND;
    }
    if (cmd->in.cmid.n > EVENT_CMID_MAX) {
        *ret_field = "client_msg_id";
        return CONFAB_INVALID;
    }
    struct event ev = {.kind = cmd->in.kind, .actor = cmd->actor};
    enum confab_err err = k->decide(c, cmd, facts, &ev, scratch, ret_field);
    /* The key of a request that must not be done twice; those of a self conversation may be. */
    if (!err && !(k->flags & KIND_SELF)) {
        ev.cmid = cmd->in.cmid;
        ev.content_hash = cmd->in.content_hash;
    }
    if (!err && !buf_ok(scratch)) {
        err = CONFAB_NOMEM;
    }
    if (!err) {
        *out = ev;
    }
    return err;
}

enum confab_err conv_fold(struct conv *c, const struct event *ev)
{
    const struct event_kind *k = event_kind_of(ev->kind);
    if (!k) {
        return CONFAB_VERSION;
    }
    if (ev->seq != c->head_seq + 1 || ev->ord != c->ord + ((k->flags & KIND_COUNTS) ? 1 : 0)) {
        return CONFAB_CORRUPT;
    }
    c->head_seq = ev->seq;
    c->head_id = ev->id;
    c->ord = ev->ord;
    c->moved_ms = MAX(c->moved_ms, event_time_ms(ev));
    return k->fold(c, ev);
}

int event_patch_targets(const struct event *cause, uint64_t ret_seqs[2])
{
    const struct event_kind *k = event_kind_of(cause->kind);
    int n = 0;
    if (k && (k->flags & KIND_PATCHES) && cause->target_seq > 0) {
        ret_seqs[n++] = cause->target_seq;
        if (cause->prev_edit_seq > 0) {
            ret_seqs[n++] = cause->prev_edit_seq;
        }
    }
    return n;
}

bool event_blank_for(struct event *ev, const struct member *m)
{
    if (ev->kind != EVENT_EDIT || member_sees(m, ev->target_seq)) {
        return false;
    }
    ev->text = span_of(NULL, 0);
    ev->flags |= EVENT_BLANK;
    return true;
}

bool event_patch(const struct event *cause, struct event *victim)
{
    static const struct span empty;
    bool is_target = victim->seq == cause->target_seq && victim->kind == EVENT_MESSAGE;
    bool is_edit = victim->seq == cause->prev_edit_seq && victim->kind == EVENT_EDIT;
    if (cause->kind == EVENT_DRAFT) {
        bool replaced = victim->seq == cause->target_seq && victim->kind == EVENT_DRAFT;
        victim->text = replaced ? empty : victim->text;
        victim->flags |= replaced ? EVENT_BLANK : 0;
        return replaced;
    }
    if (is_edit && (cause->kind == EVENT_EDIT || cause->kind == EVENT_DELETE)) {
        victim->text = empty;
        victim->flags |= EVENT_BLANK;
        return true;
    }
    if (!is_target || (victim->flags & EVENT_DELETED)) {
        return false;
    }
    if (cause->kind == EVENT_EDIT && victim->edit_seq < cause->seq) {
        victim->text = cause->text;
        victim->flags |= EVENT_EDITED;
        victim->edit_seq = cause->seq;
        victim->edited_ms = event_time_ms(cause);
        return true;
    }
    if (cause->kind == EVENT_DELETE) {
        victim->text = empty;
        victim->mentions = empty;
        victim->flags = (victim->flags & ~(uint64_t)EVENT_EDITED) | EVENT_DELETED;
        victim->edit_seq = 0;
        victim->edited_ms = event_time_ms(cause);
        return true;
    }
    return false;
}
