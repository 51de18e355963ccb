/*
 * Many who do not read, beside people who write to each other two by two. Those who may get stuck
 * are a group, to which somebody writes much at the beginning of a round and some all the time.
 * Rounds in which they read and rounds in which
 * they do not take turns, and each pair of rounds is compared: what slows the machine down for a
 * while slows both. Between two rounds they take what they missed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench.h"

#define FILLS       20U /* messages that fill the queues of those who are stuck by now */
#define FILL_MS     250U
#define FILL_BYTES  12000U
#define NOISE_MS    1000U /* and then it goes on */
#define NOISE_BYTES 2000U
#define SETTLE_S    180U
#define QUIET       20U
#define QUIET_BYTES 4096 /* of pings and the like */

static const char *const COUNTERS[] = {
    "confab_slow_consumers_total{action=\"resync\"}",
    "confab_slow_consumers_total{action=\"close\"}",
    "confab_deliveries_dropped_total",
    "confab_ephemeral_dropped_total",
    "confab_fanout_chunks_total",
    "confab_fanout_yields_total",
};

struct stuck_round {
    double p50_ms;
    double p99_ms;
    double rss_mb;
    double output_mb; /* most that queues took, when looked at */
    double counters[ARRAY_LEN(COUNTERS)];
    uint64_t messages;
    uint64_t errors;
};

struct stuck {
    struct world *w;
    struct traffic t;
    struct plan plan;
    char path[96];
    struct buf fill;
    struct buf noise;
    double output;
};

/* One message to all who may be stuck. */
static enum confab_err noise(struct stuck *k, const struct buf *message)
{
    uint32_t writer = k->plan.nclients - k->plan.nstuck;
    enum confab_err err =
        rest_call(&k->w->rest, "POST", k->path, k->w->people[writer].token, message);
    k->output = MAX(k->output, world_metric(k->w, "confab_output_memory_bytes"));
    return err;
}

static enum confab_err noise_for(struct stuck *k, uint32_t seconds)
{
    uint64_t end = now_ns() + (uint64_t)seconds * NS_PER_S;
    enum confab_err err = CONFAB_OK;
    while (!err && now_ns() < end) {
        err = noise(k, &k->noise);
        err = err ? err : traffic_wait(&k->t, NOISE_MS);
    }
    return err;
}

/* Until everybody is there and nothing waits for anybody. */
static enum confab_err everybody_back(struct stuck *k)
{
    uint64_t end = now_ns() + (uint64_t)SETTLE_S * NS_PER_S;
    uint32_t quiet = 0; /* looks in a row: one who reads again is told to resume first */
    while (quiet < QUIET) {
        bool back = traffic_ready(&k->t) == k->plan.nclients &&
                    world_metric(k->w, "confab_output_bytes") <= QUIET_BYTES &&
                    world_metric(k->w, "confab_resumes_waiting") == 0;
        quiet = back ? quiet + 1 : 0;
        if (now_ns() > end) {
            (void)fprintf(stderr, "confab-bench: %" PRIu32 " of %" PRIu32 " came back\n",
                          traffic_ready(&k->t), k->plan.nclients);
            return CONFAB_TIMEOUT;
        }
        enum confab_err err = traffic_wait(&k->t, 100);
        if (err) {
            return err;
        }
    }
    return CONFAB_OK;
}

static enum confab_err one_round(struct stuck *k, bool stuck, struct stuck_round *ret)
{
    const struct options *o = k->t.opt;
    struct meters *m = bench_alloc(sizeof(*m));
    memset(ret, 0, sizeof(*ret));
    enum confab_err err = everybody_back(k);
    for (size_t i = 0; i < ARRAY_LEN(COUNTERS); i++) {
        ret->counters[i] = -world_metric(k->w, COUNTERS[i]);
    }
    k->output = 0;
    atomic_store(&k->t.shared->stuck, stuck);
    atomic_store(&k->t.shared->phase, PHASE_RUN);
    for (uint32_t i = 0; i < FILLS && !err; i++) {
        err = noise(k, &k->fill);
        err = err ? err : traffic_wait(&k->t, FILL_MS);
    }
    err = err ? err : noise_for(k, o->warmup);
    err = err ? err : traffic_reset(&k->t);
    err = err ? err : noise_for(k, o->seconds);
    err = err ? err : traffic_reset(&k->t);
    if (!err) {
        traffic_meters(&k->t, m);
        ret->p50_ms = (double)hist_quantile(&m->delivery_ns, 0.5) / 1e6;
        ret->p99_ms = (double)hist_quantile(&m->delivery_ns, 0.99) / 1e6;
        ret->messages = m->complete;
        ret->errors = m->errors;
        ret->output_mb = k->output / (1 << 20);
        ret->rss_mb = (double)child_memory(k->t.server).rss_kib / 1024;
        for (size_t i = 0; i < ARRAY_LEN(COUNTERS); i++) {
            ret->counters[i] += world_metric(k->w, COUNTERS[i]);
        }
    }
    atomic_store(&k->t.shared->stuck, 0);
    free(m);
    return err ? err : traffic_drain(&k->t);
}

/* ---- What came of it ---- */

