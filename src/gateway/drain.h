/*
 * Going away: how a shard sends its clients off (docs/design/realtime.md "Going away").
 *
 *     asked ─► what waits at the listener is accepted, the listener given up
 *           ─► every session is told `reconnect` with its delay; idle HTTP connections are closed
 *           ─► a session whose delay has passed is read no more, gets its answers, is closed (1001)
 *           ─► at the deadline what is left is closed
 *           ─► drained: no connection and no request is left
 *
 * Delays go by the place in the table of connections, so that sessions leave evenly, and never
 * sooner than they were told. Few sessions are spread over less than drain_spread_ms: it is there
 * to spare whoever takes them all.
 */
#ifndef CONFAB_GATEWAY_DRAIN_H
#define CONFAB_GATEWAY_DRAIN_H

#include <stdint.h>

struct shard;

/* While draining, turns come that often at least. */
#define DRAIN_STEP_MS 50U

/* Once in each turn, after reading the time. */
void drain_turn(struct shard *s);

#endif
