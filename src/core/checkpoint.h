/*
 * Checkpoints: how far the log is no longer needed, because everything below is durable in the
 * store. One for a server. The CHECKPOINT file holds the LSN from which recovery must read.
 */
#ifndef CONFAB_CORE_CHECKPOINT_H
#define CONFAB_CORE_CHECKPOINT_H

#include "core/engine.h"
#include "ports/disk.h"
#include "ports/executor.h"

struct checkpointer;

/*
 * The LSN of the CHECKPOINT file; 0 when there is none. CONFAB_CORRUPT, CONFAB_VERSION, CONFAB_IO.
 * Blocking; at start-up.
 */
CONFAB_NODISCARD enum confab_err checkpoint_load(struct disk *disk, uint64_t *ret_lsn);

/*
 * The caller keeps everything passed alive until checkpointer_free. `engines` are the n engines of
 * the server. File work runs on `executor` (one thread).
 */
CONFAB_NODISCARD enum confab_err
checkpointer_new(struct disk *disk, struct executor *executor, struct log_store *log,
                 struct message_store *store, struct engine *const *engines, uint16_t n,
                 struct metrics *metrics, struct checkpointer **ret);
/* No checkpoint may be under way, except in a simulated crash. */
void checkpointer_free(struct checkpointer *c);

/* Starts one unless one is under way. Never blocks. One thread. */
void checkpointer_start(struct checkpointer *c);
/*
 * The same, if it lies at least `bytes` of LSNs above the latest one of this run: called often, it
 * bounds what a recovery reads by bytes, whatever the rate at which they come. After a failed
 * checkpoint it does nothing until one has succeeded.
 */
void checkpointer_start_gaining(struct checkpointer *c, uint64_t bytes);
/* Any thread. */
bool checkpointer_is_running(const struct checkpointer *c);
/* LSN of the latest finished one of this run; 0 for none. Any thread. */
uint64_t checkpointer_lsn(const struct checkpointer *c);

#endif
