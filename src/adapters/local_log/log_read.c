/*
 * The reading side. A read has its own file handle and a pin on the segment it is in, so that trim
 * leaves that one alone; it sees what was durable when it began, and runs beside the writer, which
 * only ever appends behind that.
 */
#include <inttypes.h>
#include <string.h>

#include "base/check.h"
#include "base/diag.h"
#include "local_log_internal.h"

struct cursor {
    struct segment *seg; /* pinned */
    uint64_t number;
    uint64_t end_lsn; /* read up to here in this segment */
    struct segment_mark start;
    bool last;
};

/* Pins the segment that holds `lsn`, or the first one after it, to read from near there (`all`:
 * from its start). False: there is none. */
static bool pin(struct local_log *log, uint64_t lsn, bool all, struct cursor *ret)
{
    bool found = false;
    pthread_mutex_lock(&log->mu);
    for (size_t i = 0; !found && i < log->segments.count; i++) {
        struct segment *seg = log->segments.at[i];
        bool last = i + 1 == log->segments.count;
        if (seg->leaving || (seg->end_lsn <= lsn && !last)) {
            continue;
        }
        seg->pins++;
        *ret = (struct cursor){
            .seg = seg,
            .number = seg->number,
            .end_lsn = seg->end_lsn,
            .start = {seg->base_lsn, LOG_BLOCK},
            .last = last,
        };
        for (uint32_t k = 0; !all && k < seg->marks && seg->mark[k].lsn <= lsn; k++) {
            ret->start = seg->mark[k];
        }
        found = true;
    }
    pthread_mutex_unlock(&log->mu);
    return found;
}

static void unpin(struct local_log *log, struct cursor *c)
{
    pthread_mutex_lock(&log->mu);
    c->seg->pins--;
    pthread_mutex_unlock(&log->mu);
}

typedef enum confab_err (*on_batch_fn)(void *arg, uint64_t segment, const struct batch_view *view);

/* Batches of one pinned segment up to its end; `all`: also marks behind it. */
static enum confab_err walk_segment(struct local_log *log, const struct cursor *c, bool all,
                                    on_batch_fn on_batch, void *arg)
{
    struct segment_reader r;
    enum confab_err err = segment_reader_open(&r, log->disk, c->number);
    if (err) {
        return err == CONFAB_NOT_FOUND ? CONFAB_CORRUPT : err;
    }
    segment_reader_seek(&r, c->start.offset, c->start.lsn);
    while (all || r.next_lsn < c->end_lsn) {
        struct batch_view view;
        uint64_t lsn = r.next_lsn;
        err = segment_next(&r, true, &view);
        if (!err) {
            err = on_batch(arg, c->number, &view);
            if (err) {
                goto out;
            }
            continue;
        }
        if (err != CONFAB_EOF && err != CONFAB_CORRUPT) {
            goto out;
        }
        if (lsn >= c->end_lsn) {
            break;
        }
        uint64_t offset = r.offset;
        err = segment_resync(&r);
        if (err || r.next_lsn != lsn) {
            err = err && err != CONFAB_EOF ? err : CONFAB_CORRUPT;
            diag_error(DIAG_LOG,
                       "durable records cannot be read | segment=%" PRIu64 " offset=%" PRIu64
                       " lsn=%" PRIu64,
                       c->number, offset, lsn);
            goto out;
        }
    }
    err = CONFAB_OK;
out:
    segment_reader_close(&r);
    return err;
}

static enum confab_err walk(struct local_log *log, uint64_t from, bool all, on_batch_fn on_batch,
                            void *arg)
{
    struct log_stats stats;
    log->base.ops->stats(&log->base, &stats);
    uint64_t at = MAX(from, stats.first_lsn);
    struct cursor c;
    bool first = true;
    while ((all || at < stats.durable_lsn) && pin(log, at, all, &c)) {
        enum confab_err err = CONFAB_OK;
        /* Segments follow each other without a hole, or something between them is lost. */
        if (!first && c.start.lsn > at) {
            err = CONFAB_CORRUPT;
        }
        if (c.last) {
            c.end_lsn = stats.durable_lsn;
        } else {
            c.end_lsn = MIN(c.end_lsn, stats.durable_lsn);
        }
        if (!err) {
            err = walk_segment(log, &c, all && log->readonly, on_batch, arg);
        }
        at = c.end_lsn;
        unpin(log, &c);
        if (err || c.last) {
            return err;
        }
        first = false;
    }
    return CONFAB_OK;
}

struct record_walk {
    uint64_t from;
    enum confab_err (*on_record)(void *arg, const struct log_record *rec);
    void *arg;
};

