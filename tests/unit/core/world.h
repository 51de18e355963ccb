/*
 * Engines over the memory adapters, run step by step: what the tests of the core drive. One engine
 * unless world_init_shards says otherwise. Between engines, and their store and log, stand
 * decorators with which a test holds back, refuses, fails or reorders what goes through.
 */
#ifndef CONFAB_TESTS_WORLD_H
#define CONFAB_TESTS_WORLD_H

#include "adapters/fault/log_fault.h"
#include "adapters/fault/store_fault.h"
#include "adapters/mem/clock_sim.h"
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/log_mem.h"
#include "adapters/mem/store_mem.h"
#include "core/engine.h"

#define WORLD_START_MS   (ID_EPOCH_MS + 86400000ULL * 400)
#define WORLD_SHARDS_MAX 4

struct world;
struct world_shard {
    struct engine_host host;
    struct world *w;
    struct engine *e;
};

/* A message_store whose answers can be held back: what was done is done, the caller learns later.
 */
struct world_gate {
    struct message_store base;
    struct message_store *inner;
    bool hold;
    bool dead; /* the process is going: refuses everything */
    struct list held;
    uint32_t nheld;
};

struct world {
    struct world_shard shards[WORLD_SHARDS_MAX];
    uint16_t nshards; /* may be changed before world_kill */
    struct engine *e; /* of the first shard */
    struct engine_config cfg;
    struct engine_shared shared;
    struct clock_sim clock;
    struct metrics metrics;
    struct executor *ex;
    struct message_store *store; /* memory */
    struct message_store *fault; /* over it: arm with world_plan */
    struct world_gate gate;      /* over that: what the engines have */
    struct log_mem *log;
    struct log_fault *log_fault;
    struct directory *directory; /* NULL unless the test sets it before world_kill */
    bool dying;
    bool mail_wait;     /* follow-ups travel in `mail` and not at once */
    bool mail_hold;     /* and stay there */
    uint32_t mail_busy; /* so many sends are refused */
    struct list mail;
    struct list completed; /* commands */
    struct buf published;  /* conversation (16), seq (8), id (8), kind (1), members (4) each */
    uint32_t npublished;
    struct event last_published; /* its text is in last_text */
    uint64_t last_members[8];    /* the first of them */
    struct buf last_text;
    struct buf receipts; /* conversation (16), user, from, seq (8 each), read (1) each */
    uint32_t nreceipts;
    uint64_t receipt_members[8]; /* who gets the last one: the first of them */
    uint32_t nreceipt_members;
    uint32_t next_key;
};

void world_init(struct world *w);
void world_init_shards(struct world *w, uint16_t n);
void world_deinit(struct world *w);
struct fault_plan *world_plan(struct world *w);
/* Starts new engines after the old ones were dropped, as after a kill; recovers from store and log.
 */
void world_kill(struct world *w, bool lose_store, uint64_t seed);
/* The two halves of it. After the second, turns are run until the engines have recovered. */
void world_drop(struct world *w, bool lose_store, uint64_t seed);
void world_start(struct world *w);
/* Starts without waiting for recovery, and says how it went. */
enum confab_err world_try_start(struct world *w);
bool world_is_recovered(struct world *w);
enum confab_err world_health(struct world *w);

/* One of the WORLD_PHASES parts of a turn of all engines: mail, seal, log, poll, tick. */
enum { WORLD_PHASES = 5 };
void world_phase(struct world *w, uint32_t phase);
/* Runs turns until nothing is under way; advances the clock by `ms` first, and by 1 each turn. */
void world_run(struct world *w, uint64_t ms);
/* Everything folded is in the store afterwards. */
void world_flush(struct world *w);
/* Gives back what is held by the gate, the last first when `reverse`. */
void world_release(struct world *w, bool reverse);

/* Submits without running. */
void world_submit(struct world *w, struct command *cmd);
/* Takes a completed command; NULL when there is none. */
struct command *world_taken(struct world *w);
/* Submits and runs until it is completed; the command is the caller's again. */
struct command *world_do(struct world *w, struct command *cmd);
/* world_do and free; returns how it ended. */
enum confab_err world_err(struct world *w, struct command *cmd);
struct command *world_event(struct world *w, uint64_t actor, struct conv_id conv, uint8_t kind);
struct conv_id world_group(struct world *w, uint64_t owner, const char *name, uint64_t first,
                           uint32_t n);
struct conv_id world_group_with(struct world *w, uint64_t owner, uint64_t settings, uint64_t first,
                                uint32_t n);
/* EVENT_ADD or EVENT_REMOVE of one user, or EVENT_ROLE. */
enum confab_err world_member(struct world *w, uint64_t actor, struct conv_id conv, uint8_t kind,
                             uint64_t user, uint64_t value);
/* EVENT_EDIT or EVENT_DELETE. */
enum confab_err world_change(struct world *w, uint64_t actor, uint8_t kind, uint64_t id,
                             const char *text);
/* A text message with a fresh key; returns its seq, or fails the test. */
uint64_t world_say(struct world *w, uint64_t actor, struct conv_id conv, const char *text,
                   uint64_t *ret_id);
struct command *world_message(uint64_t actor, struct conv_id conv, uint64_t peer, const char *key,
                              const char *text);
struct command *world_ack(uint64_t actor, struct conv_id conv, uint64_t seq, bool read);
/* The messages that `actor` sees, newest first limit; the caller frees the command. */
struct command *world_history(struct world *w, uint64_t actor, struct conv_id conv, uint32_t limit);
/* All events that `actor` sees, from the first. */
struct command *world_events(struct world *w, uint64_t actor, struct conv_id conv, uint32_t limit);
struct command *world_list(struct world *w, uint64_t actor);
/* The nth event of the command's records. */
struct event world_record(const struct command *cmd, uint32_t n);
uint32_t world_records(const struct command *cmd);
/* A resume of one conversation, on its engine. */
struct command *world_snapshot_new(struct world *w, uint64_t actor, struct conv_id conv,
                                   uint64_t since, uint64_t have_seq, uint64_t have_id);
struct command *world_snapshot(struct world *w, uint64_t actor, struct conv_id conv, uint64_t since,
                               uint64_t have_seq, uint64_t have_id);

/* For cmocka_unit_test_setup_teardown. */
int world_setup(void **state);
int world_setup_two(void **state);
int world_teardown(void **state);

#endif
