/*
 * Flush: what was folded since the last time goes to the store, a partition at a time, as one
 * atomic batch: chunks, headers, members' rows, dedup keys, the feed, and the partition's row that
 * says up to which LSN. The shard collects what has changed (it alone may look at residents);
 * chunks are read, merged, patched and compressed in the store's completion calls, off the shard.
 *
 * Chunks are merged like the digits of a binary counter: a new run of events takes in the chunk
 * before it while that is not larger, so that an event is rewritten at most log2(128) times.
 */
#include <stdlib.h>

#include "base/check.h"
#include "core/engine_internal.h"

enum { FLUSHES_MAX = 8, RETRY_MS = 1000, CHECK_MS = 20 };

/* A chunk as read: to be merged, or patched in place. */
struct loaded_chunk {
    struct buf records;
    uint64_t first_seq;
    uint64_t last_seq;
    uint16_t day; /* of the last event */
};

struct flush_conv {
    struct resident *r;
    struct conv_id id;
    struct slot *slots; /* the new events; bytes stay the resident's */
    uint32_t nslots;
    uint64_t first_seq;
    struct overlay *overlays; /* the resident's bytes */
    uint32_t noverlays;
    struct row_header row;
    struct buf header; /* canonical encoding, to stand behind the row header */
    uint64_t head_seq;
    struct loaded_chunk loaded[HEADER_CHUNKS_MAX]; /* to be merged */
    uint32_t nloaded;
    uint64_t patched_from; /* the chunk that was patched last */
    uint64_t patched_to;
    uint32_t merge; /* how many of row.chunks, from the end, are merged */
    uint32_t next_overlay;
};

struct flush {
    struct engine *e;
    struct partition *p;
    struct flush_conv *convs;
    uint32_t nconvs;
    uint32_t at; /* conversation being worked on */
    uint64_t asked_seq;
    uint32_t sealed;    /* chunks written in full */
    uint32_t rewritten; /* chunks written again for their overlays */
    struct store_request req;
    struct dir_request dir;
    struct row_key keys[2];
    struct buf batch;
    struct chunk_codec *codec;
    uint64_t lsn;
    enum confab_err err;
    uint64_t started_ns;
    bool writing; /* the batch was handed to the store */
    void (*then)(struct flush *f);
};

static void work(struct flush *f);

/* ---- off the shard ----------------------------------------------------------------------- */

static void flush_finish_on_shard(struct engine *e, struct engine_job *job);

/* Hands the flush back to the shard through the engine's inbox. */
static void hand_back(struct flush *f, enum confab_err err)
{
    f->err = err;
    struct engine *e = f->e;
    struct engine_job *job = f->req.arg;
    job->err = err;
    if (mpsc_push(&e->inbox, &job->node)) {
        e->host->ops->wake(e->host);
    }
}

static void request_done(struct store_request *req)
{
    struct engine_job *job = req->arg;
    struct flush *f = job->arg;
    if (req->ret_err) {
        hand_back(f, req->ret_err);
    } else {
        f->then(f);
    }
}

static void ask(struct flush *f, void (*then)(struct flush *f))
{
    f->then = then;
    enum confab_err err = message_store_submit(f->e->store, &f->req);
    if (err) {
        hand_back(f, err);
    }
}

static void reset_request(struct flush *f)
{
    void *arg = f->req.arg;
    store_request_deinit(&f->req);
    f->req = (struct store_request){.arg = arg, .done = request_done};
}

static uint16_t day_of(const struct event *ev)
{
    return (uint16_t)(event_time_ms(ev) / 86400000U);
}

static bool is_loaded(const struct flush_conv *fc, uint64_t seq)
{
    for (uint32_t i = 0; i < fc->nloaded; i++) {
        if (seq >= fc->loaded[i].first_seq && seq <= fc->loaded[i].last_seq) {
            return true;
        }
    }
    return seq >= fc->patched_from && seq <= fc->patched_to;
}

