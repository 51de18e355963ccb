/* The timer wheel against a list of due times, with callbacks that set and cancel. */
#include "base/wheel.h"

#include "unit.h"

enum { TIMERS = 200 };

struct fixture {
    struct wheel wheel;
    struct random_seeded rnd;
    uint64_t seed;
    uint64_t now_ms;
    uint64_t last_due; /* of this advance */
    size_t fired;
    bool done;          /* nothing was left by the last advance */
    bool meddle;        /* callbacks set and cancel others */
    uint32_t steps_max; /* advances touch 1 to so many timers; 0: as many as there are */
    struct wheel_timer timers[TIMERS];
    uint64_t due[TIMERS]; /* the model: ticks, 0 when unset */
};

static void begin(struct fixture *f, uint32_t tick_ms, uint64_t now_ms, uint64_t seed)
{
    memset(f, 0, sizeof(*f));
    f->seed = unit_seed(seed);
    random_seeded_init(&f->rnd, f->seed);
    f->now_ms = now_ms;
    wheel_init(&f->wheel, tick_ms, now_ms);
    for (int i = 0; i < TIMERS; i++) {
        wheel_timer_init(&f->timers[i]);
    }
}

/* Distances of every size, so that every level and the edges between them are met. */
static uint64_t random_distance(struct fixture *f)
{
    uint64_t bits = random_below(&f->rnd.base, 36);
    uint64_t d = random_below(&f->rnd.base, (1ULL << bits) + 1);
    return random_below(&f->rnd.base, 4) == 0 ? 1ULL << bits : d;
}

static void set(struct fixture *f, size_t i, uint64_t due_ms)
{
    uint64_t tick_ms = f->wheel.tick_ms;
    wheel_set(&f->wheel, &f->timers[i], due_ms);
    uint64_t due = (due_ms + tick_ms - 1) / tick_ms;
    uint64_t now = f->now_ms / tick_ms;
    f->due[i] = due > now ? due : now + 1;
}

static void set_random(struct fixture *f, size_t i)
{
    uint64_t d = random_distance(f);
    bool past = random_below(&f->rnd.base, 10) == 0;
    set(f, i, past ? f->now_ms - (d < f->now_ms ? d : f->now_ms) : f->now_ms + d);
}

static void cancel(struct fixture *f, size_t i)
{
    wheel_cancel(&f->wheel, &f->timers[i]);
    f->due[i] = 0;
}

static void on_due(void *arg, struct wheel_timer *t)
{
    struct fixture *f = arg;
    size_t i = (size_t)(t - f->timers);
    unit_check(f->seed, !wheel_timer_is_set(t));
    unit_check(f->seed, f->due[i] != 0);
    unit_check(f->seed, f->due[i] <= f->now_ms / f->wheel.tick_ms);
    unit_check(f->seed, f->due[i] >= f->last_due);
    f->last_due = f->due[i];
    f->due[i] = 0;
    f->fired++;
    if (f->meddle) {
        switch (random_below(&f->rnd.base, 4)) {
        case 0:
            set_random(f, i);
            break;
        case 1:
            set_random(f, (size_t)random_below(&f->rnd.base, TIMERS));
            break;
        case 2:
            cancel(f, (size_t)random_below(&f->rnd.base, TIMERS));
            break;
        default:
            break;
        }
    }
}

static void advance(struct fixture *f, uint64_t now_ms)
{
    f->now_ms = now_ms;
    uint32_t steps =
        f->steps_max ? 1 + (uint32_t)random_below(&f->rnd.base, f->steps_max) : UINT32_MAX;
    size_t before = f->fired;
    f->done = wheel_advance(&f->wheel, now_ms, steps, on_due, f);
    unit_check(f->seed, f->fired - before <= steps);
    unit_check(f->seed, f->done || wheel_next_ms(&f->wheel) <= now_ms);
}

