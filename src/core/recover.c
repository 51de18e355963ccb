/*
 * Recovery: the partitions' rows say what the store has; the records of the log above that are
 * handed to their conversations, which are loaded and folded like any other cold conversation while
 * the engine already runs. Commands wait in their conversation's queue meanwhile. What is folded is
 * what an uninterrupted run would hold: the same records, the same fold.
 */
#include <semaphore.h>
#include <stdlib.h>

#include "core/engine_internal.h"

static void sync_done(struct store_request *req)
{
    sem_post(req->arg);
}

/* Runs one request to its end; only before the shard's thread has started. */
static enum confab_err call(struct engine *e, struct store_request *req)
{
    sem_t sem;
    if (sem_init(&sem, 0, 0)) {
        return CONFAB_NOMEM;
    }
    req->done = sync_done;
    req->arg = &sem;
    enum confab_err err = message_store_submit(e->store, req);
    while (!err && sem_wait(&sem)) {
    }
    sem_destroy(&sem);
    return err ? err : req->ret_err;
}

static enum confab_err read_partitions(struct engine *e)
{
    uint8_t from[2] = {(uint8_t)(e->part_first >> 8), (uint8_t)e->part_first};
    uint16_t last = (uint16_t)(e->part_first + e->part_count - 1);
    uint8_t to[2] = {(uint8_t)(last >> 8), (uint8_t)last};
    struct store_request req = {.op = STORE_RANGE,
                                .table = STORE_PARTITION,
                                .from = span_of(from, 2),
                                .to = span_of(to, 2),
                                .limit = ID_PARTITIONS,
                                .bytes_max = 1U << 20};
    enum confab_err err = call(e, &req);
    for (uint32_t i = 0; i < req.ret_nrows && !err; i++) {
        struct partition *p = engine_partition(e, (uint16_t)row_sort_u64(req.ret_rows[i].sort));
        struct row_partition row;
        err = p ? row_partition_decode(req.ret_rows[i].value, &row) : CONFAB_CORRUPT;
        if (!err) {
            p->last_ms = row.last_ms;
            p->counter = row.counter;
            p->flushed_lsn = row.flushed_lsn;
            p->folded_lsn = row.flushed_lsn;
            e->floor_ms = MAX(e->floor_ms, row.last_ms + 1);
        }
    }
    store_request_deinit(&req);
    return err;
}

/* A conversation that must be folded before recovery is over. */
static struct resident *want_tail(struct engine *e, struct conv_id id, enum confab_err *ret_err)
{
    struct resident *r = engine_want(e, id, ret_err);
    if (r && !r->tail) {
        r->tail = true;
        e->tail_left++;
    }
    return r;
}

static enum confab_err take_followups(struct engine *e, const struct store_request *req)
{
    enum confab_err err = req->ret_err;
    for (uint32_t i = 0; i < req->ret_nrows && !err; i++) {
        if (req->ret_rows[i].sort.n != 16) {
            err = CONFAB_CORRUPT;
        } else {
            want_tail(e, conv_id_read(req->ret_rows[i].sort.p), &err);
        }
    }
    return err;
}

struct followups_read {
    struct store_request req;
    struct row_key rk;
};

/*
 * Conversations with follow-ups that were not confirmed must be in memory to send them. All
 * partitions are asked at once: one after the other, a busy machine would switch threads a thousand
 * times.
 */
static enum confab_err want_followups(struct engine *e)
{
    struct followups_read *all = calloc(e->part_count, sizeof(*all));
    sem_t sem;
    if (!all || sem_init(&sem, 0, 0)) {
        free(all);
        return CONFAB_NOMEM;
    }
    enum confab_err err = CONFAB_OK;
    uint16_t asked = 0;
    while (asked < e->part_count && !err) {
        struct followups_read *one = &all[asked];
        row_key_partition(&one->rk, STORE_FOLLOWUP, e->parts[asked].number);
        one->req = (struct store_request){.op = STORE_RANGE,
                                          .table = STORE_FOLLOWUP,
                                          .key = one->rk.k.key,
                                          .limit = UINT32_MAX,
                                          .bytes_max = UINT32_MAX,
                                          .done = sync_done,
                                          .arg = &sem};
        err = message_store_submit(e->store, &one->req);
        if (!err) {
            asked++;
        }
    }
    for (uint16_t i = 0; i < asked; i++) {
        while (sem_wait(&sem)) {
        }
    }
    for (uint16_t i = 0; i < asked; i++) {
        err = err ? err : take_followups(e, &all[i].req);
        store_request_deinit(&all[i].req);
    }
    sem_destroy(&sem);
    free(all);
    return err;
}

