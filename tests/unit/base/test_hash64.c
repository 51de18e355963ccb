/* Byte hashes: fixed for ever, since they are stored; and the CRC beside them. */
#include "base/hash64.h"

#include "base/buf.h"
#include "base/crc32c.h"
#include "base/crc32c_internal.h"
#include "unit.h"

static void test_hash64__values_never_change(void **state)
{
    (void)state;
    assert_int_equal(hash64("", 0, 0), 0x2d06800538d394c2U);
    assert_int_equal(hash64("confab", 6, 0), 0x7c1e5c03633f797fU);
    assert_int_equal(hash64("confab", 6, 1), 0x201f81dbe9af886eU);
    struct hash128 h = hash128("confab", 6, 0);
    assert_int_equal(h.hi, 0x1e100129e68963c4U);
    assert_int_equal(h.lo, 0x1549e9c23e7a708bU);
    h = hash128("", 0, 0);
    assert_int_equal(h.hi, 0x99aa06d3014798d8U);
    assert_int_equal(h.lo, 0x6001c324468d497fU);
}

/* Vectors of RFC 3720, B.4, and the usual check value. */
static void test_crc32c__vectors(void **state)
{
    (void)state;
    uint8_t p[32];
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(crc32c(0, "", 0), 0);
    memset(p, 0, sizeof(p));
    assert_int_equal(crc32c(0, p, sizeof(p)), 0x8a9136aa);
    memset(p, 0xff, sizeof(p));
    assert_int_equal(crc32c(0, p, sizeof(p)), 0x62a8ab43);
    for (unsigned i = 0; i < sizeof(p); i++) {
        p[i] = (uint8_t)i;
    }
    assert_int_equal(crc32c(0, p, sizeof(p)), 0x46dd794e);
    for (unsigned i = 0; i < sizeof(p); i++) {
        p[i] = (uint8_t)(31 - i);
    }
    assert_int_equal(crc32c(0, p, sizeof(p)), 0x113fdb5c);
    assert_int_equal(crc32c_portable(0, p, sizeof(p)), 0x113fdb5c);
}

static void test_crc32c__pieces_and_fallback_agree(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(8);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    uint8_t p[300];
    for (int round = 0; round < 2000; round++) {
        size_t n = (size_t)random_below(&rnd.base, sizeof(p) - 8);
        size_t cut = (size_t)random_below(&rnd.base, n + 1);
        size_t at = (size_t)random_below(&rnd.base, 8); /* unaligned starts */
        uint32_t start = (uint32_t)random_u64(&rnd.base);
        random_fill(&rnd.base, p, sizeof(p));
        uint32_t whole = crc32c(start, p + at, n);
        unit_check(seed, whole == crc32c_portable(start, p + at, n));
        unit_check(seed, whole == crc32c(crc32c(start, p + at, cut), p + at + cut, n - cut));
        if (n > 0) {
            size_t flip = (size_t)random_below(&rnd.base, n);
            p[at + flip] ^= (uint8_t)(1U << random_below(&rnd.base, 8));
            unit_check(seed, whole != crc32c(start, p + at, n));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hash64__values_never_change),
        cmocka_unit_test(test_crc32c__vectors),
        cmocka_unit_test(test_crc32c__pieces_and_fallback_agree),
    };
    return cmocka_run_group_tests_name("hash64", tests, NULL, NULL);
}
