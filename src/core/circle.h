/*
 * Whom a user is with, and whom not: the conversations that they are in and the users that they
 * block, as their own log says. Immutable, sorted, shared between shards by reference. Two people
 * may see each other when they share a conversation and neither blocks the other.
 */
#ifndef CONFAB_CORE_CIRCLE_H
#define CONFAB_CORE_CIRCLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/id.h"

struct circle {
    atomic_uint refs;
    uint32_t nconvs;
    uint32_t nblocked;
    uint64_t user;
    /* nconvs struct conv_id, then nblocked uint64_t: */
    struct conv_id convs[];
};
/* Room for so many; the caller fills them, sorted. One reference; NULL when out of memory. */
struct circle *circle_new(uint64_t user, uint32_t nconvs, uint32_t nblocked);
struct circle *circle_ref(struct circle *c);
void circle_unref(struct circle *c); /* any thread; NULL is fine */
uint64_t *circle_blocked(struct circle *c);
/* NULL stands for one that is in no conversation. */
bool circle_meet(const struct circle *a, const struct circle *b);

#endif
