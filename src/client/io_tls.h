/*
 * TLS of a client's connections, over their descriptors: OpenSSL, 1.2 and 1.3. The server's
 * certificate is always checked: against the system's authorities and the host's name, or against
 * those of a file, or by its fingerprint alone.
 */
#ifndef CONFAB_CLIENT_IO_TLS_H
#define CONFAB_CLIENT_IO_TLS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define CTLS_WHY_SIZE 192

struct ctls; /* what the connections of one client share */
/*
 * `ca_file` (PEM) and `fingerprint` (SHA-256 in hex, colons and case do not matter) may be NULL or
 * empty. CONFAB_INVALID: one of them cannot be used; CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err ctls_new(const char *host, const char *ca_file,
                                          const char *fingerprint, struct ctls **ret);
void ctls_free(struct ctls *t); /* NULL is fine */

struct ctls_conn;
/* CONFAB_NOMEM. The descriptor stays the caller's. */
CONFAB_NODISCARD enum confab_err ctls_conn_new(const struct ctls *t, int fd,
                                               struct ctls_conn **ret);
void ctls_conn_free(struct ctls_conn *c); /* says goodbye if that is possible at once */
/*
 * Goes on with the handshake. CONFAB_AGAIN: wait for ctls_conn_events. CONFAB_FORBIDDEN: the
 * server's certificate is not trusted. CONFAB_NET. For both ctls_conn_why tells more.
 */
CONFAB_NODISCARD enum confab_err ctls_conn_shake(struct ctls_conn *c);
const char *ctls_conn_why(const struct ctls_conn *c);
/* Of poll: what the last CONFAB_AGAIN waits for. */
short ctls_conn_events(const struct ctls_conn *c);
/* Fills the buffer as far as there is something: a short read means drained. CONFAB_EOF: in good
 * order; CONFAB_AGAIN, CONFAB_NET. */
CONFAB_NODISCARD enum confab_err ctls_conn_read(struct ctls_conn *c, void *p, size_t n,
                                                size_t *ret_n);
CONFAB_NODISCARD enum confab_err ctls_conn_write(struct ctls_conn *c, const void *p, size_t n,
                                                 size_t *ret_n);
/* Bytes wait that poll does not know of. */
bool ctls_conn_has_pending(const struct ctls_conn *c);

#endif
