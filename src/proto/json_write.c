/* The JSON writer. */
#include "base/check.h"
#include "base/time_text.h"
#include "proto/json.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

enum { WRITE_DEPTH_MAX = 63 };

/* Bytes from the start of p that need no escape. */
static size_t clean_run(const uint8_t *p, size_t n)
{
    size_t i = 0;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)(p + i));
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        unsigned at = (unsigned)_mm_movemask_epi8(stop);
        if (at) {
            return i + (size_t)__builtin_ctz(at);
        }
    }
#endif
    while (i < n && p[i] >= 0x20 && p[i] != '"' && p[i] != '\\') {
        i++;
    }
    return i;
}

static void put_escape(struct buf *b, uint8_t c)
{
    static const char hex[] = "0123456789abcdef";
    switch (c) {
    case '"':
        buf_put(b, "\\\"", 2);
        break;
    case '\\':
        buf_put(b, "\\\\", 2);
        break;
    case '\n':
        buf_put(b, "\\n", 2);
        break;
    case '\r':
        buf_put(b, "\\r", 2);
        break;
    case '\t':
        buf_put(b, "\\t", 2);
        break;
    default: {
        char t[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
        buf_put(b, t, sizeof(t));
    }
    }
}

void json_put_string(struct buf *b, struct span text)
{
    if (!buf_reserve(b, text.n + 2)) {
        return;
    }
    size_t clean = clean_run(text.p, text.n);
    uint8_t *p = b->data + b->len;
    *p++ = '"';
    if (clean > 0) {
        memcpy(p, text.p, clean);
    }
    b->len += 1 + clean;
    if (LIKELY(clean == text.n)) {
        p[clean] = '"';
        b->len++;
        return;
    }
    text.p += clean;
    text.n -= clean;
    while (text.n > 0) {
        size_t n = clean_run(text.p, text.n);
        buf_put(b, text.p, n);
        if (n < text.n) {
            put_escape(b, text.p[n++]);
        }
        text.p += n;
        text.n -= n;
    }
    buf_put_u8(b, '"');
}

void json_w_init(struct json_writer *w, struct buf *b)
{
    *w = (struct json_writer){.b = b};
}

void json_w_init_inside(struct json_writer *w, struct buf *b)
{
    *w = (struct json_writer){.b = b, .depth = 1, .filled = 1ULL << 1};
}

void json_w_slot(struct json_writer *w)
{
    if (w->keyed) {
        w->keyed = false;
        return;
    }
    uint64_t bit = 1ULL << w->depth;
    if (w->depth > 0 && (w->filled & bit)) {
        buf_put_u8(w->b, ',');
    }
    w->filled |= bit;
}

static void open(struct json_writer *w, uint8_t c)
{
    json_w_slot(w);
    CHECK(w->depth < WRITE_DEPTH_MAX);
    w->depth++;
    w->filled &= ~(1ULL << w->depth);
    buf_put_u8(w->b, c);
}

static void shut(struct json_writer *w, uint8_t c)
{
    DCHECK(w->depth > 0 && !w->keyed);
    w->depth--;
    buf_put_u8(w->b, c);
}

void json_w_object(struct json_writer *w)
{
    open(w, '{');
}

void json_w_object_end(struct json_writer *w)
{
    shut(w, '}');
}

void json_w_array(struct json_writer *w)
{
    open(w, '[');
}

void json_w_array_end(struct json_writer *w)
{
    shut(w, ']');
}

/*
 * Comma where due, key and colon, with room for `room` bytes of value behind. Returns where the
 * value goes; NULL when there is no memory.
 */
static uint8_t *put_key(struct json_writer *w, const char *key, size_t n, size_t room)
{
    DCHECK(!w->keyed && w->depth > 0);
    uint64_t bit = 1ULL << w->depth;
    bool comma = (w->filled & bit) != 0;
    w->filled |= bit;
    if (!buf_reserve(w->b, n + 4 + room)) {
        return NULL;
    }
    uint8_t *p = w->b->data + w->b->len;
    if (comma) {
        *p++ = ',';
    }
    *p++ = '"';
    memcpy(p, key, n);
    p += n;
    *p++ = '"';
    *p++ = ':';
    return p;
}

static void end_at(struct json_writer *w, const uint8_t *p)
{
    w->b->len = (size_t)(p - w->b->data);
}

void json_w_key_of(struct json_writer *w, const char *key, size_t nkey)
{
    const uint8_t *p = put_key(w, key, nkey, 0);
    w->keyed = true;
    if (p) {
        end_at(w, p);
    }
}

void json_w_string(struct json_writer *w, struct span text)
{
    json_w_slot(w);
    json_put_string(w->b, text);
}

void json_w_cstr(struct json_writer *w, const char *text)
{
    json_w_string(w, span_str(text));
}

void json_w_u64(struct json_writer *w, uint64_t v)
{
    char t[ID_NUM_TEXT];
    json_w_slot(w);
    buf_put(w->b, t, id_text(v, t));
}

void json_w_i64(struct json_writer *w, int64_t v)
{
    char t[ID_NUM_TEXT + 1];
    json_w_slot(w);
    size_t n = id_text(v < 0 ? 0 - (uint64_t)v : (uint64_t)v, t + 1);
    t[0] = '-';
    buf_put(w->b, v < 0 ? t : t + 1, v < 0 ? n + 1 : n);
}

void json_w_bool(struct json_writer *w, bool v)
{
    json_w_slot(w);
    buf_put(w->b, v ? "true" : "false", v ? 4 : 5);
}

void json_w_null(struct json_writer *w)
{
    json_w_slot(w);
    buf_put(w->b, "null", 4);
}

void json_w_id(struct json_writer *w, uint64_t id)
{
    char t[ID_NUM_TEXT + 2];
    json_w_slot(w);
    size_t n = id_text(id, t + 1);
    t[0] = '"';
    t[n + 1] = '"';
    buf_put(w->b, t, n + 2);
}

void json_w_conv_id(struct json_writer *w, struct conv_id id)
{
    char t[ID_CONV_TEXT + 2];
    json_w_slot(w);
    conv_id_text(id, t + 1);
    t[0] = t[ID_CONV_TEXT + 1] = '"';
    buf_put(w->b, t, sizeof(t));
}

void json_w_time(struct json_writer *w, uint64_t ms)
{
    char t[TIME_TEXT_LEN + 2];
    json_w_slot(w);
    time_text_format(ms, t + 1);
    t[0] = t[TIME_TEXT_LEN + 1] = '"';
    buf_put(w->b, t, sizeof(t));
}

void json_w_raw(struct json_writer *w, struct span json)
{
    json_w_slot(w);
    buf_put(w->b, json.p, json.n);
}

void json_w_kstring_of(struct json_writer *w, const char *key, size_t nkey, struct span text)
{
    const uint8_t *p = put_key(w, key, nkey, text.n + 2);
    if (p) {
        end_at(w, p);
        json_put_string(w->b, text);
    }
}

void json_w_ku64_of(struct json_writer *w, const char *key, size_t nkey, uint64_t v)
{
    uint8_t *p = put_key(w, key, nkey, ID_NUM_TEXT);
    if (p) {
        end_at(w, p + id_text(v, (char *)p));
    }
}

void json_w_kbool_of(struct json_writer *w, const char *key, size_t nkey, bool v)
{
    uint8_t *p = put_key(w, key, nkey, 5);
    if (p) {
        memcpy(p, v ? "true" : "false", v ? 4 : 5);
        end_at(w, p + (v ? 4 : 5));
    }
}

void json_w_kid_of(struct json_writer *w, const char *key, size_t nkey, uint64_t id)
{
    uint8_t *p = put_key(w, key, nkey, ID_NUM_TEXT + 2);
    if (p) {
        *p++ = '"';
        p += id_text(id, (char *)p);
        *p++ = '"';
        end_at(w, p);
    }
}

void json_w_kconv_id_of(struct json_writer *w, const char *key, size_t nkey, struct conv_id id)
{
    uint8_t *p = put_key(w, key, nkey, ID_CONV_TEXT + 2);
    if (p) {
        *p++ = '"';
        conv_id_text(id, (char *)p);
        p[ID_CONV_TEXT] = '"';
        end_at(w, p + ID_CONV_TEXT + 1);
    }
}

void json_w_ktime_of(struct json_writer *w, const char *key, size_t nkey, uint64_t ms)
{
    uint8_t *p = put_key(w, key, nkey, TIME_TEXT_LEN + 2);
    if (p) {
        *p++ = '"';
        time_text_format(ms, (char *)p);
        p[TIME_TEXT_LEN] = '"';
        end_at(w, p + TIME_TEXT_LEN + 1);
    }
}
