/*
 * Finding the event that a command points at: which conversation and seq a message id has, by the
 * feed in memory or in the store, and the event itself, by memory or its chunk.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

/* ---- look-up by message id --------------------------------------------------------------- */

enum confab_err engine_feed_find(struct engine *e, struct partition *p, uint64_t id,
                                 struct feed_entry *ret)
{
    (void)e;
    if (p->nfeed == 0 || id < p->feed[0].id) {
        return CONFAB_AGAIN;
    }
    uint32_t lo = 0;
    uint32_t hi = p->nfeed;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (p->feed[mid].id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == p->nfeed || p->feed[lo].id != id) {
        return CONFAB_NOT_FOUND;
    }
    *ret = p->feed[lo];
    return CONFAB_OK;
}

static void feed_done(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    struct feed_entry entry;
    enum confab_err err = job->err;
    if (!err && job->req.ret_nrows == 0) {
        err = CONFAB_NOT_FOUND;
    }
    if (!err) {
        err = row_feed_find(job->req.ret_rows[0].value, cmd->in.target_id, &entry);
    }
    engine_job_free(job);
    struct command_work *w = command_work_get(cmd);
    if (!err && !w) {
        err = CONFAB_NOMEM;
    }
    if (err) {
        engine_complete(e, cmd, err, "message_id");
        return;
    }
    w->looked_up = true;
    w->target_seq = entry.seq;
    cmd->conv = entry.conv;
    engine_submit(e, cmd);
}

enum confab_err engine_feed_ask(struct engine *e, struct command *cmd)
{
    struct engine_job *job = engine_job_new(e, NULL, cmd, feed_done);
    if (job) {
        job->keys = calloc(2, sizeof(*job->keys));
    }
    if (!job || !job->keys) {
        engine_job_free(job);
        return CONFAB_NOMEM;
    }
    uint16_t number = message_id_partition(cmd->in.target_id);
    row_key_feed(&job->keys[0], number, 0);
    row_key_feed(&job->keys[1], number, cmd->in.target_id);
    job->req.op = STORE_RANGE;
    job->req.table = STORE_FEED;
    job->req.key = job->keys[0].k.key;
    job->req.from = job->keys[0].k.sort;
    job->req.to = job->keys[1].k.sort;
    job->req.limit = 1;
    job->req.bytes_max = 1U << 20;
    job->req.reverse = true;
    enum confab_err err = engine_job_submit(e, job);
    if (err) {
        engine_job_free(job);
    }
    return err;
}

/* ---- one event --------------------------------------------------------------------------- */

static void fetch_done(struct engine *e, struct engine_job *job)
{
    struct resident *r = job->r;
    struct command *cmd = job->cmd;
    struct command_work *w = cmd->work;
    enum confab_err err = job->err;
    r->busy = false;
    if (!err && job->gen != r->overlay_gen) {
        /* As in collect_chunks_done: what was read may be without a change that is stored now. */
        engine_job_free(job);
        engine_pump(e, r);
        return;
    }
    w->fetched = true;
    struct reader rd = reader_of(job->records.data, job->records.len);
    while (!err && reader_left(&rd) > 0) {
        struct span bytes = reader_blob(&rd);
        struct event ev;
        err = rd.bad ? CONFAB_CORRUPT : event_peek(bytes, &ev);
        if (!err && (w->target_seq ? ev.seq == w->target_seq : ev.id == cmd->in.target_id)) {
            w->target_seq = ev.seq;
            err = resident_patched(r, bytes, &w->target);
            break;
        }
    }
    engine_job_free(job);
    if (err) {
        list_remove(&cmd->link);
        r->nwaiting--;
        engine_complete(e, cmd, err, NULL);
    }
    engine_pump(e, r);
}

/* The event in memory with this id, by binary search: ids rise with seq. */
static struct slot *slot_by_id(struct resident *r, uint64_t id, bool *ret_below)
{
    uint32_t lo = 0;
    uint32_t hi = r->nslots;
    struct event ev;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        struct slot *s = &r->slots[r->slots_at + mid];
        if (event_peek(span_of(s->bytes, s->len), &ev)) {
            break;
        }
        if (ev.id == id) {
            return s;
        }
        if (ev.id < id) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    *ret_below = lo == 0 && r->mem_first > 1;
    return NULL;
}

