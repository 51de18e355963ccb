/*
 * Presence. A user's entry has one timer, set to the first of the times at which something may
 * change by itself; when it fires all of them are looked at. Lists through entries use indices, to
 * keep an entry small; an entry that is in one stays until it was read.
 */
#include "core/presence.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"

#define TICK_MS     50U
#define TIMERS_STEP 256U /* of a turn's time: some tenths of a millisecond */

static const char *const texts[] = {"offline", "away", "online"};

const char *presence_text(enum presence_status status)
{
    return texts[status];
}

bool presence_parse(struct span text, enum presence_status *ret)
{
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        if (span_is(text, texts[i])) {
            *ret = (enum presence_status)i;
            return true;
        }
    }
    return false;
}

void presence_config_defaults(struct presence_config *cfg)
{
    *cfg = (struct presence_config){
        .away_after_ms = 5 * 60 * 1000,
        .silent_ms = 60 * 1000,
        .linger_ms = 10 * 1000,
        .every_ms = 1000,
        .posted_ms = 60 * 1000,
        .users_max = 10U << 20,
    };
}

/* ---- A session ---- */

static uint32_t seconds(uint64_t now_ms)
{
    return (uint32_t)(now_ms / 1000);
}

void presence_session_begin(struct presence_session *ps, uint64_t now_ms)
{
    *ps = (struct presence_session){.active_s = seconds(now_ms), .state = PRESENCE_ONLINE};
}

static bool session_set(struct presence_session *ps, enum presence_status state)
{
    bool changed = ps->state != state;
    ps->state = (uint8_t)state;
    return changed;
}

bool presence_session_did(struct presence_session *ps, uint64_t now_ms)
{
    ps->active_s = seconds(now_ms);
    ps->said_away = false;
    return !ps->said_offline && session_set(ps, PRESENCE_ONLINE);
}

bool presence_session_say(struct presence_session *ps, enum presence_status status, uint64_t now_ms)
{
    ps->said_offline = status == PRESENCE_OFFLINE;
    ps->said_away = status == PRESENCE_AWAY;
    if (status == PRESENCE_ONLINE) {
        ps->active_s = seconds(now_ms);
    }
    return session_set(ps, status);
}

/* Milliseconds that have passed since a second of the clock; 0 while it is not over. */
static uint64_t since(uint32_t at_s, uint64_t now_ms)
{
    uint64_t at_ms = (uint64_t)at_s * 1000;
    return now_ms > at_ms ? now_ms - at_ms : 0;
}

bool presence_session_judge(const struct presence_config *cfg, struct presence_session *ps,
                            uint32_t seen_s, bool listening, uint64_t now_ms,
                            uint32_t *ret_after_ms)
{
    uint64_t silent = listening ? since(seen_s, now_ms) : 0;
    uint64_t idle = since(ps->active_s, now_ms);
    enum presence_status state = PRESENCE_ONLINE;
    uint64_t after = UINT32_MAX;
    if (ps->said_offline || silent >= cfg->silent_ms) {
        state = PRESENCE_OFFLINE;
    } else {
        after = cfg->silent_ms - silent;
        if (ps->said_away || idle >= cfg->away_after_ms) {
            state = PRESENCE_AWAY;
        } else {
            after = MIN(after, cfg->away_after_ms - idle);
        }
    }
    *ret_after_ms = (uint32_t)MIN(after, UINT32_MAX);
    return session_set(ps, state);
}

/* ---- The home of users ---- */

struct posted {
    struct posted *next;
    uint64_t device;
    uint64_t until_ms;
    uint8_t state;
};

enum entry_flags { ENTRY_CHANGED = 1, ENTRY_UNSAVED = 2 };

