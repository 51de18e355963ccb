/*
 * Requests that may be repeated: a POST with an Idempotency-Key is done once, and its answer is
 * given again for 24 hours. The directory holds the keys.
 *
 *     request ─ claim ─→ claimed: the handler runs; its answer is stored, then sent
 *                   ├──→ done: the stored answer
 *                   ├──→ another body: 409 duplicate_key
 *                   └──→ under way: 409 conflict
 *
 * A request that fails gives its key back. While it is asked, the request stays where it is
 * (HOLD_AUTH) and is dispatched again. What is stored gives nothing away that the client did not
 * send: the key as a hash, the answer encrypted with another hash of it. Calls whose command has a
 * key of its own in the engine (API_OWN_KEY) do without all this, and outlive a crash in between.
 */
#include <sodium.h>
#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/api_util.h"
#include "gateway/http.h"
#include "gateway/internal.h"

#define PENDING_MS 60000U
#define KEYS_MAX   1000U /* of one user */
#define KEPT_MS    (24U * 3600U * 1000U)
#define PURGE_EACH 64U /* claims of a shard */
#define PURGE_MAX  1000U

#define SEALED_NONCE crypto_secretbox_NONCEBYTES
#define SEALED_MAX   (DIR_IDEM_BODY_BYTES / 4 * 3 - crypto_secretbox_MACBYTES - SEALED_NONCE - 2)

struct api_claim {
    uint64_t now_ms; /* names the claim */
    uint64_t user;
    bool asked;
    enum confab_err err;
    enum dir_claim state;
    int status;      /* DONE: of the stored answer */
    struct buf body; /* and it */
    char key[DIR_IDEM_KEY_BYTES + 1];
    uint8_t secret[crypto_secretbox_KEYBYTES];
};

struct claim_call {
    struct dir_call dir;
    uint64_t conn;
    struct api_call *call;   /* FINISH */
    struct api_claim *claim; /* CLAIM: until the connection takes it */
    struct buf text;         /* FINISH: what is stored */
    int status;
    struct buf body;
};

void api_claim_free(struct api_claim *claim)
{
    if (claim) {
        buf_deinit(&claim->body);
        sodium_memzero(claim->secret, sizeof(claim->secret));
        free(claim);
    }
}

static struct claim_call *claim_call_new(const struct api_claim *claim, enum dir_op op,
                                         void (*done)(struct shard *, struct dir_call *))
{
    struct dir_call *dir = dir_call_new(sizeof(struct claim_call), op);
    if (!dir) {
        return NULL;
    }
    dir->on_done = done;
    dir->req.user_id = claim->user;
    dir->req.now_ms = claim->now_ms;
    memcpy(dir->req.idem_key, claim->key, sizeof(claim->key));
    return CONTAINER_OF(dir, struct claim_call, dir);
}

/* ---- Giving a key back ---- */

static void on_released(struct shard *s, struct dir_call *dir)
{
    (void)s;
    (void)dir; /* where it could not be done, the claim runs out */
}

void api_claim_release(struct shard *s, struct api_claim *claim)
{
    struct claim_call *cc =
        claim->state == DIR_CLAIMED ? claim_call_new(claim, DIR_IDEM_RELEASE, on_released) : NULL;
    if (cc && dir_call_submit(s, &cc->dir)) {
        metrics_inc(s->metrics, METRIC_BOUND_PENDING);
    }
    api_claim_free(claim);
}

static void on_purged(struct shard *s, struct dir_call *dir)
{
    (void)s;
    (void)dir; /* the next one takes what is left */
}

/* Removes old keys now and then: only who makes new ones has any. */
static void purge(struct shard *s)
{
    if (++s->claims % PURGE_EACH != 0) {
        return;
    }
    struct dir_call *dir = dir_call_new(sizeof(*dir), DIR_IDEM_PURGE);
    if (dir) {
        dir->on_done = on_purged;
        dir->req.before_ms = s->wall_ms > KEPT_MS ? s->wall_ms - KEPT_MS : 0;
        dir->req.limit = PURGE_MAX;
        if (dir_call_submit(s, dir)) {
            s->claims--; /* the next claim tries again */
        }
    }
}

/* ---- Claiming ---- */

