/*
 * A TLS client's end over whatever carries bytes: OpenSSL on memory BIOs, so that a test holds
 * every byte in its hands. Nothing here waits.
 */
#ifndef CONFAB_TESTS_CONTRACT_TLS_PEER_H
#define CONFAB_TESTS_CONTRACT_TLS_PEER_H

#include <openssl/ssl.h>
#include <stdbool.h>

#include "adapters/tls/tls_server.h"

/* Moves bytes to and from the server; CONFAB_AGAIN, CONFAB_EOF, CONFAB_NET as in ports/net.h. */
struct tls_wire {
    enum confab_err (*send)(void *arg, const void *p, size_t n, size_t *ret_n);
    enum confab_err (*recv)(void *arg, void *p, size_t n, size_t *ret_n);
    void *arg;
};

struct tls_peer {
    SSL_CTX *ctx;
    SSL *ssl;
    BIO *in; /* what came, for OpenSSL to read */
    BIO *out;
    struct tls_wire wire;
    size_t step; /* bytes of one send at most; 0: as many as there are */
    bool end;    /* the wire ended */
    bool broken;
};

/* Everything is accepted as a certificate. `max` as TLS1_2_VERSION; 0: any. */
struct tls_peer *tls_peer_new(struct tls_wire wire, int max_version, const char *ciphers);
void tls_peer_free(struct tls_peer *p);
/* Moves what can be moved and goes on with the handshake. */
void tls_peer_pump(struct tls_peer *p);
bool tls_peer_is_ready(const struct tls_peer *p);
enum confab_err tls_peer_send(struct tls_peer *p, const void *data, size_t n, size_t *ret_n);
enum confab_err tls_peer_recv(struct tls_peer *p, void *data, size_t n, size_t *ret_n);
/* close_notify. */
void tls_peer_finish(struct tls_peer *p);

/* A fresh certificate and its key for a test, made once. */
const struct tls_server_config *tls_test_files(void);
/* Takes them away again. */
void tls_test_files_remove(void);

#endif
