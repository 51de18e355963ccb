/*
 * What single message_store adapters promise beyond the port: crashes of the memory and the RocksDB
 * store, damage and versions of RocksDB's files, and what the fault decorator does.
 *
 * Run with arguments, this program is the child that a test kills:
 *     <program> writer DIR
 */
#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <rocksdb/c.h>

#include "adapters/fault/store_fault.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/store_mem.h"
#include "adapters/rocksdb/rocksdb_internal.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "base/random.h"
#include "gate.h"
#include "store_bench.h"

static const struct span NONE = {NULL, 0};
static struct executor *ex;

static int setup(void **state)
{
    (void)state;
    assert_int_equal(executor_inline_open(false, 100, &ex), CONFAB_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    executor_inline_close(ex);
    return 0;
}

static struct span conv_key(uint8_t n)
{
    static uint8_t keys[256][16];
    memset(keys[n], n, 16);
    return span_of(keys[n], 16);
}

static struct span be64(uint64_t v, uint8_t out[8])
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)v;
        v >>= 8;
    }
    return span_of(out, 8);
}

/* Every row of the tables in use, as text, to compare two stores. */
static void dump(struct message_store *store, struct buf *out)
{
    for (unsigned table = STORE_HEADER; table <= STORE_CHUNK; table++) {
        bool sorted = table >= STORE_MEMBER;
        for (unsigned n = 0; n < (sorted ? 8U : 1U); n++) {
            struct store_request req = {.op = STORE_RANGE,
                                        .table = (enum store_table)table,
                                        .key = sorted ? conv_key((uint8_t)n) : NONE,
                                        .limit = 100000,
                                        .bytes_max = 64 << 20};
            bench_do(store, &req);
            assert_int_equal(req.ret_err, CONFAB_OK);
            for (uint32_t i = 0; i < req.ret_nrows; i++) {
                buf_put_u8(out, (uint8_t)table);
                buf_put_u8(out, (uint8_t)n);
                buf_put_blob(out, req.ret_rows[i].sort.p, req.ret_rows[i].sort.n);
                buf_put_blob(out, req.ret_rows[i].value.p, req.ret_rows[i].value.n);
            }
            store_request_deinit(&req);
        }
    }
    assert_true(buf_ok(out));
}

static bool same_rows(struct message_store *a, struct message_store *b)
{
    struct buf da = {0};
    struct buf db = {0};
    dump(a, &da);
    dump(b, &db);
    bool same = da.len == db.len && (da.len == 0 || memcmp(da.data, db.data, da.len) == 0);
    buf_deinit(&da);
    buf_deinit(&db);
    return same;
}

/* A batch of a few random operations over few keys, so that they meet. */
static void random_batch(struct random_source *r, struct buf *b)
{
    uint64_t ops = random_below(r, 6);
    for (uint64_t i = 0; i < ops; i++) {
        uint8_t s1[8];
        uint8_t s2[8];
        uint8_t value[300];
        struct span conv = conv_key((uint8_t)random_below(r, 8));
        struct span from = be64(random_below(r, 12), s1);
        struct span to = be64(random_below(r, 12), s2);
        random_fill(r, value, sizeof(value));
        struct span v = span_of(value, random_below(r, sizeof(value)));
        switch (random_below(r, 8)) {
        case 0:
            store_batch_del_range(b, STORE_CHUNK, conv, from, to);
            break;
        case 1:
            store_batch_del(b, (struct store_key){STORE_MEMBER, conv, from});
            break;
        case 2:
            store_batch_del(b, (struct store_key){STORE_HEADER, conv, NONE});
            break;
        case 3:
            store_batch_put(b, (struct store_key){STORE_HEADER, conv, NONE}, v);
            break;
        case 4:
            store_batch_put(b, (struct store_key){STORE_MEMBER, conv, from}, v);
            break;
        default:
            store_batch_put(b, (struct store_key){STORE_CHUNK, conv, from}, v);
            break;
        }
    }
}

static void write_random(struct message_store *store, struct random_source *r)
{
    struct buf b = {0};
    random_batch(r, &b);
    assert_int_equal(bench_write(store, &b), CONFAB_OK);
}

