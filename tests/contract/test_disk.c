/* The disk port's contract over each adapter, and what the simulated disk and the decorator add. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/fault/disk_fault.h"
#include "adapters/mem/disk_sim.h"
#include "adapters/os/disk_os.h"
#include "base/diag.h"

enum kind { DISK_OS, DISK_SIM, DISK_FAULT };
static enum kind kind_now;

struct fixture {
    struct disk *disk;
    struct disk_sim *sim;
    struct disk_fault *fault;
    char dir[64];
};

static void fixture_init(struct fixture *f, enum kind kind)
{
    *f = (struct fixture){0};
    if (kind == DISK_OS) {
        snprintf(f->dir, sizeof(f->dir), "/tmp/confab-disk-XXXXXX");
        assert_non_null(mkdtemp(f->dir));
        assert_int_equal(disk_os_open(f->dir, &f->disk), CONFAB_OK);
        return;
    }
    assert_int_equal(disk_sim_new(&(struct disk_sim_config){0}, &f->sim), CONFAB_OK);
    f->disk = disk_sim_disk(f->sim);
    if (kind == DISK_FAULT) {
        assert_int_equal(disk_fault_new(f->disk, &f->fault), CONFAB_OK);
        f->disk = disk_fault_disk(f->fault);
    }
}

static enum confab_err remove_name(void *arg, const char *name)
{
    return disk_unlink(arg, name);
}

static void fixture_deinit(struct fixture *f)
{
    if (f->dir[0]) {
        assert_int_equal(disk_list(f->disk, remove_name, f->disk), CONFAB_OK);
        disk_os_close(f->disk);
        assert_int_equal(rmdir(f->dir), 0);
    }
    disk_fault_free(f->fault);
    disk_sim_free(f->sim);
}

static struct disk_file *open_rw(struct disk *disk, const char *name)
{
    struct disk_file *file = NULL;
    assert_int_equal(disk_open(disk, name, DISK_READ | DISK_WRITE | DISK_CREATE, &file), CONFAB_OK);
    return file;
}

static void assert_bytes(struct disk_file *file, uint64_t off, const char *expected)
{
    char buf[64];
    size_t n = 0;
    assert_int_equal(disk_pread(file, buf, strlen(expected), off, &n), CONFAB_OK);
    assert_int_equal(n, strlen(expected));
    assert_memory_equal(buf, expected, n);
}

static void test_disk__open_flags(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, kind_now);
    struct disk_file *file = NULL;
    assert_int_equal(disk_open(f.disk, "a", DISK_READ, &file), CONFAB_NOT_FOUND);
    assert_int_equal(disk_open(f.disk, "a", DISK_WRITE, &file), CONFAB_NOT_FOUND);
    assert_null(file);
    file = open_rw(f.disk, "a");
    assert_int_equal(disk_pwrite(file, "hello", 5, 0), CONFAB_OK);
    disk_close(file);
    struct disk_file *again = NULL;
    assert_int_equal(disk_open(f.disk, "a", DISK_WRITE | DISK_CREATE | DISK_EXCL, &again),
                     CONFAB_EXISTS);
    assert_null(again);
    file = open_rw(f.disk, "a"); /* never truncated */
    assert_bytes(file, 0, "hello");
    disk_close(file);
    disk_close(NULL);
    fixture_deinit(&f);
}

static void test_disk__read_write_size(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, kind_now);
    struct disk_file *file = open_rw(f.disk, "a");
    uint64_t size = 99;
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 0);
    assert_int_equal(disk_pwrite(file, "world", 5, 1000), CONFAB_OK);
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 1005);
    assert_bytes(file, 1000, "world");
    char buf[8] = "xxxxxxxx";
    size_t n = 0;
    assert_int_equal(disk_pread(file, buf, 8, 998, &n), CONFAB_OK); /* a hole reads as zero */
    assert_int_equal(n, 7);
    assert_memory_equal(buf, "\0\0world", 7);
    assert_int_equal(disk_pread(file, buf, 8, 2000, &n), CONFAB_OK);
    assert_int_equal(n, 0);
    assert_int_equal(disk_pwrite(file, "", 0, 5000), CONFAB_OK);
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 1005);
    assert_int_equal(disk_truncate(file, 1002), CONFAB_OK);
    assert_int_equal(disk_truncate(file, 1005), CONFAB_OK); /* cut bytes are zero again */
    assert_int_equal(disk_pread(file, buf, 5, 1000, &n), CONFAB_OK);
    assert_memory_equal(buf, "wo\0\0\0", 5);
    assert_int_equal(disk_sync(file), CONFAB_OK);
    disk_close(file);
    fixture_deinit(&f);
}

