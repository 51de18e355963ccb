/*
 * Connections that only send heartbeats: the memory of each and the cost of connecting, here and on
 * a bare server. With --hold it waits for whoever started it, who may run several of these at once
 * (tools/million).
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

#define FRAME_BYTES 250U /* floor: nothing is sent, whatever its size */

struct usage {
    uint64_t pss;    /* bytes of the server */
    uint64_t kernel; /* bytes in slabs and socket buffers of the whole machine */
};

static uint64_t kib_after(const char *path, const char *name)
{
    FILE *f = fopen(path, "re");
    char line[256];
    uint64_t kib = 0;
    size_t n = strlen(name);
    while (f && fgets(line, sizeof(line), f)) {
        if (strncmp(line, name, n) == 0) {
            kib = strtoull(line + n, NULL, 10);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return kib;
}

static struct usage usage_of(pid_t server)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%ld/smaps_rollup", (long)server);
    return (struct usage){server ? kib_after(path, "Pss:") * 1024 : 0,
                          kib_after("/proc/meminfo", "Slab:") * 1024};
}

struct idle_result {
    double connect_s;
    double server_cpu_s;
    struct usage before;
    struct usage after;
    uint64_t beats; /* sent, and answered */
    uint64_t answered;
    uint64_t errors;
};

static void add_meters(const struct traffic *t, struct idle_result *ret)
{
    struct meters *m = bench_alloc(sizeof(*m));
    traffic_meters(t, m);
    ret->beats += m->beats;
    ret->answered += m->answered;
    ret->errors += m->errors + m->lost;
    free(m);
}

/* For the time that was asked for, or until standard input ends. */
static enum confab_err hold(const struct traffic *t)
{
    struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
    char dropped[64];
    if (!t->opt->hold) {
        return traffic_wait(t, t->opt->seconds * 1000U);
    }
    (void)printf("{\"ready\":%" PRIu32 "}\n", t->plan->nclients);
    (void)fflush(stdout);
    for (;;) {
        enum confab_err err = traffic_wait(t, 1);
        if (err) {
            return err;
        }
        if (poll(&in, 1, 100) > 0 && read(STDIN_FILENO, dropped, sizeof(dropped)) <= 0) {
            return CONFAB_OK;
        }
    }
}

static enum confab_err idle_measure(struct traffic *t, struct idle_result *ret)
{
    pause_ms(500); /* the server's own work after what came before */
    ret->before = usage_of(t->server);
    double cpu = (double)child_cpu_ms(t->server) / 1e3;
    uint64_t began = now_ns();
    enum confab_err err = traffic_start(t);
    ret->connect_s = (double)(now_ns() - began) / 1e9;
    ret->server_cpu_s = (double)child_cpu_ms(t->server) / 1e3 - cpu;
    if (!err) {
        atomic_store(&t->shared->phase, PHASE_HOLD);
        err = traffic_reset(t);
        add_meters(t, ret);
        err = err ? err : hold(t);
        ret->after = usage_of(t->server);
        err = err ? err : traffic_reset(t);
        add_meters(t, ret);
        err = err ? err : traffic_drain(t); /* heartbeats that are not answered yet */
        add_meters(t, ret);
    }
    traffic_stop(t);
    return err;
}

static void idle_report(const struct options *o, const char *what, uint32_t n,
                        const struct idle_result *r)
{
    double user = ((double)r->after.pss - (double)r->before.pss) / n;
    double kernel = ((double)r->after.kernel - (double)r->before.kernel) / n;
    (void)printf(
        o->json ? "{\"scenario\":\"idle\",\"server\":\"%s\",\"connections\":%" PRIu32
                  ",\"groups\":%" PRIu32 ",\"user_bytes\":%.0f,\"kernel_bytes\":%.0f,"
                  "\"connects_per_s\":%.0f,\"server_us_per_connect\":%.1f,"
                  "\"heartbeats\":%" PRIu64 ",\"answered\":%" PRIu64 ",\"errors\":%" PRIu64 "}\n"
                : "%s: %" PRIu32 " idle connections, users in %" PRIu32
                  " groups: %.0f bytes of the server each, %.0f of the kernel (both ends and "
                  "the\nload tool's); %.0f connects/s, %.1f us of the server each; %" PRIu64
                  " heartbeats, %" PRIu64 " answered; %" PRIu64 " errors\n",
        what, n, o->groups, user, kernel, n / r->connect_s, r->server_cpu_s * 1e6 / n, r->beats,
        r->answered, r->errors);
}

enum confab_err run_idle(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct plan plan;
    struct idle_result ours = {0};
    struct idle_result bare = {0};
    plan_init(&plan, o, 0, 0);
    plan.nclients = o->users;
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port, .server = server};
    enum confab_err err = world_groups(w);
    err = err ? err : idle_measure(&t, &ours);
    if (!err) {
        idle_report(o, "confabd", plan.nclients, &ours);
        err = ours.errors ? CONFAB_CORRUPT : CONFAB_OK;
    }
    if (!err && o->floor) {
        struct traffic floor = {.opt = o, .plan = &plan, .frame = FRAME_BYTES};
        err = floor_start(&floor);
        err = err ? err : idle_measure(&floor, &bare);
        floor_end(&floor);
        if (!err) {
            idle_report(o, "floor", plan.nclients, &bare);
        }
    }
    plan_free(&plan);
    return err;
}
