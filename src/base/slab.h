/*
 * Pool of objects of one size, addressed by a 32-bit index. Chunks are added as needed and never
 * move: a pointer from slab_get is good until the object is freed, an index is half the size of a
 * pointer. A freed object's index is handed out again first, so keep a generation inside objects
 * whose indices travel. Overhead: 8 bytes per chunk of about 64 KiB, nothing per object. One thread
 * at a time.
 */
#ifndef CONFAB_BASE_SLAB_H
#define CONFAB_BASE_SLAB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/check.h"
#include "base/err.h"

#define SLAB_NONE UINT32_MAX /* never a valid index */

struct slab {
    char **chunks;
    uint32_t object_size; /* rounded up to the alignment of a pointer */
    uint32_t chunk_mask;
    uint8_t chunk_shift;
    uint32_t nchunks;
    uint32_t free_head; /* SLAB_NONE or an index; the next one is in the object's first 4 bytes */
    uint32_t used;      /* indices ever handed out */
    uint32_t count;     /* objects alive */
    uint32_t limit;
};

/* At most `limit` objects (1 to 2^32 - 2) of object_size bytes (1 to 1 MiB). Allocates nothing. */
void slab_init(struct slab *s, size_t object_size, uint32_t limit);
/* Accepts a zeroed slab; drops objects that are still alive. */
void slab_deinit(struct slab *s);
/* A zeroed object, aligned for pointers. CONFAB_LIMIT at the bound, CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err slab_alloc(struct slab *s, uint32_t *ret_index);
/* The index must be alive. In debug builds the bytes are overwritten. */
void slab_free(struct slab *s, uint32_t index);
static inline void *slab_get(const struct slab *s, uint32_t index)
{
    DCHECK(index < s->used);
    return s->chunks[index >> s->chunk_shift] + (size_t)(index & s->chunk_mask) * s->object_size;
}
static inline uint32_t slab_count(const struct slab *s)
{
    return s->count;
}
size_t slab_bytes(const struct slab *s);

#endif
