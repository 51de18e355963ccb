#include "adapters/os/fd.h"

#include <errno.h>
#include <stdint.h>
#include <unistd.h>

bool fd_write_all(int fd, const void *p, size_t n)
{
    const uint8_t *at = p;
    while (n > 0) {
        ssize_t put = write(fd, at, n);
        if (put < 0 && errno == EINTR) {
            continue;
        }
        if (put <= 0) {
            errno = put < 0 ? errno : EIO;
            return false;
        }
        at += put;
        n -= (size_t)put;
    }
    return true;
}

bool fd_read_all(int fd, void *p, size_t size, size_t *ret_n)
{
    size_t done = 0;
    while (done < size) {
        ssize_t got = read(fd, (uint8_t *)p + done, size - done);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return false;
        }
        if (got == 0) {
            break;
        }
        done += (size_t)got;
    }
    *ret_n = done;
    return true;
}
