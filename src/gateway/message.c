/* The content hash tells a repeated send from another one under the same key: it covers what the
 * reader would see, so both interfaces must come to the same value. */
#include "gateway/message.h"

#include "base/hash64.h"

enum confab_err message_fill(struct command *cmd, const struct message_input *in,
                             struct random_source *random)
{
    char made[ID_CONV_TEXT];
    struct span cmid = in->client_msg_id;
    if (cmid.n == 0) {
        struct conv_id id = {random_u64(random), random_u64(random)};
        conv_id_text(id, made);
        cmid = span_of(made, sizeof(made));
        cmd->fresh = true;
    }
    cmd->in.kind = EVENT_MESSAGE;
    cmd->in.type = MESSAGE_TEXT;
    cmd->in.target_id = in->reply_to;
    cmd->in.content_hash = hash64(in->content.p, in->content.n, in->reply_to);
    cmd->in.content_hash = hash64(in->mentions.p, in->mentions.n, cmd->in.content_hash);
    bool room = buf_reserve(&cmd->body, in->content.n + cmid.n + in->mentions.n);
    enum confab_err err = room ? command_set_span(cmd, &cmd->in.text, in->content) : CONFAB_NOMEM;
    if (!err) {
        err = command_set_span(cmd, &cmd->in.cmid, cmid);
    }
    if (!err && in->mentions.n > 0) {
        err = command_set_span(cmd, &cmd->in.mentions, in->mentions);
    }
    return err;
}
