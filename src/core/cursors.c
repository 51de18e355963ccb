/*
 * Cursors: how far each member was delivered to and has read. They take no seq. An acknowledgement
 * is noted in the conversation, and about a second later everything noted in a partition becomes
 * one durable record; receipts leave after it. Cursors merge by maximum, so a record may be folded
 * twice.
 */
#include <stdlib.h>
#include <string.h>

#include "core/engine_internal.h"

/* A cursor record is closed at this size; the rest goes into the next one. */
enum { RECORD_BYTES = 256 * 1024, ENTRY_BYTES_MAX = 64, RECEIPT_MEMBERS_MAX = 100 };
/* So many events of a receipt's range are looked at. */
enum { RECEIPT_EVENTS_MAX = 256 };

void cursor_entry_put(struct buf *out, const struct cursor_entry *entry)
{
    uint8_t raw[16];
    conv_id_write(entry->conv, raw);
    buf_put(out, raw, sizeof(raw));
    buf_put_u64(out, entry->user);
    buf_put_varint(out, entry->delivered);
    buf_put_varint(out, entry->read);
    buf_put_varint(out, entry->read_ord);
}

bool cursor_entry_next(struct reader *r, struct cursor_entry *ret)
{
    if (r->bad || reader_left(r) == 0) {
        return false;
    }
    struct span raw = reader_bytes(r, 16);
    ret->conv = raw.n ? conv_id_read(raw.p) : (struct conv_id){0, 0};
    ret->user = reader_u64(r);
    ret->delivered = reader_varint(r);
    ret->read = reader_varint(r);
    ret->read_ord = reader_varint(r);
    return !r->bad;
}

static enum confab_err note(struct engine *e, struct resident *r, struct member *m,
                            uint64_t delivered, uint64_t read, uint64_t read_ord)
{
    if (m->noted == 0) {
        if (r->npending == r->cap_pending) {
            uint32_t cap = r->cap_pending ? r->cap_pending * 2 : 2;
            struct pending_cursor *p = realloc(r->pending, cap * sizeof(*p));
            if (!p) {
                return CONFAB_NOMEM;
            }
            r->pending = p;
            r->cap_pending = cap;
        }
        r->pending[r->npending++] = (struct pending_cursor){.user = m->user};
        m->noted = r->npending;
    }
    struct pending_cursor *pc = &r->pending[m->noted - 1];
    pc->delivered = MAX(pc->delivered, delivered);
    if (read > pc->read) {
        pc->read = read;
        pc->read_ord = read_ord;
    }
    if (!list_is_linked(&r->cursors)) {
        if (list_is_empty(&r->p->cursors)) {
            r->p->cursors_due_ms = e->now_ms + e->cfg.cursor_delay_ms;
            list_remove(&r->p->cursor_link);
            list_push_back(&e->cursor_parts, &r->p->cursor_link);
        }
        list_push_back(&r->p->cursors, &r->cursors);
    }
    return CONFAB_OK;
}

enum step engine_step_ack(struct engine *e, struct resident *r, struct command *cmd)
{
    struct member *m = conv_active(&r->c, cmd->actor);
    enum confab_err err = m ? CONFAB_OK : CONFAB_NOT_FOUND;
    uint64_t seq = cmd->to_seq;
    if (!err && seq == 0 && cmd->in.target_id) {
        err = engine_fetch_target(e, r, cmd);
        if (!err && cmd->work->target.len == 0) {
            err = CONFAB_NOT_FOUND;
        }
        seq = err ? 0 : cmd->work->target_seq;
    }
    if (!err && (seq == 0 || seq > r->c.head_seq)) {
        err = CONFAB_INVALID;
    }
    if (!err && seq <= (cmd->ack_read ? m->read_seq : m->delivered_seq)) {
        engine_complete(e, cmd, CONFAB_OK, NULL);
        return STEP_DONE;
    }
    uint64_t ord = 0;
    if (!err && cmd->ack_read) {
        /* The ordinal at the cursor makes unread a subtraction. */
        bool newest = seq == r->c.head_seq;
        struct command_work *w = newest ? NULL : command_work_get(cmd);
        if (newest) {
            ord = r->c.ord;
        } else if (!w) {
            err = CONFAB_NOMEM;
        } else {
            w->target_seq = seq;
            err = engine_fetch_target(e, r, cmd);
            struct reader rd = reader_of(w->target.data, w->target.len);
            struct event ev;
            if (!err && command_record_next(&rd, &ev)) {
                ord = ev.ord;
            } else if (!err) {
                err = CONFAB_NOT_FOUND;
            }
        }
    }
    if (err == CONFAB_AGAIN) {
        return STEP_BLOCKED;
    }
    if (!err) {
        err = note(e, r, m, seq, cmd->ack_read ? seq : 0, ord);
    }
    if (!err && cmd->durable) {
        cmd->ret_conv = r->c.id;
        cmd->ret_seq = seq;
        list_push_back(&r->p->durable_acks, &cmd->link);
        r->p->cursors_due_ms = MIN(r->p->cursors_due_ms, e->now_ms);
        if (list_is_linked(&r->p->cursor_link)) {
            list_remove(&r->p->cursor_link);
            list_push_front(&e->cursor_parts, &r->p->cursor_link);
        }
        return STEP_DONE;
    }
    engine_complete(e, cmd, err, NULL);
    return STEP_DONE;
}

