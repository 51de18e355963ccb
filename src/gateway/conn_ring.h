/*
 * A queue of connections, by index: first in, first out, grown as needed. Who is in it is for the
 * owner to know, by a flag of the connection.
 */
#ifndef CONFAB_GATEWAY_CONN_RING_H
#define CONFAB_GATEWAY_CONN_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Zeroed is empty. */
struct conn_ring {
    uint32_t *at;
    uint32_t cap;
    uint32_t first;
    uint32_t n;
};

/* False: no memory, and nothing has changed. */
bool conn_ring_push(struct conn_ring *r, uint32_t index);
/* Not when it is empty. */
uint32_t conn_ring_pop(struct conn_ring *r);
void conn_ring_deinit(struct conn_ring *r);

static inline size_t conn_ring_bytes(const struct conn_ring *r)
{
    return r->cap * sizeof(*r->at);
}

#endif
