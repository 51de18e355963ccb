/*
 * The calls of docs/api/rest.md. A handler reads the request, which is borrowed for the call, and
 * either answers at once or starts an api_call that answers later; the client may be gone by then.
 */
#ifndef CONFAB_GATEWAY_API_H
#define CONFAB_GATEWAY_API_H

#include "base/list.h"
#include "gateway/auth.h"
#include "gateway/conn.h"
#include "gateway/link.h"
#include "gateway/rates.h"
#include "gateway/users.h"
#include "proto/http1.h"
#include "proto/json.h"

#define API_ARGS_MAX 2U

struct api_request {
    struct shard *s;
    struct conn *c;
    const struct http_request *http;
    struct span body;
    struct span args[API_ARGS_MAX]; /* decoded {} segments of the path */
    uint64_t user;                  /* signed in; 0 for calls without token, and the operator */
    uint64_t device;
    struct api_claim *claim;  /* of its Idempotency-Key, until a call takes it over */
    struct jwt_claims claims; /* of the token */
    bool operator_key;        /* signed in with that */
};

struct api_call {
    struct command_sink sink; /* for its commands */
    struct list node;         /* of the shard's calls */
    uint64_t conn;            /* who waits */
    uint64_t user;
    uint64_t device;
    char address[48];        /* of the client, see api_call_address */
    struct command *cmd;     /* prepared, not yet sent */
    struct command *kept;    /* answered, still needed */
    struct list answers;     /* more of them, by command.link */
    struct api_claim *claim; /* its answer is stored first */
    /* The command is back; frees or keeps it. */
    void (*on_command)(struct shard *s, struct api_call *call, struct command *cmd);
    void (*on_lookup)(struct shard *s, struct api_call *call, const struct user_lookup *l);
    uint32_t pending; /* commands under way */
    enum confab_err err;
    const char *err_field;
    uint64_t number;       /* the handler's */
    void *data;            /* the handler's, freed with free() */
    size_t wipe;           /* bytes of it that are secrets */
    struct auth_wait wait; /* for a revocation to have happened, then: */
    void (*then)(struct shard *s, struct api_call *call);
};

typedef void (*api_handler)(struct api_request *r);
enum api_flags {
    API_OPEN = 1,    /* needs no token */
    API_ADMIN = 2,   /* for administrators and the operator */
    API_OWN_KEY = 4, /* its handler uses the Idempotency-Key, if any */
    API_TAKES = 8,   /* takes away what waits, so that memory becomes free */
};
struct api_route {
    enum http_method method;
    const char *path; /* "{}" stands for one segment */
    api_handler handler;
    unsigned flags;
};
/* Tables of the api_*.c files, ended by a row without path. */
extern const struct api_route api_accounts[];
extern const struct api_route api_tokens[];
extern const struct api_route api_devices[];
extern const struct api_route api_invites[];
extern const struct api_route api_admin[];
extern const struct api_route api_admin_users[];
extern const struct api_route api_users[];
extern const struct api_route api_presence[];
extern const struct api_route api_groups[];
extern const struct api_route api_messages[];
extern const struct api_route api_conversations[];
extern const struct api_route api_history[];
extern const struct api_route api_inbox[];
extern const struct api_route api_events[];
extern const struct api_route api_ops[];

/* The routes of all tables; false behind the last. For documents and their tests. */
bool api_route_at(size_t i, struct api_route *ret);

/* A complete request. Answers, or has a call or a look-up of its right under way on return. */
void api_dispatch(struct shard *s, struct conn *c, const struct http_request *req,
                  struct span body);

/*
 * From this machine: a loopback address, and no proxy says that it passes the request on. One that
 * says nothing cannot be told from a person here.
 */
bool api_is_local(const struct api_request *r);

/* Linked to the connection and held there; NULL (and answered) when out of memory. */
struct api_call *api_call_new(struct api_request *r);
/* Remembers where the request comes from: for the directory, audit records and throttling. */
void api_call_address(struct api_request *r, struct api_call *call);
/* Sends call->cmd. On an error the call is answered and freed: do not touch it afterwards. */
void api_call_send(struct shard *s, struct api_call *call);
/* One of several: `cmd` goes to a shard, and comes back to on_command too. On an error (the first
 * is kept in call->err) the command is freed. */
void api_call_send_to(struct shard *s, struct api_call *call, uint16_t to, struct command *cmd);
/* Starts a look-up that ends in on_lookup. Takes `l` over. */
void api_call_lookup(struct shard *s, struct api_call *call, struct user_lookup *l);
/* Answer and free. The bufs are taken over. */
void api_call_answer(struct shard *s, struct api_call *call, int status, struct buf *body);
void api_call_fail(struct shard *s, struct api_call *call, enum confab_err err, const char *message,
                   const char *field);
/* Answers without a body, 204, or with further header lines. */
void api_call_done(struct shard *s, struct api_call *call, struct span extra);
void api_call_answer_with(struct shard *s, struct api_call *call, int status, struct buf *body,
                          struct span extra);
/* 429 or 503 with the time to wait. */
void api_call_fail_wait(struct shard *s, struct api_call *call, enum confab_err err,
                        const char *message, uint32_t wait_ms);
/* Frees one that was answered by other means. */
void api_call_drop(struct shard *s, struct api_call *call);
/* Frees all that are left, with the shard. */
void api_calls_drop(struct shard *s);

/* ---- Idempotency-Key (api_repeat.c) ---- */

struct api_claim;
/* False: answered, or held until it is known whether the request is new. */
bool api_repeat_begin(struct api_request *r, const struct api_route *route);
/* After the handler. */
void api_repeat_end(struct api_request *r);
/* Stores the answer and sends it later: true, `body` is taken over. False: send it now. */
bool api_repeat_store(struct shard *s, struct api_call *call, int status, struct buf *body);
/* Gives the key back and frees the claim. */
void api_claim_release(struct shard *s, struct api_claim *claim);
void api_claim_free(struct api_claim *claim);

/* One more of them, by the limits of rates.h? False: answered with 429. */
bool api_may(struct api_request *r, enum rate_what what);

/* Shorthands of handlers. */
void api_fail(struct api_request *r, enum confab_err err, const char *message, const char *field);
void api_answer_json(struct api_request *r, int status, struct buf *body);
/*
 * Begins reading the body as a JSON object. False: it was answered. Pair with api_body_end after
 * the loop over json_object_next.
 */
bool api_body_begin(struct api_request *r, struct json *j);
bool api_body_end(struct api_request *r, struct json *j);
/* `path` argument as a conversation id. False: answered with 404. */
bool api_conv_arg(struct api_request *r, unsigned arg, struct conv_id *ret);

#endif
