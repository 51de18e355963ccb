/*
 * A session whose nth allocation fails, for every n: nothing leaks, nothing is lost, doubled or out
 * of order once there is memory again. The linker sends the allocations of the code under test here
 * (--wrap in cmake/tests.cmake).
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/http1.h"
#include "script.h"

#define LAST 7U /* messages in the end, the own one among them */

static bool armed;
static bool lasting; /* all after the nth fail too */
static uint64_t fail_at;
static uint64_t count;

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool fails(void)
{
    if (!armed || fail_at == 0) {
        return false;
    }
    count++;
    return lasting ? count >= fail_at : count == fail_at;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

static void arm(bool on)
{
    armed = on;
}

/* The server's side: message n of conversation a is "text n", but for the own one. */
struct server {
    struct script *h;
    unsigned head;
    unsigned own; /* seq of the message k1, 0: not stored */
};

static const char *text_of(const struct server *v, unsigned seq)
{
    static char text[32];
    snprintf(text, sizeof(text), seq == v->own ? "mine" : "text\\n%u", seq);
    return text;
}

static const char *frame_of(const struct server *v, unsigned seq)
{
    return script_message_text('a', seq, seq == v->own ? 1 : 5, text_of(v, seq));
}

static bool is_live(struct script *h)
{
    struct confab_status status;
    csession_status(h->session, h->now, &status);
    return status.state == CONFAB_STATE_LIVE;
}

/* What the session has sent; k1 is stored once and acknowledged each time. */
static void serve(struct server *v)
{
    struct script *h = v->h;
    const char *frame;
    while ((frame = script_take(h))) {
        if (!strstr(frame, "\"client_msg_id\":\"k1\"")) {
            continue;
        }
        bool again = v->own != 0;
        v->own = again ? v->own : ++v->head;
        script_send(h,
                    "{\"event\":\"ack\",\"client_msg_id\":\"k1\",\"message_id\":\"%u\","
                    "\"conversation_id\":\"%s\",\"seq\":%u,\"sent_at\":"
                    "\"2025-01-31T08:15:30.123Z\",\"status\":\"sent\",\"duplicate\":%s}",
                    1000 + v->own, CONV_A, v->own, again ? "true" : "false");
    }
}

/* One attempt; false when it did not come to be live. */
static bool try_connect(struct server *v)
{
    struct script *h = v->h;
    arm(true);
    csession_start(h->session, h->now);
    while (!csession_wants_link(h->session)) {
        h->now = MAX(h->now, csession_deadline(h->session));
        csession_tick(h->session, h->now);
    }
    buf_clear(&h->from_it);
    csession_link_up(h->session, h->now);
    arm(false);
    script_collect(h);
    struct http_scan scan = {0};
    struct http_request req;
    struct http_error bad;
    struct ws_upgrade up;
    const char *why;
    char accept[WS_ACCEPT_TEXT];
    ws_decoder_init(&h->ws, WS_SERVER, 65536);
    if (http_request_parse(&scan, span_of(h->from_it.data, h->from_it.len), &req, &bad) !=
        HTTP_DONE) {
        return false;
    }
    assert_int_equal(ws_upgrade_check(&req, &up, &why), CONFAB_OK);
    ws_accept_key(up.key, accept);
    buf_consume(&h->from_it, req.head_len);
    script_reply_upgrade(h, accept);
    script_send(h,
                "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"2025-01-31T08:15:30.123Z\","
                "\"session_id\":\"1\",\"user_id\":\"1\",\"device_id\":\"3\",\"limits\":{"
                "\"text_bytes\":16384,\"frame_bytes\":65536,\"inflight\":2},"
                "\"heartbeat_ms\":30000}");
    struct buf events;
    buf_init(&events);
    for (unsigned seq = 1; seq <= v->head; seq++) {
        buf_printf(&events, "%s%s", seq > 1 ? "," : "", frame_of(v, seq));
    }
    buf_put_u8(&events, 0);
    assert_true(buf_ok(&events));
    script_page(h, 'a', v->head, 1, v->head, "", (const char *)events.data);
    buf_deinit(&events);
    script_caught_up(h, "t");
    if (is_live(h)) {
        serve(v);
    }
    return is_live(h);
}

static void end_link(struct server *v)
{
    struct script *h = v->h;
    arm(true);
    csession_link_down(h->session, h->now);
    arm(false);
}

static void be_live(struct server *v, int attempts)
{
    for (int i = 0; i < attempts && !is_live(v->h); i++) {
        end_link(v);
        (void)try_connect(v);
    }
}

static void answer_fetches(struct server *v)
{
    struct script *h = v->h;
    struct csession_fetch f;
    for (int i = 0; i < 10; i++) {
        arm(true);
        csession_tick(h->session, h->now);
        bool wanted = csession_fetch_next(h->session, h->now, &f);
        arm(false);
        if (!wanted) {
            h->now += 1000;
            continue;
        }
        struct buf b;
        buf_init(&b);
        buf_put_str(&b, "{\"messages\":[");
        unsigned after = (unsigned)strtoul(strstr(f.path, "after=") + 6, NULL, 10);
        for (unsigned seq = after + 1; seq <= v->head; seq++) {
            buf_printf(&b,
                       "%s{\"message_id\":\"%u\",\"conversation_id\":\"%s\",\"seq\":%u,"
                       "\"sender_id\":\"%u\",\"content\":\"%s\",\"type\":\"text\",\"sent_at\":"
                       "\"2025-01-31T08:15:30.123Z\"}",
                       seq > after + 1 ? "," : "", 1000 + seq, CONV_A, seq, seq == v->own ? 1U : 5U,
                       text_of(v, seq));
        }
        buf_printf(&b, "],\"has_more\":false,\"covered\":[%u,%u]}", after + 1, v->head);
        assert_true(buf_ok(&b));
        arm(true);
        csession_fetch_done(h->session, &f, 200, 0, span_of(b.data, b.len), h->now);
        arm(false);
        buf_deinit(&b);
    }
}

static void send_own(struct server *v)
{
    struct script *h = v->h;
    struct confab_outgoing m = {.conv = CONV_A, .content = {"mine", 4}, .client_msg_id = "k1"};
    arm(true);
    enum confab_error error = csession_send(h->session, &m, h->now, NULL);
    arm(false);
    if (error) {
        assert_int_equal(error, CONFAB_E_NOMEM);
        uint64_t keep = fail_at;
        fail_at = 0;
        assert_int_equal(csession_send(h->session, &m, h->now, NULL), CONFAB_E_OK);
        fail_at = keep;
    }
    serve(v);
}

/* A live frame, as far as there is a link. */
static void live(struct server *v, unsigned seq)
{
    v->head = MAX(v->head, seq);
    if (is_live(v->h)) {
        script_send(v->h, "%s", frame_of(v, seq));
    }
}

static void scenario(struct server *v)
{
    v->head = 2;
    be_live(v, 2);
    live(v, 3);
    v->head = 4; /* which does not come */
    live(v, 5);
    answer_fetches(v);
    be_live(v, 2);
    send_own(v);
    end_link(v);
    be_live(v, 2);
    if (v->own == 0) {
        serve(v);
    }
}

static void check(struct server *v)
{
    struct script *h = v->h;
    /* There is memory again. */
    fail_at = 0;
    for (int i = 0; i < 5 && (!is_live(h) || v->own == 0); i++) {
        be_live(v, 3);
        h->now += 30000;
        csession_tick(h->session, h->now);
        serve(v);
    }
    assert_int_equal(v->own, 6);
    v->head = LAST;
    end_link(v);
    be_live(v, 3);
    answer_fetches(v);
    buf_put_u8(&h->log, 0);
    const char *at = (const char *)h->log.data;
    unsigned sent = 0;
    unsigned seq = 0;
    for (const char *line = at; line; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        if (strncmp(line, "m a", 3) == 0) {
            seq++;
            assert_int_equal(strtoul(line + 3, NULL, 10), seq);
        }
        sent += strncmp(line, "s k1 a6", 7) == 0 ? 1 : 0;
    }
    assert_int_equal(seq, LAST);
    assert_int_equal(sent, 1);
    assert_int_equal(csession_outbox_len(h->session), 0);
}

/* False when n was more than there are allocations. */
static bool run(uint64_t n)
{
    struct script h;
    script_init(&h);
    struct server v = {.h = &h};
    count = 0;
    fail_at = n;
    script_under_test = arm;
    enum confab_err err = script_open(&h);
    if (err) {
        assert_int_equal(err, CONFAB_NOMEM);
        assert_null(h.session);
        uint64_t keep = fail_at;
        fail_at = 0;
        assert_int_equal(script_open(&h), CONFAB_OK);
        fail_at = keep;
    }
    scenario(&v);
    bool reached = count >= n;
    check(&v);
    script_under_test = NULL;
    armed = false;
    script_close(&h);
    return reached;
}

static void test_nomem__one_allocation_fails(void **state)
{
    (void)state;
    lasting = false;
    uint64_t n = 1;
    while (run(n)) {
        n++;
    }
    assert_true(n > 30);
}

static void test_nomem__all_allocations_fail_for_a_while(void **state)
{
    (void)state;
    lasting = true;
    uint64_t n = 1;
    while (run(n)) {
        n++;
    }
    assert_true(n > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nomem__one_allocation_fails),
        cmocka_unit_test(test_nomem__all_allocations_fail_for_a_while),
    };
    return cmocka_run_group_tests_name("nomem", tests, NULL, NULL);
}
