/*
 * Invites: whoever may be here may bring others, within bounds. A link has its code behind #, so
 * that no proxy and no log sees it; here only the code's hash is kept, so a list shows no codes.
 */
#include <stdlib.h>

#include "gateway/api_directory.h"
#include "gateway/internal.h"

#define DAY_S            86400ULL
#define EXPIRES_NORMAL_S (7 * DAY_S)
#define EXPIRES_MAX_S    (365 * DAY_S)
#define USES_MAX         10000U

static void put_invite(struct json_writer *w, const struct dir_invite *i, uint64_t now_ms)
{
    bool over = i->expires_ms != 0 && now_ms >= i->expires_ms;
    json_w_kid(w, "invite_id", i->invite_id);
    json_w_kbool(w, "administrator", i->kind == DIR_INVITE_SETUP);
    json_w_kcstr(w, "state",
                 i->revoked_ms != 0       ? "revoked"
                 : i->uses >= i->uses_max ? "used"
                 : over                   ? "expired"
                                          : "valid");
    json_w_ku64(w, "uses", i->uses);
    json_w_ku64(w, "uses_max", i->uses_max);
    json_w_ktime(w, "created_at", i->created_ms);
    json_w_key(w, "created_by");
    if (i->created_by) {
        json_w_id(w, i->created_by);
    } else {
        json_w_null(w);
    }
    json_w_key(w, "expires_at");
    if (i->expires_ms) {
        json_w_time(w, i->expires_ms);
    } else {
        json_w_null(w);
    }
    json_w_kcstr(w, "note", i->note);
}

/* ---- POST /invites ---- */

struct wanted {
    struct dir_invite invite;
    char code[INVITE_CODE_LEN + 1];
};

static void on_created(struct shard *s, struct api_call *call, struct dir_request *req)
{
    const struct wanted *wanted = call->data;
    struct buf body = {0};
    struct buf link = {0};
    struct json_writer w;
    if (req->ret_err == CONFAB_LIMIT) {
        api_call_fail(s, call, CONFAB_LIMIT, "too many invites that can still be used", NULL);
        return;
    }
    if (api_dir_failed(s, call, req)) {
        return;
    }
    buf_printf(&link, "%s#invite=%s", s->deps.url, wanted->code);
    json_w_init(&w, &body);
    json_w_object(&w);
    put_invite(&w, &req->invite, s->wall_ms);
    json_w_kcstr(&w, "code", wanted->code);
    json_w_kstring(&w, "link", span_of(link.data, link.len));
    json_w_object_end(&w);
    body.failed = body.failed || !buf_ok(&link);
    buf_deinit(&link);
    api_call_answer(s, call, 201, &body);
}

static void submit_invite(struct shard *s, struct api_call *call, bool bounded)
{
    const struct wanted *wanted = call->data;
    struct api_dir *a = api_dir_new(s, call, DIR_INVITE_CREATE, on_created);
    if (a) {
        a->dir.req.invite = wanted->invite;
        a->dir.req.invites_max = bounded ? s->cfg.invites_max : 0;
        api_dir_audit(s, a, "invite.create", wanted->invite.invite_id, wanted->invite.note);
        api_dir_submit(s, a);
    }
}

/* Administrators may make any number. */
static void on_creator(struct shard *s, struct api_call *call, struct dir_request *req)
{
    bool admin = req->account.role == DIR_ROLE_ADMIN;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    if (!admin && s->cfg.invites_max == 0) {
        api_call_fail(s, call, CONFAB_FORBIDDEN, "only administrators make invites here", NULL);
        return;
    }
    submit_invite(s, call, !admin);
}

/* False: answered. */
static bool wanted_read(struct api_request *r, struct wanted *wanted)
{
    struct dir_invite *i = &wanted->invite;
    struct json j;
    struct span key;
    uint64_t uses = 1;
    uint64_t expires_s = EXPIRES_NORMAL_S;
    bool note_ok = true;
    bool forever = false;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "uses_max")) {
            json_u64(&j, &uses);
        } else if (span_is(key, "expires_in")) {
            forever = json_try_null(&j);
            if (!forever) {
                json_u64(&j, &expires_s);
            }
        } else if (span_is(key, "note")) {
            note_ok = api_text(&j, NOTE_CHARS_MAX, i->note, sizeof(i->note));
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (uses == 0 || uses > USES_MAX) {
        api_fail(r, CONFAB_INVALID, "1 to 10000 uses", "uses_max");
        return false;
    }
    if (expires_s < 60 || expires_s > EXPIRES_MAX_S) {
        api_fail(r, CONFAB_INVALID, "60 to 31536000 seconds, or null for ever", "expires_in");
        return false;
    }
    if (!note_ok) {
        api_fail(r, CONFAB_INVALID, "up to 100 characters", "note");
        return false;
    }
    i->uses_max = (uint32_t)uses;
    i->created_ms = r->s->wall_ms;
    i->expires_ms = forever ? 0 : r->s->wall_ms + expires_s * 1000;
    return true;
}

