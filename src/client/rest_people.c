/* Calls about people: accounts, profiles, devices, invites, and who has a message. */
#include <confab/rest.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/rest_internal.h"
#include "client/session_internal.h"

#define LIST_MAX 100000U /* elements of a list without a bound of the caller's */
#define PAGE     100U

static void read_time(struct json *j, uint64_t *ret_ms)
{
    if (!json_try_null(j)) {
        json_time(j, ret_ms);
    }
}

static void read_count(struct json *j, uint64_t *ret)
{
    if (!json_try_null(j)) {
        json_u64(j, ret);
    }
}

bool crest_read_user(struct json *j, struct span key, void *user)
{
    struct confab_user *u = user;
    if (span_is(key, "user_id")) {
        json_id(j, &u->user_id);
    } else if (span_is(key, "username")) {
        crest_read_text(j, u->username, sizeof(u->username));
    } else if (span_is(key, "display_name")) {
        crest_read_text(j, u->display_name, sizeof(u->display_name));
    } else if (span_is(key, "about")) {
        crest_read_text(j, u->about, sizeof(u->about));
    } else if (span_is(key, "email")) {
        crest_read_text(j, u->email, sizeof(u->email));
    } else if (span_is(key, "status")) {
        crest_read_text(j, u->status, sizeof(u->status));
    } else if (span_is(key, "role")) {
        char role[16] = "";
        crest_read_text(j, role, sizeof(role));
        u->administrator = strcmp(role, "admin") == 0;
    } else if (span_is(key, "created_at")) {
        read_time(j, &u->created_at_ms);
    } else {
        return false;
    }
    return true;
}

/* Consumes path and body. */
static enum confab_error call_user(struct confab_client *c, const char *method, struct buf *path,
                                   struct buf *body, bool with_token, struct confab_user *ret)
{
    struct confab_user u;
    memset(&u, 0, sizeof(u));
    enum confab_error error = crest_object(c, method, path, body, with_token, crest_read_user, &u);
    if (!error && (u.user_id == 0 || u.username[0] == '\0')) {
        error = crest_fail(c, CONFAB_E_PROTOCOL, NULL);
    }
    if (!error && ret) {
        *ret = u;
    }
    return error;
}

enum confab_error crest_not_utf8(struct confab_client *c, struct buf *path, struct buf *body)
{
    buf_deinit(path);
    buf_deinit(body);
    return crest_bad_argument(c, "not UTF-8");
}

enum confab_error confab_register(struct confab_client *c,
                                  const struct confab_registration *registration,
                                  struct confab_user *ret)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("accounts");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "username", registration->username) &&
              crest_put_text(&w, "password", registration->password) &&
              crest_put_text(&w, "display_name", registration->display_name) &&
              crest_put_text(&w, "email", registration->email) &&
              crest_put_text(&w, "invite", registration->invite);
    json_w_object_end(&w);
    return ok ? call_user(c, "POST", &path, &body, false, ret) : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_user_get(struct confab_client *c, const char *user,
                                  struct confab_user *ret)
{
    if (user[0] == '\0') {
        return crest_bad_argument(c, "no user");
    }
    struct buf path = crest_path("users/");
    crest_path_text(&path, user);
    return call_user(c, "GET", &path, NULL, true, ret);
}

void crest_read_person(struct json *j, void *arg)
{
    struct crest_people *p = arg;
    struct confab_user u;
    struct span key;
    memset(&u, 0, sizeof(u));
    while (json_object_next(j, &key)) {
        if (!crest_read_user(j, key, &u)) {
            json_skip(j);
        }
    }
    if (json_ok(j) && u.user_id != 0) {
        p->on_user(p->arg, &u);
    }
}

enum confab_error confab_people(struct confab_client *c, const char *query, unsigned max,
                                void (*on_user)(void *arg, const struct confab_user *user),
                                void *arg)
{
    struct crest_people p = {on_user, arg};
    struct buf path;
    buf_init(&path);
    buf_printf(&path, "users?limit=%u&query=", MIN(MAX(max, 1U), PAGE));
    crest_path_text(&path, query);
    buf_put_u8(&path, 0);
    enum confab_error error =
        buf_ok(&path) ? crest_each(c, (const char *)path.data, "users", max, crest_read_person, &p)
                      : crest_fail(c, CONFAB_E_NOMEM, NULL);
    buf_deinit(&path);
    return error;
}

enum confab_error confab_profile_set(struct confab_client *c, const char *display_name,
                                     const char *about, const char *email)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("users/me");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "display_name", display_name) &&
              crest_put_text(&w, "about", about) && crest_put_text(&w, "email", email);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "PATCH", &path, &body) : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_password_set(struct confab_client *c, const char *old, const char *fresh)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("users/me/password");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "password", old) && crest_put_text(&w, "new_password", fresh);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "PUT", &path, &body) : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_account_delete(struct confab_client *c, const char *password)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("users/me");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "password", password);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "DELETE", &path, &body) : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_logout(struct confab_client *c)
{
    struct buf path = crest_path("tokens/current");
    return crest_call_only(c, "DELETE", &path, NULL);
}

/* ---- Devices ---- */

struct devices {
    void (*on_device)(void *arg, const struct confab_signed_in *device);
    void *arg;
};

