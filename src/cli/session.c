/* Clients for the commands: from the options and the profile, and what their failures mean here. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define SNAPSHOT_MS 30000U
#define GOODBYE_MS  2000U

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
    (void)sig;
    interrupted = 1;
}

bool cli_interrupted(void)
{
    return interrupted != 0;
}

void cli_catch_signals(void)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof(sa));
    sa.sa_handler = on_signal; /* without SA_RESTART: waits end */
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);
    sigaction(SIGHUP, &sa, NULL);
}

const char *cli_server(struct cli *cli)
{
    const char *env = getenv("CONFAB_SERVER");
    if (cli->operator_url[0]) {
        return cli->operator_url;
    }
    if (cli->opt[OPT_SERVER]) {
        return cli->opt[OPT_SERVER];
    }
    if (env && env[0]) {
        return env;
    }
    return cli->profile.server[0] ? cli->profile.server : "http://127.0.0.1:8008";
}

static const char *option_or_env(const struct cli *cli, enum opt_id id, const char *name)
{
    const char *env = getenv(name);
    return cli->opt[id] ? cli->opt[id] : env && env[0] ? env : NULL;
}

void cli_trust(struct cli *cli, const char **ret_ca, const char **ret_fingerprint)
{
    *ret_ca = option_or_env(cli, OPT_CA, "CONFAB_CA");
    *ret_fingerprint = option_or_env(cli, OPT_FINGERPRINT, "CONFAB_FINGERPRINT");
    /* What the profile trusts is its own server. */
    if (!*ret_ca && !*ret_fingerprint && strcmp(cli_server(cli), cli->profile.server) == 0) {
        *ret_ca = cli->profile.ca;
        *ret_fingerprint = cli->profile.fingerprint;
    }
}

bool cli_transport(const struct cli *cli, enum confab_transport *ret)
{
    const char *text = option_or_env(cli, OPT_TRANSPORT, "CONFAB_TRANSPORT");
    for (int i = CONFAB_TRANSPORT_AUTO; text && i <= CONFAB_TRANSPORT_POLL; i++) {
        if (strcmp(text, confab_transport_name((enum confab_transport)i)) == 0) {
            *ret = (enum confab_transport)i;
            return true;
        }
    }
    if (text) {
        print_error("--transport wants auto, ws, sse or poll, not %s", text);
    }
    return text == NULL;
}

void cli_client_end(struct confab_client *c)
{
    uint64_t end = confab_now_ms() + GOODBYE_MS;
    struct pollfd fds[8];
    int wait_ms;
    confab_client_stop(c);
    do {
        uint64_t now = confab_now_ms();
        (void)confab_client_run(c, now < end ? (int)(end - now) : 0);
    } while (confab_client_pollfds(c, fds, 8, &wait_ms) > 0 && confab_now_ms() < end);
}

void cli_options_fill(struct cli *cli, struct confab_options *o)
{
    confab_options_init(o);
    o->server = cli_server(cli);
    cli_trust(cli, &o->ca_file, &o->fingerprint);
    o->arg = cli;
    o->flags = cli->opt[OPT_COMPRESS] ? CONFAB_COMPRESS : 0;
    if (cli->signed_in) {
        o->token = cli->profile.tokens.token;
        o->token_expires_at_ms = cli->profile.tokens.expires_at_ms;
        o->refresh_token = cli->profile.tokens.refresh_token;
        o->tokens_begin = profile_tokens_begin;
        o->tokens_end = profile_tokens_end;
        o->tokens_arg = cli;
    }
}

bool cli_open(struct cli *cli, bool token)
{
    bool found = profile_load(cli);
    if (token && !found) {
        print_error("not signed in; `confab login USER` does that");
        return false;
    }
    if (cli->client) {
        return true;
    }
    struct confab_options o;
    cli_options_fill(cli, &o);
    if (!token) {
        o.token = NULL;
        o.refresh_token = NULL;
    }
    enum confab_error error = confab_client_new(&o, &cli->client);
    if (error == CONFAB_E_ARGUMENT && strstr(o.server, "s://") &&
        ((o.ca_file && o.ca_file[0]) || (o.fingerprint && o.fingerprint[0]))) {
        print_error("%s: this address, or --ca or --fingerprint with it, cannot be used: a file in "
                    "PEM form, or 64 hex digits",
                    o.server);
        return false;
    }
    if (error == CONFAB_E_ARGUMENT) {
        print_error("%s is not the address of a server; it looks like https://host:port", o.server);
        return false;
    }
    if (error) {
        print_error("%s", confab_error_text(error));
        return false;
    }
    return true;
}

