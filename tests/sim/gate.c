#include "gate.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "adapters/mem/executor_inline.h"
#include "base/check.h"
#include "check.h"
#include "core/checkpoint.h"
#include "faults.h"
#include "ports.h"

#define ULL(x) ((unsigned long long)(x))
#define MS     1000000ULL

uint64_t gate_now(const struct gate *g)
{
    return clock_mono_ns(&g->sim->clock.base) / MS;
}

/* ---- people ------------------------------------------------------------------------------ */

static void dir_done(struct dir_request *req)
{
    *(bool *)req->arg = true;
}

static void dir_do(struct gate *g, struct dir_request *req)
{
    bool done = false;
    req->done = dir_done;
    req->arg = &done;
    CHECK(directory_submit(g->sim->ports->dir.inner, req) == CONFAB_OK && done &&
          req->ret_err == CONFAB_OK);
    dir_request_deinit(req);
}

static const struct origin_rules ORIGINS = {.hosts = {"sim"}, .nhosts = 1};
static const struct auth_secrets SECRETS = {.keys = {.n = 1, .key = {{'s', 'i', 'm'}}}};

void gate_device_new(struct gate *g, uint32_t person, char ret_token[GATE_TOKEN_LEN + 1])
{
    struct dir_request *req = calloc(1, sizeof(*req));
    CHECK(req);
    req->op = DIR_DEVICE_CREATE;
    req->devices_max = 10000;
    req->device.user_id = g->people[person].id;
    req->device.device_id = (random_u64(&g->sim->random.base) >> 1) | 1;
    req->device.created_ms = clock_wall_ms(&g->sim->clock.base);
    random_fill(&g->sim->random.base, req->device.token_hash, sizeof(req->device.token_hash));
    dir_do(g, req);
    /* For longer than any run, wherever the clock jumps: phones do not refresh their tokens. */
    uint64_t issued_s = clock_wall_ms(&g->sim->clock.base) / 1000 - JWT_LIFE_MAX_S / 2;
    const struct jwt_claims claims = {req->device.user_id, req->device.device_id, issued_s,
                                      issued_s + JWT_LIFE_MAX_S};
    (void)jwt_make(&SECRETS.keys, &claims, ret_token);
    free(req);
}

static void person_init(struct gate *g, uint32_t i)
{
    struct person *who = &g->people[i];
    struct dir_request *req = calloc(1, sizeof(*req));
    CHECK(req);
    who->id = (random_u64(&g->sim->random.base) >> 1) | 1;
    req->op = DIR_ACCOUNT_CREATE;
    req->account.user_id = who->id;
    (void)snprintf(req->account.username, sizeof(req->account.username), "person-%u", i);
    (void)snprintf(req->account.password_hash, sizeof(req->account.password_hash), GATE_PASSWORD);
    (void)snprintf(req->username_key, sizeof(req->username_key), "person-%u", i);
    dir_do(g, req);
    free(req);
    gate_device_new(g, i, who->token);
}

void gate_account(struct gate *g, uint32_t person, struct dir_account *ret)
{
    struct dir_request *req = calloc(1, sizeof(*req));
    CHECK(req);
    req->op = DIR_ACCOUNT_BY_ID;
    req->user_id = g->people[person].id;
    dir_do(g, req);
    *ret = req->account;
    free(req);
}

bool gate_is_anybody_leaving(struct gate *g)
{
    struct dir_request *req = calloc(1, sizeof(*req));
    CHECK(req);
    req->op = DIR_ACCOUNTS_LEAVING;
    req->limit = 1;
    bool done = false;
    req->done = dir_done;
    req->arg = &done;
    CHECK(directory_submit(g->sim->ports->dir.inner, req) == CONFAB_OK && done && !req->ret_err);
    bool any = req->ret_nids > 0;
    dir_request_deinit(req);
    free(req);
    return any;
}

struct mconv *gate_any_conv(struct gate *g, uint32_t person)
{
    struct sim *s = g->sim;
    struct model *m = s->model;
    for (int tries = 0; tries < 12 && m->nconvs > 0; tries++) {
        struct mconv *c = m->convs[sim_low(s, m->nconvs)];
        if (c->kind != CONV_SELF && mconv_active(c, g->people[person].id)) {
            return c;
        }
    }
    return NULL;
}

