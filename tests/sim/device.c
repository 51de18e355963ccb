/*
 * A device comes back with its token: it asks what moved as a gateway does, and then knows as much
 * as the engines do. Property: what it knew, and what it was given, is all that there is.
 */
#include <stdlib.h>

#include "base/check.h"
#include "process.h"
#include "users.h"

#define ULL(x) ((unsigned long long)(x))

static void device_clear(struct device *d)
{
    struct list *it;
    while ((it = list_pop_front(&d->answers))) {
        command_free(LIST_ENTRY(it, struct command, link));
    }
    command_free(d->list);
    d->list = NULL;
    d->busy = false;
    d->pending = 0;
}

void device_lost(struct device *d)
{
    device_clear(d);
}

void device_deinit(struct device *d)
{
    device_clear(d);
    free(d->known);
}

static struct known *known_of(struct device *d, struct conv_id conv)
{
    for (uint32_t i = 0; i < d->nknown; i++) {
        if (conv_id_eq(d->known[i].conv, conv)) {
            return &d->known[i];
        }
    }
    return NULL;
}

static struct known *known_make(struct device *d, struct conv_id conv)
{
    struct known *k = known_of(d, conv);
    if (!k) {
        d->known = realloc(d->known, (d->nknown + 1U) * sizeof(*d->known));
        CHECK(d->known);
        k = &d->known[d->nknown++];
        *k = (struct known){.conv = conv};
    }
    return k;
}

static void ask(struct sim *s, struct device *d, uint16_t shard, struct command *cmd)
{
    uop_of(cmd)->device = d;
    d->pending++;
    process_request_to(s->process, d->user, shard, cmd);
}

void device_resume(struct sim *s, uint32_t user)
{
    struct device *d = &s->users->devices[user];
    struct process *p = s->process;
    if (d->busy) {
        return;
    }
    d->busy = true;
    d->failed = false;
    d->asked = false;
    d->with_have = sim_one_in(s, 2);
    if (sim_one_in(s, 12)) {
        d->token_ms = 0; /* a new device */
        d->nknown = 0;
    }
    d->closed_ms = atomic_load(&p->shared.log_clock_ms);
    sim_trace(s, "resume user=%u token=%llu closed=%llu", user, ULL(d->token_ms),
              ULL(d->closed_ms));
    uint64_t id = s->users->ids[user];
    uint16_t home = engine_shard_of(conv_id_partition(conv_id_self(id)), p->shards);
    struct command *close = users_command(s, user, COMMAND_RESUME);
    close->closed_ms = d->closed_ms;
    close->since_ms = d->token_ms;
    ask(s, d, home, close);
    struct command *list = users_command(s, user, COMMAND_LIST);
    list->conv = conv_id_self(id);
    ask(s, d, home, list);
}

/* One question to one shard: what is new to the device, or the rest. */
static void ask_shard(struct sim *s, struct device *d, uint16_t shard, bool fresh)
{
    uint16_t shards = s->process->shards;
    uint64_t id = s->users->ids[d->user];
    struct command *cmd = users_command(s, d->user, COMMAND_RESUME);
    cmd->items = calloc(d->list->nentries + 1U, sizeof(*cmd->items));
    CHECK(cmd->items);
    for (uint32_t i = 0; i <= d->list->nentries; i++) {
        struct list_entry e = {.conv = conv_id_self(id), .conv_kind = CONV_SELF, .joined = true};
        if (i < d->list->nentries) {
            e = d->list->entries[i];
        }
        bool is_fresh = d->token_ms != 0 && e.since_ms > d->token_ms;
        if (engine_shard_of(conv_id_partition(e.conv), shards) != shard || is_fresh != fresh) {
            continue;
        }
        struct resume_item *item = &cmd->items[cmd->nitems++];
        *item = (struct resume_item){.conv = e.conv, .entry = e};
        struct known *k = known_of(d, e.conv);
        struct mconv *c = model_conv(s->model, e.conv);
        if (d->with_have && k && k->head > 0 && c && k->head <= c->head) {
            item->have_seq = k->head;
            item->have_id = c->events[k->head - 1].ev.id;
        }
    }
    if (cmd->nitems == 0 && fresh) {
        struct uop *op = uop_of(cmd);
        uop_free(s->users, op);
        command_free(cmd);
        return;
    }
    cmd->since_ms = fresh ? 0 : d->token_ms;
    cmd->closed_ms = d->closed_ms;
    cmd->events_max = (uint32_t)(1 + sim_below(s, 40));
    ask(s, d, shard, cmd);
}

/* Became a member again after that: what was hidden before may be visible now, and is in the past.
 */
static bool rejoined(const struct mconv *c, uint64_t user, uint64_t after)
{
    for (uint64_t seq = after + 1; seq <= c->head; seq++) {
        const struct event *ev = &c->events[seq - 1].ev;
        struct reader r = reader_of(ev->members.p, ev->members.n);
        uint64_t who;
        uint8_t role;
        while (ev->kind == EVENT_ADD && event_members_next(&r, &who, &role)) {
            if (who == user) {
                return true;
            }
        }
    }
    return false;
}

