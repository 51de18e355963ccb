/*
 * Relief when queued output takes too much memory. Who is slowest is told by for how long nothing
 * was taken, in steps that double: exact order would need a list or a sort, and between two that
 * have been stuck for a minute there is nothing to choose.
 *
 * The walks over all connections are paid for by what they free: a quarter of the bound has to be
 * queued again before the next one, unless what is left belongs to those who do read.
 */
#include "gateway/overload.h"

#include "gateway/carrier.h"
#include "gateway/internal.h"
#include "gateway/session.h"

#define AGES      33 /* 0 s, 1, 2 to 3, 4 to 7, … */
#define CUT_AFTER 3  /* the first age at which one that takes nothing may be closed */

bool overload_is_full(const struct shard *s)
{
    return s->output_memory > s->cfg.output_bytes_max;
}

static bool is_relieved(const struct shard *s)
{
    return s->output_memory <= s->cfg.output_bytes_max / 4 * 3;
}

static bool is_stuck(const struct conn *c)
{
    bool waits = c->state == CONN_CARRIED ? carrier_is_stuck(c) : (c->flags & CONN_BLOCKED) != 0;
    return waits && c->out_head != SLAB_NONE;
}

static int age_of(const struct shard *s, const struct conn *c)
{
    uint64_t now_s = s->now_ms / 1000;
    uint32_t since = c->state == CONN_CARRIED ? c->seen_s : c->blocked_s;
    uint64_t age = now_s > since ? now_s - since : 0;
    return age == 0 ? 0 : 64 - __builtin_clzll(MIN(age, UINT32_MAX));
}

/* Calls it for those stuck since that age, the longest so first, until there is room. */
static void each_stuck(struct shard *s, int from, void (*relieve)(struct shard *s, struct conn *c))
{
    uint32_t count[AGES] = {0};
    for (uint32_t i = 0; i < s->conns_high; i++) {
        const struct conn *c = conn_at(s, i);
        if (c && is_stuck(c)) {
            count[age_of(s, c)]++;
        }
    }
    for (int age = AGES - 1; age >= from; age--) {
        for (uint32_t i = 0; i < s->conns_high && count[age] > 0; i++) {
            struct conn *c = conn_at(s, i);
            if (!c || !is_stuck(c) || age_of(s, c) != age) {
                continue;
            }
            count[age]--;
            relieve(s, c);
            if (is_relieved(s)) {
                return;
            }
        }
    }
}

static void make_pull(struct shard *s, struct conn *c)
{
    session_mark_slow(s, c);
}

static void cut(struct shard *s, struct conn *c)
{
    if (conn_is_session(c)) {
        session_cut(s, c, "the server has no room for what was not read");
    } else {
        metrics_inc(s->metrics, METRIC_OUTPUT_CUT);
        conn_kill(s, c);
    }
}

/* Nobody waits for it, and it would be taken for what is waited for. */
static void keep_nothing(struct shard *s)
{
    for (uint32_t i = 0; i < s->conns_high && s->kept_bytes > 0 && !is_relieved(s); i++) {
        struct conn *c = conn_at(s, i);
        if (c && c->state == CONN_CARRIED) {
            carrier_keep_nothing(s, c);
        }
    }
}

void overload_relieve(struct shard *s)
{
    if (!overload_is_full(s)) {
        return;
    }
    metrics_inc(s->metrics, METRIC_BOUND_OUTPUT_MEMORY);
    keep_nothing(s);
    if (!is_relieved(s)) {
        each_stuck(s, 0, session_forget_ephemeral);
    }
    if (!is_relieved(s)) {
        each_stuck(s, 0, make_pull);
    }
    if (!is_relieved(s)) {
        each_stuck(s, CUT_AFTER, cut);
    }
}
