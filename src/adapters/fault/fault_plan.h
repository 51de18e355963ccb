/*
 * Which requests a fault decorator spoils, and how: rules over the number of a request among those
 * of its operation. Shared by the decorators of this folder; any thread.
 */
#ifndef CONFAB_ADAPTERS_FAULT_FAULT_PLAN_H
#define CONFAB_ADAPTERS_FAULT_FAULT_PLAN_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "ports/executor.h"

enum fault_kind {
    FAULT_REFUSE = 1, /* submit returns the error; `done` is not called */
    FAULT_FAIL,       /* `done` is called with the error; the engine was not touched */
    FAULT_UNKNOWN,    /* the engine did it; `done` is called with the error all the same */
    FAULT_DELAY,      /* not passed on before it is released */
};

#define FAULT_RULES_MAX 16U
#define FAULT_OPS_MAX   48U

struct fault_rule {
    unsigned op;    /* 0: the rule is free */
    uint64_t first; /* of the requests of `op`, counted from 1 */
    uint64_t past;
    enum fault_kind kind;
    enum confab_err err;
};
struct fault_plan {
    pthread_mutex_t lock;
    uint64_t seen[FAULT_OPS_MAX];
    uint64_t hits;
    struct fault_rule rules[FAULT_RULES_MAX];
    struct job *delayed; /* linked through `next`, which the engine's executor has no use for yet */
    struct job **delayed_tail;
    uint32_t ndelayed;
};

void fault_plan_init(struct fault_plan *p);
void fault_plan_deinit(struct fault_plan *p); /* nothing may be delayed */

/*
 * From the nth (1: the next) request of `op` on, `count` requests are treated as `kind` says.
 * CONFAB_LIMIT when FAULT_RULES_MAX rules still have something to do.
 */
CONFAB_NODISCARD enum confab_err fault_plan_arm(struct fault_plan *p, unsigned op, uint64_t nth,
                                                uint64_t count, enum fault_kind kind,
                                                enum confab_err err);
void fault_plan_disarm(struct fault_plan *p); /* takes back the rules; what is delayed stays so */

/*
 * Counts a request and finds what to do with it; false: pass it on. A delayed request's job is
 * kept.
 */
bool fault_plan_match(struct fault_plan *p, unsigned op, struct job *job, struct fault_rule *ret);
/* The delayed jobs in the order submitted, linked through `next`; they are no longer the plan's. */
struct job *fault_plan_take_delayed(struct fault_plan *p);

uint32_t fault_plan_delayed(struct fault_plan *p);
uint64_t fault_plan_seen(struct fault_plan *p, unsigned op);
uint64_t fault_plan_hits(struct fault_plan *p);

#endif
