/*
 * From a durable record on: it is folded into its conversation, what it changes in earlier events
 * is kept until it is stored, and its effects leave: the publication, the answer, receipts,
 * follow-ups.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

/* A conversation with so many overlays is flushed before it is due. */
enum { OVERLAYS_SOON = 1024 };

void partition_stop(struct partition *p, enum confab_err err)
{
    if (!p->stopped) {
        p->stopped = err;
        if (!*p->any_stopped) {
            *p->any_stopped = err;
        }
    }
}

void resident_mark_dirty(struct resident *r)
{
    if (!list_is_linked(&r->dirty)) {
        list_remove(&r->lru); /* it comes back when it is flushed */
        list_push_back(&r->p->dirty, &r->dirty);
    }
}

void engine_part_folded(struct engine *e, struct partition *p, uint64_t lsn, size_t bytes,
                        uint64_t ms)
{
    if (p->first_dirty_lsn == UINT64_MAX) {
        p->first_dirty_lsn = lsn;
        p->dirty_since_ms = e->now_ms;
    }
    p->folded_lsn = MAX(p->folded_lsn, lsn + 1);
    p->dirty_bytes += bytes;
    e->dirty_bytes += bytes;
    uint64_t seen = atomic_load_explicit(&e->shared->log_clock_ms, memory_order_relaxed);
    while (ms > seen && !atomic_compare_exchange_weak(&e->shared->log_clock_ms, &seen, ms)) {
    }
}

static bool grow(void **items, uint32_t n, uint32_t *cap, size_t size)
{
    if (n < *cap) {
        return true;
    }
    uint32_t want = *cap ? *cap * 2 : 4;
    void *p = realloc(*items, (size_t)want * size);
    if (p) {
        *items = p;
        *cap = want;
    }
    return p != NULL;
}

/* Rewrites an event that is in memory; the old bytes stay while a flush may read them. */
static enum confab_err patch_slot(struct resident *r, struct slot *s, const struct event *cause)
{
    struct event victim;
    if (event_decode(span_of(s->bytes, s->len), &victim) || !event_patch(cause, &victim)) {
        return CONFAB_OK;
    }
    struct buf b = {0};
    event_encode(&b, &victim);
    if (!buf_ok(&b)) {
        buf_deinit(&b);
        return CONFAB_NOMEM;
    }
    void *garbage = r->garbage;
    bool kept = s->own && r->flushing;
    if (kept && !grow(&garbage, r->ngarbage, &r->cap_garbage, sizeof(*r->garbage))) {
        buf_deinit(&b);
        return CONFAB_NOMEM;
    }
    r->garbage = garbage;
    if (kept) {
        r->garbage[r->ngarbage++] = *s;
        r->patch_bytes += s->len;
    } else if (s->own) {
        free(s->bytes);
    }
    size_t len;
    uint8_t *bytes = buf_detach(&b, &len);
    resident_slot_replace(r, s, bytes, (uint32_t)len);
    return CONFAB_OK;
}

static enum confab_err add_overlay(struct resident *r, uint64_t seq, struct span cause)
{
    void *items = r->overlays;
    if (!grow(&items, r->noverlays, &r->cap_overlays, sizeof(*r->overlays))) {
        return CONFAB_NOMEM;
    }
    r->overlays = items;
    uint8_t *copy = malloc(cause.n);
    if (!copy) {
        return CONFAB_NOMEM;
    }
    memcpy(copy, cause.p, cause.n);
    uint32_t at = overlay_place(r->overlays, r->noverlays, seq + 1);
    memmove(&r->overlays[at + 1], &r->overlays[at], (r->noverlays - at) * sizeof(*r->overlays));
    r->overlays[at] = (struct overlay){
        .target_seq = seq, .cause = {.bytes = copy, .len = (uint32_t)cause.n, .own = true}};
    r->noverlays++;
    r->patch_bytes += cause.n;
    if (r->noverlays >= OVERLAYS_SOON) {
        r->p->dirty_since_ms = 0; /* old enough: each may stand for a chunk to be written again */
    }
    return CONFAB_OK;
}

static enum confab_err apply_patches(struct resident *r, const struct event *ev, struct span bytes)
{
    uint64_t seqs[2];
    int n = event_patch_targets(ev, seqs);
    enum confab_err err = CONFAB_OK;
    for (int i = 0; i < n && !err; i++) {
        struct slot *s = resident_slot(r, seqs[i]);
        if (s) {
            err = patch_slot(r, s, ev);
        }
        if (!err && seqs[i] <= MAX(r->flushed_seq, r->flushing_seq)) {
            err = add_overlay(r, seqs[i], bytes);
        }
    }
    return err;
}

