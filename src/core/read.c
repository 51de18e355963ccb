/*
 * Reading events: the newest are in memory, the others in chunks of the store, and what a flush
 * under way has not written yet lies over them as overlays. Everything that reads a range goes
 * through struct collect, which merges the three and leaves out what the member may not see.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

enum {
    HISTORY_MAX = 1000,
    HISTORY_BYTES = 4 << 20, /* after which a page of it ends early */
    AHEAD_EVENTS = 512,      /* asked for at once, at most */
    AHEAD_CHUNKS = 16,
    /* What an answer has of them, with what else is in the first and the last chunk. */
    FETCH_EVENTS = AHEAD_EVENTS + CHUNK_EVENTS_MAX,
};

uint32_t overlay_place(const struct overlay *list, uint32_t n, uint64_t seq)
{
    uint32_t lo = 0;
    uint32_t hi = n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (list[mid].target_seq < seq) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

enum confab_err resident_patched(const struct resident *r, struct span bytes, struct buf *out)
{
    struct event ev;
    if (r->noverlays > 0 && !event_peek(bytes, &ev) &&
        (ev.kind == EVENT_MESSAGE || ev.kind == EVENT_EDIT || ev.kind == EVENT_DRAFT)) {
        bool patched = false;
        enum confab_err err = CONFAB_OK;
        for (uint32_t i = overlay_place(r->overlays, r->noverlays, ev.seq);
             i < r->noverlays && r->overlays[i].target_seq == ev.seq && !err; i++) {
            const struct overlay *o = &r->overlays[i];
            struct event cause;
            if (!patched) {
                err = event_decode(bytes, &ev);
            }
            if (!err) {
                err = event_decode(span_of(o->cause.bytes, o->cause.len), &cause);
            }
            if (!err) {
                event_patch(&cause, &ev);
                patched = true;
            }
        }
        if (err) {
            return err;
        }
        if (patched) {
            struct buf b = {0};
            event_encode(&b, &ev);
            buf_put_blob(out, b.data, b.len);
            bool ok = buf_ok(&b) && buf_ok(out);
            buf_deinit(&b);
            return ok ? CONFAB_OK : CONFAB_NOMEM;
        }
    }
    buf_put_blob(out, bytes.p, bytes.n);
    return buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

enum confab_err engine_chunks_ask(struct engine *e, struct engine_job *job, struct conv_id conv,
                                  uint64_t from, uint64_t seq, uint32_t limit)
{
    free(job->keys);
    job->keys = calloc(2, sizeof(*job->keys));
    if (!job->keys) {
        return CONFAB_NOMEM;
    }
    row_key_conv_seq(&job->keys[0], STORE_CHUNK, conv, from);
    row_key_conv_seq(&job->keys[1], STORE_CHUNK, conv, seq);
    job->req.op = STORE_RANGE;
    job->req.table = STORE_CHUNK;
    job->req.key = job->keys[0].k.key;
    job->req.from = job->keys[0].k.sort;
    job->req.to = job->keys[1].k.sort;
    job->req.limit = limit;
    job->req.bytes_max = 1U << 20;
    job->req.reverse = true;
    job->decode = true;
    return engine_job_submit(e, job);
}

void collect_deinit(struct collect *c)
{
    for (uint32_t i = 0; i < c->nparts; i++) {
        buf_deinit(&c->parts[i]);
    }
    free(c->parts);
    buf_deinit(&c->out);
}

/* An event that is looked at. */
struct piece {
    struct span bytes;
    uint64_t seq;
    uint64_t id;
    uint8_t kind;
};

/* Appends the event as the member may see it. */
static enum confab_err collect_put(const struct collect *c, const struct member *m,
                                   const struct piece *p, struct buf *out)
{
    struct event ev;
    enum confab_err err = p->kind == EVENT_EDIT ? event_decode(p->bytes, &ev) : CONFAB_OK;
    if (err || p->kind != EVENT_EDIT || !event_blank_for(&ev, m)) {
        return err ? err : resident_patched(c->r, p->bytes, out);
    }
    struct buf b = {0};
    event_encode(&b, &ev);
    buf_put_blob(out, b.data, b.len);
    bool ok = buf_ok(&b) && buf_ok(out);
    buf_deinit(&b);
    return ok ? CONFAB_OK : CONFAB_NOMEM;
}

/* Looks at one event: is it to be kept? False when the collection is complete before it. */
static bool collect_take(struct collect *c, const struct member *m, const struct piece *p,
                         bool *ret_keep)
{
    *ret_keep = false;
    if (c->reverse && c->before_id && p->id <= c->before_id) {
        c->stopped_at_id = true;
        return false;
    }
    if (!c->unseen && (!m || !member_sees(m, p->seq))) {
        /* However much lies between, it need not be read. */
        if (!m || !member_next_visible(m, p->seq, c->reverse, &c->at)) {
            c->at = c->reverse ? c->lo - 1 : c->hi + 1;
        }
        return true;
    }
    if (!c->messages_only || p->kind == EVENT_MESSAGE ||
        (c->with_changes && event_is_change(p->kind))) {
        if (c->count >= c->limit || (c->bytes_max > 0 && c->bytes >= c->bytes_max)) {
            return false;
        }
        c->count++;
        c->bytes += p->bytes.n;
        *ret_keep = true;
    }
    c->at = c->reverse ? p->seq - 1 : p->seq + 1;
    return true;
}

static void collect_finish(struct collect *c, enum confab_err err)
{
    if (c->reverse) {
        c->covered_to = c->hi;
        c->covered_from = c->at + 1;
        if (c->nparts == 1) {
            c->out = c->parts[0];
            c->nparts = 0;
        }
        for (uint32_t i = c->nparts; i > 0 && !err; i--) {
            buf_put(&c->out, c->parts[i - 1].data, c->parts[i - 1].len);
        }
    } else {
        c->covered_from = c->lo;
        c->covered_to = c->at - 1;
    }
    if (!err && !buf_ok(&c->out)) {
        err = CONFAB_NOMEM;
    }
    c->r->pins--;
    c->done(c, err);
}

static bool collect_complete(const struct collect *c)
{
    return c->stopped_at_id || (c->reverse ? c->at < c->lo || c->at == 0 : c->at > c->hi);
}

/* Room for the next pieces of a reverse collection; what stayed empty is used again. */
static struct buf *collect_part(struct collect *c)
{
    if (c->nparts > 0 && c->parts[c->nparts - 1].len == 0) {
        return &c->parts[c->nparts - 1];
    }
    struct buf *parts = realloc(c->parts, (c->nparts + 1U) * sizeof(*parts));
    if (!parts) {
        return NULL;
    }
    c->parts = parts;
    buf_init(&parts[c->nparts]);
    return &parts[c->nparts++];
}

/* Appends them; those of a reverse collection come in falling order and go there in rising. */
static enum confab_err collect_keep(struct collect *c, const struct member *m,
                                    const struct piece *list, uint32_t n)
{
    size_t bytes = 0;
    struct buf *out = c->reverse && n > 0 ? collect_part(c) : &c->out;
    for (uint32_t i = 0; i < n; i++) {
        bytes += list[i].bytes.n + VARINT_MAX;
    }
    if (!out || !buf_reserve(out, bytes)) {
        return CONFAB_NOMEM;
    }
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < n && !err; i++) {
        err = collect_put(c, m, &list[c->reverse ? n - 1 - i : i], out);
    }
    return err;
}

/*
 * Looks at events in the order of the collection; the list is used up. False when the collection is
 * complete, or an error occurred.
 */
static bool collect_pieces(struct collect *c, struct piece *list, uint32_t n,
                           enum confab_err *ret_err)
{
    const struct member *m = conv_member(&c->r->c, c->user);
    uint32_t kept = 0;
    bool more = true;
    for (uint32_t i = 0; i < n && more && !collect_complete(c); i++) {
        bool keep;
        if (c->reverse ? list[i].seq > c->at : list[i].seq < c->at) {
            continue; /* stepped over */
        }
        if (list[i].seq != c->at) {
            *ret_err = CONFAB_CORRUPT; /* a hole in the chunks */
            return false;
        }
        more = collect_take(c, m, &list[i], &keep);
        if (keep) {
            list[kept++] = list[i];
        }
    }
    *ret_err = collect_keep(c, m, list, kept);
    return more && !*ret_err;
}

static enum confab_err piece_of(struct span bytes, struct piece *ret)
{
    struct event_head h;
    enum confab_err err = event_head_decode(bytes, &h);
    if (!err) {
        *ret = (struct piece){.bytes = bytes, .seq = h.seq, .id = h.id, .kind = h.kind};
    }
    return err;
}

/* Takes what memory has from c->at on. False when done is due or an error occurred. */
static bool collect_memory(struct collect *c, enum confab_err *ret_err)
{
    struct piece list[FETCH_EVENTS];
    bool more = true;
    while (more && !collect_complete(c) && resident_slot(c->r, c->at)) {
        const struct slot *s;
        uint32_t n = 0;
        uint32_t want = MIN(c->limit - c->count, FETCH_EVENTS - 1U) + 1U;
        uint64_t at = c->at;
        while (n < want && !*ret_err && (s = resident_slot(c->r, at)) != NULL) {
            *ret_err = piece_of(span_of(s->bytes, s->len), &list[n++]);
            at = c->reverse ? at - 1 : at + 1;
        }
        more = !*ret_err && collect_pieces(c, list, n, ret_err);
    }
    return more && !collect_complete(c);
}

static void collect_run(struct collect *c);

static void turn_round(struct piece *list, uint32_t n)
{
    for (uint32_t i = 0; i < n / 2; i++) {
        struct piece p = list[i];
        list[i] = list[n - 1 - i];
        list[n - 1 - i] = p;
    }
}

/* Walks decoded records; in a reverse collection from the last to the first. */
static enum confab_err collect_records(struct collect *c, const struct buf *records, bool *ret_more)
{
    struct piece list[FETCH_EVENTS];
    uint32_t n = 0;
    enum confab_err err = CONFAB_OK;
    struct reader rd = reader_of(records->data, records->len);
    while (!err && reader_left(&rd) > 0) {
        struct piece p;
        struct span bytes = reader_blob(&rd);
        err = rd.bad ? CONFAB_CORRUPT : piece_of(bytes, &p);
        if (err || p.seq < c->lo || p.seq > c->hi || (c->reverse ? p.seq > c->at : p.seq < c->at)) {
            continue;
        }
        if (n == FETCH_EVENTS) {
            if (!c->reverse) {
                break;
            }
            memmove(list, list + 1, (FETCH_EVENTS - 1) * sizeof(list[0]));
            n--;
        }
        list[n++] = p;
    }
    uint64_t before = c->at;
    bool more = true;
    if (!err && !c->reverse && !c->plain && (n == 0 || list[0].seq != c->at)) {
        /* Very many small chunks lie between, or large ones: that one is asked for by itself. */
        c->plain = true;
        *ret_more = true;
        return CONFAB_OK;
    }
    c->plain = false;
    if (c->reverse) {
        turn_round(list, n);
    }
    if (!err) {
        more = collect_pieces(c, list, n, &err);
    }
    if (!err && more && c->at == before) {
        err = CONFAB_CORRUPT; /* the store has nothing where something must be */
    }
    *ret_more = more;
    return err;
}

static void collect_chunks_done(struct engine *e, struct engine_job *job)
{
    (void)e;
    struct collect *c = job->arg;
    enum confab_err err = job->err;
    bool more = true;
    if (!err && c->gen != c->r->overlay_gen) {
        /* A flush finished meanwhile: what was read may be from before it, and its overlays are
         * gone. */
        engine_job_free(job);
        collect_run(c);
        return;
    }
    if (!err) {
        err = collect_records(c, &job->records, &more);
    }
    engine_job_free(job);
    if (err || !more || collect_complete(c)) {
        collect_finish(c, err);
        return;
    }
    collect_run(c);
}

/*
 * All chunks that are needed, by their first seqs: what begins up to a chunk's length before the
 * range may reach into it. The answer goes downwards from the end of that range: of a collection
 * downwards it always has the chunk that holds c->at, of one upwards only when there are not too
 * many.
 */
static enum confab_err collect_ask(struct collect *c, struct engine_job *job)
{
    /* One more than is wanted tells whether there is more. */
    uint64_t n = MIN(c->limit - c->count, AHEAD_EVENTS - 1U);
    uint64_t low = c->reverse ? c->at - MIN(n, c->at - 1) : c->at;
    uint64_t high = c->reverse ? c->at : MIN(c->at + n, c->hi);
    if (!c->reverse && c->plain) {
        return engine_chunks_ask(c->e, job, c->r->c.id, 1, c->at, 1);
    }
    low = low > CHUNK_EVENTS_MAX ? low - (CHUNK_EVENTS_MAX - 1U) : 1;
    return engine_chunks_ask(c->e, job, c->r->c.id, low, high, AHEAD_CHUNKS);
}

static void collect_run(struct collect *c)
{
    enum confab_err err = CONFAB_OK;
    if (collect_complete(c) || !collect_memory(c, &err)) {
        collect_finish(c, err);
        return;
    }
    struct engine_job *job = engine_job_new(c->e, c->r, NULL, collect_chunks_done);
    err = job ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        job->arg = c;
        c->gen = c->r->overlay_gen;
        err = collect_ask(c, job);
    }
    if (err) {
        engine_job_free(job);
        collect_finish(c, err);
    }
}

