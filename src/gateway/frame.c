/* Counted bytes: the last reference frees. */
#include "gateway/frame.h"

#include <stdlib.h>

#include "base/check.h"

struct frame_bytes *frame_bytes_new(struct pool *pool, struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame_bytes *b = pool_take(pool, sizeof(*b) + bytes.n);
    if (!b) {
        return NULL;
    }
    atomic_init(&b->refs, 1);
    b->len = (uint32_t)bytes.n;
    if (bytes.n > 0) {
        memcpy(b->data, bytes.p, bytes.n);
    }
    return b;
}

struct frame_bytes *frame_bytes_ref(struct frame_bytes *b)
{
    /* One reference is the caller's own, so that nobody else counts: no locked instruction, which
     * would wait for everything that was written before it. */
    if (atomic_load_explicit(&b->refs, memory_order_relaxed) == 1) {
        atomic_store_explicit(&b->refs, 2, memory_order_relaxed);
    } else {
        atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    }
    return b;
}

void frame_bytes_unref(struct pool *pool, struct frame_bytes *b)
{
    if (b && (atomic_load_explicit(&b->refs, memory_order_acquire) == 1 ||
              atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1)) {
        pool_give(pool, b, sizeof(*b) + b->len);
    }
}

void frame_event(struct frame *f)
{
    DCHECK(f->len >= 2);
    uint8_t small = f->data[1];
    f->head = small < 126 ? 2 : small == 126 ? 4 : 10;
    DCHECK(f->head <= f->len);
    f->plain_len = f->len - f->head;
}

struct frame *frame_new(struct pool *pool, struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    size_t size = sizeof(struct frame) + bytes.n;
    struct frame *f = pool_take(pool, size);
    if (!f) {
        return NULL;
    }
    uint8_t *data = (uint8_t *)(f + 1);
    if (bytes.n > 0) {
        memcpy(data, bytes.p, bytes.n);
    }
    *f = (struct frame){.refs = 1,
                        .len = (uint32_t)bytes.n,
                        .data = data,
                        .block = f,
                        .block_size = size,
                        .pool = pool};
    return f;
}

void frame_init_bytes(struct frame *f, struct pool *pool, struct frame_bytes *shared, void *block,
                      size_t block_size)
{
    *f = (struct frame){
        .refs = 1,
        .len = shared->len,
        .data = shared->data,
        .shared = frame_bytes_ref(shared),
        .block = block,
        .block_size = block_size,
        .pool = pool,
    };
    frame_event(f);
}

struct frame *frame_of_buf(struct buf *b)
{
    if (b->len > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame *f = pool_take(NULL, sizeof(*f));
    if (f) {
        size_t n;
        uint8_t *data = buf_detach(b, &n);
        *f = (struct frame){.refs = 1,
                            .len = (uint32_t)n,
                            .data = data,
                            .owned = data,
                            .block = f,
                            .block_size = sizeof(*f)};
    }
    return f;
}

struct frame *frame_of_static(struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame *f = pool_take(NULL, sizeof(*f));
    if (f) {
        *f = (struct frame){.refs = 1,
                            .len = (uint32_t)bytes.n,
                            .data = bytes.p,
                            .block = f,
                            .block_size = sizeof(*f)};
    }
    return f;
}

void frame_unref(struct frame *f)
{
    if (!f) {
        return;
    }
    DCHECK(f->refs > 0);
    if (--f->refs == 0) {
        for (int i = 0; i < DEFLATE_SIZES; i++) {
            frame_unref(f->packed[i]); /* these have none themselves */
        }
        frame_bytes_unref(f->pool, f->shared);
        free(f->owned);
        pool_give(f->pool, f->block, f->block_size);
    }
}

size_t frame_memory(const struct frame *f)
{
    bool is_static = !f->shared && !f->owned && f->data != (const uint8_t *)(f + 1);
    return sizeof(*f) + (is_static ? 0 : f->len);
}
