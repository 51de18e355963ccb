/* Frames of the server: their text, and the client library's reading of it. */
#include "proto/wire.h"
#include "proto_test.h"

#define C1 "00000000000000010000000000000002"
#define T1 "2025-01-01T00:00:00.007Z"
#define AT                                                                                         \
    "\"conversation_id\":\"" C1 "\",\"seq\":7,\"event_id\":\"50\",\"sent_at\":\"" T1               \
    "\",\"from\":\"3\""
#define MS1 1735689600007

static const struct wire_seq at = {{1, 2}, 7, 50, MS1, 3};
static uint8_t block[65536];

static struct wire_server_msg parsed(struct buf *b)
{
    struct wire_server_msg m;
    struct wire_error err;
    struct scratch s;
    scratch_init(&s, block, b->len);
    memset(&m, 0xee, sizeof(m));
    assert_int_equal(wire_parse_server(span_of(b->data, b->len), &s, &m, &err), CONFAB_OK);
    assert_true(!err.message && !err.field);
    /* No part of a frame is a frame. */
    for (size_t n = 0; n < b->len; n++) {
        struct wire_server_msg part;
        uint8_t other[2048];
        struct scratch o;
        scratch_init(&o, other, sizeof(other));
        assert_int_equal(wire_parse_server(span_of(b->data, n), &o, &part, &err), CONFAB_INVALID);
    }
    return m;
}

static void check_at(const struct wire_server_msg *m, enum wire_server_event event)
{
    assert_int_equal(m->event, event);
    assert_true(wire_in_sequence(event));
    assert_true(conv_id_eq(m->u.at.conv, at.conv) && m->u.at.seq == 7 && m->u.at.event_id == 50);
    assert_true(m->u.at.sent_at_ms == MS1 && m->u.at.from == 3);
}

static void test_new_message(void **state)
{
    (void)state;
    const uint64_t mentions[] = {8, 9};
    struct buf b = {0};
    struct wire_new_message m = {.at = at, .content = span_str("h\"i\n"), .type = span_str("text")};
    wire_put_new_message(&b, &m);
    assert_string_equal(proto_text(&b), "{\"event\":\"new_message\"," AT ",\"message_id\":\"50\","
                                        "\"content\":\"h\\\"i\\n\",\"type\":\"text\"}");
    struct wire_server_msg got = parsed(&b);
    check_at(&got, WIRE_S_NEW_MESSAGE);
    proto_assert_span(got.u.message.content, "h\"i\n");
    proto_assert_span(got.u.message.type, "text");
    assert_true(got.u.message.client_msg_id.n == 0 && got.u.message.reply_to == 0 &&
                got.u.message.nmentions == 0);
    buf_clear(&b);
    m.client_msg_id = span_str("k");
    m.reply_to = 44;
    m.mentions = mentions;
    m.nmentions = 2;
    wire_put_new_message(&b, &m);
    got = parsed(&b);
    proto_assert_span(got.u.message.client_msg_id, "k");
    assert_true(got.u.message.reply_to == 44 && got.u.message.nmentions == 2);
    struct json it;
    uint64_t id = 0;
    wire_list_begin(&it, got.u.message.mentions_json, NULL);
    assert_true(wire_id_next(&it, &id) && id == 8);
    assert_true(wire_id_next(&it, &id) && id == 9);
    assert_false(wire_id_next(&it, &id));
    buf_clear(&b);
    wire_put_short_message(&b, &m);
    assert_string_equal(
        proto_text(&b),
        "{\"type\":\"message\",\"from\":\"3\",\"text\":\"h\\\"i\\n\",\"timestamp\":\"" T1 "\","
        "\"message_id\":\"50\",\"conversation_id\":\"" C1 "\",\"seq\":7}");
    buf_deinit(&b);
}

