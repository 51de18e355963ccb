/* One engine over the memory adapters, run step by step: what the tests of the core drive. */
#ifndef CONFAB_TESTS_WORLD_H
#define CONFAB_TESTS_WORLD_H

#include "adapters/mem/clock_sim.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/log_mem.h"
#include "adapters/mem/store_mem.h"
#include "core/engine.h"

#define WORLD_START_MS (ID_EPOCH_MS + 86400000ULL * 400)

struct world {
    struct engine_host host;
    struct engine_config cfg;
    struct engine_shared shared;
    struct clock_sim clock;
    struct metrics metrics;
    struct executor *ex;
    struct message_store *store;
    struct log_mem *log;
    struct engine *e;
    struct list completed; /* commands */
    struct buf published;  /* conversation (16), seq (8), id (8), kind (1), members (4) each */
    uint32_t npublished;
    struct buf receipts; /* conversation (16), user, from, seq (8 each), read (1) each */
    uint32_t nreceipts;
    uint32_t next_key;
};

void world_init(struct world *w);
void world_deinit(struct world *w);
/* Starts a new engine after the old one was dropped, as after a kill; recovers from store and log.
 */
void world_kill(struct world *w, bool lose_store, uint64_t seed);
/* Runs turns until nothing is under way; advances the clock by `ms` first, and by 1 each turn. */
void world_run(struct world *w, uint64_t ms);
/* Everything folded is in the store afterwards. */
void world_flush(struct world *w);

/* Submits and runs until it is completed; the command is the caller's again. */
struct command *world_do(struct world *w, struct command *cmd);
struct command *world_event(struct world *w, uint64_t actor, struct conv_id conv, uint8_t kind);
struct conv_id world_group(struct world *w, uint64_t owner, const char *name, uint64_t first,
                           uint32_t n);
/* A text message with a fresh key; returns its seq, or fails the test. */
uint64_t world_say(struct world *w, uint64_t actor, struct conv_id conv, const char *text,
                   uint64_t *ret_id);
struct command *world_message(uint64_t actor, struct conv_id conv, uint64_t peer, const char *key,
                              const char *text);
/* The messages that `actor` sees, newest first limit; the caller frees the command. */
struct command *world_history(struct world *w, uint64_t actor, struct conv_id conv, uint32_t limit);
/* The nth event of the command's records. */
struct event world_record(const struct command *cmd, uint32_t n);
uint32_t world_records(const struct command *cmd);
struct command *world_snapshot(struct world *w, uint64_t actor, struct conv_id conv, uint64_t since,
                               uint64_t have_seq, uint64_t have_id);

#endif
