/* State of a conversation: canonical encoding, visibility, cursors, and the rules of single kinds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/conv.h"
#include "core/kind.h"

static struct random_seeded rnd;

static uint64_t below(uint64_t n)
{
    return random_below(&rnd.base, n);
}

/* Folds an event that follows the head; its time is its seq. */
static enum confab_err fold(struct conv *c, struct event ev)
{
    const struct event_kind *k = event_kind_of(ev.kind);
    ev.seq = c->head_seq + 1;
    ev.ord = c->ord + ((k->flags & KIND_COUNTS) ? 1 : 0);
    ev.id = message_id_make(ID_EPOCH_MS + ev.seq, 5, 1);
    return conv_fold(c, &ev);
}

static void create(struct conv *c, uint64_t owner, uint64_t first, uint32_t n, uint64_t settings)
{
    struct buf members = {0};
    event_members_add(&members, owner, ROLE_OWNER);
    for (uint32_t i = 0; i < n; i++) {
        event_members_add(&members, first + i, ROLE_MEMBER);
    }
    struct event ev = {.kind = EVENT_CREATE,
                       .actor = owner,
                       .type = CONV_GROUP,
                       .value = settings,
                       .text = span_str("g"),
                       .members = span_of(members.data, members.len)};
    assert_int_equal(fold(c, ev), CONFAB_OK);
    buf_deinit(&members);
}

static enum confab_err decide(const struct conv *c, uint64_t actor, struct event in,
                              const struct event *target, struct event *out)
{
    struct command cmd = {.type = COMMAND_EVENT, .actor = actor, .in = in};
    struct facts facts = {.now_ms = ID_EPOCH_MS + 5, .target = target};
    static struct buf scratch;
    buf_clear(&scratch);
    const char *field = NULL;
    return conv_decide(c, &cmd, &facts, out, &scratch, &field);
}

/* A random history over a handful of users; every step is one that decide would let through. */
static void random_fold(struct conv *c, int steps)
{
    create(c, 1, 2, (uint32_t)below(90), below(2) ? SETTING_HISTORY_JOINED : 0);
    for (int i = 0; i < steps; i++) {
        uint64_t u = 1 + below(100);
        struct event ev = {.actor = 1 + below(100)};
        struct buf list = {0};
        switch (below(6)) {
        case 0:
            ev.kind = EVENT_ADD;
            if (!conv_active(c, u)) {
                event_members_add(&list, u, ROLE_MEMBER);
            }
            ev.members = span_of(list.data, list.len);
            break;
        case 1:
            ev.kind = EVENT_REMOVE;
            ev.user = u;
            break;
        case 2:
            ev.kind = EVENT_ROLE;
            ev.user = u;
            ev.value = 1 + below(3);
            break;
        case 3:
            ev.kind = EVENT_RENAME;
            ev.text = span_str("another name");
            break;
        default:
            ev.kind = EVENT_MESSAGE;
            ev.text = span_str("text with \xc3\xa4 in it");
            if (below(3) == 0) {
                buf_put_varint(&list, 1 + below(100));
                ev.mentions = span_of(list.data, list.len);
            }
        }
        assert_int_equal(fold(c, ev), CONFAB_OK);
        buf_deinit(&list);
        struct member *m = conv_member(c, 1 + below(100));
        if (m && below(2)) {
            uint64_t from = 1 + below(c->head_seq);
            assert_int_equal(member_hide(m, (struct range){from, from + below(4)}), CONFAB_OK);
        }
    }
}

