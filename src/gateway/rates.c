/*
 * Buckets by the time at which they are full again (the generic cell rate algorithm): one number
 * for each, no timer, and one that lies in the past says nothing and may go.
 */
#include "gateway/rates.h"

#include <string.h>

#include "base/hash64.h"
#include "gateway/internal.h"

#define MINUTE_NS 60000000000ULL
#define SWEEP_NS  1000000000ULL

_Static_assert(RATE_WHATS == 3, "a counter and a text for each");

void rates_init(struct shard *s)
{
    s->rates.seed = random_u64(s->deps.random);
    u64map_init(&s->rates.full_ns, random_u64(s->deps.random));
    u64map_init(&s->rates.from, random_u64(s->deps.random));
}

void rates_deinit(struct shard *s)
{
    u64map_deinit(&s->rates.full_ns);
    u64map_deinit(&s->rates.from);
}

const char *rates_text(enum rate_what what)
{
    static const char *const TEXTS[] = {
        [RATE_SEND] = "too many messages",
        [RATE_CONNECT] = "too many connections",
        [RATE_SEARCH] = "too many searches",
    };
    return TEXTS[what];
}

static enum metric counter_of(enum rate_what what)
{
    return what == RATE_SEND      ? METRIC_RATE_SENDS
           : what == RATE_CONNECT ? METRIC_RATE_CONNECTS
                                  : METRIC_RATE_SEARCHES;
}

/* False: all that are in the table are in use, or there is no memory. */
static bool make_room(struct shard *s)
{
    struct rates *r = &s->rates;
    if (u64map_len(&r->full_ns) < s->cfg.rates.entries_max) {
        return true;
    }
    if (s->now_ns - r->swept_ns < SWEEP_NS && r->swept_ns != 0) {
        return false;
    }
    r->swept_ns = s->now_ns;
    struct u64map_iter it = {0};
    while (u64map_next(&r->full_ns, &it)) {
        if (*it.value <= s->now_ns) {
            u64map_del(&r->full_ns, it.key, NULL);
        }
    }
    return u64map_len(&r->full_ns) < s->cfg.rates.entries_max;
}

static struct span id_span(const uint64_t *id)
{
    return span_of((const uint8_t *)id, *id != 0 ? sizeof(*id) : 0);
}

struct bucket {
    uint64_t key; /* 0: not limited */
    uint64_t full_ns;
};

/* What it would be after one more; *io_wait_ms rises to when there is room in it. */
static struct bucket look(struct shard *s, enum rate_what what, enum rate_whose whose,
                          struct span id, uint64_t *io_wait_ns)
{
    struct bucket b = {0};
    uint32_t rate = s->cfg.rates.a_minute[what][whose];
    uint8_t raw[64] = {(uint8_t)what, (uint8_t)whose};
    if (rate == 0 || id.n == 0) {
        return b;
    }
    size_t n = MIN(id.n, sizeof(raw) - 2);
    memcpy(raw + 2, id.p, n);
    b.key = MAX(hash64(raw, n + 2, s->rates.seed), 1U);
    uint64_t full = s->now_ns;
    (void)u64map_get(&s->rates.full_ns, b.key, &full);
    b.full_ns = MAX(full, s->now_ns) + MINUTE_NS / rate;
    if (b.full_ns > s->now_ns + MINUTE_NS) {
        *io_wait_ns = MAX(*io_wait_ns, b.full_ns - s->now_ns - MINUTE_NS);
    }
    return b;
}

uint64_t rates_from(const struct shard *s, const char *address)
{
    char text[48];
    size_t n = throttle_address(address, text);
    return n > 0 ? MAX(hash64((uint8_t *)text, n, s->rates.seed), 1U) : 0;
}

static uint64_t from_of(struct shard *s, const struct conn *c)
{
    struct net_peer peer = {0};
    uint64_t from = 0;
    if (c->wire & WIRE_FROM) {
        (void)u64map_get(&s->rates.from, c->index, &from);
        return from;
    }
    if (c->state == CONN_HTTP && c->io && c->io->http.passed_on) {
        return c->io->http.from;
    }
    if (c->handle < 0 || (c->flags & CONN_LOOPBACK)) {
        return 0;
    }
    s->deps.net->ops->peer(s->deps.net, c->handle, &peer);
    return rates_from(s, peer.address);
}

void rates_remember(struct shard *s, struct conn *c, const struct conn *request)
{
    bool passed_on = request->io && request->io->http.passed_on;
    if (!passed_on && c == request) {
        return; /* its peer is asked each time: the memory is for those behind proxies */
    }
    if (u64map_put(&s->rates.from, c->index, from_of(s, request))) {
        metrics_inc(s->metrics, METRIC_BOUND_RATES); /* as who finds the table full */
        return;
    }
    c->wire |= WIRE_FROM;
}

void rates_forget(struct shard *s, const struct conn *c)
{
    if (c->wire & WIRE_FROM) {
        u64map_del(&s->rates.from, c->index, NULL);
    }
}

uint32_t rates_take(struct shard *s, enum rate_what what, uint64_t user, uint64_t device,
                    const struct conn *c)
{
    struct bucket b[RATE_WHOSE] = {0};
    uint64_t wait_ns = 0;
    b[RATE_USER] = look(s, what, RATE_USER, id_span(&user), &wait_ns);
    b[RATE_DEVICE] = look(s, what, RATE_DEVICE, id_span(&device), &wait_ns);
    if (c && s->cfg.rates.a_minute[what][RATE_ADDRESS] > 0) {
        uint64_t from = from_of(s, c);
        b[RATE_ADDRESS] = look(s, what, RATE_ADDRESS, id_span(&from), &wait_ns);
    }
    if (wait_ns > 0) {
        metrics_inc(s->metrics, counter_of(what));
        return (uint32_t)((wait_ns + 999999) / 1000000);
    }
    for (int i = 0; i < RATE_WHOSE; i++) {
        if (b[i].key == 0) {
            continue;
        }
        if ((!u64map_has(&s->rates.full_ns, b[i].key) && !make_room(s)) ||
            u64map_put(&s->rates.full_ns, b[i].key, b[i].full_ns)) {
            metrics_inc(s->metrics, METRIC_BOUND_RATES);
        }
    }
    return 0;
}
