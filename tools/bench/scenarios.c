/* Plans of who writes to whom, and the rounds over them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "bench.h"
#include "floor_keep.h"
#include "scan.h"
#include "worker.h"

#define MIXED_DIRECTS 8U /* of each person */
#define SMALL_GROUP   10U
#define LARGE_GROUP   100U
#define FRAME_EXTRA   250U /* bytes of a new_message around its text */
#define EVENT_EXTRA   70U  /* of an event in the log */

/* ---- Plans ---- */

static void to_user(const struct world *w, uint32_t person, struct target *ret)
{
    char id[ID_NUM_TEXT];
    size_t n = id_text(w->people[person].user_id, id);
    (void)snprintf(ret->to, sizeof(ret->to), "\"to\":\"%.*s\"", (int)n, id);
    ret->expect = 1;
}

static void to_conv(struct conv_id conv, uint32_t members, struct target *ret)
{
    char id[ID_CONV_TEXT + 1];
    conv_id_text(conv, id);
    (void)snprintf(ret->to, sizeof(ret->to), "\"group_id\":\"%.*s\"", (int)CONV_TEXT, id);
    ret->expect = members - 1;
}

void plan_init(struct plan *p, const struct options *o, uint32_t nsenders, uint32_t targets)
{
    memset(p, 0, sizeof(*p));
    p->window = o->window;
    p->rate = o->rate;
    p->senders = bench_alloc((nsenders + 1) * sizeof(*p->senders));
    p->targets = bench_alloc(((size_t)targets + 1) * sizeof(*p->targets));
    p->nsenders = nsenders;
}

void plan_free(struct plan *p)
{
    free(p->senders);
    free(p->targets);
}

/* Person 2k writes to person 2k + 1; or, spread, to many of the people who only receive. */
void plan_pairs(struct plan *p, const struct world *w, const struct options *o)
{
    struct random_seeded random;
    random_seeded_init(&random, o->seed);
    plan_init(p, o, o->pairs, o->pairs * o->spread);
    p->nclients = o->pairs * 2 + o->idlers;
    for (uint32_t i = 0; i < o->pairs; i++) {
        p->senders[i] = (struct sender){
            .client = 2 * i, .first = p->ntargets, .n = o->spread, .partner = 2 * i + 1};
        for (uint32_t k = 0; k < o->spread; k++) {
            uint32_t other = k == 0 ? i : (uint32_t)random_below(&random.base, o->pairs);
            to_user(w, 2 * other + 1, &p->targets[p->ntargets++]);
        }
    }
}

static enum confab_err plan_group(struct plan *p, struct world *w, const struct options *o)
{
    uint32_t *people = bench_alloc(o->members * sizeof(*people));
    struct conv_id conv;
    for (uint32_t i = 0; i < o->members; i++) {
        people[i] = i;
    }
    plan_init(p, o, o->senders, 1);
    p->nclients = o->members + o->idlers;
    enum confab_err err = world_group(w, people, o->members, &conv);
    free(people);
    if (err) {
        return err;
    }
    to_conv(conv, o->members, &p->targets[p->ntargets++]);
    for (uint32_t i = 0; i < o->senders; i++) {
        p->senders[i] = (struct sender){
            .client = i * (o->members / o->senders), .first = 0, .n = 1, .partner = NONE};
    }
    return CONFAB_OK;
}

/* Everybody writes: eight in ten messages to friends, one to a small group, one to a large. */
static enum confab_err plan_mixed(struct plan *p, struct world *w, const struct options *o)
{
    struct random_seeded random;
    uint32_t people[LARGE_GROUP];
    struct target *large = bench_alloc((o->users / LARGE_GROUP + 1) * sizeof(*large));
    struct target *small = bench_alloc((o->users / SMALL_GROUP + 1) * sizeof(*small));
    enum confab_err err = CONFAB_OK;
    random_seeded_init(&random, o->seed);
    plan_init(p, o, o->users, o->users * (MIXED_DIRECTS + 2));
    p->nclients = o->users;
    p->reads = true;
    for (uint32_t i = 0; i < o->users && !err; i++) {
        struct conv_id conv;
        people[i % LARGE_GROUP] = i;
        if ((i + 1) % LARGE_GROUP == 0) {
            err = world_group(w, people, LARGE_GROUP, &conv);
            to_conv(conv, LARGE_GROUP, &large[i / LARGE_GROUP]);
        }
        if (!err && (i + 1) % SMALL_GROUP == 0) {
            err = world_group(w, people + (i + 1 - SMALL_GROUP) % LARGE_GROUP, SMALL_GROUP, &conv);
            to_conv(conv, SMALL_GROUP, &small[i / SMALL_GROUP]);
        }
    }
    for (uint32_t i = 0; i < o->users && !err; i++) {
        p->senders[i] = (struct sender){
            .client = i, .first = p->ntargets, .n = MIXED_DIRECTS + 2, .partner = NONE};
        for (uint32_t k = 0; k < MIXED_DIRECTS; k++) {
            uint32_t other =
                (i + 1 + (uint32_t)random_below(&random.base, o->users - 1)) % o->users;
            to_user(w, other, &p->targets[p->ntargets++]);
        }
        p->targets[p->ntargets++] = small[i / SMALL_GROUP];
        p->targets[p->ntargets++] = large[i / LARGE_GROUP];
    }
    free(small);
    free(large);
    return err;
}

