#include "sim.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters/mem/disk_sim.h"
#include "base/check.h"
#include "base/hash64.h"
#include "check.h"
#include "faults.h"
#include "gate.h"
#include "model.h"
#include "ports.h"
#include "process.h"
#include "users.h"

const char *sim_bug_name(enum sim_bug bug)
{
    static const char *const names[BUG_COUNT] = {
        "none",         "ack-before-sync", "lost-batch",    "reordered",   "no-dedup-rows",
        "no-flush",     "lost-followup",   "short-log",     "open-token",  "stale-members",
        "lost-cursors", "skipped-session", "deaf-attach",   "early-token", "leaked-receipt",
        "lost-save",    "leaked-presence", "lost-presence", "kept-epochs", "early-left"};
    return bug < BUG_COUNT ? names[bug] : "?";
}

void sim_trace(struct sim *s, const char *fmt, ...)
{
    char line[256];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    s->trace = hash64(line, (size_t)MIN(n, (int)sizeof(line) - 1), s->trace);
    if (s->options.verbose) {
        printf("%8" PRIu64 " %7" PRIu64 " %s\n", s->step,
               (uint64_t)(clock_mono_ns(&s->clock.base) / 1000000), line);
    }
}

void sim_fail(struct sim *s, const char *invariant, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(s->result.text, sizeof(s->result.text), fmt, args);
    va_end(args);
    (void)snprintf(s->result.invariant, sizeof(s->result.invariant), "%s", invariant);
    s->result.failed = true;
    longjmp(s->failed, 1);
}

static void draw_features(struct sim *s)
{
    struct sim_features *f = &s->features;
    f->disk_full = sim_one_in(s, 4);
    f->sync_fails = sim_one_in(s, 4);
    f->store_fails = sim_one_in(s, 5);
    f->clock_jumps = sim_one_in(s, 3);
    f->power = !sim_one_in(s, 4);
    f->crash_every = (uint32_t)ONE_OF(s, 300, 600, 1200);
    f->quiet_every = (uint32_t)ONE_OF(s, 500, 1000, 2000);
    f->delay_max_ms = (uint32_t)ONE_OF(s, 0, 2, 20);
    f->store_queue = (uint32_t)ONE_OF(s, 24, 100, 1000);
    f->text_max = (uint32_t)ONE_OF(s, 12, 60, 300, 2500);
    f->segment_bytes = LOCAL_LOG_SEGMENT_BYTES_MIN << sim_below(s, 3);
    if (f->text_max > 300) {
        f->segment_bytes = LOCAL_LOG_SEGMENT_BYTES_MIN
                           << 4; /* what one turn decides must fit in one */
    }
    f->batch_bytes = (uint32_t)ONE_OF(s, 2000, 6000, 30000);
    engine_config_defaults(&f->engine);
    f->engine.cache_bytes_max = (size_t)ONE_OF(s, 1, 20000, 100000, 4000000);
    f->engine.dirty_bytes_max = (size_t)ONE_OF(s, 3000, 12000, 60000, 1000000);
    if (f->engine.cache_bytes_max == 1) {
        /* What cannot be dropped yet may take as much as may be dirty: one conversation must fit.
         */
        f->engine.dirty_bytes_max = MAX(f->engine.dirty_bytes_max, 60000U);
    }
    f->engine.waiting_max = (uint32_t)ONE_OF(s, 4, 64, 8192);
    f->engine.flush_after_ms = (uint32_t)ONE_OF(s, 0, 30, 300, 3000);
    f->engine.cursor_delay_ms = (uint32_t)ONE_OF(s, 0, 20, 200);
    f->engine.recent_max = (uint32_t)ONE_OF(s, 0, 1, 4, 64);
}

static uint16_t draw_shards(struct sim *s)
{
    return s->options.shards ? s->options.shards : (uint16_t)ONE_OF(s, 1, 4, 4, 3, 8);
}

/* ---- life ------------------------------------------------------------------------------- */

