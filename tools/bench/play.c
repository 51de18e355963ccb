/*
 * What users send and what comes back. A slot is one message under way: it counts what is still
 * to come (its acknowledgement and its deliveries), in memory that the workers share, since a
 * receiver may live in another one than the sender.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "scan.h"
#include "worker.h"

#define RETRY_MS    50U
#define ACKNOWLEDGE 0x80000000U /* in slot.left: the acknowledgement is still to come */

static struct slot *slot_at(const struct worker *w, uint32_t index)
{
    return &w->t->shared->slots[index];
}

static uint32_t slots(const struct worker *w)
{
    return w->t->plan->nsenders * w->t->plan->window;
}

static uint32_t sender_of(const struct worker *w, uint32_t slot)
{
    return slot / w->t->plan->window;
}

static bool sending(const struct worker *w)
{
    return w->phase == PHASE_RUN || w->phase == PHASE_MEASURE;
}

/* ---- Sending ---- */

/* The same for every attempt of a message: the server compares them. */
static struct span text_of(const struct worker *w, uint32_t slot, uint32_t number)
{
    uint64_t h = (slot * 0x9e3779b97f4a7c15ULL) ^ (number * 0xd1342543de82ef95ULL);
    return w->t->texts[(h >> 32) % w->t->ntexts];
}

static const struct target *target_of(const struct worker *w, const struct own_sender *s,
                                      uint32_t slot, uint32_t number)
{
    const struct plan *plan = w->t->plan;
    const struct sender *of = &plan->senders[s->index];
    uint64_t h = ((uint64_t)number << 24 ^ slot) * 0x9e3779b97f4a7c15ULL;
    return &plan->targets[of->first + (uint32_t)((h >> 33) % of->n)];
}

static void put_message(struct worker *w, const struct own_sender *s, uint32_t slot, bool first)
{
    const struct slot *m = slot_at(w, slot);
    struct client *c = &w->clients[s->client];
    struct mark mark = {m->intended_ns, slot, m->number};
    char text[MARK_BYTES + 1];
    mark_write(&mark, text);
    struct span content = text_of(w, slot, m->number);
    if (!w->t->world) {
        uint32_t fill = w->t->frame - 1 - MARK_BYTES;
        buf_put_u8(&c->out, 'M');
        buf_put(&c->out, text, MARK_BYTES);
        for (uint32_t n = 0; fill > 0; fill -= n) {
            n = MIN(fill, (uint32_t)content.n);
            buf_put(&c->out, content.p, n);
        }
        client_dirty(w, c);
        return;
    }
    const struct target *to = target_of(w, s, slot, m->number);
    bool fresh = first && !w->t->world->opt->no_fresh;
    char frame[512];
    int n = snprintf(frame, sizeof(frame),
                     "{\"event\":\"send_message\",%s,\"client_msg_id\":\"%s-%s\",%s\"content\":"
                     "\"%s ",
                     to->to, w->t->world->run, text, fresh ? "\"fresh\":true," : "", text);
    uint8_t head[WS_HEADER_MAX];
    static const uint8_t no_mask[4];
    uint64_t len = (uint64_t)n + content.n + 2;
    buf_put(&c->out, head, ws_header(head, WS_TEXT, true, len, no_mask));
    buf_put(&c->out, frame, (size_t)n);
    buf_put(&c->out, content.p, content.n);
    buf_put(&c->out, "\"}", 2);
    client_dirty(w, c);
}

static uint32_t expected(const struct worker *w, const struct own_sender *s, uint32_t slot,
                         uint32_t number)
{
    return ACKNOWLEDGE + target_of(w, s, slot, number)->expect;
}

static void send_one(struct worker *w, struct own_sender *s, uint64_t intended_ns)
{
    uint32_t slot = s->index * w->t->plan->window;
    while (atomic_load_explicit(&slot_at(w, slot)->left, memory_order_acquire) != 0) {
        slot++;
    }
    struct slot *m = slot_at(w, slot);
    m->number++;
    m->intended_ns = intended_ns;
    atomic_store_explicit(&m->left, expected(w, s, slot, m->number), memory_order_release);
    s->free--;
    s->sent++;
    w->under_way++;
    w->sent++;
    w->m.sent++;
    hist_add(&w->m.lateness_ns, w->now > intended_ns ? w->now - intended_ns : 0);
    put_message(w, s, slot, true);
}

