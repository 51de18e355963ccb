/*
 * directory on SQLite: one file in WAL mode, synced at each commit. What is queued together is
 * committed together, so that many small writes share a sync.
 */
#ifndef CONFAB_ADAPTERS_SQLITE_DIRECTORY_SQLITE_H
#define CONFAB_ADAPTERS_SQLITE_DIRECTORY_SQLITE_H

#include <stddef.h>

#include "ports/directory.h"

/* Zero takes the default. */
struct directory_sqlite_cfg {
    size_t cache_bytes; /* pages kept in memory; 4 MiB */
    uint32_t queue_max; /* requests that wait; 4,096 */
};

struct directory_sqlite_stats {
    uint64_t requests;
    uint64_t groups; /* transactions begun for one or more writes */
    uint64_t queue_full;
    uint64_t errors; /* of the engine, not of the request */
    uint32_t queued;
};

/*
 * Opens or makes the database at `path` and brings its schema up to date. Blocking. CONFAB_VERSION:
 * made by a newer version, or not by us. CONFAB_CORRUPT, CONFAB_LOCKED, CONFAB_NO_SPACE, CONFAB_IO,
 * CONFAB_NOMEM. `ex` must outlive the directory; at most one of its threads is used at a time.
 */
CONFAB_NODISCARD enum confab_err directory_sqlite_open(const char *path,
                                                       struct directory_sqlite_cfg cfg,
                                                       struct executor *ex, struct directory **ret);
/* Every request must have completed. NULL is fine. */
void directory_sqlite_close(struct directory *dir);
void directory_sqlite_stats(struct directory *dir, struct directory_sqlite_stats *ret);

#endif
