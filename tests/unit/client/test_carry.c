/* A session without a WebSocket: which way it takes, its requests, and what breaks on them. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

#define HELLO                                                                                      \
    "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"2025-01-31T08:15:30.123Z\","            \
    "\"session_id\":\"00ab\",\"user_id\":\"1\",\"device_id\":\"3\",\"limits\":{\"text_bytes\":"    \
    "16384,\"frame_bytes\":65536,\"inflight\":2},\"heartbeat_ms\":30000}"
#define CAUGHT_UP                                                                                  \
    "{\"event\":\"caught_up\",\"since\":\"t\",\"server_time\":\"2025-01-31T08:15:30.123Z\"}"

static struct csession_call fetching;
static struct csession_call posting;

static int setup(void **state)
{
    struct script *h = malloc(sizeof(*h));
    assert_non_null(h);
    script_init(h);
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    script_close(*state);
    free(*state);
    return 0;
}

static enum confab_transport transport(const struct script *h)
{
    struct confab_status st;
    csession_status(h->session, h->now, &st);
    return st.transport;
}

/* As a driver does when there is nothing else: time passes, closed links are told. */
static void pass(struct script *h, uint64_t ms)
{
    uint64_t end = h->now + ms;
    for (;;) {
        csession_link_down(h->session, h->now); /* none is up: closing ends */
        uint64_t at = csession_deadline(h->session);
        if (at > end) {
            break;
        }
        h->now = MAX(h->now, at);
        csession_tick(h->session, h->now);
        if (csession_wants_link(h->session) ||
            csession_call_ready(h->session, CSESSION_FETCHING, h->now) ||
            csession_call_ready(h->session, CSESSION_POSTING, h->now)) {
            return;
        }
    }
    h->now = end;
}

static void take(struct script *h, struct csession_call *call, enum csession_lane lane,
                 const char *method, const char *path)
{
    if (!csession_call_next(h->session, lane, h->now, call)) {
        fail_msg("no call, expected %s %s", method, path);
    }
    assert_string_equal(call->method, method);
    assert_string_equal(call->path, path);
}

static void answer(struct script *h, const struct csession_call *call, int status, const char *body)
{
    csession_call_done(h->session, call, status, 0, span_str(body), h->now);
}

static void body_has(const struct csession_call *call, const char *text)
{
    char *copy = strndup((const char *)call->body.p, call->body.n);
    if (!strstr(copy, text)) {
        fail_msg("%s is not in %s", text, copy);
    }
    free(copy);
}

static void stream(struct script *h, const char *text)
{
    size_t n = strlen(text);
    for (size_t at = 0; at < n;) {
        size_t piece = h->split ? MIN(h->split, n - at) : n;
        char *copy = malloc(piece);
        memcpy(copy, text + at, piece);
        csession_call_input(h->session, &fetching, copy, piece, h->now);
        free(copy);
        at += piece;
    }
}

static void open_as(struct script *h, enum confab_transport how, const char *mode)
{
    h->options.transport = how;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    assert_false(csession_wants_link(h->session));
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    body_has(&posting, mode);
    assert_false(csession_call_next(h->session, CSESSION_POSTING, h->now, &posting));
    answer(h, &posting, 201, HELLO);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    body_has(&posting, "[{\"event\":\"resume\"");
    answer(h, &posting, 202, "{}");
}

static void live_stream(struct script *h)
{
    open_as(h, CONFAB_TRANSPORT_SSE, "sse");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0");
    assert_true(fetching.stream && fetching.timeout_ms == UINT64_MAX);
    stream(h, ":\n\nid: 1\ndata: " CAUGHT_UP "\n\n");
}

