/* Rules that several kinds share. Included by the files of this folder only. */
#ifndef CONFAB_CORE_KINDS_COMMON_H
#define CONFAB_CORE_KINDS_COMMON_H

#include "core/kind.h"

/* Direct: CONFAB_BLOCKED or CONFAB_FORBIDDEN when one of the two takes no messages from the other.
 */
enum confab_err kinds_check_blocks(const struct conv *c, uint64_t user);
/* May an active member bring new content? CONFAB_GONE: the other one's account was deleted. */
enum confab_err kinds_may_send(const struct conv *c, const struct member *me);
/* Adds the follow-up that tells the user's own conversation. */
enum confab_err kinds_tell_self(struct conv *c, const struct event *ev, uint64_t user,
                                enum followup_type type);
/* Self: adds follow-ups that end the memberships among n entries, as many as there is room for. */
enum confab_err kinds_leave_all(struct conv *c, const struct event *ev,
                                const struct self_entry *entries, uint32_t n);
/* Makes a user a member as of this event. */
enum confab_err kinds_enter(struct conv *c, const struct event *ev, uint64_t user, uint8_t role);
/* Ends a membership with this event, which the member still sees. */
enum confab_err kinds_exit(struct conv *c, const struct event *ev, uint64_t user);
/* Cuts at most `max` bytes at a character boundary into *out. */
enum confab_err kinds_set_text(struct buf *out, struct span text, size_t max);
/* UTF-8, not empty, no control characters, at most 255 characters. */
bool kinds_name_ok(struct span name);
uint32_t kinds_owners(const struct conv *c);
/* Self kinds: makes the conversation of a user who had none yet. */
enum confab_err kinds_open_self(struct conv *c, const struct event *ev);

#endif
