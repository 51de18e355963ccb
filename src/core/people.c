/*
 * Reading what a conversation knows about people and single messages: members, who has got and read
 * a message, whom somebody blocks, and where a message is. Lists come in pages that go on after a
 * user's id.
 */
#include <string.h>

#include "core/circle.h"
#include "core/engine_internal.h"

/* Is there room for one more on the page? */
static bool page_room(struct command *cmd, uint64_t *io_n)
{
    if (cmd->limit != 0 && *io_n == cmd->limit) {
        cmd->more = true;
        return false;
    }
    (*io_n)++;
    return true;
}

enum step engine_step_members(struct engine *e, struct resident *r, struct command *cmd)
{
    enum confab_err err = CONFAB_OK;
    uint64_t n = 0;
    if (!conv_active(&r->c, cmd->actor)) {
        err = CONFAB_NOT_FOUND;
    }
    for (uint32_t i = 0; !err && i < r->c.nmembers; i++) {
        const struct member *m = &r->c.members[i];
        if (m->role == ROLE_NONE || m->user <= cmd->at_id) {
            continue;
        }
        if (!page_room(cmd, &n)) {
            break;
        }
        event_members_add(&cmd->ret, m->user, m->role);
    }
    if (!err && !buf_ok(&cmd->ret)) {
        err = CONFAB_NOMEM;
    }
    cmd->ret_conv = r->c.id;
    cmd->ret_seq = r->c.head_seq;
    cmd->ret_count = r->c.nactive;
    engine_complete(e, cmd, err, NULL);
    return STEP_DONE;
}

enum step engine_step_blocks(struct engine *e, struct resident *r, struct command *cmd)
{
    const struct conv *c = &r->c;
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->nblocked; i++) {
        if (c->blocked[i] <= cmd->at_id) {
            continue;
        }
        if (!page_room(cmd, &n)) {
            break;
        }
        event_members_add(&cmd->ret, c->blocked[i], ROLE_NONE);
    }
    cmd->ret_count = c->nblocked;
    engine_complete(e, cmd, buf_ok(&cmd->ret) ? CONFAB_OK : CONFAB_NOMEM, NULL);
    return STEP_DONE;
}

/* The target, if the actor may see it; CONFAB_AGAIN: wait. */
static enum confab_err find(struct engine *e, struct resident *r, struct command *cmd,
                            struct event *ret)
{
    const struct member *m = conv_member(&r->c, cmd->actor);
    enum confab_err err = m ? engine_fetch_target(e, r, cmd) : CONFAB_NOT_FOUND;
    if (!err && (cmd->work->target.len == 0 || !member_sees(m, cmd->work->target_seq))) {
        err = CONFAB_NOT_FOUND;
    }
    if (!err) {
        struct reader rd = reader_of(cmd->work->target.data, cmd->work->target.len);
        err = command_record_next(&rd, ret) ? CONFAB_OK : CONFAB_CORRUPT;
    }
    if (!err) {
        cmd->ret_conv = r->c.id;
        cmd->ret_seq = ret->seq;
        cmd->ret_id = ret->id;
    }
    return err;
}

enum step engine_step_lookup(struct engine *e, struct resident *r, struct command *cmd)
{
    struct event ev;
    enum confab_err err = find(e, r, cmd, &ev);
    if (err == CONFAB_AGAIN) {
        return STEP_BLOCKED;
    }
    if (!err) {
        engine_lowest_cursors(e, &r->c, cmd);
        cmd->ret = cmd->work->target;
        buf_init(&cmd->work->target);
    }
    engine_complete(e, cmd, err, err ? "message_id" : NULL);
    return STEP_DONE;
}

void engine_lowest_cursors(const struct engine *e, const struct conv *c, struct command *cmd)
{
    conv_lowest_cursors(c, &cmd->ret_delivered, &cmd->ret_read);
    for (uint32_t i = 0; i < c->nmembers && cmd->ret_read.seq > 0; i++) {
        const struct member *m = &c->members[i];
        if (m->role != ROLE_NONE && engine_hides_reading(e, m->user, cmd->actor)) {
            cmd->ret_read = (struct cursor_low){.seq = 0};
        }
    }
}

