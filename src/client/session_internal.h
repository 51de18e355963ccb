/*
 * The parts of a session. For the files of src/client that make up the heart (session, link, track,
 * page, fill, deliver, outbox, state), and its tests.
 */
#ifndef CONFAB_CLIENT_SESSION_INTERNAL_H
#define CONFAB_CLIENT_SESSION_INTERNAL_H

#include "base/hash.h"
#include "base/list.h"
#include "client/session.h"
#include "proto/deflate.h"
#include "proto/http1.h"
#include "proto/wire.h"
#include "proto/ws.h"

#define CSESSION_ID_MAX 40U /* of the server's name for a session */

enum cphase {
    CPHASE_OFF = 0,
    CPHASE_WAIT,
    CPHASE_TOKEN,
    CPHASE_LINK,
    CPHASE_UPGRADE,
    CPHASE_HELLO,
    CPHASE_SYNC,
    CPHASE_LIVE,
    CPHASE_CLOSING,
    CPHASE_REFUSED,
};

/* An event that came before the one it follows. */
struct cheld {
    struct list node;
    uint64_t seq;
    uint64_t id;
    enum confab_source source;
    uint32_t n;
    uint8_t frame[];
};

/* Position in one conversation. */
struct ctrack {
    struct conv_id conv;
    uint64_t seq; /* applied up to here */
    uint64_t id;  /* event id at seq, 0 when not known */
    /* The highest event that must exist and was not kept: what is between is to be fetched. */
    uint64_t target_seq;
    uint64_t target_id;
    /*
     * Not 0: where this conversation begins for us is not known by seq, but by this time (see
     * page.c); the first fetch tells. Until then seq counts no further than what was handed out
     * before.
     */
    uint64_t seek_ms;
    uint64_t counted_seq; /* while SYNC: what a counter has told since, 0: nothing */
    uint64_t counted_id;
    uint64_t left_seq;    /* handed out before the user left it; it is not known then */
    uint64_t deliver_seq; /* highest message of others, to be acknowledged */
    uint64_t read_seq;
    uint64_t acked_delivered; /* told to the server */
    uint64_t acked_read;
    uint64_t next_ack_ms;
    uint64_t fill_at_ms;
    uint32_t fetch_era; /* csession.answers when it was asked */
    uint64_t fetch_id;  /* of the fetch under way, 0 for none */
    struct list acks;   /* node in csession.acks */
    struct list fills;  /* node in csession.fills */
    struct list held;   /* cheld by seq */
    uint32_t fill_attempts;
    uint32_t begun; /* csession.resumes when it began with a live frame, 0: not sure, see track.c */
    uint32_t paged; /* csession.answers when a page had it last */
    bool listed;    /* the user's list of conversations had it, at a resume or later */
    bool known;     /* seq counts; else this conversation was only mentioned, or left */
    bool ahead;     /* moved since the last caught_up */
};

/* A message of the outbox. In `data`: content, then `to`. */
struct centry {
    struct list node;     /* in its lane */
    uint64_t retry_at_ms; /* of the head of a lane */
    uint64_t sent_ms;     /* when in flight */
    uint64_t reply_to;
    uint32_t attempts; /* refused so often with "try again" */
    uint32_t content_n;
    uint32_t nmentions;
    bool in_flight;
    bool tried; /* was sent at least once */
    char cmid[CONFAB_CMID_SIZE];
    uint64_t *mentions; /* behind the content, in the same block */
    uint8_t *content;
};

/* Messages to one target, in order; only the head may be in flight. */
struct clane {
    struct list node; /* in csession.lanes */
    struct list entries;
    struct conv_id conv; /* zero when `to` is the target */
    char *to;            /* in the same block */
};

enum ccarry_post { CCARRY_EVENTS = 0, CCARRY_OPEN, CCARRY_LEAVE };

