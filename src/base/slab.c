#include "base/slab.h"

#include <stdlib.h>
#include <string.h>

enum { SLAB_CHUNK_BYTES = 64 * 1024, SLAB_CHUNK_ALIGN = 64, SLAB_OBJECT_MAX = 1 << 20 };

void slab_init(struct slab *s, size_t object_size, uint32_t limit)
{
    CHECK(object_size > 0 && object_size <= SLAB_OBJECT_MAX);
    CHECK(limit > 0 && limit < SLAB_NONE);
    memset(s, 0, sizeof(*s));
    size_t align = sizeof(void *);
    s->object_size = (uint32_t)((object_size + align - 1) / align * align);
    s->limit = limit;
    s->free_head = SLAB_NONE;
    /* Objects per chunk: the power of two that fits 64 KiB, and no more than the limit asks for. */
    while ((2U << s->chunk_shift) * (size_t)s->object_size <= SLAB_CHUNK_BYTES &&
           (1U << s->chunk_shift) < limit) {
        s->chunk_shift++;
    }
    s->chunk_mask = (1U << s->chunk_shift) - 1;
}

void slab_deinit(struct slab *s)
{
    for (uint32_t i = 0; i < s->nchunks; i++) {
        free(s->chunks[i]);
    }
    free(s->chunks);
    memset(s, 0, sizeof(*s));
}

static size_t chunk_bytes(const struct slab *s)
{
    size_t bytes = ((size_t)s->chunk_mask + 1) * s->object_size;
    return (bytes + SLAB_CHUNK_ALIGN - 1) / SLAB_CHUNK_ALIGN * SLAB_CHUNK_ALIGN;
}

/* The table of chunks doubles at powers of two; it is all that ever moves. */
static enum confab_err add_chunk(struct slab *s)
{
    if ((s->nchunks & (s->nchunks - 1)) == 0) {
        size_t cap = s->nchunks == 0 ? 1 : (size_t)s->nchunks * 2;
        char **chunks = realloc(s->chunks, cap * sizeof(*chunks));
        if (!chunks) {
            return CONFAB_NOMEM;
        }
        s->chunks = chunks;
    }
    char *chunk = aligned_alloc(SLAB_CHUNK_ALIGN, chunk_bytes(s));
    if (!chunk) {
        return CONFAB_NOMEM;
    }
    s->chunks[s->nchunks++] = chunk;
    return CONFAB_OK;
}

enum confab_err slab_alloc(struct slab *s, uint32_t *ret_index)
{
    if (s->count >= s->limit) {
        return CONFAB_LIMIT;
    }
    uint32_t index = s->free_head;
    if (index != SLAB_NONE) {
        memcpy(&s->free_head, slab_get(s, index), sizeof(s->free_head));
    } else {
        index = s->used;
        if (index >> s->chunk_shift >= s->nchunks) {
            enum confab_err err = add_chunk(s);
            if (err) {
                return err;
            }
        }
        s->used++;
    }
    s->count++;
    memset(slab_get(s, index), 0, s->object_size);
    *ret_index = index;
    return CONFAB_OK;
}

void slab_free(struct slab *s, uint32_t index)
{
    CHECK(index < s->used && s->count > 0);
    void *object = slab_get(s, index);
#ifdef CONFAB_DEBUG
    memset(object, 0xdb, s->object_size);
#endif
    memcpy(object, &s->free_head, sizeof(s->free_head));
    s->free_head = index;
    s->count--;
}

size_t slab_bytes(const struct slab *s)
{
    size_t table = 0;
    for (size_t cap = 1; s->nchunks > 0 && table < s->nchunks; cap *= 2) {
        table = cap;
    }
    return s->nchunks * chunk_bytes(s) + table * sizeof(*s->chunks);
}
