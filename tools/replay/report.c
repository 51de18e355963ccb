/* The figures of a run, for people or as JSON. */
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>

#include "child.h"
#include "proto/json.h"
#include "replay.h"

static const double QUANTILES[] = {0.5, 0.9, 0.99, 0.999};
static const char *const QUANTILE_NAMES[] = {"p50", "p90", "p99", "p999"};

static double ms_of(uint64_t ns)
{
    return (double)ns / 1e6;
}

static void hist_text(const char *what, const struct hist *h)
{
    (void)printf("%-18s", what);
    for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) {
        (void)printf(" %s %.2f ms", QUANTILE_NAMES[i], ms_of(hist_quantile(h, QUANTILES[i])));
    }
    (void)printf(" max %.2f ms\n", ms_of(h->max));
}

static void json_put_ms(struct json_writer *w, const char *key, double v)
{
    json_w_key(w, key);
    json_w_slot(w);
    buf_printf(w->b, "%.3f", v);
}

static void hist_json(struct json_writer *w, const char *key, const struct hist *h)
{
    json_w_key(w, key);
    json_w_object(w);
    for (size_t i = 0; i < ARRAY_LEN(QUANTILES); i++) {
        json_put_ms(w, QUANTILE_NAMES[i], ms_of(hist_quantile(h, QUANTILES[i])));
    }
    json_put_ms(w, "max", ms_of(h->max));
    json_w_object_end(w);
}

struct figures {
    double seconds;
    double messages_s;
    double deliveries_s;
    double tool_cpu_s;
    struct child_memory memory;
};

#define COUNTERS(X)                                                                                \
    X(acked, "acknowledged")                                                                       \
    X(deliveries, "deliveries")                                                                    \
    X(live, "live")                                                                                \
    X(paged, "by_resume")                                                                          \
    X(fetched, "by_history")                                                                       \
    X(ignored, "told_again")                                                                       \
    X(resyncs, "resyncs")                                                                          \
    X(busy, "refused_for_now")                                                                     \
    X(repeats, "repeated_sends")                                                                   \
    X(duplicates, "answered_as_duplicates")                                                        \
    X(reconnects, "reconnects")                                                                    \
    X(kills, "kills")                                                                              \
    X(drops, "devices_gone")                                                                       \
    X(receipts, "receipts")                                                                        \
    X(errors, "errors")

static void print_text(const struct replay *r, const struct figures *f)
{
    (void)printf("%u messages by %u people in %u sessions, %u conversations: %.2f s\n", r->next,
                 r->npeople, r->nsessions, r->nconvs, f->seconds);
    (void)printf("%.0f messages/s, %.0f deliveries/s, %.1f MB/s in\n", f->messages_s,
                 f->deliveries_s, (double)r->n.bytes_in / 1e6 / f->seconds);
    hist_text("send to ack", &r->ack_ns);
    hist_text("send to delivery", &r->delivery_ns);
#define X(field, name) (void)printf("%s %" PRIu64 "  ", name, r->n.field);
    COUNTERS(X)
#undef X
    (void)printf("\n");
    if (r->n.kills > 0) {
        (void)printf("from kill -9 to ready: %.0f ms on average\n",
                     (double)r->down_ms / (double)r->n.kills);
    }
    if (f->memory.rss_kib > 0) {
        (void)printf("server: %.1f MiB resident, %.1f MiB at most, %.2f s CPU; this tool: %.2f s\n",
                     (double)f->memory.rss_kib / 1024, (double)f->memory.peak_kib / 1024,
                     (double)r->server_cpu_ms / 1000, f->tool_cpu_s);
    }
    (void)printf(r->n.errors == 0 ? "ok: every member has every message once, in the same order\n"
                                  : "FAILED\n");
}

static void print_json(const struct replay *r, const struct figures *f)
{
    struct buf b = {0};
    struct json_writer w;
    json_w_init(&w, &b);
    json_w_object(&w);
    json_w_kbool(&w, "ok", r->n.errors == 0);
    json_w_ku64(&w, "messages", r->next);
    json_w_ku64(&w, "people", r->npeople);
    json_w_ku64(&w, "sessions", r->nsessions);
    json_w_ku64(&w, "conversations", r->nconvs);
    json_w_ku64(&w, "window", r->opt.window);
    json_w_ku64(&w, "seed", r->opt.seed);
    json_put_ms(&w, "seconds", f->seconds);
    json_put_ms(&w, "messages_per_s", f->messages_s);
    json_put_ms(&w, "deliveries_per_s", f->deliveries_s);
    hist_json(&w, "ack_ms", &r->ack_ns);
    hist_json(&w, "delivery_ms", &r->delivery_ns);
#define X(field, name) json_w_ku64(&w, name, r->n.field);
    COUNTERS(X)
#undef X
    json_w_ku64(&w, "down_ms", r->down_ms);
    json_w_ku64(&w, "server_rss_kib", f->memory.rss_kib);
    json_w_ku64(&w, "server_peak_kib", f->memory.peak_kib);
    json_w_ku64(&w, "server_cpu_ms", r->server_cpu_ms);
    json_put_ms(&w, "tool_cpu_s", f->tool_cpu_s);
    json_w_object_end(&w);
    buf_put_str(&b, "\n");
    if (buf_ok(&b)) {
        (void)fwrite(b.data, 1, b.len, stdout);
    }
    buf_deinit(&b);
}

void report_print(struct replay *r)
{
    struct figures f = {0};
    struct rusage usage;
    uint64_t ns = r->ended_ns > r->started_ns ? r->ended_ns - r->started_ns : 1;
    f.seconds = (double)ns / 1e9;
    f.messages_s = (double)r->n.acked / f.seconds;
    f.deliveries_s = (double)r->n.deliveries / f.seconds;
    f.memory = r->memory;
    if (getrusage(RUSAGE_SELF, &usage) == 0) {
        f.tool_cpu_s = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    }
    if (r->opt.json) {
        print_json(r, &f);
    } else {
        print_text(r, &f);
    }
}