static void round_line(const struct options *o, uint32_t number, bool stuck,
                       const struct stuck_round *r)
{
    (void)printf(o->json ? "{\"round\":%" PRIu32 ",\"stuck\":%s,\"messages\":%" PRIu64
                           ",\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"rss_mb\":%.1f,"
                           "\"output_mb\":%.2f,\"pulled\":%.0f,\"closed\":%.0f,"
                           "\"dropped\":%.0f,\"ephemeral_dropped\":%.0f,\"chunks\":%.0f,"
                           "\"yields\":%.0f}\n"
                         : "%2" PRIu32 " stuck: %-5s %7" PRIu64
                           " messages, p50 %.3f ms, p99 %.3f ms; server %.1f MiB, queues "
                           "%.2f MiB; %.0f pulled, %.0f closed, %.0f dropped, %.0f ephemeral; %.0f "
                           "chunks, %.0f yields\n",
                 number, stuck ? "true" : "false", r->messages, r->p50_ms, r->p99_ms, r->rss_mb,
                 r->output_mb, r->counters[0], r->counters[1], r->counters[2], r->counters[3],
                 r->counters[4], r->counters[5]);
    (void)fflush(stdout);
}

static void report(const struct options *o, const struct stuck *k,
                   const struct stuck_round *reading, const struct stuck_round *stuck)
{
    double *p99[2] = {bench_alloc(o->rounds * sizeof(double)),
                      bench_alloc(o->rounds * sizeof(double))};
    double *ratio = bench_alloc(o->rounds * sizeof(double));
    double rss[2] = {0, 0};
    uint64_t errors = 0;
    for (uint32_t i = 0; i < o->rounds; i++) {
        p99[0][i] = reading[i].p99_ms;
        p99[1][i] = stuck[i].p99_ms;
        ratio[i] = reading[i].p99_ms > 0 ? stuck[i].p99_ms / reading[i].p99_ms : 0;
        rss[0] = MAX(rss[0], reading[i].rss_mb);
        rss[1] = MAX(rss[1], stuck[i].rss_mb);
        errors += reading[i].errors + stuck[i].errors;
    }
    struct summary read = summarise(p99[0], o->rounds);
    struct summary not_read = summarise(p99[1], o->rounds);
    struct summary share = summarise(ratio, o->rounds);
    (void)printf(o->json ? "{\"scenario\":\"stuck\",\"connections\":%" PRIu32 ",\"stuck\":%" PRIu32
                           ",\"p99_reading_ms\":%.3f,"
                           "\"p99_stuck_ms\":%.3f,\"ratio\":{\"median\":%.3f,\"min\":%.3f,"
                           "\"max\":%.3f},\"rss_reading_mb\":%.1f,\"rss_stuck_mb\":%.1f,"
                           "\"errors\":%" PRIu64 "}\n"
                         : "%" PRIu32 " connections, %" PRIu32
                           " of them stuck by turns: others' p99 %.3f ms, with stuck ones %.3f ms; "
                           "by pairs %.3f times (%.3f to %.3f); server at most %.1f MiB, "
                           "then %.1f MiB; %" PRIu64 " errors\n",
                 k->plan.nclients, k->plan.nstuck, read.median, not_read.median, share.median,
                 share.min, share.max, rss[0], rss[1], errors);
    free(p99[0]);
    free(p99[1]);
    free(ratio);
}

static void put_noise(struct buf *b, const char *group, uint32_t bytes)
{
    buf_printf(b, "{\"groupId\":\"%.*s\",\"content\":\"", (int)ID_CONV_TEXT, group);
    for (uint32_t i = 0; i < bytes; i++) {
        buf_put_u8(b, i % 8 == 7 ? ' ' : 'z');
    }
    buf_put_str(b, "\"}");
}

static enum confab_err make_noise(struct stuck *k)
{
    uint32_t n = k->plan.nstuck;
    uint32_t *people = bench_alloc(n * sizeof(*people));
    char id[ID_CONV_TEXT + 1] = "";
    struct conv_id conv;
    for (uint32_t i = 0; i < n; i++) {
        people[i] = k->plan.nclients - n + i;
    }
    enum confab_err err = world_group(k->w, people, n, &conv);
    free(people);
    if (err) {
        return err;
    }
    conv_id_text(conv, id);
    (void)snprintf(k->path, sizeof(k->path), "/api/v1/messages");
    put_noise(&k->fill, id, FILL_BYTES);
    put_noise(&k->noise, id, NOISE_BYTES);
    return buf_ok(&k->noise) && buf_ok(&k->fill) ? CONFAB_OK : CONFAB_NOMEM;
}

enum confab_err run_stuck(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct stuck k = {.w = w};
    struct stuck_round *rounds[2] = {bench_alloc(o->rounds * sizeof(**rounds)),
                                     bench_alloc(o->rounds * sizeof(**rounds))};
    k.t = (struct traffic){.opt = o, .world = w, .plan = &k.plan, .port = port, .server = server};
    plan_pairs(&k.plan, w, o);
    k.plan.nstuck = o->members;
    k.plan.nclients += o->members;
    texts_make(&k.t);
    enum confab_err err = make_noise(&k);
    err = err ? err : traffic_start(&k.t);
    for (uint32_t i = 0; i < o->rounds && !err; i++) {
        for (unsigned stuck = 0; stuck < 2 && !err; stuck++) {
            err = one_round(&k, stuck, &rounds[stuck][i]);
            if (!err) {
                round_line(o, i + 1, stuck, &rounds[stuck][i]);
            }
        }
    }
    if (!err) {
        report(o, &k, rounds[0], rounds[1]);
    }
    traffic_stop(&k.t);
    texts_free(&k.t);
    plan_free(&k.plan);
    buf_deinit(&k.noise);
    buf_deinit(&k.fill);
    free(rounds[0]);
    free(rounds[1]);
    return err;
}
