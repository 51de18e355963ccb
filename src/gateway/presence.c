/* Presence on a shard: sessions, homes, what is read and stored. */
#include "gateway/presence.h"

#include <stdlib.h>

#include "gateway/auth_state.h"
#include "gateway/internal.h"
#include "gateway/session.h"
#include "gateway/watch.h"

#define SAVE_MS      10000U /* between writes of last times */
#define ALIVE_MS     30000U /* between words that the server is alive */
#define RETRY_MS     1000U
#define NOT_HEARD_MS 5000U /* when a session that is not listened to is looked at again */

/* Somebody whose home this is and who is watched. */
struct watched {
    struct list stale; /* linked: something is to be asked for */
    uint64_t user;
    struct circle *circle;
    bool circle_known;
    bool circle_asked;
    bool circle_again; /* it changed while it was asked for */
    bool seen_known;
    bool seen_asked;
};

static void on_circle(struct shard *s, struct command_sink *sink, struct command *cmd);
static struct command_sink circle_sink = {.on_done = on_circle};

enum confab_err presences_init(struct shard *s)
{
    struct presences *p = &s->presences;
    list_init(&p->stale);
    u64map_init(&p->watched, random_u64(s->deps.random));
    p->save_at_ms = s->now_ms + SAVE_MS;
    p->alive_at_ms = s->now_ms + SAVE_MS;
    p->rows = calloc(PRESENCE_SAVE_ROWS, sizeof(*p->rows));
    struct presence_config cfg;
    presence_config_defaults(&cfg);
    cfg.away_after_ms = s->cfg.away_after_ms;
    cfg.linger_ms = s->cfg.presence_linger_ms;
    cfg.users_max = s->cfg.presence_users_max;
    return p->rows ? presence_new(&cfg, random_u64(s->deps.random), s->now_ms, &p->home)
                   : CONFAB_NOMEM;
}

static void watched_free(struct shard *s, struct watched *w)
{
    list_remove(&w->stale);
    circle_unref(w->circle);
    u64map_del(&s->presences.watched, w->user, NULL);
    free(w);
}

void presences_deinit(struct shard *s)
{
    struct presences *p = &s->presences;
    struct u64map_iter it = {0};
    while (u64map_next(&p->watched, &it)) {
        struct watched *w = (struct watched *)(uintptr_t)*it.value;
        circle_unref(w->circle);
        free(w);
    }
    u64map_deinit(&p->watched);
    presence_free(p->home);
    free(p->seats);
    free(p->rows);
}

uint16_t presence_home(const struct shard *s, uint64_t user)
{
    return engine_shard_of(conv_id_partition(conv_id_self(user)), s->cfg.shards);
}

static uint32_t wall_s(const struct shard *s)
{
    return (uint32_t)(s->wall_ms / 1000);
}

void presence_note(struct shard *s, uint64_t user, enum note_kind kind)
{
    struct note_item item = {.user = user, .kind = (uint8_t)kind};
    link_note(s, presence_home(s, user), &item);
}

void presence_note_post(struct shard *s, uint64_t user, uint64_t device,
                        enum presence_status status)
{
    struct note_item item = {.user = user,
                             .device = device,
                             .at_s = wall_s(s),
                             .kind = NOTE_POST,
                             .status = (uint8_t)status};
    link_note(s, presence_home(s, user), &item);
}

/* ---- Sessions ---- */

static struct presence_session *seat_of(struct shard *s, const struct conn *c)
{
    return &s->presences.seats[c->index];
}

/* The user's sessions here come to something else than the home was told. */
static void tell_home(struct shard *s, uint64_t user, enum presence_status now,
                      enum presence_status told, bool lingers, uint32_t at_s)
{
    if (now == told) {
        return;
    }
    struct note_item item = {.user = user,
                             .at_s = at_s,
                             .kind = NOTE_REPORT,
                             .status = (uint8_t)now,
                             .flags = lingers ? NOTE_LINGERS : 0};
    link_note(s, presence_home(s, user), &item);
    session_set_told(s, user, (uint8_t)now);
}

