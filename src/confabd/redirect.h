/*
 * The port for those who type a name without https: every request is answered with 308 to the same
 * place by TLS, and nothing else is served there. A thread of its own, so that whoever plays with
 * that port keeps no shard busy; at most REDIRECT_CONNS connections, of which the oldest goes for a
 * new one, each with ten seconds to ask.
 *
 * ACME needs no help here: names are proven on the TLS port (acme.h).
 */
#ifndef CONFAB_CONFABD_REDIRECT_H
#define CONFAB_CONFABD_REDIRECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/origin.h"

#define REDIRECT_CONNS 256U

struct redirect_config {
    const char *address; /* numeric */
    uint16_t port;
    /* Where a request for one of our names goes: https, that name, and this port. 0: to `url`. */
    uint16_t https_port;
    const char *url; /* of the page; where others go. Ends with a slash */
    const struct origin_rules *origins;
    const void *metrics_owner;
};

struct redirect;
/*
 * Listens, and starts the thread. What the configuration points to is borrowed. CONFAB_EXISTS: the
 * port is taken; CONFAB_FORBIDDEN: not allowed to use it; CONFAB_INVALID, CONFAB_NET, CONFAB_NOMEM,
 * CONFAB_IO.
 */
CONFAB_NODISCARD enum confab_err redirect_open(const struct redirect_config *cfg,
                                               struct redirect **ret);
/* Closes all and ends the thread. NULL is fine. */
void redirect_close(struct redirect *r);

#endif
