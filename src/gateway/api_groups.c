/* Groups: create, members, roles, name and settings. */
#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/api_directory.h"
#include "gateway/api_util.h"
#include "gateway/internal.h"

#define MEMBERS_MAX EVENT_MEMBERS_MAX

/* ---- Lists of people ---- */

/* Adds the strings of an array to the look-up; what cannot exist is remembered in *io_err. */
static void read_people(struct json *j, struct user_lookup *l, enum confab_err *io_err)
{
    struct span v;
    if (!json_array_begin(j)) {
        return;
    }
    while (json_array_next(j)) {
        if (!json_string(j, &v)) {
            return;
        }
        if (l->n >= MEMBERS_MAX) {
            *io_err = CONFAB_TOO_LARGE;
        } else if (!*io_err) {
            *io_err = user_lookup_add(l, v);
        }
    }
}

static int id_cmp(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* The found ids, rising and each once, as the command's member list. */
static enum confab_err members_fill(struct command *cmd, const struct user_lookup *l)
{
    struct buf list = {0};
    qsort(l->ids, l->n, sizeof(*l->ids), id_cmp);
    for (uint32_t i = 0; i < l->n; i++) {
        if (i == 0 || l->ids[i] != l->ids[i - 1]) {
            event_members_add(&list, l->ids[i], ROLE_MEMBER);
        }
    }
    enum confab_err err = buf_ok(&list) ? CONFAB_OK : CONFAB_NOMEM;
    if (!err && list.len > 0) {
        err = command_set_span(cmd, &cmd->in.members, span_of(list.data, list.len));
    }
    buf_deinit(&list);
    return err;
}

static void on_members_found(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    enum confab_err err = l->err ? l->err : members_fill(call->cmd, l);
    for (uint32_t i = 0; i < l->n && !err; i++) {
        err = l->deleted[i] ? CONFAB_GONE : CONFAB_OK;
    }
    if (err) {
        api_call_fail(s, call, err, err == CONFAB_NOT_FOUND ? "no such user" : NULL, "members");
        return;
    }
    api_call_send(s, call);
}

/* Sends the command of the call when all people of the look-up are known. Takes `l` over. */
static void send_with_people(struct api_request *r, struct command *cmd, struct user_lookup *l,
                             api_on_command on_command)
{
    struct api_call *call = api_call_new(r);
    if (!call) {
        command_free(cmd);
        user_lookup_free(l);
        return;
    }
    call->cmd = cmd;
    call->on_command = on_command;
    call->on_lookup = on_members_found;
    api_call_lookup(r->s, call, l);
}

static void people_fail(struct api_request *r, enum confab_err err, const char *field)
{
    api_fail(r, err, err == CONFAB_NOT_FOUND ? "no such user" : NULL, field);
}

/* ---- POST /groups ---- */

static void on_group_created(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kconv_id(&w, "group_id", cmd->ret_conv);
    json_w_kconv_id(&w, "conversation_id", cmd->ret_conv);
    json_w_ktime(&w, "created_at", message_id_time_ms(cmd->ret_id));
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, 201, &body);
}

static void group_create(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span name = {0};
    enum confab_err people = CONFAB_OK;
    uint32_t settings = 0;
    if (!api_body_begin(r, &j)) {
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_CREATE);
    struct user_lookup *l = cmd ? user_lookup_new(MEMBERS_MAX) : NULL;
    if (!l) {
        command_free(cmd);
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "name")) {
            json_string(&j, &name);
        } else if (span_is(key, "member_ids") || span_is(key, "members")) {
            if (!json_try_null(&j)) {
                read_people(&j, l, &people);
            }
        } else if (span_is(key, "settings")) {
            wire_read_settings(&j, &settings);
        } else {
            json_skip(&j);
        }
    }
    bool ok = api_body_end(r, &j);
    enum confab_err err = ok ? command_set_span(cmd, &cmd->in.text, name) : CONFAB_INVALID;
    if (ok && (name.n == 0 || name.n > EVENT_NAME_MAX)) {
        api_fail(r, CONFAB_INVALID, "1 to 255 characters", "name");
    } else if (ok && people) {
        people_fail(r, people, "members");
    } else if (ok && err) {
        api_fail(r, err, NULL, NULL);
    } else if (ok) {
        cmd->conv = (struct conv_id){random_u64(r->s->deps.random), random_u64(r->s->deps.random)};
        cmd->in.value = settings;
        if (api_use_key(r, cmd, &cmd->conv)) {
            send_with_people(r, cmd, l, on_group_created);
            return;
        }
    }
    command_free(cmd);
    user_lookup_free(l);
}

