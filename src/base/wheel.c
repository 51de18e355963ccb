/*
 * Level L has 64 slots of 64^L ticks each. A timer lies in the level of the highest base-64 digit
 * in which its due tick differs from the present tick, in the slot that this digit names:
 *
 *     INVARIANT: above that digit due and present agree, and in it due is larger. So a slot's
 * timers are due in the slot's span, and when the present tick enters the span they move down a
 * level (cascade); in level 0 a slot is one tick, and its timers fire.
 *
 * What a tick moves and fires is taken out of its slots first, into two lists, and done from there,
 * some at an advance: with ten thousand connections most timers are minutes away in one slot, each
 * of them in memory that was not touched for as long.
 *
 * A bitmap per level finds the next slot with timers, so that idle stretches are skipped however
 * long. A cancelled timer does not know its slot; its bit stays and is cleared by who next finds it
 * empty.
 */
#include "base/wheel.h"

#include <string.h>

#include "base/check.h"

enum { DIGIT_BITS = 6, DIGIT_MASK = 63 };
#define TICK_MAX ((1ULL << (DIGIT_BITS * WHEEL_LEVELS)) - 1) /* 8,900 years of milliseconds */

static inline uint32_t digit(uint64_t tick, unsigned level)
{
    return (uint32_t)(tick >> (DIGIT_BITS * level)) & DIGIT_MASK;
}

void wheel_init(struct wheel *w, uint32_t tick_ms, uint64_t now_ms)
{
    CHECK(tick_ms > 0 && now_ms / tick_ms < TICK_MAX);
    memset(w, 0, sizeof(*w));
    w->tick_ms = tick_ms;
    w->tick = now_ms / tick_ms;
    w->target = w->tick;
    list_init(&w->moving);
    list_init(&w->firing);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        for (unsigned i = 0; i < WHEEL_SLOTS; i++) {
            list_init(&w->slots[level][i]);
        }
    }
}

/* due_tick >= w->tick. */
static void place(struct wheel *w, struct wheel_timer *t)
{
    uint64_t differ = t->due_tick ^ w->tick;
    unsigned level = differ == 0 ? 0 : (63U - (unsigned)__builtin_clzll(differ)) / DIGIT_BITS;
    uint32_t i = digit(t->due_tick, level);
    list_push_back(&w->slots[level][i], &t->node);
    w->maybe[level] |= 1ULL << i;
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms)
{
    wheel_cancel(w, t);
    uint64_t due = due_ms / w->tick_ms + (due_ms % w->tick_ms != 0);
    /* While advancing, what is not after the target waits for the next advance. */
    due = MIN(MAX(due, w->target + 1), TICK_MAX);
    t->due_tick = due;
    w->count++;
    place(w, t);
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
    if (wheel_timer_is_set(t)) {
        list_remove(&t->node);
        w->count--;
    }
}

/*
 * The first tick after the present one at which a slot with timers begins, UINT64_MAX without
 * timers. Lower levels come first: all of their slots begin before the next slot of a higher level
 * does.
 */
static uint64_t next_tick(struct wheel *w)
{
    for (unsigned level = 0; level < WHEEL_LEVELS; level++) {
        while (w->maybe[level] != 0) {
            uint32_t i = (uint32_t)__builtin_ctzll(w->maybe[level]);
            if (!list_is_empty(&w->slots[level][i])) {
                unsigned below = DIGIT_BITS * level;
                uint64_t above = w->tick >> below >> DIGIT_BITS << DIGIT_BITS;
                return (above | i) << below;
            }
            w->maybe[level] &= ~(1ULL << i);
        }
    }
    return UINT64_MAX;
}

/* Puts a slot's timers behind those of `list`, in their order. */
static void take_slot(struct wheel *w, unsigned level, uint32_t i, struct list *list)
{
    struct list *slot = &w->slots[level][i];
    w->maybe[level] &= ~(1ULL << i);
    if (!list_is_empty(slot)) {
        slot->next->prev = list->prev;
        list->prev->next = slot->next;
        slot->prev->next = list;
        list->prev = slot->prev;
        list_init(slot);
    }
}

/* What moves down now differs from w->tick in a lower digit, or fires: it never goes into a slot
 * that is entered at this tick. */
static void enter_tick(struct wheel *w)
{
    take_slot(w, 0, digit(w->tick, 0), &w->firing);
    for (unsigned level = WHEEL_LEVELS - 1; level > 0; level--) {
        uint32_t i = digit(w->tick, level);
        if ((w->maybe[level] >> i & 1U) != 0) {
            take_slot(w, level, i, &w->moving);
        }
    }
}

static bool is_within_tick(const struct wheel *w)
{
    return !list_is_empty(&w->moving) || !list_is_empty(&w->firing);
}

/* The next timer of this tick. A callback may take others out of the lists, by cancelling or
 * setting them. */
static void step(struct wheel *w, wheel_on_due on_due, void *arg)
{
    struct list *n = list_pop_front(&w->moving);
    if (n) {
        struct wheel_timer *t = LIST_ENTRY(n, struct wheel_timer, node);
        if (t->due_tick == w->tick) {
            list_push_back(&w->firing, &t->node);
        } else {
            place(w, t);
        }
        return;
    }
    n = list_pop_front(&w->firing);
    w->count--;
    on_due(arg, LIST_ENTRY(n, struct wheel_timer, node));
}

bool wheel_advance(struct wheel *w, uint64_t now_ms, uint32_t steps, wheel_on_due on_due, void *arg)
{
    CHECK(!w->advancing);
    w->target = MAX(w->target, MIN(now_ms / w->tick_ms, TICK_MAX - 1));
    w->advancing = true;
    for (;;) {
        for (; steps > 0 && is_within_tick(w); steps--) {
            step(w, on_due, arg);
        }
        if (is_within_tick(w) || w->tick == w->target) {
            break;
        }
        uint64_t next = next_tick(w);
        w->tick = MIN(next, w->target);
        if (next <= w->target) {
            enter_tick(w);
        }
    }
    w->advancing = false;
    return !is_within_tick(w);
}

uint64_t wheel_next_ms(struct wheel *w)
{
    uint64_t next = is_within_tick(w) ? w->tick : next_tick(w);
    return next == UINT64_MAX ? next : next * w->tick_ms;
}
