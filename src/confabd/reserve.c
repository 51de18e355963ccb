#include "confabd/reserve.h"

#include <inttypes.h>

#include "base/diag.h"

/* Less than this is of no use. */
#define RESERVE_BYTES_MIN ((uint64_t)256 << 10)

void reserve_release(struct disk *root)
{
    enum confab_err err = disk_unlink(root, RESERVE_NAME);
    if (err != CONFAB_OK && err != CONFAB_NOT_FOUND) {
        diag_warn(DIAG_SERVER, "the room kept for this start stays taken | err=%s", err_wire(err));
    }
}

uint64_t reserve_take(struct disk *root, uint64_t have)
{
    uint64_t free_bytes = 0;
    if (have == RESERVE_BYTES || disk_free_bytes(root, &free_bytes) != CONFAB_OK) {
        return have;
    }
    uint64_t want = RESERVE_BYTES;
    while (want > free_bytes / 2) { /* the rest of this start needs some, too */
        want /= 2;
    }
    /* More, later, only from plenty: what is scarce is the log's. */
    if (want < RESERVE_BYTES_MIN || (have > 0 && free_bytes < 4 * RESERVE_BYTES)) {
        return have;
    }
    struct disk_file *file;
    enum confab_err err =
        disk_open(root, RESERVE_NAME, DISK_READ | DISK_WRITE | DISK_CREATE, &file);
    if (err == CONFAB_OK) {
        err = disk_preallocate(file, want);
        disk_close(file);
    }
    if (err != CONFAB_OK) {
        reserve_release(root);
        diag_warn(DIAG_SERVER, "no room can be kept for the next start | bytes=%" PRIu64 " err=%s",
                  want, err_wire(err));
        return 0;
    }
    return want;
}