static void user_changed(struct shard *s, uint64_t user, enum presence_status told, bool lingers,
                         uint32_t at_s)
{
    enum presence_status best = PRESENCE_OFFLINE;
    for (struct conn *c = session_of_user(s, user); c; c = session_next(s, c)) {
        best = MAX(best, (enum presence_status)seat_of(s, c)->state);
    }
    tell_home(s, user, best, told, lingers, at_s);
}

static void session_changed(struct shard *s, const struct conn *c, uint32_t at_s)
{
    user_changed(s, c->user, (enum presence_status)session_told(s, c->user), false, at_s);
}

bool presence_opened(struct shard *s, struct conn *c)
{
    struct presences *p = &s->presences;
    if (c->index >= p->nseats) {
        uint32_t n = MAX(c->index + 1, p->nseats * 2);
        n = MAX(n, 64U);
        struct presence_session *seats = realloc(p->seats, n * sizeof(*seats));
        if (!seats) {
            return false;
        }
        p->seats = seats;
        p->nseats = n;
    }
    presence_session_begin(seat_of(s, c), s->now_ms);
    session_changed(s, c, wall_s(s));
    return true;
}

void presence_closed(struct shard *s, const struct conn *c, enum presence_status told)
{
    user_changed(s, c->user, told, true, wall_s(s));
}

void presence_did(struct shard *s, struct conn *c)
{
    if (presence_session_did(seat_of(s, c), s->now_ms)) {
        session_changed(s, c, wall_s(s));
        session_alive(s, c);
    }
}

void presence_acted(struct shard *s, uint64_t user, uint64_t device)
{
    for (struct conn *c = session_of_user(s, user); c; c = session_next(s, c)) {
        if (c->device == device) {
            presence_did(s, c);
            return;
        }
    }
    presence_note_post(s, user, device, PRESENCE_ONLINE);
}

void presence_said(struct shard *s, struct conn *c, enum presence_status status)
{
    if (presence_session_say(seat_of(s, c), status, s->now_ms)) {
        session_changed(s, c, wall_s(s));
        session_alive(s, c);
    }
}

void presence_heard(struct shard *s, struct conn *c)
{
    const struct presence_session *ps = seat_of(s, c);
    if (ps->state == PRESENCE_OFFLINE && !ps->said_offline) {
        (void)presence_judge(s, c);
    }
}

uint32_t presence_judge(struct shard *s, struct conn *c)
{
    uint32_t after;
    struct presence_config cfg;
    presence_config_defaults(&cfg);
    cfg.away_after_ms = s->cfg.away_after_ms;
    /* Without a socket there is no silence: it ends when it is not fetched from. And what we have
     * not read, because the session waits or the turn is full, may be a sign of life. */
    bool listening = c->state == CONN_WS && c->holds == 0 && !(c->flags & CONN_UNREAD) && !s->busy;
    uint64_t silent = s->now_ms - MIN((uint64_t)c->seen_s * 1000, s->now_ms);
    if (presence_session_judge(&cfg, seat_of(s, c), c->seen_s, listening, s->now_ms, &after)) {
        bool gone = seat_of(s, c)->state == PRESENCE_OFFLINE;
        session_changed(s, c, wall_s(s) - (gone ? (uint32_t)(silent / 1000) : 0));
    }
    return listening || c->state != CONN_WS ? after : MIN(after, NOT_HEARD_MS);
}

/* ---- Homes: who is watched ---- */

static struct watched *watched_of(struct shard *s, uint64_t user)
{
    uint64_t v;
    return u64map_get(&s->presences.watched, user, &v) ? (struct watched *)(uintptr_t)v : NULL;
}

/* What a shard is told of a user; it has to be known. */
static void put_state(struct shard *s, const struct watched *w, uint16_t to)
{
    struct presence_state st = presence_get(s->presences.home, w->user);
    struct note_item item = {.user = w->user,
                             .circle = w->circle ? circle_ref(w->circle) : NULL,
                             .at_s = st.last_seen_s,
                             .kind = NOTE_STATE,
                             .status = st.status};
    link_note(s, to, &item);
}

