/*
 * What a message costs: pairs of people, eight messages of each under way at once, receipts on, on
 * one shard with the memory adapters. tests/proofs/test_cost.py counts the instructions of two runs
 * with callgrind; the difference is the messages' own. Usage: message_cost ROUNDS [PAIRS_MAX];
 * prints how many messages that were.
 */
#include "rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/ws.h"

#define PAIRS     16
#define PAIRS_MAX 128
#define WINDOW    8

static struct account from[PAIRS_MAX];
static struct account to[PAIRS_MAX];
static struct client *sender[PAIRS_MAX];
static struct client *receiver[PAIRS_MAX];
static unsigned long sent;

/* 200 bytes, as people write them. */
static const char text[] =
    "Shall we meet at the bridge at seven? The train of half past six is late again, they say, so "
    "I "
    "would rather take the tram and walk the rest of the way; bring the blue folder, please, and "
    "the café’s key: ";

/* In one piece, before the server gets a turn. */
static void write_some(int pair)
{
    static const uint8_t key[4] = {0x5a, 0x0f, 0xc3, 0x96};
    struct buf b = {0};
    size_t taken = 0;
    for (int i = 0; i < WINDOW; i++) {
        char frame[512];
        int n = snprintf(frame, sizeof(frame),
                         "{\"event\":\"send_message\",\"to\":\"%s\",\"client_msg_id\":\"m-%010lu\","
                         "\"content\":\"%s\",\"type\":\"text\"}",
                         to[pair].user, sent++, text);
        ws_put_frame(&b, WS_TEXT, span_of(frame, (size_t)n), key);
    }
    assert_int_equal(net_sim_send(sender[pair]->conn, b.data, b.len, &taken), CONFAB_OK);
    assert_int_equal(taken, b.len);
    buf_deinit(&b);
}

/* All that has come: an acknowledgement or a message each; what was received is confirmed. */
static void take_all(int pair)
{
    const char *frame;
    char last[24] = "";
    int acks = 0;
    int events = 0;
    while ((frame = ws_next(sender[pair])) != NULL) {
        acks += strstr(frame, "\"ack\"") != NULL;
    }
    while ((frame = ws_next(receiver[pair])) != NULL) {
        events += strstr(frame, "\"new_message\"") != NULL;
        snprintf(last, sizeof(last), "%s", json_text(frame, "message_id"));
    }
    assert_int_equal(acks, WINDOW);
    assert_int_equal(events, WINDOW);
    char ack[128];
    snprintf(ack, sizeof(ack), "{\"event\":\"ack\",\"message_id\":\"%s\",\"status\":\"read\"}",
             last);
    ws_send(receiver[pair], ack);
}

int main(int argc, char **argv)
{
    long rounds = argc == 2 || argc == 3 ? strtol(argv[1], NULL, 10) : 0;
    long pairs = argc == 3 ? strtol(argv[2], NULL, 10) : PAIRS;
    if (rounds <= 0 || pairs <= 0 || pairs > PAIRS_MAX) {
        fprintf(stderr, "usage: %s ROUNDS [PAIRS]\n", argv[0]);
        return 2;
    }
    struct rig *rig = rig_new(1, NULL);
    for (int i = 0; i < pairs; i++) {
        char name[16];
        snprintf(name, sizeof(name), "from%d", i);
        account_make(rig, name, &from[i]);
        snprintf(name, sizeof(name), "to%d", i);
        account_make(rig, name, &to[i]);
        sender[i] = ws_live(rig, 0, &from[i], NULL);
        receiver[i] = ws_live(rig, 0, &to[i], NULL);
    }
    for (long r = 0; r < rounds; r++) {
        for (int i = 0; i < pairs; i++) {
            write_some(i);
        }
        rig_pass(rig, 50);
        for (int i = 0; i < pairs; i++) {
            take_all(i);
        }
    }
    rig_settle(rig);
    printf("%lu\n", sent);
    for (int i = 0; i < pairs; i++) {
        client_drop(sender[i]);
        client_drop(receiver[i]);
    }
    rig_free(rig);
    return 0;
}