static void test_edited_deleted(void **state)
{
    (void)state;
    struct buf b = {0};
    struct wire_message_edited e = {at, 44, 5, span_str("new"), MS1 + 1};
    wire_put_message_edited(&b, &e);
    assert_string_equal(proto_text(&b),
                        "{\"event\":\"message_edited\"," AT
                        ",\"message_id\":\"44\",\"target_seq\":5,"
                        "\"content\":\"new\",\"edited_at\":\"2025-01-01T00:00:00.008Z\"}");
    struct wire_server_msg got = parsed(&b);
    check_at(&got, WIRE_S_MESSAGE_EDITED);
    assert_true(got.u.edited.message_id == 44 && got.u.edited.target_seq == 5 &&
                got.u.edited.edited_at_ms == MS1 + 1);
    proto_assert_span(got.u.edited.content, "new");
    buf_clear(&b);
    struct wire_message_deleted d = {at, 44, 5};
    wire_put_message_deleted(&b, &d);
    assert_string_equal(proto_text(&b), "{\"event\":\"message_deleted\"," AT
                                        ",\"message_id\":\"44\",\"target_seq\":5}");
    got = parsed(&b);
    check_at(&got, WIRE_S_MESSAGE_DELETED);
    assert_true(got.u.deleted.message_id == 44 && got.u.deleted.target_seq == 5);
    buf_deinit(&b);
}

static void test_membership(void **state)
{
    (void)state;
    const struct wire_member members[] = {
        {3, WIRE_ROLE_OWNER}, {4, WIRE_ROLE_MEMBER}, {5, WIRE_ROLE_ADMIN}};
    struct buf b = {0};
    for (int action = WIRE_MEMBERS_CREATE; action <= WIRE_MEMBERS_ROLE; action++) {
        buf_clear(&b);
        struct wire_membership m = {.at = at,
                                    .action = (enum wire_membership_action)action,
                                    .members = members,
                                    .nmembers = 3};
        if (action <= WIRE_MEMBERS_ADD) {
            m.name = span_str("Team");
            m.kind = WIRE_GROUP;
        }
        wire_put_membership(&b, &m);
        struct wire_server_msg got = parsed(&b);
        check_at(&got, WIRE_S_MEMBERSHIP);
        assert_int_equal(got.u.membership.action, action);
        assert_int_equal(got.u.membership.nmembers, 3);
        assert_int_equal(got.u.membership.kind,
                         action <= WIRE_MEMBERS_ADD ? WIRE_GROUP : WIRE_KIND_NONE);
        assert_true((got.u.membership.name.p != NULL) == (action <= WIRE_MEMBERS_ADD));
        struct json it;
        struct wire_member one;
        wire_list_begin(&it, got.u.membership.members_json, NULL);
        for (size_t i = 0; i < 3; i++) {
            assert_true(wire_member_next(&it, &one));
            assert_true(one.user_id == members[i].user_id && one.role == members[i].role);
        }
        assert_false(wire_member_next(&it, &one));
    }
    buf_clear(&b);
    struct wire_membership m = {.at = at,
                                .action = WIRE_MEMBERS_CREATE,
                                .members = members,
                                .nmembers = 1,
                                .name = span_str(""),
                                .kind = WIRE_GROUP};
    wire_put_membership(&b, &m);
    assert_string_equal(proto_text(&b), "{\"event\":\"membership\"," AT
                                        ",\"action\":\"create\",\"members\":[{\"user_id\":\"3\","
                                        "\"role\":\"owner\"}],\"name\":\"\",\"type\":\"group\"}");
    buf_deinit(&b);
}

