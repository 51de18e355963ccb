/*
 * The JSON reader.
 *
 * Strings are scanned sixteen bytes at a time for what ends or interrupts them; whether any byte is
 * outside ASCII is collected on the way, and only then the string is checked as UTF-8, as a whole:
 * escapes are ASCII, so that they do not disturb it.
 */
#include "proto/json.h"

#include "base/time_text.h"
#include "base/utf8.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

void json_init(struct json *j, struct span in, struct scratch *scratch)
{
    j->p = j->start = in.p;
    j->end = in.p + in.n;
    j->scratch = scratch;
    j->err = CONFAB_OK;
    j->why = NULL;
    j->depth = 0;
    j->filled = 0;
    j->nkeys = 0;
}

static bool fail_with(struct json *j, enum confab_err err, const char *why)
{
    if (j->err == CONFAB_OK) {
        j->err = err;
        j->why = why;
    }
    return false;
}

void json_fail(struct json *j, const char *why)
{
    fail_with(j, CONFAB_INVALID, why);
}

static bool syntax(struct json *j, const char *why)
{
    return fail_with(j, CONFAB_INVALID, why);
}

/* Passes over white space; false at the end of the input or after an error. */
static inline bool skip_space(struct json *j)
{
    if (UNLIKELY(j->err)) {
        return false;
    }
    const uint8_t *p = j->p;
    while (p < j->end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    j->p = p;
    return p < j->end;
}

static inline enum json_type peek(struct json *j)
{
    if (!skip_space(j)) {
        return JSON_NONE;
    }
    switch (*j->p) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
    case 'f':
        return JSON_BOOL;
    case 'n':
        return JSON_NULL;
    default:
        return *j->p == '-' || (*j->p >= '0' && *j->p <= '9') ? JSON_NUMBER : JSON_NONE;
    }
}

enum json_type json_peek(struct json *j)
{
    return peek(j);
}

/* ---- Strings ---- */

/* First byte from p on that is a quote, a backslash or a control character; `end` when none. */
static inline const uint8_t *find_stop(const uint8_t *p, const uint8_t *end, bool *io_high)
{
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"');
    const __m128i slash = _mm_set1_epi8('\\');
    const __m128i control = _mm_set1_epi8(0x1f);
    while (end - p >= 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(const void *)p);
        __m128i stop = _mm_or_si128(_mm_cmpeq_epi8(v, quote), _mm_cmpeq_epi8(v, slash));
        stop = _mm_or_si128(stop, _mm_cmpeq_epi8(_mm_min_epu8(v, control), v));
        unsigned at = (unsigned)_mm_movemask_epi8(stop);
        unsigned high = (unsigned)_mm_movemask_epi8(v);
        if (at) {
            unsigned i = (unsigned)__builtin_ctz(at);
            *io_high |= (high & ((1U << i) - 1)) != 0;
            return p + i;
        }
        *io_high |= high != 0;
        p += 16;
    }
#endif
    for (; p < end; p++) {
        if (*p < 0x20 || *p == '"' || *p == '\\') {
            return p;
        }
        *io_high |= *p >= 0x80;
    }
    return end;
}

static int hex4(const uint8_t *p, const uint8_t *end)
{
    if (end - p < 4) {
        return -1;
    }
    int v = 0;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i];
        uint8_t l = c | 0x20;
        int d = c >= '0' && c <= '9' ? c - '0' : l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
        if (d < 0) {
            return -1;
        }
        v = v << 4 | d;
    }
    return v;
}

static size_t put_utf8(uint8_t *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (uint8_t)(0xc0 | c >> 6);
        out[1] = (uint8_t)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (uint8_t)(0xe0 | c >> 12);
        out[1] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (uint8_t)(0xf0 | c >> 18);
    out[1] = (uint8_t)(0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t)(0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t)(0x80 | (c & 0x3f));
    return 4;
}

/*
 * Reads the escape whose backslash is at p; writes at most 4 bytes, and fewer than the escape has.
 * Returns where it ends, NULL when it is wrong.
 */
