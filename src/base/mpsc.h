/*
 * Queue of embedded nodes: any thread pushes, one thread drains. First in, first out for each
 * pusher, and a node pushed after another was pushed comes after it. Unbounded by itself: callers
 * bound it by bounding the nodes that exist.
 *
 * A push that finds the queue empty returns true: that pusher, and only that one, wakes the
 * consumer. What was written before a push is visible after the drain that returns the node.
 */
#ifndef CONFAB_BASE_MPSC_H
#define CONFAB_BASE_MPSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Embedded in the caller's object, which stays the caller's and must live until it is drained. */
struct mpsc_node {
    struct mpsc_node *next;
};
struct mpsc {
    _Atomic(struct mpsc_node *) top; /* last pushed first */
};

static inline void mpsc_init(struct mpsc *q)
{
    atomic_init(&q->top, NULL);
}

/* Any thread. True when the queue was empty: wake the consumer. */
static inline bool mpsc_push(struct mpsc *q, struct mpsc_node *node)
{
    struct mpsc_node *top = atomic_load_explicit(&q->top, memory_order_relaxed);
    do {
        node->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&q->top, &top, node, memory_order_release,
                                                    memory_order_relaxed));
    return top == NULL;
}

/* Any thread; true a moment ago. */
static inline bool mpsc_is_empty(const struct mpsc *q)
{
    return atomic_load_explicit(&q->top, memory_order_relaxed) == NULL;
}

/* The consumer. Everything queued, oldest first, linked by `next`; NULL when there is nothing. */
struct mpsc_node *mpsc_drain(struct mpsc *q);

#endif
