/* The path of a message through a server of one or more shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/time_text.h"
#include "rig.h"

static void send_and_see(uint16_t shards)
{
    struct rig *rig = rig_new(shards, NULL);
    struct account ann, bob;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *b = ws_live(rig, (uint16_t)(shards - 1), &bob, NULL);
    for (int i = 0; i < 20; i++) {
        char json[200];
        snprintf(
            json, sizeof(json),
            "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"hi %d\",\"client_msg_id\":"
            "\"m%d\",\"fresh\":true}",
            i, i);
        ws_send(a, json);
    }
    uint64_t first = 0;
    for (int i = 0; i < 20; i++) {
        char text[32];
        const char *f = ws_expect(a, "ack");
        snprintf(text, sizeof(text), "m%d", i);
        assert_string_equal(json_text(f, "client_msg_id"), text);
        uint64_t seq = json_number_of(f, "seq");
        first = i == 0 ? seq : first;
        assert_int_equal(seq, first + (uint64_t)i);
        f = ws_expect(b, "new_message");
        snprintf(text, sizeof(text), "hi %d", i);
        assert_string_equal(json_text(f, "content"), text);
        assert_int_equal(json_number_of(f, "seq"), seq);
    }
    client_drop(a);
    client_drop(b);
    rig_free(rig);
}

static void test_messages__one_shard(void **state)
{
    (void)state;
    send_and_see(1);
}

static void test_messages__two_shards(void **state)
{
    (void)state;
    send_and_see(2);
}

/* A shard that slept knows what time it is before it decides what woke it. */
static void test_messages__stamped_when_they_came(void **state)
{
    (void)state;
    struct rig *rig = rig_new(2, NULL);
    struct account ann, bob, eve;
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
    account_make(rig, "eve", &eve);
    struct client *a = ws_live(rig, 0, &ann, NULL);
    struct client *to[2] = {ws_live(rig, 1, &bob, NULL), ws_live(rig, 1, &eve, NULL)};
    for (int i = 0; i < 20; i++) {
        char json[200];
        char now[TIME_TEXT_LEN + 1] = "";
        snprintf(json, sizeof(json),
                 "{\"event\":\"send_message\",\"to\":\"%s\",\"content\":\"hi\",\"client_msg_id\":"
                 "\"m%d\",\"fresh\":true}",
                 i % 2 ? "eve" : "bob", i);
        clock_sim_advance(&rig->clock, 700ULL * 1000000);
        time_text_format(clock_wall_ms(&rig->clock.base), now);
        ws_send(a, json);
        assert_string_equal(json_text(ws_expect(to[i % 2], "new_message"), "sent_at"), now);
    }
    client_drop(a);
    client_drop(to[0]);
    client_drop(to[1]);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages__one_shard),
        cmocka_unit_test(test_messages__two_shards),
        cmocka_unit_test(test_messages__stamped_when_they_came),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
