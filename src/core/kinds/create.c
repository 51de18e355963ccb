/* create: the first event of a conversation. text = name, type = conv_kind, value = settings,
 * members. */
#include "core/kinds/common.h"

static enum confab_err decide(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field)
{
    (void)facts;
    if (c->kind != CONV_NONE) {
        return CONFAB_EXISTS;
    }
    out->type = cmd->in.type ? cmd->in.type : CONV_GROUP;
    out->value = cmd->in.value;
    if (out->type > CONV_SELF) {
        *ret_field = "type";
        return CONFAB_INVALID;
    }
    if (out->type == CONV_GROUP) {
        if (!kinds_name_ok(cmd->in.text)) {
            *ret_field = "name";
            return CONFAB_INVALID;
        }
        if (out->value & ~(uint64_t)SETTINGS_ALL) {
            *ret_field = "settings";
            return CONFAB_INVALID;
        }
        out->text = cmd->in.text;
    }
    /* Blocks may be there before the conversation is: it must not appear in the other's list then.
     */
    enum confab_err err = kinds_check_blocks(c, cmd->actor);
    if (err) {
        return err;
    }
    /* Sorted by the sender of the command, so that doubles are neighbours. */
    event_members_add(scratch, cmd->actor, ROLE_OWNER);
    struct reader r = reader_of(cmd->in.members.p, cmd->in.members.n);
    uint64_t user;
    uint64_t last = 0;
    uint8_t role;
    uint32_t n = 1;
    while (event_members_next(&r, &user, &role)) {
        if (user < last) {
            *ret_field = "members";
            return CONFAB_INVALID;
        }
        if (user != last && user != cmd->actor) {
            event_members_add(scratch, user, out->type == CONV_DIRECT ? ROLE_OWNER : ROLE_MEMBER);
            n++;
        }
        last = user;
    }
    if (r.bad || n > EVENT_MEMBERS_MAX) {
        *ret_field = "members";
        return r.bad ? CONFAB_INVALID : CONFAB_TOO_LARGE;
    }
    out->members = span_of(scratch->data, scratch->len);
    return CONFAB_OK;
}

static enum confab_err fold(struct conv *c, const struct event *ev)
{
    c->kind = (uint8_t)ev->type;
    c->settings = ev->value;
    c->created_ms = event_time_ms(ev);
    enum confab_err err = kinds_set_text(&c->name, ev->text, EVENT_NAME_MAX);
    c->name_seq = ev->seq;
    struct reader r = reader_of(ev->members.p, ev->members.n);
    uint64_t user;
    uint8_t role;
    while (!err && event_members_next(&r, &user, &role)) {
        err = kinds_enter(c, ev, user, role);
    }
    return err;
}

const struct event_kind kind_create = {
    .id = EVENT_CREATE, .name = "create", .decide = decide, .fold = fold};
