/*
 * Connections of a shard: accepting, reading, output queues, timers, and their end. What the bytes
 * mean is decided in http.c and session.c.
 *
 *      accept → CONN_HTTP ──── 101 ───→ CONN_WS ── close frame sent ──→ CONN_WS_CLOSING
 *                  │  answered with close  │                                  │ peer's, or time
 *                  ▼                       │ network, time                    ▼
 *             CONN_LINGER ── EOF, time ──→ CONN_DEAD ←────────────────────────┘
 *                                          freed at the end of the turn
 *
 * A connection that is idle owns this struct and nothing else: input that is not a whole frame or
 * request, requests under way and the like live in its `io`, which is there only meanwhile; queued
 * output is in chunks of a shared pool. Its id names it across turns, shards and reuse of its
 * place.
 *
 * A carried session is a connection without a socket: CONN_CARRIED from its making until it dies.
 *
 * `holds` stop the processing of input: bytes stay where they are (first in io->in, then in the
 * net) until the last hold is gone.
 */
#ifndef CONFAB_GATEWAY_CONN_H
#define CONFAB_GATEWAY_CONN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "gateway/frame.h"
#include "proto/http1.h"
#include "proto/ws.h"

struct shard;

enum conn_state {
    CONN_HTTP = 0,
    CONN_WS,
    CONN_WS_CLOSING,
    CONN_CARRIED, /* no socket: a session whose frames go out by HTTP calls, see carrier.h */
    CONN_LINGER,
    CONN_DEAD
};

enum conn_flags {
    CONN_BLOCKED = 1,      /* the net takes no more; NET_WRITABLE will come */
    CONN_DIRTY = 2,        /* in the list of those to be written */
    CONN_READY = 4,        /* in the list of those whose input goes on */
    CONN_UNREAD = 8,       /* the net has more input than was read */
    CONN_FINISH = 16,      /* ends when its output is written */
    CONN_LOOPBACK = 32,    /* the peer's address is one */
    CONN_LIVE = 64,        /* session: live frames go here */
    CONN_SLOW = 128,       /* session: frames were dropped; `resync` when the queue is empty */
    CONN_SHORT = 256,      /* session: wants the short form too */
    CONN_PINGED = 512,     /* session: silent, was asked */
    CONN_RESUMING = 1024,  /* session: a resume is running or waiting */
    CONN_PEER_DONE = 2048, /* the peer will send nothing more */
    CONN_WORKING = 4096,   /* its input is being processed, further up the stack */
    CONN_EXPIRING = 8192,  /* session: was told that its token runs out */
    CONN_LOOKS = 16384,    /* session: has a struct look, see look.h */
    CONN_BULK = 32768,     /* in the queue of those to be written when there is time */
};

enum conn_wire {
    WIRE_BATCH = 1,       /* session: takes arrays of events */
    WIRE_ARRAY_FIRST = 2, /* nothing of the array under way was written whole */
    WIRE_ARRAY_DEFLATED = 4,
    /* What goes to it is compressed, with at most that window; none of them: it is not. */
    WIRE_NARROW = 8, /* 512 bytes */
    WIRE_MIDDLE = 16,
    WIRE_WIDE = 24,
    WIRE_WINDOW = 24, /* all of it */
    WIRE_PROXY = 32,  /* the peer is one of trusted-proxies, see proxies.h */
    WIRE_FROM = 64,   /* session: passed on by one, rates.from has its client */
    WIRE_ASKED = 128, /* HTTP: had a request before */
};

enum conn_holds {
    HOLD_CALL = 1,     /* HTTP: a request is being answered */
    HOLD_AUTH = 2,     /* HTTP: it is being looked up whether it may */
    HOLD_LOOKUP = 4,   /* session: a name is being looked up */
    HOLD_INFLIGHT = 8, /* session: too many unanswered sends */
    HOLD_OUTPUT = 16,  /* its output queue is full */
    HOLD_LEAVING = 32, /* session: it is sent off, and gets its last answers */
    HOLD_OWNER = 64,   /* session: who decides its last send has no room for it */
};

