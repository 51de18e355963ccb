/* The log port's contract, over each adapter. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

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
            enum confab_err err = submit(&rig, subs[lane][i]);
            while (err == CONFAB_BUSY) { /* the spare segment is still to come */
                struct log_submission *sub = rig_await(&rig, lane);
                assert_non_null(sub);
                fail();
            }
            assert_int_equal(err, CONFAB_OK);
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
    };
    int failed = 0;
    diag_set_level_all(DIAG_OFF);
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        kind_now = KINDS[i].kind;
        failed += cmocka_run_group_tests_name(KINDS[i].name, tests, NULL, NULL);
    }
    return failed;
}
