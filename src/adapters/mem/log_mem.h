/*
 * The log port in memory: the reference for its contract. Submissions become durable at
 * log_mem_step, or are lost at log_mem_crash. Any thread; `wake` and `on_record` are called without
 * locks held.
 */
#ifndef CONFAB_ADAPTERS_LOG_MEM_H
#define CONFAB_ADAPTERS_LOG_MEM_H

#include "ports/log.h"

#define LOG_MEM_FIRST_LSN 1U

struct log_mem_config {
    uint16_t lanes;           /* at least 1 */
    uint64_t queue_bytes_max; /* 0: 32 MiB */
    uint64_t capacity_bytes;  /* of records kept and queued; CONFAB_NO_SPACE above. 0: no bound */
};

struct log_mem;

CONFAB_NODISCARD enum confab_err log_mem_new(const struct log_mem_config *config,
                                             struct log_mem **ret_log);
void log_mem_free(struct log_mem *log); /* NULL is fine; forgets what is queued */
struct log_store *log_mem_store(struct log_mem *log);

/* Makes up to `max` queued submissions durable and completes them; returns how many. */
size_t log_mem_step(struct log_mem *log, size_t max);
/* The log fails, for good: what is queued comes back with CONFAB_IO. */
void log_mem_fail(struct log_mem *log);
/*
 * As a crash and a new open: durable records stay, the rest is lost. Everything under way or not
 * polled is forgotten (its memory is the caller's again), and a failure is over.
 */
void log_mem_crash(struct log_mem *log);
void log_mem_set_capacity(struct log_mem *log, uint64_t bytes);

#endif
