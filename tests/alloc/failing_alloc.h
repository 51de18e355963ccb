/*
 * Allocations that fail on request, and a count of what was not freed. For programs that are linked
 * with --wrap (cmake/tests.cmake), which sends the allocations of all our objects here;
 * those of libraries do as they always do.
 */
#ifndef CONFAB_TESTS_ALLOC_FAILING_ALLOC_H
#define CONFAB_TESTS_ALLOC_FAILING_ALLOC_H

#include <stddef.h>
#include <stdint.h>

/* From now on, of all threads, the allocations from the from-th (1: the next) on fail, n of them.
 */
void alloc_fail(uint64_t from, uint64_t n);
/* None fails any more; how many there were since alloc_fail. */
uint64_t alloc_heal(void);
/* The same for a while: what is the test's own may not fail. Nests. */
void alloc_pause(void);
void alloc_resume(void);
/* Blocks that were allocated and not freed since the program began. */
size_t alloc_live(void);

#endif
