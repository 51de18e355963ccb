/*
 * The data directory: one server's at a time. Mode 0700, locked with flock on the file `lock`,
 * which holds the pid of its server; a lock dies with its process, so a killed server leaves none
 * behind.
 *
 *     lock          the lock and the pid
 *     format        "confab 1": the version of this layout; a newer one is refused
 *     server.json   {"pid":…,"url":"…","fingerprint":"…","version":"…"} while a server runs; the
 *                   fingerprint of its certificate only with TLS
 *     tls/          cert.pem and key.pem of --lan; acme/ for --domain (adapters/acme/acme.h)
 *     log/          segments of the event log
 *     store/        the message store
 *     directory.db  accounts and devices
 *     CHECKPOINT    where reading the log may begin
 *     EPOCHS        which resume tokens were given out from this data (core/epochs.h)
 *     reserve       room for the next start on a full disk
 *     keys/         token.key: 32 random bytes that sign access tokens; token.key.old, if there is
 *                   one, still verifies them
 *     operator.key  lets `confab admin` in while this server runs; new at every start
 */
#ifndef CONFAB_CONFABD_DATADIR_H
#define CONFAB_CONFABD_DATADIR_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define DATADIR_FORMAT 1

struct datadir {
    char path[PATH_MAX];
    int lock_fd; /* -1: not locked */
};

/* Who has the directory, as far as its files tell. */
struct datadir_owner {
    long pid;      /* 0: not known */
    char url[256]; /* empty: not known */
    char version[64];
};

/*
 * The directory to use: `wanted`, or when that is empty $XDG_DATA_HOME/confab, or
 * $HOME/.local/share/confab. CONFAB_NOT_FOUND: none of them is set. CONFAB_TOO_LARGE.
 */
CONFAB_NODISCARD enum confab_err datadir_choose(const char *wanted, char ret[PATH_MAX]);
/*
 * Makes the directory where it is missing, takes the lock, checks the format. What went wrong is
 * in `detail` (at least 512 bytes). CONFAB_LOCKED: `ret_owner` says by whom. CONFAB_VERSION: newer.
 * CONFAB_FORBIDDEN, CONFAB_IO.
 */
CONFAB_NODISCARD enum confab_err datadir_open(const char *path, struct datadir *ret,
                                              struct datadir_owner *ret_owner, char *detail);
/* For tools that only read: neither makes nor locks anything. CONFAB_NOT_FOUND, CONFAB_VERSION. */
CONFAB_NODISCARD enum confab_err datadir_look(const char *path, struct datadir *ret, char *detail);
/*
 * The server that has the directory locked; makes nothing. CONFAB_NOT_FOUND: none has. The url is
 * empty while it starts.
 */
CONFAB_NODISCARD enum confab_err datadir_served_by(const char *path, struct datadir_owner *ret);
/* Takes server.json away and unlocks. Accepts one that was never opened (lock_fd -1). */
void datadir_close(struct datadir *d);

/* Makes a subdirectory when it is missing. */
CONFAB_NODISCARD enum confab_err datadir_subdir(const struct datadir *d, const char *name,
                                                char ret[PATH_MAX]);
void datadir_file(const struct datadir *d, const char *name, char ret[PATH_MAX]);
/* Writes server.json, atomically. `fingerprint`: of the certificate, or empty without TLS. */
CONFAB_NODISCARD enum confab_err datadir_announce(const struct datadir *d, const char *url,
                                                  const char *fingerprint, const char *version);

#endif
