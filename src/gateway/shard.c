/* The shard's life and its turn. */
#include "gateway/shard.h"

#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/auth_state.h"
#include "gateway/drain.h"
#include "gateway/http.h"
#include "gateway/internal.h"
#include "gateway/overload.h"
#include "gateway/presence.h"
#include "gateway/privacy.h"
#include "gateway/session.h"
#include "gateway/watch.h"

#define EVENTS_PER_TURN 512
#define POLLS_PER_TURN  64 /* while most of what they find is put off */
#define LATER_PER_TURN  128
#define LATER_LEAST     32
#define FOLDS_PER_TURN  16
#define TIMERS_PER_TURN 256

void shard_config_defaults(struct shard_config *cfg)
{
    *cfg = (struct shard_config){
        .shards = 1,
        .connections_max = 1U << 20,
        .request_bytes_max = 65536,
        .response_bytes_max = 1U << 20,
        .text_bytes_max = 16384,
        .frame_bytes_max = WIRE_FRAME_MAX,
        .queue_bytes_max = 256U * 1024U,
        .queue_frames_max = 1024,
        .output_bytes_max = 64U * 1024U * 1024U,
        .inflight_max = 64,
        .bad_frames_max = 8,
        .header_timeout_ms = 10000,
        .body_timeout_ms = 30000,
        .idle_timeout_ms = 60000,
        .auth_timeout_ms = 10000,
        .write_timeout_ms = 10000,
        .slow_timeout_ms = 30000,
        .heartbeat_ms = 30000,
        .ping_after_ms = 45000,
        .dead_after_ms = 90000,
        .carried_silent_ms = 60000,
        .stream_beat_ms = 15000,
        .carried_max = 4,
        .users_cache = 65536,
        .devices_max = 100,
        .invites_max = 20,
        .registrations_max = 20,
        .access_ms = 15 * 60 * 1000,
        .refresh_grace_ms = 60 * 1000,
        .refresh_ms = 90ULL * 24 * 60 * 60 * 1000,
        .password_jobs_max = 256,
        .directory_calls_max = 4096,
        .resumes_max = 16,
        .resumes_waiting_max = 65536,
        .resume_page = 50,
        .resume_events = 100,
        .resume_events_first = 20,
        .link_credits = 4096,
        .link_deliveries = 8192,
        .link_behind_max = 256,
        .fanout_chunk = 512,
        .fanout_turn = 4096,
        .fanouts_max = 8192,
        .writes_turn = 512,
        .receipt_members_max = 100,
        .large_members = 1000,
        .counters_second = 5000,
        .ws_deflate_min = 512,
        .http_gzip_min = 1400, /* what fits one packet gains nothing */
        .away_after_ms = 5 * 60 * 1000,
        .presence_linger_ms = 10 * 1000,
        .presence_subscriptions_max = 500,
        .presence_users_max = 10U << 20,
        .rates = {.entries_max = 65536},
        .drain_spread_ms = 5000,
    };
    engine_config_defaults(&cfg->engine);
}

static bool config_ok(const struct shard_config *c)
{
    return c->shards > 0 && c->shards <= SHARDS_MAX && c->shard < c->shards &&
           c->connections_max > 0 && c->connections_max <= (1U << 24) && c->inflight_max > 0 &&
           c->inflight_max <= UINT16_MAX / 2 && c->bad_frames_max > 0 &&
           c->bad_frames_max <= UINT8_MAX && c->queue_frames_max > 0 &&
           c->queue_frames_max <= UINT16_MAX / 8 && c->queue_bytes_max > 0 &&
           c->queue_bytes_max <= (1U << 28) && c->output_bytes_max > 0 && c->resumes_max > 0 &&
           c->resume_page > 0 && c->link_credits > 0 && c->link_deliveries > 0 &&
           c->fanout_chunk > 0 && c->fanout_turn > 0 && c->fanouts_max > 0 && c->writes_turn > 0 &&
           c->counters_second > 0 && c->rates.entries_max > 0 &&
           c->ping_after_ms < c->dead_after_ms && c->stream_beat_ms > 0 &&
           c->carried_silent_ms > 0 && c->carried_max > 0 && c->text_bytes_max > 0 &&
           c->text_bytes_max <= EVENT_TEXT_MAX && c->request_bytes_max <= (1U << 26) &&
           c->frame_bytes_max <= (1U << 26) && c->access_ms >= 1000 &&
           c->access_ms / 1000 <= JWT_LIFE_MAX_S;
}

