/* Certificates for --domain: the options handed to adapters/acme, and what comes of it told. */
#ifndef CONFAB_CONFABD_DOMAIN_H
#define CONFAB_CONFABD_DOMAIN_H

#include "base/metrics.h"
#include "confabd/config.h"
#include "confabd/front.h"
#include "gateway/notices.h"

struct domain;
/*
 * *ret is NULL without --domain. Configuration and front are borrowed. CONFAB_NOMEM: the thread
 * cannot be started.
 */
CONFAB_NODISCARD enum confab_err domain_open(const struct config *cfg, const struct front *front,
                                             struct domain **ret);
/* NULL is fine, here and below. */
void domain_close(struct domain *d);
/* After a failure: do not wait any longer. */
void domain_poke(struct domain *d);
void domain_tell(struct domain *d, struct metrics *m, struct notices *notices);

#endif
