/*
 * The heart of libconfab, without I/O: the protocol of one signed-in device as a function of bytes,
 * time and the application's calls. The client library drives it with sockets, the simulator with
 * its own network and clock; both see the same handlers (confab/types.h).
 *
 * The link is one byte stream at a time, from csession_link_up to csession_link_down:
 *
 *     csession_wants_link says true   open a connection; then link_up, or link_down if that fails
 *     bytes came                      csession_input
 *     csession_output is not empty    write what can be written, csession_output_sent
 *     csession_wants_link says false  write what can be written at once, close, link_down
 *     the connection ended            link_down
 *     csession_deadline has come      csession_tick
 *     csession_call_next says true    make that request, then csession_call_done; of one with
 *                                     `stream` give the body to csession_call_input as it comes
 *     csession_call_wanted says false end that request, as if it had never been
 *     csession_fetch_next says true   GET its path with the token, then csession_fetch_done
 *     csession_wants_token says true  get a new one, then csession_token_done
 *
 * Look at all of these after every call. `now` is in milliseconds of a clock that never goes back.
 *
 * Phases, and what leads on:
 *
 *     OFF ──start──► LINK ──link_up──► UPGRADE ──101──► HELLO ──hello──► SYNC ──caught_up──► LIVE
 *                     ▲                   │               │               │ ▲     resync      │
 *                     │                   └───────────────┴──────┬────────┘ └─────────────────┤
 *                     │                                          ▼ error, silence, reconnect  │
 *                    WAIT ◄────────────────link_down────────  CLOSING ◄───────────────────────┘
 *
 * Where no WebSocket can be had there is no link (csession_wants_link says false), but calls, of
 * two lanes: one at a time fetches events, one at a time sends them (carry.c). The phases are the
 * same, with the answer of the first call in place of the upgrade and its bytes.
 *
 * From CLOSING also to OFF (csession_stop) and REFUSED (the token is not accepted). Without
 * `follow` there is no SYNC: hello leads to LIVE.
 *
 * Renewable, a session whose token runs out or was refused asks for another (csession_wants_token):
 * before LINK in the phase TOKEN, while LIVE beside everything else.
 *
 * Handlers may call csession_send, _mark_read, _stop and the queries, not the others.
 */
#ifndef CONFAB_CLIENT_SESSION_H
#define CONFAB_CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include <confab/client.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "base/random.h"

#define CSESSION_PATH_MAX   160U
#define CSESSION_FETCHES    2U    /* under way at once */
#define CSESSION_FETCH_SIZE 1000U /* messages asked for; an older server gives fewer */
#define CSESSION_HAVE_MAX   400U  /* entries of a resume, so that it stays below 64 KiB */
#define CSESSION_ACK_MS     250U  /* between acks of one conversation */
#define CSESSION_SAVE_MS    1000U
#define CSESSION_COUNTER_MS 2000U /* within which a counter is followed by a fetch */
#define CSESSION_RENEW_MS   5000U /* between attempts to renew a token while connected */
#define CSESSION_OUTPUT_MAX (1024U * 1024U)

struct csession_config {
    struct random_source *random; /* lives as long as the session */
    /* Copied: handlers, arg, flags, save and the limits. `server` and `token` are not used. */
    const struct confab_options *options;
    struct span host;   /* of the Host field */
    struct span target; /* of the upgrade, such as "/ws" */
    struct span token;
    /* Can a new token be had? Then it is asked for by csession_wants_token. */
    bool renewable;
    bool no_batch;     /* one event in a frame, for tests */
    uint64_t renew_ms; /* `now` from which it should be renewed; UINT64_MAX: not known */
};

/* A piece of history to be fetched. */
struct csession_fetch {
    struct conv_id conv;
    uint64_t id;
    char path[CSESSION_PATH_MAX]; /* with query, zero terminated */
};

/* Requests in place of a link, all with the token. */
enum csession_lane { CSESSION_FETCHING = 0, CSESSION_POSTING, CSESSION_LANES };
struct csession_call {
    enum csession_lane lane;
    uint64_t number;
    const char *method;
    char path[CSESSION_PATH_MAX]; /* zero terminated */
    struct span body;             /* JSON, may be empty; borrowed until it is done or unwanted */
    bool stream;                  /* an endless answer of type text/event-stream is asked for */
    uint64_t timeout_ms;          /* UINT64_MAX: none */
};

