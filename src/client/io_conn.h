/* A connection, of TCP or TLS over it, that never blocks, except for looking up the address. */
#ifndef CONFAB_CLIENT_IO_CONN_H
#define CONFAB_CLIENT_IO_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "client/io_tls.h"

struct addrinfo;
struct cconn {
    int fd; /* -1: closed */
    struct addrinfo *all;
    struct addrinfo *next;  /* address to try when this one fails */
    bool up;                /* TCP is */
    const struct ctls *tls; /* NULL: plain */
    struct ctls_conn *ssl;  /* once TCP is up */
    bool shaken;
    char why[CTLS_WHY_SIZE]; /* the last failure of TLS, for people; empty: none */
};

void cconn_init(struct cconn *c);
/* From the next cconn_open on; borrowed, NULL for none. */
static inline void cconn_set_tls(struct cconn *c, const struct ctls *tls)
{
    c->tls = tls;
}
/* Starts to connect. CONFAB_NET: no such host, or refused at once by all of its addresses. */
CONFAB_NODISCARD enum confab_err cconn_open(struct cconn *c, const char *host, const char *port);
/*
 * CONFAB_OK: connected. CONFAB_AGAIN: wait for the descriptor. CONFAB_NET: no address answers, or
 * there is no TLS with it. CONFAB_FORBIDDEN: its certificate is not trusted; `why` tells more.
 */
CONFAB_NODISCARD enum confab_err cconn_progress(struct cconn *c);
/* Of poll: what the CONFAB_AGAIN of cconn_progress waits for. */
short cconn_events(const struct cconn *c);
/* Bytes wait that poll does not know of. */
bool cconn_has_pending(const struct cconn *c);
/* CONFAB_AGAIN: nothing now. CONFAB_EOF. CONFAB_NET. */
CONFAB_NODISCARD enum confab_err cconn_read(struct cconn *c, void *p, size_t n, size_t *ret_n);
CONFAB_NODISCARD enum confab_err cconn_write(struct cconn *c, const void *p, size_t n,
                                             size_t *ret_n);
/* Harmless when closed. */
void cconn_close(struct cconn *c);
static inline bool cconn_is_open(const struct cconn *c)
{
    return c->fd >= 0;
}

struct pollfd;
/* Waits for one descriptor; false on timeout and signals. timeout_ms below 0: for ever. */
bool cconn_wait(struct pollfd *fds, size_t n, int timeout_ms);

/* Milliseconds of a clock that never goes back. */
uint64_t cio_now_ms(void);

#endif
