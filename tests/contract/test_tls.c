/*
 * net over TLS, beyond the port's contract (test_net.c): who is refused and what that costs,
 * truncation, records split and gathered, many at once; certificates and what is said of bad ones.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "adapters/tls/tls_cert.h"
#include "base/random.h"
#include "tls_rig.h"

/* ---- Who gets in ---- */

static void test_tls__versions(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct pair p = pair_new(versions[i], NULL);
        pair_shake(&p);
        assert_int_equal(SSL_version(p.peer->ssl), versions[i]);
        pair_send(&p, "hello");
        pair_expect(&p, "hello");
        pair_free(&p);
    }
    assert_int_equal(rig_stats().handshakes_ok, 2);
    assert_int_equal(rig_stats().handshakes_failed, 0);
}

/* Refused: nothing is shown to the net's user before the peer goes, and then only the end. */
static void expect_refused(struct pair *p)
{
    for (int i = 0; rig_stats().handshakes_failed == 0; i++) {
        assert_true(i < RIG_TURNS);
        assert_int_equal(pair_turn(p), 0);
    }
    pair_quiet(p, 20);
    assert_int_equal(rig_stats().handshakes_ok, 0);
    assert_int_equal(pair_server_recv(p), CONFAB_AGAIN);
    size_t n = 0;
    assert_int_equal(rig.net->ops->writev(rig.net, p->handle, &(struct iovec){"x", 1}, 1, &n),
                     CONFAB_NET);
    net_sim_finish(p->raw);
    (void)pair_until(p, NET_READABLE);
    assert_int_equal(pair_server_recv(p), CONFAB_NET);
    pair_free(p);
}

static void test_tls__old_version_is_refused(void **state)
{
    (void)state;
    struct pair p = pair_new(TLS1_1_VERSION, "ALL:@SECLEVEL=0");
    for (int i = 0; i < 50; i++) {
        (void)pair_turn(&p);
    }
    assert_false(SSL_is_init_finished(p.peer->ssl));
    expect_refused(&p);
}

static void test_tls__no_shared_cipher_is_refused(void **state)
{
    (void)state;
    static const char *const ciphers[] = {"AES128-SHA", "ECDHE-ECDSA-AES128-SHA256"};
    for (size_t i = 0; i < 2; i++) {
        struct pair p = pair_new(TLS1_2_VERSION, ciphers[i]);
        expect_refused(&p);
        (void)rig_teardown(NULL);
        (void)rig_setup(NULL);
    }
}

static void test_tls__garbage_is_refused(void **state)
{
    (void)state;
    struct random_seeded random;
    random_seeded_init(&random, 5);
    uint8_t noise[3000];
    for (int round = 0; round < 20; round++) {
        struct pair p = pair_raw();
        size_t n;
        random_fill(&random.base, noise, sizeof(noise));
        noise[0] = round % 2 ? 0x16 : noise[0]; /* looks like a handshake at first */
        noise[1] = 3;
        noise[3] = 1;
        assert_int_equal(net_sim_send(p.raw, noise, sizeof(noise), &n), CONFAB_OK);
        expect_refused(&p);
        (void)rig_teardown(NULL);
        (void)rig_setup(NULL);
    }
}

static void test_tls__plain_http_is_told(void **state)
{
    (void)state;
    static const char *const requests[] = {"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
                                           "POST /api/v1/tokens HTTP/1.1\r\n"};
    for (size_t i = 0; i < 2; i++) {
        struct pair p = pair_raw();
        char text[1024] = "";
        size_t len = 0;
        size_t n;
        enum confab_err err = CONFAB_AGAIN;
        assert_int_equal(net_sim_send(p.raw, requests[i], strlen(requests[i]), &n), CONFAB_OK);
        for (int k = 0; k < RIG_TURNS && err != CONFAB_EOF; k++) {
            n = 0;
            assert_int_equal(pair_turn(&p), 0);
            err = net_sim_recv(p.raw, text + len, sizeof(text) - 1 - len, &n);
            len += err == CONFAB_OK ? n : 0;
        }
        assert_int_equal(err, CONFAB_EOF);
        assert_memory_equal(text, "HTTP/1.1 400 Bad Request\r\n", 26);
        const char *body = strstr(text, "\r\n\r\n") + 4;
        char want[64];
        snprintf(want, sizeof(want), "Content-Length: %zu\r\n", strlen(body));
        assert_non_null(strstr(text, want));
        assert_non_null(strstr(body, "https://"));
        assert_int_equal(rig_stats().plain_http, i + 1);
        net_sim_finish(p.raw);
        (void)pair_until(&p, NET_READABLE);
        assert_int_equal(pair_server_recv(&p), CONFAB_NET);
        pair_free(&p);
    }
    assert_int_equal(rig_stats().handshakes_failed, 0);
}

