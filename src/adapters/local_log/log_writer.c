/*
 * The writing side: queue, batches, group commit, rotation, completion.
 *
 *     submit ──► queue ──► [step] batch ─► pwrite ─► sync ──► lane's done list ──► poll
 *                                  │ does not fit
 *                                  └─► rotate: header into a spare, sync, rename, sync dir
 *
 *     LOG_OK ──alloc: no space──► LOG_FULL ──alloc ok, or trim──► LOG_OK
 *     any ──write, sync or rotation fails──► LOG_FAILED (for good)
 *     nothing queued, a spare never written ──► a piece of it filled with zeros (log_zeros.c)
 *     rotation without memory: the queue stays as it is, tried again after retry_ms
 *
 * A submission is admitted only when it certainly fits in what is allocated (`reserved` follows
 * where the writer will put it), so what was admitted is written without allocating: a full disk
 * refuses at `submit` and never later. The last spare is never counted: it is for the next
 * recovery.
 *
 * One batch is written per sync, so a batch that follows another proves that one durable; this is
 * what recovery tells a torn tail from corruption by.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/check.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "base/thread.h"
#include "local_log_internal.h"

struct local_log *local_log_of(struct log_store *store)
{
    CHECK(store->ops == &local_log_ops);
    return CONTAINER_OF(store, struct local_log, base);
}

/* Under mu. */
void log_reserve_reset(struct local_log *log)
{
    const struct segment *seg = log_current(log);
    log->reserved = (struct reservation){.offset = seg->used, .limit = seg->size - LOG_BLOCK};
}

/* May a batch of so many bytes, not the first submission's alone, stand in that room? */
static bool joins(const struct local_log *log, uint64_t payload_bytes, uint64_t room)
{
    return payload_bytes <= log->config.batch_bytes_max && batch_disk_bytes(payload_bytes) <= room;
}

/* Under mu. Packs as `take` does. */
static enum confab_err reserve(struct local_log *log, uint64_t payload_bytes)
{
    uint64_t cost = batch_disk_bytes(payload_bytes);
    uint64_t room = log->config.segment_bytes - 2 * LOG_BLOCK; /* header, closing mark */
    if (cost > room || payload_bytes > LOG_BATCH_PAYLOAD_MAX) {
        return CONFAB_TOO_LARGE;
    }
    struct reservation *r = &log->reserved;
    if (r->open_bytes > 0 && joins(log, r->open_bytes + payload_bytes, r->limit - r->offset)) {
        r->open_bytes += payload_bytes;
        return CONFAB_OK;
    }
    uint64_t behind = r->open_bytes > 0 ? batch_disk_bytes(r->open_bytes) : 0;
    if (r->offset + behind + cost > r->limit) {
        if (log->spares.count <= r->spares_used + 1) {
            return log->state == LOG_FULL ? CONFAB_NO_SPACE : CONFAB_BUSY;
        }
        r->spares_used++;
        r->offset = LOG_BLOCK;
        r->limit = log->config.segment_bytes - LOG_BLOCK;
    } else {
        r->offset += behind;
    }
    r->open_bytes = payload_bytes;
    return CONFAB_OK;
}

static bool framed_well(const struct log_submission *sub)
{
    size_t offset = 0;
    uint32_t records = 0;
    struct log_record rec;
    while (log_record_next(span_of(sub->bytes.data, sub->bytes.len), &offset, 0, &rec) ==
           CONFAB_OK) {
        records++;
    }
    return offset == sub->bytes.len && records == sub->records && records > 0;
}

enum confab_err log_submit(struct log_store *store, struct log_submission *sub)
{
    struct local_log *log = local_log_of(store);
    if (log->readonly) {
        return CONFAB_FORBIDDEN;
    }
    CHECK(sub->lane < log->config.lanes);
    /* What is written is replayed for good: never let bad framing in. */
    CHECK(framed_well(sub));
    sub->next = NULL;
    pthread_mutex_lock(&log->mu);
    enum confab_err err = CONFAB_OK;
    if (log->state == LOG_FAILED) {
        err = CONFAB_IO;
    } else if (log->stats.bytes_queued > 0 &&
               log->stats.bytes_queued + sub->bytes.len > log->config.queue_bytes_max) {
        err = CONFAB_BUSY;
    } else {
        err = reserve(log, sub->bytes.len);
    }
    if (err == CONFAB_BUSY) {
        log->stats.queue_full++;
    }
    bool signal = false;
    if (!err) {
        if (log->queue) {
            log->queue_last->next = sub;
        } else {
            log->queue = sub;
        }
        log->queue_last = sub;
        log->stats.bytes_queued += sub->bytes.len;
        signal = log->writer_waits;
        log->writer_waits = false;
    }
    pthread_mutex_unlock(&log->mu);
    if (signal) {
        pthread_cond_signal(&log->work);
    }
    return err;
}

