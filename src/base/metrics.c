/*
 * The registry's lock is taken when threads come and go and when someone scrapes, never by a
 * writer. A scrape may see a thread's counters from slightly different moments; each for itself is
 * exact.
 */
#include "base/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct list registry = {&registry, &registry};

enum kind { KIND_COUNTER, KIND_GAUGE, KIND_HISTOGRAM_S, KIND_HISTOGRAM_N };
struct row {
    enum kind kind;
    const char *name;
    const char *labels;
    const char *help;
};

static const struct row rows[METRIC_COUNT] = {
#define COUNTER(sym, name, labels, help) {KIND_COUNTER, name, labels, help},
#define GAUGE(sym, name, labels, help)   {KIND_GAUGE, name, labels, help},
#include "base/metrics.def"
};
static const struct row hist_rows[METRIC_H_COUNT] = {
#define HISTOGRAM_S(sym, name, labels, help) {KIND_HISTOGRAM_S, name, labels, help},
#define HISTOGRAM_N(sym, name, labels, help) {KIND_HISTOGRAM_N, name, labels, help},
#include "base/metrics.def"
};

void metrics_register(struct metrics *m, const void *owner)
{
    memset(m, 0, sizeof(*m));
    m->owner = owner;
    pthread_mutex_lock(&registry_lock);
    list_push_back(&registry, &m->node);
    pthread_mutex_unlock(&registry_lock);
}

void metrics_unregister(struct metrics *m)
{
    pthread_mutex_lock(&registry_lock);
    if (m->node.next) {
        list_remove(&m->node);
    }
    pthread_mutex_unlock(&registry_lock);
}

/*
 * Buckets are open below and closed above, as Prometheus has them, so they are numbered by v - 1:
 * four of one each, then four to a power of two.
 */
static unsigned bucket_of(uint64_t v)
{
    uint64_t x = v > 0 ? v - 1 : 0;
    if (x < 4) {
        return (unsigned)x;
    }
    unsigned exponent = 63U - (unsigned)__builtin_clzll(x);
    unsigned i = (exponent - 1) * 4 + (unsigned)(x >> (exponent - 2) & 3U);
    return MIN(i, METRICS_BUCKETS - 1);
}

/* The highest value of the buckets before bucket i. */
static uint64_t bound_below(unsigned i)
{
    return i < 4 ? i : (uint64_t)(4 + i % 4) << (i / 4 - 1);
}

/* The bucket whose bound_below is 2^exponent. */
#define BUCKET_AT(exponent) (((exponent)-1U) * 4U)

void metrics_observe(struct metrics *m, enum metric_hist id, uint64_t v)
{
    struct metrics_hist *h = &m->hists[id];
    _Atomic(uint64_t) *bucket = &h->buckets[bucket_of(v)];
    atomic_store_explicit(bucket, atomic_load_explicit(bucket, memory_order_relaxed) + 1,
                          memory_order_relaxed);
    atomic_store_explicit(&h->sum, atomic_load_explicit(&h->sum, memory_order_relaxed) + v,
                          memory_order_relaxed);
}

enum metric metrics_of_error(enum confab_err err)
{
    switch (err) {
    case CONFAB_INVALID:
    case CONFAB_TOO_LARGE:
    case CONFAB_METHOD:
    case CONFAB_UNSUPPORTED:
        return METRIC_ERRORS_INVALID;
    case CONFAB_FORBIDDEN:
    case CONFAB_UNAUTHENTICATED:
    case CONFAB_BLOCKED:
    case CONFAB_INVITE_INVALID:
    case CONFAB_TOO_LATE:
    case CONFAB_REGISTRATION_CLOSED:
    case CONFAB_WEAK_PASSWORD:
    case CONFAB_FORBIDDEN_ORIGIN:
    case CONFAB_FORBIDDEN_HOST:
        return METRIC_ERRORS_AUTH;
    case CONFAB_NOT_FOUND:
    case CONFAB_GONE:
        return METRIC_ERRORS_NOT_FOUND;
    case CONFAB_EXISTS:
    case CONFAB_CONFLICT:
    case CONFAB_LOCKED:
    case CONFAB_DUPLICATE_KEY:
    case CONFAB_LAST_ADMIN:
        return METRIC_ERRORS_CONFLICT;
    case CONFAB_LIMIT:
    case CONFAB_THROTTLED:
        return METRIC_ERRORS_LIMIT;
    case CONFAB_AGAIN:
    case CONFAB_BUSY:
    case CONFAB_NOMEM:
    case CONFAB_TIMEOUT:
    case CONFAB_CLOSED:
        return METRIC_ERRORS_BUSY;
    case CONFAB_IO:
    case CONFAB_NO_SPACE:
        return METRIC_ERRORS_STORAGE;
    case CONFAB_OK:
    case CONFAB_CORRUPT:
    case CONFAB_VERSION:
    case CONFAB_EOF:
    case CONFAB_NET:
        break;
    }
    return METRIC_ERRORS_INTERNAL;
}

