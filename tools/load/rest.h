/* A small blocking HTTP/1.1 client for setting up and for reading history. One thread each. */
#ifndef LOAD_REST_H
#define LOAD_REST_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct rest {
    uint16_t port;
    int fd; /* -1: not connected; it connects by itself and keeps the connection */
    struct buf out;
    struct buf in;
    struct buf body; /* of the last answer */
    int status;      /* of the last answer */
};

void rest_init(struct rest *r, uint16_t port);
void rest_deinit(struct rest *r);
/*
 * One request to 127.0.0.1. `token` and `json` may be NULL. CONFAB_NET: no whole answer came within
 * 120 s (a connection that the server closed while idle is opened again, once). Any status is
 * CONFAB_OK.
 */
CONFAB_NODISCARD enum confab_err rest_call(struct rest *r, const char *method, const char *path,
                                           const char *token, const struct buf *json);
/* The same in two steps, so that others can be asked meanwhile; a broken connection is CONFAB_NET.
 */
CONFAB_NODISCARD enum confab_err rest_ask(struct rest *r, const char *method, const char *path,
                                          const char *token);
CONFAB_NODISCARD enum confab_err rest_answer(struct rest *r);
/* The text member of the last answer's outermost object, zero terminated; false when there is none.
 */
bool rest_member(const struct rest *r, const char *name, char *out, size_t size);

#endif
