/*
 * What the commands share: the table of commands and options, the invocation, names, output.
 */
#ifndef CONFAB_CLI_CLI_H
#define CONFAB_CLI_CLI_H

#include <confab/confab.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum exit_code {
    EXIT_DONE = 0,
    EXIT_FAILED = 1,  /* refused, or not possible */
    EXIT_USAGE = 2,   /* the command line is wrong */
    EXIT_OFFLINE = 3, /* the server cannot be reached, or does not answer */
    EXIT_QUEUED = 4   /* send: not sent yet, kept in the outbox */
};

enum opt_id {
    OPT_HELP = 0,
    OPT_SERVER,
    OPT_CA,
    OPT_FINGERPRINT,
    OPT_COMPRESS,
    OPT_PROFILE,
    OPT_JSON,
    OPT_PASSWORD_STDIN,
    OPT_DISPLAY_NAME,
    OPT_DEVICE,
    OPT_NO_LOGIN,
    OPT_TIMEOUT,
    OPT_REPLY_TO,
    OPT_LIMIT,
    OPT_BEFORE,
    OPT_IDS,
    OPT_COUNT,
    OPT_CONTINUE,
    OPT_FOR_ME,
    OPT_UNTIL,
    OPT_VERSION,
    OPT_TEXT,
    OPT_FORCE,
    OPT_INVITE,
    OPT_EMAIL,
    OPT_ABOUT,
    OPT_USES,
    OPT_NOTE,
    OPT_DATA,
    OPT_STATUS,
    OPT_FOLLOW,
    OPT_TRANSPORT,
    OPT_IDS_END /* number of options */
};
#define OPT_BIT(id) (UINT64_C(1) << (id))

struct opt {
    const char *name;  /* without dashes */
    const char *value; /* name of its value in the help, NULL: takes none */
    const char *text;
};
extern const struct opt cli_options[OPT_IDS_END];

struct cli;
struct command {
    const char *name; /* "group create" for a command of two words */
    const char *args; /* for the synopsis */
    const char *summary;
    const char *text; /* further paragraphs, may be NULL */
    uint64_t options; /* beside help, server and profile */
    int min;          /* positional arguments */
    int max;          /* -1: any number */
    bool raw;         /* takes everything after its name, options too */
    int (*run)(struct cli *cli);
};
extern const struct command cli_commands[];
extern const size_t cli_ncommands;

struct profile {
    char server[512];
    char ca[1024]; /* which certificate to trust: a file, or a fingerprint; empty: the system's */
    char fingerprint[128];
    char username[CONFAB_NAME_SIZE];
    struct confab_tokens tokens;
    uint64_t user_id;
};

/* A user id with its name. */
struct name {
    uint64_t id;
    char *text;
};
/* A conversation with what it is called here. */
struct conv_name {
    char conv[CONFAB_CONV_SIZE];
    enum confab_conv_kind kind;
    uint64_t with;
    char *text;
};

struct cli {
    const struct command *command;
    int argc; /* positional */
    char **argv;
    const char *opt[OPT_IDS_END]; /* NULL: not given; "" for those without value */
    const char *profile_name;
    struct profile profile;
    bool signed_in;  /* profile was read */
    int tokens_lock; /* while they are renewed, else 0 */
    struct confab_client *client;
    char operator_url[512]; /* of the server that is administered by its operator's key */
    struct name *names;
    size_t nnames;
    struct conv_name *convs;
    size_t nconvs;
};

/* ---- args.c ---- */
/* Fills command, argv and opt; prints what is wrong. EXIT_DONE, EXIT_USAGE. */
int args_parse(struct cli *cli, int argc, char **argv);
void args_help(const struct command *command); /* NULL: all of them */
/* Value of an option as a number from min to max; false after printing what is wrong. */
bool args_number(struct cli *cli, enum opt_id id, uint64_t min, uint64_t max, uint64_t *io_value);
bool args_id(const char *text, uint64_t *ret_id);
/* 30s, 15m, 8h, 7d, 2w in milliseconds; false after printing what is wrong. */
bool args_duration(struct cli *cli, enum opt_id id, uint64_t *io_ms);

