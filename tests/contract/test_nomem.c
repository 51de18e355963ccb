/*
 * Each allocation of the adapters, and of what they are made of, fails in turn. A call that fails
 * says so, leaks nothing and changes nothing but what its contract allows; the next one works; what
 * was acknowledged is there. tests/unit has the same for core, gateway and client.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "adapters/local_log/local_log.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/os/disk_os.h"
#include "adapters/os/executor_pool.h"
#include "adapters/os/net_epoll.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "adapters/sqlite/directory_sqlite.h"
#include "adapters/tls/net_tls.h"
#include "adapters/tls/tls_server.h"
#include "alloc/failing_alloc.h"
#include "base/clock.h"
#include "base/diag.h"
#include "base/hash.h"
#include "base/ring.h"
#include "base/slab.h"
#include "log_rig.h"
#include "ports/directory.h"
#include "proto/deflate.h"
#include "store_bench.h"
#include "tls_peer.h"

enum { RUNS_MAX = 5000 };

/* What a part does between alloc_fail and alloc_heal; CONFAB_OK, or what it met. */
typedef enum confab_err (*part)(void *arg);

static bool is_want_of_memory(enum confab_err err)
{
    return err == CONFAB_NOMEM || err == CONFAB_LIMIT || err == CONFAB_IO || err == CONFAB_NO_SPACE;
}

/*
 * Runs the part with its nth allocation failing, for every n, alone and with all that follow; after
 * each it works. Returns how many allocations it has.
 */
static uint64_t each_fails(part run, void *arg)
{
    assert_int_equal(run(arg), CONFAB_OK); /* what libraries keep for good, they have */
    size_t live = alloc_live();
    uint64_t total = 0;
    for (int lasting = 0; lasting < 2; lasting++) {
        for (uint64_t n = 1;; n++) {
            alloc_fail(n, lasting ? UINT64_MAX : 1);
            enum confab_err err = run(arg);
            uint64_t seen = alloc_heal();
            if (seen < n) {
                assert_int_equal(err, CONFAB_OK);
                total = n - 1;
                break;
            }
            if (err && !is_want_of_memory(err)) {
                fail_msg("allocation %u: %s", (unsigned)n, err_text(err));
            }
            assert_int_equal(alloc_live(), live);
            assert_int_equal(run(arg), CONFAB_OK);
            assert_int_equal(alloc_live(), live);
            assert_in_range(n, 1, RUNS_MAX);
        }
    }
    return total;
}

static int quiet(void **state)
{
    (void)state;
    diag_set_level_all(DIAG_OFF);
    return 0;
}

/* ---- base and proto ---- */

static enum confab_err run_base(void *arg)
{
    (void)arg;
    struct u64map map;
    struct slab slab;
    struct ring *ring = NULL;
    struct buf b = {0};
    enum confab_err err = ring_new(100, &ring);
    u64map_init(&map, 1);
    slab_init(&slab, 3000, 100);
    for (uint64_t i = 1; i < 60 && !err; i++) {
        uint32_t index;
        err = u64map_put(&map, i, i);
        if (!err) {
            assert_int_equal(u64map_len(&map), i);
            err = slab_alloc(&slab, &index);
        }
        assert_true(err || slab_count(&slab) == i);
        buf_printf(&b, "%080d", (int)i);
    }
    /* What could not be taken is dropped, and what there was is as it was. */
    err = err ? err : buf_ok(&b) ? CONFAB_OK : CONFAB_NOMEM;
    for (size_t i = 0; i < b.len; i++) {
        assert_in_range(b.data[i], '0', '9');
    }
    u64map_deinit(&map);
    slab_deinit(&slab);
    ring_free(ring);
    buf_deinit(&b);
    return err;
}

