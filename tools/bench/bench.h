/*
 * confab-bench: load on a running server over its public interfaces, and what came of it.
 *
 *      options ─► world (accounts, groups) ─► plan (who sends what to whom) ─► rounds ─► report
 *                                                                         └─ floor: the same
 *                                                                            load on a bare server
 *
 * A scenario makes the plan; one engine (traffic.c) plays it. A message carries the time at which
 * it should have been sent and the slot that waits for it, so whoever receives it knows how late it
 * is, also when the sender was held up (no coordinated omission). A slot is free again when its
 * message was acknowledged and every receiver had it. Connections live in worker processes, since
 * one may open 20,000 files at most; slots, meters and the plan are memory that they share.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/compiler.h"
#include "base/err.h"
#include "base/hash.h"
#include "base/id.h"
#include "base/random.h"
#include "child.h"
#include "hist.h"
#include "rest.h"

#define NONE         UINT32_MAX
#define TOKEN_BYTES  768U
#define NS_PER_S     1000000000U
#define NS_PER_MS    1000000U
#define WORKERS_MAX  64U
#define ROUNDS_MAX   64U
#define TARGET_BYTES 56U
#define ERRORS_TOLD  10U

enum scenario_kind {
    SCENARIO_IDLE,
    SCENARIO_PAIRS,
    SCENARIO_GROUP,
    SCENARIO_MIXED,
    SCENARIO_BACKLOG,
    SCENARIO_STORM,
    SCENARIO_STUCK,
    SCENARIO_PRESENCE,
    SCENARIO_CONNECT,
    SCENARIO_CHANNEL,
    SCENARIO_SYNC, /* the floor of durability only */
};

/* What is played beside the server: nothing, or a bare server, which may write and sync each
 * message before it passes it on, and keep it in a store besides. */
enum floor_kind { FLOOR_NONE = 0, FLOOR_BARE, FLOOR_LOG, FLOOR_STORE };

struct options {
    enum scenario_kind scenario;
    const char *data; /* the server's data directory: its operator's key, and its tokens' */
    const char *server_cmd;
    const char *svg;
    const char *people; /* file with the ids of an earlier run's accounts, or for this one's */
    const char *texts;  /* file of lines; NULL: words are drawn */
    uint64_t seed;
    uint32_t port;
    uint32_t pid;
    uint32_t users;
    uint32_t pairs;
    uint32_t members;
    uint32_t groups; /* of each user, for idle */
    uint32_t senders;
    uint32_t spread; /* conversations that each sender writes to; 1: always the same */
    uint32_t window;
    uint32_t rate; /* messages/s of all; 0: as fast as the window allows */
    uint32_t size_min;
    uint32_t size_max;
    uint32_t seconds;
    uint32_t warmup;
    uint32_t rounds;
    uint32_t ack_ms;
    uint32_t heartbeat; /* seconds between those of a connection */
    uint32_t idlers;    /* connections that do nothing beside the load */
    uint32_t watchers;  /* of each person, for presence */
    uint32_t looking;   /* percent of the idlers, for channel */
    uint32_t messages;
    uint32_t page;  /* messages of a page of history */
    uint32_t lanes; /* pages under way at once */
    uint32_t workers;
    uint32_t server_cpu; /* NONE: not pinned */
    uint32_t load_cpu;
    bool own_tokens;
    bool no_fresh; /* messages are not marked as first attempts */
    bool spin;     /* while a round is on, workers look again at once */
    enum floor_kind floor;
    bool hold; /* idle: goes on until standard input ends */
    bool json;
};

/* Reads the options, or ends the program with 2. */
void options_read(struct options *o, int argc, char **argv);

/* ---- What there is on the server ---- */

struct person {
    uint64_t user_id;
    char token[TOKEN_BYTES];
};
struct world {
    const struct options *opt;
    struct rest rest;
    char operator_key[128];
    struct person *people;
    uint32_t npeople;
    bool known;  /* of an earlier run, with their groups */
    char run[9]; /* of this run's names and ids */
};

/* Makes opt->users accounts, each with a token. Prints what is wrong. */
CONFAB_NODISCARD enum confab_err world_make(struct world *w, const struct options *o, uint32_t n);
/* A group of people[first .. first + n), the first of which makes it. */
CONFAB_NODISCARD enum confab_err world_group(struct world *w, const uint32_t *people, uint32_t n,
                                             struct conv_id *ret);
/* Groups of 100 at most, until everybody is in opt->groups of them. */
CONFAB_NODISCARD enum confab_err world_groups(struct world *w);
void world_deinit(struct world *w);
/* A figure of GET /metrics, all labels added; 0 when it is not there. */
double world_metric(struct world *w, const char *name);

/* ---- Who sends what to whom ---- */

