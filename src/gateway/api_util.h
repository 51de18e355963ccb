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

/*
 * The page that a list is asked for: `limit` (above max: max) and `cursor`, which is *ret_cursor,
 * empty for the first page. False: answered.
 */
bool api_page_read(struct api_request *r, uint32_t def, uint32_t max, uint32_t *ret_limit,
                   struct span *ret_cursor);
/* The same for lists whose cursor is an id; fills limit and at_id. */
bool api_page_by_id(struct api_request *r, uint32_t def, uint32_t max, struct command *cmd);
/* next_cursor (null when `next` is empty), has_more, hasMore. */
void api_put_page(struct json_writer *w, struct span next);
void api_put_page_id(struct json_writer *w, uint64_t next);
/* A number in the query; false when it is not there, *io_bad when it is none. */
bool api_number_arg(struct api_request *r, const char *name, uint64_t *io, bool *io_bad);

/* A text as a message may have it. False: answered, with the field's documented name. */
bool api_text_check(struct api_request *r, struct span text);
/* The direct conversation of two, or the one's own. */
struct conv_id api_chat_of(uint64_t user, uint64_t other);

/* The Idempotency-Key; *ret stays as it is without one. False: it is none, answered. */
bool api_key_read(struct api_request *r, struct span *ret);
/*
 * The Idempotency-Key of a request that ends in the engine: makes it the command's own key, so that
 * the engine does it once only. *ret_conv, unless NULL: a conversation id made from it. Without the
 * header both stay as they are. False: answered.
 */
bool api_use_key(struct api_request *r, struct command *cmd, struct conv_id *ret_conv);

/* True: the command failed, it is answered and both are freed. */
bool api_command_failed(struct shard *s, struct api_call *call, struct command *cmd);
/* Answers 200 with the conversation and seq of the event. */
void api_on_event(struct shard *s, struct api_call *call, struct command *cmd);

#endif
