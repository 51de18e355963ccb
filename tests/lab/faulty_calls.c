/*
 * Allocations and system calls that fail, for whole processes. Linked into confabd-faulty with
 * --wrap (cmake/tests.cmake), so that exactly the calls in our own objects come by here and those
 * of the libraries do not. tests/lab/fault_lab.py gives the orders and reads what happened.
 *
 * Both meet in a file that is mapped (CONFAB_FAULTS in the environment; without it nothing fails):
 * `struct orders` below, whose layout fault_lab.py repeats. Each call site gets an entry when it is
 * first passed, known by its return address; the orders name a site or all of a class, which of the
 * calls there is the first to fail, how many, and how.
 *
 * A short transfer or EAGAIN on a socket is followed by a new edge of readiness, as the kernel
 * would give: it is registered again with the events that it had.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SITES_MAX = 4096, SOCKETS_MAX = 4096 };
enum class { CLASS_MEMORY = 1, CLASS_CALL = 2 };

struct site {
    _Atomic uint64_t where; /* 0: free; the return address, from the start of the program */
    char call[16];
    _Atomic uint64_t hits;
    _Atomic uint64_t spoiled;
};
struct orders {
    _Atomic uint32_t armed;
    uint32_t classes; /* any site of these */
    uint64_t site;    /* or this one, by its `where`; 0: any */
    uint64_t first;   /* the first to fail, from 1 */
    uint64_t count;   /* so many fail */
    uint64_t every;   /* and then each so many-th; 0 or 1: in a row */
    int32_t error;    /* 0: a short transfer */
    uint32_t pad;
    _Atomic uint64_t seen; /* calls that the orders are about */
    _Atomic uint64_t spoiled;
    char only[64]; /* names of calls with a blank before and after each; empty: all */
    struct site sites[SITES_MAX];
};

extern const char __executable_start[]; /* NOLINT: the linker's name */

static struct orders *orders;
static struct {
    _Atomic int epoll_fd;
    _Atomic uint32_t events;
} registered[SOCKETS_MAX];

static _Atomic uint64_t counters[SOCKETS_MAX / 64]; /* which descriptors are eventfds, by bits */

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CONFAB_FAULTS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof(*orders), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        orders = at == MAP_FAILED ? NULL : at;
        close(fd);
    }
    if (path && !orders) {
        _exit(97);
    }
}

static struct site *site_of(uint64_t where, const char *call)
{
    for (uint64_t i = where * 0x9e3779b97f4a7c15ULL >> 32;; i++) {
        struct site *s = &orders->sites[i % SITES_MAX];
        uint64_t found = atomic_load(&s->where);
        if (found == 0 && atomic_compare_exchange_strong(&s->where, &found, where)) {
            for (size_t n = 0; n + 1 < sizeof(s->call) && call[n]; n++) {
                s->call[n] = call[n];
            }
            return s;
        }
        if (found == where) {
            return s;
        }
    }
}

static bool is_named(const char *names, const char *call)
{
    for (const char *at = names; *at;) {
        at += *at == ' ';
        size_t n = 0;
        while (call[n] && at[n] == call[n]) {
            n++;
        }
        if (!call[n] && (at[n] == ' ' || !at[n])) {
            return true;
        }
        while (*at && *at != ' ') {
            at++;
        }
    }
    return names[0] == 0;
}

/* Must this call fail? Then *ret_error says how. Keeps errno. */
static bool spoils(enum class class, const char *call, const void *where, int *ret_error)
{
    if (!orders) {
        return false;
    }
    struct site *s = site_of((uint64_t)((const char *)where - __executable_start), call);
    atomic_fetch_add(&s->hits, 1);
    if (!atomic_load(&orders->armed) || !(orders->classes & class) ||
        (orders->site && orders->site != s->where) || !is_named(orders->only, call)) {
        return false;
    }
    uint64_t n = atomic_fetch_add(&orders->seen, 1) + 1;
    if (n < orders->first) {
        return false;
    }
    n -= orders->first;
    uint64_t every = orders->every ? orders->every : 1;
    if (n % every != 0 || n / every >= orders->count) {
        return false;
    }
    atomic_fetch_add(&s->spoiled, 1);
    atomic_fetch_add(&orders->spoiled, 1);
    *ret_error = orders->error;
    return true;
}

