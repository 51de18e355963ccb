/*
 * A user who was away and comes back: what was missed, by resume and, where that was limited, by
 * history, until everything is here. One client, which asks for the next page of one conversation
 * while it reads that of another: opt->lanes connections take turns.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"
#include "proto/json.h"
#include "scan.h"
#include "worker.h"

#define TIMEOUT_S  60
#define SETTLE_MAX 6000

struct returning {
    struct world *world;
    uint16_t port;
    int fd;
    struct buf in;
    struct buf out;
    char since[SINCE_MAX + 1];
    uint64_t by_resume; /* messages */
    uint64_t by_history;
    uint64_t requests;
    /* Conversations that were limited, with the first seq that the page had. */
    struct {
        char id[ID_CONV_TEXT + 1];
        uint64_t from;
    } * gaps;
    uint32_t ngaps;
    uint32_t cap;
};

static enum confab_err receive(struct returning *r)
{
    if (!buf_reserve(&r->in, READ_BYTES)) {
        return CONFAB_NOMEM;
    }
    ssize_t n = recv(r->fd, r->in.data + r->in.len, r->in.cap - r->in.len, 0);
    if (n <= 0) {
        (void)fprintf(stderr, "confab-bench: the returning user: %s\n",
                      n == 0 ? "closed by the server" : strerror(errno));
        return CONFAB_NET;
    }
    r->in.len += (size_t)n;
    return CONFAB_OK;
}

static enum confab_err put(struct returning *r)
{
    size_t at = 0;
    while (at < r->out.len) {
        ssize_t n = send(r->fd, r->out.data + at, r->out.len - at, MSG_NOSIGNAL);
        if (n <= 0) {
            return CONFAB_NET;
        }
        at += (size_t)n;
    }
    buf_clear(&r->out);
    return CONFAB_OK;
}

static enum confab_err upgrade(struct returning *r)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(r->port)};
    const struct timeval timeout = {.tv_sec = TIMEOUT_S};
    uint8_t nonce[16] = {0};
    char accept[WS_ACCEPT_TEXT];
    char protocols[TOKEN_BYTES + 32];
    in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (r->fd < 0 || connect(r->fd, (struct sockaddr *)&in, sizeof(in)) != 0) {
        return CONFAB_NET;
    }
    (void)setsockopt(r->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    (void)snprintf(protocols, sizeof(protocols), "confab.v1, token.%s", r->world->people[0].token);
    buf_clear(&r->in);
    ws_put_upgrade_request(&r->out, span_str("localhost"), span_str("/ws"), span_str(protocols),
                           false, nonce, accept);
    enum confab_err err = put(r);
    err = err ? err : receive(r);
    while (!err && !memmem(r->in.data, r->in.len, "\r\n\r\n", 4)) {
        err = receive(r);
    }
    if (!err) {
        const uint8_t *end = memmem(r->in.data, r->in.len, "\r\n\r\n", 4);
        buf_consume(&r->in, (size_t)(end - r->in.data) + 4);
    }
    return err;
}

/* The next text frame; it stays at the start of r->in until the next call, `io_used` bytes long. */
static enum confab_err next_frame(struct returning *r, size_t *io_used, struct span *ret)
{
    struct ws_decoder d;
    struct ws_frame f;
    buf_consume(&r->in, *io_used);
    *io_used = 0;
    for (;;) {
        ws_decoder_init(&d, WS_CLIENT, 64U << 20);
        enum ws_result result = ws_decode(&d, r->in.data, r->in.len, &f);
        if (result == WS_FRAME && f.opcode == WS_TEXT) {
            *ret = span_of(f.payload, f.len);
            *io_used = f.consumed;
            return CONFAB_OK;
        }
        if (result == WS_FRAME && f.opcode != WS_CLOSE) {
            buf_consume(&r->in, f.consumed);
            continue;
        }
        enum confab_err err = result == WS_MORE ? receive(r) : CONFAB_NET;
        if (err) {
            return err;
        }
    }
}

