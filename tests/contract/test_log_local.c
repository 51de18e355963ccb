/* What the local log adds to the port: failure, space, rotation, damage, repair. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/local_log/local_log_internal.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/diag.h"
#include "log_rig.h"

enum { SEGMENT = 32 << 10, BUILT = 20 };

struct fixture {
    struct disk_sim *sim;
    struct local_log *log;
    struct log_store *store;
    struct random_seeded ids;
    uint64_t tag;
    uint64_t segment; /* 0: SEGMENT */
    bool zero_spares;
};

static enum confab_err open_log(struct fixture *f)
{
    struct local_log_config config = {
        .segment_bytes = f->segment ? f->segment : SEGMENT,
        .lanes = 1,
        .batch_bytes_max = 8000,
        .retry_ms = 1,
        .zero_spares = f->zero_spares,
        .random = &f->ids.base,
    };
    enum confab_err err = local_log_open(&config, disk_sim_disk(f->sim), clock_system(), &f->log);
    f->store = err ? NULL : local_log_store(f->log);
    return err;
}

static void fixture_init(struct fixture *f, uint64_t capacity)
{
    *f = (struct fixture){.tag = 1};
    random_seeded_init(&f->ids, 3);
    CHECK(disk_sim_new(&(struct disk_sim_config){.capacity_bytes = capacity}, &f->sim) ==
          CONFAB_OK);
    assert_int_equal(open_log(f), CONFAB_OK);
}

static void fixture_deinit(struct fixture *f)
{
    local_log_close(f->log);
    disk_sim_free(f->sim);
}

static void reopen(struct fixture *f)
{
    local_log_close(f->log);
    f->log = NULL;
    assert_int_equal(open_log(f), CONFAB_OK);
}

/* Submits one record and steps until it is back. */
static enum confab_err append(struct fixture *f, uint32_t size)
{
    struct log_submission *sub = sub_new(0, 1, 1, size, f->tag);
    enum confab_err err = log_store_submit(f->store, sub);
    while (!err) {
        struct log_submission *back = log_store_poll(f->store, 0);
        if (back) {
            assert_ptr_equal(back, sub);
            err = back->ret_err;
            break;
        }
        bool did_work = false;
        (void)!local_log_step(f->log, &did_work);
        assert_true(did_work);
    }
    f->tag += !err;
    sub_free(sub);
    return err;
}

static uint64_t count_records(struct fixture *f)
{
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, f->store, 0), CONFAB_OK);
    for (uint64_t i = 1; i < seen.count; i++) {
        assert_int_equal(seen.at[i].tag, seen.at[i - 1].tag + 1);
    }
    uint64_t n = seen.count;
    seen_free(&seen);
    return n;
}

static enum log_state state_of(struct fixture *f)
{
    struct log_stats stats;
    log_store_stats(f->store, &stats);
    return stats.state;
}

static void test_local_log__config_is_checked(void **state)
{
    (void)state;
    struct disk_sim *sim = NULL;
    struct local_log *log = NULL;
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &sim) == CONFAB_OK);
    const struct local_log_config bad[] = {
        {.lanes = 0},
        {.lanes = 1, .segment_bytes = 4096},
        {.lanes = 1, .segment_bytes = SEGMENT + 1},
        {.lanes = 1, .segments_spare = 1},
        {.lanes = 1, .segments_spare = 3, .segments_kept = 2},
        {.lanes = 1, .batch_bytes_max = LOG_SUBMISSION_BYTES_MAX + 1},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(local_log_open(&bad[i], disk_sim_disk(sim), clock_system(), &log),
                         CONFAB_INVALID);
    }
    assert_null(log);
    assert_int_equal(disk_sim_changes(sim), 0);
    disk_sim_free(sim);
}

