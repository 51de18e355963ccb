#include "adapters/acme/acme_key.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "adapters/acme/acme_files.h"
#include "proto/json.h"

#define COORDINATE 32U /* of P-256 */

void acme_put_base64url(struct buf *out, const void *p, size_t n)
{
    size_t cap = sodium_base64_encoded_len(n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    if (buf_reserve(out, cap)) {
        (void)sodium_bin2base64((char *)out->data + out->len, cap, p, n,
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
        out->len += cap - 1; /* without the zero */
    }
}

EVP_PKEY *acme_key_new(void)
{
    return EVP_EC_gen("P-256");
}

enum confab_err acme_put_key(struct buf *out, const EVP_PKEY *key)
{
    char *text;
    BIO *mem = BIO_new(BIO_s_mem());
    bool ok = mem && PEM_write_bio_PKCS8PrivateKey(mem, key, NULL, NULL, 0, NULL, NULL) == 1;
    long n = ok ? BIO_get_mem_data(mem, &text) : 0;
    if (n > 0) {
        buf_put(out, text, (size_t)n);
        OPENSSL_cleanse(text, (size_t)n);
    }
    (void)BIO_free(mem);
    return n > 0 && buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

static enum confab_err key_make(const char *path, EVP_PKEY **ret)
{
    struct buf pem = {0};
    EVP_PKEY *key = acme_key_new();
    enum confab_err err = key ? acme_put_key(&pem, key) : CONFAB_NOMEM;
    if (err == CONFAB_OK) {
        err = acme_file_put(path, span_of(pem.data, pem.len));
    }
    if (pem.data) {
        OPENSSL_cleanse(pem.data, pem.len);
    }
    buf_deinit(&pem);
    if (err != CONFAB_OK) {
        EVP_PKEY_free(key);
        return err;
    }
    *ret = key;
    return CONFAB_OK;
}

enum confab_err acme_key_get(const char *path, EVP_PKEY **ret)
{
    struct buf pem = {0};
    enum confab_err err = acme_file_get(path, &pem);
    if (err == CONFAB_NOT_FOUND) {
        return key_make(path, ret);
    }
    EVP_PKEY *key = NULL;
    if (err == CONFAB_OK) {
        BIO *mem = BIO_new_mem_buf(pem.data, (int)pem.len);
        key = mem ? PEM_read_bio_PrivateKey(mem, NULL, NULL, (void *)(uintptr_t) "") : NULL;
        (void)BIO_free(mem);
        OPENSSL_cleanse(pem.data, pem.len);
        if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_EC || EVP_PKEY_get_bits(key) != 256) {
            EVP_PKEY_free(key);
            ERR_clear_error();
            err = CONFAB_INVALID;
        }
    }
    buf_deinit(&pem);
    if (err == CONFAB_OK) {
        *ret = key;
    }
    return err;
}

static void put_coordinate(struct buf *out, const EVP_PKEY *key, const char *which)
{
    unsigned char raw[COORDINATE];
    BIGNUM *n = NULL;
    if (EVP_PKEY_get_bn_param(key, which, &n) == 1 && BN_bn2binpad(n, raw, COORDINATE) > 0) {
        acme_put_base64url(out, raw, sizeof(raw));
    } else {
        out->failed = true;
    }
    BN_free(n);
}

void acme_put_jwk(struct buf *out, const EVP_PKEY *key)
{
    buf_put_str(out, "{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"");
    put_coordinate(out, key, OSSL_PKEY_PARAM_EC_PUB_X);
    buf_put_str(out, "\",\"y\":\"");
    put_coordinate(out, key, OSSL_PKEY_PARAM_EC_PUB_Y);
    buf_put_str(out, "\"}");
}

enum confab_err acme_thumbprint(const EVP_PKEY *key, char ret[ACME_B64_32])
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    struct buf jwk = {0};
    acme_put_jwk(&jwk, key);
    bool ok = buf_ok(&jwk);
    if (ok) {
        (void)crypto_hash_sha256(hash, jwk.data, jwk.len);
        (void)sodium_bin2base64(ret, ACME_B64_32, hash, sizeof(hash),
                                sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    }
    buf_deinit(&jwk);
    return ok ? CONFAB_OK : CONFAB_NOMEM;
}

/* JWS has both numbers one after the other, OpenSSL a structure around them. */
static bool put_signature(struct buf *out, EVP_PKEY *key, struct span text)
{
    unsigned char der[128];
    unsigned char raw[2 * COORDINATE];
    size_t n = sizeof(der);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
              EVP_DigestSign(ctx, der, &n, text.p, text.n) == 1;
    EVP_MD_CTX_free(ctx);
    const unsigned char *p = der;
    ECDSA_SIG *sig = ok ? d2i_ECDSA_SIG(NULL, &p, (long)n) : NULL;
    ok = sig && BN_bn2binpad(ECDSA_SIG_get0_r(sig), raw, COORDINATE) > 0 &&
         BN_bn2binpad(ECDSA_SIG_get0_s(sig), raw + COORDINATE, COORDINATE) > 0;
    ECDSA_SIG_free(sig);
    if (ok) {
        acme_put_base64url(out, raw, sizeof(raw));
    }
    return ok;
}

enum confab_err acme_put_jws(struct buf *out, EVP_PKEY *key, const char *kid, const char *nonce,
                             const char *url, struct span payload)
{
    struct buf head = {0};
    struct buf signing = {0};
    struct json_writer w;
    json_w_init(&w, &head);
    json_w_object(&w);
    json_w_kcstr(&w, "alg", "ES256");
    if (kid) {
        json_w_kcstr(&w, "kid", kid);
    } else {
        json_w_key(&w, "jwk");
        json_w_slot(&w);
        acme_put_jwk(&head, key);
    }
    json_w_kcstr(&w, "nonce", nonce);
    json_w_kcstr(&w, "url", url);
    json_w_object_end(&w);
    acme_put_base64url(&signing, head.data, head.len);
    size_t cut = signing.len;
    buf_put_u8(&signing, '.');
    acme_put_base64url(&signing, payload.p ? payload.p : (const void *)"", payload.n);
    bool ok = buf_ok(&head) && buf_ok(&signing);
    if (ok) {
        buf_put_str(out, "{\"protected\":\"");
        buf_put(out, signing.data, cut);
        buf_put_str(out, "\",\"payload\":\"");
        buf_put(out, signing.data + cut + 1, signing.len - cut - 1);
        buf_put_str(out, "\",\"signature\":\"");
        ok = put_signature(out, key, span_of(signing.data, signing.len));
        buf_put_str(out, "\"}");
    }
    buf_deinit(&head);
    buf_deinit(&signing);
    return ok && buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

static bool csr_add_names(X509_REQ *req, const char *const *names, size_t n)
{
    struct buf list = {0};
    for (size_t i = 0; i < n; i++) {
        buf_printf(&list, "%sDNS:%s", i > 0 ? "," : "", names[i]);
    }
    buf_put_u8(&list, 0);
    X509_EXTENSION *ext = buf_ok(&list) ? X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
                                                              (const char *)list.data)
                                        : NULL;
    STACK_OF(X509_EXTENSION) *all = sk_X509_EXTENSION_new_null();
    bool ok = ext && all && sk_X509_EXTENSION_push(all, ext) > 0;
    if (ok) {
        ok = X509_REQ_add_extensions(req, all) == 1;
    }
    sk_X509_EXTENSION_free(all);
    X509_EXTENSION_free(ext);
    buf_deinit(&list);
    return ok;
}

enum confab_err acme_put_csr(struct buf *out, EVP_PKEY *key, const char *const *names, size_t n)
{
    unsigned char *der = NULL;
    int len = 0;
    X509_REQ *req = X509_REQ_new();
    if (req && X509_REQ_set_version(req, X509_REQ_VERSION_1) == 1 &&
        X509_REQ_set_pubkey(req, key) == 1 && csr_add_names(req, names, n) &&
        X509_REQ_sign(req, key, EVP_sha256()) > 0) {
        len = i2d_X509_REQ(req, &der);
    }
    if (len > 0) {
        acme_put_base64url(out, der, (size_t)len);
    }
    OPENSSL_free(der);
    X509_REQ_free(req);
    ERR_clear_error();
    return len > 0 && buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}
