/*
 * The newest events of a conversation in memory: a window of slots by seq, over pieces of memory
 * that several events share. Events come at the end and go at the front, so a piece is over with
 * its last slot, and what a flush reads lies one behind the other. An event that was changed has
 * bytes of its own; those it had remain a gap in their piece.
 */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "core/engine_internal.h"

enum { PIECE_BYTES_MAX = 8192 };

struct slot *resident_slot(struct resident *r, uint64_t seq)
{
    if (seq < r->mem_first || seq - r->mem_first >= r->nslots) {
        return NULL;
    }
    return &r->slots[r->slots_at + (seq - r->mem_first)];
}

static bool slots_reserve(struct resident *r)
{
    if (r->slots_at + r->nslots < r->cap_slots) {
        return true;
    }
    if (r->slots_at >= r->cap_slots / 2 && r->slots_at > 0) {
        memmove(r->slots, r->slots + r->slots_at, r->nslots * sizeof(*r->slots));
        r->slots_at = 0;
        return true;
    }
    uint32_t cap = r->cap_slots ? r->cap_slots * 2 : 8;
    struct slot *slots = realloc(r->slots, (size_t)cap * sizeof(*slots));
    if (slots) {
        r->slots = slots;
        r->cap_slots = cap;
    }
    return slots != NULL;
}

static size_t piece_memory(const struct event_piece *p)
{
    return sizeof(*p) + p->size + RESIDENT_ALLOC_EXTRA;
}

/* Room for n bytes; a new piece is as large as all that there is, so that little of it is empty. */
static struct event_piece *piece_with(struct resident *r, uint32_t n)
{
    struct event_piece *last = r->last_piece;
    if (last && last->size - last->used >= n) {
        return last;
    }
    uint32_t size = MAX(n, (uint32_t)MIN(r->slot_bytes, PIECE_BYTES_MAX));
    struct event_piece *p = malloc(sizeof(*p) + size);
    if (p) {
        *p = (struct event_piece){.size = size};
        if (last) {
            last->next = p;
        } else {
            r->pieces = p;
        }
        r->last_piece = p;
        r->slot_bytes += piece_memory(p);
    }
    return p;
}

void resident_expect(const struct resident *r)
{
    PREFETCH(r->last_piece);
    PREFETCH(r->c.members);
    PREFETCH_WRITE(r->slots + r->slots_at + r->nslots);
}

enum confab_err resident_append(struct resident *r, struct span bytes, const struct event *ev)
{
    struct event_piece *p = slots_reserve(r) ? piece_with(r, (uint32_t)bytes.n) : NULL;
    if (!p) {
        return CONFAB_NOMEM;
    }
    struct slot *s = &r->slots[r->slots_at + r->nslots++];
    *s = (struct slot){.bytes = p->data + p->used,
                       .actor = ev->actor,
                       .len = (uint32_t)bytes.n,
                       .kind = (uint8_t)ev->kind};
    memcpy(s->bytes, bytes.p, bytes.n);
    p->used += s->len;
    p->nslots++;
    /* Where the next one, often of the same turn and size, will go: memory of long ago, or new. */
    for (uint32_t at = 0; at < s->len; at += CACHE_LINE) {
        PREFETCH_WRITE(p->data + p->used + at);
    }
    PREFETCH_WRITE(s + 1);
    return CONFAB_OK;
}

void resident_slot_replace(struct resident *r, struct slot *s, uint8_t *bytes, uint32_t len)
{
    if (s->own) {
        r->slot_bytes -= s->len + RESIDENT_ALLOC_EXTRA;
    }
    s->bytes = bytes;
    s->len = len;
    s->own = true;
    r->slot_bytes += len + RESIDENT_ALLOC_EXTRA;
}

static void drop_first(struct resident *r)
{
    struct slot *s = &r->slots[r->slots_at];
    struct event_piece *p = r->pieces;
    if (s->own) {
        r->slot_bytes -= s->len + RESIDENT_ALLOC_EXTRA;
        free(s->bytes);
    }
    CHECK(p && p->nslots > 0);
    if (--p->nslots == 0) {
        r->pieces = p->next;
        r->last_piece = p->next ? r->last_piece : NULL;
        r->slot_bytes -= piece_memory(p);
        free(p);
    }
    r->slots_at++;
    r->nslots--;
    r->mem_first++;
}

void resident_trim(struct resident *r, uint32_t keep)
{
    while (r->nslots > keep && r->mem_first <= r->flushed_seq) {
        drop_first(r);
    }
    if (r->nslots == 0 && r->cap_slots > 0) {
        free(r->slots);
        r->slots = NULL;
        r->cap_slots = 0;
        r->slots_at = 0;
    }
}

void resident_slots_free(struct resident *r)
{
    while (r->nslots > 0) {
        drop_first(r);
    }
    free(r->slots);
    r->slots = NULL;
}