static enum confab_err run_deflate(void *arg)
{
    (void)arg;
    char text[9000];
    struct buf packed = {0};
    struct buf plain = {0};
    struct deflater *d = NULL;
    struct inflater *z = NULL;
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = "a text of few words "[i % 20 * (i % 7 + 1) % 20];
    }
    buf_put_str(&packed, "before");
    size_t before = packed.len;
    enum confab_err err = buf_ok(&packed) ? deflater_new(DEFLATE_MIDDLE, &d) : CONFAB_NOMEM;
    err = err ? err : inflater_new(&z);
    if (!err) {
        err = deflate_message(d, span_of(text, sizeof(text)), &packed);
        assert_true(!err || packed.len == before);
    }
    if (!err) {
        err = inflate_message(z, span_of(packed.data + before, packed.len - before), sizeof(text),
                              &plain);
    }
    if (!err) {
        assert_int_equal(plain.len, sizeof(text));
        assert_memory_equal(plain.data, text, sizeof(text));
        size_t had = packed.len;
        err = deflate_gzip(d, span_of(text, sizeof(text)), &packed);
        assert_true(!err || packed.len == had);
    }
    deflater_free(d);
    inflater_free(z);
    buf_deinit(&packed);
    buf_deinit(&plain);
    return err;
}

static void test_nomem__base_and_deflate(void **state)
{
    (void)state;
    assert_in_range(each_fails(run_base, NULL), 10, 500);
    assert_in_range(each_fails(run_deflate, NULL), 5, 500);
}

/* ---- Threads and sockets ---- */

static void count_run(struct job *job)
{
    (void)job;
}

static enum confab_err run_executors(void *arg)
{
    (void)arg;
    struct executor *ex = NULL;
    struct job jobs[5] = {{NULL, count_run}};
    enum confab_err err = executor_pool_open(2, 10, "test", &ex);
    for (int i = 0; i < 5 && !err; i++) {
        jobs[i].run = count_run;
        err = executor_submit(ex, &jobs[i]);
    }
    executor_pool_close(ex);
    ex = NULL;
    err = err ? err : executor_inline_open(false, 10, &ex);
    executor_inline_close(ex);
    return err;
}

enum { CLIENTS = 80 };

