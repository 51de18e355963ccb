#include "adapters/mem/clock_sim.h"

#include "base/compiler.h"

#define NS_PER_MS 1000000U

static uint64_t op_wall_ms(struct clock *c)
{
    return atomic_load(&CONTAINER_OF(c, struct clock_sim, base)->wall_ns) / NS_PER_MS;
}

static uint64_t op_mono_ns(struct clock *c)
{
    return atomic_load(&CONTAINER_OF(c, struct clock_sim, base)->mono_ns);
}

static const struct clock_ops OPS = {"sim", op_wall_ms, op_mono_ns};

void clock_sim_init(struct clock_sim *c, uint64_t wall_ms)
{
    c->base.ops = &OPS;
    atomic_init(&c->wall_ns, wall_ms * NS_PER_MS);
    /* Not 0: code that takes 0 for "never" would hide a fault here only. */
    atomic_init(&c->mono_ns, (uint64_t)1000 * NS_PER_MS);
}

void clock_sim_advance(struct clock_sim *c, uint64_t ns)
{
    atomic_fetch_add(&c->wall_ns, ns);
    atomic_fetch_add(&c->mono_ns, ns);
}

void clock_sim_advance_to(struct clock_sim *c, uint64_t mono_ns)
{
    uint64_t now = atomic_load(&c->mono_ns);
    if (mono_ns > now) {
        clock_sim_advance(c, mono_ns - now);
    }
}

void clock_sim_set_wall(struct clock_sim *c, uint64_t wall_ms)
{
    atomic_store(&c->wall_ns, wall_ms * NS_PER_MS);
}