static void test_conversation(void **state)
{
    (void)state;
    struct buf b = {0};
    struct wire_conversation_change c = {.at = at, .name = span_str("New")};
    wire_put_conversation(&b, &c);
    assert_string_equal(proto_text(&b), "{\"event\":\"conversation\"," AT ",\"name\":\"New\"}");
    struct wire_server_msg got = parsed(&b);
    check_at(&got, WIRE_S_CONVERSATION);
    proto_assert_span(got.u.conversation.name, "New");
    assert_false(got.u.conversation.has_settings);
    for (uint32_t bits = 0; bits < 8; bits++) {
        buf_clear(&b);
        c = (struct wire_conversation_change){.at = at, .has_settings = true, .settings = bits};
        wire_put_conversation(&b, &c);
        got = parsed(&b);
        assert_true(got.u.conversation.has_settings && !got.u.conversation.name.p);
        assert_int_equal(got.u.conversation.settings, bits);
    }
    buf_deinit(&b);
}

static void test_settings(void **state)
{
    (void)state;
    struct json j;
    uint32_t s = WIRE_SEND_ADMINS;
    json_init(&j, span_str("{\"history\":\"joined\",\"x\":[],\"invite\":\"members\"}"), NULL);
    assert_true(wire_read_settings(&j, &s) && json_end(&j));
    assert_int_equal(s, WIRE_SEND_ADMINS | WIRE_HISTORY_JOINED);
    json_init(&j, span_str("{\"send\":\"members\"}"), NULL);
    assert_true(wire_read_settings(&j, &s));
    assert_int_equal(s, WIRE_HISTORY_JOINED);
    static const char *const bad[] = {"{\"send\":\"nobody\"}", "{\"send\":1}", "{\"send\":null}",
                                      "[]", "{\"history\":\"all\",\"send\":\"x\"}"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        json_init(&j, span_str(bad[i]), NULL);
        assert_false(wire_read_settings(&j, &s));
        assert_int_equal(j.err, CONFAB_INVALID);
        assert_int_equal(s, WIRE_HISTORY_JOINED);
    }
}

static void test_self(void **state)
{
    (void)state;
    static const struct {
        struct wire_self m;
        const char *text;
    } all[] = {
        {{.action = WIRE_SELF_JOINED, .target = {1, 2}},
         "\"action\":\"joined\",\"target\":\"" C1 "\"}"},
        {{.action = WIRE_SELF_LEFT, .target = {1, 2}},
         "\"action\":\"left\",\"target\":\"" C1 "\"}"},
        {{.action = WIRE_SELF_MUTE, .target = {1, 2}, .until_ms = MS1},
         "\"action\":\"mute\",\"target\":\"" C1 "\",\"until\":\"" T1 "\"}"},
        {{.action = WIRE_SELF_MUTE, .target = {1, 2}},
         "\"action\":\"mute\",\"target\":\"" C1 "\",\"until\":null}"},
        {{.action = WIRE_SELF_PIN, .target = {1, 2}, .on = true},
         "\"action\":\"pin\",\"target\":\"" C1 "\",\"pinned\":true}"},
        {{.action = WIRE_SELF_BLOCK, .user_id = 9, .on = false},
         "\"action\":\"block\",\"user_id\":\"9\",\"blocked\":false}"},
        {{.action = WIRE_SELF_HIDE, .target = {1, 2}, .hidden_from = 3, .hidden_to = 8},
         "\"action\":\"hide\",\"target\":\"" C1 "\",\"hidden\":[3,8]}"},
    };
    struct buf b = {0};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct wire_self m = all[i].m;
        m.at = at;
        buf_clear(&b);
        wire_put_self(&b, &m);
        const char *start = "{\"event\":\"self\"," AT ",";
        assert_memory_equal(b.data, start, strlen(start));
        assert_string_equal(proto_text(&b) + strlen(start), all[i].text);
        struct wire_server_msg got = parsed(&b);
        check_at(&got, WIRE_S_SELF);
        assert_int_equal(got.u.self.action, m.action);
        assert_true(conv_id_eq(got.u.self.target, m.target) && got.u.self.user_id == m.user_id &&
                    got.u.self.on == m.on);
        assert_true(got.u.self.until_ms == m.until_ms && got.u.self.hidden_from == m.hidden_from &&
                    got.u.self.hidden_to == m.hidden_to);
    }
    buf_deinit(&b);
}

