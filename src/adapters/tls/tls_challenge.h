/*
 * TLS-ALPN-01 (RFC 8737): an authority proves that this server has a name by connecting to it with
 * the protocol acme-tls/1 and looking for a certificate of that name which holds a digest that it
 * has agreed on with us. Such a connection says nothing else and is closed after the handshake.
 *
 * Private to this folder and its tests, but for tls_server_challenge (tls_server.h).
 */
#ifndef CONFAB_ADAPTERS_TLS_TLS_CHALLENGE_H
#define CONFAB_ADAPTERS_TLS_TLS_CHALLENGE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define TLS_CHALLENGES_MAX 32U
#define TLS_CHALLENGE_SIZE 32U
#define TLS_CHALLENGE_ALPN "acme-tls/1"

struct tls_challenges;
/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err tls_challenges_new(struct tls_challenges **ret);
/* After all contexts that use it. NULL is fine. */
void tls_challenges_free(struct tls_challenges *c);
/* Makes a context answer them. */
void tls_challenges_use(struct tls_challenges *c, SSL_CTX *ctx);
/* See tls_server_challenge. */
CONFAB_NODISCARD enum confab_err tls_challenges_set(struct tls_challenges *c, const char *name,
                                                    const uint8_t *digest);
/* Was it a connection of an authority's? After the client's hello. */
bool tls_challenge_is_one(const SSL *ssl);

#endif
