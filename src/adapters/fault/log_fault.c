#include "log_fault.h"

#include <pthread.h>
#include <stdlib.h>

#include "base/check.h"

enum { PLANS_MAX = 16 };

struct plan {
    enum log_fault_kind kind;
    uint64_t from; /* counts of calls, inclusive */
    uint64_t to;
    enum confab_err err;
};

struct fault_lane {
    struct log_submission *lost; /* taken, never passed on */
    struct log_submission *lost_last;
    void (*wake)(void *arg);
    void *wake_arg;
};

struct log_fault {
    struct log_store base;
    struct log_store *below;
    pthread_mutex_t mu;
    uint64_t calls[LOG_FAULT_COUNT];
    struct plan plans[PLANS_MAX];
    size_t plan_count;
    bool failed;
    bool held;
    void (*on_call)(void *arg, enum log_fault_kind kind);
    void *hook_arg;
    uint16_t lane_count;
    struct fault_lane *lanes;
};

static const struct log_store_ops OPS;

static struct log_fault *fault_of(struct log_store *store)
{
    CHECK(store->ops == &OPS);
    return CONTAINER_OF(store, struct log_fault, base);
}

/* Counts the call; the planned error, or CONFAB_OK. */
static enum confab_err count(struct log_fault *f, enum log_fault_kind kind)
{
    if (f->on_call) {
        f->on_call(f->hook_arg, kind);
    }
    enum confab_err err = CONFAB_OK;
    pthread_mutex_lock(&f->mu);
    uint64_t call = ++f->calls[kind];
    for (size_t i = 0; !err && i < f->plan_count; i++) {
        const struct plan *p = &f->plans[i];
        if (p->kind == kind && call >= p->from && call <= p->to) {
            err = p->err;
        }
    }
    pthread_mutex_unlock(&f->mu);
    return err;
}

static bool has_failed(struct log_fault *f)
{
    pthread_mutex_lock(&f->mu);
    bool failed = f->failed;
    pthread_mutex_unlock(&f->mu);
    return failed;
}

static void set_failed(struct log_fault *f)
{
    pthread_mutex_lock(&f->mu);
    f->failed = true;
    pthread_mutex_unlock(&f->mu);
}

static enum confab_err fault_submit(struct log_store *store, struct log_submission *sub)
{
    struct log_fault *f = fault_of(store);
    CHECK(sub->lane < f->lane_count);
    if (has_failed(f)) {
        return CONFAB_IO;
    }
    enum confab_err err = count(f, LOG_FAULT_SUBMIT);
    if (err) {
        if (err == CONFAB_IO) {
            set_failed(f);
        }
        return err;
    }
    if (!count(f, LOG_FAULT_LOSE)) {
        return log_store_submit(f->below, sub);
    }
    struct fault_lane *lane = &f->lanes[sub->lane];
    pthread_mutex_lock(&f->mu);
    f->failed = true;
    sub->next = NULL;
    if (lane->lost) {
        lane->lost_last->next = sub;
    } else {
        lane->lost = sub;
    }
    lane->lost_last = sub;
    pthread_mutex_unlock(&f->mu);
    if (lane->wake) {
        lane->wake(lane->wake_arg);
    }
    return CONFAB_OK;
}

static struct log_submission *fault_poll(struct log_store *store, uint16_t lane)
{
    struct log_fault *f = fault_of(store);
    CHECK(lane < f->lane_count);
    pthread_mutex_lock(&f->mu);
    bool held = f->held;
    pthread_mutex_unlock(&f->mu);
    if (held) {
        return NULL;
    }
    struct log_submission *sub = log_store_poll(f->below, lane);
    if (sub) {
        if (count(f, LOG_FAULT_COMPLETE)) {
            set_failed(f);
        }
        if (has_failed(f)) {
            sub->ret_err = CONFAB_IO;
            sub->ret_lsn = 0;
        }
        return sub;
    }
    /* What was lost comes after what is still under way below, in the order submitted. */
    struct log_stats stats;
    log_store_stats(f->below, &stats);
    pthread_mutex_lock(&f->mu);
    sub = stats.bytes_queued == 0 ? f->lanes[lane].lost : NULL;
    if (sub) {
        f->lanes[lane].lost = sub->next;
        sub->next = NULL;
        sub->ret_err = CONFAB_IO;
        sub->ret_lsn = 0;
    }
    pthread_mutex_unlock(&f->mu);
    return sub;
}