/* A short transfer is asked for: half of it, at least a byte. */
static size_t half(size_t n)
{
    return n > 1 ? n / 2 : n;
}

#define HERE __builtin_return_address(0)
/* Declared for the compiler's sake: nobody else calls them. */
#define DECLARE(ret, name, ...)                                                                    \
    ret __real_##name(__VA_ARGS__);                                                                \
    ret __wrap_##name(__VA_ARGS__)
/* A call that answers `bad` and says why in errno. */
#define WRAP(ret, bad, class, name, args, ...)                                                     \
    DECLARE(ret, name, __VA_ARGS__);                                                               \
    ret __wrap_##name(__VA_ARGS__)                                                                 \
    {                                                                                              \
        int error = 0;                                                                             \
        if (spoils(class, #name, HERE, &error) && error) {                                         \
            errno = error;                                                                         \
            return bad;                                                                            \
        }                                                                                          \
        return __real_##name args;                                                                 \
    }
#define CALL(name, args, ...) WRAP(int, -1, CLASS_CALL, name, args, __VA_ARGS__)
/* One that answers the error itself. */
#define CALL_ERROR(name, args, ...)                                                                \
    DECLARE(int, name, __VA_ARGS__);                                                               \
    int __wrap_##name(__VA_ARGS__)                                                                 \
    {                                                                                              \
        int error = 0;                                                                             \
        return spoils(CLASS_CALL, #name, HERE, &error) && error ? error : __real_##name args;      \
    }
/* One that moves `n` bytes. */
#define TRANSFER(name, args, ...)                                                                  \
    DECLARE(ssize_t, name, __VA_ARGS__);                                                           \
    ssize_t __wrap_##name(__VA_ARGS__)                                                             \
    {                                                                                              \
        int error = 0;                                                                             \
        if (spoils(CLASS_CALL, #name, HERE, &error)) {                                             \
            if (error) {                                                                           \
                errno = error;                                                                     \
                return -1;                                                                         \
            }                                                                                      \
            n = half(n);                                                                           \
        }                                                                                          \
        return __real_##name args;                                                                 \
    }

/* ---- Memory ---- */

WRAP(void *, NULL, CLASS_MEMORY, malloc, (n), size_t n)
WRAP(void *, NULL, CLASS_MEMORY, calloc, (n, size), size_t n, size_t size)
WRAP(void *, NULL, CLASS_MEMORY, realloc, (p, n), void *p, size_t n)
WRAP(void *, NULL, CLASS_MEMORY, aligned_alloc, (align, n), size_t align, size_t n)
WRAP(char *, NULL, CLASS_MEMORY, strdup, (s), const char *s)

/* ---- Files ---- */

DECLARE(int, open, const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...)
{
    int error = 0;
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (spoils(CLASS_CALL, "open", HERE, &error) && error) {
        errno = error;
        return -1;
    }
    return __real_open(path, flags, mode);
}

DECLARE(int, openat, int at, const char *path, int flags, ...);
int __wrap_openat(int at, const char *path, int flags, ...)
{
    int error = 0;
    va_list ap;
    va_start(ap, flags);
    mode_t mode = flags & O_CREAT ? va_arg(ap, mode_t) : 0;
    va_end(ap);
    if (spoils(CLASS_CALL, "openat", HERE, &error) && error) {
        errno = error;
        return -1;
    }
    return __real_openat(at, path, flags, mode);
}

/* The descriptor is gone whatever close answers. */
DECLARE(int, close, int fd);
int __wrap_close(int fd)
{
    int error = 0;
    bool fails = spoils(CLASS_CALL, "close", HERE, &error);
    if (fd >= 0 && fd < SOCKETS_MAX) {
        registered[fd].events = 0;
        atomic_fetch_and(&counters[fd / 64], ~(1ULL << fd % 64));
    }
    int r = __real_close(fd);
    if (fails && error) {
        errno = error;
        return -1;
    }
    return r;
}

TRANSFER(read, (fd, p, n), int fd, void *p, size_t n)
TRANSFER(pread, (fd, p, n, at), int fd, void *p, size_t n, off_t at)
TRANSFER(pwrite, (fd, p, n, at), int fd, const void *p, size_t n, off_t at)
CALL(fdatasync, (fd), int fd)
CALL(fsync, (fd), int fd)
CALL_ERROR(posix_fallocate, (fd, at, n), int fd, off_t at, off_t n)
CALL(ftruncate, (fd, n), int fd, off_t n)
CALL(fstat, (fd, st), int fd, struct stat *st)
CALL(stat, (path, st), const char *path, struct stat *st)
CALL(fstatat, (at, path, st, flags), int at, const char *path, struct stat *st, int flags)
CALL(fstatvfs, (fd, st), int fd, struct statvfs *st)
CALL(rename, (from, to), const char *from, const char *to)
CALL(renameat, (a, from, b, to), int a, const char *from, int b, const char *to)
CALL(unlink, (path), const char *path)
CALL(unlinkat, (at, path, flags), int at, const char *path, int flags)
CALL(mkdir, (path, mode), const char *path, mode_t mode)
CALL(chmod, (path, mode), const char *path, mode_t mode)
CALL(flock, (fd, how), int fd, int how)
WRAP(DIR *, NULL, CLASS_CALL, opendir, (path), const char *path)
WRAP(DIR *, NULL, CLASS_CALL, fdopendir, (fd), int fd)
WRAP(struct dirent *, NULL, CLASS_CALL, readdir, (dir), DIR *dir)
WRAP(FILE *, NULL, CLASS_CALL, fopen, (path, mode), const char *path, const char *mode)
WRAP(FILE *, NULL, CLASS_CALL, fdopen, (fd, mode), int fd, const char *mode)
CALL(fflush, (f), FILE *f)

/* ---- Sockets and threads ---- */

CALL(socket, (domain, type, protocol), int domain, int type, int protocol)
CALL(bind, (fd, sa, n), int fd, const struct sockaddr *sa, socklen_t n)
CALL(listen, (fd, n), int fd, int n)
CALL(setsockopt, (fd, level, name, v, n), int fd, int level, int name, const void *v, socklen_t n)
CALL(getsockopt, (fd, level, name, v, n), int fd, int level, int name, void *v, socklen_t *n)
CALL(getsockname, (fd, sa, n), int fd, struct sockaddr *sa, socklen_t *n)
CALL(getpeername, (fd, sa, n), int fd, struct sockaddr *sa, socklen_t *n)
CALL(shutdown, (fd, how), int fd, int how)
CALL(getifaddrs, (ret), struct ifaddrs **ret)
CALL(epoll_create1, (flags), int flags)
CALL(epoll_wait, (fd, e, n, ms), int fd, struct epoll_event *e, int n, int ms)

/* A count that is added to an eventfd is there at once: there is nothing to fail or interrupt. */
DECLARE(int, eventfd, unsigned n, int flags);
int __wrap_eventfd(unsigned n, int flags)
{
    int error = 0;
    if (spoils(CLASS_CALL, "eventfd", HERE, &error) && error) {
        errno = error;
        return -1;
    }
    int fd = __real_eventfd(n, flags);
    if (fd >= 0 && fd < SOCKETS_MAX) {
        atomic_fetch_or(&counters[fd / 64], 1ULL << fd % 64);
    }
    return fd;
}

DECLARE(ssize_t, write, int fd, const void *p, size_t n);
ssize_t __wrap_write(int fd, const void *p, size_t n)
{
    int error = 0;
    bool counter =
        fd >= 0 && fd < SOCKETS_MAX && (atomic_load(&counters[fd / 64]) >> fd % 64 & 1) != 0;
    if (!counter && spoils(CLASS_CALL, "write", HERE, &error)) {
        if (error) {
            errno = error;
            return -1;
        }
        n = half(n);
    }
    return __real_write(fd, p, n);
}

CALL_ERROR(pthread_create, (t, attr, f, arg), pthread_t *t, const pthread_attr_t *attr,
           void *(*f)(void *), void *arg)

DECLARE(int, epoll_ctl, int fd, int op, int of, struct epoll_event *ev);
int __wrap_epoll_ctl(int fd, int op, int of, struct epoll_event *ev)
{
    int error = 0;
    /* A change of what is registered takes no memory and cannot fail from outside. */
    if (op != EPOLL_CTL_MOD && spoils(CLASS_CALL, "epoll_ctl", HERE, &error) && error) {
        errno = error;
        return -1;
    }
    if (of >= 0 && of < SOCKETS_MAX) {
        registered[of].epoll_fd = fd;
        registered[of].events = op == EPOLL_CTL_DEL ? 0 : ev->events;
    }
    return __real_epoll_ctl(fd, op, of, ev);
}

/* The edge that the kernel would give once it has room, or bytes, or connections again. */
static void give_edge(int fd)
{
    if (fd >= 0 && fd < SOCKETS_MAX && registered[fd].events) {
        struct epoll_event ev = {.events = registered[fd].events, .data.fd = fd};
        int before = errno;
        (void)__real_epoll_ctl(registered[fd].epoll_fd, EPOLL_CTL_MOD, fd, &ev);
        errno = before;
    }
}

DECLARE(int, accept4, int fd, struct sockaddr *sa, socklen_t *n, int flags);
int __wrap_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
    int error = 0;
    if (spoils(CLASS_CALL, "accept4", HERE, &error) && error) {
        if (error == EAGAIN) {
            give_edge(fd);
        }
        errno = error;
        return -1;
    }
    return __real_accept4(fd, sa, n, flags);
}

DECLARE(ssize_t, recv, int fd, void *p, size_t n, int flags);
ssize_t __wrap_recv(int fd, void *p, size_t n, int flags)
{
    int error = 0;
    bool fails = spoils(CLASS_CALL, "recv", HERE, &error);
    ssize_t r = -1;
    if (!fails || !error) {
        r = __real_recv(fd, p, fails ? half(n) : n, flags);
    }
    if (fails) {
        give_edge(fd);
        errno = error ? error : errno;
    }
    return r;
}

DECLARE(ssize_t, send, int fd, const void *p, size_t n, int flags);
ssize_t __wrap_send(int fd, const void *p, size_t n, int flags)
{
    int error = 0;
    bool fails = spoils(CLASS_CALL, "send", HERE, &error);
    ssize_t r = -1;
    if (!fails || !error) {
        r = __real_send(fd, p, fails ? half(n) : n, flags);
    }
    if (fails) {
        give_edge(fd);
        errno = error ? error : errno;
    }
    return r;
}

DECLARE(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
    int error = 0;
    bool fails = spoils(CLASS_CALL, "sendmsg", HERE, &error);
    struct iovec first = msg->msg_iovlen ? msg->msg_iov[0] : (struct iovec){0};
    struct msghdr part = *msg;
    ssize_t r = -1;
    if (fails && !error) {
        first.iov_len = half(first.iov_len);
        part.msg_iov = &first;
        part.msg_iovlen = 1;
    }
    if (!fails || !error) {
        r = __real_sendmsg(fd, &part, flags);
    }
    if (fails) {
        give_edge(fd);
        errno = error ? error : errno;
    }
    return r;
}
