/*
 * A disk that fails, for tests of whole processes. Preloaded into confabd, it lets writes and syncs
 * of some files fail with EIO once the test has given orders.
 *
 *   CONFAB_FAULT_FILES   part of the paths of the files concerned, such as "/log/"
 *   CONFAB_FAULT_ORDERS  a file with words; until it is there nothing fails
 *       write, sync      which calls fail
 *       once             only the first of them; what comes later succeeds, as on a kernel that
 *                        has dropped the pages it could not write
 *       drop             a failed sync takes with it what was written last: it reads as zeros
 *   CONFAB_FAULT_REPORT  from the first failure on, a line for each call on such a file: its name,
 *                        and "fails" where it was made to
 *
 * The calls go to the kernel directly, so that it does not matter which other library is asked for
 * them, a sanitizer's for example.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;
static unsigned failures;
/* The latest write, for "drop". */
static struct {
    int fd;
    off_t at;
    size_t n;
} last;

/* The contents of a small file as text; empty when it is not there. */
static void read_text(const char *path, char *out, size_t size)
{
    out[0] = 0;
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    if (fd >= 0) {
        long n = syscall(SYS_read, fd, out, size - 1);
        out[n > 0 ? n : 0] = 0;
        syscall(SYS_close, fd);
    }
}

static bool is_concerned(int fd)
{
    const char *part = getenv("CONFAB_FAULT_FILES");
    char link[64];
    char path[4096];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    long n = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = 0;
    return part && n > 0 && strstr(path, part) != NULL;
}

static void report(const char *call, bool fails)
{
    const char *path = getenv("CONFAB_FAULT_REPORT");
    char line[64];
    int n = snprintf(line, sizeof(line), "%s%s\n", call, fails ? " fails" : "");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path,
                                 O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600)
                  : -1;
    if (fd >= 0) {
        syscall(SYS_write, fd, line, (size_t)n);
        syscall(SYS_close, fd);
    }
}

static void drop_last(int fd)
{
    static const char zeros[4096];
    for (size_t done = 0; last.fd == fd && done < last.n; done += sizeof(zeros)) {
        size_t n = last.n - done < sizeof(zeros) ? last.n - done : sizeof(zeros);
        syscall(SYS_pwrite64, fd, zeros, n, last.at + (off_t)done);
    }
}

/* Must this call fail? `kind` is the word of the orders, `call` the name for the report. */
static bool must_fail(int fd, const char *kind, const char *call)
{
    if (!is_concerned(fd)) {
        return false;
    }
    char orders[64];
    pthread_mutex_lock(&mu);
    read_text(getenv("CONFAB_FAULT_ORDERS"), orders, sizeof(orders));
    bool fails = strstr(orders, kind) && !(strstr(orders, "once") && failures > 0);
    failures += fails;
    if (failures > 0) {
        report(call, fails);
    }
    if (fails && strstr(orders, "drop")) {
        drop_last(fd);
    }
    pthread_mutex_unlock(&mu);
    if (fails) {
        errno = EIO;
    }
    return fails;
}

static void remember(int fd, size_t n, off_t at)
{
    pthread_mutex_lock(&mu);
    last.fd = fd;
    last.at = at;
    last.n = n;
    pthread_mutex_unlock(&mu);
}

/* Declared here because the headers' names depend on the size of off_t. */
ssize_t pwrite(int fd, const void *data, size_t n, off_t at);
ssize_t pwrite64(int fd, const void *data, size_t n, off_t at);
int posix_fallocate(int fd, off_t at, off_t n);
int posix_fallocate64(int fd, off_t at, off_t n);

ssize_t write(int fd, const void *data, size_t n)
{
    return must_fail(fd, "write", "write") ? -1 : syscall(SYS_write, fd, data, n);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
{
    if (must_fail(fd, "write", "pwrite")) {
        return -1;
    }
    if (is_concerned(fd)) {
        remember(fd, n, at);
    }
    return syscall(SYS_pwrite64, fd, data, n, at);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
    return pwrite64(fd, data, n, at);
}

int posix_fallocate64(int fd, off_t at, off_t n)
{
    if (must_fail(fd, "write", "posix_fallocate")) {
        return EIO;
    }
    return syscall(SYS_fallocate, fd, 0, at, n) == 0 ? 0 : errno;
}

int posix_fallocate(int fd, off_t at, off_t n)
{
    return posix_fallocate64(fd, at, n);
}

int fdatasync(int fd)
{
    return must_fail(fd, "sync", "fdatasync") ? -1 : (int)syscall(SYS_fdatasync, fd);
}

int fsync(int fd)
{
    return must_fail(fd, "sync", "fsync") ? -1 : (int)syscall(SYS_fsync, fd);
}
