#include "client/io_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <confab/rest.h>

#include "base/clock.h"

void cconn_init(struct cconn *c)
{
    memset(c, 0, sizeof(*c));
    c->fd = -1;
}

void cconn_close(struct cconn *c)
{
    ctls_conn_free(c->ssl);
    c->ssl = NULL;
    if (c->fd >= 0) {
        close(c->fd);
    }
    if (c->all) {
        freeaddrinfo(c->all);
    }
    c->fd = -1;
    c->all = NULL;
    c->next = NULL;
    c->up = c->shaken = false;
}

/* Starts on the next address that does not fail at once. */
static enum confab_err try_next(struct cconn *c)
{
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
    while (c->next) {
        const struct addrinfo *a = c->next;
        c->next = a->ai_next;
        int fd =
            socket(a->ai_family, a->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, a->ai_protocol);
        if (fd < 0) {
            continue;
        }
        /* Frames are small, and each is written once. */
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (connect(fd, a->ai_addr, a->ai_addrlen) == 0 || errno == EINPROGRESS) {
            c->fd = fd;
            return CONFAB_OK;
        }
        close(fd);
    }
    return CONFAB_NET;
}

enum confab_err cconn_open(struct cconn *c, const char *host, const char *port)
{
    cconn_close(c);
    c->why[0] = '\0';
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    int r = getaddrinfo(host, port, &hints, &c->all);
    if (r != 0) {
        c->all = NULL;
        return r == EAI_MEMORY ? CONFAB_NOMEM : CONFAB_NET;
    }
    c->next = c->all;
    enum confab_err err = try_next(c);
    if (err) {
        cconn_close(c);
    }
    return err;
}

/* After a failure the connection is closed, and `why` says what it was. */
static enum confab_err shake(struct cconn *c)
{
    enum confab_err err = c->ssl ? CONFAB_OK : ctls_conn_new(c->tls, c->fd, &c->ssl);
    if (!err) {
        err = ctls_conn_shake(c->ssl);
    }
    if (err == CONFAB_AGAIN) {
        return err;
    }
    c->shaken = err == CONFAB_OK;
    (void)snprintf(c->why, sizeof(c->why), "%s", err && c->ssl ? ctls_conn_why(c->ssl) : "");
    if (err) {
        cconn_close(c);
    }
    return err;
}

enum confab_err cconn_progress(struct cconn *c)
{
    while (!c->up) {
        struct pollfd p = {.fd = c->fd, .events = POLLOUT};
        int r = poll(&p, 1, 0);
        if (r == 0 || (r < 0 && errno == EINTR)) {
            return CONFAB_AGAIN;
        }
        int error = 0;
        socklen_t n = sizeof(error);
        if (r > 0 && getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &n) == 0 && error == 0) {
            c->up = true;
        } else if (try_next(c) != CONFAB_OK) {
            cconn_close(c);
            return CONFAB_NET;
        }
    }
    return c->tls && !c->shaken ? shake(c) : CONFAB_OK;
}

short cconn_events(const struct cconn *c)
{
    return c->ssl && !c->shaken ? ctls_conn_events(c->ssl) : POLLOUT;
}

bool cconn_has_pending(const struct cconn *c)
{
    return c->ssl && c->shaken && ctls_conn_has_pending(c->ssl);
}

enum confab_err cconn_read(struct cconn *c, void *p, size_t n, size_t *ret_n)
{
    if (c->ssl) {
        return ctls_conn_read(c->ssl, p, n, ret_n);
    }
    ssize_t r;
    do {
        r = recv(c->fd, p, n, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? CONFAB_AGAIN : CONFAB_NET;
    }
    if (r == 0) {
        return CONFAB_EOF;
    }
    *ret_n = (size_t)r;
    return CONFAB_OK;
}

enum confab_err cconn_write(struct cconn *c, const void *p, size_t n, size_t *ret_n)
{
    if (c->ssl) {
        return ctls_conn_write(c->ssl, p, n, ret_n);
    }
    ssize_t r;
    do {
        r = send(c->fd, p, n, MSG_NOSIGNAL);
    } while (r < 0 && errno == EINTR);
    if (r < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? CONFAB_AGAIN : CONFAB_NET;
    }
    *ret_n = (size_t)r;
    return CONFAB_OK;
}

bool cconn_wait(struct pollfd *fds, size_t n, int timeout_ms)
{
    return poll(fds, (nfds_t)n, timeout_ms) > 0;
}

uint64_t cio_now_ms(void)
{
    return clock_mono_ns(clock_system()) / 1000000U;
}

uint64_t confab_now_ms(void)
{
    return clock_wall_ms(clock_system());
}

void confab_time_local(uint64_t ms, char out[CONFAB_TIME_SIZE])
{
    time_t t = (time_t)(ms / 1000);
    struct tm tm;
    if (!localtime_r(&t, &tm) || strftime(out, CONFAB_TIME_SIZE, "%Y-%m-%d %H:%M:%S", &tm) == 0) {
        confab_time_utc(ms, out);
    }
}
