/* Argon2id through libsodium's encoded strings, which carry salt and parameters. */
#include "gateway/password.h"

#include <sodium.h>

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

const struct password_ops *password_argon2id(void)
{
    static const struct password_ops ops = {
        .name = "argon2id",
        .hash = argon2id_hash,
        .verify = argon2id_verify,
    };
    return sodium_init() < 0 ? NULL : &ops;
}
