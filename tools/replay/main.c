/* Options, the order of things, and the end of a run. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "child.h"
#include "replay.h"

#define RBUF_BYTES (256U << 10)
#define NS_PER_MS  1000000U

static const char USAGE[] =
    "usage: confab-replay [option...] FILE\n"
    "Plays FILE (lines of `unix time<tab>nick<tab>text`; - for standard input) against a server "
    "and\n"
    "checks that every member receives every message once, in the same order, and that history\n"
    "holds the same. Exit code 0: all is right; 1: something is not; 2: wrong usage.\n"
    "\n"
    "  --port N          the server's port on 127.0.0.1\n"
    "  --server-cmd CMD  starts the server with this command, which must serve on that port; "
    "without\n"
    "                    it the server runs already\n"
    "  --pid N           of a server that runs already, for its memory and CPU time\n"
    "  --limit N         plays the first N messages only\n"
    "  --members N       at least so many members: those who never write listen\n"
    "  --window N        messages under way at once [1]; with 1 the file's order is kept, with "
    "more\n"
    "                    each sender's\n"
    "  --lag N           sends only while nobody is N or more messages behind [0: always]\n"
    "  --devices N       devices of a person at most [1; mixed: 2]\n"
    "  --ack-ms N        between a session's acknowledgements [250]\n"
    "  --history N       members whose whole history is compared [2]\n"
    "  --kill-every N    kill -9 and restart of the server, about every N messages; needs "
    "--server-cmd\n"
    "  --batch           takes several events in one frame\n"
    "  --breaks FILE     the server dies and comes back by itself: somebody kills it while FILE is "
    "there.\n"
    "                    It is made when the first message goes out and removed when all have "
    "arrived;\n"
    "                    then the tool waits for FILE.calm. Nothing more is sent once FILE.enough "
    "is there\n"
    "  --seed N          of everything that is drawn [of the clock]\n"
    "  --stall-s N       gives up after N seconds without progress [60]\n"
    "  --mixed           a mixed day: direct conversations, groups, devices that come and go\n"
    "  --directs N       its direct conversations [10000]\n"
    "  --groups N        its groups [500]\n"
    "  --churn N         of 1,000 messages, how many a device's going follows [20]\n"
    "  --json            the report as JSON\n";

void replay_error(struct replay *r, const char *fmt, ...)
{
    if (r->n.errors++ >= ERRORS_TOLD) {
        return;
    }
    va_list args;
    va_start(args, fmt);
    (void)fputs("error: ", stderr);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
    va_end(args);
}

void replay_die(const char *what)
{
    (void)fprintf(stderr, "confab-replay: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *replay_realloc(void *p, size_t n)
{
    void *out = realloc(p, n);
    if (!out) {
        replay_die("out of memory");
    }
    return out;
}

enum {
    OPT_PORT = 256,
    OPT_SERVER,
    OPT_PID,
    OPT_LIMIT,
    OPT_MEMBERS,
    OPT_WINDOW,
    OPT_LAG,
    OPT_DEVICES,
    OPT_ACK,
    OPT_HISTORY,
    OPT_KILL,
    OPT_BREAKS,
    OPT_BATCH,
    OPT_SEED,
    OPT_STALL,
    OPT_MIXED,
    OPT_DIRECTS,
    OPT_GROUPS,
    OPT_CHURN,
    OPT_JSON,
    OPT_HELP
};

static const struct option LONG_OPTIONS[] = {
    {"port", required_argument, NULL, OPT_PORT},
    {"server-cmd", required_argument, NULL, OPT_SERVER},
    {"pid", required_argument, NULL, OPT_PID},
    {"limit", required_argument, NULL, OPT_LIMIT},
    {"members", required_argument, NULL, OPT_MEMBERS},
    {"window", required_argument, NULL, OPT_WINDOW},
    {"lag", required_argument, NULL, OPT_LAG},
    {"devices", required_argument, NULL, OPT_DEVICES},
    {"ack-ms", required_argument, NULL, OPT_ACK},
    {"history", required_argument, NULL, OPT_HISTORY},
    {"kill-every", required_argument, NULL, OPT_KILL},
    {"batch", no_argument, NULL, OPT_BATCH},
    {"breaks", required_argument, NULL, OPT_BREAKS},
    {"seed", required_argument, NULL, OPT_SEED},
    {"stall-s", required_argument, NULL, OPT_STALL},
    {"mixed", no_argument, NULL, OPT_MIXED},
    {"directs", required_argument, NULL, OPT_DIRECTS},
    {"groups", required_argument, NULL, OPT_GROUPS},
    {"churn", required_argument, NULL, OPT_CHURN},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
    {NULL, 0, NULL, 0},
};

/* A decimal number from min to max, or the end of the program. */
static uint64_t number(const char *text, uint64_t min, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long v = strtoull(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || v < min || v > max) {
        (void)fprintf(stderr, "confab-replay: %s is not a number from %" PRIu64 " to %" PRIu64 "\n",
                      text, min, max);
        exit(2);
    }
    return v;
}