static void shard_read_time(struct shard *s)
{
    s->now_ns = clock_mono_ns(s->deps.clock);
    s->now_ms = s->now_ns / 1000000;
    s->wall_ms = clock_wall_ms(s->deps.clock);
}

enum confab_err shard_new(const struct shard_config *cfg, const struct shard_deps *deps,
                          struct shard **ret)
{
    static const struct origin_rules no_origins;
    if (!config_ok(cfg) || !deps->auth) {
        return CONFAB_INVALID;
    }
    struct shard *s = calloc(1, sizeof(*s));
    if (!s) {
        return CONFAB_NOMEM;
    }
    s->cfg = *cfg;
    s->deps = *deps;
    s->deps.origins = deps->origins ? deps->origins : &no_origins;
    s->deps.url = deps->url ? deps->url : "/";
    s->deps.version = deps->version ? deps->version : "0";
    s->cfg.engine.shard = cfg->shard;
    s->cfg.engine.shards = cfg->shards;
    s->metrics = deps->metrics;
    deps->engine_shared->hides = privacy_hides;
    deps->engine_shared->hides_arg = auth_state_privacy(deps->auth);
    s->host.ops = &shard_host_ops;
    s->host.pool = &s->pool;
    mpsc_init(&s->inbox);
    list_init(&s->away);
    list_init(&s->calls);
    list_init(&s->parked);
    resumes_init(s);
    shard_read_time(s);
    u64map_init(&s->sessions, random_u64(deps->random));
    users_init(s);
    rates_init(s);
    looks_init(s);
    channels_init(s);
    watches_init(s);
    auth_init(s);
    enum confab_err err = conns_init(s);
    if (!err) {
        err = fanouts_init(s);
    }
    if (!err) {
        err = presences_init(s);
    }
    /* Decoded text is never longer than what it was decoded from. */
    size_t scratch_bytes = MAX(cfg->request_bytes_max, cfg->frame_bytes_max) + SCRATCH_MORE;
    void *scratch = malloc(scratch_bytes);
    scratch_init(&s->scratch, scratch, scratch_bytes);
    if (!err && !scratch) {
        err = CONFAB_NOMEM;
    }
    if (!err) {
        err = engine_new(&s->cfg.engine, &s->host, deps->engine_shared, deps->log, deps->store,
                         deps->directory, deps->clock, deps->metrics, &s->engine);
    }
    if (err) {
        shard_free(s);
        return err;
    }
    *ret = s;
    return CONFAB_OK;
}

enum confab_err shard_connect(struct shard *const *shards, uint16_t n)
{
    return links_connect(shards, n);
}

void shard_free(struct shard *s)
{
    if (!s) {
        return;
    }
    s->freeing = true;
    async_drop_all(s);
    conns_deinit(s);
    engine_free(s->engine);
    links_deinit(s);
    fanouts_deinit(s);
    channels_deinit(s);
    packs_deinit(s);
    resumes_deinit(s);
    api_calls_drop(s);
    looks_deinit(s);
    watches_deinit(s);
    presences_deinit(s);
    users_deinit(s);
    rates_deinit(s);
    sessions_parked_drop(s);
    u64map_deinit(&s->sessions);
    buf_deinit(&s->text);
    free(s->scratch.p);
    pool_deinit(&s->pool);
    free(s);
}

struct engine *shard_engine(struct shard *s)
{
    return s->engine;
}

void shard_wake(struct shard *s)
{
    /* One system call for any number of wakes between two polls. */
    if (!atomic_exchange_explicit(&s->woken, true, memory_order_acq_rel)) {
        s->deps.net->ops->wake(s->deps.net);
    }
}

