/*
 * Deleted accounts leave their conversations. The intent is durable with the deletion (the
 * directory's DIR_ACCOUNTS_LEAVING); shard 0 works it off, also after a restart: it asks each
 * account's own log to close until there is nothing left to close, and then tells the directory.
 */
#ifndef CONFAB_GATEWAY_LEAVING_H
#define CONFAB_GATEWAY_LEAVING_H

#include "gateway/link.h"

struct leaving {
    struct command_sink sink;
    uint64_t at_ms;   /* when to ask the directory again; UINT64_MAX: when told */
    uint64_t after;   /* where its list goes on */
    uint64_t told;    /* deletions heard of */
    uint32_t pending; /* accounts of this round under way */
    bool asking;
    bool any; /* this pass over the list had some */
    bool failed;
};

void leaving_init(struct shard *s);
/* Shard 0, early in each turn; and when it wants the next one at the latest. */
void leaving_turn(struct shard *s);
uint64_t leaving_next_ms(const struct shard *s);
/* Any shard: an account was deleted. */
void leaving_tell(struct shard *s);

#endif
