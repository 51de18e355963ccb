/*
 * Immutable, counted bytes on their way to connections. frame_bytes are an event in its WebSocket
 * frame, shared between shards (atomic count, one step per shard); a frame is one shard's handle on
 * them or on bytes of its own, with a plain count, one step per connection.
 */
#ifndef CONFAB_GATEWAY_FRAME_H
#define CONFAB_GATEWAY_FRAME_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/pool.h"
#include "proto/deflate.h"

struct frame_bytes {
    atomic_uint refs;
    uint32_t len;
    uint8_t data[];
};
/* A copy with one reference; NULL when out of memory. The pool is the calling thread's, or NULL. */
struct frame_bytes *frame_bytes_new(struct pool *pool, struct span bytes);
struct frame_bytes *frame_bytes_ref(struct frame_bytes *b);
/* Any thread; NULL is fine. */
void frame_bytes_unref(struct pool *pool, struct frame_bytes *b);

/*
 * What may be done with it when there is too much. Later ones go first: an ephemeral one is late as
 * soon as it waits, a live one is in the log and comes with the next resume, an answer is awaited.
 */
enum frame_kind { FRAME_ANSWER = 0, FRAME_LIVE, FRAME_EPHEMERAL };

struct frame {
    uint32_t refs;
    uint32_t queued; /* places in output queues, see frame_memory */
    uint32_t len;
    const uint8_t *data;
    struct frame_bytes *shared; /* NULL: not shared */
    uint8_t *owned;             /* NULL: the bytes follow the struct, are shared, or static */
    void *block;                /* what is freed with the last reference, the frame in it */
    size_t block_size;          /* as it was asked for */
    struct pool *pool;          /* of its shard: where block and shared bytes go; may be NULL */
    uint8_t head;  /* an event: bytes of its WebSocket header; 0: anything else, see frame_event */
    uint8_t kind;  /* enum frame_kind; whoever made it sets it */
    bool deflated; /* the payload is */
    uint8_t tried; /* bit of each window with which it was compressed */
    uint32_t plain_len;                  /* an event: bytes of its text */
    struct frame *packed[DEFLATE_SIZES]; /* compressed forms, see gateway/pack.h; NULL: none */
};
/* All with one reference; NULL when out of memory. */
struct frame *frame_new(struct pool *pool, struct span bytes); /* copies */
/* Of shared bytes, to which it takes a reference, and a part of `block`, which it gives back at its
 * end: no allocation. One reference, too. */
void frame_init_bytes(struct frame *f, struct pool *pool, struct frame_bytes *shared, void *block,
                      size_t block_size);
struct frame *frame_of_buf(struct buf *b); /* takes the bytes; on failure they stay in the buf */
struct frame *frame_of_static(struct span bytes); /* bytes that are there for ever */
static inline struct frame *frame_ref(struct frame *f)
{
    f->refs++;
    return f;
}
void frame_unref(struct frame *f); /* NULL is fine */
/* Bytes that it takes, however many queues it is in. */
size_t frame_memory(const struct frame *f);

/* It is one event in one text frame, written by the server: it may share a frame with others. */
void frame_event(struct frame *f);
/* What is in the WebSocket frame of an event. */
static inline struct span frame_payload(const struct frame *f)
{
    return span_of(f->data + f->head, f->len - f->head);
}

#endif
