/*
 * A wave is what came in one turn of the floor: a submission to the log, and the bytes that are
 * passed on when it comes back. What came back is collected by client; 128 messages are a chunk,
 * and chunks go to the store's threads by the batch. When too many of those are under way the floor
 * waits, since a store that never catches up would be no floor.
 */
#include "floor_keep.h"

#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/local_log/local_log.h"
#include "adapters/os/disk_os.h"
#include "adapters/os/executor_pool.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "base/clock.h"
#include "base/hash64.h"
#include "base/list.h"
#include "core/chunk.h"
#include "core/rows.h"

enum {
    RECORD_KIND = 1,
    BATCHES_MAX = 64,       /* with the store's threads at once */
    BATCH_BYTES = 64 << 10, /* about a flush of Confab's */
    WAVE_BYTES = 1 << 20,
    TRIM_BYTES = 64 << 20, /* of the log, as long as a server keeps it at least */
    WAVES_SPARE = 8,
    QUEUE_MAX = 256,
    DIR_FDS = 16,
};

struct part {
    uint32_t client;
    uint32_t at;
    uint32_t n;
};
struct wave {
    struct log_submission sub;
    struct list link;
    struct buf bytes;
    struct part *parts;
    uint32_t nparts;
    uint32_t cap;
};
/* One client's messages on their way into a chunk. */
struct forming {
    struct buf records;
    uint32_t count;
    uint64_t first;
};
struct trimming {
    struct job job;
    struct floor_keep *keep;
    uint64_t lsn;
};
struct batch {
    struct store_request req;
    struct floor_keep *keep;
};

struct floor_keep {
    uint32_t frame;
    uint32_t record;
    uint32_t nclients;
    int event_fd;
    struct log_store *log;
    struct executor *trimmer;
    uint64_t trimmed;
    struct wave *current; /* being added to */
    struct wave *back;    /* being passed on */
    uint32_t at;          /* in its parts */
    struct list spare;
    uint32_t nspare;
    struct message_store *store; /* NULL: only the log */
    struct chunk_codec *codec;
    struct forming *forming;
    struct buf batch;
    struct buf value;
    sem_t room;
};

static void check(enum confab_err err, const char *what)
{
    if (err) {
        (void)fprintf(stderr, "confab-bench: floor: %s: %s\n", what, err_text(err));
        _exit(1);
    }
}

static void wake(void *arg)
{
    const struct floor_keep *k = arg;
    const uint64_t one = 1;
    (void)!write(k->event_fd, &one, sizeof(one));
}

static struct wave *wave_new(struct floor_keep *k)
{
    struct list *n = list_pop_front(&k->spare);
    if (n) {
        k->nspare--;
        return LIST_ENTRY(n, struct wave, link);
    }
    struct wave *w = bench_alloc(sizeof(*w));
    list_init(&w->link);
    return w;
}

static void wave_done(struct floor_keep *k, struct wave *w)
{
    if (k->nspare == WAVES_SPARE) {
        buf_deinit(&w->sub.bytes);
        buf_deinit(&w->bytes);
        free(w->parts);
        free(w);
        return;
    }
    struct buf bytes = w->sub.bytes;
    buf_clear(&bytes);
    buf_clear(&w->bytes);
    w->sub = (struct log_submission){.bytes = bytes};
    w->nparts = 0;
    list_push_front(&k->spare, &w->link);
    k->nspare++;
}

static void open_store(struct floor_keep *k, const char *dir)
{
    char path[PATH_MAX];
    char why[256] = "";
    struct executor *readers;
    struct executor *writers;
    (void)snprintf(path, sizeof(path), "%s/store", dir);
    check(executor_pool_open(1, QUEUE_MAX, "store-read", &readers), "a thread");
    check(executor_pool_open(2, QUEUE_MAX, "store-write", &writers), "a thread");
    check(store_rocksdb_open(path, (struct store_rocksdb_cfg){0}, readers, writers, why,
                             sizeof(why), &k->store),
          why);
    check(chunk_codec_new(&k->codec), "memory");
    k->forming = bench_alloc(k->nclients * sizeof(*k->forming));
    if (sem_init(&k->room, 0, BATCHES_MAX) != 0) {
        bench_die("sem_init");
    }
}

struct floor_keep *floor_keep_open(const char *dir, bool store, uint32_t nclients, uint32_t frame,
                                   uint32_t record, int *ret_fd)
{
    struct floor_keep *k = bench_alloc(sizeof(*k));
    struct local_log *log;
    struct disk *disk;
    char path[PATH_MAX];
    k->frame = frame;
    k->record = record;
    k->nclients = nclients;
    list_init(&k->spare);
    k->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (k->event_fd < 0) {
        bench_die("eventfd");
    }
    (void)snprintf(path, sizeof(path), "%s/log", dir);
    if (mkdir(path, 0700) != 0) {
        bench_die(path);
    }
    check(disk_os_open(path, &disk), path);
    check(local_log_open(&(struct local_log_config){.lanes = 1}, disk, clock_system(), &log), path);
    check(executor_pool_open(1, QUEUE_MAX, "trim", &k->trimmer), "a thread");
    k->log = local_log_store(log);
    log_store_set_wake(k->log, 0, wake, k);
    check(local_log_start_thread(log), "a thread");
    if (store) {
        open_store(k, dir);
    }
    k->current = wave_new(k);
    *ret_fd = k->event_fd;
    return k;
}

