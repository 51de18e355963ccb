/* The password-cost option: how much work a password hash is. */
#ifndef CONFAB_CONFABD_PASSWORD_COST_H
#define CONFAB_CONFABD_PASSWORD_COST_H

#include "gateway/shard.h"

/* "normal" or "low"; NULL for another name, or when the library cannot be set up. */
const struct password_ops *password_cost_ops(const char *name);

#endif
