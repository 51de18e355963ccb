/*
 * The socket's events (docs/api/socket.md) as plain structs: parsing of what clients send, writing
 * of what the server sends, and the reverse of both for the client library. Frames here are the
 * JSON text, without WebSocket header.
 *
 * Parsed structs borrow from the frame's bytes and from the scratch (a block as long as the frame
 * suffices). Lists inside frames are borrowed as JSON text, checked when the frame was parsed, and
 * walked with the _next functions, which then cannot fail. Writers append to a struct buf; check
 * buf_ok once.
 *
 * The numbers of roles, kinds and settings are those that the core stores.
 */
#ifndef CONFAB_PROTO_WIRE_H
#define CONFAB_PROTO_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "proto/json.h"
#include "proto/scratch.h"

#define WIRE_FRAME_MAX    65536U /* client to server */
#define WIRE_TEXT_MAX     16384U /* a server may take less: hello tells it */
#define WIRE_CMID_MAX     64U
#define WIRE_TO_MAX       200U
#define WIRE_TYPE_MAX     32U
#define WIRE_TOKEN_MAX    1024U
#define WIRE_SINCE_MAX    1024U
#define WIRE_MENTIONS_MAX 100U
#define WIRE_VIEW_MAX     20U
#define WIRE_PEOPLE_MAX   200U

enum wire_role {
    WIRE_ROLE_NONE = 0,
    WIRE_ROLE_MEMBER = 1,
    WIRE_ROLE_ADMIN = 2,
    WIRE_ROLE_OWNER = 3,
    WIRE_ROLE_MODERATOR = 4,
    WIRE_ROLE_GUEST = 5
};
enum wire_kind { WIRE_KIND_NONE = 0, WIRE_DIRECT = 1, WIRE_GROUP = 2, WIRE_SELF = 3 };
enum wire_settings {
    WIRE_HISTORY_JOINED = 1, /* "history":"joined", else "all" */
    WIRE_SEND_ADMINS = 2,    /* "send":"admins", else "members" */
    WIRE_INVITE_ADMINS = 4,  /* "invite":"admins", else "members" */
};
enum wire_status { WIRE_STATUS_NONE = 0, WIRE_DELIVERED = 1, WIRE_READ = 2 };

/* Static names; "" for NONE and unknown values. The _parse return NONE for unknown names. */
const char *wire_role_text(enum wire_role role);
enum wire_role wire_role_parse(struct span text);
const char *wire_kind_text(enum wire_kind kind);
enum wire_kind wire_kind_parse(struct span text);
const char *wire_status_text(enum wire_status status);
enum wire_status wire_status_parse(struct span text);
/* {"history":…,"send":…,"invite":…}, all three. */
void wire_put_settings(struct json_writer *w, uint32_t settings);
/*
 * Reads such an object; keys that are missing leave their bit of *io_settings as it is, unknown
 * keys are ignored, unknown values are CONFAB_INVALID in j->err.
 */
bool wire_read_settings(struct json *j, uint32_t *io_settings);

/* What is wrong with a frame, and what the `error` event should point to. */
struct wire_error {
    enum confab_err code; /* CONFAB_INVALID, CONFAB_TOO_LARGE, CONFAB_UNSUPPORTED (unknown event) */
    bool malformed;       /* not JSON, not an object, or without event: counts towards 4400 */
    const char *field;    /* static, documented name of the failing field; NULL when none */
    const char *message;  /* static text for people */
    struct span ref;      /* the client's event, may be empty; borrowed as in the message */
    struct span client_msg_id; /* where there was a valid one */
};

/* ---- Client to server ---- */

enum wire_client_event {
    WIRE_C_NONE = 0,
    WIRE_C_AUTH,
    WIRE_C_SEND, /* send_message, send_group_message and the short form */
    WIRE_C_ACK,
    WIRE_C_HEARTBEAT,
    WIRE_C_RESUME,
    WIRE_C_VIEW,
    WIRE_C_TYPING,
    WIRE_C_PRESENCE,
    WIRE_C_SUBSCRIBE_PRESENCE,
    WIRE_C_UNSUBSCRIBE_PRESENCE,
};

struct wire_send {
    struct span to;            /* user id or username; empty when conv is set */
    struct conv_id conv;       /* zero when `to` is set */
    bool group;                /* send_group_message, or the target came as group_id */
    struct span content;       /* 1 to WIRE_TEXT_MAX bytes, no U+0000 */
    struct span type;          /* "text" when absent; 1 to WIRE_TYPE_MAX of a-z 0-9 _ - . */
    struct span client_msg_id; /* empty only in the short form */
    uint64_t reply_to;         /* 0 for none */
    bool fresh;
    uint32_t nmentions;
    uint64_t mentions[WIRE_MENTIONS_MAX];
};