static enum confab_err plan_make(struct plan *p, struct world *w, const struct options *o)
{
    switch (o->scenario) {
    case SCENARIO_GROUP:
        return plan_group(p, w, o);
    case SCENARIO_MIXED:
        return plan_mixed(p, w, o);
    default:
        plan_pairs(p, w, o);
        return CONFAB_OK;
    }
}

/* ---- Rounds ---- */

enum confab_err floor_make(struct traffic *floor, const struct options *o, const struct plan *plan)
{
    *floor = (struct traffic){.opt = o, .plan = plan, .frame = floor->frame};
    texts_make(floor);
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < floor->ntexts; i++) {
        bytes += floor->texts[i].n;
    }
    if (floor->frame == 0) {
        floor->frame = (uint32_t)(bytes / floor->ntexts) + FRAME_EXTRA;
    }
    enum confab_err err = CONFAB_OK;
    if (o->floor > FLOOR_BARE) {
        floor->record = floor->frame - FRAME_EXTRA + EVENT_EXTRA;
        floor->kept = bench_alloc(PATH_MAX);
        err = floor_keep_make_dir(o->data, floor->kept);
    }
    err = err ? err : floor_start(floor);
    return err ? err : traffic_start(floor);
}

void floor_end(struct traffic *floor)
{
    traffic_stop(floor);
    if (floor->server > 0) {
        child_kill(floor->server);
    }
    if (floor->kept && floor->kept[0] != '\0') {
        floor_keep_remove_dir(floor->kept);
    }
    free(floor->kept);
    if (floor->texts) {
        texts_free(floor);
    }
}

/* Rounds of server and floor by turns: what slows the machine down slows both. */
static enum confab_err rounds_run(struct world *w, struct traffic *t, struct traffic *floor,
                                  struct round *rounds, struct round *floors)
{
    enum confab_err err = CONFAB_OK;
    double appended = world_metric(w, "confab_log_bytes_total");
    for (uint32_t i = 0; i < t->opt->rounds && !err; i++) {
        err = traffic_round(t, &rounds[i]);
        double bytes = world_metric(w, "confab_log_bytes_total") - appended;
        double dirty = world_metric(w, "confab_dirty_bytes");
        rounds[i].materialised = bytes > dirty ? 1 - dirty / bytes : 0;
        if (!err && floor) {
            err = traffic_round(floor, &floors[i]);
        }
        if (!err && !t->opt->json) {
            (void)fprintf(stderr, "round %" PRIu32 " of %" PRIu32 ": %.0f messages/s\n", i + 1,
                          t->opt->rounds, (double)rounds[i].m.complete / rounds[i].seconds);
        }
    }
    return err;
}

static enum confab_err judge(const struct round *rounds, uint32_t n)
{
    uint64_t errors = 0;
    for (uint32_t i = 0; i < n; i++) {
        errors += rounds[i].m.errors + rounds[i].m.lost;
    }
    return errors ? CONFAB_CORRUPT : CONFAB_OK;
}

enum confab_err run_traffic(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct plan plan;
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port, .server = server};
    struct traffic floor = {0};
    struct round *rounds = bench_alloc(o->rounds * sizeof(*rounds));
    struct round *floors = o->floor ? bench_alloc(o->rounds * sizeof(*floors)) : NULL;
    enum confab_err err = plan_make(&plan, w, o);
    texts_make(&t);
    err = err ? err : traffic_start(&t);
    if (!err && o->floor) {
        err = floor_make(&floor, o, &plan);
    }
    err = err ? err : rounds_run(w, &t, o->floor ? &floor : NULL, rounds, floors);
    if (!err) {
        report_traffic(o, &plan, rounds, floors, o->rounds);
        err = judge(rounds, o->rounds);
    }
    if (!err && o->svg &&
        !plot_write(o->svg, scenario_name(o->scenario), rounds, floors, o->rounds)) {
        (void)fprintf(stderr, "confab-bench: %s: %s\n", o->svg, strerror(errno));
        err = CONFAB_IO;
    }
    traffic_stop(&t);
    floor_end(&floor);
    texts_free(&t);
    plan_free(&plan);
    free(rounds);
    free(floors);
    return err;
}

