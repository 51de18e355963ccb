/* Who is online, saying so oneself, and what others see of one. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const statuses[] = {"offline", "away", "online"};

static int result(struct cli *cli, enum confab_error error, const char *what)
{
    return error ? cli_failed(cli, what) : EXIT_DONE;
}

static void print_presence(struct cli *cli, const struct confab_presence *p)
{
    if (cli_json(cli)) {
        out_begin("presence");
        out_id("user_id", p->user_id);
        out_str("username", name_of(cli, p->user_id));
        out_str("status", statuses[p->status]);
        out_time("last_seen", p->last_seen_ms);
        out_end();
    } else {
        print_word(stdout, name_of(cli, p->user_id));
        printf("  %s", statuses[p->status]);
        if (p->last_seen_ms != 0) {
            char text[CONFAB_TIME_SIZE];
            confab_time_local(p->last_seen_ms, text);
            printf("  last online %s", text);
        }
        putchar('\n');
    }
}

struct follow {
    struct cli *cli;
    bool broken;
};

static void on_presence(void *arg, const struct confab_presence *p)
{
    struct follow *f = arg;
    print_presence(f->cli, p);
    f->broken = fflush(stdout) != 0; /* each line at once; a reader that went away ends it */
}

static int follow(struct cli *cli, const uint64_t *users, size_t n)
{
    struct follow f = {.cli = cli};
    struct confab_options o;
    struct confab_client *c = NULL;
    cli_options_fill(cli, &o);
    o.handlers.on_presence = on_presence;
    o.arg = &f;
    enum confab_error error = confab_client_new(&o, &c);
    if (!error) {
        error = confab_presence_follow(c, users, n);
    }
    if (!error) {
        cli_catch_signals();
        error = confab_client_start(c);
    }
    while (!error && !f.broken && !cli_interrupted()) {
        error = confab_client_run(c, -1);
    }
    if (c) {
        confab_client_stop(c);
        (void)confab_client_run(c, 0);
    }
    confab_client_free(c);
    if (error) {
        print_error("%s", confab_error_text(error));
    }
    return error ? cli_exit_code(error) : EXIT_DONE;
}

int cmd_presence(struct cli *cli)
{
    uint64_t *users = calloc((size_t)cli->argc, sizeof(*users));
    int code = EXIT_DONE;
    if (!users || !cli_open(cli, true)) {
        free(users);
        return EXIT_FAILED;
    }
    for (int i = 0; i < cli->argc && code == EXIT_DONE; i++) {
        struct confab_presence p;
        code = resolve_user(cli, cli->argv[i], &users[i]);
        if (code == EXIT_DONE && !cli->opt[OPT_FOLLOW]) {
            code = result(cli, confab_presence_get(cli->client, cli->argv[i], &p), cli->argv[i]);
            if (code == EXIT_DONE) {
                print_presence(cli, &p);
            }
        }
    }
    if (code == EXIT_DONE && cli->opt[OPT_FOLLOW]) {
        code = follow(cli, users, (size_t)cli->argc);
    }
    free(users);
    return code;
}

int cmd_status(struct cli *cli)
{
    for (unsigned i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
        if (strcmp(cli->argv[0], statuses[i]) == 0) {
            return cli_open(cli, true)
                       ? result(cli,
                                confab_presence_set(cli->client, (enum confab_presence_status)i),
                                cli->argv[0])
                       : EXIT_FAILED;
        }
    }
    print_error("a status is online, away or offline");
    return EXIT_USAGE;
}

/* False: it is none. */
static bool setting(const char *text, struct confab_privacy *io)
{
    const struct {
        const char *name;
        bool *value;
    } rows[] = {{"online=", &io->online},
                {"last-seen=", &io->last_seen},
                {"read-receipts=", &io->read_receipts}};
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t n = strlen(rows[i].name);
        if (strncmp(text, rows[i].name, n) == 0) {
            *rows[i].value = strcmp(text + n, "yes") == 0;
            return *rows[i].value || strcmp(text + n, "no") == 0;
        }
    }
    return false;
}

int cmd_privacy(struct cli *cli)
{
    struct confab_privacy p;
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    enum confab_error error = confab_privacy_get(cli->client, &p);
    for (int i = 0; i < cli->argc && !error; i++) {
        if (!setting(cli->argv[i], &p)) {
            print_error("%s: online=, last-seen= or read-receipts=, and yes or no", cli->argv[i]);
            return EXIT_USAGE;
        }
    }
    if (!error && cli->argc > 0) {
        error = confab_privacy_set(cli->client, &p);
    }
    if (!error && cli_json(cli)) {
        out_begin("privacy");
        out_flag("online", p.online);
        out_flag("last_seen", p.last_seen);
        out_flag("read_receipts", p.read_receipts);
        out_end();
    } else if (!error) {
        printf("online=%s last-seen=%s read-receipts=%s\n", p.online ? "yes" : "no",
               p.last_seen ? "yes" : "no", p.read_receipts ? "yes" : "no");
    }
    return result(cli, error, "privacy");
}
