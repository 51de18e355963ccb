#include "confabd/instance.h"

#include <inttypes.h>
#include <sched.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "adapters/local_log/local_log.h"
#include "adapters/os/disk_os.h"
#include "adapters/os/executor_pool.h"
#include "adapters/os/net_epoll.h"
#include "adapters/rocksdb/store_rocksdb.h"
#include "adapters/sqlite/directory_sqlite.h"
#include "adapters/tls/net_tls.h"
#include "base/diag.h"
#include "confabd/files.h"
#include "confabd/password_cost.h"
#include "confabd/port_owner.h"
#include "confabd/process_stats.h"
#include "confabd/redirect.h"
#include "confabd/reserve.h"
#include "confabd/secrets.h"
#include "core/checkpoint.h"
#include "gateway/notices.h"
#include "gateway/proxies.h"

#ifndef CONFABD_VERSION
#define CONFABD_VERSION "0"
#endif
#define DETAIL_MAX      512
#define QUEUE_MAX       65536U
#define DIRECTORY_QUEUE 4096U
#define DISK_QUEUE      64U
#define SHARDS_DEFAULT  64
#define PORTS_TRIED     100
#define LOADED_WAIT_NS  10000000000ULL
#define PORT_HTTP       80
#define PORT_HTTPS      443
#define DAY_MS          86400000ULL
#define FLUSH_PART      4U /* of drain-timeout */

struct instance {
    const struct front *front;
    struct net *nets[SHARDS_MAX];     /* sockets */
    struct net *tls_nets[SHARDS_MAX]; /* TLS over them; NULL: none */
    struct server_loop loops[SHARDS_MAX];
    uint16_t shards;
    uint16_t port;
    struct disk *root;     /* the data directory: CHECKPOINT */
    uint64_t reserved;     /* bytes kept for the next start */
    uint32_t grace_ms;     /* for connections, at a stop */
    bool compacting;       /* the store may */
    struct disk *log_disk; /* its log/ */
    struct executor *store_readers;
    struct executor *store_writer;
    struct executor *directory_executor;
    struct executor *password_executor;
    struct executor *disk_executor;
    struct message_store *store;
    struct directory *directory;
    struct local_log *log;
    struct server *server;
    struct origin_rules origins;
    struct proxy_rules proxies;
    struct redirect *redirect; /* NULL: none */
    char url[FRONT_URL_MAX];   /* for links */
    struct metrics metrics;    /* the main thread's: what instance_sample reads */
    struct process_stats process;
};

static enum confab_err failed(char *detail, enum confab_err err, const char *what)
{
    (void)snprintf(detail, DETAIL_MAX, "%s: %s", what, err_text(err));
    return err;
}

static uint16_t shard_count(const struct config *cfg)
{
    if (cfg->shards > 0) {
        return (uint16_t)cfg->shards;
    }
    cpu_set_t cpus;
    int n = sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    return (uint16_t)MAX(1, MIN(n, SHARDS_DEFAULT));
}

/* ---- The port ---- */

/* The next port above that nobody has; 0 when there is none nearby. */
static uint16_t port_free_above(const char *address, uint16_t port)
{
    for (uint32_t p = (uint32_t)port + 1; p <= (uint32_t)port + PORTS_TRIED && p <= 65535; p++) {
        struct net *probe;
        if (net_epoll_open(&probe) != CONFAB_OK) {
            return 0;
        }
        int handle;
        uint16_t bound;
        const struct net_epoll_listen cfg = {
            .address = address, .port = (uint16_t)p, .first = true};
        enum confab_err err = net_epoll_listen(probe, &cfg, &handle, &bound);
        net_epoll_close(probe);
        if (err == CONFAB_OK) {
            return (uint16_t)p;
        }
    }
    return 0;
}

static void explain_taken(const struct config *cfg, const char *listen, char *detail)
{
    struct port_owner owner;
    char by[128] = "another program";
    if (port_owner_find((uint16_t)cfg->port, &owner)) {
        (void)snprintf(by, sizeof(by), "%s (pid %ld)", owner.name, owner.pid);
    }
    uint16_t next = port_free_above(listen, (uint16_t)cfg->port);
    int n = snprintf(detail, DETAIL_MAX, "port %" PRIu64 " is taken by %s", cfg->port, by);
    if (next != 0) {
        (void)snprintf(detail + n, DETAIL_MAX - (size_t)n, "; %u is free: add --port %u", next,
                       next);
    }
}