void engine_collect(struct collect *c)
{
    c->r->pins++;
    c->at = c->reverse ? c->hi : c->lo;
    if (c->hi == 0 || c->lo > c->hi || c->limit == 0) {
        c->at = c->reverse ? c->hi : c->lo;
        collect_finish(c, CONFAB_OK);
        return;
    }
    collect_run(c);
}

/* ---- commands ---------------------------------------------------------------------------- */

/* Finds a position by id or by ord; see struct seek. */
struct history {
    struct collect c;
    struct command *cmd;
    uint64_t lo; /* seek: the answer is in [lo, hi] */
    uint64_t hi;
    uint64_t bound; /* an id, or an ord */
    bool by_ord;
};

static void history_collect(struct history *h);

static void history_end(struct history *h, enum confab_err err, const char *field)
{
    struct engine *e = h->c.e;
    struct resident *r = h->c.r;
    struct command *cmd = h->cmd;
    collect_deinit(&h->c);
    free(h);
    r->pins--;
    engine_complete(e, cmd, err, field);
}

static void history_done(struct collect *c, enum confab_err err)
{
    struct history *h = c->arg;
    struct command *cmd = h->cmd;
    cmd->ret = c->out;
    buf_init(&c->out);
    cmd->covered_from = c->covered_from;
    cmd->covered_to = c->covered_to;
    const struct member *m = conv_member(&c->r->c, c->user);
    cmd->more = c->reverse ? c->covered_from > (m ? member_first_visible(m) : 1)
                           : m && c->covered_to < member_last_visible(m, c->r->c.head_seq);
    if (c->covered_to + 1 == c->covered_from && !c->reverse) {
        cmd->more = false;
    }
    metrics_inc(c->e->metrics, METRIC_HISTORY_READS);
    history_end(h, err, NULL);
}

