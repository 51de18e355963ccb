/* send, flush, history, edit, delete, read. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* ---- send ---- */

struct sending {
    struct cli *cli;
    struct state_file file;
    char cmid[CONFAB_CMID_SIZE]; /* of this message; empty for flush */
    char conv[CONFAB_CONV_SIZE]; /* where it goes, when it is a group */
    bool done;
    enum confab_error error;
    enum confab_error last; /* why the server is not reached */
    int failed;             /* of earlier ones */
};

static void on_sent(void *arg, const struct confab_sent *s)
{
    struct sending *x = arg;
    bool mine = strcmp(s->client_msg_id, x->cmid) == 0;
    if (s->error) {
        print_error("%s not sent: %.*s",
                    mine ? "message" : "an earlier message from the outbox was",
                    (int)(s->reason.n > 0 ? s->reason.n : strlen(confab_error_text(s->error))),
                    s->reason.n > 0 ? s->reason.p : confab_error_text(s->error));
        x->failed++;
    }
    if (!mine) {
        return;
    }
    x->done = true;
    x->error = s->error;
    if (s->error) {
        return;
    }
    if (x->cli->opt[OPT_JSON]) {
        out_begin("ack");
        out_str("client_msg_id", s->client_msg_id);
        out_id("message_id", s->message_id);
        out_str("conversation_id", s->conv);
        out_num("seq", s->seq);
        out_flag("duplicate", s->duplicate);
        out_end();
    } else {
        printf("%" PRIu64 "\n", s->message_id);
    }
}

/* Trying again does not help against a certificate that is not trusted: say so at once. */
static void on_error(void *arg, enum confab_error error, const char *text)
{
    struct sending *x = arg;
    if (error == CONFAB_E_CERTIFICATE && x->last != error) {
        print_error("%s: %s", confab_error_text(error), text);
    }
    x->last = error == CONFAB_E_CERTIFICATE ? error : x->last;
}

static void on_state(void *arg, const struct confab_status *status)
{
    struct sending *x = arg;
    if (status->error && x->last != CONFAB_E_CERTIFICATE) {
        x->last = status->error;
    }
}

static enum confab_error on_save(void *arg, const void *data, size_t n)
{
    struct sending *x = arg;
    return state_save(&x->file, data, n);
}

/* A client for sending only, with the profile's outbox. */
static int open_outbox(struct cli *cli, struct sending *x, struct confab_client **ret)
{
    struct confab_options o;
    cli_catch_signals();
    x->cli = cli;
    x->file.lock = -1;
    if (!state_open(cli, "outbox", true, &x->file)) {
        return EXIT_FAILED;
    }
    cli_options_fill(cli, &o);
    if (!cli_transport(cli, &o.transport)) {
        state_close(&x->file);
        return EXIT_USAGE;
    }
    o.arg = x;
    o.flags |= CONFAB_NO_FOLLOW;
    o.handlers.on_sent = on_sent;
    o.handlers.on_state = on_state;
    o.handlers.on_error = on_error;
    o.state = x->file.data;
    o.state_len = x->file.len;
    o.save = on_save;
    enum confab_error error = confab_client_new(&o, ret);
    if (error) {
        print_error("%s: %s", x->file.path, confab_error_text(error));
        if (error == CONFAB_E_DAMAGED) {
            fprintf(stderr, "Move it away to start over; unsent messages are in it.\n");
        }
        state_close(&x->file);
        return EXIT_FAILED;
    }
    return EXIT_DONE;
}

static uint64_t time_left(uint64_t end)
{
    uint64_t now = confab_now_ms();
    return now < end ? end - now : 0;
}

/* Until connected; false when that took too long. */
static bool wait_live(struct confab_client *c, uint64_t end, enum confab_error *ret_error)
{
    struct confab_status status;
    *ret_error = confab_client_start(c);
    for (;;) {
        confab_client_status(c, &status);
        uint64_t left = time_left(end);
        if (status.state == CONFAB_STATE_LIVE || *ret_error || left == 0 || cli_interrupted()) {
            return status.state == CONFAB_STATE_LIVE;
        }
        *ret_error = confab_client_run(c, (int)left);
    }
}