static void test_local_log__failed_write_or_sync_is_sticky(void **state)
{
    (void)state;
    static const enum disk_op ops[] = {DISK_OP_PWRITE, DISK_OP_SYNC};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct fixture f;
        fixture_init(&f, 0);
        for (int k = 0; k < 5; k++) {
            assert_int_equal(append(&f, 100), CONFAB_OK);
        }
        struct log_submission *subs[3];
        for (int k = 0; k < 3; k++) { /* two batches: the second was never tried */
            subs[k] = sub_new(0, 1, 1, 5000, 100);
            assert_int_equal(log_store_submit(f.store, subs[k]), CONFAB_OK);
        }
        disk_sim_fail(f.sim, ops[i], 1, 1, CONFAB_IO);
        bool did_work = false;
        uint64_t writes = disk_sim_calls(f.sim, DISK_OP_PWRITE);
        assert_int_equal(local_log_step(f.log, &did_work), CONFAB_IO);
        for (int k = 0; k < 3; k++) {
            assert_ptr_equal(log_store_poll(f.store, 0), subs[k]);
            assert_int_equal(subs[k]->ret_err, CONFAB_IO);
        }
        assert_int_equal(state_of(&f), LOG_FAILED);
        assert_int_equal(log_store_submit(f.store, subs[0]), CONFAB_IO);
        assert_int_equal(local_log_step(f.log, &did_work), CONFAB_IO);
        assert_false(did_work);
        assert_int_equal(count_records(&f), 5); /* what was durable is served on */
        local_log_close(f.log);
        f.log = NULL;
        assert_int_equal(disk_sim_calls(f.sim, DISK_OP_PWRITE), writes + 1); /* and no more */
        disk_sim_crash(f.sim, 1);
        assert_int_equal(open_log(&f), CONFAB_OK);
        assert_true(count_records(&f) >= 5);
        for (int k = 0; k < 3; k++) {
            sub_free(subs[k]);
        }
        fixture_deinit(&f);
    }
}

static void test_local_log__full_disk_refuses_and_recovers(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 4 * SEGMENT + 1000);
    enum confab_err err = CONFAB_OK;
    uint64_t appended = 0;
    while (!(err = append(&f, 3000))) {
        appended++;
        assert_true(appended < 1000);
    }
    assert_int_equal(err, CONFAB_NO_SPACE);
    assert_int_equal(state_of(&f), LOG_FULL);
    assert_int_equal(append(&f, 3000), CONFAB_NO_SPACE);
    assert_int_equal(count_records(&f), appended);
    /* a restart on the full disk works, and serves */
    reopen(&f);
    assert_int_equal(count_records(&f), appended);
    local_log_close(f.log);
    f.log = NULL;
    disk_sim_crash(f.sim, 5);
    assert_int_equal(open_log(&f), CONFAB_OK);
    assert_int_equal(count_records(&f), appended);
    assert_int_equal(state_of(&f), LOG_FULL);
    /* room again: by another attempt, or by trim */
    disk_sim_set_capacity(f.sim, 8 * SEGMENT);
    bool did_work = false;
    while (state_of(&f) == LOG_FULL) { /* the next attempt is due in a millisecond */
        assert_int_equal(local_log_step(f.log, &did_work), CONFAB_OK);
    }
    while (!(err = append(&f, 3000))) {
        appended++;
    }
    assert_int_equal(err, CONFAB_NO_SPACE);
    struct log_stats stats;
    log_store_stats(f.store, &stats);
    assert_int_equal(log_store_trim(f.store, stats.durable_lsn), CONFAB_OK);
    assert_int_equal(state_of(&f), LOG_OK);
    assert_int_equal(append(&f, 3000), CONFAB_OK);
    fixture_deinit(&f);
}

static void test_local_log__admitted_is_always_written(void **state)
{
    (void)state;
    /* Fill the queue as far as it goes on a disk that has no further byte: all of it gets written.
     */
    struct fixture f;
    fixture_init(&f, 3 * SEGMENT + 1000);
    struct log_submission *subs[64];
    int n = 0;
    enum confab_err err = CONFAB_OK;
    struct random_seeded r;
    random_seeded_init(&r, 4);
    while (!err && n < 64) {
        subs[n] = sub_new(0, 1, 1, 200 + (uint32_t)random_below(&r.base, 6000), 1);
        err = log_store_submit(f.store, subs[n]);
        n += !err;
    }
    assert_true(err == CONFAB_BUSY || err == CONFAB_NO_SPACE);
    sub_free(subs[n]);
    assert_true(n > 8);
    bool did_work = true;
    while (did_work) {
        assert_int_equal(local_log_step(f.log, &did_work), CONFAB_OK);
    }
    for (int i = 0; i < n; i++) {
        assert_ptr_equal(log_store_poll(f.store, 0), subs[i]);
        assert_int_equal(subs[i]->ret_err, CONFAB_OK);
        sub_free(subs[i]);
    }
    fixture_deinit(&f);
}

