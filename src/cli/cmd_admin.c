/*
 * What administrators do. Signed in as one, or with the operator's key of a data directory on this
 * machine (--data): that works before there is an administrator, and when the last one has
 * forgotten the password.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define BATCH         500U
#define LINE_MAX_SIZE 4096

static int result(struct cli *cli, enum confab_error error, const char *what)
{
    return error ? cli_failed(cli, what) : EXIT_DONE;
}

/* As the operator when there is --data, or when nobody is signed in and the key can be read. */
static bool open_admin(struct cli *cli)
{
    if (!cli->opt[OPT_DATA] && profile_load(cli)) {
        return cli_open(cli, true);
    }
    return cli_open_operator(cli, cli->opt[OPT_DATA]);
}

/* Everybody can be named, those who are suspended too. */
struct search {
    const char *name;
    uint64_t id;
};

static void on_found(void *arg, const struct confab_user *u)
{
    struct search *s = arg;
    if (strcasecmp(u->username, s->name) == 0) {
        s->id = u->user_id;
    }
}

static int find_user(struct cli *cli, const char *text, uint64_t *ret_id)
{
    struct search s = {.name = text[0] == '@' ? text + 1 : text};
    if (args_id(text, ret_id)) {
        return EXIT_DONE;
    }
    if (confab_admin_people(cli->client, s.name, NULL, 10000, on_found, &s) != CONFAB_E_OK) {
        return cli_failed(cli, text);
    }
    if (s.id == 0) {
        print_error("%s: no such user", s.name);
        return EXIT_FAILED;
    }
    *ret_id = s.id;
    return EXIT_DONE;
}

/* Opens, and finds the user of the first argument. */
static int open_user(struct cli *cli, uint64_t *ret_id)
{
    return open_admin(cli) ? find_user(cli, cli->argv[0], ret_id) : EXIT_FAILED;
}

static void on_user(void *arg, const struct confab_user *u)
{
    print_user(arg, u);
}

int cmd_admin_people(struct cli *cli)
{
    uint64_t max = 100000;
    if (!args_number(cli, OPT_LIMIT, 1, 10000000, &max)) {
        return EXIT_USAGE;
    }
    if (!open_admin(cli)) {
        return EXIT_FAILED;
    }
    const char *query = cli->argc > 0 ? cli->argv[0] : NULL;
    return result(cli,
                  confab_admin_people(cli->client, query, cli->opt[OPT_STATUS], max, on_user, cli),
                  "people");
}

static int set_user(struct cli *cli, const char *status, const char *role)
{
    uint64_t id;
    int code = open_user(cli, &id);
    return code == EXIT_DONE
               ? result(cli, confab_admin_user_set(cli->client, id, status, role), cli->argv[0])
               : code;
}

int cmd_admin_suspend(struct cli *cli)
{
    return set_user(cli, "suspended", NULL);
}

int cmd_admin_activate(struct cli *cli)
{
    return set_user(cli, "active", NULL);
}

int cmd_admin_role(struct cli *cli)
{
    return set_user(cli, NULL, cli->argv[1]);
}

int cmd_admin_password(struct cli *cli)
{
    char password[1024];
    char made[CONFAB_NAME_SIZE];
    uint64_t id;
    int code = open_user(cli, &id);
    const char *given = NULL;
    if (code == EXIT_DONE && cli->opt[OPT_PASSWORD_STDIN]) {
        if (!read_password(cli, PASSWORD_NEW, true, password, sizeof(password))) {
            return EXIT_FAILED;
        }
        given = password;
    }
    if (code == EXIT_DONE) {
        code = result(cli, confab_admin_password(cli->client, id, given, made), cli->argv[0]);
    }
    if (code == EXIT_DONE && !given) {
        print_word(stdout, made);
        putchar('\n');
    }
    explicit_bzero(password, sizeof(password));
    explicit_bzero(made, sizeof(made));
    return code;
}

