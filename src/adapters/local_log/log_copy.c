/*
 * Making a segment: the header and, for recovery and repair, batches copied from elsewhere. The
 * file is a spare until everything in it is synced, so a crash leaves either no segment or a whole
 * one.
 */
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "local_log_internal.h"

void batch_seal(uint8_t *out, struct batch_header *h)
{
    size_t used = LOG_BATCH_HEADER + h->payload_bytes;
    memset(out + used, 0, batch_disk_bytes(h->payload_bytes) - used);
    batch_header_encode(h, out);
}

enum confab_err segment_writer_begin(struct segment_writer *w, struct disk *disk, uint64_t spare,
                                     const struct segment_header *head)
{
    *w = (struct segment_writer){
        .disk = disk,
        .spare = spare,
        .head = *head,
        .offset = LOG_BLOCK,
        .next_lsn = head->base_lsn,
        .buf_cap = LOG_BLOCK,
    };
    w->buf = calloc(1, w->buf_cap);
    if (!w->buf) {
        return CONFAB_NOMEM;
    }
    char name[LOG_NAME_MAX];
    log_name_format(LOG_NAME_SPARE, spare, name);
    enum confab_err err = disk_open(disk, name, DISK_READ | DISK_WRITE | DISK_CREATE, &w->file);
    uint64_t size = 0;
    if (!err) {
        err = disk_size(w->file, &size);
    }
    if (!err && size < head->size) {
        err = disk_preallocate(w->file, head->size);
        size = head->size;
    }
    if (!err) {
        w->head.size = size;
        segment_header_encode(&w->head, w->buf);
        err = disk_pwrite(w->file, w->buf, LOG_BLOCK, 0);
    }
    return err;
}

enum confab_err segment_writer_batch(struct segment_writer *w, const struct batch_header *h,
                                     struct span payload)
{
    size_t n = (size_t)batch_disk_bytes(payload.n);
    if (n > w->head.size - w->offset) {
        return CONFAB_NO_SPACE;
    }
    if (n > w->buf_cap) {
        uint8_t *p = realloc(w->buf, n);
        if (!p) {
            return CONFAB_NOMEM;
        }
        w->buf = p;
        w->buf_cap = n;
    }
    struct batch_header copy = *h;
    copy.segment_id = w->head.id;
    copy.base_lsn = w->next_lsn;
    copy.durable_lsn = w->next_lsn;
    copy.payload_bytes = (uint32_t)payload.n;
    copy.payload_crc = crc32c(log_segment_seed(w->head.id), payload.p, payload.n);
    if (payload.n > 0) {
        memcpy(w->buf + LOG_BATCH_HEADER, payload.p, payload.n);
    }
    batch_seal(w->buf, &copy);
    enum confab_err err = disk_pwrite(w->file, w->buf, n, w->offset);
    if (!err) {
        w->offset += n;
        w->next_lsn += copy.lsn_bytes;
    }
    return err;
}

enum confab_err segment_writer_finish(struct segment_writer *w)
{
    char from[LOG_NAME_MAX];
    char to[LOG_NAME_MAX];
    log_name_format(LOG_NAME_SPARE, w->spare, from);
    log_name_format(LOG_NAME_SEGMENT, w->head.number, to);
    enum confab_err err = disk_sync(w->file);
    if (!err) {
        err = disk_rename(w->disk, from, to);
    }
    return err ? err : disk_sync_dir(w->disk);
}

void segment_writer_deinit(struct segment_writer *w)
{
    disk_close(w->file);
    free(w->buf);
    *w = (struct segment_writer){0};
}
