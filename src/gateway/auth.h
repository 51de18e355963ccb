/*
 * Tokens. A token is "cfb_" and 32 random bytes in URL-safe base64; the directory holds only its
 * SHA-256 with the device. A bounded cache per shard remembers those seen last.
 */
#ifndef CONFAB_GATEWAY_AUTH_H
#define CONFAB_GATEWAY_AUTH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/hash.h"
#include "ports/directory.h"

struct shard;

#define TOKEN_TEXT_LEN 47U /* without terminating zero */

struct token_entry {
    uint8_t hash[DIR_TOKEN_HASH];
    uint64_t user;
    uint64_t device;
};
struct tokens {
    struct u64map by_hash; /* first bytes of the hash → place in ring */
    struct token_entry *ring;
    uint32_t len;
    uint32_t next; /* place that is reused next */
};

void tokens_init(struct shard *s);
void tokens_deinit(struct shard *s);

/* Makes a token; `ret_hash` is what may be stored. */
void token_make(struct shard *s, char ret_text[TOKEN_TEXT_LEN + 1],
                uint8_t ret_hash[DIR_TOKEN_HASH]);

/* conn: id of the connection that asked, which may be gone. */
typedef void (*auth_done)(struct shard *s, uint64_t conn, enum confab_err err, uint64_t user,
                          uint64_t device);
/*
 * Who holds this token? CONFAB_OK: known, *ret_user and *ret_device are set.
 * CONFAB_UNAUTHENTICATED. CONFAB_AGAIN: `done` follows in a later turn, with CONFAB_OK,
 * CONFAB_UNAUTHENTICATED, or what the directory failed with. CONFAB_BUSY, CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err auth_token(struct shard *s, struct span token, uint64_t conn,
                                            auth_done done, uint64_t *ret_user,
                                            uint64_t *ret_device);

/* What hashing on the executor yields. */
struct password_result {
    enum confab_err err; /* OK; UNAUTHENTICATED: does not match; NOMEM; CLOSED */
    char hash[DIR_HASH_BYTES];
};
/*
 * Hashes `password`, or verifies it against `hash` unless that is NULL. CONFAB_BUSY: too many are
 * waiting. CONFAB_NOMEM. `done` gets `arg`; `drop` stands in when the shard is freed.
 */
CONFAB_NODISCARD enum confab_err
password_submit(struct shard *s, struct span password, const char *hash, void *arg,
                void (*done)(struct shard *s, void *arg, const struct password_result *result),
                void (*drop)(struct shard *s, void *arg));

#endif
