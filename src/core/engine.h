/*
 * The engine: owner of a range of partitions. It takes commands, decides, submits events to the
 * log, folds what has become durable, and lets the effects out: answers, publications, follow-ups.
 * One per shard; everything here runs on the shard's thread unless said otherwise, and never
 * blocks.
 *
 * A turn of the shard: engine_read_time → read and submit commands (engine_submit) → engine_seal
 * (one log submission for all that was decided) → engine_poll (durable: fold, complete, publish;
 * finished loads) → engine_tick (timers: cursors, flush, eviction, retries).
 */
#ifndef CONFAB_CORE_ENGINE_H
#define CONFAB_CORE_ENGINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/command.h"
#include "ports/directory.h"
#include "ports/log.h"
#include "ports/message_store.h"

/* The users of a conversation, sorted. Immutable; shared between shards by reference. */
struct member_set {
    atomic_uint refs;
    uint32_t n;
    uint64_t users[];
};
struct member_set *member_set_ref(struct member_set *set);
void member_set_unref(struct member_set *set); /* any thread; NULL is fine */
bool member_set_has(const struct member_set *set, uint64_t user);

struct conv;

/* A durable event on its way to the members' sessions. Everything is borrowed for the call. */
struct publication {
    struct conv_id conv;
    const struct conv *state; /* with the event folded */
    uint8_t conv_kind;
    struct event ev;
    struct span name;           /* of the conversation */
    struct member_set *members; /* who gets it; take a reference to keep it */
    struct member_set *all;     /* who gets it in this form or another: of the conversation */
    uint64_t origin;            /* session that gets the answer instead, 0 for none */
};

/* A cursor that moved and is durable. */
struct receipt {
    struct conv_id conv;
    uint64_t user;
    uint64_t from_seq; /* first seq newly covered */
    uint64_t seq;      /* last seq covered */
    uint64_t id;       /* message id of seq */
    uint64_t at_ms;
    bool read;                  /* else delivered; not told to whom it is hidden from */
    struct member_set *members; /* who gets it; take a reference to keep it */
    struct member_set *all;     /* of the conversation: who pulls when it cannot be passed on */
};

struct engine_host;
struct engine_host_ops {
    /* The command is done and the host's again. May be called from within engine_submit. */
    void (*complete)(struct engine_host *host, struct command *cmd);
    void (*publish)(struct engine_host *host, const struct publication *pub);
    void (*publish_receipt)(struct engine_host *host, const struct receipt *receipt);
    /*
     * Carries a command to the owner of its conversation, on whatever shard; it comes back through
     * engine_followup_done on this engine. CONFAB_BUSY: the link is full, the engine tries again
     * later.
     */
    enum confab_err (*send)(struct engine_host *host, struct command *cmd);
    /* Any thread: the shard should run a turn, engine_poll has something. */
    void (*wake)(struct engine_host *host);
};
struct engine_host {
    const struct engine_host_ops *ops;
    struct pool *pool; /* of the engine's thread, for commands; may be NULL */
};

struct engine_config {
    uint16_t shard;            /* this engine's number, also its log lane */
    uint16_t shards;           /* how many there are */
    size_t cache_bytes_max;    /* conversations kept in memory; what cannot be dropped yet may
                                  take dirty_bytes_max more, sends are refused above */
    size_t dirty_bytes_max;    /* log bytes not yet in the store; sends are refused above */
    size_t unsynced_bytes_max; /* in the log and not durable, its share of what the log queues; 0:
                                 not known */
    uint32_t waiting_max;      /* commands waiting for one conversation */
    uint32_t inflight_max;     /* commands and loads under way in this engine */
    uint32_t flush_after_ms;   /* age at which a dirty partition is flushed */
    uint32_t cursor_delay_ms;  /* coalescing of cursors */
    uint32_t recent_max;       /* events kept in memory of a clean conversation */
    uint32_t durable_max;      /* records that one engine_poll takes */
    uint32_t dedup_days;       /* how long client_msg_ids are remembered, at least 7 */
    uint64_t edit_window_ms;   /* how long after sending a message may be edited; 0: always */
};
void engine_config_defaults(struct engine_config *cfg);

