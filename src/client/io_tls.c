#include "client/io_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/compiler.h"

#define SHA256_SIZE 32U

struct ctls {
    SSL_CTX *ctx;
    BIO_METHOD *bio;
    char *host;
    bool pinned;
    unsigned char pin[SHA256_SIZE];
};

struct ctls_conn {
    const struct ctls *t;
    SSL *ssl;
    int fd;
    bool wants_write;
    bool end; /* the peer closed its side */
    enum confab_err over;
    char why[CTLS_WHY_SIZE];
};

/* ---- Bytes: as OpenSSL's own socket BIO, but without SIGPIPE ---- */

static int bio_read(BIO *b, char *out, int n)
{
    struct ctls_conn *c = BIO_get_data(b);
    ssize_t r;
    BIO_clear_retry_flags(b);
    do {
        r = recv(c->fd, out, (size_t)n, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_read(b);
    }
    c->end = c->end || r == 0;
    return (int)r;
}

static int bio_write(BIO *b, const char *p, int n)
{
    const struct ctls_conn *c = BIO_get_data(b);
    ssize_t r;
    BIO_clear_retry_flags(b);
    do {
        r = send(c->fd, p, (size_t)n, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    if (r < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        BIO_set_retry_write(b);
    }
    return (int)r;
}

static long bio_ctrl(BIO *b, int cmd, long number, void *parg)
{
    (void)number;
    (void)parg;
    const struct ctls_conn *c = BIO_get_data(b);
    return cmd == BIO_CTRL_FLUSH || (cmd == BIO_CTRL_EOF && c && c->end);
}

static int bio_create(BIO *b)
{
    BIO_set_init(b, 1);
    return 1;
}

static BIO_METHOD *bio_method(void)
{
    /* Without an index of its own: there are 128 in a process, and nobody looks for this type. */
    BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "libconfab");
    if (m && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
        BIO_meth_set_ctrl(m, bio_ctrl) == 1 && BIO_meth_set_create(m, bio_create) == 1) {
        return m;
    }
    BIO_meth_free(m);
    return NULL;
}

/* ---- What is trusted ---- */

static int hex_of(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool pin_parse(const char *text, unsigned char out[SHA256_SIZE])
{
    size_t n = 0;
    for (; *text; text++) {
        if (*text == ':' && n % 2 == 0) {
            continue;
        }
        int digit = hex_of(*text);
        if (digit < 0 || n == (size_t)SHA256_SIZE * 2) {
            return false;
        }
        out[n / 2] = (unsigned char)(n % 2 == 0 ? digit << 4 : out[n / 2] | digit);
        n++;
    }
    return n == (size_t)SHA256_SIZE * 2;
}

static bool is_set(const char *text)
{
    return text && text[0] != '\0';
}

static enum confab_err trust_set(struct ctls *t, const char *ca_file, const char *fingerprint)
{
    if (is_set(fingerprint)) {
        t->pinned = true;
        SSL_CTX_set_verify(t->ctx, SSL_VERIFY_NONE, NULL); /* see pin_check */
        return pin_parse(fingerprint, t->pin) ? CONFAB_OK : CONFAB_INVALID;
    }
    SSL_CTX_set_verify(t->ctx, SSL_VERIFY_PEER, NULL);
    if (!is_set(ca_file)) {
        return SSL_CTX_set_default_verify_paths(t->ctx) == 1 ? CONFAB_OK : CONFAB_INVALID;
    }
    /* The file may hold the server's own certificate instead of an authority's. */
    (void)X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(t->ctx), X509_V_FLAG_PARTIAL_CHAIN);
    return SSL_CTX_load_verify_locations(t->ctx, ca_file, NULL) == 1 ? CONFAB_OK : CONFAB_INVALID;
}

enum confab_err ctls_new(const char *host, const char *ca_file, const char *fingerprint,
                         struct ctls **ret)
{
    struct ctls *t = calloc(1, sizeof(*t));
    if (!t) {
        return CONFAB_NOMEM;
    }
    ERR_clear_error();
    t->ctx = SSL_CTX_new(TLS_client_method());
    t->bio = bio_method();
    t->host = strdup(host);
    enum confab_err err = CONFAB_NOMEM;
    if (t->ctx && t->bio && t->host && SSL_CTX_set_min_proto_version(t->ctx, TLS1_2_VERSION) == 1) {
        (void)SSL_CTX_set_mode(t->ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                           SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        (void)SSL_CTX_set_options(t->ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
        err = trust_set(t, ca_file, fingerprint);
    }
    ERR_clear_error();
    if (err) {
        ctls_free(t);
        return err;
    }
    *ret = t;
    return CONFAB_OK;
}

void ctls_free(struct ctls *t)
{
    if (t) {
        SSL_CTX_free(t->ctx);
        BIO_meth_free(t->bio);
        free(t->host);
        free(t);
    }
}

/* ---- Connections ---- */

/* The name or the address that the certificate must be for; names are told to the server, too. */
static bool host_set(SSL *ssl, const char *host)
{
    unsigned char raw[16];
    if (inet_pton(AF_INET, host, raw) == 1 || inet_pton(AF_INET6, host, raw) == 1) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
    }
    return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

enum confab_err ctls_conn_new(const struct ctls *t, int fd, struct ctls_conn **ret)
{
    struct ctls_conn *c = calloc(1, sizeof(*c));
    SSL *ssl = SSL_new(t->ctx);
    BIO *bio = BIO_new(t->bio);
    if (!c || !ssl || !bio || !host_set(ssl, t->host)) {
        SSL_free(ssl);
        (void)BIO_free(bio);
        free(c);
        ERR_clear_error();
        return CONFAB_NOMEM;
    }
    c->t = t;
    c->fd = fd;
    c->ssl = ssl;
    BIO_set_data(bio, c);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_connect_state(ssl);
    *ret = c;
    return CONFAB_OK;
}

void ctls_conn_free(struct ctls_conn *c)
{
    if (c) {
        if (SSL_is_init_finished(c->ssl) && !c->over) {
            (void)SSL_shutdown(c->ssl);
        }
        SSL_free(c->ssl);
        free(c);
        ERR_clear_error();
    }
}

static void why_set(struct ctls_conn *c, const char *text)
{
    (void)snprintf(c->why, sizeof(c->why), "%s", text);
}

static enum confab_err pin_check(struct ctls_conn *c)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    X509 *cert = SSL_get0_peer_certificate(c->ssl);
    if (!cert || X509_digest(cert, EVP_sha256(), hash, &n) != 1 || n != SHA256_SIZE) {
        why_set(c, "the server has no certificate");
        return CONFAB_FORBIDDEN;
    }
    if (memcmp(hash, c->t->pin, SHA256_SIZE) == 0) {
        return CONFAB_OK;
    }
    size_t len = (size_t)snprintf(c->why, sizeof(c->why), "its fingerprint is ");
    for (unsigned i = 0; i < n && len + 4 < sizeof(c->why); i++) {
        len += (size_t)snprintf(c->why + len, sizeof(c->why) - len, "%02X%s", hash[i],
                                i + 1 < n ? ":" : "");
    }
    return CONFAB_FORBIDDEN;
}

static enum confab_err shake_failed(struct ctls_conn *c)
{
    long verified = SSL_get_verify_result(c->ssl);
    if (!c->t->pinned && verified != X509_V_OK) {
        why_set(c, X509_verify_cert_error_string(verified));
        return CONFAB_FORBIDDEN;
    }
    const char *text = ERR_reason_error_string(ERR_peek_error());
    why_set(c, text ? text : "the connection ended");
    return CONFAB_NET;
}

enum confab_err ctls_conn_shake(struct ctls_conn *c)
{
    ERR_clear_error();
    int r = SSL_do_handshake(c->ssl);
    if (r == 1) {
        c->over = c->t->pinned ? pin_check(c) : CONFAB_OK;
        return c->over;
    }
    int error = SSL_get_error(c->ssl, r);
    c->wants_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return CONFAB_AGAIN;
    }
    c->over = shake_failed(c);
    return c->over;
}

const char *ctls_conn_why(const struct ctls_conn *c)
{
    return c->why;
}

short ctls_conn_events(const struct ctls_conn *c)
{
    return c->wants_write ? POLLOUT : POLLIN;
}

/* After a call that moved nothing. */
static enum confab_err stopped(struct ctls_conn *c, int r)
{
    int error = SSL_get_error(c->ssl, r);
    c->wants_write = error == SSL_ERROR_WANT_WRITE;
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        return CONFAB_AGAIN;
    }
    c->over = error == SSL_ERROR_ZERO_RETURN ? CONFAB_EOF : CONFAB_NET;
    return c->over;
}

enum confab_err ctls_conn_read(struct ctls_conn *c, void *p, size_t n, size_t *ret_n)
{
    size_t got = 0;
    while (got < n && !c->over) {
        size_t some = 0;
        ERR_clear_error();
        int r = SSL_read_ex(c->ssl, (char *)p + got, n - got, &some);
        if (r != 1) {
            enum confab_err err = stopped(c, r);
            if (err == CONFAB_AGAIN && got == 0) {
                return err;
            }
            break;
        }
        got += some;
    }
    if (got == 0) {
        return c->over;
    }
    *ret_n = got;
    return CONFAB_OK;
}

enum confab_err ctls_conn_write(struct ctls_conn *c, const void *p, size_t n, size_t *ret_n)
{
    size_t done = 0;
    ERR_clear_error();
    int r = c->over == CONFAB_NET ? -1 : SSL_write_ex(c->ssl, p, n, &done);
    if (r == 1) {
        *ret_n = done;
        return CONFAB_OK;
    }
    return c->over == CONFAB_NET ? CONFAB_NET : stopped(c, r);
}

bool ctls_conn_has_pending(const struct ctls_conn *c)
{
    /* The end stands behind a short read and is told to poll only once. */
    return c->over != CONFAB_OK || SSL_has_pending(c->ssl) == 1;
}