/* ---- /groups/{id}/members ---- */

static void on_member_names(struct shard *s, struct api_call *call, struct dir_request *req)
{
    const struct command *cmd = call->kept;
    struct buf body = {0};
    struct json_writer w;
    uint64_t user = 0;
    uint8_t role;
    if (api_dir_failed(s, call, req)) {
        return;
    }
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "members");
    json_w_array(&w);
    for (uint32_t i = 0; event_members_next(&rd, &user, &role); i++) {
        json_w_object(&w);
        json_w_kid(&w, "user_id", user);
        api_put_names(&w, i < req->ret_nnames ? &req->ret_names[i] : NULL);
        json_w_kcstr(&w, "role", wire_role_text((enum wire_role)role));
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    json_w_ku64(&w, "count", cmd->ret_count);
    api_put_page_id(&w, cmd->more ? user : 0);
    json_w_object_end(&w);
    api_call_answer(s, call, 200, &body);
}

static void on_members_listed(struct shard *s, struct api_call *call, struct command *cmd)
{
    uint64_t user;
    uint8_t role;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    call->kept = cmd;
    struct api_names *names = api_names_new(s, call, MEMBERS_MAX, on_member_names);
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    while (names && event_members_next(&rd, &user, &role)) {
        api_names_add(names, user);
    }
    if (names) {
        api_names_submit(s, names);
    }
}

static void members_get(struct api_request *r)
{
    struct conv_id conv;
    struct command *cmd = api_conv_arg(r, 0, &conv) ? api_command(r, COMMAND_MEMBERS, conv) : NULL;
    if (cmd && !api_page_by_id(r, MEMBERS_MAX, MEMBERS_MAX, cmd)) {
        command_free(cmd);
    } else if (cmd) {
        api_run(r, cmd, on_members_listed);
    }
}

static void members_add(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span v;
    struct conv_id conv;
    enum confab_err people = CONFAB_OK;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_ADD);
    struct user_lookup *l = cmd ? user_lookup_new(MEMBERS_MAX) : NULL;
    if (!l) {
        command_free(cmd);
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    cmd->conv = conv;
    while (json_object_next(&j, &key)) {
        if (span_is(key, "user_id")) {
            if (json_string(&j, &v) && !people) {
                people = l->n < MEMBERS_MAX ? user_lookup_add(l, v) : CONFAB_TOO_LARGE;
            }
        } else if (span_is(key, "user_ids")) {
            read_people(&j, l, &people);
        } else {
            json_skip(&j);
        }
    }
    bool ok = api_body_end(r, &j);
    if (ok && people) {
        people_fail(r, people, "user_ids");
    } else if (ok && l->n == 0) {
        api_fail(r, CONFAB_INVALID, "user_id or user_ids is expected", "user_id");
    } else if (ok && api_use_key(r, cmd, NULL)) {
        send_with_people(r, cmd, l, api_on_event);
        return;
    }
    command_free(cmd);
    user_lookup_free(l);
}

/* ---- /groups/{id}/members/{user} ---- */

/* The member who is meant is known. */
static void on_member_found(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, NULL, NULL);
        return;
    }
    call->cmd->in.user = l->ids[0];
    if (call->cmd->in.kind == EVENT_REMOVE && l->ids[0] == call->user) {
        call->cmd->in.kind = EVENT_LEAVE;
        call->cmd->in.user = 0;
    }
    api_call_send(s, call);
}

static void member_remove(struct api_request *r)
{
    struct conv_id conv;
    struct command *cmd = api_conv_arg(r, 0, &conv) ? api_event_command(r, EVENT_REMOVE) : NULL;
    if (cmd) {
        cmd->conv = conv;
        api_run_with_user(r, cmd, r->args[1], on_member_found, api_on_event);
    }
}