struct gsend *gate_send_new(struct gate *g, uint32_t person, uint8_t kind, struct conv_id conv)
{
    struct sim *s = g->sim;
    if ((g->nsends & (g->nsends - 1)) == 0) {
        g->sends = realloc(g->sends, (g->nsends ? g->nsends * 2 : 1) * sizeof(*g->sends));
        CHECK(g->sends);
    }
    struct gsend *gs = &g->sends[g->nsends++];
    *gs = (struct gsend){.person = person, .kind = kind, .conv = conv};
    buf_printf(&gs->text, "%llu:", ULL(g->nsends));
    uint64_t want = sim_below(s, s->features.text_max);
    while (gs->text.len < want) {
        buf_put_str(&gs->text, sim_one_in(s, 3) ? "blåbær " : "words ");
    }
    return gs;
}

struct gsend *gate_send_of(struct gate *g, uint64_t number)
{
    return number >= 1 && number <= g->nsends ? &g->sends[number - 1] : NULL;
}

void gate_saw_event(struct sim *s, const struct mconv *c, const struct event *ev)
{
    struct gate *g = s->gate;
    if (ev->kind != EVENT_MESSAGE && ev->kind != EVENT_EDIT) {
        return;
    }
    uint64_t number = 0;
    for (size_t i = 0; i < ev->text.n && ev->text.p[i] != ':'; i++) {
        number = number * 10 + (uint64_t)(ev->text.p[i] - '0');
    }
    struct gsend *gs = gate_send_of(g, number);
    SIM_CHECK(s,
              gs && gs->kind == ev->kind && gs->asked && g->people[gs->person].id == ev->actor &&
                  conv_id_eq(gs->conv, c->id) &&
                  span_eq(span_of(gs->text.data, gs->text.len), ev->text),
              "events are what was sent", CONV_FMT " seq %llu", CONV_ARG(c->id), ULL(ev->seq));
    SIM_CHECK(s, !g->people[gs->person].silent, "a deleted account says nothing",
              CONV_FMT " seq %llu", CONV_ARG(c->id), ULL(ev->seq));
    SIM_CHECK(s, gs->seq == 0, "nothing happens twice", CONV_FMT " seq %llu and %llu",
              CONV_ARG(c->id), ULL(gs->seq), ULL(ev->seq));
    SIM_CHECK(s, gs->outcome != GSEND_FAILED, "what was refused does not happen",
              CONV_FMT " seq %llu", CONV_ARG(c->id), ULL(ev->seq));
    gs->seq = ev->seq;
    gs->id = ev->id;
}

/* ---- the server's life ------------------------------------------------------------------- */

static enum confab_err hash_password(struct span password, char ret_hash[DIR_HASH_BYTES])
{
    (void)snprintf(ret_hash, DIR_HASH_BYTES, "%.*s", (int)MIN(password.n, 100U),
                   (const char *)password.p);
    return CONFAB_OK;
}
static enum confab_err verify_password(const char *hash, struct span password)
{
    return span_is(password, hash) ? CONFAB_OK : CONFAB_UNAUTHENTICATED;
}
static const struct password_ops PASSWORDS = {"sim", hash_password, verify_password, NULL};

static void learn(void *arg, const struct journal_record *rec)
{
    model_recovered(((struct sim *)arg)->model, rec);
}

static void make_server(struct gate *g)
{
    struct sim *s = g->sim;
    struct server_loop loops[SIM_SHARDS_MAX];
    for (uint16_t i = 0; i < g->shards; i++) {
        g->nets[i] = (struct gate_net){{gate_net_ops()}, g, i};
        random_seeded_init(&g->randoms[i], random_u64(&s->random.base));
        loops[i] = (struct server_loop){.net = &g->nets[i].base,
                                        .listener = net_sim_listener(g->net, i),
                                        .random = &g->randoms[i].base};
    }
    struct server_deps deps = {.clock = &s->clock.base,
                               .log = &s->ports->log.base,
                               .store = &s->ports->store.base,
                               .directory = &s->ports->dir.base,
                               .password_executor = g->password_ex,
                               .password = &PASSWORDS,
                               .secrets = &SECRETS,
                               .origins = &ORIGINS,
                               .disk = ports_disk(s->ports),
                               .disk_executor = s->ports->file_ex,
                               .loops = loops};
    g->cfg.shards = g->shards;
    CHECK(server_new(&g->cfg, &deps, &g->server) == CONFAB_OK);
}

