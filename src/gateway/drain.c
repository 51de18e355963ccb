#include "gateway/drain.h"

#include "gateway/internal.h"
#include "gateway/session.h"

#define DRAIN_FIRST_MS 2000U /* for the first request of a connection that has just been opened */
#define DRAIN_PACE_MS  5U    /* between two sessions, when there are few */

void shard_drain(struct shard *s, uint32_t grace_ms)
{
    atomic_store_explicit(&s->drain_grace_ms, grace_ms, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&s->drain_asked, 1, memory_order_release);
    shard_wake(s);
}

bool shard_is_drained(const struct shard *s)
{
    return atomic_load_explicit(&s->drained, memory_order_acquire);
}

/* After how long the session in that place leaves. */
static uint32_t delay_of(const struct shard *s, uint32_t index)
{
    return (uint32_t)((uint64_t)s->drain_spread_ms * MIN(index, s->drain_slots) /
                      MAX(s->drain_slots, 1U));
}

/*
 * A connection that has asked something before can be closed: its client knows that this happens. A
 * fresh one was opened to be used at once, and its request may be on its way.
 */
static void send_off(struct shard *s, struct conn *c)
{
    if (conn_is_session(c) && c->user != 0) {
        session_reconnect(s, c, delay_of(s, c->index));
    } else if (c->state == CONN_HTTP && c->holds == 0 && (!c->io || !c->io->http.begun)) {
        if (c->wire & WIRE_ASKED) {
            conn_finish(s, c);
        } else {
            conn_arm(s, c, MIN(DRAIN_FIRST_MS, s->cfg.header_timeout_ms));
        }
    } else if (c->state == CONN_LINGER && c->out_bytes == 0) {
        conn_arm(s, c, conn_linger_ms(s));
    }
}

static void drain_begin(struct shard *s, uint32_t grace_ms)
{
    conn_accept_all(s);
    s->draining = true;
    if (s->deps.listener >= 0) {
        s->deps.net->ops->unlisten(s->deps.net, s->deps.listener);
    }
    s->drain_began_ms = s->now_ms;
    s->drain_until_ms = s->now_ms + grace_ms;
    s->drain_slots = s->conns_high;
    uint64_t paced = (uint64_t)s->nsessions * DRAIN_PACE_MS;
    s->drain_spread_ms = (uint32_t)MIN(MIN(paced, s->cfg.drain_spread_ms), grace_ms);
    for (uint32_t i = 0; i < s->conns_high; i++) {
        struct conn *c = conn_at(s, i);
        if (c) {
            send_off(s, c);
        }
    }
}

/* Answers first what was read, and reads no more. */
static void leave(struct shard *s, struct conn *c)
{
    if (c->inflight > 0 || (c->holds & HOLD_OWNER)) {
        conn_hold(s, c, HOLD_LEAVING);
    } else {
        session_close(s, c, WS_CLOSE_GOING_AWAY, "the server is going away");
    }
}

/*
 * Walks over all places whose time has come, and again over those that had something under way. A
 * walk costs a look at each, a hundred times in all.
 */
static void leave_due(struct shard *s)
{
    uint64_t passed = s->now_ms - s->drain_began_ms;
    for (uint32_t i = 0; i < s->conns_high && delay_of(s, i) <= passed; i++) {
        struct conn *c = conn_at(s, i);
        if (c && conn_is_session(c)) {
            leave(s, c);
        }
    }
}

static void close_all(struct shard *s)
{
    for (uint32_t i = 0; i < s->conns_high; i++) {
        struct conn *c = conn_at(s, i);
        if (c && conn_is_session(c)) {
            session_close(s, c, WS_CLOSE_GOING_AWAY, "the server is going away");
        } else if (c && c->state == CONN_HTTP && !(c->holds & HOLD_CALL)) {
            conn_finish(s, c);
        }
    }
}

void drain_turn(struct shard *s)
{
    uint32_t asked = atomic_load_explicit(&s->drain_asked, memory_order_acquire);
    if (asked != s->drain_seen) {
        uint32_t grace_ms = atomic_load_explicit(&s->drain_grace_ms, memory_order_relaxed);
        s->drain_seen = asked;
        if (!s->draining) {
            drain_begin(s, grace_ms);
        } else {
            s->drain_until_ms = MIN(s->drain_until_ms, s->now_ms + grace_ms);
        }
    }
    if (!s->draining) {
        return;
    }
    if (s->now_ms >= s->drain_until_ms) {
        close_all(s);
    } else if (s->now_ms >= s->drain_next_ms) {
        s->drain_next_ms = s->now_ms + DRAIN_STEP_MS;
        leave_due(s);
    }
    bool done = slab_count(&s->conns) == 0 && list_is_empty(&s->calls) && s->password_jobs == 0 &&
                s->dir_calls == 0;
    atomic_store_explicit(&s->drained, done, memory_order_release);
}
