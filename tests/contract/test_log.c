/* The log port's contract, over each adapter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/diag.h"
#include "log_rig.h"

static enum rig_kind kind_now;

static enum confab_err submit(struct rig *rig, struct log_submission *sub)
{
    return log_store_submit(rig->log, sub);
}

/* Submits one record and waits for it; its LSN. */
static uint64_t append(struct rig *rig, uint16_t lane, uint32_t size, uint64_t tag)
{
    struct log_submission *sub = sub_new(lane, (uint16_t)(tag % 1024), 1, size, tag);
    assert_int_equal(submit(rig, sub), CONFAB_OK);
    assert_ptr_equal(rig_await(rig, lane), sub);
    assert_int_equal(sub->ret_err, CONFAB_OK);
    uint64_t lsn = sub->ret_lsn;
    sub_free(sub);
    return lsn;
}

static void test_log__new_is_empty(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    assert_int_equal(seen.count, 0);
    struct log_stats stats;
    log_store_stats(rig.log, &stats);
    assert_int_equal(stats.state, LOG_OK);
    assert_int_equal(stats.durable_lsn, stats.first_lsn);
    assert_true(stats.durable_lsn > 0);
    assert_null(log_store_poll(rig.log, 0));
    seen_free(&seen);
    rig_deinit(&rig);
}

static void test_log__order_and_lsns_by_lane(void **state)
{
    (void)state;
    enum { N = 200 };
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    struct log_submission *subs[RIG_LANES][N];
    for (uint32_t i = 0; i < N; i++) {
        for (uint16_t lane = 0; lane < RIG_LANES; lane++) {
            subs[lane][i] = sub_new(lane, lane, 1 + i % 4, 8 + i, i * 100 + lane * 1000000ULL);
            assert_int_equal(submit(&rig, subs[lane][i]), CONFAB_OK);
        }
        if (i % 8 == 7) {
            for (uint16_t lane = 0; lane < RIG_LANES; lane++) {
                for (uint32_t k = i - 7; k <= i; k++) {
                    assert_ptr_equal(rig_await(&rig, lane), subs[lane][k]);
                    assert_int_equal(subs[lane][k]->ret_err, CONFAB_OK);
                }
            }
        }
    }
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    uint64_t at = 0;
    uint64_t expected = 0;
    uint64_t next[RIG_LANES] = {0};
    for (uint32_t i = 0; i < N; i++) {
        expected += RIG_LANES * (1 + i % 4);
    }
    assert_int_equal(seen.count, expected);
    uint64_t last_tag[RIG_LANES] = {0};
    for (at = 0; at < seen.count; at++) {
        uint16_t lane = seen.at[at].partition;
        /* contiguous: an LSN counts record bytes */
        if (at > 0) {
            assert_int_equal(seen.at[at].lsn,
                             seen.at[at - 1].lsn + LOG_RECORD_HEADER + seen.at[at - 1].size);
        }
        assert_true(next[lane] == 0 || seen.at[at].tag > last_tag[lane]);
        last_tag[lane] = seen.at[at].tag;
        next[lane]++;
    }
    /* each submission's records stand at ret_lsn + offset */
    for (uint16_t lane = 0; lane < RIG_LANES; lane++) {
        for (uint32_t i = 0; i < N; i++) {
            size_t offset = 0;
            struct log_record rec;
            struct seen one = {0};
            struct span bytes = span_of(subs[lane][i]->bytes.data, subs[lane][i]->bytes.len);
            assert_int_equal(log_record_next(bytes, &offset, subs[lane][i]->ret_lsn, &rec),
                             CONFAB_OK);
            if (i % 50 == 0) {
                assert_int_equal(seen_read(&one, rig.log, rec.lsn), CONFAB_OK);
                assert_int_equal(one.at[0].lsn, rec.lsn);
                assert_memory_equal(&one.at[0].tag, rec.data.p, 8);
            }
            seen_free(&one);
            sub_free(subs[lane][i]);
        }
    }
    seen_free(&seen);
    rig_deinit(&rig);
}

static void test_log__reopen_keeps_everything(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    uint64_t lsn[300];
    for (uint64_t i = 0; i < 300; i++) {
        lsn[i] = append(&rig, (uint16_t)(i % RIG_LANES), 100 + (uint32_t)i * 7, i);
        if (i % 60 == 59) {
            rig_reopen(&rig);
        }
    }
    rig_reopen(&rig);
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    assert_int_equal(seen.count, 300);
    for (uint64_t i = 0; i < 300; i++) {
        assert_int_equal(seen.at[i].lsn, lsn[i]);
        assert_int_equal(seen.at[i].tag, i);
        assert_int_equal(seen.at[i].size, 100 + i * 7);
    }
    seen_free(&seen);
    rig_deinit(&rig);
}

