/*
 * Gaps: what is missing between the position and a held or mentioned event is fetched from history,
 * in pieces, by whoever drives the session. A piece says which range it covers; nothing else moves
 * the position. Failing fetches are repeated with growing waits for as long as the session lives:
 * the connection stays up meanwhile, other conversations are not touched.
 *
 * Only between caught_up and the end of the connection, answers included: before the next resume
 * has been answered nobody knows whether the server's history is still the one that was handed out.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <confab/rest.h>

#include "client/history.h"
#include "client/session_internal.h"

#define REFUSED_AFTER 3U /* answers without progress before the range is given up */

uint64_t cfill_goal(const struct ctrack *t)
{
    if (!t->known) {
        return 0;
    }
    if (!list_is_empty(&t->held)) {
        return LIST_ENTRY(t->held.next, struct cheld, node)->seq - 1;
    }
    return t->target_seq > t->seq ? t->target_seq : 0;
}

/* Moves without handing out. */
static void move_to(struct ctrack *t, uint64_t seq, uint64_t id)
{
    t->seq = seq;
    t->id = seq == t->target_seq && t->target_id != 0 ? t->target_id : id;
    t->ahead = true;
}

void cfill_skip(struct csession *s, struct ctrack *t, uint64_t seq, uint64_t now)
{
    struct confab_gap gap = {.from_seq = t->seq + 1, .to_seq = seq};
    cdeliver_conv(t->conv, gap.conv);
    s->stats.gaps_skipped++;
    move_to(t, seq, 0);
    csession_touch(s, now);
    if (s->on.on_gap) {
        s->on.on_gap(s->arg, &gap);
    }
}

void cfill_check(struct csession *s, struct ctrack *t, uint64_t now)
{
    uint64_t goal = cfill_goal(t);
    while (goal > t->seq && goal - t->seq > s->opt.fill_max && !t->seek_ms) {
        cfill_skip(s, t, goal, now);
        ctrack_drain(s, t, now);
        goal = cfill_goal(t);
    }
    if (goal > t->seq) {
        if (!list_is_linked(&t->fills) && t->fetch_id == 0) {
            t->fill_at_ms = now;
            t->fill_attempts = 0;
            list_push_back(&s->fills, &t->fills);
        }
        return;
    }
    list_remove(&t->fills);
    if (t->known && t->target_seq <= t->seq) {
        t->target_seq = t->target_id = 0;
    }
}

size_t csession_fills(const struct csession *s)
{
    size_t n = s->fetches;
    LIST_EACH(&s->fills, node)
    {
        n++;
    }
    return n;
}

bool csession_fetch_next(struct csession *s, uint64_t now, struct csession_fetch *ret)
{
    if (s->phase != CPHASE_LIVE || s->fetches >= CSESSION_FETCHES) {
        return false;
    }
    LIST_EACH(&s->fills, node)
    {
        struct ctrack *t = LIST_ENTRY(node, struct ctrack, fills);
        if (t->fill_at_ms > now) {
            continue;
        }
        list_remove(&t->fills);
        t->fetch_id = ++s->next_fetch_id;
        t->fetch_era = s->answers;
        s->fetches++;
        s->stats.fetches++;
        char conv[CONFAB_CONV_SIZE];
        char after[CONFAB_TIME_SIZE];
        cdeliver_conv(t->conv, conv);
        ret->conv = t->conv;
        ret->id = t->fetch_id;
        if (t->seek_ms || t->seq == 0) {
            confab_time_utc(t->seek_ms, after); /* there is no seq 0 to ask after */
        } else {
            snprintf(after, sizeof(after), "%" PRIu64, t->seq);
        }
        snprintf(ret->path, sizeof(ret->path),
                 "/api/v1/conversations/%s/messages?after=%s&limit=%u&aliases=false", conv, after,
                 CSESSION_FETCH_SIZE);
        return true;
    }
    return false;
}

struct fill {
    struct csession *s;
    struct ctrack *t;
    uint64_t goal;
    uint64_t fetch_id;
    uint64_t now;
};

static void on_fetched(void *arg, const struct confab_message *m)
{
    struct fill *f = arg;
    struct ctrack *t = f->t;
    /* A handler may have stopped the session. */
    if (!t->known || csession_is_stopped(f->s) || m->seq <= t->seq || m->seq > f->goal) {
        return;
    }
    struct confab_message copy = *m;
    copy.source = CONFAB_FILLED;
    copy.own = m->from == f->s->user_id;
    move_to(t, m->seq, m->message_id);
    csession_touch(f->s, f->now);
    if (!copy.own) {
        t->deliver_seq = m->seq;
    }
    f->s->stats.messages++;
    if (f->s->on.on_message) {
        f->s->on.on_message(f->s->arg, &copy);
    }
}

