/* Options, the server when it is started here, and the order of things. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "bench.h"

static const char USAGE[] =
    "usage: confab-bench SCENARIO --port N --data DIR [option...]\n"
    "Puts load on a server, and measures and checks what comes of it. Exit code 0: everything\n"
    "that was acknowledged was delivered, once, in order; 1: not so, or no answer; 2: wrong "
    "usage.\n"
    "\n"
    "  pairs     people write to each other, two by two\n"
    "  group     some members of a group write, all others are online\n"
    "  mixed     everybody writes: to friends, in small groups and in large ones, and reads\n"
    "  idle      connections that only send heartbeats: memory and cost of connecting\n"
    "  backlog   someone who was away gets what was missed\n"
    "  storm     kill -9, and everybody comes back at once; needs --server-cmd\n"
    "  stuck     people write two by two, while many others stop reading, round by round\n"
    "  presence  people come and go, each watched by others\n"
    "  connect   everybody connects, signs in and resumes, again and again\n"
    "  channel   a conversation with very many members, of whom some look, beside pairs\n"
    "  sync      no server: how fast the disk under --data takes writes\n"
    "\n"
    "  --port N          the server's port on 127.0.0.1\n"
    "  --data DIR        its data directory: accounts are made with the operator's key in it\n"
    "  --own-tokens      signs tokens with the key in there, instead of signing in each user\n"
    "  --people FILE     idle, with --own-tokens: the accounts of an earlier run, with their "
    "groups;\n"
    "                    made and noted there when it is missing\n"
    "  --hold            idle: says when all are there, and goes on until standard input ends\n"
    "  --server-cmd CMD  starts the server, and stops it at the end\n"
    "  --pid N           of a server that runs already, for its memory and CPU time\n"
    "  --server-cpu N, --load-cpu N  keeps the server started here, and this tool, on one CPU "
    "each\n"
    "  --spin            does not sleep while it waits, so that nobody has to wake it\n"
    "  --pairs N         pairs: how many [100]\n"
    "  --spread N        pairs: conversations of each sender [1]\n"
    "  --members N       group: how many, all online; stuck: how many stop reading;\n"
    "                    channel: how many, online are --senders and --idlers [100]\n"
    "  --looking N       channel: percent of --idlers who look at it [100]\n"
    "  --senders N       group, channel: members who write [4, 1]; backlog: conversations\n"
    "                    [100]\n"
    "  --users N         idle, mixed, presence, connect: how many people [1000]\n"
    "  --watchers N      presence: who watch each of them [20]\n"
    "  --groups N        idle, connect: groups that each user is in [20]\n"
    "  --idlers N        pairs, storm, stuck: connections beside them that do nothing;\n"
    "                    presence: strangers who watch, and may see nobody; channel: members\n"
    "                    who are online and do not write [0]\n"
    "  --messages N      backlog: how many were missed [100000]\n"
    "  --page N, --lanes N  backlog: messages of a page of history, pages under way at once [1000, "
    "2]\n"
    "  --window N        messages of a sender under way at once, up to 64 [1]\n"
    "  --rate N          messages/s (presence: changes/s) of all together, sent when due whatever "
    "comes back; latency\n"
    "                    counts from when a message should have been sent [0: as fast as it goes]\n"
    "  --no-fresh        does not mark messages as first attempts: the server looks for each key\n"
    "  --size A-B        bytes of a text [100-300]\n"
    "  --texts FILE      texts are lines of this file of that size, instead of drawn words\n"
    "  --ack-ms N        between a receiver's acknowledgements [250]\n"
    "  --heartbeat N     seconds between the heartbeats of a connection [30]\n"
    "  --rounds N, --seconds N, --warmup N   how often and how long it is measured [5, 10, 2]\n"
    "  --floor           plays the same load on a bare server, round by round, and tells the "
    "share\n"
    "  --floor=log       pairs, group, mixed: one that writes and syncs each message before it is "
    "passed on\n"
    "  --floor=store     and keeps it in a store, with Confab's own engines\n"
    "  --workers N       processes that hold the connections [1, or one for each 15,000]\n"
    "  --seed N          of what is drawn [1]\n"
    "  --json            the report as one JSON object\n"
    "  --svg FILE        a picture of it\n";

static const char *const NAMES[] = {
    [SCENARIO_IDLE] = "idle",       [SCENARIO_PAIRS] = "pairs",
    [SCENARIO_GROUP] = "group",     [SCENARIO_MIXED] = "mixed",
    [SCENARIO_BACKLOG] = "backlog", [SCENARIO_STORM] = "storm",
    [SCENARIO_STUCK] = "stuck",     [SCENARIO_PRESENCE] = "presence",
    [SCENARIO_CONNECT] = "connect", [SCENARIO_CHANNEL] = "channel",
    [SCENARIO_SYNC] = "sync",
};

const char *scenario_name(enum scenario_kind kind)
{
    return NAMES[kind];
}

uint64_t now_ns(void)
{
    return clock_mono_ns(clock_system());
}

void pause_ms(uint32_t ms)
{
    const struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000L};
    (void)nanosleep(&t, NULL);
}

void bench_die(const char *what)
{
    (void)fprintf(stderr, "confab-bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

void *bench_alloc(size_t n)
{
    void *p = calloc(1, MAX(n, 1U));
    if (!p) {
        bench_die("out of memory");
    }
    return p;
}

void pin_to(uint32_t cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu == NONE) {
        for (int i = 0; i < CPU_SETSIZE; i++) {
            CPU_SET((size_t)i, &set);
        }
    } else {
        CPU_SET(cpu, &set);
    }
    if (sched_setaffinity(0, sizeof(set), &set) != 0 && cpu != NONE) {
        bench_die("--server-cpu or --load-cpu");
    }
}

/* ---- Options ---- */

