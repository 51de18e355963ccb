#include "base/pool.h"

#include <stdlib.h>
#include <string.h>

/* A sanitizer is to see each use after the end. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define KEEPS 0
#else
#define KEEPS 1
#endif

static const uint16_t sizes[POOL_CLASSES] = {256, 512, 768, POOL_SIZE_MAX};

/* The smallest that holds it. */
static unsigned class_of(size_t size)
{
    unsigned c = 0;
    while (size > sizes[c]) {
        c++;
    }
    return c;
}

void *pool_take(struct pool *p, size_t size)
{
    if (size > POOL_SIZE_MAX) {
        return malloc(size);
    }
    unsigned c = class_of(size);
    void *block = p ? p->first[c] : NULL;
    if (!block) {
        /* In full, also without a pool: it may end in one, where there are any. */
        return malloc(KEEPS ? sizes[c] : size);
    }
    memcpy(&p->first[c], block, sizeof(p->first[c]));
    /* What is taken next has been out of use for as long as it could. */
    for (size_t at = 0; p->first[c] && at < size; at += 64) {
        PREFETCH_WRITE((char *)p->first[c] + at);
    }
    p->n[c]--;
    return block;
}

void pool_give(struct pool *p, void *block, size_t size)
{
    unsigned c;
    if (!KEEPS || !p || !block || size > POOL_SIZE_MAX ||
        p->n[c = class_of(size)] == POOL_BLOCKS_MAX) {
        free(block);
        return;
    }
    memcpy(block, &p->first[c], sizeof(p->first[c]));
    p->first[c] = block;
    p->n[c]++;
}

void pool_deinit(struct pool *p)
{
    for (unsigned c = 0; c < POOL_CLASSES; c++) {
        while (p->first[c]) {
            void *block = p->first[c];
            memcpy(&p->first[c], block, sizeof(p->first[c]));
            free(block);
        }
        p->n[c] = 0;
    }
}
