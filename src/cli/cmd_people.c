/* People, one's own account, its devices, and invites. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define PASSWORD_SIZE 1024

static int result(struct cli *cli, enum confab_error error, const char *what)
{
    return error ? cli_failed(cli, what) : EXIT_DONE;
}

static void print_time(uint64_t ms, const char *never)
{
    char text[CONFAB_TIME_SIZE];
    if (ms == 0) {
        fputs(never, stdout);
        return;
    }
    confab_time_local(ms, text);
    fputs(text, stdout);
}

/* Two blanks and the text, when there is one. */
static void print_more(const char *text)
{
    if (text[0] != '\0') {
        fputs("  ", stdout);
        print_word(stdout, text);
    }
}

/* ---- People ---- */

void print_user(struct cli *cli, const struct confab_user *u)
{
    if (cli_json(cli)) {
        out_begin("user");
        out_id("user_id", u->user_id);
        out_str("username", u->username);
        out_str("display_name", u->display_name);
        out_str("about", u->about);
        if (u->status[0] != '\0') {
            out_str("email", u->email);
            out_str("role", u->administrator ? "admin" : "member");
            out_str("status", u->status);
        }
        out_time("created_at", u->created_at_ms);
        out_end();
        return;
    }
    print_word(stdout, u->username);
    printf("  %llu", (unsigned long long)u->user_id);
    if (strcmp(u->display_name, u->username) != 0) {
        print_more(u->display_name);
    }
    print_more(u->about);
    print_more(u->email);
    if (u->administrator) {
        fputs("  administrator", stdout);
    }
    if (u->status[0] != '\0' && strcmp(u->status, "active") != 0) {
        print_more(u->status);
    }
    putchar('\n');
}

static void on_user(void *arg, const struct confab_user *u)
{
    print_user(arg, u);
}

int cmd_people(struct cli *cli)
{
    uint64_t max = 50;
    if (!args_number(cli, OPT_LIMIT, 1, 100000, &max)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_people(cli->client, cli->argv[0], (unsigned)max, on_user, cli),
                  cli->argv[0]);
}

int cmd_me(struct cli *cli)
{
    struct confab_user u;
    const char *name = cli->opt[OPT_DISPLAY_NAME];
    const char *about = cli->opt[OPT_ABOUT];
    const char *email = cli->opt[OPT_EMAIL];
    enum confab_error error = CONFAB_E_OK;
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    if (name || about || email) {
        error = confab_profile_set(cli->client, name, about, email);
    }
    if (!error) {
        error = confab_user_get(cli->client, "me", &u);
    }
    if (!error) {
        print_user(cli, &u);
    }
    return result(cli, error, cli->profile.username);
}

int cmd_password(struct cli *cli)
{
    char old[PASSWORD_SIZE];
    char fresh[PASSWORD_SIZE];
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    int code = EXIT_FAILED;
    if (read_password(cli, PASSWORD_PRESENT, false, old, sizeof(old)) &&
        read_password(cli, PASSWORD_NEW, true, fresh, sizeof(fresh))) {
        code = result(cli, confab_password_set(cli->client, old, fresh), cli->profile.username);
    }
    if (code == EXIT_DONE) {
        printf("the password is changed; all other devices are signed out\n");
    }
    explicit_bzero(old, sizeof(old));
    explicit_bzero(fresh, sizeof(fresh));
    return code;
}

/* ---- Devices ---- */

static void on_device(void *arg, const struct confab_signed_in *d)
{
    struct cli *cli = arg;
    if (cli_json(cli)) {
        out_begin("device");
        out_id("device_id", d->device_id);
        out_str("name", d->name);
        out_flag("current", d->current);
        out_time("created_at", d->created_at_ms);
        out_time("last_used_at", d->last_used_at_ms);
        out_str("last_address", d->last_address);
        out_end();
        return;
    }
    printf("%llu  ", (unsigned long long)d->device_id);
    print_word(stdout, d->name[0] ? d->name : "(no name)");
    fputs("  last used ", stdout);
    print_time(d->last_used_at_ms, "never");
    print_more(d->last_address);
    puts(d->current ? "  this one" : "");
}

