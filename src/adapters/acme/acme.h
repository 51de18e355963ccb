/*
 * Certificates from an authority that speaks ACME (Let's Encrypt and others), and their renewal, on
 * a thread of its own: nothing here is ever waited for by a shard.
 *
 *          start: no certificate, another name wanted, or time to renew
 *   rests ───────────────────────────────────────────────────────────► tries ── got one ─► rests
 *     ▲                                                                  │ written, noticed by
 * tls_watch.h │ until two thirds of its life have passed, and some more          │ failed │ ▼ └──
 * poked (SIGHUP): at once ────────── waits: retry_ms, doubled each time up to a day, or as long as
 * the authority asks; kept in a file, so that a restart in between is not a further try
 *
 * Names are proven by TLS-ALPN-01 on the port that people use. Rejected: HTTP-01, which needs port
 * 80, a second listener and an answer without TLS; DNS-01, which needs the keys to somebody's zone.
 *
 * Files in `folder`, mode 0600: account.key (the account is found by it), current.pem (key and
 * chain in one file, so that they are never of two pairs), order.json and order.key (an order under
 * way), state.json (failures, and when the next try may be).
 */
#ifndef CONFAB_ADAPTERS_ACME_ACME_H
#define CONFAB_ADAPTERS_ACME_ACME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/err.h"

#define ACME_NAMES_MAX 32U
#define ACME_TEXT_MAX  200U
#define ACME_CURRENT   "current.pem"

struct acme_config {
    const char *directory; /* URL */
    const char *ca_file;   /* NULL: what the system trusts */
    const char *contact;   /* a mail address; NULL: none */
    const char *folder;    /* exists, private */
    const char *names[ACME_NAMES_MAX];
    size_t names_n;
    uint64_t retry_ms; /* after the first failure */
    /*
     * Called on the thread: answer the challenge of a name with a digest of 32 bytes from now on;
     * NULL: not any more.
     */
    enum confab_err (*challenge)(void *arg, const char *name, const uint8_t *digest);
    void *arg;
};

struct acme;
/*
 * Starts the thread. The configuration and what it points to are borrowed. Once in a process at a
 * time, by the main thread. CONFAB_NOMEM, CONFAB_IO.
 */
CONFAB_NODISCARD enum confab_err acme_open(const struct acme_config *cfg, struct acme **ret);
/* Ends requests under way and the thread. NULL is fine. */
void acme_close(struct acme *a);
/* Any thread: forgets the pause after a failure. Nothing when it rests. */
void acme_poke(struct acme *a);

struct acme_stats {
    uint64_t issued;
    uint64_t failed;
    int64_t next_s;          /* when the next try is due, seconds since 1970 */
    char why[ACME_TEXT_MAX]; /* why the last try failed; empty: it did not */
};
/* Any thread. */
void acme_stats(struct acme *a, struct acme_stats *ret);

#endif
