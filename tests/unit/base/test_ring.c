/* Ring and queue between threads: order, bounds, and that what was written before is seen after. */
#include "base/ring.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>

#include "base/compiler.h"
#include "base/mpsc.h"
#include "unit.h"

static void test_ring__bounds(void **state)
{
    (void)state;
    struct ring *r = NULL;
    int items[8];
    assert_int_equal(ring_new(0, &r), CONFAB_INVALID);
    assert_int_equal(ring_new(RING_CAPACITY_MAX + 1, &r), CONFAB_INVALID);
    assert_null(r);
    assert_int_equal(ring_new(5, &r), CONFAB_OK);
    assert_int_equal((uintptr_t)r % RING_LINE, 0);
    assert_int_equal(ring_capacity(r), 8);
    assert_null(ring_pop(r));
    /* Round and round, so that positions wrap in the array many times. */
    for (int round = 0; round < 1000; round++) {
        for (int i = 0; i < 8; i++) {
            assert_int_equal(ring_free_slots(r), 8 - i);
            assert_true(ring_push(r, &items[i]));
        }
        assert_int_equal(ring_len(r), 8);
        assert_int_equal(ring_free_slots(r), 0);
        assert_false(ring_push(r, &items[0]));
        int n = round % 9;
        for (int i = 0; i < n; i++) {
            void *next = ring_peek(r); /* NULL: the consumer has not looked across yet */
            assert_true(next == NULL || next == &items[i]);
            assert_ptr_equal(ring_pop(r), &items[i]);
        }
        assert_int_equal(ring_len(r), 8 - n);
        assert_int_equal(ring_free_slots(r), n);
        for (int i = n; i < 8; i++) {
            assert_ptr_equal(ring_pop(r), &items[i]);
        }
        assert_null(ring_pop(r));
    }
    ring_free(r);
    ring_free(NULL);
}

static void test_ring__positions_wrap_at_32_bits(void **state)
{
    (void)state;
    struct ring *r = NULL;
    int items[6];
    assert_int_equal(ring_new(4, &r), CONFAB_OK);
    uint32_t start = UINT32_MAX - 1;
    atomic_store(&r->head, start);
    atomic_store(&r->tail, start);
    r->tail_seen = start;
    r->head_seen = start;
    for (int i = 0; i < 4; i++) {
        assert_true(ring_push(r, &items[i]));
    }
    assert_false(ring_push(r, &items[4]));
    assert_int_equal(ring_len(r), 4);
    for (int i = 0; i < 4; i++) {
        assert_ptr_equal(ring_pop(r), &items[i]);
    }
    assert_null(ring_pop(r));
    assert_int_equal(ring_free_slots(r), 4);
    ring_free(r);
}

enum { RING_ITEMS = 100000 };
struct item {
    uint64_t number;
    uint64_t check;
};
struct feed {
    struct ring *ring;
    struct item *items;
    bool wait_for_slots;
};

static void *feed_ring(void *arg)
{
    struct feed *feed = arg;
    for (uint64_t i = 0; i < RING_ITEMS; i++) {
        feed->items[i].number = i;
        feed->items[i].check = ~i;
        if (feed->wait_for_slots) {
            while (ring_free_slots(feed->ring) == 0) {
                sched_yield();
            }
            if (!ring_push(feed->ring, &feed->items[i])) {
                return feed; /* a free slot was promised */
            }
        }
        while (!feed->wait_for_slots && !ring_push(feed->ring, &feed->items[i])) {
            sched_yield();
        }
    }
    return NULL;
}