/* Finds the last event. */
static enum confab_err loaded_end(struct loaded_chunk *lc)
{
    struct reader rd = reader_of(lc->records.data, lc->records.len);
    struct event ev = {0};
    enum confab_err err = CONFAB_OK;
    while (!err && reader_left(&rd) > 0) {
        struct span bytes = reader_blob(&rd);
        err = rd.bad ? CONFAB_CORRUPT : event_peek(bytes, &ev);
    }
    lc->last_seq = ev.seq;
    lc->day = day_of(&ev);
    return err;
}

static enum confab_err write_patched(struct flush *f, struct flush_conv *fc,
                                     const struct loaded_chunk *lc);

/* What is to be merged waits for the new events; another one is written again at once. */
static void chunk_read(struct flush *f)
{
    struct flush_conv *fc = &f->convs[f->at];
    enum confab_err err = f->req.ret_nrows == 1 ? CONFAB_OK : CONFAB_CORRUPT;
    struct loaded_chunk lc = {.first_seq = 0};
    bool merge = false;
    uint32_t count;
    if (!err) {
        lc.first_seq = row_sort_u64(f->req.ret_rows[0].sort);
        err = chunk_decode(f->codec, &lc.records, f->req.ret_rows[0].value, &count);
    }
    if (!err) {
        err = loaded_end(&lc);
    }
    if (!err && (f->asked_seq < lc.first_seq || f->asked_seq > lc.last_seq)) {
        err = CONFAB_CORRUPT; /* a hole in the chunks */
    }
    for (uint32_t i = 0; i < fc->merge; i++) {
        merge |= fc->row.chunks[fc->row.nchunks - 1 - i].first_seq == lc.first_seq;
    }
    if (!err && merge) {
        fc->loaded[fc->nloaded++] = lc;
    } else {
        err = err ? err : write_patched(f, fc, &lc);
        buf_deinit(&lc.records);
    }
    if (err) {
        hand_back(f, err);
        return;
    }
    work(f);
}

/* Asks for the chunk that holds `seq`. */
static void ask_chunk(struct flush *f, struct conv_id id, uint64_t seq)
{
    reset_request(f);
    f->asked_seq = seq;
    row_key_conv_seq(&f->keys[0], STORE_CHUNK, id, 1);
    row_key_conv_seq(&f->keys[1], STORE_CHUNK, id, seq);
    f->req.op = STORE_RANGE;
    f->req.table = STORE_CHUNK;
    f->req.key = f->keys[0].k.key;
    f->req.from = f->keys[0].k.sort;
    f->req.to = f->keys[1].k.sort;
    f->req.limit = 1;
    f->req.bytes_max = 1;
    f->req.reverse = true;
    ask(f, chunk_read);
}

/* How many of the latest chunks the new events take in. */
static uint32_t plan_merge(const struct flush_conv *fc)
{
    uint32_t total = fc->nslots;
    uint32_t n = 0;
    while (total > 0 && n < fc->row.nchunks) {
        const struct chunk_ref *ref = &fc->row.chunks[fc->row.nchunks - 1 - n];
        if (ref->count > total || ref->count + total > CHUNK_EVENTS_MAX) {
            break;
        }
        total += ref->count;
        n++;
    }
    return n;
}

/* Appends one event with the overlays applied; *ret_patched when one did. *ret is the event. */
static enum confab_err put_patched(const struct flush_conv *fc, struct span bytes, struct buf *out,
                                   bool *ret_patched, struct event *ret)
{
    struct event ev;
    enum confab_err err = event_decode(bytes, &ev);
    bool patched = false;
    for (uint32_t i = err ? fc->noverlays : overlay_place(fc->overlays, fc->noverlays, ev.seq);
         i < fc->noverlays && fc->overlays[i].target_seq == ev.seq && !err; i++) {
        const struct overlay *o = &fc->overlays[i];
        struct event cause;
        err = event_decode(span_of(o->cause.bytes, o->cause.len), &cause);
        patched |= !err && event_patch(&cause, &ev);
    }
    if (!err && patched) {
        struct buf b = {0};
        event_encode(&b, &ev);
        buf_put_blob(out, b.data, b.len);
        err = buf_ok(&b) ? CONFAB_OK : CONFAB_NOMEM;
        buf_deinit(&b);
        *ret_patched = true;
    } else if (!err) {
        buf_put_blob(out, bytes.p, bytes.n);
    }
    *ret = ev;
    return !err && !buf_ok(out) ? CONFAB_NOMEM : err;
}