/* Moves what is noted into the record, up to its size. */
static void take_noted(struct resident *r, struct buf *payload)
{
    while (r->npending > 0 && payload->len < RECORD_BYTES &&
           buf_reserve(payload, ENTRY_BYTES_MAX)) {
        const struct pending_cursor *pc = &r->pending[--r->npending];
        struct cursor_entry entry = {.conv = r->c.id,
                                     .user = pc->user,
                                     .delivered = pc->delivered,
                                     .read = pc->read,
                                     .read_ord = pc->read_ord};
        conv_member(&r->c, pc->user)->noted = 0;
        cursor_entry_put(payload, &entry);
    }
}

/* One record; false when there is no memory, and what it would have said is noted still. */
static bool log_record(struct engine *e, struct partition *p)
{
    struct buf payload = {0};
    uint64_t ms = engine_stamp_ms(e, p);
    buf_put_u64(&payload, ms);
    if (!buf_ok(&payload)) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        buf_deinit(&payload);
        return false;
    }
    size_t begin = payload.len;
    while (!list_is_empty(&p->cursors) && payload.len < RECORD_BYTES) {
        struct resident *r = LIST_ENTRY(p->cursors.next, struct resident, cursors);
        size_t before = payload.len;
        take_noted(r, &payload);
        if (payload.len > before) {
            r->pins++; /* until the record is durable: fold needs it in memory */
        }
        if (r->npending > 0) {
            break;
        }
        list_remove(&r->cursors);
    }
    payload.failed = false; /* only complete entries are in it */
    struct inflight *in = NULL;
    if (payload.len <= begin ||
        engine_log_payload(e, LOGREC_CURSORS, p, NULL, NULL, ms, &payload, &in)) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        engine_cursors_rejected(e, span_of(payload.data, payload.len));
        buf_deinit(&payload);
        return false;
    }
    metrics_inc(e->metrics, METRIC_CURSOR_RECORDS);
    struct list *it;
    while (list_is_empty(&p->cursors) && (it = list_pop_front(&p->durable_acks))) {
        list_push_back(&in->acks, it);
    }
    return true;
}

static void fail_acks(struct engine *e, struct partition *p, enum confab_err err)
{
    struct list *it;
    while ((it = list_pop_front(&p->durable_acks))) {
        engine_complete(e, LIST_ENTRY(it, struct command, link), err, NULL);
    }
}

static void log_partition(struct engine *e, struct partition *p)
{
    while (!list_is_empty(&p->cursors) && log_record(e, p)) {
        if (e->turn->sub.bytes.len > TURN_BYTES) {
            uint64_t refused = e->refused;
            engine_seal(e);
            if (e->refused != refused) {
                return;
            }
        }
    }
}

/* Or the clock was set back. */
static bool is_due(const struct engine *e, const struct partition *p)
{
    return e->now_ms >= p->cursors_due_ms ||
           p->cursors_due_ms > e->now_ms + 2U * e->cfg.cursor_delay_ms;
}

