#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct world *world_of(struct engine_host *host)
{
    return CONTAINER_OF(host, struct world, host);
}

static void on_complete(struct engine_host *host, struct command *cmd)
{
    struct world *w = world_of(host);
    if (cmd->type == COMMAND_FOLLOWUP) {
        engine_followup_done(w->e, cmd);
        return;
    }
    list_push_back(&w->completed, &cmd->link);
}

static void on_publish(struct engine_host *host, const struct publication *pub)
{
    struct world *w = world_of(host);
    uint8_t raw[16];
    conv_id_write(pub->conv, raw);
    buf_put(&w->published, raw, 16);
    buf_put_u64(&w->published, pub->ev.seq);
    buf_put_u64(&w->published, pub->ev.id);
    buf_put_u8(&w->published, pub->ev.kind);
    buf_put_u32(&w->published, pub->members->n);
    w->npublished++;
}

static void on_receipt(struct engine_host *host, const struct receipt *r)
{
    struct world *w = world_of(host);
    uint8_t raw[16];
    conv_id_write(r->conv, raw);
    buf_put(&w->receipts, raw, 16);
    buf_put_u64(&w->receipts, r->user);
    buf_put_u64(&w->receipts, r->from_seq);
    buf_put_u64(&w->receipts, r->seq);
    buf_put_u8(&w->receipts, r->read);
    w->nreceipts++;
}

static enum confab_err on_send(struct engine_host *host, struct command *cmd)
{
    engine_submit(world_of(host)->e, cmd);
    return CONFAB_OK;
}

static void on_wake(struct engine_host *host)
{
    (void)host;
}

static const struct engine_host_ops host_ops = {.complete = on_complete,
                                                .publish = on_publish,
                                                .publish_receipt = on_receipt,
                                                .send = on_send,
                                                .wake = on_wake};

static void world_engine(struct world *w)
{
    assert_int_equal(engine_new(&w->cfg, &w->host, &w->shared, log_mem_store(w->log), w->store,
                                NULL, &w->clock.base, &w->metrics, &w->e),
                     CONFAB_OK);
}

void world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->host.ops = &host_ops;
    list_init(&w->completed);
    engine_config_defaults(&w->cfg);
    clock_sim_init(&w->clock, WORLD_START_MS);
    metrics_register(&w->metrics, w);
    assert_int_equal(executor_inline_open(false, 100000, &w->ex), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){.crashable = true}, w->ex, &w->store),
                     CONFAB_OK);
    assert_int_equal(log_mem_new(&(struct log_mem_config){.lanes = 1}, &w->log), CONFAB_OK);
    world_engine(w);
}

void world_deinit(struct world *w)
{
    struct list *it;
    while ((it = list_pop_front(&w->completed))) {
        command_free(LIST_ENTRY(it, struct command, link));
    }
    engine_free(w->e);
    log_mem_free(w->log);
    store_mem_close(w->store);
    executor_inline_close(w->ex);
    metrics_unregister(&w->metrics);
    buf_deinit(&w->published);
    buf_deinit(&w->receipts);
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct world *w = arg;
    return engine_recover_record(w->e, rec);
}

void world_kill(struct world *w, bool lose_store, uint64_t seed)
{
    engine_free(w->e);
    log_mem_crash(w->log);
    if (lose_store) {
        store_mem_crash(w->store, seed);
    }
    atomic_store(&w->shared.log_clock_ms, 0);
    world_engine(w);
    assert_int_equal(engine_recover_begin(w->e), CONFAB_OK);
    assert_int_equal(log_store_read(log_mem_store(w->log), 0, on_record, w), CONFAB_OK);
    assert_int_equal(engine_recover_end(w->e), CONFAB_OK);
    for (int i = 0; i < 100000 && !engine_is_recovered(w->e); i++) {
        world_run(w, 0);
    }
    assert_true(engine_is_recovered(w->e));
    assert_int_equal(engine_health(w->e), CONFAB_OK);
}

void world_run(struct world *w, uint64_t ms)
{
    clock_sim_advance(&w->clock, ms * 1000000);
    for (int i = 0; i < 8; i++) {
        clock_sim_advance(&w->clock, 1000000);
        engine_seal(w->e);
        log_mem_step(w->log, 1000000);
        engine_poll(w->e);
        engine_tick(w->e);
    }
}

void world_flush(struct world *w)
{
    engine_flush_all(w->e);
    for (int i = 0; i < 100000 && !engine_is_quiet(w->e); i++) {
        world_run(w, 50);
    }
    assert_true(engine_is_quiet(w->e));
}