static void test_tls__byte_by_byte(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        struct pair p = pair_new(versions[i], NULL);
        p.peer->step = 1;
        pair_shake(&p);
        pair_send(&p, "slowly");
        pair_expect(&p, "slowly");
        pair_free(&p);
    }
}

/* Half a handshake shows nothing, and can be ended by whoever set a deadline. */
static void test_tls__half_a_handshake_is_silent(void **state)
{
    (void)state;
    struct pair p = pair_new(0, NULL);
    p.peer->step = 1;
    pair_quiet(&p, 40);
    assert_int_equal(pair_server_recv(&p), CONFAB_AGAIN);
    size_t n;
    assert_int_equal(rig.net->ops->writev(rig.net, p.handle, &(struct iovec){"x", 1}, 1, &n),
                     CONFAB_AGAIN);
    rig.net->ops->pause_reading(rig.net, p.handle, true);
    rig.net->ops->pause_reading(rig.net, p.handle, false);
    pair_free(&p);
    p = pair_raw(); /* nothing at all was sent */
    pair_quiet(&p, 10);
    pair_free(&p);
}

static void test_tls__end_within_the_handshake(void **state)
{
    (void)state;
    struct pair p = pair_new(0, NULL);
    p.peer->step = 7;
    pair_quiet(&p, 10);
    p.peer->broken = true; /* says nothing more */
    net_sim_finish(p.raw);
    (void)pair_until(&p, NET_READABLE);
    assert_int_equal(pair_server_recv(&p), CONFAB_NET);
    pair_free(&p);
    assert_int_equal(rig_stats().handshakes_failed, 1);
    p = pair_new(0, NULL);
    p.peer->step = 7;
    pair_quiet(&p, 10);
    p.peer->broken = true;
    net_sim_reset(p.raw);
    (void)pair_until(&p, NET_HANGUP);
    pair_free(&p);
    assert_int_equal(rig_stats().handshakes_failed, 2);
}

static void test_tls__http_1_1_is_chosen(void **state)
{
    (void)state;
    const unsigned char *name;
    unsigned n;
    struct pair p = pair_new(0, NULL);
    assert_int_equal(SSL_set_alpn_protos(p.peer->ssl, (const uint8_t *)"\x02h2\x08http/1.1", 12),
                     0);
    pair_shake(&p);
    SSL_get0_alpn_selected(p.peer->ssl, &name, &n);
    assert_int_equal(n, 8);
    assert_memory_equal(name, "http/1.1", 8);
    pair_free(&p);
}

/* ---- Once open ---- */

static void test_tls__renegotiation_is_refused(void **state)
{
    (void)state;
    struct pair p = pair_new(TLS1_2_VERSION, NULL);
    pair_shake(&p);
    assert_int_equal(SSL_renegotiate(p.peer->ssl), 1);
    for (int i = 0; i < 100; i++) {
        (void)SSL_do_handshake(p.peer->ssl);
        (void)pair_turn(&p);
    }
    assert_int_equal(rig_stats().handshakes_ok, 1);
    assert_false(SSL_is_init_finished(p.peer->ssl));
    pair_free(&p);
}

static void test_tls__key_update_goes_unseen(void **state)
{
    (void)state;
    struct pair p = pair_new(TLS1_3_VERSION, NULL);
    pair_shake(&p);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(SSL_key_update(p.peer->ssl, SSL_KEY_UPDATE_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(p.peer->ssl), 1);
        pair_quiet(&p, 10);
        pair_send(&p, "after");
        pair_expect(&p, "after");
    }
    pair_free(&p);
}

static void test_tls__truncation_is_told(void **state)
{
    (void)state;
    struct pair p = pair_new(0, NULL);
    pair_shake(&p);
    pair_send(&p, "part");
    p.peer->broken = true;
    net_sim_finish(p.raw); /* without close_notify */
    (void)pair_until(&p, NET_READABLE);
    pair_expect(&p, "part");
    (void)pair_until(&p, NET_READABLE);
    assert_int_equal(pair_server_recv(&p), CONFAB_NET);
    assert_int_equal(rig_stats().truncated, 1);
    pair_free(&p);
}

