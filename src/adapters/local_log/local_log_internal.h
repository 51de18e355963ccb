/*
 * Inside of the local log. Private to src/adapters/local_log and its tests.
 *
 * Locks, in the order they may be taken: files_mu (names in the directory: allocation, rotation,
 * trim), mu (everything else shared), a lane's mu. The disk is never called under mu.
 */
#ifndef CONFAB_ADAPTERS_LOCAL_LOG_INTERNAL_H
#define CONFAB_ADAPTERS_LOCAL_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "local_log.h"
#include "log_format.h"
#include "log_segment.h"

enum { SEGMENT_INDEX_MAX = 64 };

/* A place in a segment where a batch starts. */
struct segment_mark {
    uint64_t lsn;
    uint64_t offset;
};

struct segment {
    uint64_t number;
    uint64_t id;
    uint64_t base_lsn;
    uint64_t end_lsn; /* of the last valid batch; of the current segment: what is durable */
    uint64_t size;
    uint64_t used; /* offset behind the last batch */
    uint64_t kept; /* bytes of its batches without the marks; log_scan only */
    uint32_t pins; /* readers; a pinned segment is not trimmed */
    bool leaving;  /* being trimmed: not read any more */
    bool damaged;  /* log_scan found some of it, or what follows it, lost */
    /* About every size / SEGMENT_INDEX_MAX bytes, so that a read need not walk from the start. */
    uint32_t marks;
    struct segment_mark mark[SEGMENT_INDEX_MAX];
};

struct segment_list {
    struct segment **at; /* by base_lsn */
    size_t count;
    size_t cap;
};
/* Makes room for one more: the next _add does not fail. */
CONFAB_NODISCARD enum confab_err segment_list_reserve(struct segment_list *list);
CONFAB_NODISCARD enum confab_err segment_list_add(struct segment_list *list, struct segment *seg);
void segment_list_remove(struct segment_list *list, size_t i);
void segment_list_deinit(struct segment_list *list); /* frees the segments too */
void segment_note(struct segment *seg, uint64_t lsn, uint64_t offset);

struct u64_list {
    uint64_t *at;
    size_t count;
    size_t cap;
};
CONFAB_NODISCARD enum confab_err u64_list_reserve(struct u64_list *list); /* likewise */
CONFAB_NODISCARD enum confab_err u64_list_add(struct u64_list *list, uint64_t v);

/* What a scan of the directory found. */
struct scan {
    struct segment_list segments; /* the chain; of the last one, up to the torn tail */
    struct u64_list superseded;   /* segments that a newer copy replaces */
    struct u64_list unreadable;   /* segments without a valid header */
    struct u64_list spares;
    struct u64_list twins; /* spares by name that are a segment's file: never to be written */
    uint64_t number_max;
    uint64_t end_max; /* damage.open_ended: no LSN from here on was ever given */
    struct local_log_damage damage;
};
/*
 * Reads the directory and every segment; changes nothing. Payloads of segments ending at or below
 * verify_from are not read. Damage is reported in `damage`, not by the result. scan_deinit after
 * success or failure.
 */
CONFAB_NODISCARD enum confab_err log_scan(struct disk *disk, uint64_t verify_from,
                                          struct scan *ret);
void scan_deinit(struct scan *scan);
void damage_add(struct local_log_damage *d, uint64_t segment, uint64_t offset, uint64_t from,
                uint64_t to);

/* Everything of a segment that can be read, up to `target` or, for UINT64_MAX, its tail. */
struct salvage {
    enum confab_err (*on_batch)(void *arg, const struct batch_view *view);
    enum confab_err (*on_gap)(void *arg, uint64_t offset, uint64_t from_lsn, uint64_t to_lsn);
    void *arg;
};
CONFAB_NODISCARD enum confab_err segment_salvage(struct segment_reader *r, uint64_t target,
                                                 bool verify, const struct salvage *to);

/* Writes batches into a file that is not a segment yet: copies by recovery and repair. */
struct segment_writer {
    struct disk *disk;
    struct disk_file *file; /* owned */
    uint64_t spare;         /* its number as a spare */
    struct segment_header head;
    uint64_t offset;
    uint64_t next_lsn;
    uint8_t *buf;
    size_t buf_cap;
};
/*
 * Opens the spare of that number (made, and allocated to head->size, when it is missing) and writes
 * the header. segment_writer_finish syncs it and gives it its name, durably; segment_writer_deinit
 * afterwards or instead.
 */
