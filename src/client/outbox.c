/*
 * Messages to send, until the server has stored or refused them.
 *
 *     queued ──pump──► in flight ──ack──────────────────────────► sent (on_sent)
 *       ▲                │  ├── error busy, storage_*, limit ────► queued, with a wait (bounded)
 *       │                │  └── any other error, saved ──────────► failed (on_sent)
 *       └─ link_down, no ack in ACK_TIMEOUT_MS ─┘
 *
 * Each target has a lane, a queue of its own of which only the head is in flight: else a message
 * that has to be repeated would be overtaken by the next. Lanes do not wait for each other. An
 * entry in flight whose fate is unknown is sent again with the same client_msg_id: the server
 * recognises it.
 *
 * A refusal is saved before it is told: a process that is killed in between would send the message
 * again, and what was refused once, for a member who had left, may be taken the next time. One that
 * cannot be saved is not told, and the message is sent again. What is stored needs no such care:
 * the answer to a repetition is the first one.
 */
#include <stdlib.h>

#include "base/utf8.h"
#include "client/session_internal.h"

#define ACK_TIMEOUT_MS 20000U
#define OUTPUT_FULL    65536U /* bytes waiting above which no further message is taken up */

static size_t entry_bytes(const struct centry *e)
{
    return sizeof(*e) + e->content_n + e->nmentions * sizeof(uint64_t);
}

static struct clane *lane_find(struct csession *s, struct conv_id conv, const char *to)
{
    LIST_EACH(&s->lanes, node)
    {
        struct clane *l = LIST_ENTRY(node, struct clane, node);
        if (conv_id_is_zero(conv) ? l->to && strcmp(l->to, to) == 0 : conv_id_eq(l->conv, conv)) {
            return l;
        }
    }
    return NULL;
}

static struct clane *lane_new(struct csession *s, struct conv_id conv, const char *to)
{
    size_t n = to ? strlen(to) + 1 : 0;
    struct clane *l = malloc(sizeof(*l) + n);
    if (!l) {
        return NULL;
    }
    list_init(&l->entries);
    l->conv = conv;
    l->to = NULL;
    if (to) {
        l->to = (char *)(l + 1);
        memcpy(l->to, to, n);
    }
    list_push_back(&s->lanes, &l->node);
    return l;
}

static void lane_check(struct clane *l)
{
    if (list_is_empty(&l->entries)) {
        list_remove(&l->node);
        free(l);
    }
}

static struct centry *lane_head(const struct clane *l)
{
    return LIST_ENTRY(l->entries.next, struct centry, node);
}

static void make_cmid(struct csession *s, char out[CONFAB_CMID_SIZE])
{
    uint8_t raw[16];
    do {
        random_fill(s->random, raw, sizeof(raw));
    } while (conv_id_is_zero(conv_id_read(raw)));
    conv_id_text(conv_id_read(raw), out);
    out[ID_CONV_TEXT] = '\0';
}

enum confab_err coutbox_add(struct csession *s, const struct confab_outgoing *m,
                            struct conv_id conv, bool tried, const char *cmid)
{
    size_t ids = m->nmentions * sizeof(uint64_t);
    struct centry *e = malloc(sizeof(*e) + ids + m->content.n);
    if (!e) {
        return CONFAB_NOMEM;
    }
    const char *to = conv_id_is_zero(conv) ? m->to : NULL;
    struct clane *l = lane_find(s, conv, to);
    if (!l) {
        l = lane_new(s, conv, to);
    }
    if (!l) {
        free(e);
        return CONFAB_NOMEM;
    }
    *e = (struct centry){
        .reply_to = m->reply_to,
        .content_n = (uint32_t)m->content.n,
        .nmentions = (uint32_t)m->nmentions,
        .tried = tried,
        .mentions = (uint64_t *)(void *)(e + 1),
        .content = (uint8_t *)(e + 1) + ids,
    };
    if (ids > 0) {
        memcpy(e->mentions, m->mentions, ids);
    }
    memcpy(e->content, m->content.p, m->content.n);
    memcpy(e->cmid, cmid, strlen(cmid) + 1);
    list_push_back(&l->entries, &e->node);
    s->outbox_len++;
    s->outbox_bytes += entry_bytes(e);
    return CONFAB_OK;
}

