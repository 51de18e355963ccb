/* The presence engine on a clock of the test's: sessions, merging, lingering, coalescing, saving.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/random.h"
#include "core/circle.h"
#include "core/presence.h"

#define WALL 1000000U /* seconds since 1970 when the test's clock is at 0 */

static struct presence *p;
static struct presence_config cfg;
static uint64_t now;

static int setup(void **state)
{
    (void)state;
    now = 5000;
    presence_config_defaults(&cfg);
    assert_int_equal(presence_new(&cfg, 1, now, &p), CONFAB_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    presence_free(p);
    return 0;
}

static uint32_t wall(void)
{
    return WALL + (uint32_t)(now / 1000);
}

static void pass(uint64_t ms)
{
    /* In steps, as turns come. */
    for (uint64_t end = now + ms; now < end;) {
        now = MIN(end, now + 50);
        presence_advance(p, now, wall());
    }
}

static void report(uint64_t user, uint16_t source, enum presence_status st, bool lingers)
{
    assert_int_equal(presence_report(p, user, source, st, lingers, wall(), now), CONFAB_OK);
}

/* The changes that are waiting, as letters; of one user. */
static const char *changes(void)
{
    static char text[32];
    struct presence_state st;
    uint64_t user;
    size_t n = 0;
    while (presence_next_changed(p, &user, &st)) {
        text[n++] = presence_text((enum presence_status)st.status)[1]; /* n, w, f */
    }
    text[n] = 0;
    return text;
}

/* ---- A session ---- */

static void test_presence__a_session_goes_away_and_comes_back(void **state)
{
    (void)state;
    struct presence_session ps;
    uint32_t after;
    presence_session_begin(&ps, now);
    assert_int_equal(ps.state, PRESENCE_ONLINE);
    assert_false(presence_session_judge(&cfg, &ps, 5, true, now, &after));
    assert_int_equal(after, 60000);
    /* Heard all the time, nothing done. */
    now += cfg.away_after_ms - 1;
    assert_false(presence_session_judge(&cfg, &ps, (uint32_t)(now / 1000), true, now, &after));
    assert_in_range(after, 1, 1000);
    now += 1;
    assert_true(presence_session_judge(&cfg, &ps, (uint32_t)(now / 1000), true, now, &after));
    assert_int_equal(ps.state, PRESENCE_AWAY);
    assert_int_equal(after, 60000);
    assert_true(presence_session_did(&ps, now));
    assert_int_equal(ps.state, PRESENCE_ONLINE);
    assert_false(presence_session_did(&ps, now));
}

static void test_presence__silence_is_the_end_unless_nobody_listens(void **state)
{
    (void)state;
    struct presence_session ps;
    uint32_t after;
    presence_session_begin(&ps, now);
    now += 59999;
    assert_false(presence_session_judge(&cfg, &ps, 5, true, now, &after));
    assert_int_equal(after, 1);
    now += 1;
    assert_false(presence_session_judge(&cfg, &ps, 5, false, now, &after)); /* we did not read */
    assert_int_equal(ps.state, PRESENCE_ONLINE);
    assert_true(presence_session_judge(&cfg, &ps, 5, true, now, &after));
    assert_int_equal(ps.state, PRESENCE_OFFLINE);
    assert_int_equal(after, UINT32_MAX);
    now += 5000;
    assert_true(presence_session_judge(&cfg, &ps, (uint32_t)(now / 1000), true, now, &after));
    assert_int_equal(ps.state, PRESENCE_ONLINE);
}

static void test_presence__what_a_session_says(void **state)
{
    (void)state;
    struct presence_session ps;
    uint32_t after;
    presence_session_begin(&ps, now);
    assert_true(presence_session_say(&ps, PRESENCE_AWAY, now));
    assert_false(presence_session_judge(&cfg, &ps, 5, true, now, &after));
    assert_int_equal(ps.state, PRESENCE_AWAY);
    assert_true(presence_session_did(&ps, now)); /* until something is done */
    assert_true(presence_session_say(&ps, PRESENCE_OFFLINE, now));
    assert_false(presence_session_did(&ps, now)); /* until it says otherwise */
    assert_false(presence_session_judge(&cfg, &ps, 5, true, now, &after));
    assert_int_equal(ps.state, PRESENCE_OFFLINE);
    assert_true(presence_session_say(&ps, PRESENCE_ONLINE, now));
    assert_int_equal(ps.state, PRESENCE_ONLINE);
}

/* ---- Users ---- */

static void test_presence__sources_merge_to_the_best(void **state)
{
    (void)state;
    report(7, 0, PRESENCE_AWAY, false);
    assert_string_equal(changes(), "w");
    pass(2000);
    report(7, 63, PRESENCE_ONLINE, false);
    assert_string_equal(changes(), "n");
    pass(2000);
    report(7, 0, PRESENCE_OFFLINE, false);
    report(7, 63, PRESENCE_ONLINE, false); /* again */
    assert_string_equal(changes(), "");
    pass(2000);
    report(7, 63, PRESENCE_AWAY, false);
    uint32_t left = wall();
    assert_string_equal(changes(), "w");
    assert_int_equal(presence_get(p, 7).last_seen_s, left);
    pass(2000);
    report(7, 63, PRESENCE_OFFLINE, false);
    assert_string_equal(changes(), "f");
    assert_int_equal(presence_get(p, 7).last_seen_s, left); /* when it was last online */
}

static void test_presence__a_page_reload_is_no_flap(void **state)
{
    (void)state;
    report(7, 0, PRESENCE_ONLINE, false);
    assert_string_equal(changes(), "n");
    pass(60000);
    report(7, 0, PRESENCE_OFFLINE, true);
    pass(9000);
    report(7, 1, PRESENCE_ONLINE, false); /* at another shard */
    pass(20000);
    assert_string_equal(changes(), "");
    uint32_t left = wall();
    report(7, 1, PRESENCE_OFFLINE, true);
    pass(9900);
    assert_string_equal(changes(), "");
    pass(200);
    assert_string_equal(changes(), "f");
    assert_int_equal(presence_get(p, 7).last_seen_s, left);
}

static void test_presence__saying_offline_does_not_linger(void **state)
{
    (void)state;
    report(7, 0, PRESENCE_ONLINE, false);
    assert_string_equal(changes(), "n");
    pass(2000);
    report(7, 0, PRESENCE_OFFLINE, false);
    assert_string_equal(changes(), "f");
}

static void test_presence__transitions_are_coalesced(void **state)
{
    (void)state;
    uint32_t n = 0;
    for (int i = 0; i < 100; i++) { /* 10 s, 100 changes */
        report(7, 0, i % 2 ? PRESENCE_AWAY : PRESENCE_ONLINE, false);
        n += (uint32_t)strlen(changes());
        pass(100);
        n += (uint32_t)strlen(changes());
    }
    assert_in_range(n, 5, 11);
    report(7, 0, PRESENCE_AWAY, false);
    pass(2000);
    (void)changes();
    assert_int_equal(presence_get(p, 7).status, PRESENCE_AWAY); /* the last one is not lost */
}

static void test_presence__posts_count_for_a_minute(void **state)
{
    (void)state;
    assert_int_equal(presence_post(p, 7, 70, PRESENCE_ONLINE, wall(), now), CONFAB_OK);
    assert_string_equal(changes(), "n");
    pass(2000);
    assert_int_equal(presence_post(p, 7, 71, PRESENCE_AWAY, wall(), now), CONFAB_OK);
    assert_string_equal(changes(), ""); /* another device is online */
    assert_int_equal(presence_post(p, 7, 70, PRESENCE_OFFLINE, wall(), now), CONFAB_OK);
    assert_string_equal(changes(), "w");
    pass(59900);
    assert_string_equal(changes(), "");
    pass(200);
    assert_string_equal(changes(), "f");
    for (uint64_t device = 1; device <= 100; device++) { /* bounded */
        assert_int_equal(presence_post(p, 7, device, PRESENCE_ONLINE, wall(), now), CONFAB_OK);
    }
    assert_true(presence_bytes(p) < (1U << 20));
    uint32_t until = wall() + 60;
    pass(61000);
    assert_int_equal(presence_get(p, 7).status, PRESENCE_OFFLINE);
    assert_in_range(presence_get(p, 7).last_seen_s, until - 1, until + 1);
}

static void test_presence__who_is_unknown_costs_nothing(void **state)
{
    (void)state;
    struct presence_stats st;
    uint64_t user;
    uint32_t at;
    report(8, 0, PRESENCE_OFFLINE, true);
    assert_int_equal(presence_get(p, 8).status, PRESENCE_OFFLINE);
    assert_int_equal(presence_watch(p, 9, 3, true, now), CONFAB_OK);
    assert_int_equal(presence_watchers(p, 9), 8);
    assert_int_equal(presence_watch(p, 9, 3, false, now), CONFAB_OK);
    report(7, 0, PRESENCE_ONLINE, false);
    (void)changes();
    assert_true(presence_next_unsaved(p, &user, &at));
    assert_int_equal(user, 7);
    assert_int_equal(at, 0); /* online */
    assert_false(presence_next_unsaved(p, &user, &at));
    pass(5000);
    uint32_t left = wall();
    report(7, 0, PRESENCE_OFFLINE, true);
    pass(11000);
    assert_string_equal(changes(), "f");
    presence_stats(p, &st);
    assert_int_equal(st.users, 1); /* until its time is saved */
    assert_true(presence_next_unsaved(p, &user, &at));
    assert_int_equal(at, left);
    presence_stats(p, &st);
    assert_int_equal(st.users, 0);
    assert_int_equal(presence_next_ms(p), UINT64_MAX);
}

static void test_presence__a_flap_between_saves_is_one_row(void **state)
{
    (void)state;
    uint64_t user;
    uint32_t at;
    unsigned rows = 0;
    for (int i = 0; i < 20; i++) {
        report(7, 0, i % 2 ? PRESENCE_AWAY : PRESENCE_ONLINE, false);
        pass(1500);
    }
    while (presence_next_unsaved(p, &user, &at)) {
        rows++;
    }
    assert_int_equal(rows, 1);
}

static void test_presence__bounded(void **state)
{
    (void)state;
    presence_free(p);
    cfg.users_max = 2;
    assert_int_equal(presence_new(&cfg, 1, now, &p), CONFAB_OK);
    report(1, 0, PRESENCE_ONLINE, false);
    report(2, 0, PRESENCE_ONLINE, false);
    assert_int_equal(presence_report(p, 3, 0, PRESENCE_ONLINE, false, 0, now), CONFAB_LIMIT);
    assert_int_equal(presence_watch(p, 3, 0, true, now), CONFAB_LIMIT);
    assert_int_equal(presence_post(p, 3, 1, PRESENCE_ONLINE, 0, now), CONFAB_LIMIT);
    assert_int_equal(presence_get(p, 3).status, PRESENCE_OFFLINE);
}

/* Random reports against the plainest model: after some quiet, all agree. */
static void test_presence__random_reports_end_as_the_model(void **state)
{
    (void)state;
    enum { USERS = 20, SOURCES = 5, ROUNDS = 20000 };
    static uint8_t model[USERS + 1][SOURCES];
    struct random_seeded r;
    random_seeded_init(&r, 11);
    memset(model, 0, sizeof(model));
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t user = 1 + random_below(&r.base, USERS);
        uint16_t source = (uint16_t)random_below(&r.base, SOURCES);
        enum presence_status st = (enum presence_status)random_below(&r.base, 3);
        report(user, source, st, random_below(&r.base, 2) != 0);
        model[user][source] = (uint8_t)st;
        if (random_below(&r.base, 10) == 0) {
            pass(random_below(&r.base, 500));
            (void)changes();
        }
        if (i % 5000 == 4999) {
            pass(cfg.linger_ms + cfg.every_ms + 200);
            (void)changes();
            for (uint64_t u = 1; u <= USERS; u++) {
                uint8_t best = 0;
                for (int k = 0; k < SOURCES; k++) {
                    best = MAX(best, model[u][k]);
                }
                assert_int_equal(presence_get(p, u).status, best);
            }
        }
    }
}

