/*
 * CRC-32C (Castagnoli), in hardware where the compiler targets it. The seed is the result for the
 * bytes before, or 0: crc32c(crc32c(0, a), b) equals crc32c(0, a followed by b). Another start
 * value (such as a segment id) makes bytes of another context fail the check.
 */
#ifndef CONFAB_BASE_CRC32C_H
#define CONFAB_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t seed, const void *p, size_t n);

#endif
