/* A deleted account leaves its conversations: all of them, whatever happens meanwhile. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "world.h"

static const struct conv_id none;

static enum confab_err close_account(struct world *w, uint64_t user)
{
    return world_err(w, world_event(w, user, none, EVENT_CLOSE));
}

/* As the gateway does: until there is nothing left to do. */
static void close_all(struct world *w, uint64_t user)
{
    enum confab_err err = CONFAB_OK;
    for (int i = 0; i < 400 && err != CONFAB_EXISTS; i++) {
        err = close_account(w, user);
        assert_true(err == CONFAB_OK || err == CONFAB_BUSY || err == CONFAB_EXISTS);
        world_run(w, 50);
    }
    assert_int_equal(err, CONFAB_EXISTS);
}

static uint32_t joined(struct world *w, uint64_t user)
{
    struct command *c = world_list(w, user);
    uint32_t n = 0;
    for (uint32_t i = 0; i < c->nentries; i++) {
        n += c->entries[i].joined;
    }
    command_free(c);
    return n;
}

/* ROLE_NONE: not a member. */
static uint8_t role_of(struct world *w, uint64_t reader, struct conv_id conv, uint64_t user)
{
    struct command *c = command_new(COMMAND_MEMBERS);
    uint8_t found = ROLE_NONE;
    uint8_t role;
    uint64_t id;
    c->actor = reader;
    c->conv = conv;
    c = world_do(w, c);
    assert_int_equal(c->err, CONFAB_OK);
    struct reader rd = reader_of(c->ret.data, c->ret.len);
    while (event_members_next(&rd, &id, &role)) {
        found = id == user ? role : found;
    }
    command_free(c);
    return found;
}

static void test_close__leaves_groups_and_direct_ones(void **state)
{
    struct world *w = *state;
    struct conv_id groups[5];
    for (uint32_t i = 0; i < 5; i++) {
        groups[i] = world_group(w, i % 2 ? 9 : 1, "tea", i % 2 ? 1 : 9, 1);
    }
    struct conv_id direct = conv_id_direct(1, 9);
    assert_int_equal(world_err(w, world_message(1, none, 9, "a", "hello")), CONFAB_OK);
    assert_int_equal(world_err(w, world_message(9, none, 1, "b", "there")), CONFAB_OK);
    world_run(w, 500);
    assert_int_equal(joined(w, 9), 6);
    close_all(w, 9);
    world_kill(w, true, 1);
    assert_int_equal(joined(w, 9), 0);
    assert_int_equal(joined(w, 1), 6);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(role_of(w, 1, groups[i], 9), ROLE_NONE);
        assert_int_equal(role_of(w, 1, groups[i], 1), ROLE_OWNER);
    }
    /* The other side keeps what was said, and is told why it goes no further. */
    struct command *c = world_history(w, 1, direct, 10);
    assert_int_equal(c->err, CONFAB_OK);
    assert_int_equal(world_records(c), 2);
    command_free(c);
    c = world_snapshot(w, 1, direct, 0, 0, 0);
    assert_int_equal(c->snaps[0].peer, 9);
    assert_true(c->snaps[0].active);
    command_free(c);
    assert_int_equal(world_err(w, world_message(1, none, 9, "c", "anyone?")), CONFAB_GONE);
    assert_int_equal(world_err(w, world_message(1, direct, 0, "d", "anyone?")), CONFAB_GONE);
    /* What was acknowledged stays acknowledged. */
    c = world_do(w, world_message(1, none, 9, "a", "hello"));
    assert_int_equal(c->err, CONFAB_OK);
    assert_true(c->duplicate);
    command_free(c);
    assert_int_equal(close_account(w, 9), CONFAB_EXISTS);
}

static void test_close__hands_groups_over(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 4); /* 2 to 5 */
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 4, ROLE_ADMIN), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 5, ROLE_MODERATOR), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 2, ROLE_GUEST), CONFAB_OK);
    world_run(w, 100);
    assert_int_equal(world_member(w, 1, g, EVENT_ADD, 6, 0), CONFAB_OK);
    assert_int_equal(world_member(w, 1, g, EVENT_ROLE, 6, ROLE_ADMIN), CONFAB_OK);
    world_run(w, 500);
    /* The admin who is there longest; then the other; then by rank; a guest at last. */
    static const uint64_t order[] = {1, 4, 6, 5, 3};
    static const uint64_t heirs[] = {4, 6, 5, 3, 2};
    for (uint32_t i = 0; i < ARRAY_LEN(order); i++) {
        close_all(w, order[i]);
        assert_int_equal(role_of(w, 2, g, order[i]), ROLE_NONE);
        assert_int_equal(role_of(w, 2, g, heirs[i]), ROLE_OWNER);
    }
    close_all(w, 2);
    struct command *c = world_snapshot(w, 2, g, 0, 0, 0);
    assert_int_equal(c->nsnaps, 1);
    assert_false(c->snaps[0].active);
    command_free(c);
}