enum confab_err engine_recover_begin(struct engine *e)
{
    e->recovering = true;
    atomic_store(&e->clean_lsn, 0);
    return read_partitions(e);
}

/* Queues one record for its conversation: u64 lsn, u8 kind, u64 ms, blob. */
static enum confab_err queue_record(struct engine *e, struct conv_id id, uint64_t lsn,
                                    enum logrec kind, uint64_t ms, struct span bytes)
{
    enum confab_err err = CONFAB_OK;
    struct resident *r = want_tail(e, id, &err);
    if (!r) {
        return err;
    }
    buf_put_u64(&r->replay, lsn);
    buf_put_u8(&r->replay, (uint8_t)kind);
    buf_put_u64(&r->replay, ms);
    buf_put_blob(&r->replay, bytes.p, bytes.n);
    return buf_ok(&r->replay) ? CONFAB_OK : CONFAB_NOMEM;
}

static void saw_time(struct engine *e, struct partition *p, uint64_t ms, uint32_t counter)
{
    if (ms > p->last_ms) {
        p->last_ms = ms;
        p->counter = counter;
    } else if (ms == p->last_ms) {
        p->counter = MAX(p->counter, counter);
    }
    e->floor_ms = MAX(e->floor_ms, ms + 1);
}

static enum confab_err recover_event(struct engine *e, struct partition *p,
                                     const struct log_record *rec)
{
    struct event ev;
    if (rec->data.n < 16) {
        return CONFAB_CORRUPT;
    }
    struct span bytes = span_of(rec->data.p + 16, rec->data.n - 16);
    enum confab_err err = event_peek(bytes, &ev);
    if (err) {
        return err;
    }
    saw_time(e, p, event_time_ms(&ev), (uint32_t)(ev.id & 4095U));
    /* Here and not when it is folded: the feed is in the order of the log. */
    err = engine_feed_add(p, &ev, conv_id_read(rec->data.p));
    engine_account_part(e, p);
    if (err) {
        return err;
    }
    return queue_record(e, conv_id_read(rec->data.p), rec->lsn, LOGREC_EVENT, 0, bytes);
}

static enum confab_err recover_cursors(struct engine *e, struct partition *p,
                                       const struct log_record *rec)
{
    struct reader rd = reader_of(rec->data.p, rec->data.n);
    uint64_t ms = reader_u64(&rd);
    struct cursor_entry entry;
    struct buf one = {0};
    enum confab_err err = CONFAB_OK;
    while (!err && cursor_entry_next(&rd, &entry)) {
        buf_clear(&one);
        cursor_entry_put(&one, &entry);
        err = buf_ok(&one) ? queue_record(e, entry.conv, rec->lsn, LOGREC_CURSORS, ms,
                                          span_of(one.data, one.len))
                           : CONFAB_NOMEM;
    }
    buf_deinit(&one);
    saw_time(e, p, ms, 0);
    return !err && rd.bad ? CONFAB_CORRUPT : err;
}

static enum confab_err recover_confirms(struct engine *e, const struct log_record *rec)
{
    struct reader rd = reader_of(rec->data.p, rec->data.n);
    enum confab_err err = CONFAB_OK;
    while (!err && reader_left(&rd) > 0) {
        const uint8_t *start = rd.p;
        struct span raw = reader_bytes(&rd, 16);
        (void)reader_varint(&rd);
        (void)reader_u64(&rd);
        if (rd.bad) {
            return CONFAB_CORRUPT;
        }
        err = queue_record(e, conv_id_read(raw.p), rec->lsn, LOGREC_CONFIRM, 0,
                           span_of(start, (size_t)(rd.p - start)));
    }
    return err;
}

