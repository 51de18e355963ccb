/*
 * The list of a user's conversations: from their own log, and when each had its last message, which
 * is its order. For that a conversation in memory is asked, or else a small row is read; none is
 * loaded.
 */
#include <stdlib.h>

#include "core/engine_internal.h"

static struct list_entry entry_of(const struct self_entry *s)
{
    return (struct list_entry){.conv = s->conv,
                               .muted_until_ms = s->muted_until_ms,
                               .since_ms = s->since_ms,
                               .conv_kind = s->conv_kind,
                               .joined = s->joined,
                               .pinned = s->pinned};
}

static void put_draft(struct buf *out, const struct conv *c, struct conv_id id)
{
    struct self_draft *d = conv_draft(c, id);
    if (d) {
        struct conv one = {.drafts = d, .ndrafts = 1};
        conv_encode_drafts(out, &one);
    }
}

enum step engine_step_list(struct engine *e, struct resident *r, struct command *cmd)
{
    const struct conv *c = &r->c;
    enum confab_err err = CONFAB_OK;
    bool one = !conv_id_is_zero(cmd->in.conv);
    const struct self_entry *only = one ? conv_entry(c, cmd->in.conv) : NULL;
    uint32_t n = one ? only != NULL : c->nentries;
    if (!conv_id_eq(c->id, conv_id_self(cmd->actor)) || (one && !only)) {
        err = CONFAB_NOT_FOUND;
    } else if (n > 0) {
        cmd->entries = calloc(n, sizeof(*cmd->entries));
        err = cmd->entries ? CONFAB_OK : CONFAB_NOMEM;
    }
    for (uint32_t i = 0; !err && i < n; i++) {
        cmd->entries[cmd->nentries++] = entry_of(one ? only : &c->entries[i]);
    }
    if (!err && !one) {
        conv_encode_drafts(&cmd->ret, c);
    } else if (!err) {
        put_draft(&cmd->ret, c, cmd->in.conv);
    }
    if (!err && !buf_ok(&cmd->ret)) {
        err = CONFAB_NOMEM;
    }
    cmd->ret_conv = c->id;
    cmd->ret_seq = c->head_seq;
    cmd->ret_id = c->head_id;
    engine_complete(e, cmd, err, NULL);
    return STEP_DONE;
}

/* True: known without the store. */
static bool head_here(struct engine *e, struct resume_item *item)
{
    const struct resident *r = engine_resident(e, item->conv);
    if (!r || r->state != RESIDENT_READY) {
        return false;
    }
    item->last_id = r->c.last_id;
    return true;
}

static void rows_done(struct engine *e, struct engine_job *job)
{
    struct command *cmd = job->cmd;
    enum confab_err err = job->err;
    uint32_t row = 0;
    for (uint32_t i = 0; i < cmd->nitems && !err; i++) {
        struct resume_item *item = &cmd->items[i];
        struct row_head head = {0};
        if (item->last_id != UINT64_MAX) {
            continue;
        }
        const struct store_row *found = &job->req.ret_rows[row++];
        item->last_id = 0;
        if (found->found) {
            err = row_head_decode(found->value, &head);
        }
        if (!head_here(e, item)) {
            item->last_id = head.last_id;
        }
    }
    engine_job_free(job);
    engine_complete(e, cmd, err, NULL);
}

/* Those that are marked with UINT64_MAX. */
static enum confab_err ask_rows(struct engine *e, struct command *cmd, uint32_t n)
{
    struct engine_job *job = engine_job_new(e, NULL, cmd, rows_done);
    if (job) {
        job->keys = calloc(n, sizeof(*job->keys));
        job->key_list = calloc(n, sizeof(*job->key_list));
    }
    if (!job || !job->keys || !job->key_list) {
        engine_job_free(job);
        return CONFAB_NOMEM;
    }
    uint32_t k = 0;
    for (uint32_t i = 0; i < cmd->nitems; i++) {
        if (cmd->items[i].last_id == UINT64_MAX) {
            row_key_conv(&job->keys[k], STORE_HEAD, cmd->items[i].conv);
            job->key_list[k] = job->keys[k].k;
            k++;
        }
    }
    job->req.op = STORE_GET;
    job->req.keys = job->key_list;
    job->req.nkeys = n;
    enum confab_err err = engine_job_submit(e, job);
    if (err) {
        engine_job_free(job);
    }
    return err;
}

void engine_heads(struct engine *e, struct command *cmd)
{
    uint32_t cold = 0;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < cmd->nitems; i++) {
        struct resume_item *item = &cmd->items[i];
        const struct partition *p = engine_partition(e, conv_id_partition(item->conv));
        if (!err) {
            err = p ? p->stopped : CONFAB_INVALID;
        }
        if (!head_here(e, item)) {
            item->last_id = UINT64_MAX;
            cold++;
        }
    }
    if (!err && cold > 0) {
        err = ask_rows(e, cmd, cold);
        if (!err) {
            return;
        }
    }
    engine_complete(e, cmd, err, NULL);
}
