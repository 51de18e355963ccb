/* Requests to the directory for REST calls, users as JSON, pages of lists. */
#include "gateway/api_directory.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/utf8.h"
#include "gateway/api_util.h"
#include "gateway/http.h"
#include "gateway/internal.h"

/* ---- Requests ---- */

static void on_dir_done(struct shard *s, struct dir_call *dir)
{
    struct api_dir *a = CONTAINER_OF(dir, struct api_dir, dir);
    a->done(s, a->call, &dir->req);
}

struct api_dir *api_dir_new(struct shard *s, struct api_call *call, enum dir_op op, api_on_dir done)
{
    struct dir_call *dir = dir_call_new(sizeof(struct api_dir), op);
    if (!dir) {
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    struct api_dir *a = CONTAINER_OF(dir, struct api_dir, dir);
    a->call = call;
    a->done = done;
    dir->on_done = on_dir_done;
    dir->req.now_ms = s->wall_ms;
    return a;
}

void api_dir_audit(struct shard *s, struct api_dir *a, const char *action, uint64_t target,
                   const char *detail)
{
    a->audit.at_ms = s->wall_ms;
    a->audit.actor = a->call->user;
    a->audit.target = target;
    (void)snprintf(a->audit.action, sizeof(a->audit.action), "%s", action);
    (void)snprintf(a->audit.detail, sizeof(a->audit.detail), "%s", detail ? detail : "");
    (void)snprintf(a->audit.address, sizeof(a->audit.address), "%s", a->call->address);
    a->dir.req.audit = &a->audit;
}

void api_dir_submit(struct shard *s, struct api_dir *a)
{
    struct api_call *call = a->call;
    enum confab_err err = dir_call_submit(s, &a->dir);
    if (err) {
        api_call_fail(s, call, err, NULL, NULL);
    }
}

bool api_dir_failed(struct shard *s, struct api_call *call, const struct dir_request *req)
{
    if (req->ret_err) {
        api_call_fail(s, call, req->ret_err, NULL, NULL);
    }
    return req->ret_err != CONFAB_OK;
}

static void on_revoked(struct shard *s, struct auth_wait *w)
{
    struct api_call *call = CONTAINER_OF(w, struct api_call, wait);
    call->then(s, call);
}

void api_revoke(struct shard *s, struct api_call *call, uint64_t user, const uint64_t *devices,
                uint32_t n, void (*then)(struct shard *s, struct api_call *call))
{
    call->then = then;
    auth_revoke(s, user, devices, n, &call->wait, on_revoked);
}

void api_then_done(struct shard *s, struct api_call *call)
{
    api_call_done(s, call, span_of(NULL, 0));
}

void api_account_deleted(struct shard *s, struct api_call *call, const struct dir_request *req)
{
    metrics_inc(s->metrics, METRIC_ACCOUNTS_DELETED);
    users_drop(s, req->account.user_id);
    leaving_tell(s);
    api_revoke(s, call, req->account.user_id, req->ret_ids, req->ret_nids, api_then_done);
}

uint64_t api_new_id(struct shard *s)
{
    return (random_u64(s->deps.random) >> 2) | 1;
}

/* ---- Text ---- */

static bool has_control(struct span text)
{
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < 0x20 || text.p[i] == 0x7f) {
            return true;
        }
    }
    return false;
}

bool api_text(struct json *j, size_t chars_max, char *out, size_t cap)
{
    struct span text = {0};
    if (!json_try_null(j) && !json_string(j, &text)) {
        return true; /* the reader has the error */
    }
    if (text.n >= cap || has_control(text) || utf8_count(text.p, text.n) > chars_max) {
        return false;
    }
    if (text.n > 0) {
        memcpy(out, text.p, text.n);
    }
    out[text.n] = 0;
    return true;
}

bool api_email(struct json *j, char out[DIR_EMAIL_BYTES + 1])
{
    if (!api_text(j, DIR_EMAIL_BYTES, out, DIR_EMAIL_BYTES + 1)) {
        return false;
    }
    const char *at = strchr(out, '@');
    return out[0] == 0 || (at && at != out && at[1] != 0 && !strchr(at + 1, '@') &&
                           strcspn(out, " ,;<>\"") == strlen(out));
}

bool api_limit(struct api_request *r, uint32_t normal, uint32_t max, uint32_t *ret)
{
    struct span cursor;
    return api_page_read(r, normal, max, ret, &cursor);
}

bool api_cursor_id(struct api_request *r, uint64_t *ret)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, "cursor", &r->s->scratch, &text);
    *ret = 0;
    if (err != CONFAB_NOT_FOUND && (err || !id_parse(text, ret))) {
        api_fail(r, CONFAB_INVALID, "not a cursor of this list", "cursor");
        return false;
    }
    return true;
}

bool api_id_arg(struct api_request *r, unsigned arg, uint64_t *ret)
{
    if (id_parse(r->args[arg], ret)) {
        return true;
    }
    api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
    return false;
}

/* ---- Users ---- */

static const char *status_text(enum dir_status status)
{
    return status == DIR_STATUS_ACTIVE      ? "active"
           : status == DIR_STATUS_SUSPENDED ? "suspended"
                                            : "deleted";
}

static const char *shown_name(const char *display, const char *username, enum dir_status status)
{
    if (status == DIR_STATUS_DELETED) {
        return "deleted account";
    }
    return display[0] ? display : username;
}