static bool server_begin(struct gate *g, uint16_t shards)
{
    struct sim *s = g->sim;
    uint64_t from_lsn = 0;
    enum confab_err err = checkpoint_load(ports_disk(s->ports), &from_lsn);
    SIM_CHECK(s, !err || err == CONFAB_CLOSED, "the checkpoint can be read", "%s", err_text(err));
    if (!err) {
        err = ports_open_log(s->ports, shards, from_lsn);
        SIM_CHECK(s, !err || disk_sim_halted(s->ports->disk), "the log can be opened", "%s",
                  err_text(err));
    }
    if (err || disk_sim_halted(s->ports->disk) || (!s->calm && sim_one_in(s, 12))) {
        s->result.counts.recovery_crashes++;
        ports_kill(s->ports);
        ports_lose(s->ports, s->features.power);
        return false;
    }
    ports_check_log(s->ports, learn, s);
    g->shards = shards;
    g->dead = false;
    net_sim_restart(g->net, shards);
    s->ports->store.direct = true;
    make_server(g);
    err = server_recover(g->server);
    s->ports->store.direct = false;
    SIM_CHECK(s, !err, "recovery reads what is there", "%s", err_text(err));
    /* Tokens of an epoch that could not be written down look as those of a time that a restore has
     * lost, and that is the safe side: devices are told to reset what they had. */
    for (uint32_t i = 0; i < g->nphones && g->unknown_tokens; i++) {
        g->phones[i].doubtful = g->phones[i].saved_doubtful = true;
    }
    struct server_recovery recovery;
    server_recovery(g->server, &recovery);
    g->unknown_tokens = !recovery.epoch_written;
    sim_trace(s, "server started shards=%u from_lsn=%llu", shards, ULL(from_lsn));
    return true;
}

static uint16_t draw_shards(struct sim *s)
{
    static const uint16_t list[] = {1, 4, 4, 3, 8};
    return s->options.shards ? s->options.shards : list[sim_below(s, ARRAY_LEN(list))];
}

static void server_restart(struct gate *g)
{
    while (!server_begin(g, draw_shards(g->sim))) {
    }
    if (sim_one_in(g->sim, 4)) {
        check_recovered(g->sim);
    }
}

static struct engine *engine_at(const struct gate *g, uint16_t i)
{
    return shard_engine(server_shard(g->server, i));
}

static void server_end(struct gate *g)
{
    g->dead = true;
    net_sim_crash(g->net);
    gate_wire_reset(g);
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_server_gone(&g->phones[i]);
    }
    (void)executor_inline_discard(g->password_ex);
    server_free(g->server);
    g->server = NULL;
    model_down(g->sim->model);
}

static void server_crash(struct gate *g)
{
    struct sim *s = g->sim;
    bool power = s->features.power || s->options.bug == BUG_ACK_BEFORE_SYNC;
    sim_trace(s, "server crashes power=%d", power);
    s->result.counts.crashes++;
    faults_end(s);
    g->dead = true;
    ports_kill(s->ports);
    bool any = true;
    for (int i = 0; i < 1000 && (any || i < 4); i++) {
        any = ports_fail_all(s->ports);
        for (uint16_t k = 0; k < g->shards; k++) {
            struct engine *e = engine_at(g, k);
            (void)engine_tick(e);
            engine_seal(e);
            engine_poll(e);
            any |= !list_is_empty(&s->ports->log.lanes[k]);
        }
    }
    server_end(g);
    ports_lose(s->ports, power);
    if (sim_one_in(s, 4)) {
        disk_sim_halt_after(s->ports->disk, sim_below(s, 25));
    }
}

/* ---- steps ------------------------------------------------------------------------------- */

void gate_round(struct gate *g)
{
    struct sim *s = g->sim;
    for (uint16_t i = 0; i < g->shards; i++) {
        (void)server_turn(g->server, i, 0);
    }
    while (ports_step_log(s->ports)) {
    }
    while (ports_step_store(s->ports) || ports_step_dir(s->ports) || ports_step_file(s->ports) ||
           executor_inline_step(g->password_ex)) {
    }
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_pump(&g->phones[i]);
    }
    (void)rest_pump(g);
}