static enum confab_err put_chunk(struct flush *f, struct conv_id id, uint64_t first_seq,
                                 const struct buf *records, uint32_t count)
{
    struct buf value = {0};
    enum confab_err err =
        chunk_encode(f->codec, &value, span_of(records->data, records->len), count);
    if (!err) {
        struct row_key rk;
        row_key_conv_seq(&rk, STORE_CHUNK, id, first_seq);
        store_batch_put(&f->batch, rk.k, span_of(value.data, value.len));
    }
    buf_deinit(&value);
    return err;
}

/* The run of events being formed into chunks. */
struct run {
    struct buf records;
    struct buf keys; /* the dedup row */
    uint64_t first_seq;
    uint32_t count;
    uint16_t day;       /* of the last event */
    uint16_t moved_day; /* of the merged chunk that the run begins with; 0: none */
};

/* The row of keys lies under the day of the chunk's last event. */
static void put_keys(struct flush *f, const struct flush_conv *fc, struct run *run)
{
    struct row_key rk;
    if (run->moved_day != 0 && run->moved_day != run->day) {
        row_key_dedup(&rk, fc->id, run->moved_day, run->first_seq);
        store_batch_del(&f->batch, rk.k);
    }
    if (run->keys.len > 0) {
        row_key_dedup(&rk, fc->id, run->day, run->first_seq);
        store_batch_put(&f->batch, rk.k, span_of(run->keys.data, run->keys.len));
    }
    f->batch.failed |= run->keys.failed;
    buf_clear(&run->keys);
    run->moved_day = 0;
}

static enum confab_err run_close(struct flush *f, struct flush_conv *fc, struct run *run, bool full)
{
    if (run->count == 0) {
        return CONFAB_OK;
    }
    f->sealed += full;
    enum confab_err err = put_chunk(f, fc->id, run->first_seq, &run->records, run->count);
    put_keys(f, fc, run);
    struct row_header *row = &fc->row;
    if (full) {
        row->nchunks = 0; /* what lies before a full chunk is never merged again */
    } else {
        if (row->nchunks == HEADER_CHUNKS_MAX) {
            memmove(&row->chunks[0], &row->chunks[1],
                    (HEADER_CHUNKS_MAX - 1) * sizeof(row->chunks[0]));
            row->nchunks--;
        }
        row->chunks[row->nchunks++] = (struct chunk_ref){run->first_seq, run->count};
    }
    buf_clear(&run->records);
    run->count = 0;
    return err;
}

static enum confab_err run_put(struct flush *f, struct flush_conv *fc, struct run *run,
                               struct span bytes, uint64_t seq)
{
    bool patched = false;
    struct event ev;
    if (run->count == 0) {
        run->first_seq = seq;
    }
    enum confab_err err = put_patched(fc, bytes, &run->records, &patched, &ev);
    if (!err && ev.kind == EVENT_MESSAGE && ev.cmid.n > 0) {
        row_dedup_add(&run->keys, run->count, engine_dedup_hash(ev.actor, ev.cmid));
    }
    run->day = err ? run->day : day_of(&ev);
    run->count++;
    if (!err && (run->count == CHUNK_EVENTS_MAX || run->records.len >= CHUNK_BYTES_MAX / 2)) {
        err = run_close(f, fc, run, true);
    }
    return err;
}