/* The JSON member that names it, and how many receive a message there. */
struct target {
    char to[TARGET_BYTES]; /* "to":"…" or "conversation_id":"…" */
    uint32_t expect;       /* deliveries besides the sender's acknowledgement */
};
struct sender {
    uint32_t client;
    uint32_t first; /* of its targets; each message draws one */
    uint32_t n;
    uint32_t partner; /* floor: the connection that gets it; NONE: all others of its block */
};
struct plan {
    uint32_t first_person;
    uint32_t nclients; /* connections; client i is people[first_person + i] */
    struct target *targets;
    uint32_t ntargets;
    struct sender *senders;
    uint32_t nsenders;
    uint32_t window; /* of each sender */
    uint32_t rate;
    uint32_t limit;    /* messages of each sender in a round; 0: none */
    bool reads;        /* receivers say `read`, not only `delivered` */
    uint32_t nstuck;   /* of the clients, the last: they may be told not to read */
    uint32_t nlooking; /* of the clients behind the senders, the first: they look at `looked` */
    char looked[TARGET_BYTES];
    uint32_t block; /* floor: so many clients, one after the other, get what one sends; 0: all */
};

struct slot {
    _Atomic uint32_t left; /* deliveries that are still to come, and one for the acknowledgement */
    uint32_t number;       /* rises with each use: what belongs to an earlier one is ignored */
    uint64_t intended_ns;
};

/* What one worker counted since the last reset. */
struct meters {
    uint64_t sent;
    uint64_t acked;
    uint64_t delivered;
    uint64_t complete; /* messages of which everything came */
    uint64_t receipts;
    uint64_t errors;
    uint64_t refused; /* by the server for now: busy, again */
    uint64_t acks_refused;
    uint64_t resyncs;
    uint64_t stale; /* notices of what somebody was before, and is no longer */
    uint64_t lost;  /* connections */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t beats; /* heartbeats sent, and answered */
    uint64_t answered;
    struct hist connect_ns; /* from connect(2) until caught up */
    struct hist ack_ns;
    struct hist delivery_ns;
    struct hist complete_ns; /* until everything of a message came */
    struct hist lateness_ns; /* of the load tool itself: sent later than intended */
};

/* Commands to the workers, and their state; in shared memory. */
enum phase {
    PHASE_CONNECT = 0,
    PHASE_RUN,
    PHASE_MEASURE,
    PHASE_DRAIN,
    PHASE_HOLD,
    PHASE_AWAY,
    PHASE_END
};
struct worker_state {
    _Atomic uint32_t ready; /* connections that are signed in and caught up */
    _Atomic uint32_t under_way;
    _Atomic uint64_t sent; /* in this round */
    _Atomic uint32_t failed;
    _Atomic uint32_t reset_seen;
    _Atomic uint32_t phase_seen;
    struct meters meters;
};
struct shared {
    _Atomic uint32_t phase;
    _Atomic uint32_t reset; /* counted up: meters begin anew */
    _Atomic uint64_t started_ns;
    _Atomic uint32_t stuck; /* plan.nstuck of the clients do not read */
    uint32_t nworkers;
    struct worker_state worker[WORKERS_MAX];
    struct slot slots[];
};

/* ---- Playing it ---- */

struct round {
    double seconds;
    struct meters m;
    double server_cpu_s;
    double load_cpu_s;
    struct child_memory memory;
    double materialised; /* share of what was appended that is in the store at the end */
};

/*
 * Who watches whom: people in blocks of `watchers` + 1 who all watch each other, and behind them
 * strangers, who watch as many people without being allowed to see them.
 */
struct watching {
    uint32_t npeople; /* a multiple of the block */
    uint32_t watchers;
    struct u64map client_of; /* user id -> client */
    _Atomic uint64_t said[]; /* by person, shared: when it was due, and whether they are there */
};

struct traffic {
    const struct options *opt;
    const struct world *world; /* NULL: a floor */
    const struct plan *plan;
    struct shared *shared;
    size_t shared_bytes;
    pid_t workers[WORKERS_MAX];
    uint16_t port;
    pid_t server;
    struct span *texts;
    uint32_t ntexts;
    uint32_t frame;            /* floor: bytes of each message */
    uint32_t record;           /* floor: of these, what is kept */
    char *kept;                /* floor: directory for that; NULL: nothing is kept */
    struct watching *watching; /* NULL: messages are sent, not presence */
};

