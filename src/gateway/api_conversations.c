/* What a person does with a conversation: read, mute, pin; and whom they block. */
#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/api_util.h"
#include "gateway/internal.h"

#define PAGE_MAX 1000U

/* ---- Read ---- */

static void on_read(struct shard *s, struct api_call *call, struct command *cmd)
{
    cmd->ret_conv = cmd->conv;
    cmd->ret_seq = cmd->to_seq;
    if (cmd->err == CONFAB_INVALID) {
        cmd->err_field = "seq"; /* above the head */
    }
    api_on_event(s, call, cmd);
}

static void conversation_read(struct api_request *r)
{
    struct json j;
    struct span key;
    struct conv_id conv;
    uint64_t seq = 0;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "seq")) {
            json_u64(&j, &seq);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (seq == 0) {
        api_fail(r, CONFAB_INVALID, "a seq from 1 is expected", "seq");
        return;
    }
    struct command *cmd = api_command(r, COMMAND_ACK, conv);
    if (cmd) {
        cmd->to_seq = seq;
        cmd->ack_read = true;
        api_run(r, cmd, on_read);
    }
}

/* ---- Mute, pin ---- */

static void conversation_mute(struct api_request *r)
{
    struct json j;
    struct span key;
    struct conv_id conv;
    uint64_t until = 0;
    bool seen = false;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "until")) {
            seen = json_try_null(&j) || json_time(&j, &until);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (!seen) {
        api_fail(r, CONFAB_INVALID, "a time or null is expected", "until");
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_MUTE);
    if (cmd) {
        cmd->in.conv = conv;
        cmd->in.value = until;
        api_run(r, cmd, api_on_event);
    }
}

static void conversation_pin(struct api_request *r)
{
    struct json j;
    struct span key;
    struct conv_id conv;
    bool pinned = false;
    bool seen = false;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "pinned")) {
            seen = json_bool(&j, &pinned);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j)) {
        return;
    }
    if (!seen) {
        api_fail(r, CONFAB_INVALID, "true or false is expected", "pinned");
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_PIN);
    if (cmd) {
        cmd->in.conv = conv;
        cmd->in.value = pinned;
        api_run(r, cmd, api_on_event);
    }
}

/* ---- Draft ---- */

static void on_draft(struct shard *s, struct api_call *call, struct command *cmd)
{
    if (cmd->err == CONFAB_EXISTS) { /* it is so already */
        cmd->err = CONFAB_OK;
        cmd->ret_conv = conv_id_self(call->user);
    }
    api_on_event(s, call, cmd);
}

/* False: answered. */
static bool draft_ok(struct api_request *r, bool seen, struct span draft)
{
    enum confab_err err = CONFAB_OK;
    const char *why = NULL;
    if (!seen) {
        err = CONFAB_INVALID;
        why = "a text or null is expected";
    } else if (draft.n > r->s->cfg.text_bytes_max) {
        err = CONFAB_TOO_LARGE;
        why = "the text is longer than this server takes";
    } else if (draft.n > 0 && memchr(draft.p, 0, draft.n)) {
        err = CONFAB_INVALID;
        why = "a text has no zero character";
    }
    if (err) {
        api_fail(r, err, why, "draft");
    }
    return !err;
}

static void conversation_patch(struct api_request *r)
{
    struct json j;
    struct span key;
    struct span draft = {0};
    struct conv_id conv;
    bool seen = false;
    if (!api_conv_arg(r, 0, &conv) || !api_body_begin(r, &j)) {
        return;
    }
    while (json_object_next(&j, &key)) {
        if (span_is(key, "draft")) {
            seen = json_try_null(&j) || json_string(&j, &draft);
        } else {
            json_skip(&j);
        }
    }
    if (!api_body_end(r, &j) || !draft_ok(r, seen, draft)) {
        return;
    }
    struct command *cmd = api_event_command(r, EVENT_DRAFT);
    if (!cmd) {
        return;
    }
    cmd->in.conv = conv;
    if (command_set_span(cmd, &cmd->in.text, draft)) {
        command_free(cmd);
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    api_run(r, cmd, on_draft);
}

/* ---- Block ---- */

static void on_blocked_found(struct shard *s, struct api_call *call, const struct user_lookup *l)
{
    if (l->err) {
        api_call_fail(s, call, l->err, NULL, NULL);
        return;
    }
    call->cmd->in.user = l->ids[0];
    api_call_send(s, call);
}

static void block(struct api_request *r, bool on)
{
    struct command *cmd = api_event_command(r, EVENT_BLOCK);
    if (cmd) {
        cmd->in.value = on;
        api_run_with_user(r, cmd, r->args[0], on_blocked_found, api_on_event);
    }
}

static void block_put(struct api_request *r)
{
    block(r, true);
}

static void block_delete(struct api_request *r)
{
    block(r, false);
}

static void on_blocks(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    uint64_t user = 0;
    uint8_t role;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_key(&w, "blocks");
    json_w_array(&w);
    while (event_members_next(&rd, &user, &role)) {
        json_w_object(&w);
        json_w_kid(&w, "user_id", user);
        json_w_object_end(&w);
    }
    json_w_array_end(&w);
    api_put_page_id(&w, cmd->more ? user : 0);
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, 200, &body);
}

static void blocks_get(struct api_request *r)
{
    struct command *cmd = api_command(r, COMMAND_BLOCKS, (struct conv_id){0});
    if (cmd && !api_page_by_id(r, PAGE_MAX, PAGE_MAX, cmd)) {
        command_free(cmd);
    } else if (cmd) {
        api_run(r, cmd, on_blocks);
    }
}

const struct api_route api_conversations[] = {
    {HTTP_POST, "/api/v1/conversations/{}/read", conversation_read, 0},
    {HTTP_PUT, "/api/v1/conversations/{}/mute", conversation_mute, 0},
    {HTTP_PUT, "/api/v1/conversations/{}/pin", conversation_pin, 0},
    {HTTP_PATCH, "/api/v1/conversations/{}", conversation_patch, 0},
    {HTTP_GET, "/api/v1/blocks", blocks_get, 0},
    {HTTP_PUT, "/api/v1/blocks/{}", block_put, 0},
    {HTTP_DELETE, "/api/v1/blocks/{}", block_delete, 0},
    {0},
};
