/*
 * The local log against power loss. Each cycle runs a seeded mix of work on the simulated disk
 * until the disk stops at a random operation, crashes it, possibly again during recovery, and
 * compares what is then read with a model:
 *   - what was acknowledged is there, once, in order, at its LSN;
 *   - what was not acknowledged is there as a whole submission or not at all, and only as a prefix
 * of what was under way;
 *   - what was trimmed may be gone, nothing else.
 * CONFAB_SEED runs one seed, CONFAB_SEEDS another number of them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/diag.h"
#include "log_rig.h"

enum { SEEDS = 250, CYCLES = 12, LANES = 2, SUBS_MAX = 4096 };

/* A millisecond passes with each look at it. */
static uint64_t ticks;
static uint64_t tick_ms(struct clock *c)
{
    (void)c;
    return ++ticks;
}
static uint64_t tick_ns(struct clock *c)
{
    return tick_ms(c) * 1000000;
}
static const struct clock_ops TICKS = {.name = "ticks", .wall_ms = tick_ms, .mono_ns = tick_ns};
static struct clock tick_clock = {&TICKS};

struct model_sub {
    struct log_submission *sub; /* NULL once it came back */
    uint64_t tag;
    uint64_t lsn; /* 0: not acknowledged */
    uint32_t count;
    uint32_t size;
};

struct world {
    uint64_t seed;
    struct random_seeded random;
    struct random_seeded ids;
    struct disk_sim *sim;
    struct local_log *log;
    struct log_store *store;
    struct model_sub subs[SUBS_MAX]; /* in the order submitted */
    size_t count;
    size_t back; /* those before came back */
    uint64_t tag_next;
    uint64_t trimmed;
    uint64_t crashes;
    uint64_t survived; /* unacknowledged submissions found after a crash */
    uint64_t vanished;
};

static uint64_t below(struct world *w, uint64_t n)
{
    return random_below(&w->random.base, n);
}

