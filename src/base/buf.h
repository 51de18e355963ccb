/*
 * Growable byte buffer. The contents are owned by the buffer; buf_deinit accepts a zeroed one. An
 * append that cannot allocate sets `failed`, drops the data and leaves the earlier bytes as they
 * were: writers append freely and check buf_ok once at the end.
 */
#ifndef CONFAB_BASE_BUF_H
#define CONFAB_BASE_BUF_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"
#include "base/err.h"

struct buf {
    uint8_t *data;
    size_t len;
    size_t cap;
    bool failed;
    bool lent; /* data is the caller's, see buf_lend */
};

static inline void buf_init(struct buf *b)
{
    memset(b, 0, sizeof(*b));
}
/* An empty buffer that uses the caller's `cap` bytes, which outlive it, until they are too few. */
static inline void buf_lend(struct buf *b, void *data, size_t cap)
{
    *b = (struct buf){.data = (uint8_t *)data, .cap = cap, .lent = true};
}
void buf_deinit(struct buf *b);
static inline void buf_clear(struct buf *b)
{
    b->len = 0;
    b->failed = false;
}
static inline bool buf_ok(const struct buf *b)
{
    return !b->failed;
}

/* Makes room for `n` more bytes; on failure sets `failed` and returns false. */
bool buf_grow(struct buf *b, size_t n);
static inline bool buf_reserve(struct buf *b, size_t n)
{
    return LIKELY(b->cap - b->len >= n) ? true : buf_grow(b, n);
}

static inline void buf_put(struct buf *b, const void *p, size_t n)
{
    if (n > 0 && buf_reserve(b, n)) {
        memcpy(b->data + b->len, p, n);
        b->len += n;
    }
}
static inline void buf_put_u8(struct buf *b, uint8_t v)
{
    buf_put(b, &v, 1);
}
static inline void buf_put_str(struct buf *b, const char *s)
{
    buf_put(b, s, strlen(s));
}
/* Little endian fixed widths. */
static inline void buf_put_u16(struct buf *b, uint16_t v)
{
    uint8_t t[2] = {(uint8_t)v, (uint8_t)(v >> 8)};
    buf_put(b, t, 2);
}
static inline void buf_put_u32(struct buf *b, uint32_t v)
{
    v = htole32(v);
    buf_put(b, &v, sizeof(v));
}
static inline void buf_put_u64(struct buf *b, uint64_t v)
{
    v = htole64(v);
    buf_put(b, &v, sizeof(v));
}
#define VARINT_MAX 10U
/* LEB128; returns where it ends, at most VARINT_MAX bytes on. */
static inline uint8_t *varint_write(uint8_t *p, uint64_t v)
{
    while (v >= 0x80) {
        *p++ = (uint8_t)(v | 0x80);
        v >>= 7;
    }
    *p++ = (uint8_t)v;
    return p;
}
static inline void buf_put_varint(struct buf *b, uint64_t v)
{
    if (buf_reserve(b, VARINT_MAX)) {
        b->len = (size_t)(varint_write(b->data + b->len, v) - b->data);
    }
}
/* varint length, then the bytes. */
void buf_put_blob(struct buf *b, const void *p, size_t n);
void buf_printf(struct buf *b, const char *fmt, ...) CONFAB_PRINTF(2, 3);
/* Removes the first n bytes (n <= len). */
void buf_consume(struct buf *b, size_t n);
/* Gives the bytes to the caller (free with free()) and leaves the buffer empty; not of a lent one.
 */
uint8_t *buf_detach(struct buf *b, size_t *ret_len);

/* A borrowed run of bytes; not zero terminated. */
struct span {
    const uint8_t *p;
    size_t n;
};
static inline struct span span_of(const void *p, size_t n)
{
    return (struct span){(const uint8_t *)p, n};
}
static inline struct span span_str(const char *s)
{
    return span_of(s, strlen(s));
}
static inline bool span_eq(struct span a, struct span b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool span_is(struct span a, const char *s)
{
    return span_eq(a, span_str(s));
}

/*
 * Bounds-checked reader over a span. Reading past the end, or a malformed varint, sets `bad` and
 * yields zeros from then on: decoders read everything and check `bad` once.
 */
struct reader {
    const uint8_t *p;
    const uint8_t *end;
    bool bad;
};
static inline struct reader reader_of(const void *p, size_t n)
{
    return (struct reader){(const uint8_t *)p, (const uint8_t *)p + n, false};
}
static inline size_t reader_left(const struct reader *r)
{
    return (size_t)(r->end - r->p);
}
static inline bool reader_need(struct reader *r, size_t n)
{
    if (UNLIKELY(r->bad || reader_left(r) < n)) {
        r->bad = true;
        return false;
    }
    return true;
}
static inline uint8_t reader_u8(struct reader *r)
{
    return reader_need(r, 1) ? *r->p++ : 0;
}
uint16_t reader_u16(struct reader *r);
uint32_t reader_u32(struct reader *r);
uint64_t reader_u64(struct reader *r);
uint64_t reader_varint_long(struct reader *r);
static inline uint64_t reader_varint(struct reader *r)
{
    if (LIKELY(!r->bad && r->p < r->end && *r->p < 0x80)) {
        return *r->p++;
    }
    return reader_varint_long(r);
}
/* As reader_varint, but a value above `max` sets `bad` and yields 0. */
uint64_t reader_varint_max(struct reader *r, uint64_t max);
/* Exactly n bytes, borrowed from the input. */
struct span reader_bytes(struct reader *r, size_t n);
/* varint length, then that many bytes, borrowed from the input. */
struct span reader_blob(struct reader *r);

#endif
