/*
 * Hierarchical timer wheel: setting and cancelling cost the same whatever the number of timers, and
 * a timer is touched again only when it fires or, if far away, once per level on its way down.
 * Timers are embedded in their owners; the wheel owns nothing and allocates nothing (about 8 KiB
 * itself).
 *
 * Time is any millisecond clock that the caller passes in; one that goes back is taken to stand
 * still. A timer never fires early and fires at the first advance at or after its due time, rounded
 * up to a tick. Two timers of different ticks fire in their order. One thread at a time.
 */
#ifndef CONFAB_BASE_WHEEL_H
#define CONFAB_BASE_WHEEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"

#define WHEEL_LEVELS 8U
#define WHEEL_SLOTS  64U

struct wheel_timer {
    struct list node;
    uint64_t due_tick;
};

struct wheel {
    uint64_t tick;   /* everything due up to here has fired */
    uint64_t target; /* while advancing: the tick to reach; otherwise equal to `tick` */
    uint32_t tick_ms;
    bool advancing;
    size_t count;
    uint64_t maybe[WHEEL_LEVELS]; /* bit set: the slot may hold timers; clear: it holds none */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

typedef void (*wheel_on_due)(void *arg, struct wheel_timer *timer);

/* The wheel must not be moved afterwards. tick_ms is at least 1. */
void wheel_init(struct wheel *w, uint32_t tick_ms, uint64_t now_ms);

/* A timer must be set up once before use; an unset one may be freed at will. */
static inline void wheel_timer_init(struct wheel_timer *t)
{
    list_init(&t->node);
    t->due_tick = 0;
}
static inline bool wheel_timer_is_set(const struct wheel_timer *t)
{
    return list_is_linked(&t->node);
}
/* Sets or moves the timer. A time that is not after now is due at the next tick. */
void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms);
/* Harmless on an unset timer. */
void wheel_cancel(struct wheel *w, struct wheel_timer *t);
/*
 * Fires what is due up to now_ms. The timer is unset when its callback runs; the callback may set,
 * cancel or free any timer, but not call wheel_advance. What it sets for a time up to now_ms fires
 * at the next advance, so a callback cannot keep this one going.
 */
void wheel_advance(struct wheel *w, uint64_t now_ms, wheel_on_due on_due, void *arg);
/*
 * When to advance next, for a poll's timeout: not later than the first due time, possibly earlier
 * for timers more than 64 ticks away. UINT64_MAX when no timer is set.
 */
uint64_t wheel_next_ms(struct wheel *w);
static inline size_t wheel_count(const struct wheel *w)
{
    return w->count;
}

#endif
