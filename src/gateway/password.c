/* Argon2id through libsodium's encoded strings, which carry salt and parameters. */
#include "gateway/password.h"

#include <sodium.h>
#include <zxcvbn.h>

/* An estimate takes time with the square of the length, and this long nobody guesses first. */
#define ESTIMATE_BYTES_MAX 100U
/* log2 of the guesses: a million, which an attacker may well get to try against one account. */
#define WEAK_BITS 20.0

_Static_assert(crypto_pwhash_STRBYTES <= DIR_HASH_BYTES, "an encoded hash fits its column");

static enum confab_err argon2id_hash(struct span password, char ret_hash[DIR_HASH_BYTES])
{
    char out[crypto_pwhash_STRBYTES];
    if (crypto_pwhash_str(out, (const char *)password.p, password.n,
                          crypto_pwhash_OPSLIMIT_INTERACTIVE,
                          crypto_pwhash_MEMLIMIT_INTERACTIVE) != 0) {
        return CONFAB_NOMEM;
    }
    memcpy(ret_hash, out, sizeof(out));
    return CONFAB_OK;
}

static enum confab_err argon2id_verify(const char *hash, struct span password)
{
    /* libsodium does not tell a wrong password from a lack of memory. */
    if (crypto_pwhash_str_verify(hash, (const char *)password.p, password.n) != 0) {
        return CONFAB_UNAUTHENTICATED;
    }
    return CONFAB_OK;
}

bool password_is_weak(struct span password, const char *const *names)
{
    char text[ESTIMATE_BYTES_MAX + 1];
    /* The library takes the list as `const char **` and only reads it. */
    const char *dictionary[PASSWORD_NAMES_MAX + 1] = {NULL};
    size_t n = MIN(password.n, ESTIMATE_BYTES_MAX);
    for (uint32_t i = 0; i < PASSWORD_NAMES_MAX && names[i]; i++) {
        dictionary[i] = names[i];
    }
    memcpy(text, password.p, n);
    text[n] = 0;
    bool weak = ZxcvbnMatch(text, dictionary, NULL) < WEAK_BITS;
    sodium_memzero(text, sizeof(text));
    return weak;
}

const struct password_ops *password_argon2id(void)
{
    static const struct password_ops ops = {
        .name = "argon2id",
        .hash = argon2id_hash,
        .verify = argon2id_verify,
        .is_weak = password_is_weak,
    };
    return sodium_init() < 0 ? NULL : &ops;
}
