#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"
#include "drive.h"

struct check {
    struct driver *d;
    struct talk *talk;
    uint32_t n; /* messages seen */
    uint64_t at;
};

static void check_ask(struct check *c)
{
    struct command *cmd = command_new(COMMAND_HISTORY);
    CHECK(cmd);
    uint64_t u[2];
    model_users(c->talk->conv, c->d->o->users, u);
    cmd->actor = u[0];
    cmd->conv = model_conv(c->talk->conv, c->d->o->users);
    cmd->from_seq = c->at;
    cmd->limit = 200;
    cmd->messages_only = true;
    cmd->context = c;
    c->d->outstanding++;
    rig_submit(c->d->rig, cmd);
}

static void check_message(const struct check *c, const struct event *ev)
{
    char plain[MODEL_TEXT];
    char edited[MODEL_TEXT];
    const struct talk *t = c->talk;
    uint32_t n = c->n - t->base; /* wraps for those of the fill, which are never edited */
    size_t plain_len = model_text(t->conv, c->n, false, plain);
    size_t edited_len = model_text(t->conv, c->n, true, edited);
    bool may = c->n > t->base && n % EDIT_EVERY == 0;
    bool must = may && n <= t->edited;
    bool is_plain = span_eq(ev->text, span_of(plain, plain_len));
    bool is_edited = span_eq(ev->text, span_of(edited, edited_len));
    if (ev->ord != c->n || (!is_plain && !(may && is_edited)) || (must && !is_edited)) {
        (void)fprintf(stderr,
                      "conversation %" PRIu64 ": message %u has ord %" PRIu64 " and text '%.*s'\n",
                      t->conv, c->n, ev->ord, (int)ev->text.n, (const char *)ev->text.p);
        exit(1);
    }
}

void check_answered(struct command *cmd)
{
    struct check *c = cmd->context;
    if (cmd->err) {
        (void)fprintf(stderr, "history of conversation %" PRIu64 ": error %d\n", c->talk->conv,
                      cmd->err);
        exit(1);
    }
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    while (command_record_next(&rd, &ev)) {
        c->n++;
        check_message(c, &ev);
    }
    c->at = cmd->covered_to + 1;
    bool more = cmd->more;
    command_free(cmd);
    if (more) {
        check_ask(c);
        return;
    }
    const struct talk *t = c->talk;
    if (c->n < t->base + t->acked || c->n > t->base + t->submitted) {
        (void)fprintf(stderr,
                      "conversation %" PRIu64 ": %u messages, %u acknowledged, %u submitted\n",
                      t->conv, c->n, t->base + t->acked, t->base + t->submitted);
        exit(1);
    }
}

void drive_check(const struct options *o)
{
    static struct driver d;
    drive_open(&d, o);
    struct check *all = calloc(d.n, sizeof(*all));
    CHECK(all);
    while (!rig_is_recovered(d.rig)) {
        rig_turn(d.rig, true);
    }
    d.model->start.folded_ms = drive_since_exec_ms(o);
    d.model->start.folded_cpu_ms = rig_cpu_ms();
    struct rig_stats st;
    rig_stats(d.rig, &st);
    d.model->start.rss = st.rss;
    for (uint32_t i = 0; i < d.n; i++) {
        all[i] = (struct check){.d = &d, .talk = &d.model->talks[i], .at = 1};
        check_ask(&all[i]);
    }
    while (d.outstanding > 0) {
        rig_turn(d.rig, true);
    }
    drive_dump(&d, "scale-check");
    if (o->started_us) {
        CHECK(raise(SIGKILL) == 0);
    }
    rig_close(d.rig);
    free(all);
}
