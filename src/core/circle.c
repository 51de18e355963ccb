#include "core/circle.h"

#include <stdlib.h>

struct circle *circle_new(uint64_t user, uint32_t nconvs, uint32_t nblocked)
{
    struct circle *c =
        malloc(sizeof(*c) + nconvs * sizeof(c->convs[0]) + nblocked * sizeof(uint64_t));
    if (c) {
        atomic_init(&c->refs, 1);
        c->nconvs = nconvs;
        c->nblocked = nblocked;
        c->user = user;
    }
    return c;
}

struct circle *circle_ref(struct circle *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void circle_unref(struct circle *c)
{
    if (c && atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) == 1) {
        free(c);
    }
}

uint64_t *circle_blocked(struct circle *c)
{
    return (uint64_t *)(void *)(c->convs + c->nconvs);
}

static bool blocks(const struct circle *c, uint64_t user)
{
    const uint64_t *list = (const uint64_t *)(const void *)(c->convs + c->nconvs);
    uint32_t lo = 0;
    uint32_t hi = c->nblocked;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (list[mid] == user) {
            return true;
        }
        if (list[mid] < user) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return false;
}

/* The first place at or after `at` whose conversation is not before `id`. */
static uint32_t seek(const struct circle *c, uint32_t at, struct conv_id id)
{
    /* In steps that double: one who is in few against one who is in thousands. */
    uint32_t step = 1;
    uint32_t lo = at;
    while (at < c->nconvs && conv_id_cmp(c->convs[at], id) < 0) {
        lo = at + 1;
        at = at + step;
        step *= 2;
    }
    uint32_t hi = at < c->nconvs ? at : c->nconvs;
    while (lo < hi) {
        uint32_t mid = lo + (hi - lo) / 2;
        if (conv_id_cmp(c->convs[mid], id) < 0) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

bool circle_meet(const struct circle *a, const struct circle *b)
{
    if (!a || !b || blocks(a, b->user) || blocks(b, a->user)) {
        return false;
    }
    uint32_t i = 0;
    uint32_t k = 0;
    while (i < a->nconvs && k < b->nconvs) {
        int c = conv_id_cmp(a->convs[i], b->convs[k]);
        if (c == 0) {
            return true;
        }
        if (c < 0) {
            i = seek(a, i, b->convs[k]);
        } else {
            k = seek(b, k, a->convs[i]);
        }
    }
    return false;
}
