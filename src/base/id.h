/*
 * Identifiers. A conversation id is 128 bits, written as 32 lower-case hex digits; a partition is
 * derived from it and never stored beside it. A message id is 63 bits, written in decimal:
 *
 *     bits 62..22  milliseconds since ID_EPOCH_MS (41 bits, enough until 2094)
 *     bits 21..12  partition (10 bits)
 *     bits 11..0   counter within the millisecond and partition
 *
 * A user id is a positive 63-bit number, written in decimal.
 */
#ifndef CONFAB_BASE_ID_H
#define CONFAB_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define ID_EPOCH_MS   1735689600000ULL /* 2025-01-01T00:00:00Z */
#define ID_PARTITIONS 1024U
#define ID_CONV_TEXT  32
#define ID_NUM_TEXT   20 /* digits of a 64-bit number, without the terminating zero */

struct conv_id {
    uint64_t hi;
    uint64_t lo;
};

static inline bool conv_id_eq(struct conv_id a, struct conv_id b)
{
    return a.hi == b.hi && a.lo == b.lo;
}
static inline bool conv_id_is_zero(struct conv_id a)
{
    return (a.hi | a.lo) == 0;
}
/* Big-endian order: the same as the order of the 16 stored bytes. */
static inline int conv_id_cmp(struct conv_id a, struct conv_id b)
{
    if (a.hi != b.hi) {
        return a.hi < b.hi ? -1 : 1;
    }
    return a.lo < b.lo ? -1 : a.lo > b.lo;
}

/* Direct conversation of two people: the same for both orders. */
struct conv_id conv_id_direct(uint64_t user_a, uint64_t user_b);
/* A user's own conversation. */
struct conv_id conv_id_self(uint64_t user);
/* hash(conversation) mod ID_PARTITIONS. */
uint16_t conv_id_partition(struct conv_id id);
/* 16 bytes, big endian, so that stored keys sort as conv_id_cmp does. */
void conv_id_write(struct conv_id id, uint8_t out[16]);
struct conv_id conv_id_read(const uint8_t in[16]);
/* Exactly 32 hex digits, not terminated. */
void conv_id_text(struct conv_id id, char out[ID_CONV_TEXT]);
/* Accepts exactly 32 lower-case hex digits that are not all zero. */
bool conv_id_parse(struct span text, struct conv_id *ret_id);

/* Decimal without sign or leading zeros, 1 to 2^63 - 1. */
bool id_parse(struct span text, uint64_t *ret_id);
/* Writes decimal digits, returns their number; not terminated. */
size_t id_text(uint64_t id, char out[ID_NUM_TEXT]);

static inline uint64_t message_id_make(uint64_t time_ms, uint16_t partition, uint32_t counter)
{
    return ((time_ms - ID_EPOCH_MS) << 22) | ((uint64_t)(partition & 1023U) << 12) |
           (counter & 4095U);
}
static inline uint64_t message_id_time_ms(uint64_t id)
{
    return (id >> 22) + ID_EPOCH_MS;
}
static inline uint16_t message_id_partition(uint64_t id)
{
    return (uint16_t)((id >> 12) & 1023U);
}

#endif
