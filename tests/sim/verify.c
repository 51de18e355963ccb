/*
 * Answers of reads against the model. A read sees one state, or for long ones several, between its
 * arrival at the owner and its answer: where that matters, both ends are allowed.
 */
#include "base/check.h"
#include "users.h"

enum { LIMIT_MAX = 1000, PREVIEW_BYTES = 120, MENTIONS_MAX = 100 };

#define ULL(x) ((unsigned long long)(x))

static bool history_wants(const struct command *cmd, uint8_t kind)
{
    return !cmd || !cmd->messages_only || kind == EVENT_MESSAGE ||
           (cmd->with_changes && event_is_change(kind));
}

/* The wanted events of a range: rising, right, allowed; how many. */
static uint32_t check_records(struct sim *s, const struct mconv *c, uint64_t user,
                              const struct seen_conv *seen, const struct buf *records,
                              uint64_t from, uint64_t to, const struct command *cmd)
{
    bool complete = c->members_version == seen->members_version;
    struct reader rd = reader_of(records->data, records->len);
    struct event ev;
    uint64_t next = from;
    uint32_t n = 0;
    bool more = true;
    while (more) {
        more = command_record_next(&rd, &ev);
        uint64_t upto = more ? ev.seq : to + 1;
        if (more) {
            SIM_CHECK(s, ev.seq >= next && ev.seq <= to, "events rise within what is covered",
                      CONV_FMT ": seq %llu, covered %llu-%llu", CONV_ARG(c->id), ULL(ev.seq),
                      ULL(from), ULL(to));
            enum sight target =
                ev.kind == EVENT_EDIT ? model_sees(s->model, c, user, ev.target_seq) : SIGHT_YES;
            SIM_CHECK(s, target != SIGHT_NO || ev.text.n == 0, "nobody sees what they may not",
                      CONV_FMT " seq %llu, user %llu", CONV_ARG(c->id), ULL(ev.seq), ULL(user));
            bool blank = target != SIGHT_YES && ev.text.n == 0;
            const char *wrong = blank ? NULL : mconv_wrong(c, &ev, seen->head, c->head);
            SIM_CHECK(s, !wrong, "events read back as they are", CONV_FMT " seq %llu kind %u: %s",
                      CONV_ARG(c->id), ULL(ev.seq), ev.kind, wrong);
            SIM_CHECK(s, model_sees(s->model, c, user, ev.seq) != SIGHT_NO,
                      "nobody sees what they may not", CONV_FMT " seq %llu, user %llu",
                      CONV_ARG(c->id), ULL(ev.seq), ULL(user));
            n++;
        }
        for (uint64_t seq = next; complete && seq < upto; seq++) {
            const struct mevent *e = mconv_event(c, seq);
            bool wanted = e && history_wants(cmd, e->ev.kind);
            SIM_CHECK(s, !wanted || model_sees(s->model, c, user, seq) != SIGHT_YES,
                      "what is covered is complete",
                      CONV_FMT " seq %llu is missing, covered %llu-%llu, user %llu",
                      CONV_ARG(c->id), ULL(seq), ULL(from), ULL(to), ULL(user));
        }
        next = upto + 1;
    }
    SIM_CHECK(s, !rd.bad, "records can be decoded", CONV_FMT, CONV_ARG(c->id));
    return n;
}

/* The first seq of an event whose id is at least this. */
static uint64_t seq_of_id(const struct mconv *c, uint64_t id)
{
    uint64_t seq = 1;
    while (seq <= c->head && c->events[seq - 1].ev.id < id) {
        seq++;
    }
    return seq;
}

