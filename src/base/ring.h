/*
 * Bounded ring of pointers between two threads: one pushes, one pops, no locks. Each side keeps a
 * copy of the other's position on its own cache line and looks across only when the copy says full
 * or empty. What the producer wrote before a push is visible to the consumer after the pop.
 *
 * A full ring is the caller's to count and to handle; nothing waits here.
 */
#ifndef CONFAB_BASE_RING_H
#define CONFAB_BASE_RING_H

#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define RING_LINE         64U
#define RING_CAPACITY_MAX (1U << 30)

/* Needs 64-byte alignment: on the heap use ring_new or aligned_alloc for what embeds it. */
struct ring {
    alignas(RING_LINE) _Atomic(uint32_t) head; /* next to be written; the producer's */
    uint32_t tail_seen;
    alignas(RING_LINE) _Atomic(uint32_t) tail; /* next to be read; the consumer's */
    uint32_t head_seen;
    alignas(RING_LINE) void **items; /* constant after init */
    uint32_t mask;
};

/* Capacity (1 to RING_CAPACITY_MAX) is rounded up to a power of two. CONFAB_NOMEM, CONFAB_INVALID.
 */
CONFAB_NODISCARD enum confab_err ring_init(struct ring *r, uint32_t capacity);
/* Accepts a zeroed ring. Items still inside are the caller's. */
void ring_deinit(struct ring *r);
/* As ring_init, with aligned memory; free with ring_free, which accepts NULL. */
CONFAB_NODISCARD enum confab_err ring_new(uint32_t capacity, struct ring **ret_ring);
void ring_free(struct ring *r);

static inline uint32_t ring_capacity(const struct ring *r)
{
    return r->mask + 1;
}

/* Producer. False when full. The item is not NULL. */
static inline bool ring_push(struct ring *r, void *item)
{
    uint32_t head = atomic_load_explicit(&r->head, memory_order_relaxed);
    if (UNLIKELY(head - r->tail_seen > r->mask)) {
        r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
        if (head - r->tail_seen > r->mask) {
            return false;
        }
    }
    r->items[head & r->mask] = item;
    atomic_store_explicit(&r->head, head + 1, memory_order_release);
    return true;
}

/* Producer. At least so many pushes will succeed. */
static inline uint32_t ring_free_slots(struct ring *r)
{
    r->tail_seen = atomic_load_explicit(&r->tail, memory_order_acquire);
    return r->mask + 1 - (atomic_load_explicit(&r->head, memory_order_relaxed) - r->tail_seen);
}

/* Consumer. NULL when empty. */
static inline void *ring_pop(struct ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    if (tail == r->head_seen) {
        r->head_seen = atomic_load_explicit(&r->head, memory_order_acquire);
        if (tail == r->head_seen) {
            return NULL;
        }
    }
    void *item = r->items[tail & r->mask];
    atomic_store_explicit(&r->tail, tail + 1, memory_order_release);
    return item;
}

/* Consumer. What the next pop will give, if it is known without a look across; else NULL. */
static inline void *ring_peek(const struct ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_relaxed);
    return tail == r->head_seen ? NULL : r->items[tail & r->mask];
}

/* Either side, or a third for statistics: a value that was true a moment ago. */
static inline uint32_t ring_len(const struct ring *r)
{
    uint32_t tail = atomic_load_explicit(&r->tail, memory_order_acquire);
    uint32_t head = atomic_load_explicit(&r->head, memory_order_acquire);
    uint32_t len = head - tail;
    return len > r->mask + 1 ? r->mask + 1 : len;
}

#endif
