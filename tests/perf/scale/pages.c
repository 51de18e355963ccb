/*
 * What a client waits for a page of history, and for a server that was killed. Each round:
 *
 *      with --kill-ms: load runs on the data and is killed, so that a log waits to be folded
 *      the page cache is dropped; the server is started ─► ready
 *      pages of conversations that were chosen at random, each asked for the first time: cold
 *      (the cache has lost the store's files again before each of them; only those, since without
 *      its own programs the machine would be busy with getting them back)
 *      the same pages again: warm
 *      the server is killed
 *
 * Times are a client's, on one connection over the loopback, the request under way alone. What the
 * server itself counted of them is told beside.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "child.h"
#include "drive.h"
#include "hist.h"
#include "proto/jwt.h"
#include "rest.h"

#define TOKEN_LIFE_S 3600U
#define OWN_DEVICE   (UINT64_C(1) << 62) /* no server gives it out */

struct pages {
    const struct options *o;
    struct rest rest;
    struct jwt_keys keys;
    uint64_t x; /* state of what is drawn */
    bool dropped;
    struct hist ready;
    struct hist first;
    struct hist cold;
    struct hist warm;
};

static uint64_t draw(struct pages *p)
{
    p->x = p->x * 6364136223846793005U + 1442695040888963407U;
    return p->x >> 33;
}

static void drop_caches(struct pages *p)
{
    sync();
    int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    p->dropped = fd >= 0 && write(fd, "3", 1) == 1;
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void forget_file(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        (void)close(fd);
    }
}

/* The store's files leave the page cache. */
static void forget_store(const struct pages *p)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/store", p->o->rig.data);
    DIR *dir = opendir(path);
    CHECK(dir);
    for (const struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        forget_file(dirfd(dir), e->d_name);
    }
    (void)closedir(dir);
}

static void read_key(struct pages *p)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/keys/token.key", p->o->rig.data);
    FILE *f = fopen(path, "rb");
    if (!f || fread(p->keys.key[0], 1, JWT_KEY_BYTES, f) != JWT_KEY_BYTES) {
        (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    (void)fclose(f);
    p->keys.n = 1;
}

/* The newest messages of the nth conversation, as one of the two; nanoseconds. */
static uint64_t page(struct pages *p, uint64_t conv)
{
    char token[JWT_TEXT_MAX + 1];
    char id[ID_CONV_TEXT + 1] = "";
    char path[160];
    char want[64];
    uint64_t u[2];
    uint64_t now_s = clock_wall_ms(clock_system()) / 1000;
    model_users(conv, p->o->users, u);
    const struct jwt_claims claims = {
        .user = u[0], .device = OWN_DEVICE, .issued_s = now_s, .expires_s = now_s + TOKEN_LIFE_S};
    (void)jwt_make(&p->keys, &claims, token);
    conv_id_text(model_conv(conv, p->o->users), id);
    (void)snprintf(path, sizeof(path), "/api/v1/conversations/%s/messages?limit=%" PRIu64, id,
                   p->o->page);
    uint64_t began = clock_mono_ns(clock_system());
    enum confab_err err = rest_call(&p->rest, "GET", path, token, NULL);
    uint64_t took = clock_mono_ns(clock_system()) - began;
    /* It is that page: messages begin with their conversation and number. */
    (void)snprintf(want, sizeof(want), "\"content\":\"%" PRIu64 "/%" PRIu64, conv, p->o->messages);
    if (err || p->rest.status != 200 ||
        (p->o->kill_ms == 0 && !memmem(p->rest.body.data, p->rest.body.len, want, strlen(want)))) {
        (void)fprintf(stderr, "%s: %d %.*s\n", path, p->rest.status,
                      (int)MIN(p->rest.body.len, 200U), (const char *)p->rest.body.data);
        exit(1);
    }
    return took;
}

/* Sum and count of a histogram among the server's metrics. */
static void metric(struct pages *p, const char *name, double *ret)
{
    if (rest_call(&p->rest, "GET", "/metrics", NULL, NULL) != CONFAB_OK || p->rest.status != 200) {
        (void)fprintf(stderr, "no metrics\n");
        exit(1);
    }
    buf_put_u8(&p->rest.body, 0);
    const char *at = strstr((const char *)p->rest.body.data, name);
    *ret = at ? strtod(at + strlen(name), NULL) : 0;
}

static double server_seconds(struct pages *p, double *ret_count)
{
    double sum = 0;
    metric(p, "\nconfab_http_request_seconds_sum", &sum);
    metric(p, "\nconfab_http_request_seconds_count", ret_count);
    return sum;
}

static pid_t start(struct pages *p, uint64_t *ret_ns)
{
    pid_t pid = 0;
    uint64_t began = clock_mono_ns(clock_system());
    if (child_start(p->o->server_cmd, (uint16_t)p->o->port, &pid) != CONFAB_OK) {
        exit(1);
    }
    *ret_ns = clock_mono_ns(clock_system()) - began;
    hist_add(&p->ready, *ret_ns);
    return pid;
}

static void print(const char *what, const struct hist *h)
{
    printf("%s: %" PRIu64 " times, median %.3f ms, 99 %% %.3f, longest %.3f\n", what, h->count,
           (double)hist_quantile(h, 0.5) / 1e6, (double)hist_quantile(h, 0.99) / 1e6,
           (double)h->max / 1e6);
}

static void round_of(struct pages *p, uint64_t n, char **argv)
{
    uint64_t *convs = calloc(p->o->pages, sizeof(*convs));
    double count[2];
    double seconds[2];
    CHECK(convs);
    if (p->o->kill_ms > 0) {
        drive_kill(p->o, p->o->kill_ms + draw(p) % (3 * p->o->kill_ms), argv);
    }
    drop_caches(p);
    uint64_t ready = 0;
    pid_t pid = start(p, &ready);
    if (p->keys.n == 0) {
        read_key(p);
    }
    for (uint64_t i = 0; i < p->o->pages; i++) {
        convs[i] = draw(p) % p->o->conversations;
        forget_store(p);
        hist_add(i == 0 ? &p->first : &p->cold, page(p, convs[i]));
    }
    seconds[0] = server_seconds(p, &count[0]);
    for (uint64_t i = 0; i < p->o->pages; i++) {
        hist_add(&p->warm, page(p, convs[i]));
    }
    seconds[1] = server_seconds(p, &count[1]);
    printf("round %" PRIu64 ": ready after %.0f ms; the server itself counted %.3f ms a "
           "cold request, %.3f ms a warm one\n",
           n + 1, (double)ready / 1e6, seconds[0] * 1e3 / count[0],
           (seconds[1] - seconds[0]) * 1e3 / (count[1] - count[0]));
    (void)fflush(stdout);
    rest_deinit(&p->rest);
    rest_init(&p->rest, (uint16_t)p->o->port);
    child_kill(pid);
    free(convs);
}

void drive_pages(const struct options *o, char **argv)
{
    struct pages *p = calloc(1, sizeof(*p));
    CHECK(p);
    p->o = o;
    p->x = o->seed * 2 + 1;
    rest_init(&p->rest, (uint16_t)o->port);
    for (uint64_t i = 0; i < o->rounds; i++) {
        round_of(p, i, argv);
    }
    printf("%s", p->dropped ? "" : "The page cache could not be dropped: cold is not cold.\n");
    print("ready", &p->ready);
    print("the first page after the start", &p->first);
    print("cold pages", &p->cold);
    print("warm pages", &p->warm);
    rest_deinit(&p->rest);
    free(p);
}
