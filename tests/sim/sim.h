/*
 * The simulator: one run of Confab's engines on simulated clock, network, log disk and store, from
 * one seed, against a model. docs/design/simulator.md says what it does and how to use it.
 *
 * Everything that happens is a step chosen by the seeded generator; nothing reads the time, the
 * system's randomness or an address. So a seed always gives the same run, and the trace hash shows
 * it.
 */
#ifndef CONFAB_TESTS_SIM_H
#define CONFAB_TESTS_SIM_H

#include <setjmp.h>
#include <stdbool.h>
#include <stdint.h>

#include "adapters/mem/clock_sim.h"
#include "base/buf.h"
#include "base/compiler.h"
#include "base/random.h"
#include "core/engine.h"

#define SIM_SHARDS_MAX 8U
#define SIM_USERS_MAX  40U

/* Faults of the program that a test plants, to see that the simulator finds them. */
enum sim_bug {
    BUG_NONE = 0,
    BUG_ACK_BEFORE_SYNC, /* the log answers before its bytes are durable */
    BUG_LOST_BATCH,      /* the store answers a write that it did not do */
    BUG_REORDERED,       /* two publications of a conversation change places */
    BUG_NO_DEDUP_ROWS,   /* keys of messages never reach the store */
    BUG_NO_FLUSH,        /* a checkpoint without the store's flush */
    BUG_LOST_FOLLOWUP,   /* a follow-up is confirmed and was not carried */
    BUG_SHORT_LOG,       /* recovery leaves out the last record */
    BUG_OPEN_TOKEN,      /* a resume token that no shard has closed */
    BUG_STALE_MEMBERS,   /* publications go to the members of before */
    BUG_LOST_CURSORS,    /* recovery passes over cursors: they go back */
    /* In runs of whole servers. */
    BUG_FIRST_GATE,
    BUG_SKIPPED_SESSION = BUG_FIRST_GATE, /* a live frame is not given to one session */
    BUG_DEAF_ATTACH,                      /* no live frames between resume and caught_up */
    BUG_EARLY_TOKEN,                      /* a resume token that is newer than what was closed */
    BUG_LEAKED_RECEIPT,                   /* a receipt goes to somebody else as well */
    BUG_LOST_SAVE,                        /* a client's state is called saved and is not */
    BUG_LEAKED_PRESENCE,                  /* what one is told of somebody goes to another as well */
    BUG_LOST_PRESENCE,                    /* a change of presence is not told to one who follows */
    BUG_KEPT_EPOCHS,                      /* a restore leaves the epochs of the time that is lost */
    BUG_EARLY_LEFT,                       /* a deleted account counts as left before it has left */
    BUG_COUNT
};
const char *sim_bug_name(enum sim_bug bug);

struct sim_options {
    uint64_t seed;
    uint16_t shards; /* 0: drawn, and drawn again at each restart */
    uint32_t steps;  /* 0: drawn */
    enum sim_bug bug;
    bool gate; /* whole servers with clients on a network, not engines alone */
    bool verbose;
};

struct sim_counts {
    uint64_t steps;
    uint64_t crashes;
    uint64_t recovery_crashes;
    uint64_t events;
    uint64_t messages;
    uint64_t retries;
    uint64_t duplicates;
    uint64_t reads;
    uint64_t resumes;
    uint64_t quiets;
    uint64_t checkpoints;
    uint64_t evictions;
    uint64_t dumps;
    uint64_t unknown_found; /* outcomes that the log told after a crash */
    uint64_t refused;
    uint64_t shown; /* events handed out by clients */
    uint64_t drains;
    uint64_t restores;
    uint64_t deletions;
};

struct sim_result {
    bool failed;
    uint64_t trace;
    uint64_t at_step;
    char invariant[48];
    char text[400];
    struct sim_counts counts;
};

/* One run. The result says whether an invariant was broken, and which. */
void sim_run(const struct sim_options *options, struct sim_result *ret);
/* What a person needs to see it again: seed, commit, invariant. */
void sim_report(const struct sim_options *options, const struct sim_result *result);

/* What this run may do, drawn from its seed. */
struct sim_features {
    bool disk_full;
    bool sync_fails;
    bool store_fails;
    bool clock_jumps;
    bool power;           /* crashes lose unsynced data; else the process dies only */
    uint32_t crash_every; /* steps between crashes, about */
    uint32_t quiet_every;
    uint32_t delay_max_ms; /* of links */
    uint32_t store_queue;
    uint32_t text_max;
    struct engine_config engine;
    uint64_t segment_bytes;
    uint32_t batch_bytes;
};

struct model;
struct ports;
struct process;
struct users;
struct gate;

struct sim {
    struct sim_options options;
    struct sim_result result;
    jmp_buf failed;
    struct random_seeded random;
    struct clock_sim clock;
    struct sim_features features;
    struct ports *ports;
    struct process *process; /* NULL while down */
    struct model *model;
    struct users *users; /* NULL in a run with a gate */
    struct gate *gate;
    uint64_t step;
    uint64_t trace;
    uint64_t jumped_ms; /* forward jumps of the wall clock so far */
    uint64_t counter;   /* of keys and texts */
    bool calm;          /* no faults, no new work */
};

static inline uint64_t sim_below(struct sim *s, uint64_t n)
{
    return random_below(&s->random.base, n);
}
/* True once in n. */
static inline bool sim_one_in(struct sim *s, uint64_t n)
{
    return n > 0 && sim_below(s, n) == 0;
}
static inline uint64_t sim_between(struct sim *s, uint64_t lo, uint64_t hi)
{
    return lo + sim_below(s, hi - lo + 1);
}

/* In [0, n), low numbers more often. */
static inline uint64_t sim_low(struct sim *s, uint64_t n)
{
    uint64_t a = sim_below(s, n);
    uint64_t b = sim_below(s, n);
    return a < b ? a : b;
}

static inline uint64_t sim_one_of(struct sim *s, const uint64_t *list, uint64_t n)
{
    return list[sim_below(s, n)];
}
#define ONE_OF(s, ...)                                                                             \
    sim_one_of(s, (const uint64_t[]){__VA_ARGS__}, ARRAY_LEN(((const uint64_t[]){__VA_ARGS__})))

/* Goes into the trace hash, and is printed with --verbose. */
void sim_trace(struct sim *s, const char *fmt, ...) CONFAB_PRINTF(2, 3);
/* Ends the run. */
_Noreturn void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
    CONFAB_PRINTF(3, 4);

#define SIM_CHECK(s, x, invariant, ...)                                                            \
    do {                                                                                           \
        if (UNLIKELY(!(x))) {                                                                      \
            sim_fail(s, invariant, __VA_ARGS__);                                                   \
        }                                                                                          \
    } while (0)

/* For messages: the first half of an id is enough to tell conversations apart. */
#define CONV_FMT     "%08x"
#define CONV_ARG(id) ((unsigned)((id).hi >> 32))

#endif
