#include "model.h"

#include <stdlib.h>

#include "base/check.h"
#include "base/hash64.h"
#include "gate.h"
#include "users.h"

/* Stored kinds of log records, as docs/formats/event.md numbers them. */
enum { RECORD_EVENT = 1, RECORD_CURSORS = 2 };

static void *grown(void *items, uint32_t n, size_t size)
{
    /* At powers of two only. */
    if ((n & (n - 1)) != 0) {
        return items;
    }
    void *p = realloc(items, (n == 0 ? 1 : (size_t)n * 2) * size);
    CHECK(p);
    return p;
}

struct model *model_new(struct sim *s)
{
    struct model *m = calloc(1, sizeof(*m));
    CHECK(m);
    m->sim = s;
    idmap_init(&m->by_id, 1);
    u64map_init(&m->ids, 2);
    return m;
}

void model_free(struct model *m)
{
    if (!m) {
        return;
    }
    for (uint32_t i = 0; i < m->nconvs; i++) {
        struct mconv *c = m->convs[i];
        for (uint64_t k = 0; k < c->head; k++) {
            free(c->events[k].bytes);
            free(c->events[k].causes);
        }
        free(c->events);
        free(c->members);
        free(c->entries);
        free(c->hides);
        free(c->blocks);
        free(c);
    }
    free(m->convs);
    idmap_deinit(&m->by_id);
    u64map_deinit(&m->ids);
    free(m);
}

struct mconv *model_conv(const struct model *m, struct conv_id id)
{
    return idmap_get(&m->by_id, id);
}

struct mconv *model_conv_make(struct model *m, struct conv_id id)
{
    struct mconv *c = model_conv(m, id);
    if (!c) {
        c = calloc(1, sizeof(*c));
        CHECK(c);
        c->id = id;
        m->convs = grown(m->convs, m->nconvs, sizeof(struct mconv *));
        m->convs[m->nconvs++] = c;
        CHECK(idmap_put(&m->by_id, id, c) == CONFAB_OK);
    }
    return c;
}

struct mmember *mconv_member(const struct mconv *c, uint64_t user)
{
    for (uint32_t i = 0; i < c->nmembers; i++) {
        if (c->members[i].user == user) {
            return &c->members[i];
        }
    }
    return NULL;
}

struct mmember *mconv_active(const struct mconv *c, uint64_t user)
{
    struct mmember *mm = mconv_member(c, user);
    return mm && mm->role != ROLE_NONE ? mm : NULL;
}

uint32_t mconv_nactive(const struct mconv *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        n += c->members[i].role != ROLE_NONE;
    }
    return n;
}

struct mentry *mconv_entry(const struct mconv *c, struct conv_id conv)
{
    for (uint32_t i = 0; i < c->nentries; i++) {
        if (conv_id_eq(c->entries[i].conv, conv)) {
            return &c->entries[i];
        }
    }
    return NULL;
}

const struct mevent *mconv_event(const struct mconv *c, uint64_t seq)
{
    return seq >= 1 && seq <= c->head ? &c->events[seq - 1] : NULL;
}