bool engine_has_block(const struct conv *c)
{
    for (uint32_t i = 0; c->kind == CONV_DIRECT && i < c->nmembers; i++) {
        if (c->members[i].blocks) {
            return true;
        }
    }
    return false;
}

bool engine_hides_reading(const struct engine *e, uint64_t user, uint64_t to)
{
    const struct engine_shared *sh = e->shared;
    return sh->hides && user != to &&
           ((sh->hides(sh->hides_arg, user) | sh->hides(sh->hides_arg, to)) & DIR_HIDES_RECEIPTS);
}

static void put_views(const struct engine *e, const struct conv *c, const struct event *ev,
                      struct command *cmd)
{
    bool hidden = engine_has_block(c);
    bool list = c->nactive <= CONV_STATUS_MEMBERS_MAX;
    uint64_t n = 0;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        const struct member *m = &c->members[i];
        if (m->role == ROLE_NONE || m->user == ev->actor || !member_sees(m, ev->seq)) {
            continue;
        }
        bool delivered = !hidden && MAX(m->delivered_seq, m->read_seq) >= ev->seq;
        bool read =
            delivered && m->read_seq >= ev->seq && !engine_hides_reading(e, m->user, cmd->actor);
        cmd->ret_count++;
        cmd->ret_ndelivered += delivered;
        cmd->ret_nread += read;
        if (!list || m->user <= cmd->at_id || cmd->more || !page_room(cmd, &n)) {
            continue;
        }
        buf_put_varint(&cmd->ret, m->user);
        buf_put_varint(&cmd->ret, delivered ? m->delivered_ms : 0);
        buf_put_varint(&cmd->ret, read ? m->read_ms : 0);
    }
}

enum step engine_step_receipts(struct engine *e, struct resident *r, struct command *cmd)
{
    struct event ev;
    enum confab_err err = find(e, r, cmd, &ev);
    if (err == CONFAB_AGAIN) {
        return STEP_BLOCKED;
    }
    if (!err && ev.kind != EVENT_MESSAGE) {
        err = CONFAB_NOT_FOUND;
    }
    if (!err) {
        put_views(e, &r->c, &ev, cmd);
        err = buf_ok(&cmd->ret) ? CONFAB_OK : CONFAB_NOMEM;
    }
    engine_complete(e, cmd, err, err == CONFAB_NOT_FOUND ? "message_id" : NULL);
    return STEP_DONE;
}

enum step engine_step_audience(struct engine *e, struct resident *r, struct command *cmd)
{
    enum confab_err err = CONFAB_OK;
    cmd->ret_conv = r->c.id;
    if (conv_active(&r->c, cmd->actor) && r->c.nactive > 1 && !engine_has_block(&r->c)) {
        struct member_set *set = resident_set(r);
        cmd->ret_members = set ? member_set_ref(set) : NULL;
        err = set ? CONFAB_OK : CONFAB_NOMEM;
    }
    engine_complete(e, cmd, err, NULL);
    return STEP_DONE;
}

enum step engine_step_circle(struct engine *e, struct resident *r, struct command *cmd)
{
    const struct conv *c = &r->c;
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nentries; i++) {
        n += c->entries[i].joined;
    }
    struct circle *circle = circle_new(cmd->actor, n, c->nblocked);
    n = 0;
    for (uint32_t i = 0; circle && i < c->nentries; i++) {
        if (c->entries[i].joined) {
            circle->convs[n++] = c->entries[i].conv;
        }
    }
    if (circle && c->nblocked > 0) {
        memcpy(circle_blocked(circle), c->blocked, c->nblocked * sizeof(c->blocked[0]));
    }
    cmd->ret_circle = circle;
    engine_complete(e, cmd, circle ? CONFAB_OK : CONFAB_NOMEM, NULL);
    return STEP_DONE;
}
