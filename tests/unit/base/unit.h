/*
 * What the unit tests of base share: cmocka with the headers it needs, a seeded source of random
 * numbers, and, for files that include a .c under test, allocators that fail on request.
 */
#ifndef CONFAB_TESTS_UNIT_H
#define CONFAB_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"

/* CONFAB_TEST_SEED replays a run; the seed is printed by the test that uses it when it fails. */
static inline uint64_t unit_seed(uint64_t dflt)
{
    const char *s = getenv("CONFAB_TEST_SEED");
    return s ? strtoull(s, NULL, 0) : dflt;
}

#define unit_check(seed, cond)                                                                     \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fail_msg("%s with CONFAB_TEST_SEED=%llu", #cond, (unsigned long long)(seed));          \
        }                                                                                          \
    } while (0)

#endif
