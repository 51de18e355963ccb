/* Views and typing. A session that neither views nor types has nothing here. */
#include "gateway/look.h"

#include <stdlib.h>

#include "gateway/internal.h"
#include "gateway/session.h"
#include "gateway/watch.h"

/* A conversation that somebody here looks at. */
struct viewed {
    struct conv_id conv;
    struct list views;
    uint32_t n;
    struct lookers *lookers; /* as they are now; NULL: not needed since the last change */
};

struct view {
    struct list node; /* in viewed.views */
    struct viewed *viewed;
    uint32_t conn; /* index */
};

struct typed {
    struct conv_id conv;
    uint64_t at_ms; /* of the last `active` that was passed on; 0: none */
    bool active;    /* the last that was passed on */
};

struct look {
    struct view *views;
    uint32_t nviews;
    struct watcher *watcher;
    struct typed typed[LOOK_TYPING_MAX];
};

static void on_audience(struct shard *s, struct command_sink *sink, struct command *cmd);
static struct command_sink typing_sink = {.on_done = on_audience};

void looks_init(struct shard *s)
{
    u64map_init(&s->looks.by_conn, random_u64(s->deps.random));
    idmap_init(&s->looks.by_conv, random_u64(s->deps.random));
}

static struct look *look_of(struct shard *s, const struct conn *c)
{
    uint64_t v;
    return u64map_get(&s->looks.by_conn, c->index, &v) ? (struct look *)(uintptr_t)v : NULL;
}

static struct look *look_make(struct shard *s, struct conn *c)
{
    struct look *k = look_of(s, c);
    if (k) {
        return k;
    }
    k = calloc(1, sizeof(*k));
    if (!k || u64map_put(&s->looks.by_conn, c->index, (uint64_t)(uintptr_t)k)) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        free(k);
        return NULL;
    }
    c->flags |= CONN_LOOKS;
    return k;
}

/* ---- Views ---- */

static void views_count(struct shard *s, uint32_t from, uint32_t to)
{
    /* Only this thread writes it. */
    unsigned n = atomic_load_explicit(&s->looks.nviews, memory_order_relaxed);
    atomic_store_explicit(&s->looks.nviews, n - from + to, memory_order_relaxed);
}

void lookers_unref(struct lookers *l)
{
    if (l && --l->refs == 0) {
        member_set_unref(l->members);
        free(l);
    }
}

static void viewed_changed(struct viewed *v)
{
    lookers_unref(v->lookers);
    v->lookers = NULL;
}

static void views_end(struct shard *s, struct look *k)
{
    views_count(s, k->nviews, 0);
    for (uint32_t i = 0; i < k->nviews; i++) {
        struct viewed *v = k->views[i].viewed;
        list_remove(&k->views[i].node);
        viewed_changed(v);
        if (--v->n == 0) {
            idmap_del(&s->looks.by_conv, v->conv);
            free(v);
        }
    }
    free(k->views);
    k->views = NULL;
    k->nviews = 0;
}

static struct viewed *viewed_make(struct shard *s, struct conv_id conv)
{
    struct viewed *v = idmap_get(&s->looks.by_conv, conv);
    if (v) {
        return v;
    }
    v = calloc(1, sizeof(*v));
    if (!v || idmap_put(&s->looks.by_conv, conv, v)) {
        free(v);
        return NULL;
    }
    v->conv = conv;
    list_init(&v->views);
    return v;
}

/* Those that it looked at before are passed over: they have come all along. */
static void tell_looked(struct shard *s, struct conn *c, const struct wire_view *m,
                        const struct conv_id *before, uint32_t nbefore)
{
    for (uint32_t i = 0; i < m->n && conn_is_session(c); i++) {
        bool was = false;
        for (uint32_t k = 0; k < nbefore && !was; k++) {
            was = conv_id_eq(before[k], m->convs[i]);
        }
        if (!was) {
            channel_looked(s, c, m->convs[i]);
        }
    }
}