static enum confab_err listen_all(struct instance *in, const struct config *cfg, char *detail)
{
    in->port = (uint16_t)cfg->port;
    for (uint16_t i = 0; i < in->shards; i++) {
        enum confab_err err = net_epoll_open(&in->nets[i]);
        if (err != CONFAB_OK) {
            return failed(detail, err, "the event loop cannot be made");
        }
        const struct net_epoll_listen listen = {
            .address = in->front->listen, .port = in->port, .first = i == 0};
        if (in->front->nsockets > 0) {
            err = net_epoll_adopt(in->nets[i], in->front->sockets, in->front->nsockets,
                                  &in->loops[i].listener);
        } else {
            err = net_epoll_listen(in->nets[i], &listen, &in->loops[i].listener, &in->port);
        }
        if (err == CONFAB_EXISTS) {
            explain_taken(cfg, in->front->listen, detail);
            return err;
        }
        if (err != CONFAB_OK) {
            (void)snprintf(
                detail, DETAIL_MAX, "cannot listen on %s port %u: %s", in->front->listen, in->port,
                err == CONFAB_INVALID ? "not an address of this machine" : err_text(err));
            return err;
        }
        if (in->front->tls) {
            err = net_tls_open(in->front->tls, in->nets[i], &in->tls_nets[i]);
        }
        if (err != CONFAB_OK) {
            return failed(detail, err, "TLS cannot be set up");
        }
        in->loops[i].net = in->front->tls ? in->tls_nets[i] : in->nets[i];
        in->loops[i].random = random_system();
    }
    return CONFAB_OK;
}

/* ---- Engines ---- */

static enum confab_err open_executors(struct instance *in, const struct config *cfg)
{
    enum confab_err err = executor_pool_open((unsigned)cfg->store_readers, QUEUE_MAX, "store-read",
                                             &in->store_readers);
    if (err == CONFAB_OK) {
        /* Two: a flush takes one of them for a while. */
        err = executor_pool_open(2, QUEUE_MAX, "store-write", &in->store_writer);
    }
    if (err == CONFAB_OK) {
        err = executor_pool_open(1, DIRECTORY_QUEUE, "directory", &in->directory_executor);
    }
    if (err == CONFAB_OK) {
        err = executor_pool_open((unsigned)cfg->password_threads, QUEUE_MAX, "password",
                                 &in->password_executor);
    }
    if (err == CONFAB_OK) {
        err = executor_pool_open(1, DISK_QUEUE, "disk", &in->disk_executor);
    }
    return err;
}

static enum confab_err open_store(struct instance *in, const struct config *cfg,
                                  const struct datadir *dir, char *detail)
{
    char path[PATH_MAX];
    char text[256] = "";
    enum confab_err err = datadir_subdir(dir, "store", path);
    if (err == CONFAB_OK) {
        const struct store_rocksdb_cfg store = {
            .block_cache_bytes = cfg->store_cache_bytes,
            .memtable_bytes = cfg->store_memtable_bytes,
            .hold_compactions = true,
        };
        err = store_rocksdb_open(path, store, in->store_readers, in->store_writer, text,
                                 sizeof(text), &in->store);
    }
    if (err != CONFAB_OK) {
        (void)snprintf(detail, DETAIL_MAX, "the message store cannot be opened: %s %s",
                       err_text(err), text);
    }
    return err;
}

