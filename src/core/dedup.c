/*
 * Retries: a message whose (user, client_msg_id) was seen before is answered as the first one was.
 * The keys of what is not in the store are in the resident's map; of what is, each chunk has a row
 * of hashes, which is written with it, so that a message costs no row of its own. A probe walks the
 * rows of the last days, newest first, and then reads the message that it found: the row only says
 * where to look.
 */
#include <stdlib.h>

#include "base/hash64.h"
#include "core/engine_internal.h"

/* Rows of this many bytes are looked at in one go: some thousand messages. */
enum { PROBE_BYTES = 128 * 1024 };
/* Keys of repeated attempts are remembered for this long at least, unless there are too many: much
 * longer than a connection may be silent before it is closed. */
enum { LATE_S = 600, LATE_MAX = 32768 };

uint64_t engine_dedup_hash(uint64_t user, struct span cmid)
{
    uint64_t h = hash64(cmid.p, cmid.n, user);
    return h ? h : 1;
}

/*
 * A client that lost its connection repeats a message on another one. What it had sent on the first
 * may still lie in a socket, and be read when the repetition was stored and has left memory: marked
 * as a first attempt it would be stored again.
 */
static uint64_t late_key(const struct resident *r, uint64_t dedup_hash)
{
    uint8_t raw[16];
    conv_id_write(r->c.id, raw);
    return hash64(raw, sizeof(raw), dedup_hash);
}

void engine_dedup_late(struct engine *e, struct resident *r, uint64_t dedup_hash)
{
    uint64_t now = clock_mono_ns(e->clock);
    if (u64map_len(&e->late[0]) >= LATE_MAX || now - e->late_ns > LATE_S * 1000000000ULL) {
        u64map_deinit(&e->late[1]);
        e->late[1] = e->late[0];
        u64map_init(&e->late[0], now);
        e->late_ns = now;
    }
    if (u64map_put(&e->late[0], late_key(r, dedup_hash), 1)) {
        metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
    }
}

static bool is_late(const struct engine *e, const struct resident *r, const struct command *cmd)
{
    if (u64map_len(&e->late[0]) + u64map_len(&e->late[1]) == 0) {
        return false;
    }
    uint64_t key = late_key(r, engine_dedup_hash(cmd->actor, cmd->in.cmid));
    return u64map_has(&e->late[0], key) || u64map_has(&e->late[1], key);
}

static void answer_duplicate(struct engine *e, struct resident *r, struct command *cmd,
                             uint64_t seq, uint64_t id, uint64_t content_hash)
{
    if (content_hash != cmd->in.content_hash) {
        metrics_inc(e->metrics, METRIC_DEDUP_MISMATCHES);
        engine_complete(e, cmd, CONFAB_DUPLICATE_KEY, "client_msg_id");
        return;
    }
    metrics_inc(e->metrics, METRIC_DEDUP_HITS);
    cmd->ret_conv = r->c.id;
    cmd->ret_seq = seq;
    cmd->ret_id = id;
    cmd->duplicate = true;
    engine_complete(e, cmd, CONFAB_OK, NULL);
}

/* The store could not tell: the first waiting command ends with the error. */
static void probe_failed(struct engine *e, struct resident *r, struct command *cmd,
                         enum confab_err err)
{
    list_remove(&cmd->link);
    r->nwaiting--;
    engine_complete(e, cmd, err, NULL);
}

static void original_done(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    struct resident *r = job->r;
    struct reader rd = reader_of(job->records.data, job->records.len);
    enum confab_err err = job->err;
    r->busy = false;
    while (!err && reader_left(&rd) > 0 && cmd->work->original.len == 0) {
        struct span bytes = reader_blob(&rd);
        struct event ev;
        err = rd.bad ? CONFAB_CORRUPT : event_peek(bytes, &ev);
        if (!err && ev.seq == cmd->work->dedup_seq) {
            buf_put(&cmd->work->original, bytes.p, bytes.n);
        }
    }
    if (!err && cmd->work->original.len == 0) {
        err = CONFAB_CORRUPT; /* the chunk that the row belongs to is not there */
    }
    engine_job_free(job);
    if (err) {
        probe_failed(e, r, cmd, err);
    }
    engine_pump(e, r);
}

/* Reads the message that the key was found with. CONFAB_AGAIN: wait. */
static enum confab_err ask_original(struct engine *e, struct resident *r, struct command *cmd)
{
    struct engine_job *job = engine_job_new(e, r, cmd, original_done);
    enum confab_err err = job ? CONFAB_OK : CONFAB_NOMEM;
    if (job) {
        job->keys = calloc(2, sizeof(*job->keys));
        err = job->keys ? CONFAB_OK : CONFAB_NOMEM;
    }
    if (!err) {
        row_key_conv_seq(&job->keys[0], STORE_CHUNK, r->c.id, 1);
        row_key_conv_seq(&job->keys[1], STORE_CHUNK, r->c.id, cmd->work->dedup_seq);
        job->req.op = STORE_RANGE;
        job->req.table = STORE_CHUNK;
        job->req.key = job->keys[0].k.key;
        job->req.from = job->keys[0].k.sort;
        job->req.to = job->keys[1].k.sort;
        job->req.limit = 1;
        job->req.bytes_max = 1;
        job->req.reverse = true;
        job->decode = true;
        err = engine_job_submit(e, job);
    }
    if (err) {
        engine_job_free(job);
        return err;
    }
    r->busy = true;
    return CONFAB_AGAIN;
}