const struct mevent *model_by_id(const struct model *m, uint64_t id, struct mconv **ret_conv)
{
    uint64_t at;
    if (!u64map_get(&m->ids, id, &at)) {
        return NULL;
    }
    struct mconv *c = m->convs[at - 1];
    uint64_t lo = 0;
    uint64_t hi = c->head;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (c->events[mid].ev.id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *ret_conv = c;
    return &c->events[lo];
}

/* ---- who sees what ----------------------------------------------------------------------- */

enum sight model_sees(const struct model *m, const struct mconv *c, uint64_t user, uint64_t seq)
{
    const struct mmember *mm = mconv_member(c, user);
    bool inside = false;
    for (uint32_t i = 0; mm && i < mm->nintervals; i++) {
        inside |= seq >= mm->intervals[i].from && seq <= mm->intervals[i].to;
    }
    if (!inside) {
        return SIGHT_NO;
    }
    const struct mconv *self = model_conv(m, conv_id_self(user));
    enum sight sight = SIGHT_YES;
    for (uint32_t i = 0; self && i < self->nhides; i++) {
        const struct mhide *h = &self->hides[i];
        if (conv_id_eq(h->conv, c->id) && seq >= h->from && seq <= h->to) {
            sight = h->sure ? SIGHT_NO : MIN(sight, SIGHT_MAYBE);
        }
        if (sight == SIGHT_NO) {
            break;
        }
    }
    return sight;
}

uint64_t mmember_first(const struct mmember *m)
{
    uint64_t first = UINT64_MAX;
    for (uint32_t i = 0; i < m->nintervals; i++) {
        first = MIN(first, m->intervals[i].from);
    }
    return first;
}

uint64_t mmember_last(const struct mconv *c, const struct mmember *m)
{
    return m->nintervals == 0 ? 0 : MIN(m->intervals[m->nintervals - 1].to, c->head);
}

static enum sight blocks(const struct model *m, uint64_t user, uint64_t other)
{
    const struct mconv *self = model_conv(m, conv_id_self(user));
    for (uint32_t i = 0; self && i < self->nblocks; i++) {
        const struct mblock *b = &self->blocks[i];
        if (b->user == other) {
            return !b->sure ? SIGHT_MAYBE : b->on ? SIGHT_YES : SIGHT_NO;
        }
    }
    return SIGHT_NO;
}

enum sight model_blocked(const struct model *m, const struct mconv *c)
{
    if (c->kind != CONV_DIRECT || c->nmembers != 2) {
        return SIGHT_NO;
    }
    enum sight a = blocks(m, c->members[0].user, c->members[1].user);
    enum sight b = blocks(m, c->members[1].user, c->members[0].user);
    return MAX(a, b);
}

/* ---- what an event looks like ------------------------------------------------------------ */

void mconv_message(const struct mconv *c, const struct mevent *e, uint32_t ncauses,
                   struct event *ret)
{
    *ret = e->ev;
    for (uint32_t i = 0; i < ncauses && !(ret->flags & EVENT_DELETED); i++) {
        const struct event *cause = &c->events[e->causes[i] - 1].ev;
        if (cause->kind == EVENT_EDIT) {
            ret->text = cause->text;
            ret->flags = EVENT_EDITED;
            ret->edit_seq = cause->seq;
        } else {
            ret->text = span_of(NULL, 0);
            ret->mentions = span_of(NULL, 0);
            ret->flags = EVENT_DELETED;
            ret->edit_seq = 0;
        }
    }
}

static bool same_base(const struct event *a, const struct event *b)
{
    return a->kind == b->kind && a->seq == b->seq && a->ord == b->ord && a->id == b->id &&
           a->actor == b->actor && a->type == b->type && a->value == b->value &&
           a->user == b->user && a->target_seq == b->target_seq && a->target_id == b->target_id &&
           a->range_from == b->range_from && a->range_to == b->range_to &&
           a->src_seq == b->src_seq && conv_id_eq(a->conv, b->conv) && span_eq(a->cmid, b->cmid) &&
           span_eq(a->members, b->members);
}

static uint32_t causes_to(const struct mevent *e, uint64_t head)
{
    uint32_t n = 0;
    while (n < e->ncauses && e->causes[n] <= head) {
        n++;
    }
    return n;
}

/* An edit shows its text until a later edit or deletion of the same message. */
static const char *wrong_edit(const struct mconv *c, const struct event *ev, uint64_t lo,
                              uint64_t hi)
{
    const struct mevent *own = mconv_event(c, ev->seq);
    const struct mevent *target = mconv_event(c, own->ev.target_seq);
    uint64_t next = 0;
    for (uint32_t i = 0; target && i < target->ncauses && next == 0; i++) {
        next = target->causes[i] > ev->seq ? target->causes[i] : 0;
    }
    bool blank = ev->flags & EVENT_BLANK;
    if (blank ? next == 0 || next > hi : next > 0 && next <= lo) {
        return blank ? "an edit is blank too early" : "an edit still shows what was replaced";
    }
    if (blank ? ev->text.n > 0 : !span_eq(ev->text, own->ev.text)) {
        return "text of an edit";
    }
    return NULL;
}

/* What a later draft has replaced is not kept. */
static const char *wrong_draft(const struct mevent *own, const struct event *ev, uint64_t lo,
                               uint64_t hi)
{
    uint64_t next = own->ncauses > 0 ? own->causes[0] : 0;
    bool blank = ev->flags & EVENT_BLANK;
    if (blank ? next == 0 || next > hi : next > 0 && next <= lo) {
        return blank ? "a draft is blank too early" : "a draft still shows what was replaced";
    }
    return (blank ? ev->text.n == 0 : span_eq(ev->text, own->ev.text)) ? NULL : "text of a draft";
}

const char *mconv_wrong(const struct mconv *c, const struct event *ev, uint64_t lo, uint64_t hi)
{
    const struct mevent *own = mconv_event(c, ev->seq);
    if (!own) {
        return "no such event";
    }
    if (!same_base(&own->ev, ev)) {
        return "another event";
    }
    if (ev->kind == EVENT_EDIT) {
        return wrong_edit(c, ev, lo, hi);
    }
    if (ev->kind == EVENT_DRAFT) {
        return wrong_draft(own, ev, lo, hi);
    }
    if (ev->kind != EVENT_MESSAGE) {
        return span_eq(ev->text, own->ev.text) && ev->flags == own->ev.flags ? NULL : "text";
    }
    for (uint32_t n = causes_to(own, lo); n <= causes_to(own, hi); n++) {
        struct event want;
        mconv_message(c, own, n, &want);
        if (want.flags == ev->flags && want.edit_seq == ev->edit_seq &&
            span_eq(want.text, ev->text) && span_eq(want.mentions, ev->mentions)) {
            return NULL;
        }
    }
    return "content of a message";
}

/* ---- rules ------------------------------------------------------------------------------- */

/* What the documentation's table says, in its own words: guest, member, moderator, admin, owner. */
static int power(uint8_t role)
{
    switch (role) {
    case ROLE_OWNER:
        return 5;
    case ROLE_ADMIN:
        return 4;
    case ROLE_MODERATOR:
        return 3;
    case ROLE_MEMBER:
        return 2;
    case ROLE_GUEST:
        return 1;
    default:
        return 0;
    }
}

static bool may(const struct mmember *me, int least)
{
    return power(me->role) >= least;
}

static enum confab_err judge_send(const struct model *m, const struct mconv *c,
                                  const struct mmember *me)
{
    if ((c->settings & SETTING_SEND_ADMINS) && !may(me, 4)) {
        return CONFAB_FORBIDDEN;
    }
    if (c->kind == CONV_DIRECT && mconv_nactive(c) < c->nmembers) {
        return CONFAB_GONE;
    }
    enum sight blocked = model_blocked(m, c);
    if (blocked == SIGHT_YES) {
        return CONFAB_BLOCKED;
    }
    return blocked == SIGHT_MAYBE ? CONFAB_AGAIN : CONFAB_OK;
}

static enum confab_err judge_message(const struct model *m, const struct mconv *c,
                                     const struct mmember *me, const struct event *in)
{
    enum confab_err err = judge_send(m, c, me);
    if (err && err != CONFAB_AGAIN) {
        return err;
    }
    if (in->text.n == 0) {
        return err ? err : CONFAB_INVALID;
    }
    if (in->target_id != 0) {
        struct mconv *where;
        const struct mevent *target = model_by_id(m, in->target_id, &where);
        enum sight sight =
            target && where == c ? model_sees(m, c, me->user, target->ev.seq) : SIGHT_NO;
        if (sight == SIGHT_NO || target->ev.kind != EVENT_MESSAGE) {
            return err ? err : CONFAB_NOT_FOUND;
        }
        err = sight == SIGHT_MAYBE ? CONFAB_AGAIN : err;
    }
    return err;
}

static enum confab_err judge_change(const struct model *m, const struct mconv *c,
                                    const struct mmember *me, const struct event *in)
{
    struct mconv *where;
    const struct mevent *target = model_by_id(m, in->target_id, &where);
    if (!target || where != c) {
        return CONFAB_NOT_FOUND;
    }
    enum sight sight = model_sees(m, c, me->user, target->ev.seq);
    struct event now;
    mconv_message(c, target, target->ncauses, &now);
    if (sight == SIGHT_NO || now.kind != EVENT_MESSAGE || (now.flags & EVENT_DELETED)) {
        return CONFAB_NOT_FOUND;
    }
    bool cleans = in->kind == EVENT_DELETE && c->kind == CONV_GROUP && may(me, 3);
    if (now.actor != me->user && !cleans) {
        return sight == SIGHT_MAYBE ? CONFAB_AGAIN : CONFAB_FORBIDDEN;
    }
    if (sight == SIGHT_MAYBE) {
        return CONFAB_AGAIN;
    }
    return in->kind == EVENT_EDIT ? judge_send(m, c, me) : CONFAB_OK;
}

static uint32_t owners(const struct mconv *c)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nmembers; i++) {
        n += c->members[i].role == ROLE_OWNER;
    }
    return n;
}

