/* Compression on the wire: agreeing, what is compressed and for whom, arrays, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "rig.h"

#define PEOPLE 5

static struct rig *rig;
static struct account who[PEOPLE];
static struct inflater *in;

static void on(struct shard_config *cfg)
{
    cfg->ws_deflate = true;
}

static void begin(void (*tune)(struct shard_config *cfg))
{
    rig = rig_new(1, tune);
    for (int i = 0; i < PEOPLE; i++) {
        char name[16];
        snprintf(name, sizeof(name), "u%d", i);
        account_make(rig, name, &who[i]);
    }
}

/* ret_answer: 100 bytes, what the server said of extensions; empty when nothing. */
static struct client *opened(int i, const char *offer, char *ret_answer)
{
    struct client *c = client_new(rig, 0);
    struct buf b = {0};
    char *head = NULL;
    buf_printf(&b,
               "GET /ws?token=%s HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\n"
               "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
               "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n%s%s\r\n\r\n",
               who[i].token, offer ? "Sec-WebSocket-Extensions: " : "X: y", offer ? offer : "");
    client_send(c, b.data, b.len);
    buf_deinit(&b);
    assert_int_equal(http_next(c, &head, NULL), 101);
    const char *at = strstr(head, "Sec-WebSocket-Extensions: ");
    int n = at ? (int)strcspn(at, "\r") - 26 : 0;
    if (ret_answer) {
        snprintf(ret_answer, 200, "%.*s", n, at ? at + 26 : "");
    }
    free(head);
    return c;
}

/* Takes one text frame off, inflated where needed; NULL: none is there. */
static const char *text_next(struct client *c, bool *ret_deflated)
{
    static struct buf text;
    struct ws_decoder d;
    struct ws_frame f;
    client_recv(c);
    ws_decoder_init(&d, WS_CLIENT, 1 << 20);
    ws_decoder_deflate(&d);
    if (ws_decode(&d, c->in.data, c->in.len, &f) != WS_FRAME) {
        buf_deinit(&text);
        return NULL;
    }
    assert_int_equal(f.opcode, WS_TEXT);
    assert_true(f.first && f.fin);
    if (f.deflated) {
        assert_int_equal(inflate_message(in, span_of(f.payload, f.len), 1 << 20, &text), CONFAB_OK);
    } else {
        buf_clear(&text);
        buf_put(&text, f.payload, f.len);
    }
    buf_put_u8(&text, 0);
    buf_consume(&c->in, f.consumed);
    if (ret_deflated) {
        *ret_deflated = f.deflated;
    }
    return (const char *)text.data;
}

static const char *text_with(struct client *c, const char *what, bool *ret_deflated)
{
    const char *t;
    do {
        t = text_next(c, ret_deflated);
        assert_non_null(t);
    } while (!strstr(t, what));
    return t;
}

static struct client *live(int i, const char *offer, bool batch)
{
    struct client *c = opened(i, offer, NULL);
    ws_send(c, batch ? "{\"event\":\"resume\",\"batch\":true}" : "{\"event\":\"resume\"}");
    (void)text_with(c, "caught_up", NULL);
    return c;
}

static void group(char ret_id[40])
{
    struct client *h = client_new(rig, 0);
    char *body = NULL;
    assert_int_equal(http(h, "POST", "/api/v1/groups", who[0].token,
                          "{\"name\":\"g\",\"members\":[\"u1\",\"u2\",\"u3\",\"u4\"]}", &body),
                     201);
    snprintf(ret_id, 40, "%s", json_text(body, "group_id"));
    free(body);
    client_drop(h);
}

static void say_put(struct buf *out, const char *to, int number, size_t n)
{
    struct buf b = {0};
    static const uint8_t zero[4];
    buf_printf(&b,
               "{\"event\":\"send_group_message\",\"group_id\":\"%s\",\"client_msg_id\":\"%d\","
               "\"content\":\"m%d ",
               to, number, number);
    for (size_t i = 0; i < n; i++) {
        buf_put_u8(&b, (uint8_t)('a' + (i * i + i / 7) % 23));
    }
    buf_put_str(&b, "\"}");
    ws_put_frame(out, WS_TEXT, span_of(b.data, b.len), zero);
    buf_deinit(&b);
}

static void say(struct client *c, const char *to, int number, size_t n)
{
    struct buf out = {0};
    say_put(&out, to, number, n);
    client_send(c, out.data, out.len);
    buf_deinit(&out);
}

