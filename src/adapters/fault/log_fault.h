/*
 * Decorator of the log port that fails and delays by plan. Without a plan it changes nothing.
 * Any thread, as the log below; `wake` reaches the caller as the log below calls it.
 */
#ifndef CONFAB_ADAPTERS_LOG_FAULT_H
#define CONFAB_ADAPTERS_LOG_FAULT_H

#include <stdbool.h>

#include "ports/log.h"

enum log_fault_kind {
    LOG_FAULT_SUBMIT, /* submit answers the error; nothing is passed on. CONFAB_IO is sticky */
    LOG_FAULT_LOSE, /* submit says OK, the log below never sees it; it comes back with CONFAB_IO */
    LOG_FAULT_COMPLETE, /* written below, but comes back with CONFAB_IO: its fate was unknown */
    LOG_FAULT_READ,     /* read answers the error at once */
    LOG_FAULT_TRIM,
    LOG_FAULT_COUNT
};

struct log_fault;

/* Borrows the log below, which needs at least `lanes` lanes. */
CONFAB_NODISCARD enum confab_err log_fault_new(struct log_store *below, uint16_t lanes,
                                               struct log_fault **ret_fault);
void log_fault_free(struct log_fault *f); /* NULL is fine */
struct log_store *log_fault_store(struct log_fault *f);

/*
 * The nth call of that kind from now (1: the next) and the n - 1 after it fail. After LOSE,
 * COMPLETE, or SUBMIT with CONFAB_IO the log has failed, as the port says: submissions are refused
 * with CONFAB_IO and all under way come back with it.
 */
void log_fault_plan(struct log_fault *f, enum log_fault_kind kind, uint64_t nth, uint64_t n,
                    enum confab_err err);
/* While held, `poll` gives nothing; letting go calls each lane's wake. */
void log_fault_hold(struct log_fault *f, bool hold);
/* Called, without locks, before each call of that kind is passed on: to delay, or to look. */
void log_fault_set_hook(struct log_fault *f, void (*on_call)(void *arg, enum log_fault_kind kind),
                        void *arg);
uint64_t log_fault_calls(struct log_fault *f, enum log_fault_kind kind);

#endif
