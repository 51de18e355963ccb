/*
 * Many stored conversations, few active ones, and kills.
 *
 *   confab-scale fill  --data DIR [--conversations N] [--messages M] [--users U]
 *   confab-scale load  --data DIR … [--active A] [--seconds S] [--rate R]
 *   confab-scale kill  --data DIR … [--rounds N] [--seed S]
 *   confab-scale check --data DIR …
 *   confab-scale pages --data DIR … --server-cmd CMD --port P [--rounds N] [--pages K] [--page 50]
 *                      [--kill-ms MS]
 *
 * fill writes N direct conversations of M messages each. load keeps A of them talking (messages,
 * read cursors, edits) and tells what memory and disk hold. kill does that in a child that is
 * killed with SIGKILL at a random moment, again and again; after each kill two more processes
 * recover, compare every active conversation with what was acknowledged, and their states with each
 * other; every second child stops deciding before it is killed and leaves the states that it had:
 * those must be equal to the recovered ones, byte for byte. Sizes must be the same in all calls.
 * pages starts a server on the data and reads pages of history from it (pages.c).
 * With --texts FILE --text-bytes N the messages are pieces of that file, of that size; the file
 * must be the same in all calls, too.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/check.h"
#include "drive.h"

static double now_us(void)
{
    return rig_now() * 1e6;
}

/* ---- kill -------------------------------------------------------------------------------- */

/* One state of a dump. */
struct state {
    struct span id;
    struct span bytes;
};

static int by_id(const void *a, const void *b)
{
    return memcmp(((const struct state *)a)->id.p, ((const struct state *)b)->id.p, 16);
}

/* The states of a dump in order of id; they point into `file`. */
static size_t read_dump(const struct options *o, const char *name, struct buf *file,
                        struct state **ret)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/%s", o->rig.data, name);
    FILE *f = fopen(path, "rb");
    CHECK(f);
    uint8_t part[65536];
    size_t n;
    while ((n = fread(part, 1, sizeof(part), f)) > 0) {
        buf_put(file, part, n);
    }
    (void)fclose(f);
    CHECK(buf_ok(file));
    struct reader rd = reader_of(file->data, file->len);
    struct state *list = NULL;
    size_t count = 0;
    while (reader_left(&rd) > 0) {
        list = realloc(list, (count + 1) * sizeof(*list));
        CHECK(list);
        list[count].id = reader_bytes(&rd, 16);
        list[count].bytes = reader_blob(&rd);
        CHECK(!rd.bad);
        count++;
    }
    if (count > 0) {
        qsort(list, count, sizeof(*list), by_id);
    }
    *ret = list;
    return count;
}

/*
 * A dump holds what was in memory: all active conversations, unless there are more than the cache
 * takes, and others that the other dump may not have.
 */
static size_t compare_dumps(const struct options *o, const char *name_a, const char *name_b)
{
    struct buf file_a = {0};
    struct buf file_b = {0};
    struct state *a;
    struct state *b;
    size_t na = read_dump(o, name_a, &file_a, &a);
    size_t nb = read_dump(o, name_b, &file_b, &b);
    size_t same = 0;
    for (size_t i = 0, j = 0; i < na && j < nb;) {
        int c = by_id(&a[i], &b[j]);
        if (c == 0 && !span_eq(a[i].bytes, b[j].bytes)) {
            (void)fprintf(stderr, "the states of a conversation differ in %s and %s\n", name_a,
                          name_b);
            exit(1);
        }
        same += c == 0;
        i += c <= 0;
        j += c >= 0;
    }
    CHECK(same > 0 && (same >= o->active || o->active > 5000));
    free(a);
    free(b);
    buf_deinit(&file_a);
    buf_deinit(&file_b);
    return same;
}

