/*
 * Who is looking at what, and what only those are told: that somebody types, and the events of
 * large conversations (channel.h). A session says which
 * conversations are on its screen (`view`); nothing of it is stored, and it ends with the session.
 *
 * Typing goes from the session to the owner of the conversation, who knows its members, and from
 * here to the shards with sessions that look:
 *
 *     typing ─ throttled? ─→ COMMAND_AUDIENCE ─→ the owner ─→ ret_members ─→ link_publish_typing
 *                               each shard: those who view the conversation and are members ─→
 * frame
 */
#ifndef CONFAB_GATEWAY_LOOK_H
#define CONFAB_GATEWAY_LOOK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/hash.h"
#include "gateway/conn.h"
#include "proto/wire.h"

struct shard;
struct delivery;
struct member_set;
struct watcher;

/* What is passed on of one session and conversation: one in so many milliseconds. */
#define LOOK_TYPING_EVERY_MS   3000U
#define LOOK_TYPING_EXPIRES_MS 6000U
/* Conversations in which one session may be typing at a time. */
#define LOOK_TYPING_MAX 4U
/* Sessions of a shard that are told of one who types: above it nobody is. */
#define LOOK_TOLD_MAX 4096U

/*
 * The sessions that look at a conversation and whose users are among `members`, at one time. Kept
 * until somebody begins or ends to look; whoever has a reference may go on with what was then.
 */
struct lookers {
    uint32_t refs;
    uint32_t n;
    struct member_set *members;
    uint64_t conns[]; /* ids */
};
void lookers_unref(struct lookers *l); /* NULL is fine */

struct looks {
    struct u64map by_conn; /* index of the connection → struct look * */
    struct idmap by_conv;  /* → struct viewed * */
    atomic_uint nviews;    /* read by peers: without any, nothing of this kind goes there */
};

void looks_init(struct shard *s);
void looks_deinit(struct shard *s);

/*
 * Who looks at it, of these members: *ret gets a reference, or NULL when there are none.
 * CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err look_lookers(struct shard *s, struct conv_id conv,
                                              struct member_set *members, struct lookers **ret);
/* Does the session look at it? */
bool look_sees(struct shard *s, const struct conn *c, struct conv_id conv);

/* What the session said is on its screen, in place of what it said before. */
void look_view(struct shard *s, struct conn *c, const struct wire_view *m);
void look_typing(struct shard *s, struct conn *c, const struct wire_typing *m);
/* It sends there: who was told that it types forgets it with the message, so it may be told anew.
 */
void look_sent(struct shard *s, struct conn *c, struct conv_id conv);
/* Where its subscriptions of presence hang (watch.h), NULL when it has none; NULL: no memory. */
struct watcher **look_watcher(struct shard *s, struct conn *c);
/* The session ends. */
void look_drop(struct shard *s, struct conn *c);

/* Somebody types: tells those who look. Takes the delivery over. */
void look_take_typing(struct shard *s, struct delivery *d);

#endif