static void check_against_model(struct fixture *f)
{
    uint64_t tick_ms = f->wheel.tick_ms;
    uint64_t first = UINT64_MAX;
    size_t count = 0;
    for (int i = 0; i < TIMERS; i++) {
        unit_check(f->seed, wheel_timer_is_set(&f->timers[i]) == (f->due[i] != 0));
        if (f->due[i] != 0) {
            unit_check(f->seed, f->due[i] > f->now_ms / tick_ms); /* nothing was left behind */
            count++;
            first = f->due[i] < first ? f->due[i] : first;
        }
    }
    unit_check(f->seed, wheel_count(&f->wheel) == count);
    uint64_t next = wheel_next_ms(&f->wheel);
    if (count == 0) {
        unit_check(f->seed, next == UINT64_MAX);
    } else {
        unit_check(f->seed, next <= first * tick_ms && next > f->now_ms / tick_ms * tick_ms);
    }
}

static void run_random(uint32_t tick_ms, uint64_t start_ms, uint64_t seed, bool meddle,
                       uint32_t steps_max)
{
    static struct fixture f;
    size_t left = 0;
    begin(&f, tick_ms, start_ms, seed);
    f.meddle = meddle;
    f.steps_max = steps_max;
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)random_below(&f.rnd.base, TIMERS);
        switch (random_below(&f.rnd.base, 5)) {
        case 0:
        case 1:
            set_random(&f, i);
            break;
        case 2:
            cancel(&f, i);
            break;
        case 3:
            advance(&f, f.now_ms + random_below(&f.rnd.base, 200));
            break;
        default:
            if (random_below(&f.rnd.base, 2) == 0 && wheel_count(&f.wheel) > 0) {
                uint64_t next = wheel_next_ms(&f.wheel);
                advance(&f, next > f.now_ms ? next : f.now_ms);
            } else {
                advance(&f, f.now_ms + random_distance(&f));
            }
        }
        left += !f.done;
        if (step % 8 == 0) {
            while (!f.done) {
                advance(&f, f.now_ms);
            }
            check_against_model(&f);
        }
    }
    unit_check(f.seed, f.fired > 500);
    unit_check(f.seed, (left > 500) == (steps_max != 0));
}

static void test_wheel__equals_model(void **state)
{
    (void)state;
    run_random(1, 0, 1, false, 0);
    run_random(1, 1735689600123, 2, false, 0);
    run_random(10, 777, 3, false, 0);
}

static void test_wheel__equals_model_with_meddling_callbacks(void **state)
{
    (void)state;
    run_random(1, 0, 4, true, 0);
    run_random(7, 1735689600123, 5, true, 0);
}

static void test_wheel__equals_model_a_few_at_a_time(void **state)
{
    (void)state;
    run_random(1, 0, 6, false, 3);
    run_random(10, 1735689600123, 7, false, 20);
    run_random(1, 1735689600123, 8, true, 1);
    run_random(7, 777, 9, true, 10);
}

static void rearm(void *arg, struct wheel_timer *t)
{
    struct fixture *f = arg;
    f->fired++;
    wheel_set(&f->wheel, t, 0);
}

/* Ten thousand connections: their timers come down a level at one tick. */
static void test_wheel__many_come_down_over_several_advances(void **state)
{
    (void)state;
    static struct wheel_timer many[10000];
    static struct fixture f;
    const uint32_t steps = 256;
    begin(&f, 10, 0, 0);
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        wheel_timer_init(&many[i]);
        wheel_set(&f.wheel, &many[i], 45000 + i);
    }
    uint32_t advances = 1;
    while (!wheel_advance(&f.wheel, 44990, steps, rearm, &f)) {
        assert_true(wheel_next_ms(&f.wheel) <= 44990);
        advances++;
    }
    assert_int_equal(f.fired, 0);
    assert_true(advances >= ARRAY_LEN(many) / steps);
    while (!wheel_advance(&f.wheel, 55000, steps, rearm, &f)) {
    }
    assert_int_equal(f.fired, ARRAY_LEN(many));
    assert_int_equal(wheel_count(&f.wheel), ARRAY_LEN(many)); /* each was set again */
}

static void test_wheel__never_early_and_rounded_up(void **state)
{
    (void)state;
    static struct fixture f;
    begin(&f, 10, 1000, 0);
    set(&f, 0, 1001);
    set(&f, 1, 1010);
    set(&f, 2, 1011);
    assert_int_equal(wheel_next_ms(&f.wheel), 1010);
    advance(&f, 1009);
    assert_int_equal(f.fired, 0);
    advance(&f, 1010);
    assert_int_equal(f.fired, 2);
    advance(&f, 1019);
    assert_int_equal(f.fired, 2);
    advance(&f, 1020);
    assert_int_equal(f.fired, 3);
    assert_int_equal(wheel_next_ms(&f.wheel), UINT64_MAX);
}

