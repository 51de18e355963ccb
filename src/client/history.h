/* Pages of history as the server's REST answers hold them. */
#ifndef CONFAB_CLIENT_HISTORY_H
#define CONFAB_CLIENT_HISTORY_H

#include <confab/types.h>

#include "base/buf.h"
#include "base/err.h"
#include "proto/scratch.h"

struct chistory_page {
    struct span messages; /* JSON, checked */
    uint64_t covered_from;
    uint64_t covered_to; /* below covered_from: nothing */
    uint64_t first_seq;
    uint64_t last_seq;
    size_t count;
    bool has_more;
    struct scratch scratch; /* owned block */
};

/*
 * Checks all of a page, borrows from `body`. CONFAB_INVALID; CONFAB_NOMEM. Without `covered` the
 * page covers from its first to its last message. Deinit only after success.
 */
CONFAB_NODISCARD enum confab_err chistory_parse(struct span body, struct chistory_page *ret);
/* Hands out the messages in their order, `source` and `own` unset. */
void chistory_each(struct chistory_page *page,
                   void (*on_message)(void *arg, const struct confab_message *m), void *arg);
void chistory_deinit(struct chistory_page *page);

#endif
