/*
 * What is sent when, and the loop that does it. The channel: one group of everybody, the file's
 * messages in its order, message k + 1 when k is acknowledged (or `window` of them under way). The
 * mixed day: the file's texts, each in a conversation and by a device drawn at random, while
 * devices go and come.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "child.h"
#include "replay.h"

#define EVENTS_MAX   256
#define KILL_JITTER  6U /* turns of the loop */
#define AWAY_MS_MAX  500U
#define DRAWS_MAX    64
#define CALM_POLL_NS 5000000
#define ENOUGH_NS    10000000U
#define NS_PER_MS    1000000U
#define NS_PER_S     1000000000U
/* A share of 1,000 of the mixed day's messages that go to groups. */
#define TO_GROUPS 400U

/* ---- Preparing ---- */

static enum confab_err sessions_make(struct replay *r, uint32_t devices_max)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->npeople; i++) {
        r->people[i].first_session = n;
        r->people[i].nsessions =
            1 + (devices_max > 1 ? (uint32_t)random_below(&r->random.base, devices_max) : 0);
        n += r->people[i].nsessions;
    }
    r->sessions = calloc(n, sizeof(*r->sessions));
    if (!r->sessions) {
        return CONFAB_NOMEM;
    }
    r->nsessions = n;
    for (uint32_t i = 0; i < r->npeople; i++) {
        for (uint32_t k = 0; k < r->people[i].nsessions; k++) {
            struct session *s = &r->sessions[r->people[i].first_session + k];
            session_init(r, r->people[i].first_session + k, i);
            if (k > 0) {
                enum confab_err err = setup_device(r, i, &s->own_token);
                if (err != CONFAB_OK) {
                    return err;
                }
                s->token = s->own_token;
            }
        }
    }
    return CONFAB_OK;
}

static enum confab_err messages_make(struct replay *r)
{
    r->nmessages = r->input.nmessages;
    r->messages = calloc(r->nmessages, sizeof(*r->messages));
    if (!r->messages) {
        return CONFAB_NOMEM;
    }
    for (uint32_t i = 0; i < r->nmessages; i++) {
        r->messages[i] = (struct message){.text = r->input.messages[i].text,
                                          .person = r->input.messages[i].person};
    }
    return CONFAB_OK;
}

enum confab_err play_channel_prepare(struct replay *r)
{
    struct conv *group;
    uint32_t *members = calloc(r->npeople, sizeof(*members));
    enum confab_err err = members ? messages_make(r) : CONFAB_NOMEM;
    if (err == CONFAB_OK) {
        for (uint32_t i = 1; i < r->npeople; i++) {
            members[i - 1] = i;
        }
        err = setup_group(r, 0, members, r->npeople - 1, &group);
    }
    if (err == CONFAB_OK) {
        for (uint32_t i = 0; i < r->nmessages; i++) {
            r->messages[i].conv = group;
        }
        err = sessions_make(r, r->opt.devices);
    }
    free(members);
    return err;
}

/* Group sizes: many small ones, few large. */
static uint32_t group_size(struct replay *r)
{
    uint32_t most = (uint32_t)MIN(r->npeople - 1, 100U);
    uint32_t a = 2 + (uint32_t)random_below(&r->random.base, most);
    uint32_t b = 2 + (uint32_t)random_below(&r->random.base, most);
    return MIN(MIN(a, b), most);
}

static enum confab_err mixed_group(struct replay *r)
{
    uint32_t members[128];
    uint32_t n = group_size(r);
    uint32_t owner = (uint32_t)random_below(&r->random.base, r->npeople);
    uint32_t first = (uint32_t)random_below(&r->random.base, r->npeople);
    uint32_t step = 1 + (uint32_t)random_below(&r->random.base, MAX(1U, r->npeople / (n + 1)));
    uint32_t have = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t person = (first + i * step) % r->npeople;
        bool known = person == owner;
        for (uint32_t k = 0; k < have && !known; k++) {
            known = members[k] == person;
        }
        if (!known) {
            members[have++] = person;
        }
    }
    struct conv *c;
    return setup_group(r, owner, members, have, &c);
}