struct entry {
    struct wheel_timer timer;
    uint64_t user;
    uint64_t online; /* sources, a bit each */
    uint64_t away;
    uint64_t watchers;
    struct posted *posted;
    uint32_t last_seen_s;
    uint32_t linger_until; /* ticks since the start: what lingers counts until then */
    uint32_t quiet_until;  /* the same: no transition before */
    uint32_t next_changed; /* indices */
    uint32_t next_unsaved;
    uint8_t shown;
    uint8_t lingering; /* enum presence_status; OFFLINE: nothing */
    uint8_t flags;
};
_Static_assert(sizeof(struct entry) <= 88, "what a user costs");

/* First in, first out, through the entries. */
struct queue {
    uint32_t first;
    uint32_t last;
    uint64_t n;
};

struct presence {
    struct presence_config cfg;
    uint64_t begin_ms;
    struct wheel wheel;
    struct slab entries;
    struct u64map users; /* → index */
    struct queue changed;
    struct queue unsaved;
    uint32_t now_s;
    uint64_t n[3]; /* by status */
    uint64_t transitions;
    size_t posted_bytes;
};

enum confab_err presence_new(const struct presence_config *cfg, uint64_t seed, uint64_t now_ms,
                             struct presence **ret)
{
    struct presence *p = calloc(1, sizeof(*p));
    if (!p) {
        return CONFAB_NOMEM;
    }
    p->cfg = *cfg;
    p->begin_ms = now_ms;
    wheel_init(&p->wheel, TICK_MS, now_ms);
    slab_init(&p->entries, sizeof(struct entry), cfg->users_max);
    u64map_init(&p->users, seed);
    p->changed.first = p->changed.last = p->unsaved.first = p->unsaved.last = SLAB_NONE;
    *ret = p;
    return CONFAB_OK;
}

static struct entry *entry_find(const struct presence *p, uint64_t user)
{
    uint64_t at;
    return u64map_get(&p->users, user, &at) ? slab_get(&p->entries, (uint32_t)at) : NULL;
}

static void posted_free(struct presence *p, struct entry *e)
{
    while (e->posted) {
        struct posted *next = e->posted->next;
        free(e->posted);
        p->posted_bytes -= sizeof(*next);
        e->posted = next;
    }
}

void presence_free(struct presence *p)
{
    if (!p) {
        return;
    }
    struct u64map_iter it = {0};
    while (u64map_next(&p->users, &it)) {
        posted_free(p, slab_get(&p->entries, (uint32_t)*it.value));
    }
    u64map_deinit(&p->users);
    slab_deinit(&p->entries);
    free(p);
}

static uint32_t relative(const struct presence *p, uint64_t now_ms)
{
    /* Wraps after years; times are compared by their difference. */
    return (uint32_t)((now_ms - p->begin_ms) / TICK_MS);
}

static uint32_t ticks(uint32_t ms)
{
    return (ms + TICK_MS - 1) / TICK_MS;
}

static bool is_over(uint32_t until, uint32_t now)
{
    return (int32_t)(now - until) >= 0;
}

static uint32_t index_of(const struct presence *p, const struct entry *e)
{
    uint64_t at = 0;
    CHECK(u64map_get(&p->users, e->user, &at));
    return (uint32_t)at;
}

static enum confab_err entry_make(struct presence *p, uint64_t user, struct entry **ret)
{
    uint32_t index;
    *ret = entry_find(p, user);
    if (*ret) {
        return CONFAB_OK;
    }
    enum confab_err err = slab_alloc(&p->entries, &index);
    if (err) {
        return err;
    }
    err = u64map_put(&p->users, user, index);
    if (err) {
        slab_free(&p->entries, index);
        return err;
    }
    struct entry *e = slab_get(&p->entries, index);
    wheel_timer_init(&e->timer);
    e->user = user;
    e->next_changed = e->next_unsaved = SLAB_NONE;
    p->n[PRESENCE_OFFLINE]++;
    *ret = e;
    return CONFAB_OK;
}

