/* The inbox of a shard, and directory requests over it. */
#include "gateway/async.h"

#include <stdlib.h>

#include "gateway/internal.h"

void async_begin(struct shard *s, struct async *a)
{
    a->shard = s;
    list_push_back(&s->away, &a->away);
}

void async_cancel(struct async *a)
{
    list_remove(&a->away);
}

void async_post(struct async *a)
{
    struct shard *s = a->shard;
    if (mpsc_push(&s->inbox, &a->node)) {
        shard_wake(s);
    }
}

bool async_drain(struct shard *s)
{
    struct mpsc_node *n = mpsc_drain(&s->inbox);
    bool any = n != NULL;
    while (n) {
        struct mpsc_node *next = n->next;
        struct async *a = CONTAINER_OF(n, struct async, node);
        list_remove(&a->away);
        a->run(s, a);
        n = next;
    }
    return any;
}

void async_drop_all(struct shard *s)
{
    /* What was posted and not run is still in the list: the queue itself can be forgotten. */
    (void)mpsc_drain(&s->inbox);
    struct list *n;
    while ((n = list_pop_front(&s->away)) != NULL) {
        struct async *a = LIST_ENTRY(n, struct async, away);
        a->drop(s, a);
    }
}

static void dir_call_on_done(struct dir_request *req)
{
    struct dir_call *call = CONTAINER_OF(req, struct dir_call, req);
    async_post(&call->async);
}

/* That there is no such account, or that a name is taken, is an answer. */
static bool is_failure(enum confab_err err)
{
    return err && err != CONFAB_NOT_FOUND && err != CONFAB_EXISTS && err != CONFAB_LIMIT;
}

static void dir_call_run(struct shard *s, struct async *a)
{
    struct dir_call *call = CONTAINER_OF(a, struct dir_call, async);
    s->dir_calls--;
    metrics_observe(s->metrics, METRIC_H_DIR_REQUEST, s->now_ns - call->begun_ns);
    metrics_add(s->metrics, METRIC_DIR_ERRORS, is_failure(call->req.ret_err));
    call->on_done(s, call);
    dir_request_deinit(&call->req);
    free(call);
}

static void dir_call_drop(struct shard *s, struct async *a)
{
    struct dir_call *call = CONTAINER_OF(a, struct dir_call, async);
    s->dir_calls--;
    if (call->on_drop) {
        call->on_drop(s, call);
    }
    dir_request_deinit(&call->req);
    free(call);
}

struct dir_call *dir_call_new(size_t size, enum dir_op op)
{
    struct dir_call *call = calloc(1, size);
    if (call) {
        list_init(&call->async.away);
        call->async.run = dir_call_run;
        call->async.drop = dir_call_drop;
        call->req.op = op;
        call->req.done = dir_call_on_done;
    }
    return call;
}

enum confab_err dir_call_submit(struct shard *s, struct dir_call *call)
{
    enum confab_err err = CONFAB_BUSY;
    if (s->dir_calls >= s->cfg.directory_calls_max) {
        metrics_inc(s->metrics, METRIC_BOUND_PENDING);
    } else {
        s->dir_calls++;
        call->begun_ns = s->now_ns;
        metrics_inc(s->metrics, METRIC_DIR_REQUESTS);
        async_begin(s, &call->async);
        err = directory_submit(s->deps.directory, &call->req);
        if (err) {
            s->dir_calls--;
            metrics_inc(s->metrics, METRIC_DIR_ERRORS);
            async_cancel(&call->async);
        }
    }
    if (err) {
        dir_request_deinit(&call->req);
        free(call);
    }
    return err;
}
