/* Who listens on a TCP port of this machine, for the message about a taken one. Linux only. */
#ifndef CONFAB_CONFABD_PORT_OWNER_H
#define CONFAB_CONFABD_PORT_OWNER_H

#include <stdbool.h>
#include <stdint.h>

struct port_owner {
    long pid;
    char name[64];
};
/* False when it cannot be found out: nobody listens, or the process is another user's. */
bool port_owner_find(uint16_t port, struct port_owner *ret);

#endif
