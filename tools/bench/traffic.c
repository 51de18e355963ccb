/* Rounds: the workers' phases, and what was measured meanwhile. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

#define CONNECT_S 600U
#define DRAIN_S   60U
#define TEXTS     512U

/* ---- Texts ---- */

static const char *const WORDS[] = {
    "the",   "a",      "we",    "you",    "it",    "is",    "was",     "not",   "at",    "on",
    "with",  "for",    "this",  "that",   "there", "here",  "today",   "later", "again", "please",
    "thank", "sorry",  "maybe", "sure",   "good",  "great", "meeting", "lunch", "train", "house",
    "phone", "photo",  "from",  "my",     "your",  "their", "friend",  "group", "write", "call",
    "come",  "bring",  "send",  "forget", "know",  "think", "need",    "want",  "two",   "three",
    "about", "before", "after", "when",   "where", "who",   "and",     "but",   "so",    "then",
};

static struct span text_drawn(struct random_seeded *random, uint32_t bytes)
{
    char *p = bench_alloc(bytes + 16);
    uint32_t n = 0;
    while (n < bytes) {
        const char *word = WORDS[random_below(&random->base, ARRAY_LEN(WORDS))];
        n += (uint32_t)snprintf(p + n, bytes + 16 - n, "%s ", word);
    }
    return span_of(p, bytes);
}

/* Lines of a file, without what would need escapes in JSON. */
static uint32_t texts_read(struct traffic *t, const char *path)
{
    FILE *f = fopen(path, "re");
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    uint32_t count = 0;
    if (!f) {
        bench_die(path);
    }
    while (count < t->ntexts && (n = getline(&line, &cap, f)) > 0) {
        size_t keep = 0;
        char *p = bench_alloc((size_t)n + 1);
        for (ssize_t i = 0; i < n; i++) {
            if ((unsigned char)line[i] >= ' ' && line[i] != '"' && line[i] != '\\' &&
                line[i] != '~' && line[i] != 127) {
                p[keep++] = line[i];
            }
        }
        if (keep >= t->opt->size_min && keep <= t->opt->size_max) {
            t->texts[count++] = span_of(p, keep);
        } else {
            free(p);
        }
    }
    free(line);
    (void)fclose(f);
    return count;
}

void texts_make(struct traffic *t)
{
    const struct options *o = t->opt;
    struct random_seeded random;
    random_seeded_init(&random, o->seed);
    t->ntexts = TEXTS;
    t->texts = bench_alloc(TEXTS * sizeof(*t->texts));
    uint32_t have = o->texts ? texts_read(t, o->texts) : 0;
    if (o->texts && have == 0) {
        (void)fprintf(stderr, "confab-bench: %s has no line of %u to %u bytes\n", o->texts,
                      o->size_min, o->size_max);
        exit(2);
    }
    if (have > 0) {
        t->ntexts = have;
        return;
    }
    for (uint32_t i = 0; i < TEXTS; i++) {
        uint32_t bytes =
            o->size_min + (uint32_t)random_below(&random.base, o->size_max - o->size_min + 1);
        t->texts[i] = text_drawn(&random, bytes);
    }
}

void texts_free(struct traffic *t)
{
    for (uint32_t i = 0; i < t->ntexts; i++) {
        free((void *)(uintptr_t)t->texts[i].p);
    }
    free(t->texts);
}

/* ---- Meters ---- */

static void hist_merge(struct hist *sum, const struct hist *h)
{
    sum->count += h->count;
    sum->sum += h->sum;
    sum->max = MAX(sum->max, h->max);
    for (uint32_t i = 0; i < HIST_BUCKETS; i++) {
        sum->buckets[i] += h->buckets[i];
    }
}