static bool is_settled(struct gate *g)
{
    struct sim *s = g->sim;
    bool all = ports_is_idle(s->ports) && server_is_recovered(g->server) &&
               !(g->deletes && gate_is_anybody_leaving(g));
    for (uint32_t i = 0; i < GATE_RESTS_MAX && all; i++) {
        all = !g->rests[i].call.busy;
    }
    for (uint32_t i = 0; i < g->nphones && all; i++) {
        all = phone_is_settled(&g->phones[i]);
    }
    for (uint16_t i = 0; i < g->shards && all; i++) {
        struct engine_stats st;
        engine_stats(engine_at(g, i), &st);
        struct shard_stats sh;
        shard_stats(server_shard(g->server, i), &sh);
        all = st.inflight == 0 && st.followups_pending == 0 && sh.fanouts == 0 && sh.resumes == 0 &&
              sh.queued_bytes == 0 && list_is_empty(&s->ports->log.lanes[i]);
    }
    return all;
}

bool gate_is_alive(const struct gate *g)
{
    bool alive = !disk_sim_halted(g->sim->ports->disk);
    for (uint16_t i = 0; i < g->shards && alive; i++) {
        enum confab_err err = engine_health(engine_at(g, i));
        alive = !err || err == CONFAB_NO_SPACE;
    }
    return alive;
}

static void net_calm(struct gate *g, bool calm)
{
    struct net_sim_cfg c = g->chances;
    if (calm) {
        c.short_read = c.short_write = c.spurious = c.reset = c.scarce = 0;
        c.delay_max_ns = c.delay_min_ns;
    }
    net_sim_set_chances(g->net, &c);
}

static void fail_unsettled(struct gate *g)
{
    struct sim *s = g->sim;
    for (uint16_t i = 0; i < g->shards; i++) {
        struct shard_stats st;
        shard_stats(server_shard(g->server, i), &st);
        sim_trace(s, "shard %u: %llu fan-outs, %llu resumes, %llu bytes queued", i, ULL(st.fanouts),
                  ULL(st.resumes), ULL(st.queued_bytes));
    }
    for (uint32_t i = 0; i < g->nphones; i++) {
        const struct phone *p = &g->phones[i];
        struct confab_status st = {.state = CONFAB_STATE_REFUSED};
        if (!p->session) {
            continue;
        }
        csession_status(p->session, gate_now(g), &st);
        SIM_CHECK(s, phone_is_settled(p), "what is under way ends",
                  "phone %u: state %d error %d retry %llu outbox %zu fills %zu caught up %llu", i,
                  (int)st.state, (int)st.error, ULL(st.retry_in_ms),
                  csession_outbox_len(p->session), csession_fills(p->session), ULL(p->caught_up));
    }
    for (uint16_t i = 0; i < g->shards; i++) {
        struct engine_stats st;
        engine_stats(engine_at(g, i), &st);
        SIM_CHECK(s, st.inflight + st.followups_pending == 0, "what is under way ends",
                  "shard %u: %llu records, %llu follow-ups", i, ULL(st.inflight),
                  ULL(st.followups_pending));
    }
    sim_fail(s, "what is under way ends", "requests");
}

/*
 * A server with much to fan out and a small share of it in each turn, or with few writes in one,
 * takes many turns meanwhile.
 */
static void more_turns(struct gate *g)
{
    for (uint16_t i = 0; i < g->shards; i++) {
        struct shard_stats st;
        shard_stats(server_shard(g->server, i), &st);
        for (int k = 0; k < 16 && st.fanouts + st.queued_bytes > 0; k++) {
            (void)server_turn(g->server, i, 0);
            shard_stats(server_shard(g->server, i), &st);
        }
    }
}

/* False when the server fails meanwhile. */
static bool settle(struct gate *g)
{
    struct sim *s = g->sim;
    int still = 0;
    for (int i = 0; still < 18; i++) {
        if (i == 4000) {
            fail_unsettled(g);
        }
        for (uint32_t k = 0; k < g->nphones; k++) {
            phone_heal(&g->phones[k]);
        }
        gate_round(g);
        if (i >= 1000 && gate_is_alive(g)) {
            more_turns(g);
        }
        if (!gate_is_alive(g)) {
            return false;
        }
        life_learn(g, false);
        still = is_settled(g) ? still + 1 : 0;
        /* Long enough at last for clients to notice connections that have vanished. */
        uint64_t ms = still > 0 ? 250 : i < 50 ? 10 : 60 + s->features.engine.cursor_delay_ms / 4;
        clock_sim_advance(&s->clock, ms * MS);
    }
    life_learn(g, true);
    return true;
}

