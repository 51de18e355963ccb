/*
 * confab-replay: plays messages against a running server over the public interfaces, keeps what
 * each session received, and checks it. One thread but for the making of accounts.
 *
 * What the server says an event at (conversation, seq) is, it must say to everybody, always: the
 * first telling (a live frame, an acknowledgement, history) is noted as the entry of that seq and
 * compared with what was sent; each later telling is compared with the entry. A session walks each
 * of its conversations seq by seq, so that nothing can be missing, repeated or out of order
 * unnoticed.
 */
#ifndef REPLAY_REPLAY_H
#define REPLAY_REPLAY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/random.h"
#include "base/wheel.h"
#include "child.h"
#include "hist.h"
#include "input.h"
#include "proto/wire.h"
#include "proto/ws.h"
#include "rest.h"

#define NONE        UINT32_MAX
#define TOKEN_BYTES 1024U
#define ERRORS_TOLD 20U

struct options {
    const char *path;
    const char *server_cmd; /* NULL: the server runs already */
    uint16_t port;
    pid_t pid; /* of a server that runs already, for its memory; 0: not known */
    uint32_t limit;
    uint32_t members;
    uint32_t window;     /* messages in flight */
    uint32_t lag;        /* how far the slowest session may be behind; 0: no bound */
    uint32_t kill_every; /* messages between kills, about; 0: no kills */
    const char *breaks;  /* while this file is there, others kill the server; NULL: nobody does */
    uint64_t seed;
    uint32_t ack_ms;
    uint32_t history; /* members whose whole history is compared */
    uint32_t stall_s; /* without progress for so long, it gives up */
    bool json;
    bool mixed;
    bool batch;
    uint32_t directs;
    uint32_t groups;
    uint32_t devices; /* of one person at most */
    uint32_t churn;   /* of 1,000 sends, how many are followed by a device's going or coming */
};

struct person {
    uint64_t user_id;
    char token[TOKEN_BYTES]; /* of the first device */
    uint32_t first_session;
    uint32_t nsessions;
};

/* The event at one seq. */
struct entry {
    uint64_t id;    /* 0: not told yet */
    uint64_t hash;  /* of seq, id, sender and content */
    uint8_t *frame; /* as it came live; NULL: never did */
    uint32_t frame_len;
    uint32_t message; /* index of what was sent; NONE: not a message */
};
struct conv {
    struct conv_id id;
    bool group;
    bool own;          /* a user's own log */
    uint32_t peers[2]; /* direct: people */
    uint32_t *members; /* group: people */
    uint32_t nmembers;
    struct entry *entries; /* seq - 1 */
    uint32_t head;         /* highest seq told */
    uint32_t cap;
};

/* Where one session is in one conversation. */
struct cursor {
    struct conv *conv;
    uint32_t next;  /* seq expected next */
    uint32_t start; /* first seq that counted */
    uint32_t seen;  /* highest seq that came, ahead of `next` or not */
    uint32_t acked; /* told to the server as delivered */
    uint32_t messages;
    uint64_t hash; /* over the entries of the messages from `start` on */
};

struct message {
    struct span text;
    struct conv *conv;
    uint64_t id;
    uint64_t sent_ns; /* of the first attempt */
    uint32_t person;
    uint32_t session;
    uint32_t seq; /* 0: not known */
    bool acked;
};

enum session_state {
    SESSION_OFF = 0,
    SESSION_CONNECTING, /* TCP and upgrade */
    SESSION_HELLO,      /* signed in, waiting for hello */
    SESSION_RESUMING,
    SESSION_READY,
};

struct replay;
struct session {
    struct replay *r;
    uint32_t index;
    uint32_t person;
    char *token; /* its device's; the person's or its own */
    char *own_token;
    int fd;
    enum session_state state;
    bool wanted;  /* should be connected */
    bool refused; /* sends were refused for now and wait for the timer */
    bool ack_due;
    uint32_t attempts;
    struct ws_decoder decoder;
    char accept[WS_ACCEPT_TEXT];
    struct http_scan_state {
        uint32_t pos;
        bool line;
    } scan;
    struct buf in;  /* a partial frame */
    struct buf out; /* not taken by the socket yet */
    struct buf since;
    struct cursor *cursors;
    uint32_t ncursors;
    uint32_t cap_cursors;
    uint32_t last;      /* cursor used last */
    uint32_t *inflight; /* messages sent and not acknowledged, in order */
    uint32_t ninflight;
    uint32_t cap_inflight;
    uint64_t wrote_ns;
    struct wheel_timer timer; /* reconnect, repeat, heartbeat */
    struct wheel_timer ack_timer;
};

struct counters {
    uint64_t acked;
    uint64_t deliveries; /* message copies that sessions took, the sender's by its ack */
    uint64_t live;       /* of those, the ones that came as live frames */
    uint64_t paged;      /* by resume */
    uint64_t fetched;    /* by history, to fill a gap */
    uint64_t ignored;    /* told again after a reconnect */
    uint64_t resyncs;
    uint64_t busy;       /* refused for now, repeated */
    uint64_t repeats;    /* sends repeated after a reconnect */
    uint64_t duplicates; /* answered as repeats of something stored */
    uint64_t reconnects;
    uint64_t kills;
    uint64_t drops; /* devices that went */
    uint64_t receipts;
    uint64_t bytes_in;
    uint64_t errors;
};

