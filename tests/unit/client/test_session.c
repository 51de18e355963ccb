/* Connecting, signing in, resuming and positions, against a scripted server. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

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

static void open_live(struct script *h)
{
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live(h);
}

static void open_live_at(struct script *h, char conv, unsigned head)
{
    assert_int_equal(script_open(h), CONFAB_OK);
    script_live_at(h, conv, head);
}

static void answer_fetch(struct script *h, const char *range, int status, const char *body)
{
    struct csession_fetch f;
    if (!csession_fetch_next(h->session, h->now, &f)) {
        fail_msg("no fetch, expected %s", range);
    }
    if (!strstr(f.path, range)) {
        fail_msg("expected %s, got %s", range, f.path);
    }
    assert_non_null(strstr(f.path, "&limit=1000&aliases=false"));
    csession_fetch_done(h->session, &f, status, 0, span_str(body), h->now);
}

#define M(seq, text)                                                                               \
    "{\"message_id\":\"10" seq "\",\"conversation_id\":\"" CONV_A "\",\"seq\":" seq                \
    ",\"sender_id\":\"5\",\"content\":\"" text                                                     \
    "\",\"type\":\"text\",\"sent_at\":\"2025-01-31T08:15:30.123Z\"}"
#define PAGE(covered, list)                                                                        \
    "{\"messages\":[" list "],\"next_cursor\":null,\"has_more\":false,\"hasMore\":false,"          \
    "\"covered\":[" covered "]}"

static void test_session__signs_in_and_catches_up(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_connect(h);
    script_log_is(h, "state connecting\nstate syncing\n");
    script_expect(h, "\"event\":\"resume\"");
    assert_null(strstr((const char *)h->frame.data, "since"));
    script_page(h, 'a', 8, 7, 8, "", script_message_text('a', 8, 5, "hello"));
    script_caught_up(h, "t1");
    script_log_is(h, "c a head=8 first\nm a8 hello first\nstate live\ncaught up\n");
    uint64_t seq;
    uint64_t id;
    assert_true(csession_position(
        h->session, (struct conv_id){0xaaaaaaaaaaaaaaaaULL, 0xaaaaaaaaaaaaaaaaULL}, &seq, &id));
    assert_int_equal(seq, 8);
    assert_int_equal(id, 1008);
}

static void test_session__sends_the_token_and_no_other_secret(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    char accept[WS_ACCEPT_TEXT];
    script_upgrade(h, accept);
    script_reply_upgrade(h, accept);
    script_expect(h, "{\"event\":\"auth\",\"token\":\"secret-token\"}");
}

static void test_session__applies_next_and_ignores_older(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_message(h, 'a', 8, 5, "eight");
    script_message(h, 'a', 7, 5, "seven");
    script_message(h, 'a', 8, 5, "eight");
    script_message(h, 'b', 1, 5, "one");
    script_log_is(h, "m a7 seven live\nm a8 eight live\nm b1 one live\n");
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.repeated, 2);
    assert_int_equal(stats.messages, 3);
}

static void test_session__several_events_in_one_frame(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_connect(h);
    script_expect(h, "\"batch\":true");
    script_page(h, 'a', 6, 7, 6, "", "");
    script_caught_up(h, "t1");
    script_log_clear(h);
    char seven[600];
    char eight[600];
    snprintf(seven, sizeof(seven), "%s", script_message_text('a', 7, 5, "se\\u0076en"));
    snprintf(eight, sizeof(eight), "%s", script_message_text('a', 8, 5, "eight"));
    for (h->split = 0; h->split < 4; h->split++) {
        script_send(h, "[%s,%s]", seven, eight);
    }
    script_log_is(h, "m a7 seven live\nm a8 eight live\n");
    /* What follows the event that ends the link does not count. */
    script_send(h, "[{\"event\":\"reconnect\",\"delay_ms\":5},%s]",
                script_message_text('a', 9, 5, "nine"));
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.messages, 2);
    assert_int_equal(stats.repeated, 6);
    assert_int_equal(stats.protocol_errors, 0);
}

static void test_session__an_array_that_is_none(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_send(h, "[%s,]", script_message_text('a', 7, 5, "seven"));
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.messages, 1);
    assert_int_equal(stats.protocol_errors, 1);
    assert_false(csession_wants_link(h->session));
}

static void test_session__text_with_escapes(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "a\\u00e9\\n\\\"b\\\"");
    script_log_is(h, "m a1 a\xc3\xa9\n\"b\" live\n");
}

static void test_session__own_events_of_other_devices_are_own(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 1, "me");
    script_log_is(h, "m a1 me live own\n");
}

static void test_session__gap_is_fetched_before_what_follows(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 5, 5, "five");
    script_message(h, 'a', 6, 5, "six");
    script_log_is(h, "m a1 one live\n");
    answer_fetch(h, "messages?after=1&", 200, PAGE("2,9", M("2", "two") "," M("4", "four")));
    script_log_is(h, "m a2 two filled\nm a4 four filled\nm a5 five live\nm a6 six live\n");
    assert_int_equal(csession_fills(h->session), 0);
}

static void test_session__long_gap_is_fetched_in_pieces(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 9, 5, "nine");
    answer_fetch(h, "after=1&", 200, PAGE("2,4", M("2", "two")));
    answer_fetch(h, "after=4&", 200, PAGE("5,7", ""));
    script_message(h, 'a', 10, 5, "ten");
    answer_fetch(h, "after=7&", 200, PAGE("8,8", M("8", "eight\\n")));
    script_log_is(h, "m a1 one live\nm a2 two filled\nm a8 eight\n filled\n"
                     "m a9 nine live\nm a10 ten live\n");
}

static void send_counter(struct script *h, const char *conv, unsigned seq)
{
    script_send(h,
                "{\"event\":\"counter\",\"conversation_id\":\"%s\",\"seq\":%u,\"event_id\":\"%u\","
                "\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"messages\":%u,"
                "\"preview\":{\"content\":\"x\"}}",
                conv, seq, 1000 + seq, seq);
}

/* A large conversation: what a counter tells of is fetched, not at once, and only once. */
static void test_session__counter_is_fetched_a_little_later(void **state)
{
    struct script *h = *state;
    struct csession_fetch f;
    struct confab_stats stats;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    send_counter(h, CONV_A, 1); /* no news */
    assert_int_equal(csession_fills(h->session), 0);
    send_counter(h, CONV_A, 3);
    send_counter(h, CONV_A, 4);
    assert_false(csession_fetch_next(h->session, h->now, &f));
    assert_true(csession_deadline(h->session) <= h->now + CSESSION_COUNTER_MS);
    h->now += CSESSION_COUNTER_MS;
    answer_fetch(h, "messages?after=1&", 200, PAGE("2,4", M("2", "two") "," M("4", "four")));
    script_message(h, 'a', 5, 5, "five");
    script_log_is(h, "m a1 one live\nm a2 two filled\nm a4 four filled\nm a5 five live\n");
    csession_stats(h->session, &stats);
    assert_int_equal(stats.counters, 2);
    /* A frame behind it: the gap is the same one. */
    send_counter(h, CONV_A, 7);
    script_message(h, 'a', 8, 5, "eight");
    h->now += CSESSION_COUNTER_MS;
    answer_fetch(h, "messages?after=5&", 200, PAGE("6,7", M("7", "seven")));
    script_log_is(h, "m a7 seven filled\nm a8 eight live\n");
    assert_int_equal(csession_fills(h->session), 0);
}

