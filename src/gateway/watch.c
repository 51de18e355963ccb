/* Subscriptions of presence. */
#include "gateway/watch.h"

#include <stdlib.h>

#include "gateway/api.h"
#include "gateway/auth_state.h"
#include "gateway/internal.h"
#include "gateway/privacy.h"
#include "gateway/session.h"

#define BEHIND_MS 2000U /* until what was dropped is tried again */

struct person {
    uint64_t user;
    uint32_t refs;
    uint32_t changes; /* of the circle */
    uint32_t last_seen_s;
    uint8_t status;
    bool known;
    struct circle *circle;
    struct list subs;     /* struct sub: who looks at this one */
    struct list watchers; /* struct watcher: this one looks */
};

struct sub {
    struct list node; /* of the person looked at */
    struct list mine; /* of the watcher */
    struct person *of;
    struct watcher *by;
    uint32_t changes_of; /* when `meet` was found */
    uint32_t changes_by;
    uint32_t told_seen_s;
    uint8_t told_status;
    bool told;
    bool judged;
    bool meet;
};

struct watcher {
    struct list node; /* of the person who looks */
    struct list rest; /* shard's asks, or those that are behind */
    struct list subs;
    struct person *me;
    struct api_call *call; /* of REST; NULL: a session's */
    uint64_t conn;         /* id */
    uint32_t n;
};

void watches_init(struct shard *s)
{
    u64map_init(&s->watches.people, random_u64(s->deps.random));
    list_init(&s->watches.asks);
    list_init(&s->watches.behind);
}

/* ---- People ---- */

static struct person *person_find(const struct shard *s, uint64_t user)
{
    uint64_t v;
    return u64map_get(&s->watches.people, user, &v) ? (struct person *)(uintptr_t)v : NULL;
}

static struct person *person_ref(struct shard *s, uint64_t user)
{
    struct person *p = person_find(s, user);
    if (p) {
        p->refs++;
        return p;
    }
    p = calloc(1, sizeof(*p));
    if (!p || u64map_put(&s->watches.people, user, (uint64_t)(uintptr_t)p)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        free(p);
        return NULL;
    }
    p->user = user;
    p->refs = 1;
    list_init(&p->subs);
    list_init(&p->watchers);
    presence_note(s, user, NOTE_WATCH);
    return p;
}

static void person_unref(struct shard *s, struct person *p)
{
    if (p && --p->refs == 0) {
        u64map_del(&s->watches.people, p->user, NULL);
        circle_unref(p->circle);
        if (!s->freeing) {
            presence_note(s, p->user, NOTE_UNWATCH);
        }
        free(p);
    }
}

/* ---- Judging ---- */

static void judge(struct shard *s, struct sub *k, struct presence_state *ret)
{
    const struct person *me = k->by->me;
    const struct person *of = k->of;
    struct privacy *privacy = auth_state_privacy(s->deps.auth);
    *ret = (struct presence_state){.status = PRESENCE_OFFLINE};
    if (!k->judged || k->changes_of != of->changes || k->changes_by != me->changes) {
        k->judged = true;
        k->changes_of = of->changes;
        k->changes_by = me->changes;
        k->meet = me == of || circle_meet(me->circle, of->circle);
    }
    if (!k->meet || privacy_between(privacy, of->user, me->user, DIR_HIDES_ONLINE)) {
        return;
    }
    ret->status = of->status;
    if (of->status != PRESENCE_ONLINE &&
        !privacy_between(privacy, of->user, me->user, DIR_HIDES_LAST_SEEN)) {
        ret->last_seen_s = of->last_seen_s;
    }
}

static struct frame *update_frame(struct shard *s, uint64_t user, const struct presence_state *st,
                                  bool is_short)
{
    struct wire_presence_update m = {.user_id = user,
                                     .status = span_str(presence_text(st->status)),
                                     .last_seen_ms = (uint64_t)st->last_seen_s * 1000};
    struct buf *b = session_frame_begin(s);
    if (is_short) {
        wire_put_short_presence(b, &m);
    } else {
        wire_put_presence_update(b, &m);
    }
    ws_frame_end(&s->text, s->text_mark, WS_TEXT, NULL);
    struct frame *f =
        buf_ok(&s->text) ? frame_new(&s->pool, span_of(s->text.data, s->text.len)) : NULL;
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return NULL;
    }
    frame_event(f); /* it may go to a session without a WebSocket, or into an array */
    return f;
}

static bool deliver(struct shard *s, struct conn *c, uint64_t user, const struct presence_state *st,
                    bool is_short)
{
    struct frame *f = update_frame(s, user, st, is_short);
    bool ok = f && session_deliver_ephemeral(s, c, f);
    frame_unref(f);
    return ok;
}

