/*
 * net over TLS: a net that wraps another one, whose handles and listeners it takes on. It keeps the
 * contract of ports/net.h to the letter, so that the gateway does not know whether its bytes are
 * encrypted:
 *
 *   accept       gives a connection before its handshake; that goes on inside of poll and shows
 *                nothing of itself. Whoever sets a deadline for the first request bounds it too.
 *   recv         reads until the buffer is full or nothing is left: a short read means drained.
 *   NET_READABLE comes for bytes of the application (or the end), not for records of TLS alone.
 *   EOF          the peer ended TLS (close_notify). An end without that is CONFAB_NET: what was
 *                read may not be all that was sent.
 *   writev       bytes count as taken when the net below has them. After CONFAB_AGAIN or a short
 *                write the same bytes must be offered first, as for any stream.
 *
 *      accept ─► NEW ── first byte ─► SHAKING ─► OPEN ── error, reset ─► recv says CONFAB_NET
 *                                        │ refused: an alert, or HTTP's 400 to plain HTTP, is sent
 *                                        ▼
 *                                     REFUSED: what still comes is dropped until the peer closes
 *
 * Bounds: a connection that has sent nothing costs about 100 bytes, an idle one no record buffers,
 * one under way a record of 16 KiB in each direction, a handshake what OpenSSL lets a ClientHello
 * be (128 KiB). At most HANDSHAKES_PER_POLL steps of handshakes are made in one poll.
 */
#ifndef CONFAB_ADAPTERS_TLS_NET_TLS_H
#define CONFAB_ADAPTERS_TLS_NET_TLS_H

#include "adapters/tls/tls_server.h"
#include "ports/net.h"

/* Both are borrowed until net_tls_close. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err net_tls_open(struct tls_server *server, struct net *below,
                                              struct net **ret);
/* Frees what is left of connections; the net below is the caller's to close. NULL is fine. */
void net_tls_close(struct net *n);

#endif
