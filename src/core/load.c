/*
 * Residents: conversations in memory. A cold one is loaded from its header row (and its members'
 * rows) while its commands wait; a clean one that nobody uses is dropped when the cache is over its
 * bound.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

/* Loads under way at a time; more wait in loadq. */
enum { LOADS_MAX = 256, LOAD_BATCH = 16, LRU_TRIES = 64, LOAD_RETRY_MS = 500 };
/* Beside each allocation, and of the map of residents for each: on average. */
enum { RESIDENT_INDEX = 40 };

struct resident *engine_resident(struct engine *e, struct conv_id id)
{
    return idmap_get(&e->residents, id);
}

static struct resident *resident_new(struct engine *e, struct conv_id id)
{
    struct resident *r = calloc(1, sizeof(*r));
    if (!r) {
        return NULL;
    }
    conv_init(&r->c, id);
    r->p = engine_partition(e, conv_id_partition(id));
    list_init(&r->lru);
    list_init(&r->dirty);
    list_init(&r->follow);
    list_init(&r->cursors);
    list_init(&r->loadq);
    list_init(&r->waiting);
    recent_keys_init(&r->recent_keys, id.lo ^ e->now_ms);
    r->mem_first = 1;
    return r;
}

static void unqueue(struct engine *e, struct resident *r)
{
    list_remove(&r->loadq);
    e->nloadq -= r->wanted;
    r->wanted = false;
}

/* e may be NULL when the whole engine goes. */
void resident_free(struct engine *e, struct resident *r)
{
    if (e) {
        idmap_del(&e->residents, r->c.id);
        list_remove(&r->lru);
        unqueue(e, r);
        list_remove(&r->follow);
        e->cache_bytes -= r->bytes;
    }
    resident_slots_free(r);
    for (uint32_t i = 0; i < r->noverlays; i++) {
        free(r->overlays[i].cause.bytes);
    }
    for (uint32_t i = 0; i < r->ngarbage; i++) {
        free(r->garbage[i].bytes);
    }
    free(r->overlays);
    free(r->garbage);
    free(r->pending);
    recent_keys_deinit(&r->recent_keys);
    keys_free(r->keys);
    member_set_unref(r->set);
    buf_deinit(&r->replay);
    conv_deinit(&r->c);
    free(r);
}

struct member_set *resident_set(struct resident *r)
{
    if (r->set) {
        return r->set;
    }
    struct member_set *set = malloc(sizeof(*set) + (size_t)r->c.nactive * sizeof(set->users[0]));
    if (!set) {
        return NULL;
    }
    atomic_init(&set->refs, 1);
    set->n = 0;
    for (uint32_t i = 0; i < r->c.nmembers && set->n < r->c.nactive; i++) {
        if (r->c.members[i].role != ROLE_NONE) {
            set->users[set->n++] = r->c.members[i].user;
        }
    }
    r->set = set;
    return set;
}

void resident_set_changed(struct resident *r)
{
    member_set_unref(r->set);
    r->set = NULL;
}

void engine_account(struct engine *e, struct resident *r)
{
    size_t n =
        sizeof(*r) + RESIDENT_INDEX + RESIDENT_ALLOC_EXTRA + conv_bytes(&r->c) + r->extra_bytes;
    n += r->slot_bytes + (size_t)r->cap_slots * sizeof(*r->slots) + RESIDENT_ALLOC_EXTRA;
    n += r->patch_bytes + ((size_t)r->noverlays + r->ngarbage) * RESIDENT_ALLOC_EXTRA;
    n += (size_t)r->cap_overlays * sizeof(*r->overlays);
    n += (size_t)r->cap_garbage * sizeof(*r->garbage);
    n += recent_keys_bytes(&r->recent_keys) + keys_bytes(r->keys);
    n += (size_t)r->cap_pending * sizeof(*r->pending);
    n += r->set ? sizeof(*r->set) + r->set->n * sizeof(r->set->users[0]) + RESIDENT_ALLOC_EXTRA : 0;
    e->cache_bytes += n - r->bytes;
    r->bytes = n;
}

void engine_account_part(struct engine *e, struct partition *p)
{
    size_t n = p->cap_feed * sizeof(*p->feed) + p->cap_project * sizeof(*p->project);
    e->cache_bytes += n - p->bytes;
    p->bytes = n;
}

void engine_touch(struct engine *e, struct resident *r)
{
    list_remove(&r->lru);
    if (!r->flushing && !list_is_linked(&r->dirty)) {
        list_push_front(&e->lru, &r->lru);
    }
}

static bool may_evict(const struct resident *r)
{
    return r->state != RESIDENT_LOADING && r->inflight == 0 && r->pins == 0 && !r->busy &&
           !r->flushing && !r->pumping && list_is_empty(&r->waiting) &&
           !list_is_linked(&r->dirty) && !list_is_linked(&r->cursors) && r->c.nfollowups == 0 &&
           r->npending == 0 && !list_is_linked(&r->loadq);
}

