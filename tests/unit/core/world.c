#include "world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- the hosts --------------------------------------------------------------------------- */

static struct world_shard *shard_of(struct engine_host *host)
{
    return CONTAINER_OF(host, struct world_shard, host);
}

static struct engine *owner(struct world *w, struct command *cmd)
{
    if (cmd->type == COMMAND_RESUME && cmd->nitems == 0 && conv_id_is_zero(cmd->conv)) {
        return w->e;
    }
    return w->shards[engine_shard_of(command_partition(cmd), w->nshards)].e;
}

static void on_complete(struct engine_host *host, struct command *cmd)
{
    struct world *w = shard_of(host)->w;
    if (w->dying) {
        command_free(cmd);
    } else if (cmd->type != COMMAND_FOLLOWUP) {
        list_push_back(&w->completed, &cmd->link);
    } else if (w->mail_wait) {
        cmd->durable = true; /* on its way back */
        list_push_back(&w->mail, &cmd->link);
    } else {
        engine_followup_done(w->shards[cmd->origin_shard].e, cmd);
    }
}

static void on_publish(struct engine_host *host, const struct publication *pub)
{
    struct world *w = shard_of(host)->w;
    uint8_t raw[16];
    conv_id_write(pub->conv, raw);
    buf_put(&w->published, raw, 16);
    buf_put_u64(&w->published, pub->ev.seq);
    buf_put_u64(&w->published, pub->ev.id);
    buf_put_u8(&w->published, pub->ev.kind);
    buf_put_u32(&w->published, pub->members->n);
    w->npublished++;
    w->last_published = pub->ev;
    buf_clear(&w->last_text);
    buf_put(&w->last_text, pub->ev.text.p, pub->ev.text.n);
    w->last_published.text = span_of(w->last_text.data, w->last_text.len);
    for (uint32_t i = 0; i < ARRAY_LEN(w->last_members); i++) {
        w->last_members[i] = i < pub->members->n ? pub->members->users[i] : 0;
    }
}

static void on_receipt(struct engine_host *host, const struct receipt *r)
{
    struct world *w = shard_of(host)->w;
    uint8_t raw[16];
    conv_id_write(r->conv, raw);
    buf_put(&w->receipts, raw, 16);
    buf_put_u64(&w->receipts, r->user);
    buf_put_u64(&w->receipts, r->from_seq);
    buf_put_u64(&w->receipts, r->seq);
    buf_put_u8(&w->receipts, r->read);
    w->nreceipts++;
    w->nreceipt_members = r->members->n;
    for (uint32_t i = 0; i < r->members->n && i < 8; i++) {
        w->receipt_members[i] = r->members->users[i];
    }
}

