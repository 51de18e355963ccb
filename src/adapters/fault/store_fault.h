/*
 * message_store decorator that fails or delays chosen requests of another store. For tests.
 */
#ifndef CONFAB_ADAPTERS_FAULT_STORE_FAULT_H
#define CONFAB_ADAPTERS_FAULT_STORE_FAULT_H

#include "ports/message_store.h"

enum store_fault_kind {
    STORE_FAULT_REFUSE = 1, /* submit returns `err`; `done` is not called */
    STORE_FAULT_FAIL,       /* `done` is called with `err`; the store was not touched */
    STORE_FAULT_UNKNOWN,    /* the store did it, `done` is called with `err` all the same */
    STORE_FAULT_DELAY,      /* not passed on before store_fault_release */
};
#define STORE_FAULT_RULES_MAX 16U

/* `inner` must outlive the decorator and stays the caller's. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err store_fault_open(struct message_store *inner,
                                                  struct message_store **ret);
/* Every request must have completed. NULL is fine. */
void store_fault_close(struct message_store *store);

/*
 * From the nth (1: the next) submitted request of `op` on, `count` requests are treated as `kind`
 * says. CONFAB_LIMIT above STORE_FAULT_RULES_MAX rules that still have something to do.
 */
CONFAB_NODISCARD enum confab_err store_fault_arm(struct message_store *store, enum store_op op,
                                                 uint64_t nth, uint64_t count,
                                                 enum store_fault_kind kind, enum confab_err err);
/* Takes back all rules; what is delayed stays so. */
void store_fault_disarm(struct message_store *store);
/* Passes on what is delayed, in the order submitted; returns how many. */
uint32_t store_fault_release(struct message_store *store);
uint32_t store_fault_delayed(struct message_store *store);
/* Requests of `op` that were submitted, and those that a rule hit. */
uint64_t store_fault_seen(struct message_store *store, enum store_op op);
uint64_t store_fault_hits(struct message_store *store);

#endif