/* New events, with the merged chunks before them, in chunks. */
static enum confab_err write_new(struct flush *f, struct flush_conv *fc)
{
    struct run run = {0};
    enum confab_err err = CONFAB_OK;
    uint32_t from = fc->row.nchunks - fc->merge;
    uint32_t to = fc->row.nchunks;
    struct chunk_ref merged[HEADER_CHUNKS_MAX];
    memcpy(merged, fc->row.chunks, sizeof(merged));
    fc->row.nchunks = (uint8_t)from;
    for (uint32_t i = from; i < to && !err; i++) {
        const struct loaded_chunk *lc = NULL;
        for (uint32_t j = 0; j < fc->nloaded && !lc; j++) {
            lc = fc->loaded[j].first_seq == merged[i].first_seq ? &fc->loaded[j] : NULL;
        }
        CHECK(lc);
        if (i > from) {
            struct row_key rk;
            row_key_conv_seq(&rk, STORE_CHUNK, fc->id, merged[i].first_seq);
            store_batch_del(&f->batch, rk.k);
            row_key_dedup(&rk, fc->id, lc->day, merged[i].first_seq);
            store_batch_del(&f->batch, rk.k);
        } else {
            run.moved_day = lc->day;
        }
        struct reader rd = reader_of(lc->records.data, lc->records.len);
        uint64_t seq = lc->first_seq;
        while (reader_left(&rd) > 0 && !err) {
            struct span bytes = reader_blob(&rd);
            err = rd.bad ? CONFAB_CORRUPT : run_put(f, fc, &run, bytes, seq++);
        }
    }
    for (uint32_t i = 0; i < fc->nslots && !err; i++) {
        err =
            run_put(f, fc, &run, span_of(fc->slots[i].bytes, fc->slots[i].len), fc->first_seq + i);
    }
    if (!err) {
        err = run_close(f, fc, &run, false);
    }
    buf_deinit(&run.records);
    buf_deinit(&run.keys);
    return err;
}

/* A chunk that is not merged but holds events that overlays change. */
static enum confab_err write_patched(struct flush *f, struct flush_conv *fc,
                                     const struct loaded_chunk *lc)
{
    struct buf records = {0};
    struct reader rd = reader_of(lc->records.data, lc->records.len);
    enum confab_err err = CONFAB_OK;
    bool patched = false;
    uint32_t count = 0;
    while (reader_left(&rd) > 0 && !err) {
        struct span bytes = reader_blob(&rd);
        struct event ev;
        err = rd.bad ? CONFAB_CORRUPT : put_patched(fc, bytes, &records, &patched, &ev);
        count++;
    }
    if (!err && patched) {
        f->rewritten++;
        err = put_chunk(f, fc->id, lc->first_seq, &records, count);
    }
    fc->patched_from = lc->first_seq;
    fc->patched_to = lc->last_seq;
    buf_deinit(&records);
    return err;
}

static enum confab_err write_conv(struct flush *f, struct flush_conv *fc)
{
    enum confab_err err = write_new(f, fc);
    struct buf row = {0};
    row_header_encode(&row, &fc->row);
    buf_put(&row, fc->header.data, fc->header.len);
    struct row_key rk;
    row_key_conv(&rk, STORE_HEADER, fc->id);
    store_batch_put(&f->batch, rk.k, span_of(row.data, row.len));
    bool ok = buf_ok(&row) && buf_ok(&f->batch);
    buf_deinit(&row);
    return !err && !ok ? CONFAB_NOMEM : err;
}

static void written(struct flush *f)
{
    hand_back(f, CONFAB_OK);
}

/* One conversation after the other: read what is needed, then write; at last the batch. */
static void work(struct flush *f)
{
    while (f->at < f->nconvs) {
        struct flush_conv *fc = &f->convs[f->at];
        for (uint32_t i = 0; i < fc->merge; i++) {
            uint64_t first = fc->row.chunks[fc->row.nchunks - 1 - i].first_seq;
            if (!is_loaded(fc, first)) {
                ask_chunk(f, fc->id, first);
                return;
            }
        }
        while (fc->next_overlay < fc->noverlays) {
            uint64_t seq = fc->overlays[fc->next_overlay].target_seq;
            bool stored = fc->nslots == 0 || seq < fc->first_seq;
            if (stored && !is_loaded(fc, seq)) {
                ask_chunk(f, fc->id, seq);
                return;
            }
            fc->next_overlay++;
        }
        enum confab_err err = write_conv(f, fc);
        if (err) {
            hand_back(f, err);
            return;
        }
        f->at++;
    }
    reset_request(f);
    f->req.op = STORE_WRITE;
    f->req.batch = f->batch;
    buf_init(&f->batch);
    f->writing = true;
    ask(f, written);
}

static void projected(struct dir_request *req)
{
    struct flush *f = req->arg;
    if (req->ret_err) {
        hand_back(f, req->ret_err);
    } else {
        work(f);
    }
}