struct csession;
/* CONFAB_NOMEM; CONFAB_CORRUPT: options->state is damaged. */
CONFAB_NODISCARD enum confab_err csession_new(const struct csession_config *cfg,
                                              struct csession **ret);
/* Saves first if there is something new. NULL is fine. */
void csession_free(struct csession *s);

void csession_start(struct csession *s, uint64_t now);
void csession_stop(struct csession *s, uint64_t now);
/* For the next connection; renew_ms as in the config. */
CONFAB_NODISCARD enum confab_err csession_set_token(struct csession *s, struct span token,
                                                    uint64_t renew_ms);
void csession_set_renewable(struct csession *s, bool renewable);
/* When csession_wants_token will be true; UINT64_MAX: not by itself. Not in csession_deadline. */
uint64_t csession_renew_at(const struct csession *s);
/* Stays true until csession_token_done. */
bool csession_wants_token(const struct csession *s, uint64_t now);
/*
 * CONFAB_E_OK: there is a new token. CONFAB_E_UNAUTHENTICATED: this device is signed out, nothing
 * more can be done. Everything else: it is tried again later.
 */
void csession_token_done(struct csession *s, enum confab_error error, struct span token,
                         uint64_t renew_ms, uint64_t now);

bool csession_wants_link(const struct csession *s);
void csession_link_up(struct csession *s, uint64_t now);
void csession_link_down(struct csession *s, uint64_t now);
/* Takes all n bytes, which it may overwrite. Whatever is wrong with them ends the link only. */
void csession_input(struct csession *s, void *p, size_t n, uint64_t now);
/* Borrowed until the next call. */
struct span csession_output(const struct csession *s);
void csession_output_sent(struct csession *s, size_t n, uint64_t now);

void csession_tick(struct csession *s, uint64_t now);
/* When to call csession_tick next; UINT64_MAX: not by itself. */
uint64_t csession_deadline(const struct csession *s);

bool csession_call_ready(const struct csession *s, enum csession_lane lane, uint64_t now);
/* False: nothing to do, or the lane's last one is still under way. */
bool csession_call_next(struct csession *s, enum csession_lane lane, uint64_t now,
                        struct csession_call *ret);
bool csession_call_wanted(const struct csession *s, const struct csession_call *call);
/* Bytes of a stream's body, whose status is 200. */
void csession_call_input(struct csession *s, const struct csession_call *call, const void *p,
                         size_t n, uint64_t now);
/* status 0: no answer. `body` is empty for a stream with status 200. */
void csession_call_done(struct csession *s, const struct csession_call *call, int status,
                        uint64_t retry_after_ms, struct span body, uint64_t now);

bool csession_fetch_next(struct csession *s, uint64_t now, struct csession_fetch *ret);
/* status 0: no answer. Results of fetches that are no longer wanted are ignored. */
void csession_fetch_done(struct csession *s, const struct csession_fetch *fetch, int status,
                         uint64_t retry_after_ms, struct span body, uint64_t now);

/* As the functions of confab/client.h. */
enum confab_error csession_send(struct csession *s, const struct confab_outgoing *m, uint64_t now,
                                char ret_cmid[CONFAB_CMID_SIZE]);
enum confab_error csession_unsend(struct csession *s, const char *cmid);
size_t csession_outbox_len(const struct csession *s);
enum confab_error csession_mark_read(struct csession *s, struct conv_id conv, uint64_t seq,
                                     uint64_t now);
/* Position in a conversation, false when there is none. ret_id may become 0: not known. */
bool csession_position(const struct csession *s, struct conv_id conv, uint64_t *ret_seq,
                       uint64_t *ret_id);
struct wire_typing;
enum confab_error csession_view(struct csession *s, const struct conv_id *convs, uint32_t n,
                                uint64_t now);
enum confab_error csession_follow(struct csession *s, const uint64_t *user_ids, size_t n,
                                  uint64_t now);
enum confab_error csession_typing(struct csession *s, const struct wire_typing *m, uint64_t now);
void csession_status(const struct csession *s, uint64_t now, struct confab_status *ret);
void csession_stats(const struct csession *s, struct confab_stats *ret);
enum confab_error csession_save(struct csession *s, uint64_t now);
/* Gaps still to be filled: 0 after on_caught_up means that nothing is missing. */
size_t csession_fills(const struct csession *s);

#endif
