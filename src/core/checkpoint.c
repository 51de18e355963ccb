/*
 * Order of a checkpoint. (1) The log's durable LSN is read, then what each engine still needs; the
 * lowest of them is the checkpoint: a record that an engine has not told of yet was submitted after
 * it was asked, so it lies at or above the durable LSN read before. (2) The store is flushed: every
 * batch whose completion an engine has seen is durable now. (3) The file is written under another
 * name, synced, renamed, the directory synced. (4) The log may drop what lies below.
 *
 * File: u32 magic, u32 version, u64 lsn, u32 CRC32C of these 16 bytes.
 */
#include "core/checkpoint.h"

#include <stdlib.h>

#include "base/crc32c.h"

#define CHECKPOINT_NAME "CHECKPOINT"
#define CHECKPOINT_TEMP "CHECKPOINT.new"

enum { MAGIC = 0x50434e43, VERSION = 1, FILE_BYTES = 20 };

struct checkpointer {
    struct disk *disk;
    struct executor *executor;
    struct log_store *log;
    struct message_store *store;
    struct engine *const *engines;
    struct metrics *metrics;
    uint16_t n;
    uint64_t lsn; /* of the one under way */
    struct store_request req;
    struct job job;
    atomic_bool running;
    atomic_bool failed; /* the latest one */
    atomic_uint_fast64_t done_lsn;
    atomic_uint_fast64_t finished;
    atomic_uint_fast64_t failures;
    uint64_t counted;
    uint64_t failures_counted;
};

enum confab_err checkpoint_load(struct disk *disk, uint64_t *ret_lsn)
{
    struct disk_file *f;
    enum confab_err err = disk_open(disk, CHECKPOINT_NAME, DISK_READ, &f);
    if (err == CONFAB_NOT_FOUND) {
        *ret_lsn = 0;
        return CONFAB_OK;
    }
    if (err) {
        return err;
    }
    uint8_t raw[FILE_BYTES];
    size_t n = 0;
    err = disk_pread(f, raw, sizeof(raw), 0, &n);
    disk_close(f);
    if (err) {
        return err;
    }
    struct reader r = reader_of(raw, n);
    uint32_t magic = reader_u32(&r);
    uint32_t version = reader_u32(&r);
    uint64_t lsn = reader_u64(&r);
    uint32_t crc = reader_u32(&r);
    if (r.bad || magic != MAGIC || crc32c(0, raw, FILE_BYTES - 4) != crc) {
        return CONFAB_CORRUPT;
    }
    if (version != VERSION) {
        return CONFAB_VERSION;
    }
    *ret_lsn = lsn;
    return CONFAB_OK;
}

static enum confab_err write_file(struct disk *disk, uint64_t lsn)
{
    struct buf b = {0};
    buf_put_u32(&b, MAGIC);
    buf_put_u32(&b, VERSION);
    buf_put_u64(&b, lsn);
    buf_put_u32(&b, buf_ok(&b) ? crc32c(0, b.data, b.len) : 0);
    enum confab_err err = CONFAB_NOMEM;
    if (buf_ok(&b)) {
        err = disk_replace(disk, CHECKPOINT_TEMP, CHECKPOINT_NAME, b.data, b.len);
    }
    buf_deinit(&b);
    return err;
}

static void finish(struct checkpointer *c, bool ok)
{
    store_request_deinit(&c->req);
    atomic_fetch_add(&c->failures, !ok);
    atomic_store(&c->failed, !ok);
    atomic_store(&c->running, false);
}

static void run_file(struct job *job)
{
    struct checkpointer *c = CONTAINER_OF(job, struct checkpointer, job);
    enum confab_err err = write_file(c->disk, c->lsn);
    if (!err) {
        atomic_store(&c->done_lsn, c->lsn);
        atomic_fetch_add(&c->finished, 1);
        /* A log that keeps too much is no harm; its own metrics tell. */
        (void)!log_store_trim(c->log, c->lsn);
    }
    finish(c, !err);
}

static void flushed(struct store_request *req)
{
    struct checkpointer *c = req->arg;
    if (req->ret_err || executor_submit(c->executor, &c->job)) {
        finish(c, false);
    }
}

enum confab_err checkpointer_new(struct disk *disk, struct executor *executor,
                                 struct log_store *log, struct message_store *store,
                                 struct engine *const *engines, uint16_t n, struct metrics *metrics,
                                 struct checkpointer **ret)
{
    struct checkpointer *c = calloc(1, sizeof(*c));
    if (!c) {
        return CONFAB_NOMEM;
    }
    c->disk = disk;
    c->executor = executor;
    c->log = log;
    c->store = store;
    c->engines = engines;
    c->n = n;
    c->metrics = metrics;
    c->job.run = run_file;
    *ret = c;
    return CONFAB_OK;
}

void checkpointer_free(struct checkpointer *c)
{
    if (c) {
        store_request_deinit(&c->req);
        free(c);
    }
}

/* Here, since the metrics belong to the caller's thread. */
static void count(struct checkpointer *c)
{
    uint64_t finished = atomic_load(&c->finished);
    uint64_t failures = atomic_load(&c->failures);
    metrics_add(c->metrics, METRIC_CHECKPOINTS, finished - c->counted);
    metrics_add(c->metrics, METRIC_CHECKPOINTS_FAILED, failures - c->failures_counted);
    c->counted = finished;
    c->failures_counted = failures;
}

static void start(struct checkpointer *c, uint64_t gain)
{
    count(c);
    if (atomic_load(&c->running)) {
        return;
    }
    struct log_stats stats;
    log_store_stats(c->log, &stats);
    uint64_t lsn = stats.durable_lsn;
    for (uint16_t i = 0; i < c->n; i++) {
        lsn = MIN(lsn, engine_clean_lsn(c->engines[i]));
    }
    if (lsn < atomic_load(&c->done_lsn) + gain) {
        return;
    }
    c->lsn = lsn;
    atomic_store(&c->running, true);
    c->req = (struct store_request){.op = STORE_FLUSH, .done = flushed, .arg = c};
    if (message_store_submit(c->store, &c->req)) {
        finish(c, false);
    }
}

void checkpointer_start(struct checkpointer *c)
{
    start(c, 1);
}

void checkpointer_start_gaining(struct checkpointer *c, uint64_t bytes)
{
    /* A disk that is full, say, is not asked again at every turn. */
    if (!atomic_load(&c->failed)) {
        start(c, bytes);
    }
}

bool checkpointer_is_running(const struct checkpointer *c)
{
    return atomic_load(&c->running);
}

uint64_t checkpointer_lsn(const struct checkpointer *c)
{
    return atomic_load(&c->done_lsn);
}
