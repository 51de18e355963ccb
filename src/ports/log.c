/*
 * Framing of log records: the part of the log port that every adapter and every writer shares. A
 * record is u32 payload size, u16 partition, u8 kind, u8 version, all little endian, then the
 * payload. Checksums are the adapter's: they cover whole batches of records.
 */
#include "ports/log.h"

#include "base/id.h"

enum confab_err log_submission_add(struct log_submission *sub, uint16_t partition, uint8_t kind,
                                   uint8_t version, struct span data, uint32_t *ret_offset)
{
    if (partition >= ID_PARTITIONS) {
        return CONFAB_INVALID;
    }
    if (data.n > LOG_RECORD_SIZE_MAX ||
        sub->bytes.len + LOG_RECORD_HEADER + data.n > LOG_SUBMISSION_BYTES_MAX) {
        return CONFAB_TOO_LARGE;
    }
    if (!buf_ok(&sub->bytes) || !buf_reserve(&sub->bytes, LOG_RECORD_HEADER + data.n)) {
        return CONFAB_NOMEM;
    }
    uint32_t offset = (uint32_t)sub->bytes.len;
    buf_put_u32(&sub->bytes, (uint32_t)data.n);
    buf_put_u16(&sub->bytes, partition);
    buf_put_u8(&sub->bytes, kind);
    buf_put_u8(&sub->bytes, version);
    buf_put(&sub->bytes, data.p, data.n);
    sub->records++;
    *ret_offset = offset;
    return CONFAB_OK;
}

enum confab_err log_record_next(struct span bytes, size_t *offset, uint64_t base_lsn,
                                struct log_record *ret)
{
    size_t at = *offset;
    if (at >= bytes.n) {
        return CONFAB_EOF;
    }
    struct reader r = reader_of(bytes.p + at, bytes.n - at);
    struct log_record rec = {.lsn = base_lsn + at};
    uint32_t size = reader_u32(&r);
    rec.partition = reader_u16(&r);
    rec.kind = reader_u8(&r);
    rec.version = reader_u8(&r);
    if (r.bad || size > LOG_RECORD_SIZE_MAX || rec.partition >= ID_PARTITIONS) {
        return CONFAB_CORRUPT;
    }
    rec.data = reader_bytes(&r, size);
    if (r.bad) {
        return CONFAB_CORRUPT;
    }
    *offset = at + LOG_RECORD_HEADER + size;
    *ret = rec;
    return CONFAB_OK;
}