static void options_read(struct options *o, int argc, char **argv)
{
    *o = (struct options){.window = 1,
                          .ack_ms = 250,
                          .history = 2,
                          .stall_s = 60,
                          .directs = 10000,
                          .groups = 500,
                          .churn = 20};
    o->seed = clock_wall_ms(clock_system());
    int c;
    while ((c = getopt_long(argc, argv, "", LONG_OPTIONS, NULL)) != -1) {
        switch (c) {
        case OPT_PORT:
            o->port = (uint16_t)number(optarg, 1, 65535);
            break;
        case OPT_SERVER:
            o->server_cmd = optarg;
            break;
        case OPT_PID:
            o->pid = (pid_t)number(optarg, 1, INT32_MAX);
            break;
        case OPT_LIMIT:
            o->limit = (uint32_t)number(optarg, 1, UINT32_MAX);
            break;
        case OPT_MEMBERS:
            o->members = (uint32_t)number(optarg, 2, 200000);
            break;
        case OPT_WINDOW:
            o->window = (uint32_t)number(optarg, 1, 100000);
            break;
        case OPT_LAG:
            o->lag = (uint32_t)number(optarg, 0, UINT32_MAX / 4);
            break;
        case OPT_DEVICES:
            o->devices = (uint32_t)number(optarg, 1, 16);
            break;
        case OPT_ACK:
            o->ack_ms = (uint32_t)number(optarg, 1, 60000);
            break;
        case OPT_HISTORY:
            o->history = (uint32_t)number(optarg, 0, UINT32_MAX);
            break;
        case OPT_KILL:
            o->kill_every = (uint32_t)number(optarg, 1, UINT32_MAX / 4);
            break;
        case OPT_BREAKS:
            o->breaks = optarg;
            break;
        case OPT_BATCH:
            o->batch = true;
            break;
        case OPT_SEED:
            o->seed = number(optarg, 0, UINT64_MAX);
            break;
        case OPT_STALL:
            o->stall_s = (uint32_t)number(optarg, 1, 3600);
            break;
        case OPT_MIXED:
            o->mixed = true;
            break;
        case OPT_DIRECTS:
            o->directs = (uint32_t)number(optarg, 1, 10000000);
            break;
        case OPT_GROUPS:
            o->groups = (uint32_t)number(optarg, 0, 1000000);
            break;
        case OPT_CHURN:
            o->churn = (uint32_t)number(optarg, 0, 1000);
            break;
        case OPT_JSON:
            o->json = true;
            break;
        case OPT_HELP:
            (void)fputs(USAGE, stdout);
            exit(0);
        default:
            (void)fputs(USAGE, stderr);
            exit(2);
        }
    }
    if (o->devices == 0) {
        o->devices = o->mixed ? 2 : 1;
    }
    o->path = optind + 1 == argc ? argv[optind] : NULL;
    if (!o->path || o->port == 0 || (o->kill_every > 0 && !o->server_cmd)) {
        (void)fputs(USAGE, stderr);
        exit(2);
    }
}

