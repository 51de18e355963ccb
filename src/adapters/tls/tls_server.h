/*
 * What a server needs to speak TLS: a certificate with its key, and what is agreed on with clients.
 * Shared by the loops of a server (net_tls.h). The pair can be changed while it serves: connections
 * from then on meet the new one, those that are open keep what they have.
 *
 * TLS 1.2 and 1.3. Of 1.2 only what has forward secrecy and authenticated encryption; no
 * renegotiation, no compression. Sessions are resumed by tickets (tls_tickets.h).
 */
#ifndef CONFAB_ADAPTERS_TLS_TLS_SERVER_H
#define CONFAB_ADAPTERS_TLS_TLS_SERVER_H

#include <stdint.h>

#include "base/err.h"

#define TLS_DETAIL_MAX 512

struct tls_server_config {
    const char *cert_path; /* PEM: the server's certificate, then those between it and the root */
    const char *key_path;  /* PEM, without passphrase */
};

struct tls_server;
/*
 * CONFAB_INVALID and one line in `detail` (TLS_DETAIL_MAX): unreadable, not PEM, not a pair,
 * expired or not valid yet, too weak. CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err tls_server_open(const struct tls_server_config *cfg, char *detail,
                                                 struct tls_server **ret);
/*
 * Reads a pair as tls_server_open does and changes to it. On an error the present one stays. One
 * thread at a time, beside any number of loops.
 */
CONFAB_NODISCARD enum confab_err
tls_server_reload(struct tls_server *s, const struct tls_server_config *cfg, char *detail);
/* Now and then, by the thread that reloads: changes the key of the tickets when it is time. */
void tls_server_tick(struct tls_server *s, uint64_t now_ms);
/*
 * Any thread: answers TLS-ALPN-01 for a name with that digest (32 bytes), or with NULL does not any
 * more. CONFAB_LIMIT: too many at once, or too long a name. CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err tls_server_challenge(struct tls_server *s, const char *name,
                                                      const uint8_t *digest);
/* After all nets that use it. NULL is fine. */
void tls_server_close(struct tls_server *s);

struct tls_server_stats {
    uint64_t handshakes_ok;
    uint64_t resumed;           /* of these: by a ticket */
    uint64_t challenged;        /* of these: by an authority that looked for a challenge */
    uint64_t handshakes_failed; /* plain_http is not among them */
    uint64_t plain_http;        /* a request without TLS came */
    uint64_t truncated;         /* the peer ended the connection, but not TLS */
};
/* Any thread. */
void tls_server_stats(const struct tls_server *s, struct tls_server_stats *ret);

#endif
