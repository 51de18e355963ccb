/*
 * Output queues of connections: frames by reference, in chunks of a shared pool that are there only
 * while something waits. Each connection with output gets one writev a turn.
 */
#include "gateway/conn.h"

#include "gateway/internal.h"
#include "gateway/session.h"

#define CHUNK_FRAMES 14U
#define CHUNKS_MAX   (1U << 22)
#define WRITE_IOVECS 64

struct chunk {
    uint32_t next;
    uint16_t first; /* frames [first, end) are queued */
    uint16_t end;
    struct frame *frames[CHUNK_FRAMES];
};

void conns_output_init(struct shard *s)
{
    slab_init(&s->chunks, sizeof(struct chunk), CHUNKS_MAX);
}

void conn_touch(struct shard *s, struct conn *c)
{
    if (!(c->flags & (CONN_DIRTY | CONN_BLOCKED))) {
        c->flags |= CONN_DIRTY;
        c->next_dirty = s->dirty;
        s->dirty = c->index;
    }
}

bool conn_push(struct shard *s, struct conn *c, struct frame *f)
{
    if (c->state == CONN_DEAD) {
        return false;
    }
    if (f->len == 0) {
        return true;
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
    }
    k->frames[k->end++] = frame_ref(f);
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
    struct frame *f = frame_new(bytes);
    if (!f) {
        metrics_inc(s->metrics, METRIC_OUT_OF_MEMORY);
        conn_kill(s, c);
        return false;
    }
    bool ok = conn_push(s, c, f);
    frame_unref(f);
    return ok;
}

/* Forgets n bytes at the head of the queue, and the frames that end with them. */
static void conn_pop(struct shard *s, struct conn *c, size_t n)
{
    s->queued_bytes -= n;
    c->out_bytes -= (uint32_t)n;
    while (c->out_head != SLAB_NONE) {
        uint32_t at = c->out_head;
        struct chunk *k = slab_get(&s->chunks, at);
        while (k->first < k->end) {
            struct frame *f = k->frames[k->first];
            size_t left = f->len - c->out_offset;
            if (n < left) {
                c->out_offset += (uint32_t)n;
                return;
            }
            n -= left;
            c->out_offset = 0;
            c->out_frames--;
            k->first++;
            frame_unref(f);
        }
        c->out_head = k->next;
        slab_free(&s->chunks, at);
    }
    c->out_tail = SLAB_NONE;
}

static int conn_gather(struct shard *s, const struct conn *c, struct iovec iov[WRITE_IOVECS],
                       size_t *ret_bytes)
{
    int n = 0;
    size_t bytes = 0;
    size_t skip = c->out_offset;
    for (uint32_t at = c->out_head; at != SLAB_NONE && n < WRITE_IOVECS;) {
        const struct chunk *k = slab_get(&s->chunks, at);
        for (uint32_t i = k->first; i < k->end && n < WRITE_IOVECS; i++) {
            const struct frame *f = k->frames[i];
            iov[n].iov_base = (void *)(uintptr_t)(f->data + skip);
            iov[n].iov_len = f->len - skip;
            bytes += iov[n].iov_len;
            skip = 0;
            n++;
        }
        at = k->next;
    }
    *ret_bytes = bytes;
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
    size_t want;
    int niov = conn_gather(s, c, iov, &want);
    if (niov == 0) {
        conn_drained(s, c);
        return;
    }
    size_t n = 0;
    enum confab_err err = s->deps.net->ops->writev(s->deps.net, c->handle, iov, niov, &n);
    metrics_inc(s->metrics, METRIC_WRITES);
    if (err == CONFAB_AGAIN) {
        c->flags |= CONN_BLOCKED;
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
    if ((c->holds & HOLD_OUTPUT) && c->out_bytes <= s->cfg.queue_bytes_max / 2) {
        conn_release(s, c, HOLD_OUTPUT);
    }
    if (c->out_head == SLAB_NONE) {
        conn_drained(s, c);
    } else {
        /* More than one call takes, or a short write: it goes on in the next turn. */
        conn_touch(s, c);
    }
}

bool conns_write(struct shard *s)
{
    uint32_t at = s->dirty;
    s->dirty = SLAB_NONE;
    while (at != SLAB_NONE) {
        struct conn *c = slab_get(&s->conns, at);
        at = c->next_dirty;
        c->flags &= (uint16_t)~CONN_DIRTY;
        if (c->state != CONN_DEAD && !(c->flags & CONN_BLOCKED)) {
            conn_flush(s, c);
        }
    }
    metrics_gauge_set(s->metrics, METRIC_OUTPUT_BYTES, (int64_t)s->queued_bytes);
    return s->dirty != SLAB_NONE;
}

void conn_output_drop(struct shard *s, struct conn *c)
{
    conn_pop(s, c, c->out_bytes);
}