static enum confab_err open_log(struct instance *in, const struct config *cfg,
                                const struct datadir *dir, char *detail)
{
    char path[PATH_MAX];
    enum confab_err err = datadir_subdir(dir, "log", path);
    if (err == CONFAB_OK) {
        err = disk_os_open(path, &in->log_disk);
    }
    uint64_t checkpoint = 0;
    if (err == CONFAB_OK) {
        err = checkpoint_load(in->root, &checkpoint);
    }
    if (err == CONFAB_OK) {
        const struct local_log_config log = {
            .segment_bytes = cfg->log_segment_bytes,
            .queue_bytes_max = cfg->log_queue_bytes,
            .lanes = in->shards,
            .zero_spares = true,
            .verify_from = checkpoint,
        };
        err = local_log_open(&log, in->log_disk, clock_system(), &in->log);
    }
    if (err == CONFAB_CORRUPT) {
        (void)snprintf(detail, DETAIL_MAX,
                       "the log is damaged; `confabd log inspect --data %.300s` shows where",
                       dir->path);
    } else if (err != CONFAB_OK) {
        return failed(detail, err, "the log cannot be opened");
    }
    return err;
}

static void configure_rates(struct rates_config *rates, const struct config *cfg)
{
    *rates = (struct rates_config){
        .a_minute =
            {
                [RATE_SEND] = {[RATE_USER] = (uint32_t)cfg->rate_sends_user,
                               [RATE_DEVICE] = (uint32_t)cfg->rate_sends_device,
                               [RATE_ADDRESS] = (uint32_t)cfg->rate_sends_address},
                [RATE_CONNECT] = {[RATE_USER] = (uint32_t)cfg->rate_connects_user,
                                  [RATE_DEVICE] = (uint32_t)cfg->rate_connects_device,
                                  [RATE_ADDRESS] = (uint32_t)cfg->rate_connects_address},
                [RATE_SEARCH] = {[RATE_USER] = (uint32_t)cfg->rate_searches_user,
                                 [RATE_DEVICE] = (uint32_t)cfg->rate_searches_device,
                                 [RATE_ADDRESS] = (uint32_t)cfg->rate_searches_address},
            },
        .entries_max = (uint32_t)cfg->rate_entries,
    };
}

static void configure_shard(struct shard_config *shard, const struct config *cfg, uint16_t shards)
{
    shard->engine.cache_bytes_max = cfg->cache_bytes / shards;
    shard->engine.dirty_bytes_max = cfg->dirty_bytes / shards;
    shard->engine.unsynced_bytes_max = cfg->log_queue_bytes / shards;
    shard->engine.flush_after_ms = (uint32_t)cfg->flush_after_ms;
    shard->engine.dedup_days = (uint32_t)cfg->dedup_days;
    shard->engine.edit_window_ms = cfg->edit_window_ms;
    shard->text_bytes_max = (uint32_t)cfg->text_bytes;
    shard->connections_max = (uint32_t)cfg->connections_max;
    shard->devices_max = (uint32_t)cfg->devices_max;
    shard->away_after_ms = (uint32_t)cfg->away_after_ms;
    shard->presence_linger_ms = (uint32_t)cfg->presence_linger_ms;
    shard->presence_subscriptions_max = (uint32_t)cfg->presence_subscriptions;
    shard->inflight_max = (uint32_t)cfg->inflight_max;
    shard->queue_bytes_max = (uint32_t)cfg->queue_bytes;
    shard->output_bytes_max = cfg->output_bytes / shards;
    shard->request_bytes_max = (uint32_t)cfg->request_bytes;
    shard->resumes_max = (uint32_t)cfg->resumes_max;
    shard->resumes_waiting_max = (uint32_t)cfg->resumes_waiting;
    configure_rates(&shard->rates, cfg);
    shard->heartbeat_ms = (uint32_t)cfg->heartbeat_ms;
    shard->dead_after_ms = (uint32_t)cfg->dead_after_ms;
    shard->drain_spread_ms = (uint32_t)cfg->drain_spread_ms;
    shard->ping_after_ms = MIN(shard->ping_after_ms, shard->dead_after_ms / 2);
    shard->stream_beat_ms = (uint32_t)cfg->stream_beat_ms;
    shard->large_members = (uint32_t)cfg->large_members;
    shard->counters_second = (uint32_t)cfg->counters_second;
    shard->ws_deflate = cfg->ws_deflate;
    shard->http_gzip = cfg->http_gzip;
    shard->metrics_public = cfg->metrics_public;
    shard->access_ms = (uint32_t)cfg->access_token_ms;
    shard->refresh_ms = cfg->refresh_token_ms;
    shard->refresh_grace_ms = (uint32_t)cfg->refresh_grace_ms;
    shard->registrations_max = (uint32_t)cfg->registrations_per_address;
    shard->invites_max = (uint32_t)cfg->invites_max;
    shard->audit_ms = cfg->audit_days * DAY_MS;
    shard->setup_link = true;
}

