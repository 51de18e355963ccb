#include "confabd/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "adapters/os/fd.h"
#include "base/random.h"

#define DETAIL_MAX   512
#define OPERATOR_RAW 32U

static enum confab_err failed(char *detail, enum confab_err err, const char *path, const char *what)
{
    (void)snprintf(detail, DETAIL_MAX, "%.300s: %s", path, what);
    return err;
}

/* CONFAB_NOT_FOUND: there is none. */
static enum confab_err key_read(const char *path, uint8_t ret[JWT_KEY_BYTES], char *detail)
{
    uint8_t bytes[JWT_KEY_BYTES + 1];
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOENT ? CONFAB_NOT_FOUND
                               : failed(detail, CONFAB_IO, path, strerror(errno));
    }
    enum confab_err err = CONFAB_OK;
    size_t n = 0;
    if (!fd_read_all(fd, bytes, sizeof(bytes), &n) || fstat(fd, &st) != 0) {
        err = failed(detail, CONFAB_IO, path, strerror(errno));
    } else if ((st.st_mode & 077) != 0) {
        err = failed(detail, CONFAB_FORBIDDEN, path,
                     "others may read this key; change it, or chmod 600 if nobody has");
    } else if (n != JWT_KEY_BYTES) {
        err = failed(detail, CONFAB_CORRUPT, path,
                     "not 32 bytes; without it a new one is made, and all sign in by their refresh "
                     "tokens");
    } else {
        memcpy(ret, bytes, JWT_KEY_BYTES);
    }
    sodium_memzero(bytes, sizeof(bytes));
    (void)close(fd);
    return err;
}

/* Whole or not at all, and durable. */
static enum confab_err file_write(const char *path, const void *p, size_t n, char *detail)
{
    char temporary[PATH_MAX];
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary)) {
        return failed(detail, CONFAB_TOO_LARGE, path, "the path is too long");
    }
    (void)unlink(temporary);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    bool ok = fd >= 0 && fd_write_all(fd, p, n) && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (ok && rename(temporary, path) != 0) {
        ok = false;
        error = errno;
    }
    return ok ? CONFAB_OK : failed(detail, CONFAB_IO, path, strerror(error));
}

static enum confab_err folder_sync(const char *path, char *detail)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    return ok ? CONFAB_OK : failed(detail, CONFAB_IO, path, strerror(error));
}

static enum confab_err token_keys(const char *folder, struct jwt_keys *ret, char *detail)
{
    char path[PATH_MAX + 32];
    (void)snprintf(path, sizeof(path), "%s/token.key", folder);
    enum confab_err err = key_read(path, ret->key[0], detail);
    if (err == CONFAB_NOT_FOUND) {
        random_fill(random_system(), ret->key[0], JWT_KEY_BYTES);
        err = file_write(path, ret->key[0], JWT_KEY_BYTES, detail);
        if (err == CONFAB_OK) {
            err = folder_sync(folder, detail);
        }
    }
    if (err != CONFAB_OK) {
        return err;
    }
    ret->n = 1;
    (void)snprintf(path, sizeof(path), "%s/token.key.old", folder);
    err = key_read(path, ret->key[1], detail);
    if (err == CONFAB_OK) {
        ret->n = 2;
    }
    return err == CONFAB_NOT_FOUND ? CONFAB_OK : err;
}

enum confab_err secrets_load(const struct datadir *dir, struct auth_secrets *ret, char *detail)
{
    char path[PATH_MAX];
    struct auth_secrets made = {0};
    uint8_t raw[OPERATOR_RAW];
    enum confab_err err = datadir_subdir(dir, "keys", path);
    if (err != CONFAB_OK) {
        return failed(detail, err, "keys", err_text(err));
    }
    err = token_keys(path, &made.keys, detail);
    if (err != CONFAB_OK) {
        return err;
    }
    random_fill(random_system(), raw, sizeof(raw));
    memcpy(made.operator_key, "cfo_", 4);
    (void)sodium_bin2base64(made.operator_key + 4, sizeof(made.operator_key) - 4, raw, sizeof(raw),
                            sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    datadir_file(dir, "operator.key", path);
    err = file_write(path, made.operator_key, OPERATOR_KEY_LEN, detail);
    if (err == CONFAB_OK) {
        *ret = made;
    }
    sodium_memzero(raw, sizeof(raw));
    sodium_memzero(&made, sizeof(made));
    return err;
}