/* Forgets a user of whom there is nothing to know. */
static void entry_drop(struct presence *p, struct entry *e)
{
    if (e->online || e->away || e->watchers || e->posted || e->flags ||
        e->shown != PRESENCE_OFFLINE || wheel_timer_is_set(&e->timer)) {
        return;
    }
    uint64_t at = 0;
    CHECK(u64map_del(&p->users, e->user, &at));
    p->n[PRESENCE_OFFLINE]--;
    slab_free(&p->entries, (uint32_t)at);
}

static void push_changed(struct presence *p, struct entry *e)
{
    if (e->flags & ENTRY_CHANGED) {
        return;
    }
    uint32_t at = index_of(p, e);
    e->flags |= ENTRY_CHANGED;
    e->next_changed = SLAB_NONE;
    if (p->changed.last == SLAB_NONE) {
        p->changed.first = at;
    } else {
        ((struct entry *)slab_get(&p->entries, p->changed.last))->next_changed = at;
    }
    p->changed.last = at;
    p->changed.n++;
}

static void push_unsaved(struct presence *p, struct entry *e)
{
    if (e->flags & ENTRY_UNSAVED) {
        return;
    }
    uint32_t at = index_of(p, e);
    e->flags |= ENTRY_UNSAVED;
    e->next_unsaved = SLAB_NONE;
    if (p->unsaved.last == SLAB_NONE) {
        p->unsaved.first = at;
    } else {
        ((struct entry *)slab_get(&p->entries, p->unsaved.last))->next_unsaved = at;
    }
    p->unsaved.last = at;
    p->unsaved.n++;
}

static enum presence_status best_of(const struct entry *e, uint32_t now)
{
    enum presence_status best = e->online ? PRESENCE_ONLINE
                                : e->away ? PRESENCE_AWAY
                                          : PRESENCE_OFFLINE;
    for (const struct posted *k = e->posted; k; k = k->next) {
        best = MAX(best, (enum presence_status)k->state);
    }
    if (e->lingering != PRESENCE_OFFLINE && !is_over(e->linger_until, now)) {
        best = MAX(best, (enum presence_status)e->lingering);
    }
    return best;
}

/* Sets the timer to what may change next by itself. */
static void entry_arm(struct presence *p, struct entry *e, uint64_t now_ms, bool waits)
{
    uint32_t now = relative(p, now_ms);
    uint64_t due = UINT64_MAX;
    if (e->lingering != PRESENCE_OFFLINE) {
        due = now_ms + (is_over(e->linger_until, now) ? 0 : (e->linger_until - now) * TICK_MS);
    }
    for (const struct posted *k = e->posted; k; k = k->next) {
        due = MIN(due, k->until_ms);
    }
    if (waits && !is_over(e->quiet_until, now)) {
        due = MIN(due, now_ms + (e->quiet_until - now) * TICK_MS);
    }
    if (due == UINT64_MAX) {
        wheel_cancel(&p->wheel, &e->timer);
    } else {
        wheel_set(&p->wheel, &e->timer, due);
    }
}

/* Ends what is over, shows what it comes to, if that may be shown already. May drop the entry. */
static void entry_settle(struct presence *p, struct entry *e, uint64_t now_ms)
{
    uint32_t now = relative(p, now_ms);
    for (struct posted **at = &e->posted; *at;) {
        struct posted *k = *at;
        if (k->until_ms <= now_ms) {
            *at = k->next;
            p->posted_bytes -= sizeof(*k);
            free(k);
        } else {
            at = &k->next;
        }
    }
    if (e->lingering != PRESENCE_OFFLINE && is_over(e->linger_until, now)) {
        e->lingering = PRESENCE_OFFLINE;
    }
    enum presence_status best = best_of(e, now);
    bool waits = best != (enum presence_status)e->shown && !is_over(e->quiet_until, now);
    if (best != (enum presence_status)e->shown && !waits) {
        /* It is stored whether somebody is online or not: from online, and to it. */
        if (best == PRESENCE_ONLINE || e->shown == PRESENCE_ONLINE) {
            push_unsaved(p, e);
        }
        p->n[e->shown]--;
        p->n[best]++;
        p->transitions++;
        e->shown = (uint8_t)best;
        e->quiet_until = now + ticks(p->cfg.every_ms);
        push_changed(p, e);
    }
    entry_arm(p, e, now_ms, waits);
    entry_drop(p, e);
}