static enum confab_err judge_add(const struct mconv *c, const struct mmember *me,
                                 const struct event *in)
{
    if (!may(me, (c->settings & SETTING_INVITE_ADMINS) ? 4 : 2)) {
        return CONFAB_FORBIDDEN;
    }
    struct reader r = reader_of(in->members.p, in->members.n);
    uint64_t user;
    uint8_t role;
    while (event_members_next(&r, &user, &role)) {
        if (!mconv_active(c, user)) {
            return CONFAB_OK;
        }
    }
    return CONFAB_EXISTS;
}

static enum confab_err judge_group(const struct mconv *c, const struct mmember *me,
                                   const struct event *in)
{
    const struct mmember *other = mconv_active(c, in->user);
    if (in->kind == EVENT_LEAVE && in->value == LEAVE_DELETED) {
        return CONFAB_OK;
    }
    if (c->kind != CONV_GROUP) {
        return CONFAB_CONFLICT;
    }
    switch (in->kind) {
    case EVENT_ADD:
        return judge_add(c, me, in);
    case EVENT_REMOVE:
        if (in->user == me->user) {
            return CONFAB_INVALID;
        }
        if (!other) {
            return CONFAB_NOT_FOUND;
        }
        return me->role == ROLE_OWNER || (may(me, 3) && power(me->role) > power(other->role))
                   ? CONFAB_OK
                   : CONFAB_FORBIDDEN;
    case EVENT_ROLE:
        if (me->role != ROLE_OWNER) {
            return CONFAB_FORBIDDEN;
        }
        if (!other) {
            return CONFAB_NOT_FOUND;
        }
        if (other->role == in->value) {
            return CONFAB_EXISTS;
        }
        return other->role == ROLE_OWNER && owners(c) == 1 ? CONFAB_CONFLICT : CONFAB_OK;
    case EVENT_RENAME:
    case EVENT_SETTINGS:
        return !may(me, 4) ? CONFAB_FORBIDDEN : CONFAB_OK;
    default:
        return CONFAB_OK; /* leave */
    }
}

