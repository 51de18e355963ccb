/*
 * The operator's key of a server on this machine: who may read its data directory may administer
 * it. Only the two files are looked at that the server writes for this: server.json, where it
 * listens, and operator.key.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli.h"

#define PATH_SIZE 4096

static bool data_dir(const char *data, char out[PATH_SIZE])
{
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (data) {
        n = snprintf(out, PATH_SIZE, "%s", data);
    } else if (xdg && xdg[0] == '/') {
        n = snprintf(out, PATH_SIZE, "%s/confab", xdg);
    } else if (home && home[0] == '/') {
        n = snprintf(out, PATH_SIZE, "%s/.local/share/confab", home);
    }
    return n > 0 && n < PATH_SIZE - 32;
}

/* A small file, terminated, without line ends at its end; false with errno. */
static bool read_small(const char *dir, const char *name, char *out, size_t size)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    ssize_t n = read(fd, out, size - 1);
    int saved = errno;
    close(fd);
    errno = saved;
    if (n < 0) {
        return false;
    }
    out[n] = '\0';
    out[strcspn(out, "\r\n")] = '\0';
    return true;
}

/* A member of server.json; the server writes none that has escapes. `key` with its quotes. */
static bool take_member(const char *json, const char *key, char *out, size_t size)
{
    const char *at = strstr(json, key);
    size_t n = at ? strcspn(at + strlen(key), "\"\\") : 0;
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(out, at + strlen(key), n);
    out[n] = '\0';
    return true;
}

/* The same port of this machine: the key is good from nowhere else. */
static void url_here(char *url, size_t size)
{
    char port[16] = "";
    char *host = strstr(url, "://");
    if (!host) {
        return;
    }
    host += 3;
    char *end = host[0] == '[' ? strchr(host, ']') : host;
    char *colon = end ? strchr(end, ':') : NULL;
    if (strncmp(host, "127.", 4) == 0 || strncmp(host, "[::1]", 5) == 0 ||
        strncmp(host, "localhost", 9) == 0) {
        return;
    }
    if (colon) {
        snprintf(port, sizeof(port), "%.*s", (int)strcspn(colon, "/"), colon);
    }
    snprintf(host, size - (size_t)(host - url), "127.0.0.1%s", port);
}

bool cli_open_operator(struct cli *cli, const char *data)
{
    char dir[PATH_SIZE];
    char text[2048];
    char key[256];
    if (!data_dir(data, dir)) {
        print_error("the data directory's name is too long, or there is no HOME");
        return false;
    }
    if (!read_small(dir, "operator.key", key, sizeof(key))) {
        if (!data && errno == ENOENT) {
            print_error("not signed in, and no server's data is in %s; `confab login USER` or "
                        "--data DIR",
                        dir);
        } else {
            print_error("%s/operator.key cannot be read: %s", dir, strerror(errno));
        }
        return false;
    }
    if (!read_small(dir, "server.json", text, sizeof(text)) ||
        !take_member(text, "\"url\":\"", cli->operator_url, sizeof(cli->operator_url))) {
        print_error("no server runs on %s", dir);
        explicit_bzero(key, sizeof(key));
        return false;
    }
    struct confab_options o;
    char fingerprint[128];
    url_here(cli->operator_url, sizeof(cli->operator_url));
    cli_options_fill(cli, &o);
    /* The certificate need not name this machine: the file says which one it is. */
    if (!o.ca_file && !o.fingerprint &&
        take_member(text, "\"fingerprint\":\"", fingerprint, sizeof(fingerprint))) {
        o.fingerprint = fingerprint;
    }
    o.server = cli->operator_url;
    o.token = key;
    o.refresh_token = NULL;
    enum confab_error error = confab_client_new(&o, &cli->client);
    explicit_bzero(key, sizeof(key));
    if (error) {
        print_error("%s: %s", cli->operator_url, confab_error_text(error));
    }
    return error == CONFAB_E_OK;
}
