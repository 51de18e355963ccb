/*
 * Simulated people. They do everything that may be done, try what may not be done, retry with the
 * same key what they got no answer to, and compare every answer with the model.
 */
#ifndef CONFAB_TESTS_SIM_USERS_H
#define CONFAB_TESTS_SIM_USERS_H

#include "base/list.h"
#include "core/command.h"
#include "model.h"
#include "sim.h"

/* One thing that somebody wants to become an event, known by the number at the head of its text. */
struct intent {
    uint64_t user;
    struct conv_id conv;
    uint64_t peer;
    uint8_t kind;
    bool probe;      /* sent when nothing may stand in its way */
    bool keyed;      /* has a client_msg_id, so that it may be tried again */
    bool answered;   /* the user knows the result */
    bool gone;       /* refused for good, given up */
    uint32_t open;   /* attempts that may still take effect */
    uint32_t flying; /* attempts without an answer yet */
    uint64_t seq;    /* of the event it became, 0: none */
    uint64_t id;
    uint64_t reply_to;
    struct buf text;
    struct buf mentions;
};

/* What the model held when a command reached its owner. */
struct seen_conv {
    struct mconv *conv; /* NULL: unknown to the model */
    uint64_t head;
    uint64_t version;
    uint64_t members_version;
    uint64_t read_lo;
    uint64_t delivered_lo;
};

/* A command under way. */
struct uop {
    struct list link;
    uint32_t user;   /* index */
    uint64_t intent; /* number; 0: none */
    bool retry;
    bool was_done; /* a retry of something that had become an event when it was sent */
    bool misuse;   /* a key used for other content */
    bool arrived;
    struct seen_conv seen;
    struct seen_conv *items; /* of a resume */
    struct device *device;
};

/* What one device knows of one conversation. */
struct known {
    struct conv_id conv;
    uint64_t head; /* last visible seq */
    uint64_t read;
    uint64_t delivered;
    bool mark; /* in the answer of the resume under way */
};

/* One device: it has a token and comes back with it. */
struct device {
    uint32_t user;
    uint64_t token_ms; /* 0: none */
    struct known *known;
    uint32_t nknown;
    bool busy;
    bool with_have; /* this time it tells what it has */
    bool failed;
    bool asked; /* for the conversations; before, it waits for the list */
    uint64_t closed_ms;
    uint32_t pending;
    struct command *list;
    struct list answers; /* commands */
};

struct users {
    struct sim *sim;
    uint32_t n;
    uint64_t ids[SIM_USERS_MAX];
    uint32_t flying[SIM_USERS_MAX];
    struct device devices[SIM_USERS_MAX];
    struct list ops;
    struct intent **intents; /* by number - 1 */
    uint64_t nintents;
    uint64_t *again; /* numbers of keyed intents without an answer */
    uint32_t nagain;
    uint32_t convs_made;
};

struct users *users_new(struct sim *s, uint32_t n);
void users_free(struct users *u);

/* Somebody does something. */
void users_act(struct sim *s);
/* What has no answer yet is tried again. */
void users_retry_all(struct sim *s);
/* Everybody who may sends one message somewhere: it must be taken. */
void users_probe(struct sim *s);
uint32_t users_of_command(const struct command *cmd);
/* The command is about to reach its owner, has been answered there, has come back to its user. */
void users_check_submit(struct sim *s, struct command *cmd);
void users_check_answer(struct sim *s, struct command *cmd);
void users_answer(struct sim *s, struct command *cmd);
/* An event exists. */
void users_saw_event(struct sim *s, const struct mconv *c, const struct event *ev);
/* The server died: what had no answer has none. Then: the log has told what became of it. */
void users_lost(struct users *u);
void users_settled(struct users *u);

/* For the other files of this folder: */
struct command *users_command(struct sim *s, uint32_t user, enum command_type type);
struct uop *uop_of(const struct command *cmd);
void uop_see(struct sim *s, struct seen_conv *seen, struct conv_id conv, uint64_t user);
void uop_free(struct users *u, struct uop *op);
uint32_t users_index(const struct users *u, uint64_t id);
bool users_transient(const struct sim *s, enum confab_err err);
uint64_t users_any_peer(struct sim *s, uint32_t not_user);

/* device.c */
void device_resume(struct sim *s, uint32_t user);
void device_answer(struct sim *s, struct command *cmd);
void device_lost(struct device *d);
void device_deinit(struct device *d);

/* verify.c: answers of reads, as they are given. */
void verify_history(struct sim *s, const struct uop *op, const struct command *cmd);
void verify_list(struct sim *s, const struct command *cmd);
void verify_members(struct sim *s, const struct uop *op, const struct command *cmd);
void verify_lookup(struct sim *s, const struct uop *op, const struct command *cmd);
void verify_snapshot(struct sim *s, uint64_t user, const struct seen_conv *seen,
                     const struct snapshot *snap);

#endif
