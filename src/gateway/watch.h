/*
 * Who looks at whose presence, where the sessions are that look: `subscribe_presence`, and GET
 * …/presence, which is a subscription for one answer. For everybody looked at and everybody who
 * looks there is one struct person on a shard, kept current by their home (presence.h), with their
 * state and whom they are with. From two of them it follows here what the one is told of the other:
 *
 *     both in one conversation, neither blocks the other, neither hides being online → the state;
 *     neither hides the last time → that, while not online;          otherwise: offline, no time.
 *
 * It is judged whenever one of the two changes, so that leaving, blocking and hiding show at once,
 * and a session is told only what differs from what it was told last.
 */
#ifndef CONFAB_GATEWAY_WATCH_H
#define CONFAB_GATEWAY_WATCH_H

#include "base/hash.h"
#include "base/list.h"
#include "gateway/presence.h"
#include "proto/wire.h"

struct api_call;
struct watcher;

struct watches {
    struct u64map people; /* user → struct person * */
    struct list asks;     /* struct watcher, of REST calls */
    struct list behind;   /* those that may have missed something, for want of room */
    uint64_t behind_at_ms;
    uint32_t nsubs;
};

void watches_init(struct shard *s);
void watches_deinit(struct shard *s);
/* Tells those who are behind, when there is room again. */
void watches_turn(struct shard *s);
uint64_t watches_next_ms(const struct shard *s);

/* CONFAB_LIMIT: more than a session may have, nothing is changed. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err watch_subscribe(struct shard *s, struct conn *c,
                                                 const struct wire_people *m);
void watch_unsubscribe(struct shard *s, struct conn *c, const struct wire_people *m);
/* Its ephemeral frames were dropped. */
void watch_forgotten(struct shard *s, struct conn *c);
/* NULL is fine. */
void watcher_free(struct shard *s, struct watcher *w);

/* Answers the call with what its user may know of another. */
void watch_ask(struct shard *s, struct api_call *call, uint64_t user);

/* A home says how somebody is. Takes the circle over. */
void watch_state(struct shard *s, struct note_item *item);

#endif
