/*
 * One ordered map of row keys under one lock. Each batch leaves undo steps, at first so that a
 * batch that cannot be finished is taken back, then, if the store is crashable, until the next
 * flush.
 *
 *     steps     | batch 1 | batch 2     | batch 3 |
 *     ends                ^             ^         ^     a crash undoes from the right to an end, or
 *               ^ last flush                            all of them
 */
#include "adapters/mem/store_mem.h"

#include <pthread.h>
#include <stdlib.h>

#include "adapters/mem/ordmap.h"
#include "base/check.h"
#include "ports/store_adapter.h"

/* `added` was linked, `removed` unlinked; either may be NULL. The step owns `removed`. */
struct undo_step {
    struct ordmap_node *added;
    struct ordmap_node *removed;
};

struct store_mem {
    struct message_store base;
    struct store_mem_cfg cfg;
    struct executor *ex;
    pthread_mutex_t lock;
    struct ordmap rows;
    struct undo_step *steps;
    size_t nsteps;
    size_t steps_cap;
    size_t *ends; /* of each batch since the last flush, in steps */
    size_t nends;
    size_t ends_cap;
    struct store_stats stats;
};

static const struct message_store_ops OPS;

static struct store_mem *mem_of(struct message_store *store)
{
    CHECK(store->ops == &OPS);
    return CONTAINER_OF(store, struct store_mem, base);
}

static bool reserve_step(struct store_mem *s)
{
    if (s->nsteps < s->steps_cap) {
        return true;
    }
    size_t cap = s->steps_cap == 0 ? 64 : s->steps_cap * 2;
    struct undo_step *steps = realloc(s->steps, cap * sizeof(*steps));
    if (!steps) {
        return false;
    }
    s->steps = steps;
    s->steps_cap = cap;
    return true;
}

static bool reserve_end(struct store_mem *s)
{
    if (s->nends < s->ends_cap) {
        return true;
    }
    size_t cap = s->ends_cap == 0 ? 64 : s->ends_cap * 2;
    size_t *ends = realloc(s->ends, cap * sizeof(*ends));
    if (!ends) {
        return false;
    }
    s->ends = ends;
    s->ends_cap = cap;
    return true;
}

static void undo_to(struct store_mem *s, size_t nsteps)
{
    while (s->nsteps > nsteps) {
        struct undo_step *step = &s->steps[--s->nsteps];
        if (step->removed) {
            struct ordmap_node *now = ordmap_link(&s->rows, step->removed);
            CHECK(now == step->added);
            ordmap_node_free(now);
        } else {
            struct ordmap_node *now = ordmap_unlink(&s->rows, ordmap_key(step->added));
            CHECK(now == step->added);
            ordmap_node_free(now);
        }
    }
}

/* What was applied stays for good. */
static void forget_undo(struct store_mem *s)
{
    for (size_t i = 0; i < s->nsteps; i++) {
        ordmap_node_free(s->steps[i].removed);
    }
    s->nsteps = 0;
    s->nends = 0;
}

static enum confab_err apply_put(struct store_mem *s, const struct store_batch_item *item)
{
    uint8_t key[STORE_ROW_KEY_MAX];
    size_t n = store_row_key(item->key, key);
    struct ordmap_node *node = ordmap_node_new(&s->rows, span_of(key, n), item->value);
    if (!node) {
        return CONFAB_NOMEM;
    }
    s->steps[s->nsteps++] = (struct undo_step){node, ordmap_link(&s->rows, node)};
    return CONFAB_OK;
}

static void apply_del(struct store_mem *s, struct span key)
{
    struct ordmap_node *node = ordmap_unlink(&s->rows, key);
    if (node) {
        s->steps[s->nsteps++] = (struct undo_step){NULL, node};
    }
}

