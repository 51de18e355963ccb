/* Calls about presence and privacy. */
#include <confab/rest.h>

#include <string.h>

#include "client/rest_internal.h"

static const char *const statuses[] = {"offline", "away", "online"};

static bool read_presence(struct json *j, struct span key, void *arg)
{
    struct confab_presence *p = arg;
    if (span_is(key, "user_id")) {
        json_id(j, &p->user_id);
    } else if (span_is(key, "status")) {
        char status[16] = "";
        crest_read_text(j, status, sizeof(status));
        for (unsigned i = 0; i < ARRAY_LEN(statuses); i++) {
            p->status =
                strcmp(status, statuses[i]) == 0 ? (enum confab_presence_status)i : p->status;
        }
    } else if (span_is(key, "last_seen")) {
        if (!json_try_null(j)) {
            json_time(j, &p->last_seen_ms);
        }
    } else {
        return false;
    }
    return true;
}

enum confab_error confab_presence_get(struct confab_client *c, const char *user,
                                      struct confab_presence *ret)
{
    struct confab_presence p = {0};
    if (user[0] == '\0') {
        return crest_bad_argument(c, "no user");
    }
    struct buf path = crest_path("users/");
    crest_path_text(&path, user);
    buf_put_str(&path, "/presence");
    enum confab_error error = crest_object(c, "GET", &path, NULL, true, read_presence, &p);
    if (!error && p.user_id == 0) {
        error = crest_fail(c, CONFAB_E_PROTOCOL, NULL);
    }
    if (!error) {
        *ret = p;
    }
    return error;
}

enum confab_error confab_presence_set(struct confab_client *c, enum confab_presence_status status)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("presence");
    if ((unsigned)status >= ARRAY_LEN(statuses)) {
        buf_deinit(&path);
        return crest_bad_argument(c, "no such status");
    }
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "status", statuses[status]);
    json_w_object_end(&w);
    return crest_call_only(c, "POST", &path, &body);
}

static bool read_user(struct json *j, struct span key, void *arg)
{
    struct confab_privacy *p = arg;
    if (!span_is(key, "privacy")) {
        return false;
    }
    struct span name;
    json_object_begin(j);
    while (json_object_next(j, &name)) {
        if (span_is(name, "online")) {
            json_bool(j, &p->online);
        } else if (span_is(name, "last_seen")) {
            json_bool(j, &p->last_seen);
        } else if (span_is(name, "read_receipts")) {
            json_bool(j, &p->read_receipts);
        } else {
            json_skip(j);
        }
    }
    return true;
}

enum confab_error confab_privacy_get(struct confab_client *c, struct confab_privacy *ret)
{
    struct confab_privacy p = {.online = true, .last_seen = true, .read_receipts = true};
    struct buf path = crest_path("users/me");
    enum confab_error error = crest_object(c, "GET", &path, NULL, true, read_user, &p);
    if (!error) {
        *ret = p;
    }
    return error;
}

enum confab_error confab_privacy_set(struct confab_client *c, const struct confab_privacy *privacy)
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("users/me");
    crest_body_begin(&w, &body);
    json_w_key(&w, "privacy");
    json_w_object(&w);
    json_w_kbool(&w, "online", privacy->online);
    json_w_kbool(&w, "last_seen", privacy->last_seen);
    json_w_kbool(&w, "read_receipts", privacy->read_receipts);
    json_w_object_end(&w);
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}