/* ---- on the shard ------------------------------------------------------------------------ */

static void flush_free(struct flush *f)
{
    for (uint32_t i = 0; i < f->nconvs; i++) {
        struct flush_conv *fc = &f->convs[i];
        for (uint32_t j = 0; j < fc->nloaded; j++) {
            buf_deinit(&fc->loaded[j].records);
        }
        free(fc->slots);
        free(fc->overlays);
        buf_deinit(&fc->header);
    }
    struct engine_job *job = f->req.arg;
    store_request_deinit(&f->req);
    dir_request_deinit(&f->dir);
    buf_deinit(&f->batch);
    chunk_codec_free(f->codec);
    free(f->convs);
    free(f);
    engine_job_free(job);
}

/* Members' rows of a conversation whose header does not hold them. */
static void put_members(struct flush *f, struct resident *r)
{
    bool all = r->c.nmembers > CONV_INLINE_MEMBERS && !r->members_external;
    for (uint32_t i = 0; i < r->c.nmembers; i++) {
        struct member *m = &r->c.members[i];
        if (r->c.nmembers > CONV_INLINE_MEMBERS && (m->dirty || all)) {
            struct buf value = {0};
            conv_encode_member(&value, m);
            struct row_key rk;
            row_key_conv_seq(&rk, STORE_MEMBER, r->c.id, m->user);
            store_batch_put(&f->batch, rk.k, span_of(value.data, value.len));
            f->batch.failed |= value.failed;
            buf_deinit(&value);
        }
        m->dirty = false;
    }
    r->members_external = r->c.nmembers > CONV_INLINE_MEMBERS;
}

/* Drops the keys of days that nobody can ask about any more. */
static void forget_keys(struct flush *f, struct resident *r, const struct flush_conv *fc)
{
    struct event first;
    struct event last;
    if (fc->nslots == 0 || event_peek(span_of(fc->slots[0].bytes, fc->slots[0].len), &first) ||
        event_peek(span_of(fc->slots[fc->nslots - 1].bytes, fc->slots[fc->nslots - 1].len),
                   &last)) {
        return;
    }
    uint16_t today = day_of(&last);
    uint32_t keep = f->e->cfg.dedup_days + 1;
    if (r->row.dedup_day == 0) {
        r->row.dedup_day = day_of(&first);
    } else if (r->row.dedup_day + keep < today) {
        struct row_key from;
        struct row_key to;
        row_key_dedup(&from, r->c.id, r->row.dedup_day, 0);
        row_key_dedup(&to, r->c.id, (uint16_t)(today - keep), 0);
        store_batch_del_range(&f->batch, STORE_DEDUP, from.k.key, from.k.sort, to.k.sort);
        r->row.dedup_day = (uint16_t)(today - keep);
    }
}

static enum confab_err take_conv(struct flush *f, struct resident *r, struct flush_conv *fc)
{
    *fc = (struct flush_conv){.r = r, .id = r->c.id, .head_seq = r->c.head_seq};
    uint64_t first = r->flushed_seq + 1;
    fc->first_seq = first;
    fc->nslots = (uint32_t)(r->c.head_seq - r->flushed_seq);
    if (fc->nslots > 0) {
        fc->slots = malloc(fc->nslots * sizeof(*fc->slots));
        if (!fc->slots) {
            return CONFAB_NOMEM;
        }
        for (uint32_t i = 0; i < fc->nslots; i++) {
            struct slot *s = resident_slot(r, first + i);
            CHECK(s);
            fc->slots[i] = *s;
        }
    }
    if (r->noverlays > 0) {
        fc->overlays = malloc(r->noverlays * sizeof(*fc->overlays));
        if (!fc->overlays) {
            return CONFAB_NOMEM;
        }
        memcpy(fc->overlays, r->overlays, r->noverlays * sizeof(*fc->overlays));
        fc->noverlays = r->noverlays;
    }
    forget_keys(f, r, fc);
    put_members(f, r);
    fc->row = r->row;
    fc->merge = plan_merge(fc);
    conv_encode(&fc->header, &r->c, false);
    struct buf head = {0};
    struct row_head rh = {.head_seq = r->c.head_seq, .moved_ms = r->c.moved_ms};
    row_head_encode(&head, &rh);
    struct row_key rk;
    row_key_conv(&rk, STORE_HEAD, r->c.id);
    store_batch_put(&f->batch, rk.k, span_of(head.data, head.len));
    row_key_followup(&rk, r->p->number, r->c.id);
    if (r->c.nfollowups > 0) {
        store_batch_put(&f->batch, rk.k, span_str("1"));
    } else if (r->followup_row) {
        store_batch_del(&f->batch, rk.k);
    }
    r->followup_row_next = r->c.nfollowups > 0;
    bool ok = buf_ok(&head) && buf_ok(&fc->header) && buf_ok(&f->batch);
    buf_deinit(&head);
    return ok ? CONFAB_OK : CONFAB_NOMEM;
}

