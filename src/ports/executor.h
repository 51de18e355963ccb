/*
 * Port: executor. Runs blocking or CPU-heavy jobs off the shards. The real adapter is a bounded
 * thread pool, the simulator's runs jobs as scheduled steps, the inline one runs them at once.
 */
#ifndef CONFAB_PORTS_EXECUTOR_H
#define CONFAB_PORTS_EXECUTOR_H

#include "base/err.h"

/* Embedded in the caller's request; the memory stays the caller's and must live until `run` began.
 */
struct job {
    struct job *next; /* the executor's, while queued */
    void (*run)(struct job *job);
};

struct executor;
struct executor_ops {
    const char *name;
    int version;
    /*
     * Any thread, never blocks. CONFAB_OK: `run` will be called exactly once, on some thread,
     * possibly before submit returns. CONFAB_BUSY: the bounded queue is full, `run` is not called.
     * CONFAB_CLOSED: stopping. Jobs of a pool with one thread run in submission order.
     */
    enum confab_err (*submit)(struct executor *ex, struct job *job);
};
struct executor {
    const struct executor_ops *ops;
};

CONFAB_NODISCARD static inline enum confab_err executor_submit(struct executor *ex, struct job *job)
{
    return ex->ops->submit(ex, job);
}

#endif
