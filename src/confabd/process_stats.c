#include "confabd/process_stats.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_COUNTED_EVERY_MS 30000U

static int64_t resident_bytes(void)
{
    char line[128];
    FILE *f = fopen("/proc/self/statm", "re");
    int64_t pages = 0;
    if (f) {
        /* Pages in all, then resident ones. */
        const char *at = fgets(line, sizeof(line), f) ? strchr(line, ' ') : NULL;
        pages = at ? (int64_t)strtoll(at, NULL, 10) : 0;
        (void)fclose(f);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

/*
 * The system has counted them since Linux 6.2. Before, one has to read them all, which takes a
 * millisecond of a core for some 1,500.
 */
static int64_t open_files(struct process_stats *p, uint64_t now_ms)
{
    struct stat st;
    if (stat("/proc/self/fd", &st) == 0 && st.st_size > 0) {
        return st.st_size;
    }
    if (p->files_counted_ms != 0 && now_ms - p->files_counted_ms < FILES_COUNTED_EVERY_MS) {
        return p->files;
    }
    DIR *d = opendir("/proc/self/fd");
    int64_t n = 0;
    while (d && readdir(d)) {
        n++;
    }
    if (d) {
        (void)closedir(d);
        p->files = n - 3; /* . and .. and the one for reading them */
        p->files_counted_ms = now_ms;
    }
    return p->files;
}

void process_stats_sample(struct process_stats *p, struct metrics *m, uint64_t now_ms)
{
    struct rusage ru;
    if (getrusage(RUSAGE_SELF, &ru) == 0) {
        int64_t ms = ((int64_t)ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000;
        ms += (ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1000;
        metrics_gauge_set(m, METRIC_PROCESS_CPU_MS, ms);
    }
    struct mallinfo2 heap = mallinfo2();
    metrics_gauge_set(m, METRIC_PROCESS_HEAP, (int64_t)(heap.uordblks + heap.hblkhd));
    metrics_gauge_set(m, METRIC_PROCESS_RESIDENT, resident_bytes());
    metrics_gauge_set(m, METRIC_PROCESS_FDS, open_files(p, now_ms));
}
