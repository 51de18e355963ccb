/* What small files need of the disk. */
#include "ports/disk.h"

enum confab_err disk_replace(struct disk *d, const char *temp, const char *name, const void *bytes,
                             size_t n)
{
    struct disk_file *f = NULL;
    /* Never written into what is there: after a rename of which a power failure left half, it is
     * the very file that is to be replaced. */
    enum confab_err err = disk_unlink(d, temp);
    if (!err || err == CONFAB_NOT_FOUND) {
        err = disk_open(d, temp, DISK_READ | DISK_WRITE | DISK_CREATE | DISK_EXCL, &f);
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