void engine_evict(struct engine *e)
{
    int tries = LRU_TRIES;
    while (e->cache_bytes > e->cfg.cache_bytes_max && tries > 0 && !list_is_empty(&e->lru)) {
        struct resident *r = LIST_ENTRY(e->lru.prev, struct resident, lru);
        if (may_evict(r)) {
            resident_free(e, r);
            metrics_inc(e->metrics, METRIC_CACHE_EVICTIONS);
        } else {
            /* In use: it comes to the tail again soon enough. */
            tries--;
            engine_touch(e, r);
        }
    }
    e->pinned = e->cache_bytes > e->cfg.cache_bytes_max;
}

void engine_tail_done(struct engine *e, struct resident *r)
{
    e->tail_left -= r->tail;
    r->tail = false;
}

/* Forgets what was loaded so far and queues it once more. */
static void load_again(struct engine *e, struct resident *r, bool wanted)
{
    conv_deinit(&r->c);
    r->row = (struct row_header){0};
    r->members_external = false;
    r->state = RESIDENT_LOADING;
    list_push_back(wanted ? &e->loadq : &e->tailq, &r->loadq);
    r->wanted = wanted;
    e->nloadq += wanted;
}

static void load_failed(struct engine *e, struct resident *r, enum confab_err err)
{
    if (err == CONFAB_BUSY) {
        load_again(e, r, !r->tail || !list_is_empty(&r->waiting)); /* the tick comes back to it */
        return;
    }
    r->state = RESIDENT_BROKEN;
    r->broken = err;
    if (r->tail && err != CONFAB_CORRUPT && err != CONFAB_VERSION) {
        /* Recovery needs it; who waits for it now is told. */
        engine_pump(e, r);
        e->load_retry_ms = e->now_ms + LOAD_RETRY_MS;
        load_again(e, r, false);
        return;
    }
    engine_tail_done(e, r);
    bool had_replay = r->replay.len > 0;
    if (had_replay) {
        partition_stop(r->p, err);
    }
    engine_pump(e, r);
    /* Without acknowledged events waiting for it, a later command may simply try again. */
    if (!had_replay && may_evict(r)) {
        resident_free(e, r);
    }
}

static void loaded(struct engine *e, struct resident *r)
{
    e->loading--;
    r->state = RESIDENT_READY;
    r->next_seq = r->c.head_seq + 1;
    r->next_ord = r->c.ord;
    r->mem_first = r->next_seq;
    r->flushed_seq = r->c.head_seq;
    r->flushing_seq = r->c.head_seq;
    r->extra_bytes = conv_extra_bytes(&r->c);
    e->followups_pending += r->c.nfollowups;
    r->followup_row = r->c.nfollowups > 0;
    engine_replay(e, r);
    engine_tail_done(e, r);
    if (r->c.nfollowups > 0) {
        engine_followups_kick(e, r);
    }
    engine_pump(e, r);
    engine_start_loads(e);
}

static void members_done(struct engine *e, struct engine_job *job)
{
    struct resident *r = job->r;
    enum confab_err err = job->err;
    for (uint32_t i = 0; !err && i < job->req.ret_nrows; i++) {
        err = conv_decode_member(&r->c, job->req.ret_rows[i].value);
    }
    if (!err && job->req.ret_more) {
        /* The next page begins just above the last row. */
        struct span last = job->req.ret_rows[job->req.ret_nrows - 1].sort;
        uint8_t from[8];
        uint64_t user = row_sort_u64(last) + 1;
        for (int i = 7; i >= 0; i--) {
            from[i] = (uint8_t)user;
            user >>= 8;
        }
        memcpy(job->keys[0].sort, from, sizeof(from));
        store_request_deinit(&job->req);
        job->req.from = span_of(job->keys[0].sort, 8);
        err = engine_job_submit(e, job);
        if (!err) {
            return;
        }
    }
    engine_job_free(job);
    if (err) {
        e->loading--;
        load_failed(e, r, err);
        return;
    }
    loaded(e, r);
}

static enum confab_err load_members(struct engine *e, struct resident *r)
{
    struct engine_job *job = engine_job_new(e, r, NULL, members_done);
    if (job) {
        job->keys = calloc(1, sizeof(*job->keys));
    }
    if (!job || !job->keys) {
        engine_job_free(job);
        return CONFAB_NOMEM;
    }
    row_key_conv_seq(&job->keys[0], STORE_MEMBER, r->c.id, 0);
    job->req.op = STORE_RANGE;
    job->req.table = STORE_MEMBER;
    job->req.key = job->keys[0].k.key;
    job->req.from = job->keys[0].k.sort;
    job->req.limit = 10000;
    job->req.bytes_max = 2U << 20;
    enum confab_err err = engine_job_submit(e, job);
    if (err) {
        engine_job_free(job);
    }
    return err;
}

