/* Frames of clients: what is accepted, and which field is named when one is not. */
#include "proto/wire.h"
#include "proto_test.h"

#define C1          "000102030405060708090a0b0c0d0e0f"
#define C2          "ffffffffffffffffffffffffffffffff"
#define SEND        "{\"event\":\"send_message\",\"client_msg_id\":\"k\","
#define TO_AND_TEXT "\"to\":\"ann\",\"content\":\"hi\""

struct row {
    const char *name;
    const char *frame;
    enum confab_err err;
    const char *field; /* of the refusal */
};

static const struct row rows[] = {
    {"send", SEND TO_AND_TEXT "}", CONFAB_OK, NULL},
    {"send_conversation", SEND "\"conversation_id\":\"" C1 "\",\"content\":\"hi\"}", CONFAB_OK,
     NULL},
    {"send_all_fields",
     SEND TO_AND_TEXT
     ",\"type\":\"text\",\"reply_to\":\"5\",\"mentions\":[\"1\",\"2\"],\"fresh\":true}",
     CONFAB_OK, NULL},
    {"send_nulls_are_absent",
     SEND TO_AND_TEXT
     ",\"groupId\":null,\"reply_to\":null,\"mentions\":null,\"fresh\":null,\"type\":null}",
     CONFAB_OK, NULL},
    {"send_unknown_fields",
     SEND TO_AND_TEXT ",\"x\":{\"y\":[1,2]},\"seq\":\"not a number\",\"have\":7}", CONFAB_OK, NULL},
    {"send_event_last", "{" TO_AND_TEXT ",\"client_msg_id\":\"k\",\"event\":\"send_message\"}",
     CONFAB_OK, NULL},
    {"send_same_text_twice", SEND TO_AND_TEXT ",\"text\":\"hi\",\"message\":\"hi\"}", CONFAB_OK,
     NULL},
    {"send_group",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\",\"group_id\":\"" C1
     "\",\"content\":\"hi\"}",
     CONFAB_OK, NULL},
    {"send_group_by_conversation",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\",\"conversation_id\":\"" C1
     "\",\"content\":\"hi\"}",
     CONFAB_OK, NULL},
    {"send_group_both_names",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\",\"conversation_id\":\"" C1
     "\",\"groupId\":\"" C1 "\",\"content\":\"hi\"}",
     CONFAB_OK, NULL},
    {"short_form", "{\"type\":\"message\",\"to\":\"ann\",\"text\":\"hi\"}", CONFAB_OK, NULL},
    {"short_form_ack", "{\"type\":\"ack\",\"message_id\":\"9\",\"status\":\"read\"}", CONFAB_OK,
     NULL},
    {"short_form_heartbeat", "{\"type\":\"heartbeat\"}", CONFAB_OK, NULL},
    {"ack_message", "{\"event\":\"ack\",\"message_id\":\"9\",\"status\":\"delivered\"}", CONFAB_OK,
     NULL},
    {"ack_position",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"seq\":7,\"status\":\"read\"}", CONFAB_OK,
     NULL},
    {"heartbeat", "{\"event\":\"heartbeat\"}", CONFAB_OK, NULL},
    {"heartbeat_ignores_fields", "{\"event\":\"heartbeat\",\"to\":5,\"seq\":\"x\",\"mentions\":1}",
     CONFAB_OK, NULL},
    {"resume", "{\"event\":\"resume\"}", CONFAB_OK, NULL},
    {"resume_since", "{\"event\":\"resume\",\"since\":\"abc\"}", CONFAB_OK, NULL},
    {"resume_have",
     "{\"event\":\"resume\",\"have\":[{\"conversation_id\":\"" C1
     "\",\"seq\":7,\"event_id\":\"8\",\"x\":1}]}",
     CONFAB_OK, NULL},
    {"resume_have_empty", "{\"event\":\"resume\",\"since\":\"a\",\"have\":[]}", CONFAB_OK, NULL},
    {"auth", "{\"event\":\"auth\",\"token\":\"abc.def\"}", CONFAB_OK, NULL},

    {"not_json", "hello", CONFAB_INVALID, NULL},
    {"empty", "", CONFAB_INVALID, NULL},
    {"array", "[]", CONFAB_INVALID, NULL},
    {"string", "\"heartbeat\"", CONFAB_INVALID, NULL},
    {"two_objects", "{\"event\":\"heartbeat\"}{\"event\":\"heartbeat\"}", CONFAB_INVALID, NULL},
    {"key_twice", "{\"event\":\"heartbeat\",\"event\":\"heartbeat\"}", CONFAB_INVALID, NULL},
    {"no_event", "{}", CONFAB_INVALID, "event"},
    {"no_event_but_fields", "{" TO_AND_TEXT "}", CONFAB_INVALID, "event"},
    {"event_number", "{\"event\":1}", CONFAB_INVALID, "event"},
    {"event_empty", "{\"event\":\"\"}", CONFAB_INVALID, "event"},
    {"event_null", "{\"event\":null}", CONFAB_INVALID, "event"},
    {"event_unknown", "{\"event\":\"dance\"}", CONFAB_UNSUPPORTED, "event"},
    {"event_of_short_form", "{\"event\":\"message\",\"to\":\"ann\",\"text\":\"hi\"}",
     CONFAB_UNSUPPORTED, "event"},
    {"event_upper_case", "{\"event\":\"HEARTBEAT\"}", CONFAB_UNSUPPORTED, "event"},
    {"short_form_unknown", "{\"type\":\"dance\"}", CONFAB_UNSUPPORTED, "type"},
    {"short_form_typing", "{\"type\":\"typing\",\"to\":\"ann\"}", CONFAB_OK, NULL},
    {"short_form_view", "{\"type\":\"view\",\"conversation_ids\":[]}", CONFAB_UNSUPPORTED, "type"},
    {"typing", "{\"event\":\"typing\",\"conversation_id\":\"" C1 "\",\"active\":false}", CONFAB_OK,
     NULL},
    {"typing_nowhere", "{\"event\":\"typing\"}", CONFAB_INVALID, "to"},
    {"typing_twice", "{\"event\":\"typing\",\"to\":\"ann\",\"conversation_id\":\"" C1 "\"}",
     CONFAB_INVALID, "to"},
    {"typing_active_number", "{\"event\":\"typing\",\"to\":\"ann\",\"active\":1}", CONFAB_INVALID,
     "active"},
    {"view", "{\"event\":\"view\",\"conversation_ids\":[\"" C1 "\",\"" C2 "\",\"" C1 "\"]}",
     CONFAB_OK, NULL},
    {"view_none", "{\"event\":\"view\",\"conversation_ids\":[]}", CONFAB_OK, NULL},
    {"view_missing", "{\"event\":\"view\"}", CONFAB_INVALID, "conversation_ids"},
    {"view_names", "{\"event\":\"view\",\"conversation_ids\":[\"ann\"]}", CONFAB_INVALID,
     "conversation_ids"},
    {"view_21",
     "{\"event\":\"view\",\"conversation_ids\":[\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1
     "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1
     "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\",\"" C1 "\"]}",
     CONFAB_TOO_LARGE, "conversation_ids"},
    {"short_form_of_event", "{\"type\":\"send_message\",\"to\":\"ann\",\"text\":\"hi\"}",
     CONFAB_UNSUPPORTED, "type"},

    {"send_no_target", SEND "\"content\":\"hi\"}", CONFAB_INVALID, "to"},
    {"send_two_targets", SEND TO_AND_TEXT ",\"conversation_id\":\"" C1 "\"}", CONFAB_INVALID, "to"},
    {"send_two_conversations",
     SEND "\"conversation_id\":\"" C1 "\",\"group_id\":\"" C2 "\",\"content\":\"hi\"}",
     CONFAB_INVALID, "group_id"},
    {"send_two_users", SEND TO_AND_TEXT ",\"toUserId\":\"bob\"}", CONFAB_INVALID, "to"},
    {"send_to_empty", SEND "\"to\":\"\",\"content\":\"hi\"}", CONFAB_INVALID, "to"},
    {"send_to_number", SEND "\"to\":5,\"content\":\"hi\"}", CONFAB_INVALID, "to"},
    {"send_conversation_short", SEND "\"conversation_id\":\"abc\",\"content\":\"hi\"}",
     CONFAB_INVALID, "conversation_id"},
    {"send_conversation_zero",
     SEND "\"conversation_id\":\"00000000000000000000000000000000\",\"content\":\"hi\"}",
     CONFAB_INVALID, "conversation_id"},
    {"send_conversation_number", SEND "\"conversation_id\":7,\"content\":\"hi\"}", CONFAB_INVALID,
     "conversation_id"},
    {"send_group_no_group",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\",\"content\":\"hi\"}",
     CONFAB_INVALID, "group_id"},
    {"send_group_to_user",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "to"},
    {"send_group_bad_id",
     "{\"event\":\"send_group_message\",\"client_msg_id\":\"k\",\"groupId\":\"x\",\"content\":"
     "\"hi\"}",
     CONFAB_INVALID, "group_id"},
    {"send_no_content", SEND "\"to\":\"ann\"}", CONFAB_INVALID, "content"},
    {"send_content_empty", SEND "\"to\":\"ann\",\"content\":\"\"}", CONFAB_INVALID, "content"},
    {"send_content_null", SEND "\"to\":\"ann\",\"content\":null}", CONFAB_INVALID, "content"},
    {"send_content_number", SEND "\"to\":\"ann\",\"content\":5}", CONFAB_INVALID, "content"},
    {"send_content_u0000", SEND "\"to\":\"ann\",\"content\":\"a\\u0000b\"}", CONFAB_INVALID,
     "content"},
    {"send_two_contents", SEND TO_AND_TEXT ",\"text\":\"ho\"}", CONFAB_INVALID, "content"},
    {"send_two_types_of_content", SEND "\"to\":\"ann\",\"text\":5,\"content\":\"5\"}",
     CONFAB_INVALID, "content"},
    {"send_two_kinds_of_content", SEND TO_AND_TEXT ",\"text\":5}", CONFAB_INVALID, "content"},
    {"send_no_client_msg_id", "{\"event\":\"send_message\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_client_msg_id_empty",
     "{\"event\":\"send_message\",\"client_msg_id\":\"\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_client_msg_id_65",
     "{\"event\":\"send_message\",\"client_msg_id\":\"" C1 C2 "x\"," TO_AND_TEXT "}",
     CONFAB_INVALID, "client_msg_id"},
    {"send_client_msg_id_64",
     "{\"event\":\"send_message\",\"client_msg_id\":\"" C1 C2 "\"," TO_AND_TEXT "}", CONFAB_OK,
     NULL},
    {"send_client_msg_id_not_ascii",
     "{\"event\":\"send_message\",\"client_msg_id\":\"\xc3\xa4\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_client_msg_id_control",
     "{\"event\":\"send_message\",\"client_msg_id\":\"a\\n\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_client_msg_id_number",
     "{\"event\":\"send_message\",\"client_msg_id\":7," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_short_form_bad_client_msg_id",
     "{\"type\":\"message\",\"client_msg_id\":\"\"," TO_AND_TEXT "}", CONFAB_INVALID,
     "client_msg_id"},
    {"send_type_empty", SEND TO_AND_TEXT ",\"type\":\"\"}", CONFAB_INVALID, "type"},
    {"send_type_upper_case", SEND TO_AND_TEXT ",\"type\":\"Text\"}", CONFAB_INVALID, "type"},
    {"send_type_number", SEND TO_AND_TEXT ",\"type\":1}", CONFAB_INVALID, "type"},
    {"send_type_long", SEND TO_AND_TEXT ",\"type\":\"" C1 "x\"}", CONFAB_INVALID, "type"},
    {"send_two_types", SEND TO_AND_TEXT ",\"type\":\"text\",\"messageType\":\"image\"}",
     CONFAB_INVALID, "type"},
    {"send_two_type_aliases",
     SEND TO_AND_TEXT ",\"message_type\":\"text\",\"messageType\":\"image\"}", CONFAB_INVALID,
     "message_type"},
    {"send_reply_to_number", SEND TO_AND_TEXT ",\"reply_to\":5}", CONFAB_INVALID, "reply_to"},
    {"send_reply_to_zero", SEND TO_AND_TEXT ",\"reply_to\":\"0\"}", CONFAB_INVALID, "reply_to"},
    {"send_mentions_string", SEND TO_AND_TEXT ",\"mentions\":\"1\"}", CONFAB_INVALID, "mentions"},
    {"send_mentions_numbers", SEND TO_AND_TEXT ",\"mentions\":[1]}", CONFAB_INVALID, "mentions"},
    {"send_mentions_names", SEND TO_AND_TEXT ",\"mentions\":[\"ann\"]}", CONFAB_INVALID,
     "mentions"},
    {"send_mentions_null", SEND TO_AND_TEXT ",\"mentions\":[null]}", CONFAB_INVALID, "mentions"},
    {"send_fresh_string", SEND TO_AND_TEXT ",\"fresh\":\"true\"}", CONFAB_INVALID, "fresh"},

    {"ack_nothing", "{\"event\":\"ack\",\"status\":\"read\"}", CONFAB_INVALID, "message_id"},
    {"ack_message_number", "{\"event\":\"ack\",\"message_id\":9,\"status\":\"read\"}",
     CONFAB_INVALID, "message_id"},
    {"ack_no_seq", "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_no_conversation", "{\"event\":\"ack\",\"seq\":7,\"status\":\"read\"}", CONFAB_INVALID,
     "conversation_id"},
    {"ack_seq_zero",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"seq\":0,\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_seq_negative",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"seq\":-1,\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_seq_fraction",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"seq\":1.5,\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_seq_string",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1 "\",\"seq\":\"7\",\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_seq_too_large",
     "{\"event\":\"ack\",\"conversation_id\":\"" C1
     "\",\"seq\":9223372036854775808,\"status\":\"read\"}",
     CONFAB_INVALID, "seq"},
    {"ack_no_status", "{\"event\":\"ack\",\"message_id\":\"9\"}", CONFAB_INVALID, "status"},
    {"ack_status_sent", "{\"event\":\"ack\",\"message_id\":\"9\",\"status\":\"sent\"}",
     CONFAB_INVALID, "status"},
    {"ack_status_number", "{\"event\":\"ack\",\"message_id\":\"9\",\"status\":1}", CONFAB_INVALID,
     "status"},

    {"resume_since_number", "{\"event\":\"resume\",\"since\":1}", CONFAB_INVALID, "since"},
    {"resume_since_empty", "{\"event\":\"resume\",\"since\":\"\"}", CONFAB_INVALID, "since"},
    {"resume_have_object", "{\"event\":\"resume\",\"have\":{}}", CONFAB_INVALID, "have"},
    {"resume_have_strings", "{\"event\":\"resume\",\"have\":[\"x\"]}", CONFAB_INVALID, "have"},
    {"resume_have_no_seq",
     "{\"event\":\"resume\",\"have\":[{\"conversation_id\":\"" C1 "\",\"event_id\":\"8\"}]}",
     CONFAB_INVALID, "have"},
    {"resume_have_no_id", "{\"event\":\"resume\",\"have\":[{\"seq\":7,\"event_id\":\"8\"}]}",
     CONFAB_INVALID, "have"},
    {"resume_have_no_event",
     "{\"event\":\"resume\",\"have\":[{\"conversation_id\":\"" C1 "\",\"seq\":7}]}", CONFAB_INVALID,
     "have"},
    {"resume_have_second_bad",
     "{\"event\":\"resume\",\"have\":[{\"conversation_id\":\"" C1
     "\",\"seq\":7,\"event_id\":\"8\"},{}]}",
     CONFAB_INVALID, "have"},

    {"auth_no_token", "{\"event\":\"auth\"}", CONFAB_INVALID, "token"},
    {"auth_token_empty", "{\"event\":\"auth\",\"token\":\"\"}", CONFAB_INVALID, "token"},
    {"auth_token_number", "{\"event\":\"auth\",\"token\":1}", CONFAB_INVALID, "token"},
    {"auth_token_control", "{\"event\":\"auth\",\"token\":\"a\\u0001\"}", CONFAB_INVALID, "token"},
};