static void test_wheel__clock_that_goes_back(void **state)
{
    (void)state;
    static struct fixture f;
    begin(&f, 1, 5000, 0);
    set(&f, 0, 5003);
    (void)wheel_advance(&f.wheel, 4000, UINT32_MAX, on_due, &f);
    assert_int_equal(f.fired, 0);
    assert_true(wheel_timer_is_set(&f.timers[0]));
    advance(&f, 5003);
    assert_int_equal(f.fired, 1);
}

static void test_wheel__rearming_cannot_hold_an_advance(void **state)
{
    (void)state;
    static struct fixture f;
    begin(&f, 1, 100, 0);
    wheel_set(&f.wheel, &f.timers[0], 0);
    (void)wheel_advance(&f.wheel, 100, UINT32_MAX, rearm, &f);
    assert_int_equal(f.fired, 0);
    (void)wheel_advance(&f.wheel, 100000, UINT32_MAX, rearm, &f);
    assert_int_equal(f.fired, 1);
    assert_int_equal(wheel_next_ms(&f.wheel), 100001);
    (void)wheel_advance(&f.wheel, 100001, UINT32_MAX, rearm, &f);
    assert_int_equal(f.fired, 2);
}

static void cancel_next(void *arg, struct wheel_timer *t)
{
    struct fixture *f = arg;
    f->fired++;
    wheel_cancel(&f->wheel, t + 1);
}

static void test_wheel__callback_cancels_one_of_the_same_tick(void **state)
{
    (void)state;
    static struct fixture f;
    begin(&f, 1, 100, 0);
    for (int i = 0; i < 3; i++) {
        wheel_set(&f.wheel, &f.timers[i], 107);
    }
    (void)wheel_advance(&f.wheel, 110, UINT32_MAX, cancel_next, &f);
    assert_int_equal(f.fired, 2);
    assert_false(wheel_timer_is_set(&f.timers[1]));
    assert_int_equal(wheel_count(&f.wheel), 0);
}

static void test_wheel__far_times(void **state)
{
    (void)state;
    static struct fixture f;
    begin(&f, 1, 0, 0);
    wheel_set(&f.wheel, &f.timers[0], UINT64_MAX);
    wheel_set(&f.wheel, &f.timers[1], 1ULL << 47);
    assert_true(wheel_next_ms(&f.wheel) <= 1ULL << 47);
    f.due[1] = 1ULL << 47;
    advance(&f, (1ULL << 47) - 1);
    assert_int_equal(f.fired, 0);
    advance(&f, 1ULL << 47);
    assert_int_equal(f.fired, 1);
    advance(&f, UINT64_MAX);
    assert_int_equal(f.fired, 1); /* a time that cannot be reached is never */
    wheel_cancel(&f.wheel, &f.timers[0]);
    assert_int_equal(wheel_count(&f.wheel), 0);
}

static void test_wheel__sizes(void **state)
{
    (void)state;
    assert_int_equal(sizeof(struct wheel_timer), 24);
    assert_true(sizeof(struct wheel) <= 8400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wheel__equals_model),
        cmocka_unit_test(test_wheel__equals_model_with_meddling_callbacks),
        cmocka_unit_test(test_wheel__equals_model_a_few_at_a_time),
        cmocka_unit_test(test_wheel__many_come_down_over_several_advances),
        cmocka_unit_test(test_wheel__never_early_and_rounded_up),
        cmocka_unit_test(test_wheel__clock_that_goes_back),
        cmocka_unit_test(test_wheel__rearming_cannot_hold_an_advance),
        cmocka_unit_test(test_wheel__callback_cancels_one_of_the_same_tick),
        cmocka_unit_test(test_wheel__far_times),
        cmocka_unit_test(test_wheel__sizes),
    };
    return cmocka_run_group_tests_name("wheel", tests, NULL, NULL);
}