static uint64_t intended(const struct worker *w, const struct own_sender *s)
{
    const struct plan *plan = w->t->plan;
    double k = (double)s->sent * plan->nsenders + (double)s->phase;
    return w->started_ns + (uint64_t)(k * 1e9 / plan->rate);
}

/* As many as are allowed: of those that are due, or as the window has room. */
static void sender_go(struct worker *w, struct own_sender *s)
{
    if (!sending(w) || w->clients[s->client].state != CLIENT_READY) {
        return;
    }
    const struct plan *plan = w->t->plan;
    while (s->free > 0 && (plan->rate == 0 || s->sent < s->due) &&
           (plan->limit == 0 || s->sent < plan->limit)) {
        send_one(w, s, plan->rate ? intended(w, s) : w->now);
    }
}

void play_start(struct worker *w)
{
    w->started_ns = w->now;
    w->next_due = 0;
    w->sent = 0;
    for (uint32_t i = 0; i < w->nsenders; i++) {
        w->senders[i].due = 0;
        w->senders[i].sent = 0;
        sender_go(w, &w->senders[i]);
    }
}

static double due_ns(const struct worker *w)
{
    double share = w->nsenders / (double)w->t->plan->nsenders;
    return (double)w->next_due * 1e9 / (w->t->plan->rate * share);
}

uint64_t play_next_ns(const struct worker *w)
{
    uint64_t next = w->nacks > 0 ? w->next_ack_ns : UINT64_MAX;
    if (w->t->watching) {
        return presence_next_ns(w);
    }
    for (uint32_t i = 0; i < w->nretries; i++) {
        next = MIN(next, w->retries[i].at_ns);
    }
    if (sending(w) && w->t->plan->rate && w->nsenders) {
        next = MIN(next, w->started_ns + (uint64_t)due_ns(w));
    }
    return next;
}

static void take_back(struct worker *w)
{
    const struct plan *plan = w->t->plan;
    for (uint32_t i = 0; i < w->nsenders; i++) {
        struct own_sender *s = &w->senders[i];
        uint32_t free = 0;
        for (uint32_t k = 0; k < plan->window; k++) {
            free += atomic_load_explicit(&slot_at(w, s->index * plan->window + k)->left,
                                         memory_order_acquire) == 0;
        }
        w->under_way -= free - s->free;
        s->free = free;
        sender_go(w, s);
    }
}

static void go_again(struct worker *w)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < w->nretries; i++) {
        struct retry r = w->retries[i];
        struct own_sender *s = &w->senders[w->own_of[sender_of(w, r.slot)]];
        const struct slot *m = slot_at(w, r.slot);
        if (r.at_ns > w->now) {
            w->retries[kept++] = r;
        } else if (m->number == r.number && (atomic_load(&m->left) & ACKNOWLEDGE) &&
                   w->clients[s->client].state == CLIENT_READY) {
            put_message(w, s, r.slot, false);
        }
    }
    w->nretries = kept;
}

void play_go(struct worker *w)
{
    if (w->t->watching) {
        presence_go(w);
        return;
    }
    if (w->nretries > 0) {
        go_again(w);
    }
    if (w->t->shared->nworkers > 1) {
        take_back(w);
    }
    if (!sending(w) || w->t->plan->rate == 0 || w->nsenders == 0) {
        return;
    }
    while (w->started_ns + (uint64_t)due_ns(w) <= w->now) {
        struct own_sender *s = &w->senders[w->next_due++ % w->nsenders];
        s->due++;
        sender_go(w, s);
    }
}

/* Everything unanswered of this client goes out again, under the same ids. */
void play_ready(struct worker *w, struct client *c)
{
    if (w->t->watching) {
        presence_ready(w, c);
        return;
    }
    if (c->index - w->t->plan->nsenders < w->t->plan->nlooking && w->t->world) {
        char frame[160];
        int n = snprintf(frame, sizeof(frame), "{\"event\":\"view\",\"conversation_ids\":[\"%s\"]}",
                         w->t->plan->looked);
        client_put(w, c, span_of(frame, (size_t)n));
        client_put(w, c, span_str("{\"event\":\"heartbeat\"}"));
        w->beats_open++; /* its answer says that the view was read */
    }
    if (c->sender == NONE) {
        return;
    }
    struct own_sender *s = &w->senders[c->sender];
    uint32_t first = s->index * w->t->plan->window;
    for (uint32_t i = first; i < first + w->t->plan->window; i++) {
        if (atomic_load(&slot_at(w, i)->left) & ACKNOWLEDGE) {
            put_message(w, s, i, false);
        }
    }
    sender_go(w, s);
}

