/*
 * net on TCP sockets: non-blocking, epoll edge triggered, one object per event loop. A handle is a
 * file descriptor. Connections come with TCP_NODELAY.
 *
 * Out of descriptors: accept says CONFAB_LIMIT, the waiting connections stay in the kernel's queue,
 * and NET_ACCEPT comes again once a handle of this object was closed, at the latest after a second
 * (others of the process may have freed one). Nothing spins.
 */
#ifndef CONFAB_ADAPTERS_OS_NET_EPOLL_H
#define CONFAB_ADAPTERS_OS_NET_EPOLL_H

#include <stdbool.h>
#include <stdint.h>

#include "ports/net.h"

struct net_epoll_listen {
    const char *address; /* numeric, IPv4 or IPv6; NULL: 127.0.0.1 */
    uint16_t port;       /* 0: a free one */
    /*
     * The first listener of a server: CONFAB_EXISTS when anybody else listens there, even somebody
     * who would share. Further ones of the same server (false) share its port, and the kernel
     * spreads connections over them.
     */
    bool first;
    int send_buffer_bytes; /* bound of the kernel's send buffer of a connection; 0: the kernel's own
                            */
};

/* CONFAB_NOMEM, CONFAB_LIMIT (descriptors), CONFAB_IO. */
CONFAB_NODISCARD enum confab_err net_epoll_open(struct net **ret);
/* Closes the listeners; connections are the caller's to close before. NULL is fine. */
void net_epoll_close(struct net *n);
/*
 * Opens a listener and registers it. CONFAB_EXISTS: the port is taken; CONFAB_FORBIDDEN: not
 * allowed to use it; CONFAB_INVALID: not an address of this machine; CONFAB_LIMIT; CONFAB_NET.
 */
CONFAB_NODISCARD enum confab_err net_epoll_listen(struct net *n, const struct net_epoll_listen *cfg,
                                                  int *ret_handle, uint16_t *ret_port);

/*
 * Takes on listeners that somebody else has opened and keeps (systemd): they are duplicated, and
 * several loops may take on the same ones. All of them are one from then on, of which *ret_handle
 * is the name. Instead of net_epoll_listen. CONFAB_LIMIT, CONFAB_NOMEM, CONFAB_NET.
 */
CONFAB_NODISCARD enum confab_err net_epoll_adopt(struct net *n, const int *fds, int nfds,
                                                 int *ret_handle);
#define NET_EPOLL_ADOPT_MAX 8
/* Where a descriptor listens; false when it is no listening TCP socket. */
bool net_epoll_is_listener(int fd, struct net_peer *ret);

#endif
