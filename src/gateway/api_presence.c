/* Presence without a socket: how somebody is, and saying so oneself. */
#include "gateway/api.h"
#include "gateway/internal.h"
#include "gateway/watch.h"

static void on_name(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, NULL, NULL);
    } else {
        watch_ask(s, call, l->ids[0]);
    }
}

/* An id of nobody is answered like one who may not be seen. */
static void presence_get_one(struct api_request *r)
{
    uint64_t user = 0;
    enum user_found found = USER_HERE;
    if (span_is(r->args[0], "me")) {
        user = r->user;
    } else if (!id_parse(r->args[0], &user)) {
        found = users_find(r->s, r->args[0], &user);
    }
    if (found == USER_ABSENT) {
        api_fail(r, CONFAB_NOT_FOUND, NULL, NULL);
        return;
    }
    struct api_call *call = api_call_new(r);
    if (!call) {
        return;
    }
    if (found == USER_HERE) {
        watch_ask(r->s, call, user);
        return;
    }
    struct user_lookup *l = user_lookup_new(1);
    enum confab_err err = l ? user_lookup_add(l, r->args[0]) : CONFAB_NOMEM;
    if (err) {
        user_lookup_free(l);
        api_call_fail(r->s, call, err, NULL, NULL);
        return;
    }
    call->on_lookup = on_name;
    api_call_lookup(r->s, call, l);
}

struct post {
    uint64_t device;
    enum presence_status status;
    bool has_status;
};

/* False: answered. */
static bool post_read(struct api_request *r, struct post *ret)
{
    struct json j;
    struct span key;
    struct span v;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "status")) {
            ret->has_status = json_string(&j, &v) && presence_parse(v, &ret->status);
        } else if (span_is(key, "device_id") && !json_try_null(&j)) {
            json_id(&j, &ret->device);
        } else if (!span_is(key, "device_id")) {
            json_skip(&j);
        }
    }
    return api_body_end(r, &j);
}

static void presence_post_own(struct api_request *r)
{
    struct post post = {.device = r->device};
    if (!post_read(r, &post)) {
        return;
    }
    if (!post.has_status) {
        api_fail(r, CONFAB_INVALID, "online, away or offline", "status");
        return;
    }
    if (post.device != r->device) {
        api_fail(r, CONFAB_FORBIDDEN, "not the device of this token", "device_id");
        return;
    }
    struct api_call *call = api_call_new(r);
    if (call) {
        presence_note_post(r->s, r->user, post.device, post.status);
        api_call_done(r->s, call, span_of(NULL, 0));
    }
}

const struct api_route api_presence[] = {
    {HTTP_GET, "/api/v1/users/{}/presence", presence_get_one, 0},
    {HTTP_POST, "/api/v1/presence", presence_post_own, 0},
    {0},
};