static const uint8_t *read_escape(const uint8_t *p, const uint8_t *end, uint8_t out[4],
                                  size_t *ret_n)
{
    if (end - p < 2) {
        return NULL;
    }
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    if (p[1] != 'u') {
        const char *at = p[1] ? strchr(from, p[1]) : NULL;
        if (!at) {
            return NULL;
        }
        out[0] = (uint8_t)to[at - from];
        *ret_n = 1;
        return p + 2;
    }
    int c = hex4(p + 2, end);
    if (c < 0 || (c >= 0xdc00 && c <= 0xdfff)) {
        return NULL;
    }
    p += 6;
    uint32_t code = (uint32_t)c;
    if (c >= 0xd800 && c <= 0xdbff) {
        int low = end - p >= 6 && p[0] == '\\' && p[1] == 'u' ? hex4(p + 2, end) : -1;
        if (low < 0xdc00 || low > 0xdfff) {
            return NULL;
        }
        code = 0x10000 + ((code - 0xd800) << 10) + ((uint32_t)low - 0xdc00);
        p += 6;
    }
    *ret_n = put_utf8(out, code);
    return p;
}

/* Adds to the text under way, *io_n bytes of which lie behind what the scratch has handed out. */
static bool append(struct json *j, size_t *io_n, const uint8_t *p, size_t n)
{
    struct scratch *s = j->scratch;
    if (!s || n > s->cap - s->len - *io_n) {
        return fail_with(j, CONFAB_TOO_LARGE, "too much text to decode");
    }
    if (n > 0) {
        memcpy(s->p + s->len + *io_n, p, n);
        *io_n += n;
    }
    return true;
}

/* The rest of take_string once something else than the closing quote was found at p. */
static bool take_escaped(struct json *j, const uint8_t *start, const uint8_t *p, bool high,
                         struct span *ret)
{
    const uint8_t *run = start; /* not yet copied */
    size_t n = 0;
    for (;;) {
        if (p == j->end) {
            return syntax(j, "string without an end");
        }
        if (*p < 0x20) {
            return syntax(j, "control character in a string");
        }
        if (ret && !append(j, &n, run, (size_t)(p - run))) {
            return false;
        }
        if (*p == '"') {
            break;
        }
        uint8_t c[4];
        size_t nc;
        p = read_escape(p, j->end, c, &nc);
        if (!p) {
            return syntax(j, "bad escape in a string");
        }
        if (ret && !append(j, &n, c, nc)) {
            return false;
        }
        run = p;
        p = find_stop(p, j->end, &high);
    }
    if (high && !utf8_valid(start, (size_t)(p - start))) {
        return syntax(j, "text is not UTF-8");
    }
    j->p = p + 1;
    if (ret) {
        *ret = span_of(j->scratch->p + j->scratch->len, n);
        j->scratch->len += n;
    }
    return true;
}

/* Takes the string whose quote is next. Without `ret`, it is only checked. */
static bool take_string(struct json *j, struct span *ret)
{
    const uint8_t *start = j->p + 1;
    bool high = false;
    const uint8_t *p = find_stop(start, j->end, &high);
    if (UNLIKELY(p == j->end || *p != '"')) {
        return take_escaped(j, start, p, high, ret);
    }
    size_t n = (size_t)(p - start);
    if (high && !utf8_valid(start, n)) {
        return syntax(j, "text is not UTF-8");
    }
    j->p = p + 1;
    if (ret) {
        *ret = span_of(start, n);
    }
    return true;
}

bool json_string(struct json *j, struct span *ret)
{
    if (peek(j) != JSON_STRING) {
        return syntax(j, "a string is wanted here");
    }
    return take_string(j, ret);
}

/* ---- Containers ---- */

static bool begin(struct json *j, enum json_type type, const char *why)
{
    if (peek(j) != type) {
        return syntax(j, why);
    }
    if (j->depth == JSON_DEPTH_MAX) {
        return syntax(j, "nested too deeply");
    }
    j->depth++;
    j->filled &= ~(1ULL << j->depth);
    j->p++;
    return true;
}

bool json_object_begin(struct json *j)
{
    return begin(j, JSON_OBJECT, "an object is wanted here");
}

bool json_array_begin(struct json *j)
{
    return begin(j, JSON_ARRAY, "a list is wanted here");
}