static void test_store_mem__a_crash_keeps_a_prefix_after_the_flush(void **state)
{
    (void)state;
    enum { FLUSHED = 20, BATCHES = 30 };
    bool seen[BATCHES + 1] = {false};
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct message_store *store;
        struct message_store *model;
        struct random_seeded random;
        assert_int_equal(store_mem_open((struct store_mem_cfg){.crashable = true}, ex, &store),
                         CONFAB_OK);
        assert_int_equal(store_mem_open((struct store_mem_cfg){false}, ex, &model), CONFAB_OK);
        random_seeded_init(&random, seed / 20);
        for (unsigned i = 0; i < BATCHES; i++) {
            write_random(store, &random.base);
            if (i + 1 == FLUSHED) {
                assert_int_equal(bench_flush(store), CONFAB_OK);
            }
        }
        assert_int_equal(store_mem_unflushed(store), BATCHES - FLUSHED);
        uint64_t lost = store_mem_crash(store, seed);
        assert_in_range(lost, 0, BATCHES - FLUSHED);
        seen[BATCHES - lost] = true;
        random_seeded_init(&random, seed / 20);
        for (unsigned i = 0; i < BATCHES - lost; i++) {
            write_random(model, &random.base);
        }
        assert_true(same_rows(store, model));
        assert_int_equal(store_mem_unflushed(store), 0);
        assert_int_equal(store_mem_crash(store, seed), 0); /* what is left is on its disk */
        assert_true(same_rows(store, model));
        store_mem_close(store);
        store_mem_close(model);
    }
    for (unsigned i = FLUSHED; i <= BATCHES; i++) {
        assert_true(seen[i]); /* the seeds reach every boundary */
    }
}

static void count_done(struct store_request *req)
{
    ++*(unsigned *)req->arg;
}

static void test_store_mem__a_crash_forgets_what_was_under_way(void **state)
{
    (void)state;
    struct executor *stepped;
    struct executor *next;
    struct message_store *store;
    assert_int_equal(executor_inline_open(true, 100, &stepped), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){.crashable = true}, stepped, &store),
                     CONFAB_OK);
    unsigned done = 0;
    struct store_request reqs[3];
    for (unsigned i = 0; i < 3; i++) {
        reqs[i] = (struct store_request){.op = STORE_WRITE, .done = count_done, .arg = &done};
        store_batch_put(&reqs[i].batch,
                        (struct store_key){STORE_HEADER, conv_key((uint8_t)i), NONE},
                        span_str("x"));
        assert_int_equal(message_store_submit(store, &reqs[i]), CONFAB_OK);
    }
    assert_true(executor_inline_step(stepped));
    assert_int_equal(done, 1);
    assert_int_equal(executor_inline_discard(stepped), 2);
    executor_inline_close(stepped);
    assert_in_range(store_mem_crash(store, 1), 0, 1);
    assert_int_equal(executor_inline_open(false, 100, &next), CONFAB_OK);
    store_mem_attach(store, next);
    struct store_key key = {STORE_HEADER, conv_key(1), NONE};
    struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
    bench_do(store, &get);
    assert_int_equal(get.ret_err, CONFAB_OK);
    assert_false(get.ret_rows[0].found);
    store_request_deinit(&get);
    for (unsigned i = 0; i < 3; i++) {
        store_request_deinit(&reqs[i]);
    }
    executor_inline_close(next);
    store_mem_close(store);
}

/* ---- RocksDB ---- */

static const struct store_rocksdb_cfg SMALL = {
    .memtable_bytes = 128 << 10, .block_cache_bytes = 1 << 20, .blob_bytes = 200};

static enum confab_err open_rocks(const char *dir, struct message_store **ret)
{
    return store_rocksdb_open(dir, SMALL, ex, ex, NULL, 0, ret);
}

/* One random range over both stores. */
static void compare_range(struct random_source *r, struct message_store *a, struct message_store *b)
{
    uint8_t s1[8];
    uint8_t s2[8];
    struct store_request req[2];
    req[0] = (struct store_request){
        .op = STORE_RANGE,
        .table = random_below(r, 3) == 0 ? STORE_MEMBER : STORE_CHUNK,
        .key = conv_key((uint8_t)random_below(r, 9)), /* the last has no rows */
        .from = random_below(r, 2) == 0 ? NONE : be64(random_below(r, 13), s1),
        .to = random_below(r, 2) == 0 ? NONE : be64(random_below(r, 13), s2),
        .limit = (uint32_t)(1 + random_below(r, 13)),
        .bytes_max = (uint32_t)(1 + random_below(r, 2000)),
        .reverse = random_below(r, 2) == 0};
    req[1] = req[0];
    bench_do(a, &req[0]);
    bench_do(b, &req[1]);
    assert_int_equal(req[0].ret_err, CONFAB_OK);
    assert_int_equal(req[1].ret_err, CONFAB_OK);
    assert_int_equal(req[0].ret_nrows, req[1].ret_nrows);
    assert_int_equal(req[0].ret_more, req[1].ret_more);
    for (uint32_t i = 0; i < req[0].ret_nrows; i++) {
        assert_true(span_eq(req[0].ret_rows[i].sort, req[1].ret_rows[i].sort));
        assert_true(span_eq(req[0].ret_rows[i].value, req[1].ret_rows[i].value));
    }
    store_request_deinit(&req[0]);
    store_request_deinit(&req[1]);
}

