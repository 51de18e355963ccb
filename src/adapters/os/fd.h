/*
 * Small files in one piece: a transfer that is interrupted or cut short goes on where it stopped.
 * For start-up and settings; the log's files go by the disk port.
 */
#ifndef CONFAB_ADAPTERS_OS_FD_H
#define CONFAB_ADAPTERS_OS_FD_H

#include <stdbool.h>
#include <stddef.h>

/* All `n` bytes, from the descriptor's position on; false with errno. */
bool fd_write_all(int fd, const void *p, size_t n);
/* Up to `size` bytes, fewer only at the end of the file; false with errno. */
bool fd_read_all(int fd, void *p, size_t size, size_t *ret_n);

#endif
