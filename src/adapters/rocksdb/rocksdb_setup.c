/*
 * The engine's options, each with its reason. The aim is a store whose memory is bounded by two
 * memtables and one block cache, whatever it holds, and which costs little when nothing happens.
 */
#include "adapters/rocksdb/rocksdb_internal.h"

#include <fcntl.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum {
    CHECKSUM_XXH3 = 4,  /* rocksdb::kXXH3 */
    TABLE_FORMAT = 5,   /* read by RocksDB 6.6 and later */
    BLOOM_BITS = 10,    /* 1 % false positives */
    BLOCK_BYTES = 8192, /* a header or two; a chunk has its own */
    META_BLOCK_BYTES = 4096,
    INFO_LOG_HEADER = 5, /* rocksdb::HEADER_LEVEL */
    INFO_LOGS_KEPT = 2,
    LEVEL0_SLOW = 2 * ROCKSDB_LEVEL0_BUSY,
    LEVEL0_STOP = 3 * ROCKSDB_LEVEL0_BUSY,
    BLOB_BYTES = 8 * 1024,
    MERGE_READ_BYTES = 256 * 1024, /* of each file that is merged, at a time */
    DIRECT_BYTES = 4096,
};
/* While garbage is collected: of the oldest quarter of the files whatever a merge comes by, and
 * their tables are merged for it once half of them is garbage. */
static const double GARBAGE_AGE = 0.25;
static const double GARBAGE_FORCE = 0.5;

static char *prefix_transform(void *state, const char *key, size_t n, size_t *ret_n)
{
    (void)state;
    *ret_n = MIN(n, (size_t)ROCKSDB_PREFIX_LEN);
    return (char *)(uintptr_t)key; /* the C API's signature; nobody writes there */
}

static unsigned char prefix_in_domain(void *state, const char *key, size_t n)
{
    (void)state;
    return n >= ROCKSDB_PREFIX_LEN && rocksdb_prefixed((enum store_table)(unsigned char)key[0]);
}

static unsigned char prefix_in_range(void *state, const char *key, size_t n)
{
    (void)state;
    (void)key;
    return n == ROCKSDB_PREFIX_LEN;
}

static const char *prefix_name(void *state)
{
    (void)state;
    return "confab.conversation.1";
}

static void prefix_destroy(void *state)
{
    (void)state;
}

bool rocksdb_prefixed(enum store_table table)
{
    return table == STORE_MEMBER || table == STORE_CHUNK || table == STORE_DEDUP;
}

/*
 * The filters also hold table and conversation of the rows that a conversation has several of, so
 * that a range asks only the files that have some: without that, the last chunk of one conversation
 * among a million costs a look into every level.
 */
static rocksdb_slicetransform_t *conversation_prefix(void)
{
    return rocksdb_slicetransform_create(NULL, prefix_destroy, prefix_transform, prefix_in_domain,
                                         prefix_in_range, prefix_name);
}

static rocksdb_block_based_table_options_t *table_options(rocksdb_cache_t *cache)
{
    rocksdb_block_based_table_options_t *t = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(t, cache);
    rocksdb_block_based_options_set_block_size(t, BLOCK_BYTES);
    rocksdb_block_based_options_set_checksum(t, CHECKSUM_XXH3);
    rocksdb_block_based_options_set_format_version(t, TABLE_FORMAT);
    rocksdb_block_based_options_set_filter_policy(
        t, rocksdb_filterpolicy_create_bloom_full(BLOOM_BITS)); /* owned by `t` */
    /*
     * Index and filters live in the block cache, in pieces of 4 KiB: whole ones of a large file
     * would be megabytes each and push everything else out. Only their small top level is pinned.
     */
    rocksdb_block_based_options_set_index_type(
        t, rocksdb_block_based_table_index_type_two_level_index_search);
    rocksdb_block_based_options_set_partition_filters(t, 1);
    rocksdb_block_based_options_set_metadata_block_size(t, META_BLOCK_BYTES);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(t, 1);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks_with_high_priority(t, 1);
    rocksdb_block_based_options_set_pin_top_level_index_and_filter(t, 1);
    return t;
}

bool rocksdb_direct_works(const char *path)
{
    static alignas(DIRECT_BYTES) const char block[DIRECT_BYTES];
    char name[PATH_MAX];
    int n = snprintf(name, sizeof(name), "%s.direct", path);
    int fd = n > 0 && (size_t)n < sizeof(name)
                 ? open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_DIRECT, 0600)
                 : -1;
    if (fd < 0) {
        return false;
    }
    bool works = pwrite(fd, block, sizeof(block), 0) == (ssize_t)sizeof(block);
    (void)close(fd);
    (void)unlink(name);
    return works;
}

