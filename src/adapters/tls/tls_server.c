#include "adapters/tls/tls_server.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/tls/tls_internal.h"
#include "base/check.h"
#include "base/compiler.h"

/* For 1.2; those of 1.3 are all good and stay as OpenSSL has them. */
static const char CIPHERS[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

static const unsigned char PROTOCOLS[] = "\x08http/1.1";

static enum confab_err refuse(char *detail, const char *fmt, ...) CONFAB_PRINTF(2, 3);
static enum confab_err refuse(char *detail, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(detail, TLS_DETAIL_MAX, fmt, args);
    va_end(args);
    ERR_clear_error();
    return CONFAB_INVALID;
}

/* A key with a passphrase is refused, not asked for: nobody may be there. */
static int no_passphrase(char *buf, int size, int rwflag, void *arg)
{
    (void)rwflag;
    if (size > 0) {
        buf[0] = '\0';
    }
    *(bool *)arg = true;
    return 0;
}

static bool is_readable(const char *path)
{
    FILE *f = fopen(path, "re");
    if (f) {
        int c = fgetc(f); /* a folder opens, and then says EISDIR */
        bool failed = c == EOF && ferror(f);
        int saved = errno;
        (void)fclose(f);
        errno = saved;
        return !failed;
    }
    return false;
}

static const char *reason(void)
{
    const char *text = ERR_reason_error_string(ERR_peek_last_error());
    return text ? text : "not usable";
}

static bool time_text(const ASN1_TIME *t, char *out, size_t size)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 && strftime(out, size, "%Y-%m-%d %H:%M UTC", &tm) > 0;
}

static enum confab_err use_cert(SSL_CTX *ctx, const char *path, char *detail)
{
    if (!is_readable(path)) {
        return refuse(detail, "tls-cert: %.300s cannot be read: %s", path, strerror(errno));
    }
    if (SSL_CTX_use_certificate_chain_file(ctx, path) != 1) {
        bool none = ERR_GET_REASON(ERR_peek_error()) == PEM_R_NO_START_LINE;
        return refuse(detail, "tls-cert: %.300s: %s", path,
                      none ? "there is no certificate in PEM form in it" : reason());
    }
    const X509 *cert = SSL_CTX_get0_certificate(ctx);
    char when[64] = "?";
    if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0) {
        (void)time_text(X509_get0_notAfter(cert), when, sizeof(when));
        return refuse(detail, "tls-cert: %.300s expired on %s", path, when);
    }
    if (X509_cmp_current_time(X509_get0_notBefore(cert)) > 0) {
        (void)time_text(X509_get0_notBefore(cert), when, sizeof(when));
        return refuse(detail, "tls-cert: %.300s is valid only from %s on", path, when);
    }
    return CONFAB_OK;
}

static enum confab_err use_key(SSL_CTX *ctx, const struct tls_server_config *cfg, char *detail)
{
    bool asked = false;
    if (!is_readable(cfg->key_path)) {
        return refuse(detail, "tls-key: %.300s cannot be read: %s", cfg->key_path, strerror(errno));
    }
    SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
    int ok = SSL_CTX_use_PrivateKey_file(ctx, cfg->key_path, SSL_FILETYPE_PEM);
    SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
    SSL_CTX_set_default_passwd_cb(ctx, NULL);
    if (asked) {
        return refuse(detail, "tls-key: %.300s has a passphrase; it must have none", cfg->key_path);
    }
    unsigned long err = ERR_peek_last_error();
    if (ok != 1 && ERR_GET_LIB(err) == ERR_LIB_X509) {
        return refuse(detail, "tls-key: %.200s is not the key of the certificate %.200s",
                      cfg->key_path, cfg->cert_path);
    }
    if (ok != 1) {
        return refuse(detail, "tls-key: there is no private key in PEM form in %.300s",
                      cfg->key_path);
    }
    if (SSL_CTX_check_private_key(ctx) != 1) {
        return refuse(detail, "tls-key: %.200s is not the key of the certificate %.200s",
                      cfg->key_path, cfg->cert_path);
    }
    return CONFAB_OK;
}

