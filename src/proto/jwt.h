/*
 * Access tokens: JSON Web Tokens (RFC 7519, 7515) of one kind only. Pure functions of bytes; the
 * caller has the time and the keys.
 *
 *     base64url({"alg":"HS256","typ":"JWT"}) "." base64url(claims) "." base64url(HMAC-SHA256)
 *     claims: {"iss":"confab","sub":"<user id>","did":"<device id>","iat":<s>,"exp":<s>}
 *
 * What another reader of tokens might take leniently is refused here: any algorithm but HS256,
 * "crit", padding or stray bits in the base64url, a claim that is missing, twice, or of another
 * type, a token from the future or of a longer life than JWT_LIFE_MAX_S. Nothing of a token is
 * interpreted before its signature is found right.
 */
#ifndef CONFAB_PROTO_JWT_H
#define CONFAB_PROTO_JWT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

#define JWT_KEY_BYTES  32U
#define JWT_KEYS_MAX   2U
#define JWT_TEXT_MAX   512U     /* longer texts are no tokens */
#define JWT_LIFE_MAX_S 2678400U /* exp - iat */
#define JWT_SKEW_S     60U      /* how far in the future iat may lie: another machine's clock */

struct jwt_keys {
    uint32_t n; /* key[0] signs, all verify */
    uint8_t key[JWT_KEYS_MAX][JWT_KEY_BYTES];
};

struct jwt_claims {
    uint64_t user;
    uint64_t device;
    uint64_t issued_s; /* seconds since 1970 */
    uint64_t expires_s;
};

/* Writes the token, zero terminated; its length. */
size_t jwt_make(const struct jwt_keys *keys, const struct jwt_claims *claims,
                char ret[JWT_TEXT_MAX + 1]);

/*
 * CONFAB_INVALID: not a token of this kind. CONFAB_UNAUTHENTICATED: no key made this signature.
 * CONFAB_TIMEOUT: it was one until its exp; *ret is set then too.
 */
CONFAB_NODISCARD enum confab_err jwt_check(const struct jwt_keys *keys, struct span text,
                                           uint64_t now_s, struct jwt_claims *ret);

#endif
