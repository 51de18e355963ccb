/*
 * A server: shards over one log, one store and one directory, from recovery to drain. It names no
 * adapter and opens nothing; whoever makes it (src/confabd, the simulator, a test) gives it its
 * ports. Any number of servers may live in one process.
 *
 *     server_new → server_recover → server_start … server_stop → server_free       with threads
 *     server_new → server_recover → server_turn(0..n-1) … → server_free            stepped
 *
 * Stepped, one thread calls server_turn for the shards in any order it likes; to stop in good order
 * it calls server_drain and goes on until server_is_stopped. A crash is to stop turning and free.
 *
 * Phases: running → draining (clients are sent away, requests under way finish) → flushing (what is
 * only in the log goes to the store, then a last checkpoint) → stopped. Both have a deadline; what
 * misses it is recovered from the log at the next start.
 */
#ifndef CONFAB_GATEWAY_SERVER_H
#define CONFAB_GATEWAY_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/auth_state.h"
#include "gateway/origin.h"
#include "gateway/shard.h"
#include "ports/disk.h"

struct server_config {
    uint16_t shards;           /* 1 to SHARDS_MAX */
    struct shard_config shard; /* for each of them; its numbers are set by server_new */
    uint32_t checkpoint_ms;    /* between checkpoints, at most; see checkpointer_start_gaining */
    uint32_t flush_max_ms;     /* how long flushing may take at the end */
    enum registration registration; /* until an administrator sets another */
    const char *server_name;        /* the same */
    uint32_t revoked_max;           /* see auth_state_config */
    uint32_t tickets_max;
    uint32_t throttle_max;
};
void server_config_defaults(struct server_config *cfg);

/* What each shard has for itself. */
struct server_loop {
    struct net *net;
    int listener;                 /* in `net`, -1 for none */
    struct random_source *random; /* the system's may be shared */
};

/* All borrowed until server_free. */
struct server_deps {
    struct clock *clock;
    struct log_store *log; /* a lane for each shard */
    struct message_store *store;
    struct directory *directory;
    struct executor *password_executor;
    const struct password_ops *password;
    const struct auth_secrets *secrets; /* copied */
    const struct origin_rules *origins; /* may be NULL: see shard_deps */
    const struct proxy_rules *proxies;  /* the same */
    const char *url;                    /* the same; may change until the first turn */
    const char *version;                /* the same */
    struct disk *disk;                  /* holds the CHECKPOINT file */
    struct executor *disk_executor;     /* for writing it and trimming the log: both block */
    const struct static_set *files;     /* NULL: none */
    const struct server_loop *loops;    /* cfg.shards of them; the array is copied */
};

struct server;
/* CONFAB_NOMEM; CONFAB_INVALID for a configuration that cannot work. */
CONFAB_NODISCARD enum confab_err server_new(const struct server_config *cfg,
                                            const struct server_deps *deps, struct server **ret);
/*
 * Reads the log once, from the last checkpoint on, into the engines. Blocking, before anything
 * else. CONFAB_CORRUPT, CONFAB_VERSION: the data cannot be served by this program. CONFAB_IO,
 * CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err server_recover(struct server *s);
/* Are all conversations of the replayed tail folded? They are loaded while the shards already run.
 */
bool server_is_recovered(const struct server *s);

/* A thread for each shard. On an error none runs. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err server_start(struct server *s);
/* Drains and joins the threads. grace_ms as for server_drain. */
void server_stop(struct server *s, uint32_t grace_ms);

/*
 * One turn of one shard, and the server's own timers on shard 0. Returns when it wants to be called
 * again, in milliseconds. Not for a server with threads.
 */
uint32_t server_turn(struct server *s, uint16_t shard, int timeout_ms);
/* Any thread. What is still open after grace_ms is cut. A further call may shorten the time. */
void server_drain(struct server *s, uint32_t grace_ms);
bool server_is_stopped(const struct server *s); /* any thread */

/*
 * After the threads have ended, and when executors, store, directory and log will not call back any
 * more: close or discard the executors first. NULL is fine.
 */
void server_free(struct server *s);

/*
 * Now and then, one thread: has every shard turned since the last call? They are woken, so that one
 * that has nothing to do has turned by the next.
 */
bool server_is_turning(struct server *s);
/* What /readyz tells beside: for whoever notices it. */
struct notices *server_notices(struct server *s);
/* What its shards share about identity. */
struct auth_state *server_auth(struct server *s);
uint16_t server_shards(const struct server *s);
struct shard *server_shard(struct server *s, uint16_t shard);
/* The owner of its numbers in the metric registry. */
static inline const void *server_metrics_owner(const struct server *s)
{
    return s;
}
struct server_recovery {
    uint64_t from_lsn;
    uint64_t records;
    uint64_t bytes;
    uint64_t ms;
    bool epoch_written; /* else the next start knows nothing of this one's resume tokens */
};
void server_recovery(const struct server *s, struct server_recovery *ret);

#endif
