/*
 * What a server needs to speak TLS: a certificate with its key, and what is agreed on with clients.
 * Made once, then only read, and shared by the loops of a server (net_tls.h).
 *
 * TLS 1.2 and 1.3. Of 1.2 only what has forward secrecy and authenticated encryption; no
 * renegotiation, no compression. Sessions are resumed by tickets, whose key dies with the process.
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
/* After all nets that use it. NULL is fine. */
void tls_server_close(struct tls_server *s);

struct tls_server_stats {
    uint64_t handshakes_ok;
    uint64_t handshakes_failed; /* plain_http is not among them */
    uint64_t plain_http;        /* a request without TLS came */
    uint64_t truncated;         /* the peer ended the connection, but not TLS */
};
/* Any thread. */
void tls_server_stats(const struct tls_server *s, struct tls_server_stats *ret);

#endif