#define PMD "permessage-deflate"

static void test_pack__off_unless_switched_on(void **state)
{
    (void)state;
    char answer[200];
    begin(NULL);
    struct client *c = opened(0, PMD, answer);
    assert_string_equal(answer, "");
    ws_send_frame(c, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    assert_int_equal(ws_close_code(c), 1002);
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_WS_DEFLATE_AGREED), 0);
    assert_int_equal(rig_total(rig, METRIC_DEFLATE_STATES), 0);
    rig_free(rig);
}

static void test_pack__agrees(void **state)
{
    (void)state;
    char answer[200];
    begin(on);
    struct client *c = opened(0, PMD "; client_max_window_bits", answer);
    assert_string_equal(answer, PMD "; server_no_context_takeover; client_no_context_takeover");
    client_drop(c);
    c = opened(0, PMD "; server_max_window_bits=10", answer);
    assert_string_equal(answer, PMD "; server_no_context_takeover; client_no_context_takeover"
                                    "; server_max_window_bits=10");
    client_drop(c);
    c = opened(0, PMD "; server_max_window_bits=8", answer);
    assert_string_equal(answer, "");
    client_drop(c);
    c = opened(0, NULL, answer);
    assert_string_equal(answer, "");
    client_drop(c);
    assert_int_equal(rig_total(rig, METRIC_WS_DEFLATE_AGREED), 2);
    rig_free(rig);
}

/* One event, five sessions: compressed once for each window, as it is for who does not take it. */
static void test_pack__once_for_all_with_the_same_window(void **state)
{
    (void)state;
    char id[40];
    bool deflated = false;
    begin(on);
    group(id);
    struct client *c[PEOPLE] = {
        live(0, NULL, false),
        live(1, PMD, false),
        live(2, PMD "; server_max_window_bits=12", false),
        live(3, PMD "; server_max_window_bits=9", false),
        live(4, PMD, false),
    };
    int64_t made = rig_total(rig, METRIC_WS_DEFLATE_MADE);
    int64_t shared = rig_total(rig, METRIC_WS_DEFLATE_SHARED);
    say(c[0], id, 1, 2000);
    for (int i = 1; i < PEOPLE; i++) {
        (void)text_with(c[i], "m1 a", &deflated);
        assert_true(deflated);
    }
    (void)text_with(c[0], "\"ack\"", &deflated);
    assert_false(deflated);
    assert_int_equal(rig_total(rig, METRIC_WS_DEFLATE_MADE), made + 2);
    assert_int_equal(rig_total(rig, METRIC_WS_DEFLATE_SHARED), shared + 2);
    assert_true(rig_total(rig, METRIC_WS_DEFLATE_SAVED) > 0);
    /* A short one goes as it is, to all. */
    say(c[0], id, 2, 10);
    for (int i = 1; i < PEOPLE; i++) {
        (void)text_with(c[i], "m2 a", &deflated);
        assert_false(deflated);
    }
    assert_int_equal(rig_total(rig, METRIC_WS_DEFLATE_MADE), made + 2);
    /* Four at most, whatever comes. */
    say(c[0], id, 3, 9000);
    for (int i = 1; i < PEOPLE; i++) {
        (void)text_with(c[i], "m3 a", &deflated);
        assert_true(deflated);
    }
    assert_int_equal(rig_total(rig, METRIC_DEFLATE_STATES), 4);
    for (int i = 0; i < PEOPLE; i++) {
        client_drop(c[i]);
    }
    rig_free(rig);
}

/* Compressed and plain events in one array, cut anywhere. */
static void test_pack__arrays(void **state)
{
    (void)state;
    char id[40];
    begin(on);
    group(id);
    struct client *a = live(0, NULL, false);
    struct client *b = live(1, PMD "; server_max_window_bits=12", true);
    net_sim_set_chances(rig->net, &(struct net_sim_cfg){.short_write = 5000});
    struct random_seeded r;
    random_seeded_init(&r, 5);
    int sent = 0;
    int got = 0;
    int arrays = 0;
    int mixed = 0;
    for (int round = 0; round < 60; round++) {
        struct buf out = {0};
        for (uint64_t k = random_below(&r.base, 9); k > 0; k--) {
            size_t n = random_below(&r.base, 3) ? 20 : 700 + random_below(&r.base, 5000);
            say_put(&out, id, sent++, n);
        }
        client_send(a, out.data, out.len);
        buf_deinit(&out);
        client_recv(a);
        buf_clear(&a->in);
        bool deflated = false;
        for (const char *t; (t = text_next(b, &deflated)) != NULL;) {
            static struct json j;
            struct span one;
            bool array = t[0] == '[';
            json_init(&j, span_str(t), NULL);
            assert_true(!array || json_array_begin(&j));
            while (!array || json_array_next(&j)) {
                assert_true(json_raw(&j, &one));
                const uint8_t *at = memmem(one.p, one.n, "\"content\":\"m", 12);
                if (at) {
                    assert_int_equal(atoi((const char *)at + 12), got);
                    got++;
                    mixed += array && deflated && one.n < 512;
                }
                if (!array) {
                    break;
                }
            }
            assert_true(json_end(&j));
            arrays += array && deflated;
        }
    }
    assert_int_equal(got, sent);
    assert_true(arrays > 10 && mixed > 10);
    client_drop(a);
    client_drop(b);
    rig_free(rig);
}

