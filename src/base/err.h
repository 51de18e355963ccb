/* Error codes of the whole project. Functions that can fail return one and are CONFAB_NODISCARD. */
#ifndef CONFAB_BASE_ERR_H
#define CONFAB_BASE_ERR_H

#include "base/compiler.h"

enum confab_err {
#define X(sym, val, wire, status, text) sym = (val),
#include "base/errors.def"
#undef X
};

/* Static text for people; never NULL. */
const char *err_text(enum confab_err err);
/* Static name used on the wire, such as "not_found"; never NULL. */
const char *err_wire(enum confab_err err);
/* HTTP status that goes with the code. */
int err_status(enum confab_err err);

#endif