int cmd_admin_delete(struct cli *cli)
{
    uint64_t id;
    int code = open_user(cli, &id);
    return code == EXIT_DONE ? result(cli, confab_admin_user_delete(cli->client, id), cli->argv[0])
                             : code;
}

/* ---- The server ---- */

int cmd_admin_settings(struct cli *cli)
{
    struct confab_server_settings s;
    const char *registration = NULL;
    const char *name = NULL;
    for (int i = 0; i < cli->argc; i++) {
        if (strncmp(cli->argv[i], "registration=", 13) == 0) {
            registration = cli->argv[i] + 13;
        } else if (strncmp(cli->argv[i], "name=", 5) == 0) {
            name = cli->argv[i] + 5;
        } else {
            print_error("%s is not a setting: registration=open|invite|closed or name=TEXT",
                        cli->argv[i]);
            return EXIT_USAGE;
        }
    }
    if (!open_admin(cli)) {
        return EXIT_FAILED;
    }
    enum confab_error error = CONFAB_E_OK;
    if (registration || name) {
        error = confab_admin_settings_set(cli->client, registration, name);
    }
    if (!error) {
        error = confab_admin_settings(cli->client, &s);
    }
    if (error) {
        return cli_failed(cli, "settings");
    }
    if (cli_json(cli)) {
        out_begin("settings");
        out_str("registration", s.registration);
        out_str("server_name", s.server_name);
        out_end();
    } else {
        printf("registration=%s\nname=", s.registration);
        print_word(stdout, s.server_name);
        putchar('\n');
    }
    return EXIT_DONE;
}

int cmd_admin_link(struct cli *cli)
{
    char link[CONFAB_TOKEN_SIZE];
    uint64_t expires_at_ms;
    if (!open_admin(cli)) {
        return EXIT_FAILED;
    }
    if (confab_admin_link(cli->client, link, &expires_at_ms) != CONFAB_E_OK) {
        return cli_failed(cli, "link");
    }
    print_word(stdout, link);
    putchar('\n');
    return EXIT_DONE;
}

static void on_record(void *arg, const struct confab_audit *r)
{
    struct cli *cli = arg;
    char time[CONFAB_TIME_SIZE];
    if (cli_json(cli)) {
        out_begin("audit");
        out_id("audit_id", r->audit_id);
        out_time("at", r->at_ms);
        out_str("actor", r->actor);
        out_str("action", r->action);
        out_str("target", r->target);
        out_str("detail", r->detail);
        out_str("address", r->address);
        out_end();
        return;
    }
    confab_time_local(r->at_ms, time);
    printf("%s  ", time);
    print_word(stdout, r->actor[0] ? r->actor : "operator");
    const char *const more[] = {r->action, r->target, r->detail, r->address};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++) {
        if (more[i][0] != '\0') {
            fputs("  ", stdout);
            print_word(stdout, more[i]);
        }
    }
    putchar('\n');
}

int cmd_admin_audit(struct cli *cli)
{
    uint64_t max = 100;
    if (!args_number(cli, OPT_LIMIT, 1, 10000000, &max)) {
        return EXIT_USAGE;
    }
    if (!open_admin(cli)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_admin_audit(cli->client, max, on_record, cli), "audit");
}

/* ---- Many accounts ---- */

struct provision {
    struct cli *cli;
    struct confab_new_user users[BATCH];
    char lines[BATCH][LINE_MAX_SIZE];
    size_t n;
    uint64_t made;
    uint64_t failed;
    bool progress;
};