void floor_keep_add(struct floor_keep *k, uint32_t client, const uint8_t *p, size_t n)
{
    struct wave *w = k->current;
    if (w->nparts == w->cap) {
        w->cap = w->cap ? 2 * w->cap : 64;
        w->parts = realloc(w->parts, w->cap * sizeof(*w->parts));
        if (!w->parts) {
            bench_die("out of memory");
        }
    }
    w->parts[w->nparts++] = (struct part){client, (uint32_t)w->bytes.len, (uint32_t)n};
    buf_put(&w->bytes, p, n);
    for (size_t at = 0; at < n; at += k->frame) {
        uint32_t offset;
        check(log_submission_add(&w->sub, (uint16_t)(client % ID_PARTITIONS), RECORD_KIND, 0,
                                 span_of(p + at, k->record), &offset),
              "more than the log takes at once");
    }
    check(buf_ok(&w->bytes) && buf_ok(&w->sub.bytes) ? CONFAB_OK : CONFAB_NOMEM, "memory");
    if (w->bytes.len >= WAVE_BYTES) {
        (void)floor_keep_submit(k);
    }
}

bool floor_keep_submit(struct floor_keep *k)
{
    struct wave *w = k->current;
    enum confab_err err = w->nparts > 0 ? log_store_submit(k->log, &w->sub) : CONFAB_OK;
    if (err == CONFAB_BUSY) {
        return false; /* with the next turn's */
    }
    check(err, "the log");
    if (w->nparts > 0) {
        k->current = wave_new(k);
    }
    return true;
}

static void trim(struct job *job)
{
    struct trimming *t = CONTAINER_OF(job, struct trimming, job);
    check(log_store_trim(t->keep->log, t->lsn), "the log's end");
    free(t);
}

/* Nothing is ever recovered: the log is as long as it may be, wherever the store is. */
static void trim_before(struct floor_keep *k, uint64_t lsn)
{
    if (lsn < k->trimmed + 2ULL * TRIM_BYTES) {
        return;
    }
    struct trimming *t = bench_alloc(sizeof(*t));
    k->trimmed = lsn - TRIM_BYTES;
    *t = (struct trimming){.job.run = trim, .keep = k, .lsn = k->trimmed};
    check(executor_submit(k->trimmer, &t->job), "the log's end");
}

static void stored(struct store_request *req)
{
    struct batch *b = req->arg;
    check(req->ret_err, "the store");
    (void)sem_post(&b->keep->room);
    store_request_deinit(req);
    free(b);
}

static void store_batch(struct floor_keep *k)
{
    struct batch *b = bench_alloc(sizeof(*b));
    while (sem_wait(&k->room) != 0) {
    }
    b->keep = k;
    b->req = (struct store_request){.op = STORE_WRITE, .done = stored, .arg = b, .batch = k->batch};
    buf_init(&k->batch);
    check(message_store_submit(k->store, &b->req), "the store");
}

static void store_chunk(struct floor_keep *k, uint32_t client, struct forming *f)
{
    struct row_key key;
    const struct conv_id conv = {.hi = hash64(&client, sizeof(client), 0), .lo = client};
    buf_clear(&k->value);
    check(
        chunk_encode(k->codec, &k->value, span_of(f->records.data, f->records.len), f->count, true),
        "a chunk");
    row_key_conv_seq(&key, STORE_CHUNK, conv, f->first);
    store_batch_put(&k->batch, key.k, span_of(k->value.data, k->value.len));
    check(buf_ok(&k->batch) ? CONFAB_OK : CONFAB_NOMEM, "memory");
    f->first += f->count;
    f->count = 0;
    buf_clear(&f->records);
    if (k->batch.len >= BATCH_BYTES) {
        store_batch(k);
    }
}

static void collect(struct floor_keep *k, uint32_t client, struct span messages)
{
    struct forming *f = &k->forming[client];
    for (size_t at = 0; at < messages.n; at += k->frame) {
        buf_put_blob(&f->records, messages.p + at, k->record);
        if (++f->count == CHUNK_EVENTS_MAX) {
            check(buf_ok(&f->records) ? CONFAB_OK : CONFAB_NOMEM, "memory");
            store_chunk(k, client, f);
        }
    }
}

bool floor_keep_next(struct floor_keep *k, uint32_t *ret_client, struct span *ret)
{
    if (k->back && k->at == k->back->nparts) {
        wave_done(k, k->back);
        k->back = NULL;
    }
    if (!k->back) {
        struct log_submission *sub = log_store_poll(k->log, 0);
        if (!sub) {
            return false;
        }
        check(sub->ret_err, "the log");
        k->back = CONTAINER_OF(sub, struct wave, sub);
        k->at = 0;
        trim_before(k, sub->ret_lsn);
    }
    const struct part *part = &k->back->parts[k->at++];
    *ret_client = part->client;
    *ret = span_of(k->back->bytes.data + part->at, part->n);
    if (k->store) {
        collect(k, part->client, *ret);
    }
    return true;
}

/* ---- The directory ---- */

enum confab_err floor_keep_make_dir(const char *parent, char *path)
{
    (void)snprintf(path, PATH_MAX, "%s/confab-bench.XXXXXX", parent);
    if (!mkdtemp(path)) {
        (void)fprintf(stderr, "confab-bench: %s: %s\n", path, strerror(errno));
        path[0] = '\0';
        return CONFAB_IO;
    }
    return CONFAB_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

void floor_keep_remove_dir(const char *path)
{
    if (nftw(path, remove_one, DIR_FDS, FTW_DEPTH | FTW_PHYS) != 0) {
        (void)fprintf(stderr, "confab-bench: %s: %s\n", path, strerror(errno));
    }
}
