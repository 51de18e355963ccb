/* Counted bytes: the last reference frees. */
#include "gateway/frame.h"

#include <stdlib.h>

#include "base/check.h"

struct frame_bytes *frame_bytes_new(struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame_bytes *b = malloc(sizeof(*b) + bytes.n);
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
    atomic_fetch_add_explicit(&b->refs, 1, memory_order_relaxed);
    return b;
}

void frame_bytes_unref(struct frame_bytes *b)
{
    if (b && atomic_fetch_sub_explicit(&b->refs, 1, memory_order_acq_rel) == 1) {
        free(b);
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

struct frame *frame_new(struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame *f = malloc(sizeof(*f) + bytes.n);
    if (!f) {
        return NULL;
    }
    uint8_t *data = (uint8_t *)(f + 1);
    if (bytes.n > 0) {
        memcpy(data, bytes.p, bytes.n);
    }
    *f = (struct frame){.refs = 1, .len = (uint32_t)bytes.n, .data = data, .block = f};
    return f;
}

void frame_init_bytes(struct frame *f, struct frame_bytes *shared, void *block)
{
    *f = (struct frame){
        .refs = 1,
        .len = shared->len,
        .data = shared->data,
        .shared = frame_bytes_ref(shared),
        .block = block,
    };
    frame_event(f);
}

struct frame *frame_of_buf(struct buf *b)
{
    if (b->len > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame *f = malloc(sizeof(*f));
    if (f) {
        size_t n;
        uint8_t *data = buf_detach(b, &n);
        *f = (struct frame){.refs = 1, .len = (uint32_t)n, .data = data, .owned = data, .block = f};
    }
    return f;
}

struct frame *frame_of_static(struct span bytes)
{
    if (bytes.n > UINT32_MAX / 2) {
        return NULL;
    }
    struct frame *f = malloc(sizeof(*f));
    if (f) {
        *f = (struct frame){.refs = 1, .len = (uint32_t)bytes.n, .data = bytes.p, .block = f};
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
        frame_bytes_unref(f->shared);
        free(f->owned);
        free(f->block);
    }
}

size_t frame_memory(const struct frame *f)
{
    bool is_static = !f->shared && !f->owned && f->data != (const uint8_t *)(f + 1);
    return sizeof(*f) + (is_static ? 0 : f->len);
}
