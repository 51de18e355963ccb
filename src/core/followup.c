/*
 * Follow-ups: what an event of one conversation implies in the log of another. They are part of the
 * source's state from the event on, so that a crash at any point leaves them to be sent again; the
 * target recognises one that it has seen by (source, seq). When the target has it durably, a
 * confirm record removes it from the source.
 */
#include "core/engine_internal.h"

enum { SENT_MAX = 1024, RETRY_MS = 200, CONFIRM_DELAY_MS = 20, CONFIRM_BYTES_MAX = 64 * 1024 };
/* How long an answer waits for the actor's own follow-up at most. */
enum { ANSWER_MS = 500 };

static struct command *followup_command(const struct resident *r, const struct followup *f)
{
    struct command *cmd = command_new(COMMAND_FOLLOWUP);
    if (!cmd) {
        return NULL;
    }
    cmd->actor = f->type == FOLLOWUP_LEAVE ? r->c.members[0].user : f->user;
    cmd->in.user = f->user;
    cmd->conv = f->target;
    cmd->in.conv = r->c.id;
    cmd->in.src_seq = f->seq;
    cmd->in.range_from = f->from;
    cmd->in.range_to = f->to;
    cmd->in.value = f->on;
    if (f->type == FOLLOWUP_JOINED || f->type == FOLLOWUP_LEFT) {
        cmd->in.kind = f->type == FOLLOWUP_JOINED ? EVENT_JOINED : EVENT_LEFT;
        cmd->in.type = r->c.kind;
    } else if (f->type == FOLLOWUP_LEAVE) {
        cmd->in.kind = EVENT_LEAVE;
        cmd->in.value = LEAVE_DELETED;
    } else if (f->type == FOLLOWUP_SENT) {
        cmd->in.kind = EVENT_DRAFT;
        cmd->in.value = DRAFT_SENT;
    } else {
        cmd->in.type = f->type;
    }
    return cmd;
}

/* Sends what of one conversation is not under way; false when it must go on later. */
static bool send_all(struct engine *e, struct resident *r)
{
    /* By index, and checked again each time: `send` may complete a command at once. */
    for (uint32_t i = 0; i < r->c.nfollowups; i++) {
        struct followup *f = &r->c.followups[i];
        if (f->sent) {
            continue;
        }
        struct command *cmd = e->followups_sent < SENT_MAX ? followup_command(r, f) : NULL;
        if (!cmd) {
            return false;
        }
        f->sent = true;
        e->followups_sent++;
        if (e->host->ops->send(e->host, cmd)) {
            f->sent = false;
            e->followups_sent--;
            command_free(cmd);
            e->followup_retry_ms = e->now_ms + RETRY_MS;
            return false;
        }
        metrics_inc(e->metrics, METRIC_FOLLOWUPS_SENT);
    }
    return true;
}

static bool must_pause(const struct engine *e)
{
    return e->failed ||
           (e->now_ms < e->followup_retry_ms && e->followup_retry_ms < e->now_ms + 10U * RETRY_MS);
}

void engine_followups_run(struct engine *e)
{
    if (e->following) {
        return;
    }
    e->following = true;
    while (!list_is_empty(&e->follow) && e->followups_sent < SENT_MAX && !must_pause(e)) {
        struct resident *r = LIST_ENTRY(e->follow.next, struct resident, follow);
        /* Unlinked first: one that comes back refused meanwhile links it again. */
        list_remove(&r->follow);
        if (!send_all(e, r)) {
            list_remove(&r->follow);
            list_push_front(&e->follow, &r->follow);
            break;
        }
    }
    e->following = false;
}

void engine_followups_kick(struct engine *e, struct resident *r)
{
    if (!list_is_linked(&r->follow)) {
        list_push_back(&e->follow, &r->follow);
    }
    engine_followups_run(e);
}

/*
 * Whoever is answered finds what they did: a new group in their list, a message they deleted for
 * themselves gone, a person they blocked unable to write. So the answer waits for the follow-up
 * that concerns the actor. It is no condition: the event is durable, and the follow-up will arrive.
 */
bool engine_followup_concerns(const struct resident *r, uint64_t seq, uint64_t actor)
{
    for (uint32_t i = r->c.nfollowups; i > 0 && r->c.followups[i - 1].seq == seq; i--) {
        /* A message is answered as fast with a draft as without. */
        if (r->c.followups[i - 1].user == actor && r->c.followups[i - 1].type != FOLLOWUP_SENT) {
            return true;
        }
    }
    return false;
}

void engine_answer_later(struct engine *e, struct command *cmd)
{
    list_push_back(&e->answers, &cmd->link);
}

static void answer(struct engine *e, struct command *cmd)
{
    list_remove(&cmd->link);
    engine_complete(e, cmd, CONFAB_OK, NULL);
}

