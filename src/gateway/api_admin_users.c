/* Administration of people: list, suspend, roles, passwords, delete. Many at once: api_provision.c.
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "gateway/api_admin_users.h"
#include "gateway/credentials.h"
#include "gateway/internal.h"

/* ---- GET /admin/users ---- */

static void on_people(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    char cursor[512];
    /* A query without letters and digits names nobody. */
    if (req->ret_err != CONFAB_INVALID && api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "users");
    json_w_array(&w);
    for (uint32_t i = 0; i < req->ret_naccounts; i++) {
        json_w_object(&w);
        api_put_user(&w, &req->ret_accounts[i], true);
        json_w_ku64(&w, "devices", req->ret_accounts[i].ndevices);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    api_people_cursor(req, cursor, sizeof(cursor));
    api_put_more(&w, req->ret_more, cursor);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

/* False: answered. */
static bool status_wanted(struct api_request *r, enum dir_status *ret)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, "status", &r->s->scratch, &text);
    *ret = DIR_STATUS_ANY;
    if (err == CONFAB_NOT_FOUND) {
        return true;
    }
    if (!err && span_is(text, "active")) {
        *ret = DIR_STATUS_ACTIVE;
    } else if (!err && span_is(text, "suspended")) {
        *ret = DIR_STATUS_SUSPENDED;
    } else if (!err && span_is(text, "deleted")) {
        *ret = DIR_STATUS_DELETED;
    } else {
        api_fail(r, CONFAB_INVALID, "active, suspended or deleted", "status");
        return false;
    }
    return true;
}

static void people_list(struct api_request *r)
{
    struct dir_request asked = {0};
    enum dir_status status;
    uint32_t limit;
    if (!api_limit(r, 50, 100, &limit) || !status_wanted(r, &status) ||
        !api_people_query(r, &asked)) {
        return;
    }
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_ACCOUNTS_LIST, on_people) : NULL;
    if (a) {
        api_people_copy(&a->dir.req, &asked);
        a->dir.req.limit = limit;
        a->dir.req.status = status;
        api_dir_submit(r->s, a);
    }
}

/* ---- PATCH /admin/users/{id} ---- */

struct patch {
    struct dir_account account; /* as it is now */
    enum dir_role role;
    enum dir_status status;
    uint32_t mask;
};

static void then_patched(struct shard *s, struct api_call *call)
{
    const struct patch *p = call->data;
    struct buf body = {0};
    struct json_writer w;
    json_w_init(&w, &body);
    json_w_object(&w);
    api_put_user(&w, &p->account, true);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_patched(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct patch *p = call->data;
    if (!api_dir_failed(s, call, req)) {
        p->account = req->account;
        api_revoke(s, call, req->account.user_id, req->ret_ids, req->ret_nids, then_patched);
    }
}

/* False: answered. */
static bool patch_read(struct api_request *r, struct patch *p)
{
    struct json j;
    struct span key;
    struct span v;
    const char *bad = NULL;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "status") && json_string(&j, &v)) {
            bool off = span_is(v, "suspended");
            bad = off || span_is(v, "active") ? bad : "status";
            p->status = off ? DIR_STATUS_SUSPENDED : DIR_STATUS_ACTIVE;
            p->mask |= DIR_FIELD_STATUS;
        } else if (span_is(key, "role") && json_string(&j, &v)) {
            bool admin = span_is(v, "admin");
            bad = admin || span_is(v, "member") ? bad : "role";
            p->role = admin ? DIR_ROLE_ADMIN : DIR_ROLE_MEMBER;
            p->mask |= DIR_FIELD_ROLE;
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (!bad && p->mask == 0) {
        bad = "status";
    }
    if (bad) {
        api_fail(r, CONFAB_INVALID, bad[0] == 's' ? "active or suspended" : "admin or member", bad);
    }
    return !bad;
}

static void user_patch(struct api_request *r)
{
    uint64_t user;
    struct patch *p = api_id_arg(r, 0, &user) ? calloc(1, sizeof(*p)) : NULL;
    if (!p || !patch_read(r, p)) {
        free(p);
        return;
    }
    struct api_call *call = api_call_new(r);
    if (!call) {
        free(p);
        return;
    }
    call->data = p;
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_UPDATE, on_patched);
    if (a) {
        struct dir_request *req = &a->dir.req;
        bool status = p->mask & DIR_FIELD_STATUS;
        bool off = status && p->status == DIR_STATUS_SUSPENDED;
        char detail[64];
        (void)snprintf(detail, sizeof(detail), "%s%s%s%s", status ? "status=" : "",
                       !status ? ""
                       : off   ? "suspended "
                               : "active ",
                       p->mask & DIR_FIELD_ROLE ? "role=" : "",
                       !(p->mask & DIR_FIELD_ROLE) ? ""
                       : p->role == DIR_ROLE_ADMIN ? "admin"
                                                   : "member");
        req->user_id = user;
        req->mask = p->mask;
        req->account.role = p->role;
        req->account.status = p->status;
        req->revoke_devices = off;
        api_dir_audit(r->s, a, "account.change", user, detail);
        api_dir_submit(r->s, a);
    }
}

