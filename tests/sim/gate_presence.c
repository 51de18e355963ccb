/*
 * Presence in runs of whole servers. Some phones follow everybody else. What they are told must end
 * as it is: at a quiet point everybody who has a phone is there (online, or away where nothing was
 * done for long enough), for those who share a conversation with them; and nobody ever is for those
 * who were blocked, or from whom it is hidden, since the last quiet point.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"

#define ULL(x)   ((unsigned long long)(x))
#define WATCHERS 12U
/* A minute: with queues of eight frames one hears of two people every two seconds. */
#define ROUNDS    1200
#define ROUND_NS  50000000ULL
#define AWAY_SOON 2000U
#define ACTED_MS  85000U /* with the time that a request may take to come through */

void presence_draw(struct gate *g)
{
    struct sim *s = g->sim;
    g->cfg.shard.presence_linger_ms = (uint32_t)sim_between(s, 0, 800);
    /* Left behind by one that has found a WebSocket: until then its user is there. */
    g->cfg.shard.carried_silent_ms = 10000;
    /* Otherwise later than any run. */
    g->cfg.shard.away_after_ms = sim_one_in(s, 3) ? AWAY_SOON : 3600000;
}

static bool is_watcher(const struct phone *p)
{
    return p->number < WATCHERS && !p->fresh;
}

void presence_follow(struct phone *p)
{
    struct gate *g = p->g;
    uint64_t ids[GATE_PEOPLE_MAX];
    size_t n = 0;
    memset(p->seen, 0, sizeof(p->seen));
    for (uint32_t i = 0; i < g->npeople && is_watcher(p); i++) {
        if (i != p->person) {
            ids[n++] = g->people[i].id;
        }
    }
    if (n > 0) {
        CHECK(csession_follow(p->session, ids, n, gate_now(g)) == CONFAB_E_OK);
    }
}

/* ---- what may be known ------------------------------------------------------------------- */

/* Does a block stand between the two, and has it had the time? */
static bool is_surely_blocked(const struct model *m, uint64_t by, uint64_t user)
{
    const struct mconv *own = model_conv(m, conv_id_self(by));
    for (uint32_t i = 0; own && i < own->nblocks; i++) {
        const struct mblock *b = &own->blocks[i];
        if (b->user == user && b->sure && b->on) {
            return true;
        }
    }
    return false;
}

static bool blocks(const struct mconv *own, uint64_t user)
{
    for (uint32_t i = 0; own && i < own->nblocks; i++) {
        if (own->blocks[i].user == user && own->blocks[i].on) {
            return true;
        }
    }
    return false;
}

static bool ever_met(const struct model *m, uint64_t a, uint64_t b)
{
    for (uint32_t i = 0; i < m->nconvs; i++) {
        const struct mconv *c = m->convs[i];
        if (c->kind != CONV_SELF && mconv_member(c, a) && mconv_member(c, b)) {
            return true;
        }
    }
    return false;
}

/* When nothing is under way. */
static bool meet(const struct gate *g, uint32_t a, uint32_t b)
{
    const struct model *m = g->sim->model;
    const struct mconv *x = model_conv(m, conv_id_self(g->people[a].id));
    const struct mconv *y = model_conv(m, conv_id_self(g->people[b].id));
    if (!x || !y || g->people[a].hides || g->people[b].hides || blocks(x, g->people[b].id) ||
        blocks(y, g->people[a].id)) {
        return false;
    }
    for (uint32_t i = 0; i < x->nentries; i++) {
        const struct mentry *e = x->entries[i].joined ? mconv_entry(y, x->entries[i].conv) : NULL;
        if (e && e->joined) {
            return true;
        }
    }
    return false;
}

static uint32_t person_of(const struct gate *g, uint64_t id)
{
    for (uint32_t i = 0; i < g->npeople; i++) {
        if (g->people[i].id == id) {
            return i;
        }
    }
    return UINT32_MAX;
}

void presence_told(struct phone *p, const struct confab_presence *t)
{
    struct gate *g = p->g;
    struct sim *s = g->sim;
    const struct person *me = &g->people[p->person];
    uint32_t of = person_of(g, t->user_id);
    sim_trace(s, "phone %u told that person %u is %d", p->number, of, (int)t->status);
    SIM_CHECK(s, is_watcher(p) && of < g->npeople && of != p->person, "who asked is told",
              "phone %u: of %u", p->number, of);
    p->seen[of] = (uint8_t)(1 + t->status);
    if (t->status == CONFAB_OFFLINE && t->last_seen_ms == 0) {
        return; /* nothing is said by that */
    }
    SIM_CHECK(s,
              ever_met(s->model, me->id, t->user_id) &&
                  !is_surely_blocked(s->model, me->id, t->user_id) &&
                  !is_surely_blocked(s->model, t->user_id, me->id),
              "presence is told to those who are met", "phone %u of person %u: of %u", p->number,
              p->person, of);
    SIM_CHECK(s, !(me->hides && !me->hiding) && !(g->people[of].hides && !g->people[of].hiding),
              "what is hidden is not told", "phone %u of person %u: of %u", p->number, p->person,
              of);
}

