/*
 * Too much queued output: what a shard does when all of it together reaches its bound. What is done
 * to one connection that does not take its own is in session.c.
 */
#ifndef CONFAB_GATEWAY_OVERLOAD_H
#define CONFAB_GATEWAY_OVERLOAD_H

#include <stdbool.h>

struct shard;

/*
 * After the write phase, when it is known who takes nothing. Above the bound it goes on until three
 * quarters of it are left, or nothing is to be had from anybody:
 *   1. what streams have taken and might ask for again is forgotten (carrier.h);
 *   2. ephemeral frames in the queues of those who take nothing are forgotten;
 *   3. their sessions have to pull, the one first that has taken nothing for longest;
 *   4. those who have taken nothing for four seconds are closed, in the same order: sessions with
 *      1013, others at once.
 * Connections that take what they get are left alone.
 */
void overload_relieve(struct shard *s);
/* Above the bound: nothing is begun that makes more of it, requests and pages of resumes. */
bool overload_is_full(const struct shard *s);

#endif