static enum confab_err probe_page(struct engine *e, struct engine_job *job)
{
    job->req.op = STORE_RANGE;
    job->req.table = STORE_DEDUP;
    job->req.key = job->keys[0].k.key;
    job->req.from = job->keys[0].k.sort;
    job->req.to = job->keys[1].k.sort;
    job->req.limit = UINT32_MAX;
    job->req.bytes_max = PROBE_BYTES;
    job->req.reverse = true;
    return engine_job_submit(e, job);
}

static enum confab_err find_key(const struct engine_job *job, uint64_t hash, uint64_t *ret_seq)
{
    enum confab_err err = job->err ? job->err : CONFAB_NOT_FOUND;
    for (uint32_t i = 0; err == CONFAB_NOT_FOUND && i < job->req.ret_nrows; i++) {
        const struct store_row *row = &job->req.ret_rows[i];
        uint64_t offset;
        err = row->sort.n == 10 ? row_dedup_find(row->value, hash, &offset) : CONFAB_CORRUPT;
        if (!err) {
            *ret_seq = row_sort_u64(span_of(row->sort.p + 2, 8)) + offset;
        }
    }
    return err;
}

static void probe_done(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    struct resident *r = job->r;
    enum confab_err err =
        find_key(job, engine_dedup_hash(cmd->actor, cmd->in.cmid), &cmd->work->dedup_seq);
    if (err == CONFAB_NOT_FOUND && job->req.ret_more) {
        /* The next page ends just below the last row; first seqs begin at 1. */
        struct span last = job->req.ret_rows[job->req.ret_nrows - 1].sort;
        uint16_t day = (uint16_t)(last.p[0] << 8 | last.p[1]);
        row_key_dedup(&job->keys[1], r->c.id, day, row_sort_u64(span_of(last.p + 2, 8)) - 1);
        store_request_deinit(&job->req);
        err = probe_page(e, job);
        if (!err) {
            return;
        }
    }
    r->busy = false;
    cmd->work->probed = true;
    engine_job_free(job);
    if (err && err != CONFAB_NOT_FOUND) {
        probe_failed(e, r, cmd, err);
    }
    engine_pump(e, r);
}

static enum confab_err probe(struct engine *e, struct resident *r, struct command *cmd)
{
    struct engine_job *job = engine_job_new(e, r, cmd, probe_done);
    if (!job) {
        return CONFAB_NOMEM;
    }
    job->keys = calloc(2, sizeof(*job->keys));
    enum confab_err err = job->keys && command_work_get(cmd) ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        uint64_t today = MAX(e->now_ms, r->p->last_ms) / 86400000U;
        row_key_dedup(&job->keys[0], r->c.id, (uint16_t)(today - e->cfg.dedup_days), 0);
        row_key_dedup(&job->keys[1], r->c.id, UINT16_MAX, UINT64_MAX);
        metrics_inc(e->metrics, METRIC_DEDUP_PROBES);
        err = probe_page(e, job);
    }
    if (err) {
        engine_job_free(job);
        return err;
    }
    r->busy = true;
    return CONFAB_OK;
}

/* Answers if the encoded message has the command's key. */
static bool answer_if_same(struct engine *e, struct resident *r, struct command *cmd,
                           struct span bytes)
{
    struct event ev;
    if (event_decode(bytes, &ev) || ev.actor != cmd->actor || !span_eq(ev.cmid, cmd->in.cmid)) {
        return false;
    }
    answer_duplicate(e, r, cmd, ev.seq, ev.id, ev.content_hash);
    return true;
}

enum confab_err engine_check_duplicate(struct engine *e, struct resident *r, struct command *cmd)
{
    uint64_t seq;
    if (u64map_get(&r->dedup, engine_dedup_hash(cmd->actor, cmd->in.cmid), &seq)) {
        if (seq > r->c.head_seq) {
            return CONFAB_AGAIN;
        }
        const struct slot *s = resident_slot(r, seq);
        if (s && answer_if_same(e, r, cmd, span_of(s->bytes, s->len))) {
            return CONFAB_EXISTS;
        }
    }
    struct command_work *w = cmd->work;
    if (w && w->dedup_seq > 0) {
        const struct slot *s = resident_slot(r, w->dedup_seq);
        if (!s && w->original.len == 0) {
            return ask_original(e, r, cmd);
        }
        struct span bytes =
            s ? span_of(s->bytes, s->len) : span_of(w->original.data, w->original.len);
        if (answer_if_same(e, r, cmd, bytes)) {
            return CONFAB_EXISTS;
        }
        w->dedup_seq = 0; /* another key with the same hash */
    }
    bool first = cmd->fresh && !is_late(e, r, cmd);
    if (!first && r->flushed_seq > 0 && !(w && w->probed)) {
        enum confab_err err = probe(e, r, cmd);
        return err ? err : CONFAB_AGAIN;
    }
    return CONFAB_OK;
}
