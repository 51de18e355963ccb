/*
 * What single directory adapters promise beyond the port: SQLite's groups, versions, full and
 * failing disks and kills, and the fault decorator.
 *
 * Run with arguments, this program is the child that a test kills:
 *     <program> writer PATH
 */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "adapters/fault/directory_fault.h"
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/sqlite/directory_sqlite.h"
#include "base/check.h"
#include "store_bench.h"

static struct executor *ex; /* stepped */
static char tmp[64];
static char path[96];

static int setup(void **state)
{
    (void)state;
    temp_dir_make(tmp, sizeof(tmp));
    (void)snprintf(path, sizeof(path), "%s/directory.db", tmp);
    assert_int_equal(executor_inline_open(true, 10, &ex), CONFAB_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    executor_inline_close(ex);
    temp_dir_remove(tmp);
    return 0;
}

static enum confab_err open_dir(struct directory **ret)
{
    return directory_sqlite_open(path, (struct directory_sqlite_cfg){.queue_max = 300}, ex, ret);
}

static void on_done(struct dir_request *req)
{
    ++*(unsigned *)req->arg;
}

static void set_account(struct dir_request *req, uint64_t id, unsigned *done)
{
    memset(req, 0, sizeof(*req));
    req->op = DIR_ACCOUNT_CREATE;
    req->done = on_done;
    req->arg = done;
    req->ret_err = CONFAB_AGAIN;
    req->account.user_id = id;
    (void)snprintf(req->account.username, sizeof(req->account.username), "user%u", (unsigned)id);
    (void)snprintf(req->username_key, sizeof(req->username_key), "user%u", (unsigned)id);
}

static void pump(void)
{
    while (executor_inline_step(ex)) {
    }
}

static enum confab_err create(struct directory *dir, uint64_t id)
{
    struct dir_request req;
    unsigned done = 0;
    set_account(&req, id, &done);
    assert_int_equal(directory_submit(dir, &req), CONFAB_OK);
    pump();
    assert_int_equal(done, 1);
    return req.ret_err;
}

static bool exists(struct directory *dir, uint64_t id)
{
    unsigned done = 0;
    bool found = false;
    struct dir_request req = {.op = DIR_ACCOUNTS_EXIST,
                              .ids = &id,
                              .nids = 1,
                              .exists = &found,
                              .done = on_done,
                              .arg = &done};
    assert_int_equal(directory_submit(dir, &req), CONFAB_OK);
    pump();
    assert_int_equal(done, 1);
    assert_int_equal(req.ret_err, CONFAB_OK);
    return found;
}

static void exec_sql(const char *sql)
{
    sqlite3 *db = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int user_version(void)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *st = NULL;
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA user_version", -1, &st, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(st), SQLITE_ROW);
    int version = sqlite3_column_int(st, 0);
    assert_int_equal(sqlite3_finalize(st), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return version;
}

static void test_directory_sqlite__what_waits_shares_a_commit(void **state)
{
    (void)state;
    enum { N = 200 };
    static struct dir_request reqs[N];
    struct directory *dir;
    unsigned done = 0;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    for (unsigned i = 0; i < N; i++) {
        set_account(&reqs[i], i + 1, &done);
        assert_int_equal(directory_submit(dir, &reqs[i]), CONFAB_OK);
    }
    assert_int_equal(done, 0);
    assert_int_equal(executor_inline_queued(ex), 1);
    pump();
    assert_int_equal(done, N);
    struct directory_sqlite_stats stats;
    directory_sqlite_stats(dir, &stats);
    assert_int_equal(stats.requests, N);
    assert_int_equal(stats.groups, 1);
    assert_int_equal(stats.errors, 0);
    assert_int_equal(stats.queued, 0);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(reqs[i].ret_err, CONFAB_OK);
    }
    directory_sqlite_close(dir);
}

static void test_directory_sqlite__its_queue_is_bounded(void **state)
{
    (void)state;
    enum { N = 300 };
    static struct dir_request reqs[N + 1];
    struct directory *dir;
    unsigned done = 0;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    for (unsigned i = 0; i <= N; i++) {
        set_account(&reqs[i], i + 1, &done);
        assert_int_equal(directory_submit(dir, &reqs[i]), i < N ? CONFAB_OK : CONFAB_BUSY);
    }
    struct directory_sqlite_stats stats;
    directory_sqlite_stats(dir, &stats);
    assert_int_equal(stats.queue_full, 1);
    pump();
    assert_int_equal(done, N);
    assert_false(exists(dir, N + 1));
    assert_true(exists(dir, N));
    directory_sqlite_close(dir);
}

static void run_nothing(struct job *job)
{
    (void)job;
}

static void test_directory_sqlite__a_busy_executor_refuses(void **state)
{
    (void)state;
    struct directory *dir;
    struct job jobs[10];
    unsigned done = 0;
    struct dir_request req;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    for (unsigned i = 0; i < 10; i++) {
        jobs[i].run = run_nothing;
        assert_int_equal(executor_submit(ex, &jobs[i]), CONFAB_OK);
    }
    set_account(&req, 1, &done);
    assert_int_equal(directory_submit(dir, &req), CONFAB_BUSY);
    pump();
    assert_int_equal(done, 0);
    assert_false(exists(dir, 1));
    assert_int_equal(create(dir, 1), CONFAB_OK);
    directory_sqlite_close(dir);
}

/* A table is missing: what needs it fails, what is in the same group does not. */
static void test_directory_sqlite__an_error_is_its_requests_own(void **state)
{
    (void)state;
    struct directory *dir;
    unsigned done = 0;
    struct dir_request reqs[3];
    struct dir_conv_row row = {.user_id = 1, .conv = {1, 1}, .lsn = 1};
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    exec_sql("DROP TABLE projections");
    set_account(&reqs[0], 1, &done);
    set_account(&reqs[2], 2, &done);
    reqs[1] = (struct dir_request){.op = DIR_CONVERSATIONS_PROJECT,
                                   .lsn = 1,
                                   .conv_rows = &row,
                                   .nconv_rows = 1,
                                   .done = on_done,
                                   .arg = &done};
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(directory_submit(dir, &reqs[i]), CONFAB_OK);
    }
    pump();
    assert_int_equal(done, 3);
    assert_int_equal(reqs[0].ret_err, CONFAB_OK);
    assert_int_equal(reqs[1].ret_err, CONFAB_IO);
    assert_int_equal(reqs[2].ret_err, CONFAB_OK);
    assert_true(exists(dir, 1));
    assert_true(exists(dir, 2));
    struct dir_request list = {
        .op = DIR_CONVERSATIONS_LIST, .user_id = 1, .limit = 10, .done = on_done, .arg = &done};
    assert_int_equal(directory_submit(dir, &list), CONFAB_OK);
    pump();
    assert_int_equal(list.ret_err, CONFAB_OK);
    assert_int_equal(list.nconv_rows, 0); /* the row of the failed projection is gone with it */
    dir_request_deinit(&list);
    directory_sqlite_close(dir);
    assert_int_equal(open_dir(&dir), CONFAB_CORRUPT); /* the schema is not as it must be */
}

