/* The path of a message through a server of one or more shards. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages__one_shard),
        cmocka_unit_test(test_messages__two_shards),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
