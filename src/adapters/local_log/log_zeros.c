/*
 * Zeros for spares. The sync that first writes an allocated block also has the file system note
 * that the block is written, which takes a thread of the kernel's; where all cores are busy it
 * waits for one, and everybody waits for that sync. So a log that gets a lot to write fills its new
 * spares while it has nothing else to do, a piece at a time:
 *
 *     allocated ──current segment well begun, queue empty──► zeros from the second block on, synced
 *               ──all──► the first block, with LOG_ZEROS_MARK ──► as good as a segment used before
 *
 * A spare whose first block is empty is one that this has not been done to, also after a crash.
 */
#include <string.h>

#include "base/diag.h"
#include "local_log_internal.h"

/* A batch that comes meanwhile waits for at most one piece. */
enum { PIECE_BYTES = 256 << 10 };

/* A log that never gets this part of a segment in it never needs its spares either. */
enum { BEGUN_PART = 8 };

static const char MARK[] = "confab: a spare segment, written all over\n";

bool log_wants_zeros(const struct local_log *log)
{
    const struct segment *seg = log_current(log);
    return log->blank.count > 0 && !log->queue && log->state == LOG_OK && !log->stopping &&
           seg->used >= seg->size / BEGUN_PART;
}

void log_zeros_leave(struct local_log *log, uint64_t spare)
{
    if (log->zeros.file && log->zeros.spare == spare) {
        disk_close(log->zeros.file);
        log->zeros.file = NULL;
    }
    pthread_mutex_lock(&log->mu);
    size_t kept = 0;
    for (size_t i = 0; i < log->blank.count; i++) {
        if (log->blank.at[i] != spare) {
            log->blank.at[kept++] = log->blank.at[i];
        }
    }
    log->blank.count = kept;
    pthread_mutex_unlock(&log->mu);
}

enum confab_err log_find_blank(struct local_log *log)
{
    enum confab_err err = CONFAB_OK;
    for (size_t i = 0; i < log->spares.count && !err; i++) {
        char name[LOG_NAME_MAX];
        struct disk_file *file = NULL;
        size_t n = 0;
        log_name_format(LOG_NAME_SPARE, log->spares.at[i], name);
        err = disk_open(log->disk, name, DISK_READ, &file);
        if (!err) {
            err = disk_pread(file, log->batch, LOG_BLOCK, 0, &n);
        }
        disk_close(file);
        size_t used = 0;
        while (used < n && log->batch[used] == 0) {
            used++;
        }
        if (!err && used == n) {
            err = u64_list_add(&log->blank, log->spares.at[i]);
        }
    }
    return err;
}

static enum confab_err begin(struct local_log *log)
{
    char name[LOG_NAME_MAX];
    pthread_mutex_lock(&log->mu);
    uint64_t spare = log->blank.at[log->blank.count - 1]; /* the first to be used */
    pthread_mutex_unlock(&log->mu);
    log_name_format(LOG_NAME_SPARE, spare, name);
    log->zeros.spare = spare;
    log->zeros.offset = LOG_BLOCK;
    return disk_open(log->disk, name, DISK_READ | DISK_WRITE, &log->zeros.file);
}

static enum confab_err write_synced(struct local_log *log, size_t n, uint64_t offset)
{
    enum confab_err err = disk_pwrite(log->zeros.file, log->batch, n, offset);
    return err ? err : disk_sync(log->zeros.file);
}

enum confab_err log_write_zeros(struct local_log *log)
{
    enum confab_err err = log->zeros.file ? CONFAB_OK : begin(log);
    if (err) {
        return err;
    }
    size_t n = (size_t)MIN(log->config.segment_bytes - log->zeros.offset, PIECE_BYTES);
    n = MIN(n, log->batch_cap);
    memset(log->batch, 0, MAX(n, LOG_BLOCK));
    if (n > 0) {
        err = write_synced(log, n, log->zeros.offset);
        log->zeros.offset += n;
    } else {
        memcpy(log->batch, MARK, sizeof(MARK) - 1);
        err = write_synced(log, LOG_BLOCK, 0);
    }
    if (err == CONFAB_NO_SPACE) {
        /* Of a file system where to write again takes room: there it would not help either. */
        diag_warn(DIAG_LOG, "no room to fill spare segments with zeros; they stay as they are");
        log->zeros.done = log->config.segments_kept;
    }
    if (n == 0 || err) {
        log->zeros.done++;
        log_zeros_leave(log, log->zeros.spare);
    }
    if (log->zeros.done >= log->config.segments_kept) {
        pthread_mutex_lock(&log->mu);
        log->blank.count = 0; /* there is always one that was used before */
        pthread_mutex_unlock(&log->mu);
    }
    return err == CONFAB_NO_SPACE ? CONFAB_OK : err;
}