static void test_disk__preallocate_grows_only(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, kind_now);
    struct disk_file *file = open_rw(f.disk, "a");
    uint64_t size = 0;
    assert_int_equal(disk_pwrite(file, "x", 1, 0), CONFAB_OK);
    assert_int_equal(disk_preallocate(file, 100000), CONFAB_OK);
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 100000);
    assert_bytes(file, 0, "x");
    char end[4] = "abcd";
    size_t n = 0;
    assert_int_equal(disk_pread(file, end, 4, 99996, &n), CONFAB_OK);
    assert_memory_equal(end, "\0\0\0\0", 4);
    assert_int_equal(disk_preallocate(file, 10), CONFAB_OK);
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 100000);
    disk_close(file);
    fixture_deinit(&f);
}

struct names {
    int count;
    char at[8][16];
};

static enum confab_err on_name(void *arg, const char *name)
{
    struct names *names = arg;
    snprintf(names->at[names->count++], sizeof(names->at[0]), "%s", name);
    return names->count == 8 ? CONFAB_LIMIT : CONFAB_OK;
}

static void test_disk__names(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, kind_now);
    struct disk_file *file = open_rw(f.disk, "a");
    assert_int_equal(disk_pwrite(file, "first", 5, 0), CONFAB_OK);
    disk_close(file);
    file = open_rw(f.disk, "b");
    assert_int_equal(disk_pwrite(file, "other", 5, 0), CONFAB_OK);
    disk_close(file);
    assert_int_equal(disk_rename(f.disk, "none", "b"), CONFAB_NOT_FOUND);
    assert_int_equal(disk_rename(f.disk, "a", "b"), CONFAB_OK); /* replaces */
    file = open_rw(f.disk, "b");
    assert_bytes(file, 0, "first");
    assert_int_equal(disk_unlink(f.disk, "a"), CONFAB_NOT_FOUND);
    assert_int_equal(disk_unlink(f.disk, "b"), CONFAB_OK);
    assert_bytes(file, 0, "first"); /* still open */
    disk_close(file);
    disk_close(open_rw(f.disk, "c"));
    disk_close(open_rw(f.disk, "d"));
    assert_int_equal(disk_sync_dir(f.disk), CONFAB_OK);
    struct names names = {0};
    assert_int_equal(disk_list(f.disk, on_name, &names), CONFAB_OK);
    assert_int_equal(names.count, 2);
    assert_true(names.at[0][0] + names.at[1][0] == 'c' + 'd');
    names.count = 7; /* an error of the callback ends the walk */
    assert_int_equal(disk_list(f.disk, on_name, &names), CONFAB_LIMIT);
    uint64_t room = 0;
    assert_int_equal(disk_free_bytes(f.disk, &room), CONFAB_OK);
    assert_true(room > 0);
    fixture_deinit(&f);
}

static void test_disk__simulated_power_loss(void **state)
{
    (void)state;
    unsigned kept = 0;
    unsigned lost = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        fixture_init(&f, DISK_SIM);
        struct disk_file *file = open_rw(f.disk, "a");
        assert_int_equal(disk_pwrite(file, "durable", 7, 0), CONFAB_OK);
        assert_int_equal(disk_sync(file), CONFAB_OK);
        assert_int_equal(disk_sync_dir(f.disk), CONFAB_OK);
        assert_int_equal(disk_pwrite(file, "perhaps", 7, 4096), CONFAB_OK);
        struct disk_file *other = open_rw(f.disk, "b");
        assert_int_equal(disk_sync(other), CONFAB_OK);
        disk_sim_crash(f.sim, seed);
        uint64_t size = 0;
        assert_int_equal(disk_size(file, &size), CONFAB_CLOSED);
        disk_close(file);
        disk_close(other);
        assert_int_equal(disk_open(f.disk, "a", DISK_READ, &file), CONFAB_OK);
        assert_bytes(file, 0, "durable");
        char buf[7] = {0};
        size_t n = 0;
        assert_int_equal(disk_pread(file, buf, 7, 4096, &n), CONFAB_OK);
        kept += n == 7 && memcmp(buf, "perhaps", 7) == 0;
        lost += n == 0;
        disk_close(file);
        enum confab_err err = disk_open(f.disk, "b", DISK_READ, &other);
        assert_true(err == CONFAB_OK || err == CONFAB_NOT_FOUND);
        disk_close(err ? NULL : other);
        fixture_deinit(&f);
    }
    assert_true(kept > 20 && lost > 20);
}

