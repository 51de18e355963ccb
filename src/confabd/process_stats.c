#include "confabd/process_stats.h"

#include <dirent.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

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

static int64_t open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = 0;
    while (d && readdir(d)) {
        n++;
    }
    if (!d) {
        return 0;
    }
    (void)closedir(d);
    return n - 3; /* . and .. and the one for reading them */
}

void process_stats_sample(struct metrics *m)
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
    metrics_gauge_set(m, METRIC_PROCESS_FDS, open_files());
}
