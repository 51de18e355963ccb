/*
 * Certificates as files: one of the server's own making for a home network, and what people are
 * shown of any. One self-signed certificate and no authority of ours: what is trusted on a phone
 * vouches for this server alone, and a stolen key for nothing else.
 */
#ifndef CONFAB_ADAPTERS_TLS_TLS_CERT_H
#define CONFAB_ADAPTERS_TLS_TLS_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "adapters/tls/tls_server.h"

#define TLS_NAMES_MAX        32U
#define TLS_NAME_MAX         64U
#define TLS_FINGERPRINT_SIZE 96U
#define TLS_CERT_DAYS        825U /* more is not accepted by Apple's systems */

/* Host names and numeric addresses that a certificate is for. */
struct tls_names {
    size_t n;
    char at[TLS_NAMES_MAX][TLS_NAME_MAX];
};
/* Does nothing when it is there, too long, or there is no room; false for the last two. */
bool tls_names_add(struct tls_names *names, const char *name);
bool tls_names_have(const struct tls_names *names, const char *name);

struct tls_cert {
    char fingerprint[TLS_FINGERPRINT_SIZE]; /* SHA-256, as AA:BB:… */
    int64_t seconds_left;                   /* below 0: expired */
    int64_t begins_s;                       /* since 1970 */
    int64_t ends_s;
    struct tls_names names;
};
/* Reads the first certificate of a PEM file. CONFAB_NOT_FOUND: no file, or none in it. */
CONFAB_NODISCARD enum confab_err tls_cert_look(const char *path, struct tls_cert *ret);
/*
 * Writes a certificate for `names`, valid from an hour ago for TLS_CERT_DAYS, ECDSA on P-256, with
 * the key of key_path, which is made (mode 0600) when there is none. Each file is there in full or
 * as it was. CONFAB_IO, CONFAB_INVALID (the key cannot be used), CONFAB_NOMEM; one line in `detail`
 * (TLS_DETAIL_MAX).
 */
CONFAB_NODISCARD enum confab_err tls_cert_make(const char *cert_path, const char *key_path,
                                               const struct tls_names *names, char *detail);

#endif
