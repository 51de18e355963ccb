#include "adapters/fault/directory_fault.h"

#include <stdlib.h>

#include "base/check.h"

struct directory_fault {
    struct directory base;
    struct directory *inner;
    struct fault_plan plan;
};

/* Stands between a request and its owner while the engine has it, for FAULT_UNKNOWN. */
struct detour {
    void (*done)(struct dir_request *req);
    void *arg;
    enum confab_err err;
};

_Static_assert((int)DIR_SEEN_READ < (int)FAULT_OPS_MAX, "a plan must know every operation");

static const struct directory_ops OPS;

static struct directory_fault *fault_of(struct directory *dir)
{
    CHECK(dir->ops == &OPS);
    return CONTAINER_OF(dir, struct directory_fault, base);
}

static void on_detour_done(struct dir_request *req)
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

static enum confab_err pass_with_error(struct directory_fault *f, struct dir_request *req,
                                       enum confab_err err)
{
    struct detour *d = malloc(sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    *d = (struct detour){req->done, req->arg, err};
    req->done = on_detour_done;
    req->arg = d;
    enum confab_err res = directory_submit(f->inner, req);
    if (res != CONFAB_OK) {
        req->done = d->done;
        req->arg = d->arg;
        free(d);
    }
    return res;
}

static enum confab_err fault_submit(struct directory *dir, struct dir_request *req)
{
    struct directory_fault *f = fault_of(dir);
    struct fault_rule rule;
    if (!fault_plan_match(&f->plan, req->op, &req->job, &rule)) {
        return directory_submit(f->inner, req);
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

enum confab_err directory_fault_open(struct directory *inner, struct directory **ret)
{
    struct directory_fault *f = calloc(1, sizeof(*f));
    if (!f) {
        return CONFAB_NOMEM;
    }
    f->base.ops = &OPS;
    f->inner = inner;
    fault_plan_init(&f->plan);
    *ret = &f->base;
    return CONFAB_OK;
}

void directory_fault_close(struct directory *dir)
{
    if (!dir) {
        return;
    }
    struct directory_fault *f = fault_of(dir);
    fault_plan_deinit(&f->plan);
    free(f);
}

struct fault_plan *directory_fault_plan(struct directory *dir)
{
    return &fault_of(dir)->plan;
}

uint32_t directory_fault_release(struct directory *dir)
{
    struct directory_fault *f = fault_of(dir);
    struct job *job = fault_plan_take_delayed(&f->plan);
    uint32_t n = 0;
    while (job) {
        struct dir_request *req = CONTAINER_OF(job, struct dir_request, job);
        job = job->next;
        n++;
        /* Its submit has returned CONFAB_OK: a refusal by the engine must become a result. */
        enum confab_err err = directory_submit(f->inner, req);
        if (err != CONFAB_OK) {
            req->ret_err = err;
            req->done(req);
        }
    }
    return n;
}

static const struct directory_ops OPS = {"fault", 1, fault_submit};