static void header_taken(struct engine *e, struct resident *r, enum confab_err err,
                         const struct store_row *row)
{
    bool external = false;
    struct span rest;
    if (!err && row->found) {
        err = row_header_decode(row->value, &r->row, &rest);
        if (!err) {
            err = conv_decode(&r->c, rest, &external);
        }
    }
    r->members_external = external;
    if (!err && external) {
        err = load_members(e, r);
        if (!err) {
            return;
        }
    }
    if (err) {
        e->loading--;
        load_failed(e, r, err);
        return;
    }
    loaded(e, r);
}

/* Several at a time: after a kill there may be tens of thousands to load. */
struct header_load {
    struct resident *list[LOAD_BATCH];
    uint32_t n;
};

static void headers_done(struct engine *e, struct engine_job *job)
{
    struct header_load *hl = job->arg;
    for (uint32_t i = 0; i < hl->n; i++) {
        hl->list[i]->pins--;
    }
    for (uint32_t i = 0; i < hl->n; i++) {
        header_taken(e, hl->list[i], job->err, job->err ? NULL : &job->req.ret_rows[i]);
    }
    engine_job_free(job);
}

static enum confab_err load(struct engine *e, const struct header_load *batch)
{
    struct engine_job *job = engine_job_new(e, NULL, NULL, headers_done);
    struct header_load *hl = job ? malloc(sizeof(*hl)) : NULL;
    if (job) {
        job->arg = hl;
        job->owns_arg = true;
        job->keys = calloc(batch->n, sizeof(*job->keys));
        job->key_list = calloc(batch->n, sizeof(*job->key_list));
    }
    enum confab_err err = job && hl && job->keys && job->key_list ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        *hl = *batch;
        for (uint32_t i = 0; i < hl->n; i++) {
            row_key_conv(&job->keys[i], STORE_HEADER, hl->list[i]->c.id);
            job->key_list[i] = job->keys[i].k;
            hl->list[i]->pins++;
        }
        job->req.op = STORE_GET;
        job->req.keys = job->key_list;
        job->req.nkeys = hl->n;
        err = engine_job_submit(e, job);
        for (uint32_t i = 0; i < hl->n && err; i++) {
            hl->list[i]->pins--;
        }
    }
    if (err) {
        engine_job_free(job);
    }
    return err;
}

/* Where the next one to load is; NULL: nowhere, for now. */
static struct list *next_queue(struct engine *e)
{
    bool rests = e->now_ms < e->load_retry_ms && e->load_retry_ms <= e->now_ms + LOAD_RETRY_MS;
    if (!list_is_empty(&e->loadq)) {
        return &e->loadq;
    }
    return list_is_empty(&e->tailq) || rests ? NULL : &e->tailq;
}

/* Takes the next ones out of their queue; they count as being loaded. */
static void next_batch(struct engine *e, struct header_load *ret)
{
    ret->n = 0;
    while (ret->n < LOAD_BATCH && e->loading < LOADS_MAX) {
        struct list *q = next_queue(e);
        if (!q) {
            break;
        }
        struct resident *r = LIST_ENTRY(q->next, struct resident, loadq);
        unqueue(e, r);
        e->loading++;
        ret->list[ret->n++] = r;
    }
}

void engine_start_loads(struct engine *e)
{
    struct header_load batch;
    for (next_batch(e, &batch); batch.n > 0; next_batch(e, &batch)) {
        enum confab_err err = load(e, &batch);
        for (uint32_t i = 0; i < batch.n && err; i++) {
            e->loading--;
            load_failed(e, batch.list[i], err);
        }
        if (err) {
            return; /* the tick comes back to those that are queued again */
        }
        metrics_add(e->metrics, METRIC_COLD_LOADS, batch.n);
    }
}

void engine_load_soon(struct engine *e, struct resident *r)
{
    if (list_is_linked(&r->loadq) && !r->wanted) {
        list_remove(&r->loadq);
        list_push_back(&e->loadq, &r->loadq);
        r->wanted = true;
        e->nloadq++;
    }
    engine_start_loads(e);
}

struct resident *engine_want(struct engine *e, struct conv_id id, enum confab_err *ret_err)
{
    struct resident *r = engine_resident(e, id);
    if (r) {
        return r;
    }
    if (e->nloadq >= e->cfg.inflight_max) {
        metrics_inc(e->metrics, METRIC_BOUND_PENDING);
        *ret_err = CONFAB_BUSY;
        return NULL;
    }
    r = resident_new(e, id);
    enum confab_err err = r ? idmap_put(&e->residents, id, r) : CONFAB_NOMEM;
    if (err) {
        if (r) {
            resident_free(NULL, r);
        }
        *ret_err = err;
        return NULL;
    }
    list_push_front(&e->lru, &r->lru);
    list_push_back(&e->tailq, &r->loadq);
    engine_account(e, r);
    /* The caller queues its command first: a store that answers at once must find it. */
    return r;
}