/* Clients connect; what is accepted says something and is told something; then they go. */
static enum confab_err talk(struct net *net, struct net *wire, bool plain)
{
    struct net_epoll_listen cfg = {.address = "127.0.0.1"};
    int listener = -1;
    uint16_t port = 0;
    int clients[CLIENTS];
    int handles[CLIENTS];
    int accepted = 0;
    enum confab_err err = net_epoll_listen(wire, &cfg, &listener, &port);
    if (err) {
        return err;
    }
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        assert_true(clients[i] >= 0);
        assert_int_equal(connect(clients[i], (struct sockaddr *)&in, sizeof(in)), 0);
        assert_int_equal(send(clients[i], "hello", 5, MSG_NOSIGNAL), 5);
        assert_int_equal(shutdown(clients[i], SHUT_WR), 0);
    }
    while (accepted < CLIENTS && !err) {
        struct net_peer peer;
        err = net->ops->accept(net, listener, &handles[accepted], &peer);
        if (err == CONFAB_OK) {
            accepted++;
        }
    }
    struct net_event events[64];
    for (int turn = 0; turn < 4 && !err; turn++) {
        (void)net->ops->poll(net, events, 64, 0);
    }
    for (int i = 0; i < accepted; i++) {
        char bytes[100];
        size_t n = 0;
        enum confab_err got = net->ops->recv(net, handles[i], bytes, sizeof(bytes), &n);
        struct iovec iov = {bytes, 5};
        if (plain && !err) {
            assert_int_equal(got, CONFAB_OK);
            assert_memory_equal(bytes, "hello", 5);
            assert_int_equal(net->ops->writev(net, handles[i], &iov, 1, &n), CONFAB_OK);
        }
        net->ops->close(net, handles[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        close(clients[i]);
    }
    return err;
}

static enum confab_err run_epoll(void *arg)
{
    (void)arg;
    struct net *net = NULL;
    enum confab_err err = net_epoll_open(&net);
    err = err ? err : talk(net, net, true);
    net_epoll_close(net);
    return err;
}

static enum confab_err run_tls(void *arg)
{
    char detail[TLS_DETAIL_MAX] = "";
    struct tls_server *server = NULL;
    struct net *wire = NULL;
    struct net *net = NULL;
    static const uint8_t digest[32] = {1};
    enum confab_err err = tls_server_open(arg, detail, &server);
    err = err ? err : tls_server_reload(server, arg, detail);
    err = err ? err : tls_server_challenge(server, "chat.example.org", digest);
    err = err ? err : net_epoll_open(&wire);
    err = err ? err : net_tls_open(server, wire, &net);
    err = err ? err : talk(net, wire, false);
    net_tls_close(net);
    net_epoll_close(wire);
    tls_server_close(server);
    return err;
}

static void test_nomem__threads_and_sockets(void **state)
{
    (void)state;
    assert_in_range(each_fails(run_executors, NULL), 2, 100);
    assert_in_range(each_fails(run_epoll, NULL), 3, 100);
    struct tls_server_config files = *tls_test_files();
    assert_in_range(each_fails(run_tls, &files), 10, 1000);
    tls_test_files_remove();
}

/* ---- The log ---- */

enum { RECORDS = 30, RECORD_BYTES = 5000, SEGMENT = 64 << 10 };

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

struct log_case {
    char dir[64];
    uint64_t tag;       /* of the next record */
    uint64_t acked;     /* the last that was acknowledged, 0: none */
    pthread_mutex_t mu; /* for the log's own thread */
    pthread_cond_t woken;
    uint64_t wakes;
};

static enum confab_err log_open(struct disk *disk, struct local_log **ret)
{
    struct local_log_config cfg = {.segment_bytes = SEGMENT,
                                   .lanes = 1,
                                   .batch_bytes_max = 8000,
                                   .retry_ms = 1,
                                   .zero_spares = true};
    return local_log_open(&cfg, disk, &tick_clock, ret);
}

/* One record: acknowledged, refused, or (CONFAB_NOMEM) still waiting for memory, so that the log
 * can only be closed. */
static enum confab_err log_append(struct local_log *log, struct log_case *c)
{
    struct log_store *store = local_log_store(log);
    alloc_pause();
    struct log_submission *sub = sub_new(0, 1, 1, RECORD_BYTES, c->tag);
    alloc_resume();
    enum confab_err err = log_store_submit(store, sub);
    struct log_submission *back = NULL;
    for (int i = 0; !err && !back; i++) {
        bool did_work = false;
        (void)!local_log_step(log, &did_work);
        back = log_store_poll(store, 0);
        err = back ? back->ret_err : i == 100 ? CONFAB_NOMEM : CONFAB_OK;
    }
    if (!err) {
        c->acked = c->tag;
    }
    c->tag++; /* never again: what was refused may be there all the same, once */
    alloc_pause();
    sub_free(sub);
    alloc_resume();
    return err;
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    uint64_t tag;
    memcpy(&tag, rec->data.p, sizeof(tag));
    uint64_t *last = arg;
    assert_true(tag > *last);
    *last = tag;
    return CONFAB_OK;
}

/* Opens, reads all, appends, forgets the older half, reads, closes. */
static enum confab_err run_log(void *arg)
{
    struct log_case *c = arg;
    struct disk *disk = NULL;
    struct local_log *log = NULL;
    uint64_t last = 0;
    enum confab_err err = disk_os_open(c->dir, &disk);
    err = err ? err : log_open(disk, &log);
    err = err ? err : log_store_read(local_log_store(log), 0, on_record, &last);
    if (!err) {
        assert_true(last >= c->acked);
    }
    for (int i = 0; i < RECORDS && !err; i++) {
        err = log_append(log, c);
    }
    if (!err) {
        struct log_stats st;
        log_store_stats(local_log_store(log), &st);
        err = log_store_trim(local_log_store(log),
                             st.durable_lsn - (uint64_t)RECORD_BYTES * RECORDS / 2);
    }
    last = 0;
    err = err ? err : log_store_read(local_log_store(log), 0, on_record, &last);
    assert_true(err || last == c->acked);
    local_log_close(log);
    disk_os_close(disk);
    return err;
}

static void test_nomem__log(void **state)
{
    (void)state;
    struct log_case c = {.tag = 1};
    temp_dir_make(c.dir, sizeof(c.dir));
    assert_in_range(each_fails(run_log, &c), 20, 1000);
    temp_dir_remove(c.dir);
}

/* A lack of memory that passes makes appends late and nothing more, whichever allocation it hits.
 */
static void test_nomem__log_goes_on(void **state)
{
    (void)state;
    struct log_case c = {.tag = 1};
    struct disk *disk = NULL;
    struct local_log *log = NULL;
    struct log_stats st;
    uint64_t last = 0;
    uint64_t seen = 0;
    temp_dir_make(c.dir, sizeof(c.dir));
    assert_int_equal(disk_os_open(c.dir, &disk), CONFAB_OK);
    assert_int_equal(log_open(disk, &log), CONFAB_OK);
    for (uint64_t lack = 1; lack <= 20; lack += 19) {
        uint64_t n = 0;
        do {
            n++;
            alloc_fail(n, lack);
            for (int i = 0, refused = 0; i < RECORDS; i++) {
                enum confab_err err = log_append(log, &c);
                if (err == CONFAB_NO_SPACE) { /* a spare is missing: until the next attempt */
                    bool did_work = false;
                    assert_int_equal(local_log_step(log, &did_work), CONFAB_OK);
                    assert_in_range(refused++, 0, 20);
                    i--;
                    continue;
                }
                assert_int_equal(err, CONFAB_OK);
            }
            seen = alloc_heal();
            for (bool did_work = true; did_work;) {
                assert_int_equal(local_log_step(log, &did_work), CONFAB_OK);
            }
            log_store_stats(local_log_store(log), &st);
            assert_int_equal(st.state, LOG_OK);
            assert_int_equal(log_store_trim(local_log_store(log), st.durable_lsn), CONFAB_OK);
        } while (seen >= n);
        assert_in_range(n, 4, 1000);
    }
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(log_append(log, &c), CONFAB_OK);
    }
    assert_int_equal(log_store_read(local_log_store(log), 0, on_record, &last), CONFAB_OK);
    assert_int_equal(last, c.acked);
    local_log_close(log);
    disk_os_close(disk);
    temp_dir_remove(c.dir);
}

