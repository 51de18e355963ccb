/*
 * Requests queue here and one job on the executor, the runner, takes them group by group:
 *
 *     submit ─► queue ─► runner: group of up to GROUP_MAX, in order ─► BEGIN, each, COMMIT ─► done
 * of each
 *
 * A group without writes has no transaction. What a request may meet by itself (a taken name, a
 * missing user) is found before its first changing statement or is that statement's failure, so it
 * leaves nothing behind and the others go on: savepoints, which cost two statements each, would add
 * nothing. An error of the engine takes the whole group back; its requests are then run one by one,
 * so that one which cannot be done does not fail the others.
 *
 * Reads of a group see its writes before they are durable, which is safe as no `done` is called
 * before the commit.
 */
#include "adapters/sqlite/directory_sqlite.h"

#include <pthread.h>
#include <stdlib.h>

#include "adapters/sqlite/sqlite_internal.h"
#include "base/check.h"
#include "ports/dir_adapter.h"

enum { GROUP_MAX = 256, QUEUE_MAX_DEFAULT = 4096, CACHE_BYTES_DEFAULT = 4 << 20 };

struct directory_sqlite {
    struct directory base;
    struct executor *ex;
    struct job runner;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* `scheduled` became false */
    struct job *head;    /* the requests' jobs */
    struct job **tail;
    bool scheduled; /* the runner is submitted or runs */
    uint32_t queue_max;
    struct directory_sqlite_stats stats;
    /* The runner's only: */
    struct sqlite_db db;
    struct dir_request *group[GROUP_MAX];
};

static const struct directory_ops OPS;

static struct directory_sqlite *sqlite_of(struct directory *dir)
{
    CHECK(dir->ops == &OPS);
    return CONTAINER_OF(dir, struct directory_sqlite, base);
}

static bool any_write(struct dir_request *const *group, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        if (dir_op_writes(group[i]->op)) {
            return true;
        }
    }
    return false;
}

static enum confab_err run_one(struct directory_sqlite *d, struct dir_request *req)
{
    dir_results_clear(req);
    req->ret_err = dir_request_check(req);
    if (req->ret_err != CONFAB_OK) {
        return CONFAB_OK;
    }
    enum confab_err result;
    enum confab_err err = sqlite_run_request(&d->db, req, &result);
    req->ret_err = err == CONFAB_OK ? result : err;
    return err;
}

/* Runs all in one transaction, or, with an error of the engine, changes nothing and returns it. */
static enum confab_err run_group(struct directory_sqlite *d, struct dir_request *const *group,
                                 unsigned n)
{
    bool writes = any_write(group, n);
    enum confab_err err = CONFAB_OK;
    if (writes) {
        err = d->db.sync_failed ? CONFAB_IO : sqlite_db_run(&d->db, ST_BEGIN);
        if (err != CONFAB_OK) {
            return err;
        }
    }
    for (unsigned i = 0; i < n && err == CONFAB_OK; i++) {
        err = run_one(d, group[i]);
    }
    if (writes && err == CONFAB_OK) {
        err = sqlite_db_run(&d->db, ST_COMMIT);
    }
    if (writes && err != CONFAB_OK && !sqlite3_get_autocommit(d->db.handle)) {
        (void)sqlite3_exec(d->db.handle, "ROLLBACK", NULL, NULL, NULL); /* cannot do worse */
    }
    return err;
}

static void run_alone(struct directory_sqlite *d, struct dir_request *req)
{
    enum confab_err err = run_group(d, &req, 1);
    if (err != CONFAB_OK) {
        dir_results_clear(req);
        req->ret_err = err;
    }
}

/* Unlinks up to GROUP_MAX requests; with the lock held. */
static unsigned take_group(struct directory_sqlite *d)
{
    unsigned n = 0;
    while (d->head && n < GROUP_MAX) {
        d->group[n++] = CONTAINER_OF(d->head, struct dir_request, job);
        d->head = d->head->next;
    }
    if (!d->head) {
        d->tail = &d->head;
    }
    d->stats.queued -= n;
    return n;
}

