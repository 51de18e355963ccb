/* What a thread asks of the kernel. */
#include "base/thread.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "unit.h"

static void test_thread__wakes_soon_with_its_nice_value(void **state)
{
    (void)state;
    assert_int_equal(setpriority(PRIO_PROCESS, 0, 3), 0);
    errno = EXDEV;
    thread_wake_soon();
    assert_int_equal(errno, EXDEV);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), 3);
    uint64_t slice;
    uint8_t attributes[48] = {0};
    assert_int_equal(syscall(SYS_sched_getattr, 0, attributes, sizeof(attributes), 0), 0);
    memcpy(&slice, attributes + 24, sizeof(slice));
    /* Before Linux 6.12 there is no such thing: 0. */
    assert_true(slice == 0 || slice == 100000);
}

static void test_thread__stands_back(void **state)
{
    (void)state;
    int nice = getpriority(PRIO_PROCESS, 0);
    thread_stand_back(4);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), nice + 4);
    thread_stand_back(100);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), 19);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread__wakes_soon_with_its_nice_value),
        cmocka_unit_test(test_thread__stands_back),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
