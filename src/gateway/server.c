#include "gateway/server.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/diag.h"
#include "core/checkpoint.h"
#include "core/epochs.h"
#include "gateway/notices.h"

#define NS_PER_MS 1000000U
#define SKIP_MS   1024U /* engine_shared.skip_ms is below */
/* While stopping, shards look at each other's progress that often at the latest. */
#define STOPPING_TURN_MS 5U
/* Above the grace that the shards were given to end their connections themselves. */
#define DRAIN_SLACK_MS 500U

enum phase { PHASE_RUN = 0, PHASE_DRAIN, PHASE_FLUSH, PHASE_STOPPED };

struct server_slot {
    struct server *server;
    struct shard *shard;
    struct metrics metrics;
    pthread_t thread;
    uint16_t index;
    uint64_t turns_seen; /* server_is_turning's */
    atomic_bool quiet;   /* nothing of the engine's is left to write */
};

struct server {
    struct server_config cfg;
    struct server_deps deps;
    struct server_loop *loops;
    struct engine_shared engine_shared;
    struct epochs epochs;
    struct auth_state *auth;
    struct notices notices;
    struct checkpointer *checkpointer;
    struct engine *engines[SHARDS_MAX]; /* the checkpointer's view of them */
    struct metrics checkpoint_metrics;  /* its own: checkpoints end on the disk executor's thread */
    struct server_recovery recovery;
    atomic_int phase;
    atomic_uint_fast64_t drain_until_ns;
    atomic_uint_fast64_t flush_until_ns;
    uint64_t checkpoint_due_ns; /* shard 0's */
    bool last_checkpoint;       /* shard 0's: the one of the end was begun */
    uint16_t threads;
    struct server_slot slots[];
};

void server_config_defaults(struct server_config *cfg)
{
    memset(cfg, 0, sizeof(*cfg));
    cfg->shards = 1;
    cfg->checkpoint_ms = 60000;
    cfg->flush_max_ms = 10000;
    cfg->registration = REGISTRATION_INVITE;
    cfg->server_name = "Confab";
    cfg->revoked_max = 65536;
    cfg->tickets_max = 4096;
    cfg->throttle_max = 16384;
    shard_config_defaults(&cfg->shard);
}

/* The log's thread, or whoever steps the log: something of the lane has become durable. */
static void on_durable(void *arg)
{
    shard_wake(arg);
}

static enum confab_err slot_init(struct server *s, uint16_t index)
{
    struct server_slot *slot = &s->slots[index];
    slot->server = s;
    slot->index = index;
    metrics_register(&slot->metrics, s);
    struct shard_config cfg = s->cfg.shard;
    cfg.shard = index;
    cfg.shards = s->cfg.shards;
    const struct shard_deps deps = {
        .net = s->loops[index].net,
        .listener = s->loops[index].listener,
        .clock = s->deps.clock,
        .random = s->loops[index].random,
        .directory = s->deps.directory,
        .password_executor = s->deps.password_executor,
        .password = s->deps.password,
        .log = s->deps.log,
        .store = s->deps.store,
        .files = s->deps.files,
        .engine_shared = &s->engine_shared,
        .epochs = &s->epochs,
        .auth = s->auth,
        .origins = s->deps.origins,
        .proxies = s->deps.proxies,
        .url = s->deps.url,
        .version = s->deps.version,
        .notices = &s->notices,
        .metrics = &slot->metrics,
    };
    enum confab_err err = shard_new(&cfg, &deps, &slot->shard);
    if (err == CONFAB_OK) {
        log_store_set_wake(s->deps.log, index, on_durable, slot->shard);
    }
    return err;
}

static enum confab_err server_auth_new(struct server *s, const struct auth_secrets *secrets)
{
    const struct auth_state_config cfg = {
        .secrets = *secrets,
        .shards = s->cfg.shards,
        .access_s = s->cfg.shard.access_ms / 1000,
        .revoked_max = s->cfg.revoked_max,
        .tickets_max = s->cfg.tickets_max,
        .throttle_max = s->cfg.throttle_max,
        .registration = s->cfg.registration,
        .server_name = s->cfg.server_name,
    };
    return auth_state_new(&cfg, s->loops[0].random, &s->auth);
}

