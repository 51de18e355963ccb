/*
 * What the message_store contract tests run on: one store of each adapter behind the same calls,
 * with its executors and its directory.
 */
#ifndef TESTS_CONTRACT_STORE_BENCH_H
#define TESTS_CONTRACT_STORE_BENCH_H

#include <stdbool.h>

#include "ports/message_store.h"

struct bench;
struct bench_kind {
    const char *name;
    bool persistent; /* survives bench_reopen */
    bool threads;
    bool fault; /* wrapped in the fault adapter, nothing armed */
    bool rocksdb;
};
extern const struct bench_kind BENCH_KINDS[];
extern const unsigned BENCH_NKINDS;

struct bench {
    const struct bench_kind *kind;
    struct executor *readers;
    struct executor *writer;
    struct message_store *inner;
    struct message_store *store;
    char dir[64];
};
void bench_open(struct bench *b, const struct bench_kind *kind);
void bench_close(struct bench *b);
/* Closes and opens again on the same data; only where `persistent`. */
void bench_reopen(struct bench *b);

/* Submits and waits; the result is in req->ret_err. */
void bench_do(struct message_store *store, struct store_request *req);
/* Writes the batch and frees it; returns the result. */
enum confab_err bench_write(struct message_store *store, struct buf *batch);
enum confab_err bench_flush(struct message_store *store);

/* A temporary directory below the build's, and its removal. */
void temp_dir_make(char *out, size_t size);
void temp_dir_remove(const char *path);

#endif
