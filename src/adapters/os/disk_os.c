#include "disk_os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/check.h"
#include "base/diag.h"

struct os_disk {
    struct disk base;
    int fd;
    char *path;
};

struct os_file {
    struct disk_file base;
    int fd;
    char name[]; /* for the log lines */
};

static const struct disk_ops OPS;

static struct os_disk *disk_of(struct disk *d)
{
    CHECK(d->ops == &OPS);
    return CONTAINER_OF(d, struct os_disk, base);
}

static struct os_file *file_of(struct disk_file *f)
{
    CHECK(f->disk->ops == &OPS);
    return CONTAINER_OF(f, struct os_file, base);
}

static enum confab_err translate(int e)
{
    switch (e) {
    case ENOENT:
        return CONFAB_NOT_FOUND;
    case EEXIST:
        return CONFAB_EXISTS;
    case ENOSPC:
    case EDQUOT:
        return CONFAB_NO_SPACE;
    case ENOMEM:
        return CONFAB_NOMEM;
    default:
        return CONFAB_IO;
    }
}

static enum confab_err failed(const struct os_disk *d, const char *call, const char *name, int e)
{
    enum confab_err err = translate(e);
    if (err != CONFAB_NOT_FOUND && err != CONFAB_EXISTS) {
        diag_error(DIAG_LOG, "a disk call failed | call=%s path=\"%s/%s\" errno=%d err=\"%s\"",
                   call, d->path, name, e, strerrordesc_np(e) ? strerrordesc_np(e) : "unknown");
    }
    return err;
}

static enum confab_err os_open(struct disk *disk, const char *name, int flags,
                               struct disk_file **ret)
{
    struct os_disk *d = disk_of(disk);
    CHECK(!strchr(name, '/'));
    int how = O_CLOEXEC | O_NOFOLLOW;
    how |= flags & DISK_WRITE ? (flags & DISK_READ ? O_RDWR : O_WRONLY) : O_RDONLY;
    how |= flags & DISK_CREATE ? O_CREAT : 0;
    how |= flags & DISK_EXCL ? O_EXCL : 0;
    size_t n = strlen(name) + 1;
    struct os_file *f = malloc(sizeof(*f) + n);
    if (!f) {
        return CONFAB_NOMEM;
    }
    f->base.disk = disk;
    memcpy(f->name, name, n);
    do {
        f->fd = openat(d->fd, name, how, 0600);
    } while (f->fd < 0 && errno == EINTR);
    if (f->fd < 0) {
        enum confab_err err = failed(d, "openat", name, errno);
        free(f);
        return err;
    }
    *ret = &f->base;
    return CONFAB_OK;
}

static void os_close(struct disk_file *file)
{
    struct os_file *f = file_of(file);
    close(f->fd);
    free(f);
}

