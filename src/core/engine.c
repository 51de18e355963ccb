/*
 * Life of an engine, its turns, and the queue of commands of each conversation. Commands wait in
 * order of arrival in their resident; engine_pump runs the first one until it is done or has to
 * wait (for the conversation to be loaded, for events in flight, for a fact from the store).
 */
#include "core/engine.h"

#include <stdlib.h>

#include "base/check.h"
#include "core/engine_internal.h"

/* How long nothing is sent to a log that was full. */
enum { NOSPACE_MS = 1000 };

void engine_config_defaults(struct engine_config *cfg)
{
    *cfg = (struct engine_config){
        .shard = 0,
        .shards = 1,
        .cache_bytes_max = 32U << 20,
        .dirty_bytes_max = 32U << 20,
        .waiting_max = 8192,
        .inflight_max = 65536,
        .flush_after_ms = 20000,
        .cursor_delay_ms = 1000,
        .recent_max = 64,
        .durable_max = 128, /* all that is done for so many fits into a processor's cache */
        .dedup_days = 7,
    };
}

struct member_set *member_set_ref(struct member_set *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void member_set_unref(struct member_set *set)
{
    if (set && atomic_fetch_sub_explicit(&set->refs, 1, memory_order_acq_rel) == 1) {
        free(set);
    }
}

bool member_set_has(const struct member_set *set, uint64_t user)
{
    uint32_t lo = 0;
    uint32_t hi = set->n;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (set->users[mid] == user) {
            return true;
        }
        if (set->users[mid] < user) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return false;
}

/* Buffers of submissions that are kept, together. */
enum { SPARE_TURNS_MAX = 8, SPARE_TURNS_BYTES = 1 << 20 };

static struct turn *turn_new(struct engine *e)
{
    struct list *spare = list_pop_front(&e->spare_turns);
    if (spare) {
        e->nspare_turns--;
        e->spare_turns_bytes -= LIST_ENTRY(spare, struct turn, link)->sub.bytes.cap;
        return LIST_ENTRY(spare, struct turn, link);
    }
    struct turn *t = calloc(1, sizeof(*t));
    if (t) {
        list_init(&t->link);
        list_init(&t->records);
    }
    return t;
}

void engine_turn_done(struct engine *e, struct turn *t)
{
    struct buf bytes = t->sub.bytes;
    if (e->nspare_turns == SPARE_TURNS_MAX ||
        e->spare_turns_bytes + bytes.cap > SPARE_TURNS_BYTES) {
        buf_deinit(&bytes);
        free(t);
        return;
    }
    buf_clear(&bytes);
    *t = (struct turn){.sub.bytes = bytes};
    list_init(&t->link);
    list_init(&t->records);
    list_push_front(&e->spare_turns, &t->link);
    e->nspare_turns++;
    e->spare_turns_bytes += bytes.cap;
}

enum confab_err engine_new(const struct engine_config *cfg, struct engine_host *host,
                           struct engine_shared *shared, struct log_store *log,
                           struct message_store *store, struct directory *directory,
                           struct clock *clock, struct metrics *metrics, struct engine **ret)
{
    struct engine *e = calloc(1, sizeof(*e));
    if (!e) {
        return CONFAB_NOMEM;
    }
    e->cfg = *cfg;
    e->host = host;
    e->shared = shared;
    e->log = log;
    e->store = store;
    e->directory = directory;
    e->clock = clock;
    e->metrics = metrics;
    uint32_t n = cfg->shards;
    e->part_first = (uint16_t)(((uint32_t)cfg->shard * ID_PARTITIONS + n - 1) / n);
    uint32_t end = (((uint32_t)cfg->shard + 1) * ID_PARTITIONS + n - 1) / n;
    e->part_count = (uint16_t)(end - e->part_first);
    e->parts = calloc(e->part_count, sizeof(*e->parts));
    list_init(&e->lru);
    list_init(&e->loadq);
    list_init(&e->tailq);
    list_init(&e->follow);
    list_init(&e->answers);
    list_init(&e->spare_inflight);
    list_init(&e->spare_turns);
    e->turn = turn_new(e);
    list_init(&e->turns);
    list_init(&e->cursor_parts);
    list_init(&e->confirm_parts);
    mpsc_init(&e->inbox);
    idmap_init(&e->residents, clock_mono_ns(clock));
    atomic_init(&e->clean_lsn, UINT64_MAX);
    e->now_ms = clock_wall_ms(clock);
    e->unknown_ms = UINT64_MAX;
    u64map_init(&e->late[0], clock_mono_ns(clock));
    u64map_init(&e->late[1], clock_mono_ns(clock));
    for (uint16_t i = 0; e->parts && i < e->part_count; i++) {
        struct partition *p = &e->parts[i];
        p->number = (uint16_t)(e->part_first + i);
        p->any_stopped = &e->stopped;
        p->first_dirty_lsn = UINT64_MAX;
        p->flushing_lsn = UINT64_MAX;
        list_init(&p->dirty);
        list_init(&p->cursor_link);
        list_init(&p->confirm_link);
        list_init(&p->cursors);
        list_init(&p->durable_acks);
    }
    if (!e->parts || !e->turn) {
        engine_free(e);
        return CONFAB_NOMEM;
    }
    *ret = e;
    return CONFAB_OK;
}

static void commands_free(struct list *head)
{
    LIST_EACH(head, it)
    {
        command_free(LIST_ENTRY(it, struct command, link));
    }
}

static void turn_free(struct engine *e, struct turn *t)
{
    if (!t) {
        return;
    }
    LIST_EACH(&t->records, it)
    {
        struct inflight *in = LIST_ENTRY(it, struct inflight, link);
        if (in->kind == LOGREC_CURSORS) {
            commands_free(&in->acks);
        }
        command_free(in->cmd);
        inflight_free(e, in);
    }
    buf_deinit(&t->sub.bytes);
    free(t);
}

void engine_free(struct engine *e)
{
    if (!e) {
        return;
    }
    /* Answered and not taken: a start that failed after its first loads. */
    for (struct mpsc_node *n = mpsc_drain(&e->inbox), *next; n; n = next) {
        next = n->next;
        engine_job_free(CONTAINER_OF(n, struct engine_job, node));
    }
    chunk_codec_free(atomic_load(&e->spare_codec));
    turn_free(e, e->turn);
    commands_free(&e->answers);
    LIST_EACH(&e->turns, it)
    {
        turn_free(e, LIST_ENTRY(it, struct turn, link));
    }
    struct idmap_iter it = {0};
    while (idmap_next(&e->residents, &it)) {
        struct resident *r = it.value;
        commands_free(&r->waiting);
        r->waiting = (struct list){&r->waiting, &r->waiting};
        resident_free(NULL, r);
    }
    for (uint16_t i = 0; e->parts && i < e->part_count; i++) {
        struct partition *p = &e->parts[i];
        commands_free(&p->durable_acks);
        engine_flush_drop(p);
        buf_deinit(&p->confirms);
        free(p->feed);
        free(p->project);
    }
    LIST_EACH(&e->spare_turns, n)
    {
        turn_free(e, LIST_ENTRY(n, struct turn, link));
    }
    LIST_EACH(&e->spare_inflight, n)
    {
        free(LIST_ENTRY(n, struct inflight, link));
    }
    engine_flush_rest(e);
    buf_deinit(&e->rec);
    free(e->parts);
    u64map_deinit(&e->late[0]);
    u64map_deinit(&e->late[1]);
    idmap_deinit(&e->residents);
    free(e);
}

struct partition *engine_partition(struct engine *e, uint16_t number)
{
    uint16_t i = (uint16_t)(number - e->part_first);
    return i < e->part_count ? &e->parts[i] : NULL;
}

/* Is the event that it is about named by its message id alone? */
static bool is_about_message(const struct command *cmd)
{
    const struct event_kind *k = event_kind_of(cmd->in.kind);
    return cmd->in.target_id != 0 &&
           (cmd->type == COMMAND_ACK || cmd->type == COMMAND_LOOKUP ||
            cmd->type == COMMAND_RECEIPTS ||
            (cmd->type == COMMAND_EVENT && k && (k->flags & KIND_TARGET)));
}

void engine_complete(struct engine *e, struct command *cmd, enum confab_err err, const char *field)
{
    if (err == CONFAB_NOT_FOUND && !cmd->shrunk && is_about_message(cmd)) {
        /* Wherever that was found out: what may not be seen must look like what is not there. */
        field = "message_id";
    }
    cmd->err = err;
    cmd->err_field = field;
    if (err) {
        metrics_inc(e->metrics, METRIC_COMMANDS_REJECTED);
    }
    if (cmd->work) {
        buf_deinit(&cmd->work->target);
        buf_deinit(&cmd->work->original);
        free(cmd->work);
        cmd->work = NULL;
    }
    if (cmd->internal_done) {
        cmd->internal_done(cmd);
        return;
    }
    e->host->ops->complete(e->host, cmd);
}

struct command_work *command_work_get(struct command *cmd)
{
    if (!cmd->work) {
        cmd->work = calloc(1, sizeof(*cmd->work));
    }
    return cmd->work;
}

/*
 * On a thread of the store. What zstd needs to expand is 160 KiB: one is kept for whoever is next;
 * a second thread at the same time takes, and frees, another.
 */
static void decode_rows(struct engine_job *job)
{
    struct engine *e = job->e;
    const struct store_request *req = &job->req;
    struct chunk_codec *codec = atomic_exchange(&e->spare_codec, NULL);
    struct chunk_codec *none = NULL;
    if (!codec && chunk_codec_new(&codec)) {
        codec = NULL; /* it goes without */
    }
    for (uint32_t i = 0; i < req->ret_nrows && !job->err; i++) {
        /* Descending reads give the later chunk first; the records must rise. */
        uint32_t at = req->reverse ? req->ret_nrows - 1 - i : i;
        uint32_t count;
        job->err = chunk_decode(codec, &job->records, req->ret_rows[at].value, &count);
    }
    if (!atomic_compare_exchange_strong(&e->spare_codec, &none, codec)) {
        chunk_codec_free(codec);
    }
}

static void job_done(struct store_request *req)
{
    struct engine_job *job = req->arg;
    job->err = req->ret_err;
    if (!job->err && job->decode && req->ret_nrows > 0) {
        decode_rows(job);
    }
    /* Once it is pushed the shard may take and free it. */
    struct engine *e = job->e;
    if (mpsc_push(&e->inbox, &job->node)) {
        e->host->ops->wake(e->host);
    }
}

struct engine_job *engine_job_new(struct engine *e, struct resident *r, struct command *cmd,
                                  void (*finish)(struct engine *e, struct engine_job *job))
{
    struct engine_job *job = calloc(1, sizeof(*job));
    if (job) {
        job->e = e;
        job->r = r;
        job->cmd = cmd;
        job->finish = finish;
        job->req.done = job_done;
        job->req.arg = job;
    }
    return job;
}

void engine_job_free(struct engine_job *job)
{
    if (job) {
        store_request_deinit(&job->req);
        if (job->owns_arg) {
            free(job->arg);
        }
        buf_deinit(&job->records);
        free(job->keys);
        free(job->key_list);
        free(job);
    }
}

enum confab_err engine_job_submit(struct engine *e, struct engine_job *job)
{
    job->started_ns = clock_mono_ns(e->clock);
    e->jobs++;
    if (job->r) {
        job->r->pins++;
    }
    enum confab_err err = message_store_submit(e->store, &job->req);
    if (err) {
        e->jobs--;
        if (job->r) {
            job->r->pins--;
        }
    }
    return err;
}

static void take_jobs(struct engine *e)
{
    struct mpsc_node *n = mpsc_drain(&e->inbox);
    while (n) {
        struct mpsc_node *next = n->next;
        struct engine_job *job = CONTAINER_OF(n, struct engine_job, node);
        e->jobs--;
        struct resident *r = job->r;
        if (r) {
            r->pins--;
        }
        if (job->err && job->err != CONFAB_NOT_FOUND) {
            metrics_inc(e->metrics, METRIC_STORE_ERRORS);
        }
        if (job->req.op == STORE_WRITE) {
            metrics_inc(e->metrics, METRIC_STORE_WRITES);
            metrics_observe(e->metrics, METRIC_H_STORE_WRITE,
                            clock_mono_ns(e->clock) - job->started_ns);
        } else {
            metrics_inc(e->metrics, METRIC_STORE_READS);
            metrics_observe(e->metrics, METRIC_H_STORE_READ,
                            clock_mono_ns(e->clock) - job->started_ns);
        }
        job->finish(e, job);
        n = next;
    }
}

static enum step step(struct engine *e, struct resident *r, struct command *cmd)
{
    switch (cmd->type) {
    case COMMAND_EVENT:
        return engine_step_event(e, r, cmd);
    case COMMAND_ACK:
        return engine_step_ack(e, r, cmd);
    case COMMAND_HISTORY:
        return engine_step_history(e, r, cmd);
    case COMMAND_LIST:
        return engine_step_list(e, r, cmd);
    case COMMAND_RESUME:
        return engine_step_snapshot(e, r, cmd);
    case COMMAND_MEMBERS:
        return engine_step_members(e, r, cmd);
    case COMMAND_LOOKUP:
        return engine_step_lookup(e, r, cmd);
    case COMMAND_RECEIPTS:
        return engine_step_receipts(e, r, cmd);
    case COMMAND_BLOCKS:
        return engine_step_blocks(e, r, cmd);
    case COMMAND_CIRCLE:
        return engine_step_circle(e, r, cmd);
    case COMMAND_AUDIENCE:
        return engine_step_audience(e, r, cmd);
    case COMMAND_HEADS:
        break; /* not about one conversation */
    case COMMAND_HOST:
        break;
    case COMMAND_FOLLOWUP:
        return engine_step_followup(e, r, cmd);
    }
    engine_complete(e, cmd, CONFAB_INVALID, NULL);
    return STEP_DONE;
}

void engine_pump(struct engine *e, struct resident *r)
{
    if (r->pumping) {
        return;
    }
    r->pumping = true;
    bool blocked = false;
    while (!blocked && !r->busy && r->state != RESIDENT_LOADING && !list_is_empty(&r->waiting)) {
        struct command *cmd = LIST_ENTRY(r->waiting.next, struct command, link);
        list_remove(&cmd->link);
        r->nwaiting--;
        if (r->state == RESIDENT_BROKEN || r->p->stopped) {
            /* Stopped: what is in memory may not be all that is durable. */
            engine_complete(e, cmd, r->p->stopped ? r->p->stopped : r->broken, NULL);
            continue;
        }
        if (step(e, r, cmd) == STEP_BLOCKED) {
            list_push_front(&r->waiting, &cmd->link);
            r->nwaiting++;
            blocked = true;
        }
        if (e->turn->sub.bytes.len > TURN_BYTES) {
            engine_seal(e);
            /* Refused, nothing is in flight that the command could wait for. */
            blocked = blocked && r->inflight > 0;
        }
    }
    r->pumping = false;
    engine_account(e, r);
}

/* The log was full a moment ago. The wall clock may have been set back since. */
static bool is_full(const struct engine *e)
{
    return e->now_ms < e->nospace_until_ms && e->nospace_until_ms <= e->now_ms + NOSPACE_MS;
}

static bool is_over_dirty(const struct engine *e)
{
    return e->dirty_bytes > e->cfg.dirty_bytes_max + e->tail_bytes;
}

/* Sends are refused while the log has failed or is full, or too much waits for the store. */
static enum confab_err admit(struct engine *e, const struct command *cmd)
{
    if (cmd->type != COMMAND_EVENT && cmd->type != COMMAND_ACK && cmd->type != COMMAND_FOLLOWUP) {
        return CONFAB_OK;
    }
    if (e->failed) {
        return e->failed;
    }
    if (is_full(e)) {
        return CONFAB_NO_SPACE;
    }
    if (is_over_dirty(e) && cmd->type == COMMAND_EVENT) {
        metrics_inc(e->metrics, METRIC_BOUND_DIRTY);
        return e->store_err ? e->store_err : CONFAB_BUSY;
    }
    /* Follow-ups go on: conversations that wait for theirs stay in memory until then. */
    if (e->cache_bytes > e->cfg.cache_bytes_max + e->cfg.dirty_bytes_max &&
        cmd->type != COMMAND_FOLLOWUP && e->tail_bytes == 0) {
        metrics_inc(e->metrics, METRIC_BOUND_CACHE);
        return CONFAB_BUSY;
    }
    return CONFAB_OK;
}

void engine_expect(struct engine *e, struct command *cmd)
{
    if (cmd->type != COMMAND_EVENT || cmd->in.cmid.n == 0) {
        return;
    }
    const struct resident *r = engine_resident(e, cmd->conv);
    if (r) {
        PREFETCH(r->c.members);
        recent_keys_prefetch(&r->recent_keys, engine_key_hash(cmd));
    }
}

void engine_submit(struct engine *e, struct command *cmd)
{
    if (cmd->type == COMMAND_RESUME && cmd->items != NULL) {
        engine_resume(e, cmd);
        return;
    }
    if (cmd->type == COMMAND_RESUME && conv_id_is_zero(cmd->conv)) {
        engine_resume(e, cmd);
        return;
    }
    if (cmd->type == COMMAND_HEADS) {
        engine_heads(e, cmd);
        return;
    }
    struct partition *p = engine_partition(e, command_partition(cmd));
    enum confab_err err = p ? admit(e, cmd) : CONFAB_INVALID;
    if (!err && p->stopped) {
        err = p->stopped;
    }
    if (!err && conv_id_is_zero(cmd->conv)) {
        /* Named by a message id only: find the conversation first. */
        struct feed_entry entry;
        err = engine_feed_find(e, p, cmd->in.target_id, &entry);
        if (err == CONFAB_AGAIN) {
            err = engine_feed_ask(e, cmd);
            if (!err) {
                return;
            }
        }
        if (!err) {
            struct command_work *w = command_work_get(cmd);
            err = w ? CONFAB_OK : CONFAB_NOMEM;
            if (w) {
                w->looked_up = true;
                w->target_seq = entry.seq;
                cmd->conv = entry.conv;
            }
        }
    }
    struct resident *r = err ? NULL : engine_want(e, cmd->conv, &err);
    if (r && r->nwaiting >= e->cfg.waiting_max) {
        metrics_inc(e->metrics, METRIC_BOUND_QUEUE);
        err = CONFAB_BUSY;
    }
    if (err) {
        engine_complete(e, cmd, err, NULL);
        return;
    }
    list_push_back(&r->waiting, &cmd->link);
    r->nwaiting++;
    engine_touch(e, r);
    if (r->state == RESIDENT_LOADING) {
        engine_load_soon(e, r);
    } else {
        engine_pump(e, r);
    }
}

/* Before the submit: whatever LSN it gets lies at or above what is durable now. */
static void publish_floor(struct engine *e, struct turn *t)
{
    struct log_stats stats;
    log_store_stats(e->log, &stats);
    t->floor_lsn = stats.durable_lsn;
    if (atomic_load(&e->clean_lsn) == UINT64_MAX) {
        atomic_store(&e->clean_lsn, t->floor_lsn);
    }
}

/* Takes back what was decided in a submission that the log did not take: it is the latest one. */
static void reject_turn(struct engine *e, struct turn *t, enum confab_err err)
{
    struct list rejected;
    list_init(&rejected);
    while (!list_is_empty(&t->records)) {
        struct inflight *in = LIST_ENTRY(t->records.prev, struct inflight, link);
        list_remove(&in->link);
        list_push_front(&rejected, &in->link);
        if (in->r) {
            in->r->inflight--;
            in->r->barrier = false;
        }
        if (in->kind == LOGREC_EVENT) {
            const struct event_kind *k = event_kind_of(in->event_kind);
            in->r->next_seq--;
            in->r->next_ord -= (k->flags & KIND_COUNTS) ? 1 : 0;
            recent_keys_take_back(&in->r->recent_keys, in->r->next_seq);
        }
    }
    buf_clear(&t->sub.bytes);
    t->sub.records = 0;
    while (!list_is_empty(&rejected)) {
        struct inflight *in = LIST_ENTRY(list_pop_front(&rejected), struct inflight, link);
        struct resident *r = in->r;
        e->inflight--;
        if (in->kind == LOGREC_EVENT && !in->cmd && !list_is_empty(&r->waiting)) {
            /* It was decided for the first waiting command's sake. */
            in->cmd = LIST_ENTRY(list_pop_front(&r->waiting), struct command, link);
            r->nwaiting--;
        }
        if (in->cmd) {
            engine_complete(e, in->cmd, err, NULL);
        }
        if (in->kind == LOGREC_CURSORS) {
            engine_acks_done(e, in, err);
            engine_cursors_rejected(e, span_of(in->payload.data, in->payload.len));
        } else if (in->kind == LOGREC_CONFIRM) {
            engine_confirms_rejected(e, in);
        }
        inflight_free(e, in);
        if (r) {
            engine_pump(e, r);
        }
    }
}

void engine_seal(struct engine *e)
{
    engine_log_confirms(e, false);
    struct turn *t = e->turn;
    if (t->sub.records == 0) {
        buf_clear(&t->sub.bytes); /* there may have been no memory for the first record */
        return;
    }
    struct turn *next = turn_new(e);
    enum confab_err err = next ? CONFAB_OK : CONFAB_NOMEM;
    if (!err) {
        t->sub.lane = e->cfg.shard;
        t->submitted_ns = clock_mono_ns(e->clock);
        publish_floor(e, t);
        err = log_store_submit(e->log, &t->sub);
    }
    if (!err) {
        metrics_inc(e->metrics, METRIC_LOG_SUBMISSIONS);
        metrics_add(e->metrics, METRIC_LOG_RECORDS, t->sub.records);
        metrics_add(e->metrics, METRIC_LOG_BYTES, t->sub.bytes.len);
        list_push_back(&e->turns, &t->link);
        e->unsynced_bytes += t->sub.bytes.len;
        e->turn = next;
        return;
    }
    if (next) {
        engine_turn_done(e, next);
    }
    e->refused++;
    metrics_inc(e->metrics, METRIC_LOG_REFUSED);
    if (err == CONFAB_IO) {
        e->failed = err;
    } else if (err == CONFAB_NO_SPACE) {
        e->nospace_until_ms = e->now_ms + NOSPACE_MS;
    }
    reject_turn(e, t, err);
}

void engine_read_time(struct engine *e)
{
    e->now_ms = clock_wall_ms(e->clock);
}

bool engine_poll(struct engine *e)
{
    engine_read_time(e);
    bool more = engine_take_durable(e);
    take_jobs(e);
    return more;
}

/* The log may have failed while another shard or a checkpoint used it. */
static void ask_log(struct engine *e)
{
    struct log_stats stats;
    log_store_stats(e->log, &stats);
    if (stats.state == LOG_FAILED && !e->failed) {
        e->failed = CONFAB_IO;
    }
}

/* Recomputes what the log must keep for this engine. */
static void update_clean_lsn(struct engine *e)
{
    uint64_t lsn = UINT64_MAX;
    for (uint16_t i = 0; i < e->part_count; i++) {
        const struct partition *p = &e->parts[i];
        lsn = MIN(lsn, MIN(p->first_dirty_lsn, p->flushing_lsn));
    }
    if (!list_is_empty(&e->turns)) {
        lsn = MIN(lsn, LIST_ENTRY(e->turns.next, struct turn, link)->floor_lsn);
    }
    if (e->recovering) {
        lsn = 0;
    }
    atomic_store(&e->clean_lsn, lsn);
}

uint32_t engine_tick(struct engine *e)
{
    engine_read_time(e);
    engine_start_loads(e);
    if (e->recover_ended && e->tail_left == 0) {
        e->recovering = false;
        e->recover_ended = false;
    }
    if (e->tail_bytes > 0 && !e->recovering && e->dirty_bytes <= e->cfg.dirty_bytes_max / 2) {
        e->tail_bytes = 0;
    }
    engine_log_cursors(e, e->flush_all);
    engine_log_confirms(e, e->flush_all);
    engine_followups_run(e);
    engine_answers_due(e);
    engine_evict(e);
    engine_flush_due(e);
    if (e->now_ms >= e->clean_check_ms || e->flush_all || e->clean_check_ms > e->now_ms + 1000) {
        e->clean_check_ms = e->now_ms + 100;
        update_clean_lsn(e);
        ask_log(e);
        metrics_gauge_set(e->metrics, METRIC_DIRTY_BYTES, (int64_t)e->dirty_bytes);
        metrics_gauge_set(e->metrics, METRIC_CACHE_BYTES, (int64_t)e->cache_bytes);
        metrics_gauge_set(e->metrics, METRIC_CACHE_CONVERSATIONS,
                          (int64_t)idmap_len(&e->residents));
        metrics_gauge_set(e->metrics, METRIC_FOLLOWUPS_PENDING, (int64_t)e->followups_pending);
    }
    /* Last: who sees that the engine is quiet must find it clean. */
    if (e->flush_all && engine_is_quiet(e)) {
        e->flush_all = false;
    }
    if (e->turn->sub.records > 0) {
        return 0;
    }
    if (!list_is_empty(&e->confirm_parts)) {
        return 20;
    }
    return engine_is_quiet(e) && list_is_empty(&e->answers) ? 1000 : 100;
}

uint64_t engine_clean_lsn(const struct engine *e)
{
    return atomic_load(&e->clean_lsn);
}

void engine_flush_all(struct engine *e)
{
    e->flush_all = true;
}

/* Receipts and confirmations that are held back to be logged together, and can be. */
static bool holds_back(const struct engine *e)
{
    if (e->failed) {
        return false;
    }
    LIST_EACH(&e->confirm_parts, it)
    {
        if (!LIST_ENTRY(it, struct partition, confirm_link)->stopped) {
            return true;
        }
    }
    return !list_is_empty(&e->cursor_parts);
}

bool engine_is_quiet(const struct engine *e)
{
    return e->inflight == 0 && e->jobs == 0 && e->dirty_bytes == 0 && e->loading == 0 &&
           e->flushes == 0 && list_is_empty(&e->loadq) && list_is_empty(&e->tailq) &&
           !holds_back(e);
}

bool engine_has_followups(const struct engine *e)
{
    return e->followups_pending > 0 && !e->failed;
}

enum confab_err engine_health(const struct engine *e)
{
    if (e->failed) {
        return e->failed;
    }
    if (e->stopped) {
        return e->stopped;
    }
    if (e->store_err && is_over_dirty(e)) {
        return e->store_err;
    }
    return is_full(e) ? CONFAB_NO_SPACE : CONFAB_OK;
}

bool engine_is_pressed(const struct engine *e, bool was)
{
    size_t share = was ? 2 : 3; /* of four */
    size_t dirty = e->cfg.dirty_bytes_max + e->tail_bytes;
    /* What has failed, or is full, has to be said. */
    if (e->failed || e->stopped || e->store_err || is_full(e)) {
        return false;
    }
    return e->dirty_bytes > dirty / 4 * share ||
           (e->cfg.unsynced_bytes_max > 0 &&
            e->unsynced_bytes > e->cfg.unsynced_bytes_max / 4 * share);
}

void engine_stats(const struct engine *e, struct engine_stats *ret)
{
    *ret = (struct engine_stats){
        .conversations = idmap_len(&e->residents),
        .cache_bytes = e->cache_bytes,
        .dirty_bytes = e->dirty_bytes,
        .inflight = e->inflight,
        .followups_pending = e->followups_pending,
    };
}

static int by_id(const void *a, const void *b)
{
    const struct resident *const *x = a;
    const struct resident *const *y = b;
    return conv_id_cmp((*x)->c.id, (*y)->c.id);
}

void engine_dump_state(struct engine *e, struct buf *out)
{
    size_t n = idmap_len(&e->residents);
    struct resident **all = calloc(n + 1, sizeof(struct resident *));
    CHECK(all);
    struct idmap_iter it = {0};
    for (size_t i = 0; i < n && idmap_next(&e->residents, &it); i++) {
        all[i] = it.value;
    }
    qsort(all, n, sizeof(struct resident *), by_id);
    for (size_t i = 0; i < n; i++) {
        struct buf state = {0};
        conv_encode(&state, &all[i]->c, true);
        uint8_t raw[16];
        conv_id_write(all[i]->c.id, raw);
        buf_put(out, raw, sizeof(raw));
        buf_put_blob(out, state.data, state.len);
        buf_deinit(&state);
    }
    free(all);
}