/* The registered ones of an owner; under the lock. */
#define EACH_OF_OWNER(owner_, m)                                                                   \
    LIST_EACH(&registry, m##_node)                                                                 \
    for (struct metrics *m = LIST_ENTRY(m##_node, struct metrics, node);                           \
         m && (!(owner_) || m->owner == (owner_)); m = NULL)

static uint64_t sum_locked(const void *owner, enum metric id)
{
    uint64_t sum = 0;
    EACH_OF_OWNER(owner, m)
    {
        sum += atomic_load_explicit(&m->values[id], memory_order_relaxed);
    }
    return sum;
}

struct hist_sum {
    uint64_t sum;
    uint64_t count;
    uint64_t buckets[METRICS_BUCKETS];
};

static void hist_sum_locked(const void *owner, enum metric_hist id, struct hist_sum *ret)
{
    memset(ret, 0, sizeof(*ret));
    EACH_OF_OWNER(owner, m)
    {
        const struct metrics_hist *h = &m->hists[id];
        ret->sum += atomic_load_explicit(&h->sum, memory_order_relaxed);
        for (unsigned i = 0; i < METRICS_BUCKETS; i++) {
            uint64_t n = atomic_load_explicit(&h->buckets[i], memory_order_relaxed);
            ret->buckets[i] += n;
            ret->count += n;
        }
    }
}

int64_t metrics_total(const void *owner, enum metric id)
{
    pthread_mutex_lock(&registry_lock);
    uint64_t sum = sum_locked(owner, id);
    pthread_mutex_unlock(&registry_lock);
    return (int64_t)sum;
}

uint64_t metrics_hist_count(const void *owner, enum metric_hist id)
{
    struct hist_sum h;
    pthread_mutex_lock(&registry_lock);
    hist_sum_locked(owner, id, &h);
    pthread_mutex_unlock(&registry_lock);
    return h.count;
}

uint64_t metrics_quantile(const void *owner, enum metric_hist id, double q)
{
    struct hist_sum h;
    pthread_mutex_lock(&registry_lock);
    hist_sum_locked(owner, id, &h);
    pthread_mutex_unlock(&registry_lock);
    if (h.count == 0) {
        return 0;
    }
    double wanted = q * (double)h.count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < METRICS_BUCKETS - 1; i++) {
        seen += h.buckets[i];
        if (seen > 0 && (double)seen >= wanted) {
            return bound_below(i + 1);
        }
    }
    return UINT64_MAX;
}

static void put_head(struct buf *out, const struct row *row, const struct row *before)
{
    if (before && strcmp(before->name, row->name) == 0) {
        return;
    }
    const char *type = "histogram";
    if (row->kind == KIND_COUNTER) {
        type = "counter";
    } else if (row->kind == KIND_GAUGE) {
        type = "gauge";
    }
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", row->name, row->help, row->name, type);
}

static void put_bucket(struct buf *out, const struct row *row, const char *le, uint64_t n)
{
    buf_printf(out, "%s_bucket{%s%sle=\"%s\"} %" PRIu64 "\n", row->name, row->labels,
               row->labels[0] ? "," : "", le, n);
}

static void put_tail(struct buf *out, const struct row *row, const char *suffix)
{
    const char *open = row->labels[0] ? "{" : "";
    const char *close = row->labels[0] ? "}" : "";
    buf_printf(out, "%s%s%s%s%s ", row->name, suffix, open, row->labels, close);
}

/*
 * Two bounds to a power of two are enough for a dashboard: 1 us to 34 s for times, 1 to 16 million
 * for numbers.
 */
static void put_hist(struct buf *out, const struct row *row, const struct hist_sum *h)
{
    bool seconds = row->kind == KIND_HISTOGRAM_S;
    unsigned first = seconds ? BUCKET_AT(10) : 2;
    unsigned last = seconds ? BUCKET_AT(35) : BUCKET_AT(24);
    uint64_t seen = 0;
    for (unsigned i = 1; i <= last; i++) {
        seen += h->buckets[i - 1];
        if (i < first || i % 2 != 0) {
            continue;
        }
        char le[32];
        if (seconds) {
            snprintf(le, sizeof(le), "%.12g", (double)bound_below(i) / 1e9);
        } else {
            snprintf(le, sizeof(le), "%" PRIu64, bound_below(i));
        }
        put_bucket(out, row, le, seen);
    }
    put_bucket(out, row, "+Inf", h->count);
    put_tail(out, row, "_sum");
    if (seconds) {
        buf_printf(out, "%.9f\n", (double)h->sum / 1e9);
    } else {
        buf_printf(out, "%" PRIu64 "\n", h->sum);
    }
    put_tail(out, row, "_count");
    buf_printf(out, "%" PRIu64 "\n", h->count);
}

void metrics_render(struct buf *out, const void *owner)
{
    uint64_t sums[METRIC_COUNT];
    struct hist_sum h;
    /* Rendering itself happens outside of the lock: threads must be able to end meanwhile. */
    pthread_mutex_lock(&registry_lock);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        sums[i] = sum_locked(owner, (enum metric)i);
    }
    pthread_mutex_unlock(&registry_lock);
    for (unsigned i = 0; i < METRIC_COUNT; i++) {
        put_head(out, &rows[i], i > 0 ? &rows[i - 1] : NULL);
        put_tail(out, &rows[i], "");
        if (rows[i].kind == KIND_GAUGE) {
            buf_printf(out, "%" PRId64 "\n", (int64_t)sums[i]);
        } else {
            buf_printf(out, "%" PRIu64 "\n", sums[i]);
        }
    }
    for (unsigned i = 0; i < METRIC_H_COUNT; i++) {
        pthread_mutex_lock(&registry_lock);
        hist_sum_locked(owner, (enum metric_hist)i, &h);
        pthread_mutex_unlock(&registry_lock);
        put_head(out, &hist_rows[i], i > 0 ? &hist_rows[i - 1] : NULL);
        put_hist(out, &hist_rows[i], &h);
    }
}
