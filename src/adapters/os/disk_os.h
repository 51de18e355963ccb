/* The disk port on a directory of the operating system. */
#ifndef CONFAB_ADAPTERS_DISK_OS_H
#define CONFAB_ADAPTERS_DISK_OS_H

#include "ports/disk.h"

/*
 * Opens the directory, which must exist. CONFAB_NOT_FOUND, CONFAB_IO, CONFAB_NOMEM. Files are made
 * with mode 0600. Errors of the operating system are logged here, once, with call, path and errno;
 * "not found" and "exists" are answers, not errors. A failed sync is reported and never retried.
 */
CONFAB_NODISCARD enum confab_err disk_os_open(const char *path, struct disk **ret_disk);
/* All files must be closed. NULL is fine. */
void disk_os_close(struct disk *disk);

#endif
