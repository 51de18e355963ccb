/*
 * Positions: for each conversation the seq up to which events were handed out. An event that is
 * next is handed out, an older one is ignored, a later one is held until what is before it has
 * come: with a page of the resume under way, else from history (fill.c).
 *
 * Held events are bounded over all conversations. One that finds no room is dropped, and its seq
 * becomes the conversation's target: history has it as well.
 *
 * Between resume and caught_up a live event says nothing about what is before it, since the page of
 * its conversation may be still to come: it is held. Not even one that seems to be the next is
 * handed out: if the server was restored from a backup, what it follows is not what was handed out,
 * and its id would make the position look right from then on. After caught_up every conversation of
 * the user is known, so one that is not is new, and its first event is where it starts.
 */
#include <stdlib.h>

#include "client/session_internal.h"

struct ctrack *ctrack_find(const struct csession *s, struct conv_id conv)
{
    return idmap_get(&s->tracks, conv);
}

enum confab_err ctrack_add(struct csession *s, struct conv_id conv, struct ctrack **ret)
{
    if (idmap_len(&s->tracks) >= s->opt.conversations_max) {
        s->stats.conv_refused++;
        return CONFAB_LIMIT;
    }
    struct ctrack *t = calloc(1, sizeof(*t));
    if (!t) {
        return CONFAB_NOMEM;
    }
    t->conv = conv;
    list_init(&t->acks);
    list_init(&t->fills);
    list_init(&t->held);
    if (idmap_put(&s->tracks, conv, t) != CONFAB_OK) {
        free(t);
        return CONFAB_NOMEM;
    }
    *ret = t;
    return CONFAB_OK;
}

static void drop_first_held(struct csession *s, struct ctrack *t)
{
    struct cheld *h = LIST_ENTRY(list_pop_front(&t->held), struct cheld, node);
    s->held_bytes -= h->n;
    free(h);
}

static void drop_held(struct csession *s, struct ctrack *t)
{
    while (!list_is_empty(&t->held)) {
        drop_first_held(s, t);
    }
}

static void forget_position(struct ctrack *t)
{
    list_remove(&t->acks);
    list_remove(&t->fills);
    t->known = t->ahead = t->listed = false;
    t->seq = t->id = 0;
    t->seek_ms = t->left_seq = 0;
    t->target_seq = t->target_id = 0;
    t->deliver_seq = t->read_seq = 0;
    t->acked_delivered = t->acked_read = 0;
    t->fetch_id = 0;
}

void ctrack_reset(struct ctrack *t)
{
    forget_position(t);
}

void ctrack_free_all(struct csession *s)
{
    struct idmap_iter it = {0};
    while (idmap_next(&s->tracks, &it)) {
        drop_held(s, it.value);
        free(it.value);
    }
    idmap_deinit(&s->tracks);
}

/* ---- Held events ---- */

void ctrack_aim(struct ctrack *t, uint64_t seq, uint64_t id)
{
    if (seq > t->target_seq) {
        t->target_seq = seq;
        t->target_id = id;
    }
}

/* Keeps a frame for later. Without room, or memory, it is fetched later. */
void ctrack_hold(struct csession *s, struct ctrack *t, const struct wire_seq *at, struct span frame,
                 enum confab_source source)
{
    struct list *after = t->held.prev;
    while (after != &t->held && LIST_ENTRY(after, struct cheld, node)->seq > at->seq) {
        after = after->prev;
    }
    if (after != &t->held && LIST_ENTRY(after, struct cheld, node)->seq == at->seq) {
        s->stats.repeated++;
        return;
    }
    struct cheld *h = NULL;
    if (s->held_bytes + frame.n <= s->opt.held_bytes_max) {
        h = malloc(sizeof(*h) + frame.n);
    }
    if (!h) {
        s->stats.held_dropped++;
        ctrack_aim(t, at->seq, at->event_id);
        return;
    }
    h->seq = at->seq;
    h->id = at->event_id;
    h->source = source;
    h->n = (uint32_t)frame.n;
    memcpy(h->frame, frame.p, frame.n);
    list_push_front(after, &h->node);
    s->held_bytes += frame.n;
    s->stats.held++;
}

/* The event with which the user comes to see the conversation. */
static bool is_own_joining(const struct csession *s, const struct wire_server_msg *m)
{
    if (m->u.at.seq == 1) {
        return true;
    }
    if (m->event != WIRE_S_MEMBERSHIP || (m->u.membership.action != WIRE_MEMBERS_CREATE &&
                                          m->u.membership.action != WIRE_MEMBERS_ADD)) {
        return false;
    }
    struct json it;
    struct wire_member member;
    wire_list_begin(&it, m->u.membership.members_json, NULL);
    while (wire_member_next(&it, &member)) {
        if (member.user_id == s->user_id) {
            return true;
        }
    }
    return false;
}

