#include "rig.h"

#include <dirent.h>
#include <inttypes.h>
#include <malloc.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "adapters/local_log/local_log.h"
#include "adapters/os/disk_os.h"
#include "adapters/os/executor_pool.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "base/check.h"

#define MIB ((uint64_t)1 << 20)

struct rig {
    struct engine_host host;
    struct rig_config cfg;
    struct engine *engines[RIG_SHARDS_MAX];
    struct engine_shared shared;
    struct metrics metrics[RIG_SHARDS_MAX + 1];
    struct disk *root;
    struct disk *log_disk;
    struct executor *readers;
    struct executor *writer;
    struct executor *disk_executor;
    struct message_store *store;
    struct local_log *log;
    struct checkpointer *checkpointer;
    rig_complete *on_complete;
    void *arg;
    int wake_fd;
    uint32_t next_ms;
    bool compacting; /* the store may, since all is recovered */
    double checkpoint_due;
    uint64_t checkpoint_lsn; /* at the start */
    struct rig_start *start;
    struct rig_stats peak;
};

void rig_config_defaults(struct rig_config *cfg)
{
    /* Those of confabd. */
    *cfg = (struct rig_config){.shards = 2,
                               .cache_bytes = 64 * MIB,
                               .dirty_bytes = 32 * MIB,
                               .flush_after_ms = 20000,
                               .checkpoint_ms = 60000,
                               .store_cache_bytes = 16 * MIB,
                               .store_memtable_bytes = 16 * MIB,
                               .log_segment_bytes = 64 * MIB};
}

double rig_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double rig_cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static struct engine *owner_of(struct rig *r, uint16_t partition)
{
    return r->engines[engine_shard_of(partition, r->cfg.shards)];
}

static void on_complete(struct engine_host *host, struct command *cmd)
{
    struct rig *r = CONTAINER_OF(host, struct rig, host);
    if (cmd->type == COMMAND_FOLLOWUP) {
        engine_followup_done(owner_of(r, conv_id_partition(cmd->in.conv)), cmd);
        return;
    }
    r->on_complete(r->arg, cmd);
}

static void on_publish(struct engine_host *host, const struct publication *pub)
{
    (void)pub;
    CONTAINER_OF(host, struct rig, host)->peak.publications++;
}

static void on_receipt(struct engine_host *host, const struct receipt *receipt)
{
    (void)host;
    (void)receipt;
}

static enum confab_err on_send(struct engine_host *host, struct command *cmd)
{
    rig_submit(CONTAINER_OF(host, struct rig, host), cmd);
    return CONFAB_OK;
}

static void on_wake(struct engine_host *host)
{
    uint64_t one = 1;
    (void)!write(CONTAINER_OF(host, struct rig, host)->wake_fd, &one, sizeof(one));
}

static void log_wake(void *arg)
{
    on_wake(&((struct rig *)arg)->host);
}

static const struct engine_host_ops host_ops = {on_complete, on_publish, on_receipt, on_send,
                                                on_wake};

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct rig *r = arg;
    r->start->records++;
    r->start->bytes += rec->data.n;
    return engine_recover_record(owner_of(r, rec->partition), rec);
}

static void subdir(const char *data, const char *name, char out[1024])
{
    (void)snprintf(out, 1024, "%s/%s", data, name);
    (void)mkdir(out, 0700);
}

