/*
 * Runs of seeds for the test programs of the simulator. They are several, so that they run beside
 * each other. CONFAB_SIM_SEEDS says how many seeds of engines, CONFAB_SEED runs one of each kind.
 */
#ifndef CONFAB_TESTS_SIM_RUNS_H
#define CONFAB_TESTS_SIM_RUNS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/diag.h"
#include "sim.h"

/* Of engines; a quarter as many of whole servers, which cost more, come on top. */
enum { SEEDS = 800, ENGINES_A_SERVER = 4 };

static inline uint64_t from_env(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static inline void run_seeds(uint64_t first, uint64_t last, uint16_t shards, bool gate)
{
    for (uint64_t seed = first; seed <= last; seed++) {
        struct sim_options options = {.seed = seed, .shards = shards, .gate = gate};
        struct sim_result result;
        sim_run(&options, &result);
        if (result.failed) {
            sim_report(&options, &result);
            fail();
        }
    }
}

#endif