static void count_wake(void *arg)
{
    struct log_case *c = arg;
    pthread_mutex_lock(&c->mu);
    c->wakes++;
    pthread_cond_signal(&c->woken);
    pthread_mutex_unlock(&c->mu);
}

/* The next that comes back from the log's thread. */
static struct log_submission *log_await(struct local_log *log, struct log_case *c)
{
    pthread_mutex_lock(&c->mu);
    while (c->wakes == 0) {
        pthread_cond_wait(&c->woken, &c->mu);
    }
    c->wakes--;
    pthread_mutex_unlock(&c->mu);
    struct log_submission *sub = log_store_poll(local_log_store(log), 0);
    assert_non_null(sub);
    return sub;
}

/* The log's own thread waits for memory; stopped meanwhile, it says that it could not. */
static void test_nomem__log_thread_waits(void **state)
{
    (void)state;
    struct log_case c = {
        .tag = 1, .mu = PTHREAD_MUTEX_INITIALIZER, .woken = PTHREAD_COND_INITIALIZER};
    struct disk *disk = NULL;
    struct local_log *log = NULL;
    struct log_submission *sub;
    temp_dir_make(c.dir, sizeof(c.dir));
    assert_int_equal(disk_os_open(c.dir, &disk), CONFAB_OK);
    assert_int_equal(log_open(disk, &log), CONFAB_OK);
    struct log_store *store = local_log_store(log);
    log_store_set_wake(store, 0, count_wake, &c);
    assert_int_equal(local_log_start_thread(log), CONFAB_OK);
    for (int i = 0; i < RECORDS; i++) {
        sub = sub_new(0, 1, 1, RECORD_BYTES, c.tag);
        alloc_fail(1, 10);
        enum confab_err err = log_store_submit(store, sub);
        if (err == CONFAB_BUSY || err == CONFAB_NO_SPACE) {
            (void)alloc_heal(); /* the next segment is being made */
            sub_free(sub);
            i--;
            continue;
        }
        assert_int_equal(err, CONFAB_OK);
        assert_ptr_equal(log_await(log, &c), sub);
        (void)alloc_heal();
        assert_int_equal(sub->ret_err, CONFAB_OK);
        c.acked = c.tag++;
        sub_free(sub);
    }
    /* Until a rotation is due: one that fits is done without memory. */
    for (enum confab_err err = CONFAB_OK; !err;) {
        sub = sub_new(0, 1, 1, RECORD_BYTES, c.tag);
        while (log_store_submit(store, sub) != CONFAB_OK) {
        }
        alloc_fail(1, UINT64_MAX);
        local_log_stop(log);
        (void)alloc_heal();
        assert_ptr_equal(log_await(log, &c), sub);
        err = sub->ret_err;
        assert_true(!err || err == CONFAB_IO);
        sub_free(sub);
        if (!err) {
            c.acked = c.tag++;
            assert_int_equal(local_log_start_thread(log), CONFAB_OK);
        }
    }
    uint64_t last = 0;
    assert_int_equal(log_store_read(store, 0, on_record, &last), CONFAB_OK);
    assert_int_equal(last, c.acked);
    local_log_close(log);
    disk_os_close(disk);
    temp_dir_remove(c.dir);
}

