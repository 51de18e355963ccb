/*
 * message_store decorator that fails or delays chosen requests of another one. For tests and the
 * simulator.
 */
#ifndef CONFAB_ADAPTERS_FAULT_STORE_FAULT_H
#define CONFAB_ADAPTERS_FAULT_STORE_FAULT_H

#include "adapters/fault/fault_plan.h"
#include "ports/message_store.h"

/* `inner` must outlive the decorator and stays the caller's. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err store_fault_open(struct message_store *inner,
                                                  struct message_store **ret);
/* Every request must have completed. NULL is fine. */
void store_fault_close(struct message_store *store);
/* Arm with fault_plan_arm and an enum store_op; see fault_plan.h. */
struct fault_plan *store_fault_plan(struct message_store *store);
/* Passes on what is delayed, in the order submitted; returns how many. */
uint32_t store_fault_release(struct message_store *store);

#endif
