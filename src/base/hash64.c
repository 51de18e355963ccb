/* XXH3 inlined here once, so that no other file pays for compiling it. */
#define XXH_INLINE_ALL
#include "base/hash64.h"

#include <xxhash.h>

uint64_t hash64(const void *p, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(p, n, seed);
}

struct hash128 hash128(const void *p, size_t n, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(p, n, seed);
    return (struct hash128){h.high64, h.low64};
}