static void tell_watchers(struct shard *s, const struct watched *w)
{
    uint64_t bits = presence_watchers(s->presences.home, w->user);
    if (!w->circle_known || !w->seen_known) {
        return;
    }
    for (; bits != 0; bits &= bits - 1) {
        put_state(s, w, (uint16_t)__builtin_ctzll(bits));
    }
}

static void mark_stale(struct shard *s, struct watched *w)
{
    if (!list_is_linked(&w->stale)) {
        list_push_back(&s->presences.stale, &w->stale);
    }
}

static void watch(struct shard *s, uint64_t user, uint16_t from)
{
    struct presences *p = &s->presences;
    struct watched *w = watched_of(s, user);
    enum confab_err err = presence_watch(p->home, user, from, true, s->now_ms);
    if (!err && !w) {
        w = calloc(1, sizeof(*w));
        err = w ? u64map_put(&p->watched, user, (uint64_t)(uintptr_t)w) : CONFAB_NOMEM;
        if (err) {
            free(w);
            w = NULL;
        } else {
            list_init(&w->stale);
            w->user = user;
            mark_stale(s, w);
        }
    }
    if (err) {
        /* Who watches sees nobody, as if it were hidden. */
        struct note_item none = {.user = user, .kind = NOTE_STATE};
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        link_note(s, from, &none);
    } else if (w->circle_known && w->seen_known) {
        put_state(s, w, from);
    }
}

static void unwatch(struct shard *s, uint64_t user, uint16_t from)
{
    struct watched *w = watched_of(s, user);
    if (presence_watch(s->presences.home, user, from, false, s->now_ms)) {
        return;
    }
    if (w && presence_watchers(s->presences.home, user) == 0 && !w->circle_asked &&
        !w->seen_asked) {
        watched_free(s, w);
    }
}

/* It was asked for, and nobody watches any more. */
static bool unwanted(struct shard *s, struct watched *w)
{
    if (presence_watchers(s->presences.home, w->user) != 0 || w->circle_asked || w->seen_asked) {
        return false;
    }
    watched_free(s, w);
    return true;
}

/* ---- Homes: circles ---- */

static void ask_circle(struct shard *s, struct watched *w)
{
    struct command *cmd = command_new(COMMAND_CIRCLE);
    if (!cmd) {
        return;
    }
    cmd->actor = w->user;
    cmd->conv = conv_id_self(w->user);
    cmd->context = &circle_sink;
    if (link_request(s, cmd)) {
        command_free(cmd);
        return;
    }
    w->circle_asked = true;
    w->circle_again = false;
}

static void on_circle(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    (void)sink;
    struct watched *w = watched_of(s, cmd->actor);
    if (w) {
        w->circle_asked = false;
    }
    if (w && !unwanted(s, w)) {
        bool again = w->circle_again || cmd->err;
        if (!cmd->err || !w->circle_known) {
            /* What cannot be read shows nobody, until it can. */
            circle_unref(w->circle);
            w->circle = cmd->err ? NULL : cmd->ret_circle;
            cmd->ret_circle = cmd->err ? cmd->ret_circle : NULL;
            w->circle_known = true;
        }
        if (again) {
            mark_stale(s, w);
            s->presences.retry_at_ms = s->now_ms + (cmd->err ? RETRY_MS : 0);
        }
        tell_watchers(s, w);
    }
    command_free(cmd);
}

void presence_published(struct shard *s, const struct publication *pub)
{
    if (pub->conv_kind != CONV_SELF ||
        (pub->ev.kind != EVENT_JOINED && pub->ev.kind != EVENT_LEFT &&
         pub->ev.kind != EVENT_BLOCK)) {
        return;
    }
    struct watched *w = watched_of(s, pub->ev.actor);
    if (w) {
        w->circle_again = true;
        if (!w->circle_asked) {
            mark_stale(s, w);
            s->presences.retry_at_ms = 0;
            s->busy = true;
        }
    }
}

/* ---- Homes: last times, read ---- */

struct seen_call {
    struct dir_call dir;
    uint64_t ids[PRESENCE_READ_MAX];
    uint64_t ms[PRESENCE_READ_MAX];
};

