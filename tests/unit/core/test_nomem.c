/*
 * Each allocation of the engine's main paths fails in turn: every command is answered once, what is
 * acknowledged is there after a restart, in order and once, and the engine goes on.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/conv.h"
#include "world.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static bool armed; /* inside a call of the engine */
static uint64_t count;
static uint64_t fail_from;
static uint64_t fail_past;

static bool fails(void)
{
    if (!armed) {
        return false;
    }
    count++;
    return count >= fail_from && count < fail_past;
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

static const struct conv_id none;
static const struct conv_id group = {9, 9};
static const struct conv_id many = {9, 10};

enum { SAID_MAX = 64, TEXT_MAX = 16 };

/* What the test knows of a run. */
struct run {
    struct world w;
    uint32_t waiting;
    uint32_t said; /* messages that were acknowledged */
    uint64_t seqs[SAID_MAX];
    char texts[SAID_MAX][TEXT_MAX];
    uint64_t id; /* of the first message */
    uint32_t keys;
    bool stopped; /* some command met a partition that has stopped */
};

static void collect(struct run *r)
{
    struct command *c;
    while ((c = world_taken(&r->w))) {
        r->waiting--;
        r->stopped |= engine_health(r->w.e) != CONFAB_OK;
        bool message = c->shrunk || (c->type == COMMAND_EVENT && c->in.kind == EVENT_MESSAGE);
        if (message && !c->err && conv_id_eq(c->ret_conv, group)) {
            struct span text = c->shrunk ? command_key(c) : c->in.text; /* as say() makes them */
            assert_in_range(r->said, 0, SAID_MAX - 1);
            r->seqs[r->said] = c->ret_seq;
            snprintf(r->texts[r->said++], TEXT_MAX, "%.*s", (int)text.n, (const char *)text.p);
            r->id = r->id ? r->id : c->ret_id;
        }
        command_free(c);
    }
}

static void turns(struct run *r, uint32_t n, uint64_t ms)
{
    struct world *w = &r->w;
    for (uint32_t i = 0; i < n; i++) {
        clock_sim_advance(&w->clock, ms * 1000000);
        armed = true;
        engine_seal(w->e);
        armed = false;
        log_mem_step(w->log, 1000);
        armed = true;
        engine_poll(w->e);
        engine_tick(w->e);
        armed = false;
        collect(r);
    }
}

static void submit(struct run *r, struct command *c)
{
    r->waiting++;
    armed = true;
    engine_submit(r->w.e, c);
    armed = false;
    collect(r);
}

static struct command *members_event(struct conv_id conv, uint8_t kind, uint64_t first, uint32_t n)
{
    struct command *c = world_event(NULL, 1, conv, kind);
    struct buf list = {0};
    for (uint32_t i = 0; i < n; i++) {
        event_members_add(&list, first + i, ROLE_MEMBER);
    }
    assert_int_equal(command_set_span(c, &c->in.text, span_str("tea")), CONFAB_OK);
    assert_int_equal(command_set_span(c, &c->in.members, span_of(list.data, list.len)), CONFAB_OK);
    buf_deinit(&list);
    return c;
}

static void say(struct run *r, uint64_t actor)
{
    char key[TEXT_MAX];
    snprintf(key, sizeof(key), "m%u", ++r->keys);
    struct command *c = world_message(actor, group, 0, key, key);
    struct buf list = {0};
    buf_put_varint(&list, 3);
    assert_int_equal(command_set_span(c, &c->in.mentions, span_of(list.data, list.len)), CONFAB_OK);
    buf_deinit(&list);
    submit(r, c);
}

static struct command *about(enum command_type type, uint64_t actor, struct conv_id conv)
{
    struct command *c = command_new(type);
    assert_non_null(c);
    c->actor = actor;
    c->conv = conv;
    return c;
}

static void read_all(struct run *r)
{
    struct command *c = about(COMMAND_HISTORY, 2, group);
    c->limit = 20;
    c->reverse = true;
    submit(r, c);
    c = about(COMMAND_HISTORY, 2, group);
    c->limit = 20;
    c->offset = 3;
    c->reverse = true;
    submit(r, c);
    c = about(COMMAND_RESUME, 2, none);
    c->events_max = 10;
    c->items = calloc(3, sizeof(*c->items));
    c->nitems = 3;
    c->items[0].conv = group;
    c->items[1].conv = many;
    c->items[2].conv = conv_id_direct(1, 2);
    c->since_ms = r->keys % 2 ? 5 : 0;
    submit(r, c);
    submit(r, about(COMMAND_LIST, 2, none));
    submit(r, about(COMMAND_MEMBERS, 2, group));
    if (r->id) {
        c = about(COMMAND_LOOKUP, 2, none);
        c->in.target_id = r->id;
        submit(r, c);
    }
}

/* A bit of everything. */
static void scenario(struct run *r)
{
    struct world *w = &r->w;
    submit(r, members_event(group, EVENT_CREATE, 2, 3));
    submit(r, members_event(many, EVENT_CREATE, 2, 70));
    turns(r, 4, 1);
    for (int round = 0; round < 3; round++) {
        say(r, 1);
        say(r, 2);
        submit(r, world_message(1, none, 2, round == 1 ? "again" : "first", "hi"));
        turns(r, 3, 1);
        say(r, 3);
        if (r->id) {
            struct command *c = world_event(w, 1, none, EVENT_EDIT);
            c->in.target_id = r->id;
            assert_int_equal(command_set_span(c, &c->in.text, span_str(r->texts[0])), CONFAB_OK);
            submit(r, c);
            c = world_message(2, group, 0, round ? "x" : "y", "reply");
            c->in.target_id = r->id;
            submit(r, c);
        }
        struct command *ack = world_ack(2, group, 2, true);
        ack->durable = round == 1;
        submit(r, ack);
        submit(r, world_ack(4, group, 3 + (uint64_t)round, false));
        struct command *c = world_event(w, 2, none, round == 1 ? EVENT_HIDE : EVENT_BLOCK);
        c->in.user = 50;
        c->in.value = round == 0;
        c->in.conv = group;
        c->in.range_from = c->in.range_to = 1;
        submit(r, c);
        c = world_event(w, 1, group, round == 1 ? EVENT_REMOVE : EVENT_ADD);
        if (round != 1) {
            command_free(c);
            c = members_event(group, EVENT_ADD, 40, 2);
        }
        c->in.user = 40;
        submit(r, c);
        turns(r, 4, 400);
        read_all(r);
        engine_flush_all(w->e);
        turns(r, 12, 400);
        read_all(r);
        turns(r, 4, 30);
    }
    /* Whatever failed, nothing waits for ever once there is memory again. */
    fail_past = 0;
    for (int i = 0; i < 60 && r->waiting > 0; i++) {
        turns(r, 4, 300);
    }
    assert_int_equal(r->waiting, 0);
}

/* Everything acknowledged, in the order of its seqs, each once. */
static void check_said(struct run *r)
{
    struct command *c = world_history(&r->w, 1, group, 200);
    if (c->err == CONFAB_NOT_FOUND) {
        assert_int_equal(r->said, 0);
        command_free(c);
        return;
    }
    assert_int_equal(c->err, CONFAB_OK);
    for (uint32_t i = 0; i < r->said; i++) {
        struct reader rd = reader_of(c->ret.data, c->ret.len);
        struct event ev;
        uint32_t found = 0;
        while (command_record_next(&rd, &ev)) {
            char text[TEXT_MAX];
            snprintf(text, sizeof(text), "%.*s", (int)ev.text.n, (const char *)ev.text.p);
            if (strcmp(text, r->texts[i]) == 0) {
                found += ev.seq == r->seqs[i];
            }
        }
        assert_int_equal(found, 1);
    }
    command_free(c);
}

static uint64_t run_once(uint64_t from, uint64_t n)
{
    struct run r = {.waiting = 0};
    world_init(&r.w);
    r.w.cfg.recent_max = 2;
    r.w.cfg.cache_bytes_max = 20000; /* much is loaded again */
    r.w.cfg.flush_after_ms = 1000;
    world_kill(&r.w, false, 0);
    count = 0;
    fail_from = from;
    fail_past = from + n;
    scenario(&r);
    uint64_t total = count;
    if (!r.stopped && !engine_health(r.w.e)) {
        world_run(&r.w, 3000);
        check_said(&r);
    }
    world_kill(&r.w, from % 2, from);
    check_said(&r);
    for (int i = 0; i < 10; i++) {
        world_run(&r.w, 300);
    }
    struct engine_stats st;
    engine_stats(r.w.e, &st);
    assert_int_equal(st.followups_pending, 0);
    if (r.said > 0) {
        world_say(&r.w, 1, group, "goes on", NULL);
    }
    world_flush(&r.w);
    world_deinit(&r.w);
    return total;
}

static void test_nomem__each_allocation(void **state)
{
    (void)state;
    uint64_t total = run_once(UINT64_MAX / 2, 0);
    assert_in_range(total, 500, 20000);
    uint64_t step = 1;
    for (uint64_t n = 1; n <= total; n += step) {
        run_once(n, 1);
        step = n < 150 ? 1 : 11;
    }
}

static void test_nomem__for_a_while(void **state)
{
    (void)state;
    uint64_t total = run_once(UINT64_MAX / 2, 0);
    for (uint64_t n = 1; n <= total; n += 79) {
        run_once(n, 5 + n % 60);
    }
    for (uint64_t n = 100; n <= total; n += 500) {
        run_once(n, 5000);
    }
}

/* A recovery without memory fails or stops what it cannot fold; the next one finds everything. */
static void test_nomem__recovery(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 400; n += n < 30 ? 1 : 13) {
        struct run r = {.waiting = 0};
        world_init(&r.w);
        fail_past = 0;
        scenario(&r);
        assert_in_range(r.said, 5, SAID_MAX);
        world_drop(&r.w, true, n);
        count = 0;
        fail_from = n;
        fail_past = n + 1;
        armed = true;
        enum confab_err err = world_try_start(&r.w);
        armed = false;
        if (!err) {
            turns(&r, 20, 100);
        }
        world_kill(&r.w, true, n + 1);
        check_said(&r);
        world_deinit(&r.w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nomem__each_allocation),
        cmocka_unit_test(test_nomem__for_a_while),
        cmocka_unit_test(test_nomem__recovery),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