/* In order of their events' times, more or less: those of one partition are. */
void engine_answers_due(struct engine *e)
{
    LIST_EACH(&e->answers, it)
    {
        struct command *cmd = LIST_ENTRY(it, struct command, link);
        uint64_t ms = message_id_time_ms(cmd->ret_id);
        if (e->failed || e->now_ms >= ms + ANSWER_MS || ms > e->now_ms + ANSWER_MS) {
            answer(e, cmd);
        }
    }
}

static void answer_waiting(struct engine *e, const struct command *followup)
{
    LIST_EACH(&e->answers, it)
    {
        struct command *cmd = LIST_ENTRY(it, struct command, link);
        if (cmd->ret_seq == followup->in.src_seq && cmd->actor == followup->actor &&
            conv_id_eq(cmd->ret_conv, followup->in.conv)) {
            answer(e, cmd);
            return;
        }
    }
}

/* The source's bytes travel with the command: what comes back is matched by (source, seq, user). */
void engine_followup_done(struct engine *e, struct command *cmd)
{
    struct resident *r = engine_resident(e, cmd->in.conv);
    e->followups_sent--;
    answer_waiting(e, cmd);
    struct followup *f = NULL;
    for (uint32_t i = 0; r && i < r->c.nfollowups && !f; i++) {
        struct followup *g = &r->c.followups[i];
        f = g->seq == cmd->in.src_seq && g->user == cmd->in.user && g->sent ? g : NULL;
    }
    /* The person's list is full: asking again for ever would hold up everybody else's. */
    bool final = cmd->err == CONFAB_LIMIT;
    metrics_add(e->metrics, METRIC_FOLLOWUPS_REFUSED, final);
    if (f && cmd->err && !final) {
        f->sent = false;
        e->followup_retry_ms = e->now_ms + RETRY_MS;
        list_remove(&r->follow);
        list_push_back(&e->follow, &r->follow);
        metrics_inc(e->metrics, METRIC_FOLLOWUPS_RETRIED);
    } else if (f) {
        /* It stays `sent` until the confirm record is durable and removes it. */
        struct partition *p = r->p;
        if (p->confirms.len == 0) {
            p->confirms_due_ms = e->now_ms + CONFIRM_DELAY_MS;
            list_remove(&p->confirm_link);
            list_push_back(&e->confirm_parts, &p->confirm_link);
        }
        uint8_t raw[16];
        conv_id_write(r->c.id, raw);
        buf_put(&p->confirms, raw, sizeof(raw));
        buf_put_varint(&p->confirms, f->seq);
        buf_put_u64(&p->confirms, f->user);
    }
    command_free(cmd);
    /* Not one at a time: a look for what is not sent yet walks over all that is. */
    if (e->followups_sent < SENT_MAX / 2) {
        engine_followups_run(e);
    }
}

/* What has arrived is not known any more: all are sent again, and recognised. */
static void confirms_lost(struct engine *e, struct partition *p)
{
    struct idmap_iter it = {0};
    buf_deinit(&p->confirms);
    while (idmap_next(&e->residents, &it)) {
        struct resident *r = it.value;
        for (uint32_t i = 0; r->p == p && i < r->c.nfollowups; i++) {
            r->c.followups[i].sent = false;
        }
        if (r->p == p && r->c.nfollowups > 0 && !list_is_linked(&r->follow)) {
            list_push_back(&e->follow, &r->follow);
        }
    }
}

void engine_log_confirms(struct engine *e, bool all)
{
    if (e->failed) {
        return;
    }
    LIST_EACH(&e->confirm_parts, it)
    {
        struct partition *p = LIST_ENTRY(it, struct partition, confirm_link);
        bool due = e->now_ms >= p->confirms_due_ms || p->confirms.len >= CONFIRM_BYTES_MAX ||
                   p->confirms_due_ms > e->now_ms + 10U * CONFIRM_DELAY_MS;
        if ((!due && !all) || p->stopped) {
            continue;
        }
        if (!buf_ok(&p->confirms) || p->confirms.len > LOG_RECORD_SIZE_MAX) {
            list_remove(&p->confirm_link);
            confirms_lost(e, p);
        } else if (engine_log_payload(e, LOGREC_CONFIRM, p, NULL, NULL, engine_stamp_ms(e, p),
                                      &p->confirms, NULL)) {
            metrics_inc(e->metrics, METRIC_OUT_OF_MEMORY);
            p->confirms_due_ms = e->now_ms + RETRY_MS;
        } else {
            list_remove(&p->confirm_link);
        }
    }
}

void engine_confirms_rejected(struct engine *e, struct inflight *in)
{
    struct partition *p = in->p;
    buf_put(&p->confirms, in->payload.data, in->payload.len);
    p->confirms_due_ms = e->now_ms + RETRY_MS;
    list_remove(&p->confirm_link);
    list_push_back(&e->confirm_parts, &p->confirm_link);
}
