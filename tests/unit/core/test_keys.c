/* Filters over the keys of stored messages: what was added is found, and little else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/hash64.h"
#include "core/chunk.h"
#include "core/keys.h"

static const struct key_days TODAY = {100, 100};

static uint64_t hash_of(uint64_t n)
{
    return hash64(&n, sizeof(n), 7);
}

static void add(struct keys *k, uint64_t from, uint64_t to, struct key_days days)
{
    for (uint64_t seq = from; seq <= to; seq++) {
        assert_int_equal(keys_add(k, hash_of(seq), seq, days), CONFAB_OK);
    }
}

/* Whether some range holds the row of a message with this seq. */
static bool is_found(const struct keys *k, uint64_t seq)
{
    struct key_range range = {.below = UINT64_MAX};
    while (keys_find(k, hash_of(seq), range.below, 0, &range)) {
        uint64_t first = seq < CHUNK_EVENTS_MAX ? 1 : seq - CHUNK_EVENTS_MAX + 1;
        if (range.lo <= first && seq <= range.hi) {
            return true;
        }
    }
    return false;
}

static void test_keys__finds_all_that_was_added(void **state)
{
    (void)state;
    enum { MANY = 100000 };
    struct keys *k = keys_new();
    assert_non_null(k);
    struct key_range range;
    assert_false(keys_find(k, hash_of(1), UINT64_MAX, 0, &range));
    add(k, 1, MANY, TODAY);
    for (uint64_t seq = 1; seq <= MANY; seq++) {
        assert_true(is_found(k, seq));
    }
    uint32_t others = 0;
    for (uint64_t n = MANY + 1; n <= 2ULL * MANY; n++) {
        others += keys_find(k, hash_of(n), UINT64_MAX, 0, &range);
    }
    assert_true(others < MANY / 50);
    assert_true(keys_bytes(k) < 4ULL * MANY);
    keys_free(k);
}

static void test_keys__older_ones_come_before(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    assert_non_null(k);
    add(k, 1001, 1010, TODAY);
    for (uint64_t from = 501; from > 0; from -= from > 1 ? 500 : 1) {
        struct key_filter f;
        assert_int_equal(key_filter_init(&f, 500), CONFAB_OK);
        for (uint64_t seq = from; seq < from + 500; seq++) {
            key_filter_add(&f, hash_of(seq), seq, (struct key_days){90, 95});
        }
        assert_int_equal(keys_put_older(k, &f), CONFAB_OK);
    }
    add(k, 1011, 1200, TODAY);
    for (uint64_t seq = 1; seq <= 1200; seq++) {
        assert_true(is_found(k, seq));
    }
    struct key_range range;
    assert_true(keys_find(k, hash_of(600), UINT64_MAX, 0, &range));
    assert_int_equal(range.below, 501);
    assert_int_equal(range.hi, 1000);
    assert_int_equal(range.day_lo, 90);
    assert_int_equal(range.day_hi, 100); /* its last chunk ended by the day of what is 128 later */
    assert_true(keys_find(k, hash_of(600), UINT64_MAX, 92, &range));
    assert_int_equal(range.day_lo, 92);
    assert_true(keys_find(k, hash_of(1200), UINT64_MAX, 0, &range));
    assert_int_equal(range.day_hi, UINT16_MAX);
    /* Days that do not count are passed over, and then dropped; others stay. */
    assert_false(keys_find(k, hash_of(600), UINT64_MAX, 96, &range));
    size_t before = keys_bytes(k);
    keys_expire(k, 96);
    assert_true(keys_bytes(k) < before);
    assert_false(keys_find(k, hash_of(600), UINT64_MAX, 0, &range));
    assert_true(is_found(k, 1001));
    keys_expire(k, 101);
    assert_int_equal(k->n, 0);
    keys_free(k);
}

static void test_keys__too_many_filters_find_everything(void **state)
{
    (void)state;
    struct keys *k = keys_new();
    assert_non_null(k);
    add(k, 1, (KEYS_FILTERS_MAX + 50ULL) * KEYS_FILTER_KEYS, TODAY);
    assert_int_equal(k->n, KEYS_FILTERS_MAX);
    assert_true(is_found(k, 1));
    assert_true(is_found(k, 49ULL * KEYS_FILTER_KEYS));
    assert_true(is_found(k, 100ULL * KEYS_FILTER_KEYS));
    struct key_range range;
    assert_true(keys_find(k, 12345, 2, 0, &range));
    assert_int_equal(range.below, 1);
    assert_false(keys_find(k, 12345, 1, 0, &range));
    keys_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys__finds_all_that_was_added),
        cmocka_unit_test(test_keys__older_ones_come_before),
        cmocka_unit_test(test_keys__too_many_filters_find_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