static void wrong(const char *what, const char *text) __attribute__((noreturn));
static void wrong(const char *what, const char *text)
{
    (void)fprintf(stderr, "confab-bench: %s: %s (--help tells more)\n", what, text);
    exit(2);
}

static uint32_t number(const char *name, const char *text, uint32_t min, uint32_t max)
{
    char *end;
    char why[80];
    errno = 0;
    unsigned long v = strtoul(text, &end, 10);
    if (errno != 0 || *end != '\0' || text[0] < '0' || text[0] > '9' || v < min || v > max) {
        (void)snprintf(why, sizeof(why), "a number from %" PRIu32 " to %" PRIu32 " is expected",
                       min, max);
        wrong(name, why);
    }
    return (uint32_t)v;
}

static const struct number_option {
    const char *name;
    size_t at;
    uint32_t min;
    uint32_t max;
} NUMBERS[] = {
    {"port", offsetof(struct options, port), 1, 65535},
    {"pid", offsetof(struct options, pid), 1, INT32_MAX},
    {"users", offsetof(struct options, users), 2, 1000000},
    {"pairs", offsetof(struct options, pairs), 1, 100000},
    {"members", offsetof(struct options, members), 2, 200000},
    {"groups", offsetof(struct options, groups), 0, 1000},
    {"senders", offsetof(struct options, senders), 1, 100000},
    {"spread", offsetof(struct options, spread), 1, 100000},
    {"window", offsetof(struct options, window), 1, 64},
    {"rate", offsetof(struct options, rate), 0, 10000000},
    {"seconds", offsetof(struct options, seconds), 1, 86400},
    {"warmup", offsetof(struct options, warmup), 0, 3600},
    {"rounds", offsetof(struct options, rounds), 1, ROUNDS_MAX},
    {"heartbeat", offsetof(struct options, heartbeat), 1, 600},
    {"ack-ms", offsetof(struct options, ack_ms), 0, 60000},
    {"idlers", offsetof(struct options, idlers), 0, 1000000},
    {"watchers", offsetof(struct options, watchers), 1, 500},
    {"looking", offsetof(struct options, looking), 0, 100},
    {"messages", offsetof(struct options, messages), 1, 100000000},
    {"page", offsetof(struct options, page), 1, 1000},
    {"lanes", offsetof(struct options, lanes), 1, 64},
    {"workers", offsetof(struct options, workers), 1, WORKERS_MAX},
    {"server-cpu", offsetof(struct options, server_cpu), 0, 1023},
    {"load-cpu", offsetof(struct options, load_cpu), 0, 1023},
};

enum {
    OPT_NUMBER = 256,
    OPT_DATA = 512,
    OPT_SERVER,
    OPT_SVG,
    OPT_TEXTS,
    OPT_PEOPLE,
    OPT_SEED,
    OPT_SIZE,
    OPT_OWN,
    OPT_NO_FRESH,
    OPT_FLOOR,
    OPT_HOLD,
    OPT_SPIN,
    OPT_JSON,
    OPT_HELP
};

static const struct option OTHERS[] = {
    {"data", required_argument, NULL, OPT_DATA},
    {"server-cmd", required_argument, NULL, OPT_SERVER},
    {"svg", required_argument, NULL, OPT_SVG},
    {"texts", required_argument, NULL, OPT_TEXTS},
    {"people", required_argument, NULL, OPT_PEOPLE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"size", required_argument, NULL, OPT_SIZE},
    {"own-tokens", no_argument, NULL, OPT_OWN},
    {"no-fresh", no_argument, NULL, OPT_NO_FRESH},
    {"spin", no_argument, NULL, OPT_SPIN},
    {"floor", optional_argument, NULL, OPT_FLOOR},
    {"hold", no_argument, NULL, OPT_HOLD},
    {"json", no_argument, NULL, OPT_JSON},
    {"help", no_argument, NULL, OPT_HELP},
};

