/* What the process itself costs, read from the operating system. */
#ifndef CONFAB_CONFABD_PROCESS_STATS_H
#define CONFAB_CONFABD_PROCESS_STATS_H

#include <stdint.h>

#include "base/metrics.h"

/* What is not asked for at each sample. Zeroed is a valid one. */
struct process_stats {
    int64_t files;
    uint64_t files_counted_ms; /* when; 0: never */
};

/*
 * Sets the METRIC_PROCESS_ gauges. Takes the allocator's locks for a moment: not from a shard. The
 * open files may be from up to half a minute before.
 */
void process_stats_sample(struct process_stats *p, struct metrics *m, uint64_t now_ms);

#endif
