/*
 * The bytes of a segment file, as pure functions; docs/formats/log.md is the description. Private
 * to src/adapters/local_log and its tests.
 *
 * A segment is a header block, then batches, each at a multiple of LOG_BLOCK. Whole blocks are what
 * the writer writes: no later write ever touches a block that holds durable bytes, so a torn write
 * cannot hurt them.
 */
#ifndef CONFAB_ADAPTERS_LOG_FORMAT_H
#define CONFAB_ADAPTERS_LOG_FORMAT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ports/log.h"

#define LOG_BLOCK             4096U
#define LOG_FORMAT_VERSION    1U
#define LOG_SEGMENT_HEADER    64U
#define LOG_BATCH_HEADER      64U
#define LOG_BATCH_PAYLOAD_MAX LOG_SUBMISSION_BYTES_MAX
#define LOG_NAME_MAX          32U

struct segment_header {
    uint64_t number;     /* the one in the file's name */
    uint64_t id;         /* random; part of every batch and seed of its checksums */
    uint64_t base_lsn;   /* of the first batch */
    uint64_t size;       /* of the file */
    uint64_t created_ms; /* wall clock, for people */
};

enum batch_flags {
    BATCH_MARK = 1, /* no records: says only what is durable */
    BATCH_GAP = 2,  /* no records: lsn_bytes LSNs were lost and cut by a repair */
};

struct batch_header {
    uint8_t flags;
    uint8_t codec;  /* 0: plain */
    uint8_t cipher; /* 0: none */
    uint64_t segment_id;
    uint64_t base_lsn;
    uint64_t durable_lsn;   /* every LSN below was durable when this was written */
    uint64_t lsn_bytes;     /* LSNs taken: record bytes, or the size of the gap */
    uint32_t payload_bytes; /* stored after the header */
    uint32_t records;
    uint32_t key_id; /* 0: none */
    uint32_t payload_crc;
};

enum log_name { LOG_NAME_OTHER, LOG_NAME_SEGMENT, LOG_NAME_SPARE, LOG_NAME_DAMAGED };

/* Bytes on disk of a batch with that payload. */
static inline uint64_t batch_disk_bytes(uint64_t payload_bytes)
{
    return (LOG_BATCH_HEADER + payload_bytes + LOG_BLOCK - 1) / LOG_BLOCK * LOG_BLOCK;
}
static inline uint64_t batch_end_lsn(const struct batch_header *h)
{
    return h->base_lsn + h->lsn_bytes;
}

uint32_t log_segment_seed(uint64_t segment_id);

void segment_header_encode(const struct segment_header *h, uint8_t out[LOG_SEGMENT_HEADER]);
/* CONFAB_CORRUPT, or CONFAB_VERSION for an intact header of a later version. */
CONFAB_NODISCARD enum confab_err segment_header_decode(const uint8_t in[LOG_SEGMENT_HEADER],
                                                       struct segment_header *ret);
void batch_header_encode(const struct batch_header *h, uint8_t out[LOG_BATCH_HEADER]);
/* Also CONFAB_CORRUPT when the header is intact but of another segment. */
CONFAB_NODISCARD enum confab_err batch_header_decode(const uint8_t in[LOG_BATCH_HEADER],
                                                     uint64_t segment_id, struct batch_header *ret);

void log_name_format(enum log_name kind, uint64_t number, char out[LOG_NAME_MAX]);
enum log_name log_name_parse(const char *name, uint64_t *ret_number);

#endif
