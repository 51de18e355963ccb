/* Administration: settings, the link for an administrator, the audit record. */
#include <stdio.h>
#include <stdlib.h>

#include "gateway/api_directory.h"
#include "gateway/internal.h"

/* ---- Settings ---- */

static void answer_settings(struct shard *s, struct api_call *call)
{
    char name[SERVER_NAME_BYTES + 1];
    struct buf body = {0};
    struct json_writer w;
    auth_state_name(s->deps.auth, name);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kcstr(&w, "registration", registration_text(auth_state_registration(s->deps.auth)));
    json_w_kcstr(&w, "server_name", name);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void settings_get(struct api_request *r)
{
    struct api_call *call = api_call_new(r);
    if (call) {
        answer_settings(r->s, call);
    }
}

struct settings {
    char registration[16]; /* empty: not to be changed */
    char name[SERVER_NAME_BYTES + 1];
    bool has_name;
};

static void settings_next(struct shard *s, struct api_call *call);

static void on_registration(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct settings *set = call->data;
    enum registration mode;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    if (registration_parse(span_str(set->registration), &mode)) {
        auth_state_set_registration(s->deps.auth, mode);
    }
    set->registration[0] = 0;
    settings_next(s, call);
}

static void on_name(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct settings *set = call->data;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    auth_state_set_name(s->deps.auth, span_str(set->name));
    set->has_name = false;
    settings_next(s, call);
}

/* One after the other: each is a transaction with its audit record. */
static void settings_next(struct shard *s, struct api_call *call)
{
    const struct settings *set = call->data;
    bool mode = set->registration[0] != 0;
    if (!mode && !set->has_name) {
        answer_settings(s, call);
        return;
    }
    struct api_dir *a = api_dir_new(s, call, DIR_SETTING_SET, mode ? on_registration : on_name);
    if (a) {
        const char *key = mode ? SETTING_REGISTRATION : SETTING_SERVER_NAME;
        char action[64];
        (void)snprintf(action, sizeof(action), "setting.%s", key);
        (void)snprintf(a->dir.req.setting_key, sizeof(a->dir.req.setting_key), "%s", key);
        a->dir.req.text = mode ? set->registration : set->name;
        a->dir.req.text_len = (uint32_t)strlen(a->dir.req.text);
        api_dir_audit(s, a, action, 0, a->dir.req.text);
        api_dir_submit(s, a);
    }
}

/* False: answered. */
static bool settings_read(struct api_request *r, struct settings *set)
{
    struct json j;
    struct span key;
    struct span v;
    enum registration mode;
    const char *bad = NULL;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "registration")) {
            if (json_string(&j, &v)) {
                bad = registration_parse(v, &mode) ? bad : "registration";
                (void)snprintf(set->registration, sizeof(set->registration), "%s",
                               bad ? "" : registration_text(mode));
            }
        } else if (span_is(key, "server_name")) {
            bad = api_text(&j, NAME_CHARS_MAX, set->name, sizeof(set->name)) ? bad : "server_name";
            set->has_name = true;
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (bad) {
        api_fail(r, CONFAB_INVALID,
                 bad[0] == 'r' ? "open, invite or closed" : "up to 50 characters", bad);
    }
    return !bad;
}

static void settings_patch(struct api_request *r)
{
    struct settings *set = calloc(1, sizeof(*set));
    if (!set) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct api_call *call = settings_read(r, set) ? api_call_new(r) : NULL;
    if (!call) {
        free(set);
        return;
    }
    call->data = set;
    api_call_address(r, call);
    settings_next(r->s, call);
}

/* ---- POST /admin/link ---- */

struct link_made {
    struct dir_invite invite;
    char code[INVITE_CODE_LEN + 1];
};

static void on_link(struct shard *s, struct api_call *call, struct dir_request *req)
{
    const struct link_made *made = call->data;
    struct buf body = {0};
    struct buf link = {0};
    struct json_writer w;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    auth_state_set_setup_code(s->deps.auth, made->code);
    buf_printf(&link, "%s#setup=%s", s->deps.url, made->code);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kstring(&w, "link", span_of(link.data, link.len));
    json_w_kcstr(&w, "code", made->code);
    json_w_ktime(&w, "expires_at", made->invite.expires_ms);
    json_w_object_end(&w);
    body.failed = body.failed || !buf_ok(&link);
    buf_deinit(&link);
    api_call_answer(s, call, 201, &body);
}