/* True when a further member follows; else the container was closed, or it is an error. */
static bool next_member(struct json *j, uint8_t close)
{
    if (!skip_space(j)) {
        return syntax(j, "unexpected end");
    }
    if (j->depth == 0) {
        return syntax(j, "not inside a container");
    }
    uint64_t bit = 1ULL << j->depth;
    if (*j->p == close) {
        j->p++;
        j->depth--;
        return false;
    }
    if (j->filled & bit) {
        if (*j->p != ',') {
            return syntax(j, "a comma or the end of the container is wanted here");
        }
        j->p++;
        if (!skip_space(j)) {
            return syntax(j, "unexpected end");
        }
    }
    j->filled |= bit;
    return true;
}

bool json_array_next(struct json *j)
{
    return next_member(j, ']');
}

/* Remembers a key of the outermost object; false when it was there before. */
static bool remember_key(struct json *j, struct span key)
{
    uint32_t mark = (uint32_t)key.n << 16;
    if (key.n > 0) {
        mark |= (uint32_t)key.p[0] << 8 | key.p[key.n - 1];
        mark ^= (uint32_t)key.p[key.n / 2] << 24;
    }
    for (uint32_t i = 0; i < j->nkeys; i++) {
        if (j->marks[i] == mark && span_eq(j->keys[i], key)) {
            return syntax(j, "the same key comes twice");
        }
    }
    if (j->nkeys == JSON_KEYS_MAX) {
        return syntax(j, "too many keys");
    }
    j->marks[j->nkeys] = mark;
    j->keys[j->nkeys++] = key;
    return true;
}

static bool take_key(struct json *j, struct span *ret)
{
    struct span key = {NULL, 0};
    bool outermost = j->depth == 1;
    if (*j->p != '"') {
        return syntax(j, "a key is wanted here");
    }
    if (!take_string(j, ret || outermost ? &key : NULL) || (outermost && !remember_key(j, key))) {
        return false;
    }
    if (!skip_space(j) || *j->p != ':') {
        return syntax(j, "a colon is wanted here");
    }
    j->p++;
    if (ret) {
        *ret = key;
    }
    return true;
}

bool json_object_next(struct json *j, struct span *ret_key)
{
    return next_member(j, '}') && take_key(j, ret_key);
}

/* ---- Numbers and words ---- */

static bool take_digits(struct json *j)
{
    const uint8_t *p = j->p;
    while (p < j->end && *p >= '0' && *p <= '9') {
        p++;
    }
    bool some = p > j->p;
    j->p = p;
    return some;
}

/* The number that is next; ret_integer: no fraction and no exponent. */
static bool take_number(struct json *j, struct span *ret, bool *ret_integer)
{
    const uint8_t *start = j->p;
    *ret_integer = true;
    if (*j->p == '-') {
        j->p++;
    }
    if (j->p < j->end && *j->p == '0') {
        j->p++;
    } else if (!take_digits(j)) {
        return syntax(j, "bad number");
    }
    if (j->p < j->end && *j->p == '.') {
        *ret_integer = false;
        j->p++;
        if (!take_digits(j)) {
            return syntax(j, "bad number");
        }
    }
    if (j->p < j->end && (*j->p | 0x20) == 'e') {
        *ret_integer = false;
        j->p++;
        if (j->p < j->end && (*j->p == '+' || *j->p == '-')) {
            j->p++;
        }
        if (!take_digits(j)) {
            return syntax(j, "bad number");
        }
    }
    *ret = span_of(start, (size_t)(j->p - start));
    return true;
}

bool json_number(struct json *j, struct span *ret)
{
    bool integer;
    if (peek(j) != JSON_NUMBER) {
        return syntax(j, "a number is wanted here");
    }
    struct span text;
    if (!take_number(j, &text, &integer)) {
        return false;
    }
    *ret = text;
    return true;
}