static void deflated(struct buf *out, const char *text, size_t n)
{
    struct deflater *d;
    assert_int_equal(deflater_new(DEFLATE_WIDE, &d), CONFAB_OK);
    assert_int_equal(deflate_message(d, span_of(text, n), out), CONFAB_OK);
    deflater_free(d);
}

static void test_pack__reads_what_is_compressed(void **state)
{
    (void)state;
    begin(on);
    struct client *c = live(0, PMD, false);
    struct buf b = {0};
    char beat[200];
    memset(beat, ' ', sizeof(beat));
    memcpy(beat, "{\"event\":\"heartbeat\"}", 21);
    deflated(&b, beat, sizeof(beat));
    ws_send_frame(c, 0xc1, b.data, b.len);
    (void)text_with(c, "heartbeat", NULL);
    /* In fragments, with a ping between them, which may not be compressed. */
    ws_send_frame(c, 0x41, b.data, 5);
    ws_send_frame(c, 0x00, b.data + 5, 5);
    ws_send_frame(c, 0x80, b.data + 10, b.len - 10);
    (void)text_with(c, "heartbeat", NULL);
    assert_int_equal(rig_total(rig, METRIC_WS_INFLATED), 2);
    /* The connection owns nothing afterwards. */
    for (uint32_t i = 0; i < rig->shards[0]->conns_high; i++) {
        struct conn *k = conn_at(rig->shards[0], i);
        assert_true(!k || !k->io);
    }
    buf_deinit(&b);
    client_drop(c);
    rig_free(rig);
}

static void refuses(uint8_t first, const void *p, size_t n, uint16_t code)
{
    struct client *c = live(0, PMD, false);
    ws_send_frame(c, first, p, n);
    assert_int_equal(ws_close_code(c), code);
    client_drop(c);
}

static void test_pack__refuses(void **state)
{
    (void)state;
    begin(on);
    struct buf b = {0};
    char *zeros = calloc(1, 1 << 22);
    assert_non_null(zeros);
    memset(zeros, ' ', 1 << 22);
    deflated(&b, zeros, 1 << 22);
    assert_true(b.len < 10000);
    refuses(0xc1, b.data, b.len, 1009);
    assert_true(rig->shards[0]->packs.in.cap <= 2 * WIRE_FRAME_MAX);
    refuses(0xc1, "\xff\xff\xff", 3, 1007);
    refuses(0xc1, "\xf2\x48\xcd\xc9", 4, 1007);
    buf_clear(&b);
    deflated(&b, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17);
    refuses(0xc1, b.data, b.len, 1007);
    refuses(0xc2, b.data, b.len, 1003);
    refuses(0xc9, "", 0, 1002);
    refuses(0xa1, "", 0, 1002);
    assert_int_equal(rig_total(rig, METRIC_WS_INFLATE_REFUSED), 3);
    /* Sessions without it are as strict as ever. */
    struct client *c = live(0, NULL, false);
    ws_send_frame(c, 0xc1, b.data, b.len);
    assert_int_equal(ws_close_code(c), 1002);
    client_drop(c);
    free(zeros);
    buf_deinit(&b);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pack__off_unless_switched_on),
        cmocka_unit_test(test_pack__agrees),
        cmocka_unit_test(test_pack__once_for_all_with_the_same_window),
        cmocka_unit_test(test_pack__arrays),
        cmocka_unit_test(test_pack__reads_what_is_compressed),
        cmocka_unit_test(test_pack__refuses),
    };
    if (inflater_new(&in)) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    inflater_free(in);
    return failed;
}
