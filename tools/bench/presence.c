/*
 * People who come and go, each of them watched by others with whom they share a group, beside
 * strangers who watch as well and may see nobody. What is told to whom is checked at the receiving
 * end; what the server says to have told is compared with what came.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench.h"
#include "scan.h"

#define NOTICE_BYTES 110U /* floor: about a presence_update */

static const char *const COUNTERS[] = {
    "confab_presence_transitions_total",
    "confab_presence_updates_total",
};

struct presence_round {
    struct round r;
    double counters[ARRAY_LEN(COUNTERS)]; /* from the first change to the last notice */
    uint64_t changes;                     /* the same */
    uint64_t notices;
    uint64_t stale;
    uint64_t errors;
};

/* ---- Setting up ---- */

static enum confab_err watching_make(struct watching **ret, const struct world *w,
                                     const struct options *o)
{
    uint32_t npeople = o->users - o->users % (o->watchers + 1);
    size_t bytes = sizeof(struct watching) + npeople * sizeof(uint64_t);
    struct watching *g =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (g == MAP_FAILED) {
        return CONFAB_NOMEM;
    }
    g->npeople = npeople;
    g->watchers = o->watchers;
    u64map_init(&g->client_of, o->seed);
    *ret = g;
    for (uint32_t i = 0; i < npeople; i++) {
        atomic_init(&g->said[i], 1); /* a session begins online */
        enum confab_err err = u64map_put(&g->client_of, w->people[i].user_id, i);
        if (err) {
            return err;
        }
    }
    return CONFAB_OK;
}

static void watching_free(struct watching *g)
{
    if (g) {
        u64map_deinit(&g->client_of);
        (void)munmap(g, sizeof(*g) + g->npeople * sizeof(uint64_t));
    }
}

/* Who shares a group may see each other. */
static enum confab_err make_blocks(struct world *w, const struct watching *g)
{
    uint32_t block = g->watchers + 1;
    uint32_t *people = bench_alloc(block * sizeof(*people));
    enum confab_err err = CONFAB_OK;
    for (uint32_t at = 0; at < g->npeople && !err; at += block) {
        struct conv_id conv;
        for (uint32_t i = 0; i < block; i++) {
            people[i] = at + i;
        }
        err = world_group(w, people, block, &conv);
    }
    free(people);
    return err;
}

/* ---- Rounds ---- */

static void count(struct presence_round *ret, const struct traffic *t)
{
    struct meters *m = bench_alloc(sizeof(*m));
    traffic_meters(t, m);
    ret->changes += m->sent;
    ret->notices += m->delivered;
    ret->stale += m->stale;
    ret->errors += m->errors + m->lost;
    free(m);
}

static enum confab_err one_round(struct world *w, struct traffic *t, struct presence_round *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (size_t i = 0; i < ARRAY_LEN(COUNTERS); i++) {
        ret->counters[i] = -world_metric(w, COUNTERS[i]);
    }
    atomic_store(&t->shared->phase, PHASE_RUN);
    enum confab_err err = traffic_wait(t, t->opt->warmup * 1000U);
    err = err ? err : traffic_reset(t);
    count(ret, t);
    err = err ? err : traffic_measure(t, &ret->r);
    count(ret, t);
    err = err ? err : traffic_drain(t);
    count(ret, t);
    for (size_t i = 0; i < ARRAY_LEN(COUNTERS); i++) {
        ret->counters[i] += world_metric(w, COUNTERS[i]);
    }
    return err;
}

/* ---- The floor: a frame to each watcher, and an acknowledgement ---- */

static void plan_floor(struct plan *p, const struct watching *g, const struct options *o)
{
    plan_init(p, o, g->npeople, 1);
    p->nclients = g->npeople;
    p->block = g->watchers + 1;
    p->ntargets = 1;
    p->targets[0].expect = g->watchers;
    for (uint32_t i = 0; i < g->npeople; i++) {
        p->senders[i] = (struct sender){.client = i, .n = 1, .partner = NONE};
    }
}

/* ---- What came of it ---- */

static double changes_s(const struct presence_round *r)
{
    return (double)r->r.m.sent / r->r.seconds;
}
static double told_s(const struct presence_round *r)
{
    return (double)r->r.m.delivered / r->r.seconds;
}
static double server_us(const struct presence_round *r)
{
    return r->r.m.sent ? r->r.server_cpu_s * 1e6 / (double)r->r.m.sent : 0;
}
static double notice_us(const struct presence_round *r)
{
    return r->r.m.delivered ? r->r.server_cpu_s * 1e6 / (double)r->r.m.delivered : 0;
}
static double p50(const struct presence_round *r)
{
    return (double)hist_quantile(&r->r.m.delivery_ns, 0.5) / 1e6;
}
static double p99(const struct presence_round *r)
{
    return (double)hist_quantile(&r->r.m.delivery_ns, 0.99) / 1e6;
}
static double most(const struct presence_round *r)
{
    return (double)r->r.m.delivery_ns.max / 1e6;
}
static double late(const struct presence_round *r)
{
    return (double)hist_quantile(&r->r.m.lateness_ns, 0.99) / 1e6;
}
/* Of the changes, those that were told by themselves; the rest were overtaken by a later one. */
static double told_percent(const struct presence_round *r)
{
    return r->changes ? 100 * r->counters[0] / (double)r->changes : 0;
}
static double memory_mib(const struct presence_round *r)
{
    return (double)r->r.memory.rss_kib / 1024;
}

