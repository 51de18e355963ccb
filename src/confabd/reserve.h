/*
 * Room for the next start. The message store and the directory write a little when they are opened
 * (a manifest, a journal), and a disk may be full just then: a server that cannot be restarted
 * there could not even be read. So a file of some megabytes lies in the data directory, is removed
 * before the engines are opened, and made again after.
 */
#ifndef CONFAB_CONFABD_RESERVE_H
#define CONFAB_CONFABD_RESERVE_H

#include <stdint.h>

#include "ports/disk.h"

#define RESERVE_NAME  "reserve"
#define RESERVE_BYTES ((uint64_t)8 << 20)

/* Gives the room back; an error is logged and no reason not to go on. */
void reserve_release(struct disk *root);
/*
 * Takes up to RESERVE_BYTES and returns how much there is then. Blocking. `have`: what there was
 * before; it is added to only when the disk has plenty.
 */
uint64_t reserve_take(struct disk *root, uint64_t have);

#endif
