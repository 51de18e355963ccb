/* The queue of connections: order, growing while it goes round. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/conn_ring.h"

static void test_conn_ring__first_in_first_out_while_it_grows(void **state)
{
    (void)state;
    struct conn_ring r = {0};
    uint32_t in = 0;
    uint32_t out = 0;
    /* Its beginning is somewhere in the middle whenever it has to grow. */
    for (int round = 0; round < 6; round++) {
        for (uint32_t n = 40U << round; n > 0; n--) {
            assert_true(conn_ring_push(&r, in++));
        }
        for (uint32_t n = 25U << round; n > 0; n--) {
            assert_int_equal(conn_ring_pop(&r), out++);
        }
        assert_int_equal(r.n, in - out);
        assert_true(conn_ring_bytes(&r) >= r.n * sizeof(uint32_t));
    }
    while (r.n > 0) {
        assert_int_equal(conn_ring_pop(&r), out++);
    }
    assert_int_equal(out, in);
    conn_ring_deinit(&r);
    assert_int_equal(conn_ring_bytes(&r), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conn_ring__first_in_first_out_while_it_grows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