static void test_session_frames(void **state)
{
    (void)state;
    struct buf b = {0};
    static const char *const features[] = {"edits", "resume", NULL};
    struct wire_hello h = {1, MS1, span_str("s"), 3, 4, 16384, 65536, 64, 30000, 100, 5, features};
    wire_put_hello(&b, &h);
    assert_string_equal(proto_text(&b),
                        "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
                        "\",\"session_id\":\"s\",\"user_id\":\"3\","
                        "\"device_id\":\"4\",\"limits\":{\"text_bytes\":16384,\"frame_bytes\":"
                        "65536,\"inflight\":64,\"mentions\":100,\"edit_window_ms\":5},"
                        "\"heartbeat_ms\":30000,\"features\":[\"edits\",\"resume\"]}");
    struct wire_server_msg m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_HELLO);
    assert_true(m.u.hello.protocol == 1 && m.u.hello.server_time_ms == MS1 &&
                m.u.hello.user_id == 3 && m.u.hello.device_id == 4);
    assert_true(m.u.hello.text_bytes == 16384 && m.u.hello.frame_bytes == 65536 &&
                m.u.hello.inflight == 64 && m.u.hello.heartbeat_ms == 30000);
    proto_assert_span(m.u.hello.session_id, "s");

    buf_clear(&b);
    struct wire_sent a = {span_str("k"), 50, {1, 2}, 7, MS1, true};
    wire_put_ack(&b, &a);
    assert_string_equal(
        proto_text(&b),
        "{\"event\":\"ack\",\"client_msg_id\":\"k\",\"message_id\":\"50\",\"conversation_id\":\"" C1
        "\",\"seq\":7,"
        "\"sent_at\":\"" T1 "\",\"status\":\"sent\",\"duplicate\":true}");
    m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_ACK);
    assert_true(m.u.ack.message_id == 50 && m.u.ack.seq == 7 && m.u.ack.sent_at_ms == MS1 &&
                m.u.ack.duplicate);
    proto_assert_span(m.u.ack.client_msg_id, "k");

    buf_clear(&b);
    struct wire_failure e = {.code = span_str("busy"),
                             .message = span_str("later"),
                             .ref = span_str("send_message"),
                             .client_msg_id = span_str("k"),
                             .retry_after_ms = 250};
    wire_put_error(&b, &e);
    m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_ERROR);
    proto_assert_span(m.u.error.code, "busy");
    proto_assert_span(m.u.error.message, "later");
    proto_assert_span(m.u.error.ref, "send_message");
    proto_assert_span(m.u.error.client_msg_id, "k");
    assert_true(m.u.error.retry_after_ms == 250 && m.u.error.field.n == 0);
    assert_true(conv_id_is_zero(m.u.error.conv));

    buf_clear(&b);
    e = (struct wire_failure){.code = span_str("busy"),
                              .message = span_str("later"),
                              .ref = span_str("ack"),
                              .conv = {1, 2},
                              .retry_after_ms = 250};
    wire_put_error(&b, &e);
    assert_string_equal(proto_text(&b),
                        "{\"event\":\"error\",\"code\":\"busy\",\"message\":\"later\",\"ref\":"
                        "\"ack\",\"conversation_id\":\"" C1 "\",\"retry_after_ms\":250}");
    m = parsed(&b);
    assert_true(conv_id_eq(m.u.error.conv, (struct conv_id){1, 2}));

    buf_clear(&b);
    struct wire_receipt r = {{1, 2}, 5, 7, 50, 3, WIRE_READ, MS1};
    wire_put_receipt(&b, &r);
    assert_string_equal(proto_text(&b), "{\"event\":\"delivery_receipt\",\"conversation_id\":\"" C1
                                        "\",\"from_seq\":5,\"seq\":7,\"message_id\":\"50\","
                                        "\"user_id\":\"3\",\"status\":\"read\",\"at\":\"" T1 "\"}");
    m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_DELIVERY_RECEIPT);
    assert_false(wire_in_sequence(m.event));
    assert_true(m.u.receipt.from_seq == 5 && m.u.receipt.seq == 7 && m.u.receipt.message_id == 50 &&
                m.u.receipt.user_id == 3);
    assert_true(m.u.receipt.status == WIRE_READ && m.u.receipt.at_ms == MS1);

    buf_clear(&b);
    wire_put_caught_up(&b, span_str("tok"), MS1, false);
    m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_CAUGHT_UP);
    proto_assert_span(m.u.caught_up.since, "tok");
    assert_true(m.u.caught_up.server_time_ms == MS1 && !m.u.caught_up.reset);
    buf_clear(&b);
    wire_put_caught_up(&b, span_str("tok"), MS1, true);
    assert_true(parsed(&b).u.caught_up.reset);
    buf_clear(&b);
    wire_put_resync(&b);
    assert_int_equal(parsed(&b).event, WIRE_S_RESYNC);
    buf_clear(&b);
    wire_put_reconnect(&b, 1500);
    m = parsed(&b);
    assert_true(m.event == WIRE_S_RECONNECT && m.u.delay_ms == 1500);
    buf_clear(&b);
    wire_put_heartbeat(&b);
    assert_int_equal(parsed(&b).event, WIRE_S_HEARTBEAT);
    buf_clear(&b);
    buf_put_str(&b, "{\"event\":\"weather\",\"user_id\":5}");
    m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_UNKNOWN);
    proto_assert_span(m.name, "weather");
    buf_deinit(&b);
}

