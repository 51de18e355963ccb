/* What shards share about identity: bounds, times, and what a full table does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <sodium.h>

#include "gateway/auth_state.h"

#define NOW_S 1800000000ULL

static struct auth_state *st;
static struct metrics metrics;
static struct random_seeded seeded;

static int setup(void **state)
{
    (void)state;
    const struct auth_state_config cfg = {
        .secrets = {.keys = {.n = 1, .key = {{1}}}},
        .shards = 2,
        .access_s = 900,
        .revoked_max = 4,
        .tickets_max = 20,
        .throttle_max = 8,
        .server_name = "here",
    };
    random_seeded_init(&seeded, 3);
    metrics_register(&metrics, &metrics);
    assert_int_equal(auth_state_new(&cfg, &seeded.base, &st), CONFAB_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    auth_state_free(st);
    metrics_unregister(&metrics);
    return 0;
}

static enum confab_err check(const char *token, uint64_t now_s)
{
    struct jwt_claims c;
    return auth_state_check(st, span_str(token), now_s, &c);
}

static void test_auth_state__nothing_before_it_is_loaded(void **state)
{
    (void)state;
    char token[JWT_TEXT_MAX + 1];
    struct jwt_claims claims;
    auth_state_token(st, 5, 6, NOW_S, token, &claims);
    assert_int_equal(claims.expires_s, NOW_S + 900);
    assert_int_equal(check(token, NOW_S), CONFAB_BUSY);
    auth_state_set_loaded(st);
    assert_int_equal(check(token, NOW_S), CONFAB_OK);
    assert_int_equal(check(token, NOW_S + 900), CONFAB_TIMEOUT);
    assert_true(auth_state_wait_loaded(st, 0));
}

static void test_auth_state__revoked_device(void **state)
{
    (void)state;
    char token[JWT_TEXT_MAX + 1];
    struct jwt_claims claims;
    const uint64_t device = 6;
    auth_state_set_loaded(st);
    auth_state_token(st, 5, device, NOW_S, token, &claims);
    uint64_t number = auth_state_revoke(st, 5, &device, 1, NOW_S, &metrics);
    assert_int_equal(check(token, NOW_S), CONFAB_FORBIDDEN);
    assert_false(auth_state_is_revoked(st, 7, NOW_S));
    /* Everybody has to have acted before it is answered. */
    struct revocation got[4];
    uint32_t n = 0;
    uint64_t last = 0;
    assert_true(auth_state_revocations(st, 0, got, 4, &n, &last));
    assert_int_equal(n, 1);
    assert_int_equal(got[0].user, 5);
    assert_int_equal(got[0].device, 6);
    assert_int_equal(last, number);
    auth_state_seen(st, 0, last);
    assert_false(auth_state_all_seen(st, number));
    auth_state_seen(st, 1, last);
    assert_true(auth_state_all_seen(st, number));
}

static void test_auth_state__ended_ones_make_room(void **state)
{
    (void)state;
    const uint64_t devices[] = {1, 2, 3, 4};
    const uint64_t next[] = {5};
    auth_state_set_loaded(st);
    auth_state_revoke(st, 9, devices, 4, NOW_S, &metrics);
    auth_state_revoke(st, 9, next, 1, NOW_S + 900 + JWT_SKEW_S, &metrics);
    assert_true(auth_state_is_revoked(st, 5, NOW_S + 960));
    assert_false(auth_state_is_revoked(st, 1, NOW_S + 960));
    assert_int_equal(metrics_total(&metrics, METRIC_BOUND_REVOKED), 0);
}

static void test_auth_state__a_full_table_keeps_nobody_in(void **state)
{
    (void)state;
    const uint64_t devices[] = {1, 2, 3, 4, 5};
    char token[JWT_TEXT_MAX + 1];
    struct jwt_claims claims;
    struct revocation got[4];
    uint32_t n;
    uint64_t last;
    auth_state_set_loaded(st);
    auth_state_token(st, 8, 80, NOW_S, token, &claims);
    uint64_t number = auth_state_revoke(st, 9, devices, 5, NOW_S, &metrics);
    assert_int_equal(metrics_total(&metrics, METRIC_BOUND_REVOKED), 1);
    for (size_t i = 0; i < 5; i++) {
        assert_true(auth_state_is_revoked(st, devices[i], NOW_S));
    }
    /* Others have to refresh; a token that is made now is good at once. */
    assert_int_equal(check(token, NOW_S), CONFAB_FORBIDDEN);
    auth_state_token(st, 8, 80, NOW_S, token, &claims);
    assert_int_equal(check(token, NOW_S), CONFAB_OK);
    assert_false(auth_state_revocations(st, 0, got, 4, &n, &last));
    assert_int_equal(last, number);
}