static void test_conv__encoding_round_trips(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++) {
        random_seeded_init(&rnd, seed);
        struct conv a;
        struct conv b;
        conv_init(&a, (struct conv_id){1, 2});
        conv_init(&b, (struct conv_id){1, 2});
        random_fold(&a, 80);
        for (int all = 0; all < 2; all++) {
            struct buf x = {0};
            struct buf y = {0};
            bool external;
            conv_deinit(&b);
            conv_encode(&x, &a, all);
            assert_int_equal(conv_decode(&b, span_of(x.data, x.len), &external), CONFAB_OK);
            assert_int_equal(external, !all && a.nmembers > CONV_INLINE_MEMBERS);
            for (uint32_t i = 0; external && i < a.nmembers; i++) {
                struct buf row = {0};
                conv_encode_member(&row, &a.members[i]);
                assert_int_equal(conv_decode_member(&b, span_of(row.data, row.len)), CONFAB_OK);
                buf_deinit(&row);
            }
            assert_int_equal(a.nactive, b.nactive);
            buf_clear(&x);
            conv_encode(&x, &a, true);
            conv_encode(&y, &b, true);
            assert_int_equal(x.len, y.len);
            assert_memory_equal(x.data, y.data, x.len);
            buf_deinit(&x);
            buf_deinit(&y);
        }
        conv_deinit(&a);
        conv_deinit(&b);
    }
}

static void test_conv__damaged_encoding_is_refused(void **state)
{
    (void)state;
    random_seeded_init(&rnd, 9);
    struct conv a;
    conv_init(&a, (struct conv_id){1, 2});
    random_fold(&a, 60);
    struct buf x = {0};
    conv_encode(&x, &a, true);
    for (size_t n = 0; n < x.len; n++) {
        struct conv b;
        bool external;
        conv_init(&b, a.id);
        assert_int_not_equal(conv_decode(&b, span_of(x.data, n), &external), CONFAB_OK);
        conv_deinit(&b);
    }
    buf_deinit(&x);
    conv_deinit(&a);
}

static void test_conv__visibility_equals_a_plain_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        random_seeded_init(&rnd, seed);
        struct conv c;
        conv_init(&c, (struct conv_id){1, 2});
        bool joined_only = below(2);
        create(&c, 1, 2, 1, joined_only ? SETTING_HISTORY_JOINED : 0);
        bool sees[256] = {false};
        bool in = true;
        sees[1] = true;
        for (uint64_t seq = 2; seq < 120; seq++) {
            struct buf list = {0};
            struct event ev = {.kind = EVENT_MESSAGE, .actor = 1, .text = span_str("x")};
            if (below(8) == 0) {
                ev.kind = in ? EVENT_REMOVE : EVENT_ADD;
                ev.user = 2;
                event_members_add(&list, 2, ROLE_MEMBER);
                ev.members = span_of(list.data, in ? 0 : list.len);
                ev.text = (struct span){0};
            }
            assert_int_equal(fold(&c, ev), CONFAB_OK);
            buf_deinit(&list);
            if (ev.kind == EVENT_ADD && !joined_only) {
                memset(sees, 1, seq);
            }
            sees[seq] = in || ev.kind == EVENT_ADD;
            if (ev.kind != EVENT_MESSAGE) {
                in = !in;
            }
        }
        const struct member *m = conv_member(&c, 2);
        for (uint64_t seq = 1; seq < 120; seq++) {
            assert_int_equal(member_sees(m, seq), sees[seq]);
        }
        conv_deinit(&c);
    }
}

static void test_conv__hidden_ranges_equal_a_plain_model(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        random_seeded_init(&rnd, seed);
        struct member m = {.user = 1, .visible_from = 1, .visible_to = UINT64_MAX};
        bool hidden[300] = {false};
        for (int i = 0; i < 60; i++) {
            uint64_t from = 1 + below(250);
            uint64_t to = from + below(12);
            assert_int_equal(member_hide(&m, (struct range){from, to}), CONFAB_OK);
            memset(hidden + from, 1, to - from + 1);
        }
        for (uint64_t seq = 1; seq < 280; seq++) {
            assert_int_equal(member_sees(&m, seq), !hidden[seq]);
        }
        free(m.extra->hidden);
        free(m.extra);
    }
}