static void test_store_rocksdb__agrees_with_the_memory_store(void **state)
{
    (void)state;
    char dir[64];
    struct message_store *rocks;
    struct message_store *mem;
    struct random_seeded random;
    struct random_seeded ranges;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(open_rocks(dir, &rocks), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){false}, ex, &mem), CONFAB_OK);
    random_seeded_init(&random, 42);
    random_seeded_init(&ranges, 43);
    for (unsigned i = 0; i < 1500; i++) {
        struct random_seeded again = random;
        write_random(rocks, &random.base);
        write_random(mem, &again.base);
        if (i % 200 == 0) {
            assert_int_equal(bench_flush(rocks), CONFAB_OK);
        }
        if (i % 400 == 0) {
            store_rocksdb_close(rocks);
            assert_int_equal(open_rocks(dir, &rocks), CONFAB_OK);
        }
        if (i % 50 == 0) {
            assert_true(same_rows(rocks, mem));
        }
        compare_range(&ranges.base, rocks, mem);
        compare_range(&ranges.base, rocks, mem);
    }
    assert_true(same_rows(rocks, mem));
    store_rocksdb_close(rocks);
    store_mem_close(mem);
    temp_dir_remove(dir);
}

/* The child: batch i sets the counter row to i and adds row i; every 20th is flushed and told. */
static int run_writer(const char *dir)
{
    struct message_store *store;
    if (executor_inline_open(false, 100, &ex) != CONFAB_OK ||
        open_rocks(dir, &store) != CONFAB_OK) {
        return 1;
    }
    static uint8_t filler[5000];
    for (uint64_t i = 1;; i++) {
        uint8_t sort[8];
        struct buf b = {0};
        random_fill(random_system(), filler, sizeof(filler));
        store_batch_put(&b, (struct store_key){STORE_HEADER, conv_key(1), NONE},
                        span_of(&i, sizeof(i)));
        store_batch_put(&b, (struct store_key){STORE_CHUNK, conv_key(2), be64(i, sort)},
                        span_of(filler, sizeof(filler)));
        if (bench_write(store, &b) != CONFAB_OK) {
            return 1;
        }
        if (i % 20 == 0) {
            if (bench_flush(store) != CONFAB_OK || write(1, &i, sizeof(i)) != sizeof(i)) {
                return 1;
            }
        }
    }
}

/* Starts the child and kills it after it has told `flushes`; returns the last number told. */
static uint64_t kill_writer(const char *dir, unsigned flushes)
{
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fds[1], 1);
        (void)execl("/proc/self/exe", "writer", "writer", dir, (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    uint64_t told = 0;
    for (unsigned i = 0; i < flushes; i++) {
        assert_int_equal(read(fds[0], &told, sizeof(told)), sizeof(told));
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(fds[0], &told, sizeof(told)) == (ssize_t)sizeof(told)) {
    }
    (void)close(fds[0]);
    return told;
}

static void test_store_rocksdb__a_killed_process_leaves_a_prefix(void **state)
{
    (void)state;
    for (unsigned round = 1; round <= 5; round++) {
        char dir[64];
        temp_dir_make(dir, sizeof(dir));
        uint64_t told = kill_writer(dir, round * 2);
        struct message_store *store;
        assert_int_equal(open_rocks(dir, &store), CONFAB_OK);
        struct store_key key = {STORE_HEADER, conv_key(1), NONE};
        struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
        bench_do(store, &get);
        assert_int_equal(get.ret_err, CONFAB_OK);
        assert_true(get.ret_rows[0].found);
        uint64_t last = 0;
        memcpy(&last, get.ret_rows[0].value.p, sizeof(last));
        store_request_deinit(&get);
        assert_true(last >= told);
        struct store_request all = {.op = STORE_RANGE,
                                    .table = STORE_CHUNK,
                                    .key = conv_key(2),
                                    .limit = UINT32_MAX,
                                    .bytes_max = UINT32_MAX};
        bench_do(store, &all);
        assert_int_equal(all.ret_err, CONFAB_OK);
        assert_int_equal(all.ret_nrows, last);
        for (uint32_t i = 0; i < all.ret_nrows; i++) {
            uint8_t sort[8];
            assert_true(span_eq(all.ret_rows[i].sort, be64(i + 1, sort)));
            assert_int_equal(all.ret_rows[i].value.n, 5000);
        }
        store_request_deinit(&all);
        store_rocksdb_close(store);
        temp_dir_remove(dir);
    }
}

static void test_store_rocksdb__a_store_in_use_is_locked(void **state)
{
    (void)state;
    char dir[64];
    struct message_store *store;
    struct message_store *second;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(open_rocks(dir, &store), CONFAB_OK);
    assert_int_equal(open_rocks(dir, &second), CONFAB_LOCKED);
    store_rocksdb_close(store);
    assert_int_equal(open_rocks(dir, &second), CONFAB_OK);
    store_rocksdb_close(second);
    temp_dir_remove(dir);
}

static uint32_t files_in(const char *dir, const char *ending)
{
    uint32_t n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        size_t len = strlen(e->d_name);
        n += len > strlen(ending) && strcmp(e->d_name + len - strlen(ending), ending) == 0;
    }
    closedir(d);
    return n;
}

