#include "adapters/acme/acme_files.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/diag.h"

enum confab_err acme_file_get(const char *path, struct buf *ret)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return errno == ENOENT ? CONFAB_NOT_FOUND : CONFAB_IO;
    }
    uint8_t block[4096];
    size_t n;
    enum confab_err err = CONFAB_OK;
    while ((n = fread(block, 1, sizeof(block), f)) > 0 && err == CONFAB_OK) {
        buf_put(ret, block, n);
        err = ret->len > ACME_FILE_MAX ? CONFAB_TOO_LARGE : CONFAB_OK;
    }
    if (err == CONFAB_OK && ferror(f)) {
        err = CONFAB_IO;
    }
    (void)fclose(f);
    return err == CONFAB_OK && !buf_ok(ret) ? CONFAB_NOMEM : err;
}

static bool folder_sync(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    (void)snprintf(folder, sizeof(folder), "%.*s", slash ? (int)(slash - path) : 1,
                   slash ? path : ".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok;
}

static bool write_all(int fd, struct span data)
{
    while (data.n > 0) {
        ssize_t n = write(fd, data.p, data.n);
        if (n > 0) {
            data = span_of(data.p + n, data.n - (size_t)n);
        } else if (n == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

enum confab_err acme_file_put(const char *path, struct span data)
{
    char fresh[PATH_MAX];
    int n = snprintf(fresh, sizeof(fresh), "%s.new", path);
    int fd = -1;
    bool ok = n > 0 && (size_t)n < sizeof(fresh);
    if (ok) {
        (void)unlink(fresh);
        fd = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        ok = fd >= 0 && write_all(fd, data) && fsync(fd) == 0;
    }
    if (fd >= 0) {
        int error = errno;
        (void)close(fd); /* the sync has said all that there is to know */
        errno = error;
    }
    ok = ok && rename(fresh, path) == 0 && folder_sync(path);
    if (!ok) {
        diag_error(DIAG_NET, "a file cannot be written | path=\"%s\" errno=\"%s\"", path,
                   strerror(errno));
        (void)unlink(fresh);
        return CONFAB_IO;
    }
    return CONFAB_OK;
}

void acme_file_remove(const char *path)
{
    if (unlink(path) != 0 && errno != ENOENT) {
        diag_warn(DIAG_NET, "a file cannot be removed | path=\"%s\" errno=\"%s\"", path,
                  strerror(errno));
    }
}