static uint8_t block[2 * WIRE_FRAME_MAX];

static enum confab_err parse(struct span frame, struct wire_client_msg *msg, struct wire_error *err)
{
    struct scratch s;
    scratch_init(&s, block, frame.n);
    memset(msg, 0xee, sizeof(*msg));
    return wire_parse_client(frame, &s, msg, err);
}

static void run_row(void **state)
{
    const struct row *row = *state;
    struct wire_client_msg msg;
    struct wire_error err;
    uint8_t *exact = proto_copy(row->frame, strlen(row->frame));
    struct span frame = span_of(exact, strlen(row->frame));
    assert_int_equal(parse(frame, &msg, &err), row->err);
    assert_int_equal(err.code, row->err);
    if (row->err == CONFAB_OK) {
        assert_true(!err.field && !err.message && !err.malformed);
        assert_int_not_equal(msg.event, WIRE_C_NONE);
    } else {
        assert_non_null(err.message);
        assert_string_equal(err.field ? err.field : "", row->field ? row->field : "");
        bool no_event = !row->field || strcmp(err.message, "is missing") == 0;
        no_event = no_event && (!row->field || strcmp(row->field, "event") == 0);
        assert_int_equal(err.malformed, no_event);
    }
    /* No part of a frame is a frame. */
    for (size_t n = 0; n < frame.n && row->err == CONFAB_OK; n++) {
        assert_int_equal(parse(span_of(exact, n), &msg, &err), CONFAB_INVALID);
        assert_true(err.malformed);
    }
    free(exact);
}