static enum confab_err apply_del_range(struct store_mem *s, const struct store_batch_item *item)
{
    struct store_bounds b;
    enum confab_err err = store_del_range_bounds(item, &b);
    if (err != CONFAB_OK) {
        return err;
    }
    for (;;) {
        struct ordmap_node *node = ordmap_from(&s->rows, span_of(b.first, b.first_len));
        if (!node || ordmap_compare(ordmap_key(node), span_of(b.past, b.past_len)) >= 0) {
            return CONFAB_OK;
        }
        if (!reserve_step(s)) {
            return CONFAB_NOMEM;
        }
        apply_del(s, ordmap_key(node));
    }
}

static enum confab_err apply_item(struct store_mem *s, const struct store_batch_item *item)
{
    if (item->op == STORE_BATCH_DEL_RANGE) {
        return apply_del_range(s, item);
    }
    if (!store_key_ok(item->key)) {
        return CONFAB_INVALID;
    }
    if (!reserve_step(s)) {
        return CONFAB_NOMEM;
    }
    if (item->op == STORE_BATCH_PUT) {
        return apply_put(s, item);
    }
    uint8_t key[STORE_ROW_KEY_MAX];
    apply_del(s, span_of(key, store_row_key(item->key, key)));
    return CONFAB_OK;
}

static enum confab_err do_write(struct store_mem *s, struct store_request *req)
{
    if (!buf_ok(&req->batch) || !reserve_end(s)) {
        return CONFAB_NOMEM;
    }
    size_t before = s->nsteps;
    struct reader r = reader_of(req->batch.data, req->batch.len);
    struct store_batch_item item;
    enum confab_err err = store_batch_next(&r, &item);
    while (err == CONFAB_OK) {
        err = apply_item(s, &item);
        if (err == CONFAB_OK) {
            err = store_batch_next(&r, &item);
        }
    }
    if (err != CONFAB_EOF) {
        undo_to(s, before);
        return err;
    }
    s->ends[s->nends++] = s->nsteps;
    if (!s->cfg.crashable) {
        forget_undo(s);
    }
    s->stats.writes++;
    s->stats.bytes_written += req->batch.len;
    return CONFAB_OK;
}

static enum confab_err do_get(struct store_mem *s, struct store_request *req,
                              struct store_answer *a)
{
    for (uint32_t i = 0; i < req->nkeys; i++) {
        if (!store_key_ok(req->keys[i])) {
            return CONFAB_INVALID;
        }
        uint8_t key[STORE_ROW_KEY_MAX];
        size_t n = store_row_key(req->keys[i], key);
        struct ordmap_node *node = ordmap_get(&s->rows, span_of(key, n));
        struct span value = node ? ordmap_value(node) : (struct span){NULL, 0};
        enum confab_err err = store_answer_add(a, node != NULL, (struct span){NULL, 0}, value);
        if (err != CONFAB_OK) {
            return err;
        }
    }
    return CONFAB_OK;
}

static enum confab_err do_range(struct store_mem *s, struct store_request *req,
                                struct store_answer *a)
{
    struct store_bounds b;
    req->ret_more = false;
    enum confab_err err = store_range_bounds(req, &b);
    if (err != CONFAB_OK) {
        return err;
    }
    struct span first = span_of(b.first, b.first_len);
    struct span past = span_of(b.past, b.past_len);
    struct ordmap_node *node =
        req->reverse ? ordmap_below(&s->rows, past) : ordmap_from(&s->rows, first);
    size_t bytes = 0;
    while (node && ordmap_compare(ordmap_key(node), first) >= 0 &&
           ordmap_compare(ordmap_key(node), past) < 0) {
        struct span key = ordmap_key(node);
        struct span value = ordmap_value(node);
        if (a->nrows > 0 && (a->nrows >= req->limit || bytes + value.n > req->bytes_max)) {
            req->ret_more = true;
            break;
        }
        bytes += value.n;
        err = store_answer_add(a, true, span_of(key.p + b.prefix_len, key.n - b.prefix_len), value);
        if (err != CONFAB_OK) {
            return err;
        }
        node = req->reverse ? ordmap_below(&s->rows, key) : ordmap_next(node);
    }
    return CONFAB_OK;
}

