#include "drive.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/check.h"

double drive_since_exec_ms(const struct options *o)
{
    return o->started_us ? rig_now() * 1e3 - (double)o->started_us / 1e3 : 0;
}

static void idle_put(struct driver *d, struct speaker *s)
{
    d->idle[(d->idle_at + d->nidle++) % d->cap] = s;
}

/* The one that has been idle for longest. */
static struct speaker *idle_take(struct driver *d)
{
    struct speaker *s = d->idle[d->idle_at];
    d->idle_at = (d->idle_at + 1) % d->cap;
    d->nidle--;
    return s;
}

static void send_read(struct driver *d, const struct talk *t, const struct command *about)
{
    struct command *ack = command_new(COMMAND_ACK);
    CHECK(ack);
    uint64_t u[2];
    model_users(t->conv, d->o->users, u);
    ack->actor = about->actor == u[0] ? u[1] : u[0];
    ack->conv = about->conv;
    ack->to_seq = about->ret_seq;
    ack->ack_read = true;
    ack->context = NULL;
    d->outstanding++;
    d->acks++;
    rig_submit(d->rig, ack);
}

static void first_answer(struct driver *d, struct speaker *s)
{
    if (s->first_done || !d->model) {
        return;
    }
    s->first_done = true;
    struct start_figures *f = &d->model->start;
    double ms = drive_since_exec_ms(d->o);
    if (d->first_answers == 0) {
        f->answer_ms[0] = ms;
    }
    d->first_answers++;
    if (d->first_answers == (d->n + 1) / 2) {
        f->answer_ms[1] = ms;
    }
    if (d->first_answers == d->n) {
        f->answer_ms[2] = ms;
    }
}

static void on_complete(void *arg, struct command *cmd)
{
    struct driver *d = arg;
    struct speaker *s = cmd->context;
    d->outstanding--;
    if (cmd->type == COMMAND_HISTORY && !s) {
        CHECK(cmd->err == CONFAB_OK);
        d->model->start.cold_ms = drive_since_exec_ms(d->o);
        command_free(cmd);
        return;
    }
    if (cmd->type == COMMAND_HISTORY) {
        check_answered(cmd);
        return;
    }
    if (!s) {
        CHECK(cmd->err == CONFAB_OK || cmd->err == CONFAB_BUSY);
        command_free(cmd);
        return;
    }
    uint32_t n = s->sending;
    s->sending = 0;
    idle_put(d, s);
    if (cmd->err == CONFAB_BUSY) {
        d->busy++;
        d->refused = true;
        s->resend = s->resend || !s->is_edit;
        command_free(cmd);
        return;
    }
    if (cmd->err != CONFAB_OK) {
        (void)fprintf(stderr, "conversation %" PRIu64 " message %u edit %d: error %d\n",
                      s->talk->conv, n, s->is_edit, cmd->err);
        abort();
    }
    first_answer(d, s);
    struct talk *t = s->talk;
    if (s->is_edit) {
        t->edited = n;
        t->edit_of = 0;
        d->edits++;
    } else {
        d->duplicates += cmd->duplicate;
        s->resend = false;
        t->acked = n;
        d->messages++;
        if (d->model && n % EDIT_EVERY == 0 && t->edit_of == 0) {
            t->edit_id = cmd->ret_id;
            t->edit_of = n;
        }
        if (d->model && n % 4 == 0 && !d->stopping) {
            send_read(d, t, cmd);
        }
    }
    command_free(cmd);
}

static void speak(struct driver *d, struct speaker *s)
{
    struct talk *t = s->talk;
    struct command *cmd;
    s->is_edit = t->edit_of > 0 && t->acked >= t->edit_of + EDIT_LAG && t->acked == t->submitted;
    if (s->is_edit) {
        s->sending = t->edit_of;
        cmd = model_edit(t->conv, d->o->users, t->base + t->edit_of, t->edit_id);
    } else {
        bool fresh = t->acked == t->submitted;
        if (fresh) {
            t->submitted = t->acked + 1;
        }
        s->sending = t->submitted;
        cmd = model_message(t->conv, d->o->users, t->base + s->sending, fresh && !s->resend);
    }
    cmd->context = s;
    d->begun++;
    d->outstanding++;
    rig_submit(d->rig, cmd);
}