static struct wire_client_msg parsed(const char *frame)
{
    struct wire_client_msg msg;
    struct wire_error err;
    assert_int_equal(parse(span_str(frame), &msg, &err), CONFAB_OK);
    return msg;
}

static void test_send_values(void **state)
{
    (void)state;
    struct wire_client_msg m =
        parsed(SEND "\"toUserId\":\"ann\",\"message\":\"h\\u00e4\\n\",\"messageType\":\"image\","
                    "\"reply_to\":\"77\","
                    "\"mentions\":[\"3\",\"9223372036854775807\"],\"fresh\":true}");
    assert_int_equal(m.event, WIRE_C_SEND);
    assert_false(m.short_form);
    proto_assert_span(m.name, "send_message");
    proto_assert_span(m.u.send.to, "ann");
    assert_true(conv_id_is_zero(m.u.send.conv) && !m.u.send.group && m.u.send.fresh);
    proto_assert_span(m.u.send.content, "h\xc3\xa4\n");
    proto_assert_span(m.u.send.type, "image");
    proto_assert_span(m.u.send.client_msg_id, "k");
    assert_int_equal(m.u.send.reply_to, 77);
    assert_int_equal(m.u.send.nmentions, 2);
    assert_int_equal(m.u.send.mentions[0], 3);
    assert_true(m.u.send.mentions[1] == INT64_MAX);

    m = parsed("{\"type\":\"message\",\"groupId\":\"" C1
               "\",\"text\":\"hi\",\"message_type\":\"image\"}");
    assert_int_equal(m.event, WIRE_C_SEND);
    assert_true(m.short_form && m.u.send.group && m.u.send.to.n == 0 && !m.u.send.fresh);
    proto_assert_span(m.name, "message");
    assert_true(m.u.send.conv.hi == 0x0001020304050607);
    proto_assert_span(m.u.send.type, "image");
    proto_assert_span(m.u.send.client_msg_id, "");
    assert_true(m.u.send.reply_to == 0 && m.u.send.nmentions == 0);
    proto_assert_span(parsed("{\"type\":\"message\",\"to\":\"a\",\"text\":\"hi\"}").u.send.type,
                      "text");
    proto_assert_span(parsed(SEND TO_AND_TEXT "}").u.send.type, "text");
}

