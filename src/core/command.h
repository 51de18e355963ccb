/*
 * Commands: what is asked of a conversation's owner, and the answer, in one object. The requester
 * allocates it, hands it over with engine_submit (or the host's `send`, to another shard) and gets
 * it back, with the results filled in, from the host's `complete` on the thread of the owner; the
 * host carries it back to where it came from. It is in exactly one place at any time. One that is
 * `answer_only` may come back as another block, with its first fields and its key only.
 */
#ifndef CONFAB_CORE_COMMAND_H
#define CONFAB_CORE_COMMAND_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"
#include "base/list.h"
#include "base/pool.h"
#include "core/event.h"

enum command_type {
    /*
     * Decide an event of kind in.kind. Inputs by kind, all in `in`:
     *   CREATE    conv (new random id), text = name, members (rising by user), value = settings
     *   MESSAGE   conv, or peer for a direct one (conv is then derived); text, type, cmid,
     * mentions, target_id = id of the message replied to; `fresh` EDIT      target_id, text DELETE
     * target_id        (conv zero: found by target_id) ADD       conv, members (rising)  REMOVE
     * conv, user       LEAVE  conv ROLE      conv, user, value      RENAME  conv, text SETTINGS
     * conv, value MUTE      in.conv, value = until_ms (0 = not muted)       PIN  in.conv, value = 0
     * or 1 DRAFT   in.conv, text (empty: none) BLOCK     user, value = 0 or 1 HIDE      in.conv,
     * range_from, range_to The self kinds (MUTE, PIN, BLOCK, HIDE) run in the actor's own
     * conversation: `conv` is derived. Results: ret_conv, ret_seq, ret_id; duplicate for a repeated
     * client_msg_id.
     */
    COMMAND_EVENT = 1,
    /*
     * Move the actor's cursors: conv and to_seq, or target_id alone; ack_read or else delivered.
     * Completed when the cursor is recorded (before it is durable), or with `durable` set when
     * it is durable.
     */
    COMMAND_ACK,
    /*
     * Messages of conv as the actor may see them: from_seq..to_seq (0: no bound), newest first with
     * `reverse`, at most `limit`; only messages with `messages_only`, with `with_changes` those of
     * members, roles, name and settings too, else every event. at_id or at_ms, where not 0, stand
     * for a bound: with `reverse` only events before it, else after it. offset counts messages from
     * the newest. Results: ret = records (see command_record_next)
     * in rising seq, covered_from, covered_to, more, ret_delivered_seq, ret_read_seq,
     * ret_conv_kind.
     */
    COMMAND_HISTORY,
    /*
     * The actor's own list; with in.conv only that conversation (CONFAB_NOT_FOUND: not in it).
     * Results: entries; ret = their drafts (conv_draft_next), also that of the actor's own
     * conversation; ret_seq, ret_id = head of the self conversation.
     */
    COMMAND_LIST,
    /*
     * Resume: what changed in the conversations named by `items` after since_ms. All of them must
     * belong to partitions of the addressed shard. closed_ms goes in as engine_shared.log_clock_ms
     * was at the start and comes back lowered to what this engine can promise: everything up to it
     * is durable and folded, everything later will carry a later time. Results: one snapshot per
     * item that moved.
     */
    COMMAND_RESUME,
    /*
     * Members of conv that the actor may see, rising by user from above at_id, at most `limit` of
     * them (0: all). Results: ret = pairs (event_members_next), more, ret_count = all of them.
     */
    COMMAND_MEMBERS,
    /*
     * Where is the event target_id? Only if the actor may see it, and, with a conv, only there.
     * Results: ret_conv, ret_seq, ret = its record, cursors as for HISTORY.
     */
    COMMAND_LOOKUP,
    /*
     * Who has got and read the message target_id: as LOOKUP, and up to CONV_STATUS_MEMBERS_MAX
     * members ret = views (command_view_next) of all but its sender, rising by user, paged as for
     * MEMBERS. Results: ret_count, ret_ndelivered, ret_nread = all, those it was delivered to,
     * those who have read it.
     */
    COMMAND_RECEIPTS,
    /* Users that the actor blocks, paged as MEMBERS. Results: ret = pairs, more. */
    COMMAND_BLOCKS,
    /*
     * When the conversations named by `items` had their last message: fills last_id of each (0: no
     * message, or not known). All of them must belong to partitions of the addressed shard.
     */
    COMMAND_HEADS,
    /*
     * Whom may be told what the actor does in conv (or in the direct one with `peer`) at this
     * moment. Results: ret_conv; ret_members, NULL when there is nobody: the actor is no member,
     * or is alone, or one of two has blocked the other.
     */
    COMMAND_AUDIENCE,
    /* Whom the actor is with, by their own conversation. Results: ret_circle. */
    COMMAND_CIRCLE,
    /* Between conversations, made by engines only: */
    COMMAND_FOLLOWUP,
    /* Between shards of the host: no engine ever sees it. */
    COMMAND_HOST,
};

