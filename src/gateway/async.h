/*
 * What comes back to a shard from other threads: finished directory requests and hashing jobs. Each
 * is an object of the shard's that is away until it is posted; the shard's turn then runs it. Those
 * that are away are listed, so that a shard that is freed after a crash frees them too.
 */
#ifndef CONFAB_GATEWAY_ASYNC_H
#define CONFAB_GATEWAY_ASYNC_H

#include "base/list.h"
#include "base/mpsc.h"
#include "ports/directory.h"

struct shard;

struct async {
    struct mpsc_node node;
    struct list away;
    struct shard *shard;
    void (*run)(struct shard *s, struct async *a);  /* on the shard's thread */
    void (*drop)(struct shard *s, struct async *a); /* frees it when it will not run */
};
/* Shard's thread, before it is handed out. */
void async_begin(struct shard *s, struct async *a);
/* Shard's thread: it was not handed out after all. */
void async_cancel(struct async *a);
/* Any thread, once. */
void async_post(struct async *a);
/* Shard's thread: runs what was posted; false when there was nothing. */
bool async_drain(struct shard *s);
void async_drop_all(struct shard *s);

/* A directory request. Embedded in or followed by what its maker needs afterwards. */
struct dir_call {
    struct async async;
    struct dir_request req;
    uint64_t begun_ns; /* when it was submitted */
    /* Shard's thread; req.ret_err says how it went. The call is freed after it, by free(). */
    void (*on_done)(struct shard *s, struct dir_call *call);
    /* In place of on_done when the shard is freed; may be NULL. */
    void (*on_drop)(struct shard *s, struct dir_call *call);
};
/* Zeroed, of `size` bytes, the struct first; NULL when out of memory. */
struct dir_call *dir_call_new(size_t size, enum dir_op op);
/* On an error the call is freed and on_done is not called. CONFAB_BUSY, CONFAB_CLOSED. */
CONFAB_NODISCARD enum confab_err dir_call_submit(struct shard *s, struct dir_call *call);

#endif