static void put_partition(struct flush *f)
{
    struct partition *p = f->p;
    struct buf value = {0};
    struct row_key rk;
    struct row_partition row = {
        .last_ms = p->last_ms, .counter = p->counter, .flushed_lsn = p->folded_lsn};
    row_partition_encode(&value, &row);
    row_key_partition(&rk, STORE_PARTITION, p->number);
    store_batch_put(&f->batch, rk.k, span_of(value.data, value.len));
    for (uint32_t at = 0; at < p->nfeed; at += FEED_BLOCK_MAX) {
        uint32_t n = MIN(p->nfeed - at, FEED_BLOCK_MAX);
        f->batch.failed |= value.failed; /* what is cleared is forgotten */
        buf_clear(&value);
        row_feed_encode(&value, &p->feed[at], n);
        row_key_feed(&rk, p->number, p->feed[at].id);
        store_batch_put(&f->batch, rk.k, span_of(value.data, value.len));
    }
    f->batch.failed |= value.failed;
    buf_deinit(&value);
}

/* Marks as under way what the batch holds; from here on changes count as new ones. */
static void mark_flushing(struct flush *f)
{
    struct partition *p = f->p;
    p->flushing = true;
    p->flushing_lsn = p->first_dirty_lsn;
    p->first_dirty_lsn = UINT64_MAX;
    p->flushing_bytes = p->dirty_bytes;
    p->dirty_bytes = 0;
    p->feed_flushing = p->nfeed;
    p->project_flushing = p->nproject;
    f->lsn = p->folded_lsn;
    for (uint32_t i = 0; i < f->nconvs; i++) {
        struct resident *r = f->convs[i].r;
        list_remove(&r->dirty);
        r->flushing = true;
        r->flushing_seq = r->c.head_seq;
        for (uint32_t k = 0; k < r->noverlays; k++) {
            r->overlays[k].flushing = true;
        }
        r->pins++;
    }
    f->e->flushes++;
    f->e->jobs++;
}

/* After a batch that was not written nobody knows which rows were in it. */
static void members_dirty_again(struct resident *r)
{
    for (uint32_t i = 0; i < r->c.nmembers; i++) {
        r->c.members[i].dirty = true;
    }
}

static void start(struct engine *e, struct partition *p)
{
    uint32_t n = 0;
    LIST_EACH(&p->dirty, it)
    {
        n++;
    }
    struct flush *f = calloc(1, sizeof(*f));
    struct engine_job *job = engine_job_new(e, NULL, NULL, flush_finish_on_shard);
    enum confab_err err = f && job ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        f->e = e;
        f->p = p;
        f->req.arg = job;
        f->req.done = request_done;
        job->arg = f;
        job->req.op = STORE_WRITE;
        f->convs = calloc(n + 1, sizeof(*f->convs));
        err = f->convs ? chunk_codec_new(&f->codec) : CONFAB_NOMEM;
    }
    if (err) {
        engine_job_free(job);
        if (f) {
            f->req.arg = NULL;
            flush_free(f);
        }
        p->retry_ms = e->now_ms + RETRY_MS;
        return;
    }
    LIST_EACH(&p->dirty, it)
    {
        if (!err) {
            f->nconvs++;
            err = take_conv(f, LIST_ENTRY(it, struct resident, dirty), &f->convs[f->nconvs - 1]);
        }
    }
    put_partition(f);
    if (err || !buf_ok(&f->batch)) {
        for (uint32_t i = 0; i < f->nconvs; i++) {
            members_dirty_again(f->convs[i].r);
        }
        flush_free(f);
        p->retry_ms = e->now_ms + RETRY_MS;
        return;
    }
    mark_flushing(f);
    job->started_ns = clock_mono_ns(e->clock);
    if (p->nproject > 0) {
        f->dir = (struct dir_request){.op = DIR_CONVERSATIONS_PROJECT,
                                      .done = projected,
                                      .arg = f,
                                      .partition = p->number,
                                      .lsn = f->lsn,
                                      .nconv_rows = p->nproject};
        f->dir.conv_rows = malloc(p->nproject * sizeof(*f->dir.conv_rows));
        if (f->dir.conv_rows) {
            memcpy(f->dir.conv_rows, p->project, p->nproject * sizeof(*f->dir.conv_rows));
            f->dir.rows_owned = true;
            err = directory_submit(e->directory, &f->dir);
        } else {
            err = CONFAB_NOMEM;
        }
        metrics_add(e->metrics, METRIC_DIR_PROJECTED, p->nproject);
        if (err) {
            hand_back(f, err);
        }
        return;
    }
    work(f);
}

