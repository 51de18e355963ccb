/*
 * Retries: a message whose (user, client_msg_id) was seen before is answered as the first one was.
 * The keys of what is not in the store are in the resident (recent_keys.h). Of what is, each chunk
 * has a row of hashes, which is written with it, so that a message costs no row of its own; and
 * filters in memory (keys.h), made of the rows when a conversation is first asked for one, say
 * which of the rows may have a key. Most often none: then nothing is read. Else they are walked,
 * newest first, and then the message is read that was found: the row only says where to look.
 */
#include <stdlib.h>

#include "base/check.h"
#include "base/hash64.h"
#include "core/engine_internal.h"

/* Rows of this many bytes are looked at in one go: some thousand messages. The rows that may still
 * be merged are far fewer: no key moves from a page that is not read yet to one that was. */
enum { PROBE_BYTES = 128 * 1024 };
/* Keys of repeated attempts are remembered for this long at least, unless there are too many: much
 * longer than a connection may be silent before it is closed. */
enum { LATE_S = 600, LATE_MAX = 32768 };

uint64_t engine_dedup_hash(uint64_t user, struct span cmid)
{
    uint64_t h = hash64(cmid.p, cmid.n, user);
    return h ? h : 1;
}

uint64_t engine_key_hash(struct command *cmd)
{
    if (cmd->key_hash == 0) {
        cmd->key_hash = engine_dedup_hash(cmd->actor, cmd->in.cmid);
    }
    return cmd->key_hash;
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

static bool is_late(const struct engine *e, const struct resident *r, struct command *cmd)
{
    if (u64map_len(&e->late[0]) + u64map_len(&e->late[1]) == 0) {
        return false;
    }
    uint64_t key = late_key(r, engine_key_hash(cmd));
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

/* The earliest day whose keys count at this time. */
static uint16_t first_day(const struct engine *e, uint64_t ms)
{
    uint64_t today = ms / 86400000U;
    return (uint16_t)(today - MIN(today, e->cfg.dedup_days));
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

static enum confab_err ask_keys(struct engine *e, struct engine_job *job)
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

/* The next page ends just below the last row; first seqs begin at 1. */
static enum confab_err ask_more_keys(struct engine *e, struct engine_job *job)
{
    struct span last = job->req.ret_rows[job->req.ret_nrows - 1].sort;
    uint64_t first_seq = row_dedup_first_seq(last);
    row_key_dedup(&job->keys[1], job->r->c.id, row_dedup_day(last), first_seq - 1);
    store_request_deinit(&job->req);
    return ask_keys(e, job);
}

/* Reads rows of keys, newest first. */
static enum confab_err read_keys(struct engine *e, struct resident *r, struct command *cmd,
                                 const struct key_range *range,
                                 void (*done)(struct engine *e, struct engine_job *job))
{
    struct engine_job *job = engine_job_new(e, r, cmd, done);
    if (!job) {
        return CONFAB_NOMEM;
    }
    job->keys = calloc(2, sizeof(*job->keys));
    enum confab_err err = job->keys ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        row_key_dedup(&job->keys[0], r->c.id, range->day_lo, range->lo);
        row_key_dedup(&job->keys[1], r->c.id, range->day_hi, range->hi);
        err = ask_keys(e, job);
    }
    if (err) {
        engine_job_free(job);
        return err;
    }
    r->busy = true;
    return CONFAB_AGAIN;
}

/* The newest message with this hash below `below`. */
static enum confab_err find_key(const struct engine_job *job, uint64_t hash, uint64_t below,
                                uint64_t *ret_seq)
{
    enum confab_err err = job->err ? job->err : CONFAB_NOT_FOUND;
    for (uint32_t i = 0; err == CONFAB_NOT_FOUND && i < job->req.ret_nrows; i++) {
        const struct store_row *row = &job->req.ret_rows[i];
        uint64_t offset;
        err = row->sort.n == 10 ? row_dedup_find(row->value, hash, &offset) : CONFAB_CORRUPT;
        if (!err && row_dedup_first_seq(row->sort) + offset >= below) {
            err = CONFAB_NOT_FOUND;
        } else if (!err) {
            *ret_seq = row_dedup_first_seq(row->sort) + offset;
        }
    }
    return err;
}

static void probe_done(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    struct command_work *w = cmd->work;
    struct resident *r = job->r;
    enum confab_err err = find_key(job, engine_key_hash(cmd), w->below, &w->dedup_seq);
    if (err == CONFAB_NOT_FOUND && job->req.ret_more) {
        err = ask_more_keys(e, job);
        if (!err) {
            return;
        }
    }
    r->busy = false;
    engine_job_free(job);
    if (!err) {
        w->below = w->dedup_seq; /* should it be another key with the same hash */
    } else if (err == CONFAB_NOT_FOUND) {
        w->below = w->next_below;
        metrics_inc(e->metrics, METRIC_DEDUP_MISSES);
    } else {
        probe_failed(e, r, cmd, err);
    }
    engine_pump(e, r);
}

/* A filter over a page of rows. The newest one has room for what comes. */
static enum confab_err take_page(struct keys *k, const struct engine_job *job)
{
    struct key_filter f;
    size_t bytes = 0;
    uint32_t n = job->req.ret_nrows;
    for (uint32_t i = 0; i < n; i++) {
        bytes += job->req.ret_rows[i].value.n;
    }
    uint32_t count = row_dedup_count_max(bytes);
    uint32_t more = k->n == 0 ? MIN(MAX(count / 2, 256U), KEYS_FILTER_KEYS) : 0;
    enum confab_err err = job->err ? job->err : key_filter_init(&f, count + more);
    if (err) {
        return err;
    }
    for (uint32_t i = 0; i < n && !err; i++) {
        const struct store_row *row = &job->req.ret_rows[i];
        struct row_dedup_iter it;
        struct key_days days = {0, UINT16_MAX};
        if (row->sort.n == 10) {
            days.first = days.last = row_dedup_day(row->sort);
        }
        err = row->sort.n == 10 ? row_dedup_open(&it, row->value) : CONFAB_CORRUPT;
        while (!err && row_dedup_next(&it)) {
            key_filter_add(&f, it.hash, row_dedup_first_seq(row->sort) + it.offset, days);
        }
        err = !err && it.bad ? CONFAB_CORRUPT : err;
    }
    if (!err && f.count > 0) {
        err = keys_put_older(k, &f);
    } else {
        key_filter_deinit(&f);
        return err;
    }
    if (err) {
        key_filter_deinit(&f);
    }
    return err;
}

static void keys_read(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    struct resident *r = job->r;
    /* Memory was short when a flush added its own: what came before is of no use without. */
    enum confab_err err = r->keys ? take_page(r->keys, job) : CONFAB_NOMEM;
    if (!err && job->req.ret_more) {
        err = ask_more_keys(e, job);
        if (!err) {
            return;
        }
    }
    r->busy = false;
    engine_job_free(job);
    if (err) {
        keys_free(r->keys);
        r->keys = NULL;
        probe_failed(e, r, cmd, err);
    } else {
        r->keys->ready = true;
    }
    engine_pump(e, r);
}

/* Makes the filters over all keys in the store, of the days that count. */
static enum confab_err load_keys(struct engine *e, struct resident *r, struct command *cmd)
{
    /* Of what was stamped, not of the clock: that may be set back, and what is left out now would
     * be missing then. */
    uint16_t day = first_day(e, r->p->last_ms);
    r->keys = keys_new();
    if (!r->keys) {
        return CONFAB_NOMEM;
    }
    if (r->flushed_seq == 0 || r->c.moved_ms / 86400000U < day) {
        r->keys->ready = true; /* nothing is there, or all of it is too old */
        return CONFAB_OK;
    }
    const struct key_range all = {
        .day_lo = day, .hi = UINT64_MAX, .day_hi = UINT16_MAX, .below = 1};
    metrics_inc(e->metrics, METRIC_DEDUP_LOADS);
    enum confab_err err = read_keys(e, r, cmd, &all, keys_read);
    if (err != CONFAB_AGAIN) {
        keys_free(r->keys);
        r->keys = NULL;
    }
    return err;
}

/* Looks among what is in the store. CONFAB_OK: it is not there. CONFAB_AGAIN: wait. */
static enum confab_err probe(struct engine *e, struct resident *r, struct command *cmd)
{
    if (!r->keys) {
        enum confab_err err = load_keys(e, r, cmd);
        if (err) {
            return err;
        }
    }
    DCHECK(r->keys->ready);
    uint16_t day = first_day(e, MAX(e->now_ms, r->p->last_ms));
    uint64_t below = cmd->work && cmd->work->below ? cmd->work->below : UINT64_MAX;
    uint64_t hash = engine_key_hash(cmd);
    struct key_range range;
    if (!keys_find(r->keys, hash, below, day, &range)) {
        return CONFAB_OK;
    }
    struct command_work *w = command_work_get(cmd);
    if (!w) {
        return CONFAB_NOMEM;
    }
    w->below = below;
    w->next_below = range.below;
    metrics_inc(e->metrics, METRIC_DEDUP_PROBES);
    return read_keys(e, r, cmd, &range, probe_done);
}

/* Puts the keys of messages that are stored now into the filters, in the order of their seqs. */
static enum confab_err add_stored(struct resident *r, uint64_t from, struct key_days days)
{
    enum confab_err err = CONFAB_OK;
    for (uint64_t seq = from; seq <= r->flushed_seq && !err; seq++) {
        uint64_t hash = recent_keys_hash(&r->recent_keys, seq);
        if (hash != 0) {
            err = keys_add(r->keys, hash, seq, days);
        }
    }
    return err;
}

void engine_dedup_flushed(struct engine *e, struct resident *r, uint64_t from, struct key_days days)
{
    bool full = e->cache_bytes > e->cfg.cache_bytes_max && r->keys && r->keys->ready;
    if (r->keys && (full || add_stored(r, from, days))) {
        keys_free(r->keys); /* read again when it is asked for next */
        r->keys = NULL;
    }
    if (r->keys) {
        keys_expire(r->keys, first_day(e, r->p->last_ms));
    }
    recent_keys_drop(&r->recent_keys, r->flushed_seq);
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
    if (recent_keys_find(&r->recent_keys, engine_key_hash(cmd), &seq)) {
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
        buf_clear(&w->original);
    }
    return cmd->fresh && !is_late(e, r, cmd) ? CONFAB_OK : probe(e, r, cmd);
}