static void open_adapters(struct rig *r, struct rig_start *start)
{
    char path[1024];
    char why[256] = "";
    double t0 = rig_now();
    (void)mkdir(r->cfg.data, 0700);
    CHECK(!executor_pool_open(2, 65536, "store-read", &r->readers));
    CHECK(!executor_pool_open(2, 65536, "store-write", &r->writer));
    CHECK(!executor_pool_open(1, 64, "disk", &r->disk_executor));
    subdir(r->cfg.data, "store", path);
    const struct store_rocksdb_cfg store = {.block_cache_bytes = r->cfg.store_cache_bytes,
                                            .memtable_bytes = r->cfg.store_memtable_bytes,
                                            .hold_compactions = true};
    if (store_rocksdb_open(path, store, r->readers, r->writer, why, sizeof(why), &r->store)) {
        (void)fprintf(stderr, "the store cannot be opened: %s\n", why);
        exit(1);
    }
    double t1 = rig_now();
    subdir(r->cfg.data, "log", path);
    CHECK(!disk_os_open(r->cfg.data, &r->root));
    CHECK(!disk_os_open(path, &r->log_disk));
    CHECK(!checkpoint_load(r->root, &start->from_lsn));
    const struct local_log_config log = {.segment_bytes = r->cfg.log_segment_bytes,
                                         .lanes = r->cfg.shards,
                                         .verify_from = start->from_lsn};
    CHECK(!local_log_open(&log, r->log_disk, clock_system(), &r->log));
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        log_store_set_wake(local_log_store(r->log), i, log_wake, r);
    }
    CHECK(!local_log_start_thread(r->log));
    start->store_ms = (t1 - t0) * 1e3;
    start->log_ms = (rig_now() - t1) * 1e3;
}

struct rig *rig_open(const struct rig_config *cfg, rig_complete *complete, void *arg,
                     struct rig_start *ret)
{
    struct rig *r = calloc(1, sizeof(*r));
    CHECK(r && cfg->shards > 0 && cfg->shards <= RIG_SHARDS_MAX);
    *ret = (struct rig_start){.store_ms = 0};
    r->host.ops = &host_ops;
    r->cfg = *cfg;
    r->on_complete = complete;
    r->arg = arg;
    r->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r->start = ret;
    CHECK(r->wake_fd >= 0);
    open_adapters(r, ret);
    double t0 = rig_now();
    for (uint16_t i = 0; i < cfg->shards; i++) {
        struct engine_config ec;
        engine_config_defaults(&ec);
        ec.shard = i;
        ec.shards = cfg->shards;
        ec.cache_bytes_max = cfg->cache_bytes / cfg->shards;
        ec.dirty_bytes_max = cfg->dirty_bytes / cfg->shards;
        ec.flush_after_ms = cfg->flush_after_ms;
        metrics_register(&r->metrics[i], r);
        CHECK(!engine_new(&ec, &r->host, &r->shared, local_log_store(r->log), r->store, NULL,
                          clock_system(), &r->metrics[i], &r->engines[i]));
        CHECK(!engine_recover_begin(r->engines[i]));
    }
    CHECK(!log_store_read(local_log_store(r->log), ret->from_lsn, on_record, r));
    for (uint16_t i = 0; i < cfg->shards; i++) {
        CHECK(!engine_recover_end(r->engines[i]));
        struct engine_stats es;
        engine_stats(r->engines[i], &es);
        ret->tail_convs += es.conversations;
    }
    metrics_register(&r->metrics[RIG_SHARDS_MAX], r);
    CHECK(!checkpointer_new(r->root, r->disk_executor, local_log_store(r->log), r->store,
                            r->engines, cfg->shards, &r->metrics[RIG_SHARDS_MAX],
                            &r->checkpointer));
    ret->replayed = rig_metric(METRIC_RECOVERY_RECORDS);
    ret->read_ms = (rig_now() - t0) * 1e3;
    r->checkpoint_lsn = ret->from_lsn;
    r->checkpoint_due = rig_now() + cfg->checkpoint_ms / 1e3;
    return r;
}

void rig_submit(struct rig *r, struct command *cmd)
{
    engine_submit(owner_of(r, command_partition(cmd)), cmd);
}