/* ---- Circles ---- */

static struct circle *circle(uint64_t user, uint32_t n, const uint64_t *convs, uint32_t nblocked,
                             const uint64_t *blocked)
{
    struct circle *c = circle_new(user, n, nblocked);
    assert_non_null(c);
    for (uint32_t i = 0; i < n; i++) {
        c->convs[i] = (struct conv_id){convs[i], 1};
    }
    for (uint32_t i = 0; i < nblocked; i++) {
        circle_blocked(c)[i] = blocked[i];
    }
    return c;
}

static void test_circle__meet(void **state)
{
    (void)state;
    struct circle *a = circle(1, 3, (const uint64_t[]){2, 5, 9}, 0, NULL);
    struct circle *b = circle(2, 2, (const uint64_t[]){4, 9}, 0, NULL);
    struct circle *c = circle(3, 2, (const uint64_t[]){1, 6}, 0, NULL);
    struct circle *d = circle(4, 1, (const uint64_t[]){9}, 2, (const uint64_t[]){1, 7});
    struct circle *none = circle(5, 0, NULL, 0, NULL);
    assert_true(circle_meet(a, b) && circle_meet(b, a));
    assert_false(circle_meet(a, c) || circle_meet(c, a));
    assert_false(circle_meet(a, d) || circle_meet(d, a)); /* blocked, either way */
    assert_true(circle_meet(b, d) && circle_meet(d, b));
    assert_false(circle_meet(a, none) || circle_meet(none, a));
    assert_false(circle_meet(a, NULL) || circle_meet(NULL, a));
    circle_unref(a);
    circle_unref(b);
    circle_unref(c);
    circle_unref(d);
    circle_unref(none);
}

