/* Inside of struct tls_server and of its nets: for the files of this folder only. */
#ifndef CONFAB_ADAPTERS_TLS_TLS_INTERNAL_H
#define CONFAB_ADAPTERS_TLS_TLS_INTERNAL_H

#include <openssl/bio.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "adapters/tls/tls_challenge.h"
#include "adapters/tls/tls_server.h"
#include "adapters/tls/tls_tickets.h"
#include "ports/net.h"

#define EVENTS_MAX 256
#define RECORD_MAX 16384U

struct tls_server {
    pthread_mutex_t lock; /* around ctx */
    SSL_CTX *ctx;         /* of the present pair; connections hold theirs by a reference */
    struct tls_tickets *tickets;
    struct tls_challenges *challenges;
    BIO_METHOD *bio; /* of net_tls.c: moves bytes through the net below */
    atomic_uint_fast64_t handshakes_ok;
    atomic_uint_fast64_t resumed;
    atomic_uint_fast64_t challenged;
    atomic_uint_fast64_t handshakes_failed;
    atomic_uint_fast64_t plain_http;
    atomic_uint_fast64_t truncated;
};

enum state { STATE_NEW = 0, STATE_SHAKING, STATE_OPEN, STATE_REFUSED };

/* What the net below has told of a connection, or we ourselves, and is not looked at yet. */
enum work {
    WORK_READ = 1,
    WORK_WRITE = 2,
    WORK_HANGUP = 4,
    WORK_LOOK = 8, /* bytes, or the end, may be in OpenSSL's hands */
};

enum conn_bits {
    BIT_DRY = 1,               /* the net below has nothing before its next event */
    BIT_END = 2,               /* the net below: the peer closed its side */
    BIT_PAUSED = 4,            /* by the caller */
    BIT_BLOCKED = 8,           /* the caller waits for NET_WRITABLE */
    BIT_READ_WANTS_WRITE = 16, /* reading goes on when the net below takes more */
    BIT_WRITE_WANTS_READ = 32, /* and the other way round */
    BIT_FINISH = 64,           /* shutdown_write was called */
    BIT_FINISHED = 128,        /* and done */
};

struct tconn {
    struct net_tls *n;
    SSL *ssl; /* NULL until the first byte is there */
    int handle;
    enum confab_err over; /* what recv says from now on; CONFAB_OK: it goes on */
    uint32_t offered;     /* bytes of a write that OpenSSL has half done; 0: none */
    uint8_t state;
    uint8_t work;
    uint8_t bits;
};

struct slot {
    struct tconn *t; /* NULL: no connection */
    bool queued;     /* outlives the connection: an entry in the queue is there once */
};

struct net_tls {
    struct net base;
    struct net *below;
    struct tls_server *server;
    struct slot *slots; /* by handle */
    int nslots;
    int *queue; /* handles with work, each once */
    int nqueue;
    int queue_cap;
    struct net_event events[EVENTS_MAX];
    uint8_t block[RECORD_MAX]; /* for gathering writes and for what is dropped */
};

/* A connection's end with the present pair; NULL when out of memory. */
SSL *tls_server_ssl_new(struct tls_server *s);

/* In net_tls_bio.c: its BIO_set_data is the tconn. NULL when out of memory. */
BIO_METHOD *net_tls_bio_method(void);

#endif
