/*
 * Passwords with argon2id (libsodium, "interactive" cost: about 64 MiB and 0.1 s). For the threads
 * of an executor.
 */
#ifndef CONFAB_GATEWAY_PASSWORD_H
#define CONFAB_GATEWAY_PASSWORD_H

#include "gateway/shard.h"

/* NULL when libsodium cannot be set up. */
const struct password_ops *password_argon2id(void);

#endif
