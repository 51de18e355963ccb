/*
 * Plain write batches against the RocksDB adapter: what a materialised event costs, what a read
 * costs, and how much memory the engine takes. Not a test: prints figures.
 *
 *     bench_store DIR [conversations] [rounds] [chunk bytes] [conversations per batch]
 *
 * Each round gives every conversation one chunk of 128 events, a header and a head row; a flush
 * follows each round, as a checkpoint would.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "adapters/mem/executor_inline.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "base/check.h"
#include "base/clock.h"
#include "base/random.h"

enum { EVENTS_PER_CHUNK = 128, HEADER_BYTES = 600, HEAD_BYTES = 32 };

struct settings {
    const char *dir;
    uint64_t convs;
    uint64_t rounds;
    uint64_t chunk_bytes;
    uint64_t per_batch;
};

static uint8_t noise[1 << 20]; /* incompressible, as compressed chunks are */

static uint64_t now_us(void)
{
    return clock_mono_ns(clock_system()) / 1000;
}

static uint64_t cpu_us(void)
{
    struct rusage ru;
    CHECK(getrusage(RUSAGE_SELF, &ru) == 0);
    return (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000 +
           (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static uint64_t rss_kib(void)
{
    char line[200];
    uint64_t kib = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof(line), f)) {
        (void)sscanf(line, "VmRSS: %" SCNu64, &kib);
    }
    if (f) {
        (void)fclose(f);
    }
    return kib;
}

static void on_done(struct store_request *req)
{
    (void)req;
}

/* The executor is inline: a request is done when its submit returns. */
static void must(struct message_store *store, struct store_request *req)
{
    req->done = on_done;
    enum confab_err err = message_store_submit(store, req);
    if (err == CONFAB_OK) {
        err = req->ret_err;
    }
    if (err != CONFAB_OK) {
        (void)fprintf(stderr, "store: %s\n", err_text(err));
        exit(1);
    }
}

static struct span be64(uint64_t v, uint8_t *out)
{
    for (int i = 7; i >= 0; i--) {
        out[i] = (uint8_t)v;
        v >>= 8;
    }
    return span_of(out, 8);
}

static struct span conv_key(uint64_t n, uint8_t out[16])
{
    be64(n * 0x9e3779b97f4a7c15ULL, out); /* spread as hashed ids are */
    be64(n, out + 8);
    return span_of(out, 16);
}

static void put_conv(struct buf *b, const struct settings *s, uint64_t conv, uint64_t round)
{
    uint8_t key[16];
    uint8_t sort[8];
    struct span k = conv_key(conv, key);
    size_t at = (size_t)((conv * 977 + round * 131) % (sizeof(noise) - s->chunk_bytes));
    struct span first_seq = be64(1 + round * EVENTS_PER_CHUNK, sort);
    store_batch_put(b, (struct store_key){STORE_CHUNK, k, first_seq},
                    span_of(noise + at, s->chunk_bytes));
    store_batch_put(b, (struct store_key){STORE_HEADER, k, {NULL, 0}},
                    span_of(noise + at, HEADER_BYTES));
    store_batch_put(b, (struct store_key){STORE_HEAD, k, {NULL, 0}},
                    span_of(noise + at, HEAD_BYTES));
}

static void write_round(struct message_store *store, const struct settings *s, uint64_t round)
{
    uint64_t start = now_us();
    uint64_t cpu = cpu_us();
    uint64_t slowest = 0;
    for (uint64_t c = 0; c < s->convs; c += s->per_batch) {
        struct store_request req = {.op = STORE_WRITE};
        for (uint64_t i = c; i < c + s->per_batch && i < s->convs; i++) {
            put_conv(&req.batch, s, i, round);
        }
        uint64_t t = now_us();
        must(store, &req);
        t = now_us() - t;
        slowest = t > slowest ? t : slowest;
        store_request_deinit(&req);
    }
    uint64_t written = now_us();
    struct store_request flush = {.op = STORE_FLUSH};
    must(store, &flush);
    uint64_t end = now_us();
    cpu = cpu_us() - cpu;
    double events = (double)s->convs * EVENTS_PER_CHUNK;
    struct store_stats st;
    message_store_stats(store, &st);
    printf("round %" PRIu64 ": %.3f us/event wall, %.3f us/event cpu (all threads), %.0f MB/s, "
           "slowest batch %" PRIu64 " us, flush %" PRIu64 " us, disk %" PRIu64
           " MiB, engine memory %" PRIu64 " KiB, rss %" PRIu64 " KiB\n",
           round, (double)(end - start) / events, (double)cpu / events,
           (double)(s->convs * s->chunk_bytes) / (double)(end - start), slowest, end - written,
           st.disk_bytes >> 20, st.memory_bytes >> 10, rss_kib());
}

static void read_some(struct message_store *store, const struct settings *s, const char *what,
                      enum store_op op, enum store_table table, uint32_t limit)
{
    enum { N = 20000 };
    struct random_seeded random;
    random_seeded_init(&random, 1);
    uint64_t found = 0;
    uint64_t start = now_us();
    uint64_t cpu = cpu_us();
    for (unsigned i = 0; i < N; i++) {
        uint8_t key[16];
        uint8_t sort[8];
        struct span k = conv_key(random_below(&random.base, s->convs), key);
        struct span none = {NULL, 0};
        uint64_t round = random_below(&random.base, s->rounds);
        struct store_key get = {
            table, k, table == STORE_CHUNK ? be64(1 + round * EVENTS_PER_CHUNK, sort) : none};
        struct store_request req = {.op = op,
                                    .keys = &get,
                                    .nkeys = 1,
                                    .table = table,
                                    .key = k,
                                    .limit = limit,
                                    .bytes_max = 1 << 20,
                                    .reverse = true};
        must(store, &req);
        found += req.ret_nrows > 0 && req.ret_rows[0].found;
        store_request_deinit(&req);
    }
    printf("%s: %.1f us wall, %.1f us cpu, %" PRIu64 " of %d found, rss %" PRIu64 " KiB\n", what,
           (double)(now_us() - start) / N, (double)(cpu_us() - cpu) / N, found, N, rss_kib());
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        (void)fprintf(stderr, "usage: %s DIR [conversations] [rounds] [chunk bytes] [per batch]\n",
                      argv[0]);
        return 2;
    }
    struct settings s = {argv[1], 10000, 10, 20000, 32};
    s.convs = argc > 2 ? strtoull(argv[2], NULL, 10) : s.convs;
    s.rounds = argc > 3 ? strtoull(argv[3], NULL, 10) : s.rounds;
    s.chunk_bytes = argc > 4 ? strtoull(argv[4], NULL, 10) : s.chunk_bytes;
    s.per_batch = argc > 5 ? strtoull(argv[5], NULL, 10) : s.per_batch;
    CHECK(s.convs > 0 && s.rounds > 0 && s.per_batch > 0);
    CHECK(s.chunk_bytes >= HEADER_BYTES && s.chunk_bytes < sizeof(noise));
    random_fill(random_system(), noise, sizeof(noise));

    struct executor *ex;
    struct message_store *store;
    CHECK(executor_inline_open(false, 16, &ex) == CONFAB_OK);
    printf("start: rss %" PRIu64 " KiB\n", rss_kib());
    uint64_t start = now_us();
    CHECK(store_rocksdb_open(s.dir, (struct store_rocksdb_cfg){0}, ex, ex, NULL, 0, &store) ==
          CONFAB_OK);
    printf("open: %" PRIu64 " us, rss %" PRIu64 " KiB\n", now_us() - start, rss_kib());
    for (uint64_t r = 0; r < s.rounds; r++) {
        write_round(store, &s, r);
    }
    read_some(store, &s, "get header", STORE_GET, STORE_HEADER, 1);
    read_some(store, &s, "get chunk", STORE_GET, STORE_CHUNK, 1);
    read_some(store, &s, "last chunk", STORE_RANGE, STORE_CHUNK, 1);
    read_some(store, &s, "last two chunks", STORE_RANGE, STORE_CHUNK, 2);
    read_some(store, &s, "members, none", STORE_RANGE, STORE_MEMBER, 1);
    start = now_us();
    store_rocksdb_close(store);
    printf("close: %" PRIu64 " us\n", now_us() - start);
    start = now_us();
    CHECK(store_rocksdb_open(s.dir, (struct store_rocksdb_cfg){0}, ex, ex, NULL, 0, &store) ==
          CONFAB_OK);
    printf("open again: %" PRIu64 " us, rss %" PRIu64 " KiB\n", now_us() - start, rss_kib());
    read_some(store, &s, "get header, cold", STORE_GET, STORE_HEADER, 1);
    store_rocksdb_close(store);
    executor_inline_close(ex);
    return 0;
}
