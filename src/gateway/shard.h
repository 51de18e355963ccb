/*
 * A shard: one event loop's worth of Confab. It owns connections, the sessions on them and the
 * engine of a range of partitions, and shares nothing with its peers but the links between them.
 *
 * A shard has no thread, opens no socket and never sleeps: shard_turn does one pass in a fixed
 * order, on the net, clock and random source that it was given. A server calls it in a loop on a
 * thread of its own; the simulator calls exactly the same function on simulated ones.
 *
 *     read (net, inbox, links) → decide → submit → take durable → fold, effects → write → free
 *
 * Life: shard_new for each, then shard_connect once over all of them; recovery through
 * shard_engine; then turns. To stop: shard_drain and turns until shard_is_drained; engine_flush_all
 * and turns until engine_is_quiet; then no further turn of any shard, and shard_free.
 */
#ifndef CONFAB_GATEWAY_SHARD_H
#define CONFAB_GATEWAY_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "base/random.h"
#include "core/engine.h"
#include "core/epochs.h"
#include "gateway/rates.h"
#include "ports/directory.h"
#include "ports/executor.h"
#include "ports/log.h"
#include "ports/message_store.h"
#include "ports/net.h"

struct auth_state;
struct origin_rules;

#define SHARDS_MAX 64U /* a bit each: see core/presence.h */

struct static_set; /* of gateway/static.h */

struct shard_config {
    uint16_t shard;              /* this one's number, from 0 */
    uint16_t shards;             /* how many there are */
    struct engine_config engine; /* its shard and shards are set by shard_new */

    uint32_t connections_max;
    uint32_t request_bytes_max;  /* body of a REST request */
    uint32_t response_bytes_max; /* at which a page of history ends early */
    uint32_t text_bytes_max;     /* of a message, up to EVENT_TEXT_MAX */
    uint32_t frame_bytes_max;    /* a client's WebSocket message */
    uint32_t queue_bytes_max;    /* waiting to be written to one connection */
    uint32_t queue_frames_max;   /* the same, in frames */
    uint64_t output_bytes_max;   /* what all output queues of the shard take */
    uint32_t inflight_max;       /* unanswered sends and acks of one session */
    uint32_t bad_frames_max;     /* bad frames of one session before 4400 */

    uint32_t header_timeout_ms; /* from the first byte of a request to the end of its head */
    uint32_t body_timeout_ms;   /* from the end of the head to the end of the body */
    uint32_t idle_timeout_ms;   /* between requests */
    uint32_t auth_timeout_ms;   /* WebSocket opened to signed in */
    uint32_t write_timeout_ms;  /* an answer or a closing handshake not taken by the peer */
    uint32_t slow_timeout_ms;   /* a slow session that does not drain, before 1013 */
    uint32_t heartbeat_ms;      /* what hello asks of clients */
    uint32_t ping_after_ms;     /* silence after which the server pings */
    uint32_t dead_after_ms;     /* silence after which a session is closed */

    uint32_t carried_silent_ms; /* a session without a GET for so long ends */
    uint32_t stream_beat_ms;    /* between comments in a stream that has nothing else to say */
    uint32_t carried_max;       /* sessions of one device without a WebSocket, in one shard */

    uint32_t users_cache;         /* accounts remembered, for names and existence */
    uint32_t devices_max;         /* of one user */
    uint32_t invites_max;         /* of one user that can still be used; administrators: any */
    uint32_t registrations_max;   /* without invite, of one address in an hour */
    uint32_t password_jobs_max;   /* hashing under way for this shard */
    uint32_t directory_calls_max; /* directory requests under way for this shard */

    uint32_t access_ms;        /* life of an access token; the same as in auth_state_config */
    uint32_t refresh_grace_ms; /* a refresh token may be used again that long */
    uint64_t refresh_ms;       /* a device that was not used for so long is signed out */
    uint64_t audit_ms;         /* records of the audit older than that go; 0: none do */
    bool setup_link;           /* make the code of the first administrator's link at the start */

    uint32_t resumes_max; /* running at once; others wait */
    uint32_t resumes_waiting_max;
    uint32_t resume_page;         /* conversations in one page */
    uint32_t resume_events;       /* events of one conversation in a resume with a token */
    uint32_t resume_events_first; /* and without one */

    uint32_t link_credits;        /* requests under way to one peer */
    uint32_t link_deliveries;     /* deliveries waiting in one link */
    uint32_t link_behind_max;     /* conversations remembered for a link that is behind */
    uint32_t fanout_chunk;        /* deliveries of one event before another gets its turn */
    uint32_t fanout_turn;         /* connections of one turn that get something; what more they get
                                     counts an eighth */
    uint32_t fanouts_max;         /* running at once; above, links are not read */
    uint32_t writes_turn;         /* connections written in one turn, see conns_write */
    uint32_t receipt_members_max; /* receipts are live up to this size */
    uint32_t large_members;       /* a conversation with more is large, see channel.h; 0: none is */
    uint32_t counters_second;     /* sessions told in a second that a large one has moved */