struct log_submission *log_poll(struct log_store *store, uint16_t lane)
{
    struct local_log *log = local_log_of(store);
    CHECK(lane < log->config.lanes);
    struct lane *l = &log->lanes[lane];
    if (!l->out) {
        if (!atomic_load_explicit(&l->ready, memory_order_acquire)) {
            return NULL;
        }
        pthread_mutex_lock(&l->mu);
        l->out = l->done;
        l->done = NULL;
        l->done_last = NULL;
        atomic_store_explicit(&l->ready, false, memory_order_relaxed);
        pthread_mutex_unlock(&l->mu);
    }
    struct log_submission *sub = l->out;
    if (sub) {
        l->out = sub->next;
        sub->next = NULL;
    }
    return sub;
}

void log_set_wake(struct log_store *store, uint16_t lane, void (*wake)(void *arg), void *arg)
{
    struct local_log *log = local_log_of(store);
    CHECK(lane < log->config.lanes);
    log->lanes[lane].wake = wake;
    log->lanes[lane].wake_arg = arg;
}

/* Gives finished submissions back, and wakes each lane that got some once. */
static void complete(struct local_log *log, struct log_submission *list, enum confab_err err,
                     uint64_t lsn)
{
    while (list) {
        struct log_submission *sub = list;
        list = sub->next;
        sub->next = NULL;
        sub->ret_err = err;
        sub->ret_lsn = err ? 0 : lsn;
        lsn += sub->bytes.len;
        struct lane *l = &log->lanes[sub->lane];
        if (l->batch) {
            l->batch_last->next = sub;
        } else {
            l->batch = sub;
        }
        l->batch_last = sub;
    }
    for (uint16_t i = 0; i < log->config.lanes; i++) {
        struct lane *l = &log->lanes[i];
        if (!l->batch) {
            continue;
        }
        pthread_mutex_lock(&l->mu);
        if (l->done) {
            l->done_last->next = l->batch;
        } else {
            l->done = l->batch;
        }
        l->done_last = l->batch_last;
        atomic_store_explicit(&l->ready, true, memory_order_release);
        pthread_mutex_unlock(&l->mu);
        l->batch = NULL;
        l->batch_last = NULL;
        if (l->wake) {
            l->wake(l->wake_arg);
        }
    }
}

/* Sticky. `list`: what the writer held. Everything queued comes back behind it. */
static void fail(struct local_log *log, enum confab_err cause, const char *what,
                 struct log_submission *list)
{
    pthread_mutex_lock(&log->mu);
    struct log_submission *rest = log->queue;
    log->queue = NULL;
    log->queue_last = NULL;
    log->stats.bytes_queued = 0;
    log->state = LOG_FAILED;
    uint64_t lsn = log->stats.durable_lsn;
    pthread_mutex_unlock(&log->mu);
    diag_error(DIAG_LOG, "the log failed and takes nothing more | at=%s err=\"%s\" lsn=%" PRIu64,
               what, err_text(cause), lsn);
    complete(log, list, CONFAB_IO, 0);
    complete(log, rest, CONFAB_IO, 0);
}

/*
 * Makes a spare the current segment. Its base is the present end, all of which is durable.
 * CONFAB_NOMEM: nothing was done. So everything that needs memory comes before the rename; what was
 * written into the spare by then does not matter.
 */
static enum confab_err rotate(struct local_log *log)
{
    struct segment *seg = calloc(1, sizeof(*seg));
    if (!seg) {
        return CONFAB_NOMEM;
    }
    pthread_mutex_lock(&log->files_mu);
    pthread_mutex_lock(&log->mu);
    CHECK(log->spares.count > 0 && log->reserved.spares_used > 0);
    uint64_t spare = log->spares.at[log->spares.count - 1];
    uint64_t base = log_current(log)->end_lsn;
    enum confab_err err = segment_list_reserve(&log->segments);
    pthread_mutex_unlock(&log->mu);

