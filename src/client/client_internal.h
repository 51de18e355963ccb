/* struct confab_client. For client.c and rest.c. */
#ifndef CONFAB_CLIENT_CLIENT_INTERNAL_H
#define CONFAB_CLIENT_CLIENT_INTERNAL_H

#include <confab/rest.h>

#include "client/io_http.h"
#include "client/session.h"
#include "client/token.h"

struct confab_client {
    struct csession *session;
    struct cconn link;
    bool link_told; /* the session knows that the link is up */
    struct chttp fetch;
    bool fetching;
    struct csession_fetch fetch_of;
    struct chttp carried[CSESSION_LANES]; /* in place of the link */
    struct csession_call carried_of[CSESSION_LANES];
    bool carrying[CSESSION_LANES];
    struct chttp call; /* the blocking ones */
    struct ctls *tls;  /* NULL: plain HTTP */
    char *host;
    char *port;
    struct buf base;      /* path of the server below the host, without the last slash */
    struct buf authority; /* host and, unless it is 80, port */
    struct buf token;
    struct ctoken tokens; /* renewing it */
    uint32_t timeout_ms;
    uint64_t user_id; /* from login, or asked for */
    struct confab_failure failure;
    uint8_t *read_block;
};

#endif