/* Where people reach the page: with a slash at the end. */
static void public_url(struct instance *in, const struct config *cfg)
{
    size_t n = strlen(cfg->public_url);
    if (n > 0) {
        const char *slash = cfg->public_url[n - 1] == '/' ? "" : "/";
        (void)snprintf(in->url, sizeof(in->url), "%s%s", cfg->public_url, slash);
    } else if (in->front->domains.n > 0) {
        (void)snprintf(in->url, sizeof(in->url), "https://%s/", in->front->domains.at[0]);
    } else {
        front_url(in->front, in->port, in->url, sizeof(in->url));
    }
}

/* The options, and the names by which a home network knows this machine. */
static enum confab_err read_origins(struct instance *in, const struct config *cfg)
{
    char machine[128] = "";
    char hosts[sizeof(cfg->hosts) + sizeof(cfg->domain) + 300];
    const char *bad;
    in->origins.tls = in->front->tls != NULL;
    (void)snprintf(hosts, sizeof(hosts), "%s %s", cfg->hosts, cfg->domain);
    enum confab_err err =
        origin_rules_parse(&in->origins, cfg->public_url, hosts, cfg->cors_origins, &bad);
    if (err == CONFAB_OK && gethostname(machine, sizeof(machine) - 1) == 0) {
        (void)snprintf(hosts, sizeof(hosts), "%s %s %s %s.local", cfg->hosts, cfg->domain, machine,
                       machine);
        if (origin_rules_parse(&in->origins, cfg->public_url, hosts, cfg->cors_origins, &bad)) {
            diag_info(DIAG_SERVER, "not a name to be reached by | name=\"%s\"", machine);
        }
    }
    return err;
}

static enum registration registration_of(const struct instance *in, const struct config *cfg)
{
    enum registration r;
    if (registration_parse(span_str(cfg->registration), &r)) {
        return r;
    }
    bool alone = front_is_loopback(in->front->listen) && cfg->public_url[0] == '\0' &&
                 cfg->domain[0] == '\0';
    return alone ? REGISTRATION_OPEN : REGISTRATION_INVITE;
}

/*
 * Where the port was asked for, it must be had. The one that comes with domain is a convenience:
 * whoever cannot have it, or runs something else there, can still chat.
 */
static enum confab_err open_redirect(struct instance *in, const struct config *cfg, char *detail)
{
    bool named = in->front->domains.n > 0;
    const struct redirect_config to = {
        .address = in->front->listen,
        .port = (uint16_t)cfg->redirect_port,
        /* The authority reaches a domain at 443, and so do people, whatever port leads here. */
        .https_port = cfg->public_url[0] ? 0
                      : named            ? PORT_HTTPS
                                         : in->port,
        .url = in->url,
        .origins = &in->origins,
        .metrics_owner = server_metrics_owner(in->server),
    };
    if (cfg->redirect_port == 0) {
        return CONFAB_OK;
    }
    enum confab_err err = redirect_open(&to, &in->redirect);
    if (err == CONFAB_OK) {
        return err;
    }
    (void)snprintf(detail, DETAIL_MAX, "port %u cannot send people on to https: %s", to.port,
                   err == CONFAB_EXISTS      ? "it is taken"
                   : err == CONFAB_FORBIDDEN ? "not allowed to listen there"
                                             : err_text(err));
    if (!named || to.port != PORT_HTTP) {
        return err;
    }
    diag_warn(DIAG_NET, "no redirects | why=\"%s\"", detail);
    notices_set(server_notices(in->server), NOTICE_REDIRECT, detail);
    detail[0] = '\0';
    return CONFAB_OK;
}