/* One row: what it tells of messages, and from where on when that is not all. */
static void take_row(struct returning *r, struct json *j)
{
    struct span key;
    struct mark mark;
    struct span events = span_of("", 0);
    struct conv_id conv = {0};
    uint64_t from = 0;
    bool limited = false;
    json_object_begin(j);
    while (json_object_next(j, &key)) {
        if (span_is(key, "conversation_id")) {
            json_conv_id(j, &conv);
        } else if (span_is(key, "limited")) {
            json_bool(j, &limited);
        } else if (span_is(key, "events")) {
            json_raw(j, &events);
        } else if (span_is(key, "covered")) {
            uint64_t to = 0;
            json_array_begin(j);
            for (int i = 0; json_array_next(j); i++) {
                json_u64(j, i == 0 ? &from : &to);
            }
        } else {
            json_skip(j);
        }
    }
    for (size_t at = 0; mark_next(events, &at, &mark);) {
        r->by_resume++;
    }
    if (!limited) {
        return;
    }
    if (r->ngaps == r->cap) {
        r->cap = r->cap ? 2 * r->cap : 64;
        r->gaps = realloc(r->gaps, r->cap * sizeof(*r->gaps));
        if (!r->gaps) {
            bench_die("out of memory");
        }
    }
    conv_id_text(conv, r->gaps[r->ngaps].id);
    r->gaps[r->ngaps].id[ID_CONV_TEXT] = 0;
    r->gaps[r->ngaps++].from = from;
}

static enum confab_err take_page(struct returning *r, struct span page)
{
    struct json j;
    struct span key;
    json_init(&j, page, NULL);
    json_object_begin(&j);
    while (json_object_next(&j, &key)) {
        if (!span_is(key, "conversations")) {
            json_skip(&j);
            continue;
        }
        json_array_begin(&j);
        while (json_array_next(&j)) {
            take_row(r, &j);
        }
    }
    if (!json_end(&j)) {
        (void)fprintf(stderr, "confab-bench: a page that is no JSON: %.*s\n",
                      (int)MIN(page.n, 300U), (const char *)page.p);
        return CONFAB_NET;
    }
    return CONFAB_OK;
}

static enum confab_err resume(struct returning *r)
{
    size_t used = 0;
    struct span frame;
    struct scanner scanner = {0};
    struct buf text = {0};
    enum confab_err err = upgrade(r);
    buf_printf(&text,
               r->since[0] ? "{\"event\":\"resume\",\"since\":\"%s\"}" : "{\"event\":\"resume\"}",
               r->since);
    ws_put_frame(&r->out, WS_TEXT, span_of(text.data, text.len), (const uint8_t[4]){0});
    buf_deinit(&text);
    err = err ? err : put(r);
    while (!err) {
        err = next_frame(r, &used, &frame);
        enum scan_event event = err ? SCAN_OTHER : scan_event(&scanner, frame);
        if (event == SCAN_CONVERSATIONS) {
            err = take_page(r, frame);
        } else if (event == SCAN_CAUGHT_UP) {
            struct span since = scan_string(&scanner, frame, SCAN_SINCE);
            (void)snprintf(r->since, sizeof(r->since), "%.*s", (int)MIN(since.n, SINCE_MAX),
                           (const char *)since.p);
            break;
        }
    }
    return err;
}

/* One conversation at a time, newest first, down to its start: all of it was missed. */
struct lane {
    struct rest rest;
    const char *conv; /* NULL: nothing is under way */
    uint64_t before;
};

static enum confab_err lane_ask(struct returning *r, struct lane *l)
{
    char path[192];
    (void)snprintf(path, sizeof(path),
                   "/api/v1/conversations/%s/messages?before=%" PRIu64 "&limit=%u&aliases=false",
                   l->conv, l->before, r->world->opt->page);
    return rest_ask(&l->rest, "GET", path, r->world->people[0].token);
}

/* The lane's conversation is NULL when that was the last page of it. */
static enum confab_err lane_take(struct returning *r, struct lane *l)
{
    struct mark mark;
    enum confab_err err = rest_answer(&l->rest);
    if (err || l->rest.status != 200) {
        (void)fprintf(stderr, "confab-bench: history of %s: %d\n", l->conv, l->rest.status);
        return CONFAB_NET;
    }
    struct span body = span_of(l->rest.body.data, l->rest.body.len);
    for (size_t at = 0; mark_next(body, &at, &mark);) {
        /* With all names the text comes three times. */
        r->by_history += memcmp(body.p + at - MARK_BYTES - 11, "\"content\":\"", 11) == 0;
    }
    r->requests++;
    const uint8_t *covered = memrchr(body.p, '[', body.n);
    uint64_t from = covered ? strtoull((const char *)covered + 1, NULL, 10) : 0;
    if (from <= 1 || from >= l->before) {
        l->conv = NULL;
        return CONFAB_OK;
    }
    l->before = from;
    return lane_ask(r, l);
}

