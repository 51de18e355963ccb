/*
 * Fan-out. A small one is done as it comes, and nothing is allocated but the frame's handle. A
 * large one remembers where it is: a position in the sorted members, or in the connections when
 * those are far fewer. Both stay valid between turns: the member set never changes, and a session
 * that takes a place already passed has become live later, so its resume has the event.
 * A resume in the middle of one thus may see an event twice, in its answer and live, and never not
 * at all; clients pass over what they have by its seq.
 */
#include "gateway/fanout.h"

#include <stdlib.h>

#include "gateway/internal.h"
#include "gateway/session.h"

/* A look-up by user costs about as much as passing over so many connections. */
#define WALK_FACTOR 4U
#define BULK_TURNS  32U /* how many turns of writing may wait before a fan-out does */
/* A further frame for a connection that waits to be written costs an eighth of the first, in whole
 * numbers: one to two people costs nothing. */
#define APPENDS 8U
/* Members whose sessions are remembered: fewer are soon looked up, more take too much memory. */
#define KNOWN_MIN 8U
#define KNOWN_MAX 65536U

struct fanout {
    struct list node;   /* running, or in the chain of the running one */
    struct list chain;  /* of the same conversation, in order */
    struct delivery *d; /* NULL: an answer that waits its turn */
    struct command *cmd;
    struct frame *frame;
    struct frame *short_frame;
    struct lookers *lookers; /* of a large conversation, when it began; NULL: nobody looks */
    uint32_t at;
    uint32_t sent;
    bool large; /* only for those, and those whom it is about, see channel.h */
    bool by_conn;
    bool short_tried;
    bool begun; /* large: whom it is about have it */
};

enum confab_err fanouts_init(struct shard *s)
{
    list_init(&s->fanouts.running);
    idmap_init(&s->fanouts.by_conv, random_u64(s->deps.random));
    return CONFAB_OK;
}

static void fanout_clear(struct shard *s, struct fanout *f)
{
    frame_unref(f->frame);
    frame_unref(f->short_frame);
    lookers_unref(f->lookers);
    delivery_free(s, f->d);
    command_free(f->cmd);
}

void fanouts_deinit(struct shard *s)
{
    struct list *n;
    member_set_unref(s->fanouts.known.members);
    free(s->fanouts.known.first);
    while (s->fanouts.running.next && (n = list_pop_front(&s->fanouts.running)) != NULL) {
        struct fanout *f = LIST_ENTRY(n, struct fanout, node);
        struct list *k;
        while ((k = list_pop_front(&f->chain)) != NULL) {
            fanout_clear(s, LIST_ENTRY(k, struct fanout, node));
            free(LIST_ENTRY(k, struct fanout, node));
        }
        fanout_clear(s, f);
        free(f);
    }
    idmap_deinit(&s->fanouts.by_conv);
}

/* ---- What a turn has room for ---- */

/* Connections that have something to write; it only grows while deliveries are made. */
static uint32_t waiting(const struct shard *s)
{
    return s->touched + s->bulk.n;
}

/* Looked at `steps` members and connections; `before` waited until then. */
static void fanout_count(struct shard *s, uint32_t before, uint32_t steps)
{
    s->fanouts.used += waiting(s) - before + steps / APPENDS;
}

/* ---- One fan-out ---- */

/* The short form is made from the frame where a session wants it: rare, and no burden for the
 * owner. */
static struct frame *short_frame(struct shard *s, struct fanout *f)
{
    if (f->short_tried) {
        return f->short_frame;
    }
    f->short_tried = true;
    struct wire_server_msg msg;
    struct wire_error err;
    scratch_reset(&s->scratch);
    if (wire_parse_server(frame_payload(f->frame), &s->scratch, &msg, &err) ||
        msg.event != WIRE_S_NEW_MESSAGE) {
        return NULL;
    }
    buf_clear(&s->text);
    size_t mark = ws_frame_begin(&s->text, false);
    wire_put_short_message(&s->text, &msg.u.message);
    ws_frame_end(&s->text, mark, WS_TEXT, NULL);
    if (buf_ok(&s->text)) {
        f->short_frame = frame_new(&s->pool, span_of(s->text.data, s->text.len));
    }
    if (f->short_frame) {
        frame_event(f->short_frame);
        f->short_frame->kind = FRAME_LIVE;
    }
    return f->short_frame;
}

