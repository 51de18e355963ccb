/* Calls of administrators and operators. */
#include <confab/admin.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/rest_internal.h"
#include "client/session_internal.h"

#define PAGE 100U

static struct buf path_user(uint64_t user_id, const char *rest)
{
    struct buf path = crest_path("admin/users/");
    buf_printf(&path, "%" PRIu64 "%s", user_id, rest);
    return path;
}

/* ---- People ---- */

enum confab_error confab_admin_people(struct confab_client *c, const char *query,
                                      const char *status, uint64_t max,
                                      void (*on_user)(void *arg, const struct confab_user *user),
                                      void *arg)
{
    struct crest_people p = {on_user, arg};
    struct buf path;
    buf_init(&path);
    buf_printf(&path, "admin/users?limit=%u", (unsigned)MIN(MAX(max, 1U), PAGE));
    if (query && query[0] != '\0') {
        buf_put_str(&path, "&query=");
        crest_path_text(&path, query);
    }
    if (status) {
        buf_put_str(&path, "&status=");
        crest_path_text(&path, status);
    }
    buf_put_u8(&path, 0);
    enum confab_error error =
        buf_ok(&path) ? crest_each(c, (const char *)path.data, "users", max, crest_read_person, &p)
                      : crest_fail(c, CONFAB_E_NOMEM, NULL);
    buf_deinit(&path);
    return error;
}

enum confab_error confab_admin_user_set(struct confab_client *c, uint64_t user_id,
                                        const char *status, const char *role)
{
    struct json_writer w;
    struct buf body;
    struct buf path = path_user(user_id, "");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "status", status) && crest_put_text(&w, "role", role);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "PATCH", &path, &body) : crest_not_utf8(c, &path, &body);
}

static bool read_password(struct json *j, struct span key, void *arg)
{
    if (!span_is(key, "password")) {
        return false;
    }
    crest_read_text(j, arg, CONFAB_NAME_SIZE);
    return true;
}

enum confab_error confab_admin_password(struct confab_client *c, uint64_t user_id,
                                        const char *password, char ret[CONFAB_NAME_SIZE])
{
    struct json_writer w;
    struct buf body;
    struct buf path = path_user(user_id, "/password");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "password", password);
    json_w_object_end(&w);
    ret[0] = '\0';
    return ok ? crest_object(c, "PUT", &path, &body, true, read_password, ret)
              : crest_not_utf8(c, &path, &body);
}

enum confab_error confab_admin_user_delete(struct confab_client *c, uint64_t user_id)
{
    struct buf path = path_user(user_id, "");
    return crest_call_only(c, "DELETE", &path, NULL);
}

/* ---- Many accounts ---- */

struct results {
    void (*on_result)(void *arg, size_t i, uint64_t user_id, const char *error);
    void *arg;
    size_t n;
};

static void read_error(struct json *j, char *out, size_t size)
{
    struct span key;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "message")) {
            crest_read_text(j, out, size);
        } else {
            json_skip(j);
        }
    }
}

static bool read_results(struct json *j, struct span key, void *arg)
{
    struct results *all = arg;
    if (!span_is(key, "results")) {
        return false;
    }
    json_array_begin(j);
    while (json_array_next(j)) {
        uint64_t id = 0;
        char error[256] = "";
        json_object_begin(j);
        while (json_object_next(j, &key)) {
            if (span_is(key, "user_id")) {
                json_id(j, &id);
            } else if (span_is(key, "error")) {
                read_error(j, error, sizeof(error));
            } else {
                json_skip(j);
            }
        }
        if (json_ok(j)) {
            all->on_result(all->arg, all->n++, id, id ? NULL : error);
        }
    }
    return true;
}

enum confab_error
confab_admin_provision(struct confab_client *c, const struct confab_new_user *users, size_t n,
                       void (*on_result)(void *arg, size_t i, uint64_t user_id, const char *error),
                       void *arg)
{
    struct results all = {.on_result = on_result, .arg = arg};
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("admin/users");
    bool ok = true;
    crest_body_begin(&w, &body);
    json_w_key(&w, "users");
    json_w_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_w_object(&w);
        ok = ok && crest_put_text(&w, "username", users[i].username) &&
             crest_put_text(&w, "password", users[i].password) &&
             crest_put_text(&w, "password_hash", users[i].password_hash) &&
             crest_put_text(&w, "display_name", users[i].display_name) &&
             crest_put_text(&w, "role", users[i].role);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    if (!ok) {
        return crest_not_utf8(c, &path, &body);
    }
    enum confab_error error = crest_object(c, "POST", &path, &body, true, read_results, &all);
    if (!error && all.n != n) {
        error = crest_fail(c, CONFAB_E_PROTOCOL, NULL);
    }
    return error;
}