    uint32_t away_after_ms;              /* nothing done on a device: away */
    uint32_t presence_linger_ms;         /* a closed connection still counts */
    uint32_t presence_subscriptions_max; /* of one session */
    uint32_t presence_users_max;         /* held by this shard as their home */
    struct rates_config rates;

    uint32_t drain_spread_ms; /* clients are asked to come back after up to this */
    bool ws_deflate;          /* permessage-deflate with those who offer it */
    uint32_t ws_deflate_min;  /* events with fewer bytes are not compressed */
    bool http_gzip;           /* answers in gzip for those who take it */
    uint32_t http_gzip_min;   /* the same of answers */
    bool metrics_public;      /* serve /metrics to other than loopback addresses */
};
/* Everything but shard and shards, which become 0 and 1. */
void shard_config_defaults(struct shard_config *cfg);

/*
 * Password hashing, slow on purpose: called on the executor's threads only. gateway/password.h has
 * argon2id; the simulator has its own.
 */
struct password_ops {
    const char *name;
    /* Writes an encoded hash with its parameters, zero terminated. CONFAB_NOMEM. */
    enum confab_err (*hash)(struct span password, char ret_hash[DIR_HASH_BYTES]);
    /* CONFAB_OK, CONFAB_UNAUTHENTICATED when it does not match, CONFAB_NOMEM. */
    enum confab_err (*verify)(const char *hash, struct span password);
    /*
     * Is it one of those that are guessed first? `names`: what a guesser knows of the person, ended
     * by NULL. NULL: no password is.
     */
    bool (*is_weak)(struct span password, const char *const *names);
};

/* All of it is the caller's, lives until after shard_free, and may be shared between shards where
 * its contract allows any thread; net, random (unless it is the system's) and metrics may not. */
struct notices;
struct proxy_rules;
struct shard_deps {
    struct net *net;
    int listener; /* handle in `net`; -1: accepts nothing */
    struct clock *clock;
    struct random_source *random;
    struct directory *directory;
    struct executor *password_executor;
    const struct password_ops *password;
    struct log_store *log;
    struct message_store *store;
    struct engine_shared *engine_shared;
    const struct epochs *epochs;        /* NULL: tokens of any count */
    const struct static_set *files;     /* NULL: none */
    struct metrics *metrics;            /* registered by the caller with the server as owner */
    struct auth_state *auth;            /* shared by all shards of the server */
    const struct origin_rules *origins; /* NULL: no names but addresses, no other pages */
    const struct proxy_rules *proxies;  /* NULL: none is trusted */
    const char *url;                    /* of the page, for links; ends with a slash */
    const char *version;                /* of the program */
    struct notices *notices;            /* for /readyz; NULL: none */
};

struct shard;
/* Makes the engine, too. CONFAB_NOMEM; CONFAB_INVALID for a configuration that cannot work. */
CONFAB_NODISCARD enum confab_err shard_new(const struct shard_config *cfg,
                                           const struct shard_deps *deps, struct shard **ret);
/*
 * Makes the links between all shards of a server (array in order of their numbers, also for a
 * single one). Once, before the first turn.
 */
CONFAB_NODISCARD enum confab_err shard_connect(struct shard *const *shards, uint16_t n);
/*
 * Closes its connections and frees everything, its engine last. After the last turn of all shards,
 * when neither directory nor executors nor engines will call back: closed, drained, or crashed.
 * NULL is fine.
 */
void shard_free(struct shard *s);

/* For recovery, flushing and the checkpoint; see there for threads. */
struct engine *shard_engine(struct shard *s);

/*
 * One turn. Waits up to timeout_ms (-1: for ever) for the net unless there is work at hand. Returns
 * the milliseconds until it wants to be called again at the latest; 0: at once.
 */
uint32_t shard_turn(struct shard *s, int timeout_ms);
/* Any thread: ends the wait of a turn under way, or else of the next one. */
void shard_wake(struct shard *s);

/*
 * Any thread. Stops accepting, tells every session to reconnect and sends it off when its delay has
 * passed, lets requests under way finish, and closes what is still open after grace_ms (1001). A
 * further call may shorten the time.
 */
void shard_drain(struct shard *s, uint32_t grace_ms);
/* Any thread: drained, and neither connections nor requests are left. */
bool shard_is_drained(const struct shard *s);

struct shard_stats {
    uint64_t connections;
    uint64_t sessions;     /* signed in */
    uint64_t users;        /* with a session here */
    uint64_t queued_bytes; /* waiting to be written */
    uint64_t output_bytes; /* what the queues take; a frame in several counts once */
    uint64_t fanouts;      /* running, and large conversations that have moved */
    uint64_t resumes;      /* running and waiting */
    uint64_t memory_bytes; /* connections, sessions and their index */
};
/* The shard's thread, or none. */
/* All that the log had is folded. Any thread. */
bool shard_is_recovered(const struct shard *s);
void shard_stats(const struct shard *s, struct shard_stats *ret);

#endif