static enum confab_err os_pread(struct disk_file *file, void *buf, size_t n, uint64_t off,
                                size_t *ret_n)
{
    struct os_file *f = file_of(file);
    size_t done = 0;
    while (done < n) {
        ssize_t got = pread(f->fd, (char *)buf + done, n - done, (off_t)(off + done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return failed(disk_of(file->disk), "pread", f->name, errno);
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_n = done;
    return CONFAB_OK;
}

static enum confab_err os_pwrite(struct disk_file *file, const void *buf, size_t n, uint64_t off)
{
    struct os_file *f = file_of(file);
    size_t done = 0;
    while (done < n) {
        ssize_t put = pwrite(f->fd, (const char *)buf + done, n - done, (off_t)(off + done));
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            return failed(disk_of(file->disk), "pwrite", f->name, put < 0 ? errno : EIO);
        }
        done += (size_t)put;
    }
    return CONFAB_OK;
}

static enum confab_err os_preallocate(struct disk_file *file, uint64_t size)
{
    struct os_file *f = file_of(file);
    int e = 0;
    do { /* returns the error; falls back to writing where the file system cannot allocate */
        e = posix_fallocate(f->fd, 0, (off_t)size);
    } while (e == EINTR);
    return e ? failed(disk_of(file->disk), "posix_fallocate", f->name, e) : CONFAB_OK;
}

static enum confab_err os_truncate(struct disk_file *file, uint64_t size)
{
    struct os_file *f = file_of(file);
    int r = 0;
    do {
        r = ftruncate(f->fd, (off_t)size);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? failed(disk_of(file->disk), "ftruncate", f->name, errno) : CONFAB_OK;
}

static enum confab_err os_size(struct disk_file *file, uint64_t *ret_size)
{
    struct os_file *f = file_of(file);
    struct stat st;
    if (fstat(f->fd, &st) < 0) {
        return failed(disk_of(file->disk), "fstat", f->name, errno);
    }
    *ret_size = (uint64_t)st.st_size;
    return CONFAB_OK;
}

/* Not retried on any error, EINTR included: after a failure the kernel may have dropped the dirty
 * pages and would report success for data that is gone. */
static enum confab_err os_sync(struct disk_file *file)
{
    struct os_file *f = file_of(file);
    return fdatasync(f->fd) < 0 ? failed(disk_of(file->disk), "fdatasync", f->name, errno)
                                : CONFAB_OK;
}

static enum confab_err os_rename(struct disk *disk, const char *from, const char *to)
{
    struct os_disk *d = disk_of(disk);
    CHECK(!strchr(from, '/') && !strchr(to, '/'));
    return renameat(d->fd, from, d->fd, to) < 0 ? failed(d, "renameat", from, errno) : CONFAB_OK;
}

static enum confab_err os_unlink(struct disk *disk, const char *name)
{
    struct os_disk *d = disk_of(disk);
    CHECK(!strchr(name, '/'));
    return unlinkat(d->fd, name, 0) < 0 ? failed(d, "unlinkat", name, errno) : CONFAB_OK;
}

static enum confab_err os_sync_dir(struct disk *disk)
{
    struct os_disk *d = disk_of(disk);
    return fsync(d->fd) < 0 ? failed(d, "fsync", "", errno) : CONFAB_OK;
}

static enum confab_err os_list(struct disk *disk,
                               enum confab_err (*on_name)(void *arg, const char *name), void *arg)
{
    struct os_disk *d = disk_of(disk);
    int fd = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        enum confab_err err = failed(d, "fdopendir", "", errno);
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    enum confab_err err = CONFAB_OK;
    while (!err) {
        errno = 0;
        struct dirent *e = readdir(dir);
        if (!e) {
            err = errno ? failed(d, "readdir", "", errno) : CONFAB_OK;
            break;
        }
        struct stat st;
        if (fstatat(d->fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
            /* Never passed over: to the log, a segment that is not named does not exist. */
            err = errno == ENOENT ? CONFAB_OK : failed(d, "fstatat", e->d_name, errno);
        } else if (S_ISREG(st.st_mode)) {
            err = on_name(arg, e->d_name);
        }
    }
    closedir(dir);
    return err;
}

static enum confab_err os_free_bytes(struct disk *disk, uint64_t *ret_bytes)
{
    struct os_disk *d = disk_of(disk);
    struct statvfs st;
    if (fstatvfs(d->fd, &st) < 0) {
        return failed(d, "fstatvfs", "", errno);
    }
    *ret_bytes = (uint64_t)st.f_bavail * st.f_frsize;
    return CONFAB_OK;
}

enum confab_err disk_os_open(const char *path, struct disk **ret_disk)
{
    struct os_disk *d = calloc(1, sizeof(*d));
    char *copy = strdup(path);
    if (!d || !copy) {
        free(d);
        free(copy);
        return CONFAB_NOMEM;
    }
    d->base.ops = &OPS;
    d->path = copy;
    d->fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (d->fd < 0) {
        enum confab_err err = failed(d, "open", "", errno);
        free(d->path);
        free(d);
        return err;
    }
    *ret_disk = &d->base;
    return CONFAB_OK;
}

void disk_os_close(struct disk *disk)
{
    if (disk) {
        struct os_disk *d = disk_of(disk);
        close(d->fd);
        free(d->path);
        free(d);
    }
}

static const struct disk_ops OPS = {
    .name = "os",
    .version = 1,
    .open = os_open,
    .close = os_close,
    .pread = os_pread,
    .pwrite = os_pwrite,
    .preallocate = os_preallocate,
    .truncate = os_truncate,
    .size = os_size,
    .sync = os_sync,
    .rename = os_rename,
    .unlink = os_unlink,
    .sync_dir = os_sync_dir,
    .list = os_list,
    .free_bytes = os_free_bytes,
};