static void watch(struct rig *r)
{
    struct rig_stats *s = &r->peak;
    s->engine = (struct engine_stats){.conversations = 0};
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        struct engine_stats es;
        engine_stats(r->engines[i], &es);
        s->engine.conversations += es.conversations;
        s->engine.cache_bytes += es.cache_bytes;
        s->engine.dirty_bytes += es.dirty_bytes;
        s->engine.inflight += es.inflight;
        s->engine.followups_pending += es.followups_pending;
    }
    struct log_stats ls;
    log_store_stats(local_log_store(r->log), &ls);
    uint64_t lsn = checkpointer_lsn(r->checkpointer);
    s->log_bytes = ls.durable_lsn - (lsn > r->checkpoint_lsn ? lsn : r->checkpoint_lsn);
    s->segments = ls.segments;
    s->cache_peak = MAX(s->cache_peak, s->engine.cache_bytes);
    s->dirty_peak = MAX(s->dirty_peak, s->engine.dirty_bytes);
    s->log_peak = MAX(s->log_peak, s->log_bytes);
}

void rig_turn(struct rig *r, bool idle)
{
    if (idle) {
        struct pollfd p = {.fd = r->wake_fd, .events = POLLIN};
        (void)poll(&p, 1, (int)r->next_ms);
    }
    uint64_t n;
    (void)!read(r->wake_fd, &n, sizeof(n));
    r->next_ms = 1000;
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        engine_seal(r->engines[i]);
        engine_poll(r->engines[i]);
        uint32_t next = engine_tick(r->engines[i]);
        r->next_ms = MIN(r->next_ms, next);
    }
    if (!r->compacting && rig_is_recovered(r)) {
        r->compacting = true;
        store_rocksdb_compact(r->store);
    }
    watch(r);
    checkpointer_start_gaining(r->checkpointer, r->cfg.dirty_bytes / 2);
    if (rig_now() >= r->checkpoint_due) {
        checkpointer_start(r->checkpointer);
        r->checkpoint_due = rig_now() + r->cfg.checkpoint_ms / 1e3;
    }
}

bool rig_is_recovered(const struct rig *r)
{
    bool all = true;
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        all = all && engine_is_recovered(r->engines[i]);
    }
    return all;
}

static bool is_settled(struct rig *r, bool flush)
{
    struct rig_stats *s = &r->peak;
    bool settled = s->engine.inflight == 0 && s->engine.followups_pending == 0;
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        settled = settled && (!flush || (engine_is_quiet(r->engines[i]) &&
                                         engine_clean_lsn(r->engines[i]) == UINT64_MAX));
    }
    return settled;
}

void rig_settle(struct rig *r, bool flush)
{
    bool settled = false;
    for (int calm = 0; calm < 3; calm = settled ? calm + 1 : 0) {
        for (uint16_t i = 0; i < r->cfg.shards && flush; i++) {
            engine_flush_all(r->engines[i]);
        }
        rig_turn(r, !settled);
        settled = is_settled(r, flush);
    }
}

void rig_checkpoint(struct rig *r)
{
    /* One may be under way that began before the last flush. */
    for (int i = 0; i < 2; i++) {
        while (checkpointer_is_running(r->checkpointer)) {
            struct timespec ms = {0, 1000000};
            nanosleep(&ms, NULL);
        }
        checkpointer_start(r->checkpointer);
    }
    while (checkpointer_is_running(r->checkpointer)) {
        struct timespec ms = {0, 1000000};
        nanosleep(&ms, NULL);
    }
}

void rig_close(struct rig *r)
{
    rig_settle(r, true);
    rig_turn(r, true);
    rig_checkpoint(r);
    executor_pool_close(r->readers);
    executor_pool_close(r->writer);
    executor_pool_close(r->disk_executor);
    local_log_stop(r->log);
    checkpointer_free(r->checkpointer);
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        engine_free(r->engines[i]);
        metrics_unregister(&r->metrics[i]);
    }
    metrics_unregister(&r->metrics[RIG_SHARDS_MAX]);
    store_rocksdb_close(r->store);
    local_log_close(r->log);
    disk_os_close(r->log_disk);
    disk_os_close(r->root);
    close(r->wake_fd);
    free(r);
}