/* In place of a link: requests (carry.c). */
struct ccarry {
    enum confab_transport on; /* what the connection is, or the next attempt will be */
    uint32_t ws_failures;     /* handshakes in a row that led to no hello */
    uint64_t ws_again_ms;     /* UINT64_MAX: not to be tried again */
    bool handshaking;         /* the link was up, and no hello has come */
    bool streams_fail;        /* nothing came of one: polls */
    char session[CSESSION_ID_MAX];
    char leaving[CSESSION_ID_MAX];     /* one that is over, to be ended at the server */
    uint64_t last;                     /* number of the last event taken */
    uint64_t number[CSESSION_LANES];   /* of the call under way, 0: none */
    uint64_t at_ms[CSESSION_LANES];    /* not before */
    uint32_t failures[CSESSION_LANES]; /* in a row */
    uint64_t calls;
    uint64_t heard_by_ms; /* a stream: when something must have come; UINT64_MAX: it has */
    uint64_t event_id;    /* of the event being read, 0: none yet */
    struct buf line;      /* of a stream: the part that is there */
    struct buf data;
    struct buf body;          /* of the post under way */
    enum ccarry_post posting; /* what the posting lane does */
};

#define CSESSION_JOINED_MAX 16U /* above, one resume more is made to be sure */

/* What the application looks at. */
struct clive {
    struct conv_id views[CONFAB_VIEW_MAX];
    uint32_t nviews;
    uint32_t npeople;
    uint64_t *people;
};

struct csession {
    struct clive live;
    enum cphase phase;
    enum cphase after_closing; /* OFF, WAIT or REFUSED */
    bool link;                 /* between link_up and link_down */
    bool again;                /* resume once more after caught_up, see clink_resume_again */
    bool save_due;
    bool told; /* status was handed out */
    enum confab_state told_state;
    enum confab_error reason;   /* why the link ended */
    uint64_t phase_deadline_ms; /* WAIT: next attempt; before SYNC: give up */
    uint64_t wait_ms;           /* given by the server for the next wait, UINT64_MAX: none */
    uint32_t attempt;
    uint64_t user_id;
    uint64_t state_user_id; /* whose state was loaded */
    uint32_t heartbeat_ms;
    uint32_t inflight_max;
    uint64_t last_rx_ms;
    uint64_t last_beat_ms;
    uint64_t save_at_ms;
    uint64_t next_fetch_id;
    uint32_t fetches; /* under way */

    struct random_source *random;
    struct confab_handlers on;
    void *arg;
    enum confab_error (*save)(void *arg, const void *data, size_t n);
    struct confab_options opt; /* limits and flags */

    struct buf in;      /* a partial head, frame; empty between frames */
    struct buf message; /* of a fragmented message */
    struct buf out;
    size_t out_sent;
    struct http_scan scan;
    struct ws_decoder ws;
    char accept[WS_ACCEPT_TEXT];

    struct idmap tracks;
    struct list acks;  /* ctrack by next_ack_ms */
    struct list fills; /* ctrack */
    size_t held_bytes;

    struct list lanes;
    uint32_t outbox_len;
    uint32_t outbox_flying;
    size_t outbox_bytes;
    uint64_t outbox_next_ms; /* earliest retry or ack timeout */

    uint32_t resumes; /* sent */
    uint32_t asked;   /* of them on this connection */
    uint32_t
        answered;     /* of those: by caught_up or a conflict. Some never are, see clink_is_heard */
    uint32_t answers; /* that have ended, or were cut off; from 1 */
    uint32_t answer;  /* what `answers` was at the latest resume: its rows have that in `paged` */
    /* While SYNC: what the user's own log says was joined, and was not sure then. */
    struct conv_id joined[CSESSION_JOINED_MAX];
    uint32_t njoined;

    struct ccarry carry;
    struct buf since;
    uint64_t caught_up_ms; /* the server's time when `since` was given */
    struct buf token;
    bool renewable;
    bool batch;                /* ask for arrays */
    bool deflate;              /* agreed on, on this connection */
    struct deflater *deflater; /* with CONFAB_COMPRESS; both last from one connection to the next */
    struct inflater *inflater;
    struct buf packed;   /* a message being compressed */
    struct buf unpacked; /* the one that was inflated last */
    uint8_t renewed;     /* so often since the last hello */
    uint64_t renew_ms;   /* from then on; UINT64_MAX: not known, 0: it was refused */
    struct buf host;
    struct buf target;
    struct confab_stats stats;
};

