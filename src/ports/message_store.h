/*
 * Port: message_store. Rows of a few tables, each under (partition key, sort key), so that it fits
 * an ordered key-value store and a wide-column database alike. What the rows hold is the core's
 * (src/core/store_rows.h); the adapter sees bytes.
 *
 * Asynchronous and batched: a request is submitted, its `done` is called exactly once, on any
 * thread (possibly before submit returns), and may submit further requests or do bounded CPU work.
 * Writes of one partition are submitted one at a time by its owner and applied in that order; a
 * batch is atomic, and one that ends with an error was not applied (an adapter that cannot know
 * finds out first: its writer goes on from what the store held before). After a crash the store
 * holds what it held after some prefix of the batches applied in its own order, at least those of
 * the last successful flush.
 */
#ifndef CONFAB_PORTS_MESSAGE_STORE_H
#define CONFAB_PORTS_MESSAGE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "ports/executor.h"

enum store_table {
    STORE_META = 1,  /* key: name                      server-wide facts */
    STORE_PARTITION, /* key: partition (2)             clock, id counter, flushed LSN */
    STORE_HEADER,    /* key: conversation (16)         folded state */
    STORE_HEAD,      /* key: conversation (16)         position and time, for resume */
    STORE_MEMBER,    /* key: conversation (16)         sort: user (8)       */
    STORE_CHUNK,     /* key: conversation (16)         sort: first seq (8)  */
    STORE_DEDUP,     /* key: conversation (16)         sort: day (2), first seq (8) */
    STORE_FEED,      /* key: partition (2)             sort: first message id (8) */
    STORE_FOLLOWUP,  /* key: partition (2)             sort: conversation (16) */
    STORE_TABLES
};

#define STORE_KEY_MAX   32U
#define STORE_SORT_MAX  32U
#define STORE_VALUE_MAX (4U << 20)

/* Keys sort bytewise. `sort` is empty in tables that have none. Borrowed. */
struct store_key {
    enum store_table table;
    struct span key;
    struct span sort;
};

enum store_op { STORE_GET = 1, STORE_RANGE, STORE_WRITE, STORE_FLUSH };

/* One row of an answer; sort and value point into the request's `ret_bytes`. */
struct store_row {
    bool found; /* STORE_GET: false for a missing key */
    struct span sort;
    struct span value;
};

struct store_request {
    struct job job; /* the adapter's */
    void *adapter;  /* the adapter's */
    enum store_op op;
    void (*done)(struct store_request *req); /* any thread, exactly once */
    void *arg;                               /* the caller's */

    /* STORE_GET: nkeys keys. Answer: nkeys rows in the same order. The array is the caller's. */
    const struct store_key *keys;
    uint32_t nkeys;

    /*
     * STORE_RANGE: rows of one table and key with from <= sort <= to (an empty `to` means no
     * bound), ascending, or descending from `to` with `reverse`; at most `limit` rows and about
     * `bytes_max` bytes of values (at least one row is returned when there is one; neither may be
     * zero). With `key` empty, and a table of partition-key-only rows, the range is over the keys
     * themselves and `sort` of a row is the key (used at start-up over STORE_PARTITION and
     * STORE_META).
     */
    enum store_table table;
    struct span key;
    struct span from;
    struct span to;
    uint32_t limit;
    uint32_t bytes_max;
    bool reverse;

    /* STORE_WRITE: framed operations made with the store_batch_ calls below. */
    struct buf batch;

    /* Results. Owned by the request; store_request_deinit frees them. */
    enum confab_err ret_err;
    struct store_row *ret_rows;
    uint32_t ret_nrows;
    bool ret_more; /* STORE_RANGE: stopped by limit or bytes_max */
    struct buf ret_bytes;
};

/* Frees the batch and the results; not the request itself. Accepts a zeroed request. */
void store_request_deinit(struct store_request *req);

void store_batch_put(struct buf *batch, struct store_key key, struct span value);
void store_batch_del(struct buf *batch, struct store_key key);
/* Deletes the rows of one table and key with from <= sort < to; an empty `to` means no bound. */
void store_batch_del_range(struct buf *batch, enum store_table table, struct span key,
                           struct span from, struct span to);

/* One framed operation of a batch, for adapters. CONFAB_EOF at the end. */
struct store_batch_item {
    enum { STORE_BATCH_PUT = 1, STORE_BATCH_DEL, STORE_BATCH_DEL_RANGE } op;
    struct store_key key; /* DEL_RANGE: sort is `from` */
    struct span value;    /* DEL_RANGE: `to` */
};
CONFAB_NODISCARD enum confab_err store_batch_next(struct reader *r, struct store_batch_item *ret);

struct store_stats {
    uint64_t reads;
    uint64_t writes;
    uint64_t flushes;
    uint64_t errors;
    uint64_t bytes_written;
    uint64_t disk_bytes;
    uint64_t garbage_bytes;  /* of these, what is known to be no row any more; 0 if not told */
    uint32_t unmerged_files; /* each of which a look-up has to ask; 0 if there is no such thing */
    uint64_t memory_bytes;
};

struct message_store;
struct message_store_ops {
    const char *name;
    int version;
    /*
     * Any thread, never blocks. On CONFAB_OK `done` will be called; on an error (CONFAB_BUSY: the
     * bounded queue is full; CONFAB_CLOSED) it will not. Results in ret_err: CONFAB_IO,
     * CONFAB_NO_SPACE, CONFAB_CORRUPT, CONFAB_NOMEM; for a key, bound or batch that the tables do
     * not take, CONFAB_INVALID or CONFAB_TOO_LARGE, with nothing changed. STORE_FLUSH makes every
     * write whose `done` was called before the submit durable.
     */
    enum confab_err (*submit)(struct message_store *store, struct store_request *req);
    void (*stats)(struct message_store *store, struct store_stats *ret); /* any thread */
};
struct message_store {
    const struct message_store_ops *ops;
};

CONFAB_NODISCARD static inline enum confab_err message_store_submit(struct message_store *store,
                                                                    struct store_request *req)
{
    return store->ops->submit(store, req);
}
static inline void message_store_stats(struct message_store *store, struct store_stats *ret)
{
    store->ops->stats(store, ret);
}

#endif
