/*
 * POST /accounts: signing up. The mode of the server and the invite are judged before anything is
 * hashed, and the use of the invite is counted in the transaction that makes the account.
 */
#include <sodium.h>

#include "gateway/credentials.h"
#include "gateway/internal.h"

#define HOUR_MS (60U * 60U * 1000U)

static void refuse(struct shard *s, struct api_call *call, enum confab_err err)
{
    bool invite = err == CONFAB_INVITE_INVALID;
    metrics_inc(s->metrics, METRIC_REGISTRATIONS_REFUSED);
    api_call_fail(s, call, err, NULL, invite ? "invite" : NULL);
}

static void on_created(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    if (req->ret_err == CONFAB_EXISTS) {
        api_call_fail(s, call, CONFAB_EXISTS, "the username is taken", "username");
        return;
    }
    if (req->ret_err == CONFAB_INVITE_INVALID) {
        refuse(s, call, req->ret_err);
        return;
    }
    if (api_dir_failed(s, call, req)) {
        return;
    }
    metrics_inc(s->metrics, METRIC_ACCOUNTS_CREATED);
    users_remember(s, req->account.user_id, req->username_key);
    if (req->account.role == DIR_ROLE_ADMIN) {
        auth_state_set_setup_code(s->deps.auth, "");
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    api_put_user(&w, &req->account, true);
    api_put_privacy(&w, req->account.hides);
    json_w_object_end(&w);
    api_call_answer(s, call, 201, &body);
}

static void create(struct shard *s, struct api_call *call, const char *hash)
{
    struct credentials *cr = call->data;
    struct api_dir *a = api_dir_new(s, call, DIR_ACCOUNT_CREATE, on_created);
    if (!a) {
        return;
    }
    struct dir_request *req = &a->dir.req;
    struct dir_account *acc = &req->account;
    acc->user_id = api_new_id(s);
    acc->created_ms = s->wall_ms;
    memcpy(acc->username, cr->username, sizeof(cr->username));
    memcpy(acc->display_name, cr->display_name[0] ? cr->display_name : cr->username,
           cr->display_name[0] ? sizeof(cr->display_name) : sizeof(cr->username));
    memcpy(acc->email, cr->email, sizeof(cr->email));
    memcpy(acc->password_hash, hash, sizeof(acc->password_hash));
    memcpy(req->username_key, cr->key, sizeof(cr->key));
    req->use_invite = cr->has_invite;
    if (cr->has_invite) {
        (void)invite_code_hash(span_str(cr->invite), req->invite.code_hash);
        call->user = acc->user_id; /* the actor */
        api_dir_audit(s, a, "account.join", acc->user_id, "by invite");
    }
    api_dir_submit(s, a);
}

static void on_hashed(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    sodium_memzero(call->data, offsetof(struct credentials, invite));
    if (result->err == CONFAB_WEAK_PASSWORD) {
        api_call_fail(s, call, result->err, WEAK_PASSWORD, "password");
    } else if (result->err) {
        api_call_fail(s, call, result->err, NULL, NULL);
    } else {
        create(s, call, result->hash);
    }
}

static void hash(struct shard *s, struct api_call *call)
{
    struct credentials *cr = call->data;
    const struct password_request req = {
        .password = span_of(cr->password, cr->password_len),
        .names = {span_str(cr->username), span_str(cr->display_name), span_str(cr->email)},
        .arg = call,
        .done = on_hashed,
    };
    enum confab_err err = password_submit(s, &req);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
    }
}

static bool invite_usable(const struct shard *s, const struct dir_invite *i)
{
    return i->revoked_ms == 0 && i->uses < i->uses_max &&
           (i->expires_ms == 0 || s->wall_ms < i->expires_ms);
}

static void on_invite(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (req->ret_err == CONFAB_NOT_FOUND || (!req->ret_err && !invite_usable(s, &req->invite))) {
        refuse(s, call, CONFAB_INVITE_INVALID);
    } else if (api_dir_failed(s, call, req)) {
        return;
    } else if (auth_state_registration(s->deps.auth) == REGISTRATION_CLOSED &&
               req->invite.kind != DIR_INVITE_SETUP) {
        refuse(s, call, CONFAB_REGISTRATION_CLOSED);
    } else {
        hash(s, call);
    }
}

/* Without an invite: is registration open, and not too many from there? */
static void join_openly(struct shard *s, struct api_call *call)
{
    char address[48];
    size_t n = throttle_address(call->address, address);
    enum registration mode = auth_state_registration(s->deps.auth);
    if (mode != REGISTRATION_OPEN) {
        metrics_inc(s->metrics, METRIC_REGISTRATIONS_REFUSED);
        if (mode == REGISTRATION_CLOSED) {
            api_call_fail(s, call, CONFAB_REGISTRATION_CLOSED, NULL, NULL);
        } else {
            api_call_fail(s, call, CONFAB_INVITE_INVALID, "an invite is needed", "invite");
        }
        return;
    }
    uint32_t wait = auth_state_count(s->deps.auth, THROTTLE_REGISTRATION, span_of(address, n),
                                     s->cfg.registrations_max, HOUR_MS, s->now_ms);
    if (wait > 0) {
        metrics_inc(s->metrics, METRIC_REGISTRATIONS_REFUSED);
        api_call_fail_wait(s, call, CONFAB_THROTTLED, "too many accounts from this address", wait);
        return;
    }
    hash(s, call);
}

static void account_create(struct api_request *r)
{
    struct shard *s = r->s;
    struct credentials *cr = credentials_read(r);
    uint8_t code[DIR_TOKEN_HASH];
    if (cr && !username_is_free_to_take(cr->key)) {
        credentials_free(cr);
        api_fail(r, CONFAB_INVALID, credentials_expected("username"), "username");
        return;
    }
    struct api_call *call = cr ? credentials_call(r, cr) : NULL;
    if (!call) {
        return;
    }
    if (!cr->has_invite) {
        join_openly(s, call);
    } else if (!invite_code_hash(span_str(cr->invite), code)) {
        refuse(s, call, CONFAB_INVITE_INVALID);
    } else {
        struct api_dir *a = api_dir_new(s, call, DIR_INVITE_BY_CODE, on_invite);
        if (a) {
            memcpy(a->dir.req.invite.code_hash, code, sizeof(code));
            api_dir_submit(s, a);
        }
    }
}

const struct api_route api_accounts[] = {
    {HTTP_POST, "/api/v1/accounts", account_create, API_OPEN},
    {0},
};