/* On the screen there is nothing to wait for. */
static void test_session__counter_of_what_is_looked_at_is_fetched_at_once(void **state)
{
    struct script *h = *state;
    struct conv_id a;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    assert_true(conv_id_parse(span_str(CONV_A), &a));
    assert_int_equal(csession_view(h->session, &a, 1, h->now), CONFAB_E_OK);
    send_counter(h, CONV_A, 2);
    answer_fetch(h, "messages?after=1&", 200, PAGE("2,2", M("2", "two")));
    script_log_is(h, "m a1 one live\nm a2 two filled\n");
}

/* The owner answered the resume before the event, whose counter came before the page. */
static void test_session__counter_before_its_page_is_kept(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_log_clear(h);
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    send_counter(h, CONV_A, 2);
    script_page(h, 'a', 1, 1, 1, "", script_message_text('a', 1, 5, "one"));
    script_caught_up(h, "t2");
    answer_fetch(h, "messages?after=1&", 200, PAGE("2,2", M("2", "two")));
    script_log_is(h, "c a head=1 first\nm a1 one first\ncaught up\nm a2 two filled\n");
    script_expect(h, "\"delivered\"");
    /* One of a conversation that is not known when live: there will be a page. */
    send_counter(h, CONV_B, 3);
    script_expect(h, "\"event\":\"resume\"");
}

static void test_session__fetch_is_repeated_after_failures(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 3, 5, "three");
    answer_fetch(h, "after=1&", 0, "");
    struct csession_fetch f;
    h->now = MAX(h->now, csession_deadline(h->session));
    answer_fetch(h, "after=1&", 503, "");
    h->now = MAX(h->now, csession_deadline(h->session));
    answer_fetch(h, "after=1&", 200, "not json");
    h->now = MAX(h->now, csession_deadline(h->session));
    answer_fetch(h, "after=1&", 200, PAGE("2,2", M("2", "two")));
    script_log_is(h, "m a1 one live\nm a2 two filled\nm a3 three live\n");
    assert_false(csession_fetch_next(h->session, h->now, &f));
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.fetches_failed, 3);
    assert_int_equal(stats.protocol_errors, 1);
}

static void test_session__fetch_waits_as_long_as_the_server_says(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 3, 5, "three");
    struct csession_fetch f;
    assert_true(csession_fetch_next(h->session, h->now, &f));
    csession_fetch_done(h->session, &f, 429, 5000, span_str(""), h->now);
    h->now += 4999;
    assert_false(csession_fetch_next(h->session, h->now, &f));
    h->now += 251;
    assert_true(csession_fetch_next(h->session, h->now, &f));
}

static void test_session__history_that_begins_later_is_a_gap(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 6, 5, "six");
    answer_fetch(h, "after=1&", 200, PAGE("4,5", M("4", "four")));
    script_log_is(h, "m a1 one live\ngap a 2-3\nm a4 four filled\nm a6 six live\n");
}

static void test_session__closed_conversation_does_not_stop_the_rest(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 3, 5, "three");
    answer_fetch(h, "after=1&", 404, "{}");
    script_log_is(h, "m a1 one live\ngap a 2-2\nm a3 three live\n");
}

static void test_session__gap_above_fill_max_is_skipped_and_told(void **state)
{
    struct script *h = *state;
    h->options.fill_max = 10;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 13, 5, "thirteen");
    script_log_is(h, "m a1 one live\ngap a 2-12\nm a13 thirteen live\n");
    struct csession_fetch f;
    assert_false(csession_fetch_next(h->session, h->now, &f));
}

static void test_session__held_events_are_bounded(void **state)
{
    struct script *h = *state;
    h->options.held_bytes_max = 300; /* one frame, not two */
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 3, 5, "three");
    script_message(h, 'a', 4, 5, "four");
    answer_fetch(h, "after=1&", 200, PAGE("2,4", M("2", "two") "," M("3", "three")));
    script_log_is(h, "m a1 one live\nm a2 two filled\nm a3 three live\n");
    answer_fetch(h, "after=3&", 200, PAGE("4,4", M("4", "four")));
    script_log_is(h, "m a4 four filled\n");
    struct confab_stats stats;
    csession_stats(h->session, &stats);
    assert_int_equal(stats.held_dropped, 1);
}

static void test_session__resume_sends_positions_past_the_token(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_drop(h);
    script_connect(h);
    script_expect(h, "\"event\":\"resume\"");
    assert_non_null(strstr((const char *)h->frame.data, "\"since\":\"t1\""));
    assert_non_null(strstr((const char *)h->frame.data,
                           "{\"conversation_id\":\"" CONV_A "\",\"seq\":7,\"event_id\":\"1007\"}"));
    script_caught_up(h, "t2");
    script_drop(h);
    script_connect(h);
    script_expect(h, "\"since\":\"t2\"");
    assert_null(strstr((const char *)h->frame.data, CONV_A));
}

static void test_session__missed_events_come_once(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_drop(h);
    script_connect(h);
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 7, 5, "seven"),
             script_message_text('a', 8, 5, "eight"));
    script_page(h, 'a', 8, 7, 8, "", events);
    script_message(h, 'a', 9, 5, "nine");
    script_caught_up(h, "t2");
    script_log_is(h, "m a7 seven live\nc a head=8\nm a8 eight missed\nm a9 nine live\ncaught up\n");
}

static void test_session__live_before_its_page_is_held(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_connect(h);
    script_message(h, 'a', 4, 5, "four"); /* conversation not known yet */
    script_message(h, 'b', 1, 5, "one");
    script_log_is(h, "");
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 2, 5, "two"),
             script_message_text('a', 3, 5, "three"));
    script_page(h, 'a', 3, 2, 3, "", events);
    script_log_is(h, "c a head=3 first\nm a2 two first\nm a3 three first\nm a4 four live\n");
    script_caught_up(h, "t1"); /* b is new: it begins with what came */
    script_log_is(h, "m b1 one live\ncaught up\n");
    struct csession_fetch f;
    assert_false(csession_fetch_next(h->session, h->now, &f));
}

static void test_session__live_before_a_page_that_holds_it_too(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_drop(h);
    script_connect(h);
    script_message(h, 'a', 3, 5, "three");
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 2, 5, "two"),
             script_message_text('a', 3, 5, "three"));
    script_page(h, 'a', 3, 2, 3, "", events);
    script_message(h, 'a', 4, 5, "four");
    script_caught_up(h, "t2");
    script_log_is(h, "m a1 one live\nc a head=3\nm a2 two missed\nm a3 three missed\n"
                     "m a4 four live\ncaught up\n");
}

