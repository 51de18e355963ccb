/*
 * Links. An item in a ring is a pointer with its kind in the lowest bits. Room: a ring holds what
 * its sender may have under way as requests, what its receiver may have sent there and comes back
 * as completions, and deliveries; deliveries stop while fewer than the first two together are free,
 * so a push of those cannot fail.
 */
#include "gateway/link.h"

#include <stdlib.h>

#include "gateway/carrier.h"
#include "gateway/internal.h"
#include "gateway/presence.h"
#include "gateway/session.h"

#define RECEIVE_PER_TURN 2048U

#define NOTES_PER_ITEM 512U

enum item_kind {
    ITEM_DELIVERY = 0,
    ITEM_REQUEST = 1,
    ITEM_COMPLETION = 2,
    ITEM_NOTES = 3,
    ITEM_MASK = 3
};

struct notes {
    uint32_t n;
    struct note_item items[];
};

static void *item_of(void *p, enum item_kind kind)
{
    return (void *)((uintptr_t)p | (uintptr_t)kind);
}

static uint32_t reserved(const struct shard *s)
{
    return 2 * s->cfg.link_credits;
}

static void notes_free(struct note_item *items, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        circle_unref(items[i].circle);
    }
}

struct frame *delivery_frame(struct shard *s, struct delivery *d)
{
    if (d->frame.refs == 0) {
        frame_init_bytes(&d->frame, &s->pool, d->bytes, d, sizeof(*d));
    }
    return frame_ref(&d->frame);
}

void delivery_free(struct shard *s, struct delivery *d)
{
    if (!d) {
        return;
    }
    frame_bytes_unref(&s->pool, d->bytes);
    member_set_unref(d->members);
    frame_bytes_unref(&s->pool, d->counter);
    member_set_unref(d->all);
    member_set_unref(d->direct);
    if (d->frame.refs > 0) {
        frame_unref(&d->frame);
    } else {
        pool_give(&s->pool, d, sizeof(*d));
    }
}

enum confab_err links_connect(struct shard *const *shards, uint16_t n)
{
    for (uint16_t i = 0; i < n; i++) {
        struct shard *s = shards[i];
        s->out = calloc(n, sizeof(*s->out));
        s->in = calloc(n, sizeof(*s->in));
        if (!s->out || !s->in) {
            return CONFAB_NOMEM;
        }
        for (uint16_t k = 0; k < n; k++) {
            s->out[k].peer = shards[k];
            list_init(&s->out[k].conversations);
        }
    }
    for (uint16_t i = 0; i < n; i++) {
        for (uint16_t k = 0; k < n; k++) {
            struct ring *ring;
            enum confab_err err =
                ring_new(reserved(shards[i]) + shards[i]->cfg.link_deliveries, &ring);
            if (err) {
                return err;
            }
            shards[i]->out[k].ring = ring;
            shards[k]->in[i].ring = ring;
        }
    }
    return CONFAB_OK;
}

static void behind_forget(struct link_out *l)
{
    struct list *n;
    while ((n = list_pop_front(&l->conversations)) != NULL) {
        struct link_behind *b = LIST_ENTRY(n, struct link_behind, node);
        member_set_unref(b->members);
        free(b);
    }
    l->nbehind = 0;
}

void links_deinit(struct shard *s)
{
    for (uint16_t i = 0; s->in && i < s->cfg.shards; i++) {
        void *item;
        while (s->in[i].ring && (item = ring_pop(s->in[i].ring)) != NULL) {
            void *p = (void *)((uintptr_t)item & ~(uintptr_t)ITEM_MASK);
            if (((uintptr_t)item & ITEM_MASK) == ITEM_DELIVERY) {
                delivery_free(s, p);
            } else if (((uintptr_t)item & ITEM_MASK) == ITEM_NOTES) {
                notes_free(((struct notes *)p)->items, ((struct notes *)p)->n);
                free(p);
            } else {
                command_free(p);
            }
        }
        ring_free(s->in[i].ring);
    }
    for (uint16_t i = 0; s->out && i < s->cfg.shards; i++) {
        if (s->out[i].peer) {
            behind_forget(&s->out[i]);
        }
        notes_free(s->out[i].notes, s->out[i].nnotes);
        free(s->out[i].notes);
    }
    free(s->in);
    free(s->out);
    s->in = NULL;
    s->out = NULL;
}

