/*
 * Everybody connects, signs in with a token and resumes, and goes again, round by round. The first
 * time they come without anything and get a page of what they have; from then on with the token of
 * their last visit, since which nothing happened: what a reconnect is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define GONE_S 60U

struct connect_round {
    double seconds;
    double connect_us; /* of the server, for each connection */
    double close_us;
    double load_us;
    double p50_ms;
    double p99_ms;
    uint64_t errors;
};

static double cpu_us(const struct traffic *t)
{
    return (double)child_cpu_ms(t->server) * 1e3;
}

static double load_us(const struct traffic *t)
{
    double us = 0;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        us += (double)child_cpu_ms(t->workers[i]) * 1e3;
    }
    return us;
}

/* The server has noticed that all are gone: it does nothing for them any more. */
static enum confab_err wait_gone(struct world *w)
{
    uint64_t end = now_ns() + (uint64_t)GONE_S * NS_PER_S;
    while (world_metric(w, "confab_sessions_open") > 0) {
        if (now_ns() > end) {
            (void)fprintf(stderr, "confab-bench: sessions stay open\n");
            return CONFAB_TIMEOUT;
        }
        pause_ms(5);
    }
    return CONFAB_OK;
}

static enum confab_err come(struct traffic *t, bool first, struct connect_round *ret)
{
    struct meters *m = bench_alloc(sizeof(*m));
    double cpu = cpu_us(t);
    double load = first ? 0 : load_us(t);
    uint64_t began = now_ns();
    enum confab_err err = first ? traffic_start(t) : traffic_back(t);
    ret->seconds = (double)(now_ns() - began) / 1e9;
    if (!err) {
        ret->connect_us = (cpu_us(t) - cpu) / t->plan->nclients;
        ret->load_us = (load_us(t) - load) / t->plan->nclients;
        err = traffic_reset(t);
        traffic_meters(t, m);
        ret->p50_ms = (double)hist_quantile(&m->connect_ns, 0.5) / 1e6;
        ret->p99_ms = (double)hist_quantile(&m->connect_ns, 0.99) / 1e6;
        ret->errors = m->errors + m->lost + m->refused;
    }
    free(m);
    return err;
}

/* w: NULL for a floor, which has no sessions to count. */
static enum confab_err go(struct world *w, struct traffic *t, struct connect_round *ret)
{
    double cpu = cpu_us(t);
    enum confab_err err = traffic_away(t);
    if (w) {
        err = err ? err : wait_gone(w);
    } else if (!err) {
        err = traffic_wait(t, 50);
    }
    ret->close_us = (cpu_us(t) - cpu) / t->plan->nclients;
    return err;
}

/* ---- What came of it ---- */

static double per_s(const struct connect_round *r)
{
    return 1 / r->seconds; /* times the connections */
}
static double connect_of(const struct connect_round *r)
{
    return r->connect_us;
}
static double close_of(const struct connect_round *r)
{
    return r->close_us;
}
static double load_of(const struct connect_round *r)
{
    return r->load_us;
}
static double p50_of(const struct connect_round *r)
{
    return r->p50_ms;
}
static double p99_of(const struct connect_round *r)
{
    return r->p99_ms;
}

static const struct {
    const char *key;
    const char *text;
    double (*of)(const struct connect_round *r);
    bool each; /* to be multiplied by the connections */
} FIGURES[] = {
    {"connects_per_s", "connects/s", per_s, true},
    {"server_us_per_connect", "server CPU a connect, us", connect_of, false},
    {"server_us_per_close", "server CPU when it goes, us", close_of, false},
    {"load_us_per_connect", "load tool's CPU a connect, us", load_of, false},
    {"connect_p50_ms", "until caught up, p50, ms", p50_of, false},
    {"connect_p99_ms", "until caught up, p99, ms", p99_of, false},
};

static struct summary figure(const struct connect_round *rounds, uint32_t n, uint32_t nclients,
                             size_t i)
{
    double values[ROUNDS_MAX];
    for (uint32_t k = 0; k < n; k++) {
        values[k] = FIGURES[i].of(&rounds[k]) * (FIGURES[i].each ? nclients : 1);
    }
    return summarise(values, n);
}

static void report(const struct options *o, const struct connect_round *first,
                   const struct connect_round *rounds, const struct connect_round *floors)
{
    uint64_t errors = first->errors;
    for (uint32_t i = 0; i < o->rounds; i++) {
        errors += rounds[i].errors + (floors ? floors[i].errors : 0);
    }
    (void)printf(o->json ? "{\"scenario\":\"connect\",\"connections\":%" PRIu32
                           ",\"groups\":%" PRIu32 ",\"rounds\":%" PRIu32
                         : "connect: %" PRIu32 " connections, users in %" PRIu32 " groups; %" PRIu32
                           " rounds; first time, then median (lowest to highest)\n\n",
                 o->users, o->groups, o->rounds);
    for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
        struct summary f = figure(first, 1, o->users, i);
        struct summary s = figure(rounds, o->rounds, o->users, i);
        (void)printf(o->json ? ",\"%s\":{\"first\":%.4f,\"median\":%.4f,\"min\":%.4f,\"max\":%.4f"
                             : "%-32s first %10.3f, then %10.3f (%.3f to %.3f)",
                     o->json ? FIGURES[i].key : FIGURES[i].text, f.median, s.median, s.min, s.max);
        if (floors) {
            (void)printf(o->json ? ",\"floor\":%.4f" : "   floor %.3f",
                         figure(floors, o->rounds, o->users, i).median);
        }
        (void)printf(o->json ? "}" : "\n");
    }
    (void)printf(o->json ? ",\"errors\":%" PRIu64 "}\n" : "\n%" PRIu64 " errors\n", errors);
}

static enum confab_err play(struct world *w, struct traffic *t, struct traffic *floor,
                            struct connect_round *rounds, struct connect_round *floors,
                            struct connect_round *first)
{
    enum confab_err err = come(t, true, first);
    err = err ? err : go(w, t, first);
    if (!err && floors) {
        err = go(NULL, floor, &floors[0]);
    }
    for (uint32_t i = 0; i < t->opt->rounds && !err; i++) {
        err = come(t, false, &rounds[i]);
        err = err ? err : go(w, t, &rounds[i]);
        if (!err && floors) {
            err = come(floor, false, &floors[i]);
            err = err ? err : go(NULL, floor, &floors[i]);
        }
    }
    return err;
}

enum confab_err run_connect(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct plan plan;
    struct connect_round first = {0};
    struct connect_round *rounds = bench_alloc(o->rounds * sizeof(*rounds));
    struct connect_round *floors = o->floor ? bench_alloc(o->rounds * sizeof(*floors)) : NULL;
    plan_init(&plan, o, 0, 0);
    plan.nclients = o->users;
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port, .server = server};
    struct traffic floor = {0};
    enum confab_err err = world_groups(w);
    if (!err && o->floor) {
        err = floor_make(&floor, o, &plan);
    }
    err = err ? err : play(w, &t, &floor, rounds, floors, &first);
    if (!err) {
        report(o, &first, rounds, floors);
        err = first.errors ? CONFAB_CORRUPT : CONFAB_OK;
    }
    for (uint32_t i = 0; i < o->rounds && !err; i++) {
        err = rounds[i].errors ? CONFAB_CORRUPT : CONFAB_OK;
    }
    traffic_stop(&t);
    floor_end(&floor);
    plan_free(&plan);
    free(rounds);
    free(floors);
    return err;
}
