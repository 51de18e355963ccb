#include "process.h"

#include <stdlib.h>

#include "adapters/mem/executor_inline.h"
#include "base/check.h"
#include "model.h"
#include "users.h"

/* ---- the engines' host ------------------------------------------------------------------- */

static struct shard_sim *shard_of(struct engine_host *host)
{
    return CONTAINER_OF(host, struct shard_sim, host);
}

/* Links keep their order: nothing arrives before what was sent earlier. */
static void post(struct process *p, struct list *queue, uint64_t *link_ns, struct parcel parcel)
{
    struct sim *s = p->sim;
    uint64_t now = clock_mono_ns(&s->clock.base);
    uint64_t delay = s->calm ? 0 : sim_below(s, s->features.delay_max_ms + 1) * 1000000;
    struct parcel *q = malloc(sizeof(*q));
    CHECK(q);
    *q = parcel;
    q->at_ns = MAX(*link_ns, now + delay);
    *link_ns = q->at_ns;
    list_init(&q->link);
    list_push_back(queue, &q->link);
}

static void host_complete(struct engine_host *host, struct command *cmd)
{
    struct shard_sim *sh = shard_of(host);
    struct process *p = sh->process;
    if (p->dying) {
        command_free(cmd);
        return;
    }
    sim_trace(p->sim, "complete shard=%u type=%d err=%d seq=%llu id=%llu", sh->number, cmd->type,
              cmd->err, (unsigned long long)cmd->ret_seq, (unsigned long long)cmd->ret_id);
    if (cmd->type == COMMAND_FOLLOWUP) {
        uint16_t back = cmd->origin_shard;
        post(p, &p->shard[back].inbox, &p->link_ns[sh->number][back],
             (struct parcel){.to = back, .kind = PARCEL_RETURN, .cmd = cmd});
        return;
    }
    uint32_t user = users_of_command(cmd);
    users_check_answer(p->sim, cmd);
    post(p, &p->answers, &p->answer_ns[sh->number][user],
         (struct parcel){.kind = PARCEL_ANSWER, .cmd = cmd});
}

static void tell(struct shard_sim *sh, const struct publication *pub)
{
    struct sim *s = sh->process->sim;
    sim_trace(s, "publish shard=%u conv=" CONV_FMT " seq=%llu kind=%u id=%llu", sh->number,
              CONV_ARG(pub->conv), (unsigned long long)pub->ev.seq, pub->ev.kind,
              (unsigned long long)pub->ev.id);
    model_published(s->model, sh->number, pub);
}

/* Keeps one publication back until the next one of its conversation has gone. */
static void tell_reordered(struct shard_sim *sh, const struct publication *pub)
{
    struct process *p = sh->process;
    if (p->held_seq > 0) {
        bool next = conv_id_eq(p->held.conv, pub->conv);
        if (!next) {
            tell(sh, pub);
            return;
        }
        tell(sh, pub);
        p->held_seq = 0;
        tell(sh, &p->held);
        return;
    }
    if (pub->ev.kind == EVENT_MESSAGE && sim_one_in(p->sim, 20)) {
        p->held = *pub;
        p->held_seq = pub->ev.seq;
        buf_clear(&p->held_bytes);
        event_encode(&p->held_bytes, &pub->ev);
        CHECK(event_decode(span_of(p->held_bytes.data, p->held_bytes.len), &p->held.ev) ==
              CONFAB_OK);
        p->held.members = member_set_ref(pub->members);
        p->held.name = span_of(NULL, 0);
        return;
    }
    tell(sh, pub);
}

static void host_publish(struct engine_host *host, const struct publication *pub)
{
    struct shard_sim *sh = shard_of(host);
    struct sim *s = sh->process->sim;
    if (sh->process->dying) {
        return;
    }
    if (s->options.bug == BUG_REORDERED) {
        tell_reordered(sh, pub);
        return;
    }
    struct publication changed = *pub;
    if (s->options.bug == BUG_STALE_MEMBERS && pub->ev.kind == EVENT_MESSAGE &&
        pub->members->n > 2 && sim_one_in(s, 30)) {
        static struct member_set one = {.n = 0};
        changed.members = &one;
    }
    tell(sh, &changed);
}