static enum confab_err on_send(struct engine_host *host, struct command *cmd)
{
    struct world_shard *s = shard_of(host);
    struct world *w = s->w;
    if (w->dying || w->mail_busy > 0) {
        w->mail_busy -= !w->dying;
        return CONFAB_BUSY;
    }
    cmd->origin_shard = (uint16_t)(s - w->shards);
    if (w->mail_wait) {
        cmd->durable = false;
        list_push_back(&w->mail, &cmd->link);
    } else {
        engine_submit(owner(w, cmd), cmd);
    }
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

/* ---- the gate ---------------------------------------------------------------------------- */

struct held {
    struct list link;
    struct world_gate *gate;
    struct store_request *req;
    void (*done)(struct store_request *req);
    void *arg;
};

static void gate_pass(struct held *h)
{
    struct store_request *req = h->req;
    req->done = h->done;
    req->arg = h->arg;
    free(h);
    req->done(req);
}

static void gate_done(struct store_request *req)
{
    struct held *h = req->arg;
    if (h->gate->hold) {
        list_push_back(&h->gate->held, &h->link);
        h->gate->nheld++;
    } else {
        gate_pass(h);
    }
}

static enum confab_err gate_submit(struct message_store *store, struct store_request *req)
{
    struct world_gate *g = CONTAINER_OF(store, struct world_gate, base);
    struct held *h = malloc(sizeof(*h));
    if (!h) {
        return CONFAB_NOMEM;
    }
    *h = (struct held){.gate = g, .req = req, .done = req->done, .arg = req->arg};
    list_init(&h->link);
    req->done = gate_done;
    req->arg = h;
    enum confab_err err = g->dead ? CONFAB_CLOSED : message_store_submit(g->inner, req);
    if (err) {
        req->done = h->done;
        req->arg = h->arg;
        free(h);
    }
    return err;
}

static void gate_stats(struct message_store *store, struct store_stats *ret)
{
    message_store_stats(CONTAINER_OF(store, struct world_gate, base)->inner, ret);
}

static const struct message_store_ops gate_ops = {"gate", 1, gate_submit, gate_stats};

void world_release(struct world *w, bool reverse)
{
    struct world_gate *g = &w->gate;
    struct list all;
    list_init(&all);
    struct list *it;
    while ((it = list_pop_front(&g->held))) {
        if (reverse) {
            list_push_front(&all, it);
        } else {
            list_push_back(&all, it);
        }
    }
    g->nheld = 0;
    while ((it = list_pop_front(&all))) {
        struct held *h = LIST_ENTRY(it, struct held, link);
        if (g->dead) {
            h->req->ret_err = CONFAB_CLOSED;
        }
        gate_pass(h);
    }
}

/* ---- life -------------------------------------------------------------------------------- */

static enum confab_err world_engines(struct world *w)
{
    enum confab_err err = CONFAB_OK;
    for (uint16_t i = 0; i < w->nshards && !err; i++) {
        struct world_shard *s = &w->shards[i];
        s->host.ops = &host_ops;
        s->w = w;
        w->cfg.shard = i;
        w->cfg.shards = w->nshards;
        err = engine_new(&w->cfg, &s->host, &w->shared, log_fault_store(w->log_fault),
                         &w->gate.base, w->directory, &w->clock.base, &w->metrics, &s->e);
    }
    w->e = w->shards[0].e;
    return err;
}

void world_init_shards(struct world *w, uint16_t n)
{
    memset(w, 0, sizeof(*w));
    w->nshards = n;
    list_init(&w->completed);
    list_init(&w->mail);
    engine_config_defaults(&w->cfg);
    clock_sim_init(&w->clock, WORLD_START_MS);
    metrics_register(&w->metrics, w);
    assert_int_equal(executor_inline_open(false, 100000, &w->ex), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){.crashable = true}, w->ex, &w->store),
                     CONFAB_OK);
    assert_int_equal(store_fault_open(w->store, &w->fault), CONFAB_OK);
    w->gate = (struct world_gate){.base = {.ops = &gate_ops}, .inner = w->fault};
    list_init(&w->gate.held);
    assert_int_equal(log_mem_new(&(struct log_mem_config){.lanes = WORLD_SHARDS_MAX}, &w->log),
                     CONFAB_OK);
    assert_int_equal(log_fault_new(log_mem_store(w->log), WORLD_SHARDS_MAX, &w->log_fault),
                     CONFAB_OK);
    assert_int_equal(world_engines(w), CONFAB_OK);
}

void world_init(struct world *w)
{
    world_init_shards(w, 1);
}

struct fault_plan *world_plan(struct world *w)
{
    return store_fault_plan(w->fault);
}

static void commands_drop(struct list *head)
{
    struct list *it;
    while ((it = list_pop_front(head))) {
        command_free(LIST_ENTRY(it, struct command, link));
    }
}

/* Everything under way comes back with an error, so that the engines let go of it. */
static void world_end(struct world *w)
{
    w->dying = true;
    w->gate.dead = true;
    w->gate.hold = false;
    log_mem_fail(w->log);
    for (int i = 0; i < 100; i++) {
        store_fault_release(w->fault);
        world_release(w, false);
        for (uint16_t k = 0; k < WORLD_SHARDS_MAX; k++) {
            if (w->shards[k].e) {
                engine_poll(w->shards[k].e);
                engine_seal(w->shards[k].e);
            }
        }
    }
    commands_drop(&w->mail);
    for (uint16_t k = 0; k < WORLD_SHARDS_MAX; k++) {
        engine_free(w->shards[k].e);
        w->shards[k].e = NULL;
    }
    w->e = NULL;
}

void world_drop(struct world *w, bool lose_store, uint64_t seed)
{
    fault_plan_disarm(world_plan(w));
    world_end(w);
    log_mem_crash(w->log);
    log_fault_free(w->log_fault);
    assert_int_equal(log_fault_new(log_mem_store(w->log), WORLD_SHARDS_MAX, &w->log_fault),
                     CONFAB_OK);
    if (lose_store) {
        store_mem_crash(w->store, seed);
    }
    atomic_store(&w->shared.log_clock_ms, 0);
    w->shared.recovered_ms = 0;
    w->dying = false;
    w->gate.dead = false;
}

