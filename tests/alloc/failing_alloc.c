#include "failing_alloc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

/* Blocks that are alive, by address: linear probing with room for all that a test has. */
enum { LIVE_MAX = 1 << 20 };
static uintptr_t table[LIVE_MAX];
static size_t live;
static bool armed;
static unsigned paused;
static uint64_t seen;
static uint64_t first;
static uint64_t count;
static pthread_mutex_t mu = PTHREAD_MUTEX_INITIALIZER;

static size_t slot_of(uintptr_t p)
{
    size_t i = (size_t)((uint64_t)p * 0x9e3779b97f4a7c15ULL >> 44);
    while (table[i % LIVE_MAX] != 0 && table[i % LIVE_MAX] != p) {
        i++;
    }
    return i % LIVE_MAX;
}

static void *born(void *p)
{
    if (p) {
        pthread_mutex_lock(&mu);
        table[slot_of((uintptr_t)p)] = (uintptr_t)p;
        if (++live > LIVE_MAX / 2) {
            abort();
        }
        pthread_mutex_unlock(&mu);
    }
    return p;
}

/* By address, since the block may be gone. What a library allocated is not there. */
static void died(uintptr_t p)
{
    pthread_mutex_lock(&mu);
    size_t hole = slot_of(p);
    if (p != 0 && table[hole] == p) {
        live--;
        table[hole] = 0;
        /* Those behind it may have come here by probing: each finds its place anew. */
        for (size_t i = (hole + 1) % LIVE_MAX; table[i] != 0; i = (i + 1) % LIVE_MAX) {
            uintptr_t moved = table[i];
            table[i] = 0;
            table[slot_of(moved)] = moved;
        }
    }
    pthread_mutex_unlock(&mu);
}

static bool fails(void)
{
    pthread_mutex_lock(&mu);
    bool bad = false;
    if (armed && paused == 0) {
        seen++;
        bad = seen >= first && seen - first < count;
    }
    pthread_mutex_unlock(&mu);
    return bad;
}

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : born(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : born(__real_calloc(n, size));
}

void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return fails() ? NULL : born(__real_aligned_alloc(align, n));
}

char *__wrap_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    char *copy = fails() ? NULL : born(__real_malloc(n));
    return copy ? memcpy(copy, s, n) : NULL;
}

void *__wrap_realloc(void *p, size_t n)
{
    if (fails()) {
        return NULL;
    }
    uintptr_t before = (uintptr_t)p;
    died(before); /* first: another thread may be given its address at once */
    void *q = __real_realloc(p, n);
    return born(q ? q : p);
}

void __wrap_free(void *p)
{
    died((uintptr_t)p);
    __real_free(p);
}

void alloc_fail(uint64_t from, uint64_t n)
{
    pthread_mutex_lock(&mu);
    armed = true;
    paused = 0;
    seen = 0;
    first = from;
    count = n;
    pthread_mutex_unlock(&mu);
}

uint64_t alloc_heal(void)
{
    pthread_mutex_lock(&mu);
    armed = false;
    uint64_t n = seen;
    pthread_mutex_unlock(&mu);
    return n;
}

void alloc_pause(void)
{
    pthread_mutex_lock(&mu);
    paused++;
    pthread_mutex_unlock(&mu);
}

void alloc_resume(void)
{
    pthread_mutex_lock(&mu);
    paused--;
    pthread_mutex_unlock(&mu);
}

size_t alloc_live(void)
{
    pthread_mutex_lock(&mu);
    size_t n = live;
    pthread_mutex_unlock(&mu);
    return n;
}