static void drop_overlays(struct resident *r)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < r->noverlays; i++) {
        struct overlay *o = &r->overlays[i];
        if (o->flushing) {
            r->patch_bytes -= o->cause.len;
            free(o->cause.bytes);
        } else {
            r->overlays[kept++] = *o;
        }
    }
    r->overlay_gen += kept < r->noverlays;
    r->noverlays = kept;
    if (r->noverlays == 0) {
        free(r->overlays);
        r->overlays = NULL;
        r->cap_overlays = 0;
    }
}

static void conv_flushed(struct engine *e, struct flush_conv *fc)
{
    struct resident *r = fc->r;
    r->flushed_seq = fc->head_seq;
    fc->row.dedup_day = r->row.dedup_day;
    r->row = fc->row;
    drop_overlays(r);
    if (u64map_len(&r->dedup) > 0) {
        struct u64map_iter it = {0};
        while (u64map_next(&r->dedup, &it)) {
            if (*it.value <= r->flushed_seq) {
                u64map_del(&r->dedup, it.key, NULL);
            }
        }
        if (u64map_len(&r->dedup) == 0) {
            u64map_deinit(&r->dedup);
        } else {
            u64map_shrink(&r->dedup);
        }
    }
    resident_trim(r, e->cfg.recent_max);
}

/* A thousand partitions must not each keep room for their busiest moment. */
static void lists_trim(struct engine *e, struct partition *p)
{
    if (p->nfeed == 0) {
        free(p->feed);
        p->feed = NULL;
        p->cap_feed = 0;
    }
    if (p->nproject == 0) {
        free(p->project);
        p->project = NULL;
        p->cap_project = 0;
    }
    engine_account_part(e, p);
}

/*
 * Whether a batch that failed was written is not known. A batch made anew could be cut into other
 * chunks, and those of the first would lie across them: the very same batch is written again.
 */
static bool write_again(struct engine *e, struct flush *f)
{
    bool unknown = f->err && f->writing && f->err != CONFAB_INVALID && f->err != CONFAB_TOO_LARGE;
    if (unknown) {
        f->p->unwritten = f;
        f->p->retry_ms = e->now_ms + RETRY_MS;
    }
    return unknown;
}

void engine_flush_drop(struct partition *p)
{
    if (p->unwritten) {
        flush_free(p->unwritten);
        p->unwritten = NULL;
    }
}