static void quiet(struct gate *g)
{
    struct sim *s = g->sim;
    sim_trace(s, "quiet");
    s->result.counts.quiets++;
    faults_end(s);
    net_calm(g, true);
    for (uint32_t i = 0; i < g->nphones; i++) {
        g->phones[i].slow_until_ms = 0;
        if (!g->phones[i].session && !g->people[g->phones[i].person].gone) {
            phone_on(&g->phones[i]);
        }
    }
    s->calm = true;
    while (!gate_is_alive(g) || !settle(g) || !presence_settle(g)) {
        s->calm = false;
        server_crash(g);
        faults_end(s);
        server_restart(g);
        s->calm = true;
    }
    model_quiet(s->model);
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_check_quiet(&g->phones[i]);
    }
    life_check_quiet(g);
    /* Somebody's new phone. */
    struct phone fresh;
    uint32_t whose = (uint32_t)sim_below(s, g->npeople);
    while (g->people[whose].gone) {
        whose = (whose + 1) % g->npeople;
    }
    phone_init(g, &fresh, whose, 1000);
    fresh.fresh = true;
    phone_on(&fresh);
    for (int i = 0; fresh.caught_up == 0 || !phone_is_settled(&fresh); i++) {
        SIM_CHECK(s, i < 2000, "what is under way ends", "a new phone, after %d rounds", i);
        gate_round(g);
        phone_pump(&fresh);
        clock_sim_advance(&s->clock, 10 * MS);
    }
    phone_check_quiet(&fresh);
    phone_deinit(&fresh);
    /* What the new phone acknowledged is still on its way. */
    while (!presence_leave(g) || !settle(g)) {
        s->calm = false;
        server_crash(g);
        faults_end(s);
        server_restart(g);
        s->calm = true;
    }
    s->calm = false;
    net_calm(g, false);
}

/* Drains, stops, and starts again with another number of shards. */
static void stop_and_start(struct gate *g)
{
    struct sim *s = g->sim;
    sim_trace(s, "server drains");
    faults_end(s);
    s->result.counts.drains++;
    server_drain(g->server, 400);
    for (int i = 0; !server_is_stopped(g->server) && gate_is_alive(g); i++) {
        SIM_CHECK(s, i < 3000, "a drain ends", "after %d rounds", i);
        gate_round(g);
        clock_sim_advance(&s->clock, 10 * MS);
    }
    if (!server_is_stopped(g->server)) {
        server_crash(g);
        server_restart(g);
        return;
    }
    while (ports_step_file(s->ports)) {
    }
    while (ports_step_store(s->ports) || ports_step_dir(s->ports)) {
    }
    /* A shard may have logged something while the last checkpoint was made. */
    for (uint16_t k = 0; k < g->shards; k++) {
        while (!list_is_empty(&s->ports->log.lanes[k])) {
            (void)ports_step_file(s->ports);
            (void)engine_poll(engine_at(g, k));
        }
    }
    server_end(g);
    local_log_close(s->ports->local);
    s->ports->local = NULL;
    s->ports->log.inner = NULL;
    life_backup(g);
    server_restart(g);
    struct server_recovery rec;
    server_recovery(g->server, &rec);
    /* What a shard wrote while another one was the last to become quiet. */
    SIM_CHECK(s, rec.records <= 8, "recovery reads from the checkpoint on",
              "%llu records after a drain", ULL(rec.records));
}

/* It dies, and comes back with what it was at the last backup. */
static void restore(struct gate *g)
{
    server_crash(g);
    life_restore(g);
    server_restart(g);
}

struct weights {
    uint32_t turn;
    uint32_t pump;
    uint32_t act;
    uint32_t rest;
    uint32_t log;
    uint32_t store;
    uint32_t clock;
};

static void draw_weights(struct sim *s, struct weights *w)
{
    w->turn = (uint32_t)sim_between(s, 10, 60);
    w->pump = (uint32_t)sim_between(s, 10, 60);
    w->act = (uint32_t)sim_between(s, 1, 10);
    w->rest = (uint32_t)sim_between(s, 0, 2);
    w->log = sim_one_in(s, 6) ? 0 : (uint32_t)sim_between(s, 4, 30);
    w->store = sim_one_in(s, 6) ? 0 : (uint32_t)sim_between(s, 4, 40);
    w->clock = (uint32_t)sim_between(s, 3, 12);
}