size_t session_id_text(uint64_t id, char out[SESSION_ID_TEXT])
{
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        out[i] = digits[(id >> (60 - 4 * i)) & 15];
    }
    return 16;
}

/* ---- The turn ---- */

/* The last answer has gone, or its peer takes none of it any more; one that takes it slowly may. */
static void linger_timer(struct shard *s, struct conn *c)
{
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    if (c->out_bytes > 0 && silent < s->cfg.write_timeout_ms) {
        conn_arm(s, c, s->cfg.write_timeout_ms);
    } else {
        conn_kill(s, c);
    }
}

static void on_timer(void *arg, struct wheel_timer *timer)
{
    struct shard *s = arg;
    struct conn *c = CONTAINER_OF(timer, struct conn, timer);
    switch (c->state) {
    case CONN_HTTP:
        http_timer(s, c);
        break;
    case CONN_WS:
    case CONN_WS_CLOSING:
    case CONN_CARRIED:
        session_timer(s, c);
        break;
    case CONN_LINGER:
        linger_timer(s, c);
        break;
    default:
        break;
    }
}

/* How long the poll may wait. */
static int poll_timeout(struct shard *s, int timeout_ms)
{
    uint64_t limit = timeout_ms < 0 ? INT32_MAX : (uint64_t)timeout_ms;
    if (s->busy || !mpsc_is_empty(&s->inbox)) {
        return 0;
    }
    uint64_t next = wheel_next_ms(&s->wheel);
    if (next != UINT64_MAX) {
        limit = MIN(limit, next > s->now_ms ? next - s->now_ms : 0);
    }
    limit = MIN(limit, s->engine_next_ms);
    next = MIN(auth_next_ms(s), leaving_next_ms(s));
    next = MIN(next, MIN(presences_next_ms(s), watches_next_ms(s)));
    next = MIN(next, channels_next_ms(s));
    if (next != UINT64_MAX) {
        limit = MIN(limit, next > s->now_ms ? next - s->now_ms : 0);
    }
    if (s->draining || s->accept_more) {
        limit = MIN(limit, DRAIN_STEP_MS);
    }
    return timeout_ms < 0 && limit >= INT32_MAX ? -1 : (int)MIN(limit, INT32_MAX);
}

static int turn_poll(struct shard *s, struct net_event events[EVENTS_PER_TURN], int timeout_ms)
{
    int n = s->deps.net->ops->poll(s->deps.net, events, EVENTS_PER_TURN, timeout_ms);
    /* Not a store: a waker that still finds true must have posted what is looked at below. */
    (void)atomic_exchange_explicit(&s->woken, false, memory_order_acq_rel);
    return n;
}

/* Returns how many of them were acted on; the others are noted to be read later. */
static int turn_events(struct shard *s, const struct net_event *events, int n)
{
    int acted = 0;
    for (int i = 0; i < n; i++) {
        if (events[i].flags & NET_ACCEPT) {
            conn_accept_all(s);
            acted++;
        } else if (conn_on_event(s, events[i].handle, events[i].flags)) {
            /* Decided while it is in the cache. */
            s->busy = links_receive_own(s) || s->busy;
            acted++;
        }
    }
    return acted;
}

static void turn_read(struct shard *s, int timeout_ms)
{
    struct net_event events[EVENTS_PER_TURN];
    int n = turn_poll(s, events, poll_timeout(s, timeout_ms));
    shard_read_time(s);
    engine_read_time(s->engine);
    s->fanouts.used = 0;
    s->busy = false;
    drain_turn(s);
    auth_turn(s);
    if (s->accept_more) {
        conn_accept_all(s);
    }
    /* Behind a thousand who acknowledge there may be one who writes. */
    int acted = turn_events(s, events, n);
    for (int i = 1; n == EVENTS_PER_TURN && acted < EVENTS_PER_TURN / 2 && i < POLLS_PER_TURN;
         i++) {
        n = turn_poll(s, events, 0);
        acted += turn_events(s, events, n);
    }
    s->busy = s->busy || n == EVENTS_PER_TURN;
    int later = MAX(LATER_LEAST, LATER_PER_TURN - acted);
    for (; later > 0 && conn_read_later(s); later--) {
        s->busy = links_receive_own(s) || s->busy;
    }
    s->busy = s->later.n > 0 || s->busy;
    metrics_gauge_set(s->metrics, METRIC_READS_WAITING, s->later.n);
    /* After the input, so that what came in time counts even when the turn is late. */
    (void)wheel_advance(&s->wheel, s->now_ms, TIMERS_PER_TURN, on_timer, s);
    async_drain(s);
    conns_resume(s);
}

