/*
 * Deflate (RFC 1951, by zlib) of whole messages, each by itself: nothing of one is remembered for
 * the next, so one state serves any number of connections, one message after the other.
 *
 * A message of permessage-deflate (RFC 7692) is blocks up to a byte's boundary without the four
 * bytes 00 00 ff ff at their end. Nothing here refers to what came before the message; so such
 * messages may stand one behind the other in a larger one (see gateway/conn_output.c).
 *
 * One thread at a time. Memory: see deflater_new; an inflater has 7 KiB, and 32 KiB more when a
 * message came in which needs them.
 */
#ifndef CONFAB_PROTO_DEFLATE_H
#define CONFAB_PROTO_DEFLATE_H

#include "base/buf.h"
#include "base/err.h"

/* By the window: what the receiver must keep, and how far a repetition may lie back. */
enum deflate_size {
    DEFLATE_NARROW = 0, /* 512 bytes; 12 KiB of memory */
    DEFLATE_MIDDLE,     /* 4 KiB; 39 KiB */
    DEFLATE_WIDE,       /* 32 KiB; 268 KiB */
    DEFLATE_SIZES
};
/* Bits of the window, as in the parameters of permessage-deflate. */
#define DEFLATE_BITS_MIN    9U
#define DEFLATE_BITS_MIDDLE 12U
#define DEFLATE_BITS_MAX    15U

struct deflater;
/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err deflater_new(enum deflate_size size, struct deflater **ret);
void deflater_free(struct deflater *d); /* NULL is fine */
/*
 * Appends the message. CONFAB_TOO_LARGE: it would not be smaller; then, and with CONFAB_NOMEM,
 * nothing is appended.
 */
CONFAB_NODISCARD enum confab_err deflate_message(struct deflater *d, struct span in,
                                                 struct buf *out);
/* The same as a gzip file (RFC 1952), without name and time. */
CONFAB_NODISCARD enum confab_err deflate_gzip(struct deflater *d, struct span in, struct buf *out);

struct inflater;
/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err inflater_new(struct inflater **ret);
void inflater_free(struct inflater *z); /* NULL is fine */
/*
 * Writes what the message holds to `out`, in place of what is there. CONFAB_TOO_LARGE: that is more
 * than `max` bytes, and no more than these were written. CONFAB_INVALID: it is damaged, or ends
 * within a block. CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err inflate_message(struct inflater *z, struct span in, size_t max,
                                                 struct buf *out);

#endif
