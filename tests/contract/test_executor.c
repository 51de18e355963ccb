/* Contract of the executor port, over the thread pool and the inline executor. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "adapters/mem/executor_inline.h"
#include "adapters/os/executor_pool.h"
#include "gate.h"

struct kind {
    const char *name;
    unsigned threads; /* 0: inline */
    bool stepped;
};
static const struct kind KINDS[] = {{"inline", 0, false},
                                    {"inline, stepped", 0, true},
                                    {"pool of 1", 1, false},
                                    {"pool of 4", 4, false}};

enum { QUEUE_MAX = 100 };
static const struct kind *kind;
static struct executor *ex;

static int setup(void **state)
{
    kind = *state;
    enum confab_err err = kind->threads > 0
                              ? executor_pool_open(kind->threads, QUEUE_MAX, "test", &ex)
                              : executor_inline_open(kind->stepped, QUEUE_MAX, &ex);
    assert_int_equal(err, CONFAB_OK);
    return 0;
}

static void close_ex(void)
{
    if (kind->threads > 0) {
        executor_pool_close(ex);
    } else {
        executor_inline_close(ex);
    }
    ex = NULL;
}

static int teardown(void **state)
{
    (void)state;
    if (ex) {
        close_ex();
    }
    return 0;
}

/* Stepped: runs what waits; else nothing is needed. */
static void pump(void)
{
    while (kind->stepped && executor_inline_step(ex)) {
    }
}

struct task {
    struct job job;
    struct gate *gate;
    struct gate *hold; /* waits here before it passes, when not NULL */
    atomic_uint runs;
    unsigned number;
    unsigned *order; /* next position, when not NULL */
    unsigned position;
};

static void run_task(struct job *job)
{
    struct task *t = CONTAINER_OF(job, struct task, job);
    if (t->hold) {
        gate_wait(t->hold, 1);
    }
    atomic_fetch_add(&t->runs, 1);
    if (t->order) {
        t->position = (*t->order)++;
    }
    gate_pass(t->gate);
}

static void test_executor__each_job_runs_once(void **state)
{
    (void)state;
    enum { N = 50 };
    struct gate gate = GATE_INIT;
    struct task tasks[N] = {0};
    for (unsigned i = 0; i < N; i++) {
        tasks[i].job.run = run_task;
        tasks[i].gate = &gate;
        assert_int_equal(executor_submit(ex, &tasks[i].job), CONFAB_OK);
    }
    pump();
    gate_wait(&gate, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(tasks[i].runs, 1);
    }
    /* A job may be submitted again when it has run. */
    assert_int_equal(executor_submit(ex, &tasks[0].job), CONFAB_OK);
    pump();
    gate_wait(&gate, N + 1);
    close_ex();
    assert_int_equal(tasks[0].runs, 2);
}

static void test_executor__one_thread_keeps_the_order(void **state)
{
    (void)state;
    enum { N = 90 };
    struct gate gate = GATE_INIT;
    struct task tasks[N] = {0};
    unsigned order = 0;
    for (unsigned i = 0; i < N; i++) {
        tasks[i].job.run = run_task;
        tasks[i].gate = &gate;
        tasks[i].order = &order;
        assert_int_equal(executor_submit(ex, &tasks[i].job), CONFAB_OK);
    }
    pump();
    gate_wait(&gate, N);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(tasks[i].position, i);
    }
}

struct chain {
    struct job job;
    struct gate gate;
    unsigned left;
    enum confab_err err;
};

static void run_chain(struct job *job)
{
    struct chain *c = CONTAINER_OF(job, struct chain, job);
    enum confab_err err = CONFAB_OK;
    if (--c->left > 0) {
        err = executor_submit(ex, job);
        if (err == CONFAB_OK) {
            return; /* it may run already: `c` is no longer ours */
        }
    }
    c->err = err;
    gate_pass(&c->gate);
}

static void test_executor__a_job_may_submit_itself_again(void **state)
{
    (void)state;
    struct chain c = {.job = {.run = run_chain}, .gate = GATE_INIT, .left = 20000};
    assert_int_equal(executor_submit(ex, &c.job), CONFAB_OK);
    pump();
    gate_wait(&c.gate, 1);
    assert_int_equal(c.err, CONFAB_OK);
    assert_int_equal(c.left, 0);
}