static void test_carry__a_stream_in_pieces(void **state)
{
    struct script *h = *state;
    for (size_t split = 0; split < 9; split++) {
        h->split = split;
        live_stream(h);
        buf_clear(&h->log);
        char text[512];
        snprintf(text, sizeof(text), "id: 2\r\ndata: %s\r\n\r\n: x\n\nevent: y\nid:3\ndata:%s\n\n",
                 "{\"event\":\"heartbeat\"}", script_message_text('a', 1, 5, "hello"));
        stream(h, text);
        struct confab_status st;
        csession_status(h->session, h->now, &st);
        assert_int_equal(st.state, CONFAB_STATE_LIVE);
        assert_int_equal(st.transport, CONFAB_TRANSPORT_SSE);
        buf_put_u8(&h->log, 0);
        assert_non_null(strstr((const char *)h->log.data, "m a1 hello live"));
        take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
        body_has(&posting, "\"seq\":1,\"status\":\"delivered\"");
        /* Broken, and again from where it was. */
        answer(h, &fetching, 0, "");
        pass(h, 1000);
        take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=3");
        stream(h, "id: 3\ndata: not even read\n\n");
        csession_status(h->session, h->now, &st);
        assert_int_equal(st.error, CONFAB_E_OK);
        csession_free(h->session);
        h->session = NULL;
        buf_clear(&h->state);
    }
}

static void test_carry__a_gap_in_a_stream_ends_it(void **state)
{
    struct script *h = *state;
    live_stream(h);
    stream(h, "id: 3\ndata: {\"event\":\"heartbeat\"}\n\n");
    csession_link_down(h->session, h->now);
    struct confab_status st;
    csession_status(h->session, h->now, &st);
    assert_int_equal(st.state, CONFAB_STATE_WAITING);
    assert_int_equal(st.error, CONFAB_E_PROTOCOL);
    assert_false(csession_call_wanted(h->session, &fetching));
}

static void test_carry__polls(void **state)
{
    struct script *h = *state;
    open_as(h, CONFAB_TRANSPORT_POLL, "poll");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0&wait=25");
    assert_false(fetching.stream);
    answer(h, &fetching, 200, "{\"events\":[" CAUGHT_UP "],\"last\":1}");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=1&wait=25");
    answer(h, &fetching, 200, "{\"events\":[],\"last\":1}");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=1&wait=25");
    /* A proxy has a bad moment: the session is still there. */
    answer(h, &fetching, 502, "<html>");
    assert_false(csession_call_ready(h->session, CSESSION_FETCHING, h->now));
    pass(h, 1000);
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=1&wait=25");
    for (int i = 0; i < 5; i++) {
        answer(h, &fetching, 0, "");
        pass(h, 20000);
        if (i < 4) {
            take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=1&wait=25");
        }
    }
    /* Enough: another session. */
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
}

static void test_carry__nonsense_in_a_poll_ends_it(void **state)
{
    struct script *h = *state;
    static const char *const bodies[] = {"", "[]", "{\"events\":[}", "{\"events\":[7],\"last\":1}",
                                         "{\"events\":{}}"};
    for (size_t i = 0; i < ARRAY_LEN(bodies); i++) {
        open_as(h, CONFAB_TRANSPORT_POLL, "poll");
        take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0&wait=25");
        answer(h, &fetching, 200, bodies[i]);
        csession_link_down(h->session, h->now);
        struct confab_status st;
        csession_status(h->session, h->now, &st);
        assert_int_equal(st.state, CONFAB_STATE_WAITING);
        assert_int_equal(st.error, CONFAB_E_PROTOCOL);
        csession_free(h->session);
        h->session = NULL;
    }
}

static void test_carry__a_lost_session_is_another_one(void **state)
{
    struct script *h = *state;
    live_stream(h);
    answer(h, &fetching, 404, "");
    pass(h, 1000);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    answer(h, &posting, 201, HELLO);
    /* The one before is given up, too: once. */
    take(h, &posting, CSESSION_POSTING, "DELETE", "/api/v1/events/00ab");
    answer(h, &posting, 404, "");
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    body_has(&posting, "\"since\":\"t\"");
}