    struct segment_writer w = {0};
    struct segment_header head = {
        .number = log->number_next,
        .base_lsn = base,
        .size = log->config.segment_bytes,
        .created_ms = clock_wall_ms(log->clock),
    };
    if (!err) {
        log_zeros_leave(log, spare);
        head.id = random_u64(log->config.random);
        err = segment_writer_begin(&w, log->disk, spare, &head);
    }
    if (!err) {
        log->number_next++;
        err = segment_writer_finish(&w);
        CHECK(err != CONFAB_NOMEM);
    }
    if (!err) {
        *seg = (struct segment){
            .number = head.number,
            .id = head.id,
            .base_lsn = base,
            .end_lsn = base,
            .size = w.head.size,
            .used = w.offset,
        };
        pthread_mutex_lock(&log->mu);
        log->spares.count--; /* the last one: trim only adds, and not without files_mu */
        log->reserved.spares_used--;
        CHECK(segment_list_add(&log->segments, seg) == CONFAB_OK);
        pthread_mutex_unlock(&log->mu);
        seg = NULL;
        disk_close(log->file);
        log->file = w.file;
        w.file = NULL;
    }
    segment_writer_deinit(&w);
    pthread_mutex_unlock(&log->files_mu);
    free(seg);
    return err;
}

enum confab_err log_allocate_spare(struct local_log *log)
{
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    pthread_mutex_lock(&log->files_mu);
    pthread_mutex_lock(&log->mu);
    enum confab_err err = u64_list_reserve(&log->spares);
    err = err ? err : u64_list_reserve(&log->blank);
    pthread_mutex_unlock(&log->mu);
    uint64_t number = log->number_next++;
    log_name_format(LOG_NAME_SPARE, number, name);
    if (!err) {
        err = disk_open(log->disk, name, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_EXCL, &file);
    }
    if (!err) {
        err = disk_preallocate(file, log->config.segment_bytes);
        disk_close(file);
        if (err && disk_unlink(log->disk, name) != CONFAB_OK) {
            diag_warn(DIAG_LOG, "a half made spare segment stays | name=%s", name);
        }
    }
    pthread_mutex_lock(&log->mu);
    if (!err) {
        CHECK(u64_list_add(&log->spares, number) == CONFAB_OK);
        if (log->config.zero_spares && log->zeros.done < log->config.segments_kept) {
            CHECK(u64_list_add(&log->blank, number) == CONFAB_OK);
        }
    }
    if (!err && log->state == LOG_FULL && log->spares.count > 1) {
        log->state = LOG_OK;
        diag_info(DIAG_LOG, "there is room for the log again");
    }
    if (err == CONFAB_NO_SPACE || err == CONFAB_NOMEM) {
        if (log->state == LOG_OK) {
            diag_error(DIAG_LOG, "no room for another log segment | spares=%zu", log->spares.count);
        }
        log->state = log->state == LOG_FAILED ? LOG_FAILED : LOG_FULL;
        log->retry_at_ns = clock_mono_ns(log->clock) + (uint64_t)log->config.retry_ms * 1000000U;
    }
    pthread_mutex_unlock(&log->mu);
    pthread_mutex_unlock(&log->files_mu);
    return err;
}

/* Bytes of a batch that the current segment has room for. Under mu. */
static uint64_t room_left(struct local_log *log)
{
    const struct segment *seg = log_current(log);
    /* After recovery a mark may stand in the very last block. */
    return seg->size - seg->used > LOG_BLOCK ? seg->size - seg->used - LOG_BLOCK : 0;
}

/* Takes what fits in one batch off the queue; NULL when it is empty. The first one fits. */
static struct log_submission *take(struct local_log *log)
{
    pthread_mutex_lock(&log->mu);
    struct log_submission *first = log->queue;
    struct log_submission *last = NULL;
    if (first) {
        uint64_t room = room_left(log);
        uint64_t bytes = 0;
        for (struct log_submission *s = first; s; s = s->next) {
            bytes += s->bytes.len;
            if (s != first && !joins(log, bytes, room)) {
                break;
            }
            last = s;
        }
        log->queue = last->next;
        last->next = NULL;
        if (!log->queue) { /* it was the open one */
            log->reserved.offset += batch_disk_bytes(log->reserved.open_bytes);
            log->reserved.open_bytes = 0;
        }
    }
    pthread_mutex_unlock(&log->mu);
    return first;
}

