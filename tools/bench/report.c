/* Medians and spread over the rounds, for people and as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "bench.h"

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

struct summary summarise(const double *values, uint32_t n)
{
    double sorted[ROUNDS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        sorted[i] = values[i];
    }
    qsort(sorted, n, sizeof(*sorted), by_value);
    double median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
    return (struct summary){median, sorted[0], sorted[n - 1]};
}

/* ---- What is told of a round ---- */

static double messages_s(const struct round *r)
{
    return (double)r->m.complete / r->seconds;
}
static double deliveries_s(const struct round *r)
{
    return (double)r->m.delivered / r->seconds;
}
static double server_us(const struct round *r)
{
    return r->m.complete ? r->server_cpu_s * 1e6 / (double)r->m.complete : 0;
}
static double load_us(const struct round *r)
{
    return r->m.complete ? r->load_cpu_s * 1e6 / (double)r->m.complete : 0;
}
static double ack_p50(const struct round *r)
{
    return (double)hist_quantile(&r->m.ack_ns, 0.5) / 1e6;
}
static double ack_p99(const struct round *r)
{
    return (double)hist_quantile(&r->m.ack_ns, 0.99) / 1e6;
}
static double delivery_p50(const struct round *r)
{
    return (double)hist_quantile(&r->m.delivery_ns, 0.5) / 1e6;
}
static double delivery_p99(const struct round *r)
{
    return (double)hist_quantile(&r->m.delivery_ns, 0.99) / 1e6;
}
static double delivery_p999(const struct round *r)
{
    return (double)hist_quantile(&r->m.delivery_ns, 0.999) / 1e6;
}
static double delivery_max(const struct round *r)
{
    return (double)r->m.delivery_ns.max / 1e6;
}
static double lateness_p99(const struct round *r)
{
    return (double)hist_quantile(&r->m.lateness_ns, 0.99) / 1e6;
}
static double memory_mib(const struct round *r)
{
    return (double)r->memory.rss_kib / 1024;
}
static double materialised(const struct round *r)
{
    return r->materialised * 100;
}

static const struct {
    const char *key;
    const char *text;
    double (*of)(const struct round *r);
    bool share; /* of the floor's */
    bool floor; /* a floor has it, too */
} FIGURES[] = {
    {"messages_per_s", "messages/s", messages_s, true, true},
    {"deliveries_per_s", "deliveries/s", deliveries_s, true, true},
    {"ack_p50_ms", "send to ack, p50, ms", ack_p50, false, true},
    {"ack_p99_ms", "send to ack, p99, ms", ack_p99, false, true},
    {"delivery_p50_ms", "send to delivery, p50, ms", delivery_p50, false, true},
    {"delivery_p99_ms", "send to delivery, p99, ms", delivery_p99, false, true},
    {"delivery_p999_ms", "send to delivery, p99.9, ms", delivery_p999, false, true},
    {"delivery_max_ms", "send to delivery, max, ms", delivery_max, false, true},
    {"tool_late_p99_ms", "the tool itself was late, p99, ms", lateness_p99, false, true},
    {"server_us_per_message", "server CPU a message, us", server_us, false, true},
    {"load_us_per_message", "load tool's CPU a message, us", load_us, false, true},
    {"server_mib", "server's memory, MiB", memory_mib, false, false},
    {"materialised_percent", "of the log in the store at the end, %", materialised, false, false},
};

static struct summary figure(const struct round *rounds, uint32_t n,
                             double (*of)(const struct round *r))
{
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        values[i] = of(&rounds[i]);
    }
    return summarise(values, n);
}

/* Pair by pair, since both were run in the same minute. */
static double share(const struct round *rounds, const struct round *floors, uint32_t n,
                    double (*of)(const struct round *r))
{
    double values[ROUNDS_MAX];
    for (uint32_t i = 0; i < n; i++) {
        double floor = of(&floors[i]);
        values[i] = floor > 0 ? of(&rounds[i]) / floor : 0;
    }
    return summarise(values, n).median;
}