#define EXPECT(w, x)                                                                               \
    do {                                                                                           \
        if (!(x)) {                                                                                \
            print_error("seed %" PRIu64 ": %s\n", (w)->seed, #x);                                  \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static enum confab_err world_open(struct world *w)
{
    struct local_log_config config = {
        .segment_bytes = LOCAL_LOG_SEGMENT_BYTES_MIN << (w->seed % 2),
        .lanes = LANES,
        .batch_bytes_max = 6000,
        .zero_spares = true,
        .random = &w->ids.base,
    };
    enum confab_err err = local_log_open(&config, disk_sim_disk(w->sim), &tick_clock, &w->log);
    if (!err) {
        w->store = local_log_store(w->log);
    }
    return err;
}

static void forget_under_way(struct world *w)
{
    for (size_t i = 0; i < w->count; i++) {
        sub_free(w->subs[i].sub);
        w->subs[i].sub = NULL;
    }
}

/* Reads everything and settles the model on it. */
static void verify(struct world *w)
{
    struct seen seen = {0};
    EXPECT(w, seen_read(&seen, w->store, 0) == CONFAB_OK);
    size_t i = 0;
    /* what trim let go, whole segments from the start */
    while (i < w->count && w->subs[i].lsn > 0 &&
           (seen.count == 0 || w->subs[i].tag < seen.at[0].tag)) {
        const struct model_sub *s = &w->subs[i];
        EXPECT(w, s->lsn + s->count * (LOG_RECORD_HEADER + s->size) <= w->trimmed);
        i++;
    }
    size_t first = i;
    uint64_t at = 0;
    for (; i < w->count && at < seen.count; i++) {
        struct model_sub *s = &w->subs[i];
        EXPECT(w, seen.count - at >= s->count);
        EXPECT(w, s->lsn == 0 || s->lsn == seen.at[at].lsn);
        w->survived += s->lsn == 0;
        s->lsn = seen.at[at].lsn;
        for (uint32_t k = 0; k < s->count; k++, at++) {
            EXPECT(w, seen.at[at].tag == s->tag + k);
            EXPECT(w, seen.at[at].size == s->size);
            EXPECT(w, seen.at[at].lsn == s->lsn + k * (LOG_RECORD_HEADER + s->size));
        }
    }
    EXPECT(w, at == seen.count);
    w->vanished += w->count - i;
    for (size_t k = i; k < w->count; k++) {
        EXPECT(w, w->subs[k].lsn == 0);
    }
    memmove(w->subs, w->subs + first, (i - first) * sizeof(w->subs[0]));
    w->count = i - first;
    w->back = w->count;
    seen_free(&seen);
}

static void take_back(struct world *w)
{
    for (uint16_t lane = 0; lane < LANES; lane++) {
        struct log_submission *sub;
        size_t i = w->back;
        while ((sub = log_store_poll(w->store, lane))) {
            while (i < w->count && w->subs[i].sub != sub) {
                /* order within the lane */
                EXPECT(w, !w->subs[i].sub || w->subs[i].sub->lane != lane);
                i++;
            }
            EXPECT(w, i < w->count);
            EXPECT(w, sub->ret_err == CONFAB_OK || sub->ret_err == CONFAB_IO);
            w->subs[i].lsn = sub->ret_err ? 0 : sub->ret_lsn;
            w->subs[i].sub = NULL;
            sub_free(sub);
        }
    }
    while (w->back < w->count && !w->subs[w->back].sub) {
        w->back++;
    }
}

static void work(struct world *w)
{
    while (!disk_sim_halted(w->sim)) {
        uint64_t what = below(w, 20);
        if (what < 10 && w->count < SUBS_MAX) {
            struct model_sub *s = &w->subs[w->count];
            *s = (struct model_sub){
                .tag = w->tag_next,
                .count = 1 + (uint32_t)below(w, 4),
                .size = 8 + (uint32_t)below(w, below(w, 4) == 0 ? 3000 : 200),
            };
            s->sub = sub_new((uint16_t)below(w, LANES), 5, s->count, s->size, s->tag);
            enum confab_err err = log_store_submit(w->store, s->sub);
            EXPECT(w, err == CONFAB_OK || err == CONFAB_BUSY || err == CONFAB_IO ||
                          err == CONFAB_NO_SPACE);
            if (err) {
                sub_free(s->sub);
                s->sub = NULL;
            } else {
                w->count++;
                w->tag_next += s->count;
            }
        } else if (what < 18) {
            bool did_work = false;
            enum confab_err err = local_log_step(w->log, &did_work);
            take_back(w);
            if (err) {
                EXPECT(w, err == CONFAB_IO);
                break;
            }
        } else if (what == 18 && w->back > 20 && below(w, 4) == 0) {
            uint64_t lsn = w->subs[w->back - 1 - below(w, 20)].lsn;
            if (lsn > 0) {
                w->trimmed = MAX(w->trimmed, lsn);
                (void)!log_store_trim(w->store, lsn);
            }
        } else if (what == 19 && below(w, 30) == 0) {
            disk_sim_fail(w->sim, below(w, 2) ? DISK_OP_SYNC : DISK_OP_PWRITE, 1, 1, CONFAB_IO);
        }
    }
}

static void crash(struct world *w)
{
    local_log_close(w->log);
    w->log = NULL;
    forget_under_way(w);
    if (below(w, 5) == 0) {
        disk_sim_kill(w->sim);
    } else {
        disk_sim_crash(w->sim, below(w, UINT64_MAX));
    }
    w->crashes++;
}

/* Opens; on some cycles the disk stops during recovery as well, several times. */
static void recover(struct world *w)
{
    for (uint64_t again = below(w, 4); again > 0; again--) {
        disk_sim_halt_after(w->sim, below(w, 14));
        enum confab_err err = world_open(w);
        EXPECT(w, err == CONFAB_OK || err == CONFAB_CLOSED);
        crash(w);
    }
    enum confab_err err = world_open(w);
    if (err) {
        print_error("seed %" PRIu64 ": open: %s\n", w->seed, err_text(err));
        fail();
    }
    verify(w);
}

static void run_seed(uint64_t seed, struct world *totals)
{
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->seed = seed;
    w->tag_next = 1;
    random_seeded_init(&w->random, seed);
    random_seeded_init(&w->ids, seed ^ 0x5eed);
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &w->sim) == CONFAB_OK);
    for (int cycle = 0; cycle < CYCLES; cycle++) {
        recover(w);
        disk_sim_halt_after(w->sim, below(w, 80));
        work(w);
        crash(w);
    }
    recover(w);
    local_log_close(w->log); /* an orderly end, and the same again */
    w->log = NULL;
    forget_under_way(w);
    EXPECT(w, world_open(w) == CONFAB_OK);
    size_t count = w->count;
    verify(w);
    EXPECT(w, w->count == count);
    local_log_close(w->log);
    disk_sim_free(w->sim);
    totals->crashes += w->crashes;
    totals->survived += w->survived;
    totals->vanished += w->vanished;
    free(w);
}

static void test_log_crash__acknowledged_is_kept(void **state)
{
    (void)state;
    const char *one = getenv("CONFAB_SEED");
    const char *many = getenv("CONFAB_SEEDS");
    struct world *totals = calloc(1, sizeof(*totals));
    CHECK(totals);
    if (one) {
        run_seed(strtoull(one, NULL, 10), totals);
    } else {
        uint64_t n = many ? strtoull(many, NULL, 10) : SEEDS;
        for (uint64_t seed = 1; seed <= n; seed++) {
            run_seed(seed, totals);
        }
        print_message("%" PRIu64 " crashes; of what was under way %" PRIu64
                      " submissions survived, %" PRIu64 " did not\n",
                      totals->crashes, totals->survived, totals->vanished);
        /* both outcomes did happen, or the test shows nothing */
        assert_true(totals->survived > n / 10 && totals->vanished > n / 10);
    }
    free(totals);
}

/* Recovery stopped at each of its operations in turn, with each way of losing what was not synced.
 */
static void test_log_crash__each_operation_of_recovery(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->tag_next = 1;
    random_seeded_init(&w->random, 99);
    random_seeded_init(&w->ids, 98);
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &w->sim) == CONFAB_OK);
    recover(w);
    disk_sim_halt_after(w->sim, 150);
    work(w);
    crash(w);
    struct disk_sim *start = w->sim;
    bool finished = false;
    for (uint64_t n = 0; !finished; n++) {
        for (uint64_t seed = 0; seed < 24; seed++) {
            struct world copy = *w;
            CHECK(disk_sim_clone(start, &copy.sim) == CONFAB_OK);
            disk_sim_halt_after(copy.sim, n);
            enum confab_err err = world_open(&copy);
            EXPECT(w, err == CONFAB_OK || err == CONFAB_CLOSED);
            finished = err == CONFAB_OK;
            local_log_close(finished ? copy.log : NULL);
            disk_sim_crash(copy.sim, seed * 1000 + n);
            EXPECT(w, world_open(&copy) == CONFAB_OK);
            verify(&copy);
            local_log_close(copy.log);
            disk_sim_free(copy.sim);
        }
    }
    disk_sim_free(start);
    free(w);
}