static void invite_create(struct api_request *r)
{
    struct wanted *wanted = calloc(1, sizeof(*wanted));
    if (!wanted) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct api_call *call = wanted_read(r, wanted) ? api_call_new(r) : NULL;
    if (!call) {
        free(wanted);
        return;
    }
    call->data = wanted;
    call->wipe = sizeof(*wanted);
    api_call_address(r, call);
    wanted->invite.invite_id = api_new_id(r->s);
    wanted->invite.created_by = r->user;
    invite_code_make(r->s, wanted->code);
    CHECK(invite_code_hash(span_str(wanted->code), wanted->invite.code_hash));
    if (r->operator_key) {
        submit_invite(r->s, call, false);
        return;
    }
    struct api_dir *a = api_dir_new(r->s, call, DIR_ACCOUNT_BY_ID, on_creator);
    if (a) {
        a->dir.req.user_id = r->user;
        api_dir_submit(r->s, a);
    }
}

/* ---- GET /invites, DELETE /invites/{id} ---- */

static void on_list(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    char cursor[ID_NUM_TEXT + 1] = "";
    if (api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "invites");
    json_w_array(&w);
    for (uint32_t i = 0; i < req->ret_ninvites; i++) {
        json_w_object(&w);
        put_invite(&w, &req->ret_invites[i], s->wall_ms);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    if (req->ret_ninvites > 0) {
        cursor[id_text(req->ret_invites[req->ret_ninvites - 1].invite_id, cursor)] = 0;
    }
    api_put_more(&w, req->ret_more, cursor);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void list(struct api_request *r, uint64_t creator)
{
    uint32_t limit;
    uint64_t after;
    if (!api_limit(r, 50, 100, &limit) || !api_cursor_id(r, &after)) {
        return;
    }
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_INVITES_LIST, on_list) : NULL;
    if (a) {
        a->dir.req.user_id = creator;
        a->dir.req.after_id = after;
        a->dir.req.limit = limit;
        api_dir_submit(r->s, a);
    }
}

static void invite_list(struct api_request *r)
{
    list(r, r->user);
}

static void invite_list_all(struct api_request *r)
{
    list(r, 0);
}

static void on_revoked(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        api_call_done(s, call, span_of(NULL, 0));
    }
}

static void revoke(struct api_request *r, uint64_t creator)
{
    uint64_t invite;
    struct api_call *call = api_id_arg(r, 0, &invite) ? api_call_new(r) : NULL;
    if (!call) {
        return;
    }
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_INVITE_REVOKE, on_revoked);
    if (a) {
        a->dir.req.invite.invite_id = invite;
        a->dir.req.user_id = creator;
        api_dir_audit(r->s, a, "invite.revoke", invite, NULL);
        api_dir_submit(r->s, a);
    }
}

static void invite_revoke(struct api_request *r)
{
    revoke(r, r->user);
}

static void invite_revoke_any(struct api_request *r)
{
    revoke(r, 0);
}

/* ---- POST /invites/check ---- */

static void answer_check(struct shard *s, struct api_call *call, const struct dir_invite *i)
{
    char name[SERVER_NAME_BYTES + 1];
    struct buf body = {0};
    struct json_writer w;
    bool valid = i && i->revoked_ms == 0 && i->uses < i->uses_max &&
                 (i->expires_ms == 0 || s->wall_ms < i->expires_ms) &&
                 (i->kind == DIR_INVITE_SETUP ||
                  auth_state_registration(s->deps.auth) != REGISTRATION_CLOSED);
    auth_state_name(s->deps.auth, name);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kbool(&w, "valid", valid);
    json_w_kbool(&w, "administrator", valid && i->kind == DIR_INVITE_SETUP);
    json_w_kcstr(&w, "server_name", name);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_check(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (req->ret_err == CONFAB_NOT_FOUND) {
        answer_check(s, call, NULL);
    } else if (!api_dir_failed(s, call, req)) {
        answer_check(s, call, &req->invite);
    }
}

static void invite_check(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span code = {0};
    uint8_t hash[DIR_TOKEN_HASH];
    if (!api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "code")) {
            json_string(&j, &code);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (!code.p) {
        api_fail(r, CONFAB_INVALID, "a code is expected", "code");
        return;
    }
    bool known_form = invite_code_hash(code, hash);
    struct api_call *call = api_call_new(r);
    if (call && !known_form) {
        answer_check(r->s, call, NULL);
        return;
    }
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_INVITE_BY_CODE, on_check) : NULL;
    if (a) {
        memcpy(a->dir.req.invite.code_hash, hash, sizeof(hash));
        api_dir_submit(r->s, a);
    }
}

const struct api_route api_invites[] = {
    {HTTP_POST, "/api/v1/invites", invite_create, 0},
    {HTTP_GET, "/api/v1/invites", invite_list, 0},
    {HTTP_DELETE, "/api/v1/invites/{}", invite_revoke, 0},
    {HTTP_POST, "/api/v1/invites/check", invite_check, API_OPEN},
    {HTTP_POST, "/api/v1/admin/invites", invite_create, API_ADMIN},
    {HTTP_GET, "/api/v1/admin/invites", invite_list_all, API_ADMIN},
    {HTTP_DELETE, "/api/v1/admin/invites/{}", invite_revoke_any, API_ADMIN},
    {0},
};