static void one_step(struct gate *g, const struct weights *w)
{
    struct sim *s = g->sim;
    uint32_t edges[] = {w->turn, w->pump, w->act, w->rest, w->log, w->store, 5, 2, w->clock, 6, 1};
    uint32_t sum = 0;
    for (size_t i = 0; i < ARRAY_LEN(edges); i++) {
        sum += edges[i];
    }
    uint64_t r = sim_below(s, sum);
    size_t what = 0;
    while (r >= edges[what]) {
        r -= edges[what++];
    }
    switch (what) {
    case 0:
        (void)server_turn(g->server, (uint16_t)sim_below(s, g->shards), 0);
        break;
    case 1:
        phone_pump(&g->phones[sim_below(s, g->nphones)]);
        break;
    case 2:
        phone_act(&g->phones[sim_below(s, g->nphones)]);
        break;
    case 3:
        rest_act(g);
        break;
    case 4:
        ports_step_log(s->ports);
        break;
    case 5:
        ports_step_store(s->ports);
        break;
    case 6:
        ports_step_dir(s->ports);
        break;
    case 7:
        ports_step_file(s->ports);
        (void)executor_inline_step(g->password_ex);
        break;
    case 8:
        clock_sim_advance(&s->clock,
                          (sim_one_in(s, 12) ? sim_below(s, 400) : sim_below(s, 8)) * MS + 1000);
        break;
    case 9:
        (void)rest_pump(g);
        break;
    default:
        faults_draw(s);
        break;
    }
}

/* ---- a run ------------------------------------------------------------------------------- */

static void draw_config(struct gate *g)
{
    struct sim *s = g->sim;
    server_config_defaults(&g->cfg);
    struct shard_config *c = &g->cfg.shard;
    c->engine = s->features.engine;
    /* The gateway gives more than a handful at once. */
    c->engine.waiting_max = MAX(c->engine.waiting_max, 64U);
    s->features.store_queue = MAX(s->features.store_queue, 500U);
    g->cfg.checkpoint_ms = (uint32_t)sim_between(s, 50, 3000);
    c->heartbeat_ms = 1000;
    c->ping_after_ms = 1500;
    c->dead_after_ms = 4000;
    c->slow_timeout_ms = 3000;
    c->write_timeout_ms = 3000;
    c->drain_spread_ms = 300;
    c->queue_bytes_max = 8192U << sim_between(s, 0, 5);
    c->queue_frames_max = (uint16_t)(8U << sim_between(s, 0, 7));
    c->link_deliveries = 4U << sim_between(s, 0, 10);
    c->link_credits = 16U << sim_between(s, 0, 8);
    c->link_behind_max = (uint32_t)sim_between(s, 1, 64);
    c->fanout_chunk = (uint32_t)sim_between(s, 1, 64);
    c->fanout_turn = c->fanout_chunk * (uint32_t)sim_between(s, 1, 16);
    c->fanouts_max = (uint32_t)sim_between(s, 2, 64);
    /* Half of the runs have large conversations, beginning with three members. */
    c->large_members = sim_one_in(s, 2) ? (uint32_t)sim_between(s, 2, 8) : 0;
    c->counters_second = 50U << sim_between(s, 0, 8);
    c->writes_turn = 16U << sim_between(s, 0, 5);
    /* Less than a page of each one's resume would be told to resync again and again. */
    c->output_bytes_max = 262144U << sim_between(s, 0, 6);
    c->access_ms =
        JWT_LIFE_MAX_S * 1000U; /* who was signed out is known for as long as a token lives */
    c->resumes_max = (uint32_t)sim_between(s, 1, 16);
    c->resumes_waiting_max = 1U << sim_between(s, 0, 6);
    c->rates.a_minute[RATE_SEND][RATE_USER] =
        sim_one_in(s, 3) ? (uint32_t)sim_between(s, 60, 600) : 0;
    c->engine.unsynced_bytes_max = sim_one_in(s, 3) ? 2048U << sim_between(s, 0, 6) : 0;
    c->resume_page = (uint32_t)sim_between(s, 1, 20);
    c->resume_events = (uint32_t)sim_between(s, 3, 100);
    c->resume_events_first = (uint32_t)sim_between(s, 1, 20);
    c->inflight_max = (uint32_t)sim_between(s, 2, 64);
    presence_draw(g);
    g->chances = (struct net_sim_cfg){.clock = &s->clock,
                                      .seed = random_u64(&s->random.base),
                                      .shards = 1,
                                      .pipe_bytes = 2048U << sim_between(s, 0, 5),
                                      .delay_min_ns = 100000,
                                      .delay_max_ns = sim_between(s, 1, 30) * MS,
                                      .short_read = (uint32_t)sim_below(s, 2000),
                                      .short_write = (uint32_t)sim_below(s, 2000),
                                      .spurious = (uint32_t)sim_below(s, 300),
                                      .reset = (uint32_t)(sim_one_in(s, 2) ? sim_below(s, 40) : 0),
                                      .scarce = (uint32_t)sim_below(s, 200)};
}