static void test_session__hidden_events_are_covered(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 9, 2, 9, "", script_message_text('a', 5, 5, "five"));
    script_caught_up(h, "t2");
    script_message(h, 'a', 10, 5, "ten");
    script_log_is(h, "m a1 one live\nc a head=9\nm a5 five missed\ncaught up\nm a10 ten live\n");
}

static void test_session__limited_page_is_filled_from_history(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 5, 5, 5, "limited", script_message_text('a', 5, 5, "five"));
    script_message(h, 'a', 6, 5, "six");
    script_caught_up(h, "t2");
    script_log_is(h, "m a1 one live\nc a head=5\ncaught up\n");
    answer_fetch(h, "after=1&", 200, PAGE("2,6", M("2", "two") "," M("3", "three")));
    script_log_is(h, "m a2 two filled\nm a3 three filled\nm a5 five missed\nm a6 six live\n");
}

static void test_session__unfinished_gap_survives_a_drop_and_a_restart(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 5, 5, 5, "limited", script_message_text('a', 5, 5, "five"));
    script_caught_up(h, "t2");
    script_drop(h);
    script_restart(h);
    script_log_clear(h);
    script_connect(h);
    script_expect(h, "\"since\":\"t2\"");
    script_caught_up(h, "t3"); /* nothing new, but 2 to 5 are missing here */
    answer_fetch(h, "after=1&", 200, PAGE("2,5", M("2", "two") "," M("5", "five")));
    script_log_is(h, "caught up\nm a2 two filled\nm a5 five filled\n");
    script_drop(h);
    script_connect(h);
    script_expect(h, "\"seq\":5,\"event_id\":\"1005\"");
}

static void test_session__reset_starts_over(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 5, 4, 5, "reset", script_message_text('a', 5, 5, "other five"));
    script_caught_up(h, "t2");
    script_message(h, 'a', 6, 5, "six");
    script_log_is(h, "m a7 seven live\nc a head=5\nreset a\nm a5 other five first\ncaught up\n"
                     "m a6 six live\n");
}

static void caught_up_after_a_loss(struct script *h)
{
    script_send(h, "{\"event\":\"caught_up\",\"since\":\"t2\",\"server_time\":"
                   "\"2025-01-31T08:15:30.123Z\",\"reset\":true}");
}

/*
 * A live event that seems to follow what is here may follow something else, if the server was
 * restored: it waits for the page, and is not forgotten with what was.
 */
static void test_session__live_events_wait_for_what_a_resume_says(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "lost");
    script_drop(h);
    script_connect(h);
    script_message(h, 'a', 8, 5, "eight");
    script_log_is(h, "m a7 lost live\n");
    script_page(h, 'a', 7, 7, 7, "reset", script_message_text('a', 7, 5, "seven"));
    caught_up_after_a_loss(h);
    script_log_is(h, "c a head=7\nreset a\nm a7 seven first\nm a8 eight live\ncaught up\n");
    /* Where nothing was lost it is only later. */
    script_drop(h);
    script_connect(h);
    script_message(h, 'a', 9, 5, "nine");
    script_log_is(h, "");
    script_caught_up(h, "t3");
    script_log_is(h, "m a9 nine live\ncaught up\n");
}

/* What a restored server has nothing of is in no page: the end of the answer tells. */
static void test_session__what_no_page_has_after_a_loss_is_forgotten(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'b', 1, 5, "lost");
    script_log_is(h, "m b1 lost live\n");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 6, 7, 6, "", "");
    script_caught_up(h, "t2"); /* a token that counts: what did not move has no row */
    script_log_is(h, "c a head=6\ncaught up\n");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 6, 7, 6, "", "");
    script_log_clear(h);
    caught_up_after_a_loss(h);
    script_log_is(h, "c b head=0 left\nreset b\ncaught up\n");
    /* It may begin anew. */
    script_message(h, 'b', 1, 5, "one");
    script_log_is(h, "m b1 one live\n");
}

static void test_session__another_event_at_the_position_resets(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_send(h,
                "{\"event\":\"new_message\",\"conversation_id\":\"%s\",\"seq\":7,\"event_id\":"
                "\"55\",\"message_id\":\"55\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":"
                "\"5\",\"content\":\"x\",\"type\":\"text\"}",
                CONV_A);
    script_drop(h);
    script_connect(h);
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 7, 5, "seven"),
             script_message_text('a', 8, 5, "eight"));
    script_page(h, 'a', 8, 7, 8, "", events);
    script_log_is(h, "m a7 x live\nc a head=8\nreset a\nm a7 seven first\nm a8 eight first\n");
}

#define RESUME_CONFLICT                                                                            \
    "{\"event\":\"error\",\"code\":\"conflict\",\"message\":\"no\",\"ref\":\"resume\"}"

static const char *joined_a(unsigned seq)
{
    static char text[400];
    (void)snprintf(text, sizeof(text),
                   "{\"event\":\"self\",\"conversation_id\":\"%s\",\"seq\":%u,\"event_id\":\"%u\","
                   "\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"1\",\"action\":\"joined\","
                   "\"target\":\"%s\"}",
                   CONV_S, seq, 1000 + seq, CONV_A);
    return text;
}

/* It began just before this session was attached: the list did not have it, the frames went by. */
static void test_session__joined_but_in_no_page_is_asked_for_again(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_send(h, "%s", joined_a(2));
    script_log_clear(h);
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t2");
    script_log_is(h, "c a head=2 first\nm a2 two first\ncaught up\n");
}

/* It began with a live frame, and the next one fell to a resync whose answer did not have it yet.
 */
static void test_session__joined_late_and_not_in_the_last_answer_is_asked_for_again(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_message(h, 'a', 1, 5, "one");
    script_expect(h, "\"delivered\"");
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_caught_up(h, "t2");
    script_expect_none(h);
    script_send(h, "%s", joined_a(2));
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t3");
    script_log_is(h, "m a1 one live\ncaught up\ne d2 5 live\nc a head=2\nm a2 two missed\n"
                     "caught up\n");
    /* The list had it in the same answer: hearing of it asks for nothing. */
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 'a', 2, 2, 2, "", "");
    script_send(h, "%s", joined_a(3));
    script_caught_up(h, "t4");
    script_expect_none(h);
    /* It did not, in the latest: what went by before it did may be missing. */
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_caught_up(h, "t5");
    script_send(h, "%s", joined_a(4));
    script_expect(h, "\"event\":\"resume\"");
}

/*
 * After a restore: the client named it, so it was told of before it was in the list. What came next
 * fell to a resync, whose answer still had no list with it, but a moment later its joining.
 */
