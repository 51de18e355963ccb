/*
 * What libconfab hands to its user. All of it is borrowed: valid until the callback returns that
 * received it, unless said otherwise. Times are milliseconds since 1970, UTC; 0 for none. User and
 * message ids are positive numbers, 0 for none. A conversation's id is 32 hex digits.
 */
#ifndef CONFAB_TYPES_H
#define CONFAB_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <confab/error.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CONFAB_CONV_SIZE  33 /* 32 hex digits and a zero */
#define CONFAB_CMID_SIZE  65 /* client_msg_id: up to 64 characters and a zero */
#define CONFAB_TOKEN_SIZE 1025
#define CONFAB_NAME_SIZE  1025 /* of a user or a conversation */

/* What a device is signed in with; secrets. Zero terminated. */
struct confab_tokens {
    char token[CONFAB_TOKEN_SIZE];
    char refresh_token[CONFAB_TOKEN_SIZE]; /* empty: none */
    uint64_t expires_at_ms;                /* of the token; 0: not known */
};

/* UTF-8 text, not zero terminated, may hold control characters; p is NULL when there is none. */
struct confab_text {
    const char *p;
    size_t n;
};

enum confab_conv_kind {
    CONFAB_CONV_UNKNOWN = 0,
    CONFAB_CONV_DIRECT = 1,
    CONFAB_CONV_GROUP = 2,
    CONFAB_CONV_SELF = 3 /* a user's own log */
};
enum confab_role {
    CONFAB_ROLE_NONE = 0,
    CONFAB_ROLE_MEMBER = 1,
    CONFAB_ROLE_ADMIN = 2,
    CONFAB_ROLE_OWNER = 3,
    CONFAB_ROLE_MODERATOR = 4,
    CONFAB_ROLE_GUEST = 5
};
enum confab_settings {
    CONFAB_HISTORY_JOINED = 1, /* new members see history from their joining on */
    CONFAB_SEND_ADMINS = 2,    /* only admins and owners may send */
    CONFAB_INVITE_ADMINS = 4   /* only admins and owners may add members */
};

/* How an event came to this client. */
enum confab_source {
    CONFAB_LIVE = 0,   /* as it happened */
    CONFAB_MISSED = 1, /* it happened while this client was away */
    CONFAB_FILLED = 2, /* fetched from history, to fill a gap */
    CONFAB_FIRST = 3,  /* the latest events of a conversation that this client did not know yet */
    CONFAB_PAGE = 4    /* asked for with confab_history */
};

struct confab_message {
    char conv[CONFAB_CONV_SIZE];
    enum confab_source source;
    bool own;     /* sent by this user */
    bool deleted; /* history: deleted for everyone, content is empty */
    uint64_t seq; /* position in the conversation, from 1, without holes over all its events */
    uint64_t message_id;
    uint64_t from;
    uint64_t sent_at_ms;
    uint64_t edited_at_ms;
    uint64_t reply_to; /* message id */
    struct confab_text content;
    struct confab_text type;          /* "text" */
    struct confab_text client_msg_id; /* own messages only, where known */
    const uint64_t *mentions;         /* user ids */
    size_t nmentions;
};

struct confab_member {
    uint64_t user_id;
    enum confab_role role;
    uint64_t joined_at_ms; /* only from confab_group_members */
};

enum confab_event_kind {
    CONFAB_EVENT_EDITED = 1,     /* message_id, target_seq, content, edited_at_ms */
    CONFAB_EVENT_DELETED = 2,    /* message_id, target_seq */
    CONFAB_EVENT_MEMBERSHIP = 3, /* membership, members; name and conv_kind for CREATE and ADD */
    CONFAB_EVENT_CHANGED = 4,    /* name and/or settings of the conversation */
    CONFAB_EVENT_SELF = 5        /* the user's own log: self and what it says below */
};
enum confab_membership {
    CONFAB_MEMBERS_UNKNOWN = 0,
    CONFAB_MEMBERS_CREATE = 1,
    CONFAB_MEMBERS_ADD = 2,
    CONFAB_MEMBERS_REMOVE = 3,
    CONFAB_MEMBERS_LEAVE = 4,
    CONFAB_MEMBERS_ROLE = 5
};
enum confab_self {
    CONFAB_SELF_UNKNOWN = 0,
    CONFAB_SELF_JOINED = 1, /* target */
    CONFAB_SELF_LEFT = 2,   /* target */
    CONFAB_SELF_MUTE = 3,   /* target, until_ms (0: no longer) */
    CONFAB_SELF_PIN = 4,    /* target, on */
    CONFAB_SELF_BLOCK = 5,  /* user_id, on */
    CONFAB_SELF_HIDE = 6,   /* target, hidden_from to hidden_to */
    CONFAB_SELF_CLOSED = 7, /* the account was deleted */
    CONFAB_SELF_DRAFT = 8   /* target, content (empty: none any more) */
};

/* Anything in a conversation's sequence that is not a new message. */
struct confab_event {
    enum confab_event_kind kind;
    enum confab_source source;
    char conv[CONFAB_CONV_SIZE];
    uint64_t seq;
    uint64_t event_id;
    uint64_t from;
    uint64_t sent_at_ms;

    uint64_t message_id;
    uint64_t target_seq;
    uint64_t edited_at_ms;
    struct confab_text content;

    enum confab_membership membership;
    enum confab_conv_kind conv_kind;
    const struct confab_member *members;
    size_t nmembers;
    struct confab_text name;
    bool has_settings;
    unsigned settings; /* enum confab_settings */

