/*
 * The local log beside a bare pwrite + fdatasync loop on the same directory, interleaved round by
 * round: submissions and bytes a second with so many submissions under way.
 *
 *     bench_log DIR [rounds [milliseconds a round [record bytes]]]
 *
 * The bare loop writes as many record bytes per sync as the log's batches had in the same round,
 * padded to whole blocks, into a preallocated file: what the log would reach if it cost nothing.
 * With so many submissions under way, about half are in the batch being synced and half are queued
 * behind it.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/local_log/local_log.h"
#include "adapters/os/disk_os.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/diag.h"

enum { DEPTHS = 4, ROUNDS_MAX = 32, BARE_FILE = 64 << 20 };
static const uint32_t depths[DEPTHS] = {1, 16, 128, 1024};

struct bench {
    struct disk *disk;
    struct local_log *log;
    struct log_store *store;
    uint64_t round_ns;
    uint32_t record;
    pthread_mutex_t mu;
    pthread_cond_t cond;
    uint64_t wakes;
};

static void on_wake(void *arg)
{
    struct bench *b = arg;
    pthread_mutex_lock(&b->mu);
    b->wakes++;
    pthread_cond_signal(&b->cond);
    pthread_mutex_unlock(&b->mu);
}

static uint64_t now_ns(void)
{
    return clock_mono_ns(clock_system());
}

/* Submissions a second of the bare loop. */
static double run_bare(struct bench *b, uint32_t depth)
{
    size_t n = ((size_t)depth * (b->record + LOG_RECORD_HEADER) + 64 + 4095) / 4096 * 4096;
    uint8_t *buf = malloc(n);
    struct disk_file *file = NULL;
    CHECK(buf && disk_open(b->disk, "bare", DISK_READ | DISK_WRITE | DISK_CREATE, &file) == 0);
    memset(buf, 'x', n);
    CHECK(disk_preallocate(file, BARE_FILE) == 0);
    uint64_t began = now_ns();
    uint64_t loops = 0;
    uint64_t off = 0;
    while (now_ns() - began < b->round_ns) {
        off = off + n > BARE_FILE ? 0 : off;
        CHECK(disk_pwrite(file, buf, n, off) == 0 && disk_sync(file) == 0);
        off += n;
        loops++;
    }
    double s = (double)(now_ns() - began) / 1e9;
    disk_close(file);
    free(buf);
    return (double)(loops * depth) / s;
}

static double run_log(struct bench *b, uint32_t depth, double *ret_per_batch)
{
    struct log_submission *subs = calloc(depth, sizeof(*subs));
    uint8_t *data = calloc(1, b->record);
    CHECK(subs && data);
    for (uint32_t i = 0; i < depth; i++) {
        uint32_t offset = 0;
        CHECK(log_submission_add(&subs[i], 1, 1, 1, span_of(data, b->record), &offset) == 0);
    }
    struct log_stats before;
    struct log_stats after;
    log_store_stats(b->store, &before);
    uint64_t began = now_ns();
    uint64_t done = 0;
    uint32_t under_way = 0;
    struct log_submission *idle = NULL;
    for (uint32_t i = 0; i < depth; i++) {
        subs[i].next = idle;
        idle = &subs[i];
    }
    bool stop = false;
    while (!stop || under_way > 0) {
        pthread_mutex_lock(&b->mu);
        uint64_t wakes = b->wakes;
        pthread_mutex_unlock(&b->mu);
        while (idle && !stop) {
            struct log_submission *sub = idle;
            struct log_submission *next = sub->next;
            if (log_store_submit(b->store, sub) != CONFAB_OK) {
                break;
            }
            idle = next;
            under_way++;
        }
        bool some = false;
        for (struct log_submission *sub; (sub = log_store_poll(b->store, 0));) {
            CHECK(sub->ret_err == CONFAB_OK);
            sub->next = idle;
            idle = sub;
            under_way--;
            done++;
            some = true;
        }
        stop = now_ns() - began >= b->round_ns;
        if (!some && under_way > 0) {
            pthread_mutex_lock(&b->mu);
            while (b->wakes == wakes) {
                pthread_cond_wait(&b->cond, &b->mu);
            }
            pthread_mutex_unlock(&b->mu);
        }
    }
    double s = (double)(now_ns() - began) / 1e9;
    log_store_stats(b->store, &after);
    CHECK(log_store_trim(b->store, after.durable_lsn) == CONFAB_OK);
    *ret_per_batch = (double)done / (double)(after.batches - before.batches);
    for (uint32_t i = 0; i < depth; i++) {
        buf_deinit(&subs[i].bytes);
    }
    free(subs);
    free(data);
    return (double)done / s;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *at, int n)
{
    qsort(at, (size_t)n, sizeof(*at), by_size);
    return n % 2 ? at[n / 2] : (at[n / 2 - 1] + at[n / 2]) / 2;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_log DIR [rounds [milliseconds [record bytes]]]\n");
        return 2;
    }
    int rounds = argc > 2 ? atoi(argv[2]) : 5;
    rounds = MAX(1, MIN(rounds, ROUNDS_MAX));
    struct bench b = {.round_ns = (argc > 3 ? strtoull(argv[3], NULL, 10) : 500) * 1000000U,
                      .record = argc > 4 ? (uint32_t)atoi(argv[4]) : 300};
    pthread_mutex_init(&b.mu, NULL);
    pthread_cond_init(&b.cond, NULL);
    diag_set_level_all(DIAG_WARN);
    CHECK(disk_os_open(argv[1], &b.disk) == CONFAB_OK);
    struct local_log_config config = {.lanes = 1, .zero_spares = true};
    CHECK(local_log_open(&config, b.disk, clock_system(), &b.log) == CONFAB_OK);
    b.store = local_log_store(b.log);
    log_store_set_wake(b.store, 0, on_wake, &b);
    CHECK(local_log_start_thread(b.log) == CONFAB_OK);
    printf("%8s %12s %12s %7s %10s %12s\n", "depth", "bare sub/s", "log sub/s", "ratio", "log MB/s",
           "subs/batch");
    for (int d = 0; d < DEPTHS; d++) {
        double bare[ROUNDS_MAX];
        double log[ROUNDS_MAX];
        double per_batch = 0;
        for (int i = 0; i < rounds; i++) {
            log[i] = run_log(&b, depths[d], &per_batch);
            bare[i] = run_bare(&b, MAX(1U, (uint32_t)(per_batch + 0.5)));
        }
        double mb = median(bare, rounds);
        double ml = median(log, rounds);
        printf("%8u %12.0f %12.0f %7.2f %10.1f %12.1f\n", depths[d], mb, ml, ml / mb,
               ml * (b.record + LOG_RECORD_HEADER) / 1e6, per_batch);
    }
    struct log_stats stats;
    log_store_stats(b.store, &stats);
    printf("sync: mean %" PRIu64 " us, max %" PRIu64 " us; %" PRIu64 " batches\n",
           stats.sync_ns_total / MAX(stats.syncs, 1) / 1000, stats.sync_ns_max / 1000,
           stats.batches);
    local_log_close(b.log);
    if (disk_unlink(b.disk, "bare") != CONFAB_OK) {
        fprintf(stderr, "the file \"bare\" stays in %s\n", argv[1]);
    }
    disk_os_close(b.disk);
    return 0;
}