struct wire_ack {
    uint64_t message_id; /* 0: conv and seq are set; with both in the frame, these win */
    struct conv_id conv;
    uint64_t seq;
    enum wire_status status;
};

/* One conversation that a client holds beyond its `since`. */
struct wire_have {
    struct conv_id conv;
    uint64_t seq;
    uint64_t event_id;
};
struct wire_resume {
    struct span since; /* p is NULL when absent */
    uint32_t nhave;
    struct span have; /* list, for wire_have_next; empty when absent */
    bool batch;       /* takes frames that are arrays of events */
};

/* What is on the client's screen. */
struct wire_view {
    uint32_t n;
    struct conv_id convs[WIRE_VIEW_MAX]; /* each once */
};

struct wire_typing {
    struct span to;      /* user id or username; empty when conv is set */
    struct conv_id conv; /* zero when `to` is set */
    bool active;
};

struct wire_people {
    bool all; /* no list was given */
    uint32_t n;
    uint64_t users[WIRE_PEOPLE_MAX];
};

struct wire_client_msg {
    enum wire_client_event event;
    struct span name; /* as the client wrote it */
    bool short_form;  /* no `event`: `type` named it */
    union {
        struct span token; /* AUTH */
        struct wire_send send;
        struct wire_ack ack;
        struct wire_resume resume;
        struct wire_view view;
        struct wire_typing typing;
        struct span status; /* PRESENCE: online, away or offline */
        struct wire_people people;
    } u;
};

/* Names of the events, by number; NULL behind the last. For documents and their tests. */
const char *wire_client_event_at(size_t i, bool *ret_short_form);
const char *wire_server_event_at(size_t i);

/*
 * Parses one frame. On an error returns err->code, `ret` is undefined. `err` is always written.
 */
CONFAB_NODISCARD enum confab_err wire_parse_client(struct span frame, struct scratch *scratch,
                                                   struct wire_client_msg *ret,
                                                   struct wire_error *err);
/* Start: json_init(&it, resume.have, NULL), json_array_begin(&it) — or wire_list_begin. */
bool wire_have_next(struct json *it, struct wire_have *ret);
/* Begins walking a list span; an empty span is an empty list. */
void wire_list_begin(struct json *it, struct span list, struct scratch *scratch);

/* Writers of the client. Zero and empty fields are left out. */
void wire_put_auth(struct buf *b, struct span token);
void wire_put_send(struct buf *b, const struct wire_send *m);
void wire_put_client_ack(struct buf *b, const struct wire_ack *m);
void wire_put_heartbeat(struct buf *b); /* both directions */
void wire_put_resume(struct buf *b, struct span since, const struct wire_have *have, uint32_t nhave,
                     bool batch);
void wire_put_view(struct buf *b, const struct conv_id *convs, uint32_t n);
void wire_put_client_typing(struct buf *b, const struct wire_typing *m);
void wire_put_presence(struct buf *b, struct span status);
void wire_put_subscribe_presence(struct buf *b, const struct wire_people *m);
void wire_put_unsubscribe_presence(struct buf *b, const struct wire_people *m);

/* ---- Server to client ---- */

enum wire_server_event {
    WIRE_S_UNKNOWN = 0, /* to be ignored */
    WIRE_S_HELLO,
    WIRE_S_ACK,
    WIRE_S_ERROR,
    WIRE_S_HEARTBEAT,
    WIRE_S_NEW_MESSAGE,
    WIRE_S_MESSAGE_EDITED,
    WIRE_S_MESSAGE_DELETED,
    WIRE_S_MEMBERSHIP,
    WIRE_S_CONVERSATION,
    WIRE_S_SELF,
    WIRE_S_DELIVERY_RECEIPT,
    WIRE_S_CONVERSATIONS,
    WIRE_S_CAUGHT_UP,
    WIRE_S_RESYNC,
    WIRE_S_RECONNECT,
    WIRE_S_TYPING,
    WIRE_S_CLOSED,
    WIRE_S_PRESENCE_UPDATE,
    WIRE_S_COUNTER,
};

struct wire_hello {
    uint32_t protocol;
    uint64_t server_time_ms;
    struct span session_id;
    uint64_t user_id;
    uint64_t device_id;
    uint32_t text_bytes;
    uint32_t frame_bytes;
    uint32_t inflight;
    uint32_t heartbeat_ms;
    uint32_t mentions;
    uint64_t edit_window_ms; /* 0: always */
    /* Writing: names, ended by NULL; NULL: none. Parsing: they are ignored. */
    const char *const *features;
};

struct wire_sent {
    struct span client_msg_id; /* written even when empty */
    uint64_t message_id;
    struct conv_id conv;
    uint64_t seq;
    uint64_t sent_at_ms;
    bool duplicate;
};