static void test_conv__cursors_only_go_forward(void **state)
{
    (void)state;
    struct member m = {.user = 1};
    assert_int_equal(member_move_cursors(&m, 5, 50, 0, 0, 0), CURSOR_DELIVERED);
    assert_int_equal(member_move_cursors(&m, 4, 60, 0, 0, 0), 0);
    assert_int_equal(m.delivered_ms, 50);
    assert_int_equal(member_move_cursors(&m, 0, 0, 7, 70, 6), CURSOR_DELIVERED | CURSOR_READ);
    assert_int_equal(m.delivered_seq, 7);
    assert_int_equal(member_move_cursors(&m, 0, 0, 6, 80, 5), 0);
    assert_int_equal(m.read_ord, 6);
}

static void test_kind__fold_refuses_what_does_not_follow(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, (struct conv_id){1, 2});
    create(&c, 1, 2, 2, 0);
    struct event ev = {.kind = EVENT_MESSAGE, .actor = 1, .seq = 3, .ord = 1};
    assert_int_equal(conv_fold(&c, &ev), CONFAB_CORRUPT);
    ev = (struct event){.kind = 60, .actor = 1, .seq = 2};
    assert_int_equal(conv_fold(&c, &ev), CONFAB_VERSION);
    conv_deinit(&c);
}

static void test_kind__message_refusals(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, (struct conv_id){1, 2});
    create(&c, 1, 2, 2, SETTING_SEND_ADMINS);
    struct event out;
    char big[EVENT_TEXT_MAX + 1];
    memset(big, 'a', sizeof(big));
    struct event in = {.kind = EVENT_MESSAGE, .text = span_str("x")};
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_OK);
    assert_int_equal(decide(&c, 2, in, NULL, &out), CONFAB_FORBIDDEN);
    assert_int_equal(decide(&c, 9, in, NULL, &out), CONFAB_NOT_FOUND);
    in.text = span_of(big, sizeof(big));
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_TOO_LARGE);
    in.text = span_of(big, EVENT_TEXT_MAX);
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_OK);
    in.text = span_str("");
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_INVALID);
    in.text = span_str("\xff");
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_INVALID);
    in.text = span_str("x");
    in.type = 7;
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_UNSUPPORTED);
    in.type = 0;
    in.target_id = 77;
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_NOT_FOUND);
    in.target_id = 0;
    in.cmid = span_of(big, EVENT_CMID_MAX + 1);
    assert_int_equal(decide(&c, 1, in, NULL, &out), CONFAB_INVALID);
    conv_deinit(&c);
}

static void test_kind__a_group_is_never_ownerless(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        random_seeded_init(&rnd, seed);
        struct conv c;
        conv_init(&c, (struct conv_id){1, 2});
        create(&c, 1, 2, 5, 0);
        for (int i = 0; i < 60 && c.nactive > 0; i++) {
            static const uint8_t kinds[] = {EVENT_LEAVE, EVENT_REMOVE, EVENT_ROLE};
            struct event in = {
                .kind = kinds[below(3)], .user = 1 + below(6), .value = 1 + below(3)};
            struct event out;
            if (!decide(&c, 1 + below(6), in, NULL, &out)) {
                assert_int_equal(fold(&c, out), CONFAB_OK);
            }
            uint32_t owners = 0;
            for (uint32_t k = 0; k < c.nmembers; k++) {
                owners += c.members[k].role == ROLE_OWNER;
            }
            assert_true(owners > 0 || c.nactive == 0);
        }
        conv_deinit(&c);
    }
}

static void test_kind__add_takes_a_thousand_and_no_more(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, (struct conv_id){1, 2});
    create(&c, 1, 2, 2, 0);
    for (uint32_t n = 1000; n <= 1001; n++) {
        struct buf list = {0};
        for (uint32_t i = 0; i < n; i++) {
            event_members_add(&list, 100 + i, ROLE_MEMBER);
        }
        struct event in = {.kind = EVENT_ADD, .members = span_of(list.data, list.len)};
        struct event out;
        assert_int_equal(decide(&c, 2, in, NULL, &out), n == 1000 ? CONFAB_OK : CONFAB_TOO_LARGE);
        if (n == 1000) {
            assert_int_equal(fold(&c, out), CONFAB_OK);
            assert_int_equal(c.nactive, 1003);
            assert_int_equal(c.nfollowups, 1003);
            assert_int_equal(decide(&c, 2, in, NULL, &out), CONFAB_EXISTS);
        }
        buf_deinit(&list);
    }
    struct event in = {.kind = EVENT_ADD, .members = span_of(NULL, 0)};
    struct event out;
    assert_int_equal(decide(&c, 2, in, NULL, &out), CONFAB_INVALID);
    conv_deinit(&c);
}

