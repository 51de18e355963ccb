/*
 * Tokens in a shard. All secrets here have 128 random bits or more, so a fast hash of them is as
 * good as they are; only passwords need a slow one. Looking a refresh token up by its hash keeps
 * comparisons of secrets out of the server altogether.
 */
#include "gateway/auth.h"

#include <sodium.h>
#include <stdlib.h>

#include "gateway/internal.h"
#include "gateway/session.h"

#define REFRESH_PREFIX    "cfr_"
#define PREFIX_LEN        4U
#define INVITE_RAW        24U
#define REVOCATIONS_BATCH 64U

_Static_assert(crypto_hash_sha256_BYTES == DIR_TOKEN_HASH, "the stored hash is a SHA-256");
_Static_assert(REFRESH_TEXT_LEN == PREFIX_LEN + REFRESH_RAW / 3 * 4, "a refresh token's length");
_Static_assert(INVITE_CODE_LEN == SETUP_CODE_LEN, "a setup link's code is an invite's");

/* ---- Access tokens ---- */

enum confab_err auth_token(struct shard *s, struct span token, struct jwt_claims *ret,
                           const char **ret_why)
{
    *ret_why = NULL;
    enum confab_err err = auth_state_check(s->deps.auth, token, s->wall_ms / 1000, ret);
    switch (err) {
    case CONFAB_OK:
        metrics_inc(s->metrics, METRIC_AUTH_OK);
        return CONFAB_OK;
    case CONFAB_BUSY:
        metrics_inc(s->metrics, METRIC_AUTH_REFUSED);
        return CONFAB_BUSY;
    case CONFAB_TIMEOUT:
        metrics_inc(s->metrics, METRIC_AUTH_EXPIRED);
        *ret_why = "the token has expired";
        return CONFAB_UNAUTHENTICATED;
    case CONFAB_FORBIDDEN:
        metrics_inc(s->metrics, METRIC_AUTH_REVOKED);
        *ret_why = "the device was signed out";
        return CONFAB_UNAUTHENTICATED;
    default:
        metrics_inc(s->metrics, METRIC_AUTH_FAILED);
        return CONFAB_UNAUTHENTICATED;
    }
}

struct admin_call {
    struct dir_call dir;
    uint64_t conn;
    auth_done done;
};

static void admin_on_account(struct shard *s, struct dir_call *dir)
{
    struct admin_call *call = CONTAINER_OF(dir, struct admin_call, dir);
    const struct dir_account *a = &dir->req.account;
    enum confab_err err = dir->req.ret_err;
    if (err == CONFAB_NOT_FOUND ||
        (!err && (a->role != DIR_ROLE_ADMIN || a->status != DIR_STATUS_ACTIVE))) {
        err = CONFAB_FORBIDDEN;
    }
    call->done(s, call->conn, err);
}

enum confab_err auth_admin(struct shard *s, uint64_t user, uint64_t conn, auth_done done)
{
    struct dir_call *dir = dir_call_new(sizeof(struct admin_call), DIR_ACCOUNT_BY_ID);
    if (!dir) {
        return CONFAB_NOMEM;
    }
    struct admin_call *call = CONTAINER_OF(dir, struct admin_call, dir);
    call->conn = conn;
    call->done = done;
    dir->req.user_id = user;
    dir->on_done = admin_on_account;
    return dir_call_submit(s, dir);
}

/* ---- Revocation ---- */

void auth_init(struct shard *s)
{
    list_init(&s->auth.waiting);
    leaving_init(s);
}

void auth_revoke(struct shard *s, uint64_t user, const uint64_t *devices, uint32_t n,
                 struct auth_wait *w, void (*then)(struct shard *s, struct auth_wait *w))
{
    uint64_t number =
        auth_state_revoke(s->deps.auth, user, devices, n, s->wall_ms / 1000, s->metrics);
    if (w) {
        w->number = number;
        w->then = then;
        list_init(&w->node);
        list_push_back(&s->auth.waiting, &w->node);
    }
    metrics_add(s->metrics, METRIC_DEVICES_REVOKED, n);
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        shard_wake(s->out[i].peer);
    }
    s->busy = true;
}

static void close_revoked(struct shard *s, struct conn *c)
{
    session_close(s, c, WS_CLOSE_TOKEN, "signed out");
}

static void close_sessions_of(struct shard *s, const struct revocation *r)
{
    struct conn *c = session_of_user(s, r->user);
    while (c) {
        struct conn *next = session_next(s, c);
        if (c->device == r->device) {
            close_revoked(s, c);
        }
        c = next;
    }
}

