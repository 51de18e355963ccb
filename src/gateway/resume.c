/*
 * Resume. The order of the questions makes the token true. First the owner of the user's own log is
 * asked what time it can close, and only then for the list: whatever joins the list later carries a
 * later time. A conversation that the list learnt of after the client's token is new to the client,
 * however old its events are, and is asked for without the token.
 */
#include "gateway/resume.h"

#include <stdlib.h>

#include "gateway/internal.h"
#include "gateway/overload.h"
#include "gateway/session.h"

#define PAGE_BYTES   (128U * 1024U) /* at which a page ends early */
#define EVENTS_BYTES (64U * 1024U)  /* of one conversation, newest first */
#define HAVE_TOTAL   (256U * 1024U) /* entries held by all resumes of a shard */
#define SINCE_ALWAYS 1U    /* before every event, and yet a token: as many events as with one */
#define STALLED_MS   3000U /* after which a page that is not taken may cost the resume */
#define RELISTS_MAX  16U
#define TOKEN_PREFIX "2-" /* then epoch and time, in hex */
#define PAGES_TURN   8U   /* of all, about a millisecond of rendering */
#define WAIT_MIN_MS  500U
#define WAIT_MAX_MS  15000U
#define PACE_MAX_NS  1000000000ULL

enum resume_stage { RESUME_WAITING = 0, RESUME_LISTING, RESUME_ASKING, RESUME_SENDING };

struct resume {
    struct command_sink sink;
    struct list node;
    uint64_t conn; /* 0: nobody waits any more */
    uint64_t user;
    enum resume_stage stage;
    enum confab_err err;
    uint64_t since_ms;
    uint64_t closed_ms;
    struct wire_have *have; /* by conversation */
    uint32_t nhave;
    uint32_t pending;     /* commands under way */
    struct command *list; /* the answered COMMAND_LIST */
    struct list answers;  /* commands, answered: they hold the snapshots */
    struct snapshot **order;
    uint32_t norder;
    uint32_t next;     /* to be sent */
    uint64_t paged_ms; /* when the latest page was handed to the connection */
    bool expired;      /* others need what it holds */
    bool stalled;      /* its connection was full: it counts no longer as running */
    bool limited;
    uint32_t next_have; /* of those that may be gone, to be looked at */
    uint32_t relisted;
    bool own_moved; /* the own log has, since the list was read */
    bool lost;      /* the token is of a time that this data has lost */
    bool all;       /* the own log's events are not all told: every conversation is, as it stands */
};

static void on_command(struct shard *s, struct command_sink *sink, struct command *cmd);
static void resume_step(struct shard *s, struct resume *r);

void resumes_init(struct shard *s)
{
    list_init(&s->resumes.running);
    list_init(&s->resumes.waiting);
}

static void answers_free(struct resume *r)
{
    struct list *n;
    while ((n = list_pop_front(&r->answers)) != NULL) {
        command_free(LIST_ENTRY(n, struct command, link));
    }
}

static void resume_free(struct shard *s, struct resume *r)
{
    answers_free(r);
    command_free(r->list);
    s->resumes.have_total -= r->nhave;
    free(r->have);
    free(r->order);
    free(r);
}

void resumes_deinit(struct shard *s)
{
    struct list *n;
    while (s->resumes.running.next && (n = list_pop_front(&s->resumes.running)) != NULL) {
        resume_free(s, LIST_ENTRY(n, struct resume, node));
    }
    while (s->resumes.waiting.next && (n = list_pop_front(&s->resumes.waiting)) != NULL) {
        resume_free(s, LIST_ENTRY(n, struct resume, node));
    }
}

/* ---- Tokens ---- */

static char *put_hex(char *p, uint64_t v)
{
    static const char digits[] = "0123456789abcdef";
    int shift = 60;
    while (shift > 0 && (v >> shift) == 0) {
        shift -= 4;
    }
    for (; shift >= 0; shift -= 4) {
        *p++ = digits[v >> shift & 15];
    }
    return p;
}

/* As many digits as there are, 1 to `max`. */
static bool take_hex(struct span *io, size_t max, uint64_t *ret)
{
    uint64_t v = 0;
    size_t n = 0;
    for (; n < io->n; n++) {
        uint8_t ch = io->p[n];
        bool digit = ch >= '0' && ch <= '9';
        if (!digit && (ch < 'a' || ch > 'f')) {
            break;
        }
        v = v << 4 | (uint64_t)(digit ? ch - '0' : ch - 'a' + 10);
    }
    *io = span_of(io->p + n, io->n - n);
    *ret = v;
    return n > 0 && n <= max;
}