int cmd_devices(struct cli *cli)
{
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_devices(cli->client, on_device, cli), "devices");
}

static bool device_arg(const char *text, uint64_t *ret_id)
{
    if (args_id(text, ret_id)) {
        return true;
    }
    print_error("%s is not the id of a device; `confab devices` shows them", text);
    return false;
}

int cmd_device_rename(struct cli *cli)
{
    uint64_t id;
    if (!device_arg(cli->argv[0], &id)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_device_rename(cli->client, id, cli->argv[1]), cli->argv[0]);
}

int cmd_device_remove(struct cli *cli)
{
    int code = EXIT_DONE;
    for (int i = 0; i < cli->argc; i++) {
        uint64_t id;
        if (!device_arg(cli->argv[i], &id)) {
            return EXIT_USAGE;
        }
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    for (int i = 0; i < cli->argc && code == EXIT_DONE; i++) {
        uint64_t id = 0;
        (void)args_id(cli->argv[i], &id); /* was checked */
        code = result(cli, confab_device_remove(cli->client, id), cli->argv[i]);
    }
    return code;
}

/* ---- Invites ---- */

static void print_invite(struct cli *cli, const struct confab_invite *v)
{
    if (cli_json(cli)) {
        out_begin("invite");
        out_id("invite_id", v->invite_id);
        out_str("code", v->code);
        out_str("link", v->link);
        out_num("uses", v->uses);
        out_num("uses_max", v->uses_max);
        out_time("expires_at", v->expires_at_ms);
        out_str("note", v->note);
        out_end();
        return;
    }
    printf("%llu  %llu", (unsigned long long)v->invite_id, (unsigned long long)v->uses);
    if (v->uses_max) {
        printf(" of %llu", (unsigned long long)v->uses_max);
    }
    fputs(" used, ends ", stdout);
    print_time(v->expires_at_ms, "never");
    print_more(v->note);
    putchar('\n');
}

int cmd_invite_create(struct cli *cli)
{
    struct confab_invite v;
    uint64_t uses = 0;
    uint64_t expires_ms = 0;
    if (!args_number(cli, OPT_USES, 1, 1000000, &uses) ||
        !args_duration(cli, OPT_UNTIL, &expires_ms)) {
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    enum confab_error error =
        confab_invite_create(cli->client, uses, expires_ms / 1000, cli->opt[OPT_NOTE], &v);
    if (error) {
        return cli_failed(cli, "invite");
    }
    if (cli->opt[OPT_JSON]) {
        print_invite(cli, &v);
    } else {
        print_word(stdout, v.link[0] ? v.link : v.code);
        putchar('\n');
    }
    return EXIT_DONE;
}

static void on_invite(void *arg, const struct confab_invite *v)
{
    print_invite(arg, v);
}

int cmd_invites(struct cli *cli)
{
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_invites(cli->client, on_invite, cli), "invites");
}

int cmd_invite_remove(struct cli *cli)
{
    uint64_t id;
    if (!args_id(cli->argv[0], &id)) {
        print_error("%s is not the id of an invite; `confab invites` shows them", cli->argv[0]);
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_invite_remove(cli->client, id), cli->argv[0]);
}

/* ---- Receipts ---- */

static void on_reader(void *arg, const struct confab_reader *r)
{
    struct cli *cli = arg;
    const char *name = name_of(cli, r->user_id);
    if (cli_json(cli)) {
        out_begin("receipt");
        out_id("user_id", r->user_id);
        out_str("username", name);
        out_time("delivered_at", r->delivered_at_ms);
        out_time("read_at", r->read_at_ms);
        out_end();
        return;
    }
    print_word(stdout, name);
    fputs("  delivered ", stdout);
    print_time(r->delivered_at_ms, "not yet");
    fputs("  read ", stdout);
    print_time(r->read_at_ms, "not yet");
    putchar('\n');
}

int cmd_receipts(struct cli *cli)
{
    uint64_t id;
    if (!args_id(cli->argv[0], &id)) {
        print_error("%s is not the id of a message; `confab history --ids` shows them",
                    cli->argv[0]);
        return EXIT_USAGE;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    return result(cli, confab_receipts(cli->client, id, on_reader, cli), cli->argv[0]);
}