struct replay {
    struct options opt;
    struct input input;
    struct person *people;
    uint32_t npeople;
    struct session *sessions;
    uint32_t nsessions;
    struct conv **convs;
    uint32_t nconvs;
    uint32_t mixed_convs; /* the first so many are groups, then directs; people's own come later */
    uint32_t cap_convs;
    struct idmap by_id;    /* conv_id -> struct conv */
    struct u64map by_user; /* user id -> person */
    struct message *messages;
    uint32_t nmessages;
    uint32_t next;     /* message to be sent next */
    uint32_t inflight; /* of all sessions */
    uint32_t nready;   /* sessions */
    int epoll_fd;
    struct wheel wheel;
    struct random_seeded random;
    char run_id[17];
    struct rest rest; /* for gaps and history */
    uint8_t *rbuf;
    struct buf text; /* a frame being made */
    pid_t server_pid;
    bool lossy; /* connections may break: kills or churn */
    uint64_t now_ns;
    uint64_t started_ns; /* of the sending */
    uint64_t ended_ns;
    uint64_t down_ms; /* sum of kill to ready */
    struct child_memory memory;
    uint64_t server_cpu_ms;
    struct counters n;
    struct hist ack_ns;
    struct hist delivery_ns;
};

/* Something is wrong: told (the first ones) and counted; the run goes on to tell more. */
void replay_error(struct replay *r, const char *fmt, ...) CONFAB_PRINTF(2, 3);
/* For want of memory and the like: ends the program. */
void replay_die(const char *what) __attribute__((noreturn));
void *replay_realloc(void *p, size_t n);

/* ---- setup.c: accounts, groups, sessions ---- */
CONFAB_NODISCARD enum confab_err setup_accounts(struct replay *r);
CONFAB_NODISCARD enum confab_err setup_group(struct replay *r, uint32_t owner,
                                             const uint32_t *members, uint32_t n,
                                             struct conv **ret);
/* Another token of the person, for a further device. */
CONFAB_NODISCARD enum confab_err setup_device(struct replay *r, uint32_t person, char **ret_token);

/* ---- track.c: what is known about conversations ---- */
struct conv *conv_add(struct replay *r, struct conv_id id);
struct conv *conv_find(struct replay *r, struct conv_id id);
/* One telling of an event; frame may be empty. NULL: it contradicts what is known (an error). */
struct entry *track_event(struct replay *r, struct conv *c, uint64_t seq, uint64_t id,
                          uint64_t from, bool is_message, struct span content, struct span frame);
/* The answer to a send. */
void track_ack(struct replay *r, uint32_t message, const struct wire_sent *ack);
struct cursor *cursor_find(struct session *s, const struct conv *c);
struct cursor *cursor_add(struct session *s, struct conv *c, uint32_t next);
/* The session takes the entry at cursor->next. */
void cursor_take(struct replay *r, struct cursor *c, const struct entry *e);
/* Fills cursor->next..to from history. CONFAB_NET: the server is away, try again later. */
CONFAB_NODISCARD enum confab_err cursor_fetch(struct session *s, struct cursor *c, uint32_t to);
/* Reads the whole history of a conversation as that session's user and compares it. */
void history_check(struct session *s, struct conv *c);
/* Every session complete, every message stored once, in the right order. */
void final_check(struct replay *r);

/* ---- session.c: one WebSocket ---- */
void session_init(struct replay *r, uint32_t index, uint32_t person);
void session_deinit(struct session *s);
void session_connect(struct session *s);
/* Closes from our side, without a word. */
void session_drop(struct session *s);
void session_send(struct session *s, uint32_t message, bool first);
void session_on_event(struct session *s, uint32_t events);
void session_on_timer(struct session *s);
void session_on_ack_timer(struct session *s);
bool session_is_complete(const struct session *s);
/* For frames.c: */
void session_hello(struct session *s);
void session_resync(struct session *s);
void session_caught_up(struct session *s,
                       struct span since); /* ready; repeats what is unanswered */
void session_repeat_later(struct session *s, uint64_t after_ms);
void session_acknowledge_later(struct session *s);
void session_forget_inflight(struct session *s, uint32_t message);

/* ---- frames.c: what the server says ---- */
void frame_on_text(struct session *s, uint8_t *p, size_t n);

/* ---- play.c ---- */
/* The loop: sends, receives, kills, until everything arrived. */
CONFAB_NODISCARD enum confab_err play_all(struct replay *r);
CONFAB_NODISCARD enum confab_err play_channel_prepare(struct replay *r);
CONFAB_NODISCARD enum confab_err play_mixed_prepare(struct replay *r);

/* ---- report.c ---- */
void report_print(struct replay *r);

#endif
