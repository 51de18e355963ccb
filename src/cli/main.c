/*
 * confab: the command line client. One table says which commands there are, what they take and what
 * their help says; everything goes through the public headers of libconfab.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#ifndef CLI_VERSION
#define CLI_VERSION "0.1.0"
#endif

const struct opt cli_options[OPT_IDS_END] = {
    [OPT_HELP] = {"help", NULL, "show this help"},
    [OPT_SERVER] = {"server", "URL",
                    "the server (default: CONFAB_SERVER, the profile's, http://127.0.0.1:8008)"},
    [OPT_CA] =
        {"ca", "FILE",
         "trust the certificates of this file (CONFAB_CA, the profile's; else the system's)"},
    [OPT_COMPRESS] = {"compress", NULL, "compress on the wire, where the server agrees"},
    [OPT_FINGERPRINT] = {"fingerprint", "SHA256",
                         "trust the certificate with this fingerprint (CONFAB_FINGERPRINT, the "
                         "profile's)"},
    [OPT_PROFILE] = {"profile", "NAME",
                     "which account of several (default: CONFAB_PROFILE, \"default\")"},
    [OPT_JSON] = {"json", NULL, "one JSON object a line, also on a terminal"},
    [OPT_PASSWORD_STDIN] = {"password-stdin", NULL, "read the password from standard input"},
    [OPT_DISPLAY_NAME] = {"display-name", "NAME", "the name that others see"},
    [OPT_DEVICE] = {"device", "NAME", "what this device is called"},
    [OPT_NO_LOGIN] = {"no-login", NULL, "do not sign in as the new user"},
    [OPT_TIMEOUT] = {"timeout", "SECONDS", "how long to wait for the server (default: 30)"},
    [OPT_REPLY_TO] = {"reply-to", "ID", "id of the message that this one answers"},
    [OPT_LIMIT] = {"limit", "N", "how many messages, newest ones first chosen (default: 50)"},
    [OPT_BEFORE] = {"before", "SEQ", "only messages before this number"},
    [OPT_IDS] = {"ids", NULL, "show the messages' ids"},
    [OPT_COUNT] = {"count", "N", "end after N messages"},
    [OPT_CONTINUE] = {"continue", NULL, "begin where the last `tail --continue` ended"},
    [OPT_FOR_ME] = {"for-me", NULL, "hide it from oneself only"},
    [OPT_UNTIL] = {"for", "TIME", "for so long, such as 30m, 8h or 7d (default: for ever)"},
    [OPT_VERSION] = {"version", NULL, "show the version"},
    [OPT_TEXT] = {"text", NULL, "text for people, also into a pipe or a file"},
    [OPT_FORCE] = {"force", NULL, "forget it here, also when the server cannot be told"},
    [OPT_INVITE] = {"invite", "CODE", "the code, or the link, of an invite"},
    [OPT_EMAIL] = {"email", "ADDRESS", "the address for mail"},
    [OPT_ABOUT] = {"about", "TEXT", "what others read below the name"},
    [OPT_USES] = {"uses", "N", "how many people may use it"},
    [OPT_NOTE] = {"note", "TEXT", "what it is for"},
    [OPT_DATA] = {"data", "DIR", "administer the server on this machine that keeps its data there"},
    [OPT_FOLLOW] = {"follow", NULL, "go on, and print each change"},
    [OPT_TRANSPORT] = {"transport", "auto|ws|sse|poll",
                       "how to get events: WebSocket, stream or polls (CONFAB_TRANSPORT; default: "
                       "auto, whatever works)"},
    [OPT_STATUS] = {"status", "STATUS", "only those: active, suspended or deleted"},
};

#define TARGETS                                                                                    \
    "A conversation is named by the other user's name or id, by a group's name, or by its id (32 " \
    "hex "                                                                                         \
    "digits). Where a user and a group are called the same, the user is meant: @NAME is always a " \
    "user, "                                                                                       \
    "#NAME always a group."

#define OUTPUT (OPT_BIT(OPT_JSON) | OPT_BIT(OPT_TEXT))
#define ADMIN  (OPT_BIT(OPT_DATA))
#define OPERATOR                                                                                   \
    "For administrators; or, with --data and on the server's machine, for whoever may read its "   \
    "data directory: that needs no account. A user is named by name or id."

const struct command cli_commands[] = {
    {"register", "USER", "make an account, and sign in as it",
     "The password is asked for without echo. Without a terminal it is taken from CONFAB_PASSWORD, "
     "or else it is the first line of standard input.",
     OPT_BIT(OPT_PASSWORD_STDIN) | OPT_BIT(OPT_DISPLAY_NAME) | OPT_BIT(OPT_DEVICE) |
         OPT_BIT(OPT_NO_LOGIN) | OPT_BIT(OPT_INVITE) | OPT_BIT(OPT_EMAIL),
     1, 1, false, cmd_register},
    {"login", "USER", "sign in on this device",
     "Keeps the server and a token in the profile, readable by its owner only; the password is not "
     "kept. The password is read as by `confab register`.",
     OPT_BIT(OPT_PASSWORD_STDIN) | OPT_BIT(OPT_DEVICE), 1, 1, false, cmd_login},
    {"logout", "", "sign this device out; forget the profile and its unsent messages", NULL,
     OPT_BIT(OPT_FORCE), 0, 0, false, cmd_logout},
    {"account delete", "", "delete one's own account, for good",
     "Asks for the password, as `confab register` does. All devices are signed out, one leaves all "
     "conversations, and nobody else can have the name. What one has written stays with those who "
     "have it. The profile and its unsent messages are forgotten.",
     OPT_BIT(OPT_PASSWORD_STDIN), 0, 0, false, cmd_account_delete},
    {"me", "", "show one's account, or change it", NULL,
     OUTPUT | OPT_BIT(OPT_DISPLAY_NAME) | OPT_BIT(OPT_ABOUT) | OPT_BIT(OPT_EMAIL), 0, 0, false,
     cmd_me},
    {"presence", "USER...", "show who is online, away or offline",
     "With the time when they were last online, where that is told. Who may not be seen is "
     "offline.",
     OUTPUT | OPT_BIT(OPT_FOLLOW), 1, 500, false, cmd_presence},
    {"status", "online|away|offline", "say how one is, for a minute",
     "For scripts: connected programs, such as `confab tail`, say it by themselves.", 0, 1, 1,
     false, cmd_status},
    {"privacy", "[SETTING...]", "show what others see of one, or change it",
     "online=yes|no, last-seen=yes|no (when one was last online), read-receipts=yes|no (what one "
     "has read). Who hides something does not see it of others.",
     OUTPUT, 0, 3, false, cmd_privacy},
    {"password", "", "change one's password, and sign out all other devices",
     "Asks for the present one and twice for the new one; without a terminal they are "
     "CONFAB_PASSWORD and CONFAB_NEW_PASSWORD, or the first two lines of standard input.",
     OPT_BIT(OPT_PASSWORD_STDIN), 0, 0, false, cmd_password},
    {"devices", "", "list where one is signed in", NULL, OUTPUT, 0, 0, false, cmd_devices},
    {"device rename", "DEVICE NAME", "give a device a name", NULL, 0, 2, 2, false,
     cmd_device_rename},
    {"device remove", "DEVICE...", "sign devices out", NULL, 0, 1, -1, false, cmd_device_remove},
    {"people", "NAME", "find people whose names begin so", NULL, OUTPUT | OPT_BIT(OPT_LIMIT), 1, 1,
     false, cmd_people},
    {"invites", "", "list one's invites", NULL, OUTPUT, 0, 0, false, cmd_invites},
    {"invite create", "", "make an invite, and print its link", NULL,
     OPT_BIT(OPT_USES) | OPT_BIT(OPT_UNTIL) | OPT_BIT(OPT_NOTE) | OPT_BIT(OPT_JSON), 0, 0, false,
     cmd_invite_create},
    {"invite remove", "INVITE", "end an invite", NULL, 0, 1, 1, false, cmd_invite_remove},
    {"whoami", "", "show who is signed in, and where", NULL, OUTPUT, 0, 0, false, cmd_whoami},
    {"send", "TO [TEXT...]", "send a message, and wait until it is stored",
     "The arguments are joined by blanks; without TEXT, or with -, the message is standard input. "
     "Prints the message's id when the server has stored it durably. If it cannot be reached "
     "within "
     "the timeout, the message is kept in the profile's outbox, in order and with its own key, and "
     "the exit status is 4: the next `confab send` or `confab flush` sends it, once. " TARGETS,
     OPT_BIT(OPT_TIMEOUT) | OPT_BIT(OPT_REPLY_TO) | OPT_BIT(OPT_JSON) | OPT_BIT(OPT_COMPRESS) |
         OPT_BIT(OPT_TRANSPORT),
     1, -1, false, cmd_send},
    {"flush", "", "send what is in the outbox", NULL,
     OPT_BIT(OPT_TIMEOUT) | OPT_BIT(OPT_COMPRESS) | OPT_BIT(OPT_TRANSPORT), 0, 0, false, cmd_flush},
    {"tail", "[CONV]", "follow messages as they come",
     "Prints every new message of one conversation, or of all, until interrupted. When the "
     "connection is lost it comes back by itself, and prints what was missed in between: nothing "
     "twice, nothing left out. " TARGETS,
     OUTPUT | OPT_BIT(OPT_COUNT) | OPT_BIT(OPT_COMPRESS) | OPT_BIT(OPT_CONTINUE) |
         OPT_BIT(OPT_IDS) | OPT_BIT(OPT_TRANSPORT),
     0, 1, false, cmd_tail},
    {"history", "CONV", "show earlier messages, oldest first", TARGETS,
     OPT_BIT(OPT_LIMIT) | OPT_BIT(OPT_BEFORE) | OPT_BIT(OPT_IDS) | OUTPUT, 1, 1, false,
     cmd_history},
    {"conversations", "", "list one's conversations", NULL, OUTPUT, 0, 0, false, cmd_conversations},
    {"edit", "MESSAGE-ID [TEXT...]", "replace the text of one's own message",
     "Without TEXT, or with -, the new text is standard input.", 0, 1, -1, false, cmd_edit},
    {"delete", "MESSAGE-ID", "delete a message for everyone", NULL, OPT_BIT(OPT_FOR_ME), 1, 1,
     false, cmd_delete},
    {"receipts", "MESSAGE-ID", "show who has got and who has read a message", NULL, OUTPUT, 1, 1,
     false, cmd_receipts},
    {"read", "CONV", "mark a conversation as read", TARGETS, 0, 1, 1, false, cmd_read},
    {"group create", "NAME [USER...]", "make a group, and print its id", NULL, 0, 1, -1, false,
     cmd_group_create},
    {"group add", "GROUP USER...", "add members", NULL, 0, 2, -1, false, cmd_group_add},
    {"group remove", "GROUP USER...", "remove members", NULL, 0, 2, -1, false, cmd_group_remove},
    {"group leave", "GROUP", "leave a group", NULL, 0, 1, 1, false, cmd_group_leave},
    {"group rename", "GROUP NAME", "give a group another name", NULL, 0, 2, 2, false,
     cmd_group_rename},
    {"group role", "GROUP USER owner|admin|member", "set a member's role", NULL, 0, 3, 3, false,
     cmd_group_role},
    {"group settings", "GROUP SETTING...", "set what members of a group may do",
     "All three settings are set; those not named get their first value: history=all|joined (what "
     "new members see), send=members|admins, invite=members|admins.",
     0, 1, 4, false, cmd_group_settings},
    {"members", "GROUP", "list a group's members", NULL, OUTPUT, 1, 1, false, cmd_members},
    {"mute", "CONV", "no notifications from a conversation", TARGETS, OPT_BIT(OPT_UNTIL), 1, 1,
     false, cmd_mute},
    {"unmute", "CONV", "notifications again", NULL, 0, 1, 1, false, cmd_unmute},
    {"draft", "CONV [TEXT]", "show what was begun there, or keep TEXT (\"\": nothing)", NULL, 0, 1,
     2, false, cmd_draft},
    {"pin", "CONV", "keep a conversation on top", NULL, 0, 1, 1, false, cmd_pin},
    {"unpin", "CONV", "no longer on top", NULL, 0, 1, 1, false, cmd_unpin},
    {"block", "USER", "take no messages from a user", NULL, 0, 1, 1, false, cmd_block},
    {"unblock", "USER", "take messages again", NULL, 0, 1, 1, false, cmd_unblock},
    {"admin people", "[NAME]", "list accounts", OPERATOR,
     ADMIN | OUTPUT | OPT_BIT(OPT_STATUS) | OPT_BIT(OPT_LIMIT), 0, 1, false, cmd_admin_people},
    {"admin suspend", "USER", "let somebody no longer in; signs out everywhere at once", OPERATOR,
     ADMIN, 1, 1, false, cmd_admin_suspend},
    {"admin activate", "USER", "let somebody in again", OPERATOR, ADMIN, 1, 1, false,
     cmd_admin_activate},
    {"admin role", "USER admin|member", "make somebody administrator, or no longer", OPERATOR,
     ADMIN, 2, 2, false, cmd_admin_role},
    {"admin password", "USER", "set a new password, and print it; signs out everywhere",
     "Without --password-stdin one is made. " OPERATOR, ADMIN | OPT_BIT(OPT_PASSWORD_STDIN), 1, 1,
     false, cmd_admin_password},
    {"admin delete", "USER", "delete an account for ever; its name stays taken", OPERATOR, ADMIN, 1,
     1, false, cmd_admin_delete},
    {"admin settings", "[registration=MODE] [name=TEXT]", "show or change the server's settings",
     "registration is open, invite or closed. " OPERATOR, ADMIN | OUTPUT, 0, 2, false,
     cmd_admin_settings},
    {"admin link", "", "print a new one-time link that makes its account administrator", OPERATOR,
     ADMIN, 0, 0, false, cmd_admin_link},
    {"admin audit", "", "show what administrators did, newest first", OPERATOR,
     ADMIN | OUTPUT | OPT_BIT(OPT_LIMIT), 0, 0, false, cmd_admin_audit},
    {"admin provision", "[FILE]", "make many accounts",
     "Each line: name, tab, password or argon2id hash, and, if wanted, tab, display name, tab, "
     "admin or member. Prints names and ids of those made; ends with 1 when some were "
     "refused. " OPERATOR,
     ADMIN | OUTPUT, 0, 1, false, cmd_admin_provision},
    {"log", "inspect|replay ...", "look into a server's log, offline",
     "Runs the `confabd` beside this program with the same arguments; `confabd log --help` "
     "explains them.",
     0, 0, -1, true, cmd_log},
};
const size_t cli_ncommands = sizeof(cli_commands) / sizeof(cli_commands[0]);

int main(int argc, char **argv)
{
    struct cli cli;
    memset(&cli, 0, sizeof(cli));
    int code = args_parse(&cli, argc, argv);
    if (code != EXIT_DONE) {
        return code;
    }
    if (cli.opt[OPT_VERSION]) {
        printf("confab %s\n", CLI_VERSION);
    } else if (cli.opt[OPT_HELP] || !cli.command) {
        args_help(cli.command);
        code = cli.opt[OPT_HELP] ? EXIT_DONE : EXIT_USAGE;
    } else {
        const char *name = cli.opt[OPT_PROFILE] ? cli.opt[OPT_PROFILE] : getenv("CONFAB_PROFILE");
        cli.profile_name = name && name[0] ? name : "default";
        if (!profile_name_valid(cli.profile_name)) {
            print_error("a profile's name is made of letters, digits, - and _");
            return EXIT_USAGE;
        }
        code = cli.command->run(&cli);
    }
    confab_client_free(cli.client);
    names_free(&cli);
    /* What was printed counts only when it got out. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        print_error("standard output could not be written");
        code = code == EXIT_DONE ? EXIT_FAILED : code;
    }
    return code;
}