size_t resume_token_write(uint64_t epoch, uint64_t ms, char out[RESUME_TOKEN_BYTES])
{
    memcpy(out, TOKEN_PREFIX, 2);
    char *p = put_hex(out + 2, epoch);
    *p++ = '-';
    return (size_t)(put_hex(p, ms) - out);
}

bool resume_token_parse(struct span text, uint64_t *ret_epoch, uint64_t *ret_ms)
{
    uint64_t epoch;
    uint64_t ms;
    if (text.n < 2 || memcmp(text.p, TOKEN_PREFIX, 2) != 0) {
        return false;
    }
    struct span rest = span_of(text.p + 2, text.n - 2);
    if (!take_hex(&rest, 16, &epoch) || rest.n == 0 || rest.p[0] != '-') {
        return false;
    }
    rest = span_of(rest.p + 1, rest.n - 1);
    if (!take_hex(&rest, 13, &ms) || rest.n > 0) {
        return false;
    }
    *ret_epoch = epoch;
    *ret_ms = ms;
    return true;
}

static void take_token(const struct shard *s, struct resume *r, struct span token)
{
    uint64_t epoch;
    uint64_t ms;
    if (!token.p || !resume_token_parse(token, &epoch, &ms)) {
        return;
    }
    if (!s->deps.epochs || epochs_know(s->deps.epochs, epoch, ms)) {
        r->since_ms = MAX(ms, SINCE_ALWAYS); /* an empty server's clock is at 0 */
        return;
    }
    metrics_inc(s->metrics, METRIC_RESUME_TOKENS_UNKNOWN);
    r->lost = epochs_lost(s->deps.epochs, epoch, ms);
}

/* ---- Beginning ---- */

static int have_cmp(const void *a, const void *b)
{
    return conv_id_cmp(((const struct wire_have *)a)->conv, ((const struct wire_have *)b)->conv);
}

static enum confab_err copy_have(struct resume *r, const struct wire_resume *m)
{
    struct json it;
    struct wire_have h;
    if (m->nhave == 0) {
        return CONFAB_OK;
    }
    r->have = calloc(m->nhave, sizeof(*r->have));
    if (!r->have) {
        return CONFAB_NOMEM;
    }
    wire_list_begin(&it, m->have, NULL);
    while (r->nhave < m->nhave && wire_have_next(&it, &h)) {
        r->have[r->nhave++] = h;
    }
    qsort(r->have, r->nhave, sizeof(*r->have), have_cmp);
    return CONFAB_OK;
}

/* The session of a resume that is still wanted. */
static struct conn *resume_conn(struct shard *s, const struct resume *r)
{
    struct conn *c = r->conn != 0 ? conn_of_id(s, r->conn) : NULL;
    return c && conn_is_session(c) && (c->flags & CONN_RESUMING) ? c : NULL;
}

static void forget_earlier(struct list *head, uint64_t conn)
{
    LIST_EACH(head, n)
    {
        struct resume *r = LIST_ENTRY(n, struct resume, node);
        if (r->conn == conn) {
            r->conn = 0;
        }
    }
}

static void resumes_start(struct shard *s)
{
    while (s->resumes.nrunning < s->cfg.resumes_max && !list_is_empty(&s->resumes.waiting)) {
        struct list *n = list_pop_front(&s->resumes.waiting);
        s->resumes.nwaiting--;
        list_push_back(&s->resumes.running, n);
        s->resumes.nrunning++;
        resume_step(s, LIST_ENTRY(n, struct resume, node));
    }
}

