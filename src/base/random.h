/* Randomness as an operation: the system's for a server, a seeded one for the simulator. */
#ifndef CONFAB_BASE_RANDOM_H
#define CONFAB_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random_source;
struct random_ops {
    const char *name;
    /* Fills `out`; never fails. The system source is for any thread, a seeded one for one. */
    void (*fill)(struct random_source *r, void *out, size_t n);
};
struct random_source {
    const struct random_ops *ops;
};

static inline void random_fill(struct random_source *r, void *out, size_t n)
{
    r->ops->fill(r, out, n);
}
uint64_t random_u64(struct random_source *r);
/* Uniform in [0, n); n > 0. */
uint64_t random_below(struct random_source *r, uint64_t n);

/* Cryptographically secure; static, never freed. */
struct random_source *random_system(void);

/* Deterministic generator for tests and the simulator; not for secrets. */
struct random_seeded {
    struct random_source base;
    uint64_t state[4];
};
void random_seeded_init(struct random_seeded *r, uint64_t seed);

#endif
