/*
 * From a command to a durable event: facts are gathered, the kind decides, the event is stamped and
 * put into the turn's submission. When the log says that it is durable it is folded, and its
 * effects leave: the publication, the answer, follow-ups.
 *
 * INVARIANT: the state of a resident is that of the durable events. What is decided and not durable
 * is known only by next_seq, next_ord, the dedup map and `barrier`.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

/* A conversation with so many overlays is flushed before it is due. */
enum { OVERLAYS_SOON = 1024 };

/* Below the end of the 41 bits, so that the counter may go on for a while. */
#define STAMP_LAST_MS (ID_EPOCH_MS + (1ULL << 41) - (1ULL << 32))

uint64_t engine_stamp_ms(struct engine *e, struct partition *p)
{
    if (e->floor_shared) {
        /* Tokens of before were closed by every engine, up to a time that is in some partition:
         * when the wall clock was set back this one's own records may not reach it. */
        e->floor_shared = false;
        e->floor_ms = MAX(e->floor_ms, atomic_load(&e->shared->log_clock_ms) + 1);
    }
    /* Ids have no room for times outside of these: a clock that says so is not believed. */
    uint64_t wall = e->now_ms <= STAMP_LAST_MS ? MAX(e->now_ms, ID_EPOCH_MS) : ID_EPOCH_MS;
    uint64_t now = MAX(MAX(wall, e->floor_ms), p->last_ms);
    if (now > p->last_ms) {
        p->last_ms = now;
        p->counter = 0;
    }
    return now;
}

static uint64_t stamp_id(struct engine *e, struct partition *p)
{
    uint64_t now = engine_stamp_ms(e, p);
    if (p->counter >= 4095) {
        p->last_ms = ++now;
        p->counter = 0;
    }
    p->counter++;
    return message_id_make(now, p->number, p->counter);
}

static struct inflight *inflight_new(enum logrec kind, struct partition *p, struct resident *r,
                                     struct command *cmd, uint64_t ms)
{
    struct inflight *in = calloc(1, sizeof(*in));
    if (in) {
        list_init(&in->link);
        list_init(&in->acks);
        in->kind = kind;
        in->p = p;
        in->r = r;
        in->cmd = cmd;
        in->ms = ms;
    }
    return in;
}

static void inflight_free(struct inflight *in)
{
    free(in->event.bytes);
    buf_deinit(&in->payload);
    free(in);
}

static void inflight_add(struct engine *e, struct inflight *in)
{
    list_push_back(&e->turn->records, &in->link);
    e->inflight++;
    if (in->r) {
        in->r->inflight++;
    }
}

enum confab_err engine_log_payload(struct engine *e, enum logrec kind, struct partition *p,
                                   struct resident *r, struct command *cmd, uint64_t ms,
                                   struct buf *payload, struct inflight **ret)
{
    struct inflight *in = buf_ok(payload) ? inflight_new(kind, p, r, cmd, ms) : NULL;
    if (!in) {
        return CONFAB_NOMEM;
    }
    enum confab_err err =
        log_submission_add(&e->turn->sub, p->number, (uint8_t)kind, LOGREC_VERSION,
                           span_of(payload->data, payload->len), &in->offset);
    if (err) {
        inflight_free(in);
        return err;
    }
    in->payload = *payload;
    buf_init(payload);
    inflight_add(e, in);
    if (ret) {
        *ret = in;
    }
    return CONFAB_OK;
}

/* Stamps the event and puts it into the submission. cmd may be NULL. */
static enum confab_err log_event(struct engine *e, struct resident *r, struct command *cmd,
                                 struct event *ev)
{
    const struct event_kind *k = event_kind_of(ev->kind);
    struct partition *p = r->p;
    ev->seq = r->next_seq;
    ev->ord = r->next_ord + ((k->flags & KIND_COUNTS) ? 1 : 0);
    ev->id = stamp_id(e, p);
    struct buf *rec = &e->rec;
    uint8_t raw[16];
    conv_id_write(r->c.id, raw);
    buf_clear(rec);
    buf_put(rec, raw, sizeof(raw));
    event_encode(rec, ev);
    struct inflight *in = inflight_new(LOGREC_EVENT, p, r, cmd, event_time_ms(ev));
    enum confab_err err = in && buf_ok(rec) ? CONFAB_OK : CONFAB_NOMEM;
    if (!err && rec->len > EVENT_BYTES_MAX) {
        err = CONFAB_TOO_LARGE;
    }
    if (!err) {
        size_t n = rec->len - sizeof(raw);
        in->event.bytes = malloc(n);
        in->event.len = (uint32_t)n;
        err = in->event.bytes ? CONFAB_OK : CONFAB_NOMEM;
        if (!err) {
            memcpy(in->event.bytes, rec->data + sizeof(raw), n);
        }
    }
    uint64_t dedup = 0;
    if (!err && ev->kind == EVENT_MESSAGE && ev->cmid.n > 0) {
        dedup = engine_dedup_hash(ev->actor, ev->cmid);
        err = u64map_put(&r->dedup, dedup, ev->seq);
    }
    if (!err) {
        err = log_submission_add(&e->turn->sub, p->number, LOGREC_EVENT, LOGREC_VERSION,
                                 span_of(rec->data, rec->len), &in->offset);
        if (err && dedup) {
            u64map_del(&r->dedup, dedup, NULL);
        }
    }
    if (err) {
        if (in) {
            inflight_free(in);
        }
        return err;
    }
    in->dedup_hash = dedup;
    inflight_add(e, in);
    r->next_seq = ev->seq + 1;
    r->next_ord = ev->ord;
    r->barrier = !(k->flags & KIND_PIPELINED);
    if (dedup && cmd && !cmd->fresh) {
        engine_dedup_late(e, r, dedup);
    }
    metrics_inc(e->metrics, METRIC_EVENTS_DECIDED);
    return CONFAB_OK;
}