/* ---- quiet ------------------------------------------------------------------------------- */

/* No request is under way: what the directory says holds. */
static void learn_hidden(struct gate *g)
{
    for (uint32_t i = 0; i < g->npeople; i++) {
        struct dir_account account;
        gate_account(g, i, &account);
        g->people[i].hides = (account.hides & DIR_HIDES_ONLINE) != 0;
        g->people[i].hiding = false;
    }
}

static bool has_phone(const struct gate *g, uint32_t person)
{
    for (uint32_t i = 0; i < g->nphones; i++) {
        if (g->phones[i].person == person) {
            return true;
        }
    }
    return false;
}

/* What is done over REST counts for a minute, from when it came there. */
static bool has_acted(const struct gate *g, uint32_t person)
{
    uint64_t at = g->people[person].acted_ms;
    return at != 0 && gate_now(g) - at < ACTED_MS;
}

/* The first watcher who does not know yet how somebody is; NULL when all do. */
static const struct phone *who_is_wrong(const struct gate *g, uint32_t gone, uint32_t *ret_of)
{
    bool away = g->cfg.shard.away_after_ms == AWAY_SOON;
    for (uint32_t i = 0; i < g->nphones && i < WATCHERS; i++) {
        const struct phone *p = &g->phones[i];
        for (uint32_t of = 0; of < g->npeople && p->session; of++) {
            if (of == p->person || !has_phone(g, of) || g->people[p->person].gone) {
                continue;
            }
            enum confab_presence_status want = of == gone || !meet(g, p->person, of)
                                                   ? CONFAB_OFFLINE
                                               : away ? CONFAB_AWAY
                                                      : CONFAB_ONLINE;
            bool acted = want == CONFAB_AWAY && has_acted(g, of);
            if (p->seen[of] != 1 + want && !(acted && p->seen[of] == 1 + CONFAB_ONLINE)) {
                *ret_of = of;
                return p;
            }
        }
    }
    return NULL;
}

static bool wait_until_told(struct gate *g, uint32_t gone)
{
    struct sim *s = g->sim;
    const struct phone *p;
    uint32_t of = 0;
    for (int i = 0; (p = who_is_wrong(g, gone, &of)) != NULL; i++) {
        SIM_CHECK(s, i < ROUNDS, "presence ends as it is",
                  "phone %u of person %u: person %u is %d, meet %d, gone %d", p->number, p->person,
                  of, p->seen[of] - 1, meet(g, p->person, of), of == gone);
        gate_round(g);
        if (!gate_is_alive(g)) {
            return false;
        }
        clock_sim_advance(&s->clock, ROUND_NS);
    }
    return true;
}

bool presence_settle(struct gate *g)
{
    learn_hidden(g);
    return wait_until_told(g, UINT32_MAX);
}

/* One person whose phones are all on sockets, where going away is seen at once. */
static uint32_t draw_leaver(struct gate *g)
{
    uint32_t person = (uint32_t)sim_below(g->sim, g->npeople);
    for (uint32_t i = 0; i < g->nphones; i++) {
        const struct phone *p = &g->phones[i];
        struct confab_status st;
        if (!p->session) {
            continue;
        }
        csession_status(p->session, gate_now(g), &st);
        if (p->person == person && st.transport != CONFAB_TRANSPORT_WS) {
            return UINT32_MAX;
        }
    }
    bool may = has_phone(g, person) && !has_acted(g, person) && !g->people[person].gone;
    return may ? person : UINT32_MAX;
}

bool presence_leave(struct gate *g)
{
    uint32_t gone = draw_leaver(g);
    bool all = gone != UINT32_MAX;
    for (uint32_t i = 0; i < g->nphones && all; i++) {
        if (g->phones[i].person == gone) {
            all = phone_off(&g->phones[i]);
        }
    }
    bool alive = !all || wait_until_told(g, gone);
    for (uint32_t i = 0; i < g->nphones; i++) {
        if (!g->phones[i].session && !g->people[g->phones[i].person].gone) {
            phone_on(&g->phones[i]);
        }
    }
    return alive;
}