/* Each character at each place of texts that are read by the word, with a rest. */
static void test_printable(void **state)
{
    (void)state;
    enum { LEN = 19 };
    for (unsigned code = 0; code < 0x100; code++) {
        for (int at = 0; at < LEN; at++) {
            char frame[256];
            struct wire_client_msg msg;
            struct wire_error err;
            (void)snprintf(frame, sizeof(frame),
                           "{\"event\":\"send_message\"," TO_AND_TEXT
                           ",\"client_msg_id\":\"%.*s\\u%04x%.*s\"}",
                           at, "kkkkkkkkkkkkkkkkkkk", code, LEN - 1 - at, "kkkkkkkkkkkkkkkkkkk");
            bool good = code >= 0x20 && code < 0x7f;
            assert_int_equal(parse(span_str(frame), &msg, &err), good ? CONFAB_OK : CONFAB_INVALID);
        }
    }
}

static void test_other_values(void **state)
{
    (void)state;
    struct wire_client_msg m =
        parsed("{\"event\":\"ack\",\"message_id\":\"9\",\"status\":\"delivered\"}");
    assert_int_equal(m.event, WIRE_C_ACK);
    assert_true(m.u.ack.message_id == 9 && m.u.ack.seq == 0 && conv_id_is_zero(m.u.ack.conv));
    assert_int_equal(m.u.ack.status, WIRE_DELIVERED);
    m = parsed("{\"event\":\"ack\",\"message_id\":\"9\",\"seq\":7,\"conversation_id\":\"" C1
               "\",\"status\":\"read\"}");
    assert_true(m.u.ack.message_id == 0 && m.u.ack.seq == 7 &&
                m.u.ack.conv.hi == 0x0001020304050607);
    assert_int_equal(m.u.ack.status, WIRE_READ);
    m = parsed("{\"event\":\"auth\",\"token\":\"abc\"}");
    assert_int_equal(m.event, WIRE_C_AUTH);
    proto_assert_span(m.u.token, "abc");
    assert_int_equal(parsed("{\"event\":\"heartbeat\"}").event, WIRE_C_HEARTBEAT);
    m = parsed("{\"event\":\"resume\"}");
    assert_int_equal(m.event, WIRE_C_RESUME);
    assert_true(m.u.resume.since.p == NULL && m.u.resume.nhave == 0);
    m = parsed("{\"event\":\"resume\",\"since\":\"s1\",\"have\":[{\"conversation_id\":\"" C1
               "\",\"seq\":7,"
               "\"event_id\":\"8\"},{\"seq\":1,\"event_id\":\"2\",\"conversation_id\":\"" C2
               "\"}]}");
    proto_assert_span(m.u.resume.since, "s1");
    assert_int_equal(m.u.resume.nhave, 2);
    struct json it;
    struct wire_have h;
    wire_list_begin(&it, m.u.resume.have, NULL);
    assert_true(wire_have_next(&it, &h));
    assert_true(h.conv.hi == 0x0001020304050607 && h.seq == 7 && h.event_id == 8);
    assert_true(wire_have_next(&it, &h));
    assert_true(h.conv.hi == UINT64_MAX && h.seq == 1 && h.event_id == 2);
    assert_false(wire_have_next(&it, &h));
    assert_true(json_end(&it));
}

