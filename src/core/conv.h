/*
 * The state of a conversation: what fold makes of its events. Pure data and pure functions; the
 * engine keeps its own bookkeeping (tail, queues, dirtiness) around it in struct resident.
 *
 * The canonical encoding is deterministic: the same events give the same bytes. A header row holds
 * it without the members when there are more than CONV_INLINE_MEMBERS; those have a row each.
 */
#ifndef CONFAB_CORE_CONV_H
#define CONFAB_CORE_CONV_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "core/command.h"
#include "core/event.h"

#define CONV_INLINE_MEMBERS 64U
#define CONV_PREVIEW_BYTES  120U
#define CONV_INTERVALS_MAX  16U
#define CONV_HIDDEN_MAX     512U
#define CONV_MENTIONS_MAX   100U
#define CONV_MEMBERS_MAX    250000U
#define CONV_ENTRIES_MAX    50000U
#define CONV_FOLLOWUPS_MAX  4096U
#define CONV_DRAFTS_MAX     200U    /* of one user */
#define CONV_DRAFTS_BYTES   131072U /* of all their texts */
/* Up to this size the status of a message is derived from its members' cursors. */
#define CONV_STATUS_MEMBERS_MAX 1000U

/* A closed range of seqs. */
struct range {
    uint64_t from;
    uint64_t to; /* UINT64_MAX: still open */
};

/* What few members have; allocated when needed. */
struct member_extra {
    struct range *past;   /* earlier intervals of visibility, rising */
    struct range *hidden; /* deleted for this member only, rising, disjoint */
    uint64_t *mentions;   /* ords of unread messages that mention this member, rising */
    uint32_t npast;
    uint32_t nhidden;
    uint32_t nmentions;
};

struct member {
    uint64_t user;
    uint64_t visible_from; /* first seq of the present (or last) interval of visibility */
    uint64_t visible_to;   /* UINT64_MAX while active */
    uint64_t joined_ms;
    uint64_t delivered_seq;
    uint64_t delivered_ms;
    uint64_t read_seq;
    uint64_t read_ms;
    uint64_t read_ord; /* ord at read_seq */
    uint64_t self_seq; /* of the latest block or unblock in the user's own log */
    uint64_t draft; /* seq in the user's own log of the latest draft, times 2; + 1: there is one */
    struct member_extra *extra;
    uint8_t role;   /* enum member_role; ROLE_NONE: no longer, or not yet, a member */
    bool blocks;    /* direct: does not take messages from the other */
    bool dirty;     /* the engine's: its row must be written */
    uint32_t noted; /* the engine's: place from 1 in its list of noted cursors, 0: none */
};

/* An effect on another conversation's log that has not been confirmed yet. */
enum followup_type {
    FOLLOWUP_JOINED = 1, /* to a self conversation */
    FOLLOWUP_LEFT = 2,   /* to a self conversation */
    FOLLOWUP_BLOCK = 3,  /* to a direct conversation */
    FOLLOWUP_HIDE = 4,   /* to any conversation */
    FOLLOWUP_LEAVE = 5,  /* to any conversation: the account is gone */
    FOLLOWUP_DRAFT = 6,  /* to any conversation: there is a draft, or none any more */
    FOLLOWUP_SENT = 7,   /* to a self conversation: from = seq of the draft that this ends */
};
struct followup {
    uint64_t seq;  /* of the event that caused it */
    uint64_t user; /* whom it concerns; LEAVE: number among those of its event */
    struct conv_id target;
    uint64_t from;
    uint64_t to;
    uint8_t type;
    bool on;
    bool sent; /* the engine's: under way, not stored */
};

/* Self: one conversation of the user. */
struct self_entry {
    struct conv_id conv;
    uint64_t src_seq; /* highest seq there that caused an entry here */
    uint64_t since_ms;
    uint64_t muted_until_ms;
    uint8_t conv_kind;
    bool joined;
    bool pinned;
};

/* Self: what the user has begun to write. */
struct self_draft {
    struct conv_id conv;
    uint64_t seq; /* of its event */
    uint32_t len;
    uint8_t *text;
};

struct conv {
    struct conv_id id;
    uint8_t kind; /* enum conv_kind */
    uint64_t settings;
    uint64_t head_seq;
    uint64_t head_id;
    uint64_t ord;      /* messages so far */
    uint64_t moved_ms; /* time of the latest event or cursor record */
    uint64_t created_ms;
    struct buf name;
    uint64_t name_seq; /* of the event that gave it */
    /* The latest message: */
    uint64_t last_seq;
    uint64_t last_id;
    uint64_t last_from;
    uint64_t last_type;
    uint64_t last_flags;
    struct buf preview;