void meters_add(struct meters *sum, const struct meters *m)
{
    sum->sent += m->sent;
    sum->acked += m->acked;
    sum->delivered += m->delivered;
    sum->complete += m->complete;
    sum->receipts += m->receipts;
    sum->errors += m->errors;
    sum->refused += m->refused;
    sum->acks_refused += m->acks_refused;
    sum->resyncs += m->resyncs;
    sum->stale += m->stale;
    sum->lost += m->lost;
    sum->bytes_in += m->bytes_in;
    sum->bytes_out += m->bytes_out;
    sum->beats += m->beats;
    sum->answered += m->answered;
    hist_merge(&sum->connect_ns, &m->connect_ns);
    hist_merge(&sum->ack_ns, &m->ack_ns);
    hist_merge(&sum->delivery_ns, &m->delivery_ns);
    hist_merge(&sum->complete_ns, &m->complete_ns);
    hist_merge(&sum->lateness_ns, &m->lateness_ns);
}

void traffic_meters(const struct traffic *t, struct meters *ret)
{
    memset(ret, 0, sizeof(*ret));
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        meters_add(ret, &t->shared->worker[i].meters);
    }
}

/* ---- Workers ---- */

uint32_t traffic_ready(const struct traffic *t)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        sum += atomic_load(&t->shared->worker[i].ready);
    }
    return sum;
}

static uint32_t under_way(const struct traffic *t)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        sum += atomic_load(&t->shared->worker[i].under_way);
    }
    return sum;
}

/* False, and says why, when a worker gave up. */
static bool healthy(const struct traffic *t)
{
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        if (atomic_load(&t->shared->worker[i].failed)) {
            (void)fprintf(stderr, "confab-bench: a connection broke; the run is void\n");
            return false;
        }
    }
    int status;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        if (waitpid(t->workers[i], &status, WNOHANG) != 0) {
            (void)fprintf(stderr, "confab-bench: a worker ended\n");
            return false;
        }
    }
    return true;
}

enum confab_err traffic_reset(const struct traffic *t)
{
    uint32_t reset = atomic_fetch_add(&t->shared->reset, 1) + 1;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        while (atomic_load(&t->shared->worker[i].reset_seen) != reset) {
            if (!healthy(t)) {
                return CONFAB_NET;
            }
            pause_ms(1);
        }
    }
    return CONFAB_OK;
}

/* Until so many are connected: all, or none. */
static enum confab_err wait_ready(const struct traffic *t, uint32_t n)
{
    uint64_t deadline = now_ns() + (uint64_t)CONNECT_S * NS_PER_S;
    while (traffic_ready(t) != n) {
        if (!healthy(t) || now_ns() > deadline) {
            (void)fprintf(stderr, "confab-bench: %u of %u connections are there\n",
                          traffic_ready(t), t->plan->nclients);
            return CONFAB_NET;
        }
        pause_ms(1);
    }
    return CONFAB_OK;
}

enum confab_err traffic_start(struct traffic *t)
{
    const struct plan *plan = t->plan;
    uint32_t slots = plan->nsenders * plan->window;
    t->shared_bytes = sizeof(struct shared) + (size_t)slots * sizeof(struct slot);
    t->shared =
        mmap(NULL, t->shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (t->shared == MAP_FAILED) {
        return CONFAB_NOMEM;
    }
    (void)fflush(NULL); /* or each worker would print it again */
    t->shared->nworkers = MAX(1U, t->opt->workers);
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        t->workers[i] = fork();
        if (t->workers[i] < 0) {
            return CONFAB_NOMEM;
        }
        if (t->workers[i] == 0) {
            worker_run(t, i);
        }
    }
    return wait_ready(t, plan->nclients);
}

enum confab_err traffic_away(struct traffic *t)
{
    atomic_store(&t->shared->phase, PHASE_AWAY);
    return wait_ready(t, 0);
}

enum confab_err traffic_back(struct traffic *t)
{
    atomic_store(&t->shared->phase, PHASE_CONNECT);
    return wait_ready(t, t->plan->nclients);
}

