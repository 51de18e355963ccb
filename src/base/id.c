#define XXH_INLINE_ALL
#include "base/id.h"

#include <xxhash.h>

/* Seeds keep the three uses of the same hash function apart. They are part of the stored format. */
enum { SEED_DIRECT = 1, SEED_SELF = 2, SEED_PARTITION = 3 };

static void put_be64(uint8_t *p, uint64_t v)
{
    for (int i = 7; i >= 0; i--) {
        p[i] = (uint8_t)v;
        v >>= 8;
    }
}

static uint64_t get_be64(const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 0; i < 8; i++) {
        v = (v << 8) | p[i];
    }
    return v;
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
    uint8_t raw[16];
    conv_id_write(id, raw);
    for (int i = 0; i < 16; i++) {
        out[2 * i] = hex[raw[i] >> 4];
        out[2 * i + 1] = hex[raw[i] & 15];
    }
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return -1;
}

bool conv_id_parse(struct span text, struct conv_id *ret_id)
{
    if (text.n != ID_CONV_TEXT) {
        return false;
    }
    uint8_t raw[16];
    for (int i = 0; i < 16; i++) {
        int hi = hex_digit(text.p[2 * i]);
        int lo = hex_digit(text.p[2 * i + 1]);
        if (hi < 0 || lo < 0) {
            return false;
        }
        raw[i] = (uint8_t)(hi * 16 + lo);
    }
    struct conv_id id = conv_id_read(raw);
    if (conv_id_is_zero(id)) {
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
    char t[ID_NUM_TEXT];
    size_t n = 0;
    do {
        t[n++] = (char)('0' + id % 10);
        id /= 10;
    } while (id > 0);
    for (size_t i = 0; i < n; i++) {
        out[i] = t[n - 1 - i];
    }
    return n;
}
