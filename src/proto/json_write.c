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
    buf_put_u8(b, '"');
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

void json_w_key(struct json_writer *w, const char *key)
{
    size_t n = strlen(key);
    DCHECK(!w->keyed);
    json_w_slot(w);
    w->keyed = true;
    if (!buf_reserve(w->b, n + 3)) {
        return;
    }
    uint8_t *p = w->b->data + w->b->len;
    p[0] = '"';
    memcpy(p + 1, key, n);
    p[n + 1] = '"';
    p[n + 2] = ':';
    w->b->len += n + 3;
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

void json_w_kstring(struct json_writer *w, const char *key, struct span text)
{
    json_w_key(w, key);
    json_w_string(w, text);
}

void json_w_kcstr(struct json_writer *w, const char *key, const char *text)
{
    json_w_key(w, key);
    json_w_cstr(w, text);
}

void json_w_ku64(struct json_writer *w, const char *key, uint64_t v)
{
    json_w_key(w, key);
    json_w_u64(w, v);
}

void json_w_kbool(struct json_writer *w, const char *key, bool v)
{
    json_w_key(w, key);
    json_w_bool(w, v);
}

void json_w_kid(struct json_writer *w, const char *key, uint64_t id)
{
    json_w_key(w, key);
    json_w_id(w, id);
}

void json_w_kconv_id(struct json_writer *w, const char *key, struct conv_id id)
{
    json_w_key(w, key);
    json_w_conv_id(w, id);
}

void json_w_ktime(struct json_writer *w, const char *key, uint64_t ms)
{
    json_w_key(w, key);
    json_w_time(w, ms);
}
