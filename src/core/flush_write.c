/*
 * The batch of a flush: chunks are read, merged, patched and compressed in the store's completion
 * calls, off the shard.
 *
 * Chunks are merged like the digits of a binary counter: a new run of events takes in the chunk
 * before it while that is not larger, so that an event is rewritten at most log2(128) times. Runs
 * of less than four events stay beside each other until there are four.
 */
#include <stdlib.h>

#include "base/check.h"
#include "core/flush_internal.h"

/* A run of fewer events than RUN_FEW is not merged until it would be the fourth such. */
enum { RUN_FEW = 4, RUNS_BESIDE = 3 };

void flush_hand_back(struct flush *f, enum confab_err err)
{
    f->err = err;
    struct engine *e = f->e;
    struct engine_job *job = f->req.arg;
    job->err = err;
    if (mpsc_push(&e->inbox, &job->node)) {
        e->host->ops->wake(e->host);
    }
}

void flush_request_done(struct store_request *req)
{
    struct engine_job *job = req->arg;
    struct flush *f = job->arg;
    if (req->ret_err) {
        flush_hand_back(f, req->ret_err);
    } else {
        f->then(f);
    }
}

static void ask(struct flush *f, void (*then)(struct flush *f))
{
    f->then = then;
    enum confab_err err = message_store_submit(f->e->store, &f->req);
    if (err) {
        flush_hand_back(f, err);
    }
}

static void reset_request(struct flush *f)
{
    void *arg = f->req.arg;
    store_request_deinit(&f->req);
    f->req = (struct store_request){.arg = arg, .done = flush_request_done};
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
    lc->day = flush_day_of(&ev);
    return err;
}

static enum confab_err write_patched(struct flush *f, struct flush_conv *fc,
                                     const struct loaded_chunk *lc);

/* What a row of the store holds. */
static enum confab_err take_chunk(struct flush *f, struct span value, uint64_t first_seq,
                                  struct loaded_chunk *ret)
{
    uint32_t count;
    *ret = (struct loaded_chunk){.first_seq = first_seq};
    enum confab_err err = chunk_decode(f->tools->codec, &ret->records, value, &count);
    return err ? err : loaded_end(ret);
}

static uint32_t to_load(const struct flush_conv *fc)
{
    return fc->merge - fc->nknown;
}

/* The merged chunks of a conversation, oldest first. */
static const struct chunk_ref *merged_chunks(const struct flush_conv *fc)
{
    return &fc->row.chunks[fc->row.nchunks - fc->merge];
}

/* What several conversations merge. */
static void merged_read(struct flush *f)
{
    const struct store_row *row = f->req.ret_rows;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = f->at; i < f->ahead && !err; i++) {
        struct flush_conv *fc = &f->convs[i];
        while (fc->nloaded < to_load(fc) && !err) {
            const struct chunk_ref *ref = &merged_chunks(fc)[fc->nloaded];
            struct loaded_chunk *lc = &fc->loaded[fc->nloaded++];
            err = row->found ? take_chunk(f, row->value, ref->first_seq, lc) : CONFAB_CORRUPT;
            if (!err && lc->last_seq - ref->first_seq != ref->count - 1) {
                err = CONFAB_CORRUPT;
            }
            row++;
        }
    }
    if (err) {
        flush_hand_back(f, err);
    } else {
        flush_work(f);
    }
}

static void ask_merged(struct flush *f)
{
    struct flush_tools *t = f->tools;
    uint32_t n = 0;
    uint32_t events = 0;
    f->ahead = f->at;
    while (f->ahead < f->nconvs && n < MERGE_KEYS_MAX && events < MERGE_EVENTS_MAX) {
        const struct flush_conv *fc = &f->convs[f->ahead];
        if (n + to_load(fc) > MERGE_KEYS_MAX) {
            break;
        }
        for (uint32_t i = 0; i < to_load(fc); i++) {
            const struct chunk_ref *ref = &merged_chunks(fc)[i];
            row_key_conv_seq(&t->merge_rows[n], STORE_CHUNK, fc->id, ref->first_seq);
            t->merge_keys[n] = t->merge_rows[n].k;
            events += ref->count;
            n++;
        }
        f->ahead++;
    }
    reset_request(f);
    f->req.op = STORE_GET;
    f->req.keys = t->merge_keys;
    f->req.nkeys = n;
    ask(f, merged_read);
}