/* http/1.1 where the client names it; one that only knows others is told so by our answer. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_n,
                           const unsigned char *in, unsigned in_n, void *arg)
{
    static const unsigned char CHALLENGE[] = "\x0a" TLS_CHALLENGE_ALPN;
    (void)arg;
    unsigned char *chosen;
    if (tls_challenge_is_one(ssl)) {
        *out = CHALLENGE + 1;
        *out_n = CHALLENGE[0];
        return SSL_TLSEXT_ERR_OK;
    }
    if (SSL_select_next_proto(&chosen, out_n, PROTOCOLS, sizeof(PROTOCOLS) - 1, in, in_n) !=
        OPENSSL_NPN_NEGOTIATED) {
        return SSL_TLSEXT_ERR_NOACK;
    }
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *ctx)
{
    static const unsigned char ID[] = "confab";
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                       SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    /* An idle connection keeps no record buffers; a write may end after any record. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(ctx, 1);
    (void)SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, CIPHERS) == 1 &&
           SSL_CTX_set_session_id_context(ctx, ID, sizeof(ID) - 1) == 1;
}

static enum confab_err ctx_make(struct tls_server *s, const struct tls_server_config *cfg,
                                char *detail, SSL_CTX **ret)
{
    ERR_clear_error();
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    enum confab_err err = CONFAB_NOMEM;
    if (ctx && set_rules(ctx) && tls_tickets_use(s->tickets, ctx)) {
        tls_challenges_use(s->challenges, ctx);
        err = use_cert(ctx, cfg->cert_path, detail);
    }
    if (err == CONFAB_OK) {
        err = use_key(ctx, cfg, detail);
    }
    if (err != CONFAB_OK) {
        SSL_CTX_free(ctx);
        return err;
    }
    *ret = ctx;
    return CONFAB_OK;
}

enum confab_err tls_server_open(const struct tls_server_config *cfg, char *detail,
                                struct tls_server **ret)
{
    struct tls_server *s = calloc(1, sizeof(*s));
    if (!s) {
        return CONFAB_NOMEM;
    }
    CHECK(pthread_mutex_init(&s->lock, NULL) == 0);
    s->bio = net_tls_bio_method();
    enum confab_err err = tls_tickets_new(&s->tickets);
    if (err == CONFAB_OK) {
        err = tls_challenges_new(&s->challenges);
    }
    if (err == CONFAB_OK) {
        err = s->bio ? ctx_make(s, cfg, detail, &s->ctx) : CONFAB_NOMEM;
    }
    if (err != CONFAB_OK) {
        tls_server_close(s);
        return err;
    }
    *ret = s;
    return CONFAB_OK;
}

/* A session that was agreed on under the old certificate is not resumed under the new one. */
enum confab_err tls_server_reload(struct tls_server *s, const struct tls_server_config *cfg,
                                  char *detail)
{
    SSL_CTX *fresh;
    enum confab_err err = ctx_make(s, cfg, detail, &fresh);
    if (err != CONFAB_OK) {
        return err;
    }
    tls_tickets_forget(s->tickets);
    CHECK(pthread_mutex_lock(&s->lock) == 0);
    SSL_CTX *old = s->ctx;
    s->ctx = fresh;
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
    SSL_CTX_free(old);
    return CONFAB_OK;
}

enum confab_err tls_server_challenge(struct tls_server *s, const char *name, const uint8_t *digest)
{
    return tls_challenges_set(s->challenges, name, digest);
}

void tls_server_tick(struct tls_server *s, uint64_t now_ms)
{
    tls_tickets_tick(s->tickets, now_ms);
}

/* Under the lock: it takes the connection's reference before a reload can let the last one go. */
SSL *tls_server_ssl_new(struct tls_server *s)
{
    CHECK(pthread_mutex_lock(&s->lock) == 0);
    SSL *ssl = SSL_new(s->ctx);
    CHECK(pthread_mutex_unlock(&s->lock) == 0);
    return ssl;
}

void tls_server_close(struct tls_server *s)
{
    if (s) {
        SSL_CTX_free(s->ctx);
        tls_tickets_free(s->tickets);
        tls_challenges_free(s->challenges);
        BIO_meth_free(s->bio);
        CHECK(pthread_mutex_destroy(&s->lock) == 0);
        free(s);
    }
}

void tls_server_stats(const struct tls_server *s, struct tls_server_stats *ret)
{
    ret->handshakes_ok = atomic_load_explicit(&s->handshakes_ok, memory_order_relaxed);
    ret->resumed = atomic_load_explicit(&s->resumed, memory_order_relaxed);
    ret->challenged = atomic_load_explicit(&s->challenged, memory_order_relaxed);
    ret->handshakes_failed = atomic_load_explicit(&s->handshakes_failed, memory_order_relaxed);
    ret->plain_http = atomic_load_explicit(&s->plain_http, memory_order_relaxed);
    ret->truncated = atomic_load_explicit(&s->truncated, memory_order_relaxed);
}
