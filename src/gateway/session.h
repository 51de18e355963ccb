/*
 * Sessions: what they are on every carrier; and those on a WebSocket: handshake, signing in, frames
 * in, and the live frames out. The events that a client sends are handled in session_events.c.
 *
 * Signing in: with the upgrade (query, ticket or subprotocol) or by the first frame, in time. A
 * session lives as long as its token: it is told a minute before, and goes on with another one that
 * the client sends. Sends of a session keep their order: a frame that has to wait (an unknown name)
 * holds everything behind it, and so does a session with too many unanswered sends.
 */
#ifndef CONFAB_GATEWAY_SESSION_H
#define CONFAB_GATEWAY_SESSION_H

#include <stdbool.h>

#include "gateway/conn.h"
#include "gateway/link.h"
#include "proto/jwt.h"
#include "proto/wire.h"

/*
 * The connection's request asks for /ws. Answers with 101 or an error.
 */
void session_upgrade(struct shard *s, struct conn *c, const struct http_request *req);

/* Bytes from a WebSocket peer; returns how many are done with. */
size_t session_input(struct shard *s, struct conn *c, uint8_t *p, size_t n);
void session_timer(struct shard *s, struct conn *c);
/* After its input was processed: a message of which only a part is there has a deadline. */
void session_partial(struct shard *s, struct conn *c);

/* Signs the session in: index; appends its hello. False: it is dead. */
bool session_begin(struct shard *s, struct conn *c, const struct jwt_claims *who,
                   struct buf *hello);
/* The same on a WebSocket: sends it. */
void session_open(struct shard *s, struct conn *c, const struct jwt_claims *who);
/* It goes on with another token of the same device. */
void session_renew(struct shard *s, struct conn *c, const struct jwt_claims *who);
/* Takes it out of the index, when it dies. */
void session_closed(struct shard *s, struct conn *c);
/* Sends a close frame; no further input is processed. */
void session_close(struct shard *s, struct conn *c, uint16_t code, const char *why);

/* First session of the user on this shard, NULL for none; and the next one. */
struct conn *session_of_user(struct shard *s, uint64_t user);
struct conn *session_next(struct shard *s, const struct conn *c);

/* What the user's home was told of their sessions here (enum presence_status). */
uint8_t session_told(struct shard *s, uint64_t user);
void session_set_told(struct shard *s, uint64_t user, uint8_t told);

/* Sets its timer to watch for signs of life. */
void session_alive(struct shard *s, struct conn *c);
/* Whether live frames go to it. */
void session_set_live(struct shard *s, struct conn *c, bool live);
/*
 * A live frame: queued while there is room, for which ephemeral ones that wait are forgotten, or
 * dropped and the session marked slow.
 */
void session_deliver(struct shard *s, struct conn *c, struct frame *f);
/*
 * The same for what nobody misses when it is late (typing, presence): dropped when more than a
 * share of the queue, or half of the room of all queues, is taken already, and the session stays
 * as it is. False: dropped.
 */
bool session_deliver_ephemeral(struct shard *s, struct conn *c, struct frame *f);
/*
 * It has to pull: no further live frames, those that wait are forgotten, and `resync` follows once
 * its queue is empty.
 */
void session_mark_slow(struct shard *s, struct conn *c);
void session_forget_ephemeral(struct shard *s, struct conn *c);
/* Closes one that does not read (1013), and forgets all that waits for it. */
void session_cut(struct shard *s, struct conn *c, const char *why);
/* Its output is written: sends `resync` if that is due. */
void session_drained(struct shard *s, struct conn *c);

/* Text frames to one session. Begin appends to the shard's buffer, end queues it. */
struct buf *session_frame_begin(struct shard *s);
bool session_frame_end(struct shard *s, struct conn *c);
void session_send_error(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                        const char *field, struct span ref, struct span cmid);
/* What an acknowledgement came to; `conv` may be zero. */
void session_send_ack_error(struct shard *s, struct conn *c, enum confab_err code,
                            const char *field, struct span ref, struct conv_id conv);

/* The first, saying when it may be tried again. */
void session_send_wait(struct shard *s, struct conn *c, enum confab_err code, const char *message,
                       struct span ref, struct span cmid, uint32_t wait_ms);
/*
 * May who it is open one more session? False: told to wait, and closed. For those that sign in by
 * frame; with the handshake it is an answer to that.
 */
bool session_may_open(struct shard *s, struct conn *c, const struct jwt_claims *who);

/*
 * Commands that their owner has no room for now wait, one of each session at most, and nothing more
 * is read from it (HOLD_OWNER): the socket of its client is the queue. Each turn.
 */
void sessions_parked_run(struct shard *s);
void sessions_parked_drop(struct shard *s);

/* One whole text message (session_events.c). */
void session_message(struct shard *s, struct conn *c, struct span text);

/* Drain: tells it to come back elsewhere. */
void session_reconnect(struct shard *s, struct conn *c, uint32_t delay_ms);

#endif