static void gate_new(struct sim *s)
{
    struct gate *g = calloc(1, sizeof(*g));
    CHECK(g);
    s->gate = g;
    g->sim = s;
    draw_config(g);
    life_draw(g);
    gate_wire_init(g);
    CHECK(net_sim_open(&g->chances, &g->net) == CONFAB_OK);
    net_sim_crash(g->net); /* nothing listens yet */
    CHECK(executor_inline_open(true, 1024, &g->password_ex) == CONFAB_OK);
    g->npeople = (uint32_t)sim_between(s, 4, 24);
    for (uint32_t i = 0; i < g->npeople; i++) {
        person_init(g, i);
    }
    g->nphones = sim_one_in(s, 25) ? 300 : (uint32_t)sim_between(s, 4, 40);
    /* A poll and a post of each at once, or hundreds would send each other away for ever. */
    g->cfg.shard.link_credits = MAX(g->cfg.shard.link_credits, 2 * g->nphones);
    /* What a large group's page takes would let in one after the other, for minutes. */
    g->cfg.shard.output_bytes_max = MAX(g->cfg.shard.output_bytes_max, 4096U * g->nphones);
    g->phones = calloc(g->nphones, sizeof(*g->phones));
    CHECK(g->phones);
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_init(g, &g->phones[i], i % g->npeople, i);
    }
}

void gate_free(struct gate *g)
{
    if (!g) {
        return;
    }
    for (uint32_t i = 0; i < GATE_RESTS_MAX; i++) {
        http_end(&g->rests[i].call);
    }
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_deinit(&g->phones[i]);
    }
    for (uint64_t i = 0; i < g->nsends; i++) {
        buf_deinit(&g->sends[i].text);
    }
    if (g->server) {
        server_crash(g);
    }
    ports_backup_free(g->backup);
    net_sim_close(g->net);
    gate_wire_free(g);
    executor_inline_close(g->password_ex);
    free(g->phones);
    free(g->sends);
    free(g);
}

static void check_outcomes(struct gate *g)
{
    for (uint64_t i = 0; i < g->nsends; i++) {
        const struct gsend *gs = &g->sends[i];
        bool told = gs->outcome == GSEND_STORED   ? gs->seq > 0 || gs->lost
                    : gs->outcome == GSEND_FAILED ? gs->seq == 0
                                                  : gs->rest || g->people[gs->person].gone;
        SIM_CHECK(g->sim, told, "everything sent comes to an end", "k%llu: outcome %d seq %llu",
                  ULL(i + 1), (int)gs->outcome, ULL(gs->seq));
    }
}

void gate_run(struct sim *s)
{
    struct weights w;
    uint64_t steps = s->options.steps ? s->options.steps : sim_between(s, 2000, 6000);
    gate_new(s);
    struct gate *g = s->gate;
    server_restart(g);
    draw_weights(s, &w);
    uint64_t failed_at = 0;
    for (s->step = 1; s->step <= steps; s->step++) {
        one_step(g, &w);
        if (s->step % 200 == 0) {
            draw_weights(s, &w);
        }
        failed_at = gate_is_alive(g) ? 0 : failed_at ? failed_at : s->step;
        bool broken = failed_at > 0 && s->step > failed_at + 150;
        if (disk_sim_halted(s->ports->disk) || broken || sim_one_in(s, s->features.crash_every)) {
            server_crash(g);
            server_restart(g);
            failed_at = 0;
        } else if (sim_one_in(s, s->features.quiet_every)) {
            quiet(g);
        } else if (!failed_at && sim_one_in(s, g->restores ? 1000 : 3000)) {
            stop_and_start(g);
        } else if (g->backup && sim_one_in(s, 1000)) {
            restore(g);
        }
    }
    quiet(g);
    check_outcomes(g);
    check_recovered(s);
    stop_and_start(g);
    quiet(g);
}