/* ---- Sending ---- */

enum confab_err link_request_to(struct shard *s, uint16_t to, struct command *cmd)
{
    struct link_out *l = &s->out[to];
    if (l->used >= s->cfg.link_credits) {
        metrics_inc(s->metrics, METRIC_CREDIT_REFUSED);
        return CONFAB_BUSY;
    }
    cmd->origin_shard = s->cfg.shard;
    l->used++;
    CHECK(ring_push(l->ring, item_of(cmd, ITEM_REQUEST)));
    l->pushed = true;
    if (to == s->cfg.shard) {
        engine_expect(s->engine, cmd);
    }
    return CONFAB_OK;
}

enum confab_err link_request(struct shard *s, struct command *cmd)
{
    return link_request_to(s, engine_shard_of(command_partition(cmd), s->cfg.shards), cmd);
}

bool link_is_pressed(const struct shard *s, struct command *cmd)
{
    uint16_t to = engine_shard_of(command_partition(cmd), s->cfg.shards);
    return atomic_load_explicit(&s->out[to].peer->pressed, memory_order_relaxed);
}

void link_complete(struct shard *s, struct command *cmd)
{
    struct link_out *l = &s->out[cmd->origin_shard];
    CHECK(ring_push(l->ring, item_of(cmd, ITEM_COMPLETION)));
    l->pushed = true;
}

static void link_mark_behind(struct shard *s, struct link_out *l, struct conv_id conv,
                             struct member_set *members)
{
    if (!l->behind) {
        metrics_inc(s->metrics, METRIC_RING_FULL);
    }
    l->behind = true;
    if (l->behind_all) {
        return;
    }
    LIST_EACH(&l->conversations, n)
    {
        const struct link_behind *b = LIST_ENTRY(n, struct link_behind, node);
        if (b->members == members && conv_id_eq(b->conv, conv)) {
            return;
        }
    }
    struct link_behind *b = l->nbehind < s->cfg.link_behind_max ? malloc(sizeof(*b)) : NULL;
    if (!b) {
        l->behind_all = true;
        behind_forget(l);
        return;
    }
    *b = (struct link_behind){.conv = conv, .members = member_set_ref(members)};
    list_push_back(&l->conversations, &b->node);
    l->nbehind++;
}

/* A copy of what `what` says, with references of its own. False: no room, or no memory. */
static bool link_deliver(struct shard *s, struct link_out *l, const struct delivery *what)
{
    if (ring_free_slots(l->ring) <= reserved(s)) {
        return false;
    }
    struct delivery *d = pool_take(&s->pool, sizeof(*d));
    if (!d) {
        return false;
    }
    /* One by one: all at once, what the caller has just written would be waited for. */
    *d = (struct delivery){.number = ++l->number,
                           .kind = what->kind,
                           .conv = what->conv,
                           .origin = what->origin,
                           .about = what->about,
                           .sent_ms = what->sent_ms};
    d->bytes = what->bytes ? frame_bytes_ref(what->bytes) : NULL;
    d->members = what->members ? member_set_ref(what->members) : NULL;
    d->counter = what->counter ? frame_bytes_ref(what->counter) : NULL;
    d->all = what->all ? member_set_ref(what->all) : NULL;
    d->direct = what->direct ? member_set_ref(what->direct) : NULL;
    CHECK(ring_push(l->ring, item_of(d, ITEM_DELIVERY)));
    l->pushed = true;
    return true;
}

