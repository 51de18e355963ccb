#include "gateway/conn_ring.h"

#include <stdlib.h>

#include "base/compiler.h"

#define CAP_MIN 64U /* capacities are powers of two */

static bool conn_ring_grow(struct conn_ring *r)
{
    uint32_t cap = MAX(CAP_MIN, r->cap * 2);
    uint32_t *at = malloc(cap * sizeof(*at));
    if (!at) {
        return false;
    }
    for (uint32_t i = 0; i < r->n; i++) {
        at[i] = r->at[(r->first + i) & (r->cap - 1)];
    }
    free(r->at);
    *r = (struct conn_ring){.at = at, .cap = cap, .n = r->n};
    return true;
}

bool conn_ring_push(struct conn_ring *r, uint32_t index)
{
    if (r->n == r->cap && !conn_ring_grow(r)) {
        return false;
    }
    r->at[(r->first + r->n++) & (r->cap - 1)] = index;
    return true;
}

uint32_t conn_ring_pop(struct conn_ring *r)
{
    uint32_t index = r->at[r->first];
    r->first = (r->first + 1) & (r->cap - 1);
    r->n--;
    return index;
}

void conn_ring_deinit(struct conn_ring *r)
{
    free(r->at);
    *r = (struct conn_ring){0};
}