void look_view(struct shard *s, struct conn *c, const struct wire_view *m)
{
    struct look *k = m->n > 0 ? look_make(s, c) : look_of(s, c);
    if (!k) {
        return;
    }
    struct conv_id before[WIRE_VIEW_MAX];
    uint32_t nbefore = 0;
    for (uint32_t i = 0; i < k->nviews; i++) {
        before[nbefore++] = k->views[i].viewed->conv;
    }
    views_end(s, k);
    k->views = m->n > 0 ? calloc(m->n, sizeof(*k->views)) : NULL;
    for (uint32_t i = 0; k->views && i < m->n; i++) {
        struct viewed *v = viewed_make(s, m->convs[i]);
        if (!v) {
            break;
        }
        struct view *view = &k->views[k->nviews++];
        view->viewed = v;
        view->conn = c->index;
        list_push_back(&v->views, &view->node);
        v->n++;
        viewed_changed(v);
    }
    if (k->nviews < m->n) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY); /* it misses who types there */
    }
    views_count(s, 0, k->nviews);
    tell_looked(s, c, m, before, nbefore);
}

bool look_sees(struct shard *s, const struct conn *c, struct conv_id conv)
{
    const struct look *k = c->flags & CONN_LOOKS ? look_of(s, c) : NULL;
    for (uint32_t i = 0; k && i < k->nviews; i++) {
        if (conv_id_eq(k->views[i].viewed->conv, conv)) {
            return true;
        }
    }
    return false;
}

enum confab_err look_lookers(struct shard *s, struct conv_id conv, struct member_set *members,
                             struct lookers **ret)
{
    struct viewed *v = idmap_get(&s->looks.by_conv, conv);
    if (!v) {
        *ret = NULL;
        return CONFAB_OK;
    }
    if (!v->lookers || v->lookers->members != members) {
        struct lookers *l = malloc(sizeof(*l) + (size_t)v->n * sizeof(l->conns[0]));
        if (!l) {
            return CONFAB_NOMEM;
        }
        *l = (struct lookers){.refs = 1, .members = member_set_ref(members)};
        LIST_EACH(&v->views, n)
        {
            const struct conn *c = conn_at(s, LIST_ENTRY(n, struct view, node)->conn);
            if (c && member_set_has(members, c->user)) {
                l->conns[l->n++] = conn_id(s, c);
            }
        }
        viewed_changed(v);
        v->lookers = l;
    }
    v->lookers->refs++;
    *ret = v->lookers;
    return CONFAB_OK;
}

void look_drop(struct shard *s, struct conn *c)
{
    uint64_t v;
    if (u64map_del(&s->looks.by_conn, c->index, &v)) {
        struct look *k = (struct look *)(uintptr_t)v;
        views_end(s, k);
        watcher_free(s, k->watcher);
        free(k);
    }
    c->flags &= (uint16_t)~CONN_LOOKS;
}

void looks_deinit(struct shard *s)
{
    struct u64map_iter it = {0};
    while (u64map_next(&s->looks.by_conn, &it)) {
        struct look *k = (struct look *)(uintptr_t)*it.value;
        views_end(s, k);
        watcher_free(s, k->watcher);
        free(k);
    }
    u64map_deinit(&s->looks.by_conn);
    idmap_deinit(&s->looks.by_conv);
}

struct watcher **look_watcher(struct shard *s, struct conn *c)
{
    struct look *k = look_make(s, c);
    return k ? &k->watcher : NULL;
}

/* ---- Typing ---- */

/* Its place, or one that is free again; NULL: typing in too many places. */
static struct typed *typed_place(struct look *k, struct conv_id conv, uint64_t now_ms)
{
    struct typed *place = NULL;
    for (uint32_t i = 0; i < LOOK_TYPING_MAX; i++) {
        struct typed *t = &k->typed[i];
        if (t->at_ms != 0 && conv_id_eq(t->conv, conv)) {
            return t;
        }
        if (!place && (t->at_ms == 0 || now_ms - t->at_ms >= LOOK_TYPING_EXPIRES_MS)) {
            place = t;
        }
    }
    if (place) {
        *place = (struct typed){.conv = conv};
    }
    return place;
}

/* May it be passed on? An end is, after a beginning; a beginning is, every so often. */
static bool typing_passes(struct shard *s, struct look *k, struct conv_id conv, bool active)
{
    struct typed *t = typed_place(k, conv, s->now_ms);
    if (!t || (!active && !t->active)) {
        return false;
    }
    if (active && t->at_ms != 0 && s->now_ms - t->at_ms < LOOK_TYPING_EVERY_MS) {
        return false;
    }
    t->at_ms = active ? MAX(s->now_ms, 1) : t->at_ms;
    t->active = active;
    return true;
}