void link_publish(struct shard *s, const struct delivery *what, struct member_set *all)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        struct link_out *l = &s->out[i];
        /*
         * A session that becomes live after this look has not asked its conversations' owners yet:
         * they will tell it in the answer to its resume, since the event is folded.
         */
        if (atomic_load_explicit(&l->peer->nlive, memory_order_relaxed) == 0) {
            continue;
        }
        if (l->behind || !what->bytes || !link_deliver(s, l, what)) {
            link_mark_behind(s, l, what->conv, all);
        }
    }
}

void link_publish_typing(struct shard *s, struct conv_id conv, struct member_set *members,
                         uint64_t user, struct frame_bytes *bytes)
{
    struct delivery what = {
        .kind = DELIVERY_TYPING, .conv = conv, .about = user, .bytes = bytes, .members = members};
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        struct link_out *l = &s->out[i];
        if (atomic_load_explicit(&l->peer->looks.nviews, memory_order_relaxed) == 0) {
            continue;
        }
        /* Not while it is behind: the room goes to what may not be lost. */
        if (l->behind || !link_deliver(s, l, &what)) {
            metrics_inc(s->metrics, METRIC_EPHEMERAL_DROPPED);
        }
    }
}

/* Markers first, then the link is as before. */
static void link_catch_up(struct shard *s, struct link_out *l)
{
    struct delivery marker = {.kind = DELIVERY_BEHIND};
    if (l->behind_all) {
        if (!link_deliver(s, l, &marker)) {
            return;
        }
        l->behind_all = false;
    }
    while (!list_is_empty(&l->conversations)) {
        struct link_behind *b = LIST_ENTRY(l->conversations.next, struct link_behind, node);
        marker.conv = b->conv;
        marker.members = b->members;
        if (!link_deliver(s, l, &marker)) {
            return;
        }
        list_remove(&b->node);
        member_set_unref(b->members);
        free(b);
        l->nbehind--;
    }
    l->behind = false;
}

void link_note(struct shard *s, uint16_t to, const struct note_item *item)
{
    struct link_out *l = s->freeing ? NULL : &s->out[to];
    if (l && l->nnotes == l->cap_notes && l->nnotes < LINK_NOTES_MAX) {
        uint32_t cap = l->cap_notes ? l->cap_notes * 2 : 16;
        struct note_item *notes = realloc(l->notes, cap * sizeof(*notes));
        l->notes = notes ? notes : l->notes;
        l->cap_notes = notes ? cap : l->cap_notes;
    }
    if (!l || l->nnotes == l->cap_notes) {
        metrics_inc(s->metrics, METRIC_PRESENCE_NOTES_LOST);
        circle_unref(item->circle);
        return;
    }
    l->notes[l->nnotes++] = *item;
}

/* Those that wait, as far as there is room. */
static void notes_flush(struct shard *s, struct link_out *l)
{
    uint32_t at = 0;
    while (at < l->nnotes && ring_free_slots(l->ring) > reserved(s)) {
        uint32_t n = MIN(l->nnotes - at, NOTES_PER_ITEM);
        struct notes *k = malloc(sizeof(*k) + n * sizeof(k->items[0]));
        if (!k) {
            break;
        }
        k->n = n;
        memcpy(k->items, l->notes + at, n * sizeof(k->items[0]));
        CHECK(ring_push(l->ring, item_of(k, ITEM_NOTES)));
        l->pushed = true;
        at += n;
    }
    l->nnotes -= at;
    memmove(l->notes, l->notes + at, l->nnotes * sizeof(l->notes[0]));
    if (l->nnotes == 0 && l->cap_notes > NOTES_PER_ITEM) {
        free(l->notes);
        l->notes = NULL;
        l->cap_notes = 0;
    }
}

static void take_notes(struct shard *s, uint16_t from, struct notes *k)
{
    for (uint32_t i = 0; i < k->n; i++) {
        presence_take(s, from, &k->items[i]);
    }
    free(k);
}