enum confab_err resume_begin(struct shard *s, struct conn *c, const struct wire_resume *m)
{
    if (c->flags & CONN_RESUMING) {
        return CONFAB_CONFLICT;
    }
    if (s->resumes.nwaiting >= s->cfg.resumes_waiting_max ||
        s->resumes.have_total + m->nhave > HAVE_TOTAL) {
        metrics_inc(s->metrics, METRIC_BOUND_PENDING);
        metrics_inc(s->metrics, METRIC_RESUMES_AGAIN);
        return CONFAB_AGAIN;
    }
    struct resume *r = calloc(1, sizeof(*r));
    if (!r) {
        return CONFAB_NOMEM;
    }
    r->sink.on_done = on_command;
    r->conn = conn_id(s, c);
    r->user = c->user;
    list_init(&r->node);
    list_init(&r->answers);
    take_token(s, r, m->since);
    enum confab_err err = copy_have(r, m);
    s->resumes.have_total += r->nhave;
    if (err) {
        resume_free(s, r);
        return err;
    }
    /* One that lost its frames half way may still wait for answers. */
    forget_earlier(&s->resumes.running, r->conn);
    forget_earlier(&s->resumes.waiting, r->conn);
    c->flags |= CONN_RESUMING;
    if (c->flags & CONN_SLOW) {
        c->flags &= (uint16_t)~CONN_SLOW;
        session_alive(s, c);
    }
    session_set_live(s, c, true);
    list_push_back(&s->resumes.waiting, &r->node);
    s->resumes.nwaiting++;
    resumes_start(s);
    return CONFAB_OK;
}

/* The time between two ends tells the pace only while the next one waits for a place. */
static void take_pace(struct shard *s)
{
    struct resumes *all = &s->resumes;
    if (all->nwaiting > 0 && all->ended_ns != 0) {
        uint64_t took = MIN(s->now_ns - all->ended_ns, PACE_MAX_NS);
        all->pace_ns = all->pace_ns == 0 ? took : all->pace_ns - all->pace_ns / 16 + took / 16;
    }
    all->ended_ns = s->now_ns;
}

uint32_t resume_wait_ms(struct shard *s)
{
    uint64_t ms = s->resumes.nwaiting * s->resumes.pace_ns / 1000000;
    ms = MIN(MAX(ms, WAIT_MIN_MS), WAIT_MAX_MS);
    return (uint32_t)(ms + random_below(s->deps.random, ms));
}

static void resume_end(struct shard *s, struct resume *r, enum metric outcome)
{
    take_pace(s);
    struct conn *c = resume_conn(s, r);
    if (c) {
        c->flags &= (uint16_t)~CONN_RESUMING;
    }
    metrics_inc(s->metrics, outcome);
    list_remove(&r->node);
    if (r->stalled) {
        s->resumes.nstalled--;
    } else {
        s->resumes.nrunning--;
    }
    resume_free(s, r);
}

/* ---- Asking ---- */

static enum confab_err ask(struct shard *s, struct resume *r, uint16_t to, struct command *cmd)
{
    if (!cmd) {
        return CONFAB_NOMEM;
    }
    cmd->actor = r->user;
    cmd->context = &r->sink;
    enum confab_err err = link_request_to(s, to, cmd);
    if (err) {
        command_free(cmd);
    } else {
        r->pending++;
    }
    return err;
}

static uint16_t shard_of_conv(const struct shard *s, struct conv_id conv)
{
    return engine_shard_of(conv_id_partition(conv), s->cfg.shards);
}

static void ask_list(struct shard *s, struct resume *r)
{
    uint16_t to = shard_of_conv(s, conv_id_self(r->user));
    r->closed_ms = atomic_load_explicit(&s->deps.engine_shared->log_clock_ms, memory_order_acquire);
    struct command *close = command_new(COMMAND_RESUME);
    if (close) {
        close->closed_ms = r->closed_ms;
        close->since_ms = r->since_ms;
    }
    r->err = ask(s, r, to, close);
    if (!r->err) {
        struct command *cmd = command_new(COMMAND_LIST);
        if (cmd) {
            cmd->conv = conv_id_self(r->user);
        }
        r->own_moved = false;
        r->err = ask(s, r, to, cmd);
    }
}

static int entry_cmp(const void *a, const void *b)
{
    return conv_id_cmp(((const struct list_entry *)a)->conv, ((const struct list_entry *)b)->conv);
}

static const struct list_entry *list_find(const struct command *list, struct conv_id conv)
{
    struct list_entry key = {.conv = conv};
    return list->nentries == 0
               ? NULL
               : bsearch(&key, list->entries, list->nentries, sizeof(key), entry_cmp);
}

/*
 * The client has it, and the list has not: it was joined a moment ago, or it is gone with what a
 * restored server has lost.
 */