/* Takes the entry out; the caller frees it. */
static void unlink_entry(struct csession *s, struct clane *l, struct centry *e)
{
    list_remove(&e->node);
    s->outbox_len--;
    s->outbox_bytes -= entry_bytes(e);
    s->outbox_flying -= e->in_flight ? 1 : 0;
    lane_check(l);
}

static bool cmid_valid(const char *cmid)
{
    size_t n = strlen(cmid);
    for (size_t i = 0; i < n; i++) {
        if (cmid[i] < 0x20 || cmid[i] > 0x7e) {
            return false;
        }
    }
    return n > 0 && n < CONFAB_CMID_SIZE;
}

static bool cmid_known(const struct csession *s, const char *cmid)
{
    LIST_EACH(&s->lanes, ln)
    {
        LIST_EACH(&LIST_ENTRY(ln, struct clane, node)->entries, en)
        {
            if (strcmp(LIST_ENTRY(en, struct centry, node)->cmid, cmid) == 0) {
                return true;
            }
        }
    }
    return false;
}

static enum confab_error check(const struct confab_outgoing *m, struct conv_id *ret_conv)
{
    *ret_conv = (struct conv_id){0, 0};
    if ((m->to != NULL) == (m->conv != NULL) || !m->content.p || m->content.n == 0 ||
        (m->nmentions > 0 && !m->mentions)) {
        return CONFAB_E_ARGUMENT;
    }
    if (m->conv && !conv_id_parse(span_str(m->conv), ret_conv)) {
        return CONFAB_E_ARGUMENT;
    }
    if (m->to &&
        (m->to[0] == '\0' || strlen(m->to) > WIRE_TO_MAX || !utf8_valid(m->to, strlen(m->to)))) {
        return CONFAB_E_ARGUMENT;
    }
    if (m->content.n > WIRE_TEXT_MAX || m->nmentions > WIRE_MENTIONS_MAX) {
        return CONFAB_E_TOO_LARGE;
    }
    if (!utf8_valid(m->content.p, m->content.n) || memchr(m->content.p, 0, m->content.n)) {
        return CONFAB_E_ARGUMENT;
    }
    for (size_t i = 0; i < m->nmentions; i++) {
        if (m->mentions[i] == 0 || m->mentions[i] > INT64_MAX) {
            return CONFAB_E_ARGUMENT;
        }
    }
    return m->client_msg_id && !cmid_valid(m->client_msg_id) ? CONFAB_E_ARGUMENT : CONFAB_E_OK;
}

enum confab_error csession_send(struct csession *s, const struct confab_outgoing *m, uint64_t now,
                                char ret_cmid[CONFAB_CMID_SIZE])
{
    struct conv_id conv;
    enum confab_error error = check(m, &conv);
    if (error) {
        return error;
    }
    if (m->client_msg_id && cmid_known(s, m->client_msg_id)) {
        return CONFAB_E_EXISTS;
    }
    if (s->outbox_len >= s->opt.outbox_max ||
        s->outbox_bytes + m->content.n > s->opt.outbox_bytes_max) {
        s->stats.outbox_refused++;
        return CONFAB_E_FULL;
    }
    char cmid[CONFAB_CMID_SIZE];
    if (m->client_msg_id) {
        memcpy(cmid, m->client_msg_id, strlen(m->client_msg_id) + 1);
    } else {
        make_cmid(s, cmid);
    }
    if (coutbox_add(s, m, conv, false, cmid) != CONFAB_OK) {
        return CONFAB_E_NOMEM;
    }
    csession_touch(s, now);
    /* On disk before it is sent: a later process must repeat it with this key, not a new one. */
    error = csession_save(s, now);
    if (error) {
        struct clane *l = lane_find(s, conv, m->to);
        struct centry *e = LIST_ENTRY(l->entries.prev, struct centry, node);
        unlink_entry(s, l, e);
        free(e);
        return error;
    }
    if (ret_cmid) {
        memcpy(ret_cmid, cmid, sizeof(cmid));
    }
    coutbox_pump(s, now);
    return CONFAB_E_OK;
}

