/*
 * Output queues of connections: frames by reference, in chunks of a shared pool that are there only
 * while something waits. Each connection with output gets one writev a turn.
 *
 * A session that takes arrays gets the events which wait when a turn begins to write as one:
 *
 *     frames in the queue     [head a] [head b] [head c]
 *     on the wire             head '[' a ',' b ',' c ']'
 *
 * With compressed events among them the array is compressed as well, without compressing anything:
 * deflated messages of ours refer to nothing outside of themselves, and end in the header of a
 * stored block whose length is left out. So a length and a comma may follow, in that block, and
 * then the next message (RFC 1951, 3.2.4; RFC 7692, 7.2.1):
 *
 *     head  00 01 00 fe ff '['  a  01 00 fe ff ','  00 L L ~L ~L b ','  c  01 00 fe ff ']' 00
 *           stored, 1 byte         1 byte           b was not compressed: stored, with its comma
 *
 * Nothing is copied or put into the queue for that. The connection remembers how many frames from
 * the head of its queue belong to the array under way; what each of them becomes on the wire (its
 * parts) follows from that and the queue, so it is worked out anew when a write has ended within.
 */
#include "gateway/conn.h"

#include <stdlib.h>

#include "gateway/carrier.h"
#include "gateway/internal.h"
#include "gateway/pipe.h"
#include "gateway/session.h"

#define CHUNK_FRAMES 14U
#define CHUNKS_MAX   (1U << 22)
#define WRITE_IOVECS 128
#define PARTS_MAX    3 /* of one frame: what is before its bytes, they, what is behind them */
/* What is before the bytes of one frame: header, bracket, the header of a stored block. */
#define GLUE_MAX    (WS_HEADER_MAX + 6 + STORED_HEAD)
#define STORED_HEAD 5
#define STORED_MAX  65535U

struct chunk {
    uint32_t next;
    uint16_t first; /* frames [first, end) are queued */
    uint16_t end;
    struct frame *frames[CHUNK_FRAMES];
};

/* A place in the queue of a connection. */
struct place {
    uint32_t chunk;
    uint16_t at;
};

/* What a frame at the head of the queue is on the wire. */
struct parts {
    struct span at[PARTS_MAX];
    int n;
    size_t bytes;
};

void conns_output_init(struct shard *s)
{
    slab_init(&s->chunks, sizeof(struct chunk), CHUNKS_MAX);
}

/* ---- Whose turn it is ---- */

void conn_touch_bulk(struct shard *s, struct conn *c)
{
    if (c->flags & (CONN_DIRTY | CONN_BLOCKED | CONN_BULK)) {
        return;
    }
    if (conn_ring_push(&s->bulk, c->index)) {
        c->flags |= CONN_BULK;
    } else {
        c->flags |= CONN_DIRTY;
        c->next_dirty = s->dirty;
        s->dirty = c->index;
    }
}

void conn_touch(struct shard *s, struct conn *c)
{
    if (s->spreading || s->touched >= s->cfg.writes_turn) {
        conn_touch_bulk(s, c);
    } else if (!(c->flags & (CONN_DIRTY | CONN_BLOCKED))) {
        c->flags |= CONN_DIRTY;
        c->next_dirty = s->dirty;
        s->dirty = c->index;
        s->touched++;
    }
}

/* ---- The queue ---- */

bool conn_push(struct shard *s, struct conn *c, struct frame *f)
{
    if (c->state == CONN_DEAD) {
        return false;
    }
    if (f->len == 0) {
        return true;
    }
    if (f->head > 0 && (c->wire & WIRE_WINDOW)) {
        f = pack_frame(s, c, f);
    }
    struct chunk *k = c->out_tail == SLAB_NONE ? NULL : slab_get(&s->chunks, c->out_tail);
    if (!k || k->end == CHUNK_FRAMES) {
        uint32_t index;
        if (slab_alloc(&s->chunks, &index)) {
            metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
            conn_kill(s, c);
            return false;
        }
        if (k) {
            k->next = index;
        } else {
            c->out_head = index;
        }
        c->out_tail = index;
        k = slab_get(&s->chunks, index);
        k->next = SLAB_NONE;
        s->output_memory += sizeof(*k);
    }
    k->frames[k->end++] = frame_ref(f);
    if (f->queued++ == 0) {
        s->output_memory += frame_memory(f);
    }
    c->out_frames++;
    c->out_bytes += f->len;
    s->queued_bytes += f->len;
    if (c->out_bytes > s->cfg.queue_bytes_max || c->out_frames > s->cfg.queue_frames_max) {
        /* Answers may exceed the bound by what was asked so far; nothing more is asked until then.
         */
        if (!(c->holds & HOLD_OUTPUT)) {
            metrics_inc(s->metrics, METRIC_BOUND_OUTPUT);
            conn_hold(s, c, HOLD_OUTPUT);
        }
    }
    conn_touch(s, c);
    return true;
}