static void test_tls__tampering_ends_the_connection(void **state)
{
    (void)state;
    struct pair p = pair_new(0, NULL);
    size_t n;
    pair_shake(&p);
    static const uint8_t record[] = {0x17, 3, 3, 0, 20, 1, 2, 3, 4, 5, 6, 7, 8,
                                     9,    0, 1, 2, 3,  4, 5, 6, 7, 8, 9, 0};
    assert_int_equal(net_sim_send(p.raw, record, sizeof(record), &n), CONFAB_OK);
    (void)pair_until(&p, NET_READABLE);
    assert_int_equal(pair_server_recv(&p), CONFAB_NET);
    assert_int_equal(rig.net->ops->writev(rig.net, p.handle, &(struct iovec){"x", 1}, 1, &n),
                     CONFAB_NET);
    pair_free(&p);
}

/* Pieces of all sizes in one call, taken in parts, over a net that takes parts of these. */
static void test_tls__gathered_writes_arrive_whole(void **state)
{
    (void)state;
    enum { TOTAL = 3 << 20 };
    (void)rig_teardown(NULL);
    (void)rig_start(3000);
    struct random_seeded random;
    random_seeded_init(&random, 9);
    uint8_t *data = malloc(TOTAL);
    uint8_t *got = malloc(TOTAL);
    assert_true(data && got);
    random_fill(&random.base, data, TOTAL);
    struct pair p = pair_new(0, NULL);
    pair_shake(&p);
    size_t cuts[65] = {0};
    size_t sent = 0;
    size_t end = 0;
    size_t received = 0;
    bool blocked = false;
    for (int i = 0; received < TOTAL; i++) {
        assert_true(i < RIG_TURNS * 10);
        if (sent == end) {
            cuts[0] = sent;
            for (int k = 1; k <= 64; k++) {
                size_t size = k % 7 == 0 ? 30000 : k % 5 == 0 ? 0 : random_below(&random.base, 900);
                cuts[k] = MIN(cuts[k - 1] + size, TOTAL);
            }
            end = cuts[64];
        }
        if (!blocked && sent < TOTAL) {
            struct iovec iov[64];
            int niov = 0;
            for (int k = 0; k < 64; k++) {
                size_t from = cuts[k] > sent ? cuts[k] : sent;
                if (cuts[k + 1] >= from && cuts[k + 1] > sent) {
                    iov[niov++] = (struct iovec){data + from, cuts[k + 1] - from};
                }
            }
            size_t n = 0;
            enum confab_err err = rig.net->ops->writev(rig.net, p.handle, iov, niov, &n);
            blocked = err == CONFAB_AGAIN;
            assert_true(err == CONFAB_OK || blocked);
            sent += blocked ? 0 : n;
        }
        uint32_t flags = pair_turn(&p);
        blocked = blocked && !(flags & NET_WRITABLE);
        size_t n = 0;
        enum confab_err err = tls_peer_recv(p.peer, got + received, TOTAL - received, &n);
        assert_true(err == CONFAB_OK || err == CONFAB_AGAIN);
        received += err == CONFAB_OK ? n : 0;
    }
    assert_memory_equal(data, got, TOTAL);
    pair_free(&p);
    free(data);
    free(got);
}

struct echo {
    char text[16];
    size_t n;
};