/* The same of one that is held. */
static bool held_is_joining(const struct csession *s, const struct cheld *h)
{
    uint8_t *block = memchr(h->frame, '\\', h->n) ? malloc(h->n) : NULL;
    struct scratch scratch;
    struct wire_server_msg m;
    struct wire_error why;
    scratch_init(&scratch, block, block ? h->n : 0);
    bool joining = wire_parse_server(span_of(h->frame, h->n), &scratch, &m, &why) == CONFAB_OK &&
                   is_own_joining(s, &m);
    free(block);
    return joining;
}

void ctrack_begin_held(struct csession *s, struct ctrack *t)
{
    if (t->known || list_is_empty(&t->held)) {
        return;
    }
    const struct cheld *h = LIST_ENTRY(t->held.next, struct cheld, node);
    if (held_is_joining(s, h)) {
        t->known = true;
        t->seq = h->seq - 1;
        t->id = 0;
    }
}

void ctrack_leave(struct csession *s, struct ctrack *t)
{
    uint64_t seq = t->seq;
    struct cheld *back = NULL;
    LIST_EACH(&t->held, node)
    {
        struct cheld *h = LIST_ENTRY(node, struct cheld, node);
        back = h->seq > seq && held_is_joining(s, h) ? h : back;
    }
    while (!list_is_empty(&t->held) && LIST_ENTRY(t->held.next, struct cheld, node) != back) {
        drop_first_held(s, t);
    }
    forget_position(t);
    t->left_seq = seq;
    ctrack_begin_held(s, t);
}

/*
 * Has nothing of it been missed? One that began with a live frame, and was not in the list at a
 * resume since, was left out of that answer: what went by in between may be missing. A frame that
 * is read after a resume was sent may still be from before the server read it, and what followed
 * the frame may have been dropped up to then, without a resync: that resume took its place.
 */
static bool is_sure(const struct csession *s, struct conv_id conv)
{
    const struct ctrack *t = ctrack_find(s, conv);
    return t && t->known && (t->listed || t->begun == s->resumes);
}

/*
 * The user's own log says that there is a conversation: the list has it from now on. No list had it
 * before, unless one whose answer tells both. So a row of an earlier answer was of a time that a
 * restore has lost, or was told since this client named it, and what came after that row may be
 * missing.
 */
static void heard_of(struct csession *s, struct conv_id conv, enum confab_source source,
                     uint64_t now)
{
    struct ctrack *t = ctrack_find(s, conv);
    uint32_t with = source == CONFAB_LIVE ? s->answer : s->answers;
    if (t && t->paged != with && (source == CONFAB_LIVE || s->phase == CPHASE_SYNC)) {
        t->listed = false;
    }
    bool sure = is_sure(s, conv);
    if (sure) {
        ctrack_find(s, conv)->listed = true;
    }
    if (s->phase == CPHASE_SYNC && s->njoined < CSESSION_JOINED_MAX) {
        s->joined[s->njoined++] = conv; /* a page may bring it still, or take it away */
    } else if (!sure) {
        clink_resume_again(s, now);
    }
}

bool ctrack_lacks_joined(struct csession *s)
{
    bool lacks = false;
    for (uint32_t i = 0; i < s->njoined; i++) {
        lacks = lacks || !is_sure(s, s->joined[i]);
    }
    s->njoined = 0;
    return lacks;
}

static bool is_own_leaving(const struct csession *s, const struct wire_server_msg *m)
{
    if (m->event != WIRE_S_MEMBERSHIP) {
        return false;
    }
    const struct wire_membership *w = &m->u.membership;
    if (w->action == WIRE_MEMBERS_LEAVE && w->at.from == s->user_id) {
        return true;
    }
    if (w->action != WIRE_MEMBERS_REMOVE && w->action != WIRE_MEMBERS_LEAVE) {
        return false;
    }
    struct json it;
    struct wire_member member;
    wire_list_begin(&it, w->members_json, NULL);
    while (wire_member_next(&it, &member)) {
        if (member.user_id == s->user_id) {
            return true;
        }
    }
    return false;
}

void ctrack_apply(struct csession *s, struct ctrack *t, const struct wire_server_msg *m,
                  enum confab_source source, bool stays, uint64_t now)
{
    const struct wire_seq *at = &m->u.at;
    t->seq = at->seq;
    t->id = at->event_id;
    t->ahead = true;
    csession_touch(s, now);
    if (m->event == WIRE_S_NEW_MESSAGE && at->from != s->user_id) {
        t->deliver_seq = at->seq;
        ctrack_want_ack(s, t, now);
    }
    bool leaving = !stays && is_own_leaving(s, m);
    if (m->event == WIRE_S_SELF && m->u.self.action == WIRE_SELF_JOINED) {
        heard_of(s, m->u.self.target, source, now);
    }
    cdeliver(s, m, source);
    if (leaving) {
        ctrack_leave(s, t);
    }
}

