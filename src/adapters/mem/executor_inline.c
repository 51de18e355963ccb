#include "adapters/mem/executor_inline.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

struct executor_inline {
    struct executor base;
    pthread_mutex_t lock;
    struct job *head;
    struct job **tail;
    uint32_t queued;
    uint32_t queue_max;
    bool stepped;
    bool running; /* a thread is in `drain` and will take what is queued */
    bool closing;
};

static const struct executor_ops OPS;

static struct executor_inline *inline_of(struct executor *ex)
{
    CHECK(ex->ops == &OPS);
    return CONTAINER_OF(ex, struct executor_inline, base);
}

/* Unlinks the n-th oldest; with the lock held. */
static struct job *take(struct executor_inline *e, uint32_t n)
{
    struct job **at = &e->head;
    while (*at && n-- > 0) {
        at = &(*at)->next;
    }
    struct job *job = *at;
    if (job) {
        *at = job->next;
        if (!*at) {
            e->tail = at;
        }
        e->queued--;
    }
    return job;
}

/* Runs all that waits; with the lock held, and released while a job runs. */
static void drain(struct executor_inline *e)
{
    if (e->running) {
        return;
    }
    e->running = true;
    for (struct job *job = take(e, 0); job; job = take(e, 0)) {
        pthread_mutex_unlock(&e->lock);
        job->run(job); /* may free the job */
        pthread_mutex_lock(&e->lock);
    }
    e->running = false;
}

static enum confab_err inline_submit(struct executor *ex, struct job *job)
{
    struct executor_inline *e = inline_of(ex);
    enum confab_err err = CONFAB_OK;
    pthread_mutex_lock(&e->lock);
    if (e->closing) {
        err = CONFAB_CLOSED;
    } else if (e->queued >= e->queue_max) {
        err = CONFAB_BUSY;
    } else {
        job->next = NULL;
        *e->tail = job;
        e->tail = &job->next;
        e->queued++;
        if (!e->stepped) {
            drain(e);
        }
    }
    pthread_mutex_unlock(&e->lock);
    return err;
}

enum confab_err executor_inline_open(bool stepped, uint32_t queue_max, struct executor **ret)
{
    CHECK(queue_max > 0);
    struct executor_inline *e = calloc(1, sizeof(*e));
    if (!e) {
        return CONFAB_NOMEM;
    }
    e->base.ops = &OPS;
    e->tail = &e->head;
    e->queue_max = queue_max;
    e->stepped = stepped;
    CHECK(pthread_mutex_init(&e->lock, NULL) == 0);
    *ret = &e->base;
    return CONFAB_OK;
}

void executor_inline_close(struct executor *ex)
{
    if (!ex) {
        return;
    }
    struct executor_inline *e = inline_of(ex);
    pthread_mutex_lock(&e->lock);
    e->closing = true;
    drain(e);
    pthread_mutex_unlock(&e->lock);
    pthread_mutex_destroy(&e->lock);
    free(e);
}

bool executor_inline_step_at(struct executor *ex, uint32_t n)
{
    struct executor_inline *e = inline_of(ex);
    CHECK(e->stepped);
    pthread_mutex_lock(&e->lock);
    struct job *job = take(e, n);
    pthread_mutex_unlock(&e->lock);
    if (!job) {
        return false;
    }
    job->run(job);
    return true;
}

bool executor_inline_step(struct executor *ex)
{
    return executor_inline_step_at(ex, 0);
}

uint32_t executor_inline_queued(struct executor *ex)
{
    struct executor_inline *e = inline_of(ex);
    pthread_mutex_lock(&e->lock);
    uint32_t n = e->queued;
    pthread_mutex_unlock(&e->lock);
    return n;
}

uint32_t executor_inline_discard(struct executor *ex)
{
    struct executor_inline *e = inline_of(ex);
    pthread_mutex_lock(&e->lock);
    uint32_t n = e->queued;
    e->head = NULL;
    e->tail = &e->head;
    e->queued = 0;
    pthread_mutex_unlock(&e->lock);
    return n;
}

static const struct executor_ops OPS = {"inline", 1, inline_submit};
