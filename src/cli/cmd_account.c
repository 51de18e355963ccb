/* register, login, logout, whoami, and the end of an account. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define PASSWORD_SIZE 1024

static void wipe(char *p, size_t n)
{
    volatile char *at = p;
    while (n-- > 0) {
        *at++ = '\0';
    }
}

/* Copies what was trusted just now; the file by a name that holds in every folder. */
static void trust_keep(struct cli *cli, char *ca, size_t ca_size, char *fingerprint, size_t size)
{
    const char *ca_wish;
    const char *fingerprint_wish;
    cli_trust(cli, &ca_wish, &fingerprint_wish);
    char *whole = ca_wish && ca_wish[0] ? realpath(ca_wish, NULL) : NULL;
    snprintf(ca, ca_size, "%s", whole ? whole : "");
    snprintf(fingerprint, size, "%s", fingerprint_wish ? fingerprint_wish : "");
    free(whole);
}

/* What the list of devices calls this one, unless it is told. */
static const char *device_name(struct cli *cli, char *out, size_t size)
{
    char host[256] = "";
    if (cli->opt[OPT_DEVICE]) {
        return cli->opt[OPT_DEVICE];
    }
    if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0') {
        return "confab";
    }
    snprintf(out, size, "confab on %.35s", host);
    return out;
}

static int sign_in(struct cli *cli, const char *username, const char *password)
{
    struct confab_device d;
    char name[64];
    if (confab_login(cli->client, username, password, device_name(cli, name, sizeof(name)), &d) !=
        CONFAB_E_OK) {
        return cli_failed(cli, username);
    }
    struct profile *p = &cli->profile;
    const char *server = cli_server(cli);
    char kept[sizeof(p->server)];
    if (strlen(server) >= sizeof(kept) || strlen(username) >= sizeof(p->username)) {
        print_error("the server's address or the user's name is too long");
        return EXIT_FAILED;
    }
    memcpy(kept, server, strlen(server) + 1);
    char ca[sizeof(p->ca)];
    char fingerprint[sizeof(p->fingerprint)];
    trust_keep(cli, ca, sizeof(ca), fingerprint, sizeof(fingerprint));
    /* Another account has other messages and positions. */
    if (cli->signed_in && (p->user_id != d.user_id || strcmp(p->server, kept) != 0) &&
        !profile_remove(cli)) {
        return EXIT_FAILED;
    }
    memcpy(p->server, kept, strlen(kept) + 1);
    memcpy(p->ca, ca, sizeof(ca));
    memcpy(p->fingerprint, fingerprint, sizeof(fingerprint));
    p->tokens = d.tokens;
    snprintf(p->username, sizeof(p->username), "%s", username);
    p->user_id = d.user_id;
    if (!profile_save(cli)) {
        return EXIT_FAILED;
    }
    printf("signed in as ");
    print_word(stdout, username);
    printf("\n");
    return EXIT_DONE;
}

/* What stands behind the # of a link, or the code itself. */
static const char *invite_code(const char *text)
{
    static const char *const marks[] = {"#invite=", "#setup="};
    for (size_t i = 0; text && i < sizeof(marks) / sizeof(marks[0]); i++) {
        const char *at = strstr(text, marks[i]);
        if (at) {
            return at + strlen(marks[i]);
        }
    }
    return text;
}

int cmd_register(struct cli *cli)
{
    char password[PASSWORD_SIZE];
    struct confab_user u;
    const char *username = cli->argv[0];
    if (!cli_open(cli, false)) {
        return EXIT_FAILED;
    }
    if (!read_password(cli, PASSWORD_PRESENT, true, password, sizeof(password))) {
        return EXIT_FAILED;
    }
    int code = EXIT_DONE;
    const struct confab_registration registration = {
        .username = username,
        .password = password,
        .display_name = cli->opt[OPT_DISPLAY_NAME],
        .email = cli->opt[OPT_EMAIL],
        .invite = invite_code(cli->opt[OPT_INVITE]),
    };
    if (confab_register(cli->client, &registration, &u) != CONFAB_E_OK) {
        code = cli_failed(cli, username);
    } else {
        printf("registered ");
        print_word(stdout, u.username);
        printf(", user id %llu\n", (unsigned long long)u.user_id);
        if (!cli->opt[OPT_NO_LOGIN]) {
            code = sign_in(cli, u.username, password);
        }
    }
    wipe(password, sizeof(password));
    return code;
}

int cmd_login(struct cli *cli)
{
    char password[PASSWORD_SIZE];
    if (!cli_open(cli, false) ||
        !read_password(cli, PASSWORD_PRESENT, false, password, sizeof(password))) {
        return EXIT_FAILED;
    }
    int code = sign_in(cli, cli->argv[0], password);
    wipe(password, sizeof(password));
    return code;
}

int cmd_logout(struct cli *cli)
{
    if (!profile_load(cli)) {
        return profile_remove(cli) ? EXIT_DONE : EXIT_FAILED;
    }
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    enum confab_error error = confab_logout(cli->client);
    /* Nobody signs it out later: only a server that says so itself is as good. */
    if (error && error != CONFAB_E_UNAUTHENTICATED && !cli->opt[OPT_FORCE]) {
        int code = cli_failed(cli, "logout");
        fprintf(stderr,
                "`confab logout --force` forgets the profile without telling the server.\n");
        return code;
    }
    return profile_remove(cli) ? EXIT_DONE : EXIT_FAILED;
}

int cmd_account_delete(struct cli *cli)
{
    char password[PASSWORD_SIZE];
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    if (isatty(STDIN_FILENO)) {
        fprintf(stderr, "This deletes the account ");
        print_word(stderr, cli->profile.username);
        fprintf(stderr, " on %s. It cannot be undone.\n", cli_server(cli));
    }
    if (!read_password(cli, PASSWORD_PRESENT, false, password, sizeof(password))) {
        return EXIT_FAILED;
    }
    enum confab_error error = confab_account_delete(cli->client, password);
    wipe(password, sizeof(password));
    if (error != CONFAB_E_OK) {
        return cli_failed(cli, cli->profile.username);
    }
    printf("the account is deleted\n");
    return profile_remove(cli) ? EXIT_DONE : EXIT_FAILED;
}

int cmd_whoami(struct cli *cli)
{
    struct confab_user u;
    if (!cli_open(cli, true)) {
        return EXIT_FAILED;
    }
    if (confab_user_get(cli->client, "me", &u) != CONFAB_E_OK) {
        return cli_failed(cli, cli->profile.username);
    }
    if (cli_json(cli)) {
        out_begin("user");
        out_id("user_id", u.user_id);
        out_str("username", u.username);
        out_str("display_name", u.display_name);
        out_str("server", cli_server(cli));
        out_str("profile", cli->profile_name);
        out_end();
        return EXIT_DONE;
    }
    print_word(stdout, u.username);
    printf(", user id %llu, on %s (profile %s)\n", (unsigned long long)u.user_id, cli_server(cli),
           cli->profile_name);
    return EXIT_DONE;
}
