/*
 * Many conversations behind small bounds, over the local log on a simulated disk and the memory
 * store: what is in memory and in the log stays within what was configured, a recovery folds only
 * what lies above the checkpoint, the accounted memory is what is really allocated, and everything
 * can be read at the end. The large form with the real engines is tests/perf/scale.
 */
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "adapters/local_log/local_log.h"
#include "adapters/mem/clock_sim.h"
#include "adapters/mem/disk_sim.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/mem/store_mem.h"
#include "core/checkpoint.h"
#include "core/engine.h"

enum {
    CONVERSATIONS = 20000,
    FRIENDS = 10, /* conversations a user begins */
    USERS = CONVERSATIONS / FRIENDS,
    FIRST = 2,    /* messages in every conversation */
    ACTIVE = 200, /* conversations that go on */
    MORE = 120,   /* messages in those */
    KILLS = 6,
    WINDOW = 128, /* commands under way */
};
#define SEGMENT_BYTES   (4U << 20)
#define CACHE_BYTES     (2U << 20)
#define DIRTY_BYTES     (1U << 20)
#define CHECKPOINT_GAIN (DIRTY_BYTES / 2)
/*
 * What may come on top of a bound: the commands under way were admitted below it. Each may bring a
 * conversation into memory and a record into the log, and a direct one two follow-ups beside.
 */
#define CACHE_SLACK ((size_t)WINDOW * 3 * 2048)
#define DIRTY_SLACK ((size_t)WINDOW * 4 * 256)
/*
 * What a recovery may have to read. Flushing begins at half of the dirty bound, oldest first, so
 * that what is not flushed reaches back by at most twice the bound; then the next checkpoint.
 */
#define TAIL_BYTES       (2ULL * DIRTY_BYTES + CHECKPOINT_GAIN + DIRTY_SLACK)
#define RECORD_BYTES_MIN 40U

struct scale {
    struct engine_host host;
    struct engine_config cfg;
    struct engine_shared shared;
    struct clock_sim clock;
    struct metrics metrics;
    struct disk_sim *disk;
    struct executor *ex;
    struct message_store *store;
    struct local_log *log;
    struct checkpointer *checkpointer;
    struct engine *e;
    uint32_t outstanding;
    uint32_t said[CONVERSATIONS]; /* messages acknowledged */
    bool saying[CONVERSATIONS];   /* one at a time, so that their order is known */
    uint32_t read[CONVERSATIONS];
    uint64_t records; /* in the log above the checkpoint, at the last start */
    uint64_t busy;
    uint32_t checked;
    bool no_checkpoints;
    bool fresh; /* started, and what was replayed may not be flushed yet */
};

static void users_of(uint32_t conv, uint64_t ret[2])
{
    ret[0] = 1 + conv / FRIENDS;
    ret[1] = 1 + (conv / FRIENDS + 1 + conv % FRIENDS) % USERS;
}

static int text_of(uint32_t conv, uint32_t n, char out[64])
{
    return snprintf(out, 64, "message %u of conversation %u, %.*s", n, conv, (int)(n % 16),
                    "and some more of it");
}

static void say(struct scale *w, uint32_t conv)
{
    struct command *cmd = command_new(COMMAND_EVENT);
    uint64_t u[2];
    char text[64];
    char key[32];
    uint32_t n = w->said[conv] + 1;
    users_of(conv, u);
    assert_non_null(cmd);
    cmd->actor = u[n % 2];
    cmd->peer = u[(n + 1) % 2];
    cmd->in.kind = EVENT_MESSAGE;
    cmd->in.content_hash = n;
    cmd->fresh = true;
    cmd->offset = conv; /* unused by events: the test's own note */
    int len = text_of(conv, n, text);
    int klen = snprintf(key, sizeof(key), "%u-%u", conv, n);
    assert_int_equal(command_set_span(cmd, &cmd->in.cmid, span_of(key, (size_t)klen)), CONFAB_OK);
    assert_int_equal(command_set_span(cmd, &cmd->in.text, span_of(text, (size_t)len)), CONFAB_OK);
    w->outstanding++;
    w->saying[conv] = true;
    engine_submit(w->e, cmd);
}

