/*
 * Servers with threads, sockets and a log on a simulated disk: two of them in one process share
 * nothing, and one that is stopped starts again where it was.
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
#include "adapters/mem/directory_mem.h"
#include "adapters/mem/disk_sim.h"
#include "adapters/mem/store_mem.h"
#include "adapters/os/executor_pool.h"
#include "adapters/os/net_epoll.h"
#include "core/checkpoint.h"
#include "gateway/server.h"

#define SHARDS 2

static enum confab_err plain_hash(struct span password, char ret_hash[DIR_HASH_BYTES])
{
    (void)snprintf(ret_hash, DIR_HASH_BYTES, "plain:%.*s", (int)MIN(password.n, 100U),
                   (const char *)password.p);
    return CONFAB_OK;
}
static enum confab_err plain_verify(const char *hash, struct span password)
{
    char want[DIR_HASH_BYTES];
    (void)plain_hash(password, want);
    return strcmp(hash, want) == 0 ? CONFAB_OK : CONFAB_UNAUTHENTICATED;
}
static const struct password_ops PLAIN = {"plain", plain_hash, plain_verify, NULL};

/* What stays when a server's process ends, and what goes with it. */
struct site {
    struct disk_sim *disk;
    struct message_store *store;
    struct directory *directory;
    struct executor *ex; /* of store, directory, passwords and files */
    struct net *nets[SHARDS];
    struct local_log *log;
    struct server *server;
    uint16_t port;
    uint8_t key; /* of its tokens */
};

static void site_init(struct site *w)
{
    static uint8_t key;
    memset(w, 0, sizeof(*w));
    w->key = ++key;
    const struct disk_sim_config disk = {.capacity_bytes = 0};
    assert_int_equal(disk_sim_new(&disk, &w->disk), CONFAB_OK);
}

static void site_start(struct site *w)
{
    struct server_loop loops[SHARDS];
    assert_int_equal(executor_pool_open(1, 4096, "test", &w->ex), CONFAB_OK);
    if (w->store) {
        store_mem_attach(w->store, w->ex);
        directory_mem_attach(w->directory, w->ex);
    } else {
        assert_int_equal(store_mem_open((struct store_mem_cfg){0}, w->ex, &w->store), CONFAB_OK);
        assert_int_equal(directory_mem_open(w->ex, &w->directory), CONFAB_OK);
    }
    w->port = 0;
    for (uint16_t i = 0; i < SHARDS; i++) {
        assert_int_equal(net_epoll_open(&w->nets[i]), CONFAB_OK);
        const struct net_epoll_listen listen = {.port = w->port, .first = i == 0};
        loops[i] = (struct server_loop){.net = w->nets[i], .random = random_system()};
        assert_int_equal(net_epoll_listen(w->nets[i], &listen, &loops[i].listener, &w->port),
                         CONFAB_OK);
    }
    const struct local_log_config log = {.segment_bytes = 1U << 20, .lanes = SHARDS};
    assert_int_equal(local_log_open(&log, disk_sim_disk(w->disk), clock_system(), &w->log),
                     CONFAB_OK);
    struct server_config cfg;
    server_config_defaults(&cfg);
    cfg.shards = SHARDS;
    cfg.registration = REGISTRATION_OPEN;
    static const struct origin_rules origins = {.hosts = {"x"}, .nhosts = 1};
    const struct auth_secrets secrets = {.keys = {.n = 1, .key = {{w->key}}}};
    const struct server_deps deps = {
        .secrets = &secrets,
        .origins = &origins,
        .clock = clock_system(),
        .log = local_log_store(w->log),
        .store = w->store,
        .directory = w->directory,
        .password_executor = w->ex,
        .password = &PLAIN,
        .disk = disk_sim_disk(w->disk),
        .disk_executor = w->ex,
        .loops = loops,
    };
    assert_int_equal(server_new(&cfg, &deps, &w->server), CONFAB_OK);
    assert_int_equal(local_log_start_thread(w->log), CONFAB_OK);
    assert_int_equal(server_recover(w->server), CONFAB_OK);
    assert_int_equal(server_start(w->server), CONFAB_OK);
    assert_true(auth_state_wait_loaded(server_auth(w->server),
                                       clock_mono_ns(clock_system()) + 60000000000ULL));
}

static void site_stop(struct site *w)
{
    server_stop(w->server, 10000);
    assert_true(server_is_stopped(w->server));
    local_log_stop(w->log);
    executor_pool_close(w->ex);
    server_free(w->server);
    local_log_close(w->log);
    for (uint16_t i = 0; i < SHARDS; i++) {
        net_epoll_close(w->nets[i]);
    }
}

static void site_deinit(struct site *w)
{
    store_mem_close(w->store);
    directory_mem_close(w->directory);
    disk_sim_free(w->disk);
}

/* One request on a connection of its own; the whole answer in `out`. Returns the status. */
static int call(const struct site *w, const char *method, const char *path, const char *token,
                const char *json, char *out, size_t size)
{
    char request[2048];
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(w->port)};
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
    int n =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer %s\r\n"
                 "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                 method, path, token, strlen(json), json);
    assert_true(n > 0 && (size_t)n < sizeof(request));
    assert_int_equal(send(fd, request, (size_t)n, MSG_NOSIGNAL), n);
    size_t len = 0;
    ssize_t got;
    while (len < size - 1 && (got = recv(fd, out + len, size - 1 - len, 0)) > 0) {
        len += (size_t)got;
    }
    out[len] = '\0';
    (void)close(fd);
    assert_true(len > 12);
    return (int)strtol(out + 9, NULL, 10);
}

