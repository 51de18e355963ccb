/*
 * What the server says on a socket. Everybody gets the same bytes for the same event, so nearly
 * every frame is recognised by comparing it with the entry that its session expects next; parsing
 * is for the first telling and for everything else.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/json.h"
#include "replay.h"

static const char RECEIPT[] = "{\"event\":\"delivery_receipt\"";

static void took_live(struct session *s, struct cursor *c, const struct entry *e)
{
    struct replay *r = s->r;
    cursor_take(r, c, e);
    if (e->message != NONE) {
        r->n.live++;
        hist_add(&r->delivery_ns, r->now_ns - r->messages[e->message].sent_ns);
    }
    session_acknowledge_later(s);
}

enum how { BY_LIVE_FRAME, BY_RESUME, BY_ACK };

/* An event at `seq`, told in any way; `e` is its entry. */
static void advance(struct session *s, struct cursor *c, uint32_t seq, const struct entry *e,
                    enum how how)
{
    struct replay *r = s->r;
    c->seen = MAX(c->seen, seq);
    if (seq < c->next) {
        r->n.ignored++;
        /* Pages of a resume and the live frames in between overlap. */
        if (!r->lossy && r->n.resyncs == 0 && s->state != SESSION_RESUMING) {
            replay_error(r, "session %u was told seq %u again", s->index, seq);
        }
        return;
    }
    if (seq > c->next) {
        /* While resuming, live frames may run ahead of the pages: caught_up will show. */
        if (s->state == SESSION_RESUMING) {
            return;
        }
        /* A conversation that is new to the session begins with what came before it joined. */
        if (c->next > c->start) {
            replay_error(r, "session %u was told seq %u while %u is missing", s->index, seq,
                         c->next);
        }
        if (cursor_fetch(s, c, seq - 1) != CONFAB_OK) {
            return;
        }
        e = &c->conv->entries[seq - 1]; /* the list may have grown, and moved */
    }
    if (how == BY_LIVE_FRAME) {
        took_live(s, c, e);
        return;
    }
    cursor_take(r, c, e);
    r->n.paged += how == BY_RESUME && e->message != NONE;
    session_acknowledge_later(s);
}

static struct cursor *cursor_for(struct session *s, struct conv_id id)
{
    struct replay *r = s->r;
    struct conv *c = conv_find(r, id);
    if (!c) {
        c = conv_add(r, id);
        c->own = conv_id_eq(id, conv_id_self(r->people[s->person].user_id));
        if (!c->own) {
            replay_error(r, "session %u was told of a conversation that nobody made", s->index);
        }
    }
    struct cursor *cursor = cursor_find(s, c);
    /* A conversation that begins while we look. */
    return cursor ? cursor : cursor_add(s, c, 1);
}

static void on_sequence(struct session *s, const struct wire_server_msg *m, struct span frame,
                        enum how how)
{
    bool is_message = m->event == WIRE_S_NEW_MESSAGE;
    const struct wire_seq *at = &m->u.at;
    struct cursor *c = cursor_for(s, at->conv);
    const struct entry *e = track_event(s->r, c->conv, at->seq, at->event_id, at->from, is_message,
                                        is_message ? m->u.message.content : span_of(NULL, 0),
                                        how == BY_LIVE_FRAME ? frame : span_of(NULL, 0));
    if (e) {
        advance(s, c, (uint32_t)at->seq, e, how);
    }
}

static void on_ack(struct session *s, const struct wire_sent *ack)
{
    struct replay *r = s->r;
    char cmid[64];
    size_t prefix = strlen(r->run_id) + 1;
    char *end = NULL;
    unsigned long index = 0;
    if (ack->client_msg_id.n > prefix && ack->client_msg_id.n < sizeof(cmid)) {
        memcpy(cmid, ack->client_msg_id.p, ack->client_msg_id.n);
        cmid[ack->client_msg_id.n] = '\0';
        index = strtoul(cmid + prefix, &end, 10);
    }
    if (!end || *end != '\0' || index >= r->next || r->messages[index].session != s->index) {
        replay_error(r, "session %u got an ack for %.*s, which it did not send", s->index,
                     (int)ack->client_msg_id.n, (const char *)ack->client_msg_id.p);
        return;
    }
    struct message *m = &r->messages[index];
    if (m->acked) {
        /* A repeat may be answered beside the first attempt. */
        if (!ack->duplicate || m->seq != ack->seq || m->id != ack->message_id) {
            replay_error(r, "message %lu was acknowledged twice, not as a duplicate", index);
        }
        return;
    }
    r->n.duplicates += ack->duplicate;
    track_ack(r, (uint32_t)index, ack);
    m->acked = true;
    r->n.acked++;
    hist_add(&r->ack_ns, r->now_ns - m->sent_ns);
    session_forget_inflight(s, (uint32_t)index);
    if (m->seq == 0) {
        return;
    }
    struct cursor *c = cursor_for(s, ack->conv);
    /* The answer to a repeat stands outside the sequence when the event came by resume. */
    if (m->seq >= c->next) {
        advance(s, c, m->seq, &m->conv->entries[m->seq - 1], BY_ACK);
    }
}

