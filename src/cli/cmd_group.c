/* Groups, their members, and one's own settings of conversations and users. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* Opens, and resolves the group of the first argument. */
static int open_group(struct cli *cli, char conv[CONFAB_CONV_SIZE])
{
    return cli_open(cli, true) ? resolve_group(cli, cli->argv[0], conv) : EXIT_FAILED;
}

static int open_conv(struct cli *cli, char conv[CONFAB_CONV_SIZE])
{
    return cli_open(cli, true) ? resolve_conv(cli, cli->argv[0], conv) : EXIT_FAILED;
}

static int result(struct cli *cli, enum confab_error error)
{
    return error ? cli_failed(cli, cli->argv[0]) : EXIT_DONE;
}

static const char *user_arg(const char *text)
{
    return text[0] == '@' ? text + 1 : text;
}

int cmd_group_create(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    size_t n = (size_t)cli->argc - 1;
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    const char **users = calloc(n + 1, sizeof(*users));
    if (!users) {
        return EXIT_FAILED;
    }
    for (size_t i = 0; i < n; i++) {
        users[i] = user_arg(cli->argv[i + 1]);
    }
    enum confab_error error = confab_group_create(cli->client, cli->argv[0], users, n, conv);
    free(users);
    if (!error) {
        printf("%s\n", conv);
    }
    return result(cli, error);
}

int cmd_group_add(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_group(cli, conv);
    size_t n = (size_t)cli->argc - 1;
    uint64_t *ids = calloc(n, sizeof(*ids));
    /* All of them are known before any of them is added. */
    for (size_t i = 0; ids && i < n && code == EXIT_DONE; i++) {
        code = resolve_user(cli, cli->argv[i + 1], &ids[i]);
    }
    if (code == EXIT_DONE) {
        code = ids ? result(cli, confab_group_add(cli->client, conv, ids, n)) : EXIT_FAILED;
    }
    free(ids);
    return code;
}

static int remove_user(struct cli *cli, const char *conv, uint64_t id)
{
    char text[32];
    snprintf(text, sizeof(text), "%llu", (unsigned long long)id);
    return result(cli, confab_group_remove(cli->client, conv, text));
}

int cmd_group_remove(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_group(cli, conv);
    for (int i = 1; i < cli->argc && code == EXIT_DONE; i++) {
        uint64_t id;
        code = resolve_user(cli, cli->argv[i], &id);
        if (code == EXIT_DONE) {
            code = remove_user(cli, conv, id);
        }
    }
    return code;
}

int cmd_group_leave(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_group(cli, conv);
    return code == EXIT_DONE ? remove_user(cli, conv, cli->profile.user_id) : code;
}

int cmd_group_rename(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_group(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_group_rename(cli->client, conv, cli->argv[1]))
                             : code;
}

int cmd_group_role(struct cli *cli)
{
    static const char *const names[] = {"", "member", "admin", "owner", "moderator", "guest"};
    char conv[CONFAB_CONV_SIZE];
    char user[32];
    uint64_t id;
    enum confab_role role = CONFAB_ROLE_NONE;
    for (int i = CONFAB_ROLE_MEMBER; i <= CONFAB_ROLE_GUEST; i++) {
        role = strcmp(cli->argv[2], names[i]) == 0 ? (enum confab_role)i : role;
    }
    if (role == CONFAB_ROLE_NONE) {
        print_error("%s is not a role: owner, admin, moderator, member or guest", cli->argv[2]);
        return EXIT_USAGE;
    }
    int code = open_group(cli, conv);
    if (code == EXIT_DONE) {
        code = resolve_user(cli, cli->argv[1], &id);
    }
    if (code == EXIT_DONE) {
        snprintf(user, sizeof(user), "%llu", (unsigned long long)id);
        code = result(cli, confab_group_role(cli->client, conv, user, role));
    }
    return code;
}