void engine_log_cursors(struct engine *e, bool all)
{
    /* The list is in the order in which they are due: one look a turn. What is refused meanwhile is
     * noted in the list again, for later. */
    struct list todo;
    struct list *it;
    list_init(&todo);
    while (!list_is_empty(&e->cursor_parts) &&
           (all || e->failed ||
            is_due(e, LIST_ENTRY(e->cursor_parts.next, struct partition, cursor_link)))) {
        list_push_back(&todo, list_pop_front(&e->cursor_parts));
    }
    while ((it = list_pop_front(&todo))) {
        struct partition *p = LIST_ENTRY(it, struct partition, cursor_link);
        enum confab_err err = e->failed ? e->failed : p->stopped;
        if (err) {
            fail_acks(e, p, err);
        } else {
            p->cursors_due_ms = e->now_ms + e->cfg.cursor_delay_ms;
            log_partition(e, p);
        }
        if (!list_is_empty(&p->cursors) && !list_is_linked(&p->cursor_link)) {
            list_push_back(&e->cursor_parts, &p->cursor_link);
        }
    }
}

/*
 * Who wrote the event at `seq`, when it is a message; 0: another kind of event. False: neither the
 * events in memory nor the state say.
 */
static bool author_of(struct resident *r, uint64_t seq, uint64_t *ret_user)
{
    const struct slot *s = resident_slot(r, seq);
    if (!s) {
        *ret_user = r->c.last_from;
        return seq == r->c.last_seq;
    }
    *ret_user = s->kind == EVENT_MESSAGE ? s->actor : 0;
    return true;
}

static void set_add(struct member_set *set, uint64_t user)
{
    uint32_t at = set->n;
    while (at > 0 && set->users[at - 1] > user) {
        at--;
    }
    if (at > 0 && set->users[at - 1] == user) {
        return;
    }
    memmove(&set->users[at + 1], &set->users[at], (set->n - at) * sizeof(set->users[0]));
    set->users[at] = user;
    set->n++;
}

/*
 * Whom a receipt concerns: the authors of the messages that it covers, as far as they are members,
 * and the other devices of its user. Everyone, when that cannot be told without asking the store or
 * looking at many events. The caller's reference; NULL: out of memory.
 */
static struct member_set *receipt_set(struct resident *r, struct member_set *all, uint64_t user,
                                      uint64_t from, uint64_t to)
{
    if (to - from >= RECEIPT_EVENTS_MAX) {
        return member_set_ref(all);
    }
    struct member_set *set = malloc(sizeof(*set) + (size_t)all->n * sizeof(set->users[0]));
    if (!set) {
        return NULL;
    }
    atomic_init(&set->refs, 1);
    set->n = 0;
    uint64_t author = user;
    for (uint64_t seq = from; seq <= to; seq++) {
        /* Most messages follow one of the same author. */
        uint64_t before = author;
        if (!author_of(r, seq, &author)) {
            member_set_unref(set);
            return member_set_ref(all);
        }
        if (author != 0 && author != before && member_set_has(all, author)) {
            set_add(set, author);
        }
    }
    if (member_set_has(all, user)) {
        set_add(set, user);
    }
    return set;
}

/* Keeps those from whom the reading of `user` is hidden, or the others. */
static struct member_set *set_part(const struct engine *e, const struct member_set *from,
                                   uint64_t user, bool hidden)
{
    struct member_set *set = malloc(sizeof(*set) + (size_t)from->n * sizeof(set->users[0]));
    if (set) {
        atomic_init(&set->refs, 1);
        set->n = 0;
        for (uint32_t i = 0; i < from->n; i++) {
            if (engine_hides_reading(e, user, from->users[i]) == hidden) {
                set->users[set->n++] = from->users[i];
            }
        }
    }
    return set;
}

static bool any_hides(const struct engine *e, const struct member_set *set, uint64_t user)
{
    for (uint32_t i = 0; e->shared->hides && i < set->n; i++) {
        if (engine_hides_reading(e, user, set->users[i])) {
            return true;
        }
    }
    return false;
}

/* To all whom it concerns; of those only to whom it is (not) hidden from, with `part`. */
enum part { PART_ALL, PART_SEEING, PART_HIDDEN };

static void receipt(struct engine *e, struct resident *r, uint64_t user, uint64_t from, uint64_t to,
                    uint64_t ms, bool read, enum part part)
{
    struct member_set *all = resident_set(r);
    struct slot *s = resident_slot(r, to);
    struct event ev = {0};
    if (from > to || !all || (s && event_peek(span_of(s->bytes, s->len), &ev))) {
        return;
    }
    struct member_set *set = receipt_set(r, all, user, from, to);
    if (set && part != PART_ALL) {
        struct member_set *whole = set;
        set = set_part(e, whole, user, part == PART_HIDDEN);
        member_set_unref(whole);
    }
    if (!set) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        return;
    }
    struct receipt out = {.conv = r->c.id,
                          .user = user,
                          .from_seq = from,
                          .seq = to,
                          .id = ev.id,
                          .at_ms = ms,
                          .read = read,
                          .members = set,
                          .all = all};
    if (set->n > 0) {
        e->host->ops->publish_receipt(e->host, &out);
    }
    member_set_unref(set);
}

