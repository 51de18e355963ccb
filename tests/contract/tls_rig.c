#include "tls_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

struct tls_rig rig;

int rig_start(uint32_t chance)
{
    char detail[TLS_DETAIL_MAX];
    struct net_sim_cfg cfg = {.clock = &rig.clock, .seed = 11, .shards = 1, .backlog_max = 1024};
    clock_sim_init(&rig.clock, 1750000000000U);
    cfg.delay_max_ns = RIG_MS;
    cfg.short_read = cfg.short_write = chance;
    assert_int_equal(net_sim_open(&cfg, &rig.sim), CONFAB_OK);
    assert_int_equal(tls_server_open(tls_test_files(), detail, &rig.server), CONFAB_OK);
    assert_int_equal(net_tls_open(rig.server, net_sim_shard(rig.sim, 0), &rig.net), CONFAB_OK);
    return 0;
}

int rig_setup(void **state)
{
    (void)state;
    return rig_start(0);
}

int rig_teardown(void **state)
{
    (void)state;
    net_tls_close(rig.net);
    tls_server_close(rig.server);
    net_sim_close(rig.sim);
    return 0;
}

struct tls_server_stats rig_stats(void)
{
    struct tls_server_stats s;
    tls_server_stats(rig.server, &s);
    return s;
}

/* ---- Ends ---- */

enum confab_err rig_send(void *arg, const void *p, size_t n, size_t *ret_n)
{
    return net_sim_send(arg, p, n, ret_n);
}

enum confab_err rig_recv(void *arg, void *p, size_t n, size_t *ret_n)
{
    return net_sim_recv(arg, p, n, ret_n);
}

struct pair pair_raw(void)
{
    struct pair p = {.handle = -1};
    struct net_peer who;
    assert_int_equal(net_sim_connect(rig.sim, 0, &p.raw), CONFAB_OK);
    for (int i = 0; i < RIG_TURNS && p.handle < 0; i++) {
        struct net_event e[16];
        (void)rig.net->ops->poll(rig.net, e, 16, 0);
        (void)!rig.net->ops->accept(rig.net, net_sim_listener(rig.sim, 0), &p.handle, &who);
        clock_sim_advance(&rig.clock, RIG_MS);
    }
    assert_true(p.handle >= 0);
    return p;
}

struct pair pair_new(int max_version, const char *ciphers)
{
    struct pair p = pair_raw();
    p.peer = tls_peer_new((struct tls_wire){rig_send, rig_recv, p.raw}, max_version, ciphers);
    return p;
}

void pair_free(struct pair *p)
{
    rig.net->ops->close(rig.net, p->handle);
    tls_peer_free(p->peer);
    net_sim_drop(p->raw);
}

uint32_t pair_turn(struct pair *p)
{
    struct net_event e[16];
    uint32_t flags = 0;
    if (p->peer) {
        tls_peer_pump(p->peer);
    }
    clock_sim_advance(&rig.clock, RIG_MS);
    int n = rig.net->ops->poll(rig.net, e, 16, 0);
    for (int i = 0; i < n; i++) {
        flags |= e[i].handle == p->handle ? e[i].flags : 0;
    }
    return flags;
}

uint32_t pair_until(struct pair *p, uint32_t flags)
{
    for (int i = 0; i < RIG_TURNS; i++) {
        uint32_t got = pair_turn(p);
        if (got & flags) {
            return got;
        }
    }
    fail_msg("no event");
    return 0;
}

void pair_quiet(struct pair *p, int n)
{
    for (int i = 0; i < n; i++) {
        assert_int_equal(pair_turn(p), 0);
    }
}

void pair_shake(struct pair *p)
{
    uint64_t before = rig_stats().handshakes_ok;
    for (int i = 0; rig_stats().handshakes_ok == before || !tls_peer_is_ready(p->peer); i++) {
        assert_true(i < RIG_TURNS);
        assert_int_equal(pair_turn(p), 0);
    }
}

void pair_send(struct pair *p, const char *text)
{
    size_t n = 0;
    assert_int_equal(tls_peer_send(p->peer, text, strlen(text), &n), CONFAB_OK);
    assert_int_equal(n, strlen(text));
}

void pair_expect(struct pair *p, const char *text)
{
    char got[256];
    size_t len = 0;
    while (len < strlen(text)) {
        size_t n = 0;
        enum confab_err err =
            rig.net->ops->recv(rig.net, p->handle, got + len, sizeof(got) - len, &n);
        if (err == CONFAB_AGAIN) {
            (void)pair_until(p, NET_READABLE);
            continue;
        }
        assert_int_equal(err, CONFAB_OK);
        len += n;
    }
    assert_memory_equal(got, text, strlen(text));
}

enum confab_err pair_server_recv(struct pair *p)
{
    char c[16];
    size_t n;
    return rig.net->ops->recv(rig.net, p->handle, c, sizeof(c), &n);
}
