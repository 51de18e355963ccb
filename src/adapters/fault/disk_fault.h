/*
 * Decorator of the disk port that fails, delays and tears by plan. Without a plan it changes
 * nothing. Any thread, as the disk below.
 */
#ifndef CONFAB_ADAPTERS_DISK_FAULT_H
#define CONFAB_ADAPTERS_DISK_FAULT_H

#include "ports/disk.h"
#include "ports/disk_op.h"

struct disk_fault;

CONFAB_NODISCARD enum confab_err disk_fault_new(struct disk *below, struct disk_fault **ret_fault);
/* All files must be closed. NULL is fine. */
void disk_fault_free(struct disk_fault *f);
struct disk *disk_fault_disk(struct disk_fault *f);

/* The nth call of that kind from now (1: the next) and the n - 1 after it fail with err. */
void disk_fault_plan(struct disk_fault *f, enum disk_op op, uint64_t nth, uint64_t n,
                     enum confab_err err);
/* The nth pwrite from now writes only its first `keep` bytes, then fails with err. */
void disk_fault_tear(struct disk_fault *f, uint64_t nth, size_t keep, enum confab_err err);
void disk_fault_forget(struct disk_fault *f); /* the plans, not the counts */
/* Called, without locks, before each operation is passed on: to delay, or to look. */
void disk_fault_set_hook(struct disk_fault *f,
                         void (*on_op)(void *arg, enum disk_op op, size_t bytes), void *arg);
uint64_t disk_fault_calls(struct disk_fault *f, enum disk_op op);

#endif