void rocksdb_setup_init(struct rocksdb_setup *setup, struct store_rocksdb_cfg cfg, bool direct)
{
    size_t cache_bytes = cfg.block_cache_bytes ? cfg.block_cache_bytes : 16 * MIB;
    size_t memtable_bytes = cfg.memtable_bytes ? cfg.memtable_bytes : 16 * MIB;
    setup->cache = rocksdb_cache_create_lru(cache_bytes);

    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_options_set_paranoid_checks(o, 1);

    rocksdb_options_set_write_buffer_size(o, memtable_bytes);
    rocksdb_options_set_max_write_buffer_number(o, 2);
    /* None kept after its flush: they serve transactions, which are not used. */
    rocksdb_options_set_max_write_buffer_size_to_maintain(o, 0);
    rocksdb_options_set_max_background_jobs(o, cfg.background_jobs ? (int)cfg.background_jobs : 2);
    rocksdb_options_set_max_subcompactions(o, 1);
    rocksdb_options_set_max_open_files(o, cfg.open_files_max ? (int)cfg.open_files_max : 256);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(o, 1);
    rocksdb_options_set_target_file_size_base(o, 4 * memtable_bytes);
    rocksdb_options_set_max_bytes_for_level_base(o, 16 * memtable_bytes);
    /* Each merge of level 0 rewrites most of the level below: keys are spread over all of it. */
    rocksdb_options_set_level0_file_num_compaction_trigger(o, ROCKSDB_LEVEL0);
    rocksdb_options_set_level0_slowdown_writes_trigger(o, LEVEL0_SLOW);
    rocksdb_options_set_level0_stop_writes_trigger(o, LEVEL0_STOP);
    rocksdb_options_set_disable_auto_compactions(o, cfg.hold_compactions);
    /*
     * What is flushed or merged has just been in memory or will not be read soon: past the system's
     * cache no page has to be found for it, and none of those that readers want has to go.
     */
    rocksdb_options_set_use_direct_io_for_flush_and_compaction(o, direct);
    rocksdb_options_compaction_readahead_size(o, MERGE_READ_BYTES);
    /* A burst of dirty pages would delay the syncs of the event log on the same disk. */
    rocksdb_options_set_bytes_per_sync(o, MIB);
    /* Chunks come compressed and stay as they are; headers, members and dedup rows gain, where they
     * stay for longer than in level 0. The last value is that of all deeper levels, too. */
    const int compression[] = {rocksdb_no_compression, rocksdb_lz4_compression};
    rocksdb_options_set_compression_per_level(o, compression, ARRAY_LEN(compression));

    /*
     * A full chunk is hardly ever written again, so a merge of tables need not copy it: it lies in
     * a file of its own kind, and the tables have where. Smaller ones are merged as they grow, and
     * would be garbage there a moment later.
     */
    rocksdb_options_set_enable_blob_files(o, 1);
    rocksdb_options_set_min_blob_size(o, cfg.blob_bytes ? cfg.blob_bytes : BLOB_BYTES);
    rocksdb_options_set_blob_gc_age_cutoff(o, GARBAGE_AGE);
    rocksdb_options_set_blob_gc_force_threshold(o, GARBAGE_FORCE);

    /* Nothing periodic, and little beside the data. */
    rocksdb_options_set_stats_dump_period_sec(o, 0);
    rocksdb_options_set_stats_persist_period_sec(o, 0);
    /*
     * Its own log has the options, written when it opens, and nothing else. Debian builds RocksDB
     * with assertions, and one of them ends the process at the line after one that the disk did not
     * take: a failed disk would be a crash. Errors come back from the calls and are logged there.
     */
    rocksdb_options_set_info_log_level(o, INFO_LOG_HEADER);
    rocksdb_options_set_keep_log_file_num(o, INFO_LOGS_KEPT);
    rocksdb_options_set_max_manifest_file_size(o, 4 * MIB);
    /* Start-up must not read every file's properties. */
    rocksdb_options_set_skip_stats_update_on_db_open(o, 1);

    rocksdb_block_based_table_options_t *t = table_options(setup->cache);
    rocksdb_options_set_block_based_table_factory(o, t);
    rocksdb_options_set_prefix_extractor(o, conversation_prefix()); /* owned by `o` */
    rocksdb_block_based_options_destroy(t);
    setup->options = o;
}

void rocksdb_setup_deinit(struct rocksdb_setup *setup)
{
    rocksdb_options_destroy(setup->options);
    rocksdb_cache_destroy(setup->cache);
}
