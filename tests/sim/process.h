/*
 * The server process under simulation: engines, links between them, log, checkpointer. It is
 * started from what the disk and the store hold, takes turns as a server does, and dies at any
 * point. Its host tells the model what is published and carries answers to the users.
 */
#ifndef CONFAB_TESTS_SIM_PROCESS_H
#define CONFAB_TESTS_SIM_PROCESS_H

#include "base/list.h"
#include "base/metrics.h"
#include "core/checkpoint.h"
#include "ports.h"
#include "sim.h"

/* One message on a link; a link keeps its order. */
struct parcel {
    struct list link;
    uint64_t at_ns;
    uint16_t to;
    enum { PARCEL_REQUEST, PARCEL_RETURN, PARCEL_ANSWER } kind;
    struct command *cmd;
};

struct shard_sim {
    struct engine_host host;
    struct process *process;
    struct engine *engine;
    struct metrics metrics;
    struct list inbox; /* parcels in order of arrival at the link */
    uint16_t number;
};

struct process {
    struct sim *sim;
    uint16_t shards;
    bool dying;
    struct engine_shared shared;
    struct checkpointer *checkpointer;
    struct metrics metrics;                           /* the checkpointer's */
    struct list answers;                              /* parcels for users */
    uint64_t link_ns[SIM_SHARDS_MAX][SIM_SHARDS_MAX]; /* when the last parcel arrives */
    uint64_t user_ns[SIM_USERS_MAX][SIM_SHARDS_MAX];
    uint64_t answer_ns[SIM_SHARDS_MAX][SIM_USERS_MAX];
    uint64_t from_lsn;
    uint64_t recovered_records;
    uint64_t held_seq; /* BUG_REORDERED */
    struct publication held;
    struct buf held_bytes;
    struct engine *engines[SIM_SHARDS_MAX];
    struct shard_sim shard[SIM_SHARDS_MAX];
};

/* False: the process died on the way, and what it had is lost. */
bool process_start(struct sim *s, uint16_t shards);
/* Dies at once, whatever is under way. */
void process_crash(struct sim *s, bool power);
/* Flushes everything, makes a checkpoint, closes the log in good order. */
void process_stop(struct sim *s);

/* A user's command on its way to the owner of its conversation. Takes it over. */
void process_request(struct process *p, uint32_t user, struct command *cmd);
void process_request_to(struct process *p, uint32_t user, uint16_t shard, struct command *cmd);
void process_turn(struct process *p, uint16_t shard);
/* Gives the answers that have arrived to the users. */
bool process_answers(struct process *p);
/* Turns and steps in seeded order, until nothing is under way. Fails the run when it takes for
 * ever. */
void process_quiesce(struct sim *s);
/* False when the log fails or the disk halts meanwhile. */
bool process_try_quiesce(struct sim *s);
/* Until the answers have come; what follows them may still be under way. */
void process_quiesce_some(struct sim *s);
bool process_is_idle(struct process *p);

#endif
