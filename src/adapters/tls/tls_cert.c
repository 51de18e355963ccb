#include "adapters/tls/tls_cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/compiler.h"

#define DAY_S    86400L
#define PATH_LEN 4352

bool tls_names_have(const struct tls_names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++) {
        if (strcmp(names->at[i], name) == 0) {
            return true;
        }
    }
    return false;
}

bool tls_names_add(struct tls_names *names, const char *name)
{
    if (tls_names_have(names, name)) {
        return true;
    }
    size_t n = strlen(name);
    if (names->n == TLS_NAMES_MAX || n == 0 || n >= TLS_NAME_MAX) {
        return false;
    }
    memcpy(names->at[names->n++], name, n + 1);
    return true;
}

/* ---- Looking ---- */

static bool fingerprint_put(const X509 *cert, char *out)
{
    unsigned char hash[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    if (X509_digest(cert, EVP_sha256(), hash, &n) != 1 || n * 3 > TLS_FINGERPRINT_SIZE) {
        return false;
    }
    for (unsigned i = 0; i < n; i++) {
        (void)snprintf(out + (size_t)i * 3, 4, "%02X%s", hash[i], i + 1 < n ? ":" : "");
    }
    return true;
}

static void name_collect(struct tls_names *names, const GENERAL_NAME *name)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (name->type == GEN_DNS) {
        char host[TLS_NAME_MAX];
        int n = ASN1_STRING_length(name->d.dNSName);
        if (n > 0 && (size_t)n < sizeof(host)) {
            (void)snprintf(host, sizeof(host), "%.*s", n,
                           (const char *)ASN1_STRING_get0_data(name->d.dNSName));
            (void)tls_names_add(names, host);
        }
    } else if (name->type == GEN_IPADD) {
        const unsigned char *p = ASN1_STRING_get0_data(name->d.iPAddress);
        int family = ASN1_STRING_length(name->d.iPAddress) == 4 ? AF_INET : AF_INET6;
        if (inet_ntop(family, p, text, sizeof(text))) {
            (void)tls_names_add(names, text);
        }
    }
}

static void names_collect(const X509 *cert, struct tls_names *ret)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(all); i++) {
        name_collect(ret, sk_GENERAL_NAME_value(all, i));
    }
    GENERAL_NAMES_free(all);
}

static bool seconds_of(const ASN1_TIME *t, int64_t *ret)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(t, &tm) != 1) {
        return false;
    }
    *ret = timegm(&tm);
    return true;
}

enum confab_err tls_cert_look(const char *path, struct tls_cert *ret)
{
    FILE *f = fopen(path, "re");
    X509 *cert = f ? PEM_read_X509(f, NULL, NULL, NULL) : NULL;
    struct tls_cert c;
    int days = 0;
    int seconds = 0;
    memset(&c, 0, sizeof(c));
    bool ok = cert && fingerprint_put(cert, c.fingerprint) &&
              ASN1_TIME_diff(&days, &seconds, NULL, X509_get0_notAfter(cert)) == 1 &&
              seconds_of(X509_get0_notBefore(cert), &c.begins_s) &&
              seconds_of(X509_get0_notAfter(cert), &c.ends_s);
    if (ok) {
        c.seconds_left = (int64_t)days * DAY_S + seconds;
        names_collect(cert, &c.names);
        *ret = c;
    }
    X509_free(cert);
    if (f) {
        (void)fclose(f);
    }
    ERR_clear_error();
    return ok ? CONFAB_OK : CONFAB_NOT_FOUND;
}

/* ---- Making ---- */

static enum confab_err fail(char *detail, enum confab_err err, const char *path, const char *what)
{
    (void)snprintf(detail, TLS_DETAIL_MAX, "%.300s: %s", path, what);
    ERR_clear_error();
    return err;
}

/* Makes PATH.new, mode 0600; commit with file_commit. NULL with errno. */
static FILE *file_begin(const char *path, char fresh[PATH_LEN])
{
    int n = snprintf(fresh, PATH_LEN, "%s.new", path);
    if (n < 0 || n >= PATH_LEN) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (fd >= 0 && !f) {
        (void)close(fd);
    }
    return f;
}

static bool file_commit(FILE *f, bool ok, const char *fresh, const char *path)
{
    ok = ok && fflush(f) == 0 && fsync(fileno(f)) == 0;
    ok = fclose(f) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    if (!ok) {
        int saved = errno;
        (void)unlink(fresh);
        errno = saved;
    }
    return ok;
}

