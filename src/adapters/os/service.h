/*
 * What a service manager (systemd) hands to a program that it starts: listening sockets, and a
 * socket on which the program says how it is. The protocols are sd_listen_fds(3) and sd_notify(3),
 * which are a descriptor number and a datagram: not worth a library in every build.
 *
 * Environment variables are read by the caller and handed in as text.
 */
#ifndef CONFAB_ADAPTERS_OS_SERVICE_H
#define CONFAB_ADAPTERS_OS_SERVICE_H

#include <stdbool.h>

#include "base/err.h"

#define SERVICE_FIRST_FD 3

/*
 * LISTEN_PID and LISTEN_FDS: how many descriptors from SERVICE_FIRST_FD on are for this process;
 * they are not handed on from here. 0: none, or for another process. CONFAB_INVALID: no numbers.
 */
CONFAB_NODISCARD enum confab_err service_sockets(const char *pid, const char *count, int *ret_n);

/*
 * NOTIFY_SOCKET: returns a descriptor that service_notify can use, -1 when the name is none or
 * cannot be reached. The caller's to close.
 */
int service_notify_open(const char *name);
/* One or more lines, such as "READY=1"; never waits. Nothing with -1. */
void service_notify(int fd, const char *text);

#endif
