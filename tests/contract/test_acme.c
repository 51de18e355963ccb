/*
 * What is signed and asked for by ACME, held against OpenSSL's own reading of it. The whole
 * protocol is in tests/it/test_acme.py.
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
#include <openssl/ecdsa.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sodium.h>

#include "adapters/acme/acme_key.h"

static char folder[64];
static char path[96];

static int setup(void **state)
{
    (void)state;
    snprintf(folder, sizeof(folder), "/tmp/confab-acme-XXXXXX");
    if (!mkdtemp(folder)) {
        return -1;
    }
    snprintf(path, sizeof(path), "%s/account.key", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    return rmdir(folder);
}

/* The member of a flat object of strings, decoded from base64url. */
static size_t decoded(const struct buf *jws, const char *name, uint8_t *out, size_t cap)
{
    char key[40];
    size_t n = 0;
    snprintf(key, sizeof(key), "\"%s\":\"", name);
    const char *at = strstr((const char *)jws->data, key);
    assert_non_null(at);
    at += strlen(key);
    assert_int_equal(sodium_base642bin(out, cap, at, strcspn(at, "\""), NULL, &n, NULL,
                                       sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    return n;
}

static void test_acme__a_key_is_made_once(void **state)
{
    (void)state;
    EVP_PKEY *first = NULL;
    EVP_PKEY *second = NULL;
    struct stat st;
    assert_int_equal(acme_key_get(path, &first), CONFAB_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(acme_key_get(path, &second), CONFAB_OK);
    assert_int_equal(EVP_PKEY_eq(first, second), 1);
    EVP_PKEY_free(first);
    EVP_PKEY_free(second);
    FILE *f = fopen(path, "w");
    assert_true(f && fputs("no key\n", f) >= 0 && fclose(f) == 0);
    second = NULL;
    assert_int_equal(acme_key_get(path, &second), CONFAB_INVALID);
    assert_null(second);
    assert_int_equal(acme_key_get("/no/such/folder/key", &second), CONFAB_IO);
}

static void test_acme__requests_are_signed(void **state)
{
    (void)state;
    EVP_PKEY *key = acme_key_new();
    /* Numbers with leading zeros are rare: many signatures. */
    for (int i = 0; i < 600; i++) {
        struct buf jws = {0};
        uint8_t raw[200];
        char nonce[16];
        snprintf(nonce, sizeof(nonce), "n%d", i);
        assert_int_equal(acme_put_jws(&jws, key, "https://ca.example/acct/1", nonce,
                                      "https://ca.example/order", span_str("{\"a\":1}")),
                         CONFAB_OK);
        buf_put_u8(&jws, 0);
        assert_int_equal(decoded(&jws, "signature", raw, sizeof(raw)), 64);
        ECDSA_SIG *sig = ECDSA_SIG_new();
        assert_int_equal(
            ECDSA_SIG_set0(sig, BN_bin2bn(raw, 32, NULL), BN_bin2bn(raw + 32, 32, NULL)), 1);
        unsigned char *der = NULL;
        int n = i2d_ECDSA_SIG(sig, &der);
        const char *head = strstr((char *)jws.data, "protected\":\"") + 12;
        const char *body = strstr((char *)jws.data, "payload\":\"") + 10;
        char text[1000];
        int len = snprintf(text, sizeof(text), "%.*s.%.*s", (int)strcspn(head, "\""), head,
                           (int)strcspn(body, "\""), body);
        EVP_MD_CTX *ctx = EVP_MD_CTX_new();
        assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
        assert_int_equal(
            EVP_DigestVerify(ctx, der, (size_t)n, (const unsigned char *)text, (size_t)len), 1);
        EVP_MD_CTX_free(ctx);
        OPENSSL_free(der);
        ECDSA_SIG_free(sig);
        if (i == 0) {
            n = (int)decoded(&jws, "protected", raw, sizeof(raw) - 1);
            raw[n] = 0;
            assert_string_equal((char *)raw,
                                "{\"alg\":\"ES256\",\"kid\":\"https://ca.example/acct/1\","
                                "\"nonce\":\"n0\",\"url\":\"https://ca.example/order\"}");
            n = (int)decoded(&jws, "payload", raw, sizeof(raw));
            assert_memory_equal(raw, "{\"a\":1}", 7);
        }
        buf_deinit(&jws);
    }
    EVP_PKEY_free(key);
}

/* RFC 7638's rules: members in order, no blanks. */
static void test_acme__thumbprint(void **state)
{
    (void)state;
    EVP_PKEY *key = acme_key_new();
    struct buf jwk = {0};
    char print[ACME_B64_32];
    unsigned char hash[32];
    char want[ACME_B64_32];
    acme_put_jwk(&jwk, key);
    assert_true(buf_ok(&jwk));
    assert_memory_equal(jwk.data, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"", 31);
    assert_int_equal(jwk.len, 31 + 43 + 7 + 43 + 2);
    crypto_hash_sha256(hash, jwk.data, jwk.len);
    sodium_bin2base64(want, sizeof(want), hash, 32, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    assert_int_equal(acme_thumbprint(key, print), CONFAB_OK);
    assert_string_equal(print, want);
    buf_deinit(&jwk);
    EVP_PKEY_free(key);
}

static void test_acme__names_of_a_request(void **state)
{
    (void)state;
    static const char *const names[] = {"chat.example", "talk.example"};
    EVP_PKEY *key = acme_key_new();
    struct buf text = {0};
    uint8_t der[2000];
    size_t n = 0;
    assert_int_equal(acme_put_csr(&text, key, names, 2), CONFAB_OK);
    assert_int_equal(sodium_base642bin(der, sizeof(der), (char *)text.data, text.len, NULL, &n,
                                       NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING),
                     0);
    const unsigned char *p = der;
    X509_REQ *req = d2i_X509_REQ(NULL, &p, (long)n);
    assert_non_null(req);
    assert_int_equal(X509_REQ_verify(req, key), 1);
    STACK_OF(X509_EXTENSION) *all = X509_REQ_get_extensions(req);
    GENERAL_NAMES *found = X509V3_get_d2i(all, NID_subject_alt_name, NULL, NULL);
    assert_int_equal(sk_GENERAL_NAME_num(found), 2);
    for (int i = 0; i < 2; i++) {
        const ASN1_STRING *name = sk_GENERAL_NAME_value(found, i)->d.dNSName;
        assert_string_equal((const char *)ASN1_STRING_get0_data(name), names[i]);
    }
    GENERAL_NAMES_free(found);
    sk_X509_EXTENSION_pop_free(all, X509_EXTENSION_free);
    X509_REQ_free(req);
    buf_deinit(&text);
    EVP_PKEY_free(key);
}

int main(void)
{
#define CASE(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(test_acme__a_key_is_made_once),
        CASE(test_acme__requests_are_signed),
        CASE(test_acme__thumbprint),
        CASE(test_acme__names_of_a_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
