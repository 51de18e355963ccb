/* For crc32c.c and its test only: the fallback, on machines where the instruction hides it. */
#ifndef CONFAB_BASE_CRC32C_INTERNAL_H
#define CONFAB_BASE_CRC32C_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_portable(uint32_t seed, const void *p, size_t n);

#endif