static void test_session__joined_in_an_answer_without_its_row_is_asked_for_again(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_message(h, 'a', 1, 5, "one");
    script_drop(h);
    script_connect(h);
    script_expect(h, "\"have\"");
    script_page(h, 'a', 1, 1, 1, "", "");
    script_caught_up(h, "t2");
    script_expect_none(h);
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 's', 2, 2, 2, "", joined_a(2));
    script_caught_up(h, "t3");
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 's', 3, 3, 3, "", joined_a(3)); /* with its row, behind it or before */
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_page(h, 's', 4, 4, 4, "", joined_a(4));
    script_caught_up(h, "t4");
    script_expect_none(h);
}

/*
 * The frame that it began with was sent before the server read the resume, and what came between
 * the two was dropped. The resume took the place of a resync, and its answer does not have it yet.
 */
static void test_session__began_before_the_resume_was_read_is_asked_for_again(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_message(h, 'b', 3, 5, "three"); /* of which nothing is known: the reason of a resume */
    script_expect(h, "\"event\":\"resume\"");
    script_message(h, 'a', 1, 5, "one");
    script_send(h, "%s", joined_a(2));
    script_page(h, 'b', 3, 3, 3, "", script_message_text('b', 3, 5, "three"));
    script_caught_up(h, "t2");
    script_expect(h, "\"event\":\"resume\"");
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t3");
    script_log_is(h, "c b head=3 first\nm b3 three first\ne d2 5 live\nm a1 one live\n"
                     "c a head=2\nm a2 two missed\ncaught up\n");
}

static void test_session__begins_nowhere_in_the_middle(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 3, 5, "three"); /* two was sent before this session was attached */
    script_log_is(h, "");
    script_expect(h, "\"event\":\"resume\"");
    script_caught_up(h, "t2"); /* the list does not have it yet */
    script_log_is(h, "caught up\n");
    script_message(h, 'a', 4, 5, "four");
    script_expect(h, "\"event\":\"resume\"");
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 2, 5, "two"),
             script_message_text('a', 3, 5, "three"));
    script_page(h, 'a', 3, 2, 3, "", events);
    script_caught_up(h, "t3");
    script_log_is(h, "c a head=3 first\nm a2 two first\nm a3 three first\nm a4 four live\n"
                     "caught up\n");
}

static void test_session__left_conversation_is_forgotten(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_send(h,
                "{\"event\":\"membership\",\"conversation_id\":\"%s\",\"seq\":8,\"event_id\":"
                "\"1008\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\",\"action\":"
                "\"remove\",\"members\":[{\"user_id\":\"1\",\"role\":\"member\"}]}",
                CONV_A);
    script_send(h,
                "{\"event\":\"membership\",\"conversation_id\":\"%s\",\"seq\":19,\"event_id\":"
                "\"1019\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\",\"action\":"
                "\"add\",\"members\":[{\"user_id\":\"1\",\"role\":\"member\"}]}",
                CONV_A);
    script_message(h, 'a', 20, 5, "back again");
    script_log_is(h, "m a7 seven live\ne a8 3 live\ne a19 3 live\nm a20 back again live\n");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 0, 0, 0, "left", "");
    script_log_is(h, "c a head=0 left\n");
    uint64_t seq;
    uint64_t id;
    assert_false(csession_position(
        h->session, (struct conv_id){0xaaaaaaaaaaaaaaaaULL, 0xaaaaaaaaaaaaaaaaULL}, &seq, &id));
}

static void test_session__resync_resumes_on_the_same_link(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    assert_non_null(script_take(h)); /* its ack */
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    assert_non_null(strstr((const char *)h->frame.data, "\"seq\":1,\"event_id\":\"1001\""));
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t2");
    script_log_is(h, "m a1 one live\nc a head=2\nm a2 two missed\ncaught up\n");
    assert_true(csession_wants_link(h->session));
}

/*
 * The server sent it before it read this client's own resume, and is busy with that when it reads
 * the second. What that one was for is asked again, on the same connection.
 */
static void test_session__resync_that_crosses_a_resume(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_send(h, "%s", joined_a(2));
    script_expect(h, "\"event\":\"resume\"");
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_send(h, RESUME_CONFLICT);
    script_expect_none(h);
    assert_true(csession_wants_link(h->session));
    script_caught_up(h, "t2"); /* too early for what joined */
    script_expect(h, "\"since\":\"t2\"");
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t3");
    script_expect_none(h);
    script_log_is(h, "e d2 5 live\nc a head=2 first\nm a2 two first\ncaught up\n");
}

/* Nothing else can be under way: there is no answer to wait for. */
static void test_session__conflict_of_the_only_resume_reconnects(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_send(h, "{\"event\":\"resync\"}");
    script_expect(h, "\"event\":\"resume\"");
    script_send(h, RESUME_CONFLICT);
    assert_false(csession_wants_link(h->session));
}

/* The answer to an earlier question ends SYNC; what was asked for comes with the next one. */
static void test_session__every_answer_counts(void **state)
{
    struct script *h = *state;
    open_live_at(h, 's', 1);
    script_send(h, "%s", joined_a(2));
    script_expect(h, "\"event\":\"resume\"");
    script_caught_up(h, "t2");
    script_page(h, 'a', 2, 2, 2, "", script_message_text('a', 2, 5, "two"));
    script_caught_up(h, "t3");
    script_log_is(h, "e d2 5 live\ncaught up\nc a head=2 first\nm a2 two first\n");
    script_drop(h);
    script_connect(h);
    script_expect(h, "\"since\":\"t3\"");
}

static void test_session__other_events_are_in_the_sequence(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_send(h,
                "{\"event\":\"message_edited\",\"conversation_id\":\"%s\",\"seq\":2,\"event_id\":"
                "\"1002\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\",\"message_id\":"
                "\"1001\",\"target_seq\":1,\"content\":\"uno\",\"edited_at\":"
                "\"2025-01-31T08:15:30.123Z\"}",
                CONV_A);
    script_send(h,
                "{\"event\":\"message_deleted\",\"conversation_id\":\"%s\",\"seq\":3,\"event_id\":"
                "\"1003\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\",\"message_id\":"
                "\"1001\",\"target_seq\":1}",
                CONV_A);
    script_send(h,
                "{\"event\":\"conversation\",\"conversation_id\":\"%s\",\"seq\":4,\"event_id\":"
                "\"1004\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\",\"name\":\"n\"}",
                CONV_A);
    script_send(h,
                "{\"event\":\"self\",\"conversation_id\":\"%s\",\"seq\":1,\"event_id\":\"1001\","
                "\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"1\",\"action\":\"pin\","
                "\"target\":\"%s\",\"pinned\":true}",
                CONV_S, CONV_A);
    script_send(h,
                "{\"event\":\"delivery_receipt\",\"conversation_id\":\"%s\",\"from_seq\":1,\"seq\":"
                "3,\"message_id\":\"1001\",\"user_id\":\"5\",\"status\":\"read\",\"at\":"
                "\"2025-01-31T08:15:30.123Z\"}",
                CONV_A);
    script_send(h, "{\"event\":\"from_the_future\",\"x\":[1,2,{}]}");
    script_message(h, 'a', 5, 5, "five");
    script_log_is(h, "m a1 one live\ne a2 1 live\ne a3 2 live\ne a4 4 live\ne d1 5 live\n"
                     "r a3 user 5 read\nm a5 five live\n");
}

