/*
 * Reads one segment file batch by batch, in bounded memory. Private to src/adapters/local_log and
 * its tests.
 */
#ifndef CONFAB_ADAPTERS_LOG_SEGMENT_H
#define CONFAB_ADAPTERS_LOG_SEGMENT_H

#include "base/buf.h"
#include "log_format.h"
#include "ports/disk.h"

struct segment_reader {
    struct disk_file *file; /* owned */
    struct segment_header head;
    uint64_t file_bytes;
    uint64_t offset;   /* of the next batch */
    uint64_t next_lsn; /* its base LSN */
    /* Window on the file: */
    uint8_t *buf;
    size_t buf_cap;
    size_t buf_len;
    uint64_t buf_offset;
    size_t window; /* bytes read ahead */
};

struct batch_view {
    struct batch_header head;
    uint64_t offset;
    struct span payload; /* valid until the next call on the reader; empty when not asked for */
};

/*
 * Opens the file of that number and reads its header block. CONFAB_NOT_FOUND; CONFAB_CORRUPT when
 * the header is damaged or names another file, CONFAB_VERSION, CONFAB_IO, CONFAB_NOMEM. The reader
 * needs segment_reader_close only after success.
 */
CONFAB_NODISCARD enum confab_err segment_reader_open(struct segment_reader *r, struct disk *disk,
                                                     uint64_t number);
void segment_reader_close(struct segment_reader *r);
/* Goes to a batch known to start there. */
void segment_reader_seek(struct segment_reader *r, uint64_t offset, uint64_t next_lsn);

/*
 * Reads the batch at the reader's place and moves past it.
 *   CONFAB_EOF      no valid batch of this segment starts here: its end, or damage
 *   CONFAB_CORRUPT  the header is intact, the payload is not; ret->head is set, nothing moved
 *   CONFAB_VERSION  an intact batch that this version cannot read
 *   CONFAB_IO, CONFAB_NOMEM
 * The payload is checked, and lent, only with want_payload.
 */
CONFAB_NODISCARD enum confab_err segment_next(struct segment_reader *r, bool want_payload,
                                              struct batch_view *ret);
/*
 * After segment_next found nothing valid at the reader's place: looks behind it for an intact
 * header that proves what stands here was durable, and goes there. When next_lsn is then what it
 * was before, only a mark was damaged and nothing is lost; otherwise the LSNs from the old next_lsn
 * to the new one are. CONFAB_EOF (nothing moved): no proof, this may be a torn tail. CONFAB_IO,
 * CONFAB_VERSION.
 */
CONFAB_NODISCARD enum confab_err segment_resync(struct segment_reader *r);

#endif