static void fall_behind(struct shard *s, struct watcher *w)
{
    if (!list_is_linked(&w->rest)) {
        list_push_back(&s->watches.behind, &w->rest);
        s->watches.behind_at_ms = MAX(s->watches.behind_at_ms, s->now_ms + BEHIND_MS);
    }
}

static void answer(struct shard *s, struct watcher *w, const struct person *of,
                   const struct presence_state *st)
{
    struct buf body = {0};
    struct json_writer j;
    json_w_init(&j, &body);
    json_w_object(&j);
    json_w_kid(&j, "user_id", of->user);
    json_w_kcstr(&j, "status", presence_text(st->status));
    json_w_key(&j, "last_seen");
    if (st->last_seen_s) {
        json_w_time(&j, (uint64_t)st->last_seen_s * 1000);
    } else {
        json_w_null(&j);
    }
    json_w_object_end(&j);
    struct api_call *call = w->call;
    w->call = NULL;
    watcher_free(s, w);
    api_call_answer(s, call, 200, &body);
}

/*
 * Tells what is not told yet. Returns false when the watcher is gone afterwards: it was a call that
 * is answered now, or its session has ended for want of memory.
 */
static bool tell(struct shard *s, struct sub *k)
{
    struct watcher *w = k->by;
    struct presence_state st;
    if (!k->of->known || !w->me->known) {
        return true;
    }
    judge(s, k, &st);
    if (w->call) {
        answer(s, w, k->of, &st);
        return false;
    }
    if (k->told && k->told_status == st.status && k->told_seen_s == st.last_seen_s) {
        return true;
    }
    uint64_t conn = w->conn;
    uint64_t user = k->of->user;
    struct conn *c = conn_of_id(s, conn);
    if (!c || !conn_is_session(c)) {
        return true; /* it is about to end */
    }
    if (!deliver(s, c, user, &st, false)) {
        if (!conn_of_id(s, conn)) {
            return false;
        }
        fall_behind(s, w);
        return true;
    }
    bool changed = !k->told || k->told_status != st.status;
    k->told = true;
    k->told_status = st.status;
    k->told_seen_s = st.last_seen_s;
    metrics_inc(s->metrics, METRIC_PRESENCE_UPDATES);
    if (changed && (c->flags & CONN_SHORT)) {
        (void)deliver(s, c, user, &st, true);
    }
    return conn_of_id(s, conn) != NULL;
}

static void tell_all(struct shard *s, struct watcher *w)
{
    LIST_EACH(&w->subs, n)
    {
        if (!tell(s, LIST_ENTRY(n, struct sub, mine))) {
            return;
        }
    }
}

void watch_state(struct shard *s, struct note_item *item)
{
    struct person *p = person_find(s, item->user);
    if (!p) {
        circle_unref(item->circle);
        return;
    }
    if (p->circle == item->circle) {
        circle_unref(item->circle);
    } else {
        circle_unref(p->circle);
        p->circle = item->circle;
        p->changes++;
    }
    p->known = true;
    p->status = item->status;
    p->last_seen_s = item->at_s;
    p->refs++; /* an answered call may let go of it */
    LIST_EACH(&p->subs, n)
    {
        (void)tell(s, LIST_ENTRY(n, struct sub, node));
    }
    /* What they hide may have changed, or whom they are with. */
    LIST_EACH(&p->watchers, n)
    {
        tell_all(s, LIST_ENTRY(n, struct watcher, node));
    }
    person_unref(s, p);
}

/* ---- Subscribing ---- */

static struct watcher *watcher_new(struct shard *s, uint64_t me)
{
    struct watcher *w = calloc(1, sizeof(*w));
    if (!w) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return NULL;
    }
    list_init(&w->node);
    list_init(&w->rest);
    list_init(&w->subs);
    w->me = person_ref(s, me);
    if (!w->me) {
        free(w);
        return NULL;
    }
    list_push_back(&w->me->watchers, &w->node);
    return w;
}

static void subs_gauge(struct shard *s)
{
    metrics_gauge_set(s->metrics, METRIC_PRESENCE_SUBSCRIPTIONS, (int64_t)s->watches.nsubs);
}

static void sub_free(struct shard *s, struct sub *k)
{
    list_remove(&k->node);
    list_remove(&k->mine);
    k->by->n--;
    s->watches.nsubs--;
    person_unref(s, k->of);
    free(k);
}

void watcher_free(struct shard *s, struct watcher *w)
{
    if (!w) {
        return;
    }
    LIST_EACH(&w->subs, n)
    {
        sub_free(s, LIST_ENTRY(n, struct sub, mine));
    }
    list_remove(&w->node);
    list_remove(&w->rest);
    person_unref(s, w->me);
    free(w);
    subs_gauge(s);
}

