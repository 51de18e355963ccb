/* tail and conversations: what comes over the socket. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct tail {
    struct cli *cli;
    struct confab_client *client;
    struct state_file file;
    char conv[CONFAB_CONV_SIZE]; /* empty: all */
    bool json;
    bool ids;
    bool begun; /* what comes first is new: nothing before is to be shown */
    bool told;
    uint64_t left; /* messages until the end */
    bool printed;  /* and not given to the system yet */
    bool broken;   /* standard output is gone */
};

static bool wanted(const struct tail *t, const char *conv, enum confab_source source)
{
    if (t->conv[0] && strcmp(t->conv, conv) != 0) {
        return false;
    }
    return t->left > 0 && (t->begun || source != CONFAB_FIRST);
}

/*
 * What came at once goes out at once, and before its position is kept; a reader that went away ends
 * it.
 */
static void print_now(struct tail *t)
{
    if (t->printed && (fflush(stdout) != 0 || ferror(stdout))) {
        t->broken = true;
    }
    t->printed = false;
}

static void on_message(void *arg, const struct confab_message *m)
{
    struct tail *t = arg;
    if (!wanted(t, m->conv, m->source)) {
        return;
    }
    t->left--;
    if (t->json) {
        out_message(m);
    } else {
        print_message(t->cli, m, t->conv[0] == '\0', t->ids);
    }
    t->printed = true;
    if (t->left == 0) {
        /* What comes after is for the next `tail --continue`. */
        confab_client_stop(t->client);
    }
}

static void on_event(void *arg, const struct confab_event *e)
{
    struct tail *t = arg;
    if (e->name.p) {
        conv_note(t->cli, e->conv, e->conv_kind, e->name, 0);
    }
    if (e->conv_kind == CONFAB_CONV_DIRECT) {
        for (size_t i = 0; i < e->nmembers; i++) {
            if (e->members[i].user_id != t->cli->profile.user_id) {
                conv_note(t->cli, e->conv, e->conv_kind, (struct confab_text){NULL, 0},
                          e->members[i].user_id);
            }
        }
    }
    if (!wanted(t, e->conv, e->source)) {
        return;
    }
    if (t->json) {
        out_event(e);
    } else {
        print_event(t->cli, e, t->conv[0] == '\0');
    }
    t->printed = true;
}

/* One conversation, for people: who types there. It is not kept, and no message. */
static void on_typing(void *arg, const struct confab_typing *typing)
{
    struct tail *t = arg;
    if (t->json || !typing->active || strcmp(t->conv, typing->conv) != 0) {
        return;
    }
    fputs("  ", stdout);
    print_word(stdout, name_of(t->cli, typing->user_id));
    fputs(" is typing\n", stdout);
    t->printed = true;
}

static void on_conversation(void *arg, const struct confab_conversation *c)
{
    struct tail *t = arg;
    if (!c->left) {
        conv_note(t->cli, c->conv, c->kind, c->name, c->with);
    }
}

static void on_gap(void *arg, const struct confab_gap *gap)
{
    (void)arg;
    print_error("%s: %" PRIu64 " to %" PRIu64 " are not available", gap->conv, gap->from_seq,
                gap->to_seq);
}

/* The server was restored from a backup: what it has instead follows as new. */
static void on_reset(void *arg, const char *conv)
{
    struct tail *t = arg;
    if (t->conv[0] && strcmp(t->conv, conv) != 0) {
        return;
    }
    print_error("%s: the server has an earlier state than this device: messages may be lost, and "
                "what it has is shown again",
                conv_label(t->cli, conv));
    if (t->json) {
        out_begin("reset");
        out_str("conversation_id", conv);
        out_end();
        t->printed = true;
    }
}

static void on_state(void *arg, const struct confab_status *status)
{
    struct tail *t = arg;
    if (status->state == CONFAB_STATE_WAITING && status->error) {
        print_error("%s; trying again", confab_error_text(status->error));
        t->told = true;
    } else if (status->state == CONFAB_STATE_LIVE && t->told) {
        print_error("connected again, over %s", confab_transport_name(status->transport));
        t->told = false;
    }
}

static void on_caught_up(void *arg)
{
    struct tail *t = arg;
    if (!t->begun) {
        struct confab_status status;
        confab_client_status(t->client, &status);
        bool socket = status.transport == CONFAB_TRANSPORT_WS;
        fprintf(stderr, "confab: following%s%s\n", socket ? "" : ", over ",
                socket ? "" : confab_transport_name(status.transport));
    }
    t->begun = true;
}

static enum confab_error on_save(void *arg, const void *data, size_t n)
{
    struct tail *t = arg;
    print_now(t);
    return state_save(&t->file, data, n);
}

