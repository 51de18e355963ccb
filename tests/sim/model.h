/*
 * What must be true: a list of events for each conversation, as the engines published them or,
 * after a crash, as the log had them, and from these, by simple code of its own, who may see what.
 * It shares only the encoding of events with the core; rules, visibility and the patching of
 * messages are written a second time.
 */
#ifndef CONFAB_TESTS_SIM_MODEL_H
#define CONFAB_TESTS_SIM_MODEL_H

#include "base/hash.h"
#include "core/conv.h"
#include "core/engine.h"
#include "ports.h"
#include "sim.h"

#define MODEL_INTERVALS_MAX 12U

struct mevent {
    struct event ev; /* spans point into bytes */
    uint8_t *bytes;
    uint64_t *causes; /* seqs of later edits and deletions of this message, rising */
    uint32_t ncauses;
};

struct mmember {
    uint64_t user;
    uint8_t role;
    uint32_t nintervals;
    struct range intervals[MODEL_INTERVALS_MAX];
    uint64_t read_lo;      /* known to be durable */
    uint64_t delivered_lo; /* the same */
    uint64_t cursor_hi;    /* highest that was ever asked for or implied */
    uint64_t receipt_read; /* last that was told */
    uint64_t receipt_delivered;
};

/* Self: an entry of the list. */
struct mentry {
    struct conv_id conv;
    uint64_t src_seq;
    uint64_t since_ms;
    uint64_t muted;
    uint64_t draft; /* model_draft of the text */
    uint8_t kind;
    bool pinned;
    bool joined;
};
/* Self: what takes effect elsewhere, by a follow-up. `sure`: it has had the time. */
struct mhide {
    struct conv_id conv;
    uint64_t from;
    uint64_t to;
    bool sure;
};
struct mblock {
    uint64_t user;
    bool on;
    bool sure;
};

struct mconv {
    bool closed;   /* self: the account was deleted */
    uint32_t told; /* members that the last edit was published to */
    struct conv_id id;
    uint8_t kind;
    uint64_t settings;
    uint8_t name[EVENT_NAME_MAX];
    size_t name_len;
    struct mevent *events; /* seq 1 is the first */
    uint64_t head;
    uint64_t cap;
    uint64_t durable;         /* highest seq in the journal */
    uint64_t quiet_head;      /* when nothing was under way last */
    uint64_t version;         /* rises with every event, hide and block that concerns it */
    uint64_t members_version; /* rises when somebody may see more or less */
    struct mmember *members;
    uint32_t nmembers;
    /* self: */
    struct mentry *entries;
    uint32_t nentries;
    struct mhide *hides;
    uint32_t nhides;
    struct mblock *blocks;
    uint32_t nblocks;
};

struct model {
    struct sim *sim;
    struct idmap by_id;
    struct mconv **convs; /* in order of appearance */
    uint32_t nconvs;
    struct u64map ids; /* message id → conversation index + 1 */
    uint64_t quiet_ms;
};

struct model *model_new(struct sim *s);
void model_free(struct model *m);

/* The log's decorator saw it durable. */
void model_durable(struct model *m, const struct log_record *rec);
void model_published(struct model *m, uint16_t shard, const struct publication *pub);
void model_receipt(struct model *m, const struct receipt *receipt);
/* A record that turned out to be durable after a crash. */
void model_recovered(struct model *m, const struct journal_record *rec);
void model_down(struct model *m);
/* Nothing is under way: what follows from events has happened. */
void model_quiet(struct model *m);

struct mconv *model_conv(const struct model *m, struct conv_id id); /* NULL: unknown */
struct mconv *model_conv_make(struct model *m, struct conv_id id);
struct mmember *mconv_member(const struct mconv *c, uint64_t user); /* NULL: never one */
struct mmember *mconv_active(const struct mconv *c, uint64_t user);
uint32_t mconv_nactive(const struct mconv *c);
/* What is remembered of a draft; 0 for none. */
uint64_t model_draft(struct span text);
struct mentry *mconv_entry(const struct mconv *c, struct conv_id conv);
const struct mevent *mconv_event(const struct mconv *c, uint64_t seq);
/* The event with this id anywhere, and its conversation. */
const struct mevent *model_by_id(const struct model *m, uint64_t id, struct mconv **ret_conv);

enum sight { SIGHT_NO, SIGHT_MAYBE, SIGHT_YES };
/* May the user see the event? MAYBE: deleted for this user, and that is still on its way. */
enum sight model_sees(const struct model *m, const struct mconv *c, uint64_t user, uint64_t seq);
uint64_t mmember_first(const struct mmember *m);
uint64_t mmember_last(const struct mconv *c, const struct mmember *m);
/* Is sending to a direct conversation refused because one of the two blocks? */
enum sight model_blocked(const struct model *m, const struct mconv *c);

/*
 * Does the event look as it must, given that a reader saw some state of the conversation with a
 * head from `lo` to `hi`? Returns what is wrong, or NULL.
 */
const char *mconv_wrong(const struct mconv *c, const struct event *ev, uint64_t lo, uint64_t hi);
/* A message as it is after its first n causes. */
void mconv_message(const struct mconv *c, const struct mevent *e, uint32_t ncauses,
                   struct event *ret);

/*
 * What a request must come to in the present state: CONFAB_OK, an error, or CONFAB_AGAIN when both
 * are right because something is still on its way. `in` as in a command.
 */
enum confab_err model_judge(const struct model *m, const struct mconv *c, uint64_t actor,
                            const struct event *in);

#endif