static void check_moved(struct sim *s, const struct device *d, const struct known *k,
                        const struct snapshot *snap)
{
    const struct mconv *c = model_conv(s->model, snap->conv);
    /* Nothing between what was known and what is given, unless it says so. */
    if (d->token_ms != 0 && k->head > 0 && !snap->limited &&
        !rejoined(c, s->users->ids[d->user], k->head)) {
        bool gap = snap->head_seq > k->head && snap->covered_from > k->head + 1;
        for (uint64_t seq = k->head + 1; gap && seq < snap->covered_from; seq++) {
            SIM_CHECK(
                s, model_sees(s->model, c, s->users->ids[d->user], seq) != SIGHT_YES || snap->reset,
                "a resume leaves no gap",
                CONV_FMT " seq %llu: known to %llu, given %llu-%llu, token %llu, have %d",
                CONV_ARG(c->id), ULL(seq), ULL(k->head), ULL(snap->covered_from),
                ULL(snap->covered_to), ULL(d->token_ms), d->with_have);
        }
    }
    SIM_CHECK(s, !snap->reset, "a device that is right is not reset", CONV_FMT ": known to %llu",
              CONV_ARG(snap->conv), ULL(k->head));
}

/* A conversation that is not in the answer has not moved since the token. */
static void check_unmoved(struct sim *s, struct device *d, const struct resume_item *item,
                          const struct seen_conv *seen)
{
    const struct mconv *c = seen->conv;
    const struct mmember *mm = c ? mconv_member(c, s->users->ids[d->user]) : NULL;
    if (!mm || mm->nintervals == 0) {
        return;
    }
    struct known *k = known_of(d, item->conv);
    uint64_t head = k ? k->head : 0;
    uint64_t last = MIN(mmember_last(c, mm), seen->head);
    SIM_CHECK(
        s, last <= head || c->members_version != seen->members_version, "a resume tells what moved",
        CONV_FMT ": known to %llu of %llu, token %llu, have %d, id %llu", CONV_ARG(c->id),
        ULL(head), ULL(last), ULL(d->token_ms), item->have_seq > 0, ULL(c->events[last - 1].ev.id));
    SIM_CHECK(s, k && k->read >= seen->read_lo && k->delivered >= seen->delivered_lo,
              "a resume tells what moved", CONV_FMT ": cursors %llu %llu, known %llu %llu",
              CONV_ARG(c->id), ULL(seen->read_lo), ULL(seen->delivered_lo), ULL(k ? k->read : 0),
              ULL(k ? k->delivered : 0));
}

static void apply(struct sim *s, struct device *d)
{
    s->result.counts.resumes++;
    LIST_EACH(&d->answers, it)
    {
        struct command *cmd = LIST_ENTRY(it, struct command, link);
        struct uop *op = uop_of(cmd);
        for (uint32_t i = 0; i < d->nknown; i++) {
            d->known[i].mark = false;
        }
        for (uint32_t i = 0; i < cmd->nsnaps; i++) {
            const struct snapshot *snap = &cmd->snaps[i];
            struct known *k = known_make(d, snap->conv);
            check_moved(s, d, k, snap);
            k->head = MAX(k->head, snap->head_seq);
            k->read = MAX(k->read, snap->read_seq);
            k->delivered = MAX(k->delivered, snap->delivered_seq);
            k->mark = true;
        }
        for (uint32_t i = 0; i < cmd->nitems; i++) {
            struct known *k = known_of(d, cmd->items[i].conv);
            if (!k || !k->mark) {
                check_unmoved(s, d, &cmd->items[i], &op->items[i]);
            }
        }
    }
    d->token_ms = d->closed_ms;
    if (s->options.bug == BUG_OPEN_TOKEN) {
        d->token_ms = clock_wall_ms(&s->clock.base) + 5;
    }
    sim_trace(s, "resumed user=%u token=%llu", d->user, ULL(d->token_ms));
}

static void keep_answer(struct device *d, struct command *cmd)
{
    if (cmd->err) {
        d->failed = true;
    }
    if (cmd->type == COMMAND_RESUME && !cmd->err) {
        d->closed_ms = MIN(d->closed_ms, cmd->closed_ms);
    }
    list_push_back(&d->answers, &cmd->link);
}

/* The operations of the answers that are kept live on until here. */
static void finish(struct sim *s, struct device *d)
{
    LIST_EACH(&d->answers, it)
    {
        uop_free(s->users, uop_of(LIST_ENTRY(it, struct command, link)));
    }
    device_clear(d);
}

void device_answer(struct sim *s, struct command *cmd)
{
    struct device *d = uop_of(cmd)->device;
    d->pending--;
    if (cmd->type == COMMAND_LIST && !cmd->err) {
        uop_free(s->users, uop_of(cmd));
        d->list = cmd;
    } else {
        keep_answer(d, cmd);
    }
    if (d->pending > 0) {
        return;
    }
    if (!d->failed && !d->asked) {
        d->asked = true;
        for (uint16_t i = 0; i < s->process->shards; i++) {
            ask_shard(s, d, i, false);
            ask_shard(s, d, i, true);
        }
        return;
    }
    if (!d->failed) {
        apply(s, d);
    }
    finish(s, d);
}
