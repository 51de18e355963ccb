/*
 * What an operator should look at though the server serves: said by whoever notices it, told in the
 * answer of /readyz. One line for each matter, which its owner changes and takes back.
 */
#ifndef CONFAB_GATEWAY_NOTICES_H
#define CONFAB_GATEWAY_NOTICES_H

#include <pthread.h>

#include "base/buf.h"

#define NOTICE_TEXT_MAX 200U

enum notice {
    NOTICE_CERTIFICATE, /* it runs out, or a new one was refused */
    NOTICE_ACME,        /* none can be had from the authority */
    NOTICE_REDIRECT,    /* nothing sends people from http to https */
    NOTICE_COUNT
};

struct notices {
    pthread_mutex_t lock;
    char texts[NOTICE_COUNT][NOTICE_TEXT_MAX];
};

void notices_init(struct notices *n);
void notices_deinit(struct notices *n);
/* Any thread. NULL or empty: nothing to be said; a long text is cut. */
void notices_set(struct notices *n, enum notice which, const char *text);
/* Any thread: appends a JSON array of those that say something. */
void notices_put(struct notices *n, struct buf *out);

#endif