static void test_counter(void **state)
{
    (void)state;
    struct buf b = {0};
    struct wire_counter in = {
        .conv = {1, 2}, .seq = 9, .event_id = 90, .sent_at_ms = 1738311330123, .messages = 7};
    wire_put_counter(&b, &in);
    struct wire_server_msg m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_COUNTER);
    assert_false(wire_in_sequence(m.event));
    assert_true(conv_id_eq(m.u.counter.conv, in.conv));
    assert_int_equal(m.u.counter.seq, 9);
    assert_int_equal(m.u.counter.event_id, 90);
    assert_int_equal(m.u.counter.sent_at_ms, in.sent_at_ms);
    assert_int_equal(m.u.counter.messages, 7);
    buf_put_u8(&b, 0);
    assert_null(strstr((char *)b.data, "last_message_id"));
    assert_null(strstr((char *)b.data, "preview"));
    in.last_message_id = 80;
    in.preview = (struct wire_preview){.message_id = 80,
                                       .from = 3,
                                       .content = span_str("hi \"there\""),
                                       .type = span_str("text"),
                                       .sent_at_ms = 1738311330000};
    buf_clear(&b);
    wire_put_counter(&b, &in);
    m = parsed(&b);
    assert_int_equal(m.u.counter.seq, 9);
    buf_put_u8(&b, 0);
    assert_non_null(strstr((char *)b.data, "\"last_message_id\":\"80\",\"preview\":{"));
    assert_non_null(strstr((char *)b.data, "\"content\":\"hi \\\"there\\\"\""));
    buf_deinit(&b);
}

static void test_typing(void **state)
{
    (void)state;
    struct buf b = {0};
    struct wire_typist in = {.conv = {1, 2}, .user_id = 7, .active = true, .expires_in_ms = 6000};
    wire_put_typing(&b, &in);
    struct wire_server_msg m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_TYPING);
    assert_true(conv_id_eq(m.u.typing.conv, in.conv) && m.u.typing.user_id == 7);
    assert_true(m.u.typing.active && m.u.typing.expires_in_ms == 6000);
    in.active = false;
    in.expires_in_ms = 0;
    buf_clear(&b);
    wire_put_typing(&b, &in);
    m = parsed(&b);
    assert_true(!m.u.typing.active && m.u.typing.expires_in_ms == 0);
    buf_deinit(&b);
}