/* ---- session.c ---- */
void csession_error(struct csession *s, enum confab_error error, const char *text);
/* Ends the link with a close frame; `then` is the phase after it. */
void csession_close_link(struct csession *s, uint16_t code, enum cphase then,
                         enum confab_error reason, uint64_t now);
void csession_set_phase(struct csession *s, enum cphase phase, uint64_t now);
/* To s->wait_ms: what a server asked for, and a part of its own, so that those who were told the
 * same do not come back together. */
uint64_t csession_wait_after(struct csession *s, uint64_t retry_after_ms);
bool csession_is_signed_in(const struct csession *s);
/* The application has stopped it: nothing more is handed out, positions stay. */
bool csession_is_stopped(const struct csession *s);
/* What a refused token leads to: another try with a new one, or the end. */
enum cphase csession_token_refused(struct csession *s);
/* Marks the state as new: saved within CSESSION_SAVE_MS. */
void csession_touch(struct csession *s, uint64_t now);

/* ---- link.c: frames ---- */
void clink_begin(struct csession *s, uint64_t now);
/* Frame around what the caller appends to s->out in between. */
size_t clink_frame_begin(struct csession *s);
/* False: no memory, or the server does not read. Then the link ends. */
bool clink_frame_end(struct csession *s, size_t mark, uint64_t now);
void clink_input(struct csession *s, uint8_t *p, size_t n, uint64_t now);
void clink_resume(struct csession *s, uint64_t now);
/*
 * A conversation turned up that the answer to the last resume may lack: it began just before this
 * session was attached, and the user's list of conversations learns of it a little later.
 */
void clink_resume_again(struct csession *s, uint64_t now);
/* Has the server read every resume of this connection before it sent what is being read now? */
bool clink_is_heard(const struct csession *s);

/* One text frame, or what stands for it elsewhere. */
void clink_text(struct csession *s, struct span frame, uint64_t now);
void clink_closed(struct csession *s, uint16_t code, uint64_t now);

/* ---- carry.c: without a link ---- */
/* Does the connection at hand, or the next one, use a link? */
bool ccarry_is_link(const struct csession *s);
/* Before an attempt: which one it is. */
void ccarry_choose(struct csession *s, uint64_t now);
void ccarry_hello(struct csession *s, struct span session_id, uint64_t now);
/* After a connection, whatever it was. */
void ccarry_down(struct csession *s, uint64_t now);
void ccarry_tick(struct csession *s, uint64_t now);
uint64_t ccarry_deadline(const struct csession *s);
void ccarry_free(struct csession *s);

/* ---- track.c, page.c: positions ---- */
/* A frame of a conversation's sequence, live. Errors end the link. */
CONFAB_NODISCARD enum confab_err ctrack_live(struct csession *s, const struct wire_server_msg *m,
                                             struct span frame, uint64_t now);
/* An event at seq exists, whose content is not known: it is fetched if the position is below it. */
void ctrack_must_reach(struct csession *s, struct conv_id conv, uint64_t seq, uint64_t id,
                       uint64_t now);
/* A large conversation has moved: what is missing is fetched, a little later, as not everybody who
 * is told should ask at once. */
void ctrack_counter(struct csession *s, const struct wire_counter *m, uint64_t now);
/* Keeps a frame for later. Without room, or memory, it is fetched later. */
void ctrack_hold(struct csession *s, struct ctrack *t, const struct wire_seq *at, struct span frame,
                 enum confab_source source);
/*
 * Hands out the event, which is above the position, and moves to it. `stays`: the user is a member
 * later, whatever the event says; otherwise their own leaving makes the conversation unknown.
 */
void ctrack_apply(struct csession *s, struct ctrack *t, const struct wire_server_msg *m,
                  enum confab_source source, bool stays, uint64_t now);
