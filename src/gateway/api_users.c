/* People: oneself with profile and password, others by id, name and search. */
#include <sodium.h>
#include <stdlib.h>

#include "gateway/auth_state.h"
#include "gateway/credentials.h"
#include "gateway/internal.h"
#include "gateway/privacy.h"

/* ---- GET /users/… ---- */

static void answer_user(struct shard *s, struct api_call *call, const struct dir_account *a)
{
    struct buf body = {0};
    struct json_writer w;
    json_w_init(&w, &body);
    json_w_object(&w);
    api_put_user(&w, a, a->user_id == call->user);
    if (a->user_id == call->user) {
        api_put_privacy(&w, a->hides);
    }
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_user(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        answer_user(s, call, &req->account);
    }
}

static void user_ask(struct api_request *r, uint64_t user, const char *key)
{
    struct api_call *call = api_call_new(r);
    struct api_dir *a =
        call ? api_dir_new(r->s, call, key ? DIR_ACCOUNT_BY_NAME : DIR_ACCOUNT_BY_ID, on_user)
             : NULL;
    if (a) {
        a->dir.req.user_id = user;
        memcpy(a->dir.req.username_key, key ? key : "", key ? strlen(key) + 1 : 1);
        api_dir_submit(r->s, a);
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

/* ---- PATCH /users/me ---- */

struct profile {
    struct dir_account account;
    uint32_t mask;
    uint32_t hides_mask;
};

static void privacy_member(struct json *j, struct profile *p)
{
    static const struct {
        const char *key;
        uint32_t bit;
    } rows[] = {{"online", DIR_HIDES_ONLINE},
                {"last_seen", DIR_HIDES_LAST_SEEN},
                {"read_receipts", DIR_HIDES_RECEIPTS}};
    struct span key;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        bool shown = true;
        size_t i = 0;
        while (i < ARRAY_LEN(rows) && !span_is(key, rows[i].key)) {
            i++;
        }
        if (i == ARRAY_LEN(rows)) {
            json_skip(j);
        } else if (!json_try_null(j) && json_bool(j, &shown)) {
            p->mask |= DIR_FIELD_HIDES;
            p->hides_mask |= rows[i].bit;
            p->account.hides |= shown ? 0 : rows[i].bit;
        }
    }
}

static const char *profile_member(struct json *j, struct span key, struct profile *p)
{
    struct dir_account *a = &p->account;
    uint32_t *mask = &p->mask;
    if (span_is(key, "privacy")) {
        if (!json_try_null(j)) {
            privacy_member(j, p);
        }
        return NULL;
    }
    if (span_is(key, "display_name")) {
        *mask |= DIR_FIELD_DISPLAY_NAME;
        return api_text(j, DISPLAY_CHARS_MAX, a->display_name, sizeof(a->display_name))
                   ? NULL
                   : "display_name";
    }
    if (span_is(key, "about")) {
        *mask |= DIR_FIELD_ABOUT;
        return api_text(j, ABOUT_CHARS_MAX, a->about, sizeof(a->about)) ? NULL : "about";
    }
    if (span_is(key, "email")) {
        *mask |= DIR_FIELD_EMAIL;
        return api_email(j, a->email) ? NULL : "email";
    }
    json_skip(j);
    return NULL;
}

/* Its privacy was to be changed: what the directory says holds from now on. */
static void on_privacy(struct shard *s, struct api_call *call, struct dir_request *req)
{
    privacy_end(auth_state_privacy(s->deps.auth), call->user,
                req->ret_err ? NULL : &req->account.hides);
    if (!req->ret_err) {
        presence_note(s, call->user, NOTE_HIDES);
    }
    on_user(s, call, req);
}

static void profile_submit(struct shard *s, struct api_call *call, const struct profile *p)
{
    bool hides = (p->mask & DIR_FIELD_HIDES) != 0;
    struct privacy *table = auth_state_privacy(s->deps.auth);
    struct api_dir *a = api_dir_new(s, call, p->mask ? DIR_ACCOUNT_UPDATE : DIR_ACCOUNT_BY_ID,
                                    hides ? on_privacy : on_user);
    if (!a) {
        return;
    }
    enum confab_err err = hides ? privacy_begin(table, call->user) : CONFAB_OK;
    if (err) {
        free(&a->dir);
        api_call_fail(s, call, err, NULL, "privacy");
        return;
    }
    a->dir.req.user_id = call->user;
    a->dir.req.account = p->account;
    a->dir.req.mask = p->mask;
    a->dir.req.hides_mask = p->hides_mask;
    err = dir_call_submit(s, &a->dir);
    if (err) {
        if (hides) {
            privacy_end(table, call->user, NULL);
        }
        api_call_fail(s, call, err, NULL, NULL);
    }
}

static void user_patch(struct api_request *r)
{
    struct profile profile = {0};
    struct json j;
    struct span key;
    const char *bad = NULL;
    if (!api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        const char *b = profile_member(&j, key, &profile);
        bad = bad ? bad : b;
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (bad) {
        api_fail(r, CONFAB_INVALID, credentials_expected(bad), bad);
        return;
    }
    struct api_call *call = api_call_new(r);
    if (call) {
        profile_submit(r->s, call, &profile);
    }
}

/* ---- GET /users ---- */

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
        api_put_user(&w, &req->ret_accounts[i], false);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    api_people_cursor(req, cursor, sizeof(cursor));
    api_put_more(&w, req->ret_more, cursor);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void user_search(struct api_request *r)
{
    struct dir_request asked = {0};
    uint32_t limit;
    if (!api_limit(r, 20, 100, &limit) || !api_people_query(r, &asked) ||
        !api_may(r, RATE_SEARCH)) {
        return;
    }
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_ACCOUNTS_LIST, on_people) : NULL;
    if (a) {
        api_people_copy(&a->dir.req, &asked);
        a->dir.req.limit = limit;
        a->dir.req.status = DIR_STATUS_ACTIVE;
        api_dir_submit(r->s, a);
    }
}

/* ---- PUT /users/me/password, DELETE /users/me ---- */

#define NOT_PRESENT "not the present password"

struct change {
    bool remove; /* the account, rather than a new password */
    size_t old_len;
    size_t new_len;
    uint8_t old[PASSWORD_MAX];
    uint8_t new[PASSWORD_MAX];
    char key[USERNAME_MAX + 1];
    char hash[DIR_HASH_BYTES]; /* the present one, that the password was verified with */
    char names[PASSWORD_NAMES_MAX][PASSWORD_NAME_MAX + 1];
};

static void on_changed(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (req->ret_err == CONFAB_UNAUTHENTICATED) { /* changed or reset meanwhile */
        api_call_fail(s, call, CONFAB_FORBIDDEN, NOT_PRESENT, "password");
    } else if (!api_dir_failed(s, call, req)) {
        api_revoke(s, call, call->user, req->ret_ids, req->ret_nids, api_then_done);
    }
}

static void on_new_hashed(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    if (result->err) {
        bool weak = result->err == CONFAB_WEAK_PASSWORD;
        api_call_fail(s, call, result->err, weak ? WEAK_PASSWORD : NULL,
                      weak ? "new_password" : NULL);
        return;
    }
    struct api_dir *a = api_dir_new(s, call, DIR_ACCOUNT_UPDATE, on_changed);
    if (a) {
        struct dir_request *req = &a->dir.req;
        req->user_id = call->user;
        req->device_id = call->device; /* spared */
        req->mask = DIR_FIELD_PASSWORD_HASH;
        req->revoke_devices = true;
        req->verified_hash = ((const struct change *)call->data)->hash;
        memcpy(req->account.password_hash, result->hash, sizeof(result->hash));
        api_dir_audit(s, a, "account.password", call->user, "by oneself");
        api_dir_submit(s, a);
    }
}

static void on_deleted(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        api_account_deleted(s, call, req);
    }
}

