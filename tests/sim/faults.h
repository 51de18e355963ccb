/* What is made to fail during a run, as its features allow. */
#ifndef CONFAB_TESTS_SIM_FAULTS_H
#define CONFAB_TESTS_SIM_FAULTS_H

#include "sim.h"

void faults_draw(struct sim *s);
/* All is well from now on. */
void faults_end(struct sim *s);

#endif
