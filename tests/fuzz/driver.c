/*
 * Runs a fuzz target without libFuzzer: each file given (directories: the files in them), then,
 * with CONFAB_FUZZ_RUNS=n, n inputs made from those by seeded mutation (CONFAB_SEED, default 1).
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/random.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUTS_MAX = 4096, INPUT_BYTES_MAX = 256 << 10 };

struct input {
    uint8_t *bytes;
    size_t n;
};
static struct input inputs[INPUTS_MAX];
static size_t count;

static void load(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(2);
    }
    if (S_ISDIR(st.st_mode)) {
        DIR *dir = opendir(path);
        CHECK(dir);
        for (struct dirent *e; (e = readdir(dir));) {
            char name[4096];
            if (e->d_name[0] != '.') {
                snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
                load(name);
            }
        }
        closedir(dir);
        return;
    }
    FILE *f = fopen(path, "rb");
    CHECK(f && count < INPUTS_MAX);
    struct input *in = &inputs[count++];
    in->bytes = malloc((size_t)st.st_size + 1);
    CHECK(in->bytes);
    in->n = fread(in->bytes, 1, (size_t)st.st_size, f);
    fclose(f);
}

static size_t mutate(struct random_source *r, uint8_t *out)
{
    size_t n = 0;
    if (count > 0 && random_below(r, 8) != 0) {
        const struct input *in = &inputs[random_below(r, count)];
        n = in->n < INPUT_BYTES_MAX ? in->n : INPUT_BYTES_MAX;
        memcpy(out, in->bytes, n);
    } else {
        n = (size_t)random_below(r, 64 << random_below(r, 12));
        random_fill(r, out, n);
    }
    for (uint64_t k = random_below(r, 12); n > 0 && k > 0; k--) {
        size_t at = (size_t)random_below(r, n);
        switch (random_below(r, 5)) {
        case 0:
            out[at] = (uint8_t)random_u64(r);
            break;
        case 1:
            out[at] ^= (uint8_t)(1U << random_below(r, 8));
            break;
        case 2:
            memset(out + at, (int)(random_below(r, 2) * 255), 1 + (n - at) % 8);
            break;
        case 3:
            memmove(out + at, out + random_below(r, n - at), (n - at) / 2);
            break;
        default:
            n = at;
            break;
        }
    }
    return n;
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        load(argv[i]);
    }
    for (size_t i = 0; i < count; i++) {
        LLVMFuzzerTestOneInput(inputs[i].bytes, inputs[i].n);
    }
    const char *runs = getenv("CONFAB_FUZZ_RUNS");
    const char *seed = getenv("CONFAB_SEED");
    uint64_t n = runs ? strtoull(runs, NULL, 10) : 0;
    struct random_seeded r;
    random_seeded_init(&r, seed ? strtoull(seed, NULL, 10) : 1);
    uint8_t *input = malloc(INPUT_BYTES_MAX);
    CHECK(input);
    for (uint64_t i = 0; i < n; i++) {
        size_t len = mutate(&r.base, input);
        LLVMFuzzerTestOneInput(input, len);
    }
    printf("%zu files, %llu mutated inputs\n", count, (unsigned long long)n);
    free(input);
    for (size_t i = 0; i < count; i++) {
        free(inputs[i].bytes);
    }
    return 0;
}