static void on_error(struct session *s, const struct wire_failure *f)
{
    static const char *const FOR_NOW[] = {"busy",          "limit_reached", "storage_failed",
                                          "storage_full",  "again",         "timeout",
                                          "out_of_memory", "closed"};
    for (size_t i = 0; i < ARRAY_LEN(FOR_NOW); i++) {
        if (span_is(f->code, FOR_NOW[i])) {
            s->r->n.busy++;
            session_repeat_later(s, f->retry_after_ms);
            return;
        }
    }
    replay_error(s->r, "session %u got error %.*s: %.*s (%.*s)", s->index, (int)f->code.n,
                 (const char *)f->code.p, (int)f->message.n, (const char *)f->message.p,
                 (int)f->client_msg_id.n, (const char *)f->client_msg_id.p);
}

/* ---- Resume ---- */

static void page_events(struct session *s, const struct wire_conv *w)
{
    struct replay *r = s->r;
    struct json it;
    struct scratch scratch;
    struct span frame;
    /* One half for the list, one for its events. */
    uint8_t *block = malloc(2 * (w->events.n + 1));
    if (!block) {
        replay_die("out of memory");
    }
    uint8_t *half = block + w->events.n + 1;
    scratch_init(&scratch, half, w->events.n + 1);
    wire_list_begin(&it, w->events, &scratch);
    while (wire_event_next(&it, &frame)) {
        struct wire_server_msg m;
        struct wire_error why;
        struct scratch inner;
        scratch_init(&inner, block, w->events.n + 1);
        if (wire_parse_server(frame, &inner, &m, &why) != CONFAB_OK || !wire_in_sequence(m.event)) {
            replay_error(r, "an event of a resume is not as documented: %.*s",
                         (int)MIN(frame.n, 200U), (const char *)frame.p);
            continue;
        }
        on_sequence(s, &m, frame, BY_RESUME);
    }
    free(block);
}

static void page_conv(struct session *s, const struct wire_conv *w)
{
    struct replay *r = s->r;
    bool covers = w->covered_from <= w->covered_to;
    struct conv *c = conv_find(r, w->conv);
    struct cursor *cursor = c ? cursor_find(s, c) : NULL;
    if (w->left) {
        replay_error(r, "session %u is told that it left a conversation", s->index);
        return;
    }
    if (!cursor && s->since.len == 0) {
        /* The first resume says where we begin. */
        cursor = cursor_for(s, w->conv);
        uint64_t first = covers ? w->covered_from : w->head + 1;
        *cursor = (struct cursor){.conv = cursor->conv,
                                  .next = (uint32_t)first,
                                  .start = (uint32_t)first,
                                  .acked = (uint32_t)w->delivered};
    } else if (!cursor) {
        cursor = cursor_for(s, w->conv);
    }
    if (w->reset) {
        replay_error(r, "session %u has to forget a conversation", s->index);
    }
    if (covers && w->covered_from > cursor->next &&
        cursor_fetch(s, cursor, (uint32_t)w->covered_from - 1) != CONFAB_OK) {
        return; /* the connection will break, and the next resume tells again */
    }
    page_events(s, w);
    if (covers && w->covered_to >= cursor->next) {
        cursor->next = (uint32_t)w->covered_to + 1;
    }
    cursor->seen = MAX(cursor->seen, (uint32_t)w->head);
}

