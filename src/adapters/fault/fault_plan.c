#include "adapters/fault/fault_plan.h"

#include <string.h>

#include "base/check.h"

void fault_plan_init(struct fault_plan *p)
{
    memset(p, 0, sizeof(*p));
    p->delayed_tail = &p->delayed;
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
}

void fault_plan_deinit(struct fault_plan *p)
{
    CHECK(!p->delayed);
    pthread_mutex_destroy(&p->lock);
}

enum confab_err fault_plan_arm(struct fault_plan *p, unsigned op, uint64_t nth, uint64_t count,
                               enum fault_kind kind, enum confab_err err)
{
    CHECK(op > 0 && op < FAULT_OPS_MAX && nth > 0 && count > 0);
    CHECK(kind == FAULT_DELAY || err != CONFAB_OK);
    enum confab_err res = CONFAB_LIMIT;
    pthread_mutex_lock(&p->lock);
    uint64_t first = p->seen[op] + nth;
    uint64_t past = count > UINT64_MAX - first ? UINT64_MAX : first + count;
    for (unsigned i = 0; i < FAULT_RULES_MAX; i++) {
        if (p->rules[i].op == 0) {
            p->rules[i] = (struct fault_rule){op, first, past, kind, err};
            res = CONFAB_OK;
            break;
        }
    }
    pthread_mutex_unlock(&p->lock);
    return res;
}

void fault_plan_disarm(struct fault_plan *p)
{
    pthread_mutex_lock(&p->lock);
    memset(p->rules, 0, sizeof(p->rules));
    pthread_mutex_unlock(&p->lock);
}

/* With the lock held. The first rule that covers the request counts; used-up rules become free. */
static bool find_rule(struct fault_plan *p, unsigned op, struct fault_rule *ret)
{
    uint64_t n = ++p->seen[op];
    bool hit = false;
    for (unsigned i = 0; i < FAULT_RULES_MAX; i++) {
        struct fault_rule *rule = &p->rules[i];
        if (rule->op != op || n < rule->first) {
            continue;
        }
        if (!hit && n < rule->past) {
            *ret = *rule;
            hit = true;
        }
        if (n + 1 >= rule->past) {
            rule->op = 0;
        }
    }
    return hit;
}

bool fault_plan_match(struct fault_plan *p, unsigned op, struct job *job, struct fault_rule *ret)
{
    if (op == 0 || op >= FAULT_OPS_MAX) {
        return false; /* for the engine to refuse */
    }
    pthread_mutex_lock(&p->lock);
    bool hit = find_rule(p, op, ret);
    p->hits += hit;
    if (hit && ret->kind == FAULT_DELAY) {
        job->next = NULL;
        *p->delayed_tail = job;
        p->delayed_tail = &job->next;
        p->ndelayed++;
    }
    pthread_mutex_unlock(&p->lock);
    return hit;
}

struct job *fault_plan_take_delayed(struct fault_plan *p)
{
    pthread_mutex_lock(&p->lock);
    struct job *job = p->delayed;
    p->delayed = NULL;
    p->delayed_tail = &p->delayed;
    p->ndelayed = 0;
    pthread_mutex_unlock(&p->lock);
    return job;
}

uint32_t fault_plan_delayed(struct fault_plan *p)
{
    pthread_mutex_lock(&p->lock);
    uint32_t n = p->ndelayed;
    pthread_mutex_unlock(&p->lock);
    return n;
}

uint64_t fault_plan_seen(struct fault_plan *p, unsigned op)
{
    CHECK(op < FAULT_OPS_MAX);
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->seen[op];
    pthread_mutex_unlock(&p->lock);
    return n;
}

uint64_t fault_plan_hits(struct fault_plan *p)
{
    pthread_mutex_lock(&p->lock);
    uint64_t n = p->hits;
    pthread_mutex_unlock(&p->lock);
    return n;
}
