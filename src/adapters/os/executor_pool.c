#include "adapters/os/executor_pool.h"

#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/thread.h"

struct executor_pool {
    struct executor base;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    struct job *head;
    struct job **tail;
    uint32_t queue_max;
    bool closing;
    struct executor_pool_stats stats;
    unsigned threads;
    pthread_t thread[];
};

static const struct executor_ops OPS;

static struct executor_pool *pool_of(struct executor *ex)
{
    CHECK(ex->ops == &OPS);
    return CONTAINER_OF(ex, struct executor_pool, base);
}

static void *worker(void *arg)
{
    struct executor_pool *p = arg;
    thread_stand_back(THREAD_STANDS_BACK);
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->head && !p->closing) {
            pthread_cond_wait(&p->wake, &p->lock);
        }
        struct job *job = p->head;
        if (!job) {
            break;
        }
        p->head = job->next;
        if (!p->head) {
            p->tail = &p->head;
        }
        p->stats.queued--;
        p->stats.run++;
        pthread_mutex_unlock(&p->lock);
        job->run(job); /* may free the job */
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static enum confab_err pool_submit(struct executor *ex, struct job *job)
{
    struct executor_pool *p = pool_of(ex);
    enum confab_err err = CONFAB_OK;
    pthread_mutex_lock(&p->lock);
    if (p->closing) {
        err = CONFAB_CLOSED;
    } else if (p->stats.queued >= p->queue_max) {
        p->stats.full++;
        err = CONFAB_BUSY;
    } else {
        job->next = NULL;
        *p->tail = job;
        p->tail = &job->next;
        p->stats.queued++;
        p->stats.queued_max = MAX(p->stats.queued_max, p->stats.queued);
        pthread_cond_signal(&p->wake);
    }
    pthread_mutex_unlock(&p->lock);
    return err;
}

/* Signals belong to the main thread: a pool's thread blocks them all. */
static enum confab_err start_threads(struct executor_pool *p, unsigned threads, const char *name)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return CONFAB_IO;
    }
    enum confab_err err = CONFAB_OK;
    for (unsigned i = 0; i < threads && err == CONFAB_OK; i++) {
        if (pthread_create(&p->thread[i], NULL, worker, p) != 0) {
            err = CONFAB_IO;
            break;
        }
        p->threads++;
        char title[24]; /* 14 used: the kernel takes 15 */
        (void)snprintf(title, sizeof(title), "%.11s/%u", name, i);
        (void)pthread_setname_np(p->thread[i], title);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

enum confab_err executor_pool_open(unsigned threads, uint32_t queue_max, const char *name,
                                   struct executor **ret)
{
    CHECK(threads > 0 && threads <= EXECUTOR_POOL_THREADS_MAX && queue_max > 0);
    struct executor_pool *p = calloc(1, sizeof(*p) + threads * sizeof(p->thread[0]));
    if (!p) {
        return CONFAB_NOMEM;
    }
    p->base.ops = &OPS;
    p->tail = &p->head;
    p->queue_max = queue_max;
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    CHECK(pthread_cond_init(&p->wake, NULL) == 0);
    enum confab_err err = start_threads(p, threads, name);
    if (err != CONFAB_OK) {
        executor_pool_close(&p->base);
        return err;
    }
    *ret = &p->base;
    return CONFAB_OK;
}

void executor_pool_close(struct executor *ex)
{
    if (!ex) {
        return;
    }
    struct executor_pool *p = pool_of(ex);
    pthread_mutex_lock(&p->lock);
    p->closing = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (unsigned i = 0; i < p->threads; i++) {
        CHECK(pthread_join(p->thread[i], NULL) == 0);
    }
    CHECK(!p->head);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

void executor_pool_stats(struct executor *ex, struct executor_pool_stats *ret)
{
    struct executor_pool *p = pool_of(ex);
    pthread_mutex_lock(&p->lock);
    *ret = p->stats;
    pthread_mutex_unlock(&p->lock);
}

static const struct executor_ops OPS = {"pool", 1, pool_submit};
