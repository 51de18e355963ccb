/*
 * Fast hashes of bytes (XXH3), for tables and fingerprints; not against forgery. The result for
 * given bytes and seed never changes and is the same on every machine, so it may be stored.
 */
#ifndef CONFAB_BASE_HASH64_H
#define CONFAB_BASE_HASH64_H

#include <stddef.h>
#include <stdint.h>

struct hash128 {
    uint64_t hi;
    uint64_t lo;
};

uint64_t hash64(const void *p, size_t n, uint64_t seed);
struct hash128 hash128(const void *p, size_t n, uint64_t seed);

#endif