/* The highest (reverse) or lowest seq that the bounds allow, given a head. */
static uint64_t history_start(const struct mconv *c, const struct mmember *mm,
                              const struct command *cmd, uint64_t head)
{
    uint64_t id = cmd->at_id;
    if (!id && cmd->at_ms) {
        id = message_id_make(MAX(cmd->at_ms, ID_EPOCH_MS), 0, 0);
    }
    if (!cmd->reverse) {
        uint64_t lo = MAX(mmember_first(mm), cmd->from_seq);
        return id ? MAX(lo, seq_of_id(c, cmd->at_id ? id + 1 : id)) : lo;
    }
    uint64_t hi = MIN(mm->intervals[mm->nintervals - 1].to, head);
    hi = cmd->to_seq ? MIN(hi, cmd->to_seq) : hi;
    if (cmd->offset > 0) {
        /* So many messages are left out at the end. */
        uint64_t ord = head ? c->events[head - 1].ev.ord : 0;
        uint64_t keep = ord > cmd->offset ? ord - cmd->offset : 0;
        uint64_t seq = 0;
        while (seq < head && c->events[seq].ev.ord <= keep) {
            seq++;
        }
        return MIN(hi, seq);
    }
    return id ? MIN(hi, seq_of_id(c, id) - 1) : hi;
}

void verify_history(struct sim *s, const struct uop *op, const struct command *cmd)
{
    const struct mconv *c = op->seen.conv;
    const struct mmember *mm = c ? mconv_member(c, cmd->actor) : NULL;
    bool still = c && c->members_version == op->seen.members_version;
    bool may = mm && mm->nintervals > 0;
    if (cmd->err) {
        SIM_CHECK(s, users_transient(s, cmd->err) || !may || !still, "members may read",
                  CONV_FMT ": %s", c ? CONV_ARG(c->id) : 0, err_text(cmd->err));
        return;
    }
    s->result.counts.reads++;
    SIM_CHECK(s, may, "nobody sees what they may not", "history of " CONV_FMT " by %llu",
              CONV_ARG(cmd->conv), ULL(cmd->actor));
    uint64_t from = cmd->covered_from;
    uint64_t to = cmd->covered_to;
    uint32_t n = check_records(s, c, cmd->actor, &op->seen, &cmd->ret, from, to, cmd);
    SIM_CHECK(s, n <= MIN(cmd->limit, LIMIT_MAX), "limits are kept", "%u of %u", n, cmd->limit);
    if (!still) {
        return;
    }
    uint64_t first = mmember_first(mm);
    uint64_t lo = history_start(c, mm, cmd, op->seen.head);
    uint64_t hi = history_start(c, mm, cmd, c->head);
    uint64_t start = cmd->reverse ? to : from;
    /* With an empty range the start says nothing. */
    bool empty = from > to;
    SIM_CHECK(s, empty || (start >= lo && start <= hi), "a read begins where it was asked to",
              CONV_FMT ": %llu-%llu, asked %llu to %llu, offset %llu id %llu ms %llu",
              CONV_ARG(c->id), ULL(from), ULL(to), ULL(lo), ULL(hi), ULL(cmd->offset),
              ULL(cmd->at_id), ULL(cmd->at_ms));
    bool full = n == MIN(cmd->limit, LIMIT_MAX);
    uint64_t bottom = MAX(first, cmd->from_seq);
    uint64_t top = MIN(mm->intervals[mm->nintervals - 1].to, op->seen.head);
    top = cmd->to_seq ? MIN(top, cmd->to_seq) : top;
    bool reached = cmd->reverse ? from <= bottom || lo < bottom : to >= top || lo > top;
    SIM_CHECK(s, full || reached, "a read goes as far as it may",
              CONV_FMT ": %u events, covered %llu-%llu, allowed %llu-%llu, reverse %d",
              CONV_ARG(c->id), n, ULL(from), ULL(to), ULL(bottom), ULL(top), cmd->reverse);
    uint64_t last = mmember_last(c, mm);
    bool left = cmd->reverse ? from > first : to < last;
    SIM_CHECK(s, !cmd->more || left || empty, "there is more where it is said",
              CONV_FMT ": covered %llu-%llu of %llu-%llu", CONV_ARG(c->id), ULL(from), ULL(to),
              ULL(first), ULL(last));
    SIM_CHECK(s, cmd->more || !left || empty || c->head != op->seen.head,
              "what is left out is told", CONV_FMT ": covered %llu-%llu of %llu-%llu",
              CONV_ARG(c->id), ULL(from), ULL(to), ULL(first), ULL(last));
}