CONFAB_NODISCARD enum confab_err segment_writer_begin(struct segment_writer *w, struct disk *disk,
                                                      uint64_t spare,
                                                      const struct segment_header *head);
CONFAB_NODISCARD enum confab_err
segment_writer_batch(struct segment_writer *w, const struct batch_header *h, struct span payload);
CONFAB_NODISCARD enum confab_err segment_writer_finish(struct segment_writer *w);
void segment_writer_deinit(struct segment_writer *w);
/* Builds a whole batch, blocks padded with zeros, in `out` (batch_disk_bytes long) whose payload is
 * already in place behind the header's room. */
void batch_seal(uint8_t *out, struct batch_header *h);

struct lane {
    pthread_mutex_t mu;
    struct log_submission *done; /* under mu */
    struct log_submission *done_last;
    atomic_bool ready;            /* done is not empty */
    struct log_submission *out;   /* the poller's */
    struct log_submission *batch; /* the writer's: finished, not handed over yet */
    struct log_submission *batch_last;
    void (*wake)(void *arg);
    void *wake_arg;
};

/*
 * Where the queued submissions will go. The writer packs greedily from the queue's head, so this
 * can be computed exactly as they arrive; the last batch is open as long as it is still queued.
 */
struct reservation {
    uint64_t offset;     /* of the open batch, or behind the last closed one */
    uint64_t limit;      /* end of the room for batches in that segment */
    uint64_t open_bytes; /* payload of the open batch; 0: none */
    uint32_t spares_used;
};

struct local_log {
    struct log_store base;
    struct disk *disk;
    struct clock *clock;
    struct local_log_config config;
    bool readonly;
    struct local_log_damage damage;

    pthread_mutex_t files_mu;
    uint64_t number_next; /* files_mu */

    pthread_mutex_t mu;
    pthread_cond_t work;
    struct log_submission *queue; /* submitted, not taken by the writer */
    struct log_submission *queue_last;
    bool writer_waits;
    bool stopping;
    enum log_state state;
    uint64_t retry_at_ns;         /* LOG_FULL: next attempt to allocate */
    uint64_t rotate_at_ns;        /* no memory to rotate: next attempt; 0: there was enough */
    struct segment_list segments; /* the last one is the current one */
    struct u64_list spares;
    struct u64_list blank; /* of these, to be filled with zeros */
    struct reservation reserved;
    struct log_stats stats;

    /* The writer's alone: */
    struct disk_file *file; /* the current segment's */
    struct {
        struct disk_file *file; /* NULL: none is being filled */
        uint64_t spare;
        uint64_t offset;
        uint32_t done; /* how many were */
    } zeros;
    uint8_t *batch;
    size_t batch_cap;
    bool marked; /* the last batch of the current segment is a mark */

    bool has_thread;
    pthread_t thread;
    struct lane *lanes;
};

/* log_writer.c */
enum confab_err log_submit(struct log_store *store, struct log_submission *sub);
struct log_submission *log_poll(struct log_store *store, uint16_t lane);
void log_set_wake(struct log_store *store, uint16_t lane, void (*wake)(void *arg), void *arg);
CONFAB_NODISCARD enum confab_err log_allocate_spare(struct local_log *log);
void log_reserve_reset(struct local_log *log); /* under mu */
void log_write_mark(struct local_log *log);
static inline struct segment *log_current(const struct local_log *log)
{
    return log->segments.at[log->segments.count - 1];
}
struct local_log *local_log_of(struct log_store *store); /* checks the tag */
extern const struct log_store_ops local_log_ops;

/* log_zeros.c: the writer's, but for the first, which is under mu */
bool log_wants_zeros(const struct local_log *log);
/* One piece. CONFAB_IO: the disk does not take it. */
CONFAB_NODISCARD enum confab_err log_write_zeros(struct local_log *log);
/* Before a spare becomes a segment. */
void log_zeros_leave(struct local_log *log, uint64_t spare);
/* At the end of open: which of the spares were never written? */
CONFAB_NODISCARD enum confab_err log_find_blank(struct local_log *log);

/* log_read.c */
enum confab_err log_read(struct log_store *store, uint64_t from,
                         enum confab_err (*on_record)(void *arg, const struct log_record *rec),
                         void *arg);
enum confab_err log_trim(struct log_store *store, uint64_t lsn);

#endif
