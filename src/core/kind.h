/*
 * A kind of event: its two pure functions, in one file each below src/core/kinds. To add a kind: a
 * number in event.h, a file with its struct event_kind, a row in kinds.c, and its frame in the
 * gateway.
 */
#ifndef CONFAB_CORE_KIND_H
#define CONFAB_CORE_KIND_H

#include "core/command.h"
#include "core/conv.h"
#include "core/event.h"

enum kind_flags {
    /*
     * May be decided while earlier events of these kinds are not durable yet: its decide reads
     * nothing that its fold, or that of another such kind, changes. All others wait for each other.
     */
    KIND_PIPELINED = 1,
    KIND_COUNTS = 2,  /* a message: raises ord, unread, inbox order */
    KIND_TARGET = 4,  /* decide needs the event that target_id names, or is refused */
    KIND_REPLY = 8,   /* decide needs the event that target_id names, if it is not 0 */
    KIND_SELF = 16,   /* lives in the actor's own conversation */
    KIND_PATCHES = 32 /* changes what earlier events show, see event_patch */
};

/* What was loaded for a decision. */
struct facts {
    uint64_t now_ms;
    uint64_t edit_window_ms;    /* how long a message may be edited; 0: always */
    const struct event *target; /* NULL: does not exist, or the actor may not see it */
};

struct event_kind {
    uint8_t id;
    const char *name;
    unsigned flags;
    /*
     * Fills *out except for seq, ord, id, kind and actor, or refuses and may name the field. Spans
     * of *out may point into the command, the target or `scratch`. Pure.
     */
    enum confab_err (*decide)(const struct conv *c, const struct command *cmd,
                              const struct facts *facts, struct event *out, struct buf *scratch,
                              const char **ret_field);
    /* Changes the state; fails only with CONFAB_NOMEM. Pure. */
    enum confab_err (*fold)(struct conv *c, const struct event *ev);
};

/* NULL for an unknown kind. */
const struct event_kind *event_kind_of(uint8_t id);

/* Rules and fold of whole events: what is common to all kinds, then the kind's own. */
CONFAB_NODISCARD enum confab_err conv_decide(const struct conv *c, const struct command *cmd,
                                             const struct facts *facts, struct event *out,
                                             struct buf *scratch, const char **ret_field);
/*
 * CONFAB_VERSION: unknown kind, written by a newer program. CONFAB_CORRUPT: seq does not follow.
 * After any error the state must not be used further.
 */
CONFAB_NODISCARD enum confab_err conv_fold(struct conv *c, const struct event *ev);

/*
 * How `cause` changes what an earlier event shows: rewrites the fields of *victim (its spans may
 * then point into `cause`). False when it does not concern that event.
 */
bool event_patch(const struct event *cause, struct event *victim);
/*
 * An edit of a message that the member may not see shows nothing of it: takes the content out of
 * *ev and returns true.
 */
bool event_blank_for(struct event *ev, const struct member *m);
/* The seqs that `cause` patches, at most 2; returns their number. */
int event_patch_targets(const struct event *cause, uint64_t ret_seqs[2]);

extern const struct event_kind kind_create, kind_message, kind_edit, kind_delete, kind_add,
    kind_remove, kind_leave, kind_role, kind_rename, kind_settings, kind_joined, kind_left,
    kind_mute, kind_pin, kind_block, kind_hide, kind_close, kind_draft;

#endif
