/*
 * Opening, recovering and closing the log. docs/design/log.md has the reasons.
 *
 * Recovery of a directory that log_scan finds sound:
 *
 *     scan ──► take names of spares off segments' files, sync dir
 *          ──► copy the last segment's batches to a spare ──► sync, rename, sync dir   (serving may
 * begin) └─► remove what the copy replaces
 *
 * A crash anywhere in it leaves the old segment, or both, of which the next scan takes the copy.
 */
#include "local_log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/diag.h"
#include "local_log_internal.h"

static enum confab_err config_check(struct local_log_config *c)
{
    c->segment_bytes = c->segment_bytes ? c->segment_bytes : LOCAL_LOG_SEGMENT_BYTES;
    c->queue_bytes_max = c->queue_bytes_max ? c->queue_bytes_max : LOCAL_LOG_QUEUE_BYTES_MAX;
    c->batch_bytes_max = c->batch_bytes_max ? c->batch_bytes_max : LOCAL_LOG_BATCH_BYTES_MAX;
    c->segments_spare = c->segments_spare ? c->segments_spare : LOCAL_LOG_SEGMENTS_SPARE;
    c->segments_kept =
        c->segments_kept ? c->segments_kept : MAX(LOCAL_LOG_SEGMENTS_KEPT, c->segments_spare);
    c->retry_ms = c->retry_ms ? c->retry_ms : LOCAL_LOG_RETRY_MS;
    c->random = c->random ? c->random : random_system();
    if (c->lanes == 0 || c->segment_bytes < LOCAL_LOG_SEGMENT_BYTES_MIN ||
        c->segment_bytes % LOG_BLOCK != 0 || c->segments_spare < 2 ||
        c->segments_kept < c->segments_spare || c->batch_bytes_max > LOG_BATCH_PAYLOAD_MAX) {
        return CONFAB_INVALID;
    }
    return CONFAB_OK;
}

static struct local_log *log_new(struct disk *disk, struct clock *clock,
                                 const struct local_log_config *config, bool readonly)
{
    struct local_log *log = calloc(1, sizeof(*log));
    if (!log) {
        return NULL;
    }
    log->base.ops = &local_log_ops;
    log->disk = disk;
    log->clock = clock;
    log->config = *config;
    log->lanes = calloc(config->lanes, sizeof(*log->lanes));
    /* The largest batch: one full submission, if a segment holds it. Untouched pages cost nothing.
     */
    uint64_t most = MIN(config->segment_bytes, batch_disk_bytes(LOG_BATCH_PAYLOAD_MAX));
    log->batch_cap = (size_t)most;
    log->batch = readonly ? NULL : malloc(log->batch_cap);
    log->readonly = readonly;
    if (!log->lanes || (!log->batch && !readonly)) {
        free(log->lanes);
        free(log->batch);
        free(log);
        return NULL;
    }
    pthread_mutex_init(&log->files_mu, NULL);
    pthread_mutex_init(&log->mu, NULL);
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&log->work, &attr);
    pthread_condattr_destroy(&attr);
    for (uint16_t i = 0; i < config->lanes; i++) {
        pthread_mutex_init(&log->lanes[i].mu, NULL);
    }
    return log;
}

static void log_free(struct local_log *log)
{
    disk_close(log->file);
    disk_close(log->zeros.file);
    segment_list_deinit(&log->segments);
    free(log->spares.at);
    free(log->blank.at);
    for (uint16_t i = 0; i < log->config.lanes; i++) {
        pthread_mutex_destroy(&log->lanes[i].mu);
    }
    pthread_cond_destroy(&log->work);
    pthread_mutex_destroy(&log->mu);
    pthread_mutex_destroy(&log->files_mu);
    free(log->lanes);
    free(log->batch);
    free(log);
}

static enum confab_err file_bytes(struct disk *disk, enum log_name kind, uint64_t number,
                                  uint64_t *ret_size)
{
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    log_name_format(kind, number, name);
    enum confab_err err = disk_open(disk, name, DISK_READ, &file);
    if (!err) {
        err = disk_size(file, ret_size);
    }
    disk_close(file);
    return err;
}

/* Removes the segment's file, or makes it a spare when one is wanted; synced by the caller. */
static enum confab_err retire(struct local_log *log, uint64_t number)
{
    char name[LOG_NAME_MAX];
    char spare[LOG_NAME_MAX];
    uint64_t size = 0;
    log_name_format(LOG_NAME_SEGMENT, number, name);
    log_name_format(LOG_NAME_SPARE, number, spare);
    enum confab_err err = file_bytes(log->disk, LOG_NAME_SEGMENT, number, &size);
    if (err) {
        return err;
    }
    if (log->spares.count >= log->config.segments_kept || size != log->config.segment_bytes) {
        return disk_unlink(log->disk, name);
    }
    err = disk_rename(log->disk, name, spare);
    return err ? err : u64_list_add(&log->spares, number);
}

/* A spare for `need` bytes: an existing one of the wanted size, else a new file, else any that
 * fits. The chosen one is taken off the list. */