static enum confab_err make_server(struct instance *in, const struct config *cfg,
                                   const struct datadir *dir, char *detail)
{
    struct server_config server;
    struct auth_secrets secrets;
    enum confab_err err = secrets_load(dir, &secrets, detail);
    if (err == CONFAB_OK) {
        err = read_origins(in, cfg);
    }
    if (err == CONFAB_OK) {
        const char *bad;
        err = proxy_rules_parse(&in->proxies, cfg->trusted_proxies, cfg->proxy_header, &bad);
    }
    if (err != CONFAB_OK) {
        return err;
    }
    public_url(in, cfg);
    server_config_defaults(&server);
    server.shards = in->shards;
    server.checkpoint_ms = (uint32_t)cfg->checkpoint_ms;
    server.server_name = cfg->server_name;
    server.registration = registration_of(in, cfg);
    server.flush_max_ms = (uint32_t)(cfg->drain_timeout_ms / FLUSH_PART);
    in->grace_ms = (uint32_t)cfg->drain_timeout_ms - server.flush_max_ms;
    configure_shard(&server.shard, cfg, in->shards);
    const struct server_deps deps = {
        .clock = clock_system(),
        .log = local_log_store(in->log),
        .store = in->store,
        .directory = in->directory,
        .password_executor = in->password_executor,
        .password = password_cost_ops(cfg->password_cost),
        .secrets = &secrets,
        .origins = &in->origins,
        .proxies = &in->proxies,
        .url = in->url,
        .version = CONFABD_VERSION,
        .disk = in->root,
        .disk_executor = in->disk_executor,
        .files = &confab_files,
        .loops = in->loops,
    };
    if (!deps.password) {
        return failed(detail, CONFAB_UNSUPPORTED, "libsodium cannot be set up");
    }
    err = server_new(&server, &deps, &in->server);
    sodium_memzero(&secrets, sizeof(secrets));
    if (err != CONFAB_OK) {
        return failed(detail, err, "the server cannot be made");
    }
    err = local_log_start_thread(in->log);
    if (err != CONFAB_OK) {
        return failed(detail, err, "the log's thread cannot be started");
    }
    err = server_recover(in->server);
    if (err != CONFAB_OK) {
        return failed(detail, err, "recovery failed; the lines above say where");
    }
    return CONFAB_OK;
}

enum confab_err instance_open(const struct config *cfg, const struct datadir *dir,
                              const struct front *front, char *detail, struct instance **ret)
{
    struct instance *in = calloc(1, sizeof(*in));
    if (!in) {
        return failed(detail, CONFAB_NOMEM, "start");
    }
    in->front = front;
    in->shards = shard_count(cfg);
    enum confab_err err = listen_all(in, cfg, detail);
    if (err != CONFAB_OK) {
        goto out;
    }
    err = open_executors(in, cfg);
    if (err != CONFAB_OK) {
        (void)failed(detail, err, "the worker threads cannot be started");
        goto out;
    }
    err = disk_os_open(dir->path, &in->root);
    if (err != CONFAB_OK) {
        (void)failed(detail, err, "the data directory cannot be opened");
        goto out;
    }
    reserve_release(in->root);
    err = open_store(in, cfg, dir, detail);
    if (err != CONFAB_OK) {
        goto out;
    }
    char path[PATH_MAX];
    datadir_file(dir, "directory.db", path);
    err = directory_sqlite_open(path, (struct directory_sqlite_cfg){0}, in->directory_executor,
                                &in->directory);
    if (err != CONFAB_OK) {
        (void)failed(detail, err, "the directory of accounts cannot be opened");
        goto out;
    }
    in->reserved = reserve_take(in->root, 0);
    err = open_log(in, cfg, dir, detail);
    if (err == CONFAB_OK) {
        err = make_server(in, cfg, dir, detail);
    }
    if (err == CONFAB_OK) {
        err = open_redirect(in, cfg, detail);
    }
out:
    if (err != CONFAB_OK) {
        instance_close(in);
        return err;
    }
    *ret = in;
    return CONFAB_OK;
}

enum confab_err instance_start(struct instance *in)
{
    metrics_register(&in->metrics, server_metrics_owner(in->server));
    enum confab_err err = server_start(in->server);
    if (err == CONFAB_OK) {
        /* Whoever reads that it serves should not be told that it is busy. */
        uint64_t until = clock_mono_ns(clock_system()) + LOADED_WAIT_NS;
        (void)auth_state_wait_loaded(server_auth(in->server), until);
    }
    return err;
}