/* ---- PUT /admin/users/{id}/password ---- */

struct reset {
    uint8_t password[PASSWORD_MAX + 1];
    size_t len;
    bool made;
};

static void then_reset(struct shard *s, struct api_call *call)
{
    const struct reset *rs = call->data;
    struct buf body = {0};
    struct json_writer w;
    json_w_init(&w, &body);
    json_w_object(&w);
    if (rs->made) {
        json_w_kstring(&w, "password", span_of(rs->password, rs->len));
    }
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_reset(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        api_revoke(s, call, req->account.user_id, req->ret_ids, req->ret_nids, then_reset);
    }
}

static void on_reset_hashed(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    if (result->err) {
        bool weak = result->err == CONFAB_WEAK_PASSWORD;
        api_call_fail(s, call, result->err, weak ? WEAK_PASSWORD : NULL, weak ? "password" : NULL);
        return;
    }
    struct api_dir *a = api_dir_new(s, call, DIR_ACCOUNT_UPDATE, on_reset);
    if (a) {
        a->dir.req.user_id = call->number;
        a->dir.req.mask = DIR_FIELD_PASSWORD_HASH;
        a->dir.req.revoke_devices = true;
        memcpy(a->dir.req.account.password_hash, result->hash, sizeof(result->hash));
        api_dir_audit(s, a, "account.password", call->number, "by an administrator");
        api_dir_submit(s, a);
    }
}

static void on_target(struct shard *s, struct api_call *call, struct dir_request *req)
{
    const struct reset *rs = call->data;
    if (!req->ret_err && req->account.status == DIR_STATUS_DELETED) {
        req->ret_err = CONFAB_NOT_FOUND;
    }
    if (api_dir_failed(s, call, req)) {
        return;
    }
    const struct password_request job = {
        .password = span_of(rs->password, rs->len),
        .names = {span_str(req->account.username), span_str(req->account.display_name)},
        .arg = call,
        .done = on_reset_hashed,
    };
    enum confab_err err = password_submit(s, &job);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
    }
}

/* False: answered. */
static bool reset_read(struct api_request *r, struct reset *rs)
{
    struct json j;
    struct span key;
    struct span v = {0};
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (!span_is(key, "password")) {
            json_skip(&j);
        } else if (!json_try_null(&j)) {
            json_string(&j, &v);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (v.p && (v.n < PASSWORD_MIN || v.n > PASSWORD_MAX || memchr(v.p, 0, v.n))) {
        api_fail(r, CONFAB_INVALID, credentials_expected("password"), "password");
        return false;
    }
    if (v.p) {
        memcpy(rs->password, v.p, v.n);
        rs->len = v.n;
    } else {
        uint8_t raw[15];
        random_fill(r->s->deps.random, raw, sizeof(raw));
        (void)sodium_bin2base64((char *)rs->password, sizeof(rs->password), raw, sizeof(raw),
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        rs->len = strlen((const char *)rs->password);
        rs->made = true;
    }
    return true;
}

static void password_reset(struct api_request *r)
{
    uint64_t user;
    struct reset *rs = api_id_arg(r, 0, &user) ? calloc(1, sizeof(*rs)) : NULL;
    struct api_call *call = rs && reset_read(r, rs) ? api_call_new(r) : NULL;
    if (!call) {
        if (rs) {
            sodium_memzero(rs, sizeof(*rs));
        }
        free(rs);
        return;
    }
    call->data = rs;
    call->wipe = sizeof(*rs);
    call->number = user;
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_BY_ID, on_target);
    if (a) {
        a->dir.req.user_id = user;
        api_dir_submit(r->s, a);
    }
}

/* ---- DELETE /admin/users/{id} ---- */

static void on_deleted(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        api_account_deleted(s, call, req);
    }
}

static void user_delete(struct api_request *r)
{
    uint64_t user;
    struct api_call *call = api_id_arg(r, 0, &user) ? api_call_new(r) : NULL;
    if (!call) {
        return;
    }
    call->number = user;
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_DELETE, on_deleted);
    if (a) {
        a->dir.req.user_id = user;
        api_dir_audit(r->s, a, "account.delete", user, NULL);
        api_dir_submit(r->s, a);
    }
}

const struct api_route api_admin_users[] = {
    {HTTP_GET, "/api/v1/admin/users", people_list, API_ADMIN},
    {HTTP_POST, "/api/v1/admin/users", api_provision, API_ADMIN},
    {HTTP_PATCH, "/api/v1/admin/users/{}", user_patch, API_ADMIN},
    {HTTP_PUT, "/api/v1/admin/users/{}/password", password_reset, API_ADMIN},
    {HTTP_DELETE, "/api/v1/admin/users/{}", user_delete, API_ADMIN},
    {0},
};