static pid_t spawn(const char *mode, uint64_t stop_ms, char **argv)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0) {
        return pid;
    }
    /* The same options, another mode, and when it began. */
    char *args[64];
    char started[32];
    char stop[32];
    int n = 0;
    args[n++] = argv[0];
    args[n++] = (char *)(uintptr_t)mode;
    for (int i = 2; argv[i] && n < 58; i++) {
        args[n++] = argv[i];
    }
    (void)snprintf(started, sizeof(started), "%.0f", now_us());
    (void)snprintf(stop, sizeof(stop), "%" PRIu64, stop_ms);
    args[n++] = (char *)(uintptr_t) "--started-us";
    args[n++] = started;
    args[n++] = (char *)(uintptr_t) "--stop-ms";
    args[n++] = stop;
    args[n] = NULL;
    execv("/proc/self/exe", args);
    _exit(127);
}

static void await_kill(pid_t pid)
{
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL) {
        (void)fprintf(stderr, "the child ended by itself: %d\n", status);
        exit(1);
    }
}

static void print_start(const char *what, const struct start_figures *f)
{
    printf("  %s: open %.0f ms (cpu %.0f; store %.0f, log %.0f, read %.0f: %" PRIu64
           " records, %.1f MiB, %" PRIu64 " to replay for %" PRIu64 " conversations)",
           what, f->open_ms, f->open_cpu_ms, f->store_ms, f->log_ms, f->read_ms, f->records,
           (double)f->bytes / (1 << 20), f->replayed, f->tail_convs);
    if (f->cold_ms > 0) {
        printf(", cold answer %.0f ms, active answers %.0f, %.0f, %.0f ms", f->cold_ms,
               f->answer_ms[0], f->answer_ms[1], f->answer_ms[2]);
    }
    printf(", folded %.0f ms (cpu %.0f), rss %.1f MiB\n", f->folded_ms, f->folded_cpu_ms,
           (double)f->rss / (1 << 20));
    (void)fflush(stdout);
}

/* Until it says that it serves, or ends. */
static void await_serving(struct model *m, pid_t pid)
{
    int status;
    while (!atomic_load(&m->serving) && waitpid(pid, &status, WNOHANG) == 0) {
        usleep(1000);
    }
}

void drive_kill(const struct options *o, uint64_t after_ms, char **argv)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/scale-model", o->rig.data);
    struct model *m = model_open(path, o->conversations, o->users, (uint32_t)o->messages,
                                 (uint32_t)o->active, o->seed);
    atomic_store(&m->serving, 0);
    pid_t pid = spawn("load", 0, argv);
    await_serving(m, pid);
    usleep((useconds_t)(after_ms * 1000));
    CHECK(kill(pid, SIGKILL) == 0);
    await_kill(pid);
    print_start("load", &m->start);
}

static void kill_rounds(const struct options *o, char **argv)
{
    char path[1024];
    (void)snprintf(path, sizeof(path), "%s/scale-model", o->rig.data);
    struct model *m = model_open(path, o->conversations, o->users, (uint32_t)o->messages,
                                 (uint32_t)o->active, o->seed);
    uint64_t x = o->seed * 2 + 1;
    for (uint64_t round = 0; round < o->rounds; round++) {
        x = x * 6364136223846793005U + 1442695040888963407U;
        bool leave_states = round % 2 == 1;
        uint64_t after_ms = 200 + (x >> 33) % (o->seconds * 1000);
        atomic_store(&m->serving, 0);
        pid_t pid = spawn("load", leave_states ? after_ms : 0, argv);
        await_serving(m, pid);
        if (!leave_states) {
            usleep((useconds_t)(after_ms * 1000));
            CHECK(kill(pid, SIGKILL) == 0);
        }
        await_kill(pid);
        uint64_t messages = 0;
        for (uint32_t i = 0; i < m->active; i++) {
            messages += m->talks[i].acked;
        }
        printf("round %" PRIu64 ", killed %" PRIu64 " ms after it served, %" PRIu64
               " messages acknowledged so far\n",
               round + 1, after_ms, messages);
        print_start("load", &m->start);
        await_kill(spawn("check", 0, argv));
        print_start("first recovery", &m->start);
        if (leave_states) {
            printf("  states equal to those before the kill: %zu\n",
                   compare_dumps(o, "scale-dump", "scale-check"));
        }
        char first[1024];
        char second[1024];
        (void)snprintf(first, sizeof(first), "%s/scale-check", o->rig.data);
        (void)snprintf(second, sizeof(second), "%s/scale-first", o->rig.data);
        CHECK(rename(first, second) == 0);
        await_kill(spawn("check", 0, argv));
        print_start("second recovery", &m->start);
        printf("  states equal in both recoveries: %zu\n",
               compare_dumps(o, "scale-first", "scale-check"));
    }
}