static enum confab_err choose_spare(struct local_log *log, struct u64_list *spares, uint64_t need,
                                    uint64_t *ret_spare, uint64_t *ret_size)
{
    uint64_t want = MAX(need, log->config.segment_bytes);
    size_t fitting = SIZE_MAX;
    for (size_t i = 0; i < spares->count; i++) {
        uint64_t size = 0;
        enum confab_err err = file_bytes(log->disk, LOG_NAME_SPARE, spares->at[i], &size);
        if (err) {
            return err;
        }
        if (size >= need) {
            fitting = i;
        }
        if (size >= want) {
            break;
        }
    }
    *ret_size = want;
    uint64_t size = 0;
    uint64_t room = 0;
    if (fitting != SIZE_MAX) {
        enum confab_err err = file_bytes(log->disk, LOG_NAME_SPARE, spares->at[fitting], &size);
        if (!err) {
            err = disk_free_bytes(log->disk, &room);
        }
        if (err) {
            return err;
        }
    }
    if (fitting == SIZE_MAX || (size < want && room > want)) {
        *ret_spare = log->number_next++;
        return CONFAB_OK;
    }
    *ret_spare = spares->at[fitting];
    *ret_size = size;
    spares->at[fitting] = spares->at[--spares->count];
    return CONFAB_OK;
}

/* Copies the batches of `old` up to its end; marks are left out. */
static enum confab_err copy_batches(struct local_log *log, const struct segment *old,
                                    struct segment_writer *w, struct segment *seg)
{
    struct segment_reader r;
    enum confab_err err = segment_reader_open(&r, log->disk, old->number);
    if (err) {
        return err;
    }
    while (!err && r.next_lsn < old->end_lsn) {
        struct batch_view view;
        err = segment_next(&r, true, &view);
        if (err == CONFAB_EOF) {
            err = segment_resync(&r); /* a damaged mark: log_scan passed it */
        } else if (!err && view.head.flags != BATCH_MARK) {
            segment_note(seg, w->next_lsn, w->offset);
            err = segment_writer_batch(w, &view.head, view.payload);
        }
    }
    segment_reader_close(&r);
    /* Between the scan and now only the disk itself can have changed. */
    return err == CONFAB_EOF ? CONFAB_CORRUPT : err;
}

/* Makes the segment that will be written: the copy of `old`, or the first one when `old` is NULL.
 */
static enum confab_err make_current(struct local_log *log, struct u64_list *spares,
                                    const struct segment *old)
{
    struct segment_writer w = {0};
    struct segment *seg = calloc(1, sizeof(*seg));
    if (!seg) {
        return CONFAB_NOMEM;
    }
    uint64_t spare = 0;
    uint64_t size = 0;
    /* Header, batches, one mark: for which the writer left room in the old one. */
    uint64_t need = old ? old->kept + 2 * LOG_BLOCK : log->config.segment_bytes;
    enum confab_err err = choose_spare(log, spares, need, &spare, &size);
    if (err) {
        goto out;
    }
    struct segment_header head = {
        .number = log->number_next++,
        .id = random_u64(log->config.random),
        .base_lsn = old ? old->base_lsn : LOCAL_LOG_FIRST_LSN,
        .size = size,
        .created_ms = clock_wall_ms(log->clock),
    };
    seg->size = size;
    err = segment_writer_begin(&w, log->disk, spare, &head);
    if (!err && old) {
        err = copy_batches(log, old, &w, seg);
    }
    if (!err) {
        err =
            segment_writer_batch(&w, &(struct batch_header){.flags = BATCH_MARK}, span_of(NULL, 0));
    }
    if (!err) {
        err = segment_writer_finish(&w);
    }
    if (err) {
        goto out;
    }
    seg->number = w.head.number;
    seg->id = w.head.id;
    seg->base_lsn = w.head.base_lsn;
    seg->size = w.head.size;
    seg->end_lsn = w.next_lsn;
    seg->used = w.offset;
    err = segment_list_add(&log->segments, seg);
    if (!err) {
        seg = NULL;
        log->file = w.file;
        log->marked = true;
        w.file = NULL;
    }
out:
    free(seg);
    segment_writer_deinit(&w);
    return err;
}

/* After the copy is durable: what it replaces goes, spares of the wrong size go, others are kept.
 */
static enum confab_err clean_up(struct local_log *log, const struct scan *scan,
                                const struct u64_list *spares, uint64_t replaced)
{
    enum confab_err err = CONFAB_OK;
    for (size_t i = 0; !err && i < spares->count; i++) {
        uint64_t size = 0;
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SPARE, spares->at[i], name);
        err = file_bytes(log->disk, LOG_NAME_SPARE, spares->at[i], &size);
        if (!err && size == log->config.segment_bytes &&
            log->spares.count < log->config.segments_kept) {
            err = u64_list_add(&log->spares, spares->at[i]);
        } else if (!err) {
            err = disk_unlink(log->disk, name);
        }
    }
    for (size_t i = 0; !err && i < scan->superseded.count; i++) {
        /* Not written again: by half of a rename it may be a file that repair has put aside. */
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SEGMENT, scan->superseded.at[i], name);
        err = disk_unlink(log->disk, name);
    }
    if (!err && replaced) {
        err = retire(log, replaced);
    }
    return err ? err : disk_sync_dir(log->disk);
}