static void restart(struct sim *s)
{
    while (!process_start(s, draw_shards(s))) {
    }
    users_settled(s->users);
    if (sim_one_in(s, 3)) {
        check_recovered(s);
    }
}

static void crash(struct sim *s)
{
    bool power = s->features.power || s->options.bug == BUG_ACK_BEFORE_SYNC;
    faults_end(s);
    process_crash(s, power);
    if (sim_one_in(s, 4)) {
        disk_sim_halt_after(s->ports->disk, sim_below(s, 25)); /* dies while it recovers */
    }
    restart(s);
}

/* A partition may stop only when something was made to fail. */
static void check_health(struct sim *s)
{
    for (uint16_t i = 0; i < s->process->shards; i++) {
        enum confab_err err = engine_health(s->process->shard[i].engine);
        bool known = !err || err == CONFAB_NO_SPACE || (err == CONFAB_IO && s->features.sync_fails);
        SIM_CHECK(s, known || s->features.store_fails || s->features.store_queue < 1000,
                  "engines stay healthy", "shard %u: %s", i, err_text(err));
    }
}

static bool stopped(const struct sim *s)
{
    for (uint16_t i = 0; i < s->process->shards; i++) {
        enum confab_err err = engine_health(s->process->shard[i].engine);
        if (err && err != CONFAB_NO_SPACE) {
            return true;
        }
    }
    return false;
}

/* ---- steps ------------------------------------------------------------------------------- */

/* How often each thing happens; drawn anew now and then, so that each stalls at times. */
struct weights {
    uint32_t turn;
    uint32_t act;
    uint32_t log;
    uint32_t store;
    uint32_t dir;
    uint32_t file;
    uint32_t answers;
    uint32_t clock;
};

static void draw_weights(struct sim *s, struct weights *w)
{
    *w = (struct weights){
        .turn = (uint32_t)ONE_OF(s, 20, 40, 60),
        .act = (uint32_t)ONE_OF(s, 4, 20, 60),
        .log = (uint32_t)ONE_OF(s, 0, 6, 12, 30),
        .store = (uint32_t)ONE_OF(s, 0, 10, 20, 60),
        .dir = (uint32_t)ONE_OF(s, 1, 10),
        .file = (uint32_t)ONE_OF(s, 0, 3),
        .answers = 10,
        .clock = (uint32_t)ONE_OF(s, 4, 15),
    };
}

static bool pick(uint64_t *r, uint32_t weight)
{
    if (*r < weight) {
        return true;
    }
    *r -= weight;
    return false;
}

static void one_step(struct sim *s, const struct weights *w)
{
    struct process *p = s->process;
    uint64_t r = sim_below(s, w->turn + w->act + w->log + w->store + w->dir + w->file + w->answers +
                                  w->clock + 2U);
    if (pick(&r, w->turn)) {
        process_turn(p, (uint16_t)sim_below(s, p->shards));
    } else if (pick(&r, w->act)) {
        users_act(s);
    } else if (pick(&r, w->log)) {
        ports_step_log(s->ports);
    } else if (pick(&r, w->store)) {
        ports_step_store(s->ports);
    } else if (pick(&r, w->dir)) {
        ports_step_dir(s->ports);
    } else if (pick(&r, w->file)) {
        ports_step_file(s->ports);
    } else if (pick(&r, w->answers)) {
        while (process_answers(p)) {
        }
    } else if (pick(&r, w->clock)) {
        uint64_t ms = sim_one_in(s, 10) ? sim_below(s, 500) : sim_below(s, 10);
        clock_sim_advance(&s->clock, ms * 1000000 + sim_below(s, 1000000));
    } else if (sim_one_in(s, 2)) {
        uint64_t before = checkpointer_lsn(p->checkpointer);
        checkpointer_start(p->checkpointer);
        s->result.counts.checkpoints += checkpointer_is_running(p->checkpointer) && before > 0;
    } else {
        faults_draw(s);
    }
}