static const struct {
    const char *key;
    const char *text;
    double (*of)(const struct presence_round *r);
    bool floor;
} FIGURES[] = {
    {"changes_per_s", "changes/s", changes_s, true},
    {"notices_per_s", "notices/s", told_s, true},
    {"transitions_percent", "of the changes told one by one, %", told_percent, false},
    {"notice_p50_ms", "change to notice, p50, ms", p50, true},
    {"notice_p99_ms", "change to notice, p99, ms", p99, true},
    {"notice_max_ms", "change to notice, max, ms", most, true},
    {"tool_late_p99_ms", "the tool itself was late, p99, ms", late, true},
    {"server_us_per_change", "server CPU a change, us", server_us, true},
    {"server_us_per_notice", "server CPU a notice, us", notice_us, true},
    {"server_mib", "server's memory, MiB", memory_mib, false},
};

static struct summary figure(const struct presence_round *rounds, uint32_t n,
                             double (*of)(const struct presence_round *r))
{
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        values[i] = of(&rounds[i]);
    }
    return summarise(values, n);
}

/* Returns whether each notice that the server wrote came to those who may have it. */
static bool report(const struct options *o, const struct watching *g,
                   const struct presence_round *rounds, const struct presence_round *floors)
{
    struct presence_round sum = {0};
    for (uint32_t i = 0; i < o->rounds; i++) {
        sum.changes += rounds[i].changes;
        sum.notices += rounds[i].notices;
        sum.stale += rounds[i].stale;
        sum.errors += rounds[i].errors;
        sum.counters[0] += rounds[i].counters[0];
        sum.counters[1] += rounds[i].counters[1];
    }
    (void)printf(o->json ? "{\"scenario\":\"presence\",\"people\":%" PRIu32 ",\"watchers\":%" PRIu32
                           ",\"strangers\":%" PRIu32 ",\"rate\":%" PRIu32 ",\"rounds\":%" PRIu32
                           ",\"seconds\":%" PRIu32
                         : "presence: %" PRIu32 " people, each watched by %" PRIu32 ", %" PRIu32
                           " strangers; %" PRIu32 " changes/s asked for\n%" PRIu32
                           " rounds of %" PRIu32 " s; median (lowest to highest)\n\n",
                 g->npeople, g->watchers, o->idlers, o->rate, o->rounds, o->seconds);
    for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
        struct summary s = figure(rounds, o->rounds, FIGURES[i].of);
        (void)printf(o->json ? ",\"%s\":{\"median\":%.4f,\"min\":%.4f,\"max\":%.4f"
                             : "%-38s %12.3f (%.3f to %.3f)",
                     o->json ? FIGURES[i].key : FIGURES[i].text, s.median, s.min, s.max);
        if (floors && FIGURES[i].floor) {
            (void)printf(o->json ? ",\"floor\":%.4f" : "   floor %.3f",
                         figure(floors, o->rounds, FIGURES[i].of).median);
        }
        (void)printf(o->json ? "}" : "\n");
    }
    (void)printf(o->json ? ",\"changes\":%" PRIu64 ",\"transitions\":%.0f,\"notices\":%" PRIu64
                           ",\"notices_written\":%.0f,\"stale\":%" PRIu64 ",\"errors\":%" PRIu64
                           "}\n"
                         : "\n%" PRIu64 " changes, %.0f transitions, %" PRIu64
                           " notices (the server wrote %.0f), %" PRIu64 " of them stale, %" PRIu64
                           " errors\n",
                 sum.changes, sum.counters[0], sum.notices, sum.counters[1], sum.stale, sum.errors);
    return sum.errors == 0;
}

static enum confab_err play(struct world *w, struct traffic *t, struct traffic *floor,
                            struct presence_round *rounds, struct presence_round *floors)
{
    enum confab_err err = traffic_start(t);
    err = err ? err : traffic_drain(t); /* all subscriptions are answered */
    for (uint32_t i = 0; i < t->opt->rounds && !err; i++) {
        err = one_round(w, t, &rounds[i]);
        if (!err && floors) {
            memset(&floors[i], 0, sizeof(floors[i]));
            err = traffic_round(floor, &floors[i].r);
        }
    }
    return err;
}

enum confab_err run_presence(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct plan plan;
    struct plan bare = {0};
    struct watching *g = NULL;
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port, .server = server};
    struct traffic floor = {.frame = NOTICE_BYTES};
    struct presence_round *rounds = bench_alloc(o->rounds * sizeof(*rounds));
    struct presence_round *floors = o->floor ? bench_alloc(o->rounds * sizeof(*floors)) : NULL;
    plan_init(&plan, o, 0, 0);
    enum confab_err err = watching_make(&g, w, o);
    if (!err) {
        plan.nclients = g->npeople + o->idlers;
        t.watching = g;
        err = make_blocks(w, g);
    }
    if (!err && o->floor) {
        plan_floor(&bare, g, o);
        err = floor_make(&floor, o, &bare);
    }
    err = err ? err : play(w, &t, &floor, rounds, floors);
    if (!err && !report(o, g, rounds, floors)) {
        err = CONFAB_CORRUPT;
    }
    traffic_stop(&t);
    floor_end(&floor);
    plan_free(&bare);
    plan_free(&plan);
    watching_free(g);
    free(rounds);
    free(floors);
    return err;
}