static void fault_set_wake(struct log_store *store, uint16_t lane, void (*wake)(void *arg),
                           void *arg)
{
    struct log_fault *f = fault_of(store);
    CHECK(lane < f->lane_count);
    f->lanes[lane].wake = wake;
    f->lanes[lane].wake_arg = arg;
    log_store_set_wake(f->below, lane, wake, arg);
}

static enum confab_err
fault_read(struct log_store *store, uint64_t from,
           enum confab_err (*on_record)(void *arg, const struct log_record *rec), void *arg)
{
    struct log_fault *f = fault_of(store);
    enum confab_err err = count(f, LOG_FAULT_READ);
    return err ? err : log_store_read(f->below, from, on_record, arg);
}

static enum confab_err fault_trim(struct log_store *store, uint64_t lsn)
{
    struct log_fault *f = fault_of(store);
    enum confab_err err = count(f, LOG_FAULT_TRIM);
    return err ? err : log_store_trim(f->below, lsn);
}

static void fault_stats(struct log_store *store, struct log_stats *ret)
{
    struct log_fault *f = fault_of(store);
    log_store_stats(f->below, ret);
    if (has_failed(f)) {
        ret->state = LOG_FAILED;
    }
}

enum confab_err log_fault_new(struct log_store *below, uint16_t lanes, struct log_fault **ret_fault)
{
    struct log_fault *f = calloc(1, sizeof(*f));
    struct fault_lane *l = calloc(lanes, sizeof(*l));
    if (!f || !l) {
        free(f);
        free(l);
        return CONFAB_NOMEM;
    }
    f->base.ops = &OPS;
    f->below = below;
    f->lane_count = lanes;
    f->lanes = l;
    pthread_mutex_init(&f->mu, NULL);
    *ret_fault = f;
    return CONFAB_OK;
}

void log_fault_free(struct log_fault *f)
{
    if (f) {
        pthread_mutex_destroy(&f->mu);
        free(f->lanes);
        free(f);
    }
}

struct log_store *log_fault_store(struct log_fault *f)
{
    return &f->base;
}

void log_fault_plan(struct log_fault *f, enum log_fault_kind kind, uint64_t nth, uint64_t n,
                    enum confab_err err)
{
    pthread_mutex_lock(&f->mu);
    size_t kept = 0;
    for (size_t i = 0; i < f->plan_count; i++) { /* those that are over make room */
        if (f->calls[f->plans[i].kind] < f->plans[i].to) {
            f->plans[kept++] = f->plans[i];
        }
    }
    f->plan_count = kept;
    CHECK(f->plan_count < PLANS_MAX && nth > 0 && n > 0);
    uint64_t from = f->calls[kind] + nth;
    f->plans[f->plan_count++] = (struct plan){
        .kind = kind,
        .from = from,
        .to = n > UINT64_MAX - from ? UINT64_MAX : from + n - 1,
        .err = err,
    };
    pthread_mutex_unlock(&f->mu);
}

void log_fault_hold(struct log_fault *f, bool hold)
{
    pthread_mutex_lock(&f->mu);
    bool let_go = f->held && !hold;
    f->held = hold;
    pthread_mutex_unlock(&f->mu);
    for (uint16_t i = 0; let_go && i < f->lane_count; i++) {
        if (f->lanes[i].wake) {
            f->lanes[i].wake(f->lanes[i].wake_arg);
        }
    }
}

void log_fault_set_hook(struct log_fault *f, void (*on_call)(void *arg, enum log_fault_kind kind),
                        void *arg)
{
    f->on_call = on_call;
    f->hook_arg = arg;
}

uint64_t log_fault_calls(struct log_fault *f, enum log_fault_kind kind)
{
    pthread_mutex_lock(&f->mu);
    uint64_t n = f->calls[kind];
    pthread_mutex_unlock(&f->mu);
    return n;
}

static const struct log_store_ops OPS = {
    .name = "fault",
    .version = 1,
    .submit = fault_submit,
    .poll = fault_poll,
    .set_wake = fault_set_wake,
    .read = fault_read,
    .trim = fault_trim,
    .stats = fault_stats,
};