/* A damaged log: told, read as far as it goes, repaired, and what is left is there. */
static enum confab_err run_repair(void *arg)
{
    const struct log_case *c = arg;
    struct disk *disk = NULL;
    struct local_log *log = NULL;
    struct local_log_damage damage = {0};
    uint64_t last = 0;
    enum confab_err err = disk_os_open(c->dir, &disk);
    err = err ? err : local_log_open_readonly(disk, &tick_clock, &log);
    if (!err) {
        err = log_store_read(local_log_store(log), 0, on_record, &last);
        err = err == CONFAB_CORRUPT ? CONFAB_OK : err;
    }
    local_log_close(log);
    err = err ? err : local_log_repair(disk, &tick_clock, true, &damage);
    assert_true(err || damage.count == 1);
    disk_os_close(disk);
    return err;
}

/* A byte in the middle of the first segment is another one. */
static void damage(const struct log_case *c)
{
    struct disk *disk = NULL;
    struct disk_file *file = NULL;
    uint8_t byte = 0;
    size_t n = 0;
    assert_int_equal(disk_os_open(c->dir, &disk), CONFAB_OK);
    char name[64];
    int found = 0;
    for (int i = 1; i < 100 && !found; i++) {
        snprintf(name, sizeof(name), "seg-%016x.log", (unsigned)i);
        found = disk_open(disk, name, DISK_READ | DISK_WRITE, &file) == CONFAB_OK;
    }
    if (!found) {
        fail_msg("no segment");
    }
    assert_int_equal(disk_pread(file, &byte, 1, 20000, &n), CONFAB_OK);
    byte ^= 0x55;
    assert_int_equal(disk_pwrite(file, &byte, 1, 20000), CONFAB_OK);
    disk_close(file);
    disk_os_close(disk);
}

