/* The intrusive list against an array. */
#include "base/list.h"

#include "unit.h"

enum { NODES = 30 };

static void test_list__equals_model(void **state)
{
    (void)state;
    uint64_t seed = unit_seed(21);
    struct random_seeded rnd;
    random_seeded_init(&rnd, seed);
    struct list head;
    struct list nodes[NODES];
    int model[NODES];
    int n = 0;
    list_init(&head);
    for (int i = 0; i < NODES; i++) {
        list_init(&nodes[i]);
    }
    for (int step = 0; step < 5000; step++) {
        int i = (int)random_below(&rnd.base, NODES);
        if (list_is_linked(&nodes[i])) {
            list_remove(&nodes[i]);
            int at = 0;
            while (model[at] != i) {
                at++;
            }
            memmove(&model[at], &model[at + 1], (size_t)(n - at - 1) * sizeof(model[0]));
            n--;
        } else if (random_below(&rnd.base, 2) == 0) {
            list_push_back(&head, &nodes[i]);
            model[n++] = i;
        } else {
            list_push_front(&head, &nodes[i]);
            memmove(&model[1], &model[0], (size_t)n * sizeof(model[0]));
            model[0] = i;
            n++;
        }
        int at = 0;
        LIST_EACH(&head, it)
        {
            unit_check(seed, at < n && it == &nodes[model[at]]);
            at++;
        }
        unit_check(seed, at == n && list_is_empty(&head) == (n == 0));
    }
    /* The current node may be removed in the walk. */
    int removed = 0;
    LIST_EACH(&head, it)
    {
        list_remove(it);
        removed++;
    }
    assert_int_equal(removed, n);
    assert_true(list_is_empty(&head));
    assert_null(list_pop_front(&head));
    list_remove(&nodes[0]);
    list_push_back(&head, &nodes[3]);
    list_push_back(&head, &nodes[4]);
    assert_ptr_equal(list_pop_front(&head), &nodes[3]);
    assert_false(list_is_linked(&nodes[3]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list__equals_model),
    };
    return cmocka_run_group_tests_name("list", tests, NULL, NULL);
}