static void test_page(void **state)
{
    (void)state;
    struct buf b = {0};
    struct json_writer w;
    struct wire_conv full = {
        .conv = {1, 2},
        .kind = WIRE_GROUP,
        .name = span_str("T\"eam"),
        .role = WIRE_ROLE_ADMIN,
        .members = 3,
        .head = 120,
        .head_id = 50,
        .last_message_ms = MS1,
        .preview = {49, 3, span_str("p\n"), span_str("text"), MS1},
        .unread = 4,
        .mentions = 1,
        .muted = true,
        .pinned = true,
        .delivered = 118,
        .read = 116,
        .covered_from = 119,
        .covered_to = 120,
        .limited = true,
        .reset = true,
    };
    struct wire_conv direct = {.conv = {5, 6},
                               .kind = WIRE_DIRECT,
                               .with = 9,
                               .role = WIRE_ROLE_MEMBER,
                               .members = 2,
                               .covered_from = 1};
    struct wire_conv left = {.conv = {7, 8}, .kind = WIRE_GROUP, .left = true};
    wire_page_begin(&w, &b);
    wire_page_conv(&w, &full);
    for (uint64_t seq = 119; seq <= 120; seq++) {
        struct wire_new_message m = {.at = at, .content = span_str("x"), .type = span_str("text")};
        m.at.seq = seq;
        wire_page_event(&w);
        wire_put_new_message(&b, &m);
    }
    wire_page_conv_end(&w);
    wire_page_conv(&w, &direct);
    wire_page_conv_end(&w);
    wire_page_conv(&w, &left);
    wire_page_conv_end(&w);
    wire_page_end(&w);

    struct wire_server_msg m = parsed(&b);
    assert_int_equal(m.event, WIRE_S_CONVERSATIONS);
    struct json it;
    struct json events;
    struct scratch s;
    struct wire_conv c;
    struct span frame;
    scratch_init(&s, block, sizeof(block));
    wire_list_begin(&it, m.u.page, &s);
    assert_true(wire_conv_next(&it, &c));
    assert_true(conv_id_eq(c.conv, full.conv) && c.kind == WIRE_GROUP &&
                c.role == WIRE_ROLE_ADMIN && c.members == 3 && !c.left);
    proto_assert_span(c.name, "T\"eam");
    assert_true(c.head == 120 && c.head_id == 50 && c.last_message_ms == MS1 && c.unread == 4 &&
                c.mentions == 1);
    assert_true(c.preview.message_id == 49 && c.preview.from == 3 && c.preview.sent_at_ms == MS1);
    proto_assert_span(c.preview.content, "p\n");
    proto_assert_span(c.preview.type, "text");
    assert_true(c.muted && c.pinned && c.limited && c.reset && c.delivered == 118 && c.read == 116);
    assert_true(c.covered_from == 119 && c.covered_to == 120);
    wire_list_begin(&events, c.events, NULL);
    for (uint64_t seq = 119; seq <= 120; seq++) {
        struct wire_server_msg e;
        struct wire_error err;
        assert_true(wire_event_next(&events, &frame));
        assert_int_equal(wire_parse_server(frame, &s, &e, &err), CONFAB_OK);
        assert_true(e.event == WIRE_S_NEW_MESSAGE && e.u.at.seq == seq);
    }
    assert_false(wire_event_next(&events, &frame));
    assert_true(wire_conv_next(&it, &c));
    assert_true(conv_id_eq(c.conv, direct.conv) && c.kind == WIRE_DIRECT && c.with == 9 &&
                !c.name.p && c.preview.message_id == 0);
    assert_true(c.covered_to < c.covered_from && !c.reset && !c.limited && c.last_message_ms == 0);
    assert_true(wire_conv_next(&it, &c));
    assert_true(conv_id_eq(c.conv, left.conv) && c.left && c.kind == WIRE_GROUP);
    assert_false(wire_conv_next(&it, &c));
    assert_true(json_end(&it));

    buf_clear(&b);
    wire_page_begin(&w, &b);
    wire_page_end(&w);
    assert_string_equal(proto_text(&b), "{\"event\":\"conversations\",\"conversations\":[]}");
    buf_deinit(&b);
}

