/*
 * Presence: who is online, away or offline, pure. Time is the caller's, in milliseconds of a clock
 * that only rises; times that people see (`at_s`) are seconds since 1970 and are only carried.
 *
 * Two halves, which may be on different shards:
 *
 * struct presence_session, for each session where its connection is: 8 bytes, no timer of its own.
 * A heartbeat is one store by the connection (when something was heard from it); the session's one
 * timer asks presence_session_judge, which says when to ask again.
 *
 *       something done, `online`        nothing done for away_after, or `away`
 *     ┌───────────── ONLINE ◄─────────────────────────────────────► AWAY ─────┐
 *     │ silent, or `offline`                                                  │
 *     └──────────────────────────────► OFFLINE ◄──────────────────────────────┘
 *                 heard again (after silence), `online`, `away` (after `offline`)
 *
 * struct presence, for the users whose home this is: what all of their sessions come to. Each
 * source (a shard with sessions of the user) reports its best state; the best of them is the
 * user's. A state that a closed connection leaves behind lingers a while, so that a page reload is
 * no transition, and transitions of a user are at least `every_ms` apart: the first leaves at once,
 * what comes after it is told as one. Whoever reads the changes (presence_next_changed) tells those
 * who watch.
 *
 *     report, post ─► sources ─ best, lingering ─► shown ─ at most one in every_ms ─► changed ─►
 *
 * Memory: 88 bytes and a place in a map for each user who has a session, is watched, or whose last
 * time is not saved yet.
 */
#ifndef CONFAB_CORE_PRESENCE_H
#define CONFAB_CORE_PRESENCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/slab.h"
#include "base/wheel.h"

#define PRESENCE_SOURCES_MAX 64U /* shards */
#define PRESENCE_POSTED_MAX  16U /* devices of a user that say so by REST; the oldest goes */

enum presence_status { PRESENCE_OFFLINE = 0, PRESENCE_AWAY = 1, PRESENCE_ONLINE = 2 };
/* "offline", "away", "online"; false for others. */
const char *presence_text(enum presence_status status);
bool presence_parse(struct span text, enum presence_status *ret);

struct presence_config {
    uint32_t away_after_ms; /* without anything done */
    uint32_t silent_ms;     /* without a sign of life: offline */
    uint32_t linger_ms;     /* how long a closed connection still counts */
    uint32_t every_ms;      /* between transitions of one user */
    uint32_t posted_ms;     /* how long a post counts */
    uint32_t users_max;
};
void presence_config_defaults(struct presence_config *cfg);

/* ---- A session ---- */

struct presence_session {
    uint32_t active_s; /* when something was done last, seconds of the caller's clock */
    uint8_t state;     /* enum presence_status, as it was judged last */
    bool said_away;
    bool said_offline;
};
void presence_session_begin(struct presence_session *ps, uint64_t now_ms);
/* Something was done on it. True: its state changed. */
bool presence_session_did(struct presence_session *ps, uint64_t now_ms);
/* The client says so. True: its state changed. */
bool presence_session_say(struct presence_session *ps, enum presence_status status,
                          uint64_t now_ms);
/*
 * What it is now, having been heard last at seen_s; with `listening` false the caller has not read
 * from it, and silence means nothing. *ret_after_ms (UINT32_MAX: never) is when to ask again,
 * should nothing be heard and done. True: its state changed.
 */
bool presence_session_judge(const struct presence_config *cfg, struct presence_session *ps,
                            uint32_t seen_s, bool listening, uint64_t now_ms,
                            uint32_t *ret_after_ms);

/* ---- The home of users ---- */

struct presence_state {
    uint8_t status;       /* enum presence_status */
    uint32_t last_seen_s; /* when last online, 0: not known; also set while online */
};

struct presence;
/* CONFAB_NOMEM. The seed is for the map. */
CONFAB_NODISCARD enum confab_err presence_new(const struct presence_config *cfg, uint64_t seed,
                                              uint64_t now_ms, struct presence **ret);
void presence_free(struct presence *p); /* NULL is fine */

/*
 * The best state of the user's sessions at that source, in place of what it said before; may be
 * repeated. at_s: when it was last online, if it is less now. `lingers`: the change is a connection
 * that closed. CONFAB_LIMIT, CONFAB_NOMEM: not taken.
 */
CONFAB_NODISCARD enum confab_err presence_report(struct presence *p, uint64_t user, uint16_t source,
                                                 enum presence_status status, bool lingers,
                                                 uint32_t at_s, uint64_t now_ms);
/* A device without session says so; it counts for posted_ms, OFFLINE ends it. Errors as above. */
CONFAB_NODISCARD enum confab_err presence_post(struct presence *p, uint64_t user, uint64_t device,
                                               enum presence_status status, uint32_t at_s,
                                               uint64_t now_ms);
/* Somebody at that source wants to know of the user's changes, or nobody does any more. */
CONFAB_NODISCARD enum confab_err presence_watch(struct presence *p, uint64_t user, uint16_t source,
                                                bool on, uint64_t now_ms);
/* The sources that watch, a bit each; 0 also for users who are not held. */
uint64_t presence_watchers(const struct presence *p, uint64_t user);
struct presence_state presence_get(const struct presence *p, uint64_t user);
/* What was stored, where nothing newer is known. */
void presence_set_last_seen(struct presence *p, uint64_t user, uint32_t last_seen_s);

/* What is due by now: expired posts, ends of lingering, transitions that waited. A part of it when
 * it is much; presence_next_ms then gives a time that is past. */
void presence_advance(struct presence *p, uint64_t now_ms, uint32_t now_s);
/* When to call it next, UINT64_MAX: never. */
uint64_t presence_next_ms(struct presence *p);

/*
 * The users whose shown state has changed, each once however often it did; false: no more. To be
 * read after each of the calls above, or once a turn.
 */
bool presence_next_changed(struct presence *p, uint64_t *ret_user, struct presence_state *ret);
/*
 * Users whose last time is not stored as it is: takes one off; false: none. last_seen_s 0: online.
 * Who cannot store it keeps it and tries again.
 */
bool presence_next_unsaved(struct presence *p, uint64_t *ret_user, uint32_t *ret_last_seen_s);

struct presence_stats {
    uint64_t users; /* held */
    uint64_t online;
    uint64_t away;
    uint64_t transitions; /* ever */
    uint64_t unsaved;
};
void presence_stats(const struct presence *p, struct presence_stats *ret);
size_t presence_bytes(const struct presence *p);

#endif
