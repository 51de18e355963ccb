/* Counters of large conversations: what the owner adds to an event, and the rounds of a shard. */
#include "gateway/channel.h"

#include <stdlib.h>

#include "core/conv.h"
#include "gateway/internal.h"
#include "gateway/session.h"

/* Passing over a connection or a member costs such a part of what a counter does. */
#define COUNTER_PARTS 16U
/* A look-up by user costs about as much as passing over so many connections. */
#define WALK_FACTOR 4U

struct channel {
    struct list node;
    struct conv_id conv;
    /* What is to be told: */
    struct frame_bytes *latest;
    struct member_set *members;
    uint64_t next_ms; /* no round begins earlier */
    bool moved;       /* since the last round began */
    /* The round under way; frame NULL: none. */
    struct frame *frame;
    struct member_set *told;
    uint32_t at;
    bool by_conn;
};

void channels_init(struct shard *s)
{
    list_init(&s->channels.all);
    idmap_init(&s->channels.by_conv, random_u64(s->deps.random));
    s->channels.next_ms = UINT64_MAX;
}

static void round_end(struct channel *ch)
{
    frame_unref(ch->frame);
    member_set_unref(ch->told);
    ch->frame = NULL;
    ch->told = NULL;
}

static void channel_free(struct shard *s, struct channel *ch)
{
    round_end(ch);
    frame_bytes_unref(&s->pool, ch->latest);
    member_set_unref(ch->members);
    idmap_del(&s->channels.by_conv, ch->conv);
    list_remove(&ch->node);
    free(ch);
}

void channels_deinit(struct shard *s)
{
    while (s->channels.all.next && !list_is_empty(&s->channels.all)) {
        channel_free(s, LIST_ENTRY(s->channels.all.next, struct channel, node));
    }
    idmap_deinit(&s->channels.by_conv);
}

/* ---- The owner ---- */

bool channel_is_large(const struct shard *s, const struct publication *pub)
{
    /* What shows in everybody's list is told to everybody; it is rare. */
    bool shows = pub->ev.kind == EVENT_RENAME || pub->ev.kind == EVENT_SETTINGS;
    return s->cfg.large_members > 0 && pub->all && pub->all->n > s->cfg.large_members &&
           pub->conv_kind != CONV_SELF && !shows;
}

/* Whom the event is about, beside who acts. Not all of them need to be members. */
static struct member_set *direct_set(const struct event *ev)
{
    uint64_t user;
    uint8_t role;
    uint32_t n = ev->user != 0;
    struct reader members = reader_of(ev->members.p, ev->members.n);
    struct reader mentions = reader_of(ev->mentions.p, ev->mentions.n);
    while (event_members_next(&members, &user, &role)) {
        n++;
    }
    while (event_mentions_next(&mentions, &user)) {
        n++;
    }
    struct member_set *set =
        n > 0 ? malloc(sizeof(*set) + (size_t)n * sizeof(set->users[0])) : NULL;
    if (!set) {
        return NULL; /* they are told by a counter, as others are */
    }
    atomic_init(&set->refs, 1);
    set->n = 0;
    if (ev->user != 0) {
        set->users[set->n++] = ev->user;
    }
    members = reader_of(ev->members.p, ev->members.n);
    while (event_members_next(&members, &user, &role)) {
        set->users[set->n++] = user;
    }
    mentions = reader_of(ev->mentions.p, ev->mentions.n);
    while (event_mentions_next(&mentions, &user)) {
        set->users[set->n++] = user;
    }
    return set;
}

/*
 * A preview only of what all who get the counter may see: the message itself, or its edit while
 * nobody gets that in another form. After other events the last message may be older than a
 * member's joining, so it is only named; not even that when it was deleted, or edited for some.
 */