bool conn_push_bytes(struct shard *s, struct conn *c, struct span bytes)
{
    struct frame *f = frame_new(&s->pool, bytes);
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    bool ok = conn_push(s, c, f);
    frame_unref(f);
    return ok;
}

/* ---- Arrays ---- */

static struct place queue_head(struct shard *s, const struct conn *c)
{
    struct place p = {.chunk = c->out_head};
    if (p.chunk != SLAB_NONE) {
        p.at = ((struct chunk *)slab_get(&s->chunks, p.chunk))->first;
    }
    return p;
}

/* NULL at the end. */
static struct frame *queue_next(struct shard *s, struct place *p)
{
    while (p->chunk != SLAB_NONE) {
        const struct chunk *k = slab_get(&s->chunks, p->chunk);
        if (p->at < k->end) {
            return k->frames[p->at++];
        }
        p->chunk = k->next;
        p->at = 0;
    }
    return NULL;
}

/* Makes an array of the events at the head of the queue when there are several. */
static void array_begin(struct shard *s, struct conn *c)
{
    struct place p = queue_head(s, c);
    struct frame *f;
    uint32_t n = 0;
    size_t bytes = 1; /* each event brings a comma or the last bracket */
    size_t max = MIN(s->cfg.frame_bytes_max, STORED_MAX);
    uint8_t wire = WIRE_ARRAY_FIRST;
    while (n < UINT16_MAX && (f = queue_next(s, &p)) != NULL && f->head > 0) {
        bytes += f->plain_len + 1;
        if (bytes > max) {
            break;
        }
        wire |= f->deflated ? WIRE_ARRAY_DEFLATED : 0;
        n++;
    }
    c->wire &= (uint8_t)~WIRE_ARRAY_DEFLATED;
    if (n > 1) {
        c->array_left = (uint16_t)n;
        c->wire |= wire;
        metrics_inc(s->metrics, METRIC_WS_ARRAYS);
        metrics_add(s->metrics, METRIC_WS_ARRAY_EVENTS, n);
    }
}

/* What stands behind an event in its array. */
static struct span array_end(const struct conn *c, const struct frame *f, bool last)
{
    static const uint8_t comma[] = {1, 0, 0xfe, 0xff, ','};
    static const uint8_t bracket[] = {1, 0, 0xfe, 0xff, ']', 0};
    if (f->deflated) {
        return last ? span_of(bracket, sizeof(bracket)) : span_of(comma, sizeof(comma));
    }
    if (c->wire & WIRE_ARRAY_DEFLATED) {
        return last ? span_of(bracket + 4, 2) : span_of(comma + 4, 1);
    }
    return last ? span_str("]") : span_str(",");
}

static size_t stored_head(uint8_t *out, size_t n)
{
    out[0] = 0;
    out[1] = (uint8_t)n;
    out[2] = (uint8_t)(n >> 8);
    out[3] = (uint8_t)~out[1];
    out[4] = (uint8_t)~out[2];
    return STORED_HEAD;
}

/* Is it to be wrapped as a stored block? */
static bool is_stored(const struct conn *c, const struct frame *f)
{
    return (c->wire & WIRE_ARRAY_DEFLATED) && !f->deflated;
}

/* Header and bracket of the array whose first frame is at the head of the queue. */
static size_t array_head(struct shard *s, const struct conn *c, uint8_t out[GLUE_MAX])
{
    struct place p = queue_head(s, c);
    bool deflated = (c->wire & WIRE_ARRAY_DEFLATED) != 0;
    size_t bytes = deflated ? STORED_HEAD + 1 : 1;
    for (uint32_t i = 0; i < c->array_left; i++) {
        const struct frame *f = queue_next(s, &p);
        bytes += frame_payload(f).n + array_end(c, f, i + 1 == c->array_left).n +
                 (is_stored(c, f) ? STORED_HEAD : 0);
    }
    size_t n = ws_header(out, WS_TEXT, true, bytes, NULL);
    if (deflated) {
        ws_header_deflated(out);
        n += stored_head(out + n, 1);
    }
    out[n] = '[';
    return n + 1;
}

static void parts_add(struct parts *p, struct span bytes)
{
    p->at[p->n++] = bytes;
    p->bytes += bytes.n;
}

