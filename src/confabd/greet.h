/* What a person reads who has just started the server: the first minute. */
#ifndef CONFAB_CONFABD_GREET_H
#define CONFAB_CONFABD_GREET_H

#include "confabd/front.h"

struct greeting {
    const char *program; /* argv[0]: where the CLI is */
    const char *version;
    const char *data;
    const struct front *front;
    uint16_t port;
    const char *public_url; /* for people, with a slash at the end; empty: by the front */
    const char *admin_link; /* NULL: there is an administrator */
    double start_ms;
};
/* To standard output; colours and QR codes only where they can be shown. */
void greet(const struct greeting *g);

#endif
