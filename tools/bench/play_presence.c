/*
 * People who come and go, and those who are told. A change is due at its time whatever comes back
 * (open loop): the user says `presence`, offline or online in turn. A notice does not say which
 * change it is about, so what somebody said last is in memory that the workers share: a notice of
 * that is on time, another one is stale. At rest everybody has been told what everybody said last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/id.h"
#include "scan.h"
#include "worker.h"

#define SUBSCRIBE_MAX 200U               /* of one frame */
#define LOOK_NS       (5ULL * NS_PER_MS) /* between two looks at who is told what */

enum told { TOLD_NOTHING = 0, TOLD_OFFLINE, TOLD_ONLINE };

/* What somebody said last: when it was due, in ns and even, and 1 for online. */
static enum told said(const struct watching *g, uint32_t person)
{
    return atomic_load_explicit(&g->said[person], memory_order_acquire) & 1 ? TOLD_ONLINE
                                                                            : TOLD_OFFLINE;
}

static bool is_stranger(const struct watching *g, uint32_t client)
{
    return client >= g->npeople;
}

/* The k-th person whom a client watches. */
static uint32_t watched_at(const struct watching *g, uint32_t client, uint32_t k)
{
    uint32_t block = g->watchers + 1;
    if (is_stranger(g, client)) {
        return ((client - g->npeople) * g->watchers + k) % g->npeople;
    }
    return client - client % block + k + (k >= client % block);
}

/* Which one of those a person is; NONE: not one of them. */
static uint32_t place_of(const struct watching *g, uint32_t client, uint32_t person)
{
    uint32_t block = g->watchers + 1;
    uint32_t k = person % block;
    if (is_stranger(g, client)) {
        uint64_t first = (uint64_t)(client - g->npeople) * g->watchers % g->npeople;
        k = (uint32_t)((person + g->npeople - first) % g->npeople);
        return k < g->watchers ? k : NONE;
    }
    if (person / block != client / block || person == client) {
        return NONE;
    }
    return k - (k > client % block);
}

void presence_ready(struct worker *w, struct client *c)
{
    const struct watching *g = w->t->watching;
    struct buf b = {0};
    w->under_way = 1; /* until it was looked at */
    free(c->told);
    c->told = bench_alloc(g->watchers);
    for (uint32_t at = 0; at < g->watchers; at += SUBSCRIBE_MAX) {
        uint32_t end = MIN(at + SUBSCRIBE_MAX, g->watchers);
        buf_clear(&b);
        buf_put_str(&b, "{\"event\":\"subscribe_presence\",\"user_ids\":");
        for (uint32_t k = at; k < end; k++) {
            char id[ID_NUM_TEXT];
            uint32_t person = w->t->plan->first_person + watched_at(g, c->index, k);
            size_t n = id_text(w->t->world->people[person].user_id, id);
            buf_printf(&b, "%c\"%.*s\"", k == at ? '[' : ',', (int)n, id);
        }
        buf_put_str(&b, "]}");
        client_put(w, c, span_of(b.data, b.len));
    }
    buf_deinit(&b);
}

void presence_notice(struct worker *w, struct client *c, struct span frame)
{
    const struct watching *g = w->t->watching;
    struct span status = scan_string(&w->scanner, frame, SCAN_STATUS);
    uint64_t user = 0;
    uint64_t person = 0;
    if (!g) {
        play_error(w, c, "presence that was not asked for", frame);
        return;
    }
    if (!id_parse(scan_string(&w->scanner, frame, SCAN_USER_ID), &user) ||
        !u64map_get(&g->client_of, user, &person)) {
        play_error(w, c, "presence of nobody here", frame);
        return;
    }
    uint32_t k = place_of(g, c->index, (uint32_t)person);
    enum told now = span_is(status, "online") ? TOLD_ONLINE : TOLD_OFFLINE;
    if (k == NONE || !c->told) {
        play_error(w, c, "presence of somebody who is not watched", frame);
        return;
    }
    if (is_stranger(g, c->index)) {
        if (now != TOLD_OFFLINE || c->told[k] != TOLD_NOTHING) {
            play_error(w, c, "a stranger is told", frame);
        }
        c->told[k] = TOLD_OFFLINE;
        return;
    }
    uint64_t last = atomic_load_explicit(&g->said[person], memory_order_acquire);
    bool first = c->told[k] == TOLD_NOTHING;
    c->told[k] = (uint8_t)now;
    if (first) {
        return; /* the answer to the subscription */
    }
    w->m.delivered++;
    if (now == (last & 1 ? TOLD_ONLINE : TOLD_OFFLINE)) {
        hist_add(&w->m.delivery_ns, w->now > last ? w->now - last : 0);
    } else {
        w->m.stale++;
    }
}

/* ---- Coming and going ---- */

static void change(struct worker *w, uint32_t own, uint64_t due_ns)
{
    const struct watching *g = w->t->watching;
    struct client *c = &w->clients[own];
    bool online = said(g, c->index) != TOLD_ONLINE;
    atomic_store_explicit(&w->t->watching->said[c->index], (due_ns & ~1ULL) | online,
                          memory_order_release);
    client_put(w, c,
               online ? span_str("{\"event\":\"presence\",\"status\":\"online\"}")
                      : span_str("{\"event\":\"presence\",\"status\":\"offline\"}"));
    w->m.sent++;
    hist_add(&w->m.lateness_ns, w->now > due_ns ? w->now - due_ns : 0);
}

/* Own people who come and go. */
static uint32_t changing(const struct worker *w)
{
    uint32_t npeople = w->t->watching->npeople;
    return w->first < npeople ? MIN(w->nclients, npeople - w->first) : 0;
}

static bool running(const struct worker *w)
{
    return (w->phase == PHASE_RUN || w->phase == PHASE_MEASURE) && changing(w) > 0;
}

static uint64_t due_ns(const struct worker *w)
{
    double share = changing(w) / (double)w->t->watching->npeople;
    return w->started_ns + (uint64_t)((double)w->next_due * 1e9 / (w->t->plan->rate * share));
}

/* How many do not know yet what somebody they watch said last. */
static uint32_t not_told(const struct worker *w)
{
    const struct watching *g = w->t->watching;
    uint32_t n = 0;
    for (uint32_t i = 0; i < w->nclients; i++) {
        const struct client *c = &w->clients[i];
        for (uint32_t k = 0; k < g->watchers; k++) {
            enum told due =
                is_stranger(g, c->index) ? TOLD_OFFLINE : said(g, watched_at(g, c->index, k));
            n += !c->told || c->told[k] != due;
        }
    }
    return n;
}

void presence_go(struct worker *w)
{
    uint32_t n = changing(w);
    if (!running(w)) {
        if (w->phase == PHASE_DRAIN && w->look_ns <= w->now) {
            w->under_way = not_told(w);
            w->look_ns = w->now + LOOK_NS;
        }
        return;
    }
    w->under_way = 1; /* until it was looked at */
    while (due_ns(w) <= w->now) {
        /* With a step that has no divisor in common with most numbers: not block by block. */
        change(w, (uint32_t)(w->next_due * 7919U % n), due_ns(w));
        w->next_due++;
    }
}

uint64_t presence_next_ns(const struct worker *w)
{
    return running(w) ? due_ns(w) : UINT64_MAX;
}
