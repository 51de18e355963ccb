/*
 * The certificate while the server runs: its files are read again when they change or when somebody
 * asks (SIGHUP), and its end is announced. The main thread's.
 *
 *            files change and rest, or SIGHUP
 *      in use ──────────────────────────────► read ── good ─► the new pair is in use
 *        ▲                                      │ not a pair, expired, unreadable, …
 *        └────── the old pair stays ◄───────────┘ a log line, a counter, a notice in /readyz
 */
#ifndef CONFAB_CONFABD_CERTS_H
#define CONFAB_CONFABD_CERTS_H

#include "adapters/tls/tls_watch.h"
#include "base/metrics.h"
#include "confabd/front.h"
#include "gateway/notices.h"

struct certs {
    struct front *front; /* its cert follows what is in use */
    struct tls_watch watch;
    uint64_t warned_ms; /* when its end was last announced in the log; 0: never */
    uint64_t reloaded;
    uint64_t refused;
    bool bad; /* what lies in the files now was refused */
};

/* `front` is borrowed. Without TLS nothing is watched, and the rest does nothing. */
void certs_init(struct certs *c, struct front *front);
/*
 * About once a second; `asked`: also when the files look as before. Times in milliseconds. True:
 * another certificate is in use.
 */
bool certs_tick(struct certs *c, bool asked, uint64_t mono_ms, uint64_t wall_ms);
/* Counters and gauges, and what /readyz should say. */
void certs_tell(const struct certs *c, uint64_t wall_ms, struct metrics *m,
                struct notices *notices);

#endif
