/*
 * Blocks of memory kept for the next one who wants that much, by size: what lives for a turn or two
 * comes and goes by the thousand, which is more than the C library's own caches keep. A block is an
 * ordinary one of malloc, and free() takes it as well; pool_give takes what pool_take gave. One
 * thread at a time; a block may end in the pool of another thread than it began.
 */
#ifndef CONFAB_BASE_POOL_H
#define CONFAB_BASE_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define POOL_CLASSES    4U
#define POOL_SIZE_MAX   1040U /* larger ones are not kept */
#define POOL_BLOCKS_MAX 1024U /* of each size: at most 2 MiB in all */

struct pool {
    void *first[POOL_CLASSES]; /* through the first word of each */
    uint32_t n[POOL_CLASSES];
};

/* At least `size` bytes, not cleared; NULL when out of memory. Without a pool: from malloc. */
void *pool_take(struct pool *p, size_t size);
/* Back again, with the size that it was asked for. NULL is fine, for both. */
void pool_give(struct pool *p, void *block, size_t size);
/* Frees what is kept. */
void pool_deinit(struct pool *p);

#endif
