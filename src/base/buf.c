#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

enum { BUF_MIN_CAP = 64 };

void buf_deinit(struct buf *b)
{
    if (!b->lent) {
        free(b->data);
    }
    buf_init(b);
}

bool buf_grow(struct buf *b, size_t n)
{
    if (n > SIZE_MAX - b->len) {
        b->failed = true;
        return false;
    }
    size_t need = b->len + n;
    size_t cap = b->cap < BUF_MIN_CAP ? BUF_MIN_CAP : b->cap;
    while (cap < need) {
        cap = cap > SIZE_MAX / 2 ? need : cap * 2;
    }
    uint8_t *data = realloc(b->lent ? NULL : b->data, cap);
    if (!data) {
        b->failed = true;
        return false;
    }
    if (b->lent) {
        memcpy(data, b->data, b->len);
        b->lent = false;
    }
    b->data = data;
    b->cap = cap;
    return true;
}

void buf_put_blob(struct buf *b, const void *p, size_t n)
{
    if (n <= SIZE_MAX - VARINT_MAX && buf_reserve(b, VARINT_MAX + n)) {
        uint8_t *to = varint_write(b->data + b->len, n);
        if (n > 0) {
            memcpy(to, p, n);
        }
        b->len = (size_t)(to - b->data) + n;
    } else {
        b->failed = true;
    }
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    va_list again;
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n >= 0 && buf_reserve(b, (size_t)n + 1)) {
        vsnprintf((char *)b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    } else {
        b->failed = true;
    }
    va_end(again);
}

void buf_consume(struct buf *b, size_t n)
{
    if (n >= b->len) {
        b->len = 0;
        return;
    }
    memmove(b->data, b->data + n, b->len - n);
    b->len -= n;
}

uint8_t *buf_detach(struct buf *b, size_t *ret_len)
{
    DCHECK(!b->lent);
    uint8_t *p = b->data;
    *ret_len = b->len;
    buf_init(b);
    return p;
}

uint16_t reader_u16(struct reader *r)
{
    uint16_t lo = reader_u8(r);
    uint16_t hi = reader_u8(r);
    return (uint16_t)(lo | (hi << 8));
}

uint32_t reader_u32(struct reader *r)
{
    if (!reader_need(r, 4)) {
        return 0;
    }
    uint32_t v;
    memcpy(&v, r->p, sizeof(v));
    r->p += sizeof(v);
    return le32toh(v);
}

uint64_t reader_u64(struct reader *r)
{
    if (!reader_need(r, 8)) {
        return 0;
    }
    uint64_t v;
    memcpy(&v, r->p, sizeof(v));
    r->p += sizeof(v);
    return le64toh(v);
}

/* As reader_varint; of more than one byte, or none. */
uint64_t reader_varint_long(struct reader *r)
{
    uint64_t v = 0;
    const uint8_t *p = r->p;
    const uint8_t *end = r->bad ? p : r->end;
    for (unsigned shift = 0; shift < 64 && p < end; shift += 7) {
        uint8_t c = *p++;
        if (shift == 63 && c > 1) {
            break;
        }
        v |= (uint64_t)(c & 0x7f) << shift;
        if (c < 0x80) {
            r->p = p;
            return v;
        }
    }
    r->bad = true;
    return 0;
}

uint64_t reader_varint_max(struct reader *r, uint64_t max)
{
    uint64_t v = reader_varint(r);
    if (v > max) {
        r->bad = true;
        return 0;
    }
    return v;
}

struct span reader_bytes(struct reader *r, size_t n)
{
    if (!reader_need(r, n)) {
        return (struct span){NULL, 0};
    }
    struct span s = {r->p, n};
    r->p += n;
    return s;
}

struct span reader_blob(struct reader *r)
{
    uint64_t n = reader_varint(r);
    if (r->bad || n > reader_left(r)) {
        r->bad = true;
        return (struct span){NULL, 0};
    }
    return reader_bytes(r, (size_t)n);
}