static void link_create(struct api_request *r)
{
    struct api_call *call = api_call_new(r);
    struct link_made *made = call ? calloc(1, sizeof(*made)) : NULL;
    if (!made) {
        if (call) {
            api_call_fail(r->s, call, CONFAB_NOMEM, NULL, NULL);
        }
        return;
    }
    call->data = made;
    call->wipe = sizeof(*made);
    api_call_address(r, call);
    auth_setup_invite(r->s, &made->invite, made->code);
    made->invite.created_by = r->user;
    struct api_dir *a = api_dir_new(r->s, call, DIR_INVITE_CREATE, on_link);
    if (a) {
        a->dir.req.invite = made->invite;
        api_dir_audit(r->s, a, "link.create", made->invite.invite_id, NULL);
        api_dir_submit(r->s, a);
    }
}

/* ---- GET /admin/audit ---- */

static void put_id_or_null(struct json_writer *w, const char *key, uint64_t id)
{
    json_w_key(w, key);
    if (id) {
        json_w_id(w, id);
    } else {
        json_w_null(w);
    }
}

static void on_audit(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    char cursor[ID_NUM_TEXT + 1] = "";
    if (api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "records");
    json_w_array(&w);
    for (uint32_t i = 0; i < req->ret_naudits; i++) {
        const struct dir_audit *rec = &req->ret_audits[i];
        json_w_object(&w);
        json_w_kid(&w, "audit_id", rec->audit_id);
        json_w_ktime(&w, "at", rec->at_ms);
        put_id_or_null(&w, "actor", rec->actor);
        json_w_kcstr(&w, "action", rec->action);
        put_id_or_null(&w, "target", rec->target);
        json_w_kcstr(&w, "detail", rec->detail);
        json_w_kcstr(&w, "address", rec->address);
        json_w_object_end(&w);
        cursor[id_text(rec->audit_id, cursor)] = 0;
    }
    json_w_array_end(&w);
    api_put_more(&w, req->ret_more, cursor);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void audit_list(struct api_request *r)
{
    uint32_t limit;
    uint64_t after;
    if (!api_limit(r, 50, 200, &limit) || !api_cursor_id(r, &after)) {
        return;
    }
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_AUDIT_LIST, on_audit) : NULL;
    if (a) {
        a->dir.req.after_id = after;
        a->dir.req.limit = limit;
        api_dir_submit(r->s, a);
    }
}

/* ---- GET /server ---- */

static void server_get(struct api_request *r)
{
    struct shard *s = r->s;
    char name[SERVER_NAME_BYTES + 1];
    struct buf body = {0};
    struct json_writer w;
    auth_state_name(s->deps.auth, name);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kcstr(&w, "name", name);
    json_w_kcstr(&w, "version", s->deps.version);
    json_w_kcstr(&w, "registration", registration_text(auth_state_registration(s->deps.auth)));
    json_w_key(&w, "limits");
    json_w_object(&w);
    json_w_ku64(&w, "text_bytes", s->cfg.text_bytes_max);
    json_w_ku64(&w, "frame_bytes", s->cfg.frame_bytes_max);
    json_w_ku64(&w, "request_bytes", s->cfg.request_bytes_max);
    json_w_ku64(&w, "inflight", s->cfg.inflight_max);
    json_w_ku64(&w, "password_bytes_min", PASSWORD_MIN);
    json_w_ku64(&w, "password_bytes_max", PASSWORD_MAX);
    json_w_ku64(&w, "devices", s->cfg.devices_max);
    json_w_ku64(&w, "access_token_seconds", s->cfg.access_ms / 1000);
    json_w_object_end(&w);
    json_w_key(&w, "features");
    json_w_array(&w);
    static const char *const features[] = {"refresh", "tickets", "invites", "devices"};
    for (size_t i = 0; i < ARRAY_LEN(features); i++) {
        json_w_cstr(&w, features[i]);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    api_answer_json(r, 200, &body);
}

const struct api_route api_admin[] = {
    {HTTP_GET, "/api/v1/admin/settings", settings_get, API_ADMIN},
    {HTTP_PATCH, "/api/v1/admin/settings", settings_patch, API_ADMIN},
    {HTTP_POST, "/api/v1/admin/link", link_create, API_ADMIN},
    {HTTP_GET, "/api/v1/admin/audit", audit_list, API_ADMIN},
    {HTTP_GET, "/api/v1/server", server_get, API_OPEN},
    {0},
};
