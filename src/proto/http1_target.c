/* Percent-encoding, path segments and query parameters. */
#include "base/check.h"
#include "base/utf8.h"
#include "proto/http1.h"
#include "proto/http1_internal.h"

static enum confab_err decode_into(struct span raw, int flags, uint8_t *out, size_t *ret_n)
{
    size_t n = 0;
    for (size_t i = 0; i < raw.n; i++) {
        uint8_t c = raw.p[i];
        if (c == '%') {
            if (raw.n - i < 3) {
                return CONFAB_INVALID;
            }
            int hi = http_hex(raw.p[i + 1]);
            int lo = http_hex(raw.p[i + 2]);
            if (hi < 0 || lo < 0 || (hi | lo) == 0) {
                return CONFAB_INVALID;
            }
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && (flags & HTTP_DECODE_PLUS)) {
            c = ' ';
        }
        out[n++] = c;
    }
    *ret_n = n;
    return CONFAB_OK;
}

enum confab_err http_decode(struct span raw, int flags, struct scratch *scratch, struct span *ret)
{
    bool plain = true;
    for (size_t i = 0; i < raw.n && plain; i++) {
        plain = raw.p[i] != '%' && !(raw.p[i] == '+' && (flags & HTTP_DECODE_PLUS));
    }
    struct span s = raw;
    if (!plain) {
        if (raw.n > scratch->cap - scratch->len) {
            return CONFAB_TOO_LARGE;
        }
        s.p = scratch->p + scratch->len;
        enum confab_err err = decode_into(raw, flags, scratch->p + scratch->len, &s.n);
        if (err) {
            return err;
        }
    }
    if (!utf8_valid(s.p, s.n)) {
        return CONFAB_INVALID;
    }
    if (!plain) {
        scratch->len += s.n;
    }
    *ret = s;
    return CONFAB_OK;
}

bool http_segment_next(struct span *path, struct span *ret_raw)
{
    if (path->n == 0 || path->p[0] != '/') {
        return false;
    }
    size_t n = 1;
    while (n < path->n && path->p[n] != '/') {
        n++;
    }
    *ret_raw = span_of(path->p + 1, n - 1);
    path->p += n;
    path->n -= n;
    return true;
}

bool http_query_next(struct span *query, struct span *ret_name, struct span *ret_value)
{
    while (query->n > 0) {
        const uint8_t *amp = memchr(query->p, '&', query->n);
        size_t n = amp ? (size_t)(amp - query->p) : query->n;
        struct span pair = span_of(query->p, n);
        size_t used = amp ? n + 1 : n;
        query->p += used;
        query->n -= used;
        if (pair.n == 0) {
            continue;
        }
        const uint8_t *eq = memchr(pair.p, '=', pair.n);
        size_t k = eq ? (size_t)(eq - pair.p) : pair.n;
        *ret_name = span_of(pair.p, k);
        *ret_value = eq ? span_of(eq + 1, pair.n - k - 1) : span_of(pair.p + pair.n, 0);
        return true;
    }
    return false;
}

/* Does the raw name decode to `name`? Without scratch: compares while decoding. */
static bool name_is(struct span raw, const char *name)
{
    size_t i = 0;
    for (; *name; name++) {
        if (i == raw.n) {
            return false;
        }
        uint8_t c = raw.p[i++];
        if (c == '+') {
            c = ' ';
        } else if (c == '%') {
            int hi = raw.n - i >= 2 ? http_hex(raw.p[i]) : -1;
            int lo = raw.n - i >= 2 ? http_hex(raw.p[i + 1]) : -1;
            if (hi < 0 || lo < 0) {
                return false;
            }
            c = (uint8_t)(hi << 4 | lo);
            i += 2;
        }
        if (c != (uint8_t)*name) {
            return false;
        }
    }
    return i == raw.n;
}

enum confab_err http_query_get(struct span query, const char *name, struct scratch *scratch,
                               struct span *ret)
{
    struct span n;
    struct span v;
    struct span found = {NULL, 0};
    while (http_query_next(&query, &n, &v)) {
        if (!name_is(n, name)) {
            continue;
        }
        if (found.p) {
            return CONFAB_INVALID;
        }
        found = v;
    }
    if (!found.p) {
        return CONFAB_NOT_FOUND;
    }
    return http_decode(found, HTTP_DECODE_PLUS, scratch, ret);
}

void http_put_encoded(struct buf *b, struct span text)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < text.n; i++) {
        uint8_t c = text.p[i];
        if (http_is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~') {
            buf_put_u8(b, c);
        } else {
            char t[3] = {'%', hex[c >> 4], hex[c & 15]};
            buf_put(b, t, sizeof(t));
        }
    }
}