/* Two independent hashes of who and the key: its name in the directory, and the answer's key. */
static void claim_names(struct api_claim *claim, struct span key)
{
    uint8_t hash[2][32];
    for (uint8_t i = 0; i < 2; i++) {
        crypto_generichash_state st;
        crypto_generichash_init(&st, NULL, 0, sizeof(hash[i]));
        crypto_generichash_update(&st, &i, 1);
        crypto_generichash_update(&st, (const uint8_t *)&claim->user, sizeof(claim->user));
        crypto_generichash_update(&st, key.p, key.n);
        crypto_generichash_final(&st, hash[i], sizeof(hash[i]));
    }
    sodium_bin2hex(claim->key, sizeof(claim->key), hash[0], sizeof(hash[0]));
    memcpy(claim->secret, hash[1], sizeof(claim->secret));
}

/* The same call with the same body. */
static void request_hash(const struct api_request *r, uint8_t out[DIR_TOKEN_HASH])
{
    crypto_generichash_state st;
    crypto_generichash_init(&st, NULL, 0, DIR_TOKEN_HASH);
    crypto_generichash_update(&st, r->http->path.p, r->http->path.n);
    crypto_generichash_update(&st, (const uint8_t *)"\n", 1);
    crypto_generichash_update(&st, r->body.p, r->body.n);
    crypto_generichash_final(&st, out, DIR_TOKEN_HASH);
}

static enum confab_err open_answer(struct api_claim *claim, const struct dir_request *req)
{
    uint8_t sealed[DIR_IDEM_BODY_BYTES];
    size_t n = 0;
    if (!req->ret_text ||
        sodium_base642bin(sealed, sizeof(sealed), req->ret_text, req->ret_text_len, NULL, &n, NULL,
                          sodium_base64_VARIANT_ORIGINAL) ||
        n < SEALED_NONCE + crypto_secretbox_MACBYTES) {
        return CONFAB_CORRUPT;
    }
    size_t len = n - SEALED_NONCE - crypto_secretbox_MACBYTES;
    if (!buf_reserve(&claim->body, len + 1)) {
        return CONFAB_NOMEM;
    }
    if (crypto_secretbox_open_easy(claim->body.data, sealed + SEALED_NONCE, n - SEALED_NONCE,
                                   sealed, claim->secret)) {
        return CONFAB_CORRUPT;
    }
    claim->body.len = len;
    claim->status = (int)req->idem_status;
    return CONFAB_OK;
}

static void on_claim(struct shard *s, struct dir_call *dir)
{
    struct claim_call *cc = CONTAINER_OF(dir, struct claim_call, dir);
    struct api_claim *claim = cc->claim;
    struct conn *c = conn_of_id(s, cc->conn);
    claim->err = dir->req.ret_err;
    claim->state = claim->err ? DIR_CLAIM_PENDING : dir->req.ret_claim;
    if (!claim->err && claim->state == DIR_CLAIM_DONE) {
        claim->err = open_answer(claim, &dir->req);
    }
    if (!c || c->state != CONN_HTTP || !c->io || c->io->http.claim) {
        api_claim_release(s, claim);
        return;
    }
    c->io->http.claim = claim;
    conn_release(s, c, HOLD_AUTH);
}

static void on_claim_dropped(struct shard *s, struct dir_call *dir)
{
    (void)s;
    api_claim_free(CONTAINER_OF(dir, struct claim_call, dir)->claim);
}

static void claim_ask(struct api_request *r, struct span key)
{
    struct api_claim *claim = calloc(1, sizeof(*claim));
    struct claim_call *cc = NULL;
    enum confab_err err = CONFAB_NOMEM;
    if (claim) {
        claim->user = r->user;
        claim->now_ms = MAX(r->s->wall_ms, 1U);
        claim_names(claim, key);
        cc = claim_call_new(claim, DIR_IDEM_CLAIM, on_claim);
    }
    if (cc) {
        cc->conn = conn_id(r->s, r->c);
        cc->claim = claim;
        cc->dir.on_drop = on_claim_dropped;
        cc->dir.req.pending_ms = PENDING_MS;
        cc->dir.req.keys_max = KEYS_MAX;
        request_hash(r, cc->dir.req.request_hash);
        err = dir_call_submit(r->s, &cc->dir);
    }
    if (err) {
        api_claim_free(claim);
        api_fail(r, err, NULL, NULL);
        return;
    }
    conn_hold(r->s, r->c, HOLD_AUTH);
    purge(r->s);
}