size_t csession_outbox_len(const struct csession *s)
{
    return s->outbox_len;
}

/* Only heads of lanes are ever on their way. */
static struct centry *find_head(struct csession *s, struct span cmid, struct clane **ret_lane)
{
    LIST_EACH(&s->lanes, node)
    {
        struct clane *l = LIST_ENTRY(node, struct clane, node);
        struct centry *e = lane_head(l);
        if (e->tried && span_is(cmid, e->cmid)) {
            *ret_lane = l;
            return e;
        }
    }
    return NULL;
}

enum confab_error csession_unsend(struct csession *s, const char *cmid)
{
    LIST_EACH(&s->lanes, ln)
    {
        struct clane *l = LIST_ENTRY(ln, struct clane, node);
        LIST_EACH(&l->entries, en)
        {
            struct centry *e = LIST_ENTRY(en, struct centry, node);
            if (strcmp(e->cmid, cmid) != 0) {
                continue;
            }
            if (e->tried) {
                return CONFAB_E_STATE;
            }
            unlink_entry(s, l, e);
            free(e);
            s->save_due = true;
            return CONFAB_E_OK;
        }
    }
    return CONFAB_E_NOT_FOUND;
}

/* ---- Sending ---- */

static bool write_entry(struct csession *s, const struct clane *l, struct centry *e, uint64_t now)
{
    struct wire_send *m = calloc(1, sizeof(*m));
    if (!m) {
        return false;
    }
    m->to = l->to ? span_str(l->to) : span_of(NULL, 0);
    m->conv = l->conv;
    m->content = span_of(e->content, e->content_n);
    m->client_msg_id = span_str(e->cmid);
    m->reply_to = e->reply_to;
    m->fresh = !e->tried;
    m->nmentions = e->nmentions;
    if (e->nmentions > 0) {
        memcpy(m->mentions, e->mentions, e->nmentions * sizeof(uint64_t));
    }
    size_t mark = clink_frame_begin(s);
    wire_put_send(&s->out, m);
    free(m);
    return clink_frame_end(s, mark, now);
}

void coutbox_pump(struct csession *s, uint64_t now)
{
    uint64_t next = UINT64_MAX;
    /* Sending may end the link, which leaves the lanes as they are. */
    LIST_EACH(&s->lanes, node)
    {
        if (!csession_is_signed_in(s)) {
            return;
        }
        struct clane *l = LIST_ENTRY(node, struct clane, node);
        struct centry *e = lane_head(l);
        if (e->in_flight && now - e->sent_ms >= ACK_TIMEOUT_MS) {
            e->in_flight = false;
            s->outbox_flying--;
            s->stats.send_retries++;
        }
        if (!e->in_flight && e->retry_at_ms <= now && s->outbox_flying < s->inflight_max &&
            s->out.len - s->out_sent < OUTPUT_FULL) {
            if (!write_entry(s, l, e, now)) {
                s->outbox_next_ms = now + s->opt.backoff_min_ms;
                return;
            }
            e->in_flight = e->tried = true;
            e->sent_ms = now;
            s->outbox_flying++;
        }
        if (e->in_flight) {
            next = MIN(next, e->sent_ms + ACK_TIMEOUT_MS);
        } else if (e->retry_at_ms > now) {
            next = MIN(next, e->retry_at_ms);
        }
    }
    s->outbox_next_ms = next;
}

void coutbox_link_down(struct csession *s)
{
    LIST_EACH(&s->lanes, node)
    {
        struct centry *e = lane_head(LIST_ENTRY(node, struct clane, node));
        if (e->in_flight) {
            e->in_flight = false;
            s->stats.send_retries++;
        }
        e->retry_at_ms = 0;
    }
    s->outbox_flying = 0;
    s->outbox_next_ms = UINT64_MAX;
}

/* ---- Answers ---- */

static void tell_sent(struct csession *s, const struct confab_sent *sent)
{
    if (s->on.on_sent) {
        s->on.on_sent(s->arg, sent);
    }
}

