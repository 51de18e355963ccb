/*
 * Signing in and out: tokens, their refresh, tickets. Hashing happens on the executor; an unknown
 * name costs as much time as a wrong password and gets the same answer, so that a sign-in does not
 * tell which names exist; throttled is an account whether it exists or not.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/credentials.h"
#include "gateway/http.h"
#include "gateway/internal.h"

#define COOKIE_NAME      "confab_refresh"
#define COOKIE_PATH      "/api/v1/tokens"
#define SIGNIN_WAIT_MS   1000U
#define SIGNIN_SPREAD_MS 9000U
#define WRONG_SIGNIN     "wrong username or password"

/* ---- The cookie ---- */

/* `https`: the page has come by it, be it that TLS ends in front of this server. */
static void put_cookie(const struct shard *s, struct buf *extra, const char *value,
                       uint64_t max_age_s, bool https)
{
    struct buf text = {0};
    buf_printf(&text, "%s=%s; Path=%s; Max-Age=%llu; HttpOnly; SameSite=Strict%s", COOKIE_NAME,
               value, COOKIE_PATH, (unsigned long long)max_age_s,
               https || s->deps.origins->tls ? "; Secure" : "");
    http_put_header(extra, "Set-Cookie", span_of(text.data, text.len));
    extra->failed = extra->failed || !buf_ok(&text);
    buf_deinit(&text);
}

static void clear_cookie(const struct shard *s, struct buf *extra)
{
    put_cookie(s, extra, "", 0, false);
}

static bool is_https_page(const struct api_request *r)
{
    struct span origin = http_header_get(&r->http->headers, "origin");
    return proxies_https(r->s, r->c, r->http) ||
           (origin.n > 8 && http_eq_nocase(span_of(origin.p, 8), "https://"));
}

static bool cookie_get(const struct http_request *req, struct span *ret)
{
    struct span v = http_header_get(&req->headers, "cookie");
    const size_t n = sizeof(COOKIE_NAME) - 1;
    while (v.n > 0) {
        const uint8_t *end = memchr(v.p, ';', v.n);
        struct span one = span_of(v.p, end ? (size_t)(end - v.p) : v.n);
        v = end ? span_of(end + 1, v.n - one.n - 1) : span_of(NULL, 0);
        while (one.n > 0 && one.p[0] == ' ') {
            one = span_of(one.p + 1, one.n - 1);
        }
        if (one.n > n && memcmp(one.p, COOKIE_NAME, n) == 0 && one.p[n] == '=') {
            *ret = span_of(one.p + n + 1, one.n - n - 1);
            return true;
        }
    }
    return false;
}

/*
 * What a cookie does, only a page of ours may have asked for: no form and no image can set this
 * header, and scripts of others cannot without our leave. False: answered.
 */
static bool cookie_allowed(struct api_request *r)
{
    struct span client = http_header_get(&r->http->headers, "x-confab-client");
    if (!span_is(client, "web") ||
        !origin_ok(r->s->deps.origins, r->http, proxies_https(r->s, r->c, r->http))) {
        metrics_inc(r->s->metrics, METRIC_ORIGIN_REFUSED);
        api_fail(r, CONFAB_FORBIDDEN_ORIGIN,
                 client.p ? NULL : "with a cookie, X-Confab-Client: web is needed", NULL);
        return false;
    }
    return true;
}

/* ---- Token objects ---- */

static void answer_tokens(struct shard *s, struct api_call *call, int status,
                          const struct dir_device *d, const uint8_t raw[REFRESH_RAW], bool cookie,
                          bool https)
{
    char access[JWT_TEXT_MAX + 1];
    char refresh[REFRESH_TEXT_LEN + 1];
    struct jwt_claims claims;
    struct buf body = {0};
    struct buf extra = {0};
    struct json_writer w;
    size_t n = auth_state_token(s->deps.auth, d->user_id, d->device_id, s->wall_ms / 1000, access,
                                &claims);
    refresh_text(raw, refresh);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kstring(&w, "access_token", span_of(access, n));
    json_w_kstring(&w, "token", span_of(access, n));
    json_w_kcstr(&w, "token_type", "Bearer");
    json_w_ku64(&w, "expires_in", claims.expires_s - claims.issued_s);
    json_w_ktime(&w, "expires_at", claims.expires_s * 1000);
    if (cookie) {
        put_cookie(s, &extra, refresh, s->cfg.refresh_ms / 1000, https);
    } else {
        json_w_kcstr(&w, "refresh_token", refresh);
    }
    json_w_kid(&w, "user_id", d->user_id);
    json_w_kid(&w, "device_id", d->device_id);
    json_w_object_end(&w);
    body.failed = body.failed || !buf_ok(&extra);
    api_call_answer_with(s, call, status, &body, span_of(extra.data, extra.len));
    buf_deinit(&extra);
    sodium_memzero(refresh, sizeof(refresh));
}