static void put_chunk(struct buf *b, uint8_t conv, uint64_t i, size_t n)
{
    static uint8_t value[20000];
    uint8_t sort[8];
    random_fill(random_system(), value, n);
    store_batch_put(b, (struct store_key){STORE_CHUNK, conv_key(conv), be64(i, sort)},
                    span_of(value, n));
}

static uint32_t chunks_of(struct message_store *store, uint8_t conv)
{
    struct store_request all = {.op = STORE_RANGE,
                                .table = STORE_CHUNK,
                                .key = conv_key(conv),
                                .limit = UINT32_MAX,
                                .bytes_max = UINT32_MAX};
    bench_do(store, &all);
    assert_int_equal(all.ret_err, CONFAB_OK);
    uint32_t n = all.ret_nrows;
    store_request_deinit(&all);
    return n;
}

/* What is to be merged stays so until it is allowed; and merging changes no row. */
static void test_store_rocksdb__compactions_wait_until_they_may(void **state)
{
    (void)state;
    enum { FLUSHES = 20 };
    static const struct store_rocksdb_cfg cfg = {
        .background_jobs = 1, .open_files_max = 32, .hold_compactions = true};
    char dir[64];
    struct message_store *store = NULL;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(store_rocksdb_open(dir, cfg, ex, ex, NULL, 0, &store), CONFAB_OK);
    for (uint64_t i = 0; i < FLUSHES; i++) {
        struct buf b = {0};
        uint8_t sort[8];
        for (uint8_t conv = 1; conv <= 3; conv++) {
            struct store_key key = {STORE_CHUNK, conv_key(conv), be64(conv == 1 ? 1 : i, sort)};
            store_batch_put(&b, key, span_of(sort, 8));
        }
        assert_int_equal(bench_write(store, &b), CONFAB_OK);
        assert_int_equal(bench_flush(store), CONFAB_OK);
    }
    assert_in_range(files_in(dir, ".sst"), FLUSHES, FLUSHES + 1); /* and one for the format */
    store_rocksdb_compact(store);
    while (files_in(dir, ".sst") >= FLUSHES) {
        usleep(2000);
    }
    for (uint8_t conv = 1; conv <= 3; conv++) {
        assert_int_equal(chunks_of(store, conv), conv == 1 ? 1 : FLUSHES);
    }
    store_rocksdb_close(store);
    store_rocksdb_close(NULL);
    temp_dir_remove(dir);
}

/* By default, short values are in the tables and long ones beside them. */
static void test_store_rocksdb__full_chunks_lie_beside_the_tables(void **state)
{
    (void)state;
    char dir[64];
    struct message_store *store = NULL;
    struct store_stats stats;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(
        store_rocksdb_open(dir, (struct store_rocksdb_cfg){0}, ex, ex, NULL, 0, &store), CONFAB_OK);
    struct buf b = {0};
    put_chunk(&b, 1, 1, 8000);
    assert_int_equal(bench_write(store, &b), CONFAB_OK);
    assert_int_equal(bench_flush(store), CONFAB_OK);
    assert_int_equal(files_in(dir, ".blob"), 0);
    b = (struct buf){0};
    put_chunk(&b, 1, 2, 20000);
    assert_int_equal(bench_write(store, &b), CONFAB_OK);
    assert_int_equal(bench_flush(store), CONFAB_OK);
    assert_int_equal(files_in(dir, ".blob"), 1);
    message_store_stats(store, &stats);
    assert_true(stats.disk_bytes > 28000);
    assert_int_equal(stats.garbage_bytes, 0);
    store_rocksdb_close(store);
    temp_dir_remove(dir);
}

