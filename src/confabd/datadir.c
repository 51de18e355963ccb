#include "confabd/datadir.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/os/fd.h"
#include "base/buf.h"
#include "proto/json.h"

#define DETAIL_MAX 512
#define SMALL_MAX  4096

enum confab_err datadir_choose(const char *wanted, char ret[PATH_MAX])
{
    int n;
    const char *xdg = getenv("XDG_DATA_HOME");
    const char *home = getenv("HOME");
    if (wanted[0] != '\0') {
        n = snprintf(ret, PATH_MAX, "%s", wanted);
    } else if (xdg && xdg[0] == '/') {
        n = snprintf(ret, PATH_MAX, "%s/confab", xdg);
    } else if (home && home[0] == '/') {
        n = snprintf(ret, PATH_MAX, "%s/.local/share/confab", home);
    } else {
        return CONFAB_NOT_FOUND;
    }
    return n > 0 && n < PATH_MAX - 64 ? CONFAB_OK : CONFAB_TOO_LARGE;
}

static enum confab_err os_error(int error, const char *what, const char *path, char *detail)
{
    (void)snprintf(detail, DETAIL_MAX, "%.300s: cannot %s: %s", path, what, strerror(error));
    if (error == EACCES || error == EPERM || error == EROFS) {
        return CONFAB_FORBIDDEN;
    }
    return error == ENOSPC ? CONFAB_NO_SPACE : CONFAB_IO;
}

static bool folder_sync(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    errno = error;
    return ok;
}

static bool parent_sync(const char *path)
{
    char parent[PATH_MAX];
    (void)snprintf(parent, sizeof(parent), "%s", path);
    char *slash = strrchr(parent, '/');
    if (!slash) {
        return folder_sync(".");
    }
    slash[slash == parent] = '\0';
    return folder_sync(parent);
}

/*
 * The name is durable, too: with a power failure right after, the directory and all that was
 * acknowledged in it might be gone. One that was there may not be durable yet, either, since a
 * server may have died between the two; but where its parent may not be read, another made it.
 */
static enum confab_err make_directory(const char *path, mode_t mode, char *detail)
{
    bool made = mkdir(path, mode) == 0;
    if (!made && errno != EEXIST) {
        return os_error(errno, "make the directory", path, detail);
    }
    if (!parent_sync(path) && (made || errno != EACCES)) {
        return os_error(errno, "sync the directory above", path, detail);
    }
    return CONFAB_OK;
}

/* Parents get the mode that the umask gives, the directory itself 0700. */
static enum confab_err make_directories(const char *path, char *detail)
{
    char part[PATH_MAX];
    struct stat st;
    enum confab_err err = CONFAB_OK;
    (void)snprintf(part, sizeof(part), "%s", path);
    for (char *slash = strchr(part + 1, '/'); slash && !err; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (stat(part, &st) != 0) {
            err = make_directory(part, 0777, detail);
        }
        *slash = '/';
    }
    err = err ? err : make_directory(part, 0700, detail);
    if (err) {
        return err;
    }
    if (stat(part, &st) != 0) {
        return os_error(errno, "look at", part, detail);
    }
    if (!S_ISDIR(st.st_mode)) {
        return os_error(ENOTDIR, "use", part, detail);
    }
    if ((st.st_mode & 0777) != 0700 && chmod(part, 0700) != 0) {
        return os_error(errno, "make private (mode 0700)", part, detail);
    }
    return CONFAB_OK;
}

/* Up to `size` - 1 bytes, zero terminated; false, with errno, when it cannot be read. */
static bool small_read(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t len = 0;
    bool ok = fd_read_all(fd, out, size - 1, &len);
    int error = errno;
    (void)close(fd);
    errno = error;
    out[len] = '\0';
    return ok;
}