static void test_local_log__queued_is_one_batch(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    struct log_submission *subs[20];
    uint64_t syncs = disk_sim_calls(f.sim, DISK_OP_SYNC);
    for (int i = 0; i < 20; i++) {
        subs[i] = sub_new(0, 1, 1, 50, 1);
        assert_int_equal(log_store_submit(f.store, subs[i]), CONFAB_OK);
    }
    bool did_work = false;
    assert_int_equal(local_log_step(f.log, &did_work), CONFAB_OK);
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_SYNC), syncs + 1);
    for (int i = 0; i < 20; i++) {
        assert_ptr_equal(log_store_poll(f.store, 0), subs[i]);
        assert_int_equal(subs[i]->ret_lsn, 1 + (uint64_t)i * 58);
        sub_free(subs[i]);
    }
    fixture_deinit(&f);
}

static enum confab_err trim_all(void *arg, const struct log_record *rec)
{
    struct fixture *f = arg;
    (void)rec;
    return log_store_trim(f->store, UINT64_MAX);
}

static void test_local_log__trim_recycles_but_not_under_a_reader(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    for (int i = 0; i < 40; i++) {
        assert_int_equal(append(&f, 3000), CONFAB_OK);
    }
    /* the reader sees everything although each record asks for all of it to go */
    struct seen seen = {0};
    uint64_t before = count_records(&f);
    assert_int_equal(before, 40);
    assert_int_equal(log_store_read(f.store, 0, trim_all, &f), CONFAB_OK);
    uint64_t allocated = disk_sim_calls(f.sim, DISK_OP_PREALLOCATE);
    assert_int_equal(log_store_trim(f.store, UINT64_MAX), CONFAB_OK);
    struct log_stats stats;
    log_store_stats(f.store, &stats);
    assert_int_equal(stats.segments, 1);
    uint64_t removed = disk_sim_calls(f.sim, DISK_OP_UNLINK);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(append(&f, 3000), CONFAB_OK);
        log_store_stats(f.store, &stats);
        assert_int_equal(log_store_trim(f.store, stats.durable_lsn), CONFAB_OK);
    }
    /* From now on the same files go round. */
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_PREALLOCATE), allocated);
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_UNLINK), removed);
    seen_free(&seen);
    fixture_deinit(&f);
}

static void test_local_log__failed_trim_is_sticky(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(append(&f, 3000), CONFAB_OK);
    }
    disk_sim_fail(f.sim, DISK_OP_SYNC_DIR, 1, 1, CONFAB_IO);
    assert_int_equal(log_store_trim(f.store, UINT64_MAX), CONFAB_IO);
    assert_int_equal(append(&f, 100), CONFAB_IO);
    assert_int_equal(state_of(&f), LOG_FAILED);
    fixture_deinit(&f);
}

static void test_local_log__readonly_changes_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(append(&f, 2000), CONFAB_OK);
    }
    disk_sim_kill(f.sim);
    local_log_close(f.log);
    uint64_t changes = disk_sim_changes(f.sim);
    assert_int_equal(local_log_open_readonly(disk_sim_disk(f.sim), clock_system(), &f.log),
                     CONFAB_OK);
    f.store = local_log_store(f.log);
    assert_int_equal(count_records(&f), 30);
    struct local_log_damage damage;
    local_log_damage(f.log, &damage);
    assert_int_equal(damage.count, 0);
    struct log_submission *sub = sub_new(0, 1, 1, 10, 1);
    assert_int_equal(log_store_submit(f.store, sub), CONFAB_FORBIDDEN);
    assert_int_equal(log_store_trim(f.store, 5), CONFAB_FORBIDDEN);
    sub_free(sub);
    local_log_close(f.log);
    f.log = NULL;
    assert_int_equal(disk_sim_changes(f.sim), changes);
    fixture_deinit(&f);
}

