/*
 * Cost of the wire codec for one message: parsing the frame of a send and that of an
 * acknowledgement, writing the live frame and the answer. Prints nanoseconds each; run it under
 * callgrind for instructions. Usage: bench_wire [rounds]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "proto/wire.h"

#define CONV "00112233445566778899aabbccddeeff"
#define TEXT "when the boat is late we still wait for bread and a letter"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void parse(struct span frame, struct scratch *scratch, enum wire_client_event event)
{
    struct wire_client_msg m;
    struct wire_error err;
    scratch_reset(scratch);
    CHECK(wire_parse_client(frame, scratch, &m, &err) == CONFAB_OK && m.event == event);
}

int main(int argc, char **argv)
{
    uint64_t rounds = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    struct span send =
        span_str("{\"event\":\"send_message\",\"conversation_id\":\"" CONV "\",\"content\":\"" TEXT
                 "\",\"client_msg_id\":\"0123456789abcdef-12345\",\"fresh\":true}");
    struct span ack = span_str("{\"event\":\"ack\",\"conversation_id\":\"" CONV
                               "\",\"seq\":12345,\"status\":\"read\"}");
    uint8_t block[4096];
    struct scratch scratch;
    struct buf out = {0};
    struct conv_id conv;
    CHECK(conv_id_parse(span_str(CONV), &conv));
    scratch_init(&scratch, block, sizeof(block));
    double at[5];
    at[0] = now();
    for (uint64_t i = 0; i < rounds; i++) {
        parse(send, &scratch, WIRE_C_SEND);
    }
    at[1] = now();
    for (uint64_t i = 0; i < rounds; i++) {
        parse(ack, &scratch, WIRE_C_ACK);
    }
    at[2] = now();
    for (uint64_t i = 0; i < rounds; i++) {
        struct wire_new_message m = {.at = {.conv = conv,
                                            .seq = 1000 + i,
                                            .event_id = (1ULL << 61) + i,
                                            .from = 123456,
                                            .sent_at_ms = ID_EPOCH_MS + i},
                                     .content = span_str(TEXT)};
        buf_clear(&out);
        wire_put_new_message(&out, &m);
    }
    at[3] = now();
    for (uint64_t i = 0; i < rounds; i++) {
        struct wire_sent m = {.client_msg_id = span_str("0123456789abcdef-12345"),
                              .message_id = (1ULL << 61) + i,
                              .conv = conv,
                              .seq = 1000 + i,
                              .sent_at_ms = ID_EPOCH_MS + i};
        buf_clear(&out);
        wire_put_ack(&out, &m);
    }
    at[4] = now();
    static const char *const what[] = {"parse a send", "parse an ack", "write a message",
                                       "write an answer"};
    for (int i = 0; i < 4; i++) {
        printf("%s: %.0f ns\n", what[i], (at[i + 1] - at[i]) / (double)rounds);
    }
    buf_deinit(&out);
    return 0;
}