/* What the error event should point to. */
static void test_error_refers(void **state)
{
    (void)state;
    struct wire_client_msg msg;
    struct wire_error err;
    assert_int_equal(parse(span_str(SEND "\"to\":\"ann\"}"), &msg, &err), CONFAB_INVALID);
    proto_assert_span(err.ref, "send_message");
    proto_assert_span(err.client_msg_id, "k");
    assert_int_equal(
        parse(span_str("{\"event\":\"dance\",\"client_msg_id\":\"\xc3\xa4\"}"), &msg, &err),
        CONFAB_UNSUPPORTED);
    proto_assert_span(err.ref, "dance");
    assert_int_equal(err.client_msg_id.n, 0);
    struct buf b = {0};
    assert_int_equal(parse(span_str(SEND "\"to\":\"ann\",\"text\":5}"), &msg, &err),
                     CONFAB_INVALID);
    wire_put_parse_error(&b, &err);
    assert_string_equal(
        proto_text(&b),
        "{\"event\":\"error\",\"code\":\"invalid\",\"message\":\"has to be a string\","
        "\"field\":\"content\",\"ref\":\"send_message\",\"client_msg_id\":\"k\"}");
    buf_clear(&b);
    assert_int_equal(parse(span_str("{"), &msg, &err), CONFAB_INVALID);
    wire_put_parse_error(&b, &err);
    assert_string_equal(
        proto_text(&b),
        "{\"event\":\"error\",\"code\":\"invalid\",\"message\":\"unexpected end\"}");
    buf_deinit(&b);
}

