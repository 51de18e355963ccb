/*
 * Tokens and hashing. A token has 256 random bits, so a fast hash of it is as good as the token is;
 * only passwords need a slow one. Looking a token up by its hash keeps comparisons of secrets out
 * of the server altogether.
 */
#include "gateway/auth.h"

#include <sodium.h>
#include <stdlib.h>

#include "gateway/internal.h"

#define TOKEN_PREFIX     "cfb_"
#define TOKEN_PREFIX_LEN 4U
#define TOKEN_BYTES      32U

_Static_assert(crypto_hash_sha256_BYTES == DIR_TOKEN_HASH, "the stored hash is a SHA-256");

void tokens_init(struct shard *s)
{
    u64map_init(&s->tokens.by_hash, random_u64(s->deps.random));
}

void tokens_deinit(struct shard *s)
{
    u64map_deinit(&s->tokens.by_hash);
    free(s->tokens.ring);
    s->tokens.ring = NULL;
}

static uint64_t token_key(const uint8_t hash[DIR_TOKEN_HASH])
{
    uint64_t k;
    memcpy(&k, hash, sizeof(k));
    return k;
}

static const struct token_entry *tokens_find(struct shard *s, const uint8_t hash[DIR_TOKEN_HASH])
{
    uint64_t at;
    if (!u64map_get(&s->tokens.by_hash, token_key(hash), &at)) {
        return NULL;
    }
    const struct token_entry *e = &s->tokens.ring[at];
    return memcmp(e->hash, hash, DIR_TOKEN_HASH) == 0 ? e : NULL;
}

/* Oldest out. A cache: when there is no memory it stays as it is. */
static void tokens_remember(struct shard *s, const struct dir_device *d)
{
    struct tokens *t = &s->tokens;
    if (s->cfg.tokens_cache == 0 || u64map_has(&t->by_hash, token_key(d->token_hash))) {
        return;
    }
    if (t->next == t->len && t->len < s->cfg.tokens_cache) {
        uint32_t len = MIN(MAX(t->len * 2, 64U), s->cfg.tokens_cache);
        struct token_entry *p = realloc(t->ring, len * sizeof(*p));
        if (!p) {
            return;
        }
        memset(p + t->len, 0, (len - t->len) * sizeof(*p));
        t->ring = p;
        t->len = len;
    }
    if (t->next == t->len) {
        t->next = 0;
    }
    struct token_entry *e = &t->ring[t->next];
    if (e->user != 0) {
        u64map_del(&t->by_hash, token_key(e->hash), NULL);
        e->user = 0;
    }
    if (u64map_put(&t->by_hash, token_key(d->token_hash), t->next)) {
        return;
    }
    memcpy(e->hash, d->token_hash, DIR_TOKEN_HASH);
    e->user = d->user_id;
    e->device = d->device_id;
    t->next++;
}