static enum confab_err sum_batches(void *arg, const struct local_log_batch_info *info)
{
    uint64_t *sum = arg;
    sum[0] += info->records;
    sum[1] += info->is_mark;
    sum[2] += info->is_gap;
    return CONFAB_OK;
}

static void test_local_log__inspect(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    for (int i = 0; i < 30; i++) {
        assert_int_equal(append(&f, 2000), CONFAB_OK);
    }
    uint64_t sum[3] = {0};
    assert_int_equal(local_log_inspect(f.log, sum_batches, sum), CONFAB_OK);
    assert_int_equal(sum[0], 30);
    local_log_close(f.log);
    assert_int_equal(local_log_open_readonly(disk_sim_disk(f.sim), clock_system(), &f.log),
                     CONFAB_OK);
    memset(sum, 0, sizeof(sum));
    assert_int_equal(local_log_inspect(f.log, sum_batches, sum), CONFAB_OK);
    assert_int_equal(sum[0], 30);
    assert_int_equal(sum[1], 2); /* the first segment's, and the one of the orderly close */
    assert_int_equal(sum[2], 0);
    fixture_deinit(&f);
}

/* Spares that take four pieces of zeros and the mark. */
enum { ZERO_SEGMENT = 1 << 20, ZERO_STEPS = 5 };

static void zero_fixture_init(struct fixture *f)
{
    *f = (struct fixture){.tag = 1, .segment = ZERO_SEGMENT, .zero_spares = true};
    random_seeded_init(&f->ids, 3);
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &f->sim) == CONFAB_OK);
    assert_int_equal(open_log(f), CONFAB_OK);
    assert_int_equal(f->log->blank.count, 2);
}

/* Steps until there is nothing to do, at most `max` times; how many did something. */
static int idle(struct fixture *f, int max)
{
    int n = 0;
    bool did_work = true;
    while (did_work && n < max) {
        assert_int_equal(local_log_step(f->log, &did_work), CONFAB_OK);
        n += did_work;
    }
    return n;
}

/* Its mark stands at the start, zeros behind it. */
static void assert_filled(struct fixture *f, uint64_t spare)
{
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    log_name_format(LOG_NAME_SPARE, spare, name);
    assert_int_equal(disk_open(disk_sim_disk(f->sim), name, DISK_READ, &file), CONFAB_OK);
    uint8_t *bytes = malloc(ZERO_SEGMENT);
    size_t n = 0;
    assert_int_equal(disk_pread(file, bytes, ZERO_SEGMENT, 0, &n), CONFAB_OK);
    assert_int_equal(n, ZERO_SEGMENT);
    assert_int_not_equal(bytes[0], 0);
    for (size_t i = LOG_BLOCK; i < n; i++) {
        assert_int_equal(bytes[i], 0);
    }
    free(bytes);
    disk_close(file);
}

static void test_local_log__fills_spares_while_idle(void **state)
{
    (void)state;
    struct fixture f;
    zero_fixture_init(&f);
    assert_int_equal(append(&f, 100), CONFAB_OK);
    assert_int_equal(idle(&f, 100), 0); /* a log with little in it leaves them alone */
    assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
    uint64_t writes = disk_sim_calls(f.sim, DISK_OP_PWRITE);
    uint64_t syncs = disk_sim_calls(f.sim, DISK_OP_SYNC);
    assert_int_equal(idle(&f, 3), 3);
    assert_int_equal(append(&f, 100), CONFAB_OK); /* goes first */
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_PWRITE), writes + 3 + 1);
    assert_int_equal(idle(&f, 100), 2 * ZERO_STEPS - 3);
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_PWRITE), writes + 2 * ZERO_STEPS + 1);
    assert_int_equal(disk_sim_calls(f.sim, DISK_OP_SYNC), syncs + 2 * ZERO_STEPS + 1);
    assert_int_equal(f.log->blank.count, 0);
    assert_filled(&f, f.log->spares.at[0]);
    assert_filled(&f, f.log->spares.at[1]);
    reopen(&f); /* one of them is the current segment now, the old one a spare */
    assert_int_equal(f.log->blank.count, 0);
    assert_int_equal(count_records(&f), 3);
    fixture_deinit(&f);
}