static void test_session__waits_are_random_and_grow(void **state)
{
    struct script *h = *state;
    h->options.backoff_min_ms = 100;
    h->options.backoff_max_ms = 2000;
    assert_int_equal(script_open(h), CONFAB_OK);
    csession_start(h->session, h->now);
    uint64_t longest = 0;
    uint64_t caps[] = {100, 200, 400, 800, 1600, 2000, 2000, 2000};
    uint64_t different = 0;
    uint64_t before = UINT64_MAX;
    for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
        assert_true(csession_wants_link(h->session));
        csession_link_down(h->session, h->now);
        assert_false(csession_wants_link(h->session));
        uint64_t wait = csession_deadline(h->session) - h->now;
        assert_in_range(wait, 0, caps[i]);
        longest = MAX(longest, wait);
        different += wait != before ? 1 : 0;
        before = wait;
        if (wait > 0) {
            csession_tick(h->session, h->now + wait - 1);
            assert_false(csession_wants_link(h->session));
        }
        h->now += wait;
        csession_tick(h->session, h->now);
    }
    assert_true(longest > 500);
    assert_true(different > 4);
}

static void test_session__reconnect_waits_the_given_time(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_send(h, "{\"event\":\"reconnect\",\"delay_ms\":7300}");
    assert_false(csession_wants_link(h->session));
    script_drop(h);
    h->now += 1000;
    csession_tick(h->session, h->now); /* saves */
    assert_int_equal(csession_deadline(h->session), h->now + 6300);
    h->now += 6300;
    csession_tick(h->session, h->now);
    assert_true(csession_wants_link(h->session));
}

static void refuse_upgrade(struct script *h, const char *head)
{
    char accept[WS_ACCEPT_TEXT];
    script_upgrade(h, accept);
    script_bytes(h, head, strlen(head));
    assert_false(csession_wants_link(h->session));
    script_drop(h);
}

static void test_session__honours_retry_after(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    h->options.backoff_min_ms = 10;
    assert_int_equal(script_open(h), CONFAB_OK);
    refuse_upgrade(h, "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 40\r\n"
                      "Content-Length: 0\r\n\r\n");
    assert_in_range(csession_deadline(h->session), h->now + 40000, h->now + 40010);
    script_log_is(h, "state connecting\nerror busy\nstate waiting busy\n");
}

/* Those who were told the same time, because there is no room for their resume, spread by
 * themselves, the further the oftener it happens. */
static void test_session__a_busy_resume_waits_and_spreads(void **state)
{
    struct script *h = *state;
    uint64_t least = UINT64_MAX;
    uint64_t most = 0;
    h->options.backoff_min_ms = 100;
    h->options.backoff_max_ms = 6400;
    assert_int_equal(script_open(h), CONFAB_OK);
    for (int i = 0; i < 24; i++) {
        script_connect(h);
        script_expect(h, "\"event\":\"resume\"");
        script_send(h, "{\"event\":\"error\",\"code\":\"busy\",\"message\":\"no\",\"ref\":"
                       "\"resume\",\"retry_after_ms\":3000}");
        script_drop(h);
        uint64_t wait = csession_deadline(h->session) - h->now;
        assert_in_range(wait, 3000, 3000 + (i < 6 ? 100U << i : 6400U));
        least = MIN(least, wait);
        most = MAX(most, wait);
        h->now += wait;
        csession_tick(h->session, h->now);
    }
    assert_true(most - least > 1000);
}

