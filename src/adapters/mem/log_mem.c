#include "log_mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

/* A submission that is durable. */
struct chunk {
    struct chunk *next;
    uint64_t lsn;
    uint32_t n;
    uint32_t refs; /* the log's and readers' */
    uint8_t data[];
};

struct mem_lane {
    struct log_submission *done;
    struct log_submission *done_last;
    void (*wake)(void *arg);
    void *wake_arg;
};

struct log_mem {
    struct log_store base;
    pthread_mutex_t mu;
    struct log_mem_config config;
    struct log_submission *queue;
    struct log_submission *queue_last;
    struct chunk *first;
    struct chunk *last;
    uint64_t bytes_kept;
    struct log_stats stats;
    struct mem_lane *lanes;
};

static const struct log_store_ops OPS;

static struct log_mem *mem_of(struct log_store *store)
{
    CHECK(store->ops == &OPS);
    return CONTAINER_OF(store, struct log_mem, base);
}

static void chunk_unref(struct chunk *c)
{
    if (c && --c->refs == 0) {
        free(c);
    }
}

static enum confab_err mem_submit(struct log_store *store, struct log_submission *sub)
{
    struct log_mem *log = mem_of(store);
    CHECK(sub->lane < log->config.lanes && sub->records > 0);
    if (sub->bytes.len > LOG_SUBMISSION_BYTES_MAX) {
        return CONFAB_TOO_LARGE;
    }
    enum confab_err err = CONFAB_OK;
    pthread_mutex_lock(&log->mu);
    uint64_t queued = log->stats.bytes_queued + sub->bytes.len;
    if (log->stats.state == LOG_FAILED) {
        err = CONFAB_IO;
    } else if (log->stats.bytes_queued > 0 && queued > log->config.queue_bytes_max) {
        log->stats.queue_full++;
        err = CONFAB_BUSY;
    } else if (log->config.capacity_bytes > 0 &&
               log->bytes_kept + queued > log->config.capacity_bytes) {
        log->stats.state = LOG_FULL;
        err = CONFAB_NO_SPACE;
    } else {
        log->stats.state = LOG_OK;
        log->stats.bytes_queued = queued;
        sub->next = NULL;
        if (log->queue) {
            log->queue_last->next = sub;
        } else {
            log->queue = sub;
        }
        log->queue_last = sub;
    }
    pthread_mutex_unlock(&log->mu);
    return err;
}

static struct log_submission *mem_poll(struct log_store *store, uint16_t lane)
{
    struct log_mem *log = mem_of(store);
    CHECK(lane < log->config.lanes);
    pthread_mutex_lock(&log->mu);
    struct mem_lane *l = &log->lanes[lane];
    struct log_submission *sub = l->done;
    if (sub) {
        l->done = sub->next;
        sub->next = NULL;
    }
    pthread_mutex_unlock(&log->mu);
    return sub;
}

static void mem_set_wake(struct log_store *store, uint16_t lane, void (*wake)(void *arg), void *arg)
{
    struct log_mem *log = mem_of(store);
    CHECK(lane < log->config.lanes);
    log->lanes[lane].wake = wake;
    log->lanes[lane].wake_arg = arg;
}

/* Under mu: takes the first of the queue and hands it to its lane. */
static void complete_first(struct log_mem *log, enum confab_err err, bool *woken)
{
    struct log_submission *sub = log->queue;
    log->queue = sub->next;
    sub->next = NULL;
    sub->ret_err = err;
    sub->ret_lsn = err ? 0 : log->stats.durable_lsn;
    log->stats.bytes_queued -= sub->bytes.len;
    struct mem_lane *l = &log->lanes[sub->lane];
    if (l->done) {
        l->done_last->next = sub;
    } else {
        l->done = sub;
    }
    l->done_last = sub;
    woken[sub->lane] = true;
}

static void wake_lanes(struct log_mem *log, const bool *woken)
{
    for (uint16_t i = 0; i < log->config.lanes; i++) {
        if (woken[i] && log->lanes[i].wake) {
            log->lanes[i].wake(log->lanes[i].wake_arg);
        }
    }
}

size_t log_mem_step(struct log_mem *log, size_t max)
{
    size_t done = 0;
    bool *woken = calloc(log->config.lanes, sizeof(*woken));
    CHECK(woken);
    pthread_mutex_lock(&log->mu);
    while (done < max && log->queue && log->stats.state != LOG_FAILED) {
        struct log_submission *sub = log->queue;
        struct chunk *c = malloc(sizeof(*c) + sub->bytes.len);
        CHECK(c);
        c->next = NULL;
        c->lsn = log->stats.durable_lsn;
        c->n = (uint32_t)sub->bytes.len;
        c->refs = 1;
        memcpy(c->data, sub->bytes.data, c->n);
        if (log->last) {
            log->last->next = c;
        } else {
            log->first = c;
        }
        log->last = c;
        log->bytes_kept += c->n;
        complete_first(log, CONFAB_OK, woken);
        log->stats.durable_lsn += c->n;
        log->stats.bytes_written += c->n;
        done++;
    }
    if (done > 0) {
        log->stats.batches++;
        log->stats.syncs++;
    }
    pthread_mutex_unlock(&log->mu);
    wake_lanes(log, woken);
    free(woken);
    return done;
}