enum confab_err play_mixed_prepare(struct replay *r)
{
    enum confab_err err = r->npeople < 3 ? CONFAB_INVALID : messages_make(r);
    for (uint32_t i = 0; i < r->opt.groups && err == CONFAB_OK; i++) {
        err = mixed_group(r);
    }
    uint64_t pairs = (uint64_t)r->npeople * (r->npeople - 1) / 2;
    uint32_t wanted = (uint32_t)MIN((uint64_t)r->opt.directs, pairs / 2);
    for (uint32_t made = 0; made < wanted && err == CONFAB_OK;) {
        uint32_t a = (uint32_t)random_below(&r->random.base, r->npeople);
        uint32_t b = (uint32_t)random_below(&r->random.base, r->npeople);
        struct conv_id id = conv_id_direct(r->people[a].user_id, r->people[b].user_id);
        if (a != b && !conv_find(r, id)) {
            struct conv *c = conv_add(r, id);
            c->peers[0] = a;
            c->peers[1] = b;
            made++;
        }
    }
    r->mixed_convs = r->nconvs;
    return err == CONFAB_OK ? sessions_make(r, r->opt.devices) : err;
}

/* ---- Sending ---- */

static struct session *ready_session(struct replay *r, uint32_t person)
{
    const struct person *p = &r->people[person];
    uint32_t first = (uint32_t)random_below(&r->random.base, p->nsessions);
    for (uint32_t i = 0; i < p->nsessions; i++) {
        struct session *s = &r->sessions[p->first_session + (first + i) % p->nsessions];
        if (s->state == SESSION_READY && !s->refused) {
            return s;
        }
    }
    return NULL;
}

static bool lag_allows(const struct replay *r)
{
    if (r->opt.lag == 0) {
        return true;
    }
    for (uint32_t i = 0; i < r->nsessions; i++) {
        const struct session *s = &r->sessions[i];
        for (uint32_t k = 0; k < s->ncursors && s->state == SESSION_READY; k++) {
            if (s->cursors[k].next + r->opt.lag <= s->cursors[k].conv->head) {
                return false;
            }
        }
    }
    return true;
}

static void send_now(struct replay *r, struct session *s)
{
    session_send(s, r->next, true);
    r->next++;
}

static bool channel_send(struct replay *r)
{
    struct session *s = ready_session(r, r->messages[r->next].person);
    if (!s || !lag_allows(r)) {
        return false;
    }
    send_now(r, s);
    return true;
}

static void device_goes_or_comes(struct replay *r)
{
    struct session *s = &r->sessions[random_below(&r->random.base, r->nsessions)];
    if (s->state == SESSION_READY) {
        session_drop(s);
        r->n.drops++;
        s->wanted = true; /* and comes back after a while */
        s->attempts = 1;
        wheel_set(&r->wheel, &s->timer,
                  r->now_ns / NS_PER_MS + 1 + random_below(&r->random.base, AWAY_MS_MAX));
    }
}

static bool mixed_send(struct replay *r)
{
    struct message *m = &r->messages[r->next];
    uint32_t groups = MIN(r->opt.groups, r->mixed_convs);
    for (int i = 0; i < DRAWS_MAX; i++) {
        bool to_group = groups > 0 && (random_below(&r->random.base, 1000) < TO_GROUPS ||
                                       groups == r->mixed_convs);
        struct conv *c =
            r->convs[to_group ? random_below(&r->random.base, groups)
                              : groups + random_below(&r->random.base, r->mixed_convs - groups)];
        uint32_t who = (uint32_t)random_below(&r->random.base, to_group ? c->nmembers : 2);
        uint32_t person = to_group ? c->members[who] : c->peers[who];
        struct session *s = ready_session(r, person);
        if (s && s->ninflight < 32) {
            m->conv = c;
            m->person = person;
            send_now(r, s);
            if (random_below(&r->random.base, 1000) < r->opt.churn) {
                device_goes_or_comes(r);
            }
            return true;
        }
    }
    return false;
}

static void pump(struct replay *r)
{
    while (r->next < r->nmessages && r->inflight < r->opt.window) {
        if (!(r->opt.mixed ? mixed_send(r) : channel_send(r))) {
            return;
        }
    }
}