/* Of the files with this ending: bytes, and how many of them are in the system's cache. */
static void count_cached(const char *dir, const char *ending, size_t *ret_bytes, size_t *ret_cached)
{
    enum { PAGE = 4096, PAGES = 1024 };
    DIR *d = opendir(dir);
    *ret_bytes = *ret_cached = 0;
    assert_non_null(d);
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        size_t n = strlen(entry->d_name);
        unsigned char there[PAGES];
        struct stat st;
        if (n < strlen(ending) || strcmp(entry->d_name + n - strlen(ending), ending) != 0) {
            continue;
        }
        int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0 && fstat(fd, &st) == 0);
        size_t size = (size_t)st.st_size;
        assert_in_range(size, 1, PAGE * PAGES);
        void *map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
        assert_true(map != MAP_FAILED);
        assert_int_equal(mincore(map, size, there), 0);
        for (size_t i = 0; i * PAGE < size; i++) {
            *ret_cached += (there[i] & 1) ? PAGE : 0;
        }
        *ret_bytes += size;
        assert_int_equal(munmap(map, size), 0);
        assert_int_equal(close(fd), 0);
    }
    assert_int_equal(closedir(d), 0);
}

/* Where the file system takes it; it leaves no file behind when that is tried. */
static void test_store_rocksdb__flushes_pass_the_systems_cache(void **state)
{
    (void)state;
    enum { ROWS = 100, ROW = 20000 };
    char dir[64];
    char path[96];
    struct message_store *store = NULL;
    struct buf b = {0};
    temp_dir_make(dir, sizeof(dir));
    (void)snprintf(path, sizeof(path), "%s/store", dir);
    bool direct = rocksdb_direct_works(path);
    assert_int_equal(files_in(dir, ".direct"), 0);
    for (uint64_t i = 0; i < ROWS; i++) {
        put_chunk(&b, 1, i, ROW);
    }
    assert_int_equal(
        store_rocksdb_open(path, (struct store_rocksdb_cfg){0}, ex, ex, NULL, 0, &store),
        CONFAB_OK);
    assert_int_equal(bench_write(store, &b), CONFAB_OK);
    assert_int_equal(bench_flush(store), CONFAB_OK);
    size_t bytes;
    size_t cached;
    count_cached(path, ".blob", &bytes, &cached);
    assert_true(bytes > (size_t)ROWS * ROW);
    if (direct) {
        assert_true(cached < bytes / 10);
    }
    assert_int_equal(chunks_of(store, 1), ROWS);
    store_rocksdb_close(store);

    (void)snprintf(path, sizeof(path), "%s/none/store", dir);
    assert_false(rocksdb_direct_works(path));
    temp_dir_remove(dir);
}

/* Writes the same rows again and, when it is to, some that stay; returns how much is garbage. */
enum { AGAIN = 60, NEW = 4, GARBAGE_ROW = 2000 };
static uint64_t write_again(struct message_store *store, uint64_t round, bool more)
{
    struct buf b = {0};
    struct store_stats stats;
    for (uint64_t i = 0; i < AGAIN; i++) {
        put_chunk(&b, 1, i, GARBAGE_ROW);
    }
    for (uint64_t i = 0; more && i < NEW; i++) {
        put_chunk(&b, 2, round * NEW + i, GARBAGE_ROW);
    }
    assert_int_equal(bench_write(store, &b), CONFAB_OK);
    assert_int_equal(bench_flush(store), CONFAB_OK);
    message_store_stats(store, &stats);
    return stats.garbage_bytes;
}

/*
 * Rows that stay are among those that are written again, so that no file of values is ever without
 * a row that is still wanted. What the disk holds stays within a multiple of the rows.
 */
static void test_store_rocksdb__garbage_is_collected(void **state)
{
    (void)state;
    enum { ROUNDS = 300 };
    const uint64_t most = (uint64_t)4 * (AGAIN + NEW * ROUNDS) * GARBAGE_ROW;
    char dir[64];
    struct message_store *store = NULL;
    struct store_stats stats;
    uint64_t garbage_most = 0;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(open_rocks(dir, &store), CONFAB_OK);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        garbage_most = MAX(garbage_most, write_again(store, round, true));
    }
    assert_true(garbage_most > 0);
    /* Merges go on beside, and are begun by writes: they may be behind. */
    message_store_stats(store, &stats);
    for (uint64_t round = 0; round < ROUNDS && stats.disk_bytes >= most; round++) {
        (void)write_again(store, round, false);
        message_store_stats(store, &stats);
    }
    assert_true(stats.disk_bytes < most);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(chunks_of(store, 1), AGAIN);
        assert_int_equal(chunks_of(store, 2), NEW * ROUNDS);
        store_rocksdb_close(store);
        assert_int_equal(open_rocks(dir, &store), CONFAB_OK);
    }
    store_rocksdb_close(store);
    temp_dir_remove(dir);
}

/* While much is written, merges wait for more files; when that ends they begin, though nothing is
 * written any more. */