/* `i`: which of the array under way it is. `glue` is written where needed, and used by `ret`. */
static void parts_of(struct shard *s, const struct conn *c, const struct frame *f, uint32_t i,
                     uint8_t glue[GLUE_MAX], struct parts *ret)
{
    *ret = (struct parts){.n = 0};
    if (c->array_left == 0) {
        parts_add(ret, span_of(f->data, f->len));
        return;
    }
    size_t n = 0;
    if (i == 0 && (c->wire & WIRE_ARRAY_FIRST)) {
        n = array_head(s, c, glue);
    }
    if (is_stored(c, f)) {
        n += stored_head(glue + n, (size_t)f->plain_len + 1);
    }
    if (n > 0) {
        parts_add(ret, span_of(glue, n));
    }
    parts_add(ret, frame_payload(f));
    parts_add(ret, array_end(c, f, i + 1 == c->array_left));
}

/* ---- Writing ---- */

/* A frame leaves a queue. */
static void unqueue(struct shard *s, struct frame *f)
{
    DCHECK(f->queued > 0);
    if (--f->queued == 0) {
        s->output_memory -= frame_memory(f);
    }
    frame_unref(f);
}

static void chunk_free(struct shard *s, uint32_t at)
{
    s->output_memory -= sizeof(struct chunk);
    slab_free(&s->chunks, at);
}

/* Bytes count as queued until as many were written, however many a frame becomes on the wire. */
static void uncount(struct shard *s, struct conn *c, size_t n)
{
    s->queued_bytes -= n;
    c->out_bytes -= (uint32_t)n;
}

static void pop_frame(struct shard *s, struct conn *c)
{
    struct chunk *k = slab_get(&s->chunks, c->out_head);
    unqueue(s, k->frames[k->first++]);
    c->out_frames--;
    c->out_offset = 0;
    if (k->first == k->end) {
        uint32_t at = c->out_head;
        c->out_head = k->next;
        chunk_free(s, at);
    }
    if (c->out_head == SLAB_NONE) {
        c->out_tail = SLAB_NONE;
    }
}

/* conn_pop without an array under way: frames are on the wire as they are. */
static void pop_plain(struct shard *s, struct conn *c, size_t n)
{
    uncount(s, c, n);
    while (c->out_head != SLAB_NONE) {
        struct chunk *k = slab_get(&s->chunks, c->out_head);
        while (k->first < k->end) {
            size_t left = k->frames[k->first]->len - c->out_offset;
            if (n < left) {
                c->out_offset += (uint32_t)n;
                return;
            }
            n -= left;
            c->out_offset = 0;
            c->out_frames--;
            unqueue(s, k->frames[k->first++]);
        }
        uint32_t at = c->out_head;
        c->out_head = k->next;
        chunk_free(s, at);
    }
    c->out_tail = SLAB_NONE;
}

/* Forgets n bytes at the head of the queue, and the frames that end with them. */
static void conn_pop(struct shard *s, struct conn *c, size_t n)
{
    uint8_t glue[GLUE_MAX];
    if (c->array_left == 0) {
        pop_plain(s, c, n);
        return;
    }
    while (c->out_head != SLAB_NONE) {
        struct place p = queue_head(s, c);
        const struct frame *f = queue_next(s, &p);
        struct parts parts;
        parts_of(s, c, f, 0, glue, &parts);
        size_t before = MIN(c->out_offset, f->len);
        size_t left = parts.bytes - c->out_offset;
        if (n < left) {
            c->out_offset += (uint32_t)n;
            uncount(s, c, MIN(c->out_offset, f->len) - before);
            return;
        }
        n -= left;
        uncount(s, c, f->len - before);
        pop_frame(s, c);
        if (c->array_left > 0) {
            c->array_left--;
            c->wire &= (uint8_t)~WIRE_ARRAY_FIRST;
        }
    }
}

/* There is room again for the answers of what its peer sends. */
static void conn_roomy(struct shard *s, struct conn *c)
{
    if ((c->holds & HOLD_OUTPUT) && c->out_bytes <= s->cfg.queue_bytes_max / 2 &&
        c->out_frames <= s->cfg.queue_frames_max) {
        conn_release(s, c, HOLD_OUTPUT);
    }
}

uint32_t conn_output_peek(struct shard *s, const struct conn *c, uint32_t at, uint32_t max,
                          struct frame **ret)
{
    struct place p = queue_head(s, c);
    struct frame *f;
    uint32_t n = 0;
    for (uint32_t i = 0; n < max && (f = queue_next(s, &p)) != NULL; i++) {
        if (i >= at) {
            ret[n++] = f;
        }
    }
    return n;
}

