/*
 * A map under a lock. The value of a user is what is hidden, with a bit for a change that is under
 * way, whose room is so reserved.
 */
#include "gateway/privacy.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/hash.h"

#define CHANGING 8U

struct privacy {
    pthread_mutex_t lock;
    atomic_uint n; /* entries */
    uint32_t max;
    struct u64map hides;
};

enum confab_err privacy_new(uint64_t seed, uint32_t max, struct privacy **ret)
{
    struct privacy *p = calloc(1, sizeof(*p));
    if (!p) {
        return CONFAB_NOMEM;
    }
    CHECK(pthread_mutex_init(&p->lock, NULL) == 0);
    p->max = max;
    u64map_init(&p->hides, seed);
    *ret = p;
    return CONFAB_OK;
}

void privacy_free(struct privacy *p)
{
    if (p) {
        u64map_deinit(&p->hides);
        (void)pthread_mutex_destroy(&p->lock);
        free(p);
    }
}

static void lock(struct privacy *p)
{
    CHECK(pthread_mutex_lock(&p->lock) == 0);
}

static void unlock(struct privacy *p)
{
    atomic_store_explicit(&p->n, (unsigned)u64map_len(&p->hides), memory_order_release);
    CHECK(pthread_mutex_unlock(&p->lock) == 0);
}

uint32_t privacy_of(struct privacy *p, uint64_t user)
{
    uint64_t v = 0;
    if (atomic_load_explicit(&p->n, memory_order_acquire) == 0) {
        return 0;
    }
    lock(p);
    (void)u64map_get(&p->hides, user, &v);
    unlock(p);
    return (uint32_t)v & DIR_HIDES_ALL;
}

uint32_t privacy_hides(void *privacy, uint64_t user)
{
    return privacy_of(privacy, user);
}

bool privacy_between(struct privacy *p, uint64_t from, uint64_t to, enum dir_hides what)
{
    return from != to && ((privacy_of(p, from) | privacy_of(p, to)) & (uint32_t)what) != 0;
}

enum confab_err privacy_load(struct privacy *p, const struct dir_hidden *hidden, uint32_t n)
{
    enum confab_err err = CONFAB_OK;
    lock(p);
    for (uint32_t i = 0; i < n && !err; i++) {
        /* One that was changed meanwhile is newer than what was read. */
        if (!u64map_find(&p->hides, hidden[i].user_id)) {
            err = u64map_put(&p->hides, hidden[i].user_id, hidden[i].hides & DIR_HIDES_ALL);
        }
    }
    unlock(p);
    return err;
}

enum confab_err privacy_begin(struct privacy *p, uint64_t user)
{
    enum confab_err err = CONFAB_OK;
    lock(p);
    uint64_t *v = u64map_find(&p->hides, user);
    if (v && (*v & CHANGING)) {
        err = CONFAB_CONFLICT;
    } else if (v) {
        *v |= CHANGING;
    } else if (u64map_len(&p->hides) >= p->max) {
        err = CONFAB_LIMIT;
    } else {
        err = u64map_put(&p->hides, user, CHANGING);
    }
    unlock(p);
    return err;
}

void privacy_end(struct privacy *p, uint64_t user, const uint32_t *hides)
{
    lock(p);
    uint64_t *v = u64map_find(&p->hides, user);
    CHECK(v);
    *v = hides ? *hides & DIR_HIDES_ALL : *v & DIR_HIDES_ALL;
    if (*v == 0) {
        u64map_del(&p->hides, user, NULL);
    }
    unlock(p);
}
