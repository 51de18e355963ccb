/*
 * What a floor may do besides passing on: write and sync each message first, as a server must that
 * acknowledges what is durable, and keep it in a store. The engines are Confab's own, and nothing
 * else of it: one record each in the log, chunks of LZ4 without keys, headers or members.
 */
#ifndef BENCH_FLOOR_KEEP_H
#define BENCH_FLOOR_KEEP_H

#include "bench.h"

struct floor_keep;

/* In the process that serves. `record` is how many bytes of a message of `frame` bytes are kept;
 * *ret_fd becomes readable when floor_keep_next has something. Ends the process when it cannot. */
struct floor_keep *floor_keep_open(const char *dir, bool store, uint32_t nclients, uint32_t frame,
                                   uint32_t record, int *ret_fd);
/* Whole messages of one client, copied. */
void floor_keep_add(struct floor_keep *k, uint32_t client, const uint8_t *p, size_t n);
/* At the end of a turn: what was added goes to the log. False when the log takes nothing now: to be
 * tried again soon. */
bool floor_keep_submit(struct floor_keep *k);
/* What is on the disk, as it was added, in order; false when there is no more. Valid until the
 * next call. */
bool floor_keep_next(struct floor_keep *k, uint32_t *ret_client, struct span *ret);

/* A directory of its own below `parent` for what is kept, and its end. `path` holds PATH_MAX. */
CONFAB_NODISCARD enum confab_err floor_keep_make_dir(const char *parent, char *path);
void floor_keep_remove_dir(const char *path);

#endif
