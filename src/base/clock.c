/* The operating system's clocks. */
#include "base/clock.h"

#include <time.h>

#include "base/check.h"

static uint64_t system_wall_ms(struct clock *c)
{
    (void)c;
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return ts.tv_sec < 0 ? 0 : (uint64_t)ts.tv_sec * 1000U + (uint64_t)ts.tv_nsec / 1000000U;
}

static uint64_t system_mono_ns(struct clock *c)
{
    (void)c;
    struct timespec ts;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

static const struct clock_ops system_ops = {
    .name = "system",
    .wall_ms = system_wall_ms,
    .mono_ns = system_mono_ns,
};

struct clock *clock_system(void)
{
    /* Never written, but callers hold clocks as mutable objects. */
    static struct clock system_clock = {&system_ops};
    return &system_clock;
}
