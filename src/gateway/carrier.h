/*
 * Sessions without a WebSocket: the same events over Server-Sent Events or long polling
 * (docs/api/socket.md, "Without a WebSocket"; docs/design/realtime.md, "Carriers").
 *
 * A session is a struct conn whatever carries it. On a WebSocket the connection is the session. A
 * carried session is a connection without a socket (CONN_CARRIED), and its output queue is what its
 * client has not confirmed yet: events numbered from 1. The HTTP requests of the client are on
 * other connections, often of other shards, and reach the session by link as a carrier_msg: its
 * shard is in the session's id. The request that fetches events is the session's pipe (pipe.h).
 *
 *        first                 sent                   last = first + queued - 1
 *     ─────┼─ handed to a pipe ──┼─ waiting for a pipe ──┤        a GET with after=n confirms up to
 *          └──────── the output queue of the conn ───────┘        n, and starts again behind it
 *
 *   shard of the request                               shard of the session
 *   GET: held ───────────── ATTACH ─────────────────→  confirms, repeats, becomes the pipe
 *   head of the stream ←─── (completed)
 *   written, or answered ←─ DATA ────────────────────  a piece: one at a time
 *                        ── (completed: full, gone) ─→  the next, or waits
 *   drained ─────────────── ROOM ───────────────────→  goes on
 *   hung up ─────────────── DETACH ─────────────────→  waits for the next GET, silent_ms at most
 *   end of the answer ←──── LAST ────────────────────  closed, or another GET came
 *   POST: held ──────────── POST ────────────────────→  its events in their order, then completed
 *   DELETE: held ────────── END ─────────────────────→  dies
 *
 * Nothing here is lost with a message between shards: what a pipe did not take is repeated for the
 * next GET, and a pipe that does not answer to the comments (each stream_beat_ms) is given up.
 */
#ifndef CONFAB_GATEWAY_CARRIER_H
#define CONFAB_GATEWAY_CARRIER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "core/command.h"
#include "gateway/conn.h"
#include "gateway/link.h"
#include "proto/jwt.h"

enum carrier_mode { CARRIER_SSE = 0, CARRIER_POLL, CARRIER_MODES };

enum carrier_what {
    CARRIER_ATTACH = 1,
    CARRIER_DETACH,
    CARRIER_ROOM,
    CARRIER_POST,
    CARRIER_END,
    CARRIER_DATA,
    CARRIER_LAST,
};

/* What a shard says to another about a session or its pipe; answered like any command. */
struct carrier_msg {
    struct command
        cmd; /* COMMAND_HOST; first: freed by command_free. POST: body; DATA, LAST: ret */
    enum carrier_what what;
    enum carrier_mode mode; /* ATTACH, DATA, LAST: of the pipe */
    uint64_t session;
    uint64_t pipe; /* connection id */
    struct jwt_claims who;
    uint64_t after;
    uint32_t wait_ms; /* ATTACH: of a poll */
    /* Answers to DATA. */
    bool full; /* no more until ROOM */
    bool gone;
};
/* NULL when out of memory. */
struct carrier_msg *carrier_msg_new(enum carrier_what what, uint64_t session);
static inline struct carrier_msg *carrier_msg_of(struct command *cmd)
{
    return CONTAINER_OF(cmd, struct carrier_msg, cmd);
}
/* Takes a message that came by link; it is completed now or later. */
void carrier_take(struct shard *s, struct command *cmd);
/* The shard a connection id belongs to; false when it can be none. */
bool carrier_shard(const struct shard *s, uint64_t id, uint16_t *ret);

/* Of a carried session; in conn.carrier. */
struct carrier {
    uint64_t first;       /* number of the event at the head of the queue */
    uint64_t sent;        /* of the last one handed to a pipe; first - 1 when none */
    uint64_t high;        /* of the last one ever handed to a pipe */
    uint64_t kept;        /* bytes of what is in the queue up to `sent` */
    uint64_t pipe;        /* connection id, 0: none */
    uint64_t due_ms;      /* stream: the next comment; poll: its end; no pipe: the session's end */
    struct command *post; /* not yet done with */
    uint32_t post_at;     /* its elements that are done */
    enum carrier_mode kind; /* what it was opened for: a label */
    enum carrier_mode mode; /* of the pipe */
    bool flying;            /* DATA is under way */
    bool full;
};

/*
 * Opens a session: ret_hello gets its first event. NULL when there is no place or memory. The
 * oldest of the device goes when it has too many here.
 */
struct conn *carrier_open(struct shard *s, const struct jwt_claims *who, enum carrier_mode kind,
                          struct buf *ret_hello);
void carrier_free(struct carrier *k);

/* For conn.c, conn_output.c and session.c; c is CONN_CARRIED. */
void carrier_flush(struct shard *s, struct conn *c);  /* write phase */
void carrier_resume(struct shard *s, struct conn *c); /* its last hold is gone */
void carrier_tick(struct shard *s, struct conn *c);   /* its timer */
/* Frames at the head of its queue that have a number: handed to a pipe, and kept. */
uint32_t carrier_begun(const struct conn *c);
/*
 * There is no room for what an open stream has taken and not confirmed: forgets it. Should the
 * stream break, its client opens another session.
 */
void carrier_keep_nothing(struct shard *s, struct conn *c);
/* Nothing of its queue can go anywhere now. */
bool carrier_is_stuck(const struct conn *c);
/* Milliseconds until it wants that. */
uint32_t carrier_left_ms(const struct shard *s, const struct conn *c);
/* The reason as a last event, where there is a pipe to take it; then the session dies. */
void carrier_close(struct shard *s, struct conn *c, uint16_t code, const char *why);
/* It is dying: tells its pipe and who waits. */
void carrier_dying(struct shard *s, struct conn *c);

#endif
