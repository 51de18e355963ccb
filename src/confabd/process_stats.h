/* What the process itself costs, read from the operating system. */
#ifndef CONFAB_CONFABD_PROCESS_STATS_H
#define CONFAB_CONFABD_PROCESS_STATS_H

#include "base/metrics.h"

/* Sets the METRIC_PROCESS_ gauges. Takes the allocator's locks for a moment: not from a shard. */
void process_stats_sample(struct metrics *m);

#endif
