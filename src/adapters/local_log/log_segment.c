/*
 * The window is refilled with one read of `window` bytes, or of the batch when that is larger, so a
 * walk costs a read per window and a payload is checked in place.
 */
#include "log_segment.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"

enum { SEGMENT_WINDOW = 256 << 10 };

/* Makes [offset, offset + n) of the file available; CONFAB_EOF when the file ends before. */
static enum confab_err window_load(struct segment_reader *r, uint64_t offset, size_t n,
                                   const uint8_t **ret)
{
    if (offset > r->file_bytes || r->file_bytes - offset < n) {
        return CONFAB_EOF;
    }
    if (offset < r->buf_offset || offset + n > r->buf_offset + r->buf_len) {
        size_t want = MAX(n, r->window);
        if (r->buf_cap < want) {
            uint8_t *p = realloc(r->buf, want);
            if (!p) {
                return CONFAB_NOMEM;
            }
            r->buf = p;
            r->buf_cap = want;
        }
        r->buf_len = 0;
        enum confab_err err = disk_pread(r->file, r->buf, want, offset, &r->buf_len);
        if (err) {
            r->buf_len = 0;
            return err;
        }
        r->buf_offset = offset;
        if (r->buf_len < n) {
            return CONFAB_EOF;
        }
    }
    *ret = r->buf + (offset - r->buf_offset);
    return CONFAB_OK;
}

enum confab_err segment_reader_open(struct segment_reader *r, struct disk *disk, uint64_t number)
{
    *r = (struct segment_reader){.window = SEGMENT_WINDOW};
    char name[LOG_NAME_MAX];
    log_name_format(LOG_NAME_SEGMENT, number, name);
    enum confab_err err = disk_open(disk, name, DISK_READ, &r->file);
    if (err) {
        return err;
    }
    const uint8_t *p = NULL;
    err = disk_size(r->file, &r->file_bytes);
    if (!err) {
        r->window = (size_t)MIN(r->window, r->file_bytes);
        err = window_load(r, 0, LOG_BLOCK, &p);
    }
    if (!err) {
        err = segment_header_decode(p, &r->head);
    }
    if (!err && (r->head.number != number || r->head.base_lsn > UINT64_MAX / 2)) {
        err = CONFAB_CORRUPT;
    }
    if (err) {
        segment_reader_close(r);
        return err == CONFAB_EOF ? CONFAB_CORRUPT : err;
    }
    segment_reader_seek(r, LOG_BLOCK, r->head.base_lsn);
    return CONFAB_OK;
}

void segment_reader_close(struct segment_reader *r)
{
    disk_close(r->file);
    free(r->buf);
    r->file = NULL;
    r->buf = NULL;
}

void segment_reader_seek(struct segment_reader *r, uint64_t offset, uint64_t next_lsn)
{
    r->offset = offset;
    r->next_lsn = next_lsn;
}

enum confab_err segment_next(struct segment_reader *r, bool want_payload, struct batch_view *ret)
{
    const uint8_t *p = NULL;
    enum confab_err err = window_load(r, r->offset, LOG_BLOCK, &p);
    if (err) {
        return err;
    }
    struct batch_view view = {.offset = r->offset};
    err = batch_header_decode(p, r->head.id, &view.head);
    if (err) {
        return err == CONFAB_CORRUPT ? CONFAB_EOF : err;
    }
    uint64_t disk_bytes = batch_disk_bytes(view.head.payload_bytes);
    if (view.head.base_lsn != r->next_lsn || disk_bytes > r->file_bytes - r->offset) {
        return CONFAB_EOF;
    }
    if (want_payload) {
        err = window_load(r, r->offset, (size_t)disk_bytes, &p);
        if (err) {
            return err;
        }
        uint32_t crc =
            crc32c(log_segment_seed(r->head.id), p + LOG_BATCH_HEADER, view.head.payload_bytes);
        if (crc != view.head.payload_crc) {
            *ret = view;
            return CONFAB_CORRUPT;
        }
        view.payload = span_of(p + LOG_BATCH_HEADER, view.head.payload_bytes);
    }
    r->offset += disk_bytes;
    r->next_lsn = batch_end_lsn(&view.head);
    *ret = view;
    return CONFAB_OK;
}

enum confab_err segment_resync(struct segment_reader *r)
{
    uint64_t lsn = r->next_lsn;
    for (uint64_t offset = r->offset + LOG_BLOCK;; offset += LOG_BLOCK) {
        const uint8_t *p = NULL;
        enum confab_err err = window_load(r, offset, LOG_BLOCK, &p);
        if (err) {
            return err;
        }
        struct batch_header h;
        err = batch_header_decode(p, r->head.id, &h);
        if (err == CONFAB_VERSION) {
            return err;
        }
        /* Batches of one segment are never rewritten, so an equal base means that nothing but a
         * mark can stand between. */
        if (err == CONFAB_OK && (h.base_lsn == lsn || (h.base_lsn > lsn && h.durable_lsn > lsn))) {
            segment_reader_seek(r, offset, h.base_lsn);
            return CONFAB_OK;
        }
    }
}