struct wire_failure {
    struct span code; /* err_wire(…) */
    struct span message;
    struct span field; /* may be empty, like the following */
    struct span ref;
    struct span client_msg_id;
    struct conv_id conv;     /* of a refused acknowledgement; zero: left out */
    uint64_t retry_after_ms; /* 0: left out */
};

/* What every frame of a conversation's sequence has. */
struct wire_seq {
    struct conv_id conv;
    uint64_t seq;
    uint64_t event_id;
    uint64_t sent_at_ms;
    uint64_t from; /* the acting user */
};

struct wire_new_message {
    struct wire_seq at;
    struct span content;
    struct span type;
    struct span client_msg_id; /* empty: left out */
    uint64_t reply_to;         /* 0: left out */
    /* Writing: `mentions`, nmentions ids. Parsing: ids in mentions_json, for wire_id_next. */
    const uint64_t *mentions;
    uint32_t nmentions;
    struct span mentions_json;
};

struct wire_message_edited {
    struct wire_seq at;
    uint64_t message_id;
    uint64_t target_seq;
    struct span content;
    uint64_t edited_at_ms;
};

struct wire_message_deleted {
    struct wire_seq at;
    uint64_t message_id;
    uint64_t target_seq;
};

struct wire_member {
    uint64_t user_id;
    enum wire_role role; /* NONE: left out, with REMOVE and LEAVE */
};

enum wire_membership_action {
    WIRE_MEMBERS_NONE = 0, /* unknown to this program */
    WIRE_MEMBERS_CREATE,
    WIRE_MEMBERS_ADD,
    WIRE_MEMBERS_REMOVE,
    WIRE_MEMBERS_LEAVE,
    WIRE_MEMBERS_ROLE,
};

struct wire_membership {
    struct wire_seq at;
    enum wire_membership_action action;
    /* Writing: `members`, nmembers of them. Parsing: members_json, for wire_member_next. */
    const struct wire_member *members;
    uint32_t nmembers;
    struct span members_json;
    struct span name;    /* p NULL: left out */
    enum wire_kind kind; /* NONE: left out */
};

struct wire_conversation_change {
    struct wire_seq at;
    struct span name; /* p NULL: left out */
    bool has_settings;
    uint32_t settings; /* enum wire_settings */
};

enum wire_self_action {
    WIRE_SELF_NONE = 0, /* unknown to this program */
    WIRE_SELF_JOINED,
    WIRE_SELF_LEFT,
    WIRE_SELF_MUTE,   /* until_ms, 0 for null: no longer */
    WIRE_SELF_PIN,    /* on */
    WIRE_SELF_BLOCK,  /* user_id, on */
    WIRE_SELF_HIDE,   /* hidden_from to hidden_to */
    WIRE_SELF_CLOSED, /* the account was deleted */
    WIRE_SELF_DRAFT,  /* content, empty for none */
};

struct wire_self {
    struct wire_seq at;
    enum wire_self_action action;
    struct conv_id target; /* zero with BLOCK */
    uint64_t user_id;      /* BLOCK */
    uint64_t until_ms;     /* "until" */
    bool on;               /* "pinned", "blocked" */
    struct span content;   /* DRAFT */
    uint64_t hidden_from;  /* "hidden":[from,to] */
    uint64_t hidden_to;
};

struct wire_receipt {
    struct conv_id conv;
    uint64_t from_seq;
    uint64_t seq;
    uint64_t message_id; /* of seq; 0: left out */
    uint64_t user_id;
    enum wire_status status;
    uint64_t at_ms;
};

struct wire_typist {
    struct conv_id conv;
    uint64_t user_id;
    bool active;
    uint32_t expires_in_ms; /* 0: left out, as it is when not active */
};

struct wire_presence_update {
    uint64_t user_id;
    struct span status;
    uint64_t last_seen_ms; /* 0: null */
};

struct wire_preview {
    uint64_t message_id; /* 0: no preview */
    uint64_t from;
    struct span content;
    struct span type;
    uint64_t sent_at_ms;
};

/* That a large conversation has moved, for sessions that do not look at it. */
struct wire_counter {
    struct conv_id conv;
    uint64_t seq; /* the head */
    uint64_t event_id;
    uint64_t sent_at_ms;
    uint64_t messages; /* in the conversation so far */
    uint64_t members;
    /* Writing; parsing passes over these, and over the members. */
    uint64_t last_message_id;    /* 0: left out, what was known of it does not hold any more */
    struct wire_preview preview; /* message_id 0: left out */
};