enum confab_err presence_report(struct presence *p, uint64_t user, uint16_t source,
                                enum presence_status status, bool lingers, uint32_t at_s,
                                uint64_t now_ms)
{
    struct entry *e;
    CHECK(source < PRESENCE_SOURCES_MAX);
    uint64_t bit = 1ULL << source;
    if (status == PRESENCE_OFFLINE && !entry_find(p, user)) {
        return CONFAB_OK;
    }
    enum confab_err err = entry_make(p, user, &e);
    if (err) {
        return err;
    }
    enum presence_status before = e->online & bit ? PRESENCE_ONLINE
                                  : e->away & bit ? PRESENCE_AWAY
                                                  : PRESENCE_OFFLINE;
    e->online &= ~bit;
    e->away &= ~bit;
    e->online |= status == PRESENCE_ONLINE ? bit : 0;
    e->away |= status == PRESENCE_AWAY ? bit : 0;
    if (before == PRESENCE_ONLINE || status == PRESENCE_ONLINE) {
        e->last_seen_s = MAX(e->last_seen_s, at_s);
    }
    if (lingers && status < before && p->cfg.linger_ms > 0) {
        e->lingering = MAX(e->lingering, (uint8_t)before);
        e->linger_until = relative(p, now_ms) + ticks(p->cfg.linger_ms);
    }
    entry_settle(p, e, now_ms);
    return CONFAB_OK;
}

enum confab_err presence_post(struct presence *p, uint64_t user, uint64_t device,
                              enum presence_status status, uint32_t at_s, uint64_t now_ms)
{
    struct entry *e;
    enum confab_err err = entry_make(p, user, &e);
    if (err) {
        return err;
    }
    uint32_t n = 0;
    struct posted **at = &e->posted;
    struct posted **last = at;
    while (*at && (*at)->device != device) {
        last = at;
        at = &(*at)->next;
        n++;
    }
    struct posted *k = *at;
    if (!k && n >= PRESENCE_POSTED_MAX) {
        at = last; /* the one that was told of longest ago */
        k = *at;
    }
    if (k) {
        *at = k->next;
        if (k->state == PRESENCE_ONLINE) {
            e->last_seen_s = MAX(e->last_seen_s, at_s);
        }
    } else if (status != PRESENCE_OFFLINE) {
        k = malloc(sizeof(*k));
        if (!k) {
            entry_drop(p, e);
            return CONFAB_NOMEM;
        }
        p->posted_bytes += sizeof(*k);
    }
    if (k && status != PRESENCE_OFFLINE) {
        *k = (struct posted){.next = e->posted,
                             .device = device,
                             .until_ms = now_ms + p->cfg.posted_ms,
                             .state = (uint8_t)status};
        e->posted = k;
        e->last_seen_s = status == PRESENCE_ONLINE ? MAX(e->last_seen_s, at_s) : e->last_seen_s;
    } else if (k) {
        p->posted_bytes -= sizeof(*k);
        free(k);
    }
    entry_settle(p, e, now_ms);
    return CONFAB_OK;
}

enum confab_err presence_watch(struct presence *p, uint64_t user, uint16_t source, bool on,
                               uint64_t now_ms)
{
    struct entry *e = entry_find(p, user);
    CHECK(source < PRESENCE_SOURCES_MAX);
    if (!e && !on) {
        return CONFAB_OK;
    }
    enum confab_err err = entry_make(p, user, &e);
    if (err) {
        return err;
    }
    e->watchers = on ? e->watchers | 1ULL << source : e->watchers & ~(1ULL << source);
    (void)now_ms;
    entry_drop(p, e);
    return CONFAB_OK;
}

