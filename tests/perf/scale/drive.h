/* Drives a rig: fills it, keeps conversations talking, reads them back. See main.c. */
#ifndef CONFAB_TESTS_SCALE_DRIVE_H
#define CONFAB_TESTS_SCALE_DRIVE_H

#include "model.h"
#include "rig.h"

struct options {
    struct rig_config rig;
    uint64_t conversations;
    uint64_t users;
    uint64_t messages;
    uint64_t active;
    uint64_t window;
    uint64_t seconds;
    uint64_t rate; /* messages a second, 0: as many as are answered */
    uint64_t rounds;
    uint64_t seed;
    uint64_t started_us; /* before exec, for a child */
    uint64_t stop_ms;    /* child: stop deciding then, leave the states, and die */
    /* pages: */
    const char *server_cmd;
    uint64_t port;
    uint64_t pages;   /* of a round, each of another conversation */
    uint64_t page;    /* messages on it */
    uint64_t kill_ms; /* 0: no load before; else it is killed after this to four times that */
};

/* One conversation being written to. */
struct speaker {
    struct talk *talk;
    struct talk own;  /* fill: no file */
    uint32_t sending; /* the message or edit under way, 0 for none */
    bool is_edit;
    bool resend;
    bool first_done;
    uint32_t until; /* fill: stop at this message */
};
struct driver {
    const struct options *o;
    struct rig *rig;
    struct model *model;
    struct speaker *speakers;
    uint32_t n;
    struct speaker **idle; /* ring of those with nothing under way */
    uint32_t cap;
    uint32_t idle_at;
    uint32_t nidle;
    uint64_t begun;
    uint64_t outstanding;
    uint64_t messages;
    uint64_t edits;
    uint64_t acks;
    uint64_t busy;
    uint64_t duplicates;
    uint32_t first_answers;
    bool stopping;
    bool refused; /* in this turn: the rest may wait for the next */
};

double drive_since_exec_ms(const struct options *o); /* 0 unless a child */
/* Opens the model and the rig, and notes how long that took. */
void drive_open(struct driver *d, const struct options *o);
/* The states of all resident conversations into a file of the data directory. */
void drive_dump(struct driver *d, const char *name);

void drive_fill(const struct options *o);
void drive_load(const struct options *o); /* a child does not return */
/*
 * Recovers, compares the active conversations with the model, leaves the states in "scale-check",
 * and as a child ends as if killed.
 */
void drive_check(const struct options *o);
/* Starts a server on the data, again and again, and reads history over its interface. */
void drive_pages(const struct options *o, char **argv);
/* main.c: runs `load` as another process, and kills it that long after it served. */
void drive_kill(const struct options *o, uint64_t after_ms, char **argv);
/* check.c: an answer to drive_check. */
void check_answered(struct command *cmd);

#endif