static enum confab_err judge_self(const struct mconv *c, uint64_t actor, const struct event *in)
{
    const struct mentry *e = mconv_entry(c, in->conv);
    if (!conv_id_eq(c->id, conv_id_self(actor))) {
        return CONFAB_INVALID;
    }
    switch (in->kind) {
    case EVENT_JOINED:
    case EVENT_LEFT:
        return e && e->src_seq >= in->src_seq ? CONFAB_EXISTS : CONFAB_OK;
    case EVENT_MUTE:
    case EVENT_PIN:
        return e && e->joined ? CONFAB_OK : CONFAB_NOT_FOUND;
    case EVENT_DRAFT:
        if (!e || !e->joined) {
            return CONFAB_NOT_FOUND;
        }
        return e->draft == model_draft(in->text) ? CONFAB_EXISTS : CONFAB_OK;
    case EVENT_HIDE:
        return e || conv_id_eq(in->conv, c->id) ? CONFAB_OK : CONFAB_NOT_FOUND;
    case EVENT_CLOSE:
        return CONFAB_OK;
    default:
        break;
    }
    bool on = false;
    for (uint32_t i = 0; i < c->nblocks; i++) {
        on |= c->blocks[i].user == in->user && c->blocks[i].on;
    }
    return in->user == actor ? CONFAB_INVALID : on == (in->value == 1) ? CONFAB_EXISTS : CONFAB_OK;
}

enum confab_err model_judge(const struct model *m, const struct mconv *c, uint64_t actor,
                            const struct event *in)
{
    const struct mmember *me = mconv_active(c, actor);
    if (in->kind == EVENT_CREATE) {
        return c->kind == CONV_NONE ? CONFAB_OK : CONFAB_EXISTS;
    }
    if (in->kind >= EVENT_JOINED) {
        return judge_self(c, actor, in);
    }
    if (!me) {
        return CONFAB_NOT_FOUND;
    }
    switch (in->kind) {
    case EVENT_MESSAGE:
        return judge_message(m, c, me, in);
    case EVENT_EDIT:
    case EVENT_DELETE:
        return judge_change(m, c, me, in);
    default:
        return judge_group(c, me, in);
    }
}

/* ---- fold -------------------------------------------------------------------------------- */

static void cursor_known(struct mmember *mm, uint64_t read, uint64_t delivered)
{
    mm->read_lo = MAX(mm->read_lo, read);
    mm->delivered_lo = MAX(mm->delivered_lo, MAX(read, delivered));
    mm->cursor_hi = MAX(mm->cursor_hi, mm->delivered_lo);
}

static void enter(struct mconv *c, const struct event *ev, uint64_t user, uint8_t role)
{
    struct mmember *mm = mconv_member(c, user);
    if (!mm) {
        c->members = grown(c->members, c->nmembers, sizeof(*c->members));
        mm = &c->members[c->nmembers++];
        *mm = (struct mmember){.user = user};
    }
    uint64_t from = (c->settings & SETTING_HISTORY_JOINED) ? ev->seq : 1;
    if (mm->nintervals > 0 && from <= mm->intervals[mm->nintervals - 1].from) {
        mm->nintervals = 0; /* all of it is visible now, what lay between included */
    }
    CHECK(mm->nintervals < MODEL_INTERVALS_MAX);
    mm->intervals[mm->nintervals++] = (struct range){from, UINT64_MAX};
    mm->role = role;
    cursor_known(mm, ev->seq, ev->seq);
}

