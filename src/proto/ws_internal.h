/* The extensions of a handshake: for ws_handshake.c, ws_extension.c and their tests only. */
#ifndef CONFAB_PROTO_WS_INTERNAL_H
#define CONFAB_PROTO_WS_INTERNAL_H

#include "proto/ws.h"

struct http_headers;

/* The first offer of the client that can be met; `on` is false when there is none. False: the field
 * breaks its grammar. */
bool ws_deflate_choose(const struct http_headers *h, struct ws_deflate *ret);
void ws_deflate_put_answer(struct buf *b, const struct ws_deflate *d);
void ws_deflate_put_offer(struct buf *b);
/* Is the server's answer one to that offer (or, with *io_deflate false, to none)? Tells in
 * *io_deflate whether it agrees. */
bool ws_deflate_verify(const struct http_headers *h, bool *io_deflate);

#endif