static void test_local_log__a_spare_is_wanted_while_it_is_filled(void **state)
{
    (void)state;
    struct fixture f;
    zero_fixture_init(&f);
    assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
    assert_int_equal(idle(&f, 2), 2);
    uint64_t half = f.log->zeros.spare;
    uint64_t segments = f.log->segments.count;
    uint64_t n = 1;
    for (; f.log->segments.count == segments; n++) {
        assert_int_equal(append(&f, 100000), CONFAB_OK);
    }
    assert_null(f.log->zeros.file);
    for (size_t i = 0; i < f.log->blank.count; i++) {
        assert_int_not_equal(f.log->blank.at[i], half);
    }
    assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
    assert_true(idle(&f, 100) > 0); /* the one made since */
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(append(&f, 300000), CONFAB_OK);
    }
    reopen(&f);
    assert_int_equal(count_records(&f), n + 1 + 3);
    fixture_deinit(&f);
}

static void test_local_log__a_spare_half_filled_is_filled_again(void **state)
{
    (void)state;
    struct fixture f;
    for (int power = 0; power < 2; power++) {
        zero_fixture_init(&f);
        assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
        assert_int_equal(idle(&f, ZERO_STEPS - 1), ZERO_STEPS - 1);
        if (power) {
            disk_sim_crash(f.sim, 7);
        } else {
            disk_sim_kill(f.sim);
        }
        local_log_close(f.log);
        f.log = NULL;
        assert_int_equal(open_log(&f), CONFAB_OK);
        assert_int_equal(count_records(&f), 1);
        assert_true(f.log->blank.count >= 1);
        uint64_t blank = f.log->blank.at[0];
        assert_true(idle(&f, 100) >= ZERO_STEPS);
        assert_int_equal(f.log->blank.count, 0);
        assert_filled(&f, blank);
        fixture_deinit(&f);
    }
}

static void test_local_log__a_disk_that_takes_no_zeros(void **state)
{
    (void)state;
    static const enum disk_op ops[] = {DISK_OP_OPEN, DISK_OP_PWRITE, DISK_OP_SYNC};
    struct fixture f;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        zero_fixture_init(&f);
        assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
        disk_sim_fail(f.sim, ops[i], 1, 1, CONFAB_IO);
        bool did_work;
        assert_int_equal(local_log_step(f.log, &did_work), CONFAB_IO);
        assert_int_equal(state_of(&f), LOG_FAILED);
        assert_int_equal(append(&f, 100), CONFAB_IO);
        reopen(&f);
        assert_int_equal(count_records(&f), 1);
        fixture_deinit(&f);
    }
    /* No room for them is no failure: nobody needs zeros. */
    zero_fixture_init(&f);
    assert_int_equal(append(&f, ZERO_SEGMENT / 8), CONFAB_OK);
    disk_sim_fail(f.sim, DISK_OP_PWRITE, 2, 1, CONFAB_NO_SPACE);
    assert_int_equal(idle(&f, 100), 2);
    assert_int_equal(f.log->blank.count, 0);
    assert_int_equal(state_of(&f), LOG_OK);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(append(&f, 300000), CONFAB_OK);
    }
    assert_int_equal(idle(&f, 100), 0);
    reopen(&f);
    assert_int_equal(count_records(&f), 9);
    fixture_deinit(&f);
}

static void test_local_log__newer_version_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 0);
    assert_int_equal(append(&f, 100), CONFAB_OK);
    uint64_t number = log_current(f.log)->number;
    uint8_t block[LOG_SEGMENT_HEADER];
    local_log_close(f.log);
    f.log = NULL;
    char name[LOG_NAME_MAX];
    struct disk_file *file = NULL;
    size_t n = 0;
    log_name_format(LOG_NAME_SEGMENT, number, name);
    assert_int_equal(disk_open(disk_sim_disk(f.sim), name, DISK_READ | DISK_WRITE, &file),
                     CONFAB_OK);
    assert_int_equal(disk_pread(file, block, sizeof(block), 0, &n), CONFAB_OK);
    block[8] = 2;
    uint32_t crc = crc32c(0, block, 60);
    for (int i = 0; i < 4; i++) {
        block[60 + i] = (uint8_t)(crc >> (8 * i));
    }
    assert_int_equal(disk_pwrite(file, block, sizeof(block), 0), CONFAB_OK);
    disk_close(file);
    uint64_t changes = disk_sim_changes(f.sim);
    assert_int_equal(open_log(&f), CONFAB_VERSION);
    assert_int_equal(disk_sim_changes(f.sim), changes);
    fixture_deinit(&f);
}

