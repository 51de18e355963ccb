/*
 * What happens to a whole server and to its accounts: an older copy of all its files is put in
 * place while it is stopped, and people delete their accounts.
 *
 * After a restore the model is that of the copy: what was logged since never happened. The phones
 * keep their tokens, positions and outboxes. What a phone has shown and is lost must be reset on it
 * before it shows anything more of that conversation; resets come before it has caught up for the
 * first time, and never else. What a phone was told as sent may be gone; what it still holds is
 * sent again.
 *
 * A deleted account is, at a quiet point, in nothing any more, its phones are refused, and it says
 * nothing from then on. What it had said stays. A restore may bring it back.
 */
#include <stdlib.h>

#include "base/check.h"
#include "gate.h"
#include "ports.h"

#define ULL(x) ((unsigned long long)(x))

void life_draw(struct gate *g)
{
    struct sim *s = g->sim;
    g->restores = sim_one_in(s, 2) || s->options.bug == BUG_KEPT_EPOCHS;
    g->deletes = sim_one_in(s, 2) || s->options.bug == BUG_EARLY_LEFT;
}

/* ---- restores ---------------------------------------------------------------------------- */

void life_backup(struct gate *g)
{
    if (g->restores && (!g->backup || sim_one_in(g->sim, 3))) {
        ports_backup_free(g->backup);
        g->backup = ports_backup_new(g->sim->ports);
        sim_trace(g->sim, "a backup is taken");
    }
}

/* The model as the journal has it, which ends where the backup does. */
static void refold_model(struct gate *g)
{
    struct sim *s = g->sim;
    const struct journal *j = &s->ports->journal;
    for (uint64_t i = 0; i < g->nsends; i++) {
        g->sends[i].seq = 0;
        g->sends[i].id = 0;
    }
    s->model = model_new(s);
    for (size_t i = 0; i < j->count; i++) {
        const struct journal_record *rec = &j->at[i];
        struct log_record lr = {.lsn = rec->lsn,
                                .partition = rec->partition,
                                .kind = rec->kind,
                                .version = rec->version,
                                .data = span_of(rec->bytes, rec->len)};
        model_durable(s->model, &lr);
    }
    for (uint64_t i = 0; i < g->nsends; i++) {
        struct gsend *gs = &g->sends[i];
        gs->lost |= gs->outcome == GSEND_STORED && gs->seq == 0;
    }
}

static bool is_deleted(struct gate *g, uint32_t person)
{
    struct dir_account account;
    gate_account(g, person, &account);
    return account.status == DIR_STATUS_DELETED;
}

void life_restore(struct gate *g)
{
    struct sim *s = g->sim;
    struct model *before = s->model;
    sim_trace(s, "the backup is put in place");
    s->result.counts.restores++;
    for (uint32_t i = 0; i < GATE_RESTS_MAX; i++) {
        http_end(&g->rests[i].call);
    }
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_cut(&g->phones[i]);
    }
    ports_restore(s->ports, g->backup);
    for (uint32_t i = 0; i < g->npeople; i++) {
        struct person *who = &g->people[i];
        who->silent = false;
    }
    refold_model(g);
    for (uint32_t i = 0; i < g->nphones; i++) {
        phone_lose(&g->phones[i]);
    }
    model_free(before);
    for (uint32_t i = 0; i < g->npeople; i++) {
        struct person *who = &g->people[i];
        bool back = who->gone || who->leaving;
        who->gone = is_deleted(g, i);
        who->leaving = false;
        who->hiding = true;
        for (uint32_t k = 0; k < g->nphones && back && !who->gone; k++) {
            if (g->phones[k].person == i) {
                phone_kill(&g->phones[k]); /* it was refused, and tries again */
            }
        }
    }
}

/* ---- accounts that go -------------------------------------------------------------------- */

uint32_t life_draw_leaver(struct gate *g)
{
    uint32_t gone = 0;
    uint32_t person = (uint32_t)sim_below(g->sim, g->npeople);
    for (uint32_t i = 0; i < g->npeople; i++) {
        gone += g->people[i].gone || g->people[i].leaving;
    }
    bool may = g->deletes && gone < g->npeople / 3 && !life_is_leaving(g, person);
    return may ? person : UINT32_MAX;
}

bool life_is_leaving(const struct gate *g, uint32_t person)
{
    return g->people[person].leaving || g->people[person].gone;
}

void life_learn(struct gate *g, bool settled)
{
    for (uint32_t i = 0; i < g->npeople; i++) {
        struct person *who = &g->people[i];
        if (who->leaving && !who->gone && is_deleted(g, i)) {
            sim_trace(g->sim, "person %u is gone", i);
            who->gone = true;
            g->sim->result.counts.deletions++;
        }
        who->leaving = who->leaving && !settled;
    }
}

void life_check_quiet(struct gate *g)
{
    struct sim *s = g->sim;
    for (uint32_t i = 0; i < g->npeople; i++) {
        struct person *who = &g->people[i];
        for (uint32_t k = 0; k < s->model->nconvs && who->gone; k++) {
            const struct mconv *c = s->model->convs[k];
            SIM_CHECK(s, c->kind == CONV_SELF || !mconv_active(c, who->id),
                      "a deleted account is in nothing", "person %u: " CONV_FMT, i,
                      CONV_ARG(c->id));
        }
        who->silent = who->gone;
    }
}