/* Write, sync, rename, sync the directory: there in full or not at all. */
static bool small_replace(const struct datadir *d, const char *name, const char *text, size_t n)
{
    char path[PATH_MAX + 8];
    char tmp[PATH_MAX + 16];
    datadir_file(d, name, path);
    (void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
    /* It may be the file itself, by a rename of which a power failure left half. */
    (void)unlink(tmp);
    int fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        return false;
    }
    bool ok = fd_write_all(fd, text, n) && fdatasync(fd) == 0;
    int error = errno;
    (void)close(fd); /* the sync has said all that there is to know */
    errno = error;
    return ok && rename(tmp, path) == 0 && folder_sync(d->path);
}

static void owner_read(const struct datadir *d, struct datadir_owner *ret)
{
    char path[PATH_MAX];
    char text[SMALL_MAX];
    memset(ret, 0, sizeof(*ret));
    datadir_file(d, "lock", path);
    if (small_read(path, text, sizeof(text))) {
        ret->pid = strtol(text, NULL, 10);
    }
    datadir_file(d, "server.json", path);
    if (!small_read(path, text, sizeof(text))) {
        return;
    }
    struct json j;
    struct span key;
    uint64_t pid = 0;
    struct span url = {0};
    struct span version = {0};
    json_init(&j, span_str(text), NULL);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (span_is(key, "pid")) {
            json_u64(&j, &pid);
        } else if (span_is(key, "url")) {
            json_string(&j, &url);
        } else if (span_is(key, "version")) {
            json_string(&j, &version);
        } else {
            json_skip(&j);
        }
    }
    /* One of a killed server may have been left behind. */
    if (json_end(&j) && (long)pid == ret->pid) {
        (void)snprintf(ret->url, sizeof(ret->url), "%.*s", (int)url.n, (const char *)url.p);
        (void)snprintf(ret->version, sizeof(ret->version), "%.*s", (int)version.n,
                       (const char *)version.p);
    }
}

static enum confab_err lock_take(struct datadir *d, struct datadir_owner *ret_owner, char *detail)
{
    char path[PATH_MAX];
    datadir_file(d, "lock", path);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) {
        return os_error(errno, "open", path, detail);
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int error = errno;
        (void)close(fd);
        if (error != EWOULDBLOCK) {
            return os_error(error, "lock", path, detail);
        }
        owner_read(d, ret_owner);
        (void)snprintf(detail, DETAIL_MAX, "%.300s is in use by the server with pid %ld", d->path,
                       ret_owner->pid);
        return CONFAB_LOCKED;
    }
    char pid[32];
    int n = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    int cut;
    do {
        cut = ftruncate(fd, 0);
    } while (cut != 0 && errno == EINTR);
    if (cut != 0 || !fd_write_all(fd, pid, (size_t)n)) {
        enum confab_err err = os_error(errno, "write", path, detail);
        (void)close(fd);
        return err;
    }
    d->lock_fd = fd;
    return CONFAB_OK;
}

static enum confab_err format_check(const struct datadir *d, bool make, char *detail)
{
    char path[PATH_MAX];
    char text[64];
    datadir_file(d, "format", path);
    if (!small_read(path, text, sizeof(text))) {
        if (errno != ENOENT) {
            return os_error(errno, "read", path, detail);
        }
        if (!make) {
            (void)snprintf(detail, DETAIL_MAX, "%.300s holds no data of Confab", d->path);
            return CONFAB_NOT_FOUND;
        }
        int n = snprintf(text, sizeof(text), "confab %d\n", DATADIR_FORMAT);
        return small_replace(d, "format", text, (size_t)n) ? CONFAB_OK
                                                           : os_error(errno, "write", path, detail);
    }
    char *end = NULL;
    long format = strncmp(text, "confab ", 7) == 0 ? strtol(text + 7, &end, 10) : 0;
    if (format <= 0 || !end || *end != '\n') {
        (void)snprintf(detail, DETAIL_MAX, "%.300s is not a format file of Confab", path);
        return CONFAB_CORRUPT;
    }
    if (format > DATADIR_FORMAT) {
        (void)snprintf(
            detail, DETAIL_MAX,
            "%.300s was written by a newer Confab (format %ld, this one knows %d): use that "
            "version, or another --data",
            d->path, format, DATADIR_FORMAT);
        return CONFAB_VERSION;
    }
    return CONFAB_OK;
}

