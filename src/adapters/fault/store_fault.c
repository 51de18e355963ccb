#include "adapters/fault/store_fault.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

enum { OPS_END = STORE_FLUSH + 1 };

struct rule {
    enum store_op op; /* 0: free */
    uint64_t first;   /* of the requests of `op`, counted from 1 */
    uint64_t past;
    enum store_fault_kind kind;
    enum confab_err err;
};

struct store_fault {
    struct message_store base;
    struct message_store *inner;
    pthread_mutex_t lock;
    uint64_t seen[OPS_END];
    uint64_t hits;
    struct rule rules[STORE_FAULT_RULES_MAX];
    struct job *delayed; /* linked through the requests' jobs, which the inner store has not yet */
    struct job **delayed_tail;
    uint32_t ndelayed;
};

/* Stands between a request and its owner while the inner store has it, for STORE_FAULT_UNKNOWN. */
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

/* Counts the request and finds its rule; with the lock held. Used-up rules are freed. */
static bool match(struct store_fault *f, enum store_op op, struct rule *ret)
{
    uint64_t n = ++f->seen[op];
    for (unsigned i = 0; i < STORE_FAULT_RULES_MAX; i++) {
        struct rule *rule = &f->rules[i];
        if (rule->op == op && n >= rule->first && n < rule->past) {
            *ret = *rule;
            if (n + 1 >= rule->past) {
                rule->op = 0;
            }
            f->hits++;
            return true;
        }
    }
    return false;
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
    CHECK(req->op >= STORE_GET && req->op <= STORE_FLUSH);
    struct rule rule;
    pthread_mutex_lock(&f->lock);
    bool hit = match(f, req->op, &rule);
    if (hit && rule.kind == STORE_FAULT_DELAY) {
        req->job.next = NULL;
        *f->delayed_tail = &req->job;
        f->delayed_tail = &req->job.next;
        f->ndelayed++;
    }
    pthread_mutex_unlock(&f->lock);
    if (!hit) {
        return message_store_submit(f->inner, req);
    }
    switch (rule.kind) {
    case STORE_FAULT_REFUSE:
        return rule.err;
    case STORE_FAULT_FAIL:
        req->ret_err = rule.err;
        req->done(req);
        return CONFAB_OK;
    case STORE_FAULT_UNKNOWN:
        return pass_with_error(f, req, rule.err);
    case STORE_FAULT_DELAY:
        break;
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
    f->delayed_tail = &f->delayed;
    CHECK(pthread_mutex_init(&f->lock, NULL) == 0);
    *ret = &f->base;
    return CONFAB_OK;
}

void store_fault_close(struct message_store *store)
{
    if (!store) {
        return;
    }
    struct store_fault *f = fault_of(store);
    CHECK(!f->delayed);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

enum confab_err store_fault_arm(struct message_store *store, enum store_op op, uint64_t nth,
                                uint64_t count, enum store_fault_kind kind, enum confab_err err)
{
    struct store_fault *f = fault_of(store);
    CHECK(op >= STORE_GET && op <= STORE_FLUSH && nth > 0 && count > 0);
    CHECK(kind == STORE_FAULT_DELAY || err != CONFAB_OK);
    enum confab_err res = CONFAB_LIMIT;
    pthread_mutex_lock(&f->lock);
    uint64_t first = f->seen[op] + nth;
    uint64_t past = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    for (unsigned i = 0; i < STORE_FAULT_RULES_MAX; i++) {
        if (f->rules[i].op == 0) {
            f->rules[i] = (struct rule){op, first, past, kind, err};
            res = CONFAB_OK;
            break;
        }
    }
    pthread_mutex_unlock(&f->lock);
    return res;
}

void store_fault_disarm(struct message_store *store)
{
    struct store_fault *f = fault_of(store);
    pthread_mutex_lock(&f->lock);
    memset(f->rules, 0, sizeof(f->rules));
    pthread_mutex_unlock(&f->lock);
}

uint32_t store_fault_release(struct message_store *store)
{
    struct store_fault *f = fault_of(store);
    pthread_mutex_lock(&f->lock);
    struct job *job = f->delayed;
    f->delayed = NULL;
    f->delayed_tail = &f->delayed;
    f->ndelayed = 0;
    pthread_mutex_unlock(&f->lock);
    uint32_t n = 0;
    while (job) {
        struct store_request *req = CONTAINER_OF(job, struct store_request, job);
        job = job->next;
        n++;
        /* Its submit has returned CONFAB_OK: a refusal by the inner store must become a result. */
        enum confab_err err = message_store_submit(f->inner, req);
        if (err != CONFAB_OK) {
            req->ret_err = err;
            req->done(req);
        }
    }
    return n;
}

uint32_t store_fault_delayed(struct message_store *store)
{
    struct store_fault *f = fault_of(store);
    pthread_mutex_lock(&f->lock);
    uint32_t n = f->ndelayed;
    pthread_mutex_unlock(&f->lock);
    return n;
}

uint64_t store_fault_seen(struct message_store *store, enum store_op op)
{
    struct store_fault *f = fault_of(store);
    CHECK(op >= STORE_GET && op <= STORE_FLUSH);
    pthread_mutex_lock(&f->lock);
    uint64_t n = f->seen[op];
    pthread_mutex_unlock(&f->lock);
    return n;
}

uint64_t store_fault_hits(struct message_store *store)
{
    struct store_fault *f = fault_of(store);
    pthread_mutex_lock(&f->lock);
    uint64_t n = f->hits;
    pthread_mutex_unlock(&f->lock);
    return n;
}

static const struct message_store_ops OPS = {"fault", 1, fault_submit, fault_stats};