/* ---- POST /tokens ---- */

static void signin_tried(struct shard *s, const struct credentials *cr, enum try_outcome outcome)
{
    auth_state_tried(s->deps.auth, THROTTLE_ACCOUNT, span_str(cr->key), outcome, s->now_ms);
    auth_state_tried(s->deps.auth, THROTTLE_ADDRESS, span_str(cr->counted), outcome, s->now_ms);
}

static void signin_fail(struct shard *s, struct api_call *call, enum confab_err err)
{
    bool wrong = err == CONFAB_UNAUTHENTICATED || err == CONFAB_NOT_FOUND;
    const char *why = wrong                     ? WRONG_SIGNIN
                      : err == CONFAB_LIMIT     ? "too many devices"
                      : err == CONFAB_FORBIDDEN ? "this account is suspended"
                                                : NULL;
    signin_tried(s, call->data, wrong ? TRY_FAILED : TRY_GIVEN_UP);
    metrics_inc(s->metrics, wrong ? METRIC_SIGNIN_FAILED : METRIC_SIGNIN_REFUSED);
    if (err == CONFAB_BUSY) {
        /* Not all of those who come back after a start together again. */
        uint32_t spread = (uint32_t)random_below(s->deps.random, SIGNIN_SPREAD_MS);
        api_call_fail_wait(s, call, err, NULL, SIGNIN_WAIT_MS + spread);
        return;
    }
    api_call_fail(s, call, wrong ? CONFAB_UNAUTHENTICATED : err, why, NULL);
}

static void on_device(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct credentials *cr = call->data;
    if (req->ret_err) {
        signin_fail(s, call, req->ret_err);
        return;
    }
    signin_tried(s, cr, TRY_SUCCEEDED);
    metrics_inc(s->metrics, METRIC_SIGNIN_OK);
    /* The raw token waited where the password was. */
    answer_tokens(s, call, 201, &req->device, cr->password, cr->cookie, cr->https);
}

static void on_verified(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    struct credentials *cr = call->data;
    enum confab_err err = result->err;
    sodium_memzero(cr->password, sizeof(cr->password));
    if (!err && !cr->known) {
        err = CONFAB_UNAUTHENTICATED;
    }
    if (err) {
        signin_fail(s, call, err);
        return;
    }
    struct api_dir *a = api_dir_new(s, call, DIR_DEVICE_CREATE, on_device);
    if (!a) {
        return;
    }
    struct dir_device *d = &a->dir.req.device;
    _Static_assert(PASSWORD_MAX >= REFRESH_RAW, "the token has room there");
    random_fill(s->deps.random, cr->password, REFRESH_RAW);
    refresh_hashes(cr->password, d->chain_hash, d->token_hash);
    d->device_id = api_new_id(s);
    d->user_id = cr->user;
    d->created_ms = s->wall_ms;
    memcpy(d->name, cr->device_name, sizeof(d->name));
    (void)snprintf(d->last_address, sizeof(d->last_address), "%s", call->address);
    memcpy(a->dir.req.account.password_hash, cr->hash, sizeof(cr->hash));
    a->dir.req.user_id = cr->user;
    a->dir.req.devices_max = s->cfg.devices_max;
    api_dir_submit(s, a);
}

static void on_account(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct credentials *cr = call->data;
    if (req->ret_err && req->ret_err != CONFAB_NOT_FOUND) {
        signin_fail(s, call, req->ret_err == CONFAB_UNAUTHENTICATED ? CONFAB_BUSY : req->ret_err);
        return;
    }
    /* Without a hash (unknown, deleted, made without password) the work is done in vain. */
    cr->known = !req->ret_err && req->account.password_hash[0] != 0;
    if (cr->known) {
        cr->user = req->account.user_id;
        memcpy(cr->hash, req->account.password_hash, sizeof(cr->hash));
    }
    const struct password_request job = {
        .password = span_of(cr->password, cr->password_len),
        .hash = cr->known ? cr->hash : NULL,
        .in_vain = !cr->known,
        .arg = call,
        .done = on_verified,
    };
    enum confab_err err = password_submit(s, &job);
    if (err) {
        signin_fail(s, call, err);
    }
}

