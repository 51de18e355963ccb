#include "adapters/acme/acme.h"

#include <curl/curl.h>
#include <errno.h>
#include <inttypes.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "adapters/acme/acme_client.h"
#include "adapters/acme/acme_files.h"
#include "base/check.h"
#include "base/diag.h"
#include "base/random.h"
#include "proto/json.h"

#define RETRY_MAX_S  86400
#define JITTER_PARTS 50 /* renewal up to a fiftieth of the life later */
#define DOUBLINGS    20
#define PATH_SIZE    4352

struct acme {
    struct acme_config cfg;
    struct acme_client client; /* the thread's */
    atomic_bool stop;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct acme_stats stats; /* under the lock, like the two below */
    bool poked;
    uint64_t failures; /* in a row */
};

static int64_t now_s(void)
{
    return (int64_t)(clock_wall_ms(clock_system()) / 1000);
}

static void path_of(const struct acme *a, const char *name, char ret[PATH_SIZE])
{
    (void)snprintf(ret, PATH_SIZE, "%s/%s", a->cfg.folder, name);
}

/* ---- What is there ---- */

struct current {
    int64_t begins_s;
    int64_t ends_s;
};

static bool seconds_of(const ASN1_TIME *t, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1) {
        return false;
    }
    *ret = timegm(&tm);
    return true;
}

