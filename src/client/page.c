/*
 * Resume: the pages of conversations that the server answers with, and the moment of having caught
 * up. Live events may come in between; both go by seq.
 */
#include <stdlib.h>

#include "client/session_internal.h"

#define SEEK_SLACK_MS 5000U /* between an event's time and its frame, at most */

static bool page_covers(const struct wire_conv *c)
{
    return c->covered_from > 0 && c->covered_to >= c->covered_from;
}

struct page_entry {
    const struct wire_conv *c;
    struct scratch scratch; /* for one event */
    bool gap;               /* what comes before the page is missing */
};

static void tell_conversation(struct csession *s, const struct wire_conv *c, bool known)
{
    if (!s->on.on_conversation) {
        return;
    }
    struct confab_conversation out = {
        .kind = (enum confab_conv_kind)c->kind,
        .left = c->left,
        .known = known,
    };
    cdeliver_conv(c->conv, out.conv);
    if (!c->left) {
        out.role = (enum confab_role)c->role;
        out.muted = c->muted;
        out.pinned = c->pinned;
        out.name = ctext(c->name);
        out.with = c->with;
        out.members = c->members;
        out.head = c->head;
        out.last_message_ms = c->last_message_ms;
        out.unread = c->unread;
        out.mentions = c->mentions;
        out.delivered = c->delivered;
        out.read = c->read;
        out.preview_id = c->preview.message_id;
        out.preview_from = c->preview.from;
        out.preview_ms = c->preview.sent_at_ms;
        out.preview = ctext(c->preview.content);
        out.draft = ctext(c->draft);
    }
    s->on.on_conversation(s->arg, &out);
}

static enum confab_err next_event(struct page_entry *e, struct json *it,
                                  struct wire_server_msg *ret, struct span *ret_frame)
{
    struct wire_error why;
    if (!wire_event_next(it, ret_frame)) {
        return json_ok(it) ? CONFAB_EOF : CONFAB_INVALID;
    }
    scratch_reset(&e->scratch);
    enum confab_err err = wire_parse_server(*ret_frame, &e->scratch, ret, &why);
    if (err) {
        return err;
    }
    if (wire_in_sequence(ret->event) && !conv_id_eq(ret->u.at.conv, e->c->conv)) {
        return CONFAB_INVALID;
    }
    return CONFAB_OK;
}

/* Does the page show another event where ours is? Then the server's history is another one. */
static bool contradicts(struct page_entry *e, const struct ctrack *t)
{
    const struct wire_conv *c = e->c;
    if (t->id == 0) {
        return false;
    }
    if (c->head == t->seq && c->head_id != 0 && c->head_id != t->id) {
        return true;
    }
    if (c->covered_from > t->seq || c->covered_to < t->seq) {
        return false;
    }
    struct json it;
    struct wire_server_msg m;
    struct span frame;
    wire_list_begin(&it, c->events, NULL);
    while (next_event(e, &it, &m, &frame) == CONFAB_OK) {
        if (wire_in_sequence(m.event) && m.u.at.seq >= t->seq) {
            return m.u.at.seq == t->seq && m.u.at.event_id != t->id;
        }
    }
    return false;
}

static enum confab_err page_events(struct csession *s, struct ctrack *t, struct page_entry *e,
                                   enum confab_source source, uint64_t now)
{
    struct json it;
    struct wire_server_msg m;
    struct span frame;
    enum confab_err err;
    wire_list_begin(&it, e->c->events, NULL);
    while ((err = next_event(e, &it, &m, &frame)) == CONFAB_OK) {
        if (csession_is_stopped(s)) {
            return CONFAB_OK;
        }
        if (!wire_in_sequence(m.event)) {
            continue;
        }
        const struct wire_seq *at = &m.u.at;
        if (at->seq < e->c->covered_from || at->seq > e->c->covered_to) {
            return CONFAB_INVALID;
        }
        if (at->seq <= t->seq) {
            s->stats.repeated++;
        } else if (e->gap) {
            ctrack_hold(s, t, at, frame, source);
        } else {
            /* If the user left in between: the page is one of a member, who came back. */
            ctrack_apply(s, t, &m, source, true, now);
        }
    }
    return err == CONFAB_EOF ? CONFAB_OK : err;
}

/* Does the page reach back behind that time? */
static bool begins_before(struct page_entry *e, uint64_t ms)
{
    struct json it;
    struct wire_server_msg m;
    struct span frame;
    wire_list_begin(&it, e->c->events, NULL);
    while (next_event(e, &it, &m, &frame) == CONFAB_OK) {
        if (wire_in_sequence(m.event)) {
            return m.u.at.sent_at_ms < ms;
        }
    }
    return false;
}

/*
 * Where to begin in a conversation without a position. On the very first resume that is the page.
 * Later ones bring conversations that began, or were joined, while this client was away: then what
 * the page leaves out was missed, and it is looked for from the time of the last caught_up on,
 * unless the page begins before that: what is older is history, or of another clock.
 */
static void start_at_page(struct csession *s, struct ctrack *t, struct page_entry *e, bool reset)
{
    const struct wire_conv *c = e->c;
    bool covers = page_covers(c);
    t->known = true;
    t->seq = covers ? c->covered_from - 1 : c->head;
    t->id = covers ? 0 : c->head_id;
    if (covers && c->limited && !reset && s->since.len > 0 && s->caught_up_ms > SEEK_SLACK_MS &&
        t->left_seq < t->seq && !begins_before(e, s->caught_up_ms - SEEK_SLACK_MS)) {
        t->seq = t->left_seq;
        t->seek_ms = s->caught_up_ms - SEEK_SLACK_MS;
    }
    t->seq = MAX(t->seq, t->left_seq);
    t->left_seq = 0;
}