enum confab_err engine_feed_add(struct partition *p, const struct event *ev, struct conv_id conv)
{
    void *items = p->feed;
    if (!grow(&items, p->nfeed, &p->cap_feed, sizeof(*p->feed))) {
        return CONFAB_NOMEM;
    }
    p->feed = items;
    p->feed[p->nfeed++] = (struct feed_entry){ev->id, conv, ev->seq};
    return CONFAB_OK;
}

static enum confab_err project_add(struct engine *e, struct partition *p, const struct event *ev,
                                   uint64_t lsn)
{
    if (!e->directory || (ev->kind != EVENT_JOINED && ev->kind != EVENT_LEFT)) {
        return CONFAB_OK;
    }
    void *items = p->project;
    if (!grow(&items, p->nproject, &p->cap_project, sizeof(*p->project))) {
        return CONFAB_NOMEM;
    }
    p->project = items;
    p->project[p->nproject++] = (struct dir_conv_row){.user_id = ev->actor,
                                                      .conv = ev->conv,
                                                      .lsn = lsn,
                                                      .since_ms = event_time_ms(ev),
                                                      .conv_kind = (uint8_t)ev->type,
                                                      .joined = ev->kind == EVENT_JOINED};
    return CONFAB_OK;
}

enum confab_err engine_fold_event(struct engine *e, struct resident *r, struct span bytes,
                                  uint64_t lsn, const struct event *ev)
{
    uint32_t followups = r->c.nfollowups;
    enum confab_err err = conv_fold(&r->c, ev);
    if (!err) {
        err = resident_append(r, bytes, ev);
    }
    if (!err) {
        err = apply_patches(r, ev, bytes);
    }
    if (!err && !e->replaying) {
        err = engine_feed_add(r->p, ev, r->c.id);
    }
    if (!err) {
        err = project_add(e, r->p, ev, lsn);
    }
    if (err) {
        partition_stop(r->p, err);
        return err;
    }
    e->followups_pending += r->c.nfollowups - followups;
    if (ev->kind != EVENT_MESSAGE && ev->kind != EVENT_EDIT && ev->kind != EVENT_DELETE) {
        resident_set_changed(r);
    }
    resident_mark_dirty(r);
    engine_account_part(e, r->p);
    engine_part_folded(e, r->p, lsn, bytes.n + LOG_RECORD_HEADER + CONV_ID_BYTES,
                       event_time_ms(ev));
    metrics_inc(e->metrics, METRIC_EVENTS_FOLDED);
    return CONFAB_OK;
}

enum confab_err engine_fold_member(struct resident *r, struct span payload)
{
    struct reader rd = reader_of(payload.p, payload.n);
    reader_bytes(&rd, 16);
    uint8_t type = reader_u8(&rd);
    uint64_t user = reader_u64(&rd);
    uint64_t seq = reader_varint(&rd);
    bool on = reader_u8(&rd) != 0;
    uint64_t from = reader_varint(&rd);
    uint64_t to = reader_varint(&rd);
    enum confab_err err = rd.bad ? CONFAB_CORRUPT : CONFAB_OK;
    struct member *m = err ? NULL : conv_member_make(&r->c, user);
    if (!err && !m) {
        err = CONFAB_NOMEM;
    }
    if (!err && type == FOLLOWUP_HIDE) {
        err = member_hide(m, (struct range){from, to});
    } else if (!err && type == FOLLOWUP_BLOCK) {
        /* Hiding twice does no harm: it has no order, and must not make a late block a repeat. */
        m->blocks = on;
        m->self_seq = MAX(m->self_seq, seq);
    } else if (!err && type == FOLLOWUP_DRAFT) {
        m->draft = MAX(m->draft, seq * 2 + on);
    } else if (!err) {
        err = CONFAB_VERSION;
    }
    if (err) {
        partition_stop(r->p, err);
        return err;
    }
    m->dirty = true;
    resident_mark_dirty(r);
    return CONFAB_OK;
}

enum confab_err engine_fold_confirm(struct engine *e, struct resident *r, uint64_t seq,
                                    uint64_t user)
{
    if (conv_followup_remove(&r->c, seq, user)) {
        e->followups_pending--;
        resident_mark_dirty(r);
    }
    return CONFAB_OK;
}