/* Before any hashing. False: answered. */
static bool signin_may_try(struct shard *s, struct api_call *call)
{
    struct credentials *cr = call->data;
    struct span account = span_str(cr->key);
    (void)throttle_address(call->address, cr->counted);
    struct span address = span_str(cr->counted);
    /* The address first: who has to wait must not fill the table with names, for free. */
    uint32_t wait = auth_state_try(s->deps.auth, THROTTLE_ADDRESS, address, s->now_ms);
    if (wait == 0) {
        wait = auth_state_try(s->deps.auth, THROTTLE_ACCOUNT, account, s->now_ms);
        if (wait > 0) {
            auth_state_tried(s->deps.auth, THROTTLE_ADDRESS, address, TRY_GIVEN_UP, s->now_ms);
        }
    }
    if (wait > 0) {
        metrics_inc(s->metrics, METRIC_SIGNIN_THROTTLED);
        api_call_fail_wait(s, call, CONFAB_THROTTLED, NULL, wait);
    }
    return wait == 0;
}

static void token_create(struct api_request *r)
{
    struct credentials *cr = credentials_read(r);
    if (cr && cr->cookie && !cookie_allowed(r)) {
        credentials_free(cr);
        return;
    }
    if (cr) {
        cr->https = is_https_page(r);
    }
    struct api_call *call = cr ? credentials_call(r, cr) : NULL;
    if (!call || !signin_may_try(r->s, call)) {
        return;
    }
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_BY_NAME, on_account);
    if (a) {
        memcpy(a->dir.req.username_key, cr->key, sizeof(cr->key));
        enum confab_err err = dir_call_submit(r->s, &a->dir);
        if (err) {
            signin_fail(r->s, call, err);
        }
    }
}

/* ---- POST /tokens/refresh ---- */

struct refresh {
    uint8_t raw[REFRESH_RAW]; /* as presented */
    uint8_t next[REFRESH_RAW];
    bool cookie;
    bool https; /* asked for by a page that has come by it */
};

static void refresh_refused(struct shard *s, struct api_call *call, const char *why)
{
    struct buf extra = {0};
    struct conn *c = conn_of_id(s, call->conn);
    const struct refresh *f = call->data;
    if (f->cookie) {
        clear_cookie(s, &extra);
    }
    if (c && (c->holds & HOLD_CALL)) {
        http_answer_error_status(s, c, 401, CONFAB_UNAUTHENTICATED, why, NULL,
                                 span_of(extra.data, extra.len));
    }
    buf_deinit(&extra);
    api_call_drop(s, call);
}

static void then_reused(struct shard *s, struct api_call *call)
{
    refresh_refused(s, call, "this token was used before; the device was signed out");
}

static void on_rotated(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct refresh *f = call->data;
    if (req->ret_err == CONFAB_NOT_FOUND) {
        metrics_inc(s->metrics, METRIC_REFRESH_FAILED);
        refresh_refused(s, call, "the token is not valid, or the device was signed out");
        return;
    }
    if (api_dir_failed(s, call, req)) {
        return;
    }
    if (req->ret_rotated == DIR_ROTATE_REUSED) {
        metrics_inc(s->metrics, METRIC_REFRESH_REUSED);
        api_revoke(s, call, req->device.user_id, &req->device.device_id, 1, then_reused);
        return;
    }
    if (req->ret_rotated == DIR_ROTATE_AGAIN) {
        metrics_inc(s->metrics, METRIC_REFRESH_REPEATED);
        refresh_next(f->raw, req->device.salt, f->next);
    } else {
        metrics_inc(s->metrics, METRIC_REFRESH_ROTATED);
    }
    answer_tokens(s, call, 200, &req->device, f->next, f->cookie, f->https);
}

