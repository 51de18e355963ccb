/*
 * Profiles and state files, all below $XDG_CONFIG_HOME/confab (or ~/.config/confab), mode 0700 and
 * 0600:
 *
 *     NAME.profile   server, username, user_id, tokens and what is trusted, one `key value` per
 * line NAME.outbox    unsent messages: a state of libconfab, rewritten whole NAME.tail positions of
 * `tail --continue` NAME.*.lock    held by the process that uses the file beside it
 *
 * Every write goes to a new file that then takes the old one's place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

#define FILE_MAX (64UL * 1024UL * 1024UL)

bool profile_name_valid(const char *name)
{
    size_t n = strlen(name);
    return n > 0 && n <= 64 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

static bool config_dir(char *out, size_t size)
{
    const char *xdg = getenv("XDG_CONFIG_HOME");
    const char *home = getenv("HOME");
    int n = -1;
    if (xdg && xdg[0] == '/') {
        n = snprintf(out, size, "%s/confab", xdg);
    } else if (home && home[0] == '/') {
        n = snprintf(out, size, "%s/.config/confab", home);
    } else {
        print_error("neither XDG_CONFIG_HOME nor HOME is set");
        return false;
    }
    if (n < 0 || (size_t)n >= size) {
        print_error("the configuration directory's name is too long");
        return false;
    }
    return true;
}

/* The directory and those above it. */
static bool make_dir(char *path)
{
    for (char *at = path + 1;; at++) {
        if (*at != '/' && *at != '\0') {
            continue;
        }
        char keep = *at;
        *at = '\0';
        bool ok = mkdir(path, 0700) == 0 || errno == EEXIST;
        if (!ok) {
            print_error("%s cannot be made: %s", path, strerror(errno));
        }
        *at = keep;
        if (!ok || keep == '\0') {
            return ok;
        }
    }
}

static bool file_path(struct cli *cli, const char *kind, bool make, char *out, size_t size)
{
    char dir[4000];
    if (!config_dir(dir, sizeof(dir)) || (make && !make_dir(dir))) {
        return false;
    }
    int n = snprintf(out, size, "%s/%s.%s", dir, cli->profile_name, kind);
    return n > 0 && (size_t)n < size;
}

/* All of a file, zero terminated; an absent one is NULL with errno ENOENT. */
static char *read_all(const char *path, size_t *ret_n)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0) {
        return NULL;
    }
    char *data = NULL;
    size_t n = 0;
    if (fstat(fd, &st) == 0 && st.st_size >= 0 && (size_t)st.st_size <= FILE_MAX) {
        data = malloc((size_t)st.st_size + 1);
        while (data && n < (size_t)st.st_size) {
            ssize_t r = read(fd, data + n, (size_t)st.st_size - n);
            if (r <= 0 && !(r < 0 && errno == EINTR)) {
                break;
            }
            n += r > 0 ? (size_t)r : 0;
        }
    }
    close(fd);
    if (data) {
        data[n] = '\0';
        *ret_n = n;
    } else {
        errno = EFBIG;
    }
    return data;
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t r = write(fd, p, n);
        if (r < 0 && errno == EINTR) {
            continue;
        }
        if (r <= 0) {
            return false;
        }
        p += r;
        n -= (size_t)r;
    }
    return true;
}

/* Complete on disk under its name, or unchanged. */
static bool replace(const char *path, const void *data, size_t n)
{
    char fresh[4300];
    int len = snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (len < 0 || (size_t)len >= sizeof(fresh)) {
        return false;
    }
    /* It may be the file itself, by a rename of which a power failure left half. */
    (void)unlink(fresh);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = fchmod(fd, 0600) == 0 && write_all(fd, data, n) && fsync(fd) == 0;
    ok = close(fd) == 0 && ok;
    ok = ok && rename(fresh, path) == 0;
    if (!ok) {
        int saved = errno;
        unlink(fresh);
        errno = saved;
    }
    return ok;
}

/* ---- Profiles ---- */

static bool take(const char *line, const char *key, char *out, size_t size)
{
    size_t k = strlen(key);
    size_t n = strcspn(line, "\n");
    if (strncmp(line, key, k) != 0 || line[k] != ' ') {
        return true;
    }
    if (n - k - 1 >= size) {
        return false;
    }
    memcpy(out, line + k + 1, n - k - 1);
    out[n - k - 1] = '\0';
    return true;
}

/* Reads the file; as profile_load. */
static bool read_profile(struct cli *cli)
{
    char path[4200];
    char id[32] = "";
    char expires[32] = "";
    size_t n;
    struct profile *p = &cli->profile;
    if (!file_path(cli, "profile", false, path, sizeof(path))) {
        return false;
    }
    char *data = read_all(path, &n);
    if (!data) {
        if (errno != ENOENT) {
            print_error("%s cannot be read: %s", path, strerror(errno));
        }
        return false;
    }
    bool ok = true;
    for (char *line = data; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n' ? 1 : 0;
        ok = ok && take(line, "server", p->server, sizeof(p->server)) &&
             take(line, "ca", p->ca, sizeof(p->ca)) &&
             take(line, "fingerprint", p->fingerprint, sizeof(p->fingerprint)) &&
             take(line, "username", p->username, sizeof(p->username)) &&
             take(line, "user_id", id, sizeof(id)) &&
             take(line, "token", p->tokens.token, sizeof(p->tokens.token)) &&
             take(line, "token_expires", expires, sizeof(expires)) &&
             take(line, "refresh_token", p->tokens.refresh_token, sizeof(p->tokens.refresh_token));
    }
    free(data);
    if (!args_id(expires, &p->tokens.expires_at_ms)) {
        p->tokens.expires_at_ms = 0;
    }
    ok = ok && p->server[0] && p->username[0] && p->tokens.token[0] && args_id(id, &p->user_id);
    if (!ok) {
        memset(p, 0, sizeof(*p));
        print_error("%s is damaged; `confab login` makes a new one", path);
    }
    cli->signed_in = ok;
    return ok;
}