/* ---- Everybody comes back at once ---- */

static void storm_line(const struct options *o, const char *when, const struct meters *m)
{
    (void)printf(o->json ? ",\"%s\":{\"messages\":%" PRIu64 ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,"
                           "\"max_ms\":%.3f}"
                         : "%-7s %8" PRIu64 " messages, delivered p50 %.3f ms, p99 %.3f ms, max "
                           "%.3f ms\n",
                 when, m->complete, (double)hist_quantile(&m->delivery_ns, 0.5) / 1e6,
                 (double)hist_quantile(&m->delivery_ns, 0.99) / 1e6,
                 (double)m->delivery_ns.max / 1e6);
}

static enum confab_err storm_wait(struct traffic *t, uint64_t *ret_ns)
{
    uint64_t deadline = now_ns() + 300ULL * NS_PER_S;
    while (traffic_ready(t) < t->plan->nclients) {
        enum confab_err err = traffic_wait(t, 1);
        if (err || now_ns() > deadline) {
            (void)fprintf(stderr, "confab-bench: %" PRIu32 " of %" PRIu32 " came back\n",
                          traffic_ready(t), t->plan->nclients);
            return CONFAB_TIMEOUT;
        }
    }
    *ret_ns = now_ns();
    return CONFAB_OK;
}

enum confab_err run_storm(struct world *w, const struct options *o, uint16_t port, pid_t *io_server)
{
    struct plan plan;
    struct meters *m = bench_alloc(3 * sizeof(*m));
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port, .server = *io_server};
    uint64_t killed = 0;
    uint64_t ready = 0;
    uint64_t back = 0;
    plan_pairs(&plan, w, o);
    texts_make(&t);
    enum confab_err err = traffic_start(&t);
    if (!err) {
        atomic_store(&t.shared->phase, PHASE_RUN);
        err = traffic_wait(&t, o->warmup * 1000U);
        err = err ? err : traffic_reset(&t);
        err = err ? err : traffic_wait(&t, o->seconds * 1000U);
        err = err ? err : traffic_reset(&t);
    }
    if (!err) {
        traffic_meters(&t, &m[0]);
        killed = now_ns();
        child_kill(*io_server);
        *io_server = 0;
        pin_to(o->server_cpu);
        err = child_start(o->server_cmd, port, io_server);
        pin_to(o->load_cpu);
        ready = now_ns();
        err = err ? err : storm_wait(&t, &back);
        err = err ? err : traffic_reset(&t);
    }
    if (!err) {
        traffic_meters(&t, &m[1]);
        err = traffic_wait(&t, o->seconds * 1000U);
        err = err ? err : traffic_drain(&t);
        traffic_meters(&t, &m[2]);
    }
    if (!err) {
        (void)printf(o->json ? "{\"scenario\":\"storm\",\"connections\":%" PRIu32
                               ",\"ready_ms\":%.0f,\"caught_up_ms\":%.0f"
                             : "%" PRIu32 " connections: %.0f ms from the kill to a server that is "
                               "ready, %.0f ms until all had caught up\n",
                     plan.nclients, (double)(ready - killed) / 1e6, (double)(back - killed) / 1e6);
        storm_line(o, "before", &m[0]);
        storm_line(o, "storm", &m[1]);
        storm_line(o, "after", &m[2]);
        uint64_t errors = m[0].errors + m[1].errors + m[2].errors;
        (void)printf(o->json ? ",\"errors\":%" PRIu64 "}\n" : "%" PRIu64 " errors\n", errors);
        err = errors ? CONFAB_CORRUPT : CONFAB_OK;
    }
    traffic_stop(&t);
    texts_free(&t);
    plan_free(&plan);
    free(m);
    return err;
}

/* ---- Durability by itself ---- */

enum confab_err run_sync(const struct options *o)
{
    static const uint32_t SIZES[] = {4096, 16384, 65536, 1U << 20};
    struct hist *h = bench_alloc(sizeof(*h));
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < ARRAY_LEN(SIZES) && !err; i++) {
        double seconds = 0;
        memset(h, 0, sizeof(*h));
        err = floor_sync(o->data, SIZES[i], MAX(1U, o->seconds / 4), h, &seconds);
        (void)printf(o->json ? "{\"scenario\":\"sync\",\"bytes\":%" PRIu32
                               ",\"syncs_per_s\":%.0f,\"p50_us\":%.0f,\"p99_us\":%.0f}\n"
                             : "%7" PRIu32
                               " bytes a sync: %.0f syncs/s, p50 %.0f us, p99 %.0f us\n",
                     SIZES[i], (double)h->count / seconds, (double)hist_quantile(h, 0.5) / 1e3,
                     (double)hist_quantile(h, 0.99) / 1e3);
    }
    free(h);
    return err;
}