static void on_page(struct session *s, struct span list, size_t frame_bytes)
{
    struct replay *r = s->r;
    struct json it;
    struct scratch scratch;
    uint8_t *block = malloc(frame_bytes + 1);
    if (!block) {
        replay_die("out of memory");
    }
    scratch_init(&scratch, block, frame_bytes + 1);
    wire_list_begin(&it, list, &scratch);
    struct wire_conv w;
    while (wire_conv_next(&it, &w)) {
        page_conv(s, &w);
    }
    if (!json_ok(&it)) {
        replay_error(r, "a page of a resume is not as documented: %s", it.why ? it.why : "");
    }
    free(block);
}

static void on_caught_up(struct session *s, struct span since)
{
    for (uint32_t i = 0; i < s->ncursors; i++) {
        struct cursor *c = &s->cursors[i];
        if (c->seen >= c->next && cursor_fetch(s, c, c->seen) != CONFAB_OK) {
            return;
        }
    }
    session_caught_up(s, since);
}

/* ---- Dispatch ---- */

static void on_parsed(struct session *s, const struct wire_server_msg *m, struct span frame)
{
    switch (m->event) {
    case WIRE_S_HELLO:
        session_hello(s);
        break;
    case WIRE_S_ACK:
        on_ack(s, &m->u.ack);
        break;
    case WIRE_S_ERROR:
        on_error(s, &m->u.error);
        break;
    case WIRE_S_NEW_MESSAGE:
    case WIRE_S_MESSAGE_EDITED:
    case WIRE_S_MESSAGE_DELETED:
    case WIRE_S_MEMBERSHIP:
    case WIRE_S_CONVERSATION:
    case WIRE_S_SELF:
        on_sequence(s, m, frame, BY_LIVE_FRAME);
        break;
    case WIRE_S_DELIVERY_RECEIPT:
        s->r->n.receipts++;
        break;
    case WIRE_S_CONVERSATIONS:
        on_page(s, m->u.page, frame.n);
        break;
    case WIRE_S_CAUGHT_UP:
        on_caught_up(s, m->u.caught_up.since);
        break;
    case WIRE_S_RESYNC:
        session_resync(s);
        break;
    case WIRE_S_RECONNECT:
    case WIRE_S_TYPING:
    case WIRE_S_COUNTER: /* it looks at nothing: not for conversations of that size */
    case WIRE_S_PRESENCE_UPDATE:
    case WIRE_S_CLOSED:
    case WIRE_S_HEARTBEAT:
    case WIRE_S_UNKNOWN:
        break;
    }
}

static void on_object(struct session *s, uint8_t *p, size_t n)
{
    struct replay *r = s->r;
    if (s->last < s->ncursors && s->state == SESSION_READY) {
        struct cursor *c = &s->cursors[s->last];
        if (c->next <= c->conv->head) {
            const struct entry *e = &c->conv->entries[c->next - 1];
            if (e->frame_len == n && memcmp(e->frame, p, n) == 0) {
                c->seen = c->next;
                took_live(s, c, e);
                return;
            }
        }
    }
    if (n > sizeof(RECEIPT) - 1 && memcmp(p, RECEIPT, sizeof(RECEIPT) - 1) == 0) {
        r->n.receipts++; /* many, and not judged here */
        return;
    }
    struct wire_server_msg m;
    struct wire_error why;
    struct scratch scratch;
    uint8_t small[4096];
    uint8_t *block = n < sizeof(small) ? small : malloc(n + 1);
    if (!block) {
        replay_die("out of memory");
    }
    scratch_init(&scratch, block, n + 1);
    if (wire_parse_server(span_of(p, n), &scratch, &m, &why) != CONFAB_OK) {
        replay_error(r, "a frame is not as documented (%s): %.*s", why.message ? why.message : "",
                     (int)MIN(n, 200U), (const char *)p);
    } else {
        on_parsed(s, &m, span_of(p, n));
    }
    if (block != small) {
        free(block);
    }
}

void frame_on_text(struct session *s, uint8_t *p, size_t n)
{
    static struct json it;
    struct span one;
    if (n == 0 || p[0] != '[') {
        on_object(s, p, n);
        return;
    }
    uint64_t events = 0;
    json_init(&it, span_of(p, n), NULL);
    json_array_begin(&it);
    while (s->fd >= 0 && json_array_next(&it) && json_raw(&it, &one)) {
        on_object(s, p + (one.p - p), one.n);
        events++;
    }
    if (s->fd >= 0 && (!json_end(&it) || events < 2 || !s->r->opt.batch)) {
        replay_error(s->r, "session %u got an array of %" PRIu64 " events", s->index, events);
    }
}