enum confab_err server_new(const struct server_config *cfg, const struct server_deps *deps,
                           struct server **ret)
{
    if (cfg->shards == 0 || cfg->shards > SHARDS_MAX || cfg->checkpoint_ms == 0) {
        return CONFAB_INVALID;
    }
    struct server *s = calloc(1, sizeof(*s) + cfg->shards * sizeof(s->slots[0]));
    if (!s) {
        return CONFAB_NOMEM;
    }
    s->cfg = *cfg;
    s->deps = *deps;
    s->deps.loops = NULL;
    atomic_init(&s->engine_shared.log_clock_ms, 0);
    notices_init(&s->notices);
    struct shard *shards[SHARDS_MAX];
    enum confab_err err = CONFAB_OK;
    s->loops = calloc(cfg->shards, sizeof(*s->loops));
    if (!s->loops) {
        err = CONFAB_NOMEM;
        goto out;
    }
    memcpy(s->loops, deps->loops, cfg->shards * sizeof(*s->loops));
    err = server_auth_new(s, deps->secrets);
    for (uint16_t i = 0; i < cfg->shards && err == CONFAB_OK; i++) {
        err = slot_init(s, i);
        if (err == CONFAB_OK) {
            shards[i] = s->slots[i].shard;
            s->engines[i] = shard_engine(shards[i]);
        }
    }
    if (err == CONFAB_OK) {
        err = shard_connect(shards, cfg->shards);
    }
    if (err == CONFAB_OK) {
        metrics_register(&s->checkpoint_metrics, s);
        err = checkpointer_new(deps->disk, deps->disk_executor, deps->log, deps->store, s->engines,
                               cfg->shards, &s->checkpoint_metrics, &s->checkpointer);
    }
out:
    if (err != CONFAB_OK) {
        server_free(s);
        return err;
    }
    *ret = s;
    return CONFAB_OK;
}

void server_free(struct server *s)
{
    if (!s) {
        return;
    }
    CHECK(s->threads == 0);
    checkpointer_free(s->checkpointer);
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        if (s->slots[i].shard) {
            log_store_set_wake(s->deps.log, i, NULL, NULL);
        }
        shard_free(s->slots[i].shard);
    }
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        metrics_unregister(&s->slots[i].metrics);
    }
    metrics_unregister(&s->checkpoint_metrics);
    auth_state_free(s->auth);
    notices_deinit(&s->notices);
    free(s->loops);
    free(s);
}

/* ---- Recovery ---- */

static enum confab_err recover_record(void *arg, const struct log_record *rec)
{
    struct server *s = arg;
    if (rec->partition >= ID_PARTITIONS) {
        return CONFAB_CORRUPT;
    }
    s->recovery.records++;
    s->recovery.bytes += rec->data.n;
    uint16_t owner = engine_shard_of(rec->partition, s->cfg.shards);
    return engine_recover_record(shard_engine(s->slots[owner].shard), rec);
}

enum confab_err server_recover(struct server *s)
{
    uint64_t began = clock_mono_ns(s->deps.clock);
    enum confab_err err = checkpoint_load(s->deps.disk, &s->recovery.from_lsn);
    for (uint16_t i = 0; i < s->cfg.shards && err == CONFAB_OK; i++) {
        err = engine_recover_begin(shard_engine(s->slots[i].shard));
    }
    if (err == CONFAB_OK) {
        err = log_store_read(s->deps.log, s->recovery.from_lsn, recover_record, s);
    }
    for (uint16_t i = 0; i < s->cfg.shards && err == CONFAB_OK; i++) {
        err = engine_recover_end(shard_engine(s->slots[i].shard));
    }
    if (err == CONFAB_OK) {
        s->engine_shared.skip_ms = (uint32_t)(random_u64(s->loops[0].random) % SKIP_MS);
        epochs_begin(&s->epochs, s->deps.disk, random_u64(s->loops[0].random) | 1,
                     atomic_load(&s->engine_shared.log_clock_ms));
        s->recovery.epoch_written = s->epochs.written;
    }
    s->recovery.ms = (clock_mono_ns(s->deps.clock) - began) / NS_PER_MS;
    metrics_gauge_set(&s->checkpoint_metrics, METRIC_RECOVERY_MS, (int64_t)s->recovery.ms);
    if (err != CONFAB_OK) {
        diag_error(DIAG_SERVER, "recovery failed | from_lsn=%" PRIu64 " records=%" PRIu64 " err=%s",
                   s->recovery.from_lsn, s->recovery.records, err_wire(err));
        return err;
    }
    diag_info(DIAG_SERVER,
              "log read | from_lsn=%" PRIu64 " records=%" PRIu64 " bytes=%" PRIu64 " ms=%" PRIu64,
              s->recovery.from_lsn, s->recovery.records, s->recovery.bytes, s->recovery.ms);
    return CONFAB_OK;
}