static void test_kind__edits_and_deletes_need_the_right(void **state)
{
    (void)state;
    struct conv c;
    conv_init(&c, (struct conv_id){1, 2});
    create(&c, 1, 2, 2, 0);
    struct event msg = {.kind = EVENT_MESSAGE, .seq = 2, .id = 9, .actor = 2};
    struct event in = {.kind = EVENT_EDIT, .target_id = 9, .text = span_str("new")};
    struct event out;
    assert_int_equal(decide(&c, 2, in, &msg, &out), CONFAB_OK);
    assert_int_equal(decide(&c, 1, in, &msg, &out), CONFAB_FORBIDDEN);
    assert_int_equal(decide(&c, 2, in, NULL, &out), CONFAB_NOT_FOUND);
    in.kind = EVENT_DELETE;
    assert_int_equal(decide(&c, 1, in, &msg, &out), CONFAB_OK);
    assert_int_equal(decide(&c, 3, in, &msg, &out), CONFAB_FORBIDDEN);
    msg.flags = EVENT_DELETED;
    assert_int_equal(decide(&c, 2, in, &msg, &out), CONFAB_NOT_FOUND);
    msg.flags = 0;
    msg.kind = EVENT_RENAME;
    assert_int_equal(decide(&c, 2, in, &msg, &out), CONFAB_NOT_FOUND);
    conv_deinit(&c);
}

static void test_event__patches_are_ordered_and_idempotent(void **state)
{
    (void)state;
    struct event msg = {.kind = EVENT_MESSAGE, .seq = 2, .text = span_str("one")};
    struct event e1 = {.kind = EVENT_EDIT, .seq = 5, .target_seq = 2, .text = span_str("two")};
    struct event e2 = {.kind = EVENT_EDIT,
                       .seq = 7,
                       .target_seq = 2,
                       .prev_edit_seq = 5,
                       .text = span_str("three")};
    struct event del = {.kind = EVENT_DELETE, .seq = 9, .target_seq = 2, .prev_edit_seq = 7};
    assert_true(event_patch(&e1, &msg));
    assert_true(event_patch(&e2, &msg));
    assert_false(event_patch(&e1, &msg));
    assert_true(span_is(msg.text, "three"));
    assert_true(event_patch(&e2, &e1));
    assert_int_equal(e1.text.n, 0);
    assert_true(event_patch(&del, &msg));
    assert_false(event_patch(&e2, &msg));
    assert_int_equal(msg.text.n, 0);
    assert_true(event_patch(&del, &e2));
    assert_int_equal(e2.text.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conv__encoding_round_trips),
        cmocka_unit_test(test_conv__damaged_encoding_is_refused),
        cmocka_unit_test(test_conv__visibility_equals_a_plain_model),
        cmocka_unit_test(test_conv__hidden_ranges_equal_a_plain_model),
        cmocka_unit_test(test_conv__cursors_only_go_forward),
        cmocka_unit_test(test_kind__fold_refuses_what_does_not_follow),
        cmocka_unit_test(test_kind__message_refusals),
        cmocka_unit_test(test_kind__a_group_is_never_ownerless),
        cmocka_unit_test(test_kind__add_takes_a_thousand_and_no_more),
        cmocka_unit_test(test_kind__edits_and_deletes_need_the_right),
        cmocka_unit_test(test_event__patches_are_ordered_and_idempotent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