static void quiet(struct sim *s)
{
    faults_end(s);
    if (stopped(s)) {
        crash(s);
        faults_end(s);
    }
    s->calm = true;
    s->result.counts.quiets++;
    sim_trace(s, "quiet");
    /* What was armed may strike still. */
    while (!process_try_quiesce(s)) {
        s->calm = false;
        crash(s);
        faults_end(s);
        s->calm = true;
    }
    check_quiet(s);
    s->calm = false;
}

static void run(struct sim *s)
{
    struct weights w;
    uint64_t steps = s->options.steps ? s->options.steps : sim_between(s, 1500, 5000);
    restart(s);
    draw_weights(s, &w);
    uint64_t failed_at = 0;
    for (s->step = 1; s->step <= steps; s->step++) {
        one_step(s, &w);
        check_health(s);
        if (s->step % 200 == 0) {
            draw_weights(s, &w);
        }
        failed_at = !stopped(s) ? 0 : failed_at ? failed_at : s->step;
        bool broken = failed_at > 0 && s->step > failed_at + 150;
        if (disk_sim_halted(s->ports->disk) || broken || sim_one_in(s, s->features.crash_every)) {
            crash(s);
            failed_at = 0;
        } else if (sim_one_in(s, s->features.quiet_every)) {
            quiet(s);
        }
    }
    quiet(s);
    check_recovered(s);
    s->calm = true;
    process_stop(s);
    /* All of it is in the store now: nothing is read from the log, and everything is there. */
    restart(s);
    SIM_CHECK(s, s->process->recovered_records == 0, "recovery reads from the checkpoint on",
              "%" PRIu64 " records after a clean end", s->process->recovered_records);
    process_quiesce(s);
    check_quiet(s);
    check_recovered(s);
}

static void tear_down(struct sim *s)
{
    if (s->process) {
        process_crash(s, false);
    }
    gate_free(s->gate);
    users_free(s->users);
    model_free(s->model);
    ports_free(s->ports);
}

void sim_run(const struct sim_options *options, struct sim_result *ret)
{
    struct sim *s = calloc(1, sizeof(*s));
    CHECK(s);
    s->options = *options;
    random_seeded_init(&s->random, options->seed);
    clock_sim_init(&s->clock, ID_EPOCH_MS + 400ULL * 86400000);
    if (setjmp(s->failed) == 0) {
        draw_features(s);
        s->ports = ports_new(s);
        s->model = model_new(s);
        if (options->gate) {
            gate_run(s);
        } else {
            s->users = users_new(s, (uint32_t)sim_between(s, 6, SIM_USERS_MAX));
            run(s);
        }
        tear_down(s);
    }
    /* After a failure nothing is in a state that could be taken down. */
    s->result.counts.steps = s->step;
    s->result.at_step = s->step;
    s->result.trace = s->trace;
    *ret = s->result;
    free(s);
}

static void commit_name(char *out, size_t n)
{
    out[0] = '\0';
    FILE *f = popen("git rev-parse --short HEAD 2>/dev/null", "r");
    if (f) {
        if (!fgets(out, (int)n, f)) {
            out[0] = '\0';
        }
        (void)pclose(f);
    }
    out[strcspn(out, "\n")] = '\0';
}

void sim_report(const struct sim_options *options, const struct sim_result *r)
{
    char commit[64];
    commit_name(commit, sizeof(commit));
    (void)fprintf(stderr,
                  "simulator: seed %" PRIu64 " failed at step %" PRIu64 ", commit %s\n"
                  "  invariant: %s\n  %s\n"
                  "  again: confab-sim%s --seed %" PRIu64 " --shards %u --steps %u --bug %s "
                  "--verbose\n",
                  options->seed, r->at_step, commit[0] ? commit : "unknown", r->invariant, r->text,
                  options->gate ? " --gate" : "", options->seed, options->shards, options->steps,
                  sim_bug_name(options->bug));
}
