/*
 * One log behind one interface for the contract suite: which adapter it is, how it is driven, and
 * how it is closed and opened again with what was durable.
 */
#ifndef CONFAB_TESTS_LOG_RIG_H
#define CONFAB_TESTS_LOG_RIG_H

#include <pthread.h>
#include <stdbool.h>

#include "adapters/fault/log_fault.h"
#include "adapters/local_log/local_log.h"
#include "adapters/mem/disk_sim.h"
#include "adapters/mem/log_mem.h"

enum rig_kind {
    RIG_LOCAL_OS,    /* local log, real files, its own thread */
    RIG_LOCAL_SIM,   /* local log, simulated disk, stepped */
    RIG_MEM,         /* the reference */
    RIG_FAULT_LOCAL, /* a decorator without a plan, over RIG_LOCAL_SIM */
};
enum { RIG_LANES = 3, RIG_SEGMENT = 64 << 10 };

struct rig {
    enum rig_kind kind;
    struct log_store *log;
    struct disk *disk;
    struct disk_sim *sim;
    struct local_log *local;
    struct log_mem *mem;
    struct log_fault *fault;
    struct random_seeded random;
    uint64_t queue_bytes_max;
    char dir[64];
    pthread_mutex_t mu;
    pthread_cond_t cond;
    uint64_t wakes;
};

void rig_init(struct rig *rig, enum rig_kind kind, uint64_t queue_bytes_max);
void rig_deinit(struct rig *rig);
/* Orderly close and open. */
void rig_reopen(struct rig *rig);
/* The next finished submission of the lane, waiting (or stepping) for it. */
struct log_submission *rig_await(struct rig *rig, uint16_t lane);
/* True where something queued stays queued until rig_await. */
bool rig_is_stepped(const struct rig *rig);

/* A submission with `count` records of `size` bytes each, whose first 8 bytes are tag, tag + 1, …
 */
struct log_submission *sub_new(uint16_t lane, uint16_t partition, uint32_t count, uint32_t size,
                               uint64_t tag);
void sub_free(struct log_submission *sub);

/* Everything that a read gave. */
struct seen {
    uint64_t count;
    uint64_t cap;
    struct seen_record {
        uint64_t lsn;
        uint64_t tag;
        uint32_t size;
        uint16_t partition;
    } * at;
};
enum confab_err seen_read(struct seen *seen, struct log_store *log, uint64_t from);
void seen_free(struct seen *seen);

#endif
