/*
 * JSON. Skipping over a text and walking it have to agree on whether it is valid, and a valid text
 * that was written anew is a fixed point. Build: see fuzz_ws.c.
 */
#include <stdint.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/utf8.h"
#include "proto/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void copy_value(struct json *j, struct json_writer *w);

static void copy_object(struct json *j, struct json_writer *w)
{
    struct span key;
    json_object_begin(j);
    json_w_object(w);
    while (json_object_next(j, &key)) {
        CHECK(utf8_valid(key.p, key.n));
        json_w_slot(w);
        json_put_string(w->b, key);
        buf_put_u8(w->b, ':');
        w->keyed = true;
        copy_value(j, w);
    }
    if (json_ok(j)) {
        json_w_object_end(w);
    }
}

static void copy_number(struct json *j, struct json_writer *w)
{
    struct json probe = *j; /* the typed calls may refuse what is a number all the same */
    struct json again = *j;
    struct span text;
    uint64_t u;
    int64_t i;
    bool is_u = json_u64(&probe, &u);
    bool is_i = json_i64(&again, &i);
    if (!json_number(j, &text)) {
        CHECK(!is_u && !is_i);
        return;
    }
    CHECK(!is_u || !is_i || (i >= 0 && (uint64_t)i == u));
    CHECK(!(is_u || is_i) || !memchr(text.p, '.', text.n));
    json_w_raw(w, text);
}

static void copy_value(struct json *j, struct json_writer *w)
{
    struct span s;
    bool b;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        copy_object(j, w);
        break;
    case JSON_ARRAY:
        json_array_begin(j);
        json_w_array(w);
        while (json_array_next(j)) {
            copy_value(j, w);
        }
        if (json_ok(j)) {
            json_w_array_end(w);
        }
        break;
    case JSON_STRING:
        if (json_string(j, &s)) {
            CHECK(utf8_valid(s.p, s.n));
            json_w_string(w, s);
        }
        break;
    case JSON_NUMBER:
        copy_number(j, w);
        break;
    case JSON_BOOL:
        if (json_bool(j, &b)) {
            json_w_bool(w, b);
        }
        break;
    case JSON_NULL:
        if (json_null(j)) {
            json_w_null(w);
        }
        break;
    case JSON_NONE:
        json_fail(j, "nothing");
        break;
    }
}

static bool copy(struct span in, struct buf *out)
{
    uint8_t *block = malloc(in.n + 1);
    CHECK(block);
    struct scratch s;
    struct json j;
    struct json_writer w;
    scratch_init(&s, block, in.n);
    json_init(&j, in, &s);
    json_skip(&j);
    bool skipped = json_end(&j);
    scratch_reset(&s);
    json_init(&j, in, &s);
    json_w_init(&w, out);
    copy_value(&j, &w);
    bool walked = json_end(&j);
    CHECK(skipped == walked && (walked || (j.err == CONFAB_INVALID && j.why)));
    free(block);
    return walked;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf once = {0};
    struct buf twice = {0};
    if (copy(span_of(data, size), &once)) {
        CHECK(copy(span_of(once.data, once.len), &twice));
        CHECK(span_eq(span_of(once.data, once.len), span_of(twice.data, twice.len)));
    }
    buf_deinit(&once);
    buf_deinit(&twice);
    return 0;
}
