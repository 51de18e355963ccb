/*
 * Commands that no gateway would send, since it judges their form first: each is refused for its
 * reason, and changes nothing. And rows of the store that are cut short: told, never misread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "core/chunk.h"
#include "core/conv.h"
#include "core/rows.h"
#include "world.h"

enum where { GROUP, DIRECT, SELF, FRESH };

struct bad {
    uint8_t kind;
    enum where where;
    const char *text;
    size_t text_len;     /* 0: of the string */
    const char *members; /* ids of a digit each, in their order; "!": cut off */
    uint64_t user;
    uint64_t value;
    enum confab_err err;
    bool target; /* of a message that is there */
};

static const char LONG_TEXT[EVENT_TEXT_MAX + 2];
static const struct bad BAD[] = {
    {.kind = 200, .where = GROUP, .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = GROUP, .text = "tea", .members = "2", .err = CONFAB_EXISTS},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "", .members = "2", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "a\nb", .members = "2", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "a\x7f", .members = "2", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "\xff", .members = "2", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE,
     .where = FRESH,
     .text = LONG_TEXT,
     .text_len = EVENT_NAME_MAX + 1,
     .members = "2",
     .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "tea", .members = "32", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE, .where = FRESH, .text = "tea", .members = "2!", .err = CONFAB_INVALID},
    {.kind = EVENT_CREATE,
     .where = FRESH,
     .text = "tea",
     .members = "2",
     .value = 1ULL << 60,
     .err = CONFAB_INVALID},
    {.kind = EVENT_ADD, .where = DIRECT, .members = "5", .err = CONFAB_CONFLICT},
    {.kind = EVENT_ADD, .where = GROUP, .members = "65", .err = CONFAB_INVALID},
    {.kind = EVENT_ADD, .where = GROUP, .members = "5!", .err = CONFAB_INVALID},
    {.kind = EVENT_ADD, .where = GROUP, .members = "", .err = CONFAB_INVALID},
    {.kind = EVENT_REMOVE, .where = DIRECT, .user = 2, .err = CONFAB_CONFLICT},
    {.kind = EVENT_ROLE, .where = DIRECT, .user = 2, .value = 1, .err = CONFAB_CONFLICT},
    {.kind = EVENT_LEAVE, .where = DIRECT, .err = CONFAB_CONFLICT},
    {.kind = EVENT_RENAME, .where = DIRECT, .text = "tea", .err = CONFAB_CONFLICT},
    {.kind = EVENT_RENAME, .where = GROUP, .text = "", .err = CONFAB_INVALID},
    {.kind = EVENT_RENAME, .where = GROUP, .text = "\xff", .err = CONFAB_INVALID},
    {.kind = EVENT_SETTINGS, .where = DIRECT, .err = CONFAB_CONFLICT},
    {.kind = EVENT_EDIT, .where = GROUP, .text = "", .target = true, .err = CONFAB_INVALID},
    {.kind = EVENT_EDIT, .where = GROUP, .text = "\xff", .target = true, .err = CONFAB_INVALID},
    {.kind = EVENT_EDIT,
     .where = GROUP,
     .text = LONG_TEXT,
     .text_len = EVENT_TEXT_MAX + 1,
     .target = true,
     .err = CONFAB_TOO_LARGE},
    {.kind = EVENT_BLOCK, .where = SELF, .user = 0, .value = 1, .err = CONFAB_INVALID},
    {.kind = EVENT_BLOCK, .where = SELF, .user = 1, .value = 1, .err = CONFAB_INVALID},
    {.kind = EVENT_BLOCK, .where = SELF, .user = 2, .value = 2, .err = CONFAB_INVALID},
    {.kind = EVENT_PIN, .where = SELF, .value = 2, .err = CONFAB_INVALID},
};

static void test_commands__bad_ones_change_nothing(void **state)
{
    struct world *w = *state;
    uint64_t id = 0;
    struct conv_id group = world_group(w, 1, "tea", 2, 3);
    world_say(w, 1, group, "hello", &id);
    assert_int_equal(world_err(w, world_message(1, (struct conv_id){0, 0}, 2, "k", "hi")),
                     CONFAB_OK);
    uint32_t before = w->npublished;
    for (size_t i = 0; i < ARRAY_LEN(BAD); i++) {
        const struct bad *b = &BAD[i];
        struct conv_id where[] = {group, conv_id_direct(1, 2), conv_id_self(1), {70, i + 1}};
        struct command *c =
            world_event(w, 1, b->target ? (struct conv_id){0, 0} : where[b->where], b->kind);
        struct buf list = {0};
        for (const char *m = b->members ? b->members : ""; *m; m++) {
            if (*m == '!') {
                buf_put_u8(&list, 0x80);
            } else {
                event_members_add(&list, (uint64_t)(*m - '0'), ROLE_MEMBER);
            }
        }
        size_t n = b->text_len ? b->text_len : strlen(b->text ? b->text : "");
        assert_int_equal(command_set_span(c, &c->in.text, span_of(b->text, n)), CONFAB_OK);
        assert_int_equal(command_set_span(c, &c->in.members, span_of(list.data, list.len)),
                         CONFAB_OK);
        buf_deinit(&list);
        c->in.user = b->user;
        c->in.value = b->value;
        c->in.target_id = b->target ? id : 0;
        if (b->where == SELF) {
            c->in.conv = group;
        }
        enum confab_err err = world_err(w, c);
        if (err != b->err) {
            fail_msg("case %zu: %s and not %s", i, err_text(err), err_text(b->err));
        }
        assert_int_equal(w->npublished, before);
    }
}

/* Every beginning of a value but the whole of it. */
static void test_commands__rows_that_are_cut(void **state)
{
    (void)state;
    struct chunk_codec *codec = NULL;
    struct buf records = {0};
    struct buf value = {0};
    struct buf out = {0};
    struct buf one = {0};
    assert_int_equal(chunk_codec_new(&codec), CONFAB_OK);
    for (int i = 0; i < 20; i++) {
        struct event ev = {.seq = (uint64_t)i + 1,
                           .id = (uint64_t)i + 1,
                           .kind = EVENT_MESSAGE,
                           .actor = 1,
                           .text = span_str("words that come again and again")};
        buf_clear(&one);
        event_encode(&one, &ev);
        buf_put_blob(&records, one.data, one.len);
    }
    assert_int_equal(chunk_encode(codec, &value, span_of(records.data, records.len), 20, false),
                     CONFAB_OK);
    uint32_t count = 0;
    for (size_t n = 0; n < value.len; n++) {
        buf_clear(&out);
        assert_int_not_equal(chunk_decode(codec, &out, span_of(value.data, n), &count), CONFAB_OK);
    }
    buf_clear(&out);
    assert_int_equal(chunk_decode(codec, &out, span_of(value.data, value.len), &count), CONFAB_OK);
    assert_int_equal(count, 20);
    assert_int_equal(out.len, records.len);
    /* A byte is another one: told, since the value has a checksum. */
    for (size_t n = 0; n < value.len; n++) {
        value.data[n] ^= 0x41;
        buf_clear(&out);
        assert_int_not_equal(chunk_decode(codec, &out, span_of(value.data, value.len), &count),
                             CONFAB_OK);
        value.data[n] ^= 0x41;
    }
    chunk_codec_free(codec);
    buf_deinit(&records);
    buf_deinit(&value);
    buf_deinit(&out);
    buf_deinit(&one);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_commands__bad_ones_change_nothing, world_setup,
                                        world_teardown),
        cmocka_unit_test(test_commands__rows_that_are_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