static void test_store_rocksdb__merges_wait_while_much_is_written(void **state)
{
    (void)state;
    enum { ROUNDS = 40 }; /* a file each: more than are merged else, fewer than then */
    char dir[64];
    struct message_store *store = NULL;
    struct store_stats stats = {0};
    struct store_rocksdb_cfg cfg = SMALL;
    cfg.busy_bytes = 1;
    cfg.busy_ms = 1;
    temp_dir_make(dir, sizeof(dir));
    assert_int_equal(store_rocksdb_open(dir, cfg, ex, ex, NULL, 0, &store), CONFAB_OK);
    for (uint64_t round = 0; round < ROUNDS; round++) {
        struct buf b = {0};
        put_chunk(&b, 1, round, 100);
        put_chunk(&b, 2, round, 100);
        assert_int_equal(bench_write(store, &b), CONFAB_OK);
        assert_int_equal(bench_flush(store), CONFAB_OK);
    }
    assert_in_range(files_in(dir, ".sst"), ROUNDS, ROUNDS + 1); /* and one for the format */
    do {
        usleep(2000);
        message_store_stats(store, &stats);
    } while (stats.unmerged_files > ROUNDS / 2);
    assert_int_equal(chunks_of(store, 1), ROUNDS);
    assert_int_equal(chunks_of(store, 2), ROUNDS);
    store_rocksdb_close(store);
    temp_dir_remove(dir);
}

static void put_raw(const char *dir, const char *key, size_t key_len, const char *value, size_t n)
{
    char *err = NULL;
    rocksdb_options_t *o = rocksdb_options_create();
    rocksdb_options_set_create_if_missing(o, 1);
    rocksdb_t *db = rocksdb_open(o, dir, &err);
    assert_null(err);
    rocksdb_writeoptions_t *wo = rocksdb_writeoptions_create();
    rocksdb_put(db, wo, key, key_len, value, n, &err);
    assert_null(err);
    rocksdb_writeoptions_destroy(wo);
    rocksdb_close(db);
    rocksdb_options_destroy(o);
}

static void test_store_rocksdb__newer_and_foreign_stores_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        size_t key_len;
        const char *value;
        size_t value_len;
    } others[] = {
        {"\0format", 7, "\x02\0\0\0", 4}, {"\0format", 7, "\x01", 1}, {"\x01name", 5, "value", 5}};
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        char dir[64];
        struct message_store *store = NULL;
        temp_dir_make(dir, sizeof(dir));
        put_raw(dir, others[i].key, others[i].key_len, others[i].value, others[i].value_len);
        assert_int_equal(open_rocks(dir, &store), CONFAB_VERSION);
        assert_null(store);
        temp_dir_remove(dir);
    }
}

static void test_store_rocksdb__a_missing_parent_is_an_io_error(void **state)
{
    (void)state;
    struct message_store *store = NULL;
    char why[60] = "";
    assert_int_equal(
        store_rocksdb_open("/proc/none/store", SMALL, ex, ex, why, sizeof(why), &store), CONFAB_IO);
    assert_null(store);
    assert_non_null(strstr(why, "No such file")); /* cut to the buffer */
    assert_true(strlen(why) == sizeof(why) - 1);
}

/* Fills a store with a few hundred rows of `bytes`, closed. */
static void make_store(const char *dir, size_t bytes)
{
    struct message_store *store;
    assert_int_equal(open_rocks(dir, &store), CONFAB_OK);
    for (unsigned i = 0; i < 300; i++) {
        struct buf b = {0};
        put_chunk(&b, 1, i, bytes);
        assert_int_equal(bench_write(store, &b), CONFAB_OK);
    }
    assert_int_equal(bench_flush(store), CONFAB_OK);
    store_rocksdb_close(store);
}

/* Overwrites the middle of each file of that size or more whose name has `part`; returns how many.
 */
static unsigned damage(const char *dir, const char *part, off_t size_min)
{
    unsigned n = 0;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if (!strstr(e->d_name, part)) {
            continue;
        }
        char path[400];
        struct stat st;
        (void)snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
        int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        if (st.st_size >= size_min) {
            uint8_t junk[64];
            memset(junk, 0xa5, sizeof(junk));
            assert_int_equal(pwrite(fd, junk, sizeof(junk), st.st_size / 2), sizeof(junk));
            n++;
        }
        (void)close(fd);
    }
    (void)closedir(d);
    return n;
}