/* ---- The server ---- */

static bool read_settings(struct json *j, struct span key, void *arg)
{
    struct confab_server_settings *s = arg;
    if (span_is(key, "registration")) {
        crest_read_text(j, s->registration, sizeof(s->registration));
    } else if (span_is(key, "server_name")) {
        crest_read_text(j, s->server_name, sizeof(s->server_name));
    } else {
        return false;
    }
    return true;
}

enum confab_error confab_admin_settings(struct confab_client *c, struct confab_server_settings *ret)
{
    struct buf path = crest_path("admin/settings");
    memset(ret, 0, sizeof(*ret));
    return crest_object(c, "GET", &path, NULL, true, read_settings, ret);
}

enum confab_error confab_admin_settings_set(struct confab_client *c, const char *registration,
                                            const char *server_name)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("admin/settings");
    crest_body_begin(&w, &body);
    bool ok = crest_put_text(&w, "registration", registration) &&
              crest_put_text(&w, "server_name", server_name);
    json_w_object_end(&w);
    return ok ? crest_call_only(c, "PATCH", &path, &body) : crest_not_utf8(c, &path, &body);
}

struct link {
    char *text;
    uint64_t expires_at_ms;
};

static bool read_link(struct json *j, struct span key, void *arg)
{
    struct link *l = arg;
    if (span_is(key, "link")) {
        crest_read_text(j, l->text, CONFAB_TOKEN_SIZE);
    } else if (span_is(key, "expires_at")) {
        json_time(j, &l->expires_at_ms);
    } else {
        return false;
    }
    return true;
}

enum confab_error confab_admin_link(struct confab_client *c, char ret[CONFAB_TOKEN_SIZE],
                                    uint64_t *ret_expires_at_ms)
{
    struct link l = {.text = ret};
    struct buf path = crest_path("admin/link");
    struct json_writer w;
    struct buf body;
    crest_body_begin(&w, &body);
    json_w_object_end(&w);
    ret[0] = '\0';
    enum confab_error error = crest_object(c, "POST", &path, &body, true, read_link, &l);
    if (!error && ret[0] == '\0') {
        error = crest_fail(c, CONFAB_E_PROTOCOL, NULL);
    }
    if (!error) {
        *ret_expires_at_ms = l.expires_at_ms;
    }
    return error;
}

/* ---- Audit ---- */

struct audit {
    void (*on_record)(void *arg, const struct confab_audit *record);
    void *arg;
};

static void read_record(struct json *j, void *arg)
{
    struct audit *all = arg;
    struct confab_audit r;
    struct span key;
    memset(&r, 0, sizeof(r));
    while (json_object_next(j, &key)) {
        if (span_is(key, "audit_id")) {
            json_id(j, &r.audit_id);
        } else if (span_is(key, "at")) {
            json_time(j, &r.at_ms);
        } else if (span_is(key, "actor")) {
            crest_read_text(j, r.actor, sizeof(r.actor));
        } else if (span_is(key, "action")) {
            crest_read_text(j, r.action, sizeof(r.action));
        } else if (span_is(key, "target")) {
            crest_read_text(j, r.target, sizeof(r.target));
        } else if (span_is(key, "detail")) {
            crest_read_text(j, r.detail, sizeof(r.detail));
        } else if (span_is(key, "address")) {
            crest_read_text(j, r.address, sizeof(r.address));
        } else {
            json_skip(j);
        }
    }
    if (json_ok(j) && r.audit_id != 0) {
        all->on_record(all->arg, &r);
    }
}

enum confab_error
confab_admin_audit(struct confab_client *c, uint64_t max,
                   void (*on_record)(void *arg, const struct confab_audit *record), void *arg)
{
    struct audit all = {on_record, arg};
    char path[64];
    snprintf(path, sizeof(path), "admin/audit?limit=%u", (unsigned)MIN(MAX(max, 1U), PAGE));
    return crest_each(c, path, "records", max, read_record, &all);
}