static void counter_of(const struct publication *pub, struct wire_counter *ret)
{
    const struct conv *c = pub->state;
    const struct event *ev = &pub->ev;
    bool changed =
        (ev->kind == EVENT_EDIT || ev->kind == EVENT_DELETE) && ev->target_seq == c->last_seq;
    bool shown = ev->kind == EVENT_MESSAGE ||
                 (changed && ev->kind == EVENT_EDIT && pub->members == pub->all);
    *ret = (struct wire_counter){
        .conv = pub->conv,
        .seq = ev->seq,
        .event_id = ev->id,
        .sent_at_ms = event_time_ms(ev),
        .messages = c->ord,
        .members = c->nactive,
        .last_message_id = changed && !shown ? 0 : c->last_id,
    };
    if (shown) {
        ret->preview = (struct wire_preview){
            .message_id = c->last_id,
            .from = c->last_from,
            .content = span_of(c->preview.data, c->preview.len),
            .type = span_str(render_type_text(c->last_type)),
            .sent_at_ms = message_id_time_ms(c->last_id),
        };
    }
}

void channel_fill(struct shard *s, struct delivery *d, const struct publication *pub)
{
    struct wire_counter m;
    counter_of(pub, &m);
    buf_clear(&s->text);
    size_t mark = ws_frame_begin(&s->text, false);
    wire_put_counter(&s->text, &m);
    ws_frame_end(&s->text, mark, WS_TEXT, NULL);
    struct frame_bytes *bytes =
        buf_ok(&s->text) ? frame_bytes_new(&s->pool, span_of(s->text.data, s->text.len)) : NULL;
    if (!bytes) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return;
    }
    d->counter = bytes;
    d->about = pub->ev.actor;
    d->all = member_set_ref(pub->all);
    d->direct = direct_set(&pub->ev);
}

void channel_unfill(struct shard *s, struct delivery *d)
{
    frame_bytes_unref(&s->pool, d->counter);
    member_set_unref(d->all);
    member_set_unref(d->direct);
}

/* ---- A shard with sessions ---- */

bool channel_take(struct shard *s, const struct delivery *d)
{
    struct channel *ch = idmap_get(&s->channels.by_conv, d->conv);
    if (!ch) {
        ch = idmap_len(&s->channels.by_conv) < CHANNELS_MAX ? calloc(1, sizeof(*ch)) : NULL;
        if (!ch || idmap_put(&s->channels.by_conv, d->conv, ch)) {
            metrics_inc(s->metrics, METRIC_CHANNELS_FULL);
            free(ch);
            return false;
        }
        ch->conv = d->conv;
        list_push_back(&s->channels.all, &ch->node);
    }
    frame_bytes_unref(&s->pool, ch->latest);
    member_set_unref(ch->members);
    ch->latest = frame_bytes_ref(d->counter);
    ch->members = member_set_ref(d->all);
    ch->moved = true;
    metrics_inc(s->metrics, METRIC_LARGE_EVENTS);
    if (!ch->frame) {
        s->channels.next_ms = MIN(s->channels.next_ms, MAX(ch->next_ms, s->now_ms));
    }
    return true;
}

static struct frame *counter_frame(struct shard *s, const struct channel *ch)
{
    struct frame *f = frame_new(&s->pool, span_of(ch->latest->data, ch->latest->len));
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        return NULL;
    }
    frame_event(f);
    /* In the log, as what it tells of: a session that has no room for it is told to pull. */
    f->kind = FRAME_LIVE;
    return f;
}

void channel_looked(struct shard *s, struct conn *c, struct conv_id conv)
{
    const struct channel *ch = idmap_get(&s->channels.by_conv, conv);
    if (!ch || !(c->flags & CONN_LIVE) || !conn_is_session(c) ||
        !member_set_has(ch->members, c->user)) {
        return;
    }
    struct frame *f = counter_frame(s, ch);
    if (!f) {
        session_mark_slow(s, c);
        return;
    }
    metrics_inc(s->metrics, METRIC_COUNTERS);
    session_deliver(s, c, f);
    frame_unref(f);
}

/* ---- Rounds ---- */