static void on_seen(struct shard *s, struct dir_call *dir)
{
    struct seen_call *k = CONTAINER_OF(dir, struct seen_call, dir);
    for (uint32_t i = 0; i < dir->req.nids; i++) {
        struct watched *w = watched_of(s, k->ids[i]);
        if (!w) {
            continue;
        }
        w->seen_asked = false;
        if (unwanted(s, w)) {
            continue;
        }
        /* Without an answer the time is not known, which is no reason to say nothing. */
        if (!dir->req.ret_err) {
            presence_set_last_seen(s->presences.home, w->user, (uint32_t)(k->ms[i] / 1000));
        }
        w->seen_known = true;
        tell_watchers(s, w);
    }
}

static struct seen_call *seen_call_new(void)
{
    struct dir_call *dir = dir_call_new(sizeof(struct seen_call), DIR_SEEN_READ);
    if (!dir) {
        return NULL;
    }
    struct seen_call *k = CONTAINER_OF(dir, struct seen_call, dir);
    dir->on_done = on_seen;
    dir->req.ids = k->ids;
    dir->req.seen_ms = k->ms;
    return k;
}

static void seen_submit(struct shard *s, struct seen_call *k)
{
    uint64_t ids[PRESENCE_READ_MAX];
    uint32_t n = k->dir.req.nids;
    memcpy(ids, k->ids, n * sizeof(ids[0]));
    for (uint32_t i = 0; i < n; i++) {
        watched_of(s, ids[i])->seen_asked = true;
    }
    if (dir_call_submit(s, &k->dir)) {
        for (uint32_t i = 0; i < n; i++) {
            struct watched *w = watched_of(s, ids[i]);
            w->seen_asked = false;
            mark_stale(s, w);
        }
        s->presences.retry_at_ms = s->now_ms + RETRY_MS;
    }
}

/* Asks for what is not known of those who are watched. */
static void ask_stale(struct shard *s)
{
    struct presences *p = &s->presences;
    struct seen_call *k = NULL;
    struct list todo;
    struct list *n;
    if (list_is_empty(&p->stale) || s->now_ms < p->retry_at_ms) {
        return;
    }
    list_init(&todo);
    while ((n = list_pop_front(&p->stale)) != NULL) {
        list_push_back(&todo, n);
    }
    while ((n = list_pop_front(&todo)) != NULL) {
        struct watched *w = LIST_ENTRY(n, struct watched, stale);
        if (unwanted(s, w)) {
            continue;
        }
        if (!w->circle_asked && (!w->circle_known || w->circle_again || !w->circle)) {
            ask_circle(s, w);
            if (!w->circle_asked) {
                mark_stale(s, w);
                p->retry_at_ms = s->now_ms + RETRY_MS;
            }
        }
        if (w->seen_known || w->seen_asked) {
            continue;
        }
        k = k ? k : seen_call_new();
        if (!k) {
            mark_stale(s, w);
            p->retry_at_ms = s->now_ms + RETRY_MS;
            continue;
        }
        k->ids[k->dir.req.nids++] = w->user;
        if (k->dir.req.nids == PRESENCE_READ_MAX) {
            seen_submit(s, k);
            k = NULL;
        }
    }
    if (k) {
        seen_submit(s, k);
    }
}

/* ---- Homes: last times, stored ---- */

static void on_saved(struct shard *s, struct dir_call *dir)
{
    struct presences *p = &s->presences;
    p->saving = false;
    if (dir->req.ret_err) {
        p->save_at_ms = s->now_ms + SAVE_MS; /* the same rows again, before any others */
        return;
    }
    p->nrows = 0;
    metrics_inc(s->metrics, METRIC_PRESENCE_SAVES);
    struct presence_stats st;
    presence_stats(p->home, &st);
    p->save_at_ms = s->now_ms + (st.unsaved >= PRESENCE_SAVE_ROWS ? 0 : SAVE_MS);
}

static void save_rows(struct presences *p)
{
    uint64_t user;
    uint32_t at_s;
    while (p->nrows < PRESENCE_SAVE_ROWS && presence_next_unsaved(p->home, &user, &at_s)) {
        p->rows[p->nrows++] = (struct dir_seen){user, (uint64_t)at_s * 1000};
    }
}