static void test_session__refused_token_ends_it(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    assert_int_equal(script_open(h), CONFAB_OK);
    refuse_upgrade(h, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
    assert_int_equal(csession_deadline(h->session), UINT64_MAX);
    script_log_is(h, "state connecting\nerror unauthenticated\nstate refused unauthenticated\n");

    char accept[WS_ACCEPT_TEXT];
    script_upgrade(h, accept);
    script_reply_upgrade(h, accept);
    struct buf b;
    buf_init(&b);
    ws_put_close(&b, WS_CLOSE_TOKEN, span_str(""), NULL);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
    script_drop(h);
    script_log_is(h, "state connecting\nstate refused unauthenticated\n");
    assert_false(csession_wants_link(h->session));
}

static void test_session__wrong_accept_is_a_protocol_error(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    refuse_upgrade(h, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: "
                      "Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n");
    script_log_is(h, "error protocol\n");
    refuse_upgrade(h, "SSH-2.0-OpenSSH_9.2\r\n\r\n");
    script_log_is(h, "error protocol\n");
}

static void test_session__heartbeat_and_silence(void **state)
{
    struct script *h = *state;
    open_live(h);
    assert_int_equal(csession_deadline(h->session), h->now + 1000); /* the state is saved */
    csession_tick(h->session, h->now + 1000);
    assert_int_equal(csession_deadline(h->session), h->now + 30000);
    h->now += 30000;
    csession_tick(h->session, h->now);
    script_expect(h, "{\"event\":\"heartbeat\"}");
    script_send(h, "{\"event\":\"heartbeat\"}");
    h->now += 59999;
    csession_tick(h->session, h->now);
    assert_true(csession_wants_link(h->session));
    h->now += 1;
    csession_tick(h->session, h->now);
    assert_false(csession_wants_link(h->session));
}

static void test_session__gives_up_a_connection_that_does_not_answer(void **state)
{
    struct script *h = *state;
    h->options.timeout_ms = 5000;
    assert_int_equal(script_open(h), CONFAB_OK);
    char accept[WS_ACCEPT_TEXT];
    script_upgrade(h, accept);
    h->now += 4999;
    csession_tick(h->session, h->now);
    assert_true(csession_wants_link(h->session));
    h->now += 1;
    csession_tick(h->session, h->now);
    assert_false(csession_wants_link(h->session));
}

static void test_session__answers_ping_and_close(void **state)
{
    struct script *h = *state;
    open_live(h);
    struct buf b;
    buf_init(&b);
    ws_put_frame(&b, WS_PING, span_str("are you there"), NULL);
    ws_put_close(&b, WS_CLOSE_GOING_AWAY, span_str("bye"), NULL);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
    assert_false(csession_wants_link(h->session));
    struct span out = csession_output(h->session);
    uint8_t bytes[256];
    assert_in_range(out.n, 1, sizeof(bytes));
    memcpy(bytes, out.p, out.n);
    struct ws_frame f;
    assert_int_equal(ws_decode(&h->ws, bytes, out.n, &f), WS_FRAME);
    assert_int_equal(f.opcode, WS_PONG);
    assert_int_equal(f.len, 13);
    assert_int_equal(ws_decode(&h->ws, bytes + f.consumed, out.n - f.consumed, &f), WS_FRAME);
    assert_int_equal(f.opcode, WS_CLOSE);
    assert_int_equal(f.close_code, WS_CLOSE_GOING_AWAY);
}

static void test_session__fragmented_message(void **state)
{
    struct script *h = *state;
    open_live(h);
    const char *text = script_message_text('a', 1, 5, "in pieces");
    struct buf b;
    buf_init(&b);
    uint8_t head[WS_HEADER_MAX];
    size_t half = strlen(text) / 2;
    buf_put(&b, head, ws_header(head, WS_TEXT, false, half, NULL));
    buf_put(&b, text, half);
    ws_put_frame(&b, WS_PING, span_str(""), NULL);
    buf_put(&b, head, ws_header(head, WS_CONTINUATION, true, strlen(text) - half, NULL));
    buf_put(&b, text + half, strlen(text) - half);
    script_bytes(h, b.data, b.len);
    buf_deinit(&b);
    script_log_is(h, "m a1 in pieces live\n");
}

static void test_session__garbage_ends_the_link_and_nothing_else(void **state)
{
    static const char *const garbage[] = {
        "\x81\x03xyz",               /* not JSON */
        "\x81\x02{}",                /* no event */
        "\x82\x01x",                 /* binary */
        "\xff\xff\xff\xff",          /* reserved bits */
        "\x81\x81\x01\x02\x03\x04x", /* masked */
        "\x81\x02\xc3\x28",          /* not UTF-8 */
        "\x80\x01x",                 /* continues nothing */
    };
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_log_is(h, "m a1 one live\n");
    for (size_t i = 0; i < ARRAY_LEN(garbage); i++) {
        script_bytes(h, garbage[i], strlen(garbage[i]));
        assert_false(csession_wants_link(h->session));
        script_log_is(h, "error protocol\n");
        script_drop(h);
        script_connect(h);
        script_caught_up(h, "t2");
        script_log_is(h, "caught up\n");
        script_expect(h, "\"event\":\"resume\"");
    }
    script_message(h, 'a', 2, 5, "two");
    script_log_is(h, "m a2 two live\n");
}

static void test_session__page_that_lies_ends_the_link(void **state)
{
    struct script *h = *state;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_connect(h);
    /* An event outside the range that it is said to be in. */
    script_page(h, 'a', 8, 7, 8, "", script_message_text('a', 9, 5, "nine"));
    assert_false(csession_wants_link(h->session));
    script_drop(h);
    script_connect(h);
    /* An event of another conversation. */
    script_page(h, 'a', 8, 7, 8, "", script_message_text('b', 8, 5, "eight"));
    assert_false(csession_wants_link(h->session));
    script_log_clear(h);
}

static void test_session__delivered_acks_are_cumulative_and_rare(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_expect(h, "{\"event\":\"ack\",\"conversation_id\":\"" CONV_A
                     "\",\"seq\":1,\"status\":\"delivered\"}");
    script_message(h, 'a', 2, 5, "two");
    script_message(h, 'b', 1, 5, "elsewhere");
    script_expect(h, CONV_B);
    script_message(h, 'a', 3, 5, "three");
    script_message(h, 'a', 4, 1, "own");
    script_expect_none(h);
    assert_int_equal(csession_deadline(h->session), h->now + 250);
    h->now += 250;
    csession_tick(h->session, h->now);
    script_expect(h, "\"seq\":3,\"status\":\"delivered\"");
    script_expect_none(h);
}

static void refuse_ack(struct script *h, const char *conv, unsigned after_ms)
{
    script_send(h,
                "{\"event\":\"error\",\"code\":\"busy\",\"message\":\"later\",\"ref\":\"ack\","
                "\"conversation_id\":\"%s\",\"retry_after_ms\":%u}",
                conv, after_ms);
}

static void test_session__a_refused_ack_is_told_again(void **state)
{
    struct script *h = *state;
    h->options.backoff_min_ms = 10;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_expect(h, "\"seq\":1,\"status\":\"delivered\"");
    script_message(h, 'a', 2, 5, "two"); /* would be told after 250 ms */
    script_log_clear(h);
    refuse_ack(h, CONV_A, 5000);
    script_log_is(h, "");
    h->now += 4999;
    csession_tick(h->session, h->now);
    script_expect_none(h);
    uint64_t at = csession_deadline(h->session);
    assert_true(at > h->now && at <= h->now + 1 + 10);
    h->now = at;
    csession_tick(h->session, h->now);
    script_expect(h, "\"seq\":2,\"status\":\"delivered\"");
    assert_int_equal(
        csession_mark_read(
            h->session, (struct conv_id){0xaaaaaaaaaaaaaaaaULL, 0xaaaaaaaaaaaaaaaaULL}, 2, h->now),
        CONFAB_E_OK);
    h->now += 250;
    csession_tick(h->session, h->now);
    script_expect(h, "\"seq\":2,\"status\":\"read\"");
    refuse_ack(h, CONV_A, 100);
    h->now += 110;
    csession_tick(h->session, h->now);
    script_expect(h, "\"seq\":2,\"status\":\"delivered\"");
    script_expect(h, "\"seq\":2,\"status\":\"read\"");
    h->now += 5000;
    csession_tick(h->session, h->now);
    script_expect_none(h);
    /* One of a conversation that is not followed is told as any error. */
    script_log_clear(h);
    refuse_ack(h, CONV_B, 100);
    script_log_is(h, "error busy\n");
}

static void test_session__read_acks(void **state)
{
    struct script *h = *state;
    h->options.flags = CONFAB_NO_DELIVERED;
    h->mark_read = true;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_expect(h, "\"seq\":1,\"status\":\"read\"");
    script_message(h, 'a', 2, 5, "two");
    script_expect_none(h);
    script_drop(h); /* the ack of 2 is still due, and that of 1 may be lost */
    script_connect(h);
    script_expect(h, "resume");
    script_caught_up(h, "t2");
    script_expect(h, "\"seq\":2,\"status\":\"read\"");
    struct conv_id unknown = {1, 1};
    assert_int_equal(csession_mark_read(h->session, unknown, 1, h->now), CONFAB_E_NOT_FOUND);
}

static void test_session__state_survives_a_restart(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_restart(h);
    script_connect(h);
    script_expect(h, "\"since\":\"t1\"");
    assert_non_null(strstr((const char *)h->frame.data, "\"seq\":7,\"event_id\":\"1007\""));
    script_page(h, 'a', 7, 7, 7, "", script_message_text('a', 7, 5, "seven"));
    script_caught_up(h, "t2");
    script_log_is(h, "m a7 seven live\nc a head=7\ncaught up\n");
    assert_null(memmem(h->state.data, h->state.len, "secret-token", 12));
}

static void test_session__damaged_state_is_refused(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 7, 5, "seven");
    csession_free(h->session);
    h->session = NULL;
    struct buf good = h->state;
    buf_init(&h->state);
    for (size_t i = 0; i < good.len; i++) {
        buf_clear(&h->state);
        buf_put(&h->state, good.data, good.len);
        h->state.data[i] ^= 1;
        assert_int_equal(script_open(h), CONFAB_CORRUPT);
        buf_clear(&h->state);
        buf_put(&h->state, good.data, MAX(i, 1U));
        assert_int_equal(script_open(h), CONFAB_CORRUPT);
    }
    buf_deinit(&good);
}

