#include "confabd/service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/os/net_epoll.h"
#include "adapters/os/service.h"

static enum confab_err problem(struct config_problem *why, int fd, const char *what)
{
    (void)snprintf(why->text, sizeof(why->text), "socket %d of the service manager %s", fd, what);
    return CONFAB_INVALID;
}

static enum confab_err sockets_take(struct service *s, struct config *cfg,
                                    struct config_problem *why)
{
    int n = 0;
    if (service_sockets(getenv("LISTEN_PID"), getenv("LISTEN_FDS"), &n) != CONFAB_OK) {
        (void)snprintf(why->text, sizeof(why->text),
                       "LISTEN_PID and LISTEN_FDS are no numbers, or name no open descriptors");
        return CONFAB_INVALID;
    }
    if (n > SERVICE_SOCKETS_MAX) {
        return problem(why, SERVICE_FIRST_FD + SERVICE_SOCKETS_MAX, "is more than confabd takes");
    }
    /* The last one that is looked at stays in cfg: the first. */
    for (int i = n - 1; i >= 0; i--) {
        struct net_peer at;
        s->sockets[i] = SERVICE_FIRST_FD + i;
        if (!net_epoll_is_listener(s->sockets[i], &at)) {
            return problem(why, s->sockets[i], "is no listening TCP socket (ListenStream=)");
        }
        (void)snprintf(cfg->listen, sizeof(cfg->listen), "%s", at.address);
        cfg->port = at.port;
        enum confab_err err = config_check(cfg, why);
        if (err != CONFAB_OK) {
            return err;
        }
    }
    s->nsockets = n;
    return CONFAB_OK;
}

static uint64_t watchdog_read(void)
{
    const char *pid = getenv("WATCHDOG_PID");
    const char *usec = getenv("WATCHDOG_USEC");
    if (!usec || (pid && strtol(pid, NULL, 10) != (long)getpid())) {
        return 0;
    }
    return strtoull(usec, NULL, 10) / 1000;
}

enum confab_err service_open(struct service *s, struct config *cfg, struct config_problem *why)
{
    static const char *const names[] = {"LISTEN_PID",    "LISTEN_FDS",   "LISTEN_FDNAMES",
                                        "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"};
    memset(s, 0, sizeof(*s));
    s->watchdog_ms = watchdog_read();
    s->notify_fd = service_notify_open(getenv("NOTIFY_SOCKET"));
    enum confab_err err = sockets_take(s, cfg, why);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)unsetenv(names[i]);
    }
    if (err != CONFAB_OK) {
        service_close(s);
    }
    return err;
}

void service_close(struct service *s)
{
    if (s->notify_fd >= 0) {
        (void)close(s->notify_fd);
    }
    for (int i = 0; i < s->nsockets; i++) {
        (void)close(s->sockets[i]);
    }
    s->notify_fd = -1;
    s->nsockets = 0;
}

void service_ready(const struct service *s, const char *url)
{
    char text[400];
    (void)snprintf(text, sizeof(text), "READY=1\nSTATUS=serves at %.300s", url);
    service_notify(s->notify_fd, text);
}

void service_stopping(const struct service *s)
{
    service_notify(s->notify_fd, "STOPPING=1\nSTATUS=sending clients away");
}

void service_alive(const struct service *s)
{
    if (s->watchdog_ms > 0) {
        service_notify(s->notify_fd, "WATCHDOG=1");
    }
}