static void check_damage(const char *ending, size_t row_bytes)
{
    char dir[64];
    struct message_store *store;
    temp_dir_make(dir, sizeof(dir));
    make_store(dir, row_bytes);
    assert_true(damage(dir, ending, 20000) > 0);
    assert_int_equal(open_rocks(dir, &store), CONFAB_OK); /* start-up reads no data */
    struct store_request all = {.op = STORE_RANGE,
                                .table = STORE_CHUNK,
                                .key = conv_key(1),
                                .limit = UINT32_MAX,
                                .bytes_max = UINT32_MAX};
    bench_do(store, &all);
    assert_int_equal(all.ret_err, CONFAB_CORRUPT);
    assert_int_equal(all.ret_nrows, 0);
    store_request_deinit(&all);
    unsigned corrupt = 0;
    for (unsigned i = 0; i < 300; i++) {
        uint8_t sort[8];
        struct store_key key = {STORE_CHUNK, conv_key(1), be64(i, sort)};
        struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
        bench_do(store, &get);
        assert_true(get.ret_err == CONFAB_CORRUPT ||
                    (get.ret_err == CONFAB_OK && get.ret_rows[0].found));
        corrupt += get.ret_err == CONFAB_CORRUPT;
        store_request_deinit(&get);
    }
    assert_in_range(corrupt, 1, 100); /* the rows of the damaged blocks, and no others */
    struct store_stats stats;
    message_store_stats(store, &stats);
    assert_true(stats.errors > corrupt);
    store_rocksdb_close(store);
    temp_dir_remove(dir);
}

static void test_store_rocksdb__damage_is_reported(void **state)
{
    (void)state;
    check_damage(".sst", 150);
    check_damage(".blob", 1000);
}

static void test_store_rocksdb__a_damaged_manifest_is_reported(void **state)
{
    (void)state;
    char dir[64];
    struct message_store *store = NULL;
    temp_dir_make(dir, sizeof(dir));
    make_store(dir, 1000);
    assert_int_equal(damage(dir, "MANIFEST", 0), 1);
    assert_int_equal(open_rocks(dir, &store), CONFAB_CORRUPT);
    assert_null(store);
    temp_dir_remove(dir);
}

static void test_store_rocksdb__error_texts_are_understood(void **state)
{
    (void)state;
    assert_int_equal(rocksdb_err("IO error: No space left on device: While appending to file: x"),
                     CONFAB_NO_SPACE);
    assert_int_equal(rocksdb_err("Corruption: block checksum mismatch: stored = 1"),
                     CONFAB_CORRUPT);
    assert_int_equal(rocksdb_err("IO error: While lock file: /x/LOCK: Resource temporarily "
                                 "unavailable"),
                     CONFAB_LOCKED);
    assert_int_equal(rocksdb_err("IO error: lock hold by current process, acquire time 1"),
                     CONFAB_LOCKED);
    assert_int_equal(rocksdb_err("IO error: Disk quota exceeded: While appending to file: x"),
                     CONFAB_NO_SPACE);
    assert_int_equal(rocksdb_err("IO error: Max allowed space was reached: space limit"),
                     CONFAB_NO_SPACE);
    assert_int_equal(rocksdb_err("IO error: Input/output error: While fsync"), CONFAB_IO);
}

/* ---- the fault decorator ---- */

struct fault_bench {
    struct message_store *mem;
    struct message_store *store;
    struct fault_plan *plan;
};

static void fault_open(struct fault_bench *f)
{
    assert_int_equal(store_mem_open((struct store_mem_cfg){false}, ex, &f->mem), CONFAB_OK);
    assert_int_equal(store_fault_open(f->mem, &f->store), CONFAB_OK);
    f->plan = store_fault_plan(f->store);
}

static void fault_close(struct fault_bench *f)
{
    store_fault_close(f->store);
    store_mem_close(f->mem);
}

static enum confab_err put_header(struct message_store *store, uint8_t n)
{
    struct buf b = {0};
    store_batch_put(&b, (struct store_key){STORE_HEADER, conv_key(n), NONE}, span_str("x"));
    return bench_write(store, &b);
}

static bool has_header(struct message_store *store, uint8_t n)
{
    struct store_key key = {STORE_HEADER, conv_key(n), NONE};
    struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
    bench_do(store, &get);
    assert_int_equal(get.ret_err, CONFAB_OK);
    bool found = get.ret_rows[0].found;
    store_request_deinit(&get);
    return found;
}

static void test_store_fault__fails_the_nth_of_a_kind(void **state)
{
    (void)state;
    struct fault_bench f;
    fault_open(&f);
    assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 2, 2, FAULT_FAIL, CONFAB_NO_SPACE),
                     CONFAB_OK);
    assert_int_equal(put_header(f.store, 1), CONFAB_OK);
    assert_true(has_header(f.store, 1)); /* reads do not count */
    assert_int_equal(put_header(f.store, 2), CONFAB_NO_SPACE);
    assert_int_equal(put_header(f.store, 3), CONFAB_NO_SPACE);
    assert_int_equal(put_header(f.store, 4), CONFAB_OK);
    assert_false(has_header(f.store, 2));
    assert_false(has_header(f.store, 3));
    assert_true(has_header(f.store, 4));
    assert_int_equal(fault_plan_hits(f.plan), 2);
    assert_int_equal(fault_plan_seen(f.plan, STORE_WRITE), 4);
    fault_close(&f);
}