void ctrack_drain(struct csession *s, struct ctrack *t, uint64_t now)
{
    while (t->known && !list_is_empty(&t->held) && !csession_is_stopped(s)) {
        struct cheld *h = LIST_ENTRY(t->held.next, struct cheld, node);
        if (h->seq > t->seq + 1) {
            return;
        }
        list_remove(&h->node);
        s->held_bytes -= h->n;
        if (h->seq <= t->seq) {
            s->stats.repeated++;
            free(h);
            continue;
        }
        struct span frame = span_of(h->frame, h->n);
        uint8_t *block = memchr(h->frame, '\\', h->n) ? malloc(h->n) : NULL;
        struct scratch scratch;
        scratch_init(&scratch, block, block ? h->n : 0);
        struct wire_server_msg m;
        struct wire_error why;
        if (wire_parse_server(frame, &scratch, &m, &why) == CONFAB_OK) {
            ctrack_apply(s, t, &m, h->source, h->source != CONFAB_LIVE, now);
        } else {
            /* No memory to decode it: it was valid when it came. History has it as well. */
            ctrack_aim(t, h->seq, h->id);
            free(block);
            free(h);
            return;
        }
        free(block);
        free(h);
    }
}

/* ---- Live ---- */

enum confab_err ctrack_live(struct csession *s, const struct wire_server_msg *m, struct span frame,
                            uint64_t now)
{
    const struct wire_seq *at = &m->u.at;
    if ((s->opt.flags & CONFAB_NO_FOLLOW) != 0) {
        return CONFAB_OK;
    }
    struct ctrack *t = ctrack_find(s, at->conv);
    if (!t) {
        enum confab_err err = ctrack_add(s, at->conv, &t);
        if (err == CONFAB_LIMIT) {
            csession_error(s, CONFAB_E_FULL, "too many conversations");
            return CONFAB_OK;
        }
        if (err) {
            return err;
        }
    }
    if (!t->known && list_is_empty(&t->held)) {
        t->begun = clink_is_heard(s) ? s->resumes : 0;
    }
    if (!t->known && s->phase == CPHASE_LIVE && is_own_joining(s, m)) {
        t->known = true;
        t->seq = at->seq - 1;
        t->id = 0;
    } else if (!t->known && s->phase == CPHASE_LIVE) {
        clink_resume_again(s, now); /* held until it is known what comes before it */
    }
    bool settled = t->known && s->phase == CPHASE_LIVE;
    if (settled && at->seq <= t->seq) {
        s->stats.repeated++;
        return CONFAB_OK;
    }
    if (settled && at->seq == t->seq + 1) {
        ctrack_apply(s, t, m, CONFAB_LIVE, false, now);
        ctrack_drain(s, t, now);
    } else if (frame.n > 0) {
        ctrack_hold(s, t, at, frame, CONFAB_LIVE);
    } else {
        /* An own message, put together from its ack. */
        struct buf b;
        buf_init(&b);
        wire_put_new_message(&b, &m->u.message);
        if (buf_ok(&b)) {
            ctrack_hold(s, t, at, span_of(b.data, b.len), CONFAB_LIVE);
        } else {
            ctrack_aim(t, at->seq, at->event_id);
        }
        buf_deinit(&b);
    }
    if (s->phase == CPHASE_LIVE) {
        cfill_check(s, t, now);
    }
    return CONFAB_OK;
}

void ctrack_must_reach(struct csession *s, struct conv_id conv, uint64_t seq, uint64_t id,
                       uint64_t now)
{
    struct ctrack *t = ctrack_find(s, conv);
    if (t && t->known && seq > t->seq) {
        ctrack_aim(t, seq, id);
        if (s->phase == CPHASE_LIVE) {
            cfill_check(s, t, now);
        }
    }
}

void ctrack_counter(struct csession *s, const struct wire_counter *m, uint64_t now)
{
    struct ctrack *t = ctrack_find(s, m->conv);
    if ((s->opt.flags & CONFAB_NO_FOLLOW) != 0 || (!t && ctrack_add(s, m->conv, &t) != CONFAB_OK)) {
        return;
    }
    if (s->phase != CPHASE_LIVE) {
        /* Its page may be still to come, and from before this. */
        if (m->seq > t->counted_seq) {
            t->counted_seq = m->seq;
            t->counted_id = m->event_id;
        }
        s->stats.counters++;
        return;
    }
    if (m->seq <= MAX(t->seq, t->left_seq)) {
        return;
    }
    s->stats.counters++;
    if (!t->known) {
        ctrack_aim(t, m->seq, m->event_id);
        clink_resume_again(s, now);
        return;
    }
    bool waits = list_is_linked(&t->fills) || t->fetch_id != 0;
    ctrack_aim(t, m->seq, m->event_id);
    cfill_check(s, t, now);
    if (!waits && list_is_linked(&t->fills) && !clive_looks(s, m->conv)) {
        t->fill_at_ms = now + random_below(s->random, CSESSION_COUNTER_MS);
    }
}

