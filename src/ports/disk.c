/* What small files need of the disk. */
#include "ports/disk.h"

enum confab_err disk_replace(struct disk *d, const char *temp, const char *name, const void *bytes,
                             size_t n)
{
    struct disk_file *f = NULL;
    enum confab_err err = disk_open(d, temp, DISK_READ | DISK_WRITE | DISK_CREATE, &f);
    if (!err) {
        err = disk_truncate(f, n);
    }
    if (!err) {
        err = disk_pwrite(f, bytes, n, 0);
    }
    if (!err) {
        err = disk_sync(f);
    }
    disk_close(f);
    if (!err) {
        err = disk_rename(d, temp, name);
    }
    return err ? err : disk_sync_dir(d);
}