static void leave(struct mconv *c, const struct event *ev, uint64_t user)
{
    struct mmember *mm = mconv_active(c, user);
    CHECK(mm);
    mm->role = ROLE_NONE;
    mm->intervals[mm->nintervals - 1].to = ev->seq;
}

static void enter_all(struct mconv *c, const struct event *ev)
{
    struct reader r = reader_of(ev->members.p, ev->members.n);
    uint64_t user;
    uint8_t role;
    while (event_members_next(&r, &user, &role)) {
        enter(c, ev, user, role);
    }
}

static void add_cause(struct mconv *c, const struct event *ev)
{
    struct mevent *target = &c->events[ev->target_seq - 1];
    target->causes = grown(target->causes, target->ncauses, sizeof(*target->causes));
    target->causes[target->ncauses++] = ev->seq;
}

static void fold_block(struct mconv *c, const struct event *ev)
{
    struct mblock *b = NULL;
    for (uint32_t i = 0; i < c->nblocks && !b; i++) {
        b = c->blocks[i].user == ev->user ? &c->blocks[i] : NULL;
    }
    if (!b) {
        c->blocks = grown(c->blocks, c->nblocks, sizeof(*c->blocks));
        b = &c->blocks[c->nblocks++];
    }
    *b = (struct mblock){.user = ev->user, .on = ev->value != 0, .sure = false};
}

uint64_t model_draft(struct span text)
{
    return text.n == 0 ? 0 : hash64(text.p, text.n, 1) | 1;
}

static void fold_self(struct model *m, struct mconv *c, const struct event *ev)
{
    if (c->kind == CONV_NONE) {
        c->kind = CONV_SELF;
        enter(c, ev, ev->actor, ROLE_OWNER);
    }
    struct mentry *e = mconv_entry(c, ev->conv);
    switch (ev->kind) {
    case EVENT_JOINED:
    case EVENT_LEFT:
        if (!e) {
            c->entries = grown(c->entries, c->nentries, sizeof(*c->entries));
            e = &c->entries[c->nentries++];
            *e = (struct mentry){.conv = ev->conv};
        }
        e->src_seq = ev->src_seq;
        e->kind = (uint8_t)ev->type;
        e->joined = ev->kind == EVENT_JOINED;
        e->draft = e->joined ? e->draft : 0;
        e->since_ms = event_time_ms(ev);
        break;
    case EVENT_MUTE:
        e->muted = ev->value;
        break;
    case EVENT_PIN:
        e->pinned = ev->value != 0;
        break;
    case EVENT_DRAFT:
        e->draft = model_draft(ev->text);
        if (ev->target_seq > 0) {
            add_cause(c, ev);
        }
        break;
    case EVENT_HIDE:
        c->hides = grown(c->hides, c->nhides, sizeof(*c->hides));
        c->hides[c->nhides++] =
            (struct mhide){.conv = ev->conv, .from = ev->range_from, .to = ev->range_to};
        model_conv_make(m, ev->conv)->version++;
        model_conv_make(m, ev->conv)->members_version++;
        break;
    case EVENT_CLOSE:
        c->closed = true;
        break;
    default:
        fold_block(c, ev);
        model_conv_make(m, conv_id_direct(ev->actor, ev->user))->version++;
        break;
    }
}

static void fold(struct model *m, struct mconv *c, const struct event *ev)
{
    struct mmember *me = mconv_active(c, ev->actor);
    struct mmember *other = mconv_active(c, ev->user);
    switch (ev->kind) {
    case EVENT_CREATE:
        c->kind = (uint8_t)ev->type;
        c->settings = ev->value;
        c->name_len = ev->text.n;
        memcpy(c->name, ev->text.p ? ev->text.p : (const uint8_t *)"", ev->text.n);
        enter_all(c, ev);
        break;
    case EVENT_MESSAGE:
        cursor_known(me, ev->seq, ev->seq);
        break;
    case EVENT_EDIT:
    case EVENT_DELETE:
        add_cause(c, ev);
        break;
    case EVENT_ADD:
        enter_all(c, ev);
        break;
    case EVENT_REMOVE:
        leave(c, ev, ev->user);
        break;
    case EVENT_LEAVE:
        if (other) {
            other->role = ROLE_OWNER;
        }
        leave(c, ev, ev->actor);
        break;
    case EVENT_ROLE:
        other->role = (uint8_t)ev->value;
        break;
    case EVENT_RENAME:
        c->name_len = ev->text.n;
        memcpy(c->name, ev->text.p, ev->text.n);
        break;
    case EVENT_SETTINGS:
        c->settings = ev->value;
        break;
    default:
        fold_self(m, c, ev);
        break;
    }
}