void traffic_stop(struct traffic *t)
{
    if (!t->shared || t->shared == MAP_FAILED) {
        return;
    }
    atomic_store(&t->shared->phase, PHASE_END);
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        if (t->workers[i] > 0) {
            (void)kill(t->workers[i], SIGKILL);
            while (waitpid(t->workers[i], NULL, 0) < 0 && errno == EINTR) {
            }
        }
    }
    (void)munmap(t->shared, t->shared_bytes);
    t->shared = NULL;
}

static double workers_cpu_s(const struct traffic *t)
{
    uint64_t ms = 0;
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        ms += child_cpu_ms(t->workers[i]);
    }
    return (double)ms / 1e3;
}

enum confab_err traffic_wait(const struct traffic *t, uint32_t ms)
{
    uint64_t end = now_ns() + (uint64_t)ms * NS_PER_MS;
    for (uint64_t now = now_ns(); now < end; now = now_ns()) {
        if (!healthy(t)) {
            return CONFAB_NET;
        }
        pause_ms((uint32_t)MIN((end - now) / NS_PER_MS + 1, 100U));
    }
    return CONFAB_OK;
}

/* Until then they may send, whatever was under way before. */
static bool all_drain(const struct traffic *t)
{
    for (uint32_t i = 0; i < t->shared->nworkers; i++) {
        if (atomic_load(&t->shared->worker[i].phase_seen) != PHASE_DRAIN) {
            return false;
        }
    }
    return true;
}

enum confab_err traffic_drain(struct traffic *t)
{
    atomic_store(&t->shared->phase, PHASE_DRAIN);
    uint64_t deadline = now_ns() + (uint64_t)DRAIN_S * NS_PER_S;
    while (!all_drain(t) || under_way(t) > 0) {
        if (!healthy(t) || now_ns() > deadline) {
            (void)fprintf(stderr, "confab-bench: %u messages never came\n", under_way(t));
            return CONFAB_NET;
        }
        pause_ms(1);
    }
    return traffic_reset(t);
}

enum confab_err traffic_fill(struct traffic *t)
{
    uint64_t sent = 0;
    atomic_store(&t->shared->phase, PHASE_RUN);
    while (sent < (uint64_t)t->plan->limit * t->plan->nsenders) {
        enum confab_err err = traffic_wait(t, 2);
        if (err) {
            return err;
        }
        sent = 0;
        for (uint32_t i = 0; i < t->shared->nworkers; i++) {
            sent += atomic_load(&t->shared->worker[i].sent);
        }
    }
    return traffic_drain(t);
}

enum confab_err traffic_measure(struct traffic *t, struct round *ret)
{
    memset(ret, 0, sizeof(*ret));
    uint64_t began = now_ns();
    double server = t->server ? (double)child_cpu_ms(t->server) / 1e3 : 0;
    double load = workers_cpu_s(t);
    atomic_store(&t->shared->phase, PHASE_MEASURE);
    enum confab_err err = traffic_wait(t, t->opt->seconds * 1000U);
    err = err ? err : traffic_reset(t);
    ret->seconds = (double)(now_ns() - began) / 1e9;
    ret->server_cpu_s = t->server ? (double)child_cpu_ms(t->server) / 1e3 - server : 0;
    ret->load_cpu_s = workers_cpu_s(t) - load;
    ret->memory = t->server ? child_memory(t->server) : (struct child_memory){0, 0};
    traffic_meters(t, &ret->m);
    return err;
}

enum confab_err traffic_round(struct traffic *t, struct round *ret)
{
    memset(ret, 0, sizeof(*ret));
    atomic_store(&t->shared->phase, PHASE_RUN);
    enum confab_err err = traffic_wait(t, t->opt->warmup * 1000U);
    err = err ? err : traffic_reset(t);
    err = err ? err : traffic_measure(t, ret);
    return err ? err : traffic_drain(t);
}