void verify_list(struct sim *s, const struct command *cmd)
{
    if (cmd->err) {
        SIM_CHECK(s, users_transient(s, cmd->err), "everybody has a list", "%s",
                  err_text(cmd->err));
        return;
    }
    const struct mconv *c = model_conv(s->model, cmd->conv);
    uint32_t want = c ? c->nentries : 0;
    SIM_CHECK(s, cmd->nentries == want, "lists are what joined and left say",
              "user %llu: %u entries, should be %u", ULL(cmd->actor), cmd->nentries, want);
    for (uint32_t i = 0; i < want; i++) {
        const struct list_entry *e = &cmd->entries[i];
        const struct mentry *me = mconv_entry(c, e->conv);
        SIM_CHECK(s,
                  me && me->joined == e->joined && me->kind == e->conv_kind &&
                      me->pinned == e->pinned && me->muted == e->muted_until_ms &&
                      me->since_ms == e->since_ms,
                  "lists are what joined and left say", "user %llu, " CONV_FMT, ULL(cmd->actor),
                  CONV_ARG(e->conv));
    }
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct conv_id of;
    struct span text;
    uint64_t seq;
    uint32_t drafts = 0;
    while (conv_draft_next(&rd, &of, &seq, &text)) {
        const struct mentry *me = mconv_entry(c, of);
        SIM_CHECK(s, me && me->draft == model_draft(text), "drafts are what was written last",
                  "user %llu, " CONV_FMT, ULL(cmd->actor), CONV_ARG(of));
        drafts++;
    }
    for (uint32_t i = 0; i < want; i++) {
        drafts -= c->entries[i].draft != 0;
    }
    SIM_CHECK(s, drafts == 0, "drafts are what was written last", "user %llu: %d too many",
              ULL(cmd->actor), (int)drafts);
    SIM_CHECK(s, cmd->ret_seq == (c ? c->head : 0), "lists say their head", "user %llu",
              ULL(cmd->actor));
}

void verify_members(struct sim *s, const struct uop *op, const struct command *cmd)
{
    const struct mconv *c = op->seen.conv;
    bool active = c && mconv_active(c, cmd->actor);
    if (cmd->err) {
        SIM_CHECK(s, users_transient(s, cmd->err) || !active, "members see the members", "%s",
                  err_text(cmd->err));
        return;
    }
    SIM_CHECK(s, active, "nobody sees what they may not", "members of " CONV_FMT,
              CONV_ARG(cmd->conv));
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    uint64_t user;
    uint8_t role;
    uint32_t n = 0;
    while (event_members_next(&rd, &user, &role)) {
        const struct mmember *mm = mconv_active(c, user);
        SIM_CHECK(s, mm && mm->role == role, "members are what events say", CONV_FMT " user %llu",
                  CONV_ARG(c->id), ULL(user));
        n++;
    }
    SIM_CHECK(s, n == mconv_nactive(c), "members are what events say", CONV_FMT, CONV_ARG(c->id));
}

void verify_lookup(struct sim *s, const struct uop *op, const struct command *cmd)
{
    struct mconv *c;
    const struct mevent *e = model_by_id(s->model, cmd->in.target_id, &c);
    enum sight sight = e ? model_sees(s->model, c, cmd->actor, e->ev.seq) : SIGHT_NO;
    if (cmd->err) {
        bool still = op->seen.conv && op->seen.conv->members_version == op->seen.members_version;
        SIM_CHECK(s, users_transient(s, cmd->err) || sight != SIGHT_YES || !still,
                  "messages are found by id", "id %llu: %s", ULL(cmd->in.target_id),
                  err_text(cmd->err));
        return;
    }
    SIM_CHECK(s, sight != SIGHT_NO, "nobody sees what they may not", "id %llu by %llu",
              ULL(cmd->in.target_id), ULL(cmd->actor));
    SIM_CHECK(s, cmd->ret_seq == e->ev.seq && conv_id_eq(cmd->ret_conv, c->id),
              "messages are found by id", "id %llu", ULL(cmd->in.target_id));
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    SIM_CHECK(s, command_record_next(&rd, &ev), "records can be decoded", "id %llu",
              ULL(cmd->in.target_id));
    const char *wrong = mconv_wrong(c, &ev, op->seen.head, c->head);
    SIM_CHECK(s, !wrong, "events read back as they are", CONV_FMT " seq %llu: %s", CONV_ARG(c->id),
              ULL(ev.seq), wrong);
}