/* A follow-up must come from an event that says so. */
static void check_source(struct model *m, const struct event *ev)
{
    const struct mconv *src = model_conv(m, ev->conv);
    const struct mevent *e = src ? mconv_event(src, ev->src_seq) : NULL;
    bool ok = false;
    if (e && ev->kind == EVENT_LEFT) {
        ok = (e->ev.kind == EVENT_REMOVE && e->ev.user == ev->actor) ||
             (e->ev.kind == EVENT_LEAVE && e->ev.actor == ev->actor);
    } else if (e && (e->ev.kind == EVENT_CREATE || e->ev.kind == EVENT_ADD)) {
        struct reader r = reader_of(e->ev.members.p, e->ev.members.n);
        uint64_t user;
        uint8_t role;
        while (event_members_next(&r, &user, &role)) {
            ok |= user == ev->actor;
        }
    }
    SIM_CHECK(m->sim, ok, "follow-ups follow from something",
              "user %llu, source " CONV_FMT " seq %llu", (unsigned long long)ev->actor,
              CONV_ARG(ev->conv), (unsigned long long)ev->src_seq);
}

static void check_new(struct model *m, struct mconv *c, const struct event *ev)
{
    struct sim *s = m->sim;
    unsigned long long seq = ev->seq;
    SIM_CHECK(s, ev->seq == c->head + 1, "seqs are dense and in order",
              CONV_FMT ": seq %llu after %llu", CONV_ARG(c->id), seq, (unsigned long long)c->head);
    const struct mevent *last = mconv_event(c, c->head);
    SIM_CHECK(s, !last || ev->id > last->ev.id, "message ids rise with seq", CONV_FMT " seq %llu",
              CONV_ARG(c->id), seq);
    uint64_t ord = (last ? last->ev.ord : 0) + (ev->kind == EVENT_MESSAGE);
    SIM_CHECK(s, ev->ord == ord, "ordinals count messages", CONV_FMT " seq %llu", CONV_ARG(c->id),
              seq);
    SIM_CHECK(s, message_id_partition(ev->id) == conv_id_partition(c->id),
              "message ids name their partition", CONV_FMT " seq %llu", CONV_ARG(c->id), seq);
    SIM_CHECK(s, !u64map_has(&m->ids, ev->id), "message ids are unique", CONV_FMT " seq %llu",
              CONV_ARG(c->id), seq);
    enum confab_err err = model_judge(m, c, ev->actor, ev);
    SIM_CHECK(s, !err || err == CONFAB_AGAIN, "nobody does what they may not",
              CONV_FMT " seq %llu kind %u by %llu: %s", CONV_ARG(c->id), seq, ev->kind,
              (unsigned long long)ev->actor, err_text(err));
    if (ev->kind == EVENT_JOINED || ev->kind == EVENT_LEFT) {
        check_source(m, ev);
    }
    if (ev->kind == EVENT_LEAVE && ev->value == LEAVE_DELETED) {
        const struct mconv *own = model_conv(m, conv_id_self(ev->actor));
        SIM_CHECK(s, own && own->closed, "follow-ups follow from something",
                  CONV_FMT " seq %llu: a leave of an account that is there", CONV_ARG(c->id), seq);
    }
    if (ev->kind == EVENT_EDIT || ev->kind == EVENT_DELETE) {
        const struct mevent *target = mconv_event(c, ev->target_seq);
        SIM_CHECK(s, target && target->ev.id == ev->target_id, "targets are what they say",
                  CONV_FMT " seq %llu", CONV_ARG(c->id), seq);
    }
}

