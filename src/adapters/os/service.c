#include "adapters/os/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/diag.h"

static bool number_parse(const char *text, long *ret)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || value < 0) {
        return false;
    }
    *ret = value;
    return true;
}

enum confab_err service_sockets(const char *pid, const char *count, int *ret_n)
{
    long process;
    long n;
    if (!pid || !count) {
        *ret_n = 0;
        return CONFAB_OK;
    }
    if (!number_parse(pid, &process) || !number_parse(count, &n) || n > 1024) {
        return CONFAB_INVALID;
    }
    if (process != (long)getpid()) {
        *ret_n = 0; /* inherited by accident */
        return CONFAB_OK;
    }
    for (int fd = SERVICE_FIRST_FD; fd < SERVICE_FIRST_FD + (int)n; fd++) {
        int flags = fcntl(fd, F_GETFD);
        if (flags < 0 || fcntl(fd, F_SETFD, flags | FD_CLOEXEC) != 0) {
            return CONFAB_INVALID;
        }
    }
    *ret_n = (int)n;
    return CONFAB_OK;
}

int service_notify_open(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    size_t n = name ? strlen(name) : 0;
    /* A path, or with @ a name without a file. */
    if (n < 2 || n >= sizeof(to.sun_path) || (name[0] != '/' && name[0] != '@')) {
        return -1;
    }
    memcpy(to.sun_path, name, n);
    if (name[0] == '@') {
        to.sun_path[0] = '\0';
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n);
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&to, len) != 0) {
        diag_warn(DIAG_SERVER, "the service manager cannot be reached | errno=\"%s\"",
                  strerror(errno));
        (void)close(fd);
        return -1;
    }
    return fd;
}

void service_notify(int fd, const char *text)
{
    if (fd >= 0 && send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) {
        diag_warn(DIAG_SERVER, "the service manager was not told | errno=\"%s\"", strerror(errno));
    }
}
