/* Checks over everything, at moments when nothing is under way. */
#ifndef CONFAB_TESTS_SIM_CHECK_H
#define CONFAB_TESTS_SIM_CHECK_H

#include "sim.h"

/*
 * Nothing is under way: what was not answered is tried again until it is, follow-ups have arrived,
 * and reads of all kinds say what the model says.
 */
void check_quiet(struct sim *s);
/*
 * The state that recovery makes of the files as they are, with two numbers of shards, is that of an
 * engine which folded all that was ever logged in one go.
 */
void check_recovered(struct sim *s);

#endif
