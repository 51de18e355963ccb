/*
 * Immutable, counted bytes on their way to connections. frame_bytes are shared between shards
 * (atomic count, one step per shard); a frame is one shard's handle on them or on bytes of its own,
 * with a plain count, one step per connection.
 */
#ifndef CONFAB_GATEWAY_FRAME_H
#define CONFAB_GATEWAY_FRAME_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"

struct frame_bytes {
    atomic_uint refs;
    uint32_t len;
    uint8_t data[];
};
/* A copy with one reference; NULL when out of memory. */
struct frame_bytes *frame_bytes_new(struct span bytes);
struct frame_bytes *frame_bytes_ref(struct frame_bytes *b);
void frame_bytes_unref(struct frame_bytes *b); /* any thread; NULL is fine */

struct frame {
    uint32_t refs;
    uint32_t len;
    const uint8_t *data;
    struct frame_bytes *shared; /* NULL: not shared */
    uint8_t *owned;             /* NULL: the bytes follow the struct, are shared, or static */
};
/* All with one reference; NULL when out of memory. */
struct frame *frame_new(struct span bytes);               /* copies */
struct frame *frame_of_bytes(struct frame_bytes *shared); /* takes a reference of its own */
struct frame *frame_of_buf(struct buf *b); /* takes the bytes; on failure they stay in the buf */
struct frame *frame_of_static(struct span bytes); /* bytes that are there for ever */
static inline struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}
void frame_unref(struct frame *f); /* NULL is fine */

#endif