static void run_free(struct job *job)
{
    struct task *t = CONTAINER_OF(job, struct task, job);
    struct gate *gate = t->gate;
    free(t);
    gate_pass(gate);
}

static void test_executor__a_job_may_free_itself(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    for (unsigned i = 0; i < 10; i++) {
        struct task *t = calloc(1, sizeof(*t));
        assert_non_null(t);
        t->job.run = run_free;
        t->gate = &gate;
        assert_int_equal(executor_submit(ex, &t->job), CONFAB_OK);
    }
    pump();
    gate_wait(&gate, 10);
}

static void test_executor__a_full_queue_refuses(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct gate hold = GATE_INIT;
    struct task holders[4] = {0};
    for (unsigned i = 0; i < kind->threads; i++) { /* occupy the threads */
        holders[i].job.run = run_task;
        holders[i].gate = &gate;
        holders[i].hold = &hold;
        assert_int_equal(executor_submit(ex, &holders[i].job), CONFAB_OK);
    }
    struct executor_pool_stats stats = {0};
    while (kind->threads > 0 && stats.run < kind->threads) {
        executor_pool_stats(ex, &stats);
    }
    struct task tasks[QUEUE_MAX + 1] = {0};
    for (unsigned i = 0; i <= QUEUE_MAX; i++) {
        tasks[i].job.run = run_task;
        tasks[i].gate = &gate;
        assert_int_equal(executor_submit(ex, &tasks[i].job),
                         i < QUEUE_MAX ? CONFAB_OK : CONFAB_BUSY);
    }
    if (kind->threads > 0) {
        executor_pool_stats(ex, &stats);
        assert_int_equal(stats.full, 1);
        assert_int_equal(stats.queued, QUEUE_MAX);
        assert_int_equal(stats.queued_max, QUEUE_MAX);
    }
    gate_pass(&hold);
    pump();
    gate_wait(&gate, kind->threads + QUEUE_MAX);
    assert_int_equal(tasks[QUEUE_MAX].runs, 0);
    assert_int_equal(executor_submit(ex, &tasks[QUEUE_MAX].job), CONFAB_OK);
    pump();
    gate_wait(&gate, kind->threads + QUEUE_MAX + 1);
}

static void test_executor__close_runs_what_waits(void **state)
{
    (void)state;
    enum { N = 60 };
    struct gate gate = GATE_INIT;
    struct gate hold = GATE_INIT;
    struct task tasks[N] = {0};
    for (unsigned i = 0; i < N; i++) {
        tasks[i].job.run = run_task;
        tasks[i].gate = &gate;
        tasks[i].hold = kind->threads > 0 ? &hold : NULL;
        assert_int_equal(executor_submit(ex, &tasks[i].job), CONFAB_OK);
    }
    gate_pass(&hold);
    close_ex();
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(tasks[i].runs, 1);
    }
}

/* Runs while the executor closes and submits until it is refused for that. */
struct late {
    struct job job;
    struct job next[QUEUE_MAX];
    unsigned taken;
    enum confab_err err;
};

static void run_nothing(struct job *job)
{
    (void)job;
}

static void run_late(struct job *job)
{
    struct late *l = CONTAINER_OF(job, struct late, job);
    struct job spare = {.run = run_nothing};
    do {
        struct job *next = l->taken < QUEUE_MAX ? &l->next[l->taken] : &spare;
        next->run = run_nothing;
        l->err = executor_submit(ex, next);
        l->taken += l->err == CONFAB_OK;
    } while (l->err == CONFAB_OK || l->err == CONFAB_BUSY);
}

static void test_executor__nothing_is_taken_while_closing(void **state)
{
    (void)state;
    struct late l = {.job = {.run = run_late}, .err = CONFAB_OK};
    assert_int_equal(executor_submit(ex, &l.job), CONFAB_OK);
    close_ex();
    assert_int_equal(l.err, CONFAB_CLOSED);
}

enum { SUBMITTERS = 4, ROUNDS = 500 };
struct submitter {
    atomic_uint *sum;
    struct gate gate;
};
struct add {
    struct job job;
    atomic_uint *sum;
    struct gate *gate;
};

static void run_add(struct job *job)
{
    struct add *a = CONTAINER_OF(job, struct add, job);
    atomic_fetch_add(a->sum, 1);
    gate_pass(a->gate);
}