struct circle;
struct member_set;

/* One conversation in the actor's own list. */
struct list_entry {
    struct conv_id conv;
    uint64_t muted_until_ms;
    uint64_t since_ms; /* when the list learnt of the joining or leaving */
    uint8_t conv_kind;
    bool joined;
    bool pinned;
};

/* One conversation asked about in a resume. */
#define RESUME_ALL_MAX 1000U

struct resume_item {
    struct conv_id conv;
    uint64_t have_seq; /* 0: nothing known */
    uint64_t have_id;
    /* Not 0: events from this one on come, also above events_max; RESUME_ALL_MAX at most. */
    uint64_t all_from;
    uint64_t last_id;        /* HEADS: result */
    struct list_entry entry; /* carried along for the answer's sake */
};

/* What a client needs to show a conversation and to be complete from here on. */
struct snapshot {
    struct list_entry entry;
    struct conv_id conv;
    uint8_t conv_kind;
    uint8_t role;
    bool active;   /* the actor is a member now */
    bool limited;  /* events are missing before the first given */
    bool reset;    /* the event id that the client holds is not ours */
    uint64_t peer; /* direct: the other one */
    uint64_t settings;
    uint64_t created_ms;
    uint32_t members;
    uint64_t ord; /* messages so far; 0 when not a member now */
    uint64_t head_seq;
    uint64_t head_id; /* 0: not known, which may be so when the actor is not a member any more */
    uint64_t unread;
    uint32_t mentions;
    uint64_t delivered_seq;
    uint64_t read_seq;
    uint64_t first_visible_seq;
    uint64_t covered_from; /* covered_from > covered_to: nothing */
    uint64_t covered_to;
    uint64_t last_message_id; /* 0: none; its time is inside */
    uint64_t last_message_seq;
    uint64_t last_message_from;
    uint8_t last_message_type;
    uint8_t last_message_flags;
    struct buf name;
    struct buf preview;
    struct buf events; /* records, rising seq */
};
void snapshot_deinit(struct snapshot *s);

/*
 * The lowest of all members' cursors, and when they came to be where they are: the latest time, and
 * the latest without the member whose it is, for messages of theirs.
 */
struct cursor_low {
    uint64_t seq; /* 0: not known */
    uint64_t latest_ms;
    uint64_t latest_user;
    uint64_t other_ms;
};

/* A member's cursors, as seen from one message. Times are those of the cursor record that covers
 * it: it was delivered, or read, then at the latest. */
struct member_view {
    uint64_t user;
    uint64_t delivered_ms; /* 0: not delivered */
    uint64_t read_ms;      /* 0: not read */
};

/*
 * In the order in which it is used: what every command has and what its answer needs first, since
 * hundreds are under way at once and each line of the processor's cache that is looked at again
 * has been forgotten meanwhile.
 */