/* True when the event lies below the bound that is looked for. */
static bool below_bound(const struct history *h, const struct event *ev)
{
    return h->by_ord ? ev->ord <= h->bound : ev->id < h->bound;
}

/* The position is known: h->lo - 1 events lie below the bound. */
static void history_found(struct history *h)
{
    uint64_t below = h->lo - 1;
    if (h->c.reverse) {
        h->c.hi = MIN(h->c.hi, below);
    } else {
        h->c.lo = MAX(h->c.lo, below + 1);
    }
    history_collect(h);
}

static void seek_run(struct history *h);

static void seek_done(struct engine *e, struct engine_job *job)
{
    (void)e;
    struct history *h = job->arg;
    enum confab_err err = job->err;
    struct reader rd = reader_of(job->records.data, job->records.len);
    uint64_t seen = 0;
    while (!err && reader_left(&rd) > 0) {
        struct span bytes = reader_blob(&rd);
        struct event ev;
        err = rd.bad ? CONFAB_CORRUPT : event_peek(bytes, &ev);
        if (err || ev.seq < h->lo || ev.seq > h->hi) {
            continue;
        }
        seen++;
        if (below_bound(h, &ev)) {
            h->lo = ev.seq + 1;
        } else {
            h->hi = ev.seq - 1;
            break;
        }
    }
    engine_job_free(job);
    if (!err && seen == 0) {
        err = CONFAB_CORRUPT;
    }
    if (err) {
        history_end(h, err, NULL);
        return;
    }
    seek_run(h);
}

