/*
 * A server's end of TLS over simulated connections, and clients of it, for the tests of
 * adapters/tls. One at a time, made and taken away by the cases.
 */
#ifndef CONFAB_TESTS_CONTRACT_TLS_RIG_H
#define CONFAB_TESTS_CONTRACT_TLS_RIG_H

#include "adapters/mem/net_sim.h"
#include "adapters/tls/net_tls.h"
#include "base/clock.h"
#include "tls_peer.h"

#define RIG_MS    1000000U
#define RIG_TURNS 20000

struct tls_rig {
    struct clock_sim clock;
    struct net_sim *sim;
    struct tls_server *server; /* of tls_test_files */
    struct net *net;
};
extern struct tls_rig rig;

/* `chance`: of short reads and writes below, of 10,000. */
int rig_start(uint32_t chance);
int rig_setup(void **state);
int rig_teardown(void **state);
struct tls_server_stats rig_stats(void);
/* For a struct tls_wire. */
enum confab_err rig_send(void *arg, const void *p, size_t n, size_t *ret_n);
enum confab_err rig_recv(void *arg, void *p, size_t n, size_t *ret_n);

struct pair {
    struct net_sim_conn *raw;
    struct tls_peer *peer; /* NULL: the test speaks for itself */
    int handle;
};
struct pair pair_raw(void);
struct pair pair_new(int max_version, const char *ciphers);
void pair_free(struct pair *p);
/* One turn of everybody; what the net tells of the handle. */
uint32_t pair_turn(struct pair *p);
/* Turns until one of `flags` is told; fails when that does not come. */
uint32_t pair_until(struct pair *p, uint32_t flags);
/* Turns in which nothing is told. */
void pair_quiet(struct pair *p, int n);
/* Turns until both ends are through with the handshake. */
void pair_shake(struct pair *p);
void pair_send(struct pair *p, const char *text);
void pair_expect(struct pair *p, const char *text);
enum confab_err pair_server_recv(struct pair *p);

#endif