/* Under no lock: the writer's. Writes and syncs one batch at the end of the current segment. */
static enum confab_err write_batch(struct local_log *log, struct batch_header *h, size_t n,
                                   const char **ret_what)
{
    struct segment *seg = log_current(log);
    h->segment_id = seg->id;
    h->base_lsn = seg->end_lsn;
    h->durable_lsn = seg->end_lsn;
    batch_seal(log->batch, h);
    *ret_what = "write";
    enum confab_err err = disk_pwrite(log->file, log->batch, n, seg->used);
    if (err) {
        return err;
    }
    uint64_t began = clock_mono_ns(log->clock);
    *ret_what = "sync";
    err = disk_sync(log->file);
    uint64_t took = clock_mono_ns(log->clock) - began;
    pthread_mutex_lock(&log->mu);
    log->stats.syncs++;
    log->stats.sync_ns_total += took;
    log->stats.sync_ns_max = MAX(log->stats.sync_ns_max, took);
    pthread_mutex_unlock(&log->mu);
    return err;
}

/* Under mu. Something is queued, and it is not time to wait for memory. */
static bool wants_write(const struct local_log *log)
{
    return log->queue && (log->rotate_at_ns == 0 || log->state == LOG_FAILED || log->stopping ||
                          clock_mono_ns(log->clock) >= log->rotate_at_ns);
}

/* Notes that a rotation found no memory, or found it again. */
static void note_memory(struct local_log *log, bool enough)
{
    if (!enough && log->rotate_at_ns == 0) {
        diag_error(DIAG_LOG, "no memory to begin a log segment; what is queued waits");
    } else if (enough && log->rotate_at_ns > 0) {
        diag_info(DIAG_LOG, "there is memory for a log segment again");
    }
    uint64_t at = clock_mono_ns(log->clock) + (uint64_t)log->config.retry_ms * 1000000U;
    pthread_mutex_lock(&log->mu);
    log->rotate_at_ns = enough ? 0 : at;
    pthread_mutex_unlock(&log->mu);
}

static void write_queued(struct local_log *log, bool *ret_did_work)
{
    pthread_mutex_lock(&log->mu);
    bool work = wants_write(log);
    bool failed = log->state == LOG_FAILED; /* by trim, meanwhile */
    bool last_try = log->stopping;
    bool rotation = work && batch_disk_bytes(log->queue->bytes.len) > room_left(log);
    pthread_mutex_unlock(&log->mu);
    if (!work) {
        return;
    }
    *ret_did_work = true;
    if (failed) {
        fail(log, CONFAB_IO, "trim", NULL);
        return;
    }
    enum confab_err err = rotation ? rotate(log) : CONFAB_OK;
    if (rotation && (!err || err == CONFAB_NOMEM)) {
        note_memory(log, !err);
    }
    if (err == CONFAB_NOMEM && !last_try) {
        return;
    }
    if (err) {
        fail(log, err, "rotation", NULL);
        return;
    }
    struct log_submission *list = take(log);
    const char *what = NULL;
    struct segment *seg = log_current(log);
    struct batch_header h = {0};
    uint8_t *p = log->batch + LOG_BATCH_HEADER;
    uint32_t crc = log_segment_seed(seg->id);
    for (struct log_submission *s = list; s; s = s->next) {
        memcpy(p, s->bytes.data, s->bytes.len);
        crc = crc32c(crc, p, s->bytes.len);
        p += s->bytes.len;
        h.records += s->records;
    }
    h.payload_bytes = (uint32_t)(p - log->batch) - LOG_BATCH_HEADER;
    h.lsn_bytes = h.payload_bytes;
    h.payload_crc = crc;
    size_t n = (size_t)batch_disk_bytes(h.payload_bytes);
    CHECK(n <= log->batch_cap && seg->used + n + LOG_BLOCK <= seg->size);
    err = write_batch(log, &h, n, &what);
    if (err) {
        fail(log, err, what, list);
        return;
    }
    pthread_mutex_lock(&log->mu);
    segment_note(seg, h.base_lsn, seg->used);
    seg->used += n;
    seg->end_lsn += h.lsn_bytes;
    log->marked = false;
    log->stats.durable_lsn = seg->end_lsn;
    log->stats.bytes_queued -= h.payload_bytes;
    log->stats.batches++;
    log->stats.bytes_written += n;
    CHECK(log->queue || log->reserved.offset == seg->used);
    pthread_mutex_unlock(&log->mu);
    complete(log, list, CONFAB_OK, h.base_lsn);
}

