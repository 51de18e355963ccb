/* The command line, by the tables of main.c, and the help made of them. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define COMMON                                                                                     \
    (OPT_BIT(OPT_HELP) | OPT_BIT(OPT_SERVER) | OPT_BIT(OPT_CA) | OPT_BIT(OPT_FINGERPRINT) |        \
     OPT_BIT(OPT_PROFILE))
#define WIDTH 80

/* ---- Help ---- */

/* Words filled into lines of WIDTH, indented. */
static void print_filled(const char *text, int indent)
{
    int column = 0;
    while (*text) {
        int n = (int)strcspn(text, " ");
        if (column > 0 && column + 1 + n > WIDTH) {
            putchar('\n');
            column = 0;
        }
        if (column == 0) {
            printf("%*s", indent, "");
            column = indent;
        } else {
            putchar(' ');
            column++;
        }
        printf("%.*s", n, text);
        column += n;
        text += n;
        text += strspn(text, " ");
    }
    putchar('\n');
}

static void print_option(const struct opt *o)
{
    char left[64];
    snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
             o->value ? o->value : "");
    printf("  %-22s %s\n", left, o->text);
}

static void help_of(const struct command *c)
{
    printf("usage: confab %s%s%s%s\n\n", c->name, c->raw ? "" : " [OPTION...]",
           c->args[0] ? " " : "", c->args);
    printf("confab %s - %s\n", c->name, c->summary);
    if (c->text) {
        putchar('\n');
        print_filled(c->text, 0);
    }
    if (!c->raw) {
        printf("\nOptions:\n");
        for (int i = 0; i < OPT_IDS_END; i++) {
            if (((c->options | COMMON) & OPT_BIT(i)) != 0) {
                print_option(&cli_options[i]);
            }
        }
        printf("\nExit status: 0 done; 1 refused or failed; 2 wrong usage; 3 the server cannot be\n"
               "reached%s.\n",
               c->run == cmd_send || c->run == cmd_flush ? "; 4 not sent yet, kept in the outbox"
                                                         : "");
    }
}

void args_help(const struct command *command)
{
    if (command) {
        help_of(command);
        return;
    }
    printf("usage: confab COMMAND [OPTION...] [ARGUMENT...]\n\nCommands:\n");
    for (size_t i = 0; i < cli_ncommands; i++) {
        char left[64];
        snprintf(left, sizeof(left), "%s %s", cli_commands[i].name, cli_commands[i].args);
        printf("  %-44s %s\n", left, cli_commands[i].summary);
    }
    printf("\nconfab COMMAND --help explains one. Everywhere:\n");
    for (int i = 0; i < OPT_IDS_END; i++) {
        if (((COMMON | OPT_BIT(OPT_VERSION)) & OPT_BIT(i)) != 0) {
            print_option(&cli_options[i]);
        }
    }
    printf("  --                     what follows is no option\n");
}

/* ---- Parsing ---- */

/* Command of one or two words at argv[0]; ret_words. NULL: none. */
static const struct command *find_command(int argc, char **argv, int *ret_words)
{
    for (size_t i = 0; i < cli_ncommands; i++) {
        const char *name = cli_commands[i].name;
        size_t first = strcspn(name, " ");
        if (strlen(argv[0]) != first || strncmp(argv[0], name, first) != 0) {
            continue;
        }
        if (name[first] == '\0') {
            *ret_words = 1;
            return &cli_commands[i];
        }
        if (argc > 1 && strcmp(argv[1], name + first + 1) == 0) {
            *ret_words = 2;
            return &cli_commands[i];
        }
    }
    return NULL;
}

/* Reads the option at argv[*at], moves *at past it and its value. */
static int take_option(struct cli *cli, int argc, char **argv, int *at)
{
    const char *text = argv[*at] + 2;
    size_t n = strcspn(text, "=");
    if (strcmp(argv[*at], "-h") == 0) {
        cli->opt[OPT_HELP] = "";
        (*at)++;
        return EXIT_DONE;
    }
    for (int i = 0; i < OPT_IDS_END && argv[*at][1] == '-'; i++) {
        const struct opt *o = &cli_options[i];
        if (strlen(o->name) != n || strncmp(o->name, text, n) != 0) {
            continue;
        }
        if (cli->opt[i]) {
            print_error("--%s is there twice", o->name);
            return EXIT_USAGE;
        }
        if (!o->value) {
            if (text[n] == '=') {
                print_error("--%s takes no value", o->name);
                return EXIT_USAGE;
            }
            cli->opt[i] = "";
        } else if (text[n] == '=') {
            cli->opt[i] = text + n + 1;
        } else if (*at + 1 < argc) {
            cli->opt[i] = argv[++*at];
        } else {
            print_error("--%s wants a value: %s", o->name, o->value);
            return EXIT_USAGE;
        }
        (*at)++;
        return EXIT_DONE;
    }
    print_error("unknown option: %s", argv[*at]);
    return EXIT_USAGE;
}

