/*
 * Caller-owned memory for decoded text: strings with escapes and percent-encoding cannot be
 * borrowed from the input. A bump allocator over a fixed block, so that spans handed out earlier
 * stay valid. Decoding never makes text longer: a block as long as the input always suffices, and
 * one block per thread, reset before each message, serves all connections.
 */
#ifndef CONFAB_PROTO_SCRATCH_H
#define CONFAB_PROTO_SCRATCH_H

#include <stddef.h>
#include <stdint.h>

struct scratch {
    uint8_t *p;
    size_t cap;
    size_t len;
};

static inline void scratch_init(struct scratch *s, void *p, size_t cap)
{
    s->p = (uint8_t *)p;
    s->cap = cap;
    s->len = 0;
}
/* Forgets everything handed out. */
static inline void scratch_reset(struct scratch *s)
{
    s->len = 0;
}

#endif
