/*
 * Port: net. Byte streams for one event loop. The real adapter is epoll over TCP sockets, the
 * simulator's is a set of in-memory pipes. Everything here belongs to one thread, except `wake`.
 *
 * Connections are small integers handed out by the adapter (file descriptors in the real one); the
 * caller keeps its own array by handle. Readiness is edge triggered: after an event, read until
 * CONFAB_AGAIN or a short read, write until CONFAB_AGAIN.
 */
#ifndef CONFAB_PORTS_NET_H
#define CONFAB_PORTS_NET_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

enum net_event_flags {
    NET_READABLE = 1,
    NET_WRITABLE = 2,
    NET_HANGUP = 4, /* reset or closed in both directions; the handle must still be closed */
    NET_ACCEPT = 8, /* the listener has connections; handle is that of the listener */
};

struct net_event {
    int handle;
    uint32_t flags;
};

struct net_peer {
    char address[48]; /* text, without port */
    uint16_t port;
};

struct net;
struct net_ops {
    const char *name;
    int version;
    /*
     * Waits up to timeout_ms (-1: for ever, 0: not at all) and fills up to `max` events; a wake
     * ends the wait with what is there, possibly nothing. Returns the number.
     */
    int (*poll)(struct net *n, struct net_event *events, int max, int timeout_ms);
    /* CONFAB_AGAIN: none waiting. CONFAB_LIMIT: out of descriptors. The connection is registered.
     */
    enum confab_err (*accept)(struct net *n, int listener, int *ret_handle,
                              struct net_peer *ret_peer);
    /* CONFAB_EOF: the peer closed its side. CONFAB_AGAIN: nothing there. CONFAB_NET: broken. */
    enum confab_err (*recv)(struct net *n, int handle, void *buf, size_t cap, size_t *ret_n);
    /* May take less than offered. CONFAB_AGAIN: NET_WRITABLE will follow. CONFAB_NET: broken. */
    enum confab_err (*writev)(struct net *n, int handle, const struct iovec *iov, int niov,
                              size_t *ret_n);
    /* While paused no NET_READABLE comes; a resume reports what is waiting as a new edge. */
    void (*pause_reading)(struct net *n, int handle, bool paused);
    void (*shutdown_write)(struct net *n, int handle);
    void (*close)(struct net *n, int handle);
    /* Any thread: makes a poll under way, or else the next one, return at once. */
    void (*wake)(struct net *n);
    /*
     * The peer of an open connection, as accept gave it: whoever needs it only now and then need
     * not keep it. Empty when it is gone.
     */
    void (*peer)(struct net *n, int handle, struct net_peer *ret_peer);
    /*
     * Takes no more connections: those that come from now on are refused, or wait for somebody else
     * who has the same listener. What waited before is accepted first, or lost. Once a listener.
     */
    void (*unlisten)(struct net *n, int listener);
};
struct net {
    const struct net_ops *ops;
};

#endif
