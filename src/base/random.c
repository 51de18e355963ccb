/*
 * The system source is libsodium's (getrandom underneath). The seeded one is xoshiro256** of
 * Blackman and Vigna, its state filled by splitmix64 so that neighbouring seeds give unrelated
 * sequences.
 */
#include "base/random.h"

#include <sodium.h>
#include <string.h>

#include "base/check.h"

__extension__ typedef unsigned __int128 u128;

uint64_t random_u64(struct random_source *r)
{
    uint64_t v;
    random_fill(r, &v, sizeof(v));
    return v;
}

uint64_t random_below(struct random_source *r, uint64_t n)
{
    CHECK(n > 0);
    /* Multiply instead of dividing; of the 2^64 draws, those that would favour a result are
     * redrawn. */
    u128 m = (u128)random_u64(r) * n;
    if (UNLIKELY((uint64_t)m < n)) {
        uint64_t uneven = (0 - n) % n;
        while ((uint64_t)m < uneven) {
            m = (u128)random_u64(r) * n;
        }
    }
    return (uint64_t)(m >> 64);
}

static void system_fill(struct random_source *r, void *out, size_t n)
{
    (void)r;
    randombytes_buf(out, n);
}

static const struct random_ops system_ops = {
    .name = "system",
    .fill = system_fill,
};

struct random_source *random_system(void)
{
    static struct random_source source = {&system_ops};
    /* May be repeated and is safe from any thread; without it the first draws are not. */
    CHECK(sodium_init() >= 0);
    return &source;
}

static inline uint64_t rotl(uint64_t x, unsigned k)
{
    return (x << k) | (x >> (64U - k));
}

static uint64_t seeded_next(struct random_seeded *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

static void seeded_fill(struct random_source *source, void *out, size_t n)
{
    struct random_seeded *r = CONTAINER_OF(source, struct random_seeded, base);
    uint8_t *p = out;
    while (n > 0) {
        /* Byte by byte from the low end, so that every machine sees the same sequence. */
        uint64_t v = seeded_next(r);
        for (unsigned i = 0; i < 8 && n > 0; i++, n--) {
            *p++ = (uint8_t)(v >> (8 * i));
        }
    }
}

static const struct random_ops seeded_ops = {
    .name = "seeded",
    .fill = seeded_fill,
};

void random_seeded_init(struct random_seeded *r, uint64_t seed)
{
    r->base.ops = &seeded_ops;
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15U;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9U;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebU;
        r->state[i] = z ^ (z >> 31);
    }
}