void engine_receipt_moved(struct engine *e, struct resident *r, uint64_t user,
                          struct cursors_before before, uint64_t to, uint64_t ms)
{
    const struct member *m = conv_active(&r->c, user);
    /* In a direct conversation with a block, who was blocked does not learn what the other does. */
    if (!m || r->c.nactive > RECEIPT_MEMBERS_MAX || r->c.nactive < 2 || engine_has_block(&r->c)) {
        return;
    }
    uint64_t read = MIN(m->read_seq, to);
    uint64_t delivered = MIN(m->delivered_seq, to);
    if (read <= before.read) {
        receipt(e, r, user, before.delivered + 1, delivered, ms, false, PART_ALL);
        return;
    }
    struct member_set *all = resident_set(r);
    if (!all || !any_hides(e, all, user)) {
        receipt(e, r, user, before.read + 1, read, ms, true, PART_ALL);
        return;
    }
    /*
     * For those from whom it is hidden it was delivered, if they do not know that yet: a receipt
     * that says nothing new would say that it was read.
     */
    receipt(e, r, user, before.read + 1, read, ms, true, PART_SEEING);
    receipt(e, r, user, before.delivered + 1, delivered, ms, false, PART_HIDDEN);
}

enum confab_err engine_fold_cursor(struct engine *e, struct resident *r,
                                   const struct cursor_entry *entry, uint64_t ms, bool live)
{
    struct member *m = conv_active(&r->c, entry->user);
    if (!m) {
        return CONFAB_OK;
    }
    struct cursors_before before = {m->delivered_seq, m->read_seq};
    int moved = member_move_cursors(m, entry->delivered, ms, entry->read, ms, entry->read_ord);
    if (moved) {
        m->dirty = true;
        r->c.moved_ms = MAX(r->c.moved_ms, ms);
        resident_mark_dirty(r);
    }
    if (live && moved) {
        engine_receipt_moved(e, r, entry->user, before, UINT64_MAX, ms);
    }
    return CONFAB_OK;
}

void engine_acks_done(struct engine *e, struct inflight *in, enum confab_err err)
{
    while (!list_is_empty(&in->acks)) {
        engine_complete(e, LIST_ENTRY(list_pop_front(&in->acks), struct command, link), err, NULL);
    }
}

void engine_cursors_durable(struct engine *e, struct inflight *in)
{
    struct reader rd = reader_of(in->payload.data, in->payload.len);
    uint64_t ms = reader_u64(&rd);
    struct cursor_entry entry;
    engine_cursors_unpin(e, span_of(in->payload.data, in->payload.len));
    while (cursor_entry_next(&rd, &entry)) {
        struct resident *r = engine_resident(e, entry.conv);
        if (r) {
            (void)!engine_fold_cursor(e, r, &entry, ms, true);
        }
    }
    engine_acks_done(e, in, CONFAB_OK);
}

void engine_cursors_unpin(struct engine *e, struct span payload)
{
    struct reader rd = reader_of(payload.p, payload.n);
    (void)reader_u64(&rd);
    struct cursor_entry entry;
    struct resident *last = NULL;
    while (cursor_entry_next(&rd, &entry)) {
        struct resident *r = engine_resident(e, entry.conv);
        if (r && r != last) {
            r->pins--;
            last = r;
        }
    }
}

void engine_cursors_rejected(struct engine *e, struct span payload)
{
    struct reader rd = reader_of(payload.p, payload.n);
    (void)reader_u64(&rd);
    struct cursor_entry entry;
    engine_cursors_unpin(e, payload);
    while (cursor_entry_next(&rd, &entry)) {
        struct resident *r = engine_resident(e, entry.conv);
        struct member *m = r ? conv_member(&r->c, entry.user) : NULL;
        if (m && note(e, r, m, entry.delivered, entry.read, entry.read_ord)) {
            metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
        }
    }
}
