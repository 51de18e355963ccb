/* base/pool: blocks come back for the next of their size, up to a bound. */
#include "base/pool.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const size_t sizes[] = {1, 200, 256, 257, 512, 700, 768, 769, POOL_SIZE_MAX};

static uint32_t kept(const struct pool *p)
{
    uint32_t n = 0;
    for (unsigned i = 0; i < POOL_CLASSES; i++) {
        n += p->n[i];
    }
    return n;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS 0U
#else
#define KEEPS 1U
#endif

static void test_a_block_comes_back(void **state)
{
    (void)state;
    struct pool p = {0};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        void *a = pool_take(&p, sizes[i]);
        assert_non_null(a);
        memset(a, 0xa5, sizes[i]);
        pool_give(&p, a, sizes[i]);
        assert_int_equal(kept(&p), KEEPS);
        void *b = pool_take(&p, sizes[i]);
        assert_non_null(b);
        assert_true(!KEEPS || a == b);
        assert_int_equal(kept(&p), 0);
        free(b); /* an ordinary block */
    }
    pool_deinit(&p);
}

/* What comes from elsewhere with one size serves the largest of its class. */
static void test_blocks_are_as_large_as_their_class(void **state)
{
    (void)state;
    struct pool p = {0};
    pool_give(&p, pool_take(NULL, 257), 257);
    uint8_t *b = pool_take(&p, 512);
    assert_non_null(b);
    memset(b, 1, 512); /* the sanitizers' builds and valgrind look */
    assert_int_equal(kept(&p), 0);
    pool_give(NULL, b, 512);
    pool_give(&p, NULL, 512);
    pool_give(NULL, NULL, 512);
    assert_int_equal(kept(&p), 0);
    pool_deinit(&p);
}

static void test_bounds(void **state)
{
    (void)state;
    struct pool p = {0};
    enum { N = POOL_BLOCKS_MAX + 3 };
    static void *blocks[N];
    for (int i = 0; i < N; i++) {
        blocks[i] = pool_take(&p, 300);
        assert_non_null(blocks[i]);
    }
    for (int i = 0; i < N; i++) {
        pool_give(&p, blocks[i], 300);
    }
    assert_int_equal(kept(&p), KEEPS * POOL_BLOCKS_MAX);
    void *large = pool_take(&p, POOL_SIZE_MAX + 1);
    assert_non_null(large);
    memset(large, 1, POOL_SIZE_MAX + 1);
    pool_give(&p, large, POOL_SIZE_MAX + 1);
    assert_int_equal(kept(&p), KEEPS * POOL_BLOCKS_MAX);
    pool_deinit(&p);
    assert_int_equal(kept(&p), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_block_comes_back),
        cmocka_unit_test(test_blocks_are_as_large_as_their_class),
        cmocka_unit_test(test_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
