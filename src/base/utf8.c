/*
 * The state between bytes says how many continuation bytes are missing and which range the next one
 * must lie in; only the first continuation byte ever has a narrower range than 80..BF:
 *
 *     bits 0..7  missing    bits 8..15  lowest    bits 16..23  highest
 *
 *     lead     missing  next byte
 *     C2..DF   1        80..BF
 *     E0       2        A0..BF     (below: overlong)
 *     E1..EF   2        80..BF     except ED: 80..9F (above: surrogates)
 *     F0       3        90..BF     (below: overlong)
 *     F1..F3   3        80..BF
 *     F4       3        80..8F     (above: beyond U+10FFFF)
 */
#include "base/utf8.h"

#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

#define STATE(missing, lowest, highest)                                                            \
    ((uint32_t)(missing) | (uint32_t)(lowest) << 8 | (uint32_t)(highest) << 16)

static const uint64_t high_bits = 0x8080808080808080U;

static uint32_t lead_state(uint8_t c)
{
    if (c < 0xc2 || c > 0xf4) {
        return UTF8_REJECT;
    }
    if (c < 0xe0) {
        return STATE(1, 0x80, 0xbf);
    }
    if (c < 0xf0) {
        return STATE(2, c == 0xe0 ? 0xa0 : 0x80, c == 0xed ? 0x9f : 0xbf);
    }
    return STATE(3, c == 0xf0 ? 0x90 : 0x80, c == 0xf4 ? 0x8f : 0xbf);
}

static inline uint64_t load64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/*
 * Texts come in one piece nearly always, and then four times faster by whole characters than
 * through the state. The table above is spelled out here a second time for that.
 *
 * Length of the whole character at p, of which at least 4 bytes can be read; 0 when it is bad.
 */
static inline size_t whole_char(const uint8_t *p)
{
    uint8_t c = p[0];
    if (c >= 0xc2 && c <= 0xdf) {
        return (p[1] & 0xc0) == 0x80 ? 2 : 0;
    }
    if (c >= 0xe0 && c <= 0xef) {
        uint8_t lowest = c == 0xe0 ? 0xa0 : 0x80;
        uint8_t highest = c == 0xed ? 0x9f : 0xbf;
        return p[1] >= lowest && p[1] <= highest && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (c >= 0xf0 && c <= 0xf4) {
        uint8_t lowest = c == 0xf0 ? 0x90 : 0x80;
        uint8_t highest = c == 0xf4 ? 0x8f : 0xbf;
        bool rest = ((p[2] & 0xc0) == 0x80) & ((p[3] & 0xc0) == 0x80);
        return p[1] >= lowest && p[1] <= highest && rest ? 4 : 0;
    }
    return 0;
}

/* Goes on from i, over ASCII only: to its end, or up to 7 bytes before that. */
static inline size_t skip_ascii(const uint8_t *p, size_t i, size_t n)
{
#if defined(__SSE2__)
    for (; n - i >= 32; i += 32) {
        __m128i a = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i b = _mm_loadu_si128((const __m128i *)(const void *)(p + i + 16));
        if (_mm_movemask_epi8(_mm_or_si128(a, b)) != 0) {
            break;
        }
    }
#endif
    while (n - i >= 8 && (load64(p + i) & high_bits) == 0) {
        i += 8;
    }
    return i;
}

/* From a boundary on: skips whole characters while 4 bytes can be read, up to the first bad one. */
static size_t skip_whole_chars(const uint8_t *p, size_t i, size_t n)
{
    while (n - i >= 4) {
        if (p[i] < 0x80) {
            i = skip_ascii(p, i, n);
            while (n - i >= 4 && p[i] < 0x80) {
                i++;
            }
            continue;
        }
        size_t len = whole_char(p + i);
        if (len == 0) {
            break;
        }
        i += len;
    }
    return i;
}

uint32_t utf8_step(uint32_t state, const void *text, size_t n)
{
    const uint8_t *p = text;
    size_t i = 0;
    if (state == UTF8_REJECT) {
        return state;
    }
    while (i < n) {
        if (state == UTF8_ACCEPT) {
            i = skip_whole_chars(p, i, n);
            while (i < n && p[i] < 0x80) {
                i++;
            }
            if (i == n) {
                break;
            }
            state = lead_state(p[i++]);
            if (state == UTF8_REJECT) {
                return state;
            }
            continue;
        }
        uint8_t c = p[i++];
        if (c < (uint8_t)(state >> 8) || c > (uint8_t)(state >> 16)) {
            return UTF8_REJECT;
        }
        uint8_t missing = (uint8_t)(state - 1);
        state = missing == 0 ? UTF8_ACCEPT : STATE(missing, 0x80, 0xbf);
    }
    return state;
}

static inline bool is_continuation(uint8_t c)
{
    return (c & 0xc0) == 0x80;
}

size_t utf8_count(const void *text, size_t n)
{
    const uint8_t *p = text;
    size_t continuations = 0;
    size_t i = 0;
    for (; n - i >= 8; i += 8) {
        /* A continuation byte has bit 7 set and bit 6 clear. */
        uint64_t v = load64(p + i);
        continuations += (size_t)__builtin_popcountll(v & (~v << 1) & high_bits);
    }
    for (; i < n; i++) {
        continuations += is_continuation(p[i]);
    }
    return n - continuations;
}

size_t utf8_prefix(const void *text, size_t n, size_t chars)
{
    const uint8_t *p = text;
    for (size_t i = 0; i < n; i++) {
        if (!is_continuation(p[i]) && chars-- == 0) {
            return i;
        }
    }
    return n;
}