/* What the directory said; true: the handler may run. */
static bool claim_use(struct api_request *r)
{
    struct api_claim *claim = r->c->io->http.claim;
    r->c->io->http.claim = NULL;
    if (!claim->err && claim->state == DIR_CLAIMED) {
        r->claim = claim;
        return true;
    }
    if (claim->err) {
        api_fail(r, claim->err, claim->err == CONFAB_LIMIT ? "too many keys" : NULL, NULL);
    } else if (claim->state == DIR_CLAIM_DONE) {
        http_answer_buf(r->s, r->c, claim->status, "application/json", &claim->body);
    } else if (claim->state == DIR_CLAIM_OTHER) {
        api_fail(r, CONFAB_DUPLICATE_KEY, NULL, "Idempotency-Key");
    } else {
        struct buf extra = {0};
        http_put_header_u64(&extra, "Retry-After", 1);
        http_answer_error_status(r->s, r->c, 409, CONFAB_CONFLICT, "this request is under way",
                                 "Idempotency-Key", span_of(extra.data, extra.len));
        buf_deinit(&extra);
    }
    api_claim_free(claim);
    return false;
}

bool api_repeat_begin(struct api_request *r, const struct api_route *route)
{
    struct span key = {0};
    if (route->method != HTTP_POST || (route->flags & API_OWN_KEY) || r->user == 0) {
        return true;
    }
    if (r->c->io->http.claim) {
        return claim_use(r);
    }
    if (!api_key_read(r, &key)) {
        return false;
    }
    if (key.n > 0) {
        claim_ask(r, key);
    }
    return key.n == 0;
}

void api_repeat_end(struct api_request *r)
{
    if (r->claim) {
        api_claim_release(r->s, r->claim); /* answered at once: it was refused */
        r->claim = NULL;
    }
}

/* ---- Storing the answer ---- */

static void finish_free(struct claim_call *cc)
{
    buf_deinit(&cc->text);
    buf_deinit(&cc->body);
}

static void on_finished(struct shard *s, struct dir_call *dir)
{
    struct claim_call *cc = CONTAINER_OF(dir, struct claim_call, dir);
    if (dir->req.ret_err) {
        metrics_inc(s->metrics, METRIC_DIR_ERRORS);
    }
    /* What was done is done: the answer goes out either way. */
    api_call_answer(s, cc->call, cc->status, &cc->body);
    finish_free(cc);
}

static void on_finish_dropped(struct shard *s, struct dir_call *dir)
{
    (void)s;
    finish_free(CONTAINER_OF(dir, struct claim_call, dir));
}

static enum confab_err seal(struct shard *s, const struct api_claim *claim, const struct buf *body,
                            struct buf *text)
{
    struct buf sealed = {0};
    size_t n = SEALED_NONCE + crypto_secretbox_MACBYTES + body->len;
    size_t cap = sodium_base64_encoded_len(n, sodium_base64_VARIANT_ORIGINAL);
    if (body->len > SEALED_MAX) {
        return CONFAB_TOO_LARGE;
    }
    if (!buf_reserve(&sealed, n) || !buf_reserve(text, cap)) {
        buf_deinit(&sealed);
        return CONFAB_NOMEM;
    }
    random_fill(s->deps.random, sealed.data, SEALED_NONCE);
    crypto_secretbox_easy(sealed.data + SEALED_NONCE, body->data, body->len, sealed.data,
                          claim->secret);
    sodium_bin2base64((char *)text->data, cap, sealed.data, n, sodium_base64_VARIANT_ORIGINAL);
    text->len = cap - 1;
    buf_deinit(&sealed);
    return CONFAB_OK;
}

bool api_repeat_store(struct shard *s, struct api_call *call, int status, struct buf *body)
{
    struct api_claim *claim = call->claim;
    call->claim = NULL;
    struct claim_call *cc =
        status < 400 && buf_ok(body) ? claim_call_new(claim, DIR_IDEM_FINISH, on_finished) : NULL;
    if (!cc || seal(s, claim, body, &cc->text)) {
        if (cc) {
            buf_deinit(&cc->text);
            free(&cc->dir);
        }
        api_claim_release(s, claim); /* too large an answer, too: it is made anew */
        return false;
    }
    api_claim_free(claim);
    cc->call = call;
    cc->status = status;
    cc->body = *body;
    cc->dir.on_drop = on_finish_dropped;
    cc->dir.req.idem_status = (uint32_t)status;
    cc->dir.req.text = (const char *)cc->text.data;
    cc->dir.req.text_len = (uint32_t)cc->text.len;
    struct buf text = cc->text;
    if (dir_call_submit(s, &cc->dir)) { /* which has freed the call, not the texts */
        buf_deinit(&text);
        return false;
    }
    buf_init(body);
    return true;
}
