/*
 * Resume: what a session missed. The session is attached first (it gets live frames from then on),
 * then its conversation list is read, every shard is asked about the conversations of its
 * partitions, and the answers go out as `conversations` pages, newest first, as the connection
 * takes them; at last `caught_up` with the new token.
 *
 *     waiting ─ a place is free ─→ listing ─→ asking ─→ sending ─→ caught_up
 *        └── the session dies, frames were dropped, or a page is not read: it ends without it ──┘
 *
 * A token is "1-" and a time in hexadecimal: everything before that time was sent. It is the log's
 * clock at the start, lowered to the closed time of each shard's answer.
 */
#ifndef CONFAB_GATEWAY_RESUME_H
#define CONFAB_GATEWAY_RESUME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "gateway/conn.h"
#include "proto/wire.h"

struct resumes {
    struct list running;
    struct list waiting;
    uint32_t nrunning; /* of those in `running`, without the stalled ones */
    uint32_t nstalled; /* in `running` too: their clients do not read */
    uint32_t nwaiting;
    uint32_t have_total; /* entries of `have` lists */
    uint64_t ended_ns;   /* when the last one ended */
    uint64_t pace_ns;    /* between two ends while others waited, smoothed */
    uint32_t pages;      /* of this turn */
};

void resumes_init(struct shard *s);
void resumes_deinit(struct shard *s);
/*
 * Starts or queues it. CONFAB_CONFLICT: one is under way for this session. CONFAB_AGAIN: too many
 * wait already (resume_wait_ms tells for how long to stay away). CONFAB_NOMEM. A token that does
 * not parse is taken as none.
 */
CONFAB_NODISCARD enum confab_err resume_begin(struct shard *s, struct conn *c,
                                              const struct wire_resume *r);
/* An entry of this user's own log is on its way to the sessions here. */
void resumes_own_moved(struct shard *s, uint64_t user);
/*
 * How long the queue takes at the pace at which resumes are served now, and up to as much again:
 * who is told to come back comes when there is a place, and not all come together.
 */
uint32_t resume_wait_ms(struct shard *s);
/* Sends pages where connections have room, up to a bound of a turn; true when some are left. */
bool resumes_run(struct shard *s);
/* After connections were written: one that held back a page may have room for it now. */
bool resumes_can_go_on(struct shard *s);

/* Exposed for tests. */
#define RESUME_TOKEN_BYTES 40U
size_t resume_token_write(uint64_t epoch, uint64_t ms, char out[RESUME_TOKEN_BYTES]);
bool resume_token_parse(struct span text, uint64_t *ret_epoch, uint64_t *ret_ms);

#endif
