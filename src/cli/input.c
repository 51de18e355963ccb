/* Passwords and message texts from the terminal, the environment and standard input. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "cli.h"

#define CONTENT_MAX (1024UL * 1024UL)

/* One line, without its end. Reads no further than that: the rest may be for somebody else. */
static bool read_line(int fd, char *out, size_t size)
{
    size_t n = 0;
    for (;;) {
        char ch;
        ssize_t r = read(fd, &ch, 1);
        if (r < 0 && errno == EINTR && !cli_interrupted()) {
            continue;
        }
        if (r < 0 || (r == 0 && n == 0)) {
            return false;
        }
        if (r == 0 || ch == '\n') {
            break;
        }
        if (n + 1 >= size || ch == '\0') {
            return false;
        }
        out[n++] = ch;
    }
    if (n > 0 && out[n - 1] == '\r') {
        n--;
    }
    out[n] = '\0';
    return true;
}

static bool ask(int tty, const char *prompt, char *out, size_t size)
{
    struct termios before;
    struct termios quiet;
    if (tcgetattr(tty, &before) != 0) {
        return false;
    }
    /* An interrupt ends the reading, so that the echo comes back. */
    cli_catch_signals();
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    quiet.c_lflag |= ECHONL;
    if (tcsetattr(tty, TCSAFLUSH, &quiet) != 0) {
        return false;
    }
    bool ok = write(tty, prompt, strlen(prompt)) >= 0 && read_line(tty, out, size);
    tcsetattr(tty, TCSAFLUSH, &before);
    return ok;
}

static bool ask_on_terminal(const char *prompt, bool twice, char *out, size_t size)
{
    char again[1024];
    int tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (tty < 0) {
        print_error("there is no terminal to ask for the password; see --password-stdin");
        return false;
    }
    bool ok = ask(tty, prompt, out, size);
    if (ok && twice) {
        ok = ask(tty, "Again: ", again, sizeof(again));
        if (ok && strcmp(out, again) != 0) {
            print_error("these are two different passwords");
            close(tty);
            return false;
        }
    }
    close(tty);
    if (!ok) {
        print_error("no password was entered");
    }
    return ok;
}

bool read_password(struct cli *cli, enum password_kind kind, bool twice, char *out, size_t size)
{
    bool fresh = kind == PASSWORD_NEW;
    const char *env = getenv(fresh ? "CONFAB_NEW_PASSWORD" : "CONFAB_PASSWORD");
    bool from_stdin = cli->opt[OPT_PASSWORD_STDIN] != NULL;
    if (!from_stdin && env && env[0]) {
        if (strlen(env) >= size) {
            print_error("the password is too long");
            return false;
        }
        memcpy(out, env, strlen(env) + 1);
        return true;
    }
    if (!from_stdin && isatty(STDIN_FILENO)) {
        return ask_on_terminal(fresh ? "New password: " : "Password: ", twice, out, size);
    }
    if (!read_line(STDIN_FILENO, out, size)) {
        print_error("no password on standard input");
        return false;
    }
    return true;
}

static char *read_stdin(size_t *ret_n)
{
    char *text = malloc(CONTENT_MAX + 1);
    size_t n = 0;
    while (text && n <= CONTENT_MAX) {
        ssize_t r = read(STDIN_FILENO, text + n, CONTENT_MAX + 1 - n);
        if (r < 0 && errno == EINTR && !cli_interrupted()) {
            continue;
        }
        if (r < 0) {
            free(text);
            return NULL;
        }
        if (r == 0) {
            break;
        }
        n += (size_t)r;
    }
    /* One line feed at the end is the file's, not the message's. */
    if (text && n > 0 && text[n - 1] == '\n') {
        n--;
    }
    *ret_n = n;
    return text;
}

char *read_content(struct cli *cli, int from, size_t *ret_n)
{
    char *text = NULL;
    if (cli->argc <= from || (cli->argc == from + 1 && strcmp(cli->argv[from], "-") == 0)) {
        text = read_stdin(ret_n);
    } else {
        size_t n = 0;
        for (int i = from; i < cli->argc; i++) {
            n += strlen(cli->argv[i]) + 1;
        }
        text = malloc(n);
        char *at = text;
        for (int i = from; text && i < cli->argc; i++) {
            size_t len = strlen(cli->argv[i]);
            memcpy(at, cli->argv[i], len);
            at += len;
            *at++ = ' ';
        }
        *ret_n = n - 1;
    }
    if (!text) {
        print_error("the text could not be read");
    }
    return text;
}
