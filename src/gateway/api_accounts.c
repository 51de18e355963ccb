/*
 * Accounts, tokens, users. Hashing happens on the executor; an unknown name costs as much time as a
 * wrong password, so the answer to a sign-in does not tell which names exist.
 */
#include <sodium.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "gateway/api.h"
#include "gateway/auth.h"
#include "gateway/internal.h"

#define PASSWORD_MIN      8U
#define PASSWORD_MAX      256U
#define DISPLAY_CHARS_MAX 100U
#define DEVICE_CHARS_MAX  50U

/* What a registration or a sign-in carries along. */
struct credentials {
    char username[USERNAME_MAX + 1];
    char key[USERNAME_MAX + 1];
    char display_name[DIR_DISPLAY_BYTES + 1];
    char device_name[DIR_DEVICE_NAME_BYTES + 1];
    size_t password_len;
    uint8_t password[PASSWORD_MAX];
    uint64_t user;
    bool known; /* the account exists */
};

static void credentials_wipe(struct credentials *cr)
{
    sodium_memzero(cr->password, sizeof(cr->password));
}

/* ---- Reading ---- */

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x20 || text.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

static bool copy_text(struct span text, size_t chars_max, char *out, size_t cap)
{
    if (text.n >= cap || has_control(text) || utf8_count(text.p, text.n) > chars_max) {
        return false;
    }
    if (text.n > 0) {
        memcpy(out, text.p, text.n);
    }
    out[text.n] = 0;
    return true;
}

static const char *read_member(struct json *j, struct span key, struct credentials *cr)
{
    struct span v;
    if (span_is(key, "username")) {
        if (json_string(j, &v)) {
            if (!username_canonical(v, cr->key)) {
                return "username";
            }
            memcpy(cr->username, v.p, v.n);
            cr->username[v.n] = 0;
        }
    } else if (span_is(key, "password")) {
        if (json_string(j, &v)) {
            if (v.n < PASSWORD_MIN || v.n > PASSWORD_MAX || memchr(v.p, 0, v.n)) {
                return "password";
            }
            memcpy(cr->password, v.p, v.n);
            cr->password_len = v.n;
        }
    } else if (span_is(key, "display_name")) {
        if (!json_try_null(j) && json_string(j, &v) &&
            !copy_text(v, DISPLAY_CHARS_MAX, cr->display_name, sizeof(cr->display_name))) {
            return "display_name";
        }
    } else if (span_is(key, "device_name")) {
        if (!json_try_null(j) && json_string(j, &v) &&
            !copy_text(v, DEVICE_CHARS_MAX, cr->device_name, sizeof(cr->device_name))) {
            return "device_name";
        }
    } else {
        json_skip(j);
    }
    return NULL;
}

static const char *field_text(const char *field)
{
    if (strcmp(field, "username") == 0) {
        return "1 to 50 letters, digits or _-.[]\\^{|}`, not only digits";
    }
    return strcmp(field, "password") == 0 ? "8 to 256 bytes"
                                          : "too long, or has control characters";
}

/* NULL: answered. */
static struct credentials *credentials_read(struct api_request *r)
{
    struct credentials *cr = calloc(1, sizeof(*cr));
    struct json j;
    struct span key;
    const char *bad = NULL;
    if (!cr) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    if (!api_body_begin(r, &j)) {
        free(cr);
        return NULL;
    }
    while (json_object_next(&j, &key)) {
        const char *b = read_member(&j, key, cr);
        bad = bad ? bad : b;
    }
    bool ok = api_body_end(r, &j);
    if (ok && !bad && cr->key[0] == 0) {
        bad = "username";
    }
    if (ok && !bad && cr->password_len == 0) {
        bad = "password";
    }
    if (ok && bad) {
        api_fail(r, CONFAB_INVALID, field_text(bad), bad);
    }
    if (!ok || bad) {
        credentials_wipe(cr);
        free(cr);
        return NULL;
    }
    return cr;
}

static void call_fail(struct shard *s, struct api_call *call, enum confab_err err,
                      const char *message, const char *field)
{
    credentials_wipe(call->data);
    api_call_fail(s, call, err, message, field);
}

