#include "store_bench.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/fault/store_fault.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/store_mem.h"
#include "adapters/os/executor_pool.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "gate.h"

const struct bench_kind BENCH_KINDS[] = {
    {"mem, inline", false, false, false, false},
    {"mem, threads", false, true, false, false},
    {"mem, fault wrapper", false, true, true, false},
    {"rocksdb, inline", true, false, false, true},
    {"rocksdb, threads", true, true, false, true},
    {"rocksdb, fault wrapper", true, true, true, true},
};
const unsigned BENCH_NKINDS = sizeof(BENCH_KINDS) / sizeof(BENCH_KINDS[0]);

void temp_dir_make(char *out, size_t size)
{
    const char *tmp = getenv("TMPDIR");
    assert_true(snprintf(out, size, "%s/confab-XXXXXX", tmp ? tmp : "/tmp") < (int)size);
    assert_non_null(mkdtemp(out));
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

void temp_dir_remove(const char *path)
{
    assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void open_store(struct bench *b)
{
    enum confab_err err;
    if (b->kind->rocksdb) {
        struct store_rocksdb_cfg cfg = {
            .memtable_bytes = 1 << 20, .block_cache_bytes = 1 << 20, .blob_bytes = 500};
        err = store_rocksdb_open(b->dir, cfg, b->readers, b->writer, NULL, 0, &b->inner);
    } else {
        err = store_mem_open((struct store_mem_cfg){false}, b->readers, &b->inner);
    }
    assert_int_equal(err, CONFAB_OK);
    b->store = b->inner;
    if (b->kind->fault) {
        assert_int_equal(store_fault_open(b->inner, &b->store), CONFAB_OK);
    }
}

static void close_store(struct bench *b)
{
    if (b->kind->fault) {
        store_fault_close(b->store);
    }
    if (b->kind->rocksdb) {
        store_rocksdb_close(b->inner);
    } else {
        store_mem_close(b->inner);
    }
}

void bench_open(struct bench *b, const struct bench_kind *kind)
{
    memset(b, 0, sizeof(*b));
    b->kind = kind;
    if (kind->rocksdb) {
        temp_dir_make(b->dir, sizeof(b->dir));
    }
    if (kind->threads) {
        assert_int_equal(executor_pool_open(2, 1000, "read", &b->readers), CONFAB_OK);
        assert_int_equal(executor_pool_open(1, 1000, "write", &b->writer), CONFAB_OK);
    } else {
        assert_int_equal(executor_inline_open(false, 1000, &b->readers), CONFAB_OK);
        assert_int_equal(executor_inline_open(false, 1000, &b->writer), CONFAB_OK);
    }
    open_store(b);
}

void bench_close(struct bench *b)
{
    if (b->kind->threads) {
        executor_pool_close(b->readers);
        executor_pool_close(b->writer);
    } else {
        executor_inline_close(b->readers);
        executor_inline_close(b->writer);
    }
    close_store(b);
    if (b->kind->rocksdb) {
        temp_dir_remove(b->dir);
    }
}

void bench_reopen(struct bench *b)
{
    assert_true(b->kind->persistent);
    close_store(b);
    open_store(b);
}

static void on_done(struct store_request *req)
{
    gate_pass(req->arg);
}

void bench_do(struct message_store *store, struct store_request *req)
{
    struct gate gate = GATE_INIT;
    req->arg = &gate;
    req->done = on_done;
    req->ret_err = CONFAB_AGAIN;
    assert_int_equal(message_store_submit(store, req), CONFAB_OK);
    gate_wait(&gate, 1);
}

enum confab_err bench_write(struct message_store *store, struct buf *batch)
{
    struct store_request req = {.op = STORE_WRITE, .batch = *batch};
    buf_init(batch);
    bench_do(store, &req);
    store_request_deinit(&req);
    return req.ret_err;
}

enum confab_err bench_flush(struct message_store *store)
{
    struct store_request req = {.op = STORE_FLUSH};
    bench_do(store, &req);
    store_request_deinit(&req);
    return req.ret_err;
}