static void publish_to(struct engine *e, struct resident *r, const struct event *ev,
                       struct member_set *set, struct member_set *all, uint64_t origin)
{
    if (!set || !all) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        return;
    }
    struct publication pub = {.conv = r->c.id,
                              .state = &r->c,
                              .conv_kind = r->c.kind,
                              .ev = *ev,
                              .name = span_of(r->c.name.data, r->c.name.len),
                              .members = set,
                              .all = all,
                              .origin = origin};
    e->host->ops->publish(e->host, &pub);
}

/* The members that see the target of an edit, or those that do not. NULL: out of memory. */
static struct member_set *edit_set(const struct conv *c, const struct event *ev, bool seeing)
{
    struct member_set *set = malloc(sizeof(*set) + (size_t)c->nactive * sizeof(set->users[0]));
    if (set) {
        atomic_init(&set->refs, 1);
        set->n = 0;
        for (uint32_t i = 0; i < c->nmembers && set->n < c->nactive; i++) {
            const struct member *m = &c->members[i];
            if (m->role != ROLE_NONE && member_sees(m, ev->target_seq) == seeing) {
                set->users[set->n++] = m->user;
            }
        }
    }
    return set;
}

static void publish(struct engine *e, struct resident *r, const struct event *ev,
                    struct member_set *before, uint64_t origin)
{
    bool all = true;
    for (uint32_t i = 0; ev->kind == EVENT_EDIT && i < r->c.nmembers && all; i++) {
        const struct member *m = &r->c.members[i];
        all = m->role == ROLE_NONE || member_sees(m, ev->target_seq);
    }
    struct member_set *everyone = before ? before : resident_set(r);
    if (all) {
        publish_to(e, r, ev, everyone, everyone, origin);
        return;
    }
    for (int seeing = 1; seeing >= 0; seeing--) {
        static const struct member nobody;
        struct event part = *ev;
        struct member_set *set = edit_set(&r->c, ev, seeing);
        if (!seeing) {
            (void)event_blank_for(&part, &nobody);
        }
        publish_to(e, r, &part, set, everyone, origin);
        member_set_unref(set);
    }
}

/* A durable event of this run: fold, then let the effects out. */
static void event_durable(struct engine *e, const struct turn *t, struct inflight *in, uint64_t lsn)
{
    struct resident *r = in->r;
    struct event ev;
    struct member_set *before = NULL;
    struct cursors_before cursors = {0};
    uint64_t ord_before = 0;
    uint32_t followups = r->c.nfollowups;
    struct span bytes =
        span_of(t->sub.bytes.data + in->offset + LOG_RECORD_HEADER + CONV_ID_BYTES, in->event_len);
    enum confab_err err = event_decode(bytes, &ev);
    if (!err && (ev.kind == EVENT_REMOVE || ev.kind == EVENT_LEAVE) && resident_set(r)) {
        before = member_set_ref(resident_set(r));
    }
    if (!err && ev.kind == EVENT_MESSAGE) {
        const struct member *me = conv_member(&r->c, ev.actor);
        cursors.read = me ? me->read_seq : 0;
        cursors.delivered = me ? me->delivered_seq : 0;
        ord_before = me ? me->read_ord : 0;
    }
    if (!err) {
        err = engine_fold_event(e, r, bytes, lsn, &ev);
    }
    if (err) {
        partition_stop(r->p, err);
    }
    if (err && in->cmd) {
        engine_complete(e, in->cmd, err, NULL);
    }
    if (!err) {
        uint64_t origin = in->cmd ? in->cmd->origin : 0;
        publish(e, r, &ev, before, origin);
        if (in->cmd) {
            in->cmd->ret_conv = r->c.id;
            in->cmd->ret_seq = ev.seq;
            in->cmd->ret_id = ev.id;
            metrics_add(e->metrics, METRIC_MESSAGES_ACCEPTED, ev.kind == EVENT_MESSAGE);
            if (engine_followup_concerns(r, ev.seq, ev.actor)) {
                engine_answer_later(e, in->cmd);
            } else {
                engine_complete(e, in->cmd, CONFAB_OK, NULL);
            }
        }
        if (ev.kind == EVENT_MESSAGE && ev.ord > ord_before + 1 && r->c.kind != CONV_SELF) {
            engine_receipt_moved(e, r, ev.actor, cursors, ev.seq - 1, event_time_ms(&ev));
        }
        if (r->c.nfollowups > followups) {
            engine_followups_kick(e, r);
        }
    }
    in->cmd = NULL;
    member_set_unref(before);
}

