/*
 * zlib, as a function from message to message. The small states have small hash tables as well:
 * clearing these is most of what a short message costs.
 */
#include "proto/deflate.h"

#include <stdlib.h>
#include <zlib.h>

#include "base/check.h"

#define GZIP_HEAD  10U
#define GZIP_TAIL  8U
#define FIRST_STEP 512U

static const struct {
    int bits;
    int memory; /* zlib's level of it */
    int effort;
} SIZES[DEFLATE_SIZES] = {
    [DEFLATE_NARROW] = {DEFLATE_BITS_MIN, 4, 6},
    [DEFLATE_MIDDLE] = {DEFLATE_BITS_MIDDLE, 5, 6},
    [DEFLATE_WIDE] = {DEFLATE_BITS_MAX, 8, 6},
};

/* What the sender of a message leaves out. */
static const uint8_t TAIL[] = {0x00, 0x00, 0xff, 0xff};

struct deflater {
    z_stream z;
};

enum confab_err deflater_new(enum deflate_size size, struct deflater **ret)
{
    struct deflater *d = calloc(1, sizeof(*d));
    if (!d) {
        return CONFAB_NOMEM;
    }
    if (deflateInit2(&d->z, SIZES[size].effort, Z_DEFLATED, -SIZES[size].bits, SIZES[size].memory,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        free(d);
        return CONFAB_NOMEM;
    }
    *ret = d;
    return CONFAB_OK;
}

void deflater_free(struct deflater *d)
{
    if (d) {
        (void)deflateEnd(&d->z);
        free(d);
    }
}

/* Appends fewer than `room` bytes, or nothing. */
static enum confab_err run(struct deflater *d, struct span in, int flush, size_t room,
                           struct buf *out)
{
    if (in.n > UINT32_MAX / 2 || room == 0) {
        return CONFAB_TOO_LARGE;
    }
    if (!buf_reserve(out, room)) {
        return CONFAB_NOMEM;
    }
    (void)deflateReset(&d->z);
    d->z.next_in = (Bytef *)(uintptr_t)in.p;
    d->z.avail_in = (uInt)in.n;
    d->z.next_out = out->data + out->len;
    d->z.avail_out = (uInt)room;
    int r = deflate(&d->z, flush);
    DCHECK(r == Z_OK || r == Z_STREAM_END || r == Z_BUF_ERROR);
    (void)r;
    if (d->z.avail_out == 0) {
        return CONFAB_TOO_LARGE; /* perhaps not all of it is there */
    }
    out->len += room - d->z.avail_out;
    return CONFAB_OK;
}

enum confab_err deflate_message(struct deflater *d, struct span in, struct buf *out)
{
    enum confab_err err = run(d, in, Z_SYNC_FLUSH, in.n + sizeof(TAIL), out);
    if (!err) {
        CHECK(out->len >= sizeof(TAIL) &&
              memcmp(out->data + out->len - sizeof(TAIL), TAIL, sizeof(TAIL)) == 0);
        out->len -= sizeof(TAIL);
    }
    return err;
}

enum confab_err deflate_gzip(struct deflater *d, struct span in, struct buf *out)
{
    static const uint8_t head[GZIP_HEAD] = {0x1f, 0x8b, 8, [9] = 255 /* no system in particular */};
    size_t before = out->len;
    if (in.n <= GZIP_HEAD + GZIP_TAIL) {
        return CONFAB_TOO_LARGE;
    }
    if (!buf_reserve(out, in.n)) {
        return CONFAB_NOMEM;
    }
    buf_put(out, head, sizeof(head));
    enum confab_err err = run(d, in, Z_FINISH, in.n - GZIP_HEAD - GZIP_TAIL, out);
    if (err) {
        out->len = before;
        return err;
    }
    buf_put_u32(out, (uint32_t)crc32(0, in.p, (uInt)in.n));
    buf_put_u32(out, (uint32_t)in.n);
    return buf_ok(out) ? CONFAB_OK : CONFAB_NOMEM;
}

struct inflater {
    z_stream z;
};

enum confab_err inflater_new(struct inflater **ret)
{
    struct inflater *z = calloc(1, sizeof(*z));
    if (!z) {
        return CONFAB_NOMEM;
    }
    if (inflateInit2(&z->z, -(int)DEFLATE_BITS_MAX) != Z_OK) {
        free(z);
        return CONFAB_NOMEM;
    }
    *ret = z;
    return CONFAB_OK;
}

void inflater_free(struct inflater *z)
{
    if (z) {
        (void)inflateEnd(&z->z);
        free(z);
    }
}

/* The sender had ended a stream within the message. What follows may still repeat what was. */
static enum confab_err go_on(struct inflater *z, const struct buf *out)
{
    size_t n = MIN(out->len, (size_t)1 << DEFLATE_BITS_MAX);
    Bytef *next = z->z.next_in;
    uInt left = z->z.avail_in;
    if (inflateReset(&z->z) != Z_OK ||
        (n > 0 && inflateSetDictionary(&z->z, out->data + out->len - n, (uInt)n) != Z_OK)) {
        return CONFAB_NOMEM;
    }
    z->z.next_in = next;
    z->z.avail_in = left;
    return CONFAB_OK;
}

/* Room for more, up to one byte too many, which tells a message that is too long. */
static bool more_room(struct buf *out, size_t max)
{
    size_t step = MAX(out->len, FIRST_STEP);
    return buf_reserve(out, MIN(step, max + 1 - out->len));
}

/* Takes all of `in`. */
static enum confab_err feed(struct inflater *z, struct span in, size_t max, struct buf *out)
{
    z->z.next_in = (Bytef *)(uintptr_t)in.p;
    z->z.avail_in = (uInt)in.n;
    for (;;) {
        if (!more_room(out, max)) {
            return CONFAB_NOMEM;
        }
        size_t room = MIN(out->cap, max + 1) - out->len;
        z->z.next_out = out->data + out->len;
        z->z.avail_out = (uInt)room;
        int r = inflate(&z->z, Z_SYNC_FLUSH);
        out->len += room - z->z.avail_out;
        if (out->len > max) {
            return CONFAB_TOO_LARGE;
        }
        if (r == Z_MEM_ERROR) {
            return CONFAB_NOMEM;
        }
        if (r == Z_STREAM_END) {
            enum confab_err err = go_on(z, out);
            if (err || z->z.avail_in == 0) {
                return err;
            }
        } else if (r != Z_OK && r != Z_BUF_ERROR) {
            return CONFAB_INVALID;
        } else if (z->z.avail_out > 0) {
            return CONFAB_OK; /* all taken: it could have written more */
        }
    }
}

enum confab_err inflate_message(struct inflater *z, struct span in, size_t max, struct buf *out)
{
    /* What inflate tells beside the counts: it stands between two blocks. */
    enum { BETWEEN_BLOCKS = 128 };
    buf_clear(out);
    if (in.n > UINT32_MAX / 2 || max > UINT32_MAX / 2) {
        return CONFAB_TOO_LARGE;
    }
    (void)inflateReset(&z->z);
    enum confab_err err = feed(z, in, max, out);
    if (!err) {
        err = feed(z, span_of(TAIL, sizeof(TAIL)), max, out);
    }
    if (!err && !(z->z.data_type & BETWEEN_BLOCKS)) {
        err = CONFAB_INVALID;
    }
    return err;
}