static struct sub *sub_find(const struct watcher *w, uint64_t user)
{
    LIST_EACH(&w->subs, n)
    {
        struct sub *k = LIST_ENTRY(n, struct sub, mine);
        if (k->of->user == user) {
            return k;
        }
    }
    return NULL;
}

static struct sub *sub_add(struct shard *s, struct watcher *w, uint64_t user)
{
    struct sub *k = calloc(1, sizeof(*k));
    struct person *of = k ? person_ref(s, user) : NULL;
    if (!of) {
        free(k);
        return NULL;
    }
    k->of = of;
    k->by = w;
    list_init(&k->node);
    list_init(&k->mine);
    list_push_back(&of->subs, &k->node);
    list_push_back(&w->subs, &k->mine);
    w->n++;
    s->watches.nsubs++;
    return k;
}

enum confab_err watch_subscribe(struct shard *s, struct conn *c, const struct wire_people *m)
{
    struct watcher **at = look_watcher(s, c);
    if (at && !*at) {
        *at = watcher_new(s, c->user);
        if (*at) {
            (*at)->conn = conn_id(s, c);
        }
    }
    struct watcher *w = at ? *at : NULL;
    if (!w) {
        return CONFAB_NOMEM;
    }
    uint32_t more = 0;
    for (uint32_t i = 0; i < m->n; i++) {
        more += sub_find(w, m->users[i]) == NULL;
    }
    if (w->n + more > s->cfg.presence_subscriptions_max) {
        metrics_inc(s->metrics, METRIC_PRESENCE_LIMITED);
        return CONFAB_LIMIT;
    }
    uint64_t conn = w->conn;
    for (uint32_t i = 0; i < m->n && conn_of_id(s, conn); i++) {
        struct sub *k = sub_find(w, m->users[i]);
        if (k) {
            k->told = false; /* it asks again: it is answered again */
        } else {
            k = sub_add(s, w, m->users[i]);
        }
        if (!k) {
            subs_gauge(s);
            return CONFAB_NOMEM;
        }
        if (!tell(s, k)) {
            break;
        }
    }
    subs_gauge(s);
    return CONFAB_OK;
}

void watch_unsubscribe(struct shard *s, struct conn *c, const struct wire_people *m)
{
    struct watcher **at = c->flags & CONN_LOOKS ? look_watcher(s, c) : NULL;
    struct watcher *w = at ? *at : NULL;
    for (uint32_t i = 0; w && i < m->n; i++) {
        struct sub *k = sub_find(w, m->users[i]);
        if (k) {
            sub_free(s, k);
        }
    }
    if (w && (m->all || w->n == 0)) {
        *at = NULL;
        watcher_free(s, w);
    }
    subs_gauge(s);
}

void watch_ask(struct shard *s, struct api_call *call, uint64_t user)
{
    struct watcher *w = watcher_new(s, call->user);
    struct sub *k = w ? sub_add(s, w, user) : NULL;
    if (!k) {
        watcher_free(s, w);
        api_call_fail(s, call, CONFAB_NOMEM, NULL, NULL);
        return;
    }
    w->call = call;
    list_push_back(&s->watches.asks, &w->rest);
    (void)tell(s, k);
}

/* ---- Behind ---- */

void watch_forgotten(struct shard *s, struct conn *c)
{
    struct watcher **at = c->flags & CONN_LOOKS ? look_watcher(s, c) : NULL;
    if (!at || !*at) {
        return;
    }
    LIST_EACH(&(*at)->subs, n)
    {
        LIST_ENTRY(n, struct sub, mine)->told = false;
    }
    fall_behind(s, *at);
}

void watches_turn(struct shard *s)
{
    struct list *n;
    struct list todo;
    if (list_is_empty(&s->watches.behind) || s->now_ms < s->watches.behind_at_ms) {
        return;
    }
    list_init(&todo);
    while ((n = list_pop_front(&s->watches.behind)) != NULL) {
        list_push_back(&todo, n);
    }
    while ((n = list_pop_front(&todo)) != NULL) {
        tell_all(s, LIST_ENTRY(n, struct watcher, rest));
    }
}

uint64_t watches_next_ms(const struct shard *s)
{
    return list_is_empty(&s->watches.behind) ? UINT64_MAX : s->watches.behind_at_ms;
}

void watches_deinit(struct shard *s)
{
    struct list *n;
    while (s->watches.asks.next && (n = list_pop_front(&s->watches.asks)) != NULL) {
        watcher_free(s, LIST_ENTRY(n, struct watcher, rest));
    }
    u64map_deinit(&s->watches.people);
}
