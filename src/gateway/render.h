/* Stored events as the frames and objects of the interfaces (docs/api). Pure functions of values.
 */
#ifndef CONFAB_GATEWAY_RENDER_H
#define CONFAB_GATEWAY_RENDER_H

#include "base/buf.h"
#include "core/command.h"
#include "ports/directory.h"
#include "proto/wire.h"

/* Room for the longest lists of an event. */
struct render {
    struct wire_member members[EVENT_MEMBERS_MAX + 1];
    uint64_t mentions[EVENT_MENTIONS_MAX];
};

struct render_about {
    struct conv_id conv;
    uint8_t conv_kind;
    struct span name; /* of the conversation */
    uint64_t reader;  /* gets to see the client_msg_id of their own; 0: nobody's */
    bool short_names; /* render_message: each member under one name */
};
/* Appends the event's frame: what docs/api/socket.md has for its kind. */
void render_event(struct render *r, struct buf *b, const struct render_about *about,
                  const struct event *ev);
/* {"type":"message", …}: only for EVENT_MESSAGE. */
void render_short(struct buf *b, const struct render_about *about, const struct event *ev);
/* Of whom a conversation is shown to. */
struct render_own {
    uint64_t reader;
    uint64_t now_ms;
    const struct buf *drafts; /* the result of their COMMAND_LIST */
    uint32_t large_members; /* conversations with more tell how many messages they have; 0: none */
    bool reset;             /* a page's entry: whatever they know of it may be lost */
};
/* The draft in a conversation; p NULL for none. */
struct span render_draft_of(const struct buf *drafts, struct conv_id conv);
/* Of a message: enum message_type on the wire. */
const char *render_type_text(uint64_t type);
/* A page's entry, with its events. */
void render_snapshot(struct render *r, struct json_writer *w, struct buf *b,
                     const struct snapshot *snap, const struct render_own *own);
/* A conversation object of docs/api/rest.md; `with`: the names of the other person, or NULL. */
void render_conversation(struct json_writer *w, const struct snapshot *snap,
                         const struct dir_name *with, const struct render_own *own);
/* A message object of docs/api/rest.md, in a writer's array or alone; `of` is the
 * COMMAND_HISTORY or COMMAND_LOOKUP that it answers. */
void render_message(struct render *r, struct json_writer *w, const struct render_about *about,
                    const struct event *ev, const struct command *of);

#endif