static void run_queue(struct job *job)
{
    struct directory_sqlite *d = CONTAINER_OF(job, struct directory_sqlite, runner);
    pthread_mutex_lock(&d->lock);
    for (unsigned n = take_group(d); n > 0; n = take_group(d)) {
        d->stats.requests += n;
        d->stats.groups += any_write(d->group, n);
        pthread_mutex_unlock(&d->lock);
        uint64_t errors = 0;
        if (run_group(d, d->group, n) != CONFAB_OK) {
            errors++;
            for (unsigned i = 0; i < n; i++) {
                run_alone(d, d->group[i]);
            }
        }
        for (unsigned i = 0; i < n; i++) {
            d->group[i]->done(d->group[i]); /* may free the request */
        }
        pthread_mutex_lock(&d->lock);
        d->stats.errors += errors;
    }
    d->scheduled = false;
    pthread_cond_broadcast(&d->idle);
    pthread_mutex_unlock(&d->lock);
}

/*
 * The executor refused the runner: `mine` is refused to its caller, and whatever others queued
 * behind it meanwhile, to whom CONFAB_OK was said, fails by its `done`.
 */
static void refuse_queued(struct directory_sqlite *d, struct dir_request *mine, enum confab_err err)
{
    pthread_mutex_lock(&d->lock);
    struct job *job = d->head;
    d->head = NULL;
    d->tail = &d->head;
    d->stats.queued = 0;
    d->scheduled = false;
    pthread_cond_broadcast(&d->idle);
    pthread_mutex_unlock(&d->lock);
    while (job) {
        struct dir_request *req = CONTAINER_OF(job, struct dir_request, job);
        job = job->next;
        if (req != mine) {
            req->ret_err = err;
            req->done(req);
        }
    }
}

static enum confab_err sqlite_submit(struct directory *dir, struct dir_request *req)
{
    struct directory_sqlite *d = sqlite_of(dir);
    pthread_mutex_lock(&d->lock);
    if (d->stats.queued >= d->queue_max) {
        d->stats.queue_full++;
        pthread_mutex_unlock(&d->lock);
        return CONFAB_BUSY;
    }
    req->job.next = NULL;
    *d->tail = &req->job;
    d->tail = &req->job.next;
    d->stats.queued++;
    bool start = !d->scheduled;
    d->scheduled = true;
    pthread_mutex_unlock(&d->lock);
    if (!start) {
        return CONFAB_OK;
    }
    enum confab_err err = executor_submit(d->ex, &d->runner);
    if (err != CONFAB_OK) {
        refuse_queued(d, req, err);
    }
    return err;
}

enum confab_err directory_sqlite_open(const char *path, struct directory_sqlite_cfg cfg,
                                      struct executor *ex, struct directory **ret)
{
    struct directory_sqlite *d = calloc(1, sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    size_t cache_bytes = cfg.cache_bytes ? cfg.cache_bytes : CACHE_BYTES_DEFAULT;
    enum confab_err err = sqlite_db_open(&d->db, path, cache_bytes);
    if (err != CONFAB_OK) {
        free(d);
        return err;
    }
    d->base.ops = &OPS;
    d->ex = ex;
    d->runner.run = run_queue;
    d->tail = &d->head;
    d->queue_max = cfg.queue_max ? cfg.queue_max : QUEUE_MAX_DEFAULT;
    CHECK(pthread_mutex_init(&d->lock, NULL) == 0);
    CHECK(pthread_cond_init(&d->idle, NULL) == 0);
    *ret = &d->base;
    return CONFAB_OK;
}

void directory_sqlite_close(struct directory *dir)
{
    if (!dir) {
        return;
    }
    struct directory_sqlite *d = sqlite_of(dir);
    /* The last `done` is called a little before the runner lets go: wait for that. */
    pthread_mutex_lock(&d->lock);
    CHECK(!d->head);
    while (d->scheduled) {
        pthread_cond_wait(&d->idle, &d->lock);
    }
    pthread_mutex_unlock(&d->lock);
    sqlite_db_close(&d->db);
    pthread_cond_destroy(&d->idle);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

void directory_sqlite_stats(struct directory *dir, struct directory_sqlite_stats *ret)
{
    struct directory_sqlite *d = sqlite_of(dir);
    pthread_mutex_lock(&d->lock);
    *ret = d->stats;
    pthread_mutex_unlock(&d->lock);
}

static const struct directory_ops OPS = {"sqlite", 1, sqlite_submit};
