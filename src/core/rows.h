/*
 * Keys and small values of the message store's tables. docs/formats/store.md describes them; this
 * is the only code that writes or reads them.
 */
#ifndef CONFAB_CORE_ROWS_H
#define CONFAB_CORE_ROWS_H

#include "base/id.h"
#include "core/event.h"
#include "ports/message_store.h"

/* A key with room for its bytes: `k` points into this very struct, so it must not be copied. */
struct row_key {
    struct store_key k;
    uint8_t key[16];
    uint8_t sort[24];
};
void row_key_conv(struct row_key *rk, enum store_table table, struct conv_id id);
void row_key_conv_seq(struct row_key *rk, enum store_table table, struct conv_id id, uint64_t n);
void row_key_partition(struct row_key *rk, enum store_table table, uint16_t partition);
void row_key_feed(struct row_key *rk, uint16_t partition, uint64_t first_id);
void row_key_followup(struct row_key *rk, uint16_t partition, struct conv_id id);
/*
 * The keys of a chunk's messages; they move with it when it is merged. sort: day since 1970 of the
 * chunk's last event (2), its first seq (8).
 */
void row_key_dedup(struct row_key *rk, struct conv_id id, uint16_t day, uint64_t first_seq);
uint64_t row_sort_u64(struct span sort);

struct row_partition {
    uint64_t last_ms;     /* of the latest stamp */
    uint32_t counter;     /* within that millisecond */
    uint64_t flushed_lsn; /* records below are in the store */
};
void row_partition_encode(struct buf *out, const struct row_partition *p);
CONFAB_NODISCARD enum confab_err row_partition_decode(struct span bytes, struct row_partition *ret);

struct row_head {
    uint64_t head_seq;
    uint64_t moved_ms;
    uint64_t last_id; /* of the last message; 0: none, or the row is from before there was this */
};
void row_head_encode(struct buf *out, const struct row_head *h);
CONFAB_NODISCARD enum confab_err row_head_decode(struct span bytes, struct row_head *ret);

/* Appends one message with a client_msg_id to a row that is empty or was begun so. */
void row_dedup_add(struct buf *row, uint32_t offset, uint64_t hash);
/*
 * The offset, from the row's first seq, of the message whose key has this hash. CONFAB_NOT_FOUND,
 * CONFAB_CORRUPT, CONFAB_VERSION.
 */
CONFAB_NODISCARD enum confab_err row_dedup_find(struct span row, uint64_t hash,
                                                uint64_t *ret_offset);
/* The walk over a row: open, then next until it says false; `bad` when the row is damaged. */
struct row_dedup_iter {
    struct reader r;
    uint64_t offset;
    uint64_t hash;
    bool bad;
};
CONFAB_NODISCARD enum confab_err row_dedup_open(struct row_dedup_iter *it, struct span row);
bool row_dedup_next(struct row_dedup_iter *it);
/* At most this many keys are in rows of so many bytes. */
uint32_t row_dedup_count_max(size_t bytes);
/* Of a sort key of 10 bytes. */
uint16_t row_dedup_day(struct span sort);
uint64_t row_dedup_first_seq(struct span sort);

struct feed_entry {
    uint64_t id;
    struct conv_id conv;
    uint64_t seq;
};
#define FEED_BLOCK_MAX 512U
void row_feed_encode(struct buf *out, const struct feed_entry *entries, uint32_t n);
/* Finds the entry with this id in a block; CONFAB_NOT_FOUND, CONFAB_CORRUPT. */
CONFAB_NODISCARD enum confab_err row_feed_find(struct span block, uint64_t id,
                                               struct feed_entry *ret);

/* What the engine keeps in the header row before the conversation's canonical encoding. */
#define HEADER_CHUNKS_MAX 8U
struct chunk_ref {
    uint64_t first_seq;
    uint32_t count;
};
struct row_header {
    uint16_t dedup_day; /* earliest day that may have dedup rows; 0: none */
    uint8_t nchunks;    /* the latest chunks, rising, the ones that may still be merged */
    struct chunk_ref chunks[HEADER_CHUNKS_MAX];
};
void row_header_encode(struct buf *out, const struct row_header *h);
/* *ret_rest: the bytes that follow. */
CONFAB_NODISCARD enum confab_err row_header_decode(struct span bytes, struct row_header *ret,
                                                   struct span *ret_rest);

#endif