static void run_two_threads(uint32_t capacity, bool wait_for_slots)
{
    struct ring *r = NULL;
    assert_int_equal(ring_new(capacity, &r), CONFAB_OK);
    struct feed feed = {r, calloc(RING_ITEMS, sizeof(struct item)), wait_for_slots};
    assert_non_null(feed.items);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, feed_ring, &feed), 0);
    uint64_t bad = 0;
    for (uint64_t i = 0; i < RING_ITEMS; i++) {
        struct item *item;
        while ((item = ring_pop(r)) == NULL) {
            sched_yield();
        }
        bad += item->number != i || item->check != ~i;
        bad += ring_len(r) > capacity;
    }
    void *result = &feed;
    assert_int_equal(pthread_join(thread, &result), 0);
    assert_null(result);
    assert_int_equal(bad, 0);
    assert_null(ring_pop(r));
    free(feed.items);
    ring_free(r);
}

static void test_ring__two_threads(void **state)
{
    (void)state;
    run_two_threads(1, false);
    run_two_threads(64, false);
    run_two_threads(1024, true);
}

static void test_mpsc__order_and_wake(void **state)
{
    (void)state;
    struct mpsc q;
    struct mpsc_node nodes[4];
    mpsc_init(&q);
    assert_true(mpsc_is_empty(&q));
    assert_null(mpsc_drain(&q));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 4; i++) {
            assert_int_equal(mpsc_push(&q, &nodes[i]), i == 0);
        }
        assert_false(mpsc_is_empty(&q));
        struct mpsc_node *n = mpsc_drain(&q);
        for (int i = 0; i < 4; i++, n = n->next) {
            assert_ptr_equal(n, &nodes[i]);
        }
        assert_null(n);
        assert_true(mpsc_is_empty(&q));
    }
}

enum { PUSHERS = 3, NODES = 30000 };
struct parcel {
    uint32_t number;
    uint32_t pusher;
    struct mpsc_node node;
};
struct pusher {
    struct mpsc *queue;
    sem_t *wake;
    struct parcel *parcels;
    uint32_t id;
};

static void *push_parcels(void *arg)
{
    struct pusher *p = arg;
    for (uint32_t i = 0; i < NODES; i++) {
        p->parcels[i].number = i;
        p->parcels[i].pusher = p->id;
        if (mpsc_push(p->queue, &p->parcels[i].node)) {
            sem_post(p->wake);
        }
    }
    return NULL;
}

/* The consumer sleeps on the semaphore alone: a lost wake-up would hang this test. */
static void test_mpsc__many_threads(void **state)
{
    (void)state;
    struct mpsc q;
    sem_t wake;
    mpsc_init(&q);
    assert_int_equal(sem_init(&wake, 0, 0), 0);
    struct pusher pushers[PUSHERS];
    pthread_t threads[PUSHERS];
    uint32_t next[PUSHERS] = {0};
    for (uint32_t i = 0; i < PUSHERS; i++) {
        pushers[i] = (struct pusher){&q, &wake, calloc(NODES, sizeof(struct parcel)), i};
        assert_non_null(pushers[i].parcels);
        assert_int_equal(pthread_create(&threads[i], NULL, push_parcels, &pushers[i]), 0);
    }
    uint32_t bad = 0;
    for (uint32_t seen = 0; seen < PUSHERS * NODES;) {
        while (sem_wait(&wake) != 0) {
        }
        for (struct mpsc_node *n = mpsc_drain(&q); n; n = n->next) {
            struct parcel *p = CONTAINER_OF(n, struct parcel, node);
            bad += p->pusher >= PUSHERS || p->number != next[p->pusher];
            next[p->pusher]++;
            seen++;
        }
    }
    for (uint32_t i = 0; i < PUSHERS; i++) {
        pthread_join(threads[i], NULL);
        free(pushers[i].parcels);
    }
    assert_int_equal(bad, 0);
    sem_destroy(&wake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ring__bounds),
        cmocka_unit_test(test_ring__positions_wrap_at_32_bits),
        cmocka_unit_test(test_ring__two_threads),
        cmocka_unit_test(test_mpsc__order_and_wake),
        cmocka_unit_test(test_mpsc__many_threads),
    };
    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