void conn_output_forget(struct shard *s, struct conn *c, uint32_t n)
{
    for (; n > 0 && c->out_head != SLAB_NONE; n--) {
        struct place p = queue_head(s, c);
        uncount(s, c, queue_next(s, &p)->len);
        pop_frame(s, c);
    }
    conn_roomy(s, c);
}

/* Frames as they are. */
static int gather_plain(struct shard *s, const struct conn *c, struct iovec iov[WRITE_IOVECS])
{
    int n = 0;
    size_t skip = c->out_offset;
    for (uint32_t at = c->out_head; at != SLAB_NONE && n < WRITE_IOVECS;) {
        const struct chunk *k = slab_get(&s->chunks, at);
        for (uint32_t i = k->first; i < k->end && n < WRITE_IOVECS; i++) {
            const struct frame *f = k->frames[i];
            iov[n].iov_base = (void *)(uintptr_t)(f->data + skip);
            iov[n++].iov_len = f->len - skip;
            skip = 0;
        }
        at = k->next;
    }
    return n;
}

/* Up to the end of an array, if one is under way: what follows is for the next turn. */
static int conn_gather(struct shard *s, const struct conn *c, struct iovec iov[WRITE_IOVECS],
                       uint8_t glue[WRITE_IOVECS][GLUE_MAX])
{
    int n = 0;
    size_t skip = c->out_offset;
    struct place p = queue_head(s, c);
    const struct frame *f;
    for (uint32_t i = 0; n <= WRITE_IOVECS - PARTS_MAX && (f = queue_next(s, &p)) != NULL; i++) {
        struct parts parts;
        if (i > 0 && i == c->array_left) {
            break;
        }
        parts_of(s, c, f, i, glue[i], &parts);
        for (int k = 0; k < parts.n; k++) {
            size_t drop = MIN(skip, parts.at[k].n);
            skip -= drop;
            if (drop < parts.at[k].n) {
                iov[n].iov_base = (void *)(uintptr_t)(parts.at[k].p + drop);
                iov[n++].iov_len = parts.at[k].n - drop;
            }
        }
    }
    return n;
}

/* Everything queued is written. */
static void conn_drained(struct shard *s, struct conn *c)
{
    if (c->flags & CONN_FINISH) {
        if (c->flags & CONN_PEER_DONE) {
            conn_kill(s, c);
            return;
        }
        /* Closing now could take the answer away from a peer that is still sending. */
        s->deps.net->ops->shutdown_write(s->deps.net, c->handle);
        conn_arm(s, c, conn_linger_ms(s));
        return;
    }
    if (c->state == CONN_WS) {
        session_drained(s, c);
    } else {
        conn_settle(s, c);
    }
}

static void conn_flush(struct shard *s, struct conn *c)
{
    struct iovec iov[WRITE_IOVECS];
    uint8_t glue[WRITE_IOVECS][GLUE_MAX];
    if ((c->wire & WIRE_BATCH) && c->array_left == 0 && c->out_offset == 0 && c->out_frames > 1) {
        array_begin(s, c);
    }
    int niov = c->array_left > 0 ? conn_gather(s, c, iov, glue) : gather_plain(s, c, iov);
    if (niov == 0) {
        conn_drained(s, c);
        return;
    }
    size_t n = 0;
    enum confab_err err = s->deps.net->ops->writev(s->deps.net, c->handle, iov, niov, &n);
    metrics_inc(s->metrics, METRIC_WRITES);
    if (err == CONFAB_AGAIN) {
        c->flags |= CONN_BLOCKED;
        c->blocked_s = (uint32_t)(s->now_ms / 1000);
        return;
    }
    if (err) {
        conn_kill(s, c);
        return;
    }
    metrics_add(s->metrics, METRIC_BYTES_OUT, n);
    if (c->state != CONN_WS) {
        c->seen_s = (uint32_t)(s->now_ms / 1000); /* taking an answer is a sign of life */
    }
    conn_pop(s, c, n);
    conn_roomy(s, c);
    if (conn_is_pipe(c)) {
        pipe_drained(s, c);
    }
    if (c->out_head == SLAB_NONE) {
        conn_drained(s, c);
    } else {
        /* More than one call takes, or a short write: it goes on in the next turn. */
        conn_touch(s, c);
    }
}