/* Until this message, or for flush all of them, are settled. */
static int run_outbox(struct cli *cli, struct sending *x, struct confab_client *c, uint64_t end)
{
    enum confab_error error = CONFAB_E_OK;
    while (!error && !x->done && confab_outbox_len(c) > 0 && !cli_interrupted() &&
           time_left(end) > 0) {
        error = confab_client_run(c, (int)time_left(end));
    }
    size_t waiting = confab_outbox_len(c);
    cli_client_end(c);
    if (x->cmid[0] ? x->done : waiting == 0) {
        return x->failed > 0 && (x->cmid[0] == '\0' || x->error) ? EXIT_FAILED : EXIT_DONE;
    }
    error = error ? error : x->last ? x->last : CONFAB_E_TIMEOUT;
    print_error("%s (%s)", confab_error_text(error), cli_server(cli));
    fprintf(stderr, "%zu in the outbox; `confab flush` sends %s.\n", waiting,
            waiting == 1 ? "it" : "them");
    return EXIT_QUEUED;
}

static bool looks_like_user(const char *text)
{
    return strlen(text) <= 50 &&
           strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
                        "[]\\^{|}`") == strlen(text);
}

/* Whom to send to. Without the server a name is taken to be a user's: it will say if not. */
static int resolve_target(struct cli *cli, const char *text, bool live, struct confab_outgoing *m,
                          char conv[CONFAB_CONV_SIZE])
{
    struct confab_user u;
    enum confab_error error = CONFAB_E_NETWORK;
    if (is_conv_id(text)) {
        m->conv = text;
        return EXIT_DONE;
    }
    if (text[0] == '@') {
        m->to = text + 1;
        return EXIT_DONE;
    }
    if (text[0] != '#') {
        if (live) {
            error = confab_user_get(cli->client, text, &u);
        }
        if (error == CONFAB_E_OK || (!live && looks_like_user(text))) {
            m->to = text;
            return EXIT_DONE;
        }
        if (live && error != CONFAB_E_NOT_FOUND && error != CONFAB_E_INVALID) {
            return cli_failed(cli, text);
        }
    }
    if (!live) {
        print_error("%s: only the server knows that group, and it cannot be reached (%s)", text,
                    cli_server(cli));
        return EXIT_OFFLINE;
    }
    m->conv = conv;
    return resolve_group(cli, text, conv);
}

static int send_text(struct cli *cli, struct sending *x, struct confab_outgoing *m,
                     uint64_t timeout_s)
{
    struct confab_client *c = NULL;
    int code = open_outbox(cli, x, &c);
    if (code != EXIT_DONE) {
        return code;
    }
    enum confab_error error;
    uint64_t end = confab_now_ms() + timeout_s * 1000;
    bool live = wait_live(c, end, &error);
    if (error) {
        print_error("%s (%s)", confab_error_text(error), cli_server(cli));
        code = cli_exit_code(error);
    } else {
        code = resolve_target(cli, cli->argv[0], live, m, x->conv);
    }
    if (code == EXIT_DONE) {
        error = confab_send(c, m, x->cmid);
        if (error == CONFAB_E_ARGUMENT) {
            print_error("a message is text in UTF-8, not empty and without zero bytes");
        } else if (error) {
            print_error("the message was not taken: %s", confab_error_text(error));
        }
        code = error ? EXIT_FAILED : run_outbox(cli, x, c, end);
    }
    confab_client_free(c);
    state_close(&x->file);
    return code;
}

int cmd_send(struct cli *cli)
{
    struct confab_outgoing m = {0};
    uint64_t timeout_s = 30;
    if (!args_number(cli, OPT_TIMEOUT, 0, 86400, &timeout_s)) {
        return EXIT_USAGE;
    }
    if (cli->opt[OPT_REPLY_TO] && !args_id(cli->opt[OPT_REPLY_TO], &m.reply_to)) {
        print_error("--reply-to wants a message's id");
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    size_t n = 0;
    char *text = read_content(cli, 1, &n);
    struct sending *x = calloc(1, sizeof(*x));
    int code = EXIT_FAILED;
    if (text && x) {
        m.content = (struct confab_text){text, n};
        code = send_text(cli, x, &m, timeout_s);
    }
    free(x);
    free(text);
    return code;
}

int cmd_flush(struct cli *cli)
{
    uint64_t timeout_s = 30;
    if (!args_number(cli, OPT_TIMEOUT, 0, 86400, &timeout_s)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    struct sending *x = calloc(1, sizeof(*x));
    struct confab_client *c = NULL;
    int code = x ? open_outbox(cli, x, &c) : EXIT_FAILED;
    if (code == EXIT_DONE) {
        enum confab_error error = confab_client_start(c);
        code = error ? EXIT_FAILED : run_outbox(cli, x, c, confab_now_ms() + timeout_s * 1000);
        confab_client_free(c);
        state_close(&x->file);
    }
    free(x);
    return code;
}

/* ---- history ---- */

/* Pages come newest page first, so lines are collected and printed at the end. */
struct page {
    struct confab_message *list;
    size_t n;
    size_t cap;
    bool failed;
};

static void collect(void *arg, const struct confab_message *m)
{
    struct page *p = arg;
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 64;
        struct confab_message *more = realloc(p->list, cap * sizeof(*more));
        if (!more) {
            p->failed = true;
            return;
        }
        p->list = more;
        p->cap = cap;
    }
    struct confab_message copy = *m;
    char *text = malloc(m->content.n + m->type.n + 1);
    if (!text) {
        p->failed = true;
        return;
    }
    if (m->content.n > 0) {
        memcpy(text, m->content.p, m->content.n);
    }
    if (m->type.n > 0) {
        memcpy(text + m->content.n, m->type.p, m->type.n);
    }
    copy.content.p = text;
    copy.type.p = text + m->content.n;
    copy.client_msg_id = (struct confab_text){NULL, 0};
    copy.mentions = NULL;
    copy.nmentions = 0;
    p->list[p->n++] = copy;
}

static void page_free(struct page *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free((char *)p->list[i].content.p);
    }
    free(p->list);
    memset(p, 0, sizeof(*p));
}