static void ask(struct scale *w, uint32_t conv, uint64_t from)
{
    struct command *cmd = command_new(COMMAND_HISTORY);
    uint64_t u[2];
    assert_non_null(cmd);
    users_of(conv, u);
    cmd->actor = u[conv % 2];
    cmd->conv = conv_id_direct(u[0], u[1]);
    cmd->from_seq = from;
    cmd->limit = 200;
    cmd->messages_only = true;
    cmd->context = (void *)(uintptr_t)(conv + 1);
    w->outstanding++;
    engine_submit(w->e, cmd);
}

/* All of it must be there, in order, and nothing else. */
static void check_history(struct scale *w, const struct command *cmd)
{
    uint32_t conv = (uint32_t)(uintptr_t)cmd->context - 1;
    struct reader rd = reader_of(cmd->ret.data, cmd->ret.len);
    struct event ev;
    uint32_t n = w->read[conv];
    while (command_record_next(&rd, &ev)) {
        char text[64];
        n++;
        int len = text_of(conv, n, text);
        assert_true(span_eq(ev.text, span_of(text, (size_t)len)));
        assert_int_equal(ev.ord, n);
    }
    w->read[conv] = n;
    if (cmd->more) {
        ask(w, conv, cmd->covered_to + 1);
        return;
    }
    assert_int_equal(n, w->said[conv]);
    w->checked++;
}

static void on_complete(struct engine_host *host, struct command *cmd)
{
    struct scale *w = CONTAINER_OF(host, struct scale, host);
    if (cmd->type == COMMAND_FOLLOWUP) {
        engine_followup_done(w->e, cmd);
        return;
    }
    w->outstanding--;
    if (cmd->type == COMMAND_HISTORY) {
        assert_int_equal(cmd->err, CONFAB_OK);
        check_history(w, cmd);
    } else if (cmd->err == CONFAB_BUSY) {
        w->busy++;
        w->saying[cmd->offset] = false;
    } else {
        assert_int_equal(cmd->err, CONFAB_OK);
        w->said[cmd->offset]++;
        w->saying[cmd->offset] = false;
    }
    command_free(cmd);
}

static void on_publish(struct engine_host *host, const struct publication *pub)
{
    (void)host;
    (void)pub;
}

static void on_receipt(struct engine_host *host, const struct receipt *r)
{
    (void)host;
    (void)r;
}

static enum confab_err on_send(struct engine_host *host, struct command *cmd)
{
    engine_submit(CONTAINER_OF(host, struct scale, host)->e, cmd);
    return CONFAB_OK;
}

static void on_wake(struct engine_host *host)
{
    (void)host;
}

static const struct engine_host_ops host_ops = {on_complete, on_publish, on_receipt, on_send,
                                                on_wake};

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct scale *w = arg;
    w->records++;
    return engine_recover_record(w->e, rec);
}

static uint64_t checkpoint_of(struct scale *w)
{
    uint64_t lsn;
    assert_int_equal(checkpoint_load(disk_sim_disk(w->disk), &lsn), CONFAB_OK);
    return lsn;
}

static void start(struct scale *w)
{
    uint64_t from = checkpoint_of(w);
    const struct local_log_config log = {.segment_bytes = SEGMENT_BYTES,
                                         .queue_bytes_max = 4U << 20,
                                         .batch_bytes_max = 1U << 20,
                                         .lanes = 1,
                                         .verify_from = from};
    w->records = 0;
    w->outstanding = 0;
    w->fresh = true;
    atomic_store(&w->shared.log_clock_ms, 0);
    w->shared.recovered_ms = 0;
    assert_int_equal(local_log_open(&log, disk_sim_disk(w->disk), &w->clock.base, &w->log),
                     CONFAB_OK);
    struct log_store *store = local_log_store(w->log);
    assert_int_equal(engine_new(&w->cfg, &w->host, &w->shared, store, w->store, NULL,
                                &w->clock.base, &w->metrics, &w->e),
                     CONFAB_OK);
    assert_int_equal(engine_recover_begin(w->e), CONFAB_OK);
    assert_int_equal(log_store_read(store, from, on_record, w), CONFAB_OK);
    assert_int_equal(engine_recover_end(w->e), CONFAB_OK);
    assert_int_equal(checkpointer_new(disk_sim_disk(w->disk), w->ex, store, w->store, &w->e, 1,
                                      &w->metrics, &w->checkpointer),
                     CONFAB_OK);
}