void log_mem_fail(struct log_mem *log)
{
    bool *woken = calloc(log->config.lanes, sizeof(*woken));
    CHECK(woken);
    pthread_mutex_lock(&log->mu);
    log->stats.state = LOG_FAILED;
    while (log->queue) {
        complete_first(log, CONFAB_IO, woken);
    }
    pthread_mutex_unlock(&log->mu);
    wake_lanes(log, woken);
    free(woken);
}

void log_mem_crash(struct log_mem *log)
{
    pthread_mutex_lock(&log->mu);
    log->queue = NULL;
    log->stats.bytes_queued = 0;
    log->stats.state = LOG_OK;
    for (uint16_t i = 0; i < log->config.lanes; i++) {
        log->lanes[i].done = NULL;
    }
    pthread_mutex_unlock(&log->mu);
}

void log_mem_set_capacity(struct log_mem *log, uint64_t bytes)
{
    pthread_mutex_lock(&log->mu);
    log->config.capacity_bytes = bytes;
    pthread_mutex_unlock(&log->mu);
}

static enum confab_err
read_chunk(const struct chunk *c, uint64_t from,
           enum confab_err (*on_record)(void *arg, const struct log_record *rec), void *arg)
{
    size_t offset = 0;
    struct log_record rec;
    enum confab_err err = CONFAB_OK;
    while (!err) {
        err = log_record_next(span_of(c->data, c->n), &offset, c->lsn, &rec);
        if (!err && rec.lsn >= from) {
            err = on_record(arg, &rec);
            if (err) {
                return err;
            }
        }
    }
    return err == CONFAB_EOF ? CONFAB_OK : err;
}

static enum confab_err
mem_read(struct log_store *store, uint64_t from,
         enum confab_err (*on_record)(void *arg, const struct log_record *rec), void *arg)
{
    struct log_mem *log = mem_of(store);
    enum confab_err err = CONFAB_OK;
    uint64_t at = from;
    pthread_mutex_lock(&log->mu);
    uint64_t end = log->stats.durable_lsn;
    struct chunk *c = log->first;
    while (!err && at < end) {
        while (c && c->lsn + c->n <= at) {
            c = c->next;
        }
        if (!c || c->lsn >= end) {
            break;
        }
        c->refs++;
        pthread_mutex_unlock(&log->mu);
        err = read_chunk(c, from, on_record, arg);
        at = c->lsn + c->n;
        pthread_mutex_lock(&log->mu);
        /* Trimmed meanwhile, its successors may be gone as well: start over. */
        struct chunk *next = c->refs > 1 ? c->next : log->first;
        chunk_unref(c);
        c = next;
    }
    pthread_mutex_unlock(&log->mu);
    return err;
}

static enum confab_err mem_trim(struct log_store *store, uint64_t lsn)
{
    struct log_mem *log = mem_of(store);
    pthread_mutex_lock(&log->mu);
    while (log->first && log->first->lsn + log->first->n <= lsn) {
        struct chunk *c = log->first;
        log->first = c->next;
        if (!log->first) {
            log->last = NULL;
        }
        log->bytes_kept -= c->n;
        log->stats.first_lsn = c->lsn + c->n;
        chunk_unref(c);
    }
    pthread_mutex_unlock(&log->mu);
    return CONFAB_OK;
}

static void mem_stats(struct log_store *store, struct log_stats *ret)
{
    struct log_mem *log = mem_of(store);
    pthread_mutex_lock(&log->mu);
    *ret = log->stats;
    pthread_mutex_unlock(&log->mu);
}

enum confab_err log_mem_new(const struct log_mem_config *config, struct log_mem **ret_log)
{
    if (config->lanes == 0) {
        return CONFAB_INVALID;
    }
    struct log_mem *log = calloc(1, sizeof(*log));
    struct mem_lane *lanes = calloc(config->lanes, sizeof(*lanes));
    if (!log || !lanes) {
        free(log);
        free(lanes);
        return CONFAB_NOMEM;
    }
    log->base.ops = &OPS;
    log->config = *config;
    if (log->config.queue_bytes_max == 0) {
        log->config.queue_bytes_max = 32U << 20;
    }
    log->lanes = lanes;
    log->stats.first_lsn = LOG_MEM_FIRST_LSN;
    log->stats.durable_lsn = LOG_MEM_FIRST_LSN;
    log->stats.segments = 1;
    pthread_mutex_init(&log->mu, NULL);
    *ret_log = log;
    return CONFAB_OK;
}

void log_mem_free(struct log_mem *log)
{
    if (!log) {
        return;
    }
    while (log->first) {
        struct chunk *c = log->first;
        log->first = c->next;
        chunk_unref(c);
    }
    pthread_mutex_destroy(&log->mu);
    free(log->lanes);
    free(log);
}

struct log_store *log_mem_store(struct log_mem *log)
{
    return &log->base;
}

static const struct log_store_ops OPS = {
    .name = "mem",
    .version = 1,
    .submit = mem_submit,
    .poll = mem_poll,
    .set_wake = mem_set_wake,
    .read = mem_read,
    .trim = mem_trim,
    .stats = mem_stats,
};