/* ---- profile.c ---- */
/* False after printing why, or (not a fault, nothing printed) when there is none. */
bool profile_load(struct cli *cli);
bool profile_save(struct cli *cli);
bool profile_remove(struct cli *cli);
/* For confab_options: the profile's tokens, shared by all processes that use it. arg is the cli. */
enum confab_error profile_tokens_begin(void *arg, struct confab_tokens *io);
enum confab_error profile_tokens_end(void *arg, const struct confab_tokens *fresh);
bool profile_name_valid(const char *name);
/*
 * A state file of the profile, locked until file_close: `kind` is "outbox" or "tail". `wait`: until
 * another process lets it go, else that is a failure. Prints what is wrong.
 */
struct state_file {
    char path[4200];
    int lock;
    void *data; /* what was in it */
    size_t len;
};
bool state_open(struct cli *cli, const char *kind, bool wait, struct state_file *ret);
/* For confab_options.save with the state_file as arg. */
enum confab_error state_save(struct state_file *f, const void *data, size_t n);
void state_close(struct state_file *f);

/* ---- session.c ---- */
/* Makes cli->client for REST calls, with the profile's token when `token`. */
bool cli_open(struct cli *cli, bool token);
/*
 * The same for the administration of the server whose data directory this is (NULL: the usual one),
 * with its operator's key.
 */
bool cli_open_operator(struct cli *cli, const char *data);
/*
 * One JSON object a line: --json, or CONFAB_OUTPUT=json, or standard output is not a terminal;
 * --text and CONFAB_OUTPUT=text are for people.
 */
bool cli_json(const struct cli *cli);
void cli_options_fill(struct cli *cli, struct confab_options *o);
/* Of --transport or CONFAB_TRANSPORT; *ret stays without them. False: it is none, told. */
bool cli_transport(const struct cli *cli, enum confab_transport *ret);
/* Disconnects, and gives the goodbye a moment. */
void cli_client_end(struct confab_client *c);
/* Prints the failure of a call, returns the exit code for it. `what` is what was attempted. */
int cli_failed(struct cli *cli, const char *what);
int cli_exit_code(enum confab_error error);
const char *cli_server(struct cli *cli);
/* Which certificates to trust, for the options of libconfab; NULL or empty: no such wish. */
void cli_trust(struct cli *cli, const char **ret_ca, const char **ret_fingerprint);
/* Became true when SIGINT or SIGTERM came. */
bool cli_interrupted(void);
void cli_catch_signals(void);
/*
 * All conversations of the user, into cli->convs, and to on_each (may be NULL). Then stays for
 * linger_ms, or until the user joins one. Prints what is wrong, returns an exit code.
 */
int cli_snapshot(struct cli *cli, void (*on_each)(void *arg, const struct confab_conversation *c),
                 void *arg, unsigned linger_ms);

/* ---- names.c ---- */
/* Name of a user, asked for once; "user 123" when it cannot be had. */
const char *name_of(struct cli *cli, uint64_t user_id);
void name_set(struct cli *cli, uint64_t user_id, const char *text, size_t n);
/* What a conversation is called: its name, or the other user's. */
const char *conv_label(struct cli *cli, const char *conv);
struct conv_name *conv_note(struct cli *cli, const char *conv, enum confab_conv_kind kind,
                            struct confab_text name, uint64_t with);
void names_free(struct cli *cli);
/*
 * A conversation by its id, a user's name or id (the direct conversation), or a group's name. "@x"
 * is a user,
 * "#x" a group. Prints what is wrong; exit code.
 */
int resolve_conv(struct cli *cli, const char *text, char ret_conv[CONFAB_CONV_SIZE]);
/* A group by its id or name. */
int resolve_group(struct cli *cli, const char *text, char ret_conv[CONFAB_CONV_SIZE]);
int resolve_user(struct cli *cli, const char *text, uint64_t *ret_id);
bool is_conv_id(const char *text);