static void take_size(struct options *o, const char *text)
{
    char first[16];
    size_t n = strcspn(text, "-");
    if (n >= sizeof(first) || text[n] == '\0') {
        wrong("--size", "two numbers, as in 100-300");
    }
    memcpy(first, text, n);
    first[n] = '\0';
    o->size_min = number("--size", first, 1, 16000);
    o->size_max = number("--size", text + n + 1, o->size_min, 16000);
}

static enum floor_kind floor_of(const char *text)
{
    if (!text) {
        return FLOOR_BARE;
    }
    if (strcmp(text, "log") != 0 && strcmp(text, "store") != 0) {
        wrong("--floor", "nothing, log or store");
    }
    return strcmp(text, "log") == 0 ? FLOOR_LOG : FLOOR_STORE;
}

static void take_other(struct options *o, int c)
{
    switch (c) {
    case OPT_DATA:
        o->data = optarg;
        break;
    case OPT_SERVER:
        o->server_cmd = optarg;
        break;
    case OPT_SVG:
        o->svg = optarg;
        break;
    case OPT_TEXTS:
        o->texts = optarg;
        break;
    case OPT_PEOPLE:
        o->people = optarg;
        break;
    case OPT_SEED:
        o->seed = number("--seed", optarg, 0, UINT32_MAX - 1);
        break;
    case OPT_SIZE:
        take_size(o, optarg);
        break;
    case OPT_OWN:
        o->own_tokens = true;
        break;
    case OPT_NO_FRESH:
        o->no_fresh = true;
        break;
    case OPT_SPIN:
        o->spin = true;
        break;
    case OPT_FLOOR:
        o->floor = floor_of(optarg);
        break;
    case OPT_HOLD:
        o->hold = true;
        break;
    case OPT_JSON:
        o->json = true;
        break;
    case OPT_HELP:
        (void)fputs(USAGE, stdout);
        exit(0);
    default:
        exit(2); /* getopt has said what is wrong */
    }
}

static uint32_t people_of(const struct options *o)
{
    switch (o->scenario) {
    case SCENARIO_GROUP:
        return o->members + o->idlers;
    case SCENARIO_IDLE:
    case SCENARIO_CONNECT:
    case SCENARIO_MIXED:
        return o->users;
    case SCENARIO_BACKLOG:
        return o->senders + 1;
    case SCENARIO_PRESENCE:
        return o->users - o->users % (o->watchers + 1) + o->idlers;
    case SCENARIO_STUCK:
        return o->pairs * 2 + o->idlers + o->members;
    case SCENARIO_CHANNEL:
        return o->pairs * 2 + o->members;
    default:
        return o->pairs * 2 + o->idlers;
    }
}

static void options_check(struct options *o)
{
    if (o->scenario != SCENARIO_SYNC && o->port == 0) {
        wrong("--port", "is needed");
    }
    if (!o->data) {
        wrong("--data", "is needed");
    }
    if (o->scenario == SCENARIO_STORM && !o->server_cmd) {
        wrong("storm", "needs --server-cmd, to kill and start it");
    }
    if ((o->people && (o->scenario != SCENARIO_IDLE || !o->own_tokens)) ||
        (o->hold && o->scenario != SCENARIO_IDLE)) {
        wrong("--people, --hold", "for idle; --people with --own-tokens");
    }
    if (o->floor > FLOOR_BARE && o->scenario != SCENARIO_PAIRS && o->scenario != SCENARIO_GROUP &&
        o->scenario != SCENARIO_MIXED) {
        wrong("--floor", "log and store are for pairs, group and mixed");
    }
    if (o->scenario == SCENARIO_GROUP && o->senders > o->members) {
        wrong("--senders", "more than --members");
    }
    if (o->scenario == SCENARIO_BACKLOG && o->messages < o->senders) {
        wrong("--messages", "fewer than --senders");
    }
    if (o->scenario == SCENARIO_MIXED && o->users % 100 != 0) {
        wrong("--users", "a multiple of 100, for mixed");
    }
    if (o->scenario == SCENARIO_PRESENCE && o->users <= o->watchers) {
        wrong("--users", "more than --watchers, for presence");
    }
    if (o->scenario == SCENARIO_PRESENCE && o->rate == 0) {
        o->rate = MAX(1U, o->users / 4);
    }
    if (o->scenario == SCENARIO_CHANNEL && o->senders + o->idlers > o->members) {
        wrong("--members", "fewer than --senders and --idlers");
    }
    if (o->scenario == SCENARIO_CHANNEL && o->rate == 0) {
        o->rate = 1000;
    }
    if (o->workers == 0) {
        bool few = o->scenario == SCENARIO_CHANNEL; /* who is not online needs no connection */
        o->workers = 1 + (few ? o->senders + o->idlers : people_of(o)) / 15000U;
    }
}

