/*
 * A TLS server in the course of time: its certificate is changed while it serves, tickets let
 * clients come back cheaply until their key is forgotten, and changed files are noticed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "adapters/tls/tls_cert.h"
#include "adapters/tls/tls_tickets.h"
#include "adapters/tls/tls_watch.h"
#include "tls_rig.h"

static char folder[64];
static char cert_path[96];
static char key_path[96];

static int folder_make(void **state)
{
    snprintf(folder, sizeof(folder), "/tmp/confab-renew-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(cert_path, sizeof(cert_path), "%s/cert.pem", folder);
    snprintf(key_path, sizeof(key_path), "%s/key.pem", folder);
    return rig_setup(state);
}

static int folder_remove(void **state)
{
    (void)unlink(cert_path);
    (void)unlink(key_path);
    (void)rig_teardown(state);
    return rmdir(folder);
}

static void make_cert(const char *name)
{
    char detail[TLS_DETAIL_MAX] = "";
    struct tls_names names = {0};
    assert_true(tls_names_add(&names, name));
    assert_int_equal(tls_cert_make(cert_path, key_path, &names, detail), CONFAB_OK);
}

static void write_text(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Is it the certificate that a client was shown? */
static bool shown(const struct pair *p, const char *path)
{
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    X509 *want = PEM_read_X509(f, NULL, NULL, NULL);
    X509 *got = SSL_get1_peer_certificate(p->peer->ssl);
    assert_int_equal(fclose(f), 0);
    assert_true(want && got);
    bool same = X509_cmp(want, got) == 0;
    X509_free(want);
    X509_free(got);
    return same;
}

/* ---- Another pair ---- */

static void test_tls_renewal__newcomers_get_the_new_pair(void **state)
{
    (void)state;
    char detail[TLS_DETAIL_MAX] = "";
    const struct tls_server_config cfg = {cert_path, key_path};
    struct pair before = pair_new(0, NULL);
    pair_shake(&before);
    assert_true(shown(&before, tls_test_files()->cert_path));
    make_cert("renewed");
    assert_int_equal(tls_server_reload(rig.server, &cfg, detail), CONFAB_OK);
    struct pair after = pair_new(0, NULL);
    pair_shake(&after);
    assert_true(shown(&after, cert_path));
    /* Whoever was there stays, and so does a handshake that is under way. */
    struct pair half = pair_new(0, NULL);
    half.peer->step = 7;
    pair_quiet(&half, 10);
    make_cert("again");
    assert_int_equal(tls_server_reload(rig.server, &cfg, detail), CONFAB_OK);
    half.peer->step = 0;
    pair_shake(&half);
    struct pair *const all[] = {&before, &after, &half};
    for (size_t i = 0; i < 3; i++) {
        pair_send(all[i], "still here");
        pair_expect(all[i], "still here");
        pair_free(all[i]);
    }
}

static void test_tls_renewal__bad_pair_changes_nothing(void **state)
{
    (void)state;
    static const char *const says[] = {"cannot be read", "in PEM form", "is not the key of"};
    const struct tls_server_config cfg = {cert_path, key_path};
    for (int i = 0; i < 3; i++) {
        char detail[TLS_DETAIL_MAX] = "";
        if (i == 1) {
            write_text(cert_path, "half a certifi");
        } else if (i == 2) {
            make_cert("other");
            assert_int_equal(unlink(key_path), 0);
            char sink[96];
            snprintf(sink, sizeof(sink), "%s/unused.pem", folder);
            struct tls_names names = {0};
            assert_true(tls_names_add(&names, "other"));
            assert_int_equal(tls_cert_make(sink, key_path, &names, detail), CONFAB_OK);
            assert_int_equal(unlink(sink), 0);
        }
        assert_int_equal(tls_server_reload(rig.server, &cfg, detail), CONFAB_INVALID);
        assert_non_null(strstr(detail, says[i]));
        struct pair p = pair_new(0, NULL);
        pair_shake(&p);
        assert_true(shown(&p, tls_test_files()->cert_path));
        pair_free(&p);
    }
}

/* ---- Tickets ---- */

/* Of the client that connects; takes the ticket that comes after the handshake, too. */
static SSL_SESSION *visit(int version, SSL_SESSION *ticket)
{
    struct pair p = pair_new(version, NULL);
    if (ticket) {
        assert_int_equal(SSL_set_session(p.peer->ssl, ticket), 1);
        SSL_SESSION_free(ticket);
    }
    pair_shake(&p);
    pair_send(&p, "question");
    pair_expect(&p, "question");
    size_t n = 0;
    assert_int_equal(rig.net->ops->writev(rig.net, p.handle, &(struct iovec){"answer", 6}, 1, &n),
                     CONFAB_OK);
    char text[16];
    for (int i = 0; tls_peer_recv(p.peer, text, sizeof(text), &n) == CONFAB_AGAIN; i++) {
        assert_true(i < RIG_TURNS);
        (void)pair_turn(&p);
    }
    SSL_SESSION *given = SSL_get1_session(p.peer->ssl);
    assert_true(given && SSL_SESSION_is_resumable(given));
    tls_peer_finish(p.peer);
    pair_free(&p);
    return given;
}