/* ---- snapshots --------------------------------------------------------------------------- */

static uint64_t ord_at(const struct mconv *c, uint64_t seq)
{
    return seq > 0 ? c->events[seq - 1].ev.ord : 0;
}

/* The event that gave the name. */
static uint64_t name_seq(const struct mconv *c)
{
    uint64_t seq = c->head;
    while (seq > 1 && c->events[seq - 1].ev.kind != EVENT_RENAME) {
        seq--;
    }
    return seq;
}

static uint32_t mentions_after(const struct mconv *c, uint64_t user, uint64_t read)
{
    uint32_t n = 0;
    for (uint64_t seq = read + 1; seq <= c->head; seq++) {
        const struct event *ev = &c->events[seq - 1].ev;
        struct reader rd = reader_of(ev->mentions.p, ev->mentions.n);
        uint64_t who;
        bool hit = false;
        while (ev->kind == EVENT_MESSAGE && event_mentions_next(&rd, &who)) {
            hit |= who == user && ev->actor != user;
        }
        n += hit;
    }
    return MIN(n, MENTIONS_MAX);
}

static void check_last_message(struct sim *s, const struct mconv *c, uint64_t user,
                               const struct snapshot *snap)
{
    const struct mevent *last = NULL;
    for (uint64_t seq = c->head; seq > 0 && !last; seq--) {
        last = c->events[seq - 1].ev.kind == EVENT_MESSAGE ? &c->events[seq - 1] : NULL;
    }
    enum sight sight = last ? model_sees(s->model, c, user, last->ev.seq) : SIGHT_NO;
    if (sight == SIGHT_NO || (sight == SIGHT_MAYBE && snap->last_message_id == 0)) {
        SIM_CHECK(s, snap->last_message_id == 0 && snap->preview.len == 0,
                  "the inbox shows what may be seen", CONV_FMT " user %llu", CONV_ARG(c->id),
                  ULL(user));
        return;
    }
    struct event now;
    mconv_message(c, last, last->ncauses, &now);
    SIM_CHECK(s,
              snap->last_message_id == now.id && snap->last_message_seq == now.seq &&
                  snap->last_message_from == now.actor && snap->last_message_flags == now.flags,
              "the inbox shows the last message", CONV_FMT " user %llu: seq %llu, should be %llu",
              CONV_ARG(c->id), ULL(user), ULL(snap->last_message_seq), ULL(now.seq));
    size_t n = MIN(now.text.n, PREVIEW_BYTES);
    while (n < now.text.n && n > 0 && (now.text.p[n] & 0xc0) == 0x80) {
        n--;
    }
    SIM_CHECK(s, snap->preview.len == n && (n == 0 || !memcmp(snap->preview.data, now.text.p, n)),
              "previews show the last message", CONV_FMT " seq %llu", CONV_ARG(c->id),
              ULL(now.seq));
}