void log_write_mark(struct local_log *log)
{
    struct batch_header h = {.flags = BATCH_MARK, .payload_crc = 0};
    const char *what = NULL;
    h.payload_crc = log_segment_seed(log_current(log)->id);
    if (write_batch(log, &h, LOG_BLOCK, &what) != CONFAB_OK) {
        diag_warn(DIAG_LOG, "the log could not be marked as closed | at=%s", what);
    }
}

/* Under mu. A spare is missing and may be tried for now. */
static bool wants_spare(struct local_log *log)
{
    return log->spares.count < log->config.segments_spare && log->state != LOG_FAILED &&
           (log->state == LOG_OK || clock_mono_ns(log->clock) >= log->retry_at_ns);
}

enum confab_err local_log_step(struct local_log *log, bool *ret_did_work)
{
    bool did_work = false;
    CHECK(!log->readonly);
    write_queued(log, &did_work);
    pthread_mutex_lock(&log->mu);
    bool allocate = wants_spare(log);
    bool zeros = !allocate && !did_work && log_wants_zeros(log);
    pthread_mutex_unlock(&log->mu);
    if (allocate || zeros) {
        did_work = true;
        enum confab_err err = allocate ? log_allocate_spare(log) : log_write_zeros(log);
        if (err && err != CONFAB_NO_SPACE && err != CONFAB_NOMEM) {
            fail(log, err, allocate ? "allocation" : "filling a spare", NULL);
        }
    }
    pthread_mutex_lock(&log->mu);
    enum confab_err err = log->state == LOG_FAILED ? CONFAB_IO : CONFAB_OK;
    pthread_mutex_unlock(&log->mu);
    *ret_did_work = did_work;
    return err;
}

/* Sleeps until there is something to do; without room or memory, until the next attempt. Under mu.
 */
static void wait_for_work(struct local_log *log)
{
    log->writer_waits = true;
    if (log->state != LOG_FULL && log->rotate_at_ns == 0) {
        pthread_cond_wait(&log->work, &log->mu);
    } else {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        uint64_t ns = (uint64_t)until.tv_nsec + (uint64_t)log->config.retry_ms * 1000000U;
        until.tv_sec += (time_t)(ns / 1000000000U);
        until.tv_nsec = (long)(ns % 1000000000U);
        pthread_cond_timedwait(&log->work, &log->mu, &until);
    }
    log->writer_waits = false;
}

static void *run(void *arg)
{
    struct local_log *log = arg;
    thread_wake_soon(); /* everybody waits for the next sync to begin */
    pthread_mutex_lock(&log->mu);
    for (;;) {
        if (wants_write(log) || (!log->stopping && wants_spare(log)) || log_wants_zeros(log)) {
            pthread_mutex_unlock(&log->mu);
            bool did_work = false;
            enum confab_err err = local_log_step(log, &did_work);
            (void)err; /* told through the submissions and the state */
            pthread_mutex_lock(&log->mu);
        } else if (log->stopping) {
            break;
        } else {
            wait_for_work(log);
        }
    }
    pthread_mutex_unlock(&log->mu);
    return NULL;
}

enum confab_err local_log_start_thread(struct local_log *log)
{
    CHECK(!log->has_thread && !log->readonly);
    log->stopping = false;
    if (pthread_create(&log->thread, NULL, run, log) != 0) {
        return CONFAB_NOMEM;
    }
    (void)pthread_setname_np(log->thread, "log");
    log->has_thread = true;
    return CONFAB_OK;
}

void local_log_stop(struct local_log *log)
{
    if (!log->has_thread) {
        return;
    }
    pthread_mutex_lock(&log->mu);
    log->stopping = true;
    pthread_cond_signal(&log->work);
    pthread_mutex_unlock(&log->mu);
    pthread_join(log->thread, NULL);
    log->has_thread = false;
}

static void log_stats_get(struct log_store *store, struct log_stats *ret)
{
    struct local_log *log = local_log_of(store);
    pthread_mutex_lock(&log->mu);
    *ret = log->stats;
    ret->state = log->state;
    ret->segments = log->segments.count;
    pthread_mutex_unlock(&log->mu);
}

const struct log_store_ops local_log_ops = {
    .name = "local_log",
    .version = 1,
    .submit = log_submit,
    .poll = log_poll,
    .set_wake = log_set_wake,
    .read = log_read,
    .trim = log_trim,
    .stats = log_stats_get,
};
