/*
 * Keys of session tickets: with a ticket a client that comes back spares itself and the server the
 * expensive half of a handshake, and the server keeps nothing. What is in a ticket lets whoever has
 * its key read the connection, so the keys live in memory only, and not for long:
 *
 *     key[0] ── TLS_TICKET_ROTATE_MS ──► key[1] ──► key[2] ──► forgotten
 *     makes and opens tickets            open tickets only: the client gets a fresh one
 *
 * A ticket is good for TLS_TICKET_S, for which its key is surely kept. Private to this folder and
 * its tests.
 */
#ifndef CONFAB_ADAPTERS_TLS_TLS_TICKETS_H
#define CONFAB_ADAPTERS_TLS_TLS_TICKETS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TLS_TICKET_KEYS      3U
#define TLS_TICKET_ROTATE_MS (8ULL * 60 * 60 * 1000)
#define TLS_TICKET_S         (16L * 60 * 60)

struct tls_tickets;
/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err tls_tickets_new(struct tls_tickets **ret);
/* After all contexts that use it. NULL is fine. */
void tls_tickets_free(struct tls_tickets *t);
/* Makes a context give out and take tickets of these keys. */
bool tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx);
/* Any thread: rotates when it is time. */
void tls_tickets_tick(struct tls_tickets *t, uint64_t now_ms);
/* Any thread: no ticket that was given out so far is good any more. */
void tls_tickets_forget(struct tls_tickets *t);

#endif
