/* What a send becomes, whichever way it came: the inputs of a message command. */
#ifndef CONFAB_GATEWAY_MESSAGE_H
#define CONFAB_GATEWAY_MESSAGE_H

#include "base/random.h"
#include "core/command.h"

struct message_input {
    struct span content;
    struct span client_msg_id; /* empty: one is made, which nobody can repeat */
    struct span mentions;      /* ids, each a varint */
    uint64_t reply_to;
};
/* Copies all of it into the command. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err message_fill(struct command *cmd, const struct message_input *in,
                                              struct random_source *random);

#endif
