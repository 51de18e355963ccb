/* The engine's options and error texts; for the files of this folder and their tests. */
#ifndef CONFAB_ADAPTERS_ROCKSDB_INTERNAL_H
#define CONFAB_ADAPTERS_ROCKSDB_INTERNAL_H

#include <rocksdb/c.h>

#include "adapters/rocksdb/store_rocksdb.h"

struct rocksdb_setup {
    rocksdb_options_t *options;
    rocksdb_cache_t *cache;
};
/* direct: files are written past the system's cache. */
void rocksdb_setup_init(struct rocksdb_setup *setup, struct store_rocksdb_cfg cfg, bool direct);
void rocksdb_setup_deinit(struct rocksdb_setup *setup);

/* Files of level 0 from which on they are merged with the level below: else, and while much is
 * written and little read. */
enum { ROCKSDB_LEVEL0 = 16, ROCKSDB_LEVEL0_BUSY = 48 };

/* Does the file system below path's folder take such writes? Tried with a file beside `path`. */
bool rocksdb_direct_works(const char *path);

/* The tables whose rows the filters also know by table and conversation, the key's first bytes. */
#define ROCKSDB_PREFIX_LEN 17U
bool rocksdb_prefixed(enum store_table table);

/* Of an error text of the engine. */
enum confab_err rocksdb_err(const char *text);

#endif