    struct member *members; /* sorted by user, former ones included */
    uint32_t nmembers;
    uint32_t cap_members;
    uint32_t nactive;

    struct followup *followups; /* in order of seq */
    uint32_t nfollowups;
    uint32_t cap_followups;

    struct self_entry *entries; /* self: sorted by conv */
    uint32_t nentries;
    uint32_t cap_entries;

    uint64_t *blocked; /* self: users, sorted */
    uint32_t nblocked;
    uint32_t cap_blocked;

    struct self_draft *drafts; /* self: sorted by conv */
    uint32_t ndrafts;
    uint32_t cap_drafts;
    uint32_t draft_bytes; /* of their texts */
};

void conv_init(struct conv *c, struct conv_id id);
void conv_deinit(struct conv *c);
/* Heap bytes held, roughly, without those of member_extra. */
size_t conv_bytes(const struct conv *c);
/* Those; walks over all members. */
size_t conv_extra_bytes(const struct conv *c);

/* NULL when the user was never a member. The pointer is good until the next member is added. */
struct member *conv_member(const struct conv *c, uint64_t user);
/* NULL unless a member now. */
struct member *conv_active(const struct conv *c, uint64_t user);
/* Finds or makes the row; NULL when out of memory. */
struct member *conv_member_make(struct conv *c, uint64_t user);
struct self_entry *conv_entry(const struct conv *c, struct conv_id id);
struct self_entry *conv_entry_make(struct conv *c, struct conv_id id);
struct self_draft *conv_draft(const struct conv *c, struct conv_id id);
/* Empty text: none. */
CONFAB_NODISCARD enum confab_err conv_set_draft(struct conv *c, struct conv_id id, uint64_t seq,
                                                struct span text);
/* All of them, one after the other; and the next of such a run: false at its end or on damage. */
void conv_encode_drafts(struct buf *out, const struct conv *c);
bool conv_draft_next(struct reader *r, struct conv_id *ret_conv, uint64_t *ret_seq,
                     struct span *ret_text);
/* A count and that many; conv_decode's. */
CONFAB_NODISCARD enum confab_err conv_decode_drafts(struct conv *c, struct reader *r);
bool conv_blocks_user(const struct conv *c, uint64_t user);
enum confab_err conv_set_blocked(struct conv *c, uint64_t user, bool on);

/* May this member see the event at seq? Intervals and hidden ranges. */
bool member_sees(const struct member *m, uint64_t seq);
/* The nearest seq that the member may see, from `seq` on, upwards or down; false: there is none. */
bool member_next_visible(const struct member *m, uint64_t seq, bool down, uint64_t *ret);
/* Lowest seq that the member may ever see. */
uint64_t member_first_visible(const struct member *m);
/* Highest seq that the member may see, given the head. */
uint64_t member_last_visible(const struct member *m, uint64_t head_seq);
/* Opens a new interval of visibility from seq on; an earlier one stays readable. */
CONFAB_NODISCARD enum confab_err member_show_from(struct member *m, uint64_t seq);
CONFAB_NODISCARD enum confab_err member_hide(struct member *m, struct range r);
CONFAB_NODISCARD enum confab_err member_mention(struct member *m, uint64_t ord);
/* Moves the cursors forward by max; drops mentions that are read. Returns what moved. */
enum cursor_moved { CURSOR_DELIVERED = 1, CURSOR_READ = 2 };
int member_move_cursors(struct member *m, uint64_t delivered, uint64_t delivered_ms, uint64_t read,
                        uint64_t read_ms, uint64_t read_ord);
uint64_t conv_unread(const struct conv *c, const struct member *m);
uint32_t member_mentions(const struct member *m);
/* The lowest cursors of the active members; 0 above CONV_STATUS_MEMBERS_MAX, or without two. */
void conv_lowest_cursors(const struct conv *c, struct cursor_low *ret_delivered,
                         struct cursor_low *ret_read);

CONFAB_NODISCARD enum confab_err conv_followup_add(struct conv *c, const struct followup *f);
/* Removes the one with this seq and user, if it is there; returns whether. */
bool conv_followup_remove(struct conv *c, uint64_t seq, uint64_t user);

/* Canonical encoding. With `all` the members are always inside; else only up to the inline bound.
 */
void conv_encode(struct buf *out, const struct conv *c, bool all);
/*
 * Into an initialised, empty conv. *ret_external: the members are in rows, to be given to
 * conv_decode_member one by one, in order of user.
 */
CONFAB_NODISCARD enum confab_err conv_decode(struct conv *c, struct span bytes, bool *ret_external);
void conv_encode_member(struct buf *out, const struct member *m);
CONFAB_NODISCARD enum confab_err conv_decode_member(struct conv *c, struct span bytes);

#endif