static void host_receipt(struct engine_host *host, const struct receipt *receipt)
{
    struct shard_sim *sh = shard_of(host);
    if (!sh->process->dying) {
        sim_trace(sh->process->sim, "receipt conv=" CONV_FMT " user=%llu %llu-%llu read=%d",
                  CONV_ARG(receipt->conv), (unsigned long long)receipt->user,
                  (unsigned long long)receipt->from_seq, (unsigned long long)receipt->seq,
                  receipt->read);
        model_receipt(sh->process->sim->model, receipt);
    }
}

static enum confab_err host_send(struct engine_host *host, struct command *cmd)
{
    struct shard_sim *sh = shard_of(host);
    struct process *p = sh->process;
    if (p->dying || (!p->sim->calm && sim_one_in(p->sim, 20))) {
        return CONFAB_BUSY;
    }
    cmd->origin_shard = sh->number;
    if (p->sim->options.bug == BUG_LOST_FOLLOWUP && sim_one_in(p->sim, 30)) {
        cmd->err = CONFAB_OK;
        post(p, &sh->inbox, &p->link_ns[sh->number][sh->number],
             (struct parcel){.to = sh->number, .kind = PARCEL_RETURN, .cmd = cmd});
        return CONFAB_OK;
    }
    uint16_t to = engine_shard_of(command_partition(cmd), p->shards);
    post(p, &p->shard[to].inbox, &p->link_ns[sh->number][to],
         (struct parcel){.to = to, .kind = PARCEL_REQUEST, .cmd = cmd});
    return CONFAB_OK;
}

static void host_wake(struct engine_host *host)
{
    (void)host; /* turns come by themselves */
}

static const struct engine_host_ops HOST_OPS = {host_complete, host_publish, host_receipt,
                                                host_send, host_wake};

/* ---- life -------------------------------------------------------------------------------- */

static struct process *process_new(struct sim *s, uint16_t shards)
{
    struct process *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->sim = s;
    p->shards = shards;
    list_init(&p->answers);
    metrics_register(&p->metrics, p);
    for (uint16_t i = 0; i < shards; i++) {
        struct shard_sim *sh = &p->shard[i];
        sh->host.ops = &HOST_OPS;
        sh->process = p;
        sh->number = i;
        list_init(&sh->inbox);
        metrics_register(&sh->metrics, p);
        struct engine_config cfg = s->features.engine;
        cfg.shard = i;
        cfg.shards = shards;
        CHECK(engine_new(&cfg, &sh->host, &p->shared, &s->ports->log.base, &s->ports->store.base,
                         &s->ports->dir.base, &s->clock.base, &sh->metrics,
                         &sh->engine) == CONFAB_OK);
        p->engines[i] = sh->engine;
    }
    return p;
}

static void parcels_free(struct list *queue)
{
    struct list *it;
    while ((it = list_pop_front(queue))) {
        struct parcel *q = LIST_ENTRY(it, struct parcel, link);
        command_free(q->cmd);
        free(q);
    }
}

static void process_free(struct process *p)
{
    struct sim *s = p->sim;
    s->process = NULL;
    checkpointer_free(p->checkpointer);
    parcels_free(&p->answers);
    for (uint16_t i = 0; i < p->shards; i++) {
        struct shard_sim *sh = &p->shard[i];
        parcels_free(&sh->inbox);
        s->result.counts.evictions += (uint64_t)metrics_total(p, METRIC_CACHE_EVICTIONS) * (i == 0);
        engine_free(sh->engine);
    }
    for (uint16_t i = 0; i < p->shards; i++) {
        metrics_unregister(&p->shard[i].metrics);
    }
    metrics_unregister(&p->metrics);
    if (p->held_seq > 0) {
        member_set_unref(p->held.members);
    }
    buf_deinit(&p->held_bytes);
    free(p);
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct process *p = arg;
    p->recovered_records++;
    uint16_t owner = engine_shard_of(rec->partition, p->shards);
    return engine_recover_record(p->shard[owner].engine, rec);
}

static void learn(void *arg, const struct journal_record *rec)
{
    model_recovered(((struct sim *)arg)->model, rec);
}

static enum confab_err recover(struct sim *s, struct process *p)
{
    enum confab_err err = CONFAB_OK;
    s->ports->store.direct = true;
    for (uint16_t i = 0; i < p->shards && !err; i++) {
        err = engine_recover_begin(p->shard[i].engine);
    }
    if (!err) {
        err = log_store_read(&s->ports->log.base, p->from_lsn, on_record, p);
    }
    for (uint16_t i = 0; i < p->shards && !err; i++) {
        err = engine_recover_end(p->shard[i].engine);
    }
    s->ports->store.direct = false;
    return err;
}