void token_make(struct shard *s, char ret_text[TOKEN_TEXT_LEN + 1],
                uint8_t ret_hash[DIR_TOKEN_HASH])
{
    uint8_t raw[TOKEN_BYTES];
    random_fill(s->deps.random, raw, sizeof(raw));
    memcpy(ret_text, TOKEN_PREFIX, TOKEN_PREFIX_LEN);
    sodium_bin2base64(ret_text + TOKEN_PREFIX_LEN, TOKEN_TEXT_LEN + 1 - TOKEN_PREFIX_LEN, raw,
                      sizeof(raw), sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    crypto_hash_sha256(ret_hash, (const uint8_t *)ret_text, TOKEN_TEXT_LEN);
    sodium_memzero(raw, sizeof(raw));
}

static bool token_form(struct span token)
{
    if (token.n != TOKEN_TEXT_LEN || memcmp(token.p, TOKEN_PREFIX, TOKEN_PREFIX_LEN) != 0) {
        return false;
    }
    for (size_t i = TOKEN_PREFIX_LEN; i < token.n; i++) {
        uint8_t ch = token.p[i];
        if (!((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9') ||
              ch == '-' || ch == '_')) {
            return false;
        }
    }
    return true;
}

struct auth_call {
    struct dir_call dir;
    uint64_t conn;
    auth_done done;
};

static void auth_on_device(struct shard *s, struct dir_call *dir)
{
    struct auth_call *call = CONTAINER_OF(dir, struct auth_call, dir);
    enum confab_err err = dir->req.ret_err;
    uint64_t user = 0;
    uint64_t device = 0;
    if (err == CONFAB_NOT_FOUND) {
        err = CONFAB_UNAUTHENTICATED;
    }
    if (!err) {
        user = dir->req.device.user_id;
        device = dir->req.device.device_id;
        memcpy(dir->req.device.token_hash, dir->req.token_hash, DIR_TOKEN_HASH);
        tokens_remember(s, &dir->req.device);
    }
    metrics_inc(s->metrics, err == CONFAB_OK                ? METRIC_AUTH_OK
                            : err == CONFAB_UNAUTHENTICATED ? METRIC_AUTH_FAILED
                                                            : METRIC_AUTH_REFUSED);
    call->done(s, call->conn, err, user, device);
}

enum confab_err auth_token(struct shard *s, struct span token, uint64_t conn, auth_done done,
                           uint64_t *ret_user, uint64_t *ret_device)
{
    uint8_t hash[DIR_TOKEN_HASH];
    if (!token_form(token)) {
        metrics_inc(s->metrics, METRIC_AUTH_FAILED);
        return CONFAB_UNAUTHENTICATED;
    }
    crypto_hash_sha256(hash, token.p, token.n);
    const struct token_entry *e = tokens_find(s, hash);
    if (e) {
        metrics_inc(s->metrics, METRIC_AUTH_OK);
        *ret_user = e->user;
        *ret_device = e->device;
        return CONFAB_OK;
    }
    struct dir_call *dir = dir_call_new(sizeof(struct auth_call), DIR_DEVICE_BY_TOKEN);
    if (!dir) {
        return CONFAB_NOMEM;
    }
    struct auth_call *call = CONTAINER_OF(dir, struct auth_call, dir);
    call->conn = conn;
    call->done = done;
    dir->on_done = auth_on_device;
    memcpy(dir->req.token_hash, hash, sizeof(hash));
    enum confab_err err = dir_call_submit(s, dir);
    if (err) {
        metrics_inc(s->metrics, METRIC_AUTH_REFUSED);
        return err == CONFAB_CLOSED ? CONFAB_CLOSED : CONFAB_BUSY;
    }
    return CONFAB_AGAIN;
}

/* ---- Passwords ---- */

struct password_job {
    struct job job;
    struct async async;
    const struct password_ops *ops;
    bool verify;
    char hash[DIR_HASH_BYTES];
    struct password_result result;
    void *arg;
    void (*done)(struct shard *s, void *arg, const struct password_result *result);
    void (*drop)(struct shard *s, void *arg);
    size_t len;
    uint8_t password[];
};

/* On a thread of the executor. */
static void password_job_run(struct job *job)
{
    struct password_job *j = CONTAINER_OF(job, struct password_job, job);
    struct span password = span_of(j->password, j->len);
    j->result.err =
        j->verify ? j->ops->verify(j->hash, password) : j->ops->hash(password, j->result.hash);
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

enum confab_err password_submit(struct shard *s, struct span password, const char *hash, void *arg,
                                void (*done)(struct shard *s, void *arg,
                                             const struct password_result *result),
                                void (*drop)(struct shard *s, void *arg))
{
    if (s->password_jobs >= s->cfg.password_jobs_max) {
        metrics_inc(s->metrics, METRIC_BOUND_EXECUTOR);
        return CONFAB_BUSY;
    }
    struct password_job *j = calloc(1, sizeof(*j) + password.n);
    if (!j) {
        return CONFAB_NOMEM;
    }
    j->job.run = password_job_run;
    list_init(&j->async.away);
    j->async.run = password_async_run;
    j->async.drop = password_async_drop;
    j->ops = s->deps.password;
    j->verify = hash != NULL;
    if (hash) {
        memcpy(j->hash, hash, sizeof(j->hash));
        j->hash[sizeof(j->hash) - 1] = 0;
    }
    j->arg = arg;
    j->done = done;
    j->drop = drop;
    j->len = password.n;
    memcpy(j->password, password.p, password.n);
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
