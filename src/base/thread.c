#include "base/thread.h"

#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/compiler.h"

enum { SLICE_NS = 100 * 1000, /* the shortest that Linux takes */ NICE_MAX = 19 };

/* As the kernel has it, in its first version; the C library does not declare it yet. */
struct attributes {
    uint32_t size;
    uint32_t policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime;
    uint64_t deadline;
    uint64_t period;
};

/* Of the calling thread. All are read before some are written: each call sets all of them. */
static bool attributes_get(struct attributes *a)
{
    *a = (struct attributes){.size = sizeof(*a)};
    return syscall(SYS_sched_getattr, 0, a, sizeof(*a), 0) == 0 && a->policy == SCHED_OTHER;
}

void thread_wake_soon(void)
{
    int before = errno;
    struct attributes a;
    if (attributes_get(&a)) {
        a.runtime = SLICE_NS;
        (void)syscall(SYS_sched_setattr, 0, &a, 0);
    }
    errno = before;
}

void thread_stand_back(int by)
{
    int before = errno;
    struct attributes a;
    if (attributes_get(&a)) {
        a.nice = MIN(a.nice + by, NICE_MAX);
        (void)syscall(SYS_sched_setattr, 0, &a, 0);
    }
    errno = before;
}