struct row {
    const char *name;
    const char *frame;
    const char *field;
};

static const struct row refused[] = {
    {"not_json", "x", NULL},
    {"no_event", "{}", "event"},
    {"event_number", "{\"event\":1}", "event"},
    {"message_no_seq", "{\"event\":\"new_message\",\"conversation_id\":\"" C1 "\"}", "seq"},
    {"message_no_conversation", "{\"event\":\"new_message\",\"seq\":1}", "conversation_id"},
    {"message_no_content", "{\"event\":\"new_message\"," AT ",\"type\":\"text\"}", "content"},
    {"message_bad_mentions",
     "{\"event\":\"new_message\"," AT ",\"content\":\"a\",\"type\":\"text\",\"mentions\":[5]}",
     "mentions"},
    {"message_bad_time",
     "{\"event\":\"new_message\",\"conversation_id\":\"" C1
     "\",\"seq\":1,\"event_id\":\"1\",\"sent_at\":\"now\"}",
     "sent_at"},
    {"edited_no_target", "{\"event\":\"message_edited\"," AT ",\"message_id\":\"1\"}",
     "target_seq"},
    {"membership_no_members", "{\"event\":\"membership\"," AT ",\"action\":\"add\"}", "members"},
    {"membership_bad_members",
     "{\"event\":\"membership\"," AT ",\"action\":\"add\",\"members\":[{\"role\":\"owner\"}]}",
     "members"},
    {"conversation_bad_settings", "{\"event\":\"conversation\"," AT ",\"settings\":[]}",
     "settings"},
    {"self_no_action", "{\"event\":\"self\"," AT "}", "action"},
    {"self_bad_range",
     "{\"event\":\"self\"," AT ",\"action\":\"hide\",\"target\":\"" C1 "\",\"hidden\":[1]}",
     "hidden"},
    {"self_long_range",
     "{\"event\":\"self\"," AT ",\"action\":\"hide\",\"target\":\"" C1 "\",\"hidden\":[1,2,3]}",
     "hidden"},
    {"receipt_bad_status",
     "{\"event\":\"delivery_receipt\",\"conversation_id\":\"" C1
     "\",\"from_seq\":1,\"seq\":1,\"user_id\":\"1\",\"status\":\"x\",\"at\":\"" T1 "\"}",
     "status"},
    {"hello_bad_limits",
     "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
     "\",\"user_id\":\"1\",\"limits\":{\"inflight\":-1}}",
     "limits"},
    {"hello_limit_too_large",
     "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
     "\",\"user_id\":\"1\",\"limits\":{\"inflight\":4294967296}}",
     "limits"},
    {"hello_limits_string",
     "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
     "\",\"user_id\":\"1\",\"limits\":\"{}\"}",
     "limits"},
    {"hello_limits_list",
     "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
     "\",\"user_id\":\"1\",\"limits\":[]}",
     "limits"},
    {"conversations_missing", "{\"event\":\"conversations\"}", "conversations"},
    {"conversations_object", "{\"event\":\"conversations\",\"conversations\":{}}", "conversations"},
    {"caught_up_no_since", "{\"event\":\"caught_up\",\"server_time\":\"" T1 "\"}", "since"},
    {"error_no_code", "{\"event\":\"error\"}", "code"},
};

static void run_refused(void **state)
{
    const struct row *row = *state;
    struct wire_server_msg m;
    struct wire_error err;
    struct scratch s;
    scratch_init(&s, block, sizeof(block));
    assert_int_equal(wire_parse_server(span_str(row->frame), &s, &m, &err), CONFAB_INVALID);
    assert_string_equal(err.field ? err.field : "", row->field ? row->field : "");
    assert_non_null(err.message);
}