/* The process dies in recovery, and power fails in the one after it: names and bytes that only the
 * first one's memory knew as pending are then lost in the second. */
static void test_log_crash__killed_then_crashed(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof(*w));
    CHECK(w);
    w->tag_next = 1;
    random_seeded_init(&w->random, 5);
    random_seeded_init(&w->ids, 6);
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &w->sim) == CONFAB_OK);
    for (uint64_t n = 0; n < 400; n++) {
        recover(w);
        disk_sim_halt_after(w->sim, 20 + n % 30);
        work(w);
        local_log_close(w->log);
        w->log = NULL;
        forget_under_way(w);
        for (uint64_t kills = 1 + n % 3; kills > 0; kills--) {
            disk_sim_kill(w->sim);
            disk_sim_halt_after(w->sim, n % 13);
            enum confab_err err = world_open(w);
            EXPECT(w, err == CONFAB_OK || err == CONFAB_CLOSED);
            local_log_close(err ? NULL : w->log);
            w->log = NULL;
        }
        disk_sim_crash(w->sim, n);
    }
    recover(w);
    local_log_close(w->log);
    forget_under_way(w);
    disk_sim_free(w->sim);
    free(w);
}

/* The model becomes what a recovery of the disk would find; the disk stays as it is. */
static void settle(struct world *w, struct world *copy)
{
    *copy = *w;
    CHECK(disk_sim_clone(w->sim, &copy->sim) == CONFAB_OK);
    EXPECT(w, world_open(copy) == CONFAB_OK);
    verify(copy);
    local_log_close(copy->log);
    disk_sim_free(copy->sim);
    copy->log = NULL;
    copy->sim = w->sim;
    copy->ids = w->ids;
    *w = *copy;
}

/* Every call of every kind fails once, in recovery or at work; then the power fails too. */
static void test_log_crash__each_failing_call(void **state)
{
    (void)state;
    struct world *w = calloc(1, sizeof(*w));
    struct world *copy = calloc(1, sizeof(*copy));
    CHECK(w && copy);
    w->tag_next = 1;
    random_seeded_init(&w->random, 21);
    random_seeded_init(&w->ids, 22);
    CHECK(disk_sim_new(&(struct disk_sim_config){0}, &w->sim) == CONFAB_OK);
    recover(w);
    disk_sim_halt_after(w->sim, 100);
    work(w);
    local_log_close(w->log);
    w->log = NULL;
    forget_under_way(w);
    disk_sim_crash(w->sim, 5);
    settle(w, copy);
    unsigned failures = 0;
    for (enum disk_op op = 0; op < DISK_OP_COUNT; op++) {
        bool reached = true;
        for (uint64_t nth = 1; reached && nth < 60; nth++) {
            *copy = *w;
            copy->seed = op * 1000 + nth;
            CHECK(disk_sim_clone(w->sim, &copy->sim) == CONFAB_OK);
            disk_sim_fail(copy->sim, op, nth, 1, nth % 3 ? CONFAB_IO : CONFAB_NO_SPACE);
            enum confab_err err = world_open(copy);
            if (!err) {
                disk_sim_halt_after(copy->sim, 120);
                work(copy);
            }
            reached = disk_sim_calls(copy->sim, op) >= nth;
            failures += reached;
            local_log_close(err ? NULL : copy->log);
            copy->log = NULL;
            forget_under_way(copy);
            disk_sim_crash(copy->sim, nth);
            EXPECT(copy, world_open(copy) == CONFAB_OK);
            verify(copy);
            local_log_close(copy->log);
            disk_sim_free(copy->sim);
        }
    }
    print_message("%u failing calls\n", failures);
    assert_true(failures > 100);
    disk_sim_free(w->sim);
    free(copy);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_crash__acknowledged_is_kept),
        cmocka_unit_test(test_log_crash__each_operation_of_recovery),
        cmocka_unit_test(test_log_crash__killed_then_crashed),
        cmocka_unit_test(test_log_crash__each_failing_call),
    };
    diag_set_level_all(getenv("CONFAB_VERBOSE") ? DIAG_DEBUG : DIAG_OFF);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