static void test_disk__simulated_sectors_mix(void **state)
{
    (void)state;
    unsigned mixed = 0;
    unsigned garbage = 0;
    for (uint64_t seed = 0; seed < 200; seed++) {
        struct fixture f;
        fixture_init(&f, DISK_SIM);
        struct disk_file *file = open_rw(f.disk, "a");
        char block[4096];
        memset(block, 'o', sizeof(block));
        assert_int_equal(disk_pwrite(file, block, sizeof(block), 0), CONFAB_OK);
        assert_int_equal(disk_sync(file), CONFAB_OK);
        assert_int_equal(disk_sync_dir(f.disk), CONFAB_OK);
        memset(block, 'n', sizeof(block));
        assert_int_equal(disk_pwrite(file, block, sizeof(block), 0), CONFAB_OK);
        disk_sim_crash(f.sim, seed);
        disk_close(file);
        assert_int_equal(disk_open(f.disk, "a", DISK_READ, &file), CONFAB_OK);
        size_t n = 0;
        assert_int_equal(disk_pread(file, block, sizeof(block), 0, &n), CONFAB_OK);
        assert_int_equal(n, sizeof(block));
        unsigned fresh = 0;
        unsigned bad = 0;
        for (size_t s = 0; s < sizeof(block); s += 512) {
            unsigned same = 0;
            for (size_t i = s; i < s + 512; i++) {
                same += block[i] == block[s];
            }
            fresh += same == 512 && block[s] == 'n';
            bad += same != 512;
        }
        assert_true(bad <= 1);
        mixed += fresh > 0 && fresh < 8;
        garbage += bad;
        disk_close(file);
        fixture_deinit(&f);
    }
    assert_true(mixed > 20 && garbage > 10);
}

static void test_disk__simulated_failed_sync_loses(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, DISK_SIM);
    struct disk_file *file = open_rw(f.disk, "a");
    assert_int_equal(disk_pwrite(file, "one", 3, 0), CONFAB_OK);
    assert_int_equal(disk_sync(file), CONFAB_OK);
    assert_int_equal(disk_sync_dir(f.disk), CONFAB_OK);
    assert_int_equal(disk_pwrite(file, "two", 3, 0), CONFAB_OK);
    disk_sim_fail(f.sim, DISK_OP_SYNC, 1, 1, CONFAB_IO);
    assert_int_equal(disk_sync(file), CONFAB_IO);
    assert_bytes(file, 0, "two");
    assert_int_equal(disk_sync(file), CONFAB_OK); /* and yet it is not durable */
    disk_sim_crash(f.sim, 1);
    disk_close(file);
    assert_int_equal(disk_open(f.disk, "a", DISK_READ, &file), CONFAB_OK);
    assert_bytes(file, 0, "one");
    disk_close(file);
    fixture_deinit(&f);
}

static void test_disk__simulated_space_and_halt(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, DISK_SIM);
    disk_sim_set_capacity(f.sim, 10000);
    struct disk_file *file = open_rw(f.disk, "a");
    assert_int_equal(disk_preallocate(file, 9000), CONFAB_OK);
    assert_int_equal(disk_pwrite(file, "0123456789", 10, 9995), CONFAB_NO_SPACE);
    uint64_t n = 0;
    assert_int_equal(disk_size(file, &n), CONFAB_OK);
    assert_int_equal(n, 9000);
    assert_int_equal(disk_free_bytes(f.disk, &n), CONFAB_OK);
    assert_int_equal(n, 1000);
    disk_sim_halt_after(f.sim, 2);
    assert_int_equal(disk_pwrite(file, "a", 1, 0), CONFAB_OK);
    assert_int_equal(disk_size(file, &n), CONFAB_OK); /* changes nothing, does not count */
    assert_int_equal(disk_sync(file), CONFAB_OK);
    assert_false(disk_sim_halted(f.sim));
    assert_int_equal(disk_pwrite(file, "b", 1, 0), CONFAB_CLOSED);
    assert_true(disk_sim_halted(f.sim));
    assert_int_equal(disk_size(file, &n), CONFAB_CLOSED);
    disk_close(file);
    disk_sim_kill(f.sim);
    assert_int_equal(disk_open(f.disk, "a", DISK_READ, &file), CONFAB_OK);
    assert_bytes(file, 0, "a");
    disk_close(file);
    fixture_deinit(&f);
}