static void read_device(struct json *j, void *arg)
{
    struct devices *d = arg;
    struct confab_signed_in s;
    struct span key;
    memset(&s, 0, sizeof(s));
    while (json_object_next(j, &key)) {
        if (span_is(key, "device_id")) {
            json_id(j, &s.device_id);
        } else if (span_is(key, "name")) {
            crest_read_text(j, s.name, sizeof(s.name));
        } else if (span_is(key, "current")) {
            json_bool(j, &s.current);
        } else if (span_is(key, "created_at")) {
            read_time(j, &s.created_at_ms);
        } else if (span_is(key, "last_used_at")) {
            read_time(j, &s.last_used_at_ms);
        } else if (span_is(key, "last_address")) {
            crest_read_text(j, s.last_address, sizeof(s.last_address));
        } else {
            json_skip(j);
        }
    }
    if (json_ok(j) && s.device_id != 0) {
        d->on_device(d->arg, &s);
    }
}

enum confab_error
confab_devices(struct confab_client *c,
               void (*on_device)(void *arg, const struct confab_signed_in *device), void *arg)
{
    struct devices d = {on_device, arg};
    return crest_each(c, "devices", "devices", LIST_MAX, read_device, &d);
}

static struct buf path_number(const char *before, uint64_t id)
{
    struct buf path = crest_path(before);
    buf_printf(&path, "%" PRIu64, id);
    return path;
}

enum confab_error confab_device_rename(struct confab_client *c, uint64_t device_id,
                                       const char *name)
{
    struct json_writer w;
    struct buf body;
    struct buf path = path_number("devices/", device_id);
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "name", name);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "PATCH", &path, &body) : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_device_remove(struct confab_client *c, uint64_t device_id)
{
    struct buf path = path_number("devices/", device_id);
    return crest_call_only(c, "DELETE", &path, NULL);
}

/* ---- Invites ---- */

static bool read_invite(struct json *j, struct span key, void *arg)
{
    struct confab_invite *v = arg;
    if (span_is(key, "invite_id")) {
        json_id(j, &v->invite_id);
    } else if (span_is(key, "code")) {
        crest_read_text(j, v->code, sizeof(v->code));
    } else if (span_is(key, "link")) {
        crest_read_text(j, v->link, sizeof(v->link));
    } else if (span_is(key, "note")) {
        crest_read_text(j, v->note, sizeof(v->note));
    } else if (span_is(key, "uses")) {
        read_count(j, &v->uses);
    } else if (span_is(key, "uses_max")) {
        read_count(j, &v->uses_max);
    } else if (span_is(key, "expires_at")) {
        read_time(j, &v->expires_at_ms);
    } else {
        return false;
    }
    return true;
}

enum confab_error confab_invite_create(struct confab_client *c, uint64_t uses_max,
                                       uint64_t expires_in_s, const char *note,
                                       struct confab_invite *ret)
{
    struct json_writer w;
    struct buf body;
    struct confab_invite v;
    struct buf path = crest_path("invites");
    memset(&v, 0, sizeof(v));
    crest_body_begin(&w, &body);
    if (uses_max) {
        json_w_ku64(&w, "uses_max", uses_max);
    }
    if (expires_in_s) {
        json_w_ku64(&w, "expires_in", expires_in_s);
    }
    bool ok = crest_put_text(&w, "note", note);
    json_w_object_end(&w);
    if (!ok) {
        return crest_not_utf8(c, &path, &body);
    }
    enum confab_error error = crest_object(c, "POST", &path, &body, true, read_invite, &v);
    if (!error && (v.invite_id == 0 || v.code[0] == '\0')) {
        error = crest_fail(c, CONFAB_E_PROTOCOL, NULL);
    }
    if (!error) {
        *ret = v;
    }
    return error;
}

struct invites {
    void (*on_invite)(void *arg, const struct confab_invite *invite);
    void *arg;
};

static void take_invite(struct json *j, void *arg)
{
    struct invites *all = arg;
    struct confab_invite v;
    struct span key;
    memset(&v, 0, sizeof(v));
    while (json_object_next(j, &key)) {
        if (!read_invite(j, key, &v)) {
            json_skip(j);
        }
    }
    if (json_ok(j) && v.invite_id != 0) {
        all->on_invite(all->arg, &v);
    }
}

enum confab_error confab_invites(struct confab_client *c,
                                 void (*on_invite)(void *arg, const struct confab_invite *invite),
                                 void *arg)
{
    struct invites all = {on_invite, arg};
    return crest_each(c, "invites", "invites", LIST_MAX, take_invite, &all);
}

enum confab_error confab_invite_remove(struct confab_client *c, uint64_t invite_id)
{
    struct buf path = path_number("invites/", invite_id);
    return crest_call_only(c, "DELETE", &path, NULL);
}

/* ---- Receipts ---- */

struct readers {
    void (*on_reader)(void *arg, const struct confab_reader *reader);
    void *arg;
};

static void read_reader(struct json *j, void *arg)
{
    struct readers *all = arg;
    struct confab_reader r;
    struct span key;
    memset(&r, 0, sizeof(r));
    while (json_object_next(j, &key)) {
        if (span_is(key, "user_id")) {
            json_id(j, &r.user_id);
        } else if (span_is(key, "delivered_at")) {
            read_time(j, &r.delivered_at_ms);
        } else if (span_is(key, "read_at")) {
            read_time(j, &r.read_at_ms);
        } else {
            json_skip(j);
        }
    }
    if (json_ok(j) && r.user_id != 0) {
        all->on_reader(all->arg, &r);
    }
}

enum confab_error confab_receipts(struct confab_client *c, uint64_t message_id,
                                  void (*on_reader)(void *arg, const struct confab_reader *reader),
                                  void *arg)
{
    struct readers all = {on_reader, arg};
    char path[96];
    snprintf(path, sizeof(path), "messages/%" PRIu64 "/receipts", message_id);
    return crest_each(c, path, "receipts", LIST_MAX, read_reader, &all);
}