static void test_session__state_of_another_user_is_refused(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    open_live(h);
    script_message(h, 'a', 7, 5, "seven");
    script_restart(h);
    script_log_clear(h);
    h->user_id = 2;
    script_connect(h);
    script_drop(h);
    script_log_is(h, "state connecting\nerror damaged\nstate refused damaged\n");
}

static void test_session__stop_says_goodbye(void **state)
{
    struct script *h = *state;
    open_live(h);
    h->quiet = false;
    csession_stop(h->session, h->now);
    assert_false(csession_wants_link(h->session));
    assert_true(csession_output(h->session).n > 0);
    script_drop(h);
    script_log_is(h, "state stopped\n");
    script_connect(h);
    script_log_is(h, "state connecting\nstate syncing\n");
}

/* Each of the ways in which several events come at once. */
static void test_session__stop_in_a_handler_is_at_once(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'a', 4, 5, "four");
    script_message(h, 'a', 5, 5, "five");
    h->stop_after = 1;
    answer_fetch(h, "after=1&", 200, PAGE("2,3", M("2", "two") "," M("3", "three")));
    script_log_is(h, "m a1 one live\nm a2 two filled\n");
    script_drop(h);
    script_connect(h);
    char events[1024];
    snprintf(events, sizeof(events), "%s,%s", script_message_text('a', 3, 5, "three"),
             script_message_text('a', 4, 5, "four"));
    h->stop_after = 1;
    script_page(h, 'a', 5, 3, 4, "", events);
    script_log_is(h, "c a head=5\nm a3 three missed\n");
    script_drop(h);
    script_connect(h);
    script_message(h, 'a', 5, 5, "five");
    script_message(h, 'a', 6, 5, "six");
    h->stop_after = 2;
    script_page(h, 'a', 5, 4, 4, "", script_message_text('a', 4, 5, "four"));
    script_log_is(h, "c a head=5\nm a4 four missed\nm a5 five live\n");
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 6, 6, 6, "", script_message_text('a', 6, 5, "six"));
    script_caught_up(h, "t2");
    script_log_is(h, "c a head=6\nm a6 six missed\ncaught up\n");
}

static void test_session__too_many_conversations_are_left_out(void **state)
{
    struct script *h = *state;
    h->options.conversations_max = 1;
    open_live(h);
    script_message(h, 'a', 1, 5, "one");
    script_message(h, 'b', 1, 5, "other");
    script_message(h, 'a', 2, 5, "two");
    script_log_is(h, "m a1 one live\nerror full\nm a2 two live\n");
}

/* The same conversation with the server whatever the sizes of the pieces its bytes come in. */
static void test_session__split_at_every_byte(void **state)
{
    struct script *h = *state;
    for (size_t split = 1; split < 400; split += split < 20 ? 1 : 37) {
        h->split = split;
        assert_int_equal(script_open(h), CONFAB_OK);
        script_connect(h);
        script_page(h, 'a', 8, 7, 8, "", script_message_text('a', 8, 5, "h\\u00e9"));
        script_caught_up(h, "t1");
        script_message(h, 'a', 9, 5, "nine");
        script_message(h, 'a', 11, 5, "eleven");
        script_message(h, 'b', 1, 5, "one");
        answer_fetch(h, "after=9&", 200, PAGE("10,10", M("10", "ten")));
        script_log_is(h, "c a head=8 first\nm a8 h\xc3\xa9 first\ncaught up\nm a9 nine live\n"
                         "m b1 one live\nm a10 ten filled\nm a11 eleven live\n");
        csession_free(h->session);
        h->session = NULL;
        buf_deinit(&h->state);
    }
}

/* A conversation that began while this client was away, with more than a page holds. */
static void test_session__new_conversation_is_filled_from_the_time_of_absence(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_drop(h);
    script_restart(h);
    script_connect(h);
    script_page(h, 'a', 9, 8, 9, "limited", script_message_text('a', 9, 5, "nine"));
    script_caught_up(h, "t2");
    script_log_is(h, "c a head=9 first\ncaught up\n");
    /* 5 s before the last caught_up; the answer says that this is seq 6. */
    answer_fetch(h, "after=2025-01-31T08:15:25.123Z&", 200, PAGE("6,7", M("7", "seven")));
    script_log_is(h, "m a7 seven filled\n");
    answer_fetch(h, "after=7&", 200, PAGE("8,8", ""));
    script_log_is(h, "m a9 nine first\n");
    script_message(h, 'a', 10, 5, "ten");
    script_log_is(h, "m a10 ten live\n");
}

static void test_session__nothing_new_before_the_page(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_drop(h);
    script_connect(h);
    script_page(h, 'a', 9, 8, 9, "limited", script_message_text('a', 9, 5, "nine"));
    script_caught_up(h, "t2");
    answer_fetch(h, "after=2025", 200, PAGE("10,9", ""));
    script_log_is(h, "c a head=9 first\ncaught up\nm a9 nine first\n");
}

/* A conversation that was joined meanwhile and is older: or the server's clock went back. */
static void test_session__the_page_begins_before_the_absence(void **state)
{
    struct script *h = *state;
    open_live(h);
    script_drop(h);
    script_connect(h);
    char events[1200];
    char eight[512];
    (void)snprintf(eight, sizeof(eight), "%s", script_message_text('a', 8, 5, "eight"));
    char *at = strstr(eight, "08:15:30.123Z");
    assert_non_null(at);
    memcpy(at, "08:15:25.122Z", 13); /* a millisecond before what would be asked for */
    (void)snprintf(events, sizeof(events), "%s,%s", eight, script_message_text('a', 9, 5, "nine"));
    script_page(h, 'a', 9, 8, 9, "limited", events);
    script_caught_up(h, "t2");
    assert_int_equal(csession_fills(h->session), 0);
    script_log_is(h, "c a head=9 first\nm a8 eight first\nm a9 nine first\ncaught up\n");
    script_message(h, 'a', 10, 5, "ten");
    script_log_is(h, "m a10 ten live\n");
}