enum confab_err datadir_open(const char *path, struct datadir *ret, struct datadir_owner *ret_owner,
                             char *detail)
{
    struct datadir d = {.lock_fd = -1};
    (void)snprintf(d.path, sizeof(d.path), "%s", path);
    size_t n = strlen(d.path);
    while (n > 1 && d.path[n - 1] == '/') {
        d.path[--n] = '\0';
    }
    enum confab_err err = make_directories(d.path, detail);
    if (err == CONFAB_OK) {
        err = lock_take(&d, ret_owner, detail);
    }
    if (err == CONFAB_OK) {
        err = format_check(&d, true, detail);
        if (err != CONFAB_OK) {
            (void)close(d.lock_fd);
        }
    }
    if (err == CONFAB_OK) {
        *ret = d;
    }
    return err;
}

enum confab_err datadir_look(const char *path, struct datadir *ret, char *detail)
{
    struct datadir d = {.lock_fd = -1};
    (void)snprintf(d.path, sizeof(d.path), "%s", path);
    enum confab_err err = format_check(&d, false, detail);
    if (err == CONFAB_OK) {
        *ret = d;
    }
    return err;
}

enum confab_err datadir_served_by(const char *path, struct datadir_owner *ret)
{
    struct datadir d = {.lock_fd = -1};
    char lock[PATH_MAX];
    (void)snprintf(d.path, sizeof(d.path), "%s", path);
    datadir_file(&d, "lock", lock);
    int fd = open(lock, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return CONFAB_NOT_FOUND;
    }
    bool locked = flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    (void)close(fd);
    if (!locked) {
        return CONFAB_NOT_FOUND;
    }
    owner_read(&d, ret);
    return CONFAB_OK;
}

void datadir_close(struct datadir *d)
{
    if (d->lock_fd < 0) {
        return;
    }
    char path[PATH_MAX];
    datadir_file(d, "server.json", path);
    (void)unlink(path);
    /* The file stays: taking it away would let two servers lock two files of one name. */
    (void)close(d->lock_fd);
    d->lock_fd = -1;
}

void datadir_file(const struct datadir *d, const char *name, char ret[PATH_MAX])
{
    /* datadir_choose leaves room for the names used here. */
    (void)snprintf(ret, PATH_MAX, "%.*s/%s", PATH_MAX - 64, d->path, name);
}

enum confab_err datadir_subdir(const struct datadir *d, const char *name, char ret[PATH_MAX])
{
    datadir_file(d, name, ret);
    if ((mkdir(ret, 0700) == 0 || errno == EEXIST) && folder_sync(d->path)) {
        return CONFAB_OK;
    }
    return errno == ENOSPC ? CONFAB_NO_SPACE : CONFAB_IO;
}

enum confab_err datadir_announce(const struct datadir *d, const char *url, const char *fingerprint,
                                 const char *version)
{
    struct buf b;
    struct json_writer w;
    buf_init(&b);
    json_w_init(&w, &b);
    json_w_object(&w);
    json_w_ku64(&w, "pid", (uint64_t)getpid());
    json_w_kcstr(&w, "url", url);
    if (fingerprint[0] != '\0') {
        json_w_kcstr(&w, "fingerprint", fingerprint);
    }
    json_w_kcstr(&w, "version", version);
    json_w_object_end(&w);
    buf_put_str(&b, "\n");
    enum confab_err err = CONFAB_NOMEM;
    if (buf_ok(&b)) {
        err = small_replace(d, "server.json", (const char *)b.data, b.len) ? CONFAB_OK : CONFAB_IO;
    }
    buf_deinit(&b);
    return err;
}