uint64_t presence_watchers(const struct presence *p, uint64_t user)
{
    const struct entry *e = entry_find(p, user);
    return e ? e->watchers : 0;
}

static struct presence_state state_of(const struct entry *e)
{
    return (struct presence_state){.status = e->shown, .last_seen_s = e->last_seen_s};
}

struct presence_state presence_get(const struct presence *p, uint64_t user)
{
    const struct entry *e = entry_find(p, user);
    return e ? state_of(e) : (struct presence_state){.status = PRESENCE_OFFLINE};
}

void presence_set_last_seen(struct presence *p, uint64_t user, uint32_t last_seen_s)
{
    struct entry *e = entry_find(p, user);
    if (e) {
        e->last_seen_s = MAX(e->last_seen_s, last_seen_s);
    }
}

struct due {
    struct presence *p;
    uint64_t now_ms;
};

static void on_due(void *arg, struct wheel_timer *timer)
{
    const struct due *d = arg;
    struct entry *e = CONTAINER_OF(timer, struct entry, timer);
    bool posted = false;
    for (const struct posted *k = e->posted; k; k = k->next) {
        posted = posted || (k->until_ms <= d->now_ms && k->state == PRESENCE_ONLINE);
    }
    if (posted) { /* it counted as online until now */
        e->last_seen_s = MAX(e->last_seen_s, d->p->now_s);
    }
    entry_settle(d->p, e, d->now_ms);
}

void presence_advance(struct presence *p, uint64_t now_ms, uint32_t now_s)
{
    struct due d = {p, now_ms};
    p->now_s = now_s;
    (void)wheel_advance(&p->wheel, now_ms, TIMERS_STEP, on_due, &d);
}

uint64_t presence_next_ms(struct presence *p)
{
    return wheel_next_ms(&p->wheel);
}

bool presence_next_changed(struct presence *p, uint64_t *ret_user, struct presence_state *ret)
{
    if (p->changed.first == SLAB_NONE) {
        return false;
    }
    struct entry *e = slab_get(&p->entries, p->changed.first);
    p->changed.first = e->next_changed;
    if (p->changed.first == SLAB_NONE) {
        p->changed.last = SLAB_NONE;
    }
    p->changed.n--;
    e->flags &= (uint8_t)~ENTRY_CHANGED;
    *ret_user = e->user;
    *ret = state_of(e);
    entry_drop(p, e);
    return true;
}

bool presence_next_unsaved(struct presence *p, uint64_t *ret_user, uint32_t *ret_last_seen_s)
{
    if (p->unsaved.first == SLAB_NONE) {
        return false;
    }
    struct entry *e = slab_get(&p->entries, p->unsaved.first);
    p->unsaved.first = e->next_unsaved;
    if (p->unsaved.first == SLAB_NONE) {
        p->unsaved.last = SLAB_NONE;
    }
    p->unsaved.n--;
    e->flags &= (uint8_t)~ENTRY_UNSAVED;
    *ret_user = e->user;
    *ret_last_seen_s = e->shown == PRESENCE_ONLINE ? 0 : MAX(e->last_seen_s, 1U);
    entry_drop(p, e);
    return true;
}

void presence_stats(const struct presence *p, struct presence_stats *ret)
{
    *ret = (struct presence_stats){
        .users = u64map_len(&p->users),
        .online = p->n[PRESENCE_ONLINE],
        .away = p->n[PRESENCE_AWAY],
        .transitions = p->transitions,
        .unsaved = p->unsaved.n,
    };
}

size_t presence_bytes(const struct presence *p)
{
    return sizeof(*p) + slab_bytes(&p->entries) + u64map_bytes(&p->users) + p->posted_bytes;
}