static void stop(struct scale *w)
{
    checkpointer_free(w->checkpointer);
    engine_poll(w->e); /* what the store has answered meanwhile: a flush that it has done */
    engine_free(w->e);
    local_log_close(w->log);
}

/* Nothing may be above its bound after any turn. */
static void check_bounds(struct scale *w)
{
    struct engine_stats es;
    struct log_stats ls;
    engine_stats(w->e, &es);
    log_store_stats(local_log_store(w->log), &ls);
    /* A recovery brings what was flushed and not durable on top, until that is flushed again. */
    uint64_t tail = w->fresh ? TAIL_BYTES : 0;
    w->fresh = w->fresh && es.dirty_bytes > DIRTY_BYTES / 2;
    assert_true(es.dirty_bytes <= DIRTY_BYTES + DIRTY_SLACK + tail);
    assert_true(es.cache_bytes <= CACHE_BYTES + DIRTY_BYTES + CACHE_SLACK + 6 * tail);
    /* The bytes that recovery would read, one segment in use, and the spare ones. */
    assert_true(ls.segments <= TAIL_BYTES / SEGMENT_BYTES + 2 + LOCAL_LOG_SEGMENTS_SPARE);
}

static void turn(struct scale *w)
{
    bool did;
    clock_sim_advance(&w->clock, 1000000);
    engine_seal(w->e);
    assert_int_equal(local_log_step(w->log, &did), CONFAB_OK);
    engine_poll(w->e);
    engine_tick(w->e);
    if (!w->no_checkpoints) {
        checkpointer_start_gaining(w->checkpointer, CHECKPOINT_GAIN);
        check_bounds(w);
    }
}

static void settle(struct scale *w, bool flush)
{
    struct engine_stats es;
    uint32_t turns = 0;
    do {
        if (flush) {
            engine_flush_all(w->e);
        }
        turn(w);
        engine_stats(w->e, &es);
        assert_true(++turns < 100000);
    } while (w->outstanding > 0 || es.inflight > 0 || es.followups_pending > 0 ||
             !engine_is_recovered(w->e) || (flush && !engine_is_quiet(w->e)));
}

static void setup(struct scale *w)
{
    memset(w, 0, sizeof(*w));
    w->host.ops = &host_ops;
    engine_config_defaults(&w->cfg);
    w->cfg.cache_bytes_max = CACHE_BYTES;
    w->cfg.dirty_bytes_max = DIRTY_BYTES;
    clock_sim_init(&w->clock, ID_EPOCH_MS + 86400000ULL * 400);
    metrics_register(&w->metrics, w);
    assert_int_equal(disk_sim_new(&(struct disk_sim_config){0}, &w->disk), CONFAB_OK);
    assert_int_equal(executor_inline_open(false, 100000, &w->ex), CONFAB_OK);
    assert_int_equal(store_mem_open((struct store_mem_cfg){.crashable = true}, w->ex, &w->store),
                     CONFAB_OK);
    start(w);
}

static void teardown(struct scale *w)
{
    stop(w);
    store_mem_close(w->store);
    executor_inline_close(w->ex);
    disk_sim_free(w->disk);
    metrics_unregister(&w->metrics);
}

static uint64_t metric(const struct scale *w, enum metric id)
{
    return (uint64_t)metrics_total(w, id);
}

static void fill(struct scale *w)
{
    for (uint32_t n = 1; n <= FIRST; n++) {
        for (uint32_t conv = 0; conv < CONVERSATIONS;) {
            while (conv < CONVERSATIONS && w->outstanding < WINDOW) {
                uint64_t busy = w->busy;
                if (w->said[conv] < n) {
                    say(w, conv);
                }
                if (w->busy != busy) {
                    break; /* once more in the next turn */
                }
                conv++;
            }
            turn(w);
        }
        settle(w, false);
    }
}

struct state {
    struct span id;
    struct span bytes;
};

static size_t states_of(const struct buf *dump, struct state *ret)
{
    struct reader rd = reader_of(dump->data, dump->len);
    size_t n = 0;
    while (reader_left(&rd) > 0) {
        ret[n].id = reader_bytes(&rd, 16);
        ret[n++].bytes = reader_blob(&rd);
    }
    assert_false(rd.bad);
    return n;
}

/*
 * Dumps are in order of id; conversations that one of them lacks were not in memory. One was
 * written to in between.
 */