static bool is_option(const char *text)
{
    return text[0] == '-' && text[1] != '\0';
}

static int unknown_command(int argc, char **argv)
{
    bool group = false;
    size_t n = strlen(argv[0]);
    for (size_t i = 0; i < cli_ncommands; i++) {
        group = group ||
                (strncmp(cli_commands[i].name, argv[0], n) == 0 && cli_commands[i].name[n] == ' ');
    }
    if (group && argc > 1) {
        print_error("unknown command: %s %s", argv[0], argv[1]);
    } else {
        print_error("%s: %s", group ? "incomplete command" : "unknown command", argv[0]);
    }
    fprintf(stderr, "`confab --help` lists them.\n");
    return EXIT_USAGE;
}

static int check(const struct cli *cli)
{
    const struct command *c = cli->command;
    for (int i = 0; i < OPT_IDS_END; i++) {
        if (cli->opt[i] && ((c->options | COMMON) & OPT_BIT(i)) == 0) {
            print_error("confab %s does not take --%s", c->name, cli_options[i].name);
            return EXIT_USAGE;
        }
    }
    if (cli->argc < c->min || (c->max >= 0 && cli->argc > c->max)) {
        print_error("%s", cli->argc < c->min ? "an argument is missing" : "too many arguments");
        fprintf(stderr, "usage: confab %s %s\n", c->name, c->args);
        return EXIT_USAGE;
    }
    return EXIT_DONE;
}

int args_parse(struct cli *cli, int argc, char **argv)
{
    int at = 1;
    cli->argv = argv; /* positional ones move to the front: there is always room */
    while (at < argc) {
        if (!cli->command && !is_option(argv[at])) {
            int words = 0;
            cli->command = find_command(argc - at, argv + at, &words);
            if (!cli->command) {
                bool help = argc - at > 1 && strcmp(argv[argc - 1], "--help") == 0;
                if (!help) {
                    return unknown_command(argc - at, argv + at);
                }
                cli->opt[OPT_HELP] = "";
                return EXIT_DONE;
            }
            at += words;
            if (cli->command->raw) {
                bool help = at < argc && (strcmp(argv[at], "--help") == 0);
                cli->argv = argv + at;
                cli->argc = argc - at;
                cli->opt[OPT_HELP] = help || cli->argc == 0 ? "" : NULL;
                return EXIT_DONE;
            }
        } else if (strcmp(argv[at], "--") == 0) {
            at++;
            while (at < argc) {
                cli->argv[cli->argc++] = argv[at++];
            }
        } else if (is_option(argv[at])) {
            int code = take_option(cli, argc, argv, &at);
            if (code != EXIT_DONE) {
                return code;
            }
        } else {
            cli->argv[cli->argc++] = argv[at++];
        }
    }
    if (cli->opt[OPT_HELP] || cli->opt[OPT_VERSION] || !cli->command) {
        return EXIT_DONE;
    }
    return check(cli);
}

bool args_id(const char *text, uint64_t *ret_id)
{
    uint64_t v = 0;
    size_t n = strlen(text);
    if (n == 0 || n > 19 || text[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    if (v > INT64_MAX) {
        return false;
    }
    *ret_id = v;
    return true;
}

bool args_number(struct cli *cli, enum opt_id id, uint64_t min, uint64_t max, uint64_t *io_value)
{
    const char *text = cli->opt[id];
    uint64_t v = 0;
    if (!text) {
        return true;
    }
    if (!((strcmp(text, "0") == 0 || args_id(text, &v)) && v >= min && v <= max)) {
        print_error("--%s wants a number from %llu to %llu, not %s", cli_options[id].name,
                    (unsigned long long)min, (unsigned long long)max, text);
        return false;
    }
    *io_value = v;
    return true;
}

/* 30s, 15m, 8h, 7d, 2w in milliseconds; false when it is none of these. */
static bool duration(const char *text, uint64_t *ret_ms)
{
    static const char units[] = "smhdw";
    static const uint64_t seconds[] = {1, 60, 3600, 86400, 604800};
    uint64_t v = 0;
    size_t n = strspn(text, "0123456789");
    const char *unit = text[n] ? strchr(units, text[n]) : NULL;
    if (n == 0 || n > 6 || !unit || text[n + 1] != '\0') {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        v = v * 10 + (uint64_t)(text[i] - '0');
    }
    *ret_ms = v * seconds[unit - units] * 1000;
    return v > 0;
}

bool args_duration(struct cli *cli, enum opt_id id, uint64_t *io_ms)
{
    if (cli->opt[id] && !duration(cli->opt[id], io_ms)) {
        print_error("--%s wants a time such as 30m, 8h or 7d, not %s", cli_options[id].name,
                    cli->opt[id]);
        return false;
    }
    return true;
}
