/*
 * Epochs: which resume tokens this data has given out. Each start begins an epoch, with a drawn
 * number and the log's clock of that moment, and writes it down before a token of it is given. A
 * token names its epoch and a time, and counts when the epoch is known here and was not over before
 * that time.
 *
 * So a token from a time that a restore has lost never counts again: data put back from a backup
 * knows neither the epochs that began later, nor that its own latest one went on for longer.
 */
#ifndef CONFAB_CORE_EPOCHS_H
#define CONFAB_CORE_EPOCHS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ports/disk.h"

#define EPOCHS_MAX 512U /* older ones are forgotten; their tokens count as none */

struct epoch {
    uint64_t id;      /* not 0 */
    uint64_t from_ms; /* the log's clock when it began: the end of the one before */
};

struct epochs {
    uint32_t n;   /* the last is the present one */
    bool written; /* and the next start will know of it */
    struct epoch at[EPOCHS_MAX];
};

/*
 * At start-up, when all is recovered. Blocking. What cannot be read counts as empty, and what
 * cannot be written is used nevertheless: the next start then knows nothing of its tokens, and
 * everybody resumes from the beginning once. Both are logged.
 */
void epochs_begin(struct epochs *e, struct disk *disk, uint64_t id, uint64_t clock_ms);
static inline uint64_t epochs_present(const struct epochs *e)
{
    return e->n > 0 ? e->at[e->n - 1].id : 0;
}
/* Does a token of that epoch and time count? */
bool epochs_know(const struct epochs *e, uint64_t id, uint64_t ms);
/* One that does not: is it of a time that was lost, and not just of long ago? */
static inline bool epochs_lost(const struct epochs *e, uint64_t id, uint64_t ms)
{
    return e->n > 0 && ms >= e->at[0].from_ms && !epochs_know(e, id, ms);
}

#endif