static void fanout_one(struct shard *s, struct fanout *f, struct conn *c)
{
    if (!(c->flags & CONN_LIVE) || !conn_is_session(c)) {
        if (c->flags & CONN_SLOW) {
            metrics_inc(s->metrics, METRIC_DELIVERIES_DROPPED);
        }
        return;
    }
    if (f->d->origin != 0 && conn_id(s, c) == f->d->origin) {
        return;
    }
    f->sent++;
    session_deliver(s, c, f->frame);
    if ((c->flags & (CONN_SHORT | CONN_LIVE)) == (CONN_SHORT | CONN_LIVE) &&
        f->d->kind == DELIVERY_EVENT) {
        struct frame *k = short_frame(s, f);
        if (k) {
            session_deliver(s, c, k);
        }
    }
}

static void fanout_user(struct shard *s, struct fanout *f, struct conn *first)
{
    for (struct conn *c = first; c;) {
        struct conn *next = session_next(s, c); /* a delivery may kill it, for want of memory */
        fanout_one(s, f, c);
        c = next;
    }
}

static void fanout_direct(struct shard *s, struct fanout *f, uint64_t user)
{
    struct conn *c = member_set_has(f->d->members, user) ? session_of_user(s, user) : NULL;
    while (c) {
        struct conn *next = session_next(s, c); /* a delivery may kill it, for want of memory */
        if (!look_sees(s, c, f->d->conv)) {
            fanout_one(s, f, c);
        }
        c = next;
    }
}

/* The same of a large conversation's. First whom it is about, who are not counted as steps. */
static bool fanout_step_large(struct shard *s, struct fanout *f, uint32_t budget)
{
    const struct member_set *direct = f->d->direct;
    uint32_t end = f->lookers ? f->lookers->n : 0;
    uint32_t from = f->at;
    uint32_t before = waiting(s);
    if (!f->begun) {
        f->begun = true;
        fanout_direct(s, f, f->d->about);
        for (uint32_t i = 0; direct && i < direct->n; i++) {
            if (direct->users[i] != f->d->about) {
                fanout_direct(s, f, direct->users[i]);
            }
        }
    }
    while (f->at < end && f->at - from < budget) {
        struct conn *c = conn_of_id(s, f->lookers->conns[f->at++]);
        if (c && c->user != 0) {
            fanout_one(s, f, c);
        }
    }
    fanout_count(s, before, f->at - from);
    return f->at >= end;
}

/* Looks up where the sessions are. False: no memory. */
static bool known_fill(struct shard *s, struct fanout_known *k)
{
    uint32_t n = k->members->n;
    if (k->cap < n) {
        uint32_t *first = realloc(k->first, n * sizeof(*first));
        if (!first) {
            return false;
        }
        k->first = first;
        k->cap = n;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct conn *c = session_of_user(s, k->members->users[i]);
        k->first[i] = c ? c->index : SLAB_NONE;
    }
    k->sessions_gen = s->sessions_gen;
    return true;
}

/*
 * The first session of each of the members, SLAB_NONE for those who have none here; NULL: not
 * known. It is from the second delivery to the same members on, which is when it is worth it.
 */
static const uint32_t *known_of(struct shard *s, struct member_set *m)
{
    struct fanout_known *k = &s->fanouts.known;
    if (m->n < KNOWN_MIN || m->n > KNOWN_MAX) {
        return NULL;
    }
    if (k->members != m) {
        member_set_unref(k->members);
        k->members = member_set_ref(m);
        k->sessions_gen = 0;
        return NULL;
    }
    return k->sessions_gen == s->sessions_gen || known_fill(s, k) ? k->first : NULL;
}