static void turn(struct driver *d, bool idle)
{
    if (d->refused) {
        usleep(200); /* a client would wait for longer */
    }
    d->refused = false;
    rig_turn(d->rig, idle);
}

/* ---- fill -------------------------------------------------------------------------------- */

void drive_fill(const struct options *o)
{
    struct driver d = {.o = o, .n = (uint32_t)o->window, .cap = (uint32_t)o->window};
    struct rig_start start;
    d.speakers = calloc(d.n, sizeof(*d.speakers));
    d.idle = calloc(d.n, sizeof(struct speaker *));
    CHECK(d.speakers && d.idle);
    d.rig = rig_open(&o->rig, on_complete, &d, &start);
    for (uint32_t i = 0; i < d.n; i++) {
        d.speakers[i].talk = &d.speakers[i].own;
        idle_put(&d, &d.speakers[i]);
    }
    uint64_t next = 0;
    double t0 = rig_now();
    double told = t0;
    while (d.n > 0) {
        for (uint32_t i = d.nidle; i > 0 && !d.refused; i--) {
            struct speaker *s = idle_take(&d);
            if (s->own.acked == s->until && !s->resend) {
                if (next == o->conversations) {
                    d.n--; /* it has done its work */
                    continue;
                }
                *s = (struct speaker){.talk = &s->own, .until = (uint32_t)o->messages};
                s->own.conv = next++;
            }
            speak(&d, s);
        }
        turn(&d, d.nidle == 0 && d.outstanding > 0);
        if (rig_now() - told > 10) {
            told = rig_now();
            char when[64];
            (void)snprintf(when, sizeof(when), "%" PRIu64 " conversations, %.0f s", next,
                           told - t0);
            rig_report(d.rig, when);
        }
    }
    CHECK(d.messages == o->conversations * o->messages);
    rig_settle(d.rig, true);
    double secs = rig_now() - t0;
    char cpu[256];
    rig_cpu_text(cpu, sizeof(cpu));
    uint64_t folded = rig_metric(METRIC_EVENTS_FOLDED);
    printf("filled: %" PRIu64 " messages (%" PRIu64 " events) in %" PRIu64
           " conversations, %.0f s, %.0f messages/s, busy %" PRIu64 "; cpu: %s\n",
           d.messages, folded, o->conversations, secs, (double)d.messages / secs, d.busy, cpu);
    rig_checkpoint(d.rig);
    rig_report(d.rig, "filled");
    struct rig_stats st;
    rig_stats(d.rig, &st);
    printf("disk: %.1f bytes a message, %.1f an event; batches %.1f bytes an event\n",
           (double)st.store_bytes / (double)d.messages, (double)st.store_bytes / (double)folded,
           (double)st.store_written / (double)folded);
    rig_close(d.rig);
    free(d.speakers);
    free(d.idle);
}

/* ---- load -------------------------------------------------------------------------------- */

static void model_path(const struct options *o, char out[1024])
{
    (void)snprintf(out, 1024, "%s/scale-model", o->rig.data);
}

static struct model *open_model(const struct options *o)
{
    char path[1024];
    model_path(o, path);
    return model_open(path, o->conversations, o->users, (uint32_t)o->messages, (uint32_t)o->active,
                      o->seed);
}

void drive_dump(struct driver *d, const char *name)
{
    char path[1024];
    struct buf dump = {0};
    (void)snprintf(path, sizeof(path), "%s/%s", d->o->rig.data, name);
    rig_dump(d->rig, &dump);
    CHECK(buf_ok(&dump));
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(dump.data, 1, dump.len, f) == dump.len && fclose(f) == 0);
    buf_deinit(&dump);
}

void drive_open(struct driver *d, const struct options *o)
{
    struct rig_start start;
    *d = (struct driver){
        .o = o, .n = (uint32_t)o->active, .cap = (uint32_t)o->active, .model = open_model(o)};
    atomic_store(&d->model->serving, 0);
    d->model->start = (struct start_figures){.open_ms = 0};
    d->speakers = calloc(d->n, sizeof(*d->speakers));
    d->idle = calloc(d->n, sizeof(struct speaker *));
    CHECK(d->speakers && d->idle);
    d->rig = rig_open(&o->rig, on_complete, d, &start);
    d->model->start = (struct start_figures){.open_ms = drive_since_exec_ms(o),
                                             .open_cpu_ms = rig_cpu_ms(),
                                             .log_ms = start.log_ms,
                                             .store_ms = start.store_ms,
                                             .read_ms = start.read_ms,
                                             .records = start.records,
                                             .bytes = start.bytes,
                                             .replayed = start.replayed,
                                             .tail_convs = start.tail_convs};
}