static uint32_t compare(const struct buf *before, const struct buf *after, uint32_t written)
{
    uint64_t u[2];
    uint8_t skip[16];
    users_of(written, u);
    conv_id_write(conv_id_direct(u[0], u[1]), skip);
    static struct state a[CONVERSATIONS + USERS];
    static struct state b[CONVERSATIONS + USERS];
    size_t na = states_of(before, a);
    size_t nb = states_of(after, b);
    uint32_t same = 0;
    for (size_t i = 0, j = 0; i < na && j < nb;) {
        int c = memcmp(a[i].id.p, b[j].id.p, 16);
        bool same_state = c == 0 && span_eq(a[i].bytes, b[j].bytes);
        assert_true(c != 0 || same_state || memcmp(a[i].id.p, skip, 16) == 0);
        same += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    return same;
}

/*
 * The process dies. With `power` the log also loses what was not synced, and the store what it had
 * not flushed.
 */
static void crash(struct scale *w, bool power, uint64_t seed)
{
    struct buf before = {0};
    struct buf after = {0};
    struct engine_stats es;
    struct log_stats ls;
    settle(w, false);
    while (checkpointer_is_running(w->checkpointer)) {
        turn(w);
    }
    engine_poll(w->e); /* what the store has answered is the engine's to free */
    engine_dump_state(w->e, &before);
    engine_stats(w->e, &es);
    log_store_stats(local_log_store(w->log), &ls);
    uint64_t tail = ls.durable_lsn - checkpoint_of(w);
    assert_true(tail <= TAIL_BYTES);
    uint64_t replayed = metric(w, METRIC_RECOVERY_RECORDS);
    stop(w);
    if (power) {
        disk_sim_crash(w->disk, seed);
        store_mem_crash(w->store, seed);
    } else {
        disk_sim_kill(w->disk);
    }
    start(w);
    replayed = metric(w, METRIC_RECOVERY_RECORDS) - replayed;
    /* Without loss in the store exactly what was dirty is folded again. */
    assert_true(replayed > 0);
    assert_true(replayed * RECORD_BYTES_MIN <= (power ? tail : es.dirty_bytes));
    assert_true(w->records * RECORD_BYTES_MIN <= tail);
    /* Whatever it has to fold again, it takes messages at once. */
    uint64_t busy = w->busy;
    uint32_t conv = (uint32_t)seed;
    uint32_t said = w->said[conv];
    say(w, conv);
    settle(w, false);
    assert_int_equal(w->busy, busy);
    assert_int_equal(w->said[conv], said + 1);
    engine_dump_state(w->e, &after);
    assert_true(compare(&before, &after, conv) > 0);
    buf_deinit(&before);
    buf_deinit(&after);
}

static void talk(struct scale *w, uint32_t messages)
{
    for (uint32_t left = messages * ACTIVE; left > 0;) {
        while (left > 0 && w->outstanding < WINDOW) {
            uint64_t busy = w->busy;
            uint32_t conv = left % ACTIVE * (CONVERSATIONS / ACTIVE);
            if (w->saying[conv]) {
                break;
            }
            say(w, conv);
            if (w->busy != busy) {
                break;
            }
            left--;
        }
        turn(w);
    }
}

static void read_every(struct scale *w, uint32_t step)
{
    w->checked = 0;
    memset(w->read, 0, sizeof(w->read));
    for (uint32_t conv = 0; conv < CONVERSATIONS;) {
        for (; conv < CONVERSATIONS && w->outstanding < WINDOW; conv += step) {
            ask(w, conv, 1);
        }
        turn(w);
    }
    settle(w, false);
    assert_int_equal(w->checked, CONVERSATIONS / step);
}

static void test_scale__everything_stays_within_its_bound(void **state)
{
    struct scale *w = *state;
    fill(w);
    assert_true(metric(w, METRIC_CACHE_EVICTIONS) > CONVERSATIONS / 2);
    settle(w, true);
    /* After a stop in good order there is nothing to fold. */
    uint64_t replayed = metric(w, METRIC_RECOVERY_RECORDS);
    for (int i = 0; i < 200; i++) {
        turn(w);
    }
    checkpointer_start(w->checkpointer);
    stop(w);
    start(w);
    assert_int_equal(metric(w, METRIC_RECOVERY_RECORDS), replayed);
    for (uint32_t i = 0; i < KILLS; i++) {
        talk(w, MORE / KILLS);
        crash(w, i % 2 == 1, 77 + i);
    }
    read_every(w, 1);
}

/* More to fold again than may be dirty in a run, as when the store lost what it had not flushed. */
static void test_scale__a_long_tail_does_not_refuse_messages(void **state)
{
    struct scale *w = *state;
    struct engine_stats es;
    w->no_checkpoints = true;
    stop(w);
    w->cfg.dirty_bytes_max = 16 * DIRTY_BYTES;
    w->cfg.cache_bytes_max = 16 * CACHE_BYTES;
    start(w);
    talk(w, 120);
    settle(w, false);
    stop(w);
    disk_sim_kill(w->disk);
    w->cfg.dirty_bytes_max = DIRTY_BYTES;
    w->cfg.cache_bytes_max = CACHE_BYTES;
    start(w);
    say(w, 1);
    for (int i = 0; i < 10; i++) {
        engine_poll(w->e); /* what was loaded is folded; nothing is flushed before a tick */
    }
    engine_stats(w->e, &es);
    assert_true(es.dirty_bytes > 2 * DIRTY_BYTES);
    assert_false(engine_is_recovered(w->e));
    say(w, 2);
    settle(w, false);
    assert_int_equal(w->busy, 0);
    assert_int_equal(w->said[1], 1);
    assert_int_equal(w->said[2], 1);
    /* It is flushed at once, and then the bounds hold again. */
    while (es.dirty_bytes > DIRTY_BYTES / 2) {
        turn(w);
        engine_stats(w->e, &es);
    }
    w->no_checkpoints = false;
    talk(w, 60);
    read_every(w, CONVERSATIONS / ACTIVE);
}

/* ---- honest numbers ---------------------------------------------------------------------- */

static size_t allocated(void)
{
    struct mallinfo2 mi = mallinfo2();
    return mi.uordblks + mi.hblkhd;
}

/* Heap bytes that go with the engine, those of an empty one left out. */
static size_t engine_heap(struct scale *w, struct engine_stats *ret)
{
    size_t before = allocated();
    engine_stats(w->e, ret);
    checkpointer_free(w->checkpointer);
    engine_free(w->e);
    size_t used = before - allocated();
    local_log_close(w->log);
    disk_sim_kill(w->disk);
    return used;
}

static void expect_honest(struct scale *w, size_t empty)
{
    struct engine_stats es;
    size_t used = engine_heap(w, &es) - empty;
    print_message("%zu bytes allocated, %zu accounted in %zu conversations\n", used,
                  (size_t)es.cache_bytes, (size_t)es.conversations);
    assert_true(es.cache_bytes > CACHE_BYTES / 4);
    assert_true(used <= es.cache_bytes + es.cache_bytes / 2);
    assert_true(es.cache_bytes <= used + used / 2);
    start(w);
    settle(w, false);
}

static void test_scale__accounted_memory_is_allocated_memory(void **state)
{
    struct scale *w = *state;
    struct engine_stats es;
    if (allocated() == 0) {
        skip(); /* a sanitizer's allocator does not tell */
    }
    size_t empty = engine_heap(w, &es);
    start(w);
    /* Dirty: small conversations, written a moment ago. */
    for (uint32_t conv = 0; conv < 1000; conv++) {
        say(w, conv);
        if (conv % WINDOW == 0) {
            turn(w);
        }
    }
    settle(w, false);
    expect_honest(w, empty);
    /* Clean: the same with a few recent events each, then cold ones. */
    talk(w, 10);
    settle(w, true);
    expect_honest(w, empty);
    fill(w);
    settle(w, true);
    expect_honest(w, empty);
    read_every(w, 1);
    expect_honest(w, empty);
}

static int scale_setup(void **state)
{
    struct scale *w = calloc(1, sizeof(*w));
    assert_non_null(w);
    setup(w);
    *state = w;
    return 0;
}

static int scale_teardown(void **state)
{
    teardown(*state);
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_scale__everything_stays_within_its_bound, scale_setup,
                                        scale_teardown),
        cmocka_unit_test_setup_teardown(test_scale__a_long_tail_does_not_refuse_messages,
                                        scale_setup, scale_teardown),
        cmocka_unit_test_setup_teardown(test_scale__accounted_memory_is_allocated_memory,
                                        scale_setup, scale_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