static void account_remove(struct shard *s, struct api_call *call)
{
    struct api_dir *a = api_dir_new(s, call, DIR_ACCOUNT_DELETE, on_deleted);
    if (a) {
        a->dir.req.user_id = call->user;
        api_dir_audit(s, a, "account.delete", call->user, "by oneself");
        api_dir_submit(s, a);
    }
}

static void on_old_verified(struct shard *s, void *arg, const struct password_result *result)
{
    struct api_call *call = arg;
    struct change *ch = call->data;
    bool wrong = result->err == CONFAB_UNAUTHENTICATED;
    enum try_outcome outcome = wrong ? TRY_FAILED : result->err ? TRY_GIVEN_UP : TRY_SUCCEEDED;
    auth_state_tried(s->deps.auth, THROTTLE_ACCOUNT, span_str(ch->key), outcome, s->now_ms);
    if (result->err) {
        api_call_fail(s, call, wrong ? CONFAB_FORBIDDEN : result->err, wrong ? NOT_PRESENT : NULL,
                      wrong ? "password" : NULL);
        return;
    }
    if (ch->remove) {
        account_remove(s, call);
        return;
    }
    const struct password_request job = {
        .password = span_of(ch->new, ch->new_len),
        .names = {span_str(ch->names[0]), span_str(ch->names[1]), span_str(ch->names[2])},
        .arg = call,
        .done = on_new_hashed,
    };
    enum confab_err err = password_submit(s, &job);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
    }
}