static void learn(struct model *m, struct mconv *c, const struct event *ev)
{
    struct sim *s = m->sim;
    check_new(m, c, ev);
    if (c->head == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 8;
        c->events = realloc(c->events, c->cap * sizeof(*c->events));
        CHECK(c->events);
    }
    struct buf b = {0};
    event_encode(&b, ev);
    struct mevent *e = &c->events[c->head++];
    size_t n;
    *e = (struct mevent){.bytes = NULL};
    e->bytes = buf_detach(&b, &n);
    CHECK(event_decode(span_of(e->bytes, n), &e->ev) == CONFAB_OK);
    uint32_t at = 0;
    while (m->convs[at] != c) {
        at++;
    }
    CHECK(u64map_put(&m->ids, ev->id, at + 1U) == CONFAB_OK);
    fold(m, c, &e->ev);
    c->version++;
    c->members_version +=
        ev->kind != EVENT_MESSAGE && ev->kind != EVENT_EDIT && ev->kind != EVENT_DELETE;
    s->result.counts.events++;
    s->result.counts.messages += ev->kind == EVENT_MESSAGE;
    if (c->kind == CONV_GROUP) {
        SIM_CHECK(s, mconv_nactive(c) == 0 || owners(c) > 0, "a group has an owner", CONV_FMT,
                  CONV_ARG(c->id));
    }
    if (s->gate) {
        gate_saw_event(s, c, &e->ev);
    } else {
        users_saw_event(s, c, &e->ev);
    }
}

void model_durable(struct model *m, const struct log_record *rec)
{
    struct event ev;
    if (rec->kind != RECORD_EVENT) {
        return;
    }
    struct mconv *c = model_conv_make(m, conv_id_read(rec->data.p));
    SIM_CHECK(m->sim, !event_decode(span_of(rec->data.p + 16, rec->data.n - 16), &ev),
              "logged events can be decoded", CONV_FMT, CONV_ARG(c->id));
    SIM_CHECK(m->sim, ev.seq == c->durable + 1, "the log has every seq once",
              CONV_FMT ": seq %llu after %llu", CONV_ARG(c->id), (unsigned long long)ev.seq,
              (unsigned long long)c->durable);
    c->durable = ev.seq;
    if (m->sim->gate) {
        learn(m, c, &ev); /* what is published there goes to shards and clients, unseen */
    }
}

/* First to those who see the message, then, without its content, to the others. */
static void edit_published(struct model *m, struct mconv *c, const struct publication *pub)
{
    struct sim *s = m->sim;
    bool blank = (pub->ev.flags & EVENT_BLANK) != 0;
    if (!blank) {
        learn(m, c, &pub->ev);
        c->told = 0;
    }
    c->told += pub->members->n;
    uint32_t n = mconv_nactive(c);
    SIM_CHECK(s, pub->ev.seq == c->head && c->told <= n && (!blank || c->told == n),
              "an event goes to the members", CONV_FMT " seq %llu: %u of %u", CONV_ARG(c->id),
              (unsigned long long)pub->ev.seq, c->told, n);
    for (uint32_t i = 0; i < pub->members->n; i++) {
        uint64_t user = pub->members->users[i];
        enum sight sight = model_sees(m, c, user, pub->ev.target_seq);
        SIM_CHECK(s, mconv_active(c, user) && sight != (blank ? SIGHT_YES : SIGHT_NO),
                  "an event goes to the members", CONV_FMT " seq %llu: user %llu", CONV_ARG(c->id),
                  (unsigned long long)pub->ev.seq, (unsigned long long)user);
    }
    SIM_CHECK(s, !blank || pub->ev.text.n == 0, "nobody sees what they may not",
              CONV_FMT " seq %llu", CONV_ARG(c->id), (unsigned long long)pub->ev.seq);
}

void model_published(struct model *m, uint16_t shard, const struct publication *pub)
{
    struct sim *s = m->sim;
    (void)shard;
    struct mconv *c = model_conv_make(m, pub->conv);
    SIM_CHECK(s, pub->ev.seq <= c->durable, "nothing is shown before it is durable",
              CONV_FMT ": seq %llu above %llu", CONV_ARG(c->id), (unsigned long long)pub->ev.seq,
              (unsigned long long)c->durable);
    if (pub->ev.kind == EVENT_EDIT) {
        edit_published(m, c, pub);
        return;
    }
    bool ends = pub->ev.kind == EVENT_REMOVE || pub->ev.kind == EVENT_LEAVE;
    uint64_t gone = pub->ev.kind == EVENT_REMOVE ? pub->ev.user : pub->ev.actor;
    learn(m, c, &pub->ev);
    uint32_t want = mconv_nactive(c) + ends;
    SIM_CHECK(s, pub->members->n == want, "an event goes to the members",
              CONV_FMT " seq %llu: %u of %u", CONV_ARG(c->id), (unsigned long long)pub->ev.seq,
              pub->members->n, want);
    for (uint32_t i = 0; i < pub->members->n; i++) {
        uint64_t user = pub->members->users[i];
        SIM_CHECK(s, mconv_active(c, user) || (ends && user == gone),
                  "an event goes to the members", CONV_FMT " seq %llu: user %llu", CONV_ARG(c->id),
                  (unsigned long long)pub->ev.seq, (unsigned long long)user);
    }
    SIM_CHECK(s,
              s->options.bug == BUG_REORDERED || span_eq(pub->name, span_of(c->name, c->name_len)),
              "publications carry the name", CONV_FMT, CONV_ARG(c->id));
    SIM_CHECK(s, pub->conv_kind == c->kind, "publications carry the kind", CONV_FMT,
              CONV_ARG(c->id));
}

