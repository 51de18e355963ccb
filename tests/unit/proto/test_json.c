/* The JSON reader and writer. */
#include "proto/json.h"

#include "proto_test.h"

struct row {
    const char *name;
    bool valid;
    struct span in;
};

static const struct row texts[] = {
    {"object_empty", true, BYTES("{}")},
    {"object", true, BYTES("{\"a\":1,\"b\":[true,false,null]}")},
    {"array_empty", true, BYTES("[]")},
    {"spaces", true, BYTES(" \t\r\n{ \"a\" : [ 1 , 2 ] } \n")},
    {"string", true, BYTES("\"a\"")},
    {"string_empty", true, BYTES("\"\"")},
    {"string_escapes", true, BYTES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"")},
    {"string_pair", true, BYTES("\"\\ud83d\\ude00\"")},
    {"string_pair_upper_case", true, BYTES("\"\\uD83D\\uDE00\"")},
    {"string_u0000", true, BYTES("\"\\u0000\"")},
    {"string_delete", true, BYTES("\"\x7f\"")},
    {"string_utf8", true, BYTES("\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"")},
    {"string_utf8_after_16", true, BYTES("\"0123456789abcdef0123456789abcde\xe2\x82\xac\"")},
    {"number_zero", true, BYTES("0")},
    {"number_minus_zero", true, BYTES("-0")},
    {"number_fraction", true, BYTES("-1.50")},
    {"number_exponent", true, BYTES("1e5")},
    {"number_exponent_signs", true, BYTES("[1E+5,1.0e-50]")},
    {"number_long", true, BYTES("123456789012345678901234567890")},
    {"true", true, BYTES("true")},
    {"null", true, BYTES(" null ")},
    {"nested_same_keys", true, BYTES("{\"a\":{\"x\":1,\"x\":2}}")},
    {"key_empty", true, BYTES("{\"\":1}")},
    {"empty", false, BYTES("")},
    {"only_space", false, BYTES(" ")},
    {"two_values", false, BYTES("1 2")},
    {"comma_after", false, BYTES("{},")},
    {"object_open", false, BYTES("{")},
    {"object_no_value", false, BYTES("{\"a\"}")},
    {"object_no_value_colon", false, BYTES("{\"a\":}")},
    {"object_trailing_comma", false, BYTES("{\"a\":1,}")},
    {"object_leading_comma", false, BYTES("{,\"a\":1}")},
    {"object_two_commas", false, BYTES("{\"a\":1,,\"b\":2}")},
    {"object_no_comma", false, BYTES("{\"a\":1 \"b\":2}")},
    {"object_key_bare", false, BYTES("{a:1}")},
    {"object_key_no_first_quote", false, BYTES("{xa\":1}")},
    {"object_key_number", false, BYTES("{1:1}")},
    {"object_key_single_quotes", false, BYTES("{'a':1}")},
    {"object_equals", false, BYTES("{\"a\"=1}")},
    {"object_closed_by_bracket", false, BYTES("{\"a\":1]")},
    {"object_same_key", false, BYTES("{\"a\":1,\"a\":1}")},
    {"object_same_key_escaped", false, BYTES("{\"ab\":1,\"\\u0061b\":1}")},
    {"object_same_empty_key", false, BYTES("{\"\":1,\"\":1}")},
    {"array_open", false, BYTES("[1")},
    {"array_trailing_comma", false, BYTES("[1,]")},
    {"array_leading_comma", false, BYTES("[,1]")},
    {"array_only_comma", false, BYTES("[,]")},
    {"array_no_comma", false, BYTES("[1 2]")},
    {"array_closed_by_brace", false, BYTES("[1}")},
    {"array_colon", false, BYTES("[1:2]")},
    {"closed_only", false, BYTES("]")},
    {"string_open", false, BYTES("\"a")},
    {"string_open_escape", false, BYTES("\"a\\")},
    {"string_open_escaped_quote", false, BYTES("\"a\\\"")},
    {"string_line_feed", false, BYTES("\"a\nb\"")},
    {"string_tab", false, BYTES("\"a\tb\"")},
    {"string_zero", false,
     BYTES("\"a\x00"
           "b\"")},
    {"string_1f", false, BYTES("\"\x1f\"")},
    {"string_control_after_16", false,
     BYTES("\"0123456789abcdef0123\x01"
           "56789abcdef\"")},
    {"escape_unknown", false, BYTES("\"\\x41\"")},
    {"escape_single_quote", false, BYTES("\"\\'\"")},
    {"escape_zero", false, BYTES("\"\\\x00\"")},
    {"escape_upper_u", false, BYTES("\"\\U0041\"")},
    {"escape_u_short", false, BYTES("\"\\u004\"")},
    {"escape_u_cut", false, BYTES("\"\\u00")},
    {"escape_u_letter", false, BYTES("\"\\u00g0\"")},
    {"escape_u_sign", false, BYTES("\"\\u+041\"")},
    {"surrogate_high_alone", false, BYTES("\"\\ud800\"")},
    {"surrogate_high_then_text", false, BYTES("\"\\ud800abcdef\"")},
    {"surrogate_high_then_other", false, BYTES("\"\\ud800\\u0041\"")},
    {"surrogate_high_twice", false, BYTES("\"\\ud800\\ud800\"")},
    {"surrogate_high_at_end", false, BYTES("\"\\ud800\\")},
    {"surrogate_low_alone", false, BYTES("\"\\udc00\"")},
    {"utf8_bad_byte", false, BYTES("\"\xff\"")},
    {"utf8_cut", false, BYTES("\"\xe2\x82\"")},
    {"utf8_overlong", false, BYTES("\"\xc0\xaf\"")},
    {"utf8_surrogate", false, BYTES("\"\xed\xa0\x80\"")},
    {"utf8_split_by_escape", false, BYTES("\"\xe2\\n\x82\xac\"")},
    {"utf8_in_key", false, BYTES("{\"\xff\":1}")},
    {"utf8_outside", false, BYTES("\xc3\xa4")},
    {"byte_order_mark", false, BYTES("\xef\xbb\xbf{}")},
    {"number_plus", false, BYTES("+1")},
    {"number_leading_zero", false, BYTES("01")},
    {"number_minus", false, BYTES("-")},
    {"number_minus_leading_zero", false, BYTES("-01")},
    {"number_point_first", false, BYTES(".5")},
    {"number_point_last", false, BYTES("5.")},
    {"number_exponent_empty", false, BYTES("1e")},
    {"number_exponent_sign_only", false, BYTES("1e+")},
    {"number_hex", false, BYTES("0x1")},
    {"number_letters", false, BYTES("1a")},
    {"nan", false, BYTES("NaN")},
    {"infinity", false, BYTES("-Infinity")},
    {"true_cut", false, BYTES("tru")},
    {"true_upper_case", false, BYTES("True")},
    {"true_longer", false, BYTES("truex")},
    {"null_cut", false, BYTES("nul")},
    {"undefined", false, BYTES("undefined")},
    {"comment", false, BYTES("/**/1")},
    {"vertical_tab", false,
     BYTES("\x0b"
           "1")},
    {"zero_after", false, BYTES("1\x00")},
};

/* Walks any value through the typed calls, copying it with the writer. */
static void copy_value(struct json *j, struct json_writer *w)
{
    struct span s;
    bool b;
    switch (json_peek(j)) {
    case JSON_OBJECT:
        json_object_begin(j);
        json_w_object(w);
        while (json_object_next(j, &s)) {
            json_w_slot(w);
            json_put_string(w->b, s);
            buf_put_u8(w->b, ':');
            w->keyed = true;
            copy_value(j, w);
        }
        if (json_ok(j)) {
            json_w_object_end(w);
        }
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
            json_w_string(w, s);
        }
        break;
    case JSON_NUMBER:
        if (json_number(j, &s)) {
            json_w_raw(w, s);
        }
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

/* Checked by skipping, and by walking and writing anew: both have to agree. */
static bool is_valid(struct span in, struct buf *ret_copy)
{
    uint8_t *exact = proto_copy(in.p, in.n);
    uint8_t *block = malloc(in.n + 1);
    assert_non_null(block);
    struct scratch s;
    struct json j;
    struct json_writer w;
    scratch_init(&s, block, in.n);
    json_init(&j, span_of(exact, in.n), &s);
    json_skip(&j);
    bool skipped = json_end(&j);
    assert_true(skipped == json_ok(&j) && skipped == (j.why == NULL));
    scratch_reset(&s);
    json_init(&j, span_of(exact, in.n), &s);
    json_w_init(&w, ret_copy);
    copy_value(&j, &w);
    bool walked = json_end(&j);
    assert_int_not_equal(j.err, CONFAB_TOO_LARGE);
    assert_int_equal(skipped, walked);
    free(exact);
    free(block);
    return skipped;
}

static void run_text(void **state)
{
    const struct row *row = *state;
    struct buf copy = {0};
    assert_int_equal(is_valid(row->in, &copy), row->valid);
    if (row->valid) {
        /* What was written reads back to the same text. */
        struct buf again = {0};
        assert_true(is_valid(span_of(copy.data, copy.len), &again));
        assert_string_equal(proto_text(&copy), proto_text(&again));
        buf_deinit(&again);
        /* No part of a container or string is whole; spaces at the ends do not matter. */
        for (size_t n = 0; n < row->in.n && strchr("{[\"", row->in.p[0]); n++) {
            buf_clear(&copy);
            assert_false(is_valid(span_of(row->in.p, n), &copy));
        }
    }
    buf_deinit(&copy);
}

static struct json reader(const char *text, struct scratch *s)
{
    struct json j;
    json_init(&j, span_str(text), s);
    return j;
}

static void test_strings(void **state)
{
    (void)state;
    uint8_t block[128];
    struct scratch s;
    struct span a;
    struct span b;
    scratch_init(&s, block, sizeof(block));
    const char *text = "[\"plain\",\"a\\n\\u00e4\\ud83d\\ude00b\",\"\\\"\"]";
    struct json j = reader(text, &s);
    json_array_begin(&j);
    assert_true(json_array_next(&j) && json_string(&j, &a));
    proto_assert_span(a, "plain");
    assert_ptr_equal(a.p, text + 2);
    assert_true(json_array_next(&j) && json_string(&j, &a));
    assert_true(json_array_next(&j) && json_string(&j, &b));
    proto_assert_span(a, "a\n\xc3\xa4\xf0\x9f\x98\x80"
                         "b");
    proto_assert_span(b, "\"");
    assert_false(json_array_next(&j));
    assert_true(json_end(&j));
    assert_int_equal(s.len, a.n + b.n);
    /* Without room. */
    scratch_init(&s, block, 3);
    j = reader("\"abc\\n\"", &s);
    assert_false(json_string(&j, &a));
    assert_int_equal(j.err, CONFAB_TOO_LARGE);
    j = reader("\"\\n\"", NULL);
    assert_false(json_string(&j, &a));
    assert_int_equal(j.err, CONFAB_TOO_LARGE);
    j = reader("\"\\n\"", NULL);
    assert_true(json_skip(&j) && json_end(&j));
}

static void test_integers(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool u;
        uint64_t as_u;
        bool i;
        int64_t as_i;
    } all[] = {
        {"0", true, 0, true, 0},
        {"-0", false, 0, true, 0},
        {"7", true, 7, true, 7},
        {"-7", false, 0, true, -7},
        {"9223372036854775807", true, INT64_MAX, true, INT64_MAX},
        {"9223372036854775808", true, 9223372036854775808U, false, 0},
        {"-9223372036854775808", false, 0, true, INT64_MIN},
        {"-9223372036854775809", false, 0, false, 0},
        {"18446744073709551615", true, UINT64_MAX, false, 0},
        {"18446744073709551616", false, 0, false, 0},
        {"18446744073709551620", false, 0, false, 0},
        {"99999999999999999999999", false, 0, false, 0},
        {"1.0", false, 0, false, 0},
        {"1e3", false, 0, false, 0},
        {"\"1\"", false, 0, false, 0},
        {"01", true, 0, true, 0}, /* the 0; json_end refuses what follows */
        {"", false, 0, false, 0},
    };
    for (size_t k = 0; k < ARRAY_LEN(all); k++) {
        uint64_t u = 42;
        int64_t i = 42;
        struct json j = reader(all[k].text, NULL);
        assert_int_equal(json_u64(&j, &u), all[k].u);
        assert_true(u == (all[k].u ? all[k].as_u : 42));
        j = reader(all[k].text, NULL);
        assert_int_equal(json_i64(&j, &i), all[k].i);
        assert_true(i == (all[k].i ? all[k].as_i : 42));
    }
}

static void test_typed(void **state)
{
    (void)state;
    struct conv_id c;
    uint64_t v = 0;
    struct json j = reader("\"123\"", NULL);
    assert_true(json_id(&j, &v) && v == 123 && json_end(&j));
    static const char *const bad_ids[] = {"123",  "\"0\"",  "\"012\"", "\"-1\"",
                                          "\"\"", "\"1x\"", "null"};
    for (size_t i = 0; i < ARRAY_LEN(bad_ids); i++) {
        j = reader(bad_ids[i], NULL);
        assert_false(json_id(&j, &v));
        assert_int_equal(j.err, CONFAB_INVALID);
    }
    j = reader("\"000102030405060708090a0b0c0d0e0f\"", NULL);
    assert_true(json_conv_id(&j, &c) && c.hi == 0x0001020304050607 && c.lo == 0x08090a0b0c0d0e0f);
    j = reader("\"000102030405060708090A0B0C0D0E0F\"", NULL);
    assert_false(json_conv_id(&j, &c));
    j = reader("\"2025-01-01T00:00:00.007Z\"", NULL);
    assert_true(json_time(&j, &v) && v == 1735689600007);
    j = reader("\"2025-13-01T00:00:00.007Z\"", NULL);
    assert_false(json_time(&j, &v));
    j = reader("[null,1]", NULL);
    json_array_begin(&j);
    assert_true(json_array_next(&j) && json_try_null(&j));
    assert_true(json_array_next(&j) && !json_try_null(&j) && json_ok(&j));
    assert_true(json_u64(&j, &v) && !json_array_next(&j) && json_end(&j));
}

/* The first error stays, and nothing is written after it. */
static void test_error_is_sticky(void **state)
{
    (void)state;
    uint64_t v = 42;
    struct span s = span_str("before");
    bool b = true;
    struct json j = reader("{\"a\":\"x\",\"b\":1}", NULL);
    json_object_begin(&j);
    assert_true(json_object_next(&j, &s));
    proto_assert_span(s, "a");
    assert_false(json_u64(&j, &v));
    const char *why = j.why;
    assert_false(json_object_next(&j, &s) || json_array_next(&j) || json_string(&j, &s) ||
                 json_u64(&j, &v) || json_bool(&j, &b) || json_null(&j) || json_skip(&j) ||
                 json_raw(&j, &s) || json_try_null(&j) || json_object_begin(&j) || json_end(&j));
    assert_int_equal(json_peek(&j), JSON_NONE);
    assert_true(v == 42 && b);
    proto_assert_span(s, "a");
    assert_ptr_equal(j.why, why);
}

static void test_raw(void **state)
{
    (void)state;
    struct span s;
    struct json j = reader("[ {\"a\": [1]} , \"x\" , -1.5e3 ]", NULL);
    json_array_begin(&j);
    assert_true(json_array_next(&j) && json_raw(&j, &s));
    proto_assert_span(s, "{\"a\": [1]}");
    assert_true(json_array_next(&j) && json_raw(&j, &s));
    proto_assert_span(s, "\"x\"");
    assert_true(json_array_next(&j) && json_raw(&j, &s));
    proto_assert_span(s, "-1.5e3");
    assert_true(!json_array_next(&j) && json_end(&j));
}

/* Calls out of place fail and do not go astray. */
static void test_misuse(void **state)
{
    (void)state;
    struct span key;
    uint64_t v;
    struct json j = reader("}", NULL);
    assert_false(json_object_next(&j, &key) || json_ok(&j));
    j = reader("]", NULL);
    assert_false(json_array_next(&j) || json_ok(&j));
    j = reader("[1", NULL);
    json_array_begin(&j);
    assert_true(json_array_next(&j) && json_u64(&j, &v));
    assert_false(json_end(&j));
    assert_int_equal(j.err, CONFAB_INVALID);
}

static void test_depth(void **state)
{
    (void)state;
    struct buf b = {0};
    struct buf copy = {0};
    for (unsigned depth = JSON_DEPTH_MAX; depth <= JSON_DEPTH_MAX + 1; depth++) {
        for (int objects = 0; objects < 2; objects++) {
            buf_clear(&b);
            buf_clear(&copy);
            for (unsigned i = 0; i < depth; i++) {
                buf_put_str(&b, objects ? "{\"a\":" : "[");
            }
            buf_put_str(&b, objects ? "1" : "");
            for (unsigned i = 0; i < depth; i++) {
                buf_put_u8(&b, objects ? '}' : ']');
            }
            assert_int_equal(is_valid(span_of(b.data, b.len), &copy), depth == JSON_DEPTH_MAX);
        }
    }
    buf_deinit(&b);
    buf_deinit(&copy);
}

static void test_many_keys(void **state)
{
    (void)state;
    struct buf b = {0};
    struct buf copy = {0};
    for (unsigned n = JSON_KEYS_MAX; n <= JSON_KEYS_MAX + 1; n++) {
        buf_clear(&b);
        for (unsigned i = 0; i < n; i++) {
            buf_printf(&b, "%s\"k%u\":%u", i == 0 ? "{" : ",", i, i);
        }
        buf_put_u8(&b, '}');
        assert_int_equal(is_valid(span_of(b.data, b.len), &copy), n == JSON_KEYS_MAX);
    }
    buf_deinit(&b);
    buf_deinit(&copy);
}

static void test_write(void **state)
{
    (void)state;
    struct buf b = {0};
    struct json_writer w;
    json_w_init(&w, &b);
    json_w_object(&w);
    json_w_kcstr(&w, "s", "a\"b\\c\n\r\t\x01\x1f/\xc3\xa4");
    json_w_kstring(&w, "e", span_of(NULL, 0));
    json_w_ku64(&w, "u", UINT64_MAX);
    json_w_key(&w, "i");
    json_w_array(&w);
    json_w_i64(&w, INT64_MIN);
    json_w_i64(&w, -1);
    json_w_i64(&w, 0);
    json_w_array(&w);
    json_w_array_end(&w);
    json_w_object(&w);
    json_w_object_end(&w);
    json_w_array_end(&w);
    json_w_kbool(&w, "b", true);
    json_w_key(&w, "n");
    json_w_null(&w);
    json_w_kid(&w, "id", 9223372036854775807);
    json_w_kconv_id(&w, "c", (struct conv_id){1, 0xabcdef});
    json_w_ktime(&w, "t", 1735689600007);
    json_w_key(&w, "r");
    json_w_raw(&w, span_str("[1]"));
    json_w_object_end(&w);
    assert_string_equal(proto_text(&b),
                        "{\"s\":\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u001f/\xc3\xa4\",\"e\":\"\","
                        "\"u\":18446744073709551615,\"i\":[-9223372036854775808,-1,0,[],{}],"
                        "\"b\":true,\"n\":null,\"id\":\"9223372036854775807\","
                        "\"c\":\"00000000000000010000000000abcdef\","
                        "\"t\":\"2025-01-01T00:00:00.007Z\",\"r\":[1]}");
    buf_deinit(&b);
}

/* Every byte at every distance from the start of a block of 16 comes through. */
static void test_string_round_trip(void **state)
{
    (void)state;
    struct buf text = {0};
    struct buf out = {0};
    uint8_t block[512];
    for (size_t lead = 0; lead < 40; lead++) {
        for (unsigned c = 0; c < 0x80; c++) {
            for (size_t tail = 0; tail < 20; tail += 19) {
                buf_clear(&text);
                buf_clear(&out);
                for (size_t i = 0; i < lead; i++) {
                    buf_put_u8(&text, 'x');
                }
                buf_put_u8(&text, (uint8_t)c);
                for (size_t i = 0; i < tail; i++) {
                    buf_put_u8(&text, 'y');
                }
                json_put_string(&out, span_of(text.data, text.len));
                struct scratch s;
                struct json j;
                struct span got;
                scratch_init(&s, block, out.len);
                json_init(&j, span_of(out.data, out.len), &s);
                assert_true(json_string(&j, &got) && json_end(&j));
                assert_true(span_eq(got, span_of(text.data, text.len)));
            }
        }
    }
    buf_deinit(&text);
    buf_deinit(&out);
}

/* Random damage: skipping and walking agree (see is_valid), and what is valid is a fixed point. */
static void test_random(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, proto_seed());
    unsigned valid = 0;
    for (int round = 0; round < 20000; round++) {
        const struct row *row = &texts[random_below(&r.base, ARRAY_LEN(texts))];
        struct buf in = {0};
        struct buf once = {0};
        struct buf twice = {0};
        buf_put(&in, row->in.p, row->in.n);
        for (uint64_t k = random_below(&r.base, 3); k > 0 && in.len > 0; k--) {
            static const char some[] = "{}[]:,\"\\u0d8c1-+.eEtrufalsn \n\0\xc3\xa4\xff";
            in.data[random_below(&r.base, in.len)] =
                (uint8_t)some[random_below(&r.base, sizeof(some) - 1)];
        }
        if (is_valid(span_of(in.data, in.len), &once)) {
            valid++;
            assert_true(is_valid(span_of(once.data, once.len), &twice));
            assert_string_equal(proto_text(&once), proto_text(&twice));
        }
        buf_deinit(&in);
        buf_deinit(&once);
        buf_deinit(&twice);
    }
    assert_true(valid > 1000);
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        proto_case(&cases, "json", texts[i].name, run_text, &texts[i]);
    }
    proto_case(&cases, "json", "strings", test_strings, NULL);
    proto_case(&cases, "json", "integers", test_integers, NULL);
    proto_case(&cases, "json", "typed", test_typed, NULL);
    proto_case(&cases, "json", "error_is_sticky", test_error_is_sticky, NULL);
    proto_case(&cases, "json", "raw", test_raw, NULL);
    proto_case(&cases, "json", "misuse", test_misuse, NULL);
    proto_case(&cases, "json", "depth", test_depth, NULL);
    proto_case(&cases, "json", "many_keys", test_many_keys, NULL);
    proto_case(&cases, "json", "write", test_write, NULL);
    proto_case(&cases, "json", "string_round_trip", test_string_round_trip, NULL);
    proto_case(&cases, "json", "random", test_random, NULL);
    return proto_run("json", &cases);
}
