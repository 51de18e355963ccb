/*
 * The disk port in memory, for the simulator and for tests. It keeps what is durable apart from
 * what was only written, and forgets and tears the difference at a crash, deterministically from a
 * seed.
 *
 * At disk_sim_crash each 512-byte sector of a file ends as one of the versions it had since the
 * last sync, independently of the others; one of them may end as garbage, including the bytes of it
 * that were durable before. The size ends as one of the sizes since then. Names made, renamed or
 * removed since the last sync_dir happened or did not; of a rename the new name may have come and
 * the old one stayed. Then every open file is closed (operations
 * give CONFAB_CLOSED; `close` is still due), and the disk is as after a restart.
 *
 * Any thread; calls are serialised. A file removed while open lives until it is closed.
 */
#ifndef CONFAB_ADAPTERS_DISK_SIM_H
#define CONFAB_ADAPTERS_DISK_SIM_H

#include <stdbool.h>

#include "base/random.h"
#include "ports/disk.h"
#include "ports/disk_op.h"

struct disk_sim;

struct disk_sim_config {
    uint64_t capacity_bytes; /* 0: no bound. The sizes of all files count, not their names */
};

CONFAB_NODISCARD enum confab_err disk_sim_new(const struct disk_sim_config *config,
                                              struct disk_sim **ret_sim);
/* All files must be closed. NULL is fine. */
void disk_sim_free(struct disk_sim *sim);
struct disk *disk_sim_disk(struct disk_sim *sim);

/* A second disk with the same files, all of it durable on the copy; capacity, no faults. */
CONFAB_NODISCARD enum confab_err disk_sim_clone(struct disk_sim *sim, struct disk_sim **ret_copy);

/* Power fails. Lifts a halt and forgets plans. */
void disk_sim_crash(struct disk_sim *sim, uint64_t seed);
/* The process dies, the disk does not: files are closed, everything written stays, nothing is
 * synced. */
void disk_sim_kill(struct disk_sim *sim);
/*
 * After `n` more changing operations (open that creates, pwrite, preallocate, truncate, sync,
 * rename, unlink, sync_dir), every operation gives CONFAB_CLOSED and nothing changes, until
 * disk_sim_crash. 0 halts at once; UINT64_MAX: never.
 */
void disk_sim_halt_after(struct disk_sim *sim, uint64_t n);
bool disk_sim_halted(struct disk_sim *sim);

/* The nth call of that kind from now (1: the next) and `count` - 1 after it fail with err. */
void disk_sim_fail(struct disk_sim *sim, enum disk_op op, uint64_t nth, uint64_t count,
                   enum confab_err err);
/* Forgets every planned failure and a halt that has not come yet. */
void disk_sim_heal(struct disk_sim *sim);
void disk_sim_set_capacity(struct disk_sim *sim, uint64_t bytes);
/* Calls made so far, and changing ones (as disk_sim_halt_after counts). */
uint64_t disk_sim_calls(struct disk_sim *sim, enum disk_op op);
uint64_t disk_sim_changes(struct disk_sim *sim);
/* Called before each operation, outside the lock: for latency on a simulated clock, or to hold. */
void disk_sim_set_hook(struct disk_sim *sim,
                       void (*on_op)(void *arg, enum disk_op op, size_t bytes), void *arg);

/* Flips bits in the stored file: rot, durable at once. CONFAB_NOT_FOUND, CONFAB_INVALID. */
CONFAB_NODISCARD enum confab_err disk_sim_flip(struct disk_sim *sim, const char *name,
                                               uint64_t offset, uint8_t mask);

#endif