struct command {
    struct list link; /* of whoever holds it */
    enum command_type type;
    uint16_t origin_shard; /* the host's: where `complete` carries it back to */
    bool fresh;
    bool duplicate;    /* result */
    bool answer_only;  /* the host's: once it is decided it needs only what stands before `body` */
    bool shrunk;       /* … and there is no more of it: command_key, and nothing from `body` on */
    void *context;     /* the host's */
    uint64_t origin;   /* the host's: session handle, excluded from the live frame */
    uint64_t begun_ns; /* the host's: when the request was read */
    uint64_t actor;

    enum confab_err err; /* result */
    uint32_t nsnaps;
    struct conv_id ret_conv;
    uint64_t ret_seq;
    uint64_t ret_id;
    const char *err_field; /* static text or NULL */
    /* Set for commands that an engine makes for itself: called in place of the host's complete. */
    void (*internal_done)(struct command *cmd);

    /* The engine's while it holds the command. */
    struct command_work *work;
    struct span key; /* shrunk: see command_key */

    struct buf body;                /* owned bytes */
    struct buf ret;                 /* result */
    struct resume_item *items;      /* owned */
    struct list_entry *entries;     /* owned */
    struct snapshot *snaps;         /* owned */
    struct member_set *ret_members; /* a reference */
    struct circle *ret_circle;      /* the same */

    struct event in;   /* spans point into `body` */
    uint64_t key_hash; /* the engine's: of actor and in.cmid; 0: not made yet */
    struct conv_id conv;
    uint64_t peer;
    bool peer_deleted; /* the account is: no conversation begins with it any more */
    bool durable;
    bool ack_read;
    bool reverse;
    bool messages_only;
    bool with_changes;
    bool more;             /* result */
    uint8_t ret_conv_kind; /* HISTORY */

    uint32_t limit;
    uint64_t to_seq;
    uint64_t from_seq;
    uint64_t at_id;
    uint64_t at_ms;
    uint64_t offset;
    uint64_t since_ms; /* 0: no token, everything has moved */
    uint32_t nitems;
    uint32_t events_max; /* per conversation in a snapshot */
    uint32_t nentries;

    /* Other results. */
    /* HISTORY, in conversations of up to CONV_STATUS_MEMBERS_MAX: what every member was delivered
     * and has read; a sender counts as having read what they sent. Else 0. */
    struct cursor_low ret_delivered;
    struct cursor_low ret_read;
    uint64_t ret_count;
    uint64_t ret_ndelivered;
    uint64_t ret_nread;
    uint64_t covered_from;
    uint64_t covered_to;
    uint64_t closed_ms;
};

/* Of a shrunk one, whose key follows. */
enum { COMMAND_SHRUNK_BYTES = offsetof(struct command, body) };

/* Zeroed and linked to itself; NULL when out of memory. */
struct command *command_new(enum command_type type);
/* Frees everything it owns; accepts NULL. */
void command_free(struct command *cmd);
/* The same with the calling thread's pool; either pair takes what the other made. */
struct command *command_take(struct pool *pool, enum command_type type);
void command_give(struct pool *pool, struct command *cmd);
/*
 * What is left of a decided command that is `answer_only`, until it is answered: a fifth of it. The
 * rest serves the next one while the processor's cache still holds it. The same command when it is
 * not to be made smaller, or when memory is short.
 */
struct command *command_shrink(struct pool *pool, struct command *cmd);
/* The client_msg_id of an event. */
static inline struct span command_key(const struct command *cmd)
{
    return cmd->shrunk ? cmd->key : cmd->in.cmid;
}
/* Copies bytes into `body` and makes *ret point there: call it for all spans before any is used, or
 * reserve first; spans set by it stay valid because they are re-based when the body grows. */
CONFAB_NODISCARD enum confab_err command_set_span(struct command *cmd, struct span *field,
                                                  struct span bytes);

bool command_view_next(struct reader *r, struct member_view *ret);
/* Next encoded event of a run of records (each a varint length and that many bytes). */
bool command_record_next(struct reader *r, struct event *ret);

#endif