void instance_stop(struct instance *in)
{
    server_stop(in->server, in->grace_ms);
}

void instance_hurry(struct instance *in)
{
    server_drain(in->server, 0);
}

static void sample_counter(struct metrics *m, enum metric id, uint64_t total)
{
    metrics_gauge_set(m, id, (int64_t)total);
}

/* Compactions were held back for the recovery's sake. */
static void compact_when_recovered(struct instance *in)
{
    bool recovered = !in->compacting;
    for (uint16_t i = 0; i < in->shards; i++) {
        recovered = recovered && shard_is_recovered(server_shard(in->server, i));
    }
    if (recovered) {
        in->compacting = true;
        store_rocksdb_compact(in->store);
    }
}

void instance_sample(struct instance *in)
{
    compact_when_recovered(in);
    struct metrics *m = &in->metrics;
    struct log_stats log;
    struct store_stats store;
    uint64_t free_bytes;
    log_store_stats(local_log_store(in->log), &log);
    message_store_stats(in->store, &store);
    sample_counter(m, METRIC_LOG_BATCHES, log.batches);
    sample_counter(m, METRIC_LOG_SYNC_US, log.sync_ns_total / 1000);
    sample_counter(m, METRIC_STORE_FLUSHES, store.flushes);
    metrics_gauge_set(m, METRIC_LOG_SYNC_MAX_US, (int64_t)(log.sync_ns_max / 1000));
    metrics_gauge_set(m, METRIC_LOG_FAILED, log.state == LOG_FAILED);
    metrics_gauge_set(m, METRIC_LOG_SEGMENTS, (int64_t)log.segments);
    metrics_gauge_set(m, METRIC_LOG_QUEUED_BYTES, (int64_t)log.bytes_queued);
    metrics_gauge_set(m, METRIC_DISK_LOG, (int64_t)(log.durable_lsn - log.first_lsn));
    metrics_gauge_set(m, METRIC_DISK_STORE, (int64_t)store.disk_bytes);
    metrics_gauge_set(m, METRIC_STORE_GARBAGE, (int64_t)store.garbage_bytes);
    metrics_gauge_set(m, METRIC_STORE_UNMERGED, store.unmerged_files);
    if (disk_free_bytes(in->root, &free_bytes) == CONFAB_OK) {
        metrics_gauge_set(m, METRIC_DISK_FREE, (int64_t)free_bytes);
    }
    in->reserved = reserve_take(in->root, in->reserved);
    process_stats_sample(&in->process, m, clock_mono_ns(clock_system()) / 1000000);
}

/*
 * First those that call back, then those who are called: after the executors and the log's thread
 * have ended nothing reaches the server any more.
 */
void instance_close(struct instance *in)
{
    if (!in) {
        return;
    }
    redirect_close(in->redirect);
    if (in->log) {
        local_log_stop(in->log);
    }
    executor_pool_close(in->password_executor);
    executor_pool_close(in->directory_executor);
    executor_pool_close(in->store_readers);
    executor_pool_close(in->store_writer);
    executor_pool_close(in->disk_executor);
    metrics_unregister(&in->metrics);
    server_free(in->server);
    directory_sqlite_close(in->directory);
    store_rocksdb_close(in->store);
    local_log_close(in->log);
    disk_os_close(in->log_disk);
    disk_os_close(in->root);
    for (uint16_t i = 0; i < in->shards; i++) {
        net_tls_close(in->tls_nets[i]);
        net_epoll_close(in->nets[i]);
    }
    free(in);
}

uint16_t instance_port(const struct instance *in)
{
    return in->port;
}

bool instance_setup_link(struct instance *in, char *ret, size_t size)
{
    char code[SETUP_CODE_LEN + 1];
    auth_state_setup_code(server_auth(in->server), code);
    (void)snprintf(ret, size, "%s#setup=%s", in->url, code);
    return code[0] != 0;
}

const char *instance_url(const struct instance *in)
{
    return in->url;
}

struct metrics *instance_metrics(struct instance *in)
{
    return &in->metrics;
}

struct server *instance_server(struct instance *in)
{
    return in->server;
}