/* Digits of an integer, and its sign. */
static bool take_integer(struct json *j, uint64_t *ret, bool *ret_negative)
{
    bool integer;
    struct span t;
    if (peek(j) != JSON_NUMBER) {
        return syntax(j, "an integer is wanted here");
    }
    if (!take_number(j, &t, &integer)) {
        return false;
    }
    if (!integer) {
        return syntax(j, "an integer is wanted here");
    }
    *ret_negative = t.p[0] == '-';
    uint64_t v = 0;
    for (size_t i = *ret_negative; i < t.n; i++) {
        uint64_t digit = (uint64_t)(t.p[i] - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return syntax(j, "the number is out of range");
        }
        v = v * 10 + digit;
    }
    *ret = v;
    return true;
}

bool json_u64(struct json *j, uint64_t *ret)
{
    uint64_t v;
    bool negative;
    if (!take_integer(j, &v, &negative)) {
        return false;
    }
    if (negative) {
        return syntax(j, "the number is out of range");
    }
    *ret = v;
    return true;
}

bool json_i64(struct json *j, int64_t *ret)
{
    uint64_t v;
    bool negative;
    if (!take_integer(j, &v, &negative)) {
        return false;
    }
    if (v > (uint64_t)INT64_MAX + negative) {
        return syntax(j, "the number is out of range");
    }
    *ret = (int64_t)(negative ? 0 - v : v);
    return true;
}

static bool take_word(struct json *j, const char *word, size_t n)
{
    if ((size_t)(j->end - j->p) < n || memcmp(j->p, word, n) != 0) {
        return syntax(j, "unknown word");
    }
    j->p += n;
    return true;
}

bool json_bool(struct json *j, bool *ret)
{
    if (peek(j) != JSON_BOOL) {
        return syntax(j, "true or false is wanted here");
    }
    bool v = *j->p == 't';
    if (!(v ? take_word(j, "true", 4) : take_word(j, "false", 5))) {
        return false;
    }
    *ret = v;
    return true;
}

bool json_null(struct json *j)
{
    if (peek(j) != JSON_NULL) {
        return syntax(j, "null is wanted here");
    }
    return take_word(j, "null", 4);
}

bool json_try_null(struct json *j)
{
    return peek(j) == JSON_NULL && take_word(j, "null", 4);
}

bool json_id(struct json *j, uint64_t *ret)
{
    struct span s;
    if (!json_string(j, &s)) {
        return false;
    }
    return id_parse(s, ret) ? true : syntax(j, "an id is wanted here");
}

bool json_conv_id(struct json *j, struct conv_id *ret)
{
    struct span s;
    if (!json_string(j, &s)) {
        return false;
    }
    return conv_id_parse(s, ret) ? true : syntax(j, "a conversation id is wanted here");
}

bool json_time(struct json *j, uint64_t *ret_ms)
{
    struct span s;
    if (!json_string(j, &s)) {
        return false;
    }
    return time_text_parse(s, ret_ms) ? true : syntax(j, "a time is wanted here");
}

/* ---- Any value ---- */

/* Recursion is bounded by JSON_DEPTH_MAX. */
bool json_skip(struct json *j)
{
    struct span s;
    bool b;
    switch (peek(j)) {
    case JSON_STRING:
        return take_string(j, NULL);
    case JSON_NUMBER:
        return take_number(j, &s, &b);
    case JSON_BOOL:
        return json_bool(j, &b);
    case JSON_NULL:
        return json_null(j);
    case JSON_OBJECT:
        json_object_begin(j);
        while (json_ok(j) && next_member(j, '}') && take_key(j, NULL) && json_skip(j)) {
        }
        return json_ok(j);
    case JSON_ARRAY:
        json_array_begin(j);
        while (json_ok(j) && next_member(j, ']') && json_skip(j)) {
        }
        return json_ok(j);
    default:
        return syntax(j, "a value is wanted here");
    }
}

bool json_raw(struct json *j, struct span *ret)
{
    skip_space(j);
    const uint8_t *start = j->p;
    if (!json_skip(j)) {
        return false;
    }
    *ret = span_of(start, (size_t)(j->p - start));
    return true;
}

bool json_end(struct json *j)
{
    if (skip_space(j)) {
        return syntax(j, "something follows the value");
    }
    if (json_ok(j) && j->depth > 0) {
        return syntax(j, "unexpected end");
    }
    return json_ok(j);
}