/* Binary search for the first event that is not below the bound: it will be at h->lo. */
static void seek_run(struct history *h)
{
    struct resident *r = h->c.r;
    while (h->lo <= h->hi) {
        uint64_t mid = h->lo + (h->hi - h->lo) / 2;
        struct slot *s = resident_slot(r, mid);
        if (!s && mid >= r->mem_first) {
            break;
        }
        if (!s) {
            struct engine_job *job = engine_job_new(h->c.e, r, NULL, seek_done);
            enum confab_err err = CONFAB_NOMEM;
            if (job) {
                job->arg = h;
                err = engine_chunks_ask(h->c.e, job, r->c.id, 1, mid, 1);
            }
            if (err) {
                engine_job_free(job);
                history_end(h, err, NULL);
            }
            return;
        }
        struct event ev;
        if (event_peek(span_of(s->bytes, s->len), &ev)) {
            history_end(h, CONFAB_CORRUPT, NULL);
            return;
        }
        if (below_bound(h, &ev)) {
            h->lo = mid + 1;
        } else {
            h->hi = mid - 1;
        }
    }
    history_found(h);
}

static void history_collect(struct history *h)
{
    engine_collect(&h->c);
}

enum step engine_step_history(struct engine *e, struct resident *r, struct command *cmd)
{
    const struct member *m = conv_member(&r->c, cmd->actor);
    if (!m || m->visible_from == 0) {
        engine_complete(e, cmd, CONFAB_NOT_FOUND, NULL);
        return STEP_DONE;
    }
    struct history *h = calloc(1, sizeof(*h));
    if (!h) {
        engine_complete(e, cmd, CONFAB_NOMEM, NULL);
        return STEP_DONE;
    }
    h->cmd = cmd;
    h->c = (struct collect){.e = e,
                            .r = r,
                            .done = history_done,
                            .arg = h,
                            .user = cmd->actor,
                            .lo = MAX(member_first_visible(m), cmd->from_seq),
                            .hi = member_last_visible(m, r->c.head_seq),
                            .limit = MIN(cmd->limit, HISTORY_MAX),
                            .bytes_max = HISTORY_BYTES,
                            .reverse = cmd->reverse,
                            .messages_only = cmd->messages_only,
                            .with_changes = cmd->with_changes};
    if (cmd->to_seq > 0) {
        h->c.hi = MIN(h->c.hi, cmd->to_seq);
    }
    cmd->ret_conv = r->c.id;
    cmd->ret_conv_kind = r->c.kind;
    cmd->ret_seq = r->c.head_seq;
    engine_lowest_cursors(e, &r->c, cmd);
    r->pins++;
    h->lo = 1;
    h->hi = r->c.head_seq;
    if (cmd->offset > 0) {
        h->by_ord = true;
        h->bound = r->c.ord > cmd->offset ? r->c.ord - cmd->offset : 0;
        seek_run(h);
    } else if (cmd->at_id || cmd->at_ms) {
        /* Before: ids below it; after: skip it as well. A time stands for the first id it may have.
         */
        uint64_t ms = MIN(MAX(cmd->at_ms, ID_EPOCH_MS), ID_EPOCH_MS + (1ULL << 41) - 1);
        uint64_t id = cmd->at_id ? cmd->at_id : message_id_make(ms, 0, 0);
        h->bound = cmd->reverse || !cmd->at_id ? id : id + 1;
        seek_run(h);
    } else {
        history_collect(h);
    }
    return STEP_DONE;
}
