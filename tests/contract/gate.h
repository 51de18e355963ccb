/* Waiting for completions in the contract tests: a counter with a condition. */
#ifndef TESTS_CONTRACT_GATE_H
#define TESTS_CONTRACT_GATE_H

#include <pthread.h>

struct gate {
    pthread_mutex_t lock;
    pthread_cond_t moved;
    unsigned count;
};
#define GATE_INIT                                                                                  \
    {                                                                                              \
        PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0                                     \
    }

static inline void gate_pass(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->count++;
    pthread_cond_broadcast(&g->moved);
    pthread_mutex_unlock(&g->lock);
}

/* Until at least n have passed. */
static inline void gate_wait(struct gate *g, unsigned n)
{
    pthread_mutex_lock(&g->lock);
    while (g->count < n) {
        pthread_cond_wait(&g->moved, &g->lock);
    }
    pthread_mutex_unlock(&g->lock);
}

#endif
