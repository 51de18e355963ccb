/*
 * directory decorator that fails or delays chosen requests of another one. For tests and the
 * simulator.
 */
#ifndef CONFAB_ADAPTERS_FAULT_DIRECTORY_FAULT_H
#define CONFAB_ADAPTERS_FAULT_DIRECTORY_FAULT_H

#include "adapters/fault/fault_plan.h"
#include "ports/directory.h"

/* `inner` must outlive the decorator and stays the caller's. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err directory_fault_open(struct directory *inner,
                                                      struct directory **ret);
/* Every request must have completed. NULL is fine. */
void directory_fault_close(struct directory *dir);
/* Arm with fault_plan_arm and an enum dir_op; see fault_plan.h. */
struct fault_plan *directory_fault_plan(struct directory *dir);
/* Passes on what is delayed, in the order submitted; returns how many. */
uint32_t directory_fault_release(struct directory *dir);

#endif