static void test_carry__sends_are_repeated_after_a_lost_post(void **state)
{
    struct script *h = *state;
    char cmid[CONFAB_CMID_SIZE];
    live_stream(h);
    const struct confab_outgoing m = {.to = "bob", .content = {.p = "hello", .n = 5}};
    assert_int_equal(csession_send(h->session, &m, h->now, cmid), CONFAB_E_OK);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    body_has(&posting, cmid);
    /* Busy: the same once more. */
    answer(h, &posting, 503, "");
    pass(h, 1000);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    body_has(&posting, cmid);
    /* Nobody knows whether this one arrived. */
    answer(h, &posting, 0, "");
    pass(h, 1000);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    answer(h, &posting, 201, HELLO);
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0");
    take(h, &posting, CSESSION_POSTING, "DELETE", "/api/v1/events/00ab");
    answer(h, &posting, 204, "");
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    body_has(&posting, "\"event\":\"resume\"");
    body_has(&posting, cmid);
    answer(h, &posting, 202, "{}");
    assert_int_equal(csession_outbox_len(h->session), 1);
}

static void test_carry__the_server_closes(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    live_stream(h);
    script_log_clear(h);
    stream(h, "data: {\"event\":\"closed\",\"close_code\":4401,\"reason\":\"x\"}\n\n");
    csession_link_down(h->session, h->now);
    script_log_is(h, "state refused unauthenticated\n");
    /* And nothing but the goodbye. */
    assert_false(csession_call_next(h->session, CSESSION_FETCHING, h->now, &fetching));
    take(h, &posting, CSESSION_POSTING, "DELETE", "/api/v1/events/00ab");
    answer(h, &posting, 401, "");
    assert_false(csession_call_next(h->session, CSESSION_POSTING, h->now, &posting));
}

static void test_carry__a_refused_token_is_the_end_without_another(void **state)
{
    struct script *h = *state;
    h->options.transport = CONFAB_TRANSPORT_POLL;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    answer(h, &posting, 401, "");
    csession_link_down(h->session, h->now);
    struct confab_status st;
    csession_status(h->session, h->now, &st);
    assert_int_equal(st.state, CONFAB_STATE_REFUSED);
}

static void refuse_socket(struct script *h)
{
    static const char no[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n";
    pass(h, 60000);
    assert_true(csession_wants_link(h->session));
    csession_link_up(h->session, h->now);
    script_collect(h);
    script_bytes(h, no, sizeof(no) - 1);
    assert_false(csession_wants_link(h->session));
    csession_link_down(h->session, h->now);
}

static void fall_back(struct script *h)
{
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    refuse_socket(h);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_WS);
    refuse_socket(h);
    pass(h, 60000);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_SSE);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
}

static void test_carry__two_refused_sockets_lead_to_a_stream(void **state)
{
    struct script *h = *state;
    fall_back(h);
    answer(h, &posting, 201, HELLO);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    answer(h, &posting, 202, "{}");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0");
    stream(h, "id: 1\ndata: " CAUGHT_UP "\n\n");
    /* A socket is tried again after a while, and one more failure is enough. */
    for (int i = 0; i < 13; i++) {
        uint64_t end = h->now + 45000;
        while (h->now < end && transport(h) == CONFAB_TRANSPORT_SSE) {
            pass(h, end - h->now);
            stream(h, ":\n\n");
            if (csession_call_next(h->session, CSESSION_POSTING, h->now, &posting)) {
                answer(h, &posting, 202, "{}");
            }
        }
    }
    pass(h, 60000);
    csession_link_down(h->session, h->now);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_WS);
    refuse_socket(h);
    pass(h, 60000);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_SSE);
}