/* To the authors of what it covers and to its user; to everyone when that was not known. */
static void receipt_addressed(struct sim *s, const struct mconv *c, const struct receipt *rc)
{
    uint32_t wrote = member_set_has(rc->members, rc->user);
    for (uint32_t i = 0; i < rc->members->n; i++) {
        bool author = false;
        for (uint64_t seq = rc->from_seq; seq <= rc->seq && !author; seq++) {
            const struct event *ev = &mconv_event(c, seq)->ev;
            author = ev->kind == EVENT_MESSAGE && ev->actor == rc->members->users[i];
        }
        wrote += author && rc->members->users[i] != rc->user;
    }
    SIM_CHECK(s, wrote == rc->members->n || rc->members == rc->all, "receipts go to authors",
              CONV_FMT " user %llu: %llu-%llu", CONV_ARG(c->id), (unsigned long long)rc->user,
              (unsigned long long)rc->from_seq, (unsigned long long)rc->seq);
    for (uint64_t seq = rc->from_seq; seq <= rc->seq; seq++) {
        const struct event *ev = &mconv_event(c, seq)->ev;
        SIM_CHECK(s,
                  ev->kind != EVENT_MESSAGE || !member_set_has(rc->all, ev->actor) ||
                      member_set_has(rc->members, ev->actor),
                  "receipts go to authors", CONV_FMT " seq %llu", CONV_ARG(c->id),
                  (unsigned long long)seq);
    }
}

void model_receipt(struct model *m, const struct receipt *rc)
{
    struct sim *s = m->sim;
    struct mconv *c = model_conv(m, rc->conv);
    struct mmember *mm = c ? mconv_member(c, rc->user) : NULL;
    SIM_CHECK(s, mm, "receipts are of members", CONV_FMT, CONV_ARG(rc->conv));
    uint64_t *last = rc->read ? &mm->receipt_read : &mm->receipt_delivered;
    SIM_CHECK(s, rc->from_seq > *last && rc->seq >= rc->from_seq && rc->seq <= c->head,
              "cursors only rise", CONV_FMT " user %llu: %llu-%llu after %llu", CONV_ARG(c->id),
              (unsigned long long)rc->user, (unsigned long long)rc->from_seq,
              (unsigned long long)rc->seq, (unsigned long long)*last);
    SIM_CHECK(s, rc->seq <= mm->cursor_hi, "cursors go where they were asked to",
              CONV_FMT " user %llu: %llu above %llu", CONV_ARG(c->id), (unsigned long long)rc->user,
              (unsigned long long)rc->seq, (unsigned long long)mm->cursor_hi);
    SIM_CHECK(s, rc->id == 0 || rc->id == c->events[rc->seq - 1].ev.id, "receipts name messages",
              CONV_FMT " seq %llu", CONV_ARG(c->id), (unsigned long long)rc->seq);
    receipt_addressed(s, c, rc);
    *last = rc->seq;
    cursor_known(mm, rc->read ? rc->seq : 0, rc->seq);
}

void model_recovered(struct model *m, const struct journal_record *rec)
{
    struct log_record lr = {.lsn = rec->lsn,
                            .partition = rec->partition,
                            .kind = rec->kind,
                            .data = span_of(rec->bytes, rec->len)};
    model_durable(m, &lr);
    if (rec->kind == RECORD_EVENT) {
        m->sim->result.counts.unknown_found++;
    }
    if (rec->kind == RECORD_EVENT && !m->sim->gate) {
        struct event ev;
        CHECK(event_decode(span_of(rec->bytes + 16, rec->len - 16), &ev) == CONFAB_OK);
        learn(m, model_conv(m, conv_id_read(rec->bytes)), &ev);
    }
}

void model_down(struct model *m)
{
    for (uint32_t i = 0; i < m->nconvs; i++) {
        m->convs[i]->version++;
        m->convs[i]->members_version++;
    }
}

void model_quiet(struct model *m)
{
    for (uint32_t i = 0; i < m->nconvs; i++) {
        struct mconv *c = m->convs[i];
        c->quiet_head = c->head;
        for (uint32_t k = 0; k < c->nhides; k++) {
            c->hides[k].sure = true;
        }
        for (uint32_t k = 0; k < c->nblocks; k++) {
            c->blocks[k].sure = true;
        }
    }
}
