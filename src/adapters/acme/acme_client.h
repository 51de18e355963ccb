/*
 * One certificate by ACME (RFC 8555), from the directory to the chain, as a sequence of blocking
 * calls. Private to this folder; acme.h decides when.
 *
 *   directory ─► account ─► order ─► authorizations: challenge set, told, polled, taken back
 *                             │                          │
 *                             │ kept in a file:          ▼
 *                             └ a restart goes on ─► ready ─► finalize (key kept before) ─► valid
 * ─► chain
 */
#ifndef CONFAB_ADAPTERS_ACME_ACME_CLIENT_H
#define CONFAB_ADAPTERS_ACME_ACME_CLIENT_H

#include <openssl/evp.h>

#include "adapters/acme/acme.h"
#include "adapters/acme/acme_http.h"
#include "adapters/acme/acme_key.h"

struct acme_client {
    const struct acme_config *cfg;
    struct acme_http http;
    EVP_PKEY *account; /* the account's key */
    char thumbprint[ACME_B64_32];
    char new_nonce[ACME_URL_MAX];
    char new_account[ACME_URL_MAX];
    char new_order[ACME_URL_MAX];
    char kid[ACME_URL_MAX]; /* the account's URL; empty: not known */
    char why[ACME_WHY_MAX]; /* with an error: one line for people */
    uint32_t wait_s; /* with an error: the authority wants that long a pause; 0: nothing said */
};

/*
 * Goes through all of it; `ret` gets key and chain in PEM form. On an error `c->why` says what the
 * authority said. CONFAB_CLOSED: stopping; what was begun is gone on with by the next call.
 */
CONFAB_NODISCARD enum confab_err acme_client_obtain(struct acme_client *c, struct buf *ret);

#endif
