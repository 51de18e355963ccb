/*
 * Replay runs the engine's own recovery, on the real store and log behind decorators that refuse
 * every write: what it folds is what a restart would fold, and nothing is changed by looking.
 */
#include "confabd/log_tool.h"

#include <errno.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "adapters/local_log/local_log.h"
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/executor_inline.h"
#include "adapters/os/disk_os.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "base/diag.h"
#include "base/hash64.h"
#include "confabd/config.h"
#include "confabd/datadir.h"
#include "core/checkpoint.h"
#include "core/engine.h"

#define DETAIL_MAX 512

extern char **environ;

struct tool {
    struct datadir dir;
    struct disk *root;
    struct disk *log_disk;
    struct local_log *log;
    uint64_t records;
    uint64_t bytes;
    uint64_t checkpoint;
    bool list_records;
};

static int complain(const char *what, enum confab_err err)
{
    (void)fprintf(stderr, "confabd: %s: %s\n", what, err_text(err));
    return 1;
}

/* The lock is taken, so that no server writes meanwhile; the directory must exist. */
static int tool_open(struct tool *t, int argc, char **argv)
{
    struct config cfg;
    struct config_problem why;
    struct datadir_owner owner;
    char path[PATH_MAX];
    char detail[DETAIL_MAX] = "";
    struct datadir looked;
    config_defaults(&cfg);
    if (config_read(&cfg, argc, argv, environ, &why) != CONFAB_OK) {
        (void)fprintf(stderr, "confabd: %s\n", why.text);
        return 2;
    }
    if (datadir_choose(cfg.data, path) != CONFAB_OK) {
        (void)fprintf(stderr, "confabd: say where the data is with --data DIR\n");
        return 2;
    }
    if (datadir_look(path, &looked, detail) != CONFAB_OK ||
        datadir_open(path, &t->dir, &owner, detail) != CONFAB_OK) {
        (void)fprintf(stderr, "confabd: %s\n", detail);
        return 1;
    }
    datadir_file(&t->dir, "log", path);
    enum confab_err err = disk_os_open(path, &t->log_disk);
    if (err == CONFAB_OK) {
        err = disk_os_open(t->dir.path, &t->root);
    }
    if (err == CONFAB_OK) {
        err = checkpoint_load(t->root, &t->checkpoint);
    }
    return err == CONFAB_OK ? 0 : complain("the log's directory", err);
}

static void tool_close(struct tool *t)
{
    local_log_close(t->log);
    disk_os_close(t->log_disk);
    disk_os_close(t->root);
    datadir_close(&t->dir);
}

static void print_damage(const struct local_log_damage *damage)
{
    for (uint32_t i = 0; i < MIN(damage->count, LOCAL_LOG_DAMAGE_MAX); i++) {
        const struct local_log_range *r = &damage->ranges[i];
        (void)printf("damage  segment %" PRIu64 " at byte %" PRIu64 ": records %" PRIu64
                     " to %" PRIu64 "%s cannot be read\n",
                     r->segment, r->offset, r->from_lsn, r->to_lsn,
                     damage->open_ended && i + 1 == damage->count ? " and on" : "");
    }
    if (damage->text[0] != '\0') {
        (void)printf("        %s\n", damage->text);
    }
}

/* ---- inspect ---- */

static enum confab_err on_batch(void *arg, const struct local_log_batch_info *b)
{
    (void)arg;
    (void)printf("%-6s segment %" PRIu64 " byte %-10" PRIu64 " lsn %-12" PRIu64
                 " records %-6" PRIu32 " bytes %" PRIu32 "\n",
                 b->is_gap    ? "gap"
                 : b->is_mark ? "mark"
                              : "batch",
                 b->segment, b->offset, b->base_lsn, b->records, b->payload_bytes);
    return CONFAB_OK;
}

static enum confab_err on_record(void *arg, const struct log_record *rec)
{
    struct tool *t = arg;
    t->records++;
    t->bytes += rec->data.n;
    if (t->list_records) {
        (void)printf("record lsn %-12" PRIu64 " partition %-4u kind %u version %u bytes %zu\n",
                     rec->lsn, rec->partition, rec->kind, rec->version, rec->data.n);
    }
    return CONFAB_OK;
}

