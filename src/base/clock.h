/*
 * Time as an operation, so that the simulator can own it. A loop reads it once per turn and passes
 * `now` to pure code.
 */
#ifndef CONFAB_BASE_CLOCK_H
#define CONFAB_BASE_CLOCK_H

#include <stdint.h>

struct clock;
struct clock_ops {
    const char *name;
    /* Milliseconds since 1970; may jump in both directions. Any thread. */
    uint64_t (*wall_ms)(struct clock *c);
    /* Nanoseconds of an unspecified origin; never goes back. Any thread. */
    uint64_t (*mono_ns)(struct clock *c);
};
struct clock {
    const struct clock_ops *ops;
};

static inline uint64_t clock_wall_ms(struct clock *c)
{
    return c->ops->wall_ms(c);
}
static inline uint64_t clock_mono_ns(struct clock *c)
{
    return c->ops->mono_ns(c);
}

/* The operating system's clocks; static, never freed. */
struct clock *clock_system(void);

#endif