/* ---- Killing ---- */

/* Moments are drawn in messages and turns, not in time: a quick run is hit as often as a slow one.
 */
struct killing {
    uint64_t after;      /* kill when so many are acknowledged */
    uint64_t turns_left; /* and so many turns of the loop later */
};

static void kill_plan(struct replay *r, struct killing *k)
{
    uint64_t every = r->opt.kill_every;
    k->after = r->n.acked + every / 2 + random_below(&r->random.base, every + 1);
    k->turns_left = random_below(&r->random.base, KILL_JITTER);
}

static enum confab_err kill_when_due(struct replay *r, struct killing *k)
{
    if (r->opt.kill_every == 0 || r->next >= r->nmessages) {
        return CONFAB_OK;
    }
    if (r->n.acked < k->after) {
        return CONFAB_OK;
    }
    if (k->turns_left > 0) {
        k->turns_left--;
        return CONFAB_OK;
    }
    uint64_t began = clock_mono_ns(clock_system());
    child_kill(r->server_pid);
    r->server_pid = 0;
    r->n.kills++;
    enum confab_err err = child_start(r->opt.server_cmd, r->opt.port, &r->server_pid);
    r->down_ms += (clock_mono_ns(clock_system()) - began) / NS_PER_MS;
    kill_plan(r, k);
    return err;
}

/* ---- Being killed by others ---- */

static void breaks_begin(const struct replay *r)
{
    FILE *f = r->opt.breaks ? fopen(r->opt.breaks, "wxe") : NULL;
    if (r->opt.breaks && (!f || fclose(f) != 0)) {
        replay_die(r->opt.breaks);
    }
}

/* Whoever kills has killed enough: nothing more is sent. Looked for now and then. */
static void breaks_look(struct replay *r, uint64_t *look_ns)
{
    char enough[4096];
    if (!r->opt.breaks || r->now_ns < *look_ns) {
        return;
    }
    *look_ns = r->now_ns + ENOUGH_NS;
    (void)snprintf(enough, sizeof(enough), "%s.enough", r->opt.breaks);
    if (access(enough, F_OK) == 0) {
        r->nmessages = r->next;
        *look_ns = UINT64_MAX;
    }
}

/* What comes now is read without anybody killing the server. */
static enum confab_err breaks_end(const struct replay *r)
{
    char calm[4096];
    if (!r->opt.breaks) {
        return CONFAB_OK;
    }
    (void)snprintf(calm, sizeof(calm), "%s.calm", r->opt.breaks);
    if (unlink(r->opt.breaks) != 0) {
        replay_die(r->opt.breaks);
    }
    uint64_t deadline = clock_mono_ns(clock_system()) + (uint64_t)r->opt.stall_s * NS_PER_S;
    while (access(calm, F_OK) != 0) {
        const struct timespec pause = {.tv_nsec = CALM_POLL_NS};
        if (clock_mono_ns(clock_system()) > deadline) {
            return CONFAB_TIMEOUT;
        }
        (void)nanosleep(&pause, NULL);
    }
    return CONFAB_OK;
}

/* ---- The loop ---- */

static void on_due(void *arg, struct wheel_timer *timer)
{
    /* Which of the two timers of a session it is, its address tells. */
    struct replay *r = arg;
    uintptr_t offset = (uintptr_t)timer - (uintptr_t)r->sessions;
    if (offset % sizeof(struct session) == offsetof(struct session, timer)) {
        session_on_timer(CONTAINER_OF(timer, struct session, timer));
    } else {
        session_on_ack_timer(CONTAINER_OF(timer, struct session, ack_timer));
    }
}

static int wait_ms(struct replay *r)
{
    uint64_t now = r->now_ns / NS_PER_MS;
    uint64_t next = wheel_next_ms(&r->wheel);
    if (next <= now) {
        return 0;
    }
    return (int)MIN(next - now, (uint64_t)200);
}