bool process_start(struct sim *s, uint16_t shards)
{
    struct ports *ports = s->ports;
    uint64_t from_lsn = 0;
    enum confab_err err = checkpoint_load(ports_disk(ports), &from_lsn);
    SIM_CHECK(s, !err || err == CONFAB_CLOSED, "the checkpoint can be read", "%s", err_text(err));
    if (!err) {
        err = ports_open_log(ports, shards, from_lsn);
        SIM_CHECK(s, !err || err == CONFAB_CLOSED || disk_sim_halted(ports->disk),
                  "the log can be opened", "%s", err_text(err));
    }
    if (err || disk_sim_halted(ports->disk) || (!s->calm && sim_one_in(s, 12))) {
        s->result.counts.recovery_crashes++;
        sim_trace(s, "died opening the log");
        ports_kill(ports);
        ports_lose(ports, s->features.power);
        return false;
    }
    ports_check_log(ports, learn, s);
    struct process *p = process_new(s, shards);
    s->process = p;
    p->from_lsn = from_lsn;
    err = recover(s, p);
    SIM_CHECK(s, !err, "recovery reads what is there", "%s", err_text(err));
    CHECK(checkpointer_new(ports_disk(ports), ports->file_ex, &ports->log.base, &ports->store.base,
                           p->engines, shards, &p->metrics, &p->checkpointer) == CONFAB_OK);
    sim_trace(s, "started shards=%u from_lsn=%llu records=%llu", shards,
              (unsigned long long)from_lsn, (unsigned long long)p->recovered_records);
    return true;
}

/* Everything under way ends with an error, so that nothing is left behind. */
static void end_all(struct sim *s)
{
    struct process *p = s->process;
    p->dying = true;
    ports_kill(s->ports);
    for (int i = 0; i < 1000; i++) {
        bool any = ports_fail_all(s->ports);
        for (uint16_t k = 0; k < p->shards; k++) {
            (void)engine_tick(p->shard[k].engine); /* what waits to be loaded ends, too */
            engine_seal(p->shard[k].engine);
            engine_poll(p->shard[k].engine);
            any |= !list_is_empty(&s->ports->log.lanes[k]);
        }
        if (!any && i > 3) {
            return;
        }
    }
}

void process_crash(struct sim *s, bool power)
{
    struct process *p = s->process;
    sim_trace(s, "crash power=%d", power);
    s->result.counts.crashes++;
    end_all(s);
    users_lost(s->users);
    model_down(s->model);
    process_free(p);
    ports_lose(s->ports, power);
}

void process_stop(struct sim *s)
{
    struct process *p = s->process;
    for (uint16_t i = 0; i < p->shards; i++) {
        engine_flush_all(p->shard[i].engine);
    }
    bool all = false;
    /* A flush that the store refused is tried again after a second. */
    for (int tries = 0; tries < 100 && !all; tries++) {
        process_quiesce(s);
        all = true;
        for (uint16_t i = 0; i < p->shards; i++) {
            all = all && engine_is_quiet(p->shard[i].engine);
        }
    }
    for (uint16_t i = 0; i < p->shards; i++) {
        struct engine_stats st;
        engine_stats(p->shard[i].engine, &st);
        SIM_CHECK(s, engine_is_quiet(p->shard[i].engine), "a drain ends",
                  "shard %u: dirty %llu bytes, %llu records under way", i,
                  (unsigned long long)st.dirty_bytes, (unsigned long long)st.inflight);
        SIM_CHECK(s, st.cache_bytes <= s->features.engine.cache_bytes_max, "memory is bounded",
                  "shard %u: %llu bytes of cache, bound %llu", i,
                  (unsigned long long)st.cache_bytes,
                  (unsigned long long)s->features.engine.cache_bytes_max);
    }
    checkpointer_start(p->checkpointer);
    process_quiesce(s);
    SIM_CHECK(s, !checkpointer_is_running(p->checkpointer), "checkpoints end", " ");
    sim_trace(s, "stopped");
    p->dying = true;
    model_down(s->model);
    process_free(p);
    local_log_close(s->ports->local);
    s->ports->local = NULL;
    s->ports->log.inner = NULL;
}

/* ---- turns ------------------------------------------------------------------------------- */