/* The power fails at each operation in turn, twice in a row: the file is whole, old or new. */
static void test_disk__replaced_or_as_before(void **state)
{
    (void)state;
    int fresh = 0;
    int halves = 0;
    for (uint64_t seed = 0; seed < 2048; seed++) {
        struct fixture f;
        fixture_init(&f, DISK_SIM);
        const char *last = "first text";
        assert_int_equal(disk_replace(f.disk, "x.new", "x", last, strlen(last)), CONFAB_OK);
        for (uint64_t round = 0; round < 3; round++) {
            const char *next = round % 2 == 0 ? "another" : "something much longer";
            disk_sim_halt_after(f.sim, (seed >> (3 * round)) % 8); /* all of them together */
            enum confab_err err = disk_replace(f.disk, "x.new", "x", next, strlen(next));
            disk_sim_crash(f.sim, seed * 31 + round);
            struct disk_file *file = NULL;
            char text[64] = "";
            size_t n = 0;
            assert_int_equal(disk_open(f.disk, "x", DISK_READ, &file), CONFAB_OK);
            assert_int_equal(disk_pread(file, text, sizeof(text) - 1, 0, &n), CONFAB_OK);
            disk_close(file);
            bool changed = strcmp(text, next) == 0;
            assert_true(changed || (err && strcmp(text, last) == 0));
            fresh += changed;
            last = changed ? next : last;
            file = NULL;
            halves += changed && disk_open(f.disk, "x.new", DISK_READ, &file) == CONFAB_OK;
            disk_close(file);
        }
        fixture_deinit(&f);
    }
    assert_true(fresh > 100 && halves > 5);
}

static void test_disk__fault_plan_and_tear(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, DISK_FAULT);
    struct disk_file *file = open_rw(f.disk, "a");
    disk_fault_plan(f.fault, DISK_OP_SYNC, 2, 2, CONFAB_IO);
    assert_int_equal(disk_sync(file), CONFAB_OK);
    assert_int_equal(disk_sync(file), CONFAB_IO);
    assert_int_equal(disk_sync(file), CONFAB_IO);
    assert_int_equal(disk_sync(file), CONFAB_OK);
    disk_fault_tear(f.fault, 1, 3, CONFAB_IO);
    assert_int_equal(disk_pwrite(file, "abcdef", 6, 0), CONFAB_IO);
    uint64_t size = 0;
    assert_int_equal(disk_size(file, &size), CONFAB_OK);
    assert_int_equal(size, 3);
    assert_bytes(file, 0, "abc");
    disk_fault_plan(f.fault, DISK_OP_OPEN, 1, UINT64_MAX, CONFAB_NO_SPACE);
    struct disk_file *other = NULL;
    assert_int_equal(disk_open(f.disk, "a", DISK_READ, &other), CONFAB_NO_SPACE);
    disk_fault_forget(f.fault);
    assert_int_equal(disk_open(f.disk, "a", DISK_READ, &other), CONFAB_OK);
    assert_int_equal(disk_fault_calls(f.fault, DISK_OP_SYNC), 4);
    disk_close(other);
    disk_close(file);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest contract[] = {
        cmocka_unit_test(test_disk__open_flags),
        cmocka_unit_test(test_disk__read_write_size),
        cmocka_unit_test(test_disk__preallocate_grows_only),
        cmocka_unit_test(test_disk__names),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_disk__simulated_power_loss),
        cmocka_unit_test(test_disk__simulated_sectors_mix),
        cmocka_unit_test(test_disk__simulated_failed_sync_loses),
        cmocka_unit_test(test_disk__simulated_space_and_halt),
        cmocka_unit_test(test_disk__replaced_or_as_before),
        cmocka_unit_test(test_disk__fault_plan_and_tear),
    };
    static const char *const names[] = {"os", "sim", "fault"};
    int failed = 0;
    diag_set_level_all(DIAG_OFF);
    for (kind_now = DISK_OS; kind_now <= DISK_FAULT; kind_now++) {
        failed += cmocka_run_group_tests_name(names[kind_now], contract, NULL, NULL);
    }
    return failed + cmocka_run_group_tests_name("more", more, NULL, NULL);
}