/* A log of some segments with everything in it durable; the numbers of its segments. */
static size_t build_for_damage(struct fixture *f, bool orderly, uint64_t *numbers, size_t max)
{
    fixture_init(f, 0);
    for (int i = 0; i < BUILT; i++) {
        assert_int_equal(append(f, i % 3 == 0 ? 5000 : 700), CONFAB_OK);
    }
    size_t n = f->log->segments.count;
    assert_true(n >= 3 && n <= max);
    for (size_t i = 0; i < n; i++) {
        numbers[i] = f->log->segments.at[i]->number;
    }
    if (!orderly) {
        disk_sim_kill(f->sim);
    }
    local_log_close(f->log);
    f->log = NULL;
    return n;
}

/* Opens the damaged copy in each way and checks that nothing wrong is ever served. Returns whether
 * the damage was reported. */
static bool check_damaged(struct fixture *f, uint64_t total, bool orderly)
{
    struct disk *disk = disk_sim_disk(f->sim);
    struct seen seen = {0};
    assert_int_equal(local_log_open_readonly(disk, clock_system(), &f->log), CONFAB_OK);
    struct local_log_damage damage;
    local_log_damage(f->log, &damage);
    enum confab_err err = seen_read(&seen, local_log_store(f->log), 0);
    /* a prefix; without the first segments when those are what is damaged */
    for (uint64_t i = 0; i < seen.count; i++) {
        assert_int_equal(seen.at[i].tag, i ? seen.at[i - 1].tag + 1 : seen.at[0].tag);
    }
    assert_true(seen.count == 0 || seen.at[0].tag == 1 ||
                (damage.count > 0 && damage.ranges[0].from_lsn == 1 &&
                 damage.ranges[0].to_lsn == seen.at[0].lsn));
    local_log_close(f->log);
    f->log = NULL;
    if (damage.count == 0) {
        assert_int_equal(err, CONFAB_OK);
        /* unseen: nothing of a record was hit, or a torn tail is possible */
        assert_true(seen.count == total || (!orderly && seen.count == total - 1));
        assert_int_equal(open_log(f), CONFAB_OK);
        assert_int_equal(count_records(f), seen.count);
        local_log_close(f->log);
        f->log = NULL;
        seen_free(&seen);
        return false;
    }
    uint64_t changes = disk_sim_changes(f->sim);
    assert_int_equal(open_log(f), CONFAB_CORRUPT);
    struct local_log_damage told = {0};
    assert_int_equal(local_log_repair(disk, clock_system(), true, &told), CONFAB_OK);
    assert_int_equal(told.count, damage.count);
    assert_int_equal(disk_sim_changes(f->sim), changes);

    assert_int_equal(local_log_repair(disk, clock_system(), false, &told), CONFAB_OK);
    assert_int_equal(local_log_repair(disk, clock_system(), true, &damage), CONFAB_OK);
    assert_int_equal(damage.count, 0);
    assert_int_equal(open_log(f), CONFAB_OK);
    assert_int_equal(seen_read(&seen, f->store, 0), CONFAB_OK);
    /* each record is there or in a range that was named */
    uint64_t tag = 1;
    for (uint64_t i = 0; i < seen.count; i++) {
        if (seen.at[i].tag != tag) {
            bool named = false;
            uint64_t end = i ? seen.at[i - 1].lsn + LOG_RECORD_HEADER + seen.at[i - 1].size : 1;
            for (uint32_t k = 0; k < told.count; k++) {
                named |= told.ranges[k].from_lsn <= end && told.ranges[k].to_lsn >= seen.at[i].lsn;
            }
            assert_true(named);
            assert_true(seen.at[i].tag > tag);
        }
        tag = seen.at[i].tag + 1;
    }
    uint64_t readable = seen.count;
    /* and the log is written again, behind every LSN ever given */
    f->tag = 1000;
    assert_int_equal(append(f, 50), CONFAB_OK);
    assert_int_equal(seen_read(&seen, f->store, 0), CONFAB_OK);
    assert_int_equal(seen.count, readable + 1);
    local_log_close(f->log);
    f->log = NULL;
    seen_free(&seen);
    return true;
}

