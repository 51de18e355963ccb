/* Hashing and verifying on the executor. A password is wiped as soon as it was used. */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/internal.h"

struct password_job {
    struct job job;
    struct async async;
    const struct password_ops *ops;
    bool verify;
    bool in_vain;
    char hash[DIR_HASH_BYTES];
    char names[PASSWORD_NAMES_MAX][PASSWORD_NAME_MAX + 1];
    struct password_result result;
    void *arg;
    void (*done)(struct shard *s, void *arg, const struct password_result *result);
    void (*drop)(struct shard *s, void *arg);
    size_t len;
    uint8_t password[];
};

static bool job_is_weak(const struct password_job *j)
{
    const char *names[PASSWORD_NAMES_MAX + 1] = {NULL};
    uint32_t n = 0;
    for (uint32_t i = 0; i < PASSWORD_NAMES_MAX; i++) {
        if (j->names[i][0] != 0) {
            names[n++] = j->names[i];
        }
    }
    return j->ops->is_weak && j->ops->is_weak(span_of(j->password, j->len), names);
}

/* On a thread of the executor. */
static void password_job_run(struct job *job)
{
    struct password_job *j = CONTAINER_OF(job, struct password_job, job);
    struct span password = span_of(j->password, j->len);
    if (j->verify) {
        j->result.err = j->ops->verify(j->hash, password);
    } else if (!j->in_vain && job_is_weak(j)) {
        j->result.err = CONFAB_WEAK_PASSWORD;
    } else {
        j->result.err = j->ops->hash(password, j->result.hash);
    }
    sodium_memzero(j->password, j->len);
    async_post(&j->async);
}

static void password_job_free(struct password_job *j)
{
    sodium_memzero(j->password, j->len);
    free(j);
}

static void password_async_run(struct shard *s, struct async *a)
{
    struct password_job *j = CONTAINER_OF(a, struct password_job, async);
    s->password_jobs--;
    j->done(s, j->arg, &j->result);
    password_job_free(j);
}

static void password_async_drop(struct shard *s, struct async *a)
{
    struct password_job *j = CONTAINER_OF(a, struct password_job, async);
    s->password_jobs--;
    if (j->drop) {
        j->drop(s, j->arg);
    }
    password_job_free(j);
}

static struct password_job *password_job_new(struct shard *s, const struct password_request *req)
{
    struct password_job *j = calloc(1, sizeof(*j) + req->password.n);
    if (!j) {
        return NULL;
    }
    j->job.run = password_job_run;
    list_init(&j->async.away);
    j->async.run = password_async_run;
    j->async.drop = password_async_drop;
    j->ops = s->deps.password;
    j->verify = req->hash != NULL;
    j->in_vain = req->in_vain;
    (void)snprintf(j->hash, sizeof(j->hash), "%s", req->hash ? req->hash : "");
    for (uint32_t i = 0; i < PASSWORD_NAMES_MAX; i++) {
        struct span name = req->names[i];
        size_t n = MIN(name.n, PASSWORD_NAME_MAX);
        if (n > 0) {
            memcpy(j->names[i], name.p, n);
        }
    }
    j->arg = req->arg;
    j->done = req->done;
    j->drop = req->drop;
    j->len = req->password.n;
    memcpy(j->password, req->password.p, req->password.n);
    return j;
}

enum confab_err password_submit(struct shard *s, const struct password_request *req)
{
    if (s->password_jobs >= s->cfg.password_jobs_max) {
        metrics_inc(s->metrics, METRIC_BOUND_EXECUTOR);
        return CONFAB_BUSY;
    }
    struct password_job *j = password_job_new(s, req);
    if (!j) {
        return CONFAB_NOMEM;
    }
    s->password_jobs++;
    async_begin(s, &j->async);
    enum confab_err err = executor_submit(s->deps.password_executor, &j->job);
    if (err) {
        metrics_inc(s->metrics, METRIC_BOUND_EXECUTOR);
        s->password_jobs--;
        async_cancel(&j->async);
        password_job_free(j);
        return err == CONFAB_CLOSED ? CONFAB_CLOSED : CONFAB_BUSY;
    }
    return CONFAB_OK;
}
