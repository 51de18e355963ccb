/*
 * Running under a service manager (systemd): sockets that it has opened, and what it is told. All
 * of it is found in the environment, and nothing happens without.
 *
 *     LISTEN_PID, LISTEN_FDS        sockets to serve on instead of listen and port; they stay open
 *                                   over a restart, so that who comes meanwhile waits
 *     NOTIFY_SOCKET                 READY=1 when it serves, STOPPING=1 when it goes away
 *     WATCHDOG_PID, WATCHDOG_USEC   WATCHDOG=1 as long as every event loop turns
 */
#ifndef CONFAB_CONFABD_SERVICE_H
#define CONFAB_CONFABD_SERVICE_H

#include <stdint.h>

#include "confabd/config.h"

#define SERVICE_SOCKETS_MAX 8

struct service {
    int sockets[SERVICE_SOCKETS_MAX];
    int nsockets;
    int notify_fd;        /* -1: nobody wants to know */
    uint64_t watchdog_ms; /* 0: no watchdog */
};

/*
 * Reads the variables and takes them out of the environment. With sockets, listen and port of `cfg`
 * become those of the first one, and each is held against the other options. CONFAB_INVALID: one
 * line in `why`.
 */
CONFAB_NODISCARD enum confab_err service_open(struct service *s, struct config *cfg,
                                              struct config_problem *why);
void service_close(struct service *s);
void service_ready(const struct service *s, const char *url);
void service_stopping(const struct service *s);
void service_alive(const struct service *s);

#endif
