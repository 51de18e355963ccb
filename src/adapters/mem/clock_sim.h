/*
 * A clock that stands still until it is told otherwise. The two times are set apart from each
 * other, so that jumps of the wall clock can be played.
 */
#ifndef CONFAB_ADAPTERS_MEM_CLOCK_SIM_H
#define CONFAB_ADAPTERS_MEM_CLOCK_SIM_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/clock.h"

/* The caller's memory; any thread may read, one sets. */
struct clock_sim {
    struct clock base;
    atomic_uint_fast64_t wall_ns;
    atomic_uint_fast64_t mono_ns;
};

void clock_sim_init(struct clock_sim *c, uint64_t wall_ms);
/* Both times go on by that much. */
void clock_sim_advance(struct clock_sim *c, uint64_t ns);
/* Goes on until the monotonic time is mono_ns; an earlier time changes nothing. */
void clock_sim_advance_to(struct clock_sim *c, uint64_t mono_ns);
/* The wall clock jumps, in either direction. */
void clock_sim_set_wall(struct clock_sim *c, uint64_t wall_ms);

#endif
