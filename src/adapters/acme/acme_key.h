/*
 * What ACME signs with: keys as files, requests as JWS (RFC 7515, ES256), and the request for a
 * certificate. Private to this folder and its tests.
 */
#ifndef CONFAB_ADAPTERS_ACME_ACME_KEY_H
#define CONFAB_ADAPTERS_ACME_ACME_KEY_H

#include <openssl/evp.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define ACME_B64_32 44U /* 32 bytes in base64url, and a zero */

/* ECDSA on P-256 from a PEM file (mode 0600), made when there is none. CONFAB_IO, CONFAB_INVALID.
 */
CONFAB_NODISCARD enum confab_err acme_key_get(const char *path, EVP_PKEY **ret);
/* A new one, in memory; NULL when out of memory. */
EVP_PKEY *acme_key_new(void);

/* The public key as a JWK with its members in order. */
void acme_put_jwk(struct buf *out, const EVP_PKEY *key);
/* RFC 7638: SHA-256 of the above. */
CONFAB_NODISCARD enum confab_err acme_thumbprint(const EVP_PKEY *key, char ret[ACME_B64_32]);
/*
 * A signed request. `kid`: the account's URL, NULL while there is none (then the key itself is in
 * it). An empty payload reads a resource. CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err acme_put_jws(struct buf *out, EVP_PKEY *key, const char *kid,
                                              const char *nonce, const char *url,
                                              struct span payload);
/* A request for a certificate of `names` (n of them) in base64url. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err acme_put_csr(struct buf *out, EVP_PKEY *key,
                                              const char *const *names, size_t n);
/* The private key in PEM form. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err acme_put_key(struct buf *out, const EVP_PKEY *key);
void acme_put_base64url(struct buf *out, const void *p, size_t n);

#endif