static enum confab_err fill_gaps(struct returning *r)
{
    uint32_t n = r->world->opt->lanes;
    struct lane *lanes = bench_alloc(n * sizeof(*lanes));
    uint32_t next = 0;
    uint32_t busy = 0;
    enum confab_err err = CONFAB_OK;
    for (uint32_t i = 0; i < n; i++) {
        rest_init(&lanes[i].rest, r->port);
    }
    do {
        for (uint32_t i = 0; i < n && !err; i++) {
            struct lane *l = &lanes[i];
            if (l->conv) {
                err = lane_take(r, l);
                busy -= l->conv == NULL;
            }
            if (!l->conv && next < r->ngaps && !err) {
                l->conv = r->gaps[next].id;
                l->before = r->gaps[next++].from;
                busy++;
                err = lane_ask(r, l);
            }
        }
    } while (busy > 0 && !err);
    for (uint32_t i = 0; i < n; i++) {
        rest_deinit(&lanes[i].rest);
    }
    free(lanes);
    return err;
}

static enum confab_err come_back(struct returning *r)
{
    enum confab_err err = resume(r);
    return err ? err : fill_gaps(r);
}

/* Everybody but person 0 writes to person 0. */
static enum confab_err leave_messages(struct world *w, const struct options *o, uint16_t port)
{
    struct target to = {.expect = 0};
    struct sender *senders = bench_alloc(o->senders * sizeof(*senders));
    char id[ID_NUM_TEXT];
    size_t n = id_text(w->people[0].user_id, id);
    (void)snprintf(to.to, sizeof(to.to), "\"to\":\"%.*s\"", (int)n, id);
    for (uint32_t i = 0; i < o->senders; i++) {
        senders[i] = (struct sender){.client = i, .first = 0, .n = 1, .partner = NONE};
    }
    struct plan plan = {.first_person = 1,
                        .nclients = o->senders,
                        .targets = &to,
                        .ntargets = 1,
                        .senders = senders,
                        .nsenders = o->senders,
                        .window = o->window,
                        .limit = o->messages / o->senders};
    struct traffic t = {.opt = o, .world = w, .plan = &plan, .port = port};
    texts_make(&t);
    enum confab_err err = traffic_start(&t);
    err = err ? err : traffic_fill(&t);
    traffic_stop(&t);
    texts_free(&t);
    free(senders);
    return err;
}

enum confab_err run_backlog(struct world *w, const struct options *o, uint16_t port, pid_t server)
{
    struct returning r = {.world = w, .port = port, .fd = -1};
    uint64_t left = (uint64_t)(o->messages / o->senders) * o->senders;
    enum confab_err err = resume(&r);
    if (r.fd >= 0) {
        (void)close(r.fd);
    }
    err = err ? err : leave_messages(w, o, port);
    /* The list of conversations learns of new ones a moment after their first messages. */
    for (int i = 0; !err && i < SETTLE_MAX && world_metric(w, "confab_followups_pending") > 0;
         i++) {
        pause_ms(5);
    }
    r.by_resume = 0;
    double cpu = server ? (double)child_cpu_ms(server) / 1e3 : 0;
    uint64_t began = now_ns();
    err = err ? err : come_back(&r);
    double seconds = (double)(now_ns() - began) / 1e9;
    cpu = server ? (double)child_cpu_ms(server) / 1e3 - cpu : 0;
    if (!err) {
        uint64_t got = r.by_resume + r.by_history;
        (void)printf(
            o->json ? "{\"scenario\":\"backlog\",\"conversations\":%" PRIu32
                      ",\"messages\":%" PRIu64 ",\"by_resume\":%" PRIu64 ",\"by_history\":%" PRIu64
                      ",\"requests\":%" PRIu64
                      ",\"seconds\":%.4f,\"messages_per_s\":%.0f,\"server_us_per_message\":%.2f}\n"
                    : "backlog: %" PRIu32 " conversations, %" PRIu64 " messages missed: %" PRIu64
                      " by resume, %" PRIu64 " by history in %" PRIu64
                      " requests, %.3f s: %.0f messages/s, %.2f us of the server each\n",
            o->senders, left, r.by_resume, r.by_history, r.requests, seconds, (double)got / seconds,
            got ? cpu * 1e6 / (double)got : 0);
        if (got != left) {
            (void)fprintf(stderr, "confab-bench: %" PRIu64 " of %" PRIu64 " messages came\n", got,
                          left);
            err = CONFAB_CORRUPT;
        }
    }
    if (r.fd >= 0) {
        (void)close(r.fd);
    }
    buf_deinit(&r.in);
    buf_deinit(&r.out);
    free(r.gaps);
    return err;
}