static void record_durable(struct engine *e, const struct turn *t, struct inflight *in,
                           uint64_t lsn)
{
    struct span payload = {NULL, 0};
    if (in->kind != LOGREC_EVENT) {
        payload = span_of(in->payload.data, in->payload.len);
    }
    switch ((enum logrec)in->kind) {
    case LOGREC_EVENT:
        event_durable(e, t, in, lsn);
        break;
    case LOGREC_CURSORS:
        engine_cursors_durable(e, in);
        engine_part_folded(e, in->p, lsn, payload.n, in->ms);
        break;
    case LOGREC_CONFIRM: {
        struct reader rd = reader_of(payload.p, payload.n);
        while (reader_left(&rd) > 0 && !rd.bad) {
            struct span raw = reader_bytes(&rd, 16);
            uint64_t seq = reader_varint(&rd);
            uint64_t user = reader_u64(&rd);
            struct resident *r = raw.n ? engine_resident(e, conv_id_read(raw.p)) : NULL;
            if (r && !engine_fold_confirm(e, r, seq, user)) {
                metrics_inc(e->metrics, METRIC_FOLLOWUPS_CONFIRMED);
            }
        }
        /* Without a time, here and below: the record has none, so that the log's clock, which
         * tokens are made of, would be set back by a recovery. */
        engine_part_folded(e, in->p, lsn, payload.n, 0);
        break;
    }
    case LOGREC_MEMBER: {
        enum confab_err err = engine_fold_member(in->r, payload);
        engine_part_folded(e, in->p, lsn, payload.n, 0);
        engine_complete(e, in->cmd, err, NULL);
        in->cmd = NULL;
        break;
    }
    }
}

static void record_failed(struct engine *e, struct inflight *in, enum confab_err err)
{
    if (in->cmd) {
        engine_complete(e, in->cmd, err, NULL);
        in->cmd = NULL;
    }
    if (in->kind == LOGREC_CURSORS) {
        engine_acks_done(e, in, err);
        engine_cursors_unpin(e, span_of(in->payload.data, in->payload.len));
    }
}

/* The oldest submission of which something is left. */
static struct turn *durable_turn(struct engine *e)
{
    if (!e->durable) {
        struct log_submission *sub = log_store_poll(e->log, e->cfg.shard);
        if (!sub) {
            return NULL;
        }
        e->durable = CONTAINER_OF(sub, struct turn, sub);
        e->unsynced_bytes -= sub->bytes.len;
        if (sub->ret_err) {
            e->failed = sub->ret_err;
        } else {
            metrics_observe(e->metrics, METRIC_H_LOG_APPEND,
                            clock_mono_ns(e->clock) - e->durable->submitted_ns);
        }
    }
    return e->durable;
}

static void take_record(struct engine *e, const struct turn *t, struct inflight *in)
{
    struct resident *r = in->r;
    e->inflight--;
    /* After a failed fold nothing later of the partition may be folded or answered. */
    enum confab_err err = t->sub.ret_err ? t->sub.ret_err : in->p->stopped;
    if (err) {
        e->unknown_ms = MIN(e->unknown_ms, in->ms);
        record_failed(e, in, err);
    } else {
        record_durable(e, t, in, t->sub.ret_lsn + in->offset);
    }
    if (r && --r->inflight == 0) {
        r->barrier = false;
    }
    inflight_free(e, in);
    if (r && r->inflight == 0) {
        engine_pump(e, r);
    }
}

/* Of the record behind the one of `now`, which is being taken. */
static void expect_record(const struct turn *t, const struct resident *now)
{
    if (list_is_empty(&t->records)) {
        return;
    }
    const struct inflight *in = LIST_ENTRY(t->records.next, struct inflight, link);
    PREFETCH(in->link.next);
    for (size_t at = 0; in->cmd && at < COMMAND_SHRUNK_BYTES; at += CACHE_LINE) {
        PREFETCH((const char *)in->cmd + at);
    }
    if (in->r && in->r != now) {
        resident_expect(in->r);
    }
    for (uint32_t at = 0; at < in->event_len; at += CACHE_LINE) {
        PREFETCH(t->sub.bytes.data + in->offset + at);
    }
}

bool engine_take_durable(struct engine *e)
{
    struct turn *t;
    uint32_t n = 0;
    while ((t = durable_turn(e))) {
        struct list *it;
        while (n < e->cfg.durable_max && (it = list_pop_front(&t->records))) {
            struct inflight *in = LIST_ENTRY(it, struct inflight, link);
            expect_record(t, in->r);
            take_record(e, t, in);
            n++;
        }
        if (!list_is_empty(&t->records)) {
            return true;
        }
        /* Only now: the log must keep what is not folded. */
        list_remove(&t->link);
        e->durable = NULL;
        engine_turn_done(e, t);
    }
    return false;
}
