/*
 * Renewing the token of a client: one POST over a connection of its own, between tokens_begin and
 * tokens_end of the application. For client.c and rest.c.
 */
#ifndef CONFAB_CLIENT_TOKEN_H
#define CONFAB_CLIENT_TOKEN_H

#include <poll.h>

#include <confab/client.h>

#include "client/io_http.h"

struct confab_client;

struct ctoken {
    struct chttp http;
    bool running;
    bool begun;           /* tokens_begin was called, tokens_end is due */
    uint64_t retry_at_ms; /* another process is at it: ask again then */
    uint64_t deadline_ms; /* of the whole */
    struct buf refresh;   /* the refresh token, zero terminated; empty: there is none */
    uint64_t renew_ms;    /* of the token in use, as csession_config */
    enum confab_error (*begin)(void *arg, struct confab_tokens *io);
    enum confab_error (*end)(void *arg, const struct confab_tokens *fresh);
    void *arg;
};

/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err ctoken_init(struct ctoken *t, const struct confab_options *options,
                                             uint64_t now);
void ctoken_deinit(struct ctoken *t);
/*
 * Goes on as far as it can without waiting, starting when it is not running. True when it is over:
 * *ret says how, and with CONFAB_E_OK the client has the new token.
 */
bool ctoken_step(struct confab_client *c, uint64_t now, enum confab_error *ret);
/* When to call ctoken_step at the latest; fills the entry and returns 1 if there is one. */
size_t ctoken_poll(const struct ctoken *t, struct pollfd *fd, uint64_t *io_at_ms);
/* From a sign-in: the tokens to use from now on. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err ctoken_set(struct confab_client *c,
                                            const struct confab_tokens *tokens, uint64_t now);

#endif