static void put_json(const char *key, struct summary s)
{
    (void)printf(",\"%s\":{\"median\":%.4f,\"min\":%.4f,\"max\":%.4f}", key, s.median, s.min,
                 s.max);
}

static void report_json(const struct options *o, const struct plan *plan,
                        const struct round *rounds, const struct round *floors, uint32_t n,
                        const struct meters *all)
{
    (void)printf("{\"scenario\":\"%s\",\"connections\":%" PRIu32 ",\"senders\":%" PRIu32
                 ",\"window\":%" PRIu32 ",\"rate\":%" PRIu32 ",\"rounds\":%" PRIu32
                 ",\"seconds\":%" PRIu32,
                 scenario_name(o->scenario), plan->nclients, plan->nsenders, plan->window,
                 plan->rate, n, o->seconds);
    for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
        put_json(FIGURES[i].key, figure(rounds, n, FIGURES[i].of));
    }
    if (floors) {
        (void)printf(",\"floor\":{\"rounds\":%" PRIu32, n);
        for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
            if (FIGURES[i].floor) {
                put_json(FIGURES[i].key, figure(floors, n, FIGURES[i].of));
            }
        }
        (void)printf("},\"share_of_floor\":{\"messages_per_s\":%.4f,\"deliveries_per_s\":%.4f}",
                     share(rounds, floors, n, messages_s), share(rounds, floors, n, deliveries_s));
    }
    (void)printf(",\"messages\":%" PRIu64 ",\"receipts\":%" PRIu64 ",\"refused\":%" PRIu64
                 ",\"acks_refused\":%" PRIu64 ",\"resyncs\":%" PRIu64 ",\"errors\":%" PRIu64 "}\n",
                 all->complete, all->receipts, all->refused, all->acks_refused, all->resyncs,
                 all->errors + all->lost);
}

static void report_text(const struct options *o, const struct plan *plan,
                        const struct round *rounds, const struct round *floors, uint32_t n,
                        const struct meters *all)
{
    (void)printf("%s: %" PRIu32 " connections, %" PRIu32 " senders, window %" PRIu32 ", ",
                 scenario_name(o->scenario), plan->nclients, plan->nsenders, plan->window);
    (void)printf(plan->rate ? "%" PRIu32 " messages/s asked for\n" : "as fast as it goes\n",
                 plan->rate);
    (void)printf("%" PRIu32 " rounds of %" PRIu32 " s; median (lowest to highest)%s\n\n", n,
                 o->seconds, floors ? "; the floor's beside it, and the share of it" : "");
    for (size_t i = 0; i < ARRAY_LEN(FIGURES); i++) {
        struct summary s = figure(rounds, n, FIGURES[i].of);
        (void)printf("%-38s %12.3f (%.3f to %.3f)", FIGURES[i].text, s.median, s.min, s.max);
        if (floors && FIGURES[i].floor) {
            struct summary f = figure(floors, n, FIGURES[i].of);
            (void)printf("   floor %.3f", f.median);
        }
        if (floors && FIGURES[i].share) {
            (void)printf("   %.0f %%", 100 * share(rounds, floors, n, FIGURES[i].of));
        }
        (void)printf("\n");
    }
    (void)printf("\n%" PRIu64 " messages, %" PRIu64 " receipts, %" PRIu64
                 " refused for now, %" PRIu64 " acknowledgements refused, %" PRIu64
                 " resyncs, %" PRIu64 " errors\n",
                 all->complete, all->receipts, all->refused, all->acks_refused, all->resyncs,
                 all->errors + all->lost);
}

void report_traffic(const struct options *o, const struct plan *plan, const struct round *rounds,
                    const struct round *floors, uint32_t n)
{
    struct meters *all = bench_alloc(sizeof(*all));
    for (uint32_t i = 0; i < n; i++) {
        meters_add(all, &rounds[i].m);
    }
    if (o->json) {
        report_json(o, plan, rounds, floors, n, all);
    } else {
        report_text(o, plan, rounds, floors, n, all);
    }
    free(all);
}