/* Few against many, in all ways of lying: as a plain look-up says. */
static void test_circle__meets_as_a_plain_search_says(void **state)
{
    (void)state;
    struct random_seeded r;
    random_seeded_init(&r, 3);
    for (int round = 0; round < 3000; round++) {
        uint64_t x[64];
        uint64_t y[64];
        uint32_t n[2] = {0, 0};
        bool want = false;
        uint64_t odds = 2 + random_below(&r.base, 30);
        for (uint64_t v = 1; v <= 64; v++) {
            bool in_x = random_below(&r.base, odds) == 0;
            bool in_y = random_below(&r.base, 3) == 0;
            if (in_x) {
                x[n[0]++] = v;
            }
            if (in_y) {
                y[n[1]++] = v;
            }
            want = want || (in_x && in_y);
        }
        struct circle *a = circle(1, n[0], x, 0, NULL);
        struct circle *b = circle(2, n[1], y, 0, NULL);
        assert_int_equal(circle_meet(a, b), want);
        assert_int_equal(circle_meet(b, a), want);
        circle_unref(a);
        circle_unref(b);
    }
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(test_presence__##name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(a_session_goes_away_and_comes_back),
        CASE(silence_is_the_end_unless_nobody_listens),
        CASE(what_a_session_says),
        CASE(sources_merge_to_the_best),
        CASE(a_page_reload_is_no_flap),
        CASE(saying_offline_does_not_linger),
        CASE(transitions_are_coalesced),
        CASE(posts_count_for_a_minute),
        CASE(who_is_unknown_costs_nothing),
        CASE(a_flap_between_saves_is_one_row),
        CASE(bounded),
        CASE(random_reports_end_as_the_model),
        cmocka_unit_test(test_circle__meet),
        cmocka_unit_test(test_circle__meets_as_a_plain_search_says),
    };
    return cmocka_run_group_tests_name("presence", tests, NULL, NULL);
}