/* An entry of a `conversations` page. */
struct wire_conv {
    struct conv_id conv;
    enum wire_kind kind;
    bool left;        /* the user is no longer in it: only conv and kind are set */
    struct span name; /* p NULL: left out */
    uint64_t with;    /* direct: the other user; 0: left out */
    enum wire_role role;
    uint64_t members;
    uint64_t head;
    uint64_t head_id;
    uint64_t last_message_ms; /* 0: left out */
    struct wire_preview preview;
    uint64_t messages; /* so far, of a large one; 0: left out */
    uint64_t unread;
    uint64_t mentions;
    bool muted;
    bool pinned;
    struct span draft; /* p NULL: left out */
    uint64_t delivered;
    uint64_t read;
    uint64_t covered_from; /* covered_to < covered_from: nothing is covered */
    uint64_t covered_to;
    bool limited;
    bool reset;
    struct span events; /* parsing: list, for wire_event_next */
};

void wire_put_hello(struct buf *b, const struct wire_hello *m);
void wire_put_ack(struct buf *b, const struct wire_sent *m);
void wire_put_error(struct buf *b, const struct wire_failure *m);
/* The same, for a frame that wire_parse_client refused. */
void wire_put_parse_error(struct buf *b, const struct wire_error *e);
void wire_put_new_message(struct buf *b, const struct wire_new_message *m);
/* {"type":"message","from","text","timestamp"} and the ids, for sessions of the short form. */
void wire_put_short_message(struct buf *b, const struct wire_new_message *m);
void wire_put_message_edited(struct buf *b, const struct wire_message_edited *m);
void wire_put_message_deleted(struct buf *b, const struct wire_message_deleted *m);
void wire_put_membership(struct buf *b, const struct wire_membership *m);
void wire_put_conversation(struct buf *b, const struct wire_conversation_change *m);
void wire_put_self(struct buf *b, const struct wire_self *m);
void wire_put_receipt(struct buf *b, const struct wire_receipt *m);
void wire_put_typing(struct buf *b, const struct wire_typist *m);
void wire_put_counter(struct buf *b, const struct wire_counter *m);
void wire_put_presence_update(struct buf *b, const struct wire_presence_update *m);
/* {"type":"presence","userId","status"}, for sessions of the short form. */
void wire_put_short_presence(struct buf *b, const struct wire_presence_update *m);
/* reset: the token was of a time that is lost; the pages had every conversation of the user. */
void wire_put_caught_up(struct buf *b, struct span since, uint64_t server_time_ms, bool reset);
void wire_put_resync(struct buf *b);
void wire_put_reconnect(struct buf *b, uint32_t delay_ms);
/* The close frame of those that have no WebSocket. */
void wire_put_closed(struct buf *b, uint16_t close_code, struct span reason);
void wire_put_token_expiring(struct buf *b, uint64_t expires_ms);
void wire_put_authenticated(struct buf *b, uint64_t expires_ms); /* a token was renewed */

/*
 * A page:  wire_page_begin  { wire_page_conv  { wire_page_event  wire_put_…(b, …) }
 *          wire_page_conv_end }  wire_page_end
 */
void wire_page_begin(struct json_writer *w, struct buf *b);
void wire_page_conv(struct json_writer *w, const struct wire_conv *c);
/* Before each event: the caller then appends one frame to the buf. */
void wire_page_event(struct json_writer *w);
void wire_page_conv_end(struct json_writer *w);
void wire_page_end(struct json_writer *w);

struct wire_server_msg {
    enum wire_server_event event;
    struct span name;
    union {
        struct wire_hello hello;
        struct wire_sent ack;
        struct wire_failure error;
        struct wire_seq at; /* of all frames of the sequence */
        struct wire_new_message message;
        struct wire_message_edited edited;
        struct wire_message_deleted deleted;
        struct wire_membership membership;
        struct wire_conversation_change conversation;
        struct wire_self self;
        struct wire_receipt receipt;
        struct span page; /* CONVERSATIONS: list, for wire_conv_next */
        struct {
            struct span since;
            uint64_t server_time_ms;
            bool reset;
        } caught_up;
        struct wire_typist typing;
        struct wire_counter counter;
        struct wire_presence_update presence;
        uint32_t delay_ms;   /* RECONNECT */
        uint32_t close_code; /* CLOSED */
    } u;
};

/* Is it one of those that have `at`? */
bool wire_in_sequence(enum wire_server_event event);

/*
 * Parses one frame of the server. Unknown events are CONFAB_OK with WIRE_S_UNKNOWN. The entries of
 * a page are checked as JSON only: see wire_conv_next.
 */
CONFAB_NODISCARD enum confab_err wire_parse_server(struct span frame, struct scratch *scratch,
                                                   struct wire_server_msg *ret,
                                                   struct wire_error *err);
bool wire_id_next(struct json *it, uint64_t *ret);
bool wire_member_next(struct json *it, struct wire_member *ret);
/* False at the end, or with json_ok(it) false when an entry is not valid. */
bool wire_conv_next(struct json *it, struct wire_conv *ret);
/* The next frame of wire_conv.events, for wire_parse_server. */
bool wire_event_next(struct json *it, struct span *ret_frame);

#endif
