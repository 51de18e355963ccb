/*
 * executor on a pool of threads with one bounded FIFO queue. With one thread, jobs run in the order
 * submitted.
 */
#ifndef CONFAB_ADAPTERS_OS_EXECUTOR_POOL_H
#define CONFAB_ADAPTERS_OS_EXECUTOR_POOL_H

#include <stdint.h>

#include "ports/executor.h"

#define EXECUTOR_POOL_THREADS_MAX 64U

struct executor_pool_stats {
    uint32_t queued;     /* now */
    uint32_t queued_max; /* ever */
    uint64_t run;        /* jobs begun */
    uint64_t full;       /* jobs refused with CONFAB_BUSY */
};

/*
 * `threads` from 1 to EXECUTOR_POOL_THREADS_MAX, at most `queue_max` (> 0) jobs waiting; those that
 * run do not count. `name` (at most 11 bytes are used) names the threads. CONFAB_NOMEM, CONFAB_IO
 * when a thread cannot be made.
 */
CONFAB_NODISCARD enum confab_err executor_pool_open(unsigned threads, uint32_t queue_max,
                                                    const char *name, struct executor **ret);
/*
 * Refuses further jobs with CONFAB_CLOSED, runs those that wait, joins the threads and frees. Not
 * from one of its own jobs, and not while another thread may still submit. NULL is fine.
 */
void executor_pool_close(struct executor *ex);
void executor_pool_stats(struct executor *ex, struct executor_pool_stats *ret); /* any thread */

#endif
