#define XXH_INLINE_ALL
#include "base/id.h"

#include <endian.h>
#include <string.h>
#include <xxhash.h>

/* Seeds keep the three uses of the same hash function apart. They are part of the stored format. */
enum { SEED_DIRECT = 1, SEED_SELF = 2, SEED_PARTITION = 3 };

static void put_be64(uint8_t *p, uint64_t v)
{
    v = htobe64(v);
    memcpy(p, &v, sizeof(v));
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof(v));
    return be64toh(v);
}

static struct conv_id hash_id(const void *p, size_t n, uint64_t seed)
{
    XXH128_hash_t h = XXH3_128bits_withSeed(p, n, seed);
    return (struct conv_id){h.high64, h.low64 | 1};
}

struct conv_id conv_id_direct(uint64_t user_a, uint64_t user_b)
{
    uint8_t key[16];
    put_be64(key, MIN(user_a, user_b));
    put_be64(key + 8, MAX(user_a, user_b));
    return hash_id(key, sizeof(key), SEED_DIRECT);
}

struct conv_id conv_id_self(uint64_t user)
{
    uint8_t key[8];
    put_be64(key, user);
    return hash_id(key, sizeof(key), SEED_SELF);
}

uint16_t conv_id_partition(struct conv_id id)
{
    uint8_t key[16];
    conv_id_write(id, key);
    return (uint16_t)(XXH3_64bits_withSeed(key, sizeof(key), SEED_PARTITION) % ID_PARTITIONS);
}

void conv_id_write(struct conv_id id, uint8_t out[16])
{
    put_be64(out, id.hi);
    put_be64(out + 8, id.lo);
}

struct conv_id conv_id_read(const uint8_t in[16])
{
    return (struct conv_id){get_be64(in), get_be64(in + 8)};
}

/* The 16 hex digits of v: nibbles in bytes of their own, then '0' added, and for those above 9 what
 * leads on to 'a'. */
static void put_hex64(char *out, uint64_t v)
{
    for (unsigned half = 0; half < 2; half++) {
        uint64_t x = half == 0 ? v >> 32 : v & 0xffffffffU;
        x = (x | x << 16) & 0x0000ffff0000ffffU;
        x = (x | x << 8) & 0x00ff00ff00ff00ffU;
        x = (x | x << 4) & 0x0f0f0f0f0f0f0f0fU;
        uint64_t above = (x + 0x0606060606060606U) >> 4 & 0x0101010101010101U;
        put_be64((uint8_t *)out + 8U * half, x + 0x3030303030303030U + above * ('a' - '0' - 10));
    }
}

void conv_id_text(struct conv_id id, char out[ID_CONV_TEXT])
{
    put_hex64(out, id.hi);
    put_hex64(out + 16, id.lo);
}

/*
 * 8 hex digits as one word; false when one is not. A letter has bit 6: its value is that of its low
 * nibble and 9. Written out again the values must give the same text, or there was something else.
 */
static bool parse_hex32(const uint8_t *p, uint64_t *ret)
{
    uint64_t text = get_be64(p);
    uint64_t x = (text & 0x0f0f0f0f0f0f0f0fU) + (text >> 6 & 0x0101010101010101U) * 9;
    uint64_t above = (x + 0x0606060606060606U) >> 4 & 0x0101010101010101U;
    if ((x & 0xf0f0f0f0f0f0f0f0U) != 0 ||
        x + 0x3030303030303030U + above * ('a' - '0' - 10) != text) {
        return false;
    }
    x = (x | x >> 4) & 0x00ff00ff00ff00ffU;
    x = (x | x >> 8) & 0x0000ffff0000ffffU;
    *ret = (x | x >> 16) & 0xffffffffU;
    return true;
}

static bool parse_hex64(const uint8_t *p, uint64_t *ret)
{
    uint64_t high;
    uint64_t low;
    if (!parse_hex32(p, &high) || !parse_hex32(p + 8, &low)) {
        return false;
    }
    *ret = high << 32 | low;
    return true;
}

bool conv_id_parse(struct span text, struct conv_id *ret_id)
{
    struct conv_id id;
    if (text.n != ID_CONV_TEXT || !parse_hex64(text.p, &id.hi) ||
        !parse_hex64(text.p + 16, &id.lo) || conv_id_is_zero(id)) {
        return false;
    }
    *ret_id = id;
    return true;
}

bool id_parse(struct span text, uint64_t *ret_id)
{
    if (text.n == 0 || text.n > 19 || text.p[0] == '0') {
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(text.p[i] - '0');
    }
    if (v > INT64_MAX) {
        return false;
    }
    *ret_id = v;
    return true;
}

static unsigned digits_of(uint64_t v)
{
    static const uint64_t powers[] = {
        1U,
        10U,
        100U,
        1000U,
        10000U,
        100000U,
        1000000U,
        10000000U,
        100000000U,
        1000000000U,
        10000000000U,
        100000000000U,
        1000000000000U,
        10000000000000U,
        100000000000000U,
        1000000000000000U,
        10000000000000000U,
        100000000000000000U,
        1000000000000000000U,
        10000000000000000000U,
    };
    /* log10(2) is about 1233 / 4096; the product is the number of digits, or one less. */
    v |= 1;
    unsigned n = (64U - (unsigned)__builtin_clzll(v)) * 1233U >> 12;
    return n + (v >= powers[n]);
}

/* The 8 digits of a number below 10^8, all at once: halves of four digits, pairs, single ones, each
 * in a lane of its own with what comes first in the lowest. */
static void put_digits8(char *out, uint32_t v)
{
    uint64_t fours = v / 10000U | (uint64_t)(v % 10000U) << 32;
    uint64_t high = fours * 10486U >> 20 & 0x0000007f0000007fU; /* / 100 below 10,000 */
    uint64_t twos = high | (fours - high * 100U) << 16;
    uint64_t tens = twos * 103U >> 10 & 0x000f000f000f000fU; /* / 10 below 100 */
    uint64_t ones = tens | (twos - tens * 10U) << 8;
    uint64_t text = htole64(ones | 0x3030303030303030U);
    memcpy(out, &text, sizeof(text));
}

size_t id_text(uint64_t id, char out[ID_NUM_TEXT])
{
    /* Written from the end, the last ones two digits a division. */
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    unsigned n = digits_of(id);
    char *at = out + n;
    while (id >= 100000000U) {
        at -= 8;
        put_digits8(at, (uint32_t)(id % 100000000U));
        id /= 100000000U;
    }
    while (id >= 100) {
        at -= 2;
        memcpy(at, pairs + id % 100 * 2, 2);
        id /= 100;
    }
    if (id >= 10) {
        memcpy(at - 2, pairs + id * 2, 2);
    } else {
        at[-1] = (char)('0' + id);
    }
    return n;
}