static void flush_finish_on_shard(struct engine *e, struct engine_job *job)
{
    struct flush *f = job->arg;
    struct partition *p = f->p;
    if (write_again(e, f)) {
        return;
    }
    if (f->err == CONFAB_CORRUPT || f->err == CONFAB_VERSION) {
        partition_stop(p, f->err); /* it would never end, and its dirty bytes would only grow */
    }
    e->flushes--;
    p->flushing = false;
    for (uint32_t i = 0; i < f->nconvs; i++) {
        struct flush_conv *fc = &f->convs[i];
        struct resident *r = fc->r;
        r->pins--;
        r->flushing = false;
        if (!f->err) {
            r->followup_row = r->followup_row_next;
            conv_flushed(e, fc);
        } else {
            for (uint32_t k = 0; k < r->noverlays; k++) {
                r->overlays[k].flushing = false;
            }
            members_dirty_again(r);
            if (!list_is_linked(&r->dirty)) {
                list_push_back(&p->dirty, &r->dirty);
            }
        }
        r->flushing_seq = r->flushed_seq;
        for (uint32_t k = 0; k < r->ngarbage; k++) {
            r->patch_bytes -= r->garbage[k].len;
            free(r->garbage[k].bytes);
        }
        r->ngarbage = 0;
        r->extra_bytes = conv_extra_bytes(&r->c);
        engine_account(e, r);
        engine_touch(e, r);
    }
    if (f->err) {
        p->first_dirty_lsn = MIN(p->first_dirty_lsn, p->flushing_lsn);
        p->dirty_bytes += p->flushing_bytes;
        p->retry_ms = e->now_ms + RETRY_MS;
    } else {
        e->dirty_bytes -= p->flushing_bytes;
        p->flushed_lsn = f->lsn;
        p->nfeed -= p->feed_flushing;
        if (p->nfeed > 0) {
            memmove(p->feed, p->feed + p->feed_flushing, p->nfeed * sizeof(*p->feed));
        }
        p->nproject -= p->project_flushing;
        if (p->nproject > 0) {
            memmove(p->project, p->project + p->project_flushing,
                    p->nproject * sizeof(*p->project));
        }
        p->dirty_since_ms = e->now_ms;
        metrics_add(e->metrics, METRIC_STORE_WRITE_BYTES, p->flushing_bytes);
        metrics_add(e->metrics, METRIC_CHUNKS_SEALED, f->sealed);
        metrics_add(e->metrics, METRIC_CHUNKS_REWRITTEN, f->rewritten);
    }
    p->flushing_lsn = UINT64_MAX;
    p->flushing_bytes = 0;
    lists_trim(e, p);
    flush_free(f);
}

/* Not right after one that failed. The wall clock may have been set back since. */
static bool is_retry_due(const struct engine *e, const struct partition *p)
{
    return e->now_ms >= p->retry_ms || p->retry_ms > e->now_ms + RETRY_MS;
}

static bool may_flush(const struct engine *e, const struct partition *p)
{
    return p->first_dirty_lsn != UINT64_MAX && !p->flushing && !p->stopped && is_retry_due(e, p);
}

/* Under pressure the partitions that hold the oldest records go first. */
static struct partition *oldest(struct engine *e)
{
    struct partition *best = NULL;
    for (uint16_t i = 0; i < e->part_count; i++) {
        struct partition *p = &e->parts[i];
        if (may_flush(e, p) && (!best || p->first_dirty_lsn < best->first_dirty_lsn)) {
            best = p;
        }
    }
    return best;
}

static bool is_pressed(const struct engine *e)
{
    return e->dirty_bytes > e->cfg.dirty_bytes_max / 2 || e->pinned || e->flush_all;
}

void engine_flush_due(struct engine *e)
{
    bool pressed = is_pressed(e);
    if (e->recovering || (!pressed && e->now_ms < e->flush_check_ms &&
                          e->flush_check_ms < e->now_ms + 10U * CHECK_MS)) {
        return;
    }
    e->flush_check_ms = e->now_ms + CHECK_MS;
    for (uint16_t i = 0; i < e->part_count; i++) {
        struct partition *p = &e->parts[i];
        if (p->unwritten && is_retry_due(e, p)) {
            struct flush *f = p->unwritten;
            p->unwritten = NULL;
            f->req.ret_err = CONFAB_OK;
            e->jobs++;
            ask(f, written);
        }
    }
    while (e->flushes < FLUSHES_MAX) {
        struct partition *p = oldest(e);
        bool aged = p && (e->now_ms >= p->dirty_since_ms + e->cfg.flush_after_ms ||
                          e->now_ms < p->dirty_since_ms);
        if (!p || (!pressed && !aged)) {
            break;
        }
        start(e, p);
        pressed = is_pressed(e);
    }
}