static void test_log__submission_limits(void **state)
{
    (void)state;
    static uint8_t big[LOG_RECORD_SIZE_MAX + 1];
    struct log_submission sub = {0};
    uint32_t offset = 77;
    assert_int_equal(log_submission_add(&sub, 1024, 1, 1, span_str("x"), &offset), CONFAB_INVALID);
    assert_int_equal(log_submission_add(&sub, 1, 1, 1, span_of(big, sizeof(big)), &offset),
                     CONFAB_TOO_LARGE);
    assert_int_equal(offset, 77);
    assert_int_equal(sub.bytes.len, 0);
    assert_int_equal(log_submission_add(&sub, 1023, 1, 1, span_of(NULL, 0), &offset), CONFAB_OK);
    assert_int_equal(offset, 0);
    for (int i = 0; i < 7; i++) {
        assert_int_equal(
            log_submission_add(&sub, 1, 1, 1, span_of(big, LOG_RECORD_SIZE_MAX), &offset),
            CONFAB_OK);
    }
    assert_int_equal(log_submission_add(&sub, 1, 1, 1, span_of(big, LOG_RECORD_SIZE_MAX), &offset),
                     CONFAB_TOO_LARGE);
    assert_int_equal(sub.records, 8);
    /* what was framed is read back; a cut or a wrong partition is not */
    size_t at = 0;
    struct log_record rec;
    assert_int_equal(log_record_next(span_of(sub.bytes.data, sub.bytes.len), &at, 100, &rec),
                     CONFAB_OK);
    assert_int_equal(rec.lsn, 100);
    assert_int_equal(rec.partition, 1023);
    assert_int_equal(rec.data.n, 0);
    assert_int_equal(log_record_next(span_of(sub.bytes.data, 30), &at, 100, &rec), CONFAB_CORRUPT);
    assert_int_equal(log_record_next(span_of(sub.bytes.data, 8), &at, 100, &rec), CONFAB_EOF);
    sub.bytes.data[5] = 0xff;
    at = 0;
    assert_int_equal(log_record_next(span_of(sub.bytes.data, 8), &at, 100, &rec), CONFAB_CORRUPT);
    buf_deinit(&sub.bytes);
}

static void test_log__busy_above_the_bound(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 4000);
    if (rig_is_stepped(&rig)) {
        struct log_submission *subs[4];
        for (int i = 0; i < 3; i++) {
            subs[i] = sub_new(0, 1, 1, 1300, 1);
            assert_int_equal(submit(&rig, subs[i]), CONFAB_OK);
        }
        subs[3] = sub_new(1, 1, 1, 1300, 1);
        assert_int_equal(submit(&rig, subs[3]), CONFAB_BUSY);
        struct log_stats stats;
        log_store_stats(rig.log, &stats);
        assert_int_equal(stats.queue_full, 1);
        assert_int_equal(stats.bytes_queued, 3 * (1300 + LOG_RECORD_HEADER));
        for (int i = 0; i < 3; i++) {
            assert_ptr_equal(rig_await(&rig, 0), subs[i]);
        }
        assert_int_equal(submit(&rig, subs[3]), CONFAB_OK);
        assert_ptr_equal(rig_await(&rig, 1), subs[3]);
        for (int i = 0; i < 4; i++) {
            sub_free(subs[i]);
        }
    }
    /* one alone always fits */
    append(&rig, 0, 5000, 1);
    rig_deinit(&rig);
}

static enum confab_err stop_at_third(void *arg, const struct log_record *rec)
{
    (void)rec;
    int *count = arg;
    return ++*count == 3 ? CONFAB_LIMIT : CONFAB_OK;
}

static void test_log__read_stops_and_starts_anywhere(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    uint64_t lsn[100];
    for (uint64_t i = 0; i < 100; i++) {
        lsn[i] = append(&rig, 0, 900, i);
    }
    int count = 0;
    assert_int_equal(log_store_read(rig.log, 0, stop_at_third, &count), CONFAB_LIMIT);
    assert_int_equal(count, 3);
    struct seen seen = {0};
    for (uint64_t i = 0; i < 100; i += 3) {
        assert_int_equal(seen_read(&seen, rig.log, lsn[i]), CONFAB_OK);
        assert_int_equal(seen.count, 100 - i);
        assert_int_equal(seen.at[0].lsn, lsn[i]);
        assert_int_equal(seen_read(&seen, rig.log, lsn[i] + 1), CONFAB_OK);
        assert_int_equal(seen.count, 99 - i);
    }
    assert_int_equal(seen_read(&seen, rig.log, UINT64_MAX), CONFAB_OK);
    assert_int_equal(seen.count, 0);
    seen_free(&seen);
    rig_deinit(&rig);
}

