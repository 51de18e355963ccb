#include "tls_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/err.h>

#include "adapters/tls/tls_cert.h"

struct tls_peer *tls_peer_new(struct tls_wire wire, int max_version, const char *ciphers)
{
    struct tls_peer *p = calloc(1, sizeof(*p));
    assert_non_null(p);
    p->wire = wire;
    p->ctx = SSL_CTX_new(TLS_client_method());
    assert_non_null(p->ctx);
    SSL_CTX_set_security_level(p->ctx, 0); /* so that it offers what the server must refuse */
    assert_int_equal(SSL_CTX_set_min_proto_version(p->ctx, TLS1_VERSION), 1);
    assert_int_equal(SSL_CTX_set_max_proto_version(p->ctx, max_version), 1);
    if (ciphers) {
        assert_int_equal(SSL_CTX_set_cipher_list(p->ctx, ciphers), 1);
    }
    p->ssl = SSL_new(p->ctx);
    p->in = BIO_new(BIO_s_mem());
    p->out = BIO_new(BIO_s_mem());
    assert_true(p->ssl && p->in && p->out);
    (void)BIO_set_mem_eof_return(p->in, -1);
    (void)BIO_set_mem_eof_return(p->out, -1);
    SSL_set_bio(p->ssl, p->in, p->out);
    SSL_set_connect_state(p->ssl);
    return p;
}

void tls_peer_free(struct tls_peer *p)
{
    if (p) {
        SSL_free(p->ssl);
        SSL_CTX_free(p->ctx);
        free(p);
    }
}

static void push(struct tls_peer *p)
{
    char *data;
    long left;
    while (!p->broken && (left = BIO_get_mem_data(p->out, &data)) > 0) {
        size_t want = p->step > 0 && p->step < (size_t)left ? p->step : (size_t)left;
        size_t n = 0;
        enum confab_err err = p->wire.send(p->wire.arg, data, want, &n);
        if (err) {
            p->broken = err != CONFAB_AGAIN;
            return;
        }
        char drop[4096];
        while (n > 0) {
            int k = BIO_read(p->out, drop, (int)(n < sizeof(drop) ? n : sizeof(drop)));
            assert_true(k > 0);
            n -= (size_t)k;
        }
        if (p->step > 0) {
            return;
        }
    }
}

/* Not more than a record ahead, so that the server meets a reader who has not read. */
static void pull(struct tls_peer *p)
{
    char data[16384];
    size_t n = 0;
    if (p->end || p->broken || BIO_ctrl_pending(p->in) >= sizeof(data)) {
        return;
    }
    enum confab_err err = p->wire.recv(p->wire.arg, data, sizeof(data), &n);
    if (err == CONFAB_OK) {
        assert_int_equal(BIO_write(p->in, data, (int)n), n);
    } else if (err == CONFAB_EOF) {
        p->end = true;
        (void)BIO_set_mem_eof_return(p->in, 0);
    } else if (err != CONFAB_AGAIN) {
        p->broken = true;
    }
}

void tls_peer_pump(struct tls_peer *p)
{
    push(p);
    pull(p);
    if (!SSL_is_init_finished(p->ssl)) {
        ERR_clear_error();
        (void)SSL_do_handshake(p->ssl);
    }
    push(p);
}

bool tls_peer_is_ready(const struct tls_peer *p)
{
    return SSL_is_init_finished(p->ssl) && BIO_ctrl_pending(p->out) == 0;
}

enum confab_err tls_peer_send(struct tls_peer *p, const void *data, size_t n, size_t *ret_n)
{
    tls_peer_pump(p);
    if (p->broken) {
        return CONFAB_NET;
    }
    if (!tls_peer_is_ready(p)) {
        return CONFAB_AGAIN;
    }
    ERR_clear_error();
    if (SSL_write_ex(p->ssl, data, n, ret_n) != 1) {
        return CONFAB_NET;
    }
    push(p);
    return CONFAB_OK;
}

enum confab_err tls_peer_recv(struct tls_peer *p, void *data, size_t n, size_t *ret_n)
{
    tls_peer_pump(p);
    ERR_clear_error();
    int r = SSL_read_ex(p->ssl, data, n, ret_n);
    if (r == 1) {
        return CONFAB_OK;
    }
    switch (SSL_get_error(p->ssl, r)) {
    case SSL_ERROR_WANT_READ:
        return p->broken ? CONFAB_NET : CONFAB_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return CONFAB_EOF;
    default:
        return CONFAB_NET;
    }
}

void tls_peer_finish(struct tls_peer *p)
{
    (void)SSL_shutdown(p->ssl);
    push(p);
}

/* ---- Files ---- */

static char folder[64];
static char cert_path[96];
static char key_path[96];
static struct tls_server_config files;

const struct tls_server_config *tls_test_files(void)
{
    if (!files.cert_path) {
        char detail[TLS_DETAIL_MAX] = "";
        struct tls_names names = {0};
        assert_true(tls_names_add(&names, "localhost") && tls_names_add(&names, "127.0.0.1"));
        snprintf(folder, sizeof(folder), "/tmp/confab-tls-XXXXXX");
        assert_non_null(mkdtemp(folder));
        snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", folder);
        snprintf(key_path, sizeof(key_path), "%s/key.pem", folder);
        assert_int_equal(tls_cert_make(cert_path, key_path, &names, detail), CONFAB_OK);
        files = (struct tls_server_config){cert_path, key_path};
    }
    return &files;
}

void tls_test_files_remove(void)
{
    if (files.cert_path) {
        (void)unlink(cert_path);
        (void)unlink(key_path);
        (void)rmdir(folder);
        files.cert_path = NULL;
    }
}