static enum confab_err on_records(void *arg, uint64_t segment, const struct batch_view *view)
{
    struct record_walk *w = arg;
    (void)segment;
    if (batch_end_lsn(&view->head) <= w->from) {
        return CONFAB_OK;
    }
    size_t offset = 0;
    for (uint32_t i = 0; i < view->head.records; i++) {
        struct log_record rec;
        enum confab_err err = log_record_next(view->payload, &offset, view->head.base_lsn, &rec);
        if (err) {
            return CONFAB_CORRUPT;
        }
        if (rec.lsn < w->from) {
            continue;
        }
        err = w->on_record(w->arg, &rec);
        if (err) {
            return err;
        }
    }
    return CONFAB_OK;
}

enum confab_err log_read(struct log_store *store, uint64_t from,
                         enum confab_err (*on_record)(void *arg, const struct log_record *rec),
                         void *arg)
{
    struct record_walk w = {.from = from, .on_record = on_record, .arg = arg};
    return walk(local_log_of(store), from, false, on_records, &w);
}

struct inspect_walk {
    enum confab_err (*on_batch)(void *arg, const struct local_log_batch_info *info);
    void *arg;
};

static enum confab_err on_inspect(void *arg, uint64_t segment, const struct batch_view *view)
{
    struct inspect_walk *w = arg;
    struct local_log_batch_info info = {
        .segment = segment,
        .segment_id = view->head.segment_id,
        .offset = view->offset,
        .base_lsn = view->head.base_lsn,
        .end_lsn = batch_end_lsn(&view->head),
        .durable_lsn = view->head.durable_lsn,
        .payload_bytes = view->head.payload_bytes,
        .records = view->head.records,
        .is_mark = view->head.flags == BATCH_MARK,
        .is_gap = view->head.flags == BATCH_GAP,
    };
    return w->on_batch(w->arg, &info);
}

enum confab_err
local_log_inspect(struct local_log *log,
                  enum confab_err (*on_batch)(void *arg, const struct local_log_batch_info *info),
                  void *arg)
{
    struct inspect_walk w = {.on_batch = on_batch, .arg = arg};
    return walk(log, 0, true, on_inspect, &w);
}

/* The oldest segment, when it may go: marked as leaving, so that no read begins in it. */
static struct segment *trim_next(struct local_log *log, uint64_t lsn, bool *ret_recycle)
{
    struct segment *seg = NULL;
    pthread_mutex_lock(&log->mu);
    if (log->segments.count > 1 && log->segments.at[0]->end_lsn <= lsn &&
        log->segments.at[0]->pins == 0 && log->state != LOG_FAILED) {
        seg = log->segments.at[0];
        seg->leaving = true;
        log->stats.first_lsn = log->segments.at[1]->base_lsn;
        *ret_recycle = log->spares.count < log->config.segments_kept &&
                       seg->size == log->config.segment_bytes &&
                       u64_list_reserve(&log->spares) == CONFAB_OK;
    }
    pthread_mutex_unlock(&log->mu);
    return seg;
}

static void trim_done(struct local_log *log, bool recycle)
{
    uint64_t number = log->segments.at[0]->number;
    pthread_mutex_lock(&log->mu);
    segment_list_remove(&log->segments, 0);
    if (recycle) {
        CHECK(u64_list_add(&log->spares, number) == CONFAB_OK);
    }
    if (recycle && log->state == LOG_FULL && log->spares.count > 1) {
        log->state = LOG_OK;
        diag_info(DIAG_LOG, "there is room for the log again");
    }
    pthread_mutex_unlock(&log->mu);
}

enum confab_err log_trim(struct log_store *store, uint64_t lsn)
{
    struct local_log *log = local_log_of(store);
    if (log->readonly) {
        return CONFAB_FORBIDDEN;
    }
    enum confab_err err = CONFAB_OK;
    bool recycle = false;
    pthread_mutex_lock(&log->files_mu);
    for (struct segment *seg; !err && (seg = trim_next(log, lsn, &recycle));) {
        char name[LOG_NAME_MAX];
        char spare[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SEGMENT, seg->number, name);
        log_name_format(LOG_NAME_SPARE, seg->number, spare);
        err = recycle ? disk_rename(log->disk, name, spare) : disk_unlink(log->disk, name);
        /* Before the next one: were a later segment's removal durable and this one's not, the next
         * open would see a hole. */
        if (!err) {
            err = disk_sync_dir(log->disk);
        }
        if (!err) {
            trim_done(log, recycle);
        }
    }
    if (err) {
        /* What the directory holds is not known any more, so nothing may be removed or made in it.
         * The writer gives back what is queued. */
        pthread_mutex_lock(&log->mu);
        log->state = LOG_FAILED;
        pthread_cond_signal(&log->work);
        pthread_mutex_unlock(&log->mu);
        diag_error(DIAG_LOG, "trimming failed; the log takes nothing more | err=\"%s\"",
                   err_text(err));
    }
    pthread_mutex_unlock(&log->files_mu);
    return err;
}
