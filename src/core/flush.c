/*
 * Flush: what was folded since the last time goes to the store, a partition at a time, as one
 * atomic batch: chunks, headers, members' rows, dedup keys, the feed, and the partition's row that
 * says up to which LSN. The shard collects what has changed (it alone may look at residents);
 * the batch is made in flush_write.c, off the shard.
 */
#include <stdlib.h>

#include "base/check.h"
#include "core/flush_internal.h"

enum { FLUSHES_MAX = 8, RETRY_MS = 1000, CHECK_MS = 20, BATCH_RESERVE_MAX = 256 << 10 };

/* New events of a flush that makes its chunks on the shard: less than a tenth of a millisecond. */
enum { SHARD_BYTES = 16 << 10 };

static void flush_finish_on_shard(struct engine *e, struct engine_job *job);

static bool is_pressed(const struct engine *e)
{
    return e->dirty_bytes > e->cfg.dirty_bytes_max / 2 || e->pinned || e->flush_all;
}

/* The store's threads do not keep up: the shard forms flushes itself. It takes less in meanwhile,
 * which is better than to refuse. */
static bool is_behind(const struct engine *e)
{
    return e->dirty_bytes > e->cfg.dirty_bytes_max / 4 * 3;
}

static void tools_free(struct flush_tools *t)
{
    if (t) {
        chunk_codec_free(t->codec);
        buf_deinit(&t->records);
        buf_deinit(&t->keys);
        buf_deinit(&t->value);
        free(t);
    }
}

/* One set is kept while flush follows flush: making it anew costs more than a chunk. */
static struct flush_tools *tools_take(struct engine *e)
{
    struct flush_tools *t = e->flush_tools;
    e->flush_tools = NULL;
    if (!t && (t = calloc(1, sizeof(*t))) != NULL && chunk_codec_new(&t->codec)) {
        free(t);
        t = NULL;
    }
    return t;
}

static void tools_give_back(struct engine *e, struct flush_tools *t)
{
    if (t && is_pressed(e) && !e->flush_tools) {
        e->flush_tools = t;
        return;
    }
    tools_free(t);
    if (!is_pressed(e)) {
        engine_flush_rest(e);
    }
}

void engine_flush_rest(struct engine *e)
{
    tools_free(e->flush_tools);
    e->flush_tools = NULL;
}

static void flush_free(struct flush *f)
{
    for (uint32_t i = 0; i < f->nconvs; i++) {
        struct flush_conv *fc = &f->convs[i];
        flush_unload(fc);
        free(fc->slots);
        free(fc->overlays);
        buf_deinit(&fc->header);
    }
    struct engine_job *job = f->req.arg;
    store_request_deinit(&f->req);
    dir_request_deinit(&f->dir);
    buf_deinit(&f->batch);
    tools_give_back(f->e, f->tools);
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
static void forget_keys(struct flush *f, struct resident *r, struct flush_conv *fc)
{
    if (fc->nslots == 0) {
        return;
    }
    struct event first;
    struct event last;
    const struct slot *begin = &fc->slots[fc->new_seq - fc->first_seq];
    const struct slot *end = &fc->slots[fc->nslots - 1];
    if (event_peek(span_of(begin->bytes, begin->len), &first) ||
        event_peek(span_of(end->bytes, end->len), &last)) {
        return;
    }
    uint16_t today = flush_day_of(&last);
    fc->days = (struct key_days){flush_day_of(&first), today};
    uint32_t keep = f->e->cfg.dedup_days + 1;
    if (r->row.dedup_day == 0) {
        r->row.dedup_day = flush_day_of(&first);
    } else if (r->row.dedup_day + keep < today) {
        struct row_key from;
        struct row_key to;
        row_key_dedup(&from, r->c.id, r->row.dedup_day, 0);
        row_key_dedup(&to, r->c.id, (uint16_t)(today - keep), 0);
        store_batch_del_range(&f->batch, STORE_DEDUP, from.k.key, from.k.sort, to.k.sort);
        r->row.dedup_day = (uint16_t)(today - keep);
    }
}

/* The new events, and those of the chunks that they take in as far as they are in memory still. */
static enum confab_err take_slots(struct flush *f, struct resident *r, struct flush_conv *fc)
{
    fc->row = r->row;
    fc->new_seq = r->flushed_seq + 1;
    fc->first_seq = fc->new_seq;
    fc->merge = flush_plan_merge(&fc->row, (uint32_t)(r->c.head_seq - r->flushed_seq));
    while (fc->nknown < fc->merge) {
        uint64_t first = fc->row.chunks[fc->row.nchunks - 1 - fc->nknown].first_seq;
        if (!resident_slot(r, first)) {
            break;
        }
        fc->first_seq = first;
        fc->nknown++;
    }
    fc->nslots = (uint32_t)(r->c.head_seq + 1 - fc->first_seq);
    if (fc->nslots == 0) {
        return CONFAB_OK;
    }
    fc->slots = malloc(fc->nslots * sizeof(*fc->slots));
    if (!fc->slots) {
        return CONFAB_NOMEM;
    }
    for (uint32_t i = 0; i < fc->nslots; i++) {
        struct slot *s = resident_slot(r, fc->first_seq + i);
        CHECK(s);
        fc->slots[i] = *s;
        f->bytes += s->len;
    }
    return CONFAB_OK;
}

static enum confab_err take_conv(struct flush *f, struct resident *r, struct flush_conv *fc)
{
    *fc = (struct flush_conv){
        .r = r, .id = r->c.id, .head_seq = r->c.head_seq, .days = {0, UINT16_MAX}};
    if (take_slots(f, r, fc)) {
        return CONFAB_NOMEM;
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
    fc->row.dedup_day = r->row.dedup_day;
    conv_encode(&fc->header, &r->c, false);
    struct buf head = {0};
    struct row_head rh = {
        .head_seq = r->c.head_seq, .moved_ms = r->c.moved_ms, .last_id = r->c.last_id};
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
    if (f) {
        f->e = e;
        f->p = p;
    }
    if (!err) {
        f->hurry = e->dirty_bytes > e->cfg.dirty_bytes_max / 2;
        f->req.arg = job;
        f->req.done = flush_request_done;
        job->arg = f;
        job->req.op = STORE_WRITE;
        f->convs = calloc(n + 1, sizeof(*f->convs));
        f->tools = f->convs ? tools_take(e) : NULL;
        /* About what it becomes: growing by doubling, it would be copied as often as written. */
        if (!buf_reserve(&f->batch, MIN(p->dirty_bytes / 4 * 3, (uint64_t)BATCH_RESERVE_MAX))) {
            f->batch.failed = false; /* it may do with less */
        }
        err = f->tools ? CONFAB_OK : CONFAB_NOMEM;
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
                                      .done = flush_projected,
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
        metrics_inc(e->metrics, METRIC_DIR_REQUESTS);
        metrics_add(e->metrics, METRIC_DIR_PROJECTED, p->nproject);
        if (err) {
            f->dir.ret_err = err;
            flush_hand_back(f, err);
        }
        return;
    }
    if (f->bytes > SHARD_BYTES && !is_behind(e)) {
        flush_work_there(f);
    } else {
        flush_work(f);
    }
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
    if (fc->nslots > 0) {
        engine_dedup_flushed(e, r, fc->new_seq, fc->days);
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
    metrics_add(e->metrics, METRIC_DIR_ERRORS, f->dir.ret_err != CONFAB_OK);
    e->store_err = f->err == CONFAB_IO || f->err == CONFAB_NO_SPACE ? f->err : CONFAB_OK;
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
            flush_write(f);
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
