#include "core/kinds/common.h"

#include "base/utf8.h"

enum confab_err kinds_check_blocks(const struct conv *c, uint64_t user)
{
    for (uint32_t i = 0; i < c->nmembers; i++) {
        if (c->members[i].blocks) {
            return c->members[i].user == user ? CONFAB_FORBIDDEN : CONFAB_BLOCKED;
        }
    }
    return CONFAB_OK;
}

enum confab_err kinds_may_send(const struct conv *c, const struct member *me)
{
    if ((c->settings & SETTING_SEND_ADMINS) && !role_at_least(me->role, ROLE_ADMIN)) {
        return CONFAB_FORBIDDEN;
    }
    if (c->kind != CONV_DIRECT) {
        return CONFAB_OK;
    }
    return c->nactive < c->nmembers ? CONFAB_GONE : kinds_check_blocks(c, me->user);
}

enum confab_err kinds_tell_self(struct conv *c, const struct event *ev, uint64_t user,
                                enum followup_type type)
{
    struct followup f = {
        .seq = ev->seq, .user = user, .target = conv_id_self(user), .type = (uint8_t)type};
    return conv_followup_add(c, &f);
}

enum confab_err kinds_leave_all(struct conv *c, const struct event *ev,
                                const struct self_entry *entries, uint32_t n)
{
    enum confab_err err = CONFAB_OK;
    struct followup f = {.seq = ev->seq, .type = FOLLOWUP_LEAVE, .on = true};
    for (uint32_t i = 0; i < n && !err && c->nfollowups < CONV_FOLLOWUPS_MAX; i++) {
        if (entries[i].joined) {
            f.user++;
            f.target = entries[i].conv;
            err = conv_followup_add(c, &f);
        }
    }
    return err;
}

enum confab_err kinds_enter(struct conv *c, const struct event *ev, uint64_t user, uint8_t role)
{
    struct member *m = conv_member_make(c, user);
    if (!m) {
        return CONFAB_NOMEM;
    }
    uint64_t from = (c->settings & SETTING_HISTORY_JOINED) ? ev->seq : 1;
    enum confab_err err = member_show_from(m, from);
    if (err) {
        return err;
    }
    c->nactive += m->role == ROLE_NONE;
    m->role = role;
    m->joined_ms = event_time_ms(ev);
    m->dirty = true;
    /* Nobody starts with unread messages from before. */
    member_move_cursors(m, ev->seq, event_time_ms(ev), ev->seq, event_time_ms(ev), ev->ord);
    return c->kind == CONV_SELF ? CONFAB_OK : kinds_tell_self(c, ev, user, FOLLOWUP_JOINED);
}

enum confab_err kinds_exit(struct conv *c, const struct event *ev, uint64_t user)
{
    struct member *m = conv_active(c, user);
    if (!m) {
        return CONFAB_OK;
    }
    m->role = ROLE_NONE;
    m->visible_to = ev->seq;
    m->dirty = true;
    c->nactive--;
    return kinds_tell_self(c, ev, user, FOLLOWUP_LEFT);
}

enum confab_err kinds_set_text(struct buf *out, struct span text, size_t max)
{
    size_t n = MIN(text.n, max);
    while (n < text.n && n > 0 && (text.p[n] & 0xc0) == 0x80) {
        n--;
    }
    buf_clear(out);
    buf_put(out, text.p, n);
    return buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

bool kinds_name_ok(struct span name)
{
    if (name.n == 0 || name.n > EVENT_NAME_MAX || !utf8_valid(name.p, name.n) ||
        utf8_count(name.p, name.n) > 255) {
        return false;
    }
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] < 0x20 || name.p[i] == 0x7f) {
            return false;
        }
    }
    return true;
}

uint32_t kinds_owners(const struct conv *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        n += c->members[i].role == ROLE_OWNER;
    }
    return n;
}

enum confab_err kinds_open_self(struct conv *c, const struct event *ev)
{
    if (c->kind == CONV_SELF) {
        return CONFAB_OK;
    }
    c->kind = CONV_SELF;
    c->created_ms = event_time_ms(ev);
    return kinds_enter(c, ev, ev->actor, ROLE_OWNER);
}