/* A conversation outside the tail is asked for while that one is folded. */
static void ask_cold(struct driver *d)
{
    /* The middle between two active ones is not active: those are chosen one from each stretch. */
    uint64_t conv = (d->model->talks[0].conv + 1) % d->o->conversations;
    struct command *cmd = command_new(COMMAND_HISTORY);
    CHECK(cmd);
    uint64_t u[2];
    model_users(conv, d->o->users, u);
    cmd->actor = u[0];
    cmd->conv = model_conv(conv, d->o->users);
    cmd->limit = 20;
    cmd->reverse = true;
    d->outstanding++;
    rig_submit(d->rig, cmd);
}

static void load_turn(struct driver *d, double t0)
{
    uint64_t allowed = UINT64_MAX;
    if (d->o->rate > 0) {
        allowed = (uint64_t)((rig_now() - t0) * (double)d->o->rate) + 1;
    }
    for (uint32_t i = d->nidle; i > 0 && !d->stopping && d->begun < allowed && !d->refused; i--) {
        speak(d, idle_take(d));
    }
    turn(d, d->nidle == 0 || d->o->rate > 0);
    if (d->model->start.folded_ms <= 0 && rig_is_recovered(d->rig)) {
        d->model->start.folded_ms = drive_since_exec_ms(d->o);
        d->model->start.folded_cpu_ms = rig_cpu_ms();
        struct rig_stats st;
        rig_stats(d->rig, &st);
        d->model->start.rss = st.rss;
    }
    if (d->first_answers == d->n && d->model->start.folded_ms > 0) {
        atomic_store(&d->model->serving, 1);
    }
}

void drive_load(const struct options *o)
{
    static struct driver d;
    drive_open(&d, o);
    for (uint32_t i = 0; i < d.n; i++) {
        d.speakers[i].talk = &d.model->talks[i];
        /* What was under way when the last one died is sent again, as a client would. */
        d.speakers[i].resend = d.model->talks[i].acked < d.model->talks[i].submitted;
        idle_put(&d, &d.speakers[i]);
    }
    ask_cold(&d);
    if (!o->started_us) {
        rig_report(d.rig, "started");
    }
    double t0 = rig_now();
    double told = t0;
    double end = o->started_us ? t0 + 1e9 : t0 + (double)o->seconds;
    while (rig_now() < end && !d.stopping) {
        load_turn(&d, t0);
        d.stopping = o->stop_ms > 0 && (rig_now() - t0) * 1e3 >= (double)o->stop_ms &&
                     atomic_load(&d.model->serving);
        if (!o->started_us && rig_now() - told > 5) {
            told = rig_now();
            char when[64];
            (void)snprintf(when, sizeof(when), "%.0f s, %" PRIu64 " messages", told - t0,
                           d.messages);
            rig_report(d.rig, when);
        }
    }
    d.stopping = true;
    while (d.outstanding > 0) {
        rig_turn(d.rig, true);
    }
    double secs = rig_now() - t0;
    if (o->started_us) {
        rig_settle(d.rig, false);
        drive_dump(&d, "scale-dump");
        CHECK(raise(SIGKILL) == 0);
    }
    char cpu[256];
    rig_cpu_text(cpu, sizeof(cpu));
    printf("loaded: %" PRIu64 " messages, %" PRIu64 " edits, %" PRIu64 " cursors in %.1f s, "
           "%.0f messages/s, busy %" PRIu64 "; cpu: %s\n",
           d.messages, d.edits, d.acks, secs, (double)d.messages / secs, d.busy, cpu);
    printf("store: %" PRIu64 " writes, %" PRIu64 " reads, %" PRIu64 " cold loads, %" PRIu64
           " evictions, %" PRIu64 " checkpoints\n",
           rig_metric(METRIC_STORE_WRITES), rig_metric(METRIC_STORE_READS),
           rig_metric(METRIC_COLD_LOADS), rig_metric(METRIC_CACHE_EVICTIONS),
           rig_metric(METRIC_CHECKPOINTS));
    rig_report(d.rig, "loaded");
    rig_close(d.rig);
    free(d.speakers);
    free(d.idle);
}
