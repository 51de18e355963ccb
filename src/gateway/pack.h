/*
 * Compression on the way out and in, with states of zlib that belong to the shard: one for each
 * window, and one to inflate, made when they are first needed. No connection owns any; each message
 * stands for itself (proto/deflate.h).
 */
#ifndef CONFAB_GATEWAY_PACK_H
#define CONFAB_GATEWAY_PACK_H

#include <stdbool.h>

#include "base/buf.h"
#include "proto/deflate.h"

struct shard;
struct conn;
struct frame;
struct ws_deflate;

struct packs {
    struct deflater *deflaters[DEFLATE_SIZES];
    struct inflater *inflater;
    struct buf out; /* compressed, until it is copied into a frame */
    struct buf in;  /* the message that was inflated last */
};
void packs_deinit(struct shard *s);

/* Of what a client offers: is it to be? Turns it off otherwise. */
void pack_agree(struct shard *s, struct ws_deflate *io);
/* Of enum conn_wire, for the bits agreed on. */
uint8_t pack_window(uint8_t bits);
/*
 * What is to be queued to the connection for an event: `f` itself, or its compressed form, made
 * once for all who take the same window. Borrowed from f.
 */
struct frame *pack_frame(struct shard *s, const struct conn *c, struct frame *f);
/*
 * A compressed message; what it held is valid until the next call. CONFAB_TOO_LARGE: it holds more
 * than frame_bytes_max. CONFAB_INVALID, CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err pack_open(struct shard *s, struct span in, struct span *ret);
/*
 * The body of an answer in gzip, valid until the next call; false: it is to be sent as it is, for
 * want of memory or because it would not be smaller.
 */
bool pack_gzip(struct shard *s, struct span body, struct span *ret);

#endif