/* The settings that a word such as send=admins stands for; false when it is none. */
static bool take_setting(const char *text, unsigned *io)
{
    static const struct {
        const char *text;
        unsigned bit;
        bool on;
    } all[] = {
        {"history=all", CONFAB_HISTORY_JOINED, false},
        {"history=joined", CONFAB_HISTORY_JOINED, true},
        {"send=members", CONFAB_SEND_ADMINS, false},
        {"send=admins", CONFAB_SEND_ADMINS, true},
        {"invite=members", CONFAB_INVITE_ADMINS, false},
        {"invite=admins", CONFAB_INVITE_ADMINS, true},
    };
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        if (strcmp(text, all[i].text) == 0) {
            *io = all[i].on ? *io | all[i].bit : *io & ~all[i].bit;
            return true;
        }
    }
    return false;
}

int cmd_group_settings(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    unsigned settings = 0;
    for (int i = 1; i < cli->argc; i++) {
        if (!take_setting(cli->argv[i], &settings)) {
            print_error("%s is not a setting: history=all|joined, send=members|admins, "
                        "invite=members|admins",
                        cli->argv[i]);
            return EXIT_USAGE;
        }
    }
    int code = open_group(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_group_settings(cli->client, conv, settings))
                             : code;
}

static void print_member(void *arg, const struct confab_member *m)
{
    static const char *const roles[] = {"", "member", "admin", "owner", "moderator", "guest"};
    struct cli *cli = arg;
    const char *name = name_of(cli, m->user_id);
    if (cli_json(cli)) {
        out_begin("member");
        out_id("user_id", m->user_id);
        out_str("username", name);
        out_str("role", roles[m->role]);
        out_end();
        return;
    }
    print_word(stdout, name);
    printf("  %s\n", roles[m->role]);
}

int cmd_members(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_group(cli, conv);
    return code == EXIT_DONE
               ? result(cli, confab_group_members(cli->client, conv, print_member, cli))
               : code;
}

/* ---- One's own settings ---- */

int cmd_mute(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    uint64_t ms = 0;
    if (!args_duration(cli, OPT_UNTIL, &ms)) {
        return EXIT_USAGE;
    }
    uint64_t until = ms > 0 ? confab_now_ms() + ms : UINT64_MAX;
    int code = open_conv(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_mute(cli->client, conv, until)) : code;
}

int cmd_unmute(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_conv(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_mute(cli->client, conv, 0)) : code;
}

int cmd_pin(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_conv(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_pin(cli->client, conv, true)) : code;
}

int cmd_unpin(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    int code = open_conv(cli, conv);
    return code == EXIT_DONE ? result(cli, confab_pin(cli->client, conv, false)) : code;
}

struct draft_search {
    struct cli *cli;
    const char *conv;
};

static void print_draft(void *arg, const struct confab_conversation *c)
{
    const struct draft_search *d = arg;
    if (strcmp(c->conv, d->conv) != 0 || !c->draft.p) {
        return;
    }
    if (cli_json(d->cli)) {
        out_begin("draft");
        out_str("conversation_id", c->conv);
        out_text("draft", c->draft);
        out_end();
    } else {
        print_text(stdout, c->draft, 0);
        putchar('\n');
    }
}

int cmd_draft(struct cli *cli)
{
    char conv[CONFAB_CONV_SIZE];
    struct draft_search d = {.cli = cli, .conv = conv};
    int code = open_conv(cli, conv);
    if (code != EXIT_DONE || cli->argc < 2) {
        return code == EXIT_DONE ? cli_snapshot(cli, print_draft, &d, 0) : code;
    }
    const char *text = cli->argv[1];
    return result(cli, confab_draft(cli->client, conv, (struct confab_text){text, strlen(text)}));
}

int cmd_block(struct cli *cli)
{
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_block(cli->client, user_arg(cli->argv[0]), true));
}

int cmd_unblock(struct cli *cli)
{
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_block(cli->client, user_arg(cli->argv[0]), false));
}
