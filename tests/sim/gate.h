/*
 * The second kind of run: whole servers, with their gateway on a simulated network, and the heart
 * of libconfab as their clients. The model learns what the log made durable; the clients check what
 * they are given against it.
 */
#ifndef CONFAB_TESTS_SIM_GATE_H
#define CONFAB_TESTS_SIM_GATE_H

#include "adapters/mem/net_sim.h"
#include "client/session.h"
#include "gateway/server.h"
#include "model.h"
#include "proto/http1.h"
#include "sim.h"

struct gate;
struct gate_wire;

#define GATE_PEOPLE_MAX 40U
#define GATE_RESTS_MAX  6U
#define GATE_TOKEN_LEN  JWT_TEXT_MAX

/* One request over a connection of its own. */
struct http_call {
    struct net_sim_conn *conn;
    struct buf out;
    size_t sent;
    struct buf in;
    struct http_scan scan;
    struct http_body body;
    bool lost; /* it vanished, and nobody has noticed */
    bool in_body;
    bool until_close;
    bool busy;
    int status; /* 0: no answer */
    uint64_t retry_after_ms;
    uint64_t deadline_ms;
    struct buf content;
};
struct http_ask {
    const char *method;
    const char *path;
    const char *token;
    struct span json;
    bool stream; /* asks for events: `content` is to be taken as it comes */
};
void http_begin(struct gate *g, struct http_call *c, const struct http_ask *ask);
/* True when the answer is there, or will not come. */
bool http_pump(struct gate *g, struct http_call *c);
void http_end(struct http_call *c);

/* A message somebody sent, known by the number in its text. */
struct gsend {
    uint32_t person;
    struct conv_id conv;
    bool rest;    /* sent by REST: not repeated */
    bool asked;   /* the server may have it */
    uint8_t kind; /* message or edit */
    enum { GSEND_OPEN = 0, GSEND_STORED, GSEND_FAILED } outcome;
    bool lost;    /* stored, and gone with a restore */
    uint64_t seq; /* in the model, 0: not yet */
    uint64_t id;
    struct buf text;
};

/* What a phone has handed out of one conversation. */
struct view {
    struct conv_id conv;
    uint64_t first;
    uint64_t last;
    bool filled; /* from history since, which holds messages only */
    /* As rows and entries of the own log have told it, in the order in which they came. */
    bool muted;
    bool pinned;
    uint64_t draft;
    uint64_t last_id;
    bool left;  /* the last row of it said so */
    bool wrong; /* some of what was shown is gone with a restore, and it was not reset since */
};
struct views {
    struct view *at;
    uint32_t n;
};

/* A proxy on the way may let no WebSocket through, or keep what a stream brings to itself. */
enum way { WAY_OPEN = 0, WAY_NO_SOCKETS, WAY_NO_STREAMS };

struct phone {
    struct gate *g;
    uint32_t person;
    uint32_t number;
    char token[GATE_TOKEN_LEN + 1];
    struct random_seeded random;
    struct csession *session; /* NULL: switched off */
    struct net_sim_conn *conn;
    struct http_call calls[CSESSION_FETCHES];
    struct csession_fetch fetches[CSESSION_FETCHES];
    struct http_call carried[CSESSION_LANES];
    struct csession_call carried_of[CSESSION_LANES];
    enum way way;     /* what is between it and the server now */
    struct buf state; /* as saved last */
    struct views views;
    struct views saved; /* views when the state was saved */
    bool killed;        /* what it saves now is lost */
    bool fresh;         /* for one look: keeps what it is told of conversations */
    uint64_t caught_up; /* times */
    /* Has not caught up since a restore, or since a start that knows no tokens: it may be reset. */
    bool doubtful;
    bool saved_doubtful;
    uint64_t slow_until_ms;
    uint8_t seen[GATE_PEOPLE_MAX];    /* 1 + status of those it follows; 0: not told yet */
    struct confab_conversation *told; /* fresh: without spans */
    uint64_t told_n;
};

struct person {
    uint64_t id;
    char token[GATE_TOKEN_LEN + 1]; /* of the REST calls */
    bool hides;                     /* that they are online, as it was at the last quiet point */
    bool hiding;                    /* that may have changed since */
    bool leaving;      /* has asked for the account to be deleted; what came of it is not known */
    bool gone;         /* it is deleted */
    bool silent;       /* and was so at the last quiet point */
    uint64_t acted_ms; /* a send over REST was begun, which shows as online for a while */
};

/* The shard's side of the network, as long as the process lives. */
struct gate_net {
    struct net base;
    struct gate *g;
    uint16_t shard;
};