/* Up to about `budget` steps; true when it is done. */
static bool fanout_step(struct shard *s, struct fanout *f, uint32_t budget)
{
    if (f->large) {
        return fanout_step_large(s, f, budget);
    }
    struct member_set *m = f->d->members;
    const uint32_t *first = f->by_conn ? NULL : known_of(s, m);
    uint32_t end = f->by_conn ? s->conns_high : m->n;
    uint32_t from = f->at;
    uint32_t sent = f->sent;
    uint32_t before = waiting(s);
    while (f->at < end && (f->at - from) + (f->sent - sent) < budget) {
        if (f->by_conn) {
            struct conn *c = conn_at(s, f->at++);
            if (c && c->user != 0 && member_set_has(m, c->user)) {
                fanout_one(s, f, c);
            }
        } else if (first) {
            /* A delivery may kill one, for want of memory; its place stays until the turn is over.
             */
            fanout_user(s, f, conn_at(s, first[f->at++]));
        } else {
            fanout_user(s, f, session_of_user(s, m->users[f->at++]));
        }
    }
    fanout_count(s, before, (f->at - from) + (f->sent - sent));
    return f->at >= end;
}

static void fanout_observe(struct shard *s, const struct fanout *f)
{
    metrics_add(s->metrics, f->d->kind == DELIVERY_EVENT ? METRIC_DELIVERIES : METRIC_RECEIPTS,
                f->sent);
    if (f->d->kind == DELIVERY_EVENT) {
        metrics_observe(s->metrics, METRIC_H_FANOUT, f->sent);
        /* In steps of a millisecond, the resolution of an event's time; 0 when the clock went back.
         */
        uint64_t ms = s->wall_ms > f->d->sent_ms ? s->wall_ms - f->d->sent_ms : 0;
        metrics_observe(s->metrics, METRIC_H_DELIVERY, ms * 1000000);
    }
}

/* Local users are few: walks them. */
static void fanout_local(struct shard *s, struct fanout *f)
{
    struct u64map_iter it = {0};
    uint64_t users = u64map_len(&s->sessions);
    if (users == 0) {
        return;
    }
    while (u64map_next(&s->sessions, &it)) {
        if (member_set_has(f->d->members, it.key)) {
            /* At most this user's entry goes, when a connection dies for want of memory. */
            fanout_user(s, f, conn_at(s, (uint32_t)*it.value));
        }
    }
}

/* ---- Running ones ---- */

static struct fanout *fanout_new(struct delivery *d, struct command *cmd)
{
    struct fanout *f = calloc(1, sizeof(*f));
    if (f) {
        list_init(&f->node);
        list_init(&f->chain);
        f->d = d;
        f->cmd = cmd;
    }
    return f;
}

static void members_behind(struct shard *s, const struct member_set *members)
{
    for (uint32_t i = 0; i < members->n; i++) {
        for (struct conn *c = session_of_user(s, members->users[i]); c; c = session_next(s, c)) {
            session_mark_slow(s, c);
        }
    }
}

/* The next of the chain takes the place of the one that is done. */
static void fanout_done(struct shard *s, struct fanout *f)
{
    struct list *n;
    struct conv_id conv = f->d->conv;
    fanout_observe(s, f);
    list_remove(&f->node);
    s->fanouts.nrunning--;
    idmap_del(&s->fanouts.by_conv, conv);
    while ((n = list_pop_front(&f->chain)) != NULL) {
        struct fanout *next = LIST_ENTRY(n, struct fanout, node);
        s->fanouts.nwaiting--;
        if (next->cmd) {
            struct command_sink *sink = next->cmd->context;
            sink->on_done(s, sink, next->cmd);
            free(next);
            continue;
        }
        if (idmap_put(&s->fanouts.by_conv, conv, next)) {
            members_behind(s, next->d->members);
            fanout_clear(s, next);
            free(next);
            continue;
        }
        while ((n = list_pop_front(&f->chain)) != NULL) {
            list_push_back(&next->chain, n);
        }
        list_push_back(&s->fanouts.running, &next->node);
        s->fanouts.nrunning++;
    }
    fanout_clear(s, f);
    free(f);
}

bool fanouts_are_full(const struct shard *s)
{
    return s->fanouts.nrunning + s->fanouts.nwaiting >= s->cfg.fanouts_max;
}