/* Starts the workers and waits until all connections are there. Prints what is wrong. */
CONFAB_NODISCARD enum confab_err traffic_start(struct traffic *t);
/* One round: warm-up, measuring, waiting for what is under way. */
CONFAB_NODISCARD enum confab_err traffic_round(struct traffic *t, struct round *ret);
/* Only the measuring: they send already, and go on. */
CONFAB_NODISCARD enum confab_err traffic_measure(struct traffic *t, struct round *ret);
void traffic_stop(struct traffic *t);
/* All workers' meters together. */
void traffic_meters(const struct traffic *t, struct meters *ret);
uint32_t traffic_ready(const struct traffic *t);
/* Closes all connections; and opens them again, until all are caught up. Print what is wrong. */
CONFAB_NODISCARD enum confab_err traffic_away(struct traffic *t);
CONFAB_NODISCARD enum confab_err traffic_back(struct traffic *t);
/* Waits until no message is under way. Prints what is wrong. */
CONFAB_NODISCARD enum confab_err traffic_drain(struct traffic *t);
/* An empty plan with room for so many; and the people who write two by two, and opt->idlers
 * besides. Of scenarios.c. */
void plan_init(struct plan *p, const struct options *o, uint32_t nsenders, uint32_t targets);
void plan_pairs(struct plan *p, const struct world *w, const struct options *o);
void plan_free(struct plan *p);
/* Sends until each sender has sent its limit, and waits for what is under way. */
CONFAB_NODISCARD enum confab_err traffic_fill(struct traffic *t);
/* The workers publish what they counted so far, and begin anew. */
CONFAB_NODISCARD enum confab_err traffic_reset(const struct traffic *t);
/* Lets time pass; fails when a worker gave up. */
CONFAB_NODISCARD enum confab_err traffic_wait(const struct traffic *t, uint32_t ms);
/* In a worker process; never returns. */
void worker_run(struct traffic *t, uint32_t index) __attribute__((noreturn));

void meters_add(struct meters *sum, const struct meters *m);

/* A bare server for this plan with its connections; t->frame is set, or 0: as large as the texts.
 */
CONFAB_NODISCARD enum confab_err floor_make(struct traffic *floor, const struct options *o,
                                            const struct plan *plan);
void floor_end(struct traffic *floor);

/* Texts of opt->size_min to size_max bytes, from the file or drawn. */
void texts_make(struct traffic *t);
void texts_free(struct traffic *t);

/* ---- The floors ---- */

/* The bare server for t's plan and options as a child process, on a free port of 127.0.0.1: sets
 * t->port and t->server. t->frame and t->kept are set. */
CONFAB_NODISCARD enum confab_err floor_start(struct traffic *t);
/* Group commit by itself: pwrite and fdatasync of `bytes` at a time on a preallocated file. */
CONFAB_NODISCARD enum confab_err floor_sync(const char *dir, uint32_t bytes, uint32_t seconds,
                                            struct hist *ret_ns, double *ret_seconds);

/* ---- Scenarios ---- */

CONFAB_NODISCARD enum confab_err run_traffic(struct world *w, const struct options *o,
                                             uint16_t port, pid_t server);
CONFAB_NODISCARD enum confab_err run_idle(struct world *w, const struct options *o, uint16_t port,
                                          pid_t server);
CONFAB_NODISCARD enum confab_err run_backlog(struct world *w, const struct options *o,
                                             uint16_t port, pid_t server);
CONFAB_NODISCARD enum confab_err run_storm(struct world *w, const struct options *o, uint16_t port,
                                           pid_t *io_server);
CONFAB_NODISCARD enum confab_err run_stuck(struct world *w, const struct options *o, uint16_t port,
                                           pid_t server);
CONFAB_NODISCARD enum confab_err run_presence(struct world *w, const struct options *o,
                                              uint16_t port, pid_t server);
CONFAB_NODISCARD enum confab_err run_channel(struct world *w, const struct options *o,
                                             uint16_t port, pid_t server);
CONFAB_NODISCARD enum confab_err run_connect(struct world *w, const struct options *o,
                                             uint16_t port, pid_t server);
CONFAB_NODISCARD enum confab_err run_sync(const struct options *o);

/* ---- What came of it ---- */

struct summary {
    double median;
    double min;
    double max;
};
struct summary summarise(const double *values, uint32_t n);
/* Rounds on the server and, when floors are played, as many on the floor (else NULL). */
void report_traffic(const struct options *o, const struct plan *plan, const struct round *rounds,
                    const struct round *floors, uint32_t n);
/* Latency by quantile and messages/s by round, as SVG; false with errno. */
CONFAB_NODISCARD bool plot_write(const char *path, const char *title, const struct round *rounds,
                                 const struct round *floors, uint32_t n);

/* ---- Small things ---- */
uint64_t now_ns(void);
void pause_ms(uint32_t ms);
void bench_die(const char *what) __attribute__((noreturn));
void *bench_alloc(size_t n);
/* Keeps this process, and what it starts from now on, on one CPU; NONE: on all. */
void pin_to(uint32_t cpu);
const char *scenario_name(enum scenario_kind kind);

#endif