static void make_ticket(uint64_t user, uint8_t fill, uint64_t now_ms, enum confab_err want,
                        char text[TICKET_TEXT_LEN + 1])
{
    uint8_t raw[24];
    const struct ticket t = {user, 7, NOW_S, NOW_S + 900};
    memset(raw, fill, sizeof(raw));
    assert_int_equal(auth_state_ticket(st, &t, raw, now_ms, text), want);
}

static void test_auth_state__ticket_once_and_not_late(void **state)
{
    (void)state;
    char a[TICKET_TEXT_LEN + 1];
    char b[TICKET_TEXT_LEN + 1];
    struct ticket got;
    auth_state_set_loaded(st);
    make_ticket(5, 1, 1000, CONFAB_OK, a);
    make_ticket(5, 2, 1000, CONFAB_OK, b);
    assert_int_equal(auth_state_redeem(st, span_str(a), 1000, &got), CONFAB_OK);
    assert_int_equal(got.user, 5);
    assert_int_equal(got.device, 7);
    assert_int_equal(auth_state_redeem(st, span_str(a), 1000, &got), CONFAB_UNAUTHENTICATED);
    assert_int_equal(auth_state_redeem(st, span_str(b), 1000 + TICKET_LIFE_MS, &got),
                     CONFAB_UNAUTHENTICATED);
    assert_int_equal(auth_state_redeem(st, span_str("cft_"), 1000, &got), CONFAB_UNAUTHENTICATED);
    make_ticket(5, 3, 1000, CONFAB_OK, a);
    const uint64_t device = 7;
    auth_state_revoke(st, 5, &device, 1, NOW_S, &metrics);
    assert_int_equal(auth_state_redeem(st, span_str(a), 1000, &got), CONFAB_UNAUTHENTICATED);
}

static void test_auth_state__tickets_are_bounded(void **state)
{
    (void)state;
    char text[TICKET_TEXT_LEN + 1];
    for (uint8_t i = 0; i < TICKETS_PER_USER_MAX; i++) {
        make_ticket(5, i, 0, CONFAB_OK, text);
    }
    make_ticket(5, 99, 0, CONFAB_LIMIT, text);
    for (uint8_t i = 0; i < 4; i++) {
        make_ticket(6, (uint8_t)(100 + i), 0, CONFAB_OK, text);
    }
    make_ticket(7, 120, 0, CONFAB_BUSY, text);
    make_ticket(7, 120, TICKET_LIFE_MS, CONFAB_OK, text);
}

static uint32_t may(enum throttle_kind kind, const char *who, uint64_t now_ms)
{
    return auth_state_try(st, kind, span_str(who), now_ms);
}

static void tried(enum throttle_kind kind, const char *who, enum try_outcome o, uint64_t now_ms)
{
    auth_state_tried(st, kind, span_str(who), o, now_ms);
}

static void test_auth_state__waiting_doubles(void **state)
{
    (void)state;
    uint64_t now = 5000;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 0);
        tried(THROTTLE_ACCOUNT, "ann", TRY_FAILED, now);
    }
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 1000);
    assert_int_equal(may(THROTTLE_ACCOUNT, "bob", now), 0);
    uint32_t want = 1000;
    for (int i = 0; i < 15; i++) {
        now += want;
        assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 0);
        tried(THROTTLE_ACCOUNT, "ann", TRY_FAILED, now);
        want = want * 2 > 900000 ? 900000 : want * 2;
        assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), want);
    }
    now += 900000;
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 0);
    tried(THROTTLE_ACCOUNT, "ann", TRY_SUCCEEDED, now);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 0);
        tried(THROTTLE_ACCOUNT, "ann", TRY_FAILED, now);
    }
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now), 1000);
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", now + 1000 + 900000), 0); /* forgiven */
}