static void test_directory_sqlite__newer_and_foreign_files_are_refused(void **state)
{
    (void)state;
    struct directory *dir = NULL;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    directory_sqlite_close(dir);
    int version = user_version();
    assert_in_range(version, 1, 998);
    exec_sql("PRAGMA user_version = 999");
    dir = NULL;
    assert_int_equal(open_dir(&dir), CONFAB_VERSION);
    char sql[100];
    (void)snprintf(sql, sizeof(sql), "PRAGMA user_version = %d; PRAGMA application_id = 5",
                   version);
    exec_sql(sql);
    assert_int_equal(open_dir(&dir), CONFAB_VERSION);
    exec_sql("PRAGMA application_id = 0x436f6e66");
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    directory_sqlite_close(dir);
    assert_int_equal(unlink(path), 0);
    exec_sql("CREATE TABLE theirs (x)");
    dir = NULL;
    assert_int_equal(open_dir(&dir), CONFAB_VERSION);
    assert_null(dir);
}

static void test_directory_sqlite__damage_is_reported(void **state)
{
    (void)state;
    struct directory *dir = NULL;
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    for (unsigned i = 0; i < 1000; i++) {
        (void)fputs("this is not a database ", f);
    }
    (void)fclose(f);
    assert_int_equal(open_dir(&dir), CONFAB_CORRUPT);
    assert_int_equal(unlink(path), 0);

    assert_int_equal(open_dir(&dir), CONFAB_OK);
    directory_sqlite_close(dir);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    off_t schema = lseek(fd, 0, SEEK_END); /* what follows holds rows only */
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    for (uint64_t i = 1; i <= 200; i++) {
        assert_int_equal(create(dir, i), CONFAB_OK);
    }
    directory_sqlite_close(dir);
    static const uint8_t junk[4096] = {0x77, 0x66};
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = schema; at < size; at += (off_t)sizeof(junk)) {
        assert_int_equal(pwrite(fd, junk, sizeof(junk), at), sizeof(junk));
    }
    (void)close(fd);
    unsigned done = 0;
    unsigned corrupt = 0;
    if (open_dir(&dir) != CONFAB_OK) {
        fail_msg("start-up must not read all rows");
    }
    for (uint64_t id = 1; id <= 200; id++) {
        struct dir_request req = {
            .op = DIR_ACCOUNT_BY_ID, .user_id = id, .done = on_done, .arg = &done};
        assert_int_equal(directory_submit(dir, &req), CONFAB_OK);
        pump();
        assert_true(req.ret_err == CONFAB_CORRUPT || req.ret_err == CONFAB_OK);
        corrupt += req.ret_err == CONFAB_CORRUPT;
    }
    assert_true(corrupt > 0);
    directory_sqlite_close(dir);
}

