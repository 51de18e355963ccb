#include "adapters/tls/tls_challenge.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/check.h"

#define NAME_BYTES 256U
/* id-pe-acmeIdentifier */
#define IDENTIFIER_OID "1.3.6.1.5.5.7.1.31"

struct challenge {
    char name[NAME_BYTES];
    X509 *cert;
};

struct tls_challenges {
    pthread_mutex_t lock;
    EVP_PKEY *key; /* of all of them: nothing but the digest counts */
    struct challenge all[TLS_CHALLENGES_MAX];
    size_t n;
};

enum confab_err tls_challenges_new(struct tls_challenges **ret)
{
    struct tls_challenges *c = calloc(1, sizeof(*c));
    if (!c) {
        return CONFAB_NOMEM;
    }
    CHECK(pthread_mutex_init(&c->lock, NULL) == 0);
    *ret = c;
    return CONFAB_OK;
}

void tls_challenges_free(struct tls_challenges *c)
{
    if (c) {
        for (size_t i = 0; i < c->n; i++) {
            X509_free(c->all[i].cert);
        }
        EVP_PKEY_free(c->key);
        CHECK(pthread_mutex_destroy(&c->lock) == 0);
        free(c);
    }
}

/* ---- Certificates ---- */

static bool add_text_extension(X509 *cert, int nid, const char *value)
{
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

/* Critical, and its value an OCTET STRING in an OCTET STRING. */
static bool add_identifier(X509 *cert, const uint8_t *digest)
{
    unsigned char der[2 + TLS_CHALLENGE_SIZE] = {V_ASN1_OCTET_STRING, TLS_CHALLENGE_SIZE};
    memcpy(der + 2, digest, TLS_CHALLENGE_SIZE);
    ASN1_OBJECT *oid = OBJ_txt2obj(IDENTIFIER_OID, 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    X509_EXTENSION *ext = NULL;
    bool ok = oid && value && ASN1_OCTET_STRING_set(value, der, (int)sizeof(der)) == 1;
    ext = ok ? X509_EXTENSION_create_by_OBJ(NULL, oid, 1, value) : NULL;
    ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    ASN1_OCTET_STRING_free(value);
    ASN1_OBJECT_free(oid);
    return ok;
}

static X509 *cert_make(EVP_PKEY *key, const char *name, const uint8_t *digest)
{
    char names[NAME_BYTES + 8];
    (void)snprintf(names, sizeof(names), "DNS:%s", name);
    X509 *cert = X509_new();
    X509_NAME *subject = cert ? X509_get_subject_name(cert) : NULL;
    if (cert && ASN1_INTEGER_set(X509_get_serialNumber(cert), 1) == 1 &&
        X509_set_version(cert, X509_VERSION_3) == 1 &&
        X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
        X509_gmtime_adj(X509_getm_notAfter(cert), 86400) && X509_set_pubkey(cert, key) == 1 &&
        X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                   (const unsigned char *)"ACME challenge", -1, -1, 0) == 1 &&
        X509_set_issuer_name(cert, subject) == 1 &&
        add_text_extension(cert, NID_subject_alt_name, names) && add_identifier(cert, digest) &&
        X509_sign(cert, key, EVP_sha256()) > 0) {
        return cert;
    }
    X509_free(cert);
    ERR_clear_error();
    return NULL;
}

static struct challenge *find(struct tls_challenges *c, const char *name)
{
    for (size_t i = 0; i < c->n; i++) {
        if (strcasecmp(c->all[i].name, name) == 0) {
            return &c->all[i];
        }
    }
    return NULL;
}

static void drop(struct tls_challenges *c, const char *name)
{
    struct challenge *old = find(c, name);
    if (old) {
        X509_free(old->cert);
        *old = c->all[--c->n];
    }
}

enum confab_err tls_challenges_set(struct tls_challenges *c, const char *name,
                                   const uint8_t *digest)
{
    enum confab_err err = CONFAB_OK;
    CHECK(pthread_mutex_lock(&c->lock) == 0);
    drop(c, name);
    if (digest) {
        c->key = c->key ? c->key : EVP_EC_gen("P-256");
        X509 *cert = NULL;
        if (c->n == TLS_CHALLENGES_MAX || strlen(name) >= NAME_BYTES) {
            err = CONFAB_LIMIT;
        } else if (!c->key || !(cert = cert_make(c->key, name, digest))) {
            err = CONFAB_NOMEM;
        } else {
            struct challenge *fresh = &c->all[c->n++];
            (void)snprintf(fresh->name, sizeof(fresh->name), "%s", name);
            fresh->cert = cert;
        }
    }
    CHECK(pthread_mutex_unlock(&c->lock) == 0);
    return err;
}

/* ---- The client's hello ---- */

/* Reads a length of two bytes; false when there is not that much. */
static bool take_16(const unsigned char **p, size_t *n, size_t *ret)
{
    if (*n < 2) {
        return false;
    }
    *ret = (size_t)((*p)[0] << 8 | (*p)[1]);
    *p += 2;
    *n -= 2;
    return *ret <= *n;
}

/* The extension holds acme-tls/1 and nothing else, as it must. */
static bool offers_challenge(SSL *ssl)
{
    static const char want[] = "\x0a" TLS_CHALLENGE_ALPN;
    const unsigned char *p;
    size_t n;
    size_t len;
    return SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_application_layer_protocol_negotiation, &p,
                                     &n) == 1 &&
           take_16(&p, &n, &len) && len == n && n == sizeof(want) - 1 && memcmp(p, want, n) == 0;
}

static bool hello_name(SSL *ssl, char ret[NAME_BYTES])
{
    const unsigned char *p;
    size_t n;
    size_t len;
    if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &p, &n) != 1 ||
        !take_16(&p, &n, &len) || len != n || n < 1 || *p != TLSEXT_NAMETYPE_host_name) {
        return false;
    }
    p++;
    n--;
    if (!take_16(&p, &n, &len) || len == 0 || len >= NAME_BYTES || memchr(p, '\0', len)) {
        return false;
    }
    memcpy(ret, p, len);
    ret[len] = '\0';
    return true;
}

/*
 * Before anything is decided: the certificate of the challenge takes the place of the server's own
 * for this connection. Who asks for one that there is not is refused.
 */
static int on_hello(SSL *ssl, int *alert, void *arg)
{
    struct tls_challenges *c = arg;
    char name[NAME_BYTES];
    if (!offers_challenge(ssl)) {
        return SSL_CLIENT_HELLO_SUCCESS;
    }
    bool ok = false;
    if (hello_name(ssl, name)) {
        CHECK(pthread_mutex_lock(&c->lock) == 0);
        const struct challenge *found = find(c, name);
        if (found) {
            SSL_certs_clear(ssl);
            ok = SSL_use_certificate(ssl, found->cert) == 1 && SSL_use_PrivateKey(ssl, c->key) == 1;
        }
        CHECK(pthread_mutex_unlock(&c->lock) == 0);
    }
    if (!ok || SSL_set_app_data(ssl, c) != 1) {
        *alert = SSL_AD_UNRECOGNIZED_NAME;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

void tls_challenges_use(struct tls_challenges *c, SSL_CTX *ctx)
{
    SSL_CTX_set_client_hello_cb(ctx, on_hello, c);
}

bool tls_challenge_is_one(const SSL *ssl)
{
    return SSL_get_app_data(ssl) != NULL;
}