/* Is the message taken once its conversation is there? One that is refused makes nothing. */
static enum confab_err try_first(struct engine *e, struct conv_id id, const struct event *create,
                                 const struct command *cmd, const char **field)
{
    struct conv c;
    struct event ev = *create;
    struct facts facts = {.now_ms = e->now_ms};
    struct buf scratch = {0};
    conv_init(&c, id);
    ev.seq = 1;
    enum confab_err err = conv_fold(&c, &ev);
    if (!err) {
        err = conv_decide(&c, cmd, &facts, &ev, &scratch, field);
    }
    buf_deinit(&scratch);
    conv_deinit(&c);
    return err;
}

/* A first message makes a direct, or a user's own, conversation before it. */
static enum confab_err open_implicit(struct engine *e, struct resident *r, struct command *cmd,
                                     const char **field)
{
    bool self = conv_id_eq(r->c.id, conv_id_self(cmd->actor));
    if (!self && (cmd->peer == 0 || !conv_id_eq(r->c.id, conv_id_direct(cmd->actor, cmd->peer)))) {
        return CONFAB_NOT_FOUND;
    }
    struct buf members = {0};
    struct buf scratch = {0};
    if (!self) {
        event_members_add(&members, cmd->peer, ROLE_OWNER);
    }
    struct command make = {.type = COMMAND_EVENT, .actor = cmd->actor, .conv = r->c.id};
    make.in.kind = EVENT_CREATE;
    make.in.type = self ? CONV_SELF : CONV_DIRECT;
    make.in.members = span_of(members.data, members.len);
    struct facts facts = {.now_ms = e->now_ms};
    struct event ev;
    enum confab_err err = conv_decide(&r->c, &make, &facts, &ev, &scratch, field);
    if (!err) {
        err = try_first(e, r->c.id, &ev, cmd, field);
    }
    if (!err) {
        err = log_event(e, r, NULL, &ev);
    }
    buf_deinit(&members);
    buf_deinit(&scratch);
    return err ? err : CONFAB_AGAIN;
}

static enum confab_err decide(struct engine *e, struct resident *r, struct command *cmd,
                              const char **field)
{
    struct facts facts = {.now_ms = MAX(e->now_ms, r->p->last_ms)};
    struct event target;
    if (cmd->work && cmd->work->target.len > 0) {
        struct reader rd = reader_of(cmd->work->target.data, cmd->work->target.len);
        const struct member *me = conv_member(&r->c, cmd->actor);
        if (command_record_next(&rd, &target) && me && member_sees(me, target.seq)) {
            facts.target = &target;
        }
    }
    struct buf scratch = {0};
    struct event ev;
    enum confab_err err = conv_decide(&r->c, cmd, &facts, &ev, &scratch, field);
    if (!err) {
        err = log_event(e, r, cmd, &ev);
    }
    buf_deinit(&scratch);
    return err;
}

