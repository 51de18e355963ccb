/*
 * Calendar arithmetic on years that begin in March: the leap day is then the last of its year, and
 * a month's first day is (153 * month + 2) / 5 days in. No tables of the system are consulted.
 */
#include "base/time_text.h"

#include <string.h>

enum { DAY_MS = 86400000 };
#define DAYS_PER_ERA 146097U /* 400 years */
#define DAYS_TO_1970 719468U /* from 0000-03-01 */

static inline void put2(char *out, uint32_t v)
{
    uint32_t tens = v * 103 >> 10; /* v / 10 below 100 */
    out[0] = (char)('0' + tens);
    out[1] = (char)('0' + v - tens * 10);
}

static void format(uint64_t ms, char out[TIME_TEXT_LEN])
{
    uint32_t days = (uint32_t)(ms / DAY_MS) + DAYS_TO_1970;
    uint32_t rest = (uint32_t)(ms % DAY_MS);

    uint32_t era = days / DAYS_PER_ERA;
    uint32_t day_of_era = days % DAYS_PER_ERA;
    /* Take out the leap days that came before, so that years are 365 days each. */
    uint32_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint32_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint32_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    uint32_t day = day_of_year - (153 * month + 2) / 5 + 1;
    uint32_t year = era * 400 + year_of_era;
    month += 3;
    if (month > 12) {
        month -= 12;
        year++;
    }

    uint32_t seconds = rest / 1000;
    uint32_t millis = rest % 1000;
    put2(out, year / 100);
    put2(out + 2, year % 100);
    out[4] = '-';
    put2(out + 5, month);
    out[7] = '-';
    put2(out + 8, day);
    out[10] = 'T';
    put2(out + 11, seconds / 3600);
    out[13] = ':';
    put2(out + 14, seconds / 60 % 60);
    out[16] = ':';
    put2(out + 17, seconds % 60);
    out[19] = '.';
    out[20] = (char)('0' + millis / 100);
    put2(out + 21, millis % 100);
    out[23] = 'Z';
}

/* Many things happen in the same millisecond: the last text of each thread is kept. */
void time_text_format(uint64_t ms, char out[TIME_TEXT_LEN])
{
    static _Thread_local uint64_t last_ms = UINT64_MAX;
    static _Thread_local char last[TIME_TEXT_LEN];
    ms = ms > TIME_TEXT_MS_MAX ? TIME_TEXT_MS_MAX : ms;
    if (ms != last_ms) {
        format(ms, last);
        last_ms = ms;
    }
    memcpy(out, last, sizeof(last));
}

void time_text_put(struct buf *b, uint64_t ms)
{
    char text[TIME_TEXT_LEN];
    time_text_format(ms, text);
    buf_put(b, text, sizeof(text));
}

/* Two digits up to `max`; anything else sets `bad` of the reader. */
static uint32_t take2(struct reader *r, uint32_t max)
{
    uint8_t a = reader_u8(r);
    uint8_t b = reader_u8(r);
    if (a < '0' || a > '9' || b < '0' || b > '9') {
        r->bad = true;
        return 0;
    }
    uint32_t v = (uint32_t)(a - '0') * 10 + (uint32_t)(b - '0');
    if (v > max) {
        r->bad = true;
    }
    return v;
}

static void expect(struct reader *r, uint8_t c)
{
    if (reader_u8(r) != c) {
        r->bad = true;
    }
}

static uint32_t month_days(uint32_t year, uint32_t month)
{
    if (month == 2) {
        return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) ? 29 : 28;
    }
    return month == 4 || month == 6 || month == 9 || month == 11 ? 30 : 31;
}

/* Days since 1970 of a valid date from 1970 on. */
static uint64_t days_of(uint32_t year, uint32_t month, uint32_t day)
{
    if (month < 3) {
        month += 12;
        year--;
    }
    uint32_t era = year / 400;
    uint32_t year_of_era = year % 400;
    uint32_t day_of_year = (153 * (month - 3) + 2) / 5 + day - 1;
    uint32_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return (uint64_t)era * DAYS_PER_ERA + day_of_era - DAYS_TO_1970;
}

/* What follows the point: 1 to 9 digits. */
static uint32_t take_fraction_ms(struct reader *r)
{
    uint32_t ms = 0;
    uint32_t digits = 0;
    while (reader_left(r) > 0 && *r->p >= '0' && *r->p <= '9') {
        uint8_t c = reader_u8(r);
        if (digits < 3) {
            ms = ms * 10 + (uint32_t)(c - '0');
        }
        digits++;
    }
    if (digits == 0 || digits > 9) {
        r->bad = true;
    }
    for (; digits < 3; digits++) {
        ms *= 10;
    }
    return ms;
}

/* The rest of the text: `Z`, or the offset from UTC in minutes. */
static int64_t take_offset_min(struct reader *r)
{
    uint8_t sign = reader_u8(r);
    if (sign == 'Z') {
        return 0;
    }
    uint32_t hours = take2(r, 23);
    expect(r, ':');
    uint32_t minutes = take2(r, 59);
    if (sign != '+' && sign != '-') {
        r->bad = true;
    }
    int64_t offset = (int64_t)hours * 60 + minutes;
    return sign == '-' ? -offset : offset;
}

bool time_text_parse(struct span text, uint64_t *ret_ms)
{
    struct reader r = reader_of(text.p, text.n);
    uint32_t century = take2(&r, 99);
    uint32_t year = century * 100 + take2(&r, 99);
    expect(&r, '-');
    uint32_t month = take2(&r, 12);
    expect(&r, '-');
    uint32_t day = take2(&r, 31);
    expect(&r, 'T');
    uint32_t hour = take2(&r, 23);
    expect(&r, ':');
    uint32_t minute = take2(&r, 59);
    expect(&r, ':');
    uint32_t second = take2(&r, 59);
    uint32_t millis = 0;
    if (reader_left(&r) > 0 && *r.p == '.') {
        (void)reader_u8(&r);
        millis = take_fraction_ms(&r);
    }
    int64_t offset_min = take_offset_min(&r);
    if (r.bad || reader_left(&r) > 0 || year < 1970 || month == 0 || day == 0 ||
        day > month_days(year, month)) {
        return false;
    }
    int64_t ms = (int64_t)days_of(year, month, day) * DAY_MS +
                 ((int64_t)(hour * 60 + minute) - offset_min) * 60000 + second * 1000 + millis;
    if (ms < 0 || (uint64_t)ms > TIME_TEXT_MS_MAX) {
        return false;
    }
    *ret_ms = (uint64_t)ms;
    return true;
}
