/*
 * message_store in memory: the reference of the port's meaning, and the simulator's disk. It
 * applies requests on an executor, so that a stepped one decides when and in which order they
 * complete.
 */
#ifndef CONFAB_ADAPTERS_MEM_STORE_MEM_H
#define CONFAB_ADAPTERS_MEM_STORE_MEM_H

#include "ports/message_store.h"

struct store_mem_cfg {
    /* Keeps what store_mem_crash needs: the rows replaced since the last flush, without a bound. */
    bool crashable;
};

/* `ex` must outlive the store. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err store_mem_open(struct store_mem_cfg cfg, struct executor *ex,
                                                struct message_store **ret);
/* Every request must have completed, or its executor have been discarded. NULL is fine. */
void store_mem_close(struct message_store *store);

/*
 * Goes back to what the store held after one of its batches, chosen by `seed`, at or after the last
 * flush. No request may be under way. Returns how many batches were lost. Needs `crashable`.
 */
uint64_t store_mem_crash(struct message_store *store, uint64_t seed);
/* After a crash: continues on another executor, as a restarted process would. */
void store_mem_attach(struct message_store *store, struct executor *ex);
/* A second store with the same rows, all of them flushed. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err store_mem_clone(struct message_store *store, struct executor *ex,
                                                 struct message_store **ret);
/* Batches applied since the last flush, those which a crash may lose. */
uint64_t store_mem_unflushed(struct message_store *store);

#endif