/* Writes what changed, or that the server is alive, when one of them is due. */
static void save(struct shard *s)
{
    struct presences *p = &s->presences;
    struct presence_stats st;
    if (p->saving || (s->draining && p->last_word)) {
        return;
    }
    presence_stats(p->home, &st);
    bool rows = s->now_ms >= p->save_at_ms || s->draining;
    bool alive = (s->now_ms >= p->alive_at_ms || s->draining) && st.online > 0;
    if (!((rows && (st.unsaved > 0 || p->nrows > 0)) || alive)) {
        if (rows) {
            p->save_at_ms = s->now_ms + SAVE_MS;
        }
        if (s->now_ms >= p->alive_at_ms) {
            p->alive_at_ms = s->now_ms + ALIVE_MS;
        }
        return;
    }
    struct dir_call *dir = dir_call_new(sizeof(*dir), DIR_SEEN_WRITE);
    if (!dir) {
        p->save_at_ms = p->alive_at_ms = s->now_ms + SAVE_MS;
        return;
    }
    save_rows(p);
    dir->on_done = on_saved;
    dir->req.run = auth_state_run(s->deps.auth);
    dir->req.now_ms = s->wall_ms;
    dir->req.seen = p->rows;
    dir->req.nseen = p->nrows;
    p->last_word = s->draining;
    p->alive_at_ms = s->now_ms + ALIVE_MS;
    p->saving = dir_call_submit(s, dir) == CONFAB_OK;
    if (!p->saving) {
        p->save_at_ms = s->now_ms + SAVE_MS;
    }
}

/* ---- Notes and turns ---- */

void presence_take(struct shard *s, uint16_t from, struct note_item *item)
{
    struct presence *home = s->presences.home;
    struct watched *w;
    enum confab_err err = CONFAB_OK;
    switch ((enum note_kind)item->kind) {
    case NOTE_REPORT:
        err = presence_report(home, item->user, from, (enum presence_status)item->status,
                              (item->flags & NOTE_LINGERS) != 0, item->at_s, s->now_ms);
        break;
    case NOTE_POST:
        err = presence_post(home, item->user, item->device, (enum presence_status)item->status,
                            item->at_s, s->now_ms);
        break;
    case NOTE_WATCH:
        watch(s, item->user, from);
        break;
    case NOTE_UNWATCH:
        unwatch(s, item->user, from);
        break;
    case NOTE_HIDES:
        w = watched_of(s, item->user);
        if (w) {
            tell_watchers(s, w);
        }
        break;
    case NOTE_STATE:
        watch_state(s, item);
        return; /* its circle is taken over */
    }
    if (err) {
        metrics_inc(s->metrics, err == CONFAB_LIMIT ? METRIC_BOUND_PENDING : METRIC_OUT_OF_MEMORY);
    }
    circle_unref(item->circle);
}

void presences_turn(struct shard *s)
{
    struct presences *p = &s->presences;
    struct presence_state st;
    struct presence_stats stats;
    uint64_t user;
    presence_advance(p->home, s->now_ms, wall_s(s));
    while (presence_next_changed(p->home, &user, &st)) {
        const struct watched *w = watched_of(s, user);
        metrics_inc(s->metrics, METRIC_PRESENCE_TRANSITIONS);
        if (w) {
            tell_watchers(s, w);
        }
    }
    ask_stale(s);
    save(s);
    presence_stats(p->home, &stats);
    metrics_gauge_set(s->metrics, METRIC_PRESENCE_ONLINE, (int64_t)stats.online);
    metrics_gauge_set(s->metrics, METRIC_PRESENCE_AWAY, (int64_t)stats.away);
}

uint64_t presences_next_ms(struct shard *s)
{
    struct presences *p = &s->presences;
    struct presence_stats st;
    uint64_t next = presence_next_ms(p->home);
    if (!list_is_empty(&p->stale)) {
        next = MIN(next, p->retry_at_ms);
    }
    if (p->saving || (s->draining && p->last_word)) {
        return next;
    }
    presence_stats(p->home, &st);
    if (st.unsaved > 0 || p->nrows > 0) {
        next = MIN(next, p->save_at_ms);
    }
    if (st.online > 0) {
        next = MIN(next, p->alive_at_ms);
    }
    return next;
}
