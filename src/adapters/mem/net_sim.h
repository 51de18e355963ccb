/*
 * net in memory, for the simulator: one world of byte pipes between the shards of simulated servers
 * and simulated clients, moved by a simulated clock. Everything that a network may do is drawn from
 * one seed: delays, short reads and writes, spurious events, resets, scarcity at accept. Clients
 * can vanish (half-open), stall, reset and never read.
 *
 * Bytes written at one end arrive at the other after their delay, in order. Edges are strict: an
 * event comes once per arrival (plus spurious ones), so that a caller which forgets to read on gets
 * stuck here as it would in life. Handles are the lowest free numbers, as descriptors are.
 *
 * One thread, and nothing ever waits: poll gives what is there. Same seed and same calls, same run.
 */
#ifndef CONFAB_ADAPTERS_MEM_NET_SIM_H
#define CONFAB_ADAPTERS_MEM_NET_SIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/mem/clock_sim.h"
#include "ports/net.h"

#define NET_SIM_SHARDS_MAX 64U

/* Chances are per 10,000 calls; zero means never, and 0 elsewhere means the value given. */
struct net_sim_cfg {
    struct clock_sim *clock; /* borrowed */
    uint64_t seed;
    uint16_t shards;
    uint32_t conns_max;    /* alive at once, then accept says CONFAB_LIMIT; 0: 4,096 */
    uint32_t backlog_max;  /* per shard, then connect is refused; 0: 128 */
    uint32_t pipe_bytes;   /* in flight per direction, then writes stop; 0: 65,536 */
    uint64_t delay_min_ns; /* of a segment */
    uint64_t delay_max_ns;
    uint32_t short_read;  /* a read gives less than there is */
    uint32_t short_write; /* a write takes less than would fit, or nothing */
    uint32_t spurious;    /* an event without cause, per poll */
    uint32_t reset;       /* a connection breaks, per write of either end */
    uint32_t scarce;      /* accept says CONFAB_LIMIT */
};

struct net_sim;
struct net_sim_conn; /* the client's end */

/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err net_sim_open(const struct net_sim_cfg *cfg, struct net_sim **ret);
/* Closes everything, clients' ends included. NULL is fine. */
void net_sim_close(struct net_sim *sim);
/* The chances of from now on; clock, seed, shards and sizes stay as they were. */
void net_sim_set_chances(struct net_sim *sim, const struct net_sim_cfg *cfg);

/* The servers' side. */
struct net *net_sim_shard(struct net_sim *sim, uint16_t shard);
int net_sim_listener(const struct net_sim *sim, uint16_t shard);
/* Was the shard woken, or has it an event to poll now? */
bool net_sim_is_ready(struct net_sim *sim, uint16_t shard);
/*
 * The process died: every connection of its shards is reset, what it had not sent is lost, connects
 * are refused until net_sim_restart. The handles are free again.
 */
void net_sim_crash(struct net_sim *sim);
/* Listens again, with the same or another number of shards; after net_sim_crash. */
void net_sim_restart(struct net_sim *sim, uint16_t shards);
/* When the next byte, end or reset arrives somewhere: UINT64_MAX when nothing is under way. */
uint64_t net_sim_next_ns(struct net_sim *sim);

/*
 * The clients' side. `shard` NET_SIM_ANY: drawn. CONFAB_NET: refused (no server, or its backlog is
 * full). The end stays valid until net_sim_drop, whatever happens to the connection.
 */
#define NET_SIM_ANY UINT16_MAX
CONFAB_NODISCARD enum confab_err net_sim_connect(struct net_sim *sim, uint16_t shard,
                                                 struct net_sim_conn **ret);
/* The address that the server sees, "127.0.0.1" unless set; before its next turn. */
void net_sim_set_address(struct net_sim_conn *c, const char *address);
/* As recv and writev of the port. */
CONFAB_NODISCARD enum confab_err net_sim_recv(struct net_sim_conn *c, void *buf, size_t cap,
                                              size_t *ret_n);
CONFAB_NODISCARD enum confab_err net_sim_send(struct net_sim_conn *c, const void *buf, size_t n,
                                              size_t *ret_n);
/* Is there something to receive (bytes, the end, a reset)? */
bool net_sim_is_readable(struct net_sim_conn *c);
/* No more sending; receiving goes on. */
void net_sim_finish(struct net_sim_conn *c);
/* Breaks the connection at once; the server sees a reset when it arrives. */
void net_sim_reset(struct net_sim_conn *c);
/* Half-open: from now on nothing passes in either direction, and neither end is told. */
void net_sim_vanish(struct net_sim_conn *c);
/* Nothing passes in either direction until that time. */
void net_sim_stall(struct net_sim_conn *c, uint64_t until_ns);
/* Closes the client's end in good order (unless reset or vanished) and frees it. NULL is fine. */
void net_sim_drop(struct net_sim_conn *c);

#endif