static void turn(struct replay *r)
{
    struct epoll_event events[EVENTS_MAX];
    int n = epoll_wait(r->epoll_fd, events, EVENTS_MAX, wait_ms(r));
    for (int i = 0; i < n; i++) {
        r->now_ns = clock_mono_ns(clock_system());
        session_on_event(events[i].data.ptr, events[i].events);
        /* Between sessions: what was acknowledged makes room for the next. */
        pump(r);
    }
    r->now_ns = clock_mono_ns(clock_system());
    (void)wheel_advance(&r->wheel, r->now_ns / NS_PER_MS, UINT32_MAX, on_due, r);
}

static bool all_complete(const struct replay *r)
{
    if (r->next < r->nmessages || r->n.acked < r->next) {
        return false;
    }
    for (uint32_t i = 0; i < r->nsessions; i++) {
        if (!session_is_complete(&r->sessions[i])) {
            return false;
        }
    }
    return true;
}

static void tell_stall(struct replay *r)
{
    uint32_t behind = 0;
    for (uint32_t i = 0; i < r->nsessions; i++) {
        behind += !session_is_complete(&r->sessions[i]);
    }
    replay_error(r,
                 "no progress for %u s: %u of %u sent, %" PRIu64 " acknowledged, %u of %u "
                 "sessions ready, %u not complete",
                 r->opt.stall_s, r->next, r->nmessages, r->n.acked, r->nready, r->nsessions,
                 behind);
    uint32_t told = 0;
    for (uint32_t i = 0; i < r->nsessions && told < 5; i++) {
        const struct session *s = &r->sessions[i];
        if (!session_is_complete(s)) {
            told++;
            (void)fprintf(stderr, "  session %u: state %d, %u in flight", i, s->state,
                          s->ninflight);
            for (uint32_t k = 0; k < s->ncursors; k++) {
                if (s->cursors[k].next <= s->cursors[k].conv->head) {
                    (void)fprintf(stderr, ", at %u of %u", s->cursors[k].next - 1,
                                  s->cursors[k].conv->head);
                }
            }
            (void)fprintf(stderr, "\n");
        }
    }
}

static uint64_t progress_of(const struct replay *r)
{
    return r->n.acked + r->n.deliveries + r->n.kills + r->nready;
}

static enum confab_err connect_all(struct replay *r)
{
    uint64_t deadline = r->now_ns + (uint64_t)r->opt.stall_s * NS_PER_S;
    for (uint32_t i = 0; i < r->nsessions; i++) {
        session_connect(&r->sessions[i]);
        /* A listener's queue is bounded: some at a time. */
        while (i + 1 - r->nready > 256 && r->now_ns < deadline) {
            turn(r);
        }
    }
    while (r->nready < r->nsessions && r->now_ns < deadline) {
        turn(r);
    }
    if (r->nready < r->nsessions) {
        replay_error(r, "%u of %u sessions did not get ready", r->nsessions - r->nready,
                     r->nsessions);
        return CONFAB_TIMEOUT;
    }
    return CONFAB_OK;
}

enum confab_err play_all(struct replay *r)
{
    struct killing k = {UINT64_MAX, 0};
    uint32_t messages = r->nmessages;
    r->nmessages = 0; /* nothing is sent before everybody is there */
    enum confab_err err = connect_all(r);
    r->nmessages = messages;
    if (err != CONFAB_OK) {
        return err;
    }
    if (r->opt.kill_every > 0) {
        kill_plan(r, &k);
    }
    breaks_begin(r);
    r->started_ns = r->now_ns = clock_mono_ns(clock_system());
    uint64_t progress = progress_of(r);
    uint64_t progress_ns = r->now_ns;
    uint64_t look_ns = 0;
    while (!all_complete(r)) {
        pump(r);
        turn(r);
        breaks_look(r, &look_ns);
        err = kill_when_due(r, &k);
        if (err != CONFAB_OK) {
            return err;
        }
        if (progress_of(r) != progress) {
            progress = progress_of(r);
            progress_ns = r->now_ns;
        } else if (r->now_ns - progress_ns > (uint64_t)r->opt.stall_s * NS_PER_S) {
            tell_stall(r);
            return CONFAB_TIMEOUT;
        }
        if (r->n.errors > 1000) {
            return CONFAB_INVALID;
        }
    }
    r->ended_ns = clock_mono_ns(clock_system());
    return breaks_end(r);
}
