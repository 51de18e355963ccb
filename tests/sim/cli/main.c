/*
 * confab-sim: runs seeds of the simulator and prints what it finds. A seed that fails prints itself
 * and how to see it again; the exit code is 1 then.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/diag.h"
#include "sim.h"

static void usage(FILE *out)
{
    (void)fprintf(out, "usage: confab-sim [--seed S | --seeds A..B] [--shards N] [--steps N]\n"
                       "                  [--gate] [--bug NAME] [--keep-going] [--verbose]\n"
                       "  --seed S       one run (default 1)\n"
                       "  --seeds A..B   runs of all seeds from A to B\n"
                       "  --shards N     always N shards; otherwise each start draws its number\n"
                       "  --steps N      length of a run; otherwise drawn\n"
                       "  --gate         servers with clients on a network, not engines alone\n"
                       "  --bug NAME     plants a fault, to see that it is found:");
    for (int i = 1; i < BUG_COUNT; i++) {
        (void)fprintf(out, " %s", sim_bug_name((enum sim_bug)i));
    }
    (void)fprintf(out, "\n  --keep-going   do not end at the first failing seed\n"
                       "  --verbose      every step of the run\n");
}

static void add(struct sim_counts *sum, const struct sim_counts *one)
{
    uint64_t *a = (uint64_t *)sum;
    const uint64_t *b = (const uint64_t *)one;
    for (size_t i = 0; i < sizeof(*sum) / sizeof(*a); i++) {
        a[i] += b[i];
    }
}

static void print_counts(const struct sim_counts *c)
{
    printf("steps %" PRIu64 ", crashes %" PRIu64 " (%" PRIu64 " while recovering), events %" PRIu64
           " (%" PRIu64 " messages, %" PRIu64 " found after a crash), refused %" PRIu64
           ", retries %" PRIu64 " (%" PRIu64 " duplicates), reads %" PRIu64 ", resumes %" PRIu64
           ", quiet %" PRIu64 ", checkpoints %" PRIu64 ", evictions %" PRIu64
           ", states compared %" PRIu64 ", shown by clients %" PRIu64 ", drains %" PRIu64
           ", restores %" PRIu64 ", accounts deleted %" PRIu64 "\n",
           c->steps, c->crashes, c->recovery_crashes, c->events, c->messages, c->unknown_found,
           c->refused, c->retries, c->duplicates, c->reads, c->resumes, c->quiets, c->checkpoints,
           c->evictions, c->dumps, c->shown, c->drains, c->restores, c->deletions);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},   {"seeds", required_argument, NULL, 'r'},
        {"shards", required_argument, NULL, 'n'}, {"steps", required_argument, NULL, 't'},
        {"bug", required_argument, NULL, 'b'},    {"keep-going", no_argument, NULL, 'k'},
        {"gate", no_argument, NULL, 'g'},         {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},         {NULL, 0, NULL, 0}};
    struct sim_options run = {0};
    uint64_t first = 1;
    uint64_t last = 1;
    bool keep_going = false;
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        char *end = NULL;
        switch (c) {
        case 's':
            first = last = strtoull(optarg, NULL, 10);
            break;
        case 'r':
            first = strtoull(optarg, &end, 10);
            last = end && strncmp(end, "..", 2) == 0 ? strtoull(end + 2, NULL, 10) : first;
            break;
        case 'n':
            run.shards = (uint16_t)strtoul(optarg, NULL, 10);
            break;
        case 't':
            run.steps = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'b':
            for (int i = 0; i < BUG_COUNT; i++) {
                run.bug =
                    strcmp(optarg, sim_bug_name((enum sim_bug)i)) == 0 ? (enum sim_bug)i : run.bug;
            }
            break;
        case 'g':
            run.gate = true;
            break;
        case 'k':
            keep_going = true;
            break;
        case 'v':
            run.verbose = true;
            break;
        case 'h':
            usage(stdout);
            return 0;
        default:
            usage(stderr);
            return 2;
        }
    }
    if (run.shards > SIM_SHARDS_MAX || optind != argc) {
        usage(stderr);
        return 2;
    }
    diag_set_level_all(run.verbose ? DIAG_WARN : DIAG_OFF);
    struct sim_counts sum = {0};
    uint64_t failures = 0;
    for (uint64_t seed = first; seed <= last && (failures == 0 || keep_going); seed++) {
        struct sim_result result;
        run.seed = seed;
        sim_run(&run, &result);
        add(&sum, &result.counts);
        if (result.failed) {
            failures++;
            sim_report(&run, &result);
        } else if (first == last) {
            printf("seed %" PRIu64 ": trace %016" PRIx64 "\n", seed, result.trace);
        }
    }
    print_counts(&sum);
    return failures > 0;
}
