/*
 * The keys in the data directory: keys/token.key is made at the first start and stays, operator.key
 * is new at every start. Both are for the server's user only, and so must stay.
 */
#ifndef CONFAB_CONFABD_SECRETS_H
#define CONFAB_CONFABD_SECRETS_H

#include "confabd/datadir.h"
#include "gateway/auth_state.h"

/*
 * What is wrong is in `detail` (at least 512 bytes): CONFAB_FORBIDDEN, others may read a key;
 * CONFAB_CORRUPT, a key is not 32 bytes long; CONFAB_IO.
 */
CONFAB_NODISCARD enum confab_err secrets_load(const struct datadir *dir, struct auth_secrets *ret,
                                              char *detail);

#endif