static bool is_unlisted(const struct resume *r, uint32_t i)
{
    struct conv_id conv = r->have[i].conv;
    return !conv_id_eq(conv, conv_id_self(r->user)) && !list_find(r->list, conv) &&
           (i == 0 || !conv_id_eq(conv, r->have[i - 1].conv));
}

static const struct wire_have *have_of(const struct resume *r, struct conv_id conv)
{
    struct wire_have key = {.conv = conv};
    return r->nhave > 0 ? bsearch(&key, r->have, r->nhave, sizeof(key), have_cmp) : NULL;
}

static void item_fill(const struct resume *r, struct resume_item *item, const struct list_entry *e)
{
    const struct wire_have *h = have_of(r, e->conv);
    item->conv = e->conv;
    item->entry = *e;
    if (h) {
        item->have_seq = h->seq;
        item->have_id = h->event_id;
    }
}

/* One command for a shard: what is new to the client, or the rest. `out` counts without `items`. */
static uint32_t items_for(const struct shard *s, const struct resume *r, uint16_t to, bool fresh,
                          struct resume_item *items)
{
    uint32_t n = 0;
    struct list_entry self = {
        .conv = conv_id_self(r->user), .conv_kind = CONV_SELF, .joined = true};
    if (!fresh && shard_of_conv(s, self.conv) == to) {
        if (items) {
            item_fill(r, &items[n], &self);
            /* What was joined since the list was read is in no other answer. */
            items[n].all_from = r->list->ret_seq + 1;
        }
        n++;
    }
    for (uint32_t i = 0; i < r->list->nentries; i++) {
        const struct list_entry *e = &r->list->entries[i];
        bool is_fresh = r->since_ms != 0 && (r->all || e->since_ms > r->since_ms);
        if (shard_of_conv(s, e->conv) != to || is_fresh != fresh) {
            continue;
        }
        if (items) {
            item_fill(r, &items[n], e);
        }
        n++;
    }
    for (uint32_t i = 0; i < r->nhave && fresh; i++) {
        const struct list_entry e = {.conv = r->have[i].conv, .joined = true};
        if (shard_of_conv(s, e.conv) != to || !is_unlisted(r, i)) {
            continue;
        }
        if (items) {
            item_fill(r, &items[n], &e);
        }
        n++;
    }
    return n;
}

static enum confab_err ask_shard(struct shard *s, struct resume *r, uint16_t to, bool fresh)
{
    uint32_t n = items_for(s, r, to, fresh, NULL);
    if (n == 0 && fresh) {
        return CONFAB_OK; /* the other question closes the time */
    }
    struct command *cmd = command_new(COMMAND_RESUME);
    if (cmd && n > 0) {
        cmd->items = calloc(n, sizeof(*cmd->items));
        if (!cmd->items) {
            command_free(cmd);
            cmd = NULL;
        } else {
            cmd->nitems = items_for(s, r, to, fresh, cmd->items);
        }
    }
    if (cmd) {
        cmd->since_ms = fresh ? SINCE_ALWAYS : r->since_ms;
        cmd->closed_ms = r->closed_ms;
        cmd->events_max = cmd->since_ms != 0 ? s->cfg.resume_events : s->cfg.resume_events_first;
    }
    return ask(s, r, to, cmd);
}

static void ask_all(struct shard *s, struct resume *r)
{
    for (uint16_t i = 0; i < s->cfg.shards && !r->err; i++) {
        r->err = ask_shard(s, r, i, false);
        if (!r->err) {
            r->err = ask_shard(s, r, i, true);
        }
    }
}

/* ---- Answers ---- */

static int snapshot_cmp(const void *a, const void *b)
{
    const struct snapshot *x = *(struct snapshot *const *)a;
    const struct snapshot *y = *(struct snapshot *const *)b;
    if (x->last_message_id != y->last_message_id) {
        return x->last_message_id > y->last_message_id ? -1 : 1;
    }
    return conv_id_cmp(x->conv, y->conv);
}

/* Keeps the newest events up to a bound of bytes; `covered` says what is left. */
static void trim_events(struct snapshot *snap)
{
    size_t drop = snap->events.len > EVENTS_BYTES ? snap->events.len - EVENTS_BYTES : 0;
    struct reader rd = reader_of(snap->events.data, snap->events.len);
    struct event ev;
    size_t at = 0;
    while (at < drop && command_record_next(&rd, &ev)) {
        at = (size_t)(rd.p - snap->events.data);
        snap->covered_from = ev.seq + 1;
        snap->limited = true;
    }
    if (at > 0) {
        buf_consume(&snap->events, at);
    }
}