static void test_tls_renewal__tickets_resume(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        uint64_t before = rig_stats().resumed;
        SSL_SESSION *ticket = visit(versions[i], NULL);
        assert_int_equal(rig_stats().resumed, before);
        ticket = visit(versions[i], ticket);
        ticket = visit(versions[i], ticket);
        assert_int_equal(rig_stats().resumed, before + 2);
        SSL_SESSION_free(ticket);
    }
    assert_int_equal(rig_stats().handshakes_ok, 6);
}

static void rotate(int times)
{
    static uint64_t now_ms = 1;
    tls_server_tick(rig.server, now_ms);
    for (int i = 0; i < times; i++) {
        now_ms += TLS_TICKET_ROTATE_MS;
        tls_server_tick(rig.server, now_ms);
    }
}

static void test_tls_renewal__tickets_outlive_a_rotation_not_three(void **state)
{
    (void)state;
    static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
    for (size_t i = 0; i < 2; i++) {
        uint64_t before = rig_stats().resumed;
        SSL_SESSION *ticket = visit(versions[i], NULL);
        rotate((int)TLS_TICKET_KEYS - 1);
        ticket = visit(versions[i], ticket);
        assert_int_equal(rig_stats().resumed, before + 1);
        /* That one was given anew, under the present key. */
        rotate((int)TLS_TICKET_KEYS - 1);
        ticket = visit(versions[i], ticket);
        assert_int_equal(rig_stats().resumed, before + 2);
        rotate((int)TLS_TICKET_KEYS);
        ticket = visit(versions[i], ticket);
        assert_int_equal(rig_stats().resumed, before + 2);
        SSL_SESSION_free(ticket);
    }
    assert_int_equal(rig_stats().handshakes_failed, 0);
}

static void test_tls_renewal__tickets_end_with_the_certificate(void **state)
{
    (void)state;
    char detail[TLS_DETAIL_MAX] = "";
    const struct tls_server_config cfg = {cert_path, key_path};
    SSL_SESSION *ticket = visit(0, NULL);
    /* A refused pair ends nothing. */
    assert_int_equal(tls_server_reload(rig.server, &cfg, detail), CONFAB_INVALID);
    ticket = visit(0, ticket);
    assert_int_equal(rig_stats().resumed, 1);
    make_cert("renewed");
    assert_int_equal(tls_server_reload(rig.server, &cfg, detail), CONFAB_OK);
    ticket = visit(0, ticket);
    assert_int_equal(rig_stats().resumed, 1);
    ticket = visit(0, ticket);
    assert_int_equal(rig_stats().resumed, 2);
    SSL_SESSION_free(ticket);
}

/* ---- Proving a name to an authority ---- */

static struct pair authority(const char *name, const char *alpn)
{
    struct pair p = pair_new(0, NULL);
    assert_int_equal(
        SSL_set_alpn_protos(p.peer->ssl, (const uint8_t *)alpn, (unsigned)strlen(alpn)), 0);
    assert_int_equal(SSL_set_tlsext_host_name(p.peer->ssl, name), 1);
    return p;
}

static void test_tls_renewal__challenge_is_shown(void **state)
{
    (void)state;
    static const uint8_t digest[32] = {1, 2, 3, [31] = 99};
    assert_int_equal(tls_server_challenge(rig.server, "chat.example", digest), CONFAB_OK);
    struct pair p = authority("Chat.Example", "\x0a"
                                              "acme-tls/1");
    for (int i = 0; rig_stats().challenged == 0; i++) {
        assert_true(i < RIG_TURNS);
        assert_int_equal(pair_turn(&p), 0);
    }
    const unsigned char *chosen;
    unsigned n;
    SSL_get0_alpn_selected(p.peer->ssl, &chosen, &n);
    assert_int_equal(n, 10);
    assert_memory_equal(chosen, "acme-tls/1", 10);
    X509 *cert = SSL_get1_peer_certificate(p.peer->ssl);
    assert_non_null(cert);
    assert_int_equal(X509_check_host(cert, "chat.example", 0, 0, NULL), 1);
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.5.5.7.1.31", 1);
    X509_EXTENSION *ext = X509_get_ext(cert, X509_get_ext_by_OBJ(cert, oid, -1));
    assert_non_null(ext);
    assert_int_equal(X509_EXTENSION_get_critical(ext), 1);
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(ext);
    assert_int_equal(ASN1_STRING_length(value), 34);
    assert_memory_equal(ASN1_STRING_get0_data(value) + 2, digest, 32);
    ASN1_OBJECT_free(oid);
    X509_free(cert);
    /* It is good for nothing else: what is said on it is not heard. */
    size_t sent = 0;
    (void)tls_peer_send(p.peer, "GET / HTTP/1.1\r\n\r\n", 18, &sent);
    pair_quiet(&p, 20);
    assert_int_equal(pair_server_recv(&p), CONFAB_AGAIN);
    pair_free(&p);
}