static void test_tls__many_at_once(void **state)
{
    (void)state;
    enum { MANY = 300 };
    static struct echo echoes[MANY + 16];
    (void)rig_teardown(NULL);
    (void)rig_start(1000);
    static struct pair pairs[MANY];
    static bool served[MANY];
    memset(served, 0, sizeof(served));
    for (int i = 0; i < MANY; i++) {
        pairs[i] = (struct pair){.handle = -1};
        assert_int_equal(net_sim_connect(rig.sim, 0, &pairs[i].raw), CONFAB_OK);
        pairs[i].peer = tls_peer_new((struct tls_wire){rig_send, rig_recv, pairs[i].raw}, 0, NULL);
    }
    int left = MANY;
    for (int round = 0; left > 0; round++) {
        assert_true(round < RIG_TURNS);
        struct net_event e[64];
        clock_sim_advance(&rig.clock, RIG_MS);
        int n = rig.net->ops->poll(rig.net, e, 64, 0);
        for (int k = 0; k < n; k++) {
            int handle;
            struct net_peer who;
            while ((e[k].flags & NET_ACCEPT) &&
                   rig.net->ops->accept(rig.net, e[k].handle, &handle, &who) == CONFAB_OK) {
            }
            /* Echoes, and keeps what is not taken. */
            struct echo *echo = &echoes[e[k].handle];
            if (e[k].flags & NET_READABLE) {
                (void)!rig.net->ops->recv(rig.net, e[k].handle, echo->text, sizeof(echo->text),
                                          &echo->n);
            }
            size_t sent = 0;
            if (echo->n > 0 &&
                rig.net->ops->writev(rig.net, e[k].handle, &(struct iovec){echo->text, echo->n}, 1,
                                     &sent) == CONFAB_OK) {
                assert_int_equal(sent, echo->n);
                echo->n = 0;
            }
        }
        for (int i = 0; i < MANY; i++) {
            char want[32];
            char text[16];
            size_t got = 0;
            snprintf(want, sizeof(want), "number %d", i);
            tls_peer_pump(pairs[i].peer);
            if (!served[i] && tls_peer_is_ready(pairs[i].peer)) {
                pair_send(&pairs[i], want);
                served[i] = true;
            }
            if (served[i] && tls_peer_recv(pairs[i].peer, text, sizeof(text), &got) == CONFAB_OK) {
                assert_int_equal(got, strlen(want));
                assert_memory_equal(text, want, got);
                left--;
            }
        }
    }
    assert_int_equal(rig_stats().handshakes_ok, MANY);
    for (int i = 0; i < MANY; i++) {
        tls_peer_free(pairs[i].peer);
        net_sim_drop(pairs[i].raw);
    }
}

/* ---- Certificates ---- */

static char folder[64];
static char other[2][128];

static const char *file(int i, const char *name)
{
    snprintf(other[i], sizeof(other[i]), "%s/%s", folder, name);
    return other[i];
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static void expect_bad(const char *cert, const char *key, const char *says)
{
    char detail[TLS_DETAIL_MAX] = "";
    struct tls_server *s = NULL;
    const struct tls_server_config cfg = {cert, key};
    assert_int_equal(tls_server_open(&cfg, detail, &s), CONFAB_INVALID);
    if (!strstr(detail, says)) {
        fail_msg("%s is not in %s", says, detail);
    }
    assert_null(strchr(detail, '\n'));
}

/* A certificate of the test's key, valid from and to so many days from now. */
static void write_cert(const char *path, int from_days, int to_days)
{
    FILE *f = fopen(tls_test_files()->key_path, "r");
    EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
    fclose(f);
    X509 *cert = X509_new();
    assert_true(key && cert && X509_set_pubkey(cert, key) == 1);
    assert_non_null(X509_gmtime_adj(X509_getm_notBefore(cert), from_days * 86400L));
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), to_days * 86400L));
    assert_true(X509_sign(cert, key, EVP_sha256()) > 0);
    f = fopen(path, "w");
    assert_int_equal(PEM_write_X509(f, cert), 1);
    fclose(f);
    X509_free(cert);
    EVP_PKEY_free(key);
}

static void write_key(const char *path, const char *passphrase, int rsa_bits)
{
    EVP_PKEY *key = rsa_bits ? EVP_RSA_gen((unsigned)rsa_bits) : EVP_EC_gen("P-256");
    FILE *f = fopen(path, "w");
    assert_true(key && f);
    assert_int_equal(PEM_write_PKCS8PrivateKey(f, key, passphrase ? EVP_aes_128_cbc() : NULL,
                                               passphrase, passphrase ? (int)strlen(passphrase) : 0,
                                               NULL, NULL),
                     1);
    fclose(f);
    EVP_PKEY_free(key);
}

static int folder_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/confab-cert-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int folder_remove(void **state)
{
    (void)state;
    static const char *const names[] = {"a.pem", "b.pem"};
    for (size_t i = 0; i < 2; i++) {
        (void)unlink(file(0, names[i]));
    }
    return rmdir(folder);
}