void world_deinit(struct world *w)
{
    commands_drop(&w->completed);
    world_end(w);
    log_fault_free(w->log_fault);
    log_mem_free(w->log);
    store_fault_close(w->fault);
    store_mem_close(w->store);
    directory_mem_close(w->directory);
    executor_inline_close(w->ex);
    metrics_unregister(&w->metrics);
    buf_deinit(&w->published);
    buf_deinit(&w->receipts);
    buf_deinit(&w->last_text);
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct world *w = arg;
    return engine_recover_record(w->shards[engine_shard_of(rec->partition, w->nshards)].e, rec);
}

enum confab_err world_try_start(struct world *w)
{
    enum confab_err err = world_engines(w);
    for (uint16_t i = 0; i < w->nshards && !err; i++) {
        err = engine_recover_begin(w->shards[i].e);
    }
    if (!err) {
        err = log_store_read(log_mem_store(w->log), 0, on_record, w);
    }
    for (uint16_t i = 0; i < w->nshards && !err; i++) {
        err = engine_recover_end(w->shards[i].e);
    }
    return err;
}

bool world_is_recovered(struct world *w)
{
    bool all = true;
    for (uint16_t i = 0; i < w->nshards; i++) {
        all = all && engine_is_recovered(w->shards[i].e);
    }
    return all;
}

enum confab_err world_health(struct world *w)
{
    enum confab_err err = CONFAB_OK;
    for (uint16_t i = 0; i < w->nshards && !err; i++) {
        err = engine_health(w->shards[i].e);
    }
    return err;
}

void world_start(struct world *w)
{
    assert_int_equal(world_try_start(w), CONFAB_OK);
    for (int i = 0; i < 100000 && !world_is_recovered(w); i++) {
        world_run(w, 0);
    }
    assert_true(world_is_recovered(w));
    assert_int_equal(world_health(w), CONFAB_OK);
}

void world_kill(struct world *w, bool lose_store, uint64_t seed)
{
    world_drop(w, lose_store, seed);
    world_start(w);
}

/* ---- turns ------------------------------------------------------------------------------- */

static void deliver(struct world *w)
{
    struct list now;
    list_init(&now);
    struct list *it;
    while (!w->mail_hold && (it = list_pop_front(&w->mail))) {
        list_push_back(&now, it);
    }
    while ((it = list_pop_front(&now))) {
        struct command *cmd = LIST_ENTRY(it, struct command, link);
        if (cmd->durable) {
            engine_followup_done(w->shards[cmd->origin_shard].e, cmd);
        } else {
            engine_submit(owner(w, cmd), cmd);
        }
    }
}

void world_phase(struct world *w, uint32_t phase)
{
    if (phase % WORLD_PHASES == 2) {
        log_mem_step(w->log, 1000000);
    }
    if (phase % WORLD_PHASES == 0) {
        clock_sim_advance(&w->clock, 1000000);
        deliver(w);
    }
    for (uint16_t i = 0; i < w->nshards; i++) {
        struct engine *e = w->shards[i].e;
        switch (phase % WORLD_PHASES) {
        case 1:
            engine_seal(e);
            break;
        case 3:
            engine_poll(e);
            break;
        case 4:
            engine_tick(e);
            break;
        default:
            break;
        }
    }
}

void world_run(struct world *w, uint64_t ms)
{
    clock_sim_advance(&w->clock, ms * 1000000);
    for (uint32_t i = 0; i < 8 * WORLD_PHASES; i++) {
        world_phase(w, i);
    }
}

static bool world_quiet(struct world *w)
{
    bool quiet = true;
    for (uint16_t i = 0; i < w->nshards; i++) {
        quiet = quiet && engine_is_quiet(w->shards[i].e);
    }
    return quiet;
}

void world_flush(struct world *w)
{
    for (uint16_t i = 0; i < w->nshards; i++) {
        engine_flush_all(w->shards[i].e);
    }
    for (int i = 0; i < 1000 && !world_quiet(w); i++) {
        world_run(w, 50);
    }
    assert_true(world_quiet(w));
}

void world_submit(struct world *w, struct command *cmd)
{
    assert_non_null(cmd);
    engine_submit(owner(w, cmd), cmd);
}

struct command *world_taken(struct world *w)
{
    struct list *it = list_pop_front(&w->completed);
    return it ? LIST_ENTRY(it, struct command, link) : NULL;
}

struct command *world_do(struct world *w, struct command *cmd)
{
    assert_true(list_is_empty(&w->completed));
    void *mark = cmd; /* it may come back as another block */
    cmd->context = mark;
    world_submit(w, cmd);
    for (int i = 0; i < 1000 && list_is_empty(&w->completed); i++) {
        world_run(w, i > 10 ? 100 : 0);
    }
    struct command *done = world_taken(w);
    assert_non_null(done);
    assert_ptr_equal(done->context, mark);
    return done;
}