static void name_take(char out[PASSWORD_NAME_MAX + 1], const char *text)
{
    size_t n = MIN(strlen(text), PASSWORD_NAME_MAX);
    memcpy(out, text, n);
    out[n] = 0;
}

static void on_own_account(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct change *ch = call->data;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    const struct dir_account *acc = &req->account;
    if (!username_canonical(span_str(acc->username), ch->key)) {
        ch->key[0] = 0;
    }
    memcpy(ch->hash, acc->password_hash, sizeof(ch->hash));
    name_take(ch->names[0], acc->username);
    name_take(ch->names[1], acc->display_name);
    name_take(ch->names[2], acc->email);
    uint32_t wait = auth_state_try(s->deps.auth, THROTTLE_ACCOUNT, span_str(ch->key), s->now_ms);
    if (wait > 0) {
        metrics_inc(s->metrics, METRIC_SIGNIN_THROTTLED);
        api_call_fail_wait(s, call, CONFAB_THROTTLED, NULL, wait);
        return;
    }
    const struct password_request job = {
        .password = span_of(ch->old, ch->old_len),
        .hash = acc->password_hash,
        .arg = call,
        .done = on_old_verified,
    };
    enum confab_err err = password_submit(s, &job);
    if (err) {
        auth_state_tried(s->deps.auth, THROTTLE_ACCOUNT, span_str(ch->key), TRY_GIVEN_UP,
                         s->now_ms);
        api_call_fail(s, call, err, NULL, NULL);
    }
}

static bool password_value(struct json *j, uint8_t out[PASSWORD_MAX], size_t *ret_len)
{
    struct span v = {0};
    if (!json_string(j, &v)) {
        return true; /* the reader has the error */
    }
    if (v.n < PASSWORD_MIN || v.n > PASSWORD_MAX || memchr(v.p, 0, v.n)) {
        return false;
    }
    memcpy(out, v.p, v.n);
    *ret_len = v.n;
    return true;
}

/* False: answered. */
static bool change_read(struct api_request *r, struct change *ch)
{
    struct json j;
    struct span key;
    const char *bad = NULL;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "password")) {
            bad = password_value(&j, ch->old, &ch->old_len) || bad ? bad : "password";
        } else if (span_is(key, "new_password")) {
            bad = password_value(&j, ch->new, &ch->new_len) || bad ? bad : "new_password";
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (!bad) {
        bool wanted = !ch->remove && ch->new_len == 0;
        bad = ch->old_len == 0 ? "password" : wanted ? "new_password" : NULL;
    }
    if (bad) {
        api_fail(r, CONFAB_INVALID, credentials_expected("password"), bad);
    }
    return !bad;
}

/* Whoever holds an open session must still know the password. */
static void verify_and_change(struct api_request *r, bool remove)
{
    struct change *ch = calloc(1, sizeof(*ch));
    if (!ch) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    ch->remove = remove;
    struct api_call *call = change_read(r, ch) ? api_call_new(r) : NULL;
    if (!call) {
        sodium_memzero(ch, sizeof(*ch));
        free(ch);
        return;
    }
    call->data = ch;
    call->wipe = sizeof(*ch);
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_BY_ID, on_own_account);
    if (a) {
        a->dir.req.user_id = r->user;
        api_dir_submit(r->s, a);
    }
}

static void password_put(struct api_request *r)
{
    verify_and_change(r, false);
}

static void user_delete(struct api_request *r)
{
    verify_and_change(r, true);
}

const struct api_route api_users[] = {
    {HTTP_GET, "/api/v1/users", user_search, 0},
    {HTTP_GET, "/api/v1/users/me", user_me, 0},
    {HTTP_PATCH, "/api/v1/users/me", user_patch, 0},
    {HTTP_DELETE, "/api/v1/users/me", user_delete, 0},
    {HTTP_PUT, "/api/v1/users/me/password", password_put, 0},
    {HTTP_GET, "/api/v1/users/{}", user_get, 0},
    {0},
};