/* False: there was nothing to be done. */
static bool flush(struct shard *s, struct conn *c)
{
    if (c->state == CONN_DEAD || (c->flags & CONN_BLOCKED)) {
        return false;
    }
    if (c->state == CONN_CARRIED) {
        carrier_flush(s, c);
    } else {
        conn_flush(s, c);
    }
    return true;
}

static void write_bulk(struct shard *s, uint32_t writes)
{
    for (uint32_t n = s->bulk.n; n > 0 && writes > 0; n--) {
        struct conn *c = slab_get(&s->conns, conn_ring_pop(&s->bulk));
        c->flags &= (uint16_t)~CONN_BULK;
        if (flush(s, c)) {
            writes--;
        }
    }
}

uint32_t conns_write_touched(struct shard *s)
{
    uint32_t at = s->dirty;
    uint32_t writes = 0;
    s->dirty = SLAB_NONE;
    s->spreading = true; /* who goes on after a short write does so behind the others */
    while (at != SLAB_NONE) {
        struct conn *c = slab_get(&s->conns, at);
        at = c->next_dirty;
        c->flags &= (uint16_t)~CONN_DIRTY;
        if (flush(s, c)) {
            writes++;
        }
    }
    s->spreading = false;
    s->touched = 0;
    return writes;
}

bool conns_write(struct shard *s)
{
    uint32_t writes = conns_write_touched(s);
    s->spreading = true;
    write_bulk(s, s->cfg.writes_turn - MIN(writes, s->cfg.writes_turn / 4 * 3));
    s->spreading = false;
    metrics_gauge_set(s->metrics, METRIC_OUTPUT_BYTES, (int64_t)(s->queued_bytes - s->kept_bytes));
    metrics_gauge_set(s->metrics, METRIC_CARRIED_KEPT, (int64_t)s->kept_bytes);
    metrics_gauge_set(s->metrics, METRIC_OUTPUT_MEMORY, (int64_t)s->output_memory);
    return s->dirty != SLAB_NONE || s->bulk.n > 0;
}

/* Gives back the chunks behind the one that is now the last. */
static void queue_cut(struct shard *s, struct conn *c, uint32_t last)
{
    struct chunk *k = slab_get(&s->chunks, last);
    uint32_t at = k->next;
    k->next = SLAB_NONE;
    c->out_tail = last;
    while (at != SLAB_NONE) {
        uint32_t next = ((struct chunk *)slab_get(&s->chunks, at))->next;
        chunk_free(s, at);
        at = next;
    }
    if (k->first == k->end) {
        CHECK(c->out_head == last); /* a later one is there for a frame in it */
        chunk_free(s, last);
        c->out_head = c->out_tail = SLAB_NONE;
    }
}

/* Frames at the head of the queue that stay: the peer has a part of them, or is told of them. */
static uint32_t frames_begun(const struct conn *c)
{
    if (c->state == CONN_CARRIED) {
        return carrier_begun(c);
    }
    return MAX((uint32_t)c->array_left, c->out_offset > 0 ? 1U : 0U);
}

uint32_t conn_forget(struct shard *s, struct conn *c, enum frame_kind from)
{
    uint32_t forgotten = 0;
    uint32_t keep = frames_begun(c);
    if (c->out_head == SLAB_NONE) {
        return 0;
    }
    /* Those that stay move up, in place: where they go is never behind where they are. */
    uint32_t to = c->out_head;
    struct chunk *w = slab_get(&s->chunks, to);
    uint16_t put = w->first;
    for (uint32_t at = c->out_head; at != SLAB_NONE;) {
        struct chunk *k = slab_get(&s->chunks, at);
        uint16_t end = k->end;
        uint16_t first = k->first;
        at = k->next;
        for (uint16_t i = first; i < end; i++) {
            struct frame *f = k->frames[i];
            if (keep == 0 && f->kind >= from) {
                s->queued_bytes -= f->len;
                c->out_bytes -= f->len;
                c->out_frames--;
                unqueue(s, f);
                forgotten++;
                continue;
            }
            keep -= keep > 0 ? 1 : 0;
            if (put == CHUNK_FRAMES) {
                w->end = put;
                to = w->next;
                w = slab_get(&s->chunks, to);
                w->first = put = 0;
            }
            w->frames[put++] = f;
        }
    }
    w->end = put;
    queue_cut(s, c, to);
    conn_roomy(s, c);
    return forgotten;
}

void conn_output_drop(struct shard *s, struct conn *c)
{
    while (c->out_head != SLAB_NONE) {
        pop_frame(s, c);
    }
    uncount(s, c, c->out_bytes);
    c->array_left = 0;
}