bool profile_load(struct cli *cli)
{
    return cli->signed_in || read_profile(cli);
}

bool profile_save(struct cli *cli)
{
    char path[4200];
    char text[8192];
    const struct profile *p = &cli->profile;
    if (strpbrk(p->server, "\n") || strpbrk(p->ca, "\n") || strpbrk(p->fingerprint, "\n") ||
        strpbrk(p->username, "\n") || strpbrk(p->tokens.token, "\n") ||
        strpbrk(p->tokens.refresh_token, "\n") ||
        !file_path(cli, "profile", true, path, sizeof(path))) {
        return false;
    }
    int n = snprintf(text, sizeof(text),
                     "server %s\nusername %s\nuser_id %llu\ntoken %s\ntoken_expires %llu\n"
                     "refresh_token %s\n%s%s%s%s%s%s",
                     p->server, p->username, (unsigned long long)p->user_id, p->tokens.token,
                     (unsigned long long)p->tokens.expires_at_ms, p->tokens.refresh_token,
                     p->ca[0] ? "ca " : "", p->ca, p->ca[0] ? "\n" : "",
                     p->fingerprint[0] ? "fingerprint " : "", p->fingerprint,
                     p->fingerprint[0] ? "\n" : "");
    if (n < 0 || (size_t)n >= sizeof(text) || !replace(path, text, (size_t)n)) {
        print_error("%s cannot be written: %s", path, strerror(errno));
        return false;
    }
    cli->signed_in = true;
    return true;
}

bool profile_remove(struct cli *cli)
{
    static const char *const kinds[] = {"outbox", "tail", "profile"};
    char path[4200];
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!file_path(cli, kinds[i], false, path, sizeof(path))) {
            return false;
        }
        if (unlink(path) != 0 && errno != ENOENT) {
            print_error("%s cannot be removed: %s", path, strerror(errno));
            return false;
        }
    }
    return true;
}

/* ---- Tokens ---- */

enum confab_error profile_tokens_begin(void *arg, struct confab_tokens *io)
{
    struct cli *cli = arg;
    char path[4200];
    if (!file_path(cli, "tokens.lock", true, path, sizeof(path))) {
        return CONFAB_E_SAVE;
    }
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        print_error("%s cannot be opened: %s", path, strerror(errno));
        return CONFAB_E_SAVE;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        close(fd);
        return CONFAB_E_BUSY;
    }
    /* Signed out meanwhile, or somebody else is: what is in memory is of no use either. */
    uint64_t user_id = cli->profile.user_id;
    if (!read_profile(cli) || cli->profile.user_id != user_id) {
        close(fd);
        return CONFAB_E_UNAUTHENTICATED;
    }
    cli->tokens_lock = fd;
    *io = cli->profile.tokens;
    return CONFAB_E_OK;
}

enum confab_error profile_tokens_end(void *arg, const struct confab_tokens *fresh)
{
    struct cli *cli = arg;
    bool ok = true;
    if (fresh) {
        cli->profile.tokens = *fresh;
        ok = profile_save(cli);
    }
    close(cli->tokens_lock);
    cli->tokens_lock = 0;
    return ok ? CONFAB_E_OK : CONFAB_E_SAVE;
}

/* ---- State ---- */

bool state_open(struct cli *cli, const char *kind, bool wait, struct state_file *ret)
{
    char lock[4300];
    memset(ret, 0, sizeof(*ret));
    ret->lock = -1;
    if (!file_path(cli, kind, true, ret->path, sizeof(ret->path))) {
        return false;
    }
    snprintf(lock, sizeof(lock), "%s.lock", ret->path);
    ret->lock = open(lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (ret->lock < 0) {
        print_error("%s cannot be opened: %s", lock, strerror(errno));
        return false;
    }
    int r;
    do {
        r = flock(ret->lock, LOCK_EX | (wait ? 0 : LOCK_NB));
    } while (r != 0 && errno == EINTR && !cli_interrupted());
    if (r != 0) {
        print_error(errno == EWOULDBLOCK ? "another process uses %s" : "%s cannot be locked",
                    ret->path);
        state_close(ret);
        return false;
    }
    ret->data = read_all(ret->path, &ret->len);
    if (!ret->data && errno != ENOENT) {
        print_error("%s cannot be read: %s", ret->path, strerror(errno));
        state_close(ret);
        return false;
    }
    return true;
}

enum confab_error state_save(struct state_file *f, const void *data, size_t n)
{
    return replace(f->path, data, n) ? CONFAB_E_OK : CONFAB_E_SAVE;
}

void state_close(struct state_file *f)
{
    if (f->lock >= 0) {
        close(f->lock);
    }
    free(f->data);
    f->data = NULL;
    f->lock = -1;
}