/* Of the connection of a GET that fetches a carried session's events (pipe.h). */
struct pipe {
    uint64_t session; /* 0: it is none */
    uint8_t mode;     /* enum carrier_mode */
    bool open;        /* a stream whose head is out */
    bool full;        /* the session waits until it has room */
};

/* Where an HTTP connection stands in its request. */
struct http_state {
    struct http_scan scan;
    struct http_body body;
    struct buf body_buf; /* decoded chunks */
    uint32_t head_len;   /* bytes of the head; 0 while it is incomplete */
    uint32_t raw_len;    /* bytes of the body as sent: declared, or chunks taken so far */
    uint8_t minor;
    bool chunked;
    bool begun;     /* a byte of a request is there, a deadline runs */
    bool complete;  /* all of it is there */
    bool head_only; /* the request was HEAD */
    bool keep_alive;
    bool is_get;
    bool gzip;               /* and the answer may be in gzip */
    struct api_claim *claim; /* of its Idempotency-Key, when that is known */
    bool auth_done;          /* auth_err is known, for the request at the start of io->in */
    uint8_t cors;            /* its page, see origin_cors */
    enum confab_err auth_err;
    uint64_t begun_ns;    /* when it was complete */
    uint64_t expect_user; /* ?userId= of a socket without token */
    uint64_t from;        /* passed_on: the client's address as rates_from has it */
    bool passed_on;       /* a trusted proxy named the client of the request at hand */
    struct pipe pipe;     /* the request at hand fetches events */
};

struct conn_io {
    struct buf in;        /* input not yet consumed */
    struct buf fragments; /* session: of the message under way */
    uint32_t partial_s;   /* session: since when the rest of a message is missing; 0: it is not */
    struct http_state http;
};

struct conn {
    struct wheel_timer timer;
    struct conn_io *io; /* NULL while there is nothing */
    uint64_t user;      /* session: 0 until signed in */
    uint64_t device;
    union {
        struct ws_decoder ws;    /* CONN_WS, CONN_WS_CLOSING */
        struct carrier *carrier; /* CONN_CARRIED: owned */
    };
    int32_t handle; /* -1: carried */
    uint32_t index;
    uint32_t generation;
    uint32_t next_of_user; /* index of the user's next session here, or SLAB_NONE */
    uint32_t next_dirty;
    uint32_t next_ready;
    uint32_t seen_s;    /* last sign of life, seconds of the shard's clock */
    uint32_t expires_s; /* session: when its token runs out, seconds since 1970 */
    uint32_t out_bytes; /* queued */
    uint32_t out_head;  /* chunk */
    uint32_t out_tail;
    uint32_t out_offset; /* bytes of what the first frame has become that are already written */
    uint16_t out_frames;
    uint16_t flags;      /* enum conn_flags */
    uint16_t inflight;   /* session: sends and acks under way */
    uint8_t state : 6;   /* enum conn_state */
    bool acked_last : 1; /* session: the last frame it sent was an acknowledgement */
    bool later : 1;      /* in the queue of those to be read behind the others */
    uint8_t holds;       /* enum conn_holds */
    uint8_t bad_frames;
    uint8_t wire;        /* enum conn_wire */
    uint16_t array_left; /* frames at the head of the queue that go as one array; 0: none does */
    uint32_t blocked_s;  /* CONN_BLOCKED: since when the net takes nothing */
};

/* A session that is signed in or will be, and not closing. */
static inline bool conn_is_session(const struct conn *c)
{
    return c->state == CONN_WS || c->state == CONN_CARRIED;
}

static inline bool conn_is_pipe(const struct conn *c)
{
    return c->state == CONN_HTTP && c->io && c->io->http.pipe.session != 0;
}

/* Names a connection across turns and shards; 0 is none. */
uint64_t conn_id(const struct shard *s, const struct conn *c);
/* NULL when it is gone or dead. */
struct conn *conn_of_id(struct shard *s, uint64_t id);
/* NULL when the place holds no living connection. For walks over all of them. */
struct conn *conn_at(struct shard *s, uint32_t index);

