/*
 * Resume: what moved in a user's conversations since a closed time. A conversation in memory
 * answers at once; of the others only a small row is read, and only those that moved are loaded.
 * Each answer is made by a command of its own in the conversation's queue, so that it is a state
 * between two events.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

enum { WINDOW = 64, EVENTS_WITHOUT_TOKEN = 20 };

struct resume {
    struct engine *e;
    struct command *cmd;
    bool *moved; /* by item */
    uint32_t next;
    uint32_t running;
    bool pumping;
    enum confab_err err;
};

/* One item on its way: a command in the conversation's queue, with what it collects. */
struct snapshot_work {
    struct collect c;
    struct resume *resume;
    const struct resume_item *item; /* of the resume's command */
    struct command *cmd;
    struct snapshot snap;
    bool moved;
    uint64_t check_id;  /* of the client's event at item->have_seq, to be compared; 0: not */
    struct collect far; /* that event alone, where the row does not have it */
};

static void resume_run(struct resume *rs);

static void resume_end(struct resume *rs)
{
    struct engine *e = rs->e;
    struct command *cmd = rs->cmd;
    enum confab_err err = rs->err;
    free(rs->moved);
    free(rs);
    engine_complete(e, cmd, err, NULL);
}

static void item_done(struct snapshot_work *w, enum confab_err err)
{
    struct resume *rs = w->resume;
    if (err && err != CONFAB_NOT_FOUND && !rs->err) {
        rs->err = err;
    }
    if (!err && w->moved) {
        rs->cmd->snaps[rs->cmd->nsnaps++] = w->snap;
    } else {
        snapshot_deinit(&w->snap);
    }
    collect_deinit(&w->c);
    collect_deinit(&w->far);
    command_free(w->cmd);
    free(w);
    rs->running--;
    resume_run(rs);
}

/* Of the last event that the member may see; 0: not in memory. That of a later event would tell a
 * former member when it was, and would not be the id that the member's clients have. */
static uint64_t head_id(struct resident *r, uint64_t head_seq)
{
    struct slot *s = resident_slot(r, head_seq);
    struct event ev;
    if (head_seq == r->c.head_seq) {
        return r->c.head_id;
    }
    return s && !event_peek(span_of(s->bytes, s->len), &ev) ? ev.id : 0;
}

static enum confab_err fill_snapshot(struct resident *r, const struct member *m, struct snapshot *s)
{
    const struct conv *c = &r->c;
    s->conv = c->id;
    s->conv_kind = c->kind;
    s->role = m->role;
    s->settings = c->settings;
    s->created_ms = c->created_ms;
    s->active = m->role != ROLE_NONE;
    s->members = s->active ? c->nactive : 0;
    s->ord = s->active ? c->ord : 0;
    s->head_seq = member_last_visible(m, c->head_seq);
    s->head_id = head_id(r, s->head_seq);
    s->unread = conv_unread(c, m);
    s->mentions = s->active ? member_mentions(m) : 0;
    s->delivered_seq = m->delivered_seq;
    s->read_seq = m->read_seq;
    s->first_visible_seq = member_first_visible(m);
    if (c->kind == CONV_DIRECT) {
        for (uint32_t i = 0; i < c->nmembers; i++) {
            s->peer = c->members[i].user != m->user ? c->members[i].user : s->peer;
        }
    }
    if (c->last_seq > 0 && member_sees(m, c->last_seq)) {
        s->last_message_id = c->last_id;
        s->last_message_seq = c->last_seq;
        s->last_message_from = c->last_from;
        s->last_message_type = (uint8_t)c->last_type;
        s->last_message_flags = (uint8_t)c->last_flags;
        buf_put(&s->preview, c->preview.data, c->preview.len);
    }
    if (s->active || c->name_seq <= s->head_seq) {
        buf_put(&s->name, c->name.data, c->name.len);
    }
    return buf_ok(&s->preview) && buf_ok(&s->name) ? CONFAB_OK : CONFAB_NOMEM;
}

/*
 * Has the conversation anything for the member that is later than the token? For a former one that
 * was the leaving; what others do since is not to be seen.
 */
