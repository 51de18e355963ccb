#include "base/ring.h"

#include <stdlib.h>
#include <string.h>

enum confab_err ring_init(struct ring *r, uint32_t capacity)
{
    if (capacity == 0 || capacity > RING_CAPACITY_MAX) {
        return CONFAB_INVALID;
    }
    uint32_t size = 1;
    while (size < capacity) {
        size *= 2;
    }
    void **items = calloc(size, sizeof(*items));
    if (!items) {
        return CONFAB_NOMEM;
    }
    memset(r, 0, sizeof(*r));
    r->items = items;
    r->mask = size - 1;
    return CONFAB_OK;
}

void ring_deinit(struct ring *r)
{
    free(r->items);
    memset(r, 0, sizeof(*r));
}

enum confab_err ring_new(uint32_t capacity, struct ring **ret_ring)
{
    struct ring *r = aligned_alloc(RING_LINE, sizeof(*r));
    if (!r) {
        return CONFAB_NOMEM;
    }
    enum confab_err err = ring_init(r, capacity);
    if (err) {
        free(r);
        return err;
    }
    *ret_ring = r;
    return CONFAB_OK;
}

void ring_free(struct ring *r)
{
    if (r) {
        ring_deinit(r);
        free(r);
    }
}