static void put_repeated(struct buf *b, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        buf_put_str(b, text);
    }
}

static enum confab_err parse_buf(struct buf *b, const char **ret_field)
{
    struct wire_client_msg msg;
    struct wire_error err;
    enum confab_err e = parse(span_of(b->data, b->len), &msg, &err);
    *ret_field = err.field;
    return e;
}

static void test_limits(void **state)
{
    (void)state;
    const char *field;
    struct buf b = {0};
    for (size_t over = 0; over < 2; over++) {
        buf_clear(&b);
        buf_put_str(&b, SEND "\"to\":\"ann\",\"content\":\"");
        put_repeated(&b, "x", WIRE_TEXT_MAX + over);
        buf_put_str(&b, "\"}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_TOO_LARGE : CONFAB_OK);
        assert_true(!over || strcmp(field, "content") == 0);

        /* The text counts, not its escapes. */
        buf_clear(&b);
        buf_put_str(&b, SEND "\"to\":\"ann\",\"content\":\"");
        put_repeated(&b, "\\n", WIRE_TEXT_MAX + over);
        buf_put_str(&b, "\"}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_TOO_LARGE : CONFAB_OK);

        buf_clear(&b);
        buf_put_str(&b, SEND "\"content\":\"x\",\"to\":\"");
        put_repeated(&b, "x", WIRE_TO_MAX + over);
        buf_put_str(&b, "\"}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_INVALID : CONFAB_OK);

        buf_clear(&b);
        buf_put_str(&b, SEND TO_AND_TEXT ",\"mentions\":[\"1\"");
        put_repeated(&b, ",\"2\"", WIRE_MENTIONS_MAX - 1 + over);
        buf_put_str(&b, "]}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_TOO_LARGE : CONFAB_OK);
        assert_true(!over || strcmp(field, "mentions") == 0);

        buf_clear(&b);
        buf_put_str(&b, "{\"event\":\"auth\",\"token\":\"");
        put_repeated(&b, "x", WIRE_TOKEN_MAX + over);
        buf_put_str(&b, "\"}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_INVALID : CONFAB_OK);

        buf_clear(&b);
        buf_put_str(&b, "{\"event\":\"heartbeat\"");
        put_repeated(&b, " ", WIRE_FRAME_MAX - b.len - 1 + over);
        buf_put_str(&b, "}");
        assert_int_equal(parse_buf(&b, &field), over ? CONFAB_TOO_LARGE : CONFAB_OK);
    }
    buf_deinit(&b);
}

/* A list of the largest size that fits a frame is below the bound on entries. */
static void test_many_have(void **state)
{
    (void)state;
    struct wire_have have[600];
    for (size_t i = 0; i < ARRAY_LEN(have); i++) {
        have[i] = (struct wire_have){{i + 1, 7}, i + 1, i + 100};
    }
    struct buf b = {0};
    wire_put_resume(&b, span_str("since"), have, ARRAY_LEN(have), true);
    struct wire_client_msg msg;
    struct wire_error err;
    assert_int_equal(parse(span_of(b.data, b.len), &msg, &err), CONFAB_OK);
    proto_assert_span(msg.u.resume.since, "since");
    struct json it;
    struct wire_have h;
    wire_list_begin(&it, msg.u.resume.have, NULL);
    for (size_t i = 0; i < ARRAY_LEN(have); i++) {
        assert_true(wire_have_next(&it, &h));
        assert_true(conv_id_eq(h.conv, have[i].conv) && h.seq == i + 1 && h.event_id == i + 100);
    }
    assert_false(wire_have_next(&it, &h));
    buf_deinit(&b);
}

/* What the client writes, the server reads. */
static void test_round_trip(void **state)
{
    (void)state;
    struct buf b = {0};
    struct wire_send s = {.to = span_str("a\"nn"),
                          .content = span_str("hi \\ \n \xe2\x82\xac"),
                          .client_msg_id = span_str("k1")};
    wire_put_send(&b, &s);
    struct wire_client_msg m = parsed(proto_text(&b));
    proto_assert_span(m.u.send.to, "a\"nn");
    proto_assert_span(m.u.send.content, "hi \\ \n \xe2\x82\xac");
    proto_assert_span(m.u.send.client_msg_id, "k1");
    proto_assert_span(m.u.send.type, "text");
    buf_clear(&b);
    s = (struct wire_send){.conv = {1, 2},
                           .group = true,
                           .content = span_str("x"),
                           .type = span_str("image"),
                           .client_msg_id = span_str("k2"),
                           .reply_to = 5,
                           .fresh = true,
                           .nmentions = 2,
                           .mentions = {8, 9}};
    wire_put_send(&b, &s);
    m = parsed(proto_text(&b));
    assert_true(m.u.send.group && m.u.send.fresh && conv_id_eq(m.u.send.conv, s.conv) &&
                m.u.send.reply_to == 5);
    assert_true(m.u.send.nmentions == 2 && m.u.send.mentions[0] == 8 && m.u.send.mentions[1] == 9);
    proto_assert_span(m.name, "send_group_message");
    proto_assert_span(m.u.send.type, "image");
    buf_clear(&b);
    wire_put_view(&b, (struct conv_id[]){{1, 2}, {3, 4}}, 2);
    m = parsed(proto_text(&b));
    assert_true(m.event == WIRE_C_VIEW && m.u.view.n == 2 && m.u.view.convs[1].hi == 3);
    buf_clear(&b);
    wire_put_client_typing(&b, &(struct wire_typing){.to = span_str("ann"), .active = true});
    m = parsed(proto_text(&b));
    assert_true(m.event == WIRE_C_TYPING && m.u.typing.active);
    proto_assert_span(m.u.typing.to, "ann");
    buf_clear(&b);
    wire_put_client_typing(&b, &(struct wire_typing){.conv = {1, 2}});
    m = parsed(proto_text(&b));
    assert_true(!m.u.typing.active && m.u.typing.conv.lo == 2);
    buf_clear(&b);
    s.group = false;
    wire_put_send(&b, &s);
    m = parsed(proto_text(&b));
    assert_true(!m.u.send.group && conv_id_eq(m.u.send.conv, s.conv));
    buf_clear(&b);
    wire_put_auth(&b, span_str("tok"));
    proto_assert_span(parsed(proto_text(&b)).u.token, "tok");
    buf_clear(&b);
    wire_put_heartbeat(&b);
    assert_int_equal(parsed(proto_text(&b)).event, WIRE_C_HEARTBEAT);
    buf_clear(&b);
    struct wire_ack a = {.conv = {3, 4}, .seq = 12, .status = WIRE_READ};
    wire_put_client_ack(&b, &a);
    m = parsed(proto_text(&b));
    assert_true(conv_id_eq(m.u.ack.conv, a.conv) && m.u.ack.seq == 12 &&
                m.u.ack.status == WIRE_READ);
    buf_clear(&b);
    a = (struct wire_ack){.message_id = 99, .status = WIRE_DELIVERED};
    wire_put_client_ack(&b, &a);
    m = parsed(proto_text(&b));
    assert_true(m.u.ack.message_id == 99 && m.u.ack.status == WIRE_DELIVERED);
    buf_clear(&b);
    wire_put_resume(&b, span_of(NULL, 0), NULL, 0, false);
    assert_string_equal(proto_text(&b), "{\"event\":\"resume\"}");
    assert_false(parsed(proto_text(&b)).u.resume.batch);
    buf_clear(&b);
    wire_put_resume(&b, span_of(NULL, 0), NULL, 0, true);
    assert_true(parsed(proto_text(&b)).u.resume.batch);
    buf_deinit(&b);
}

/* Random damage never breaks what an accepted frame promises. */
static void test_random(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, proto_seed());
    for (int round = 0; round < 20000; round++) {
        const struct row *row = &rows[random_below(&r.base, ARRAY_LEN(rows))];
        size_t n = strlen(row->frame);
        uint8_t *bytes = proto_copy(row->frame, n);
        for (uint64_t k = random_below(&r.base, 4); k > 0 && n > 0; k--) {
            static const char some[] = "{}[]:,\"\\u019afnt \n\0\xc3\xa4";
            bytes[random_below(&r.base, n)] =
                (uint8_t)some[random_below(&r.base, sizeof(some) - 1)];
        }
        struct wire_client_msg m;
        struct wire_error err;
        enum confab_err e = parse(span_of(bytes, n), &m, &err);
        assert_int_equal(e, err.code);
        assert_true(e == CONFAB_OK || err.message);
        if (e == CONFAB_OK && m.event == WIRE_C_SEND) {
            const struct wire_send *s = &m.u.send;
            assert_true((s->to.n > 0) != !conv_id_is_zero(s->conv));
            assert_true(s->content.n > 0 && s->content.n <= WIRE_TEXT_MAX && s->type.n > 0);
            assert_true(m.short_form || s->client_msg_id.n > 0);
            assert_true(s->nmentions <= WIRE_MENTIONS_MAX);
        }
        free(bytes);
    }
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        proto_case(&cases, "wire_client", rows[i].name, run_row, &rows[i]);
    }
    proto_case(&cases, "wire_client", "send_values", test_send_values, NULL);
    proto_case(&cases, "wire_client", "printable", test_printable, NULL);
    proto_case(&cases, "wire_client", "other_values", test_other_values, NULL);
    proto_case(&cases, "wire_client", "error_refers", test_error_refers, NULL);
    proto_case(&cases, "wire_client", "limits", test_limits, NULL);
    proto_case(&cases, "wire_client", "many_have", test_many_have, NULL);
    proto_case(&cases, "wire_client", "round_trip", test_round_trip, NULL);
    proto_case(&cases, "wire_client", "random", test_random, NULL);
    return proto_run("wire_client", &cases);
}
