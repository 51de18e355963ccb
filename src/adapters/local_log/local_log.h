/*
 * The log port on one directory of segment files (docs/formats/log.md): all partitions in one
 * sequence, group commit by one writer, one sync in flight.
 *
 * An LSN counts record bytes only, from LOCAL_LOG_FIRST_LSN on; 0 is no record's. Where a range was
 * lost and cut by local_log_repair, LSNs jump: the record after another one has a larger LSN than
 * the end of that one.
 *
 * Want of memory is not sticky. What rotation needs is taken before anything is renamed; when it
 * cannot be had, what is queued stays queued and is tried again each retry_ms, so submissions come
 * late, and `submit` answers CONFAB_BUSY once queue_bytes_max are waiting. A spare that cannot be
 * made for want of memory is as one without room: CONFAB_NO_SPACE at worst, until the next attempt.
 *
 * The writer is a thread of its own (local_log_start_thread), or whoever calls local_log_step;
 * never both. `submit` and `poll` never touch the disk.
 */
#ifndef CONFAB_ADAPTERS_LOCAL_LOG_H
#define CONFAB_ADAPTERS_LOCAL_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"
#include "base/random.h"
#include "ports/disk.h"
#include "ports/log.h"

#define LOCAL_LOG_FIRST_LSN         1U
#define LOCAL_LOG_SEGMENT_BYTES     (64U << 20)
#define LOCAL_LOG_SEGMENT_BYTES_MIN (32U << 10)
#define LOCAL_LOG_QUEUE_BYTES_MAX   (32U << 20)
#define LOCAL_LOG_BATCH_BYTES_MAX   (1U << 20)
#define LOCAL_LOG_SEGMENTS_SPARE    2U
#define LOCAL_LOG_SEGMENTS_KEPT     4U
#define LOCAL_LOG_RETRY_MS          1000U
#define LOCAL_LOG_DAMAGE_MAX        16U

/* Zero means the default above, unless said otherwise. */
struct local_log_config {
    /* File size of a new segment; a multiple of 4,096. A submission must fit in one, so production
     * needs at least LOG_SUBMISSION_BYTES_MAX and 16 KiB. */
    uint64_t segment_bytes;
    uint16_t lanes; /* at least 1 */
    /* Record bytes that may be queued before `submit` answers CONFAB_BUSY. */
    uint64_t queue_bytes_max;
    /* Record bytes of one batch; a larger submission is a batch alone. */
    uint32_t batch_bytes_max;
    /* Segments kept allocated ahead, at least 2: one of them is kept back for the next recovery, so
     * that a full disk never stops a restart. */
    uint32_t segments_spare;
    /* Spares that trimmed segments become, at least segments_spare. One that is used again costs
     * neither an allocation nor a removal, which each delay the syncs meanwhile. */
    uint32_t segments_kept;
    /* Pause between attempts to allocate a segment on a full disk, or to begin one without memory.
     */
    uint32_t retry_ms;
    /* Write zeros into spares that were only allocated, while nothing is queued, once an eighth of
     * a segment is in use: until segments_kept were filled. A block that is only allocated makes
     * the sync that first writes it slower. */
    bool zero_spares;
    /* Records below this LSN are not needed any more: at open, payloads of segments that end at or
     * below it are not read. 0: everything is verified. */
    uint64_t verify_from;
    /* For segment ids, which must never repeat. NULL: the system's. */
    struct random_source *random;
};

/* A range of LSNs that cannot be read. */
struct local_log_range {
    uint64_t segment; /* number in the file's name */
    uint64_t offset;  /* of the first damaged byte range in that file */
    uint64_t from_lsn;
    uint64_t to_lsn; /* first LSN after the loss */
};
struct local_log_damage {
    uint32_t count;  /* ranges found; the first LOCAL_LOG_DAMAGE_MAX are told */
    bool open_ended; /* the last range's end is not known: nothing after it can be read */
    struct local_log_range ranges[LOCAL_LOG_DAMAGE_MAX];
    char text[256]; /* about the first, for people */
};

struct local_log;

/*
 * Opens or creates the log in the directory and recovers it: cuts a torn tail, copies the last
 * segment's valid records to a new, synced segment, allocates spares. On return everything readable
 * is durable. Borrows disk, clock and random for its life. CONFAB_CORRUPT   durable records are
 * damaged; nothing was changed. Logged with segment, offset and LSNs; local_log_open_readonly and
 * local_log_repair can tell more. CONFAB_VERSION   written by a newer version; nothing was changed.
 *   CONFAB_NO_SPACE  no room for the first segment; CONFAB_INVALID, CONFAB_IO, CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err local_log_open(const struct local_log_config *config,
                                                struct disk *disk, struct clock *clock,
                                                struct local_log **ret_log);
/*
 * For tools: changes nothing, serves `read` and `stats`; `submit` and `trim` give CONFAB_FORBIDDEN.
 * Damage does not stop it: `read` gives the records before it and then CONFAB_CORRUPT;
 * local_log_damage tells where.
 */
CONFAB_NODISCARD enum confab_err local_log_open_readonly(struct disk *disk, struct clock *clock,
                                                         struct local_log **ret_log);
/* What open found; count is 0 when nothing is damaged. */
void local_log_damage(const struct local_log *log, struct local_log_damage *ret);
/*
 * Stops the thread, if it runs. A healthy log whose queue is empty is marked as closed, so that the
 * next open can tell damage in its last batch from a torn tail. Submissions still under way are
 * forgotten: they stay the caller's memory. NULL is fine.
 */
void local_log_close(struct local_log *log);

/* The port's view; valid until close. */
struct log_store *local_log_store(struct local_log *log);

/* CONFAB_NOMEM when the thread cannot be made. */
CONFAB_NODISCARD enum confab_err local_log_start_thread(struct local_log *log);
/* Writes what is queued, then ends the thread. Nothing may be submitted any more. What waits for
 * memory is tried once more and, in vain, comes back with CONFAB_IO: the log has failed. */
void local_log_stop(struct local_log *log);
/*
 * Without a thread: one batch written, synced and completed, and at most one segment allocated, or
 * else a piece of one filled with zeros.
 * *ret_did_work is false when there was nothing to do. The log's failure is told through the
 * submissions and local_log_step's result: CONFAB_IO from then on.
 */
CONFAB_NODISCARD enum confab_err local_log_step(struct local_log *log, bool *ret_did_work);

/*
 * Offline. Finds what open calls CONFAB_CORRUPT and, unless dry_run, rewrites the damaged segments
 * so that what can be read stays, under its LSNs, and the lost ranges are named in the log itself.
 * Safe to interrupt at any point and run again. CONFAB_OK with ret->count 0 when nothing is
 * damaged.
 */
CONFAB_NODISCARD enum confab_err local_log_repair(struct disk *disk, struct clock *clock,
                                                  bool dry_run, struct local_log_damage *ret);

/* One stored batch, for `inspect`. */
struct local_log_batch_info {
    uint64_t segment;
    uint64_t segment_id;
    uint64_t offset;
    uint64_t base_lsn;
    uint64_t durable_lsn;
    uint32_t payload_bytes;
    uint32_t records;
    bool is_mark;
    bool is_gap;
    uint64_t end_lsn;
};
/* Calls `on_batch` for each batch in order, until it returns an error (which is returned). */
CONFAB_NODISCARD enum confab_err
local_log_inspect(struct local_log *log,
                  enum confab_err (*on_batch)(void *arg, const struct local_log_batch_info *info),
                  void *arg);

#endif
