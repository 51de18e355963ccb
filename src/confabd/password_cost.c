/*
 * "low" is for runs that make hundreds of accounts, which would otherwise measure argon2id and
 * little else. Hashes carry their parameters, so both kinds verify each other's.
 */
#include "confabd/password_cost.h"

#include <sodium.h>
#include <string.h>

#include "gateway/password.h"

#define LOW_OPS    1U
#define LOW_MEMORY (1U << 20)

static enum confab_err low_hash(struct span password, char ret_hash[DIR_HASH_BYTES])
{
    char out[crypto_pwhash_STRBYTES];
    if (crypto_pwhash_str(out, (const char *)password.p, password.n, LOW_OPS, LOW_MEMORY) != 0) {
        return CONFAB_NOMEM;
    }
    memcpy(ret_hash, out, sizeof(out));
    return CONFAB_OK;
}

static enum confab_err low_verify(const char *hash, struct span password)
{
    return password_argon2id()->verify(hash, password);
}

const struct password_ops *password_cost_ops(const char *name)
{
    static const struct password_ops LOW = {
        .name = "argon2id, low cost",
        .hash = low_hash,
        .verify = low_verify,
        .is_weak = password_is_weak,
    };
    const struct password_ops *normal = password_argon2id();
    if (!normal || strcmp(name, "normal") == 0) {
        return normal;
    }
    return strcmp(name, "low") == 0 ? &LOW : NULL;
}