static enum confab_err key_get(const char *path, char *detail, EVP_PKEY **ret)
{
    FILE *f = fopen(path, "re");
    if (f) {
        EVP_PKEY *key = PEM_read_PrivateKey(f, NULL, NULL, "");
        (void)fclose(f);
        if (!key) {
            return fail(detail, CONFAB_INVALID, path, "there is no private key in PEM form in it");
        }
        *ret = key;
        return CONFAB_OK;
    }
    if (errno != ENOENT) {
        return fail(detail, CONFAB_IO, path, strerror(errno));
    }
    EVP_PKEY *key = EVP_EC_gen("P-256");
    if (!key) {
        return fail(detail, CONFAB_NOMEM, path, "a key cannot be made");
    }
    char fresh[PATH_LEN];
    f = file_begin(path, fresh);
    bool ok = f && PEM_write_PKCS8PrivateKey(f, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (!f || !file_commit(f, ok, fresh, path)) {
        EVP_PKEY_free(key);
        return fail(detail, CONFAB_IO, path, strerror(errno));
    }
    *ret = key;
    return CONFAB_OK;
}

static bool add_extension(X509 *cert, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, cert, cert, NULL, NULL, 0);
    X509V3_set_ctx_nodb(&ctx);
    X509_EXTENSION *ext = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = ext && X509_add_ext(cert, ext, -1) == 1;
    X509_EXTENSION_free(ext);
    return ok;
}

static bool is_address(const char *name)
{
    unsigned char raw[16];
    return inet_pton(AF_INET, name, raw) == 1 || inet_pton(AF_INET6, name, raw) == 1;
}

static bool add_names(X509 *cert, const struct tls_names *names)
{
    char list[TLS_NAMES_MAX * (TLS_NAME_MAX + 8)] = "";
    size_t len = 0;
    for (size_t i = 0; i < names->n; i++) {
        len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s:%s", i > 0 ? "," : "",
                                is_address(names->at[i]) ? "IP" : "DNS", names->at[i]);
    }
    return add_extension(cert, NID_subject_alt_name, list);
}

static bool fill(X509 *cert, EVP_PKEY *key, const struct tls_names *names)
{
    unsigned char serial[16];
    if (RAND_bytes(serial, sizeof(serial)) != 1) {
        return false;
    }
    serial[0] &= 0x7f;
    BIGNUM *number = BN_bin2bn(serial, sizeof(serial), NULL);
    bool ok = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(cert)) != NULL;
    BN_free(number);
    X509_NAME *subject = X509_get_subject_name(cert);
    return ok && X509_set_version(cert, X509_VERSION_3) == 1 &&
           X509_gmtime_adj(X509_getm_notBefore(cert), -3600) &&
           X509_gmtime_adj(X509_getm_notAfter(cert), (long)TLS_CERT_DAYS * DAY_S - 7200) &&
           X509_set_pubkey(cert, key) == 1 &&
           X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                      (const unsigned char *)"Confab on a home network", -1, -1,
                                      0) == 1 &&
           X509_set_issuer_name(cert, subject) == 1 &&
           add_extension(cert, NID_basic_constraints, "critical,CA:FALSE") &&
           add_extension(cert, NID_key_usage, "critical,digitalSignature") &&
           add_extension(cert, NID_ext_key_usage, "serverAuth") &&
           add_extension(cert, NID_subject_key_identifier, "hash") && add_names(cert, names) &&
           X509_sign(cert, key, EVP_sha256()) > 0;
}

enum confab_err tls_cert_make(const char *cert_path, const char *key_path,
                              const struct tls_names *names, char *detail)
{
    EVP_PKEY *key = NULL;
    if (names->n == 0) {
        return fail(detail, CONFAB_INVALID, cert_path, "a certificate needs a name");
    }
    enum confab_err err = key_get(key_path, detail, &key);
    if (err) {
        return err;
    }
    X509 *cert = X509_new();
    if (!cert || !fill(cert, key, names)) {
        err = fail(detail, CONFAB_INVALID, cert_path, "a certificate cannot be made of this key");
    } else {
        char fresh[PATH_LEN];
        FILE *f = file_begin(cert_path, fresh);
        bool ok = f && PEM_write_X509(f, cert) == 1;
        if (!f || !file_commit(f, ok, fresh, cert_path)) {
            err = fail(detail, CONFAB_IO, cert_path, strerror(errno));
        }
    }
    X509_free(cert);
    EVP_PKEY_free(key);
    return err;
}
