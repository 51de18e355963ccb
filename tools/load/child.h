/* The server as a child process of this tool: started, killed, started again, measured. */
#ifndef LOAD_CHILD_H
#define LOAD_CHILD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * Runs `command` with /bin/sh; it dies with this process, and what it says goes to standard error.
 * Returns when GET /readyz on the port answers 200. CONFAB_NET: the command ended, or it was not
 * ready within 120 s.
 */
CONFAB_NODISCARD enum confab_err child_start(const char *command, uint16_t port, pid_t *ret_pid);
/* kill -9 and reap. */
void child_kill(pid_t pid);
/* SIGTERM and reap: the exit code, or -1 when it was a signal that ended it. */
int child_stop(pid_t pid);

struct child_memory {
    uint64_t rss_kib;
    uint64_t peak_kib;
};
/* From /proc; zeros when there is no such process. */
struct child_memory child_memory(pid_t pid);
/* CPU time of the process so far, in milliseconds. */
uint64_t child_cpu_ms(pid_t pid);

#endif