void options_read(struct options *o, int argc, char **argv)
{
    struct option all[ARRAY_LEN(NUMBERS) + ARRAY_LEN(OTHERS) + 1] = {0};
    size_t n = 0;
    for (size_t i = 0; i < ARRAY_LEN(NUMBERS); i++) {
        all[n++] = (struct option){NUMBERS[i].name, required_argument, NULL, OPT_NUMBER + (int)i};
    }
    for (size_t i = 0; i < ARRAY_LEN(OTHERS); i++) {
        all[n++] = OTHERS[i];
    }
    *o = (struct options){.users = 1000,
                          .pairs = 100,
                          .members = 100,
                          .looking = 100,
                          .groups = 20,
                          .watchers = 20,
                          .spread = 1,
                          .window = 1,
                          .size_min = 100,
                          .size_max = 300,
                          .seconds = 10,
                          .warmup = 2,
                          .rounds = 5,
                          .ack_ms = 250,
                          .heartbeat = 30,
                          .messages = 100000,
                          .page = 1000,
                          .lanes = 2,
                          .server_cpu = NONE,
                          .load_cpu = NONE,
                          .seed = 1};
    int c;
    while ((c = getopt_long(argc, argv, "", all, NULL)) != -1) {
        if (c >= OPT_NUMBER && c < OPT_NUMBER + (int)ARRAY_LEN(NUMBERS)) {
            const struct number_option *of = &NUMBERS[c - OPT_NUMBER];
            uint32_t v = number(of->name, optarg, of->min, of->max);
            memcpy((char *)o + of->at, &v, sizeof(v));
        } else {
            take_other(o, c);
        }
    }
    if (optind + 1 != argc) {
        wrong("SCENARIO", "one is needed");
    }
    size_t kind = 0;
    while (kind < ARRAY_LEN(NAMES) && strcmp(argv[optind], NAMES[kind]) != 0) {
        kind++;
    }
    if (kind == ARRAY_LEN(NAMES)) {
        wrong(argv[optind], "no such scenario");
    }
    o->scenario = (enum scenario_kind)kind;
    if (o->senders == 0) {
        o->senders = o->scenario == SCENARIO_BACKLOG   ? 100
                     : o->scenario == SCENARIO_CHANNEL ? 1
                                                       : 4;
    }
    options_check(o);
}

/* ---- The run ---- */

static enum confab_err run(struct world *w, const struct options *o, pid_t *io_server)
{
    enum confab_err err = world_make(w, o, people_of(o));
    if (err) {
        return err;
    }
    switch (o->scenario) {
    case SCENARIO_IDLE:
        return run_idle(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_BACKLOG:
        return run_backlog(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_CHANNEL:
        return run_channel(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_STUCK:
        return run_stuck(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_CONNECT:
        return run_connect(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_PRESENCE:
        return run_presence(w, o, (uint16_t)o->port, *io_server);
    case SCENARIO_STORM:
        return run_storm(w, o, (uint16_t)o->port, io_server);
    default:
        return run_traffic(w, o, (uint16_t)o->port, *io_server);
    }
}

int main(int argc, char **argv)
{
    struct options o;
    struct world w = {0};
    struct rlimit limit;
    pid_t server = 0;
    options_read(&o, argc, argv);
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (o.scenario == SCENARIO_SYNC) {
        return run_sync(&o) == CONFAB_OK ? 0 : 1;
    }
    enum confab_err err = CONFAB_OK;
    if (o.server_cmd) {
        pin_to(o.server_cpu);
        err = child_start(o.server_cmd, (uint16_t)o.port, &server);
    }
    pin_to(o.load_cpu);
    pid_t measured = server ? server : (pid_t)o.pid;
    pid_t child = server;
    if (!err) {
        err = run(&w, &o, o.server_cmd ? &child : &measured);
    }
    world_deinit(&w);
    if (o.server_cmd && child > 0 && child_stop(child) != 0) {
        (void)fprintf(stderr, "confab-bench: the server did not end well\n");
        err = err ? err : CONFAB_NET;
    }
    return err ? 1 : 0;
}