static enum confab_err recover(struct local_log *log, struct scan *scan)
{
    log->number_next = scan->number_max + 1;
    struct segment *old = scan->segments.count ? scan->segments.at[scan->segments.count - 1] : NULL;
    uint64_t replaced = old ? old->number : 0;
    enum confab_err err = CONFAB_OK;
    for (size_t i = 0; !err && i + 1 < scan->segments.count; i++) {
        err = segment_list_add(&log->segments, scan->segments.at[i]);
        if (!err) {
            scan->segments.at[i] = NULL;
        }
    }
    for (size_t i = 0; !err && i < scan->twins.count; i++) {
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SPARE, scan->twins.at[i], name);
        err = disk_unlink(log->disk, name);
    }
    if (!err) {
        /* A spare may have been a segment until just before the process died. Were it written now
         * and its old name to come back with a power failure, it would be a damaged segment. */
        err = disk_sync_dir(log->disk);
    }
    if (!err && !old && scan->spares.count == 0) {
        err = log_allocate_spare(log);
    }
    if (!err) {
        err = make_current(log, log->spares.count > 0 ? &log->spares : &scan->spares, old);
    }
    if (!err) {
        err = clean_up(log, scan, &scan->spares, replaced);
    }
    if (err) {
        return err;
    }
    while (!err && log->spares.count < log->config.segments_spare) {
        err = log_allocate_spare(log);
    }
    if ((!err || err == CONFAB_NO_SPACE) && log->config.zero_spares) {
        log->blank.count = 0;
        enum confab_err found = log_find_blank(log);
        err = found ? found : err;
    }
    /* Only here: log->state says it; reads are served and sends refused. */
    return err == CONFAB_NO_SPACE ? CONFAB_OK : err;
}

static void fill_stats(struct local_log *log)
{
    if (log->segments.count > 0) {
        log->stats.first_lsn = log->segments.at[0]->base_lsn;
        log->stats.durable_lsn = log_current(log)->end_lsn;
    } else {
        log->stats.first_lsn = LOCAL_LOG_FIRST_LSN;
        log->stats.durable_lsn = LOCAL_LOG_FIRST_LSN;
    }
}

enum confab_err local_log_open(const struct local_log_config *config, struct disk *disk,
                               struct clock *clock, struct local_log **ret_log)
{
    struct local_log_config c = *config;
    enum confab_err err = config_check(&c);
    if (err) {
        return err;
    }
    struct local_log *log = log_new(disk, clock, &c, false);
    if (!log) {
        return CONFAB_NOMEM;
    }
    struct scan scan;
    uint64_t began = clock_mono_ns(clock);
    err = log_scan(disk, c.verify_from, &scan);
    if (!err && scan.damage.count > 0) {
        diag_error(DIAG_LOG, "the log needs repair | what=\"%s\" ranges=%" PRIu32, scan.damage.text,
                   scan.damage.count);
        err = CONFAB_CORRUPT;
    }
    if (!err) {
        err = recover(log, &scan);
    }
    scan_deinit(&scan);
    if (err) {
        log_free(log);
        return err;
    }
    fill_stats(log);
    log_reserve_reset(log);
    diag_info(DIAG_LOG,
              "log opened | segments=%zu first_lsn=%" PRIu64 " durable_lsn=%" PRIu64 " ms=%" PRIu64,
              log->segments.count, log->stats.first_lsn, log->stats.durable_lsn,
              (clock_mono_ns(clock) - began) / 1000000);
    *ret_log = log;
    return CONFAB_OK;
}

enum confab_err local_log_open_readonly(struct disk *disk, struct clock *clock,
                                        struct local_log **ret_log)
{
    struct local_log_config c = {.lanes = 1};
    enum confab_err err = config_check(&c);
    if (err) {
        return err;
    }
    struct local_log *log = log_new(disk, clock, &c, true);
    if (!log) {
        return CONFAB_NOMEM;
    }
    struct scan scan;
    err = log_scan(disk, 0, &scan);
    if (!err) {
        log->damage = scan.damage;
        log->segments = scan.segments;
        scan.segments = (struct segment_list){0};
        fill_stats(log);
        *ret_log = log;
    } else {
        log_free(log);
    }
    scan_deinit(&scan);
    return err;
}

void local_log_damage(const struct local_log *log, struct local_log_damage *ret)
{
    *ret = log->damage;
}

void local_log_close(struct local_log *log)
{
    if (!log) {
        return;
    }
    local_log_stop(log);
    if (!log->readonly && log->state != LOG_FAILED && !log->queue && !log->marked) {
        log_write_mark(log);
    }
    log_free(log);
}

struct log_store *local_log_store(struct local_log *log)
{
    return &log->base;
}