static void replay_init(struct replay *r)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    r->rbuf = replay_realloc(NULL, RBUF_BYTES);
    if (r->epoll_fd < 0) {
        replay_die("epoll_create1");
    }
    random_seeded_init(&r->random, r->opt.seed);
    idmap_init(&r->by_id, random_u64(&r->random.base));
    u64map_init(&r->by_user, random_u64(&r->random.base));
    /* Keys of messages must differ between runs on the same data. */
    (void)snprintf(r->run_id, sizeof(r->run_id), "%016" PRIx64, random_u64(random_system()));
    r->now_ns = clock_mono_ns(clock_system());
    wheel_init(&r->wheel, 1, r->now_ns / NS_PER_MS);
    rest_init(&r->rest, r->opt.port);
    r->lossy = r->opt.kill_every > 0 || r->opt.breaks || (r->opt.mixed && r->opt.churn > 0);
}

static void replay_deinit(struct replay *r)
{
    for (uint32_t i = 0; i < r->nsessions; i++) {
        session_deinit(&r->sessions[i]);
    }
    for (uint32_t i = 0; i < r->nconvs; i++) {
        struct conv *c = r->convs[i];
        for (uint32_t k = 0; k < c->head; k++) {
            free(c->entries[k].frame);
        }
        free(c->entries);
        free(c->members);
        free(c);
    }
    free(r->convs);
    free(r->sessions);
    free(r->people);
    free(r->messages);
    free(r->rbuf);
    buf_deinit(&r->text);
    idmap_deinit(&r->by_id);
    u64map_deinit(&r->by_user);
    rest_deinit(&r->rest);
    input_deinit(&r->input);
    (void)close(r->epoll_fd);
}

/* Whole histories of some members, spread over all. */
static void check_histories(struct replay *r)
{
    uint32_t wanted = MIN(r->opt.history, r->nsessions);
    for (uint32_t i = 0; i < wanted; i++) {
        struct session *s = &r->sessions[(uint64_t)i * r->nsessions / wanted];
        for (uint32_t k = 0; k < s->ncursors; k++) {
            if (!s->cursors[k].conv->own) {
                history_check(s, s->cursors[k].conv);
            }
        }
    }
}

static enum confab_err prepare(struct replay *r)
{
    enum confab_err err = input_read(r->opt.path, r->opt.limit, &r->input);
    if (err == CONFAB_OK) {
        err = input_add_listeners(&r->input, MAX(2U, r->opt.members));
    }
    r->server_pid = r->opt.pid;
    if (err == CONFAB_OK && r->opt.server_cmd) {
        err = child_start(r->opt.server_cmd, r->opt.port, &r->server_pid);
    }
    if (err == CONFAB_OK) {
        err = setup_accounts(r);
    }
    if (err == CONFAB_OK) {
        err = r->opt.mixed ? play_mixed_prepare(r) : play_channel_prepare(r);
    }
    return err;
}

int main(int argc, char **argv)
{
    struct replay *r = calloc(1, sizeof(*r));
    if (!r) {
        replay_die("out of memory");
    }
    options_read(&r->opt, argc, argv);
    replay_init(r);
    enum confab_err err = prepare(r);
    if (err != CONFAB_OK) {
        replay_error(r, "nothing could be played: %s", err_text(err));
    } else {
        uint64_t cpu_before = child_cpu_ms(r->server_pid);
        err = play_all(r);
        r->memory = child_memory(r->server_pid);
        r->server_cpu_ms = child_cpu_ms(r->server_pid) - (r->n.kills == 0 ? cpu_before : 0);
        if (err == CONFAB_OK) {
            final_check(r);
            check_histories(r);
        } else {
            replay_error(r, "the run was given up: %s", err_text(err));
            r->ended_ns = clock_mono_ns(clock_system());
        }
        report_print(r);
    }
    /* A server that is told to stop gives its connections time to go elsewhere. */
    for (uint32_t i = 0; i < r->nsessions; i++) {
        session_drop(&r->sessions[i]);
    }
    rest_deinit(&r->rest);
    rest_init(&r->rest, r->opt.port);
    if (r->opt.server_cmd && r->server_pid > 0) {
        int code = child_stop(r->server_pid);
        if (code != 0) {
            replay_error(r, "the server ended with %d", code);
        }
    }
    int code = r->n.errors == 0 ? 0 : 1;
    if (code != 0) {
        (void)fprintf(stderr, "seed %" PRIu64 ", %" PRIu64 " errors\n", r->opt.seed, r->n.errors);
    }
    replay_deinit(r);
    free(r);
    return code;
}