static void run_request(struct job *job)
{
    struct store_request *req = CONTAINER_OF(job, struct store_request, job);
    struct store_mem *s = req->adapter;
    struct store_answer a;
    store_answer_begin(&a);
    enum confab_err err = CONFAB_INVALID;
    pthread_mutex_lock(&s->lock);
    switch (req->op) {
    case STORE_GET:
        s->stats.reads++;
        err = do_get(s, req, &a);
        break;
    case STORE_RANGE:
        s->stats.reads++;
        err = do_range(s, req, &a);
        break;
    case STORE_WRITE:
        err = do_write(s, req);
        break;
    case STORE_FLUSH:
        s->stats.flushes++;
        forget_undo(s);
        err = CONFAB_OK;
        break;
    }
    s->stats.errors += err != CONFAB_OK;
    pthread_mutex_unlock(&s->lock);
    store_answer_finish(&a, req, err);
    req->done(req); /* may free the request */
}

static enum confab_err mem_submit(struct message_store *store, struct store_request *req)
{
    struct store_mem *s = mem_of(store);
    req->adapter = s;
    req->job.run = run_request;
    return executor_submit(s->ex, &req->job);
}

static void mem_stats(struct message_store *store, struct store_stats *ret)
{
    struct store_mem *s = mem_of(store);
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->memory_bytes = s->rows.bytes;
    pthread_mutex_unlock(&s->lock);
}

enum confab_err store_mem_open(struct store_mem_cfg cfg, struct executor *ex,
                               struct message_store **ret)
{
    struct store_mem *s = calloc(1, sizeof(*s));
    if (!s) {
        return CONFAB_NOMEM;
    }
    s->base.ops = &OPS;
    s->cfg = cfg;
    s->ex = ex;
    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    ordmap_init(&s->rows);
    *ret = &s->base;
    return CONFAB_OK;
}

void store_mem_close(struct message_store *store)
{
    if (!store) {
        return;
    }
    struct store_mem *s = mem_of(store);
    forget_undo(s);
    ordmap_deinit(&s->rows);
    free(s->steps);
    free(s->ends);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

uint64_t store_mem_crash(struct message_store *store, uint64_t seed)
{
    struct store_mem *s = mem_of(store);
    CHECK(s->cfg.crashable);
    pthread_mutex_lock(&s->lock);
    uint64_t z = seed + 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    size_t keep = (size_t)((z ^ (z >> 31)) % (s->nends + 1));
    uint64_t lost = s->nends - keep;
    undo_to(s, keep == 0 ? 0 : s->ends[keep - 1]);
    forget_undo(s);
    pthread_mutex_unlock(&s->lock);
    return lost;
}

void store_mem_attach(struct message_store *store, struct executor *ex)
{
    struct store_mem *s = mem_of(store);
    pthread_mutex_lock(&s->lock);
    s->ex = ex;
    pthread_mutex_unlock(&s->lock);
}

enum confab_err store_mem_clone(struct message_store *store, struct executor *ex,
                                struct message_store **ret)
{
    struct store_mem *s = mem_of(store);
    struct message_store *copy;
    enum confab_err err = store_mem_open(s->cfg, ex, &copy);
    if (err) {
        return err;
    }
    pthread_mutex_lock(&s->lock);
    err = ordmap_copy(&mem_of(copy)->rows, &s->rows) ? CONFAB_OK : CONFAB_NOMEM;
    pthread_mutex_unlock(&s->lock);
    if (err) {
        store_mem_close(copy);
        return err;
    }
    *ret = copy;
    return CONFAB_OK;
}

uint64_t store_mem_unflushed(struct message_store *store)
{
    struct store_mem *s = mem_of(store);
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->nends;
    pthread_mutex_unlock(&s->lock);
    return n;
}

static const struct message_store_ops OPS = {"mem", 1, mem_submit, mem_stats};