/* ---- Receiving ---- */

/* Takes `what` off the slot; false when it was not waiting for that. */
static bool settle(struct worker *w, const struct mark *mark, uint32_t what)
{
    if (mark->slot >= slots(w)) {
        return false;
    }
    struct slot *m = slot_at(w, mark->slot);
    uint32_t left = atomic_load_explicit(&m->left, memory_order_acquire);
    do {
        if (m->number != mark->number || (what == ACKNOWLEDGE && !(left & ACKNOWLEDGE)) ||
            (what != ACKNOWLEDGE && (left & ~ACKNOWLEDGE) == 0)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&m->left, &left, left - what));
    if (left == what) {
        w->m.complete++;
        hist_add(&w->m.complete_ns, w->now > mark->intended_ns ? w->now - mark->intended_ns : 0);
        uint32_t own = w->own_of[sender_of(w, mark->slot)];
        if (w->t->shared->nworkers == 1 && own != NONE) {
            w->under_way--;
            w->senders[own].free++;
            sender_go(w, &w->senders[own]);
        }
    }
    return true;
}

void play_error(struct worker *w, const struct client *c, const char *what, struct span frame)
{
    if (w->m.errors++ < ERRORS_TOLD) {
        (void)fprintf(stderr, "confab-bench: connection %u: %s: %.*s\n", c->index, what,
                      (int)MIN(frame.n, 200U), (const char *)frame.p);
    }
}

static uint64_t since(const struct worker *w, uint64_t t)
{
    return w->now > t ? w->now - t : 0;
}

static void put_ack(struct worker *w, struct client *c)
{
    char frame[160];
    int n = snprintf(frame, sizeof(frame),
                     "{\"event\":\"ack\",\"conversation_id\":\"%.32s\",\"seq\":%" PRIu64
                     ",\"status\":\"%s\"}",
                     c->conv, c->seq, w->t->plan->reads ? "read" : "delivered");
    client_put(w, c, span_of(frame, (size_t)n));
}

/* Rising in each conversation; that none is missing shows when each slot gets what it waits for. */
static void check_order(struct worker *w, struct client *c, struct span conv, uint64_t seq,
                        struct span frame)
{
    if (conv.n != CONV_TEXT) {
        play_error(w, c, "no conversation", frame);
        return;
    }
    if (memcmp(c->conv, conv.p, CONV_TEXT) != 0) {
        if (c->ack_due && c->conv[0]) {
            put_ack(w, c);
        }
        memcpy(c->conv, conv.p, CONV_TEXT);
    } else if (seq <= c->seq) {
        play_error(w, c, "out of order or twice", frame);
    }
    c->seq = seq;
}

static void acknowledge_later(struct worker *w, struct client *c)
{
    if (w->t->opt->ack_ms == 0) {
        put_ack(w, c);
    } else if (!c->ack_due) {
        c->ack_due = true;
        w->ack_list[w->nacks++] = (uint32_t)(c - w->clients);
    }
}

void play_acks(struct worker *w)
{
    if (w->next_ack_ns > w->now) {
        return;
    }
    w->next_ack_ns = w->now + (uint64_t)w->t->opt->ack_ms * NS_PER_MS;
    for (uint32_t i = 0; i < w->nacks; i++) {
        struct client *c = &w->clients[w->ack_list[i]];
        c->ack_due = false;
        if (c->state == CLIENT_READY) {
            put_ack(w, c);
        }
    }
    w->nacks = 0;
}

static void on_message(struct worker *w, struct client *c, struct span frame)
{
    struct span content = scan_string(&w->scanner, frame, SCAN_CONTENT);
    struct mark mark;
    if (!mark_read(content.p, content.n, &mark)) {
        return; /* somebody else's */
    }
    check_order(w, c, scan_string(&w->scanner, frame, SCAN_CONVERSATION_ID),
                scan_number(&w->scanner, frame, SCAN_SEQ), frame);
    acknowledge_later(w, c);
    if (settle(w, &mark, 1)) {
        w->m.delivered++;
        hist_add(&w->m.delivery_ns, since(w, mark.intended_ns));
    } else if (!w->stays && !c->resynced) {
        play_error(w, c, "delivered twice, or to somebody else", frame);
    }
}

