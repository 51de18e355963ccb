/*
 * directory in memory: the reference of the port's meaning, and the simulator's. What it has
 * answered is durable as long as the object lives, so a simulated crash leaves it as it is.
 */
#ifndef CONFAB_ADAPTERS_MEM_DIRECTORY_MEM_H
#define CONFAB_ADAPTERS_MEM_DIRECTORY_MEM_H

#include "ports/directory.h"

/* Requests run on `ex`, which must outlive the directory. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err directory_mem_open(struct executor *ex, struct directory **ret);
/* Every request must have completed, or its executor have been discarded. NULL is fine. */
void directory_mem_close(struct directory *dir);
/* Continues on another executor, as a restarted process would. No request may be under way. */
void directory_mem_attach(struct directory *dir, struct executor *ex);
/* A second directory that holds the same. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err directory_mem_clone(struct directory *dir, struct executor *ex,
                                                     struct directory **ret);

#endif
