/* UTF-8 against a decoder written from the definition, whole and cut into fragments. */
#include "base/utf8.h"

#include "base/compiler.h"
#include "unit.h"

/* Bytes of the character at p, 0 if there is none: by computing its code point. */
static size_t naive_char(const uint8_t *p, size_t n)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t len = p[0] < 0x80             ? 1
                 : (p[0] & 0xe0) == 0xc0 ? 2
                 : (p[0] & 0xf0) == 0xe0 ? 3
                 : (p[0] & 0xf8) == 0xf0 ? 4
                                         : 0;
    if (len == 0 || len > n) {
        return 0;
    }
    uint32_t c = len == 1 ? p[0] : p[0] & (0x7fU >> len);
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
        c = c << 6 | (p[i] & 0x3fU);
    }
    bool surrogate = c >= 0xd800 && c <= 0xdfff;
    return c < least[len] || surrogate || c > 0x10ffff ? 0 : len;
}

static bool naive_valid(const uint8_t *p, size_t n, size_t *ret_count)
{
    *ret_count = 0;
    for (size_t i = 0; i < n;) {
        size_t len = naive_char(p + i, n - i);
        if (len == 0) {
            return false;
        }
        i += len;
        (*ret_count)++;
    }
    return true;
}

static size_t encode(uint32_t c, uint8_t *out)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    size_t len = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = len - 1; i > 0; i--, c >>= 6) {
        out[i] = (uint8_t)(0x80 | (c & 0x3f));
    }
    out[0] = (uint8_t)((0xf00U >> len & 0xff) | c);
    return len;
}

static void test_utf8__every_code_point(void **state)
{
    (void)state;
    for (uint32_t c = 0; c <= 0x11ffff; c++) {
        uint8_t p[4];
        size_t n = encode(c, p);
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        if (utf8_valid(p, n) != (!surrogate && c <= 0x10ffff)) {
            fail_msg("U+%04X", c);
        }
        if (n > 1 && utf8_valid(p, n - 1)) {
            fail_msg("U+%04X cut short", c);
        }
    }
}

/* Alone, and with more text behind, where the checker reads whole characters at once. */
static void check_bytes(uint8_t *p, size_t n)
{
    size_t count;
    memset(p + n, 'a', 4);
    if (utf8_valid(p, n) != naive_valid(p, n, &count) ||
        utf8_valid(p, n + 4) != naive_valid(p, n + 4, &count)) {
        fail_msg("bytes %02x %02x %02x %02x", p[0], p[1], p[2], p[3]);
    }
}

static void test_utf8__every_short_sequence(void **state)
{
    (void)state;
    static const uint8_t fourth[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    for (uint32_t v = 0x7f0000; v < 1U << 24; v++) {
        /* Second and third bytes change meaning at multiples of 16 only: their neighbours do. */
        uint32_t low = v & 15;
        if (low > 0 && low < 15) {
            continue;
        }
        uint8_t p[8] = {(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
        check_bytes(p, 3);
        for (size_t i = 0; p[0] >= 0xef && i < ARRAY_LEN(fourth); i++) {
            p[3] = fourth[i];
            check_bytes(p, 4);
        }
    }
}

static void test_utf8__random_texts_in_fragments(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(17);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    uint8_t p[256];
    int valid_texts = 0;
    for (int round = 0; round < 20000; round++) {
        size_t n = 0;
        uint64_t wide = random_below(&rnd.base, 3);
        while (n < 200) {
            uint64_t kind = random_below(&rnd.base, 8);
            uint32_t c = (uint32_t)random_below(&rnd.base, 0x80);
            if (kind < wide) {
                c = (uint32_t)random_below(&rnd.base, kind == 0 ? 0xd800 : 0x10000) |
                    (kind == 1 ? 0x10000U : 0);
            }
            n += encode(c, p + n);
        }
        n = (size_t)random_below(&rnd.base, n + 1);
        if (n > 0 && random_below(&rnd.base, 2) == 0) {
            p[random_below(&rnd.base, n)] = (uint8_t)random_u64(&rnd.base);
        }
        size_t count = 0;
        bool valid = naive_valid(p, n, &count);
        unit_check(seed, utf8_valid(p, n) == valid);
        uint32_t s = UTF8_ACCEPT;
        for (size_t i = 0; i < n;) {
            size_t len = (size_t)random_below(&rnd.base, 20);
            len = len < n - i ? len : n - i;
            s = utf8_step(s, p + i, len);
            i += len;
        }
        unit_check(seed, (s == UTF8_ACCEPT) == valid);
        if (valid) {
            valid_texts++;
            unit_check(seed, utf8_count(p, n) == count);
            size_t chars = (size_t)random_below(&rnd.base, count + 3);
            size_t prefix = utf8_prefix(p, n, chars);
            size_t in_prefix = 0;
            unit_check(seed, prefix <= n && naive_valid(p, prefix, &in_prefix));
            unit_check(seed, in_prefix == (chars < count ? chars : count));
        }
    }
    assert_true(valid_texts > 5000);
}

static void test_utf8__reject_stays(void **state)
{
    (void)state;
    uint32_t s = utf8_step(UTF8_ACCEPT, "ok\xff", 3);
    assert_int_equal(s, UTF8_REJECT);
    assert_int_equal(utf8_step(s, "fine", 4), UTF8_REJECT);
    s = utf8_step(UTF8_ACCEPT, "\xf0\x9f", 2);
    assert_true(s != UTF8_ACCEPT && s != UTF8_REJECT);
    assert_int_equal(utf8_step(s, "", 0), s);
    assert_int_equal(utf8_step(s, "\x98\x80", 2), UTF8_ACCEPT);
    assert_int_equal(utf8_step(s, "a", 1), UTF8_REJECT);
    /* A bad fragment is known at once, not only when the character should end. */
    assert_int_equal(utf8_step(UTF8_ACCEPT, "\xed\xa0", 2), UTF8_REJECT);
    assert_int_equal(utf8_step(UTF8_ACCEPT, "\xf4\x90", 2), UTF8_REJECT);
    assert_int_equal(utf8_step(UTF8_ACCEPT, "\xc0", 1), UTF8_REJECT);
    assert_true(utf8_valid(NULL, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_utf8__every_code_point),
        cmocka_unit_test(test_utf8__every_short_sequence),
        cmocka_unit_test(test_utf8__random_texts_in_fragments),
        cmocka_unit_test(test_utf8__reject_stays),
    };
    return cmocka_run_group_tests_name("utf8", tests, NULL, NULL);
}
