/* Several events in one frame: when arrays are made, what is in them, and how they are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

#define BEAT "{\"event\":\"heartbeat\"}"

static struct rig *rig;
static struct account ann;
static struct account bob;

static void begin(void (*tune)(struct shard_config *cfg))
{
    rig = rig_new(1, tune);
    account_make(rig, "ann", &ann);
    account_make(rig, "bob", &bob);
}

static uint64_t queued(void)
{
    struct shard_stats stats;
    shard_stats(rig->shards[0], &stats);
    return stats.queued_bytes;
}

static struct client *live(const struct account *a, bool batch)
{
    struct client *c = ws_open(rig, 0, a->token);
    ws_expect(c, "hello");
    ws_send(c, batch ? "{\"event\":\"resume\",\"batch\":true}" : "{\"event\":\"resume\"}");
    /* Page and end come in one array, or not. */
    for (const char *f = ""; !strstr(f, "caught_up");) {
        f = ws_next(c);
        assert_non_null(f);
    }
    return c;
}

static void put_text(struct buf *b, const char *json)
{
    static const uint8_t zero[4];
    ws_put_frame(b, WS_TEXT, span_str(json), zero);
}

/* In one piece, if the net allows, so that one turn answers all of it. */
static void send_all(struct client *c, struct buf *b)
{
    client_send(c, b->data, b->len);
    buf_deinit(b);
}

static void beats(struct client *c, int n)
{
    struct buf b = {0};
    for (int i = 0; i < n; i++) {
        put_text(&b, BEAT);
    }
    send_all(c, &b);
}

/* Events of a frame, which has to be an array or an object. */
static int events_in(const char *frame)
{
    static struct json it;
    struct span one;
    int n = 0;
    if (frame[0] == '{') {
        return 1;
    }
    json_init(&it, span_str(frame), NULL);
    assert_true(json_array_begin(&it));
    while (json_array_next(&it)) {
        assert_true(json_raw(&it, &one));
        assert_int_equal(one.p[0], '{');
        n++;
    }
    assert_true(json_end(&it));
    assert_true(n > 1);
    return n;
}

static void test_arrays__what_waits_is_one_frame(void **state)
{
    (void)state;
    begin(NULL);
    struct client *c = live(&bob, true);
    int64_t before = rig_total(rig, METRIC_WS_ARRAYS);
    int64_t events = rig_total(rig, METRIC_WS_ARRAY_EVENTS);
    beats(c, 3);
    assert_string_equal(ws_next(c), "[" BEAT "," BEAT "," BEAT "]");
    assert_null(ws_next(c));
    beats(c, 1);
    assert_string_equal(ws_next(c), BEAT);
    assert_int_equal(rig_total(rig, METRIC_WS_ARRAYS), before + 1);
    assert_int_equal(rig_total(rig, METRIC_WS_ARRAY_EVENTS), events + 3);
    assert_int_equal(queued(), 0);
    client_drop(c);
    rig_free(rig);
}

static void test_arrays__only_for_those_who_said_so(void **state)
{
    (void)state;
    begin(NULL);
    struct client *c = live(&bob, false);
    beats(c, 3);
    for (int i = 0; i < 3; i++) {
        assert_string_equal(ws_next(c), BEAT);
    }
    client_drop(c);
    /* And no longer than they say so. */
    c = live(&bob, true);
    ws_send(c, "{\"event\":\"resume\"}");
    ws_expect(c, "caught_up");
    beats(c, 2);
    assert_string_equal(ws_next(c), BEAT);
    assert_string_equal(ws_next(c), BEAT);
    ws_send(c, "{\"event\":\"resume\",\"batch\":1}");
    assert_string_equal(json_text(ws_expect(c, "error"), "field"), "batch");
    assert_int_equal(rig_total(rig, METRIC_BOUND_OUTPUT), 0);
    client_drop(c);
    rig_free(rig);
}

/* Control frames stand between events, and between arrays. */
static void test_arrays__pongs_are_not_in_them(void **state)
{
    (void)state;
    static const uint8_t zero[4];
    begin(NULL);
    struct client *c = live(&bob, true);
    struct buf b = {0};
    put_text(&b, BEAT);
    put_text(&b, BEAT);
    ws_put_frame(&b, WS_PING, span_str("x"), zero);
    put_text(&b, BEAT);
    send_all(c, &b);
    assert_string_equal(ws_next(c), "[" BEAT "," BEAT "]");
    assert_null(ws_next(c)); /* the pong: no text */
    assert_string_equal(ws_next(c), BEAT);
    client_drop(c);
    rig_free(rig);
}

static void small_frames(struct shard_config *cfg)
{
    cfg->frame_bytes_max = 1000;
}