/*
 * What is durable: some of it at a time, and each time its effects to those whom they concern, as
 * far as what they touch is then still in the processor's cache. While many fan-outs wait, what is
 * durable waits with the log: receipts become durable by the thousand, and where the link has no
 * room for them everybody would have to resume. True: something is left.
 */
static bool turn_fold(struct shard *s)
{
    for (int i = 0; i < FOLDS_PER_TURN; i++) {
        if (fanouts_are_many(s)) {
            return true;
        }
        if (!engine_poll(s->engine)) {
            return false;
        }
        links_flush(s);
        links_receive_own(s);
        fanouts_run(s);
        conns_write_touched(s);
    }
    return true;
}

static void publish_health(struct shard *s)
{
    atomic_store_explicit(&s->recovered, engine_is_recovered(s->engine), memory_order_relaxed);
    bool was = atomic_load_explicit(&s->pressed, memory_order_relaxed);
    bool pressed = engine_is_pressed(s->engine, was);
    if (UNLIKELY(was != pressed)) {
        atomic_store_explicit(&s->pressed, pressed, memory_order_relaxed);
        for (uint16_t i = 0; i < s->cfg.shards && !pressed; i++) {
            shard_wake(s->out[i].peer); /* what it holds may go on */
        }
    }
    atomic_store_explicit(&s->health, engine_health(s->engine), memory_order_relaxed);
}

uint32_t shard_turn(struct shard *s, int timeout_ms)
{
    /* Read, and decide what was read. */
    turn_read(s, timeout_ms);
    bool more = links_receive(s) || s->busy;
    /* Submit; take durable, fold; effects. */
    engine_seal(s->engine);
    more = turn_fold(s) || more;
    s->engine_next_ms = engine_tick(s->engine);
    links_flush(s);
    s->busy = false;
    more = links_receive_own(s) || more;
    presences_turn(s);
    watches_turn(s);
    more = fanouts_run(s) || more;
    channels_turn(s);
    more = resumes_run(s) || more;
    sessions_parked_run(s);
    more = conns_resume(s) || more;
    /* Write. */
    more = conns_write(s) || more;
    more = resumes_can_go_on(s) || more;
    overload_relieve(s);
    /* Free. */
    conns_free_dead(s);
    links_flush(s);
    publish_health(s);
    metrics_inc(s->metrics, METRIC_LOOP_TURNS);
    metrics_observe(s->metrics, METRIC_H_LOOP_TURN, clock_mono_ns(s->deps.clock) - s->now_ns);
    s->busy = s->busy || more || s->ready != SLAB_NONE || s->dead != SLAB_NONE;
    return (uint32_t)poll_timeout(s, -1);
}

bool shard_is_recovered(const struct shard *s)
{
    return atomic_load_explicit(&s->recovered, memory_order_relaxed);
}

void shard_stats(const struct shard *s, struct shard_stats *ret)
{
    *ret = (struct shard_stats){
        .connections = slab_count(&s->conns),
        .sessions = s->nsessions,
        .users = u64map_len(&s->sessions),
        .queued_bytes = s->queued_bytes - s->kept_bytes,
        .output_bytes = s->output_memory,
        .fanouts = s->fanouts.nrunning + s->fanouts.nwaiting + idmap_len(&s->channels.by_conv),
        .resumes = s->resumes.nrunning + s->resumes.nstalled + s->resumes.nwaiting,
        .memory_bytes = conns_bytes(s) + presence_bytes(s->presences.home) +
                        s->presences.nseats * sizeof(*s->presences.seats),
    };
}