void rig_dump(struct rig *r, struct buf *out)
{
    for (uint16_t i = 0; i < r->cfg.shards; i++) {
        engine_dump_state(r->engines[i], out);
    }
}

uint64_t rig_metric(enum metric id)
{
    return (uint64_t)metrics_total(NULL, id);
}

static uint64_t status_kb(const char *field)
{
    FILE *f = fopen("/proc/self/status", "r");
    char line[256];
    uint64_t kb = 0;
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, field, strlen(field)) == 0) {
            kb = strtoull(line + strlen(field) + 1, NULL, 10);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return kb;
}

void rig_stats(struct rig *r, struct rig_stats *ret)
{
    watch(r);
    struct store_stats ss;
    message_store_stats(r->store, &ss);
    r->peak.store_bytes = ss.disk_bytes;
    r->peak.store_memory = ss.memory_bytes;
    r->peak.store_written = ss.bytes_written;
    struct mallinfo2 mi = mallinfo2();
    r->peak.malloced = mi.uordblks + mi.hblkhd;
    r->peak.rss = status_kb("VmRSS") << 10;
    r->peak.rss_peak = status_kb("VmHWM") << 10;
    *ret = r->peak;
}

void rig_report(struct rig *r, const char *when)
{
    struct rig_stats s;
    rig_stats(r, &s);
    printf("%s: rss %.1f MiB (peak %.1f), malloc %.1f; resident conversations %" PRIu64
           ", cache_bytes %.1f (peak %.1f), dirty_bytes %.1f (peak %.1f); log above checkpoint "
           "%.1f (peak %.1f) in %" PRIu64 " segments; store %.1f on disk, %.1f in memory, %.1f "
           "written by batches\n",
           when, (double)s.rss / MIB, (double)s.rss_peak / MIB, (double)s.malloced / MIB,
           s.engine.conversations, (double)s.engine.cache_bytes / MIB, (double)s.cache_peak / MIB,
           (double)s.engine.dirty_bytes / MIB, (double)s.dirty_peak / MIB,
           (double)s.log_bytes / MIB, (double)s.log_peak / MIB, s.segments,
           (double)s.store_bytes / MIB, (double)s.store_memory / MIB,
           (double)s.store_written / MIB);
    (void)fflush(stdout);
}

void rig_cpu_text(char *out, size_t size)
{
    /* The engines' thread is the first one; what has no name of its own is the log's. */
    static const char *const groups[] = {"store-read", "store-write", "rocksdb", ""};
    double secs[5] = {0};
    DIR *d = opendir("/proc/self/task");
    const struct dirent *de;
    double tick = (double)sysconf(_SC_CLK_TCK);
    while (d && (de = readdir(d))) {
        char path[512];
        char line[1024] = "";
        if (de->d_name[0] == '.') {
            continue;
        }
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/stat", de->d_name);
        FILE *f = fopen(path, "r");
        if (!f || !fgets(line, sizeof(line), f)) {
            line[0] = 0;
        }
        if (f) {
            (void)fclose(f);
        }
        const char *name = strchr(line, '(');
        const char *rest = strrchr(line, ')');
        unsigned long user = 0;
        unsigned long sys = 0;
        if (!name || !rest ||
            sscanf(rest + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &sys) !=
                2) {
            continue;
        }
        int g = 0;
        while (groups[g][0] && strncmp(name + 1, groups[g], strlen(groups[g])) != 0) {
            g++;
        }
        if (!groups[g][0] && atoi(de->d_name) == (int)getpid()) {
            g++;
        }
        secs[g] += (double)(user + sys) / tick;
    }
    if (d) {
        (void)closedir(d);
    }
    (void)snprintf(out, size,
                   "shard %.2f s, store readers %.2f, store writers %.2f, log %.2f, rocksdb %.2f",
                   secs[4], secs[0], secs[1], secs[3], secs[2]);
}