static bool has_moved(const struct conv *c, const struct member *m, const struct resume_item *item,
                      uint64_t since)
{
    if (item->have_seq > 0 && item->have_seq < member_last_visible(m, c->head_seq)) {
        return true;
    }
    bool known = m->role == ROLE_NONE && !item->entry.joined && item->entry.since_ms > 0;
    return (known ? item->entry.since_ms : c->moved_ms) > since;
}

/* Is the client's event id at its seq ours? Unknown when the event is not in memory: then yes. */
static bool mismatch(struct resident *r, const struct resume_item *item)
{
    if (item->have_seq > r->c.head_seq) {
        return true;
    }
    if (item->have_seq == r->c.head_seq) {
        return item->have_id && item->have_id != r->c.head_id;
    }
    struct slot *s = resident_slot(r, item->have_seq);
    struct event ev;
    return s && item->have_id && !event_peek(span_of(s->bytes, s->len), &ev) &&
           ev.id != item->have_id;
}

enum check { CHECK_OURS, CHECK_OTHER, CHECK_UNKNOWN };

static enum check compare_first(const struct snapshot_work *w, struct span events, size_t *ret_n)
{
    struct reader rd = reader_of(events.p, events.n);
    struct event ev;
    if (!command_record_next(&rd, &ev) || ev.seq != w->item->have_seq) {
        return CHECK_UNKNOWN;
    }
    *ret_n = (size_t)(rd.p - events.p);
    return ev.id == w->check_id ? CHECK_OURS : CHECK_OTHER;
}

/*
 * The row's first event was read only to compare its id with the client's. Where it is another one,
 * the history that the client has is another one. Unknown: the row begins later, or the user does
 * not see that event, but may have seen what was there.
 */
static enum check drop_checked(struct snapshot_work *w)
{
    struct snapshot *s = &w->snap;
    size_t n = 0;
    enum check check = compare_first(w, span_of(s->events.data, s->events.len), &n);
    buf_consume(&s->events, n);
    s->covered_from = MAX(s->covered_from, w->item->have_seq + 1);
    return check;
}

static void item_broken(struct command *cmd)
{
    item_done(cmd->context, cmd->err);
}

static void row_done(struct snapshot_work *w)
{
    uint64_t want = w->snap.reset ? w->snap.first_visible_seq
                    : w->check_id ? MAX(w->c.lo, w->item->have_seq + 1)
                                  : w->c.lo;
    /* Stopped by count, not by the token's time: older ones are missing. */
    w->snap.limited = !w->c.stopped_at_id && w->snap.covered_from > want;
    item_done(w, CONFAB_OK);
}

static void events_done(struct collect *c, enum confab_err err);

/* What the client has is of another history: the row has the latest events of this one. */
static void begin_anew(struct snapshot_work *w)
{
    struct collect c = {.e = w->c.e,
                        .r = w->c.r,
                        .done = events_done,
                        .arg = w,
                        .user = w->c.user,
                        .lo = MAX(w->snap.first_visible_seq, 1),
                        .hi = w->snap.head_seq,
                        .limit = MIN(w->cmd->events_max, EVENTS_WITHOUT_TOKEN),
                        .reverse = true};
    collect_deinit(&w->c);
    w->c = c;
    w->check_id = 0;
    w->snap.reset = true;
    buf_deinit(&w->snap.events);
    engine_collect(&w->c);
}

static void far_done(struct collect *c, enum confab_err err)
{
    struct snapshot_work *w = c->arg;
    size_t n = 0;
    if (err) {
        item_done(w, err);
    } else if (compare_first(w, span_of(c->out.data, c->out.len), &n) == CHECK_OTHER) {
        begin_anew(w);
    } else {
        row_done(w);
    }
}

static void check_far(struct snapshot_work *w)
{
    w->far = (struct collect){.e = w->c.e,
                              .r = w->c.r,
                              .done = far_done,
                              .arg = w,
                              .user = w->c.user,
                              .lo = w->item->have_seq,
                              .hi = w->item->have_seq,
                              .unseen = true,
                              .limit = 1};
    engine_collect(&w->far);
}

static void events_done(struct collect *c, enum confab_err err)
{
    struct snapshot_work *w = c->arg;
    struct snapshot *s = &w->snap;
    s->events = c->out;
    buf_init(&c->out);
    s->covered_from = c->covered_from;
    s->covered_to = c->covered_to;
    if (err) {
        item_done(w, err);
        return;
    }
    switch (w->check_id ? drop_checked(w) : CHECK_OURS) {
    case CHECK_OURS:
        row_done(w);
        break;
    case CHECK_OTHER:
        begin_anew(w);
        break;
    case CHECK_UNKNOWN:
        check_far(w);
        break;
    }
}