void look_sent(struct shard *s, struct conn *c, struct conv_id conv)
{
    struct look *k = look_of(s, c);
    for (uint32_t i = 0; k && i < LOOK_TYPING_MAX; i++) {
        if (k->typed[i].at_ms != 0 && conv_id_eq(k->typed[i].conv, conv)) {
            k->typed[i] = (struct typed){0};
        }
    }
}

static void typing_pass(struct shard *s, struct conn *c, struct conv_id conv, bool active)
{
    struct look *k = look_make(s, c);
    if (!k) {
        return;
    }
    if (!typing_passes(s, k, conv, active)) {
        metrics_inc(s->metrics, METRIC_TYPING_THROTTLED);
        return;
    }
    struct command *cmd = command_new(COMMAND_AUDIENCE);
    if (!cmd) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return;
    }
    cmd->actor = c->user;
    cmd->conv = conv;
    cmd->in.value = active;
    cmd->context = &typing_sink;
    if (link_request(s, cmd)) {
        metrics_inc(s->metrics, METRIC_EPHEMERAL_DROPPED);
        command_free(cmd);
    }
}

static void on_audience(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    (void)sink;
    if (!cmd->err && cmd->ret_members) {
        bool active = cmd->in.value != 0;
        struct wire_typist m = {
            .conv = cmd->ret_conv,
            .user_id = cmd->actor,
            .active = active,
            .expires_in_ms = active ? LOOK_TYPING_EXPIRES_MS : 0,
        };
        wire_put_typing(session_frame_begin(s), &m);
        ws_frame_end(&s->text, s->text_mark, WS_TEXT, NULL);
        struct frame_bytes *bytes =
            buf_ok(&s->text) ? frame_bytes_new(&s->pool, span_of(s->text.data, s->text.len)) : NULL;
        if (bytes) {
            link_publish_typing(s, cmd->ret_conv, cmd->ret_members, cmd->actor, bytes);
        } else {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        }
        frame_bytes_unref(&s->pool, bytes);
    }
    command_free(cmd);
}

static void on_to_found(struct shard *s, struct user_lookup *l)
{
    struct conn *c = conn_of_id(s, l->conn);
    if (c && c->user != 0 && !l->err && l->ids[0] != c->user) {
        typing_pass(s, c, conv_id_direct(c->user, l->ids[0]), l->arg != NULL);
    }
}

/* Whom it is for has to be asked first. Nothing waits for it, and an unknown name is no news. */
static void typing_lookup(struct shard *s, struct conn *c, const struct wire_typing *m)
{
    struct user_lookup *l = user_lookup_new(1);
    if (!l || user_lookup_add(l, m->to)) {
        user_lookup_free(l);
        return;
    }
    l->arg = m->active ? s : NULL;
    l->conn = conn_id(s, c);
    l->done = on_to_found;
    user_lookup_run(s, l);
}

void look_typing(struct shard *s, struct conn *c, const struct wire_typing *m)
{
    uint64_t peer = 0;
    metrics_inc(s->metrics, METRIC_TYPING);
    if (m->to.n == 0) {
        typing_pass(s, c, m->conv, m->active);
        return;
    }
    switch (users_find(s, m->to, &peer)) {
    case USER_HERE:
        if (peer != c->user) {
            typing_pass(s, c, conv_id_direct(c->user, peer), m->active);
        }
        break;
    case USER_ASK:
        typing_lookup(s, c, m);
        break;
    case USER_ABSENT:
        break;
    }
}

void look_take_typing(struct shard *s, struct delivery *d)
{
    struct viewed *v = idmap_get(&s->looks.by_conv, d->conv);
    struct frame *f = v && v->n <= LOOK_TOLD_MAX ? delivery_frame(s, d) : NULL;
    if (v && !f) {
        metrics_inc(s->metrics, METRIC_EPHEMERAL_DROPPED);
    }
    struct list *n = f ? v->views.next : NULL;
    while (n && n != &v->views) {
        struct conn *c = conn_at(s, LIST_ENTRY(n, struct view, node)->conn);
        n = n->next;
        bool last = n == &v->views; /* a delivery may end its session, for want of memory */
        if (c && c->user != d->about && (c->flags & CONN_LIVE) &&
            member_set_has(d->members, c->user)) {
            session_deliver_ephemeral(s, c, f);
        }
        if (last) {
            break;
        }
    }
    frame_unref(f);
    delivery_free(s, d);
}