static void group_leave(struct api_request *r)
{
    struct conv_id conv;
    struct command *cmd = api_conv_arg(r, 0, &conv) ? api_event_command(r, EVENT_LEAVE) : NULL;
    if (cmd) {
        cmd->conv = conv;
        api_run(r, cmd, api_on_event);
    }
}

static void member_role(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span v;
    struct conv_id conv;
    enum wire_role role = WIRE_ROLE_NONE;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "role") && json_peek(&j) == JSON_STRING) {
            if (json_string(&j, &v)) {
                role = wire_role_parse(v);
            }
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (role == WIRE_ROLE_NONE) {
        api_fail(r, CONFAB_INVALID, "owner, admin, moderator, member or guest", "role");
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_ROLE);
    if (cmd) {
        cmd->conv = conv;
        cmd->in.value = (uint64_t)role;
        api_run_with_user(r, cmd, r->args[1], on_member_found, api_on_event);
    }
}

/* ---- PATCH /groups/{id} ---- */

/* The name is changed, the settings still are to be. */
static void on_renamed(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    cmd->in.kind = EVENT_SETTINGS;
    cmd->in.value = call->number;
    cmd->in.text = span_of(NULL, 0);
    call->cmd = cmd;
    call->on_command = api_on_event;
    api_call_send(s, call);
}

struct group_change {
    struct span name;
    bool has_name;
    bool has_settings;
    uint32_t settings;
};

/* All three settings have to be there: only then is the result the same whatever they were. */
static bool read_settings(struct json *j, uint32_t *ret)
{
    struct span raw;
    struct json a;
    struct json b;
    uint32_t low = 0;
    uint32_t high = SETTINGS_ALL;
    if (!json_raw(j, &raw)) {
        return false;
    }
    json_init(&a, raw, j->scratch);
    json_init(&b, raw, j->scratch);
    wire_read_settings(&a, &low);
    wire_read_settings(&b, &high);
    if (!json_end(&a) || !json_end(&b) || low != high) {
        json_fail(j, "settings needs history, send and invite");
        return false;
    }
    *ret = low;
    return true;
}

static bool group_change_read(struct api_request *r, struct group_change *c)
{
    struct json j;
    struct span key;
    if (!api_body_begin(r, &j)) {
        return false;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "name")) {
            c->has_name = json_string(&j, &c->name);
        } else if (span_is(key, "settings")) {
            c->has_settings = read_settings(&j, &c->settings);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return false;
    }
    if (c->has_name && (c->name.n == 0 || c->name.n > EVENT_NAME_MAX)) {
        api_fail(r, CONFAB_INVALID, "1 to 255 characters", "name");
        return false;
    }
    if (!c->has_name && !c->has_settings) {
        api_fail(r, CONFAB_INVALID, "name or settings is expected", NULL);
        return false;
    }
    return true;
}

static void group_patch(struct api_request *r)
{
    struct group_change c = {0};
    struct conv_id conv;
    if (!api_conv_arg(r, 0, &conv) || !group_change_read(r, &c)) {
        return;
    }
    struct command *cmd = api_event_command(r, c.has_name ? EVENT_RENAME : EVENT_SETTINGS);
    if (!cmd) {
        return;
    }
    cmd->conv = conv;
    cmd->in.value = c.has_name ? 0 : c.settings;
    if (c.has_name && command_set_span(cmd, &cmd->in.text, c.name)) {
        command_free(cmd);
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    struct api_call *call = api_call_new(r);
    if (!call) {
        command_free(cmd);
        return;
    }
    call->cmd = cmd;
    call->number = c.settings;
    call->on_command = c.has_name && c.has_settings ? on_renamed : api_on_event;
    api_call_send(r->s, call);
}

const struct api_route api_groups[] = {
    {HTTP_POST, "/api/v1/groups", group_create, API_OWN_KEY},
    {HTTP_PATCH, "/api/v1/groups/{}", group_patch, 0},
    {HTTP_POST, "/api/v1/groups/{}/leave", group_leave, 0},
    {HTTP_GET, "/api/v1/groups/{}/members", members_get, 0},
    {HTTP_POST, "/api/v1/groups/{}/members", members_add, API_OWN_KEY},
    {HTTP_DELETE, "/api/v1/groups/{}/members/{}", member_remove, 0},
    {HTTP_PATCH, "/api/v1/groups/{}/members/{}", member_role, 0},
    {0},
};