/* ---- a disk that fails, as a layer over SQLite's own access to files ---- */

/* Kinds of files differ in their locks only: write and sync are the same of all. */
static struct {
    const sqlite3_io_methods *real;
    sqlite3_io_methods failing;
} methods[4];
static sqlite3_vfs failing_vfs;
static sqlite3_vfs *real_vfs;
static int sync_result;
static int write_result;

static int fail_sync(sqlite3_file *f, int flags)
{
    return sync_result != SQLITE_OK ? sync_result : methods[0].real->xSync(f, flags);
}

static int fail_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    return write_result != SQLITE_OK ? write_result : methods[0].real->xWrite(f, p, n, at);
}

static int open_failing(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *ret)
{
    (void)vfs;
    int rc = real_vfs->xOpen(real_vfs, name, f, flags, ret);
    for (unsigned i = 0; rc == SQLITE_OK; i++) {
        assert_in_range(i, 0, ARRAY_LEN(methods) - 1);
        if (!methods[i].real) {
            methods[i].real = f->pMethods;
            methods[i].failing = *f->pMethods;
            methods[i].failing.xSync = fail_sync;
            methods[i].failing.xWrite = fail_write;
        }
        if (methods[i].real == f->pMethods) {
            f->pMethods = &methods[i].failing;
            break;
        }
    }
    return rc;
}

static int setup_failing(void **state)
{
    sync_result = SQLITE_OK;
    write_result = SQLITE_OK;
    real_vfs = sqlite3_vfs_find(NULL);
    failing_vfs = *real_vfs;
    failing_vfs.zName = "failing";
    failing_vfs.xOpen = open_failing;
    assert_int_equal(sqlite3_vfs_register(&failing_vfs, 1), SQLITE_OK);
    return setup(state);
}

static int teardown_failing(void **state)
{
    assert_int_equal(sqlite3_vfs_unregister(&failing_vfs), SQLITE_OK);
    return teardown(state);
}

static void test_directory_sqlite__a_failed_sync_is_sticky(void **state)
{
    (void)state;
    struct directory *dir;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    assert_int_equal(create(dir, 1), CONFAB_OK);
    sync_result = SQLITE_IOERR_FSYNC;
    assert_int_equal(create(dir, 2), CONFAB_IO);
    sync_result = SQLITE_OK;
    assert_int_equal(create(dir, 3), CONFAB_IO); /* what the disk holds is unknown */
    assert_true(exists(dir, 1));                 /* reads go on */
    assert_false(exists(dir, 2));
    assert_false(exists(dir, 3));
    directory_sqlite_close(dir);
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    assert_true(exists(dir, 1));
    assert_int_equal(create(dir, 3), CONFAB_OK);
    directory_sqlite_close(dir);
}

static void test_directory_sqlite__a_full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    struct directory *dir;
    unsigned done = 0;
    struct dir_request reqs[2];
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    assert_int_equal(create(dir, 1), CONFAB_OK);
    write_result = SQLITE_FULL;
    set_account(&reqs[0], 2, &done);
    set_account(&reqs[1], 3, &done);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(directory_submit(dir, &reqs[i]), CONFAB_OK);
    }
    pump();
    assert_int_equal(done, 2);
    assert_int_equal(reqs[0].ret_err, CONFAB_NO_SPACE);
    assert_int_equal(reqs[1].ret_err, CONFAB_NO_SPACE);
    assert_true(exists(dir, 1));
    assert_false(exists(dir, 2));
    struct directory_sqlite_stats stats;
    directory_sqlite_stats(dir, &stats);
    assert_true(stats.errors > 0);
    write_result = SQLITE_OK;
    assert_int_equal(create(dir, 2), CONFAB_OK);
    directory_sqlite_close(dir);
}

/* ---- a process that is killed ---- */

static void tell_done(struct dir_request *req)
{
    if (req->ret_err != CONFAB_OK ||
        write(1, &req->account.user_id, sizeof(req->account.user_id)) < 0) {
        _exit(1);
    }
}

