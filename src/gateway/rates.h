/*
 * Limits by rate: how often a user, a device or an address may do something. Each is a bucket that
 * holds as many as are allowed in a minute and fills up evenly, so that a burst of that size is
 * fine and what follows is held to the rate.
 *
 * The buckets of a shard are its own: those of a user and a device are where their session is, or
 * where their request came in. Who spreads connections over all shards gets the limit of each; an
 * exact one would cost every send a lock that all shards share. A bucket that is full again is
 * forgotten, and the table is bounded: when it is full of others, who is not in it is not limited
 * (and counted), since refusing strangers would let one client shut out everybody else.
 *
 * Addresses are counted as throttle_address has it: not those of this machine. Whose a request is
 * that a trusted proxy passes on, its header says (proxies.h); a session keeps what its first
 * request said.
 */
#ifndef CONFAB_GATEWAY_RATES_H
#define CONFAB_GATEWAY_RATES_H

#include <stdint.h>

#include "base/hash.h"

enum rate_what { RATE_SEND = 0, RATE_CONNECT, RATE_SEARCH, RATE_WHATS };
enum rate_whose { RATE_USER = 0, RATE_DEVICE, RATE_ADDRESS, RATE_WHOSE };

struct rates_config {
    uint32_t a_minute[RATE_WHATS][RATE_WHOSE]; /* 0: no limit */
    uint32_t entries_max;
};

struct rates {
    struct u64map full_ns; /* bucket → when it is full again */
    uint64_t seed;
    uint64_t swept_ns;
    struct u64map from; /* WIRE_FROM: index of the connection → rates_from */
};

struct shard;
struct conn;
void rates_init(struct shard *s);
void rates_deinit(struct shard *s);

/*
 * One of them, now. 0: yes; or after how many milliseconds it may be tried again, and nothing is
 * counted. user or device 0: not known. c: whose address counts, NULL for none.
 */
uint32_t rates_take(struct shard *s, enum rate_what what, uint64_t user, uint64_t device,
                    const struct conn *c);
/* An address as it is counted; 0: it is not. */
uint64_t rates_from(const struct shard *s, const char *address);
/* The session `c` is of the client of the request at hand on `request`, which may be `c`. */
void rates_remember(struct shard *s, struct conn *c, const struct conn *request);
/* The connection ends. */
void rates_forget(struct shard *s, const struct conn *c);
/* What the client is told. */
const char *rates_text(enum rate_what what);

#endif
