/*
 *     ASLEEP ─ told, or started ─► LIST ─► CLOSE each ─► (closed: LEFT) ─► round over
 *        ▲                          ▲                                          │
 *        └── the list is empty ─────┴──────────── STEP_MS later ───────────────┘
 *
 * A round closes up to BATCH accounts at once; one whose follow-ups are under way is asked again in
 * the next. The list goes on where the round ended and begins anew behind its end, so that an
 * account that cannot be closed (its partition is stopped) does not hold up the others.
 */
#include "gateway/leaving.h"

#include "base/diag.h"
#include "gateway/internal.h"

enum { BATCH = 32, STEP_MS = 50, RETRY_MS = 1000 };

static void round_over(struct shard *s)
{
    struct leaving *l = &s->leaving;
    if (l->pending > 0 || l->asking) {
        return;
    }
    if (l->after == 0 && !l->any) {
        l->at_ms = UINT64_MAX;
        return;
    }
    if (l->after == 0) {
        l->any = false;
    }
    l->at_ms = s->now_ms + (l->failed ? RETRY_MS : STEP_MS);
    l->failed = false;
}

static void account_over(struct shard *s, enum confab_err err)
{
    if (err) {
        s->leaving.failed = true;
        metrics_inc(s->metrics, METRIC_ACCOUNTS_LEAVING_FAILED);
    }
    s->leaving.pending--;
    round_over(s);
}

static void on_left(struct shard *s, struct dir_call *dir)
{
    enum confab_err err = dir->req.ret_err == CONFAB_NOT_FOUND ? CONFAB_OK : dir->req.ret_err;
    metrics_add(s->metrics, METRIC_ACCOUNTS_LEFT, !err);
    account_over(s, err);
}

/* Nothing is left: the directory may forget it. */
static void tell_left(struct shard *s, uint64_t user)
{
    struct dir_call *dir = dir_call_new(sizeof(*dir), DIR_ACCOUNT_LEFT);
    enum confab_err err = CONFAB_NOMEM;
    if (dir) {
        dir->on_done = on_left;
        dir->req.user_id = user;
        err = dir_call_submit(s, dir);
    }
    if (err) {
        account_over(s, err);
    }
}

static void on_closed(struct shard *s, struct command_sink *sink, struct command *cmd)
{
    enum confab_err err = cmd->err;
    uint64_t user = cmd->actor;
    (void)sink;
    command_free(cmd);
    if (err == CONFAB_EXISTS) {
        tell_left(s, user);
    } else {
        account_over(s, err == CONFAB_BUSY ? CONFAB_OK : err);
    }
}

static enum confab_err close_one(struct shard *s, uint64_t user)
{
    struct command *cmd = command_new(COMMAND_EVENT);
    if (!cmd) {
        return CONFAB_NOMEM;
    }
    cmd->in.kind = EVENT_CLOSE;
    cmd->actor = user;
    cmd->conv = conv_id_self(user);
    cmd->context = &s->leaving.sink;
    enum confab_err err = link_request(s, cmd);
    if (err) {
        command_free(cmd);
    } else {
        s->leaving.pending++;
    }
    return err;
}

static void on_list(struct shard *s, struct dir_call *dir)
{
    struct leaving *l = &s->leaving;
    const struct dir_request *req = &dir->req;
    enum confab_err err = req->ret_err;
    uint32_t n = 0;
    l->asking = false;
    while (!err && n < req->ret_nids) {
        err = close_one(s, req->ret_ids[n]);
        n += !err;
    }
    if (n > 0) {
        l->any = true;
        l->after = req->ret_ids[n - 1];
    }
    if (!err && !req->ret_more) {
        l->after = 0;
    }
    l->failed = l->failed || err;
    l->any = l->any || err;
    round_over(s);
}

static void ask(struct shard *s)
{
    struct leaving *l = &s->leaving;
    struct dir_call *dir = dir_call_new(sizeof(*dir), DIR_ACCOUNTS_LEAVING);
    enum confab_err err = CONFAB_NOMEM;
    if (dir) {
        dir->on_done = on_list;
        dir->req.after_id = l->after;
        dir->req.limit = BATCH;
        err = dir_call_submit(s, dir);
    }
    l->asking = !err;
    if (err) {
        l->at_ms = s->now_ms + RETRY_MS;
    }
}

void leaving_init(struct shard *s)
{
    s->leaving.sink.on_done = on_closed;
}

void leaving_turn(struct shard *s)
{
    struct leaving *l = &s->leaving;
    uint64_t told = auth_state_deletions(s->deps.auth);
    if (l->told != told) {
        l->told = told;
        l->any = true; /* another pass, whatever this one has seen */
        l->at_ms = MIN(l->at_ms, s->now_ms);
    }
    if (!l->asking && l->pending == 0 && !s->draining && s->now_ms >= l->at_ms) {
        ask(s);
    }
}

uint64_t leaving_next_ms(const struct shard *s)
{
    const struct leaving *l = &s->leaving;
    return s->cfg.shard != 0 || l->asking || l->pending > 0 || s->draining ? UINT64_MAX : l->at_ms;
}

void leaving_tell(struct shard *s)
{
    auth_state_deleted(s->deps.auth);
    shard_wake(s->out[0].peer);
}
