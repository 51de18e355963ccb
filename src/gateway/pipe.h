/*
 * The HTTP side of a carried session (carrier.h): a GET that is held while events come, written
 * into its answer as a stream of Server-Sent Events, or as the one answer to a poll. It knows
 * nothing of the session but its id.
 */
#ifndef CONFAB_GATEWAY_PIPE_H
#define CONFAB_GATEWAY_PIPE_H

#include <stdbool.h>
#include <stdint.h>

#include "gateway/carrier.h"

/* The request becomes the session's pipe; wait_ms for a poll. Held, or answered with an error. */
struct api_request;
void pipe_open(struct api_request *r, uint64_t session, enum carrier_mode mode, uint64_t after,
               uint32_t wait_ms);
/* DATA or LAST; answers and completes the message. */
void pipe_take(struct shard *s, struct carrier_msg *m);

/* For conn.c, conn_output.c and http.c. */
/* Its peer may have hung up: looks, while everything else that it sends waits. */
void pipe_watch(struct shard *s, struct conn *c);
void pipe_timer(struct shard *s, struct conn *c);
void pipe_drained(struct shard *s, struct conn *c); /* its output was written, in part or all */
void pipe_dying(struct shard *s, struct conn *c);

#endif