static enum confab_error follow(struct tail *t, struct confab_options *o)
{
    enum confab_error error = confab_client_new(o, &t->client);
    if (error) {
        return error;
    }
    struct confab_client *c = t->client;
    if (t->conv[0] != '\0') {
        const char *conv = t->conv;
        (void)confab_view(c, &conv, 1);
    }
    confab_client_start(c);
    while (!error && t->left > 0 && !t->broken && !cli_interrupted()) {
        error = confab_client_run(c, -1);
        print_now(t);
    }
    cli_client_end(c);
    confab_client_free(c);
    return error;
}

int cmd_tail(struct cli *cli)
{
    uint64_t count = UINT64_MAX;
    if (!args_number(cli, OPT_COUNT, 1, INT64_MAX, &count)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    struct tail *t = calloc(1, sizeof(*t));
    if (!t) {
        return EXIT_FAILED;
    }
    t->cli = cli;
    t->left = count;
    t->json = cli_json(cli);
    t->ids = cli->opt[OPT_IDS] != NULL;
    name_set(cli, cli->profile.user_id, cli->profile.username, strlen(cli->profile.username));
    int code = cli->argc > 0 ? resolve_conv(cli, cli->argv[0], t->conv) : EXIT_DONE;
    bool keep = cli->opt[OPT_CONTINUE] != NULL;
    if (code == EXIT_DONE && keep && !state_open(cli, "tail", false, &t->file)) {
        code = EXIT_FAILED;
        keep = false;
    }
    if (code == EXIT_DONE) {
        struct confab_options o;
        cli_catch_signals();
        cli_options_fill(cli, &o);
        if (!cli_transport(cli, &o.transport)) {
            if (keep) {
                state_close(&t->file);
            }
            free(t);
            return EXIT_USAGE;
        }
        o.arg = t;
        o.handlers = (struct confab_handlers){
            .on_message = on_message,
            .on_event = on_event,
            .on_typing = on_typing,
            .on_conversation = on_conversation,
            .on_gap = on_gap,
            .on_reset = on_reset,
            .on_state = on_state,
            .on_caught_up = on_caught_up,
        };
        if (keep) {
            o.state = t->file.data;
            o.state_len = t->file.len;
            o.save = on_save;
            t->begun = t->file.data != NULL;
        }
        enum confab_error error = follow(t, &o);
        if (error) {
            print_error("%s%s%s", keep ? t->file.path : "", keep ? ": " : "",
                        confab_error_text(error));
            code = cli_exit_code(error);
        }
    }
    if (keep) {
        state_close(&t->file);
    }
    free(t);
    return code;
}

/* ---- conversations ---- */

struct entry {
    char conv[CONFAB_CONV_SIZE];
    uint64_t unread;
    uint64_t last_ms;
    bool muted;
    bool pinned;
};
struct listing {
    struct cli *cli;
    struct entry *list;
    size_t n;
    bool failed;
};

static void list_one(void *arg, const struct confab_conversation *c)
{
    struct listing *l = arg;
    if (c->kind == CONFAB_CONV_SELF) {
        return;
    }
    if (cli_json(l->cli)) {
        out_conversation(c);
        return;
    }
    struct entry *more = realloc(l->list, (l->n + 1) * sizeof(*more));
    if (!more) {
        l->failed = true;
        return;
    }
    l->list = more;
    struct entry *e = &more[l->n++];
    memcpy(e->conv, c->conv, sizeof(e->conv));
    e->unread = c->unread;
    e->last_ms = c->last_message_ms;
    e->muted = c->muted;
    e->pinned = c->pinned;
}

static int by_time(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->pinned != y->pinned) {
        return x->pinned ? -1 : 1;
    }
    return x->last_ms > y->last_ms ? -1 : x->last_ms < y->last_ms;
}

int cmd_conversations(struct cli *cli)
{
    struct listing l = {.cli = cli};
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    int code = cli_snapshot(cli, list_one, &l, 0);
    if (code == EXIT_DONE && l.n > 0) {
        qsort(l.list, l.n, sizeof(*l.list), by_time);
    }
    for (size_t i = 0; i < l.n && code == EXIT_DONE; i++) {
        const struct entry *e = &l.list[i];
        char time[CONFAB_TIME_SIZE] = "-";
        if (e->last_ms) {
            confab_time_local(e->last_ms, time);
        }
        printf("%s  %-19s  %3" PRIu64 " unread  ", e->conv, time, e->unread);
        print_word(stdout, conv_label(cli, e->conv));
        printf("%s%s\n", e->pinned ? " (pinned)" : "", e->muted ? " (muted)" : "");
    }
    free(l.list);
    return l.failed ? EXIT_FAILED : code;
}