/* username TAB password or hash [TAB display name [TAB role]] */
static bool split_line(char *line, struct confab_new_user *ret)
{
    char *fields[4] = {NULL, NULL, NULL, NULL};
    char *at = line;
    for (int i = 0; i < 4 && at; i++) {
        fields[i] = at;
        at = strchr(at, '\t');
        if (at) {
            *at++ = '\0';
        }
    }
    if (at || !fields[1] || fields[0][0] == '\0' || fields[1][0] == '\0') {
        return false;
    }
    bool hash = strncmp(fields[1], "$argon2id$", 10) == 0;
    *ret = (struct confab_new_user){
        .username = fields[0],
        .password = hash ? NULL : fields[1],
        .password_hash = hash ? fields[1] : NULL,
        .display_name = fields[2] && fields[2][0] ? fields[2] : NULL,
        .role = fields[3] && fields[3][0] ? fields[3] : NULL,
    };
    return true;
}

static void on_result(void *arg, size_t i, uint64_t user_id, const char *error)
{
    struct provision *p = arg;
    p->made += user_id != 0;
    p->failed += user_id == 0;
    if (i >= p->n) {
        return;
    }
    if (user_id == 0) {
        print_error("%s: %s", p->users[i].username, error);
    } else if (cli_json(p->cli)) {
        out_begin("user");
        out_id("user_id", user_id);
        out_str("username", p->users[i].username);
        out_end();
    } else {
        print_word(stdout, p->users[i].username);
        printf("  %llu\n", (unsigned long long)user_id);
    }
}

static int send_batch(struct provision *p)
{
    if (p->n == 0) {
        return EXIT_DONE;
    }
    enum confab_error error = confab_admin_provision(p->cli->client, p->users, p->n, on_result, p);
    p->n = 0;
    if (error) {
        return cli_failed(p->cli, "provision");
    }
    if (p->progress) {
        fprintf(stderr, "\r%llu made, %llu refused", (unsigned long long)p->made,
                (unsigned long long)p->failed);
    }
    return EXIT_DONE;
}

static int provision_file(struct provision *p, FILE *in, const char *name)
{
    uint64_t line = 0;
    int code = EXIT_DONE;
    while (code == EXIT_DONE && fgets(p->lines[p->n], LINE_MAX_SIZE, in)) {
        char *text = p->lines[p->n];
        size_t n = strlen(text);
        line++;
        if (n + 1 == LINE_MAX_SIZE && text[n - 1] != '\n') {
            print_error("%s:%llu: the line is too long", name, (unsigned long long)line);
            return EXIT_FAILED;
        }
        text[strcspn(text, "\r\n")] = '\0';
        if (text[0] == '\0' || text[0] == '#') {
            continue;
        }
        if (!split_line(text, &p->users[p->n])) {
            print_error("%s:%llu: wants USERNAME, tab, PASSWORD [, tab, NAME [, tab, ROLE]]", name,
                        (unsigned long long)line);
            return EXIT_FAILED;
        }
        p->n++;
        if (p->n == BATCH) {
            code = send_batch(p);
        }
    }
    if (ferror(in)) {
        print_error("%s cannot be read", name);
        return EXIT_FAILED;
    }
    return code == EXIT_DONE ? send_batch(p) : code;
}

int cmd_admin_provision(struct cli *cli)
{
    bool from_file = cli->argc > 0 && strcmp(cli->argv[0], "-") != 0;
    const char *name = from_file ? cli->argv[0] : "standard input";
    if (!open_admin(cli)) {
        return EXIT_FAILED;
    }
    FILE *in = from_file ? fopen(name, "re") : stdin;
    struct provision *p = calloc(1, sizeof(*p));
    if (!in || !p) {
        print_error("%s cannot be read: %s", name, strerror(errno));
        free(p);
        return EXIT_FAILED;
    }
    p->cli = cli;
    p->progress = isatty(STDERR_FILENO) && !isatty(STDOUT_FILENO);
    int code = provision_file(p, in, name);
    if (p->progress) {
        fputc('\n', stderr);
    }
    if (code == EXIT_DONE && p->failed > 0) {
        code = EXIT_FAILED;
    }
    if (from_file) {
        fclose(in);
    }
    explicit_bzero(p, sizeof(*p));
    free(p);
    return code;
}