/* A chunk of which overlays change something is written again at once. */
static void chunk_read(struct flush *f)
{
    struct flush_conv *fc = &f->convs[f->at];
    struct loaded_chunk lc = {.first_seq = 0};
    enum confab_err err = f->req.ret_nrows == 1 ? CONFAB_OK : CONFAB_CORRUPT;
    if (!err) {
        const struct store_row *row = &f->req.ret_rows[0];
        err = take_chunk(f, row->value, row_sort_u64(row->sort), &lc);
    }
    if (!err && (f->asked_seq < lc.first_seq || f->asked_seq > lc.last_seq)) {
        err = CONFAB_CORRUPT; /* a hole in the chunks */
    }
    err = err ? err : write_patched(f, fc, &lc);
    buf_deinit(&lc.records);
    if (err) {
        flush_hand_back(f, err);
    } else {
        flush_work(f);
    }
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

uint32_t flush_plan_merge(const struct row_header *row, uint32_t nnew)
{
    const struct chunk_ref *end = row->chunks + row->nchunks;
    uint32_t few = 0;
    while (few < row->nchunks && end[-1 - (int)few].count < RUN_FEW) {
        few++;
    }
    if (nnew == 0 || (nnew < RUN_FEW && few < RUNS_BESIDE)) {
        return 0;
    }
    uint32_t total = nnew;
    uint32_t n = 0;
    while (n < row->nchunks) {
        uint32_t count = end[-1 - (int)n].count;
        if ((n >= few && count > total) || count + total > CHUNK_EVENTS_MAX) {
            break;
        }
        total += count;
        n++;
    }
    return n;
}

/* Appends one event with the overlays applied; *ret_patched when one did. *ret is the event. */
static enum confab_err put_patched(const struct flush_conv *fc, struct span bytes, struct buf *out,
                                   bool *ret_patched, struct event *ret)
{
    enum confab_err err = event_decode(bytes, ret);
    bool patched = false;
    for (uint32_t i = err ? fc->noverlays : overlay_place(fc->overlays, fc->noverlays, ret->seq);
         i < fc->noverlays && fc->overlays[i].target_seq == ret->seq && !err; i++) {
        const struct overlay *o = &fc->overlays[i];
        struct event cause;
        err = event_decode(span_of(o->cause.bytes, o->cause.len), &cause);
        patched |= !err && event_patch(&cause, ret);
    }
    if (!err && patched) {
        struct buf b = {0};
        event_encode(&b, ret);
        buf_put_blob(out, b.data, b.len);
        err = buf_ok(&b) ? CONFAB_OK : CONFAB_NOMEM;
        buf_deinit(&b);
        *ret_patched = true;
    } else if (!err) {
        buf_put_blob(out, bytes.p, bytes.n);
    }
    return !err && !buf_ok(out) ? CONFAB_NOMEM : err;
}

static enum confab_err put_chunk(struct flush *f, struct conv_id id, uint64_t first_seq,
                                 const struct buf *records, uint32_t count)
{
    struct buf *value = &f->tools->value;
    buf_clear(value);
    enum confab_err err =
        chunk_encode(f->tools->codec, value, span_of(records->data, records->len), count, f->hurry);
    if (!err) {
        struct row_key rk;
        row_key_conv_seq(&rk, STORE_CHUNK, id, first_seq);
        store_batch_put(&f->batch, rk.k, span_of(value->data, value->len));
    }
    return err;
}

/* The run of events being formed into chunks. */
struct run {
    struct buf *records;
    struct buf *keys; /* the dedup row */
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
    if (run->keys->len > 0) {
        row_key_dedup(&rk, fc->id, run->day, run->first_seq);
        store_batch_put(&f->batch, rk.k, span_of(run->keys->data, run->keys->len));
    }
    f->batch.failed |= run->keys->failed;
    buf_clear(run->keys);
    run->moved_day = 0;
}

static enum confab_err run_close(struct flush *f, struct flush_conv *fc, struct run *run, bool full)
{
    if (run->count == 0) {
        return CONFAB_OK;
    }
    f->sealed += full;
    enum confab_err err = put_chunk(f, fc->id, run->first_seq, run->records, run->count);
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
    buf_clear(run->records);
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
    enum confab_err err = put_patched(fc, bytes, run->records, &patched, &ev);
    if (!err && ev.cmid.n > 0) {
        row_dedup_add(run->keys, run->count, engine_dedup_hash(ev.actor, ev.cmid));
    }
    run->day = err ? run->day : flush_day_of(&ev);
    run->count++;
    if (!err && (run->count == CHUNK_EVENTS_MAX || run->records->len >= CHUNK_BYTES_MAX / 2)) {
        err = run_close(f, fc, run, true);
    }
    return err;
}

/* The i-th merged chunk's events that are not in slots; its rows will be one with the run's. */
static enum confab_err write_merged(struct flush *f, struct flush_conv *fc, struct run *run,
                                    const struct chunk_ref *ref, uint32_t i)
{
    const struct loaded_chunk *lc = i < fc->nloaded ? &fc->loaded[i] : NULL;
    uint16_t day = lc ? lc->day : 0;
    if (!lc) {
        const struct slot *last = &fc->slots[ref->first_seq + ref->count - 1 - fc->first_seq];
        struct event ev;
        enum confab_err err = event_peek(span_of(last->bytes, last->len), &ev);
        if (err) {
            return err;
        }
        day = flush_day_of(&ev);
    }
    if (i == 0) {
        run->moved_day = day;
    } else {
        struct row_key rk;
        row_key_conv_seq(&rk, STORE_CHUNK, fc->id, ref->first_seq);
        store_batch_del(&f->batch, rk.k);
        row_key_dedup(&rk, fc->id, day, ref->first_seq);
        store_batch_del(&f->batch, rk.k);
    }
    struct reader rd = reader_of(lc ? lc->records.data : NULL, lc ? lc->records.len : 0);
    enum confab_err err = CONFAB_OK;
    for (uint64_t seq = ref->first_seq; reader_left(&rd) > 0 && !err; seq++) {
        struct span bytes = reader_blob(&rd);
        err = rd.bad ? CONFAB_CORRUPT : run_put(f, fc, run, bytes, seq);
    }
    return err;
}

/* New events, with the merged chunks before them, in chunks. */
static enum confab_err write_new(struct flush *f, struct flush_conv *fc)
{
    struct run run = {.records = &f->tools->records, .keys = &f->tools->keys};
    buf_clear(run.records);
    buf_clear(run.keys);
    CHECK(fc->nloaded == to_load(fc));
    enum confab_err err = CONFAB_OK;
    struct chunk_ref merged[HEADER_CHUNKS_MAX];
    memcpy(merged, merged_chunks(fc), fc->merge * sizeof(*merged));
    fc->row.nchunks = (uint8_t)(fc->row.nchunks - fc->merge);
    for (uint32_t i = 0; i < fc->merge && !err; i++) {
        err = write_merged(f, fc, &run, &merged[i], i);
    }
    for (uint32_t i = 0; i < fc->nslots && !err; i++) {
        err =
            run_put(f, fc, &run, span_of(fc->slots[i].bytes, fc->slots[i].len), fc->first_seq + i);
    }
    if (!err) {
        err = run_close(f, fc, &run, false);
    }
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
    flush_hand_back(f, CONFAB_OK);
}

void flush_write(struct flush *f)
{
    f->writing = true;
    ask(f, written);
}

void flush_unload(struct flush_conv *fc)
{
    for (uint32_t i = 0; i < fc->nloaded; i++) {
        buf_deinit(&fc->loaded[i].records);
    }
    fc->nloaded = 0;
}

void flush_work(struct flush *f)
{
    while (f->at < f->nconvs) {
        struct flush_conv *fc = &f->convs[f->at];
        if (f->at >= f->ahead && to_load(fc) > 0) {
            ask_merged(f);
            return;
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
            flush_hand_back(f, err);
            return;
        }
        flush_unload(fc);
        f->at++;
    }
    reset_request(f);
    f->req.op = STORE_WRITE;
    f->req.batch = f->batch;
    buf_init(&f->batch);
    flush_write(f);
}

void flush_work_there(struct flush *f)
{
    reset_request(f);
    f->req.op = STORE_GET; /* of nothing */
    ask(f, flush_work);
}

void flush_projected(struct dir_request *req)
{
    struct flush *f = req->arg;
    if (req->ret_err) {
        flush_hand_back(f, req->ret_err);
    } else {
        flush_work(f);
    }
}
