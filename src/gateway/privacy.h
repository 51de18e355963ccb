/*
 * Who hides what (enum dir_hides), for all shards of a server: read from the directory at the
 * start, and changed when somebody changes it, so that what is hidden is hidden everywhere at once.
 * Only those who hide something are held; with none of them a question costs no lock.
 *
 * The table is bounded: above `max` nobody else can hide anything (those of the directory are
 * always taken). Any thread.
 */
#ifndef CONFAB_GATEWAY_PRIVACY_H
#define CONFAB_GATEWAY_PRIVACY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ports/directory.h"

struct privacy;
/* CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err privacy_new(uint64_t seed, uint32_t max, struct privacy **ret);
void privacy_free(struct privacy *p); /* NULL is fine */

uint32_t privacy_of(struct privacy *p, uint64_t user);
/* The same, as struct engine_shared wants it. */
uint32_t privacy_hides(void *privacy, uint64_t user);
/* Does what `from` does of this kind stay hidden from `to`? Nothing does from oneself. */
bool privacy_between(struct privacy *p, uint64_t from, uint64_t to, enum dir_hides what);

/* What the directory holds, at the start. CONFAB_NOMEM. */
CONFAB_NODISCARD enum confab_err privacy_load(struct privacy *p, const struct dir_hidden *hidden,
                                              uint32_t n);

/*
 * A change is begun before the directory is asked and ended with what that says, so that two of the
 * same user cannot pass each other. CONFAB_CONFLICT: one is under way. CONFAB_LIMIT: the table is
 * full. CONFAB_NOMEM.
 */
CONFAB_NODISCARD enum confab_err privacy_begin(struct privacy *p, uint64_t user);
/* `hides` NULL: it did not change. */
void privacy_end(struct privacy *p, uint64_t user, const uint32_t *hides);

#endif
