/*
 * Passwords with argon2id (libsodium, "interactive" cost: about 64 MiB and 0.1 s), and hashing on
 * the threads of an executor, off the shards.
 */
#ifndef CONFAB_GATEWAY_PASSWORD_H
#define CONFAB_GATEWAY_PASSWORD_H

#include "gateway/shard.h"

#define PASSWORD_MIN       8U
#define PASSWORD_MAX       256U
#define PASSWORD_NAMES_MAX 3U /* what is guessable about a person */
#define PASSWORD_NAME_MAX  100U

/* NULL when libsodium cannot be set up. */
const struct password_ops *password_argon2id(void);
/* The is_weak of the above, for other ops: fewer than about a million guesses, by libzxcvbn. */
bool password_is_weak(struct span password, const char *const *names);

/* What a job yields. */
struct password_result {
    /* OK; UNAUTHENTICATED: does not match; WEAK_PASSWORD: guessed first; NOMEM; CLOSED. */
    enum confab_err err;
    char hash[DIR_HASH_BYTES];
};

struct password_request {
    struct span password; /* copied, as are the others */
    /* Verified against this; NULL: is_weak is asked (with names), then it is hashed. */
    const char *hash;
    /* With hash NULL, beside it: hashing only costs time, as for a name that does not exist. */
    bool in_vain;
    struct span names[PASSWORD_NAMES_MAX];
    void *arg;
    void (*done)(struct shard *s, void *arg, const struct password_result *result);
    void (*drop)(struct shard *s, void *arg); /* stands in when the shard is freed; may be NULL */
};
/* CONFAB_BUSY: too many are waiting. CONFAB_NOMEM, CONFAB_CLOSED. `done` in a later turn. */
CONFAB_NODISCARD enum confab_err password_submit(struct shard *s,
                                                 const struct password_request *req);

#endif
