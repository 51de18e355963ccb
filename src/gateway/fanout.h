/*
 * Fan-out inside a shard: a delivery becomes one frame in the queue of each live session of the
 * members that are here. Walks whichever is shorter, the members or the local users. Large ones,
 * and small ones above half of what may be done in a turn, run in chunks over the turns, in turn
 * with others, so that they do not hold up anybody. What follows for the same conversation waits
 * for them: later frames, and the answers to senders. When too many run or wait, links are not read
 * (fanouts_are_full): the ring is the queue then, and bounded as ever.
 */
#ifndef CONFAB_GATEWAY_FANOUT_H
#define CONFAB_GATEWAY_FANOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "gateway/link.h"

/* Where the sessions of the latest delivery's members are. */
struct fanout_known {
    struct member_set *members; /* a reference; NULL: of none */
    uint64_t sessions_gen; /* good for as long as shard.sessions_gen is that; 0: not looked up */
    uint32_t *first;       /* of each member the index of the first session, or SLAB_NONE */
    uint32_t cap;
};

struct fanouts {
    struct list running;  /* struct fanout, heads of their conversation's chain */
    struct idmap by_conv; /* the same */
    uint32_t nrunning;
    uint32_t nwaiting;
    uint32_t used; /* steps of this turn */
    struct fanout_known known;
};

CONFAB_NODISCARD enum confab_err fanouts_init(struct shard *s);
void fanouts_deinit(struct shard *s);

bool fanouts_are_full(const struct shard *s);
/* Half of that: no more of what is durable is taken. */
bool fanouts_are_many(const struct shard *s);
/* Takes the delivery over. */
void fanout_take(struct shard *s, struct delivery *d);
/*
 * Must this finished command wait behind a running fan-out of the conversation? If so it is taken
 * over and its sink called in time.
 */
bool fanout_defer(struct shard *s, struct command *cmd);
/* Runs chunks up to the bound of a turn; true when some are left. */
bool fanouts_run(struct shard *s);

#endif
