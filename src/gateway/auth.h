/*
 * Who is it? The three kinds of secrets that clients carry, in one shard; what the shards share is
 * in auth_state.h, the calls are in api_tokens.c.
 *
 *   access token   a JWT (proto/jwt.h), checked without any look-up, minutes long
 *   refresh token  "cfr_" and 48 bytes in base64url, one chain for each device: 16 bytes name the
 *                  chain, 32 change with every use. The directory holds hashes and a salt; the
 *                  successor's bytes are HMAC-SHA256(key = its predecessor's, salt), so that it
 *                  can be made again for a client whose answer was lost
 *   ticket         "cft_" and 24 bytes, once, for the URL of a socket
 *
 * A revocation is answered when the sessions of the device are closed on all shards.
 */
#ifndef CONFAB_GATEWAY_AUTH_H
#define CONFAB_GATEWAY_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "gateway/auth_state.h"
#include "ports/directory.h"

struct shard;
struct api_call;

#define REFRESH_RAW      48U
#define REFRESH_CHAIN    16U /* of these name the chain */
#define REFRESH_TEXT_LEN 68U /* without terminating zero */

/* A shard's part of it. */
struct auth {
    struct list waiting; /* struct auth_wait: until all shards have seen a revocation */
    uint64_t seen;       /* number of the last revocation that was acted upon */
    uint64_t boot_at_ms; /* shard 0: when to try (again) to read the directory */
    uint64_t purge_at_ms;
    uint8_t boot; /* shard 0: enum boot_state */
    bool purging;
    uint64_t boot_after; /* boot: where a list goes on */
};

void auth_init(struct shard *s);
/*
 * Early in each turn: closes sessions of devices that were revoked, lets those answer who waited
 * for that, and on shard 0 reads what the directory knows and cleans up there.
 */
void auth_turn(struct shard *s);

/* CONFAB_UNAUTHENTICATED (*ret_why says more), CONFAB_BUSY. `ret_why` is static text. */
CONFAB_NODISCARD enum confab_err auth_token(struct shard *s, struct span token,
                                            struct jwt_claims *ret, const char **ret_why);

/*
 * Is the user an administrator now? `done` follows in a later turn with CONFAB_OK, CONFAB_FORBIDDEN
 * or what the directory failed with. The directory is asked each time: these calls are rare, and
 * who is no longer one must not go on for the life of a token.
 */
typedef void (*auth_done)(struct shard *s, uint64_t conn, enum confab_err err);
CONFAB_NODISCARD enum confab_err auth_admin(struct shard *s, uint64_t user, uint64_t conn,
                                            auth_done done);

/* Embedded in whoever waits. */
struct auth_wait {
    struct list node;
    uint64_t number;
    void (*then)(struct shard *s, struct auth_wait *w);
};
/*
 * Signs devices out everywhere; `then` follows in a later turn, once that has happened. `w` may be
 * NULL: nobody waits.
 */
void auth_revoke(struct shard *s, uint64_t user, const uint64_t *devices, uint32_t n,
                 struct auth_wait *w, void (*then)(struct shard *s, struct auth_wait *w));

/* ---- Refresh tokens ---- */

bool refresh_parse(struct span text, uint8_t ret[REFRESH_RAW]);
void refresh_text(const uint8_t raw[REFRESH_RAW], char ret[REFRESH_TEXT_LEN + 1]);
void refresh_hashes(const uint8_t raw[REFRESH_RAW], uint8_t ret_chain[DIR_TOKEN_HASH],
                    uint8_t ret_token[DIR_TOKEN_HASH]);
void refresh_next(const uint8_t raw[REFRESH_RAW], const uint8_t salt[DIR_SALT_BYTES],
                  uint8_t ret[REFRESH_RAW]);

/* Shard 0's part (auth_boot.c), from auth_turn; and when it wants the next one at the latest. */
void auth_boot_turn(struct shard *s);
uint64_t auth_next_ms(const struct shard *s);

/* Keys of the directory's settings. */
#define SETTING_REGISTRATION "registration"
#define SETTING_SERVER_NAME  "server_name"

/* Invite codes: 24 bytes in base64url, stored as their hash. */
#define INVITE_CODE_LEN 32U
void invite_code_make(struct shard *s, char ret[INVITE_CODE_LEN + 1]);
bool invite_code_hash(struct span code, uint8_t ret[DIR_TOKEN_HASH]);
/* The invite that makes an administrator. */
void auth_setup_invite(struct shard *s, struct dir_invite *invite,
                       char ret_code[INVITE_CODE_LEN + 1]);

#endif