static void test_session__joined_again_after_leaving(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 6);
    script_message(h, 'a', 7, 5, "seven");
    script_send(h,
                "{\"event\":\"membership\",\"conversation_id\":\"%s\",\"seq\":8,\"event_id\":"
                "\"1008\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"1\",\"action\":"
                "\"leave\",\"members\":[]}",
                CONV_A);
    script_drop(h);
    script_restart(h);
    script_connect(h);
    script_page(h, 'a', 12, 11, 12, "limited", script_message_text('a', 12, 5, "twelve"));
    script_caught_up(h, "t2");
    /* What was handed out before it left does not come again. */
    answer_fetch(h, "after=2025", 200,
                 PAGE("7,12", M("7", "seven") "," M("10", "ten") "," M("12", "twelve")));
    script_log_is(h, "m a7 seven live\ne a8 3 live\nc a head=12 first\ncaught up\n"
                     "m a10 ten filled\nm a12 twelve first\n");
}

/* "action": "remove" or "add", of this client's user. */
static const char *own_membership(unsigned seq, const char *action)
{
    static char text[4][400];
    static unsigned next;
    char *out = text[next++ % 4];
    (void)snprintf(out, sizeof(text[0]),
                   "{\"event\":\"membership\",\"conversation_id\":\"%s\",\"seq\":%u,"
                   "\"event_id\":\"%u\",\"sent_at\":\"2025-01-31T08:15:30.123Z\",\"from\":\"5\","
                   "\"action\":\"%s\",\"members\":[{\"user_id\":\"1\",\"role\":\"member\"}]}",
                   CONV_A, seq, 1000 + seq, action);
    return out;
}

static void test_session__left_and_joined_within_a_page(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 1);
    script_drop(h);
    script_connect(h);
    char events[2048];
    snprintf(events, sizeof(events), "%s,%s,%s,%s", script_message_text('a', 2, 5, "two"),
             own_membership(3, "remove"), own_membership(6, "add"),
             script_message_text('a', 7, 5, "seven"));
    script_page(h, 'a', 7, 2, 7, "", events);
    script_caught_up(h, "t2");
    script_message(h, 'a', 8, 5, "eight");
    script_log_is(h, "c a head=7\nm a2 two missed\ne a3 3 missed\ne a6 3 missed\n"
                     "m a7 seven missed\ncaught up\nm a8 eight live\n");
}

static void test_session__left_and_joined_behind_a_gap(void **state)
{
    struct script *h = *state;
    open_live_at(h, 'a', 1);
    script_message(h, 'a', 3, 5, "three"); /* two is missing */
    script_send(h, "%s", own_membership(4, "remove"));
    script_send(h, "%s", own_membership(8, "add"));
    script_message(h, 'a', 9, 5, "nine");
    answer_fetch(h, "after=1&", 200, PAGE("2,9", M("2", "two")));
    script_log_is(h,
                  "m a2 two filled\nm a3 three live\ne a4 3 live\ne a8 3 live\nm a9 nine live\n");
}

static void test_session__no_follow_takes_nothing(void **state)
{
    struct script *h = *state;
    h->quiet = false;
    h->options.flags = CONFAB_NO_FOLLOW;
    assert_int_equal(script_open(h), CONFAB_OK);
    script_connect(h);
    script_log_is(h, "state connecting\nstate live\n");
    script_message(h, 'a', 1, 5, "one");
    script_expect_none(h);
    script_log_is(h, "");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_session__signs_in_and_catches_up),
        T(test_session__sends_the_token_and_no_other_secret),
        T(test_session__applies_next_and_ignores_older),
        T(test_session__several_events_in_one_frame),
        T(test_session__an_array_that_is_none),
        T(test_session__text_with_escapes),
        T(test_session__own_events_of_other_devices_are_own),
        T(test_session__gap_is_fetched_before_what_follows),
        T(test_session__long_gap_is_fetched_in_pieces),
        T(test_session__counter_is_fetched_a_little_later),
        T(test_session__counter_of_what_is_looked_at_is_fetched_at_once),
        T(test_session__counter_before_its_page_is_kept),
        T(test_session__fetch_is_repeated_after_failures),
        T(test_session__fetch_waits_as_long_as_the_server_says),
        T(test_session__history_that_begins_later_is_a_gap),
        T(test_session__closed_conversation_does_not_stop_the_rest),
        T(test_session__gap_above_fill_max_is_skipped_and_told),
        T(test_session__held_events_are_bounded),
        T(test_session__resume_sends_positions_past_the_token),
        T(test_session__missed_events_come_once),
        T(test_session__live_before_its_page_is_held),
        T(test_session__live_before_a_page_that_holds_it_too),
        T(test_session__hidden_events_are_covered),
        T(test_session__limited_page_is_filled_from_history),
        T(test_session__unfinished_gap_survives_a_drop_and_a_restart),
        T(test_session__reset_starts_over),
        T(test_session__live_events_wait_for_what_a_resume_says),
        T(test_session__what_no_page_has_after_a_loss_is_forgotten),
        T(test_session__another_event_at_the_position_resets),
        T(test_session__joined_but_in_no_page_is_asked_for_again),
        T(test_session__joined_in_an_answer_without_its_row_is_asked_for_again),
        T(test_session__joined_late_and_not_in_the_last_answer_is_asked_for_again),
        T(test_session__began_before_the_resume_was_read_is_asked_for_again),
        T(test_session__begins_nowhere_in_the_middle),
        T(test_session__left_conversation_is_forgotten),
        T(test_session__resync_resumes_on_the_same_link),
        T(test_session__resync_that_crosses_a_resume),
        T(test_session__conflict_of_the_only_resume_reconnects),
        T(test_session__every_answer_counts),
        T(test_session__other_events_are_in_the_sequence),
        T(test_session__waits_are_random_and_grow),
        T(test_session__reconnect_waits_the_given_time),
        T(test_session__honours_retry_after),
        T(test_session__a_busy_resume_waits_and_spreads),
        T(test_session__refused_token_ends_it),
        T(test_session__wrong_accept_is_a_protocol_error),
        T(test_session__heartbeat_and_silence),
        T(test_session__gives_up_a_connection_that_does_not_answer),
        T(test_session__answers_ping_and_close),
        T(test_session__fragmented_message),
        T(test_session__garbage_ends_the_link_and_nothing_else),
        T(test_session__page_that_lies_ends_the_link),
        T(test_session__delivered_acks_are_cumulative_and_rare),
        T(test_session__a_refused_ack_is_told_again),
        T(test_session__read_acks),
        T(test_session__state_survives_a_restart),
        T(test_session__damaged_state_is_refused),
        T(test_session__state_of_another_user_is_refused),
        T(test_session__stop_says_goodbye),
        T(test_session__stop_in_a_handler_is_at_once),
        T(test_session__too_many_conversations_are_left_out),
        T(test_session__split_at_every_byte),
        T(test_session__new_conversation_is_filled_from_the_time_of_absence),
        T(test_session__nothing_new_before_the_page),
        T(test_session__the_page_begins_before_the_absence),
        T(test_session__joined_again_after_leaving),
        T(test_session__left_and_joined_within_a_page),
        T(test_session__left_and_joined_behind_a_gap),
        T(test_session__no_follow_takes_nothing),
    };
    return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