static void test_carry__not_where_the_server_is_away(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    for (int i = 0; i < 5; i++) {
        pass(h, 60000);
        assert_true(csession_wants_link(h->session));
        csession_link_down(h->session, h->now); /* nobody listens */
        assert_int_equal(transport(h), CONFAB_TRANSPORT_WS);
    }
    /* Nor where requests fare no better. */
    csession_free(h->session);
    fall_back(h);
    answer(h, &posting, 502, "<html>");
    csession_link_down(h->session, h->now);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_WS);
    refuse_socket(h);
    pass(h, 60000);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_SSE);
}

static void test_carry__a_silent_stream_leads_to_polls(void **state)
{
    struct script *h = *state;
    fall_back(h);
    answer(h, &posting, 201, HELLO);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    answer(h, &posting, 202, "{}");
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0");
    struct csession_call before = fetching;
    pass(h, 10000);
    assert_int_equal(transport(h), CONFAB_TRANSPORT_POLL);
    assert_false(csession_call_wanted(h->session, &before));
    /* The same session: what the stream held back comes with the first poll. */
    take(h, &fetching, CSESSION_FETCHING, "GET", "/api/v1/events/00ab?after=0&wait=25");
    csession_call_input(h->session, &before, "id: 1\ndata: x\n\n", 15, h->now);
    answer(h, &fetching, 200, "{\"events\":[" CAUGHT_UP "],\"last\":1}");
    struct confab_status st;
    csession_status(h->session, h->now, &st);
    assert_int_equal(st.state, CONFAB_STATE_LIVE);
}

static void test_carry__many_events_are_several_posts(void **state)
{
    struct script *h = *state;
    h->options.flags |= CONFAB_NO_FOLLOW;
    h->options.transport = CONFAB_TRANSPORT_POLL;
    char *text = malloc(16000);
    memset(text, 'x', 16000);
    assert_int_equal(script_open(h), CONFAB_OK);
    for (int i = 0; i < 2; i++) {
        char to[16];
        char cmid[CONFAB_CMID_SIZE];
        snprintf(to, sizeof(to), "user%d", i);
        const struct confab_outgoing m = {.to = to, .content = {.p = text, .n = 16000}};
        assert_int_equal(csession_send(h->session, &m, h->now, cmid), CONFAB_E_OK);
    }
    free(text);
    csession_start(h->session, h->now);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    answer(h, &posting, 201, HELLO);
    csession_tick(h->session, h->now);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events/00ab");
    assert_true(posting.body.n > 32000 && posting.body.n < 49152);
    assert_int_equal(posting.body.p[0], '[');
    assert_int_equal(posting.body.p[posting.body.n - 1], ']');
    body_has(&posting, "},{\"event\":\"send_message\"");
}

static void test_carry__a_session_name_is_no_path(void **state)
{
    struct script *h = *state;
    h->options.transport = CONFAB_TRANSPORT_SSE;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    take(h, &posting, CSESSION_POSTING, "POST", "/api/v1/events");
    answer(h, &posting, 201,
           "{\"event\":\"hello\",\"protocol\":1,\"server_time\":\"2025-01-31T08:15:30.123Z\","
           "\"session_id\":\"../x\",\"user_id\":\"1\",\"device_id\":\"3\",\"limits\":{},"
           "\"heartbeat_ms\":30000}");
    csession_link_down(h->session, h->now);
    struct confab_status st;
    csession_status(h->session, h->now, &st);
    assert_int_equal(st.state, CONFAB_STATE_WAITING);
    assert_int_equal(st.error, CONFAB_E_PROTOCOL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_carry__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_stream_in_pieces),
        T(a_gap_in_a_stream_ends_it),
        T(polls),
        T(nonsense_in_a_poll_ends_it),
        T(a_lost_session_is_another_one),
        T(sends_are_repeated_after_a_lost_post),
        T(the_server_closes),
        T(a_refused_token_is_the_end_without_another),
        T(two_refused_sockets_lead_to_a_stream),
        T(not_where_the_server_is_away),
        T(a_silent_stream_leads_to_polls),
        T(many_events_are_several_posts),
        T(a_session_name_is_no_path),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