    enum confab_self self;
    bool on;
    char target[CONFAB_CONV_SIZE]; /* a conversation; empty for none */
    uint64_t user_id;
    uint64_t until_ms;
    uint64_t hidden_from;
    uint64_t hidden_to;
};

/* Somebody's cursor moved: everything up to `seq` is delivered to, or read by, user_id. */
struct confab_receipt {
    char conv[CONFAB_CONV_SIZE];
    bool read; /* else delivered */
    uint64_t from_seq;
    uint64_t seq;
    uint64_t message_id; /* of seq */
    uint64_t user_id;
    uint64_t at_ms;
};

/* A conversation that moved since the last connection, or every one on the first. */
struct confab_conversation {
    char conv[CONFAB_CONV_SIZE];
    enum confab_conv_kind kind;
    enum confab_role role;
    bool left; /* the user is no longer in it: nothing but conv and kind is set */
    bool muted;
    bool pinned;
    bool known; /* this client has a position in it */
    struct confab_text name;
    uint64_t with; /* direct: the other user */
    uint64_t members;
    uint64_t head; /* seq of the latest event */
    uint64_t last_message_ms;
    uint64_t unread;
    uint64_t mentions;
    uint64_t delivered; /* this user's cursors */
    uint64_t read;
    uint64_t preview_id; /* message id of the latest message, 0 for none */
    uint64_t preview_from;
    uint64_t preview_ms;
    struct confab_text preview;
    struct confab_text draft; /* what the user has begun to write there */
};

/* What became of a message given to confab_send. */
struct confab_sent {
    const char *client_msg_id;
    enum confab_error error; /* CONFAB_E_OK: stored durably, the following are set */
    bool duplicate;          /* an earlier attempt had been stored: its ids */
    char conv[CONFAB_CONV_SIZE];
    uint64_t seq;
    uint64_t message_id;
    uint64_t sent_at_ms;
    struct confab_text reason; /* the server's words when it failed, may be empty */
};

/* Somebody types in a conversation that is viewed, or no longer does. */
struct confab_typing {
    char conv[CONFAB_CONV_SIZE];
    uint64_t user_id;
    bool active;
    uint64_t expires_in_ms; /* active: when to forget it without further notice */
};

enum confab_presence_status { CONFAB_OFFLINE = 0, CONFAB_AWAY = 1, CONFAB_ONLINE = 2 };
struct confab_presence {
    uint64_t user_id;
    enum confab_presence_status status; /* OFFLINE also when it is not told */
    uint64_t last_seen_ms;              /* 0: online, or not told */
};

enum confab_state {
    CONFAB_STATE_STOPPED = 0,
    CONFAB_STATE_WAITING = 1,    /* between attempts to connect */
    CONFAB_STATE_CONNECTING = 2, /* up to signed in */
    CONFAB_STATE_SYNCING = 3,    /* what was missed is coming in */
    CONFAB_STATE_LIVE = 4,       /* caught up */
    CONFAB_STATE_REFUSED = 5     /* signed out: it will not connect again by itself */
};
/* What carries the events between client and server. */
enum confab_transport {
    CONFAB_TRANSPORT_AUTO = 0, /* whatever works, see confab_options */
    CONFAB_TRANSPORT_WS,       /* a WebSocket */
    CONFAB_TRANSPORT_SSE,      /* a stream of Server-Sent Events, and requests */
    CONFAB_TRANSPORT_POLL,     /* requests that wait for events */
};

struct confab_status {
    enum confab_state state;
    enum confab_error error;         /* why the last connection ended, with WAITING and REFUSED */
    uint64_t retry_in_ms;            /* WAITING */
    uint64_t user_id;                /* once signed in */
    enum confab_transport transport; /* of this connection, or of the next attempt */
};

/*
 * Events between from_seq and to_seq will not be handed out: there were more than fill_max, or the
 * server no longer has them.
 */
struct confab_gap {
    char conv[CONFAB_CONV_SIZE];
    uint64_t from_seq;
    uint64_t to_seq;
};

/*
 * Called from within confab_client_* and confab_session calls, on the caller's thread. Every one
 * may be NULL. They may call anything but confab_client_free, _run, _process and _wait_sent.
 *
 * Events of a conversation come in the order of seq, each at most once over all connections (and
 * restarts, as far as the state was saved), this user's own messages among them.
 */
struct confab_handlers {
    void (*on_message)(void *arg, const struct confab_message *message);
    void (*on_event)(void *arg, const struct confab_event *event);
    void (*on_receipt)(void *arg, const struct confab_receipt *receipt);
    void (*on_conversation)(void *arg, const struct confab_conversation *conversation);
    /* The server's history is another than the one handed out (it was restored from a backup):
     * forget what is known of the conversation. Its latest events follow. */
    void (*on_reset)(void *arg, const char *conv);
    /* See confab_view and confab_presence_follow. */
    void (*on_typing)(void *arg, const struct confab_typing *typing);
    void (*on_presence)(void *arg, const struct confab_presence *presence);
    void (*on_gap)(void *arg, const struct confab_gap *gap);
    void (*on_sent)(void *arg, const struct confab_sent *sent);
    void (*on_state)(void *arg, const struct confab_status *status);
    /* Everything missed has been handed out or is being fetched. Comes after each connect. */
    void (*on_caught_up)(void *arg);
    /* Something failed that the client deals with by itself. `text` is for people. */
    void (*on_error)(void *arg, enum confab_error error, const char *text);
};

#ifdef __cplusplus
}
#endif

#endif
