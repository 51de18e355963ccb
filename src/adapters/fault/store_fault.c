#include "adapters/fault/store_fault.h"

#include <stdlib.h>

#include "base/check.h"

struct store_fault {
    struct message_store base;
    struct message_store *inner;
    struct fault_plan plan;
};

/* Stands between a request and its owner while the engine has it, for FAULT_UNKNOWN. */
struct detour {
    void (*done)(struct store_request *req);
    void *arg;
    enum confab_err err;
};

static const struct message_store_ops OPS;

static struct store_fault *fault_of(struct message_store *store)
{
    CHECK(store->ops == &OPS);
    return CONTAINER_OF(store, struct store_fault, base);
}

static void on_detour_done(struct store_request *req)
{
    struct detour *d = req->arg;
    req->done = d->done;
    req->arg = d->arg;
    if (req->ret_err == CONFAB_OK) {
        req->ret_err = d->err;
    }
    free(d);
    req->done(req);
}

static enum confab_err pass_with_error(struct store_fault *f, struct store_request *req,
                                       enum confab_err err)
{
    struct detour *d = malloc(sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    *d = (struct detour){req->done, req->arg, err};
    req->done = on_detour_done;
    req->arg = d;
    enum confab_err res = message_store_submit(f->inner, req);
    if (res != CONFAB_OK) {
        req->done = d->done;
        req->arg = d->arg;
        free(d);
    }
    return res;
}

static enum confab_err fault_submit(struct message_store *store, struct store_request *req)
{
    struct store_fault *f = fault_of(store);
    struct fault_rule rule;
    if (!fault_plan_match(&f->plan, req->op, &req->job, &rule)) {
        return message_store_submit(f->inner, req);
    }
    switch (rule.kind) {
    case FAULT_REFUSE:
        return rule.err;
    case FAULT_FAIL:
        req->ret_err = rule.err;
        req->done(req);
        return CONFAB_OK;
    case FAULT_UNKNOWN:
        return pass_with_error(f, req, rule.err);
    case FAULT_DELAY:
        break; /* the plan has it, and perhaps a release already */
    }
    return CONFAB_OK;
}

static void fault_stats(struct message_store *store, struct store_stats *ret)
{
    message_store_stats(fault_of(store)->inner, ret);
}

enum confab_err store_fault_open(struct message_store *inner, struct message_store **ret)
{
    struct store_fault *f = calloc(1, sizeof(*f));
    if (!f) {
        return CONFAB_NOMEM;
    }
    f->base.ops = &OPS;
    f->inner = inner;
    fault_plan_init(&f->plan);
    *ret = &f->base;
    return CONFAB_OK;
}

void store_fault_close(struct message_store *store)
{
    if (!store) {
        return;
    }
    struct store_fault *f = fault_of(store);
    fault_plan_deinit(&f->plan);
    free(f);
}

struct fault_plan *store_fault_plan(struct message_store *store)
{
    return &fault_of(store)->plan;
}

uint32_t store_fault_release(struct message_store *store)
{
    struct store_fault *f = fault_of(store);
    struct job *job = fault_plan_take_delayed(&f->plan);
    uint32_t n = 0;
    while (job) {
        struct store_request *req = CONTAINER_OF(job, struct store_request, job);
        job = job->next;
        n++;
        /* Its submit has returned CONFAB_OK: a refusal by the engine must become a result. */
        enum confab_err err = message_store_submit(f->inner, req);
        if (err != CONFAB_OK) {
            req->ret_err = err;
            req->done(req);
        }
    }
    return n;
}

static const struct message_store_ops OPS = {"fault", 1, fault_submit, fault_stats};