enum confab_err engine_recover_record(struct engine *e, const struct log_record *rec)
{
    struct partition *p = engine_partition(e, rec->partition);
    if (!p) {
        return CONFAB_INVALID;
    }
    if (rec->lsn < p->flushed_lsn) {
        return CONFAB_OK;
    }
    metrics_inc(e->metrics, METRIC_RECOVERY_RECORDS);
    e->tail_bytes += rec->data.n + LOG_RECORD_HEADER;
    enum confab_err err;
    switch (rec->version > LOGREC_VERSION ? 0 : rec->kind) {
    case LOGREC_EVENT:
        err = recover_event(e, p, rec);
        break;
    case LOGREC_CURSORS:
        err = recover_cursors(e, p, rec);
        break;
    case LOGREC_CONFIRM:
        err = recover_confirms(e, rec);
        break;
    case LOGREC_MEMBER:
        err = rec->data.n < 16 ? CONFAB_CORRUPT
                               : queue_record(e, conv_id_read(rec->data.p), rec->lsn, LOGREC_MEMBER,
                                              0, rec->data);
        break;
    default:
        err = CONFAB_VERSION;
    }
    if (err == CONFAB_VERSION || err == CONFAB_CORRUPT) {
        /* Never skipped: the partition's log is kept, for a program that knows it. */
        partition_stop(p, err);
        err = CONFAB_OK;
    }
    if (!err) {
        /* Events add their bytes when they are folded; without any the partition would be dirty and
         * seem clean. */
        engine_part_folded(e, p, rec->lsn, rec->kind == LOGREC_EVENT ? 0 : rec->data.n, 0);
    }
    return err;
}

enum confab_err engine_recover_end(struct engine *e)
{
    enum confab_err err = want_followups(e);
    uint64_t seen = atomic_load(&e->shared->log_clock_ms);
    uint64_t mine = e->floor_ms > 0 ? e->floor_ms - 1 : 0;
    while (mine > seen && !atomic_compare_exchange_weak(&e->shared->log_clock_ms, &seen, mine)) {
    }
    e->shared->recovered_ms = MAX(e->shared->recovered_ms, mine);
    if (!err) {
        e->recover_ended = true;
        e->floor_shared = true;
        engine_start_loads(e);
    }
    return err;
}

bool engine_is_recovered(const struct engine *e)
{
    return !e->recovering;
}

/* One queued record into its loaded conversation. */
static enum confab_err replay_record(struct engine *e, struct resident *r, uint64_t lsn,
                                     uint8_t kind, uint64_t ms, struct span bytes)
{
    struct reader rd = reader_of(bytes.p, bytes.n);
    switch (kind) {
    case LOGREC_EVENT: {
        struct event ev;
        enum confab_err err = event_decode(bytes, &ev);
        if (!err) {
            err = engine_fold_event(e, r, bytes, lsn, &ev);
        }
        if (!err) {
            uint64_t key = ev.cmid.n > 0 ? engine_dedup_hash(ev.actor, ev.cmid) : 0;
            err = recent_keys_put(&r->recent_keys, ev.seq, key);
        }
        r->next_seq = r->c.head_seq + 1;
        r->next_ord = r->c.ord;
        return err;
    }
    case LOGREC_CURSORS: {
        struct cursor_entry entry;
        if (!cursor_entry_next(&rd, &entry)) {
            return CONFAB_CORRUPT;
        }
        return engine_fold_cursor(e, r, &entry, ms, false);
    }
    case LOGREC_CONFIRM: {
        reader_bytes(&rd, 16);
        uint64_t seq = reader_varint(&rd);
        uint64_t user = reader_u64(&rd);
        return rd.bad ? CONFAB_CORRUPT : engine_fold_confirm(e, r, seq, user);
    }
    default:
        return engine_fold_member(r, bytes);
    }
}

void engine_replay(struct engine *e, struct resident *r)
{
    struct reader rd = reader_of(r->replay.data, r->replay.len);
    enum confab_err err = CONFAB_OK;
    e->replaying = true;
    while (!err && reader_left(&rd) > 0) {
        uint64_t lsn = reader_u64(&rd);
        uint8_t kind = reader_u8(&rd);
        uint64_t ms = reader_u64(&rd);
        struct span bytes = reader_blob(&rd);
        err = rd.bad ? CONFAB_CORRUPT : replay_record(e, r, lsn, kind, ms, bytes);
    }
    if (err) {
        partition_stop(r->p, err);
    }
    e->replaying = false;
    buf_deinit(&r->replay);
}
