#include "child.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "rest.h"

#define READY_S     120U
#define PROBE_NS    5000000
#define EXEC_PREFIX "exec "

static pid_t spawn(const char *command)
{
    char *line = malloc(strlen(command) + sizeof(EXEC_PREFIX));
    if (!line) {
        return -1;
    }
    memcpy(line, EXEC_PREFIX, sizeof(EXEC_PREFIX) - 1);
    memcpy(line + sizeof(EXEC_PREFIX) - 1, command, strlen(command) + 1);
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)setpgid(0, 0);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO); /* ours is the report */
        if (getppid() == parent) {
            (void)execl("/bin/sh", "sh", "-c", line, (char *)NULL);
        }
        _exit(127);
    }
    free(line);
    return pid;
}

enum confab_err child_start(const char *command, uint16_t port, pid_t *ret_pid)
{
    pid_t pid = spawn(command);
    if (pid < 0) {
        return CONFAB_NOMEM;
    }
    uint64_t deadline = clock_mono_ns(clock_system()) + (uint64_t)READY_S * 1000000000U;
    struct rest probe;
    rest_init(&probe, port);
    enum confab_err err = CONFAB_AGAIN;
    while (err == CONFAB_AGAIN) {
        if (waitpid(pid, NULL, WNOHANG) != 0) {
            (void)fprintf(stderr, "the server ended instead of starting: %s\n", command);
            err = CONFAB_NET;
        } else if (rest_call(&probe, "GET", "/readyz", NULL, NULL) == CONFAB_OK &&
                   probe.status == 200) {
            err = CONFAB_OK;
        } else if (clock_mono_ns(clock_system()) > deadline) {
            (void)fprintf(stderr, "the server is not ready after %u s: %s\n", READY_S, command);
            child_kill(pid);
            err = CONFAB_NET;
        } else {
            const struct timespec pause = {.tv_nsec = PROBE_NS};
            (void)nanosleep(&pause, NULL);
        }
    }
    rest_deinit(&probe);
    if (err == CONFAB_OK) {
        *ret_pid = pid;
    }
    return err;
}

void child_kill(pid_t pid)
{
    (void)kill(pid, SIGKILL);
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
    }
}

int child_stop(pid_t pid)
{
    int status = 0;
    (void)kill(pid, SIGTERM);
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR) {
            return -1;
        }
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static uint64_t status_kib(const char *line, const char *name)
{
    size_t n = strlen(name);
    return strncmp(line, name, n) == 0 ? strtoull(line + n, NULL, 10) : 0;
}

struct child_memory child_memory(pid_t pid)
{
    struct child_memory m = {0, 0};
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/status", (long)pid);
    FILE *f = fopen(path, "re");
    if (!f) {
        return m;
    }
    char line[256];
    while (fgets(line, sizeof(line), f)) {
        uint64_t rss = status_kib(line, "VmRSS:");
        uint64_t peak = status_kib(line, "VmHWM:");
        m.rss_kib = rss ? rss : m.rss_kib;
        m.peak_kib = peak ? peak : m.peak_kib;
    }
    (void)fclose(f);
    return m;
}

uint64_t child_cpu_ms(pid_t pid)
{
    char path[64];
    char text[1024];
    (void)snprintf(path, sizeof(path), "/proc/%ld/stat", (long)pid);
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof(text) - 1, f) : 0;
    if (f) {
        (void)fclose(f);
    }
    text[n] = '\0';
    /* Fields are counted from behind the name, which may hold blanks: utime is the 12th there. */
    char *p = strrchr(text, ')');
    uint64_t ticks = 0;
    for (int field = 0; p && field < 13; field++) {
        p = strchr(p + 1, ' ');
        if (p && field >= 11) {
            ticks += strtoull(p + 1, NULL, 10);
        }
    }
    return ticks * 1000U / (uint64_t)sysconf(_SC_CLK_TCK);
}