static int inspect(struct tool *t)
{
    enum confab_err err = local_log_open_readonly(t->log_disk, clock_system(), &t->log);
    if (err != CONFAB_OK) {
        return complain("the log cannot be opened", err);
    }
    err = local_log_inspect(t->log, on_batch, t);
    struct log_store *store = local_log_store(t->log);
    struct log_stats stats;
    log_store_stats(store, &stats);
    enum confab_err read_err = log_store_read(store, stats.first_lsn, on_record, t);
    (void)printf("first lsn %" PRIu64 ", end %" PRIu64 ", checkpoint %" PRIu64 ", %" PRIu64
                 " segments, %" PRIu64 " records, %" PRIu64 " bytes\n",
                 stats.first_lsn, stats.durable_lsn, t->checkpoint, stats.segments, t->records,
                 t->bytes);
    struct local_log_damage damage;
    local_log_damage(t->log, &damage);
    if (damage.count > 0) {
        print_damage(&damage);
        (void)printf("`confabd log repair --data DIR` cuts it out; run it with --dry-run first\n");
        return 1;
    }
    err = err == CONFAB_OK ? read_err : err;
    return err == CONFAB_OK ? 0 : complain("the log cannot be read to its end", err);
}

static int repair(struct tool *t, bool dry_run)
{
    struct local_log_damage damage;
    enum confab_err err = local_log_repair(t->log_disk, clock_system(), dry_run, &damage);
    if (err != CONFAB_OK) {
        return complain("the log cannot be repaired", err);
    }
    if (damage.count == 0) {
        (void)printf("nothing is damaged\n");
        return 0;
    }
    print_damage(&damage);
    (void)printf(dry_run
                     ? "nothing was changed\n"
                     : "cut out; what can be read is kept, and the log names the lost ranges\n");
    return 0;
}

/* ---- replay ---- */

/* A store that reads the one behind it and takes no writes. */
struct store_readonly {
    struct message_store base;
    struct message_store *inner;
};

static enum confab_err readonly_submit(struct message_store *store, struct store_request *req)
{
    struct store_readonly *ro = CONTAINER_OF(store, struct store_readonly, base);
    if (req->op == STORE_WRITE || req->op == STORE_FLUSH) {
        return CONFAB_CLOSED;
    }
    return message_store_submit(ro->inner, req);
}

static void readonly_stats(struct message_store *store, struct store_stats *ret)
{
    message_store_stats(CONTAINER_OF(store, struct store_readonly, base)->inner, ret);
}

static const struct message_store_ops READONLY_OPS = {"readonly", 1, readonly_submit,
                                                      readonly_stats};

static void host_complete(struct engine_host *host, struct command *cmd)
{
    (void)host;
    command_free(cmd);
}
static void host_publish(struct engine_host *host, const struct publication *pub)
{
    (void)host;
    (void)pub;
}
static void host_receipt(struct engine_host *host, const struct receipt *receipt)
{
    (void)host;
    (void)receipt;
}
static enum confab_err host_send(struct engine_host *host, struct command *cmd)
{
    (void)host;
    (void)cmd;
    return CONFAB_BUSY;
}
static void host_wake(struct engine_host *host)
{
    (void)host;
}
static const struct engine_host_ops HOST_OPS = {host_complete, host_publish, host_receipt,
                                                host_send, host_wake};

struct replaying {
    struct tool *tool;
    struct engine *engine;
};

static enum confab_err replay_record(void *arg, const struct log_record *rec)
{
    struct replaying *r = arg;
    r->tool->records++;
    r->tool->bytes += rec->data.n;
    return engine_recover_record(r->engine, rec);
}

static enum confab_err fold_all(struct tool *t, struct engine *e)
{
    struct replaying r = {t, e};
    enum confab_err err = engine_recover_begin(e);
    if (err == CONFAB_OK) {
        err = log_store_read(local_log_store(t->log), t->checkpoint, replay_record, &r);
    }
    if (err == CONFAB_OK) {
        err = engine_recover_end(e);
    }
    /* The inline executor answers at once: every turn gets further until all is folded. */
    while (err == CONFAB_OK && !engine_is_recovered(e)) {
        engine_poll(e);
        (void)engine_tick(e);
        /* That the log takes no writes is no news here. */
        enum confab_err health = engine_health(e);
        if (health == CONFAB_CORRUPT || health == CONFAB_VERSION) {
            err = health;
        }
    }
    return err;
}