static void test_bad_entries(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "[{}]",
        "[1]",
        "[{\"conversation_id\":\"" C1 "\",\"events\":{}}]",
        "[{\"conversation_id\":\"" C1 "\",\"covered\":[1]}]",
        "[{\"conversation_id\":\"" C1 "\",\"covered\":[1,2,3]}]",
        "[{\"conversation_id\":\"" C1 "\",\"head\":\"1\"}]",
        "[{\"conversation_id\":\"" C1 "\",\"preview\":[]}]",
        "[{\"conversation_id\":\"" C1 "\",\"cursors\":{\"read\":-1}}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct json it;
        struct wire_conv c;
        wire_list_begin(&it, span_str(bad[i]), NULL);
        assert_false(wire_conv_next(&it, &c));
        assert_false(json_ok(&it));
    }
}

/* What may be left out, or be null. */
static void test_optional(void **state)
{
    (void)state;
    struct json it;
    struct wire_conv c;
    wire_list_begin(&it,
                    span_str("[{\"conversation_id\":\"" C1
                             "\",\"name\":null,\"with\":null,\"preview\":null,\"x\":{}}]"),
                    NULL);
    assert_true(wire_conv_next(&it, &c));
    assert_true(!c.name.p && c.with == 0 && c.events.n == 0 && c.covered_to < c.covered_from);
    assert_false(wire_conv_next(&it, &c));
    assert_true(json_end(&it));
    struct buf b = {0};
    buf_put_str(&b, "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"" T1
                    "\",\"user_id\":\"1\"}");
    struct wire_server_msg m = parsed(&b);
    assert_true(m.event == WIRE_S_HELLO && m.u.hello.inflight == 0 && m.u.hello.device_id == 0);
    buf_deinit(&b);
}

static void test_names(void **state)
{
    (void)state;
    for (int i = WIRE_ROLE_MEMBER; i <= WIRE_ROLE_GUEST; i++) {
        assert_int_equal(wire_role_parse(span_str(wire_role_text((enum wire_role)i))), i);
    }
    for (int i = WIRE_DIRECT; i <= WIRE_SELF; i++) {
        assert_int_equal(wire_kind_parse(span_str(wire_kind_text((enum wire_kind)i))), i);
    }
    for (int i = WIRE_DELIVERED; i <= WIRE_READ; i++) {
        assert_int_equal(wire_status_parse(span_str(wire_status_text((enum wire_status)i))), i);
    }
    assert_int_equal(wire_role_parse(span_str("")), WIRE_ROLE_NONE);
    assert_int_equal(wire_role_parse(span_str("Owner")), WIRE_ROLE_NONE);
    assert_string_equal(wire_role_text((enum wire_role)99), "");
}

int main(void)
{
    struct proto_cases cases = {.n = 0};
    proto_case(&cases, "wire_server", "new_message", test_new_message, NULL);
    proto_case(&cases, "wire_server", "edited_deleted", test_edited_deleted, NULL);
    proto_case(&cases, "wire_server", "membership", test_membership, NULL);
    proto_case(&cases, "wire_server", "conversation", test_conversation, NULL);
    proto_case(&cases, "wire_server", "settings", test_settings, NULL);
    proto_case(&cases, "wire_server", "self", test_self, NULL);
    proto_case(&cases, "wire_server", "session_frames", test_session_frames, NULL);
    proto_case(&cases, "wire_server", "counter", test_counter, NULL);
    proto_case(&cases, "wire_server", "typing", test_typing, NULL);
    proto_case(&cases, "wire_server", "page", test_page, NULL);
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        proto_case(&cases, "wire_server_refused", refused[i].name, run_refused, &refused[i]);
    }
    proto_case(&cases, "wire_server", "bad_entries", test_bad_entries, NULL);
    proto_case(&cases, "wire_server", "optional", test_optional, NULL);
    proto_case(&cases, "wire_server", "names", test_names, NULL);
    return proto_run("wire_server", &cases);
}