/* The user has left. Of what is held, what begins with coming back is kept. */
void ctrack_leave(struct csession *s, struct ctrack *t);
/* Raises the target. */
void ctrack_aim(struct ctrack *t, uint64_t seq, uint64_t id);
/* A list of conversations from resume. */
CONFAB_NODISCARD enum confab_err ctrack_page(struct csession *s, struct span page,
                                             struct scratch *scratch, uint64_t now);
/* reset: what no page has told since the last one is not there any more. */
void ctrack_caught_up(struct csession *s, bool reset, uint64_t now);
/* Begins with what is held when that is the user's joining; else it waits for a page. */
void ctrack_begin_held(struct csession *s, struct ctrack *t);
/* Was something joined that no page brought? Forgets what was noted. */
bool ctrack_lacks_joined(struct csession *s);
/* The connection is gone: what is held comes again. */
void ctrack_link_down(struct csession *s);
struct ctrack *ctrack_find(const struct csession *s, struct conv_id conv);
CONFAB_NODISCARD enum confab_err ctrack_add(struct csession *s, struct conv_id conv,
                                            struct ctrack **ret);
/* Applies what is held and has become next. */
void ctrack_drain(struct csession *s, struct ctrack *t, uint64_t now);
/* Forgets the position. What is held came over this connection, and stays. */
void ctrack_reset(struct ctrack *t);
void ctrack_free_all(struct csession *s);
void ctrack_want_ack(struct csession *s, struct ctrack *t, uint64_t now);
void ctrack_send_acks(struct csession *s, uint64_t now);
/* The server had no time for one: it is told again later. False when that is none of ours. */
bool ctrack_ack_refused(struct csession *s, const struct wire_failure *f, uint64_t now);

/* ---- fill.c: gaps ---- */
/* Looks whether something is missing, and asks for it. */
void cfill_check(struct csession *s, struct ctrack *t, uint64_t now);
/* Last seq to fetch before something else can go on; 0 when nothing is missing. */
uint64_t cfill_goal(const struct ctrack *t);

/* Moves without handing out, and says so. */
void cfill_skip(struct csession *s, struct ctrack *t, uint64_t seq, uint64_t now);

/* ---- deliver.c: to the handlers ---- */
void cdeliver(struct csession *s, const struct wire_server_msg *m, enum confab_source source);
/* Terminated; empty for the zero id. */
void cdeliver_conv(struct conv_id conv, char out[CONFAB_CONV_SIZE]);
static inline struct confab_text ctext(struct span s)
{
    return (struct confab_text){(const char *)s.p, s.n};
}

/* ---- live.c: typing and presence ---- */
void clive_typing(struct csession *s, const struct wire_typist *w);
void clive_presence(struct csession *s, const struct wire_presence_update *w);
/* Is it on the screen? */
bool clive_looks(const struct csession *s, struct conv_id conv);
/* Says again what is looked at. */
void clive_caught_up(struct csession *s, uint64_t now);
void clive_free(struct csession *s);

/* ---- outbox.c ---- */
void coutbox_pump(struct csession *s, uint64_t now);
void coutbox_link_down(struct csession *s);
CONFAB_NODISCARD enum confab_err coutbox_acked(struct csession *s, const struct wire_sent *a,
                                               uint64_t now);
/* An error frame with a client_msg_id. False when it is not one of ours. */
bool coutbox_refused(struct csession *s, const struct wire_failure *f, uint64_t now);
/* Appends; used by csession_send and when the state is loaded. */
CONFAB_NODISCARD enum confab_err coutbox_add(struct csession *s, const struct confab_outgoing *m,
                                             struct conv_id conv, bool tried, const char *cmid);
void coutbox_free_all(struct csession *s);

/* ---- state.c ---- */
CONFAB_NODISCARD enum confab_err cstate_load(struct csession *s, struct span data);
CONFAB_NODISCARD enum confab_err cstate_put(struct csession *s, struct buf *out);

/* Code of the wire for users of the library, and back from internal ones. */
enum confab_error cerror_of_wire(struct span code);
enum confab_error cerror_of(enum confab_err err);
/* A code of the server without one of ours, that says: try again. */
bool cerror_passes(struct span code);

#endif
