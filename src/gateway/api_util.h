/* What the handlers of api_*.c share: commands, and their common answers. */
#ifndef CONFAB_GATEWAY_API_UTIL_H
#define CONFAB_GATEWAY_API_UTIL_H

#include "gateway/api.h"

typedef void (*api_on_command)(struct shard *s, struct api_call *call, struct command *cmd);
typedef void (*api_on_found)(struct shard *s, struct api_call *call, const struct user_lookup *l);

/* A command of the signed-in user; NULL (and answered) when out of memory. */
struct command *api_command(struct api_request *r, enum command_type type, struct conv_id conv);
/* COMMAND_EVENT of a kind; conv and the rest are the caller's to fill. */
struct command *api_event_command(struct api_request *r, uint8_t kind);

/* Sends a command (NULL: was answered already) and lets on_command answer. */
void api_run(struct api_request *r, struct command *cmd, api_on_command on_command);
/* The same once the user (id, name or "me") is known: on_found completes and sends the command. */
void api_run_with_user(struct api_request *r, struct command *cmd, struct span user,
                       api_on_found on_found, api_on_command on_command);

/* True: the command failed, it is answered and both are freed. */
bool api_command_failed(struct shard *s, struct api_call *call, struct command *cmd);
/* Answers 200 with the conversation and seq of the event. */
void api_on_event(struct shard *s, struct api_call *call, struct command *cmd);

#endif
