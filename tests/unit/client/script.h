/*
 * A scripted server for a session: takes the session's bytes apart, answers with frames written by
 * the test, and writes what the handlers are told into a text log:
 *
 *     m a7 text live own     a message: conversation aaa…, seq 7
 *     e a8 2 live            an event of that kind
 *     c a head=8 missed      a conversation of the snapshot; " left", " first"
 *     s key a7               sent; " duplicate", or the error's name instead of the place
 *     r a7 user 5 read       a receipt
 *     gap a 3-5, reset a, caught up, error name, state live
 */
#ifndef TESTS_UNIT_CLIENT_SCRIPT_H
#define TESTS_UNIT_CLIENT_SCRIPT_H

#include "base/random.h"
#include "client/session.h"
#include "proto/ws.h"

#define CONV_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CONV_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define CONV_S "dddddddddddddddddddddddddddddddd"

/*
 * Called with true before the code under test runs and with false when the script's own code does,
 * also inside handlers: so that a test can let allocations fail in the one and not in the other.
 * NULL: not.
 */
extern void (*script_under_test)(bool on);

struct script {
    struct csession *session;
    struct random_seeded random;
    struct confab_options options;
    uint64_t now;
    struct buf log;
    struct buf state;   /* what save got last */
    struct buf from_it; /* the session's bytes, not yet looked at */
    struct buf frame;   /* the last one taken */
    struct ws_decoder ws;
    size_t split; /* bytes per csession_input, 0: all at once */
    uint64_t user_id;
    int saves;
    int save_fails; /* the next so many */
    bool mark_read; /* every message, from within the handler */
    bool quiet;     /* do not log state changes */
    bool renewable;
    uint64_t renew_ms; /* 0: not known */
    int stop_after;    /* messages; then stop from within the handler, 0: never */
};

/* Options may be changed between init and open. */
void script_init(struct script *h);
enum confab_err script_open(struct script *h);
void script_close(struct script *h);
/* Closes and opens again with the saved state, as another process would. */
void script_restart(struct script *h);

/* start, if need be up to the next attempt, link_up, upgrade, auth, hello. */
void script_connect(struct script *h);
/* The same up to the answer to the upgrade, which is not sent. Returns its Sec-WebSocket-Accept. */
void script_upgrade(struct script *h, char ret_accept[WS_ACCEPT_TEXT]);
void script_reply_upgrade(struct script *h, const char accept[WS_ACCEPT_TEXT]);
/* connect, then resume with an empty answer. */
void script_live(struct script *h);
/* The same, with the position `head` in one conversation. */
void script_live_at(struct script *h, char conv, unsigned head);
void script_drop(struct script *h);
/* Moves the session's bytes to from_it. */
void script_collect(struct script *h);

void script_bytes(struct script *h, const void *p, size_t n);
/* One text frame. */
void script_send(struct script *h, const char *fmt, ...) CONFAB_PRINTF(2, 3);
/* new_message with seq and event id 1000 + seq. `conv`: 'a' or 'b'. */
void script_message(struct script *h, char conv, unsigned seq, unsigned from, const char *content);
/* Frame text of that message, for pages. */
const char *script_message_text(char conv, unsigned seq, unsigned from, const char *content);
/* A page with one conversation; events is a comma separated list of frames. */
void script_page(struct script *h, char conv, unsigned head, unsigned from, unsigned to,
                 const char *more, const char *events);
void script_caught_up(struct script *h, const char *since);

/* Next text frame of the session as a zero terminated string; NULL: none. */
const char *script_take(struct script *h);
/* Next frame must contain `text`. */
void script_expect(struct script *h, const char *text);
/* Value of a string member of the last frame taken; static. */
const char *script_field(struct script *h, const char *name);
void script_expect_none(struct script *h);
/* Compares the log and empties it. */
void script_log_is(struct script *h, const char *text);
void script_log_clear(struct script *h);

#endif