void process_request_to(struct process *p, uint32_t user, uint16_t shard, struct command *cmd)
{
    cmd->origin_shard = 0;
    post(p, &p->shard[shard].inbox, &p->user_ns[user][shard],
         (struct parcel){.to = shard, .kind = PARCEL_REQUEST, .cmd = cmd});
}

void process_request(struct process *p, uint32_t user, struct command *cmd)
{
    process_request_to(p, user, engine_shard_of(command_partition(cmd), p->shards), cmd);
}

static struct parcel *arrived(struct process *p, struct list *queue)
{
    uint64_t now = clock_mono_ns(&p->sim->clock.base);
    LIST_EACH(queue, it)
    {
        struct parcel *q = LIST_ENTRY(it, struct parcel, link);
        if (q->at_ns <= now) {
            list_remove(&q->link);
            return q;
        }
    }
    return NULL;
}

void process_turn(struct process *p, uint16_t shard)
{
    struct shard_sim *sh = &p->shard[shard];
    struct parcel *q;
    while ((q = arrived(p, &sh->inbox))) {
        struct command *cmd = q->cmd;
        if (q->kind == PARCEL_RETURN) {
            engine_followup_done(sh->engine, cmd);
        } else {
            if (cmd->type != COMMAND_FOLLOWUP) {
                users_check_submit(p->sim, cmd);
            }
            engine_submit(sh->engine, cmd);
        }
        free(q);
    }
    engine_seal(sh->engine);
    engine_poll(sh->engine);
    (void)engine_tick(sh->engine);
}

bool process_answers(struct process *p)
{
    struct parcel *q = arrived(p, &p->answers);
    if (!q) {
        return false;
    }
    struct command *cmd = q->cmd;
    free(q);
    users_answer(p->sim, cmd);
    return true;
}

bool process_is_idle(struct process *p)
{
    bool idle = list_is_empty(&p->answers) && ports_is_idle(p->sim->ports);
    for (uint16_t i = 0; i < p->shards && idle; i++) {
        struct engine_stats st;
        engine_stats(p->shard[i].engine, &st);
        idle = list_is_empty(&p->shard[i].inbox) && st.inflight == 0 && st.followups_pending == 0 &&
               engine_is_recovered(p->shard[i].engine) &&
               list_is_empty(&p->sim->ports->log.lanes[i]);
    }
    return idle;
}

/* One round of everything; the order is drawn. */
static void round_of_steps(struct sim *s)
{
    struct process *p = s->process;
    uint16_t first = (uint16_t)sim_below(s, p->shards);
    for (uint16_t i = 0; i < p->shards; i++) {
        process_turn(p, (uint16_t)((first + i) % p->shards));
    }
    while (ports_step_log(s->ports)) {
    }
    while (ports_step_store(s->ports) || ports_step_dir(s->ports) || ports_step_file(s->ports)) {
    }
    while (process_answers(p)) {
    }
}

bool process_try_quiesce(struct sim *s)
{
    bool calm = s->calm;
    s->calm = true;
    int still = 0;
    bool alive = true;
    for (int i = 0; still < 6 && alive; i++) {
        SIM_CHECK(s, i < 3000, "what is under way ends", "after %d rounds", i);
        round_of_steps(s);
        /* A command may wait for a retry that nothing else tells of. */
        bool answered = !s->users || list_is_empty(&s->users->ops);
        still = answered && process_is_idle(s->process) ? still + 1 : 0;
        alive = !disk_sim_halted(s->ports->disk);
        for (uint16_t k = 0; k < s->process->shards && alive; k++) {
            enum confab_err err = engine_health(s->process->shard[k].engine);
            alive = !err || err == CONFAB_NO_SPACE;
        }
        /* Long enough for retries, cursors, flushes and their checks. */
        clock_sim_advance(&s->clock,
                          (uint64_t)(20 + s->features.engine.cursor_delay_ms / 4) * 1000000);
    }
    s->calm = calm;
    return alive;
}

void process_quiesce(struct sim *s)
{
    SIM_CHECK(s, process_try_quiesce(s), "engines stay healthy", "without a fault");
}

void process_quiesce_some(struct sim *s)
{
    bool calm = s->calm;
    s->calm = true;
    for (int i = 0; !list_is_empty(&s->users->ops); i++) {
        SIM_CHECK(s, i < 3000, "commands are answered", "after %d rounds", i);
        round_of_steps(s);
        clock_sim_advance(&s->clock, 1000000);
    }
    s->calm = calm;
}
