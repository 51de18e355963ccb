/*
 * From a command to a record: facts are gathered, the kind decides, the event is stamped and put
 * into the turn's submission. What happens when it is durable is in fold.c.
 *
 * INVARIANT: the state of a resident is that of the durable events. What is decided and not durable
 * is known only by next_seq, next_ord, the recent keys and `barrier`.
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine_internal.h"

enum { SPARE_INFLIGHT_MAX = 1024 };

/* Below the end of the 41 bits, so that the counter may go on for a while. */
#define STAMP_LAST_MS (ID_EPOCH_MS + (1ULL << 41) - (1ULL << 32))

uint64_t engine_stamp_ms(struct engine *e, struct partition *p)
{
    if (e->floor_shared) {
        /* Tokens of before were closed by every engine, up to a time that is in some partition:
         * when the wall clock was set back this one's own records may not reach it. */
        uint64_t before = e->shared->recovered_ms;
        e->floor_shared = false;
        e->floor_ms = MAX(e->floor_ms, atomic_load(&e->shared->log_clock_ms) + 1);
        /* Not the log's clock of now: another engine may have written in this very millisecond. */
        if (e->now_ms <= before) {
            e->floor_ms = MAX(e->floor_ms, before + 1 + e->shared->skip_ms);
        }
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

static struct inflight *inflight_new(struct engine *e, enum logrec kind, struct partition *p,
                                     struct resident *r, struct command *cmd, uint64_t ms)
{
    struct list *spare = list_pop_front(&e->spare_inflight);
    e->nspare_inflight -= spare != NULL;
    struct inflight *in = spare ? LIST_ENTRY(spare, struct inflight, link)
                                : aligned_alloc(CACHE_LINE, INFLIGHT_BYTES);
    if (in) {
        memset(in, 0, offsetof(struct inflight, payload));
        in->kind = (uint8_t)kind;
        in->p = p;
        in->r = r;
        in->cmd = cmd;
        in->ms = ms;
        list_init(&in->link);
        if (kind != LOGREC_EVENT) {
            buf_init(&in->payload);
            list_init(&in->acks);
        }
    }
    return in;
}

void inflight_free(struct engine *e, struct inflight *in)
{
    if (in->kind != LOGREC_EVENT) {
        buf_deinit(&in->payload);
    }
    if (e->nspare_inflight < SPARE_INFLIGHT_MAX) {
        list_push_front(&e->spare_inflight, &in->link);
        e->nspare_inflight++;
    } else {
        free(in);
    }
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
    struct inflight *in = buf_ok(payload) ? inflight_new(e, kind, p, r, cmd, ms) : NULL;
    if (!in) {
        return CONFAB_NOMEM;
    }
    enum confab_err err =
        log_submission_add(&e->turn->sub, p->number, (uint8_t)kind, LOGREC_VERSION,
                           span_of(payload->data, payload->len), &in->offset);
    if (err) {
        inflight_free(e, in);
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
    uint8_t raw[CONV_ID_BYTES];
    conv_id_write(r->c.id, raw);
    buf_clear(rec);
    buf_put(rec, raw, sizeof(raw));
    event_encode(rec, ev);
    struct inflight *in = inflight_new(e, LOGREC_EVENT, p, r, cmd, event_time_ms(ev));
    enum confab_err err = in && buf_ok(rec) ? CONFAB_OK : CONFAB_NOMEM;
    if (!err && rec->len > EVENT_BYTES_MAX) {
        err = CONFAB_TOO_LARGE;
    }
    if (!err) {
        in->event_len = (uint32_t)(rec->len - sizeof(raw));
        in->event_kind = (uint8_t)ev->kind;
    }
    uint64_t key = cmd && ev->cmid.n > 0 ? engine_key_hash(cmd) : 0;
    if (!err) {
        err = recent_keys_put(&r->recent_keys, ev->seq, key);
    }
    if (!err) {
        err = log_submission_add(&e->turn->sub, p->number, LOGREC_EVENT, LOGREC_VERSION,
                                 span_of(rec->data, rec->len), &in->offset);
        if (err) {
            recent_keys_take_back(&r->recent_keys, ev->seq);
        }
    }
    if (err) {
        if (in) {
            inflight_free(e, in);
        }
        return err;
    }
    inflight_add(e, in);
    r->next_seq = ev->seq + 1;
    r->next_ord = ev->ord;
    r->barrier = !(k->flags & KIND_PIPELINED);
    if (key && cmd && !cmd->fresh) {
        engine_dedup_late(e, r, key);
    }
    if (cmd) {
        in->cmd = command_shrink(e->host->pool, cmd);
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
    if (!self && cmd->peer_deleted) {
        return CONFAB_GONE;
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
    struct facts facts = {.now_ms = MAX(e->now_ms, r->p->last_ms),
                          .edit_window_ms = e->cfg.edit_window_ms};
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
    if (!err && cmd->in.cmid.n > 0 && conv_member(&r->c, cmd->actor)) {
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

/* A fact about a member that is known already, or is about nobody. */
static bool is_repeated(const struct member *m, const struct command *cmd)
{
    switch ((enum followup_type)cmd->in.type) {
    case FOLLOWUP_HIDE:
        return !m;
    case FOLLOWUP_DRAFT:
        return !m || m->draft / 2 >= cmd->in.src_seq;
    default:
        return m && m->self_seq >= cmd->in.src_seq;
    }
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
    if (cmd->in.kind == EVENT_LEAVE) {
        if (conv_active(&r->c, cmd->actor)) {
            return engine_step_event(e, r, cmd);
        }
        metrics_inc(e->metrics, METRIC_FOLLOWUPS_DUPLICATE);
        engine_complete(e, cmd, CONFAB_OK, NULL);
        return STEP_DONE;
    }
    if (cmd->in.kind == EVENT_DRAFT) {
        const struct self_draft *d = conv_draft(&r->c, cmd->in.conv);
        if (d && d->seq == cmd->in.range_from) {
            return engine_step_event(e, r, cmd);
        }
        metrics_inc(e->metrics, METRIC_FOLLOWUPS_DUPLICATE);
        engine_complete(e, cmd, CONFAB_OK, NULL);
        return STEP_DONE;
    }
    const struct member *m = conv_member(&r->c, cmd->actor);
    if (is_repeated(m, cmd)) {
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