bool server_is_recovered(const struct server *s)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        if (!engine_is_recovered(shard_engine(s->slots[i].shard))) {
            return false;
        }
    }
    return true;
}

void server_recovery(const struct server *s, struct server_recovery *ret)
{
    *ret = s->recovery;
}

/* ---- Turns ---- */

static void wake_all(struct server *s)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        shard_wake(s->slots[i].shard);
    }
}

static void phase_enter(struct server *s, enum phase from, enum phase to)
{
    int expected = from;
    if (atomic_compare_exchange_strong(&s->phase, &expected, to)) {
        wake_all(s);
    }
}

static bool all_drained(const struct server *s)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        if (!shard_is_drained(s->slots[i].shard)) {
            return false;
        }
    }
    return true;
}

static bool all_quiet(const struct server *s)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        if (!atomic_load(&s->slots[i].quiet)) {
            return false;
        }
    }
    return true;
}

/*
 * Half of what may be dirty: a fast writer is checkpointed more often, so that what a recovery
 * reads does not depend on the rate.
 */
static uint64_t checkpoint_bytes(const struct server *s)
{
    return (uint64_t)s->cfg.shard.engine.dirty_bytes_max * s->cfg.shards / 2 + 1;
}

/* Returns milliseconds until the next checkpoint is due. Shard 0. */
static uint32_t checkpoint_turn(struct server *s, uint64_t now)
{
    uint64_t interval = (uint64_t)s->cfg.checkpoint_ms * NS_PER_MS;
    if (s->checkpoint_due_ns == 0) {
        s->checkpoint_due_ns = now + interval;
    } else if (now >= s->checkpoint_due_ns) {
        checkpointer_start(s->checkpointer);
        s->checkpoint_due_ns = now + interval;
    } else {
        checkpointer_start_gaining(s->checkpointer, checkpoint_bytes(s));
    }
    return (uint32_t)((s->checkpoint_due_ns - now + NS_PER_MS - 1) / NS_PER_MS);
}

/*
 * Shard 0 ends the flushing: when all engines are quiet one more checkpoint is made, so that the
 * next start reads nothing.
 */
static void flush_turn(struct server *s, struct server_slot *slot, uint64_t now)
{
    struct engine *engine = shard_engine(slot->shard);
    /* Quiet is not enough: the engine also has to have noticed that the log may go, and what waits
     * to be sent to another one would be logged after the last checkpoint. */
    bool quiet = engine_is_quiet(engine) && !engine_has_followups(engine) &&
                 engine_clean_lsn(engine) == UINT64_MAX;
    if (!quiet) {
        engine_flush_all(engine);
    }
    atomic_store(&slot->quiet, quiet);
    if (slot->index != 0) {
        return;
    }
    bool over = now >= atomic_load(&s->flush_until_ns);
    if (all_quiet(s) && !checkpointer_is_running(s->checkpointer)) {
        over = over || s->last_checkpoint;
        if (!s->last_checkpoint) {
            s->last_checkpoint = true;
            checkpointer_start(s->checkpointer);
        }
    }
    if (over) {
        if (!s->last_checkpoint) {
            diag_warn(DIAG_SERVER, "not all could be flushed in time; the log has it");
        }
        phase_enter(s, PHASE_FLUSH, PHASE_STOPPED);
    }
}