bool cli_json(const struct cli *cli)
{
    const char *env = getenv("CONFAB_OUTPUT");
    if (cli->opt[OPT_JSON] || cli->opt[OPT_TEXT]) {
        return cli->opt[OPT_JSON] != NULL;
    }
    if (env && (strcmp(env, "json") == 0 || strcmp(env, "text") == 0)) {
        return env[0] == 'j';
    }
    return !isatty(STDOUT_FILENO);
}

int cli_exit_code(enum confab_error error)
{
    switch (error) {
    case CONFAB_E_OK:
        return EXIT_DONE;
    case CONFAB_E_NETWORK:
    case CONFAB_E_CERTIFICATE:
    case CONFAB_E_TIMEOUT:
        return EXIT_OFFLINE;
    default:
        return EXIT_FAILED;
    }
}

int cli_failed(struct cli *cli, const char *what)
{
    struct confab_failure f;
    confab_last_failure(cli->client, &f);
    if (f.http_status == 0) {
        print_error("%s: %s (%s)", what, f.message, cli_server(cli));
    } else if (f.field[0]) {
        print_error("%s: %s (%s)", what, f.message, f.field);
    } else {
        print_error("%s: %s", what, f.message);
    }
    if (f.error == CONFAB_E_CERTIFICATE) {
        fprintf(stderr, "A server of your own? It prints its fingerprint when it starts: "
                        "--fingerprint SHA256, or --ca FILE.\n");
    }
    if (f.error == CONFAB_E_UNAUTHENTICATED && cli->signed_in) {
        fprintf(stderr, "`confab login` signs in again.\n");
    }
    return cli_exit_code(f.error);
}

/* ---- Snapshot ---- */

struct snapshot {
    struct cli *cli;
    void (*on_conversation)(void *arg, const struct confab_conversation *c);
    void *arg;
    bool done;
    bool joined; /* a conversation, just now */
};

static void on_conversation(void *arg, const struct confab_conversation *c)
{
    struct snapshot *s = arg;
    if (c->left) {
        return;
    }
    conv_note(s->cli, c->conv, c->kind, c->name, c->with);
    if (s->on_conversation) {
        s->on_conversation(s->arg, c);
    }
}

static void on_event(void *arg, const struct confab_event *e)
{
    struct snapshot *s = arg;
    s->joined = s->joined || (e->kind == CONFAB_EVENT_SELF && e->self == CONFAB_SELF_JOINED &&
                              e->source == CONFAB_LIVE);
}

static void on_caught_up(void *arg)
{
    ((struct snapshot *)arg)->done = true;
}

int cli_snapshot(struct cli *cli, void (*on_each)(void *arg, const struct confab_conversation *c),
                 void *arg, unsigned linger_ms)
{
    struct snapshot s = {.cli = cli, .on_conversation = on_each, .arg = arg};
    struct confab_options o;
    struct confab_client *c;
    cli_options_fill(cli, &o);
    o.arg = &s;
    o.flags |= CONFAB_NO_DELIVERED;
    o.handlers.on_conversation = on_conversation;
    o.handlers.on_event = on_event;
    o.handlers.on_caught_up = on_caught_up;
    enum confab_error error = confab_client_new(&o, &c);
    if (!error) {
        uint64_t end = confab_now_ms() + SNAPSHOT_MS;
        confab_client_start(c);
        while (!error && !s.done && !cli_interrupted() && confab_now_ms() < end) {
            error = confab_client_run(c, 1000);
        }
        end = confab_now_ms() + linger_ms;
        while (!error && !s.joined && !cli_interrupted() && confab_now_ms() < end) {
            error = confab_client_run(c, (int)linger_ms);
        }
        confab_client_stop(c);
        if (!error) {
            error = s.done ? confab_client_run(c, 0) : CONFAB_E_TIMEOUT;
        }
        confab_client_free(c);
    }
    if (error) {
        print_error("the conversations cannot be had: %s (%s)", confab_error_text(error),
                    cli_server(cli));
    }
    return cli_exit_code(error);
}