static void test_close__who_is_added_later_leaves_again(void **state)
{
    struct world *w = *state;
    close_all(w, 9); /* had no log of their own so far */
    struct conv_id g = world_group(w, 1, "tea", 8, 2);
    world_run(w, 1000);
    assert_int_equal(role_of(w, 1, g, 9), ROLE_NONE);
    assert_int_equal(role_of(w, 1, g, 8), ROLE_MEMBER);
    assert_int_equal(joined(w, 9), 0);
    assert_int_equal(world_err(w, world_message(1, none, 9, "a", "hello")), CONFAB_OK);
    world_run(w, 1000);
    assert_int_equal(joined(w, 9), 0);
    assert_int_equal(world_err(w, world_message(1, none, 9, "b", "hello?")), CONFAB_GONE);
    struct command *c = world_message(1, none, 9, "c", "hello?");
    c->peer_deleted = true;
    assert_int_equal(world_err(w, c), CONFAB_GONE);
    /* Where it is known, nothing begins. */
    c = world_message(2, none, 9, "a", "hello");
    c->peer_deleted = true;
    assert_int_equal(world_err(w, c), CONFAB_GONE);
    world_run(w, 500);
    assert_int_equal(joined(w, 2), 0);
}

/* More than follow-ups have room: in rounds. */
static void test_close__leaves_thousands(void **state)
{
    struct world *w = *state;
    const uint32_t n = CONV_FOLLOWUPS_MAX + 100;
    uint32_t made = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct command *c = world_event(w, 1, none, EVENT_CREATE);
        c->conv = (struct conv_id){.hi = 0x1111 + i * 0x9e3779b97f4a7c15ULL, .lo = i + 1};
        struct buf members = {0};
        event_members_add(&members, 9, ROLE_MEMBER);
        assert_int_equal(command_set_span(c, &c->in.members, span_of(members.data, members.len)),
                         CONFAB_OK);
        assert_int_equal(command_set_span(c, &c->in.text, span_str("g")), CONFAB_OK);
        buf_deinit(&members);
        world_submit(w, c);
        while (i + 1 - made > 100 || (i + 1 == n && made < n)) {
            world_run(w, 50);
            while ((c = world_taken(w))) {
                assert_int_equal(c->err, CONFAB_OK);
                command_free(c);
                made++;
            }
        }
    }
    for (int i = 0; i < 40 && joined(w, 9) < n; i++) {
        world_run(w, 250);
    }
    assert_int_equal(joined(w, 9), n);
    assert_int_equal(close_account(w, 9), CONFAB_OK);
    world_kill(w, true, 3);
    close_all(w, 9);
    assert_int_equal(joined(w, 9), 0);
    assert_int_equal(joined(w, 1), n);
}

/* Closes and kills after `steps` phases; true when it ran to its end before. */
static bool killed_after(uint32_t steps, uint64_t seed)
{
    struct world w;
    struct conv_id groups[3];
    world_init_shards(&w, 2);
    for (uint32_t i = 0; i < 3; i++) {
        groups[i] = world_group(&w, 9, "tea", 1, 2);
    }
    world_run(&w, 500);
    w.mail_wait = true;
    world_submit(&w, world_event(&w, 9, none, EVENT_CLOSE));
    struct command *c = world_event(&w, 1, groups[0], EVENT_LEAVE);
    world_submit(&w, c);
    bool closed = false;
    bool over = false;
    for (uint32_t i = 0; i < steps && !over; i++) {
        for (uint16_t k = 0; k < 2 && i % 7 == 0; k++) {
            engine_flush_all(w.shards[k].e);
        }
        world_phase(&w, i);
        while ((c = world_taken(&w))) {
            assert_int_equal(c->err, CONFAB_OK);
            closed |= !c->shrunk && c->in.kind == EVENT_CLOSE;
            command_free(c);
        }
        struct engine_stats st[2];
        engine_stats(w.shards[0].e, &st[0]);
        engine_stats(w.shards[1].e, &st[1]);
        over = i > 50 && closed && st[0].followups_pending + st[1].followups_pending == 0;
    }
    w.nshards = seed % 2 ? 2 : 3;
    world_kill(&w, true, seed);
    world_run(&w, 500);
    if (closed) { /* acknowledged: without being asked again, unless it asked for more rounds */
        assert_int_equal(joined(&w, 9), 0);
    }
    close_all(&w, 9);
    assert_int_equal(joined(&w, 9), 0);
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(role_of(&w, 2, groups[i], 9), ROLE_NONE);
    }
    world_deinit(&w);
    return over;
}

static void test_close__survives_a_kill_at_every_step(void **state)
{
    (void)state;
    bool over = false;
    for (uint32_t steps = 1; steps < 2000 && !over; steps++) {
        over = killed_after(steps, steps);
    }
    assert_true(over);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, world_setup_two, world_teardown)
        T(test_close__leaves_groups_and_direct_ones),
        T(test_close__hands_groups_over),
        T(test_close__who_is_added_later_leaves_again),
        T(test_close__leaves_thousands),
        cmocka_unit_test(test_close__survives_a_kill_at_every_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
