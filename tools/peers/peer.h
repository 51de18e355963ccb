/*
 * What the protocols of confab-peers share: pairs of clients, what was sent, acknowledged and
 * delivered, and what waits to be written to the client whose turn it is.
 */
#ifndef CONFAB_PEERS_PEER_H
#define CONFAB_PEERS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

enum {
    PEER_MARK = 17, /* "PPPPPPPP NNNNNNNN" in hex digits, with which a text begins */
    PEER_TEXT_MAX = 1000,
    PEER_IN_BYTES = 128 * 1024, /* what has come and is not taken, at most */
};

struct load;

struct client {
    int fd;
    uint32_t pair;
    bool sends;
    uint32_t step; /* the protocol's: how far it is, then how many were acknowledged */
    void *own;     /* the protocol's; until the program ends */
    uint8_t *in;
    size_t in_len;
};

struct protocol {
    const char *name;
    /* The first bytes of a connection. */
    void (*open)(struct load *l, struct client *c);
    /* Message `number`, from 0, of the sender c. */
    void (*message)(struct load *l, const struct client *c, uint32_t number, const char *text,
                    size_t n);
    /* Takes one frame off the n bytes at p; its size, 0 while it is incomplete. */
    size_t (*take)(struct load *l, struct client *c, const uint8_t *p, size_t n);
};

extern const struct protocol matrix_protocol;
extern const struct protocol mqtt_protocol;
extern const struct protocol xmpp_protocol;

/* To what goes out when all that has come is taken. */
void peer_put(struct load *l, const void *bytes, size_t n);
CONFAB_PRINTF(2, 3) void peer_putf(struct load *l, const char *format, ...);
/* A client may send, or will be sent to: once for each. */
void peer_ready(struct load *l);
/* The next message of the sender is the server's to keep. */
void peer_acked(struct load *l, const struct client *c);
/* The text of the receiver's next message. */
void peer_delivered(struct load *l, const struct client *c, const char *text, size_t n);
/* What should not have come, or not like this. */
void peer_error(struct load *l);
CONFAB_PRINTF(1, 2) _Noreturn void peer_die(const char *format, ...);

#endif