static void test_log__trim_keeps_what_is_needed(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    struct seen seen = {0};
    uint64_t lsn[400];
    for (uint64_t i = 0; i < 400; i++) {
        lsn[i] = append(&rig, 0, 500, i);
        if (i % 50 == 49) {
            uint64_t keep = lsn[i - 20];
            assert_int_equal(log_store_trim(rig.log, keep), CONFAB_OK);
            struct log_stats stats;
            log_store_stats(rig.log, &stats);
            assert_true(stats.first_lsn <= keep);
            if (i % 100 == 99) {
                rig_reopen(&rig);
            }
            assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
            assert_true(seen.count >= 21);
            assert_int_equal(seen.at[seen.count - 1].tag, i);
            assert_int_equal(seen.at[0].tag, i + 1 - seen.count);
            assert_true(seen.at[0].lsn <= keep);
        }
    }
    struct log_stats stats;
    log_store_stats(rig.log, &stats);
    assert_true(stats.first_lsn > lsn[100]); /* something did go */
    assert_int_equal(log_store_trim(rig.log, UINT64_MAX), CONFAB_OK);
    append(&rig, 0, 10, 9); /* and the log goes on */
    seen_free(&seen);
    rig_deinit(&rig);
}

struct reading {
    struct rig *rig;
    atomic_bool stop;
    uint64_t reads;
};

static void *read_again_and_again(void *arg)
{
    struct reading *r = arg;
    struct seen seen = {0};
    uint64_t before = 0;
    do {
        CHECK(seen_read(&seen, r->rig->log, 0) == CONFAB_OK);
        CHECK(seen.count >= before);
        for (uint64_t i = 0; i < seen.count; i++) {
            CHECK(seen.at[i].tag == i);
        }
        before = seen.count;
        r->reads++;
    } while (!atomic_load(&r->stop));
    seen_free(&seen);
    return NULL;
}

static void test_log__read_beside_appends(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    struct reading reading = {.rig = &rig};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, read_again_and_again, &reading), 0);
    for (uint64_t i = 0; i < 300; i++) {
        append(&rig, 0, 700, i);
    }
    atomic_store(&reading.stop, true);
    pthread_join(thread, NULL);
    assert_true(reading.reads > 0);
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    assert_int_equal(seen.count, 300);
    seen_free(&seen);
    rig_deinit(&rig);
}

static void test_log__too_large_for_the_adapter(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, kind_now, 0);
    if (kind_now != RIG_MEM) { /* its segments are smaller than a full submission */
        struct log_submission *sub = sub_new(0, 1, 2, 40000, 1);
        assert_int_equal(submit(&rig, sub), CONFAB_TOO_LARGE);
        sub_free(sub);
    }
    append(&rig, 0, 40000, 1);
    rig_deinit(&rig);
}

static void test_log__fault_submit_is_refused(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, RIG_FAULT_LOCAL, 0);
    log_fault_plan(rig.fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_NO_SPACE);
    struct log_submission *sub = sub_new(0, 1, 1, 10, 1);
    assert_int_equal(submit(&rig, sub), CONFAB_NO_SPACE);
    assert_int_equal(submit(&rig, sub), CONFAB_OK); /* not sticky */
    assert_ptr_equal(rig_await(&rig, 0), sub);
    log_fault_plan(rig.fault, LOG_FAULT_SUBMIT, 1, 1, CONFAB_IO);
    assert_int_equal(submit(&rig, sub), CONFAB_IO);
    assert_int_equal(submit(&rig, sub), CONFAB_IO); /* sticky */
    struct log_stats stats;
    log_store_stats(rig.log, &stats);
    assert_int_equal(stats.state, LOG_FAILED);
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    assert_int_equal(seen.count, 1);
    log_fault_plan(rig.fault, LOG_FAULT_READ, 1, 1, CONFAB_CORRUPT);
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_CORRUPT);
    log_fault_plan(rig.fault, LOG_FAULT_TRIM, 1, 1, CONFAB_IO);
    assert_int_equal(log_store_trim(rig.log, 1), CONFAB_IO);
    seen_free(&seen);
    sub_free(sub);
    rig_deinit(&rig);
}

