#include "confabd/greet.h"

#include <qrencode.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLI_DEFAULT_URL "http://127.0.0.1:8008/"
#define QR_BORDER       2

/* Where the CLI is, as a person would type it. */
static void cli_path(const char *program, char *out, size_t size)
{
    const char *slash = strrchr(program, '/');
    int folder = slash ? (int)(slash + 1 - program) : 0;
    (void)snprintf(out, size, "%.*sconfab", folder, program);
    if (!slash || access(out, X_OK) != 0) {
        (void)snprintf(out, size, "confab");
    }
}

static bool is_dark(const QRcode *qr, int x, int y)
{
    return x >= 0 && y >= 0 && x < qr->width && y < qr->width && (qr->data[y * qr->width + x] & 1);
}

/*
 * Two rows of modules in one line of half blocks. Light modules are drawn, dark ones left out: on a
 * dark terminal that is right, and readers take the inverse of it on a light one.
 */
static void print_qr(const char *text)
{
    static const char *const blocks[] = {" ", "\xe2\x96\x84", "\xe2\x96\x80", "\xe2\x96\x88"};
    QRcode *qr = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_L);
    if (!qr) {
        return;
    }
    (void)putchar('\n');
    for (int y = -QR_BORDER; y < qr->width + QR_BORDER; y += 2) {
        (void)fputs("    ", stdout);
        for (int x = -QR_BORDER; x < qr->width + QR_BORDER; x++) {
            bool below_edge = y + 1 >= qr->width + QR_BORDER;
            int top = !is_dark(qr, x, y);
            int bottom = !below_edge && !is_dark(qr, x, y + 1);
            (void)fputs(blocks[top * 2 + bottom], stdout);
        }
        (void)putchar('\n');
    }
    QRcode_free(qr);
}

/* As the person who has come over ssh calls this machine, or else its name. */
static void machine_name(char *out, size_t size)
{
    const char *ssh = getenv("SSH_CONNECTION"); /* client, port, server, port */
    const char *user = getenv("USER");
    char host[100] = "this-machine";
    for (int field = 0; ssh && field < 2; field++) {
        ssh = strchr(ssh, ' ');
        ssh = ssh ? ssh + 1 : NULL;
    }
    if (ssh) {
        (void)snprintf(host, sizeof(host), "%.*s", (int)strcspn(ssh, " "), ssh);
    } else {
        (void)gethostname(host, sizeof(host) - 1);
    }
    (void)snprintf(out, size, "%s%s%s", user ? user : "", user ? "@" : "", host);
}

/* Nobody sits at a browser on this machine. */
static bool is_headless(void)
{
    bool screen = getenv("DISPLAY") || getenv("WAYLAND_DISPLAY");
    return !screen || getenv("SSH_CONNECTION");
}

static void print_reach(const struct greeting *g)
{
    const struct front *f = g->front;
    bool local = front_is_loopback(f->listen);
    if (local && !f->tls) {
        (void)printf("From another device: stop it, and start it with --lan.\n");
    }
    if (local && is_headless()) {
        char here[128];
        machine_name(here, sizeof(here));
        (void)printf("No browser on this machine: on the one that has it, run\n"
                     "    ssh -L %u:%s:%u %s\n"
                     "and open the same link there.\n",
                     g->port, f->listen, g->port, here);
    }
    for (size_t i = 1; i < f->reach.n; i++) {
        char url[FRONT_URL_MAX];
        front_url_of(f, f->reach.at[i], g->port, url, sizeof(url));
        (void)printf("%s%s\n", i == 1 ? "Also at: " : "         ", url);
    }
}

static void print_trust(const struct greeting *g)
{
    const struct front *f = g->front;
    if (f->waiting) {
        (void)printf("\nThe certificate for %s is being asked for. Until it is there browsers "
                     "warn;\nthe log says when it is, or why not.\n",
                     f->domains.at[0]);
    }
    if (!f->tls || !f->own_cert) {
        return;
    }
    (void)printf("\nThe certificate is this server's own%s. Its SHA-256 fingerprint:\n    %s\n"
                 "A browser warns once: compare the fingerprint with the one that it shows, then "
                 "go on.\nFile to import instead: %s\n",
                 f->made ? ", made just now" : "", f->cert.fingerprint, f->cert_path);
}

/* By invite where others than this machine can come, see the option registration. */
static void print_cli(const struct greeting *g, const char *url, bool reachable)
{
    char cli[PATH_MAX];
    char server[512] = "";
    cli_path(g->program, cli, sizeof(cli));
    if (g->front->own_cert) {
        (void)snprintf(server, sizeof(server), " --server %s --fingerprint %s", url,
                       g->front->cert.fingerprint);
    } else if (strcmp(url, CLI_DEFAULT_URL) != 0) {
        (void)snprintf(server, sizeof(server), " --server %s", url);
    }
    if (reachable) {
        (void)printf("\nLet others in: \"Invite people\" in the page's menu, or in a terminal\n"
                     "    %s register alice --invite LINK --profile alice%s\n"
                     "    %s invite create --profile alice\n",
                     cli, server, cli);
        return;
    }
    (void)printf("\n"
                 "In a terminal, a password is asked for:\n"
                 "    %s register alice --profile alice%s\n"
                 "    %s register bob --profile bob%s\n"
                 "    %s send bob \"Hello, Bob\" --profile alice\n"
                 "    %s history alice --profile bob\n",
                 cli, server, cli, server, cli, cli);
}

void greet(const struct greeting *g)
{
    char url[FRONT_URL_MAX];
    bool reachable = g->public_url[0] != '\0' || g->front->reach.n > 0;
    if (g->public_url[0] != '\0') {
        (void)snprintf(url, sizeof(url), "%s", g->public_url);
    } else {
        front_url(g->front, g->port, url, sizeof(url));
    }
    (void)printf("Confab %s serves at %s (started in %.0f ms)\nData: %s\n\n", g->version, url,
                 g->start_ms, g->data);
    if (g->admin_link) {
        (void)printf("Open this link to make the administrator's account; it works once, for 24 "
                     "hours:\n    %s\n",
                     g->admin_link);
    } else {
        (void)printf("Open %s in a browser.\n", url);
    }
    print_reach(g);
    print_trust(g);
    if (reachable) {
        print_qr(g->admin_link ? g->admin_link : url);
    }
    print_cli(g, url, reachable);
    (void)printf("\nCtrl-C stops it.\n");
    (void)fflush(stdout);
}
