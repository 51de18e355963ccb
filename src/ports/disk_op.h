/* Names for the disk port's operations: what decorators, simulators and their plans count by. */
#ifndef CONFAB_PORTS_DISK_OP_H
#define CONFAB_PORTS_DISK_OP_H

enum disk_op {
    DISK_OP_OPEN,
    DISK_OP_PREAD,
    DISK_OP_PWRITE,
    DISK_OP_PREALLOCATE,
    DISK_OP_TRUNCATE,
    DISK_OP_SIZE,
    DISK_OP_SYNC,
    DISK_OP_RENAME,
    DISK_OP_UNLINK,
    DISK_OP_SYNC_DIR,
    DISK_OP_LIST,
    DISK_OP_FREE_BYTES,
    DISK_OP_COUNT
};

#endif