static void test_log__fault_unknown_fate(void **state)
{
    (void)state;
    for (int written = 0; written < 2; written++) {
        struct rig rig;
        rig_init(&rig, RIG_FAULT_LOCAL, 0);
        append(&rig, 0, 10, 1);
        log_fault_plan(rig.fault, written ? LOG_FAULT_COMPLETE : LOG_FAULT_LOSE, 1, 1, CONFAB_IO);
        struct log_submission *sub = sub_new(0, 1, 1, 10, 2);
        assert_int_equal(submit(&rig, sub), CONFAB_OK);
        assert_ptr_equal(rig_await(&rig, 0), sub);
        assert_int_equal(sub->ret_err, CONFAB_IO);
        assert_int_equal(submit(&rig, sub), CONFAB_IO);
        struct seen seen = {0};
        assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
        assert_int_equal(seen.count, written ? 2 : 1);
        seen_free(&seen);
        sub_free(sub);
        rig_deinit(&rig);
    }
}

static void test_log__fault_holds_completions(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, RIG_FAULT_LOCAL, 0);
    log_fault_hold(rig.fault, true);
    struct log_submission *sub = sub_new(2, 1, 1, 10, 1);
    assert_int_equal(submit(&rig, sub), CONFAB_OK);
    bool did_work = false;
    assert_int_equal(local_log_step(rig.local, &did_work), CONFAB_OK);
    assert_null(log_store_poll(rig.log, 2));
    uint64_t wakes = rig.wakes;
    log_fault_hold(rig.fault, false);
    assert_true(rig.wakes > wakes);
    assert_ptr_equal(log_store_poll(rig.log, 2), sub);
    sub_free(sub);
    rig_deinit(&rig);
}

static void test_log__mem_failure_and_space(void **state)
{
    (void)state;
    struct rig rig;
    rig_init(&rig, RIG_MEM, 0);
    append(&rig, 0, 100, 1);
    log_mem_set_capacity(rig.mem, 150);
    struct log_submission *sub = sub_new(0, 1, 1, 100, 2);
    assert_int_equal(submit(&rig, sub), CONFAB_NO_SPACE);
    log_mem_set_capacity(rig.mem, 0);
    assert_int_equal(submit(&rig, sub), CONFAB_OK);
    log_mem_fail(rig.mem);
    assert_ptr_equal(log_store_poll(rig.log, 0), sub);
    assert_int_equal(sub->ret_err, CONFAB_IO);
    assert_int_equal(submit(&rig, sub), CONFAB_IO);
    rig_reopen(&rig);
    assert_int_equal(submit(&rig, sub), CONFAB_OK);
    log_mem_crash(rig.mem); /* before a step: lost */
    struct seen seen = {0};
    assert_int_equal(seen_read(&seen, rig.log, 0), CONFAB_OK);
    assert_int_equal(seen.count, 1);
    seen_free(&seen);
    sub_free(sub);
    rig_deinit(&rig);
}

static const struct {
    const char *name;
    enum rig_kind kind;
} KINDS[] = {
    {"local_os", RIG_LOCAL_OS},
    {"local_sim", RIG_LOCAL_SIM},
    {"mem", RIG_MEM},
    {"fault", RIG_FAULT_LOCAL},
};

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log__new_is_empty),
        cmocka_unit_test(test_log__order_and_lsns_by_lane),
        cmocka_unit_test(test_log__reopen_keeps_everything),
        cmocka_unit_test(test_log__busy_above_the_bound),
        cmocka_unit_test(test_log__read_stops_and_starts_anywhere),
        cmocka_unit_test(test_log__trim_keeps_what_is_needed),
        cmocka_unit_test(test_log__read_beside_appends),
        cmocka_unit_test(test_log__too_large_for_the_adapter),
    };
    const struct CMUnitTest more[] = {
        cmocka_unit_test(test_log__submission_limits),
        cmocka_unit_test(test_log__fault_submit_is_refused),
        cmocka_unit_test(test_log__fault_unknown_fate),
        cmocka_unit_test(test_log__fault_holds_completions),
        cmocka_unit_test(test_log__mem_failure_and_space),
    };
    int failed = 0;
    diag_set_level_all(DIAG_OFF);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        kind_now = KINDS[i].kind;
        failed += cmocka_run_group_tests_name(KINDS[i].name, tests, NULL, NULL);
    }
    return failed + cmocka_run_group_tests_name("more", more, NULL, NULL);
}
