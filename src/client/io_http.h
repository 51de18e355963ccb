/*
 * One HTTP request at a time over a connection of its own, without blocking. The connection is kept
 * for the next request that may safely be repeated; the others get a new one, since a server may
 * close a kept one at any moment, and then nobody knows whether the request was seen.
 */
#ifndef CONFAB_CLIENT_IO_HTTP_H
#define CONFAB_CLIENT_IO_HTTP_H

#include "base/buf.h"
#include "client/io_conn.h"
#include "proto/http1.h"

enum chttp_phase { CHTTP_IDLE = 0, CHTTP_CONNECT, CHTTP_SEND, CHTTP_HEAD, CHTTP_BODY, CHTTP_DONE };

struct chttp {
    struct cconn conn;
    enum chttp_phase phase;
    bool reused; /* the request under way goes over a kept connection */
    bool repeatable;
    struct span base; /* before every path; borrowed, empty at first */
    const char *host; /* for opening again */
    const char *port;
    struct buf out;
    size_t sent;
    struct buf in;
    struct http_scan scan;
    struct http_body body;
    bool keep_alive;
    bool until_close;
    uint64_t deadline_ms;
    uint64_t body_max;
    bool endless; /* the request under way is for a stream */

    /* With CHTTP_DONE: */
    enum confab_err err; /* CONFAB_OK; CONFAB_NET, CONFAB_TIMEOUT, CONFAB_INVALID, CONFAB_NOMEM,
                            CONFAB_FORBIDDEN: see cconn_progress */
    int status;          /* 0 without an answer */
    uint64_t retry_after_ms;
    struct buf content;
};

struct chttp_request {
    const char *method;
    struct span path;
    struct span token; /* may be empty */
    struct span body;  /* JSON, may be empty */
    bool repeatable;   /* also when it is no GET: to be done twice harms nothing */
    bool stream;       /* asks for events; `content` is to be taken while it comes */
};

void chttp_init(struct chttp *x, uint64_t body_max);
void chttp_deinit(struct chttp *x);
/* host and port must live until the request is done; `authority` is for the Host field. timeout_ms
 * UINT64_MAX: none. */
void chttp_begin(struct chttp *x, const char *host, const char *port, struct span authority,
                 const struct chttp_request *req, uint64_t timeout_ms, uint64_t now);
/* Goes on as far as it can without waiting; true when phase is CHTTP_DONE. */
bool chttp_step(struct chttp *x, uint64_t now);
/* Events to poll x->conn.fd for. */
short chttp_events(const struct chttp *x);
/* Ends it with an error of the caller's. */
void chttp_fail(struct chttp *x, enum confab_err err);
/* After DONE: ready for the next. */
void chttp_reset(struct chttp *x);

#endif