enum step engine_step_snapshot(struct engine *e, struct resident *r, struct command *cmd)
{
    struct snapshot_work *w = cmd->context;
    const struct resume_item *item = w->item;
    const struct member *m = conv_member(&r->c, cmd->actor);
    uint64_t since = cmd->since_ms;
    bool has_seq = item->have_seq > 0;
    bool reset = has_seq && mismatch(r, item);
    w->moved = m && m->visible_from > 0 && (reset || has_moved(&r->c, m, item, since));
    if (!w->moved) {
        item_done(w, CONFAB_OK);
        return STEP_DONE;
    }
    struct snapshot *s = &w->snap;
    s->entry = item->entry;
    s->reset = reset;
    enum confab_err err = fill_snapshot(r, m, s);
    if (err) {
        item_done(w, err);
        return STEP_DONE;
    }
    w->c = (struct collect){.e = e,
                            .r = r,
                            .done = events_done,
                            .arg = w,
                            .user = cmd->actor,
                            .lo = MAX(s->first_visible_seq, 1),
                            .hi = s->head_seq,
                            .limit = cmd->events_max,
                            .reverse = true};
    if (has_seq && !reset) {
        /* The latest has been compared, and what is in memory. */
        bool check =
            item->have_id && item->have_seq < r->c.head_seq && !resident_slot(r, item->have_seq);
        w->check_id = check ? item->have_id : 0;
        w->c.limit += check && item->have_seq >= w->c.lo;
        w->c.lo = MAX(w->c.lo, item->have_seq + !check);
    } else if (since > 0 && !reset) {
        /* Everything up to the last id of that millisecond is known. */
        w->c.before_id = since >= ID_EPOCH_MS ? message_id_make(since + 1, 0, 0) - 1 : 0;
    } else {
        w->c.limit = MIN(cmd->events_max, EVENTS_WITHOUT_TOKEN);
    }
    if (item->all_from > 0 && s->head_seq >= item->all_from) {
        uint64_t n = MIN(s->head_seq - item->all_from + 1, RESUME_ALL_MAX);
        w->c.limit = MAX(w->c.limit, (uint32_t)n);
    }
    engine_collect(&w->c);
    return STEP_DONE;
}

static enum confab_err start_item(struct resume *rs, uint32_t i)
{
    struct command *cmd = rs->cmd;
    struct snapshot_work *w = calloc(1, sizeof(*w));
    struct command *sub = command_new(COMMAND_RESUME);
    if (!w || !sub) {
        free(w);
        command_free(sub);
        return CONFAB_NOMEM;
    }
    w->resume = rs;
    w->cmd = sub;
    sub->actor = cmd->actor;
    sub->conv = cmd->items[i].conv;
    sub->since_ms = cmd->since_ms;
    sub->events_max = cmd->events_max;
    sub->context = w;
    sub->internal_done = item_broken;
    enum confab_err err = CONFAB_OK;
    struct resident *r = engine_want(rs->e, sub->conv, &err);
    if (!r) {
        free(w);
        command_free(sub);
        return err;
    }
    w->item = &cmd->items[i];
    rs->running++;
    list_push_back(&r->waiting, &sub->link);
    r->nwaiting++;
    if (r->state == RESIDENT_LOADING) {
        engine_load_soon(rs->e, r);
    } else {
        engine_pump(rs->e, r);
    }
    return CONFAB_OK;
}

static void resume_run(struct resume *rs)
{
    if (rs->pumping) {
        return;
    }
    rs->pumping = true;
    while (rs->running < WINDOW && rs->next < rs->cmd->nitems) {
        uint32_t i = rs->next++;
        enum confab_err err = rs->moved[i] && !rs->err ? start_item(rs, i) : CONFAB_OK;
        if (err && !rs->err) {
            rs->err = err;
        }
    }
    rs->pumping = false;
    if (rs->running == 0 && rs->next == rs->cmd->nitems) {
        resume_end(rs);
    }
}