/* The server's history is another one. */
static void reset_conv(struct csession *s, struct ctrack *t)
{
    char conv[CONFAB_CONV_SIZE];
    s->stats.resets++;
    ctrack_reset(t);
    t->listed = true;
    cdeliver_conv(t->conv, conv);
    if (s->on.on_reset) {
        s->on.on_reset(s->arg, conv);
    }
}

/* Also of one that was left meanwhile. */
static bool has_handed_out(const struct ctrack *t)
{
    return t->known || t->left_seq > 0;
}

static enum confab_err page_conv(struct csession *s, struct page_entry *e, uint64_t now)
{
    const struct wire_conv *c = e->c;
    bool covers = page_covers(c);
    enum confab_source source = CONFAB_MISSED;
    struct ctrack *t = ctrack_find(s, c->conv);
    tell_conversation(s, c, t && t->known);
    if (t) {
        t->paged = s->answers;
    }
    if (c->left) {
        if (t && has_handed_out(t) && c->reset) {
            reset_conv(s, t);
            t->listed = false;
        } else if (t && t->known) {
            ctrack_leave(s, t);
        }
        return CONFAB_OK;
    }
    if (!t) {
        enum confab_err err = ctrack_add(s, c->conv, &t);
        if (err) {
            return err == CONFAB_LIMIT ? CONFAB_OK : err;
        }
    }
    t->paged = s->answers;
    t->listed = true;
    bool other = (has_handed_out(t) && c->reset) || (t->known && contradicts(e, t));
    if (other) {
        reset_conv(s, t);
    }
    if (!t->known) {
        source = CONFAB_FIRST;
        start_at_page(s, t, e, other);
    }
    e->gap = t->seek_ms || (covers && c->covered_from > t->seq + 1);
    if (e->gap && !t->seek_ms && c->covered_from - 1 - t->seq > s->opt.fill_max) {
        cfill_skip(s, t, c->covered_from - 1, now);
        e->gap = false;
    }
    enum confab_err err = page_events(s, t, e, source, now);
    if (err || !t->known || csession_is_stopped(s)) {
        return err;
    }
    uint64_t end_id = c->covered_to == c->head ? c->head_id : 0;
    if (e->gap && covers) {
        ctrack_aim(t, c->covered_to, end_id);
    } else if (covers && c->covered_to > t->seq) {
        /* The last ones are hidden from this user. */
        t->seq = c->covered_to;
        t->id = end_id;
        t->ahead = true;
    }
    if (c->head > t->seq) {
        ctrack_aim(t, c->head, c->head_id);
    }
    t->acked_delivered = c->delivered;
    t->acked_read = c->read;
    if (c->kind != WIRE_SELF && t->seq > c->delivered) {
        t->deliver_seq = t->seq;
        ctrack_want_ack(s, t, now);
    }
    ctrack_drain(s, t, now);
    return CONFAB_OK;
}

enum confab_err ctrack_page(struct csession *s, struct span page, struct scratch *scratch,
                            uint64_t now)
{
    /* Of its own, so that one event's strings do not use up the room of the next. */
    uint8_t *block = NULL;
    if (scratch->cap > 0) {
        block = malloc(scratch->cap);
        if (!block) {
            return CONFAB_NOMEM;
        }
    }
    struct json it;
    struct wire_conv c;
    enum confab_err err = CONFAB_OK;
    wire_list_begin(&it, page, scratch);
    while (!err && csession_is_signed_in(s) && wire_conv_next(&it, &c)) {
        struct page_entry e = {.c = &c};
        scratch_init(&e.scratch, block, block ? scratch->cap : 0);
        err = page_conv(s, &e, now);
    }
    if (!err && !json_ok(&it)) {
        err = it.err;
    }
    free(block);
    return err;
}

/*
 * The token was of a time that a restore has lost, so the server has told all that there is; a
 * conversation that was not among it is gone, with what was handed out of it.
 */
static void forget_gone(struct csession *s)
{
    struct idmap_iter it = {0};
    while (csession_is_signed_in(s) && idmap_next(&s->tracks, &it)) {
        struct ctrack *t = it.value;
        /* Of one that was left a page does not say what there was of it. */
        if (has_handed_out(t) && (!t->known || t->paged != s->answers)) {
            const struct wire_conv gone = {.conv = t->conv, .kind = WIRE_GROUP, .left = true};
            tell_conversation(s, &gone, t->known);
            reset_conv(s, t);
            t->listed = false;
        }
    }
}

void ctrack_caught_up(struct csession *s, bool reset, uint64_t now)
{
    struct idmap_iter it = {0};
    if (reset) {
        forget_gone(s);
    }
    s->answers++;
    while (csession_is_signed_in(s) && idmap_next(&s->tracks, &it)) {
        struct ctrack *t = it.value;
        ctrack_begin_held(s, t);
        ctrack_drain(s, t, now);
        if (t->counted_seq > MAX(t->seq, t->left_seq)) {
            ctrack_aim(t, t->counted_seq, t->counted_id);
        }
        t->counted_seq = 0;
        if (!t->known) {
            continue;
        }
        if (!list_is_empty(&t->held)) {
            /* The new token says that these have come: remember it beyond this process. */
            struct cheld *last = LIST_ENTRY(t->held.prev, struct cheld, node);
            ctrack_aim(t, last->seq, last->id);
        }
        t->ahead = false;
        if (t->deliver_seq > t->acked_delivered || t->read_seq > t->acked_read) {
            ctrack_want_ack(s, t, now);
        }
        cfill_check(s, t, now);
    }
}
