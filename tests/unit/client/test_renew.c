/* Tokens that run out or are refused: renewed before, between and during connections. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

static int setup(void **state)
{
    struct script *h = malloc(sizeof(*h));
    assert_non_null(h);
    script_init(h);
    h->quiet = false;
    h->renewable = true;
    *state = h;
    return 0;
}

static int teardown(void **state)
{
    script_close(*state);
    free(*state);
    return 0;
}

static void renewed(struct script *h, const char *token, uint64_t renew_ms)
{
    assert_true(csession_wants_token(h->session, h->now));
    csession_token_done(h->session, CONFAB_E_OK, span_str(token), renew_ms, h->now);
    assert_false(csession_wants_token(h->session, h->now));
}

static void renewal_fails(struct script *h, enum confab_error error)
{
    assert_true(csession_wants_token(h->session, h->now));
    csession_token_done(h->session, error, span_str(""), UINT64_MAX, h->now);
}

static void close_with(struct script *h, uint16_t code)
{
    struct buf b;
    buf_init(&b);
    ws_put_close(&b, code, span_str(""), NULL);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
    script_drop(h);
}

/* Up to the next attempt to connect. */
static void wait_for_it(struct script *h)
{
    h->now = MAX(h->now, csession_deadline(h->session));
    csession_tick(h->session, h->now);
}

static void refuse_upgrade(struct script *h)
{
    char accept[WS_ACCEPT_TEXT];
    static const char head[] = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n";
    script_upgrade(h, accept);
    script_bytes(h, head, sizeof(head) - 1);
    script_drop(h);
}

static void expect_auth(struct script *h, const char *token)
{
    script_expect(h, "\"event\":\"auth\"");
    script_expect_none(h);
    assert_string_equal(script_field(h, "token"), token);
}

static void test_renew__before_connecting_when_it_has_run_out(void **state)
{
    struct script *h = *state;
    char accept[WS_ACCEPT_TEXT];
    h->renew_ms = 500;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    assert_false(csession_wants_link(h->session));
    renewed(h, "second-token", h->now + 1000);
    script_upgrade(h, accept);
    script_reply_upgrade(h, accept);
    expect_auth(h, "second-token");
    script_log_is(h, "state connecting\n");
}

static void test_renew__a_token_that_lasts_is_used(void **state)
{
    struct script *h = *state;
    h->renew_ms = h->now + 1;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    assert_false(csession_wants_token(h->session, h->now));
    assert_true(csession_wants_link(h->session));
}

static void test_renew__a_refused_token_three_times(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    refuse_upgrade(h);
    script_log_is(h, "state connecting\nerror unauthenticated\nstate waiting unauthenticated\n");
    for (int i = 0; i < 3; i++) {
        wait_for_it(h);
        renewed(h, "another-token", UINT64_MAX);
        script_log_clear(h);
        refuse_upgrade(h);
    }
    script_log_is(h, "error unauthenticated\nstate refused unauthenticated\n");
    assert_false(csession_wants_token(h->session, h->now));
    assert_int_equal(csession_deadline(h->session), UINT64_MAX);
}

static void test_renew__after_the_server_ended_the_session(void **state)
{
    struct script *h = *state;
    h->quiet = true;
    assert_int_equal(script_open(h), CONFAB_OK);
    for (int i = 0; i < 3; i++) {
        script_live(h);
        close_with(h, WS_CLOSE_TOKEN);
        wait_for_it(h);
        renewed(h, "another-token", UINT64_MAX);
    }
    assert_true(csession_wants_link(h->session));
}

static void test_renew__signed_out_ends_it_and_keeps_the_outbox(void **state)
{
    struct script *h = *state;
    struct confab_outgoing m = {.to = "bob", .content = {"hello", 5}};
    h->quiet = true;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live(h);
    close_with(h, WS_CLOSE_TOKEN);
    assert_int_equal(csession_send(h->session, &m, h->now, NULL), CONFAB_E_OK);
    wait_for_it(h);
    h->quiet = false;
    script_log_clear(h);
    renewal_fails(h, CONFAB_E_UNAUTHENTICATED);
    script_log_is(h, "error unauthenticated\nstate refused unauthenticated\n");
    assert_false(csession_wants_link(h->session));
    assert_int_equal(csession_outbox_len(h->session), 1);
}

static void test_renew__tries_again_after_a_passing_failure(void **state)
{
    struct script *h = *state;
    h->renew_ms = 500;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    renewal_fails(h, CONFAB_E_NETWORK);
    script_log_is(h, "state connecting\nstate waiting network\n");
    assert_false(csession_wants_token(h->session, h->now));
    wait_for_it(h);
    assert_false(csession_wants_link(h->session));
    renewed(h, "second-token", UINT64_MAX);
    assert_true(csession_wants_link(h->session));
}

static void test_renew__over_the_live_connection(void **state)
{
    struct script *h = *state;
    h->renew_ms = 10000;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live(h);
    csession_tick(h->session, h->now + 1000); /* saves */
    assert_int_equal(csession_renew_at(h->session), 10000);
    h->now = 9999;
    assert_false(csession_wants_token(h->session, h->now));
    h->now = 10000;
    script_log_clear(h);
    renewal_fails(h, CONFAB_E_BUSY);
    assert_false(csession_wants_token(h->session, h->now));
    assert_int_equal(csession_renew_at(h->session), h->now + CSESSION_RENEW_MS);
    h->now += CSESSION_RENEW_MS;
    renewed(h, "second-token", 40000);
    expect_auth(h, "second-token");
    assert_int_equal(csession_renew_at(h->session), 40000);
    script_log_is(h, "");
}

static void test_renew__stops_while_it_waits_for_a_token(void **state)
{
    struct script *h = *state;
    h->renew_ms = 500;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    csession_stop(h->session, h->now);
    assert_false(csession_wants_token(h->session, h->now));
    csession_token_done(h->session, CONFAB_E_OK, span_str("late"), UINT64_MAX, h->now);
    assert_false(csession_wants_link(h->session));
    script_log_is(h, "state connecting\nstate stopped\n");
    csession_start(h->session, h->now);
    assert_true(csession_wants_link(h->session));
}

static void test_renew__without_a_refresh_token_a_refusal_is_final(void **state)
{
    struct script *h = *state;
    h->renewable = false;
    h->renew_ms = 500;
    assert_int_equal(script_open(h), CONFAB_OK);
    refuse_upgrade(h);
    script_log_is(h, "state connecting\nerror unauthenticated\nstate refused unauthenticated\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_renew__before_connecting_when_it_has_run_out),
        T(test_renew__a_token_that_lasts_is_used),
        T(test_renew__a_refused_token_three_times),
        T(test_renew__after_the_server_ended_the_session),
        T(test_renew__signed_out_ends_it_and_keeps_the_outbox),
        T(test_renew__tries_again_after_a_passing_failure),
        T(test_renew__over_the_live_connection),
        T(test_renew__stops_while_it_waits_for_a_token),
        T(test_renew__without_a_refresh_token_a_refusal_is_final),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