static void test_nomem__repair(void **state)
{
    (void)state;
    for (uint64_t n = 1, seen = n; seen >= n; n++) {
        struct log_case c = {.tag = 1};
        struct disk *disk = NULL;
        struct local_log *log = NULL;
        struct local_log_damage told = {0};
        temp_dir_make(c.dir, sizeof(c.dir));
        assert_int_equal(disk_os_open(c.dir, &disk), CONFAB_OK);
        assert_int_equal(log_open(disk, &log), CONFAB_OK);
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(log_append(log, &c), CONFAB_OK);
        }
        local_log_close(log);
        damage(&c);
        if (n == 1) {
            assert_in_range(each_fails(run_repair, &c), 10, 1000);
        }
        size_t live = alloc_live();
        alloc_fail(n, 1);
        enum confab_err err = local_log_repair(disk, &tick_clock, false, &told);
        seen = alloc_heal();
        assert_true(err == CONFAB_OK || is_want_of_memory(err));
        assert_int_equal(alloc_live(), live);
        /* Again, as after an interruption. Then it opens, with all but the damaged batches. */
        assert_int_equal(local_log_repair(disk, &tick_clock, false, &told), CONFAB_OK);
        assert_int_equal(log_open(disk, &log), CONFAB_OK);
        uint64_t last = 0;
        assert_int_equal(log_store_read(local_log_store(log), 0, on_record, &last), CONFAB_OK);
        assert_int_equal(last, c.acked);
        local_log_close(log);
        disk_os_close(disk);
        temp_dir_remove(c.dir);
    }
}

/* ---- The engines ---- */

struct store_case {
    char path[96];
    struct executor *ex;
    uint8_t round; /* what is written in this run */
};

static enum confab_err ask(struct message_store *store, struct store_request *req)
{
    bench_do(store, req);
    return req->ret_err;
}

static enum confab_err run_store(void *arg)
{
    struct store_case *c = arg;
    struct message_store *store = NULL;
    char detail[200];
    enum confab_err err = store_rocksdb_open(c->path, (struct store_rocksdb_cfg){0}, c->ex, c->ex,
                                             detail, sizeof(detail), &store);
    if (err) {
        return err;
    }
    uint8_t key[16] = "a conversation  ";
    uint8_t sort[8] = {0};
    uint8_t before = c->round;
    struct store_request put = {.op = STORE_WRITE};
    struct store_request get = {.op = STORE_GET};
    struct store_request range = {.op = STORE_RANGE,
                                  .table = STORE_CHUNK,
                                  .key = span_of(key, 16),
                                  .limit = 100,
                                  .bytes_max = 1 << 20};
    struct store_key row = {STORE_CHUNK, span_of(key, 16), span_of(sort, 8)};
    c->round++;
    alloc_pause();
    for (sort[7] = 0; sort[7] < 20; sort[7]++) {
        store_batch_put(&put.batch, row, span_of(&c->round, 1));
    }
    alloc_resume();
    err = ask(store, &put);
    c->round = err ? before : c->round; /* one that failed was not applied */
    struct store_key keys[20];
    uint8_t sorts[20][8] = {{0}};
    for (uint8_t i = 0; i < 20; i++) {
        sorts[i][7] = i;
        keys[i] = (struct store_key){STORE_CHUNK, span_of(key, 16), span_of(sorts[i], 8)};
    }
    get.keys = keys;
    get.nkeys = 20;
    enum confab_err err2 = ask(store, &get);
    for (uint32_t i = 0; i < 20 && !err2; i++) {
        assert_int_equal(get.ret_rows[i].found, c->round > 0);
        assert_true(c->round == 0 || get.ret_rows[i].value.p[0] == c->round);
    }
    enum confab_err err3 = ask(store, &range);
    assert_true(err3 || range.ret_nrows == (c->round ? 20 : 0));
    store_request_deinit(&put);
    store_request_deinit(&get);
    store_request_deinit(&range);
    store_rocksdb_close(store);
    return err ? err : err2 ? err2 : err3;
}

