/*
 * Cost of presence: heartbeats and timers of sessions on a wheel, as connections have them, and the
 * merging of transitions at the homes. Prints nanoseconds and bytes a user; run it under callgrind
 * for instructions. Usage: bench_presence [users] [seconds of heartbeats]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/check.h"
#include "base/wheel.h"
#include "core/presence.h"

#define HEARTBEAT_S 30U

/* What a connection has of it: when it was heard last, its timer, its seat. */
struct session {
    struct wheel_timer timer;
    struct presence_session ps;
    uint32_t seen_s;
};

struct bench {
    struct presence_config cfg;
    struct wheel wheel;
    uint64_t now_ms;
    uint64_t judged;
    uint64_t changed;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void arm(struct bench *b, struct session *s)
{
    uint32_t after;
    b->changed += presence_session_judge(&b->cfg, &s->ps, s->seen_s, true, b->now_ms, &after);
    b->judged++;
    wheel_set(&b->wheel, &s->timer, b->now_ms + after);
}

static void on_due(void *arg, struct wheel_timer *timer)
{
    arm(arg, CONTAINER_OF(timer, struct session, timer));
}

static void heartbeats(struct bench *b, struct session *all, uint64_t n, uint32_t seconds)
{
    uint64_t beats = 0;
    double began = now();
    for (uint32_t t = 0; t < seconds; t++) {
        b->now_ms += 1000;
        for (uint64_t i = t % HEARTBEAT_S; i < n; i += HEARTBEAT_S) {
            all[i].seen_s = (uint32_t)(b->now_ms / 1000);
            beats++;
        }
        (void)wheel_advance(&b->wheel, b->now_ms, UINT32_MAX, on_due, b);
    }
    double ns = now() - began;
    printf("heartbeats %" PRIu64 " ns_each %.1f per_s %.0f timers %" PRIu64 " changed %" PRIu64
           "\n",
           beats, ns / (double)beats, (double)beats / ns * 1e9, b->judged, b->changed);
}

static uint64_t drain(struct presence *p)
{
    struct presence_state st;
    uint64_t user;
    uint64_t n = 0;
    uint32_t at;
    while (presence_next_changed(p, &user, &st)) {
        n++;
    }
    while (presence_next_unsaved(p, &user, &at)) {
    }
    return n;
}

static void transitions(struct presence *p, uint64_t n, const char *what,
                        enum presence_status status, bool lingers, uint64_t now_ms)
{
    double began = now();
    for (uint64_t user = 1; user <= n; user++) {
        CHECK(presence_report(p, user, (uint16_t)(user % 4), status, lingers,
                              (uint32_t)(now_ms / 1000), now_ms) == CONFAB_OK);
    }
    do {
        presence_advance(p, now_ms + 20000, (uint32_t)(now_ms / 1000) + 20);
    } while (presence_next_ms(p) <= now_ms + 20000);
    uint64_t changed = drain(p);
    double ns = now() - began;
    printf("%s %" PRIu64 " ns_each %.0f per_s %.0f changed %" PRIu64 " bytes_a_user %.0f\n", what,
           n, ns / (double)n, (double)n / ns * 1e9, changed, (double)presence_bytes(p) / (double)n);
}

int main(int argc, char **argv)
{
    uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    uint32_t seconds = argc > 2 ? (uint32_t)strtoul(argv[2], NULL, 10) : 120;
    static struct bench b;
    struct presence *p;
    presence_config_defaults(&b.cfg);
    struct session *all = calloc(n, sizeof(*all));
    CHECK(all);
    wheel_init(&b.wheel, 10, b.now_ms);
    for (uint64_t i = 0; i < n; i++) {
        wheel_timer_init(&all[i].timer);
        presence_session_begin(&all[i].ps, b.now_ms);
        arm(&b, &all[i]);
    }
    b.judged = 0;
    heartbeats(&b, all, n, seconds);
    CHECK(presence_new(&b.cfg, 1, 0, &p) == CONFAB_OK);
    transitions(p, n, "online", PRESENCE_ONLINE, false, 1000);
    transitions(p, n, "away", PRESENCE_AWAY, false, 100000);
    transitions(p, n, "again", PRESENCE_AWAY, false, 200000);
    transitions(p, n, "offline", PRESENCE_OFFLINE, true, 300000);
    presence_free(p);
    free(all);
    return 0;
}
