/*
 * Port: log. The durable, ordered record of what was decided. Records belong to a partition (0 to
 * 1,023) and carry an LSN, a position that rises by record in each partition; the embedded adapter
 * keeps all partitions in one sequence, a cluster's keeps one each.
 *
 * A writer is a lane (one per shard). It encodes records into a submission with
 * log_submission_add, hands the whole submission over, and gets it back from `poll`, in the order
 * submitted, when every record in it is durable or the log has failed. A submission is atomic:
 * after a crash, all of its records are there or none.
 *
 * Failure is sticky. After a failed sync the log refuses every further submission with CONFAB_IO
 * until it is opened anew; submissions under way come back with CONFAB_IO and their fate is
 * unknown. A full disk (no room for a further segment) is CONFAB_NO_SPACE, is not sticky, and
 * nothing of the submission was written.
 */
#ifndef CONFAB_PORTS_LOG_H
#define CONFAB_PORTS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define LOG_RECORD_HEADER        8U /* u32 payload size, u16 partition, u8 kind, u8 version */
#define LOG_RECORD_SIZE_MAX      (1U << 20) /* payload of one record */
#define LOG_SUBMISSION_BYTES_MAX (8U << 20)

struct log_record {
    uint64_t lsn;
    uint16_t partition;
    uint8_t kind;     /* the core's; opaque to the log */
    uint8_t version;  /* of the payload's format; opaque to the log */
    struct span data; /* borrowed for the call */
};

/* The caller's memory, untouched between submit and the poll that returns it. */
struct log_submission {
    struct log_submission *next; /* the adapter's while under way */
    struct buf bytes;            /* framed records */
    uint32_t records;
    uint16_t lane;
    /* Results: */
    enum confab_err ret_err;
    uint64_t ret_lsn; /* of the first record; record at byte k of `bytes` has ret_lsn + k */
};

/* Frames one record at the end of the submission; returns its offset in `bytes` by ret_offset. */
CONFAB_NODISCARD enum confab_err log_submission_add(struct log_submission *sub, uint16_t partition,
                                                    uint8_t kind, uint8_t version, struct span data,
                                                    uint32_t *ret_offset);
/* Reads the record at *offset of framed bytes and moves *offset past it. CONFAB_EOF at the end. */
CONFAB_NODISCARD enum confab_err log_record_next(struct span bytes, size_t *offset,
                                                 uint64_t base_lsn, struct log_record *ret);

enum log_state { LOG_OK = 0, LOG_FULL = 1, LOG_FAILED = 2 };

struct log_stats {
    enum log_state state;
    uint64_t durable_lsn;  /* first LSN that is not durable yet */
    uint64_t first_lsn;    /* oldest record still there */
    uint64_t bytes_queued; /* submitted, not durable */
    uint64_t batches;
    uint64_t bytes_written;
    uint64_t syncs;
    uint64_t sync_ns_total;
    uint64_t sync_ns_max;
    uint64_t segments;
    uint64_t queue_full; /* submissions refused with CONFAB_BUSY */
};

struct log_store;
struct log_store_ops {
    const char *name;
    int version;
    /*
     * Thread of the lane; never blocks. CONFAB_OK: the submission will come back from `poll`.
     * CONFAB_BUSY: more than the configured bytes are queued. CONFAB_IO: failed, sticky.
     * CONFAB_NO_SPACE: full. On an error the submission stays the caller's.
     */
    enum confab_err (*submit)(struct log_store *log, struct log_submission *sub);
    /* Thread of the lane; never blocks. The next finished submission of the lane, or NULL. */
    struct log_submission *(*poll)(struct log_store *log, uint16_t lane);
    /* Before the first submit. `wake` is called from any thread when `poll` has something. */
    void (*set_wake)(struct log_store *log, uint16_t lane, void (*wake)(void *arg), void *arg);
    /*
     * Reads durable records with lsn >= from, in order, until `on_record` returns an error (which
     * is returned). CONFAB_CORRUPT when damage stands in the way. Any thread, blocking.
     */
    enum confab_err (*read)(struct log_store *log, uint64_t from,
                            enum confab_err (*on_record)(void *arg, const struct log_record *rec),
                            void *arg);
    /* Records below `lsn` are no longer needed; the adapter may drop them. Any thread, may block.
     */
    enum confab_err (*trim)(struct log_store *log, uint64_t lsn);
    void (*stats)(struct log_store *log, struct log_stats *ret); /* any thread */
};
struct log_store {
    const struct log_store_ops *ops;
};

CONFAB_NODISCARD static inline enum confab_err log_store_submit(struct log_store *log,
                                                                struct log_submission *sub)
{
    return log->ops->submit(log, sub);
}
static inline struct log_submission *log_store_poll(struct log_store *log, uint16_t lane)
{
    return log->ops->poll(log, lane);
}
static inline void log_store_set_wake(struct log_store *log, uint16_t lane, void (*wake)(void *arg),
                                      void *arg)
{
    log->ops->set_wake(log, lane, wake, arg);
}
CONFAB_NODISCARD static inline enum confab_err
log_store_read(struct log_store *log, uint64_t from,
               enum confab_err (*on_record)(void *arg, const struct log_record *rec), void *arg)
{
    return log->ops->read(log, from, on_record, arg);
}
CONFAB_NODISCARD static inline enum confab_err log_store_trim(struct log_store *log, uint64_t lsn)
{
    return log->ops->trim(log, lsn);
}
static inline void log_store_stats(struct log_store *log, struct log_stats *ret)
{
    log->ops->stats(log, ret);
}

#endif
