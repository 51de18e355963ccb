/* The devices that are signed in: list, rename, sign out. */
#include <stdlib.h>

#include "gateway/api_directory.h"
#include "gateway/internal.h"

static void put_device(struct json_writer *w, const struct dir_device *d, uint64_t current)
{
    json_w_object(w);
    json_w_kid(w, "device_id", d->device_id);
    json_w_kcstr(w, "name", d->name);
    json_w_kbool(w, "current", d->device_id == current);
    json_w_ktime(w, "created_at", d->created_ms);
    json_w_ktime(w, "last_used_at", MAX(d->last_used_ms, d->created_ms));
    json_w_kcstr(w, "last_address", d->last_address);
    json_w_object_end(w);
}

static void on_list(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "devices");
    json_w_array(&w);
    for (uint32_t i = 0; i < req->ret_ndevices; i++) {
        put_device(&w, &req->ret_devices[i], call->device);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void device_list(struct api_request *r)
{
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_DEVICE_LIST, on_list) : NULL;
    if (a) {
        a->dir.req.user_id = r->user;
        api_dir_submit(r->s, a);
    }
}

static void on_renamed(struct shard *s, struct api_call *call, struct dir_request *req)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    json_w_init(&w, &body);
    put_device(&w, &req->device, call->device);
    api_call_answer(s, call, 200, &body);
}

static void device_rename(struct api_request *r)
{
    char name[DIR_DEVICE_NAME_BYTES + 1] = "";
    struct json j;
    struct span key;
    uint64_t device;
    bool given = false;
    bool good = true;
    if (!api_id_arg(r, 0, &device) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "name")) {
            good = api_text(&j, DEVICE_CHARS_MAX, name, sizeof(name));
            given = true;
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (!given || !good) {
        api_fail(r, CONFAB_INVALID, "up to 50 characters are expected", "name");
        return;
    }
    struct api_call *call = api_call_new(r);
    struct api_dir *a = call ? api_dir_new(r->s, call, DIR_DEVICE_RENAME, on_renamed) : NULL;
    if (a) {
        a->dir.req.user_id = r->user;
        a->dir.req.device_id = device;
        memcpy(a->dir.req.device.name, name, sizeof(name));
        api_dir_submit(r->s, a);
    }
}

static void on_revoked(struct shard *s, struct api_call *call, struct dir_request *req)
{
    if (!api_dir_failed(s, call, req)) {
        api_revoke(s, call, call->user, &call->number, 1, api_then_done);
    }
}

static void device_revoke(struct api_request *r)
{
    uint64_t device;
    struct api_call *call = api_id_arg(r, 0, &device) ? api_call_new(r) : NULL;
    if (!call) {
        return;
    }
    call->number = device;
    api_call_address(r, call);
    struct api_dir *a = api_dir_new(r->s, call, DIR_DEVICE_REVOKE, on_revoked);
    if (a) {
        a->dir.req.user_id = r->user;
        a->dir.req.device_id = device;
        api_dir_audit(r->s, a, "device.revoke", device, NULL);
        api_dir_submit(r->s, a);
    }
}

const struct api_route api_devices[] = {
    {HTTP_GET, "/api/v1/devices", device_list, 0},
    {HTTP_PATCH, "/api/v1/devices/{}", device_rename, 0},
    {HTTP_DELETE, "/api/v1/devices/{}", device_revoke, 0},
    {0},
};