enum step engine_step_event(struct engine *e, struct resident *r, struct command *cmd)
{
    const char *field = NULL;
    const struct event_kind *k = event_kind_of(cmd->in.kind);
    enum confab_err err = k && k->decide ? CONFAB_OK : CONFAB_INVALID;
    if (!err && (r->p->stopped || e->failed)) {
        err = r->p->stopped ? r->p->stopped : e->failed;
    }
    if (!err && (r->barrier || (!(k->flags & KIND_PIPELINED) && r->inflight > 0))) {
        return STEP_BLOCKED;
    }
    bool message = cmd->in.kind == EVENT_MESSAGE;
    if (!err && message && r->c.kind == CONV_NONE) {
        err = r->inflight > 0 ? CONFAB_AGAIN : open_implicit(e, r, cmd, &field);
    }
    /* Also of one who is no longer a member: what was stored stays stored. */
    if (!err && message && cmd->in.cmid.n > 0 && conv_member(&r->c, cmd->actor)) {
        err = engine_check_duplicate(e, r, cmd);
        if (err == CONFAB_EXISTS) {
            return STEP_DONE;
        }
    }
    bool wants = k && (k->flags & (KIND_TARGET | KIND_REPLY)) && cmd->in.target_id != 0;
    if (!err && wants && conv_active(&r->c, cmd->actor)) {
        err = engine_fetch_target(e, r, cmd);
    }
    if (!err) {
        err = decide(e, r, cmd, &field);
    }
    if (err == CONFAB_AGAIN) {
        return STEP_BLOCKED;
    }
    if (err) {
        engine_complete(e, cmd, err, field);
    }
    return STEP_DONE;
}

/* A follow-up at its target: an event of a user's own log, or a fact about a member. */
enum step engine_step_followup(struct engine *e, struct resident *r, struct command *cmd)
{
    if (r->barrier || r->inflight > 0) {
        return STEP_BLOCKED;
    }
    if (cmd->in.kind == EVENT_JOINED || cmd->in.kind == EVENT_LEFT) {
        const struct self_entry *entry = conv_entry(&r->c, cmd->in.conv);
        if (entry && entry->src_seq >= cmd->in.src_seq) {
            metrics_inc(e->metrics, METRIC_FOLLOWUPS_DUPLICATE);
            engine_complete(e, cmd, CONFAB_OK, NULL);
            return STEP_DONE;
        }
        return engine_step_event(e, r, cmd);
    }
    const struct member *m = conv_member(&r->c, cmd->actor);
    bool hide = cmd->in.type == FOLLOWUP_HIDE;
    if (hide ? !m : (m && m->self_seq >= cmd->in.src_seq)) {
        metrics_inc(e->metrics, METRIC_FOLLOWUPS_DUPLICATE);
        engine_complete(e, cmd, CONFAB_OK, NULL);
        return STEP_DONE;
    }
    struct buf payload = {0};
    uint8_t raw[16];
    conv_id_write(r->c.id, raw);
    buf_put(&payload, raw, sizeof(raw));
    buf_put_u8(&payload, (uint8_t)cmd->in.type);
    buf_put_u64(&payload, cmd->actor);
    buf_put_varint(&payload, cmd->in.src_seq);
    buf_put_u8(&payload, cmd->in.value != 0);
    buf_put_varint(&payload, cmd->in.range_from);
    buf_put_varint(&payload, cmd->in.range_to);
    enum confab_err err = engine_log_payload(e, LOGREC_MEMBER, r->p, r, cmd,
                                             engine_stamp_ms(e, r->p), &payload, NULL);
    if (err) {
        buf_deinit(&payload);
        engine_complete(e, cmd, err, NULL);
    } else {
        r->barrier = true;
    }
    return STEP_DONE;
}

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
    if (r->flushing && !grow(&garbage, r->ngarbage, &r->cap_garbage, sizeof(*r->garbage))) {
        buf_deinit(&b);
        return CONFAB_NOMEM;
    }
    r->garbage = garbage;
    if (r->flushing) {
        r->garbage[r->ngarbage++] = *s;
        r->patch_bytes += s->len;
    } else {
        free(s->bytes);
    }
    size_t len;
    r->slot_bytes -= s->len;
    s->bytes = buf_detach(&b, &len);
    s->len = (uint32_t)len;
    r->slot_bytes += s->len;
    return CONFAB_OK;
}

static enum confab_err add_overlay(struct resident *r, uint64_t seq, struct slot cause)
{
    void *items = r->overlays;
    if (!grow(&items, r->noverlays, &r->cap_overlays, sizeof(*r->overlays))) {
        return CONFAB_NOMEM;
    }
    r->overlays = items;
    uint8_t *copy = malloc(cause.len);
    if (!copy) {
        return CONFAB_NOMEM;
    }
    memcpy(copy, cause.bytes, cause.len);
    uint32_t at = overlay_place(r->overlays, r->noverlays, seq + 1);
    memmove(&r->overlays[at + 1], &r->overlays[at], (r->noverlays - at) * sizeof(*r->overlays));
    r->overlays[at] = (struct overlay){seq, {copy, cause.len}, false};
    r->noverlays++;
    r->patch_bytes += cause.len;
    if (r->noverlays >= OVERLAYS_SOON) {
        r->p->dirty_since_ms = 0; /* old enough: each may stand for a chunk to be written again */
    }
    return CONFAB_OK;
}

static enum confab_err apply_patches(struct resident *r, const struct event *ev, struct slot event)
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
            err = add_overlay(r, seqs[i], event);
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

