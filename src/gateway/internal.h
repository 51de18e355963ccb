/* Inside of a shard: for the files of this folder and their unit tests only. */
#ifndef CONFAB_GATEWAY_INTERNAL_H
#define CONFAB_GATEWAY_INTERNAL_H

#include <stdatomic.h>

#include "base/hash.h"
#include "base/mpsc.h"
#include "base/pool.h"
#include "base/slab.h"
#include "base/wheel.h"
#include "gateway/async.h"
#include "gateway/auth.h"
#include "gateway/channel.h"
#include "gateway/conn.h"
#include "gateway/conn_ring.h"
#include "gateway/fanout.h"
#include "gateway/leaving.h"
#include "gateway/link.h"
#include "gateway/look.h"
#include "gateway/origin.h"
#include "gateway/pack.h"
#include "gateway/password.h"
#include "gateway/presence.h"
#include "gateway/proxies.h"
#include "gateway/rates.h"
#include "gateway/render.h"
#include "gateway/resume.h"
#include "gateway/shard.h"
#include "gateway/users.h"
#include "gateway/watch.h"
#include "proto/http1.h"
#include "proto/scratch.h"
#include "proto/wire.h"

#define RECV_BYTES   65536U
#define SCRATCH_MORE 65536U /* for a path and a query beside a body */

struct shard {
    struct shard_config cfg;
    struct shard_deps deps;
    struct engine_host host;
    struct engine *engine;
    struct metrics *metrics;

    /* Time, read once per turn. */
    uint64_t now_ns;  /* monotonic */
    uint64_t now_ms;  /* the same in ms: timers */
    uint64_t wall_ms; /* what clients see */

    /* Connections. */
    struct wheel wheel;
    struct slab conns;
    struct slab chunks; /* output queues */
    struct pool pool;   /* frames, deliveries, commands */
    uint32_t *by_handle;
    uint32_t nhandles;
    uint32_t generation;
    uint32_t dirty; /* lists through next_dirty, next_ready; SLAB_NONE ends them */
    uint32_t ready;
    uint32_t dead;          /* through next_of_user */
    struct conn_ring bulk;  /* to be written when there is time */
    struct conn_ring later; /* to be read behind those who write, see conn_read_later */
    uint32_t touched;       /* dirty ones of this turn */
    bool spreading;         /* what is touched now is bulk */
    bool accept_more;       /* the listener may have more than was taken */
    uint64_t hold_until_ms; /* nothing is accepted before identities are known, or then */
    uint32_t conns_high;    /* indices below this were ever in use */
    struct u64map sessions; /* user → index of the first session */
    uint64_t sessions_gen;  /* changes with them */
    atomic_uint nlive;      /* sessions that take live frames; read by peers */
    uint64_t nsessions;
    uint64_t queued_bytes;     /* of all queues: a frame counts in each that it is in */
    uint64_t output_memory;    /* what they take: a frame counts once */
    uint32_t ncarried;         /* connections without a socket */
    uint32_t ncarried_kind[2]; /* sessions of them, by enum carrier_mode */
    uint64_t kept_bytes;       /* of queued_bytes: handed out, and not confirmed yet */
    uint64_t kept_streams;     /* of these: by streams, which can do without them */
    bool freeing;              /* peers may be gone already: nothing goes over links */

    /* Other threads' answers. */
    struct mpsc inbox;
    struct list away;
    uint32_t dir_calls;
    uint32_t password_jobs;
    uint32_t claims; /* of idempotency keys, ever */

    /* What requests wait for. */
    struct list calls;
    struct users users;
    struct auth auth;
    struct leaving leaving;
    struct resumes resumes;
    struct rates rates;
    struct list parked; /* commands of sessions, see session_events.c */
    struct fanouts fanouts;
    struct channels channels;
    struct looks looks;
    struct watches watches;
    struct presences presences;

    struct link_out *out; /* by shard, this one too */
    struct link_in *in;

    struct packs packs;

    /* Scratch of the turn: nothing of it is kept over a return to the turn. */
    struct scratch scratch;
    struct buf text;
    size_t text_mark; /* of the frame begun in it */
    struct http_request request;
    struct render render;
    struct json json;

    /* What any thread may look at. */
    atomic_bool woken;
    atomic_uint drain_asked; /* times; see shard_drain */
    atomic_uint drain_grace_ms;
    atomic_bool drained;
    atomic_bool recovered;
    atomic_bool pressed; /* of the engine, see engine_is_pressed */
    atomic_int health;   /* enum confab_err of the engine */

    uint64_t drain_began_ms;
    uint64_t drain_until_ms;
    uint64_t drain_next_ms;   /* when sessions are looked at again */
    uint32_t drain_seen;      /* of drain_asked */
    uint32_t drain_slots;     /* places over which sessions leave */
    uint32_t drain_spread_ms; /* within */
    bool draining;            /* the shard has seen it */
    bool busy;                /* something wants another turn at once */
    uint32_t engine_next_ms;

    uint8_t input[RECV_BYTES];
};

/* Bytes of a client's connection id in text. */
#define SESSION_ID_TEXT 17U
size_t session_id_text(uint64_t id, char out[SESSION_ID_TEXT]);

extern const struct engine_host_ops shard_host_ops;

#endif