enum confab_err coutbox_acked(struct csession *s, const struct wire_sent *a, uint64_t now)
{
    struct clane *l;
    struct centry *e = find_head(s, a->client_msg_id, &l);
    if (!e) {
        /* The answer to a repetition after all was done. Its seq still counts. */
        ctrack_must_reach(s, a->conv, a->seq, a->message_id, now);
        return CONFAB_OK;
    }
    unlink_entry(s, l, e);
    s->stats.sent++;
    s->stats.sent_duplicate += a->duplicate ? 1 : 0;
    csession_touch(s, now);

    struct wire_server_msg m = {.event = WIRE_S_NEW_MESSAGE};
    m.u.message = (struct wire_new_message){
        .at = {a->conv, a->seq, a->message_id, a->sent_at_ms, s->user_id},
        .content = span_of(e->content, e->content_n),
        .type = span_str("text"),
        .client_msg_id = span_str(e->cmid),
        .reply_to = e->reply_to,
        .mentions = e->mentions,
        .nmentions = e->nmentions,
    };
    enum confab_err err = ctrack_live(s, &m, span_of(NULL, 0), now);

    struct confab_sent sent = {
        .client_msg_id = e->cmid,
        .duplicate = a->duplicate,
        .seq = a->seq,
        .message_id = a->message_id,
        .sent_at_ms = a->sent_at_ms,
    };
    cdeliver_conv(a->conv, sent.conv);
    tell_sent(s, &sent);
    free(e);
    return err;
}

static bool is_temporary(enum confab_error error, const struct wire_failure *f)
{
    switch (error) {
    case CONFAB_E_BUSY:
    case CONFAB_E_STORAGE:
    case CONFAB_E_STORAGE_FULL:
        return true;
    case CONFAB_E_LIMIT:
        return f->retry_after_ms > 0;
    case CONFAB_E_SERVER:
        /* "again", "out_of_memory", "timeout", "closed": its own trouble, which passes. */
        return cerror_passes(f->code);
    default:
        return false;
    }
}

/* Saves the state as it will be without the head of the lane. */
static bool save_without(struct csession *s, struct clane *l, struct centry *e, uint64_t now)
{
    list_remove(&e->node);
    s->outbox_len--;
    s->save_due = true;
    bool saved = csession_save(s, now) == CONFAB_E_OK;
    list_push_front(&l->entries, &e->node);
    s->outbox_len++;
    return saved;
}

bool coutbox_refused(struct csession *s, const struct wire_failure *f, uint64_t now)
{
    struct clane *l;
    struct centry *e = find_head(s, f->client_msg_id, &l);
    if (!e) {
        return false;
    }
    enum confab_error error = cerror_of_wire(f->code);
    bool may_wait = ++e->attempts < s->opt.send_attempts_max;
    bool is_over = !(may_wait && is_temporary(error, f)) && save_without(s, l, e, now);
    if (may_wait && !is_over) {
        uint64_t cap = s->opt.backoff_min_ms;
        for (uint32_t i = 1; i < e->attempts && cap < s->opt.backoff_max_ms; i++) {
            cap *= 2;
        }
        cap = MIN(cap, s->opt.backoff_max_ms);
        s->outbox_flying -= e->in_flight ? 1 : 0;
        e->in_flight = false;
        e->retry_at_ms = now + f->retry_after_ms + random_below(s->random, cap + 1);
        s->outbox_next_ms = MIN(s->outbox_next_ms, e->retry_at_ms);
        s->stats.send_retries++;
        return true;
    }
    unlink_entry(s, l, e);
    s->stats.send_failed++;
    csession_touch(s, now);
    tell_sent(s, &(struct confab_sent){
                     .client_msg_id = e->cmid,
                     .error = error ? error : CONFAB_E_SERVER,
                     .reason = ctext(f->message),
                 });
    free(e);
    return true;
}

void coutbox_free_all(struct csession *s)
{
    struct list *ln;
    while ((ln = list_pop_front(&s->lanes))) {
        struct clane *l = LIST_ENTRY(ln, struct clane, node);
        struct list *en;
        while ((en = list_pop_front(&l->entries))) {
            free(LIST_ENTRY(en, struct centry, node));
        }
        free(l);
    }
    s->outbox_len = s->outbox_flying = 0;
    s->outbox_bytes = 0;
}