static void test_auth_state__addresses_get_more_and_keep_it(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(may(THROTTLE_ADDRESS, "192.0.2.1", 0), 0);
        tried(THROTTLE_ADDRESS, "192.0.2.1", TRY_FAILED, 0);
    }
    assert_int_equal(may(THROTTLE_ADDRESS, "192.0.2.1", 0), 1000);
    assert_int_equal(may(THROTTLE_ADDRESS, "192.0.2.1", 1000), 0);
    tried(THROTTLE_ADDRESS, "192.0.2.1", TRY_SUCCEEDED, 1000);
    assert_int_equal(may(THROTTLE_ADDRESS, "192.0.2.1", 1000), 0);
    tried(THROTTLE_ADDRESS, "192.0.2.1", TRY_FAILED, 1000);
    assert_int_equal(may(THROTTLE_ADDRESS, "192.0.2.1", 1000), 2000);
    assert_int_equal(may(THROTTLE_ADDRESS, "", 1000), 0); /* loopback is not counted */
}

/* Guesses that are sent at once are not all let through before the first has failed. */
static void test_auth_state__at_once(void **state)
{
    (void)state;
    int let = 0;
    while (may(THROTTLE_ACCOUNT, "ann", 0) == 0) {
        let++;
    }
    assert_int_equal(let, 16);
    for (int i = 0; i < let; i++) {
        tried(THROTTLE_ACCOUNT, "ann", TRY_FAILED, 0);
    }
    uint32_t wait = may(THROTTLE_ACCOUNT, "ann", 0);
    assert_true(wait > 1000);
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", wait), 0);
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", wait), 1000); /* one at a time now */
    tried(THROTTLE_ACCOUNT, "ann", TRY_GIVEN_UP, wait);
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", wait), 0);
    /* One that never told its outcome does not block for ever. */
    assert_int_equal(may(THROTTLE_ACCOUNT, "ann", wait + 60000), 0);
}

static void test_auth_state__attempts_are_bounded(void **state)
{
    (void)state;
    char who[16];
    for (int i = 0; i < 5; i++) {
        assert_int_equal(may(THROTTLE_ACCOUNT, "first", 0), 0);
        tried(THROTTLE_ACCOUNT, "first", TRY_FAILED, 0);
    }
    for (int i = 0; i < 7; i++) {
        snprintf(who, sizeof(who), "u%d", i);
        assert_int_equal(may(THROTTLE_ACCOUNT, who, 0), 0);
    }
    assert_int_equal(may(THROTTLE_ACCOUNT, "first", 0), 1000);
    for (int i = 7; i < 200; i++) {
        snprintf(who, sizeof(who), "u%d", i);
        assert_int_equal(may(THROTTLE_ACCOUNT, who, 0), 0);
    }
    assert_int_equal(may(THROTTLE_ACCOUNT, "first", 0), 0); /* the oldest were forgotten */
}

static void test_auth_state__count_in_a_window(void **state)
{
    (void)state;
    const struct span who = span_str("192.0.2.1");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(auth_state_count(st, THROTTLE_REGISTRATION, who, 3, 1000, 100), 0);
    }
    assert_int_equal(auth_state_count(st, THROTTLE_REGISTRATION, who, 3, 1000, 400), 700);
    assert_int_equal(auth_state_count(st, THROTTLE_REGISTRATION, who, 3, 1000, 1100), 0);
}

static void test_auth_state__addresses(void **state)
{
    (void)state;
    static const struct {
        const char *in;
        const char *out;
    } list[] = {
        {"192.0.2.7", "192.0.2.7"},
        {"127.0.0.1", ""},
        {"127.1.2.3", ""},
        {"::1", ""},
        {"::ffff:127.0.0.1", ""},
        {"::ffff:192.0.2.7", "192.0.2.7"},
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"},
        {"2001:db8:1:2:ffff::1", "2001:db8:1:2::"},
        {"", ""},
        {"somewhere", ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(list); i++) {
        char out[48];
        assert_int_equal(throttle_address(list[i].in, out), strlen(list[i].out));
        assert_string_equal(out, list[i].out);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(test_auth_state__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(nothing_before_it_is_loaded),
        T(revoked_device),
        T(ended_ones_make_room),
        T(a_full_table_keeps_nobody_in),
        T(ticket_once_and_not_late),
        T(tickets_are_bounded),
        T(waiting_doubles),
        T(addresses_get_more_and_keep_it),
        T(at_once),
        T(attempts_are_bounded),
        T(count_in_a_window),
        T(addresses),
    };
    return sodium_init() < 0 ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
