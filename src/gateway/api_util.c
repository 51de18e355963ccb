/* Commands of REST calls. */
#include "gateway/api_util.h"

#include "gateway/internal.h"

struct command *api_command(struct api_request *r, enum command_type type, struct conv_id conv)
{
    struct command *cmd = command_new(type);
    if (!cmd) {
        api_fail(r, CONFAB_NOMEM, NULL, NULL);
        return NULL;
    }
    cmd->actor = r->user;
    cmd->conv = conv;
    cmd->begun_ns = r->s->now_ns;
    return cmd;
}

struct command *api_event_command(struct api_request *r, uint8_t kind)
{
    struct command *cmd = api_command(r, COMMAND_EVENT, (struct conv_id){0});
    if (cmd) {
        cmd->in.kind = kind;
    }
    return cmd;
}

static struct api_call *call_with(struct api_request *r, struct command *cmd,
                                  api_on_command on_command)
{
    struct api_call *call = cmd ? api_call_new(r) : NULL;
    if (!call) {
        command_free(cmd);
        return NULL;
    }
    call->cmd = cmd;
    call->on_command = on_command;
    return call;
}

void api_run(struct api_request *r, struct command *cmd, api_on_command on_command)
{
    struct api_call *call = call_with(r, cmd, on_command);
    if (call) {
        api_call_send(r->s, call);
    }
}

void api_run_with_user(struct api_request *r, struct command *cmd, struct span user,
                       api_on_found on_found, api_on_command on_command)
{
    struct user_lookup *l = user_lookup_new(1);
    char me[ID_NUM_TEXT];
    enum confab_err err = CONFAB_NOMEM;
    if (l && span_is(user, "me")) {
        user = span_of(me, id_text(r->user, me));
    }
    if (l) {
        err = user_lookup_add(l, user);
    }
    if (err) {
        user_lookup_free(l);
        command_free(cmd);
        api_fail(r, err, NULL, NULL);
        return;
    }
    struct api_call *call = call_with(r, cmd, on_command);
    if (!call) {
        user_lookup_free(l);
        return;
    }
    call->on_lookup = on_found;
    api_call_lookup(r->s, call, l);
}

bool api_command_failed(struct shard *s, struct api_call *call, struct command *cmd)
{
    enum confab_err err = cmd->err;
    const char *field = cmd->err_field;
    if (!err) {
        return false;
    }
    command_free(cmd);
    api_call_fail(s, call, err, NULL, field);
    return true;
}

void api_on_event(struct shard *s, struct api_call *call, struct command *cmd)
{
    struct buf body = {0};
    struct json_writer w;
    if (api_command_failed(s, call, cmd)) {
        return;
    }
    json_w_init(&w, &body);
    json_w_object(&w);
    json_w_kconv_id(&w, "conversation_id", cmd->ret_conv);
    json_w_ku64(&w, "seq", cmd->ret_seq);
    json_w_object_end(&w);
    command_free(cmd);
    api_call_answer(s, call, 200, &body);
}
