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

void conv_id_text(struct conv_id id, char out[ID_CONV_TEXT])
{
    static const char hex[] = "0123456789abcdef";
    for (int i = 15; i >= 0; i--) {
        out[i] = hex[id.hi & 15];
        out[i + 16] = hex[id.lo & 15];
        id.hi >>= 4;
        id.lo >>= 4;
    }
}

/* 16 hex digits; false when one is not. */
static bool parse_hex64(const uint8_t *p, uint64_t *ret)
{
    /* 16 and the value of a digit; 0: not a digit. */
    static const uint8_t digits[256] = {
        ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21,
        ['6'] = 22, ['7'] = 23, ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27,
        ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31};
    uint64_t v = 0;
    unsigned all = 16;
    for (int i = 0; i < 16; i++) {
        unsigned digit = digits[p[i]];
        all &= digit;
        v = v << 4 | (digit & 15);
    }
    *ret = v;
    return all != 0;
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

size_t id_text(uint64_t id, char out[ID_NUM_TEXT])
{
    /* Two digits a division, written from the end. */
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char t[ID_NUM_TEXT];
    size_t at = sizeof(t);
    while (id >= 100) {
        at -= 2;
        memcpy(t + at, pairs + id % 100 * 2, 2);
        id /= 100;
    }
    if (id >= 10) {
        at -= 2;
        memcpy(t + at, pairs + id * 2, 2);
    } else {
        t[--at] = (char)('0' + id);
    }
    memcpy(out, t + at, sizeof(t) - at);
    return sizeof(t) - at;
}