/* ---- print.c ---- */
void print_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Text of others, escaped; line feeds go on in the next line, indented by `indent`. */
void print_text(FILE *out, struct confab_text text, unsigned indent);
/* The same in one line. */
void print_word(FILE *out, const char *text);
void print_message(struct cli *cli, const struct confab_message *m, bool with_conv, bool ids);
void print_event(struct cli *cli, const struct confab_event *e, bool with_conv);
/* One JSON object in one line. */
void out_message(const struct confab_message *m);
void out_event(const struct confab_event *e);
void out_conversation(const struct confab_conversation *c);
void out_begin(const char *event);
void out_str(const char *key, const char *value);
void out_text(const char *key, struct confab_text value);
void out_num(const char *key, uint64_t value);
void out_id(const char *key, uint64_t id);
void out_time(const char *key, uint64_t ms); /* nothing for 0 */
void out_flag(const char *key, bool value);
void out_end(void);

void print_user(struct cli *cli, const struct confab_user *u); /* cmd_people.c */

/* ---- input.c ---- */
/*
 * Asks without echo on a terminal; see --password-stdin; or from CONFAB_PASSWORD and
 * CONFAB_NEW_PASSWORD. False after printing why.
 */
enum password_kind { PASSWORD_PRESENT = 0, PASSWORD_NEW };
bool read_password(struct cli *cli, enum password_kind kind, bool twice, char *out, size_t size);
/* Arguments from `from` on, joined by blanks; or standard input for none or "-". Free the result.
 */
char *read_content(struct cli *cli, int from, size_t *ret_n);

/* ---- the commands ---- */
int cmd_register(struct cli *cli);
int cmd_login(struct cli *cli);
int cmd_logout(struct cli *cli);
int cmd_account_delete(struct cli *cli);
int cmd_whoami(struct cli *cli);
int cmd_send(struct cli *cli);
int cmd_flush(struct cli *cli);
int cmd_tail(struct cli *cli);
int cmd_history(struct cli *cli);
int cmd_edit(struct cli *cli);
int cmd_delete(struct cli *cli);
int cmd_read(struct cli *cli);
int cmd_conversations(struct cli *cli);
int cmd_group_create(struct cli *cli);
int cmd_group_add(struct cli *cli);
int cmd_group_remove(struct cli *cli);
int cmd_group_leave(struct cli *cli);
int cmd_group_rename(struct cli *cli);
int cmd_group_role(struct cli *cli);
int cmd_members(struct cli *cli);
int cmd_mute(struct cli *cli);
int cmd_unmute(struct cli *cli);
int cmd_pin(struct cli *cli);
int cmd_draft(struct cli *cli);
int cmd_unpin(struct cli *cli);
int cmd_block(struct cli *cli);
int cmd_unblock(struct cli *cli);
int cmd_people(struct cli *cli);
int cmd_presence(struct cli *cli);
int cmd_status(struct cli *cli);
int cmd_privacy(struct cli *cli);
int cmd_me(struct cli *cli);
int cmd_password(struct cli *cli);
int cmd_devices(struct cli *cli);
int cmd_device_rename(struct cli *cli);
int cmd_device_remove(struct cli *cli);
int cmd_invites(struct cli *cli);
int cmd_invite_create(struct cli *cli);
int cmd_invite_remove(struct cli *cli);
int cmd_receipts(struct cli *cli);
int cmd_group_settings(struct cli *cli);
int cmd_admin_people(struct cli *cli);
int cmd_admin_suspend(struct cli *cli);
int cmd_admin_activate(struct cli *cli);
int cmd_admin_role(struct cli *cli);
int cmd_admin_password(struct cli *cli);
int cmd_admin_delete(struct cli *cli);
int cmd_admin_settings(struct cli *cli);
int cmd_admin_link(struct cli *cli);
int cmd_admin_audit(struct cli *cli);
int cmd_admin_provision(struct cli *cli);
int cmd_log(struct cli *cli);

#endif