void links_flush(struct shard *s)
{
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        struct link_out *l = &s->out[i];
        if (l->behind) {
            link_catch_up(s, l);
        }
        if (l->nnotes > 0) {
            notes_flush(s, l);
        }
        if (l->pushed) {
            l->pushed = false;
            if (i == s->cfg.shard) {
                s->busy = true;
            } else {
                shard_wake(l->peer);
            }
        }
    }
}

/* ---- Receiving ---- */

static void sessions_behind(struct shard *s, const struct member_set *members)
{
    metrics_inc(s->metrics, METRIC_LINK_PULLS);
    if (!members) {
        for (uint32_t i = 0; i < s->conns_high; i++) {
            struct conn *c = conn_at(s, i);
            if (c && (c->flags & CONN_LIVE)) {
                session_mark_slow(s, c);
            }
        }
        return;
    }
    for (uint32_t i = 0; i < members->n; i++) {
        for (struct conn *c = session_of_user(s, members->users[i]); c; c = session_next(s, c)) {
            session_mark_slow(s, c);
        }
    }
}

static void take_delivery(struct shard *s, struct link_in *l, struct delivery *d)
{
    if (d->number != l->number + 1) {
        metrics_inc(s->metrics, METRIC_LINK_GAPS);
        sessions_behind(s, NULL);
    }
    l->number = d->number;
    if (d->kind == DELIVERY_BEHIND) {
        sessions_behind(s, d->members);
        delivery_free(s, d);
    } else if (d->kind == DELIVERY_TYPING) {
        look_take_typing(s, d);
    } else {
        const struct member_set *m = d->members;
        if (m && m->n == 1 && conv_id_eq(d->conv, conv_id_self(m->users[0]))) {
            resumes_own_moved(s, m->users[0]);
        }
        fanout_take(s, d);
    }
}

static void take_completion(struct shard *s, uint16_t from, struct command *cmd)
{
    s->out[from].used--;
    if (!fanout_defer(s, cmd)) {
        struct command_sink *sink = cmd->context;
        sink->on_done(s, sink, cmd);
    }
}

/* A delivery, or what is left of a command that was decided, was last touched a turn ago. */
static void expect_item(const void *item)
{
    const char *p = (const char *)((uintptr_t)item & ~(uintptr_t)ITEM_MASK);
    for (size_t at = 0; p && at < sizeof(struct delivery); at += 64) {
        PREFETCH(p + at);
    }
}

static bool link_receive(struct shard *s, uint16_t from)
{
    struct link_in *l = &s->in[from];
    for (uint32_t i = 0; i < RECEIVE_PER_TURN; i++) {
        if (fanouts_are_full(s)) {
            metrics_inc(s->metrics, METRIC_BOUND_QUEUE);
            return true;
        }
        void *item = ring_pop(l->ring);
        if (!item) {
            return false;
        }
        void *p = (void *)((uintptr_t)item & ~(uintptr_t)ITEM_MASK);
        expect_item(ring_peek(l->ring));
        switch ((uintptr_t)item & ITEM_MASK) {
        case ITEM_DELIVERY:
            take_delivery(s, l, p);
            break;
        case ITEM_NOTES:
            take_notes(s, from, p);
            break;
        case ITEM_REQUEST:
            if (((struct command *)p)->type == COMMAND_HOST) {
                carrier_take(s, p);
            } else {
                engine_submit(s->engine, p);
            }
            break;
        default:
            take_completion(s, from, p);
            break;
        }
    }
    return true;
}

bool links_receive(struct shard *s)
{
    bool more = false;
    for (uint16_t i = 0; i < s->cfg.shards; i++) {
        more = link_receive(s, i) || more;
    }
    return more;
}

bool links_receive_own(struct shard *s)
{
    return link_receive(s, s->cfg.shard);
}