static void test_tls_renewal__no_challenge_is_refused(void **state)
{
    (void)state;
    static const uint8_t digest[32] = {0};
    assert_int_equal(tls_server_challenge(rig.server, "gone.example", digest), CONFAB_OK);
    assert_int_equal(tls_server_challenge(rig.server, "gone.example", NULL), CONFAB_OK);
    assert_int_equal(tls_server_challenge(rig.server, "never.example", NULL), CONFAB_OK);
    static const char *const names[] = {"gone.example", "other.example"};
    for (uint64_t i = 0; i < 2; i++) {
        struct pair p = authority(names[i], "\x0a"
                                            "acme-tls/1");
        for (int k = 0; rig_stats().handshakes_failed == i; k++) {
            assert_true(k < RIG_TURNS);
            assert_int_equal(pair_turn(&p), 0);
        }
        pair_free(&p);
    }
    /* Whoever offers more is a client like others. */
    assert_int_equal(tls_server_challenge(rig.server, "both.example", digest), CONFAB_OK);
    struct pair p = authority("both.example", "\x0a"
                                              "acme-tls/1"
                                              "\x08"
                                              "http/1.1");
    pair_shake(&p);
    assert_true(shown(&p, tls_test_files()->cert_path));
    assert_int_equal(rig_stats().challenged, 0);
    pair_free(&p);
    char name[32];
    for (int i = 0; i < 32; i++) {
        snprintf(name, sizeof(name), "n%d.example", i);
        enum confab_err err = tls_server_challenge(rig.server, name, digest);
        assert_int_equal(err, i < 31 ? CONFAB_OK : CONFAB_LIMIT);
    }
}

/* ---- Files ---- */

static void test_tls_renewal__files_are_told_when_they_rest(void **state)
{
    (void)state;
    struct tls_watch w;
    make_cert("first");
    tls_watch_init(&w, cert_path, key_path);
    assert_false(tls_watch_look(&w));
    assert_int_equal(unlink(key_path), 0);
    assert_false(tls_watch_look(&w));
    make_cert("second");
    assert_false(tls_watch_look(&w)); /* changed since the last look */
    assert_true(tls_watch_look(&w));
    assert_false(tls_watch_look(&w)); /* once */
    write_text(cert_path, "garbage");
    assert_false(tls_watch_look(&w));
    assert_true(tls_watch_look(&w));
    assert_false(tls_watch_look(&w));
    assert_int_equal(unlink(cert_path), 0);
    assert_false(tls_watch_look(&w));
    assert_true(tls_watch_look(&w));
    assert_false(tls_watch_look(&w));
}

/* As certbot does it: the name is a link, which points to another file from then on. */
static void test_tls_renewal__links_are_followed(void **state)
{
    (void)state;
    struct tls_watch w;
    char targets[2][96];
    make_cert("linked");
    for (int i = 0; i < 2; i++) {
        snprintf(targets[i], sizeof(targets[i]), "%s/%d.pem", folder, i);
        write_text(targets[i], "same length");
    }
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(symlink(targets[0], cert_path), 0);
    tls_watch_init(&w, cert_path, key_path);
    assert_false(tls_watch_look(&w));
    assert_int_equal(unlink(cert_path), 0);
    assert_int_equal(symlink(targets[1], cert_path), 0);
    assert_false(tls_watch_look(&w));
    assert_true(tls_watch_look(&w));
    assert_int_equal(unlink(targets[0]), 0);
    assert_int_equal(unlink(targets[1]), 0);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, folder_make, folder_remove)
    const struct CMUnitTest tests[] = {
        CASE(test_tls_renewal__newcomers_get_the_new_pair),
        CASE(test_tls_renewal__bad_pair_changes_nothing),
        CASE(test_tls_renewal__tickets_resume),
        CASE(test_tls_renewal__tickets_outlive_a_rotation_not_three),
        CASE(test_tls_renewal__tickets_end_with_the_certificate),
        CASE(test_tls_renewal__challenge_is_shown),
        CASE(test_tls_renewal__no_challenge_is_refused),
        CASE(test_tls_renewal__files_are_told_when_they_rest),
        CASE(test_tls_renewal__links_are_followed),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    tls_test_files_remove();
    return failed;
}
