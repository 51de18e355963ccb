/*
 * JSON (RFC 8259), strict, in one pass and without a tree.
 *
 * Reader: a pull scanner. The caller says what it expects; the first mismatch or syntax error sets
 * `err`, after which every call returns false and changes nothing: read everything, check once with
 * json_end.
 *
 *     struct json j;
 *     json_init(&j, in, &scratch);
 *     json_object_begin(&j);
 *     while (json_object_next(&j, &key)) {
 *         if (span_is(key, "seq")) {
 *             json_u64(&j, &seq);
 *         } else {
 *             json_skip(&j);
 *         }
 *     }
 *     if (!json_end(&j)) …
 *
 * After json_object_next or json_array_next returned true exactly one value has to be taken. Text
 * must be UTF-8, at most 32 levels deep. In the outermost object a key may not come twice, and
 * there may be at most 64. Strings are borrowed from the input, or from the scratch when they have
 * escapes.
 *
 * Writer: appends to a struct buf, sets commas itself; check buf_ok at the end.
 */
#ifndef CONFAB_PROTO_JSON_H
#define CONFAB_PROTO_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/id.h"
#include "proto/scratch.h"

#define JSON_DEPTH_MAX 32U
#define JSON_KEYS_MAX  64U /* keys of the outermost object */

enum json_type {
    JSON_NONE = 0, /* no value here: syntax error or end */
    JSON_OBJECT,
    JSON_ARRAY,
    JSON_STRING,
    JSON_NUMBER,
    JSON_BOOL,
    JSON_NULL,
};

struct json {
    const uint8_t *p;
    const uint8_t *end;
    const uint8_t *start;
    struct scratch *scratch; /* NULL: strings with escapes are CONFAB_TOO_LARGE */
    enum confab_err err;     /* CONFAB_INVALID; CONFAB_TOO_LARGE: scratch is full */
    const char *why;         /* static text, with err */
    uint32_t depth;
    uint64_t filled; /* bit d: the container at depth d has a member */
    uint32_t nkeys;
    uint32_t marks[JSON_KEYS_MAX]; /* fingerprints, to compare few keys in full */
    struct span keys[JSON_KEYS_MAX];
};

void json_init(struct json *j, struct span in, struct scratch *scratch);
static inline bool json_ok(const struct json *j)
{
    return j->err == CONFAB_OK;
}
/* Offset of the next unread byte, for messages. */
static inline size_t json_offset(const struct json *j)
{
    return (size_t)(j->p - j->start);
}
/* Sets err (CONFAB_INVALID) unless there is one: for the caller's own checks. `why` is static. */
void json_fail(struct json *j, const char *why);

/* The kind of the next value, by its first character; does not consume. */
enum json_type json_peek(struct json *j);

bool json_object_begin(struct json *j);
/* Key of the next member; false after consuming the closing brace, or on error. */
bool json_object_next(struct json *j, struct span *ret_key);
bool json_array_begin(struct json *j);
/* True when another element follows; false after consuming the bracket, or on error. */
bool json_array_next(struct json *j);

bool json_string(struct json *j, struct span *ret);
/* Integers: no fraction, no exponent; out of range is an error. */
bool json_u64(struct json *j, uint64_t *ret);
bool json_i64(struct json *j, int64_t *ret);
/* Any number, as written. */
bool json_number(struct json *j, struct span *ret);
bool json_bool(struct json *j, bool *ret);
bool json_null(struct json *j);
/* Consumes null if it is next; false (and no error) when it is something else. */
bool json_try_null(struct json *j);
/* String holding a decimal id, 1 to 2^63 - 1. */
bool json_id(struct json *j, uint64_t *ret);
/* String of 32 hex digits. */
bool json_conv_id(struct json *j, struct conv_id *ret);
/* String in RFC 3339 form, milliseconds since 1970. */
bool json_time(struct json *j, uint64_t *ret_ms);
/* Checks and passes over any value. */
bool json_skip(struct json *j);
/* The same, and returns its text (borrowed from the input). */
bool json_raw(struct json *j, struct span *ret);
/* True when there was no error and nothing but white space is left. Sets err otherwise. */
bool json_end(struct json *j);