static void *submit_many(void *arg)
{
    struct submitter *s = arg;
    for (unsigned i = 1; i <= ROUNDS; i++) {
        struct add a = {.job = {.run = run_add}, .sum = s->sum, .gate = &s->gate};
        if (executor_submit(ex, &a.job) != CONFAB_OK) {
            return arg;
        }
        gate_wait(&s->gate, i);
    }
    return NULL;
}

static void test_executor__several_threads_may_submit(void **state)
{
    (void)state;
    atomic_uint sum = 0;
    struct submitter subs[SUBMITTERS];
    pthread_t threads[SUBMITTERS];
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        subs[i] = (struct submitter){&sum, GATE_INIT};
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &subs[i]), 0);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        void *failed = NULL;
        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
    assert_int_equal(sum, SUBMITTERS * ROUNDS);
}

static void test_executor_inline__steps_are_the_callers(void **state)
{
    (void)state;
    struct gate gate = GATE_INIT;
    struct task tasks[4] = {0};
    unsigned order = 0;
    for (unsigned i = 0; i < 4; i++) {
        tasks[i] = (struct task){.job = {.run = run_task}, .gate = &gate, .order = &order};
        assert_int_equal(executor_submit(ex, &tasks[i].job), CONFAB_OK);
    }
    assert_int_equal(executor_inline_queued(ex), 4);
    assert_int_equal(gate.count, 0);
    assert_true(executor_inline_step_at(ex, 3));
    assert_true(executor_inline_step(ex));
    assert_false(executor_inline_step_at(ex, 2));
    assert_int_equal(tasks[3].position, 0);
    assert_int_equal(tasks[0].position, 1);
    assert_int_equal(executor_submit(ex, &tasks[0].job), CONFAB_OK); /* the list's end is intact */
    assert_int_equal(executor_inline_discard(ex), 3);
    assert_false(executor_inline_step(ex));
    assert_int_equal(tasks[1].runs + tasks[2].runs, 0);
    assert_int_equal(executor_submit(ex, &tasks[1].job), CONFAB_OK);
    assert_true(executor_inline_step(ex));
    assert_int_equal(tasks[1].runs, 1);
}

/* Which kinds a case is about. */
static bool all(const struct kind *k)
{
    (void)k;
    return true;
}

static bool ordered(const struct kind *k)
{
    return k->threads <= 1;
}

/* Inline, only the jobs of a running job wait; the chain covers those. */
static bool queueing(const struct kind *k)
{
    return k->threads > 0 || k->stepped;
}

static bool one_at_a_time(const struct kind *k)
{
    return k->threads == 1 || k->stepped;
}

static bool unstepped(const struct kind *k)
{
    return !k->stepped;
}

static bool stepped(const struct kind *k)
{
    return k->stepped;
}

#define CASE(f, when)                                                                              \
    {                                                                                              \
        {#f, f, setup, teardown, NULL}, when                                                       \
    }
static const struct {
    struct CMUnitTest test;
    bool (*when)(const struct kind *k);
} CASES[] = {
    CASE(test_executor__each_job_runs_once, all),
    CASE(test_executor__one_thread_keeps_the_order, ordered),
    CASE(test_executor__a_job_may_submit_itself_again, all),
    CASE(test_executor__a_job_may_free_itself, all),
    CASE(test_executor__a_full_queue_refuses, queueing),
    CASE(test_executor__close_runs_what_waits, all),
    CASE(test_executor__nothing_is_taken_while_closing, one_at_a_time),
    CASE(test_executor__several_threads_may_submit, unstepped),
    CASE(test_executor_inline__steps_are_the_callers, stepped),
};

int main(void)
{
    int failed = 0;
    for (unsigned k = 0; k < ARRAY_LEN(KINDS); k++) {
        struct CMUnitTest tests[ARRAY_LEN(CASES)];
        size_t n = 0;
        for (unsigned i = 0; i < ARRAY_LEN(CASES); i++) {
            if (CASES[i].when(&KINDS[k])) {
                tests[n] = CASES[i].test;
                tests[n++].initial_state = (void *)&KINDS[k];
            }
        }
        failed += _cmocka_run_group_tests(KINDS[k].name, tests, n, NULL, NULL);
    }
    return failed;
}