static enum confab_err order_answers(struct resume *r)
{
    uint32_t n = 0;
    LIST_EACH(&r->answers, k)
    {
        n += LIST_ENTRY(k, struct command, link)->nsnaps;
    }
    r->order = calloc(MAX(n, 1U), sizeof(struct snapshot *));
    if (!r->order) {
        return CONFAB_NOMEM;
    }
    LIST_EACH(&r->answers, k)
    {
        struct command *cmd = LIST_ENTRY(k, struct command, link);
        for (uint32_t i = 0; i < cmd->nsnaps; i++) {
            trim_events(&cmd->snaps[i]);
            r->limited = r->limited || cmd->snaps[i].limited;
            r->order[r->norder++] = &cmd->snaps[i];
        }
    }
    qsort(r->order, r->norder, sizeof(struct snapshot *), snapshot_cmp);
    return CONFAB_OK;
}

/* Rows that are still to be sent get what the newer list says. */
static void take_list(struct resume *r, struct command *list)
{
    command_free(r->list);
    r->list = list;
    for (uint32_t i = r->next; i < r->norder; i++) {
        const struct list_entry *e = list_find(list, r->order[i]->conv);
        r->order[i]->entry = e ? *e : r->order[i]->entry;
    }
}

void resumes_own_moved(struct shard *s, uint64_t user)
{
    LIST_EACH(&s->resumes.running, n)
    {
        struct resume *r = LIST_ENTRY(n, struct resume, node);
        r->own_moved = r->own_moved || r->user == user;
    }
}

static void on_command(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    struct resume *r = CONTAINER_OF(sink, struct resume, sink);
    r->pending--;
    if (cmd->type == COMMAND_LIST && cmd->err == CONFAB_NOT_FOUND) {
        cmd->err = CONFAB_OK; /* nothing has happened to this user yet */
    }
    if (cmd->err && !r->err) {
        r->err = cmd->err;
    }
    if (cmd->err) {
        command_free(cmd);
    } else if (cmd->type == COMMAND_LIST) {
        take_list(r, cmd);
    } else {
        r->closed_ms = MIN(r->closed_ms, cmd->closed_ms);
        list_push_back(&r->answers, &cmd->link);
    }
    if (r->pending == 0) {
        resume_step(s, r);
        resumes_start(s);
    }
}

/*
 * What the user did with conversations that have not moved (muted, pinned, drafts) is in no row but
 * in the events of their own log. When those are not all told, all rows are.
 */
static bool own_is_limited(const struct resume *r)
{
    struct conv_id own = conv_id_self(r->user);
    bool limited = false;
    LIST_EACH(&r->answers, k)
    {
        const struct command *cmd = LIST_ENTRY(k, struct command, link);
        for (uint32_t i = 0; i < cmd->nsnaps; i++) {
            const struct snapshot *s = &cmd->snaps[i];
            limited |= conv_id_eq(s->conv, own) &&
                       (s->limited || s->reset || s->events.len > EVENTS_BYTES);
        }
    }
    return limited && r->since_ms != 0 && !r->all;
}

/* All that was asked is answered: what comes next? May free r. */
static void resume_step(struct shard *s, struct resume *r)
{
    struct conn *c = resume_conn(s, r);
    if (!c) {
        resume_end(s, r, METRIC_RESUMES_FAILED);
        return;
    }
    if (!r->err) {
        switch (r->stage) {
        case RESUME_WAITING:
            r->stage = RESUME_LISTING;
            ask_list(s, r);
            break;
        case RESUME_LISTING:
            r->stage = RESUME_ASKING;
            ask_all(s, r);
            break;
        case RESUME_ASKING:
            if (own_is_limited(r)) {
                r->all = true;
                answers_free(r);
                ask_all(s, r);
                break;
            }
            r->stage = RESUME_SENDING;
            r->paged_ms = s->now_ms;
            r->err = order_answers(r);
            break;
        case RESUME_SENDING:
            break; /* the list was read again */
        }
    }
    if (r->err && r->pending == 0) {
        session_send_error(s, c, r->err, NULL, NULL, span_str("resume"), span_of(NULL, 0));
        resume_end(s, r, METRIC_RESUMES_FAILED);
    }
}