/* ---- Writer ---- */

struct json_writer {
    struct buf *b;
    uint64_t filled; /* bit d: the container at depth d has a member */
    uint32_t depth;
    bool keyed; /* a key was written, its value comes next */
};

void json_w_init(struct json_writer *w, struct buf *b);
/* The same inside an object that is open, of which `b` has at least one member already. */
void json_w_init_inside(struct json_writer *w, struct buf *b);
void json_w_object(struct json_writer *w);
void json_w_object_end(struct json_writer *w);
void json_w_array(struct json_writer *w);
void json_w_array_end(struct json_writer *w);
/* `key`, `nkey` bytes long, needs no escaping. */
void json_w_key_of(struct json_writer *w, const char *key, size_t nkey);
/* `text` must be UTF-8: it is copied, but for quotes, backslashes and control characters. */
void json_w_string(struct json_writer *w, struct span text);
void json_w_cstr(struct json_writer *w, const char *text);
void json_w_u64(struct json_writer *w, uint64_t v);
void json_w_i64(struct json_writer *w, int64_t v);
void json_w_bool(struct json_writer *w, bool v);
void json_w_null(struct json_writer *w);
void json_w_id(struct json_writer *w, uint64_t id);            /* "123" */
void json_w_conv_id(struct json_writer *w, struct conv_id id); /* 32 hex digits */
void json_w_time(struct json_writer *w, uint64_t ms);          /* RFC 3339 UTC */
/* A value already in JSON. */
void json_w_raw(struct json_writer *w, struct span json);
/* Comma where due; the caller then appends one whole value to the buf by itself. */
void json_w_slot(struct json_writer *w);

/* Key and value in one. */
void json_w_kstring_of(struct json_writer *w, const char *key, size_t nkey, struct span text);
void json_w_ku64_of(struct json_writer *w, const char *key, size_t nkey, uint64_t v);
void json_w_kbool_of(struct json_writer *w, const char *key, size_t nkey, bool v);
void json_w_kid_of(struct json_writer *w, const char *key, size_t nkey, uint64_t id);
void json_w_kconv_id_of(struct json_writer *w, const char *key, size_t nkey, struct conv_id id);
void json_w_ktime_of(struct json_writer *w, const char *key, size_t nkey, uint64_t ms);

/* The same with keys that are constants: their lengths are known when this is compiled. */
static inline void json_w_key(struct json_writer *w, const char *key)
{
    json_w_key_of(w, key, strlen(key));
}
static inline void json_w_kcstr(struct json_writer *w, const char *key, const char *text)
{
    json_w_kstring_of(w, key, strlen(key), span_str(text));
}
static inline void json_w_kstring(struct json_writer *w, const char *key, struct span text)
{
    json_w_kstring_of(w, key, strlen(key), text);
}
static inline void json_w_ku64(struct json_writer *w, const char *key, uint64_t v)
{
    json_w_ku64_of(w, key, strlen(key), v);
}
static inline void json_w_kbool(struct json_writer *w, const char *key, bool v)
{
    json_w_kbool_of(w, key, strlen(key), v);
}
static inline void json_w_kid(struct json_writer *w, const char *key, uint64_t id)
{
    json_w_kid_of(w, key, strlen(key), id);
}
static inline void json_w_kconv_id(struct json_writer *w, const char *key, struct conv_id id)
{
    json_w_kconv_id_of(w, key, strlen(key), id);
}
static inline void json_w_ktime(struct json_writer *w, const char *key, uint64_t ms)
{
    json_w_ktime_of(w, key, strlen(key), ms);
}

/* A quoted and escaped string, without a writer. */
void json_put_string(struct buf *b, struct span text);

#endif