struct command *world_do(struct world *w, struct command *cmd)
{
    assert_non_null(cmd);
    assert_true(list_is_empty(&w->completed));
    engine_submit(w->e, cmd);
    for (int i = 0; i < 1000 && list_is_empty(&w->completed); i++) {
        world_run(w, i > 10 ? 100 : 0);
    }
    assert_false(list_is_empty(&w->completed));
    struct command *done = LIST_ENTRY(list_pop_front(&w->completed), struct command, link);
    assert_ptr_equal(done, cmd);
    return done;
}

struct command *world_event(struct world *w, uint64_t actor, struct conv_id conv, uint8_t kind)
{
    (void)w;
    struct command *cmd = command_new(COMMAND_EVENT);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->conv = conv;
    cmd->in.kind = kind;
    return cmd;
}

struct conv_id world_group(struct world *w, uint64_t owner, const char *name, uint64_t first,
                           uint32_t n)
{
    struct conv_id id = {0x77, ++w->next_key};
    struct command *cmd = world_event(w, owner, id, EVENT_CREATE);
    struct buf members = {0};
    for (uint32_t i = 0; i < n; i++) {
        event_members_add(&members, first + i, ROLE_MEMBER);
    }
    assert_int_equal(command_set_span(cmd, &cmd->in.text, span_str(name)), CONFAB_OK);
    assert_int_equal(command_set_span(cmd, &cmd->in.members, span_of(members.data, members.len)),
                     CONFAB_OK);
    buf_deinit(&members);
    cmd = world_do(w, cmd);
    assert_int_equal(cmd->err, CONFAB_OK);
    command_free(cmd);
    return id;
}

struct command *world_message(uint64_t actor, struct conv_id conv, uint64_t peer, const char *key,
                              const char *text)
{
    struct command *cmd = command_new(COMMAND_EVENT);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->conv = conv;
    cmd->peer = peer;
    cmd->in.kind = EVENT_MESSAGE;
    assert_int_equal(command_set_span(cmd, &cmd->in.cmid, span_str(key)), CONFAB_OK);
    assert_int_equal(command_set_span(cmd, &cmd->in.text, span_str(text)), CONFAB_OK);
    for (const char *p = text; *p; p++) {
        cmd->in.content_hash = cmd->in.content_hash * 31 + (uint8_t)*p;
    }
    return cmd;
}

uint64_t world_say(struct world *w, uint64_t actor, struct conv_id conv, const char *text,
                   uint64_t *ret_id)
{
    char key[32];
    snprintf(key, sizeof(key), "k%u", ++w->next_key);
    struct command *cmd = world_message(actor, conv, 0, key, text);
    cmd->fresh = true;
    cmd = world_do(w, cmd);
    assert_int_equal(cmd->err, CONFAB_OK);
    uint64_t seq = cmd->ret_seq;
    if (ret_id) {
        *ret_id = cmd->ret_id;
    }
    command_free(cmd);
    return seq;
}

struct command *world_history(struct world *w, uint64_t actor, struct conv_id conv, uint32_t limit)
{
    struct command *cmd = command_new(COMMAND_HISTORY);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->conv = conv;
    cmd->limit = limit;
    cmd->reverse = true;
    cmd->messages_only = true;
    return world_do(w, cmd);
}

uint32_t world_records(const struct command *cmd)
{
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    uint32_t n = 0;
    while (command_record_next(&rd, &ev)) {
        n++;
    }
    assert_false(rd.bad);
    return n;
}

struct event world_record(const struct command *cmd, uint32_t n)
{
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    for (uint32_t i = 0; i <= n; i++) {
        assert_true(command_record_next(&rd, &ev));
    }
    return ev;
}

struct command *world_snapshot(struct world *w, uint64_t actor, struct conv_id conv, uint64_t since,
                               uint64_t have_seq, uint64_t have_id)
{
    struct command *cmd = command_new(COMMAND_RESUME);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->since_ms = since;
    cmd->closed_ms = atomic_load(&w->shared.log_clock_ms);
    cmd->events_max = 50;
    cmd->items = calloc(1, sizeof(*cmd->items));
    assert_non_null(cmd->items);
    cmd->nitems = 1;
    cmd->items[0].conv = conv;
    cmd->items[0].have_seq = have_seq;
    cmd->items[0].have_id = have_id;
    return world_do(w, cmd);
}