/* ---- options ----------------------------------------------------------------------------- */

static void usage(void)
{
    (void)fputs("usage: confab-scale fill|load|kill|check|pages --data DIR [--NAME NUMBER]...\n",
                stderr);
    exit(2);
}

int main(int argc, char **argv)
{
    struct options o = {.conversations = 1000000,
                        .users = 100000,
                        .messages = 3,
                        .active = 1000,
                        .window = 4096,
                        .seconds = 10,
                        .rounds = 4,
                        .seed = 1};
    rig_config_defaults(&o.rig);
    uint64_t shards = o.rig.shards;
    uint64_t flush_after = o.rig.flush_after_ms;
    uint64_t checkpoint = o.rig.checkpoint_ms;
    uint64_t text_bytes = 300;
    const char *texts = NULL;
    o.port = 8123;
    o.pages = 200;
    o.page = 50;
    const struct {
        const char *name;
        uint64_t *value;
    } numbers[] = {
        {"--conversations", &o.conversations},
        {"--messages", &o.messages},
        {"--users", &o.users},
        {"--active", &o.active},
        {"--window", &o.window},
        {"--seconds", &o.seconds},
        {"--rate", &o.rate},
        {"--rounds", &o.rounds},
        {"--seed", &o.seed},
        {"--shards", &shards},
        {"--cache-bytes", &o.rig.cache_bytes},
        {"--dirty-bytes", &o.rig.dirty_bytes},
        {"--flush-after", &flush_after},
        {"--checkpoint", &checkpoint},
        {"--store-cache-bytes", &o.rig.store_cache_bytes},
        {"--store-memtable-bytes", &o.rig.store_memtable_bytes},
        {"--log-segment-bytes", &o.rig.log_segment_bytes},
        {"--started-us", &o.started_us},
        {"--stop-ms", &o.stop_ms},
        {"--text-bytes", &text_bytes},
        {"--port", &o.port},
        {"--pages", &o.pages},
        {"--page", &o.page},
        {"--kill-ms", &o.kill_ms},
    };
    if (argc < 2) {
        usage();
    }
    for (int i = 2; i < argc; i += 2) {
        bool known = i + 1 < argc && strcmp(argv[i], "--data") == 0;
        if (known) {
            o.rig.data = argv[i + 1];
        } else if (i + 1 < argc && strcmp(argv[i], "--texts") == 0) {
            texts = argv[i + 1];
            known = true;
        } else if (i + 1 < argc && strcmp(argv[i], "--server-cmd") == 0) {
            o.server_cmd = argv[i + 1];
            known = true;
        }
        for (size_t k = 0; k < sizeof(numbers) / sizeof(numbers[0]) && i + 1 < argc; k++) {
            if (strcmp(argv[i], numbers[k].name) == 0) {
                *numbers[k].value = strtoull(argv[i + 1], NULL, 10);
                known = true;
            }
        }
        if (!known) {
            usage();
        }
    }
    o.rig.shards = (uint16_t)shards;
    o.rig.flush_after_ms = (uint32_t)flush_after;
    o.rig.checkpoint_ms = (uint32_t)checkpoint;
    if (!o.rig.data || o.users < 3 * MODEL_FRIENDS || o.conversations > o.users * MODEL_FRIENDS) {
        usage();
    }
    if (texts) {
        model_texts(texts, (size_t)text_bytes);
    }
    if (strcmp(argv[1], "fill") == 0) {
        drive_fill(&o);
    } else if (strcmp(argv[1], "load") == 0) {
        drive_load(&o);
    } else if (strcmp(argv[1], "kill") == 0) {
        kill_rounds(&o, argv);
    } else if (strcmp(argv[1], "check") == 0) {
        drive_check(&o);
    } else if (strcmp(argv[1], "pages") == 0 && o.server_cmd && o.port > 0 && o.port < 65536 &&
               o.pages > 1) {
        drive_pages(&o, argv);
    } else {
        usage();
    }
    return 0;
}
