/* What a flush merges, and what it reads for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/diag.h"
#include "core/flush_internal.h"
#include "world.h"

static uint64_t reads(struct world *w)
{
    struct store_stats stats;
    message_store_stats(w->store, &stats);
    return stats.reads;
}

/* A message, "m" and its number, and a flush; how often the flush read. */
static uint64_t say_and_flush(struct world *w, struct conv_id conv, int n, uint64_t *ret_id)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "m%d", n);
    assert_true(world_say(w, 1, conv, text, ret_id) > 0);
    uint64_t before = reads(w);
    world_flush(w);
    return reads(w) - before;
}

/* Messages m0 to m(n - 1) are there once and in order, but for what `other` says of the one at. */
static void assert_messages(struct world *w, struct conv_id conv, uint32_t n, uint32_t at,
                            const char *other)
{
    struct command *h = world_history(w, 1, conv, n + 1);
    assert_int_equal(world_records(h), n);
    for (uint32_t i = 0; i < n; i++) {
        struct event ev = world_record(h, i);
        char text[16];
        (void)snprintf(text, sizeof(text), "m%u", i);
        const char *want = other && i == at ? other : text;
        assert_int_equal(ev.text.n, strlen(want));
        assert_memory_equal(ev.text.n ? (const char *)ev.text.p : "", want, ev.text.n);
    }
    command_free(h);
}

static void test_flush__what_is_in_memory_is_not_read(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    uint64_t ids[60];
    for (int i = 0; i < 60; i++) {
        assert_int_equal(say_and_flush(w, g, i, &ids[i]), 0);
    }
    assert_messages(w, g, 60, 0, NULL);
    world_kill(w, false, 1);
    assert_messages(w, g, 60, 0, NULL);
}

static void test_flush__a_change_of_what_is_merged_in_memory(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    uint64_t ids[8];
    for (int i = 0; i < 5; i++) {
        (void)say_and_flush(w, g, i, &ids[i]);
    }
    /* One in a chunk that the next flush takes in, and one in a chunk that it leaves. */
    assert_int_equal(world_change(w, 1, EVENT_EDIT, ids[4], "changed"), CONFAB_OK);
    world_flush(w);
    assert_messages(w, g, 5, 4, "changed");
    world_kill(w, false, 1);
    assert_messages(w, g, 5, 4, "changed");
    assert_int_equal(world_change(w, 1, EVENT_DELETE, ids[4], ""), CONFAB_OK);
    world_flush(w);
    world_kill(w, false, 2);
    assert_messages(w, g, 5, 4, "");
    for (int i = 5; i < 8; i++) {
        (void)say_and_flush(w, g, i, &ids[i]);
    }
    world_kill(w, false, 3);
    assert_messages(w, g, 8, 4, "");
}

static void test_flush__chunks_are_read_together(void **state)
{
    struct world *w = *state;
    struct conv_id g = world_group(w, 1, "tea", 2, 2);
    world_flush(w);
    uint64_t found = 0;
    for (int i = 0; i < 40; i++) {
        world_kill(w, false, (uint64_t)i);
        uint64_t n = say_and_flush(w, g, i, NULL);
        assert_true(n <= 1); /* all that it takes in, at once; most take in nothing */
        found += n;
    }
    assert_true(found >= 8 && found <= 12);
    world_kill(w, false, 99);
    assert_messages(w, g, 40, 0, NULL);
}

/* Counts of chunks, oldest first, and new events; how many chunks are taken in. */
static void test_flush__plan(void **state)
{
    (void)state;
    static const struct {
        uint32_t nnew;
        uint32_t want;
        uint32_t nchunks;
        uint32_t counts[HEADER_CHUNKS_MAX];
    } plans[] = {
        {0, 0, 3, {1, 1, 1}},         /* nothing new */
        {1, 0, 0, {0}},               /* the first */
        {1, 0, 2, {1, 1}},            /* beside the others */
        {1, 3, 3, {1, 1, 1}},         /* the fourth */
        {1, 3, 4, {8, 1, 1, 1}},      /* four of them are less than eight */
        {1, 4, 4, {4, 1, 1, 1}},      /* but not less than four */
        {3, 5, 5, {16, 12, 3, 3, 3}}, /* and so on */
        {1, 3, 3, {3, 1, 2}},         /* few of any size */
        {4, 1, 1, {1}},               /* many take in what is few */
        {60, 1, 1, {60}},             /* and what is not larger */
        {60, 0, 1, {61}},             /* but not what is */
        {60, 0, 1, {69}},
        {64, 1, 1, {64}}, /* full */
        {65, 0, 1, {64}}, /* too much */
        {1, 0, 8, {127, 64, 32, 16, 8, 4, 1, 1}},
        {1, 6, 8, {127, 64, 16, 8, 4, 1, 1, 1}},
    };
    for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
        struct row_header row = {.nchunks = (uint8_t)plans[i].nchunks};
        for (uint32_t k = 0; k < plans[i].nchunks; k++) {
            row.chunks[k].count = plans[i].counts[k];
        }
        if (flush_plan_merge(&row, plans[i].nnew) != plans[i].want) {
            fail_msg("plan %zu: %u", i, flush_plan_merge(&row, plans[i].nnew));
        }
    }
}

int main(void)
{
    diag_set_level_all(DIAG_OFF);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flush__plan),
        cmocka_unit_test_setup_teardown(test_flush__what_is_in_memory_is_not_read, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(test_flush__a_change_of_what_is_merged_in_memory,
                                        world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(test_flush__chunks_are_read_together, world_setup,
                                        world_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