bool fanouts_are_many(const struct shard *s)
{
    return s->fanouts.nrunning + s->fanouts.nwaiting >= s->cfg.fanouts_max / 2;
}

/* Runs in chunks what `what` says, which is taken over. */
static void fanout_start(struct shard *s, const struct fanout *what)
{
    struct delivery *d = what->d;
    struct fanout *f = fanout_new(d, NULL);
    struct fanout *running = idmap_get(&s->fanouts.by_conv, d->conv);
    if (!f || (!running && idmap_put(&s->fanouts.by_conv, d->conv, f))) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        members_behind(s, d->members);
        frame_unref(what->frame);
        lookers_unref(what->lookers);
        delivery_free(s, d);
        free(f);
        return;
    }
    f->frame = what->frame;
    f->lookers = what->lookers;
    f->large = what->large;
    f->by_conn = d->members->n / WALK_FACTOR > s->conns_high;
    if (running) {
        list_push_back(&running->chain, &f->node);
        s->fanouts.nwaiting++;
    } else {
        list_push_back(&s->fanouts.running, &f->node);
        s->fanouts.nrunning++;
    }
}

void fanout_take(struct shard *s, struct delivery *d)
{
    uint32_t chunk = s->cfg.fanout_chunk;
    struct frame *frame = delivery_frame(s, d);
    frame->kind = FRAME_LIVE;
    struct fanout f = {.d = d, .frame = frame};
    f.large = d->counter && !look_lookers(s, d->conv, d->members, &f.lookers) && channel_take(s, d);
    bool few = (f.large ? (f.lookers ? f.lookers->n : 0) : d->members->n) <= chunk;
    bool small = few || u64map_len(&s->sessions) <= chunk;
    if (!small || s->fanouts.used >= s->cfg.fanout_turn / 2 ||
        idmap_get(&s->fanouts.by_conv, d->conv)) {
        fanout_start(s, &f);
        return;
    }
    if (!f.large && u64map_len(&s->sessions) < d->members->n / WALK_FACTOR) {
        uint32_t before = waiting(s);
        fanout_local(s, &f);
        fanout_count(s, before, f.sent + (uint32_t)u64map_len(&s->sessions));
    } else {
        (void)fanout_step(s, &f, UINT32_MAX);
    }
    fanout_observe(s, &f);
    fanout_clear(s, &f);
}

bool fanout_defer(struct shard *s, struct command *cmd)
{
    struct fanout *running;
    if (s->fanouts.nrunning == 0 || cmd->origin == 0 || cmd->err ||
        (running = idmap_get(&s->fanouts.by_conv, cmd->ret_conv)) == NULL) {
        return false;
    }
    struct fanout *f = fanout_new(NULL, cmd);
    if (!f) {
        return false; /* out of order, which the session can tell from the seq */
    }
    list_push_back(&running->chain, &f->node);
    s->fanouts.nwaiting++;
    return true;
}

bool fanouts_run(struct shard *s)
{
    uint32_t chunks = 0;
    s->spreading = true;
    /* No more than can be written soon: what waits before is in one place, not in each queue. */
    while (s->fanouts.nrunning > 0 && s->fanouts.used < s->cfg.fanout_turn &&
           s->bulk.n < BULK_TURNS * s->cfg.writes_turn) {
        struct fanout *f = LIST_ENTRY(s->fanouts.running.next, struct fanout, node);
        bool done = fanout_step(s, f, s->cfg.fanout_chunk);
        s->fanouts.used++; /* also an empty one is a step */
        chunks++;
        if (done) {
            fanout_done(s, f);
        } else {
            list_remove(&f->node);
            list_push_back(&s->fanouts.running, &f->node);
        }
    }
    s->spreading = false;
    if (chunks > 0) {
        metrics_add(s->metrics, METRIC_FANOUT_CHUNKS, chunks);
        metrics_observe(s->metrics, METRIC_H_FANOUT_TURN, chunks);
    }
    if (s->fanouts.nrunning > 0) {
        metrics_inc(s->metrics, METRIC_FANOUT_YIELDS);
    }
    return s->fanouts.nrunning > 0;
}
