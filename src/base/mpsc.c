#include "base/mpsc.h"

/*
 * Taking the whole chain at once leaves no window in which a node could be popped and pushed again
 * under a pusher's feet, so the plain compare-and-exchange in mpsc_push needs no counters.
 */
struct mpsc_node *mpsc_drain(struct mpsc *q)
{
    struct mpsc_node *node = atomic_exchange_explicit(&q->top, NULL, memory_order_acquire);
    struct mpsc_node *oldest = NULL;
    while (node) {
        struct mpsc_node *next = node->next;
        node->next = oldest;
        oldest = node;
        node = next;
    }
    return oldest;
}
