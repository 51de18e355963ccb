/* Calls about groups and their members. */
#include <confab/rest.h>

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "client/rest_internal.h"
#include "client/session_internal.h"

static struct buf path_group(const char *conv, const char *rest)
{
    struct buf b = crest_path("groups/");
    crest_path_text(&b, conv);
    buf_put_str(&b, rest);
    return b;
}

enum confab_error confab_group_create(struct confab_client *c, const char *name,
                                      const char *const *members, size_t n,
                                      char ret_conv[CONFAB_CONV_SIZE])
{
    struct json_writer w;
    struct buf body;
    struct buf path = crest_path("groups");
    bool valid = utf8_valid(name, strlen(name));
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "name", valid ? name : "");
    json_w_key(&w, "members");
    json_w_array(&w);
    for (size_t i = 0; i < n; i++) {
        valid = valid && utf8_valid(members[i], strlen(members[i]));
        json_w_cstr(&w, valid ? members[i] : "");
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    if (!valid) {
        buf_deinit(&path);
        buf_deinit(&body);
        return crest_bad_argument(c, "not UTF-8");
    }
    enum confab_error error = crest_call(c, "POST", &path, &body, true);
    if (error) {
        return error;
    }
    struct crest_answer a;
    struct span key;
    struct conv_id conv = {0, 0};
    if (crest_answer_begin(&a, &c->call.content) != CONFAB_OK) {
        chttp_reset(&c->call);
        return crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    while (json_object_next(&a.j, &key)) {
        if (span_is(key, "conversation_id")) {
            json_conv_id(&a.j, &conv);
        } else {
            json_skip(&a.j);
        }
    }
    error = crest_answer_end(c, &a, !conv_id_is_zero(conv));
    if (!error) {
        cdeliver_conv(conv, ret_conv);
    }
    return error;
}

enum confab_error confab_group_add(struct confab_client *c, const char *conv,
                                   const uint64_t *user_ids, size_t n)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_group(conv, "/members");
    crest_body_begin(&w, &body);
    json_w_key(&w, "user_ids");
    json_w_array(&w);
    for (size_t i = 0; i < n; i++) {
        json_w_id(&w, user_ids[i]);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    return crest_call_only(c, "POST", &path, &body);
}

enum confab_error confab_group_remove(struct confab_client *c, const char *conv, const char *user)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct buf path = path_group(conv, "/members/");
    crest_path_text(&path, user);
    return crest_call_only(c, "DELETE", &path, NULL);
}

enum confab_error confab_group_role(struct confab_client *c, const char *conv, const char *user,
                                    enum confab_role role)
{
    const char *name = wire_role_text((enum wire_role)role);
    if (!crest_is_conv(conv) || name[0] == '\0') {
        return crest_bad_argument(c, "not a conversation id, or not a role");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_group(conv, "/members/");
    crest_path_text(&path, user);
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "role", name);
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}

enum confab_error confab_group_rename(struct confab_client *c, const char *conv, const char *name)
{
    if (!crest_is_conv(conv) || !utf8_valid(name, strlen(name))) {
        return crest_bad_argument(c, "not a conversation id, or not UTF-8");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_group(conv, "");
    crest_body_begin(&w, &body);
    json_w_kcstr(&w, "name", name);
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}

enum confab_error confab_group_settings(struct confab_client *c, const char *conv,
                                        unsigned settings)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct json_writer w;
    struct buf body;
    struct buf path = path_group(conv, "");
    crest_body_begin(&w, &body);
    json_w_key(&w, "settings");
    wire_put_settings(&w, settings);
    json_w_object_end(&w);
    return crest_call_only(c, "PATCH", &path, &body);
}

static bool read_member(struct json *j, struct confab_member *ret)
{
    struct span key;
    struct span role;
    memset(ret, 0, sizeof(*ret));
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "user_id")) {
            json_id(j, &ret->user_id);
        } else if (span_is(key, "role") && json_string(j, &role)) {
            ret->role = (enum confab_role)wire_role_parse(role);
        } else if (span_is(key, "joined_at")) {
            if (!json_try_null(j)) {
                json_time(j, &ret->joined_at_ms);
            }
        } else {
            json_skip(j);
        }
    }
    return json_ok(j) && ret->user_id != 0;
}

enum confab_error
confab_group_members(struct confab_client *c, const char *conv,
                     void (*on_member)(void *arg, const struct confab_member *member), void *arg)
{
    if (!crest_is_conv(conv)) {
        return crest_bad_argument(c, "not a conversation id");
    }
    struct buf path = path_group(conv, "/members");
    enum confab_error error = crest_call(c, "GET", &path, NULL, true);
    if (error) {
        return error;
    }
    struct crest_answer a;
    struct span key;
    /* The handler may call: the answer must not be the client's any more. */
    size_t n;
    struct buf content;
    buf_init(&content);
    content.data = buf_detach(&c->call.content, &n);
    content.len = content.cap = n;
    chttp_reset(&c->call);
    if (crest_answer_begin(&a, &content) != CONFAB_OK) {
        buf_deinit(&content);
        return crest_fail(c, CONFAB_E_NOMEM, NULL);
    }
    bool found = false;
    while (json_object_next(&a.j, &key)) {
        if (!span_is(key, "members")) {
            json_skip(&a.j);
            continue;
        }
        found = json_array_begin(&a.j);
        struct confab_member m;
        while (json_array_next(&a.j)) {
            if (read_member(&a.j, &m)) {
                on_member(arg, &m);
            }
        }
    }
    bool ok = json_end(&a.j) && found;
    free(a.block);
    buf_deinit(&content);
    return ok ? CONFAB_E_OK : crest_fail(c, CONFAB_E_PROTOCOL, NULL);
}