void ctrack_link_down(struct csession *s)
{
    s->answers++; /* the pages of one that was cut off do not count for the next */
    struct idmap_iter it = {0};
    while (idmap_next(&s->tracks, &it)) {
        struct ctrack *t = it.value;
        drop_held(s, t);
        t->counted_seq = 0;
        if (!t->known) { /* the next answer has it, or a restore has taken it back */
            t->target_seq = t->target_id = 0;
        }
        list_remove(&t->acks);
        t->next_ack_ms = 0;
        if (t->ahead) {
            /* The latest acks may have been lost; they merge by maximum. */
            t->acked_delivered = 0;
            t->acked_read = 0;
        }
    }
}

/* ---- Acks ---- */

void ctrack_want_ack(struct csession *s, struct ctrack *t, uint64_t now)
{
    if (list_is_linked(&t->acks) ||
        ((s->opt.flags & CONFAB_NO_DELIVERED) != 0 && t->read_seq <= t->acked_read)) {
        return;
    }
    t->next_ack_ms = MAX(t->next_ack_ms, now);
    struct list *after = s->acks.prev;
    while (after != &s->acks &&
           LIST_ENTRY(after, struct ctrack, acks)->next_ack_ms > t->next_ack_ms) {
        after = after->prev;
    }
    list_push_front(after, &t->acks);
}

static bool send_ack(struct csession *s, const struct ctrack *t, uint64_t seq,
                     enum wire_status status, uint64_t now)
{
    size_t mark = clink_frame_begin(s);
    wire_put_client_ack(&s->out, &(struct wire_ack){.conv = t->conv, .seq = seq, .status = status});
    return clink_frame_end(s, mark, now);
}

void ctrack_send_acks(struct csession *s, uint64_t now)
{
    while (csession_is_signed_in(s) && !list_is_empty(&s->acks)) {
        struct ctrack *t = LIST_ENTRY(s->acks.next, struct ctrack, acks);
        if (t->next_ack_ms > now) {
            return;
        }
        list_remove(&t->acks);
        bool quiet = (s->opt.flags & CONFAB_NO_DELIVERED) != 0;
        if (!quiet && t->deliver_seq > t->acked_delivered) {
            t->acked_delivered = t->deliver_seq;
            t->next_ack_ms = now + CSESSION_ACK_MS;
            if (!send_ack(s, t, t->deliver_seq, WIRE_DELIVERED, now)) {
                return;
            }
        }
        if (t->read_seq > t->acked_read) {
            t->acked_read = t->read_seq;
            t->next_ack_ms = now + CSESSION_ACK_MS;
            if (!send_ack(s, t, t->read_seq, WIRE_READ, now)) {
                return;
            }
        }
    }
}

bool ctrack_ack_refused(struct csession *s, const struct wire_failure *f, uint64_t now)
{
    struct ctrack *t = ctrack_find(s, f->conv);
    if (!t) {
        return false;
    }
    /* They merge by maximum: what did arrive does no harm a second time. */
    t->acked_delivered = 0;
    t->acked_read = 0;
    list_remove(&t->acks);
    t->next_ack_ms = now + csession_wait_after(s, f->retry_after_ms);
    ctrack_want_ack(s, t, now);
    return true;
}

enum confab_error csession_mark_read(struct csession *s, struct conv_id conv, uint64_t seq,
                                     uint64_t now)
{
    struct ctrack *t = ctrack_find(s, conv);
    if (!t || !t->known) {
        return CONFAB_E_NOT_FOUND;
    }
    if (seq > t->read_seq) {
        t->read_seq = MIN(seq, t->seq);
        csession_touch(s, now);
        if (csession_is_signed_in(s) && t->read_seq > t->acked_read) {
            ctrack_want_ack(s, t, now);
        }
    }
    return CONFAB_E_OK;
}

bool csession_position(const struct csession *s, struct conv_id conv, uint64_t *ret_seq,
                       uint64_t *ret_id)
{
    const struct ctrack *t = ctrack_find(s, conv);
    if (!t || !t->known) {
        return false;
    }
    *ret_seq = t->seq;
    *ret_id = t->id;
    return true;
}