static void heads_done(struct engine *e, struct engine_job *job)
{
    (void)e;
    struct resume *rs = job->arg;
    rs->err = job->err;
    uint32_t k = 0;
    for (uint32_t i = 0; i < rs->cmd->nitems && !rs->err; i++) {
        if (rs->moved[i]) {
            continue;
        }
        struct row_head head = {0};
        const struct store_row *row = &job->req.ret_rows[k++];
        if (row->found) {
            rs->err = row_head_decode(row->value, &head);
        }
        const struct resume_item *item = &rs->cmd->items[i];
        /* Loaded meanwhile, or moved; a conversation that is only in the log is loaded as well. */
        rs->moved[i] = engine_resident(rs->e, item->conv) || head.moved_ms > rs->cmd->since_ms ||
                       (item->have_seq && item->have_seq != head.head_seq);
    }
    engine_job_free(job);
    resume_run(rs);
}

/* Reads the small rows of those that are not in memory. */
static enum confab_err ask_heads(struct resume *rs, uint32_t cold)
{
    struct engine_job *job = engine_job_new(rs->e, NULL, NULL, heads_done);
    if (job) {
        job->arg = rs;
        job->keys = calloc(cold, sizeof(*job->keys));
        job->key_list = calloc(cold, sizeof(*job->key_list));
    }
    if (!job || !job->keys || !job->key_list) {
        engine_job_free(job);
        return CONFAB_NOMEM;
    }
    uint32_t k = 0;
    for (uint32_t i = 0; i < rs->cmd->nitems; i++) {
        if (!rs->moved[i]) {
            row_key_conv(&job->keys[k], STORE_HEAD, rs->cmd->items[i].conv);
            job->key_list[k] = job->keys[k].k;
            k++;
        }
    }
    job->req.op = STORE_GET;
    job->req.keys = job->key_list;
    job->req.nkeys = cold;
    enum confab_err err = engine_job_submit(rs->e, job);
    if (err) {
        engine_job_free(job);
    }
    return err;
}

/* The highest time up to which everything of this engine is durable and folded. */
static uint64_t closed_time(struct engine *e, uint64_t want)
{
    e->floor_ms = MAX(e->floor_ms, want + 1);
    uint64_t closed = MIN(want, e->unknown_ms - 1);
    const struct inflight *in;
    LIST_EACH(&e->turns, it)
    {
        LIST_EACH(&LIST_ENTRY(it, struct turn, link)->records, jt)
        {
            in = LIST_ENTRY(jt, struct inflight, link);
            closed = MIN(closed, in->ms - 1);
        }
    }
    LIST_EACH(&e->turn->records, jt)
    {
        in = LIST_ENTRY(jt, struct inflight, link);
        closed = MIN(closed, in->ms - 1);
    }
    return closed;
}

void engine_resume(struct engine *e, struct command *cmd)
{
    cmd->closed_ms = closed_time(e, cmd->closed_ms);
    /* Of another server, or from before this one was restored: it says nothing about this log. */
    if (cmd->since_ms > atomic_load(&e->shared->log_clock_ms)) {
        cmd->since_ms = 0;
    }
    if (cmd->nitems == 0) {
        engine_complete(e, cmd, CONFAB_OK, NULL);
        return;
    }
    struct resume *rs = calloc(1, sizeof(*rs));
    if (rs) {
        rs->moved = calloc(cmd->nitems, sizeof(*rs->moved));
        cmd->snaps = calloc(cmd->nitems, sizeof(*cmd->snaps));
    }
    if (!rs || !rs->moved || !cmd->snaps) {
        if (rs) {
            free(rs->moved);
        }
        free(rs);
        engine_complete(e, cmd, CONFAB_NOMEM, NULL);
        return;
    }
    rs->e = e;
    rs->cmd = cmd;
    uint32_t cold = 0;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < cmd->nitems; i++) {
        const struct partition *p = engine_partition(e, conv_id_partition(cmd->items[i].conv));
        err = !err && p ? p->stopped : err;
        bool here = engine_resident(e, cmd->items[i].conv) != NULL;
        rs->moved[i] = here || cmd->since_ms == 0;
        cold += !rs->moved[i];
    }
    if (!err && cold > 0) {
        err = ask_heads(rs, cold);
        if (!err) {
            return;
        }
    }
    rs->err = err;
    resume_run(rs);
}
