#include "adapters/tls/tls_tickets.h"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define NAME_BYTES   16U /* as OpenSSL has it */
#define SECRET_BYTES 32U

struct ticket_key {
    unsigned char name[NAME_BYTES];
    unsigned char cipher[SECRET_BYTES];
    unsigned char mac[SECRET_BYTES];
};

struct tls_tickets {
    pthread_mutex_t lock;
    struct ticket_key keys[TLS_TICKET_KEYS]; /* the newest first */
    unsigned n;
    uint64_t rotate_at_ms; /* 0: not known yet */
    EVP_CIPHER *cipher;    /* fetched once: looking it up costs more than using it */
};

/* Without randomness there is no key, and no tickets until the next try. */
static void key_add(struct tls_tickets *t)
{
    struct ticket_key fresh;
    if (RAND_bytes((unsigned char *)&fresh, (int)sizeof(fresh)) != 1) {
        return;
    }
    OPENSSL_cleanse(&t->keys[TLS_TICKET_KEYS - 1], sizeof(fresh));
    memmove(&t->keys[1], &t->keys[0], (TLS_TICKET_KEYS - 1) * sizeof(fresh));
    t->keys[0] = fresh;
    t->n = MIN(t->n + 1, TLS_TICKET_KEYS);
    OPENSSL_cleanse(&fresh, sizeof(fresh));
}

enum confab_err tls_tickets_new(struct tls_tickets **ret)
{
    struct tls_tickets *t = calloc(1, sizeof(*t));
    if (!t) {
        return CONFAB_NOMEM;
    }
    CHECK(pthread_mutex_init(&t->lock, NULL) == 0);
    t->cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    key_add(t);
    if (!t->cipher || t->n == 0) {
        tls_tickets_free(t);
        return CONFAB_NOMEM;
    }
    *ret = t;
    return CONFAB_OK;
}

void tls_tickets_free(struct tls_tickets *t)
{
    if (t) {
        EVP_CIPHER_free(t->cipher);
        CHECK(pthread_mutex_destroy(&t->lock) == 0);
        OPENSSL_cleanse(t, sizeof(*t));
        free(t);
    }
}

void tls_tickets_tick(struct tls_tickets *t, uint64_t now_ms)
{
    CHECK(pthread_mutex_lock(&t->lock) == 0);
    if (t->rotate_at_ms == 0) {
        t->rotate_at_ms = now_ms + TLS_TICKET_ROTATE_MS;
    } else if (now_ms >= t->rotate_at_ms) {
        key_add(t);
        t->rotate_at_ms = now_ms + TLS_TICKET_ROTATE_MS;
    }
    CHECK(pthread_mutex_unlock(&t->lock) == 0);
}

void tls_tickets_forget(struct tls_tickets *t)
{
    CHECK(pthread_mutex_lock(&t->lock) == 0);
    OPENSSL_cleanse(t->keys, sizeof(t->keys));
    t->n = 0;
    key_add(t);
    CHECK(pthread_mutex_unlock(&t->lock) == 0);
}

/* The key that opens a ticket, or with `name` NULL the one for new ones. False: none. */
static bool key_get(struct tls_tickets *t, const unsigned char *name, struct ticket_key *ret,
                    unsigned *ret_age)
{
    bool found = false;
    CHECK(pthread_mutex_lock(&t->lock) == 0);
    for (unsigned i = 0; i < t->n && !found; i++) {
        found = !name || memcmp(t->keys[i].name, name, NAME_BYTES) == 0;
        if (found) {
            *ret = t->keys[i];
            *ret_age = i;
        }
    }
    CHECK(pthread_mutex_unlock(&t->lock) == 0);
    return found;
}

static bool key_apply(const struct tls_tickets *t, struct ticket_key *key, unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key->mac, sizeof(key->mac)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };
    return EVP_CipherInit_ex(cipher, t->cipher, NULL, key->cipher, iv, enc) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* OpenSSL's: -1 error, 0 no such key (a full handshake), 1 good, 2 good and to be given anew. */
static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int enc)
{
    struct tls_tickets *t = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    struct ticket_key key;
    unsigned age = 0;
    if (!key_get(t, enc ? NULL : name, &key, &age)) {
        return 0;
    }
    bool ok = true;
    if (enc) {
        memcpy(name, key.name, NAME_BYTES);
        ok = RAND_bytes(iv, EVP_CIPHER_get_iv_length(t->cipher)) == 1;
    }
    ok = ok && key_apply(t, &key, iv, cipher, mac, enc);
    OPENSSL_cleanse(&key, sizeof(key));
    if (!ok) {
        return -1;
    }
    return age > 0 ? 2 : 1;
}

bool tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx)
{
    (void)SSL_CTX_set_timeout(ctx, TLS_TICKET_S);
    /* One of 1.3 instead of two: a page opens one socket, and each costs a record at its start. */
    return SSL_CTX_set_app_data(ctx, t) == 1 && SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
           SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}