/* What all engines of one server share. Made by the wiring, outlives the engines. */
struct engine_shared {
    atomic_uint_fast64_t log_clock_ms; /* highest time of any durable record */
    /* The highest time that recoveries found. Written by them, before the first command. */
    uint64_t recovered_ms;
    /* Drawn at each start, written before the first command: a wall clock that stands behind what
     * was recovered goes on that much above it. Else data that was put back from a backup would
     * give out the very ids that are lost. */
    uint32_t skip_ms;
    /* What a user hides (enum dir_hides), any thread. NULL: nobody hides anything. */
    uint32_t (*hides)(void *arg, uint64_t user);
    void *hides_arg;
};

struct engine;
/* The caller keeps what it passes alive until engine_free. Fails only with CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err engine_new(const struct engine_config *cfg,
                                            struct engine_host *host, struct engine_shared *shared,
                                            struct log_store *log, struct message_store *store,
                                            struct directory *directory, struct clock *clock,
                                            struct metrics *metrics, struct engine **ret);
/* No store request may be under way, except in a simulated crash; answers to loads that were
 * not taken, as by a start that failed, are freed. */
void engine_free(struct engine *e);

/* The shard that owns a partition. */
static inline uint16_t engine_shard_of(uint16_t partition, uint16_t shards)
{
    return (uint16_t)((uint32_t)partition * shards / ID_PARTITIONS);
}
/* The partition a command must go to; derives conv from peer, actor or target ids where needed. */
uint16_t command_partition(struct command *cmd);

/* Reads the clock. After the shard has slept, before the first engine_submit: what is decided is
 * stamped with the time read last, here, by engine_poll or by engine_tick. */
void engine_read_time(struct engine *e);
/* The command will be submitted soon: what deciding it looks at first is asked for meanwhile. May
 * be left out, and promises nothing. */
void engine_expect(struct engine *e, struct command *cmd);
/* Takes the command over; `complete` follows, now or later. */
void engine_submit(struct engine *e, struct command *cmd);
/* A follow-up command that `send` carried away has come back. */
void engine_followup_done(struct engine *e, struct command *cmd);
void engine_seal(struct engine *e);
/* True: more is durable already, for the next call; the effects of what was taken may go first. */
bool engine_poll(struct engine *e);
/* Returns milliseconds until it wants to be called again at the latest. */
uint32_t engine_tick(struct engine *e);

/*
 * Recovery. engine_recover_begin reads the partitions' rows; the wiring then reads the log once
 * from the checkpoint and gives every record of the engine's partitions to engine_recover_record,
 * then calls engine_recover_end. Conversations are loaded and folded while the engine already runs
 * turns: commands for them wait. engine_is_recovered tells when all is folded. Blocking: called
 * before the shard's thread starts, except engine_is_recovered.
 */
CONFAB_NODISCARD enum confab_err engine_recover_begin(struct engine *e);
CONFAB_NODISCARD enum confab_err engine_recover_record(struct engine *e,
                                                       const struct log_record *rec);
CONFAB_NODISCARD enum confab_err engine_recover_end(struct engine *e);
bool engine_is_recovered(const struct engine *e);
/*
 * LSN below which nothing of this engine is needed from the log any more; UINT64_MAX when it holds
 * nothing. Any thread. See docs/design/checkpoints.md for how the checkpoint is formed from it.
 */
uint64_t engine_clean_lsn(const struct engine *e);
/* Flushes what is dirty, without waiting for age or pressure, until engine_is_quiet. */
void engine_flush_all(struct engine *e);
/* Nothing dirty, in flight, being loaded or held back to be logged later. */
bool engine_is_quiet(const struct engine *e);
/* Consequences of events that are not known to have reached their conversations, and will be tried
 * again. */
bool engine_has_followups(const struct engine *e);
/* CONFAB_OK, or why sends are refused: CONFAB_IO (the log failed, or the store did and too much
 * waits for it), CONFAB_NO_SPACE, CONFAB_CORRUPT. */
enum confab_err engine_health(const struct engine *e);

/*
 * Should senders wait? Three quarters of what it may keep for the log or the store are taken; above
 * all of it sends are refused. Once so, until it is half (`was`).
 */
bool engine_is_pressed(const struct engine *e, bool was);

struct engine_stats {
    uint64_t conversations; /* resident */
    uint64_t cache_bytes;
    uint64_t dirty_bytes;
    uint64_t inflight;
    uint64_t followups_pending;
};
void engine_stats(const struct engine *e, struct engine_stats *ret); /* shard's thread */

/*
 * The folded state of every resident conversation, in order of id, in its canonical encoding: for
 * comparing a recovered engine with one that was never interrupted. For tests.
 */
void engine_dump_state(struct engine *e, struct buf *out);

#endif
