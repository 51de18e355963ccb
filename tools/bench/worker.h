/* A worker process: some of the connections, their loop, and the messages that their users send. */
#ifndef BENCH_WORKER_H
#define BENCH_WORKER_H

#include "bench.h"
#include "proto/http1.h"
#include "proto/ws.h"
#include "scan.h"

#define CONV_TEXT  32U
#define ACK_BYTES  230U /* floor: about an `ack` */
#define SINCE_MAX  1024U
#define READ_BYTES (256U << 10)

enum client_state {
    CLIENT_OFF = 0,
    CLIENT_CONNECTING,
    CLIENT_UPGRADING,
    CLIENT_HELLO,
    CLIENT_RESUMING,
    CLIENT_READY,
};

struct client {
    int fd;
    uint32_t index;  /* in the plan */
    uint32_t sender; /* of this worker's; NONE: only receives */
    uint8_t state;
    bool dirty;
    bool blocked;
    bool ack_due;
    bool resynced; /* was told to resync: what it missed comes by pages */
    uint32_t attempts;
    uint32_t next_dirty;
    uint64_t retry_ns; /* CLIENT_OFF: when to connect again */
    uint64_t began_ns; /* to connect */
    struct http_scan scan;
    struct buf in; /* a partial frame */
    struct buf out;
    struct buf since;
    char accept[WS_ACCEPT_TEXT];
    char conv[CONV_TEXT]; /* of the message received last */
    uint64_t seq;
    uint8_t *told; /* presence: of each whom this one watches, enum told */
};

struct own_sender {
    uint32_t index;  /* in the plan */
    uint32_t client; /* of this worker's */
    uint64_t due;    /* messages that should have been sent, open loop */
    uint64_t sent;   /* of those */
    uint32_t free;   /* slots */
    uint64_t phase;  /* its place among all senders of the plan */
};

struct retry {
    uint64_t at_ns;
    uint32_t slot;
    uint32_t number;
};

struct worker {
    struct traffic *t;
    struct worker_state *state;
    uint32_t index;
    uint32_t phase;
    uint32_t first; /* client of the plan */
    struct client *clients;
    uint32_t nclients;
    struct own_sender *senders;
    uint32_t nsenders;
    uint32_t *own_of; /* sender of the plan -> own sender, or NONE */
    uint32_t connecting;
    uint32_t next_connect;
    uint32_t ready;
    uint32_t under_way;
    uint64_t sent; /* in this round */
    uint32_t first_dirty;
    uint32_t *ack_list;
    uint32_t nacks;
    struct retry *retries;
    uint32_t nretries;
    uint64_t started_ns; /* of the sending */
    uint64_t next_due;   /* open loop: of all own senders */
    uint64_t look_ns;    /* presence: when to look again who is not told yet */
    uint64_t next_ack_ns;
    uint64_t next_beat_ns;
    uint32_t next_beat;
    uint32_t beats_open; /* sent, and not answered yet */
    uint64_t now;
    bool stays; /* connections may break and come again */
    bool stuck; /* some do not read now */
    uint8_t *rbuf;
    struct scanner scanner;
    int epoll_fd;
    struct random_seeded random;
    struct meters m;
};

/* ---- worker.c: connections ---- */
void client_dirty(struct worker *w, struct client *c);
/* Appends a text frame; the key is zero, so nothing has to be masked. */
void client_put(struct worker *w, struct client *c, struct span text);
/* Asks for what came since the last `caught_up`. */
void client_resume(struct worker *w, struct client *c);
/* Ends it, and connects again after that time. */
void client_later(struct worker *w, struct client *c, uint64_t after_ms);
void client_fail(struct worker *w, struct client *c, const char *why);

/* ---- play.c: what is sent and what comes ---- */
void play_start(struct worker *w);
/* Sends what is due or allowed. */
void play_go(struct worker *w);
/* When the next message is due, for the loop's timeout. */
uint64_t play_next_ns(const struct worker *w);
void play_ready(struct worker *w, struct client *c);
void play_frame(struct worker *w, struct client *c, struct span text);
/* Bytes of a floor; how many were taken. */
size_t play_raw(struct worker *w, struct client *c, struct span bytes);
void play_acks(struct worker *w);
void play_error(struct worker *w, const struct client *c, const char *what, struct span frame);

/* ---- play_presence.c: the same for people who come and go ---- */
void presence_ready(struct worker *w, struct client *c);
void presence_notice(struct worker *w, struct client *c, struct span frame);
void presence_go(struct worker *w);
uint64_t presence_next_ns(const struct worker *w);

#endif