void api_put_user(struct json_writer *w, const struct dir_account *a, bool full)
{
    json_w_kid(w, "user_id", a->user_id);
    json_w_kcstr(w, "username", a->username);
    bool deleted = a->status == DIR_STATUS_DELETED;
    json_w_kcstr(w, "display_name", shown_name(a->display_name, a->username, a->status));
    if (deleted) {
        json_w_kbool(w, "deleted", true);
    }
    json_w_kcstr(w, "about", a->about);
    json_w_key(w, "profile_picture_url");
    json_w_null(w);
    json_w_ktime(w, "created_at", a->created_ms);
    json_w_ktime(w, "updated_at", MAX(a->updated_ms, a->created_ms));
    if (full) {
        json_w_kcstr(w, "email", a->email);
        json_w_kcstr(w, "role", a->role == DIR_ROLE_ADMIN ? "admin" : "member");
        json_w_kcstr(w, "status", status_text(a->status));
    }
}

static void put_text_or_null(struct json_writer *w, const char *key, const char *text)
{
    json_w_key(w, key);
    if (text) {
        json_w_cstr(w, text);
    } else {
        json_w_null(w);
    }
}

void api_put_names(struct json_writer *w, const struct dir_name *name)
{
    bool known = name && name->user_id != 0;
    put_text_or_null(w, "username", known ? name->username : NULL);
    put_text_or_null(w, "display_name",
                     known ? shown_name(name->display_name, name->username, name->status) : NULL);
}

struct api_names {
    struct api_dir dir; /* first: it is freed as such */
    uint32_t max;
    uint64_t ids[];
};

struct api_names *api_names_new(struct shard *s, struct api_call *call, uint32_t max,
                                api_on_dir done)
{
    size_t size = sizeof(struct api_names) + max * sizeof(uint64_t);
    struct dir_call *dir = dir_call_new(size, DIR_NAMES);
    if (!dir) {
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    struct api_names *n = CONTAINER_OF(dir, struct api_names, dir.dir);
    n->dir.call = call;
    n->dir.done = done;
    n->max = max;
    dir->on_done = on_dir_done;
    dir->req.ids = n->ids;
    return n;
}

void api_names_add(struct api_names *n, uint64_t user)
{
    CHECK(n->dir.dir.req.nids < n->max);
    n->ids[n->dir.dir.req.nids++] = user;
}

void api_names_submit(struct shard *s, struct api_names *n)
{
    api_dir_submit(s, &n->dir);
}

void api_put_privacy(struct json_writer *w, uint32_t hides)
{
    json_w_key(w, "privacy");
    json_w_object(w);
    json_w_kbool(w, "online", !(hides & DIR_HIDES_ONLINE));
    json_w_kbool(w, "last_seen", !(hides & DIR_HIDES_LAST_SEEN));
    json_w_kbool(w, "read_receipts", !(hides & DIR_HIDES_RECEIPTS));
    json_w_object_end(w);
}

void api_put_more(struct json_writer *w, bool more, const char *cursor)
{
    json_w_key(w, "next_cursor");
    if (more) {
        json_w_cstr(w, cursor);
    } else {
        json_w_null(w);
    }
    json_w_kbool(w, "has_more", more);
    json_w_kbool(w, "hasMore", more);
}

/* ---- People ---- */

/* A cursor is the id (8 bytes) and the word where the list goes on, in base64url. */
static bool people_cursor(struct span text, struct dir_request *req)
{
    uint8_t raw[8 + DIR_WORD_BYTES];
    size_t n = 0;
    const char *end = NULL;
    if (sodium_base642bin(raw, sizeof(raw), (const char *)text.p, text.n, NULL, &n, &end,
                          sodium_base64_VARIANT_URLSAFE_NO_PADDING) != 0 ||
        end != (const char *)text.p + text.n || n <= 8 || memchr(raw + 8, 0, n - 8) ||
        !utf8_valid(raw + 8, n - 8)) {
        return false;
    }
    memcpy(&req->after_id, raw, 8);
    memcpy(req->after_key, raw + 8, n - 8);
    req->after_key[n - 8] = 0;
    return req->after_id <= INT64_MAX;
}

void api_people_copy(struct dir_request *to, const struct dir_request *from)
{
    memcpy(to->query, from->query, sizeof(to->query));
    memcpy(to->after_key, from->after_key, sizeof(to->after_key));
    to->after_id = from->after_id;
}

void api_people_cursor(const struct dir_request *req, char *out, size_t cap)
{
    uint8_t raw[8 + DIR_WORD_BYTES];
    size_t n = strlen(req->ret_after_key);
    memcpy(raw, &req->ret_after_id, 8);
    memcpy(raw + 8, req->ret_after_key, n);
    (void)sodium_bin2base64(out, cap, raw, n + 8, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

bool api_people_query(struct api_request *r, struct dir_request *req)
{
    struct span text;
    enum confab_err err = http_query_get(r->http->query, "query", &r->s->scratch, &text);
    if (!err && text.n <= DIR_QUERY_BYTES) {
        memcpy(req->query, text.p, text.n);
        req->query[text.n] = 0;
    } else if (err != CONFAB_NOT_FOUND) {
        api_fail(r, CONFAB_INVALID, "up to 200 bytes of text are expected", "query");
        return false;
    }
    err = http_query_get(r->http->query, "cursor", &r->s->scratch, &text);
    if (err != CONFAB_NOT_FOUND && (err || !people_cursor(text, req))) {
        api_fail(r, CONFAB_INVALID, "not a cursor of this list", "cursor");
        return false;
    }
    return true;
}