static bool round_begin(struct shard *s, struct channel *ch)
{
    ch->frame = counter_frame(s, ch);
    ch->next_ms = s->now_ms + CHANNEL_EVERY_MS;
    if (!ch->frame) {
        return false; /* it has moved still: tried again then */
    }
    ch->told = member_set_ref(ch->members);
    ch->at = 0;
    ch->by_conn = ch->told->n / WALK_FACTOR > s->conns_high;
    ch->moved = false;
    metrics_inc(s->metrics, METRIC_COUNTER_ROUNDS);
    return true;
}

static uint32_t round_one(struct shard *s, const struct channel *ch, struct conn *c)
{
    if (!conn_is_session(c) || !(c->flags & CONN_LIVE) || look_sees(s, c, ch->conv)) {
        return 1;
    }
    metrics_inc(s->metrics, METRIC_COUNTERS);
    session_deliver(s, c, ch->frame);
    return COUNTER_PARTS;
}

/* True when it is done. */
static bool round_step(struct shard *s, struct channel *ch)
{
    uint32_t end = ch->by_conn ? s->conns_high : ch->told->n;
    int64_t used = 0;
    while (ch->at < end && used < s->channels.budget) {
        used++;
        if (ch->by_conn) {
            struct conn *c = conn_at(s, ch->at++);
            if (c && c->user != 0 && member_set_has(ch->told, c->user)) {
                used += round_one(s, ch, c);
            }
            continue;
        }
        for (struct conn *c = session_of_user(s, ch->told->users[ch->at++]); c;) {
            struct conn *next = session_next(s, c); /* a delivery may kill it */
            used += round_one(s, ch, c);
            c = next;
        }
    }
    s->channels.budget -= used;
    return ch->at >= end;
}

/* What may be done in the time since the last turn, saved up for no longer than two steps. */
static void budget_grow(struct shard *s)
{
    struct channels *k = &s->channels;
    uint64_t rate = (uint64_t)s->cfg.counters_second * COUNTER_PARTS;
    uint64_t cap = MAX(rate * 2 * CHANNELS_STEP_MS / 1000, COUNTER_PARTS);
    uint64_t passed = MIN(s->now_ms - MIN(k->last_ms, s->now_ms), 2 * CHANNELS_STEP_MS);
    k->last_ms = s->now_ms;
    k->budget = MIN(k->budget + (int64_t)MAX(rate * passed / 1000, 1), (int64_t)cap);
}

/* When it wants to be looked at again. */
static uint64_t channel_serve(struct shard *s, struct channel *ch)
{
    if (!ch->frame && s->now_ms < ch->next_ms) {
        return ch->next_ms;
    }
    if (!ch->frame && !ch->moved) {
        channel_free(s, ch);
        return UINT64_MAX;
    }
    if (!ch->frame && !round_begin(s, ch)) {
        return ch->next_ms;
    }
    if (!round_step(s, ch)) {
        return s->now_ms + CHANNELS_STEP_MS;
    }
    round_end(ch);
    return ch->next_ms;
}

void channels_turn(struct shard *s)
{
    struct channels *k = &s->channels;
    if (LIKELY(s->now_ms < k->next_ms) || k->next_ms == UINT64_MAX) {
        return;
    }
    budget_grow(s);
    uint64_t next = UINT64_MAX;
    s->spreading = true;
    for (uint64_t n = idmap_len(&k->by_conv); n > 0; n--) {
        struct channel *ch = LIST_ENTRY(k->all.next, struct channel, node);
        if (k->budget <= 0 && ch->frame) {
            next = MIN(next, s->now_ms + CHANNELS_STEP_MS);
            break; /* it is the next one's first */
        }
        list_remove(&ch->node);
        list_push_back(&k->all, &ch->node);
        uint64_t again = channel_serve(s, ch);
        next = MIN(next, again);
    }
    s->spreading = false;
    k->next_ms = next;
}

uint64_t channels_next_ms(const struct shard *s)
{
    return s->channels.next_ms;
}
