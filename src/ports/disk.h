/*
 * Port: disk. One flat directory of files. Adapters: the operating system, and the simulator's
 * (which forgets unsynced data and tears writes at a crash). Blocking; called from log and worker
 * threads and at start-up, never from a shard. One file object is used by one thread at a time.
 *
 * Durability: bytes are durable after `sync` of their file; a created, renamed or removed name is
 * durable after `sync_dir`. Of a rename before it, a crash may leave half: both names, one file.
 * After a failed sync, nothing is known about the unsynced bytes.
 */
#ifndef CONFAB_PORTS_DISK_H
#define CONFAB_PORTS_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum disk_open_flags {
    DISK_READ = 1,
    DISK_WRITE = 2,
    DISK_CREATE = 4, /* with DISK_WRITE: made when missing, never truncated */
    DISK_EXCL = 8,   /* with DISK_CREATE: CONFAB_EXISTS when it is there */
};

struct disk;
struct disk_file;

struct disk_ops {
    const char *name;
    int version;
    /* CONFAB_NOT_FOUND, CONFAB_EXISTS, CONFAB_IO. `name` has no slash. Close with `close`. */
    enum confab_err (*open)(struct disk *d, const char *name, int flags, struct disk_file **ret);
    void (*close)(struct disk_file *f); /* NULL is fine; does not sync */
    /* Reads up to n bytes at off; fewer only at the end of the file. */
    enum confab_err (*pread)(struct disk_file *f, void *buf, size_t n, uint64_t off, size_t *ret_n);
    /* Writes all n bytes or fails (CONFAB_NO_SPACE, CONFAB_IO); a failure may leave a part. */
    enum confab_err (*pwrite)(struct disk_file *f, const void *buf, size_t n, uint64_t off);
    /* Makes the file at least `size` bytes long with its blocks allocated; new bytes read as zero.
     */
    enum confab_err (*preallocate)(struct disk_file *f, uint64_t size);
    enum confab_err (*truncate)(struct disk_file *f, uint64_t size);
    enum confab_err (*size)(struct disk_file *f, uint64_t *ret_size);
    enum confab_err (*sync)(struct disk_file *f);
    /* Replaces `to` when it exists, atomically. */
    enum confab_err (*rename)(struct disk *d, const char *from, const char *to);
    enum confab_err (*unlink)(struct disk *d, const char *name); /* CONFAB_NOT_FOUND when missing */
    enum confab_err (*sync_dir)(struct disk *d);
    /* Calls `on_name` for each plain file, in no order; stops at the first error it returns. */
    enum confab_err (*list)(struct disk *d, enum confab_err (*on_name)(void *arg, const char *name),
                            void *arg);
    enum confab_err (*free_bytes)(struct disk *d, uint64_t *ret_bytes);
};
struct disk {
    const struct disk_ops *ops;
};
/* Adapters embed this first in their file objects. */
struct disk_file {
    struct disk *disk;
};

CONFAB_NODISCARD static inline enum confab_err disk_open(struct disk *d, const char *name,
                                                         int flags, struct disk_file **ret)
{
    return d->ops->open(d, name, flags, ret);
}
static inline void disk_close(struct disk_file *f)
{
    if (f) {
        f->disk->ops->close(f);
    }
}
CONFAB_NODISCARD static inline enum confab_err disk_pread(struct disk_file *f, void *buf, size_t n,
                                                          uint64_t off, size_t *ret_n)
{
    return f->disk->ops->pread(f, buf, n, off, ret_n);
}
CONFAB_NODISCARD static inline enum confab_err disk_pwrite(struct disk_file *f, const void *buf,
                                                           size_t n, uint64_t off)
{
    return f->disk->ops->pwrite(f, buf, n, off);
}
CONFAB_NODISCARD static inline enum confab_err disk_preallocate(struct disk_file *f, uint64_t size)
{
    return f->disk->ops->preallocate(f, size);
}
CONFAB_NODISCARD static inline enum confab_err disk_truncate(struct disk_file *f, uint64_t size)
{
    return f->disk->ops->truncate(f, size);
}
CONFAB_NODISCARD static inline enum confab_err disk_size(struct disk_file *f, uint64_t *ret_size)
{
    return f->disk->ops->size(f, ret_size);
}
CONFAB_NODISCARD static inline enum confab_err disk_sync(struct disk_file *f)
{
    return f->disk->ops->sync(f);
}
CONFAB_NODISCARD static inline enum confab_err disk_rename(struct disk *d, const char *from,
                                                           const char *to)
{
    return d->ops->rename(d, from, to);
}
CONFAB_NODISCARD static inline enum confab_err disk_unlink(struct disk *d, const char *name)
{
    return d->ops->unlink(d, name);
}
CONFAB_NODISCARD static inline enum confab_err disk_sync_dir(struct disk *d)
{
    return d->ops->sync_dir(d);
}
CONFAB_NODISCARD static inline enum confab_err
disk_list(struct disk *d, enum confab_err (*on_name)(void *arg, const char *name), void *arg)
{
    return d->ops->list(d, on_name, arg);
}
CONFAB_NODISCARD static inline enum confab_err disk_free_bytes(struct disk *d, uint64_t *ret_bytes)
{
    return d->ops->free_bytes(d, ret_bytes);
}
/*
 * Gives the file `name` these contents, durably, or leaves it as it was: they are written to `temp`
 * first, which takes its name. CONFAB_NO_SPACE, CONFAB_IO.
 */
CONFAB_NODISCARD enum confab_err disk_replace(struct disk *d, const char *temp, const char *name,
                                              const void *bytes, size_t n);

#endif