static void try_again(struct csession *s, struct ctrack *t, uint64_t after_ms, uint64_t now)
{
    uint64_t cap = s->opt.backoff_min_ms;
    for (uint32_t i = 0; i < t->fill_attempts && cap < s->opt.backoff_max_ms; i++) {
        cap *= 2;
    }
    cap = MIN(cap, s->opt.backoff_max_ms);
    t->fill_attempts++;
    t->fill_at_ms = now + after_ms + random_below(s->random, cap + 1);
    list_push_back(&s->fills, &t->fills);
    s->stats.fetches_failed++;
}

/* True when the position moved. */
static bool take_page(struct fill *f, struct span body, enum confab_err *ret_err)
{
    struct csession *s = f->s;
    struct ctrack *t = f->t;
    uint64_t before = t->seq;
    struct chistory_page page;
    *ret_err = chistory_parse(body, &page);
    if (*ret_err) {
        return false;
    }
    if (t->seek_ms) {
        uint64_t start = page.covered_to >= page.covered_from ? page.covered_from - 1 : f->goal;
        t->seek_ms = 0;
        t->seq = MAX(t->seq, MIN(start, f->goal));
        before = UINT64_MAX; /* it is known now: that is progress */
        csession_touch(s, f->now);
    } else if (page.covered_to > t->seq && page.covered_from > t->seq + 1) {
        /* The server's history begins later, or is closed to this user up to there. */
        cfill_skip(s, t, MIN(page.covered_from - 1, f->goal), f->now);
    }
    chistory_each(&page, on_fetched, f);
    uint64_t end = MIN(page.covered_to, f->goal);
    if (t->known && end > t->seq && !csession_is_stopped(s)) {
        move_to(t, end, 0);
        csession_touch(s, f->now);
    }
    chistory_deinit(&page);
    return before == UINT64_MAX || t->seq > before;
}

void csession_fetch_done(struct csession *s, const struct csession_fetch *fetch, int status,
                         uint64_t retry_after_ms, struct span body, uint64_t now)
{
    struct ctrack *t = ctrack_find(s, fetch->conv);
    if (s->fetches > 0) {
        s->fetches--;
    }
    if (!t || fetch->id == 0 || t->fetch_id != fetch->id) {
        return;
    }
    t->fetch_id = 0;
    if (csession_is_stopped(s)) {
        return; /* asked for again after the next resume */
    }
    if (s->phase != CPHASE_LIVE || t->fetch_era != s->answers) {
        if (cfill_goal(t) > t->seq && !list_is_linked(&t->fills)) {
            t->fill_at_ms = now;
            list_push_back(&s->fills, &t->fills);
        }
        return;
    }
    struct fill f = {.s = s, .t = t, .goal = cfill_goal(t), .fetch_id = fetch->id, .now = now};
    if (f.goal <= t->seq) {
        ctrack_drain(s, t, now);
        cfill_check(s, t, now);
        return;
    }
    enum confab_err err = CONFAB_OK;
    if (status == 401) {
        csession_close_link(s, WS_CLOSE_NORMAL, CPHASE_REFUSED, CONFAB_E_UNAUTHENTICATED, now);
        try_again(s, t, 0, now);
    } else if (status == 403 || status == 404) {
        /* Not a member any more: the page that says so has come, or will. */
        cfill_skip(s, t, f.goal, now);
    } else if (status != 200) {
        try_again(s, t, retry_after_ms, now);
        return;
    } else if (take_page(&f, body, &err)) {
        t->fill_attempts = 0;
    } else if (err == CONFAB_OK && t->fill_attempts >= REFUSED_AFTER) {
        cfill_skip(s, t, f.goal, now);
    } else {
        if (err == CONFAB_INVALID) {
            s->stats.protocol_errors++;
        }
        try_again(s, t, 0, now);
        return;
    }
    if (t->deliver_seq > t->acked_delivered && csession_is_signed_in(s)) {
        ctrack_want_ack(s, t, now);
    }
    ctrack_drain(s, t, now);
    cfill_check(s, t, now);
    if (csession_is_signed_in(s)) {
        ctrack_send_acks(s, now);
        coutbox_pump(s, now);
    }
}
