/* Keys of what is not stored yet: the newest event with a key is found, and no other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash64.h"
#include "core/recent_keys.h"

static uint64_t hash_of(uint64_t n)
{
    return hash64(&n, sizeof(n), 7);
}

static void put(struct recent_keys *k, uint64_t seq, uint64_t hash)
{
    assert_int_equal(recent_keys_put(k, seq, hash), CONFAB_OK);
}

static void expect(const struct recent_keys *k, uint64_t hash, uint64_t seq)
{
    uint64_t found = 0;
    assert_int_equal(recent_keys_find(k, hash, &found), seq != 0);
    assert_int_equal(found, seq);
}

static void test_recent_keys__finds_what_is_there(void **state)
{
    (void)state;
    enum { MANY = 5000 };
    struct recent_keys k;
    recent_keys_init(&k, 42);
    expect(&k, hash_of(1), 0);
    assert_int_equal(recent_keys_bytes(&k), 0);
    for (uint64_t seq = 100; seq < 100 + MANY; seq++) {
        put(&k, seq, seq % 10 == 0 ? 0 : hash_of(seq));
    }
    for (uint64_t seq = 100; seq < 100 + MANY; seq++) {
        assert_true(recent_keys_hash(&k, seq) == (seq % 10 == 0 ? 0 : hash_of(seq)));
        expect(&k, hash_of(seq), seq % 10 == 0 ? 0 : seq);
    }
    for (uint64_t n = 100 + MANY; n < 100 + 3ULL * MANY; n++) {
        expect(&k, hash_of(n), 0);
    }
    assert_int_equal(recent_keys_hash(&k, 99), 0);
    assert_int_equal(recent_keys_hash(&k, 100 + MANY), 0);
    recent_keys_deinit(&k);
}

static void test_recent_keys__newest_of_the_same(void **state)
{
    (void)state;
    struct recent_keys k;
    recent_keys_init(&k, 1);
    put(&k, 5, hash_of(1));
    put(&k, 6, hash_of(2));
    put(&k, 7, hash_of(1));
    expect(&k, hash_of(1), 7);
    recent_keys_take_back(&k, 6); /* not the last one: nothing happens */
    expect(&k, hash_of(1), 7);
    recent_keys_take_back(&k, 7);
    expect(&k, hash_of(1), 5);
    put(&k, 7, hash_of(3));
    expect(&k, hash_of(3), 7);
    recent_keys_deinit(&k);
}

static void test_recent_keys__dropped_in_order(void **state)
{
    (void)state;
    enum { MANY = 1000 };
    struct recent_keys k;
    recent_keys_init(&k, 3);
    for (uint64_t seq = 1; seq <= MANY; seq++) {
        put(&k, seq, hash_of(seq));
    }
    size_t most = recent_keys_bytes(&k);
    recent_keys_drop(&k, 0);
    for (uint64_t upto = 1; upto < MANY; upto += 37) {
        recent_keys_drop(&k, upto);
        for (uint64_t seq = 1; seq <= MANY; seq++) {
            expect(&k, hash_of(seq), seq <= upto ? 0 : seq);
        }
    }
    assert_true(recent_keys_bytes(&k) < most / 4);
    put(&k, MANY + 1, hash_of(MANY + 1));
    expect(&k, hash_of(MANY + 1), MANY + 1);
    recent_keys_drop(&k, 2ULL * MANY);
    assert_int_equal(recent_keys_bytes(&k), 0);
    put(&k, 7, hash_of(7)); /* empty: from anywhere */
    expect(&k, hash_of(7), 7);
    recent_keys_deinit(&k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recent_keys__finds_what_is_there),
        cmocka_unit_test(test_recent_keys__newest_of_the_same),
        cmocka_unit_test(test_recent_keys__dropped_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