/* ---- Pages ---- */

static bool send_page(struct shard *s, struct conn *c, struct resume *r)
{
    struct buf *b = session_frame_begin(s);
    struct json_writer w;
    size_t start = b->len;
    wire_page_begin(&w, b);
    struct render_own own = {.reader = r->user,
                             .now_ms = s->wall_ms,
                             .drafts = &r->list->ret,
                             .large_members = s->cfg.large_members};
    for (uint32_t i = 0; i < s->cfg.resume_page && r->next < r->norder; i++) {
        /* Of what was lost since the token nobody can tell where: only a named position helps. */
        own.reset = r->lost && !have_of(r, r->order[r->next]->conv);
        render_snapshot(&s->render, &w, b, r->order[r->next++], &own);
        if (b->len - start > PAGE_BYTES) {
            break;
        }
    }
    wire_page_end(&w);
    return session_frame_end(s, c);
}

/* Is there a row of it among those to be sent, or that were? */
static bool is_answered(const struct resume *r, struct conv_id conv)
{
    for (uint32_t i = 0; i < r->norder; i++) {
        if (conv_id_eq(r->order[i]->conv, conv)) {
            return true;
        }
    }
    return false;
}

/* Nothing is known of it here; of the own log, which is in no list, when it has no entry at all. */
static bool is_gone(const struct resume *r, uint32_t i)
{
    const struct wire_have *h = &r->have[i];
    bool own = conv_id_eq(h->conv, conv_id_self(r->user));
    bool gone = own ? h->seq > 0 && r->list->ret_seq == 0 : is_unlisted(r, i);
    return gone && !is_answered(r, h->conv);
}

/* What the client has and this server knows nothing of: forget it. False: the connection broke. */
static bool send_gone(struct shard *s, struct conn *c, struct resume *r)
{
    struct buf *b = NULL;
    struct json_writer w;
    uint32_t n = 0;
    for (; r->next_have < r->nhave && n < s->cfg.resume_page; r->next_have++) {
        if (!is_gone(r, r->next_have)) {
            continue;
        }
        if (n++ == 0) {
            b = session_frame_begin(s);
            wire_page_begin(&w, b);
        }
        struct conv_id conv = r->have[r->next_have].conv;
        bool own = conv_id_eq(conv, conv_id_self(r->user));
        const struct wire_conv gone = {
            .conv = conv, .kind = own ? WIRE_SELF : WIRE_GROUP, .left = true, .reset = true};
        wire_page_conv(&w, &gone);
        wire_page_conv_end(&w);
        metrics_inc(s->metrics, METRIC_RESUME_GONE);
    }
    if (n == 0) {
        return true;
    }
    wire_page_end(&w);
    return session_frame_end(s, c);
}

/*
 * An entry of the own log that was sent live since the list was read is newer than the rows: they
 * would take it back. So the list is read again, now and then; who changes it without end gets the
 * rows as they are.
 */
static bool relist(struct shard *s, struct resume *r)
{
    if (!r->own_moved || r->relisted >= RELISTS_MAX) {
        return false;
    }
    struct command *cmd = command_new(COMMAND_LIST);
    if (cmd) {
        cmd->conv = conv_id_self(r->user);
    }
    if (ask(s, r, shard_of_conv(s, conv_id_self(r->user)), cmd)) {
        return true; /* next turn */
    }
    r->own_moved = false;
    r->relisted++;
    return true;
}

static void send_caught_up(struct shard *s, struct conn *c, struct resume *r)
{
    char token[RESUME_TOKEN_BYTES];
    uint64_t epoch = s->deps.epochs ? epochs_present(s->deps.epochs) : 0;
    size_t n = resume_token_write(epoch, r->closed_ms, token);
    wire_put_caught_up(session_frame_begin(s), span_of(token, n), s->wall_ms, r->lost);
    session_frame_end(s, c);
}

/* The client does not read: it is told to ask again when it has read what it got. */
static void resume_give_up(struct shard *s, struct resume *r, struct conn *c)
{
    session_mark_slow(s, c);
    resume_end(s, r, METRIC_RESUMES_FAILED);
}