uint32_t server_turn(struct server *s, uint16_t shard, int timeout_ms)
{
    struct server_slot *slot = &s->slots[shard];
    int phase = atomic_load(&s->phase);
    if (phase != PHASE_RUN && (timeout_ms < 0 || timeout_ms > (int)STOPPING_TURN_MS)) {
        timeout_ms = (int)STOPPING_TURN_MS;
    }
    uint32_t next = shard_turn(slot->shard, timeout_ms);
    uint64_t now = clock_mono_ns(s->deps.clock);
    if (phase == PHASE_RUN) {
        return shard == 0 ? MIN(next, checkpoint_turn(s, now)) : next;
    }
    if (phase == PHASE_DRAIN && (all_drained(s) || now >= atomic_load(&s->drain_until_ns))) {
        atomic_store(&s->flush_until_ns, now + (uint64_t)s->cfg.flush_max_ms * NS_PER_MS);
        phase_enter(s, PHASE_DRAIN, PHASE_FLUSH);
    } else if (phase == PHASE_FLUSH) {
        flush_turn(s, slot, now);
    }
    return MIN(next, STOPPING_TURN_MS);
}

void server_drain(struct server *s, uint32_t grace_ms)
{
    uint64_t until = clock_mono_ns(s->deps.clock) + (uint64_t)grace_ms * NS_PER_MS +
                     (uint64_t)DRAIN_SLACK_MS * NS_PER_MS;
    if (atomic_load(&s->phase) > PHASE_DRAIN) {
        return;
    }
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        shard_drain(s->slots[i].shard, grace_ms);
    }
    uint64_t before = atomic_load(&s->drain_until_ns);
    atomic_store(&s->drain_until_ns, before == 0 ? until : MIN(before, until));
    phase_enter(s, PHASE_RUN, PHASE_DRAIN);
}

bool server_is_stopped(const struct server *s)
{
    return atomic_load(&s->phase) == PHASE_STOPPED;
}

/* ---- Threads ---- */

static void *shard_thread(void *arg)
{
    struct server_slot *slot = arg;
    struct server *s = slot->server;
    uint32_t next = 0;
    while (!server_is_stopped(s)) {
        next = server_turn(s, slot->index, next > INT32_MAX ? -1 : (int)next);
    }
    return NULL;
}

static void threads_join(struct server *s)
{
    for (uint16_t i = 0; i < s->threads; i++) {
        CHECK(pthread_join(s->slots[i].thread, NULL) == 0);
    }
    s->threads = 0;
}

enum confab_err server_start(struct server *s)
{
    sigset_t all;
    sigset_t before;
    enum confab_err err = CONFAB_OK;
    CHECK(s->threads == 0);
    /* Signals belong to whoever waits for them, not to a shard. */
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    for (uint16_t i = 0; i < s->cfg.shards && err == CONFAB_OK; i++) {
        if (pthread_create(&s->slots[i].thread, NULL, shard_thread, &s->slots[i]) != 0) {
            err = CONFAB_NOMEM;
            break;
        }
        s->threads++;
        char title[16];
        (void)snprintf(title, sizeof(title), "shard/%u", i);
        (void)pthread_setname_np(s->slots[i].thread, title);
    }
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (err != CONFAB_OK) {
        atomic_store(&s->phase, PHASE_STOPPED);
        wake_all(s);
        threads_join(s);
    }
    return err;
}

void server_stop(struct server *s, uint32_t grace_ms)
{
    server_drain(s, grace_ms);
    threads_join(s);
}

bool server_is_turning(struct server *s)
{
    bool all = true;
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        struct server_slot *slot = &s->slots[i];
        uint64_t turns =
            atomic_load_explicit(&slot->metrics.values[METRIC_LOOP_TURNS], memory_order_relaxed);
        all = all && turns != slot->turns_seen;
        slot->turns_seen = turns;
        shard_wake(slot->shard);
    }
    return all;
}

struct notices *server_notices(struct server *s)
{
    return &s->notices;
}

struct auth_state *server_auth(struct server *s)
{
    return s->auth;
}

uint16_t server_shards(const struct server *s)
{
    return s->cfg.shards;
}

struct shard *server_shard(struct server *s, uint16_t shard)
{
    CHECK(shard < s->cfg.shards);
    return s->slots[shard].shard;
}