static void text_of(const char *answer, const char *key, char *out, size_t size)
{
    char quoted[64];
    (void)snprintf(quoted, sizeof(quoted), "\"%s\":\"", key);
    const char *at = strstr(answer, quoted);
    assert_non_null(at);
    at += strlen(quoted);
    size_t n = strcspn(at, "\"");
    assert_true(n < size);
    memcpy(out, at, n);
    out[n] = '\0';
}

static void sign_up(const struct site *w, const char *name, char token[JWT_TEXT_MAX + 1])
{
    char json[256];
    char out[4096];
    (void)snprintf(json, sizeof(json), "{\"username\":\"%s\",\"password\":\"password\"}", name);
    assert_int_equal(call(w, "POST", "/api/v1/accounts", "x", json, out, sizeof(out)), 201);
    assert_int_equal(call(w, "POST", "/api/v1/tokens", "x", json, out, sizeof(out)), 201);
    text_of(out, "token", token, JWT_TEXT_MAX + 1);
}

static void make_group_and_send(const struct site *w, const char *token, char group[64])
{
    char json[256];
    char out[4096];
    assert_int_equal(call(w, "POST", "/api/v1/groups", token, "{\"name\":\"g\",\"members\":[]}",
                          out, sizeof(out)),
                     201);
    text_of(out, "group_id", group, 64);
    (void)snprintf(json, sizeof(json),
                   "{\"groupId\":\"%s\",\"content\":\"remember me\",\"client_msg_id\":\"k1\"}",
                   group);
    assert_int_equal(call(w, "POST", "/api/v1/messages", token, json, out, sizeof(out)), 201);
}

static void test_server__two_in_one_process_share_nothing(void **state)
{
    (void)state;
    struct site a;
    struct site b;
    char token_a[JWT_TEXT_MAX + 1];
    char token_b[JWT_TEXT_MAX + 1];
    char group[64];
    char path[160];
    char out[8192];
    site_init(&a);
    site_init(&b);
    site_start(&a);
    site_start(&b);
    assert_int_not_equal(a.port, b.port);
    /* The same name is free in both, and a token of one is nothing to the other. */
    sign_up(&a, "alice", token_a);
    sign_up(&b, "alice", token_b);
    make_group_and_send(&a, token_a, group);
    (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages", group);
    assert_int_equal(call(&a, "GET", path, token_a, "", out, sizeof(out)), 200);
    assert_non_null(strstr(out, "remember me"));
    assert_int_equal(call(&b, "GET", path, token_a, "", out, sizeof(out)), 401);
    assert_int_equal(call(&b, "GET", path, token_b, "", out, sizeof(out)), 404);
    assert_int_equal(metrics_total(server_metrics_owner(a.server), METRIC_MESSAGES_ACCEPTED), 1);
    assert_int_equal(metrics_total(server_metrics_owner(b.server), METRIC_MESSAGES_ACCEPTED), 0);
    /* One goes, the other stays. */
    site_stop(&a);
    assert_int_equal(call(&b, "GET", "/readyz", "", "", out, sizeof(out)), 200);
    site_stop(&b);
    site_deinit(&a);
    site_deinit(&b);
}

static void test_server__stopped_one_starts_where_it_was(void **state)
{
    (void)state;
    struct site a;
    char token[JWT_TEXT_MAX + 1];
    char group[64];
    char path[160];
    char out[8192];
    site_init(&a);
    site_start(&a);
    sign_up(&a, "alice", token);
    make_group_and_send(&a, token, group);
    site_stop(&a);
    /* All of it is in the store: the last checkpoint leaves nothing to be read. */
    uint64_t checkpoint = 0;
    assert_int_equal(checkpoint_load(disk_sim_disk(a.disk), &checkpoint), CONFAB_OK);
    assert_true(checkpoint > 0);
    site_start(&a);
    struct server_recovery recovery;
    server_recovery(a.server, &recovery);
    assert_int_equal(recovery.from_lsn, checkpoint);
    assert_int_equal(recovery.records, 0);
    (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages", group);
    assert_int_equal(call(&a, "GET", path, token, "", out, sizeof(out)), 200);
    assert_non_null(strstr(out, "remember me"));
    site_stop(&a);
    site_deinit(&a);
}

static void test_server__refuses_what_cannot_work(void **state)
{
    (void)state;
    struct server_config cfg;
    struct server *server = NULL;
    const struct server_deps deps = {0};
    server_config_defaults(&cfg);
    cfg.shards = 0;
    assert_int_equal(server_new(&cfg, &deps, &server), CONFAB_INVALID);
    cfg.shards = SHARDS_MAX + 1;
    assert_int_equal(server_new(&cfg, &deps, &server), CONFAB_INVALID);
    assert_null(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_server__two_in_one_process_share_nothing),
        cmocka_unit_test(test_server__stopped_one_starts_where_it_was),
        cmocka_unit_test(test_server__refuses_what_cannot_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
