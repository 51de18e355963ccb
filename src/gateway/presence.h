/*
 * Presence on a shard. It has two parts in it, of which every shard has both:
 *
 * Where sessions are: what a session's connection was heard of and what was done on it
 * (core/presence.h) make the best state of a user's sessions here, and each change of that goes to
 * the user's home. Heartbeats go nowhere.
 *
 * The home of users (the shard of their own conversation): merges the shards' reports, knows whom
 * each user is with (core/circle.h), and tells the shards that watch: states, and circles. Who is
 * told in the end is judged there (watch.h). Last times are read from the directory when somebody
 * watches and written to it every few seconds, all that changed in one request; beside them, while
 * anybody is online, that the server is alive, which is what they stand for after a crash.
 *
 *     sessions ─ judge ─► REPORT ─► home ─ at most one a second ─► STATE ─► shards that watch
 *     POST /presence ───► POST ───►   ▲ ◄─ WATCH, UNWATCH ─────────────────┘
 *     privacy changed ──► HIDES ──►   └── circle, of the engine; last seen, of the directory
 *
 * What travels between shards are notes, in the links (link.h).
 */
#ifndef CONFAB_GATEWAY_PRESENCE_H
#define CONFAB_GATEWAY_PRESENCE_H

#include "base/hash.h"
#include "base/list.h"
#include "core/circle.h"
#include "core/presence.h"
#include "gateway/conn.h"
#include "ports/directory.h"

struct shard;
struct publication;

enum note_kind {
    NOTE_REPORT = 1, /* status, at_s, NOTE_LINGERS */
    NOTE_POST,       /* device, status, at_s */
    NOTE_WATCH,
    NOTE_UNWATCH,
    NOTE_HIDES, /* the user hides something else now */
    NOTE_STATE, /* status, at_s = last seen, circle */
};
enum note_flags { NOTE_LINGERS = 1 };
struct note_item {
    uint64_t user;
    uint64_t device;
    struct circle *circle; /* a reference; may be NULL */
    uint32_t at_s;
    uint8_t kind;
    uint8_t status;
    uint8_t flags;
};

#define PRESENCE_SAVE_ROWS 512U
#define PRESENCE_READ_MAX  256U

struct presences {
    struct presence *home;
    struct presence_session *seats; /* by index of the connection */
    uint32_t nseats;
    struct u64map watched; /* home: user → struct watched * */
    struct list stale;     /* of those: whose circle or last time is to be asked for */
    struct dir_seen *rows; /* being saved, or to be saved again */
    uint32_t nrows;
    bool saving;
    bool last_word; /* drained: it was said that the server was alive until then */
    uint64_t save_at_ms;
    uint64_t alive_at_ms;
    uint64_t retry_at_ms; /* of what is stale */
};

CONFAB_NODISCARD enum confab_err presences_init(struct shard *s);
void presences_deinit(struct shard *s);
/* Once a turn. */
void presences_turn(struct shard *s);
uint64_t presences_next_ms(struct shard *s);

/* ---- Sessions ---- */

/* After it is in the index. False: no memory. */
bool presence_opened(struct shard *s, struct conn *c);
/* After it went out of the index; `told` is what the home had been told of its user. */
void presence_closed(struct shard *s, const struct conn *c, enum presence_status told);
/* Something was done on it. */
void presence_did(struct shard *s, struct conn *c);
/* The same by a request of the device: there for a minute, also without a session. */
void presence_acted(struct shard *s, uint64_t user, uint64_t device);
void presence_said(struct shard *s, struct conn *c, enum presence_status status);
/* Bytes came: it may have been taken for gone. */
void presence_heard(struct shard *s, struct conn *c);
/* At its timer; returns the milliseconds until it wants that again. */
uint32_t presence_judge(struct shard *s, struct conn *c);

/* ---- Homes ---- */

uint16_t presence_home(const struct shard *s, uint64_t user);
/* To the user's home. */
void presence_note(struct shard *s, uint64_t user, enum note_kind kind);
void presence_note_post(struct shard *s, uint64_t user, uint64_t device,
                        enum presence_status status);
/* A note has come; takes its circle over. */
void presence_take(struct shard *s, uint16_t from, struct note_item *item);
/* An event of somebody's own log became durable here: it may change whom they are with. */
void presence_published(struct shard *s, const struct publication *pub);

#endif