/* False: there is none, or it is not for all of the names. */
static bool current_look(const struct acme *a, struct current *ret)
{
    char path[PATH_SIZE];
    path_of(a, ACME_CURRENT, path);
    FILE *f = fopen(path, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    bool ok = cert && seconds_of(X509_get0_notBefore(cert), &ret->begins_s) &&
              seconds_of(X509_get0_notAfter(cert), &ret->ends_s);
    for (size_t i = 0; ok && i < a->cfg.names_n; i++) {
        ok = X509_check_host(cert, a->cfg.names[i], 0, 0, NULL) == 1;
    }
    X509_free(cert);
    if (f) {
        (void)fclose(f);
    }
    return ok;
}

/* Two thirds of the life, and some more: many servers that began together do not renew together. */
static int64_t renewal_of(const struct current *c)
{
    int64_t life = MAX(c->ends_s - c->begins_s, 1);
    uint64_t spread = (uint64_t)(life / JITTER_PARTS) + 1;
    return c->begins_s + life * 2 / 3 + (int64_t)random_below(random_system(), spread);
}

/* ---- The state file: failures and the pause that they brought ---- */

static void state_load(struct acme *a)
{
    char path[PATH_SIZE];
    struct buf text = {0};
    uint64_t failures = 0;
    uint64_t next_s = 0;
    path_of(a, "state.json", path);
    if (acme_file_get(path, &text) == CONFAB_OK) {
        struct json j;
        struct span key;
        json_init(&j, span_of(text.data, text.len), NULL);
        json_object_begin(&j);
        while (json_object_next(&j, &key)) {
            if (span_is(key, "failures")) {
                json_u64(&j, &failures);
            } else if (span_is(key, "next_try")) {
                json_u64(&j, &next_s);
            } else {
                json_skip(&j);
            }
        }
        if (json_end(&j)) {
            a->failures = failures;
            /* A clock that was wrong once must not stop renewals for years. */
            a->stats.next_s = MIN((int64_t)next_s, now_s() + RETRY_MAX_S);
        }
    }
    buf_deinit(&text);
}

static void state_save(struct acme *a)
{
    char path[PATH_SIZE];
    struct buf text = {0};
    path_of(a, "state.json", path);
    buf_printf(&text, "{\"failures\":%" PRIu64 ",\"next_try\":%" PRId64 "}\n", a->failures,
               a->stats.next_s);
    if (buf_ok(&text)) {
        (void)!acme_file_put(path, span_of(text.data, text.len)); /* logged there */
    }
    buf_deinit(&text);
}

/* ---- One try ---- */

static enum confab_err take(struct acme *a, const struct buf *pem)
{
    char path[PATH_SIZE];
    path_of(a, ACME_CURRENT, path);
    enum confab_err err = acme_file_put(path, span_of(pem->data, pem->len));
    if (err == CONFAB_OK) {
        path_of(a, "order.json", path);
        acme_file_remove(path);
        path_of(a, "order.key", path);
        acme_file_remove(path);
    }
    return err;
}

static enum confab_err try_once(struct acme *a)
{
    struct acme_client *c = &a->client;
    struct buf pem = {0};
    memset(c, 0, sizeof(*c));
    c->cfg = &a->cfg;
    enum confab_err err = acme_http_open(&c->http, a->cfg.ca_file, &a->stop);
    if (err == CONFAB_OK) {
        err = acme_client_obtain(c, &pem);
        acme_http_close(&c->http);
    }
    if (err == CONFAB_OK) {
        err = take(a, &pem);
    }
    if (pem.data) {
        OPENSSL_cleanse(pem.data, pem.len);
    }
    buf_deinit(&pem);
    return err;
}

/* The pause after so many failures, with a tenth of chance. */
static int64_t pause_s(const struct acme *a, uint32_t asked_s)
{
    uint64_t ms = a->cfg.retry_ms << MIN(a->failures - 1, DOUBLINGS);
    ms = MIN(ms, RETRY_MAX_S * 1000ULL);
    ms += random_below(random_system(), ms / 10 + 1);
    return (int64_t)MAX((ms + 999) / 1000, asked_s);
}

/* Under the lock. */
static void try_ended(struct acme *a, enum confab_err err)
{
    struct current current;
    if (err == CONFAB_OK && current_look(a, &current)) {
        a->failures = 0;
        a->stats.issued++;
        a->stats.why[0] = '\0';
        a->stats.next_s = MAX(renewal_of(&current), now_s() + 1);
        diag_info(DIAG_NET, "certificate issued | name=%s renewal_in_s=%" PRId64, a->cfg.names[0],
                  a->stats.next_s - now_s());
    } else {
        const char *why = err == CONFAB_OK ? "not for all of the names" : a->client.why;
        a->failures++;
        a->stats.failed++;
        a->stats.next_s = now_s() + pause_s(a, a->client.wait_s);
        (void)snprintf(a->stats.why, sizeof(a->stats.why), "%s", why[0] ? why : err_text(err));
        diag_error(DIAG_NET,
                   "no certificate | name=%s failures=%" PRIu64 " next_in_s=%" PRId64 " why=\"%s\"",
                   a->cfg.names[0], a->failures, a->stats.next_s - now_s(), a->stats.why);
    }
    state_save(a);
}

/* ---- The thread ---- */

/* Under the lock: until the next try is due, somebody pokes, or it is over. */
static void wait_due(struct acme *a)
{
    while (!atomic_load(&a->stop) && !a->poked && now_s() < a->stats.next_s) {
        /* In steps, as the wall clock may be set. */
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += MIN(a->stats.next_s - now_s(), 60);
        (void)pthread_cond_timedwait(&a->changed, &a->lock, &until);
    }
    a->poked = false;
}

static void *run(void *arg)
{
    struct acme *a = arg;
    CHECK(pthread_mutex_lock(&a->lock) == 0);
    for (;;) {
        wait_due(a);
        if (atomic_load(&a->stop)) {
            break;
        }
        CHECK(pthread_mutex_unlock(&a->lock) == 0);
        enum confab_err err = try_once(a);
        CHECK(pthread_mutex_lock(&a->lock) == 0);
        if (err != CONFAB_CLOSED) {
            try_ended(a, err);
        }
    }
    CHECK(pthread_mutex_unlock(&a->lock) == 0);
    return NULL;
}

/* When the first try is due: none while what is there is good, and not before a pause is over. */
static void schedule(struct acme *a)
{
    struct current current;
    state_load(a);
    if (current_look(a, &current) && a->failures == 0) {
        a->stats.next_s = renewal_of(&current);
    } else if (a->failures == 0) {
        a->stats.next_s = 0;
    }
    if (a->failures > 0) {
        (void)snprintf(a->stats.why, sizeof(a->stats.why), "an earlier try failed");
    }
}

enum confab_err acme_open(const struct acme_config *cfg, struct acme **ret)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return CONFAB_NOMEM;
    }
    struct acme *a = calloc(1, sizeof(*a));
    if (!a) {
        curl_global_cleanup();
        return CONFAB_NOMEM;
    }
    a->cfg = *cfg;
    CHECK(pthread_mutex_init(&a->lock, NULL) == 0 && pthread_cond_init(&a->changed, NULL) == 0);
    schedule(a);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    CHECK(pthread_sigmask(SIG_SETMASK, &all, &before) == 0);
    int failed = pthread_create(&a->thread, NULL, run, a);
    CHECK(pthread_sigmask(SIG_SETMASK, &before, NULL) == 0);
    if (failed) {
        (void)pthread_cond_destroy(&a->changed);
        (void)pthread_mutex_destroy(&a->lock);
        free(a);
        curl_global_cleanup();
        return CONFAB_NOMEM;
    }
    (void)pthread_setname_np(a->thread, "acme");
    *ret = a;
    return CONFAB_OK;
}

void acme_close(struct acme *a)
{
    if (!a) {
        return;
    }
    CHECK(pthread_mutex_lock(&a->lock) == 0);
    atomic_store(&a->stop, true);
    CHECK(pthread_cond_broadcast(&a->changed) == 0);
    CHECK(pthread_mutex_unlock(&a->lock) == 0);
    CHECK(pthread_join(a->thread, NULL) == 0);
    (void)pthread_cond_destroy(&a->changed);
    (void)pthread_mutex_destroy(&a->lock);
    free(a);
    curl_global_cleanup();
}

void acme_poke(struct acme *a)
{
    CHECK(pthread_mutex_lock(&a->lock) == 0);
    a->poked = a->failures > 0;
    CHECK(pthread_cond_broadcast(&a->changed) == 0);
    CHECK(pthread_mutex_unlock(&a->lock) == 0);
}

void acme_stats(struct acme *a, struct acme_stats *ret)
{
    CHECK(pthread_mutex_lock(&a->lock) == 0);
    *ret = a->stats;
    CHECK(pthread_mutex_unlock(&a->lock) == 0);
}