enum rest_kind {
    REST_NONE = 0,
    REST_CREATE,
    REST_CHANGE,
    REST_SEND,
    REST_EDIT,
    REST_READ,
    REST_DELETE
};

struct rest {
    struct http_call call;
    enum rest_kind kind;
    uint32_t person;
    uint64_t number; /* of the gsend */
};

struct gate {
    struct sim *sim;
    struct net_sim *net;
    struct gate_wire *wire; /* NULL without a fault planted there */
    struct net_sim_cfg chances;
    struct server_config cfg;
    struct server *server; /* NULL while down */
    struct executor *password_ex;
    uint16_t shards;
    bool dead;           /* the network is gone for the shards that are freed */
    bool unknown_tokens; /* EPOCHS could not be written: the next start knows none of this one's */
    struct gate_net nets[SIM_SHARDS_MAX];
    struct random_seeded randoms[SIM_SHARDS_MAX];
    uint32_t npeople;
    struct person people[GATE_PEOPLE_MAX];
    uint32_t nphones;
    struct phone *phones;
    struct rest rests[GATE_RESTS_MAX];
    struct gsend *sends;
    uint64_t nsends;
    uint32_t groups;
    bool restores; /* there are backups in this run, and accounts that go */
    bool deletes;
    struct ports_backup *backup;
};

/* gate_net.c */
const struct net_ops *gate_net_ops(void);
void gate_wire_init(struct gate *g);
/* The process is gone, and its connections. */
void gate_wire_reset(struct gate *g);
void gate_wire_free(struct gate *g);

void gate_run(struct sim *s);
void gate_free(struct gate *g);
void gate_saw_event(struct sim *s, const struct mconv *c, const struct event *ev);
uint64_t gate_now(const struct gate *g);
struct gsend *gate_send_new(struct gate *g, uint32_t person, uint8_t kind, struct conv_id conv);
struct gsend *gate_send_of(struct gate *g, uint64_t number);
#define GATE_PASSWORD "of the simulator"
void gate_account(struct gate *g, uint32_t person, struct dir_account *ret);
/* Is an account deleted that has not left everything yet? */
bool gate_is_anybody_leaving(struct gate *g);
/* A turn of everything, in order. */
void gate_round(struct gate *g);
bool gate_is_alive(const struct gate *g);
/* Makes an account's device in the directory. */
void gate_device_new(struct gate *g, uint32_t person, char ret_token[GATE_TOKEN_LEN + 1]);
struct mconv *gate_any_conv(struct gate *g, uint32_t person);

void phone_init(struct gate *g, struct phone *p, uint32_t person, uint32_t number);
void phone_on(struct phone *p);
/* At once: what was not saved is forgotten. */
void phone_kill(struct phone *p);
void phone_deinit(struct phone *p);
void phone_pump(struct phone *p);
void phone_act(struct phone *p);
/* What vanished is known to be gone: a stream would find out late, by its silence. */
void phone_heal(struct phone *p);
/* Its connections may have vanished with the server. */
void phone_server_gone(struct phone *p);
bool phone_is_settled(const struct phone *p);
void phone_check_quiet(struct phone *p);

/* All its connections are gone, with what was on the way. */
void phone_cut(struct phone *p);
/* A restore: what it has shown of what is lost, by the model, is wrong. */
void phone_lose(struct phone *p);

/* Switched off in good order; false when its state cannot be saved now. */
bool phone_off(struct phone *p);

/* gate_presence.c */
void presence_draw(struct gate *g);
/* A session that is new follows whom its phone follows. */
void presence_follow(struct phone *p);
void presence_told(struct phone *p, const struct confab_presence *t);
/* Until everybody knows how everybody is. False: the server failed meanwhile. */
bool presence_settle(struct gate *g);
/* Somebody goes, which is told, and comes back. */
bool presence_leave(struct gate *g);

/* gate_life.c */
void life_draw(struct gate *g);
/* While the server is stopped, in a run with restores: now and then, a copy of all its files. */
void life_backup(struct gate *g);
/* While it is stopped or dead: the copy in place of what there is. */
void life_restore(struct gate *g);
/* Who deletes their account next; UINT32_MAX: nobody. */
uint32_t life_draw_leaver(struct gate *g);
bool life_is_leaving(const struct gate *g, uint32_t person);
/* Asks the directory; settled: nothing is under way, so that who is there stays. */
void life_learn(struct gate *g, bool settled);
void life_check_quiet(struct gate *g);

void rest_act(struct gate *g);
bool rest_pump(struct gate *g); /* false: none is under way */

#endif