/* "<run>-~…": the mark stands behind the run's name. */
static bool take_id(struct worker *w, struct span frame, struct mark *ret)
{
    struct span id = scan_string(&w->scanner, frame, SCAN_CLIENT_MSG_ID);
    size_t skip = strlen(w->t->world->run) + 1;
    return id.n > skip && mark_read(id.p + skip, id.n - skip, ret);
}

static void on_ack(struct worker *w, const struct client *c, struct span frame)
{
    struct mark mark;
    if (!take_id(w, frame, &mark)) {
        return;
    }
    if (settle(w, &mark, ACKNOWLEDGE)) {
        w->m.acked++;
        hist_add(&w->m.ack_ns, since(w, mark.intended_ns));
    } else if (!w->stays) {
        play_error(w, c, "acknowledged twice", frame);
    }
}

static void on_error(struct worker *w, struct client *c, struct span frame)
{
    struct mark mark;
    uint64_t after_ms = scan_number(&w->scanner, frame, SCAN_RETRY_AFTER_MS);
    if (after_ms > 0 && span_is(scan_string(&w->scanner, frame, SCAN_REF), "resume")) {
        w->m.refused++; /* many come back at once: as clients do, later, on a new connection */
        client_later(w, c, after_ms);
    } else if (after_ms > 0 && take_id(w, frame, &mark) && mark.slot < slots(w) &&
               w->own_of[sender_of(w, mark.slot)] != NONE && w->nretries < slots(w)) {
        w->m.refused++;
        w->retries[w->nretries++] =
            (struct retry){w->now + after_ms * NS_PER_MS, mark.slot, mark.number};
    } else if (after_ms > 0 && span_is(scan_string(&w->scanner, frame, SCAN_REF), "ack")) {
        w->m.acks_refused++; /* the next one of that conversation says it too */
    } else {
        play_error(w, c, "refused", frame);
    }
}

/* A page of a resume: what it tells of messages was missed live. */
static void on_page(struct worker *w, struct span frame)
{
    struct mark mark;
    for (size_t at = 0; mark_next(frame, &at, &mark);) {
        if (settle(w, &mark, 1)) {
            w->m.delivered++;
            hist_add(&w->m.delivery_ns, since(w, mark.intended_ns));
        }
    }
}

void play_frame(struct worker *w, struct client *c, struct span text)
{
    switch (scan_event(&w->scanner, text)) {
    case SCAN_MESSAGE:
        on_message(w, c, text);
        break;
    case SCAN_ACK:
        on_ack(w, c, text);
        break;
    case SCAN_HEARTBEAT:
        w->m.answered++;
        w->beats_open -= w->beats_open > 0;
        break;
    case SCAN_RECEIPT:
        w->m.receipts++;
        break;
    case SCAN_ERROR:
        on_error(w, c, text);
        break;
    case SCAN_CONVERSATIONS:
        if (w->stays || c->resynced) {
            on_page(w, text);
        }
        break;
    case SCAN_PRESENCE:
        presence_notice(w, c, text);
        break;
    case SCAN_RESYNC:
        w->m.resyncs++;
        c->resynced = true;
        client_resume(w, c);
        break;
    default:
        break;
    }
}

size_t play_raw(struct worker *w, struct client *c, struct span bytes)
{
    size_t len = bytes.p[0] == 'A' ? ACK_BYTES : w->t->frame;
    struct mark mark;
    if (bytes.n < len) {
        return 0;
    }
    if (!mark_read(bytes.p + 1, bytes.n - 1, &mark)) {
        play_error(w, c, "not of this load", bytes);
    } else if (bytes.p[0] == 'A') {
        w->m.acked += settle(w, &mark, ACKNOWLEDGE);
        hist_add(&w->m.ack_ns, since(w, mark.intended_ns));
    } else {
        w->m.delivered += settle(w, &mark, 1);
        hist_add(&w->m.delivery_ns, since(w, mark.intended_ns));
    }
    return len;
}
