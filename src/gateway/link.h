/*
 * Links between shards: one ring for each direction of each pair, also from a shard to itself, so
 * that there is one way for everything. A ring carries, in one order,
 *   - requests: commands for the owner of their conversation. Bounded by credits: without one,
 *     link_request returns CONFAB_BUSY;
 *   - completions: those commands on their way back. Each has its room reserved by the credit;
 *   - deliveries: numbered, and the only thing that may find no room. The link is then marked
 *     behind, and the conversations whose deliveries were dropped are remembered (bounded: above
 * it, all). When there is room again their markers go first, and the receiver tells the sessions of
 *     their members to pull (`resync`).
 * Nothing waits on a full ring. The answer to a session and the live frames of others travel the
 * same ring, so that both have the order of the conversation.
 */
#ifndef CONFAB_GATEWAY_LINK_H
#define CONFAB_GATEWAY_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/ring.h"
#include "core/engine.h"
#include "gateway/frame.h"

struct note_item;
struct shard;

/* Who gets a command back; in command.context. Static, or embedded in what waits. */
struct command_sink {
    void (*on_done)(struct shard *s, struct command_sink *sink, struct command *cmd);
};

enum delivery_kind { DELIVERY_EVENT = 1, DELIVERY_RECEIPT, DELIVERY_BEHIND, DELIVERY_TYPING };

struct delivery {
    uint64_t number; /* in its link, from 1 */
    uint8_t kind;
    struct conv_id conv;
    uint64_t origin;            /* connection id that gets the answer instead */
    uint64_t about;             /* TYPING: the user who types, who is not told; counter: who acts */
    uint64_t sent_ms;           /* EVENT: when it was decided, by the wall clock */
    struct frame_bytes *bytes;  /* NULL for BEHIND */
    struct member_set *members; /* BEHIND: NULL means everyone */
    /* EVENT of a large conversation, see channel.h; else NULL: */
    struct frame_bytes *counter;
    struct member_set *all;    /* members, and those who get it in another form */
    struct member_set *direct; /* whom it is about, beside `about`; may be NULL */
    struct frame frame;        /* of the bytes, see delivery_frame; refs 0: not yet made */
};
/* The receiver's handle on the bytes, with a reference for the caller; it may outlive the delivery,
 * whose memory it keeps. */
struct frame *delivery_frame(struct shard *s, struct delivery *d);
void delivery_free(struct shard *s, struct delivery *d);

struct link_behind {
    struct list node;
    struct conv_id conv;
    struct member_set *members;
};

struct link_out {
    struct ring *ring;
    struct shard *peer;
    uint32_t used;   /* credits: requests not yet back */
    uint64_t number; /* of the last delivery */
    bool pushed;     /* wake the peer at the end of the phase */
    bool behind;
    bool behind_all;
    uint32_t nbehind;
    struct list conversations; /* struct link_behind */
    struct note_item *notes;   /* of presence, that wait for room */
    uint32_t nnotes;
    uint32_t cap_notes;
};

struct link_in {
    struct ring *ring; /* the peer's link_out */
    uint64_t number;
};

/* The rings and both ends, for all pairs. */
CONFAB_NODISCARD enum confab_err links_connect(struct shard *const *shards, uint16_t n);
/* Frees the rings this shard reads, with what is in them, and its own ends. */
void links_deinit(struct shard *s);

/*
 * Sends a command to the owner of its conversation; context is its sink. On CONFAB_BUSY it stays
 * the caller's.
 */
CONFAB_NODISCARD enum confab_err link_request(struct shard *s, struct command *cmd);
/* The owner of its conversation asks to be left alone for a while: its log or store is behind. */
bool link_is_pressed(const struct shard *s, struct command *cmd);
/* To a shard, for commands that are not about one conversation. */
CONFAB_NODISCARD enum confab_err link_request_to(struct shard *s, uint16_t to, struct command *cmd);
/* A finished command on its way back to origin_shard. */
void link_complete(struct shard *s, struct command *cmd);
/*
 * A copy of the delivery, an event or a receipt, to each shard with live sessions. Where there is
 * no room for it, or bytes is NULL (there was no memory for the frame), `all`, the members of the
 * conversation, have to pull. Nothing is taken over.
 */
void link_publish(struct shard *s, const struct delivery *what, struct member_set *all);

/*
 * That `user` types, to each shard with sessions that look at something. What finds no room is
 * dropped. Nothing is taken over.
 */
void link_publish_typing(struct shard *s, struct conv_id conv, struct member_set *members,
                         uint64_t user, struct frame_bytes *bytes);

/*
 * Of presence (presence.h), in order, many to an item of the ring; takes its circle over. Waits for
 * room, up to LINK_NOTES_MAX of them; above, or without memory, it is lost and counted.
 */
void link_note(struct shard *s, uint16_t to, const struct note_item *item);
#define LINK_NOTES_MAX (1U << 20)

/* Takes what has come, up to a bound; true when there is more. */
bool links_receive(struct shard *s);
/* The same for the link to itself only. */
bool links_receive_own(struct shard *s);
/* Sends markers where there is room again, wakes peers that got something. */
void links_flush(struct shard *s);

#endif
