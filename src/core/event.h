/*
 * Events: the entries of a conversation's log, and their encoding, which is the same in the log, in
 * memory and in chunks. docs/formats/event.md has it byte by byte.
 *
 * One struct carries the fields of every kind; which of them a kind uses is said in its file below
 * src/core/kinds. A field that is zero or empty is not encoded, so that the same event has one
 * encoding, and a new field costs nothing to old kinds.
 */
#ifndef CONFAB_CORE_EVENT_H
#define CONFAB_CORE_EVENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/id.h"

#define EVENT_VERSION 1U

/* Stored: never renumber. */
enum event_kind_id {
    EVENT_CREATE = 1,
    EVENT_MESSAGE = 2,
    EVENT_EDIT = 3,
    EVENT_DELETE = 4,
    EVENT_ADD = 5,
    EVENT_REMOVE = 6,
    EVENT_LEAVE = 7,
    EVENT_ROLE = 8,
    EVENT_RENAME = 9,
    EVENT_SETTINGS = 10,
    /* In a user's own conversation: */
    EVENT_JOINED = 32,
    EVENT_LEFT = 33,
    EVENT_MUTE = 34,
    EVENT_PIN = 35,
    EVENT_BLOCK = 36,
    EVENT_HIDE = 37,
    EVENT_CLOSE = 38,
    EVENT_DRAFT = 39,
    EVENT_KINDS = 64
};

enum conv_kind { CONV_NONE = 0, CONV_DIRECT = 1, CONV_GROUP = 2, CONV_SELF = 3 };
/* value of a draft */
enum draft_reason { DRAFT_WRITTEN = 0, DRAFT_SENT = 1 };
/* value of a leave */
enum leave_reason { LEAVE_ASKED = 0, LEAVE_DELETED = 1 };
/* Not in the order of what they may: see role_rank. */
enum member_role {
    ROLE_NONE = 0,
    ROLE_MEMBER = 1,
    ROLE_ADMIN = 2,
    ROLE_OWNER = 3,
    ROLE_MODERATOR = 4,
    ROLE_GUEST = 5,
    ROLE_LAST = ROLE_GUEST
};
enum message_type { MESSAGE_TEXT = 0 };

enum event_flags {
    EVENT_DELETED = 1, /* a message whose content was deleted for everyone */
    EVENT_EDITED = 2,  /* a message whose content is that of edit_seq */
    EVENT_BLANK = 4,   /* an edit whose content was superseded or deleted */
};

/* Conversation settings, a small bit set. */
enum conv_settings {
    SETTING_HISTORY_JOINED = 1, /* new members see history from their joining on, not all of it */
    SETTING_SEND_ADMINS = 2,    /* only admins and owners may send */
    SETTING_INVITE_ADMINS = 4,  /* only admins and owners may add members */
    SETTINGS_ALL = 7,
    /* Of a user's own conversation: */
    SETTING_CLOSED = 1, /* the account was deleted */
};

#define EVENT_TEXT_MAX     16384U /* the server's option may be lower */
#define EVENT_CMID_MAX     64U
#define EVENT_NAME_MAX     1024U /* bytes; 255 characters */
#define EVENT_MEMBERS_MAX  1000U
#define EVENT_MENTIONS_MAX 100U
/* An encoded event is never larger than this. */
#define EVENT_BYTES_MAX 65536U

/* Spans are borrowed from the bytes the event was decoded from, or from its command. */
struct event {
    uint8_t kind;
    uint64_t seq;   /* dense position in the conversation, from 1 */
    uint64_t ord;   /* messages in the conversation up to and including this event */
    uint64_t id;    /* message_id of the event; its time is inside */
    uint64_t actor; /* user who caused it */

    uint64_t flags;         /* enum event_flags */
    uint64_t type;          /* message: enum message_type; create: enum conv_kind */
    uint64_t value;         /* role, settings, until, on or off: by kind */
    uint64_t user;          /* the user acted on */
    uint64_t target_seq;    /* edit, delete, reply: the event pointed at */
    uint64_t target_id;     /* its id */
    uint64_t prev_edit_seq; /* edit, delete: the latest earlier edit of the target, 0 for none */
    uint64_t edit_seq;      /* message: the edit whose content it shows */
    uint64_t edited_ms;     /* message: when that was */
    uint64_t range_from;    /* hide */
    uint64_t range_to;      /* hide */
    uint64_t src_seq;       /* joined, left: the seq in the conversation that caused it */
    uint64_t content_hash;  /* with cmid: to tell a retry from a misused key */
    struct conv_id conv;    /* self events: the conversation concerned */
    struct span cmid;       /* message: client_msg_id; other kinds: key of the request */
    struct span text;       /* message, edit, draft: content; create, rename: name */
    struct span members;    /* create, add: see event_members_add */
    struct span mentions;   /* message: user ids, each a varint */
};

/* Appends the encoding to `out` (check buf_ok). */
void event_encode(struct buf *out, const struct event *ev);
/*
 * Decodes exactly the bytes given. CONFAB_VERSION: written by a newer program. CONFAB_CORRUPT: not
 * an event. The spans of *ret point into `bytes`; after an error it is of no use.
 */
CONFAB_NODISCARD enum confab_err event_decode(struct span bytes, struct event *ret);
/* Only kind, seq, ord, id and actor. */
CONFAB_NODISCARD enum confab_err event_peek(struct span bytes, struct event *ret);
/* The same for who looks at very many: what an event is and where it stands. */
struct event_head {
    uint64_t seq;
    uint64_t ord;
    uint64_t id;
    uint64_t actor;
    uint8_t kind;
};
CONFAB_NODISCARD enum confab_err event_head_decode(struct span bytes, struct event_head *ret);

/* Does it change who is in a conversation, or what that is? People see these between messages. */
static inline bool event_is_change(uint8_t kind)
{
    return kind == EVENT_CREATE || (kind >= EVENT_ADD && kind <= EVENT_SETTINGS);
}

/* Higher ones may do what lower ones may; 0 for none. docs/users/README.md has the table. */
static inline unsigned role_rank(uint64_t role)
{
    static const uint8_t ranks[ROLE_LAST + 1] = {[ROLE_GUEST] = 1,
                                                 [ROLE_MEMBER] = 2,
                                                 [ROLE_MODERATOR] = 3,
                                                 [ROLE_ADMIN] = 4,
                                                 [ROLE_OWNER] = 5};
    return role <= ROLE_LAST ? ranks[role] : 0;
}
static inline bool role_at_least(uint64_t role, enum member_role least)
{
    return role_rank(role) >= role_rank(least);
}

static inline uint64_t event_time_ms(const struct event *ev)
{
    return message_id_time_ms(ev->id);
}

/* Member lists inside an event: pairs of user id and role. */
void event_members_add(struct buf *list, uint64_t user, uint8_t role);
/* Next pair of the list; false at the end or on damage (then r->bad is set). */
bool event_members_next(struct reader *r, uint64_t *ret_user, uint8_t *ret_role);
/* Next user of a mentions list. */
bool event_mentions_next(struct reader *r, uint64_t *ret_user);

#endif