/* The token of the body, or of the cookie. False: answered. */
static bool refresh_read(struct api_request *r, struct refresh *f)
{
    struct span text = {0};
    struct json j;
    struct span key;
    if (r->body.n > 0) {
        if (!api_body_begin(r, &j)) {
            return false;
        }
        while (json_object_next(&j, &key)) {
            if (!span_is(key, "refresh_token")) {
                json_skip(&j);
            } else if (!json_try_null(&j)) {
                json_string(&j, &text);
            }
        }
        if (!api_body_end(r, &j)) {
            return false;
        }
    }
    if (!text.p && cookie_get(r->http, &text)) {
        f->cookie = true;
        f->https = is_https_page(r);
        if (!cookie_allowed(r)) {
            return false;
        }
    }
    if (!text.p) {
        api_fail(r, CONFAB_INVALID, "a refresh token is needed, here or as cookie",
                 "refresh_token");
        return false;
    }
    if (!refresh_parse(text, f->raw)) {
        metrics_inc(r->s->metrics, METRIC_REFRESH_FAILED);
        api_fail(r, CONFAB_UNAUTHENTICATED, "not a refresh token", NULL);
        return false;
    }
    return true;
}

static void token_refresh(struct api_request *r)
{
    struct shard *s = r->s;
    struct refresh *f = calloc(1, sizeof(*f));
    if (!f) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct api_call *call = refresh_read(r, f) ? api_call_new(r) : NULL;
    if (!call) {
        sodium_memzero(f, sizeof(*f));
        free(f);
        return;
    }
    call->data = f;
    call->wipe = sizeof(*f);
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(s, call, DIR_DEVICE_ROTATE, on_rotated);
    if (!a) {
        return;
    }
    struct dir_request *req = &a->dir.req;
    uint8_t chain[DIR_TOKEN_HASH];
    refresh_hashes(f->raw, req->chain_hash, req->token_hash);
    random_fill(s->deps.random, req->next_salt, sizeof(req->next_salt));
    refresh_next(f->raw, req->next_salt, f->next);
    refresh_hashes(f->next, chain, req->next_hash);
    req->grace_ms = s->cfg.refresh_grace_ms;
    (void)snprintf(req->address, sizeof(req->address), "%s", call->address);
    api_dir_audit(s, a, "device.reuse", 0, "a refresh token that was used before came again");
    api_dir_submit(s, a);
}

/* ---- DELETE /tokens/current ---- */

static void then_signed_out(struct shard *s, struct api_call *call)
{
    struct buf extra = {0};
    clear_cookie(s, &extra);
    api_call_done(s, call, span_of(extra.data, extra.len));
    buf_deinit(&extra);
}

static void on_signed_out(struct shard *s, struct api_call *call, struct dir_request *req)
{
    /* Not found: somebody else was faster. */
    if (req->ret_err != CONFAB_NOT_FOUND && api_dir_failed(s, call, req)) {
        return;
    }
    api_revoke(s, call, call->user, &call->device, 1, then_signed_out);
}

static void token_delete(struct api_request *r)
{
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_DEVICE_REVOKE, on_signed_out) : NULL;
    if (a) {
        a->dir.req.user_id = r->user;
        a->dir.req.device_id = r->device;
        api_dir_submit(r->s, a);
    }
}

/* ---- POST /tickets ---- */

static void ticket_create(struct api_request *r)
{
    struct shard *s = r->s;
    const struct ticket t = {r->user, r->device, r->claims.issued_s, r->claims.expires_s};
    char text[TICKET_TEXT_LEN + 1];
    uint8_t raw[24];
    struct buf body = {0};
    struct json_writer w;
    random_fill(s->deps.random, raw, sizeof(raw));
    enum confab_err err = auth_state_ticket(s->deps.auth, &t, raw, s->now_ms, text);
    sodium_memzero(raw, sizeof(raw));
    if (err) {
        metrics_inc(s->metrics, METRIC_TICKETS_REFUSED);
        api_fail(r, err, err == CONFAB_LIMIT ? "too many unused tickets" : NULL, NULL);
        return;
    }
    metrics_inc(s->metrics, METRIC_TICKETS_MADE);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kcstr(&w, "ticket", text);
    json_w_ku64(&w, "expires_in", TICKET_LIFE_MS / 1000);
    json_w_object_end(&w);
    api_answer_json(r, 201, &body);
}

const struct api_route api_tokens[] = {
    {HTTP_POST, "/api/v1/tokens", token_create, API_OPEN},
    {HTTP_POST, "/api/v1/tokens/refresh", token_refresh, API_OPEN},
    {HTTP_DELETE, "/api/v1/tokens/current", token_delete, 0},
    {HTTP_POST, "/api/v1/tickets", ticket_create, 0},
    {0},
};