static void test_arrays__are_bounded(void **state)
{
    (void)state;
    begin(small_frames);
    struct client *c = live(&bob, true);
    beats(c, 200);
    int n = 0;
    int frames = 0;
    for (const char *f; (f = ws_next(c)) != NULL; frames++) {
        assert_true(strlen(f) <= 1000);
        n += events_in(f);
    }
    assert_int_equal(n, 200);
    assert_int_equal(frames, (200 + 44) / 45); /* so many fit */
    /* A larger event comes by itself, between those before and behind it. */
    char json[3200];
    char text[3001];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    snprintf(json, sizeof(json), "{\"to\":\"bob\",\"content\":\"%s\",\"client_msg_id\":\"1\"}",
             text);
    struct client *h = client_new(rig, 0);
    assert_int_equal(http(h, "POST", "/api/v1/messages", ann.token, json, NULL), 201);
    client_drop(h);
    const char *f = ws_next(c);
    while (f && strncmp(f, "{\"event\":\"new_message\"", 22) != 0) {
        assert_true(strlen(f) <= 1000);
        f = ws_next(c);
    }
    assert_true(f && strlen(f) > 3000);
    client_drop(c);
    rig_free(rig);
}

/* Of messages "m0", "m1", … in the text, the number of those that are next; fails at another. */
static void take_messages(const char *frame, int *io_next)
{
    for (const char *at = frame; (at = strstr(at, "\"content\":\"m")) != NULL; at++) {
        assert_int_equal(atoi(at + 12), *io_next);
        ++*io_next;
    }
}

/* Writes that end anywhere: nothing is lost, twice, or torn, whatever is queued behind. */
static void test_arrays__survive_short_writes(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct random_seeded random;
        random_seeded_init(&random, seed);
        begin(NULL);
        struct client *a = live(&ann, true);
        struct client *b = live(&bob, true);
        net_sim_set_chances(rig->net, &(struct net_sim_cfg){.short_write = 6000});
        int sent = 0;
        int got = 0;
        uint64_t beats_sent = 0;
        uint64_t beats_got = 0;
        for (int round = 0; round < 40; round++) {
            struct buf out = {0};
            for (uint64_t k = random_below(&random.base, 12); k > 0; k--) {
                char pad[400];
                char json[600];
                size_t n = (size_t)random_below(&random.base, sizeof(pad));
                memset(pad, 'p', n);
                snprintf(json, sizeof(json),
                         "{\"event\":\"send_message\",\"to\":\"bob\",\"content\":\"m%d %.*s\","
                         "\"client_msg_id\":\"%d\"}",
                         sent, (int)n, pad, sent);
                put_text(&out, json);
                sent++;
            }
            send_all(a, &out);
            uint64_t k = random_below(&random.base, 5);
            beats_sent += k;
            beats(b, (int)k);
            client_recv(a);
            for (const char *f; (f = ws_next(b)) != NULL;) {
                (void)events_in(f);
                take_messages(f, &got);
                for (const char *at = f; (at = strstr(at, BEAT)) != NULL; at++) {
                    beats_got++;
                }
            }
        }
        assert_int_equal(got, sent);
        assert_int_equal(beats_got, beats_sent);
        assert_int_equal(queued(), 0);
        client_drop(a);
        client_drop(b);
        rig_free(rig);
    }
}

static void long_queue(struct shard_config *cfg)
{
    cfg->queue_bytes_max = 1 << 20;
    cfg->queue_frames_max = 8000;
}

/* The connection goes while an array is on its way: its queue is accounted for. */
static void test_arrays__end_within_one(void **state)
{
    (void)state;
    begin(long_queue);
    struct client *c = live(&bob, true);
    struct client *h = client_new(rig, 0);
    char json[9000];
    char text[8001];
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    for (int i = 0; i < 20; i++) {
        snprintf(json, sizeof(json), "{\"to\":\"bob\",\"content\":\"%s\",\"client_msg_id\":\"%d\"}",
                 text, i);
        assert_int_equal(http(h, "POST", "/api/v1/messages", ann.token, json, NULL), 201);
    }
    /* The pipe is full, and what is behind it waits. */
    assert_true(queued() > 0);
    size_t n;
    uint8_t some[70000];
    assert_int_equal(net_sim_recv(c->conn, some, sizeof(some), &n), CONFAB_OK);
    rig_settle(rig);
    assert_true(rig_total(rig, METRIC_WS_ARRAYS) > 0);
    assert_true(queued() > 0);
    client_drop(c);
    rig_settle(rig);
    assert_int_equal(queued(), 0);
    client_drop(h);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_arrays__what_waits_is_one_frame),
        cmocka_unit_test(test_arrays__only_for_those_who_said_so),
        cmocka_unit_test(test_arrays__pongs_are_not_in_them),
        cmocka_unit_test(test_arrays__are_bounded),
        cmocka_unit_test(test_arrays__survive_short_writes),
        cmocka_unit_test(test_arrays__end_within_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
