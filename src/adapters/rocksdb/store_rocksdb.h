/*
 * message_store on RocksDB, one directory per store. All rows are in one column family, so that the
 * order of batches is the order of their durability. RocksDB's own log is off: the event log is
 * what restores a tail that was not flushed.
 *
 * Reads run on the `readers` executor, writes and flushes on the `writer`; each may have several
 * threads. A flush occupies a thread of the writer until the memtables are on disk: give the writer
 * two threads where writes should go on meanwhile.
 */
#ifndef CONFAB_ADAPTERS_ROCKSDB_STORE_ROCKSDB_H
#define CONFAB_ADAPTERS_ROCKSDB_STORE_ROCKSDB_H

#include <stddef.h>

#include "ports/message_store.h"

/* Zero takes the default. */
struct store_rocksdb_cfg {
    size_t block_cache_bytes; /* data, index and filter blocks; 16 MiB */
    size_t memtable_bytes;    /* one of the two memtables; 16 MiB */
    unsigned background_jobs; /* flush and compaction threads; 2 */
    unsigned open_files_max;  /* table files held open; 256 */
    size_t blob_bytes;        /* values of this length on lie beside the tables; 8 KiB */
    size_t busy_bytes; /* written in a second, from which on merges wait for more files; 4 MiB */
    unsigned busy_ms;  /* over which that is taken; 5,000 */
    bool hold_compactions; /* until store_rocksdb_compact */
};

/*
 * Opens or creates the store at `path` (the parent must exist). Blocking. CONFAB_LOCKED: another
 * process or store has it. CONFAB_VERSION: made by a newer version, or not ours. CONFAB_CORRUPT,
 * CONFAB_NO_SPACE, CONFAB_IO, CONFAB_NOMEM. The executors must outlive the store. When `detail` is
 * not NULL it receives the engine's reason, zero terminated, on an error.
 */
CONFAB_NODISCARD enum confab_err store_rocksdb_open(const char *path, struct store_rocksdb_cfg cfg,
                                                    struct executor *readers,
                                                    struct executor *writer, char *detail,
                                                    size_t detail_size, struct message_store **ret);
/*
 * Lets compactions begin, in a store that was opened with hold_compactions: what a killed process
 * left to be merged must not take the cores from the recovery. Blocking, for some milliseconds. Any
 * thread.
 */
void store_rocksdb_compact(struct message_store *store);
/* Every request must have completed. Flushes, blocking. NULL is fine. */
void store_rocksdb_close(struct message_store *store);

#endif