static void find_target_done(struct engine *e, struct engine_job *job)
{
    struct resident *r = job->r;
    struct command *cmd = job->cmd;
    struct command_work *w = cmd->work;
    enum confab_err err = job->err;
    struct feed_entry entry;
    r->busy = false;
    w->looked_up = true;
    if (!err && job->req.ret_nrows > 0) {
        err = row_feed_find(job->req.ret_rows[0].value, cmd->in.target_id, &entry);
        w->target_seq = !err && conv_id_eq(entry.conv, r->c.id) ? entry.seq : 0;
        err = err == CONFAB_NOT_FOUND ? CONFAB_OK : err;
    }
    w->fetched = w->target_seq == 0; /* it is not in this conversation */
    engine_job_free(job);
    if (err) {
        list_remove(&cmd->link);
        r->nwaiting--;
        engine_complete(e, cmd, err, NULL);
    }
    engine_pump(e, r);
}

static enum confab_err ask_where(struct engine *e, struct resident *r, struct command *cmd)
{
    struct feed_entry entry;
    enum confab_err err = engine_feed_find(e, r->p, cmd->in.target_id, &entry);
    if (message_id_partition(cmd->in.target_id) != r->p->number || err == CONFAB_NOT_FOUND ||
        (!err && !conv_id_eq(entry.conv, r->c.id))) {
        cmd->work->looked_up = true;
        cmd->work->fetched = true;
        return CONFAB_OK;
    }
    if (!err) {
        cmd->work->looked_up = true;
        cmd->work->target_seq = entry.seq;
        return CONFAB_OK;
    }
    struct engine_job *job = engine_job_new(e, r, cmd, find_target_done);
    if (job) {
        job->keys = calloc(2, sizeof(*job->keys));
    }
    if (!job || !job->keys) {
        engine_job_free(job);
        return CONFAB_NOMEM;
    }
    row_key_feed(&job->keys[0], r->p->number, 0);
    row_key_feed(&job->keys[1], r->p->number, cmd->in.target_id);
    job->req.op = STORE_RANGE;
    job->req.table = STORE_FEED;
    job->req.key = job->keys[0].k.key;
    job->req.from = job->keys[0].k.sort;
    job->req.to = job->keys[1].k.sort;
    job->req.limit = 1;
    job->req.bytes_max = 1U << 20;
    job->req.reverse = true;
    err = engine_job_submit(e, job);
    if (err) {
        engine_job_free(job);
        return err;
    }
    r->busy = true;
    return CONFAB_AGAIN;
}

enum confab_err engine_fetch_target(struct engine *e, struct resident *r, struct command *cmd)
{
    struct command_work *w = command_work_get(cmd);
    if (!w) {
        return CONFAB_NOMEM;
    }
    if (w->fetched) {
        return CONFAB_OK;
    }
    struct slot *s = NULL;
    if (w->target_seq == 0 && !w->looked_up) {
        bool below = false;
        s = slot_by_id(r, cmd->in.target_id, &below);
        if (!s && below) {
            enum confab_err err = ask_where(e, r, cmd);
            if (err || w->fetched) {
                return err;
            }
        } else if (!s) {
            w->fetched = true;
            return CONFAB_OK;
        }
    }
    if (!s) {
        s = resident_slot(r, w->target_seq);
    }
    if (s) {
        struct event ev;
        enum confab_err err = event_peek(span_of(s->bytes, s->len), &ev);
        if (!err) {
            w->target_seq = ev.seq;
            w->fetched = true;
            buf_put_blob(&w->target, s->bytes, s->len);
        }
        return err ? err : buf_ok(&w->target) ? CONFAB_OK : CONFAB_NOMEM;
    }
    if (w->target_seq == 0 || w->target_seq > r->c.head_seq) {
        w->fetched = true;
        return CONFAB_OK;
    }
    struct engine_job *job = engine_job_new(e, r, cmd, fetch_done);
    if (job) {
        job->gen = r->overlay_gen;
    }
    enum confab_err err =
        job ? engine_chunks_ask(e, job, r->c.id, 1, w->target_seq, 1) : CONFAB_NOMEM;
    if (err) {
        engine_job_free(job);
        return err;
    }
    r->busy = true;
    return CONFAB_AGAIN;
}