static void test_tls__bad_files_are_told(void **state)
{
    (void)state;
    const char *cert = tls_test_files()->cert_path;
    const char *key = tls_test_files()->key_path;
    const char *a = file(0, "a.pem");
    const char *b = file(1, "b.pem");
    expect_bad("/no/such/cert", key, "tls-cert: /no/such/cert cannot be read: No such file");
    expect_bad(cert, "/no/such/key", "tls-key: /no/such/key cannot be read: No such file");
    expect_bad("/tmp", key, "tls-cert: /tmp cannot be read: Is a directory");
    write_text(a, "nothing of the kind\n");
    expect_bad(a, key, "no certificate in PEM form");
    expect_bad(cert, a, "no private key in PEM form");
    expect_bad(key, key, "no certificate in PEM form");
    expect_bad(cert, cert, "no private key in PEM form");
    write_key(b, NULL, 0);
    expect_bad(cert, b, "is not the key of the certificate");
    write_key(b, NULL, 2048);
    expect_bad(cert, b, "is not the key of the certificate");
    write_key(b, "secret", 0);
    expect_bad(cert, b, "has a passphrase");
    write_cert(a, -10, -1);
    expect_bad(a, key, "expired on 20");
    write_cert(a, 1, 10);
    expect_bad(a, key, "is valid only from 20");
}

static void test_tls__made_certificates(void **state)
{
    (void)state;
    const char *cert = file(0, "a.pem");
    const char *key = file(1, "b.pem");
    char detail[TLS_DETAIL_MAX] = "";
    struct tls_names names = {0};
    struct tls_cert first;
    struct tls_cert second;
    struct stat st;
    assert_int_equal(tls_cert_look(cert, &first), CONFAB_NOT_FOUND);
    assert_int_equal(tls_cert_make(cert, key, &names, detail), CONFAB_INVALID);
    static const char *const all[] = {"192.168.1.7", "fd00::7", "machine", "machine.local"};
    for (size_t i = 0; i < 4; i++) {
        assert_true(tls_names_add(&names, all[i]) && tls_names_add(&names, all[i]));
    }
    assert_int_equal(names.n, 4);
    assert_int_equal(tls_cert_make(cert, key, &names, detail), CONFAB_OK);
    assert_int_equal(tls_cert_look(cert, &first), CONFAB_OK);
    assert_int_equal(first.names.n, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_true(tls_names_have(&first.names, all[i]));
    }
    assert_int_equal(strlen(first.fingerprint), 95);
    assert_in_range(first.seconds_left, 823 * 86400, 825 * 86400);
    assert_int_equal(stat(key, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    struct tls_server *s;
    const struct tls_server_config cfg = {cert, key};
    assert_int_equal(tls_server_open(&cfg, detail, &s), CONFAB_OK);
    tls_server_close(s);
    /* Made again it is another one, of the same key. */
    assert_true(tls_names_add(&names, "10.0.0.1"));
    assert_int_equal(tls_cert_make(cert, key, &names, detail), CONFAB_OK);
    assert_int_equal(tls_cert_look(cert, &second), CONFAB_OK);
    assert_string_not_equal(first.fingerprint, second.fingerprint);
    assert_int_equal(second.names.n, 5);
    assert_int_equal(tls_server_open(&cfg, detail, &s), CONFAB_OK);
    tls_server_close(s);
    assert_int_equal(tls_cert_make("/no/such/cert", key, &names, detail), CONFAB_IO);
    write_text(key, "not a key\n");
    assert_int_equal(tls_cert_make(cert, key, &names, detail), CONFAB_INVALID);
}

int main(void)
{
#define CASE(fn)  cmocka_unit_test_setup_teardown(fn, rig_setup, rig_teardown)
#define FILES(fn) cmocka_unit_test_setup_teardown(fn, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        CASE(test_tls__versions),
        CASE(test_tls__old_version_is_refused),
        CASE(test_tls__no_shared_cipher_is_refused),
        CASE(test_tls__garbage_is_refused),
        CASE(test_tls__plain_http_is_told),
        CASE(test_tls__byte_by_byte),
        CASE(test_tls__half_a_handshake_is_silent),
        CASE(test_tls__end_within_the_handshake),
        CASE(test_tls__http_1_1_is_chosen),
        CASE(test_tls__renegotiation_is_refused),
        CASE(test_tls__key_update_goes_unseen),
        CASE(test_tls__truncation_is_told),
        CASE(test_tls__tampering_ends_the_connection),
        CASE(test_tls__gathered_writes_arrive_whole),
        CASE(test_tls__many_at_once),
        FILES(test_tls__bad_files_are_told),
        FILES(test_tls__made_certificates),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_test_files_remove();
    return failed;
}