/* The one that waits longest for its client; NULL when none does so for a while. */
static struct resume *longest_stalled(struct shard *s)
{
    struct resume *longest = NULL;
    LIST_EACH(&s->resumes.running, n)
    {
        struct resume *k = LIST_ENTRY(n, struct resume, node);
        bool long_enough = k->stalled && !k->expired && s->now_ms - k->paged_ms >= STALLED_MS;
        longest = long_enough && (!longest || k->paged_ms < longest->paged_ms) ? k : longest;
    }
    return longest;
}

/*
 * Gives its place to others. As many as may run may wait for their clients besides; above that the
 * one that does so longest goes. False: there is none to go, it stays.
 */
static bool resume_stall(struct shard *s, struct resume *r)
{
    if (s->resumes.nstalled >= s->cfg.resumes_max) {
        struct resume *longest = longest_stalled(s);
        if (!longest) {
            return false;
        }
        metrics_inc(s->metrics, METRIC_BOUND_PENDING);
        longest->expired = true; /* ended in its turn: this is called from a walk over all */
    }
    r->stalled = true;
    s->resumes.nrunning--;
    s->resumes.nstalled++;
    return true;
}

/*
 * So much waits for the client already, or for all, that the next page has to. Pages may take half
 * of the memory for output: if they filled it, those who read slowest would be told to pull, and
 * their pages would fill it again, without end. What streams keep does not count: it is the first
 * to go. What polls keep does, since only their next one lets it go.
 */
static bool is_full(struct shard *s, const struct conn *c)
{
    return c->out_bytes > s->cfg.queue_bytes_max / 4 ||
           s->output_memory > s->cfg.output_bytes_max / 2 + s->kept_streams;
}

/* Sends what the connection takes; *ret_place when a place became free. May free r. */
static void resume_send(struct shard *s, struct resume *r, bool *ret_place)
{
    struct conn *c = resume_conn(s, r);
    if (!c) {
        resume_end(s, r, METRIC_RESUMES_FAILED);
        *ret_place = true;
        return;
    }
    if (relist(s, r)) {
        return;
    }
    while (r->next < r->norder || r->next_have < r->nhave) {
        if (s->resumes.pages >= PAGES_TURN) {
            return;
        }
        if (is_full(s, c)) {
            if (!r->expired && s->now_ms - r->paged_ms < s->cfg.slow_timeout_ms) {
                *ret_place = (!r->stalled && resume_stall(s, r)) || *ret_place;
                return;
            }
            resume_give_up(s, r, c);
            *ret_place = true;
            return;
        }
        if (!(r->next < r->norder ? send_page(s, c, r) : send_gone(s, c, r))) {
            resume_end(s, r, METRIC_RESUMES_FAILED);
            *ret_place = true;
            return;
        }
        r->paged_ms = s->now_ms;
        s->resumes.pages++;
    }
    send_caught_up(s, c, r);
    resume_end(s, r,
               r->since_ms == 0 ? METRIC_RESUMES_FULL
               : r->limited     ? METRIC_RESUMES_LIMITED
                                : METRIC_RESUMES_CAUGHT_UP);
    *ret_place = true;
}

bool resumes_run(struct shard *s)
{
    bool any = false;
    s->resumes.pages = 0;
    LIST_EACH(&s->resumes.running, n)
    {
        struct resume *r = LIST_ENTRY(n, struct resume, node);
        if (r->stage == RESUME_SENDING && r->pending == 0) {
            resume_send(s, r, &any);
        }
    }
    bool more = s->resumes.pages >= PAGES_TURN;
    struct list *first = more ? list_pop_front(&s->resumes.running) : NULL;
    if (first) {
        list_push_back(&s->resumes.running, first); /* the next turn begins with another one */
    }
    if (any) {
        resumes_start(s);
    }
    metrics_gauge_set(s->metrics, METRIC_RESUMES_WAITING, s->resumes.nwaiting);
    return more;
}

bool resumes_can_go_on(struct shard *s)
{
    LIST_EACH(&s->resumes.running, n)
    {
        const struct resume *r = LIST_ENTRY(n, struct resume, node);
        if (r->stage == RESUME_SENDING && r->pending == 0) {
            const struct conn *c = resume_conn(s, r);
            if (!c || !is_full(s, c)) {
                return true;
            }
        }
    }
    return false;
}
