/* RFC 3339 times, in UTC and with milliseconds, as the wire has them: 2025-01-31T08:15:30.123Z. */
#ifndef CONFAB_BASE_TIME_TEXT_H
#define CONFAB_BASE_TIME_TEXT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define TIME_TEXT_LEN    24U
#define TIME_TEXT_MS_MAX 253402300799999ULL /* 9999-12-31T23:59:59.999Z */

/* Milliseconds since 1970; exactly 24 characters, not terminated. Above the maximum: the maximum.
 */
void time_text_format(uint64_t ms, char out[TIME_TEXT_LEN]);
void time_text_put(struct buf *b, uint64_t ms);
/*
 * Date, `T`, time with seconds, optionally a fraction (1 to 9 digits; what is below a millisecond
 * is dropped), then `Z` or +hh:mm or -hh:mm. Upper case only, no leap seconds, years 1970 to 9999.
 * False leaves ret_ms as it was.
 */
bool time_text_parse(struct span text, uint64_t *ret_ms);

#endif
