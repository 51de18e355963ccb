/*
 * Repair: each damaged segment is rewritten with what can be read of it; a gap batch stands for
 * each range that cannot, so the log itself says what was lost and the LSNs of the rest stay. The
 * copy has the base LSN of the original and a higher number, so it replaces it the moment it has
 * its name; the original is kept as damaged-<number>.log, which nothing reads.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "local_log_internal.h"

struct repair {
    struct disk *disk;
    struct clock *clock;
    uint64_t number_next;
    struct segment_writer w;
};

static enum confab_err put_gap(struct repair *r, uint64_t from, uint64_t to)
{
    if (from >= to) {
        return CONFAB_OK;
    }
    struct batch_header gap = {.flags = BATCH_GAP, .lsn_bytes = to - from};
    return segment_writer_batch(&r->w, &gap, span_of(NULL, 0));
}

static enum confab_err on_batch(void *arg, const struct batch_view *view)
{
    struct repair *r = arg;
    if (view->head.flags == BATCH_MARK) {
        return CONFAB_OK;
    }
    return segment_writer_batch(&r->w, &view->head, view->payload);
}

static enum confab_err on_gap(void *arg, uint64_t offset, uint64_t from, uint64_t to)
{
    (void)offset;
    return put_gap(arg, from, to);
}

static enum confab_err writer_begin(struct repair *r, uint64_t base_lsn, uint64_t size)
{
    uint64_t spare = r->number_next++;
    struct segment_header head = {
        .number = r->number_next++,
        .id = random_u64(random_system()),
        .base_lsn = base_lsn,
        .size = size,
        .created_ms = clock_wall_ms(r->clock),
    };
    return segment_writer_begin(&r->w, r->disk, spare, &head);
}

static enum confab_err writer_finish(struct repair *r)
{
    enum confab_err err =
        segment_writer_batch(&r->w, &(struct batch_header){.flags = BATCH_MARK}, span_of(NULL, 0));
    return err ? err : segment_writer_finish(&r->w);
}

static enum confab_err set_aside(struct repair *r, uint64_t number)
{
    char from[LOG_NAME_MAX];
    char to[LOG_NAME_MAX];
    log_name_format(LOG_NAME_SEGMENT, number, from);
    log_name_format(LOG_NAME_DAMAGED, number, to);
    /* After a power failure the file may have both names, and renaming would leave it so. */
    enum confab_err err = disk_unlink(r->disk, to);
    if (!err || err == CONFAB_NOT_FOUND) {
        err = disk_rename(r->disk, from, to);
    }
    return err ? err : disk_sync_dir(r->disk);
}

/* `extra_to`: a gap up to there follows what the segment holds; 0: none. */
static enum confab_err rewrite(struct repair *r, const struct segment *seg, uint64_t target,
                               uint64_t extra_to)
{
    struct segment_reader in;
    enum confab_err err = segment_reader_open(&in, r->disk, seg->number);
    if (err) {
        return err;
    }
    /* A gap inside takes the place of at least the block that is damaged; one at the end and the
     * mark are new. */
    uint64_t size = (seg->size + LOG_BLOCK - 1) / LOG_BLOCK * LOG_BLOCK + 4 * LOG_BLOCK;
    err = writer_begin(r, seg->base_lsn, size);
    if (!err) {
        struct salvage to = {.on_batch = on_batch, .on_gap = on_gap, .arg = r};
        err = segment_salvage(&in, target, true, &to);
    }
    if (!err) {
        err = put_gap(r, r->w.next_lsn, extra_to);
    }
    if (!err) {
        err = writer_finish(r);
    }
    segment_writer_deinit(&r->w);
    segment_reader_close(&in);
    return err ? err : set_aside(r, seg->number);
}

static enum confab_err repair_all(struct repair *r, struct scan *scan)
{
    enum confab_err err = CONFAB_OK;
    size_t n = scan->segments.count;
    /* Were it not cut off, LSNs of the lost end would be given to other records. */
    uint64_t end = scan->damage.open_ended ? scan->end_max : 0;
    for (size_t i = 0; !err && i < n; i++) {
        bool last = i + 1 == n;
        uint64_t target = last ? UINT64_MAX : scan->segments.at[i + 1]->base_lsn;
        if (scan->segments.at[i]->damaged || (last && end > 0)) {
            err = rewrite(r, scan->segments.at[i], target, last ? end : 0);
        }
    }
    if (!err && n == 0 && end > 0) {
        err = writer_begin(r, end, LOCAL_LOG_SEGMENT_BYTES_MIN);
        if (!err) {
            err = writer_finish(r);
        }
        segment_writer_deinit(&r->w);
    }
    for (size_t i = 0; !err && i < scan->unreadable.count; i++) {
        err = set_aside(r, scan->unreadable.at[i]);
    }
    return err;
}

enum confab_err local_log_repair(struct disk *disk, struct clock *clock, bool dry_run,
                                 struct local_log_damage *ret)
{
    struct scan scan;
    enum confab_err err = log_scan(disk, 0, &scan);
    if (!err && !dry_run && scan.damage.count > 0) {
        struct repair r = {.disk = disk, .clock = clock, .number_next = scan.number_max + 1};
        err = repair_all(&r, &scan);
        if (!err) {
            diag_warn(DIAG_LOG, "the log was repaired | what=\"%s\" ranges=%" PRIu32,
                      scan.damage.text, scan.damage.count);
        }
    }
    if (!err) {
        *ret = scan.damage;
    }
    scan_deinit(&scan);
    return err;
}