enum confab_err engine_fold_event(struct engine *e, struct resident *r, struct slot event,
                                  uint64_t lsn, const struct event *ev)
{
    uint32_t followups = r->c.nfollowups;
    enum confab_err err = conv_fold(&r->c, ev);
    if (err) {
        free(event.bytes);
    } else {
        err = resident_append(r, event);
    }
    if (!err) {
        err = apply_patches(r, ev, event);
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
    engine_part_folded(e, r->p, lsn, event.len + LOG_RECORD_HEADER + 16, event_time_ms(ev));
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
                       struct member_set *set, uint64_t origin)
{
    if (!set) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        return;
    }
    struct publication pub = {.conv = r->c.id,
                              .conv_kind = r->c.kind,
                              .ev = *ev,
                              .name = span_of(r->c.name.data, r->c.name.len),
                              .members = set,
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
    if (all) {
        publish_to(e, r, ev, before ? before : resident_set(r), origin);
        return;
    }
    for (int seeing = 1; seeing >= 0; seeing--) {
        static const struct member nobody;
        struct event part = *ev;
        struct member_set *set = edit_set(&r->c, ev, seeing);
        if (!seeing) {
            (void)event_blank_for(&part, &nobody);
        }
        publish_to(e, r, &part, set, origin);
        member_set_unref(set);
    }
}

/* A durable event of this run: fold, then let the effects out. */
static void event_durable(struct engine *e, struct inflight *in, uint64_t lsn)
{
    struct resident *r = in->r;
    struct event ev;
    struct member_set *before = NULL;
    uint64_t read_before = 0;
    uint64_t ord_before = 0;
    uint32_t followups = r->c.nfollowups;
    enum confab_err err = event_decode(span_of(in->event.bytes, in->event.len), &ev);
    if (!err && (ev.kind == EVENT_REMOVE || ev.kind == EVENT_LEAVE) && resident_set(r)) {
        before = member_set_ref(resident_set(r));
    }
    if (!err && ev.kind == EVENT_MESSAGE) {
        const struct member *me = conv_member(&r->c, ev.actor);
        read_before = me ? me->read_seq : 0;
        ord_before = me ? me->read_ord : 0;
    }
    struct slot event = in->event;
    if (!err) {
        err = engine_fold_event(e, r, event, lsn, &ev);
        in->event.bytes = NULL;
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
            engine_complete(e, in->cmd, CONFAB_OK, NULL);
        }
        if (ev.kind == EVENT_MESSAGE && ev.ord > ord_before + 1 && r->c.kind != CONV_SELF) {
            engine_receipt(e, r, ev.actor, read_before + 1, ev.seq - 1, event_time_ms(&ev), true);
        }
        if (r->c.nfollowups > followups) {
            engine_followups_kick(e, r);
        }
    }
    in->cmd = NULL;
    member_set_unref(before);
}

static void record_durable(struct engine *e, struct inflight *in, uint64_t lsn)
{
    struct span payload = span_of(in->payload.data, in->payload.len);
    switch (in->kind) {
    case LOGREC_EVENT:
        event_durable(e, in, lsn);
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
    while (!list_is_empty(&in->acks)) {
        engine_complete(e, LIST_ENTRY(list_pop_front(&in->acks), struct command, link), err, NULL);
    }
    if (in->kind == LOGREC_CURSORS) {
        engine_cursors_unpin(e, span_of(in->payload.data, in->payload.len));
    }
}

void engine_take_durable(struct engine *e)
{
    struct log_submission *sub;
    while ((sub = log_store_poll(e->log, e->cfg.shard))) {
        struct turn *t = CONTAINER_OF(sub, struct turn, sub);
        list_remove(&t->link);
        if (sub->ret_err) {
            e->failed = sub->ret_err;
        } else {
            metrics_observe(e->metrics, METRIC_H_LOG_APPEND,
                            clock_mono_ns(e->clock) - t->submitted_ns);
        }
        struct list *it;
        while ((it = list_pop_front(&t->records))) {
            struct inflight *in = LIST_ENTRY(it, struct inflight, link);
            struct resident *r = in->r;
            e->inflight--;
            /* After a failed fold nothing later of the partition may be folded or answered. */
            enum confab_err err = sub->ret_err ? sub->ret_err : in->p->stopped;
            if (err) {
                e->unknown_ms = MIN(e->unknown_ms, in->ms);
                record_failed(e, in, err);
            } else {
                record_durable(e, in, sub->ret_lsn + in->offset);
            }
            if (r && --r->inflight == 0) {
                r->barrier = false;
            }
            inflight_free(in);
            if (r && r->inflight == 0) {
                engine_pump(e, r);
            }
        }
        buf_deinit(&sub->bytes);
        free(t);
    }
}