/* Nothing has happened since the question: every field is known. */
static void check_exact(struct sim *s, const struct mconv *c, const struct mmember *mm,
                        const struct snapshot *snap)
{
    uint64_t user = mm->user;
    bool active = mm->role != ROLE_NONE;
    uint64_t unread = active ? ord_at(c, c->head) - ord_at(c, snap->read_seq) : 0;
    SIM_CHECK(s, snap->unread == unread, "unread counts",
              CONV_FMT " user %llu: %llu, should be %llu (read %llu)", CONV_ARG(c->id), ULL(user),
              ULL(snap->unread), ULL(unread), ULL(snap->read_seq));
    uint32_t mentions = active ? mentions_after(c, user, snap->read_seq) : 0;
    SIM_CHECK(s, snap->mentions == mentions, "mentions count",
              CONV_FMT " user %llu: %u, should be %u", CONV_ARG(c->id), ULL(user), snap->mentions,
              mentions);
    SIM_CHECK(s,
              snap->members == (active ? mconv_nactive(c) : 0) && snap->role == mm->role &&
                  snap->active == active && snap->conv_kind == c->kind,
              "members are what events say", CONV_FMT, CONV_ARG(c->id));
    bool named = active || name_seq(c) <= snap->head_seq;
    SIM_CHECK(s,
              span_eq(span_of(snap->name.data, snap->name.len),
                      span_of(c->name, named ? c->name_len : 0)),
              "names are what events say", CONV_FMT, CONV_ARG(c->id));
    SIM_CHECK(s, snap->head_seq == mmember_last(c, mm), "heads are what may be seen",
              CONV_FMT ": %llu", CONV_ARG(c->id), ULL(snap->head_seq));
    SIM_CHECK(s,
              snap->head_id == c->events[snap->head_seq - 1].ev.id ||
                  (snap->head_id == 0 && snap->head_seq < c->head),
              "the head's id is that of its event", CONV_FMT " seq %llu", CONV_ARG(c->id),
              ULL(snap->head_seq));
    SIM_CHECK(s, snap->first_visible_seq == mmember_first(mm), "heads are what may be seen",
              CONV_FMT ": first %llu", CONV_ARG(c->id), ULL(snap->first_visible_seq));
    if (c->kind == CONV_DIRECT) {
        uint64_t peer = c->members[0].user == user ? c->members[1].user : c->members[0].user;
        SIM_CHECK(s, snap->peer == peer, "a direct conversation names the other", CONV_FMT,
                  CONV_ARG(c->id));
    }
    check_last_message(s, c, user, snap);
}

void verify_snapshot(struct sim *s, uint64_t user, const struct seen_conv *seen,
                     const struct snapshot *snap)
{
    const struct mconv *c = model_conv(s->model, snap->conv);
    const struct mmember *mm = c ? mconv_member(c, user) : NULL;
    SIM_CHECK(s, mm && mm->nintervals > 0, "nobody sees what they may not",
              "snapshot of " CONV_FMT " for %llu", CONV_ARG(snap->conv), ULL(user));
    check_records(s, c, user, seen, &snap->events, snap->covered_from, snap->covered_to, false);
    SIM_CHECK(s, snap->read_seq >= seen->read_lo && snap->delivered_seq >= seen->delivered_lo,
              "durable cursors stay", CONV_FMT " user %llu: %llu %llu, were %llu %llu",
              CONV_ARG(c->id), ULL(user), ULL(snap->read_seq), ULL(snap->delivered_seq),
              ULL(seen->read_lo), ULL(seen->delivered_lo));
    SIM_CHECK(s, snap->delivered_seq >= snap->read_seq && snap->delivered_seq <= mm->cursor_hi,
              "cursors go where they were asked to", CONV_FMT " user %llu: %llu %llu",
              CONV_ARG(c->id), ULL(user), ULL(snap->read_seq), ULL(snap->delivered_seq));
    bool still = c->members_version == seen->members_version;
    SIM_CHECK(s,
              !still || (snap->head_seq >= MIN(seen->head, mmember_last(c, mm)) &&
                         snap->head_seq <= mmember_last(c, mm)),
              "heads are what may be seen", CONV_FMT ": %llu", CONV_ARG(c->id),
              ULL(snap->head_seq));
    if (c->version == seen->version) {
        check_exact(s, c, mm, snap);
    }
}