static void page_print(struct cli *cli, const struct page *p)
{
    for (size_t i = 0; i < p->n; i++) {
        if (cli_json(cli)) {
            out_message(&p->list[i]);
        } else {
            print_message(cli, &p->list[i], false, cli->opt[OPT_IDS] != NULL);
        }
    }
}

int cmd_history(struct cli *cli)
{
    enum { PAGES_MAX = 1000, PAGE = 100 };
    char conv[CONFAB_CONV_SIZE];
    uint64_t limit = 50;
    uint64_t before = 0;
    if (!args_number(cli, OPT_LIMIT, 1, PAGES_MAX * PAGE, &limit) ||
        !args_number(cli, OPT_BEFORE, 1, INT64_MAX, &before)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    int code = resolve_conv(cli, cli->argv[0], conv);
    if (code != EXIT_DONE) {
        return code;
    }
    struct page *pages = calloc(PAGES_MAX, sizeof(*pages));
    size_t n = 0;
    bool more = pages != NULL;
    while (more && n < PAGES_MAX && limit > 0) {
        struct confab_history_page got;
        struct confab_history_query q = {
            .before = before,
            .limit = (unsigned)(limit < PAGE ? limit : PAGE),
        };
        if (confab_history(cli->client, conv, &q, collect, &pages[n], &got) != CONFAB_E_OK) {
            code = cli_failed(cli, cli->argv[0]);
            break;
        }
        more = got.has_more && got.messages > 0;
        limit -= got.messages < limit ? got.messages : limit;
        before = got.first_seq;
        n++;
    }
    for (size_t i = n; i > 0 && code == EXIT_DONE; i--) {
        page_print(cli, &pages[i - 1]);
        if (pages[i - 1].failed) {
            print_error("out of memory");
            code = EXIT_FAILED;
        }
    }
    for (size_t i = 0; pages && i < PAGES_MAX; i++) {
        page_free(&pages[i]);
    }
    free(pages);
    return code;
}

/* ---- edit, delete, read ---- */

static bool message_id(struct cli *cli, uint64_t *ret)
{
    if (!args_id(cli->argv[0], ret)) {
        print_error("%s is not a message's id; `confab history --ids` shows them", cli->argv[0]);
        return false;
    }
    return true;
}

int cmd_edit(struct cli *cli)
{
    uint64_t id;
    if (!message_id(cli, &id)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    size_t n = 0;
    char *text = read_content(cli, 1, &n);
    if (!text) {
        return EXIT_FAILED;
    }
    enum confab_error error = confab_edit(cli->client, id, (struct confab_text){text, n});
    free(text);
    return error ? cli_failed(cli, cli->argv[0]) : EXIT_DONE;
}

int cmd_delete(struct cli *cli)
{
    uint64_t id;
    if (!message_id(cli, &id)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    if (confab_delete(cli->client, id, cli->opt[OPT_FOR_ME] != NULL) != CONFAB_E_OK) {
        return cli_failed(cli, cli->argv[0]);
    }
    return EXIT_DONE;
}

static void keep_id(void *arg, const struct confab_message *m)
{
    *(uint64_t *)arg = m->message_id;
}

int cmd_read(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    uint64_t last = 0;
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    int code = resolve_conv(cli, cli->argv[0], conv);
    if (code != EXIT_DONE) {
        return code;
    }
    struct confab_history_query q = {.limit = 1};
    enum confab_error error = confab_history(cli->client, conv, &q, keep_id, &last, NULL);
    if (!error && last != 0) {
        error = confab_read(cli->client, &last, 1);
    }
    return error ? cli_failed(cli, cli->argv[0]) : EXIT_DONE;
}
