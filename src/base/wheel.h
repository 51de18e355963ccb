/*
 * Hierarchical timer wheel: setting and cancelling cost the same whatever the number of timers, and
 * a timer is touched again only when it fires or, if far away, once per level on its way down.
 * Timers are embedded in their owners; the wheel owns nothing and allocates nothing (about 8 KiB
 * itself).
 *
 * Time is any millisecond clock that the caller passes in; one that goes back is taken to stand
 * still. A timer never fires early and fires at the first advance at or after its due time, rounded
 * up to a tick; at a later one when as many are due as one may touch. Two timers of different ticks
 * fire in their order. One thread at a time.
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
    uint64_t tick;   /* everything due before has fired, and at it but for the two lists */
    uint64_t target; /* the tick to reach; equal to `tick` once all is done that was due */
    uint32_t tick_ms;
    bool advancing;
    size_t count;
    struct list moving;           /* of `tick`: on their way to a lower level */
    struct list firing;           /* of `tick`: due */
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
 * Fires what is due up to now_ms, but touches at most `steps` timers, those that it moves down a
 * level included; true when nothing was left for the next advance. The timer is unset when its
 * callback runs; the callback may set, cancel or free any timer, but not call wheel_advance. What
 * is set for a time up to now_ms fires at a later advance, so a callback cannot keep this one
 * going.
 */
bool wheel_advance(struct wheel *w, uint64_t now_ms, uint32_t steps, wheel_on_due on_due,
                   void *arg);
/*
 * When to advance next, for a poll's timeout: not later than the first due time, possibly earlier
 * for timers more than 64 ticks away; a time that is past when something was left. UINT64_MAX when
 * no timer is set.
 */
uint64_t wheel_next_ms(struct wheel *w);
static inline size_t wheel_count(const struct wheel *w)
{
    return w->count;
}

#endif