static void test_store_fault__an_unknown_outcome_happened(void **state)
{
    (void)state;
    struct fault_bench f;
    fault_open(&f);
    assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 1, 1, FAULT_UNKNOWN, CONFAB_IO),
                     CONFAB_OK);
    assert_int_equal(put_header(f.store, 1), CONFAB_IO);
    assert_true(has_header(f.store, 1));
    fault_close(&f);
}

static void test_store_fault__refuses_at_submit(void **state)
{
    (void)state;
    struct fault_bench f;
    fault_open(&f);
    assert_int_equal(fault_plan_arm(f.plan, STORE_FLUSH, 1, UINT64_MAX, FAULT_REFUSE, CONFAB_BUSY),
                     CONFAB_OK);
    struct store_request req = {.op = STORE_FLUSH};
    assert_int_equal(message_store_submit(f.store, &req), CONFAB_BUSY);
    assert_int_equal(message_store_submit(f.store, &req), CONFAB_BUSY);
    fault_plan_disarm(f.plan);
    assert_int_equal(bench_flush(f.store), CONFAB_OK);
    fault_close(&f);
}

static void test_store_fault__delays_until_released(void **state)
{
    (void)state;
    struct fault_bench f;
    fault_open(&f);
    assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 1, 2, FAULT_DELAY, CONFAB_OK), CONFAB_OK);
    unsigned done = 0;
    struct store_request reqs[2];
    for (unsigned i = 0; i < 2; i++) {
        reqs[i] = (struct store_request){.op = STORE_WRITE, .done = count_done, .arg = &done};
        store_batch_put(&reqs[i].batch, (struct store_key){STORE_HEADER, conv_key(1), NONE},
                        span_str(i == 0 ? "first" : "second"));
        assert_int_equal(message_store_submit(f.store, &reqs[i]), CONFAB_OK);
    }
    assert_int_equal(done, 0);
    assert_int_equal(fault_plan_delayed(f.plan), 2);
    assert_false(has_header(f.store, 1));
    assert_int_equal(store_fault_release(f.store), 2);
    assert_int_equal(done, 2);
    struct store_key key = {STORE_HEADER, conv_key(1), NONE};
    struct store_request get = {.op = STORE_GET, .keys = &key, .nkeys = 1};
    bench_do(f.store, &get);
    assert_true(span_is(get.ret_rows[0].value, "second"));
    store_request_deinit(&get);
    store_request_deinit(&reqs[0]);
    store_request_deinit(&reqs[1]);
    fault_close(&f);
}

static void test_store_fault__the_number_of_rules_is_bounded(void **state)
{
    (void)state;
    struct fault_bench f;
    fault_open(&f);
    for (unsigned i = 0; i < FAULT_RULES_MAX; i++) {
        assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 1, 1, FAULT_FAIL, CONFAB_IO),
                         CONFAB_OK);
    }
    assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 1, 1, FAULT_FAIL, CONFAB_IO),
                     CONFAB_LIMIT);
    assert_int_equal(put_header(f.store, 1), CONFAB_IO); /* uses all of them up */
    assert_int_equal(put_header(f.store, 1), CONFAB_OK);
    assert_int_equal(fault_plan_arm(f.plan, STORE_WRITE, 1, 1, FAULT_FAIL, CONFAB_IO), CONFAB_OK);
    fault_close(&f);
}

int main(int argc, char **argv)
{
    if (argc == 3) {
        return run_writer(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_store_mem__a_crash_keeps_a_prefix_after_the_flush,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_mem__a_crash_forgets_what_was_under_way, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__agrees_with_the_memory_store, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__a_killed_process_leaves_a_prefix, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__a_store_in_use_is_locked, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__compactions_wait_until_they_may, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__newer_and_foreign_stores_are_refused,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__a_missing_parent_is_an_io_error, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__flushes_pass_the_systems_cache, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__full_chunks_lie_beside_the_tables,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__garbage_is_collected, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__merges_wait_while_much_is_written,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__damage_is_reported, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__a_damaged_manifest_is_reported, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_rocksdb__error_texts_are_understood, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_fault__fails_the_nth_of_a_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_fault__an_unknown_outcome_happened, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_store_fault__refuses_at_submit, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_fault__delays_until_released, setup, teardown),
        cmocka_unit_test_setup_teardown(test_store_fault__the_number_of_rules_is_bounded, setup,
                                        teardown),
    };
    return cmocka_run_group_tests_name("store adapters", tests, NULL, NULL);
}
