/*
 * Notices that a certificate's or key's file was replaced or rewritten, by looking at them now and
 * then: no notification of the kernel's follows links to files elsewhere, as certbot makes them,
 * and there is nothing to gain from a faster one.
 *
 * The two files are written one after the other. A change is therefore told only when both rest:
 * when two looks in a row saw the same.
 */
#ifndef CONFAB_ADAPTERS_TLS_TLS_WATCH_H
#define CONFAB_ADAPTERS_TLS_TLS_WATCH_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

struct tls_stamp {
    uint64_t device;
    uint64_t inode;
    int64_t size; /* -1: not there */
    int64_t modified_ns;
};

struct tls_watch {
    char paths[2][PATH_MAX];
    struct tls_stamp known[2]; /* as they were when the caller read them */
    struct tls_stamp seen[2];  /* at the last look */
};

/* From now on what is there counts as known. The paths are copied. */
void tls_watch_init(struct tls_watch *w, const char *cert_path, const char *key_path);
/*
 * Looks. True when the files are others than known, and rest; they are known from then on, so that
 * a bad pair is told once.
 */
bool tls_watch_look(struct tls_watch *w);

#endif