static void flip_everywhere(bool orderly)
{
    struct fixture f;
    uint64_t numbers[16];
    size_t n = build_for_damage(&f, orderly, numbers, ARRAY_LEN(numbers));
    struct random_seeded r;
    random_seeded_init(&r, 11);
    bool all = getenv("CONFAB_LONG") != NULL;
    uint64_t reported = 0;
    uint64_t tried = 0;
    for (size_t s = 0; s < n; s++) {
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SEGMENT, numbers[s], name);
        for (uint64_t offset = 0; offset < SEGMENT; offset++) {
            /* mostly bytes of headers; CONFAB_LONG=1 takes all of those, and more of the rest */
            bool header = offset % LOG_BLOCK < LOG_BATCH_HEADER;
            if (random_below(&r.base, all ? (header ? 1 : 20) : (header ? 3 : 100)) != 0) {
                continue;
            }
            struct fixture copy = f;
            CHECK(disk_sim_clone(f.sim, &copy.sim) == CONFAB_OK);
            uint8_t mask = (uint8_t)(1U << random_below(&r.base, 8));
            assert_int_equal(disk_sim_flip(copy.sim, name, offset, mask), CONFAB_OK);
            reported += check_damaged(&copy, BUILT, orderly);
            tried++;
            disk_sim_free(copy.sim);
        }
    }
    assert_true(reported > tried / 10);
    disk_sim_free(f.sim);
}

static void test_local_log__flipped_bits_after_close(void **state)
{
    (void)state;
    flip_everywhere(true);
}

static void test_local_log__flipped_bits_after_kill(void **state)
{
    (void)state;
    flip_everywhere(false);
}

static void test_local_log__lost_files(void **state)
{
    (void)state;
    for (size_t gone = 0; gone < 2; gone++) {
        struct fixture f;
        uint64_t numbers[16];
        build_for_damage(&f, true, numbers, ARRAY_LEN(numbers));
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SEGMENT, numbers[gone], name);
        if (gone == 0) { /* the first: as if trimmed; its header damaged: told */
            assert_int_equal(disk_sim_flip(f.sim, name, 3, 1), CONFAB_OK);
        } else {
            assert_int_equal(disk_unlink(disk_sim_disk(f.sim), name), CONFAB_OK);
        }
        assert_true(check_damaged(&f, BUILT, true));
        disk_sim_free(f.sim);
    }
}

static void test_local_log__repair_stopped_anywhere(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t numbers[16];
    size_t n = build_for_damage(&f, true, numbers, ARRAY_LEN(numbers));
    for (size_t s = 0; s < n; s++) {
        char name[LOG_NAME_MAX];
        log_name_format(LOG_NAME_SEGMENT, numbers[s], name);
        /* a payload byte in the middle, and a header of a file at the end */
        assert_int_equal(disk_sim_flip(f.sim, name, s + 1 == n ? 8 : 3 * LOG_BLOCK + 100, 4),
                         CONFAB_OK);
    }
    bool finished = false;
    for (uint64_t k = 0; !finished; k++) {
        for (uint64_t seed = 0; seed < 24; seed++) {
            struct fixture copy = f;
            struct local_log_damage damage;
            CHECK(disk_sim_clone(f.sim, &copy.sim) == CONFAB_OK);
            disk_sim_halt_after(copy.sim, k);
            struct disk *disk = disk_sim_disk(copy.sim);
            finished = local_log_repair(disk, clock_system(), false, &damage) == CONFAB_OK;
            disk_sim_crash(copy.sim, seed);
            assert_int_equal(local_log_repair(disk, clock_system(), false, &damage), CONFAB_OK);
            assert_int_equal(local_log_repair(disk, clock_system(), true, &damage), CONFAB_OK);
            assert_int_equal(damage.count, 0);
            assert_int_equal(open_log(&copy), CONFAB_OK);
            struct seen seen = {0};
            assert_int_equal(seen_read(&seen, copy.store, 0), CONFAB_OK);
            assert_true(seen.count > 10);
            seen_free(&seen);
            local_log_close(copy.log);
            disk_sim_free(copy.sim);
        }
    }
    disk_sim_free(f.sim);
}