static int run_writer(const char *at)
{
    struct directory *dir;
    (void)snprintf(path, sizeof(path), "%s", at);
    if (executor_inline_open(true, 10, &ex) != CONFAB_OK || open_dir(&dir) != CONFAB_OK) {
        return 1;
    }
    static struct dir_request reqs[10];
    for (uint64_t id = 1;; id++) {
        struct dir_request *req = &reqs[id % 10];
        set_account(req, id, NULL);
        req->done = tell_done;
        if (directory_submit(dir, req) != CONFAB_OK) {
            return 1;
        }
        if (id % 5 == 0) {
            pump();
        }
    }
}

static void test_directory_sqlite__an_answer_survives_a_kill(void **state)
{
    (void)state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)dup2(fds[1], 1);
        (void)execl("/proc/self/exe", "writer", "writer", path, (char *)NULL);
        _exit(127);
    }
    (void)close(fds[1]);
    uint64_t told = 0;
    for (unsigned i = 0; i < 300; i++) {
        assert_int_equal(read(fds[0], &told, sizeof(told)), sizeof(told));
    }
    assert_int_equal(kill(pid, SIGKILL), 0);
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status));
    while (read(fds[0], &told, sizeof(told)) == (ssize_t)sizeof(told)) {
    }
    (void)close(fds[0]);
    struct directory *dir;
    assert_int_equal(open_dir(&dir), CONFAB_OK);
    for (uint64_t id = 1; id <= told; id++) {
        assert_true(exists(dir, id));
    }
    directory_sqlite_close(dir);
}

/* ---- the fault decorator ---- */

static void test_directory_fault__fails_delays_and_lies(void **state)
{
    (void)state;
    struct directory *mem;
    struct directory *dir;
    assert_int_equal(directory_mem_open(ex, &mem), CONFAB_OK);
    assert_int_equal(directory_fault_open(mem, &dir), CONFAB_OK);
    struct fault_plan *plan = directory_fault_plan(dir);
    assert_int_equal(fault_plan_arm(plan, DIR_ACCOUNT_CREATE, 2, 1, FAULT_FAIL, CONFAB_IO),
                     CONFAB_OK);
    assert_int_equal(fault_plan_arm(plan, DIR_ACCOUNT_CREATE, 3, 1, FAULT_UNKNOWN, CONFAB_IO),
                     CONFAB_OK);
    assert_int_equal(fault_plan_arm(plan, DIR_ACCOUNT_CREATE, 4, 1, FAULT_REFUSE, CONFAB_BUSY),
                     CONFAB_OK);
    assert_int_equal(fault_plan_arm(plan, DIR_ACCOUNT_CREATE, 5, 1, FAULT_DELAY, CONFAB_OK),
                     CONFAB_OK);
    assert_int_equal(create(dir, 1), CONFAB_OK);
    assert_int_equal(create(dir, 2), CONFAB_IO);
    assert_false(exists(dir, 2));
    assert_int_equal(create(dir, 3), CONFAB_IO);
    assert_true(exists(dir, 3));
    unsigned done = 0;
    struct dir_request req;
    set_account(&req, 4, &done);
    assert_int_equal(directory_submit(dir, &req), CONFAB_BUSY);
    assert_int_equal(directory_submit(dir, &req), CONFAB_OK);
    pump();
    assert_int_equal(done, 0);
    assert_false(exists(dir, 4));
    assert_int_equal(directory_fault_release(dir), 1);
    pump();
    assert_int_equal(done, 1);
    assert_int_equal(req.ret_err, CONFAB_OK);
    assert_true(exists(dir, 4));
    assert_int_equal(fault_plan_hits(plan), 4);
    directory_fault_close(dir);
    directory_mem_close(mem);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(int argc, char **argv)
{
    if (argc == 3) {
        return run_writer(argv[2]);
    }
    const struct CMUnitTest tests[] = {
        CASE(test_directory_sqlite__what_waits_shares_a_commit),
        CASE(test_directory_sqlite__its_queue_is_bounded),
        CASE(test_directory_sqlite__a_busy_executor_refuses),
        CASE(test_directory_sqlite__an_error_is_its_requests_own),
        CASE(test_directory_sqlite__newer_and_foreign_files_are_refused),
        CASE(test_directory_sqlite__damage_is_reported),
        cmocka_unit_test_setup_teardown(test_directory_sqlite__a_failed_sync_is_sticky,
                                        setup_failing, teardown_failing),
        cmocka_unit_test_setup_teardown(test_directory_sqlite__a_full_disk_refuses_and_recovers,
                                        setup_failing, teardown_failing),
        CASE(test_directory_sqlite__an_answer_survives_a_kill),
        CASE(test_directory_fault__fails_delays_and_lies),
    };
    return cmocka_run_group_tests_name("directory adapters", tests, NULL, NULL);
}
