/*
 * Engines over the embedded adapters in one data directory, without gateway and directory: what the
 * scale runs drive. One thread steps all engines; the log, the store's executors and RocksDB have
 * their own threads, as in confabd.
 */
#ifndef CONFAB_TESTS_SCALE_RIG_H
#define CONFAB_TESTS_SCALE_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "core/checkpoint.h"
#include "core/engine.h"

#define RIG_SHARDS_MAX 8U

struct rig_config {
    const char *data; /* directory; made when it is not there */
    uint16_t shards;
    uint64_t cache_bytes; /* of all shards, as confabd's options of these names */
    uint64_t dirty_bytes;
    uint32_t flush_after_ms;
    uint32_t checkpoint_ms;
    uint64_t store_cache_bytes;
    uint64_t store_memtable_bytes;
    uint64_t log_segment_bytes;
};
void rig_config_defaults(struct rig_config *cfg);

/* How long each part of a start took, from rig_open on. */
struct rig_start {
    double store_ms;     /* store open */
    double log_ms;       /* log open: the tail is checked and copied */
    double read_ms;      /* partitions' rows, records above the checkpoint, follow-ups */
    uint64_t from_lsn;   /* the checkpoint */
    uint64_t records;    /* read from the log */
    uint64_t bytes;      /* of their payloads */
    uint64_t replayed;   /* of them not in the store */
    uint64_t tail_convs; /* conversations that have to be loaded and folded */
};

struct rig;
/* Called for each command that the driver submitted; the command is the driver's again. */
typedef void rig_complete(void *arg, struct command *cmd);

/* Opens everything and reads the log; the conversations of the tail are folded in later turns. */
struct rig *rig_open(const struct rig_config *cfg, rig_complete *on_complete, void *arg,
                     struct rig_start *ret);
void rig_submit(struct rig *r, struct command *cmd);
/* One turn of every engine; waits for something to do when `idle`. */
void rig_turn(struct rig *r, bool idle);
bool rig_is_recovered(const struct rig *r);
/* Turns until nothing is under way or unconfirmed; also nothing dirty, with `flush`. */
void rig_settle(struct rig *r, bool flush);
/* A checkpoint, waited for. */
void rig_checkpoint(struct rig *r);
/* In good order: flushed, checkpointed, closed. */
void rig_close(struct rig *r);
/* The states of the resident conversations of all engines. */
void rig_dump(struct rig *r, struct buf *out);

struct rig_stats {
    struct engine_stats engine; /* sums */
    uint64_t cache_peak;        /* highest sums seen after a turn */
    uint64_t dirty_peak;
    uint64_t log_bytes;   /* between the last checkpoint and the log's end */
    uint64_t log_peak;    /* highest of that */
    uint64_t segments;    /* of the log */
    uint64_t store_bytes; /* on disk */
    uint64_t store_memory;
    uint64_t store_written; /* by batches */
    uint64_t malloced;      /* live bytes, all threads: mallinfo2 */
    uint64_t rss;
    uint64_t rss_peak;
    uint64_t publications;
};
void rig_stats(struct rig *r, struct rig_stats *ret);
uint64_t rig_metric(enum metric id);
/* Prints one line: rss, cache, dirty, log, store. */
void rig_report(struct rig *r, const char *when);
/* CPU seconds of the process by group of threads, as text. */
void rig_cpu_text(char *out, size_t size);

double rig_now(void);    /* seconds, monotonic */
double rig_cpu_ms(void); /* of this thread */

#endif