static void test_nomem__store(void **state)
{
    (void)state;
    char dir[64];
    struct store_case c = {.round = 0};
    temp_dir_make(dir, sizeof(dir));
    snprintf(c.path, sizeof(c.path), "%s/store", dir);
    assert_int_equal(executor_inline_open(false, 100, &c.ex), CONFAB_OK);
    assert_in_range(each_fails(run_store, &c), 5, 200);
    executor_inline_close(c.ex);
    temp_dir_remove(dir);
}

struct dir_case {
    char path[96];
    struct executor *ex;
    uint64_t users; /* there are so many */
};

static void on_done(struct dir_request *req)
{
    *(bool *)req->arg = true;
}

static enum confab_err dir_ask(struct directory *dir, struct dir_request *req)
{
    bool done = false;
    req->done = on_done;
    req->arg = &done;
    enum confab_err err = directory_submit(dir, req);
    assert_true(err || done);
    return err ? err : req->ret_err;
}

static enum confab_err run_directory(void *arg)
{
    struct dir_case *c = arg;
    struct directory *dir = NULL;
    enum confab_err err =
        directory_sqlite_open(c->path, (struct directory_sqlite_cfg){0}, c->ex, &dir);
    if (err) {
        return err;
    }
    struct dir_request make = {.op = DIR_ACCOUNT_CREATE};
    make.account.user_id = c->users + 1;
    make.account.created_ms = 1;
    snprintf(make.account.username, sizeof(make.account.username), "user%u", (unsigned)c->users);
    snprintf(make.username_key, sizeof(make.username_key), "user%u", (unsigned)c->users);
    err = dir_ask(dir, &make);
    c->users += !err;
    struct dir_request device = {.op = DIR_DEVICE_CREATE, .devices_max = 50};
    if (!err) {
        device.device.user_id = c->users;
        device.device.device_id = c->users;
        device.device.created_ms = 2;
        memcpy(device.device.token_hash, &c->users, sizeof(c->users));
        memcpy(device.device.chain_hash, &c->users, sizeof(c->users));
        err = dir_ask(dir, &device);
    }
    struct dir_request list = {.op = DIR_DEVICE_LIST, .user_id = 1};
    enum confab_err err2 = dir_ask(dir, &list);
    struct dir_request find = {.op = DIR_ACCOUNT_BY_ID, .user_id = MAX(c->users, 1U)};
    enum confab_err err3 = dir_ask(dir, &find);
    assert_true(err3 != CONFAB_NOT_FOUND || c->users == 0);
    dir_request_deinit(&make);
    dir_request_deinit(&device);
    dir_request_deinit(&list);
    dir_request_deinit(&find);
    directory_sqlite_close(dir);
    return err ? err : err2 ? err2 : err3;
}

static void test_nomem__directory(void **state)
{
    (void)state;
    char dir[64];
    struct dir_case c = {.users = 0};
    temp_dir_make(dir, sizeof(dir));
    snprintf(c.path, sizeof(c.path), "%s/directory.db", dir);
    assert_int_equal(executor_inline_open(false, 100, &c.ex), CONFAB_OK);
    assert_in_range(each_fails(run_directory, &c), 2, 200);
    executor_inline_close(c.ex);
    temp_dir_remove(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nomem__base_and_deflate),
        cmocka_unit_test(test_nomem__threads_and_sockets),
        cmocka_unit_test(test_nomem__log),
        cmocka_unit_test(test_nomem__log_goes_on),
        cmocka_unit_test(test_nomem__log_thread_waits),
        cmocka_unit_test(test_nomem__repair),
        cmocka_unit_test(test_nomem__store),
        cmocka_unit_test(test_nomem__directory),
    };
    return cmocka_run_group_tests(tests, quiet, NULL);
}