enum confab_err world_err(struct world *w, struct command *cmd)
{
    cmd = world_do(w, cmd);
    enum confab_err err = cmd->err;
    command_free(cmd);
    return err;
}

/* ---- commands ---------------------------------------------------------------------------- */

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

static struct conv_id make_group(struct world *w, uint64_t owner_id, const char *name,
                                 uint64_t settings, uint64_t first, uint32_t n)
{
    struct conv_id id = {0x77, ++w->next_key};
    struct command *cmd = world_event(w, owner_id, id, EVENT_CREATE);
    struct buf members = {0};
    for (uint32_t i = 0; i < n; i++) {
        event_members_add(&members, first + i, ROLE_MEMBER);
    }
    assert_int_equal(command_set_span(cmd, &cmd->in.text, span_str(name)), CONFAB_OK);
    assert_int_equal(command_set_span(cmd, &cmd->in.members, span_of(members.data, members.len)),
                     CONFAB_OK);
    cmd->in.value = settings;
    buf_deinit(&members);
    assert_int_equal(world_err(w, cmd), CONFAB_OK);
    return id;
}

struct conv_id world_group(struct world *w, uint64_t owner_id, const char *name, uint64_t first,
                           uint32_t n)
{
    return make_group(w, owner_id, name, 0, first, n);
}

struct conv_id world_group_with(struct world *w, uint64_t owner_id, uint64_t settings,
                                uint64_t first, uint32_t n)
{
    return make_group(w, owner_id, "tea", settings, first, n);
}

enum confab_err world_member(struct world *w, uint64_t actor, struct conv_id conv, uint8_t kind,
                             uint64_t user, uint64_t value)
{
    struct command *cmd = world_event(w, actor, conv, kind);
    if (kind == EVENT_ADD) {
        struct buf members = {0};
        event_members_add(&members, user, ROLE_MEMBER);
        assert_int_equal(
            command_set_span(cmd, &cmd->in.members, span_of(members.data, members.len)), CONFAB_OK);
        buf_deinit(&members);
    }
    cmd->in.user = user;
    cmd->in.value = value;
    return world_err(w, cmd);
}

enum confab_err world_change(struct world *w, uint64_t actor, uint8_t kind, uint64_t id,
                             const char *text)
{
    struct command *cmd = world_event(w, actor, (struct conv_id){0, 0}, kind);
    cmd->in.target_id = id;
    assert_int_equal(command_set_span(cmd, &cmd->in.text, span_str(text)), CONFAB_OK);
    return world_err(w, cmd);
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
    cmd->answer_only = true;
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

struct command *world_ack(uint64_t actor, struct conv_id conv, uint64_t seq, bool read)
{
    struct command *cmd = command_new(COMMAND_ACK);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->conv = conv;
    cmd->to_seq = seq;
    cmd->ack_read = read;
    return cmd;
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

struct command *world_events(struct world *w, uint64_t actor, struct conv_id conv, uint32_t limit)
{
    struct command *cmd = command_new(COMMAND_HISTORY);
    assert_non_null(cmd);
    cmd->actor = actor;
    cmd->conv = conv;
    cmd->limit = limit;
    return world_do(w, cmd);
}

struct command *world_list(struct world *w, uint64_t actor)
{
    struct command *cmd = command_new(COMMAND_LIST);
    assert_non_null(cmd);
    cmd->actor = actor;
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
    struct event ev = {0};
    for (uint32_t i = 0; i <= n; i++) {
        assert_true(command_record_next(&rd, &ev));
    }
    return ev;
}

struct command *world_snapshot_new(struct world *w, uint64_t actor, struct conv_id conv,
                                   uint64_t since, uint64_t have_seq, uint64_t have_id)
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
    return cmd;
}

struct command *world_snapshot(struct world *w, uint64_t actor, struct conv_id conv, uint64_t since,
                               uint64_t have_seq, uint64_t have_id)
{
    return world_do(w, world_snapshot_new(w, actor, conv, since, have_seq, have_id));
}

/* ---- fixtures ---------------------------------------------------------------------------- */

int world_setup(void **state)
{
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_init(w);
    *state = w;
    return 0;
}

int world_setup_two(void **state)
{
    struct world *w = malloc(sizeof(*w));
    assert_non_null(w);
    world_init_shards(w, 2);
    w->mail_wait = true;
    *state = w;
    return 0;
}

int world_teardown(void **state)
{
    world_deinit(*state);
    free(*state);
    return 0;
}
