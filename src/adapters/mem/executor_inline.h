/*
 * executor without threads. Plain: a job runs inside the submit that brings it; one that is
 * submitted by a running job runs when that one has returned, so that chains of requests do not
 * grow the stack. Stepped: jobs wait until executor_inline_step runs them, which lets the
 * simulator own the time and the order of every completion.
 *
 * Any thread may submit; plain, the jobs of all threads run one at a time. Step from one thread.
 */
#ifndef CONFAB_ADAPTERS_MEM_EXECUTOR_INLINE_H
#define CONFAB_ADAPTERS_MEM_EXECUTOR_INLINE_H

#include <stdbool.h>
#include <stdint.h>

#include "ports/executor.h"

/* At most `queue_max` (> 0) jobs wait. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err executor_inline_open(bool stepped, uint32_t queue_max,
                                                      struct executor **ret);
/* Runs the jobs that wait, then frees. Not from one of its jobs. NULL is fine. */
void executor_inline_close(struct executor *ex);

/* Runs the oldest job that waits; false when there is none. Stepped only. */
bool executor_inline_step(struct executor *ex);
/* Runs the n-th oldest (from 0), as a pool of several threads may; false when there is none. */
bool executor_inline_step_at(struct executor *ex, uint32_t n);
uint32_t executor_inline_queued(struct executor *ex);
/* A crash: forgets the jobs that wait without running them and returns their number. */
uint32_t executor_inline_discard(struct executor *ex);

#endif