static void close_all_revoked(struct shard *s)
{
    uint64_t life_s = s->cfg.access_ms / 1000;
    for (uint32_t i = 0; i < s->conns_high; i++) {
        struct conn *c = conn_at(s, i);
        if (c && conn_is_session(c) && c->user != 0 &&
            auth_state_is_revoked(s->deps.auth, c->device, c->expires_s - life_s)) {
            close_revoked(s, c);
        }
    }
}

static void see_revocations(struct shard *s)
{
    struct revocation batch[REVOCATIONS_BATCH];
    uint32_t n = 0;
    while (s->auth.seen != auth_state_last(s->deps.auth)) {
        if (!auth_state_revocations(s->deps.auth, s->auth.seen, batch, REVOCATIONS_BATCH, &n,
                                    &s->auth.seen)) {
            close_all_revoked(s);
        }
        for (uint32_t i = 0; i < n; i++) {
            close_sessions_of(s, &batch[i]);
            users_drop(s, batch[i].user);
        }
    }
    auth_state_seen(s->deps.auth, s->cfg.shard, s->auth.seen);
    /* Somebody waits for this, and rarely: all are woken rather than the one looked for. */
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        shard_wake(s->out[i].peer);
    }
}

static void answer_waiting(struct shard *s)
{
    while (!list_is_empty(&s->auth.waiting)) {
        struct auth_wait *w = LIST_ENTRY(s->auth.waiting.next, struct auth_wait, node);
        if (!auth_state_all_seen(s->deps.auth, w->number)) {
            return; /* those behind it have higher numbers */
        }
        list_remove(&w->node);
        w->then(s, w);
    }
}

void auth_turn(struct shard *s)
{
    if (UNLIKELY(s->auth.seen != auth_state_last(s->deps.auth))) {
        see_revocations(s);
    }
    answer_waiting(s);
    if (s->cfg.shard == 0) {
        auth_boot_turn(s);
        leaving_turn(s);
    }
}

/* ---- Refresh tokens ---- */

static bool decode(struct span text, uint8_t *out, size_t n)
{
    size_t got = 0;
    const char *end = NULL;
    return sodium_base642bin(out, n, (const char *)text.p, text.n, NULL, &got, &end,
                             sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
           got == n && end == (const char *)text.p + text.n;
}

bool refresh_parse(struct span text, uint8_t ret[REFRESH_RAW])
{
    return text.n == REFRESH_TEXT_LEN && memcmp(text.p, REFRESH_PREFIX, PREFIX_LEN) == 0 &&
           decode(span_of(text.p + PREFIX_LEN, text.n - PREFIX_LEN), ret, REFRESH_RAW);
}

void refresh_text(const uint8_t raw[REFRESH_RAW], char ret[REFRESH_TEXT_LEN + 1])
{
    memcpy(ret, REFRESH_PREFIX, PREFIX_LEN);
    (void)sodium_bin2base64(ret + PREFIX_LEN, REFRESH_TEXT_LEN + 1 - PREFIX_LEN, raw, REFRESH_RAW,
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

void refresh_hashes(const uint8_t raw[REFRESH_RAW], uint8_t ret_chain[DIR_TOKEN_HASH],
                    uint8_t ret_token[DIR_TOKEN_HASH])
{
    crypto_hash_sha256(ret_chain, raw, REFRESH_CHAIN);
    crypto_hash_sha256(ret_token, raw, REFRESH_RAW);
}

void refresh_next(const uint8_t raw[REFRESH_RAW], const uint8_t salt[DIR_SALT_BYTES],
                  uint8_t ret[REFRESH_RAW])
{
    _Static_assert(REFRESH_RAW - REFRESH_CHAIN == crypto_auth_hmacsha256_KEYBYTES &&
                       crypto_auth_hmacsha256_BYTES == crypto_auth_hmacsha256_KEYBYTES,
                   "a token is the key of its successor");
    uint8_t mac[crypto_auth_hmacsha256_BYTES];
    (void)crypto_auth_hmacsha256(mac, salt, DIR_SALT_BYTES, raw + REFRESH_CHAIN);
    memmove(ret, raw, REFRESH_CHAIN);
    memcpy(ret + REFRESH_CHAIN, mac, sizeof(mac));
    sodium_memzero(mac, sizeof(mac));
}

void invite_code_make(struct shard *s, char ret[INVITE_CODE_LEN + 1])
{
    uint8_t raw[INVITE_RAW];
    random_fill(s->deps.random, raw, sizeof(raw));
    (void)sodium_bin2base64(ret, INVITE_CODE_LEN + 1, raw, sizeof(raw),
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool invite_code_hash(struct span code, uint8_t ret[DIR_TOKEN_HASH])
{
    uint8_t raw[INVITE_RAW];
    if (code.n != INVITE_CODE_LEN || !decode(code, raw, sizeof(raw))) {
        return false;
    }
    crypto_hash_sha256(ret, raw, sizeof(raw));
    return true;
}
