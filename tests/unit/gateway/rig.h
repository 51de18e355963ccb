/*
 * Shards on simulated net and clock and on the memory adapters, with clients that speak HTTP and
 * WebSocket. One thread; everything that would wait is stepped by rig_run.
 */
#ifndef CONFAB_TESTS_GATEWAY_RIG_H
#define CONFAB_TESTS_GATEWAY_RIG_H

#include <stdbool.h>
#include <stdint.h>

#include "adapters/fault/directory_fault.h"
#include "adapters/fault/store_fault.h"
#include "adapters/mem/clock_sim.h"
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/log_mem.h"
#include "adapters/mem/net_sim.h"
#include "adapters/mem/store_mem.h"
#include "base/buf.h"
#include "gateway/internal.h"
#include "gateway/proxies.h"
#include "gateway/shard.h"

#define RIG_SHARDS_MAX 4

struct rig {
    struct clock_sim clock;
    struct net_sim *net;
    struct executor *ex;
    struct log_mem *log;
    struct message_store *store_mem;
    struct message_store *store; /* over it: arm with store_fault_plan */
    struct directory *dir_mem;
    struct directory *dir; /* over it: arm with directory_fault_plan */
    struct engine_shared shared;
    struct epochs epochs; /* of all tokens */
    struct auth_state *auth;
    struct origin_rules origins;
    struct proxy_rules proxies; /* loopback, as by default */
    struct random_seeded random[RIG_SHARDS_MAX];
    struct metrics metrics[RIG_SHARDS_MAX];
    struct shard *shards[RIG_SHARDS_MAX];
    uint16_t n;
    bool hold_log;                /* nothing becomes durable */
    void (*on_turn)(bool begins); /* called around each turn of a shard, when not NULL */
    bool stalled[RIG_SHARDS_MAX]; /* gets no turns */
};

struct client {
    struct rig *rig;
    struct net_sim_conn *conn;
    struct buf in;
    bool eof;
};

/* The operator's key of every rig; registration is open. */
#define RIG_OPERATOR "cfo_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

/* Small passwords hash, tests stay quick: see rig_password_ops. `tune` may be NULL. */
struct rig *rig_new(uint16_t shards, void (*tune)(struct shard_config *cfg));
void rig_free(struct rig *rig);
/* Turns of all shards until nothing moves any more; the clock stands still. */
void rig_settle(struct rig *rig);
/* The same with the clock going on. */
void rig_pass(struct rig *rig, uint32_t ms);
int64_t rig_total(const struct rig *rig, enum metric id);

struct client *client_new(struct rig *rig, uint16_t shard);
void client_drop(struct client *c);
/* Hands all bytes over, turning the shards where the pipe is full. */
void client_send(struct client *c, const void *p, size_t n);
void client_send_str(struct client *c, const char *text);
/* Takes what has come. */
void client_recv(struct client *c);

/* One request and its answer: the status; *ret_body (may be NULL) gets the zero-terminated body. */
int http(struct client *c, const char *method, const char *path, const char *token,
         const char *json, char **ret_body);
/* Reads one answer. 0: none is there. */
int http_next(struct client *c, char **ret_head, char **ret_body);
/* Value of a string member, in a buffer that stays until the next four calls. */
const char *json_text(const char *json, const char *key);
uint64_t json_number_of(const char *json, const char *key);

struct account {
    char name[64];
    char token[JWT_TEXT_MAX + 1];
    char refresh[80];
    char device[24];
    char user[24];
};
void account_make(struct rig *rig, const char *name, struct account *ret);
/* A new device, as when the tokens of the present one have run out. */
void account_login(struct rig *rig, struct account *io);

/* Handshake with the token in the query; checks 101. NULL token: none. */
struct client *ws_open(struct rig *rig, uint16_t shard, const char *token);
void ws_send(struct client *c, const char *json);
void ws_send_frame(struct client *c, uint8_t first, const void *p, size_t n);
/* Next text frame, NULL when none has come; freed with the next call. */
const char *ws_next(struct client *c);
/* Passes over others; fails the test when there is none. */
const char *ws_expect(struct client *c, const char *event);
/* Code of the close frame that comes next, passing over other frames; 0: none. */
uint16_t ws_close_code(struct client *c);
/* ws_open and resume until caught_up; the token it gave in *ret_since when not NULL (64 bytes). */
struct client *ws_live(struct rig *rig, uint16_t shard, const struct account *a, char *ret_since);

#endif