CONFAB_NODISCARD enum confab_err conns_init(struct shard *s);
void conns_deinit(struct shard *s);
size_t conns_bytes(const struct shard *s);

/* A carried session's: no socket, nothing but its place. NULL: no place or no memory. */
struct conn *conn_new_carried(struct shard *s);

/* Read phase. */
void conn_accept_all(struct shard *s);
/*
 * False: it is a session whose last frame was an acknowledgement, and waits for conn_read_later.
 * All who look at a conversation acknowledge at once, and nobody waits for that as for a message.
 */
bool conn_on_event(struct shard *s, int handle, uint32_t flags);
/* Reads the one that has waited longest of those; false when there is none. */
bool conn_read_later(struct shard *s);
/* Goes on with the input of those that were held and are not any more; false when none. */
bool conns_resume(struct shard *s);

/* Its `io`, made when there is none; NULL when out of memory. */
struct conn_io *conn_io(struct shard *s, struct conn *c);
/* Frees the `io` when nothing in it is needed. */
void conn_io_trim(struct shard *s, struct conn *c);

void conn_hold(struct shard *s, struct conn *c, uint8_t hold);
void conn_release(struct shard *s, struct conn *c, uint8_t hold);

/*
 * Queues a frame (a reference is taken). False when there was no memory: the connection is then
 * dead. Nothing is bounded here: see session_deliver, and HOLD_OUTPUT.
 */
bool conn_push(struct shard *s, struct conn *c, struct frame *f);
/*
 * Forgets the frames that wait in its queue and are of that kind or a later one, and returns how
 * many. One of which a part is written stays.
 */
uint32_t conn_forget(struct shard *s, struct conn *c, enum frame_kind from);
/* Copies the bytes into a frame and queues that. */
bool conn_push_bytes(struct shard *s, struct conn *c, struct span bytes);

/*
 * Has it looked at in the write phase, also without output: the next one, or, in bulk, when its
 * turn has come. What belongs to a large fan-out is in bulk (s->spreading), and so is what goes on
 * after a short write, and what is above the writes of a turn: a write costs a hundred times what
 * queueing a frame does, and others are to be read and written in between.
 */
void conn_touch(struct shard *s, struct conn *c);
void conn_touch_bulk(struct shard *s, struct conn *c);

/*
 * Write phase: one writev for each that was touched, and for as many in bulk, first come first
 * served, as are then left of the writes of a turn, at least a quarter. True when some want to go
 * on.
 */
bool conns_write(struct shard *s);
/* The first part of that: those that are not among the many of a large fan-out. Returns how many.
 */
uint32_t conns_write_touched(struct shard *s);

/* The timer of the connection: what it means depends on its state. */
void conn_arm(struct shard *s, struct conn *c, uint32_t after_ms);

/* Ends it now; freed at the end of the turn. Harmless when dead. */
void conn_kill(struct shard *s, struct conn *c);
/* No further input; dies when its output is written and the peer has closed, or in time. */
void conn_finish(struct shard *s, struct conn *c);
/* How long one that has said everything waits for its peer to close. */
uint32_t conn_linger_ms(const struct shard *s);
/* Free phase. */
void conns_free_dead(struct shard *s);

/* Between conn.c and conn_output.c. */
void conns_output_init(struct shard *s);
/* Forgets what is queued. */
void conn_output_drop(struct shard *s, struct conn *c);
/* Collects the frames from the at-th queued one on, at most max; returns how many. */
uint32_t conn_output_peek(struct shard *s, const struct conn *c, uint32_t at, uint32_t max,
                          struct frame **ret);
/* Forgets the first n frames. */
void conn_output_forget(struct shard *s, struct conn *c, uint32_t n);
/* Ends it when the peer is done and nothing of what it asked is under way any more. */
void conn_settle(struct shard *s, struct conn *c);

#endif