static int print_state(struct tool *t, struct engine *e)
{
    struct buf state = {0};
    struct engine_stats stats;
    engine_stats(e, &stats);
    engine_dump_state(e, &state);
    if (!buf_ok(&state)) {
        return complain("the state", CONFAB_NOMEM);
    }
    struct hash128 hash = hash128(state.data, state.len, 0);
    (void)printf("from lsn %" PRIu64 ": %" PRIu64 " records, %" PRIu64 " bytes, %" PRIu64
                 " conversations, state of %zu bytes, hash %016" PRIx64 "%016" PRIx64 "\n",
                 t->checkpoint, t->records, t->bytes, stats.conversations, state.len, hash.hi,
                 hash.lo);
    buf_deinit(&state);
    return 0;
}

static int replay(struct tool *t)
{
    struct executor *ex = NULL;
    struct store_readonly store = {.base = {.ops = &READONLY_OPS}};
    struct directory *directory = NULL;
    struct engine_host host = {.ops = &HOST_OPS};
    struct engine_shared shared = {0};
    struct engine *engine = NULL;
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    struct engine_config cfg;
    char path[PATH_MAX];
    char text[256] = "";
    engine_config_defaults(&cfg);
    cfg.shard = 0;
    cfg.shards = 1;
    /* Nothing is to leave memory, and nothing to be flushed. */
    cfg.cache_bytes_max = SIZE_MAX / 4;
    cfg.dirty_bytes_max = SIZE_MAX / 4;
    cfg.flush_after_ms = UINT32_MAX / 4;
    atomic_init(&shared.log_clock_ms, 0);
    datadir_file(&t->dir, "store", path);
    enum confab_err err = metrics ? CONFAB_OK : CONFAB_NOMEM;
    if (err == CONFAB_OK) {
        err = local_log_open_readonly(t->log_disk, clock_system(), &t->log);
    }
    if (err == CONFAB_OK) {
        err = executor_inline_open(false, 1U << 20, &ex);
    }
    if (err == CONFAB_OK) {
        err = store_rocksdb_open(path, (struct store_rocksdb_cfg){0}, ex, ex, text, sizeof(text),
                                 &store.inner);
    }
    if (err == CONFAB_OK) {
        err = directory_mem_open(ex, &directory);
    }
    if (err == CONFAB_OK) {
        err = engine_new(&cfg, &host, &shared, local_log_store(t->log), &store.base, directory,
                         clock_system(), metrics, &engine);
    }
    if (err == CONFAB_OK) {
        err = fold_all(t, engine);
    }
    int code = err == CONFAB_OK ? print_state(t, engine) : complain("replay", err);
    if (text[0] != '\0') {
        (void)fprintf(stderr, "confabd: %s\n", text);
    }
    engine_free(engine);
    directory_mem_close(directory);
    store_rocksdb_close(store.inner);
    executor_inline_close(ex);
    free(metrics);
    return code;
}

/* Takes a flag of the tool's own out of the arguments; what is left is read as configuration. */
static bool take_flag(int *argc, char **argv, const char *flag)
{
    for (int i = 0; i < *argc; i++) {
        if (strcmp(argv[i], flag) == 0) {
            memmove(argv + i, argv + i + 1, (size_t)(*argc - i - 1) * sizeof(*argv));
            (*argc)--;
            return true;
        }
    }
    return false;
}

int log_tool(int argc, char **argv)
{
    const char *what = argc > 0 ? argv[0] : "";
    bool is_inspect = strcmp(what, "inspect") == 0;
    bool is_replay = strcmp(what, "replay") == 0;
    bool is_repair = strcmp(what, "repair") == 0;
    if (!is_inspect && !is_replay && !is_repair) {
        (void)fprintf(stderr, "usage: confabd log inspect [--records] | replay | repair [--dry-run]"
                              " [--data DIR]\n");
        return 2;
    }
    argc--;
    argv++;
    struct tool t = {.dir = {.lock_fd = -1}};
    t.list_records = is_inspect && take_flag(&argc, argv, "--records");
    bool dry_run = is_repair && take_flag(&argc, argv, "--dry-run");
    int code = tool_open(&t, argc, argv);
    if (code == 0) {
        code = is_inspect ? inspect(&t) : is_replay ? replay(&t) : repair(&t, dry_run);
    }
    tool_close(&t);
    return code;
}
