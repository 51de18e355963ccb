/*
 * Large conversations: those with more members than `large_members`. A full frame of an event goes
 * to the sessions that look at the conversation (look.h), to those of who acts, and of those whom
 * it is about: who is mentioned, added or removed. All other members' sessions are told by a
 * *counter* that it has moved, and how far:
 *
 *     event ─→ owner: frame, counter ─→ each shard: fanout_take ─→ lookers, direct: the frame
 *                                                   channel_take ─→ moved
 *     a round, at most one a second: the latest counter to each member's session that does not look
 *
 * All rounds of a shard together send `counters_second`, so they cost the same whatever is said and
 * by how many: an event costs its lookers. A round that takes longer than a second is followed by
 * the next.
 *
 * Nothing is lost between the two. What a session that looks was not sent before it did, a counter
 * tells it when it begins to look (channel_looked), if there may be any; what came after, it is
 * sent. A round passes over those who look. One who becomes live at a place that the round has
 * passed asks the owner after that, so its resume has what the round tells.
 */
#ifndef CONFAB_GATEWAY_CHANNEL_H
#define CONFAB_GATEWAY_CHANNEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/hash.h"
#include "base/list.h"
#include "gateway/conn.h"

struct delivery;
struct publication;

/* Conversations that have moved in the last second, of one shard. Above, events go to everyone. */
#define CHANNELS_MAX     4096U
#define CHANNEL_EVERY_MS 1000U /* between the beginnings of two rounds of one */
#define CHANNELS_STEP_MS 20U   /* between the parts of a round */

struct channels {
    struct list all; /* struct channel, the next to be served first */
    struct idmap by_conv;
    uint64_t next_ms; /* when something is to be done */
    uint64_t last_ms; /* when the budget was given last */
    int64_t budget;   /* in parts of a counter; negative: more was done */
};

void channels_init(struct shard *s);
void channels_deinit(struct shard *s);

/* Owner: is this of a large conversation, and not for everybody's list (a new name, settings)? */
bool channel_is_large(const struct shard *s, const struct publication *pub);
/*
 * Owner: gives the delivery of an event what a large conversation's has. Without memory it stays
 * as it is, and everyone gets the event.
 */
void channel_fill(struct shard *s, struct delivery *d, const struct publication *pub);
/* What channel_fill gave it. */
void channel_unfill(struct shard *s, struct delivery *d);

/*
 * The conversation of such a delivery has moved. False: no room to remember it, everyone has to
 * get the event.
 */
bool channel_take(struct shard *s, const struct delivery *d);
/* A session looks at it from now on: it is told what it may not have been told yet. */
void channel_looked(struct shard *s, struct conn *c, struct conv_id conv);
/* Parts of rounds that are due. */
void channels_turn(struct shard *s);
uint64_t channels_next_ms(const struct shard *s);

#endif