static void put_account(struct buf *b, const struct dir_account *a)
{
    struct json_writer w;
    json_w_init(&w, b);
    json_w_object(&w);
    json_w_kid(&w, "user_id", a->user_id);
    json_w_kcstr(&w, "username", a->username);
    json_w_kcstr(&w, "display_name", a->display_name);
    json_w_ktime(&w, "created_at", a->created_ms);
    json_w_object_end(&w);
}

/* A directory request for an api_call. */
struct account_call {
    struct dir_call dir;
    struct api_call *call;
    char token[TOKEN_TEXT_LEN + 1];
};

static struct account_call *account_call_new(struct api_call *call, enum dir_op op,
                                             void (*on_done)(struct shard *, struct dir_call *))
{
    struct dir_call *dir = dir_call_new(sizeof(struct account_call), op);
    if (!dir) {
        return NULL;
    }
    struct account_call *a = CONTAINER_OF(dir, struct account_call, dir);
    a->call = call;
    dir->on_done = on_done;
    return a;
}

/* ---- POST /accounts ---- */

static void on_created(struct shard *s, struct dir_call *dir)
{
    struct account_call *a = CONTAINER_OF(dir, struct account_call, dir);
    struct buf body = {0};
    if (dir->req.ret_err) {
        bool taken = dir->req.ret_err == CONFAB_EXISTS;
        call_fail(s, a->call, dir->req.ret_err, taken ? "the username is taken" : NULL,
                  taken ? "username" : NULL);
        return;
    }
    metrics_inc(s->metrics, METRIC_ACCOUNTS_CREATED);
    users_remember(s, dir->req.account.user_id, dir->req.username_key);
    put_account(&body, &dir->req.account);
    api_call_answer(s, a->call, 201, &body);
}