static void test_local_log__old_bytes_are_no_batches(void **state)
{
    (void)state;
    /* Recycled segments are full of intact batches of an earlier life. */
    struct fixture f;
    fixture_init(&f, 0);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(append(&f, 3000), CONFAB_OK);
        struct log_stats stats;
        log_store_stats(f.store, &stats);
        assert_int_equal(log_store_trim(f.store, stats.durable_lsn), CONFAB_OK);
        if (i % 20 == 0) {
            disk_sim_kill(f.sim);
            local_log_close(f.log);
            f.log = NULL;
            assert_int_equal(open_log(&f), CONFAB_OK);
            uint64_t n = count_records(&f);
            struct seen seen = {0};
            assert_int_equal(seen_read(&seen, f.store, 0), CONFAB_OK);
            assert_true(n > 0);
            assert_int_equal(seen.at[n - 1].tag, i + 1);
            seen_free(&seen);
        }
    }
    fixture_deinit(&f);
}

static void test_local_log__verify_from_skips_old_payloads(void **state)
{
    (void)state;
    struct fixture f;
    uint64_t numbers[16];
    build_for_damage(&f, true, numbers, ARRAY_LEN(numbers));
    char name[LOG_NAME_MAX];
    log_name_format(LOG_NAME_SEGMENT, numbers[0], name);
    assert_int_equal(disk_sim_flip(f.sim, name, 2 * LOG_BLOCK + 100, 1), CONFAB_OK);
    assert_int_equal(open_log(&f), CONFAB_CORRUPT);
    struct local_log_config config = {.segment_bytes = SEGMENT, .lanes = 1, .verify_from = 30000};
    assert_int_equal(local_log_open(&config, disk_sim_disk(f.sim), clock_system(), &f.log),
                     CONFAB_OK);
    f.store = local_log_store(f.log);
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, f.store, 0), CONFAB_CORRUPT); /* never served */
    assert_int_equal(seen.count, 0);
    assert_int_equal(seen_read(&seen, f.store, 30000), CONFAB_OK);
    assert_true(seen.count > 0);
    seen_free(&seen);
    fixture_deinit(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_local_log__config_is_checked),
        cmocka_unit_test(test_local_log__failed_write_or_sync_is_sticky),
        cmocka_unit_test(test_local_log__full_disk_refuses_and_recovers),
        cmocka_unit_test(test_local_log__admitted_is_always_written),
        cmocka_unit_test(test_local_log__queued_is_one_batch),
        cmocka_unit_test(test_local_log__trim_recycles_but_not_under_a_reader),
        cmocka_unit_test(test_local_log__failed_trim_is_sticky),
        cmocka_unit_test(test_local_log__readonly_changes_nothing),
        cmocka_unit_test(test_local_log__inspect),
        cmocka_unit_test(test_local_log__fills_spares_while_idle),
        cmocka_unit_test(test_local_log__a_spare_is_wanted_while_it_is_filled),
        cmocka_unit_test(test_local_log__a_spare_half_filled_is_filled_again),
        cmocka_unit_test(test_local_log__a_disk_that_takes_no_zeros),
        cmocka_unit_test(test_local_log__newer_version_is_refused),
        cmocka_unit_test(test_local_log__flipped_bits_after_close),
        cmocka_unit_test(test_local_log__flipped_bits_after_kill),
        cmocka_unit_test(test_local_log__lost_files),
        cmocka_unit_test(test_local_log__repair_stopped_anywhere),
        cmocka_unit_test(test_local_log__old_bytes_are_no_batches),
        cmocka_unit_test(test_local_log__verify_from_skips_old_payloads),
    };
    diag_set_level_all(getenv("CONFAB_VERBOSE") ? DIAG_DEBUG : DIAG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