static void on_hashed(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    struct credentials *cr = call->data;
    credentials_wipe(cr);
    if (result->err) {
        call_fail(s, call, result->err, NULL, NULL);
        return;
    }
    struct account_call *a = account_call_new(call, DIR_ACCOUNT_CREATE, on_created);
    if (!a) {
        call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct dir_account *acc = &a->dir.req.account;
    acc->user_id = (random_u64(s->deps.random) >> 2) | 1;
    acc->created_ms = s->wall_ms;
    memcpy(acc->username, cr->username, sizeof(cr->username));
    memcpy(acc->display_name, cr->display_name[0] ? cr->display_name : cr->username,
           cr->display_name[0] ? sizeof(cr->display_name) : sizeof(cr->username));
    memcpy(acc->password_hash, result->hash, sizeof(acc->password_hash));
    memcpy(a->dir.req.username_key, cr->key, sizeof(cr->key));
    enum confab_err err = dir_call_submit(s, &a->dir);
    if (err) {
        call_fail(s, call, err, NULL, NULL);
    }
}

static struct api_call *call_with(struct api_request *r, struct credentials *cr)
{
    struct api_call *call = api_call_new(r);
    if (!call) {
        credentials_wipe(cr);
        free(cr);
        return NULL;
    }
    call->data = cr;
    return call;
}

static void account_create(struct api_request *r)
{
    struct credentials *cr = credentials_read(r);
    struct api_call *call = cr ? call_with(r, cr) : NULL;
    if (!call) {
        return;
    }
    enum confab_err err =
        password_submit(r->s, span_of(cr->password, cr->password_len), NULL, call, on_hashed, NULL);
    if (err) {
        call_fail(r->s, call, err, NULL, NULL);
    }
}

/* ---- POST /tokens ---- */

static void on_device(struct shard *s, struct dir_call *dir)
{
    struct account_call *a = CONTAINER_OF(dir, struct account_call, dir);
    struct buf body = {0};
    struct json_writer w;
    if (dir->req.ret_err) {
        call_fail(s, a->call, dir->req.ret_err,
                  dir->req.ret_err == CONFAB_LIMIT ? "too many devices" : NULL, NULL);
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kcstr(&w, "token", a->token);
    json_w_kid(&w, "user_id", dir->req.device.user_id);
    json_w_kid(&w, "device_id", dir->req.device.device_id);
    json_w_object_end(&w);
    api_call_answer(s, a->call, 201, &body);
}

static void on_verified(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    struct credentials *cr = call->data;
    credentials_wipe(cr);
    enum confab_err err = result->err;
    if (!err && !cr->known) {
        err = CONFAB_UNAUTHENTICATED;
    }
    if (err) {
        metrics_inc(s->metrics, METRIC_AUTH_FAILED);
        call_fail(s, call, err, err == CONFAB_UNAUTHENTICATED ? "wrong username or password" : NULL,
                  NULL);
        return;
    }
    struct account_call *a = account_call_new(call, DIR_DEVICE_CREATE, on_device);
    if (!a) {
        call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct dir_device *d = &a->dir.req.device;
    token_make(s, a->token, d->token_hash);
    d->device_id = (random_u64(s->deps.random) >> 2) | 1;
    d->user_id = cr->user;
    d->created_ms = s->wall_ms;
    memcpy(d->name, cr->device_name, sizeof(d->name));
    a->dir.req.user_id = cr->user;
    a->dir.req.devices_max = s->cfg.devices_max;
    err = dir_call_submit(s, &a->dir);
    if (err) {
        call_fail(s, call, err, NULL, NULL);
    }
}

static void on_account(struct shard *s, struct dir_call *dir)
{
    struct account_call *a = CONTAINER_OF(dir, struct account_call, dir);
    struct credentials *cr = a->call->data;
    enum confab_err err = dir->req.ret_err;
    const char *hash = NULL;
    if (!err) {
        cr->known = true;
        cr->user = dir->req.account.user_id;
        hash = dir->req.account.password_hash;
    } else if (err != CONFAB_NOT_FOUND) {
        call_fail(s, a->call, err, NULL, NULL);
        return;
    }
    err = password_submit(s, span_of(cr->password, cr->password_len), hash, a->call, on_verified,
                          NULL);
    if (err) {
        call_fail(s, a->call, err, NULL, NULL);
    }
}

static void token_create(struct api_request *r)
{
    struct credentials *cr = credentials_read(r);
    struct api_call *call = cr ? call_with(r, cr) : NULL;
    if (!call) {
        return;
    }
    struct account_call *a = account_call_new(call, DIR_ACCOUNT_BY_NAME, on_account);
    enum confab_err err = CONFAB_NOMEM;
    if (a) {
        memcpy(a->dir.req.username_key, cr->key, sizeof(cr->key));
        err = dir_call_submit(r->s, &a->dir);
    }
    if (err) {
        call_fail(r->s, call, err, NULL, NULL);
    }
}

/* ---- GET /users/… ---- */

static void on_user(struct shard *s, struct dir_call *dir)
{
    struct account_call *a = CONTAINER_OF(dir, struct account_call, dir);
    struct buf body = {0};
    if (dir->req.ret_err) {
        api_call_fail(s, a->call, dir->req.ret_err, NULL, NULL);
        return;
    }
    put_account(&body, &dir->req.account);
    api_call_answer(s, a->call, 200, &body);
}

static void user_ask(struct api_request *r, uint64_t user, const char *key)
{
    struct api_call *call = api_call_new(r);
    if (!call) {
        return;
    }
    struct account_call *a =
        account_call_new(call, key ? DIR_ACCOUNT_BY_NAME : DIR_ACCOUNT_BY_ID, on_user);
    enum confab_err err = CONFAB_NOMEM;
    if (a) {
        a->dir.req.user_id = user;
        memcpy(a->dir.req.username_key, key ? key : "", key ? strlen(key) + 1 : 1);
        err = dir_call_submit(r->s, &a->dir);
    }
    if (err) {
        api_call_fail(r->s, call, err, NULL, NULL);
    }
}

static void user_me(struct api_request *r)
{
    user_ask(r, r->user, NULL);
}

static void user_get(struct api_request *r)
{
    uint64_t user;
    char key[USERNAME_MAX + 1];
    if (id_parse(r->args[0], &user)) {
        user_ask(r, user, NULL);
    } else if (username_canonical(r->args[0], key)) {
        user_ask(r, 0, key);
    } else {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
    }
}

const struct api_route api_accounts[] = {
    {HTTP_POST, "/api/v1/accounts", account_create, API_OPEN},
    {HTTP_POST, "/api/v1/tokens", token_create, API_OPEN},
    {HTTP_GET, "/api/v1/users/me", user_me, 0},
    {HTTP_GET, "/api/v1/users/{}", user_get, 0},
    {0},
};
